/* The optimisers' kernels; see fastrnn_optimise in api.h. */
#ifndef FASTRNN_OPTIMISE_H
#define FASTRNN_OPTIMISE_H

#include "../fastrnn.h"
#include "names.h"

void optimise_(const fastrnn_optimiser *how, int32_t count, fastrnn_parameter *parameters);

#endif

/* Functions of single values; see fastrnn_pointwise in api.h. */
#ifndef FASTRNN_POINTWISE_H
#define FASTRNN_POINTWISE_H

#include "../fastrnn.h"
#include "names.h"

void pointwise_(const fastrnn_pointwise *how, const void *x, void *y);

#endif

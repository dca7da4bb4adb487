/* The machine's ceilings; see fastrnn_measure_fma and fastrnn_measure_read in api.h. */
#ifndef FASTRNN_CEILINGS_H
#define FASTRNN_CEILINGS_H

#include <stddef.h>
#include <stdint.h>

#include "names.h"

double measure_fma_(int32_t threads, int64_t rounds);
double measure_read_(int32_t threads, int64_t rounds, const void *buffer, size_t size);

#endif

/* What follows from a layer's description alone. */
#ifndef FASTRNN_SIZES_H
#define FASTRNN_SIZES_H

#include <stddef.h>

#include "fastrnn.h"

/* Y */
static inline int64_t output_size(const fastrnn_layer *l) { return l->P ? l->P : l->H; }

/* Whether the state has a c. */
static inline int has_c(const fastrnn_layer *l) { return l->cell == FASTRNN_LSTM || l->cell == FASTRNN_LSTM_PEEPHOLE; }

/* Of n numbers of a dtype. */
static inline size_t bytes_of(int32_t dtype, int64_t n) {
    return (size_t)n * (dtype == FASTRNN_FLOAT64 ? sizeof(double) : sizeof(float));
}

#endif

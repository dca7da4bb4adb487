/* One part of a stack (one layer in one direction) as the kernels see it, and what follows from its description. */
#ifndef FASTRNN_LAYER_H
#define FASTRNN_LAYER_H

#include <stddef.h>

#include "fastrnn.h"

enum { MAX_DIRECTIONS = 2 };

typedef struct {
    int32_t isa, dtype, cell, directions; /* directions: parts next to each other in a row of y, c, dy and dc */
    int64_t I, H, P;
    int32_t weights, products;
} layer_spec;

/* Return Y, the width of the output. */
static inline int64_t output_size(const fastrnn_stack *s) { return s->P ? s->P : s->H; }

/* Return the description of layer l, the same for both directions. */
static inline layer_spec layer_of(const fastrnn_stack *s, int32_t l) {
    const int64_t I = l ? s->D * output_size(s) : s->I;
    return (layer_spec){s->isa, s->dtype, s->cell, s->D, I, s->H, s->P, s->weights, s->products};
}

/* Return whether the products are of bfloat16 numbers. int8 weights have products of their own. */
static inline int multiplies_pairs(const layer_spec *layer) {
    return layer->dtype == FASTRNN_FLOAT32 && layer->weights != FASTRNN_WEIGHTS_INT8 &&
           layer->products == FASTRNN_PRODUCTS_BFLOAT16;
}

/* Return whether products are of slices (kernels/slices.h, kernels/long_slices.h). */
static inline int multiplies_slices(const layer_spec *layer, int matrix_unit) {
    return layer->dtype == FASTRNN_FLOAT32 && !layer->weights && layer->products == FASTRNN_PRODUCTS_SPLIT && matrix_unit;
}

/* Return whether the state has a c. */
static inline int has_c(int32_t cell) { return cell == FASTRNN_LSTM || cell == FASTRNN_LSTM_PEEPHOLE; }

/* Return the size of n numbers of a dtype in bytes. */
static inline size_t bytes_of(int32_t dtype, int64_t n) {
    return (size_t)n * (dtype == FASTRNN_FLOAT64 ? sizeof(double) : sizeof(float));
}

/* One pass of one part. Pointers are to the part's own states, and to its columns in the first row of y, c, dy and dc;
 * each row holds the columns of all directions. */
typedef struct {
    const void *packed;
    const fastrnn_batch *batch; /* `reverse` is the part's own */
    fastrnn_inputs in;
    fastrnn_outputs out;
    void *tape, *workspace;
} forward_job;

typedef struct {
    const void *packed;
    const fastrnn_batch *batch;
    fastrnn_inputs in;
    fastrnn_output_gradients dout;
    fastrnn_gradients din;
    fastrnn_weight_gradients grads;
    void *tape, *workspace;
} backward_job;

#endif

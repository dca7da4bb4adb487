/* Run problems through the library, with every array between guards. */
#ifndef LIBRARY_H
#define LIBRARY_H

#include "naive.h"
#include "testing.h"

/* The kernels to run, and which results to request. */
typedef struct {
    int32_t isa, dtype;
    int training;     /* forward with a tape, and backward */
    int minimal;      /* request only the required results: no cell states, dx, or gradients of the biases */
    int32_t threads;  /* 0: the number that fastrnn_get_num_threads returns */
    int32_t weights;  /* enum fastrnn_weight_format; this format holds the problem's weights exactly (round_weights) */
    int32_t products; /* enum fastrnn_products */
} setup;

/* Round the problem's W, R and projection to numbers that the format holds exactly. */
void round_weights(problem *p, int32_t format);

/* The results, as doubles. A result that was not requested is null. */
typedef struct {
    outputs o;
    double *grad[INPUTS];
} results;

results run_layer(const problem *p, setup s);
void free_results(results *r);

/* Expect the same bits. */
void expect_same(const problem *p, const results *a, const results *b, const char *what);

/* Return a stack of `layers` layers of the model. */
fastrnn_stack stack_of(const model *m, int32_t layers, int32_t isa, int32_t dtype);
size_t bytes_of(int32_t dtype, int64_t n);

/* Return guarded memory for n reals with these values; bytes 0xFF if `values` is null. Null if n is 0. */
void *guarded_reals(guards *g, int32_t dtype, int64_t n, const double *values);

/* Return n reals as doubles, in new memory. */
double *as_doubles(int32_t dtype, int64_t n, const void *reals);

/* Return the packed weights of a stack in one direction, guarded; `layers` [L] holds the values of each layer. */
enum { MOST_LAYERS = 3 };
void *packed_weights(guards *g, const problem *layers, const fastrnn_stack *stack, int training);

/* Run `body` for both dtypes and every ISA that runs here. */
void each_kernel(void (*body)(int32_t isa, int32_t dtype, void *context), void *context);

#endif

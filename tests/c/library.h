/* Problems through the library, every array between guards. */
#ifndef LIBRARY_H
#define LIBRARY_H

#include "naive.h"
#include "testing.h"

/* Which kernels, and how much is asked of them. */
typedef struct {
    int32_t isa, dtype;
    int training;    /* forward with a tape, and backward */
    int minimal;     /* leave out every result that may be left out: all cell states, dx, gradients of the biases */
    int32_t threads; /* 0: as many as fastrnn_get_num_threads says */
} setup;

/* What came out, as doubles. A result that was not asked for is null. */
typedef struct {
    outputs o;
    double *grad[INPUTS];
} results;

results run_layer(const problem *p, setup s);
void free_results(results *r);

/* Expect the same bits. */
void expect_same(const problem *p, const results *a, const results *b, const char *what);

/* So many layers of the model. */
fastrnn_stack stack_of(const model *m, int32_t layers, int32_t isa, int32_t dtype);
size_t bytes_of(int32_t dtype, int64_t n);

/* Guarded memory for n reals: `values`, or 0xFF when null. Null when n is 0. */
void *guarded_reals(guards *g, int32_t dtype, int64_t n, const double *values);

/* n reals as doubles, in fresh memory. */
double *as_doubles(int32_t dtype, int64_t n, const void *reals);

/* The packed weights of a stack in one direction, guarded; `layers` [L] hold those of each layer. */
enum { MOST_LAYERS = 3 };
void *packed_weights(guards *g, const problem *layers, const fastrnn_stack *stack, int training);

/* Run `body` for every ISA that runs here and both dtypes. */
void each_kernel(void (*body)(int32_t isa, int32_t dtype, void *context), void *context);

#endif

/* Weight gradients: to[r][j] += sum over n of a[n][r] x[n][j], straight into the caller's rows. */
#ifndef FASTRNN_OUTER_H
#define FASTRNN_OUTER_H

#include "../schedule.h"
#include "gemm.h"

/* The rows of the right operand, x[n] at rows + n * stride; or, with `steps`, the row that the state before row n is in. */
typedef struct {
    const real *rows;
    int64_t stride, n; /* n: columns, and the length of the result's rows */
    const schedule *steps;
} outer_right;

/* Columns of the left operand, and so rows of the result, come in groups: column r of group i at
 * a + i * group + n * step + r, r < columns, a whole number of vectors. */
typedef struct {
    int64_t N; /* rows n that are summed over */
    const real *a;
    int64_t groups, group, step, columns;
    real *(*to)(const void *context, int64_t i, int64_t r); /* the row for column r of group i; null: there is none */
    /* Null, or: called once for all n in order, for each of the groups' vectors of columns, just before they are read. */
    void (*each)(const void *context, int64_t i, range vectors, range n);
    const void *context;
    outer_right x;
} outer_args;

/* This thread's part; buffer [OUTER_BUFFER] is its own. */
enum {
    OUTER_PANELS = 256 / FASTRNN_VECTOR_BYTES,
    OUTER_ROWS = 4 * VL,
    OUTER_BUFFER = (OUTER_PANELS * K_BLOCK + OUTER_ROWS) * 4 * VL
};
void outer_product(const crew *me, const outer_args *o, real *buffer);

#endif

/* Weight gradients: to[r][j] += sum over n of a[n][r] x[n][j], straight into the caller's rows. */
#ifndef FASTRNN_OUTER_H
#define FASTRNN_OUTER_H

#include "../schedule.h"
#include "gemm.h"

/* Consecutive rows of the result, and the columns of the left operand that they belong to. */
typedef struct {
    const real *a; /* column r of row n at a + n * step + r */
    int64_t step, rows;
    real *to; /* [rows][n] added to */
} outer_run;

/* The rows of the right operand, x[n] at rows + n * stride; or, with `steps`, the row that the state before row n is in. */
typedef struct {
    const real *rows;
    int64_t stride, n; /* n: columns, and the length of the result's rows */
    const schedule *steps;
} outer_right;

typedef struct {
    int64_t N;             /* rows that are summed over */
    int64_t runs, vectors; /* the result's rows: runs of `vectors` vectors, the last of which may have fewer rows */
    outer_run (*run)(const void *context, int64_t i);
    /* Null, or: called once for all n in order, for each of the result's vectors of rows, just before they are read. */
    void (*each)(const void *context, int64_t run, range vectors, range n);
    const void *context;
    outer_right x;
} outer_args;

/* This thread's part; buffer [OUTER_BUFFER] is its own. */
enum { OUTER_PANELS = 4, OUTER_ROWS = 4 * VL, OUTER_BUFFER = (OUTER_PANELS * K_BLOCK + OUTER_ROWS) * 4 * VL };
void outer_product(const crew *me, const outer_args *o, real *buffer);

#endif

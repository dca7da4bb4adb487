/* Weight gradients: to[r][j] += sum over n of a[n][r] x[n][j], added directly to the caller's rows. */
#ifndef FASTRNN_OUTER_H
#define FASTRNN_OUTER_H

#include "../schedule.h"
#include "gemm.h"

/* The right operand: x[n] is at rows + n * stride. With `steps`, x[n] is the row of the state before packed row n. */
typedef struct {
    const real *rows;
    int64_t stride, n; /* n: columns of x, and the length of the result's rows */
    const schedule *steps;
} outer_right;

/* The left operand. Its columns, which become the rows of the result, come in groups: a[n][column r of group i] is at
 * a + i * group + n * step + r. A group has `columns` columns. */
typedef struct {
    int64_t N; /* the rows n of the sum */
    const real *a;
    int64_t groups, group, step, columns;
    real *(*to)(const void *context, int64_t i,
                int64_t r); /* return the result's row for column r of group i, or null if it has none */
    /* Called just before these columns of group i are read for these n. Each column gets every n once, in order. May be
     * null; if not, groups have whole vectors. */
    void (*each)(const void *context, int64_t i, range vectors, range n);
    const void *context;
    outer_right x;
    /* Round both operands to bfloat16 (bfloat16.h), or slice them (long_slices.h); else multiply them as they are. */
    int dots, sliced;
} outer_args;

enum { OUTER_PANELS = 256 / FASTRNN_VECTOR_BYTES, OUTER_ROWS = 4 * VL };

/* The size of a thread's buffer: a block of x, the sums, a block of a, and for slices their scales and factors and a panel
 * of x. */
enum {
    OUTER_SCALES = 4 * VL * OUTER_PANELS + OUTER_ROWS + 2 * K_BLOCK,
    OUTER_BUFFER = (OUTER_PANELS * K_BLOCK + OUTER_ROWS) * 4 * VL + K_BLOCK * OUTER_ROWS +
        (MATRIX_UNIT ? OUTER_SCALES + K_BLOCK * 4 * VL : 0)
};

/* Compute this thread's part; the buffer is its own. */
void outer_product(const worker *me, const outer_args *o, real *buffer);

#endif

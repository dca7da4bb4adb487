/* Products, blocked around the register tile; and the packing of their right operands.
 *
 * A right operand lies in panels of NV vectors: B[panel][k][NV*VL]. Columns past the end are zero, so nothing in the hot
 * loop knows of tails. A left operand is read where it lies, by strides (microkernel.h). */
#ifndef FASTRNN_GEMM_H
#define FASTRNN_GEMM_H

#include "../parallel.h"
#include "microkernel.h"

/* How n columns fall into panels: `vectors` per panel (1 to 4), `panels`, and `padded` = panels * vectors * VL >= n. */
typedef struct {
    int vectors;
    int64_t panels, padded;
} columns;

static inline columns columns_of(int64_t n) {
    int64_t all = (n + VL - 1) / VL;
    int vectors = all < 4 ? (int)all : 4;
    int64_t panels = vectors ? (all + vectors - 1) / vectors : 0;
    return (columns){vectors, panels, panels * vectors * VL};
}

/* Rows of B in a block. A tile's results are read and written once a block, which cost 8 % of its time with blocks of 128;
 * 512 rows of 4 vectors stream from the second-level cache, which has them ready. Above it, left operands that are strided
 * lose more than that. The blocks' borders are part of the result's bits: they depend on K alone. */
enum { K_BLOCK = 512 };

/* A right operand larger than this does not stay in the second-level cache from one use to the next: while a block of it is
 * used, the next one is fetched. LSTM H = 1024, B = 8 to 128: 10 to 14 % faster; below, fetching costs 3 %. */
enum { FETCH_AHEAD_BYTES = 1 << 20 };

/* Called for `rows` finished rows of one panel, while they are in cache. */
typedef void (*rows_done)(void *context, int64_t panel, int64_t row, int64_t rows);

/* C[panel][row] = init[panel][row] + sum over k of A[row][k] B[panel][k], k over n_outer * n_inner. */
typedef struct {
    int64_t n_outer, n_inner;
    left_operand a;
    int vectors;
    const real *b;
    int64_t b_panel, b_row;
    const real *init; /* null: zero */
    int64_t init_panel, init_row;
    real *c; /* may be init, with the same strides */
    int64_t c_panel, c_row;
    rows_done done; /* null: nothing more to do */
    void *context;
    int backwards; /* walk the panels from the last: what the last walk left in cache comes first */
} product_args;

void product(const product_args *p, range panels, range rows);

/* Where product_to_rows leaves its results: n columns a row, row i at `to` + place[i] * n (null: i itself). */
typedef struct {
    real *to;
    int64_t n;
    const int64_t *place;
    real *buffer; /* [ROW_BLOCK][padded columns], this thread's own */
} row_results;

enum { ROW_BLOCK = 96 };

/* A product with these columns whose results go to a caller's plain rows. p has n_outer, n_inner, a, b and init (a row, or
 * null); the rest is set here. */
void product_to_rows(product_args p, columns cols, range rows, row_results out);

/* The right operand whose rows are k and whose columns are the n rows of from [n][K]. */
void pack_transposed(real *packed, columns cols, const real *from, int64_t n, int64_t K);

/* The part of a product's (panels x rows) for this thread: whole panels where there are enough of them, else rows. */
typedef struct {
    range panels, rows;
} part;
static inline part share_product(const crew *me, int64_t panels, int64_t rows) {
    range all_panels = {0, panels}, all_rows = {0, rows};
    if (panels % me->size == 0 || panels >= 4 * me->size) return (part){crew_share(me, panels, 1), all_rows};
    return (part){all_panels, crew_share(me, rows, TILE_ROWS_4)};
}

/* Row k of a right operand with K rows in all: the n values at src (null: zeros), cut into the panels of `cols`. */
static inline void pack_row(real *packed, columns cols, int64_t K, int64_t k, const real *src, int64_t n) {
    const int64_t w = cols.vectors * VL;
    for (int64_t panel = 0; panel < cols.panels; panel++) {
        real *to = packed + (panel * K + k) * w;
        int64_t here = src ? n - panel * w : 0;
        if (here > w) here = w;
        if (here > 0) memcpy(to, src + panel * w, (size_t)here * sizeof(real));
        if (here < w) memset(to + here, 0, (size_t)(w - here) * sizeof(real));
    }
}

#endif

/* Products, blocked around the register tile; packing.h has the packing of their operands.
 *
 * A right operand lies in panels of NV vectors: B[panel][k][NV*VL]. Columns past the end are zero, so the hot loop needs
 * no code for tails. A left operand is read in place, by strides, or packed in tiles (microkernel.h). */
#ifndef FASTRNN_GEMM_H
#define FASTRNN_GEMM_H

#include "../parallel.h"
#include "microkernel.h"

/* How n columns are divided into panels: `vectors` per panel (1 to 4), `panels`, and `padded` = panels * vectors * VL >=
 * n. As few panels as possible are equally wide: 5 vectors are 3 + 3 with one of padding, not 4 + 4 with three. */
typedef struct {
    int vectors;
    int64_t panels, padded;
} columns;

static inline columns columns_of(int64_t n) {
    const int64_t all = (n + VL - 1) / VL, panels = (all + 3) / 4;
    const int vectors = panels ? (int)((all + panels - 1) / panels) : 0;
    return (columns){vectors, panels, panels * vectors * VL};
}

/* Rows of B in a block of k. A tile's results are read and written once for each block; with blocks of 128 rows that
 * took 8 % of the time (LSTM H = 512, B = 32, Zen 5). 512 rows of 4 vectors stream from the second-level cache. With
 * longer blocks, the left operand no longer stays in the first-level cache. The borders of the blocks determine the result's
 * bits, so they depend on K alone. */
enum { K_BLOCK = 512 };

/* The same number for weights of bfloat16, and for rows that int8 weights multiply in float32. */
enum { COMPRESSED_K_BLOCK = 128 };

/* The size in bytes above which a right operand does not stay in the second-level cache from one use to the next. Above
 * it, the next block is fetched while the current one is used. This makes LSTM H = 1024, B = 8 to 128, 10 to 14 %
 * faster (Zen 5); for smaller operands, fetching costs 3 %. All tiles share the fetches evenly: if four
 * tiles make them all, LSTM H = 512 and 1024, B = 32 and 128, is 10 to 18 % slower (Ice Lake). */
enum { FETCH_AHEAD_BYTES = 1 << 20 };

/* The type of a function called for `rows` finished rows of one panel, while they are in cache. */
typedef void (*rows_done)(void *context, int64_t panel, int64_t row, int64_t rows);

/* Contiguous memory that a later product reads. */
typedef struct {
    const real *p; /* null: none */
    int64_t size;  /* in reals */
} stretch;

/* The height of a tile, by its width in vectors. */
static const int tile_rows[5] = {1, TILE_ROWS_1, TILE_ROWS_2, TILE_ROWS_3, TILE_ROWS_4};

/* Return the number of tiles of at most `highest` rows that cover `rows`. */
static inline int64_t tiles_in(range rows, int64_t highest) { return (rows.end - rows.begin + highest - 1) / highest; }

/* Return the rows of tile i of `count`. Tiles are equally high: 8 rows are 4 + 4, not 6 + 2, because low tiles are slow. */
static inline range tile_rows_at(range rows, int64_t i, int64_t count) {
    const int64_t n = rows.end - rows.begin;
    return (range){rows.begin + n * i / count, rows.begin + n * (i + 1) / count};
}

/* C[panel][row] = init[panel][row] + sum over k of A[row][k] B[panel][k], k over n_outer * n_inner. */
typedef struct {
    int64_t n_outer, n_inner;
    left_operand a;
    int vectors;
    const real *b; /* as slices.h has it if a has slices */
    int64_t b_panel, b_row;
    int format;         /* enum fastrnn_weight_format. If compressed, b is in words, n_outer is 1, and a's step is 1 */
    const real *scales; /* [panel][b_row] for int8 and slices, else null: factors of B's columns */
    int dots;           /* a and b hold words of bfloat16 (bfloat16.h); n_inner and all distances count words */
    const real *init;   /* null: zero */
    int64_t init_panel, init_row;
    real *c; /* may be init, with the same strides */
    int64_t c_panel, c_row;
    rows_done done; /* null: not called */
    void *context;
    int backwards; /* read the panels from the last to the first, so that the panels still in cache come first */
    stretch ahead; /* fetched evenly by the tiles; only for products of one panel and one block of k */
} product_args;

void product(const product_args *p, range panels, range rows);

/* Return the distance between panels of a right operand that lie one after the other. */
static inline int64_t panel_size(const product_args *p) {
    const int64_t K = p->n_outer * p->n_inner;
    return (p->a.slices ? sliced_words(p->a.slices, 4 * K) : K) * p->b_row;
}

/* The initial values of a panel's sums, row r at p + r * row. */
typedef struct {
    const real *p;
    int64_t row;
} initial_sums;

/* Return those that earlier blocks of k left in C if the block `adds` to them, else `init`, or zeros. */
initial_sums initial_sums_of(const product_args *p, int64_t panel, int adds);

/* Return the i-th panel in the order in which panels are read. */
static inline int64_t panel_at(const product_args *p, range panels, int64_t i) {
    return p->backwards ? panels.end - 1 - i : panels.begin + i;
}

/* The destination of product_to_rows: n columns a row, row i at `to` + place[i] * n (null: place[i] = i). */
typedef struct {
    real *to;
    int64_t n;
    const int64_t *place;
    real *buffer; /* [ROW_BLOCK][padded columns], this thread's own */
} row_results;

enum { ROW_BLOCK = 96 };

/* Compute a product with these columns and copy its results to a caller's plain rows. p has n_outer, n_inner, a, b and
 * init (a row, or null); the rest is set here. */
void product_to_rows(product_args p, columns cols, range rows, row_results out);

/* A part of a product: some panels, some rows. */
typedef struct {
    range panels, rows;
} part;

#endif

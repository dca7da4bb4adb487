/* The register tile: the hot loop of all products.
 *
 *     C[r][v] = init[r][v] + sum over k of A[r][k] * B[k][v],      r < MR rows, v < NV vectors
 *
 * MR * NV accumulators stay in registers. Each k costs NV vector loads and MR broadcasts for MR * NV fma. The sum starts
 * from zero and runs over k in order, so an element's bits do not depend on MR: tiles of any height may cover the same
 * row. With DOTS, A and B hold words of two bfloat16 numbers each (bfloat16.h), and k counts words. */
#ifndef FASTRNN_MICROKERNEL_H
#define FASTRNN_MICROKERNEL_H

#include "slices.h"

/* Tile heights by width in vectors: as many accumulators as fit into the registers together with B's vectors and a
 * broadcast. On x86 a multiply-add can read one operand from memory, so 12 sums, 4 vectors and a broadcast fit into 16
 * registers. Clang loads every operand, so 12 sums would need 17 registers, and some go through memory: its tiles are lower.
 * On Arm all operands are in registers, also one element of A for each row, so that 24 sums are too many for 32.
 *
 * EXPANDED_ROWS_3 and 4 are the heights where B's vectors are expanded in registers. 0: tiles of half the width, of which
 * more rows share an expanded vector. */
#if defined(__AVX512F__)
enum { TILE_ROWS_1 = 12, TILE_ROWS_2 = 12, TILE_ROWS_3 = 8, TILE_ROWS_4 = 6, EXPANDED_ROWS_3 = 8, EXPANDED_ROWS_4 = 6 };
#elif defined(__aarch64__)
enum { TILE_ROWS_1 = 12, TILE_ROWS_2 = 10, TILE_ROWS_3 = 7, TILE_ROWS_4 = 5, EXPANDED_ROWS_3 = 7, EXPANDED_ROWS_4 = 5 };
#elif defined(__clang__)
enum { TILE_ROWS_1 = 8, TILE_ROWS_2 = 6, TILE_ROWS_3 = 3, TILE_ROWS_4 = 2, EXPANDED_ROWS_3 = 3, EXPANDED_ROWS_4 = 0 };
#else
enum { TILE_ROWS_1 = 8, TILE_ROWS_2 = 6, TILE_ROWS_3 = 4, TILE_ROWS_4 = 3, EXPANDED_ROWS_3 = 3, EXPANDED_ROWS_4 = 0 };
#endif

/* The rows from which on a block of B is expanded once, into memory. With 32 registers that gains nothing. */
#if defined(__AVX512F__) || defined(__aarch64__)
enum { EXPANDED_BLOCK_ROWS = 1 << 30 };
#else
enum { EXPANDED_BLOCK_ROWS = 24 };
#endif

/* The left operand: A[r][k] with k = outer * n_inner + inner is at p + r*row + outer*outer_step + inner*step. If `slices` is
 * not 0, p has that number of slices as slices.h lays them out, and `scales` a factor for each row. If `tiled`, the tile
 * that begins at row r is at p + r*row, with its rows' elements next to each other for each k (pack_tiles). */
typedef struct {
    const real *p;
    int64_t row, step, outer_step;
    const real *scales;
    int slices, tiled;
} left_operand;

static inline left_operand plain_left(const real *p, int64_t row, int64_t step, int64_t outer_step) {
    return (left_operand){.p = p, .row = row, .step = step, .outer_step = outer_step};
}

typedef struct {
    int64_t n_outer, n_inner;
    left_operand a;
    const real *b;
    int64_t b_row;      /* distance between B's rows k and k+1 */
    const real *ahead;  /* what to fetch into the second-level cache, in steps, one for each k; null: nothing */
    int64_t ahead_step; /* reals from one fetch to the next */
    const real *init;
    int64_t init_row; /* 0: every row has the same initial values */
    real *c;          /* may be init itself */
    int64_t c_row;
    int dots;   /* A and B hold words (bfloat16.h) */
    int format; /* enum fastrnn_weight_format: bfloat16 for words of B */
} tile_args;

/* Return sum + A[r][k] B[k][v], for one element or word of A. */
INLINE vec multiply_add(const int DOTS, vec left, vec right, vec sum) {
    return DOTS ? dot_(left, right, sum) : fma_(left, right, sum);
}
INLINE vec splat_left(const int DOTS, const real *a) { return DOTS ? splat_word(a) : splat(*a); }

/* Clear the sums of a tile: up to 12 rows of up to 4 vectors. The pragmas keep them in registers. */
INLINE void clear_tile(const int R, const int NV, vec acc[12][4]) {
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) acc[r][v] = splat(0);
}

/* Store c[r] = init[r] + acc[r]; init_row and c_row are the distances from row to row. */
INLINE void store_tile(const int R, const int NV, vec acc[12][4], const real *init, int64_t init_row, real *c,
                       int64_t c_row) {
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) store(c + r * c_row + v * VL, load(init + r * init_row + v * VL) + acc[r][v]);
}

/* Compute one tile. AHEAD: fetch from t->ahead. */
INLINE void tile(const int MR, const int NV, const int AHEAD, const int DOTS, const tile_args *t) {
    vec acc[12][4];
    clear_tile(MR, NV, acc);
    const real *b = t->b, *ahead = t->ahead;
    const int64_t row = t->a.row, step = t->a.step, b_row = t->b_row, ahead_step = t->ahead_step;
    for (int64_t outer = 0; outer < t->n_outer; outer++) {
        const real *a = t->a.p + outer * t->a.outer_step;
        for (int64_t inner = 0; inner < t->n_inner; inner++, a += step, b += b_row) {
            if (AHEAD) __builtin_prefetch(ahead, 0, 2);
            if (AHEAD) ahead += ahead_step;
            vec right[4];
            for (int v = 0; v < NV; v++) right[v] = load(b + v * VL);
            for (int r = 0; r < MR; r++)
                for (int v = 0; v < NV; v++)
                    acc[r][v] = multiply_add(DOTS, splat_left(DOTS, a + r * row), right[v], acc[r][v]);
        }
    }
    store_tile(MR, NV, acc, t->init, t->init_row, t->c, t->c_row);
}

/* Compute one tile with weights of bfloat16, two rows of B to a word (compressed.h), expanded in registers. */
INLINE void expanding_tile(const int MR, const int NV, const int AHEAD, const tile_args *t) {
    vec acc[12][4];
    clear_tile(MR, NV, acc);
    const uint32_t *b = (const uint32_t *)t->b;
    const real *a = t->a.p, *ahead = t->ahead;
    for (int64_t k = 0; k < t->n_inner; k += 2, b += t->b_row)
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            if (k + i == t->n_inner) break;
            if (AHEAD) __builtin_prefetch(ahead, 0, 2);
            if (AHEAD) ahead += t->ahead_step;
            vec right[4];
            for (int v = 0; v < NV; v++) right[v] = row_of_words(FASTRNN_WEIGHTS_BFLOAT16, load_words(b + v * VL), i);
            for (int r = 0; r < MR; r++)
                for (int v = 0; v < NV; v++) acc[r][v] = fma_(splat(a[r * t->a.row + k + i]), right[v], acc[r][v]);
        }
    store_tile(MR, NV, acc, t->init, t->init_row, t->c, t->c_row);
}

/* One row of NP panels side by side, because a row of a single panel has too few sums to hide the latency of an fma.
 *
 *     C[p][v] = init[p][v] + sum over k of A[k] * B[p][k][v],      p < NP panels, v < NV vectors */
typedef struct {
    int64_t n_outer, n_inner;
    left_operand a;
    const real *b;
    int64_t b_panel, b_row;
    const real *init;
    int64_t init_panel;
    real *c; /* may be init itself */
    int64_t c_panel;
    int dots;
} row_args;

INLINE void row_tile(const int NP, const int NV, const int DOTS, const row_args *t) {
    vec acc[12][4];
    clear_tile(NP, NV, acc);
    const real *b = t->b;
    const int64_t step = t->a.step, b_row = t->b_row, b_panel = t->b_panel;
    for (int64_t outer = 0; outer < t->n_outer; outer++) {
        const real *a = t->a.p + outer * t->a.outer_step;
        for (int64_t inner = 0; inner < t->n_inner; inner++, a += step, b += b_row) {
            vec left = splat_left(DOTS, a);
            for (int p = 0; p < NP; p++)
                for (int v = 0; v < NV; v++) acc[p][v] = multiply_add(DOTS, left, load(b + p * b_panel + v * VL), acc[p][v]);
        }
    }
    store_tile(NP, NV, acc, t->init, t->init_panel, t->c, t->c_panel);
}

/* The arguments of a tile with compressed weights (compressed.h); lengths are in words. With bfloat16, its results have the
 * bits of expanding_tile. */
typedef struct {
    int64_t K;
    const real *a;
    const uint32_t *b;
    int64_t b_panel, b_row;
    const real *scales; /* [NP][b_row], for int8 only */
    real a_factor;      /* for int8 only: `a` holds the numbers of A divided by this */
    const real *init;
    int64_t init_panel;
    real *c; /* may be init itself */
    int64_t c_panel;
} word_args;

INLINE void word_tile(const int NP, const int NV, const int FORMAT, const word_args *t) {
    enum { MOST = 4 };
    const int rows = (int)rows_per_word(FORMAT), rest = (int)(t->K % rows);
    vec acc[12][4];
    clear_tile(NP, NV, acc);
    const real *a = t->a;
    const uint32_t *b = t->b;
    const int64_t b_row = t->b_row, b_panel = t->b_panel;
    for (const real *end = a + t->K - rest; a < end; a += rows, b += b_row) {
        vec left[MOST];
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) left[i] = splat(a[i]);
#pragma GCC unroll 8
        for (int p = 0; p < NP; p++)
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) {
                const words w = load_words_once(b + p * b_panel + v * VL);
#pragma GCC unroll 4
                for (int i = 0; i < rows; i++) acc[p][v] = fma_(left[i], row_of_words(FORMAT, w, i), acc[p][v]);
            }
    }
    for (int i = 0; i < rest; i++)
#pragma GCC unroll 8
        for (int p = 0; p < NP; p++)
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) {
                words w = load_words(b + p * b_panel + v * VL);
                acc[p][v] = fma_(splat(a[i]), row_of_words(FORMAT, w, i), acc[p][v]);
            }
#pragma GCC unroll 8
    for (int p = 0; FORMAT == FASTRNN_WEIGHTS_INT8 && p < NP; p++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            acc[p][v] =
                acc[p][v] * splat(factor_of_words(FORMAT)) * load(t->scales + p * b_row + v * VL) * splat(t->a_factor);
    store_tile(NP, NV, acc, t->init, t->init_panel, t->c, t->c_panel);
}

#endif

/* The packing of operands of products: right ones into panels (gemm.h), left ones into tiles, and rows into words of
 * bfloat16 (bfloat16.h). */
#ifndef FASTRNN_PACKING_H
#define FASTRNN_PACKING_H

#include "gemm.h"

/* Pack columns `rows` of a [K][columns] as a left operand for panels of so many vectors: to[tile][k][column of the tile].
 * Row k of a is at a + k * step; `to` has room for rows.end * K elements; K is at most K_BLOCK. Calls with the same `to` and
 * disjoint runs of rows return the same operand, which serves them all. Columns that are not packed take one or two cache
 * lines for each k, more than the first-level cache keeps until the next tile: 151 instead of 176 GFLOP/s (Ice Lake, K =
 * 512, 64 columns of a, 256 of the right operand). */
left_operand pack_tiles(const real *a, int64_t step, int64_t K, range rows, int vectors, real *to);

/* Pack the transpose of from [n][K] as a right operand: its rows are k, its columns the n rows of `from`. */
void pack_transposed(real *packed, columns cols, const real *from, int64_t n, int64_t K);

/* Round n rows of K numbers to words, and transpose them: to[k / 2][i] = from[i][k], from[i][k + 1], in rows of w words. */
void pack_rounded(real *to, int64_t w, const real *from, int64_t n, int64_t K);

/* Do the same for a right operand, in the panels of `cols`. */
void pack_transposed_words(real *packed, columns cols, const real *from, int64_t n, int64_t K);

/* Round pairs of rows to words, and transpose them: to[j][i] = from[2 i][j], from[2 i + 1][j], j < n, with these distances
 * from row to row. If the number of rows is odd, the last one is paired with zeros. */
void transpose_pairs(real *to, int64_t to_row, const real *from, int64_t from_row, int64_t rows, int64_t n);

/* Pack rows 2 k and 2 k + 1 of a right operand as words, row k of K: the n values of each (null: zeros). */
static inline void pack_pair(real *packed, columns cols, int64_t K, int64_t k, const real *first, const real *second,
                             int64_t n) {
    const int64_t w = cols.vectors * VL;
    for (int64_t panel = 0; panel < cols.panels; panel++) {
        const int64_t at = panel * w;
        round_pair(packed + (panel * K + k) * w, first ? first + at : 0, second ? second + at : 0, n - at, w);
    }
}

/* Round pairs of rows of n numbers to words: to[i] = from[2 i], from[2 i + 1], with these distances from row to row and
 * zeros from n to `padded`, a whole number of vectors. If the number of rows is odd, the last one is paired with zeros. */
static inline void round_pairs(real *to, int64_t to_row, const real *from, int64_t from_row, int64_t rows, int64_t n,
                               int64_t padded) {
    for (int64_t i = 0; i < rows; i += 2, to += to_row, from += 2 * from_row)
        round_pair(to, from, i + 1 < rows ? from + from_row : 0, n, padded);
}

/* Pack row k of a right operand with K rows: the n values at src (null: zeros), divided into the panels of `cols`. */
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

/* Pack the K rows of from [K][n] as a right operand, as words of two rows each if `dots`. */
static inline void pack_rows(real *packed, columns cols, int dots, const real *from, int64_t K, int64_t n) {
    for (int64_t k = 0; !dots && k < K; k++) pack_row(packed, cols, K, k, from + k * n, n);
    for (int64_t k = 0; dots && k < K; k += 2)
        pack_pair(packed, cols, pairs_of(K), k / 2, from + k * n, k + 1 < K ? from + (k + 1) * n : 0, n);
}

#endif

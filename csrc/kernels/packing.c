#include "packing.h"

#include "rows.h"
#include "transpose.h"

/* Clear columns n to w of a panel's K rows. */
static void clear_columns(real *panel, int64_t w, int64_t n, int64_t K) {
    for (int64_t k = 0; n < w && k < K; k++) memset(panel + k * w + n, 0, (size_t)(w - n) * sizeof(real));
}

INLINE void copy_columns(const int N, const real *a, int64_t step, int64_t K, real *to) {
    for (int64_t k = 0; k < K; k++) memcpy(to + k * N, a + k * step, (size_t)N * sizeof(real));
}

/* Copy K numbers of each column of a tile. A constant number of columns is copied without a call. */
static void copy_tile(int64_t n, const real *a, int64_t step, int64_t K, real *to) {
    switch (n) {
        case 1: copy_columns(1, a, step, K, to); break;
        case 2: copy_columns(2, a, step, K, to); break;
        case 3: copy_columns(3, a, step, K, to); break;
        case 4: copy_columns(4, a, step, K, to); break;
        case 5: copy_columns(5, a, step, K, to); break;
        case 6: copy_columns(6, a, step, K, to); break;
        case 7: copy_columns(7, a, step, K, to); break;
        case 8: copy_columns(8, a, step, K, to); break;
        default: copy_columns((int)n, a, step, K, to); break;
    }
}

left_operand pack_tiles(const real *a, int64_t step, int64_t K, range rows, int vectors, real *to) {
    enum { TOGETHER = 16 }; /* so few k that their lines stay in cache for all tiles */
    const int64_t count = tiles_in(rows, tile_rows[vectors]);
    for (int64_t k = 0; k < K; k += TOGETHER)
        for (int64_t i = 0; i < count; i++) {
            const range tile = tile_rows_at(rows, i, count);
            const int64_t n = tile.end - tile.begin;
            copy_tile(n, a + k * step + tile.begin, step, smaller(K - k, TOGETHER), to + tile.begin * K + k * n);
        }
    return (left_operand){.p = to, .row = K, .step = 1, .tiled = 1}; /* row and step also describe a single row */
}

void pack_transposed(real *packed, columns cols, const real *from, int64_t n, int64_t K) {
    const int64_t w = cols.vectors * VL;
    for (int64_t panel = 0; panel < cols.panels; panel++) {
        const int64_t here = smaller(w, n - panel * w);
        real *to = packed + panel * K * w;
        transpose(to, w, from + panel * w * K, K, here, K);
        clear_columns(to, w, here, K);
    }
}

void pack_rounded(real *to, int64_t w, const real *from, int64_t n, int64_t K) {
    enum { COLUMNS = 64, WORDS = 32 };
    real words[COLUMNS * WORDS];
    for (int64_t first = 0; first < n; first += COLUMNS)
        for (int64_t k = 0; k < K; k += 2 * WORDS) {
            const int64_t columns = smaller(n - first, COLUMNS), here = smaller(K - k, 2 * WORDS);
            for (int64_t i = 0; i < columns; i++) round_row(words + i * WORDS, from + (first + i) * K + k, here);
            transpose(to + k / 2 * w + first, w, words, WORDS, columns, pairs_of(here));
        }
}

void pack_transposed_words(real *packed, columns cols, const real *from, int64_t n, int64_t K) {
    const int64_t w = cols.vectors * VL;
    for (int64_t panel = 0; panel < cols.panels; panel++) {
        const int64_t here = smaller(w, n - panel * w);
        real *to = packed + panel * pairs_of(K) * w;
        pack_rounded(to, w, from + panel * w * K, here, K);
        clear_columns(to, w, here, pairs_of(K));
    }
}

void transpose_pairs(real *to, int64_t to_row, const real *from, int64_t from_row, int64_t rows, int64_t n) {
    enum { PAIRS = 16, COLUMNS = 64 };
    real words[PAIRS * COLUMNS];
    for (int64_t column = 0; column < n; column += COLUMNS)
        for (int64_t first = 0; first < rows; first += 2 * PAIRS) {
            const int64_t here = smaller(2 * PAIRS, rows - first), columns = smaller(COLUMNS, n - column);
            round_pairs(words, COLUMNS, from + first * from_row + column, from_row, here, columns, COLUMNS);
            transpose(to + column * to_row + first / 2, to_row, words, COLUMNS, pairs_of(here), columns);
        }
}

#include "gemm.h"

#include "integers.h"
#include "matrix.h"
#include "slices.h"

/* What a tile multiplies: numbers, words of both operands (dots), or numbers of A and words of B. */
enum { NUMBERS, DOTS, WORDS };

INLINE void one_tile(const int MR, const int NV, const int AHEAD, const int KIND, const tile_args *t) {
    if (KIND == WORDS)
        expanding_tile(MR, NV, AHEAD, t);
    else
        tile(MR, NV, AHEAD, KIND == DOTS, t);
}

/* Turn a run-time height into the constant that unrolls a tile. Heights above `highest` generate no code. */
INLINE void tile_of_height(const int NV, const int highest, const int AHEAD, const int KIND, int rows, const tile_args *t) {
    switch (rows) {
        case 1: one_tile(1, NV, AHEAD, KIND, t); break;
        case 2:
            if (highest >= 2) one_tile(2, NV, AHEAD, KIND, t);
            break;
        case 3:
            if (highest >= 3) one_tile(3, NV, AHEAD, KIND, t);
            break;
        case 4:
            if (highest >= 4) one_tile(4, NV, AHEAD, KIND, t);
            break;
        case 5:
            if (highest >= 5) one_tile(5, NV, AHEAD, KIND, t);
            break;
        case 6:
            if (highest >= 6) one_tile(6, NV, AHEAD, KIND, t);
            break;
        case 7:
            if (highest >= 7) one_tile(7, NV, AHEAD, KIND, t);
            break;
        case 8:
            if (highest >= 8) one_tile(8, NV, AHEAD, KIND, t);
            break;
        case 9:
            if (highest >= 9) one_tile(9, NV, AHEAD, KIND, t);
            break;
        case 10:
            if (highest >= 10) one_tile(10, NV, AHEAD, KIND, t);
            break;
        case 11:
            if (highest >= 11) one_tile(11, NV, AHEAD, KIND, t);
            break;
        case 12:
            if (highest >= 12) one_tile(12, NV, AHEAD, KIND, t);
            break;
    }
}

INLINE void tile_of_kind(const int NV, const int highest, const int KIND, int rows, const tile_args *t) {
    if (t->ahead)
        tile_of_height(NV, highest, 1, KIND, rows, t);
    else
        tile_of_height(NV, highest, 0, KIND, rows, t);
}

INLINE void tile_of(const int NV, const int highest, int rows, const tile_args *t) {
    if (COMPRESSES && t->format)
        tile_of_kind(NV, highest, WORDS, rows, t);
    else if (COMPRESSES && t->dots)
        tile_of_kind(NV, highest, DOTS, rows, t);
    else
        tile_of_kind(NV, highest, NUMBERS, rows, t);
}

static void tile_1(int rows, const tile_args *t) { tile_of(1, TILE_ROWS_1, rows, t); }
static void tile_2(int rows, const tile_args *t) { tile_of(2, TILE_ROWS_2, rows, t); }
static void tile_3(int rows, const tile_args *t) { tile_of(3, TILE_ROWS_3, rows, t); }
static void tile_4(int rows, const tile_args *t) { tile_of(4, TILE_ROWS_4, rows, t); }

typedef void (*tile_of_rows)(int rows, const tile_args *t);
static const tile_of_rows tiles[5] = {0, tile_1, tile_2, tile_3, tile_4};
static const int expanded_rows[5] = {1, TILE_ROWS_1, TILE_ROWS_2, EXPANDED_ROWS_3, EXPANDED_ROWS_4};

/* A block of k: whole outer steps if there are several, else a part of the inner index. */
typedef struct {
    int64_t outer, n_outer, inner, n_inner, k; /* k: the row of B where the block begins */
} k_block;

static int64_t k_block_count(const product_args *p, int64_t *size) {
    int64_t n = p->n_outer > 1 ? p->n_outer : p->n_inner;
    *size = p->format ? COMPRESSED_K_BLOCK : p->n_outer > 1 ? (K_BLOCK + p->n_inner - 1) / p->n_inner : K_BLOCK;
    return n > 0 ? (n + *size - 1) / *size : 1;
}

static k_block k_block_at(const product_args *p, int64_t i, int64_t size) {
    int64_t n = p->n_outer > 1 ? p->n_outer : p->n_inner, begin = i * size;
    int64_t here = n - begin < size ? n - begin : size;
    if (p->n_outer > 1) return (k_block){begin, here, 0, p->n_inner, begin * p->n_inner};
    return (k_block){0, 1, begin, here, begin};
}

static const real zeros[4 * VL];

initial_sums initial_sums_of(const product_args *p, int64_t panel, int adds) {
    if (adds) return (initial_sums){p->c + panel * p->c_panel, p->c_row};
    if (p->init) return (initial_sums){p->init + panel * p->init_panel, p->init_row};
    return (initial_sums){zeros, 0};
}

/* Return the place of a block of B: of its numbers, or of its words, which have the same size. */
static const real *right_block(const product_args *p, int64_t panel, k_block k) {
    return p->b + panel * p->b_panel + (p->format ? k.k / rows_per_word(p->format) : k.k) * p->b_row;
}

/* Return the width of the tiles that cover a panel. A tile of half the width is higher. If it takes all rows, each vector
 * of B is read only once. That is worth it if B lies beyond the second-level cache: LSTM H = 512 is 5 % and RNN
 * H = 1024 is 6 % faster (8 rows, one core of a Zen 5, AVX-512). If B is in that cache, tiles of the whole width are 2
 * to 4 % faster. */
static int tile_width(const product_args *p, int64_t rows, int fetch) {
    if (p->format && !expanded_rows[p->vectors]) return p->vectors / 2;
    return fetch && p->vectors == 4 && rows > TILE_ROWS_4 && rows <= TILE_ROWS_2 ? 2 : p->vectors;
}

/* Compute all tiles of one panel and one block of k. */
static void panel_rows(const product_args *p, int64_t panel, range rows, k_block k, const real *b, stretch ahead) {
    const int width = tile_width(p, rows.end - rows.begin, ahead.p && !p->ahead.p); /* p->ahead is no block of B */
    const int64_t blocks = tiles_in(rows, (p->format ? expanded_rows : tile_rows)[width]);
    const int64_t tile_count = blocks * (p->vectors / width), fetches = tile_count * k.n_outer * k.n_inner;
    const int last = (p->n_outer > 1 ? k.outer + k.n_outer == p->n_outer : k.inner + k.n_inner == p->n_inner);
    const initial_sums init = initial_sums_of(p, panel, k.k > 0);
    tile_args t = {.n_outer = k.n_outer,
                   .n_inner = k.n_inner,
                   .a = p->a,
                   .b_row = p->b_row,
                   .init_row = init.row,
                   .c_row = p->c_row,
                   .ahead_step = ahead.p && fetches ? (ahead.size + fetches - 1) / fetches : 0,
                   .dots = p->dots,
                   .format = p->format};
    const real *a = p->a.p + k.outer * p->a.outer_step + k.inner * p->a.step;
    for (int64_t i = 0, tile = 0; i < blocks; i++) {
        const range here = tile_rows_at(rows, i, blocks);
        t.a.p = a + here.begin * p->a.row;
        if (p->a.tiled) t.a.row = 1, t.a.step = here.end - here.begin;
        for (int v = 0; v < p->vectors; v += width, tile++) {
            t.b = b + v * VL;
            t.ahead = ahead.p ? ahead.p + ahead.size * tile / tile_count : 0;
            t.init = init.p + here.begin * init.row + v * VL;
            t.c = p->c + panel * p->c_panel + here.begin * p->c_row + v * VL;
            tiles[width]((int)(here.end - here.begin), &t);
        }
        if (p->done && last) p->done(p->context, panel, here.begin, here.end - here.begin);
    }
}

/* Expand K rows of words of bfloat16 to numbers. The last word may hold another row, which is zero. */
static void expand(const uint32_t *from, int64_t columns, int64_t K, real *to) {
    for (int64_t k = 0; k < K; k += 2, to += 2 * columns)
        for (int64_t c = 0; c < columns; c += VL, from += VL)
            for (int i = 0; i < 2; i++)
                store(to + i * columns + c, row_of_words(FASTRNN_WEIGHTS_BFLOAT16, load_words(from), i));
}

/* Do what panel_rows does with the same bits, but expand the block of B once and not in each tile. */
static void expanded_panel_rows(const product_args *p, int64_t panel, range rows, k_block k) {
    real b[COMPRESSED_K_BLOCK * 4 * VL];
    expand((const uint32_t *)right_block(p, panel, k), p->b_row, k.n_inner, b);
    product_args of_numbers = *p;
    of_numbers.format = FASTRNN_WEIGHTS_FULL;
    panel_rows(&of_numbers, panel, rows, k, b, (stretch){0});
}

static void product_of_rows(const product_args *p, range panels, range rows) {
    const int64_t n = panels.end - panels.begin, per_word = p->format ? rows_per_word(p->format) : 1;
    const int64_t K = p->n_outer * p->n_inner / per_word;
    const int fetch = n * K * p->vectors * VL * (int64_t)sizeof(real) > FETCH_AHEAD_BYTES;
    int64_t size, count = k_block_count(p, &size);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < count; j++) {
            const int64_t panel = panel_at(p, panels, i), next = j + 1 < count ? panel : panel_at(p, panels, i + 1);
            const k_block k = k_block_at(p, j, size);
            stretch ahead = p->ahead;
            if (fetch)
                ahead = (stretch){right_block(p, next, k_block_at(p, (j + 1) % count, size)),
                                  k.n_outer * k.n_inner / per_word * p->b_row};
            if (COMPRESSES && p->format && rows.end - rows.begin >= EXPANDED_BLOCK_ROWS)
                expanded_panel_rows(p, panel, rows, k);
            else
                panel_rows(p, panel, rows, k, right_block(p, panel, k), ahead);
        }
}

/* Turn the kind of operands into the constant that selects a tile's arithmetic. */
INLINE void row_of_kind(const int NP, const int NV, const row_args *t) {
    if (COMPRESSES && t->dots)
        row_tile(NP, NV, 1, t);
    else
        row_tile(NP, NV, 0, t);
}

static void row_1(int64_t panels, const row_args *t) { panels > 1 ? row_of_kind(8, 1, t) : row_of_kind(1, 1, t); }
static void row_2(int64_t panels, const row_args *t) { panels > 1 ? row_of_kind(4, 2, t) : row_of_kind(1, 2, t); }
static void row_3(int64_t panels, const row_args *t) {
    panels > 2 ? row_of_kind(3, 3, t) : panels > 1 ? row_of_kind(2, 3, t) : row_of_kind(1, 3, t);
}
static void row_4(int64_t panels, const row_args *t) { panels > 1 ? row_of_kind(2, 4, t) : row_of_kind(1, 4, t); }

typedef void (*row_of_panels)(int64_t panels, const row_args *t);
static const row_of_panels row_tiles[5] = {0, row_1, row_2, row_3, row_4};
/* Panels side by side: 8 or 9 sums, or 6 if two panels of 3 vectors are left. */
static const int row_panels[5] = {1, 8, 4, 3, 2}, fewer_panels[5] = {1, 1, 1, 2, 1};

/* Compute one row of `n` panels side by side, from `panel` on. */
static void row_of(const product_args *p, int64_t panel, int64_t n, int64_t row) {
    real *c = p->c + panel * p->c_panel + row * p->c_row;
    row_args t = {.a = p->a,
                  .b_panel = p->b_panel,
                  .b_row = p->b_row,
                  .init = p->init ? p->init + panel * p->init_panel + row * p->init_row : zeros,
                  .init_panel = p->init ? p->init_panel : 0,
                  .c = c,
                  .c_panel = p->c_panel,
                  .dots = p->dots};
    int64_t size, count = k_block_count(p, &size);
    for (int64_t i = 0; i < count; i++) {
        const k_block k = k_block_at(p, i, size);
        t.n_outer = k.n_outer;
        t.n_inner = k.n_inner;
        t.a.p = p->a.p + row * p->a.row + k.outer * p->a.outer_step + k.inner * p->a.step;
        t.b = right_block(p, panel, k);
        row_tiles[p->vectors](n, &t);
        t.init = c;
        t.init_panel = p->c_panel;
    }
}

/* Turn a format into the constant that selects a tile's shifts. */
INLINE void words_tile(const int NP, const int NV, int format, const word_args *t) {
    if (format == FASTRNN_WEIGHTS_INT8)
        word_tile(NP, NV, FASTRNN_WEIGHTS_INT8, t);
    else
        word_tile(NP, NV, FASTRNN_WEIGHTS_BFLOAT16, t);
}

typedef void (*words_of_panels)(int64_t panels, int format, const word_args *t);
static void words_1(int64_t n, int f, const word_args *t) { n > 1 ? words_tile(8, 1, f, t) : words_tile(1, 1, f, t); }
static void words_2(int64_t n, int f, const word_args *t) { n > 1 ? words_tile(4, 2, f, t) : words_tile(1, 2, f, t); }
static void words_3(int64_t n, int f, const word_args *t) {
    n > 2 ? words_tile(3, 3, f, t) : n > 1 ? words_tile(2, 3, f, t) : words_tile(1, 3, f, t);
}
static void words_4(int64_t n, int f, const word_args *t) { n > 1 ? words_tile(2, 4, f, t) : words_tile(1, 4, f, t); }
static const words_of_panels word_tiles[5] = {0, words_1, words_2, words_3, words_4};

/* A is divided by a_factor first. */
static void compressed_row_of(const product_args *p, int64_t panel, int64_t n, int64_t row, real a_factor) {
    real *c = p->c + panel * p->c_panel + row * p->c_row;
    word_args t = {.b_panel = p->b_panel,
                   .b_row = p->b_row,
                   .scales = p->scales ? p->scales + panel * p->b_row : 0,
                   .a_factor = a_factor,
                   .init = p->init ? p->init + panel * p->init_panel + row * p->init_row : zeros,
                   .init_panel = p->init ? p->init_panel : 0,
                   .c = c,
                   .c_panel = p->c_panel};
    real divided[COMPRESSED_K_BLOCK];
    for (int64_t k = 0; k < p->n_inner; k += COMPRESSED_K_BLOCK) {
        t.K = p->n_inner - k < COMPRESSED_K_BLOCK ? p->n_inner - k : COMPRESSED_K_BLOCK;
        t.a = p->a.p + row * p->a.row + k;
        for (int64_t i = 0; a_factor != 1 && i < t.K; i++) divided[i] = t.a[i] / a_factor;
        if (a_factor != 1) t.a = divided;
        t.b = (const uint32_t *)right_block(p, panel, (k_block){.k = k});
        word_tiles[p->vectors](n, p->format, &t);
        t.init = c;
        t.init_panel = p->c_panel;
    }
}

static void product_of_row(const product_args *p, range panels, int64_t row, real a_factor) {
    const int64_t all = panels.end - panels.begin, together = row_panels[p->vectors], fewer = fewer_panels[p->vectors];
    for (int64_t i = 0, n; i < all; i += n) {
        n = all - i >= together ? together : all - i >= fewer ? fewer : 1;
        const int64_t panel = p->backwards ? panels.end - i - n : panels.begin + i;
        if (COMPRESSES && p->format)
            compressed_row_of(p, panel, n, row, a_factor);
        else
            row_of(p, panel, n, row);
        for (int64_t j = 0; p->done && j < n; j++) p->done(p->context, panel + j, row, 1);
    }
}

/* Return what a row of A is divided by in float32. With a number above 2^88, sums could overflow before they are multiplied
 * by the weights' scales. A row that is divided loses its numbers below 2^-76. */
static real a_factor_of(const real *a, int64_t K) { return largest_magnitude(a, K) <= (real)0x1p88 ? 1 : (real)0x1p50; }

/* Compute a product with int8 weights: in integers, or in float32 for rows that 16 bits hold too coarsely. */
static void product_of_integers(const product_args *p, range panels, range rows) {
    while (rows.begin < rows.end) {
        const int64_t n = multiply_in_integers(p, panels, rows);
        if (!n) product_of_row(p, panels, rows.begin, a_factor_of(p->a.p + rows.begin * p->a.row, p->n_inner));
        rows.begin += n ? n : 1;
    }
}

void product(const product_args *p, range panels, range rows) {
    if (MATRIX_UNIT && p->a.slices)
        sliced_product(p, panels, rows);
    else if (MATRIX_UNIT && p->dots)
        matrix_product(p, panels, rows);
    else if (COMPRESSES && p->format == FASTRNN_WEIGHTS_INT8)
        product_of_integers(p, panels, rows);
    else if (rows.end - rows.begin == 1)
        product_of_row(p, panels, rows.begin, 1);
    else if (rows.begin < rows.end)
        product_of_rows(p, panels, rows);
}

void product_to_rows(product_args p, columns cols, range rows, row_results out) {
    p.vectors = cols.vectors;
    p.b_row = p.init_panel = p.c_panel = cols.vectors * VL;
    p.b_panel = panel_size(&p);
    p.init_row = 0;
    p.c = out.buffer;
    p.c_row = cols.padded;
    const real *a = p.a.p;
    for (int64_t first = rows.begin; first < rows.end; first += ROW_BLOCK) {
        int64_t n = rows.end - first < ROW_BLOCK ? rows.end - first : ROW_BLOCK;
        p.a.p = a + first * p.a.row;
        product(&p, (range){0, cols.panels}, (range){0, n});
        for (int64_t i = 0; i < n; i++) {
            int64_t place = out.place ? out.place[first + i] : first + i;
            memcpy(out.to + place * out.n, out.buffer + i * cols.padded, (size_t)out.n * sizeof(real));
        }
    }
}

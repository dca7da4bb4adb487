#include "gemm.h"

/* Rows of B in a block: 128 rows of 4 vectors are half of a 64 KiB, or two thirds of a 48 KiB first-level cache, and stay
 * there for all row blocks. The blocks' borders are part of the result's bits: they depend on K alone. */
enum { K_BLOCK = 128 };

/* Turns a run-time height into the constant that unrolls a tile; heights above `highest` leave no code behind. */
INLINE void tile_of_height(const int NV, const int highest, int rows, const tile_args *t) {
    switch (rows) {
        case 1: tile(1, NV, t); break;
        case 2:
            if (highest >= 2) tile(2, NV, t);
            break;
        case 3:
            if (highest >= 3) tile(3, NV, t);
            break;
        case 4:
            if (highest >= 4) tile(4, NV, t);
            break;
        case 5:
            if (highest >= 5) tile(5, NV, t);
            break;
        case 6:
            if (highest >= 6) tile(6, NV, t);
            break;
        case 7:
            if (highest >= 7) tile(7, NV, t);
            break;
        case 8:
            if (highest >= 8) tile(8, NV, t);
            break;
        case 9:
            if (highest >= 9) tile(9, NV, t);
            break;
        case 10:
            if (highest >= 10) tile(10, NV, t);
            break;
        case 11:
            if (highest >= 11) tile(11, NV, t);
            break;
        case 12:
            if (highest >= 12) tile(12, NV, t);
            break;
    }
}

static void tile_1(int rows, const tile_args *t) { tile_of_height(1, TILE_ROWS_1, rows, t); }
static void tile_2(int rows, const tile_args *t) { tile_of_height(2, TILE_ROWS_2, rows, t); }
static void tile_3(int rows, const tile_args *t) { tile_of_height(3, TILE_ROWS_3, rows, t); }
static void tile_4(int rows, const tile_args *t) { tile_of_height(4, TILE_ROWS_4, rows, t); }

typedef void (*tile_of_rows)(int rows, const tile_args *t);
static const tile_of_rows tiles[5] = {0, tile_1, tile_2, tile_3, tile_4};
static const int tile_rows[5] = {1, TILE_ROWS_1, TILE_ROWS_2, TILE_ROWS_3, TILE_ROWS_4};

/* Cut k into blocks: by whole outer steps when there are several, else along the inner index. */
typedef struct {
    int64_t outer, n_outer, inner, n_inner, k; /* k: B's row where the block begins */
} k_block;

static int64_t k_block_count(const product_args *p, int64_t *size) {
    int64_t n = p->n_outer > 1 ? p->n_outer : p->n_inner;
    *size = p->n_outer > 1 ? (K_BLOCK + p->n_inner - 1) / p->n_inner : K_BLOCK;
    return n > 0 ? (n + *size - 1) / *size : 1;
}

static k_block k_block_at(const product_args *p, int64_t i, int64_t size) {
    int64_t n = p->n_outer > 1 ? p->n_outer : p->n_inner, begin = i * size;
    int64_t here = n - begin < size ? n - begin : size;
    if (p->n_outer > 1) return (k_block){begin, here, 0, p->n_inner, begin * p->n_inner};
    return (k_block){0, 1, begin, here, begin};
}

/* All row blocks of one panel and one block of k. Blocks are made equally high: 8 rows are 4 + 4, not 6 + 2. */
static void panel_rows(const product_args *p, int64_t panel, range rows, k_block k, const real *init, int64_t init_row,
                       rows_done done) {
    const int64_t n = rows.end - rows.begin, highest = tile_rows[p->vectors], blocks = (n + highest - 1) / highest;
    tile_args t = {.n_outer = k.n_outer,
                   .n_inner = k.n_inner,
                   .a = p->a,
                   .b = p->b + panel * p->b_panel + k.k * p->b_row,
                   .b_row = p->b_row,
                   .init_row = init_row,
                   .c_row = p->c_row};
    const real *a = p->a.p + k.outer * p->a.outer_step + k.inner * p->a.step;
    for (int64_t i = 0; i < blocks; i++) {
        int64_t begin = rows.begin + n * i / blocks, end = rows.begin + n * (i + 1) / blocks;
        t.a.p = a + begin * p->a.row;
        t.init = init + begin * init_row;
        t.c = p->c + panel * p->c_panel + begin * p->c_row;
        tiles[p->vectors]((int)(end - begin), &t);
        if (done) done(p->context, panel, begin, end - begin);
    }
}

void product(const product_args *p, range panels, range rows) {
    static const real zeros[4 * VL];
    if (rows.begin >= rows.end) return;
    int64_t size, count = k_block_count(p, &size);
    for (int64_t panel = panels.begin; panel < panels.end; panel++)
        for (int64_t i = 0; i < count; i++) {
            const real *c = p->c + panel * p->c_panel, *init = p->init ? p->init + panel * p->init_panel : zeros;
            int64_t init_row = p->init ? p->init_row : 0;
            rows_done done = i == count - 1 ? p->done : 0;
            panel_rows(p, panel, rows, k_block_at(p, i, size), i ? c : init, i ? p->c_row : init_row, done);
        }
}

void product_to_rows(product_args p, columns cols, range rows, row_results out) {
    p.vectors = cols.vectors;
    p.b_row = p.init_panel = p.c_panel = cols.vectors * VL;
    p.b_panel = p.n_outer * p.n_inner * p.b_row;
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

void pack_transposed(real *packed, columns cols, const real *from, int64_t n, int64_t K) {
    const int64_t w = cols.vectors * VL;
    for (int64_t panel = 0; panel < cols.panels; panel++)
        for (int64_t j = 0; j < w; j++) {
            int64_t row = panel * w + j;
            real *to = packed + panel * K * w + j;
            for (int64_t k = 0; k < K; k++) to[k * w] = row < n ? from[row * K + k] : 0;
        }
}

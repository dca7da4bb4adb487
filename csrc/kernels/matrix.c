#include "matrix.h"

#include "tiles.h"

#ifdef FASTRNN_TILES

/* Sums take four tiles, so that an instruction need not wait for the one before it: 2 rows of tiles by 2 columns, or 1 by
 * 4 if there are at most 16 rows of A. */
enum { BLOCK_ROWS = 2 * TILE };

/* A part of k: some outer steps, each of some tiles of `depth` words. */
typedef struct {
    int64_t outer, n_outer, inner, tiles;
    int depth;
    int64_t k; /* the row of B where the part begins */
} k_part;

/* The sums of a block over one part of k: `rows` of A in its first and second row of tiles, some columns of tiles. */
typedef struct {
    int rows[2], columns;
    k_part part;
    left_operand a;
    const real *b, *init;
    real *c;
    int64_t b_row, init_row, c_row;
} block;

/* Rows and depth of the tiles as they are configured. */
typedef struct {
    int rows[2], depth;
} shape;

/* Tiles 0 to 3 hold sums. In a 2 x 2 block they are in row order, 4 and 5 are of A, and 6 and 7 of B. In a row of up to
 * four, 4 is of A and 5 of B. */
static void configure(shape s) {
    const uint8_t first = (uint8_t)s.rows[0], second = (uint8_t)(s.rows[1] ? s.rows[1] : s.rows[0]);
    const uint8_t depth = (uint8_t)s.depth, left = (uint8_t)(4 * s.depth);
    const uint8_t rows[8] = {first, first, second, second, first, s.rows[1] ? second : depth, depth, depth};
    const uint8_t bytes[8] = {64, 64, 64, 64, left, s.rows[1] ? left : 64, 64, 64};
    shape_tiles(rows, bytes);
}

INLINE void zero_sums(const int columns, const int two_rows) {
    tile_zero(0);
    if (columns > 1) tile_zero(1);
    if (two_rows || columns > 2) tile_zero(2);
    if (two_rows ? columns > 1 : columns > 3) tile_zero(3);
}

/* C = init + sums. The sums begin at zero, because a large init would cost them bits at every step. */
INLINE void store_sums(const int columns, const int two_rows, const block *t) {
    enum { WIDTH = 4 * VL };
    const int64_t stride = WIDTH * (int64_t)sizeof(real);
    real sums[BLOCK_ROWS * WIDTH] __attribute__((aligned(64)));
    tile_store(0, sums, stride);
    if (columns > 1) tile_store(1, sums + VL, stride);
    if (two_rows) tile_store(2, sums + TILE * WIDTH, stride);
    if (two_rows && columns > 1) tile_store(3, sums + TILE * WIDTH + VL, stride);
    if (!two_rows && columns > 2) tile_store(2, sums + 2 * VL, stride);
    if (!two_rows && columns > 3) tile_store(3, sums + 3 * VL, stride);
    for (int r = 0; r < t->rows[0] + t->rows[1]; r++)
        for (int v = 0; v < columns; v++)
            store(t->c + r * t->c_row + v * VL, load(t->init + r * t->init_row + v * VL) + load(sums + r * WIDTH + v * VL));
}

/* Add the products of one tile of k to a block of two rows of tiles. */
INLINE void add_two_rows(const int columns, const block *t, const real *a, const real *b) {
    const int64_t a_stride = t->a.row * (int64_t)sizeof(real), b_stride = t->b_row * (int64_t)sizeof(real);
    tile_load(4, a, a_stride);
    tile_load(6, b, b_stride);
    tile_dot(0, 4, 6);
    tile_load(5, a + TILE * t->a.row, a_stride);
    tile_dot(2, 5, 6);
    if (columns > 1) tile_load(7, b + VL, b_stride);
    if (columns > 1) tile_dot(1, 4, 7);
    if (columns > 1) tile_dot(3, 5, 7);
}

/* Add the products of one tile of k to a row of up to four tiles. */
INLINE void add_one_row(const int columns, const block *t, const real *a, const real *b) {
    const int64_t a_stride = t->a.row * (int64_t)sizeof(real), b_stride = t->b_row * (int64_t)sizeof(real);
    tile_load(4, a, a_stride);
    tile_load(5, b, b_stride);
    tile_dot(0, 4, 5);
    if (columns > 1) tile_load(6, b + VL, b_stride);
    if (columns > 1) tile_dot(1, 4, 6);
    if (columns > 2) tile_load(7, b + 2 * VL, b_stride);
    if (columns > 2) tile_dot(2, 4, 7);
    if (columns > 3) tile_load(5, b + 3 * VL, b_stride);
    if (columns > 3) tile_dot(3, 4, 5);
}

INLINE void add_block(const int columns, const int two_rows, const block *t) {
    const k_part k = t->part;
    const real *b = t->b;
    zero_sums(columns, two_rows);
    for (int64_t outer = 0; outer < k.n_outer; outer++) {
        const real *a = t->a.p + outer * t->a.outer_step;
        for (int64_t n = 0; n < k.tiles; n++, a += k.depth, b += k.depth * t->b_row)
            if (two_rows)
                add_two_rows(columns, t, a, b);
            else
                add_one_row(columns, t, a, b);
    }
    store_sums(columns, two_rows, t);
}

/* Turn the numbers of tiles into constants. Tiles that have another shape than those before them are configured anew. */
static void run_block(const block *t, shape *now) {
    const shape wanted = {{t->rows[0], t->rows[1]}, t->part.depth};
    if (memcmp(now, &wanted, sizeof wanted)) configure(wanted);
    *now = wanted;
    switch (t->columns + (t->rows[1] ? 4 : 0)) {
        case 1: add_block(1, 0, t); break;
        case 2: add_block(2, 0, t); break;
        case 3: add_block(3, 0, t); break;
        case 4: add_block(4, 0, t); break;
        case 5: add_block(1, 1, t); break;
        default: add_block(2, 1, t); break;
    }
}

/* Return part i of k, or one without tiles after the last. Outer steps, whose words are a multiple of eight, are divided
 * into equal tiles. Otherwise all tiles are 16 words deep, and what is left is a part of its own with a shallower one. */
static k_part k_part_at(const product_args *p, int64_t i) {
    const int64_t n = p->n_inner;
    if (p->n_outer > 1) {
        const int depth = n % 16 == 0 ? 16 : n % 12 == 0 ? 12 : 8;
        const int64_t each = (K_BLOCK + n - 1) / n, first = i * each;
        return (k_part){first, smaller(each, p->n_outer - first), 0, first < p->n_outer ? n / depth : 0, depth, first * n};
    }
    const int64_t whole = n / TILE * TILE, parts = (whole + K_BLOCK - 1) / K_BLOCK, first = i * K_BLOCK;
    if (i < parts) return (k_part){0, 1, first, smaller(K_BLOCK, whole - first) / TILE, TILE, first};
    return (k_part){0, 1, whole, i == parts && n > whole, (int)(n - whole), whole};
}

/* Compute some rows of a panel for one part of k. */
static void panel_block(const product_args *p, int64_t panel, range rows, k_part k, shape *now) {
    const int n = (int)(rows.end - rows.begin);
    const initial_sums init = initial_sums_of(p, panel, k.k > 0);
    block t = {.rows = {n < TILE ? n : TILE, n > TILE ? n - TILE : 0},
               .part = k,
               .a = p->a,
               .b_row = p->b_row,
               .init_row = init.row,
               .c_row = p->c_row};
    t.a.p += rows.begin * p->a.row + k.outer * p->a.outer_step + k.inner;
    const int most = t.rows[1] ? 2 : 4;
    for (int v = 0; v < p->vectors; v += most) {
        t.columns = p->vectors - v < most ? p->vectors - v : most;
        t.b = p->b + panel * p->b_panel + k.k * p->b_row + v * VL;
        t.init = init.p + rows.begin * init.row + v * VL;
        t.c = p->c + panel * p->c_panel + rows.begin * p->c_row + v * VL;
        run_block(&t, now);
    }
}

void matrix_product(const product_args *p, range panels, range rows) {
    shape now = {0};
    for (int64_t i = 0; i < panels.end - panels.begin; i++) {
        const int64_t panel = panel_at(p, panels, i);
        k_part next = k_part_at(p, 0);
        for (int64_t j = 1; next.tiles; j++) {
            const k_part k = next;
            next = k_part_at(p, j);
            for (int64_t first = rows.begin; first < rows.end; first += BLOCK_ROWS) {
                const range some = {first, smaller(first + BLOCK_ROWS, rows.end)};
                panel_block(p, panel, some, k, &now);
                if (p->done && !next.tiles) p->done(p->context, panel, some.begin, some.end - some.begin);
            }
        }
    }
    tile_release();
}

#else

void matrix_product(const product_args *p, range panels, range rows) { (void)p, (void)panels, (void)rows; }

#endif

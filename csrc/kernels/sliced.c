/* Products of slices (slices.h) on a matrix unit.
 *
 * A block is one row of tiles by one column; only the rows that the caller wants are loaded. A column of tiles is finished
 * for all rows before the next one, because its part of B then comes from the first two levels of cache. Integers add up
 * exactly, so the bits depend neither on the order of k nor on how rows and panels are divided. */
#include "matrix.h"
#include "tiles.h"

#ifdef FASTRNN_TILES

enum { STRIDE = TILE * 4 };

/* The number of tiles of k whose sums fit 32 bits: S_3 grows by at most 4 * 64 * 2^14 with each. */
enum { MOST_TILES = 256 };

/* How many products of slices a sum has. Three slices: six (S_0 to S_2), or eight in a short sum (two of S_3 as well). Four
 * slices: ten (S_0 to S_3). */
typedef enum { SIX, EIGHT, TEN } products;

/* The sums of some rows of a row of tiles, over some tiles of k. */
typedef struct {
    int rows;
    int64_t k_tiles;
    const real *a, *b, *a_scales, *b_scales, *init;
    real *c;
    int64_t init_row, c_row;
} block;

/* Sums of fewer terms than this, in whole words, have eight products. With six the errors would be larger than float32's,
 * which rounds after each term and so has smaller errors in shorter sums. */
enum { FEW_TERMS = 512 };

static products products_of(const product_args *p) {
    return p->a.slices == BACKWARD_SLICES ? TEN : 4 * p->n_inner < FEW_TERMS ? EIGHT : SIX;
}

/* Tiles 0 to 2 hold S_0, S_1 and S_2, and 3 holds S_3, or with six products a part of S_2, because an instruction waits for
 * the one before it that adds to the same tile. 4 to 6 are slices of A, and 7 is one of B. */
static void configure(int rows) {
    const uint8_t r = (uint8_t)rows, of_rows[8] = {r, r, r, r, r, r, r, TILE};
    static const uint8_t bytes[8] = {64, 64, 64, 64, 64, 64, 64, 64};
    shape_tiles(of_rows, bytes);
}

/* Add the products of one tile of k: S_(i + j) += A_i B_j for i + j < 3, or 4 with eight or ten products. */
INLINE void add_tile(const products P, const real *a, const real *b) {
    tile_load(7, b, STRIDE);
    if (P == TEN) tile_load(4, a + 3 * SLICED_TILE, STRIDE);
    if (P == TEN) tile_dot_bytes(3, 4, 7);
    tile_load(4, a, STRIDE);
    tile_dot_bytes(0, 4, 7);
    tile_load(5, a + SLICED_TILE, STRIDE);
    tile_dot_bytes(1, 5, 7);
    tile_load(6, a + 2 * SLICED_TILE, STRIDE);
    tile_dot_bytes(2, 6, 7);
    tile_load(7, b + SLICED_TILE, STRIDE);
    if (P != SIX) tile_dot_bytes(3, 6, 7);
    if (P != SIX) tile_dot_bytes(2, 5, 7);
    if (P == SIX) tile_dot_bytes(3, 5, 7);
    tile_dot_bytes(1, 4, 7);
    tile_load(7, b + 2 * SLICED_TILE, STRIDE);
    if (P != SIX) tile_dot_bytes(3, 5, 7);
    tile_dot_bytes(2, 4, 7);
    if (P == TEN) tile_load(7, b + 3 * SLICED_TILE, STRIDE);
    if (P == TEN) tile_dot_bytes(3, 4, 7);
}

INLINE ints row_of_tile(const int32_t *sums, int tile, int row) {
    ints found;
    memcpy(&found, sums + tile * SLICED_TILE + row * TILE, sizeof found);
    return found;
}

/* C = init + scale_row scale_column (S_0 + S_1 / 2^8 + S_2 / 2^16 [+ S_3 / 2^24])
 *
 * With ten products scales are powers of two, and their product may overflow although the result does not. The scale of a
 * column comes first, because columns are balanced, so it is at most 2^-5. */
INLINE void store_sums(const products P, const int32_t *sums, const block *t) {
    const vec of_columns = load(t->b_scales), digit = splat((real)0x1p-8);
    for (int r = 0; r < t->rows; r++) {
        const vec s0 = __builtin_convertvector(row_of_tile(sums, 0, r), vec);
        const vec s1 = __builtin_convertvector(row_of_tile(sums, 1, r), vec);
        const ints last = row_of_tile(sums, 3, r);
        vec s2 = __builtin_convertvector(row_of_tile(sums, 2, r) + (P == SIX ? last : 0 * last), vec);
        if (P != SIX) s2 = fma_(__builtin_convertvector(last, vec), digit, s2);
        const vec sum = fma_(fma_(s2, digit, s1), digit, s0), of_row = splat(t->a_scales[r]);
        const vec init = load(t->init + r * t->init_row);
        store(t->c + r * t->c_row, P == TEN ? fma_(sum * of_columns, of_row, init) : fma_(sum, of_columns * of_row, init));
    }
}

INLINE void add_block(const products P, const block *t) {
    int32_t sums[4 * SLICED_TILE] __attribute__((aligned(64)));
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
    const int64_t step = (P == TEN ? BACKWARD_SLICES : FORWARD_SLICES) * SLICED_TILE;
    for (int64_t k = 0; k < t->k_tiles; k++) add_tile(P, t->a + k * step, t->b + k * step);
    tile_store(0, sums, STRIDE);
    tile_store(1, sums + SLICED_TILE, STRIDE);
    tile_store(2, sums + 2 * SLICED_TILE, STRIDE);
    tile_store(3, sums + 3 * SLICED_TILE, STRIDE);
    store_sums(P, sums, t);
}

/* Some tiles of k in one column of tiles: vector `vector` of a panel. */
typedef struct {
    int64_t panel, vector, k_tile, k_tiles;
} column;

/* The block from a row to the end of its row of tiles, or to `end`. */
static block block_of(const product_args *p, column at, int64_t row, int64_t end) {
    const initial_sums init = initial_sums_of(p, at.panel, at.k_tile > 0);
    const int slices = p->a.slices;
    const int64_t K = 4 * p->n_inner, first = at.k_tile * slices * SLICED_TILE;
    return (block){.rows = (int)smaller(end - row, TILE - row % TILE),
                   .k_tiles = at.k_tiles,
                   .a = p->a.p + sliced_row_at(slices, K, row) + first,
                   .b = p->b + at.panel * p->b_panel + sliced_at(slices, K, at.vector * VL, 0, 0) + first,
                   .a_scales = p->a.scales + row,
                   .b_scales = p->scales + at.panel * p->b_row + at.vector * VL,
                   .init = init.p + row * init.row + at.vector * VL,
                   .c = p->c + at.panel * p->c_panel + row * p->c_row + at.vector * VL,
                   .init_row = init.row,
                   .c_row = p->c_row};
}

/* Compute a column for all rows. `tile_rows` is the number of rows for which tiles are configured now. */
static void column_of_tiles(const product_args *p, column at, range rows, rows_done done, int *tile_rows) {
    for (int64_t row = rows.begin, next; row < rows.end; row = next) {
        const block t = block_of(p, at, row, rows.end);
        next = row + t.rows;
        if (*tile_rows != t.rows) configure(t.rows);
        *tile_rows = t.rows;
        switch (products_of(p)) {
            case SIX: add_block(SIX, &t); break;
            case EIGHT: add_block(EIGHT, &t); break;
            case TEN: add_block(TEN, &t); break;
        }
        if (done) done(p->context, at.panel, row, t.rows);
    }
}

void sliced_product(const product_args *p, range panels, range rows) {
    const int64_t k_tiles = sliced_tiles(4 * p->n_inner);
    int tile_rows = 0;
    for (int64_t i = 0; i < panels.end - panels.begin; i++)
        for (int64_t vector = 0; vector < p->vectors; vector++)
            for (int64_t k = 0; k < k_tiles; k += MOST_TILES) {
                const column at = {panel_at(p, panels, i), vector, k, smaller(MOST_TILES, k_tiles - k)};
                const int last = vector + 1 == p->vectors && k + MOST_TILES >= k_tiles;
                column_of_tiles(p, at, rows, last ? p->done : 0, &tile_rows);
            }
    tile_release();
}

#else

void sliced_product(const product_args *p, range panels, range rows) { (void)p, (void)panels, (void)rows; }

#endif

/* Sums of outer products: sum over n of a[n]^T x[n].
 *
 * The sum runs over the rows of both operands, so x must be packed as the tile's right operand. Each time, a block of
 * rows n and some panels of their columns are copied into a buffer that stays in the second-level cache for all columns
 * of a. (Without the copy, rows of x are often a power of two apart and would evict each other.) If at least two panels of
 * full width read them, columns of a are copied too, in the order of the tiles. Words and slices are always copies. The sums
 * of a block are added directly to the caller's rows. */
#include "outer.h"

#include "../layer.h"
#include "long_slices.h"
#include "packing.h"
#include "rows.h"
#include "transpose.h"

static int64_t step_of(const schedule *s, int64_t n) {
    int64_t step = 0;
    while (s->offset[step + 1] <= n) step++;
    return step;
}

/* Return the vectors in a panel of x's columns; the last panel may have fewer. */
static int vectors_at(const outer_right *x, int64_t column) {
    return (int)smaller(columns_of(x->n).vectors, (x->n - column + VL - 1) / VL);
}

/* The rows of x, read in order. */
typedef struct {
    const outer_right *x;
    int64_t step;
} right_rows;

static const real *row_at(right_rows *r, int64_t n) {
    const schedule *s = r->x->steps;
    while (s && s->offset[r->step + 1] <= n) r->step++;
    const int64_t row = s ? row_before(s, r->step) + n - s->offset[r->step] : n;
    return r->x->rows + row * r->x->stride;
}

static void copy_row(real *to, const real *from, int64_t n, int64_t padded) {
    if (n < padded)
        load_row(to, from, n, padded);
    else
        for (int64_t v = 0; v < padded; v += VL) store(to + v, load(from + v));
}

/* to[n][a panel's columns] = columns from `first` on of rows n; as words, of two rows each, if `dots` */
static void copy_right(const outer_args *o, range n, int64_t first, real *to) {
    const outer_right *x = &o->x;
    const int dots = o->dots;
    const int64_t w = vectors_at(x, first) * VL, here = smaller(w, x->n - first);
    right_rows rows = {x, x->steps ? step_of(x->steps, n.begin) : 0};
    for (int64_t i = n.begin; i < n.end && !dots; i++, to += w) copy_row(to, row_at(&rows, i) + first, here, w);
    for (int64_t i = n.begin; i < n.end && dots; i += 2, to += w) {
        const real *even = row_at(&rows, i) + first, *odd = i + 1 < n.end ? row_at(&rows, i + 1) + first : 0;
        round_pair(to, even, odd, here, w);
    }
}

/* A thread's buffer. The panels of x are K_BLOCK rows apart, whether they hold numbers, words or slices. */
typedef struct {
    real *right, *sums, *left; /* [OUTER_PANELS][K_BLOCK][w], [OUTER_ROWS][w], [K_BLOCK][OUTER_ROWS] */
    /* For slices: [OUTER_PANELS][w], [OUTER_ROWS], [K_BLOCK], [K_BLOCK], [K_BLOCK][w] */
    real *right_scales, *left_scales, *right_factors, *left_factors, *numbers;
} outer_buffer;

static outer_buffer divide_buffer(real *at, int64_t w) {
    outer_buffer b = {.right = at};
    b.sums = b.right + OUTER_PANELS * K_BLOCK * w;
    b.left = b.sums + OUTER_ROWS * w;
    if (!MATRIX_UNIT) return b;
    b.right_scales = b.left + K_BLOCK * OUTER_ROWS;
    b.left_scales = b.right_scales + OUTER_PANELS * w;
    b.right_factors = b.left_scales + OUTER_ROWS;
    b.left_factors = b.right_factors + K_BLOCK;
    b.numbers = b.left_factors + K_BLOCK;
    return b;
}

/* Find the factors that balance row n of both operands, from all columns of x. */
static void balance_rows(const outer_args *o, range n, const outer_buffer *b) {
    right_rows rows = {&o->x, o->x.steps ? step_of(o->x.steps, n.begin) : 0};
    for (int64_t i = n.begin; i < n.end; i++) {
        const balance factors = balance_of(row_at(&rows, i), o->x.n);
        b->right_factors[i - n.begin] = factors.right;
        b->left_factors[i - n.begin] = factors.left;
    }
}

/* Slice the columns of a panel of x, from `first` on, of rows n. */
static void slice_right(const outer_args *o, range n, int64_t first, const outer_buffer *b, real *to, real *scales) {
    const int64_t w = vectors_at(&o->x, first) * VL, K = n.end - n.begin;
    const strided_rows rows = {b->numbers, w};
    copy_right(o, n, first, b->numbers);
    for (int64_t column = 0; column < w; column += VL)
        slice_columns((operand_columns){strided_row, &rows, b->right_factors, column, w}, K,
                      to + sliced_at(BACKWARD_SLICES, K, column, 0, 0), scales + column);
}

/* The columns of a that one call of `product` takes: some vectors of one group. Each column gives a row of the result. */
typedef struct {
    int64_t group;
    range vectors;
} part_of_a;

static int64_t vectors_of_group(const outer_args *o) { return (o->columns + VL - 1) / VL; }

/* Return the part that begins at vector v, counted over all groups: at most OUTER_ROWS columns of one group, before vector
 * `end`. */
static part_of_a part_at(const outer_args *o, int64_t v, int64_t end) {
    const int64_t vectors = vectors_of_group(o), at = v % vectors;
    return (part_of_a){v / vectors, {at, at + smaller(smaller(OUTER_ROWS / VL, vectors - at), end - v)}};
}

static int64_t columns_in(const outer_args *o, part_of_a part) {
    return smaller(part.vectors.end * VL, o->columns) - part.vectors.begin * VL;
}

static const real *left_at(const outer_args *o, part_of_a part, int64_t n) {
    return o->a + part.group * o->group + n * o->step + part.vectors.begin * VL;
}

/* Slice a vector of columns of a as rows of a left operand: its tiles are transposed ones of a right operand. */
static void slice_left(operand_columns a, int64_t K, real *to, real *scales) {
    enum { SIDE = 16 };
    real tile[SLICED_TILE];
    slice_columns(a, K, to, scales);
    for (int64_t i = 0; i < BACKWARD_SLICES * sliced_tiles(K); i++, to += SLICED_TILE) {
        transpose(tile, SIDE, to, SIDE, SIDE, SIDE);
        memcpy(to, tile, sizeof tile);
    }
}

static left_operand sliced_left(const outer_args *o, part_of_a part, range n, const outer_buffer *b) {
    const int64_t K = n.end - n.begin, columns = columns_in(o, part);
    const strided_rows rows = {left_at(o, part, n.begin), o->step};
    for (int64_t i = 0; i < columns; i += VL)
        slice_left((operand_columns){strided_row, &rows, b->left_factors, i, columns}, K,
                   b->left + sliced_row_at(BACKWARD_SLICES, K, i), b->left_scales + i);
    return (left_operand){.p = b->left, .scales = b->left_scales, .slices = BACKWARD_SLICES};
}

/* Return a left operand for the part's columns as rows and n as k: a itself, or its words or slices in the buffer. */
static left_operand left_operand_of(const outer_args *o, part_of_a part, range n, const outer_buffer *b) {
    const real *a = left_at(o, part, n.begin);
    real *buffer = b->left;
    if (MATRIX_UNIT && o->sliced) return sliced_left(o, part, n, b);
    if (!o->dots) return plain_left(a, 1, o->step, 0);
    const int64_t columns = columns_in(o, part), padded = (part.vectors.end - part.vectors.begin) * VL,
                  rows = n.end - n.begin;
    if (MATRIX_UNIT) { /* it reads a left operand by rows */
        transpose_pairs(buffer, K_BLOCK, a, o->step, rows, columns);
        return plain_left(buffer, K_BLOCK, 1, 0);
    }
    round_pairs(buffer, padded, a, o->step, rows, columns, padded);
    return plain_left(buffer, 1, padded, 0);
}

/* The part of the result that a product adds to. */
typedef struct {
    real *const *to; /* its rows */
    int64_t column, n;
} result_rows;

/* Return the number of elements of k for rows n: numbers, or words of two or four. */
static int64_t elements_in(const outer_args *o, range n) {
    const int64_t rows = n.end - n.begin;
    return o->sliced ? quads_of(rows) : o->dots ? pairs_of(rows) : rows;
}

/* Fetch rows of the result when the tile that adds to them is done: they are seldom in cache, and the addition would wait
 * for them. Fetching all rows at once would stall. */
static void fetch_rows(void *context, int64_t panel, int64_t row, int64_t rows) {
    const result_rows *c = context;
    (void)panel;
    for (int64_t r = row; r < row + rows; r++)
        for (int64_t i = 0; i < c->n; i += 64 / (int64_t)sizeof(real)) __builtin_prefetch(c->to[r] + c->column + i, 0, 2);
}

/* Return the next run of rows that exist, from row `r` on; padded units have no rows. */
static range rows_from(real *const *to, int64_t r, int64_t rows) {
    while (r < rows && !to[r]) r++;
    int64_t end = r;
    while (end < rows && to[end]) end++;
    return (range){r, end};
}

/* Return the left operand for panels of full width: tiles in the buffer if at least two of them read it, else `plain`. */
static left_operand tiles_of(const outer_args *o, left_operand plain, int64_t K, real *const *to, int64_t rows, range panels,
                             real *buffer) {
    const int vectors = columns_of(o->x.n).vectors;
    const int64_t full = o->x.n > (panels.end * vectors - 1) * VL ? panels.end : panels.end - 1;
    if (o->dots || o->sliced || full - panels.begin < 2) return plain;
    left_operand tiles = plain;
    for (range some = rows_from(to, 0, rows); some.begin < some.end; some = rows_from(to, some.end, rows))
        tiles = pack_tiles(plain.p, plain.step, K, some, vectors, buffer);
    return tiles;
}

static void add_part_of_a(const outer_args *o, part_of_a part, range n, range panels, const outer_buffer *b, stretch next) {
    const int64_t w = columns_of(o->x.n).vectors * VL, first = part.vectors.begin * VL, rows = columns_in(o, part);
    const int64_t share = next.size / (panels.end - panels.begin), K = elements_in(o, n);
    real *to[OUTER_ROWS];
    product_args p = {.n_outer = 1, .n_inner = K, .dots = o->dots, .c = b->sums, .c_row = w, .done = fetch_rows};
    for (int64_t r = 0; r < rows; r++) to[r] = o->to(o->context, part.group, first + r);
    if (o->each && panels.begin == 0) o->each(o->context, part.group, part.vectors, n);
    const left_operand plain = left_operand_of(o, part, n, b), tiles = tiles_of(o, plain, K, to, rows, panels, b->left);
    for (int64_t panel = panels.begin; panel < panels.end; panel++) {
        const int64_t column = panel * w, here = smaller(w, o->x.n - column);
        result_rows c = {to, column, here};
        p.context = &c;
        p.ahead = (stretch){next.p ? next.p + (panel - panels.begin) * share : 0, share};
        p.vectors = vectors_at(&o->x, column);
        p.a = p.vectors * VL == w ? tiles : plain;
        p.b_row = p.vectors * VL;
        p.b = b->right + (panel - panels.begin) * K_BLOCK * w;
        p.scales = o->sliced ? b->right_scales + (panel - panels.begin) * w : 0;
        for (range some = rows_from(to, 0, rows); some.begin < some.end; some = rows_from(to, some.end, rows)) {
            product(&p, (range){0, 1}, some);
            for (int64_t r = some.begin; r < some.end; r++) add_part(to[r] + column, b->sums + r * w, here);
        }
    }
}

static void add_block(const outer_args *o, range mine, range n, range panels, const outer_buffer *b) {
    /* Between longer rows of a lie columns of other parts. */
    const int fetches = o->step <= OUTER_ROWS &&
                        (mine.end - mine.begin) * VL * (n.end - n.begin) * (int64_t)sizeof(real) > FETCH_AHEAD_BYTES;
    for (int64_t v = mine.begin, count; v < mine.end; v += count) {
        part_of_a part = part_at(o, v, mine.end);
        count = part.vectors.end - part.vectors.begin;
        stretch next = {0};
        if (fetches && v + count < mine.end)
            next = (stretch){left_at(o, part_at(o, v + count, mine.end), n.begin), (n.end - n.begin) * o->step};
        add_part_of_a(o, part, n, panels, b, next);
    }
}

static int64_t largest_share(int64_t n, int64_t size) { return (n + size - 1) / size; }

/* Return this thread's panels of x and vectors of a's columns (`rows`): some vectors, or some panels if there are few
 * vectors and the largest share of the panels is smaller. */
static part share_of(const worker *me, int64_t vectors, int64_t panels) {
    const int by_panels =
        vectors < 4 * me->size && largest_share(panels, me->size) * vectors < largest_share(vectors, me->size) * panels;
    if (by_panels) return (part){pool_share(me, panels, 1), {0, vectors}};
    return (part){{0, panels}, pool_share(me, vectors, 1)};
}

/* Copy a block of these panels of x into the buffer. */
static void copy_panels(const outer_args *o, range n, range panels, const outer_buffer *b) {
    const int64_t w = columns_of(o->x.n).vectors * VL;
    if (MATRIX_UNIT && o->sliced) balance_rows(o, n, b);
    for (int64_t panel = panels.begin, i = 0; panel < panels.end; panel++, i++) {
        real *to = b->right + i * K_BLOCK * w;
        if (MATRIX_UNIT && o->sliced)
            slice_right(o, n, panel * w, b, to, b->right_scales + i * w);
        else
            copy_right(o, n, panel * w, to);
    }
}

void outer_product(const worker *me, const outer_args *o, real *buffer) {
    const columns cols = columns_of(o->x.n);
    const int64_t block = o->dots ? 2 * K_BLOCK : K_BLOCK;
    const outer_buffer b = divide_buffer(buffer, cols.vectors * VL);
    const part mine = share_of(me, o->groups * vectors_of_group(o), cols.panels);
    if (mine.rows.begin == mine.rows.end) return;
    for (int64_t first = mine.panels.begin; first < mine.panels.end; first += OUTER_PANELS) {
        const range panels = {first, smaller(first + OUTER_PANELS, mine.panels.end)};
        for (int64_t begin = 0; begin < o->N; begin += block) {
            const range n = {begin, smaller(begin + block, o->N)};
            copy_panels(o, n, panels, &b);
            add_block(o, mine.rows, n, panels, &b);
        }
    }
}

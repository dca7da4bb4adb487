/* Linear layer:
 *
 *     forward     y = x W^T + b
 *     backward    dx = dy W      dW += dy^T x      db += sum of dy's rows
 *
 * These products do not call a BLAS, for two reasons: the results have the same bits for every number of threads, and a
 * BLAS's threads would compete with the pool's workers for the cores. */
#include "linear.h"

#include "../plan.h"
#include "packing.h"
#include "rows.h"

typedef struct {
    int dots; /* rows are rounded to words of two bfloat16 numbers (bfloat16.h) */
    columns in, out;
    /* In reals: [out.padded]; [out.panels][elements of I][columns]; [in.panels][elements of O][columns] */
    size_t bias, W, W_back;
    size_t inference_size, training_size;
} linear_layout;

/* Return how many elements K numbers of a row take: words of two, or the numbers themselves. */
static int64_t elements_of(const linear_layout *p, int64_t K) { return p->dots ? pairs_of(K) : K; }

static linear_layout linear_layout_of(const fastrnn_linear *l) {
    linear_layout p = {.in = columns_of(l->I), .out = columns_of(l->O)};
    p.dots = FASTRNN_REAL_BITS == 32 && l->products == FASTRNN_PRODUCTS_BFLOAT16;
    p.W = (size_t)p.out.padded;
    p.W_back = p.W + (size_t)(p.out.padded * elements_of(&p, l->I));
    p.inference_size = p.W_back;
    p.training_size = p.W_back + (size_t)(p.in.padded * elements_of(&p, l->O));
    return p;
}

size_t linear_packed_size_(const fastrnn_linear *l, int32_t training) {
    linear_layout p = linear_layout_of(l);
    return (training ? p.training_size : p.inference_size) * sizeof(real);
}

void linear_pack_(const fastrnn_linear *l, const void *weight, const void *bias, int32_t training, void *memory) {
    linear_layout p = linear_layout_of(l);
    const int64_t I = l->I, O = l->O;
    const real *W = weight;
    real *packed = memory;
    load_row(packed + p.bias, bias, O, p.out.padded);
    if (p.dots)
        pack_transposed_words(packed + p.W, p.out, W, O, I);
    else
        pack_transposed(packed + p.W, p.out, W, O, I);
    if (training) pack_rows(packed + p.W_back, p.in, p.dots, W, O, I);
}

typedef struct {
    const fastrnn_linear *l;
    linear_layout p;
    const real *packed, *x, *dy;
    real *y, *dx, *dW, *db;
    int64_t N;
    real *rows;      /* [threads][ROW_BLOCK][padded] results before they are copied to y or dx */
    real *words;     /* [threads][ROW_BLOCK][words] rows of x or dy; null if products read numbers */
    real *dW_padded; /* [O][in.padded] */
    real *db_sum;    /* [2][O] sums and partial sums */
    real *x_tail;    /* [N][columns of a panel] the last columns of x, padded, if I is not a whole number of panels */
    real *x_words;   /* [pairs of N][in.padded] words of two rows of x each; null if products read numbers */
    real *dy_words;  /* [O][pairs of N] words of two rows of dy, transposed; else null */
} linear_pass;

static int32_t most_threads(const fastrnn_linear *l) { return l->threads ? l->threads : pool_threads(); }

/* Return the sizes of a thread's parts of `rows` and `words`. */
static int64_t rows_size(const linear_layout *p) { return ROW_BLOCK * larger(p->in.padded, p->out.padded); }
static int64_t words_size(const linear_pass *k) { return ROW_BLOCK * pairs_of(larger(k->l->I, k->l->O)); }

static int64_t tail_columns(const linear_pass *k) { return k->l->I % (k->p.in.vectors * VL); }

static void place_linear(arena *a, linear_pass *k, int backward) {
    const int64_t threads = most_threads(k->l), O = k->l->O, pairs = pairs_of(k->N);
    const columns in = k->p.in;
    k->rows = arena_reals(a, threads * rows_size(&k->p));
    k->words = k->p.dots ? arena_reals(a, threads * words_size(k)) : 0;
    if (!backward) return;
    k->dW_padded = arena_reals(a, O * in.padded);
    k->db_sum = arena_reals(a, 2 * O);
    k->x_tail = tail_columns(k) && !k->p.dots ? arena_reals(a, k->N * in.vectors * VL) : 0;
    k->x_words = k->p.dots ? arena_reals(a, pairs * in.padded) : 0;
    k->dy_words = k->p.dots ? arena_reals(a, O * pairs) : 0;
}

size_t linear_workspace_size_(const fastrnn_linear *l, int64_t N, int32_t backward) {
    linear_pass k = {.l = l, .p = linear_layout_of(l), .N = N};
    arena a = {0};
    place_linear(&a, &k, backward);
    return a.used;
}

/* A product of rows with packed weights: to[i] = bias + from[i] weights. */
typedef struct {
    const real *from; /* [N][K] */
    int64_t K;
    const real *weights, *bias;
    columns columns;
    real *to; /* [N][n] */
    int64_t n;
} row_product;

static void multiply_rows(const worker *me, const linear_pass *k, const row_product *r) {
    const int64_t K = elements_of(&k->p, r->K);
    const range mine = pool_share(me, k->N, TILE_ROWS_4);
    real *words = k->p.dots ? k->words + me->rank * words_size(k) : 0;
    product_args p = {.n_outer = 1, .n_inner = K, .b = r->weights, .init = r->bias, .dots = k->p.dots};
    for (int64_t first = mine.begin, n; first < mine.end; first += n) {
        n = smaller(mine.end - first, ROW_BLOCK);
        const real *from = r->from + first * r->K;
        for (int64_t i = 0; k->p.dots && i < n; i++) round_row(words + i * K, from + i * r->K, r->K);
        p.a = plain_left(k->p.dots ? words : from, K, 1, 0);
        row_results out = {r->to + first * r->n, r->n, 0, k->rows + me->rank * rows_size(&k->p)};
        product_to_rows(p, r->columns, run_of(0, n), out);
    }
}

static void forward_body(const worker *me, void *context) {
    const linear_pass *k = context;
    multiply_rows(me, k, &(row_product){k->x, k->l->I, k->packed + k->p.W, k->packed + k->p.bias, k->p.out, k->y, k->l->O});
}

static void copy_tail(const worker *me, const linear_pass *k) {
    const int64_t w = k->p.in.vectors * VL, n = tail_columns(k), I = k->l->I;
    range mine = pool_share(me, n ? k->N : 0, 1);
    for (int64_t row = mine.begin; row < mine.end; row++) load_row(k->x_tail + row * w, k->x + row * I + I - n, n, w);
    if (n) pool_barrier(me);
}

/* Compute a part of dW from numbers: whole panels of x's columns are read in place, the last columns from their padded
 * copy. */
static void multiply_numbers(const worker *me, const linear_pass *k, product_args p, part mine) {
    const int64_t w = k->p.in.vectors * VL, whole = k->l->I / w;
    copy_tail(me, k);
    p.n_inner = k->N;
    p.a = plain_left(k->dy, 1, k->l->O, 0);
    p.b = k->x;
    p.b_row = k->l->I;
    product(&p, (range){mine.panels.begin, smaller(mine.panels.end, whole)}, mine.rows);
    if (mine.panels.end <= whole) return;
    p.b = k->x_tail;
    p.b_panel = 0;
    p.b_row = w;
    product(&p, (range){whole, whole + 1}, mine.rows);
}

/* Compute a part of dW from words, which all threads round first. */
static void multiply_words(const worker *me, const linear_pass *k, product_args p, part mine) {
    const int64_t I = k->l->I, O = k->l->O, w = k->p.in.padded, pairs = pairs_of(k->N);
    const range some = pool_share(me, pairs, 1);
    const int64_t first = 2 * some.begin, rows = smaller(2 * some.end, k->N) - first;
    round_pairs(k->x_words + some.begin * w, w, k->x + first * I, I, rows, I, w);
    transpose_pairs(k->dy_words + some.begin, pairs, k->dy + first * O, O, rows, O);
    pool_barrier(me);
    p.n_inner = pairs;
    p.a = plain_left(k->dy_words, pairs, 1, 0);
    p.b = k->x_words;
    p.b_row = w;
    p.dots = 1;
    product(&p, mine.panels, mine.rows);
}

/* dW = dy^T x, without the caller's dW */
static void weight_gradient(const worker *me, const linear_pass *k) {
    const int64_t w = k->p.in.vectors * VL;
    const product_args p = {
        .n_outer = 1, .vectors = k->p.in.vectors, .b_panel = w, .c = k->dW_padded, .c_panel = w, .c_row = k->p.in.padded};
    const part mine = share_product(me, k->p.in.panels, k->l->O);
    if (k->p.dots)
        multiply_words(me, k, p, mine);
    else
        multiply_numbers(me, k, p, mine);
}

/* Sum dy's rows, for this thread's columns. */
static void bias_gradient(const worker *me, const linear_pass *k) {
    enum { ROWS = 128 }; /* a long sum is a sum of partial sums, which is more accurate */
    const int64_t O = k->l->O;
    range mine = pool_share(me, O, VL);
    const int64_t n = mine.end - mine.begin;
    const size_t bytes = (size_t)n * sizeof(real);
    real *sum = k->db_sum + mine.begin, *partial = k->db_sum + O + mine.begin;
    memset(sum, 0, bytes);
    for (int64_t block = 0; block < k->N; block += ROWS) {
        memset(partial, 0, bytes);
        for (int64_t row = block; row < k->N && row < block + ROWS; row++)
            add_part(partial, k->dy + row * O + mine.begin, n);
        add_part(sum, partial, n);
    }
    add_part(k->db + mine.begin, sum, n);
}

static void backward_body(const worker *me, void *context) {
    const linear_pass *k = context;
    const int64_t O = k->l->O, I = k->l->I;
    if (k->dx) multiply_rows(me, k, &(row_product){k->dy, O, k->packed + k->p.W_back, 0, k->p.in, k->dx, I});
    weight_gradient(me, k);
    if (k->db) bias_gradient(me, k);
    pool_barrier(me);
    const range mine = pool_share(me, O, 1);
    for (int64_t o = mine.begin; o < mine.end; o++) add_part(k->dW + o * I, k->dW_padded + o * k->p.in.padded, I);
}

/* Run `body`; its time is that of `products` products of size N x I x O. */
static void run_linear(int products, pool_body body, linear_pass *k) {
    const double time = products * (double)k->N * (double)k->l->I * (double)k->l->O / MULTIPLY_ADDS;
    pool_run(plan_threads(time) == 1 ? 1 : most_threads(k->l), time, body, k);
}

void linear_forward_(const fastrnn_linear *l, const void *packed, int64_t N, const void *x, void *y, void *workspace) {
    linear_pass k = {.l = l, .p = linear_layout_of(l), .packed = packed, .x = x, .y = y, .N = N};
    arena a = {.base = workspace};
    place_linear(&a, &k, 0);
    run_linear(1, forward_body, &k);
}

void linear_backward_(const fastrnn_linear *l, const void *packed, int64_t N, const void *x, const void *dy, void *dx,
                      void *dW, void *db, void *workspace) {
    linear_pass k = {
        .l = l, .p = linear_layout_of(l), .packed = packed, .x = x, .dy = dy, .dx = dx, .dW = dW, .db = db, .N = N};
    arena a = {.base = workspace};
    place_linear(&a, &k, 1);
    run_linear(2, backward_body, &k);
}

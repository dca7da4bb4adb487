/* Linear layer:
 *
 *     forward     y = x W^T + b
 *     backward    dx = dy W      dW += dy^T x      db += sum of dy's rows
 *
 * These products do not call a BLAS, for two reasons: the results have the same bits for every number of threads, and a
 * BLAS's threads would compete with the pool's workers for the cores. */
#include "linear.h"

#include "../plan.h"
#include "outer.h"
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
    real *rows;   /* [threads][ROW_BLOCK][padded] results before they are copied to y or dx */
    real *words;  /* [threads][ROW_BLOCK][words] rows of x or dy; null if products read numbers */
    real *outer;  /* [threads][OUTER_BUFFER] */
    real *db_sum; /* [2][O] sums and partial sums */
} linear_pass;

/* Return the time of `products` products of size N x I x O. */
static double time_of(const linear_pass *k, int products) {
    return products * (double)k->N * (double)k->l->I * (double)k->l->O / MULTIPLY_ADDS;
}

static int32_t threads_of(const linear_pass *k, int products) {
    if (plan_threads(time_of(k, products)) == 1) return 1;
    return k->l->threads ? k->l->threads : pool_threads();
}

enum { FORWARD_PRODUCTS = 1, BACKWARD_PRODUCTS = 2 };

/* Return the sizes of a thread's parts of `rows` and `words`. */
static int64_t rows_size(const linear_layout *p) { return ROW_BLOCK * larger(p->in.padded, p->out.padded); }
static int64_t words_size(const linear_pass *k) { return ROW_BLOCK * pairs_of(larger(k->l->I, k->l->O)); }

static void place_linear(arena *a, linear_pass *k, int backward) {
    const int64_t threads = threads_of(k, backward ? BACKWARD_PRODUCTS : FORWARD_PRODUCTS);
    k->rows = arena_reals(a, threads * rows_size(&k->p));
    k->words = k->p.dots ? arena_reals(a, threads * words_size(k)) : 0;
    if (!backward) return;
    k->outer = arena_reals(a, threads * OUTER_BUFFER);
    k->db_sum = arena_reals(a, 2 * k->l->O);
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

static real *weight_row(const void *context, int64_t i, int64_t r) {
    const linear_pass *k = context;
    (void)i;
    return k->dW + r * k->l->I;
}

/* dW += dy^T x */
static void weight_gradient(const worker *me, const linear_pass *k) {
    const int64_t I = k->l->I, O = k->l->O;
    const outer_args o = {.N = k->N,
                          .a = k->dy,
                          .groups = 1,
                          .step = O,
                          .columns = O,
                          .to = weight_row,
                          .context = k,
                          .x = {k->x, I, I, 0},
                          .dots = k->p.dots};
    outer_product(me, &o, k->outer + me->rank * OUTER_BUFFER);
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
}

static void run_linear(int products, pool_body body, linear_pass *k) {
    pool_run(threads_of(k, products), time_of(k, products), body, k);
}

void linear_forward_(const fastrnn_linear *l, const void *packed, int64_t N, const void *x, void *y, void *workspace) {
    linear_pass k = {.l = l, .p = linear_layout_of(l), .packed = packed, .x = x, .y = y, .N = N};
    arena a = {.base = workspace};
    place_linear(&a, &k, 0);
    run_linear(FORWARD_PRODUCTS, forward_body, &k);
}

void linear_backward_(const fastrnn_linear *l, const void *packed, int64_t N, const void *x, const void *dy, void *dx,
                      void *dW, void *db, void *workspace) {
    linear_pass k = {
        .l = l, .p = linear_layout_of(l), .packed = packed, .x = x, .dy = dy, .dx = dx, .dW = dW, .db = db, .N = N};
    arena a = {.base = workspace};
    place_linear(&a, &k, 1);
    run_linear(BACKWARD_PRODUCTS, backward_body, &k);
}

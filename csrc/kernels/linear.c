/* Linear layer:
 *
 *     forward     y = x W^T + b
 *     backward    dx = dy W      dW += dy^T x      db += sum of dy's rows
 *
 * These products do not call a BLAS, for two reasons: the results have the same bits for every number of threads, and a
 * BLAS's threads would compete with the pool's workers for the cores. */
#include "linear.h"

#include "../plan.h"
#include "gemm.h"
#include "rows.h"

typedef struct {
    columns in, out;
    size_t bias, W, W_back; /* in reals: [out.padded]; [out.panels][I][columns]; [in.panels][O][columns] */
    size_t inference_size, training_size;
} linear_layout;

static linear_layout linear_layout_of(const fastrnn_linear *l) {
    linear_layout p = {.in = columns_of(l->I), .out = columns_of(l->O)};
    p.W = (size_t)p.out.padded;
    p.W_back = p.W + (size_t)(p.out.padded * l->I);
    p.inference_size = p.W_back;
    p.training_size = p.W_back + (size_t)(p.in.padded * l->O);
    return p;
}

size_t linear_packed_size_(const fastrnn_linear *l, int32_t training) {
    linear_layout p = linear_layout_of(l);
    return (training ? p.training_size : p.inference_size) * sizeof(real);
}

void linear_pack_(const fastrnn_linear *l, const void *weight, const void *bias, int32_t training, void *memory) {
    linear_layout p = linear_layout_of(l);
    const real *W = weight;
    real *packed = memory;
    load_row(packed + p.bias, bias, l->O, p.out.padded);
    pack_transposed(packed + p.W, p.out, W, l->O, l->I);
    for (int64_t o = 0; training && o < l->O; o++) pack_row(packed + p.W_back, p.in, l->O, o, W + o * l->I, l->I);
}

typedef struct {
    const fastrnn_linear *l;
    linear_layout p;
    const real *packed, *x, *dy;
    real *y, *dx, *dW, *db;
    int64_t N;
    real *rows;      /* [threads][ROW_BLOCK][padded] results before they are copied to y or dx */
    real *dW_padded; /* [O][in.padded] */
    real *db_sum;    /* [2][O] sums and partial sums */
    real *x_tail;    /* [N][columns of a panel] the last columns of x, padded, if I is not a whole number of panels */
} linear_pass;

static int64_t tail_columns(const linear_pass *k) { return k->l->I % (k->p.in.vectors * VL); }

static int32_t most_threads(const fastrnn_linear *l) { return l->threads ? l->threads : pool_threads(); }

static void place_linear(arena *a, linear_pass *k, int backward) {
    const columns in = k->p.in, out = k->p.out;
    k->rows = arena_reals(a, most_threads(k->l) * ROW_BLOCK * larger(in.padded, out.padded));
    if (!backward) return;
    k->dW_padded = arena_reals(a, k->l->O * in.padded);
    k->db_sum = arena_reals(a, 2 * k->l->O);
    k->x_tail = tail_columns(k) ? arena_reals(a, k->N * in.vectors * VL) : 0;
}

size_t linear_workspace_size_(const fastrnn_linear *l, int64_t N, int32_t backward) {
    linear_pass k = {.l = l, .p = linear_layout_of(l), .N = N};
    arena a = {0};
    place_linear(&a, &k, backward);
    return a.used;
}

static void forward_body(const worker *me, void *context) {
    linear_pass *k = context;
    product_args p = {.n_outer = 1,
                      .n_inner = k->l->I,
                      .a = plain_left(k->x, k->l->I, 1, 0),
                      .b = k->packed + k->p.W,
                      .init = k->packed + k->p.bias};
    row_results to = {k->y, k->l->O, 0, k->rows + me->rank * ROW_BLOCK * k->p.out.padded};
    product_to_rows(p, k->p.out, pool_share(me, k->N, TILE_ROWS_4), to);
}

static void input_gradient(const worker *me, const linear_pass *k) {
    product_args p = {.n_outer = 1, .n_inner = k->l->O, .a = plain_left(k->dy, k->l->O, 1, 0), .b = k->packed + k->p.W_back};
    row_results to = {k->dx, k->l->I, 0, k->rows + me->rank * ROW_BLOCK * k->p.in.padded};
    product_to_rows(p, k->p.in, pool_share(me, k->N, TILE_ROWS_4), to);
}

static void copy_tail(const worker *me, const linear_pass *k) {
    const int64_t w = k->p.in.vectors * VL, n = tail_columns(k), I = k->l->I;
    range mine = pool_share(me, n ? k->N : 0, 1);
    for (int64_t row = mine.begin; row < mine.end; row++) load_row(k->x_tail + row * w, k->x + row * I + I - n, n, w);
    if (n) pool_barrier(me);
}

/* dW = dy^T x: whole panels of x's columns are read in place, the last columns from their padded copy. */
static void weight_gradient(const worker *me, const linear_pass *k) {
    const int64_t w = k->p.in.vectors * VL, O = k->l->O, whole = k->l->I / w;
    copy_tail(me, k);
    product_args p = {.n_outer = 1,
                      .n_inner = k->N,
                      .a = plain_left(k->dy, 1, O, 0),
                      .vectors = k->p.in.vectors,
                      .b = k->x,
                      .b_panel = w,
                      .b_row = k->l->I,
                      .c = k->dW_padded,
                      .c_panel = w,
                      .c_row = k->p.in.padded};
    part mine = share_product(me, k->p.in.panels, O);
    product(&p, (range){mine.panels.begin, mine.panels.end < whole ? mine.panels.end : whole}, mine.rows);
    if (mine.panels.end <= whole) return;
    p.b = k->x_tail;
    p.b_panel = 0;
    p.b_row = w;
    product(&p, (range){whole, whole + 1}, mine.rows);
}

static void bias_gradient(const worker *me, const linear_pass *k) {
    enum { ROWS = 128 }; /* a long sum is a sum of partial sums, which is more accurate */
    const int64_t O = k->l->O;
    range mine = pool_share(me, O, VL);
    const size_t bytes = (size_t)(mine.end - mine.begin) * sizeof(real);
    real *sum = k->db_sum + mine.begin, *partial = k->db_sum + O + mine.begin;
    memset(sum, 0, bytes);
    for (int64_t block = 0; block < k->N; block += ROWS) {
        memset(partial, 0, bytes);
        for (int64_t row = block; row < k->N && row < block + ROWS; row++)
            add_part(partial, k->dy + row * O + mine.begin, mine.end - mine.begin);
        add_part(sum, partial, mine.end - mine.begin);
    }
}

static void backward_body(const worker *me, void *context) {
    linear_pass *k = context;
    const int64_t O = k->l->O, I = k->l->I;
    if (k->dx) input_gradient(me, k);
    weight_gradient(me, k);
    if (k->db) bias_gradient(me, k);
    pool_barrier(me);
    range mine = pool_share(me, O, 1);
    for (int64_t o = mine.begin; o < mine.end; o++) add_part(k->dW + o * I, k->dW_padded + o * k->p.in.padded, I);
    if (k->db) add_part(k->db + mine.begin, k->db_sum + mine.begin, mine.end - mine.begin);
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

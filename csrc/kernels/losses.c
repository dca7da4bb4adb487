/* Softmax cross-entropy of rows of logits x [V] against one class each, and its gradient, while the row is in cache:
 *
 *     m = max x      e = exp(x - m)      s = sum of e
 *     loss = log s + m - x[target]       dx = (e / s - onehot(target)) scale
 *
 * A row's result depends on that row alone, and losses are summed by blocks of rows. So the bits are the same for every
 * number of threads. */
#include "losses.h"

#include <math.h>

#include "../parallel.h"
#include "../plan.h"
#include "activations.h"
#include "rows.h"

enum { LOSS_BLOCK = 64 }; /* rows */

typedef struct {
    const fastrnn_cross_entropy *how;
    const real *x;          /* [N, V] */
    const int64_t *targets; /* [N] */
    const uint8_t *mask;    /* [N] or null */
    real *dx;               /* [N, V] */
    double *sums;           /* one for each block */
    double scale;
} loss_pass;

static int is_unmasked(const loss_pass *k, int64_t row) {
    return (!k->mask || k->mask[row]) && k->targets[row] != k->how->ignore_index;
}

/* Return the number of unmasked rows, or -1 if the target of one of them is outside 0..V-1. */
static int64_t count_unmasked(const loss_pass *k) {
    int64_t count = 0, wrong = 0;
    for (int64_t row = 0; row < k->how->N; row++) {
        const int here = is_unmasked(k, row);
        count += here;
        wrong |= here & ((uint64_t)k->targets[row] >= (uint64_t)k->how->V);
    }
    return wrong ? -1 : count;
}

/* Load the last n numbers of a row whose size is not a whole number of vectors; the other lanes hold `fill`. */
INLINE vec load_rest(const real *p, int64_t n, real fill) {
    vec v = splat(fill);
    memcpy(&v, p, (size_t)n * sizeof(real));
    return v;
}
INLINE void store_rest(real *p, int64_t n, vec v) { memcpy(p, &v, (size_t)n * sizeof(real)); }

static real largest_of(const real *x, int64_t V) {
    vec most = splat(-INFINITY);
    int64_t v = 0;
    for (; v + VL <= V; v += VL) most = max_(most, load(x + v));
    if (v < V) most = max_(most, load_rest(x + v, V - v, -INFINITY));
    real largest = most[0];
    for (int lane = 1; lane < VL; lane++) largest = largest < most[lane] ? most[lane] : largest;
    return largest;
}

/* Return e^x for x <= 0, or zero if that is below the normal numbers; NaN passes through. */
INLINE vec exp_(vec x) {
    power e = exp_parts(x);
    return (vec)((vec_int)fma_(e.scale, e.p, e.scale) & ~(x < splat(-LARGEST_EXPONENT)));
}

/* Set e[v] = exp(x[v] - largest); return their sum. */
static real exponentials(const real *x, real largest, int64_t V, real *e) {
    vec sums = splat(0);
    int64_t v = 0;
    for (; v + VL <= V; v += VL) {
        vec p = exp_(load(x + v) - splat(largest));
        store(e + v, p);
        sums += p;
    }
    if (v < V) {
        vec p = exp_(load_rest(x + v, V - v, -INFINITY) - splat(largest));
        store_rest(e + v, V - v, p);
        sums += p; /* lanes beyond the row are zero, or NaN if the row has a NaN */
    }
    real sum = 0;
    for (int lane = 0; lane < VL; lane++) sum += sums[lane];
    return sum;
}

static double row_loss(const loss_pass *k, int64_t row) {
    const int64_t V = k->how->V, target = k->targets[row];
    const real *x = k->x + row * V, largest = largest_of(x, V);
    real *dx = k->dx + row * V;
    const real sum = exponentials(x, largest, V, dx), factor = (real)k->scale / sum;
    int64_t v = 0;
    for (; v + VL <= V; v += VL) store(dx + v, load(dx + v) * splat(factor));
    for (; v < V; v++) dx[v] *= factor;
    dx[target] -= (real)k->scale;
    return log((double)sum) + ((double)largest - (double)x[target]);
}

static void loss_body(const worker *me, void *context) {
    const loss_pass *k = context;
    const int64_t N = k->how->N, V = k->how->V;
    range blocks = pool_share(me, (N + LOSS_BLOCK - 1) / LOSS_BLOCK, 1);
    for (int64_t block = blocks.begin; block < blocks.end; block++) {
        const int64_t end = smaller(N, (block + 1) * LOSS_BLOCK);
        double sum = 0;
        for (int64_t row = block * LOSS_BLOCK; row < end; row++) {
            if (is_unmasked(k, row))
                sum += row_loss(k, row);
            else
                memset(k->dx + row * V, 0, (size_t)V * sizeof(real));
        }
        k->sums[block] = sum;
    }
}

double softmax_cross_entropy_(const fastrnn_cross_entropy *how, const void *logits, const int64_t *targets,
                              const uint8_t *mask, void *dlogits, void *workspace) {
    static const double LOGIT = 0.5; /* nanoseconds */
    loss_pass k = {how, logits, targets, mask, dlogits, workspace, 1};
    const int64_t count = count_unmasked(&k);
    if (count < 0) return -1;
    if (how->mean) k.scale = 1 / (double)larger(count, 1);
    const double time = (double)(how->N * how->V) * LOGIT;
    pool_run(plan_threads(time), time, loss_body, &k);
    double sum = 0;
    for (int64_t block = 0; block * LOSS_BLOCK < how->N; block++) sum += k.sums[block];
    return sum * k.scale;
}

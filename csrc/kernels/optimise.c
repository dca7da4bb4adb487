/* Optimisers with torch.optim's rules, in one pass over all parameters. The gradient g is not changed. With decay d:
 *
 *     g <- g + d w                                                    all but AdamW
 *     SGD        v <- momentum v + g,    w <- w - lr v                (nesterov: w <- w - lr (g + momentum v))
 *     RMSprop    s <- alpha s + (1-alpha) g^2,    u = g / (sqrt(s) + eps),    w <- w - lr u
 *                centered: a <- a + (1-alpha) (g - a), sqrt(s - a^2) for sqrt(s);    momentum: v <- momentum v + u for u
 *     Adam       m <- m + (1-beta1) (g - m),    v <- beta2 v + (1-beta2) g^2
 *                w <- w - lr / (1-beta1^t) m / (sqrt(v) / sqrt(1-beta2^t) + eps)       AdamW: first w <- (1 - lr d) w
 *
 * Each element depends on itself alone, so the bits are the same for every number of threads. The loops are plain so
 * that the compiler vectorises them. */
#include "optimise.h"

#include <math.h>

#include "../parallel.h"
#include "../plan.h"
#include "rows.h"

#if FASTRNN_REAL_BITS == 64
#define root sqrt
#else
#define root sqrtf
#endif

enum { GRAIN = 1024 }; /* elements: shares are multiples of this, which are whole pages */

static const double ELEMENT = 0.6; /* nanoseconds for each element, on a Zen 3 */

typedef struct {
    const fastrnn_optimiser *how;
    int32_t count;
    const fastrnn_parameter *parameters;
} update_pass;

/* A piece of a parameter: n elements of each array. `state` is that of fastrnn_parameter. */
typedef struct {
    int64_t n, steps;
    real *w;
    const real *g;
    real *state[3];
} piece;

static piece piece_of(const fastrnn_parameter *p, int64_t first, int64_t n) {
    piece part = {n, *p->steps, (real *)p->w + first, (const real *)p->g + first, {0}};
    for (int i = 0; i < 3; i++) part.state[i] = p->state[i] ? (real *)p->state[i] + first : 0;
    return part;
}

static inline real decayed(real g, real w, real decay) { return decay == 0 ? g : g + w * decay; }

static void sgd(const fastrnn_optimiser *how, const piece *p) {
    const real lr = (real)how->lr, momentum = (real)how->momentum, decay = (real)how->weight_decay;
    const int nesterov = how->nesterov;
    real *restrict w = p->w, *restrict v = p->state[0];
    const real *restrict g = p->g;
    if (!v) {
        for (int64_t i = 0; i < p->n; i++) w[i] -= decayed(g[i], w[i], decay) * lr;
        return;
    }
    for (int64_t i = 0; i < p->n; i++) {
        const real slope = decayed(g[i], w[i], decay);
        v[i] = v[i] * momentum + slope;
        w[i] -= (nesterov ? v[i] * momentum + slope : v[i]) * lr;
    }
}

/* Update at most GRAIN elements, so that u stays in the first-level cache. state: s, v or null, a or null. Rounding can
 * make s - a^2 negative. It then counts as zero; torch gives NaN. */
static void rmsprop(const fastrnn_optimiser *how, const piece *p) {
    const real lr = (real)how->lr, momentum = (real)how->momentum, decay = (real)how->weight_decay;
    const real alpha = (real)how->alpha, rest = (real)(1 - how->alpha), eps = (real)how->eps;
    real *restrict w = p->w, *restrict s = p->state[0], *restrict v = p->state[1], *restrict a = p->state[2];
    real slope[GRAIN], u[GRAIN];
    for (int64_t i = 0; i < p->n; i++) {
        slope[i] = decayed(p->g[i], w[i], decay);
        s[i] = s[i] * alpha + slope[i] * rest * slope[i];
        u[i] = s[i];
    }
    for (int64_t i = 0; a && i < p->n; i++) {
        a[i] += (slope[i] - a[i]) * rest;
        const real variance = s[i] - a[i] * a[i];
        u[i] = variance < 0 ? 0 : variance;
    }
    for (int64_t i = 0; i < p->n; i++) u[i] = slope[i] / (root(u[i]) + eps);
    for (int64_t i = 0; v && i < p->n; i++) u[i] = v[i] = v[i] * momentum + u[i];
    for (int64_t i = 0; i < p->n; i++) w[i] -= u[i] * lr;
}

static void adam(const fastrnn_optimiser *how, const piece *p) {
    const real to_m = (real)(1 - how->beta1), beta2 = (real)how->beta2, to_v = (real)(1 - how->beta2);
    const real eps = (real)how->eps, shrinkage = how->decoupled ? (real)(1 - how->lr * how->weight_decay) : 1;
    const real decay = how->decoupled ? 0 : (real)how->weight_decay;
    const real correction = (real)sqrt(1 - pow(how->beta2, (double)p->steps));
    const real step = (real)(how->lr / (1 - pow(how->beta1, (double)p->steps)));
    real *restrict w = p->w, *restrict m = p->state[0], *restrict v = p->state[1];
    const real *restrict g = p->g;
    for (int64_t i = 0; i < p->n; i++) {
        const real slope = decayed(g[i], w[i], decay);
        m[i] += (slope - m[i]) * to_m;
        v[i] = v[i] * beta2 + slope * to_v * slope;
        w[i] = w[i] * shrinkage - m[i] / (root(v[i]) / correction + eps) * step;
    }
}

/* Update this thread's share of each parameter. The share is the same in each call, so a thread may find it in its own
 * cache. */
static void update_body(const worker *me, void *context) {
    const update_pass *k = context;
    for (int32_t i = 0; i < k->count; i++) {
        const fastrnn_parameter *p = k->parameters + i;
        const range mine = pool_share(me, p->n, GRAIN);
        const piece all = piece_of(p, mine.begin, mine.end - mine.begin);
        if (k->how->rule == FASTRNN_SGD) sgd(k->how, &all);
        if (k->how->rule == FASTRNN_ADAM) adam(k->how, &all);
        for (int64_t at = mine.begin; k->how->rule == FASTRNN_RMSPROP && at < mine.end; at += GRAIN) {
            const piece part = piece_of(p, at, smaller(GRAIN, mine.end - at));
            rmsprop(k->how, &part);
        }
    }
}

void optimise_(const fastrnn_optimiser *how, int32_t count, fastrnn_parameter *parameters) {
    int64_t elements = 0;
    for (int32_t i = 0; i < count; i++) {
        ++*parameters[i].steps;
        elements += parameters[i].n;
    }
    const double time = (double)elements * ELEMENT;
    pool_run(plan_threads(time), time, update_body, &(update_pass){how, count, parameters});
}

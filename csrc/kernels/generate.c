/* Sampling, token after token, on one group of workers: each core has its share of the recurrent weights in its own
 * cache.
 *
 *     for each token:   rank 0 chooses it     | barrier
 *                       x = its embedding, or the id itself
 *                       each layer runs a step, its panels shared      | barriers of the step
 *                       logits = y W^T + b    | barrier, if it is shared */
#include "generate.h"

#include <math.h>

#include "../layer.h"
#include "../plan.h"
#include "steps.h"

/* Tokens in one call of pool_run. Between calls another caller can take the pool, and the pool can back off on a busy
 * machine (parallel.c). A call costs about 2 us (Zen 5), 1 % of the time of this many short tokens. */
enum { TOKENS_PER_RUN = 64 };

typedef struct {
    double p;
    int64_t id;
} candidate;

/* The state of one call of generate_tokens. */
typedef struct {
    const fastrnn_language_model *model;
    const fastrnn_sampling *how;
    const int64_t *prefix;
    const double *uniforms;
    int64_t n_prefix, n;
    int64_t *tokens;
    stack_steps s;
    real *logits; /* [V] */
    double *p;    /* [V] */
    candidate *candidates;
    int64_t fed, sampled; /* tokens so far: fed into the layers, and sampled */
    int done;
} generation;

static generation place_generation(arena *a, const fastrnn_language_model *m) {
    return (generation){.model = m,
                        .s = steps_in(a, m->stack, !m->embedding),
                        .logits = arena_reals(a, m->V),
                        .p = arena_take(a, (size_t)m->V * sizeof(double)),
                        .candidates = arena_take(a, (size_t)m->V * sizeof(candidate))};
}

size_t tokens_workspace_size(const fastrnn_language_model *model) {
    arena a = {0};
    place_generation(&a, model);
    return a.used;
}

static int64_t present_step(const generation *g) { return (g->fed - 1) & 1; }

/* Sum the lanes in the same tree for every row, so that a logit's bits depend on its own row alone. */
INLINE real sum_of_lanes(vec v) {
    real lanes[VL];
    store(lanes, v);
    for (int half = VL / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}

/* y[r] = a[r] b, r < ROWS. ROWS is large enough to hide the latency of an fma. */
INLINE void dots(const int ROWS, const real *a, const real *b, int64_t n, real *y) {
    vec sums[8];
    for (int r = 0; r < ROWS; r++) sums[r] = splat(0);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        const vec right = load(b + i);
        for (int r = 0; r < ROWS; r++) sums[r] = fma_(load(a + r * n + i), right, sums[r]);
    }
    if (i < n) {
        const vec right = load_first(b + i, n - i);
        for (int r = 0; r < ROWS; r++) sums[r] = fma_(load_first(a + r * n + i, n - i), right, sums[r]);
    }
    for (int r = 0; r < ROWS; r++) y[r] = sum_of_lanes(sums[r]);
}

enum { ROWS_TOGETHER = 8 };

/* Compute the logits. Rank 0 alone computes a small output layer, because only rank 0 reads the logits. */
static void output_layer(const worker *me, const generation *g, int64_t step) {
    const fastrnn_language_model *m = g->model;
    const int64_t V = m->V, Y = output_size(m->stack);
    const int shared = plan_shares((double)(V * Y) / MULTIPLY_ADDS);
    if (!shared && me->rank) return;
    const range mine = shared ? pool_share(me, V, ROWS_TOGETHER) : (range){0, V};
    const real *weight = m->weight, *bias = m->bias, *y = g->s.y + step * Y;
    int64_t v = mine.begin;
    for (; v + ROWS_TOGETHER <= mine.end; v += ROWS_TOGETHER) dots(ROWS_TOGETHER, weight + v * Y, y, Y, g->logits + v);
    for (; v < mine.end; v++) dots(1, weight + v * Y, y, Y, g->logits + v);
    for (v = mine.begin; bias && v < mine.end; v++) g->logits[v] += bias[v];
    if (shared) pool_barrier(me);
}

static int64_t most_likely(const real *logits, int64_t V) {
    int64_t best = 0;
    for (int64_t v = 1; v < V; v++)
        if (logits[v] > logits[best]) best = v;
    return best;
}

/* Return whether `a` is less likely than `b`; of equally likely candidates the later id counts as less likely. */
static int less_likely(candidate a, candidate b) { return a.p < b.p || (a.p == b.p && a.id > b.id); }

static void sink(candidate *heap, int64_t n, int64_t i) {
    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && less_likely(heap[child + 1], heap[child])) child++;
        if (!less_likely(heap[child], heap[i])) return;
        candidate swap = heap[i];
        heap[i] = heap[child];
        heap[child] = swap;
    }
}

/* Sort the candidates with heap sort, the most likely first. */
static void sort_candidates(candidate *heap, int64_t n) {
    for (int64_t i = n / 2 - 1; i >= 0; i--) sink(heap, n, i);
    for (int64_t end = n - 1; end > 0; end--) {
        candidate swap = heap[0];
        heap[0] = heap[end];
        heap[end] = swap;
        sink(heap, end, 0);
    }
}

/* Keep the top_k most probable tokens, and of these the smallest set that holds top_p of their sum. Zero the others. */
static void keep_top(const fastrnn_sampling *how, double *p, int64_t V, candidate *sorted) {
    for (int64_t v = 0; v < V; v++) sorted[v] = (candidate){p[v], v};
    sort_candidates(sorted, V);
    int64_t count = how->top_k > 0 && how->top_k < V ? how->top_k : V;
    double total = 0, cumulative = 0;
    for (int64_t i = 0; i < count; i++) total += sorted[i].p;
    for (int64_t i = 0; i < count; i++) {
        cumulative += sorted[i].p;
        if (cumulative >= how->top_p * total) count = i + 1;
    }
    for (int64_t i = count; i < V; i++) p[sorted[i].id] = 0;
}

/* Return the first token, in the order of ids, at which the cumulative probability exceeds u times the total. */
static int64_t draw(const double *p, int64_t V, double u) {
    double total = 0, cumulative = 0;
    for (int64_t v = 0; v < V; v++) total += p[v];
    int64_t last = 0;
    for (int64_t v = 0; v < V; v++) {
        if (p[v] <= 0) continue;
        last = v;
        cumulative += p[v];
        if (cumulative > u * total) break;
    }
    return last;
}

/* p[v] = exp((logit - largest) / temperature), unnormalised */
static void weights_of(const real *logits, double largest, int64_t V, double temperature, double *p) {
    for (int64_t v = 0; v < V; v++) p[v] = exp(((double)logits[v] - largest) / temperature);
}

static int64_t sample(const generation *g) {
    const fastrnn_sampling *how = g->how;
    const int64_t V = g->model->V, best = most_likely(g->logits, V);
    if (how->greedy) return best;
    weights_of(g->logits, g->logits[best], V, how->temperature, g->p);
    if (how->top_k > 0 || how->top_p < 1) keep_top(how, g->p, V, g->candidates);
    return draw(g->p, V, g->uniforms[g->sampled]);
}

/* Choose the next token, from the prefix or by sampling, and store it as the layers' input. Return 0 when no more tokens
 * are fed. */
static int feed_next(generation *g) {
    const fastrnn_language_model *m = g->model;
    int64_t token;
    if (g->fed < g->n_prefix) {
        token = g->prefix[g->fed];
    } else {
        if (g->sampled == g->n) return 0;
        token = sample(g);
        g->tokens[g->sampled++] = token;
        if (token == g->how->end || g->sampled == g->n) return 0;
    }
    g->fed++;
    g->s.ids[present_step(g)] = token;
    if (m->embedding)
        load_row(g->s.x + present_step(g) * m->E, token < 0 ? 0 : (const real *)m->embedding + token * m->E, m->E, m->E);
    return 1;
}

/* The body of pool_run; the context is a generation. Only rank 0 writes to it, and only while the other ranks wait at
 * the barrier. */
static void generate_some(const worker *me, void *context) {
    generation *g = context;
    for (int i = 0; i < TOKENS_PER_RUN; i++) {
        if (me->rank == 0) g->done = !feed_next(g);
        pool_barrier(me);
        if (g->done) return;
        const int64_t step = present_step(g);
        const int samples = g->fed >= g->n_prefix;
        steps_on(me, &g->s, step);
        if (samples) output_layer(me, g, step);
    }
}

int64_t generate_tokens(const fastrnn_language_model *model, const fastrnn_sampling *how, const int64_t *prefix,
                        int64_t n_prefix, const double *uniforms, int64_t n, void *h, void *c, int64_t *tokens,
                        void *workspace) {
    arena a = {.base = workspace};
    generation g = place_generation(&a, model);
    g.how = how;
    g.prefix = prefix;
    g.n_prefix = n_prefix;
    g.uniforms = uniforms;
    g.n = n;
    g.tokens = tokens;
    steps_begin(&g.s, model->packed, h, c);
    const int32_t threads = steps_plan(&g.s, n_prefix + n).threads;
    while (!g.done) pool_run(threads, LONG_CALL, generate_some, &g);
    steps_states(&g.s, present_step(&g), h, c);
    return g.sampled;
}

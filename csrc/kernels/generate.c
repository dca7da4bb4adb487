#include "generate.h"

#include <math.h>

#include "cell.h"
#include "rows.h"

/* On one thread: a step is too short to share. */
static const fastrnn_batch ONE_STEP = {.T = 1, .B = 1, .threads = 1};

typedef struct {
    double p;
    int64_t id;
} candidate;

/* Memory of one generate call. */
typedef struct {
    real *x, *y, *h, *c; /* input and output of a layer, new state of the present layer */
    real *logits;
    double *p;
    candidate *candidates;
    void *layer_workspace;
    int32_t steps; /* so far */
} buffers;

static int64_t output_size(const fastrnn_layer *l) { return l->P ? l->P : l->H; }

static buffers place_buffers(arena *a, const fastrnn_language_model *m) {
    int64_t widest = m->E, hidden = 0;
    size_t workspace = 0;
    for (int32_t i = 0; i < m->count; i++) {
        const fastrnn_layer *l = m->layers + i;
        size_t size = fastrnn_forward_workspace_size(l, &ONE_STEP, i == 0 && !m->embedding, 0);
        if (size > workspace) workspace = size;
        if (output_size(l) > widest) widest = output_size(l);
        if (l->H > hidden) hidden = l->H;
    }
    return (buffers){.x = arena_reals(a, widest),
                     .y = arena_reals(a, widest),
                     .h = arena_reals(a, widest),
                     .c = arena_reals(a, hidden),
                     .logits = arena_reals(a, m->V),
                     .p = arena_take(a, (size_t)m->V * sizeof(double)),
                     .candidates = arena_take(a, (size_t)m->V * sizeof(candidate)),
                     .layer_workspace = arena_take(a, workspace)};
}

size_t tokens_workspace_size(const fastrnn_language_model *model) {
    arena a = {0};
    place_buffers(&a, model);
    return a.used;
}

/* One token through the recurrent layers; their states in h and c advance. Leaves the top layer's output in w->x. Layers go
 * through the dispatcher: each may have been packed for an ISA of its own. */
static void step(const fastrnn_language_model *m, int64_t token, real *h, real *c, buffers *w) {
    fastrnn_batch batch = ONE_STEP;
    batch.turn = (w->steps++) & 1;
    if (m->embedding) load_row(w->x, token < 0 ? 0 : (const real *)m->embedding + token * m->E, m->E, m->E);
    for (int32_t i = 0; i < m->count; i++) {
        const fastrnn_layer *l = m->layers + i;
        const int ids = i == 0 && !m->embedding, has_c = cell_of(l->cell)->has_c;
        fastrnn_input in = {.x = ids ? 0 : w->x, .ids = ids ? &token : 0, .h0 = h, .c0 = has_c ? c : 0};
        fastrnn_output out = {.y = w->y, .h_n = w->h, .c_n = has_c ? w->c : 0};
        fastrnn_forward(l, m->packed[i], &batch, &in, &out, 0, w->layer_workspace);
        memcpy(h, w->h, (size_t)output_size(l) * sizeof(real));
        h += output_size(l);
        if (has_c) memcpy(c, w->c, (size_t)l->H * sizeof(real));
        if (has_c) c += l->H;
        real *finished = w->y;
        w->y = w->x;
        w->x = finished;
    }
}

static real dot(const real *a, const real *b, int64_t n) {
    vec sums = splat(0);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) sums = fma_(load(a + i), load(b + i), sums);
    sums = fma_(load_first(a + i, n - i), load_first(b + i, n - i), sums);
    real sum = 0;
    for (int lane = 0; lane < VL; lane++) sum += sums[lane];
    return sum;
}

static void output_layer(const fastrnn_language_model *m, const buffers *w) {
    const int64_t Y = output_size(m->layers + m->count - 1);
    const real *weight = m->weight, *bias = m->bias;
    for (int64_t v = 0; v < m->V; v++) w->logits[v] = dot(weight + v * Y, w->x, Y) + (bias ? bias[v] : 0);
}

static int64_t most_likely(const real *logits, int64_t V) {
    int64_t best = 0;
    for (int64_t v = 1; v < V; v++)
        if (logits[v] > logits[best]) best = v;
    return best;
}

/* The less likely of two candidates comes first in the heap; of equally likely ones the later id. */
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

/* Heap sort, the most likely first. */
static void sort_candidates(candidate *heap, int64_t n) {
    for (int64_t i = n / 2 - 1; i >= 0; i--) sink(heap, n, i);
    for (int64_t end = n - 1; end > 0; end--) {
        candidate swap = heap[0];
        heap[0] = heap[end];
        heap[end] = swap;
        sink(heap, end, 0);
    }
}

/* Set the probabilities of all but the top_k, and of all but the smallest set that holds top_p of the rest, to zero. */
static void keep_top(const fastrnn_sampling *how, double *p, int64_t V, candidate *sorted) {
    for (int64_t v = 0; v < V; v++) sorted[v] = (candidate){p[v], v};
    sort_candidates(sorted, V);
    int64_t kept = how->top_k > 0 && how->top_k < V ? how->top_k : V;
    double total = 0, cumulative = 0;
    for (int64_t i = 0; i < kept; i++) total += sorted[i].p;
    for (int64_t i = 0; i < kept; i++) {
        cumulative += sorted[i].p;
        if (cumulative >= how->top_p * total) kept = i + 1;
    }
    for (int64_t i = kept; i < V; i++) p[sorted[i].id] = 0;
}

/* The first token at which the cumulative probability exceeds u times the total, in the order of ids. */
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

int64_t generate_tokens(const fastrnn_language_model *model, const fastrnn_sampling *how, const int64_t *prefix,
                        int64_t n_prefix, const double *uniforms, int64_t n, void *h, void *c, int64_t *tokens,
                        void *workspace) {
    arena a = {.base = workspace};
    buffers w = place_buffers(&a, model);
    for (int64_t i = 0; i < n_prefix; i++) step(model, prefix[i], h, c, &w);
    int64_t count = 0;
    while (count < n) {
        output_layer(model, &w);
        int64_t token = most_likely(w.logits, model->V);
        if (!how->greedy) {
            weights_of(w.logits, w.logits[token], model->V, how->temperature, w.p);
            if (how->top_k > 0 || how->top_p < 1) keep_top(how, w.p, model->V, w.candidates);
            token = draw(w.p, model->V, uniforms[count]);
        }
        tokens[count++] = token;
        if (token == how->end || count == n) break;
        step(model, token, h, c, &w);
    }
    return count;
}

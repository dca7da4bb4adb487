/* Tests of sampling against a plain loop without heaps, buffers or threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"
#include "test_groups.h"

enum { V = 23, N = 30, PREFIX = 4 };

/* A stack of layers, and the settings to sample from it. */
typedef struct {
    const char *name;
    int64_t E; /* 0: the first layer takes token ids */
    int count, bias;
    enum { LSTM_PROJECTED, GRU, PEEPHOLE } kind;
    int64_t wider; /* factor of the hidden size */
    fastrnn_sampling how;
} sampler;

/* A sampler's values: one problem of one step for each layer, and the arrays of the language model. */
typedef struct {
    const sampler *s;
    problem layers[MOST_LAYERS];
    double *embedding, *weight, *bias, *uniforms;
    int64_t Y, h_size, c_size;
} language_model;

static double *random_array(int64_t n, double scale, uint64_t *state) {
    double *values = allocate((size_t)n * sizeof *values);
    for (int64_t i = 0; i < n; i++) values[i] = scale * next_value(state);
    return values;
}

static language_model new_language_model(const sampler *s, uint64_t seed) {
    static const model kinds[] = {[LSTM_PROJECTED] = {FASTRNN_LSTM, 0, 11, 5, 1, 1, 0, 0, 0, 1, 0},
                                  [GRU] = {FASTRNN_GRU, 0, 19, 0, 1, 1, 0, 0, 0, 1, 0},
                                  [PEEPHOLE] = {FASTRNN_LSTM_PEEPHOLE, 0, 7, 0, 1, 1, 0, 0, 0, 0, 0}};
    language_model m = {.s = s};
    uint64_t state = seed;
    int64_t width = s->E ? s->E : V;
    for (int i = 0; i < s->count; i++) {
        model kind = kinds[s->kind];
        kind.H *= s->wider;
        kind.I = width;
        kind.ids = i == 0 && !s->E;
        m.layers[i] = new_problem(&kind, seed + (uint64_t)i);
        width = output_width(&kind);
        m.h_size += width;
        m.c_size += is_lstm(&kind) ? kind.H : 0;
    }
    m.Y = width;
    m.embedding = random_array(V * s->E, 1, &state);
    m.weight = random_array(V * width, 4, &state);
    m.bias = random_array(V, 1, &state);
    m.uniforms = random_array(N, 1, &state);
    for (int v = 1; v < V; v += 3) { /* as likely as the token before it, so the smaller id must come first */
        memcpy(m.weight + v * width, m.weight + (v - 1) * width, (size_t)width * sizeof(double));
        m.bias[v] = m.bias[v - 1];
    }
    for (int n = 0; n < N; n++) m.uniforms[n] = (m.uniforms[n] + 1) / 2;
    return m;
}

static void free_language_model(language_model *m) {
    for (int i = 0; i < m->s->count; i++) free_problem(m->layers + i);
    free(m->embedding);
    free(m->weight);
    free(m->bias);
    free(m->uniforms);
}

/* Run one token through the layers, whose states are the problems' h0 and c0; return the top layer's output. */
static const double *naive_step(language_model *m, int64_t token) {
    const double *x = token < 0 ? NULL : m->embedding + token * m->s->E;
    for (int i = 0; i < m->s->count; i++) {
        problem *p = m->layers + i;
        for (int64_t k = 0; k < p->in_size[IN_X]; k++) p->in[IN_X][k] = x ? x[k] : 0;
        if (p->ids) p->ids[0] = token;
        outputs o = new_outputs(p);
        naive_forward(p, &o);
        memcpy(p->in[IN_H0], o.out[OUT_H_N], (size_t)p->in_size[IN_H0] * sizeof(double));
        memcpy(p->in[IN_C0], o.out[OUT_C_N], (size_t)p->in_size[IN_C0] * sizeof(double));
        free_outputs(&o);
        x = p->in[IN_H0];
    }
    return x;
}

/* Return the number of tokens before v in the order of probability; of equally likely tokens the smaller id comes first.
 * `above` is their total probability. */
static int64_t rank_of(const double *p, int64_t v, double *above) {
    int64_t rank = 0;
    *above = 0;
    for (int64_t i = 0; i < V; i++)
        if (p[i] > p[v] || (p[i] == p[v] && i < v)) {
            rank++;
            *above += p[i];
        }
    return rank;
}

static int64_t naive_choice(const language_model *m, const double *y, double u) {
    const fastrnn_sampling *how = &m->s->how;
    double p[V], allowed[V], above, total = 0, of_top_k = 0, cumulative = 0;
    for (int64_t v = 0; v < V; v++) {
        double logit = m->s->bias ? m->bias[v] : 0;
        for (int64_t i = 0; i < m->Y; i++) logit += m->weight[v * m->Y + i] * y[i];
        p[v] = exp(logit / how->temperature);
    }
    for (int64_t v = 0; v < V; v++) {
        int64_t rank = rank_of(p, v, &above);
        if (how->greedy && rank == 0) return v;
        if (!how->top_k || rank < how->top_k) of_top_k += p[v];
    }
    for (int64_t v = 0; v < V; v++) { /* a token is allowed while the tokens before it hold less than top_p */
        int64_t rank = rank_of(p, v, &above);
        allowed[v] = (!how->top_k || rank < how->top_k) && (rank == 0 || above < how->top_p * of_top_k) ? p[v] : 0;
        total += allowed[v];
    }
    for (int64_t v = 0; v < V; v++) {
        cumulative += allowed[v];
        if (cumulative > u * total) return v;
    }
    return -1;
}

/* Concatenate the layers' states, as the library needs them. */
static void flat_states(const language_model *m, double *h, double *c) {
    for (int i = 0; i < m->s->count; i++) {
        const problem *p = m->layers + i;
        memcpy(h, p->in[IN_H0], (size_t)p->in_size[IN_H0] * sizeof *h);
        memcpy(c, p->in[IN_C0], (size_t)p->in_size[IN_C0] * sizeof *c);
        h += p->in_size[IN_H0];
        c += p->in_size[IN_C0];
    }
}

static const int64_t PREFIX_IDS[PREFIX] = {-1, 3, V - 1, 0};

static int64_t naive_generate(language_model *m, int64_t *tokens) {
    const double *y = NULL;
    int64_t count = 0;
    for (int i = 0; i < PREFIX; i++) y = naive_step(m, PREFIX_IDS[i]);
    while (count < N) {
        tokens[count] = naive_choice(m, y, m->uniforms[count]);
        if (tokens[count++] == m->s->how.end || count == N) break;
        y = naive_step(m, tokens[count - 1]);
    }
    return count;
}

static int64_t generate(const language_model *m, int32_t isa, int32_t dtype, int64_t *tokens, double **h, double **c) {
    guards g = {.count = 0};
    const fastrnn_stack stack = stack_of(&m->layers[0].m, m->s->count, isa, dtype);
    fastrnn_language_model library = {
        .V = V, .E = m->s->E, .stack = &stack, .packed = packed_weights(&g, m->layers, &stack, 0)};
    library.embedding = guarded_reals(&g, dtype, V * m->s->E, m->embedding);
    library.weight = guarded_reals(&g, dtype, V * m->Y, m->weight);
    library.bias = guarded_reals(&g, dtype, m->s->bias ? V : 0, m->bias);
    void *h_now = guarded_reals(&g, dtype, m->h_size, *h), *c_now = guarded_reals(&g, dtype, m->c_size, *c);
    double *uniforms = guarded_reals(&g, FASTRNN_FLOAT64, N, m->uniforms);
    int64_t *out = guarded(&g, N * sizeof *out);
    void *workspace = guarded(&g, fastrnn_generate_workspace_size(&library));
    int64_t found = fastrnn_generate(&library, &m->s->how, PREFIX_IDS, PREFIX, uniforms, N, h_now, c_now, out, workspace);
    memcpy(tokens, out, (size_t)found * sizeof *tokens);
    *h = as_doubles(dtype, m->h_size, h_now);
    *c = as_doubles(dtype, m->c_size, c_now);
    guards_done(&g, m->s->name);
    return found;
}

static double largest_difference(const double *a, const double *b, int64_t n) {
    double largest = 0;
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(a[i] - b[i]) <= largest)) largest = fabs(a[i] - b[i]);
    return largest;
}

static void check_sampler(int32_t isa, int32_t dtype, void *context) {
    static const double tolerance[] = {[FASTRNN_FLOAT32] = 2e-5, [FASTRNN_FLOAT64] = 1e-12};
    const sampler *s = context;
    language_model m = new_language_model(s, 77);
    double *h0 = allocate((size_t)m.h_size * sizeof *h0), *c0 = allocate((size_t)m.c_size * sizeof *c0), *h = h0, *c = c0;
    int64_t found[N], right[N];
    flat_states(&m, h0, c0);
    int64_t count = generate(&m, isa, dtype, found, &h, &c), expected = naive_generate(&m, right);
    flat_states(&m, h0, c0);
    expect(count == expected, "%s: %d tokens, not %d", s->name, (int)count, (int)expected);
    for (int64_t n = 0; n < count && n < expected; n++)
        if (!expect(found[n] == right[n], "%s: token %d is %d, not %d", s->name, (int)n, (int)found[n], (int)right[n]))
            break;
    expect(largest_difference(h, h0, m.h_size) <= tolerance[dtype], "%s: h", s->name);
    expect(largest_difference(c, c0, m.c_size) <= tolerance[dtype], "%s: c", s->name);
    free(h0);
    free(c0);
    free(h);
    free(c);
    free_language_model(&m);
}

/* Expect the same bits on every number of threads; the layers are wide enough to be shared. */
static void check_threads(int32_t isa, int32_t dtype, void *context) {
    const sampler *s = context;
    const int32_t before = fastrnn_get_num_threads();
    language_model m = new_language_model(s, 78);
    double *h[3], *c[3];
    int64_t tokens[3][N], count[3];
    for (int i = 0; i < 3; i++) {
        double *h0 = h[i] = allocate((size_t)m.h_size * sizeof *h0), *c0 = c[i] = allocate((size_t)m.c_size * sizeof *c0);
        flat_states(&m, h0, c0);
        fastrnn_set_num_threads(i + 1);
        const fastrnn_stack stack = stack_of(&m.layers[0].m, s->count, isa, dtype);
        fastrnn_batch batch = {.T = PREFIX + N, .B = 1};
        int32_t split, threads;
        fastrnn_plan(&stack, 1, &batch, 0, &split, &threads);
        expect(threads == i + 1, "%s: planned for %d threads, not %d", s->name, (int)threads, i + 1);
        count[i] = generate(&m, isa, dtype, tokens[i], h + i, c + i);
        free(h0);
        free(c0);
        expect(count[i] == N && !memcmp(tokens[i], tokens[0], sizeof tokens[0]), "%s: tokens, %d threads", s->name, i + 1);
        expect(!memcmp(h[i], h[0], (size_t)m.h_size * sizeof *h[0]), "%s: h, %d threads", s->name, i + 1);
        expect(!memcmp(c[i], c[0], (size_t)m.c_size * sizeof *c[0]), "%s: c, %d threads", s->name, i + 1);
    }
    for (int i = 0; i < 3; i++) {
        free(h[i]);
        free(c[i]);
    }
    free_language_model(&m);
    fastrnn_set_num_threads(before);
}

void test_generate(void) {
    static sampler samplers[] = {
        {"greedy", 0, 1, 1, LSTM_PROJECTED, 1, {.temperature = 1, .top_p = 1, .end = -1, .greedy = 1}},
        {"all", 0, 2, 1, LSTM_PROJECTED, 1, {.temperature = 1, .top_p = 1, .end = -1}},
        {"embedding", 6, 3, 0, PEEPHOLE, 1, {.temperature = 2, .top_p = 1, .end = -1}},
        {"cold", 40, 2, 1, GRU, 1, {.temperature = 0.25, .top_p = 1, .end = -1}},
        {"top_k", 0, 2, 0, GRU, 1, {.temperature = 3, .top_p = 1, .top_k = 4, .end = -1}},
        {"top_p", 6, 1, 1, PEEPHOLE, 1, {.temperature = 3, .top_p = 0.6, .end = -1}},
        {"top_k and top_p", 0, 3, 1, LSTM_PROJECTED, 1, {.temperature = 3, .top_p = 0.5, .top_k = 9, .end = -1}},
        {"top_k of one", 0, 1, 1, GRU, 1, {.temperature = 3, .top_p = 1, .top_k = 1, .end = -1}},
        {"end", 0, 2, 1, PEEPHOLE, 1, {.temperature = 4, .top_p = 1, .end = 5}},
    };
    static sampler wide = {"wide", 6, 3, 1, GRU, 9, {.temperature = 4, .top_p = 1, .end = -1}};
    for (int i = 0; i < (int)(sizeof samplers / sizeof *samplers); i++) each_kernel(check_sampler, samplers + i);
    each_kernel(check_threads, &wide);
    group_done("generate");
}

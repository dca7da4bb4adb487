#include "naive.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

const char *const INPUT_NAMES[INPUTS] = {"x", "h0", "c0", "W", "R", "b_ih", "b_hh", "peephole", "projection"};
const char *const OUTPUT_NAMES[OUTPUTS] = {"y", "h_n", "c_n", "c"};

enum { MAX_H = 1024 };

int is_lstm(const model *m) { return m->cell == FASTRNN_LSTM || m->cell == FASTRNN_LSTM_PEEPHOLE; }
int64_t output_width(const model *m) { return m->P ? m->P : m->H; }
int64_t length_of(const problem *p, int64_t b) { return p->lengths ? p->lengths[b] : p->m.T; }

static int64_t gates_of(const model *m) {
    if (is_lstm(m)) return 4;
    if (m->cell == FASTRNN_GRU_NO_RESET) return 2;
    return m->cell == FASTRNN_GRU || m->cell == FASTRNN_GRU_RESET_BEFORE ? 3 : 1;
}

const char *describe(const model *m) {
    static const char *const cells[] = {"tanh", "relu", "gru", "gru reset before", "gru no reset", "lstm", "lstm peephole"};
    static _Thread_local char text[160];
    snprintf(text, sizeof text, "%s T=%d B=%d I=%d H=%d P=%d%s%s%s%s", cells[m->cell], (int)m->T, (int)m->B, (int)m->I,
             (int)m->H, (int)m->P, m->ids ? " ids" : "", m->lengths ? " lengths" : "", m->reverse ? " reverse" : "",
             m->bias ? " bias" : "");
    return text;
}

static void set_sizes(problem *p) {
    const model *m = &p->m;
    const int64_t rows = gates_of(m) * m->H, Y = output_width(m), cells = is_lstm(m) ? m->H : 0;
    const int64_t in[INPUTS] = {[IN_X] = m->ids ? 0 : m->T * m->B * m->I,
                                [IN_H0] = m->B * Y,
                                [IN_C0] = m->B * cells,
                                [IN_W] = rows * m->I,
                                [IN_R] = rows * Y,
                                [IN_B_IH] = m->bias ? rows : 0,
                                [IN_B_HH] = m->bias ? rows : 0,
                                [IN_PEEPHOLE] = m->cell == FASTRNN_LSTM_PEEPHOLE ? 3 * m->H : 0,
                                [IN_PROJECTION] = m->P * m->H};
    const int64_t out[OUTPUTS] = {m->T * m->B * Y, m->B * Y, m->B * cells, m->T * m->B * cells};
    memcpy(p->in_size, in, sizeof in);
    memcpy(p->out_size, out, sizeof out);
}

/* Set rows of [T, B, width] past each sequence's length to NaN, because nothing may depend on them. */
static void spoil_padding(const problem *p, double *values, int64_t width) {
    for (int64_t b = 0; values && b < p->m.B; b++)
        for (int64_t t = length_of(p, b); t < p->m.T; t++)
            for (int64_t i = 0; i < width; i++) values[(t * p->m.B + b) * width + i] = NAN;
}

static double *random_values(int64_t n, double scale, uint64_t *state) {
    double *values = allocate((size_t)n * sizeof *values);
    for (int64_t i = 0; i < n; i++) values[i] = scale * next_value(state);
    return values;
}

static void fill_integers(problem *p, uint64_t *state) {
    const model *m = &p->m;
    if (m->lengths) p->lengths = allocate((size_t)m->B * sizeof *p->lengths);
    for (int64_t b = 0; m->lengths && b < m->B; b++)
        p->lengths[b] = (int64_t)((next_value(state) + 1) / 2 * (double)(m->T + 1)); /* 0 to T */
    if (m->ids) p->ids = allocate((size_t)(m->T * m->B) * sizeof *p->ids);
    for (int64_t n = 0; m->ids && n < m->T * m->B; n++)
        p->ids[n] = (int64_t)((next_value(state) + 1) / 2 * (double)(m->I + 1)) - 1;
}

problem new_problem(const model *m, uint64_t seed) {
    uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
    problem p = {.m = *m};
    set_sizes(&p);
    fill_integers(&p, &state);
    double weight_scale = 1; /* a power of two near 1 / sqrt(H), so that float still holds every value exactly */
    while (weight_scale * weight_scale * (double)m->H > 1) weight_scale /= 2;
    for (int i = 0; i < INPUTS; i++) p.in[i] = random_values(p.in_size[i], i < IN_W ? 1 : weight_scale, &state);
    for (int i = 0; i < OUTPUTS; i++)
        if (p.out_size[i] && m->gradients >> i & 1) p.dout[i] = random_values(p.out_size[i], 1, &state);
    if (!m->ids) spoil_padding(&p, p.in[IN_X], m->I);
    spoil_padding(&p, p.dout[OUT_Y], output_width(m));
    spoil_padding(&p, p.dout[OUT_C], m->H);
    return p;
}

void free_problem(problem *p) {
    for (int i = 0; i < INPUTS; i++) free(p->in[i]);
    for (int i = 0; i < OUTPUTS; i++) free(p->dout[i]);
    free(p->lengths);
    free(p->ids);
}

outputs new_outputs(const problem *p) {
    outputs o;
    for (int i = 0; i < OUTPUTS; i++) o.out[i] = allocate((size_t)p->out_size[i] * sizeof(double));
    return o;
}

void free_outputs(outputs *o) {
    for (int i = 0; i < OUTPUTS; i++) free(o->out[i]);
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* p = x W^T + b_ih, for one row of W and the input at t*B + b = n */
static double from_input(const problem *p, int64_t row, int64_t n) {
    const int64_t I = p->m.I;
    const double *w = p->in[IN_W] + row * I, *x = p->in[IN_X] + n * I;
    double sum = p->m.bias ? p->in[IN_B_IH][row] : 0;
    if (p->m.ids) return p->ids[n] < 0 ? sum : sum + w[p->ids[n]];
    for (int64_t i = 0; i < I; i++) sum += x[i] * w[i];
    return sum;
}

/* q = h R^T + b_hh, for one row of R */
static double from_state(const problem *p, int64_t row, const double *h) {
    const int64_t Y = output_width(&p->m);
    double sum = p->m.bias ? p->in[IN_B_HH][row] : 0;
    for (int64_t i = 0; i < Y; i++) sum += h[i] * p->in[IN_R][row * Y + i];
    return sum;
}

static void rnn_step(const problem *p, int64_t n, double *h) {
    double h_new[MAX_H];
    for (int64_t u = 0; u < p->m.H; u++) {
        double a = from_input(p, u, n) + from_state(p, u, h);
        h_new[u] = p->m.cell == FASTRNN_RNN_TANH ? tanh(a) : a > 0 ? a : 0;
    }
    memcpy(h, h_new, (size_t)p->m.H * sizeof *h);
}

/* Rows of W and R: r, z, n; without a reset gate z, n. */
static void gru_step(const problem *p, int64_t n, double *h) {
    const int64_t H = p->m.H, first_z = p->m.cell == FASTRNN_GRU_NO_RESET ? 0 : H, first_n = first_z + H;
    double r[MAX_H], v[MAX_H], h_new[MAX_H];
    for (int64_t u = 0; u < H; u++) {
        r[u] = first_z ? sigmoid(from_input(p, u, n) + from_state(p, u, h)) : 1;
        v[u] = p->m.cell == FASTRNN_GRU_RESET_BEFORE ? r[u] * h[u] : h[u];
    }
    for (int64_t u = 0; u < H; u++) {
        double z = sigmoid(from_input(p, first_z + u, n) + from_state(p, first_z + u, h));
        double q_n = from_state(p, first_n + u, v);
        double candidate = tanh(from_input(p, first_n + u, n) + (p->m.cell == FASTRNN_GRU ? r[u] * q_n : q_n));
        h_new[u] = (1 - z) * candidate + z * h[u];
    }
    memcpy(h, h_new, (size_t)H * sizeof *h);
}

static void lstm_step(const problem *p, int64_t n, double *h, double *c) {
    const int64_t H = p->m.H;
    const double *w = p->m.cell == FASTRNN_LSTM_PEEPHOLE ? p->in[IN_PEEPHOLE] : 0;
    double full[MAX_H];
    for (int64_t u = 0; u < H; u++) {
        double a[4];
        for (int64_t gate = 0; gate < 4; gate++) a[gate] = from_input(p, gate * H + u, n) + from_state(p, gate * H + u, h);
        double i = sigmoid(a[0] + (w ? w[u] * c[u] : 0)), f = sigmoid(a[1] + (w ? w[H + u] * c[u] : 0));
        c[u] = f * c[u] + i * tanh(a[2]);
        full[u] = sigmoid(a[3] + (w ? w[2 * H + u] * c[u] : 0)) * tanh(c[u]);
    }
    for (int64_t j = 0; j < output_width(&p->m); j++) {
        h[j] = p->m.P ? 0 : full[j];
        for (int64_t u = 0; p->m.P && u < H; u++) h[j] += p->in[IN_PROJECTION][j * H + u] * full[u];
    }
}

static void one_sequence(const problem *p, int64_t b, outputs *o) {
    const model *m = &p->m;
    const int64_t Y = output_width(m), H = m->H, length = length_of(p, b);
    double *h = o->out[OUT_H_N] + b * Y, *c = is_lstm(m) ? o->out[OUT_C_N] + b * H : 0;
    memcpy(h, p->in[IN_H0] + b * Y, (size_t)Y * sizeof *h);
    if (c) memcpy(c, p->in[IN_C0] + b * H, (size_t)H * sizeof *c);
    for (int64_t s = 0; s < length; s++) {
        int64_t n = (m->reverse ? length - 1 - s : s) * m->B + b;
        if (c)
            lstm_step(p, n, h, c);
        else if (m->cell == FASTRNN_RNN_TANH || m->cell == FASTRNN_RNN_RELU)
            rnn_step(p, n, h);
        else
            gru_step(p, n, h);
        memcpy(o->out[OUT_Y] + n * Y, h, (size_t)Y * sizeof *h);
        if (c) memcpy(o->out[OUT_C] + n * H, c, (size_t)H * sizeof *c);
    }
}

void naive_forward(const problem *p, outputs *o) {
    for (int64_t b = 0; b < p->m.B; b++) one_sequence(p, b, o);
}

double naive_loss(const problem *p, outputs *scratch) {
    double loss = 0;
    naive_forward(p, scratch);
    for (int i = 0; i < OUTPUTS; i++)
        for (int64_t n = 0; p->dout[i] && n < p->out_size[i]; n++)
            if (!isnan(p->dout[i][n])) loss += p->dout[i][n] * scratch->out[i][n];
    return loss;
}

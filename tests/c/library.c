#include "library.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The initial value of gradients, to which the library adds. float and double hold it exactly. */
static const double BEFORE = 0.5;

size_t bytes_of(int32_t dtype, int64_t n) { return (size_t)n * (dtype == FASTRNN_FLOAT64 ? sizeof(double) : sizeof(float)); }

static void set_real(void *reals, int32_t dtype, int64_t i, double value) {
    if (dtype == FASTRNN_FLOAT64)
        ((double *)reals)[i] = value;
    else
        ((float *)reals)[i] = (float)value;
}

void *guarded_reals(guards *g, int32_t dtype, int64_t n, const double *values) {
    if (!n) return NULL;
    void *reals = guarded(g, bytes_of(dtype, n));
    for (int64_t i = 0; values && i < n; i++) set_real(reals, dtype, i, values[i]);
    return reals;
}

double *as_doubles(int32_t dtype, int64_t n, const void *reals) {
    double *values = allocate((size_t)n * sizeof *values);
    for (int64_t i = 0; i < n; i++)
        values[i] = dtype == FASTRNN_FLOAT64 ? ((const double *)reals)[i] : ((const float *)reals)[i];
    return values;
}

fastrnn_stack stack_of(const model *m, int32_t layers, int32_t isa, int32_t dtype) {
    return (fastrnn_stack){
        .isa = isa, .dtype = dtype, .cell = m->cell, .L = layers, .D = 1, .I = m->I, .H = m->H, .P = m->P};
}

/* The arrays of one run, in the layer's dtype. */
typedef struct {
    guards g;
    fastrnn_stack stack;
    fastrnn_batch batch;
    void *in[INPUTS], *out[OUTPUTS], *dout[OUTPUTS], *grad[INPUTS];
    int64_t *ids;
    void *packed, *tape;
} run;

static int64_t *guarded_integers(guards *g, int64_t n, const int64_t *values) {
    if (!values) return NULL;
    int64_t *copy = guarded(g, (size_t)n * sizeof *copy);
    memcpy(copy, values, (size_t)n * sizeof *copy);
    return copy;
}

static fastrnn_weights params_of(void *const *in) {
    return (fastrnn_weights){.W = in[IN_W],
                             .R = in[IN_R],
                             .b_ih = in[IN_B_IH],
                             .b_hh = in[IN_B_HH],
                             .peephole = in[IN_PEEPHOLE],
                             .projection = in[IN_PROJECTION]};
}

static const int MATRICES[] = {IN_W, IN_R, IN_PROJECTION};

/* Return the number of columns of a matrix, and the scale of one of its rows. */
static int64_t columns_of(const model *m, int matrix) {
    return matrix == IN_W ? m->I : matrix == IN_R ? output_width(m) : m->H;
}
static double scale_of(int64_t row) { return row % 2 ? 0x1p-7 : 0x1p-8; }

static uint32_t bits_of(double value) {
    const float number = (float)value;
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

void round_weights(problem *p, int32_t format) {
    for (int k = 0; k < 3; k++)
        for (int64_t n = 0; n < p->in_size[MATRICES[k]]; n++) {
            double *value = p->in[MATRICES[k]] + n, scale = scale_of(n / columns_of(&p->m, MATRICES[k]));
            const uint32_t upper = bits_of(*value) & 0xffff0000u;
            float number;
            memcpy(&number, &upper, sizeof number);
            *value = format == FASTRNN_WEIGHTS_BFLOAT16 ? number : fmax(-127, fmin(127, rint(*value / scale))) * scale;
        }
}

/* Return the weights of a problem after round_weights in the format, guarded. */
static fastrnn_weights compressed(guards *g, const problem *p, int32_t format, void *const *in) {
    const void *codes[3] = {0}, *scales[3] = {0};
    const int int8 = format == FASTRNN_WEIGHTS_INT8;
    for (int k = 0; k < 3; k++) {
        const int64_t n = p->in_size[MATRICES[k]], columns = columns_of(&p->m, MATRICES[k]);
        if (!n) continue;
        void *code = guarded(g, (size_t)n * (int8 ? sizeof(int8_t) : sizeof(uint16_t)));
        float *scale = int8 ? guarded_reals(g, FASTRNN_FLOAT32, n / columns, NULL) : NULL;
        for (int64_t i = 0; i < n; i++) {
            const double value = p->in[MATRICES[k]][i];
            if (int8) {
                scale[i / columns] = (float)scale_of(i / columns);
                ((int8_t *)code)[i] = (int8_t)(value / scale_of(i / columns));
            } else {
                ((uint16_t *)code)[i] = (uint16_t)(bits_of(value) >> 16);
            }
        }
        codes[k] = code;
        scales[k] = scale;
    }
    return (fastrnn_weights){codes[0], codes[1],  in[IN_B_IH], in[IN_B_HH], in[IN_PEEPHOLE],
                             codes[2], scales[0], scales[1],   scales[2]};
}

static void *pack_weights(guards *g, const fastrnn_stack *stack, const fastrnn_weights *params, int training) {
    void *packed = guarded(g, fastrnn_packed_size(stack, training));
    fastrnn_pack(stack, params, training, packed);
    return packed;
}

void *packed_weights(guards *g, const problem *layers, const fastrnn_stack *stack, int training) {
    fastrnn_weights params[MOST_LAYERS];
    for (int32_t l = 0; l < stack->L; l++) {
        void *in[INPUTS];
        for (int i = 0; i < INPUTS; i++) in[i] = guarded_reals(g, stack->dtype, layers[l].in_size[i], layers[l].in[i]);
        params[l] = params_of(in);
    }
    return pack_weights(g, stack, params, training);
}

static void start(run *r, const problem *p, setup s) {
    const model *m = &p->m;
    *r = (run){.stack = stack_of(m, 1, s.isa, s.dtype)};
    int64_t *lengths = guarded_integers(&r->g, m->B, p->lengths);
    r->batch = (fastrnn_batch){.T = m->T, .B = m->B, .lengths = lengths, .reverse = m->reverse, .threads = s.threads};
    r->ids = guarded_integers(&r->g, m->T * m->B, p->ids);
    for (int i = 0; i < INPUTS; i++) r->in[i] = guarded_reals(&r->g, s.dtype, p->in_size[i], p->in[i]);
    for (int i = 0; i < OUTPUTS; i++) {
        int64_t wanted = i == OUT_C && s.minimal ? 0 : p->out_size[i];
        r->out[i] = guarded_reals(&r->g, s.dtype, wanted, NULL);
        r->dout[i] = p->dout[i] ? guarded_reals(&r->g, s.dtype, p->out_size[i], p->dout[i]) : NULL;
    }
    r->stack.weights = s.weights;
    r->stack.products = s.products;
    const fastrnn_weights params = s.weights ? compressed(&r->g, p, s.weights, r->in) : params_of(r->in);
    r->packed = pack_weights(&r->g, &r->stack, &params, s.training);
}

/* End a back-off of the pool, which happens on a busy machine, so that the call uses the threads. */
static void end_back_off(void) { fastrnn_set_num_threads(fastrnn_get_num_threads()); }

static void forward(run *r, int training) {
    const int ids = !!r->ids;
    void *workspace = guarded(&r->g, fastrnn_forward_workspace_size(&r->stack, &r->batch, ids, training));
    if (training) r->tape = guarded(&r->g, fastrnn_tape_size(&r->stack, &r->batch, ids));
    const fastrnn_inputs in = {r->in[IN_X], r->ids, r->in[IN_H0], r->in[IN_C0]};
    const fastrnn_outputs out = {r->out[OUT_Y], r->out[OUT_H_N], r->out[OUT_C_N], r->out[OUT_C]};
    end_back_off();
    fastrnn_forward(&r->stack, r->packed, &r->batch, &in, &out, r->tape, workspace);
}

static int is_optional(int input) { return input == IN_X || input == IN_B_IH || input == IN_B_HH; }

static void backward(run *r, const problem *p, int minimal) {
    const int32_t dtype = r->stack.dtype;
    for (int i = 0; i < INPUTS; i++) {
        if (!minimal || !is_optional(i)) r->grad[i] = guarded_reals(&r->g, dtype, p->in_size[i], NULL);
        for (int64_t n = 0; r->grad[i] && i >= IN_W && n < p->in_size[i]; n++) set_real(r->grad[i], dtype, n, BEFORE);
    }
    void *workspace = guarded(&r->g, fastrnn_backward_workspace_size(&r->stack, &r->batch, !!r->ids));
    const fastrnn_inputs in = {r->in[IN_X], r->ids, NULL, NULL};
    const fastrnn_output_gradients dout = {r->dout[OUT_Y], r->dout[OUT_H_N], r->dout[OUT_C_N], r->dout[OUT_C]};
    const fastrnn_gradients din = {r->grad[IN_X], r->grad[IN_H0], r->grad[IN_C0]};
    void *const *to = r->grad;
    const fastrnn_weight_gradients grads = {to[IN_W],    to[IN_R],        to[IN_B_IH],
                                            to[IN_B_HH], to[IN_PEEPHOLE], to[IN_PROJECTION]};
    end_back_off();
    fastrnn_backward(&r->stack, r->packed, &r->batch, &in, &dout, &din, &grads, r->tape, workspace);
}

results run_layer(const problem *p, setup s) {
    run r;
    results found = {0};
    start(&r, p, s);
    forward(&r, s.training);
    if (s.training) backward(&r, p, s.minimal);
    for (int i = 0; i < OUTPUTS; i++)
        if (r.out[i]) found.o.out[i] = as_doubles(s.dtype, p->out_size[i], r.out[i]);
    for (int i = 0; i < INPUTS; i++) {
        if (r.grad[i]) found.grad[i] = as_doubles(s.dtype, p->in_size[i], r.grad[i]);
        for (int64_t n = 0; r.grad[i] && i >= IN_W && n < p->in_size[i]; n++) found.grad[i][n] -= BEFORE;
    }
    guards_done(&r.g, describe(&p->m));
    return found;
}

void free_results(results *r) {
    free_outputs(&r->o);
    for (int i = 0; i < INPUTS; i++) free(r->grad[i]);
}

void expect_same(const problem *p, const results *a, const results *b, const char *what) {
    for (int i = 0; i < OUTPUTS; i++)
        if (a->o.out[i] && b->o.out[i])
            expect(!memcmp(a->o.out[i], b->o.out[i], (size_t)p->out_size[i] * sizeof(double)), "%s: %s of %s differs", what,
                   OUTPUT_NAMES[i], describe(&p->m));
    for (int i = 0; i < INPUTS; i++)
        if (a->grad[i] && b->grad[i])
            expect(!memcmp(a->grad[i], b->grad[i], (size_t)p->in_size[i] * sizeof(double)), "%s: d%s of %s differs", what,
                   INPUT_NAMES[i], describe(&p->m));
}

void each_kernel(void (*body)(int32_t isa, int32_t dtype, void *context), void *context) {
    for (int32_t isa = 0; isa < fastrnn_isa_count(); isa++)
        if (fastrnn_isa_runs(isa)) {
            body(isa, FASTRNN_FLOAT64, context);
            body(isa, FASTRNN_FLOAT32, context);
        }
}

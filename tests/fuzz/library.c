/* Target of libFuzzer: valid calls of the C library whose sizes, lengths, plans, options and token ids come from the input.
 * `just fuzz-c` builds and runs it under AddressSanitizer and UndefinedBehaviorSanitizer. */
#include <stdlib.h>
#include <string.h>

#include "input.h"

enum { MOST_PARTS = 4, MOST_PRODUCTS = 1 << 24 };

static int has_c(const fastrnn_stack *s) { return s->cell == FASTRNN_LSTM || s->cell == FASTRNN_LSTM_PEEPHOLE; }
static int64_t outputs_of(const fastrnn_stack *s) { return s->P ? s->P : s->H; }
static int64_t gates_of(const fastrnn_stack *s) {
    return has_c(s) ? 4 : s->cell <= FASTRNN_RNN_RELU ? 1 : s->cell == FASTRNN_GRU_NO_RESET ? 2 : 3;
}
static int64_t width_of(const fastrnn_stack *s, int32_t part) { return part < s->D ? s->I : s->D * outputs_of(s); }

/* Return a number of threads: several in every fourth input, because barriers take most of the time of such a call. */
static int32_t take_threads(input *in) { return take(in, 4) ? 1 : 2 + (int32_t)take(in, 3); }

static fastrnn_stack take_stack(input *in, int32_t directions, int inference) {
    fastrnn_stack s = {.isa = in->isa, .dtype = in->dtype, .cell = (int32_t)take(in, FASTRNN_LSTM_PEEPHOLE + 1)};
    s.D = 1 + (int32_t)take(in, directions);
    s.L = 1 + (int32_t)take(in, MOST_PARTS / s.D);
    s.I = take_size(in, 100);
    s.H = take_size(in, 100);
    if (has_c(&s) && take(in, 2)) s.P = 1 + take(in, s.H);
    if (s.dtype == FASTRNN_FLOAT32) {
        s.products = (int32_t)take(in, 2);
        if (inference) s.weights = (int32_t)take(in, FASTRNN_WEIGHTS_INT8 + 1);
    }
    if (s.weights == FASTRNN_WEIGHTS_INT8) s.products = FASTRNN_PRODUCTS_FULL;
    return s;
}

/* Return a matrix in the stack's format, and the scales of its rows. */
static const void *matrix(input *in, const fastrnn_stack *s, int64_t rows, int64_t columns, const void **scales) {
    if (s->weights == FASTRNN_WEIGHTS_FULL || !rows) return reals(in, rows * columns, 0.25);
    if (s->weights == FASTRNN_WEIGHTS_INT8) {
        int8_t *codes = block(in, (size_t)(rows * columns));
        for (int64_t i = 0; i < rows * columns; i++) codes[i] = (int8_t)(127 * next_value(&in->state));
        *scales = reals(in, rows, 1. / 256);
        return codes;
    }
    uint16_t *codes = block(in, (size_t)(rows * columns) * sizeof *codes);
    for (int64_t i = 0; i < rows * columns; i++) {
        const float value = (float)(0.25 * next_value(&in->state));
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        codes[i] = (uint16_t)(bits >> 16);
    }
    return codes;
}

static void take_params(input *in, const fastrnn_stack *s, fastrnn_weights *params) {
    const int64_t GH = gates_of(s) * s->H, Y = outputs_of(s);
    const int bias = (int)take(in, 2);
    for (int32_t part = 0; part < s->L * s->D; part++) {
        fastrnn_weights *p = &params[part];
        *p = (fastrnn_weights){0};
        p->W = matrix(in, s, GH, width_of(s, part), &p->W_scales);
        p->R = matrix(in, s, GH, Y, &p->R_scales);
        p->projection = matrix(in, s, s->P, s->H, &p->projection_scales);
        p->b_ih = bias ? reals(in, GH, 1) : NULL;
        p->b_hh = bias ? reals(in, GH, 1) : NULL;
        p->peephole = s->cell == FASTRNN_LSTM_PEEPHOLE ? reals(in, 3 * s->H, 0.25) : NULL;
    }
}

static void add_gradients(input *in, const fastrnn_stack *s, const fastrnn_weights *params,
                          fastrnn_weight_gradients *grads) {
    const int64_t GH = gates_of(s) * s->H, Y = outputs_of(s);
    for (int32_t part = 0; part < s->L * s->D; part++)
        grads[part] = (fastrnn_weight_gradients){
            .W = result(in, GH * width_of(s, part), 1, 1),
            .R = result(in, GH * Y, 1, 1),
            .b_ih = params[part].b_ih ? result(in, GH, 1, 1) : NULL,
            .b_hh = params[part].b_hh ? result(in, GH, 1, 1) : NULL,
            .peephole = params[part].peephole ? result(in, 3 * s->H, 1, 1) : NULL,
            .projection = result(in, s->P * s->H, 1, 1),
        };
}

static int descending(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Take a batch for a stack; `n` becomes its number of rows. Steps are few where a step is long, and fewer for one thread:
 * short calls are never split. */
static fastrnn_batch take_batch(input *in, const fastrnn_stack *s, int32_t threads, int64_t *n) {
    fastrnn_batch batch = {.T = take_size(in, 24), .B = take_size(in, 64) - 1, .reverse = (int32_t)take(in, 2)};
    const int64_t step = gates_of(s) * s->H * (s->I + s->D * s->H) * s->L * s->D * batch.B;
    while (batch.T > 1 && batch.T * step > (threads > 1 ? MOST_PRODUCTS : MOST_PRODUCTS / 16)) batch.T--;
    batch.rows = (int32_t)take(in, FASTRNN_PACKED + 1);
    *n = batch.T * batch.B;
    if (batch.rows == FASTRNN_PACKED && !batch.B) batch.rows = FASTRNN_TIME_MAJOR;
    if (batch.rows != FASTRNN_PACKED && !take(in, 2)) return batch;
    int64_t *lengths = integers(in, batch.B, batch.rows == FASTRNN_PACKED, batch.T);
    batch.lengths = lengths;
    if (batch.rows != FASTRNN_PACKED) return batch;
    qsort(lengths, (size_t)batch.B, sizeof *lengths, descending);
    batch.T = lengths[0];
    *n = 0;
    for (int64_t b = 0; b < batch.B; b++) *n += lengths[b];
    return batch;
}

/* Make the rows after the end of each sequence NaN, because no call may read them. */
static void spoil(const fastrnn_stack *s, const fastrnn_batch *batch, void *x, int64_t width) {
    const size_t bytes = bytes_of(s->dtype, width);
    for (int64_t b = 0; x && batch->lengths && batch->rows != FASTRNN_PACKED && b < batch->B; b++)
        for (int64_t t = batch->lengths[b]; t < batch->T; t++) {
            const int64_t row = batch->rows == FASTRNN_BATCH_MAJOR ? b * batch->T + t : t * batch->B + b;
            memset((char *)x + (size_t)row * bytes, 0xFF, bytes);
        }
}

/* A stack's forward pass, and its backward pass if it trains, on some threads and on one. */
static void fuzz_stack(input *in) {
    const int training = (int)take(in, 2), ids = (int)take(in, 2);
    const fastrnn_stack s = take_stack(in, 2, !training);
    const int32_t parts = s.L * s.D, threads = take_threads(in);
    int64_t n;
    fastrnn_batch batch = take_batch(in, &s, threads, &n);
    const int64_t Y = outputs_of(&s), DY = s.D * Y, c_size = has_c(&s) ? parts * batch.B * s.H : 0,
                  h_size = parts * batch.B * Y;
    fastrnn_weights params[MOST_PARTS];
    take_params(in, &s, params);
    fastrnn_inputs inputs = {.x = ids ? NULL : block(in, 1), .ids = ids ? block(in, 1) : NULL};
    if (n) inputs.x = ids ? NULL : reals(in, n * s.I, 1);
    if (n) inputs.ids = ids ? integers(in, n, -1, s.I - 1) : NULL;
    spoil(&s, &batch, (void *)inputs.x, n ? s.I : 0);
    if (take(in, 2)) {
        inputs.h0 = reals(in, h_size, 1);
        inputs.c0 = reals(in, c_size, 1);
    }
    const int wants_c = has_c(&s) && take(in, 2), wants_dx = !ids && take(in, 2), given = (int)take(in, 16);
    const fastrnn_output_gradients dout = {.dy = given & 1 ? reals(in, n * DY, 1) : NULL,
                                           .dh_n = given & 2 ? reals(in, h_size, 1) : NULL,
                                           .dc_n = given & 4 ? reals(in, c_size, 1) : NULL,
                                           .dc = given & 8 && has_c(&s) ? reals(in, n * s.D * s.H, 1) : NULL};
    spoil(&s, &batch, (void *)dout.dy, DY);
    spoil(&s, &batch, (void *)dout.dc, s.D * s.H);
    void *packed = block(in, fastrnn_packed_size(&s, training));
    fastrnn_pack(&s, params, training, packed);
    for (in->run = 0; in->run < (threads > 1 ? RUNS : 1); in->run++) {
        batch.threads = in->run ? 1 : threads;
        void *tape = training ? block(in, fastrnn_tape_size(&s, &batch, ids)) : NULL;
        const fastrnn_outputs out = {.y = n ? result(in, n * DY, 0, 1) : block(in, 1),
                                     .h_n = h_size ? result(in, h_size, 0, 1) : block(in, 1),
                                     .c_n = result(in, c_size, 0, 1),
                                     .c = wants_c ? result(in, n * s.D * s.H, 0, 0) : NULL};
        fastrnn_forward(&s, packed, &batch, &inputs, &out, tape,
                        block(in, fastrnn_forward_workspace_size(&s, &batch, ids, training)));
        if (!training) continue;
        fastrnn_weight_gradients grads[MOST_PARTS];
        add_gradients(in, &s, params, grads);
        const fastrnn_gradients din = {.dx = wants_dx ? result(in, n * s.I, 0, 1) : NULL,
                                       .dh0 = h_size ? result(in, h_size, 0, 1) : block(in, 1),
                                       .dc0 = result(in, c_size, 0, 1)};
        fastrnn_backward(&s, packed, &batch, &inputs, &dout, &din, grads, tape,
                         block(in, fastrnn_backward_workspace_size(&s, &batch, ids)));
    }
}

/* A sequence fed step by step; then tokens sampled after a prefix. */
static void fuzz_tokens(input *in) {
    const int64_t V = take_size(in, 200), E = take(in, 2) ? take_size(in, 40) : 0;
    fastrnn_stack s = take_stack(in, 1, 1);
    const int64_t Y = outputs_of(&s);
    s.I = E ? E : V;
    fastrnn_weights params[MOST_PARTS];
    take_params(in, &s, params);
    void *packed = block(in, fastrnn_packed_size(&s, 0)), *memory = block(in, fastrnn_stream_size(&s, !E));
    fastrnn_pack(&s, params, 0, packed);
    fastrnn_stream_begin(&s, packed, !E, take(in, 2) ? reals(in, s.L * Y, 1) : NULL, NULL, memory);
    void *y = result(in, Y, 0, 1), *h = result(in, s.L * Y, 0, 1), *c = result(in, has_c(&s) ? s.L * s.H : 0, 0, 1);
    for (int64_t step = 1 + take(in, 4); step > 0; step--)
        fastrnn_stream_step(&s, memory, E ? reals(in, E, 1) : NULL, E ? 0 : take(in, V + 1) - 1, y);
    fastrnn_stream_states(&s, memory, h, c);
    const fastrnn_language_model model = {
        V, E, reals(in, V * E, 1), &s, packed, reals(in, V * Y, 1), take(in, 2) ? reals(in, V, 1) : NULL};
    const fastrnn_sampling how = {.temperature = 0.1 * (double)(1 + take(in, 50)),
                                  .top_p = (double)(1 + take(in, 100)) / 100,
                                  .top_k = take(in, V + 1),
                                  .end = take(in, V + 1) - 1,
                                  .greedy = (int32_t)take(in, 2)};
    const int64_t n = take(in, 20), n_prefix = 1 + take(in, 4), *prefix = integers(in, n_prefix, -1, V - 1);
    int64_t *tokens = block(in, (size_t)(n + 1) * sizeof *tokens);
    double *uniforms = block(in, (size_t)(n + 1) * sizeof *uniforms);
    for (int64_t i = 0; i < n; i++) uniforms[i] = (double)take(in, 1 << 16) / (1 << 16);
    const int64_t done = fastrnn_generate(&model, &how, prefix, n_prefix, uniforms, n, h, c, tokens,
                                          block(in, fastrnn_generate_workspace_size(&model)));
    expect(done >= 0 && done <= n && tokens[n] == -1, "generated %ld of %ld tokens", (long)done, (long)n);
    for (int64_t i = 0; i < done; i++) expect(tokens[i] >= 0 && tokens[i] < V, "token %ld", (long)tokens[i]);
}

/* One training step of a language model, on some threads and on one; targets may be outside the vocabulary. */
static void fuzz_training_step(input *in) {
    fastrnn_stack s = take_stack(in, 1, 0);
    fastrnn_weights params[MOST_PARTS];
    const int32_t threads = take_threads(in);
    int64_t n;
    fastrnn_batch batch = take_batch(in, &s, threads, &n);
    if (batch.rows == FASTRNN_PACKED || !n) return;
    batch.rows = FASTRNN_TIME_MAJOR;
    take_params(in, &s, params);
    const int64_t Y = outputs_of(&s), V = s.I;
    const int bias = (int)take(in, 2);
    const fastrnn_inputs inputs = {.ids = integers(in, n, -1, V - 1)};
    const fastrnn_cross_entropy how = {s.isa, s.dtype, (int32_t)take(in, 2), n, V, take(in, V + 1) - 1};
    const int64_t *targets = integers(in, n, -1, V - (take(in, 8) ? 1 : 0));
    const void *weight = reals(in, V * Y, 1), *b = bias ? reals(in, V, 1) : NULL;
    const int32_t products = (int32_t)take(in, 3);
    for (in->run = 0; in->run < (threads > 1 ? RUNS : 1); in->run++) {
        batch.threads = in->run ? 1 : threads;
        fastrnn_weight_gradients grads[MOST_PARTS];
        add_gradients(in, &s, params, grads);
        const fastrnn_trained_model model = {
            &s, params, grads, weight, b, result(in, V * Y, 1, 1), bias ? result(in, V, 1, 1) : NULL, products};
        const fastrnn_outputs out = {.h_n = result(in, s.L * batch.B * Y, 0, 1),
                                     .c_n = result(in, has_c(&s) ? s.L * batch.B * s.H : 0, 0, 1)};
        const double loss = fastrnn_train_step(&model, &batch, &how, &inputs, targets, NULL, &out,
                                               block(in, fastrnn_train_step_workspace_size(&model, &batch, &how)));
        expect(loss >= 0 || loss == -1, "loss %g", loss);
    }
}

/* The linear layer, the loss, and the functions of lists of arrays. */
static void fuzz_arrays(input *in) {
    const int64_t N = take_size(in, 64), I = take_size(in, 100), O = take_size(in, 100);
    const fastrnn_linear linear = {in->isa, in->dtype, I, O, (int32_t)take(in, 3), take_threads(in)};
    const int bias = (int)take(in, 2), wants_dx = (int)take(in, 2);
    const void *x = reals(in, N * I, 1), *weight = reals(in, O * I, 1), *b = bias ? reals(in, O, 1) : NULL;
    void *packed = block(in, fastrnn_linear_packed_size(&linear, 1)), *logits = result(in, N * O, 0, 1);
    void *dlogits = result(in, N * O, 0, 0);
    fastrnn_linear_pack(&linear, weight, b, 1, packed);
    fastrnn_linear_forward(&linear, packed, N, x, logits, block(in, fastrnn_linear_workspace_size(&linear, N, 0)));
    const fastrnn_cross_entropy how = {in->isa, in->dtype, (int32_t)take(in, 2), N, O, -1};
    const int64_t *targets = integers(in, N, -1, O - (take(in, 8) ? 1 : 0));
    if (fastrnn_softmax_cross_entropy(&how, logits, targets, NULL, dlogits, block(in, (size_t)N * 8)) == -1) return;
    void *dW = result(in, O * I, 1, 1), *db = bias ? result(in, O, 1, 1) : NULL;
    fastrnn_linear_backward(&linear, packed, N, x, dlogits, wants_dx ? result(in, N * I, 0, 1) : NULL, dW, db,
                            block(in, fastrnn_linear_workspace_size(&linear, N, 1)));
    const int64_t sizes[] = {N * O, O * I};
    void *const arrays[] = {dlogits, dW};
    const fastrnn_arrays list = {in->isa, in->dtype, 2, sizes, arrays};
    const double squares = fastrnn_arrays_squares(&list, block(in, fastrnn_arrays_workspace_size(&list)));
    expect(squares > 0, "squares %g", squares);
    fastrnn_arrays_scale(&list, 0.5);
    fastrnn_arrays_clamp(&list, 0.25);
    const fastrnn_optimiser rule = {in->isa, in->dtype, (int32_t)take(in, 3), 0, 0, 0.1, 0.01, 0.9, 0.9, 0.9, 0.99, 1e-3};
    int64_t steps = 0;
    void *w = result(in, O * I, 1, 1), *state = result(in, O * I, 1, 1);
    fastrnn_parameter parameter = {O * I, &steps, w, dW, {state, NULL, NULL}};
    if (rule.rule == FASTRNN_ADAM) parameter.state[1] = result(in, O * I, 1, 1);
    if (rule.rule == FASTRNN_RMSPROP && take(in, 2)) parameter.state[1] = result(in, O * I, 1, 1);
    fastrnn_optimise(&rule, 1, &parameter);
    const fastrnn_pointwise function = {in->isa, in->dtype, (int32_t)take(in, 3), N * O};
    fastrnn_apply(&function, logits, logits);
    const int32_t phases = 1 + (int32_t)take(in, 5);
    for (int32_t phase = 0; phase < phases; phase++) fastrnn_arrays_hash(&list, phase, phases);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const targets[])(input *) = {fuzz_stack, fuzz_stack, fuzz_tokens, fuzz_training_step, fuzz_arrays};
    input in = {.at = data, .end = data + size, .state = 1 + size};
    void (*const target)(input *) = targets[take(&in, sizeof targets / sizeof *targets)];
    in.isa = (int32_t)take(&in, fastrnn_isa_count());
    if (!fastrnn_isa_runs(in.isa)) in.isa = fastrnn_isa_default();
    in.dtype = (int32_t)take(&in, 2);
    fastrnn_set_num_threads(4);
    target(&in);
    finish(&in);
    return 0;
}

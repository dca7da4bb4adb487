/* Tests of the handlers for XLA, called as XLA calls them, with frames made here. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"
#include "test_groups.h"
#include "xla_ffi.h"

enum { MOST = 16 };

/* The arguments and results of a call, in order. */
typedef struct {
    xla_buffer buffers[2 * MOST];
    void *arguments[MOST], *results[MOST];
    int64_t n_arguments, n_results, T_B[2], rows, tape_size;
} call;

static _Thread_local char message[200]; /* of the last error */

static xla_error *create_error(xla_error_arguments *a) {
    snprintf(message, sizeof message, "%d %s", a->code, a->message);
    return (xla_error *)message;
}

static const xla_api API = {.size = sizeof API, .create_error = create_error};

static void pass(call *c, void *data, const int64_t *shape) {
    xla_buffer *b = c->buffers + c->n_arguments;
    *b = (xla_buffer){.size = sizeof *b, .dtype = XLA_INT64, .data = data, .shape = shape};
    c->arguments[c->n_arguments++] = b;
}

static void receive(call *c, void *data, const int64_t *shape) {
    xla_buffer *b = c->buffers + MOST + c->n_results;
    *b = (xla_buffer){.size = sizeof *b, .data = data, .shape = shape};
    c->results[c->n_results++] = b;
}

static void *send(void *(*handler)(void *), const call *c, const int64_t *numbers, size_t count, int32_t stage) {
    const xla_array array = {.dtype = XLA_INT64, .count = count, .data = numbers};
    const int32_t types[] = {XLA_ARRAY};
    void *const values[] = {(void *)&array};
    xla_frame frame = {.size = sizeof frame, .api = &API, .stage = stage};
    frame.arguments = (xla_values){.count = c->n_arguments, .values = c->arguments};
    frame.results = (xla_values){.count = c->n_results, .values = c->results};
    frame.attributes = (xla_attributes){.count = 1, .types = types, .values = values};
    return handler(&frame);
}

/* How to call: with tapes that begin on no cache line; with other memory for the used tape than the tape's. */
typedef struct {
    int unaligned, separate;
} manner;

static void pass_inputs(call *c, const problem *p, void *const *in, int64_t *lengths, int with_states) {
    c->rows = p->in_size[IN_B_IH] ? p->in_size[IN_B_IH] : p->in_size[IN_W] / p->m.I;
    c->T_B[0] = p->m.T;
    c->T_B[1] = p->m.B;
    pass(c, in[IN_X], c->T_B);
    pass(c, in[IN_W], &c->rows);
    pass(c, in[IN_R], NULL);
    for (int i = IN_B_IH; i <= IN_B_HH && in[i]; i++) pass(c, in[i], NULL);
    for (int i = IN_H0; i <= IN_C0 && with_states; i++)
        if (in[i]) pass(c, in[i], NULL);
    if (lengths) pass(c, lengths, NULL);
}

/* Run a training step through both handlers. */
static results run_handlers(const problem *p, int32_t isa, int32_t dtype, manner how) {
    const model *m = &p->m;
    const fastrnn_stack stack = stack_of(m, 1, isa, dtype);
    const fastrnn_batch batch = {.T = m->T, .B = m->B, .lengths = p->lengths, .reverse = m->reverse};
    const int64_t numbers[] = {isa, dtype, m->cell, m->I, m->H, 0, FASTRNN_TIME_MAJOR, m->reverse, m->bias, !!p->lengths, 1};
    enum { COUNT = sizeof numbers / sizeof *numbers };
    guards g = {0};
    void *in[INPUTS], *out[OUTPUTS], *dout[OUTPUTS], *grad[INPUTS];
    for (int i = 0; i < INPUTS; i++) in[i] = guarded_reals(&g, dtype, p->in_size[i], p->in[i]);
    for (int i = 0; i < INPUTS; i++) grad[i] = guarded_reals(&g, dtype, p->in_size[i], NULL);
    for (int i = 0; i < OUT_C; i++) out[i] = guarded_reals(&g, dtype, p->out_size[i], NULL);
    for (int i = 0; i < OUT_C; i++) dout[i] = guarded_reals(&g, dtype, p->out_size[i], p->dout[i]);
    const int64_t tape_size = (int64_t)fastrnn_tape_size(&stack, &batch, 0);
    const size_t shift = how.unaligned ? 4 : 0;
    char *tape = (char *)guarded(&g, (size_t)tape_size + shift) + shift;
    char *used = how.separate ? guarded(&g, (size_t)tape_size) : tape, *before = allocate((size_t)tape_size);

    call forward = {0}, backward = {0};
    pass_inputs(&forward, p, in, p->lengths, 1);
    for (int i = 0; i < OUT_C; i++)
        if (out[i]) receive(&forward, out[i], NULL);
    receive(&forward, tape, &tape_size);
    expect(!send(fastrnn_xla_forward, &forward, numbers, COUNT, XLA_EXECUTE), "%s: %s", describe(m), message);
    memcpy(before, tape, (size_t)tape_size);

    pass_inputs(&backward, p, in, p->lengths, 0);
    pass(&backward, tape, &tape_size);
    for (int i = 0; i < OUT_C; i++)
        if (dout[i]) pass(&backward, dout[i], NULL);
    receive(&backward, used, &tape_size);
    for (int i = 0; i < INPUTS; i++)
        if (grad[i]) receive(&backward, grad[i], NULL);
    expect(!send(fastrnn_xla_backward, &backward, numbers, COUNT, XLA_EXECUTE), "%s: %s", describe(m), message);
    expect(!how.separate || !memcmp(before, tape, (size_t)tape_size), "%s: the tape has changed", describe(m));

    results found = {0};
    for (int i = 0; i < OUT_C; i++) found.o.out[i] = out[i] ? as_doubles(dtype, p->out_size[i], out[i]) : NULL;
    for (int i = 0; i < INPUTS; i++) found.grad[i] = grad[i] ? as_doubles(dtype, p->in_size[i], grad[i]) : NULL;
    free(before);
    guards_done(&g, describe(m));
    return found;
}

static void expect_near(const problem *p, const double *a, const double *b, int64_t n, double tolerance, const char *name) {
    double worst = 0;
    for (int64_t i = 0; a && i < n; i++) worst = fmax(worst, fabs(a[i] - b[i]));
    expect(worst <= tolerance, "%s: %s differs by %g", describe(&p->m), name, worst);
}

/* Compare with the library's own calls, whose gradients are added to other numbers; and all manners to the bit. */
static void same_as_the_library(int32_t isa, int32_t dtype, void *context) {
    const problem *p = context;
    const double tolerance = dtype == FASTRNN_FLOAT64 ? 1e-13 : 1e-4;
    results right = run_layer(p, (setup){.isa = isa, .dtype = dtype, .training = 1});
    results found = run_handlers(p, isa, dtype, (manner){0});
    for (int i = 0; i < OUT_C; i++) expect_near(p, found.o.out[i], right.o.out[i], p->out_size[i], 0, OUTPUT_NAMES[i]);
    for (int i = 0; i < INPUTS; i++) expect_near(p, found.grad[i], right.grad[i], p->in_size[i], tolerance, INPUT_NAMES[i]);
    const manner others[] = {{1, 0}, {0, 1}, {1, 1}};
    for (int i = 0; i < 3; i++) {
        results other = run_handlers(p, isa, dtype, others[i]);
        expect_same(p, &found, &other, "another tape");
        free_results(&other);
    }
    free_results(&right);
    free_results(&found);
}

static void *call_often(void *argument) {
    const problem *problems = argument;
    const int32_t isa = fastrnn_isa_default();
    results right[2];
    for (int i = 0; i < 2; i++) right[i] = run_handlers(problems + i, isa, FASTRNN_FLOAT32, (manner){0});
    for (int i = 0; i < 20; i++) {
        results found = run_handlers(problems + i % 2, isa, FASTRNN_FLOAT32, (manner){0});
        expect_same(problems + i % 2, right + i % 2, &found, "calls at once");
        free_results(&found);
    }
    for (int i = 0; i < 2; i++) free_results(right + i);
    return NULL;
}

/* Run more calls at once than there is kept memory; all use the same two layers. */
static void calls_at_once(const problem *problems) {
    enum { THREADS = 12 };
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) pthread_create(threads + i, NULL, call_often, (void *)problems);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

static void wrong_calls(const problem *p) {
    int64_t numbers[] = {fastrnn_isa_default(), FASTRNN_FLOAT32, p->m.cell, p->m.I, p->m.H, 0, 0, 0, p->m.bias, 1, 1};
    call c = {0};
    guards g = {0};
    void *in[INPUTS];
    for (int i = 0; i < INPUTS; i++) in[i] = guarded_reals(&g, FASTRNN_FLOAT32, p->in_size[i], p->in[i]);
    int64_t *lengths = guarded(&g, (size_t)p->m.B * sizeof *lengths);
    for (int64_t b = 0; b < p->m.B; b++) lengths[b] = p->m.T;
    lengths[p->m.B - 1] = p->m.T + 1;
    pass_inputs(&c, p, in, lengths, 1);
    for (int i = 0; i < OUT_C; i++)
        if (p->out_size[i]) receive(&c, guarded_reals(&g, FASTRNN_FLOAT32, p->out_size[i], NULL), NULL);
    char wanted[80];
    snprintf(wanted, sizeof wanted, "3 lengths must each lie in 0..T = 0..%d, got %d", (int)p->m.T, (int)p->m.T + 1);
    expect(send(fastrnn_xla_forward, &c, numbers, 11, XLA_EXECUTE) && !strcmp(message, wanted), "%s", message);
    const char *attribute = "3 expected a call with an attribute of 11 int64 numbers";
    expect(send(fastrnn_xla_forward, &c, numbers, 10, XLA_EXECUTE) && !strcmp(message, attribute), "%s", message);
    expect(send(fastrnn_xla_backward, &c, numbers, 11, 0) && !strcmp(message, attribute), "%s", message);
    lengths[p->m.B - 1] = p->m.T;
    const int64_t tape_size = 64;
    receive(&c, guarded(&g, (size_t)tape_size), &tape_size);
    const char *tape = "9 the program is for another build of fastrnn: its tape is too small";
    expect(send(fastrnn_xla_forward, &c, numbers, 11, XLA_EXECUTE) && !strcmp(message, tape), "%s", message);
    numbers[0] = fastrnn_isa_count();
    const char *isa = "9 the program is for an instruction set that does not run here";
    expect(send(fastrnn_xla_forward, &c, numbers, 11, XLA_EXECUTE) && !strcmp(message, isa), "%s", message);
    guards_done(&g, "wrong calls");
}

static void versions(void) {
    xla_metadata metadata = {.size = sizeof metadata, .version = {.minor = 99}, .traits = 99};
    xla_metadata_extension question = {{sizeof question, XLA_METADATA, NULL}, &metadata};
    xla_extension other = {sizeof other, 77, &question.base};
    xla_frame frame = {.size = sizeof frame, .extensions = &other, .api = &API};
    expect(!fastrnn_xla_forward(&frame) && !fastrnn_xla_backward(&frame), "no answer");
    expect(metadata.version.major == XLA_MAJOR && metadata.version.minor == XLA_MINOR, "another version");
    expect(metadata.version.size == sizeof(xla_version) && !metadata.traits, "other metadata");
}

void test_xla(void) {
    enum { MODELS = 4, NOT_C = EVERY_OUTPUT & ~(1 << OUT_C) };
    static const model MODEL[MODELS] = {{FASTRNN_LSTM, 9, 24, 0, 6, 5, 0, 1, 1, 1, NOT_C},
                                        {FASTRNN_GRU, 7, 17, 0, 8, 3, 0, 0, 0, 0, NOT_C},
                                        {FASTRNN_GRU_RESET_BEFORE, 3, 16, 0, 4, 4, 0, 1, 0, 1, NOT_C},
                                        {FASTRNN_RNN_TANH, 4, 8, 0, 5, 2, 0, 0, 1, 1, NOT_C}};
    problem problems[MODELS];
    fastrnn_set_num_threads(2);
    for (int i = 0; i < MODELS; i++) problems[i] = new_problem(MODEL + i, 70 + (uint64_t)i);
    for (int i = 0; i < MODELS; i++) each_kernel(same_as_the_library, problems + i);
    group_done("handlers for XLA");
    calls_at_once(problems);
    group_done("handlers at once");
    wrong_calls(problems);
    versions();
    group_done("wrong calls of handlers");
    for (int i = 0; i < MODELS; i++) free_problem(problems + i);
}

/* A training step of a language model in one call: the pieces run one after the other, in memory laid out for all of
 * them.
 *
 *     forward     1. y = stack(ids)     2. logits = y W^T + b      3. loss
 *     backward    3. dlogits            2. dW, db, dy = dlogits W      1. the gradients of the stack
 *
 * For a small model on one short sequence (RNN, H = 100, 10 steps) the calls between the pieces would take as long as
 * the arithmetic. */
#include "arena.h"
#include "layer.h"

typedef struct {
    const fastrnn_trained_model *model;
    const fastrnn_batch *batch;
    const fastrnn_cross_entropy *how;
    fastrnn_linear output;
    void *packed, *tape, *y;     /* the stack's; y [T, B, Y] */
    void *output_packed;         /* the output layer's packed weights */
    void *logits, *dlogits;      /* [N, V] */
    void *dy;                    /* [T, B, Y] */
    void *dh0, *dc0, *workspace; /* dh0, dc0: written but not used */
} train_step;

static size_t numbers(const train_step *k, int64_t n) { return bytes_of(k->how->dtype, n); }

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Return the size of the largest workspace of any piece. The pieces share it because they run one after the other. */
static size_t pieces_workspace_size(const train_step *k) {
    const fastrnn_stack *s = k->model->stack;
    size_t size = (size_t)k->how->N * sizeof(double); /* for the loss */
    for (int32_t backward = 0; backward < 2; backward++)
        size = larger(size, fastrnn_linear_workspace_size(&k->output, k->how->N, backward));
    size = larger(size, fastrnn_forward_workspace_size(s, k->batch, 1, 1));
    return larger(size, fastrnn_backward_workspace_size(s, k->batch, 1));
}

static train_step place_step(arena *a, const fastrnn_trained_model *model, const fastrnn_batch *batch,
                             const fastrnn_cross_entropy *how) {
    const fastrnn_stack *s = model->stack;
    const int64_t N = how->N, V = how->V, Y = output_size(s), states = s->L * batch->B;
    train_step k = {
        .model = model, .batch = batch, .how = how, .output = {s->isa, s->dtype, Y, V, model->products, batch->threads}};
    k.packed = arena_take(a, fastrnn_packed_size(s, 1));
    k.tape = arena_take(a, fastrnn_tape_size(s, batch, 1));
    k.y = arena_take(a, numbers(&k, N * Y));
    k.output_packed = arena_take(a, fastrnn_linear_packed_size(&k.output, 1));
    k.logits = arena_take(a, numbers(&k, N * V));
    k.dlogits = arena_take(a, numbers(&k, N * V));
    k.dy = arena_take(a, numbers(&k, N * Y));
    k.dh0 = arena_take(a, numbers(&k, states * Y));
    k.dc0 = has_c(s->cell) ? arena_take(a, numbers(&k, states * s->H)) : 0;
    k.workspace = arena_take(a, pieces_workspace_size(&k));
    return k;
}

size_t fastrnn_train_step_workspace_size(const fastrnn_trained_model *model, const fastrnn_batch *batch,
                                         const fastrnn_cross_entropy *how) {
    arena a = {0};
    place_step(&a, model, batch, how);
    return a.used;
}

/* 1., 2. */
static void step_forward(const train_step *k, const fastrnn_inputs *in, const fastrnn_outputs *out) {
    const fastrnn_trained_model *m = k->model;
    fastrnn_pack(m->stack, m->params, 1, k->packed);
    fastrnn_forward(m->stack, k->packed, k->batch, in, &(fastrnn_outputs){k->y, out->h_n, out->c_n, 0}, k->tape,
                    k->workspace);
    fastrnn_linear_pack(&k->output, m->weight, m->bias, 1, k->output_packed);
    fastrnn_linear_forward(&k->output, k->output_packed, k->how->N, k->y, k->logits, k->workspace);
}

/* 2., 1. */
static void step_backward(const train_step *k, const fastrnn_inputs *in) {
    const fastrnn_trained_model *m = k->model;
    fastrnn_linear_backward(&k->output, k->output_packed, k->how->N, k->y, k->dlogits, k->dy, m->dweight, m->dbias,
                            k->workspace);
    fastrnn_backward(m->stack, k->packed, k->batch, in, &(fastrnn_output_gradients){.dy = k->dy},
                     &(fastrnn_gradients){0, k->dh0, k->dc0}, m->grads, k->tape, k->workspace);
}

double fastrnn_train_step(const fastrnn_trained_model *model, const fastrnn_batch *batch, const fastrnn_cross_entropy *how,
                          const fastrnn_inputs *in, const int64_t *targets, const uint8_t *mask, const fastrnn_outputs *out,
                          void *workspace) {
    arena a = {.base = workspace};
    const train_step k = place_step(&a, model, batch, how);
    step_forward(&k, in, out);
    const double loss = fastrnn_softmax_cross_entropy(how, k.logits, targets, mask, k.dlogits, k.workspace);
    if (loss != -1) step_backward(&k, in);
    return loss;
}

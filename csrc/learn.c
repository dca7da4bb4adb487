/* A training step of a language model in one call: the parts one after the other, in memory laid out for all of them.
 *
 *     forward     1. y^l = layer_l(y^(l-1)), l = 1..L, y^0 = ids      2. logits = y^L W^T + b      3. loss
 *     backward    3. dlogits      2. dW, db, dy^L = dlogits W      1. dy^(l-1) and the gradients of layer l, l = L..1
 *
 * The step of a small model on one short sequence takes as long as the calls that it is made of: RNN, H = 100, 10 steps. */
#include "arena.h"
#include "sizes.h"

typedef struct {
    void *packed, *tape, *y;
} layer_memory;

typedef struct {
    const fastrnn_learner *model;
    const fastrnn_batch *batch;
    const fastrnn_cross_entropy *how;
    fastrnn_linear output;
    layer_memory *layers;        /* [count] */
    void *packed;                /* of the output layer */
    void *logits, *dlogits;      /* [N, V] */
    void *dy[2];                 /* [T, B, Y] of a layer and of the one below, in turn */
    void *dh0, *dc0, *workspace; /* dh0, dc0: not wanted, but written */
} learning;

static size_t reals(const learning *k, int64_t n) { return bytes_of(k->how->dtype, n); }

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

/* What any of the parts needs: they run one after the other. */
static size_t parts_workspace_size(const learning *k) {
    size_t size = (size_t)k->how->N * sizeof(double); /* of the loss */
    for (int32_t backward = 0; backward < 2; backward++)
        size = most(size, fastrnn_linear_workspace_size(&k->output, k->how->N, backward));
    for (int32_t l = 0; l < k->model->count; l++) {
        size = most(size, fastrnn_forward_workspace_size(k->model->layers + l, k->batch, l == 0, 1));
        size = most(size, fastrnn_backward_workspace_size(k->model->layers + l, k->batch, l == 0));
    }
    return size;
}

static learning place_learning(arena *a, const fastrnn_learner *model, const fastrnn_batch *batch,
                               const fastrnn_cross_entropy *how) {
    const fastrnn_layer *top = model->layers + model->count - 1;
    const int64_t N = how->N, V = how->V, Y = output_size(top);
    learning k = {.model = model, .batch = batch, .how = how, .output = {top->isa, top->dtype, Y, V, batch->threads}};
    k.layers = arena_take(a, (size_t)model->count * sizeof(layer_memory));
    for (int32_t l = 0; l < model->count; l++) {
        const fastrnn_layer *layer = model->layers + l;
        layer_memory m = {arena_take(a, fastrnn_packed_size(layer, 1)),
                          arena_take(a, fastrnn_tape_size(layer, batch, l == 0)), arena_take(a, reals(&k, N * Y))};
        if (k.layers) k.layers[l] = m;
    }
    k.packed = arena_take(a, fastrnn_linear_packed_size(&k.output, 1));
    k.logits = arena_take(a, reals(&k, N * V));
    k.dlogits = arena_take(a, reals(&k, N * V));
    for (int i = 0; i < 2; i++) k.dy[i] = arena_take(a, reals(&k, N * Y));
    k.dh0 = arena_take(a, reals(&k, batch->B * Y));
    k.dc0 = has_c(top) ? arena_take(a, reals(&k, batch->B * top->H)) : 0;
    k.workspace = arena_take(a, parts_workspace_size(&k));
    return k;
}

size_t fastrnn_learn_workspace_size(const fastrnn_learner *learner, const fastrnn_batch *batch,
                                    const fastrnn_cross_entropy *how) {
    arena a = {0};
    place_learning(&a, learner, batch, how);
    return a.used;
}

/* Layer l's part of states [count, B, size]; null stays null. */
static void *state_of(const learning *k, int32_t l, const void *states, int64_t size) {
    return states ? (char *)states + reals(k, l * k->batch->B * size) : 0;
}

/* What layer l reads. */
static fastrnn_input input_of(const learning *k, int32_t l, const fastrnn_input *in) {
    const fastrnn_layer *layer = k->model->layers + l;
    return (fastrnn_input){.x = l ? k->layers[l - 1].y : 0,
                           .ids = l ? 0 : in->ids,
                           .h0 = state_of(k, l, in->h0, output_size(layer)),
                           .c0 = state_of(k, l, in->c0, layer->H)};
}

/* 1., 2. */
static void learn_forward(const learning *k, const fastrnn_input *in, const fastrnn_output *out) {
    const fastrnn_learner *m = k->model;
    for (int32_t l = 0; l < m->count; l++) {
        const fastrnn_layer *layer = m->layers + l;
        const layer_memory *own = k->layers + l;
        const fastrnn_input from = input_of(k, l, in);
        const fastrnn_output to = {
            .y = own->y, .h_n = state_of(k, l, out->h_n, output_size(layer)), .c_n = state_of(k, l, out->c_n, layer->H)};
        fastrnn_pack(layer, m->params + l, 1, own->packed);
        fastrnn_forward(layer, own->packed, k->batch, &from, &to, own->tape, k->workspace);
    }
    fastrnn_linear_pack(&k->output, m->weight, m->bias, 1, k->packed);
    fastrnn_linear_forward(&k->output, k->packed, k->how->N, k->layers[m->count - 1].y, k->logits, k->workspace);
}

/* 2., 1. */
static void learn_backward(const learning *k, const fastrnn_input *in) {
    const fastrnn_learner *m = k->model;
    void *dy = k->dy[0], *dx = k->dy[1];
    fastrnn_linear_backward(&k->output, k->packed, k->how->N, k->layers[m->count - 1].y, k->dlogits, dy, m->dweight,
                            m->dbias, k->workspace);
    for (int32_t l = m->count - 1; l >= 0; l--) {
        const fastrnn_input from = input_of(k, l, in);
        const fastrnn_output_grads dout = {.dy = dy};
        const fastrnn_input_grads din = {.dx = l ? dx : 0, .dh0 = k->dh0, .dc0 = k->dc0};
        fastrnn_backward(m->layers + l, k->layers[l].packed, k->batch, &from, &dout, &din, m->grads + l, k->layers[l].tape,
                         k->workspace);
        dx = dy;
        dy = din.dx;
    }
}

double fastrnn_learn(const fastrnn_learner *learner, const fastrnn_batch *batch, const fastrnn_cross_entropy *how,
                     const fastrnn_input *in, const int64_t *targets, const uint8_t *mask, const fastrnn_output *out,
                     void *workspace) {
    arena a = {.base = workspace};
    const learning k = place_learning(&a, learner, batch, how);
    learn_forward(&k, in, out);
    const double loss = fastrnn_softmax_cross_entropy(how, k.logits, targets, mask, k.dlogits, k.workspace);
    if (loss != -1) learn_backward(&k, in);
    return loss;
}

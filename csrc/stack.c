/* A stack as a whole: the places of its parts in the caller's memory, and the loop over its layers.
 *
 *     forward     y^l = layer_l(y^(l-1)), l = 1..L, y^0 = x
 *     backward    dy^(l-1) = sum over layer l's directions of the gradient of its input, l = L..1
 *
 * In training the tape holds the tapes of all parts, and y of every layer but the last, whose y is the caller's array. */
#include "stack.h"

#include <assert.h>

#include "arena.h"
#include "plan.h"
#include "schedule.h"
#include "table.h"

/* The head of the packed weights, on a cache line of its own. */
typedef struct {
    int32_t training;
} packed_head;

static size_t whole_lines(size_t bytes) { return (bytes + LINE - 1) / LINE * LINE; }
static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Advance `array` by this number of elements; null stays null. */
static void *on(const fastrnn_stack *s, const void *array, int64_t numbers) {
    return array ? (char *)array + bytes_of(s->dtype, numbers) : 0;
}

static size_t part_size(const fastrnn_stack *s, int32_t l, int32_t training) {
    const layer_spec layer = layer_of(s, l);
    return whole_lines(kernels_for(&layer)->packed_size(&layer, training));
}

/* Return the offset of part i in the packed weights. All parts above the first layer have the same size. */
static size_t part_offset(const fastrnn_stack *s, int32_t i, int32_t training) {
    if (i <= s->D) return LINE + (i ? (size_t)i * part_size(s, 0, training) : 0);
    return LINE + (size_t)s->D * part_size(s, 0, training) + (size_t)(i - s->D) * part_size(s, 1, training);
}

size_t fastrnn_packed_size(const fastrnn_stack *stack, int32_t training) {
    return part_offset(stack, stack->L * stack->D, training);
}

void fastrnn_pack(const fastrnn_stack *stack, const fastrnn_weights *params, int32_t training, void *packed) {
    *(packed_head *)packed = (packed_head){training};
    for (int32_t i = 0; i < stack->L * stack->D; i++) {
        const layer_spec layer = layer_of(stack, i / stack->D);
        kernels_for(&layer)->pack(&layer, params + i, training, (char *)packed + part_offset(stack, i, training));
    }
}

const void *packed_part(const fastrnn_stack *stack, const void *packed, int32_t i) {
    return (const char *)packed + part_offset(stack, i, ((const packed_head *)packed)->training);
}

stack_call call_of(const fastrnn_stack *stack, const void *packed, const fastrnn_batch *batch) {
    assert(stack->L >= 1 && stack->D >= 1 && stack->D <= MAX_DIRECTIONS && batch->T >= 1 && batch->B >= 0);
    assert(batch->threads >= 0 && aligned(packed));
    for (int64_t b = 0; batch->lengths && b < batch->B; b++) assert(batch->lengths[b] >= 0 && batch->lengths[b] <= batch->T);
    assert(batch->rows != FASTRNN_PACKED || batch->lengths);
    stack_call call = {stack, packed, {*batch, *batch}};
    call.batches[1].reverse = !batch->reverse;
    return call;
}

/* Return the size of y of one layer in bytes. */
static size_t bytes_of_y(const stack_call *call) {
    const fastrnn_batch *batch = call->batches;
    return bytes_of(call->stack->dtype, array_rows(batch) * call->stack->D * output_size(call->stack));
}

/* Return the size of direction d's workspace for layer l. */
static size_t workspace_size(const stack_call *call, int32_t l, int32_t d, int32_t ids, int32_t training, int32_t backward) {
    const layer_spec layer = layer_of(call->stack, l);
    const fastrnn_kernels *kernels = kernels_for(&layer);
    const fastrnn_batch *batch = call->batches + d;
    return backward ? kernels->backward_workspace_size(&layer, batch, ids && !l)
                    : kernels->forward_workspace_size(&layer, batch, ids && !l, training);
}

/* Return the size of the larger workspace of both directions of layer l. Above the first layer, `ids` has no meaning. */
static size_t part_workspace_size(const stack_call *call, int32_t l, int32_t ids, int32_t training, int32_t backward) {
    size_t size = 0;
    for (int32_t d = 0; d < call->stack->D; d++) size = larger(size, workspace_size(call, l, d, ids, training, backward));
    return whole_lines(size);
}

/* Return the size of the largest workspace of any part; all layers above the first need the same. */
static size_t largest_workspace_size(const stack_call *call, int32_t ids, int32_t training, int32_t backward) {
    size_t size = 0;
    for (int32_t l = 0; l < call->stack->L && l < 2; l++)
        size = larger(size, part_workspace_size(call, l, ids, training, backward));
    return size;
}

size_t layers_workspace_size(const stack_call *call, int32_t ids, int32_t training, int32_t backward) {
    return (size_t)call->stack->D * largest_workspace_size(call, ids, training, backward);
}

/* The tapes of a layer's parts, and the layer's y if another layer is above. */
typedef struct {
    void *tapes[MAX_DIRECTIONS], *y;
} layer_tape;

static layer_tape take_tape(arena *a, const stack_call *call, int32_t l, int32_t ids) {
    const layer_spec layer = layer_of(call->stack, l);
    layer_tape t = {0};
    for (int32_t d = 0; d < call->stack->D; d++)
        t.tapes[d] = arena_take(a, kernels_for(&layer)->tape_size(&layer, call->batches + d, ids && !l));
    if (l < call->stack->L - 1) t.y = arena_take(a, bytes_of_y(call));
    return t;
}

size_t fastrnn_tape_size(const fastrnn_stack *stack, const fastrnn_batch *batch, int32_t ids) {
    const stack_call call = call_of(stack, 0, batch);
    arena a = {0};
    for (int32_t l = 0; l < stack->L; l++) take_tape(&a, &call, l, ids);
    return a.used;
}

void layer_forward(const stack_call *call, int32_t l, const fastrnn_inputs *in, const fastrnn_outputs *out,
                   void *const *tapes, void *workspace) {
    const fastrnn_stack *s = call->stack;
    const layer_spec layer = layer_of(s, l);
    const int64_t B = call->batches->B, Y = output_size(s), c = has_c(s->cell) ? s->H : 0;
    const size_t size = s->D > 1 ? part_workspace_size(call, l, !!in->ids, !!tapes, 0) : 0;
    forward_job jobs[MAX_DIRECTIONS];
    for (int32_t d = 0; d < s->D; d++) {
        const int32_t i = l * s->D + d;
        jobs[d] = (forward_job){
            .packed = packed_part(s, call->packed, i),
            .batch = call->batches + d,
            .in = {in->x, in->ids, on(s, in->h0, i * B * Y), c ? on(s, in->c0, i * B * c) : 0},
            .out = {on(s, out->y, d * Y), on(s, out->h_n, i * B * Y), c ? on(s, out->c_n, i * B * c) : 0,
                    c ? on(s, out->c, d * c) : 0},
            .tape = tapes ? tapes[d] : 0,
            .workspace = (char *)workspace + (size_t)d * size,
        };
    }
    kernels_for(&layer)->forward(&layer, s->D, jobs);
}

static void layers_forward(const stack_call *call, const fastrnn_inputs *in, const fastrnn_outputs *out, void *tape,
                           void *workspace) {
    const int32_t L = call->stack->L;
    arena tape_arena = {.base = tape}, w = {.base = workspace};
    char *between[2] = {0}; /* in inference: y of the layer below and of this layer, alternating */
    for (int i = 0; i < 2 && !tape && L > 1; i++) between[i] = arena_take(&w, bytes_of_y(call));
    void *rest = arena_take(&w, 0);
    fastrnn_inputs from = *in;
    for (int32_t l = 0; l < L; l++) {
        const int last = l == L - 1;
        layer_tape t = {0};
        if (tape) t = take_tape(&tape_arena, call, l, !!in->ids);
        void *const y = last ? out->y : tape ? t.y : between[l & 1];
        layer_forward(call, l, &from, &(fastrnn_outputs){y, out->h_n, out->c_n, last ? out->c : 0}, tape ? t.tapes : 0,
                      rest);
        from = (fastrnn_inputs){.x = y, .h0 = in->h0, .c0 = in->c0};
    }
}

size_t fastrnn_forward_workspace_size(const fastrnn_stack *stack, const fastrnn_batch *batch, int32_t ids,
                                      int32_t training) {
    const stack_call call = call_of(stack, 0, batch);
    const int32_t at_once = training ? 1 : most_layers_at_once(stack, batch);
    arena a = {0};
    for (int i = 0; i < 2 && !training && stack->L > 1; i++) arena_take(&a, bytes_of_y(&call));
    arena_take(&a, layers_workspace_size(&call, ids, training, 0));
    return at_once > 1 ? larger(a.used, wavefront_workspace_size(&call, ids, at_once)) : a.used;
}

void fastrnn_forward(const fastrnn_stack *stack, const void *packed, const fastrnn_batch *batch, const fastrnn_inputs *in,
                     const fastrnn_outputs *out, void *tape, void *workspace) {
    assert(!in->x != !in->ids && out->y && out->h_n && aligned(tape) && aligned(workspace));
    const stack_call call = call_of(stack, packed, batch);
    const int32_t at_once = tape || out->c ? 1 : fastrnn_plan_layers(stack, batch);
    if (at_once > 1)
        wavefront_forward(&call, in, out, at_once, workspace);
    else
        layers_forward(&call, in, out, tape, workspace);
}

/* The memory of a backward pass. */
typedef struct {
    layer_tape *tapes; /* [L] */
    void *dy[2];       /* [T, B, D*Y] gradients of y of a layer and of the layer below, alternating */
    void *dx;          /* the second direction's dx, for any layer */
    char *parts;       /* the directions' own workspaces */
    size_t part;
} backward_memory;

static backward_memory place_backward(arena *a, const stack_call *call, int32_t ids) {
    const fastrnn_stack *s = call->stack;
    const int64_t rows = array_rows(call->batches);
    backward_memory m = {.part = largest_workspace_size(call, ids, 1, 1)};
    m.tapes = arena_take(a, (size_t)s->L * sizeof *m.tapes);
    for (int i = 0; i < 2 && s->L > 1; i++) m.dy[i] = arena_take(a, bytes_of_y(call));
    const int64_t widest = s->L > 1 && s->D * output_size(s) > s->I ? s->D * output_size(s) : s->I;
    if (s->D > 1 && (s->L > 1 || !ids)) m.dx = arena_take(a, bytes_of(s->dtype, rows * widest));
    m.parts = arena_take(a, (size_t)s->D * m.part);
    return m;
}

size_t fastrnn_backward_workspace_size(const fastrnn_stack *stack, const fastrnn_batch *batch, int32_t ids) {
    const stack_call call = call_of(stack, 0, batch);
    arena a = {0};
    place_backward(&a, &call, ids);
    return a.used;
}

/* Run layer l backward: from dout of its outputs to dx of its input, summed over its directions (null: not needed).
 * States and gradients of parameters belong to the whole stack. */
static void layer_backward(const stack_call *call, int32_t l, const fastrnn_inputs *in, const fastrnn_output_gradients *dout,
                           const fastrnn_gradients *din, const fastrnn_weight_gradients *grads, const backward_memory *m) {
    const fastrnn_stack *s = call->stack;
    const layer_spec layer = layer_of(s, l);
    const int64_t B = call->batches->B, Y = output_size(s), c = has_c(s->cell) ? s->H : 0;
    backward_job jobs[MAX_DIRECTIONS];
    for (int32_t d = 0; d < s->D; d++) {
        const int32_t i = l * s->D + d;
        jobs[d] = (backward_job){
            .packed = packed_part(s, call->packed, i),
            .batch = call->batches + d,
            .in = {.x = in->x, .ids = in->ids},
            .dout = {on(s, dout->dy, d * Y), on(s, dout->dh_n, i * B * Y), c ? on(s, dout->dc_n, i * B * c) : 0,
                     c ? on(s, dout->dc, d * c) : 0},
            .din = {d && din->dx ? m->dx : din->dx, on(s, din->dh0, i * B * Y), c ? on(s, din->dc0, i * B * c) : 0},
            .grads = grads[i],
            .tape = m->tapes[l].tapes[d],
            .workspace = m->parts + (size_t)d * m->part,
        };
    }
    const fastrnn_kernels *kernels = kernels_for(&layer);
    kernels->backward(&layer, s->D, jobs);
    if (s->D > 1 && din->dx) kernels->add(din->dx, m->dx, array_rows(call->batches) * layer.I);
}

void fastrnn_backward(const fastrnn_stack *stack, const void *packed, const fastrnn_batch *batch, const fastrnn_inputs *in,
                      const fastrnn_output_gradients *dout, const fastrnn_gradients *din,
                      const fastrnn_weight_gradients *grads, void *tape, void *workspace) {
    assert(din->dh0 && tape && aligned(tape) && aligned(workspace));
    const stack_call call = call_of(stack, packed, batch);
    arena w = {.base = workspace};
    const backward_memory m = place_backward(&w, &call, !!in->ids);
    arena tape_arena = {.base = tape};
    for (int32_t l = 0; l < stack->L; l++) m.tapes[l] = take_tape(&tape_arena, &call, l, !!in->ids);
    fastrnn_output_gradients above = *dout;
    for (int32_t l = stack->L - 1; l >= 0; l--) {
        const fastrnn_inputs from = l ? (fastrnn_inputs){.x = m.tapes[l - 1].y} : *in;
        const fastrnn_gradients to = {l ? m.dy[l & 1] : din->dx, din->dh0, din->dc0};
        layer_backward(&call, l, &from, &above, &to, grads, &m);
        above = (fastrnn_output_gradients){.dy = to.dx, .dh_n = dout->dh_n, .dc_n = dout->dc_n};
    }
}

/* Layers on top of each other, forward: one after the other, or as a wavefront. Time is cut into chunks, and layer l is at
 * chunk k while the one below it is at chunk k + 1 already:
 *
 *     diagonal d      0          1          2          3        ...
 *     layer 0         chunk 0    chunk 1    chunk 2    chunk 3
 *     layer 1                    chunk 0    chunk 1    chunk 2
 *     layer 2                               chunk 0    chunk 1
 *
 * A layer's chunk is a pass of its own on one thread, so threads meet after a diagonal and never within a step; each keeps
 * its layer's weights in its own cache. */
#include "wavefront.h"

#include "arena.h"
#include "parallel.h"
#include "sizes.h"

typedef struct {
    const fastrnn_stack *stack;
    const fastrnn_batch *batch;
    const fastrnn_input *in;
    const fastrnn_output *out;
    int32_t threads;  /* 1: one layer after the other */
    int64_t steps;    /* of a chunk; all of them with one thread */
    char *y;          /* [2][count - 1][steps, B, Y] what layers give to those above, of two chunks or layers in turn */
    char *workspaces; /* [threads][workspace] */
    size_t workspace;
} run_of_stack;

static size_t reals(const run_of_stack *r, int64_t n) { return bytes_of(r->stack->layers->dtype, n); }

/* A batch of so many steps, on one thread in a wavefront. */
static fastrnn_batch batch_of(const run_of_stack *r, int64_t T) {
    fastrnn_batch b = *r->batch;
    b.T = T;
    if (r->threads > 1) b.threads = 1;
    return b;
}

static size_t bytes_of_y(const run_of_stack *r) { return reals(r, r->steps * r->batch->B * output_size(r->stack->layers)); }

static run_of_stack place_run(arena *a, const fastrnn_stack *stack, const fastrnn_batch *batch, int ids) {
    run_of_stack r = {.stack = stack, .batch = batch, .threads = fastrnn_plan_stack(stack, batch)};
    r.steps = r.threads > 1 ? wave_steps(batch) : batch->T;
    const fastrnn_batch chunk = batch_of(&r, r.steps);
    for (int32_t l = 0; l < stack->count; l++) {
        const size_t size = fastrnn_forward_workspace_size(stack->layers + l, &chunk, ids && !l, 0);
        r.workspace = size > r.workspace ? size : r.workspace;
    }
    r.workspace = (r.workspace + 63) / 64 * 64;
    const int32_t kept = r.threads > 1 ? 2 * (stack->count - 1) : 2;
    r.y = arena_take(a, (size_t)kept * bytes_of_y(&r));
    r.workspaces = arena_take(a, (size_t)r.threads * r.workspace);
    return r;
}

size_t fastrnn_forward_stack_workspace_size(const fastrnn_stack *stack, const fastrnn_batch *batch, int32_t ids) {
    arena a = {0};
    place_run(&a, stack, batch, ids);
    return a.used;
}

/* Where layer l leaves chunk k for the layer above. */
static char *between(const run_of_stack *r, int32_t l, int64_t k) {
    const int64_t slot = r->threads > 1 ? 2 * l + (k & 1) : l & 1;
    return r->y + (size_t)slot * bytes_of_y(r);
}

static void *at(const run_of_stack *r, const void *array, int64_t reals_before) {
    return array ? (char *)array + reals(r, reals_before) : 0;
}

/* Layer l over chunk k. A state is read whole before it is written, so the chunks' states are where the last ones shall be.
 */
static void run_chunk(const run_of_stack *r, int32_t l, int64_t k, int32_t rank) {
    const fastrnn_layer *layer = r->stack->layers + l;
    const int64_t B = r->batch->B, Y = output_size(layer), first = k * r->steps, left = r->batch->T - first;
    const fastrnn_batch chunk = batch_of(r, left < r->steps ? left : r->steps);
    fastrnn_output out = {.h_n = at(r, r->out->h_n, l * B * Y),
                          .c_n = has_c(layer) ? at(r, r->out->c_n, l * B * layer->H) : 0};
    out.y = l == r->stack->count - 1 ? at(r, r->out->y, first * B * Y) : between(r, l, k);
    fastrnn_input in = {.h0 = out.h_n, .c0 = out.c_n};
    if (k == 0) {
        in.h0 = at(r, r->in->h0, l * B * Y);
        in.c0 = has_c(layer) ? at(r, r->in->c0, l * B * layer->H) : 0;
    }
    if (l > 0)
        in.x = between(r, l - 1, k);
    else if (r->in->ids)
        in.ids = r->in->ids + first * B;
    else
        in.x = at(r, r->in->x, first * B * layer->I);
    fastrnn_forward(layer, r->stack->packed[l], &chunk, &in, &out, 0, r->workspaces + (size_t)rank * r->workspace);
}

/* A crew's body; the context is a run_of_stack. */
static void wavefront(const crew *me, void *context) {
    const run_of_stack *r = context;
    const int64_t chunks = wave_chunks(r->batch);
    for (int64_t d = 0; d < chunks + r->stack->count - 1; d++) {
        for (int32_t l = me->rank; l < r->stack->count; l += me->size)
            if (d >= l && d - l < chunks) run_chunk(r, l, d - l, me->rank);
        crew_barrier(me);
    }
}

void fastrnn_forward_stack(const fastrnn_stack *stack, const fastrnn_batch *batch, const fastrnn_input *in,
                           const fastrnn_output *out, void *workspace) {
    arena a = {.base = workspace};
    run_of_stack r = place_run(&a, stack, batch, !!in->ids);
    r.in = in;
    r.out = out;
    if (r.threads > 1)
        crew_run(r.threads, LONG_CALL, wavefront, &r);
    else
        for (int32_t l = 0; l < stack->count; l++) run_chunk(&r, l, 0, 0);
}

/* Run the layers of a stack at once, in inference, as a wavefront. Time is cut into chunks. Layer l works on chunk k
 * while the layer below works on chunk k + 1:
 *
 *     diagonal d      0          1          2          3        ...
 *     layer 0         chunk 0    chunk 1    chunk 2    chunk 3
 *     layer 1                    chunk 0    chunk 1    chunk 2
 *     layer 2                               chunk 0    chunk 1
 *
 * A layer's chunk is a pass of its own on one thread. So threads meet after a diagonal and never within a step, and each
 * thread keeps its layer's weights in its own cache. */
#include "arena.h"
#include "parallel.h"
#include "plan.h"
#include "stack.h"

typedef struct {
    const stack_call *call;
    const fastrnn_inputs *in;
    const fastrnn_outputs *out;
    int64_t steps;    /* steps of a chunk */
    char *y;          /* [L - 1][2][steps, B, Y] the outputs of all layers but the last, two chunks alternating */
    char *workspaces; /* [threads][workspace] */
    size_t workspace;
} wave;

static size_t numbers(const wave *w, int64_t n) { return bytes_of(w->call->stack->dtype, n); }

/* Return the same call for T steps on one thread. */
static stack_call call_of_chunk(const wave *w, int64_t T) {
    stack_call chunk = *w->call;
    chunk.batches[0].T = T;
    chunk.batches[0].threads = 1;
    return chunk;
}

static size_t bytes_of_y(const wave *w) { return numbers(w, w->steps * w->call->batches->B * output_size(w->call->stack)); }

static wave place_wave(arena *a, const stack_call *call, int32_t ids, int32_t threads) {
    wave w = {.call = call, .steps = wave_steps(call->batches)};
    const stack_call chunk = call_of_chunk(&w, w.steps);
    w.workspace = layers_workspace_size(&chunk, ids, 0, 0);
    w.y = arena_take(a, (size_t)(2 * (call->stack->L - 1)) * bytes_of_y(&w));
    w.workspaces = arena_take(a, (size_t)threads * w.workspace);
    return w;
}

size_t wavefront_workspace_size(const stack_call *call, int32_t ids, int32_t threads) {
    arena a = {0};
    place_wave(&a, call, ids, threads);
    return a.used;
}

/* Return the place where layer l leaves chunk k for the layer above. */
static char *between(const wave *w, int32_t l, int64_t k) { return w->y + (size_t)(2 * l + (k & 1)) * bytes_of_y(w); }

/* Run layer l over chunk k. A state is read completely before it is written, so every chunk reads and writes its state
 * in the caller's h_n and c_n. */
static void run_chunk(const wave *w, int32_t l, int64_t k, int32_t rank) {
    const fastrnn_stack *s = w->call->stack;
    const int64_t B = w->call->batches->B, first = k * w->steps, left = w->call->batches->T - first;
    const stack_call chunk = call_of_chunk(w, left < w->steps ? left : w->steps);
    fastrnn_outputs out = {.h_n = w->out->h_n, .c_n = w->out->c_n};
    out.y = l == s->L - 1 ? (char *)w->out->y + numbers(w, first * B * output_size(s)) : between(w, l, k);
    fastrnn_inputs in = {.h0 = k ? out.h_n : w->in->h0, .c0 = k ? out.c_n : w->in->c0};
    if (l > 0)
        in.x = between(w, l - 1, k);
    else if (w->in->ids)
        in.ids = w->in->ids + first * B;
    else
        in.x = (const char *)w->in->x + numbers(w, first * B * s->I);
    layer_forward(&chunk, l, &in, &out, 0, w->workspaces + (size_t)rank * w->workspace);
}

/* The body of pool_run; the context is a wave. */
static void wavefront(const worker *me, void *context) {
    const wave *w = context;
    const int64_t chunks = wave_chunks(w->call->batches);
    for (int64_t d = 0; d < chunks + w->call->stack->L - 1; d++) {
        for (int32_t l = me->rank; l < w->call->stack->L; l += me->size)
            if (d >= l && d - l < chunks) run_chunk(w, l, d - l, me->rank);
        pool_barrier(me);
    }
}

void wavefront_forward(const stack_call *call, const fastrnn_inputs *in, const fastrnn_outputs *out, int32_t threads,
                       void *workspace) {
    arena a = {.base = workspace};
    wave w = place_wave(&a, call, !!in->ids, threads);
    w.in = in;
    w.out = out;
    pool_run(threads, LONG_CALL, wavefront, &w);
}

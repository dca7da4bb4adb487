/* The entry of this build: turn the caller's structures and memory into a pass; list this build's functions for the
 * table. */
#include "../plan.h"
#include "../table.h"
#include "arrays.h"
#include "ceilings.h"
#include "generate.h"
#include "hash.h"
#include "linear.h"
#include "losses.h"
#include "optimise.h"
#include "pointwise.h"
#include "sequence.h"
#include "stream.h"

/* The number of rows of the input product that inference computes at once. They are enough for whole tiles, but so few
 * that the gates are still in the second-level cache when the loop over time reads them. */
enum { CHUNK_ROWS = 192 };

static int64_t chunk_steps_of(const fastrnn_batch *batch) { return larger(CHUNK_ROWS / larger(batch->B, 1), 1); }

static size_t packed_size(const layer_spec *layer, int32_t training) {
    layout l = layout_of(layer);
    return (training ? l.training_size : l.inference_size) * sizeof(real);
}

typedef struct {
    layout l;
    const fastrnn_weights *params;
    int32_t training;
    real *packed;
} packing;

static void pack_body(const worker *me, void *context) {
    const packing *p = context;
    pack_layer(me, &p->l, p->params, p->training, p->packed);
}

static void pack(const layer_spec *layer, const fastrnn_weights *params, int32_t training, void *packed) {
    static const double REAL = 0.25; /* nanoseconds for each number; 0.1 to 0.4 on a Zen 5 */
    packing p = {layout_of(layer), params, training, packed};
    const size_t all = training ? p.l.training_size : p.l.inference_size;
    const double time = (double)all * REAL;
    pool_run(plan_threads(time), time, pack_body, &p);
}

/* Return the number of panels that threads can share in a step: panels of gates, or of dh in backward. */
static int64_t step_panels(const layer_spec *layer, int32_t backward) {
    layout l = layout_of(layer);
    return backward ? l.out.panels : l.panels;
}

/* Place a schedule's memory, then the tape's arrays. */
static tape place_tape(arena *a, const layout *l, const fastrnn_batch *batch, int ids, void **schedule_memory) {
    *schedule_memory = arena_take(a, schedule_size(batch));
    return tape_in(a, l, batch, ids, schedule_rows(batch));
}

static size_t size_of_tape(const layer_spec *layer, const fastrnn_batch *batch, int32_t ids) {
    layout l = layout_of(layer);
    arena a = {0};
    void *memory;
    place_tape(&a, &l, batch, ids, &memory);
    return a.used;
}

/* Reserve room for rows of K numbers as slices. */
static word_rows place_slices(arena *a, int slices, int64_t rows, int64_t K) {
    real *words = arena_reals(a, (rows + 15) / 16 * 16 * sliced_words(slices, K));
    return (word_rows){words, arena_reals(a, rows), K};
}

/* Reserve room for rows of K numbers as words, or as slices of the forward pass. */
static word_rows place_rows(arena *a, const layout *l, int64_t rows, int64_t K) {
    if (l->sliced) return place_slices(a, FORWARD_SLICES, rows, K);
    return (word_rows){.words = arena_reals(a, rows * pairs_of(K)), .K = K};
}

/* Reserve room for the left operands of forward that are words. */
static rounded place_words(arena *a, const layout *l, int64_t rows, int64_t B, int ids) {
    rounded r = {0};
    if (!l->dots && !l->sliced) return r;
    if (!ids) r.x = place_rows(a, l, rows, l->I);
    for (int i = 0; i < 2; i++) r.h[i] = place_rows(a, l, B, l->h_row);
    if (l->P) r.full = place_rows(a, l, B, l->state);
    if (l->cell->h2.count) r.rh = place_rows(a, l, B, l->state);
    return r;
}

void place_inference(arena *a, forward_pass *f, int ids, void **schedule_memory) {
    const layout *l = &f->l;
    const fastrnn_batch *batch = f->batch;
    f->chunk_steps = smaller(chunk_steps_of(batch), batch->T);
    f->gate_rows = f->chunk_steps * batch->B;
    *schedule_memory = arena_take(a, schedule_size(batch));
    f->t = (tape){.gates = arena_reals(a, l->panels * f->gate_rows * l->width)};
    f->t.x = schedule_moves_rows(batch) && !ids ? arena_reals(a, f->gate_rows * l->I) : 0;
    f->t.h = arena_reals(a, 2 * batch->B * l->h_row);
    f->t.c = l->cell->has_c ? arena_reals(a, batch->B * l->state) : 0;
    f->t.full = l->P ? arena_reals(a, batch->B * l->state) : 0;
    f->t.rh = l->cell->h2.count ? arena_reals(a, batch->B * l->state) : 0;
    f->words = place_words(a, l, f->gate_rows, batch->B, ids);
}

static size_t pass_workspace_size(const layer_spec *layer, const fastrnn_batch *batch, int32_t ids, int32_t training) {
    forward_pass f = {.l = layout_of(layer), .batch = batch};
    arena a = {0};
    void *memory;
    if (training)
        place_words(&a, &f.l, schedule_rows(batch), batch->B, ids);
    else
        place_inference(&a, &f, ids, &memory);
    return a.used;
}

static forward_pass forward_of(const layer_spec *layer, const forward_job *job) {
    const fastrnn_batch *batch = job->batch;
    forward_pass f = {
        .l = layout_of(layer), .batch = batch, .in = &job->in, .out = &job->out, .packed = job->packed, .keep = !!job->tape};
    arena a = {.base = f.keep ? job->tape : job->workspace};
    void *memory;
    if (f.keep) {
        f.t = place_tape(&a, &f.l, batch, !!job->in.ids, &memory);
    } else {
        place_inference(&a, &f, !!job->in.ids, &memory);
    }
    f.t.steps = schedule_build(batch, memory);
    if (f.keep) {
        f.gate_rows = f.t.steps.N;
        f.chunk_steps = chunk_steps_of(batch);
        f.words = place_words(&(arena){.base = job->workspace}, &f.l, f.gate_rows, batch->B, !!job->in.ids);
    }
    return f;
}

/* Run one pass, or one pass for each direction. */
static void run_planned(const pass_plan *plan, int32_t count, pool_body body, void *const *contexts) {
    for (int32_t i = 0; i < count; i += plan->at_once)
        pool_run_several(plan->at_once, plan->threads, plan->time, body, contexts + i);
}

static void passes_forward(const layer_spec *layer, int32_t count, const forward_job *jobs) {
    const pass_plan plan = plan_pass(layer, jobs->batch, 0);
    forward_pass passes[MAX_GROUPS];
    void *const contexts[MAX_GROUPS] = {passes, passes + 1};
    for (int32_t i = 0; i < count; i++) {
        passes[i] = forward_of(layer, jobs + i);
        passes[i].split = plan.split;
    }
    run_planned(&plan, count, sequence_forward, contexts);
}

/* Reserve room for the left operands of backward that are words or slices. */
static void place_backward_words(arena *a, backward_pass *b, int ids, int32_t threads) {
    const layout *l = &b->l;
    const int64_t B = b->batch->B;
    if (l->dots) {
        b->gates_words = arena_reals(a, l->panels * B * l->width);
        b->dh_words = l->P ? arena_reals(a, B * l->h_row / 2) : 0;
        b->dx_words = ids ? 0 : arena_reals(a, threads * dx_words_size(l));
    }
    if (l->sliced) {
        b->h_slices = place_slices(a, BACKWARD_SLICES, B, gates_of_group(l, l->cell->h));
        if (l->cell->h2.count) b->h2_slices = place_slices(a, BACKWARD_SLICES, B, gates_of_group(l, l->cell->h2));
        if (l->P) b->dh_slices = place_slices(a, BACKWARD_SLICES, B, l->P);
        if (!ids) b->dx_slices = place_slices(a, BACKWARD_SLICES, threads * ROW_BLOCK, gates_of_group(l, l->cell->x));
        b->row = arena_reals(a, threads * row_buffer_size(l));
    }
}

static void place_backward(arena *a, backward_pass *b, int ids, int32_t threads) {
    const layout *l = &b->l;
    const cell *c = l->cell;
    const int64_t B = b->batch->B, N = schedule_rows(b->batch);
    b->dh = arena_reals(a, B * l->h_row);
    b->dc = c->has_c ? arena_reals(a, B * l->state) : 0;
    b->dfull = l->P ? arena_reals(a, B * l->state) : 0;
    b->dh_all = l->P ? arena_reals(a, N * l->h_row) : 0;
    b->drh = c->h2.count ? arena_reals(a, B * l->state) : 0;
    b->dW = ids ? arena_reals(a, l->panels * l->I * group_width(l, c->x)) : 0;
    b->outer = arena_reals(a, threads * OUTER_BUFFER);
    b->dbias = arena_reals(a, l->panels * l->width);
    b->dpeephole = c->has_peephole ? arena_reals(a, 3 * l->state) : 0;
    b->dx = ids ? 0 : arena_reals(a, threads * ROW_BLOCK * l->in.padded);
    place_backward_words(a, b, ids, threads);
}

static size_t size_for_backward(const layer_spec *layer, const fastrnn_batch *batch, int32_t ids) {
    backward_pass b = {.l = layout_of(layer), .batch = batch};
    arena a = {0};
    place_backward(&a, &b, ids, plan_pass(layer, batch, 1).threads);
    return a.used;
}

static backward_pass backward_of(const layer_spec *layer, const backward_job *job, int32_t threads) {
    backward_pass b = {.l = layout_of(layer),
                       .batch = job->batch,
                       .in = &job->in,
                       .dout = &job->dout,
                       .din = &job->din,
                       .grads = &job->grads,
                       .packed = job->packed};
    arena a = {.base = job->tape}, w = {.base = job->workspace};
    void *memory;
    b.t = place_tape(&a, &b.l, job->batch, !!job->in.ids, &memory);
    b.t.steps = schedule_build(job->batch, memory);
    place_backward(&w, &b, !!job->in.ids, threads);
    return b;
}

static void passes_backward(const layer_spec *layer, int32_t count, const backward_job *jobs) {
    const pass_plan plan = plan_pass(layer, jobs->batch, 1);
    backward_pass passes[MAX_GROUPS];
    void *const contexts[MAX_GROUPS] = {passes, passes + 1};
    for (int32_t i = 0; i < count; i++) {
        passes[i] = backward_of(layer, jobs + i, plan.threads);
        passes[i].split = plan.split;
    }
    run_planned(&plan, count, sequence_backward, contexts);
}

static void add_arrays(void *to, const void *from, int64_t n) { add_part(to, from, n); }

const fastrnn_kernels kernels = {.vector_lanes = VL,
                                 .multiplies_bfloat16 = FAST_DOTS || MATRIX_UNIT,
                                 .matrix_unit = MATRIX_UNIT,
                                 .step_panels = step_panels,
                                 .packed_size = packed_size,
                                 .pack = pack,
                                 .tape_size = size_of_tape,
                                 .forward_workspace_size = pass_workspace_size,
                                 .backward_workspace_size = size_for_backward,
                                 .forward = passes_forward,
                                 .backward = passes_backward,
                                 .add = add_arrays,
                                 .linear_packed_size = linear_packed_size_,
                                 .linear_pack = linear_pack_,
                                 .linear_workspace_size = linear_workspace_size_,
                                 .linear_forward = linear_forward_,
                                 .linear_backward = linear_backward_,
                                 .softmax_cross_entropy = softmax_cross_entropy_,
                                 .arrays_workspace_size = arrays_workspace_size_,
                                 .arrays_squares = arrays_squares_,
                                 .arrays_scale = arrays_scale_,
                                 .arrays_clamp = arrays_clamp_,
                                 .arrays_hash = arrays_hash_,
                                 .pointwise = pointwise_,
                                 .optimise = optimise_,
                                 .stream_size = stream_size_,
                                 .stream_begin = stream_begin_,
                                 .stream_step = stream_step_,
                                 .stream_states = stream_states_,
                                 .generate_workspace_size = tokens_workspace_size,
                                 .generate = generate_tokens,
                                 .measure_fma = measure_fma_,
                                 .measure_read = measure_read_};

/* One pass over time, for any cell: the parts that forward, backward and the whole products share. */
#ifndef FASTRNN_SEQUENCE_H
#define FASTRNN_SEQUENCE_H

#include "layout.h"
#include "long_slices.h"
#include "outer.h"
#include "rows.h"

/* The tape: arrays that a training forward pass leaves for backward. Rows are packed rows (schedule.h); there are N of
 * them. */
typedef struct {
    schedule steps;
    real *x;     /* [N][I] in packed order; null if x itself is in packed order, or with ids */
    real *gates; /* [panels][N][width] */
    real *h;     /* [B + N][h_row] initial states, then the states of each step */
    real *c;     /* [B + N][state] likewise; null without c */
    real *full;  /* [N][state] o tanh(c) before a projection; null without a projection */
    real *rh;    /* [N][state] r h_prev; null without a second recurrent product */
} tape;

/* Rows of a left operand as words: of bfloat16 (bfloat16.h), or of slices and then each row's scale (slices.h). */
typedef struct {
    real *words, *scales; /* null if the product reads the numbers as they are; scales are null for bfloat16 */
    int64_t K;            /* numbers in a row; the forward pass counts padding */
} word_rows;

/* The left operands of the forward pass. */
typedef struct {
    word_rows x;    /* the rows of the gate buffer */
    word_rows h[2]; /* [B] the state before a step and after it; their places alternate */
    word_rows full; /* [B] o tanh(c) before a projection */
    word_rows rh;   /* [B] r h_prev */
} rounded;

/* Lay a tape out in the arena. The schedule is not built yet. */
static inline tape tape_in(arena *a, const layout *l, const fastrnn_batch *batch, int ids, int64_t N) {
    tape t = {.x = schedule_moves_rows(batch) && !ids ? arena_reals(a, N * l->I) : 0};
    t.gates = arena_reals(a, l->panels * N * l->width);
    t.h = arena_reals(a, (batch->B + N) * l->h_row);
    t.c = l->cell->has_c ? arena_reals(a, (batch->B + N) * l->state) : 0;
    t.full = l->P ? arena_reals(a, N * l->state) : 0;
    t.rh = l->cell->h2.count ? arena_reals(a, N * l->state) : 0;
    return t;
}

/* A worker's share of each step: its own rows of the batch, or its own panels with a barrier after each stage. */
typedef struct {
    range rows; /* this thread's sequences, in packed order, if the batch is split; else all */
    int by_panels;
} step_share;

static inline range panels_of(const worker *me, const step_share *share, int64_t panels) {
    return share->by_panels ? pool_share(me, panels, 1) : (range){0, panels};
}
static inline range rows_of(const step_share *share, int64_t begin, int64_t end) {
    range r = {share->rows.begin > begin ? share->rows.begin : begin, share->rows.end < end ? share->rows.end : end};
    if (r.end < r.begin) r.end = r.begin;
    return r;
}
/* Return this thread's rows of a stage that works on whole rows; all panels of these rows are complete. */
static inline range whole_rows(const worker *me, const step_share *share, range rows) {
    if (!share->by_panels) return rows;
    const range mine = pool_share(me, rows.end - rows.begin, 1);
    return (range){rows.begin + mine.begin, rows.begin + mine.end};
}
static inline void stage_done(const worker *me, const step_share *share) {
    if (share->by_panels) pool_barrier(me);
}

/* Divide the sequences into contiguous runs with about equal sums of lengths; the shorter sequences come last in packed
 * order. */
static inline step_share share_steps(const worker *me, const schedule *s, int split) {
    if (me->size == 1) return (step_share){{0, s->B}, 0};
    if (split == FASTRNN_SPLIT_HIDDEN) return (step_share){{0, s->B}, 1};
    step_share mine = {{s->B, s->B}, 0};
    int64_t done = 0, step = s->S - 1;
    const int64_t count = started(s);
    for (int64_t j = 0; j < count; j++) { /* row j is active in the steps 0..step */
        while (active(s, step) <= j) step--;
        int64_t owner = done * me->size / s->N;
        if (owner == me->rank && mine.rows.begin > j) mine.rows.begin = j;
        if (owner > me->rank && mine.rows.end > j) mine.rows.end = j;
        done += step + 1;
    }
    if (mine.rows.begin > mine.rows.end) mine.rows.begin = mine.rows.end;
    return mine;
}

/* One forward pass. */
typedef struct {
    layout l;
    const fastrnn_batch *batch;
    const fastrnn_inputs *in;
    const fastrnn_outputs *out;
    const real *packed;
    int split, keep; /* split: enum fastrnn_split; keep: keep a tape */
    tape t;          /* in inference: gates and x of one chunk; h of two steps; c, full and rh of one step */
    rounded words;
    int64_t
        chunk_steps; /* steps whose input product is done at once, just before the loop over time reads it from the cache */
    int64_t gate_rows; /* rows of a panel of t.gates: N, or the rows of a chunk */
} forward_pass;

/* Return the format of weights that are expanded before they are multiplied. */
static inline int expanded_format(const layout *l) { return l->dots || l->sliced ? FASTRNN_WEIGHTS_FULL : l->format; }

static inline const real *scales_at(const forward_pass *f, size_t offset) {
    return f->l.format == FASTRNN_WEIGHTS_INT8 ? f->packed + offset : 0;
}

/* Return the number of elements of a left operand of the forward pass: numbers or words. */
static inline int64_t forward_elements_of(const layout *l, int64_t K) { return l->sliced ? quads_of(K) : elements_of(l, K); }

/* Return a left operand: rows of words if there are any, else of numbers. */
static inline left_operand left_rows(const real *a, int64_t a_row, word_rows w) {
    if (w.scales) return (left_operand){.p = w.words, .scales = w.scales, .slices = FORWARD_SLICES};
    return w.words ? plain_left(w.words, pairs_of(w.K), 1, 0) : plain_left(a, a_row, 1, 0);
}

/* Store row n of K numbers as words. */
static inline void store_row(word_rows to, int64_t n, const real *from, int64_t K) {
    if (to.scales)
        to.scales[n] = slice_row(to.words + sliced_row_at(FORWARD_SLICES, to.K, n), from, K);
    else
        round_row(to.words + n * pairs_of(to.K), from, K);
}

/* One backward pass. */
typedef struct {
    layout l;
    const fastrnn_batch *batch;
    const fastrnn_inputs *in;
    const fastrnn_output_gradients *dout;
    const fastrnn_gradients *din;
    const fastrnn_weight_gradients *grads;
    const real *packed;
    int split;
    tape t;
    real *dh;                /* [B][h_row] gradient of the step's h, without the parts from dy and from the product */
    real *dc;                /* [B][state] */
    real *dfull;             /* [B][state] gradient of o tanh(c) before a projection */
    real *dh_all;            /* [N][h_row] gradient of the projected h, for the gradient of the projection */
    real *drh;               /* [B][state] gradient of r h_prev */
    real *dW;                /* with ids: dW in W's packed layout */
    real *outer;             /* [threads][OUTER_BUFFER] */
    real *dbias, *dpeephole; /* [panels][width], [3][state] */
    real *dx;                /* [threads][ROW_BLOCK][in.padded] rows of dx before they are copied out */
    /* Left operands as words, if products are of bfloat16; else null. */
    real *gates_words; /* [2][panels][B][width / 2] the gates of this step and of the next one; the places alternate */
    real *dh_words;    /* [B][h_row / 2] the gradient of the projected h of this step */
    real *dx_words;    /* [threads][panels][ROW_BLOCK][group's width / 2] */
    /* Left operands as slices, if products are of slices; else null. */
    word_rows h_slices, h2_slices; /* [B] the gates of the groups h and h2 of one step */
    word_rows dh_slices;           /* [B] the gradient of the projected h of one step */
    word_rows dx_slices;           /* [threads][ROW_BLOCK] the gates of the group x */
    real *row;                     /* [threads][row_buffer_size] a row before it is sliced */
} backward_pass;

/* Return the number of words that a thread has for rows of dp. */
static inline int64_t dx_words_size(const layout *l) { return gates_of_group(l, l->cell->x) / 2 * ROW_BLOCK; }

static inline int64_t row_buffer_size(const layout *l) { return larger(l->panels * l->width, l->h_row); }

/* Slice a group's gates of packed row n as row `at`, for a product with weights; the gradient of its projected h as row `at`
 * of dh_slices. */
void slice_gates(const worker *me, const backward_pass *b, gate_group g, back_place weights, int64_t n, word_rows to,
                 int64_t at);
void slice_dh(const worker *me, const backward_pass *b, int64_t n, int64_t at);

/* Return a product's arguments for rows in slices. */
static inline product_args over_slices(word_rows rows) {
    return (product_args){
        .n_outer = 1, .n_inner = quads_of(rows.K), .a = {.p = rows.words, .scales = rows.scales, .slices = BACKWARD_SLICES}};
}

/* Bodies for pool_run; the context is a forward_pass or a backward_pass. Backward runs the loop over time, then the
 * whole products. */
void sequence_forward(const worker *me, void *context);
void sequence_backward(const worker *me, void *context);
void whole_gradients(const worker *me, backward_pass *b);

/* The input product (inputs.c). gather_inputs copies rows of x to where the product reads them, and input_rows multiplies:
 * rows of the gate buffer, whose first row is packed row `chunk_row`. The others do both: for all steps of a chunk, and for
 * a thread's own rows of one step. */
void gather_inputs(const forward_pass *f, int64_t chunk_row, range rows);
void input_rows(const forward_pass *f, int64_t chunk_row, range panels, range rows);
void input_chunk(const worker *me, const forward_pass *f, int64_t chunk_row, range chunk);
void input_of_own_rows(const forward_pass *f, const step_share *share, int64_t chunk_row, int64_t step);

/* Lay out the arrays of inference in the arena, for a chunk or a step, and the memory of a schedule. */
void place_inference(arena *a, forward_pass *f, int ids, void **schedule_memory);

/* One sequence, fed step by step. The pass has T = 2 steps and runs them in turn, 0 1 0 1 ..., because inference has two
 * buffers of h. pass_begin loads h0 and c0. pass_step runs one step, whose x or id the caller has stored; then all threads
 * see its y. pass_end writes h_n and c_n after the last step. */
void pass_begin(const forward_pass *f);
void pass_step(const worker *me, forward_pass *f, int64_t step);
void pass_end(const forward_pass *f, int64_t step);

#endif

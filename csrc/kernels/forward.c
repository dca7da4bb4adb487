/* The forward pass over time, for any cell:
 *
 *     P = X W^T + b                   for a chunk of steps, into the gate buffer
 *     for each step of the chunk:
 *         gates += h_prev R^T         and, while a tile of the result is in cache, the cell's pointwise function
 *         [gates += rh R2^T           GRU with reset before, and its second pointwise function]
 *         [h = full projection^T      LSTM with a projection] */
#include "sequence.h"

typedef struct {
    forward_pass *f;
    int64_t step;
    step_view view;
} step_context;

/* Return the rows of h before and after a step. In inference two buffers alternate; rows of sequences that have ended
 * are not written. */
static real *h_before(const forward_pass *f, int64_t step) {
    int64_t row = f->keep ? row_before(&f->t.steps, step) : (step & 1) * f->batch->B;
    return f->t.h + row * f->l.h_row;
}
static real *h_after(const forward_pass *f, int64_t step) {
    int64_t row = f->keep ? row_after(&f->t.steps, step) : (~step & 1) * f->batch->B;
    return f->t.h + row * f->l.h_row;
}
static int64_t tape_row(const forward_pass *f, int64_t step) { return f->keep ? f->t.steps.offset[step] : 0; }

static step_view view_of(const forward_pass *f, int64_t step, int64_t chunk_row) {
    const layout *l = &f->l;
    const tape *t = &f->t;
    int64_t row = tape_row(f, step), before = f->keep ? row_before(&t->steps, step) : 0,
            after = f->keep ? row_after(&t->steps, step) : 0;
    return (step_view){.gates = t->gates + (t->steps.offset[step] - chunk_row) * l->width,
                       .panel_step = f->gate_rows * l->width,
                       .width = l->width,
                       .units = l->units,
                       .state = l->state,
                       .peephole = f->packed + l->peephole,
                       .h_prev = h_before(f, step),
                       .h = l->P ? t->full + row * l->state : h_after(f, step),
                       .c_prev = t->c ? t->c + before * l->state : 0,
                       .c = t->c ? t->c + after * l->state : 0,
                       .rh = t->rh ? t->rh + row * l->state : 0};
}

/* Return the place of h as words before a step (after: the next step's). */
static word_rows h_words(const forward_pass *f, int64_t step) { return f->words.h[step & 1]; }

/* Round columns [first, first + count) of finished rows, if the next product reads words of bfloat16. */
static void round_rows(word_rows to, const real *from, int64_t from_row, int64_t first, int64_t count, int64_t row,
                       int64_t rows) {
    for (int64_t j = row; to.words && !to.scales && j < row + rows; j++)
        round_row(to.words + j * pairs_of(to.K) + first / 2, from + j * from_row + first, count);
}

/* Slice rows of K numbers, if the next product reads slices. A row's scale depends on all of it, so this is a stage of its
 * own. */
static void slice_rows(const worker *me, const step_share *share, word_rows to, const real *from, int64_t from_row,
                       int64_t K, range rows) {
    if (!to.scales) return;
    rows = whole_rows(me, share, rows);
    for (int64_t j = rows.begin; j < rows.end; j++) store_row(to, j, from + j * from_row, K);
    stage_done(me, share);
}

/* Write columns [first, first + count) of finished rows into the caller's array, which has `n` columns for each
 * direction. */
static void write_out(const forward_pass *f, int64_t step, const real *from, int64_t from_row, real *to, int64_t n,
                      int64_t first, int64_t count, int64_t row, int64_t rows) {
    const schedule *s = &f->t.steps;
    const int64_t to_row = n * f->l.directions;
    count = smaller(count, n - first);
    if (count <= 0) return;
    for (int64_t j = row; j < row + rows; j++)
        memcpy(to + source_of(s, s->offset[step] + j) * to_row + first, from + j * from_row + first,
               (size_t)count * sizeof(real));
}

static void state_done(const step_context *k, int64_t panel, int64_t row, int64_t rows) {
    const forward_pass *f = k->f;
    const layout *l = &f->l;
    int64_t count = l->units * VL, first = panel * count;
    round_rows(l->P ? f->words.full : h_words(f, k->step + 1), k->view.h, l->state, first, count, row, rows);
    if (!l->P) write_out(f, k->step, k->view.h, l->state, f->out->y, l->H, first, count, row, rows);
    if (f->out->c) write_out(f, k->step, k->view.c, l->state, f->out->c, l->H, first, count, row, rows);
}

static void gates_done(void *context, int64_t panel, int64_t row, int64_t rows) {
    step_context *k = context;
    const layout *l = &k->f->l;
    l->cell->forward(&k->view, run_of(panel * l->units, l->units), run_of(row, rows));
    if (l->cell->forward2)
        round_rows(k->f->words.rh, k->view.rh, l->state, panel * l->units * VL, l->units * VL, row, rows);
    else
        state_done(k, panel, row, rows);
}

static void gates2_done(void *context, int64_t panel, int64_t row, int64_t rows) {
    step_context *k = context;
    const layout *l = &k->f->l;
    l->cell->forward2(&k->view, run_of(panel * l->units, l->units), run_of(row, rows));
    state_done(k, panel, row, rows);
}

static void projection_done(void *context, int64_t panel, int64_t row, int64_t rows) {
    step_context *k = context;
    const layout *l = &k->f->l;
    int64_t count = l->out.vectors * VL;
    const real *h = h_after(k->f, k->step);
    round_rows(h_words(k->f, k->step + 1), h, l->h_row, panel * count, count, row, rows);
    write_out(k->f, k->step, h, l->h_row, k->f->out->y, l->P, panel * count, count, row, rows);
}

/* gates[group] += a R^T, then `done` */
static void recurrent_product(step_context *k, gate_group g, left_operand a, int64_t K, size_t weights, size_t scales,
                              rows_done done, range panels, range rows) {
    const layout *l = &k->f->l;
    const int64_t w = group_width(l, g);
    real *c = k->view.gates + group_first(l, g);
    product_args p = {.n_outer = 1,
                      .n_inner = forward_elements_of(l, K),
                      .a = a,
                      .vectors = (int)(w / VL),
                      .format = expanded_format(l),
                      .dots = l->dots,
                      .b = k->f->packed + weights,
                      .scales = scales_at(k->f, scales),
                      .b_panel = packed_words(l, K) * w,
                      .b_row = w,
                      .init = c,
                      .init_panel = k->view.panel_step,
                      .init_row = l->width,
                      .c = c,
                      .c_panel = k->view.panel_step,
                      .c_row = l->width,
                      .done = done,
                      .backwards = (int)(k->step & 1),
                      .context = k};
    product(&p, panels, rows);
}

static void project(step_context *k, range panels, range rows) {
    const layout *l = &k->f->l;
    const int64_t w = l->out.vectors * VL;
    product_args p = {.n_outer = 1,
                      .n_inner = forward_elements_of(l, l->H),
                      .a = left_rows(k->view.h, l->state, k->f->words.full),
                      .vectors = l->out.vectors,
                      .format = expanded_format(l),
                      .dots = l->dots,
                      .b = k->f->packed + l->projection,
                      .scales = scales_at(k->f, l->projection_scales),
                      .b_panel = packed_words(l, l->H) * w,
                      .b_row = w,
                      .c = h_after(k->f, k->step),
                      .c_panel = w,
                      .c_row = l->h_row,
                      .done = projection_done,
                      .context = k};
    product(&p, panels, rows);
}

static void one_step(const worker *me, forward_pass *f, const step_share *share, int64_t step, int64_t chunk_row) {
    const layout *l = &f->l;
    const cell *c = l->cell;
    step_context k = {f, step, view_of(f, step, chunk_row)};
    range rows = rows_of(share, 0, active(&f->t.steps, step)), panels = panels_of(me, share, l->panels);
    const left_operand h = left_rows(k.view.h_prev, l->h_row, h_words(f, step));
    recurrent_product(&k, c->h, h, l->Y, l->R, l->R_scales, gates_done, panels, rows);
    stage_done(me, share);
    if (c->forward2) {
        slice_rows(me, share, f->words.rh, k.view.rh, l->state, l->H, rows);
        const left_operand rh = left_rows(k.view.rh, l->state, f->words.rh);
        recurrent_product(&k, c->h2, rh, l->H, l->R2, l->R2_scales, gates2_done, panels, rows);
        stage_done(me, share);
    }
    if (l->P) {
        slice_rows(me, share, f->words.full, k.view.h, l->state, l->H, rows);
        project(&k, panels_of(me, share, l->out.panels), rows);
        stage_done(me, share);
    }
    slice_rows(me, share, h_words(f, step + 1), h_after(f, step), l->h_row, l->Y, rows);
}

static void load_initial_states(const worker *me, const forward_pass *f) {
    const layout *l = &f->l;
    const real *h0 = f->in->h0, *c0 = f->in->c0;
    range mine = pool_share(me, f->batch->B, 1);
    for (int64_t j = mine.begin; j < mine.end; j++) {
        int64_t b = sequence_of(&f->t.steps, j);
        load_row(f->t.h + j * l->h_row, h0 ? h0 + b * l->Y : 0, l->Y, l->h_row);
        if (f->words.h[0].words) store_row(h_words(f, 0), j, f->t.h + j * l->h_row, l->h_row);
        if (f->t.c) load_row(f->t.c + j * l->state, c0 ? c0 + b * l->H : 0, l->H, l->state);
    }
}

/* Copy row j of the states after a step into the caller's arrays. */
static void store_state(const forward_pass *f, int64_t step, int64_t j) {
    const layout *l = &f->l;
    const schedule *s = &f->t.steps;
    real *h_n = f->out->h_n, *c_n = f->out->c_n;
    int64_t b = sequence_of(s, j), c_row = (f->keep ? row_after(s, step) : 0) + j;
    memcpy(h_n + b * l->Y, h_after(f, step) + j * l->h_row, (size_t)l->Y * sizeof(real));
    if (c_n) memcpy(c_n + b * l->H, f->t.c + c_row * l->state, (size_t)l->H * sizeof(real));
}

/* Store the final states. A sequence's final state is where its own last step left it, or the initial state if it has no
 * steps. */
static void store_final_states(const worker *me, const forward_pass *f) {
    const schedule *s = &f->t.steps;
    range mine = pool_share(me, s->B, 1);
    int64_t last = s->S - 1;
    for (int64_t j = 0; j < mine.end; j++) {
        while (last >= 0 && active(s, last) <= j) last--;
        if (j >= mine.begin) store_state(f, last, j);
    }
}

static void zero_past_lengths(const worker *me, const forward_pass *f) {
    const fastrnn_batch *batch = f->batch;
    if (!has_padding(batch)) return;
    range mine = pool_share(me, batch->B, 1);
    const int64_t y_row = f->l.Y * f->l.directions, c_row = f->l.H * f->l.directions;
    real *y = f->out->y, *c = f->out->c;
    for (int64_t b = mine.begin; b < mine.end; b++)
        for (int64_t t = batch->lengths[b]; t < batch->T; t++) {
            memset(y + array_row(batch, t, b) * y_row, 0, (size_t)f->l.Y * sizeof(real));
            if (c) memset(c + array_row(batch, t, b) * c_row, 0, (size_t)f->l.H * sizeof(real));
        }
}

void sequence_forward(const worker *me, void *context) {
    forward_pass *f = context;
    const schedule *s = &f->t.steps;
    step_share share = share_steps(me, s, f->split);
    const int own_rows = me->size > 1 && !share.by_panels;
    load_initial_states(me, f);
    zero_past_lengths(me, f);
    if (own_rows) pool_barrier(me);
    for (int64_t begin = 0; begin < s->S; begin += f->chunk_steps) {
        const int64_t end = smaller(begin + f->chunk_steps, s->S), chunk_row = f->keep ? 0 : s->offset[begin];
        /* The buffers are used again. Without lengths, a thread's rows of the next chunk replace its own rows of the
         * last chunk. With lengths, they may replace rows on which another thread still works. */
        if (own_rows && begin && f->batch->lengths) pool_barrier(me);
        if (!own_rows) input_chunk(me, f, chunk_row, (range){s->offset[begin] - chunk_row, s->offset[end] - chunk_row});
        for (int64_t step = begin; step < end; step++) {
            if (own_rows) input_of_own_rows(f, &share, chunk_row, step);
            one_step(me, f, &share, step, chunk_row);
        }
    }
    pool_barrier(me);
    store_final_states(me, f);
}

void pass_begin(const forward_pass *f) { load_initial_states(&(worker){0, 1, 0}, f); }

/* No barrier is needed between the two products, because a thread computes the same panels in both. */
void pass_step(const worker *me, forward_pass *f, int64_t step) {
    const step_share share = share_steps(me, &f->t.steps, f->split);
    const int64_t chunk_row = f->t.steps.offset[step];
    if (f->words.x.words) {
        if (me->rank == 0) gather_inputs(f, chunk_row, (range){0, 1});
        pool_barrier(me);
    }
    input_rows(f, chunk_row, panels_of(me, &share, f->l.panels), (range){0, 1});
    one_step(me, f, &share, step, chunk_row);
}

void pass_end(const forward_pass *f, int64_t step) { store_state(f, step, 0); }

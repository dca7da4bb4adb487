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
    if (!l->P) write_out(f, k->step, k->view.h, l->state, f->out->y, l->H, first, count, row, rows);
    if (f->out->c) write_out(f, k->step, k->view.c, l->state, f->out->c, l->H, first, count, row, rows);
}

static void gates_done(void *context, int64_t panel, int64_t row, int64_t rows) {
    step_context *k = context;
    const layout *l = &k->f->l;
    l->cell->forward(&k->view, run_of(panel * l->units, l->units), run_of(row, rows));
    if (!l->cell->forward2) state_done(k, panel, row, rows);
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
    write_out(k->f, k->step, h_after(k->f, k->step), l->h_row, k->f->out->y, l->P, panel * count, count, row, rows);
}

static const real *scales_at(const forward_pass *f, size_t offset) {
    return f->l.format == FASTRNN_WEIGHTS_INT8 ? f->packed + offset : 0;
}

/* Return the number of rows, of reals or words, in a panel of a right operand with K rows. */
static int64_t panel_rows_of(const layout *l, int64_t K) { return l->format ? words_of(l->format, K) : K; }

/* gates[group] += a R^T, then `done` */
static void recurrent_product(step_context *k, gate_group g, const real *a, int64_t a_row, int64_t K, size_t weights,
                              size_t scales, rows_done done, range panels, range rows) {
    const layout *l = &k->f->l;
    const int64_t w = group_width(l, g);
    real *c = k->view.gates + group_first(l, g);
    product_args p = {.n_outer = 1,
                      .n_inner = K,
                      .a = {a, a_row, 1, 0},
                      .vectors = (int)(w / VL),
                      .format = l->format,
                      .b = k->f->packed + weights,
                      .scales = scales_at(k->f, scales),
                      .b_panel = panel_rows_of(l, K) * w,
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
                      .n_inner = l->H,
                      .a = {k->view.h, l->state, 1, 0},
                      .vectors = l->out.vectors,
                      .format = l->format,
                      .b = k->f->packed + l->projection,
                      .scales = scales_at(k->f, l->projection_scales),
                      .b_panel = panel_rows_of(l, l->H) * w,
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
    recurrent_product(&k, c->h, k.view.h_prev, l->h_row, l->Y, l->R, l->R_scales, gates_done, panels, rows);
    stage_done(me, share);
    if (c->forward2) {
        recurrent_product(&k, c->h2, k.view.rh, l->state, l->H, l->R2, l->R2_scales, gates2_done, panels, rows);
        stage_done(me, share);
    }
    if (l->P) {
        project(&k, panels_of(me, share, l->out.panels), rows);
        stage_done(me, share);
    }
}

/* Fill the slots that the input product does not write with their bias. */
static void fill_other_slots(const forward_pass *f, range panels, range rows) {
    const layout *l = &f->l;
    const int64_t first = group_width(l, l->cell->x), rest = l->width - first;
    if (!rest) return;
    for (int64_t panel = panels.begin; panel < panels.end; panel++)
        for (int64_t row = rows.begin; row < rows.end; row++)
            memcpy(f->t.gates + (panel * f->gate_rows + row) * l->width + first,
                   f->packed + l->bias + panel * l->width + first, (size_t)rest * sizeof(real));
}

/* Load VL columns of W's row k, from `first` on. */
static vec input_weights(const layout *l, const real *W, int64_t panel, int64_t w, int64_t k, int64_t first) {
    if (!l->format) return load(W + (panel * l->I + k) * w + first);
    const int64_t rows = rows_per_word(l->format), word = panel * words_of(l->format, l->I) + k / rows;
    return row_of_words(l->format, load_words((const uint32_t *)W + word * w + first), (int)(k % rows));
}

/* Add W's row for each token id: the product of a one-hot vector with W^T is a row of each packed panel. */
static void gather_tokens(const forward_pass *f, int64_t chunk_row, range panels, range rows) {
    const layout *l = &f->l;
    const int64_t w = group_width(l, l->cell->x);
    const real *scales = scales_at(f, l->W_scales);
    for (int64_t panel = panels.begin; panel < panels.end; panel++)
        for (int64_t n = rows.begin; n < rows.end; n++) {
            int64_t id = f->in->ids[source_of(&f->t.steps, chunk_row + n)];
            const real *bias = f->packed + l->bias + panel * l->width;
            real *to = f->t.gates + (panel * f->gate_rows + n) * l->width;
            for (int64_t i = 0; i < w; i += VL) {
                vec p = load(bias + i);
                if (id >= 0) {
                    vec row = input_weights(l, f->packed + l->W, panel, w, id, i);
                    p += scales ? row * load(scales + panel * w + i) : row;
                }
                store(to + i, p);
            }
        }
}

static void multiply_inputs(const forward_pass *f, int64_t chunk_row, range panels, range rows) {
    const layout *l = &f->l;
    const int64_t w = group_width(l, l->cell->x);
    const real *x = f->t.x ? f->t.x : (const real *)f->in->x + chunk_row * l->I;
    product_args p = {.n_outer = 1,
                      .n_inner = l->I,
                      .a = {x, l->I, 1, 0},
                      .vectors = (int)(w / VL),
                      .format = l->format,
                      .b = f->packed + l->W,
                      .scales = scales_at(f, l->W_scales),
                      .b_panel = panel_rows_of(l, l->I) * w,
                      .b_row = w,
                      .init = f->packed + l->bias,
                      .init_panel = l->width,
                      .init_row = 0,
                      .c = f->t.gates,
                      .c_panel = f->gate_rows * l->width,
                      .c_row = l->width};
    product(&p, panels, rows);
}

/* Copy rows of x into packed order, unless they already are in this order. Training keeps the copy for dW. */
static void gather_inputs(const forward_pass *f, int64_t chunk_row, range rows) {
    const int64_t I = f->l.I;
    for (int64_t n = rows.begin; f->t.x && n < rows.end; n++)
        memcpy(f->t.x + n * I, (const real *)f->in->x + f->t.steps.source[chunk_row + n] * I, (size_t)I * sizeof(real));
}

/* P = X W^T + b for rows of the gate buffer, whose first row is packed row `chunk_row`. */
static void input_rows(const forward_pass *f, int64_t chunk_row, range panels, range rows) {
    if (f->in->ids)
        gather_tokens(f, chunk_row, panels, rows);
    else
        multiply_inputs(f, chunk_row, panels, rows);
    fill_other_slots(f, panels, rows);
}

/* Compute the input product of all steps of a chunk. */
static void input_chunk(const worker *me, const forward_pass *f, int64_t chunk_row, range chunk) {
    const int64_t n = chunk.end - chunk.begin;
    range gathered = pool_share(me, n, 1);
    pool_barrier(me); /* the buffers of the previous chunk are used again */
    gather_inputs(f, chunk_row, (range){chunk.begin + gathered.begin, chunk.begin + gathered.end});
    if (f->t.x) pool_barrier(me);
    part mine = share_product(me, f->l.panels, n);
    input_rows(f, chunk_row, mine.panels, (range){chunk.begin + mine.rows.begin, chunk.begin + mine.rows.end});
    pool_barrier(me);
}

/* Compute the input product of this step for the thread's own rows. No thread waits, and the gates are in the cache of
 * the core that reads them. LSTM H = 32, B = 8, 100 steps on two cores (Zen 5) takes 62 us. It took 86 us when threads
 * shared chunks. */
static void input_of_own_rows(const forward_pass *f, const step_share *share, int64_t chunk_row, int64_t step) {
    const schedule *s = &f->t.steps;
    const int64_t first = s->offset[step] - chunk_row;
    range rows = rows_of(share, 0, active(s, step));
    rows = (range){first + rows.begin, first + rows.end};
    gather_inputs(f, chunk_row, rows);
    input_rows(f, chunk_row, (range){0, f->l.panels}, rows);
}

static void load_initial_states(const worker *me, const forward_pass *f) {
    const layout *l = &f->l;
    const real *h0 = f->in->h0, *c0 = f->in->c0;
    range mine = pool_share(me, f->batch->B, 1);
    for (int64_t j = mine.begin; j < mine.end; j++) {
        int64_t b = sequence_of(&f->t.steps, j);
        load_row(f->t.h + j * l->h_row, h0 ? h0 + b * l->Y : 0, l->Y, l->h_row);
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
    input_rows(f, chunk_row, panels_of(me, &share, f->l.panels), (range){0, 1});
    one_step(me, f, &share, step, chunk_row);
}

void pass_end(const forward_pass *f, int64_t step) { store_state(f, step, 0); }

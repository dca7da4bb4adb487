/* The backward pass over time, for any cell; the forward's steps in reverse:
 *
 *     for each step, from the last:
 *         dh += dq_next R                               and, while a tile is in cache, dh += dy and the lines below
 *         [dfull = dh projection                        LSTM with a projection]
 *         gates: activations -> pre-activation gradients, the cell's pointwise function
 *         [drh = da_n R2                                GRU with reset before, and its second pointwise function]
 *         [slices of the gates                          precision "high", also before dfull and drh]
 *     dh_0 += dq_0 R                                for the sequences that have a step
 *     dW, dR, dx and the others as whole products (gradients.c)
 *
 * Rows whose sequence ends at this step have no dq_next: their dh starts as dh_n. */
#include "sequence.h"

typedef struct {
    backward_pass *b;
    int64_t step;
    step_view view;
} step_context;

static step_view view_of(const backward_pass *b, int64_t step) {
    const layout *l = &b->l;
    const tape *t = &b->t;
    int64_t row = t->steps.offset[step], before = row_before(&t->steps, step), after = row_after(&t->steps, step);
    return (step_view){.gates = t->gates + row * l->width,
                       .panel_step = t->steps.N * l->width,
                       .width = l->width,
                       .units = l->units,
                       .state = l->state,
                       .peephole = b->packed + l->peephole,
                       .h_prev = t->h + before * l->h_row,
                       .c_prev = t->c ? t->c + before * l->state : 0,
                       .c = t->c ? t->c + after * l->state : 0,
                       .rh = b->drh,
                       .dh = l->P ? b->dfull : b->dh,
                       .dc = b->dc};
}

/* Add columns [first, first + count) of the caller's gradient rows of this step to `to`. */
static void add_gradient(const step_context *k, const real *from, int64_t n, real *to, int64_t to_row, int64_t first,
                         int64_t count, int64_t row, int64_t rows) {
    const schedule *s = &k->b->t.steps;
    const int64_t from_row = n * k->b->l.directions;
    count = smaller(count, n - first);
    if (!from || count <= 0) return;
    for (int64_t j = row; j < row + rows; j++)
        add_part(to + j * to_row + first, from + source_of(s, s->offset[k->step] + j) * from_row + first, count);
}

/* Return the place of the words of a step's gates. */
static real *words_of_gates(const backward_pass *b, int64_t step) {
    return b->gates_words + (step & 1) * b->l.panels * b->batch->B * (b->l.width / 2);
}

/* Round slots of some vectors of units, which the next products read as words. */
static void round_gates(const step_context *k, range slots, int64_t vector, int64_t vectors, int64_t row, int64_t rows) {
    const layout *l = &k->b->l;
    if (!l->dots) return;
    for (int64_t v = vector; v < vector + vectors; v++) {
        const int64_t panel = v / l->units, first = v % l->units * VL;
        const real *gates = k->view.gates + panel * k->view.panel_step + first;
        real *to = words_of_gates(k->b, k->step) + (panel * k->b->batch->B * l->width + first) / 2;
        for (int64_t j = row; j < row + rows; j++)
            for (int64_t slot = slots.begin; slot < slots.end; slot++) {
                const int64_t at = j * l->width + slot * l->units * VL;
                store_words(to + at / 2, load(gates + at));
            }
    }
}

/* Run the cell's backward function on `vectors` columns from `vector`, for which dL/dh is complete. */
static void cell_backward(step_context *k, int64_t vector, int64_t vectors, int64_t row, int64_t rows) {
    const layout *l = &k->b->l;
    vectors = smaller(vectors, l->panels * l->units - vector);
    if (vectors <= 0) return;
    add_gradient(k, k->b->dout->dc, l->H, k->b->dc, l->state, vector * VL, vectors * VL, row, rows);
    l->cell->backward(&k->view, run_of(vector, vectors), run_of(row, rows));
    round_gates(k, (range){0, l->cell->slots}, vector, vectors, row, rows);
}

static void dh_done(void *context, int64_t panel, int64_t row, int64_t rows) {
    step_context *k = context;
    backward_pass *b = k->b;
    const layout *l = &b->l;
    const int64_t vectors = l->out.vectors, count = vectors * VL, first = panel * count;
    add_gradient(k, b->dout->dy, l->Y, b->dh, l->h_row, first, count, row, rows);
    if (!l->P) {
        cell_backward(k, panel * vectors, vectors, row, rows);
        return;
    }
    for (int64_t j = row; j < row + rows; j++) { /* move dh: with a projection, dh_prev comes from dq R alone */
        real *dh = b->dh + j * l->h_row + first;
        real *copy = b->dh_all + (b->t.steps.offset[k->step] + j) * l->h_row + first;
        memcpy(copy, dh, (size_t)count * sizeof(real));
        memset(dh, 0, (size_t)count * sizeof(real));
        if (l->dots) round_row(b->dh_words + (j * l->h_row + first) / 2, copy, count);
    }
}

static void dfull_done(void *context, int64_t panel, int64_t row, int64_t rows) {
    step_context *k = context;
    int64_t vectors = k->b->l.hidden.vectors;
    cell_backward(k, panel * vectors, vectors, row, rows);
}

static void drh_done(void *context, int64_t panel, int64_t row, int64_t rows) {
    step_context *k = context;
    const layout *l = &k->b->l;
    int64_t vector = panel * l->hidden.vectors, vectors = smaller(l->hidden.vectors, l->panels * l->units - vector);
    if (vectors <= 0) return;
    l->cell->backward2(&k->view, run_of(vector, vectors), run_of(row, rows));
    /* Round the slots of h alone, because other threads still read the slots of h2. */
    round_gates(k, run_of(l->cell->h.first, l->cell->h.count), vector, vectors, row, rows);
}

/* Return product arguments whose left operand is a step's gates of a group: slices, words or numbers. */
static product_args over_gates(const backward_pass *b, gate_group g, word_rows slices, int64_t step) {
    const layout *l = &b->l;
    if (l->sliced) return over_slices(slices);
    product_args p = {.n_outer = l->panels, .n_inner = elements_of(l, group_width(l, g)), .dots = l->dots};
    if (l->dots)
        p.a = plain_left(words_of_gates(b, step) + group_first(l, g) / 2, l->width / 2, 1, b->batch->B * l->width / 2);
    else
        p.a = plain_left(b->t.gates + b->t.steps.offset[step] * l->width + group_first(l, g), l->width, 1,
                         b->t.steps.N * l->width);
    return p;
}

static product_args into(product_args p, const real *packed, back_place weights, columns cols, real *c, int64_t c_row) {
    p.vectors = cols.vectors;
    p.b = packed + weights.at;
    p.scales = p.a.slices ? packed + weights.scales : 0;
    p.b_row = cols.vectors * VL;
    p.b_panel = panel_size(&p);
    p.c = c;
    p.c_panel = p.b_row;
    p.c_row = c_row;
    return p;
}

/* dh += dq R, with dq of step `step`. */
static void dh_product(const backward_pass *b, int64_t step, rows_done done, void *context, range panels, range rows) {
    const layout *l = &b->l;
    product_args p = over_gates(b, l->cell->h, b->h_slices, step);
    p = into(p, b->packed, l->R_back, l->out, b->dh, l->h_row);
    p.init = b->dh;
    p.init_panel = p.c_panel;
    p.init_row = l->h_row;
    p.done = done;
    p.context = context;
    p.backwards = (int)(step & 1);
    product(&p, panels, rows);
}

/* dfull = dh projection, for this step. */
static void dfull_product(step_context *k, range panels, range rows) {
    backward_pass *b = k->b;
    const layout *l = &b->l;
    const real *dh = b->dh_all + b->t.steps.offset[k->step] * l->h_row;
    const left_operand a = l->dots ? plain_left(b->dh_words, l->h_row / 2, 1, 0) : plain_left(dh, l->h_row, 1, 0);
    product_args p = {.n_outer = 1, .n_inner = elements_of(l, l->P), .a = a, .dots = l->dots};
    if (l->sliced) p = over_slices(b->dh_slices);
    p = into(p, b->packed, l->projection_back, l->hidden, b->dfull, l->state);
    p.done = dfull_done;
    p.context = k;
    product(&p, panels, rows);
}

/* drh = da_n R2, for this step. */
static void drh_product(step_context *k, range panels, range rows) {
    backward_pass *b = k->b;
    const layout *l = &b->l;
    product_args p = over_gates(b, l->cell->h2, b->h2_slices, k->step);
    p = into(p, b->packed, l->R2_back, l->hidden, b->drh, l->state);
    p.done = drh_done;
    p.context = k;
    product(&p, panels, rows);
}

/* A function that slices packed row n, as row `at` of the left operand of the step's next product. */
typedef void (*row_slicer)(const worker *me, const backward_pass *b, int64_t n, int64_t at);

static void slice_h(const worker *me, const backward_pass *b, int64_t n, int64_t at) {
    slice_gates(me, b, b->l.cell->h, b->l.R_back, n, b->h_slices, at);
}

static void slice_h2(const worker *me, const backward_pass *b, int64_t n, int64_t at) {
    slice_gates(me, b, b->l.cell->h2, b->l.R2_back, n, b->h2_slices, at);
}

/* A row's scale depends on the whole row, which several threads may have computed, so this is a stage of its own. */
static void slice_step(const worker *me, const step_share *share, const backward_pass *b, row_slicer slice, int64_t step,
                       range rows) {
    if (!MATRIX_UNIT || !b->l.sliced) return;
    rows = whole_rows(me, share, rows);
    for (int64_t j = rows.begin; j < rows.end; j++) slice(me, b, b->t.steps.offset[step] + j, j);
    stage_done(me, share);
}

static void one_step(const worker *me, backward_pass *b, const step_share *share, int64_t step) {
    const layout *l = &b->l;
    const schedule *s = &b->t.steps;
    step_context k = {b, step, view_of(b, step)};
    int64_t now = active(s, step), next = step + 1 < s->S ? active(s, step + 1) : 0;
    range panels = panels_of(me, share, l->out.panels), rows = rows_of(share, 0, now);
    if (next) dh_product(b, step + 1, dh_done, &k, panels, rows_of(share, 0, next));
    range ending = rows_of(share, next, now);
    for (int64_t panel = panels.begin; panel < panels.end && ending.begin < ending.end; panel++)
        dh_done(&k, panel, ending.begin, ending.end - ending.begin);
    stage_done(me, share);
    if (l->P) {
        slice_step(me, share, b, slice_dh, step, rows);
        dfull_product(&k, panels_of(me, share, l->hidden.panels), rows);
        stage_done(me, share);
    }
    if (l->cell->backward2) {
        slice_step(me, share, b, slice_h2, step, rows);
        drh_product(&k, panels_of(me, share, l->hidden.panels), rows);
        stage_done(me, share);
    }
    slice_step(me, share, b, slice_h, step, rows);
}

/* Clear the words of padded units that no product of a step reaches, because the next product reads them: they are
 * multiplied by zero, but garbage may be NaN. */
static void clear_padded_words(const backward_pass *b) {
    const layout *l = &b->l;
    if (l->dots && l->panels * l->units * VL > l->hidden.padded)
        memset(b->gates_words, 0, (size_t)(l->panels * b->batch->B * l->width) * sizeof(real));
}

static void load_final_gradients(const worker *me, const backward_pass *b) {
    const layout *l = &b->l;
    const real *dh_n = b->dout->dh_n, *dc_n = b->dout->dc_n;
    range mine = pool_share(me, b->batch->B, 1);
    for (int64_t j = mine.begin; j < mine.end; j++) {
        int64_t at = sequence_of(&b->t.steps, j);
        load_row(b->dh + j * l->h_row, dh_n ? dh_n + at * l->Y : 0, l->Y, l->h_row);
        if (b->dc) load_row(b->dc + j * l->state, dc_n ? dc_n + at * l->H : 0, l->H, l->state);
    }
}

static void store_initial_gradients(const worker *me, const backward_pass *b) {
    const layout *l = &b->l;
    real *dh0 = b->din->dh0, *dc0 = b->din->dc0;
    range mine = pool_share(me, b->batch->B, 1);
    for (int64_t j = mine.begin; j < mine.end; j++) {
        int64_t at = sequence_of(&b->t.steps, j);
        memcpy(dh0 + at * l->Y, b->dh + j * l->h_row, (size_t)l->Y * sizeof(real));
        if (dc0) memcpy(dc0 + at * l->H, b->dc + j * l->state, (size_t)l->H * sizeof(real));
    }
}

void sequence_backward(const worker *me, void *context) {
    backward_pass *b = context;
    const schedule *s = &b->t.steps;
    step_share share = share_steps(me, s, b->split);
    if (me->rank == 0) clear_padded_words(b);
    load_final_gradients(me, b);
    pool_barrier(me);
    for (int64_t step = s->S - 1; step >= 0; step--) one_step(me, b, &share, step);
    dh_product(b, 0, 0, 0, panels_of(me, &share, b->l.out.panels), rows_of(&share, 0, started(s)));
    pool_barrier(me);
    store_initial_gradients(me, b);
    whole_gradients(me, b);
}

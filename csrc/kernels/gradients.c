/* The gradients that need no sweep: whole products and sums over all packed rows, once the gate buffer holds dp and dq.
 *
 *     dW = dp^T X      dR = dq^T H_prev      dx = dp W      db = sum of rows      dw_peephole = sum of da * c
 *
 * Every sum runs over rows in the packed order, whichever thread does it: the same bits for every crew. */
#include "sequence.h"

/* to[panel][i][slot] (+)= sum over rows n of a[n][i] * gates[n][slot], for `rows` packed rows from `row`. */
static void gate_product(const crew *me, const backward_pass *b, gate_group g, const real *a, int64_t a_row, int64_t K,
                         int64_t row, int64_t rows, int add, real *to) {
    const layout *l = &b->l;
    const int64_t w = group_width(l, g);
    product_args p = {.n_outer = 1,
                      .n_inner = rows,
                      .a = {a, 1, a_row, 0},
                      .vectors = (int)(w / VL),
                      .b = b->t.gates + row * l->width + group_first(l, g),
                      .b_panel = b->t.steps.N * l->width,
                      .b_row = l->width,
                      .init = add ? to : 0,
                      .init_panel = K * w,
                      .init_row = w,
                      .c = to,
                      .c_panel = K * w,
                      .c_row = w};
    part mine = share_product(me, l->panels, K);
    product(&p, mine.panels, mine.rows);
}

/* dW for token ids: each row of gradients goes to its token's row. */
static void scatter_tokens(const crew *me, const backward_pass *b) {
    const layout *l = &b->l;
    const schedule *s = &b->t.steps;
    const int64_t w = group_width(l, l->cell->x), first = group_first(l, l->cell->x);
    range panels = crew_share(me, l->panels, 1);
    for (int64_t panel = panels.begin; panel < panels.end; panel++) {
        memset(b->dW + panel * l->I * w, 0, (size_t)(l->I * w) * sizeof(real));
        for (int64_t n = 0; n < s->N; n++) {
            int64_t id = b->in->ids[source_of(s, n)];
            if (id < 0) continue;
            const real *from = b->t.gates + (panel * s->N + n) * l->width + first;
            real *to = b->dW + (panel * l->I + id) * w;
            for (int64_t i = 0; i < w; i += VL) store(to + i, load(to + i) + load(from + i));
        }
    }
}

static void input_weights(const crew *me, const backward_pass *b) {
    const real *x = b->t.x ? b->t.x : b->in->x;
    if (b->in->ids)
        scatter_tokens(me, b);
    else
        gate_product(me, b, b->l.cell->x, x, b->l.I, b->l.I, 0, b->t.steps.N, 0, b->dW);
}

/* dR: h_prev of row n is one step's rows earlier, the same distance as long as the batch does not shrink; so the sum goes
 * over runs of steps. */
static void recurrent_weights(const crew *me, const backward_pass *b) {
    const layout *l = &b->l;
    const schedule *s = &b->t.steps;
    for (int64_t begin = 0, end; begin < s->S; begin = end) {
        for (end = begin + 1; end < s->S; end++)
            if (row_before(s, end) - row_before(s, end - 1) != active(s, end - 1)) break;
        int64_t first = s->offset[begin];
        gate_product(me, b, l->cell->h, b->t.h + row_before(s, begin) * l->h_row, l->h_row, l->Y, first,
                     s->offset[end] - first, begin > 0, b->dR);
    }
    if (l->cell->h2.count) gate_product(me, b, l->cell->h2, b->t.rh, l->state, l->H, 0, s->N, 0, b->dR2);
}

/* dprojection[j] = sum over n of dh[n][j] full[n] */
static void projection_weights(const crew *me, const backward_pass *b) {
    const layout *l = &b->l;
    const int64_t w = l->hidden.vectors * VL;
    product_args p = {.n_outer = 1,
                      .n_inner = b->t.steps.N,
                      .a = {b->dh_all, 1, l->h_row, 0},
                      .vectors = l->hidden.vectors,
                      .b = b->t.full,
                      .b_panel = w,
                      .b_row = l->state,
                      .c = b->dprojection,
                      .c_panel = w,
                      .c_row = l->state};
    part mine = share_product(me, l->hidden.panels, l->P);
    product(&p, mine.panels, mine.rows);
}

/* Sums of the gate buffer's rows; within a step first, which keeps long sums accurate. */
static void biases(const crew *me, const backward_pass *b) {
    const layout *l = &b->l;
    const schedule *s = &b->t.steps;
    range panels = crew_share(me, l->panels, 1);
    for (int64_t panel = panels.begin; panel < panels.end; panel++)
        for (int64_t i = 0; i < l->width; i += VL) {
            const real *gates = b->t.gates + panel * s->N * l->width + i;
            vec sum = splat(0);
            for (int64_t step = 0; step < s->S; step++) {
                vec of_step = splat(0);
                for (int64_t n = s->offset[step]; n < s->offset[step + 1]; n++) of_step += load(gates + n * l->width);
                sum += of_step;
            }
            store(b->dbias + panel * l->width + i, sum);
        }
}

/* dw_i = sum of da_i c_prev, dw_f = sum of da_f c_prev, dw_o = sum of da_o c; LSTM's slots i f g o, one vector a panel. */
static void peepholes(const crew *me, const backward_pass *b) {
    static const int slots[3] = {0, 1, 3};
    const layout *l = &b->l;
    const schedule *s = &b->t.steps;
    range panels = crew_share(me, l->panels, 1);
    for (int64_t panel = panels.begin; panel < panels.end; panel++)
        for (int k = 0; k < 3; k++) {
            vec sum = splat(0);
            for (int64_t step = 0; step < s->S; step++) {
                const real *c = b->t.c + (k < 2 ? row_before(s, step) : row_after(s, step)) * l->state + panel * VL;
                const real *da = b->t.gates + (panel * s->N + s->offset[step]) * l->width + slots[k] * VL;
                vec of_step = splat(0);
                for (int64_t j = 0; j < active(s, step); j++)
                    of_step = fma_(load(da + j * l->width), load(c + j * l->state), of_step);
                sum += of_step;
            }
            store(b->dpeephole + k * l->state + panel * VL, sum);
        }
}

/* dx = dp W */
static void inputs(const crew *me, const backward_pass *b) {
    const layout *l = &b->l;
    const int64_t N = b->t.steps.N;
    const real *gates = b->t.gates + group_first(l, l->cell->x);
    product_args p = {.n_outer = l->panels,
                      .n_inner = group_width(l, l->cell->x),
                      .a = {gates, l->width, 1, N * l->width},
                      .b = b->packed + l->W_back};
    row_results out = {b->din->dx, l->I, b->t.steps.source, b->dx + me->rank * ROW_BLOCK * l->in.padded};
    product_to_rows(p, l->in, crew_share(me, N, TILE_ROWS_4), out);
}

static void zero_inputs_past_lengths(const crew *me, const backward_pass *b) {
    const fastrnn_batch *batch = b->batch;
    if (!batch->lengths) return;
    real *dx = b->din->dx;
    range mine = crew_share(me, batch->B, 1);
    for (int64_t at = mine.begin; at < mine.end; at++)
        for (int64_t t = batch->lengths[at]; t < batch->T; t++)
            memset(dx + (t * batch->B + at) * b->l.I, 0, (size_t)b->l.I * sizeof(real));
}

/* db[gate*H + unit] += the slot's sum, for the gates that this bias feeds. */
static void add_bias_gradient(const backward_pass *b, gate_group g, real *to) {
    const layout *l = &b->l;
    const int64_t units = l->units * VL;
    for (int64_t unit = 0; to && unit < l->H; unit++)
        for (int i = 0; i < g.count; i++)
            to[g.gate[i] * l->H + unit] += b->dbias[unit / units * l->width + (g.first + i) * units + unit % units];
}

/* Out of the packed layouts, into the caller's arrays. */
static void add_to_caller(const backward_pass *b) {
    const layout *l = &b->l;
    const cell *c = l->cell;
    add_unpacked(l, c->x, l->I, b->dW, b->grads->W);
    add_unpacked(l, c->h, l->Y, b->dR, b->grads->R);
    add_unpacked(l, c->h2, l->H, b->dR2, b->grads->R);
    add_bias_gradient(b, c->x, b->grads->b_ih);
    add_bias_gradient(b, c->h, b->grads->b_hh);
    add_bias_gradient(b, c->h2, b->grads->b_hh);
    for (int64_t j = 0; j < l->P; j++)
        add_part((real *)b->grads->projection + j * l->H, b->dprojection + j * l->state, l->H);
    for (int k = 0; c->has_peephole && k < 3; k++)
        add_part((real *)b->grads->peephole + k * l->H, b->dpeephole + k * l->state, l->H);
}

void whole_gradients(const crew *me, backward_pass *b) {
    input_weights(me, b);
    recurrent_weights(me, b);
    if (b->l.P) projection_weights(me, b);
    if (b->grads->b_ih || b->grads->b_hh) biases(me, b);
    if (b->l.cell->has_peephole) peepholes(me, b);
    if (b->din->dx) {
        zero_inputs_past_lengths(me, b);
        inputs(me, b);
    }
    crew_barrier(me);
    if (me->rank == 0) add_to_caller(b);
}

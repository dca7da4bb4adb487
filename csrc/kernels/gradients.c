/* The gradients that need no loop over time: whole products and sums over all packed rows, once the gate buffer holds dp
 * and dq.
 *
 *     dW += dp^T X      dR += dq^T H_prev      dx = dp W      db += sum of rows      dw_peephole += sum of da * c
 *
 * Every sum runs over rows in the packed order on one thread, so the bits are the same for every number of threads. */
#include "sequence.h"

/* The rows of dW or dR that a gate product adds to. The rows of one gate panel are a group. */
typedef struct {
    const backward_pass *b;
    gate_group g;
    int64_t n;      /* columns of `to` */
    real *to;       /* [G*H][n] */
    int64_t summed; /* vectors at a panel's beginning whose biases another product sums */
} gate_rows;

static real *gate_row(const void *context, int64_t panel, int64_t r) {
    const gate_rows *k = context;
    const layout *l = &k->b->l;
    const int64_t units = l->units * VL, unit = panel * units + r % units;
    return unit < l->H ? k->to + (k->g.gate[r / units] * l->H + unit) * k->n : 0;
}

/* Sum gates over rows n, for some vectors of a panel. A long sum is a sum of partial sums, which is more accurate. */
static void sum_biases(const backward_pass *b, int64_t panel, range vectors, range n) {
    const layout *l = &b->l;
    for (int64_t v = vectors.begin; v < vectors.end; v++) {
        const real *gates = b->t.gates + panel * b->t.steps.N * l->width + v * VL;
        real *to = b->dbias + panel * l->width + v * VL;
        vec sum[4] = {splat(0), splat(0), splat(0), splat(0)};
        int64_t i = n.begin;
        for (; i + 4 <= n.end; i += 4)
            for (int j = 0; j < 4; j++) sum[j] += load(gates + (i + j) * l->width);
        for (; i < n.end; i++) sum[0] += load(gates + i * l->width);
        vec all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        store(to, n.begin ? load(to) + all : all);
    }
}

/* Sum the biases of a group: slots that the input feeds, which come first, are summed with dW, the others with dR, each
 * by one thread. */
static void group_biases(const void *context, int64_t panel, range vectors, range n) {
    const gate_rows *k = context;
    const int64_t first = k->g.first * k->b->l.units;
    vectors = (range){larger(vectors.begin + first, k->summed), vectors.end + first};
    sum_biases(k->b, panel, vectors, n);
}

static int wants_biases(const backward_pass *b) { return b->grads->b_ih || b->grads->b_hh; }

static void gate_product(const worker *me, const backward_pass *b, gate_group g, outer_right x, real *to) {
    const layout *l = &b->l;
    const gate_rows rows = {b, g, x.n, to, to == b->grads->W ? 0 : l->cell->x.count * l->units};
    outer_args o = {.N = b->t.steps.N,
                    .a = b->t.gates + group_first(l, g),
                    .groups = l->panels,
                    .group = b->t.steps.N * l->width,
                    .step = l->width,
                    .columns = group_width(l, g),
                    .to = gate_row,
                    .each = wants_biases(b) ? group_biases : 0,
                    .context = &rows,
                    .x = x,
                    .dots = l->dots,
                    .sliced = l->sliced};
    outer_product(me, &o, b->outer + me->rank * OUTER_BUFFER);
}

/* Compute dW for token ids: add each row of gradients to the row of its token. */
static void scatter_tokens(const worker *me, const backward_pass *b) {
    const layout *l = &b->l;
    const schedule *s = &b->t.steps;
    const int64_t w = group_width(l, l->cell->x);
    range panels = pool_share(me, l->panels, 1);
    for (int64_t panel = panels.begin; panel < panels.end; panel++) {
        memset(b->dW + panel * l->I * w, 0, (size_t)(l->I * w) * sizeof(real));
        for (int64_t n = 0; n < s->N; n++) {
            int64_t id = b->in->ids[source_of(s, n)];
            if (id < 0) continue;
            const real *from = b->t.gates + (panel * s->N + n) * l->width;
            real *to = b->dW + (panel * l->I + id) * w;
            for (int64_t i = 0; i < w; i += VL) store(to + i, load(to + i) + load(from + i));
        }
        add_unpacked(l, l->cell->x, panel, l->I, b->dW, b->grads->W);
        for (int64_t n = 0; wants_biases(b) && n < s->N; n += K_BLOCK)
            sum_biases(b, panel, (range){0, w / VL}, (range){n, smaller(n + K_BLOCK, s->N)});
    }
}

static void weights(const worker *me, const backward_pass *b) {
    const layout *l = &b->l;
    const cell *c = l->cell;
    const tape *t = &b->t;
    if (b->in->ids)
        scatter_tokens(me, b);
    else
        gate_product(me, b, c->x, (outer_right){t->x ? t->x : b->in->x, l->I, l->I, 0}, b->grads->W);
    gate_product(me, b, c->h, (outer_right){t->h, l->h_row, l->Y, &t->steps}, b->grads->R);
    if (c->h2.count) gate_product(me, b, c->h2, (outer_right){t->rh, l->state, l->H, 0}, b->grads->R);
}

static real *projection_row(const void *context, int64_t i, int64_t r) {
    const backward_pass *b = context;
    (void)i;
    return r < b->l.P ? (real *)b->grads->projection + r * b->l.H : 0;
}

/* dprojection[j] += sum over n of dh[n][j] full[n] */
static void projection_weights(const worker *me, const backward_pass *b) {
    const layout *l = &b->l;
    outer_args o = {.N = b->t.steps.N,
                    .a = b->dh_all,
                    .groups = 1,
                    .step = l->h_row,
                    .columns = l->h_row,
                    .to = projection_row,
                    .context = b,
                    .x = {b->t.full, l->state, l->H, 0},
                    .dots = l->dots,
                    .sliced = l->sliced};
    outer_product(me, &o, b->outer + me->rank * OUTER_BUFFER);
}

/* dw_i = sum of da_i c_prev, dw_f = sum of da_f c_prev, dw_o = sum of da_o c. LSTM's slots are i f g o, one vector per
 * panel. */
static void peepholes(const worker *me, const backward_pass *b) {
    static const int slots[3] = {0, 1, 3};
    const layout *l = &b->l;
    const schedule *s = &b->t.steps;
    range panels = pool_share(me, l->panels, 1);
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

/* Round rows of dp to words: [panels][rows][group's width / 2]. */
static void round_dp(const backward_pass *b, range rows, real *to) {
    const layout *l = &b->l;
    const int64_t w = group_width(l, l->cell->x);
    for (int64_t panel = 0; panel < l->panels; panel++)
        for (int64_t n = rows.begin; n < rows.end; n++, to += w / 2)
            round_row(to, b->t.gates + (panel * b->t.steps.N + n) * l->width + group_first(l, l->cell->x), w);
}

/* Round dp of packed rows [first, first + n), and return the arguments of its product. */
static product_args over_rounded_dp(const worker *me, const backward_pass *b, int64_t first, int64_t n) {
    const layout *l = &b->l;
    const int64_t w = group_width(l, l->cell->x);
    real *words = b->dx_words + me->rank * dx_words_size(l);
    round_dp(b, run_of(first, n), words);
    return (product_args){
        .n_outer = l->panels, .n_inner = w / 2, .a = plain_left(words, w / 2, 1, n * (w / 2)), .dots = l->dots};
}

/* Slice dp of packed rows [first, first + n), and return the arguments of its product. */
static product_args over_sliced_dp(const worker *me, const backward_pass *b, int64_t first, int64_t n) {
    const layout *l = &b->l;
    const int64_t K = gates_of_group(l, l->cell->x), begin = me->rank * ROW_BLOCK;
    const word_rows rows = {b->dx_slices.words + sliced_row_at(BACKWARD_SLICES, K, begin), b->dx_slices.scales + begin, K};
    for (int64_t i = 0; i < n; i++) slice_gates(me, b, l->cell->x, l->W_back, first + i, rows, i);
    product_args p = over_slices(rows);
    p.scales = b->packed + l->W_back.scales;
    return p;
}

/* dx = dp W in products of words or slices, for some rows at a time. */
static void inputs_by_blocks(const worker *me, const backward_pass *b, row_results out) {
    const layout *l = &b->l;
    const int64_t *source = b->t.steps.source;
    const range mine = pool_share(me, b->t.steps.N, TILE_ROWS_4);
    for (int64_t first = mine.begin, n; first < mine.end; first += n) {
        n = smaller(mine.end - first, ROW_BLOCK);
        product_args p = MATRIX_UNIT && l->sliced ? over_sliced_dp(me, b, first, n) : over_rounded_dp(me, b, first, n);
        p.b = b->packed + l->W_back.at;
        out.place = source ? source + first : 0;
        out.to = (real *)b->din->dx + (source ? 0 : first * l->I);
        product_to_rows(p, l->in, run_of(0, n), out);
    }
}

/* dx = dp W */
static void inputs(const worker *me, const backward_pass *b) {
    const layout *l = &b->l;
    const int64_t N = b->t.steps.N;
    const row_results out = {b->din->dx, l->I, b->t.steps.source, b->dx + me->rank * ROW_BLOCK * l->in.padded};
    if (l->dots || l->sliced) {
        inputs_by_blocks(me, b, out);
        return;
    }
    const product_args p = {.n_outer = l->panels,
                            .n_inner = group_width(l, l->cell->x),
                            .a = plain_left(b->t.gates + group_first(l, l->cell->x), l->width, 1, N * l->width),
                            .b = b->packed + l->W_back.at};
    product_to_rows(p, l->in, pool_share(me, N, TILE_ROWS_4), out);
}

static void zero_inputs_past_lengths(const worker *me, const backward_pass *b) {
    const fastrnn_batch *batch = b->batch;
    if (!has_padding(batch)) return;
    real *dx = b->din->dx;
    range mine = pool_share(me, batch->B, 1);
    for (int64_t at = mine.begin; at < mine.end; at++)
        for (int64_t t = batch->lengths[at]; t < batch->T; t++)
            memset(dx + array_row(batch, t, at) * b->l.I, 0, (size_t)b->l.I * sizeof(real));
}

/* db[gate*H + unit] += the slot's sum, for the gates that this bias feeds. */
static void add_biases(const backward_pass *b, int64_t panel, gate_group g, real *to) {
    const layout *l = &b->l;
    const int64_t units = l->units * VL, unit = panel * units;
    for (int i = 0; to && i < g.count; i++)
        add_part(to + g.gate[i] * l->H + unit, b->dbias + panel * l->width + (g.first + i) * units,
                 smaller(units, l->H - unit));
}

static void add_to_caller(const worker *me, const backward_pass *b) {
    const layout *l = &b->l;
    const cell *c = l->cell;
    range panels = pool_share(me, l->panels, 1);
    for (int64_t panel = panels.begin; panel < panels.end; panel++) {
        add_biases(b, panel, c->x, b->grads->b_ih);
        add_biases(b, panel, c->h, b->grads->b_hh);
        add_biases(b, panel, c->h2, b->grads->b_hh);
    }
    for (int k = 0; c->has_peephole && me->rank == 0 && k < 3; k++)
        add_part((real *)b->grads->peephole + k * l->H, b->dpeephole + k * l->state, l->H);
}

void whole_gradients(const worker *me, backward_pass *b) {
    if (b->din->dx) zero_inputs_past_lengths(me, b);
    if (!b->t.steps.N) return; /* no row to sum over */
    weights(me, b);
    if (b->l.P) projection_weights(me, b);
    if (b->l.cell->has_peephole) peepholes(me, b);
    if (b->din->dx) inputs(me, b);
    pool_barrier(me);
    add_to_caller(me, b);
}

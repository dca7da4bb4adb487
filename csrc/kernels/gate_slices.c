/* The operands of dh and dx in slices (long_slices.h): rows of gates, and the weights. The weights' rows, which are the k of
 * these products, determine the factors that balance both. */
#include "sequence.h"

#ifdef FASTRNN_TILES

/* Copy a group's slots of packed row n, in the order of the gate buffer, times factors. Vectors of units past hidden.padded
 * become zero, because no product of a step reaches them: they still hold activations, which would be the largest of the
 * row. */
static void gather_gates(const backward_pass *b, gate_group g, int64_t n, const real *factors, real *to) {
    const layout *l = &b->l;
    const int64_t units = l->units * VL;
    for (int64_t panel = 0; panel < l->panels; panel++) {
        const real *from = b->t.gates + (panel * b->t.steps.N + n) * l->width + group_first(l, g);
        const int64_t reached = smaller(units, l->hidden.padded - panel * units);
        for (int slot = 0; slot < g.count; slot++, from += units)
            for (int64_t i = 0; i < units; i += VL, to += VL, factors += VL)
                store(to, i < reached ? load(from + i) * load(factors) : splat(0));
    }
}

static real *row_buffer(const worker *me, const backward_pass *b) { return b->row + me->rank * row_buffer_size(&b->l); }

static void slice_row_buffer(const real *row, word_rows to, int64_t at) {
    to.scales[at] = slice_long_row(to.words + sliced_row_at(BACKWARD_SLICES, to.K, at), row, to.K);
}

void slice_gates(const worker *me, const backward_pass *b, gate_group g, back_place weights, int64_t n, word_rows to,
                 int64_t at) {
    real *row = row_buffer(me, b);
    gather_gates(b, g, n, b->packed + weights.left_factors, row);
    slice_row_buffer(row, to, at);
}

void slice_dh(const worker *me, const backward_pass *b, int64_t n, int64_t at) {
    const real *dh = b->dh_all + n * b->l.h_row, *factors = b->packed + b->l.projection_back.left_factors;
    real *row = row_buffer(me, b);
    for (int64_t i = 0; i < b->l.P; i++) row[i] = dh[i] * factors[i];
    slice_row_buffer(row, b->dh_slices, at);
}

/* A right operand of the backward pass: K rows of n weights. */
typedef struct {
    row_of_operand row;
    const layout *l;
    gate_group g; /* for row_of_gates */
    const real *from;
    int64_t n, K;
    back_place place;
} back_operand;

static const real *row_of_gates(const void *context, int64_t k) {
    const back_operand *o = context;
    const int64_t w = group_width(o->l, o->g);
    return weights_of_slot(o->l, o->g, k / w, k % w, o->n, o->from);
}

static const real *row_of_projection(const void *context, int64_t k) {
    const back_operand *o = context;
    return o->from + k * o->n;
}

static void balance_weights(const worker *me, const back_operand *o, real *packed) {
    const range mine = pool_share(me, o->K, 1);
    for (int64_t k = mine.begin; k < mine.end; k++) {
        const balance b = balance_of(o->row(o, k), o->n);
        packed[o->place.right_factors + k] = b.right;
        packed[o->place.left_factors + k] = b.left;
    }
}

static void slice_weights(const worker *me, const back_operand *o, real *packed) {
    const range vectors = pool_share(me, o->K ? columns_of(o->n).padded / VL : 0, 1);
    for (int64_t first = vectors.begin * VL; first < vectors.end * VL; first += VL) {
        const operand_columns c = {o->row, o, packed + o->place.right_factors, first, o->n};
        slice_columns(c, o->K, packed + o->place.at + sliced_at(BACKWARD_SLICES, o->K, first, 0, 0),
                      packed + o->place.scales + first);
    }
}

void slice_layer(const worker *me, const layout *l, const fastrnn_weights *params, real *packed) {
    enum { OPERANDS = 4 };
    const cell *c = l->cell;
    const back_operand operands[OPERANDS] = {
        {row_of_gates, l, c->x, params->W, l->I, gates_of_group(l, c->x), l->W_back},
        {row_of_gates, l, c->h, params->R, l->Y, gates_of_group(l, c->h), l->R_back},
        {row_of_gates, l, c->h2, params->R, l->H, gates_of_group(l, c->h2), l->R2_back},
        {row_of_projection, l, {0}, params->projection, l->H, l->P, l->projection_back},
    };
    for (int i = 0; i < OPERANDS; i++) balance_weights(me, operands + i, packed);
    pool_barrier(me); /* a column's scale needs the factors of all its rows */
    for (int i = 0; i < OPERANDS; i++) slice_weights(me, operands + i, packed);
}

#else

void slice_gates(const worker *me, const backward_pass *b, gate_group g, back_place weights, int64_t n, word_rows to,
                 int64_t at) {
    (void)me, (void)b, (void)g, (void)weights, (void)n, (void)to, (void)at;
}
void slice_dh(const worker *me, const backward_pass *b, int64_t n, int64_t at) { (void)me, (void)b, (void)n, (void)at; }
void slice_layer(const worker *me, const layout *l, const fastrnn_weights *params, real *packed) {
    (void)me, (void)l, (void)params, (void)packed;
}

#endif

#include "layout.h"

#include "rows.h"
#include "transpose.h"

const cell *cell_of(int32_t id) {
    switch (id) {
        case FASTRNN_RNN_TANH: return &cell_rnn_tanh;
        case FASTRNN_RNN_RELU: return &cell_rnn_relu;
        case FASTRNN_GRU: return &cell_gru;
        case FASTRNN_GRU_RESET_BEFORE: return &cell_gru_reset_before;
        case FASTRNN_GRU_NO_RESET: return &cell_gru_no_reset;
        case FASTRNN_LSTM: return &cell_lstm;
        default: return &cell_lstm_peephole;
    }
}

/* Reserve room for a part. Parts begin on cache lines. */
static size_t take(size_t *end, int64_t reals) {
    size_t begin = *end;
    *end += ((size_t)reals + 15) / 16 * 16;
    return begin;
}

static void place_parts(layout *l) {
    const cell *c = l->cell;
    size_t end = 0;
    l->bias = take(&end, l->panels * l->width);
    l->peephole = take(&end, c->has_peephole ? 3 * l->state : 0);
    l->W = take(&end, l->panels * l->I * group_width(l, c->x));
    l->R = take(&end, l->panels * l->Y * group_width(l, c->h));
    l->R2 = take(&end, l->panels * l->H * group_width(l, c->h2));
    l->projection = take(&end, l->P ? l->out.padded * l->H : 0);
    l->inference_size = end;
    l->W_back = take(&end, l->in.padded * l->panels * group_width(l, c->x));
    l->R_back = take(&end, l->out.padded * l->panels * group_width(l, c->h));
    l->R2_back = take(&end, l->hidden.padded * l->panels * group_width(l, c->h2));
    l->projection_back = take(&end, l->P ? l->hidden.padded * l->P : 0);
    l->training_size = end;
}

layout layout_of(const layer_spec *layer) {
    layout l = {.cell = cell_of(layer->cell), .I = layer->I, .H = layer->H, .P = layer->P, .directions = layer->directions};
    l.Y = l.P ? l.P : l.H;
    l.in = columns_of(l.I);
    l.hidden = columns_of(l.H);
    l.out = columns_of(l.Y);
    /* A tile is at most 4 vectors wide, so a cell with few slots takes several vectors of units into a panel. */
    int64_t vectors = (l.H + VL - 1) / VL, fit = 4 / l.cell->slots;
    l.units = vectors < fit ? vectors : fit;
    l.panels = (vectors + l.units - 1) / l.units;
    l.width = l.cell->slots * l.units * VL;
    l.state = larger(l.panels * l.units * VL, l.hidden.padded);
    l.h_row = l.P ? l.out.padded : l.state;
    place_parts(&l);
    return l;
}

/* packed[panel][k][slot][unit] = from[gate*H + unit][k]; padded units are zero. */
static void pack_columns(const layout *l, gate_group g, int64_t panel, int64_t K, const real *from, real *packed) {
    const int64_t w = group_width(l, g), units = l->units * VL, unit = panel * units, here = smaller(units, l->H - unit);
    for (int slot = 0; slot < g.count; slot++) {
        real *to = packed + panel * K * w + slot * units;
        transpose(to, w, from + (g.gate[slot] * l->H + unit) * K, K, here, K);
        for (int64_t k = 0; here < units && k < K; k++) memset(to + k * w + here, 0, (size_t)(units - here) * sizeof(real));
    }
}

void add_unpacked(const layout *l, gate_group g, int64_t panel, int64_t K, const real *from, real *to) {
    const int64_t w = group_width(l, g), units = l->units * VL, unit = panel * units;
    for (int slot = 0; slot < g.count; slot++)
        add_transposed(to + (g.gate[slot] * l->H + unit) * K, K, from + panel * K * w + slot * units, w, K,
                       smaller(units, l->H - unit));
}

/* Pack the transposed product's right operand: its rows are gates in the gate buffer's order, its columns the columns of
 * `from`. */
static void pack_gate_rows(const layout *l, gate_group g, int64_t panel, columns cols, int64_t n, const real *from,
                           real *packed) {
    const int64_t w = group_width(l, g), units = l->units * VL, K = l->panels * w;
    for (int64_t i = 0; i < w; i++) {
        const int64_t unit = panel * units + i % units, row = g.gate[i / units] * l->H + unit;
        pack_row(packed, cols, K, panel * w + i, unit < l->H ? from + row * n : 0, n);
    }
}

/* Add a bias to the slots' initial values: b_ih for gates that the input product writes, b_hh for gates that a recurrent
 * product adds to. */
static void add_bias(const layout *l, gate_group g, int64_t panel, const real *bias, real *packed) {
    const int64_t units = l->units * VL, unit = panel * units;
    for (int slot = 0; bias && slot < g.count; slot++)
        add_part(packed + panel * l->width + (g.first + slot) * units, bias + g.gate[slot] * l->H + unit,
                 smaller(units, l->H - unit));
}

static void pack_projection(const layout *l, const real *projection, int training, real *packed) {
    pack_transposed(packed + l->projection, l->out, projection, l->P, l->H);
    for (int64_t k = 0; training && k < l->P; k++)
        pack_row(packed + l->projection_back, l->hidden, l->P, k, projection + k * l->H, l->H);
}

/* Pack the parts that belong to the units of one gate panel. */
static void pack_panel(const layout *l, const fastrnn_weights *params, int training, int64_t panel, real *packed) {
    const cell *c = l->cell;
    memset(packed + l->bias + panel * l->width, 0, (size_t)l->width * sizeof(real));
    add_bias(l, c->x, panel, params->b_ih, packed + l->bias);
    add_bias(l, c->h, panel, params->b_hh, packed + l->bias);
    add_bias(l, c->h2, panel, params->b_hh, packed + l->bias);
    pack_columns(l, c->x, panel, l->I, params->W, packed + l->W);
    pack_columns(l, c->h, panel, l->Y, params->R, packed + l->R);
    pack_columns(l, c->h2, panel, l->H, params->R, packed + l->R2);
    if (!training) return;
    pack_gate_rows(l, c->x, panel, l->in, l->I, params->W, packed + l->W_back);
    pack_gate_rows(l, c->h, panel, l->out, l->Y, params->R, packed + l->R_back);
    pack_gate_rows(l, c->h2, panel, l->hidden, l->H, params->R, packed + l->R2_back);
}

void pack_layer(const worker *me, const layout *l, const fastrnn_weights *params, int training, real *packed) {
    const cell *c = l->cell;
    range panels = pool_share(me, l->panels, 1);
    for (int64_t panel = panels.begin; panel < panels.end; panel++) pack_panel(l, params, training, panel, packed);
    if (me->rank) return;
    for (int k = 0; c->has_peephole && k < 3; k++)
        load_row(packed + l->peephole + k * l->state, (const real *)params->peephole + k * l->H, l->H, l->state);
    if (l->P) pack_projection(l, params->projection, training, packed);
}

#include "layout.h"

#include "packing.h"
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

/* Reserve room for a right operand of K rows and its scales. */
static size_t take_weights(size_t *end, const layout *l, int64_t columns, int64_t K, size_t *scales) {
    *scales = take(end, l->format == FASTRNN_WEIGHTS_INT8 ? columns : 0);
    if (!l->format) return take(end, columns * K);
    const int64_t bytes = columns * packed_words(l, K) * 4, real_size = sizeof(real);
    return take(end, (bytes + real_size - 1) / real_size);
}

/* Reserve room for a right operand of backward with K rows, and its scales. */
static back_place take_back(size_t *end, const layout *l, int64_t columns, int64_t K) {
    back_place p = {.at = take(end, columns * (l->sliced ? sliced_words(BACKWARD_SLICES, K) : elements_of(l, K)))};
    if (!l->sliced) return p;
    p.scales = take(end, columns);
    p.right_factors = take(end, K);
    p.left_factors = take(end, K);
    return p;
}

static void place_parts(layout *l) {
    const cell *c = l->cell;
    size_t end = 0;
    l->bias = take(&end, l->panels * l->width);
    l->peephole = take(&end, c->has_peephole ? 3 * l->state : 0);
    l->W = take_weights(&end, l, l->panels * group_width(l, c->x), l->I, &l->W_scales);
    l->R = take_weights(&end, l, l->panels * group_width(l, c->h), l->Y, &l->R_scales);
    l->R2 = take_weights(&end, l, l->panels * group_width(l, c->h2), l->H, &l->R2_scales);
    l->projection = take_weights(&end, l, l->P ? l->out.padded : 0, l->H, &l->projection_scales);
    l->inference_size = end;
    l->W_back = take_back(&end, l, l->in.padded, gates_of_group(l, c->x));
    l->R_back = take_back(&end, l, l->out.padded, gates_of_group(l, c->h));
    l->R2_back = take_back(&end, l, l->hidden.padded, gates_of_group(l, c->h2));
    l->projection_back = take_back(&end, l, l->P ? l->hidden.padded : 0, l->P);
    l->training_size = end;
}

layout layout_of(const layer_spec *layer) {
    layout l = {.cell = cell_of(layer->cell),
                .I = layer->I,
                .H = layer->H,
                .P = layer->P,
                .directions = layer->directions,
                .stored = layer->weights,
                .format = layer->weights};
    l.dots = multiplies_pairs(layer);
    l.sliced = multiplies_slices(layer, MATRIX_UNIT);
    if (l.dots) l.format = FASTRNN_WEIGHTS_BFLOAT16;
    if (l.sliced) l.format = FASTRNN_WEIGHTS_INT8; /* its words have as many rows */
    l.Y = l.P ? l.P : l.H;
    l.in = columns_of(l.I);
    l.hidden = columns_of(l.H);
    l.out = columns_of(l.Y);
    /* A tile is at most 4 vectors wide, so a panel of a cell with few slots has several vectors of units. */
    int64_t vectors = (l.H + VL - 1) / VL, fit = 4 / l.cell->slots;
    l.units = vectors < fit ? vectors : fit;
    l.panels = (vectors + l.units - 1) / l.units;
    l.width = l.cell->slots * l.units * VL;
    l.state = larger(l.panels * l.units * VL, l.hidden.padded);
    l.h_row = l.P ? l.out.padded : l.state;
    place_parts(&l);
    return l;
}

/* The rows of a right operand in torch's layout, [n][K] in the format of `rows`, and their scales or null. */
typedef struct {
    const void *rows;
    const real *scales;
} stored;

static const void *row_at(int format, const void *rows, int64_t i, int64_t K) {
    static const int64_t size[] = {sizeof(real), sizeof(uint16_t), sizeof(int8_t)};
    return (const char *)rows + i * K * size[format];
}

/* Return the word of rows k, k + 1, ... of a column (compressed.h); bits of rows past the end are zero. */
static uint32_t word_at(int format, const void *column, int64_t k, int64_t K) {
    uint32_t word = 0;
    for (int64_t i = 0; i < rows_per_word(format) && k + i < K; i++)
        word |= format == FASTRNN_WEIGHTS_INT8 ? (uint32_t)(((const uint8_t *)column)[k + i] ^ 0x80) << 8 * i
                                               : (uint32_t)((const uint16_t *)column)[k + i] << 16 * i;
    return word;
}

/* to[k / rows of a word][i] = the word of from[i][k ...] in rows of w columns, i < n */
static void pack_words(int format, uint32_t *to, int64_t w, const void *from, int64_t n, int64_t K) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < words_of(format, K); k++)
            to[k * w + i] = word_at(format, row_at(format, from, i, K), k * rows_per_word(format), K);
}

/* Slice n rows of K numbers, at most 16, and transpose them to tiles of 16 columns. scales[i] is the factor of column i.
 * What is left of the last tile of k, and columns from n on, are zero. */
static void pack_sliced_tiles(real *to, real *scales, const real *from, int64_t n, int64_t K) {
    enum { WORDS = 16 };
    real words[FORWARD_SLICES * SLICED_TILE], to_digits[16];
    for (int64_t i = 0; i < 16; i++) {
        const slice_scale scale = i < n ? scale_of_row(from + i * K, K) : (slice_scale){0, 0};
        scales[i] = scale.of_digits;
        to_digits[i] = scale.to_digits;
    }
    for (int64_t k = 0; k < K; k += 4 * WORDS, to += FORWARD_SLICES * SLICED_TILE) {
        memset(words, 0, sizeof words);
        for (int64_t i = 0; i < n; i++)
            slice_numbers(words + i * WORDS, from + i * K + k, smaller(K - k, 4 * WORDS), to_digits[i]);
        for (int i = 0; i < FORWARD_SLICES; i++)
            transpose(to + i * SLICED_TILE, 16, words + i * SLICED_TILE, WORDS, 16, WORDS);
    }
}

/* The same for columns from n to `padded`, a whole number of vectors. */
static void pack_sliced(real *to, real *scales, const real *from, int64_t n, int64_t padded, int64_t K) {
    for (int64_t i = 0; i < padded; i += 16)
        pack_sliced_tiles(to + i * sliced_words(FORWARD_SLICES, K), scales + i, from + i * K, larger(0, smaller(16, n - i)),
                          K);
}

/* Some columns of a panel of a packed right operand. */
typedef struct {
    void *to;     /* in reals, or in words if it is packed as bfloat16 or int8 */
    real *scales; /* of these columns, if they have any */
    int64_t w;    /* columns of the panel */
} packed_columns;

/* to[k][i] = from[row + i][k] in rows of w columns, i < n; columns from n to `padded` and their scales are zero. */
static void pack_block(const layout *l, packed_columns p, stored from, int64_t row, int64_t n, int64_t padded, int64_t K) {
    const void *rows = row_at(l->stored, from.rows, row, K);
    if (l->sliced) {
        pack_sliced(p.to, p.scales, rows, n, padded, K);
        return;
    }
    if (l->stored)
        pack_words(l->format, p.to, p.w, rows, n, K);
    else if (l->format)
        pack_rounded(p.to, p.w, rows, n, K);
    else
        transpose(p.to, p.w, rows, K, n, K);
    if (from.scales) load_row(p.scales, from.scales + row, n, padded);
    const int64_t size = l->format ? (int64_t)sizeof(uint32_t) : (int64_t)sizeof(real);
    for (int64_t k = 0; n < padded && k < packed_words(l, K); k++)
        memset((char *)p.to + (k * p.w + n) * size, 0, (size_t)((padded - n) * size));
}

/* Return the place of a column in a panel of `columns` columns and K rows. */
static void *packed_at(const layout *l, real *packed, int64_t panel, int64_t columns, int64_t K, int64_t column) {
    if (!l->format) return packed + panel * columns * K + column;
    return (uint32_t *)packed + panel * columns * packed_words(l, K) +
           (l->sliced ? sliced_at(FORWARD_SLICES, K, column, 0, 0) : column);
}

/* packed[panel][k][slot][unit] = from[gate*H + unit][k]; padded units are zero. The scales likewise, without k. */
static void pack_columns(const layout *l, gate_group g, int64_t panel, int64_t K, stored from, real *packed, real *scales) {
    const int64_t w = group_width(l, g), units = l->units * VL, unit = panel * units, here = smaller(units, l->H - unit);
    for (int slot = 0; slot < g.count; slot++) {
        const packed_columns p = {packed_at(l, packed, panel, w, K, slot * units), scales + panel * w + slot * units, w};
        pack_block(l, p, from, g.gate[slot] * l->H + unit, here, units, K);
    }
}

void add_unpacked(const layout *l, gate_group g, int64_t panel, int64_t K, const real *from, real *to) {
    const int64_t w = group_width(l, g), units = l->units * VL, unit = panel * units;
    for (int slot = 0; slot < g.count; slot++)
        add_transposed(to + (g.gate[slot] * l->H + unit) * K, K, from + panel * K * w + slot * units, w, K,
                       smaller(units, l->H - unit));
}

const real *weights_of_slot(const layout *l, gate_group g, int64_t panel, int64_t i, int64_t n, const real *from) {
    const int64_t units = l->units * VL, unit = panel * units + i % units;
    return unit < l->H ? from + (g.gate[i / units] * l->H + unit) * n : 0;
}

/* Pack the transposed product's right operand: its rows are gates in the gate buffer's order, its columns the columns of
 * `from`. */
static void pack_gate_rows(const layout *l, gate_group g, int64_t panel, columns cols, int64_t n, const real *from,
                           real *packed) {
    const int64_t w = group_width(l, g), K = l->panels * w;
    for (int64_t i = 0; i < w && !l->dots; i++)
        pack_row(packed, cols, K, panel * w + i, weights_of_slot(l, g, panel, i, n, from), n);
    for (int64_t i = 0; i < w && l->dots; i += 2)
        pack_pair(packed, cols, K / 2, (panel * w + i) / 2, weights_of_slot(l, g, panel, i, n, from),
                  weights_of_slot(l, g, panel, i + 1, n, from), n);
}

/* Add a bias to the slots' initial values: b_ih for gates that the input product writes, b_hh for gates that a recurrent
 * product adds to. */
static void add_bias(const layout *l, gate_group g, int64_t panel, const real *bias, real *packed) {
    const int64_t units = l->units * VL, unit = panel * units;
    for (int slot = 0; bias && slot < g.count; slot++)
        add_part(packed + panel * l->width + (g.first + slot) * units, bias + g.gate[slot] * l->H + unit,
                 smaller(units, l->H - unit));
}

static void pack_projection(const layout *l, stored projection, int training, real *packed) {
    const int64_t w = l->out.vectors * VL;
    for (int64_t panel = 0; panel < l->out.panels; panel++) {
        const packed_columns p = {packed_at(l, packed + l->projection, panel, w, l->H, 0),
                                  packed + l->projection_scales + panel * w, w};
        pack_block(l, p, projection, panel * w, smaller(w, l->P - panel * w), w, l->H);
    }
    if (training && !l->sliced) pack_rows(packed + l->projection_back.at, l->hidden, l->dots, projection.rows, l->P, l->H);
}

/* Pack the parts that belong to the units of one gate panel. */
static void pack_panel(const layout *l, const fastrnn_weights *params, int training, int64_t panel, real *packed) {
    const cell *c = l->cell;
    memset(packed + l->bias + panel * l->width, 0, (size_t)l->width * sizeof(real));
    add_bias(l, c->x, panel, params->b_ih, packed + l->bias);
    add_bias(l, c->h, panel, params->b_hh, packed + l->bias);
    add_bias(l, c->h2, panel, params->b_hh, packed + l->bias);
    pack_columns(l, c->x, panel, l->I, (stored){params->W, params->W_scales}, packed + l->W, packed + l->W_scales);
    pack_columns(l, c->h, panel, l->Y, (stored){params->R, params->R_scales}, packed + l->R, packed + l->R_scales);
    pack_columns(l, c->h2, panel, l->H, (stored){params->R, params->R_scales}, packed + l->R2, packed + l->R2_scales);
    if (!training || l->sliced) return;
    pack_gate_rows(l, c->x, panel, l->in, l->I, params->W, packed + l->W_back.at);
    pack_gate_rows(l, c->h, panel, l->out, l->Y, params->R, packed + l->R_back.at);
    pack_gate_rows(l, c->h2, panel, l->hidden, l->H, params->R, packed + l->R2_back.at);
}

void pack_layer(const worker *me, const layout *l, const fastrnn_weights *params, int training, real *packed) {
    const cell *c = l->cell;
    range panels = pool_share(me, l->panels, 1);
    for (int64_t panel = panels.begin; panel < panels.end; panel++) pack_panel(l, params, training, panel, packed);
    if (MATRIX_UNIT && training && l->sliced) slice_layer(me, l, params, packed);
    if (me->rank) return;
    for (int k = 0; c->has_peephole && k < 3; k++)
        load_row(packed + l->peephole + k * l->state, (const real *)params->peephole + k * l->H, l->H, l->state);
    if (l->P) pack_projection(l, (stored){params->projection, params->projection_scales}, training, packed);
}

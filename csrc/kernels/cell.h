/* What a cell is: which gates it has, which products feed them, and its pointwise functions.
 *
 * Gates live in the gate buffer, gates[panel][row][slot][unit]: one panel holds all slots of the same `units` vectors of
 * hidden units, so one place in memory has everything that a unit's equations need. Forward turns pre-activations into
 * activations in place; backward turns activations into the gradients of the pre-activations, in place again, where they are
 * at once the left operands of dx and dh, row by row, and of dW and dR, column by column. */
#ifndef FASTRNN_CELL_H
#define FASTRNN_CELL_H

#include "simd.h"

/* Consecutive slots that one product writes, and which of torch's gates each slot is. */
typedef struct {
    int first, count;
    int gate[4];
} gate_group;

/* One time step, seen from a pointwise function. Pointers are to row 0 of the step and of the active sequences; rows of h, c
 * and their kin are `state` reals apart. A padded unit holds zeros throughout. */
typedef struct {
    real *gates;
    int64_t panel_step, width, units; /* reals between panels and between rows; vectors of units in a panel */
    int64_t state;
    const real *peephole; /* [3][state]: i f o */
    const real *h_prev, *c_prev;
    real *h, *c; /* forward: written. LSTM's h is o tanh(c), before any projection */
    real *rh;    /* GRU with reset before: forward writes r h_prev; backward reads d(r h_prev) from it */
    real *dh;    /* backward: dL/dh_t; overwritten with what reaches h_{t-1} other than through products */
    real *dc;    /* backward: dL/dc_t without what comes through h_t; overwritten with dL/dc_{t-1} */
} step_view;

/* Do `rows` rows from `row` of `vectors` vectors of units from `vector`. */
typedef void (*pointwise)(const step_view *s, int64_t vector, int64_t vectors, int64_t row, int64_t rows);

typedef struct {
    int slots, has_c, has_peephole;
    gate_group x; /* written by the input product */
    gate_group h; /* the recurrent product adds h_prev R^T to these */
    pointwise forward, backward;
    gate_group h2;                 /* count 0, or: a second recurrent product, with rh, adds to these */
    pointwise forward2, backward2; /* run after it, and mirrored */
} cell;

extern const cell cell_rnn_tanh, cell_rnn_relu, cell_gru, cell_gru_reset_before, cell_gru_no_reset, cell_lstm,
    cell_lstm_peephole;

/* The cell of an enum fastrnn_cell. */
const cell *cell_of(int32_t id);

/* One vector of units in one row: slot k of the gates at g + k * slot; states at index i; peephole weights at index u. */
typedef struct {
    real *g;
    int64_t slot, i, u;
} place;

typedef void (*at_place)(const step_view *s, place p);

/* Inlined into each pointwise function with a constant `body`, which so becomes the body of these loops. The view is copied:
 * nothing that the body stores can change a local, so its fields stay in registers. */
INLINE void each_place(at_place body, const step_view *view, int64_t vector, int64_t vectors, int64_t row, int64_t rows) {
    const step_view s = *view;
    for (int64_t v = vector; v < vector + vectors; v++) {
        real *column = s.gates + v / s.units * s.panel_step + v % s.units * VL;
        for (int64_t r = row; r < row + rows; r++)
            body(&s, (place){column + r * s.width, s.units * VL, r * s.state + v * VL, v * VL});
    }
}

#endif

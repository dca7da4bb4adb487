/* Description of a cell: its gates, the products that feed them, and its pointwise functions.
 *
 * Gates live in the gate buffer, gates[panel][row][slot][unit]. One panel holds all slots of the same `units` vectors
 * of hidden units, so all that a unit's equations need lies together. Forward turns pre-activations into activations in
 * place. Backward turns activations into gradients of the pre-activations, again in place. Read row by row, the
 * gradients are the left operands of dx and dh. Read column by column, they are the left operands of dW and dR. */
#ifndef FASTRNN_CELL_H
#define FASTRNN_CELL_H

#include "../parallel.h"
#include "simd.h"

/* Consecutive slots that one product writes; gate[i] is torch's number of the gate in the i-th of them. */
typedef struct {
    int first, count;
    int gate[4];
} gate_group;

/* One time step as a pointwise function sees it. Pointers are to row 0 of the step and of the active sequences. Rows of
 * states, such as h and c, are `state` reals apart. A padded unit is always zero. */
typedef struct {
    real *gates;
    int64_t panel_step, width, units; /* reals between panels and between rows; vectors of units in a panel */
    int64_t state;
    const real *peephole; /* [3][state]: i f o */
    const real *h_prev, *c_prev;
    real *h, *c; /* written by forward; LSTM's h is o tanh(c), before any projection */
    real *rh;    /* GRU with reset before: forward writes r h_prev; backward reads d(r h_prev) */
    real *dh;    /* backward: dL/dh_t; overwritten with the part of dL/dh_{t-1} that bypasses the products */
    real *dc;    /* backward: dL/dc_t without the part through h_t; overwritten with dL/dc_{t-1} */
} step_view;

/* A pointwise function: it works on the vectors v of units in the rows r. (The two ranges are passed in registers. A
 * struct of both would be passed in memory, which makes a step of a small cell a tenth slower.) */
typedef void (*pointwise)(const step_view *s, range v, range r);

typedef struct {
    int slots, has_c, has_peephole;
    gate_group x; /* the input product writes these */
    gate_group h; /* the recurrent product adds h_prev R^T to these */
    pointwise forward, backward;
    gate_group h2;                 /* a second recurrent product, with rh, adds to these; count 0: there is none */
    pointwise forward2, backward2; /* forward2 runs after the second product; backward2 mirrors it */
} cell;

extern const cell cell_rnn_tanh, cell_rnn_relu, cell_gru, cell_gru_reset_before, cell_gru_no_reset, cell_lstm,
    cell_lstm_peephole;

/* Return the cell of an enum fastrnn_cell. */
const cell *cell_of(int32_t id);

/* The place of one vector of units in one row: slot k of the gates is at g + k * slot, states are at index i, peephole
 * weights at index u. */
typedef struct {
    real *g;
    int64_t slot, i, u;
} place;

typedef void (*at_place)(const step_view *s, place p);

/* Call `body` at each place. This is inlined into each pointwise function with a constant `body`, so the body is
 * compiled into the loops. The body's stores cannot change a local copy of the view, so the compiler keeps its
 * fields in registers. */
INLINE void each_place(at_place body, const step_view *view, range v, range r) {
    const step_view s = *view;
    for (int64_t i = v.begin; i < v.end; i++) {
        real *column = s.gates + i / s.units * s.panel_step + i % s.units * VL;
        for (int64_t j = r.begin; j < r.end; j++)
            body(&s, (place){column + j * s.width, s.units * VL, j * s.state + i * VL, i * VL});
    }
}

#endif

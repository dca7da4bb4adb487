/* The layout of one layer: panels of gates, strides of states, the parts of the packed weights. */
#ifndef FASTRNN_LAYOUT_H
#define FASTRNN_LAYOUT_H

#include "../layer.h"
#include "cell.h"
#include "gemm.h"

/* The offsets of a right operand of the backward pass. If it has slices (long_slices.h), it also has scales of its columns
 * and factors of its rows and of the left operand's columns. */
typedef struct {
    size_t at, scales, right_factors, left_factors;
} back_place;

typedef struct {
    const cell *cell;
    int stored; /* enum fastrnn_weight_format, of the given W, R and projection */
    int format; /* the same, of the packed W, R, R2 and projection in forward */
    int dots;   /* products are of words of bfloat16 (bfloat16.h) */
    int sliced; /* products are of slices (slices.h, long_slices.h) */
    int64_t I, H, P, Y;
    int64_t directions;           /* parts next to each other in a row of the caller's y, c, dy and dc */
    int64_t units, panels, width; /* vectors of units in a gate panel; gate panels; reals in a panel's row, all slots */
    columns in, hidden, out;      /* I, H and Y as columns of a product's result */
    int64_t state, h_row;         /* reals from row to row of arrays with width H; of h, whose width is Y */

    /* Offsets, in reals, into the packed weights. Forward: right operands whose columns are the group's slots. */
    size_t bias;                                             /* [panels][width] the initial value of each slot */
    size_t peephole;                                         /* [3][state] */
    size_t W, R, R2;                                         /* [panels][I | Y | H][group's slots]: for groups x, h, h2 */
    size_t projection;                                       /* [out.panels][H][columns of P] */
    size_t W_scales, R_scales, R2_scales, projection_scales; /* the same without the middle axis, for int8 */
    /* Backward: the gates' slots as k, in the gate buffer's order. If the products are of words or slices, so is k. */
    back_place W_back, R_back, R2_back; /* [in | out | hidden panels][panels * group's slots][columns] */
    back_place projection_back;         /* [hidden.panels][P][columns of H] */
    size_t inference_size, training_size;
} layout;

layout layout_of(const layer_spec *layer);

/* Return the number of reals in a group's slots of one panel row, and the offset of its first slot in a gate panel's row. */
static inline int64_t group_width(const layout *l, gate_group g) { return g.count * l->units * VL; }
static inline int64_t group_first(const layout *l, gate_group g) { return g.first * l->units * VL; }

/* Return the number of a group's slots in a row, over all panels. */
static inline int64_t gates_of_group(const layout *l, gate_group g) { return l->panels * group_width(l, g); }

/* Return the number of elements of a left operand: numbers or words. */
static inline int64_t elements_of(const layout *l, int64_t K) { return l->dots ? pairs_of(K) : K; }

/* Return the number of reals or words that a column of K numbers takes in a packed right operand of the forward pass. */
static inline int64_t packed_words(const layout *l, int64_t K) {
    return l->sliced ? sliced_words(FORWARD_SLICES, K) : l->format ? words_of(l->format, K) : K;
}

/* Return the row of weights [gate * H + unit][n] for column i of a group's gate panel, or null if there is none. */
const real *weights_of_slot(const layout *l, gate_group g, int64_t panel, int64_t i, int64_t n, const real *from);

/* Slice this thread's part of the backward pass's right operands; all threads call it, because it has a barrier. */
void slice_layer(const worker *me, const layout *l, const fastrnn_weights *params, real *packed);

/* Pack this thread's part of the weights; all threads call it, because it may have a barrier. */
void pack_layer(const worker *me, const layout *l, const fastrnn_weights *params, int training, real *packed);

/* to[gate*H + unit][k] += from[panel][k][slot][unit] for the gates of a group and the units of a panel: add a packed
 * gradient to one in torch's layout. */
void add_unpacked(const layout *l, gate_group g, int64_t panel, int64_t K, const real *from, real *to);

#endif

/* LSTM (Hochreiter & Schmidhuber 1997; Gers et al. 2000), slots i f g o; s() is the sigmoid:
 *
 *     (1) a_k = p_k + q_k                       k = i f g o;  p = x W^T + b_ih + b_hh,  q = h_prev R^T     (products)
 *     (2) i = s(a_i [+ w_i c_prev])    f = s(a_f [+ w_f c_prev])    g = tanh(a_g)     [peephole: Gers et al. 2002]
 *     (3) c = f c_prev + i g
 *     (4) o = s(a_o [+ w_o c])
 *     (5) h = o tanh(c)                         a projection, if any, is a separate product
 *
 * Backward, from dh and dc (the gradient of c from later steps):
 *
 *     (5) do = dh tanh(c)      dc += dh o (1 - tanh(c)^2)
 *     (4) da_o = do o (1-o)    [dc += da_o w_o]
 *     (3) df = dc c_prev       di = dc g        dg = dc i        dc_prev = dc f
 *     (2) da_i = di i (1-i)    da_f = df f (1-f)    da_g = dg (1-g^2)    [dc_prev += da_i w_i + da_f w_f]
 *     (1) dp = dq = da         dh_prev = dq R                                                              (product) */
#include "activations.h"
#include "cell.h"

INLINE void forward_with(const int peephole, const step_view *s, place p) {
    vec a_i = load(p.g), a_f = load(p.g + p.slot), a_g = load(p.g + 2 * p.slot), a_o = load(p.g + 3 * p.slot);
    vec c_prev = load(s->c_prev + p.i);
    const real *w = s->peephole + p.u;
    if (peephole) {
        a_i = fma_(load(w), c_prev, a_i);
        a_f = fma_(load(w + s->state), c_prev, a_f);
    }
    const vec x[4] = {-a_i, -a_f, a_g + a_g, -a_o};
    power e[4];
    powers(peephole ? 3 : 4, x, e);
    vec i = sigmoid_from(e[0]), f = sigmoid_from(e[1]), g = tanh_from(e[2]);
    vec c = fma_(f, c_prev, i * g);
    vec o = peephole ? sigmoid_(fma_(load(w + 2 * s->state), c, a_o)) : sigmoid_from(e[3]);
    store(p.g, i);
    store(p.g + p.slot, f);
    store(p.g + 2 * p.slot, g);
    store(p.g + 3 * p.slot, o);
    store(s->c + p.i, c);
}

/* Compute (5) in a separate pass, because the tanh of one row would wait for all of (2) to (4). */
INLINE void output_at(const step_view *s, place p) { store(s->h + p.i, load(p.g + 3 * p.slot) * tanh_(load(s->c + p.i))); }

INLINE void backward_with(const int peephole, const step_view *s, place p) {
    vec i = load(p.g), f = load(p.g + p.slot), g = load(p.g + 2 * p.slot), o = load(p.g + 3 * p.slot);
    vec c_prev = load(s->c_prev + p.i), dh = load(s->dh + p.i), dc = load(s->dc + p.i);
    vec tanh_c = tanh_(load(s->c + p.i));
    const real *w = s->peephole + p.u;
    vec da_o = dh * tanh_c * dsigmoid(o);
    dc = fma_(dh * o, dtanh(tanh_c), dc);
    if (peephole) dc = fma_(da_o, load(w + 2 * s->state), dc);
    vec da_i = dc * g * dsigmoid(i), da_f = dc * c_prev * dsigmoid(f), da_g = dc * i * dtanh(g);
    vec dc_prev = dc * f;
    if (peephole) dc_prev = fma_(da_i, load(w), fma_(da_f, load(w + s->state), dc_prev));
    store(p.g, da_i);
    store(p.g + p.slot, da_f);
    store(p.g + 2 * p.slot, da_g);
    store(p.g + 3 * p.slot, da_o);
    store(s->dc + p.i, dc_prev);
    store(s->dh + p.i, splat(0));
}

INLINE void plain_at(const step_view *s, place p) { forward_with(0, s, p); }
INLINE void peephole_at(const step_view *s, place p) { forward_with(1, s, p); }
INLINE void plain_back_at(const step_view *s, place p) { backward_with(0, s, p); }
INLINE void peephole_back_at(const step_view *s, place p) { backward_with(1, s, p); }

static void plain_forward(const step_view *s, range v, range r) {
    each_place(plain_at, s, v, r);
    each_place(output_at, s, v, r);
}
static void peephole_forward(const step_view *s, range v, range r) {
    each_place(peephole_at, s, v, r);
    each_place(output_at, s, v, r);
}
static void plain_backward(const step_view *s, range v, range r) { each_place(plain_back_at, s, v, r); }
static void peephole_backward(const step_view *s, range v, range r) { each_place(peephole_back_at, s, v, r); }

const cell cell_lstm = {.slots = 4,
                        .has_c = 1,
                        .x = {0, 4, {0, 1, 2, 3}},
                        .h = {0, 4, {0, 1, 2, 3}},
                        .forward = plain_forward,
                        .backward = plain_backward};

const cell cell_lstm_peephole = {.slots = 4,
                                 .has_c = 1,
                                 .has_peephole = 1,
                                 .x = {0, 4, {0, 1, 2, 3}},
                                 .h = {0, 4, {0, 1, 2, 3}},
                                 .forward = peephole_forward,
                                 .backward = peephole_backward};

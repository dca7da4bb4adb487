/* GRU (Cho et al. 2014) with torch's gates r z n and state update; s() is the sigmoid. There are three variants.
 *
 * Reset after the product (torch, cuDNN, Keras), slots n r z m. W feeds n r z and R feeds r z m, each one run of slots:
 *
 *     (1) r = s(p_r + q_r)    z = s(p_z + q_z)    m = q_n + b_hn        p = x W^T + b_ih, q = h_prev R^T     (products)
 *     (2) n = tanh(p_n + r m)
 *     (3) h = (1-z) n + z h_prev
 *
 *     (3) dn = dh (1-z)       dz = dh (h_prev - n)    dh_prev = dh z
 *     (2) da_n = dn (1-n^2)   dr = da_n m             dm = da_n r
 *     (1) da_r = dr r (1-r)   da_z = dz z (1-z)       dp = da_n da_r da_z,  dq = da_r da_z dm,  dh_prev += dq R
 *
 * Reset before the product (the paper), slots n r z:
 *
 *     (1) r = s(p_r + q_r)    z = s(p_z + q_z)
 *     (2) v = r h_prev        (`rh`)
 *     (3) n = tanh(p_n + v R_n^T)                                                                       (second product)
 *     (4) h = (1-z) n + z h_prev
 *
 *     (4) dn = dh (1-z)       dz = dh (h_prev - n)    dh_prev = dh z
 *     (3) da_n = dn (1-n^2)   dv = da_n R_n
 *     (2) dr = dv h_prev      dh_prev += dv r
 *     (1) da_r = dr r (1-r)   da_z = dz z (1-z)       dh_prev += (da_r da_z) (R_r R_z)
 *
 * No reset gate, slots z n: r = 1 in either variant. */
#include "activations.h"
#include "cell.h"

/* h = (1-z) n + z h_prev, written as n + z (h_prev - n) */
INLINE void new_state(const step_view *s, place p, vec z, vec n) {
    store(s->h + p.i, fma_(z, load(s->h_prev + p.i) - n, n));
}

/* Return da_n and da_z from dh. dh becomes dh z, the part that goes directly to h_prev. */
typedef struct {
    vec n, z;
} da_pair;

INLINE da_pair state_backward(const step_view *s, place p, vec z, vec n) {
    vec dh = load(s->dh + p.i), h_prev = load(s->h_prev + p.i);
    store(s->dh + p.i, dh * z);
    return (da_pair){(dh - dh * z) * dtanh(n), dh * (h_prev - n) * dsigmoid(z)};
}

/* Compute (1); store the argument of (2) in the place of n. */
INLINE void after_gates_at(const step_view *s, place p) {
    (void)s;
    const vec x[2] = {-load(p.g + p.slot), -load(p.g + 2 * p.slot)};
    power e[2];
    powers(2, x, e);
    vec r = sigmoid_from(e[0]);
    store(p.g, fma_(r, load(p.g + 3 * p.slot), load(p.g)));
    store(p.g + p.slot, r);
    store(p.g + 2 * p.slot, sigmoid_from(e[1]));
}

INLINE void after_back_at(const step_view *s, place p) {
    vec n = load(p.g), r = load(p.g + p.slot), z = load(p.g + 2 * p.slot), m = load(p.g + 3 * p.slot);
    da_pair da = state_backward(s, p, z, n);
    store(p.g, da.n);
    store(p.g + p.slot, da.n * m * dsigmoid(r));
    store(p.g + 2 * p.slot, da.z);
    store(p.g + 3 * p.slot, da.n * r);
}

INLINE void before_gates_at(const step_view *s, place p) {
    vec r = sigmoid_(load(p.g + p.slot));
    store(p.g + p.slot, r);
    store(p.g + 2 * p.slot, sigmoid_(load(p.g + 2 * p.slot)));
    store(s->rh + p.i, r * load(s->h_prev + p.i));
}

/* Compute the last two equations in a separate pass, because the tanh of one row would wait for all operations before
 * it. */
INLINE void state_at(const step_view *s, place p) {
    vec n = tanh_(load(p.g));
    store(p.g, n);
    new_state(s, p, load(p.g + 2 * p.slot), n);
}

INLINE void before_state_back_at(const step_view *s, place p) {
    da_pair da = state_backward(s, p, load(p.g + 2 * p.slot), load(p.g));
    store(p.g, da.n);
    store(p.g + 2 * p.slot, da.z);
}

INLINE void before_gates_back_at(const step_view *s, place p) {
    vec r = load(p.g + p.slot), dv = load(s->rh + p.i);
    store(p.g + p.slot, dv * load(s->h_prev + p.i) * dsigmoid(r));
    store(s->dh + p.i, fma_(dv, r, load(s->dh + p.i)));
}

INLINE void plain_at(const step_view *s, place p) {
    vec z = sigmoid_(load(p.g)), n = tanh_(load(p.g + p.slot));
    store(p.g, z);
    store(p.g + p.slot, n);
    new_state(s, p, z, n);
}

INLINE void plain_back_at(const step_view *s, place p) {
    da_pair da = state_backward(s, p, load(p.g), load(p.g + p.slot));
    store(p.g, da.z);
    store(p.g + p.slot, da.n);
}

static void after_forward(const step_view *s, range v, range r) {
    each_place(after_gates_at, s, v, r);
    each_place(state_at, s, v, r);
}
static void after_backward(const step_view *s, range v, range r) { each_place(after_back_at, s, v, r); }
static void before_gates_forward(const step_view *s, range v, range r) { each_place(before_gates_at, s, v, r); }
static void before_state_forward(const step_view *s, range v, range r) { each_place(state_at, s, v, r); }
static void before_state_backward(const step_view *s, range v, range r) { each_place(before_state_back_at, s, v, r); }
static void before_gates_backward(const step_view *s, range v, range r) { each_place(before_gates_back_at, s, v, r); }
static void plain_forward(const step_view *s, range v, range r) { each_place(plain_at, s, v, r); }
static void plain_backward(const step_view *s, range v, range r) { each_place(plain_back_at, s, v, r); }

const cell cell_gru = {
    .slots = 4, .x = {0, 3, {2, 0, 1}}, .h = {1, 3, {0, 1, 2}}, .forward = after_forward, .backward = after_backward};

const cell cell_gru_reset_before = {.slots = 3,
                                    .x = {0, 3, {2, 0, 1}},
                                    .h = {1, 2, {0, 1}},
                                    .forward = before_gates_forward,
                                    .backward = before_state_backward,
                                    .h2 = {0, 1, {2}},
                                    .forward2 = before_state_forward,
                                    .backward2 = before_gates_backward};

const cell cell_gru_no_reset = {
    .slots = 2, .x = {0, 2, {0, 1}}, .h = {0, 2, {0, 1}}, .forward = plain_forward, .backward = plain_backward};

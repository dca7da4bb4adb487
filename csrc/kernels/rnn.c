/* RNN (Elman 1990), slot h:
 *
 *     (1) a   = p + q              p = x W^T + b_ih + b_hh,  q = h_prev R^T     (products)
 *     (2) h   = f(a)               f = tanh or relu
 *
 * Backward, from dh:
 *
 *     (2) da  = dh f'(a)           from the output: 1 - h^2, or 1 where h > 0
 *     (1) dp  = dq = da            dh_prev = dq R                               (product) */
#include "activations.h"
#include "cell.h"

INLINE void forward_with(vec (*f)(vec), const step_view *s, place p) {
    vec h = f(load(p.g));
    store(p.g, h);
    store(s->h + p.i, h);
}

INLINE void backward_with(vec (*df)(vec), const step_view *s, place p) {
    vec dh = load(s->dh + p.i);
    store(p.g, dh * df(load(p.g)));
    store(s->dh + p.i, splat(0));
}

INLINE void tanh_at(const step_view *s, place p) { forward_with(tanh_, s, p); }
INLINE void relu_at(const step_view *s, place p) { forward_with(relu_, s, p); }
INLINE void dtanh_at(const step_view *s, place p) { backward_with(dtanh, s, p); }
INLINE void drelu_at(const step_view *s, place p) { backward_with(drelu, s, p); }

static void tanh_forward(const step_view *s, range v, range r) { each_place(tanh_at, s, v, r); }
static void relu_forward(const step_view *s, range v, range r) { each_place(relu_at, s, v, r); }
static void tanh_backward(const step_view *s, range v, range r) { each_place(dtanh_at, s, v, r); }
static void relu_backward(const step_view *s, range v, range r) { each_place(drelu_at, s, v, r); }

const cell cell_rnn_tanh = {
    .slots = 1, .x = {0, 1, {0}}, .h = {0, 1, {0}}, .forward = tanh_forward, .backward = tanh_backward};

const cell cell_rnn_relu = {
    .slots = 1, .x = {0, 1, {0}}, .h = {0, 1, {0}}, .forward = relu_forward, .backward = relu_backward};

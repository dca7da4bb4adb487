/* exp, sigmoid and tanh on vectors, and the derivatives of sigmoid and tanh from their outputs.
 *
 * All three use one reduction: x = k ln 2 + r with integer k and |r| <= ln(2)/2, so that e^x = 2^k (1 + p), p = e^r - 1.
 * p is computed as r + r^2 q(r); q is a minimax polynomial of degree 4 (float: error 3e-9) or 9 (double: 3e-18), fitted
 * for this file. The largest measured error is 2.6 ulp for tanh and 2.5 for sigmoid, in both types. NaN passes through. */
#ifndef FASTRNN_ACTIVATIONS_H
#define FASTRNN_ACTIVATIONS_H

#include "simd.h"

/* e^x = scale * (1 + p) */
typedef struct {
    vec scale, p;
} power;

#if FASTRNN_REAL_BITS == 64
#define ROUNDING_MAGIC 0x1.8p52 /* adding and subtracting it rounds to an integer, which the low bits of the sum hold */
#define MANTISSA_BITS 52
#define LARGEST_EXPONENT 708
#define LN2_HIGH 0x1.62e42fefa38p-1 /* short enough for k * LN2_HIGH to be exact */
#define LN2_LOW 0x1.ef35793c7673p-45
#define COEFFICIENTS                                                                                                    \
    {0.50000000000000128,    0.16666666666666699,   0.041666666666514932,  0.0083333333333071488, 0.001388888894715602, \
     0.00019841269917496851, 2.4801489785918399e-5, 2.7557216203711377e-6, 2.7631339681475346e-7, 2.5117891228788696e-8}
#else
#define ROUNDING_MAGIC 0x1.8p23f
#define MANTISSA_BITS 23
#define LARGEST_EXPONENT 87
#define LN2_HIGH 0x1.62ep-1f
#define LN2_LOW 0x1.0bfbe8p-15f
#define COEFFICIENTS {0.5f, 0.16666518f, 0.041666206f, 0.008368918f, 0.0013950539f}
#endif

/* Compute n powers in step, because the processor overlaps n short chains of operations better than one long chain. */
INLINE void powers(const int n, const vec *x, power *e) {
    static const real q[] = COEFFICIENTS;
    enum { DEGREE = sizeof q / sizeof *q - 1, MOST = 4 };
    const vec magic = splat(ROUNDING_MAGIC);
    const vec_int one = (vec_int)splat(1);
    vec shifted[MOST], r[MOST], sum[MOST];
    for (int i = 0; i < n; i++) r[i] = min_(splat(LARGEST_EXPONENT), max_(splat(-LARGEST_EXPONENT), x[i]));
    for (int i = 0; i < n; i++) shifted[i] = fma_(r[i], splat((real)1.4426950408889634), magic);
    for (int i = 0; i < n; i++) {
        vec k = shifted[i] - magic;
        r[i] = fma_(k, splat(-LN2_LOW), fma_(k, splat(-LN2_HIGH), r[i]));
        sum[i] = splat(q[DEGREE]);
    }
    for (int d = DEGREE - 1; d >= 0; d--)
        for (int i = 0; i < n; i++) sum[i] = fma_(sum[i], r[i], splat(q[d]));
    for (int i = 0; i < n; i++)
        e[i] = (power){(vec)(((vec_int)shifted[i] << MANTISSA_BITS) + one), fma_(r[i] * r[i], sum[i], r[i])};
}

INLINE power exp_parts(vec x) {
    power e;
    powers(1, &x, &e);
    return e;
}

/* sigmoid(x) = 1 / (1 + e^-x) */
INLINE vec sigmoid_from(power e) { return splat(1) / (fma_(e.scale, e.p, e.scale) + splat(1)); }
INLINE vec sigmoid_(vec x) { return sigmoid_from(exp_parts(-x)); }

/* tanh(x) = m / (m + 2), m = e^2x - 1 = scale p + (scale - 1). Near zero scale is 1, so nothing cancels. */
INLINE vec tanh_from(power e) {
    vec m = fma_(e.scale, e.p, e.scale - splat(1));
    return m / (m + splat(2));
}
INLINE vec tanh_(vec x) { return tanh_from(exp_parts(x + x)); }

/* relu(x) = max(0, x) */
INLINE vec relu_(vec x) { return max_(splat(0), x); }

/* s' = s (1 - s), t' = 1 - t^2, from the outputs s and t */
INLINE vec dsigmoid(vec s) { return s - s * s; }
INLINE vec dtanh(vec t) { return splat(1) - t * t; }
/* Return 1 where the output y of relu is positive, else 0. At 0 the derivative is 0, as in torch. */
INLINE vec drelu(vec y) { return (vec)((vec_int)splat(1) & (y > splat(0))); }

#endif

/* Products with int8 weights in integers, on processors that multiply and add four bytes at once (AVX512-VNNI).
 *
 * A row of A, whose largest magnitude is m, becomes integers q of two digits in base 256, and a scale:
 *
 *     a = scale q + error,     |error| <= scale / 2,     scale = m / LARGEST_OF_TWO
 *     q = 2^8 s_1 + s_0,     -128 <= s_i <= 127
 *
 * The weights are the words of compressed.h: four consecutive k of one column. The instruction multiplies unsigned bytes by
 * signed ones, so a weight w enters as w + 128, which flips one bit, and the sums begin at what this adds:
 *
 *     sum over k of a b = scale scale_b (2^8 S_1 + S_0),     S_i = sum over k of (w + 128) s_i - 128 sum over k of s_i
 *
 * Sums of integers are exact, so the result's bits depend on nothing but the row, the weights and K. */
#ifndef FASTRNN_INTEGERS_H
#define FASTRNN_INTEGERS_H

#include "gemm.h"

#if defined(__AVX512VNNI__) && FASTRNN_REAL_BITS == 32
enum { INTEGER_DOTS = 1 };
#else
enum { INTEGER_DOTS = 0 };
#endif

/* Compute the first rows of a product with int8 weights, and return how many they are. That is 0 if the first row is left
 * to float32: if it has a number that is not finite, or one beside which 16 bits hold too little of the others. */
int64_t integer_rows(const product_args *p, range panels, range rows);

#endif

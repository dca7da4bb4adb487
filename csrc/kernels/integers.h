/* Products with int8 weights in integers.
 *
 * A row of A, whose largest magnitude is m, becomes integers q of 16 bits and a scale:
 *
 *     a = scale q + error,     |error| <= scale / 2,     scale = m / LARGEST_SIXTEEN
 *     sum over k of a b = scale scale_b sum over k of q w
 *
 * The weights are the words of compressed.h: w + 128 of four consecutive k of one column. What 128 adds to a sum depends on
 * A alone, so it is taken out at the end:
 *
 *     sum of q w = sum of q (w + 128) - 128 sum of q
 *
 * A word of A takes one of two forms:
 *
 * - Pairs, for the instruction PMADDWD, which multiplies 16 bits by 16 and adds two products: (q_0, q_2) and (q_1, q_3). A
 *   mask and a shift turn a word of weights into pairs like these. Bytes with signs would take three shifts, and few of a
 *   processor's units shift.
 * - Digits in base 256, for VPDPBUSD, which multiplies unsigned bytes by signed ones and adds four products to a sum:
 *   q = 2^8 s_1 + s_0 with -128 <= s_i <= 127. So sum of q w = 2^8 S_1 + S_0, S_i = sum of s_i w. SDOT does the same with
 *   signed bytes, so there the 128 is taken out of the weights at once.
 *
 * Sums of integers are exact, so they depend neither on the order of k nor on the ISA. Only the scaling is in float32. */
#ifndef FASTRNN_INTEGERS_H
#define FASTRNN_INTEGERS_H

#include "gemm.h"

/* Compute a product with int8 weights for the first rows, up to one that 16 bits hold too coarsely, and return how many they
 * are. A row is left to float32 if it has a number that is not finite, if more than half of its numbers are far below the
 * largest, or if that one is outside 2^-110..2^88. */
int64_t multiply_in_integers(const product_args *p, range panels, range rows);

#endif

/* Products of bfloat16 numbers, summed in float32.
 *
 * A word of 32 bits holds two consecutive elements of k as bfloat16, the first in the lower half: of one row of a left
 * operand, or of one column of a right operand (compressed.h). Words are stored in arrays of `real`, one for each number
 * of that size, because a product of words runs over k as a product of floats does:
 *
 *     C[r][v] = init[r][v] + sum over words k of A[r][k].first B[k][v].first + A[r][k].second B[k][v].second
 *
 * A product of two bfloat16 numbers is exact in float32. Denormals count as zero. */
#ifndef FASTRNN_BFLOAT16_H
#define FASTRNN_BFLOAT16_H

#include "compressed.h"

/* Return the number of words for K elements; a missing last element is zero. */
INLINE int64_t pairs_of(int64_t K) { return (K + 1) / 2; }

/* Return a word in all lanes. A word is no number, so it must not pass through arithmetic of `real`. */
INLINE vec splat_word(const real *p) {
    lane_int word;
    memcpy(&word, p, sizeof word);
    return (vec)(word - (vec_int){0});
}

/* Return a float's upper half, rounded to nearest, ties to even; NaN stays NaN. */
INLINE uint32_t bfloat16_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return bits >> 16 | 0x40;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

#if FASTRNN_REAL_BITS == 32

/* dot_(a, b, c) = c + a.first b.first + a.second b.second. The instruction adds the second product first and rounds each
 * sum, so the other form has the same bits. */
#ifdef __AVX512BF16__
enum { FAST_DOTS = 1 };
INLINE vec dot_(vec a, vec b, vec c) { return (vec)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b); }
/* Return VL rounded numbers as VL/2 words. */
INLINE void store_words(real *to, vec v) { _mm256_storeu_si256((void *)to, (__m256i)_mm512_cvtneps_pbh((__m512)v)); }
#else
enum { FAST_DOTS = 0 };
INLINE vec dot_(vec a, vec b, vec c) {
    enum { WORD = FASTRNN_WEIGHTS_BFLOAT16 };
    c = fma_(row_of_words(WORD, (words)a, 1), row_of_words(WORD, (words)b, 1), c);
    return fma_(row_of_words(WORD, (words)a, 0), row_of_words(WORD, (words)b, 0), c);
}
INLINE void store_words(real *to, vec v) {
    uint32_t word[VL / 2];
    for (int i = 0; i < VL / 2; i++) word[i] = bfloat16_of(v[2 * i]) | bfloat16_of(v[2 * i + 1]) << 16;
    memcpy(to, word, sizeof word);
}
#endif

#else /* float64 stacks have no such products */

enum { FAST_DOTS = 0 };
INLINE vec dot_(vec a, vec b, vec c) { return fma_(a, b, c); }
INLINE void store_words(real *to, vec v) { memcpy(to, &v, sizeof v / 2); }

#endif

/* Round a row of n numbers to pairs_of(n) words. */
INLINE void round_row(real *to, const real *from, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL, to += VL / 2) store_words(to, load(from + i));
    if (i == n) return;
    real last[VL / 2];
    store_words(last, load_first(from + i, n - i));
    memcpy(to, last, (size_t)pairs_of(n - i) * sizeof(real));
}

#endif

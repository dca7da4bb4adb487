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

/* Products of words run on a matrix unit (matrix.h). */
#ifdef FASTRNN_TILES
enum { MATRIX_UNIT = 1 };
#else
enum { MATRIX_UNIT = 0 };
#endif

/* Return the number of words for K elements; a missing last element is zero. */
INLINE int64_t pairs_of(int64_t K) { return (K + 1) / 2; }

/* Return a word in all lanes. A word is no number, so it must not pass through arithmetic of `real`. */
INLINE vec splat_word(const real *p) {
    lane_int word;
    memcpy(&word, p, sizeof word);
    return (vec)(word - (vec_int){0});
}

#if FASTRNN_REAL_BITS == 32

/* Round to the upper half of each lane; the lower half is zero. Denormals become zero, as the instruction makes them. */
INLINE words rounded_up(vec v) {
    const words bits = (words)v, nan = (words)((bits & 0x7fffffffu) > 0x7f800000u);
    const words normal = (words)((bits & 0x7f800000u) != 0u) | 0x80000000u;
    return ((nan & (bits | 0x400000u)) | (~nan & (bits + 0x7fffu + (bits >> 16 & 1u)))) & normal & 0xffff0000u;
}

/* dot_(a, b, c) = c + a.first b.first + a.second b.second. The instruction adds the second product first and rounds each
 * sum, so the other form has the same bits. pair_words returns VL words, from VL first elements and VL second ones.
 * store_words stores VL consecutive elements as VL/2 words. Rounding goes to nearest, ties to even; NaN stays NaN. */
#ifdef __AVX512BF16__

enum { FAST_DOTS = 1 };
INLINE vec dot_(vec a, vec b, vec c) { return (vec)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b); }
INLINE vec pair_words(vec first, vec second) {
    const __m512i one_after_the_other = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
    const words lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return (vec)_mm512_permutexvar_epi16((__m512i)(lanes | (lanes + (uint32_t)VL) << 16), one_after_the_other);
}
INLINE void store_words(real *to, vec v) { _mm256_storeu_si256((void *)to, (__m256i)_mm512_cvtneps_pbh((__m512)v)); }

#else

enum { FAST_DOTS = 0 };
INLINE vec dot_(vec a, vec b, vec c) {
    enum { WORD = FASTRNN_WEIGHTS_BFLOAT16 };
    c = fma_(row_of_words(WORD, (words)a, 1), row_of_words(WORD, (words)b, 1), c);
    return fma_(row_of_words(WORD, (words)a, 0), row_of_words(WORD, (words)b, 0), c);
}
INLINE vec pair_words(vec first, vec second) { return (vec)(rounded_up(first) >> 16 | rounded_up(second)); }
INLINE void store_words(real *to, vec v) {
    const words upper = rounded_up(v);
    uint32_t word[VL / 2];
    for (int i = 0; i < VL / 2; i++) word[i] = upper[2 * i] >> 16 | upper[2 * i + 1];
    memcpy(to, word, sizeof word);
}

#endif
#else /* float64 stacks have no such products */

enum { FAST_DOTS = 0 };
INLINE vec dot_(vec a, vec b, vec c) { return fma_(a, b, c); }
INLINE vec pair_words(vec first, vec second) { return first + second; }
INLINE void store_words(real *to, vec v) { memcpy(to, &v, sizeof v / 2); }

#endif

/* Round a row of n numbers to pairs_of(n) words. */
INLINE void round_row(real *to, const real *from, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL, to += VL / 2) store_words(to, load(from + i));
    if (i == n) return;
    real words[VL / 2];
    store_words(words, load_first(from + i, n - i));
    memcpy(to, words, (size_t)pairs_of(n - i) * sizeof(real));
}

/* Load lanes of a row of n numbers from `at` on; past its end, and if there is no row, they are zero. */
INLINE vec load_within(const real *row, int64_t at, int64_t n) {
    if (!row || at >= n) return splat(0);
    return n - at < VL ? load_first(row + at, n - at) : load(row + at);
}

/* Round two rows of n numbers to one row of words, with zeros from n to `padded`, a whole number of vectors. A row may be
 * null. */
INLINE void round_pair(real *to, const real *first, const real *second, int64_t n, int64_t padded) {
    for (int64_t i = 0; i < padded; i += VL) store(to + i, pair_words(load_within(first, i, n), load_within(second, i, n)));
}

#endif

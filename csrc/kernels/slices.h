/* Numbers as digits in base 256, for products of float32 accuracy on a matrix unit (matrix.h).
 *
 * Here they have three digits, for the forward pass; long_slices.h has four, for the backward pass. A row of numbers, or a
 * column of weights, whose largest magnitude is m becomes integers q of 24 bits and a scale:
 *
 *     v = scale q + error,     |error| <= scale / 2,     scale = m / LARGEST_SLICED
 *     q = s_0 2^16 + s_1 2^8 + s_2,     -128 <= s_i <= 127
 *
 * Slice i of a row holds its digits s_i as int8, four consecutive elements to a word. Both operands lie as tiles, so that
 * each is read in one stream, whatever the number of slices:
 *
 *     A[row / 16][k / 64][slice][16 rows][16 words]     B[panel][vector of columns][k / 64][slice][16 words][16 columns]
 *
 * Digits past the end are zero in B, so those of A do not matter. The product of two rows is a sum of nine products of
 * slices. They are exact in integers, so only the numbers themselves have been rounded. S_3 is about as large as the error
 * of that, and S_4 far smaller, so they may be left out (D. Mukunoki et al., DGEMM using Tensor Cores, ISC 2020, slices
 * floats likewise):
 *
 *     sum over k of a b = scale_a scale_b (2^32 S_0 + 2^24 S_1 + 2^16 S_2 + 2^8 S_3 + S_4)
 *     S_n = sum over k and i + j = n of a_i b_j */
#ifndef FASTRNN_SLICES_H
#define FASTRNN_SLICES_H

#include "bfloat16.h"

enum { FORWARD_SLICES = 3, BACKWARD_SLICES = 4 };

/* The words of a tile of one slice. */
enum { SLICED_TILE = 256 };

/* Just below the largest number of three digits, because a number is rounded after it is scaled. */
enum { LARGEST_SLICED = 8355700 };

/* Return the number of words for K elements, and of tiles, which have 16 words. */
INLINE int64_t quads_of(int64_t K) { return (K + 3) / 4; }
INLINE int64_t sliced_tiles(int64_t K) { return (K + 63) / 64; }

/* Return the words of K elements of a row or column. */
INLINE int64_t sliced_words(int slices, int64_t K) { return slices * 16 * sliced_tiles(K); }

/* Return the place of the first word of a row of a left operand, and of a word of a column of a panel. */
INLINE int64_t sliced_row_at(int slices, int64_t K, int64_t row) {
    return row / 16 * 16 * sliced_words(slices, K) + row % 16 * 16;
}
INLINE int64_t sliced_at(int slices, int64_t K, int64_t column, int64_t k, int slice) {
    return column / 16 * 16 * sliced_words(slices, K) + ((k / 16 * slices + slice) * 16 + k % 16) * 16 + column % 16;
}

/* The factors by which numbers become q, and by which s_0 + s_1 / 2^8 + s_2 / 2^16 becomes a number. */
typedef struct {
    real to_digits, of_digits;
} slice_scale;

/* Return the largest magnitude of a row, or NaN if a number is not finite. */
INLINE real largest_magnitude(const real *from, int64_t n) {
    vec largest = splat(0), zero = splat(0);
    for (int64_t i = 0; i < n; i += VL) {
        const vec v = load_within(from, i, n);
        largest = max_(largest, max_(v, -v));
        zero += v * splat(0); /* NaN for infinity too */
    }
    real m = 0, bad = 0;
    for (int i = 0; i < VL; i++) m = largest[i] > m ? largest[i] : m;
    for (int i = 0; i < VL; i++) bad += zero[i];
    return m + bad;
}

#if FASTRNN_REAL_BITS == 32

typedef int8_t digits __attribute__((vector_size(VL)));

/* A row with a number that is not finite has NaN for a factor, and so have all its products. The products of a row of
 * numbers below 2^-100 are zero. */
INLINE slice_scale scale_of_row(const real *from, int64_t n) {
    const real m = largest_magnitude(from, n);
    if (m != m) return (slice_scale){0, m};
    if (m < 0x1p-100f) return (slice_scale){0, 0};
    return (slice_scale){LARGEST_SLICED / m, m * (0x1p16f / LARGEST_SLICED)};
}

/* Return v rounded to integers; a half goes away from zero. |v| < 2^23. */
INLINE ints nearest(vec v) {
    const vec half = (vec)(((words)v & 0x80000000u) | (words)splat(0.5f));
    return __builtin_convertvector(v + half, ints);
}

/* Store the digits of n numbers in a row of a left operand, and zeros up to a whole vector. */
INLINE void slice_numbers(real *to, const real *from, int64_t n, real to_digits) {
    for (int64_t at = 0; at < n; at += VL) {
        const ints q = nearest(load_within(from, at, n) * splat(to_digits)) + 0x808080;
        for (int i = 0; i < FORWARD_SLICES; i++) {
            const digits slice = __builtin_convertvector((q >> (16 - 8 * i) & 0xff) - 128, digits);
            memcpy(to + (at / 64 * FORWARD_SLICES + i) * SLICED_TILE + at % 64 / 4, &slice, sizeof slice);
        }
    }
}

/* Slice a row of a left operand and return its factor. */
INLINE real slice_row(real *to, const real *from, int64_t n) {
    const slice_scale scale = scale_of_row(from, n);
    slice_numbers(to, from, n, scale.to_digits);
    return scale.of_digits;
}

#else /* float64 stacks have no such products */

INLINE slice_scale scale_of_row(const real *from, int64_t n) {
    (void)from, (void)n;
    return (slice_scale){0, 0};
}
INLINE void slice_numbers(real *to, const real *from, int64_t n, real to_digits) {
    (void)to, (void)from, (void)n, (void)to_digits;
}
INLINE real slice_row(real *to, const real *from, int64_t n) {
    (void)to, (void)from, (void)n;
    return 0;
}

#endif
#endif

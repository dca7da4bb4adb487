/* Numbers as four digits in base 256 (slices.h), for the backward pass.
 *
 * A row or column whose largest magnitude is from 2^E to 2^(E+1) becomes integers q of 31 bits:
 *
 *     v = 2^(E-29) q + error,     q = s_0 2^24 + s_1 2^16 + s_2 2^8 + s_3,     |s_0| <= 64, -128 <= s_1, s_2, s_3 <= 127
 *     sum over k of a b = 2^(E_a - 5 + E_b - 5) (S_0 + S_1 / 2^8 + S_2 / 2^16 + S_3 / 2^24 + ...)
 *
 * S_4 and what follows are left out. A number of at least 1/64 of the largest keeps all 24 bits of a float. Smaller ones
 * have an error of up to 2^-29 of the largest, where three digits have 2^-24.
 *
 * Large numbers of one operand may meet small ones of the other. So operands are balanced: row k of the right one is divided
 * by a power of two that makes its largest magnitude 1 to 2, and column k of the left one is multiplied by it. Then each
 * number of the left operand is about as large as the largest product in which it is, and needs no more bits than that.
 *
 * Both operands lie as slices.h has them, but the four elements of a word are 16 apart: word w of a tile has k = w, w + 16,
 * w + 32 and w + 48 of its 64. So the words of a row are made of whole vectors of 16. */
#ifndef FASTRNN_LONG_SLICES_H
#define FASTRNN_LONG_SLICES_H

#include "slices.h"

/* A function that returns row k of an operand; null: zeros. */
typedef const real *(*row_of_operand)(const void *context, int64_t k);

/* Rows at a fixed distance, and that function for them. */
typedef struct {
    const real *from;
    int64_t step;
} strided_rows;

static inline const real *strided_row(const void *context, int64_t k) {
    const strided_rows *rows = context;
    return rows->from + k * rows->step;
}

/* The factors of row k of a right operand and of column k of a left one. */
typedef struct {
    real right, left;
} balance;

/* Rows of an operand, from column `first` on, times factors[k]. */
typedef struct {
    row_of_operand row;
    const void *context;
    const real *factors;
    int64_t first, n; /* columns from n on are zero */
} operand_columns;

#if FASTRNN_REAL_BITS == 32

/* Balance a row of n numbers. A row of zeros or denormals has no part in the sum. If a number is not finite, no sum is. */
INLINE balance balance_of(const real *row, int64_t n) {
    const real m = largest_magnitude(row, n);
    balance b = {m, m};
    if (m != m) return b;
    int32_t bits;
    memcpy(&bits, &m, sizeof bits);
    const int32_t exponent = bits >> 23, factors[2] = {(254 - exponent) << 23, exponent << 23};
    if (!exponent) return (balance){0, 0};
    memcpy(&b, factors, sizeof b);
    return b;
}

/* to_digits turn v into q; they are two factors because one may be too large for a float. of_digits turns s_0 + s_1 / 2^8 +
 * ... into a number. Each lane belongs to a row or column. */
typedef struct {
    vec to_digits[2], of_digits;
} long_scale;

/* Return 2^n, or 0 in lanes that are not `wanted`. */
INLINE vec power(ints n, ints wanted) { return (vec)((n + 127) << 23 & wanted); }

/* Return the factors for these largest magnitudes. One below 2^-121 counts as zero, because its factor would be denormal,
 * and one that is not finite gives NaN. */
INLINE long_scale long_scale_of(vec m) {
    const ints E = ((ints)m >> 23) - 127, wanted = E > -127, bits = 29 - E, half = bits >> 1;
    return (long_scale){{power(half, wanted), power(bits - half, wanted)}, power(E, wanted) * splat(0x1p-5f) + m * splat(0)};
}

/* Store the digits of four vectors: slice i at to + i * step, with byte j of each word from v[j]. */
INLINE void store_long_slices(real *to, int64_t step, const vec v[4], const long_scale *s) {
    words d[4]; /* the bytes of each lane are digits, s_3 first */
    for (int j = 0; j < 4; j++) {
        const ints q = __builtin_convertvector(v[j] * s->to_digits[0] * s->to_digits[1], ints);
        d[j] = ((words)q + 0x80808080u) ^ 0x80808080u;
    }
    for (int odd = 0; odd < 2; odd++) {
        const words low = (d[0] >> 8 * odd & 0xff00ffu) | (d[1] >> 8 * odd & 0xff00ffu) << 8;
        const words high = (d[2] >> 8 * odd & 0xff00ffu) | (d[3] >> 8 * odd & 0xff00ffu) << 8;
        store(to + (3 - odd) * step, (vec)((low & 0xffffu) | high << 16));
        store(to + (1 - odd) * step, (vec)(low >> 16 | (high & 0xffff0000u)));
    }
}

/* Slice a balanced row of a left operand and return its factor. */
INLINE real slice_long_row(real *to, const real *from, int64_t n) {
    const long_scale scale = long_scale_of(splat(largest_magnitude(from, n)));
    for (int64_t k = 0; k < n; k += 64, to += BACKWARD_SLICES * SLICED_TILE) {
        vec v[4];
        for (int j = 0; j < 4; j++) v[j] = load_within(from, k + 16 * j, n);
        store_long_slices(to, SLICED_TILE, v, &scale);
    }
    return scale.of_digits[0];
}

INLINE vec balanced(const operand_columns *c, int64_t k) {
    return load_within(c->row(c->context, k), c->first, c->n) * splat(c->factors[k]);
}

INLINE vec largest_of_columns(const operand_columns *c, int64_t K) {
    vec largest = splat(0), zero = splat(0);
    for (int64_t k = 0; k < K; k++) {
        const vec v = balanced(c, k);
        largest = max_(largest, max_(v, -v));
        zero += v * splat(0);
    }
    return largest + zero;
}

/* Slice a vector of columns of K rows as one of a right operand. */
INLINE void slice_columns(operand_columns c, int64_t K, real *to, real *scales) {
    const long_scale scale = long_scale_of(largest_of_columns(&c, K));
    store(scales, scale.of_digits);
    for (int64_t tile = 0; tile < K; tile += 64, to += BACKWARD_SLICES * SLICED_TILE)
        for (int64_t w = 0; w < 16; w++) {
            vec v[4];
            for (int64_t j = 0, k = tile + w; j < 4; j++, k += 16) v[j] = k < K ? balanced(&c, k) : splat(0);
            store_long_slices(to + w * 16, SLICED_TILE, v, &scale);
        }
}

#else /* float64 stacks have no such products */

INLINE balance balance_of(const real *row, int64_t n) {
    (void)row, (void)n;
    return (balance){0, 0};
}
INLINE void slice_columns(operand_columns c, int64_t K, real *to, real *scales) { (void)c, (void)K, (void)to, (void)scales; }

#endif
#endif

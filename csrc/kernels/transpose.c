#include "transpose.h"

#include "../parallel.h"
#include "rows.h"

typedef real quad __attribute__((vector_size(4 * sizeof(real))));
typedef real quad_unaligned __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));

/* low = a0 b0 a1 b1, high = a2 b2 a3 b3. Clang and GCC each have a builtin that the other, or an older version, lacks.
 * The operands are pointers because passing four doubles by value would depend on the ABI. */
#ifdef __clang__
INLINE void zip(quad *low, quad *high, const quad *a, const quad *b) {
    *low = __builtin_shufflevector(*a, *b, 0, 4, 1, 5);
    *high = __builtin_shufflevector(*a, *b, 2, 6, 3, 7);
}
#else
typedef lane_int quad_int __attribute__((vector_size(4 * sizeof(real))));
INLINE void zip(quad *low, quad *high, const quad *a, const quad *b) {
    *low = __builtin_shuffle(*a, *b, (quad_int){0, 4, 1, 5});
    *high = __builtin_shuffle(*a, *b, (quad_int){2, 6, 3, 7});
}
#endif

INLINE void square(real *to, int64_t to_row, const real *from, int64_t from_row, const int add) {
    quad in[4], half[4], out[4];
    for (int r = 0; r < 4; r++) in[r] = *(const quad_unaligned *)(from + r * from_row);
    zip(&half[0], &half[1], &in[0], &in[2]);
    zip(&half[2], &half[3], &in[1], &in[3]);
    zip(&out[0], &out[1], &half[0], &half[2]);
    zip(&out[2], &out[3], &half[1], &half[3]);
    for (int c = 0; c < 4; c++) {
        quad_unaligned *p = (quad_unaligned *)(to + c * to_row);
        if (add) out[c] += *p;
        *p = out[c];
    }
}

INLINE void one(real *to, const real *from, const int add) {
    if (add)
        *to += *from;
    else
        *to = *from; /* without arithmetic: it may be a word (bfloat16.h) */
}

INLINE void by_squares(real *to, int64_t to_row, const real *from, int64_t from_row, range rows, range columns,
                       const int add) {
    int64_t r = rows.begin;
    for (; r + 4 <= rows.end; r += 4) {
        int64_t c = columns.begin;
        for (; c + 4 <= columns.end; c += 4) square(to + c * to_row + r, to_row, from + r * from_row + c, from_row, add);
        for (; c < columns.end; c++)
            for (int i = 0; i < 4; i++) one(to + c * to_row + r + i, from + (r + i) * from_row + c, add);
    }
    for (; r < rows.end; r++)
        for (int64_t c = columns.begin; c < columns.end; c++) one(to + c * to_row + r, from + r * from_row + c, add);
}

/* Transpose by blocks, whose cache lines on both sides stay in the first-level cache even if rows are a power of two
 * apart. */
INLINE void by_blocks(real *to, int64_t to_row, const real *from, int64_t from_row, int64_t rows, int64_t columns,
                      const int add) {
    enum { BLOCK = 16 };
    for (int64_t c = 0; c < columns; c += BLOCK)
        for (int64_t r = 0; r < rows; r += BLOCK)
            by_squares(to, to_row, from, from_row, (range){r, smaller(r + BLOCK, rows)},
                       (range){c, smaller(c + BLOCK, columns)}, add);
}

void transpose(real *to, int64_t to_row, const real *from, int64_t from_row, int64_t rows, int64_t columns) {
    by_blocks(to, to_row, from, from_row, rows, columns, 0);
}

void add_transposed(real *to, int64_t to_row, const real *from, int64_t from_row, int64_t rows, int64_t columns) {
    by_blocks(to, to_row, from, from_row, rows, columns, 1);
}

/* Small helpers that several files need: arrays from an arena, rows with padding, the smaller and the larger of two
 * numbers. */
#ifndef FASTRNN_ROWS_H
#define FASTRNN_ROWS_H

#include <stddef.h>

#include "../arena.h"
#include "simd.h"

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static inline real *arena_reals(arena *a, int64_t n) { return arena_take(a, (size_t)n * sizeof(real)); }

/* to[0..padded) = from[0..n), then zeros; a null `from` means zeros. */
static inline void load_row(real *to, const real *from, int64_t n, int64_t padded) {
    if (from)
        memcpy(to, from, (size_t)n * sizeof(real));
    else
        n = 0;
    memset(to + n, 0, (size_t)(padded - n) * sizeof(real));
}
/* to[i] += from[i], i < n */
static inline void add_part(real *to, const real *from, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) store(to + i, load(to + i) + load(from + i));
    for (; i < n; i++) to[i] += from[i];
}

#endif

/* One vector type, `vec`, of VL lanes of `real`, by GCC's vector extensions: + - * / and comparisons are the compiler's.
 * Only operations that the extensions lack or compile badly are written per instruction set: fma_, min_, max_.
 *
 * The build defines FASTRNN_REAL (float or double) and FASTRNN_VECTOR_BYTES, and forbids contraction
 * (-ffp-contract=off). A product and a sum become one fma only where `fma_` is written, in every copy of an expression.
 * So equal inputs give equal bits in every tile and on every thread. */
#ifndef FASTRNN_SIMD_H
#define FASTRNN_SIMD_H

#include <stdint.h>
#include <string.h>

#include "names.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef FASTRNN_REAL real;
enum { VL = FASTRNN_VECTOR_BYTES / sizeof(real) };

#define INLINE static inline __attribute__((always_inline))

typedef real vec __attribute__((vector_size(FASTRNN_VECTOR_BYTES)));
typedef real vec_unaligned __attribute__((vector_size(FASTRNN_VECTOR_BYTES), aligned(sizeof(real)), may_alias));
#if FASTRNN_REAL_BITS == 64
typedef int64_t lane_int;
#else
typedef int32_t lane_int;
#endif
typedef lane_int vec_int __attribute__((vector_size(FASTRNN_VECTOR_BYTES)));

INLINE vec load(const real *p) { return *(const vec_unaligned *)p; }
INLINE void store(real *p, vec v) { *(vec_unaligned *)p = v; }
/* a - 0 is a for every a, -0 and NaN included, so the compiler drops the subtraction. */
INLINE vec splat(real a) { return a - (vec){0}; }

/* Load the first n lanes, n < VL; the others are zero. */
INLINE vec load_first(const real *p, int64_t n) {
    vec v = {0};
    memcpy(&v, p, (size_t)n * sizeof(real));
    return v;
}

/* fma_(a, b, c) = a b + c, rounded once if the processor can do so. min_ and max_ return the SECOND operand if either is
 * NaN. */
#if defined(__AVX512F__)
#if FASTRNN_REAL_BITS == 64
INLINE vec fma_(vec a, vec b, vec c) { return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
INLINE vec min_(vec a, vec b) { return (vec)_mm512_min_pd((__m512d)a, (__m512d)b); }
INLINE vec max_(vec a, vec b) { return (vec)_mm512_max_pd((__m512d)a, (__m512d)b); }
#else
INLINE vec fma_(vec a, vec b, vec c) { return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
INLINE vec min_(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE vec max_(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
#endif
#elif defined(__AVX2__) && defined(__FMA__) && FASTRNN_VECTOR_BYTES == 32
#if FASTRNN_REAL_BITS == 64
INLINE vec fma_(vec a, vec b, vec c) { return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
INLINE vec min_(vec a, vec b) { return (vec)_mm256_min_pd((__m256d)a, (__m256d)b); }
INLINE vec max_(vec a, vec b) { return (vec)_mm256_max_pd((__m256d)a, (__m256d)b); }
#else
INLINE vec fma_(vec a, vec b, vec c) { return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
INLINE vec min_(vec a, vec b) { return (vec)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE vec max_(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
#endif
#elif defined(__x86_64__) && FASTRNN_VECTOR_BYTES == 16
INLINE vec fma_(vec a, vec b, vec c) { return a * b + c; }
#if FASTRNN_REAL_BITS == 64
INLINE vec min_(vec a, vec b) { return (vec)_mm_min_pd((__m128d)a, (__m128d)b); }
INLINE vec max_(vec a, vec b) { return (vec)_mm_max_pd((__m128d)a, (__m128d)b); }
#else
INLINE vec min_(vec a, vec b) { return (vec)_mm_min_ps((__m128)a, (__m128)b); }
INLINE vec max_(vec a, vec b) { return (vec)_mm_max_ps((__m128)a, (__m128)b); }
#endif
#elif defined(__aarch64__)
#if FASTRNN_REAL_BITS == 64
INLINE vec fma_(vec a, vec b, vec c) { return (vec)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
INLINE vec min_(vec a, vec b) { return (vec)vminq_f64((float64x2_t)a, (float64x2_t)b); }
INLINE vec max_(vec a, vec b) { return (vec)vmaxq_f64((float64x2_t)a, (float64x2_t)b); }
#else
INLINE vec fma_(vec a, vec b, vec c) { return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
INLINE vec min_(vec a, vec b) { return (vec)vminq_f32((float32x4_t)a, (float32x4_t)b); }
INLINE vec max_(vec a, vec b) { return (vec)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
#endif
#else
INLINE vec fma_(vec a, vec b, vec c) {
#ifdef __FMA__ /* an emulated ISA (matrix.h) rounds as the real one does */
    for (int i = 0; i < VL; i++)
        c[i] = FASTRNN_REAL_BITS == 64 ? __builtin_fma(a[i], b[i], c[i]) : __builtin_fmaf(a[i], b[i], c[i]);
    return c;
#else
    return a * b + c;
#endif
}
INLINE vec choose(vec_int mask, vec a, vec b) { return (vec)((mask & (vec_int)a) | (~mask & (vec_int)b)); }
INLINE vec min_(vec a, vec b) { return choose(a < b, a, b); }
INLINE vec max_(vec a, vec b) { return choose(a > b, a, b); }
#endif

#endif

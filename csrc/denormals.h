/* Flush denormals to zero, and restore the caller's floating-point mode. */
#ifndef FASTRNN_DENORMALS_H
#define FASTRNN_DENORMALS_H

#include <stdint.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

/* Denormal operands make some processors twenty times slower and carry no information in a recurrent state. */
#if defined(__x86_64__)
typedef unsigned int fp_mode;
static inline fp_mode flush_denormals(void) {
    fp_mode before = _mm_getcsr();
    _mm_setcsr(before | 0x8040); /* flush results to zero, take operands as zero */
    return before;
}
static inline void restore_denormals(fp_mode mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__)
typedef uint64_t fp_mode;
static inline fp_mode flush_denormals(void) {
    fp_mode before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (1u << 24)));
    return before;
}
static inline void restore_denormals(fp_mode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#else
typedef int fp_mode;
static inline fp_mode flush_denormals(void) { return 0; }
static inline void restore_denormals(fp_mode mode) { (void)mode; }
#endif

#endif

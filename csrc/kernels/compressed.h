/* Compressed weights: right operands whose elements are bfloat16, or int8 with one scale for each column. They are
 * expanded by shifts, in registers or a block at a time (EXPANDED_BLOCK_ROWS), and multiplied as `real`; int8 only for the
 * rows that integers.h leaves. An int8 w is stored as the unsigned byte w + 128, as products of integers need it.
 *
 * A word of 32 bits holds one column of 2 rows (bfloat16) or 4 rows (int8), the first row in the lowest bits:
 * B[panel][k / rows][NV*VL] words. Bits of rows past the end are zero. A vector of words becomes a vector of each row by
 * shifts alone. A shuffle would need different instructions in each instruction set. */
#ifndef FASTRNN_COMPRESSED_H
#define FASTRNN_COMPRESSED_H

#include "../fastrnn.h"
#include "simd.h"

typedef uint32_t words __attribute__((vector_size(4 * VL)));
typedef uint32_t words_unaligned __attribute__((vector_size(4 * VL), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * VL)));
typedef float floats __attribute__((vector_size(4 * VL)));

/* Only float32 stacks are compressed, so the builds for float64 leave these kernels out. */
enum { COMPRESSES = FASTRNN_REAL_BITS == 32 };

/* Return the number of rows in a word. */
INLINE int64_t rows_per_word(const int format) { return format == FASTRNN_WEIGHTS_INT8 ? 4 : 2; }

/* Return the number of words in a column of K rows. */
INLINE int64_t words_of(const int format, int64_t K) { return (K + rows_per_word(format) - 1) / rows_per_word(format); }

INLINE words load_words(const uint32_t *p) { return *(const words_unaligned *)p; }

/* Load words whose rows are all used. Without the barrier, GCC loads them again for each row, which costs time with AVX-512
 * alone. */
INLINE words load_words_once(const uint32_t *p) {
    words w = load_words(p);
#ifdef __AVX512F__
    __asm__("" : "+v"(w));
#endif
    return w;
}

/* Move byte i of each word to the top, with zeros below. A shuffle of bytes is 11 % faster than a shift and a mask
 * (LSTM H = 512, Zen 3). */
INLINE words byte_on_top(words w, const int i) {
    if (i == 3) return w & 0xff000000u;
    if (i == 0) return w << 24;
#if defined(__AVX2__) && FASTRNN_REAL_BITS == 32 && !defined(FASTRNN_EMULATED)
    const __m128i places = i == 1 ? _mm_setr_epi32(0x01808080, 0x05808080, 0x09808080, 0x0d808080)
                                  : _mm_setr_epi32(0x02808080, 0x06808080, 0x0a808080, 0x0e808080);
#endif
#if defined(__AVX512BW__) && FASTRNN_REAL_BITS == 32
    return (words)_mm512_shuffle_epi8((__m512i)w, _mm512_broadcast_i32x4(places));
#elif defined(__AVX2__) && FASTRNN_REAL_BITS == 32 && !defined(FASTRNN_EMULATED)
    return (words)_mm256_shuffle_epi8((__m256i)w, _mm256_broadcastsi128_si256(places));
#else
    return (w << (24 - 8 * i)) & 0xff000000u;
#endif
}

/* Return the factor that turns expanded numbers into those that were stored. */
INLINE real factor_of_words(const int format) { return format == FASTRNN_WEIGHTS_INT8 ? (real)0x1p-24 : 1; }

/* Return byte i of each word, with its sign, times 2^24 (factor_of_words): a shift down would take half as long again. */
INLINE vec signed_bytes(words w, const int i) { return __builtin_convertvector((ints)byte_on_top(w, i), vec); }

/* Return row i of the words, without scales, times 1 / factor_of_words. A bfloat16 is the upper half of a float. */
INLINE vec row_of_words(const int format, words w, const int i) {
    if (format == FASTRNN_WEIGHTS_INT8) return signed_bytes(w ^ 0x80808080u, i);
    return __builtin_convertvector((floats)(i ? w & 0xffff0000u : w << 16), vec);
}

#endif

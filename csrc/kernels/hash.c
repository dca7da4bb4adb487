/* A hash of the bits of arrays, as fast as memory is read.
 *
 *     h_j = (h_j ^ w) K    for word w of each piece, j = 0..WORDS-1
 *
 * K is odd, so each line is a bijection of h_j: arrays that differ in one word have different hashes. There are enough
 * h_j that no product waits for the previous one. */
#include "hash.h"

#include <string.h>

#include "rows.h"

enum { WORDS = 64 }; /* 32-bit words of a piece */

static const uint32_t K32 = 0x9E3779B1u;                  /* odd, near 2^32 divided by the golden ratio */
static const uint64_t K64 = UINT64_C(0x9E3779B97F4A7C15); /* likewise for 2^64 */

static void hash_piece(uint32_t *h, const uint32_t *words) {
    for (int j = 0; j < WORDS; j++) h[j] = (h[j] ^ words[j]) * K32;
}

/* Hash the pieces phase, phase + phases, ... of an array. The last piece is filled up with zeros. */
static void hash_array(uint32_t *h, const char *bytes, int64_t size, int32_t phase, int32_t phases) {
    const int64_t piece = WORDS * sizeof(uint32_t);
    for (int64_t at = phase * piece; at < size; at += phases * piece) {
        uint32_t words[WORDS] = {0};
        memcpy(words, bytes + at, (size_t)smaller(piece, size - at));
        hash_piece(h, words);
    }
}

uint64_t arrays_hash_(const fastrnn_arrays *list, int32_t phase, int32_t phases) {
    uint32_t h[WORDS];
    for (int j = 0; j < WORDS; j++) h[j] = (uint32_t)j;
    for (int32_t i = 0; i < list->count; i++)
        hash_array(h, list->arrays[i], list->sizes[i] * (int64_t)sizeof(real), phase, phases);
    uint64_t all = 0;
    for (int j = 0; j < WORDS; j++) all = (all ^ h[j]) * K64;
    return all;
}

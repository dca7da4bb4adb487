/* A hash of the bits of arrays, as fast as memory is read.
 *
 *     h_j = (h_j ^ w) K    for word w of each piece, j = 0..WORDS-1
 *
 * K is odd, so each line is a bijection of h_j: arrays that differ in one word have different hashes. There are enough
 * h_j that no product waits for the previous one. */
#include "hash.h"

#include <string.h>

#include "rows.h"

enum { WORDS = 64, PIECE = WORDS * 4, LINES = 4, LINE_WORDS = WORDS / LINES }; /* words and bytes of a piece */

typedef uint32_t line __attribute__((vector_size(PIECE / LINES)));
typedef struct {
    line h[LINES];
} state;

static const uint32_t K32 = 0x9E3779B1u;                  /* odd, near 2^32 divided by the golden ratio */
static const uint64_t K64 = UINT64_C(0x9E3779B97F4A7C15); /* likewise for 2^64 */

INLINE void hash_piece(state *s, const char *bytes) {
    for (int i = 0; i < LINES; i++) {
        line w;
        memcpy(&w, bytes + i * (int)sizeof w, sizeof w);
        s->h[i] = (s->h[i] ^ w) * K32;
    }
}

/* Hash the pieces phase, phase + phases, ... of an array. The last piece is filled up with zeros. */
static state hash_array(state s, const char *bytes, int64_t size, int64_t phase, int64_t phases) {
    int64_t at = phase * PIECE;
    for (; at + PIECE <= size; at += phases * PIECE) hash_piece(&s, bytes + at);
    if (at < size) {
        char last[PIECE] = {0};
        memcpy(last, bytes + at, (size_t)(size - at));
        hash_piece(&s, last);
    }
    return s;
}

uint64_t arrays_hash_(const fastrnn_arrays *list, int32_t phase, int32_t phases) {
    state s = {{{0}}};
    for (int32_t i = 0; i < list->count; i++)
        s = hash_array(s, list->arrays[i], list->sizes[i] * (int64_t)sizeof(real), phase, phases);
    uint64_t all = 0;
    for (int i = 0; i < LINES; i++)
        for (int j = 0; j < LINE_WORDS; j++) all = (all ^ s.h[i][j]) * K64;
    return all;
}

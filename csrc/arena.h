/* An allocator that hands out pieces of one block owned by the caller. */
#ifndef FASTRNN_ARENA_H
#define FASTRNN_ARENA_H

#include <stddef.h>

/* If base is null, the arena only counts. Pieces begin on cache lines. */
typedef struct {
    char *base;
    size_t used;
} arena;
static inline void *arena_take(arena *a, size_t bytes) {
    size_t at = (a->used + 63) / 64 * 64;
    a->used = at + bytes;
    return a->base ? a->base + at : 0;
}

#endif

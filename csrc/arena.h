/* An allocator that hands out pieces of one block owned by the caller. */
#ifndef FASTRNN_ARENA_H
#define FASTRNN_ARENA_H

#include <stddef.h>
#include <stdint.h>

enum { LINE = 64 }; /* bytes of a cache line */

/* If base is null, the arena only counts. Pieces begin on cache lines. */
typedef struct {
    char *base;
    size_t used;
} arena;
static inline void *arena_take(arena *a, size_t bytes) {
    size_t at = (a->used + LINE - 1) / LINE * LINE;
    a->used = at + bytes;
    return a->base ? a->base + at : 0;
}

/* Return whether p begins a cache line, as callers' memory must. */
static inline int aligned(const void *p) { return ((uintptr_t)p & (LINE - 1)) == 0; }

#endif

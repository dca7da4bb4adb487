/* Memory handed out piece by piece from one block that the caller brought. */
#ifndef FASTRNN_ARENA_H
#define FASTRNN_ARENA_H

#include <stddef.h>

/* From null it only counts. Pieces begin on cache lines. */
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

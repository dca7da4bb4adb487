/* The instructions of a matrix unit (matrix.h), which take the numbers of tiles as literals. */
#ifndef FASTRNN_TILES_H
#define FASTRNN_TILES_H

#include "rows.h"

#ifdef FASTRNN_EMULATED
#include "emulated_tiles.h"
#else
#define tile_configure(from) _tile_loadconfig(from)
#define tile_release() _tile_release()
#define tile_zero(tile) _tile_zero(tile)
#define tile_load(tile, from, stride) _tile_loadd(tile, from, stride)
#define tile_store(tile, to, stride) _tile_stored(tile, to, stride)
#define tile_dot(c, a, b) _tile_dpbf16ps(c, a, b)
#define tile_dot_bytes(c, a, b) _tile_dpbssd(c, a, b)
#endif

#ifdef FASTRNN_TILES

enum { TILE = 16 };
_Static_assert((int)VL == (int)TILE, "a row of a tile is a vector");

/* Give the eight tiles their shapes; they become zero. */
static inline void shape_tiles(const uint8_t rows[8], const uint8_t row_bytes[8]) {
    uint8_t config[64] __attribute__((aligned(64))) = {1};
    for (int i = 0; i < 8; i++) {
        config[16 + 2 * i] = row_bytes[i];
        config[48 + i] = rows[i];
    }
    __asm__ volatile("" ::"r"(config) : "memory"); /* GCC 12 believes that the instruction reads eight bytes */
    tile_configure(config);
}

#endif
#endif

/* The tile instructions of AMX in plain C. Tests build the kernels with this file and get the bits of the hardware on every
 * processor. It follows the pseudocode in Intel's Software Developer's Manual, volume 2 (TDPBF16PS, TILELOADD, LDTILECFG).
 */
#ifndef FASTRNN_EMULATED_TILES_H
#define FASTRNN_EMULATED_TILES_H

#include <assert.h>
#include <stdint.h>
#include <string.h>

/* The state of a thread's tile unit. `configured` is 0 between tile_release and tile_configure. */
typedef struct {
    int configured;
    int rows[8], bytes[8]; /* bytes of a row */
    uint32_t at[8][16][16];
} tile_unit;

static _Thread_local tile_unit tiles_now;

/* The 64 bytes that LDTILECFG reads: palette 1, then 16 counts of bytes in a row from byte 16 on, and 16 counts of rows
 * from byte 48 on. All tiles become zero. */
static inline void tile_configure(const void *from) {
    const uint8_t *config = from;
    assert(config[0] == 1);
    tiles_now = (tile_unit){.configured = 1};
    for (int i = 0; i < 8; i++) {
        uint16_t bytes;
        memcpy(&bytes, config + 16 + 2 * i, sizeof bytes);
        assert(bytes <= 64 && bytes % 4 == 0 && config[48 + i] <= 16);
        tiles_now.bytes[i] = bytes;
        tiles_now.rows[i] = config[48 + i];
    }
}

static inline void tile_release(void) { tiles_now.configured = 0; }

static inline void tile_zero(int tile) { memset(tiles_now.at[tile], 0, sizeof tiles_now.at[tile]); }

static inline void tile_load(int tile, const void *from, int64_t stride) {
    assert(tiles_now.configured && tiles_now.rows[tile]);
    memset(tiles_now.at[tile], 0, sizeof tiles_now.at[tile]);
    for (int r = 0; r < tiles_now.rows[tile]; r++)
        memcpy(tiles_now.at[tile][r], (const char *)from + r * stride, (size_t)tiles_now.bytes[tile]);
}

static inline void tile_store(int tile, void *to, int64_t stride) {
    assert(tiles_now.configured && tiles_now.rows[tile]);
    for (int r = 0; r < tiles_now.rows[tile]; r++)
        memcpy((char *)to + r * stride, tiles_now.at[tile][r], (size_t)tiles_now.bytes[tile]);
}

/* Return a float of these bits; denormals count as zero. */
static inline float number_of(uint32_t bits) {
    float value;
    if (!(bits & 0x7f800000u)) bits &= 0x80000000u;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Return a result of float32 arithmetic; a denormal one is zero. */
static inline float flushed(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return number_of(bits);
}

static inline void check_product(int c, int a, int b) {
    assert(tiles_now.configured && tiles_now.rows[c] == tiles_now.rows[a] && tiles_now.bytes[c] == tiles_now.bytes[b]);
    assert(tiles_now.bytes[a] == 4 * tiles_now.rows[b]);
    (void)c, (void)a, (void)b;
}

/* Each sum has two chains over k, of the first and of the second elements of the words. They start at zero, are added to
 * each other, and then to C. */
static inline void tile_dot(int c, int a, int b) {
    check_product(c, a, b);
    for (int m = 0; m < tiles_now.rows[c]; m++) {
        float first[16] = {0}, second[16] = {0};
        for (int k = 0; k < tiles_now.rows[b]; k++)
            for (int n = 0; n < 16; n++) {
                const uint32_t left = tiles_now.at[a][m][k], right = tiles_now.at[b][k][n];
                first[n] = flushed(__builtin_fmaf(number_of(left << 16), number_of(right << 16), first[n]));
                second[n] =
                    flushed(__builtin_fmaf(number_of(left & 0xffff0000u), number_of(right & 0xffff0000u), second[n]));
            }
        for (int n = 0; n < tiles_now.bytes[c] / 4; n++) {
            const float sum = flushed(number_of(tiles_now.at[c][m][n]) + flushed(first[n] + second[n]));
            memcpy(&tiles_now.at[c][m][n], &sum, sizeof sum);
        }
    }
}

/* TDPBSSD: C += the products of the four signed bytes of A's and B's words, in integers. */
static inline void tile_dot_bytes(int c, int a, int b) {
    check_product(c, a, b);
    for (int m = 0; m < tiles_now.rows[c]; m++)
        for (int k = 0; k < tiles_now.rows[b]; k++)
            for (int i = 0; i < 32; i += 8)
                for (int n = 0; n < tiles_now.bytes[c] / 4; n++)
                    tiles_now.at[c][m][n] +=
                        (uint32_t)((int8_t)(tiles_now.at[a][m][k] >> i) * (int8_t)(tiles_now.at[b][k][n] >> i));
}

#endif

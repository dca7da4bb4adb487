#include "integers.h"

#include "rows.h"
#include "slices.h"

#if FASTRNN_REAL_BITS == 32

/* The largest q. Two digits reach 127 * 257 = 32,639; the margin is for rounding after the scaling. */
enum { LARGEST_SIXTEEN = 32600 };

/* The rows that are quantised together, and the elements of k in a block. A block of a panel and a tile's rows then stay in
 * the first two levels of cache, and a sum of 512 * 128 * LARGEST_SIXTEEN fits 32 bits. */
enum { GROUP = 32, INTEGER_K_BLOCK = 512, BLOCK_WORDS = INTEGER_K_BLOCK / 4 };

/* Rounding to 16 bits changes a number of 1/112 of the largest by 1e-3 (rms). That is a quarter of what int8 changes weights
 * of one magnitude. */
enum { OUTLIER_RATIO = 112 };

/* A block of k of some rows. */
typedef struct {
    real scales[GROUP];
    int32_t correction[GROUP][2]; /* -ADDED times the sum of q, or of each of its digits */
    int32_t q[GROUP][2][BLOCK_WORDS];
} integer_block;

/* Return LARGEST_SIXTEEN / m, 0 for a row of zeros, or -1 for a row that is left to float32. Half of the numbers that are
 * not zero must be at least m / OUTLIER_RATIO. A few large ones would leave too few bits to the others, whose weights may
 * matter more. */
static real quantisation_factor(const real *a, int64_t K) {
    const real m = largest_magnitude(a, K);
    if (m == 0) return 0;
    /* LARGEST_SIXTEEN / m must be finite, and a block's sum before it is multiplied by B's scale. */
    if (!(m > 0x1p-110f && m < 0x1p88f)) return -1;
    const vec least = splat(m / OUTLIER_RATIO), zero = splat(0);
    vec_int large = {0}, not_zero = {0};
    for (int64_t k = 0; k < K; k += VL) {
        const vec v = load_within(a, k, K), magnitude = max_(v, -v);
        large -= magnitude >= least;
        not_zero -= magnitude > zero;
    }
    int64_t balance = 0;
    for (int i = 0; i < VL; i++) balance += 2 * (int64_t)large[i] - not_zero[i];
    return balance >= 0 ? LARGEST_SIXTEEN / m : -1;
}

/* Sums have no signs, because they may wrap. Without what 128 in each weight adds, they fit 32 bits. */
INLINE vec corrected(words sum, int32_t correction) {
    return __builtin_convertvector((ints)(sum + (uint32_t)correction), vec);
}

#if defined(__AVX512VNNI__) || defined(__ARM_FEATURE_DOTPROD) || defined(FASTRNN_EMULATED)
#define MULTIPLIES_DIGITS

/* q is stored as digits. Sum i of a tile is S_i. SDOT multiplies signed weights, VPDPBUSD those with 128 added. */
#ifdef __ARM_FEATURE_DOTPROD
enum { SUMS = 2, ADDED = 0 };
#else
enum { SUMS = 2, ADDED = 128 };
#endif

/* Store VL integers from k on, and add their digits to the sums. */
INLINE void store_q(int32_t to[2][BLOCK_WORDS], int64_t k, ints q, ints *sums) {
    for (int i = 0; i < 2; i++) {
        const ints s = ((q + 0x8080) >> 8 * i & 0xff) - 128;
        const digits bytes = __builtin_convertvector(s, digits);
        memcpy(to[i] + k / 4, &bytes, sizeof bytes);
        sums[i] += s;
    }
}

/* Return the same weights for both digits; SDOT's get their sign back. */
INLINE ints weights_of(words w, const int i) {
    (void)i;
    return (ints)(ADDED ? w : w ^ 0x80808080u);
}

/* Return sum + w_0 a_0 + ... + w_3 a_3 of each lane. */
INLINE words add_products(words sum, ints w, ints a) {
#ifdef __ARM_FEATURE_DOTPROD
    sum = (words)vdotq_s32((int32x4_t)sum, (int8x16_t)w, (int8x16_t)a);
#elif defined(FASTRNN_EMULATED)
    for (int i = 0; i < 4; i++) sum += ((words)w >> 8 * i & 0xff) * (words)((ints)((words)a << (24 - 8 * i)) >> 24);
#else /* with the intrinsic, GCC 12 copies every sum at each k and keeps some in memory */
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(a));
#endif
    return sum;
}

INLINE vec whole_sum(const words *sums, const int32_t *correction) {
    return fma_(corrected(sums[1], correction[1]), splat(256), corrected(sums[0], correction[0]));
}

#else

/* q is stored as pairs. */
enum { SUMS = 1, ADDED = 128 };

typedef uint16_t halves __attribute__((vector_size(4 * VL)));

/* Store VL integers from k on, and add them to the sum. */
INLINE void store_q(int32_t to[2][BLOCK_WORDS], int64_t k, ints q, ints *sums) {
    for (int lane = 0; lane < VL; lane += 4)
        for (int i = 0; i < 2; i++)
            to[i][(k + lane) / 4] = (int32_t)((q[lane + i] & 0xffff) | (uint32_t)q[lane + i + 2] << 16);
    sums[0] += q;
}

/* Return bytes 0 and 2 of each word as pairs of 16 bits, or bytes 1 and 3. */
INLINE ints weights_of(words w, const int i) { return (ints)(i ? (halves)w >> 8 : (halves)w & 0xff); }

/* Return sum + w_0 a_0 + w_1 a_1 of each lane. */
INLINE words add_products(words sum, ints w, ints a) {
#if defined(__AVX512BW__)
    return sum + (words)_mm512_madd_epi16((__m512i)w, (__m512i)a);
#elif defined(__AVX2__) && FASTRNN_VECTOR_BYTES == 32
    return sum + (words)_mm256_madd_epi16((__m256i)w, (__m256i)a);
#elif defined(__x86_64__) && FASTRNN_VECTOR_BYTES == 16
    return sum + (words)_mm_madd_epi16((__m128i)w, (__m128i)a);
#elif defined(__aarch64__)
    const int16x8_t left = (int16x8_t)w, right = (int16x8_t)a;
    return sum + (words)vpaddq_s32(vmull_s16(vget_low_s16(left), vget_low_s16(right)), vmull_high_s16(left, right));
#else
    return sum + ((words)w & 0xffff) * (words)((ints)((words)a << 16) >> 16) + ((words)w >> 16) * (words)(a >> 16);
#endif
}

INLINE vec whole_sum(const words *sums, const int32_t *correction) { return corrected(sums[0], correction[0]); }

#endif

/* Store n numbers as integers, and zeros up to a whole vector. */
static void store_integers(integer_block *to, int64_t row, const real *a, int64_t n, real factor) {
    ints sums[SUMS] = {{0}};
    for (int64_t k = 0; k < n; k += VL) store_q(to->q[row], k, nearest(load_within(a, k, n) * splat(factor)), sums);
    for (int i = 0; i < SUMS; i++) {
        to->correction[row][i] = 0;
        for (int lane = 0; lane < VL; lane++) to->correction[row][i] -= ADDED * sums[i][lane];
    }
}

INLINE ints splat_int(int32_t a) { return a - (ints){0}; }

/* Some rows times one panel. */
typedef struct {
    int64_t n_words, b_row;
    const uint32_t *b;
    const integer_block *a;
    int64_t row;
    const real *scales, *init;
    real *c;
    int64_t init_row, c_row;
    const uint32_t *ahead; /* what to fetch into the second-level cache, in steps, one for each word of k; null: nothing */
    int64_t ahead_step;
} integer_args;

INLINE void integer_tile(const int R, const int NV, const int AHEAD, const integer_args *t) {
    words acc[6][4][SUMS];
    const uint32_t *b = t->b, *ahead = t->ahead;
#pragma GCC unroll 6
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
#pragma GCC unroll 2
            for (int i = 0; i < SUMS; i++) acc[r][v][i] = (words){0};
    for (int64_t k = 0; k < t->n_words; k++, b += t->b_row) {
        if (AHEAD) __builtin_prefetch(ahead, 0, 2);
        if (AHEAD) ahead += t->ahead_step;
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) {
            const words w = load_words(b + v * VL);
#pragma GCC unroll 2
            for (int i = 0; i < 2; i++) {
                const ints weights = weights_of(w, i);
#pragma GCC unroll 6
                for (int r = 0; r < R; r++)
                    acc[r][v][i % SUMS] = add_products(acc[r][v][i % SUMS], weights, splat_int(t->a->q[t->row + r][i][k]));
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) {
            /* The product of both scales could be infinite where a sum is zero, or denormal where the result is not. */
            const vec sum = whole_sum(acc[r][v], t->a->correction[t->row + r]) * splat(t->a->scales[t->row + r]);
            const vec init = load(t->init + r * t->init_row + v * VL);
            store(t->c + r * t->c_row + v * VL, fma_(sum, load(t->scales + v * VL), init));
        }
}

/* Turn a run-time height into the constant that unrolls a tile. */
INLINE void integer_tile_of_height(const int NV, const int highest, const int AHEAD, int rows, const integer_args *t) {
    switch (rows) {
        case 1: integer_tile(1, NV, AHEAD, t); break;
        case 2: integer_tile(2, NV, AHEAD, t); break;
        case 3: integer_tile(3, NV, AHEAD, t); break;
        case 4:
            if (highest >= 4) integer_tile(4, NV, AHEAD, t);
            break;
        case 5:
            if (highest >= 5) integer_tile(5, NV, AHEAD, t);
            break;
        case 6:
            if (highest >= 6) integer_tile(6, NV, AHEAD, t);
            break;
    }
}

/* Tile heights by width in vectors: up to 12 sums where there are 16 registers, up to 24 where there are 32. */
#ifdef MULTIPLIES_DIGITS
enum { HEIGHT_1 = 6, HEIGHT_2 = 6, HEIGHT_3 = 4, HEIGHT_4 = 3 };
#elif FASTRNN_VECTOR_BYTES == 64 || defined(__aarch64__)
enum { HEIGHT_1 = 6, HEIGHT_2 = 6, HEIGHT_3 = 6, HEIGHT_4 = 6 };
#else
enum { HEIGHT_1 = 6, HEIGHT_2 = 6, HEIGHT_3 = 4, HEIGHT_4 = 3 };
#endif
static const int heights[5] = {1, HEIGHT_1, HEIGHT_2, HEIGHT_3, HEIGHT_4};
INLINE void integer_tile_of(const int NV, const int highest, int rows, const integer_args *t) {
    if (t->ahead)
        integer_tile_of_height(NV, highest, 1, rows, t);
    else
        integer_tile_of_height(NV, highest, 0, rows, t);
}
static void tile_1(int rows, const integer_args *t) { integer_tile_of(1, HEIGHT_1, rows, t); }
static void tile_2(int rows, const integer_args *t) { integer_tile_of(2, HEIGHT_2, rows, t); }
static void tile_3(int rows, const integer_args *t) { integer_tile_of(3, HEIGHT_3, rows, t); }
static void tile_4(int rows, const integer_args *t) { integer_tile_of(4, HEIGHT_4, rows, t); }
typedef void (*tile_of_rows)(int rows, const integer_args *t);
static const tile_of_rows tiles[5] = {0, tile_1, tile_2, tile_3, tile_4};

static const uint32_t *integer_block_at(const product_args *p, int64_t panel, int64_t k) {
    return (const uint32_t *)p->b + panel * p->b_panel + k / 4 * p->b_row;
}

/* Compute a block of k for n rows of one panel, in tiles of equal height. They fetch the block `next` (null: none). */
static void integer_panel(const product_args *p, const integer_block *a, int64_t panel, range rows, int64_t k, int64_t here,
                          const uint32_t *next) {
    const range in_block = {0, rows.end - rows.begin};
    const int64_t count = tiles_in(in_block, heights[p->vectors]);
    const initial_sums init = initial_sums_of(p, panel, k > 0);
    integer_args t = {.n_words = quads_of(here),
                      .b_row = p->b_row,
                      .b = integer_block_at(p, panel, k),
                      .a = a,
                      .scales = p->scales + panel * p->b_row,
                      .init_row = init.row,
                      .c_row = p->c_row,
                      .ahead_step = next ? (p->b_row + count - 1) / count : 0};
    for (int64_t i = 0; i < count; i++) {
        const range tile = tile_rows_at(in_block, i, count);
        const int64_t row = rows.begin + tile.begin, height = tile.end - tile.begin;
        t.row = tile.begin;
        t.ahead = next ? next + i * t.n_words * t.ahead_step : 0;
        t.init = init.p + row * init.row;
        t.c = p->c + panel * p->c_panel + row * p->c_row;
        tiles[p->vectors]((int)height, &t);
        if (p->done && k + here == p->n_inner) p->done(p->context, panel, row, height);
    }
}

int64_t multiply_in_integers(const product_args *p, range panels, range rows) {
    integer_block a;
    real factors[GROUP];
    const int64_t K = p->n_inner, most = smaller(GROUP, rows.end - rows.begin);
    int64_t n = 0;
    for (; n < most; n++) {
        factors[n] = quantisation_factor(p->a.p + (rows.begin + n) * p->a.row, K);
        if (factors[n] < 0) break;
        a.scales[n] = factors[n] > 0 ? 1 / factors[n] : 0;
    }
    if (!n) return 0;
    const range here = {rows.begin, rows.begin + n};
    const int64_t count = panels.end - panels.begin;
    const int fetch = count * p->b_panel * (int64_t)sizeof(uint32_t) > FETCH_AHEAD_BYTES;
    for (int64_t k = 0; k < K; k += INTEGER_K_BLOCK) {
        const int64_t block = smaller(INTEGER_K_BLOCK, K - k);
        for (int64_t i = 0; i < n; i++) store_integers(&a, i, p->a.p + (here.begin + i) * p->a.row + k, block, factors[i]);
        for (int64_t i = 0; i < count; i++) {
            const uint32_t *next = fetch && i + 1 < count ? integer_block_at(p, panel_at(p, panels, i + 1), k) : 0;
            integer_panel(p, &a, panel_at(p, panels, i), here, k, block, next);
        }
    }
    return n;
}

#else

int64_t multiply_in_integers(const product_args *p, range panels, range rows) {
    (void)p, (void)panels, (void)rows;
    return 0;
}

#endif

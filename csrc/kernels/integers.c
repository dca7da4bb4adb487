#include "integers.h"

#include "rows.h"
#include "slices.h"

#if defined(__AVX512VNNI__) && FASTRNN_REAL_BITS == 32

/* The largest number of two digits is 127 * 257; a number is rounded after it is scaled. */
enum { DIGITS = 2, LARGEST_OF_TWO = 32600 };

/* Rows whose digits are kept at once, and the elements of k in a block. A block of a panel and the digits of a tile's rows
 * then stay in the first two levels of cache. */
enum { GROUP = 32, INTEGER_K_BLOCK = 512, BLOCK_WORDS = INTEGER_K_BLOCK / 4 };

/* If no number is larger than this times the rms of the others, rounding them to 16 bits changes them by 1e-3 (rms), which
 * is 1/4 of what int8 changes the weights. */
enum { FAR_OUT = 112 };

/* A block of k of some rows: their digits, and -128 times the sum of each row's digits. */
typedef struct {
    real scales[GROUP];
    int32_t sums[GROUP][DIGITS], digits[GROUP][DIGITS][BLOCK_WORDS];
} digit_rows;

/* Return the factor by which numbers become q, or -1 for a row that is left to float32. */
static real to_integers(const real *a, int64_t K) {
    vec largest = splat(0), squares = splat(0);
    for (int64_t k = 0; k < K; k += VL) {
        const vec v = load_within(a, k, K);
        largest = max_(largest, max_(v, -v));
        squares = fma_(v, v, squares);
    }
    real m = 0, all = 0;
    for (int i = 0; i < VL; i++) m = largest[i] > m ? largest[i] : m;
    for (int i = 0; i < VL; i++) all += squares[i]; /* not finite if a number is not */
    if (all == 0 && m == 0) return 0;
    if (!(m > 0x1p-50f && m < 0x1p50f)) return -1;
    const real others = all - m * m;
    return others * (FAR_OUT * FAR_OUT) >= (real)K * m * m ? LARGEST_OF_TWO / m : -1;
}

/* Store the digits of n numbers, and zeros up to a whole word. */
static void store_digits(digit_rows *to, int64_t row, const real *a, int64_t n, real factor) {
    ints high = {0}, low = {0};
    for (int64_t k = 0; k < n; k += VL) {
        const ints q = nearest(load_within(a, k, n) * splat(factor)) + 0x8080;
        const ints s1 = (q >> 8) - 128, s0 = (q & 0xff) - 128;
        const digits d1 = __builtin_convertvector(s1, digits), d0 = __builtin_convertvector(s0, digits);
        memcpy(to->digits[row][1] + k / 4, &d1, sizeof d1);
        memcpy(to->digits[row][0] + k / 4, &d0, sizeof d0);
        high += s1;
        low += s0;
    }
    int32_t sums[DIGITS] = {0, 0};
    for (int i = 0; i < VL; i++) sums[0] += low[i], sums[1] += high[i];
    for (int i = 0; i < DIGITS; i++) to->sums[row][i] = -128 * sums[i];
}

/* Some rows times one panel; lengths are in words. */
typedef struct {
    int64_t words, b_row;
    const uint32_t *b;
    const digit_rows *a;
    int64_t row;
    const real *scales, *init;
    real *c;
    int64_t init_row, c_row;
} integer_args;

/* Return sum + w_0 left_0 + ... + w_3 left_3 for each lane, w unsigned. Written so because GCC copies the sums of the
 * intrinsic at each k, and keeps some of them in memory. */
INLINE __m512i add_products(__m512i sum, __m512i w, __m512i left) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(left));
    return sum;
}

INLINE void integer_tile(const int R, const int NV, const integer_args *t) {
    __m512i acc[6][4][DIGITS];
    const uint32_t *b = t->b;
#pragma GCC unroll 6
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
#pragma GCC unroll 2
            for (int i = 0; i < DIGITS; i++) acc[r][v][i] = _mm512_setzero_si512();
    for (int64_t k = 0; k < t->words; k++, b += t->b_row) {
        __m512i w[4];
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) w[v] = (__m512i)(load_words(b + v * VL) ^ 0x80808080u);
#pragma GCC unroll 6
        for (int r = 0; r < R; r++)
#pragma GCC unroll 2
            for (int i = 0; i < DIGITS; i++) {
                const __m512i left = _mm512_set1_epi32(t->a->digits[t->row + r][i][k]);
#pragma GCC unroll 4
                for (int v = 0; v < NV; v++) acc[r][v][i] = add_products(acc[r][v][i], w[v], left);
            }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) {
            const int32_t *without = t->a->sums[t->row + r];
            const vec s1 = __builtin_convertvector((ints)acc[r][v][1] + without[1], vec);
            const vec s0 = __builtin_convertvector((ints)acc[r][v][0] + without[0], vec);
            const vec sum = fma_(s1, splat(256), s0), scale = load(t->scales + v * VL) * splat(t->a->scales[t->row + r]);
            store(t->c + r * t->c_row + v * VL, fma_(sum, scale, load(t->init + r * t->init_row + v * VL)));
        }
}

/* Turn a run-time height into the constant that unrolls a tile. */
INLINE void integer_tile_of_height(const int NV, const int highest, int rows, const integer_args *t) {
    switch (rows) {
        case 1: integer_tile(1, NV, t); break;
        case 2: integer_tile(2, NV, t); break;
        case 3: integer_tile(3, NV, t); break;
        case 4:
            if (highest >= 4) integer_tile(4, NV, t);
            break;
        case 5:
            if (highest >= 5) integer_tile(5, NV, t);
            break;
        case 6:
            if (highest >= 6) integer_tile(6, NV, t);
            break;
    }
}

/* The highest tiles whose sums leave a few registers free. */
static const int heights[5] = {1, 6, 6, 4, 3};
static void tile_1(int rows, const integer_args *t) { integer_tile_of_height(1, 6, rows, t); }
static void tile_2(int rows, const integer_args *t) { integer_tile_of_height(2, 6, rows, t); }
static void tile_3(int rows, const integer_args *t) { integer_tile_of_height(3, 4, rows, t); }
static void tile_4(int rows, const integer_args *t) { integer_tile_of_height(4, 3, rows, t); }
typedef void (*tile_of_rows)(int rows, const integer_args *t);
static const tile_of_rows tiles[5] = {0, tile_1, tile_2, tile_3, tile_4};

/* Compute a block of k for n rows of one panel, in tiles of equal height. */
static void integer_panel(const product_args *p, const digit_rows *a, int64_t panel, range rows, int64_t k, int64_t here) {
    const int64_t n = rows.end - rows.begin, blocks = (n + heights[p->vectors] - 1) / heights[p->vectors];
    const initial_sums init = initial_sums_of(p, panel, k > 0);
    integer_args t = {.words = quads_of(here),
                      .b_row = p->b_row,
                      .b = (const uint32_t *)p->b + panel * p->b_panel + k / 4 * p->b_row,
                      .a = a,
                      .scales = p->scales + panel * p->b_row,
                      .init_row = init.row,
                      .c_row = p->c_row};
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t begin = n * i / blocks, end = n * (i + 1) / blocks;
        t.row = begin;
        t.init = init.p + (rows.begin + begin) * init.row;
        t.c = p->c + panel * p->c_panel + (rows.begin + begin) * p->c_row;
        tiles[p->vectors]((int)(end - begin), &t);
        if (p->done && k + here == p->n_inner) p->done(p->context, panel, rows.begin + begin, end - begin);
    }
}

int64_t integer_rows(const product_args *p, range panels, range rows) {
    digit_rows a;
    real factors[GROUP];
    const int64_t K = p->n_inner, most = smaller(GROUP, rows.end - rows.begin);
    int64_t n = 0;
    for (; n < most; n++) {
        factors[n] = to_integers(p->a.p + (rows.begin + n) * p->a.row, K);
        if (factors[n] < 0) break;
        a.scales[n] = factors[n] > 0 ? 0x1p24f / factors[n] : 0; /* expanded int8 has a factor of 2^24 (compressed.h) */
    }
    if (!n) return 0;
    const range here = {rows.begin, rows.begin + n};
    for (int64_t k = 0; k < K; k += INTEGER_K_BLOCK) {
        const int64_t block = smaller(INTEGER_K_BLOCK, K - k);
        for (int64_t i = 0; i < n; i++) store_digits(&a, i, p->a.p + (here.begin + i) * p->a.row + k, block, factors[i]);
        for (int64_t i = 0; i < panels.end - panels.begin; i++) integer_panel(p, &a, panel_at(p, panels, i), here, k, block);
    }
    return n;
}

#else

int64_t integer_rows(const product_args *p, range panels, range rows) {
    (void)p, (void)panels, (void)rows;
    return 0;
}

#endif

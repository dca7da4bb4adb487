/* One pass over a list of arrays, such as all gradients: the sum of squares, scaling, clamping.
 *
 * The arrays are cut into blocks that the threads share. Sums are made block by block, so the bits are the same for
 * every number of threads. */
#include "arrays.h"

#include "../parallel.h"
#include "../plan.h"
#include "rows.h"

enum { BLOCK = 8192 }; /* elements */

static const double ELEMENT = 0.25; /* nanoseconds for each element; 0.1 to 0.4 on a Zen 5 */

typedef struct {
    const fastrnn_arrays *list;
    double number; /* the factor or the bound */
    double *sums;  /* one for each block */
} list_pass;

typedef void block_body(const list_pass *k, real *a, int64_t n, int64_t block);

static int64_t blocks_of(int64_t n) { return (n + BLOCK - 1) / BLOCK; }

static int64_t all_blocks(const fastrnn_arrays *list) {
    int64_t blocks = 0;
    for (int32_t i = 0; i < list->count; i++) blocks += blocks_of(list->sizes[i]);
    return blocks;
}

size_t arrays_workspace_size_(const fastrnn_arrays *list) { return (size_t)all_blocks(list) * sizeof(double); }

/* Run `body` on this thread's share of all blocks. */
INLINE void for_my_blocks(const worker *me, const list_pass *k, block_body *body) {
    const fastrnn_arrays *list = k->list;
    const range mine = pool_share(me, all_blocks(list), 1);
    int64_t first = 0; /* the first block of array i */
    for (int32_t i = 0; i < list->count && first < mine.end; first += blocks_of(list->sizes[i++])) {
        const int64_t end = smaller(mine.end, first + blocks_of(list->sizes[i]));
        for (int64_t block = larger(mine.begin, first); block < end; block++) {
            const int64_t at = (block - first) * BLOCK;
            body(k, (real *)list->arrays[i] + at, smaller(BLOCK, list->sizes[i] - at), block);
        }
    }
}

static void run(const list_pass *k, pool_body body) {
    int64_t elements = 0;
    for (int32_t i = 0; i < k->list->count; i++) elements += k->list->sizes[i];
    const double time = (double)elements * ELEMENT;
    pool_run(plan_threads(time), time, body, (void *)k);
}

/* Sum in float64, because the square of a large float32 would overflow. There are sixteen sums, so that no addition
 * waits for the previous one. */
static void sum_squares(const list_pass *k, real *a, int64_t n, int64_t block) {
    enum { SUMS = 16 };
    double sums[SUMS] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        for (int j = 0; j < SUMS; j++) sums[j] += (double)a[i + j] * (double)a[i + j];
    for (; i < n; i++) sum += (double)a[i] * (double)a[i];
    for (int j = 0; j < SUMS; j++) sum += sums[j];
    k->sums[block] = sum;
}

static void scale(const list_pass *k, real *a, int64_t n, int64_t block) {
    (void)block;
    const real factor = (real)k->number;
    for (int64_t i = 0; i < n; i++) a[i] *= factor;
}

/* NaN compares false with both bounds, so it stays. */
static void clamp(const list_pass *k, real *a, int64_t n, int64_t block) {
    (void)block;
    const real high = (real)k->number, low = -high;
    for (int64_t i = 0; i < n; i++) a[i] = a[i] > high ? high : a[i] < low ? low : a[i];
}

static void squares_body(const worker *me, void *k) { for_my_blocks(me, k, sum_squares); }
static void scale_body(const worker *me, void *k) { for_my_blocks(me, k, scale); }
static void clamp_body(const worker *me, void *k) { for_my_blocks(me, k, clamp); }

double arrays_squares_(const fastrnn_arrays *list, void *workspace) {
    list_pass k = {list, 0, workspace};
    run(&k, squares_body);
    double sum = 0;
    for (int64_t block = 0, blocks = all_blocks(list); block < blocks; block++) sum += k.sums[block];
    return sum;
}

void arrays_scale_(const fastrnn_arrays *list, double factor) { run(&(list_pass){list, factor, 0}, scale_body); }

void arrays_clamp_(const fastrnn_arrays *list, double bound) { run(&(list_pass){list, bound, 0}, clamp_body); }

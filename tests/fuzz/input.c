#include "input.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t take(input *in, int64_t bound) {
    uint64_t value = 0;
    for (int64_t left = bound - 1; left > 0; left >>= 8) value = value << 8 | (in->at < in->end ? *in->at++ : 0);
    return bound > 1 ? (int64_t)(value % (uint64_t)bound) : 0;
}

int64_t take_size(input *in, int64_t most) { return 1 + take(in, take(in, 8) || most < 8 ? (most + 7) / 8 : most); }

void *block(input *in, size_t bytes) {
    if (in->g[in->used].count == BLOCKS) in->used++;
    return guarded(&in->g[in->used], bytes);
}

static void set(const input *in, void *array, int64_t i, double value) {
    if (in->dtype == FASTRNN_FLOAT64)
        ((double *)array)[i] = value;
    else
        ((float *)array)[i] = (float)value;
}

static double get(const input *in, const void *array, int64_t i) {
    return in->dtype == FASTRNN_FLOAT64 ? ((const double *)array)[i] : ((const float *)array)[i];
}

void *reals(input *in, int64_t n, double scale) {
    if (!n) return NULL;
    void *array = block(in, bytes_of(in->dtype, n));
    for (int64_t i = 0; i < n; i++) set(in, array, i, scale * next_value(&in->state));
    return array;
}

int64_t *integers(input *in, int64_t n, int64_t from, int64_t to) {
    int64_t *array = block(in, (size_t)n * sizeof *array);
    for (int64_t i = 0; i < n; i++) array[i] = from + take(in, to - from + 1);
    return array;
}

void *result(input *in, int64_t n, int added, int finite) {
    if (!n) return NULL;
    void *array = block(in, bytes_of(in->dtype, n));
    for (int64_t i = 0; added && i < n; i++) set(in, array, i, 1);
    const int k = in->count[in->run]++;
    in->outputs[in->run][k].at = array;
    in->outputs[in->run][k].n = n;
    in->outputs[in->run][k].finite = finite;
    return array;
}

static void stop(const char *what, int output) {
    fprintf(stderr, "result %d: %s\n", output, what);
    abort();
}

void finish(input *in) {
    for (int run = 0; run < RUNS; run++)
        for (int k = 0; k < in->count[run]; k++)
            for (int64_t i = 0; in->outputs[run][k].finite && i < in->outputs[run][k].n; i++)
                if (!isfinite(get(in, in->outputs[run][k].at, i))) stop("not finite", k);
    for (int k = 0; k < in->count[1]; k++)
        if (memcmp(in->outputs[0][k].at, in->outputs[1][k].at, bytes_of(in->dtype, in->outputs[0][k].n)))
            stop("other bits on one thread", k);
    for (int k = 0; k <= in->used; k++) guards_done(&in->g[k], "a call");
    if (failures()) abort();
}

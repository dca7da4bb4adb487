/* The processor's ceilings: multiply-adds in registers, and reading. The caller measures the time. */
#include "ceilings.h"

#include "../parallel.h"
#include "simd.h"

/* Independent chains of fma: enough to fill two units with a latency of four or five cycles, and few enough for sixteen
 * registers. */
enum { CHAINS = 12, STREAMS = 8, UNROLL = 8 };

typedef struct {
    int64_t rounds, vectors; /* vectors: size of the whole buffer */
    const real *buffer;
    int64_t done[MAX_THREADS]; /* rounds or vectors done by each rank */
    vec result[MAX_THREADS];   /* stored so that the compiler keeps the work */
} measurement;

static void fma_body(const worker *me, void *context) {
    measurement *m = context;
    vec acc[CHAINS];
    for (int i = 0; i < CHAINS; i++) acc[i] = splat((real)i);
    const vec half = splat((real)0.5),
              one = splat(1); /* acc = acc / 2 + 1 tends to 2, so there is no overflow and no denormal */
    for (int64_t n = 0; n < m->rounds; n++)
        for (int u = 0; u < UNROLL; u++)
            for (int i = 0; i < CHAINS; i++) acc[i] = fma_(acc[i], half, one);
    for (int i = 1; i < CHAINS; i++) acc[0] += acc[i];
    m->result[me->rank] = acc[0];
    m->done[me->rank] = m->rounds;
}

static void read_body(const worker *me, void *context) {
    measurement *m = context;
    const range share = pool_share(me, m->vectors, STREAMS);
    const int64_t end = share.begin + (share.end - share.begin) / STREAMS * STREAMS;
    vec acc[STREAMS];
    for (int i = 0; i < STREAMS; i++) acc[i] = splat(0);
    for (int64_t n = 0; n < m->rounds; n++)
        for (int64_t v = share.begin; v < end; v += STREAMS)
            for (int i = 0; i < STREAMS; i++) acc[i] += load(m->buffer + (v + i) * VL);
    for (int i = 1; i < STREAMS; i++) acc[0] += acc[i];
    m->result[me->rank] = acc[0];
    m->done[me->rank] = m->rounds * (end - share.begin);
}

static int64_t total(const measurement *m) {
    int64_t sum = 0;
    for (int i = 0; i < MAX_THREADS; i++) sum += m->done[i];
    return sum;
}

double measure_fma_(int32_t threads, int64_t rounds) {
    measurement m = {.rounds = rounds};
    pool_run(threads, LONG_CALL, fma_body, &m);
    return 2.0 * VL * CHAINS * UNROLL * (double)total(&m);
}

double measure_read_(int32_t threads, int64_t rounds, const void *buffer, size_t size) {
    measurement m = {.rounds = rounds, .vectors = (int64_t)(size / sizeof(vec)), .buffer = buffer};
    pool_run(threads, LONG_CALL, read_body, &m);
    return (double)sizeof(vec) * (double)total(&m);
}

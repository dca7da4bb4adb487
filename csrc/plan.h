/* The estimate of plan.c, for the kernels. */
#ifndef FASTRNN_PLAN_H
#define FASTRNN_PLAN_H

#include "layer.h"

/* A pass's plan: how many directions run at once, what is split, the number of threads for each direction, and the
 * estimated nanoseconds. */
typedef struct {
    int32_t at_once, split, threads;
    double time;
} pass_plan;

pass_plan plan_pass(const layer_spec *layer, const fastrnn_batch *batch, int32_t backward);

/* Return the threads for work that takes one thread `time` nanoseconds and divides evenly: all threads, or one if waking
 * costs more than it saves. */
int32_t plan_threads(double time);

/* Return whether threads that already run should share work of `time` nanoseconds, although they must then wait for each
 * other. */
int32_t plan_shares(double time);

enum { MULTIPLY_ADDS = 75 }; /* per core and nanosecond: 50 to 100 */

/* Return the most layers that fastrnn_plan_layers could run at once. If the batch leaves the number of threads open,
 * this holds for any number. */
int32_t most_layers_at_once(const fastrnn_stack *stack, const fastrnn_batch *batch);

/* How a wavefront (wavefront.c) cuts time into chunks. A chunk has enough rows for the input product to use whole tiles.
 * A sequence has at most 10 chunks, because each costs a barrier; with 10, the first and the last layer wait for a tenth
 * of the time. */
enum { WAVE_ROWS = 12, WAVE_CHUNKS = 10 };

static inline int64_t wave_steps(const fastrnn_batch *batch) {
    const int64_t whole_tiles = (WAVE_ROWS + batch->B - 1) / batch->B, even = (batch->T + WAVE_CHUNKS - 1) / WAVE_CHUNKS;
    return whole_tiles > even ? whole_tiles : even;
}

static inline int64_t wave_chunks(const fastrnn_batch *batch) {
    return (batch->T + wave_steps(batch) - 1) / wave_steps(batch);
}

#endif

/* The estimate of plan.c, as the kernels use it. */
#ifndef FASTRNN_PLAN_H
#define FASTRNN_PLAN_H

#include "layer.h"

/* How a pass is made: over what it is split, with how many threads for each of the directions that run at once, and the
 * nanoseconds that this is thought to take. */
typedef struct {
    int32_t at_once, split, threads;
    double time;
} pass_plan;

pass_plan plan_pass(const layer_spec *layer, const fastrnn_batch *batch, int32_t backward);

/* Threads for work that takes one thread `time` nanoseconds and divides evenly: all, or one if waking costs more than it
 * saves. */
int32_t plan_threads(double time);

/* Whether threads that are at work share a piece of that time, and then wait for each other. */
int32_t plan_shares(double time);

enum { MULTIPLY_ADDS = 75 }; /* of a core in a nanosecond: 50 to 100 */

/* The most layers that fastrnn_plan_layers could run at once, whatever the number of threads where the batch leaves it open.
 */
int32_t most_layers_at_once(const fastrnn_stack *stack, const fastrnn_batch *batch);

/* How a wavefront (wavefront.c) cuts time into chunks. A chunk is as short as its input product can be with whole tiles, and
 * the sequence has no more chunks than the barriers are worth: with 10 the first and the last layer wait for a tenth of the
 * time. */
enum { WAVE_ROWS = 12, WAVE_CHUNKS = 10 };

static inline int64_t wave_steps(const fastrnn_batch *batch) {
    const int64_t whole_tiles = (WAVE_ROWS + batch->B - 1) / batch->B, even = (batch->T + WAVE_CHUNKS - 1) / WAVE_CHUNKS;
    return whole_tiles > even ? whole_tiles : even;
}

static inline int64_t wave_chunks(const fastrnn_batch *batch) {
    return (batch->T + wave_steps(batch) - 1) / wave_steps(batch);
}

#endif

/* The estimate of plan.c, as the kernels use it. */
#ifndef FASTRNN_PLAN_H
#define FASTRNN_PLAN_H

#include "fastrnn.h"

/* How a pass is made: over what it is split, with how many threads for each of the directions that run at once, and the
 * nanoseconds that this is thought to take. */
typedef struct {
    int32_t at_once, split, threads;
    double time;
} pass_plan;

pass_plan plan_pass(const fastrnn_layer *layer, const fastrnn_batch *batch, int32_t backward);

#endif

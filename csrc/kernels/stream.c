/* A stack that takes one step at a time, in memory laid out once: a step costs little more than its arithmetic. */
#include "stream.h"

#include "../layer.h"
#include "steps.h"

/* The head of a stream's memory. */
typedef struct {
    stack_steps s;
    pass_plan plan;
    int64_t step; /* the next step: 0 1 0 1 ... */
} streaming;

size_t stream_size_(const fastrnn_stack *stack, int32_t ids) {
    arena a = {0};
    arena_take(&a, sizeof(streaming));
    steps_in(&a, stack, ids);
    return a.used;
}

void stream_begin_(const fastrnn_stack *stack, const void *packed, int32_t ids, const void *h, const void *c, void *memory) {
    arena a = {.base = memory};
    streaming *k = arena_take(&a, sizeof *k);
    *k = (streaming){.s = steps_in(&a, stack, ids)};
    k->plan = steps_plan(&k->s, 1);
    steps_begin(&k->s, packed, h, c);
}

static void step_body(const worker *me, void *context) {
    const streaming *k = context;
    steps_on(me, &k->s, k->step);
}

void stream_step_(void *memory, const void *x, int64_t id, void *y) {
    streaming *k = memory;
    const int64_t I = k->s.stack.I, Y = output_size(&k->s.stack);
    if (k->s.x)
        memcpy(k->s.x + k->step * I, x, (size_t)I * sizeof(real));
    else
        k->s.ids[k->step] = id;
    pool_run(k->plan.threads, k->plan.time, step_body, k);
    memcpy(y, k->s.y + k->step * Y, (size_t)Y * sizeof(real));
    k->step ^= 1;
}

void stream_states_(const void *memory, void *h, void *c) {
    const streaming *k = memory;
    steps_states(&k->s, k->step ^ 1, h, c);
}

/* Layers that are fed one step at a time, in memory that was laid out once: a step is the arithmetic and little else. */
#include "stream.h"

#include "stack.h"

typedef struct {
    stack s;
    pass_plan plan;
    int64_t step; /* the next one: 0 1 0 1 ... */
} streaming;

/* The stream lies at the beginning of its memory. */
static streaming *place_stream(arena *a, const fastrnn_stream *s, stack *placed) {
    streaming *k = arena_take(a, sizeof *k);
    fastrnn_layer *layers = arena_take(a, (size_t)s->count * sizeof *layers);
    if (layers) memcpy(layers, s->layers, (size_t)s->count * sizeof *layers);
    *placed = place_stack(a, layers ? layers : s->layers, s->count, s->ids);
    return k;
}

size_t stream_size_(const fastrnn_stream *s) {
    arena a = {0};
    stack placed;
    place_stream(&a, s, &placed);
    return a.used;
}

void stream_begin_(const fastrnn_stream *s, const void *h, const void *c, void *memory) {
    arena a = {.base = memory};
    stack placed;
    streaming *k = place_stream(&a, s, &placed);
    *k = (streaming){.s = placed, .plan = stack_plan(&placed, 1)};
    stack_begin(&k->s, s->packed, h, c);
}

static void step_body(const crew *me, void *context) {
    const streaming *k = context;
    stack_step(me, &k->s, k->step);
}

void stream_step_(void *memory, const void *x, int64_t id, void *y) {
    streaming *k = memory;
    const int64_t I = k->s.layers->I, Y = output_size(k->s.layers + k->s.count - 1);
    if (k->s.x)
        memcpy(k->s.x + k->step * I, x, (size_t)I * sizeof(real));
    else
        k->s.ids[k->step] = id;
    crew_run(k->plan.threads, k->plan.time, step_body, k);
    memcpy(y, k->s.y + k->step * Y, (size_t)Y * sizeof(real));
    k->step ^= 1;
}

void stream_states_(const void *memory, void *h, void *c) {
    const streaming *k = memory;
    stack_states(&k->s, k->step ^ 1, h, c);
}

#include "stack.h"

stack place_stack(arena *a, const fastrnn_layer *layers, int32_t count, int ids) {
    stack s = {.layers = layers, .count = count};
    s.walkers = arena_take(a, (size_t)count * sizeof(walker));
    s.ids = arena_take(a, 2 * sizeof(int64_t));
    s.x = ids ? 0 : arena_reals(a, 2 * layers->I);
    const real *x = s.x;
    for (int32_t i = 0; i < count; i++) {
        const fastrnn_layer *l = layers + i;
        const int takes_ids = ids && i == 0;
        walker w = {.kernels = kernels_for(l), .in = {.x = x, .ids = takes_ids ? s.ids : 0}};
        w.walk = arena_take(a, w.kernels->walk_size(l, takes_ids));
        w.out.y = arena_reals(a, 2 * output_size(l));
        x = w.out.y;
        if (s.walkers) s.walkers[i] = w;
    }
    s.y = x;
    return s;
}

void stack_begin(const stack *s, void *const *packed, const real *h, const real *c) {
    for (int32_t i = 0; i < s->count; i++) {
        const fastrnn_layer *l = s->layers + i;
        walker *w = s->walkers + i;
        w->in.h0 = h;
        w->in.c0 = has_c(l) ? c : 0;
        if (h) h += output_size(l);
        if (c && has_c(l)) c += l->H;
        w->kernels->walk_begin(l, packed[i], &w->in, &w->out, w->walk);
    }
}

void stack_step(const crew *me, const stack *s, int64_t step) {
    for (int32_t i = 0; i < s->count; i++) s->walkers[i].kernels->walk_step(me, s->walkers[i].walk, step);
}

void stack_states(const stack *s, int64_t step, real *h, real *c) {
    for (int32_t i = 0; i < s->count; i++) {
        const fastrnn_layer *l = s->layers + i;
        walker *w = s->walkers + i;
        w->out.h_n = h;
        w->out.c_n = has_c(l) ? c : 0;
        h += output_size(l);
        c += has_c(l) ? l->H : 0;
        w->kernels->walk_end(w->walk, step);
    }
}

pass_plan stack_plan(const stack *s, int64_t T) {
    const fastrnn_batch batch = {.T = T, .B = 1};
    pass_plan all = {.at_once = 1, .split = FASTRNN_SPLIT_HIDDEN, .threads = 1};
    for (int32_t i = 0; i < s->count; i++) {
        const pass_plan plan = plan_pass(s->layers + i, &batch, 0);
        all.time += plan.time;
        if (plan.threads > all.threads) all.threads = plan.threads;
    }
    return all;
}

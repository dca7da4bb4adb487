#include "steps.h"

#include "../stack.h"

/* The batch of a layer's pass: two steps that alternate. */
static const fastrnn_batch IN_TURN = {.T = 2, .B = 1, .threads = 1};

static layer_steps *take_layer(arena *a, layer_steps *steps, const fastrnn_stack *stack, int32_t l, int ids) {
    const layer_spec layer = layer_of(stack, l);
    forward_pass pass = {.l = layout_of(&layer), .batch = &IN_TURN, .split = FASTRNN_SPLIT_HIDDEN};
    void *schedule_memory;
    place_inference(a, &pass, ids, &schedule_memory);
    if (!steps) return 0;
    pass.t.steps = schedule_build(&IN_TURN, schedule_memory);
    pass.in = &steps[l].in;
    pass.out = &steps[l].out;
    steps[l].pass = pass;
    return steps + l;
}

stack_steps steps_in(arena *a, const fastrnn_stack *stack, int ids) {
    stack_steps s = {.stack = *stack};
    s.layers = arena_take(a, (size_t)stack->L * sizeof *s.layers);
    s.ids = arena_take(a, 2 * sizeof(int64_t));
    s.x = ids ? 0 : arena_reals(a, 2 * stack->I);
    const real *x = s.x;
    for (int32_t l = 0; l < stack->L; l++) {
        const int takes_ids = ids && l == 0;
        layer_steps *own = take_layer(a, s.layers, stack, l, takes_ids);
        real *y = arena_reals(a, 2 * output_size(stack));
        if (own) {
            own->in = (fastrnn_inputs){.x = x, .ids = takes_ids ? s.ids : 0};
            own->out = (fastrnn_outputs){.y = y};
        }
        x = y;
    }
    s.y = x;
    return s;
}

void steps_begin(const stack_steps *s, const void *packed, const real *h, const real *c) {
    const fastrnn_stack *stack = &s->stack;
    for (int32_t l = 0; l < stack->L; l++) {
        layer_steps *own = s->layers + l;
        own->in.h0 = h ? h + l * output_size(stack) : 0;
        own->in.c0 = c && has_c(stack->cell) ? c + l * stack->H : 0;
        own->pass.packed = packed_part(stack, packed, l);
        pass_begin(&own->pass);
    }
}

void steps_on(const worker *me, const stack_steps *s, int64_t step) {
    for (int32_t l = 0; l < s->stack.L; l++) pass_step(me, &s->layers[l].pass, step);
}

void steps_states(const stack_steps *s, int64_t step, real *h, real *c) {
    const fastrnn_stack *stack = &s->stack;
    for (int32_t l = 0; l < stack->L; l++) {
        layer_steps *own = s->layers + l;
        own->out.h_n = h + l * output_size(stack);
        own->out.c_n = has_c(stack->cell) ? c + l * stack->H : 0;
        pass_end(&own->pass, step);
    }
}

pass_plan steps_plan(const stack_steps *s, int64_t T) {
    const fastrnn_batch batch = {.T = T, .B = 1};
    pass_plan all = {.at_once = 1, .split = FASTRNN_SPLIT_HIDDEN, .threads = 1};
    for (int32_t l = 0; l < s->stack.L; l++) {
        const layer_spec layer = layer_of(&s->stack, l);
        const pass_plan plan = plan_pass(&layer, &batch, 0);
        all.time += plan.time;
        if (plan.threads > all.threads) all.threads = plan.threads;
    }
    return all;
}

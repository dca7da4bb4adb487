/* A stack that is fed one sequence step by step: every layer goes one step on before the next input comes. */
#ifndef FASTRNN_STEPS_H
#define FASTRNN_STEPS_H

#include "../plan.h"
#include "sequence.h"

/* A layer and its two steps. */
typedef struct {
    forward_pass pass;
    fastrnn_inputs in;
    fastrnn_outputs out;
} layer_steps;

/* Arrays of two rows have one for each of the two steps that take turns (sequence.h). */
typedef struct {
    fastrnn_stack stack;
    layer_steps *layers; /* [L] */
    int64_t *ids;        /* [2] what goes in: ids, or */
    real *x;             /* [2][I] vectors; null with ids */
    const real *y;       /* [2][Y] of the top layer */
} stack_steps;

/* Lay a stack out in the arena. `ids`: the input is token ids. */
stack_steps steps_in(arena *a, const fastrnn_stack *stack, int ids);

/* From the layers' states h [L, Y] and c [L, H]; null: zeros. */
void steps_begin(const stack_steps *s, const void *packed, const real *h, const real *c);

/* On by the step (0, 1, 0, ...) whose ids or x have come; y of this step is there for all threads afterwards. */
void steps_on(const crew *me, const stack_steps *s, int64_t step);

/* The states after this last step. The sequence may go on. */
void steps_states(const stack_steps *s, int64_t step, real *h, real *c);

/* For T steps: as many threads as the layer wants that wants the most, and the time of all. */
pass_plan steps_plan(const stack_steps *s, int64_t T);

#endif

/* A stack that takes one sequence step by step: every layer runs one step before the next input comes. */
#ifndef FASTRNN_STEPS_H
#define FASTRNN_STEPS_H

#include "../plan.h"
#include "sequence.h"

/* A layer's pass over its two steps. */
typedef struct {
    forward_pass pass;
    fastrnn_inputs in;
    fastrnn_outputs out;
} layer_steps;

/* Arrays of two rows have one row for each of the two alternating steps (sequence.h). */
typedef struct {
    fastrnn_stack stack;
    layer_steps *layers; /* [L] */
    int64_t *ids;        /* [2] input ids, or */
    real *x;             /* [2][I] input vectors; null with ids */
    const real *y;       /* [2][Y] output of the top layer */
} stack_steps;

/* Lay out a stack in the arena. `ids`: the input is token ids. */
stack_steps steps_in(arena *a, const fastrnn_stack *stack, int ids);

/* Begin a sequence from the layers' states h [L, Y] and c [L, H]; null means zeros. */
void steps_begin(const stack_steps *s, const void *packed, const real *h, const real *c);

/* Run step 0 or 1, in turn, whose id or x the caller has stored. Afterwards all threads see y of this step. */
void steps_on(const worker *me, const stack_steps *s, int64_t step);

/* Copy the states after the last step. The sequence may continue. */
void steps_states(const stack_steps *s, int64_t step, real *h, real *c);

/* Plan T steps: the number of threads is the largest that any layer wants, the time is the sum over the layers. */
pass_plan steps_plan(const stack_steps *s, int64_t T);

#endif

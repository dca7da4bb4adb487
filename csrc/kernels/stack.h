/* Layers on top of each other, all on a walk (sequence.h): one sequence, one step after another, every step on its own. */
#ifndef FASTRNN_STACK_H
#define FASTRNN_STACK_H

#include "../plan.h"
#include "../sizes.h"
#include "../table.h"
#include "rows.h"

/* A layer on its walk. Each may have been packed for an ISA of its own. */
typedef struct {
    const fastrnn_kernels *kernels;
    void *walk;
    fastrnn_input in;
    fastrnn_output out;
} walker;

/* Arrays of two rows have one for each of the two steps that take turns. */
typedef struct {
    const fastrnn_layer *layers; /* [count] */
    int32_t count;
    walker *walkers; /* [count] */
    int64_t *ids;    /* [2] what goes in: ids, or */
    real *x;         /* [2][I] vectors; null with ids */
    const real *y;   /* [2][Y] of the top layer */
} stack;

/* Lay a stack out in the arena. `ids`: the first layer takes token ids. */
stack place_stack(arena *a, const fastrnn_layer *layers, int32_t count, int ids);

/* From the layers' states, concatenated: h [Y] of each, c [H] of each that has one; null: zeros. */
void stack_begin(const stack *s, void *const *packed, const real *h, const real *c);

/* On by the step (0, 1, 0, ...) whose ids or x have come; y of this step is there for all threads afterwards. */
void stack_step(const crew *me, const stack *s, int64_t step);

/* The states after this last step, in the same form. The walk may go on. */
void stack_states(const stack *s, int64_t step, real *h, real *c);

/* For T steps: as many threads as the layer wants that wants the most, and the time of all. */
pass_plan stack_plan(const stack *s, int64_t T);

#endif

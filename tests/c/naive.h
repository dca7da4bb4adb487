/* A reference layer in plain loops and doubles, with which the library is compared. */
#ifndef NAIVE_H
#define NAIVE_H

#include "fastrnn.h"

enum { IN_X, IN_H0, IN_C0, IN_W, IN_R, IN_B_IH, IN_B_HH, IN_PEEPHOLE, IN_PROJECTION, INPUTS };
enum { OUT_Y, OUT_H_N, OUT_C_N, OUT_C, OUTPUTS };
extern const char *const INPUT_NAMES[INPUTS], *const OUTPUT_NAMES[OUTPUTS];

/* The layer to compute. `gradients`: the outputs (bits 1 << OUT_...) that the loss depends on. */
typedef struct {
    int32_t cell;
    int64_t I, H, P, T, B;
    int ids, lengths, reverse, bias;
    int gradients;
} model;

enum { EVERY_OUTPUT = (1 << OUTPUTS) - 1 };

/* A model with values for all its inputs. An input that it lacks has size 0. Values past a length are NaN. */
typedef struct {
    model m;
    int64_t *lengths, *ids; /* null where the model has none */
    double *in[INPUTS];
    int64_t in_size[INPUTS];
    double *dout[OUTPUTS]; /* the loss is the sum of dout * out; null: zero */
    int64_t out_size[OUTPUTS];
} problem;

int is_lstm(const model *m);
int64_t output_width(const model *m);
int64_t length_of(const problem *p, int64_t b);

/* Describe the model in one line, in a static buffer for each thread. */
const char *describe(const model *m);

problem new_problem(const model *m, uint64_t seed);
void free_problem(problem *p);

/* Arrays for all outputs. */
typedef struct {
    double *out[OUTPUTS];
} outputs;
outputs new_outputs(const problem *p);
void free_outputs(outputs *o);

void naive_forward(const problem *p, outputs *o);

/* Return the sum of dout * out, after a forward pass into `scratch`. */
double naive_loss(const problem *p, outputs *scratch);

#endif

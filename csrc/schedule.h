/* Which rows run at which step: lengths and direction, turned into one order that the kernels can walk blindly.
 *
 * Packed order: sequences sorted by length, longest first, so the rows active at step s are always the first count(s), and
 * row n = offset[s] + j holds step s of the j-th longest sequence. Step s of a reversed sequence of length l is its time
 * l-1-s. A sequence of length 0 has no rows: it is last in the order, and its final state is its initial one. A batch of no
 * sequences, or of such ones alone, has no steps. Kernels see only packed rows; x is gathered and y scattered through
 * `source` at the border. */
#ifndef FASTRNN_SCHEDULE_H
#define FASTRNN_SCHEDULE_H

#include "fastrnn.h"

typedef struct {
    int64_t B, S, N;       /* sequences; steps (the longest length); packed rows in all */
    const int64_t *offset; /* [S+1] first packed row of each step; offset[S] = N */
    const int64_t *order;  /* [B] the sequence behind packed row j of a step; null: j itself */
    const int64_t *source; /* [N] row t*B + b of x and y behind each packed row; null: the same row */
} schedule;

static inline int64_t active(const schedule *s, int64_t step) { return s->offset[step + 1] - s->offset[step]; }
static inline int64_t sequence_of(const schedule *s, int64_t j) { return s->order ? s->order[j] : j; }
static inline int64_t source_of(const schedule *s, int64_t n) { return s->source ? s->source[n] : n; }

/* Sequences that have a step at all: the rest, at the end of the order, are of length 0. */
static inline int64_t started(const schedule *s) { return s->S ? active(s, 0) : 0; }

/* Row of the states, B initial ones and then each step's, that holds the state after (before) step s of the first active
 * sequence; after step -1 comes what is before step 0. */
static inline int64_t row_after(const schedule *s, int64_t step) { return step < 0 ? 0 : s->B + s->offset[step]; }
static inline int64_t row_before(const schedule *s, int64_t step) { return row_after(s, step - 1); }

/* Packed rows in all, without building the schedule. */
int64_t schedule_rows(const fastrnn_batch *batch);

/* Memory for a schedule's arrays, and building it there. */
size_t schedule_size(const fastrnn_batch *batch);
schedule schedule_build(const fastrnn_batch *batch, void *memory);

#endif

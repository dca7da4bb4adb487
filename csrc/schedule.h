/* The order in which rows run: lengths and direction become one order of rows, so the kernels need to know neither.
 *
 * Packed order: sequences are sorted by length, the longest first. So the rows active at step s are always the first
 * active(s) sequences, and packed row n = offset[s] + j holds step s of the j-th longest sequence. Step s of a reversed
 * sequence of length l is its time l-1-s. A sequence of length 0 has no rows: it comes last in the order, and its final
 * state is its initial state. If all sequences have length 0, or there are none, there are no steps. Kernels see only
 * packed rows; `source` maps them to rows of x and y. */
#ifndef FASTRNN_SCHEDULE_H
#define FASTRNN_SCHEDULE_H

#include "fastrnn.h"

typedef struct {
    int64_t B, S, N;       /* sequences; steps (the longest length); packed rows in all */
    const int64_t *offset; /* [S+1] first packed row of each step; offset[S] = N */
    const int64_t *order;  /* [B] the sequence behind packed row j of a step; null: j itself */
    const int64_t *source; /* [N] row of x and y behind each packed row; null: the same row */
} schedule;

static inline int64_t active(const schedule *s, int64_t step) { return s->offset[step + 1] - s->offset[step]; }
static inline int64_t sequence_of(const schedule *s, int64_t j) { return s->order ? s->order[j] : j; }
static inline int64_t source_of(const schedule *s, int64_t n) { return s->source ? s->source[n] : n; }

/* Return the number of sequences that have a step. The others, at the end of the order, have length 0. */
static inline int64_t started(const schedule *s) { return s->S ? active(s, 0) : 0; }

/* Return the first row of the states after (before) a step. An array of states begins with B rows of initial states; the
 * rows of steps 0, 1, ... follow. Step -1 stands for the initial states. */
static inline int64_t row_after(const schedule *s, int64_t step) { return step < 0 ? 0 : s->B + s->offset[step]; }
static inline int64_t row_before(const schedule *s, int64_t step) { return row_after(s, step - 1); }

/* Return the number of packed rows, without building the schedule. */
int64_t schedule_rows(const fastrnn_batch *batch);

/* Return the number of rows of x and y. */
static inline int64_t array_rows(const fastrnn_batch *batch) {
    return batch->rows == FASTRNN_PACKED ? schedule_rows(batch) : batch->T * batch->B;
}

/* Return the row of x and y that holds time t of sequence b, unless only packed rows exist. */
static inline int64_t array_row(const fastrnn_batch *batch, int64_t t, int64_t b) {
    return batch->rows == FASTRNN_BATCH_MAJOR ? b * batch->T + t : t * batch->B + b;
}

/* Return whether x and y have rows past the lengths, which are zero in the results. */
static inline int has_padding(const fastrnn_batch *batch) { return batch->lengths && batch->rows != FASTRNN_PACKED; }

/* Return whether the packed rows differ from the rows of x and y in their order. */
int schedule_moves_rows(const fastrnn_batch *batch);

/* Return the size of a schedule's arrays in bytes; build a schedule in such memory. */
size_t schedule_size(const fastrnn_batch *batch);
schedule schedule_build(const fastrnn_batch *batch, void *memory);

#endif

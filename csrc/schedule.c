#include "schedule.h"

static int64_t length_of(const fastrnn_batch *batch, int64_t b) { return batch->lengths ? batch->lengths[b] : batch->T; }

static int64_t longest(const fastrnn_batch *batch) {
    int64_t most = 0;
    for (int64_t b = 0; b < batch->B; b++)
        if (length_of(batch, b) > most) most = length_of(batch, b);
    return most;
}

int64_t schedule_rows(const fastrnn_batch *batch) {
    if (!batch->lengths) return batch->T * batch->B;
    int64_t rows = 0;
    for (int64_t b = 0; b < batch->B; b++) rows += batch->lengths[b];
    return rows;
}

int schedule_moves_rows(const fastrnn_batch *batch) {
    if (batch->reverse) return 1;
    if (batch->rows == FASTRNN_PACKED) return 0;
    const int transposed = batch->rows == FASTRNN_BATCH_MAJOR && batch->T > 1 && batch->B > 1;
    return batch->lengths || transposed;
}

size_t schedule_size(const fastrnn_batch *batch) {
    int64_t words = batch->T + 1;
    if (schedule_moves_rows(batch)) words += batch->B + schedule_rows(batch);
    return (size_t)words * sizeof(int64_t);
}

/* Set offset[s+1] to the number of rows in steps 0..s: a histogram of lengths, summed from the long end (sequences
 * longer than s), then summed over the steps. Sequences of length 0 have no rows, so they are not counted. */
static void fill_offsets(const fastrnn_batch *batch, int64_t S, int64_t *offset) {
    for (int64_t s = 0; s <= S; s++) offset[s] = 0;
    for (int64_t b = 0; b < batch->B; b++) offset[length_of(batch, b)]++;
    offset[0] = 0;
    for (int64_t s = S - 1; s >= 1; s--) offset[s] += offset[s + 1];
    for (int64_t s = 1; s <= S; s++) offset[s] += offset[s - 1];
}

/* Sort the sequences by length, the longest first; equal lengths keep their order. The sequences of length l end at
 * place active(l-1), where the shorter ones begin. */
static void fill_order(const fastrnn_batch *batch, schedule *s, int64_t *order) {
    int64_t j = 0;
    for (int64_t length = s->S; length >= 0; length--) {
        int64_t end = length ? active(s, length - 1) : batch->B;
        for (int64_t b = 0; j < end && b < batch->B; b++)
            if (length_of(batch, b) == length) order[j++] = b;
    }
}

static void fill_source(const fastrnn_batch *batch, const schedule *s, int64_t *source) {
    for (int64_t step = 0; step < s->S; step++)
        for (int64_t j = 0; j < active(s, step); j++) {
            int64_t b = s->order[j];
            int64_t t = batch->reverse ? length_of(batch, b) - 1 - step : step;
            source[s->offset[step] + j] = batch->rows == FASTRNN_PACKED ? s->offset[t] + j : array_row(batch, t, b);
        }
}

schedule schedule_build(const fastrnn_batch *batch, void *memory) {
    int64_t *offset = memory;
    schedule s = {.B = batch->B, .S = longest(batch), .offset = offset};
    fill_offsets(batch, s.S, offset);
    s.N = offset[s.S];
    if (schedule_moves_rows(batch)) {
        int64_t *order = offset + batch->T + 1, *source = order + batch->B;
        s.order = order;
        fill_order(batch, &s, order);
        s.source = source;
        fill_source(batch, &s, source);
    }
    return s;
}

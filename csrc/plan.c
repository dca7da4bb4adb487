/* How many threads a pass deserves, and over what they divide it: a small cost model.
 *
 * Split over the batch, threads never wait for each other inside the sweep, but each reads all weights, and tiles get lower.
 * Split over hidden units, each keeps its share of the weights in its own cache and tiles stay high, for a barrier (some
 * tenths of a microsecond) after every step. Results are the same bits either way. */
#include "parallel.h"
#include "table.h"

/* Measured on two cores; in multiply-adds. WORTH_WAKING, for a whole pass, is in parallel.h. */
static const double WORTH_BARRIER = 60e3; /* a step: a barrier costs about 0.3 us, so at most a third is lost */
enum { ROWS_PER_THREAD = 24 };            /* enough rows for a thread to fill several tiles */

static int gates_of(const fastrnn_layer *layer) {
    static const int gates[] = {1, 1, 3, 3, 2, 4, 4};
    return gates[layer->cell];
}

void fastrnn_plan(const fastrnn_layer *layer, const fastrnn_batch *batch, int32_t *split, int32_t *threads) {
    const int64_t T = batch->T, B = batch->B;
    const int64_t Y = layer->P ? layer->P : layer->H, lanes = kernels_for(layer)->vector_lanes;
    const int64_t panels = (layer->H + lanes - 1) / lanes;
    const double per_row = (double)gates_of(layer) * (double)layer->H * (double)Y;
    const double step = per_row * (double)B;
    const double pass = step * (double)T * (1.0 + (double)layer->I / (double)Y);
    const int32_t most = batch->threads ? batch->threads : crew_threads();
    *split = FASTRNN_SPLIT_NONE;
    *threads = 1;
    if (most == 1 || pass < WORTH_WAKING) return;
    if (B >= (int64_t)ROWS_PER_THREAD * most || (step < WORTH_BARRIER && B >= 2 * most)) {
        *split = FASTRNN_SPLIT_BATCH;
        *threads = most;
    } else if (step >= WORTH_BARRIER && panels > 1) {
        *split = FASTRNN_SPLIT_HIDDEN;
        *threads = panels < most ? (int32_t)panels : most;
    }
}

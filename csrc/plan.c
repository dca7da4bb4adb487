/* Choose how many threads run a pass and what they split, by estimating the time of each split.
 *
 * A pass is T steps, one after the other, and products over all steps, which every split divides evenly. In a step a
 * thread reads its share of the weights R as vectors, and multiplies each vector by its rows of the batch:
 *
 *     none     one thread: all rows, all of R
 *     batch    each thread has a share of the rows and all of R. No thread waits for another between the steps. In the
 *              forward pass each thread also reads W in every step, for the input product of its own rows.
 *     hidden   each thread has all rows and a share of R, which may then fit its own cache. There is a barrier after every
 *              step, and the other threads' part of the state (backward: of the gates) comes out of their caches.
 *
 * The result is the same to the bit with every split. */
#include "plan.h"

#include "parallel.h"
#include "table.h"

/* Costs in nanoseconds, measured on a Zen 5 with vectors of 64 bytes. Only their proportions decide the split, and for
 * most sizes one split is clearly the fastest. Whether a pass is brief (parallel.h) depends on the absolute time. */
static const double FMA = 0.14;    /* one vector times one row */
static const double MATRIX = 0.05; /* the same for words on a matrix unit: an estimate, not measured */
static const double CELL = 3;      /* activations of one vector of gates in one row */
static const double STEP = 100;    /* fixed cost of a step */
static const double FETCH = 3;     /* a cache line out of another core's cache */
static const double BARRIER = 60;  /* a barrier, for each thread that arrives */
static const double WAKE = 5000;   /* waking workers that still spin after the last call */
static const double MEET = 400;    /* a barrier for one small result, and fetching it from another core's cache */
enum { L1_BYTES = 32 << 10, L2_BYTES = 1 << 20 };

/* Return the time to read one vector of R, by the cache that holds a thread's part. */
static double load_time(double bytes) { return bytes <= L1_BYTES ? 0.05 : bytes <= L2_BYTES ? 0.15 : 0.4; }

/* A pass as the estimate sees it; sizes are in vectors. */
typedef struct {
    double fma; /* one vector of weights times one row */
    double T, B;
    double gates;     /* gates of a row */
    double recurrent; /* R */
    double input;     /* W, forward; 0 backward */
    double whole;     /* multiply-adds of the products over all steps, for one row */
    double exchanged; /* values of a row that other threads read after a step */
    double panels;    /* the number of parts of R that threads can share */
    double vector_bytes;
} pass;

static int gates_of(const layer_spec *layer) {
    static const int gates[] = {1, 1, 3, 3, 2, 4, 4};
    return gates[layer->cell];
}

static pass pass_of(const layer_spec *layer, const fastrnn_batch *batch, int32_t backward) {
    const fastrnn_kernels *kernels = kernels_for(layer);
    const int pairs = multiplies_pairs(layer), slices = multiplies_slices(layer, kernels->matrix_unit);
    const int64_t lanes = kernels->vector_lanes, outputs = layer->P ? layer->P : layer->H;
    const double gates = (double)(gates_of(layer) * ((layer->H + lanes - 1) / lanes));
    /* A vector of words has two bfloat16 numbers for each float. Three slices, of the forward pass, have three quarters of
     * its bytes, and six products of four digits to a word. Backward has four slices and ten products. */
    const double words = pairs ? 0.5 : slices && !backward ? 0.75 : 1;
    const double I = (double)layer->I * words, Y = (double)outputs * words;
    pass p = {.fma = slices                          ? (backward ? 2.5 : 2) * MATRIX
                     : pairs && kernels->matrix_unit ? MATRIX
                                                     : FMA,
              .T = (double)batch->T,
              .B = (double)batch->B,
              .gates = gates,
              .recurrent = gates * Y};
    p.input = backward ? 0 : gates * I;
    p.whole = backward ? gates * (2 * I + Y) : p.input; /* backward: dW, dx and dR */
    p.exchanged = backward ? gates : (double)((outputs + lanes - 1) / lanes);
    p.panels = (double)kernels->step_panels(layer, backward);
    static const int compressed[] = {0, 2, 1};
    const int compresses = layer->weights && !pairs;
    p.vector_bytes = (double)lanes * (compresses ? compressed[layer->weights] : layer->dtype == FASTRNN_FLOAT64 ? 8 : 4);
    return p;
}

static double shared(double n, double threads) {
    double whole = (double)(int64_t)(n / threads);
    return whole * threads < n ? whole + 1 : whole;
}

/* Return the time to read one vector of a thread's part of the weights. In a short sequence R shares the cache
 * with the weights of the other products; in a long one it soon has the cache to itself. */
static double weight_time(const pass *p, double part) {
    return load_time(part * (p->recurrent + p->whole / p->T) * p->vector_bytes);
}

/* Return the time of one step for a thread that has `rows` rows and the fraction `part` of R. */
static double step_time(const pass *p, double rows, double part) {
    return STEP + part * (p->recurrent * (rows * p->fma + weight_time(p, part)) + p->gates * rows * CELL);
}

/* Return the time of the products over all steps for a thread that does the fraction `part` of them. Their weights are
 * read once. */
static double products_time(const pass *p, double part) {
    return part * p->whole * (p->T * p->B * p->fma + weight_time(p, part));
}

static double time_of(const pass *p, int32_t split, double threads) {
    if (split == FASTRNN_SPLIT_NONE) return p->T * step_time(p, p->B, 1) + products_time(p, 1);
    if (split == FASTRNN_SPLIT_BATCH) {
        const double rows = shared(p->B, threads), weights = p->input * load_time(p->input * p->vector_bytes);
        return WAKE + p->T * (step_time(p, rows, 1) + weights) + products_time(p, p->input ? rows / p->B : 1 / threads);
    }
    const double others = p->B * p->exchanged * (threads - 1) / threads * FETCH;
    return WAKE + p->T * (step_time(p, p->B, shared(p->panels, threads) / p->panels) + threads * BARRIER + others) +
           products_time(p, 1 / threads);
}

static pass_plan fastest_way(const pass *p, int32_t most) {
    pass_plan best = {1, FASTRNN_SPLIT_NONE, 1, time_of(p, FASTRNN_SPLIT_NONE, 1)};
    for (int32_t split = FASTRNN_SPLIT_BATCH; most > 1 && split <= FASTRNN_SPLIT_HIDDEN; split++) {
        const int32_t n = split == FASTRNN_SPLIT_HIDDEN && p->panels < most ? (int32_t)p->panels : most;
        const double time = time_of(p, split, n);
        if (n > 1 && time < best.time) best = (pass_plan){1, split, n, time};
    }
    return best;
}

/* Choose whether both directions run at once, each with half of the threads, or one after the other with all of them. */
pass_plan plan_pass(const layer_spec *layer, const fastrnn_batch *batch, int32_t backward) {
    const int32_t most = batch->threads ? batch->threads : pool_threads(), directions = layer->directions;
    if (most == 1 || !batch->B) return (pass_plan){1, FASTRNN_SPLIT_NONE, 1, 0};
    const pass p = pass_of(layer, batch, backward);
    const pass_plan in_turn = fastest_way(&p, most);
    if (directions == 1) return in_turn;
    pass_plan at_once = fastest_way(&p, most / directions);
    at_once.at_once = directions;
    if (at_once.threads == 1) at_once.time += WAKE;
    return at_once.time < directions * in_turn.time ? at_once : in_turn;
}

int32_t plan_threads(double time) { return time / 2 < WAKE ? 1 : pool_threads(); }

int32_t plan_shares(double time) { return time / 2 >= MEET; }

int32_t fastrnn_plan(const fastrnn_stack *stack, int32_t layer, const fastrnn_batch *batch, int32_t backward, int32_t *split,
                     int32_t *threads) {
    const layer_spec spec = layer_of(stack, layer);
    const pass_plan plan = plan_pass(&spec, batch, backward);
    *split = plan.split;
    *threads = plan.threads;
    return plan.at_once;
}

/* Layers run at once if the estimated speed-up is at least this. Below it, two cores (Zen 4) gained nothing or lost 5 %
 * (LSTM 2 x 128, B = 1). */
static const double WORTH_A_WAVE = 1.1;

int32_t most_layers_at_once(const fastrnn_stack *stack, const fastrnn_batch *batch) {
    if (stack->D > 1 || !batch->B || batch->reverse || batch->lengths || batch->rows != FASTRNN_TIME_MAJOR) return 1;
    if (wave_chunks(batch) < 2) return 1;
    return batch->threads && batch->threads < stack->L ? batch->threads : stack->L;
}

/* A diagonal of the wavefront (wavefront.c) takes as long as the thread with the most layers; all threads meet after it. */
int32_t fastrnn_plan_layers(const fastrnn_stack *stack, const fastrnn_batch *batch) {
    const int32_t possible = most_layers_at_once(stack, batch);
    if (possible == 1) return 1;
    const int32_t most = batch->threads ? batch->threads : pool_threads(), threads = most < possible ? most : possible;
    if (threads < 2) return 1;
    double in_turn = 0, alone = 0;
    for (int32_t l = 0; l < stack->L; l++) {
        const layer_spec layer = layer_of(stack, l);
        const pass p = pass_of(&layer, batch, 0);
        in_turn += fastest_way(&p, most).time;
        const double time = time_of(&p, FASTRNN_SPLIT_NONE, 1);
        alone = time > alone ? time : alone;
    }
    const double chunks = (double)wave_chunks(batch), of_one = shared(stack->L, threads);
    const double diagonal = of_one * alone / chunks + threads * BARRIER;
    return WORTH_A_WAVE * (WAKE + (chunks + stack->L - 1) * diagonal) < in_turn ? threads : 1;
}

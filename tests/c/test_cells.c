/* Tests of every cell and option, forward and backward: outputs are compared with the reference layer, gradients with
 * its finite differences. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"
#include "test_groups.h"

/* Tolerances relative to the largest value of the array, or to 1. */
static const double FORWARD_TOLERANCE[] = {[FASTRNN_FLOAT32] = 2e-5, [FASTRNN_FLOAT64] = 1e-12};
static const double GRADIENT_TOLERANCE[] = {[FASTRNN_FLOAT32] = 2e-5, [FASTRNN_FLOAT64] = 1e-8};
static const double ROUNDED_TOLERANCE = 2e-2; /* 8 significant bits */
/* int8 weights multiply rows that are rounded to 16 bits; tests/test_int8.py compares with rounded rows. */
static const double INTEGER_TOLERANCE = 3e-4;
static const char *const DTYPE_NAMES[] = {[FASTRNN_FLOAT32] = "float32", [FASTRNN_FLOAT64] = "float64"};

/* The expected results of a problem, from the reference layer. */
typedef struct {
    const problem *p;
    outputs o;
    int whole;                 /* every element of every gradient is known; otherwise only its slope along one direction */
    double *gradient[INPUTS];  /* null while unknown */
    double *direction[INPUTS]; /* elements +1 and -1 */
    double slope[INPUTS];
} expected;

/* Return the step of the difference formula. The formula's own error is of order step^4; rounding adds about 1e-16 /
 * step. relu has no derivative at 0, so it needs a step so small that none of these problems' sums crosses 0. */
static double step_for(const model *m) { return m->cell == FASTRNN_RNN_RELU ? 1e-7 : 1e-5; }

/* Return d loss / d step at 0, with in[i] + step * direction (null: only the element at `only`), by the five-point
 * formula. */
static double difference(const expected *e, int i, const double *direction, int64_t only, outputs *scratch) {
    static const double at[] = {1, -1, 2, -2}, weight[] = {8, -8, -1, 1};
    const int64_t begin = direction ? 0 : only, end = direction ? e->p->in_size[i] : only + 1;
    const double step = step_for(&e->p->m);
    double *x = e->p->in[i], *saved = allocate((size_t)(end - begin) * sizeof *saved), sum = 0;
    memcpy(saved, x + begin, (size_t)(end - begin) * sizeof *saved);
    for (int k = 0; k < 4; k++) {
        for (int64_t n = begin; n < end; n++) x[n] = saved[n - begin] + at[k] * step * (direction ? direction[n] : 1);
        sum += weight[k] * naive_loss(e->p, scratch);
    }
    memcpy(x + begin, saved, (size_t)(end - begin) * sizeof *saved);
    free(saved);
    return sum / (12 * step);
}

static expected expect_of(const problem *p, int whole) {
    expected e = {.p = p, .o = new_outputs(p), .whole = whole};
    outputs scratch = new_outputs(p);
    uint64_t state = 1;
    naive_forward(p, &e.o);
    for (int i = 0; i < INPUTS; i++) {
        const int64_t n = p->in_size[i];
        if (!n) continue;
        if (whole) {
            e.gradient[i] = allocate((size_t)n * sizeof(double));
            for (int64_t k = 0; k < n; k++) e.gradient[i][k] = isnan(p->in[i][k]) ? 0 : difference(&e, i, NULL, k, &scratch);
        } else {
            e.direction[i] = allocate((size_t)n * sizeof(double));
            for (int64_t k = 0; k < n; k++) e.direction[i][k] = next_value(&state) < 0 ? -1 : 1;
            e.slope[i] = difference(&e, i, e.direction[i], 0, &scratch);
        }
    }
    free_outputs(&scratch);
    return e;
}

static void free_expected(expected *e) {
    free_outputs(&e->o);
    for (int i = 0; i < INPUTS; i++) {
        free(e->gradient[i]);
        free(e->direction[i]);
    }
}

static void expect_close(const problem *p, setup s, const char *name, int64_t n, const double *found, const double *right,
                         double tolerance) {
    double largest = 1, worst = 0;
    int64_t where = 0;
    for (int64_t i = 0; i < n; i++) {
        double error = fabs(found[i] - right[i]);
        if (fabs(right[i]) > largest) largest = fabs(right[i]);
        if (!(error <= worst)) worst = error, where = i;
        if (isnan(error)) break;
    }
    expect(worst <= tolerance * largest, "%s %s %s: %s[%d] is %.17g, not %.17g", describe(&p->m), fastrnn_isa_name(s.isa),
           DTYPE_NAMES[s.dtype], name, (int)where, found[where], right[where]);
}

static void expect_slope(const expected *e, setup s, int i, const double *found) {
    const double rounding = 1e-13 / step_for(&e->p->m);
    const double tolerance = GRADIENT_TOLERANCE[s.dtype] > rounding ? GRADIENT_TOLERANCE[s.dtype] : rounding;
    double along = 0, squares = 1;
    for (int64_t n = 0; n < e->p->in_size[i]; n++) {
        along += found[n] * e->direction[i][n];
        squares += found[n] * found[n];
    }
    expect(fabs(along - e->slope[i]) <= tolerance * sqrt(squares), "%s %s: the slope of d%s is %.17g, not %.17g",
           describe(&e->p->m), fastrnn_isa_name(s.isa), INPUT_NAMES[i], along, e->slope[i]);
}

static void check_outputs(const expected *e, setup s, const results *r, double tolerance) {
    for (int i = 0; i < OUTPUTS; i++)
        if (r->o.out[i]) expect_close(e->p, s, OUTPUT_NAMES[i], e->p->out_size[i], r->o.out[i], e->o.out[i], tolerance);
}

/* Check the gradients. If only slopes are known, the first float64 gradient with the right slopes is the reference for
 * the others. */
static void check_gradients(expected *e, setup s, const results *r) {
    for (int i = 0; i < INPUTS; i++) {
        if (!r->grad[i]) continue;
        const int64_t n = e->p->in_size[i];
        char name[32];
        snprintf(name, sizeof name, "d%s", INPUT_NAMES[i]);
        if (!e->whole) expect_slope(e, s, i, r->grad[i]);
        if (e->gradient[i])
            expect_close(e->p, s, name, n, r->grad[i], e->gradient[i], GRADIENT_TOLERANCE[s.dtype]);
        else if (s.dtype == FASTRNN_FLOAT64)
            e->gradient[i] = as_doubles(FASTRNN_FLOAT64, n, r->grad[i]);
    }
}

static void check_kernel(int32_t isa, int32_t dtype, void *context) {
    expected *e = context;
    setup inference = {.isa = isa, .dtype = dtype}, training = {.isa = isa, .dtype = dtype, .training = 1};
    results in_inference = run_layer(e->p, inference), all = run_layer(e->p, training);
    training.minimal = 1;
    results few = run_layer(e->p, training);
    check_outputs(e, inference, &in_inference, FORWARD_TOLERANCE[dtype]);
    check_outputs(e, training, &all, FORWARD_TOLERANCE[dtype]);
    check_gradients(e, training, &all);
    expect_same(e->p, &all, &few, "with fewer results");
    free_results(&in_inference);
    free_results(&all);
    free_results(&few);
}

static void check(const model *m, int whole, uint64_t seed) {
    problem p = new_problem(m, seed);
    expected e = expect_of(&p, whole);
    each_kernel(check_kernel, &e);
    free_expected(&e);
    free_problem(&p);
}

/* Check every combination of options, at sizes small enough to differentiate by every element. */
static void small_sizes(int32_t cell, int64_t P) {
    static const struct {
        int64_t T, B, I, H;
    } sizes[] = {{1, 1, 1, 1}, {3, 4, 2, 3}};
    for (int size = 0; size < 2; size++)
        for (int options = 0; options < 16; options++) {
            model m = {cell,        sizes[size].I,    sizes[size].H,    P && size ? P : P > 0, sizes[size].T, sizes[size].B,
                       options & 1, options >> 1 & 1, options >> 2 & 1, options >> 3 & 1,      EVERY_OUTPUT};
            check(&m, 1, (uint64_t)options);
        }
    for (int output = 0; output < OUTPUTS;
         output++) { /* a loss that depends on one output alone; the other gradients are null */
        model m = {cell, 2, 3, P, 3, 2, 0, 1, 0, 1, 1 << output};
        check(&m, 1, (uint64_t)output);
    }
}

/* Check sizes that cross every boundary in the kernels: vectors, tiles, panels, chunks of steps, blocks of k, buffers of
 * rows. */
static void large_sizes(int32_t cell, int64_t P) {
    static const struct {
        int64_t T, B, I, H;
    } sizes[] = {{5, 7, 17, 16}, {3, 2, 9, 33}, {40, 7, 5, 20},  {2, 200, 3, 9},  {3, 1, 150, 130}, {7, 13, 1, 31},
                 {4, 97, 70, 5}, {1, 6, 6, 65}, {300, 1, 2, 12}, {2, 12, 64, 47}, {4, 5, 150, 17}};
    for (int size = 0; size < (int)(sizeof sizes / sizeof *sizes); size++) {
        int64_t H = sizes[size].H, projected = !P ? 0 : size % 3 == 0 ? 1 : size % 3 == 1 ? H - 1 : H / 2 + 1;
        int options = size + cell;
        model m = {cell,          sizes[size].I,    H,           projected,
                   sizes[size].T, sizes[size].B,    options & 1, options >> 1 & 1,
                   size >> 1 & 1, options % 3 != 0, EVERY_OUTPUT};
        check(&m, 0, (uint64_t)size + 100);
    }
}

static void check_compressed(int32_t isa, int32_t dtype, void *context) {
    static const int32_t formats[] = {FASTRNN_WEIGHTS_BFLOAT16, FASTRNN_WEIGHTS_INT8};
    const model *m = context;
    for (int i = 0; dtype == FASTRNN_FLOAT32 && i < 2; i++) {
        problem p = new_problem(m, 7);
        round_weights(&p, formats[i]);
        expected e = {.p = &p, .o = new_outputs(&p)};
        naive_forward(&p, &e.o);
        setup inference = {.isa = isa, .dtype = dtype, .weights = formats[i]};
        results found = run_layer(&p, inference);
        check_outputs(&e, inference, &found,
                      formats[i] == FASTRNN_WEIGHTS_INT8 ? INTEGER_TOLERANCE : FORWARD_TOLERANCE[dtype]);
        free_results(&found);
        free_expected(&e);
        free_problem(&p);
    }
}

/* Check products of bfloat16 numbers: that they read and write no more than is theirs, and that the values are near those of
 * exact products. tests/test_precision_recurrent.py compares every step with rounded operands. */
static void check_rounded(int32_t isa, int32_t dtype, void *context) {
    const model *m = context;
    if (dtype != FASTRNN_FLOAT32) return;
    problem p = new_problem(m, 7);
    expected e = {.p = &p, .o = new_outputs(&p)};
    naive_forward(&p, &e.o);
    for (int training = 0; training < 2; training++) {
        setup s = {.isa = isa, .dtype = dtype, .training = training, .products = FASTRNN_PRODUCTS_BFLOAT16};
        results found = run_layer(&p, s);
        for (int i = 0; i < OUTPUTS; i++)
            if (found.o.out[i])
                expect_close(&p, s, OUTPUT_NAMES[i], p.out_size[i], found.o.out[i], e.o.out[i], ROUNDED_TOLERANCE);
        free_results(&found);
    }
    free_expected(&e);
    free_problem(&p);
}

/* Check compressed weights and products of bfloat16 at sizes that cross the boundaries of words, vectors, panels and blocks
 * of k. */
static void compressed_sizes(int32_t cell, int64_t P) {
    static const struct {
        int64_t T, B, I, H;
    } sizes[] = {{1, 1, 1, 1}, {3, 1, 150, 130}, {4, 7, 131, 33}, {3, 2, 9, 66}, {2, 97, 5, 15}, {2, 25, 9, 131}};
    for (int size = 0; size < 2 * (int)(sizeof sizes / sizeof *sizes); size++) {
        const int i = size / 2, ids = size % 2;
        model m = {cell,       sizes[i].I, sizes[i].H, P && sizes[i].H > 2 ? sizes[i].H / 2 + 1 : P > 0,
                   sizes[i].T, sizes[i].B, ids,        i % 2,
                   i == 2,     i != 3,     0};
        each_kernel(check_compressed, &m);
        each_kernel(check_rounded, &m);
    }
}

void test_cells(void) {
    fastrnn_set_num_threads(1); /* test_threads compares other numbers of threads with one */
    static const struct {
        const char *name;
        int32_t cell;
        int64_t P;
    } kinds[] = {{"rnn tanh", FASTRNN_RNN_TANH, 0},
                 {"rnn relu", FASTRNN_RNN_RELU, 0},
                 {"gru", FASTRNN_GRU, 0},
                 {"gru reset before", FASTRNN_GRU_RESET_BEFORE, 0},
                 {"gru no reset", FASTRNN_GRU_NO_RESET, 0},
                 {"lstm", FASTRNN_LSTM, 0},
                 {"lstm peephole", FASTRNN_LSTM_PEEPHOLE, 0},
                 {"lstm projection", FASTRNN_LSTM, 2},
                 {"lstm peephole projection", FASTRNN_LSTM_PEEPHOLE, 2}};
    for (int i = 0; i < (int)(sizeof kinds / sizeof *kinds); i++) {
        small_sizes(kinds[i].cell, kinds[i].P);
        large_sizes(kinds[i].cell, kinds[i].P);
        compressed_sizes(kinds[i].cell, kinds[i].P);
        group_done(kinds[i].name);
    }
    const model wide = {FASTRNN_GRU, 1, 1023, 0, 2, 1, 0, 0, 0, 1, EVERY_OUTPUT};
    check(&wide, 0, 7);
    const model narrow = {FASTRNN_LSTM, 1, 257, 1, 2, 2, 0, 1, 1, 1, EVERY_OUTPUT};
    check(&narrow, 0, 8);
    group_done("wide layers");
}

/* Tests of the end of a training step against definitions: the loss, passes over lists of arrays, and the optimisers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"
#include "test_groups.h"

static const double TOLERANCE[] = {[FASTRNN_FLOAT32] = 1e-5, [FASTRNN_FLOAT64] = 1e-12};

static double *values(int64_t n, double scale, uint64_t seed) {
    double *v = allocate((size_t)n * sizeof *v);
    for (int64_t i = 0; i < n; i++) v[i] = scale * next_value(&seed);
    return v;
}

static void expect_close(const double *found, const double *right, int64_t n, int32_t dtype, const char *what) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double error = fabs(found[i] - right[i]);
        if (!(error <= worst)) worst = error;
    }
    expect(worst <= TOLERANCE[dtype], "%s [%d] is off by %g", what, (int)n, worst);
}

typedef struct {
    int64_t N, V;
} loss_case;

/* Return the loss by its definition. Every third row is left out, by its target or by the mask. */
static double loss_by_definition(const loss_case *c, const double *x, int64_t *targets, uint8_t *mask, double *dx) {
    int64_t count = 0;
    double loss = 0;
    for (int64_t n = 0; n < c->N; n++) count += n % 3 != 2;
    for (int64_t n = 0; n < c->N; n++) {
        double sum = 0;
        targets[n] = n % 6 == 5 ? -7 : n % c->V;
        mask[n] = n % 6 != 2;
        if (n % 3 == 2) continue;
        for (int64_t v = 0; v < c->V; v++) sum += exp(x[n * c->V + v]);
        for (int64_t v = 0; v < c->V; v++)
            dx[n * c->V + v] = (exp(x[n * c->V + v]) / sum - (v == targets[n])) / (double)count;
        loss += (log(sum) - x[n * c->V + targets[n]]) / (double)count;
    }
    return loss;
}

static void check_loss(int32_t isa, int32_t dtype, void *context) {
    const loss_case *c = context;
    const int64_t size = c->N * c->V;
    guards g = {.count = 0};
    double *x = values(size, 4, 1), *right = allocate((size_t)size * sizeof(double)), found[2];
    int64_t *targets = guarded(&g, (size_t)c->N * sizeof(int64_t));
    uint8_t *mask = guarded(&g, (size_t)c->N);
    const double loss = loss_by_definition(c, x, targets, mask, right);
    fastrnn_cross_entropy how = {.isa = isa, .dtype = dtype, .mean = 1, .N = c->N, .V = c->V, .ignore_index = -7};
    void *logits = guarded_reals(&g, dtype, size, x), *dlogits[2];
    for (int i = 0; i < 2; i++) {
        fastrnn_set_num_threads(1 + 2 * i);
        dlogits[i] = guarded_reals(&g, dtype, size, NULL);
        void *workspace = guarded(&g, (size_t)c->N * sizeof(double));
        found[i] = fastrnn_softmax_cross_entropy(&how, logits, targets, mask, dlogits[i], workspace);
    }
    double *dx = as_doubles(dtype, size, dlogits[0]);
    expect_close(&found[0], &loss, 1, dtype, "loss");
    expect_close(dx, right, size, dtype, "dlogits");
    expect(found[0] == found[1] && !memcmp(dlogits[0], dlogits[1], bytes_of(dtype, size)), "loss: 3 threads differ");
    targets[0] = c->V;
    expect(fastrnn_softmax_cross_entropy(&how, logits, targets, mask, NULL, NULL) == -1, "a wrong target is taken");
    guards_done(&g, "loss");
    free(x);
    free(right);
    free(dx);
}

enum { LISTED = 3 };
static const int64_t SIZES[LISTED] = {70001, 5, 17};

static void check_arrays(int32_t isa, int32_t dtype, void *context) {
    (void)context;
    guards g = {.count = 0};
    double *v[LISTED], right = 0;
    void *arrays[LISTED];
    for (int i = 0; i < LISTED; i++) {
        v[i] = values(SIZES[i], 2, (uint64_t)i);
        for (int64_t n = 0; n < SIZES[i]; n++) right += v[i][n] * v[i][n];
        arrays[i] = guarded_reals(&g, dtype, SIZES[i], v[i]);
    }
    fastrnn_arrays list = {isa, dtype, LISTED, SIZES, arrays};
    void *workspace = guarded(&g, fastrnn_arrays_workspace_size(&list));
    fastrnn_set_num_threads(1);
    const double one = fastrnn_arrays_squares(&list, workspace);
    fastrnn_set_num_threads(3);
    const double three = fastrnn_arrays_squares(&list, workspace);
    expect(fabs(one - right) <= 1e-12 * right && one == three, "squares: %.17g and %.17g, not %.17g", one, three, right);
    fastrnn_arrays_scale(&list, 0.75);
    fastrnn_arrays_clamp(&list, 0.5);
    for (int i = 0; i < LISTED; i++) {
        for (int64_t n = 0; n < SIZES[i]; n++) v[i][n] = fmax(-0.5, fmin(0.5, 0.75 * v[i][n]));
        double *found = as_doubles(dtype, SIZES[i], arrays[i]);
        expect_close(found, v[i], SIZES[i], dtype, "scaled and clamped");
        free(found);
        free(v[i]);
    }
    guards_done(&g, "arrays");
}

/* Return the first step of an optimiser from zero moments. Adam's is lr g / (|g| + eps'), whatever the betas. */
static double first_step(int32_t rule, double g) {
    if (rule == FASTRNN_SGD) return 0.1 * g;
    return rule == FASTRNN_ADAM ? 0.1 * g / (fabs(g) + 1e-3) : 0.1 * g / (sqrt(0.1) * fabs(g) + 1e-3);
}

static void check_optimisers(int32_t isa, int32_t dtype, void *context) {
    (void)context;
    for (int32_t rule = FASTRNN_SGD; rule <= FASTRNN_ADAM; rule++) {
        guards g = {.count = 0};
        fastrnn_optimiser how = {.isa = isa,
                                 .dtype = dtype,
                                 .rule = rule,
                                 .lr = 0.1,
                                 .momentum = 0.9,
                                 .alpha = 0.9,
                                 .beta1 = 0.9,
                                 .beta2 = 0.99,
                                 .eps = 1e-3};
        fastrnn_parameter parameters[LISTED];
        double *v[LISTED];
        int64_t steps[LISTED] = {0};
        for (int i = 0; i < LISTED; i++) {
            v[i] = values(SIZES[i], 2, (uint64_t)i);
            double *zero = allocate((size_t)SIZES[i] * sizeof(double));
            parameters[i] = (fastrnn_parameter){.n = SIZES[i], .steps = steps + i};
            parameters[i].w = guarded_reals(&g, dtype, SIZES[i], v[i]);
            parameters[i].g = guarded_reals(&g, dtype, SIZES[i], v[i]);
            for (int k = 0; k < (rule == FASTRNN_ADAM ? 2 : 1); k++)
                parameters[i].state[k] = guarded_reals(&g, dtype, SIZES[i], zero);
            free(zero);
        }
        fastrnn_optimise(&how, LISTED, parameters);
        for (int i = 0; i < LISTED; i++) {
            for (int64_t n = 0; n < SIZES[i]; n++) v[i][n] -= first_step(rule, v[i][n]);
            double *found = as_doubles(dtype, SIZES[i], parameters[i].w);
            expect_close(found, v[i], SIZES[i], dtype, "an optimiser's first step");
            expect(steps[i] == 1, "an update is not counted");
            free(found);
            free(v[i]);
        }
        guards_done(&g, "optimiser");
    }
}

void test_training(void) {
    static loss_case cases[] = {{1, 1}, {7, 5}, {130, 16}, {513, 65}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) each_kernel(check_loss, &cases[i]);
    each_kernel(check_arrays, NULL);
    each_kernel(check_optimisers, NULL);
    group_done("training");
}

/* Tests of the linear layer against its definition, forward and backward. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"
#include "test_groups.h"

enum { X, W, BIAS, DY, ARRAYS };                                   /* inputs: [N, I], [O, I], [O], [N, O] */
enum { Y, DX, DW, DBIAS, RESULTS };                                /* results: [N, O], [N, I], [O, I], [O] */
static const double BEFORE[RESULTS] = {[DW] = 0.5, [DBIAS] = 0.5}; /* initial values of the gradients */

typedef struct {
    int64_t N, I, O;
    double *in[ARRAYS], *right[RESULTS];
} linear_case;

static void sizes_of(const linear_case *c, int64_t *in, int64_t *out) {
    in[X] = out[DX] = c->N * c->I;
    in[W] = out[DW] = c->O * c->I;
    in[BIAS] = out[DBIAS] = c->O;
    in[DY] = out[Y] = c->N * c->O;
}

static linear_case new_case(int64_t N, int64_t I, int64_t O) {
    linear_case c = {.N = N, .I = I, .O = O};
    int64_t in[ARRAYS], out[RESULTS];
    uint64_t state = (uint64_t)(N + I + O);
    sizes_of(&c, in, out);
    for (int i = 0; i < ARRAYS; i++) {
        c.in[i] = allocate((size_t)in[i] * sizeof(double));
        for (int64_t n = 0; n < in[i]; n++) c.in[i][n] = next_value(&state);
    }
    for (int i = 0; i < RESULTS; i++) c.right[i] = allocate((size_t)out[i] * sizeof(double));
    for (int64_t n = 0; n < N; n++)
        for (int64_t o = 0; o < O; o++) {
            double dy = c.in[DY][n * O + o], y = c.in[BIAS][o];
            for (int64_t i = 0; i < I; i++) {
                y += c.in[X][n * I + i] * c.in[W][o * I + i];
                c.right[DX][n * I + i] += dy * c.in[W][o * I + i];
                c.right[DW][o * I + i] += dy * c.in[X][n * I + i];
            }
            c.right[Y][n * O + o] = y;
            c.right[DBIAS][o] += dy;
        }
    return c;
}

/* Return all results of `kind`, with c's sizes, as doubles. `plain`: no bias, no dx. */
static void run_linear(const linear_case *c, fastrnn_linear kind, int plain, double **found) {
    guards g = {.count = 0};
    const int32_t dtype = kind.dtype;
    const fastrnn_linear linear = {.isa = kind.isa, .dtype = dtype, .I = c->I, .O = c->O, .products = kind.products};
    void *in[ARRAYS], *out[RESULTS];
    int64_t n_in[ARRAYS], n_out[RESULTS];
    sizes_of(c, n_in, n_out);
    for (int i = 0; i < ARRAYS; i++) in[i] = i == BIAS && plain ? NULL : guarded_reals(&g, dtype, n_in[i], c->in[i]);
    for (int i = 0; i < RESULTS; i++) {
        double *before = allocate((size_t)n_out[i] * sizeof *before);
        for (int64_t n = 0; n < n_out[i]; n++) before[n] = BEFORE[i] != 0 ? BEFORE[i] : NAN;
        out[i] = (i == DX || i == DBIAS) && plain ? NULL : guarded_reals(&g, dtype, n_out[i], before);
        free(before);
    }
    for (int32_t training = 0; training < 2; training++) {
        void *packed = guarded(&g, fastrnn_linear_packed_size(&linear, training));
        void *workspace = guarded(&g, fastrnn_linear_workspace_size(&linear, c->N, training));
        fastrnn_linear_pack(&linear, in[W], in[BIAS], training, packed);
        if (training)
            fastrnn_linear_backward(&linear, packed, c->N, in[X], in[DY], out[DX], out[DW], out[DBIAS], workspace);
        else
            fastrnn_linear_forward(&linear, packed, c->N, in[X], out[Y], workspace);
    }
    for (int i = 0; i < RESULTS; i++) found[i] = out[i] ? as_doubles(dtype, n_out[i], out[i]) : NULL;
    guards_done(&g, "linear");
}

static void expect_results(const linear_case *c, double *const *found, double tolerance) {
    static const char *const names[] = {"y", "dx", "dW", "db"};
    int64_t in[ARRAYS], out[RESULTS];
    sizes_of(c, in, out);
    for (int i = 0; i < RESULTS; i++) {
        double largest = 1, worst = 0;
        for (int64_t n = 0; found[i] && n < out[i]; n++) {
            double error = fabs(found[i][n] - BEFORE[i] - c->right[i][n]);
            if (fabs(c->right[i][n]) > largest) largest = fabs(c->right[i][n]);
            if (!(error <= worst)) worst = error;
        }
        if (found[i])
            expect(worst <= tolerance * largest, "linear N=%d I=%d O=%d: %s is off by %g", (int)c->N, (int)c->I, (int)c->O,
                   names[i], worst);
    }
}

static void check_products(const linear_case *c, fastrnn_linear kind, double tolerance) {
    double *one[RESULTS], *three[RESULTS], *plain[RESULTS];
    int64_t in[ARRAYS], out[RESULTS];
    sizes_of(c, in, out);
    fastrnn_set_num_threads(1);
    run_linear(c, kind, 0, one);
    run_linear(c, kind, 1, plain);
    fastrnn_set_num_threads(3);
    run_linear(c, kind, 0, three);
    expect_results(c, one, tolerance);
    for (int i = 0; i < RESULTS; i++)
        expect(!memcmp(one[i], three[i], (size_t)out[i] * sizeof(double)), "linear: result %d differs with 3 threads", i);
    expect(!memcmp(one[DW], plain[DW], (size_t)out[DW] * sizeof(double)), "linear: dW differs without dx");
    for (int64_t n = 0; n < out[Y]; n++) plain[Y][n] += c->in[BIAS][n % c->O];
    expect_results(c, plain, tolerance);
    for (int i = 0; i < RESULTS; i++) {
        free(one[i]);
        free(three[i]);
        free(plain[i]);
    }
}

static void check_linear(int32_t isa, int32_t dtype, void *context) {
    static const double tolerance[] = {[FASTRNN_FLOAT32] = 2e-5, [FASTRNN_FLOAT64] = 1e-12};
    fastrnn_linear kind = {.isa = isa, .dtype = dtype};
    check_products(context, kind, tolerance[dtype]);
    if (dtype == FASTRNN_FLOAT64) return;
    kind.products = FASTRNN_PRODUCTS_BFLOAT16; /* each operand changes by up to 2^-9 */
    check_products(context, kind, 1e-2);
}

void test_linear(void) {
    static const int64_t sizes[][3] = {{1, 1, 1},    {5, 3, 2},     {1, 70, 65}, {7, 17, 33},
                                       {300, 31, 9}, {130, 64, 67}, {3, 5, 260}};
    for (int i = 0; i < (int)(sizeof sizes / sizeof *sizes); i++) {
        linear_case c = new_case(sizes[i][0], sizes[i][1], sizes[i][2]);
        each_kernel(check_linear, &c);
        for (int k = 0; k < ARRAYS; k++) free(c.in[k]);
        for (int k = 0; k < RESULTS; k++) free(c.right[k]);
    }
    group_done("linear");
}

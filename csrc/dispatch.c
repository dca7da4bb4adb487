/* Select the kernels of an instruction set. This file is compiled with base flags only, because it runs before the
 * processor is known. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "parallel.h"
#include "table.h"

typedef struct {
    const char *name;
    const fastrnn_kernels *of_dtype[2];
} isa_entry;

#define FASTRNN_ENTRY(isa, runs) {#isa, {&kernels_f32_##isa, &kernels_f64_##isa}},
static const isa_entry isas[] = {FASTRNN_ISAS(FASTRNN_ENTRY)};
enum { ISA_COUNT = sizeof isas / sizeof *isas };

int32_t fastrnn_isa_count(void) { return ISA_COUNT; }

const char *fastrnn_isa_name(int32_t isa) { return isas[isa].name; }

int32_t fastrnn_isa_runs(int32_t isa) {
#define FASTRNN_RUNS(name, runs) !!(runs),
#ifdef __x86_64__
    __builtin_cpu_init();
#endif
    const int32_t runs[] = {FASTRNN_ISAS(FASTRNN_RUNS)};
    return runs[isa];
}

int32_t fastrnn_isa_find(const char *name) {
    for (int32_t i = 0; i < ISA_COUNT; i++)
        if (!strcmp(isas[i].name, name)) return i;
    return -1;
}

int32_t fastrnn_isa_default(void) {
    const char *wanted = getenv("FASTRNN_ISA");
    if (wanted && *wanted) {
        int32_t isa = fastrnn_isa_find(wanted);
        return isa >= 0 && fastrnn_isa_runs(isa) ? isa : -1;
    }
    int32_t isa = 0;
    while (isa < ISA_COUNT && !fastrnn_isa_runs(isa)) isa++;
    return isa < ISA_COUNT ? isa : -1; /* a build of a few ISAs may have none that runs here */
}

/* The peak rate of a matrix unit is 15 times that of float32's multiply-adds. VDPBF16PS does twice as many on Zen 4 and Zen
 * 5, and half as many on Xeons with AVX-512. */
int32_t fastrnn_multiplies_bfloat16(int32_t isa) {
    const fastrnn_kernels *kernels = isas[isa].of_dtype[FASTRNN_FLOAT32];
    if (kernels->matrix_unit) return 1;
    if (!kernels->multiplies_bfloat16) return 0;
#ifdef __x86_64__
    __builtin_cpu_init();
    return !!__builtin_cpu_is("amd");
#else
    return 1;
#endif
}

int32_t fastrnn_has_matrix_unit(int32_t isa) { return isas[isa].of_dtype[FASTRNN_FLOAT32]->matrix_unit; }

/* A row's largest magnitude m is its scale, which bounds the errors. They matter if the row is small next to m: if m^2 is
 * 0.2 of the sum of squares, a product of 512 normal numbers has about twice the error of float32's. The scale of a row far
 * outside the range, times that of another, is denormal or infinite. */
static int row_splits_well(const float *row, int64_t n, float *columns) {
    enum { SUMS = 16, MAGNITUDE = INT32_MAX, SMALLEST = (127 - 40) << 23, LARGEST = (127 + 40) << 23 };
    float squares[SUMS] = {0}, m, sum = 0;
    int32_t largest = 0;
    for (int64_t i = 0; i < n; i++) { /* magnitudes are ordered as their bits are, and NaN is above all */
        int32_t bits, column;
        memcpy(&bits, row + i, sizeof bits);
        memcpy(&column, columns + i, sizeof column);
        bits &= MAGNITUDE;
        largest = bits > largest ? bits : largest;
        column = bits > column ? bits : column;
        memcpy(columns + i, &column, sizeof column);
    }
    if (!largest) return 1;
    if (largest < SMALLEST || largest > LARGEST) return 0;
    int64_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        for (int j = 0; j < SUMS; j++) squares[j] += row[i + j] * row[i + j];
    for (; i < n; i++) sum += row[i] * row[i];
    for (int j = 0; j < SUMS; j++) sum += squares[j];
    memcpy(&m, &largest, sizeof m);
    return m * m <= sum * (n < 512 ? 0.4f : 0.2f); /* shorter sums have more slices (kernels/sliced.c) */
}

int32_t fastrnn_splits_well(const float *rows, int64_t count, int64_t n, float *columns) {
    for (int64_t i = 0; i < n; i++) columns[i] = 0;
    for (int64_t i = 0; i < count; i++)
        if (!row_splits_well(rows + i * n, n, columns)) return 0;
    return 1;
}

const char *fastrnn_compiler(void) {
#if defined(__clang__)
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

int32_t fastrnn_get_num_threads(void) { return pool_threads(); }
void fastrnn_set_num_threads(int32_t n) { pool_set_threads(n); }
int32_t fastrnn_use_openmp(int32_t wanted) { return pool_use_openmp(wanted); }
int32_t fastrnn_uses_openmp(void) { return pool_uses_openmp(); }

const fastrnn_kernels *kernels_of(int32_t isa, int32_t dtype) {
    assert(isa >= 0 && isa < ISA_COUNT && fastrnn_isa_runs(isa));
    return isas[isa].of_dtype[dtype];
}

const fastrnn_kernels *kernels_for(const layer_spec *layer) {
    assert(layer->I >= 1 && layer->H >= 1 && layer->P >= 0);
    return kernels_of(layer->isa, layer->dtype);
}

size_t fastrnn_linear_packed_size(const fastrnn_linear *linear, int32_t training) {
    return kernels_of(linear->isa, linear->dtype)->linear_packed_size(linear, training);
}

void fastrnn_linear_pack(const fastrnn_linear *linear, const void *weight, const void *bias, int32_t training,
                         void *packed) {
    kernels_of(linear->isa, linear->dtype)->linear_pack(linear, weight, bias, training, packed);
}

size_t fastrnn_linear_workspace_size(const fastrnn_linear *linear, int64_t N, int32_t backward) {
    return kernels_of(linear->isa, linear->dtype)->linear_workspace_size(linear, N, backward);
}

void fastrnn_linear_forward(const fastrnn_linear *linear, const void *packed, int64_t N, const void *x, void *y,
                            void *workspace) {
    kernels_of(linear->isa, linear->dtype)->linear_forward(linear, packed, N, x, y, workspace);
}

void fastrnn_linear_backward(const fastrnn_linear *linear, const void *packed, int64_t N, const void *x, const void *dy,
                             void *dx, void *dW, void *db, void *workspace) {
    kernels_of(linear->isa, linear->dtype)->linear_backward(linear, packed, N, x, dy, dx, dW, db, workspace);
}

double fastrnn_softmax_cross_entropy(const fastrnn_cross_entropy *how, const void *logits, const int64_t *targets,
                                     const uint8_t *mask, void *dlogits, void *workspace) {
    const fastrnn_kernels *kernels = kernels_of(how->isa, how->dtype);
    return kernels->softmax_cross_entropy(how, logits, targets, mask, dlogits, workspace);
}

size_t fastrnn_arrays_workspace_size(const fastrnn_arrays *list) {
    return kernels_of(list->isa, list->dtype)->arrays_workspace_size(list);
}

double fastrnn_arrays_squares(const fastrnn_arrays *list, void *workspace) {
    return kernels_of(list->isa, list->dtype)->arrays_squares(list, workspace);
}

void fastrnn_arrays_scale(const fastrnn_arrays *list, double factor) {
    kernels_of(list->isa, list->dtype)->arrays_scale(list, factor);
}

void fastrnn_arrays_clamp(const fastrnn_arrays *list, double bound) {
    kernels_of(list->isa, list->dtype)->arrays_clamp(list, bound);
}

uint64_t fastrnn_arrays_hash(const fastrnn_arrays *list, int32_t phase, int32_t phases) {
    return kernels_of(list->isa, list->dtype)->arrays_hash(list, phase, phases);
}

void fastrnn_apply(const fastrnn_pointwise *how, const void *x, void *y) {
    kernels_of(how->isa, how->dtype)->pointwise(how, x, y);
}

void fastrnn_optimise(const fastrnn_optimiser *how, int32_t count, fastrnn_parameter *parameters) {
    kernels_of(how->isa, how->dtype)->optimise(how, count, parameters);
}

size_t fastrnn_stream_size(const fastrnn_stack *stack, int32_t ids) {
    return kernels_of(stack->isa, stack->dtype)->stream_size(stack, ids);
}

void fastrnn_stream_begin(const fastrnn_stack *stack, const void *packed, int32_t ids, const void *h, const void *c,
                          void *memory) {
    assert(stack->D == 1 && aligned(packed) && aligned(memory));
    kernels_of(stack->isa, stack->dtype)->stream_begin(stack, packed, ids, h, c, memory);
}

void fastrnn_stream_step(const fastrnn_stack *stack, void *memory, const void *x, int64_t id, void *y) {
    kernels_of(stack->isa, stack->dtype)->stream_step(memory, x, id, y);
}

void fastrnn_stream_states(const fastrnn_stack *stack, const void *memory, void *h, void *c) {
    kernels_of(stack->isa, stack->dtype)->stream_states(memory, h, c);
}

static const fastrnn_kernels *kernels_of_model(const fastrnn_language_model *model) {
    return kernels_of(model->stack->isa, model->stack->dtype);
}

size_t fastrnn_generate_workspace_size(const fastrnn_language_model *model) {
    return kernels_of_model(model)->generate_workspace_size(model);
}

int64_t fastrnn_generate(const fastrnn_language_model *model, const fastrnn_sampling *sampling, const int64_t *prefix,
                         int64_t n_prefix, const double *uniforms, int64_t n, void *h, void *c, int64_t *tokens,
                         void *workspace) {
    assert(model->stack->D == 1 && aligned(model->packed) && aligned(workspace));
    return kernels_of_model(model)->generate(model, sampling, prefix, n_prefix, uniforms, n, h, c, tokens, workspace);
}

double fastrnn_measure_fma(int32_t isa, int32_t dtype, int32_t threads, int64_t rounds) {
    return isas[isa].of_dtype[dtype]->measure_fma(threads, rounds);
}

double fastrnn_measure_read(int32_t isa, int32_t dtype, int32_t threads, int64_t rounds, const void *buffer, size_t size) {
    assert(aligned(buffer));
    return isas[isa].of_dtype[dtype]->measure_read(threads, rounds, buffer, size);
}

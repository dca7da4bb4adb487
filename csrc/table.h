/* The list of kernels, and which instruction sets a processor runs.
 *
 * Every (dtype, ISA) build of kernels/ exports one fastrnn_kernels, named kernels_<dtype>_<isa>. CMakeLists.txt lists
 * the ISAs, the best first, with the compiler flags of each. */
#ifndef FASTRNN_TABLE_H
#define FASTRNN_TABLE_H

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMDDP /* headers before Linux 4.15 */
#define HWCAP_ASIMDDP (1 << 20)
#endif
#endif

#include "amx.h"
#include "layer.h"
#include "parallel.h"

typedef struct {
    int32_t vector_lanes, multiplies_bfloat16, matrix_unit;
    int64_t (*step_panels)(const layer_spec *, int32_t backward);
    size_t (*packed_size)(const layer_spec *, int32_t training);
    void (*pack)(const layer_spec *, const fastrnn_weights *, int32_t training, void *packed);
    size_t (*tape_size)(const layer_spec *, const fastrnn_batch *, int32_t ids);
    size_t (*forward_workspace_size)(const layer_spec *, const fastrnn_batch *, int32_t ids, int32_t training);
    size_t (*backward_workspace_size)(const layer_spec *, const fastrnn_batch *, int32_t ids);
    /* Run one job, or the jobs of both directions of a layer. */
    void (*forward)(const layer_spec *, int32_t count, const forward_job *);
    void (*backward)(const layer_spec *, int32_t count, const backward_job *);
    void (*add)(void *to, const void *from, int64_t n); /* to[i] += from[i] */
    size_t (*linear_packed_size)(const fastrnn_linear *, int32_t training);
    void (*linear_pack)(const fastrnn_linear *, const void *weight, const void *bias, int32_t training, void *packed);
    size_t (*linear_workspace_size)(const fastrnn_linear *, int64_t N, int32_t backward);
    void (*linear_forward)(const fastrnn_linear *, const void *packed, int64_t N, const void *x, void *y, void *workspace);
    void (*linear_backward)(const fastrnn_linear *, const void *packed, int64_t N, const void *x, const void *dy, void *dx,
                            void *dW, void *db, void *workspace);
    double (*softmax_cross_entropy)(const fastrnn_cross_entropy *, const void *logits, const int64_t *targets,
                                    const uint8_t *mask, void *dlogits, void *workspace);
    size_t (*arrays_workspace_size)(const fastrnn_arrays *);
    double (*arrays_squares)(const fastrnn_arrays *, void *workspace);
    void (*arrays_scale)(const fastrnn_arrays *, double factor);
    void (*arrays_clamp)(const fastrnn_arrays *, double bound);
    uint64_t (*arrays_hash)(const fastrnn_arrays *, int32_t phase, int32_t phases);
    void (*pointwise)(const fastrnn_pointwise *, const void *x, void *y);
    void (*optimise)(const fastrnn_optimiser *, int32_t count, fastrnn_parameter *parameters);
    size_t (*stream_size)(const fastrnn_stack *, int32_t ids);
    void (*stream_begin)(const fastrnn_stack *, const void *packed, int32_t ids, const void *h, const void *c, void *memory);
    void (*stream_step)(void *memory, const void *x, int64_t id, void *y);
    void (*stream_states)(const void *memory, void *h, void *c);
    size_t (*generate_workspace_size)(const fastrnn_language_model *);
    int64_t (*generate)(const fastrnn_language_model *, const fastrnn_sampling *, const int64_t *prefix, int64_t n_prefix,
                        const double *uniforms, int64_t n, void *h, void *c, int64_t *tokens, void *workspace);
    double (*measure_fma)(int32_t threads, int64_t rounds);
    double (*measure_read)(int32_t threads, int64_t rounds, const void *buffer, size_t size);
} fastrnn_kernels;

/* Whether this processor runs an ISA. */
#define FASTRNN_RUNS_avx512                                                                                           \
    (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && \
     __builtin_cpu_supports("avx512vl"))
#define FASTRNN_RUNS_avx512vnni (__builtin_cpu_supports("avx512vnni") && FASTRNN_RUNS_avx512)
#define FASTRNN_RUNS_avx512bf16 (__builtin_cpu_supports("avx512bf16") && FASTRNN_RUNS_avx512vnni)
#define FASTRNN_RUNS_avx2 (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#ifdef FASTRNN_EMULATES_AMX /* a build for tests: amx in plain C */
#define FASTRNN_RUNS_amx FASTRNN_RUNS_avx2
#else
#define FASTRNN_RUNS_amx (FASTRNN_RUNS_avx512bf16 && amx_permitted())
#endif
#define FASTRNN_RUNS_base 1
#define FASTRNN_RUNS_neon 1
#ifdef __linux__
#define FASTRNN_RUNS_neondot (getauxval(AT_HWCAP) & HWCAP_ASIMDDP)
#elif defined(__APPLE__)
#define FASTRNN_RUNS_neondot 1
#else
#define FASTRNN_RUNS_neondot 0
#endif

/* FASTRNN_ISAS(X) is X(name, expression: this processor runs it) for each ISA of this build. CMakeLists.txt writes the file,
 * and names there the build that computes float64 for an ISA without one of its own. */
#include "isas.h"

#define FASTRNN_DECLARE(name, runs) extern const fastrnn_kernels kernels_f32_##name, kernels_f64_##name;
FASTRNN_ISAS(FASTRNN_DECLARE)
#undef FASTRNN_DECLARE

const fastrnn_kernels *kernels_for(const layer_spec *layer);
const fastrnn_kernels *kernels_of(int32_t isa, int32_t dtype);

#endif

// One recurrent layer of oneDNN, called directly, behind a C interface that Python loads with ctypes.
//
// Letters: T time steps, B batch, I input size, H hidden size, G gates (4 biases for LBR GRU). float32, plain C-contiguous
// arrays of the caller; a layer of bfloat16 takes x and gives y in it, and all else in float32 (single steps are float32
// only). Weights come as W [I, G*H] and R [H, G*H], which oneDNN calls ldigo, with the gates in oneDNN's order: of the plain
// layouts the one that costs a training step the fewest reorders. b is [G*H], of LBR GRU [4*H].
//
// oneDNN's packages come with one of two runtimes, TBB (with SYCL) or OpenMP; in_team is all that knows of it.
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <unordered_map>

#include <oneapi/dnnl/dnnl.hpp>
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
#include <omp.h>
#else
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#endif

using dnnl::algorithm;
using dnnl::memory;
using dnnl::prop_kind;
using tag = memory::format_tag;
using type = memory::data_type;
using arguments = std::unordered_map<int, memory>;

namespace {

enum cell { RNN, GRU, LSTM };

#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
void set_threads(int n) {
    omp_set_dynamic(0);
    omp_set_num_threads(n);
}
int threads(void) { return omp_get_max_threads(); }
template <typename Body> void in_team(Body body) { body(); }
#else
// An arena's size is what oneDNN takes its number of threads from; the limit holds for what SYCL runs elsewhere.
std::unique_ptr<tbb::global_control> limit;
std::unique_ptr<tbb::task_arena> arena;

void set_threads(int n) {
    arena.reset();
    limit = std::make_unique<tbb::global_control>(tbb::global_control::max_allowed_parallelism, n);
    arena = std::make_unique<tbb::task_arena>(n);
}
int threads(void) {
    int limited = (int)tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
    return limited < arena->max_concurrency() ? limited : arena->max_concurrency();
}
template <typename Body> void in_team(Body body) { arena->execute(body); }
#endif

char message[512];

// Run what may throw; 0, or 1 with the reason in `message`.
template <typename Body> int guarded(Body body) {
    try {
        in_team(body);
        return 0;
    } catch (const std::exception &error) {
        std::snprintf(message, sizeof message, "%s", error.what());
        return 1;
    }
}

memory::desc plain(memory::dims dims, tag format, type numbers = type::f32) { return {dims, numbers, format}; }

struct layer {
    dnnl::engine engine{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream{engine};
    int kind, training;
    type words; // of x, y, h and c, and of the weights in oneDNN's own layout
    memory::dim T, B, I, H, G, biases;
    // The primitives, each with its arguments: what is bound once stays in them.
    dnnl::primitive forward, backward;
    arguments to_forward, to_backward;
    // Weights as the caller has them, and reordered for either direction.
    memory W, R, b, W_forward, R_forward, W_backward, R_backward, dW_own, dR_own, dW, dR;
};

memory::desc desc_of(const layer &l, memory::dim columns, tag format, type numbers = type::f32) {
    return plain({1, 1, columns, l.G, l.H}, format, numbers);
}
memory::desc any_of(const layer &l, memory::dim columns, type numbers) { return desc_of(l, columns, tag::any, numbers); }
memory::desc bias_of(const layer &l) { return plain({1, 1, l.biases, l.H}, tag::ldgo); }
memory::desc steps_of(const layer &l, memory::dim columns, type numbers) {
    return plain({l.T, l.B, columns}, tag::tnc, numbers);
}
memory::desc state_of(const layer &l, bool has, type numbers) {
    return has ? plain({1, 1, l.B, l.H}, tag::ldnc, numbers) : memory::desc();
}

void copy(layer &l, const memory &from, const memory &to) {
    if (from.get() == to.get()) return; // `like` gave the caller's own
    memory source = from, target = to;
    dnnl::reorder(source, target).execute(l.stream, source, target);
}

// Memory of this layout: the caller's own where it is that already.
memory like(layer &l, const memory &own, const memory::desc &wanted) {
    return own.get_desc() == wanted ? own : memory(wanted, l.engine);
}

// dnnl.hpp has classes for each cell that are alike but for their states; what they derive from takes any cell.
struct description : dnnl::rnn_primitive_desc_base {
    static constexpr auto left_to_right = dnnl::rnn_direction::unidirectional_left2right;

    static algorithm name(const layer &l) {
        return l.kind == RNN ? algorithm::vanilla_rnn : l.kind == GRU ? algorithm::lbr_gru : algorithm::vanilla_lstm;
    }
    static algorithm activation(const layer &l) { return l.kind == RNN ? algorithm::eltwise_tanh : algorithm::undef; }

    // Forward; h (and c) [B, H] are given and taken only where `s` is not the empty description.
    description(const layer &l, const memory::desc &s)
        : rnn_primitive_desc_base(l.engine, name(l), l.training ? prop_kind::forward_training : prop_kind::forward_inference,
                                  activation(l), left_to_right, steps_of(l, l.I, l.words), s, &s, nullptr,
                                  any_of(l, l.I, l.words), any_of(l, l.H, l.words), nullptr, nullptr, bias_of(l),
                                  steps_of(l, l.H, l.words), s, &s, dnnl::rnn_flags::undef, 0, 0, dnnl::primitive_attr(),
                                  false) {}

    // Backward, with states s and their gradients ds. It adds to the gradients of the weights. All gradients are float32.
    description(const layer &l, const description &forward, const memory::desc &s, const memory::desc &ds)
        : rnn_primitive_desc_base(l.engine, name(l), prop_kind::backward, activation(l), left_to_right,
                                  steps_of(l, l.I, l.words), s, &s, nullptr, any_of(l, l.I, l.words),
                                  any_of(l, l.H, l.words), nullptr, nullptr, bias_of(l), steps_of(l, l.H, l.words), s, &s,
                                  steps_of(l, l.I, type::f32), ds, &ds, nullptr, any_of(l, l.I, type::f32),
                                  any_of(l, l.H, type::f32), nullptr, nullptr, bias_of(l), steps_of(l, l.H, type::f32), ds,
                                  &ds, dnnl::rnn_flags::undef, 0, 0, forward, dnnl::primitive_attr(), false) {}

    memory::desc argument(int name) const { return query_md(dnnl::query::exec_arg_md, name); }
};

void clear(const memory &m) { std::memset(m.get_data_handle(), 0, m.get_desc().get_size()); }

void leave_open(const layer &l, arguments &to, int name, const memory::desc &layout) { to[name] = memory(layout, l.engine, nullptr); }

void build_forward(layer &l, const description &f, bool states) {
    l.forward = dnnl::primitive(f.get());
    l.W_forward = like(l, l.W, f.argument(DNNL_ARG_WEIGHTS_LAYER));
    l.R_forward = like(l, l.R, f.argument(DNNL_ARG_WEIGHTS_ITER));
    l.to_forward = {
        {DNNL_ARG_WEIGHTS_LAYER, l.W_forward}, {DNNL_ARG_WEIGHTS_ITER, l.R_forward}, {DNNL_ARG_BIAS, l.b}};
    leave_open(l, l.to_forward, DNNL_ARG_SRC_LAYER, steps_of(l, l.I, l.words));
    leave_open(l, l.to_forward, DNNL_ARG_DST_LAYER, steps_of(l, l.H, l.words));
    if (!states) return;
    for (int name : {DNNL_ARG_SRC_ITER, DNNL_ARG_DST_ITER, DNNL_ARG_SRC_ITER_C, DNNL_ARG_DST_ITER_C}) {
        if (l.kind != LSTM && (name == DNNL_ARG_SRC_ITER_C || name == DNNL_ARG_DST_ITER_C)) continue;
        l.to_forward[name] = memory(state_of(l, true, l.words), l.engine);
        clear(l.to_forward[name]);
    }
}

void build_backward(layer &l, const description &f) {
    description d(l, f, state_of(l, true, l.words), state_of(l, true, type::f32));
    l.to_forward[DNNL_ARG_WORKSPACE] = memory(f.argument(DNNL_ARG_WORKSPACE), l.engine);
    l.backward = dnnl::primitive(d.get());
    l.W_backward = like(l, l.W, d.argument(DNNL_ARG_WEIGHTS_LAYER));
    l.R_backward = like(l, l.R, d.argument(DNNL_ARG_WEIGHTS_ITER));
    l.dW = memory(desc_of(l, l.I, tag::ldigo), l.engine, nullptr);
    l.dR = memory(desc_of(l, l.H, tag::ldigo), l.engine, nullptr);
    l.dW_own = like(l, l.dW, d.argument(DNNL_ARG_DIFF_WEIGHTS_LAYER));
    l.dR_own = like(l, l.dR, d.argument(DNNL_ARG_DIFF_WEIGHTS_ITER));
    l.to_backward = l.to_forward;
    l.to_backward[DNNL_ARG_WEIGHTS_LAYER] = l.W_backward;
    l.to_backward[DNNL_ARG_WEIGHTS_ITER] = l.R_backward;
    l.to_backward[DNNL_ARG_DIFF_WEIGHTS_LAYER] = l.dW_own;
    l.to_backward[DNNL_ARG_DIFF_WEIGHTS_ITER] = l.dR_own;
    leave_open(l, l.to_backward, DNNL_ARG_DIFF_SRC_LAYER, steps_of(l, l.I, type::f32));
    leave_open(l, l.to_backward, DNNL_ARG_DIFF_DST_LAYER, steps_of(l, l.H, type::f32));
    leave_open(l, l.to_backward, DNNL_ARG_DIFF_BIAS, bias_of(l));
    for (int name : {DNNL_ARG_DIFF_SRC_ITER, DNNL_ARG_DIFF_DST_ITER, DNNL_ARG_DIFF_SRC_ITER_C, DNNL_ARG_DIFF_DST_ITER_C}) {
        l.to_backward[name] = memory(state_of(l, true, type::f32), l.engine);
        clear(l.to_backward[name]);
    }
}

void set(arguments &in, int name, const void *array) { in.at(name).set_data_handle(const_cast<void *>(array)); }

} // namespace

extern "C" {

const char *onednn_message(void) { return message; }

// Use n threads from now on; layers made before keep the number that they were made for.
void onednn_set_threads(int n) { set_threads(n); }

// What oneDNN takes as its number of threads.
int onednn_threads(void) { return threads(); }

void onednn_version(int *version) {
    const dnnl_version_t *v = dnnl_version();
    version[0] = v->major, version[1] = v->minor, version[2] = v->patch;
}

// Null, with the reason in onednn_message, where oneDNN has no such primitive. Keeps W, R and b, which the caller owns.
void *onednn_create(int kind, int training, int states, int bfloat16, int64_t T, int64_t B, int64_t I, int64_t H,
                    const float *W, const float *R, const float *b) {
    auto l = std::make_unique<layer>();
    int failed = guarded([&] {
        l->words = bfloat16 ? type::bf16 : type::f32;
        l->kind = kind, l->training = training, l->T = T, l->B = B, l->I = I, l->H = H;
        l->G = kind == RNN ? 1 : kind == GRU ? 3 : 4;
        l->biases = kind == GRU ? 4 : l->G;
        l->W = memory(desc_of(*l, I, tag::ldigo), l->engine, const_cast<float *>(W));
        l->R = memory(desc_of(*l, H, tag::ldigo), l->engine, const_cast<float *>(R));
        l->b = memory(bias_of(*l), l->engine, const_cast<float *>(b));
        description f(*l, state_of(*l, states || training, l->words));
        build_forward(*l, f, states || training);
        if (training) build_backward(*l, f);
        copy(*l, l->W, l->W_forward);
        copy(*l, l->R, l->R_forward);
        l->stream.wait();
    });
    return failed ? nullptr : l.release();
}

void onednn_destroy(void *handle) { delete static_cast<layer *>(handle); }

// Inference with the weights reordered beforehand: x [T, B, I] to y [T, B, H].
int onednn_forward(void *handle, const void *x, void *y) {
    layer &l = *static_cast<layer *>(handle);
    return guarded([&] {
        set(l.to_forward, DNNL_ARG_SRC_LAYER, x);
        set(l.to_forward, DNNL_ARG_DST_LAYER, y);
        l.forward.execute(l.stream, l.to_forward);
        l.stream.wait();
    });
}

// The same with states: h and c [B, H] to h_n and c_n; c and c_n of LSTM only.
int onednn_step(void *handle, const float *x, const float *h, const float *c, float *y, float *h_n, float *c_n) {
    layer &l = *static_cast<layer *>(handle);
    set(l.to_forward, DNNL_ARG_SRC_ITER, h);
    set(l.to_forward, DNNL_ARG_DST_ITER, h_n);
    if (l.kind == LSTM) {
        set(l.to_forward, DNNL_ARG_SRC_ITER_C, c);
        set(l.to_forward, DNNL_ARG_DST_ITER_C, c_n);
    }
    return onednn_forward(handle, x, y);
}

// A training step: reorder the weights, which have changed since the last step, forward, backward. Overwrites y [T, B, H],
// dx [T, B, I], dW [I, G*H], dR [H, G*H] and db [biases*H]; no reorder where oneDNN's own layout is the caller's.
int onednn_train(void *handle, const void *x, const float *dy, void *y, float *dx, float *dW, float *dR, float *db) {
    layer &l = *static_cast<layer *>(handle);
    return guarded([&] {
        copy(l, l.W, l.W_forward);
        copy(l, l.R, l.R_forward);
        copy(l, l.W, l.W_backward);
        copy(l, l.R, l.R_backward);
        set(l.to_forward, DNNL_ARG_SRC_LAYER, x);
        set(l.to_forward, DNNL_ARG_DST_LAYER, y);
        l.forward.execute(l.stream, l.to_forward);
        set(l.to_backward, DNNL_ARG_SRC_LAYER, x);
        set(l.to_backward, DNNL_ARG_DST_LAYER, y);
        set(l.to_backward, DNNL_ARG_DIFF_SRC_LAYER, dx);
        set(l.to_backward, DNNL_ARG_DIFF_DST_LAYER, dy);
        set(l.to_backward, DNNL_ARG_DIFF_BIAS, db);
        l.dW.set_data_handle(dW);
        l.dR.set_data_handle(dR);
        clear(l.dW_own);
        clear(l.dR_own);
        clear(l.to_backward[DNNL_ARG_DIFF_BIAS]);
        l.backward.execute(l.stream, l.to_backward);
        copy(l, l.dW_own, l.dW);
        copy(l, l.dR_own, l.dR);
        l.stream.wait();
    });
}
}

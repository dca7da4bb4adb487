/* Handlers of XLA's foreign function interface, through which JAX's compiled programs run a layer.
 *
 * XLA may run several handlers at once on threads of its own. Each call has its own memory, and parallel.c gives one of them
 * the thread pool, while the others work alone. So no call ever waits for one of XLA's threads. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "arena.h"
#include "kept_memory.h"
#include "layer.h"
#include "xla_ffi.h"

/* The numbers of the one attribute, in this order; fastrnn/backends/_c/xla.py writes them. */
enum { ISA, DTYPE, CELL, INPUT_SIZE, HIDDEN_SIZE, PRODUCTS, ROWS, REVERSE, BIAS, LENGTHS, DX, NUMBERS };

/* One call. The arguments and results are taken in order; the two counts say how many have been taken. */
typedef struct {
    const xla_frame *frame;
    const int64_t *numbers; /* [NUMBERS] */
    int64_t arguments, results;
    fastrnn_stack stack;
    fastrnn_batch batch;
    fastrnn_weights weights;
    const void *x;
    const xla_buffer *lengths; /* [B] int32 or int64; null: all are T */
    size_t W_bytes, R_bytes, b_bytes;
    void *packed, *workspace, *tape;
} xla_call;

static void *fault(const xla_frame *frame, int32_t code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Return a new error for XLA, which owns it. */
static void *fault(const xla_frame *frame, int32_t code, const char *format, ...) {
    char message[160];
    va_list values;
    va_start(values, format);
    vsnprintf(message, sizeof message, format, values);
    va_end(values);
    return frame->api->create_error(&(xla_error_arguments){sizeof(xla_error_arguments), NULL, message, code});
}

/* Answer XLA's question which version of the interface the handler has; return whether that was the question. */
static int answered(const xla_frame *frame) {
    for (xla_extension *e = frame->extensions; e; e = e->next) {
        if (e->type != XLA_METADATA) continue;
        xla_metadata *metadata = ((xla_metadata_extension *)e)->metadata;
        metadata->version = (xla_version){sizeof metadata->version, NULL, XLA_MAJOR, XLA_MINOR};
        metadata->traits = 0;
        return 1;
    }
    return 0;
}

static const xla_buffer *next_argument(xla_call *c) { return c->frame->arguments.values[c->arguments++]; }
static const void *argument(xla_call *c) { return next_argument(c)->data; }
static void *result(xla_call *c) { return ((const xla_buffer *)c->frame->results.values[c->results++])->data; }

/* Read the attribute and the arguments that both passes have: x, W, R, b_ih, b_hh. */
static void *begin(xla_call *c, const xla_frame *frame) {
    const xla_array *numbers = frame->attributes.count == 1 && frame->attributes.types[0] == XLA_ARRAY
                                   ? (const xla_array *)frame->attributes.values[0]
                                   : NULL;
    if (frame->stage != XLA_EXECUTE || !numbers || numbers->dtype != XLA_INT64 || numbers->count != NUMBERS)
        return fault(frame, XLA_INVALID_ARGUMENT, "expected a call with an attribute of %d int64 numbers", NUMBERS);
    const int64_t *n = numbers->data;
    if (n[ISA] < 0 || n[ISA] >= fastrnn_isa_count() || !fastrnn_isa_runs((int32_t)n[ISA])) /* a program that was exported */
        return fault(frame, XLA_FAILED_PRECONDITION, "the program is for an instruction set that does not run here");
    *c = (xla_call){.frame = frame, .numbers = n};
    c->stack = (fastrnn_stack){.isa = (int32_t)n[ISA],
                               .dtype = (int32_t)n[DTYPE],
                               .cell = (int32_t)n[CELL],
                               .L = 1,
                               .D = 1,
                               .I = n[INPUT_SIZE],
                               .H = n[HIDDEN_SIZE],
                               .products = (int32_t)n[PRODUCTS]};
    const int batch_major = n[ROWS] == FASTRNN_BATCH_MAJOR;
    const xla_buffer *x = next_argument(c), *W = next_argument(c);
    c->x = x->data;
    c->batch = (fastrnn_batch){.T = x->shape[batch_major],
                               .B = x->shape[!batch_major],
                               .reverse = (int32_t)n[REVERSE],
                               .threads = fastrnn_get_num_threads(),
                               .rows = (int32_t)n[ROWS]};
    c->W_bytes = bytes_of(c->stack.dtype, W->shape[0] * c->stack.I);
    c->R_bytes = bytes_of(c->stack.dtype, W->shape[0] * c->stack.H);
    c->b_bytes = bytes_of(c->stack.dtype, W->shape[0]);
    c->weights.W = W->data;
    c->weights.R = argument(c);
    if (n[BIAS]) {
        c->weights.b_ih = argument(c);
        c->weights.b_hh = argument(c);
    }
    return NULL;
}

/* Copy the lengths to `to` [B]. */
static void *set_lengths(xla_call *c, int64_t *to) {
    for (int64_t b = 0; b < c->batch.B; b++) {
        const void *all = c->lengths->data;
        to[b] = c->lengths->dtype == XLA_INT64 ? ((const int64_t *)all)[b] : ((const int32_t *)all)[b];
        if (to[b] < 0 || to[b] > c->batch.T)
            return fault(c->frame, XLA_INVALID_ARGUMENT, "lengths must each lie in 0..T = 0..%lld, got %lld",
                         (long long)c->batch.T, (long long)to[b]);
    }
    c->batch.lengths = to;
    return NULL;
}

/* Return the size of a workspace for any lengths. Rows that move need the most, and reversed rows move too. Both passes of
 * training have the same, so that backward finds the memory of its forward. */
static size_t workspace_size(const xla_call *c, int32_t training) {
    fastrnn_batch largest = c->batch;
    largest.reverse |= !!c->lengths;
    const size_t forward = fastrnn_forward_workspace_size(&c->stack, &largest, 0, training);
    const size_t backward = training ? fastrnn_backward_workspace_size(&c->stack, &largest, 0) : 0;
    return forward > backward ? forward : backward;
}

/* Return a number that other weights, or other numbers of the attribute, most probably do not have. */
static uint64_t key_of(const xla_call *c, int32_t training) {
    const int64_t rows = (int64_t)(c->b_bytes / bytes_of(c->stack.dtype, 1));
    const int64_t sizes[] = {rows * c->stack.I, rows * c->stack.H, rows, rows};
    const fastrnn_weights *w = &c->weights;
    void *const arrays[] = {(void *)w->W, (void *)w->R, (void *)w->b_ih, (void *)w->b_hh};
    const fastrnn_arrays list = {c->stack.isa, c->stack.dtype, w->b_ih ? 4 : 2, sizes, arrays};
    const int64_t others[] = {c->stack.isa, c->stack.dtype,    c->stack.cell, c->stack.I,
                              c->stack.H,   c->stack.products, list.count,    training};
    uint64_t key = fastrnn_arrays_hash(&list, 0, 1);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        key = (key ^ (uint64_t)others[i]) * UINT64_C(0x9E3779B97F4A7C15);
    return key;
}

/* Take memory for a pass, pack the weights, and read the lengths. The tape is in the caller's buffer unless `own_tape`.
 *
 * Weights that were packed for an earlier call are found by their hash. Microseconds, LSTM of H = I units, one thread of a
 * Zen 5:
 *
 *     H                    128    256    512    1024
 *     hash                   3     19     79     755
 *     pack for inference    17     66    553    7852
 *     pack for training     26    101   1256    9929 */
static void *prepare(xla_call *c, int32_t training, const xla_buffer *tape, int own_tape) {
    const size_t sizes[] = {fastrnn_packed_size(&c->stack, training), workspace_size(c, training),
                            c->lengths ? (size_t)c->batch.B * sizeof(int64_t) : 0, own_tape ? (size_t)tape->shape[0] : 0};
    enum { PARTS = sizeof sizes / sizeof *sizes };
    void *parts[PARTS];
    arena count = {0};
    for (int i = 0; i < PARTS; i++) arena_take(&count, sizes[i]);
    int32_t found;
    arena memory = {.base = memory_take(key_of(c, training), count.used, &found)};
    if (!memory.base) return fault(c->frame, XLA_RESOURCE_EXHAUSTED, "no memory for %zu bytes", count.used);
    for (int i = 0; i < PARTS; i++) parts[i] = arena_take(&memory, sizes[i]);
    c->packed = parts[0];
    c->workspace = parts[1];
    c->tape = own_tape ? parts[3] : tape ? tape->data : NULL;
    if (!found) fastrnn_pack(&c->stack, &c->weights, training, c->packed);
    void *wrong = c->lengths ? set_lengths(c, parts[2]) : NULL;
    if (!wrong && tape && fastrnn_tape_size(&c->stack, &c->batch, 0) > (size_t)tape->shape[0])
        wrong =
            fault(c->frame, XLA_FAILED_PRECONDITION, "the program is for another build of fastrnn: its tape is too small");
    if (wrong) memory_give_back(c->packed, 0);
    return wrong;
}

/* Arguments: x, W, R, biases, h0, c0 (LSTM), lengths. Results: y, h_n, c_n (LSTM), and in training the tape. */
void *fastrnn_xla_forward(void *call_frame) {
    const xla_frame *frame = call_frame;
    if (answered(frame)) return NULL;
    xla_call c;
    void *wrong = begin(&c, frame);
    if (wrong) return wrong;
    const int lstm = has_c(c.stack.cell);
    fastrnn_inputs in = {.x = c.x};
    in.h0 = argument(&c);
    if (lstm) in.c0 = argument(&c);
    if (c.numbers[LENGTHS]) c.lengths = next_argument(&c);
    fastrnn_outputs out = {0};
    out.y = result(&c);
    out.h_n = result(&c);
    if (lstm) out.c_n = result(&c);
    const xla_buffer *tape = c.results < frame->results.count ? frame->results.values[c.results] : NULL;
    const int own_tape = tape && !aligned(tape->data); /* XLA's buffers have been aligned so far */
    wrong = prepare(&c, !!tape, tape, own_tape);
    if (wrong) return wrong;
    if (tape) memory_prefer_huge_pages(tape->data, (size_t)tape->shape[0]);
    fastrnn_forward(&c.stack, c.packed, &c.batch, &in, &out, c.tape, c.workspace);
    if (own_tape) memcpy(tape->data, c.tape, (size_t)tape->shape[0]);
    memory_give_back(c.packed, 0);
    return NULL;
}

/* Return the next result of so many bytes, filled with zeros, because gradients of weights are added to. */
static void *zeros(xla_call *c, size_t bytes) { return memset(result(c), 0, bytes); }

/* Arguments: x, W, R, biases, lengths, tape, dy, dh_n, dc_n (LSTM). Results: the used tape, in the tape's memory; dx if
 * wanted; dh0, dc0 (LSTM), dW, dR, and the gradients of the biases. */
void *fastrnn_xla_backward(void *call_frame) {
    const xla_frame *frame = call_frame;
    if (answered(frame)) return NULL;
    xla_call c;
    void *wrong = begin(&c, frame);
    if (wrong) return wrong;
    const int lstm = has_c(c.stack.cell);
    if (c.numbers[LENGTHS]) c.lengths = next_argument(&c);
    const xla_buffer *tape = next_argument(&c);
    fastrnn_output_gradients dout = {0};
    dout.dy = argument(&c);
    dout.dh_n = argument(&c);
    if (lstm) dout.dc_n = argument(&c);
    const int own_tape = result(&c) != tape->data || !aligned(tape->data); /* else XLA lets backward run in the tape */
    wrong = prepare(&c, 1, tape, own_tape);
    if (wrong) return wrong;
    if (own_tape) memcpy(c.tape, tape->data, (size_t)tape->shape[0]);
    fastrnn_gradients din = {0};
    if (c.numbers[DX]) din.dx = result(&c);
    din.dh0 = result(&c);
    if (lstm) din.dc0 = result(&c);
    fastrnn_weight_gradients grads = {0};
    grads.W = zeros(&c, c.W_bytes);
    grads.R = zeros(&c, c.R_bytes);
    if (c.numbers[BIAS]) {
        grads.b_ih = zeros(&c, c.b_bytes);
        grads.b_hh = zeros(&c, c.b_bytes);
    }
    fastrnn_backward(&c.stack, c.packed, &c.batch, &(fastrnn_inputs){.x = c.x}, &dout, &din, &grads, c.tape, c.workspace);
    memory_give_back(c.packed, 1); /* an optimiser changes the weights now */
    return NULL;
}

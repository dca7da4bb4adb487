/* Every exported type and function. There is no preprocessor here: the Python binding reads this file as it is.
 *
 * Letters: T time steps, B batch, I input size, H hidden size, P projection size, Y output size (P with a projection, else
 * H), G gates. Arrays are C-contiguous and of the layer's dtype unless another type is written. The library allocates
 * nothing: every byte, workspace included, is the caller's. It trusts its arguments (assertions in debug builds). */

enum fastrnn_dtype { FASTRNN_FLOAT32, FASTRNN_FLOAT64 };

enum fastrnn_cell {
    FASTRNN_RNN_TANH,
    FASTRNN_RNN_RELU,
    FASTRNN_GRU,              /* reset after the product: torch, cuDNN, Keras */
    FASTRNN_GRU_RESET_BEFORE, /* Cho et al. 2014 */
    FASTRNN_GRU_NO_RESET,     /* gates z n */
    FASTRNN_LSTM,
    FASTRNN_LSTM_PEEPHOLE
};

enum fastrnn_split { FASTRNN_SPLIT_NONE, FASTRNN_SPLIT_BATCH, FASTRNN_SPLIT_HIDDEN };

/* One layer in one direction. `isa` is an index from fastrnn_isa_default or fastrnn_isa_find: the layouts of packed weights
 * and tapes follow from it, so it stays with the layer. */
typedef struct {
    int32_t isa;
    int32_t dtype;
    int32_t cell;
    int64_t I, H, P; /* P = 0: no projection */
} fastrnn_layer;

/* Parameters in torch's layouts and gate order: W [G*H, I], R [G*H, Y], b_ih [G*H], b_hh [G*H], peephole [3*H] (i f o),
 * projection [P, H]. Null where the layer has none. */
typedef struct {
    const void *W, *R, *b_ih, *b_hh, *peephole, *projection;
} fastrnn_params;

/* Gradients of the same shapes; fastrnn_backward ADDS into each that is not null. W and R are never null. */
typedef struct {
    void *W, *R, *b_ih, *b_hh, *peephole, *projection;
} fastrnn_grads;

/* The size of a batch: T >= 1, B >= 0. `lengths` [B], each 0..T (y is zero and the final state the initial one of a sequence
 * of length 0), or null: all T. `reverse`: each sequence from its last step to its first.
 * `threads`: use at most so many; 0: fastrnn_get_num_threads. It must be the same when a size is asked for and when it is
 * used, so give a number where another thread might call fastrnn_set_num_threads in between. `directions`: 0 or 1, or 2 for
 * one of the two passes of a bidirectional layer, made by one call: y and dy are then [T, B, 2*Y], c and dc [T, B, 2*H], and
 * the pointers are to this pass's columns of the first row. */
typedef struct {
    int64_t T, B;
    const int64_t *lengths;
    int32_t reverse, threads, directions;
} fastrnn_batch;

/* What goes into a forward pass. Either x [T, B, I] or ids [T, B] (each -1..I-1: a one-hot vector, -1 the zero vector), the
 * other null; h0 [B, Y]; c0 [B, H], of an LSTM only; a state that is null is zeros. */
typedef struct {
    const void *x;
    const int64_t *ids;
    const void *h0, *c0;
} fastrnn_input;

/* What comes out, all overwritten, none may alias an input: y [T, B, Y]; h_n [B, Y]; c_n [B, H] for LSTM, else null;
 * c [T, B, H] all cell states, or null. */
typedef struct {
    void *y, *h_n, *c_n, *c;
} fastrnn_output;

/* Gradients of the loss with respect to the outputs; null is zero. */
typedef struct {
    const void *dy, *dh_n, *dc_n, *dc;
} fastrnn_output_grads;

/* Gradients with respect to the inputs, overwritten: dx [T, B, I] (null: not wanted; always null with ids); dh0 [B, Y];
 * dc0 [B, H] for LSTM, else null. */
typedef struct {
    void *dx, *dh0, *dc0;
} fastrnn_input_grads;

/* Instruction sets: how many were compiled in, their names, whether the processor runs them. fastrnn_isa_find gives -1 for
 * a name that was not compiled in. The default is the best that runs here, or the one FASTRNN_ISA names; -1 if it names one
 * that does not exist or does not run. */
int32_t fastrnn_isa_count(void);
const char *fastrnn_isa_name(int32_t isa);
int32_t fastrnn_isa_runs(int32_t isa);
int32_t fastrnn_isa_find(const char *name);
int32_t fastrnn_isa_default(void);
const char *fastrnn_compiler(void);

/* Threads of the process-wide team; a call uses at most so many, and one when another caller has the team. */
int32_t fastrnn_get_num_threads(void);
void fastrnn_set_num_threads(int32_t n);

/* How a forward (backward = 0) or backward pass of this size would be split, and over how many threads. Returns how many of
 * the batch's directions would run at once, each with so many threads: 1 or both. */
int32_t fastrnn_plan(const fastrnn_layer *layer, const fastrnn_batch *batch, int32_t backward, int32_t *split,
                     int32_t *threads);

/* Packed weights: bytes, and packing. `training` adds what fastrnn_backward needs. */
size_t fastrnn_packed_size(const fastrnn_layer *layer, int32_t training);
void fastrnn_pack(const fastrnn_layer *layer, const fastrnn_params *params, int32_t training, void *packed);

/* Bytes of the tape that a training forward leaves for backward, and of the workspaces. `ids`: the input is token ids. */
size_t fastrnn_tape_size(const fastrnn_layer *layer, const fastrnn_batch *batch, int32_t ids);
size_t fastrnn_forward_workspace_size(const fastrnn_layer *layer, const fastrnn_batch *batch, int32_t ids, int32_t training);
size_t fastrnn_backward_workspace_size(const fastrnn_layer *layer, const fastrnn_batch *batch, int32_t ids);

/* Forward over time. tape is null in inference. packed, tape and workspace are aligned to 64 bytes. */
void fastrnn_forward(const fastrnn_layer *layer, const void *packed, const fastrnn_batch *batch, const fastrnn_input *in,
                     const fastrnn_output *out, void *tape, void *workspace);

/* All gradients. The tape comes from fastrnn_forward with the same layer, packed weights (with `training`), batch and input;
 * it is overwritten, and so good for one call. */
void fastrnn_backward(const fastrnn_layer *layer, const void *packed, const fastrnn_batch *batch, const fastrnn_input *in,
                      const fastrnn_output_grads *dout, const fastrnn_input_grads *din, const fastrnn_grads *grads,
                      void *tape, void *workspace);

/* The same for both directions of a layer, with sizes in common: `jobs` has two, for batches that differ in `reverse` alone.
 * They run at once where that is faster; results are the same bits. Memory is each job's own. */
typedef struct {
    const void *packed;
    const fastrnn_batch *batch;
    fastrnn_input in;
    fastrnn_output out;
    void *tape, *workspace;
} fastrnn_forward_job;

typedef struct {
    const void *packed;
    const fastrnn_batch *batch;
    fastrnn_input in;
    fastrnn_output_grads dout;
    fastrnn_input_grads din;
    fastrnn_grads grads;
    void *tape, *workspace;
} fastrnn_backward_job;

void fastrnn_forward_both(const fastrnn_layer *layer, const fastrnn_forward_job *jobs);
void fastrnn_backward_both(const fastrnn_layer *layer, const fastrnn_backward_job *jobs);

/* Layers on top of each other, forward without tapes: `count` of them with packed weights, the first of which takes the
 * input; all of one dtype and ISA and of one H and P. out: y [T, B, Y] of the last layer, c null; states of each layer in
 * turn, h0, h_n [count, B, Y], c0, c_n [count, B, H]. Without lengths they may run at once, as a wavefront: same bits. */
typedef struct {
    int32_t count;
    const fastrnn_layer *layers;
    void *const *packed;
} fastrnn_stack;

/* How many of the layers would run at once, each on one thread: 1 where they run one after the other. */
int32_t fastrnn_plan_stack(const fastrnn_stack *stack, const fastrnn_batch *batch);
size_t fastrnn_forward_stack_workspace_size(const fastrnn_stack *stack, const fastrnn_batch *batch, int32_t ids);
void fastrnn_forward_stack(const fastrnn_stack *stack, const fastrnn_batch *batch, const fastrnn_input *in,
                           const fastrnn_output *out, void *workspace);

/* A linear layer y = x W^T + b: x [N, I], weight W [O, I], bias b [O] or null, y [N, O] overwritten. Packed weights and
 * `threads` as above. */
typedef struct {
    int32_t isa;
    int32_t dtype;
    int64_t I, O;
    int32_t threads;
} fastrnn_linear;

size_t fastrnn_linear_packed_size(const fastrnn_linear *linear, int32_t training);
void fastrnn_linear_pack(const fastrnn_linear *linear, const void *weight, const void *bias, int32_t training, void *packed);
size_t fastrnn_linear_workspace_size(const fastrnn_linear *linear, int64_t N, int32_t backward);
void fastrnn_linear_forward(const fastrnn_linear *linear, const void *packed, int64_t N, const void *x, void *y,
                            void *workspace);

/* dx [N, I] is overwritten (null: not wanted); ADDS into dW [O, I] and db [O] (null: no bias). */
void fastrnn_linear_backward(const fastrnn_linear *linear, const void *packed, int64_t N, const void *x, const void *dy,
                             void *dx, void *dW, void *db, void *workspace);

/* Softmax cross-entropy in nats of logits [N, V] against classes `targets` [N], and its gradient dlogits [N, V]
 * (overwritten): of the rows whose target is not ignore_index and whose mask [N] (null: all) is not 0, their `mean` or sum;
 * the gradient of other rows is 0. workspace: 8 N bytes. Returns the loss; or -1, and writes nothing, if a target that
 * counts is not in 0..V-1. */
typedef struct {
    int32_t isa;
    int32_t dtype;
    int32_t mean;
    int64_t N, V, ignore_index;
} fastrnn_cross_entropy;

double fastrnn_softmax_cross_entropy(const fastrnn_cross_entropy *how, const void *logits, const int64_t *targets,
                                     const uint8_t *mask, void *dlogits, void *workspace);

/* A list of arrays that one call goes over: arrays[i] of sizes[i] elements, i < count. */
typedef struct {
    int32_t isa;
    int32_t dtype;
    int32_t count;
    const int64_t *sizes;
    void *const *arrays;
} fastrnn_arrays;

/* The sum of the squares of all elements, in float64. workspace: bytes as the other function says. */
size_t fastrnn_arrays_workspace_size(const fastrnn_arrays *list);
double fastrnn_arrays_squares(const fastrnn_arrays *list, void *workspace);
/* Multiply all elements by a factor; put them between -bound and bound, except NaN. In place. */
void fastrnn_arrays_scale(const fastrnn_arrays *list, double factor);
void fastrnn_arrays_clamp(const fastrnn_arrays *list, double bound);

enum fastrnn_rule { FASTRNN_SGD, FASTRNN_RMSPROP, FASTRNN_ADAM };

/* How an optimiser updates; each rule reads its own of these numbers. decoupled: AdamW. */
typedef struct {
    int32_t isa;
    int32_t dtype;
    int32_t rule, nesterov, decoupled;
    double lr, weight_decay, momentum, alpha, beta1, beta2, eps;
} fastrnn_optimiser;

/* A parameter w [n], its gradient g [n], and what the optimiser keeps for it, each [n]: SGD momentum_buffer or null, null,
 * null; RMSprop square_avg, momentum_buffer or null, grad_avg or null; Adam exp_avg, exp_avg_sq, null. steps [1] counts its
 * updates. */
typedef struct {
    int64_t n;
    int64_t *steps;
    void *w;
    const void *g;
    void *state[3];
} fastrnn_parameter;

/* One update of all parameters: adds 1 to the steps of each, and overwrites w and the state. */
void fastrnn_optimise(const fastrnn_optimiser *how, int32_t count, fastrnn_parameter *parameters);

/* Layers, on top of each other, that are fed one sequence step by step, each as it comes: `count` of them with packed
 * weights, which stay where they are; `ids`: the first takes token ids. All of one dtype. The states lie in `memory` of the
 * size asked for. */
typedef struct {
    int32_t count, ids;
    const fastrnn_layer *layers;
    void *const *packed;
} fastrnn_stream;

/* From states h, c as fastrnn_generate has them (null: zeros). A step reads x [I] or id and overwrites y [Y] of the last
 * layer. The states after the last step, of which there must have been one, are copied to h and c. */
size_t fastrnn_stream_size(const fastrnn_stream *stream);
void fastrnn_stream_begin(const fastrnn_stream *stream, const void *h, const void *c, void *memory);
void fastrnn_stream_step(const fastrnn_stream *stream, void *memory, const void *x, int64_t id, void *y);
void fastrnn_stream_states(const fastrnn_stream *stream, const void *memory, void *h, void *c);

/* A language model to sample from: embedding [V, E] or null (the first layer takes the ids), `count` layers with packed
 * weights, and the output layer's weight [V, Y] and bias [V] (null: none). All of one dtype. */
typedef struct {
    int64_t V, E;
    const void *embedding;
    int32_t count;
    const fastrnn_layer *layers;
    void *const *packed;
    const void *weight, *bias;
} fastrnn_language_model;

/* How tokens are chosen from softmax(logits / temperature): the most likely one (`greedy`), or at random among the top_k
 * most likely (0: all) and the smallest set that holds top_p of the probability (1: all). `end`: stop after this token (-1:
 * never). */
typedef struct {
    double temperature, top_p;
    int64_t top_k, end;
    int32_t greedy;
} fastrnn_sampling;

/* Feeds `prefix` (n_prefix ids, -1 the zero vector; at least one), then samples up to n tokens, each fed back; uniforms [n]
 * in [0, 1) decide. h and c of each layer, concatenated ([Y] and [H] each; c for LSTM only), are read and overwritten.
 * Writes tokens [n]; returns how many were sampled, `end` included. The last token sampled is not fed back. */
size_t fastrnn_generate_workspace_size(const fastrnn_language_model *model);
int64_t fastrnn_generate(const fastrnn_language_model *model, const fastrnn_sampling *sampling, const int64_t *prefix,
                         int64_t n_prefix, const double *uniforms, int64_t n, void *h, void *c, int64_t *tokens,
                         void *workspace);

/* A language model to train: `count` layers, the first of which has I = V and takes the ids, all of one H and P, under an
 * output layer with weight [V, Y] and bias [V] (null: none). All of one dtype and ISA. Gradients are ADDED to. */
typedef struct {
    int32_t count;
    const fastrnn_layer *layers;
    const fastrnn_params *params;
    const fastrnn_grads *grads;
    const void *weight, *bias;
    void *dweight, *dbias;
} fastrnn_learner;

/* Forward, loss and backward of one batch, whose `threads` is not 0: what packing and running each part would give, bit for
 * bit, without the time between the calls. in: ids [T, B], x null; out: y and c null. States are those of each layer in
 * turn: h0, h_n [count, B, Y], c0, c_n [count, B, H]. Targets and mask [T, B] as above. Returns the loss; or -1, and adds
 * nothing, if a target that counts is not in 0..V-1. */
size_t fastrnn_learn_workspace_size(const fastrnn_learner *learner, const fastrnn_batch *batch,
                                    const fastrnn_cross_entropy *how);
double fastrnn_learn(const fastrnn_learner *learner, const fastrnn_batch *batch, const fastrnn_cross_entropy *how,
                     const fastrnn_input *in, const int64_t *targets, const uint8_t *mask, const fastrnn_output *out,
                     void *workspace);

/* What the machine can do at most, for benchmarks; the caller holds the clock. On `threads` threads: `rounds` rounds of
 * multiply-adds in registers, or of reading a buffer of `size` bytes, aligned to 64, of which each thread reads its own
 * part over and over. Return the operations (a multiply-add is two) or bytes that were done, by the threads that took part.
 */
double fastrnn_measure_fma(int32_t isa, int32_t dtype, int32_t threads, int64_t rounds);
double fastrnn_measure_read(int32_t isa, int32_t dtype, int32_t threads, int64_t rounds, const void *buffer, size_t size);

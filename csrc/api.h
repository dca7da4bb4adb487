/* Every exported type and function. There is no preprocessor here: the Python binding reads this file as it is.
 *
 * Letters: T time steps, B batch, L layers, D directions, I input size, H hidden size, P projection size, Y output size (P
 * with a projection, else H), G gates. Arrays are C-contiguous and of the layer's dtype unless another type is written. The
 * library allocates nothing: every byte, workspace included, is the caller's. It trusts its arguments (assertions in debug
 * builds). */

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

/* Layers on top of each other, each in one or two directions: `L` layers, `D` directions. All have one cell, H and P; the
 * first takes I features or token ids, each other one the D*Y outputs of the layer below. A *part* is one layer in one
 * direction, part l*D + d that of layer l and direction d. `isa` is an index from fastrnn_isa_default or fastrnn_isa_find:
 * the layouts of packed weights and tapes follow from it, so it stays with the stack. */
typedef struct {
    int32_t isa;
    int32_t dtype;
    int32_t cell;
    int32_t L, D;
    int64_t I, H, P; /* P = 0: no projection */
} fastrnn_stack;

/* Parameters of a part in torch's layouts and gate order: W [G*H, I] (layers above the first: D*Y in the place of I), R
 * [G*H, Y], b_ih [G*H], b_hh [G*H], peephole [3*H] (i f o), projection [P, H]. Null where the layer has none. */
typedef struct {
    const void *W, *R, *b_ih, *b_hh, *peephole, *projection;
} fastrnn_weights;

/* Gradients of the same shapes; fastrnn_backward ADDS into each that is not null. W and R are never null. */
typedef struct {
    void *W, *R, *b_ih, *b_hh, *peephole, *projection;
} fastrnn_weight_gradients;

/* The size of a batch: T >= 1, B >= 0. `lengths` [B], each 0..T (y is zero and the final state the initial one of a sequence
 * of length 0), or null: all T. `reverse`: the first direction takes each sequence from its last step to its first, and the
 * second one from first to last. `threads`: use at most so many; 0: fastrnn_get_num_threads. It must be the same when a size
 * is asked for and when it is used, so give a number where another thread might call fastrnn_set_num_threads in between.
 * Only fastrnn_forward_workspace_size is enough for any number if it is asked with 0. */
typedef struct {
    int64_t T, B;
    const int64_t *lengths;
    int32_t reverse, threads;
} fastrnn_batch;

/* What goes into a forward pass. Either x [T, B, I] or ids [T, B] (each -1..I-1: a one-hot vector, -1 the zero vector), the
 * other null; the parts' states h0 [L*D, B, Y] and c0 [L*D, B, H], of an LSTM only; a state that is null is zeros. */
typedef struct {
    const void *x;
    const int64_t *ids;
    const void *h0, *c0;
} fastrnn_inputs;

/* What comes out, all overwritten, none may alias an input: y [T, B, D*Y] of the last layer; h_n [L*D, B, Y]; c_n [L*D, B,
 * H] for LSTM, else null; c [T, B, D*H] all cell states of the last layer, or null. */
typedef struct {
    void *y, *h_n, *c_n, *c;
} fastrnn_outputs;

/* Gradients of the loss with respect to the outputs; null is zero. */
typedef struct {
    const void *dy, *dh_n, *dc_n, *dc;
} fastrnn_output_gradients;

/* Gradients with respect to the inputs, overwritten: dx [T, B, I] (null: not wanted; always null with ids); dh0 [L*D, B, Y];
 * dc0 [L*D, B, H] for LSTM, else null. */
typedef struct {
    void *dx, *dh0, *dc0;
} fastrnn_gradients;

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

/* How layer `layer` of a forward (backward = 0) or backward pass would be split, and over how many threads. Returns how many
 * of its directions would run at once, each with so many threads: 1 or D. */
int32_t fastrnn_plan(const fastrnn_stack *stack, int32_t layer, const fastrnn_batch *batch, int32_t backward, int32_t *split,
                     int32_t *threads);

/* How many layers an inference would run at once, each on one thread: 1 where they run one after the other. */
int32_t fastrnn_plan_layers(const fastrnn_stack *stack, const fastrnn_batch *batch);

/* Packed weights: bytes, and packing of `params` [L*D]. `training` adds what fastrnn_backward needs; the buffer knows which
 * it is. */
size_t fastrnn_packed_size(const fastrnn_stack *stack, int32_t training);
void fastrnn_pack(const fastrnn_stack *stack, const fastrnn_weights *params, int32_t training, void *packed);

/* Bytes of the tape that a training forward leaves for backward, and of the workspaces. `ids`: the input is token ids. */
size_t fastrnn_tape_size(const fastrnn_stack *stack, const fastrnn_batch *batch, int32_t ids);
size_t fastrnn_forward_workspace_size(const fastrnn_stack *stack, const fastrnn_batch *batch, int32_t ids, int32_t training);
size_t fastrnn_backward_workspace_size(const fastrnn_stack *stack, const fastrnn_batch *batch, int32_t ids);

/* Forward over time. tape is null in inference. packed, tape and workspace are aligned to 64 bytes. Both directions of a
 * layer run at once where that is faster, and in inference so do layers (without lengths, in one direction): the results
 * are the same bits. */
void fastrnn_forward(const fastrnn_stack *stack, const void *packed, const fastrnn_batch *batch, const fastrnn_inputs *in,
                     const fastrnn_outputs *out, void *tape, void *workspace);

/* All gradients, those of the parameters ADDED into `grads` [L*D]. The tape comes from fastrnn_forward with the same stack,
 * packed weights (with `training`), batch and input; it is overwritten, and so good for one call. */
void fastrnn_backward(const fastrnn_stack *stack, const void *packed, const fastrnn_batch *batch, const fastrnn_inputs *in,
                      const fastrnn_output_gradients *dout, const fastrnn_gradients *din,
                      const fastrnn_weight_gradients *grads, void *tape, void *workspace);

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

/* A stack in one direction that is fed one sequence step by step, in `memory` of the size asked for; packed weights stay
 * where they are. `ids`: the input is token ids. It begins with the states h [L, Y] and c [L, H] (null: zeros). A step reads
 * x [I] or id and overwrites y [Y] of the last layer. The states after the last step, of which there must have been one,
 * are copied to h and c. */
size_t fastrnn_stream_size(const fastrnn_stack *stack, int32_t ids);
void fastrnn_stream_begin(const fastrnn_stack *stack, const void *packed, int32_t ids, const void *h, const void *c,
                          void *memory);
void fastrnn_stream_step(const fastrnn_stack *stack, void *memory, const void *x, int64_t id, void *y);
void fastrnn_stream_states(const fastrnn_stack *stack, const void *memory, void *h, void *c);

/* A language model to sample from: embedding [V, E] or null (the first layer takes the ids), a stack in one direction with
 * packed weights, and the output layer's weight [V, Y] and bias [V] (null: none). */
typedef struct {
    int64_t V, E;
    const void *embedding;
    const fastrnn_stack *stack;
    const void *packed;
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
 * in [0, 1) decide. h [L, Y] and c [L, H] (LSTM only) are read and overwritten. Writes tokens [n]; returns how many were
 * sampled, `end` included. The last token sampled is not fed back. */
size_t fastrnn_generate_workspace_size(const fastrnn_language_model *model);
int64_t fastrnn_generate(const fastrnn_language_model *model, const fastrnn_sampling *sampling, const int64_t *prefix,
                         int64_t n_prefix, const double *uniforms, int64_t n, void *h, void *c, int64_t *tokens,
                         void *workspace);

/* A language model to train: a stack in one direction that takes ids (I = V) with `params` [L] under an output layer with
 * weight [V, Y] and bias [V] (null: none). Gradients are ADDED to. */
typedef struct {
    const fastrnn_stack *stack;
    const fastrnn_weights *params;
    const fastrnn_weight_gradients *grads;
    const void *weight, *bias;
    void *dweight, *dbias;
} fastrnn_trained_model;

/* Forward, loss and backward of one batch, whose `threads` is not 0: what packing and running each piece would give, bit for
 * bit, without the time between the calls. in: ids [T, B], x null; out: y and c null. Targets and mask [T, B] as above.
 * Returns the loss; or -1, and adds nothing, if a target that counts is not in 0..V-1. */
size_t fastrnn_train_step_workspace_size(const fastrnn_trained_model *model, const fastrnn_batch *batch,
                                         const fastrnn_cross_entropy *how);
double fastrnn_train_step(const fastrnn_trained_model *model, const fastrnn_batch *batch, const fastrnn_cross_entropy *how,
                          const fastrnn_inputs *in, const int64_t *targets, const uint8_t *mask, const fastrnn_outputs *out,
                          void *workspace);

/* What the machine can do at most, for benchmarks; the caller holds the clock. On `threads` threads: `rounds` rounds of
 * multiply-adds in registers, or of reading a buffer of `size` bytes, aligned to 64, of which each thread reads its own
 * part over and over. Return the operations (a multiply-add is two) or bytes that were done, by the threads that took part.
 */
double fastrnn_measure_fma(int32_t isa, int32_t dtype, int32_t threads, int64_t rounds);
double fastrnn_measure_read(int32_t isa, int32_t dtype, int32_t threads, int64_t rounds, const void *buffer, size_t size);

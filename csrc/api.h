/* All exported types and functions. This file has no preprocessor directives because the Python binding reads it as it
 * is.
 *
 * Letters: T time steps, B batch, L layers, D directions, I input size, H hidden size, P projection size, Y output size
 * (P with a projection, else H), G gates. Arrays are C-contiguous and of the layer's dtype unless another type is
 * written. The library allocates nothing, except in the handlers for XLA: the caller owns all memory, also the workspaces.
 * The library does not check its arguments; debug builds assert them. */

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

/* The order of the rows of a sequence's arrays: x, ids, y, c and their gradients. */
enum fastrnn_rows {
    FASTRNN_TIME_MAJOR,  /* [T, B, ...] */
    FASTRNN_BATCH_MAJOR, /* [B, T, ...] */
    FASTRNN_PACKED       /* [N, ...]: step after step, and in each step only the sequences that have it */
};

/* How W, R and the projection are stored. A compressed stack is float32 and runs inference only. int8 numbers are
 * multiplied by a scale. Each row of the array in torch's layout, which is a gate of a unit, has its own scale. Most rows of
 * x and h are rounded to 16 bits where int8 numbers multiply them (kernels/integers.h). */
enum fastrnn_weight_format { FASTRNN_WEIGHTS_FULL, FASTRNN_WEIGHTS_BFLOAT16, FASTRNN_WEIGHTS_INT8 };

/* How the products of a float32 stack are computed. For FASTRNN_PRODUCTS_BFLOAT16 both operands are rounded to bfloat16
 * (to nearest, ties to even), and their products are summed in float32; denormals count as zero. States, activations,
 * biases and all sums stay float32. Every ISA computes them, with the same bits except for a matrix unit's, which adds in
 * another order. Weights are given in float32 or as bfloat16, and rounded when they are packed.
 *
 * For FASTRNN_PRODUCTS_SPLIT the forward pass splits both operands into three int8 slices, and sums six products of slices.
 * They are as accurate as float32's if fastrnn_splits_well returns 1 for all operands and no column of an operand makes
 * up for a small one of the other. The backward pass splits balanced operands into four slices, and sums ten products,
 * whatever the sizes of gradients. Only ISAs with a matrix unit split, and only weights in float32; otherwise the products
 * are FASTRNN_PRODUCTS_FULL. */
enum fastrnn_products { FASTRNN_PRODUCTS_FULL, FASTRNN_PRODUCTS_BFLOAT16, FASTRNN_PRODUCTS_SPLIT };

enum fastrnn_split { FASTRNN_SPLIT_NONE, FASTRNN_SPLIT_BATCH, FASTRNN_SPLIT_HIDDEN };

/* L layers on top of each other, each in D = 1 or 2 directions. All layers have the same cell, H and P. The first layer
 * takes I features or token ids; each other layer takes the D*Y outputs of the layer below. A *part* is one layer in one
 * direction; layer l in direction d is part l*D + d. `isa` is an index from fastrnn_isa_default or fastrnn_isa_find. It
 * must not change during the stack's life, because the layouts of packed weights and tapes depend on it. */
typedef struct {
    int32_t isa;
    int32_t dtype;
    int32_t cell;
    int32_t L, D;
    int64_t I, H, P;  /* P = 0: no projection */
    int32_t weights;  /* enum fastrnn_weight_format */
    int32_t products; /* enum fastrnn_products */
} fastrnn_stack;

/* Parameters of a part in torch's layouts and gate order: W [G*H, I] (above the first layer D*Y replaces I), R [G*H,
 * Y], b_ih [G*H], b_hh [G*H], peephole [3*H] (i f o), projection [P, H]. Parameters that the layer does not have are
 * null. W, R and projection are in the stack's format. Scales have the dtype and one number for each row of these
 * arrays; they are null unless the format is int8. */
typedef struct {
    const void *W, *R, *b_ih, *b_hh, *peephole, *projection;
    const void *W_scales, *R_scales, *projection_scales;
} fastrnn_weights;

/* Gradients of the parameters, with the same shapes. fastrnn_backward ADDS to each that is not null. W and R are never
 * null. */
typedef struct {
    void *W, *R, *b_ih, *b_hh, *peephole, *projection;
} fastrnn_weight_gradients;

/* A batch of T >= 1 steps and B >= 0 sequences.
 *
 * `lengths` [B] holds values in 0..T; null means that all lengths are T. For a sequence of length 0, y is zero and the
 * final state is the initial state. If `reverse`, the first direction takes each sequence from its last step to its
 * first, and the second direction from first to last.
 *
 * `rows` is an enum fastrnn_rows. Shapes below are written for FASTRNN_TIME_MAJOR. FASTRNN_PACKED, the order of torch's
 * PackedSequence, requires lengths that do not increase; N is their sum.
 *
 * `threads` is the largest number of threads to use; 0 means fastrnn_get_num_threads. It must be the same when a size
 * is requested and when that memory is used. So pass a number if another thread might call fastrnn_set_num_threads in
 * between. Only fastrnn_forward_workspace_size, requested with 0, is enough for any number of threads. */
typedef struct {
    int64_t T, B;
    const int64_t *lengths;
    int32_t reverse, threads, rows;
} fastrnn_batch;

/* The inputs of a forward pass. One of x [T, B, I] and ids [T, B] is null. Each id is in -1..I-1 and stands for a
 * one-hot vector, -1 for the zero vector. h0 [L*D, B, Y] and, for LSTM only, c0 [L*D, B, H] are the initial states of
 * all parts; null means zeros. */
typedef struct {
    const void *x;
    const int64_t *ids;
    const void *h0, *c0;
} fastrnn_inputs;

/* The outputs of a forward pass. All are overwritten; none may alias an input. y [T, B, D*Y] of the last layer; h_n
 * [L*D, B, Y]; c_n [L*D, B, H] for LSTM, else null; c [T, B, D*H], all cell states of the last layer, or null if they
 * are not needed. */
typedef struct {
    void *y, *h_n, *c_n, *c;
} fastrnn_outputs;

/* Gradients of the loss with respect to the outputs. Null means zero. */
typedef struct {
    const void *dy, *dh_n, *dc_n, *dc;
} fastrnn_output_gradients;

/* Gradients of the loss with respect to the inputs, overwritten: dx [T, B, I] (null if it is not needed; always null
 * with ids); dh0 [L*D, B, Y]; dc0 [L*D, B, H] for LSTM, else null. */
typedef struct {
    void *dx, *dh0, *dc0;
} fastrnn_gradients;

/* Instruction sets: the number compiled in, their names, and whether the processor runs them. fastrnn_isa_find returns
 * -1 for a name that was not compiled in. The default is the ISA that the environment variable FASTRNN_ISA names, or -1
 * if it does not exist or does not run here; without the variable it is the best ISA that runs here, or -1 if none does.
 * fastrnn_multiplies_bfloat16 returns whether an ISA has instructions for products of bfloat16 numbers that are faster than
 * float32's on this processor. fastrnn_has_matrix_unit returns whether an ISA multiplies on a matrix unit. */
int32_t fastrnn_isa_count(void);
const char *fastrnn_isa_name(int32_t isa);
int32_t fastrnn_isa_runs(int32_t isa);
int32_t fastrnn_isa_find(const char *name);
int32_t fastrnn_isa_default(void);
int32_t fastrnn_multiplies_bfloat16(int32_t isa);
int32_t fastrnn_has_matrix_unit(int32_t isa);

/* Return whether float32 rows [count, n] can be split into slices: each row is zero, or its largest magnitude is from 2^-40
 * to 2^40 and its square at most 0.2 of the row's sum of squares, or 0.4 if n < 512. Then columns[n] are the largest
 * magnitudes of their columns. */
int32_t fastrnn_splits_well(const float *rows, int64_t count, int64_t n, float *columns);
const char *fastrnn_compiler(void);

/* The number of threads of the process-wide pool, caller included. A call uses at most that many, or one if another
 * caller owns the pool. */
int32_t fastrnn_get_num_threads(void);
void fastrnn_set_num_threads(int32_t n);

/* Let calls run on the workers of the OpenMP library that PyTorch has loaded (1), or on the library's own (0, the
 * default). PyTorch's workers spin after each of its operators and hold the cores that others would use. Results are
 * the same. Both functions return which workers are in use. They are the library's own if no OpenMP library is loaded,
 * and always in a forked child. */
int32_t fastrnn_use_openmp(int32_t wanted);
int32_t fastrnn_uses_openmp(void);

/* Report how layer `layer` of a forward (backward = 0) or backward pass would be split, and over how many threads.
 * Returns the number of directions that would run at once, each on `threads` threads: 1 or D. */
int32_t fastrnn_plan(const fastrnn_stack *stack, int32_t layer, const fastrnn_batch *batch, int32_t backward, int32_t *split,
                     int32_t *threads);

/* Return the number of layers that inference would run at once, each on one thread; 1 if they run one after another. */
int32_t fastrnn_plan_layers(const fastrnn_stack *stack, const fastrnn_batch *batch);

/* Return the size of the packed weights in bytes; pack `params` [L*D]. `training` adds what fastrnn_backward needs. The
 * buffer records which kind it is. */
size_t fastrnn_packed_size(const fastrnn_stack *stack, int32_t training);
void fastrnn_pack(const fastrnn_stack *stack, const fastrnn_weights *params, int32_t training, void *packed);

/* Return, in bytes, the size of the tape that a training forward pass leaves for backward, and the sizes of the
 * workspaces. `ids`: the input is token ids. */
size_t fastrnn_tape_size(const fastrnn_stack *stack, const fastrnn_batch *batch, int32_t ids);
size_t fastrnn_forward_workspace_size(const fastrnn_stack *stack, const fastrnn_batch *batch, int32_t ids, int32_t training);
size_t fastrnn_backward_workspace_size(const fastrnn_stack *stack, const fastrnn_batch *batch, int32_t ids);

/* Run the forward pass. tape is null in inference. packed, tape and workspace are aligned to 64 bytes. Both directions
 * of a layer run at once if that is faster. In inference without lengths and in one direction, layers may also run at
 * once. The results have the same bits either way. */
void fastrnn_forward(const fastrnn_stack *stack, const void *packed, const fastrnn_batch *batch, const fastrnn_inputs *in,
                     const fastrnn_outputs *out, void *tape, void *workspace);

/* Compute all gradients. The gradients of the parameters are ADDED to `grads` [L*D]. The tape must come from fastrnn_forward
 * with the same stack, packed weights (with `training`), batch and input. The tape is overwritten, so it serves one
 * backward pass. */
void fastrnn_backward(const fastrnn_stack *stack, const void *packed, const fastrnn_batch *batch, const fastrnn_inputs *in,
                      const fastrnn_output_gradients *dout, const fastrnn_gradients *din,
                      const fastrnn_weight_gradients *grads, void *tape, void *workspace);

/* A linear layer y = x W^T + b: x [N, I], weight W [O, I], bias b [O] or null, y [N, O] overwritten. Packed weights and
 * `threads` as above. */
typedef struct {
    int32_t isa;
    int32_t dtype;
    int64_t I, O;
    int32_t products; /* enum fastrnn_products; products that are split are computed in full */
    int32_t threads;
} fastrnn_linear;

size_t fastrnn_linear_packed_size(const fastrnn_linear *linear, int32_t training);
void fastrnn_linear_pack(const fastrnn_linear *linear, const void *weight, const void *bias, int32_t training, void *packed);
size_t fastrnn_linear_workspace_size(const fastrnn_linear *linear, int64_t N, int32_t backward);
void fastrnn_linear_forward(const fastrnn_linear *linear, const void *packed, int64_t N, const void *x, void *y,
                            void *workspace);

/* dx [N, I] is overwritten (null if it is not needed). dW [O, I] and db [O] (null: no bias) are ADDED to. */
void fastrnn_linear_backward(const fastrnn_linear *linear, const void *packed, int64_t N, const void *x, const void *dy,
                             void *dx, void *dW, void *db, void *workspace);

/* Softmax cross-entropy in nats of logits [N, V] against classes `targets` [N], and its gradient dlogits [N, V]
 * (overwritten). The loss is the mean (`mean`) or sum over the unmasked rows: those whose target is not ignore_index and
 * whose mask [N] (null: all) is not 0. The gradient of other rows is 0. workspace: 8 N bytes. Returns the loss, or -1 if
 * the target of an unmasked row is outside 0..V-1; then nothing is written. */
typedef struct {
    int32_t isa;
    int32_t dtype;
    int32_t mean;
    int64_t N, V, ignore_index;
} fastrnn_cross_entropy;

double fastrnn_softmax_cross_entropy(const fastrnn_cross_entropy *how, const void *logits, const int64_t *targets,
                                     const uint8_t *mask, void *dlogits, void *workspace);

/* A list of arrays for one call: arrays[i] has sizes[i] elements, i < count. */
typedef struct {
    int32_t isa;
    int32_t dtype;
    int32_t count;
    const int64_t *sizes;
    void *const *arrays;
} fastrnn_arrays;

/* Return the sum of the squares of all elements, computed in float64. The other function returns the size of the
 * workspace in bytes. */
size_t fastrnn_arrays_workspace_size(const fastrnn_arrays *list);
double fastrnn_arrays_squares(const fastrnn_arrays *list, void *workspace);
/* Multiply all elements by a factor in place; clamp all elements except NaN to -bound..bound in place. */
void fastrnn_arrays_scale(const fastrnn_arrays *list, double factor);
void fastrnn_arrays_clamp(const fastrnn_arrays *list, double bound);

/* Return a hash of the arrays' bits, to notice that one of them has changed: another value of any single element gives
 * another hash. The arrays are read in `phases` interleaved parts of pieces of 256 bytes; the hash is of part `phase`. */
uint64_t fastrnn_arrays_hash(const fastrnn_arrays *list, int32_t phase, int32_t phases);

enum fastrnn_function { FASTRNN_SIGMOID, FASTRNN_TANH, FASTRNN_SWISH }; /* swish(x) = x sigmoid(x) */

/* A function of each of n values. */
typedef struct {
    int32_t isa;
    int32_t dtype;
    int32_t function;
    int64_t n;
} fastrnn_pointwise;

/* y[i] = f(x[i]); y is overwritten and may be x. */
void fastrnn_apply(const fastrnn_pointwise *how, const void *x, void *y);

enum fastrnn_rule { FASTRNN_SGD, FASTRNN_RMSPROP, FASTRNN_ADAM };

/* The numbers of an optimiser; each rule reads those that it needs. decoupled: AdamW. */
typedef struct {
    int32_t isa;
    int32_t dtype;
    int32_t rule, nesterov, decoupled;
    double lr, weight_decay, momentum, alpha, beta1, beta2, eps;
} fastrnn_optimiser;

/* A parameter w [n], its gradient g [n], and the optimiser's state for it, each [n]: SGD momentum_buffer or null, null,
 * null; RMSprop square_avg, momentum_buffer or null, grad_avg or null; Adam exp_avg, exp_avg_sq, null. steps [1] counts
 * the updates. */
typedef struct {
    int64_t n;
    int64_t *steps;
    void *w;
    const void *g;
    void *state[3];
} fastrnn_parameter;

/* Update all parameters once: add 1 to the steps of each, and overwrite w and the state. */
void fastrnn_optimise(const fastrnn_optimiser *how, int32_t count, fastrnn_parameter *parameters);

/* A stack in one direction that takes one sequence step by step, in `memory` of the size that fastrnn_stream_size
 * returns. The packed weights are not copied, so they must stay valid. `ids`: the input is token ids. The initial states
 * are h [L, Y] and c [L, H]; null means zeros. A step reads x [I] or id and overwrites y [Y] of the last layer.
 * fastrnn_stream_states copies the states after the last step to h and c; at least one step must have run. */
size_t fastrnn_stream_size(const fastrnn_stack *stack, int32_t ids);
void fastrnn_stream_begin(const fastrnn_stack *stack, const void *packed, int32_t ids, const void *h, const void *c,
                          void *memory);
void fastrnn_stream_step(const fastrnn_stack *stack, void *memory, const void *x, int64_t id, void *y);
void fastrnn_stream_states(const fastrnn_stack *stack, const void *memory, void *h, void *c);

/* A language model to sample from: embedding [V, E], or null if the first layer takes the ids; a stack in one direction
 * with packed weights; the output layer's weight [V, Y] and bias [V] (null: none). */
typedef struct {
    int64_t V, E;
    const void *embedding;
    const fastrnn_stack *stack;
    const void *packed;
    const void *weight, *bias;
} fastrnn_language_model;

/* Settings of sampling. A token is chosen from softmax(logits / temperature). `greedy` takes the most likely token.
 * Otherwise it is drawn from the top_k most likely ones (0: all), and of these from the smallest set that holds top_p
 * of their probability (1: all). `end`: stop after this token (-1: never). */
typedef struct {
    double temperature, top_p;
    int64_t top_k, end;
    int32_t greedy;
} fastrnn_sampling;

/* Feed `prefix` (n_prefix >= 1 ids, -1 for the zero vector), then sample up to n tokens and feed each back. uniforms [n]
 * in [0, 1) are the random numbers. h [L, Y] and c [L, H] (LSTM only) are read and overwritten. Writes tokens [n];
 * returns the number of sampled tokens, `end` included. The last sampled token is not fed back. */
size_t fastrnn_generate_workspace_size(const fastrnn_language_model *model);
int64_t fastrnn_generate(const fastrnn_language_model *model, const fastrnn_sampling *sampling, const int64_t *prefix,
                         int64_t n_prefix, const double *uniforms, int64_t n, void *h, void *c, int64_t *tokens,
                         void *workspace);

/* A language model to train: a stack in one direction that takes ids (I = V) with `params` [L], under an output layer
 * with weight [V, Y] and bias [V] (null: none). Gradients are ADDED to. */
typedef struct {
    const fastrnn_stack *stack;
    const fastrnn_weights *params;
    const fastrnn_weight_gradients *grads;
    const void *weight, *bias;
    void *dweight, *dbias;
    int32_t products; /* the output layer's, as in fastrnn_linear */
} fastrnn_trained_model;

/* Run forward, loss and backward for one batch; its `threads` must not be 0. The results have the bits of separate
 * calls, without the time between these calls. in: ids [T, B], x null; out: y and c null. Targets and mask [T, B] as
 * above. Returns the loss, or -1 if the target of an unmasked row is outside 0..V-1; then no gradient is added. */
size_t fastrnn_train_step_workspace_size(const fastrnn_trained_model *model, const fastrnn_batch *batch,
                                         const fastrnn_cross_entropy *how);
double fastrnn_train_step(const fastrnn_trained_model *model, const fastrnn_batch *batch, const fastrnn_cross_entropy *how,
                          const fastrnn_inputs *in, const int64_t *targets, const uint8_t *mask, const fastrnn_outputs *out,
                          void *workspace);

/* Handlers of XLA's foreign function interface for a layer in one direction; xla.c lists their arguments and results. They
 * are the only functions that allocate: memory for a call, which they keep for the next calls. */
void *fastrnn_xla_forward(void *call_frame);
void *fastrnn_xla_backward(void *call_frame);

/* Measure the machine's ceilings for benchmarks; the caller measures the time. `threads` threads do `rounds` rounds of
 * multiply-adds in registers, or read a buffer of `size` bytes, aligned to 64, of which each thread reads its own part
 * repeatedly. Return the operations done (a multiply-add is two) or the bytes read, summed over the threads that took
 * part. */
double fastrnn_measure_fma(int32_t isa, int32_t dtype, int32_t threads, int64_t rounds);
double fastrnn_measure_read(int32_t isa, int32_t dtype, int32_t threads, int64_t rounds, const void *buffer, size_t size);

/* A call of a stack: its parts' shares of the packed weights and of the caller's arrays, and the run of one layer. */
#ifndef FASTRNN_STACK_H
#define FASTRNN_STACK_H

#include "layer.h"

/* One call. `batches` holds the batch as each direction sees it. */
typedef struct {
    const fastrnn_stack *stack;
    const void *packed;
    fastrnn_batch batches[MAX_DIRECTIONS];
} stack_call;

stack_call call_of(const fastrnn_stack *stack, const void *packed, const fastrnn_batch *batch);

/* Return the packed weights of part i. */
const void *packed_part(const fastrnn_stack *stack, const void *packed, int32_t i);

/* Return the size in bytes of a workspace for all directions of any layer; each direction's part begins on a cache line. */
size_t layers_workspace_size(const stack_call *call, int32_t ids, int32_t training, int32_t backward);

/* Run layer l in all directions. in: x or ids of this layer, with the states of the whole stack. out: y of this layer
 * (rows of D*Y), h_n and c_n of the whole stack, c of this layer or null. tapes: one for each direction, or null. */
void layer_forward(const stack_call *call, int32_t l, const fastrnn_inputs *in, const fastrnn_outputs *out,
                   void *const *tapes, void *workspace);

/* Run the layers at once on this number of threads (wavefront.c); the first function returns the workspace's size. */
size_t wavefront_workspace_size(const stack_call *call, int32_t ids, int32_t threads);
void wavefront_forward(const stack_call *call, const fastrnn_inputs *in, const fastrnn_outputs *out, int32_t threads,
                       void *workspace);

#endif

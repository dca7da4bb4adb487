/* A stack that takes one step at a time; see fastrnn_stream_size in api.h. */
#ifndef FASTRNN_STREAM_H
#define FASTRNN_STREAM_H

#include "../fastrnn.h"
#include "names.h"

size_t stream_size_(const fastrnn_stack *stack, int32_t ids);
void stream_begin_(const fastrnn_stack *stack, const void *packed, int32_t ids, const void *h, const void *c, void *memory);
void stream_step_(void *memory, const void *x, int64_t id, void *y);
void stream_states_(const void *memory, void *h, void *c);

#endif

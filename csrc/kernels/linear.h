/* The linear layer's kernels; see fastrnn_linear in api.h. */
#ifndef FASTRNN_LINEAR_H
#define FASTRNN_LINEAR_H

#include "../fastrnn.h"
#include "names.h"

size_t linear_packed_size_(const fastrnn_linear *l, int32_t training);
void linear_pack_(const fastrnn_linear *l, const void *weight, const void *bias, int32_t training, void *packed);
size_t linear_workspace_size_(const fastrnn_linear *l, int64_t N, int32_t backward);
void linear_forward_(const fastrnn_linear *l, const void *packed, int64_t N, const void *x, void *y, void *workspace);
void linear_backward_(const fastrnn_linear *l, const void *packed, int64_t N, const void *x, const void *dy, void *dx,
                      void *dW, void *db, void *workspace);

#endif

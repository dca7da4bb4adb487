/* The losses' kernels; see fastrnn_softmax_cross_entropy in api.h. */
#ifndef FASTRNN_LOSSES_H
#define FASTRNN_LOSSES_H

#include "../fastrnn.h"
#include "names.h"

double softmax_cross_entropy_(const fastrnn_cross_entropy *how, const void *logits, const int64_t *targets,
                              const uint8_t *mask, void *dlogits, void *workspace);

#endif

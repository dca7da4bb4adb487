/* Passes over lists of arrays; see fastrnn_arrays in api.h. */
#ifndef FASTRNN_ARRAYS_H
#define FASTRNN_ARRAYS_H

#include "../fastrnn.h"
#include "names.h"

size_t arrays_workspace_size_(const fastrnn_arrays *list);
double arrays_squares_(const fastrnn_arrays *list, void *workspace);
void arrays_scale_(const fastrnn_arrays *list, double factor);
void arrays_clamp_(const fastrnn_arrays *list, double bound);

#endif

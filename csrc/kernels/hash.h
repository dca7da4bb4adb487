/* A hash of the bits of arrays; see fastrnn_arrays_hash in api.h. */
#ifndef FASTRNN_HASH_H
#define FASTRNN_HASH_H

#include "../fastrnn.h"
#include "names.h"

uint64_t arrays_hash_(const fastrnn_arrays *list, int32_t phase, int32_t phases);

#endif

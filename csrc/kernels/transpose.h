/* Transposition, in squares of four that stay in registers. */
#ifndef FASTRNN_TRANSPOSE_H
#define FASTRNN_TRANSPOSE_H

#include "simd.h"

/* to[c][r] = from[r][c], r < rows, c < columns; rows are from_row and to_row reals apart. */
void transpose(real *to, int64_t to_row, const real *from, int64_t from_row, int64_t rows, int64_t columns);

/* to[c][r] += from[r][c], with the arguments of transpose. */
void add_transposed(real *to, int64_t to_row, const real *from, int64_t from_row, int64_t rows, int64_t columns);

#endif

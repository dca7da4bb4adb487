/* Products of bfloat16 words on a matrix unit (AMX, Intel 2021).
 *
 * A tile is a register of up to 16 rows of 64 bytes. One instruction adds to a tile of sums C[16][16] the product of a tile
 * A of 16 rows and a tile B of 16 columns, each with 16 words of k:
 *
 *     C[m][n] += sum over words k of A[m][k].first B[k][n].first + A[m][k].second B[k][n].second
 *
 * Rows of A are rows of words as bfloat16.h has them, and rows of B are rows of a packed panel, so a tile is loaded from
 * either by its stride alone. */
#ifndef FASTRNN_MATRIX_H
#define FASTRNN_MATRIX_H

#include "gemm.h"

/* Do what product does, for operands of bfloat16 words. An element's bits depend on K alone, so any split of rows and panels
 * gives the same bits. The bits of dot_ are others, because it adds in another order. */
void matrix_product(const product_args *p, range panels, range rows);

/* Do what product does, for operands of slices (slices.h). */
void sliced_product(const product_args *p, range panels, range rows);

#endif

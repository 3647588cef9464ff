/* SPDX-License-Identifier: MIT */
/*
 * oracle_quant.h - quantised rows for tests, and what a product with one has to be,
 * told from the blocks as a file has them.
 */
#ifndef TESTS_ORACLE_QUANT_H
#define TESTS_ORACLE_QUANT_H

#include "kernels.h"
#include "support.h"

/* The quantised types. */
#define ORACLE_QUANT_TYPES 6
extern const spec_type oracle_quant_types[ORACLE_QUANT_TYPES];

/* What codes blocks get. */
typedef enum oracle_quant_fill {
    ORACLE_QUANT_RANDOM,
    ORACLE_QUANT_LOWEST,
    ORACLE_QUANT_HIGHEST,
    ORACLE_QUANT_FILLS
} oracle_quant_fill;

/* Fills n_blocks blocks: codes and whole scales by `fill`, F16 scales random and finite. */
void oracle_quant_blocks(support_rng *r, spec_type type, oracle_quant_fill fill, void *blocks,
                         size_t n_blocks);

size_t oracle_quant_row_bytes(spec_type type, size_t n_in);

/* One output by the formula of kernels_quant.h: the very bits. */
float oracle_quant_output(spec_type type, const void *row, const specp_qblock *x, size_t n_in);

/* The same in double precision, of the dequantised row and scale * code; *size is
 * the sum of the products' sizes. */
double oracle_quant_exact(spec_type type, const void *row, const specp_qblock *x, size_t n_in, double *size);

#endif

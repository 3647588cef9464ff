/* SPDX-License-Identifier: MIT */
/*
 * train_rows.h - what training does to rows of floats besides the products and beyond the
 * forward pass's kernels: a table as in kernels.h, under the same contract. The bits
 * depend on nothing but the inputs.
 */
#ifndef TRAIN_ROWS_H
#define TRAIN_ROWS_H

#include "specp.h"

#define TRAIN_TILE 64 /* columns of the tiles that attention works on */

typedef struct train_rows {
    /* c (m, TRAIN_TILE) = a (m, k) b (k, TRAIN_TILE), rows of a lda apart, plus `row` in every row; */
    void (*product)(const float *a, size_t lda, size_t m, const float *b, size_t k, const float *row,
                    float *c);
    /* or plus c times `fade` in every row. */
    void (*product_add)(const float *a, size_t lda, size_t m, const float *b, size_t k, const float *fade,
                        float *c);
    /* The next n rows of scores, TRAIN_TILE columns: a column's largest so far, and the sum of exp(score -
     * largest); s becomes those, and what was summed before is to be multiplied with `fade`. */
    void (*softmax)(float *s, size_t n, float *most, float *sum, float *fade);
    void (*exp)(float *s, size_t n);                 /* s = exp(s), s at most 0 or little above */
    void (*mul)(float *x, const float *y, size_t n); /* x *= y */
    /* s = 1 / sqrt(mean x^2 + eps): dx += s w dy - x s^3 / n sum(w dy x), dw += s x dy. */
    void (*rmsnorm_back)(const float *x, const float *w, float eps, const float *dy, float *dx, float *dw,
                         size_t n);
    /* dgate and dup may be any of the inputs. */
    void (*silu_mul_back)(const float *gate, const float *up, const float *dy, float *dgate, float *dup,
                          size_t n);
} train_rows;

/* For `isa` of kernels.h, of which the processor must have all. */
void train_rows_init(train_rows *t, unsigned isa);

/* By file. Those of an instruction set that the build does not have do nothing. */
void train_rows_scalar(train_rows *t);
void train_rows_avx2(train_rows *t);
void train_rows_avx512(train_rows *t);

#endif

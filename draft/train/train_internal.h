/* SPDX-License-Identifier: MIT */
/* train_internal.h - what the files of the trainer's operations share. */
#ifndef TRAIN_INTERNAL_H
#define TRAIN_INTERNAL_H

#include "train_ops.h"

/* Sums over rows go in as many strands, which are then added in order. */
#define TRAIN_STRANDS 32

/* The rows of a strand. */
static inline size_t train_strand(size_t rows) { return (rows + TRAIN_STRANDS - 1) / TRAIN_STRANDS; }

/* Floats of scratch that a thread's attention needs. */
size_t train_attention_scratch(size_t seq);

/* C (m, n) = alpha op(A) op(B) + beta C, row-major; t: transposed. */
void train_gemm(bool ta, bool tb, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                const float *b, size_t ldb, float beta, float *c, size_t ldc);

/* In lanes that are folded by halves. */
float train_dot(const float *x, const float *y, size_t n);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * oracle_train.h - the trainer's operations as their definitions say, forward
 * only and in doubles: gradients are checked by differences of these.
 */
#ifndef TESTS_ORACLE_TRAIN_H
#define TESTS_ORACLE_TRAIN_H

#include "specdec.h"

/* y (rows, n_out) = x (rows, n_in) W^T. */
void oracle_linear(const double *x, const double *w, double *y, size_t rows, size_t n_in, size_t n_out);
void oracle_rmsnorm(const double *x, const double *w, double eps, double *y, size_t rows, size_t n);
/* In place, row r at position r % seq; base^(-2j/head_dim) radians a position. */
void oracle_rope(double *x, double base, size_t rows, size_t seq, size_t n_heads, size_t head_dim);
void oracle_swiglu(const double *gate, const double *up, double *y, size_t n);
void oracle_attention(const double *q, const double *k, const double *v, double *out, size_t n_seqs,
                      size_t seq, size_t n_heads, size_t n_kv_heads, size_t head_dim);
/* The sum of -ln p(label) over rows whose label is not -100. */
double oracle_cross_entropy(const double *logits, const spec_token *labels, size_t rows, size_t vocab);

#endif

/* SPDX-License-Identifier: MIT */
/* train_internal.h - what the files of the trainer's operations share. */
#ifndef TRAIN_INTERNAL_H
#define TRAIN_INTERNAL_H

#include "train_ops.h"

/* Sums over rows go in as many strands, which are then added in order. */
#define TRAIN_STRANDS 32

/* The rows of a strand. */
static inline size_t train_strand(size_t rows) { return (rows + TRAIN_STRANDS - 1) / TRAIN_STRANDS; }

/* Floats of scratch that a thread's attention needs, a multiple of 16. */
size_t train_attention_scratch(size_t seq, size_t head_dim);

/* In lanes that are folded by halves. */
float train_dot(const float *x, const float *y, size_t n);

#endif

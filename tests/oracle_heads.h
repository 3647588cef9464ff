/* SPDX-License-Identifier: MIT */
/*
 * oracle_heads.h - what draft heads are trained for, as the definitions say,
 * forward only and in doubles. Parameters lie as in the trainer's flat arrays.
 */
#ifndef TESTS_ORACLE_HEADS_H
#define TESTS_ORACLE_HEADS_H

#include "train_eagle3.h"
#include "train_medusa.h"

/* p: the parameters; loss as the trainer defines it. parts[k], if not NULL: head k's mean. */
double oracle_medusa(const train_medusa_shape *s, const double *p, const float *hidden,
                     const spec_token *labels, size_t n_seqs, size_t seq, double *parts);

/* Reads of m only what is not trained. sums may be NULL. */
double oracle_eagle3(const train_eagle3 *m, const double *p, const train_eagle3_batch *b,
                     train_eagle3_sums *sums);

#endif

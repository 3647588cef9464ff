/* SPDX-License-Identifier: MIT */
/* train_check.h - what tests of training share: recorded gradients and steps, and difference quotients. */
#ifndef TESTS_TRAIN_CHECK_H
#define TESTS_TRAIN_CHECK_H

#include "support.h"

#include "train_params.h"

/* Zeros, or the test fails. */
void *train_check_make(size_t n, size_t size);

/* Of ../shared/golden/heads; NULL: there is no ../shared. */
spec_tensors *train_check_open(const char *name);
/* The data of tensor KIND + NAME, or the test fails. */
const void *train_check_data(const spec_tensors *f, const char *kind, const char *name);

/* scale times the gradients, and the parameters after steps, against tensors KIND + view's
 * name, within what golden/heads/training/README.md allows. */
void train_check_gradients(const train_params *p, const spec_tensors *expected, const char *kind,
                           double scale);
void train_check_values(const train_params *p, const spec_tensors *expected, const char *kind);

/* One step of the recorded AdamW, t from 1, with the gradient times scale; its norm must be `norm`. */
void train_check_step(train_params *p, uint64_t t, double scale, double norm);

/* p->grad against difference quotients of `loss`, at n elements of every view. */
void train_check_differences(const train_params *p, support_rng *r, size_t n,
                             double (*loss)(const void *arg, const double *values), const void *arg);

/* Weights large enough that every part matters. */
void train_check_random(train_params *p, support_rng *r);

#endif

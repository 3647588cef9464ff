/* SPDX-License-Identifier: MIT */
/*
 * adamw.h - AdamW (Loshchilov and Hutter 2019) on flat arrays of floats, and what
 * surrounds a step: the norm of the gradient, clipping, the learning rate's course.
 *
 *     gradients of K micro-batches add up, each loss a mean over its own micro-batch
 *     norm  = train_norm(grad, n) / K
 *     scale = train_clip(norm, max) / K
 *     train_adamw_step(&o, t, scale, grad, param, m, v, n)
 */
#ifndef TRAIN_ADAMW_H
#define TRAIN_ADAMW_H

#include <stddef.h>
#include <stdint.h>

typedef struct train_adamw {
    double lr, beta1, beta2, eps, weight_decay;
} train_adamw;

/* Step t (from 1) with the gradient scale * g; m and v begin as zeros. Weight decay is
 * decoupled and comes first. */
void train_adamw_step(const train_adamw *o, uint64_t t, double scale, const float *g, float *p, float *m,
                      float *v, size_t n);

/* The Euclidean norm; NaN or infinite if an element is. */
double train_norm(const float *g, size_t n);

/* What the gradient is to be multiplied with so that its norm is at most max; max == 0: no limit. */
double train_clip(double norm, double max);

/* The learning rate as it goes: up linearly from peak / warmup to peak in `warmup`
 * steps, then down along half a cosine, to `last` at step `total` and after it. */
typedef struct train_schedule {
    double peak, last;
    uint64_t warmup, total;
} train_schedule;

/* Of step t, from 1. */
double train_rate(const train_schedule *s, uint64_t t);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * train_times.h - where a micro-batch's time goes: nanoseconds and floating-point
 * operations by part, counted up.
 *
 *     train_times_begin(&t);
 *     train_linear(...);  train_times_lap(&t, TRAIN_FORWARD_O, 2.0 * rows * n_in * n_out);
 *     train_rmsnorm(...); train_times_lap(&t, TRAIN_FORWARD_NORM, 0.0);
 */
#ifndef TRAIN_TIMES_H
#define TRAIN_TIMES_H

#include <stddef.h>
#include <stdint.h>

enum train_time {
    TRAIN_FORWARD_EMBED,
    TRAIN_FORWARD_NORM,
    TRAIN_FORWARD_QKV,
    TRAIN_FORWARD_ROPE,
    TRAIN_FORWARD_ATTENTION,
    TRAIN_FORWARD_O,
    TRAIN_FORWARD_FFN,
    TRAIN_FORWARD_ACT,
    TRAIN_FORWARD_HEAD,
    TRAIN_LOSS, /* with its gradient */
    TRAIN_BACKWARD_HEAD,
    TRAIN_BACKWARD_FFN,
    TRAIN_BACKWARD_ACT,
    TRAIN_BACKWARD_NORM,
    TRAIN_BACKWARD_O,
    TRAIN_BACKWARD_ATTENTION,
    TRAIN_BACKWARD_ROPE,
    TRAIN_BACKWARD_QKV,
    TRAIN_BACKWARD_EMBED,
    TRAIN_TIMES
};

/* "forward.embed" and so on. */
extern const char *const train_time_name[TRAIN_TIMES];

typedef struct train_times {
    uint64_t ns[TRAIN_TIMES];
    /* Of products: those that are computed, the scores of the backward pass too, but not what
     * the causal mask takes away. */
    double flop[TRAIN_TIMES];
    uint64_t from;
} train_times;

void train_times_begin(train_times *t);
/* What has passed since `begin` or the last lap goes to `part`. */
void train_times_lap(train_times *t, enum train_time part, double flop);

/* Of the parts that are products, attention with its softmax among them, the floating-point
 * operations in a nanosecond (10^9 a second); 0 if there were none. `since`: an earlier state. */
double train_times_gflops(const train_times *t, const train_times *since);

#endif

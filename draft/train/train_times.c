/* SPDX-License-Identifier: MIT */
/* Times by part, on the monotonic clock. */
#include "train_times.h"

#include <time.h>

const char *const train_time_name[TRAIN_TIMES] = {
    [TRAIN_FORWARD_EMBED] = "forward.embed",
    [TRAIN_FORWARD_NORM] = "forward.norm",
    [TRAIN_FORWARD_QKV] = "forward.qkv",
    [TRAIN_FORWARD_ROPE] = "forward.rope",
    [TRAIN_FORWARD_ATTENTION] = "forward.attention",
    [TRAIN_FORWARD_O] = "forward.o",
    [TRAIN_FORWARD_FFN] = "forward.ffn",
    [TRAIN_FORWARD_ACT] = "forward.act",
    [TRAIN_FORWARD_HEAD] = "forward.head",
    [TRAIN_LOSS] = "loss",
    [TRAIN_BACKWARD_HEAD] = "backward.head",
    [TRAIN_BACKWARD_FFN] = "backward.ffn",
    [TRAIN_BACKWARD_ACT] = "backward.act",
    [TRAIN_BACKWARD_NORM] = "backward.norm",
    [TRAIN_BACKWARD_O] = "backward.o",
    [TRAIN_BACKWARD_ATTENTION] = "backward.attention",
    [TRAIN_BACKWARD_ROPE] = "backward.rope",
    [TRAIN_BACKWARD_QKV] = "backward.qkv",
    [TRAIN_BACKWARD_EMBED] = "backward.embed",
};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void train_times_begin(train_times *t) { t->from = now_ns(); }

void train_times_lap(train_times *t, enum train_time part, double flop) {
    uint64_t now = now_ns();
    t->ns[part] += now - t->from;
    t->flop[part] += flop;
    t->from = now;
}

double train_times_gflops(const train_times *t, const train_times *since) {
    double flop = 0.0, ns = 0.0;
    for (size_t i = 0; i < TRAIN_TIMES; i++) {
        if (!(t->flop[i] > since->flop[i])) continue;
        flop += t->flop[i] - since->flop[i];
        ns += (double)(t->ns[i] - since->ns[i]);
    }
    return ns > 0.0 ? flop / ns : 0.0;
}

/* SPDX-License-Identifier: MIT */
/* train_summary.h - where the time of a training run went: steps added up, as a table. */
#ifndef BENCH_TRAIN_SUMMARY_H
#define BENCH_TRAIN_SUMMARY_H

#include <stdio.h>

#include "train_loop.h"

typedef struct train_summary {
    uint64_t steps, tokens, wall_ns, optimiser_ns, validation_ns, checkpoint_ns, report_ns, other_ns;
    uint64_t part_ns[TRAIN_PARTS_MOST];
    double part_flop[TRAIN_PARTS_MOST];
} train_summary;

void train_summary_add(train_summary *s, const train_step *t);
/* Nothing before the first step. sgemm: 10^9 operations a second of a large product, for comparison. */
void train_summary_print(const train_summary *s, const train_task *task, double sgemm, FILE *out);

/* Of parts whose operations are known, 10^9 of them a second; 0 if there are none. */
double train_gflops(const uint64_t *ns, const double *flop, size_t n);

#endif

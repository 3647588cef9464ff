/* SPDX-License-Identifier: MIT */
/*
 * train_log.h - the log of a training run: JSON lines, told apart by "event".
 *
 *   run      how it began: "schema", "version", "command", "machine", "build", "kind", "output",
 *            "parameters", "threads", "settings" {name: text}, and the step it goes on from: "from_step".
 *            "sgemm_gflops": what a large product reached just before
 *   step     "step", "steps", "batches" (micro-batches so far), "loss" and the kind's other measures (means
 *            over the step), "lr", "grad_norm" (before clipping), "clipped", "tokens" (targets of the
 *            step), "all_tokens", "seconds", "tokens_per_second", "times" {part: seconds}: the
 *            kind's parts, "optimiser", "validation", "checkpoint", "report" (of the step before: this
 *            log, writing the output), "other"; together they are "seconds". Where the kind counts
 *            operations "gflops" of its products and "part_gflops" {part: ...}, 10^9 a second. After some
 *            steps also "held_out" {"loss", ..., "best"}, and "checkpoint": true where one was written
 *   end      "reason": "done", "stopped" or a message; "step", "best_step", "best_loss"; "sgemm_gflops",
 *            just after
 *
 * A run that goes on appends: steps after the checkpoint may stand there twice, with the same
 * figures but for the times.
 */
#ifndef BENCH_TRAIN_LOG_H
#define BENCH_TRAIN_LOG_H

#include "train_run.h"

typedef struct train_log {
    FILE *file; /* NULL: none, or it failed */
    const char *path;
    const train_task *task;
} train_log;

/* path NULL: no log. SPEC_ERR_IO. */
int train_log_open(train_log *l, const char *path, const train_task *task, spec_message *why);
void train_log_begin(train_log *l, const train_run *r, const char *kind, const train_loop *loop,
                     double sgemm);
void train_log_step(train_log *l, const train_step *s);
void train_log_end(train_log *l, const train_loop *loop, const char *reason, double sgemm);
/* A log that cannot be written is given up, with one message. */
void train_log_close(train_log *l);

#endif

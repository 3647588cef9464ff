/* SPDX-License-Identifier: MIT */
/*
 * train_run.h - what all kinds of `specbench train` share: their options, the run with
 * its progress line, the log, and what a signal does.
 *
 *     train_run run = TRAIN_RUN_DEFAULTS;
 *     const cli_option option[] = {TRAIN_RUN_OPTIONS(run), ...};
 *     rc = cli_parse(...);
 *     if (rc == CLI_RUN) rc = train_run_check(&c, &run);
 *     ... code = train_run_plan(&run, train_data_windows(d, TRAIN_PART_LEARN));
 *     ... code = train_run_go(&run, &task, &kind);
 */
#ifndef BENCH_TRAIN_RUN_H
#define BENCH_TRAIN_RUN_H

#include <stdio.h>

#include "cli.h"
#include "team.h"
#include "train_loop.h"
#include "util.h"

typedef struct train_run {
    uint64_t seq, batch, accum, steps, warmup, checkpoint_every, validate_every, held_out, seed, threads;
    double epochs, rate, last_rate, clip, decay;
    const char *checkpoint, *log, *output;
    bool resume, quiet;
    /* made by train_run_check */
    char *own_checkpoint;
    specp_team *team;
} train_run;

#define TRAIN_RUN_DEFAULTS                                                                                   \
    {                                                                                                        \
        .seq = 1024, .batch = 8, .accum = 1, .warmup = 100, .checkpoint_every = 100, .validate_every = 100,  \
        .held_out = 50, .seed = 1, .rate = 0.002, .clip = 1.0, .decay = 0.1                                  \
    }

/* clang-format off */
#define TRAIN_RUN_OPTIONS(r) \
    {'o', "output", "FILE", CLI_TEXT, &(r).output, \
     "what to write: whenever it did best on held-out text, and at the end", 0, 0, NULL}, \
    {0, "seq", "N", CLI_NUMBER, &(r).seq, "tokens of a window (default 1024)", 1, 1 << 20, NULL}, \
    {0, "batch", "N", CLI_NUMBER, &(r).batch, "windows of a micro-batch (default 8)", 1, 4096, NULL}, \
    {0, "accum", "K", CLI_NUMBER, &(r).accum, \
     "micro-batches of a step; memory does not grow with it (default 1)", 1, 1000000, NULL}, \
    {0, "steps", "N", CLI_NUMBER, &(r).steps, "how long to train, or", 1, 1000000000, NULL}, \
    {0, "epochs", "X", CLI_REAL, &(r).epochs, \
     "the same as passes over the data (default 1)", 0, 1000000, NULL}, \
    {0, "lr", "X", CLI_REAL, &(r).rate, "the highest learning rate (default 0.002)", 0, 10, NULL}, \
    {0, "lr-last", "X", CLI_REAL, &(r).last_rate, \
     "the one it ends with, along a cosine (default: a twentieth of --lr)", 0, 10, NULL}, \
    {0, "warmup", "N", CLI_NUMBER, &(r).warmup, \
     "steps until it is highest (default 100, at most a tenth of all)", 0, 1000000000, NULL}, \
    {0, "clip", "X", CLI_REAL, &(r).clip, \
     "largest norm of a gradient (default 1; 0: any)", 0, 1000000, NULL}, \
    {0, "weight-decay", "X", CLI_REAL, &(r).decay, "of matrices (default 0.1)", 0, 10, NULL}, \
    {0, "held-out", "N", CLI_NUMBER, &(r).held_out, \
     "about one of N documents is only validated on (default 50; 0: none)", 0, 1000000000, NULL}, \
    {0, "validate-every", "N", CLI_NUMBER, &(r).validate_every, \
     "steps (default 100; 0: only at the end)", 0, 1000000000, NULL}, \
    {0, "checkpoint", "FILE", CLI_TEXT, &(r).checkpoint, \
     "the state of the run (default: the output's name with .checkpoint behind it)", 0, 0, NULL}, \
    {0, "checkpoint-every", "N", CLI_NUMBER, &(r).checkpoint_every, \
     "steps (default 100; 0: only at the end)", 0, 1000000000, NULL}, \
    {0, "resume", NULL, CLI_FLAG, &(r).resume, \
     "go on from the checkpoint if there is one; everything else must be as it was", 0, 0, NULL}, \
    {0, "log", "FILE", CLI_TEXT, &(r).log, "a JSON line for each step, appended", 0, 0, NULL}, \
    {0, "seed", "N", CLI_NUMBER, &(r).seed, \
     "another seed, other weights and order (default 1)", 0, INT64_MAX, NULL}, \
    {'t', "threads", "N", CLI_NUMBER, &(r).threads, \
     "default: the cores there are; the result does not depend on them", 1, 256, NULL}, \
    {'q', "quiet", NULL, CLI_FLAG, &(r).quiet, "print nothing but faults", 0, 0, NULL}
/* clang-format on */

/* A kind of training, as the run sees it. */
typedef struct train_kind {
    const char *name;             /* "target" */
    const train_setting *setting; /* what the weights depend on beyond the run's options */
    size_t n_settings;
    /* Writes the output from the task's params->value. */
    int (*keep)(void *self, const char *path, spec_message *why);
} train_kind;

/* Settles files and threads; CLI_RUN, or CLI_BAD after a message. The program may start itself
 * again (openblas_core.h). */
int train_run_check(const cli_command *c, train_run *r);
void train_run_release(train_run *r);

/* Steps from epochs of so many windows; an exit code, with a message when there are none. */
int train_run_plan(train_run *r, size_t windows);

/*
 * Trains and writes the output. An exit code; a message was printed unless it is EXIT_DONE.
 * After a signal a checkpoint is written, and the process ends by that signal.
 */
int train_run_go(train_run *r, const train_task *task, const train_kind *kind);

/* A setting as text. */
train_setting train_setting_number(const char *name, uint64_t v);
train_setting train_setting_real(const char *name, double v);

/* ---- signals ------------------------------------------------------------- */

/* From now on SIGINT, SIGTERM and SIGHUP are only remembered, each once. */
void train_watch_signals(void);
bool train_interrupted(void);
/* Ends the process by the signal that was remembered; returns if there was none. */
void train_end_by_signal(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * profile.h - what a forward pass costs: T(N, context, batch), N tokens of each of
 * `batch` sequences behind `context` tokens that are in the cache already; beside it
 * what the machine could do at most.
 */
#ifndef BENCH_PROFILE_H
#define BENCH_PROFILE_H

#include <stdio.h>

#include "spec_target.h"

#define PROFILE_MOST    16  /* contexts, batches, sizes */
#define PROFILE_PREFILL 512 /* tokens of the prompt that is timed */

typedef struct profile_list {
    size_t item[PROFILE_MOST];
    size_t n;
} profile_list;

/* Times of one kind of pass, in seconds. */
typedef struct profile_times {
    double *seconds; /* (n of cap) */
    size_t n, cap;
    double median, low, high; /* set at the end; NaN when nothing was timed */
} profile_times;

typedef struct profile_cell {
    size_t context, batch, size;
    size_t rows; /* of the pass: batch * size */
    profile_times times;
    /* What the pass has to do, and the least time that takes on this machine. */
    double bytes, operations;
    double read_seconds, multiply_seconds;
} profile_cell;

typedef struct profile {
    /* settings */
    profile_list contexts, batches, sizes; /* sizes rise and begin with 1 */
    size_t repeats;
    void (*progress)(void *user, size_t round, const profile_cell *cell); /* may be NULL */
    void *user;
    /* results */
    profile_cell *cell; /* (n_cells) by context, then batch, then size */
    size_t n_cells;
    profile_times prefill;        /* none where the context is too short */
    size_t read_bytes;            /* working set of the reading speed: what the weights take, 1 GB at most */
    double read_gbs;              /* best seen */
    double float_gops, int8_gops; /* likewise; NaN where there is no such loop */
    double load;                  /* of the machine before the start; negative: unknown */
} profile;

/* Longest sequence that the settings need. */
size_t profile_context(const profile *p);

/* Measures everything: rounds over all cells, so that a disturbance hits all
 * alike. Errors as of spec_target_forward. */
int profile_run(profile *p, spec_target *t, spec_message *why);
void profile_release(profile *p);

const profile_cell *profile_at(const profile *p, size_t context, size_t batch, size_t size); /* by number */

/* profile_report.c */
void profile_print(const profile *p, const spec_target *t, FILE *out);

typedef struct profile_report {
    const profile *p;
    const spec_target *t;
} profile_report;
int profile_json(FILE *out, void *user);       /* user: a profile_report */
int profile_cost_model(FILE *out, void *user); /* likewise; needs sizes above 1 */

#endif

/* SPDX-License-Identifier: MIT */
/*
 * cost_model.h - what a run of the target model on N tokens costs, relative to
 * one on a single token: T(N) / T(1). It turns acceptance into a predicted
 * speedup. The file format is in docs/FORMATS.md.
 */
#ifndef BENCH_COST_MODEL_H
#define BENCH_COST_MODEL_H

#include <stddef.h>

#include "metrics.h"
#include "specdec.h"

typedef struct cost_point {
    double n, ratio;
} cost_point;

/* The same measured at one length of context and number of sequences side by side;
 * n counts the tokens of each sequence. */
typedef struct cost_cell {
    size_t context, batch;
    double t1_us;
    cost_point *point; /* (n) as below */
    size_t n;
} cost_cell;

typedef struct cost_model {
    char *name;
    double t1_us;      /* microseconds of T(1); 0 = unknown, then drafting counts as free */
    cost_point *point; /* (n) by increasing n; the first is {1, 1} */
    size_t n;
    cost_cell *grid; /* (n_grid) in the file's order; NULL when it has none */
    size_t n_grid;
} cost_model;

/* One more token in the batch costs 1/256 of a run: about what a transformer
 * bound by memory bandwidth pays (docs/METRICS.md derives it). SPEC_ERR_NOMEM. */
int cost_model_builtin(cost_model *out);

/* By name: "builtin", "flat" (a pass costs the same whatever its tokens), "linear:S" (each token
 * more costs S passes of one token), else the path of a file. SPEC_ERR_INVALID (S), and those below. */
int cost_model_open(cost_model *out, const char *name, spec_message *why);

/* Reads a file. SPEC_ERR_NOT_FOUND, SPEC_ERR_IO, SPEC_ERR_CORRUPT, SPEC_ERR_NOMEM; *why names
 * the file and what was expected. */
int cost_model_load(cost_model *out, const char *path, spec_message *why);
void cost_model_free(cost_model *m);

/* Makes the points of a grid cell the model's own: of that batch (0 = the first
 * cell's) the one whose context is nearest. SPEC_ERR_NOT_FOUND with what there is in
 * *why, SPEC_ERR_NOMEM. */
int cost_model_select(cost_model *m, size_t context, size_t batch, spec_message *why);

/* T(n) / T(1): straight lines between the points; beyond the last, the line
 * through the last two goes on (but never falls). */
double cost_model_ratio(const cost_model *m, size_t n);

typedef struct cost_estimate {
    double break_even; /* tokens a step must yield to pay for itself: mean cost of a step / T(1) */
    double speedup;    /* tokens per step / break_even */
} cost_estimate;

/* Of a finished run: each step ran the target on its draft and one more token,
 * and, where t1_us is known, took the time that drafting and updating took. NaN
 * without steps. */
cost_estimate cost_model_estimate(const cost_model *m, const metrics *run);

#endif

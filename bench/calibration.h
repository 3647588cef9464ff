/* SPDX-License-Identifier: MIT */
/*
 * calibration.h - are a drafter's probabilities true? The probability of a draft node
 * says how likely verification is to reach and accept it; here that is held against
 * what verification did. Definitions are in docs/METRICS.md.
 */
#ifndef BENCH_CALIBRATION_H
#define BENCH_CALIBRATION_H

#include <stdio.h>

#include "spec_tree.h"
#include "specdec.h"

#define CALIBRATION_BINS 20
#define CALIBRATION_SKIP 5000 /* tokens, by default */

/* Nodes whose probability is in [b, b + 1) / CALIBRATION_BINS; 1 belongs to the last bin. */
typedef struct calibration_bin {
    uint64_t nodes, accepted;
    double prob_sum;
} calibration_bin;

/* A node that is judged once the response is known to reach its place. */
typedef struct calibration_node {
    float prob;
    uint32_t accepted;
    uint64_t request, place; /* place: tokens of the response up to the node, itself included */
} calibration_node;

typedef struct calibration {
    uint64_t skip;    /* steps that begin before so many tokens of the run are left out; set by the caller */
    uint64_t steps;   /* that are not left out */
    uint64_t skipped; /* nodes of those that are */
    uint64_t beyond;  /* nodes past the end of their response: neither right nor wrong */
    calibration_bin bin[CALIBRATION_BINS];
    calibration_node *pending; /* private: (n_pending) of the requests under way */
    size_t n_pending, cap_pending;
    uint32_t *depth; /* private: scratch */
    size_t cap_depth;
} calibration;

/* One step of a request, as verified. */
typedef struct calibration_step_facts {
    const spec_tree *tree;
    const int32_t *path; /* (n_path) accepted nodes, root side first */
    size_t n_path;
    uint64_t request;    /* its number: several may be under way */
    uint64_t run_before; /* tokens of the run committed before the step */
    uint64_t before;     /* likewise, of the request */
    uint64_t committed;  /* by the step */
} calibration_step_facts;

/* SPEC_ERR_NOMEM; then nothing was added. */
int calibration_step(calibration *c, const calibration_step_facts *f);
/* The request's response is complete. */
void calibration_end(calibration *c, uint64_t request);
void calibration_release(calibration *c);

/* ---- derived; NaN where there is nothing to divide by -------------------- */

calibration_bin calibration_sum(const calibration *c); /* of all bins */
double calibration_said(const calibration_bin *b);     /* mean probability */
double calibration_was(const calibration_bin *b);      /* accepted / nodes */
double calibration_ece(const calibration *c);          /* mean over nodes of |said - was| of their bin */
double calibration_bias(const calibration *c);         /* said - was, of all nodes */

void calibration_table(const calibration *c, const char *drafter, FILE *out); /* calibration_table.c */

#endif

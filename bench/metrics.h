/* SPDX-License-Identifier: MIT */
/*
 * metrics.h - the accounts of one run: a drafter on a workload. Definitions and
 * their names elsewhere are in docs/METRICS.md.
 *
 * Use: metrics_init; for each request metrics_begin, metrics_step for each step,
 * metrics_end; then read the cells and ask for the derived figures.
 */
#ifndef BENCH_METRICS_H
#define BENCH_METRICS_H

#include "calibration.h"
#include "spec_tree.h"
#include "specdec.h"
#include "stats.h"

/* Sums over some of the steps of a run. */
typedef struct metrics_cell {
    uint64_t requests; /* 0 in cells by match length, where it has no meaning */
    uint64_t steps;    /* runs of the target model */
    uint64_t out;      /* tokens committed */
    uint64_t drafted;  /* nodes proposed */
    uint64_t accepted; /* nodes accepted */
    uint64_t hits;     /* steps with a draft that is not empty */
    uint64_t top1;     /* hits whose first node was the right token */
    double macro_sum;  /* over requests, of tokens / steps */
    double ci95[2];    /* of tokens per step, set by metrics_finish where requests are counted;
                        * NaN with fewer than two requests */
    /* By accepted length k = 0..n_length-1; the rest is 0. */
    uint64_t *length; /* steps that accepted k nodes */
    uint64_t *open;   /* those of them whose draft went on past the k-th node, wrongly */
    size_t n_length, cap_length, cap_open;
} metrics_cell;

/* Nodes by where they came from. */
typedef struct metrics_source {
    uint64_t drafted, accepted;
    uint64_t first; /* hits whose first node came from here */
    uint64_t top1;  /* and was right */
} metrics_source;

#define METRICS_QUARTERS 4
#define METRICS_MATCHES  10

typedef struct metrics_group {
    char *name;
    metrics_cell cell;
} metrics_group;

typedef struct metrics_request {
    stats_pair pair; /* tokens, steps */
    uint32_t group;
} metrics_request;

/* The request under way. */
typedef struct metrics_now {
    size_t number, group, quarter;
    uint64_t out, steps;
} metrics_now;

typedef struct metrics {
    metrics_cell total;
    metrics_cell quarter[METRICS_QUARTERS]; /* by position among the requests */
    metrics_cell match[METRICS_MATCHES];    /* by the draft's match length */
    metrics_source source[256];             /* by spec_source */
    metrics_group *group;                   /* (n_groups), by name once finished */
    size_t n_groups, cap_groups;
    uint32_t *slot; /* (n_slots, a power of two) hash of the name -> group + 1, 0 = free */
    size_t n_slots;
    metrics_request *request; /* (n_requests) */
    size_t n_requests, cap_requests;
    calibration calibration;
    uint64_t *size; /* (n_size) steps by number of nodes proposed */
    size_t n_size, cap_size;
    uint32_t *draft_ns, *update_ns; /* (total.steps) */
    size_t cap_draft, cap_update;
    uint64_t prompt_tokens, begin_ns, end_ns;
    /* Set by metrics_finish. */
    stats_times draft, update; /* nanoseconds */
    size_t expected;           /* private: requests announced */
    size_t begun;              /* private: requests begun */
    /* Whoever runs several requests at a time saves this after metrics_begin and
     * metrics_step and puts it back before the request's next call. */
    metrics_now now;
} metrics;

/* One step, as verified. */
typedef struct metrics_step_facts {
    const spec_tree *tree;
    const int32_t *path; /* (n_path) accepted nodes, root side first */
    size_t n_path;
    size_t committed; /* tokens: n_path, and the target's own unless the response was complete */
    spec_token truth; /* the first of them */
    uint64_t draft_ns, update_ns;
} metrics_step_facts;

/* Empties *m. n_requests will follow: it decides which quarter each is in. calibration.skip is
 * its default, and may be set before the first step. */
void metrics_init(metrics *m, size_t n_requests);
void metrics_release(metrics *m);

/* The next request. SPEC_ERR_NOMEM, here and below. */
int metrics_begin(metrics *m, const char *group, size_t n_prompt, uint64_t begin_ns);
int metrics_step(metrics *m, const metrics_step_facts *f);
int metrics_end(metrics *m, uint64_t end_ns);

/* Sorts the groups, summarises the times, draws the interval. */
int metrics_finish(metrics *m, uint64_t seed);

/* ---- derived; NaN where there is nothing to divide by -------------------- */

double metrics_tokens_per_step(const metrics_cell *c);       /* pooled: out / steps */
double metrics_tokens_per_step_macro(const metrics_cell *c); /* mean over requests */
double metrics_accepted_per_step(const metrics_cell *c);
double metrics_acceptance_rate(const metrics_cell *c);    /* accepted / drafted */
double metrics_hit_rate(const metrics_cell *c);           /* hits / steps */
double metrics_top1(const metrics_cell *c);               /* T1: top1 / hits */
double metrics_top1_unconditional(const metrics_cell *c); /* top1 / steps */

/* Of position k = 1, 2, ... (the k-th drafted token of a path). */
uint64_t metrics_reached(const metrics_cell *c, size_t k);     /* steps that accepted k or more */
uint64_t metrics_offered(const metrics_cell *c, size_t k);     /* k-1 accepted, and the draft had a k-th */
double metrics_unconditional(const metrics_cell *c, size_t k); /* reached(k) / hits */
double metrics_conditional(const metrics_cell *c, size_t k);   /* reached(k) / reached(k-1), hits for k = 1 */

/* The bucket of a match length, and the smallest and largest length in it. */
size_t metrics_match_bucket(uint32_t match_len);
void metrics_match_range(size_t bucket, uint32_t *low, uint32_t *high); /* high UINT32_MAX: no end */

#endif

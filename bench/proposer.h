/* SPDX-License-Identifier: MIT */
/*
 * proposer.h - a drafter as replay and the engine drive it: asked for a fixed number
 * of nodes, or under the goodput policy, which decides how many.
 */
#ifndef BENCH_PROPOSER_H
#define BENCH_PROPOSER_H

#include "cost_model.h"
#include "spec_policy.h"

typedef struct proposer {
    spec_drafter *drafter;
    spec_policy *policy; /* NULL: a fixed budget. Otherwise it owns the drafter */
} proposer;

typedef struct proposer_request {
    spec_request *plain;        /* without policy */
    spec_policy_request *under; /* with one */
} proposer_request;

/* Which of a cost model's figures the policy is told. */
typedef enum proposer_cost {
    PROPOSER_COST_POINTS, /* the points: passes of one request, whatever the context */
    PROPOSER_COST_GRID,   /* all of the grid, where there is one */
} proposer_cost;

/* Puts the drafter, which is taken on success, under the policy. */
int proposer_under_policy(proposer *g, spec_drafter *d, const cost_model *m, proposer_cost which,
                          uint32_t max_nodes, spec_message *why);
/* Frees the drafter too. */
void proposer_free(proposer *g);

int proposer_begin(const proposer *g, const spec_request_info *info, proposer_request *out);
void proposer_end(const proposer *g, proposer_request *r);
int proposer_observe(const proposer *g, const proposer_request *r, const spec_outcome *o);
/* For n requests that ride in one pass: request[i] in the list that this proposer uses. */
int proposer_propose_batch(const proposer *g, spec_request *const *plain, spec_policy_request *const *under,
                           const spec_propose_args *a, spec_tree *const *t, size_t n);
/* For one. */
int proposer_propose(const proposer *g, const proposer_request *r, const spec_propose_args *a, spec_tree *t);

#endif

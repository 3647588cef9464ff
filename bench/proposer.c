/* SPDX-License-Identifier: MIT */
/* A drafter with or without the goodput policy. */
#include "proposer.h"

#include <stdlib.h>

#include "specp.h"

static spec_pass_cost point_of(const cost_point *p, size_t context, size_t batch, double t1) {
    return (spec_pass_cost){.context = (uint32_t)context,
                            .batch = (uint32_t)batch,
                            .rows = (uint32_t)(p->n * (double)batch),
                            .time = p->ratio * t1};
}

/* The model's figures for the policy, in microseconds where it knows them. */
static spec_pass_cost *costs_of(const cost_model *m, proposer_cost which, size_t *n) {
    double t1 = m->t1_us > 0 ? m->t1_us : 1;
    size_t grid = which == PROPOSER_COST_GRID ? m->n_grid : 0, total = grid ? 0 : m->n;
    for (size_t i = 0; i < grid; i++) total += m->grid[i].n;
    spec_pass_cost *c = specp_alloc(NULL, total, sizeof *c);
    *n = 0;
    if (!c) return NULL;
    for (size_t i = 0; i < m->n && !grid; i++) c[(*n)++] = point_of(&m->point[i], 0, 1, t1);
    for (size_t i = 0; i < grid; i++)
        for (size_t j = 0; j < m->grid[i].n; j++)
            c[(*n)++] =
                point_of(&m->grid[i].point[j], m->grid[i].context, m->grid[i].batch, m->grid[i].t1_us);
    return c;
}

int proposer_under_policy(proposer *g, spec_drafter *d, const cost_model *m, proposer_cost which,
                          uint32_t max_nodes, spec_message *why) {
    size_t n;
    spec_pass_cost *cost = costs_of(m, which, &n);
    if (!cost) return specp_fail(why, SPEC_ERR_NOMEM, "out of memory");
    const spec_policy_options o = {.size = sizeof o,
                                   .cost = cost,
                                   .n_cost = n,
                                   .unit_ns = m->t1_us > 0 ? 1000 : 0,
                                   .max_nodes = max_nodes};
    proposer made = {.drafter = d};
    int rc = spec_policy_new(&made.policy, d, &o, NULL, why);
    if (rc == SPEC_OK) *g = made;
    free(cost);
    return rc;
}

void proposer_free(proposer *g) {
    if (g->policy)
        spec_policy_free(g->policy);
    else
        spec_drafter_free(g->drafter);
    *g = (proposer){0};
}

int proposer_begin(const proposer *g, const spec_request_info *info, proposer_request *out) {
    *out = (proposer_request){0};
    return g->policy ? spec_policy_begin(g->policy, info, &out->under)
                     : spec_request_begin(g->drafter, info, &out->plain);
}

void proposer_end(const proposer *g, proposer_request *r) {
    spec_request_end(r->plain);
    if (r->under) spec_policy_end(g->policy, r->under);
    *r = (proposer_request){0};
}

int proposer_observe(const proposer *g, const proposer_request *r, const spec_outcome *o) {
    return g->policy ? spec_policy_observe(g->policy, r->under, o) : spec_request_observe(r->plain, o);
}

int proposer_propose_batch(const proposer *g, spec_request *const *plain, spec_policy_request *const *under,
                           const spec_propose_args *a, spec_tree *const *t, size_t n) {
    if (g->policy) return spec_policy_propose(g->policy, under, a, t, n);
    return n == 1 ? spec_request_propose(plain[0], a, t[0]) : spec_request_propose_batch(plain, a, t, n);
}

int proposer_propose(const proposer *g, const proposer_request *r, const spec_propose_args *a, spec_tree *t) {
    return proposer_propose_batch(g, &r->plain, &r->under, a, &t, 1);
}

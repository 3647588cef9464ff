/* SPDX-License-Identifier: MIT */
/*
 * spec_policy.h - how much to draft: the goodput policy, around any drafter.
 *
 * A drafter says what may come next; what that is worth depends on what a pass of
 * the model costs. The policy asks the drafter for many requests at a time and keeps,
 * of all their trees together, the nodes that pay: those that raise tokens per unit
 * of time, the draft's own time counted. It learns how far the drafter's probabilities are to
 * be trusted, drafts nothing where drafting does not pay, looks again now and
 * then, and never loses more than a small share of the time against plain decoding.
 * docs/POLICY.md has the rule, its derivation and its assumptions.
 *
 *     spec_policy_new(&p, drafter, &options, alloc, &why)
 *     spec_policy_begin(p, &info, &request)                for each request
 *     until all are complete:
 *         spec_policy_propose(p, requests, args, trees, n) all that ride in the next pass
 *         run the model on them                            (yours)
 *         spec_policy_timed(p, ns)                         if you have a clock
 *         spec_policy_observe(p, request, &outcome)        for each of them
 *     spec_policy_end(p, request)
 *     spec_policy_free(p)
 *
 * It changes how much is drafted and nothing else, so verification keeps its promises.
 *
 * Threads: one policy is used by one thread at a time, its requests included.
 */
#ifndef SPEC_POLICY_H
#define SPEC_POLICY_H

#include "spec_drafter.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a pass costs that feeds `rows` tokens, drafted ones included, for `batch` sequences
 * with `context` tokens each in the cache. */
typedef struct spec_pass_cost {
    uint32_t context, batch, rows;
    double time; /* in one unit of the caller's choice, above 0 */
} spec_pass_cost;

typedef struct spec_policy_options {
    size_t size; /* sizeof(spec_policy_options) */
    /* The cost of passes: straight lines between the points of one context and batch, from
     * there on as the last two go, between contexts and between batches straight lines
     * again; outside what was measured, the nearest. Copied. */
    const spec_pass_cost *cost; /* (n_cost) in any order */
    size_t n_cost;
    /* Or a function, where n_cost is 0: the time of such a pass, above 0. */
    double (*pass_time)(void *user, size_t rows, size_t context, size_t batch);
    void *user;
    double unit_ns; /* nanoseconds that the unit of time is; 0 = unknown: no clock is read until
                     * spec_policy_timed tells, and a draft takes draft_time */
    /* The time of drafting for one request, and for each node of it, in units. Where
     * the unit is known it is measured, unless told_draft is set. */
    double draft_time, node_time;
    int told_draft;
    uint32_t max_nodes; /* of a draft, 1..SPEC_TREE_MAX_NODES; 0 = 64 */
    double max_loss;    /* share of the time that may be lost against plain decoding, above 0; 0 = 0.01 */
    /* Nanoseconds since any moment; NULL: the system's monotonic clock. */
    uint64_t (*clock)(void *user);
} spec_policy_options;

typedef struct spec_policy spec_policy;
typedef struct spec_policy_request spec_policy_request;

typedef struct spec_policy_stats {
    uint64_t passes;   /* proposals for a pass */
    uint64_t asked;    /* requests that the drafter was asked for */
    uint64_t skipped;  /* those for which it was not: because that does not pay, or to measure a plain pass */
    uint64_t probes;   /* of those asked: only to see whether it pays by now */
    uint64_t offered;  /* nodes that the drafter proposed */
    uint64_t kept;     /* those that the policy kept */
    double goodput;    /* tokens per unit of time, lately: the price of time */
    double draft_time; /* of one request, in units: of the draft, and of each node */
    double node_time;
    double unit_ns; /* nanoseconds that a unit of time takes, by the plain passes told lately; 0 = unknown */
    double loss;    /* in units: what has been spent beyond plain decoding, of what may be */
} spec_policy_stats;

/* Takes the drafter, on success only: spec_policy_free frees it. SPEC_ERR_INVALID with
 * what was expected in *why, SPEC_ERR_VERSION, SPEC_ERR_NOMEM. */
SPEC_API SPEC_MUST_CHECK int spec_policy_new(spec_policy **out, spec_drafter *d, const spec_policy_options *o,
                                             const spec_allocator *alloc, spec_message *why);

/* All requests must have ended. NULL is accepted. */
SPEC_API void spec_policy_free(spec_policy *p);

/* The drafter within: for its needs, statistics, and spec_drafter_save. */
SPEC_API spec_drafter *spec_policy_drafter(spec_policy *p);

SPEC_API void spec_policy_get_stats(const spec_policy *p, spec_policy_stats *out);

/* What spec_request_begin says. */
SPEC_API SPEC_MUST_CHECK int spec_policy_begin(spec_policy *p, const spec_request_info *info,
                                               spec_policy_request **out);

/*
 * Fills trees[i] for requests[i], i < n: all requests that ride in the next pass, each
 * once. args may be NULL; budgets and depths given are limits, a tree of no room gets no draft but
 * its request's row is counted. SPEC_ERR_INVALID: nothing has changed. SPEC_ERR_NOMEM, and the
 * drafter's errors: all trees are empty, and the pass may go on without drafts.
 */
SPEC_API SPEC_MUST_CHECK int spec_policy_propose(spec_policy *p, spec_policy_request *const *requests,
                                                 const spec_propose_args *args, spec_tree *const *trees,
                                                 size_t n);

/* The time that the pass after the last proposal took, without drafting, in nanoseconds.
 * Optional: with it choices and accounts follow the machine where the costs given are wrong. To be told of
 * every pass or of none: those without drafts are what the others are compared with. */
SPEC_API void spec_policy_timed(spec_policy *p, uint64_t ns);

/* What spec_request_observe says. The tree, if any, is the one proposed. */
SPEC_API SPEC_MUST_CHECK int spec_policy_observe(spec_policy *p, spec_policy_request *r,
                                                 const spec_outcome *outcome);

/* Ends the request and frees it. NULL is accepted. */
SPEC_API void spec_policy_end(spec_policy *p, spec_policy_request *r);

#ifdef __cplusplus
}
#endif
#endif

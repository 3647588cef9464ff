/* SPDX-License-Identifier: MIT */
/*
 * replay.h - decoding recorded responses again with a drafter, to learn what it
 * would have done: no model is run, the record says what the model chooses.
 */
#ifndef BENCH_REPLAY_H
#define BENCH_REPLAY_H

#include <stdbool.h>

#include "metrics.h"
#include "spec_policy.h"
#include "trace.h"

typedef struct replay_options {
    uint32_t budget;           /* most nodes a draft may have, 1..SPEC_TREE_MAX_NODES */
    float min_prob;            /* no node less likely is asked for; 0 = all */
    spec_policy *policy;       /* around the drafter: how much to draft of it; NULL: the budget */
    uint64_t seed;             /* of the drafters that draw, and of the bootstrap */
    uint64_t calibration_skip; /* see calibration.h */
    bool shared;               /* false: each request is a tenant of its own */
    const trace *warm;         /* (n_warm) taught before, not measured */
    size_t n_warm;
    /* Called between requests with how many are done; may be NULL. */
    void (*progress)(void *user, size_t done, size_t of);
    void *user;
} replay_options;

/*
 * Replays the requests of t in order, one at a time, and fills *m (metrics_init
 * is called; the caller releases it, on failure too). A step proposes, verifies
 * greedily against the true response, and observes; it commits the accepted
 * tokens and one more unless the response is complete. Errors of the drafter
 * come back with request and step in *why; SPEC_ERR_CORRUPT when what came out
 * is not the recorded response.
 */
int replay_run(spec_drafter *d, const trace *t, const replay_options *o, metrics *m, spec_message *why);

#endif

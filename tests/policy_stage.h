/* SPDX-License-Identifier: MIT */
/*
 * policy_stage.h - the goodput policy in a made-up world: a drafter that plays a part, a model that says
 * how much of a draft is right, and accounts of what was spent.
 */
#ifndef TESTS_POLICY_STAGE_H
#define TESTS_POLICY_STAGE_H

#include "policy_internal.h"
#include "support.h"

/* It drafts a chain of `length` tokens or random trees, and says so much of each; whether a token is right is
 * drawn when the model "runs": a right one is 1, 2, 3, ... by depth. */
typedef struct actor {
    support_rng rng;
    uint32_t length;
    float says;       /* of each token, where those before are right */
    bool bush, draws; /* random trees; with q rows */
    bool in_turn;     /* every other one has no q rows */
    int fails;        /* what the next proposal returns */
    uint64_t ns;      /* how long it takes, by the clock of the test */
    uint64_t now;
    size_t asked, batched;
    uint32_t budget; /* of the last call */
    float min_prob;
} actor;

spec_drafter *actor_drafter(actor *x, uint64_t stream, const spec_allocator *a);

#define MOST 4 /* requests */

typedef struct stage {
    actor x;
    spec_policy *p;
    spec_policy_request *r[MOST];
    spec_tree tree[MOST], *t[MOST];
    size_t n;
    double slope;
    size_t tile;        /* rows that a kernel takes at once; 0 = 1 */
    const double *each; /* (n) how true each request's drafts are; or NULL: as the pass says */
    /* accounts, by the cost model */
    double time, plain; /* spent; by plain decoding for the same tokens */
    size_t passes, tokens;
} stage;

/* The time of a pass: 1, and the slope for each row more; w is the user. */
double stage_line(void *w, size_t rows, size_t context, size_t batch);

/* n requests; x is set but for its generator. */
void stage_open(stage *w, size_t n, double slope, double draft_time, uint64_t stream);
void stage_close(stage *w);

/* One pass: of each draft, a token is right with probability `truth` where those before it are. */
void stage_pass(stage *w, double truth, double draft_time);
void stage_passes(stage *w, size_t n, double truth, double draft_time);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * spy_drafter.h - a drafter that drafts what a test says and keeps what it is told,
 * and combined drafters whose parts are spies.
 */
#ifndef TESTS_SPY_DRAFTER_H
#define TESTS_SPY_DRAFTER_H

#include "support.h"

#include "parts.h"

#define SPY_NODES 64
#define SPY_CALLS 32
#define SPY_DIM   3

/* One call of observe, copied. */
typedef struct spy_call {
    bool tree; /* one was given */
    uint32_t n, n_accepted, n_committed, n_rows, top_k, n_taps;
    size_t prompt_row;
    spec_token token[SPY_NODES], committed[SPY_NODES];
    int32_t parent[SPY_NODES];
    uint8_t accepted[SPY_NODES];
    spec_token topk[SPY_NODES * 8];
    float logprob[SPY_NODES * 8], hidden[SPY_NODES * 8 * SPY_DIM];
} spy_call;

typedef struct spy {
    spec_tree draft; /* copied at every proposal, clipped by the library */
    spec_needs needs;
    int begin_fails, observe_fails; /* what the next calls return */
    size_t asked, batched, begun, ended, freed, n_calls;
    uint32_t offered_q; /* rows of room at the last proposal */
    spec_propose_args args;
    spy_call call[SPY_CALLS];
} spy;

/* A drafter of the spy, which must outlive it. */
spec_drafter *spy_drafter(spy *s);

/* Starts a draft anew, and adds a node to it. */
void spy_clear(spy *s);
int32_t spy_node(spy *s, int32_t parent, spec_token token, float prob, int source);
void spy_release(spy *s);

#endif

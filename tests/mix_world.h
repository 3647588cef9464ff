/* SPDX-License-Identifier: MIT */
/*
 * mix_world.h - texts that the drafter mix can learn something of, and responses
 * decoded with it against a known text, every draft checked and hashed.
 */
#ifndef TESTS_MIX_WORLD_H
#define TESTS_MIX_WORLD_H

#include "drafting.h"
#include "support.h"

/*
 * Phrases of 3 to 12 tokens, few of them often and many seldom, one token in `noise` any other; equal
 * worlds have equal phrases. 0: no noise.
 */
typedef struct mix_source {
    uint64_t world;
    uint32_t vocab, phrases, noise;
} mix_source;

void mix_text(const mix_source *s, support_rng *rng, spec_token *tok, size_t n);

/* Decoding tok[at..n) with a request's drafts. */
typedef struct mix_run {
    spec_request *r;
    const spec_token *tok;
    size_t n, at;
    spec_tree tree;
    uint64_t drafts; /* a hash of all drafts, their probabilities and sources */
    size_t steps, nodes, right;
} mix_run;

/* A request with the first n_prompt tokens as its prompt. */
void mix_begin(mix_run *m, spec_drafter *d, uint64_t tenant, const spec_token *tok, size_t n_prompt,
               size_t n);
void mix_end(mix_run *m);

/* Proposes and checks. */
void mix_propose(mix_run *m, const spec_propose_args *args);

/* Observes what the text makes of the draft; returns whether there is more of it. */
bool mix_observe(mix_run *m);

/* All steps from begin to end, drafts of `budget` nodes; what came of it, the request ended. */
mix_run mix_decode(spec_drafter *d, uint64_t tenant, const spec_token *tok, size_t n_prompt, size_t n,
                   uint32_t budget);

/* A hash of the trees that prompts from the text are drafted: two drafters with equal ones know the same. */
uint64_t mix_known(spec_drafter *d, uint64_t tenant, const spec_token *tok, size_t n);

/* The probability of the first node drafted for the prompt; 0 without a draft. Fails the test unless
 * its token is `next`. */
double mix_first_prob(spec_drafter *d, uint64_t tenant, const spec_token *prompt, size_t n, spec_token next);

#endif

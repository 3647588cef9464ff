/* SPDX-License-Identifier: MIT */
/*
 * toy_engine.h - the smallest engine that can decode with a drafter: a
 * deterministic model and the loop around it. The model's next token is a hash
 * of the last three, so its text is new at first and runs into a cycle later:
 * drafters are wrong and right in turn.
 *
 * The loop can be given a wrong verifier, to see that a test of equality with
 * plain decoding notices.
 */
#ifndef TESTS_TOY_ENGINE_H
#define TESTS_TOY_ENGINE_H

#include "support.h"

#include "spec_drafter.h"

typedef struct toy_model {
    uint64_t seed;
    uint32_t vocab;
    spec_token first; /* tokens are first..first + vocab - 1 */
} toy_model;

/* The model's token after text[0..n). */
spec_token toy_next(const toy_model *m, const spec_token *text, size_t n);

/* Plain decoding: writes text[n..n + n_new). */
void toy_plain(const toy_model *m, spec_token *text, size_t n, size_t n_new);

typedef enum toy_verifier {
    TOY_RIGHT,      /* spec_verify_greedy */
    TOY_ROW_BEFORE, /* takes the row of a node's predecessor in the tree for the node's own */
    TOY_NO_BONUS,   /* loses the target's token after an accepted path */
    TOY_ANY_PARENT, /* accepts a node that carries the token but hangs elsewhere */
    TOY_ANY_TOKEN,  /* accepts the first child whatever its token */
    TOY_N_VERIFIERS
} toy_verifier;

typedef struct toy_run {
    uint64_t tenant;
    uint32_t budget; /* room in the tree; 0 = 16 */
    toy_verifier verifier;
    const spec_token *reference; /* for the oracle: the whole true response, or NULL */
    size_t n_reference;
    bool mix_calls;       /* now and then one token is committed without a draft */
    spec_token low, high; /* every drafted token must be within; 0, 0 = not looked at */
    const spec_allocator *alloc;
    /* results */
    size_t steps, drafted, accepted;
} toy_run;

/* Decodes n_new tokens after text[0..n) with a drafter, and writes them there.
 * Every draft's shape, size, depth and tokens are asserted. */
void toy_decode(const toy_model *m, spec_drafter *d, toy_run *run, spec_token *text, size_t n, size_t n_new);

/* The target's choices for a tree on text[0..n): argmax has tree->n + 1 places. */
void toy_argmax(const toy_model *m, const spec_token *text, size_t n, const spec_tree *t, spec_token *argmax);

#endif

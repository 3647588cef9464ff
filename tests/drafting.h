/* SPDX-License-Identifier: MIT */
/*
 * drafting.h - calls of a drafter that a test expects to succeed, in one line
 * each, and texts whose every neighbourhood is known:
 *
 *     run k:  1000000 k, 1000000 k + 1, 1000000 k + 2, ...
 *
 * In a run every token is followed by the next number, so a draft that joins
 * what never stood together gives itself away.
 */
#ifndef TESTS_DRAFTING_H
#define TESTS_DRAFTING_H

#include "support.h"

#include "spec_drafter.h"

/* Fails the test with the message when it does not open. */
spec_drafter *drafting_open(const char *spec, const spec_allocator *a);

spec_request *drafting_begin(spec_drafter *d, uint64_t tenant, const spec_token *prompt, size_t n);
void drafting_commit(spec_request *r, const spec_token *tok, size_t n);

/* A whole request with that response, and no prompt. */
void drafting_say(spec_drafter *d, uint64_t tenant, const spec_token *tok, size_t n);

/* What a new request with that prompt is drafted, checked by spec_tree_check. */
void drafting_ask(spec_drafter *d, uint64_t tenant, const spec_token *prompt, size_t n, spec_tree *t);

/* ---- trees --------------------------------------------------------------- */

void drafting_tree(spec_tree *t, uint32_t cap);
uint32_t drafting_depth(const spec_tree *t);

/* A head's draft, or another of most probable tokens of that source: valid, and the one wanted. */
void drafting_assert_same(const spec_tree *draft, const spec_tree *want, spec_source source);

/* ---- opening ------------------------------------------------------------- */

/* Fails the test with the message when PREFIX and `rest`, as one text, do not open. */
spec_drafter *drafting_open_env(const char *prefix, const char *rest, const spec_drafter_env *env);

/* What comes of opening it, and what the message says. */
typedef struct drafting_case {
    const char *spec, *says;
    int err;
    const spec_drafter_env *env;
} drafting_case;

/* Opens the prefix and each of them as one text, with and without a message. */
void drafting_check_cases(const char *prefix, const drafting_case *one, size_t n);

/* Each allocation refused in turn, from opening to what `serve` does with a request: the error says
 * so, and nothing leaks. */
void drafting_refuse_memory(const char *spec, const spec_drafter_env *env, const spec_request_info *info,
                            int (*serve)(const void *world, spec_request *r), const void *world);

/* ---- threads ------------------------------------------------------------- */

/* What one thread does: requests by twos, and what came of them. */
typedef struct drafting_worker {
    spec_drafter *d;
    uint64_t number, drafts; /* a hash of all that was drafted */
    size_t nodes;
    bool failed;
    const struct drafting_play *play;
} drafting_worker;

typedef struct drafting_play {
    int requests, steps;
    uint32_t cap, q_cap, vocab; /* of the trees */
    /* Proposes for both, counts and hashes that, and commits; 0 or an error. */
    int (*step)(drafting_worker *w, support_rng *rng, spec_request **q, spec_tree *const *t);
} drafting_play;

/* Eight threads, each with the drafts that it gets alone, at least so many nodes, while another looks
 * at the statistics. */
void drafting_eight_threads(spec_drafter *d, const drafting_play *play, size_t least);

/* ---- runs --------------------------------------------------------------- */

spec_token run_token(uint32_t run, size_t at);

/* Commits tokens [from, from + n) of a run. */
void run_commit(spec_request *r, uint32_t run, size_t from, size_t n);

/* A whole request that says the first n tokens of a run. */
void run_say(spec_drafter *d, uint64_t tenant, uint32_t run, size_t n);

/* A new request asks what follows token `at` of a run (at >= 2; the two tokens
 * before it are in the prompt). Fails the test when a drafted node does not
 * carry its parent's token + 1. How many nodes. */
uint32_t run_known(spec_drafter *d, uint64_t tenant, uint32_t run, size_t at);

#endif

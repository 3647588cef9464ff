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

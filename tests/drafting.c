/* SPDX-License-Identifier: MIT */
/* Calls of a drafter that have to succeed, and runs: drafting.h. */
#include "drafting.h"

#define CAP 16

spec_drafter *drafting_open(const char *spec, const spec_allocator *a) {
    spec_drafter *d = NULL;
    spec_message why;
    if (spec_drafter_open(&d, spec, a, &why)) fail_msg("%s", why.text);
    return d;
}

spec_request *drafting_begin(spec_drafter *d, uint64_t tenant, const spec_token *prompt, size_t n) {
    spec_request *r = NULL;
    spec_request_info info = {.size = sizeof info, .tenant = tenant, .prompt = prompt, .n_prompt = n};
    assert_int_equal(spec_request_begin(d, &info, &r), 0);
    return r;
}

void drafting_commit(spec_request *r, const spec_token *tok, size_t n) {
    assert_int_equal(spec_request_commit(r, tok, n), 0);
}

void drafting_say(spec_drafter *d, uint64_t tenant, const spec_token *tok, size_t n) {
    spec_request *r = drafting_begin(d, tenant, NULL, 0);
    drafting_commit(r, tok, n);
    spec_request_end(r);
}

void drafting_ask(spec_drafter *d, uint64_t tenant, const spec_token *prompt, size_t n, spec_tree *t) {
    spec_message why;
    spec_request *r = drafting_begin(d, tenant, prompt, n);
    assert_int_equal(spec_request_propose(r, NULL, t), 0);
    if (spec_tree_check(t, &why)) fail_msg("%s", why.text);
    spec_request_end(r);
}

/* ---- runs --------------------------------------------------------------- */

spec_token run_token(uint32_t run, size_t at) { return (spec_token)(run * 1000000 + at); }

void run_commit(spec_request *r, uint32_t run, size_t from, size_t n) {
    spec_token tok[256];
    for (size_t done = 0, k; done < n; done += k) {
        k = n - done < 256 ? n - done : 256;
        for (size_t i = 0; i < k; i++) tok[i] = run_token(run, from + done + i);
        drafting_commit(r, tok, k);
    }
}

void run_say(spec_drafter *d, uint64_t tenant, uint32_t run, size_t n) {
    spec_request *r = drafting_begin(d, tenant, NULL, 0);
    run_commit(r, run, 0, n);
    spec_request_end(r);
}

uint32_t run_known(spec_drafter *d, uint64_t tenant, uint32_t run, size_t at) {
    spec_tree t;
    const spec_token prompt[3] = {run_token(run, at - 2), run_token(run, at - 1), run_token(run, at)};
    assert_int_equal(spec_tree_init(&t, CAP, 0, 0, NULL), 0);
    drafting_ask(d, tenant, prompt, 3, &t);
    uint32_t n = t.n;
    for (uint32_t i = 0; i < n; i++) {
        spec_token want = run_token(run, at) + (spec_token)spec_tree_depth(&t, (int32_t)i);
        if (t.token[i] != want) fail_msg("run %u at %zu: node %u is %d", run, at, i, t.token[i]);
    }
    spec_tree_release(&t, NULL);
    return n;
}

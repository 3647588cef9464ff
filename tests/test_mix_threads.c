/* SPDX-License-Identifier: MIT */
/*
 * The drafter mix under many requests at the same time, see storm.h: what is taught is not lost, whatever is
 * saved meanwhile opens again, and requests that share nothing draft as if they were alone. Under
 * TSan also: no race.
 */
#include "storm.h"

#include <stdlib.h>

#include "drafting.h"

static void test_one_tenant_and_several(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        uint64_t tenants;
    } cases[] = {{"mix:nodes=8", 1}, {"mix:nodes=8", 3}, {"mix:own=0,learn=end,nodes=8", 1}};
    size_t saved = 0;
    for (size_t i = 0; i < 3; i++) {
        storm s = {
            .spec = cases[i].spec, .reopen = "mix:corpus=", .n_tenants = cases[i].tenants, .vocab = 30};
        spec_drafter_stats after;
        size_t taught = 0;
        storm_blow(&s, &after);
        storm_calm(&s, &after);
        for (uint64_t k = 0; k < s.n_tenants; k++) taught += atomic_load(&s.taught[k]) + STORM_CALM;
        assert_int_equal(after.index_tokens, taught);
        saved += atomic_load(&s.saved);
        storm_clear(&s);
    }
    assert_true(saved > 0);
}

static void test_limits(void **state) {
    (void)state;
    static const char *const specs[] = {"mix:memory_mb=1,evict=lru,nodes=8", "mix:tenants=2,nodes=8"};
    for (size_t i = 0; i < 2; i++) {
        storm s = {.spec = specs[i], .reopen = "mix:priors=", .n_tenants = i ? 5 : 1, .vocab = i ? 30 : 2000};
        spec_drafter_stats after;
        storm_blow(&s, &after);
        storm_calm(&s, &after);
        assert_true(i || after.evicted > 10);
        storm_clear(&s);
    }
}

/* ---- requests that share nothing ------------------------------------------------ */

static int step(drafting_worker *w, support_rng *rng, spec_request **q, spec_tree *const *t) {
    int err = spec_request_propose_batch(q, NULL, t, 2);
    for (size_t i = 0; i < 2 && !err; i++) {
        spec_token tok[3];
        size_t n = 1 + support_rng_below(rng, 3);
        for (uint32_t k = 0; k < t[i]->n; k++)
            w->drafts =
                (w->drafts ^ (uint64_t)t[i]->token[k]) * 1099511628211u + (uint64_t)(t[i]->prob[k] * 1e6f);
        w->nodes += t[i]->n;
        for (size_t k = 0; k < n; k++) tok[k] = (spec_token)support_rng_below(rng, 4);
        err = spec_request_commit(q[i], tok, n);
    }
    return err;
}

static void test_requests_that_share_nothing(void **state) {
    (void)state;
    static const drafting_play play = {.requests = 4, .steps = 60, .cap = 16, .step = step};
    spec_drafter *d = drafting_open("mix:shared=0,nodes=8", NULL);
    drafting_eight_threads(d, &play, 1000);
    spec_drafter_free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_tenant_and_several),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_requests_that_share_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

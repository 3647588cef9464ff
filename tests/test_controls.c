/* SPDX-License-Identifier: MIT */
/* The controls: none drafts nothing, oracle the reference as long as the text
 * follows it, random the same noise for the same key. */
#include "support.h"

#include <string.h>

#include "spec_drafter.h"

typedef struct fixture {
    spec_drafter *d;
    spec_request *q;
    spec_tree t;
} fixture;

static void open_fixture(fixture *f, const char *spec, const spec_request_info *info) {
    spec_message why;
    if (spec_drafter_open(&f->d, spec, NULL, &why)) fail_msg("%s", why.text);
    assert_int_equal(spec_request_begin(f->d, info, &f->q), 0);
    assert_int_equal(spec_tree_init(&f->t, 64, 0, 0, NULL), 0);
}

static void close_fixture(fixture *f) {
    spec_request_end(f->q);
    spec_tree_release(&f->t, NULL);
    spec_drafter_free(f->d);
}

static void propose(fixture *f, uint32_t budget, uint32_t max_depth, uint64_t seed, uint64_t position) {
    spec_propose_args a = {
        .size = sizeof a, .budget = budget, .max_depth = max_depth, .noise = {seed, 5, position}};
    assert_int_equal(spec_request_propose(f->q, &a, &f->t), 0);
    assert_int_equal(spec_tree_check(&f->t, NULL), 0);
    for (uint32_t i = 0; i < f->t.n; i++) assert_int_equal(f->t.source[i], SPEC_SOURCE_CONTROL);
}

/* ---- none and oracle ----------------------------------------------------------------- */

static void test_none_drafts_nothing(void **state) {
    (void)state;
    const spec_token tok[3] = {1, 1, 1};
    spec_request_info info = {
        .size = sizeof info, .prompt = tok, .n_prompt = 3, .reference = tok, .n_reference = 3};
    fixture f;
    open_fixture(&f, "none", &info);
    propose(&f, 0, 0, 1, 0);
    assert_int_equal(f.t.n, 0);
    close_fixture(&f);
}

/* The draft is reference[from..from + n), as a chain that is certain. */
static void assert_chain(const fixture *f, const spec_token *reference, uint32_t from, uint32_t n) {
    assert_int_equal(f->t.n, n);
    assert_float_equal(f->t.score, n, 1e-6);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(f->t.token[i] == reference[from + i] && f->t.parent[i] == (int32_t)i - 1);
        assert_true(f->t.prob[i] == 1.0f);
    }
}

static void test_oracle_drafts_the_reference(void **state) {
    (void)state;
    const spec_token ref[10] = {5, 6, 5, 6, 7, 8, 9, 10, 11, 12}, wrong = 99;
    spec_request_info info = {
        .size = sizeof info, .prompt = ref, .n_prompt = 4, .reference = ref, .n_reference = 10};
    fixture f;
    open_fixture(&f, "oracle", &info);
    propose(&f, 0, 0, 1, 0);
    assert_chain(&f, ref, 0, 10);
    propose(&f, 3, 0, 1, 0);
    assert_chain(&f, ref, 0, 3);
    propose(&f, 0, 4, 1, 0);
    assert_chain(&f, ref, 0, 4);
    assert_int_equal(spec_request_commit(f.q, ref, 2), 0);
    propose(&f, 0, 0, 1, 0);
    assert_chain(&f, ref, 2, 8);
    assert_int_equal(spec_request_commit(f.q, &wrong, 1), 0);
    for (int i = 0; i < 10; i++) { /* it never finds its way back */
        propose(&f, 0, 0, 1, 0);
        assert_int_equal(f.t.n, 0);
        assert_int_equal(spec_request_commit(f.q, ref + i, 1), 0);
    }
    close_fixture(&f);
    open_fixture(&f, "oracle:len=2", &info);
    propose(&f, 0, 0, 1, 0);
    assert_chain(&f, ref, 0, 2);
    assert_int_equal(spec_request_commit(f.q, ref, 10), 0);
    propose(&f, 0, 0, 1, 0);
    assert_int_equal(f.t.n, 0);
    assert_int_equal(spec_request_commit(f.q, ref, 10), 0); /* past the end */
    close_fixture(&f);
    open_fixture(&f, "oracle", NULL);
    propose(&f, 0, 0, 1, 0);
    assert_int_equal(f.t.n, 0);
    close_fixture(&f);
}

/* ---- random --------------------------------------------------------------------------------- */

static void test_random_draws_by_its_key(void **state) {
    (void)state;
    spec_token drawn[24];
    size_t equal = 0;
    fixture f;
    open_fixture(&f, "random:width=3,len=8,vocab=1000000", NULL);
    propose(&f, 0, 0, 1, 100);
    assert_int_equal(f.t.n, 24);
    memcpy(drawn, f.t.token, sizeof drawn);
    propose(&f, 0, 0, 1, 100);
    assert_memory_equal(drawn, f.t.token, sizeof drawn);
    propose(&f, 9, 0, 1, 100); /* a smaller budget cuts, and changes nothing else */
    assert_true(f.t.n == 9 && !memcmp(drawn, f.t.token, 9 * sizeof *drawn));
    propose(&f, 0, 0, 1, 101); /* a token belongs to its place in the text */
    assert_memory_equal(drawn + 3, f.t.token, 21 * sizeof *drawn);
    propose(&f, 0, 0, 2, 100);
    for (int i = 0; i < 24; i++) equal += drawn[i] == f.t.token[i];
    assert_true(equal < 4);
    close_fixture(&f);
}

static void test_random_grows_chains_side_by_side(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, "random:width=3,len=5,vocab=10", NULL);
    for (uint64_t seed = 0; seed < 200; seed++) {
        propose(&f, 0, 0, seed, seed * 7);
        assert_int_equal(f.t.n, 15);
        for (int32_t i = 0; i < 15; i++) {
            assert_int_equal(f.t.parent[i], i < 3 ? -1 : i - 3);
            assert_in_range(f.t.token[i], 0, 9);
        }
        propose(&f, 8, 2, seed, 0);
        assert_int_equal(f.t.n, 6);
    }
    close_fixture(&f);
    open_fixture(&f, "random:width=8,len=1,vocab=5", NULL); /* no more siblings than tokens */
    propose(&f, 0, 0, 1, 0);
    assert_int_equal(f.t.n, 5);
    close_fixture(&f);
}

static void test_random_tokens_are_spread_evenly(void **state) {
    (void)state;
    uint32_t seen[10] = {0};
    fixture f;
    open_fixture(&f, "random:vocab=10,len=1", NULL);
    for (uint64_t i = 0; i < 10000; i++) {
        propose(&f, 0, 0, support_seed(), i);
        seen[f.t.token[0]]++;
    }
    for (int i = 0; i < 10; i++) assert_in_range(seen[i], 1000 - 150, 1000 + 150); /* five deviations */
    close_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_drafts_nothing),
        cmocka_unit_test(test_oracle_drafts_the_reference),
        cmocka_unit_test(test_random_draws_by_its_key),
        cmocka_unit_test(test_random_grows_chains_side_by_side),
        cmocka_unit_test(test_random_tokens_are_spread_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

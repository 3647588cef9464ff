/* SPDX-License-Identifier: MIT */
/*
 * cascade: whose draft it is on both sides of tau, what the two are told, sampled
 * drafts, batches of requests that go different ways, and the texts that name one.
 */
#include "support.h"

#include <string.h>

#include "drafting.h"
#include "spy_drafter.h"

typedef struct fixture {
    spy spy[2];
    spec_drafter *d;
    spec_request *q;
    spec_tree t;
} fixture;

static void open_fixture(fixture *f, double tau) {
    spec_drafter *part[2];
    spec_request_info info = {.size = sizeof info};
    memset(f, 0, sizeof *f);
    for (size_t k = 0; k < 2; k++) part[k] = spy_drafter(&f->spy[k]);
    assert_int_equal(specp_cascade_of(&f->d, part, tau, NULL), 0);
    assert_int_equal(spec_request_begin(f->d, &info, &f->q), 0);
    assert_int_equal(spec_tree_init(&f->t, 20, 2, 2, NULL), 0);
}

static void close_fixture(fixture *f) {
    spec_request_end(f->q);
    spec_drafter_free(f->d);
    for (size_t k = 0; k < 2; k++) {
        assert_true(f->spy[k].freed == 1 && f->spy[k].ended == f->spy[k].begun);
        spy_release(&f->spy[k]);
    }
    spec_tree_release(&f->t, NULL);
}

/* The two draft 1-2 of probabilities p and q, and 3. */
static void set_drafts(fixture *f, float p, float q) {
    for (size_t k = 0; k < 2; k++) spy_clear(&f->spy[k]);
    spy_node(&f->spy[0], -1, 1, p, SPEC_SOURCE_USER);
    spy_node(&f->spy[0], 0, 2, q, SPEC_SOURCE_USER);
    spy_node(&f->spy[1], -1, 3, 0.1f, SPEC_SOURCE_USER);
}

static void propose(fixture *f) {
    spec_propose_args a = {.size = sizeof a, .budget = 7, .max_depth = 3, .noise = {4, 5, 6}};
    assert_int_equal(spec_request_propose(f->q, &a, &f->t), 0);
    assert_int_equal(spec_tree_check(&f->t, NULL), 0);
}

static void test_tau_decides(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, 0.75);
    set_drafts(&f, 0.5f, 0.25f); /* just as many as tau: not below it */
    propose(&f);
    assert_true(f.t.n == 2 && f.t.token[0] == 1 && f.spy[1].asked == 0);
    set_drafts(&f, 0.5f, 0.125f);
    propose(&f);
    assert_true(f.t.n == 1 && f.t.token[0] == 3 && f.spy[1].asked == 1);
    assert_true(f.spy[1].args.budget == 7 && f.spy[1].args.max_depth == 3 && f.spy[1].args.noise.seed == 4);
    spy_clear(&f.spy[0]); /* no draft expects nothing */
    propose(&f);
    assert_true(f.t.n == 1 && f.t.token[0] == 3);
    close_fixture(&f);
    open_fixture(&f, 0);
    set_drafts(&f, 0.5f, 0.5f);
    spy_clear(&f.spy[0]);
    propose(&f);
    assert_true(f.t.n == 0 && f.spy[1].asked == 0);
    close_fixture(&f);
}

static void test_a_sampled_draft_is_kept(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, 3);
    set_drafts(&f, 0.5f, 0.25f);
    f.spy[0].draft.q_row[0] = 0;
    f.spy[0].draft.n_q = 1;
    propose(&f);
    assert_true(f.t.n == 2 && f.t.token[0] == 1 && f.t.n_q == 1 && f.t.q_row[0] == 0);
    close_fixture(&f);
}

/* ---- what the two are told ------------------------------------------------------- */

/* 1 and 2, or 3, were accepted; the target says 9. */
static int observe(fixture *f) {
    static const uint8_t accepted[2] = {1, 1};
    spec_token committed[3];
    memcpy(committed, f->t.token, f->t.n * sizeof *committed);
    committed[f->t.n] = 9;
    spec_outcome o = {.size = sizeof o,
                      .committed = committed,
                      .n_committed = f->t.n + 1,
                      .tree = &f->t,
                      .accepted = accepted,
                      .n_rows = f->t.n + 1};
    return spec_request_observe(f->q, &o);
}

static void test_only_the_drafter_sees_its_draft(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, 0.75);
    const spy_call *a = f.spy[0].call, *b = f.spy[1].call;
    set_drafts(&f, 0.5f, 0.5f);
    propose(&f);
    assert_int_equal(observe(&f), 0);
    assert_true(f.spy[0].n_calls == 1 && a[0].n == 2 && a[0].n_accepted == 2 && a[0].n_committed == 3);
    assert_true(f.spy[1].n_calls == 2 && b[0].n == 0 && b[0].n_committed == 1 && b[0].committed[0] == 1);
    assert_true(b[1].n_committed == 2 && b[1].committed[0] == 2 && b[1].committed[1] == 9);
    set_drafts(&f, 0.5f, 0.1f);
    propose(&f);
    f.spy[1].observe_fails = SPEC_ERR_NOMEM;
    assert_int_equal(observe(&f), SPEC_ERR_NOMEM);
    f.spy[1].observe_fails = 0;
    assert_int_equal(observe(&f), 0); /* the first knows it already */
    assert_true(f.spy[1].n_calls == 3 && b[2].n == 1 && b[2].n_accepted == 1 && b[2].n_committed == 2);
    assert_true(f.spy[0].n_calls == 3 && a[1].n == 0 && a[1].committed[0] == 3 && a[2].committed[0] == 9);
    assert_int_equal(spec_request_commit(f.q, (const spec_token[]){4, 5}, 2), 0);
    for (size_t k = 0; k < 2; k++) {
        const spy_call *last = &f.spy[k].call[f.spy[k].n_calls - 1];
        assert_true(f.spy[k].n_calls == 4 && !last->tree && last->n_committed == 2 &&
                    last->committed[1] == 5);
    }
    close_fixture(&f);
}

static void test_nobody_drafts_before_both_know_the_text(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, 0.75);
    set_drafts(&f, 0.5f, 0.5f);
    propose(&f);
    f.spy[1].observe_fails = SPEC_ERR_NOMEM;
    assert_int_equal(observe(&f), SPEC_ERR_NOMEM);
    propose(&f);
    assert_true(f.t.n == 0 && f.spy[0].asked == 1);
    close_fixture(&f);
}

/* ---- batches and texts ------------------------------------------------------------ */

static void test_a_batch_asks_each_once(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, 1.5);
    spec_request *q[3] = {f.q, NULL, NULL};
    spec_tree t[3], *trees[3] = {&t[0], &t[1], &t[2]};
    spec_request_info info = {.size = sizeof info};
    set_drafts(&f, 1.0f, 1.0f);
    for (size_t i = 0; i < 3; i++) assert_int_equal(spec_tree_init(&t[i], i == 1 ? 1 : 4, 0, 0, NULL), 0);
    for (size_t i = 1; i < 3; i++) assert_int_equal(spec_request_begin(f.d, &info, &q[i]), 0);
    spec_propose_args a[3] = {
        {.size = sizeof *a}, {.size = sizeof *a, .noise = {8, 0, 0}}, {.size = sizeof *a}};
    assert_int_equal(spec_request_propose_batch(q, a, trees, 3), 0);
    assert_true(t[0].n == 2 && t[2].n == 2); /* the second has room for one node, and expects 1 */
    assert_true(t[1].n == 1 && t[1].token[0] == 3 && f.spy[1].args.noise.seed == 8);
    assert_true(f.spy[0].batched == 1 && f.spy[0].asked == 3 && f.spy[1].batched == 1 && f.spy[1].asked == 1);
    for (size_t i = 0; i < 3; i++) spec_tree_release(&t[i], NULL);
    for (size_t i = 1; i < 3; i++) spec_request_end(q[i]);
    close_fixture(&f);
}

static void test_texts(void **state) {
    (void)state;
    static const char *const good[] = {"cascade:suffix>ngram-cache,tau=1", "cascade:pld>none",
                                       "cascade:suffix:preset=arctic>pld:n_max=2,len=4,tau=0.5",
                                       "cascade:(union:suffix+pld)>ngram-cache,tau=1.5",
                                       "cascade:(cascade:pld>suffix,tau=3)>none,tau=1e0"};
    static const drafting_case bad[] = {
        {"cascade:pld", "'pld': expected two drafters with '>' between", SPEC_ERR_INVALID, NULL},
        {"cascade:tau=1", "'tau=1': expected two drafters", SPEC_ERR_INVALID, NULL},
        {"cascade:pld>", "a part is empty", SPEC_ERR_INVALID, NULL},
        {"cascade:pld>none>none", "'none': expected at most 2", SPEC_ERR_INVALID, NULL},
        {"cascade:pld>nine,tau=1", "drafter cascade: there is no drafter 'nine'", SPEC_ERR_NOT_FOUND, NULL},
        {"cascade:pld>none,tau=-1", "option tau: '-1' is not a number from 0 to 4096", SPEC_ERR_INVALID,
         NULL},
        {"cascade:pld>none,tau=nan", "'nan' is not a number", SPEC_ERR_INVALID, NULL},
        {"cascade:pld>none,tau=1,tau=2", "option tau is given twice", SPEC_ERR_INVALID, NULL},
        {"cascade:pld>pld,tau=1,len=2", "no option 'len', expected one of tau", SPEC_ERR_INVALID, NULL},
        {"cascade:union:pld+pld>none", "'union:pld+pld': expected it in parentheses", SPEC_ERR_INVALID, NULL},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) spec_drafter_free(drafting_open(good[i], NULL));
    drafting_check_cases("", bad, sizeof bad / sizeof *bad);
}

/* tau is heard: with 0 the first drafts alone, with much the second. */
static void test_tau_of_the_text(void **state) {
    (void)state;
    static const spec_token text[] = {1, 2, 3, 1, 2};
    static const char *const specs[] = {"cascade:pld>random,tau=0", "cascade:pld>random,tau=50"};
    for (size_t i = 0; i < 2; i++) {
        spec_drafter *d;
        spec_request *q;
        spec_tree t;
        spec_request_info info = {.size = sizeof info, .prompt = text, .n_prompt = 5};
        assert_int_equal(spec_drafter_open(&d, specs[i], NULL, NULL), 0);
        assert_int_equal(spec_request_begin(d, &info, &q), 0);
        assert_int_equal(spec_tree_init(&t, 8, 0, 0, NULL), 0);
        assert_int_equal(spec_request_propose(q, NULL, &t), 0);
        assert_true(t.n > 0 && t.source[0] == (i ? SPEC_SOURCE_CONTROL : SPEC_SOURCE_LOOKUP));
        spec_request_end(q);
        spec_tree_release(&t, NULL);
        spec_drafter_free(d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tau_decides),
        cmocka_unit_test(test_a_sampled_draft_is_kept),
        cmocka_unit_test(test_only_the_drafter_sees_its_draft),
        cmocka_unit_test(test_nobody_drafts_before_both_know_the_text),
        cmocka_unit_test(test_a_batch_asks_each_once),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_tau_of_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

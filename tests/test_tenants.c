/* SPDX-License-Identifier: MIT */
/*
 * What one tenant's requests taught is never proposed to another's, unless asked
 * for. All tenants' texts share some tokens, so that contexts match across
 * tenants, and each has tokens of its own, which tell a leak:
 *
 *     tenant 1:  3 7 1 4 1002 3 7 1 4 1005 ...
 *     tenant 2:  3 7 1 4 2008 3 7 1 4 2001 ...
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "shared.h"
#include "spec_drafter.h"

#define N_TENANTS 3
#define N_TEXT    150

/* ---- leaks --------------------------------------------------------------------- */

static bool own_token(spec_token t, uint64_t tenant) { return t < 100 || (uint64_t)t / 1000 == tenant; }

/* Phrases of common tokens, each followed by one of the tenant's own. */
static void make_text(support_rng *r, uint64_t tenant, spec_token *tok) {
    static const spec_token phrase[4][5] = {
        {3, 7, 1, 4, 9}, {5, 3, 7, 1, 2}, {8, 8, 8, 6, 1}, {2, 4, 6, 8, 0}};
    for (size_t i = 0; i < N_TEXT; i += 6) {
        memcpy(tok + i, phrase[support_rng_below(r, 4)], sizeof phrase[0]);
        tok[i + 5] = (spec_token)(tenant * 1000 + support_rng_below(r, 10) / 8);
    }
}

typedef struct leak_count {
    size_t own, foreign; /* drafted tokens that only a tenant has */
} leak_count;

/* Requests of all tenants at the same time, in turn. */
static void play_together(support_rng *r, spec_drafter *d, leak_count *c) {
    spec_token tok[N_TENANTS][N_TEXT];
    spec_request *q[N_TENANTS];
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, 24, 0, 0, NULL), 0);
    for (uint64_t i = 0; i < N_TENANTS; i++) {
        make_text(r, i + 1, tok[i]);
        spec_request_info info = {.size = sizeof info, .tenant = i + 1, .prompt = tok[i], .n_prompt = 12};
        assert_int_equal(spec_request_begin(d, &info, &q[i]), 0);
    }
    for (size_t at = 12; at < N_TEXT; at++) {
        uint64_t i = at % N_TENANTS;
        for (i = 0; i < N_TENANTS; i++) {
            assert_int_equal(spec_request_propose(q[i], NULL, &t), 0);
            for (uint32_t k = 0; k < t.n; k++) {
                c->foreign += !own_token(t.token[k], i + 1);
                c->own += t.token[k] >= 100 && own_token(t.token[k], i + 1);
            }
            assert_int_equal(spec_request_commit(q[i], tok[i] + at, 1), 0);
        }
    }
    for (uint64_t i = 0; i < N_TENANTS; i++) spec_request_end(q[i]);
    spec_tree_release(&t, NULL);
}

static leak_count play(const char *spec) {
    support_rng r = support_rng_new(support_seed(), 70);
    leak_count c = {0, 0};
    spec_drafter *d;
    spec_message why;
    if (spec_drafter_open(&d, spec, NULL, &why)) fail_msg("%s", why.text);
    for (int round = 0; round < 12; round++) play_together(&r, d, &c);
    spec_drafter_free(d);
    return c;
}

static void test_knowledge_stays_with_its_tenant(void **state) {
    (void)state;
    static const char *const specs[] = {"suffix", "mix", "pld", "ngram-cache",
                                        "ngram-mod:n=3,min=0,streak=0"};
    for (size_t i = 0; i < 5; i++) {
        leak_count c = play(specs[i]);
        if (c.foreign) fail_msg("%s: %zu tokens of other tenants", specs[i], c.foreign);
        assert_true(c.own > 100); /* it did draft */
    }
}

/* Tenant 1 says something several times; how much of it is tenant 2 told? */
static uint32_t crossing(const char *spec) {
    const spec_token tok[] = {3, 7, 1, 4, 9, 1001, 1002, 1003, 1004, 1005};
    spec_drafter *d;
    spec_request *q;
    spec_tree t;
    spec_message why;
    if (spec_drafter_open(&d, spec, NULL, &why)) fail_msg("%s", why.text);
    spec_request_info info = {.size = sizeof info, .tenant = 1};
    for (int k = 0; k < 5; k++) {
        assert_int_equal(spec_request_begin(d, &info, &q), 0);
        assert_int_equal(spec_request_commit(q, tok, 10), 0);
        spec_request_end(q);
    }
    info = (spec_request_info){.size = sizeof info, .tenant = 2, .prompt = tok, .n_prompt = 5};
    assert_int_equal(spec_request_begin(d, &info, &q), 0);
    assert_int_equal(spec_tree_init(&t, 5, 0, 0, NULL), 0);
    assert_int_equal(spec_request_propose(q, NULL, &t), 0);
    uint32_t n = t.n;
    spec_request_end(q);
    spec_tree_release(&t, NULL);
    spec_drafter_free(d);
    return n;
}

static void test_knowledge_crosses_when_asked(void **state) {
    (void)state;
    static const char *const specs[][2] = {{"suffix", "suffix:cross_tenant=1"},
                                           {"mix", "mix:cross_tenant=1"},
                                           {"ngram-cache", "ngram-cache:cross_tenant=1"},
                                           {"ngram-mod:n=3,min=0", "ngram-mod:n=3,min=0,cross_tenant=1"}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(crossing(specs[i][0]), 0);
        assert_true(crossing(specs[i][1]) > 0);
    }
}

/* With shared=0 nothing of an earlier request is known, not even to its tenant. */
static void test_nothing_is_learnt_across_requests_when_not_shared(void **state) {
    (void)state;
    static const char *const specs[][2] = {{"suffix", "suffix:shared=0"},
                                           {"mix", "mix:shared=0"},
                                           {"ngram-cache", "ngram-cache:shared=0"},
                                           {"ngram-mod:n=3,min=0", "ngram-mod:n=3,min=0,shared=0"}};
    for (size_t i = 0; i < 4; i++) {
        for (int off = 0; off < 2; off++) {
            const spec_token tok[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
            spec_drafter *d;
            spec_request *q;
            spec_tree t;
            spec_message why;
            if (spec_drafter_open(&d, specs[i][off], NULL, &why)) fail_msg("%s", why.text);
            for (int k = 0; k < 5; k++) {
                assert_int_equal(spec_request_begin(d, NULL, &q), 0);
                assert_int_equal(spec_request_commit(q, tok, 10), 0);
                spec_request_end(q);
            }
            spec_request_info info = {.size = sizeof info, .prompt = tok, .n_prompt = 5};
            assert_int_equal(spec_request_begin(d, &info, &q), 0);
            assert_int_equal(spec_tree_init(&t, 4, 0, 0, NULL), 0);
            assert_int_equal(spec_request_propose(q, NULL, &t), 0);
            if ((t.n > 0) != (off == 0)) fail_msg("%s drafts %u", specs[i][off], t.n);
            spec_request_end(q);
            spec_tree_release(&t, NULL);
            spec_drafter_free(d);
        }
    }
}

/* ---- the list of tenants --------------------------------------------------------------- */

typedef struct maker {
    specp_shell shell;
    size_t made, dropped;
    bool refuse;
} maker;

static int make(void *user, void **out) {
    maker *m = user;
    if (m->refuse) return SPEC_ERR_NOMEM;
    m->made++;
    *out = malloc(1);
    return 0;
}

static void drop(void *user, void *knowledge) {
    ((maker *)user)->dropped++;
    free(knowledge);
}

static void test_a_shell_keeps_accounts(void **state) {
    (void)state;
    maker *m = specp_shell_new(sizeof *m, NULL);
    spec_drafter_stats s = {0};
    void *held = specp_alloc(&m->shell.alloc, 100, 1);
    atomic_store(&m->shell.wait.longest_ns, 7);
    specp_shell_stats(m, &s);
    assert_int_equal(s.index_bytes, sizeof *m + 100);
    assert_int_equal(s.longest_wait_ns, 7);
    specp_release(&m->shell.alloc, held, 100, 1);
    specp_shell_free(m);
}

static void *enter(specp_tenants *t, uint64_t tenant) {
    void *k = t;
    assert_int_equal(specp_tenants_acquire(t, tenant, &k), 0);
    return k;
}

static void test_the_idle_longest_makes_room(void **state) {
    (void)state;
    maker *m = specp_shell_new(sizeof *m, NULL);
    specp_tenants t = {&m->shell, make, drop, false, .max = 3};
    assert_int_equal(specp_tenants_init(&t), 0);
    void *one = enter(&t, 1), *two = enter(&t, 2), *three = enter(&t, 3);
    assert_true(one && two && three && one != two && two != three && m->made == 3);
    assert_ptr_equal(enter(&t, 2), two);
    specp_tenants_release(&t, two);
    assert_null(enter(&t, 4)); /* all have requests */
    assert_int_equal(m->made, 3);
    specp_tenants_release(&t, NULL);
    specp_tenants_release(&t, three);
    specp_tenants_release(&t, one);
    assert_ptr_equal(enter(&t, 1), one); /* latest now: 1; then 2 (in use), then 3 */
    specp_tenants_release(&t, one);
    void *four = enter(&t, 4); /* takes the place of 3, whose last begin is older than 1's */
    assert_true(four && m->made == 4 && m->dropped == 1);
    assert_ptr_equal(enter(&t, 1), one);
    assert_ptr_equal(enter(&t, 2), two);
    assert_null(enter(&t, 3));
    specp_tenants_release(&t, four);
    m->refuse = true;
    void *out = m;
    assert_int_equal(specp_tenants_acquire(&t, 5, &out), SPEC_ERR_NOMEM);
    m->refuse = false;
    assert_ptr_equal(enter(&t, 4), four); /* nothing was dropped for what was not made */
    specp_tenants_destroy(&t);
    assert_int_equal(m->dropped, m->made);
    specp_shell_free(m);
}

static void test_all_tenants_are_one_when_crossing(void **state) {
    (void)state;
    maker *m = specp_shell_new(sizeof *m, NULL);
    specp_tenants t = {&m->shell, make, drop, true, .max = 3};
    assert_int_equal(specp_tenants_init(&t), 0);
    void *one = enter(&t, 1);
    assert_ptr_equal(enter(&t, 77), one);
    assert_int_equal(m->made, 1);
    specp_tenants_destroy(&t);
    specp_shell_free(m);
}

/* ---- bounded memory ------------------------------------------------------------------------ */

/* Every tenant says the same 40 tokens; what a tenant knows later tells whether
 * it is remembered. */
static uint32_t say_and_ask(spec_drafter *d, uint64_t tenant, bool say) {
    spec_token tok[40];
    spec_request *q;
    spec_tree t;
    for (spec_token i = 0; i < 40; i++) tok[i] = i;
    spec_request_info info = {.size = sizeof info, .tenant = tenant};
    for (int i = 0; i < 4 && say; i++) {
        assert_int_equal(spec_request_begin(d, &info, &q), 0);
        assert_int_equal(spec_request_commit(q, tok, 40), 0);
        spec_request_end(q);
    }
    info.prompt = tok;
    info.n_prompt = 5;
    assert_int_equal(spec_request_begin(d, &info, &q), 0);
    assert_int_equal(spec_tree_init(&t, 10, 0, 0, NULL), 0);
    assert_int_equal(spec_request_propose(q, NULL, &t), 0);
    uint32_t n = t.n;
    spec_request_end(q);
    spec_tree_release(&t, NULL);
    return n;
}

static void test_tenants_are_forgotten_in_order(void **state) {
    (void)state;
    static const char *const specs[] = {"ngram-cache:tenants=2,size_mb=1",
                                        "ngram-mod:tenants=2,n=3,min=0,size_mb=1"};
    for (size_t i = 0; i < 2; i++) {
        support_heap heap;
        support_heap_init(&heap);
        spec_allocator a = support_alloc(&heap);
        spec_drafter *d;
        spec_drafter_stats before, after;
        assert_int_equal(spec_drafter_open(&d, specs[i], &a, NULL), 0);
        uint64_t empty = heap.live_bytes;
        say_and_ask(d, 1, true);
        say_and_ask(d, 2, true);
        spec_drafter_get_stats(d, &before);
        assert_true(before.index_bytes <= heap.live_bytes && before.index_bytes > empty / 2);
        for (uint64_t tenant = 3; tenant < 40; tenant++) {
            say_and_ask(d, tenant, true);
            spec_drafter_get_stats(d, &after);
            assert_int_equal(after.index_tokens, before.index_tokens); /* two tenants' worth */
            assert_int_equal(after.index_bytes, before.index_bytes);
        }
        assert_true(say_and_ask(d, 39, false) > 0);
        assert_true(say_and_ask(d, 38, false) > 0);
        assert_int_equal(say_and_ask(d, 37, false), 0);
        spec_drafter_free(d);
        support_heap_assert_clean(&heap);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_knowledge_stays_with_its_tenant),
        cmocka_unit_test(test_knowledge_crosses_when_asked),
        cmocka_unit_test(test_nothing_is_learnt_across_requests_when_not_shared),
        cmocka_unit_test(test_a_shell_keeps_accounts),
        cmocka_unit_test(test_the_idle_longest_makes_room),
        cmocka_unit_test(test_all_tenants_are_one_when_crossing),
        cmocka_unit_test(test_tenants_are_forgotten_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

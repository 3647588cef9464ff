/* SPDX-License-Identifier: MIT */
/*
 * What the suffix drafter keeps of other requests, and for how long: tenants,
 * limits of requests and of memory, and the clipping of drafts. The drafts
 * themselves are compared with the truth in test_suffix.c.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "drafting.h"

static spec_drafter_stats stats_of(spec_drafter *d) {
    spec_drafter_stats s;
    spec_drafter_get_stats(d, &s);
    return s;
}

/* ---- tenants ---------------------------------------------------------------------- */

static void test_own_text_alone(void **state) {
    (void)state;
    spec_drafter *d = drafting_open("suffix:shared=0", NULL);
    run_say(d, 1, 1, 100);
    assert_int_equal(run_known(d, 1, 1, 50), 0);
    assert_int_equal(stats_of(d).index_tokens, 0);
    spec_request *r = drafting_begin(d, 1, NULL, 0);
    run_commit(r, 2, 0, 20);
    run_commit(r, 2, 0, 5);
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, 4, 0, 0, NULL), 0);
    assert_int_equal(spec_request_propose(r, NULL, &t), 0);
    assert_true(t.n == 4 && t.token[0] == run_token(2, 5) && t.source[0] == SPEC_SOURCE_OWN &&
                t.match_len == 5);
    spec_request_end(r);
    spec_tree_release(&t, NULL);
    spec_drafter_free(d);
}

/* With own=0 a request is told what others say, and what it says itself only by
 * way of them. */
static void test_others_texts_alone(void **state) {
    (void)state;
    spec_drafter *d = drafting_open("suffix:own=0", NULL);
    run_say(d, 1, 1, 100);
    assert_true(run_known(d, 1, 1, 50) > 0);
    assert_int_equal(run_known(d, 2, 1, 50), 0);
    spec_token twice[8] = {11, 12, 13, 14, 15, 16, 11, 12};
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, 4, 0, 0, NULL), 0);
    drafting_ask(d, 1, twice, 8, &t); /* said in the prompt alone */
    assert_true(t.n == 0 && t.match_len == 0);
    drafting_say(d, 2, twice, 6); /* to another tenant */
    drafting_ask(d, 1, twice, 8, &t);
    assert_int_equal(t.n, 0);
    drafting_say(d, 1, twice, 6);
    drafting_ask(d, 1, twice, 8, &t);
    assert_true(t.n == 4 && t.token[0] == 13 && t.source[0] == SPEC_SOURCE_SHARED && t.match_len == 2);
    spec_tree_release(&t, NULL);
    spec_drafter_free(d);
}

static void test_the_tenant_idle_longest_is_forgotten(void **state) {
    (void)state;
    spec_drafter *d = drafting_open("suffix:tenants=3", NULL);
    for (uint32_t i = 1; i <= 3; i++) run_say(d, i, i, 60);
    spec_request *busy = drafting_begin(d, 1, NULL, 0);
    assert_int_equal(stats_of(d).index_tokens, 180);
    run_say(d, 4, 4, 50); /* takes the place of 2: 1 has a request */
    assert_int_equal(stats_of(d).index_tokens, 170);
    assert_true(run_known(d, 1, 1, 20) && run_known(d, 3, 3, 20) && run_known(d, 4, 4, 20));
    spec_request *busy3 = drafting_begin(d, 3, NULL, 0), *busy4 = drafting_begin(d, 4, NULL, 0);
    assert_int_equal(run_known(d, 2, 2, 20), 0); /* no place: served without shared knowledge */
    run_say(d, 2, 2, 60);                        /* and teaching nobody */
    assert_int_equal(stats_of(d).index_tokens, 170);
    spec_request_end(busy);
    spec_request_end(busy3);
    spec_request_end(busy4);
    assert_true(run_known(d, 1, 1, 20) && run_known(d, 3, 3, 20) && run_known(d, 4, 4, 20));
    assert_int_equal(run_known(d, 2, 2, 20), 0); /* takes a place: that of 1 */
    assert_int_equal(run_known(d, 1, 1, 20), 0); /* takes that of 3 */
    assert_true(run_known(d, 4, 4, 20) > 0);
    spec_drafter_free(d);
}

/* ---- limits of a draft ------------------------------------------------------------ */

/* The nodes of a draft of a text that goes on for long, under limits. */
static uint32_t drafted(spec_drafter *d, size_t n_said, size_t max_new, size_t max_context, uint32_t budget,
                        uint32_t depth, uint32_t cap) {
    spec_token prompt[10];
    for (size_t i = 0; i < 10; i++) prompt[i] = run_token(1, i);
    spec_request_info info = {.size = sizeof info,
                              .prompt = prompt,
                              .n_prompt = 10,
                              .max_new_tokens = max_new,
                              .max_context = max_context};
    spec_request *r;
    spec_tree t;
    assert_int_equal(spec_request_begin(d, &info, &r), 0);
    run_commit(r, 1, 10, n_said);
    assert_int_equal(spec_tree_init(&t, cap, 0, 0, NULL), 0);
    spec_propose_args a = {.size = sizeof a, .budget = budget, .max_depth = depth};
    assert_int_equal(spec_request_propose(r, &a, &t), 0);
    uint32_t n = t.n;
    for (uint32_t i = 0; i < n; i++) assert_true(t.token[i] == run_token(1, 10 + n_said + i));
    spec_request_end(r);
    spec_tree_release(&t, NULL);
    return n;
}

static void test_drafts_are_clipped(void **state) {
    (void)state;
    static const char *const specs[] = {"suffix:self=0,doubt=0", "suffix:tree=0,doubt=0",
                                        "suffix:preset=arctic"};
    for (size_t i = 0; i < 3; i++) {
        spec_drafter *d = drafting_open(specs[i], NULL);
        for (int k = 0; k < 30; k++) run_say(d, 0, 1, 100);
        assert_int_equal(drafted(d, 20, 0, 0, 0, 0, 12), 12);
        assert_int_equal(drafted(d, 20, 0, 0, 0, 0, 1), 1);
        assert_int_equal(drafted(d, 20, 0, 0, 1, 0, 12), 1);
        assert_int_equal(drafted(d, 20, 0, 0, 7, 0, 12), 7);
        assert_int_equal(drafted(d, 20, 0, 0, 50, 3, 12), 3);
        assert_int_equal(drafted(d, 20, 25, 0, 0, 0, 12),
                         4); /* 5 tokens left, the last by the target itself */
        assert_int_equal(drafted(d, 20, 22, 0, 0, 0, 12), 1);
        assert_int_equal(drafted(d, 20, 21, 0, 0, 0, 12), 0);
        assert_int_equal(drafted(d, 20, 20, 0, 0, 0, 12), 0);
        assert_int_equal(drafted(d, 20, 5, 0, 0, 0, 12), 0); /* over its limit */
        assert_int_equal(drafted(d, 20, 0, 36, 0, 0, 12), 5);
        assert_int_equal(drafted(d, 20, 0, 31, 0, 0, 12), 0);
        assert_int_equal(drafted(d, 20, 0, 3, 0, 0, 12), 0);
        assert_int_equal(drafted(d, 20, 25, 33, 6, 5, 12), 2); /* the narrowest of all */
        spec_drafter_free(d);
    }
}

static void test_empty_texts(void **state) {
    (void)state;
    static const char *const specs[] = {"suffix", "suffix:preset=arctic", "suffix:preset=coreml",
                                        "suffix:max_requests=2"};
    for (size_t i = 0; i < 4; i++) {
        spec_drafter *d = drafting_open(specs[i], NULL);
        spec_tree t;
        assert_int_equal(spec_tree_init(&t, 4, 0, 0, NULL), 0);
        for (int k = 0; k < 3; k++) {
            spec_request *r = drafting_begin(d, 0, NULL, 0);
            assert_int_equal(spec_request_propose(r, NULL, &t), 0);
            assert_true(t.n == 0 && t.match_len == 0 && t.score == 0);
            drafting_commit(r, NULL, 0);
            assert_int_equal(spec_request_propose(r, NULL, &t), 0);
            assert_true(t.n == 0 && t.match_len == 0);
            spec_request_end(r);
        }
        assert_int_equal(stats_of(d).index_tokens, 0);
        run_say(d, 0, 1, 30);
        assert_true(run_known(d, 0, 1, 20) > 0);
        spec_tree_release(&t, NULL);
        spec_drafter_free(d);
    }
}

/* ---- responses kept ---------------------------------------------------------------- */

/* After many responses: exactly the latest are known, and one place is the
 * asking request's own. */
static void keeps_latest(const char *spec, uint32_t n_kept) {
    spec_drafter *d = drafting_open(spec, NULL);
    const uint32_t n_said = 3 * n_kept + 5;
    for (uint32_t i = 1; i <= n_said; i++) run_say(d, 0, i, 100 + i);
    uint64_t tokens = 0;
    for (uint32_t i = n_said; i > n_said - n_kept; i--) tokens += 100 + i;
    assert_int_equal(stats_of(d).index_tokens, tokens);
    assert_int_equal(stats_of(d).evicted, n_kept ? n_said - n_kept : 0);
    spec_request *last = drafting_begin(d, 0, NULL, 0); /* makes the oldest go */
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, 4, 0, 0, NULL), 0);
    for (uint32_t i = 1; i <= n_said; i++) {
        run_commit(last, i, 40, 5);
        assert_int_equal(spec_request_propose(last, NULL, &t), 0);
        bool kept = i > n_said - n_kept + 1;
        if ((t.n > 0) != kept) fail_msg("%s: response %u of %u: %u nodes", spec, i, n_said, t.n);
        assert_true(!kept || t.token[0] == run_token(i, 45));
    }
    spec_request_end(last);
    spec_tree_release(&t, NULL);
    spec_drafter_free(d);
}

static void test_the_latest_responses_are_kept(void **state) {
    (void)state;
    keeps_latest("suffix:max_requests=0", 0);
    keeps_latest("suffix:max_requests=1", 1);
    keeps_latest("suffix:max_requests=2,learn=end", 2);
    keeps_latest("suffix:max_requests=50", 50);
}

/* Three places, the oldest response still being written. */
static void test_evicted_while_active(void **state) {
    (void)state;
    spec_drafter *d = drafting_open("suffix:max_requests=3", NULL);
    spec_request *old = drafting_begin(d, 0, NULL, 0);
    run_commit(old, 1, 0, 200);
    run_say(d, 0, 2, 50);
    run_say(d, 0, 3, 50);
    assert_int_equal(stats_of(d).index_tokens, 300);
    spec_request *new = drafting_begin(d, 0, NULL, 0); /* the fourth */
    assert_int_equal(stats_of(d).index_tokens, 100);
    run_commit(old, 1, 200, 100);
    assert_int_equal(stats_of(d).index_tokens, 100);
    run_commit(old, 1, 20, 8); /* goes on by its own text */
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, 4, 0, 0, NULL), 0);
    assert_int_equal(spec_request_propose(old, NULL, &t), 0);
    assert_true(t.n == 4 && t.source[0] == SPEC_SOURCE_OWN && t.token[0] == run_token(1, 28));
    run_commit(old, 2, 20, 8); /* and by what others have said */
    assert_int_equal(spec_request_propose(old, NULL, &t), 0);
    assert_true(t.n == 4 && t.source[0] == SPEC_SOURCE_SHARED && t.token[0] == run_token(2, 28));
    run_commit(new, 1, 200, 50); /* the text it was forgotten with is new to others */
    assert_int_equal(spec_request_propose(new, NULL, &t), 0);
    assert_int_equal(t.n, 0);
    assert_int_equal(stats_of(d).index_tokens, 150);
    spec_request_end(old);
    assert_int_equal(stats_of(d).index_tokens, 150);
    spec_request_end(new);
    spec_tree_release(&t, NULL);
    spec_drafter_free(d);
}

/* ---- memory -------------------------------------------------------------------------- */

#define MIB ((uint64_t)1 << 20)

/*
 * Texts for a full memory: stride k is the tokens 0, k, 2 k, ... modulo a prime.
 * All use the same few tokens, two neighbours tell whose they are, and what
 * follows x in stride k is x + k: a draft that joins what never stood together
 * gives itself away.
 */
#define PRIME     3001
#define N_STRIDES 60

static spec_token stride_token(uint32_t stride, size_t at) { return (spec_token)(at * stride % PRIME); }

static void stride_say(spec_drafter *d, uint32_t stride, size_t n) {
    spec_token tok[PRIME];
    for (size_t i = 0; i < n; i++) tok[i] = stride_token(stride, i);
    drafting_say(d, 0, tok, n);
}

/* Is a new request told what follows place `at` of a stride? */
static bool stride_known(spec_drafter *d, uint32_t stride, size_t at) {
    spec_token prompt[3];
    spec_tree t;
    for (size_t i = 0; i < 3; i++) prompt[i] = stride_token(stride, at - 2 + i);
    assert_int_equal(spec_tree_init(&t, 16, 0, 0, NULL), 0);
    drafting_ask(d, 0, prompt, 3, &t);
    for (uint32_t i = 0; i < t.n; i++) {
        spec_token before = t.parent[i] < 0 ? prompt[2] : t.token[t.parent[i]];
        assert_in_range((t.token[i] + PRIME - before) % PRIME, 1, N_STRIDES);
    }
    bool known = spec_tree_child(&t, -1, stride_token(stride, at + 1)) >= 0;
    spec_tree_release(&t, NULL);
    return known;
}

/* Many long responses under a limit; the first, a short one, is asked for all
 * the time when `use` says so. Whether it is still known at the end. */
static bool first_survives(const char *spec, bool use) {
    const uint64_t model = strncmp(spec, "mix", 3) == 0 ? MIB : 0, most = MIB + MIB / 64 + model;
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator a = support_alloc(&heap);
    spec_drafter *d = drafting_open(spec, &a);
    stride_say(d, 1, 300);
    for (uint32_t i = 2; i <= N_STRIDES; i++) {
        stride_say(d, i, PRIME - 1);
        assert_true(stride_known(d, i, 1500)); /* the latest always is */
        if (use) stride_known(d, 1, 100);
        spec_drafter_stats s = stats_of(d);
        assert_true(s.index_bytes < most && s.index_bytes <= heap.live_bytes);
    }
    spec_drafter_stats s = stats_of(d);
    assert_true(s.evicted > 40 && s.index_tokens > 5 * PRIME); /* what is evicted makes room */
    assert_false(stride_known(d, 2, 1500));
    bool known = stride_known(d, 1, 100);
    for (size_t at = 2; known && at < 299; at++) assert_true(stride_known(d, 1, at)); /* whole */
    spec_drafter_free(d);
    support_heap_assert_clean(&heap);
    return known;
}

static void test_memory_is_bounded(void **state) {
    (void)state;
    assert_false(first_survives("suffix:memory_mb=1", false));
    assert_false(first_survives("suffix:memory_mb=1", true)); /* first in, first out */
    assert_false(first_survives("suffix:memory_mb=1,evict=lru", false));
    assert_true(first_survives("suffix:memory_mb=1,evict=lru", true)); /* it is used */
    assert_false(first_survives("mix:memory_mb=1", true));
    assert_true(first_survives("mix:memory_mb=1,evict=lru", true));
}

/* A response is partly forgotten while it grows. It must not go on growing where
 * it was cut off: its early and its late tokens never stood together. */
static void grows_while_evicted(const char *spec) {
    spec_drafter *d = drafting_open(spec, NULL);
    spec_request *old = drafting_begin(d, 0, NULL, 0);
    size_t n = 4000, said = n;
    run_commit(old, 1, 0, n);
    uint32_t other = 2;
    for (; stats_of(d).index_tokens == said; said += 400) { /* (asking for it would be a use) */
        assert_true(other < 200);
        run_say(d, 0, other++, 400);
    }
    assert_int_equal(run_known(d, 0, 1, n - 2), 0);
    assert_true(run_known(d, 0, 1, 100) > 0); /* its beginning is still there */
    for (uint32_t i = 0; i < 5; i++, n += 60) {
        run_commit(old, 1, n, 60);
        run_say(d, 0, other++, 30);
    }
    for (size_t at = 2; at < n; at++) run_known(d, 0, 1, at); /* asserts that the next number follows */
    assert_int_equal(run_known(d, 0, 1, n - 20), 0);
    run_commit(old, 1, 3900, 8); /* it goes on by its own text */
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, 4, 0, 0, NULL), 0);
    assert_int_equal(spec_request_propose(old, NULL, &t), 0);
    assert_true(t.n == 4 && t.token[0] == run_token(1, 3908) && t.source[0] == SPEC_SOURCE_OWN);
    spec_request_end(old);
    spec_tree_release(&t, NULL);
    spec_drafter_free(d);
}

static void test_what_is_cut_off_does_not_grow(void **state) {
    (void)state;
    grows_while_evicted("suffix:memory_mb=1");
    grows_while_evicted("suffix:memory_mb=1,evict=lru");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_text_alone),
        cmocka_unit_test(test_others_texts_alone),
        cmocka_unit_test(test_the_tenant_idle_longest_is_forgotten),
        cmocka_unit_test(test_drafts_are_clipped),
        cmocka_unit_test(test_empty_texts),
        cmocka_unit_test(test_the_latest_responses_are_kept),
        cmocka_unit_test(test_evicted_while_active),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_what_is_cut_off_does_not_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

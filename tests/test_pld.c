/* SPDX-License-Identifier: MIT */
/* Prompt lookup against brute force: on random texts, grown in random pieces,
 * every draft must be the one that a search through the whole text gives. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "spec_drafter.h"

#define MAX_TEXT 400

typedef struct lookup_case {
    uint32_t n_max, n_min, len, budget, max_depth;
    bool first, wrap;
} lookup_case;

/* ---- brute force ---------------------------------------------------------------- */

static bool matches(const spec_token *tok, size_t end, size_t next, size_t n) {
    return next >= n && !memcmp(tok + next - n, tok + end - n, n * sizeof *tok);
}

/* Where the continuation begins, and the length of the match in *n (0 = none). */
static size_t search(const lookup_case *c, const spec_token *tok, size_t end, uint32_t *n) {
    for (*n = c->n_max; *n >= c->n_min; --*n) {
        size_t found = SIZE_MAX;
        for (size_t next = *n; next < end && *n <= end; next++) {
            if (!matches(tok, end, next, *n)) continue;
            if (!c->first)
                found = next;
            else if (found == SIZE_MAX && next + c->len <= end && next + *n < end)
                found = next;
        }
        if (found != SIZE_MAX) return found;
    }
    *n = 0;
    return 0;
}

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static void assert_draft(const lookup_case *c, const spec_token *tok, size_t end, const spec_tree *t) {
    spec_token want[64];
    uint32_t n, k = 0, limit = least(c->len, least(c->budget, c->max_depth ? c->max_depth : UINT32_MAX));
    size_t next = search(c, tok, end, &n);
    for (; n && k < limit && (c->wrap || next < end); k++, next++)
        want[k] = next < end ? tok[next] : want[next - end];
    assert_int_equal(t->n, k);
    assert_int_equal(t->match_len, n);
    float prob = 1, score = 0;
    for (uint32_t i = 0; i < k; i++) {
        prob *= (float)n / (float)(n + 1);
        score += prob;
        assert_int_equal(t->token[i], want[i]);
        assert_true(t->parent[i] == (int32_t)i - 1 && t->source[i] == SPEC_SOURCE_LOOKUP);
        assert_float_equal(t->prob[i], prob, 1e-6);
    }
    assert_float_equal(t->score, score, 1e-5);
    assert_int_equal(spec_tree_check(t, NULL), 0);
}

/* ---- random texts ------------------------------------------------------------------ */

static lookup_case random_case(support_rng *r) {
    lookup_case c = {.first = support_rng_chance(r, 0.5), .wrap = support_rng_chance(r, 0.5)};
    c.n_max = 1 + support_rng_below(r, support_rng_chance(r, 0.5) ? 4 : 16);
    c.n_min = 1 + support_rng_below(r, c.n_max);
    c.len = 1 + support_rng_below(r, 20);
    c.budget = 1 + support_rng_below(r, 20);
    c.max_depth = support_rng_below(r, 12);
    return c;
}

static spec_drafter *open_case(const lookup_case *c, const spec_allocator *a) {
    char spec[128];
    spec_drafter *d;
    spec_message why;
    snprintf(spec, sizeof spec, "pld:n_max=%u,n_min=%u,len=%u,match=%s,wrap=%d", c->n_max, c->n_min, c->len,
             c->first ? "first" : "recent", c->wrap);
    if (spec_drafter_open(&d, spec, a, &why)) fail_msg("%s", why.text);
    return d;
}

static void random_text(support_rng *r, spec_token *tok, size_t n) {
    static const uint32_t alphabets[] = {1, 2, 4, 50, 50000};
    uint32_t alphabet = alphabets[support_rng_below(r, 5)];
    for (size_t i = 0; i < n; i++) {
        bool copy = i > 40 && support_rng_chance(r, 0.7); /* repeats at some distance */
        tok[i] = copy ? tok[i - 37] : (spec_token)support_rng_below(r, alphabet);
    }
}

static void follow_text(support_rng *r, const lookup_case *c, const spec_token *tok) {
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator a = support_alloc(&heap);
    spec_drafter *d = open_case(c, &a);
    size_t at = support_rng_below(r, 100);
    spec_request_info info = {.size = sizeof info, .prompt = tok, .n_prompt = at};
    spec_request *q;
    spec_tree t;
    assert_int_equal(spec_request_begin(d, &info, &q), 0);
    assert_int_equal(spec_tree_init(&t, 32, 0, 0, &a), 0);
    while (at < MAX_TEXT) {
        spec_propose_args args = {.size = sizeof args, .budget = c->budget, .max_depth = c->max_depth};
        assert_int_equal(spec_request_propose(q, &args, &t), 0);
        assert_draft(c, tok, at, &t);
        size_t n = 1 + support_rng_below(r, support_rng_chance(r, 0.05) ? 100 : 6);
        if (n > MAX_TEXT - at) n = MAX_TEXT - at;
        assert_int_equal(spec_request_commit(q, tok + at, n), 0);
        at += n;
    }
    spec_request_end(q);
    spec_tree_release(&t, &a);
    spec_drafter_free(d);
    support_heap_assert_clean(&heap);
}

static void test_drafts_equal_brute_force(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 40);
    for (int i = 0; i < 600; i++) {
        spec_token tok[MAX_TEXT];
        lookup_case c = random_case(&r);
        random_text(&r, tok, MAX_TEXT);
        follow_text(&r, &c, tok);
    }
}

/* ---- the rule of Spec-Bench, worked by hand ------------------------------------------- */

static void test_first_wants_a_full_window_before_the_tail(void **state) {
    (void)state;
    const spec_token tok[] = {9, 1, 2, 3, 4, 9, 5, 6, 7, 8, 9};
    const lookup_case whole = {.n_max = 1, .n_min = 1, .len = 4, .budget = 8, .first = true};
    lookup_case longer = whole;
    longer.len = 11; /* nowhere are there so many tokens */
    for (int i = 0; i < 2; i++) {
        spec_drafter *d = open_case(i ? &longer : &whole, NULL);
        spec_request_info info = {.size = sizeof info, .prompt = tok, .n_prompt = 11};
        spec_request *q;
        spec_tree t;
        assert_int_equal(spec_request_begin(d, &info, &q), 0);
        assert_int_equal(spec_tree_init(&t, 8, 0, 0, NULL), 0);
        assert_int_equal(spec_request_propose(q, NULL, &t), 0);
        assert_int_equal(t.n, i ? 0 : 4);
        for (uint32_t k = 0; k < t.n; k++) assert_int_equal(t.token[k], k + 1);
        spec_request_end(q);
        spec_tree_release(&t, NULL);
        spec_drafter_free(d);
    }
}

/* ---- memory ------------------------------------------------------------------------------ */

static void test_memory_follows_the_text(void **state) {
    (void)state;
    enum { N = 100000 };
    spec_token *tok = malloc(N * sizeof *tok);
    support_rng r = support_rng_new(support_seed(), 41);
    for (size_t i = 0; i < N; i++) tok[i] = (spec_token)(support_rng_next(&r) >> 33);
    spec_drafter *d;
    spec_request *q;
    spec_drafter_stats s;
    assert_int_equal(spec_drafter_open(&d, "pld", NULL, NULL), 0);
    spec_drafter_get_stats(d, &s);
    uint64_t empty = s.index_bytes;
    spec_request_info info = {.size = sizeof info, .prompt = tok, .n_prompt = N};
    assert_int_equal(spec_request_begin(d, &info, &q), 0);
    spec_drafter_get_stats(d, &s);
    assert_in_range(s.index_bytes, (uint64_t)N * 4, (uint64_t)N * 64);
    spec_request_end(q);
    spec_drafter_get_stats(d, &s);
    assert_int_equal(s.index_bytes, empty);
    spec_drafter_free(d);
    free(tok);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drafts_equal_brute_force),
        cmocka_unit_test(test_first_wants_a_full_window_before_the_tail),
        cmocka_unit_test(test_memory_follows_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * ngram-mod: against a list of what the table was told, and the rules by which
 * it is emptied. The table does not compare tokens, so a few drafts may differ
 * from the list by collisions; their number is bounded.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "spec_drafter.h"

static spec_drafter *open_mod(const char *spec) {
    spec_drafter *d;
    spec_message why;
    if (spec_drafter_open(&d, spec, NULL, &why)) fail_msg("%s", why.text);
    return d;
}

static spec_request *begin(spec_drafter *d, const spec_token *prompt, size_t n) {
    spec_request *q;
    spec_request_info info = {.size = sizeof info, .prompt = prompt, .n_prompt = n};
    assert_int_equal(spec_request_begin(d, &info, &q), 0);
    return q;
}

static void propose(spec_request *q, uint32_t budget, spec_tree *t) {
    spec_propose_args a = {.size = sizeof a, .budget = budget};
    assert_int_equal(spec_request_propose(q, &a, t), 0);
    assert_int_equal(spec_tree_check(t, NULL), 0);
}

static void random_tokens(support_rng *r, spec_token *tok, size_t n) {
    for (size_t i = 0; i < n; i++) tok[i] = (spec_token)(support_rng_next(r) >> 33);
}

/* How many tokens of tok[n_prompt..n) a new request on the prompt is drafted. */
static uint32_t recalled(spec_drafter *d, const spec_token *tok, size_t n_prompt, size_t n) {
    spec_tree t;
    uint32_t k = 0;
    spec_request *q = begin(d, tok, n_prompt);
    assert_int_equal(spec_tree_init(&t, (uint32_t)(n - n_prompt), 0, 0, NULL), 0);
    propose(q, 0, &t);
    while (k < t.n && t.token[k] == tok[n_prompt + k]) k++;
    spec_request_end(q);
    spec_tree_release(&t, NULL);
    return k;
}

static uint64_t entries(spec_drafter *d) {
    spec_drafter_stats s;
    spec_drafter_get_stats(d, &s);
    return s.index_tokens;
}

/* ---- against a list ------------------------------------------------------------------ */

#define N 4 /* tokens in a window */

typedef struct told {
    spec_token gram[20000][N + 1]; /* the window and what came next, in order */
    size_t n;
} told;

static void tell(told *w, const spec_token *tok, size_t from, size_t to) {
    for (size_t i = from < N ? N : from; i < to; i++) memcpy(w->gram[w->n++], tok + i - N, sizeof w->gram[0]);
}

/* The latest token told after a window, or -1. */
static spec_token ask(const told *w, const spec_token *window) {
    for (size_t i = w->n; i-- > 0;)
        if (!memcmp(w->gram[i], window, N * sizeof *window)) return w->gram[i][N];
    return -1;
}

/* The number of places where the draft and the list disagree: 0 or 1. */
static size_t compare(const told *w, const spec_token *tok, size_t end, uint32_t limit, const spec_tree *t) {
    spec_token both[700];
    memcpy(both, tok, end * sizeof *tok);
    for (uint32_t k = 0; k < limit; k++) {
        spec_token want = end + k >= N ? ask(w, both + end + k - N) : -1;
        spec_token got = k < t->n ? t->token[k] : -1;
        if (want != got) return 1;
        if (want < 0) break;
        assert_float_equal(t->prob[k], k ? t->prob[k - 1] * N / (N + 1) : (double)N / (N + 1), 1e-6);
        both[end + k] = want;
    }
    return 0;
}

/* One request: returns the number of drafts that differ from the list. */
static size_t play_request(support_rng *r, spec_drafter *d, told *w, size_t *nodes) {
    spec_token tok[600];
    size_t at = support_rng_below(r, 200), differ = 0;
    for (size_t i = 0; i < 600; i++)
        tok[i] = i > 30 && support_rng_chance(r, 0.8) ? tok[i - 29] : (spec_token)support_rng_below(r, 5);
    spec_request *q = begin(d, tok, at);
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, 30, 0, 0, NULL), 0);
    tell(w, tok, 0, at);
    while (at < 600) {
        uint32_t budget = 1 + support_rng_below(r, 30);
        propose(q, budget, &t);
        differ += compare(w, tok, at, budget < 20 ? budget : 20, &t);
        *nodes += t.n;
        size_t k = 1 + support_rng_below(r, 8);
        if (k > 600 - at) k = 600 - at;
        assert_int_equal(spec_request_commit(q, tok + at, k), 0);
        tell(w, tok, at, at + k);
        at += k;
    }
    spec_request_end(q);
    spec_tree_release(&t, NULL);
    return differ;
}

static void test_drafts_follow_the_latest_text(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 60);
    told *w = calloc(1, sizeof *w);
    spec_drafter *d = open_mod("ngram-mod:n=4,len=20,min=0,size_mb=16");
    size_t differ = 0, nodes = 0;
    for (int i = 0; i < 20; i++) differ += play_request(&r, d, w, &nodes);
    assert_true(nodes > 10000);
    assert_true(differ <= 5); /* 625 windows in 4 million places: hardly any collision */
    spec_drafter_free(d);
    d = open_mod("ngram-mod:n=4,len=20,min=0,shared=0");
    for (int i = 0; i < 5; i++) {
        w->n = 0; /* nothing is kept from request to request */
        assert_int_equal(play_request(&r, d, w, &nodes), 0);
    }
    assert_int_equal(entries(d), 0);
    spec_drafter_free(d);
    free(w);
}

/* ---- lengths --------------------------------------------------------------------------- */

static void test_short_drafts_are_not_proposed(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 61);
    spec_token tok[200];
    spec_tree t;
    random_tokens(&r, tok, 100);
    memcpy(tok + 100, tok, 100 * sizeof *tok);
    assert_int_equal(spec_tree_init(&t, 200, 0, 0, NULL), 0);
    spec_drafter *d = open_mod("ngram-mod");
    spec_request *q = begin(d, tok, 100 + 30); /* 70 known tokens follow, then round again */
    propose(q, 0, &t);
    assert_true(t.n == 64 && t.match_len == 24 && !memcmp(t.token, tok + 30, 64 * sizeof *tok));
    propose(q, 10, &t);
    assert_int_equal(t.n, 10); /* the budget made it short */
    spec_request_end(q);
    spec_drafter_free(d);
    const char *const specs[] = {"ngram-mod:min=48", "ngram-mod:min=40", "ngram-mod:min=0"};
    for (int i = 0; i < 3; i++) {
        d = open_mod(specs[i]);
        spec_request_end(begin(d, tok, 100));
        q = begin(d, tok + 55 - 24, 24); /* 45 known tokens follow */
        propose(q, 0, &t);
        assert_int_equal(t.n, i ? 45 : 0);
        propose(q, 45, &t);
        assert_int_equal(t.n, 45);
        spec_request_end(q);
        spec_drafter_free(d);
    }
    spec_tree_release(&t, NULL);
}

/* ---- emptying ---------------------------------------------------------------------------- */

static void test_the_table_is_never_more_than_a_quarter_full(void **state) {
    (void)state;
    enum { TOKENS = 300000, QUARTER = 65536, PIECE = 50 };
    support_rng r = support_rng_new(support_seed(), 62);
    spec_token *tok = malloc(TOKENS * sizeof *tok);
    random_tokens(&r, tok, TOKENS);
    spec_drafter *d = open_mod("ngram-mod:n=8,size_mb=1,min=0,len=40");
    spec_request *q = begin(d, NULL, 0);
    uint64_t before = 0;
    size_t cleared = 0, asked = 0, known = 0;
    for (size_t at = 0; at < TOKENS; at += PIECE) {
        assert_int_equal(spec_request_commit(q, tok + at, PIECE), 0);
        uint64_t now = entries(d);
        assert_true(now <= QUARTER);
        cleared += now < before;
        before = now;
        if (at < 1000 || at % 5000 || now + 10 > QUARTER) continue; /* else the asking empties it */
        asked++;
        known += recalled(d, tok + at - 60, 10, 40) == 30; /* what was said lately */
    }
    assert_true(cleared >= 4 && cleared <= 12);
    assert_true(asked > 40 && known + 8 >= asked); /* a collision loses one in a hundred */
    spec_request_end(q);
    assert_true(recalled(d, tok, 10, 40) < 30); /* what was said first is not */
    q = begin(d, tok, TOKENS);                  /* a prompt that is larger than the table */
    assert_true(entries(d) <= QUARTER);
    spec_request_end(q);
    assert_true(recalled(d, tok + TOKENS - 60, 10, 40) == 30 ||
                recalled(d, tok + TOKENS - 160, 10, 40) == 30);
    spec_drafter_free(d);
    free(tok);
}

/* Reports a draft of 10 nodes of which `good` were accepted. */
static void report(spec_request *q, uint32_t good) {
    spec_tree t;
    uint8_t accepted[10] = {0};
    assert_int_equal(spec_tree_init(&t, 10, 0, 0, NULL), 0);
    for (int32_t i = 0; i < 10; i++) spec_tree_add(&t, i - 1, 1, 1, 0);
    for (uint32_t i = 0; i < good; i++) accepted[i] = 1;
    const spec_token one = 1;
    spec_outcome o = {
        .size = sizeof o, .committed = &one, .n_committed = 1, .tree = &t, .accepted = accepted};
    assert_int_equal(spec_request_observe(q, &o), 0);
    spec_tree_release(&t, NULL);
}

static void test_poor_drafts_in_a_row_empty_the_table(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 63);
    spec_token old[100], own[100];
    random_tokens(&r, old, 100);
    random_tokens(&r, own, 100);
    spec_drafter *d = open_mod("ngram-mod:n=8,min=0");
    spec_request_end(begin(d, old, 100));
    spec_request *q = begin(d, own, 100);
    for (int i = 0; i < 5; i++) { /* two poor ones and a good one, five times */
        report(q, 4);
        report(q, 0);
        report(q, 5);
    }
    report(q, 4);
    report(q, 4);
    const spec_token tok[3] = {1, 1, 1};
    assert_int_equal(spec_request_commit(q, tok, 3), 0); /* no draft, no matter */
    assert_int_equal(recalled(d, old, 20, 60), 40);
    report(q, 4);
    assert_int_equal(recalled(d, old, 20, 60), 0);
    assert_int_equal(recalled(d, own, 20, 60), 40); /* it entered its own text again */
    spec_request_end(q);
    spec_drafter_free(d);
    d = open_mod("ngram-mod:n=8,min=0,streak=0");
    spec_request_end(begin(d, old, 100));
    q = begin(d, own, 100);
    for (int i = 0; i < 20; i++) report(q, 0);
    assert_int_equal(recalled(d, old, 20, 60), 40);
    spec_request_end(q);
    spec_drafter_free(d);
}

/* ---- a table of one's own ------------------------------------------------------------------ */

static void test_own_tables_grow_with_the_text(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 64);
    spec_token tok[4000];
    spec_tree t;
    spec_drafter_stats s;
    size_t last = 0;
    random_tokens(&r, tok, 4000);
    assert_int_equal(spec_tree_init(&t, 40, 0, 0, NULL), 0);
    spec_drafter *d = open_mod("ngram-mod:n=8,min=0,shared=0");
    spec_request *q = begin(d, NULL, 0);
    spec_drafter_get_stats(d, &s);
    assert_true(s.index_bytes < 5000); /* nothing large for a small request */
    for (size_t at = 0; at < 4000; at += 40) {
        assert_int_equal(spec_request_commit(q, tok + at, 40), 0);
        spec_drafter_get_stats(d, &s);
        last = s.index_bytes;
    }
    assert_in_range(last, 4000 * 20, 4000 * 100);
    assert_int_equal(spec_request_commit(q, tok + 1000, 20), 0); /* all of the text is still known */
    propose(q, 40, &t);
    assert_true(t.n == 40 && !memcmp(t.token, tok + 1020, 40 * sizeof *tok));
    spec_request *other = begin(d, tok, 100);
    assert_int_equal(recalled(d, tok, 50, 90), 0); /* and by nobody else */
    spec_request_end(other);
    spec_request_end(q);
    spec_tree_release(&t, NULL);
    spec_drafter_free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drafts_follow_the_latest_text),
        cmocka_unit_test(test_short_drafts_are_not_proposed),
        cmocka_unit_test(test_the_table_is_never_more_than_a_quarter_full),
        cmocka_unit_test(test_poor_drafts_in_a_row_empty_the_table),
        cmocka_unit_test(test_own_tables_grow_with_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

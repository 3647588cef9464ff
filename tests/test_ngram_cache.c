/* SPDX-License-Identifier: MIT */
/*
 * ngram-cache against brute force: the counts are taken again for every token
 * drafted, by a walk through all texts. And what the bound on shared memory does.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "spec_drafter.h"

/* ---- brute force ------------------------------------------------------------------ */

typedef struct text {
    spec_token *tok;
    size_t n;
} text;

typedef struct tally {
    uint32_t total, best_count, count[64]; /* by token */
    spec_token best;
} tally;

/* Counts what follows gram[0..n) in a text, from place `from` on. */
static void count_text(tally *y, const text *t, const spec_token *gram, size_t n) {
    for (size_t i = n; i < t->n; i++) {
        if (memcmp(t->tok + i - n, gram, n * sizeof *gram)) continue;
        spec_token next = t->tok[i];
        y->total++;
        if (++y->count[next] > y->best_count) {
            y->best_count = y->count[next];
            y->best = next;
        }
    }
}

/* The token that a cache of these texts gives after tail[0..n_tail), or -1;
 * its share of the counts, and the length of the n-gram. */
static spec_token ask(const text *t, size_t n_texts, const spec_token *tail, size_t n_tail, bool strict,
                      double *share, uint32_t *n_gram) {
    static const uint32_t least[2][4] = {{2, 2, 1, 1}, {4, 3, 2, 2}},
                          percent[2][4] = {{66, 50, 50, 50}, {75, 66, 66, 66}};
    for (size_t n = n_tail < 4 ? n_tail : 4; n > 0; n--) {
        tally y = {0};
        for (size_t i = 0; i < n_texts; i++) count_text(&y, &t[i], tail + n_tail - n, n);
        if (!y.total || y.total < least[strict][n - 1] ||
            y.best_count * 100 < y.total * percent[strict][n - 1])
            continue;
        *share = (double)y.best_count / y.total;
        *n_gram = (uint32_t)n;
        return y.best;
    }
    return -1;
}

/* A tenant's responses so far and the text of the request at hand. */
typedef struct world {
    text response[40];
    size_t n_responses;
    text own;
} world;

static void assert_draft(const world *w, uint32_t limit, const spec_tree *t) {
    spec_token text_and_draft[1000];
    double prob = 1, share = 0;
    size_t end = w->own.n;
    uint32_t n_gram = 0, k = 0;
    memcpy(text_and_draft, w->own.tok, end * sizeof *text_and_draft);
    for (; k < limit; k++) {
        spec_token next = ask(&w->own, 1, text_and_draft, end, false, &share, &n_gram);
        if (next < 0) next = ask(w->response, w->n_responses, text_and_draft, end, true, &share, &n_gram);
        if (next < 0) break;
        assert_true(k < t->n);
        assert_int_equal(t->token[k], next);
        prob *= share;
        assert_float_equal(t->prob[k], prob, 1e-5);
        assert_true(t->parent[k] == (int32_t)k - 1 && t->source[k] == SPEC_SOURCE_NGRAM);
        if (!k) assert_int_equal(t->match_len, n_gram);
        text_and_draft[end++] = next;
    }
    assert_int_equal(t->n, k);
    assert_int_equal(spec_tree_check(t, NULL), 0);
}

/* ---- random requests ------------------------------------------------------------------ */

static void random_tokens(support_rng *r, spec_token *tok, size_t n, uint32_t alphabet) {
    for (size_t i = 0; i < n; i++) {
        bool copy = i > 20 && support_rng_chance(r, 0.6);
        tok[i] =
            copy ? tok[i - 1 - support_rng_below(r, 2) - 11] : (spec_token)support_rng_below(r, alphabet);
    }
}

/* One request; its response joins the world's when `shared`. Returns how many nodes came. */
static size_t play_request(support_rng *r, spec_drafter *d, world *w, uint32_t alphabet, bool shared) {
    spec_token tok[300];
    size_t n_prompt = support_rng_below(r, 120), n = n_prompt + support_rng_below(r, 180), nodes = 0;
    random_tokens(r, tok, n, alphabet);
    spec_request_info info = {.size = sizeof info, .tenant = 3, .prompt = tok, .n_prompt = n_prompt};
    spec_request *q;
    spec_tree t;
    assert_int_equal(spec_request_begin(d, &info, &q), 0);
    assert_int_equal(spec_tree_init(&t, 24, 0, 0, NULL), 0);
    for (size_t at = n_prompt;;) {
        w->own = (text){tok, at};
        uint32_t budget = 1 + support_rng_below(r, 24);
        spec_propose_args args = {.size = sizeof args, .budget = budget};
        assert_int_equal(spec_request_propose(q, &args, &t), 0);
        assert_draft(w, budget < 16 ? budget : 16, &t);
        nodes += t.n;
        if (at == n) break;
        size_t k = 1 + support_rng_below(r, 5);
        if (k > n - at) k = n - at;
        assert_int_equal(spec_request_commit(q, tok + at, k), 0);
        at += k;
    }
    spec_request_end(q);
    spec_tree_release(&t, NULL);
    if (!shared) return nodes;
    text *said = &w->response[w->n_responses++];
    said->n = n - n_prompt;
    said->tok = malloc(said->n * sizeof *tok + 1);
    memcpy(said->tok, tok + n_prompt, said->n * sizeof *tok);
    return nodes;
}

static void test_drafts_equal_brute_force(void **state) {
    (void)state;
    static const uint32_t alphabets[] = {1, 2, 4, 20, 64};
    support_rng r = support_rng_new(support_seed(), 50);
    for (uint32_t i = 0; i < 20; i++) {
        bool shared = i % 4 != 3;
        world w = {.n_responses = 0};
        spec_drafter *d;
        size_t nodes = 0;
        assert_int_equal(spec_drafter_open(&d, shared ? "ngram-cache" : "ngram-cache:shared=0", NULL, NULL),
                         0);
        for (int k = 0; k < 8; k++) nodes += play_request(&r, d, &w, alphabets[i % 5], shared);
        assert_true(nodes > 100);
        spec_drafter_stats s;
        size_t tokens = 0;
        for (size_t k = 0; k < w.n_responses; k++) {
            tokens += w.response[k].n;
            free(w.response[k].tok);
        }
        spec_drafter_get_stats(d, &s);
        assert_int_equal(s.index_tokens, tokens);
        spec_drafter_free(d);
    }
}

/* ---- thresholds, worked by hand ------------------------------------------------------------- */

/* Writes `total` occurrences of gram[0..n), of which `best` are followed by 7 and
 * each other one by a token of its own. A new token stands before each. */
static size_t write_occurrences(spec_token *tok, const spec_token *gram, size_t n, uint32_t total,
                                uint32_t best) {
    size_t k = 0;
    for (uint32_t i = 0; i < total; i++) {
        tok[k++] = (spec_token)(10000 + i);
        for (size_t j = 0; j < n; j++) tok[k++] = gram[j];
        tok[k++] = i < best ? 7 : (spec_token)(20000 + i);
    }
    return k;
}

/* Whether 7 is drafted after gram[0..n) where the given occurrences stand in the
 * request's own prompt, or in a response of an earlier request. */
static bool passes(bool strict, size_t n, uint32_t total, uint32_t best) {
    static const spec_token gram[4] = {1, 2, 3, 4};
    spec_token tok[400];
    spec_drafter *d;
    spec_request *q;
    spec_tree t;
    size_t k = write_occurrences(tok, gram, n, total, best);
    assert_int_equal(spec_drafter_open(&d, "ngram-cache:len=1", NULL, NULL), 0);
    if (strict) {
        assert_int_equal(spec_request_begin(d, NULL, &q), 0);
        assert_int_equal(spec_request_commit(q, tok, k), 0);
        spec_request_end(q);
        k = 0;
    }
    tok[k++] = 30000;
    for (size_t j = 0; j < n; j++) tok[k++] = gram[j];
    spec_request_info info = {.size = sizeof info, .prompt = tok, .n_prompt = k};
    assert_int_equal(spec_request_begin(d, &info, &q), 0);
    assert_int_equal(spec_tree_init(&t, 4, 0, 0, NULL), 0);
    assert_int_equal(spec_request_propose(q, NULL, &t), 0);
    bool drafted = t.n == 1 && t.token[0] == 7 && t.match_len == n;
    assert_true(drafted || !t.n);
    spec_request_end(q);
    spec_tree_release(&t, NULL);
    spec_drafter_free(d);
    return drafted;
}

static void test_thresholds(void **state) {
    (void)state;
    static const uint32_t least[2][4] = {{2, 2, 1, 1}, {4, 3, 2, 2}};
    static const uint32_t of_fifty[2][4] = {{33, 25, 25, 25},
                                            {38, 33, 33, 33}}; /* 66%, 50%, ...; 75%, 66%, ... */
    for (int strict = 0; strict < 2; strict++) {
        for (size_t n = 1; n <= 4; n++) {
            uint32_t total = least[strict][n - 1], share = of_fifty[strict][n - 1];
            assert_true(passes(strict, n, total, total));
            assert_false(passes(strict, n, total - 1, total - 1));
            assert_true(passes(strict, n, 50, share));
            assert_false(passes(strict, n, 50, share - 1));
        }
    }
}

/* ---- the bound on shared memory ----------------------------------------------------------- */

/* A request that says tok[0..n) to an empty prompt. */
static void say(spec_drafter *d, const spec_token *tok, size_t n) {
    spec_request *q;
    assert_int_equal(spec_request_begin(d, NULL, &q), 0);
    assert_int_equal(spec_request_commit(q, tok, n), 0);
    spec_request_end(q);
}

/* How much of tok[4..n) is drafted, given its first four tokens as the prompt. */
static uint32_t recalled(spec_drafter *d, const spec_token *tok, uint32_t n) {
    spec_request *q;
    spec_tree t;
    uint32_t k = 0;
    spec_request_info info = {.size = sizeof info, .prompt = tok, .n_prompt = 4};
    assert_int_equal(spec_request_begin(d, &info, &q), 0);
    assert_int_equal(spec_tree_init(&t, n - 4, 0, 0, NULL), 0);
    assert_int_equal(spec_request_propose(q, NULL, &t), 0);
    while (k < t.n && t.token[k] == tok[4 + k]) k++;
    spec_request_end(q);
    spec_tree_release(&t, NULL);
    return k;
}

static void test_shared_memory_is_bounded(void **state) {
    (void)state;
    enum { N = 40, ROUNDS = 3000 };
    support_rng r = support_rng_new(support_seed(), 51);
    spec_drafter *d;
    spec_drafter_stats s;
    spec_token first[N], tok[N], before[N];
    uint64_t most = 0;
    assert_int_equal(spec_drafter_open(&d, "ngram-cache:size_mb=1", NULL, NULL), 0);
    for (size_t i = 0; i < N; i++) first[i] = (spec_token)i;
    for (int k = 0; k < 4; k++) say(d, first, N); /* strict thresholds want it more than once */
    assert_true(recalled(d, first, 20) == 16);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < N; i++) tok[i] = (spec_token)(support_rng_next(&r) >> 33);
        for (int k = 0; k < 4; k++) say(d, tok, N);
        assert_int_equal(recalled(d, tok, 20), 16);               /* the latest is always known */
        if (round) assert_int_equal(recalled(d, before, 20), 16); /* in the older generation at times */
        memcpy(before, tok, sizeof tok);
        spec_drafter_get_stats(d, &s);
        if (s.index_bytes > most) most = s.index_bytes;
    }
    assert_true(most <= (1u << 20) + 20000);
    assert_true(most > (1u << 20) / 2); /* the limit was met */
    assert_true(s.index_tokens < (uint64_t)ROUNDS * N * 4);
    assert_int_equal(recalled(d, first, 20), 0); /* the oldest is forgotten */
    spec_drafter_free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drafts_equal_brute_force),
        cmocka_unit_test(test_thresholds),
        cmocka_unit_test(test_shared_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The drafter mix, from outside: its drafts are trees within their limits, a text
 * that repeats itself is drafted whole, what one request learns stays where it
 * belongs, and the same calls give the same drafts. What it learns is saved
 * in test_mix_corpus.c and measured in test_mix_gain.c.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mix_world.h"
#include "spec_index.h"

#define N_TEXT 400

static spec_drafter_stats stats_of(spec_drafter *d) {
    spec_drafter_stats s;
    spec_drafter_get_stats(d, &s);
    return s;
}

/* ---- drafts -------------------------------------------------------------- */

/* Limits, sources, the order of siblings and the score; the shape has been checked. */
static void check_draft(const char *spec, const spec_tree *t, const spec_propose_args *a) {
    const char *option = strstr(spec, "min_prob=");
    const double least = option ? atof(option + 9) : 0.0002;
    double score = 0;
    if (a->budget) assert_true(t->n <= a->budget);
    if (a->max_depth) assert_true(drafting_depth(t) <= a->max_depth);
    for (uint32_t i = 0; i < t->n; i++) {
        bool own = t->source[i] == SPEC_SOURCE_OWN, shared = t->source[i] == SPEC_SOURCE_SHARED;
        assert_true((own && !strstr(spec, "own=0")) || (shared && !strstr(spec, "shared=0")));
        assert_true(t->prob[i] >= a->min_prob && t->prob[i] >= (float)least && t->q_row[i] == -1);
        for (uint32_t j = 0; j < i; j++)
            assert_true(t->parent[j] != t->parent[i] || t->prob[j] >= t->prob[i]);
        score += t->prob[i];
    }
    if (fabs(score - t->score) > 1e-3) fail_msg("%s: score %g of %g", spec, t->score, score);
    if (t->n) assert_true(t->match_len > 0);
}

static size_t play_any(const char *spec, const mix_source *source, support_rng *rng) {
    size_t nodes = 0;
    spec_drafter *d = drafting_open(spec, NULL);
    for (int request = 0; request < 6; request++) {
        static spec_token tok[N_TEXT];
        mix_run m;
        mix_text(source, rng, tok, N_TEXT);
        mix_begin(&m, d, request % 2, tok, support_rng_below(rng, 30), N_TEXT);
        for (bool more = true; more;) {
            const float least = support_rng_chance(rng, 0.5) ? (float)support_rng_unit(rng) : 0;
            spec_propose_args a = {.size = sizeof a,
                                   .budget = support_rng_below(rng, 40),
                                   .max_depth = support_rng_below(rng, 9),
                                   .min_prob = least * least};
            mix_propose(&m, &a);
            check_draft(spec, &m.tree, &a);
            more = mix_observe(&m);
        }
        mix_end(&m);
        nodes += m.nodes;
    }
    spec_drafter_free(d);
    return nodes;
}

static void test_drafts_are_trees_within_their_limits(void **state) {
    (void)state;
    static const char *const specs[] = {
        "mix",         "mix:shared=0,priors=none",     "mix:own=0,min_prob=0.2",
        "mix:nodes=7", "mix:learn=end,sure=0,depth=5", "mix:depth=2,min_prob=0"};
    static const uint32_t vocabs[] = {1, 2, 6, 60, 30000};
    support_rng rng = support_rng_new(support_seed(), 200);
    for (size_t i = 0; i < 6; i++)
        for (size_t v = 0; v < 5; v++) {
            const mix_source s = {.world = v, .vocab = vocabs[v], .phrases = 8, .noise = 20};
            if (!play_any(specs[i], &s, &rng))
                fail_msg("%s drafts nothing of %u tokens", specs[i], vocabs[v]);
        }
}

/* The options limit a draft as arguments do. */
static void test_options_limit_a_draft(void **state) {
    (void)state;
    const mix_source s = {.world = 3, .vocab = 30, .phrases = 8, .noise = 20};
    spec_token tok[N_TEXT];
    support_rng rng = support_rng_new(support_seed(), 201);
    mix_text(&s, &rng, tok, N_TEXT);
    static const uint32_t nodes[] = {1, 3, 32};
    for (size_t i = 0; i < 3; i++) {
        char spec[40];
        mix_run m;
        uint32_t most = 0;
        snprintf(spec, sizeof spec, "mix:nodes=%u", nodes[i]);
        spec_drafter *d = drafting_open(spec, NULL);
        mix_begin(&m, d, 0, tok, 40, N_TEXT);
        do {
            mix_propose(&m, NULL);
            most = m.tree.n > most ? m.tree.n : most;
        } while (mix_observe(&m));
        assert_int_equal(most, nodes[i]);
        mix_end(&m);
        spec_drafter_free(d);
    }
    spec_drafter *most = drafting_open("mix:min_prob=0", NULL),
                 *some = drafting_open("mix:min_prob=0.3", NULL);
    mix_run all = mix_decode(most, 0, tok, 10, N_TEXT, 32), few = mix_decode(some, 0, tok, 10, N_TEXT, 32);
    assert_true(few.nodes > 0 && 3 * few.nodes < all.nodes);
    spec_drafter_free(most);
    spec_drafter_free(some);
}

/* ---- texts whose every neighbourhood is known ------------------------------ */

static void test_a_known_text_is_drafted_whole(void **state) {
    (void)state;
    static const char *const specs[] = {"mix", "mix:priors=none", "mix:own=0", "mix:cross_tenant=1"};
    for (size_t i = 0; i < 4; i++) {
        spec_drafter *d = drafting_open(specs[i], NULL);
        spec_tree t;
        for (uint32_t run = 1; run < 20; run++) {
            spec_token tok[100];
            for (size_t k = 0; k < 100; k++) tok[k] = run_token(run, k);
            for (int times = 0; times < 6; times++) (void)mix_decode(d, 0, tok, 0, 100, 16);
        }
        for (uint32_t run = 1; run < 20; run++) assert_int_equal(run_known(d, 0, run, 2 + 3 * run), 16);
        const spec_token prompt[] = {run_token(7, 30), run_token(7, 31), run_token(7, 32), run_token(7, 33)};
        drafting_tree(&t, 16);
        drafting_ask(d, 0, prompt, 4, &t);
        assert_int_equal(t.match_len, 4);
        if (t.n != 16 || t.prob[15] < 0.9f) fail_msg("%s: %u nodes, the last %g", specs[i], t.n, t.prob[15]);
        spec_tree_release(&t, NULL);
        spec_drafter_free(d);
    }
}

/* The request's own text, where nothing else is known. */
static void test_own_text_is_drafted_whole(void **state) {
    (void)state;
    spec_drafter *d = drafting_open("mix:shared=0", NULL);
    for (size_t round = 1; round < 4; round++) {
        mix_run m;
        spec_token tok[300];
        for (size_t i = 0; i < 300; i++) tok[i] = run_token(1, i % 50);
        mix_begin(&m, d, 0, tok, 60 * round, 300);
        mix_propose(&m, NULL);
        assert_true(m.tree.n > 0 && m.tree.source[0] == SPEC_SOURCE_OWN);
        assert_int_equal(m.tree.match_len, 60 * round - 50 < 64 ? 60 * round - 50 : 63);
        for (uint32_t i = 0; i < m.tree.n; i++) {
            uint32_t depth = spec_tree_depth(&m.tree, (int32_t)i);
            assert_int_equal(m.tree.token[i], tok[(m.at + depth - 1) % 50]);
        }
        mix_end(&m);
    }
    assert_int_equal(stats_of(d).index_tokens, 0);
    spec_drafter_free(d);
}

/* ---- learning ------------------------------------------------------------ */

static void test_repeats_raise_the_probability(void **state) {
    (void)state;
    static const char *const specs[] = {"mix", "mix:priors=none", "mix:own=0,learn=end"};
    for (size_t i = 0; i < 3; i++) {
        spec_drafter *d = drafting_open(specs[i], NULL);
        spec_token tok[40];
        double p[30];
        for (size_t k = 0; k < 40; k++) tok[k] = run_token(1, k);
        for (size_t k = 0; k < 30; k++) {
            (void)mix_decode(d, 0, tok, 2, 40, 8);
            p[k] = mix_first_prob(d, 0, tok, 10, tok[10]);
        }
        if (p[29] < 0.9 || p[29] < p[0] + 0.05 || p[9] < p[0])
            fail_msg("%s: %g, %g, %g", specs[i], p[0], p[9], p[29]);
        spec_drafter_free(d);
    }
}

/* What is seen once in text that repeats itself is believed sooner than in text that never does. */
static void test_tokens_without_drafts_are_learnt_from(void **state) {
    (void)state;
    double p[2];
    for (uint32_t repeats = 0; repeats < 2; repeats++) {
        spec_drafter *d = drafting_open("mix:priors=none", NULL);
        spec_token tok[6];
        for (uint32_t k = 0; k < 60; k++) /* every token but the first has been there before */
            for (uint32_t twice = 0; twice < 2; twice++) {
                for (size_t i = 0; i < 6; i++) tok[i] = run_token(k + 2, repeats ? i : 7 * twice + i % 2);
                drafting_say(d, 0, tok, 6);
            }
        run_say(d, 0, 1, 50);
        const spec_token prompt[] = {run_token(1, 9), run_token(1, 10)};
        p[repeats] = mix_first_prob(d, 0, prompt, 2, run_token(1, 11));
        spec_drafter_free(d);
    }
    if (p[1] < p[0] + 0.1) fail_msg("%g in a text that repeats itself, %g in one that does not", p[1], p[0]);
}

/* Whole or token by token, what a request alone is given without drafts comes to the same. */
static void test_pieces_do_not_matter(void **state) {
    (void)state;
    const mix_source s = {.world = 5, .vocab = 40, .phrases = 10, .noise = 15};
    support_rng rng = support_rng_new(support_seed(), 203);
    spec_token tok[N_TEXT];
    mix_text(&s, &rng, tok, N_TEXT);
    spec_drafter *d = drafting_open("mix:shared=0", NULL);
    uint64_t drafts[3];
    for (size_t way = 0; way < 3; way++) {
        mix_run m;
        mix_begin(&m, d, 0, tok, 1, N_TEXT);
        for (size_t n; m.at < 300; m.at += n) {
            n = way == 0 ? 1 : way == 1 ? 299 : 1 + support_rng_below(&rng, 40);
            if (n > 300 - m.at) n = 300 - m.at;
            drafting_commit(m.r, tok + m.at, n);
        }
        do mix_propose(&m, NULL);
        while (mix_observe(&m));
        drafts[way] = m.drafts;
        mix_end(&m);
    }
    assert_true(drafts[0] == drafts[1] && drafts[0] == drafts[2]);
    spec_drafter_free(d);
}

/* ---- the same calls, the same drafts ----------------------------------------- */

/* What makes no difference: that a proposal was thrown away, that the engine verified fewer nodes than
 * were proposed or says nothing of them, that it reports on the prompt. */
enum { PLAIN, PROPOSE_TWICE, PRUNED_TREE, NO_TREE, REPORTS, N_MANNERS };

static void report_on_prompt(spec_request *r) {
    const spec_token top[2] = {1, 2};
    const float logprob[2] = {-0.1f, -2};
    const spec_outcome o = {
        .size = sizeof o, .n_rows = 1, .top_k = 2, .topk_token = top, .topk_logprob = logprob};
    assert_int_equal(spec_request_observe(r, &o), SPEC_OK);
}

static void step_in_manner(mix_run *m, int manner) {
    static const uint8_t accepted[64] = {0};
    const spec_propose_args less = {.size = sizeof less, .budget = 3, .max_depth = 2};
    size_t n = 1 + m->steps++ % 4;
    if (n > m->n - m->at) n = m->n - m->at;
    if (manner == PROPOSE_TWICE) assert_int_equal(spec_request_propose(m->r, &less, &m->tree), SPEC_OK);
    mix_propose(m, NULL);
    if (manner == REPORTS) report_on_prompt(m->r);
    if (manner == PRUNED_TREE) spec_tree_clip(&m->tree, (uint32_t)(m->steps % 5), 3);
    const spec_outcome o = {.size = sizeof o,
                            .committed = m->tok + m->at,
                            .n_committed = n,
                            .tree = manner == NO_TREE ? NULL : &m->tree,
                            .accepted = accepted};
    assert_int_equal(spec_request_observe(m->r, &o), SPEC_OK);
    m->at += n;
}

static uint64_t decode_in_manner(const char *spec, int manner) {
    const mix_source s = {.world = 6, .vocab = 50, .phrases = 12, .noise = 12};
    support_rng rng = support_rng_new(support_seed(), 204);
    spec_drafter *d = drafting_open(spec, NULL);
    uint64_t all = 0;
    for (uint64_t request = 0; request < 6; request++) {
        spec_token tok[N_TEXT];
        mix_run m;
        mix_text(&s, &rng, tok, N_TEXT);
        mix_begin(&m, d, request % 2, tok, 20, N_TEXT);
        while (m.at < m.n) step_in_manner(&m, manner);
        all = all * 31 + m.drafts;
        mix_end(&m);
    }
    spec_drafter_free(d);
    return all;
}

static void test_the_same_calls_give_the_same_drafts(void **state) {
    (void)state;
    static const char *const specs[] = {"mix", "mix:shared=0", "mix:own=0,priors=none", "mix:learn=end"};
    for (size_t i = 0; i < 4; i++) {
        uint64_t drafts = decode_in_manner(specs[i], PLAIN);
        for (int manner = PLAIN; manner < N_MANNERS; manner++)
            if (decode_in_manner(specs[i], manner) != drafts) fail_msg("%s: manner %d", specs[i], manner);
    }
}

/* ---- who learns from whom --------------------------------------------------- */

/* Tenant 1's drafts, a text decoded while others decode theirs, or alone. */
static uint64_t drafts_beside(const char *spec, uint64_t tenant, bool others) {
    const mix_source s = {.world = 8, .vocab = 50, .phrases = 12, .noise = 12};
    support_rng rng = support_rng_new(support_seed(), 205);
    spec_drafter *d = drafting_open(spec, NULL);
    uint64_t all = 0;
    for (int round = 0; round < 3; round++) {
        spec_token tok[2][N_TEXT];
        mix_run m[2];
        for (uint64_t i = 0; i < 2; i++) {
            mix_text(&s, &rng, tok[i], N_TEXT);
            mix_begin(&m[i], d, i ? tenant : 1, tok[i], 20, N_TEXT);
        }
        for (bool more = true; more;) {
            mix_propose(&m[0], NULL);
            if (others && m[1].at < N_TEXT) {
                mix_propose(&m[1], NULL);
                mix_observe(&m[1]);
            }
            more = mix_observe(&m[0]);
        }
        all = all * 31 + m[0].drafts;
        for (size_t i = 0; i < 2; i++) mix_end(&m[i]);
    }
    spec_drafter_free(d);
    return all;
}

static void test_who_learns_from_whom(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        uint64_t tenant; /* of the other request */
        bool learns;
    } cases[] = {{"mix", 1, true},
                 {"mix", 2, false},
                 {"mix:cross_tenant=1", 2, true},
                 {"mix:shared=0", 1, false},
                 {"mix:max_requests=0", 1, false},
                 {"mix:tenants=1", 2, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *spec = cases[i].spec;
        bool same = drafts_beside(spec, cases[i].tenant, true) == drafts_beside(spec, cases[i].tenant, false);
        if (same == cases[i].learns) fail_msg("%s, tenant %d", spec, (int)cases[i].tenant);
    }
}

/* The model alone: what a tenant's request has found out helps its next one with a text of other tokens,
 * and no other tenant's. */
static void test_a_tenant_has_one_model(void **state) {
    (void)state;
    static const char *const specs[] = {"mix:priors=none", "mix:priors=none,cross_tenant=1",
                                        "mix:priors=none,shared=0"};
    for (size_t i = 0; i < 3; i++) {
        spec_drafter *d = drafting_open(specs[i], NULL);
        spec_token tok[300], twice[] = {1, 2, 3, 1, 2};
        for (size_t k = 0; k < 300; k++) tok[k] = run_token(1, k % 60);
        double before = mix_first_prob(d, 1, twice, 5, 3);
        (void)mix_decode(d, 1, tok, 0, 300, 8);
        double after = mix_first_prob(d, 1, twice, 5, 3), elsewhere = mix_first_prob(d, 2, twice, 5, 3);
        assert_true(i == 2 ? after == before : after > before + 0.1);
        assert_true(elsewhere == (i == 1 ? after : before));
        spec_drafter_free(d);
    }
}

static void test_responses_are_taught_at_their_end(void **state) {
    (void)state;
    static const char *const specs[] = {"mix:own=0", "mix:own=0,learn=end"};
    for (size_t late = 0; late < 2; late++) {
        spec_drafter *d = drafting_open(specs[late], NULL);
        spec_request *r = drafting_begin(d, 0, NULL, 0);
        run_commit(r, 1, 0, 100);
        assert_true((run_known(d, 0, 1, 50) == 0) == (late == 1));
        spec_request_end(r);
        assert_true(run_known(d, 0, 1, 50) > 0);
        spec_drafter_free(d);
    }
}

/* What it has taught itself is no match for its end. */
static void test_its_own_end_is_no_match(void **state) {
    (void)state;
    spec_drafter *d = drafting_open("mix:own=0", NULL);
    spec_request *r = drafting_begin(d, 0, NULL, 0);
    spec_tree t;
    drafting_tree(&t, 8);
    for (size_t at = 0; at < 30; at++) {
        run_commit(r, 1, at, 1);
        assert_int_equal(spec_request_propose(r, NULL, &t), SPEC_OK);
        assert_true(t.n == 0 && t.match_len == 0);
    }
    run_commit(r, 1, 10, 5);
    assert_int_equal(spec_request_propose(r, NULL, &t), SPEC_OK);
    assert_true(t.n == 8 && t.match_len == 5 && t.token[0] == run_token(1, 15));
    spec_request_end(r);
    spec_tree_release(&t, NULL);
    spec_drafter_free(d);
}

/* ---- limits -------------------------------------------------------------- */

static void test_old_responses_are_forgotten(void **state) {
    (void)state;
    spec_drafter *d = drafting_open("mix:max_requests=3,own=0", NULL);
    for (uint32_t run = 1; run < 10; run++) {
        run_say(d, 0, run, 100);
        assert_true(run_known(d, 0, run, 50) > 0); /* takes a place as well */
        assert_true(stats_of(d).index_tokens <= 300);
    }
    assert_int_equal(run_known(d, 0, 5, 50), 0);
    assert_int_equal(stats_of(d).evicted, 9 + 10 - 3);
    spec_drafter_free(d);
}

static void test_memory_is_kept_within_its_limit(void **state) {
    (void)state;
    static const char *const specs[] = {"mix:memory_mb=1", "mix:memory_mb=1,evict=lru,depth=32"};
    for (size_t i = 0; i < 2; i++) {
        const mix_source s = {.world = 9, .vocab = 3000, .phrases = 400, .noise = 4};
        support_rng rng = support_rng_new(support_seed(), 206);
        spec_drafter *d = drafting_open(specs[i], NULL);
        uint64_t empty = stats_of(d).index_bytes;
        for (int request = 0; request < 100; request++) {
            spec_token tok[N_TEXT];
            mix_text(&s, &rng, tok, N_TEXT);
            if (request % 4)
                drafting_say(d, 0, tok, N_TEXT);
            else
                (void)mix_decode(d, 0, tok, 50, N_TEXT, 16);
        }
        spec_drafter_stats after = stats_of(d);
        assert_true(after.evicted > 0 && after.index_tokens > 1000);
        assert_true(after.index_bytes - empty < (2 << 20)); /* the index, and what the model has learnt */
        spec_drafter_free(d);
    }
}

/* With r tokens still allowed, a path has at most r - 1. */
static void test_drafts_end_with_the_response(void **state) {
    (void)state;
    spec_drafter *d = drafting_open("mix", NULL);
    for (int i = 0; i < 3; i++) run_say(d, 0, 1, 100);
    for (int by_context = 0; by_context < 2; by_context++) {
        spec_token prompt[5];
        spec_tree t;
        spec_request *r;
        for (size_t i = 0; i < 5; i++) prompt[i] = run_token(1, i);
        spec_request_info info = {.size = sizeof info, .prompt = prompt, .n_prompt = 5};
        info.max_new_tokens = by_context ? 0 : 12;
        info.max_context = by_context ? 17 : 0;
        drafting_tree(&t, 32);
        assert_int_equal(spec_request_begin(d, &info, &r), SPEC_OK);
        for (uint32_t left = 12; left > 0; left--) {
            assert_int_equal(spec_request_propose(r, NULL, &t), SPEC_OK);
            assert_int_equal(drafting_depth(&t), left - 1);
            run_commit(r, 1, 17 - left, 1);
        }
        assert_int_equal(spec_request_propose(r, NULL, &t), SPEC_OK);
        assert_int_equal(t.n, 0);
        run_commit(r, 1, 17, 10); /* more than was agreed is learnt all the same */
        spec_request_end(r);
        spec_tree_release(&t, NULL);
    }
    spec_drafter_free(d);
}

/* ---- options ------------------------------------------------------------- */

static void test_options_that_are_none(void **state) {
    (void)state;
    static const drafting_case cases[] = {
        {.spec = "nodes=0", .says = "nodes", .err = SPEC_ERR_INVALID},
        {.spec = "nodes=257", .says = "256", .err = SPEC_ERR_INVALID},
        {.spec = "min_prob=1.5", .says = "min_prob", .err = SPEC_ERR_INVALID},
        {.spec = "depth=1", .says = "depth", .err = SPEC_ERR_INVALID},
        {.spec = "sure=1001", .says = "1000", .err = SPEC_ERR_INVALID},
        {.spec = "sure=-1", .says = "sure", .err = SPEC_ERR_INVALID},
        {.spec = "tree=1", .says = "tree", .err = SPEC_ERR_INVALID},
        {.spec = "preset=arctic", .says = "preset", .err = SPEC_ERR_INVALID},
        {.spec = "own=2", .says = "own", .err = SPEC_ERR_INVALID},
        {.spec = "shared=0,corpus=there",
         .says = "drafter mix: corpus=there needs shared=1",
         .err = SPEC_ERR_INVALID},
        {.spec = "corpus=tests/no-such-file", .says = "tests/no-such-file", .err = SPEC_ERR_NOT_FOUND},
        {.spec = "priors=tests/no-such-file", .says = "tests/no-such-file", .err = SPEC_ERR_NOT_FOUND},
        {.spec = "nodes=256,priors=none,sure=0,min_prob=0,depth=4096", .says = "", .err = SPEC_OK},
    };
    drafting_check_cases("mix:", cases, sizeof cases / sizeof *cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drafts_are_trees_within_their_limits),
        cmocka_unit_test(test_options_limit_a_draft),
        cmocka_unit_test(test_a_known_text_is_drafted_whole),
        cmocka_unit_test(test_own_text_is_drafted_whole),
        cmocka_unit_test(test_repeats_raise_the_probability),
        cmocka_unit_test(test_tokens_without_drafts_are_learnt_from),
        cmocka_unit_test(test_pieces_do_not_matter),
        cmocka_unit_test(test_the_same_calls_give_the_same_drafts),
        cmocka_unit_test(test_who_learns_from_whom),
        cmocka_unit_test(test_a_tenant_has_one_model),
        cmocka_unit_test(test_responses_are_taught_at_their_end),
        cmocka_unit_test(test_its_own_end_is_no_match),
        cmocka_unit_test(test_old_responses_are_forgotten),
        cmocka_unit_test(test_memory_is_kept_within_its_limit),
        cmocka_unit_test(test_drafts_end_with_the_response),
        cmocka_unit_test(test_options_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

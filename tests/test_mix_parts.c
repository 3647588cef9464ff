/* SPDX-License-Identifier: MIT */
/*
 * The drafter mix fed by other drafters: it comes to trust one that is right and to pass over one that is
 * not, its drafts are trees within their limits, and what it is told as options it passes on.
 */
#include <stdlib.h>
#include <string.h>

#include "mix_world.h"

#define N_TEXT 400

static const mix_source source = {.world = 21, .vocab = 60, .phrases = 14, .noise = 8};

/* ---- trust ----------------------------------------------------------------- */

/* Decodes texts with the true response as the request's reference; of the last of them, tokens per step. */
static double per_step(const char *spec, const mix_source *s) {
    support_rng rng = support_rng_new(support_seed(), 800);
    spec_drafter *d = drafting_open(spec, NULL);
    const spec_propose_args a = {.size = sizeof a, .budget = 8};
    size_t tokens = 0, steps = 0;
    for (int i = 0; i < 8; i++) {
        spec_token tok[N_TEXT];
        mix_run m;
        mix_text(s, &rng, tok, N_TEXT);
        mix_begin(&m, d, 0, tok, 0, N_TEXT);
        spec_request_end(m.r);
        spec_request_info info = {.size = sizeof info,
                                  .prompt = tok,
                                  .n_prompt = 1,
                                  .reference = tok + 1,
                                  .n_reference = N_TEXT - 1};
        m.at = 1;
        assert_int_equal(spec_request_begin(d, &info, &m.r), SPEC_OK);
        do mix_propose(&m, &a);
        while (mix_observe(&m));
        if (i >= 4) {
            tokens += N_TEXT - 1;
            steps += m.steps;
        }
        mix_end(&m);
    }
    spec_drafter_free(d);
    return (double)tokens / (double)steps;
}

static void test_who_is_right_is_trusted(void **state) {
    (void)state;
    const mix_source news = {.world = 22, .vocab = 100000, .phrases = 100000, .noise = 2};
    double alone = per_step("mix", &news), told = per_step("mix:with=oracle", &news),
           most = per_step("oracle", &news);
    if (!(alone < 1.1 && told > 0.9 * most)) fail_msg("%g alone, %g told, %g at most", alone, told, most);
}

static void test_who_is_wrong_is_passed_over(void **state) {
    (void)state;
    double alone = per_step("mix", &source), beside = per_step("mix:with=random:vocab=60", &source),
           told = per_step("mix:with=((random:vocab=60)+oracle)", &source);
    if (!(beside > 0.95 * alone && told > 1.5 * alone))
        fail_msg("%g alone, %g beside a wrong one, %g with a right one too", alone, beside, told);
}

/* ---- drafts ------------------------------------------------------------------ */

static void test_drafts_are_trees_within_their_limits(void **state) {
    (void)state;
    static const char *const specs[] = {"mix:with=pld", "mix:own=0,with=(ngram-cache+(pld:len=3)),nodes=20",
                                        "mix:with=suffix,shared=0",
                                        "mix:with=(random:vocab=60,width=3,len=2)"};
    support_rng rng = support_rng_new(support_seed(), 801);
    for (size_t i = 0; i < 4; i++) {
        spec_drafter *d = drafting_open(specs[i], NULL);
        size_t nodes = 0;
        for (int request = 0; request < 4; request++) {
            spec_token tok[N_TEXT];
            mix_run m;
            mix_text(&source, &rng, tok, N_TEXT);
            mix_begin(&m, d, 0, tok, support_rng_below(&rng, 9), N_TEXT);
            for (bool more = true; more;) {
                spec_propose_args a = {.size = sizeof a,
                                       .budget = 1 + support_rng_below(&rng, 30),
                                       .max_depth = support_rng_below(&rng, 9),
                                       .min_prob = support_rng_chance(&rng, 0.5) ? 0.1f : 0};
                mix_propose(&m, &a);
                assert_true(m.tree.n <= a.budget && (!a.max_depth || drafting_depth(&m.tree) <= a.max_depth));
                for (uint32_t k = 0; k < m.tree.n; k++) assert_true(m.tree.prob[k] >= a.min_prob);
                if (support_rng_chance(&rng, 0.1)) spec_tree_clip(&m.tree, 1, 1);
                more = mix_observe(&m);
            }
            nodes += m.nodes;
            mix_end(&m);
        }
        assert_true(nodes > 500);
        spec_drafter_free(d);
    }
}

static uint64_t drafts_of(const char *spec) {
    support_rng rng = support_rng_new(support_seed(), 802);
    spec_drafter *d = drafting_open(spec, NULL);
    uint64_t all = 0;
    for (int i = 0; i < 3; i++) {
        spec_token tok[N_TEXT];
        mix_text(&source, &rng, tok, N_TEXT);
        all = all * 31 + mix_decode(d, 0, tok, 3, N_TEXT, 12).drafts;
    }
    spec_drafter_free(d);
    return all;
}

/* Wherever it stands among the options, the others reach mix. */
static void test_options_stand_anywhere(void **state) {
    (void)state;
    uint64_t drafts = drafts_of("mix:with=pld,nodes=9,own=0");
    assert_true(drafts_of("mix:nodes=9,with=pld,own=0") == drafts);
    assert_true(drafts_of("mix:nodes=9,own=0,with=pld") == drafts);
    assert_true(drafts_of("mix:nodes=9,own=0,with=(pld)") == drafts);
    assert_true(drafts_of("mix:nodes=9,own=0") != drafts);
    assert_true(drafts_of("mix:with=pld") != drafts);
    assert_true(drafts_of("mix:with=(pld:len=1),nodes=9,own=0") != drafts);
}

/* ---- opening, saving, memory ------------------------------------------------------- */

static void test_options_that_are_none(void **state) {
    (void)state;
    static const drafting_case cases[] = {
        {.spec = "with=", .says = "mix", .err = SPEC_ERR_INVALID},
        {.spec = "with=nine", .says = "'nine'", .err = SPEC_ERR_NOT_FOUND},
        {.spec = "with=(pld+nine)", .says = "'nine'", .err = SPEC_ERR_NOT_FOUND},
        {.spec = "with=(pld+ngram-cache+recycle)", .says = "mix", .err = SPEC_ERR_INVALID},
        {.spec = "with=(pld:len=x)", .says = "len", .err = SPEC_ERR_INVALID},
        {.spec = "with=pld,nodes=0", .says = "nodes", .err = SPEC_ERR_INVALID},
        {.spec = "nodes=300,with=pld", .says = "256", .err = SPEC_ERR_INVALID},
        {.spec = "with=pld,with=recycle", .says = "with", .err = SPEC_ERR_INVALID},
        {.spec = "with=(pld+recycle),nodes=4", .says = "", .err = SPEC_OK},
    };
    drafting_check_cases("mix:", cases, sizeof cases / sizeof *cases);
}

static void test_what_it_knows_is_saved(void **state) {
    (void)state;
    const char *path = support_at("saved");
    char spec[300];
    spec_drafter *d = drafting_open("mix:with=pld", NULL);
    for (int i = 0; i < 3; i++) run_say(d, 4, 1, 100);
    assert_int_equal(spec_drafter_save(d, 4, path, NULL), SPEC_OK);
    spec_drafter_free(d);
    snprintf(spec, sizeof spec, "mix:with=pld,corpus=%s", path);
    d = drafting_open(spec, NULL);
    assert_true(run_known(d, 0, 1, 50) > 0);
    spec_drafter_free(d);
}

/* Steps of a request, as drafting_refuse_memory wants them. */
static int serve(const void *world, spec_request *r) {
    const spec_token *tok = world;
    spec_tree t;
    uint8_t accepted[16] = {0};
    int err = spec_tree_init(&t, 16, 0, 0, NULL);
    for (size_t i = 0; i < 12 && !err; i++) {
        err = spec_request_propose(r, NULL, &t);
        const spec_outcome o = {
            .size = sizeof o, .committed = tok + 5 * i, .n_committed = 5, .tree = &t, .accepted = accepted};
        if (!err) err = spec_request_observe(r, &o);
    }
    spec_tree_release(&t, NULL);
    return err;
}

static void test_refusals(void **state) {
    (void)state;
    static const char *const specs[] = {"mix:shared=0,nodes=8,with=pld",
                                        "mix:shared=0,nodes=8,with=((ngram-cache:shared=0)+(pld:len=3))"};
    spec_token tok[60];
    support_rng rng = support_rng_new(support_seed(), 803);
    mix_text(&source, &rng, tok, 60);
    const spec_request_info info = {.size = sizeof info, .prompt = tok, .n_prompt = 30};
    for (size_t i = 0; i < 2; i++) drafting_refuse_memory(specs[i], NULL, &info, serve, tok);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_right_is_trusted),
        cmocka_unit_test(test_who_is_wrong_is_passed_over),
        cmocka_unit_test(test_drafts_are_trees_within_their_limits),
        cmocka_unit_test(test_options_stand_anywhere),
        cmocka_unit_test(test_options_that_are_none),
        cmocka_unit_test(test_what_it_knows_is_saved),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, support_at_set_up, support_at_tear_down);
}

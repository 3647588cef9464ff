/* SPDX-License-Identifier: MIT */
/*
 * The EAGLE-3 drafter: that it drafts from the right features whatever an engine reports
 * and in which pieces, batches, limits, and what it refuses. The head and its trees have
 * tests of their own.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "drafting.h"
#include "eagle3_tree.h"
#include "eagle3_world.h"
#include "made_heads.h"

#define HIDDEN  20
#define VOCAB   60
#define CONTEXT 90
#define TAPS    3
#define ROW     (TAPS * HIDDEN)
#define BUDGET  12

typedef struct world {
    support_tmp tmp;
    char path[200], spec[210];
    bare_target bare, odd;
    spec_lm target, other;
    spec_drafter_env env;
    /* the same head, asked directly */
    specp_team *team;
    specp_eagle3 *head;
    specp_eagle3_trees *trees;
    float taps[(CONTEXT + 20) * ROW]; /* what the target's layers say at each position */
} world;

static int set_up(void **state) {
    static world w;
    support_rng rng = support_rng_new(support_seed(), 1);
    const specp_eagle3_tree_options tree = {8, 5, 61};
    spec_message why;
    support_tmp_make(&w.tmp);
    eagle3_made made = eagle3_usual;
    made.target = made.hidden = HIDDEN;
    made.vocab = VOCAB;
    made.n_layers = 4;
    made.embed = false;
    made.layers = "[1, 2, 3]";
    eagle3_make(support_tmp_path(&w.tmp, "head", w.path, sizeof w.path), &made, &rng);
    snprintf(w.spec, sizeof w.spec, "eagle3:%s", w.path);
    w.bare = (bare_target){HIDDEN, VOCAB, CONTEXT, 0};
    w.odd = (bare_target){HIDDEN + 2, VOCAB, CONTEXT, 0};
    w.target = bare_target_lm(&w.bare);
    w.other = bare_target_lm(&w.odd);
    w.env = (spec_drafter_env){.size = sizeof w.env, .target = &w.target, .threads = 2};
    assert_int_equal(specp_team_new(&w.team, 1, NULL), 0);
    const specp_eagle3_options o = {HIDDEN, VOCAB, 4, 100, SPECP_ISA_ALL, w.team, bare_target_embedding,
                                    &w.bare};
    if (specp_eagle3_open(&w.head, w.path, &o, NULL, &why)) fail_msg("%s", why.text);
    if (specp_eagle3_trees_new(&w.trees, w.head, &tree, NULL, &why)) fail_msg("%s", why.text);
    for (size_t i = 0; i < sizeof w.taps / sizeof *w.taps; i++)
        w.taps[i] = (float)(support_rng_unit(&rng) * 4 - 2);
    *state = &w;
    return 0;
}

static int tear_down(void **state) {
    world *w = *state;
    specp_eagle3_trees_free(w->trees);
    specp_eagle3_free(w->head);
    specp_team_free(w->team);
    support_tmp_remove(&w->tmp);
    return 0;
}

/* ---- an engine ------------------------------------------------------------ */

/* A request, its text, and from where on the drafter can know the features without a gap. */
typedef struct played {
    const world *w;
    spec_request *r;
    spec_token text[CONTEXT + 20];
    size_t n, n_prompt;
    size_t from, upto; /* features of positions from..upto-1 were reported; equal: of none */
} played;

static spec_token any(support_rng *rng) { return (spec_token)support_rng_below(rng, VOCAB); }

static void begin(played *p, const world *w, spec_drafter *d, support_rng *rng, size_t n_prompt) {
    *p = (played){.w = w, .n = n_prompt, .n_prompt = n_prompt};
    for (size_t i = 0; i < n_prompt; i++) p->text[i] = any(rng);
    p->r = drafting_begin(d, 0, p->text, n_prompt);
}

static void know(played *p, size_t position) {
    if (position < p->upto) return;
    if (position > p->upto) p->from = position;
    p->upto = position + 1;
}

static void report_prompt(played *p, size_t first, size_t n) {
    const spec_outcome o = {.size = sizeof o,
                            .n_rows = n,
                            .n_taps = TAPS,
                            .hidden_dim = HIDDEN,
                            .hidden = p->w->taps + first * ROW,
                            .prompt_row = first};
    assert_int_equal(spec_request_observe(p->r, &o), 0);
    for (size_t i = 0; i < n; i++) know(p, first + i);
}

/* Verifies a chain of n_path right tokens with a wrong sibling before each, and commits n tokens. */
static void step(played *p, support_rng *rng, size_t n_path, size_t n, bool rows, bool tree) {
    spec_tree t;
    uint8_t accepted[40] = {0};
    static float hidden[41 * ROW];
    spec_token *committed = p->text + p->n;
    assert_int_equal(spec_tree_init(&t, 40, 0, 0, NULL), 0);
    for (size_t i = 0; i < n_path + 1; i++) committed[i] = any(rng);
    memcpy(hidden, p->w->taps + (p->n - 1) * ROW, ROW * sizeof *hidden);
    for (size_t i = 0, parent = 0; tree && i < n_path; i++, parent = t.n) {
        int32_t above = (int32_t)parent - 1;
        spec_tree_add(&t, above, (committed[i] + 1) % VOCAB, 0.1f, 0);
        memset(hidden + t.n * ROW, 1, ROW * sizeof *hidden);
        int32_t at = spec_tree_add(&t, above, committed[i], 0.1f, 0);
        accepted[at] = 1;
        memcpy(hidden + t.n * ROW, p->w->taps + (p->n + i) * ROW, ROW * sizeof *hidden);
    }
    const spec_outcome o = {.size = sizeof o,
                            .committed = committed,
                            .n_committed = n,
                            .tree = tree ? &t : NULL,
                            .accepted = accepted,
                            .n_rows = rows ? (size_t)t.n + 1 : 0,
                            .n_taps = TAPS,
                            .hidden_dim = HIDDEN,
                            .hidden = hidden};
    assert_int_equal(spec_request_observe(p->r, &o), 0);
    for (size_t i = 0; rows && i < n && (i == 0 || (tree && i <= n_path)); i++) know(p, p->n - 1 + i);
    p->n += n;
    spec_tree_release(&t, NULL);
}

/* What a head that is told everything at once drafts. */
static void expect(const played *p, spec_tree *out) {
    specp_eagle3_request *q;
    spec_message why;
    spec_tree_clear(out);
    if (p->from == p->upto || p->upto + 1 != p->n) return;
    const specp_eagle3_rows rows = {NULL, p->upto - p->from, p->w->taps + p->from * ROW, NULL,
                                    p->text + p->from + 1};
    assert_int_equal(specp_eagle3_request_new(&q, p->w->head, CONTEXT), 0);
    specp_eagle3_rows mine = rows;
    mine.request = q;
    const specp_eagle3_job job = {q, BUDGET, BUDGET, out};
    if (specp_eagle3_extend(p->w->head, &mine, 1, &why)) fail_msg("%s", why.text);
    if (specp_eagle3_draft(p->w->trees, &job, 1, &why)) fail_msg("%s", why.text);
    specp_eagle3_request_free(q);
}

/* Whether there is a draft, and that it is the right one. */
static bool check(const played *p) {
    spec_tree t, want;
    drafting_tree(&t, BUDGET);
    drafting_tree(&want, BUDGET);
    assert_int_equal(spec_request_propose(p->r, NULL, &t), 0);
    expect(p, &want);
    drafting_assert_same(&t, &want, SPEC_SOURCE_HEAD);
    bool drafted = t.n > 0;
    spec_tree_release(&t, NULL);
    spec_tree_release(&want, NULL);
    return drafted;
}

/* ---- the tests ------------------------------------------------------------ */

static void test_an_engine_as_ours(void **state) {
    const world *w = *state;
    support_rng rng = support_rng_new(support_seed(), 2);
    spec_drafter *d = drafting_open_env(w->spec, "", &w->env);
    played p;
    begin(&p, w, d, &rng, 9);
    assert_false(check(&p));
    report_prompt(&p, 0, 8);
    assert_true(check(&p)); /* before anything was verified */
    for (size_t i = 0; p.n < 70; i++) {
        step(&p, &rng, i % 4, 1 + i % 4, true, true);
        assert_true(check(&p));
        assert_true(check(&p)); /* asking changes nothing */
    }
    spec_request_end(p.r);
    spec_drafter_free(d);
}

/* An engine that feeds the whole prompt, and says its first token without a row. */
static void test_the_row_of_the_prompts_end(void **state) {
    const world *w = *state;
    support_rng rng = support_rng_new(support_seed(), 3);
    spec_drafter *d = drafting_open_env(w->spec, "", &w->env);
    played p;
    begin(&p, w, d, &rng, 9);
    report_prompt(&p, 0, 9);
    assert_false(check(&p)); /* what follows the prompt is not known */
    step(&p, &rng, 0, 1, false, false);
    assert_true(check(&p));
    step(&p, &rng, 2, 3, true, true);
    assert_true(check(&p));
    spec_request_end(p.r);
    begin(&p, w, d, &rng, 9);
    report_prompt(&p, 0, 9);
    step(&p, &rng, 1, 2, true, true); /* the row comes twice */
    assert_true(check(&p));
    spec_request_end(p.r);
    begin(&p, w, d, &rng, 0); /* no prompt: nothing stands before the first row */
    const spec_token first = 3;
    p.text[p.n++] = first;
    assert_int_equal(spec_request_commit(p.r, &first, 1), 0);
    step(&p, &rng, 1, 2, true, true);
    assert_true(check(&p));
    spec_request_end(p.r);
    spec_drafter_free(d);
}

/* Anything that an engine may say, in any order. */
static void test_reports_in_pieces(void **state) {
    const world *w = *state;
    support_rng rng = support_rng_new(support_seed(), 4);
    spec_drafter *d = drafting_open_env(w->spec, "", &w->env);
    size_t drafts = 0, none = 0;
    for (int round = 0; round < 60; round++) {
        played p;
        begin(&p, w, d, &rng, 1 + support_rng_below(&rng, 12));
        for (size_t at = 0; at < p.n_prompt && support_rng_chance(&rng, 0.8);) {
            size_t n = 1 + support_rng_below(&rng, (uint32_t)(p.n_prompt - at));
            if (support_rng_chance(&rng, 0.9)) report_prompt(&p, at, n);
            if (support_rng_chance(&rng, 0.7)) at += n;
        }
        while (p.n < 60) {
            size_t n_path = support_rng_below(&rng, 5);
            bool whole = support_rng_chance(&rng, 0.9), rows = support_rng_chance(&rng, 0.9);
            size_t n = whole ? n_path + 1 : 1 + support_rng_below(&rng, (uint32_t)n_path + 1);
            step(&p, &rng, n_path, n, rows, support_rng_chance(&rng, 0.8));
            if (!support_rng_chance(&rng, 0.7)) continue;
            if (check(&p))
                drafts++;
            else
                none++;
        }
        spec_request_end(p.r);
    }
    assert_true(drafts > 200 && none > 50);
    spec_drafter_free(d);
}

#define N_BATCH 9

static void test_batches(void **state) {
    const world *w = *state;
    support_rng rng = support_rng_new(support_seed(), 5);
    spec_drafter *d = drafting_open_env(w->spec, "", &w->env);
    static played p[N_BATCH];
    spec_request *r[N_BATCH];
    spec_tree tree[N_BATCH], *t[N_BATCH], want;
    drafting_tree(&want, BUDGET);
    for (size_t i = 0; i < N_BATCH; i++) {
        begin(&p[i], w, d, &rng, 3 + i);
        if (i % 4 != 2) report_prompt(&p[i], 0, 2 + i);
        r[i] = p[i].r;
        t[i] = &tree[i];
        drafting_tree(t[i], BUDGET);
    }
    for (int round = 0; round < 10; round++) {
        assert_int_equal(spec_request_propose_batch(r, NULL, t, N_BATCH), 0);
        for (size_t i = 0; i < N_BATCH; i++) {
            expect(&p[i], &want);
            drafting_assert_same(t[i], &want, SPEC_SOURCE_HEAD);
            if (support_rng_chance(&rng, 0.8)) {
                size_t n = support_rng_below(&rng, 4);
                step(&p[i], &rng, n, n + 1, true, true);
            }
        }
    }
    for (size_t i = 0; i < N_BATCH; i++) {
        spec_request_end(r[i]);
        spec_tree_release(t[i], NULL);
    }
    spec_tree_release(&want, NULL);
    spec_drafter_free(d);
}

/* Behind the target's context there is no draft, and no failure. */
static void test_the_end_of_the_context(void **state) {
    const world *w = *state;
    support_rng rng = support_rng_new(support_seed(), 6);
    spec_drafter *d = drafting_open_env(w->spec, "", &w->env);
    played p;
    spec_tree t;
    drafting_tree(&t, BUDGET);
    begin(&p, w, d, &rng, 5);
    report_prompt(&p, 0, 4);
    while (p.n < CONTEXT + 1) step(&p, &rng, 0, 1, true, false);
    assert_true(check(&p));
    for (int i = 0; i < 3; i++) {
        step(&p, &rng, 0, 1, true, false);
        assert_int_equal(spec_request_propose(p.r, NULL, &t), 0);
        assert_int_equal(t.n, 0);
    }
    spec_request_end(p.r);
    spec_tree_release(&t, NULL);
    spec_drafter_free(d);
}

static void test_a_failing_embedding(void **state) {
    world *w = *state;
    support_rng rng = support_rng_new(support_seed(), 7);
    spec_drafter *d = drafting_open_env(w->spec, "", &w->env);
    played p;
    spec_tree t;
    drafting_tree(&t, BUDGET);
    begin(&p, w, d, &rng, 5);
    report_prompt(&p, 0, 4);
    w->bare.fails = SPEC_ERR_IO;
    assert_int_equal(spec_request_propose(p.r, NULL, &t), SPEC_ERR_IO);
    assert_int_equal(t.n, 0);
    assert_true(check(&p)); /* nothing was lost */
    spec_request_end(p.r);
    spec_tree_release(&t, NULL);
    spec_drafter_free(d);
}

static void test_options_and_needs(void **state) {
    const world *w = *state;
    support_rng rng = support_rng_new(support_seed(), 8);
    static const struct {
        const char *options;
        uint32_t n, depth; /* 0: any */
    } one[] = {{",k=1,depth=4", 4, 4}, {",nodes=5", 5, 0}, {",depth=1,k=3", 3, 1}, {"", BUDGET, 0}};
    spec_tree t;
    drafting_tree(&t, BUDGET);
    for (size_t i = 0; i < sizeof one / sizeof *one; i++) {
        spec_drafter *d = drafting_open_env(w->spec, one[i].options, &w->env);
        spec_needs n;
        spec_drafter_needs(d, &n);
        assert_true(n.n_taps == 3 && n.prompt_taps && !n.top_k && !n.q_rows);
        for (int32_t k = 0; k < 3; k++) assert_int_equal(n.tap_layer[k], k);
        spec_drafter_stats s;
        spec_drafter_get_stats(d, &s);
        assert_true(s.index_bytes > 10000 && s.index_bytes < 10000000);
        played p;
        begin(&p, w, d, &rng, 5);
        report_prompt(&p, 0, 4);
        assert_int_equal(spec_request_propose(p.r, NULL, &t), 0);
        assert_int_equal(t.n, one[i].n);
        assert_true(!one[i].depth || drafting_depth(&t) == one[i].depth);
        spec_request_end(p.r);
        spec_drafter_free(d);
    }
    spec_tree_release(&t, NULL);
}

static void test_refused(void **state) {
    world *w = *state;
    const spec_drafter_env bare_env = {.size = sizeof bare_env};
    const spec_drafter_env odd = {.size = sizeof odd, .target = &w->other, .threads = 1};
    const drafting_case one[] = {
        {"", "target", SPEC_ERR_STATE, &bare_env},         {"", "22", SPEC_ERR_INVALID, &odd},
        {".not", "head.not", SPEC_ERR_NOT_FOUND, &w->env}, {",k=0", "k", SPEC_ERR_INVALID, &w->env},
        {",depth=99", "depth", SPEC_ERR_INVALID, &w->env}, {",nodes=x", "nodes", SPEC_ERR_INVALID, &w->env},
    };
    drafting_check_cases(w->spec, one, sizeof one / sizeof *one);
}

static int serve(const void *world_, spec_request *r) {
    const world *w = world_;
    const spec_outcome o = {
        .size = sizeof o, .n_rows = 2, .n_taps = TAPS, .hidden_dim = HIDDEN, .hidden = w->taps};
    spec_tree t;
    drafting_tree(&t, BUDGET);
    int err = spec_request_observe(r, &o);
    if (!err) {
        err = spec_request_propose(r, NULL, &t);
        if (err) assert_int_equal(spec_request_propose(r, NULL, &t), 0); /* nothing was lost */
        assert_int_equal(t.n, BUDGET);
    }
    spec_tree_release(&t, NULL);
    return err;
}

static void test_refused_memory(void **state) {
    const world *w = *state;
    const spec_token prompt[] = {1, 2, 3};
    const spec_request_info info = {.size = sizeof info, .prompt = prompt, .n_prompt = 3};
    drafting_refuse_memory(w->spec, &w->env, &info, serve, w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_engine_as_ours),      cmocka_unit_test(test_the_row_of_the_prompts_end),
        cmocka_unit_test(test_reports_in_pieces),      cmocka_unit_test(test_batches),
        cmocka_unit_test(test_the_end_of_the_context), cmocka_unit_test(test_a_failing_embedding),
        cmocka_unit_test(test_options_and_needs),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

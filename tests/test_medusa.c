/* SPDX-License-Identifier: MIT */
/*
 * The Medusa drafter: which hidden state it drafts from, which tree, limits,
 * batches, and what it refuses. The heads and trees themselves have tests of their own.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "drafting.h"
#include "made_heads.h"
#include "medusa_head.h"
#include "medusa_tree.h"

#define HEADS  3
#define HIDDEN 20
#define VOCAB  37
#define N_ROWS 200

typedef struct world {
    support_tmp tmp;
    char path[200], spec[210], chosen[210];
    specp_team *team;
    specp_medusa_heads *heads;
    bare_target bare, odd;
    spec_lm target, other;
    spec_drafter_env env;
    float rows[N_ROWS * HIDDEN];
} world;

static int set_up(void **state) {
    static world w;
    support_rng rng = support_rng_new(support_seed(), 1);
    spec_message why;
    char path[200];
    support_tmp_make(&w.tmp);
    made_medusa(support_tmp_path(&w.tmp, "heads", w.path, sizeof w.path), HEADS, HIDDEN, VOCAB, 1, NULL);
    snprintf(w.spec, sizeof w.spec, "medusa:%s", w.path);
    support_tmp_path(&w.tmp, "chosen", path, sizeof path);
    made_medusa(path, HEADS, HIDDEN, VOCAB, 1, "0/2/02/00");
    snprintf(w.chosen, sizeof w.chosen, "medusa:%s", path);
    assert_int_equal(specp_team_new(&w.team, 1, NULL), 0);
    const specp_medusa_options o = {HIDDEN, VOCAB, 1, SPECP_ISA_ALL, w.team};
    if (specp_medusa_heads_open(&w.heads, w.path, &o, NULL, &why)) fail_msg("%s", why.text);
    w.bare = (bare_target){.dim = HIDDEN, .vocab = VOCAB};
    w.odd = (bare_target){.dim = HIDDEN + 1, .vocab = VOCAB};
    w.target = bare_target_lm(&w.bare);
    w.other = bare_target_lm(&w.odd);
    w.env = (spec_drafter_env){.size = sizeof w.env, .target = &w.target, .threads = 2};
    for (size_t i = 0; i < N_ROWS * HIDDEN; i++) w.rows[i] = (float)(support_rng_unit(&rng) * 4 - 2);
    *state = &w;
    return 0;
}

static int tear_down(void **state) {
    world *w = *state;
    specp_medusa_heads_free(w->heads);
    specp_team_free(w->team);
    support_tmp_remove(&w->tmp);
    return 0;
}

/* ---- the drafts expected -------------------------------------------------- */

/* The whole tree on row `row`, in a tree of 64. */
static void expect(const world *w, const specp_medusa_tree *shape, size_t row, spec_tree *out) {
    spec_token token[HEADS * 10];
    float prob[HEADS * 10];
    specp_medusa_heads_top(w->heads, w->rows + row * HIDDEN, 1, 10, token, prob);
    specp_medusa_tree_draft(shape, token, prob, 10, out);
}

static void guess(specp_medusa_tree *t, size_t nodes) {
    spec_message why;
    if (specp_medusa_tree_guess(t, HEADS, 10, nodes, NULL, &why)) fail_msg("%s", why.text);
}

static void propose(spec_request *r, uint32_t budget, uint32_t depth, spec_tree *t) {
    const spec_propose_args a = {.size = sizeof a, .budget = budget, .max_depth = depth};
    spec_message why;
    assert_int_equal(spec_request_propose(r, &a, t), 0);
    if (spec_tree_check(t, &why)) fail_msg("%s", why.text);
}

/* A step of plain decoding whose row is number `row`. */
static void step(const world *w, spec_request *r, size_t row) {
    const spec_token t = 1;
    const spec_outcome o = {.size = sizeof o,
                            .committed = &t,
                            .n_committed = 1,
                            .n_rows = 1,
                            .n_taps = 1,
                            .hidden_dim = HIDDEN,
                            .hidden = w->rows + row * HIDDEN};
    assert_int_equal(spec_request_observe(r, &o), 0);
}

/* ---- the tests ------------------------------------------------------------ */

static void test_which_row(void **state) {
    const world *w = *state;
    const spec_token prompt[] = {4, 5, 6}, committed[] = {7, 8, 9, 1};
    const uint8_t accepted[] = {0, 1, 0, 1, 1};
    spec_drafter *d = drafting_open_env(w->spec, "", &w->env);
    spec_request *r = drafting_begin(d, 0, prompt, 3);
    specp_medusa_tree shape;
    spec_tree t, want, verified;
    guess(&shape, 64);
    drafting_tree(&t, 64);
    drafting_tree(&want, 64);
    drafting_tree(&verified, 5);
    propose(r, 0, 0, &t);
    assert_int_equal(t.n, 0); /* nothing is known */
    step(w, r, 3);
    propose(r, 0, 0, &t);
    expect(w, &shape, 3, &want);
    drafting_assert_same(&t, &want, SPEC_SOURCE_HEAD);
    assert_true(t.n == 64 && t.score == want.score);
    /* 6 . { 2, 7 { 3, 8 { 9 } } }: 7 8 9 are right, then 1 */
    spec_tree_add(&verified, -1, 2, 0.5f, 0);
    spec_tree_add(&verified, -1, 7, 0.5f, 0);
    spec_tree_add(&verified, 1, 3, 0.5f, 0);
    spec_tree_add(&verified, 1, 8, 0.5f, 0);
    spec_tree_add(&verified, 3, 9, 0.5f, 0);
    spec_outcome o = {.size = sizeof o,
                      .committed = committed,
                      .n_committed = 4,
                      .tree = &verified,
                      .accepted = accepted,
                      .n_rows = 6,
                      .n_taps = 1,
                      .hidden_dim = HIDDEN,
                      .hidden = w->rows};
    assert_int_equal(spec_request_observe(r, &o), 0);
    propose(r, 0, 0, &t);
    expect(w, &shape, 5, &want); /* node 4, the token 9 */
    drafting_assert_same(&t, &want, SPEC_SOURCE_HEAD);
    o.n_committed = 2; /* the text was cut behind 7 8: the row of 7, node 1 */
    assert_int_equal(spec_request_observe(r, &o), 0);
    propose(r, 0, 0, &t);
    expect(w, &shape, 2, &want);
    drafting_assert_same(&t, &want, SPEC_SOURCE_HEAD);
    o.n_rows = 0; /* tokens without rows */
    assert_int_equal(spec_request_observe(r, &o), 0);
    propose(r, 0, 0, &t);
    assert_int_equal(t.n, 0);
    step(w, r, 9);
    assert_int_equal(spec_request_commit(r, committed, 1), 0);
    propose(r, 0, 0, &t);
    assert_int_equal(t.n, 0);
    o = (spec_outcome){.size = sizeof o,
                       .committed = committed,
                       .n_committed = 2,
                       .n_rows = 1,
                       .n_taps = 1,
                       .hidden_dim = HIDDEN,
                       .hidden = w->rows};
    assert_int_equal(spec_request_observe(r, &o), 0); /* two tokens, the row of the one before */
    propose(r, 0, 0, &t);
    assert_int_equal(t.n, 0);
    spec_request_end(r);
    spec_drafter_free(d);
    specp_medusa_tree_release(&shape, NULL);
    spec_tree_release(&t, NULL);
    spec_tree_release(&want, NULL);
    spec_tree_release(&verified, NULL);
}

/* The row of the prompt's last token but one is what the first draft needs. */
static void test_reports_on_the_prompt(void **state) {
    const world *w = *state;
    const spec_token prompt[] = {4, 5, 6};
    static const struct {
        size_t first, n;
        long row; /* -1: no draft */
    } report[] = {{0, 2, 1}, {0, 3, 1}, {1, 1, 0}, {0, 1, -1}, {2, 1, -1}};
    spec_drafter *d = drafting_open_env(w->spec, "", &w->env);
    specp_medusa_tree shape;
    spec_tree t, want;
    guess(&shape, 64);
    drafting_tree(&t, 64);
    drafting_tree(&want, 64);
    for (size_t i = 0; i < sizeof report / sizeof *report; i++) {
        spec_request *r = drafting_begin(d, 0, prompt, 3);
        spec_outcome o = {.size = sizeof o,
                          .n_rows = report[i].n,
                          .n_taps = 1,
                          .hidden_dim = HIDDEN,
                          .hidden = w->rows,
                          .prompt_row = report[i].first};
        assert_int_equal(spec_request_observe(r, &o), 0);
        propose(r, 0, 0, &t);
        spec_tree_clear(&want);
        if (report[i].row >= 0) expect(w, &shape, (size_t)report[i].row, &want);
        drafting_assert_same(&t, &want, SPEC_SOURCE_HEAD);
        spec_request_end(r);
    }
    spec_drafter_free(d);
    specp_medusa_tree_release(&shape, NULL);
    spec_tree_release(&t, NULL);
    spec_tree_release(&want, NULL);
}

static void test_trees(void **state) {
    const world *w = *state;
    static const struct {
        const char *options;
        bool chosen; /* the file has choices of its own */
        uint32_t n, depth;
    } one[] = {{"", false, 64, 3},         {",nodes=5", false, 5, 0}, {"", true, 4, 2},
               {",tree=0/00", true, 2, 2}, {",tree=9", false, 1, 1},  {",tree=000/0/00", false, 3, 3}};
    spec_tree t;
    drafting_tree(&t, 100);
    for (size_t i = 0; i < sizeof one / sizeof *one; i++) {
        spec_drafter *d = drafting_open_env(one[i].chosen ? w->chosen : w->spec, one[i].options, &w->env);
        spec_request *r = drafting_begin(d, 0, NULL, 0);
        step(w, r, i);
        propose(r, 0, 0, &t);
        assert_int_equal(t.n, one[i].n);
        if (one[i].depth) assert_int_equal(drafting_depth(&t), one[i].depth);
        spec_request_end(r);
        spec_drafter_free(d);
    }
    spec_tree_release(&t, NULL);
}

/* Within a budget and a depth the most probable nodes are kept, in their order. */
static void test_limits(void **state) {
    const world *w = *state;
    spec_drafter *d = drafting_open_env(w->spec, "", &w->env);
    spec_request *r = drafting_begin(d, 0, NULL, 0);
    spec_tree all, t;
    drafting_tree(&all, 64);
    drafting_tree(&t, 40);
    step(w, r, 11);
    propose(r, 0, 0, &all);
    for (uint32_t depth = 1; depth <= 3; depth++)
        for (uint32_t budget = 1; budget <= 41; budget += 5) {
            propose(r, budget, depth, &t);
            uint32_t n = 0;
            float least = 2.0f, score = 0.0f;
            for (uint32_t i = 0; i < t.n; i++) {
                least = t.prob[i] < least ? t.prob[i] : least;
                score += t.prob[i];
            }
            for (uint32_t i = 0; i < all.n; i++) {
                bool fits = spec_tree_depth(&all, (int32_t)i) <= depth;
                if (fits && n < t.n && t.token[n] == all.token[i] && t.prob[n] == all.prob[i])
                    n++;
                else
                    assert_true(!fits || all.prob[i] <= least);
            }
            assert_int_equal(n, t.n);
            assert_true(t.n <= 40 && t.n <= budget && t.score == score);
            assert_true(t.n == (budget < 40 ? budget : 40) || depth < 3);
        }
    spec_request_end(r);
    spec_drafter_free(d);
    spec_tree_release(&all, NULL);
    spec_tree_release(&t, NULL);
}

#define N_BATCH 150

static void test_batches(void **state) {
    const world *w = *state;
    spec_drafter *d = drafting_open_env(w->spec, ",nodes=12", &w->env);
    static spec_request *r[N_BATCH];
    static spec_tree tree[N_BATCH], *t[N_BATCH];
    spec_tree alone;
    drafting_tree(&alone, 12);
    for (size_t i = 0; i < N_BATCH; i++) {
        r[i] = drafting_begin(d, 0, NULL, 0);
        drafting_tree(&tree[i], 12);
        t[i] = &tree[i];
        if (i % 7 != 3) step(w, r[i], i);
    }
    assert_int_equal(spec_request_propose_batch(r, NULL, t, N_BATCH), 0);
    for (size_t i = 0; i < N_BATCH; i++) {
        propose(r[i], 0, 0, &alone);
        assert_int_equal(alone.n, i % 7 != 3 ? 12 : 0);
        drafting_assert_same(&tree[i], &alone, SPEC_SOURCE_HEAD);
        spec_tree_release(&tree[i], NULL);
        spec_request_end(r[i]);
    }
    spec_drafter_free(d);
    spec_tree_release(&alone, NULL);
}

static void test_needs(void **state) {
    const world *w = *state;
    spec_drafter *d = drafting_open_env(w->spec, "", &w->env);
    spec_needs n;
    spec_drafter_stats s;
    spec_drafter_needs(d, &n);
    assert_true(n.n_taps == 1 && n.tap_layer[0] == -1 && !n.top_k && !n.prompt_taps && !n.q_rows);
    spec_drafter_get_stats(d, &s);
    assert_true(s.index_bytes > HEADS * HIDDEN * HIDDEN * sizeof(float) && s.index_bytes < 1000000);
    spec_drafter_free(d);
}

static void test_refused(void **state) {
    world *w = *state;
    const spec_drafter_env bare = {.size = sizeof bare};
    const spec_drafter_env odd = {.size = sizeof odd, .target = &w->other, .threads = 1};
    const drafting_case one[] = {
        {"", "target", SPEC_ERR_STATE, &bare},
        {"", "specbench run", SPEC_ERR_STATE, NULL},
        {"", "21", SPEC_ERR_INVALID, &odd},
        {".not", "heads.not", SPEC_ERR_NOT_FOUND, &w->env},
        {",nodes=0", "nodes", SPEC_ERR_INVALID, &w->env},
        {",tree=1", "", SPEC_OK, &w->env},
        {",tree=0/x", "'x'", SPEC_ERR_INVALID, &w->env},
        {",tree=0/", "path 1", SPEC_ERR_INVALID, &w->env},
        {",tree=00", "tree", SPEC_ERR_INVALID, &w->env},
        {",tree=0/00/000/0000", "4 heads", SPEC_ERR_INVALID, &w->env},
        {",tree=0/0", "tree", SPEC_ERR_INVALID, &w->env},
        {",depth=3", "depth", SPEC_ERR_INVALID, &w->env},
    };
    drafting_check_cases(w->spec, one, sizeof one / sizeof *one);
}

static int serve(const void *world_, spec_request *r) {
    spec_tree t;
    drafting_tree(&t, 8);
    step(world_, r, 1);
    propose(r, 0, 0, &t);
    assert_int_equal(t.n, 8);
    spec_tree_release(&t, NULL);
    return SPEC_OK;
}

static void test_refused_memory(void **state) {
    const world *w = *state;
    const spec_request_info info = {.size = sizeof info};
    drafting_refuse_memory(w->spec, &w->env, &info, serve, w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_row), cmocka_unit_test(test_reports_on_the_prompt),
        cmocka_unit_test(test_trees),     cmocka_unit_test(test_limits),
        cmocka_unit_test(test_batches),   cmocka_unit_test(test_needs),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_refused_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

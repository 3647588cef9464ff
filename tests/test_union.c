/* SPDX-License-Identifier: MIT */
/*
 * union: the merged tree against a brute-force list of paths, what each part is told
 * of an outcome, sampled drafts, the texts that name unions, and refused memory.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "drafting.h"
#include "spy_drafter.h"

#define N_PARTS 3

typedef struct fixture {
    spy spy[N_PARTS];
    spec_drafter *d;
    spec_request *q;
    spec_tree t;
} fixture;

static spec_drafter *make(fixture *f, const spec_needs *needs) {
    spec_drafter *part[N_PARTS], *d = NULL;
    for (size_t k = 0; k < N_PARTS; k++) {
        part[k] = spy_drafter(&f->spy[k]);
        if (needs) f->spy[k].needs = needs[k];
    }
    assert_int_equal(specp_union_of(&d, part, N_PARTS, NULL), 0);
    return d;
}

static fixture *open_fixture(const spec_needs *needs) {
    fixture *f = calloc(1, sizeof *f);
    f->d = make(f, needs);
    spec_request_info info = {.size = sizeof info};
    assert_int_equal(spec_request_begin(f->d, &info, &f->q), 0);
    assert_int_equal(spec_tree_init(&f->t, SPY_NODES, 4, 2, NULL), 0);
    return f;
}

static void close_fixture(fixture *f) {
    spec_request_end(f->q);
    spec_drafter_free(f->d);
    for (size_t k = 0; k < N_PARTS; k++) {
        assert_int_equal(f->spy[k].freed, 1);
        assert_int_equal(f->spy[k].ended, f->spy[k].begun);
        spy_release(&f->spy[k]);
    }
    spec_tree_release(&f->t, NULL);
    free(f);
}

static void propose(fixture *f, uint32_t budget) {
    spec_propose_args a = {.size = sizeof a, .budget = budget};
    spec_message why;
    assert_int_equal(spec_request_propose(f->q, &a, &f->t), 0);
    if (spec_tree_check(&f->t, &why)) fail_msg("%s", why.text);
}

/* ---- the merge, against a list of paths -------------------------------------------- */

#define MAX_PATHS (N_PARTS * SPY_NODES)

typedef struct path {
    spec_token token[8];
    uint32_t n;
    float prob;
    int source;
} path;

static path path_of(const spec_tree *t, int32_t i) {
    path p = {.n = spec_tree_depth(t, i), .prob = t->prob[i], .source = t->source[i]};
    for (uint32_t at = p.n; i >= 0; i = t->parent[i]) p.token[--at] = t->token[i];
    return p;
}

static path *find_path(path *list, size_t n, const path *p) {
    for (size_t i = 0; i < n; i++)
        if (list[i].n == p->n && !memcmp(list[i].token, p->token, sizeof p->token)) return &list[i];
    return NULL;
}

/* All paths of all drafts, each once with its largest probability. */
static size_t all_paths(const fixture *f, path *list) {
    size_t n = 0;
    for (size_t k = 0; k < N_PARTS; k++) {
        for (uint32_t i = 0; i < f->spy[k].draft.n; i++) {
            path p = path_of(&f->spy[k].draft, (int32_t)i), *known = find_path(list, n, &p);
            if (!known)
                list[n++] = p;
            else if (p.prob > known->prob)
                *known = p;
        }
    }
    return n;
}

/* Probabilities in sixteenths, so that many are equal; a single budget per draft. */
static void random_draft(spy *s, support_rng *r, int source) {
    uint32_t n = support_rng_below(r, 20);
    spy_clear(s);
    for (uint32_t i = 0; i < n; i++) {
        int32_t parent = (int32_t)support_rng_below(r, s->draft.n + 1) - 1;
        spec_token token = (spec_token)support_rng_below(r, 4);
        float limit = parent < 0 ? 1.0f : s->draft.prob[parent];
        float prob = (float)(1 + support_rng_below(r, 16)) / 16.0f;
        if (spec_tree_child(&s->draft, parent, token) >= 0) continue;
        if (parent >= 0 && spec_tree_depth(&s->draft, parent) == 8) continue;
        spy_node(s, parent, token, prob < limit ? prob : limit, source);
    }
}

static void assert_is_best(const fixture *f, uint32_t budget) {
    static path list[MAX_PATHS];
    size_t n = all_paths(f, list);
    assert_int_equal(f->t.n, n < budget ? n : budget);
    float least = 2.0f, sum = 0.0f;
    for (uint32_t i = 0; i < f->t.n; i++) {
        path p = path_of(&f->t, (int32_t)i), *known = find_path(list, n, &p);
        assert_non_null(known);
        assert_true(known->prob == p.prob && known->source == p.source);
        assert_int_equal(f->t.q_row[i], -1);
        if (p.prob < least) least = p.prob;
        sum += p.prob;
        known->n = 0; /* taken */
        for (uint32_t j = 0; j < i; j++)
            if (f->t.parent[j] == f->t.parent[i]) assert_true(f->t.prob[j] >= f->t.prob[i]);
    }
    for (size_t i = 0; i < n; i++) assert_true(!list[i].n || list[i].prob <= least);
    assert_float_equal(f->t.score, sum, 1e-4);
}

static void test_the_best_of_all_drafts(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    fixture *f = open_fixture(NULL);
    size_t cut = 0, merged = 0;
    for (int round = 0; round < 3000; round++) {
        size_t drafts = 0, nodes = 0;
        for (int k = 0; k < N_PARTS; k++) {
            random_draft(&f->spy[k], &r, SPEC_SOURCE_USER + k);
            drafts += f->spy[k].draft.n > 0;
            nodes += f->spy[k].draft.n;
            f->spy[k].draft.match_len = (uint32_t)k + 3;
        }
        uint32_t budget = 20 + support_rng_below(&r, 30);
        if (drafts < 2) continue;
        propose(f, budget);
        assert_is_best(f, budget);
        assert_int_equal(f->t.match_len, f->spy[2].draft.n ? 5 : 4);
        cut += f->t.n == budget;
        merged += f->t.n < nodes && f->t.n < budget;
    }
    assert_true(cut > 50 && merged > 1000);
    close_fixture(f);
}

/* ---- sampled drafts ------------------------------------------------------------------ */

static void test_a_draft_alone_stays_as_it_is(void **state) {
    (void)state;
    fixture *f = open_fixture(NULL);
    spy *s = &f->spy[1];
    propose(f, 1); /* less room than later */
    assert_int_equal(f->t.n, 0);
    spy_node(s, -1, 7, 0.2f, SPEC_SOURCE_MODEL); /* in the order of the draws */
    spy_node(s, -1, 8, 0.6f, SPEC_SOURCE_MODEL);
    s->draft.q_row[0] = s->draft.q_row[1] = 0;
    s->draft.n_q = 1;
    propose(f, 9);
    assert_int_equal(f->t.n, 2);
    assert_true(f->t.token[0] == 7 && f->t.token[1] == 8 && f->t.q_row[1] == 0 && f->t.n_q == 1);
    assert_int_equal(f->spy[0].offered_q, 4);
    assert_int_equal(s->offered_q, 4);
    assert_int_equal(f->spy[2].offered_q, 0);
    spy_node(&f->spy[2], -1, 9, 0.1f, SPEC_SOURCE_USER); /* beside another, q nodes go */
    spy_node(s, 1, 5, 0.5f, SPEC_SOURCE_MODEL);          /* and what hangs from them */
    spy_node(s, -1, 6, 0.3f, SPEC_SOURCE_MODEL);
    propose(f, 9);
    assert_int_equal(f->t.n, 2);
    assert_true(f->t.token[0] == 6 && f->t.token[1] == 9 && f->t.n_q == 0);
    close_fixture(f);
}

/* ---- what the parts are told ------------------------------------------------------------ */

#define TOP_K  4
#define N_TAPS 3

/* Rows whose every number says where it stands. */
typedef struct rows {
    spec_token token[SPY_NODES * TOP_K];
    float logprob[SPY_NODES * TOP_K], hidden[SPY_NODES * N_TAPS * SPY_DIM];
} rows;

static void fill_rows(rows *w, spec_outcome *o, size_t n) {
    for (size_t i = 0; i < n * TOP_K; i++) {
        w->token[i] = (spec_token)(100 * (i / TOP_K) + i % TOP_K);
        w->logprob[i] = -(float)w->token[i];
    }
    for (size_t i = 0; i < n * N_TAPS * SPY_DIM; i++) {
        size_t row = i / (N_TAPS * SPY_DIM), tap = i / SPY_DIM % N_TAPS;
        w->hidden[i] = (float)(100 * row + 10 * tap + i % SPY_DIM);
    }
    o->n_rows = n;
    o->top_k = TOP_K;
    o->topk_token = w->token;
    o->topk_logprob = w->logprob;
    o->n_taps = N_TAPS;
    o->hidden_dim = SPY_DIM;
    o->hidden = w->hidden;
}

/* The parts ask for taps 5 9 | 9 -1 | none, and 2 | 4 | 0 columns: all together for
 * 5 9 -1 and 4. */
static const int32_t taps_a[] = {5, 9}, taps_b[] = {-1, 9};
static const spec_needs needs[N_PARTS] = {{.top_k = 2, .n_taps = 2, .tap_layer = taps_a, .q_rows = 3},
                                          {.top_k = 4, .n_taps = 2, .tap_layer = taps_b, .prompt_taps = 1},
                                          {0}};
static const uint32_t tap_at[N_PARTS][2] = {{0, 1}, {2, 1}, {0, 0}};

/* Row i of call c of part k is row `from` of the outcome. */
static void assert_row(const fixture *f, size_t k, size_t c, size_t i, size_t from) {
    const spy_call *call = &f->spy[k].call[c];
    assert_true(i < call->n_rows);
    assert_int_equal(call->top_k, needs[k].top_k);
    assert_int_equal(call->n_taps, needs[k].n_taps);
    for (size_t j = 0; j < call->top_k; j++) {
        assert_int_equal(call->topk[i * call->top_k + j], 100 * from + j);
        assert_true(call->logprob[i * call->top_k + j] == -(float)(100 * from + j));
    }
    for (size_t j = 0; j < call->n_taps; j++)
        for (size_t x = 0; x < SPY_DIM; x++)
            assert_true(call->hidden[(i * call->n_taps + j) * SPY_DIM + x] ==
                        (float)(100 * from + 10 * tap_at[k][j] + x));
}

/* Part 0 drafts 1-2 and 1-7, part 1 drafts 1-2-3 and 8, part 2 drafts 9. Merged, best
 * first: 1 2 3 8 7; 9 is beyond the budget of five. */
static void draft_three(fixture *f) {
    spy_node(&f->spy[0], -1, 1, 0.9f, SPEC_SOURCE_USER);
    spy_node(&f->spy[0], 0, 7, 0.2f, SPEC_SOURCE_USER);
    spy_node(&f->spy[0], 0, 2, 0.1f, SPEC_SOURCE_USER);
    spy_node(&f->spy[1], -1, 8, 0.3f, SPEC_SOURCE_USER);
    spy_node(&f->spy[1], -1, 1, 0.8f, SPEC_SOURCE_USER);
    spy_node(&f->spy[1], 1, 2, 0.7f, SPEC_SOURCE_USER);
    spy_node(&f->spy[1], 2, 3, 0.6f, SPEC_SOURCE_USER);
    spy_node(&f->spy[2], -1, 9, 0.05f, SPEC_SOURCE_USER);
    propose(f, 5);
    const spec_token merged[] = {1, 2, 3, 8, 7};
    assert_int_equal(f->t.n, 5);
    assert_memory_equal(f->t.token, merged, sizeof merged);
}

static void assert_told(const fixture *f) {
    const spy_call *a = f->spy[0].call, *b = f->spy[1].call, *c = f->spy[2].call;
    /* Part 0: its 1 and 2 are accepted, then the target says 3; 6 is a plain step. */
    assert_int_equal(f->spy[0].n_calls, 2);
    assert_true(a[0].tree && a[0].n == 3 && a[0].n_committed == 3 && a[0].committed[2] == 3);
    assert_true(a[0].token[1] == 7 && a[0].parent[1] == 0 && a[0].token[2] == 2 && a[0].parent[2] == 0);
    assert_true(a[0].accepted[0] && !a[0].accepted[1] && a[0].accepted[2]);
    assert_int_equal(a[0].n_rows, 4);
    for (size_t i = 0; i < 4; i++) assert_row(f, 0, 0, i, (const size_t[]){0, 1, 5, 2}[i]);
    assert_true(a[1].tree && a[1].n == 0 && a[1].n_committed == 1 && a[1].committed[0] == 6);
    assert_row(f, 0, 1, 0, 3);
    /* Part 1: all at once. */
    assert_int_equal(f->spy[1].n_calls, 1);
    assert_true(b[0].n == 4 && b[0].n_accepted == 3 && !b[0].accepted[0] && b[0].n_committed == 4);
    for (size_t i = 0; i < 5; i++) assert_row(f, 1, 0, i, (const size_t[]){0, 4, 1, 2, 3}[i]);
    /* Part 2: nothing of its own was verified, and it asked for no rows. */
    assert_int_equal(f->spy[2].n_calls, 2);
    assert_true(c[0].tree && c[0].n == 0 && c[0].n_committed == 1 && c[0].committed[0] == 1);
    assert_true(!c[1].tree && c[1].n_committed == 3 && c[1].committed[0] == 2 && c[1].committed[2] == 6);
    assert_true(!c[0].top_k && !c[0].n_taps);
}

static void test_each_part_sees_its_own(void **state) {
    (void)state;
    fixture *f = open_fixture(needs);
    spec_needs all;
    spec_drafter_needs(f->d, &all);
    assert_true(all.top_k == 4 && all.n_taps == 3 && all.q_rows == 3 && all.prompt_taps);
    assert_true(all.tap_layer[0] == 5 && all.tap_layer[1] == 9 && all.tap_layer[2] == -1);
    draft_three(f);
    static const spec_token committed[] = {1, 2, 3, 6};
    static const uint8_t accepted[] = {1, 1, 1, 0, 0};
    static rows w;
    spec_outcome o = {
        .size = sizeof o, .committed = committed, .n_committed = 4, .tree = &f->t, .accepted = accepted};
    fill_rows(&w, &o, 6);
    f->spy[1].observe_fails = SPEC_ERR_NOMEM; /* the repeated call tells nobody twice */
    assert_int_equal(spec_request_observe(f->q, &o), SPEC_ERR_NOMEM);
    spec_tree none;
    assert_int_equal(spec_tree_init(&none, 5, 0, 0, NULL), 0);
    assert_int_equal(spec_request_propose(f->q, NULL, &none), 0);
    assert_int_equal(none.n, 0); /* the parts do not know the same text */
    spec_tree_release(&none, NULL);
    f->spy[1].observe_fails = 0;
    assert_int_equal(spec_request_observe(f->q, &o), 0);
    assert_told(f);
    close_fixture(f);
}

/* The engine stops within the accepted path, and verified less than was drafted: 1 is
 * missing, and what hangs from it is nobody's. */
static void test_a_part_of_the_draft_was_verified(void **state) {
    (void)state;
    fixture *f = open_fixture(NULL);
    draft_three(f);
    static const spec_token committed[] = {8};
    static const uint8_t accepted[] = {1, 0};
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, 2, 0, 0, NULL), 0);
    spec_tree_add(&t, -1, 8, 0.3f, SPEC_SOURCE_USER);
    spec_tree_add(&t, -1, 2, 0.1f, SPEC_SOURCE_USER);
    spec_outcome o = {
        .size = sizeof o, .committed = committed, .n_committed = 1, .tree = &t, .accepted = accepted};
    assert_int_equal(spec_request_observe(f->q, &o), 0);
    const spy_call *b = f->spy[1].call;
    assert_true(f->spy[0].n_calls == 1 && f->spy[0].call[0].n == 0 && f->spy[0].call[0].n_committed == 1);
    assert_true(f->spy[1].n_calls == 1 && b->n == 1 && b->token[0] == 8 && b->n_accepted == 1);
    assert_true(b->n_committed == 1 && b->committed[0] == 8);
    spec_tree_release(&t, NULL);
    close_fixture(f);
}

/* The prompt's rows pass as they are, in each part's columns. */
static void test_rows_of_the_prompt(void **state) {
    (void)state;
    fixture *f = open_fixture(needs);
    static rows w;
    spec_outcome o = {.size = sizeof o, .prompt_row = 7};
    fill_rows(&w, &o, 3);
    assert_int_equal(spec_request_observe(f->q, &o), 0);
    for (size_t k = 0; k < 2; k++) {
        assert_int_equal(f->spy[k].n_calls, 1);
        assert_true(!f->spy[k].call[0].tree && f->spy[k].call[0].n_rows == 3);
        assert_int_equal(f->spy[k].call[0].prompt_row, 7);
        for (size_t i = 0; i < 3; i++) assert_row(f, k, 0, i, i);
    }
    close_fixture(f);
}

/* ---- batches, failures, texts ------------------------------------------------------------- */

static void test_a_batch_asks_each_part_once(void **state) {
    (void)state;
    fixture *f = open_fixture(NULL);
    spec_request *q[2] = {f->q, NULL};
    spec_tree other, *t[2] = {&f->t, &other};
    spec_request_info info = {.size = sizeof info};
    assert_int_equal(spec_tree_init(&other, 3, 0, 0, NULL), 0);
    assert_int_equal(spec_request_begin(f->d, &info, &q[1]), 0);
    for (size_t k = 0; k < N_PARTS; k++)
        for (spec_token i = 0; i < 3; i++) spy_node(&f->spy[k], -1, 10 * (spec_token)k + i, 0.1f, 16);
    assert_int_equal(spec_request_propose_batch(q, NULL, t, 2), 0);
    assert_true(f->t.n == 9 && other.n == 3);
    for (size_t k = 0; k < N_PARTS; k++) assert_true(f->spy[k].batched == 1 && f->spy[k].asked == 2);
    spec_request_end(q[1]);
    spec_tree_release(&other, NULL);
    close_fixture(f);
}

static void test_a_part_that_does_not_begin(void **state) {
    (void)state;
    fixture *f = open_fixture(NULL);
    spec_request_info info = {.size = sizeof info};
    spec_request *q = NULL;
    f->spy[2].begin_fails = SPEC_ERR_FULL;
    assert_int_equal(spec_request_begin(f->d, &info, &q), SPEC_ERR_FULL);
    assert_null(q);
    assert_int_equal(f->spy[1].ended, 1);
    close_fixture(f);
}

static void test_texts(void **state) {
    (void)state;
    static const char *const good[] = {"union:suffix:preset=arctic+pld:n_max=2", "union:(pld:n_max=2)+(pld)",
                                       "union:(cascade:suffix>pld,tau=2)+ngram-cache",
                                       "union:(union:pld+pld)+(union:(union:pld+none)+pld)"};
    static const drafting_case bad[] = {
        {"union:pld", "'pld': expected two drafters with '+' between", SPEC_ERR_INVALID, NULL},
        {"union:pld+", "a part is empty", SPEC_ERR_INVALID, NULL},
        {"union:+pld", "a part is empty", SPEC_ERR_INVALID, NULL},
        {"union:()+pld", "a part is empty", SPEC_ERR_INVALID, NULL},
        {"union:pld+pdl", "drafter union: there is no drafter 'pdl'", SPEC_ERR_NOT_FOUND, NULL},
        {"union:pld+pld:n_max=99", "drafter union: drafter pld: option n_max: '99'", SPEC_ERR_INVALID, NULL},
        {"union:pld+(pld", "'(' without ')'", SPEC_ERR_INVALID, NULL},
        {"union:pld+pld)", "')' without '('", SPEC_ERR_INVALID, NULL},
        {"union:(pld)x+pld", "there is no drafter '(pld)x'", SPEC_ERR_NOT_FOUND, NULL},
        {"union:(pld)(pld)+pld", "there is no drafter '(pld)(pld)'", SPEC_ERR_NOT_FOUND, NULL},
        {"union:cascade:pld>pld+pld", "'cascade:pld>pld': expected it in parentheses", SPEC_ERR_INVALID,
         NULL},
        {"union:pld+pld+pld+pld+pld+pld+pld+pld+none", "'none': expected at most 8", SPEC_ERR_INVALID, NULL},
        {"union:(((((((((pld)))))))))+pld", "more than 8 '('", SPEC_ERR_INVALID, NULL},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) spec_drafter_free(drafting_open(good[i], NULL));
    drafting_check_cases("", bad, sizeof bad / sizeof *bad);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_best_of_all_drafts),
        cmocka_unit_test(test_a_draft_alone_stays_as_it_is),
        cmocka_unit_test(test_each_part_sees_its_own),
        cmocka_unit_test(test_a_part_of_the_draft_was_verified),
        cmocka_unit_test(test_rows_of_the_prompt),
        cmocka_unit_test(test_a_batch_asks_each_part_once),
        cmocka_unit_test(test_a_part_that_does_not_begin),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * specp_index_chain, which drafters weigh all matches by, against the public walk over suffixes and
 * children, and against counts by brute force: random texts in several sequences, shortened and removed in
 * between, depths small enough to cut them off, few tokens and many.
 */
#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "index_world.h"
#include "support.h"

#define MAX_CHILDREN 64
#define MAX_CLASSES  6

static uint32_t below(void *user, uint32_t n) { return support_rng_below(user, n); }

/* What was seen, for the test to know that it tested something. */
typedef struct seen {
    size_t chains, classes, left_out, at_depth, cut_by_cap, cut_by_enough;
} seen;

static void check_branches(const spec_index *x, const specp_class *c, spec_locus at) {
    spec_child child[MAX_CHILDREN];
    size_t n = spec_index_children(x, at, 0, MAX_CHILDREN, child);
    assert_int_equal(c->n, spec_index_n_children(x, at));
    for (size_t i = 0; i < n; i++) {
        spec_locus to = specp_branch_locus(c, &c->branch[i]);
        assert_int_equal(c->branch[i].token, child[i].token);
        assert_memory_equal(&to, &child[i].locus, sizeof to);
    }
}

/* The chain of the last tokens of tok[0..n), which occur. */
static void check_chain(const world *w, const spec_token *tok, size_t n, size_t n_own, uint32_t enough,
                        size_t cap, seen *s) {
    const spec_index *x = w->index;
    specp_class got[MAX_CLASSES];
    spec_locus at = spec_index_find(x, tok, n);
    size_t wrote = specp_index_chain(x, at, n_own, enough, cap, got), k = 0;
    if (n == w->options.depth) {
        at = spec_index_find(x, tok + 1, n - 1);
        s->at_depth++;
    }
    for (; at.len > 0 && k < cap; at = spec_index_suffix(x, at)) {
        uint32_t count = oracle_count(&w->truth, tok + n - at.len, at.len) - (at.len <= n_own);
        s->left_out += count == 0;
        if (!count) continue;
        assert_true(k < wrote);
        assert_int_equal(got[k].at.len, at.len);
        assert_int_equal(got[k].at.state, at.state);
        assert_int_equal(got[k].at.count, count);
        check_branches(x, &got[k++], at);
        if (count <= enough) continue;
        s->cut_by_enough++;
        break;
    }
    assert_int_equal(wrote, k);
    s->chains++;
    s->classes += k;
    s->cut_by_cap += k == cap;
}

static void check_some(const world *w, support_rng *rng, seen *s) {
    const oracle *o = &w->truth;
    for (int i = 0; i < 20 && o->n; i++) {
        const oracle_seq *q = &o->seq[support_rng_below(rng, (uint32_t)o->n)];
        if (!q->n) continue;
        size_t end = 1 + support_rng_below(rng, (uint32_t)q->n);
        size_t most = end < o->depth ? end : o->depth, n = 1 + support_rng_below(rng, (uint32_t)most);
        size_t n_own = support_rng_chance(rng, 0.5) ? support_rng_below(rng, o->depth + 2) : SIZE_MAX;
        if (support_rng_chance(rng, 0.3)) n = most;
        check_chain(w, q->tok + end - n, n, n_own, support_rng_below(rng, 3) ? UINT32_MAX : 4,
                    1 + support_rng_below(rng, MAX_CLASSES), s);
    }
}

static seen play(uint32_t depth, uint32_t alphabet, uint32_t period, support_rng *rng) {
    seen s = {0};
    world w;
    const world_options o = {
        .depth = depth, .alphabet = alphabet, .period = period, .max_tokens = 300, .longest = 20};
    assert_true(world_open(&w, &o));
    for (int step = 0; step < 250; step++) {
        if (!world_step(&w, (world_choice){below, rng})) fail_msg("%s", w.why.text);
        check_some(&w, rng, &s);
    }
    world_close(&w);
    return s;
}

static void test_chains(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 500);
    static const struct {
        uint32_t depth, alphabet, period;
    } cases[] = {{2, 2, 0}, {3, 4, 0}, {8, 2, 0}, {8, 30, 0}, {16, 3, 7}, {40, 50, 11}};
    seen all = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        seen s = play(cases[i].depth, cases[i].alphabet, cases[i].period, &rng);
        assert_true(s.chains > 1000 && s.classes > s.chains / 4);
        all.left_out += s.left_out;
        all.at_depth += s.at_depth;
        all.cut_by_cap += s.cut_by_cap;
        all.cut_by_enough += s.cut_by_enough;
    }
    assert_true(all.left_out > 500 && all.at_depth > 500 && all.cut_by_cap > 500 && all.cut_by_enough > 500);
}

/* What is no locus, and the root, have none. */
static void test_no_chain(void **state) {
    (void)state;
    world w;
    spec_seq seq = 0;
    specp_class c[2];
    const spec_token tok[] = {1, 2, 3};
    const world_options o = {.depth = 4, .alphabet = 5};
    assert_true(world_open(&w, &o) && world_begin(&w, &seq) && world_append(&w, seq, tok, 3));
    assert_int_equal(specp_index_chain(w.index, (spec_locus){0}, 0, 9, 2, c), 0);
    assert_int_equal(specp_index_chain(w.index, spec_index_root(w.index), 0, 9, 2, c), 0);
    assert_int_equal(specp_index_chain(w.index, spec_index_tail(w.index, seq), SIZE_MAX, 9, 2, c), 0);
    assert_int_equal(specp_index_chain(w.index, spec_index_tail(w.index, seq), 2, 9, 2, c), 1);
    assert_true(c[0].at.len == 3 && c[0].at.count == 1 && c[0].n == 0);
    world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_no_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

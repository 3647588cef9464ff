/* SPDX-License-Identifier: MIT */
/* The draft tree: memory, building, clipping against brute force, and the check
 * of its shape. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "draft_internal.h"

/* ---- memory ----------------------------------------------------------------- */

static void test_init_gives_separate_aligned_arrays(void **state) {
    (void)state;
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator a = support_alloc(&heap);
    for (uint32_t cap = 1; cap <= 9; cap++) {
        spec_tree t;
        uint32_t q_cap = cap % 3, vocab = 5;
        assert_int_equal(spec_tree_init(&t, cap, q_cap, vocab, &a), 0);
        assert_int_equal(t.n, 0);
        assert_true(t.cap == cap && t.q_cap == q_cap && t.vocab == vocab);
        assert_true((t.q == NULL) == (q_cap == 0));
        assert_int_equal((uintptr_t)t.prob % sizeof(float), 0);
        assert_int_equal((uintptr_t)t.q % sizeof(float), 0);
        /* Fill everything: the heap's marks and these values tell an overlap. */
        for (uint32_t i = 0; i < cap; i++)
            assert_int_equal(spec_tree_add(&t, (int32_t)i - 1, (spec_token)i, 0.5f, 200), i);
        for (uint32_t i = 0; i < q_cap * vocab; i++) t.q[i] = -1.0f;
        for (uint32_t i = 0; i < cap; i++) {
            assert_true(t.token[i] == (spec_token)i && t.parent[i] == (int32_t)i - 1);
            assert_true(t.prob[i] == 0.5f && t.source[i] == 200 && t.q_row[i] == -1);
        }
        spec_tree_release(&t, &a);
        assert_true(!t.token && !t.cap);
        spec_tree_release(&t, &a);
    }
    support_heap_assert_clean(&heap);
}

static void test_init_refuses_what_it_cannot_do(void **state) {
    (void)state;
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator a = support_alloc(&heap);
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, 0, 0, 0, &a), SPEC_ERR_INVALID);
    assert_int_equal(spec_tree_init(&t, SPEC_TREE_MAX_NODES + 1, 0, 0, &a), SPEC_ERR_INVALID);
    assert_int_equal(spec_tree_init(&t, 4, 1, 0, &a), SPEC_ERR_INVALID);
    assert_int_equal(spec_tree_init(NULL, 4, 0, 0, &a), SPEC_ERR_INVALID);
    assert_int_equal(heap.requests, 0);
    support_heap_refuse(&heap, 0, true);
    assert_int_equal(spec_tree_init(&t, 4, 0, 0, &a), SPEC_ERR_NOMEM);
    assert_int_equal(heap.refused, 1);
    support_heap_assert_clean(&heap);
}

/* ---- building ----------------------------------------------------------------- */

static void test_the_picture(void **state) {
    (void)state;
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, 5, 0, 0, NULL), 0);
    assert_int_equal(spec_tree_add(&t, -1, 'a', 0.6f, SPEC_SOURCE_OWN), 0);
    assert_int_equal(spec_tree_add(&t, -1, 'd', 0.4f, SPEC_SOURCE_SHARED), 1);
    assert_int_equal(spec_tree_add(&t, 0, 'b', 0.5f, SPEC_SOURCE_OWN), 2);
    assert_int_equal(spec_tree_add(&t, 2, 'c', 0.5f, SPEC_SOURCE_OWN), 3);
    assert_int_equal(spec_tree_add(&t, 1, 'e', 0.4f, SPEC_SOURCE_SHARED), 4);
    assert_int_equal(spec_tree_add(&t, 1, 'f', 0.0f, SPEC_SOURCE_SHARED), -1);
    assert_int_equal(spec_tree_child(&t, -1, 'd'), 1);
    assert_int_equal(spec_tree_child(&t, -1, 'b'), -1);
    assert_int_equal(spec_tree_child(&t, 1, 'e'), 4);
    assert_int_equal(spec_tree_child(&t, 4, 'e'), -1);
    const uint32_t depth[5] = {1, 1, 2, 3, 2};
    for (int32_t i = 0; i < 5; i++) assert_int_equal(spec_tree_depth(&t, i), depth[i]);
    assert_int_equal(spec_tree_depth(&t, -1), 0);
    assert_int_equal(spec_tree_check(&t, NULL), 0);
    t.score = 1;
    t.match_len = 3;
    t.n_q = 1;
    spec_tree_clear(&t);
    assert_true(!t.n && !t.n_q && t.score == 0 && !t.match_len);
    spec_tree_release(&t, NULL);
}

static void test_source_names(void **state) {
    (void)state;
    assert_string_equal(spec_source_name(SPEC_SOURCE_OWN), "own");
    assert_string_equal(spec_source_name(SPEC_SOURCE_CONTROL), "control");
    assert_string_equal(spec_source_name(SPEC_SOURCE_USER), "user");
    assert_string_equal(spec_source_name(255), "user");
    const int without[] = {-1, 0, 10, 15, 256, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 7; i++) assert_string_equal(spec_source_name(without[i]), "other");
}

/* ---- random trees -------------------------------------------------------------- */

static void grow_random(support_rng *r, spec_tree *t, uint32_t n) {
    spec_tree_clear(t);
    while (t->n < n) {
        int32_t parent = (int32_t)support_rng_below(r, t->n + 1) - 1;
        if (t->n && support_rng_chance(r, 0.5)) parent = (int32_t)t->n - 1;
        spec_token token = (spec_token)support_rng_below(r, 2 * n);
        if (spec_tree_child(t, parent, token) >= 0) continue;
        float limit = parent < 0 ? 1.0f : t->prob[parent];
        spec_tree_add(t, parent, token, limit * (float)support_rng_unit(r), (int)support_rng_below(r, 256));
    }
}

/* Looks node i of the clipped tree up in the whole one, by its path. */
static int32_t find_path(const spec_tree *whole, const spec_tree *part, int32_t i) {
    if (i < 0) return -1;
    int32_t parent = find_path(whole, part, part->parent[i]);
    return parent == -2 ? -2 : spec_tree_child(whole, parent, part->token[i]);
}

static void assert_clipped(const spec_tree *whole, const spec_tree *part, uint32_t max_nodes,
                           uint32_t max_depth) {
    uint32_t want = 0;
    for (uint32_t i = 0; i < whole->n && want < max_nodes; i++) {
        if (spec_tree_depth(whole, (int32_t)i) > max_depth) continue;
        assert_true(want < part->n);
        assert_int_equal(find_path(whole, part, (int32_t)want), i);
        assert_true(part->prob[want] == whole->prob[i] && part->source[want] == whole->source[i]);
        assert_int_equal(part->q_row[want], whole->q_row[i]);
        want++;
    }
    assert_int_equal(part->n, want);
    assert_int_equal(spec_tree_check(part, NULL), 0);
}

static void test_clip_keeps_the_first_nodes_within_depth(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    spec_tree whole, part;
    assert_int_equal(spec_tree_init(&whole, 40, 8, 1, NULL), 0);
    assert_int_equal(spec_tree_init(&part, 40, 8, 1, NULL), 0);
    for (int round = 0; round < 2000; round++) {
        grow_random(&r, &whole, support_rng_below(&r, 41));
        spec_tree_clear(&part);
        for (uint32_t i = 0; i < whole.n; i++)
            spec_tree_add(&part, whole.parent[i], whole.token[i], whole.prob[i], whole.source[i]);
        for (uint32_t i = 0; i < whole.n; i++)
            part.q_row[i] = whole.q_row[i] = (int32_t)support_rng_below(&r, 9) - 1;
        part.n_q = whole.n_q = 8;
        uint32_t nodes = support_rng_below(&r, 45), depth = support_rng_below(&r, 12);
        if (round % 10 == 0) depth = UINT32_MAX;
        spec_tree_clip(&part, nodes, depth);
        assert_clipped(&whole, &part, nodes, depth);
    }
    spec_tree_release(&whole, NULL);
    spec_tree_release(&part, NULL);
}

static void test_clip_of_the_largest_tree(void **state) {
    (void)state;
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, SPEC_TREE_MAX_NODES, 0, 0, NULL), 0);
    for (int32_t i = 0; i < SPEC_TREE_MAX_NODES; i++) spec_tree_add(&t, i - 1, 7, 1.0f, 0);
    assert_int_equal(spec_tree_check(&t, NULL), 0);
    spec_tree_clip(&t, UINT32_MAX, SPEC_TREE_MAX_NODES - 1);
    assert_int_equal(t.n, SPEC_TREE_MAX_NODES - 1);
    spec_tree_clip(&t, 10, UINT32_MAX);
    assert_int_equal(t.n, 10);
    spec_tree_clip(&t, 10, 0);
    assert_int_equal(t.n, 0);
    spec_tree_release(&t, NULL);
}

/* ---- the check -------------------------------------------------------------------- */

static void damage_parent(spec_tree *t) { t->parent[2] = 2; }
static void damage_parent_later(spec_tree *t) { t->parent[1] = 3; }
static void damage_parent_low(spec_tree *t) { t->parent[0] = -2; }
static void damage_token(spec_tree *t) { t->token[3] = -1; }
static void damage_prob_above(spec_tree *t) { t->prob[2] = t->prob[0] + 0.01f; }
static void damage_prob_root(spec_tree *t) { t->prob[0] = 1.01f; }
static void damage_prob_negative(spec_tree *t) { t->prob[3] = -0.01f; }
static void damage_prob_nan(spec_tree *t) { t->prob[3] = NAN; }
static void damage_q_row(spec_tree *t) { t->q_row[1] = 2; }
static void damage_q_row_low(spec_tree *t) { t->q_row[1] = -2; }
static void damage_n(spec_tree *t) { t->n = t->cap + 1; }
static void damage_n_q(spec_tree *t) { t->n_q = t->q_cap + 1; }
static void damage_score(spec_tree *t) { t->score = NAN; }
static void damage_sibling(spec_tree *t) { t->token[1] = t->token[0]; }
static void damage_sibling_deep(spec_tree *t) { t->token[4] = t->token[3], t->parent[4] = t->parent[3]; }

static void make_sound(spec_tree *t) {
    spec_tree_clear(t);
    spec_tree_add(t, -1, 5, 0.5f, 0);
    spec_tree_add(t, -1, 6, 0.5f, 0);
    spec_tree_add(t, 0, 5, 0.5f, 0);
    spec_tree_add(t, 2, 5, 0.25f, 0);
    spec_tree_add(t, 1, 5, 0.0f, 0);
    t->n_q = 2;
    t->q_row[4] = 1;
}

static void test_check_names_every_fault(void **state) {
    (void)state;
    static const struct {
        void (*damage)(spec_tree *);
        const char *says;
    } fault[] = {
        {damage_parent, "node 2: parent 2"},
        {damage_parent_later, "node 1: parent 3"},
        {damage_parent_low, "node 0: parent -2"},
        {damage_token, "node 3: token -1"},
        {damage_prob_above, "node 2: prob"},
        {damage_prob_root, "node 0: prob"},
        {damage_prob_negative, "node 3: prob"},
        {damage_prob_nan, "node 3: prob"},
        {damage_q_row, "node 1: q row 2 of 2"},
        {damage_q_row_low, "node 1: q row -2"},
        {damage_n, "6 nodes, room for 5"},
        {damage_n_q, "3 q rows, room for 2"},
        {damage_score, "score"},
        {damage_sibling, "nodes 0 and 1: equal siblings"},
        {damage_sibling_deep, "nodes 3 and 4"},
    };
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, 5, 2, 3, NULL), 0);
    for (size_t i = 0; i < sizeof fault / sizeof *fault; i++) {
        spec_message why;
        make_sound(&t);
        assert_int_equal(spec_tree_check(&t, &why), 0);
        fault[i].damage(&t);
        assert_int_equal(spec_tree_check(&t, &why), SPEC_ERR_INVALID);
        if (!strstr(why.text, fault[i].says)) fail_msg("\"%s\" does not say \"%s\"", why.text, fault[i].says);
    }
    spec_tree_release(&t, NULL);
}

static void test_check_finds_equal_siblings_anywhere(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 2);
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, SPEC_TREE_MAX_NODES, 0, 0, NULL), 0);
    for (int round = 0; round < 40; round++) {
        uint32_t n = 2 + support_rng_below(&r, round < 30 ? 60 : SPEC_TREE_MAX_NODES - 2);
        grow_random(&r, &t, n);
        assert_int_equal(spec_tree_check(&t, NULL), 0);
        uint32_t i = support_rng_below(&r, n - 1), j = i + 1 + support_rng_below(&r, n - 1 - i);
        t.parent[j] = t.parent[i];
        t.token[j] = t.token[i];
        for (uint32_t k = 0; k < n; k++) t.prob[k] = 0.5f;
        spec_message why;
        assert_int_equal(spec_tree_check(&t, &why), SPEC_ERR_INVALID);
        assert_non_null(strstr(why.text, "equal siblings"));
    }
    spec_tree_release(&t, NULL);
}

/* ---- the best nodes ------------------------------------------------------- */

/* Whether node i is among the `budget` most probable of those within depth: by counting. */
static bool among_best(const spec_tree *t, uint32_t i, uint32_t budget, uint32_t max_depth) {
    uint32_t before = 0;
    if (spec_tree_depth(t, (int32_t)i) > max_depth) return false;
    for (uint32_t j = 0; j < t->n; j++) {
        bool better = t->prob[j] > t->prob[i] || (t->prob[j] == t->prob[i] && j < i);
        before += better && spec_tree_depth(t, (int32_t)j) <= max_depth;
    }
    return before < budget;
}

static void test_the_best_nodes_are_kept(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 9);
    for (int round = 0; round < 500; round++) {
        uint32_t n = 1 + support_rng_below(&rng, 40), kinds = 1 + support_rng_below(&rng, 9);
        uint32_t budget = 1 + support_rng_below(&rng, 45), depth = 1 + support_rng_below(&rng, 6), kept = 0;
        spec_tree all, t;
        spec_message why;
        float score = 0;
        assert_int_equal(spec_tree_init(&all, n, 0, 0, NULL), 0);
        assert_int_equal(spec_tree_init(&t, n, 0, 0, NULL), 0);
        for (uint32_t i = 0; i < n; i++) { /* few different probabilities: ties */
            int32_t parent = (int32_t)support_rng_below(&rng, i + 1) - 1;
            float p = (float)(1 + support_rng_below(&rng, kinds)) / (float)kinds;
            p = parent < 0 ? p : p < all.prob[parent] ? p : all.prob[parent];
            spec_tree_add(&all, parent, (spec_token)i, p, 0);
            spec_tree_add(&t, parent, (spec_token)i, p, 0);
        }
        specp_tree_keep_best(&t, budget, depth);
        if (spec_tree_check(&t, &why)) fail_msg("%s", why.text);
        for (uint32_t i = 0; i < n; i++) {
            if (!among_best(&all, i, budget, depth)) continue;
            assert_true(kept < t.n && t.token[kept] == (spec_token)i && t.prob[kept] == all.prob[i]);
            spec_token above = t.parent[kept] < 0 ? -1 : t.token[t.parent[kept]];
            assert_int_equal(above, all.parent[i]);
            score += t.prob[kept++];
        }
        assert_true(kept == t.n && score == t.score);
        spec_tree_release(&all, NULL);
        spec_tree_release(&t, NULL);
    }
}

/* Node i by its definition: it and its ancestors are wanted, nodes of a q row by what is above. */
static bool stays(const spec_tree *t, int32_t i, float least) {
    for (; i >= 0; i = t->parent[i]) {
        int32_t by = t->q_row[i] < 0 ? i : t->parent[i];
        if (by >= 0 && t->prob[by] < least) return false;
    }
    return true;
}

static void test_improbable_nodes_are_pruned(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 10);
    for (int round = 0; round < 500; round++) {
        uint32_t n = 1 + support_rng_below(&rng, 40), kept = 0;
        float least = (float)support_rng_below(&rng, 11) / 10, score = 0;
        spec_tree all, t;
        assert_int_equal(spec_tree_init(&all, n, 0, 0, NULL), 0);
        assert_int_equal(spec_tree_init(&t, n, 0, 0, NULL), 0);
        grow_random(&rng, &all, n);
        grow_random(&rng, &t, 0);
        for (uint32_t i = 0; i < n; i++) {
            spec_tree_add(&t, all.parent[i], all.token[i], all.prob[i], all.source[i]);
            all.q_row[i] = t.q_row[i] = support_rng_below(&rng, 4) ? -1 : 0;
        }
        t.score = 99; /* the drafter's own account, which stays where all nodes do */
        specp_tree_prune(&t, least);
        for (uint32_t i = 0; i < n; i++) {
            if (!stays(&all, (int32_t)i, least)) continue;
            assert_true(kept < t.n && t.token[kept] == all.token[i] && t.prob[kept] == all.prob[i]);
            assert_true(spec_tree_depth(&t, (int32_t)kept) == spec_tree_depth(&all, (int32_t)i));
            assert_true(t.parent[kept] < 0 || t.token[t.parent[kept]] == all.token[all.parent[i]]);
            score += t.prob[kept++];
        }
        assert_true(kept == t.n && t.score == (kept == n ? 99 : score));
        spec_tree_release(&all, NULL);
        spec_tree_release(&t, NULL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init_gives_separate_aligned_arrays),
        cmocka_unit_test(test_init_refuses_what_it_cannot_do),
        cmocka_unit_test(test_the_picture),
        cmocka_unit_test(test_source_names),
        cmocka_unit_test(test_clip_keeps_the_first_nodes_within_depth),
        cmocka_unit_test(test_clip_of_the_largest_tree),
        cmocka_unit_test(test_the_best_nodes_are_kept),
        cmocka_unit_test(test_improbable_nodes_are_pruned),
        cmocka_unit_test(test_check_names_every_fault),
        cmocka_unit_test(test_check_finds_equal_siblings_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * How the drafter mix grows a tree, read off the records that it leaves: each is of the place where its
 * node stands, the nodes stand best first as far as keys can tell, and what the text then teaches is
 * what a walk by the tokens alone would teach.
 */
#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "mix_tree.h"
#include "mix_world.h"

#define N_TEXT   600
#define NODES    48
#define BRANCHES 5                     /* children of a class that are looked at, as in mix_tree.c */
#define ENOUGH   8                     /* occurrences, likewise */
#define NEAR     (1 + 1.0 / (1 << 13)) /* worths nearer than that are equal to keys */

typedef struct ground {
    spec_token own[N_TEXT], shared[3][N_TEXT];
    spec_index *index[MIX_INDEXES];
    spec_seq seq;
    mix_tables tables;
    mix_state *state;
    mix_scratch scratch;
    mix_grow g;
    size_t n; /* of `own`, so far */
    spec_tree tree;
} ground;

static void ground_open(ground *w, support_rng *rng, uint32_t vocab) {
    const mix_source s = {.world = vocab, .vocab = vocab, .phrases = 12, .noise = 10};
    const spec_index_options o = {.size = sizeof o, .depth = 24};
    spec_seq seq;
    memset(w, 0, sizeof *w);
    mix_text(&s, rng, w->own, N_TEXT);
    for (int x = 0; x < MIX_INDEXES; x++) assert_int_equal(spec_index_new(&w->index[x], &o), SPEC_OK);
    for (int i = 0; i < 3; i++) {
        mix_text(&s, rng, w->shared[i], N_TEXT);
        assert_int_equal(spec_index_begin(w->index[MIX_SHARED], &seq), SPEC_OK);
        assert_int_equal(spec_index_append(w->index[MIX_SHARED], seq, w->shared[i], N_TEXT), SPEC_OK);
    }
    assert_int_equal(spec_index_begin(w->index[MIX_OWN], &w->seq), SPEC_OK);
    w->state = malloc(sizeof *w->state);
    specp_mix_tables(&w->tables);
    specp_mix_start(w->state, &w->tables);
    assert_int_equal(specp_mix_scratch_init(&w->scratch, NODES, NULL), SPEC_OK);
    drafting_tree(&w->tree, 64);
}

static void ground_close(ground *w) {
    for (int x = 0; x < MIX_INDEXES; x++) spec_index_free(w->index[x]);
    specp_mix_scratch_release(&w->scratch, NULL);
    spec_tree_release(&w->tree, NULL);
    free(w->state);
}

static void add_text(ground *w, size_t n) {
    assert_int_equal(spec_index_append(w->index[MIX_OWN], w->seq, w->own + w->n, n), SPEC_OK);
    w->n += n;
}

static void grow(ground *w, uint32_t budget, uint32_t max_depth, float min_prob) {
    spec_message why;
    w->g = (mix_grow){.index = {w->index[MIX_OWN], w->index[MIX_SHARED]},
                      .at = {spec_index_tail(w->index[MIX_OWN], w->seq),
                             spec_index_match(w->index[MIX_SHARED], w->own, w->n)},
                      .n_own = {SIZE_MAX, 0},
                      .last = w->own[w->n - 1],
                      .state = w->state,
                      .tables = &w->tables,
                      .budget = budget,
                      .max_depth = max_depth,
                      .min_prob = min_prob};
    spec_tree_clear(&w->tree);
    specp_mix_tree(&w->g, &w->scratch, &w->tree);
    if (spec_tree_check(&w->tree, &why)) fail_msg("%s", why.text);
    assert_true(w->tree.n <= budget && drafting_depth(&w->tree) <= max_depth);
}

/* ---- records ------------------------------------------------------------- */

/* The text up to a record's node, written to tok; how long. */
static size_t text_to(const ground *w, const mix_record *r, spec_token *tok) {
    size_t n = r->depth, at = n;
    for (int32_t i = r->node; i >= 0; i = w->tree.parent[i]) tok[--at] = w->tree.token[i];
    assert_int_equal(at, 0);
    memmove(tok + w->n, tok, n * sizeof *tok);
    memcpy(tok, w->own, w->n * sizeof *tok);
    return w->n + n;
}

/* The longest match with a candidate is a string that ends the text with it, and occurs that often. */
static void check_matches(const ground *w, const mix_record *r, spec_token *tok, size_t n) {
    for (int x = 0; x < MIX_INDEXES; x++)
        for (uint32_t k = 0; k < r->c.n; k++) {
            const spec_locus to = mix_match(r, (uint32_t)x, k);
            if (!to.count) continue;
            tok[n] = r->c.token[k];
            spec_locus found = spec_index_find(w->index[x], tok + n + 1 - to.len, to.len);
            assert_memory_equal(&found, &to, sizeof found);
            assert_true(to.len <= r->len[x] + 1);
        }
}

/* Where a token stands among a class's children that count as candidates, or -1. */
static int place_of(const specp_class *class, spec_token token) {
    for (uint32_t j = 0; j < class->n && j < BRANCHES; j++)
        if (class->branch[j].token == token) return (int)j;
    return -1;
}

/* The evidence on each candidate, from the chains of the longest matches. */
static void check_evidence(const ground *w, const mix_record *r, const spec_token *tok, size_t n) {
    uint32_t rank[MIX_CANDIDATES], none = MIX_RANKS - 1;
    for (uint32_t k = 0; k < r->c.n; k++) rank[k] = none;
    for (uint32_t x = 0; x < MIX_INDEXES; x++) {
        specp_class class[MIX_CLASSES];
        spec_locus at = spec_index_find(w->index[x], tok + n - r->len[x], r->len[x]);
        size_t n_own = r->node < 0 && x == MIX_OWN ? SIZE_MAX : 0, found = 0;
        if (r->len[x]) found = specp_index_chain(w->index[x], at, n_own, ENOUGH, MIX_CLASSES, class);
        assert_true(found > 0 || !r->len[x]);
        for (size_t i = found; i < MIX_CLASSES; i++)
            for (uint32_t k = 0; k < r->c.n; k++)
                assert_int_equal(r->c.cell[x * MIX_CLASSES + i][k], MIX_NO_EVIDENCE);
        for (uint32_t i = 0; i < found; i++) {
            const uint32_t all = class[i].at.count, base = mix_evidence_base(&w->tables, x, class[i].at.len);
            for (uint32_t k = 0; k < r->c.n; k++) {
                int j = place_of(&class[i], r -> c.token[k]);
                uint32_t hits = j < 0 ? 0 : class[i].branch[j].count, stands = j < 2 ? (uint32_t)j : 2;
                if (j < 0) stands = none;
                assert_int_equal(r->c.cell[x * MIX_CLASSES + i][k],
                                 mix_evidence_cell(&w->tables, base, hits, all - hits, stands));
                rank[k] = stands < rank[k] ? stands : rank[k];
            }
        }
    }
    for (uint32_t k = 0; k < r->c.n; k++) assert_true(r->c.rank[k] == rank[k] && rank[k] < none);
}

static void check_record(const ground *w, const mix_record *r) {
    static spec_token tok[N_TEXT + NODES + 1];
    size_t n = text_to(w, r, tok);
    mix_case again = r->c;
    assert_int_equal(r->c.last, mix_hash(tok[n - 1], MIX_LAST_BITS));
    assert_int_equal(r->c.match, mix_length(&w->tables, r->len[MIX_OWN]) * MIX_LENGTHS +
                                     mix_length(&w->tables, r->len[MIX_SHARED]));
    check_matches(w, r, tok, n);
    check_evidence(w, r, tok, n);
    for (uint32_t k = 0; k < r->c.n; k++) {
        assert_true(mix_match(r, MIX_OWN, k).count || mix_match(r, MIX_SHARED, k).count);
        for (uint32_t j = 0; j < k; j++) assert_true(r->c.token[j] != r->c.token[k]);
    }
    specp_mix_weigh(w->state, &w->tables, &again);
    assert_memory_equal(again.p, r->c.p, sizeof again.p);
    if (r->node < 0) return;
    const mix_node *v = &w->scratch.node[r->node];
    assert_true(&w->scratch.record[v->weighed] == r && v->weighed > 0);
    assert_true(v->depth + 1u == r->depth && v->product == r->product);
}

/* The root's matches are the longest there are, the text's own end left out. */
static void check_root(const ground *w) {
    const mix_record *r = &w->scratch.record[0];
    size_t most = w->n < 23 ? w->n : 23, own = 0;
    for (size_t len = 1; len <= most; len++)
        if (spec_index_count(w->index[MIX_OWN], w->own + w->n - len, len) > 1) own = len;
    assert_int_equal(r->len[MIX_OWN], own);
    spec_locus at = spec_index_match(w->index[MIX_SHARED], w->own, w->n);
    assert_int_equal(r->len[MIX_SHARED], at.len < 24 ? at.len : 23);
    assert_int_equal(w->tree.match_len, own > r->len[MIX_SHARED] ? own : r->len[MIX_SHARED]);
}

/* ---- order ----------------------------------------------------------------- */

static double product_of(const ground *w, const mix_record *r) {
    return r->node < 0 ? 1 : (double)w->scratch.node[r->node].product;
}

static bool is_added(const ground *w, uint32_t record, uint32_t k, uint32_t before) {
    for (uint32_t i = 0; i < before; i++)
        if (w->scratch.node[i].record == record && w->scratch.node[i].nth == k) return true;
    return false;
}

/* When node i was added it was the best of all that was known: of all records up to the last that a node
 * so far came from. */
static void check_added(const ground *w, uint32_t i) {
    const mix_scratch *m = &w->scratch;
    uint32_t known = 0;
    for (uint32_t j = 0; j <= i; j++) known = m->node[j].record > known ? m->node[j].record : known;
    for (uint32_t q = 0; q <= known; q++)
        for (uint32_t k = 0; k < m->record[q].c.n; k++) {
            double worth = product_of(w, &m->record[q]) * (double)m->record[q].c.p[k];
            if (worth > NEAR * (double)m->node[i].product && !is_added(w, q, k, i))
                fail_msg("node %u of %g before one of %g", i, (double)m->node[i].product, worth);
        }
}

/* Of the nodes that were weighed, the one that promised most came first among those that were there. */
static void check_weighed(const ground *w) {
    const mix_scratch *m = &w->scratch;
    for (uint32_t q = 1; q < m->n; q++)
        for (uint32_t later = q + 1; later < m->n; later++) {
            const mix_record *a = &m->record[q], *b = &m->record[later];
            if (b->node > a->node) continue; /* it was not there yet */
            double first = product_of(w, a) * (double)w->state->reach[m->node[a->node].reach].value;
            double then = product_of(w, b) * (double)w->state->reach[m->node[b->node].reach].value;
            if (then > NEAR * first) fail_msg("a node of %g weighed before one of %g", first, then);
        }
}

/* A draft below its budget has everything: all candidates that are likely enough, and all nodes weighed. */
static void check_complete(const ground *w) {
    const mix_scratch *m = &w->scratch;
    uint32_t inner = 0;
    for (uint32_t q = 0; q < m->n; q++)
        for (uint32_t k = 0; k < m->record[q].c.n; k++) {
            double worth = product_of(w, &m->record[q]) * (double)m->record[q].c.p[k];
            if (worth > 1.0001 * (double)w->g.min_prob && !is_added(w, q, k, w->tree.n))
                fail_msg("a candidate of %g is left out", worth);
        }
    for (uint32_t i = 0; i < w->tree.n; i++) inner += m->node[i].depth + 1u < w->g.max_depth;
    assert_int_equal(m->n, 1 + inner);
}

static void check_tree(const ground *w) {
    const mix_scratch *m = &w->scratch;
    assert_int_equal(m->n_nodes, w->tree.n);
    for (uint32_t i = 0; i < w->tree.n; i++) {
        const mix_node *v = &m->node[i];
        const mix_record *r = &m->record[v->record];
        uint16_t cell;
        float product = (float)product_of(w, r) * r->c.p[v->nth];
        float prob = specp_mix_path(w->state, spec_tree_depth(&w->tree, (int32_t)i), product, &cell);
        bool own = mix_match(r, MIX_OWN, v->nth).len >= mix_match(r, MIX_SHARED, v->nth).len;
        for (uint32_t j = 0; j < i; j++) /* neither the parent nor a sibling before it may be less likely */
            if (((int32_t)j == v->parent || w->tree.parent[j] == v->parent) && prob > w->tree.prob[j])
                prob = w->tree.prob[j];
        assert_true(v->parent == w->tree.parent[i] && v->token == w->tree.token[i]);
        assert_true(r->node == v->parent && r->c.token[v->nth] == v->token && product >= w->g.min_prob);
        assert_true(v->product == product && v->cell == cell && w->tree.prob[i] == prob);
        assert_int_equal(w->tree.source[i], own ? SPEC_SOURCE_OWN : SPEC_SOURCE_SHARED);
        check_added(w, i);
    }
    check_weighed(w);
    if (w->tree.n < w->g.budget && w->g.budget <= NODES) check_complete(w);
}

/* ---- learning --------------------------------------------------------------- */

/* What tok[0..n) teaches, told by the tree's tokens: 1 it came to the node, 0 it went elsewhere, -1 it is
 * too short to tell. */
static int verdict(const spec_tree *t, int32_t i, const spec_token *tok, size_t n) {
    uint32_t depth = spec_tree_depth(t, i);
    int all = 1;
    for (; i >= 0; i = t->parent[i], depth--) {
        if (depth > n)
            all = -1;
        else if (tok[depth - 1] != t->token[i])
            return 0;
    }
    return all;
}

/* The record of the place behind tok[0..n), or NULL. */
static const mix_record *record_behind(const ground *w, const spec_token *tok, size_t n) {
    int32_t node = -1;
    for (size_t i = 0; i < n; i++)
        if ((node = spec_tree_child(&w->tree, node, tok[i])) < 0) return NULL;
    for (uint32_t q = 0; q < w->scratch.n; q++)
        if (w->scratch.record[q].node == node) return &w->scratch.record[q];
    return NULL;
}

static void learn_and_compare(ground *w, size_t n) {
    const spec_token *tok = w->own + w->n;
    mix_state *by_hand = malloc(sizeof *by_hand);
    *by_hand = *w->state;
    for (uint32_t i = 0; i < w->tree.n; i++) {
        int right = verdict(&w->tree, (int32_t)i, tok, n);
        if (right >= 0) specp_mix_learn_path(by_hand, &w->tables, w->scratch.node[i].cell, right);
    }
    for (size_t i = 0; i < n; i++) {
        const mix_record *r = record_behind(w, tok, i);
        if (!r) break;
        if (i) specp_mix_learn_reach(by_hand, &w->tables, w->scratch.node[r->node].reach, &r->c);
        specp_mix_learn(by_hand, &w->tables, &r->c, tok[i]);
    }
    specp_mix_follow(&w->scratch, w->state, &w->tables, tok, n);
    if (memcmp(by_hand, w->state, sizeof *by_hand)) fail_msg("%zu tokens taught something else", n);
    free(by_hand);
}

/* ---- the tests --------------------------------------------------------------- */

static void test_trees_and_what_they_teach(void **unused) {
    (void)unused;
    static const uint32_t vocabs[] = {2, 9, 60, 20000};
    support_rng rng = support_rng_new(support_seed(), 700);
    for (size_t i = 0; i < 4; i++) {
        ground w;
        size_t nodes = 0, records = 0, trees = 0;
        ground_open(&w, &rng, vocabs[i]);
        add_text(&w, 1);
        while (w.n + 10 < N_TEXT) {
            uint32_t budget = 1 + support_rng_below(&rng, support_rng_chance(&rng, 0.1) ? 60 : 24);
            float least = support_rng_chance(&rng, 0.5) ? 0.05f : 0;
            grow(&w, budget, 1 + support_rng_below(&rng, 20), least);
            for (uint32_t q = 0; q < w.scratch.n; q++) check_record(&w, &w.scratch.record[q]);
            check_root(&w);
            check_tree(&w);
            nodes += w.tree.n;
            records += w.scratch.n;
            trees++;
            size_t n = 1 + support_rng_below(&rng, 5);
            learn_and_compare(&w, n);
            add_text(&w, n);
        }
        assert_true(nodes > 2 * trees && records > trees);
        ground_close(&w);
    }
}

/* A look weighs the root, and that is all. */
static void test_a_look_weighs_the_root(void **unused) {
    (void)unused;
    support_rng rng = support_rng_new(support_seed(), 701);
    ground w;
    ground_open(&w, &rng, 9);
    add_text(&w, 200);
    grow(&w, 20, 8, 0);
    mix_record root = w.scratch.record[0];
    specp_mix_look(&w.g, &w.scratch);
    assert_true(w.scratch.n == 1 && w.scratch.n_nodes == 0);
    assert_memory_equal(w.scratch.record[0].c.p, root.c.p, sizeof root.c.p);
    assert_memory_equal(w.scratch.record[0].first, root.first, sizeof root.first);
    spec_tree_clear(&w.tree);
    learn_and_compare(&w, 3);
    ground_close(&w);
}

static void test_scratch_of_any_size(void **unused) {
    (void)unused;
    for (size_t k = 0;; k++) {
        support_heap heap;
        support_heap_init(&heap);
        support_heap_refuse(&heap, k, false);
        const spec_allocator a = support_alloc(&heap);
        mix_scratch m;
        int err = specp_mix_scratch_init(&m, MIX_MAX_NODES, &a);
        assert_int_equal(err, heap.refused ? SPEC_ERR_NOMEM : SPEC_OK);
        if (!err) specp_mix_scratch_release(&m, &a);
        support_heap_assert_clean(&heap);
        if (!err) break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trees_and_what_they_teach),
        cmocka_unit_test(test_a_look_weighs_the_root),
        cmocka_unit_test(test_scratch_of_any_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Drafts of a small model: top-k trees and sampled chains against their definition, on
 * models whose logits tell the whole text; what passes read. test_model_drafter_edges.c goes on.
 */
#include "table_lm.h"

#include <math.h>
#include <string.h>

#include "drafting.h"
#include "noise.h"
#include "specp.h"

#define MAX 512 /* nodes of a tree */

/* ---- the definition ------------------------------------------------------------- */

typedef struct plan {
    const char *spec;
    uint32_t len, k, beam;
    double min_prob;
} plan;

static void law_after(const table_lm *m, const spec_token *tok, size_t n, size_t vocab, double *p) {
    float logits[256];
    double total = 0;
    table_lm_row(m, tok, n, logits);
    for (size_t t = 0; t < vocab; t++) total += p[t] = exp((double)logits[t]);
    for (size_t t = 0; t < vocab; t++) p[t] /= total;
}

/* The node of the largest p of those from `from` on that are not taken. */
static int32_t best_of(const spec_tree *t, uint32_t from, const bool *taken) {
    int32_t best = -1;
    for (uint32_t i = from; i < t->n; i++)
        if (!taken[i] && (best < 0 || t->prob[i] > t->prob[best])) best = (int32_t)i;
    return best;
}

static void add_children(const table_lm *m, const plan *p, spec_tree *all, int32_t node, spec_token *text,
                         size_t n, size_t vocab) {
    double law[256];
    law_after(m, text, table_lm_text(all, node, text, n), vocab, law);
    for (uint32_t i = 0; i < p->k && i < vocab; i++) {
        size_t best = 0;
        for (size_t t = 1; t < vocab; t++)
            if (law[t] > law[best]) best = t;
        double prob = (node < 0 ? 1.0 : (double)all->prob[node]) * law[best];
        if (prob >= p->min_prob) spec_tree_add(all, node, (spec_token)best, (float)prob, SPEC_SOURCE_MODEL);
        law[best] = -1;
    }
}

/* Every node there is, then the best of them. */
static void define(const table_lm *m, const plan *p, spec_token *text, size_t n, uint32_t budget,
                   uint32_t depth, size_t vocab, spec_tree *out) {
    spec_tree all = table_lm_tree(4096, 0, 0);
    bool taken[4096] = {false};
    int32_t front[64] = {-1}, place[4096];
    uint32_t n_front = 1, level_at = 0;
    for (uint32_t level = 1; level <= p->len && level <= depth && n + level - 1 <= m->context; level++) {
        level_at = all.n;
        for (uint32_t i = 0; i < n_front; i++) add_children(m, p, &all, front[i], text, n, vocab);
        for (n_front = 0; n_front < p->beam; n_front++) {
            if ((front[n_front] = best_of(&all, level_at, taken)) < 0) break;
            taken[front[n_front]] = true;
        }
    }
    memset(taken, 0, sizeof taken);
    for (uint32_t i = 0; i < budget && i < all.n; i++) taken[best_of(&all, 0, taken)] = true;
    spec_tree_clear(out);
    for (uint32_t i = 0; i < all.n; i++)
        if (taken[i])
            place[i] = spec_tree_add(out, all.parent[i] < 0 ? -1 : place[all.parent[i]], all.token[i],
                                     all.prob[i], all.source[i]);
    spec_tree_release(&all, NULL);
}

static void same_draft(const char *what, const spec_tree *got, const spec_tree *want) {
    spec_message why;
    double score = 0;
    if (spec_tree_check(got, &why)) fail_msg("%s: %s", what, why.text);
    if (got->n != want->n) fail_msg("%s: %u nodes, not %u", what, got->n, want->n);
    for (uint32_t i = 0; i < got->n; i++) {
        if (got->token[i] != want->token[i] || got->parent[i] != want->parent[i])
            fail_msg("%s: node %u is %d below %d, not %d below %d", what, i, got->token[i], got->parent[i],
                     want->token[i], want->parent[i]);
        assert_true(fabs((double)got->prob[i] - (double)want->prob[i]) < 1e-5 * (double)want->prob[i]);
        assert_true(got->source[i] == SPEC_SOURCE_MODEL && got->q_row[i] == -1);
        score += (double)got->prob[i];
    }
    assert_true(fabs((double)got->score - score) < 1e-4 && got->n_q == 0);
}

/* At once or in pieces, as combined drafters do it. */
static void tell(support_rng *r, spec_request *q, const spec_token *tok, size_t n) {
    for (size_t at = 0, k; at < n; at += k) {
        k = support_rng_chance(r, 0.5) ? n - at : 1;
        drafting_commit(q, tok + at, k);
    }
}

static const plan plans[] = {
    {"model:a,len=4,k=1,min_prob=0", 4, 1, 1, 0},
    {"model:a", 5, 4, 1, 0.1},
    {"model:a,len=8,k=3,min_prob=0.02", 8, 3, 1, 0.02},
    {"model:a,len=4,k=2,beam=2,min_prob=0", 4, 2, 2, 0},
    {"model:a,len=6,k=5,beam=3,min_prob=0.01", 6, 5, 3, 0.01},
    {"model:a,len=3,k=40,beam=10,min_prob=0", 3, 24, 10, 0}, /* k: the whole vocabulary */
    {"model:a,len=1,k=6,beam=4,min_prob=0", 1, 6, 4, 0},
    {"model:a,min_prob=1", 5, 4, 1, 1},
};

static void test_trees_follow_the_definition(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    spec_tree got = table_lm_tree(MAX, 0, 0), want = table_lm_tree(MAX, 0, 0);
    size_t nodes = 0, read = 0;
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        const plan *p = &plans[i];
        for (int requests = 0; requests < 6; requests++) {
            table_lm *m = table_lm_set(0, TABLE_VOCAB, 90, requests % 2 ? 8.0 : 3.0);
            spec_drafter *d = table_lm_drafter(p->spec, &table_lm_env, NULL);
            spec_token text[400];
            size_t n = support_rng_below(&r, 20);
            for (size_t k = 0; k < n; k++) text[k] = (spec_token)support_rng_below(&r, TABLE_VOCAB);
            spec_request *q = drafting_begin(d, 0, text, n);
            while (n < 110) {
                spec_propose_args a = {.size = sizeof a};
                a.budget = support_rng_chance(&r, 0.5) ? MAX : 1 + support_rng_below(&r, 12);
                a.max_depth = support_rng_chance(&r, 0.7) ? 0 : 1 + support_rng_below(&r, 6);
                assert_int_equal(spec_request_propose(q, &a, &got), 0);
                uint32_t depth = a.max_depth ? a.max_depth : 4096;
                spec_tree_clear(&want);
                if (n) define(m, p, text, n, a.budget, depth, TABLE_VOCAB, &want);
                same_draft(p->spec, &got, &want);
                nodes += got.n;
                if (support_rng_chance(&r, 0.1)) continue; /* asked again */
                size_t more = table_lm_outcome(&r, &got, text + n);
                tell(&r, q, text + n, more);
                n += more;
            }
            read += m->rows;
            spec_request_end(q);
            spec_drafter_free(d);
        }
    }
    assert_true(nodes > 3000 && read > 3000);
    spec_tree_release(&got, NULL);
    spec_tree_release(&want, NULL);
}

/* ---- what passes read ------------------------------------------------------------- */

static size_t rows_of(table_lm *m, spec_request *q, const spec_propose_args *a, spec_tree *t) {
    m->rows = m->passes = 0;
    assert_int_equal(spec_request_propose(q, a, t), 0);
    return m->rows;
}

static int32_t best_child(const spec_tree *t, int32_t above) {
    for (uint32_t i = 0; i < t->n; i++)
        if (t->parent[i] == above) return (int32_t)i;
    fail_msg("node %d has no child", above);
    return -1;
}

static void test_nothing_is_read_twice_for_a_chain(void **state) {
    (void)state;
    static const char *const specs[] = {"model:a,len=5,k=3,min_prob=0", "model:a,len=5,mode=sample"};
    for (size_t i = 0; i < 2; i++) {
        table_lm *m = table_lm_set(0, TABLE_VOCAB, 300, 5.0);
        spec_drafter *d = table_lm_drafter(specs[i], &table_lm_env, NULL);
        spec_token text[60] = {1, 2, 3}, chain[6];
        spec_tree t = table_lm_tree(64, 5, TABLE_VOCAB);
        spec_request *q = drafting_begin(d, 0, text, 50);
        assert_int_equal(m->passes, 0); /* a request that never drafts costs nothing */
        assert_int_equal(rows_of(m, q, NULL, &t), 50 + 4);
        assert_int_equal(m->passes, 5);
        assert_int_equal(rows_of(m, q, NULL, &t), 1 + 4); /* asked again */
        int32_t node = -1;
        size_t n = 0;
        for (; n < 5; n++) chain[n] = t.token[node = best_child(&t, node)];
        chain[n++] = 7;
        drafting_commit(q, chain, n);                     /* all five, and another */
        assert_int_equal(rows_of(m, q, NULL, &t), 2 + 4); /* the fifth was not read */
        drafting_commit(q, t.token, 1);
        drafting_commit(q, (spec_token[]){(t.token[0] + 5) % TABLE_VOCAB}, 1);
        assert_int_equal(rows_of(m, q, NULL, &t), 1 + 4); /* the first was kept */
        drafting_commit(q, (spec_token[]){(t.token[0] + 5) % TABLE_VOCAB, 3, 4}, 3);
        assert_int_equal(rows_of(m, q, NULL, &t), 3 + 4);
        spec_request_end(q);
        spec_drafter_free(d);
        spec_tree_release(&t, NULL);
    }
}

/* The last token and the inner nodes, at each level; none that cannot be in the draft. */
static void test_rows_of_trees(void **state) {
    (void)state;
    table_lm *m = table_lm_set(0, TABLE_VOCAB, 300, 2.0);
    spec_drafter *d = table_lm_drafter("model:a,len=4,k=3,beam=3,min_prob=0", &table_lm_env, NULL);
    spec_token text[10] = {1, 2, 3};
    spec_tree t = table_lm_tree(MAX, 0, 0);
    spec_request *q = drafting_begin(d, 0, text, 10);
    assert_int_equal(rows_of(m, q, NULL, &t), 10 + (1 + 3) + (1 + 6) + (1 + 9));
    assert_int_equal(m->passes, 4);
    assert_int_equal(t.n, 3 + 3 * 9);
    spec_propose_args a = {.size = sizeof a, .budget = 2};
    assert_int_equal(rows_of(m, q, &a, &t), 1 + (1 + 2));
    assert_int_equal(t.n, 2);
    a = (spec_propose_args){.size = sizeof a, .max_depth = 1};
    assert_int_equal(rows_of(m, q, &a, &t), 1);
    assert_int_equal(t.n, 3);
    spec_request_end(q);
    spec_drafter_free(d);
    spec_tree_release(&t, NULL);
}

/* ---- sampled chains --------------------------------------------------------------- */

/* The chain that the noise of purpose 0 draws, by the law at the temperature over `vocab` tokens. */
static void check_sample(const table_lm *m, const spec_token *tok, size_t n, const spec_noise_key *key,
                         double temperature, size_t vocab, const spec_tree *t) {
    spec_token text[400];
    double above = 1.0;
    memcpy(text, tok, n * sizeof *tok);
    for (uint32_t i = 0; i < t->n; i++) {
        const float *q = t->q + (size_t)i * t->vocab;
        float logits[256];
        double p[256], total = 0, drawn = 0, run = 0;
        table_lm_row(m, text, n + i, logits);
        for (size_t x = 0; x < vocab; x++) total += p[x] = exp((double)logits[x] / temperature);
        for (size_t x = 0; x < t->vocab; x++) drawn += (double)q[x];
        for (size_t x = 0; x < t->vocab; x++)
            assert_true(fabs((double)q[x] / drawn - (x < vocab ? p[x] / total : 0.0)) < 1e-6);
        size_t token = 0;
        double u = specp_noise(key, 0, SPECP_NOISE_DRAFT, i) * drawn;
        while (run + (double)q[token] <= u) run += (double)q[token++];
        assert_int_equal(t->token[i], token);
        assert_int_equal(t->parent[i], (int32_t)i - 1);
        assert_int_equal(t->q_row[i], i);
        above *= p[token] / total;
        assert_true(fabs((double)t->prob[i] - above) < 1e-5 * above);
        text[n + i] = t->token[i];
    }
    assert_int_equal(t->n_q, t->n);
}

static void test_samples_follow_the_noise(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 2);
    static const uint32_t vocabs[] = {TABLE_VOCAB, TABLE_VOCAB + 9,
                                      TABLE_VOCAB - 9}; /* of the tree's q rows */
    for (int i = 0; i < 3; i++) {
        table_lm *m = table_lm_set(0, TABLE_VOCAB, 400, 4.0);
        spec_drafter *d = table_lm_drafter(
            i % 2 ? "model:a,mode=sample,temperature=0.5,len=7" : "model:a,mode=sample", &table_lm_env, NULL);
        uint32_t len = i % 2 ? 7 : 5;
        spec_needs needs;
        spec_drafter_needs(d, &needs);
        assert_int_equal(needs.q_rows, len);
        spec_tree t = table_lm_tree(20, 6, vocabs[i]), again = table_lm_tree(20, 6, vocabs[i]);
        spec_token text[400] = {1};
        size_t n = 1, vocab = vocabs[i] < TABLE_VOCAB ? vocabs[i] : TABLE_VOCAB;
        spec_request *q = drafting_begin(d, 0, text, n);
        while (n < 200) {
            spec_propose_args a;
            for (size_t k = 0; k < 6 * (size_t)vocabs[i]; k++) t.q[k] = 9.0f; /* from a draft before */
            assert_int_equal(spec_request_propose(q, table_lm_ask(&a, n), &t), 0);
            assert_int_equal(t.n, len < 6 ? len : 6); /* there is room for 6 rows */
            check_sample(m, text, n, &a.noise, i % 2 ? 0.5 : 1.0, vocab, &t);
            assert_int_equal(spec_request_propose(q, &a, &again), 0);
            assert_memory_equal(again.token, t.token, t.n * sizeof *t.token);
            a.noise.seed++;
            assert_int_equal(spec_request_propose(q, &a, &again), 0);
            size_t more = table_lm_outcome(&r, &t, text + n);
            tell(&r, q, text + n, more);
            n += more;
        }
        spec_request_end(q);
        spec_drafter_free(d);
        spec_tree_release(&t, NULL);
        spec_tree_release(&again, NULL);
    }
}

/* Budget, depth and rows limit a chain; a sure path goes on, an unsure one ends after the token that
 * made it so, whatever is drawn next. */
static void test_limits_of_samples(void **state) {
    (void)state;
    table_lm_set(0, TABLE_VOCAB, 400, 6.0);
    spec_drafter *d = table_lm_drafter("model:a,mode=sample,min_prob=0.2", &table_lm_env, NULL);
    spec_tree t = table_lm_tree(20, 5, TABLE_VOCAB);
    size_t ended = 0;
    for (spec_token i = 0; i < 60; i++) {
        spec_propose_args a;
        spec_request *q = drafting_begin(d, 0, (spec_token[]){i % TABLE_VOCAB, i / TABLE_VOCAB}, 2);
        assert_int_equal(spec_request_propose(q, table_lm_ask(&a, 2), &t), 0);
        for (uint32_t k = 0; k + 1 < t.n; k++) assert_true((double)t.prob[k] >= 0.2);
        ended += t.n < 5 && (double)t.prob[t.n - 1] < 0.2;
        assert_true(t.n && (t.n == 5 || (double)t.prob[t.n - 1] < 0.2));
        uint32_t n = t.n;
        a.budget = 2;
        assert_int_equal(spec_request_propose(q, &a, &t), 0);
        assert_true(t.n == (n < 2 ? n : 2) && t.n_q == t.n);
        a.budget = 0, a.max_depth = 1;
        assert_int_equal(spec_request_propose(q, &a, &t), 0);
        assert_int_equal(t.n, 1);
        spec_request_end(q);
    }
    assert_true(ended > 10);
    spec_drafter_free(d);
    spec_tree_release(&t, NULL);
}

/* Without room for q rows: the chain of the most probable tokens. */
static void test_samples_without_rows(void **state) {
    (void)state;
    static const plan p = {"", 5, 1, 1, 0};
    table_lm *m = table_lm_set(0, TABLE_VOCAB, 400, 6.0);
    spec_drafter *d = table_lm_drafter("model:a,mode=sample,k=9,beam=2", &table_lm_env, NULL);
    spec_tree got = table_lm_tree(20, 0, TABLE_VOCAB), want = table_lm_tree(20, 0, 0);
    spec_token text[20] = {3, 1, 4};
    spec_request *q = drafting_begin(d, 0, text, 3);
    assert_int_equal(spec_request_propose(q, NULL, &got), 0);
    define(m, &p, text, 3, 20, 20, TABLE_VOCAB, &want);
    assert_int_equal(got.n, 5);
    same_draft("without rows", &got, &want);
    spec_request_end(q);
    spec_drafter_free(d);
    spec_tree_release(&got, NULL);
    spec_tree_release(&want, NULL);
}

/* Tokens that the target does not know are not drafted, nor do they count. */
static void test_tokens_that_the_target_does_not_know(void **state) {
    (void)state;
    static const plan p = {"", 4, 5, 1, 0};
    table_lm *m = table_lm_set(0, TABLE_VOCAB + 60, 400, 3.0),
             *target = table_lm_set(1, TABLE_VOCAB, 400, 3.0);
    const spec_lm lm = table_lm_borrow(target);
    const spec_drafter_env narrow = {.size = sizeof narrow, .target = &lm, .open_model = table_lm_open};
    spec_drafter *d = table_lm_drafter("model:a,len=4,k=5,min_prob=0", &narrow, NULL);
    spec_tree got = table_lm_tree(MAX, 0, 0), want = table_lm_tree(MAX, 0, 0);
    spec_token text[20] = {3, 1, 4};
    spec_request *q = drafting_begin(d, 0, text, 3);
    assert_int_equal(spec_request_propose(q, NULL, &got), 0);
    define(m, &p, text, 3, MAX, 20, TABLE_VOCAB, &want);
    same_draft("a smaller target", &got, &want);
    spec_request_end(q);
    spec_drafter_free(d);
    spec_tree_release(&got, NULL);
    spec_tree_release(&want, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trees_follow_the_definition),
        cmocka_unit_test(test_nothing_is_read_twice_for_a_chain),
        cmocka_unit_test(test_rows_of_trees),
        cmocka_unit_test(test_samples_follow_the_noise),
        cmocka_unit_test(test_limits_of_samples),
        cmocka_unit_test(test_samples_without_rows),
        cmocka_unit_test(test_tokens_that_the_target_does_not_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * A small model's drafts at the edges: the end of the context, unknown tokens, odd logits,
 * batches, passes that fail, memory, what is refused. The drafts themselves: test_model_drafter.c.
 */
#include "table_lm.h"

#include <math.h>
#include <string.h>

#include "drafting.h"

#define MAX 512 /* nodes of a tree */

/* ---- limits --------------------------------------------------------------------- */

static void test_the_end_of_the_context(void **state) {
    (void)state;
    static const char *const specs[] = {"model:a,min_prob=0", "model:a,beam=2,min_prob=0",
                                        "model:a,mode=sample"};
    for (size_t i = 0; i < 3; i++) {
        table_lm_set(0, TABLE_VOCAB, 20, 3.0);
        spec_drafter *d = table_lm_drafter(specs[i], &table_lm_env, NULL);
        spec_tree t = table_lm_tree(100, 10, TABLE_VOCAB);
        spec_token text[30] = {1};
        for (size_t n = 14; n < 24; n++) {
            spec_request *q = drafting_begin(d, 0, text, n);
            spec_propose_args a;
            assert_int_equal(spec_request_propose(q, table_lm_ask(&a, n), &t), 0);
            uint32_t depth = 0, left = n > 20 ? 0 : 20 - (uint32_t)n + 1; /* the last node is not read */
            for (uint32_t k = 0; k < t.n; k++)
                if (spec_tree_depth(&t, (int32_t)k) > depth) depth = spec_tree_depth(&t, (int32_t)k);
            assert_int_equal(depth, left < 5 ? left : 5);
            spec_request_end(q);
        }
        spec_drafter_free(d);
        spec_tree_release(&t, NULL);
    }
}

static void test_tokens_that_the_model_does_not_know(void **state) {
    (void)state;
    table_lm *m = table_lm_set(0, TABLE_VOCAB, 400, 3.0),
             *target = table_lm_set(1, TABLE_VOCAB + 100, 400, 3.0);
    const spec_lm lm = table_lm_borrow(target);
    const spec_drafter_env wide = {.size = sizeof wide, .target = &lm, .open_model = table_lm_open};
    spec_drafter *d = table_lm_drafter("model:a,min_prob=0", &wide, NULL);
    spec_tree t = table_lm_tree(20, 0, 0);
    spec_request *q = drafting_begin(d, 0, (spec_token[]){1, TABLE_VOCAB - 1}, 2);
    assert_int_equal(spec_request_propose(q, NULL, &t), 0);
    assert_true(t.n > 0);
    drafting_commit(q, (spec_token[]){TABLE_VOCAB}, 1);
    for (int i = 0; i < 3; i++) {
        m->passes = 0;
        assert_int_equal(spec_request_propose(q, NULL, &t), 0);
        assert_true(t.n == 0 && m->passes == 0);
        drafting_commit(q, (spec_token[]){i}, 1);
    }
    spec_request *of_prompt = drafting_begin(d, 0, (spec_token[]){1, TABLE_VOCAB + 50, 3}, 3);
    spec_request *empty = drafting_begin(d, 0, NULL, 0);
    assert_int_equal(spec_request_propose(of_prompt, NULL, &t), 0);
    assert_int_equal(t.n, 0);
    assert_int_equal(spec_request_propose(empty, NULL, &t), 0);
    assert_int_equal(t.n, 0);
    drafting_commit(empty, (spec_token[]){1}, 1);
    assert_int_equal(spec_request_propose(empty, NULL, &t), 0);
    assert_true(t.n > 0);
    spec_request_end(q);
    spec_request_end(of_prompt);
    spec_request_end(empty);
    spec_drafter_free(d);
    spec_tree_release(&t, NULL);
}

static void odd_logits(void *user, const spec_token *tok, size_t n, float *logits) {
    const int *which = user;
    (void)tok, (void)n;
    for (int i = 0; i < TABLE_VOCAB; i++)
        logits[i] = *which == 0 ? -INFINITY : *which == 1 ? (float)NAN : 0.0f;
    if (*which == 2) logits[3] = INFINITY;
    if (*which == 3) logits[3] = NAN;
    if (*which == 4)
        for (int i = 0; i < TABLE_VOCAB; i++) logits[i] = i == 5 ? 0.0f : -INFINITY;
}

/* A broken model is no reason to fail; a token without weight is never drafted. */
static void test_odd_logits(void **state) {
    (void)state;
    static const char *const specs[] = {"model:a,min_prob=0", "model:a,mode=sample"};
    for (size_t i = 0; i < 2; i++) {
        for (int which = 0; which < 5; which++) {
            table_lm *m = table_lm_set(0, TABLE_VOCAB, 400, 3.0);
            m->row = odd_logits;
            m->user = &which;
            spec_drafter *d = table_lm_drafter(specs[i], &table_lm_env, NULL);
            spec_tree t = table_lm_tree(20, 5, TABLE_VOCAB);
            spec_request *q = drafting_begin(d, 0, (spec_token[]){1}, 1);
            assert_int_equal(spec_request_propose(q, NULL, &t), 0);
            assert_int_equal(spec_tree_check(&t, NULL), 0);
            if (which < 3) assert_int_equal(t.n, 0);
            for (uint32_t k = 0; k < t.n; k++) assert_true(which == 4 ? t.token[k] == 5 : t.token[k] != 3);
            if (which == 4) assert_int_equal(t.n, 5);
            spec_request_end(q);
            spec_drafter_free(d);
            spec_tree_release(&t, NULL);
        }
    }
}

/* ---- batches --------------------------------------------------------------------- */

/* Drafts together and alone, of the same texts; one pass a level for all. */
static void test_batches(void **state) {
    (void)state;
    static const char *const specs[] = {"model:a,min_prob=0.01", "model:a,beam=3,min_prob=0.01",
                                        "model:a,mode=sample,min_prob=0.05"};
    support_rng r = support_rng_new(support_seed(), 3);
    for (size_t i = 0; i < 3; i++) {
        table_lm *m = table_lm_set(0, TABLE_VOCAB, 60, 6.0);
        spec_drafter *d = table_lm_drafter(specs[i], &table_lm_env, NULL);
        spec_request *q[8], *alone[8];
        spec_tree t[8], *tree[8], one = table_lm_tree(30, 5, TABLE_VOCAB);
        spec_propose_args a[8];
        size_t n[8], drafted = 0;
        for (size_t k = 0; k < 8; k++) {
            spec_token text[20] = {0};
            n[k] = support_rng_below(&r, 20);
            for (size_t x = 0; x < n[k]; x++) text[x] = (spec_token)support_rng_below(&r, TABLE_VOCAB);
            q[k] = drafting_begin(d, 0, text, n[k]);
            alone[k] = drafting_begin(d, 0, text, n[k]);
            t[k] = table_lm_tree(30, 5, TABLE_VOCAB);
            tree[k] = &t[k];
        }
        for (int round = 0; round < 20; round++) {
            for (size_t k = 0; k < 8; k++) table_lm_ask(&a[k], n[k]);
            m->passes = m->items = 0;
            assert_int_equal(spec_request_propose_batch(q, a, tree, 8), 0);
            assert_true(m->passes <= 5 && m->items >= m->passes);
            for (size_t k = 0; k < 8; k++) {
                spec_token more[40];
                assert_int_equal(spec_request_propose(alone[k], &a[k], &one), 0);
                assert_true(one.n == t[k].n && one.n_q == t[k].n_q && one.score == t[k].score);
                assert_memory_equal(one.token, t[k].token, one.n * sizeof *one.token);
                assert_memory_equal(one.parent, t[k].parent, one.n * sizeof *one.parent);
                assert_memory_equal(one.prob, t[k].prob, one.n * sizeof *one.prob);
                if (one.n_q) assert_memory_equal(one.q, t[k].q, one.n_q * TABLE_VOCAB * sizeof *one.q);
                size_t x = table_lm_outcome(&r, &one, more);
                drafting_commit(q[k], more, x);
                drafting_commit(alone[k], more, x);
                n[k] += x;
                drafted += one.n;
            }
        }
        assert_true(drafted > 100);
        for (size_t k = 0; k < 8; k++) {
            spec_request_end(q[k]);
            spec_request_end(alone[k]);
            spec_tree_release(&t[k], NULL);
        }
        spec_drafter_free(d);
        spec_tree_release(&one, NULL);
    }
}

/* ---- faults ---------------------------------------------------------------------- */

/* Whichever pass fails: no draft, and the next one is as if nothing had been. */
static void test_passes_that_fail(void **state) {
    (void)state;
    static const char *const specs[] = {"model:a,min_prob=0", "model:a,beam=2,min_prob=0",
                                        "model:a,mode=sample"};
    for (size_t i = 0; i < 3; i++) {
        table_lm *m = table_lm_set(0, TABLE_VOCAB, 400, 5.0);
        spec_drafter *d = table_lm_drafter(specs[i], &table_lm_env, NULL);
        spec_tree got = table_lm_tree(MAX, 5, TABLE_VOCAB), want = table_lm_tree(MAX, 5, TABLE_VOCAB);
        spec_token text[12] = {3, 1, 4};
        for (size_t at = 1; at <= 10; at++) {
            spec_propose_args a;
            spec_request *q = drafting_begin(d, 0, text, 3), *other = drafting_begin(d, 0, text, 3);
            spec_token said[2] = {0};
            for (int round = 0; round < 2; round++) {
                m->fail_at = 0;
                assert_int_equal(spec_request_propose(other, table_lm_ask(&a, 3), &want), 0);
                m->passes = 0;
                m->fail_at = round ? at : at % 5 + 1;
                m->fails_with = SPEC_ERR_CORRUPT;
                int err = spec_request_propose(q, table_lm_ask(&a, 3), &got);
                if (m->fail_at <= 5) {
                    assert_int_equal(err, SPEC_ERR_CORRUPT);
                    assert_int_equal(got.n, 0);
                    if (at % 2) assert_int_equal(spec_request_propose(q, &a, &got), 0);
                } else {
                    assert_int_equal(err, 0);
                }
                if (got.n) assert_memory_equal(got.token, want.token, want.n * sizeof *got.token);
                said[0] = want.token[0], said[1] = want.token[1];
                drafting_commit(q, said, 2);
                drafting_commit(other, said, 2);
            }
            m->fail_at = 0;
            assert_int_equal(spec_request_propose(other, table_lm_ask(&a, 3), &want), 0);
            assert_int_equal(spec_request_propose(q, table_lm_ask(&a, 3), &got), 0);
            assert_int_equal(got.n, want.n);
            assert_memory_equal(got.token, want.token, want.n * sizeof *got.token);
            spec_request_end(q);
            spec_request_end(other);
        }
        spec_drafter_free(d);
        spec_tree_release(&got, NULL);
        spec_tree_release(&want, NULL);
    }
}

static void test_refused_memory(void **state) {
    (void)state;
    static const char *const specs[] = {"model:a,min_prob=0", "model:a,mode=sample"};
    spec_tree t = table_lm_tree(20, 5, TABLE_VOCAB);
    for (size_t k = 0, refusals = 0;; k++) {
        support_heap heap;
        spec_message why;
        spec_drafter *d = NULL;
        spec_request *q = NULL;
        table_lm_set(0, TABLE_VOCAB, 400, 5.0);
        support_heap_init(&heap);
        support_heap_refuse(&heap, k, false);
        spec_allocator alloc = support_alloc(&heap);
        spec_request_info info = {.size = sizeof info, .prompt = (spec_token[]){1, 2}, .n_prompt = 2};
        spec_token more[100] = {0};
        int err = spec_drafter_open_env(&d, specs[k % 2], &table_lm_env, &alloc, &why);
        if (err) assert_non_null(strstr(why.text, "drafter model: "));
        if (!err) err = spec_request_begin(d, &info, &q);
        if (!err) err = spec_request_propose(q, NULL, &t);
        if (!err) err = spec_request_commit(q, more, 100);
        if (!err) err = spec_request_propose(q, NULL, &t);
        if (err && q) { /* as if it had not been asked */
            assert_int_equal(spec_request_commit(q, more, 100), 0);
            assert_int_equal(spec_request_propose(q, NULL, &t), 0);
        }
        spec_request_end(q);
        spec_drafter_free(d);
        assert_int_equal(err, heap.refused ? SPEC_ERR_NOMEM : SPEC_OK);
        refusals += heap.refused > 0;
        support_heap_assert_clean(&heap);
        if (!err) {
            assert_true(refusals > 10);
            break;
        }
    }
    spec_tree_release(&t, NULL);
}

static void test_what_is_refused(void **state) {
    (void)state;
    table_lm_set(0, TABLE_VOCAB, 400, 5.0);
    table_lm_set(1, TABLE_VOCAB + 129, 400, 5.0);
    table_lm_set(2, TABLE_VOCAB + 128, 400, 5.0);
    const spec_lm far = table_lm_borrow(&table_lms[1]), near = table_lm_borrow(&table_lms[2]);
    const spec_drafter_env of_far = {
        .size = sizeof table_lm_env, .target = &far, .open_model = table_lm_open};
    const spec_drafter_env of_near = {
        .size = sizeof table_lm_env, .target = &near, .open_model = table_lm_open};
    const spec_lm small = table_lm_borrow(&table_lms[0]);
    const spec_drafter_env of_small = {
        .size = sizeof table_lm_env, .target = &small, .open_model = table_lm_open};
    const drafting_case cases[] = {
        {"model", "drafter model: expected a file first: model:FILE,key=value", SPEC_ERR_INVALID,
         &table_lm_env},
        {"model:len=3", "expected a file first", SPEC_ERR_INVALID, &table_lm_env},
        {"model:a", "drafter model: there is nothing to open its model with", SPEC_ERR_STATE, NULL},
        {"model:nowhere", "drafter model: nowhere: no", SPEC_ERR_NOT_FOUND, &table_lm_env},
        {"model:a",
         "drafter model: a has a vocabulary of 24 tokens, the target's has 153; expected at most 128 tokens",
         SPEC_ERR_INVALID, &of_far},
        {"model:b", "of 153 tokens, the target's has 24", SPEC_ERR_INVALID, &of_small},
        {"union:pld+model:a", "drafter union: drafter model: a has a vocabulary", SPEC_ERR_INVALID, &of_far},
        {"model:a,len=0", "option len: '0' is not a whole number from 1 to 64", SPEC_ERR_INVALID,
         &table_lm_env},
        {"model:a,k=65", "option k", SPEC_ERR_INVALID, &table_lm_env},
        {"model:a,beam=65", "option beam", SPEC_ERR_INVALID, &table_lm_env},
        {"model:a,mode=greedy", "'greedy' is not one of topk, sample", SPEC_ERR_INVALID, &table_lm_env},
        {"model:a,min_prob=1.5", "option min_prob", SPEC_ERR_INVALID, &table_lm_env},
        {"model:a,temperature=0", "option temperature", SPEC_ERR_INVALID, &table_lm_env},
        {"model:a,len=64,k=64,beam=2", "a tree of 8128 nodes", SPEC_ERR_INVALID, &table_lm_env},
        {"model:a,", "expected key=value", SPEC_ERR_INVALID, &table_lm_env},
    };
    drafting_check_cases("", cases, sizeof cases / sizeof *cases);
    assert_true(!table_lms[0].open && !table_lms[1].open);
    spec_drafter_free(table_lm_drafter("model:a", &of_near, NULL));
    spec_drafter_free(table_lm_drafter("model:c", &of_small, NULL));
    spec_drafter_free(table_lm_drafter("model:a,len=64,k=64", &table_lm_env, NULL));
    spec_drafter_free(table_lm_drafter("model:a,len=16,k=64,beam=4,mode=sample", &table_lm_env, NULL));
}

static void test_what_it_says_of_itself(void **state) {
    (void)state;
    table_lm_set(0, TABLE_VOCAB, 400, 5.0);
    spec_drafter *d = table_lm_drafter("model:a", &table_lm_env, NULL);
    spec_needs needs;
    spec_drafter_stats before, with;
    spec_drafter_needs(d, &needs);
    assert_true(!needs.q_rows && !needs.top_k && !needs.n_taps);
    spec_drafter_get_stats(d, &before);
    spec_request *q = drafting_begin(d, 0, (spec_token[]){1, 2}, 2);
    spec_drafter_get_stats(d, &with);
    assert_true(with.index_bytes > before.index_bytes + 400 * sizeof(spec_token)); /* the model's as well */
    spec_request_end(q);
    spec_drafter_get_stats(d, &with);
    assert_true(with.index_bytes == before.index_bytes && with.longest_wait_ns == 0);
    spec_drafter_free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_end_of_the_context),
        cmocka_unit_test(test_tokens_that_the_model_does_not_know),
        cmocka_unit_test(test_odd_logits),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_passes_that_fail),
        cmocka_unit_test(test_refused_memory),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_what_it_says_of_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Greedy acceptance: against the definition on random trees, and as a property:
 * with every built-in drafter the output is that of plain decoding. Wrong
 * verifiers must be noticed by the same property.
 */
#include "toy_engine.h"

#include <stdlib.h>
#include <string.h>

#include "draft_internal.h"
#include "spec_verify.h"

/* ---- on random trees ------------------------------------------------------------ */

static void grow_random(support_rng *r, spec_tree *t, uint32_t n, uint32_t vocab) {
    spec_tree_clear(t);
    for (uint32_t tries = 0; t->n < n && tries < 10 * n; tries++) {
        int32_t parent = (int32_t)support_rng_below(r, t->n + 1) - 1;
        spec_token token = (spec_token)support_rng_below(r, vocab);
        if (spec_tree_child(t, parent, token) < 0) spec_tree_add(t, parent, token, 0.0f, 0);
    }
}

/* The definition: descend while a child carries the choice. */
static size_t descend(const spec_tree *t, const spec_token *argmax, int32_t *path, spec_token *next) {
    size_t n = 0;
    int32_t at = -1;
    for (int32_t child; (child = spec_tree_child(t, at, argmax[at + 1])) >= 0; at = child) path[n++] = child;
    *next = argmax[at + 1];
    return n;
}

static void test_random_trees_follow_the_definition(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 3);
    spec_tree t;
    size_t longest = 0;
    assert_int_equal(spec_tree_init(&t, 64, 0, 0, NULL), 0);
    for (int round = 0; round < 20000; round++) {
        uint32_t vocab = 1 + support_rng_below(&r, 4);
        grow_random(&r, &t, support_rng_below(&r, 65), vocab);
        spec_token argmax[65], next = -7, want_next;
        int32_t path[64], want[64];
        size_t n = 99;
        for (uint32_t i = 0; i <= t.n; i++) argmax[i] = (spec_token)support_rng_below(&r, vocab);
        size_t want_n = descend(&t, argmax, want, &want_next);
        assert_int_equal(spec_verify_greedy(&t, argmax, path, &n, &next), 0);
        assert_true(n == want_n && next == want_next && !memcmp(path, want, n * sizeof *path));
        assert_int_equal(spec_verify_greedy(&t, argmax, NULL, &n, &next), 0);
        assert_true(n == want_n && next == want_next);
        if (n > longest) longest = n;
    }
    assert_true(longest > 4); /* the trees were deep enough to matter */
    spec_tree_release(&t, NULL);
}

static void test_errors_leave_the_outputs_alone(void **state) {
    (void)state;
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, 4, 0, 0, NULL), 0);
    spec_tree_add(&t, -1, 1, 1, 0);
    spec_tree_add(&t, 0, 2, 1, 0);
    spec_tree_add(&t, -1, 3, 1, 0);
    spec_token good[4] = {1, 2, 9, 9}, bad_root[4] = {-1, 2, 9, 9}, bad_path[4] = {1, 2, -1, 9},
               off_path[4] = {1, 5, -1, -1};
    int32_t path[4] = {-5, -5, -5, -5};
    size_t n = 77;
    spec_token next = 88;
    assert_int_equal(spec_verify_greedy(&t, bad_root, path, &n, &next), SPEC_ERR_INVALID);
    assert_int_equal(spec_verify_greedy(&t, bad_path, path, &n, &next), SPEC_ERR_INVALID);
    assert_int_equal(spec_verify_greedy(NULL, good, path, &n, &next), SPEC_ERR_INVALID);
    assert_int_equal(spec_verify_greedy(&t, NULL, path, &n, &next), SPEC_ERR_INVALID);
    assert_int_equal(spec_verify_greedy(&t, good, path, NULL, &next), SPEC_ERR_INVALID);
    assert_int_equal(spec_verify_greedy(&t, good, path, &n, NULL), SPEC_ERR_INVALID);
    const int32_t bad_parent[3] = {2, 5, -2};
    for (int i = 0; i < 3; i++) {
        t.parent[2] = bad_parent[i];
        assert_int_equal(spec_verify_greedy(&t, good, path, &n, &next), SPEC_ERR_INVALID);
    }
    t.parent[2] = -1;
    assert_true(n == 77 && next == 88 && path[0] == -5 && path[1] == -5);
    assert_int_equal(spec_verify_greedy(&t, off_path, path, &n, &next), 0); /* only rows on the path count */
    assert_true(n == 1 && next == 5 && path[0] == 0);
    spec_tree_clear(&t);
    assert_int_equal(spec_verify_greedy(&t, good, path, &n, &next), 0);
    assert_true(n == 0 && next == 1);
    spec_tree_release(&t, NULL);
}

/* ---- equality with plain decoding -------------------------------------------------- */

#define N_PROMPT 200
#define N_NEW    1500

typedef struct text_pair {
    spec_token plain[N_PROMPT + N_NEW], other[N_PROMPT + N_NEW];
} text_pair;

static spec_drafter *open_drafter(const char *spec) {
    spec_drafter *d;
    spec_message why;
    if (spec_drafter_open(&d, spec, NULL, &why)) fail_msg("%s", why.text);
    return d;
}

/* Prompts end in a part of what the model has said before, so that looking up pays. */
static void make_texts(text_pair *p, const toy_model *m, uint64_t stream) {
    support_rng r = support_rng_new(support_seed(), stream);
    for (size_t i = 0; i < N_PROMPT; i++)
        p->plain[i] = m->first + (spec_token)support_rng_below(&r, m->vocab);
    toy_plain(m, p->plain, 20, N_PROMPT - 20);
    memcpy(p->other, p->plain, N_PROMPT * sizeof *p->plain);
    toy_plain(m, p->plain, N_PROMPT, N_NEW);
}

/* Decodes a text with a drafter; whether it came out as with plain decoding. */
static bool decodes_equal(text_pair *p, const toy_model *m, spec_drafter *d, toy_run *run) {
    run->reference = p->plain + N_PROMPT;
    run->n_reference = N_NEW;
    toy_decode(m, d, run, p->other, N_PROMPT, N_NEW);
    return !memcmp(p->other, p->plain, sizeof p->plain);
}

/* Over several models, requests and ways of calling, one drafter for all. */
static void assert_lossless(const char *spec, bool may_be_useless) {
    static const uint32_t vocabs[] = {2, 12, 300, 32000};
    static const uint32_t budgets[] = {1, 5, 16, 100};
    spec_drafter *d = open_drafter(spec);
    text_pair *p = malloc(sizeof *p);
    size_t accepted = 0;
    for (uint32_t i = 0; i < 12; i++) {
        toy_model m = {.seed = support_seed() + i / 2, .vocab = vocabs[i % 4]};
        toy_run run = {.tenant = i % 3, .budget = budgets[(i + i / 4) % 4], .mix_calls = i % 2};
        make_texts(p, &m, 10 + i / 2);
        if (!decodes_equal(p, &m, d, &run)) fail_msg("%s: the output differs in case %u", spec, i);
        accepted += run.accepted;
    }
    assert_true(accepted > 0 || may_be_useless);
    free(p);
    spec_drafter_free(d);
}

static void test_every_drafter_is_lossless(void **state) {
    (void)state;
    size_t n = 0; /* the toy engine has no probable tokens for recycle */
    for (const char *name; (name = spec_drafter_builtin(n)); n++) {
        if (specp_drafter_needs_file(name)) continue;
        assert_lossless(name, !strcmp(name, "none") || !strcmp(name, "random") || !strcmp(name, "recycle"));
    }
    assert_true(n >= 7);
    assert_lossless("random:vocab=12,width=6,len=5", false);
    assert_lossless("pld:match=first,n_max=5,n_min=2", false);
    assert_lossless("pld:n_max=16,n_min=3,len=40", false);
    assert_lossless("ngram-mod:n=3,min=1,len=20,size_mb=1", false);
    assert_lossless("ngram-mod:n=3,min=1,len=20,shared=0", false);
    assert_lossless("ngram-cache:cross_tenant=1,size_mb=1", false);
}

/* ---- wrong verifiers are noticed ------------------------------------------------------ */

/* Decodes three texts that are new for long, so that drafts are often wrong;
 * whether any of them came out other than with plain decoding. */
static bool notices(toy_verifier v, const char *spec) {
    bool differs = false;
    text_pair *p = malloc(sizeof *p);
    for (uint64_t i = 0; i < 3; i++) {
        spec_drafter *d = open_drafter(spec);
        toy_model m = {.seed = support_seed() + i, .vocab = 200};
        toy_run run = {.verifier = v};
        make_texts(p, &m, 30 + i);
        differs |= !decodes_equal(p, &m, d, &run);
        spec_drafter_free(d);
    }
    free(p);
    return differs;
}

static void test_wrong_verifiers_change_the_output(void **state) {
    (void)state;
    static const char *const bushy = "random:vocab=200,width=16,len=4";
    static const struct {
        const char *spec;
        toy_verifier verifier;
    } wrong[] = {
        {bushy, TOY_ROW_BEFORE}, {"oracle", TOY_ROW_BEFORE}, {bushy, TOY_NO_BONUS},  {"oracle", TOY_NO_BONUS},
        {bushy, TOY_ANY_PARENT}, {bushy, TOY_ANY_TOKEN},     {"pld", TOY_ANY_TOKEN},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(notices(TOY_RIGHT, wrong[i].spec));
        if (!notices(wrong[i].verifier, wrong[i].spec))
            fail_msg("%s: wrong verifier %d is not noticed", wrong[i].spec, (int)wrong[i].verifier);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_trees_follow_the_definition),
        cmocka_unit_test(test_errors_leave_the_outputs_alone),
        cmocka_unit_test(test_every_drafter_is_lossless),
        cmocka_unit_test(test_wrong_verifiers_change_the_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

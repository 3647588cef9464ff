/* SPDX-License-Identifier: MIT */
/*
 * A small model's drafts on real forward passes. A target that drafts for itself has every
 * draft accepted; after any rollback a draft is, bit for bit, that of a fresh request with
 * the same text, alone or in a batch; files that are no models are refused.
 */
#include "target_world.h"

#include <stdlib.h>
#include <string.h>

#include "drafting.h"
#include "spec_verify.h"
#include "table_lm.h"

#define N_NEW 60

typedef struct world {
    support_tmp tmp;
    char path[256], other[256];
    spec_target *target;
    spec_lm lm;
    spec_drafter_env env;
    size_t vocab;
} world;

static int set_up(void **state) {
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    support_tmp_make(&w->tmp);
    tiny_model m = tiny_model_of("llama");
    tiny_model_write(&m, support_tmp_path(&w->tmp, "m.gguf", w->path, sizeof w->path));
    m = tiny_model_of("gemma3"); /* a window, and heads of another width */
    tiny_model_write(&m, support_tmp_path(&w->tmp, "o.gguf", w->other, sizeof w->other));
    w->target = target_open(w->path, 1, SPEC_TYPE_F16, NULL);
    w->vocab = target_vocab(w->target);
    spec_target_lm(w->target, &w->lm);
    w->env = (spec_drafter_env){
        .size = sizeof w->env, .target = &w->lm, .open_model = spec_target_open_lm, .threads = 2};
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    world *w = *state;
    spec_target_free(w->target);
    support_tmp_remove(&w->tmp);
    free(w);
    return 0;
}

static spec_drafter *open_drafter(const world *w, const char *file, const char *options) {
    char spec[400];
    snprintf(spec, sizeof spec, "model:%s%s", file, options);
    return table_lm_drafter(spec, &w->env, NULL);
}

/* ---- a target that drafts for itself ------------------------------------------------- */

/* Greedy decoding; how many steps N_NEW tokens take, and how many nodes were drafted. */
static size_t decode(const world *w, spec_drafter *d, spec_token *text, size_t n, size_t *drafted) {
    spec_tree t = table_lm_tree(64, 0, 0);
    spec_sequence *s = target_sequence(w->target);
    spec_request *q = drafting_begin(d, 0, text, n);
    size_t end = n + N_NEW, steps = 0, fed = 0;
    for (; n < end; steps++) {
        int32_t path[64];
        size_t n_path, from = n;
        spec_token next;
        assert_int_equal(spec_request_propose(q, NULL, &t), 0);
        *drafted += t.n;
        spec_forward_out out = target_feed(w->target, s, text + fed, n - fed, &t, 0);
        assert_int_equal(spec_verify_greedy(&t, out.argmax + out.row[0], path, &n_path, &next), 0);
        assert_int_equal(spec_sequence_accept(s, path, n_path), 0);
        fed = n + n_path;
        for (size_t i = 0; i < n_path; i++) text[n++] = t.token[path[i]];
        text[n++] = next;
        drafting_commit(q, text + from, n - from);
    }
    spec_request_end(q);
    spec_sequence_free(s);
    spec_tree_release(&t, NULL);
    return steps;
}

static void test_a_target_drafts_for_itself(void **state) {
    const world *w = *state;
    spec_token text[2][120] = {{3, 1, 4, 1, 5, 9}, {3, 1, 4, 1, 5, 9}};
    static const struct {
        const char *options;
        size_t steps;
    } cases[] = {{",len=5,k=1,min_prob=0", N_NEW / 6},
                 {",len=3,k=4,min_prob=0", N_NEW / 4},
                 {",len=11,mode=sample", N_NEW / 12}}; /* no room for q rows: the most probable chain */
    size_t drafted = 0;
    spec_drafter *none = table_lm_drafter("none", NULL, NULL);
    assert_int_equal(decode(w, none, text[0], 6, &drafted), N_NEW);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        spec_drafter *d = open_drafter(w, w->path, cases[i].options);
        assert_int_equal(decode(w, d, text[1], 6, &drafted), cases[i].steps);
        assert_memory_equal(text[0], text[1], (6 + N_NEW) * sizeof(spec_token));
        spec_drafter_free(d);
    }
    spec_drafter *bushy = open_drafter(w, w->path, ",len=4,k=2,beam=2,min_prob=0");
    assert_true(decode(w, bushy, text[1], 6, &drafted) < N_NEW / 3); /* two paths may crowd out the best */
    assert_memory_equal(text[0], text[1], (6 + N_NEW) * sizeof(spec_token));
    spec_drafter_free(bushy);
    assert_true(drafted > 0);
    spec_drafter_free(none);
}

/* ---- rollback -------------------------------------------------------------------------- */

static void same(const char *what, const spec_tree *a, const spec_tree *b) {
    if (a->n != b->n || a->n_q != b->n_q || a->score != b->score)
        fail_msg("%s: %u and %u nodes", what, a->n, b->n);
    assert_memory_equal(a->token, b->token, a->n * sizeof *a->token);
    assert_memory_equal(a->parent, b->parent, a->n * sizeof *a->parent);
    assert_memory_equal(a->prob, b->prob, a->n * sizeof *a->prob);
    assert_memory_equal(a->q, b->q, (size_t)a->n_q * a->vocab * sizeof *a->q);
}

/* Four requests go on side by side; each draft is compared with that of a request which
 * has just begun with the same text. */
static void test_drafts_after_rollback(void **state) {
    const world *w = *state;
    static const char *const options[] = {",min_prob=0", ",beam=3,k=3,len=4,min_prob=0", ",mode=sample"};
    support_rng r = support_rng_new(support_seed(), 1);
    for (size_t i = 0; i < 6; i++) {
        spec_drafter *d = open_drafter(w, i % 2 ? w->path : w->other, options[i / 2]);
        spec_request *q[4];
        spec_tree t[4], *trees[4], fresh = table_lm_tree(40, 5, (uint32_t)w->vocab);
        spec_propose_args a[4];
        spec_token text[4][400];
        size_t n[4], drafted = 0;
        for (size_t k = 0; k < 4; k++) {
            target_text(&r, text[k], n[k] = 1 + 9 * k, w->vocab);
            q[k] = drafting_begin(d, 0, text[k], n[k]);
            t[k] = table_lm_tree(40, 5, (uint32_t)w->vocab);
            trees[k] = &t[k];
        }
        for (int round = 0; round < 12; round++) {
            for (size_t k = 0; k < 4; k++) table_lm_ask(&a[k], n[k]);
            assert_int_equal(spec_request_propose_batch(q, a, trees, 4), 0);
            for (size_t k = 0; k < 4; k++) {
                spec_request *new = drafting_begin(d, 0, text[k], n[k]);
                assert_int_equal(spec_request_propose(new, &a[k], &fresh), 0);
                same(options[i / 2], &t[k], &fresh);
                spec_request_end(new);
                drafted += fresh.n;
                size_t more = table_lm_outcome(&r, &fresh, text[k] + n[k]);
                drafting_commit(q[k], text[k] + n[k], more);
                n[k] += more;
            }
        }
        assert_true(drafted > 100);
        for (size_t k = 0; k < 4; k++) {
            spec_request_end(q[k]);
            spec_tree_release(&t[k], NULL);
        }
        spec_tree_release(&fresh, NULL);
        spec_drafter_free(d);
    }
}

/* ---- files --------------------------------------------------------------------------- */

static void test_files_that_are_refused(void **state) {
    const world *w = *state;
    char junk[256], wide[256], spec[400];
    spec_drafter *d = NULL;
    spec_message why;
    support_write_file(support_tmp_path(&w->tmp, "junk.gguf", junk, sizeof junk), "no model", 8);
    tiny_model m = tiny_model_of("llama");
    m.vocab = w->vocab + 129;
    tiny_model_write(&m, support_tmp_path(&w->tmp, "wide.gguf", wide, sizeof wide));
    snprintf(spec, sizeof spec, "model:%s", junk);
    assert_true(spec_drafter_open_env(&d, spec, &w->env, NULL, &why) < 0);
    assert_non_null(strstr(why.text, "junk.gguf"));
    snprintf(spec, sizeof spec, "model:%s.none,len=3", junk);
    assert_int_equal(spec_drafter_open_env(&d, spec, &w->env, NULL, &why), SPEC_ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "junk.gguf.none"));
    snprintf(spec, sizeof spec, "union:pld+(model:%s)", wide);
    assert_int_equal(spec_drafter_open_env(&d, spec, &w->env, NULL, &why), SPEC_ERR_INVALID);
    assert_non_null(strstr(why.text, "the target's has 128"));
    assert_null(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_target_drafts_for_itself),
        cmocka_unit_test(test_drafts_after_rollback),
        cmocka_unit_test(test_files_that_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

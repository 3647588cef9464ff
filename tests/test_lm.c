/* SPDX-License-Identifier: MIT */
/* The target as drafters see it, and what drafters are opened with. */
#include "target_world.h"

#include <stdlib.h>
#include <string.h>

#include "drafting.h"

#define N_TEXT 9

typedef struct world {
    support_tmp tmp;
    char path[512];
    spec_target *target;
    spec_lm lm;
} world;

static int set_up(void **state) {
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    support_tmp_make(&w->tmp);
    const tiny_model m = tiny_model_of("llama");
    tiny_model_write(&m, support_tmp_path(&w->tmp, "m.gguf", w->path, sizeof w->path));
    w->target = target_open(w->path, 1, SPEC_TYPE_F16, NULL);
    spec_target_lm(w->target, &w->lm);
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

/* ---- the target as a spec_lm ---------------------------------------------- */

static void test_sizes_and_embeddings(void **state) {
    const world *w = *state;
    spec_target_info t = {.size = sizeof t};
    spec_lm_info i = {.size = sizeof i};
    spec_target_get_info(w->target, &t);
    w->lm.ops->info(w->lm.self, &i);
    assert_true(i.size == sizeof i && i.vocab == t.vocab && i.dim == t.dim);
    assert_true(i.n_layers == t.n_layers && i.max_context == t.context);
    float a[256], b[256];
    assert_int_equal(w->lm.ops->embedding(w->lm.self, 3, a), 0);
    assert_int_equal(spec_target_embedding(w->target, 3, b), 0);
    assert_memory_equal(a, b, t.dim * sizeof *a);
    assert_int_equal(w->lm.ops->embedding(w->lm.self, (spec_token)t.vocab, a), SPEC_ERR_INVALID);
}

/* Fed, verified, accepted and rolled back, row for row what the target says itself. */
static void walk(const world *w, const spec_lm *lm, support_rng *rng) {
    static const int32_t taps[] = {-1, 0};
    const spec_lm_args args = {.size = sizeof args, .n_taps = 2, .tap_layer = taps};
    size_t vocab = target_vocab(w->target);
    spec_token text[N_TEXT];
    target_text(rng, text, N_TEXT, vocab);
    spec_tree tree = target_tree(rng, 5, vocab);
    int32_t path[8];
    spec_token tokens[8];
    size_t n_path = target_path(&tree, 4, path, tokens);
    spec_sequence *plain = target_sequence(w->target);
    float *wanted = NULL;
    spec_forward_out want = target_feed(w->target, plain, text, N_TEXT, &tree, 0);
    assert_non_null(wanted = malloc(want.n_rows * vocab * sizeof *wanted));
    memcpy(wanted, want.logits, want.n_rows * vocab * sizeof *wanted);
    void *s = NULL;
    spec_message why;
    assert_int_equal(lm->ops->sequence_new(lm->self, 0, &s), 0);
    const spec_lm_item item = {.sequence = s, .tokens = text, .n_tokens = N_TEXT, .tree = &tree};
    for (int round = 0; round < 2; round++) {
        spec_lm_out out = {0};
        if (lm->ops->forward(lm->self, &item, 1, &args, &out, &why)) fail_msg("%s", why.text);
        assert_int_equal(out.n_rows, 6);
        assert_non_null(out.hidden);
        target_same_rows("a spec_lm's rows", out.logits + out.row[0] * vocab, wanted, 6, vocab);
        assert_int_equal(lm->ops->accept(lm->self, s, path, n_path), 0);
        if (lm->self == w->target) {
            assert_int_equal(spec_sequence_length(s), N_TEXT + n_path);
        }
        assert_int_equal(lm->ops->truncate(lm->self, s, 0), 0);
    }
    assert_int_equal(lm->ops->truncate(lm->self, s, 1), SPEC_ERR_INVALID);
    lm->ops->sequence_free(lm->self, s);
    spec_sequence_free(plain);
    spec_tree_release(&tree, NULL);
    free(wanted);
}

static void test_the_target_as_a_model(void **state) {
    support_rng rng = support_rng_new(support_seed(), 1);
    walk(*state, &((const world *)*state)->lm, &rng);
}

static void test_a_model_of_its_own(void **state) {
    const world *w = *state;
    support_rng rng = support_rng_new(support_seed(), 2);
    spec_message why;
    spec_lm lm;
    if (spec_target_open_lm(w->path, 1, 0, NULL, &lm, &why)) fail_msg("%s", why.text);
    walk(w, &lm, &rng);
    lm.ops->free(lm.self);
    char path[512];
    support_tmp_path(&w->tmp, "none.gguf", path, sizeof path);
    assert_int_equal(spec_target_open_lm(path, 1, 0, NULL, &lm, &why), SPEC_ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "none.gguf"));
    assert_int_equal(spec_target_open_lm(w->path, 1, 0, NULL, NULL, &why), SPEC_ERR_INVALID);
}

static void test_refused_memory(void **state) {
    const world *w = *state;
    const spec_token text[] = {1, 2};
    for (size_t k = 0;; k++) {
        support_heap heap;
        support_heap_init(&heap);
        support_heap_refuse(&heap, k, false);
        spec_allocator alloc = support_alloc(&heap);
        spec_message why;
        spec_lm lm;
        spec_lm_out out;
        void *s = NULL;
        int err = spec_target_open_lm(w->path, 1, 0, &alloc, &lm, &why);
        if (!err) {
            err = lm.ops->sequence_new(lm.self, 0, &s);
            const spec_lm_item item = {.sequence = s, .tokens = text, .n_tokens = 2};
            if (!err) err = lm.ops->forward(lm.self, &item, 1, NULL, &out, &why);
            if (s) lm.ops->sequence_free(lm.self, s);
            lm.ops->free(lm.self);
        }
        assert_int_equal(err, heap.refused ? SPEC_ERR_NOMEM : SPEC_OK);
        support_heap_assert_clean(&heap);
        if (!err) break;
    }
}

/* ---- what drafters are opened with ------------------------------------------ */

/* The largest token of some random drafts. */
static spec_token largest(const char *spec, const spec_drafter_env *env) {
    spec_drafter *d = NULL;
    spec_message why;
    spec_token most = -1;
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, 64, 0, 0, NULL), 0);
    if (spec_drafter_open_env(&d, spec, env, NULL, &why)) fail_msg("%s", why.text);
    spec_request *r = drafting_begin(d, 0, NULL, 0);
    for (uint64_t i = 0; i < 50; i++) {
        const spec_propose_args a = {.size = sizeof a, .noise = {7, 0, 8 * i}};
        assert_int_equal(spec_request_propose(r, &a, &t), 0);
        for (uint32_t j = 0; j < t.n; j++) most = t.token[j] > most ? t.token[j] : most;
    }
    spec_request_end(r);
    spec_drafter_free(d);
    spec_tree_release(&t, NULL);
    return most;
}

static void test_random_draws_from_the_targets_vocabulary(void **state) {
    const world *w = *state;
    spec_token vocab = (spec_token)target_vocab(w->target);
    const spec_drafter_env env = {.size = sizeof env, .target = &w->lm}, bare = {.size = sizeof bare};
    static const char *const specs[] = {"random", "random:width=2", "union:none+random",
                                        "cascade:none>(union:random+none)"};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        spec_token most = largest(specs[i], &env);
        assert_true(most < vocab && most > vocab / 2);
        assert_true(largest(specs[i], &bare) > 20000 && largest(specs[i], NULL) > 20000);
    }
    assert_true(largest("random:vocab=1000", &env) > vocab);
}

static void test_refused_surroundings(void **state) {
    const world *w = *state;
    const spec_drafter_env older = {.size = sizeof older - 1, .target = &w->lm};
    spec_drafter *d = NULL;
    spec_message why;
    assert_int_equal(spec_drafter_open_env(&d, "none", &older, NULL, &why), SPEC_ERR_INVALID);
    assert_non_null(strstr(why.text, "environment"));
    assert_null(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_and_embeddings),
        cmocka_unit_test(test_the_target_as_a_model),
        cmocka_unit_test(test_a_model_of_its_own),
        cmocka_unit_test(test_refused_memory),
        cmocka_unit_test(test_random_draws_from_the_targets_vocabulary),
        cmocka_unit_test(test_refused_surroundings),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

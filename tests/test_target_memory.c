/* SPDX-License-Identifier: MIT */
/*
 * Every allocation of sequences and forward passes refused in turn: the error
 * comes, nothing has changed, nothing is lost, and the same call then succeeds
 * with the same result.
 */
#include "target_world.h"

#include <stdlib.h>
#include <string.h>

typedef struct world {
    support_heap heap;
    support_tmp tmp;
    spec_target *t;
    size_t vocab;
    spec_token text[600];
} world;

static void world_begin(world *w, const char *arch) {
    char path[256];
    spec_allocator alloc = support_alloc(&w->heap);
    tiny_model m = tiny_model_of(arch);
    spec_target_options o = {.size = sizeof o, .threads = 2};
    m.context = 600;
    m.layers = 1;
    support_tmp_make(&w->tmp);
    support_heap_init(&w->heap);
    tiny_model_write(&m, support_tmp_path(&w->tmp, "m.gguf", path, sizeof path));
    assert_int_equal(spec_target_open(&w->t, path, &o, &alloc, NULL), 0);
    w->vocab = m.vocab;
    support_rng rng = support_rng_new(support_seed(), 1);
    target_text(&rng, w->text, 600, w->vocab);
}

static void world_end(world *w) {
    spec_target_free(w->t);
    support_heap_assert_clean(&w->heap);
    support_tmp_remove(&w->tmp);
}

/* Passes that need more and more: rows, results, trees, chunks of cache, taps. */
typedef struct pass {
    size_t fed;
    uint32_t nodes, n_taps;
    int all_rows;
} pass;

static void test_forward(void **state) {
    static const pass passes[] = {{1, 0, 0, 0}, {3, 4, 0, 1}, {200, 9, 1, 0}, {300, 20, 2, 1}};
    static const int32_t taps[] = {0, -1};
    static const char *const archs[] = {"llama", "mixtral"};
    (void)state;
    for (size_t a = 0; a < 2; a++) {
        world w;
        world_begin(&w, archs[a]);
        spec_sequence *s = target_sequence(w.t);
        size_t length = 0, refusals = 0;
        for (size_t p = 0; p < sizeof passes / sizeof *passes; p++) {
            support_rng rng = support_rng_new(support_seed(), 10 + p);
            spec_tree tree = target_tree(&rng, passes[p].nodes, w.vocab);
            spec_forward_item item = {s, w.text + length, passes[p].fed, &tree, passes[p].all_rows};
            spec_forward_args args = {.size = sizeof args, .n_taps = passes[p].n_taps, .tap_layer = taps};
            spec_forward_out out;
            for (size_t k = 0;; k++) {
                spec_message why = {""};
                support_heap_refuse(&w.heap, k, k % 2);
                int err = spec_target_forward(w.t, &item, 1, &args, &out, &why);
                if (!err) break;
                assert_int_equal(err, SPEC_ERR_NOMEM);
                assert_non_null(strstr(why.text, "no memory"));
                assert_true(w.heap.refused > 0);
                assert_int_equal(spec_sequence_length(s), length);
                refusals++;
            }
            support_heap_refuse(&w.heap, SIZE_MAX, false);
            length += passes[p].fed;
            assert_int_equal(spec_sequence_length(s), length);
            spec_tree_release(&tree, NULL);
        }
        assert_true(refusals > 20);
        spec_sequence *fresh = target_sequence(w.t);
        target_feed(w.t, fresh, w.text, length, NULL, 0);
        target_same_cache("after refusals", s, fresh, length);
        spec_sequence_free(fresh);
        spec_sequence_free(s);
        world_end(&w);
    }
}

static void test_new_and_copy(void **state) {
    world w;
    spec_sequence *from, *s = NULL;
    (void)state;
    world_begin(&w, "llama");
    from = target_sequence(w.t);
    target_feed(w.t, from, w.text, 520, NULL, 0);
    support_heap_refuse(&w.heap, 0, false);
    assert_int_equal(spec_sequence_new(&s, w.t, 0), SPEC_ERR_NOMEM);
    assert_null(s);
    s = target_sequence(w.t);
    target_feed(w.t, s, w.text + 100, 5, NULL, 0);
    size_t k = 0;
    for (;; k++) {
        support_heap_refuse(&w.heap, k, false);
        int err = spec_sequence_copy(s, from, 520);
        if (!err) break;
        assert_int_equal(err, SPEC_ERR_NOMEM);
        assert_int_equal(w.heap.refused, 1);
        assert_int_equal(spec_sequence_length(s), 5);
        assert_memory_equal(spec_sequence_tokens(s), w.text + 100, 5 * sizeof(spec_token));
    }
    assert_true(k >= 3);
    support_heap_refuse(&w.heap, SIZE_MAX, false);
    target_same_cache("a copy after refusals", s, from, 520);
    spec_sequence_free(s);
    spec_sequence_free(from);
    world_end(&w);
}

/* The path goes over the end of what the cache has room for. */
static void test_accept(void **state) {
    world w;
    spec_tree tree;
    int32_t path[5];
    (void)state;
    world_begin(&w, "llama");
    spec_sequence *s = target_sequence(w.t), *fresh = target_sequence(w.t);
    assert_int_equal(spec_tree_init(&tree, 5, 0, 0, NULL), 0);
    for (int32_t i = 0; i < 5; i++) path[i] = spec_tree_add(&tree, i - 1, w.text[254 + i], 1.0f, 0);
    target_feed(w.t, s, w.text, 254, &tree, 0);
    size_t refusals = 0;
    for (size_t k = 0;; k++) {
        support_heap_refuse(&w.heap, k, false);
        int err = spec_sequence_accept(s, path, 5);
        if (!err) break;
        assert_int_equal(err, SPEC_ERR_NOMEM);
        assert_int_equal(spec_sequence_length(s), 254);
        refusals++;
    }
    support_heap_refuse(&w.heap, SIZE_MAX, false);
    assert_true(refusals >= 2);
    assert_int_equal(spec_sequence_length(s), 259);
    target_feed(w.t, fresh, w.text, 259, NULL, 0);
    target_same_cache("an accepted path after refusals", s, fresh, 259);
    spec_sequence_free(s);
    spec_sequence_free(fresh);
    spec_tree_release(&tree, NULL);
    world_end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_new_and_copy),
        cmocka_unit_test(test_accept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Sequences and forward passes at their limits: what is refused, with which
 * words, and that nothing has changed then; accepting, truncating, copying,
 * comparing; which rows and hidden states come out.
 */
#include "target_world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXT 640

typedef struct world {
    support_tmp tmp;
    char path[256];
    spec_target *t;
    size_t vocab;
    spec_token text[CONTEXT];
} world;

static int set_up(void **state) {
    world *w = calloc(1, sizeof *w);
    tiny_model m = tiny_model_of("llama");
    m.context = CONTEXT;
    m.layers = 2;
    support_tmp_make(&w->tmp);
    tiny_model_write(&m, support_tmp_path(&w->tmp, "model.gguf", w->path, sizeof w->path));
    w->t = target_open(w->path, 2, SPEC_TYPE_F16, NULL);
    w->vocab = m.vocab;
    support_rng rng = support_rng_new(support_seed(), 1);
    target_text(&rng, w->text, CONTEXT, w->vocab);
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    world *w = *state;
    spec_target_free(w->t);
    support_tmp_remove(&w->tmp);
    free(w);
    return 0;
}

/* A sequence with the first n tokens of the text. */
static spec_sequence *sequence_of(world *w, size_t n) {
    spec_sequence *s = target_sequence(w->t);
    if (n) target_feed(w->t, s, w->text, n, NULL, 0);
    return s;
}

static void check_text(const world *w, const spec_sequence *s, size_t n) {
    assert_int_equal(spec_sequence_length(s), n);
    assert_memory_equal(spec_sequence_tokens(s), w->text, n * sizeof w->text[0]);
}

/* The chain of the text's tokens from `from` on. */
static spec_tree chain_of(const world *w, size_t from, uint32_t n) {
    spec_tree tree;
    assert_int_equal(spec_tree_init(&tree, n, 0, 0, NULL), 0);
    for (uint32_t i = 0; i < n; i++) spec_tree_add(&tree, (int32_t)i - 1, w->text[from + i], 1.0f, 0);
    return tree;
}

/* No tree waits: the empty path is all there is. */
static void no_tree(spec_sequence *s) {
    size_t before = spec_sequence_length(s);
    assert_int_equal(spec_sequence_accept(s, (const int32_t[]){0}, 1), SPEC_ERR_STATE);
    assert_int_equal(spec_sequence_accept(s, NULL, 0), 0);
    assert_int_equal(spec_sequence_length(s), before);
}

/* ---- making, accepting ---------------------------------------------------- */

static void test_new(void **state) {
    world *w = *state;
    spec_sequence *s = NULL;
    assert_int_equal(spec_sequence_new(&s, w->t, CONTEXT + 1), SPEC_ERR_INVALID);
    assert_null(s);
    assert_int_equal(spec_sequence_new(&s, w->t, CONTEXT), 0);
    assert_int_equal(spec_sequence_length(s), 0);
    no_tree(s);
    spec_sequence_free(s);
    spec_sequence_free(NULL);
}

static void test_accept(void **state) {
    world *w = *state;
    spec_token token[5] = {1, 2, 3, 2, 5};
    int32_t parent[5] = {-1, 0, 0, -1, 2};
    spec_tree tree = {.token = token, .parent = parent, .n = 5, .cap = 5};
    static const int32_t wrong[][3] = {{1, 0, 0}, {0, 3, 0}, {0, 1, 2}, {-1, 0, 0},
                                       {5, 0, 0}, {0, 0, 0}, {0, 2, 5}, {0, 2, -1}};
    spec_sequence *s = target_sequence(w->t);
    target_feed(w->t, s, w->text, 10, &tree, 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(spec_sequence_accept(s, wrong[i], 3), SPEC_ERR_INVALID);
        check_text(w, s, 10);
    }
    assert_int_equal(spec_sequence_accept(s, (const int32_t[]){0, 2, 4}, 3), 0);
    assert_int_equal(spec_sequence_length(s), 13);
    assert_memory_equal(spec_sequence_tokens(s) + 10, ((const spec_token[]){1, 3, 5}), 12);
    no_tree(s);

    /* nothing of a tree is accepted; a tree that was not accepted is gone after the next pass, or a cut */
    target_feed(w->t, s, w->text, 1, &tree, 0);
    assert_int_equal(spec_sequence_accept(s, NULL, 0), 0);
    assert_int_equal(spec_sequence_length(s), 14);
    target_feed(w->t, s, w->text, 1, &tree, 0);
    target_feed(w->t, s, w->text, 1, NULL, 0);
    no_tree(s);
    target_feed(w->t, s, w->text, 1, &tree, 0);
    assert_int_equal(spec_sequence_truncate(s, 17), 0);
    no_tree(s);
    tree.n = 0;
    target_feed(w->t, s, w->text, 1, &tree, 0);
    no_tree(s);
    spec_sequence_free(s);
}

/* ---- truncating, copying, comparing --------------------------------------- */

static void test_truncate(void **state) {
    world *w = *state;
    spec_sequence *whole = sequence_of(w, 300), *cut = sequence_of(w, 300);
    spec_token other[20];
    memset(other, 0, sizeof other);
    assert_int_equal(spec_sequence_truncate(cut, 301), SPEC_ERR_INVALID);
    check_text(w, cut, 300);
    assert_int_equal(spec_sequence_truncate(cut, 250), 0);
    check_text(w, cut, 250);
    target_feed(w->t, cut, other, 20, NULL, 0);
    assert_int_equal(spec_sequence_equal(whole, cut, 270, NULL), 0);
    assert_int_equal(spec_sequence_truncate(cut, 250), 0);
    target_feed(w->t, cut, w->text + 250, 50, NULL, 0);
    target_same_cache("a sequence that was cut and went on", whole, cut, 300);
    assert_int_equal(spec_sequence_truncate(cut, 0), 0);
    assert_int_equal(spec_sequence_length(cut), 0);
    spec_sequence_free(whole);
    spec_sequence_free(cut);
}

static void test_copy(void **state) {
    world *w = *state;
    spec_target *other = target_open(w->path, 1, SPEC_TYPE_F16, NULL);
    spec_sequence *from = sequence_of(w, 530), *s = sequence_of(w, 40), *small, *foreign;
    assert_int_equal(spec_sequence_new(&small, w->t, 100), 0);
    assert_int_equal(spec_sequence_new(&foreign, other, 0), 0);
    assert_int_equal(spec_sequence_copy(foreign, from, 1), SPEC_ERR_INVALID);
    assert_int_equal(spec_sequence_copy(s, from, 531), SPEC_ERR_INVALID);
    assert_int_equal(spec_sequence_copy(small, from, 101), SPEC_ERR_FULL);
    assert_int_equal(spec_sequence_length(small), 0);
    check_text(w, s, 40);
    static const size_t lengths[] = {530, 0, 1, 16, 255, 256, 257, 500};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assert_int_equal(spec_sequence_copy(s, from, lengths[i]), 0);
        check_text(w, s, lengths[i]);
        target_same_cache("a copy", s, from, lengths[i]);
        target_feed(w->t, s, w->text + lengths[i], 4, NULL, 0);
        if (lengths[i] < 530) target_same_cache("a copy that went on", s, from, lengths[i] + 4);
    }
    assert_int_equal(spec_sequence_copy(small, from, 100), 0);
    assert_int_equal(spec_sequence_copy(from, from, 20), 0); /* of itself: cut */
    check_text(w, from, 20);
    target_same_cache("a copy of itself", from, s, 20);
    spec_sequence_free(from);
    spec_sequence_free(s);
    spec_sequence_free(small);
    spec_sequence_free(foreign);
    spec_target_free(other);
}

static void test_equal(void **state) {
    world *w = *state;
    spec_target *floats = target_open(w->path, 1, SPEC_TYPE_F32, NULL);
    spec_sequence *a = sequence_of(w, 300), *b = sequence_of(w, 20), *c = target_sequence(floats);
    size_t where = 0;
    assert_int_equal(spec_sequence_equal(a, b, 20, &where), 1);
    assert_int_equal(where, 20);
    assert_int_equal(spec_sequence_equal(a, b, 21, &where), 0); /* b has no more */
    assert_int_equal(where, 20);
    spec_token odd = w->text[20] ? 0 : 1;
    target_feed(w->t, b, &odd, 1, NULL, 0);
    target_feed(w->t, b, w->text + 21, 270, NULL, 0);
    assert_int_equal(spec_sequence_equal(a, b, 290, &where), 0);
    assert_int_equal(where, 20);
    target_feed(floats, c, w->text, 20, NULL, 0);
    assert_int_equal(spec_sequence_equal(a, c, 20, &where), 0); /* caches of another type */
    assert_int_equal(where, 0);
    spec_sequence_free(a);
    spec_sequence_free(b);
    spec_sequence_free(c);
    spec_target_free(floats);
}

/* ---- what is refused ------------------------------------------------------ */

/* A refused pass: the words, and a sequence with its waiting tree as before. */
static void refused(world *w, spec_forward_item item, const spec_forward_args *args, int err,
                    const char *words) {
    spec_tree waiting = chain_of(w, 30, 2);
    spec_sequence *s = sequence_of(w, 0);
    spec_forward_item items[2] = {{.sequence = s, .tokens = w->text, .n_tokens = 1}, item};
    spec_forward_out out = {.n_rows = 77};
    spec_message why = {""};
    target_feed(w->t, s, w->text, 30, &waiting, 0);
    size_t before = item.sequence ? spec_sequence_length(item.sequence) : 0;
    assert_int_equal(spec_target_forward(w->t, items, 2, args, &out, &why), err);
    if (!strstr(why.text, words)) fail_msg("\"%s\" does not say \"%s\"", why.text, words);
    assert_int_equal(out.n_rows, 77);
    if (item.sequence) assert_int_equal(spec_sequence_length(item.sequence), before);
    check_text(w, s, 30);
    assert_int_equal(spec_sequence_accept(s, (const int32_t[]){0, 1}, 2), 0);
    spec_sequence *fresh = sequence_of(w, 32);
    target_same_cache("after a refusal", s, fresh, 32);
    assert_int_equal(spec_target_forward(w->t, items, 2, args, &out, NULL), err); /* without a message */
    spec_sequence_free(fresh);
    spec_sequence_free(s);
    spec_tree_release(&waiting, NULL);
}

static void test_refused_tokens(void **state) {
    world *w = *state;
    spec_target *other = target_open(w->path, 1, SPEC_TYPE_F16, NULL);
    spec_sequence *s = sequence_of(w, 3), *foreign = target_sequence(other);
    spec_token token[3] = {1, (spec_token)w->vocab, 2};
    spec_forward_item item = {.sequence = s, .tokens = token, .n_tokens = 3};
    refused(w, item, NULL, SPEC_ERR_INVALID, "item 1: fed token 1 is token 128, the vocabulary has 128");
    token[1] = -1;
    refused(w, item, NULL, SPEC_ERR_INVALID, "item 1: fed token 1 is token -1");
    item.n_tokens = 0;
    refused(w, item, NULL, SPEC_ERR_INVALID, "item 1: no token is fed");
    item.n_tokens = 1;
    item.tokens = NULL;
    refused(w, item, NULL, SPEC_ERR_INVALID, "item 1: no token is fed");
    item.tokens = token;
    item.sequence = NULL;
    refused(w, item, NULL, SPEC_ERR_INVALID, "item 1: no sequence");
    item.sequence = foreign;
    refused(w, item, NULL, SPEC_ERR_INVALID, "another target");
    item.sequence = s;
    static const int32_t layers[][2] = {{0, 2}, {-3, 0}};
    for (size_t i = 0; i < 2; i++) {
        spec_forward_args args = {.size = sizeof args, .n_taps = 2, .tap_layer = layers[i]};
        refused(w, item, &args, SPEC_ERR_INVALID, i ? "tap 0 wants layer -3" : "tap 1 wants layer 2");
    }
    spec_forward_args args = {.size = sizeof args, .n_taps = 1};
    refused(w, item, &args, SPEC_ERR_INVALID, "1 taps, but tap_layer is NULL");
    refused(w, item, &(spec_forward_args){.no_logits = 1}, SPEC_ERR_INVALID, "args.size is 0, expected");
    spec_tree hollow = {.n = 2, .cap = 2, .token = token};
    item.tree = &hollow;
    refused(w, item, NULL, SPEC_ERR_INVALID, "item 1: its tree has 2 nodes, but an array is NULL");
    spec_sequence_free(s);
    spec_sequence_free(foreign);
    spec_target_free(other);
}

static void test_refused_twice(void **state) {
    world *w = *state;
    spec_sequence *s = sequence_of(w, 5);
    spec_forward_item items[3] = {{.sequence = s, .tokens = w->text, .n_tokens = 1},
                                  {.sequence = sequence_of(w, 0), .tokens = w->text, .n_tokens = 1},
                                  {.sequence = s, .tokens = w->text, .n_tokens = 1}};
    spec_forward_out out;
    spec_message why;
    for (int i = 0; i < 2; i++) { /* the second time shows that no mark was left behind */
        assert_int_equal(spec_target_forward(w->t, items, 3, NULL, &out, &why), SPEC_ERR_INVALID);
        assert_non_null(strstr(why.text, "item 2: its sequence is in the batch already"));
        assert_int_equal(spec_target_forward(w->t, items, 2, NULL, &out, &why), 0);
    }
    assert_int_equal(spec_sequence_length(items[1].sequence), 2);
    assert_int_equal(spec_sequence_length(s), 7);
    spec_sequence_free(s);
    spec_sequence_free(items[1].sequence);
}

static void test_refused_trees(void **state) {
    world *w = *state;
    spec_sequence *s = sequence_of(w, 3);
    spec_token token[3] = {1, 2, 3};
    int32_t parent[3] = {-1, 0, 2};
    spec_tree tree = {.token = token, .parent = parent, .n = 3, .cap = 3};
    spec_forward_item item = {.sequence = s, .tokens = w->text, .n_tokens = 1, .tree = &tree};
    refused(w, item, NULL, SPEC_ERR_INVALID, "item 1: node 2 has parent 2");
    parent[2] = -2;
    refused(w, item, NULL, SPEC_ERR_INVALID, "item 1: node 2 has parent -2");
    parent[2] = 1;
    token[1] = 128;
    refused(w, item, NULL, SPEC_ERR_INVALID, "item 1: node 1 is token 128");
    token[1] = -5;
    refused(w, item, NULL, SPEC_ERR_INVALID, "item 1: node 1 is token -5");
    tree.n = SPEC_TREE_MAX_NODES + 1;
    refused(w, item, NULL, SPEC_ERR_INVALID, "4097 nodes");
    spec_sequence_free(s);
}

static void test_context(void **state) {
    world *w = *state;
    spec_sequence *s;
    spec_tree three = chain_of(w, 8, 3), two = chain_of(w, 8, 2);
    assert_int_equal(spec_sequence_new(&s, w->t, 10), 0);
    target_feed(w->t, s, w->text, 7, NULL, 0);
    spec_forward_item item = {.sequence = s, .tokens = w->text + 7, .n_tokens = 4};
    refused(w, item, NULL, SPEC_ERR_FULL,
            "item 1: 7 tokens in the cache and 4 more pass the sequence's context "
            "of 10");
    item.n_tokens = 1;
    item.tree = &three;
    refused(w, item, NULL, SPEC_ERR_FULL,
            "item 1: node 2 would be at position 10, the sequence's context is 10");
    target_feed(w->t, s, w->text + 7, 1, &two, 0);
    assert_int_equal(spec_sequence_accept(s, (const int32_t[]){0, 1}, 2), 0);
    check_text(w, s, 10);
    item.tree = NULL;
    refused(w, item, NULL, SPEC_ERR_FULL, "item 1: 10 tokens in the cache and 1 more");
    spec_tree_release(&three, NULL);
    spec_tree_release(&two, NULL);
    spec_sequence_free(s);
}

/* Weights with NaN: the logits show it. */
static void test_nan(void **state) {
    world *w = *state;
    char path[256];
    tiny_model m = tiny_model_of("llama");
    m.edit[0] = (tiny_edit){.change = TINY_NAN, .name = "output.weight"};
    m.n_edits = 1;
    tiny_model_write(&m, support_tmp_path(&w->tmp, "nan.gguf", path, sizeof path));
    spec_target *t = target_open(path, 2, SPEC_TYPE_F16, NULL);
    spec_sequence *s = target_sequence(t);
    spec_forward_item item = {.sequence = s, .tokens = w->text, .n_tokens = 3};
    spec_forward_args no_logits = {.size = sizeof no_logits, .no_logits = 1};
    spec_forward_out out;
    spec_message why;
    assert_int_equal(spec_target_forward(t, &item, 1, NULL, &out, &why), SPEC_ERR_CORRUPT);
    assert_non_null(strstr(why.text, "NaN"));
    assert_int_equal(spec_sequence_length(s), 0);
    assert_int_equal(spec_target_forward(t, &item, 1, &no_logits, &out, &why), 0);
    assert_int_equal(spec_sequence_length(s), 3);
    spec_sequence_free(s);
    spec_target_free(t);
}

/* The tree of a pass that shows NaN takes the place of the one that waited, which then is gone. */
static void test_nan_in_a_tree(void **state) {
    world *w = *state;
    char path[256];
    tiny_model m = tiny_model_of("llama");
    m.tied = false;
    m.edit[0] = (tiny_edit){.change = TINY_NAN, .name = "token_embd.weight"};
    m.n_edits = 1;
    tiny_model_write(&m, support_tmp_path(&w->tmp, "nan_row.gguf", path, sizeof path));
    spec_target *t = target_open(path, 2, SPEC_TYPE_F16, NULL);
    spec_sequence *s = target_sequence(t);
    spec_token fed[2] = {1, 2}, good = 5, bad = (spec_token)m.vocab - 1;
    int32_t parent = -1, node = 0;
    spec_tree tree = {.token = &good, .parent = &parent, .n = 1, .cap = 1};
    target_feed(t, s, fed, 2, &tree, 0);
    tree.token = &bad;
    spec_forward_item item = {.sequence = s, .tokens = fed, .n_tokens = 1, .tree = &tree};
    spec_forward_out out;
    assert_int_equal(spec_target_forward(t, &item, 1, NULL, &out, NULL), SPEC_ERR_CORRUPT);
    assert_int_equal(spec_sequence_length(s), 2);
    assert_int_equal(spec_sequence_accept(s, &node, 1), SPEC_ERR_STATE);
    assert_int_equal(spec_sequence_length(s), 2);
    spec_sequence_free(s);
    spec_target_free(t);
}

/* A router that knows no difference: the lowest experts are taken, so NaN in the last one stays unseen. */
static void test_expert_ties(void **state) {
    world *w = *state;
    char path[256];
    size_t size, at = 0;
    tiny_model m = tiny_model_of("mixtral");
    m.layers = 1;
    m.edit[0] = (tiny_edit){.change = TINY_NAN, .name = "blk.0.ffn_down_exps.weight"};
    m.n_edits = 1;
    tiny_model_write(&m, support_tmp_path(&w->tmp, "ties.gguf", path, sizeof path));
    spec_tensors *file;
    assert_int_equal(spec_tensors_open(&file, path, NULL, NULL), 0);
    const spec_tensor *router = spec_tensors_find(file, "blk.0.ffn_gate_inp.weight");
    char *bytes = support_read_file(path, &size);
    while (at + router->bytes < size && memcmp(bytes + at, router->data, router->bytes) != 0) at++;
    memset(bytes + at, 0, router->bytes);
    spec_tensors_free(file);
    support_write_file(path, bytes, size);
    spec_target *t = target_open(path, 2, SPEC_TYPE_F16, NULL);
    spec_sequence *s = target_sequence(t);
    target_feed(t, s, w->text, 8, NULL, 1);
    spec_sequence_free(s);
    spec_target_free(t);
    free(bytes);
}

/* ---- what comes out ------------------------------------------------------- */

static void test_rows(void **state) {
    world *w = *state;
    spec_sequence *s[3];
    spec_tree tree = chain_of(w, 50, 3);
    for (size_t i = 0; i < 3; i++) s[i] = sequence_of(w, 0);
    spec_forward_item items[3] = {
        {.sequence = s[0], .tokens = w->text, .n_tokens = 300}, /* more than a slice */
        {.sequence = s[1], .tokens = w->text, .n_tokens = 4, .all_rows = 1, .tree = &tree},
        {.sequence = s[2], .tokens = w->text, .n_tokens = 2, .tree = &tree}};
    static const int32_t taps[] = {-2, 1, -1, 1};
    spec_forward_args args = {.size = sizeof args, .n_taps = 4, .tap_layer = taps};
    spec_forward_out out;
    assert_int_equal(spec_target_forward(w->t, items, 3, &args, &out, NULL), 0);
    assert_int_equal(out.n_rows, 1 + 7 + 4);
    assert_int_equal(out.row[0], 0);
    assert_int_equal(out.row[1], 1);
    assert_int_equal(out.row[2], 8);
    float embedding[64];
    for (size_t i = 0; i < 4; i++) { /* the second item's fed rows */
        const float *hidden = out.hidden + (1 + i) * 4 * 64;
        assert_int_equal(spec_target_embedding(w->t, w->text[i], embedding), 0);
        assert_memory_equal(hidden, embedding, sizeof embedding);
        assert_memory_equal(hidden + 64, hidden + 3 * 64, sizeof embedding);
        assert_true(memcmp(hidden + 64, hidden + 2 * 64, sizeof embedding) != 0);
    }
    assert_int_equal(spec_target_embedding(w->t, w->text[299], embedding), 0);
    assert_memory_equal(out.hidden, embedding, sizeof embedding);
    for (size_t i = 0; i < out.n_rows; i++) {
        const float *logits = out.logits + i * w->vocab;
        spec_token best = 0;
        for (size_t j = 1; j < w->vocab; j++) best = logits[j] > logits[best] ? (spec_token)j : best;
        assert_int_equal(out.argmax[i], best);
    }
    args.no_logits = 1;
    for (size_t i = 0; i < 3; i++) items[i].n_tokens = 1;
    assert_int_equal(spec_target_forward(w->t, items, 3, &args, &out, NULL), 0);
    assert_null(out.logits);
    assert_null(out.argmax);
    assert_non_null(out.hidden);
    assert_int_equal(spec_target_forward(w->t, items, 0, NULL, &out, NULL), 0);
    assert_int_equal(out.n_rows, 0);
    for (size_t i = 0; i < 3; i++) spec_sequence_free(s[i]);
    spec_tree_release(&tree, NULL);
}

/* OpenBLAS adds in another order: near, and never called exact. */
static void test_blas(void **state) {
    world *w = *state;
    static const char *const archs[] = {"llama", "mixtral"};
    for (size_t a = 0; a < 2; a++) {
        char path[256];
        tiny_model m = tiny_model_of(archs[a]);
        tiny_model_write(&m, support_tmp_path(&w->tmp, "blas.gguf", path, sizeof path));
        spec_target *exact = target_open(path, 2, SPEC_TYPE_F32, NULL), *t;
        float *wanted = target_plain(exact, w->text, 40, NULL);
        for (int mode = SPEC_MATMUL_PREFILL; mode <= SPEC_MATMUL_BLAS; mode++) {
            spec_target_options o = {.size = sizeof o,
                                     .threads = 2,
                                     .kv_type = SPEC_TYPE_F32,
                                     .kv_type_given = 1,
                                     .matmul = (spec_matmul)mode};
            assert_int_equal(spec_target_open(&t, path, &o, NULL, NULL), 0);
            spec_sequence *s = target_sequence(t);
            const float *got = target_feed(t, s, w->text, 40, NULL, 1).logits;
            for (size_t i = 0; i < 40 * m.vocab; i++) assert_true(fabsf(got[i] - wanted[i]) < 1e-3f);
            /* short passes are exact again, with a cache that is not */
            assert_int_equal(spec_sequence_truncate(s, 0), 0);
            got = target_feed(t, s, w->text, 31, NULL, 1).logits;
            if (mode == SPEC_MATMUL_PREFILL) target_same_rows("31 tokens", got, wanted, 31, m.vocab);
            spec_sequence_free(s);
            spec_target_free(t);
        }
        free(wanted);
        spec_target_free(exact);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),           cmocka_unit_test(test_accept),
        cmocka_unit_test(test_truncate),      cmocka_unit_test(test_copy),
        cmocka_unit_test(test_equal),         cmocka_unit_test(test_refused_tokens),
        cmocka_unit_test(test_refused_twice), cmocka_unit_test(test_refused_trees),
        cmocka_unit_test(test_context),       cmocka_unit_test(test_nan),
        cmocka_unit_test(test_nan_in_a_tree), cmocka_unit_test(test_rows),
        cmocka_unit_test(test_blas),          cmocka_unit_test(test_expert_ties),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

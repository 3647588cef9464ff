/* SPDX-License-Identifier: MIT */
/*
 * A row's bits depend on its tokens and positions alone. The truth is plain decoding, one token
 * after the other, on one thread; everything else must equal it
 * bit by bit: other instruction sets, threads, ways to cut a prompt, batches, and
 * draft trees, whose nodes must come out as if their path were plain text. After a path is
 * accepted the cache must be that of plain text too. All architectures, weight
 * types and cache types; wrong paths, parents and positions must show.
 */
#include "target_world.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH 40 /* tokens of the text */

typedef struct world {
    char path[256];
    size_t vocab;
    spec_type kv_type;
    support_rng rng;
    spec_token text[LENGTH];
    float *logits; /* (LENGTH, vocab), the truth */
} world;

static void world_begin(world *w, const support_tmp *tmp, const tiny_model *m, spec_type kv_type,
                        uint64_t stream) {
    char name[64];
    snprintf(name, sizeof name, "%s-%d.gguf", m->arch, (int)m->type);
    support_tmp_path(tmp, name, w->path, sizeof w->path);
    tiny_model_write(m, w->path);
    w->vocab = m->vocab;
    w->kv_type = kv_type;
    w->rng = support_rng_new(support_seed(), stream);
    target_text(&w->rng, w->text, LENGTH, w->vocab);
    spec_target *t = target_open(w->path, 1, kv_type, "avx2");
    w->logits = target_plain(t, w->text, LENGTH, NULL);
    spec_target_free(t);
}

static void world_end(world *w) { free(w->logits); }

/* ---- ways to cut a prompt ------------------------------------------------- */

static void check_cuts(world *w, spec_target *t) {
    spec_sequence *whole = target_sequence(t), *cut = target_sequence(t);
    spec_forward_out out = target_feed(t, whole, w->text, LENGTH, NULL, 1);
    target_same_rows("a prompt at once", out.logits, w->logits, LENGTH, w->vocab);
    for (size_t done = 0; done < LENGTH;) {
        size_t n = 1 + support_rng_below(&w->rng, 20);
        n = n < LENGTH - done ? n : LENGTH - done;
        int all = (int)support_rng_below(&w->rng, 2);
        out = target_feed(t, cut, w->text + done, n, NULL, all);
        assert_int_equal(out.n_rows, all ? n : 1);
        target_same_rows("a piece of a prompt", out.logits, w->logits + (done + n - out.n_rows) * w->vocab,
                         out.n_rows, w->vocab);
        done += n;
    }
    assert_int_equal(spec_sequence_length(cut), LENGTH);
    assert_memory_equal(spec_sequence_tokens(cut), w->text, sizeof w->text);
    target_same_cache("pieces of a prompt", cut, whole, LENGTH);
    spec_sequence_free(whole);
    spec_sequence_free(cut);
}

/* Scalar code is slow, so it sees the beginning alone. */
static void check_scalar(world *w) {
    spec_target *t = target_open(w->path, 1, w->kv_type, "scalar");
    spec_sequence *s = target_sequence(t);
    spec_token token[3] = {w->text[4], w->text[5], w->text[6]};
    int32_t parent[3] = {-1, 0, 1};
    spec_tree tree = {.token = token, .parent = parent, .n = 3, .cap = 3};
    spec_forward_out out = target_feed(t, s, w->text, 4, &tree, 1);
    target_same_rows("scalar code", out.logits, w->logits, 7, w->vocab);
    spec_sequence_free(s);
    spec_target_free(t);
}

/* ---- trees ---------------------------------------------------------------- */

/* Each node's row against its path as plain text behind the prefix. */
static void check_nodes(world *w, spec_target *t, size_t prefix, const spec_tree *tree, const float *rows) {
    spec_sequence *base = target_sequence(t), *plain = target_sequence(t);
    int32_t path[64];
    spec_token tokens[64];
    target_feed(t, base, w->text, prefix, NULL, 0);
    for (uint32_t i = 0; i < tree->n; i++) {
        size_t n = target_path(tree, (int32_t)i, path, tokens);
        assert_int_equal(spec_sequence_copy(plain, base, prefix), 0);
        spec_forward_out out = target_feed(t, plain, tokens, n, NULL, 0);
        target_same_rows("a node", rows + i * w->vocab, out.logits, 1, w->vocab);
    }
    spec_sequence_free(base);
    spec_sequence_free(plain);
}

static float *copy_rows(const float *rows, size_t n, size_t vocab) {
    float *copy = malloc((n ? n : 1) * vocab * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, rows, n * vocab * sizeof *copy);
    return copy;
}

/* Accepts the path to a random node; the cache must be that of a fresh prefill. */
static void check_accept(world *w, spec_target *t, spec_sequence *s, const spec_tree *tree) {
    int32_t path[64];
    spec_token tokens[64], all[LENGTH + 64];
    size_t before = spec_sequence_length(s);
    size_t n = target_path(tree, (int32_t)support_rng_below(&w->rng, tree->n + 1) - 1, path, tokens);
    assert_int_equal(spec_sequence_accept(s, path, n), tree->n ? 0 : SPEC_ERR_STATE);
    assert_int_equal(spec_sequence_length(s), before + n);
    memcpy(all, spec_sequence_tokens(s), before * sizeof *all);
    memcpy(all + before, tokens, n * sizeof *all);
    assert_memory_equal(spec_sequence_tokens(s), all, (before + n) * sizeof *all);
    spec_sequence *fresh = target_sequence(t);
    target_feed(t, fresh, all, before + n, NULL, 0);
    target_same_cache("an accepted path", s, fresh, before + n);
    spec_token next = 3;
    spec_forward_out out = target_feed(t, s, &next, 1, NULL, 0);
    float *row = copy_rows(out.logits, 1, w->vocab);
    out = target_feed(t, fresh, &next, 1, NULL, 0);
    target_same_rows("after an accepted path", row, out.logits, 1, w->vocab);
    free(row);
    spec_sequence_free(fresh);
}

static void check_tree(world *w, spec_target *t, uint32_t n) {
    spec_tree tree = target_tree(&w->rng, n, w->vocab);
    size_t prefix = 1 + support_rng_below(&w->rng, LENGTH - 1);
    size_t fed = 1 + support_rng_below(&w->rng, (uint32_t)(prefix < 3 ? prefix : 3));
    spec_sequence *s = target_sequence(t);
    if (prefix > fed) target_feed(t, s, w->text, prefix - fed, NULL, 0);
    spec_forward_out out = target_feed(t, s, w->text + prefix - fed, fed, &tree, 0);
    assert_int_equal(out.n_rows, n + 1);
    target_same_rows("the row before a tree", out.logits, w->logits + (prefix - 1) * w->vocab, 1, w->vocab);
    float *rows = copy_rows(out.logits + w->vocab, n, w->vocab);
    check_nodes(w, t, prefix, &tree, rows);
    check_accept(w, t, s, &tree);
    free(rows);
    spec_sequence_free(s);
    spec_tree_release(&tree, NULL);
}

/* ---- batches -------------------------------------------------------------- */

#define MOST 8

/* Sequences of different lengths side by side, some with trees, some sitting a pass out. */
static void check_batch(world *w, spec_target *t, size_t n) {
    spec_sequence *s[MOST];
    size_t length[MOST] = {0};
    for (size_t i = 0; i < n; i++) s[i] = target_sequence(t);
    for (int pass = 0; pass < 3; pass++) {
        spec_forward_item item[MOST];
        spec_tree tree[MOST];
        size_t who[MOST], n_items = 0;
        for (size_t i = 0; i < n; i++) {
            size_t most = LENGTH - length[i] < 9 ? LENGTH - length[i] : 9;
            if (most == 0 || support_rng_chance(&w->rng, 0.2)) continue;
            size_t fed = 1 + support_rng_below(&w->rng, (uint32_t)most);
            tree[n_items] = target_tree(&w->rng, support_rng_below(&w->rng, 6), w->vocab);
            item[n_items] = (spec_forward_item){s[i], w->text + length[i], fed, &tree[n_items], pass % 2};
            length[i] += fed;
            who[n_items++] = i;
        }
        spec_forward_out out;
        assert_int_equal(spec_target_forward(t, item, n_items, NULL, &out, NULL), 0);
        float *rows = copy_rows(out.logits, out.n_rows, w->vocab);
        size_t row = 0;
        for (size_t j = 0; j < n_items; j++) {
            size_t results = item[j].all_rows ? item[j].n_tokens : 1, end = length[who[j]];
            target_same_rows("a batch", rows + row * w->vocab, w->logits + (end - results) * w->vocab,
                             results, w->vocab);
            check_nodes(w, t, end, &tree[j], rows + (row + results) * w->vocab);
            row += results + tree[j].n;
            spec_tree_release(&tree[j], NULL);
        }
        free(rows);
    }
    for (size_t i = 0; i < n; i++) spec_sequence_free(s[i]);
}

/* ---- all of it ------------------------------------------------------------ */

/* `runs` of the four numbers of threads, each with an instruction set of its own. */
static void check_all(const tiny_model *m, spec_type kv_type, uint64_t stream, unsigned runs) {
    static const char *const isa[] = {"avx512", NULL, "avx2"};
    support_tmp tmp;
    world w;
    support_tmp_make(&tmp);
    world_begin(&w, &tmp, m, kv_type, stream);
    check_scalar(&w);
    for (unsigned i = 0; i < runs; i++) {
        unsigned threads = 1 + (unsigned)(stream + i) % 4;
        spec_target *t = target_open(w.path, threads, kv_type, isa[(stream + i) % 3]);
        check_cuts(&w, t);
        check_tree(&w, t, 1 + support_rng_below(&w.rng, 24));
        check_tree(&w, t, 5);
        check_batch(&w, t, 1 + support_rng_below(&w.rng, MOST));
        spec_target_free(t);
    }
    world_end(&w);
    support_tmp_remove(&tmp);
}

static void test_architectures(void **state) {
    static const char *const archs[] = {"llama", "mistral", "mixtral", "qwen2",
                                        "qwen3", "gemma2",  "gemma3",  "olmo2"};
    (void)state;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        tiny_model m = tiny_model_of(archs[i]);
        check_all(&m, i % 2 ? SPEC_TYPE_F16 : SPEC_TYPE_F32, i, 2);
        m.type = SPEC_TYPE_Q8_0;
        check_all(&m, i % 2 ? SPEC_TYPE_F32 : SPEC_TYPE_F16, 20 + i, 1);
    }
}

static void test_types(void **state) {
    static const spec_type types[] = {SPEC_TYPE_F16,  SPEC_TYPE_BF16, SPEC_TYPE_Q4_0, SPEC_TYPE_Q5_0,
                                      SPEC_TYPE_Q4_K, SPEC_TYPE_Q5_K, SPEC_TYPE_Q6_K};
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        tiny_model m = tiny_model_of(i % 2 ? "llama" : "qwen2");
        m.dim = m.ff = 256;
        m.heads = 8;
        m.head_dim = 32;
        m.layers = 1;
        m.vocab = 77;
        m.type = types[i];
        check_all(&m, i % 2 ? SPEC_TYPE_F16 : SPEC_TYPE_F32, 40 + i, 1);
    }
}

/* One KV head for many queries, one for each, heads that are no multiple of anything; windows
 * so narrow that rows computed together see nothing in common. */
static void test_heads(void **state) {
    static const size_t shapes[][4] = {
        {24, 1, 8, 0}, {6, 6, 10, 9}, {36, 2, 6, 0}, {1, 1, 64, 3}, {4, 4, 16, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        tiny_model m = tiny_model_of(shapes[i][3] ? "mistral" : "llama");
        m.heads = shapes[i][0];
        m.kv_heads = shapes[i][1];
        m.head_dim = shapes[i][2];
        m.window = shapes[i][3];
        check_all(&m, i % 2 ? SPEC_TYPE_F16 : SPEC_TYPE_F32, 60 + i, 1);
    }
}

/* ---- sizes ---------------------------------------------------------------- */

/* Every number of rows, all the same text behind the same prefix: as trees of one level. */
static void check_widths(world *w, spec_target *t, bool all) {
    spec_sequence *s = target_sequence(t);
    target_feed(t, s, w->text, LENGTH - 2, NULL, 0);
    for (uint32_t n = 1; n < 64; n += all ? 1 : 1 + n / 3) {
        spec_tree tree;
        assert_int_equal(spec_tree_init(&tree, n, 0, 0, NULL), 0);
        for (uint32_t i = 0; i < n; i++) spec_tree_add(&tree, -1, w->text[LENGTH - 1], 1.0f, 0);
        spec_forward_out out = target_feed(t, s, w->text + LENGTH - 2, 1, &tree, 0);
        target_same_rows("the fed row", out.logits, w->logits + (LENGTH - 2) * w->vocab, 1, w->vocab);
        for (uint32_t i = 0; i < n; i++) {
            target_same_rows("one of many rows", out.logits + (1 + i) * w->vocab,
                             w->logits + (LENGTH - 1) * w->vocab, 1, w->vocab);
        }
        assert_int_equal(spec_sequence_truncate(s, LENGTH - 2), 0);
        spec_tree_release(&tree, NULL);
    }
    spec_sequence_free(s);
}

static void test_widths(void **state) {
    static const spec_type types[] = {SPEC_TYPE_F32, SPEC_TYPE_F16, SPEC_TYPE_BF16, SPEC_TYPE_Q8_0,
                                      SPEC_TYPE_Q4_0};
    support_tmp tmp;
    (void)state;
    support_tmp_make(&tmp);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        tiny_model m = tiny_model_of(i % 2 ? "llama" : "mixtral");
        world w;
        m.type = types[i];
        world_begin(&w, &tmp, &m, SPEC_TYPE_F16, 70 + i);
        spec_target *t = target_open(w.path, 2, SPEC_TYPE_F16, i % 2 ? NULL : "avx2");
        check_widths(&w, t, i == 0 || i == 3);
        spec_target_free(t);
        world_end(&w);
    }
    support_tmp_remove(&tmp);
}

/* More rows than a slice holds, several chunks of cache, and trees that hang behind them. */
static void test_long(void **state) {
    support_tmp tmp;
    char path[256];
    static spec_token text[700];
    (void)state;
    support_tmp_make(&tmp);
    support_rng rng = support_rng_new(support_seed(), 80);
    for (int windowed = 0; windowed < 2; windowed++) {
        tiny_model m = tiny_model_of(windowed ? "mistral" : "mixtral");
        m.context = 800;
        m.layers = 1;
        m.window = windowed ? 270 : 0;
        tiny_model_write(&m, support_tmp_path(&tmp, "long.gguf", path, sizeof path));
        spec_target *t = target_open(path, 2, SPEC_TYPE_F16, NULL);
        target_text(&rng, text, 700, m.vocab);
        spec_sequence *plain, *whole = target_sequence(t), *mixed = target_sequence(t);
        float *wanted = target_plain(t, text, 700, &plain);
        spec_forward_out out = target_feed(t, whole, text, 700, NULL, 1);
        target_same_rows("a long prompt", out.logits, wanted, 700, m.vocab);
        target_same_cache("a long prompt", whole, plain, 700);
        /* a chain of 300 nodes, two slices of them, accepted */
        spec_tree tree;
        int32_t path_nodes[300];
        assert_int_equal(spec_tree_init(&tree, 300, 0, 0, NULL), 0);
        for (int32_t i = 0; i < 300; i++) {
            path_nodes[i] = spec_tree_add(&tree, i - 1, text[400 + i], 1.0f, 0);
        }
        out = target_feed(t, mixed, text, 400, &tree, 0);
        target_same_rows("a long chain", out.logits, wanted + 399 * m.vocab, 301, m.vocab);
        assert_int_equal(spec_sequence_accept(mixed, path_nodes, 300), 0);
        target_same_cache("a long chain", mixed, plain, 700);
        spec_tree_release(&tree, NULL);
        spec_sequence_free(plain);
        spec_sequence_free(whole);
        spec_sequence_free(mixed);
        spec_target_free(t);
        free(wanted);
    }
    support_tmp_remove(&tmp);
}

/* Chains deeper than the window: the last nodes see nothing of the cache, whose room ends with the prefix. */
static void test_deep_trees(void **state) {
    enum { PREFIX = 256, DEPTH = 40 };
    support_tmp tmp;
    char path[256];
    spec_token text[PREFIX + DEPTH];
    int32_t parent[DEPTH];
    (void)state;
    support_tmp_make(&tmp);
    support_rng rng = support_rng_new(support_seed(), 81);
    tiny_model m = tiny_model_of("mistral");
    m.window = 5;
    m.context = PREFIX + DEPTH;
    tiny_model_write(&m, support_tmp_path(&tmp, "deep.gguf", path, sizeof path));
    spec_target *t = target_open(path, 1, SPEC_TYPE_F16, NULL);
    spec_sequence *plain, *s = target_sequence(t);
    target_text(&rng, text, PREFIX + DEPTH, m.vocab);
    float *wanted = target_plain(t, text, PREFIX + DEPTH, &plain);
    for (int32_t i = 0; i < DEPTH; i++) parent[i] = i - 1;
    spec_tree tree = {.token = text + PREFIX, .parent = parent, .n = DEPTH, .cap = DEPTH};
    spec_forward_out out = target_feed(t, s, text, PREFIX, &tree, 0);
    target_same_rows("a deep chain", out.logits, wanted + (PREFIX - 1) * m.vocab, DEPTH + 1, m.vocab);
    spec_sequence_free(plain);
    spec_sequence_free(s);
    spec_target_free(t);
    free(wanted);
    support_tmp_remove(&tmp);
}

/* ---- what must show ------------------------------------------------------- */

static void test_negative_controls(void **state) {
    support_tmp tmp;
    world w;
    tiny_model m = tiny_model_of("llama");
    (void)state;
    support_tmp_make(&tmp);
    world_begin(&w, &tmp, &m, SPEC_TYPE_F16, 90);
    spec_target *t = target_open(w.path, 2, SPEC_TYPE_F16, NULL);
    spec_sequence *good = target_sequence(t), *bad = target_sequence(t), *shifted = target_sequence(t);
    spec_token token[4] = {5, 6, 7, 6}, fed[3] = {w.text[0], 5, 6};
    int32_t parent[4] = {-1, 0, -1, 2};
    spec_tree tree = {.token = token, .parent = parent, .n = 4, .cap = 4};
    float *rows = copy_rows(target_feed(t, bad, w.text, 1, &tree, 0).logits, 5, w.vocab);
    /* the same token at the same depth below another parent */
    assert_true(target_rows_differ(rows + 2 * w.vocab, rows + 4 * w.vocab, 1, w.vocab));
    /* accepting the other branch */
    target_feed(t, good, fed, 3, NULL, 0);
    assert_int_equal(spec_sequence_accept(bad, (const int32_t[]){2, 3}, 2), 0);
    size_t where = 99;
    assert_int_equal(spec_sequence_equal(good, bad, 3, &where), 0);
    assert_int_equal(where, 1);
    assert_int_equal(spec_sequence_equal(good, bad, 1, NULL), 1);
    /* the same tokens one position later */
    spec_token later[4] = {w.text[0], w.text[0], 5, 6};
    target_feed(t, shifted, later, 4, NULL, 0);
    assert_int_equal(spec_sequence_equal(good, shifted, 3, &where), 0);
    assert_int_equal(where, 1);
    /* a row that was in the cache before it was verified is still seen by those after it */
    spec_forward_out out = target_feed(t, shifted, &token[2], 1, NULL, 0);
    assert_true(target_rows_differ(out.logits, rows + 3 * w.vocab, 1, w.vocab));
    free(rows);
    spec_sequence_free(good);
    spec_sequence_free(bad);
    spec_sequence_free(shifted);
    spec_target_free(t);
    world_end(&w);
    support_tmp_remove(&tmp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_architectures),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_deep_trees),
        cmocka_unit_test(test_negative_controls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* A target's features of windows, against what the target itself says. */
#include "target_world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train_features.h"

enum { SEQ = 40, TAPS = 3 };
static const int32_t tap[TAPS] = {-2, 0, 1};

static support_tmp tmp;
static char path[256];

static int set_up(void **state) {
    (void)state;
    tiny_model m = tiny_model_of("llama");
    support_tmp_make(&tmp);
    tiny_model_write(&m, support_tmp_path(&tmp, "m.gguf", path, sizeof path));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    support_tmp_remove(&tmp);
    return 0;
}

static spec_target_info info_of(const spec_target *t) {
    spec_target_info info = {.size = sizeof info};
    spec_target_get_info(t, &info);
    return info;
}

static train_features *features_of(spec_target *t, const spec_allocator *alloc) {
    const train_features_options o = {SEQ, TAPS, tap};
    train_features *f = NULL;
    spec_message why = {""};
    if (train_features_new(&f, t, &o, alloc, &why)) fail_msg("%s", why.text);
    return f;
}

/* ---- rows ---------------------------------------------------------------- */

/* What the target gives for a window of its own, in a batch with another one. */
static void feed_plainly(spec_target *t, const spec_token *text, size_t n, float *rows) {
    static const int32_t all[TAPS + 1] = {-2, 0, 1, -1};
    const spec_forward_args args = {
        .size = sizeof args, .n_taps = TAPS + 1, .tap_layer = all, .no_logits = 1};
    static const spec_token other[] = {3, 1, 4};
    spec_forward_item item[2] = {
        {.sequence = target_sequence(t), .tokens = other, .n_tokens = 3},
        {.sequence = target_sequence(t), .tokens = text, .n_tokens = n, .all_rows = 1}};
    spec_forward_out out;
    assert_int_equal(spec_target_forward(t, item, 2, &args, &out, NULL), SPEC_OK);
    size_t width = (TAPS + 1) * info_of(t).dim;
    memcpy(rows, out.hidden + out.row[1] * width, n * width * sizeof *rows);
    for (int i = 0; i < 2; i++) spec_sequence_free(item[i].sequence);
}

static void test_rows(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    spec_target *t = target_open(path, 2, SPEC_TYPE_F16, NULL),
                *one = target_open(path, 1, SPEC_TYPE_F16, NULL);
    spec_target_info info = info_of(t);
    train_features *f = features_of(t, NULL);
    float *wanted = calloc(SEQ, (TAPS + 1) * info.dim * sizeof *wanted),
          *taps = calloc(SEQ, TAPS * info.dim * sizeof *taps),
          *hidden = calloc(SEQ, info.dim * sizeof *hidden);
    assert_true(wanted && taps && hidden);
    for (int round = 0; round < SEQ; round++) {
        spec_token text[SEQ];
        size_t n = (size_t)round + 1, first = support_rng_below(&r, (uint32_t)n);
        target_text(&r, text, n, info.vocab);
        feed_plainly(one, text, n, wanted);
        assert_int_equal(train_features_run(f, text, n, first, round % 3 == 1 ? NULL : taps,
                                            round % 3 == 2 ? NULL : hidden, NULL),
                         SPEC_OK);
        for (size_t i = first; i < n; i++) {
            const float *row = wanted + i * (TAPS + 1) * info.dim, *end = row + TAPS * info.dim;
            if (round % 3 != 1)
                assert_memory_equal(taps + (i - first) * TAPS * info.dim, row, TAPS * info.dim * sizeof *row);
            if (round % 3 != 2)
                assert_memory_equal(hidden + (i - first) * info.dim, end, info.dim * sizeof *end);
        }
    }
    free(wanted);
    free(taps);
    free(hidden);
    train_features_free(f);
    spec_target_free(t);
    spec_target_free(one);
}

/* ---- the target's own loss ------------------------------------------------ */

static void add_plainly(spec_target *t, const spec_token *text, const spec_token *target, size_t n,
                        train_loss *loss) {
    spec_sequence *s = target_sequence(t);
    spec_forward_out out = target_feed(t, s, text, n, NULL, 1);
    size_t vocab = target_vocab(t);
    for (size_t r = 0; r < n; r++) {
        const float *x = out.logits + r * vocab;
        double sum = 0;
        if (target[r] == TRAIN_IGNORED) continue;
        for (size_t v = 0; v < vocab; v++) sum += exp((double)(x[v] - x[out.argmax[r]]));
        loss->sum += log(sum) + (double)(x[out.argmax[r]] - x[target[r]]);
        loss->n++;
        loss->correct += out.argmax[r] == target[r];
    }
    spec_sequence_free(s);
}

static void test_loss(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 2);
    spec_target *t = target_open(path, 1, SPEC_TYPE_F16, NULL);
    train_features *f = features_of(t, NULL);
    train_loss got = {0}, wanted = {0};
    for (int round = 0; round < 5; round++) {
        spec_token text[SEQ + 1], target[SEQ];
        size_t n = 1 + support_rng_below(&r, SEQ);
        target_text(&r, text, n + 1, target_vocab(t));
        spec_sequence *s = target_sequence(t);
        spec_forward_out out = target_feed(t, s, text, n, NULL, 1);
        for (size_t i = 0; i < n; i++)
            target[i] = i % 3 == 0 ? TRAIN_IGNORED : i % 3 == 1 ? out.argmax[i] : text[i + 1];
        spec_sequence_free(s);
        add_plainly(t, text, target, n, &wanted);
        assert_int_equal(train_features_loss(f, text, target, n, &got, NULL), SPEC_OK);
    }
    assert_int_equal(got.n, wanted.n);
    assert_true(got.correct == wanted.correct && got.correct * 3 > got.n);
    assert_true(fabs(got.sum - wanted.sum) < 1e-4 * wanted.sum);
    train_features_free(f);
    spec_target_free(t);
}

/* ---- what the target is --------------------------------------------------- */

/* The output matrix times the hidden state gives the logits; the embedding is the first tap. */
static void check_matrices(const char *arch, bool plain) {
    char file[256];
    tiny_model m = tiny_model_of(arch);
    tiny_model_write(&m, support_tmp_path(&tmp, "a.gguf", file, sizeof file));
    spec_target *t = target_open(file, 1, SPEC_TYPE_F16, NULL);
    static const int32_t taps[] = {-2, -1};
    const spec_forward_args args = {.size = sizeof args, .n_taps = 2, .tap_layer = taps};
    const spec_token token = 77;
    spec_forward_item item = {.sequence = target_sequence(t), .tokens = &token, .n_tokens = 1};
    spec_forward_out out;
    float *embedding = calloc(m.vocab, m.dim * sizeof *embedding), *w = calloc(m.vocab, m.dim * sizeof *w);
    assert_true(embedding && w);
    assert_int_equal(spec_target_forward(t, &item, 1, &args, &out, NULL), SPEC_OK);
    train_target_embedding(t, embedding);
    train_target_output(t, w);
    assert_memory_equal(embedding + 77 * m.dim, out.hidden, m.dim * sizeof *w);
    assert_int_equal(train_target_plain_logits(t), plain);
    double worst = 0;
    for (size_t v = 0; v < m.vocab; v++) {
        double sum = 0;
        for (size_t i = 0; i < m.dim; i++) sum += (double)w[v * m.dim + i] * (double)out.hidden[m.dim + i];
        worst = fmax(worst, fabs(sum - (double)out.logits[v]));
    }
    if (plain) assert_true(worst < 1e-4);
    free(embedding);
    free(w);
    spec_sequence_free(item.sequence);
    spec_target_free(t);
}

static void test_matrices(void **state) {
    (void)state;
    check_matrices("llama", true);
    check_matrices("gemma3", true); /* tied, embeddings are scaled */
    check_matrices("gemma2", false);
}

static uint64_t hash_of(const tiny_model *m) {
    char file[256];
    tiny_model_write(m, support_tmp_path(&tmp, "h.gguf", file, sizeof file));
    spec_target *t = target_open(file, 1, SPEC_TYPE_F16, NULL);
    uint64_t h = train_target_hash(t);
    spec_target_free(t);
    return h;
}

static void test_hash(void **state) {
    (void)state;
    tiny_model a = tiny_model_of("llama"), b = a;
    uint64_t h = hash_of(&a);
    assert_int_equal(h, hash_of(&a));
    b.seed = 2;
    assert_int_not_equal(h, hash_of(&b));
    b = a;
    b.type = SPEC_TYPE_F16;
    assert_int_not_equal(h, hash_of(&b));
    b = a;
    b.edit[b.n_edits++] = (tiny_edit){.change = TINY_NAN, .name = "blk.1.ffn_down.weight"}; /* a number */
    assert_int_not_equal(h, hash_of(&b));
}

/* ---- refused --------------------------------------------------------------- */

static void test_refused(void **state) {
    (void)state;
    static const int32_t below[] = {-3}, above[] = {0, 2};
    static const struct {
        train_features_options o;
        const char *why;
    } refused[] = {{{0, 0, NULL}, "windows of 0 tokens; the target's context is 256"},
                   {{257, 0, NULL}, "windows of 257 tokens"},
                   {{8, 1, below}, "tap after layer -3; the target has 2 layers"},
                   {{8, 2, above}, "tap after layer 2"},
                   {{8, TRAIN_FEATURES_MAX_TAPS + 1, above}, "17 layers to tap, expected at most 16"}};
    spec_target *t = target_open(path, 1, SPEC_TYPE_F16, NULL);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        train_features *f = NULL;
        spec_message why = {""};
        assert_int_equal(train_features_new(&f, t, &refused[i].o, NULL, &why), SPEC_ERR_INVALID);
        assert_null(f);
        if (!strstr(why.text, refused[i].why)) fail_msg("%s", why.text);
    }
    train_features *f = features_of(t, NULL);
    spec_token text[SEQ + 1] = {0};
    spec_message why = {""};
    float hidden[64];
    assert_int_equal(train_features_run(f, text, SEQ + 1, 0, NULL, hidden, &why), SPEC_ERR_INVALID);
    assert_non_null(strstr(why.text, "a window of 41 tokens, expected 1 to 40"));
    assert_int_equal(train_features_run(f, text, 0, 0, NULL, hidden, &why), SPEC_ERR_INVALID);
    text[1] = 128;
    assert_int_equal(train_features_run(f, text, 2, 0, NULL, hidden, &why), SPEC_ERR_INVALID);
    text[1] = 127;
    assert_int_equal(train_features_run(f, text, 2, 1, NULL, hidden, &why), SPEC_OK);
    train_features_free(f);
    train_features_free(NULL);
    spec_target_free(t);
}

static int use(spec_target *t, const spec_allocator *alloc) {
    const train_features_options o = {SEQ, TAPS, tap};
    const spec_token text[] = {1, 2, 3}, target[] = {2, TRAIN_IGNORED, 4};
    train_features *f = NULL;
    train_loss loss = {0};
    float hidden[3 * 64];
    int err = train_features_new(&f, t, &o, alloc, NULL);
    if (!err) err = train_features_run(f, text, 3, 0, NULL, hidden, NULL);
    if (!err) err = train_features_loss(f, text, target, 3, &loss, NULL);
    assert_int_equal(loss.n, err ? 0 : 2);
    train_features_free(f);
    return err;
}

static void test_memory(void **state) {
    (void)state;
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator alloc = support_alloc(&heap);
    spec_target *t = target_open(path, 1, SPEC_TYPE_F16, NULL);
    size_t refused = 0;
    for (size_t k = 0;; k++) {
        support_heap_refuse(&heap, k, false);
        int err = use(t, &alloc);
        support_heap_assert_clean(&heap);
        if (!heap.refused) {
            assert_int_equal(err, SPEC_OK);
            break;
        }
        assert_int_equal(err, SPEC_ERR_NOMEM);
        refused++;
    }
    assert_true(refused >= 2);
    spec_target_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows), cmocka_unit_test(test_loss),    cmocka_unit_test(test_matrices),
        cmocka_unit_test(test_hash), cmocka_unit_test(test_refused), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: MIT */
/*
 * The target against a recorded checkpoint in Hugging Face's layout: logits,
 * hidden states at every layer, cached keys and values, greedy tokens, draft trees and what
 * follows an accepted path; and the attention kernels against recorded outputs.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forward.h"
#include "spec_target.h"

#define FOLDER "../shared/golden/heads/"
#define LAYERS 8
#define DIM    64
#define VOCAB  512

typedef struct world {
    spec_tensors *file;
    spec_target *t;
} world;

static world world_open(const char *tensors) {
    world w = {0};
    spec_message why = {""};
    spec_target_options o = {.size = sizeof o, .threads = 2, .kv_type = SPEC_TYPE_F32, .kv_type_given = 1};
    if (spec_tensors_open(&w.file, tensors, NULL, &why)) fail_msg("%s", why.text);
    if (spec_target_open(&w.t, FOLDER "target", &o, NULL, &why)) fail_msg("%s", why.text);
    return w;
}

static void world_close(world *w) {
    spec_target_free(w->t);
    spec_tensors_free(w->file);
}

/* Of the tensor "PREFIXNAME". */
static const void *data_of(const spec_tensors *file, const char *prefix, const char *name, size_t *n) {
    char full[64];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const spec_tensor *t = spec_tensors_find(file, full);
    if (!t) fail_msg("no tensor %s", full);
    if (n) *n = t->bytes / 4;
    return t->data;
}

static void near(const char *what, const float *got, const float *wanted, size_t n, double limit) {
    for (size_t i = 0; i < n; i++) {
        if (!(fabs((double)got[i] - (double)wanted[i]) <= limit)) {
            fail_msg("%s: element %zu is %g, expected %g", what, i, (double)got[i], (double)wanted[i]);
        }
    }
}

static void forward(spec_target *t, const spec_forward_item *item, const spec_forward_args *args,
                    spec_forward_out *out) {
    spec_message why = {""};
    if (spec_target_forward(t, item, 1, args, out, &why)) fail_msg("%s", why.text);
}

/* ---- plain sequences ------------------------------------------------------ */

static void check_hidden(const spec_forward_out *out, const world *w, size_t sequence, uint32_t n_taps) {
    const float *layer_in = data_of(w->file, "", "layer_in", NULL); /* (LAYERS + 1, 48, DIM) */
    const float *hidden = (const float *)data_of(w->file, "", "hidden", NULL) + sequence * 48 * DIM;
    for (size_t i = 0; i < 48; i++) {
        const float *got = out->hidden + i * n_taps * DIM;
        near("final norm", got, hidden + i * DIM, DIM, 1e-4);
        for (size_t l = 0; l <= LAYERS && sequence == 0; l++) {
            near("layer", got + (1 + l) * DIM, layer_in + (l * 48 + i) * DIM, DIM, 1e-4);
        }
    }
}

/* Keys and values (heads, 48, 16) of a layer, read back out of the cache. */
static void check_cache(const world *w, const spec_sequence *s, const char *k_name, const char *v_name,
                        size_t layer) {
    const float *k = data_of(w->file, "", k_name, NULL), *v = data_of(w->file, "", v_name, NULL);
    for (size_t i = 0; i < 2 * 48; i++) {
        size_t head = i / 48, pos = i % 48;
        const float *block = (const float *)specp_kv_k(&s->cache, 0, layer, head) + pos / 16 * 16 * 16;
        const float *row = (const float *)specp_kv_v(&s->cache, 0, layer, head) + pos * 16;
        float column[16];
        for (size_t d = 0; d < 16; d++) column[d] = block[d * 16 + pos % 16];
        near(k_name, column, k + i * 16, 16, 1e-4);
        near(v_name, row, v + i * 16, 16, 1e-4);
    }
}

static void test_sequences(void **state) {
    (void)state;
    char path[256];
    if (!support_shared("golden/heads/target", path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
    world w = world_open(FOLDER "target/sequences.safetensors");
    static const int32_t taps[] = {-1, -2, 0, 1, 2, 3, 4, 5, 6, 7};
    spec_forward_args args = {.size = sizeof args, .n_taps = 10, .tap_layer = taps};
    for (size_t q = 0; q < 2; q++) {
        const spec_token *tokens = (const spec_token *)data_of(w.file, "", "tokens", NULL) + q * 48;
        const float *logits = (const float *)data_of(w.file, "", "logits", NULL) + q * 48 * VOCAB;
        spec_sequence *s;
        assert_int_equal(spec_sequence_new(&s, w.t, 0), 0);
        spec_forward_item item = {.sequence = s, .tokens = tokens, .n_tokens = 48, .all_rows = 1};
        spec_forward_out out;
        forward(w.t, &item, &args, &out);
        assert_int_equal(out.n_rows, 48);
        near("logits", out.logits, logits, 48 * VOCAB, 1e-4);
        check_hidden(&out, &w, q, args.n_taps);
        if (q == 0) {
            check_cache(&w, s, "k_layer0", "v_layer0", 0);
            check_cache(&w, s, "k_last", "v_last", LAYERS - 1);
        }
        spec_sequence_free(s);
    }
    world_close(&w);
}

static void test_greedy(void **state) {
    (void)state;
    char path[256];
    if (!support_shared("golden/heads/target", path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
    world w = world_open(FOLDER "target/sequences.safetensors");
    spec_sequence *s[2];
    spec_forward_item item[2];
    spec_token next[2];
    const spec_token *prompt = data_of(w.file, "", "greedy_prompt", NULL);
    const spec_token *wanted = data_of(w.file, "", "greedy_tokens", NULL);
    for (size_t q = 0; q < 2; q++) {
        assert_int_equal(spec_sequence_new(&s[q], w.t, 0), 0);
        item[q] = (spec_forward_item){.sequence = s[q], .tokens = prompt + 16 * q, .n_tokens = 16};
    }
    for (size_t i = 0; i < 24; i++) {
        spec_forward_out out;
        assert_int_equal(spec_target_forward(w.t, item, 2, NULL, &out, NULL), 0);
        for (size_t q = 0; q < 2; q++) {
            next[q] = out.argmax[out.row[q]];
            assert_int_equal(next[q], wanted[24 * q + i]);
            item[q].tokens = &next[q];
            item[q].n_tokens = 1;
        }
    }
    for (size_t q = 0; q < 2; q++) spec_sequence_free(s[q]);
    world_close(&w);
}

/* ---- trees ---------------------------------------------------------------- */

static void check_tree(const world *w, const char *name) {
    static const int32_t taps[] = {1, 3, 4, -1}; /* the inputs of layers 2, 4 and 5 */
    spec_forward_args args = {.size = sizeof args, .n_taps = 4, .tap_layer = taps};
    size_t n_prefix, n, n_path;
    const spec_token *prefix = data_of(w->file, "", "prefix", &n_prefix);
    const int32_t *path = data_of(w->file, name, "accept_path", &n_path);
    spec_tree tree = {.token = (spec_token *)(uintptr_t)data_of(w->file, name, "tokens", &n),
                      .parent = (int32_t *)(uintptr_t)data_of(w->file, name, "parents", NULL)};
    tree.n = tree.cap = (uint32_t)n;
    spec_sequence *s;
    assert_int_equal(spec_sequence_new(&s, w->t, 0), 0);
    spec_forward_item item = {.sequence = s, .tokens = prefix, .n_tokens = n_prefix, .tree = &tree};
    spec_forward_out out;
    forward(w->t, &item, &args, &out);
    assert_int_equal(out.n_rows, n + 1);
    near("tree logits", out.logits + VOCAB, data_of(w->file, name, "logits", NULL), n * VOCAB, 1e-4);
    const float *tap = data_of(w->file, name, "taps", NULL), *hidden = data_of(w->file, name, "hidden", NULL);
    for (size_t i = 0; i < n; i++) {
        near("tree taps", out.hidden + (i + 1) * 4 * DIM, tap + i * 3 * DIM, 3 * DIM, 1e-4);
        near("tree hidden", out.hidden + ((i + 1) * 4 + 3) * DIM, hidden + i * DIM, DIM, 1e-4);
    }
    assert_int_equal(spec_sequence_length(s), n_prefix);
    assert_int_equal(spec_sequence_accept(s, path, n_path), 0);
    assert_int_equal(spec_sequence_length(s), n_prefix + n_path);
    item = (spec_forward_item){
        .sequence = s, .tokens = data_of(w->file, name, "next_token", NULL), .n_tokens = 1};
    forward(w->t, &item, NULL, &out);
    near("next logits", out.logits, data_of(w->file, name, "next_logits", NULL), VOCAB, 1e-4);
    spec_sequence_free(s);
}

static void test_trees(void **state) {
    (void)state;
    char path[256];
    if (!support_shared("golden/heads/target", path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
    world w = world_open(FOLDER "target/tree.safetensors");
    check_tree(&w, "A.");
    check_tree(&w, "B.");
    world_close(&w);
}

/* ---- attention ------------------------------------------------------------ */

/* Queries of one head, each at its own position, over 300 keys and values in a cache's layout. */
static void check_attention(const specp_kernels *k, const spec_tensors *file, const char *wanted,
                            size_t window) {
    const float *q = data_of(file, "", "q", NULL), *keys = data_of(file, "", "k", NULL);
    const float *values = data_of(file, "", "v", NULL), *out = data_of(file, "", wanted, NULL);
    const int32_t *position = data_of(file, "", "positions", NULL);
    static float k_blocks[19 * 32 * 16], v_rows[304 * 32], s[304], acc[32];
    for (size_t head = 0; head < 8; head++) {
        for (size_t pos = 0; pos < 300; pos++) {
            k->store_k(keys + (head / 4 * 300 + pos) * 32, k_blocks, SPEC_TYPE_F32, 32, pos);
            k->store_v(values + (head / 4 * 300 + pos) * 32, v_rows, SPEC_TYPE_F32, 32, pos);
        }
        for (size_t i = 0; i < 8; i++) {
            size_t end = (size_t)position[i] + 1, first = window && end > window ? end - window : 0;
            k->scores(q + (head * 8 + i) * 32, 32, 1, k_blocks, SPEC_TYPE_F32, 32, 0, 19,
                      0.17677669529663687f, s, 304);
            float sum = k->softmax(s + first, end - first);
            memset(acc, 0, sizeof acc);
            k->values(s, 304, 1, v_rows, SPEC_TYPE_F32, 32, first, end, acc, 32);
            k->scale(acc, 1.0f / sum, 32);
            near(wanted, acc, out + (head * 8 + i) * 32, 32, 1e-5);
        }
    }
}

static void test_attention(void **state) {
    (void)state;
    char path[256];
    static const unsigned isa[] = {0, SPECP_ISA_AVX2, SPECP_ISA_ALL};
    if (!support_shared("golden/heads/attention/attention.safetensors", path, sizeof path)) {
        SUPPORT_SKIP_NO_SHARED();
    }
    spec_tensors *file;
    assert_int_equal(spec_tensors_open(&file, path, NULL, NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        specp_kernels k;
        specp_kernels_init(&k, isa[i]);
        check_attention(&k, file, "out_full", 0);
        check_attention(&k, file, "out_sliding", 64);
        check_attention(&k, file, "out_wfa", 128);
    }
    spec_tensors_free(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_trees),
        cmocka_unit_test(test_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

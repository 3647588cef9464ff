/* SPDX-License-Identifier: MIT */
/*
 * llama2.c checkpoints, v0 and v1: each float of the file is in the tensor that
 * its place says; sizes that do not fit, numbers that describe no model.
 */
#include "tensor_bytes.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the sample ---------------------------------------------------------- */

enum { DIM = 8, HIDDEN = 12, LAYERS = 2, HEADS = 4, KV = 2, VOCAB = 10, SEQ = 6, KV_DIM = DIM / HEADS * KV };

static const int32_t numbers[7] = {DIM, HIDDEN, LAYERS, HEADS, KV, VOCAB, SEQ};

/* n floats, numbered through the file. */
static void add_floats(bytes *b, size_t n, float *next) {
    while (n-- > 0) bytes_f32(b, (*next)++);
}

static void add_numbers(bytes *b, bool shared_by_sign) {
    for (int i = 0; i < 7; i++)
        bytes_u32(b, (uint32_t)(i == 5 && !shared_by_sign ? -numbers[i] : numbers[i]));
}

static void make_v0(bytes *b, bool shared) {
    float next = 0;
    add_numbers(b, shared);
    add_floats(b, VOCAB * DIM, &next);
    add_floats(b, LAYERS * (DIM + DIM * DIM + 2 * KV_DIM * DIM + DIM * DIM), &next);
    add_floats(b, LAYERS * (DIM + 3 * DIM * HIDDEN), &next);
    add_floats(b, DIM, &next);
    add_floats(b, SEQ * DIM / HEADS, &next);
    if (!shared) add_floats(b, VOCAB * DIM, &next);
}

static void make_v1(bytes *b, bool shared) {
    float next = 0;
    bytes_u32(b, 0x616b3432);
    bytes_u32(b, 1);
    add_numbers(b, true);
    bytes_u8(b, shared);
    bytes_fill(b, 0, 256 - b->n);
    add_floats(b, (2 * LAYERS + 1) * DIM + VOCAB * DIM, &next);
    add_floats(b, LAYERS * (2 * DIM * DIM + 2 * KV_DIM * DIM + 3 * DIM * HIDDEN), &next);
    if (!shared) add_floats(b, VOCAB * DIM, &next);
}

/* The tensor begins with the float of this number. */
static void check(const spec_tensors *f, const char *name, float first, uint64_t rows, uint64_t columns) {
    const spec_tensor *t = spec_tensors_find(f, name);
    float x;
    if (!t) fail_msg("there is no %s", name);
    assert_int_equal(t->type, SPEC_TYPE_F32);
    assert_int_equal(t->n_dims, rows ? 2 : 1);
    assert_int_equal(t->dim[0], rows ? rows : columns);
    assert_int_equal(t->dim[1], rows ? columns : 1);
    memcpy(&x, t->data, sizeof x);
    if (x != first) fail_msg("%s begins with float %g, expected %g", name, x, first);
}

static void check_metadata(const spec_tensors *f, uint64_t version, int shared) {
    static const char *const keys[] = {"dim",        "hidden_dim", "n_layers",   "n_heads",
                                       "n_kv_heads", "vocab_size", "max_seq_len"};
    char key[64];
    uint64_t u = 99;
    int truth = 7;
    for (size_t i = 0; i < 7; i++) {
        snprintf(key, sizeof key, "llama2c.%s", keys[i]);
        assert_int_equal(spec_tensors_uint(f, key, &u), SPEC_OK);
        assert_int_equal(u, numbers[i]);
    }
    assert_int_equal(spec_tensors_uint(f, "llama2c.version", &u), SPEC_OK);
    assert_int_equal(u, version);
    assert_int_equal(spec_tensors_bool(f, "llama2c.shared_classifier", &truth), SPEC_OK);
    assert_int_equal(truth, shared);
}

static void test_v0(void **state) {
    support_file *x = *state;
    for (int shared = 0; shared < 2; shared++) {
        bytes b = {0};
        make_v0(&b, shared);
        support_write_file(x->path, b.data, b.n);
        spec_tensors *f = must_open(x->path, NULL);
        assert_string_equal(spec_tensors_format(f), "llama2.c v0");
        assert_int_equal(spec_tensors_count(f), 9 * LAYERS + 2 + !shared);
        check_metadata(f, 0, shared);
        float at = 0;
        check(f, "token_embd.weight", at, VOCAB, DIM);
        check(f, "blk.1.attn_norm.weight", (at += VOCAB * DIM) + DIM, 0, DIM);
        check(f, "blk.1.attn_q.weight", (at += LAYERS * DIM) + DIM * DIM, DIM, DIM);
        check(f, "blk.1.attn_k.weight", (at += LAYERS * DIM * DIM) + KV_DIM * DIM, KV_DIM, DIM);
        check(f, "blk.0.attn_v.weight", at += LAYERS * KV_DIM * DIM, KV_DIM, DIM);
        check(f, "blk.0.attn_output.weight", at += LAYERS * KV_DIM * DIM, DIM, DIM);
        check(f, "blk.0.ffn_norm.weight", at += LAYERS * DIM * DIM, 0, DIM);
        check(f, "blk.0.ffn_gate.weight", at += LAYERS * DIM, HIDDEN, DIM);
        check(f, "blk.0.ffn_down.weight", at += LAYERS * DIM * HIDDEN, DIM, HIDDEN);
        check(f, "blk.1.ffn_up.weight", (at += LAYERS * DIM * HIDDEN) + DIM * HIDDEN, HIDDEN, DIM);
        check(f, "output_norm.weight", at += LAYERS * DIM * HIDDEN, 0, DIM);
        if (!shared) check(f, "output.weight", at + DIM + SEQ * DIM / HEADS, VOCAB, DIM);
        spec_tensors_free(f);
        bytes_free(&b);
    }
}

static void test_v1(void **state) {
    support_file *x = *state;
    for (int shared = 0; shared < 2; shared++) {
        bytes b = {0};
        make_v1(&b, shared);
        support_write_file(x->path, b.data, b.n);
        spec_tensors *f = must_open(x->path, NULL);
        assert_string_equal(spec_tensors_format(f), "llama2.c v1");
        assert_int_equal(spec_tensors_count(f), 9 * LAYERS + 2 + !shared);
        check_metadata(f, 1, shared);
        float at = 0;
        check(f, "blk.1.attn_norm.weight", at + DIM, 0, DIM);
        check(f, "blk.0.ffn_norm.weight", at += LAYERS * DIM, 0, DIM);
        check(f, "output_norm.weight", at += LAYERS * DIM, 0, DIM);
        check(f, "token_embd.weight", at += DIM, VOCAB, DIM);
        check(f, "blk.1.attn_q.weight", (at += VOCAB * DIM) + DIM * DIM, DIM, DIM);
        check(f, "blk.0.attn_k.weight", at += LAYERS * DIM * DIM, KV_DIM, DIM);
        check(f, "blk.1.attn_v.weight", (at += LAYERS * KV_DIM * DIM) + KV_DIM * DIM, KV_DIM, DIM);
        check(f, "blk.0.attn_output.weight", at += LAYERS * KV_DIM * DIM, DIM, DIM);
        check(f, "blk.0.ffn_gate.weight", at += LAYERS * DIM * DIM, HIDDEN, DIM);
        check(f, "blk.0.ffn_down.weight", at += LAYERS * DIM * HIDDEN, DIM, HIDDEN);
        check(f, "blk.0.ffn_up.weight", at += LAYERS * DIM * HIDDEN, HIDDEN, DIM);
        if (!shared) check(f, "output.weight", at + LAYERS * DIM * HIDDEN, VOCAB, DIM);
        spec_tensors_free(f);
        bytes_free(&b);
    }
}

/* ---- damage -------------------------------------------------------------- */

static void test_damaged(void **state) {
    support_file *x = *state;
    for (int i = 0; i < 4; i++) {
        bytes b = {0};
        (i < 2 ? make_v0 : make_v1)(&b, i % 2);
        support_write_file(x->path, b.data, b.n);
        check_refusals(x->path);
        check_truncations(x->path, &b);
        check_flips(x->path, &b, i < 2 ? 28 : 256);
        bytes_u8(&b, 0);
        expect_open(x->path, &b, SPEC_ERR_CORRUPT, "the file has");
        bytes_free(&b);
    }
}

/* Changes one number; of a v1 file, where anything goes by the magic number. */
static void test_numbers(void **state) {
    static const struct {
        size_t index;
        int32_t value;
        const char *says;
    } cases[] = {
        {0, 0, "describe no model"},   {0, -8, "describe no model"},
        {0, 9, "describe no model"},   {0, 4, "describe no model"}, /* one dimension a head */
        {1, 0, "describe no model"},   {2, INT32_MIN, "describe no model"},
        {3, 0, "describe no model"},   {3, 3, "describe no model"},
        {4, 3, "describe no model"},   {4, 0, "describe no model"},
        {5, 0, "describe no model"},   {5, INT32_MIN, "describe no model"},
        {5, -10, "describe no model"}, {6, 0, "describe no model"},
        {1, 13, "asks for"},           {2, INT32_MAX, "asks for"},
        {5, INT32_MAX, "asks for"},    {1, INT32_MAX, "asks for"},
        {0, 0x40000000, "asks for"},
    };
    support_file *x = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes b = {0};
        make_v1(&b, true);
        memcpy(b.data + 8 + 4 * cases[i].index, &cases[i].value, 4);
        expect_open(x->path, &b, SPEC_ERR_CORRUPT, cases[i].says);
        bytes_free(&b);
    }
}

/* What v0 cannot be, so that it is no model at all. */
static void test_v0_numbers(void **state) {
    static const int32_t values[] = {INT32_MIN, 0, (1 << 24) + 1};
    support_file *x = *state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        bytes b = {0};
        make_v0(&b, true);
        memcpy(b.data + 20, &values[i], 4);
        expect_open(x->path, &b, SPEC_ERR_CORRUPT, "is no model file");
        bytes_free(&b);
    }
}

/* 123 layers are a '{' where a safetensors file has one. */
static void test_layers_like_json(void **state) {
    static const int32_t n[7] = {2, 1, '{', 1, 1, 3, 1};
    support_file *x = *state;
    bytes b = {0};
    bytes_add(&b, n, sizeof n);
    bytes_fill(&b, 0, 4 * (3 * 2 + '{' * (2 + 4 * 4 + 2 + 3 * 2) + 2 + 2));
    support_write_file(x->path, b.data, b.n);
    spec_tensors *f = must_open(x->path, NULL);
    assert_string_equal(spec_tensors_format(f), "llama2.c v0");
    spec_tensors_free(f);
    bytes_free(&b);
}

static void test_shared_flag(void **state) {
    support_file *x = *state;
    bytes b = {0};
    make_v1(&b, true);
    b.data[36] = 2;
    expect_open(x->path, &b, SPEC_ERR_CORRUPT, "describe no model");
    bytes_free(&b);
}

/* Sizes whose product overflows 64 bits. */
static void test_overflow(void **state) {
    static const int32_t huge[7] = {0x40000000, 0x40000000, 0x7fffffff, 2, 1, 0x7fffffff, 0x7fffffff};
    support_file *x = *state;
    bytes b = {0};
    make_v1(&b, false);
    memcpy(b.data + 8, huge, sizeof huge);
    expect_open(x->path, &b, SPEC_ERR_CORRUPT, "asks for");
    bytes_free(&b);
}

static void test_versions(void **state) {
    static const struct {
        uint32_t version;
        int err;
        const char *says;
    } cases[] = {
        {0, SPEC_ERR_VERSION, "version 0, expected 0 or 1"},
        {2, SPEC_ERR_UNSUPPORTED, "version 2 (int8), which is not supported"},
        {3, SPEC_ERR_VERSION, "version 3, expected 0 or 1"},
    };
    support_file *x = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes b = {0};
        make_v1(&b, true);
        memcpy(b.data + 4, &cases[i].version, 4);
        expect_open(x->path, &b, cases[i].err, cases[i].says);
        bytes_free(&b);
    }
}

/* ---- recorded ------------------------------------------------------------ */

/* The same model, converted by others: the same floats under the same names. */
static void test_golden(void **state) {
    (void)state;
    char path[512], gguf[512];
    if (!support_shared("golden/stories260K/checkpoint_legacy.bin", path, sizeof path) ||
        !support_shared("golden/stories260K/stories260K-F32.gguf", gguf, sizeof gguf))
        SUPPORT_SKIP_NO_SHARED();
    spec_tensors *f = must_open(path, NULL), *g = must_open(gguf, NULL);
    for (size_t i = 0; i < spec_tensors_count(g); i++) {
        const spec_tensor *theirs = spec_tensors_at(g, i);
        bool output = strcmp(theirs->name, "output.weight") == 0; /* written out there */
        const spec_tensor *ours = spec_tensors_find(f, output ? "token_embd.weight" : theirs->name);
        assert_non_null(ours);
        assert_int_equal(ours->bytes, theirs->bytes);
        assert_memory_equal(ours->dim, theirs->dim, sizeof ours->dim);
        if (memcmp(ours->data, theirs->data, ours->bytes) != 0) fail_msg("%s differs", theirs->name);
    }
    assert_int_equal(spec_tensors_count(f), spec_tensors_count(g) - 1);
    spec_tensors_free(f);
    spec_tensors_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_v0, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_v1, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_damaged, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_numbers, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_v0_numbers, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_layers_like_json, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_shared_flag, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_overflow, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_versions, support_file_set_up, support_file_tear_down),
        cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* GGUF files as they are met: large ones, made here, and recorded ones. */
#include "tensor_bytes.h"

#include <string.h>
#include <unistd.h>

/* ---- size ---------------------------------------------------------------- */

static void test_large_vocabulary(void **state) {
    enum { N = 128 * 1024 };
    support_file *x = *state;
    bytes b = {0};
    char word[32];
    gguf_header(&b, 3, 0, 1);
    gguf_array(&b, "tokens", G_STRING, N);
    for (unsigned i = 0; i < N; i++) {
        snprintf(word, sizeof word, "w%u", i);
        gguf_string(&b, word);
    }
    support_write_file(x->path, b.data, b.n);
    spec_tensors *f = must_open(x->path, NULL);
    for (unsigned i = 0; i < N; i += 997) {
        const char *s;
        size_t n;
        snprintf(word, sizeof word, "w%u", i);
        assert_int_equal(spec_meta_string(spec_tensors_meta(f, "tokens"), i, &s, &n), SPEC_OK);
        assert_int_equal(n, strlen(word));
        assert_memory_equal(s, word, n);
    }
    spec_tensors_free(f);
    bytes_free(&b);
}

static void test_many_tensors(void **state) {
    enum { N = 5000 };
    support_file *x = *state;
    bytes b = {0};
    char name[32];
    gguf_header(&b, 3, N, 0);
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof name, "blk.%u.weight", i);
        gguf_tensor(&b, name, 1, (uint64_t[]){8}, G_TENSOR_F32, 32 * (uint64_t)(N - 1 - i));
    }
    bytes_align(&b, 32);
    bytes_fill(&b, 0, 32 * N);
    support_write_file(x->path, b.data, b.n);
    spec_tensors *f = must_open(x->path, NULL);
    assert_int_equal(spec_tensors_count(f), N);
    spec_tensors_free(f);
    bytes_free(&b);
}

/* A hole in the file stands for the weights: only headers are read. */
static void test_large_file(void **state) {
    support_file *x = *state;
    bytes b = {0};
    gguf_header(&b, 3, 1, 0);
    gguf_tensor(&b, "t", 2, (uint64_t[]){1 << 15, 1 << 15}, G_TENSOR_F32, 0);
    bytes_align(&b, 32);
    support_write_file(x->path, b.data, b.n);
    assert_int_equal(truncate(x->path, (off_t)(b.n + (4ull << 30))), 0);
    spec_tensors *f = NULL;
    assert_int_equal(spec_tensors_open(&f, x->path, NULL, NULL), SPEC_OK);
    assert_true(spec_tensors_at(f, 0)->bytes == 4ull << 30);
    assert_int_equal(((const uint8_t *)spec_tensors_at(f, 0)->data)[(4ull << 30) - 1], 0);
    spec_tensors_free(f);
    bytes_free(&b);
}

/* ---- recorded ------------------------------------------------------------ */

static void test_golden(void **state) {
    (void)state;
    static const struct {
        const char *path;
        size_t tensors, entries;
    } files[] = {
        {"golden/models/gemma2/F32.gguf", 288, 25},
        {"golden/models/gemma3/F32.gguf", 93, 24},
        {"golden/models/llama-d256/BF16.gguf", 21, 22},
        {"golden/models/llama-d256/F16.gguf", 21, 22},
        {"golden/models/llama-d256/F32.gguf", 21, 21},
        {"golden/models/llama-d256/Q4_0.gguf", 21, 22},
        {"golden/models/llama-d256/Q4_K.gguf", 21, 22},
        {"golden/models/llama-d256/Q4_K_M.gguf", 21, 22},
        {"golden/models/llama-d256/Q6_K.gguf", 21, 22},
        {"golden/models/llama-d256/Q8_0.gguf", 21, 22},
        {"golden/models/llama-d64/F32.gguf", 30, 21},
        {"golden/models/llama-d64/Q8_0.gguf", 30, 22},
        {"golden/models/llama-ropefreqs/F32.gguf", 21, 21},
        {"golden/models/mixtral/F32.gguf", 23, 23},
        {"golden/models/mixtral/Q8_0.gguf", 23, 24},
        {"golden/models/olmo2/F32.gguf", 25, 21},
        {"golden/models/qwen2/F16.gguf", 38, 22},
        {"golden/models/qwen2/F32.gguf", 38, 21},
        {"golden/models/qwen3/F32.gguf", 24, 23},
        {"golden/models/qwen3/Q8_0.gguf", 24, 23},
        {"golden/stories260K/stories260K-F32.gguf", 48, 19},
        {"golden/stories260K/stories260K-Q4_0.gguf", 48, 20},
        {"golden/stories260K/stories260K-Q8_0.gguf", 48, 20},
        {"golden/tokenizer/ggml-vocab-deepseek-coder.gguf", 0, 25},
        {"golden/tokenizer/ggml-vocab-falcon.gguf", 0, 18},
        {"golden/tokenizer/ggml-vocab-gpt-2.gguf", 0, 16},
        {"golden/tokenizer/ggml-vocab-llama-spm.gguf", 0, 22},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512];
        if (!support_shared(files[i].path, path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
        spec_tensors *f = must_open(path, NULL);
        assert_int_equal(spec_tensors_count(f), files[i].tensors);
        assert_int_equal(spec_tensors_meta_count(f), files[i].entries);
        spec_tensors_free(f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_large_vocabulary, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_many_tensors, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_large_file, support_file_set_up, support_file_tear_down),
        cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

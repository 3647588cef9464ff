/* SPDX-License-Identifier: MIT */
/* Every request for memory refused in turn, in loading, encoding and decoding: the error comes,
 * nothing leaks, and the handle still works; sizes given back are exact. (JSON is parsed by
 * a library with memory of its own.) */
#include <stdlib.h>
#include <string.h>

#include "tiny_vocab.h"

static tiny_vocab vocab;
static support_heap heap;

/* Loads with request k refused, for every k, until nothing is refused. Returns the tokenizer, on
 * the heap. Without memory for their machine code the library's own patterns are interpreted,
 * so there a load may succeed in spite of it. */
static spec_tokenizer *load_refused(const char *path, bool own_patterns) {
    spec_allocator alloc = support_alloc(&heap);
    size_t refusals = 0;
    support_heap_init(&heap);
    for (size_t k = 0;; k++) {
        spec_message why = {""};
        spec_tokenizer *t = NULL;
        support_heap_refuse(&heap, k, k % 2);
        int err = spec_tokenizer_load(&t, path, &alloc, &why);
        if (!err && heap.refused == 0) {
            assert_true(refusals > 5);
            support_heap_refuse(&heap, SIZE_MAX, false);
            return t;
        }
        refusals += heap.refused;
        if (!err && own_patterns) {
            spec_tokenizer_free(t);
            t = NULL;
        } else {
            assert_int_equal(err, SPEC_ERR_NOMEM);
            assert_non_null(strstr(why.text, "memory"));
        }
        assert_null(t);
        support_heap_assert_clean(&heap);
    }
}

/* The same text with request k refused: the tokens of an undisturbed encoding, or none. */
static void encode_refused(const spec_tokenizer *t, const char *text, size_t n) {
    spec_token want[512], got[512];
    size_t n_want, n_got, refusals = 0, before = heap.live_bytes;
    unsigned flags = SPEC_ENCODE_ADD_SPECIAL | SPEC_ENCODE_PARSE_SPECIAL;
    assert_int_equal(spec_tokenizer_encode(t, text, n, flags, want, 512, &n_want, NULL), 0);
    for (size_t k = 0;; k++) {
        spec_message why = {""};
        support_heap_refuse(&heap, k, k % 2);
        int err = spec_tokenizer_encode(t, text, n, flags, got, 512, &n_got, &why);
        assert_int_equal(heap.live_bytes, before);
        if (heap.refused == 0) {
            assert_int_equal(err, 0);
            assert_true(n_got == n_want && memcmp(got, want, n_got * sizeof *got) == 0);
            break;
        }
        refusals += heap.refused;
        assert_int_equal(err, SPEC_ERR_NOMEM);
        assert_string_equal(why.text, "out of memory");
        assert_int_equal(n_got, 0);
    }
    assert_true(refusals > 3);
    support_heap_refuse(&heap, SIZE_MAX, false);
}

static void decode_refused(const spec_tokenizer *t) {
    spec_detokenizer *d = NULL;
    size_t k = 0;
    for (;; k++) {
        support_heap_refuse(&heap, k, false);
        int err = spec_detokenizer_new(&d, t, 0);
        if (!err) break;
        assert_int_equal(err, SPEC_ERR_NOMEM);
        assert_null(d);
    }
    assert_int_equal(k, 2);
    support_heap_refuse(&heap, SIZE_MAX, false);
    spec_detokenizer_free(d);
}

static void check_file(const char *path, const char *text, bool own_patterns) {
    spec_tokenizer *t = load_refused(path, own_patterns);
    encode_refused(t, text, strlen(text));
    decode_refused(t);
    spec_tokenizer_free(t);
    support_heap_assert_clean(&heap);
}

static void test_gguf(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256];
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "tiny.gguf", path, sizeof path);
    tiny_spm(&vocab);
    vocab.chat_template = "{{ x }}";
    tiny_add(&vocab, "ab", -1, SPEC_TOKEN_NORMAL);
    tiny_write_gguf(&vocab, path);
    check_file(
        path,
        "ab ab</s>\xc3\xa9<s> ababababababababababababababababababababababababababababababababababababab",
        false);

    static const char *const pres[] = {"llama-bpe", "deepseek-coder"};
    for (size_t i = 0; i < 2; i++) {
        tiny_bpe(&vocab, pres[i]);
        vocab.bos = 65;
        tiny_add(&vocab, "ab", 0, SPEC_TOKEN_NORMAL);
        tiny_merge(&vocab, "a", "b");
        tiny_add(&vocab, "<|im_end|>", 0, SPEC_TOKEN_CONTROL);
        tiny_write_gguf(&vocab, path);
        check_file(path,
                   "ab<|im_end|> 12 abababababababababababababababababababababababababababababababababababab",
                   true);
    }
    support_tmp_remove(&tmp);
}

static void test_json(void **state) {
    (void)state;
    static const char text[] =
        "{\"added_tokens\":[{\"id\":3,\"content\":\"<x>\",\"special\":true}],"
        "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\s+(?!\\\\S)|a+|(?:bc?)+\"},\"behavior\":"
        "\"Isolated\"},"
        "{\"type\":\"ByteLevel\",\"use_regex\":false}]},"
        "\"model\":{\"unk_token\":\"b\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}}";
    static const char config[] = "{\"bos_token\":\"<x>\",\"chat_template\":\"t\"}";
    support_tmp tmp;
    char path[256];
    support_tmp_make(&tmp);
    support_write_file(support_tmp_path(&tmp, "tokenizer.json", path, sizeof path), text, sizeof text - 1);
    support_write_file(support_tmp_path(&tmp, "tokenizer_config.json", path, sizeof path), config,
                       sizeof config - 1);
    check_file(tmp.path,
               "ab<x>  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabc", false);
    support_tmp_remove(&tmp);
}

static void test_bin(void **state) {
    (void)state;
    static const char names[][7] = {"<unk>", "\n<s>\n", " ", "a", " a", "b"};
    char data[256], path[256];
    size_t n = 4;
    memcpy(data, &(int32_t){200}, 4);
    for (size_t i = 0; i < 7; i++) {
        char long_text[120];
        memset(long_text, 'x', sizeof long_text);
        const char *text = i < 6 ? names[i] : long_text;
        int32_t len = i < 6 ? (int32_t)strlen(names[i]) : 110; /* too long for the loader's small buffer */
        memcpy(data + n, &(float){-1}, 4);
        memcpy(data + n + 4, &len, 4);
        memcpy(data + n + 8, text, (size_t)len);
        n += 8 + (size_t)len;
    }
    support_tmp tmp;
    support_tmp_make(&tmp);
    support_write_file(support_tmp_path(&tmp, "tokenizer.bin", path, sizeof path), data, n);
    check_file(path, "a a ab<unk>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
               false);
    support_tmp_remove(&tmp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gguf),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_bin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Recorded ids of llama.cpp and of llama2.c's run: real vocabularies, texts of every
 * sort. Equal ids, and the text back from them. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "spec_tokenizer.h"

#define SEPARATOR "\n__ggml_vocab_test__\n"

static const char *const names[] = {"llama-spm", "gpt-2", "deepseek-coder", "falcon"};

/* ---- the files ----------------------------------------------------------------------- */

static spec_tokenizer *load(const char *relative) {
    char path[256];
    spec_message why = {""};
    spec_tokenizer *t = NULL;
    if (!support_shared(relative, path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
    if (spec_tokenizer_load(&t, path, NULL, &why)) fail_msg("%s", why.text);
    return t;
}

static char *read_shared(const char *relative, size_t *n) {
    char path[256];
    if (!support_shared(relative, path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
    return support_read_file(path, n);
}

/* Ids on a line; *line moves on to the next. */
static size_t read_ids(char **line, spec_token *out, size_t cap) {
    size_t n = 0;
    char *p = *line;
    for (;;) {
        while (*p == ' ' || *p == '\r') p++;
        if (*p == '\n' || *p == 0) break;
        assert_true(n < cap);
        out[n++] = (spec_token)strtol(p, &p, 10);
    }
    *line = *p ? p + 1 : p;
    return n;
}

/* The next text: up to the separator, or the end. */
static size_t next_text(const char **at, const char *end) {
    const char *begin = *at;
    for (const char *p = begin; p + sizeof SEPARATOR - 1 <= end; p++) {
        if (memcmp(p, SEPARATOR, sizeof SEPARATOR - 1) != 0) continue;
        *at = p + sizeof SEPARATOR - 1 < end ? p + sizeof SEPARATOR - 1 : NULL;
        return (size_t)(p - begin);
    }
    *at = NULL;
    return (size_t)(end - begin);
}

static void check_ids(const char *what, size_t i, const spec_token *got, size_t n_got, const spec_token *want,
                      size_t n_want) {
    for (size_t k = 0; k < n_got && k < n_want; k++)
        if (got[k] != want[k])
            fail_msg("%s, text %zu, token %zu: %d, recorded is %d", what, i, k, got[k], want[k]);
    if (n_got != n_want) fail_msg("%s, text %zu: %zu tokens, recorded are %zu", what, i, n_got, n_want);
}

/* U+2581 becomes a blank in SentencePiece's vocabularies, for good. */
static bool has_blank_sign(const char *text, size_t n) {
    for (size_t i = 0; i + 3 <= n; i++)
        if (memcmp(text + i, "\xe2\x96\x81", 3) == 0) return true;
    return false;
}

static void check_decode(const spec_tokenizer *t, const char *what, size_t i, const spec_token *tok,
                         size_t n_tok, const char *text, size_t n) {
    static char out[1 << 16];
    size_t n_out;
    assert_int_equal(spec_tokenizer_decode(t, tok, n_tok, 0, out, sizeof out, &n_out), 0);
    if (n_out != n || memcmp(out, text, n) != 0)
        fail_msg("%s, text %zu: '%.*s' came back as '%.*s'", what, i, (int)n, text, (int)n_out, out);
}

#define CAP 8192

/* All texts of one file against one file of ids. Returns how many. */
static size_t check_file(const char *name, const char *inp, const char *out, unsigned flags,
                         bool round_trip) {
    static spec_token got[CAP], want[CAP];
    char relative[128];
    snprintf(relative, sizeof relative, "golden/tokenizer/ggml-vocab-%s.gguf", name);
    spec_tokenizer *t = load(relative);
    spec_tokenizer_info info = {.size = sizeof info};
    assert_int_equal(spec_tokenizer_get_info(t, &info), 0);
    size_t n_texts, n_ids, count = 0;
    char *texts = read_shared(inp, &n_texts), *ids = read_shared(out, &n_ids), *line = ids;
    const char *at = texts;
    while (at) {
        const char *text = at;
        size_t n = next_text(&at, texts + n_texts), n_got;
        size_t n_want = read_ids(&line, want, CAP);
        assert_int_equal(spec_tokenizer_encode(t, text, n, flags, got, CAP, &n_got, NULL), 0);
        check_ids(out, count, got, n_got, want, n_want);
        if (round_trip && !(info.adds_space && has_blank_sign(text, n)))
            check_decode(t, out, count, got, n_got, text, n);
        count++;
    }
    free(texts);
    free(ids);
    spec_tokenizer_free(t);
    return count;
}

/* ---- llama.cpp ------------------------------------------------------------------------- */

static void test_its_own_texts(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char inp[128], out[128];
        snprintf(inp, sizeof inp, "golden/tokenizer/ggml-vocab-%s.gguf.inp", names[i]);
        snprintf(out, sizeof out, "golden/tokenizer/ggml-vocab-%s.gguf.out", names[i]);
        assert_int_equal(check_file(names[i], inp, out, 0, true), 46);
    }
}

static void test_more_texts_as_plain_text(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char out[128];
        snprintf(out, sizeof out, "golden/tokenizer/extra.%s.plain.out", names[i]);
        assert_int_equal(check_file(names[i], "golden/tokenizer/extra.inp", out, 0, true), 70);
    }
}

static void test_more_texts_with_special_tokens(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char out[128];
        snprintf(out, sizeof out, "golden/tokenizer/extra.%s.special.out", names[i]);
        unsigned flags = SPEC_ENCODE_ADD_SPECIAL | SPEC_ENCODE_PARSE_SPECIAL;
        assert_int_equal(check_file(names[i], "golden/tokenizer/extra.inp", out, flags, false), 70);
    }
}

/* ---- stories260K ------------------------------------------------------------------------- */

static size_t ids_of(const json_t *array, spec_token *out) {
    for (size_t i = 0; i < json_array_size(array); i++)
        out[i] = (spec_token)json_integer_value(json_array_get(array, i));
    return json_array_size(array);
}

static bool ends_in_line(const char *s, size_t n) { return n && s[n - 1] == '\n'; }

/* run prints no single bytes but printable ones, and white space. */
static size_t keep_printed(const spec_tokenizer *t, spec_token *tok, size_t n) {
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        const char *s;
        size_t len;
        assert_int_equal(spec_tokenizer_piece(t, tok[i], &s, &len), 0);
        if (len != 1 || (*s >= ' ' && *s < 127) || (*s >= '\t' && *s <= '\r')) tok[k++] = tok[i];
    }
    return k;
}

/* The prompt's ids, and the text that was generated. */
static void check_prompt(const spec_tokenizer *t, const char *key, size_t i, const json_t *line) {
    static spec_token got[CAP], want[CAP];
    static char out[1 << 14];
    size_t n_got, n_out, n_want = ids_of(json_object_get(line, key), want);
    const json_t *prompt = json_object_get(line, "prompt"), *greedy = json_object_get(line, "greedy_text");
    assert_int_equal(spec_tokenizer_encode(t, json_string_value(prompt), json_string_length(prompt),
                                           SPEC_ENCODE_ADD_SPECIAL, got, CAP, &n_got, NULL),
                     0);
    check_ids(key, i, got, n_got, want, n_want);

    const char *text = json_string_value(greedy);
    size_t n_text = json_string_length(greedy), n = ids_of(json_object_get(line, "greedy_ids"), got);
    while (n && got[n - 1] == 1) n--;
    n = keep_printed(t, got, n);
    assert_int_equal(spec_tokenizer_decode(t, got, n, SPEC_DETOKENIZE_SKIP_SPECIAL, out, sizeof out, &n_out),
                     0);
    while (ends_in_line(out, n_out)) n_out--;
    while (ends_in_line(text, n_text)) n_text--;
    if (n_out != n_text || memcmp(out, text, n_out) != 0)
        fail_msg("line %zu: '%.*s', recorded is '%s'", i, (int)n_out, out, text);
}

static void test_stories260k(void **state) {
    (void)state;
    spec_tokenizer *bin = load("golden/stories260K/tokenizer.bin");
    spec_tokenizer *gguf = load("golden/stories260K/stories260K-F32.gguf");
    spec_message why = {""};
    spec_tokenizer_info a = {.size = sizeof a}, b = {.size = sizeof b};
    spec_tokenizer_get_info(bin, &a);
    spec_tokenizer_get_info(gguf, &b);
    if (spec_tokenizer_same(bin, gguf, &why)) fail_msg("%s", why.text);
    assert_true(a.hash == b.hash && a.n_tokens == 512 && b.n_tokens == 512);
    size_t n, count = 0;
    char *text = read_shared("golden/stories260K/greedy.jsonl", &n);
    for (char *p = text, *end; *p; p = end + (*end == '\n'), count++) {
        end = strchr(p, '\n') ? strchr(p, '\n') : p + strlen(p);
        json_t *line = json_loadb(p, (size_t)(end - p), 0, NULL);
        assert_non_null(line);
        check_prompt(bin, "prompt_ids", count, line);
        check_prompt(gguf, "llamacpp_prompt_ids", count, line);
        json_decref(line);
    }
    assert_int_equal(count, 21);
    free(text);
    spec_tokenizer_free(bin);
    spec_tokenizer_free(gguf);
}

/* The checkpoint has no vocabulary: the tokenizer.bin in its folder is meant. */
static void test_beside_a_model(void **state) {
    (void)state;
    spec_tokenizer *t = load("golden/stories260K/checkpoint_legacy.bin");
    spec_tokenizer_info info = {.size = sizeof info};
    spec_tokenizer_get_info(t, &info);
    assert_int_equal(info.n_tokens, 512);
    spec_tokenizer_free(t);
}

/* ---- whole files of text ------------------------------------------------------------------- */

/* Encoding a large text gives it back, and the same tokens as encoding it with less room. */
static void test_large_texts(void **state) {
    (void)state;
    static const char *const texts[] = {"corpus/sql.txt", "corpus/python.txt"};
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        size_t n, n_got, n_again;
        char *text = read_shared(texts[k], &n), *back = malloc(n + 1);
        spec_token *got = malloc((n + 2) * sizeof *got);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            char relative[128];
            snprintf(relative, sizeof relative, "golden/tokenizer/ggml-vocab-%s.gguf", names[i]);
            spec_tokenizer *t = load(relative);
            assert_int_equal(spec_tokenizer_encode(t, text, n, 0, got, n + 2, &n_got, NULL), 0);
            assert_int_equal(spec_tokenizer_decode(t, got, n_got, 0, back, n, &n_again), 0);
            assert_true(n_again == n && memcmp(back, text, n) == 0);
            assert_int_equal(spec_tokenizer_encode(t, text, n, 0, got, 10, &n_again, NULL), SPEC_ERR_FULL);
            assert_int_equal(n_again, n_got);
            spec_tokenizer_free(t);
        }
        free(text);
        free(back);
        free(got);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_its_own_texts),
        cmocka_unit_test(test_more_texts_as_plain_text),
        cmocka_unit_test(test_more_texts_with_special_tokens),
        cmocka_unit_test(test_stories260k),
        cmocka_unit_test(test_beside_a_model),
        cmocka_unit_test(test_large_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Encoding with small vocabularies: what merges, bytes, blanks and special tokens become; random
 * vocabularies against a plain search for the best pair; large texts.
 */
#include <stdlib.h>
#include <string.h>

#include "tiny_vocab.h"

#define BLANK "\xe2\x96\x81"

/* ---- SPM ------------------------------------------------------------------------------ */

static tiny_vocab vocab;

static void test_spm_takes_the_best_score(void **state) {
    (void)state;
    tiny_spm(&vocab);
    tiny_add(&vocab, "ab", -1, SPEC_TOKEN_NORMAL);
    tiny_add(&vocab, "bc", -2, SPEC_TOKEN_NORMAL);
    tiny_add(&vocab, "abc", -3, SPEC_TOKEN_NORMAL);
    tiny_add(&vocab, "aa", -4, SPEC_TOKEN_NORMAL);
    tiny_add(&vocab, BLANK "a", -5, SPEC_TOKEN_NORMAL);
    tiny_add(&vocab, "dede", -1, SPEC_TOKEN_NORMAL); /* no two tokens make it */
    spec_tokenizer *t = tiny_open(&vocab);
    tiny_expect(t, "abc", 0, " |abc"); /* ab, then abc */
    tiny_expect(t, "bca", 0, " |bc|a");
    tiny_expect(t, "aaa", 0, " |aa|a"); /* of equal pairs the left one; then no a is left for the blank */
    tiny_expect(t, "a a", 0, " a| a");
    tiny_expect(t, "dede", 0, " |d|e|d|e");
    tiny_expect(t, "", 0, "");
    tiny_expect(t, " ", 0, " | ");
    tiny_expect(t, BLANK "a", 0, " | a"); /* the sign itself is a blank */
    spec_tokenizer_free(t);
}

static void test_spm_zeros_are_equal(void **state) {
    (void)state;
    tiny_spm(&vocab);
    vocab.add_space = 0;
    tiny_add(&vocab, "ab", -0.0f, SPEC_TOKEN_NORMAL);
    tiny_add(&vocab, "bc", 0.0f, SPEC_TOKEN_NORMAL);
    spec_tokenizer *t = tiny_open(&vocab);
    tiny_expect(t, "abc", 0, "ab|c");
    spec_tokenizer_free(t);
}

static void test_spm_falls_back_to_bytes(void **state) {
    (void)state;
    tiny_spm(&vocab);
    vocab.add_space = 0;
    spec_tokenizer *t = tiny_open(&vocab);
    size_t n;
    const spec_token *tok = tiny_encode(t,
                                        "a\xc3\xa9\xff\x00"
                                        "b",
                                        6, 0, &n);
    const spec_token want[] = {260, 3 + 0xc3, 3 + 0xa9, 3 + 0xff, 3, 261};
    assert_int_equal(n, 6);
    assert_memory_equal(tok, want, sizeof want);
    spec_tokenizer_free(t);
}

static void test_spm_without_bytes(void **state) {
    (void)state;
    tiny_init(&vocab, "llama");
    tiny_add(&vocab, "<unk>", 0, SPEC_TOKEN_UNKNOWN);
    tiny_add(&vocab, "<s>", 0, SPEC_TOKEN_CONTROL);
    tiny_add(&vocab, "</s>", 0, SPEC_TOKEN_CONTROL);
    tiny_add(&vocab, BLANK, -1, SPEC_TOKEN_NORMAL);
    tiny_add(&vocab, "a", -1, SPEC_TOKEN_NORMAL);
    spec_tokenizer *t = tiny_open(&vocab);
    tiny_expect(t, "xyax", 0, " |<unk>|a|<unk>"); /* once for several */
    spec_tokenizer_free(t);
    vocab.add_space = 0;
    t = tiny_open(&vocab);
    tiny_expect(t, "x</s>x", SPEC_ENCODE_PARSE_SPECIAL, "<unk>|</s>|<unk>");
    spec_tokenizer_free(t);
    vocab.add_space = -1;

    vocab.unknown = -2;
    t = tiny_open(&vocab);
    spec_message why = {""};
    spec_token out[8];
    size_t n = 7;
    assert_int_equal(spec_tokenizer_encode(t, "a a\xc3\xa9", 5, 0, out, 8, &n, &why), SPEC_ERR_UNSUPPORTED);
    assert_string_equal(why.text, "byte 3 of the text: the vocabulary has no token for \"\xc3\xa9\"");
    assert_int_equal(n, 0);
    assert_int_equal(spec_tokenizer_encode(t, "aa\nb", 4, 0, out, 8, &n, &why), SPEC_ERR_UNSUPPORTED);
    assert_string_equal(why.text, "byte 2 of the text: the vocabulary has no token for \"\\x0a\"");
    spec_tokenizer_free(t);
}

static void test_spm_blank_before_the_text(void **state) {
    (void)state;
    tiny_spm(&vocab);
    spec_tokenizer *t = tiny_open(&vocab);
    tiny_expect(t, "a", SPEC_ENCODE_ADD_SPECIAL, "<s>| |a");
    tiny_expect(t, "", SPEC_ENCODE_ADD_SPECIAL, "<s>");
    tiny_expect(t, "a</s>b", SPEC_ENCODE_PARSE_SPECIAL, " |a|</s>| |b"); /* before each stretch of text */
    tiny_expect(t, "</s></s>", SPEC_ENCODE_PARSE_SPECIAL, "</s>|</s>");
    spec_tokenizer_free(t);
    vocab.add_space = 0;
    vocab.add_bos = 0;
    vocab.add_eos = 1;
    t = tiny_open(&vocab);
    tiny_expect(t, "a</s>b", SPEC_ENCODE_PARSE_SPECIAL | SPEC_ENCODE_ADD_SPECIAL, "a|</s>|b|</s>");
    spec_tokenizer_free(t);
}

/* ---- BPE ------------------------------------------------------------------------------- */

static void test_bpe_takes_the_first_merge(void **state) {
    (void)state;
    tiny_bpe(&vocab, "gpt-2");
    static const char *const merges[][2] = {{"b", "c"},          {"a", "b"}, {"a", "bc"},
                                            {"\xc4\xa0", "abc"}, {"1", "1"}, {"\xc3\x83", "\xc2\xa9"}};
    for (size_t i = 0; i < 6; i++) {
        char whole[40];
        snprintf(whole, sizeof whole, "%s%s", merges[i][0], merges[i][1]);
        tiny_add(&vocab, whole, 0, SPEC_TOKEN_NORMAL);
        tiny_merge(&vocab, merges[i][0], merges[i][1]);
    }
    tiny_merge(&vocab, "b", "c"); /* again, later: the first time counts */
    spec_tokenizer *t = tiny_open(&vocab);
    tiny_expect(t, "abc", 0, "abc");
    tiny_expect(t, "ab abc a", 0, "ab| abc| |a");
    tiny_expect(t, "111", 0, "11|1");
    tiny_expect(t, "1a11", 0, "1|a|11");       /* words are cut apart before */
    tiny_expect(t, "\xc3\xa9", 0, "\xc3\xa9"); /* the two bytes */
    spec_tokenizer_free(t);
}

static void test_bpe_whole_words(void **state) {
    (void)state;
    static const char *const pres[] = {"gpt-2", "llama-bpe"};
    for (size_t i = 0; i < 2; i++) {
        tiny_bpe(&vocab, pres[i]);
        tiny_add(&vocab, "\xc4\xa0xyz", 0, SPEC_TOKEN_NORMAL); /* no merge leads there */
        vocab.bos = 65;
        spec_tokenizer *t = tiny_open(&vocab);
        tiny_expect(t, "xyz xyz", 0, i ? "x|y|z| xyz" : "x|y|z| |x|y|z");
        tiny_expect(t, "a", SPEC_ENCODE_ADD_SPECIAL, i ? "A|a" : "a"); /* its habit, too */
        spec_tokenizer_free(t);
    }
}

static void test_bpe_any_bytes(void **state) {
    (void)state;
    char text[512];
    tiny_bpe(&vocab, "qwen2");
    spec_tokenizer *t = tiny_open(&vocab);
    for (int i = 0; i < 512; i++) text[i] = (char)(i < 256 ? i : 767 - i);
    size_t n;
    const spec_token *tok = tiny_encode(t, text, sizeof text, 0, &n);
    assert_int_equal(n, 512);
    for (size_t i = 0; i < 512; i++) assert_int_equal(tok[i], (uint8_t)text[i]);
    spec_tokenizer_free(t);

    vocab.token[0xe9].text[0] = 'x'; /* the byte is gone */
    t = tiny_open(&vocab);
    spec_message why = {""};
    assert_int_equal(spec_tokenizer_encode(t, "12 ab\xe9", 6, 0, NULL, 0, &n, &why), SPEC_ERR_UNSUPPORTED);
    assert_string_equal(why.text, "byte 5 of the text: the vocabulary has no token for \"\\xe9\"");
    spec_tokenizer_free(t);
}

/* ---- special tokens ----------------------------------------------------------------------- */

static void test_special_tokens(void **state) {
    (void)state;
    tiny_bpe(&vocab, "gpt-2");
    tiny_add(&vocab, "<c>", 0, SPEC_TOKEN_CONTROL);
    tiny_add(&vocab, "<u>", 0, SPEC_TOKEN_USER);
    tiny_add(&vocab, "<u>>", 0, SPEC_TOKEN_USER);
    tiny_add(&vocab, "<?>", 0, SPEC_TOKEN_UNKNOWN);
    tiny_add(&vocab, "abc", 0, SPEC_TOKEN_USER);
    tiny_add(&vocab, "bcde", 0, SPEC_TOKEN_USER);
    tiny_add(&vocab, "<n>", 0, SPEC_TOKEN_NORMAL);
    spec_tokenizer *t = tiny_open(&vocab);
    tiny_expect(t, "<c><u><?>", 0, "<|c|>|<u>|<|?|>"); /* added ones always, the others when asked */
    tiny_expect(t, "<c><u><?>", SPEC_ENCODE_PARSE_SPECIAL, "<c>|<u>|<?>");
    tiny_expect(t, "<u>><u>", 0, "<u>>|<u>");
    tiny_expect(t, "abcde", 0, "a|bcde"); /* the longest, though another comes before it */
    tiny_expect(t, "abcd", 0, "abc|d");
    tiny_expect(t, "<n>", SPEC_ENCODE_PARSE_SPECIAL, "<|n|>");
    tiny_expect(t, "<c", SPEC_ENCODE_PARSE_SPECIAL, "<|c");
    spec_tokenizer_free(t);
}

/* What text is merged to, and whole words, are never tokens that stand for something else. */
static void test_names_are_text(void **state) {
    (void)state;
    tiny_spm(&vocab);
    vocab.add_space = vocab.add_bos = 0;
    tiny_add(&vocab, "ab", 0, SPEC_TOKEN_NORMAL);
    tiny_add(&vocab, "abc", 9, SPEC_TOKEN_CONTROL);
    tiny_add(&vocab, "abd", 9, SPEC_TOKEN_UNUSED);
    tiny_add(&vocab, "#", 9, SPEC_TOKEN_CONTROL);
    tiny_add(&vocab, "<0", 0, SPEC_TOKEN_NORMAL);
    tiny_add(&vocab, "<0x", 0, SPEC_TOKEN_NORMAL);
    tiny_add(&vocab, "<0x4", 0, SPEC_TOKEN_NORMAL);
    tiny_add(&vocab, "<0x41", 0, SPEC_TOKEN_NORMAL);
    spec_tokenizer *t = tiny_open(&vocab);
    tiny_expect(t, "abcabd#", 0, "ab|c|ab|d|#");
    size_t n;
    assert_int_equal(tiny_encode(t, "#", 1, 0, &n)[0], 3 + '#'); /* the byte */
    tiny_expect(t, "abc#", SPEC_ENCODE_PARSE_SPECIAL, "abc|#");
    assert_int_equal(tiny_encode(t, "#", 1, SPEC_ENCODE_PARSE_SPECIAL, &n)[0], 264 + 4);
    tiny_expect(t, "<0x41>", 0, "<0x41|>");
    spec_tokenizer_free(t);
    tiny_bpe(&vocab, "llama-bpe");
    tiny_add(&vocab, "stop", 0, SPEC_TOKEN_CONTROL);
    vocab.bos = 65;
    t = tiny_open(&vocab);
    tiny_expect(t, "stop", 0, "s|t|o|p");
    tiny_expect(t, "stop", SPEC_ENCODE_PARSE_SPECIAL, "stop");
    spec_tokenizer_free(t);
}

/* The same by searching for one token after the other, the longest first, in what is left of
 * the text. Bytes of the text that nothing took are their own tokens. */
static size_t search_special(const tiny_vocab *v, const char *text, size_t n, bool control, spec_token *out) {
    spec_token owner[256];
    size_t k = 0;
    for (size_t i = 0; i < n; i++) owner[i] = -1;
    for (size_t len = sizeof v->token->text; len > 0; len--) {
        for (size_t id = 256; id < v->n; id++) {
            const tiny_token *s = &v->token[id];
            if (s->n != len || (s->kind == SPEC_TOKEN_CONTROL && !control)) continue;
            for (size_t at = 0; at + len <= n; at++) {
                bool fits = memcmp(text + at, s->text, len) == 0;
                for (size_t i = at; i < at + len && fits; i++) fits = owner[i] == -1;
                for (size_t i = at; i < at + len && fits; i++) owner[i] = i == at ? (spec_token)id : -2;
            }
        }
    }
    for (size_t i = 0; i < n; i++)
        if (owner[i] != -2) out[k++] = owner[i] == -1 ? (spec_token)(uint8_t)text[i] : owner[i];
    return k;
}

static void test_random_special_tokens(void **state) {
    (void)state;
    size_t found = 0;
    for (uint64_t round = 0; round < 60; round++) {
        support_rng r = support_rng_new(support_seed(), round);
        char text[256], name[8];
        spec_token want[256];
        tiny_bpe(&vocab, "gpt-2");
        for (uint32_t i = 0; i < 12; i++) {
            uint32_t len = 1 + support_rng_below(&r, 6);
            for (uint32_t k = 0; k < len; k++) name[k] = (char)('a' + support_rng_below(&r, 2));
            name[len] = 0;
            bool twice = len == 1; /* a byte is a token already */
            for (size_t k = 0; k < vocab.n; k++) twice |= strcmp(vocab.token[k].text, name) == 0;
            if (!twice)
                tiny_add(&vocab, name, 0, support_rng_chance(&r, 0.5) ? SPEC_TOKEN_USER : SPEC_TOKEN_CONTROL);
        }
        spec_tokenizer *t = tiny_open(&vocab);
        for (int i = 0; i < 50; i++) {
            size_t n = support_rng_below(&r, 60), n_got;
            for (size_t k = 0; k < n; k++) text[k] = (char)('a' + support_rng_below(&r, 2));
            bool control = support_rng_chance(&r, 0.5);
            size_t n_want = search_special(&vocab, text, n, control, want);
            const spec_token *got = tiny_encode(t, text, n, control ? SPEC_ENCODE_PARSE_SPECIAL : 0, &n_got);
            assert_int_equal(n_got, n_want);
            assert_memory_equal(got, want, n_got * sizeof *got);
            found += n_want < n;
        }
        spec_tokenizer_free(t);
    }
    assert_true(found > 1000);
}

/* ---- random vocabularies -------------------------------------------------------------------- */

typedef struct part {
    const char *at;
    size_t n;
} part;

static int id_of(const tiny_vocab *v, const char *s, size_t n) {
    for (size_t i = 0; i < v->n; i++)
        if (v->token[i].n == n && memcmp(v->token[i].text, s, n) == 0) return (int)i;
    return -1;
}

/* How good a pair is: SPM's score, or how early its merge is. */
static bool value_of(const tiny_vocab *v, part a, part b, double *value) {
    if (strcmp(v->model, "llama") == 0) {
        int id = id_of(v, a.at, a.n + b.n);
        *value = id < 0 ? 0 : v->token[id].score;
        return id >= 0;
    }
    for (size_t i = 0; i < v->n_merges; i++) {
        const char *m = v->merge[i], *gap = strchr(m, ' ');
        if ((size_t)(gap - m) != a.n || strlen(gap + 1) != b.n) continue;
        if (memcmp(m, a.at, a.n) != 0 || memcmp(gap + 1, b.at, b.n) != 0) continue;
        *value = -(double)i;
        return true;
    }
    return false;
}

/* Looks at all pairs for each merge. */
static size_t search_merges(const tiny_vocab *v, const char *text, size_t n, spec_token *out) {
    part p[128];
    size_t k = n;
    for (size_t i = 0; i < n; i++) p[i] = (part){text + i, 1};
    for (;;) {
        size_t best = k;
        double most = 0, value;
        for (size_t i = 0; i + 1 < k; i++) {
            if (!value_of(v, p[i], p[i + 1], &value) || (best < k && value <= most)) continue;
            best = i;
            most = value;
        }
        if (best == k) break;
        p[best].n += p[best + 1].n;
        memmove(p + best + 1, p + best + 2, (k - best - 2) * sizeof *p);
        k--;
    }
    for (size_t i = 0; i < k; i++) out[i] = id_of(v, p[i].at, p[i].n);
    return k;
}

/* Adds tokens over a, b and c that two others make. */
static void add_random(tiny_vocab *v, support_rng *r, size_t first) {
    for (int i = 0; i < 25; i++) {
        const char *a = v->token[first + support_rng_below(r, (uint32_t)(v->n - first))].text;
        const char *b = v->token[first + support_rng_below(r, (uint32_t)(v->n - first))].text;
        char whole[80];
        snprintf(whole, sizeof whole, "%s%s", a, b);
        if (strlen(whole) > 12) continue;
        char left[40], right[40];
        snprintf(left, sizeof left, "%s", a);
        snprintf(right, sizeof right, "%s", b);
        if (id_of(v, whole, strlen(whole)) < 0)
            tiny_add(v, whole, (float)support_rng_below(r, 8) - 4, SPEC_TOKEN_NORMAL);
        tiny_merge(v, left, right);
    }
}

static void check_random(bool spm, uint64_t round) {
    support_rng r = support_rng_new(support_seed(), 1000 + round);
    char text[128];
    spec_token want[128];
    if (spm) {
        tiny_spm(&vocab);
        vocab.add_space = 0;
        vocab.n -= 2; /* a, b, c remain last */
        add_random(&vocab, &r, vocab.n - 3);
        vocab.n_merges = 0;
    } else {
        tiny_bpe(&vocab, "gpt-2");
        vocab.n = 'c' + 1;
        add_random(&vocab, &r, 'a');
    }
    spec_tokenizer *t = tiny_open(&vocab);
    for (int i = 0; i < 20; i++) {
        size_t n = support_rng_below(&r, 100), n_got;
        uint32_t letters = 1 + support_rng_below(&r, 3);
        for (size_t k = 0; k < n; k++) text[k] = (char)('a' + support_rng_below(&r, letters));
        size_t n_want = search_merges(&vocab, text, n, want);
        const spec_token *got = tiny_encode(t, text, n, 0, &n_got);
        assert_int_equal(n_got, n_want);
        assert_memory_equal(got, want, n_got * sizeof *got);
    }
    spec_tokenizer_free(t);
}

static void test_random_vocabularies(void **state) {
    (void)state;
    for (uint64_t round = 0; round < 30; round++) {
        check_random(true, round);
        check_random(false, round);
    }
}

/* ---- large texts -------------------------------------------------------------------------------- */

/* Quadratic time would be hours. */
static void check_large(const spec_tokenizer *t, char *text, size_t n, spec_token *out) {
    static const char *const fills[] = {"a", " ",    "ab", "\n", " \n", "\xe4\xb8\xad",
                                        "<", "\xff", " x", "A",  "1"};
    for (size_t i = 0; i < sizeof fills / sizeof *fills; i++) {
        size_t len = strlen(fills[i]), n_tokens, n_bytes = 0;
        for (size_t k = 0; k < n; k++) text[k] = fills[i][k % len];
        assert_int_equal(
            spec_tokenizer_encode(t, text, n, SPEC_ENCODE_PARSE_SPECIAL, out, 3 * n + 3, &n_tokens, NULL), 0);
        for (size_t k = 0; k < n_tokens; k++) {
            const char *piece;
            size_t n_piece;
            assert_int_equal(spec_tokenizer_piece(t, out[k], &piece, &n_piece), 0);
            n_bytes += n_piece;
        }
        spec_tokenizer_info info = {.size = sizeof info};
        spec_tokenizer_get_info(t, &info);
        assert_int_equal(n_bytes, n + (info.adds_space && *fills[i] != '<')); /* that one is special */
    }
}

static void test_large_texts(void **state) {
    (void)state;
    static const char *const pres[] = {"llama-bpe", "deepseek-llm", "deepseek-v3", "falcon",
                                       "tekken",    "gpt-4o",       "default"};
    size_t n = 1 << 18;
    char *text = malloc(n);
    spec_token *out = malloc((3 * n + 3) * sizeof *out);
    assert_true(text && out);
    tiny_spm(&vocab);
    tiny_add(&vocab, BLANK BLANK, -1, SPEC_TOKEN_NORMAL);
    tiny_add(&vocab, "aa", -1, SPEC_TOKEN_NORMAL);
    tiny_add(&vocab, "<<", -1, SPEC_TOKEN_USER);
    spec_tokenizer *t = tiny_open(&vocab);
    check_large(t, text, n, out);
    spec_tokenizer_free(t);
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++) {
        tiny_bpe(&vocab, pres[i]);
        vocab.add_bos = 0;
        tiny_add(&vocab, "aa", 0, SPEC_TOKEN_NORMAL);
        tiny_add(&vocab, "aaaa", 0, SPEC_TOKEN_NORMAL);
        tiny_merge(&vocab, "a", "a");
        tiny_merge(&vocab, "aa", "aa");
        t = tiny_open(&vocab);
        check_large(t, text, n, out);
        spec_tokenizer_free(t);
    }
    free(text);
    free(out);
}

/* ---- the calls' edges ------------------------------------------------------------------------------ */

static void test_room(void **state) {
    (void)state;
    tiny_spm(&vocab);
    spec_tokenizer *t = tiny_open(&vocab);
    spec_token out[4] = {-7, -7, -7, -7};
    spec_message why = {""};
    size_t n;
    assert_int_equal(spec_tokenizer_encode(t, "abc", 3, 0, NULL, 0, &n, &why), SPEC_ERR_FULL);
    assert_int_equal(n, 4);
    assert_string_equal(why.text, "4 tokens, room for 0");
    assert_int_equal(spec_tokenizer_encode(t, "abc", 3, 0, out, 3, &n, NULL), SPEC_ERR_FULL);
    assert_true(n == 4 && out[2] == 261 && out[3] == -7);
    assert_int_equal(spec_tokenizer_encode(t, "abc", 3, 0, out, 4, &n, &why), 0);
    assert_true(n == 4 && out[3] == 262);
    assert_string_equal(why.text, "");
    assert_int_equal(spec_tokenizer_encode(t, "", 0, 0, NULL, 0, &n, NULL), 0);
    assert_int_equal(spec_tokenizer_encode(t, NULL, 0, 0, NULL, 0, &n, NULL), 0);
    assert_int_equal(n, 0);
    assert_int_equal(spec_tokenizer_encode(t, NULL, 1, 0, NULL, 0, &n, &why), SPEC_ERR_INVALID);
    assert_int_equal(spec_tokenizer_encode(t, "a", 1, 0, NULL, 1, &n, &why), SPEC_ERR_INVALID);
    assert_int_equal(spec_tokenizer_encode(t, "a", 1, 4, out, 4, &n, &why), SPEC_ERR_INVALID);
    assert_string_equal(why.text, "flags 0x4: there are no such");
    assert_int_equal(spec_tokenizer_encode(t, "a", (size_t)1 << 30, 0, out, 4, &n, &why), SPEC_ERR_INVALID);
    assert_int_equal(spec_tokenizer_encode(NULL, "a", 1, 0, out, 4, &n, &why), SPEC_ERR_INVALID);
    assert_int_equal(spec_tokenizer_encode(t, "a", 1, 0, out, 4, NULL, &why), SPEC_ERR_INVALID);
    spec_tokenizer_free(t);
    spec_tokenizer_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spm_takes_the_best_score),
        cmocka_unit_test(test_spm_zeros_are_equal),
        cmocka_unit_test(test_spm_falls_back_to_bytes),
        cmocka_unit_test(test_spm_without_bytes),
        cmocka_unit_test(test_spm_blank_before_the_text),
        cmocka_unit_test(test_bpe_takes_the_first_merge),
        cmocka_unit_test(test_bpe_whole_words),
        cmocka_unit_test(test_bpe_any_bytes),
        cmocka_unit_test(test_special_tokens),
        cmocka_unit_test(test_names_are_text),
        cmocka_unit_test(test_random_special_tokens),
        cmocka_unit_test(test_random_vocabularies),
        cmocka_unit_test(test_large_texts),
        cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

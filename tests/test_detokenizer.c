/* SPDX-License-Identifier: MIT */
/* Tokens to text: streams against the whole, characters cut in two, bytes that are none, special
 * tokens, the first blank. */
#include <stdlib.h>
#include <string.h>

#include "tiny_vocab.h"

static tiny_vocab vocab;

/* Tokens over bytes: token b is byte b. */
static spec_tokenizer *byte_tokens(void) {
    tiny_bpe(&vocab, "gpt-2");
    tiny_add(&vocab, "<end>", 0, SPEC_TOKEN_CONTROL);
    tiny_add(&vocab, "<tool>", 0, SPEC_TOKEN_USER);
    tiny_add(&vocab, "<unk>", 0, SPEC_TOKEN_UNKNOWN);
    return tiny_open(&vocab);
}

typedef struct text {
    char s[4096];
    size_t n;
} text;

static void take(text *x, const char *s, size_t n) {
    assert_true(x->n + n <= sizeof x->s);
    memcpy(x->s + x->n, s, n);
    x->n += n;
}

/* The stream's text; `sizes`, if given, has what each push gave, and what the end gave. */
static text stream(const spec_tokenizer *t, const spec_token *tok, size_t n, unsigned flags, size_t *sizes) {
    text x = {"", 0};
    spec_detokenizer *d;
    const char *s;
    size_t len;
    assert_int_equal(spec_detokenizer_new(&d, t, flags), 0);
    for (size_t i = 0; i <= n; i++) {
        if (i < n)
            assert_int_equal(spec_detokenizer_push(d, tok[i], &s, &len), 0);
        else
            spec_detokenizer_finish(d, &s, &len);
        take(&x, s, len);
        if (sizes) sizes[i] = len;
    }
    spec_detokenizer_free(d);
    return x;
}

static void expect_stream(const spec_tokenizer *t, const char *bytes, size_t n, const char *want,
                          const size_t *sizes) {
    spec_token tok[64];
    size_t got[65];
    for (size_t i = 0; i < n; i++) tok[i] = (uint8_t)bytes[i];
    text x = stream(t, tok, n, 0, got);
    if (x.n != strlen(want) || memcmp(x.s, want, x.n) != 0)
        fail_msg("'%.*s', expected '%s'", (int)x.n, x.s, want);
    for (size_t i = 0; sizes && i <= n; i++) assert_int_equal(got[i], sizes[i]);
}

#define R "\xef\xbf\xbd"

static void test_characters_are_held_back(void **state) {
    (void)state;
    spec_tokenizer *t = byte_tokens();
    expect_stream(t, "ab", 2, "ab", (size_t[]){1, 1, 0});
    expect_stream(t, "\xc3\xa9", 2, "\xc3\xa9", (size_t[]){0, 2, 0});
    expect_stream(t, "\xe4\xb8\xadx", 4, "\xe4\xb8\xadx", (size_t[]){0, 0, 3, 1, 0});
    expect_stream(t, "\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80", (size_t[]){0, 0, 0, 4, 0});
    spec_tokenizer_free(t);
}

static void test_invalid_bytes_are_replaced(void **state) {
    (void)state;
    spec_tokenizer *t = byte_tokens();
    expect_stream(t, "\xff", 1, R, (size_t[]){3, 0}); /* at once */
    expect_stream(t, "\x80\xbf", 2, R R, (size_t[]){3, 3, 0});
    expect_stream(t, "\xe4\xb8", 2, R, (size_t[]){0, 0, 3}); /* at the end: it may have come */
    expect_stream(t, "\xe4\xb8x", 3, R "x", (size_t[]){0, 0, 4, 0});
    expect_stream(t, "\xe4\xe4\xb8\xad", 4, R "\xe4\xb8\xad", (size_t[]){0, 3, 0, 3, 0});
    expect_stream(t, "\xc0\x80", 2, R R, (size_t[]){3, 3, 0}); /* overlong */
    expect_stream(t, "\xe0\x80\x80", 3, R R R, NULL);
    expect_stream(t, "\xf0\x80\x80\x80", 4, R R R R, NULL);
    expect_stream(t, "\xed\xa0\x80", 3, R R R, NULL);       /* a surrogate */
    expect_stream(t, "\xf4\x90\x80\x80", 4, R R R R, NULL); /* past U+10FFFF */
    expect_stream(t,
                  "\xf0\x9f\x98"
                  "a\xf5",
                  5, R "a" R, NULL); /* one for the longest beginning */
    expect_stream(t, "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", 10,
                  "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", NULL);
    spec_tokenizer_free(t);
}

/* Every sequence of up to 3 interesting bytes, against the definition: the longest beginning of a
 * character that cannot go on is one U+FFFD. */
static bool begins_character(const uint8_t *s, size_t n, bool *whole) {
    static const uint8_t table[][8] = {
        /* first byte, second byte, length (Unicode, table 3-7) */
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const uint8_t *r = table[i];
        if (s[0] < r[0] || s[0] > r[1] || n > r[4]) continue;
        if (n > 1 && (s[1] < r[2] || s[1] > r[3])) continue;
        if (n > 2 && (s[2] & 0xc0) != 0x80) continue;
        if (n > 3 && (s[3] & 0xc0) != 0x80) continue;
        *whole = n == r[4];
        return true;
    }
    return false;
}

static size_t define(const uint8_t *s, size_t n, char *out) {
    size_t k = 0;
    for (size_t at = 0; at < n;) {
        size_t len = 0;
        bool whole = false;
        while (!whole && at + len < n && begins_character(s + at, len + 1, &whole)) len++;
        if (whole) {
            memcpy(out + k, s + at, len);
            k += len;
        } else {
            for (size_t i = 0; i < 3; i++) out[k++] = R[i];
        }
        at += len ? len : 1;
    }
    return k;
}

static void test_all_short_sequences(void **state) {
    (void)state;
    static const uint8_t bytes[] = {0,    'a',  0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xdf,
                                    0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf3, 0xf4, 0xf5, 0xff};
    const size_t m = sizeof bytes;
    spec_tokenizer *t = byte_tokens();
    for (size_t i = 0; i < m * m * m * m; i++) {
        uint8_t s[4] = {bytes[i % m], bytes[i / m % m], bytes[i / m / m % m], bytes[i / m / m / m]};
        spec_token tok[4] = {s[0], s[1], s[2], s[3]};
        char want[16], got[16];
        size_t n_want = define(s, 4, want), n;
        assert_int_equal(spec_tokenizer_decode(t, tok, 4, 0, got, sizeof got, &n), 0);
        if (n != n_want || memcmp(got, want, n) != 0) fail_msg("%02x %02x %02x %02x", s[0], s[1], s[2], s[3]);
    }
    spec_tokenizer_free(t);
}

static void test_streams_equal_the_whole(void **state) {
    (void)state;
    tiny_bpe(&vocab, "gpt-2");
    support_rng r = support_rng_new(support_seed(), 1);
    for (int i = 0; i < 300; i++) { /* pieces of several bytes, cut anywhere */
        char name[40] = "";
        uint32_t len = 2 + support_rng_below(&r, 4);
        static const uint8_t some[] = {'a', ' ', 0xe4, 0xb8, 0xad, 0xf0, 0x9f, 0x98, 0x80, 0xc3, 0xff};
        for (uint32_t k = 0; k < len; k++)
            strcat(name, tiny_letter(some[support_rng_below(&r, sizeof some)]));
        bool twice = false;
        for (size_t k = 0; k < vocab.n; k++) twice |= strcmp(vocab.token[k].text, name) == 0;
        if (!twice)
            tiny_add(&vocab, name, 0, support_rng_chance(&r, 0.1) ? SPEC_TOKEN_CONTROL : SPEC_TOKEN_NORMAL);
    }
    spec_tokenizer *t = tiny_open(&vocab);
    for (int i = 0; i < 500; i++) {
        spec_token tok[40];
        char whole[2048], bytes[1024], want[4096];
        size_t n = support_rng_below(&r, 40), n_whole, n_bytes = 0;
        unsigned flags = support_rng_below(&r, 4);
        for (size_t k = 0; k < n; k++) {
            const char *piece;
            size_t len;
            tok[k] = (spec_token)support_rng_below(&r, (uint32_t)vocab.n);
            assert_int_equal(spec_tokenizer_piece(t, tok[k], &piece, &len), 0);
            if (flags & SPEC_DETOKENIZE_SKIP_SPECIAL && spec_tokenizer_kind(t, tok[k]) == SPEC_TOKEN_CONTROL)
                continue;
            memcpy(bytes + n_bytes, piece, len);
            n_bytes += len;
        }
        text x = stream(t, tok, n, flags, NULL);
        assert_int_equal(spec_tokenizer_decode(t, tok, n, flags, whole, sizeof whole, &n_whole), 0);
        assert_true(x.n == n_whole && memcmp(x.s, whole, x.n) == 0);
        assert_true(x.n == define((const uint8_t *)bytes, n_bytes, want) && memcmp(x.s, want, x.n) == 0);
    }
    spec_tokenizer_free(t);
}

/* ---- special tokens, and the first blank ------------------------------------------------- */

static void expect_text(const spec_tokenizer *t, const spec_token *tok, size_t n, unsigned flags,
                        const char *want) {
    text x = stream(t, tok, n, flags, NULL);
    if (x.n != strlen(want) || memcmp(x.s, want, x.n) != 0)
        fail_msg("'%.*s', expected '%s'", (int)x.n, x.s, want);
}

static void test_special_tokens(void **state) {
    (void)state;
    spec_tokenizer *t = byte_tokens();
    const spec_token tok[] = {' ', 'a', 256, 257, 258, 'b'};
    expect_text(t, tok, 6, 0, " a<end><tool><unk>b");
    expect_text(t, tok, 6, SPEC_DETOKENIZE_SKIP_SPECIAL, " a<tool>b");
    const spec_token within[] = {0xe4, 256, 0xb8, 0xad}; /* one in the middle of a character */
    expect_text(t, within, 4, SPEC_DETOKENIZE_SKIP_SPECIAL, "\xe4\xb8\xad");
    expect_text(t, within, 4, 0, R "<end>" R R);
    spec_tokenizer_free(t);
}

static void test_first_blank(void **state) {
    (void)state;
    tiny_spm(&vocab);
    tiny_add(&vocab,
             "\xe2\x96\x81"
             "a",
             -1, SPEC_TOKEN_NORMAL);
    spec_tokenizer *t = tiny_open(&vocab);
    const spec_token tok[] = {1, 265, 265, 2, 265};
    expect_text(t, tok, 5, SPEC_DETOKENIZE_SKIP_SPECIAL, "a a a");
    expect_text(t, tok + 1, 2, 0, "a a");
    expect_text(t, tok, 5, 0, "<s> a a</s> a");
    expect_text(t, tok + 1, 2, SPEC_DETOKENIZE_CONTINUE, " a a");
    const spec_token blanks[] = {259, 259, 260};
    expect_text(t, blanks, 3, 0, " a"); /* one alone is taken away */
    /* finish begins anew */
    spec_detokenizer *d;
    const char *s;
    size_t n;
    assert_int_equal(spec_detokenizer_new(&d, t, 0), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(spec_detokenizer_push(d, 265, &s, &n), 0);
        assert_true(n == 1 && *s == 'a');
        assert_int_equal(spec_detokenizer_push(d, 3 + 0xe4, &s, &n), 0);
        assert_int_equal(n, 0);
        spec_detokenizer_finish(d, &s, &n);
        assert_true(n == 3 && memcmp(s, R, 3) == 0);
    }
    spec_detokenizer_free(d);
    spec_tokenizer_free(t);
    vocab.add_space = 0;
    t = tiny_open(&vocab);
    expect_text(t, tok + 1, 2, 0, " a a");
    spec_tokenizer_free(t);
}

/* ---- the calls' edges ----------------------------------------------------------------------- */

static void test_edges(void **state) {
    (void)state;
    spec_tokenizer *t = byte_tokens();
    spec_detokenizer *d = (spec_detokenizer *)t;
    const char *s = "kept";
    size_t n = 77;
    assert_int_equal(spec_detokenizer_new(&d, t, 4), SPEC_ERR_INVALID);
    assert_int_equal(spec_detokenizer_new(&d, NULL, 0), SPEC_ERR_INVALID);
    assert_int_equal(spec_detokenizer_new(&d, t, 0), 0);
    assert_int_equal(spec_detokenizer_push(d, 0xe4, &s, &n), 0);
    assert_int_equal(spec_detokenizer_push(d, 259, &s, &n), SPEC_ERR_INVALID);
    assert_int_equal(spec_detokenizer_push(d, -1, &s, &n), SPEC_ERR_INVALID);
    assert_int_equal(spec_detokenizer_push(d, 0xb8, &s, &n), 0); /* nothing has changed */
    assert_int_equal(spec_detokenizer_push(d, 0xad, &s, &n), 0);
    assert_int_equal(n, 3);
    spec_detokenizer_free(d);
    spec_detokenizer_free(NULL);

    const spec_token tok[] = {'a', 'b', 'c'};
    char out[4] = "....";
    assert_int_equal(spec_tokenizer_decode(t, tok, 3, 0, NULL, 0, &n), SPEC_ERR_FULL);
    assert_int_equal(n, 3);
    assert_int_equal(spec_tokenizer_decode(t, tok, 3, 0, out, 2, &n), SPEC_ERR_FULL);
    assert_true(n == 3 && memcmp(out, "ab..", 4) == 0);
    assert_int_equal(spec_tokenizer_decode(t, tok, 3, 0, out, 3, &n), 0);
    assert_true(n == 3 && memcmp(out, "abc.", 4) == 0);
    assert_int_equal(spec_tokenizer_decode(t, tok, 3, 4, out, 3, &n), SPEC_ERR_INVALID);
    assert_int_equal(n, 0);
    assert_int_equal(spec_tokenizer_decode(t, (spec_token[]){'a', 300}, 2, 0, out, 4, &n), SPEC_ERR_INVALID);
    assert_int_equal(n, 0);
    assert_int_equal(spec_tokenizer_decode(t, NULL, 0, 0, NULL, 0, &n), 0);
    spec_tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_characters_are_held_back),
        cmocka_unit_test(test_invalid_bytes_are_replaced),
        cmocka_unit_test(test_all_short_sequences),
        cmocka_unit_test(test_streams_equal_the_whole),
        cmocka_unit_test(test_special_tokens),
        cmocka_unit_test(test_first_blank),
        cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

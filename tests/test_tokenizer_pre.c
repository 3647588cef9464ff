/* SPDX-License-Identifier: MIT */
/* Pre-tokenizers: where each cuts a text, and what is done with patterns from files and with bytes
 * that are not UTF-8. What is expected comes from the models' published patterns and
 * another library of regular expressions. */
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "tokenizer.h"

typedef struct words {
    char text[1024];
    size_t n, count;
} words;

static int add_word(void *user, const char *word, size_t n) {
    words *w = user;
    assert_true(n > 0 && w->n + n + 1 < sizeof w->text);
    if (w->count++) w->text[w->n++] = '|';
    memcpy(w->text + w->n, word, n);
    w->n += n;
    w->text[w->n] = 0;
    return SPEC_OK;
}

static void expect_words(const spec_tokenizer *t, const char *text, size_t n, const char *want) {
    words w = {"", 0, 0};
    spec_message why = {""};
    if (specp_pattern_cut(t, text, n, 0, add_word, &w, &why)) fail_msg("%s", why.text);
    if (strcmp(w.text, want) != 0) fail_msg("'%s' was cut to %s, expected was %s", text, w.text, want);
}

static int count_word(void *user, const char *word, size_t n) {
    (void)word;
    *(size_t *)user += n > 0;
    return SPEC_OK;
}

static spec_tokenizer *make(void) {
    spec_tokenizer *t = NULL;
    assert_int_equal(specp_tokenizer_begin(&t, 1, NULL), 0);
    return t;
}

static spec_tokenizer *make_foreign(const char *pattern) {
    spec_tokenizer *t = make();
    spec_message why = {""};
    if (specp_pattern_add(t, pattern, strlen(pattern), true, &why)) fail_msg("%s", why.text);
    return t;
}

static void expect_foreign(const char *pattern, const char *text, const char *want) {
    spec_tokenizer *t = make_foreign(pattern);
    expect_words(t, text, strlen(text), want);
    spec_tokenizer_free(t);
}

/* ---- those with a name ----------------------------------------------------------------- */

static void test_named(void **state) {
    (void)state;
    static const char text[] = "I'll we'VE 12345 Hello-World!! \tx  \n\n a\xcc\x81"
                               "bc \xc3\x89\xe4\xb8\xad\xe6\x96\x87\xe3\x81\xae\xed\x95\x9c\xea\xb8\x80 "
                               "$5.00<= na\xc3\xafveABC //x\r\n  ";
    static const char *const cuts[][2] = {
        {"gpt-2", "I|'ll| we|'|VE| 12345| Hello|-|World|!!| |\t|x|  \n\n| a|\xcc\x81|bc| "
                  "\xc3\x89\xe4\xb8\xad\xe6\x96\x87\xe3\x81\xae\xed\x95\x9c\xea\xb8\x80| $|5|.|00|<=| "
                  "na\xc3\xafveABC| //|x|\r\n  "},
        {"default", "I|'|ll| we|'|VE| |123|45| Hello|-|World|!!| |\t|x|  \n\n| a|\xcc\x81|bc| "
                    "\xc3\x89\xe4\xb8\xad\xe6\x96\x87\xe3\x81\xae\xed\x95\x9c\xea\xb8\x80| |$|5|.|00|<=| "
                    "na\xc3\xafveABC| |//|x|\r\n  "},
        {"llama-bpe", "I|'ll| we|'VE| |123|45| Hello|-World|!!| |\tx|  \n\n| a|\xcc\x81"
                      "bc| \xc3\x89\xe4\xb8\xad\xe6\x96\x87\xe3\x81\xae\xed\x95\x9c\xea\xb8\x80| "
                      "$|5|.|00|<=| na\xc3\xafveABC| //|x|\r\n|  "},
        {"qwen2", "I|'ll| we|'VE| |1|2|3|4|5| Hello|-World|!!| |\tx|  \n\n| a|\xcc\x81"
                  "bc| \xc3\x89\xe4\xb8\xad\xe6\x96\x87\xe3\x81\xae\xed\x95\x9c\xea\xb8\x80| $|5|.|0|0|<=| "
                  "na\xc3\xafveABC| //|x|\r\n|  "},
        {"starcoder", "I|'ll| we|'|VE| |1|2|3|4|5| Hello|-|World|!!| |\t|x|  \n\n| a|\xcc\x81|bc| "
                      "\xc3\x89\xe4\xb8\xad\xe6\x96\x87\xe3\x81\xae\xed\x95\x9c\xea\xb8\x80| $|5|.|0|0|<=| "
                      "na\xc3\xafveABC| //|x|\r\n  "},
        {"falcon", "I|'|ll| we|'|VE| |123|45| Hello|-|World|!!| |\t|x|  \n\n| a|\xcc\x81|bc| "
                   "\xc3\x89\xe4\xb8\xad\xe6\x96\x87\xe3\x81\xae\xed\x95\x9c\xea\xb8\x80| |$|5|.|00|<=| "
                   "na\xc3\xafveABC| |//|x|\r\n  "},
        {"tekken", "I|'ll| we|'VE| |1|2|3|4|5| Hello|-World|!!| |\tx|  \n\n| a\xcc\x81"
                   "bc| \xc3\x89\xe4\xb8\xad\xe6\x96\x87\xe3\x81\xae\xed\x95\x9c\xea\xb8\x80| $|5|.|0|0|<=| "
                   "na\xc3\xafve|ABC| //|x|\r\n|  "},
        {"gpt-4o", "I'll| we'VE| |123|45| Hello|-World|!!| |\tx|  \n\n| a\xcc\x81"
                   "bc| \xc3\x89\xe4\xb8\xad\xe6\x96\x87\xe3\x81\xae\xed\x95\x9c\xea\xb8\x80| $|5|.|00|<=| "
                   "na\xc3\xafve|ABC| //|x|\r\n|  "},
        {"deepseek-coder", "I|'|ll| we|'|VE| |1|2|3|4|5| Hello|-|World|!!| |\tx|  |\n|\n| a|\xcc\x81|bc| "
                           "\xc3\x89|\xe4\xb8\xad\xe6\x96\x87\xe3\x81\xae\xed\x95\x9c\xea\xb8\x80| "
                           "$|5|.|0|0|<=| na\xc3\xafveABC| //|x|\r|\n|  "},
        {"deepseek-llm", "I|'|ll| we|'|VE| |12345| Hello|-|World|!!| |\tx|  |\n|\n| a|\xcc\x81|bc| "
                         "\xc3\x89|\xe4\xb8\xad\xe6\x96\x87\xe3\x81\xae\xed\x95\x9c\xea\xb8\x80| "
                         "$|5|.|00|<=| na|\xc3\xaf|veABC| //|x|\r|\n|  "},
        {"deepseek-v3", "I|'ll| we|'VE| |123|45| Hello|-World|!!| |\tx|  \n\n| a\xcc\x81"
                        "bc| \xc3\x89|\xe4\xb8\xad\xe6\x96\x87\xe3\x81\xae|\xed\x95\x9c\xea\xb8\x80| "
                        "$|5|.|00|<=| na\xc3\xafveABC| //|x|\r\n|  "},
    };
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        spec_tokenizer *t = make();
        spec_message why = {""};
        assert_int_equal(specp_pre_apply(t, cuts[i][0], strlen(cuts[i][0]), &why), 0);
        assert_string_equal(t->pre, cuts[i][0]);
        expect_words(t, text, sizeof text - 1, cuts[i][1]);
        spec_tokenizer_free(t);
    }
}

static void test_kin(void **state) {
    (void)state;
    static const char *const kin[][2] = {
        {"megrez", "qwen2"}, {"llama3", "llama-bpe"}, {"granite-docling", "gpt-2"},
        {"glm4", "dbrx"},    {"smollm", "starcoder"}, {"olmo", "gpt-2"},
        {"dbrx", "dbrx"},    {"mpt", "gpt-2"}};
    for (size_t i = 0; i < sizeof kin / sizeof *kin; i++) {
        spec_tokenizer *t = make();
        assert_int_equal(specp_pre_apply(t, kin[i][0], strlen(kin[i][0]), NULL), 0);
        assert_string_equal(t->pre, kin[i][1]);
        assert_int_equal(specp_pre_apply(t, "qwen", 4, NULL), SPEC_ERR_UNSUPPORTED);
        assert_int_equal(specp_pre_apply(t, "", 0, NULL), SPEC_ERR_UNSUPPORTED);
        assert_int_equal(specp_pre_apply(t, "phi-2 mpt", 9, NULL), SPEC_ERR_UNSUPPORTED);
        spec_tokenizer_free(t);
    }
}

/* U+180E is no white space in Unicode, U+0085 and U+3000 are. */
static void test_white_space(void **state) {
    (void)state;
    expect_foreign("\\s+",
                   "a \xe1\xa0\x8e"
                   "b",
                   "a| |\xe1\xa0\x8e"
                   "b");
    expect_foreign("[\\s!]+",
                   "a\xc2\x85!\xe3\x80\x80"
                   "b\xe1\xa0\x8e",
                   "a|\xc2\x85!\xe3\x80\x80|b\xe1\xa0\x8e");
    expect_foreign("\\S+", "a\xe1\xa0\x8e b", "a\xe1\xa0\x8e| |b");
    expect_foreign("[^\\s]+", "a\xe1\xa0\x8e b", "a\xe1\xa0\x8e| |b");
    expect_foreign("[]\\s]+", "a] b", "a|] |b");
    expect_foreign("a&&b|[\\[]", "a&&b [", "a&&b| |[");
    expect_foreign("\\\\s", "a\\s b", "a|\\s| b");
}

/* ---- bytes that are not UTF-8 -------------------------------------------------------------- */

static void test_invalid_bytes(void **state) {
    (void)state;
    spec_tokenizer *t = make();
    assert_int_equal(specp_pre_apply(t, "gpt-2", 5, NULL), 0);
    expect_words(t, "ab\xff\xfe cd", 7, "ab|\xff\xfe| cd");
    expect_words(t, "\xe4\xb8", 2, "\xe4\xb8");
    expect_words(t, "x\xe4\xb8y", 4, "x|\xe4\xb8|y");
    expect_words(t, "?\xe0\x80\x80!", 5, "?|\xe0\x80\x80|!"); /* overlong */
    expect_words(t, "?\xf0\x80\x80\x80!", 6, "?|\xf0\x80\x80\x80|!");
    expect_words(t, "?\xf4\x90\x80\x80!", 6, "?|\xf4\x90\x80\x80|!");               /* too high */
    expect_words(t, "?\xed\xa0\x80!", 5, "?|\xed\xa0\x80|!");                       /* a surrogate */
    expect_words(t, "\xc0\x80 \xf4\x90\x80\x80", 7, "\xc0\x80| |\xf4\x90\x80\x80"); /* overlong; too high */
    expect_words(t, "a\xf0\x9f\x98\x80", 5, "a|\xf0\x9f\x98\x80");
    spec_tokenizer_free(t);
}

/* ---- patterns from files --------------------------------------------------------------------- */

static void test_foreign_patterns(void **state) {
    (void)state;
    expect_foreign("(?i:'s|'t)|\\p{L}+", "Tom'S cat", "Tom|'S| |cat");
    expect_foreign("b*", "abba", "a|bb|a");    /* an empty match cuts nothing */
    expect_foreign("^x|x$", "x\nx", "x|\n|x"); /* lines, as in Ruby */
    expect_foreign("(?<=a)b", "ab b", "a|b| b");
    expect_foreign("(a)(b)?", "xab", "x|ab");
}

static void expect_refused(const char *pattern, const char *part) {
    spec_tokenizer *t = make();
    spec_message why = {""};
    assert_int_equal(specp_pattern_add(t, pattern, strlen(pattern), true, &why), SPEC_ERR_UNSUPPORTED);
    if (!strstr(why.text, part)) fail_msg("'%s', expected '%s'", why.text, part);
    assert_int_equal(t->n_stages, 0);
    spec_tokenizer_free(t);
}

static void test_refused_patterns(void **state) {
    (void)state;
    expect_refused("(", "the pattern \"(\": missing closing parenthesis");
    expect_refused("[a-z&&[^b]]", "classes within classes, && and (* are not supported");
    expect_refused("[a&&b]", "&& and (* are not supported");
    expect_refused("[[:alpha:]\\s]", "&& and (* are not supported");
    expect_refused("(*LIMIT_MATCH=99999)a", "&& and (* are not supported");
    expect_refused("a\\Cb", "the pattern \"a\\Cb\": ");
    expect_refused("\\p{Klingon}", "the pattern ");
    expect_refused("", "1 patterns, one of 0 bytes");
    expect_refused("a{60000}{60000}", "the pattern ");
    char *large = malloc(SPECP_MAX_PATTERN + 2);
    memset(large, 'a', SPECP_MAX_PATTERN + 1);
    large[SPECP_MAX_PATTERN + 1] = 0;
    expect_refused(large, "16385 bytes");
    free(large);
    spec_tokenizer *t = make();
    for (int i = 0; i < SPECP_MAX_STAGES; i++) assert_int_equal(specp_pattern_add(t, "a", 1, true, NULL), 0);
    assert_int_equal(specp_pattern_add(t, "a", 1, true, NULL), SPEC_ERR_UNSUPPORTED);
    spec_tokenizer_free(t);
}

static void expect_too_long(const char *pattern, const char *text, size_t n) {
    spec_tokenizer *t = make_foreign(pattern);
    size_t count = 0;
    spec_message why = {""};
    int err = specp_pattern_cut(t, text, n, 1000, count_word, &count, &why);
    if (err != SPEC_ERR_UNSUPPORTED || !strstr(why.text, "the pre-tokenizer's pattern 0 takes too long"))
        fail_msg("%s: error %d, '%s'", pattern, err, why.text);
    if (count == 0) assert_non_null(strstr(why.text, "byte 1000 of the text: "));
    spec_tokenizer_free(t);
}

/* Patterns that would take longer than anybody waits, on this text. The last one has few
 * steps, but long ones. */
static void test_patterns_that_take_too_long(void **state) {
    (void)state;
    size_t n = 200000;
    char *text = malloc(n);
    memset(text, 'a', n - 1);
    text[n - 1] = '!';
    expect_too_long("(a+)+$", text + n - 20000, 20000);
    expect_too_long("(?:a|a)*b", text + n - 20000, 20000);
    expect_too_long("a+$", text + n - 20000, 20000);
    expect_too_long("(a*)*c", text + n - 20000, 20000);
    expect_too_long(".*.*.*=", text + n - 20000, 20000);
    expect_too_long("a(?=a*+)", text, n);
    free(text);
}

static int refuse_word(void *user, const char *word, size_t n) {
    (void)word;
    (void)n;
    return --*(int *)user ? SPEC_OK : SPEC_ERR_FULL;
}

static void test_the_first_error_ends_it(void **state) {
    (void)state;
    spec_tokenizer *t = make_foreign("b");
    for (int left = 1; left < 8; left++) {
        int count = left;
        assert_int_equal(specp_pattern_cut(t,
                                           "abab\xff"
                                           "a",
                                           6, 0, refuse_word, &count, NULL),
                         left <= 6 ? SPEC_ERR_FULL : SPEC_OK);
    }
    spec_tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_named),
        cmocka_unit_test(test_kin),
        cmocka_unit_test(test_white_space),
        cmocka_unit_test(test_invalid_bytes),
        cmocka_unit_test(test_foreign_patterns),
        cmocka_unit_test(test_refused_patterns),
        cmocka_unit_test(test_patterns_that_take_too_long),
        cmocka_unit_test(test_the_first_error_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

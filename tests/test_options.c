/* SPDX-License-Identifier: MIT */
/* Opening drafters by name: the option parser on a table of the test's own, and
 * the built-in drafters' names, options, help and error messages. */
#include "support.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "draft_internal.h"

/* ---- the parser --------------------------------------------------------------------- */

typedef struct values {
    int64_t whole;
    double real;
    bool flag;
    int word;
    char text[8];
} values;

static const char *const words[] = {"red", "green", "blue", NULL};

static const specp_option table[] = {
    {.key = "whole", .type = SPECP_OPT_INT, .offset = offsetof(values, whole), .min = -5, .max = 1e15},
    {.key = "real", .type = SPECP_OPT_REAL, .offset = offsetof(values, real), .min = -1e30, .max = 1e30},
    {.key = "flag", .type = SPECP_OPT_BOOL, .offset = offsetof(values, flag)},
    {.key = "word", .type = SPECP_OPT_WORD, .offset = offsetof(values, word), .words = words},
    {.key = "text", .type = SPECP_OPT_TEXT, .offset = offsetof(values, text), .size = 8},
};

static int parse(const char *text, values *v, spec_message *why) {
    return specp_options_parse("toy", text, table, 5, v, why);
}

static void test_options_are_read(void **state) {
    (void)state;
    values v = {7, 7, false, 7, "seven"};
    assert_int_equal(parse("", &v, NULL), 0);
    assert_int_equal(parse(NULL, &v, NULL), 0);
    assert_true(v.whole == 7 && v.real == 7 && !v.flag && v.word == 7 && !strcmp(v.text, "seven"));
    assert_int_equal(parse("text=a=b:c,flag=1,whole=-5,word=blue,real=-2.5e-1", &v, NULL), 0);
    assert_true(v.whole == -5 && v.real == -0.25 && v.flag && v.word == 2 && !strcmp(v.text, "a=b:c"));
    assert_int_equal(parse("flag=0", &v, NULL), 0);
    assert_true(v.whole == -5 && !v.flag);
}

static void test_reals_equal_strtod(void **state) {
    (void)state;
    static const char *const texts[] = {"0",
                                        "1",
                                        "-1",
                                        "0.1",
                                        ".5",
                                        "5.",
                                        "1e3",
                                        "1E+3",
                                        "1e-3",
                                        "123456.789",
                                        "0.30000000000000004",
                                        "2.2250738585072014e-5",
                                        "1e22",
                                        "-0.000001",
                                        "100000000000000000000",
                                        "1e-999",
                                        "1e-40",
                                        "0.1000000000000000000000001",
                                        "1e29"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char text[64];
        values v = {0};
        snprintf(text, sizeof text, "real=%s", texts[i]);
        assert_int_equal(parse(text, &v, NULL), 0);
        double want = strtod(texts[i], NULL), off = v.real - want;
        if (off < 0) off = -off;
        assert_true(off <= 4e-16 * (want < 0 ? -want : want)); /* one unit in the last place */
    }
}

static void test_faults_are_named(void **state) {
    (void)state;
    static const char *const faults[][2] = {
        {"whle=3", "drafter toy: there is no option 'whle', expected one of whole, real, flag, word, text"},
        {"whole", "drafter toy: 'whole': expected key=value"},
        {"whole=1,", "drafter toy: '': expected key=value"},
        {",whole=1", "drafter toy: '': expected key=value"},
        {"whole=1,,flag=1", "drafter toy: '': expected key=value"},
        {"=1", "drafter toy: there is no option ''"},
        {"whole=1,flag=1,whole=2", "drafter toy: option whole is given twice"},
        {"whole=", "drafter toy: option whole: '' is not a whole number from -5 to 1000000000000000"},
        {"whole=-6", "'-6' is not a whole number from -5"},
        {"whole=3x", "'3x' is not a whole number"},
        {"whole= 3", "' 3' is not a whole number"},
        {"whole=+3", "'+3' is not a whole number"},
        {"whole=3.0", "'3.0' is not a whole number"},
        {"whole=0x3", "'0x3' is not a whole number"},
        {"whole=-", "'-' is not a whole number"},
        {"whole=1000000000000001", "is not a whole number"},
        {"whole=99999999999999999999999999", "is not a whole number"},
        {"real=nan", "drafter toy: option real: 'nan' is not a number from -1e+30 to 1e+30"},
        {"real=inf", "'inf' is not a number"},
        {"real=1e31", "'1e31' is not a number"},
        {"real=1e9999", "'1e9999' is not a number"},
        {"real=1e99999", "'1e99999' is not a number"},
        {"real=", "'' is not a number"},
        {"real=.", "'.' is not a number"},
        {"real=1e", "'1e' is not a number"},
        {"real=1e+-3", "'1e+-3' is not a number"},
        {"real=1.2.3", "'1.2.3' is not a number"},
        {"real=--1", "'--1' is not a number"},
        {"flag=2", "drafter toy: option flag: '2' is not 0 or 1"},
        {"flag=true", "'true' is not 0 or 1"},
        {"word=pink", "drafter toy: option word: 'pink' is not one of red, green, blue"},
        {"word=re", "'re' is not one of"},
        {"text=", "drafter toy: option text: '' is not a text of 1 to 7 bytes"},
        {"text=12345678", "is not a text of 1 to 7 bytes"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        values v = {0};
        spec_message why;
        if (parse(faults[i][0], &v, &why) != SPEC_ERR_INVALID) fail_msg("%s is accepted", faults[i][0]);
        if (!strstr(why.text, faults[i][1]))
            fail_msg("%s: \"%s\" lacks \"%s\"", faults[i][0], why.text, faults[i][1]);
        assert_int_equal(parse(faults[i][0], &v, NULL), SPEC_ERR_INVALID);
    }
}

static void test_long_words_are_cut_in_messages(void **state) {
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    values v = {0};
    spec_message why;
    assert_int_equal(parse(text, &v, &why), SPEC_ERR_INVALID);
    assert_non_null(strstr(why.text, "': expected key=value"));
    memcpy(text, "text=", 5);
    assert_int_equal(parse(text, &v, &why), SPEC_ERR_INVALID);
    assert_non_null(strstr(why.text, "' is not a text"));
}

static void test_a_file_comes_first(void **state) {
    (void)state;
    static const char *const texts[][3] = {
        {"a.gguf", "a.gguf", ""},
        {"a.gguf,len=3", "a.gguf", "len=3"},
        {"/m/a b,x=/y,z", "/m/a b", "x=/y,z"},
        {"./q=4.gguf,len=3", "./q=4.gguf", "len=3"},
        {"123456789012345", "123456789012345", ""},
    };
    static const char *const faults[][2] = {
        {"", "drafter toy: expected a file first: toy:FILE,key=value"},
        {",len=3", "expected a file first"},
        {"len=3", "expected a file first"},
        {"file=/a", "expected a file first"},
        {"=/a,x", "expected a file first"},
        {"a,", "drafter toy: '': expected key=value"},
        {"1234567890123456", "'1234567890123456...': the path is longer than 15 bytes"},
    };
    char file[16];
    const char *rest;
    spec_message why;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(specp_options_file("toy", texts[i][0], file, sizeof file, &rest, NULL), 0);
        assert_string_equal(file, texts[i][1]);
        assert_string_equal(rest, texts[i][2]);
    }
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        int err = specp_options_file("toy", faults[i][0], file, sizeof file, &rest, &why);
        if (err != SPEC_ERR_INVALID || !strstr(why.text, faults[i][1]))
            fail_msg("%s: %d, \"%s\"", faults[i][0], err, why.text);
    }
    assert_int_equal(specp_options_file("toy", NULL, file, sizeof file, &rest, &why), SPEC_ERR_INVALID);
}

/* ---- the built-in drafters --------------------------------------------------------------- */

static const char *const names[] = {"none",   "oracle",      "random",    "suffix",  "mix",
                                    "pld",    "ngram-cache", "ngram-mod", "recycle", "medusa",
                                    "eagle3", "model",       "union",     "cascade"};
#define N_NAMES (sizeof names / sizeof *names)

static void test_every_name_opens(void **state) {
    (void)state;
    for (size_t i = 0; i < N_NAMES; i++) {
        spec_drafter *d = NULL;
        spec_message why = {"left over"};
        assert_string_equal(spec_drafter_builtin(i), names[i]);
        if (specp_drafter_needs_file(names[i])) {
            assert_int_equal(spec_drafter_open(&d, names[i], NULL, &why), SPEC_ERR_INVALID);
            assert_non_null(strstr(why.text, "expected a file first"));
            continue;
        }
        if (spec_drafter_open(&d, names[i], NULL, &why)) fail_msg("%s", why.text);
        assert_string_equal(spec_drafter_name(d), names[i]);
        assert_string_equal(why.text, "");
        spec_drafter_stats s;
        spec_drafter_get_stats(d, &s);
        assert_true(!s.requests && !s.proposals && !s.nodes && !s.index_tokens);
        spec_drafter_free(d);
    }
    assert_null(spec_drafter_builtin(N_NAMES));
    assert_null(spec_drafter_builtin(SIZE_MAX));
}

/* The message about an unknown option lists all that there are: the help must
 * explain each as "key=". */
static void assert_help_is_complete(const char *name) {
    char spec[64];
    spec_drafter *d;
    spec_message why;
    const char *help = spec_drafter_help(name);
    assert_non_null(help);
    assert_true(!strncmp(help, name, strlen(name)) && help[strlen(name)] == ':');
    assert_true(help[strlen(help) - 1] == '\n');
    snprintf(spec, sizeof spec, "%s:%s?=1", name, specp_drafter_needs_file(name) ? "file," : "");
    assert_int_equal(spec_drafter_open(&d, spec, NULL, &why), SPEC_ERR_INVALID);
    char *list = strstr(why.text, "expected one of ");
    if (!list) return; /* it has none */
    for (char *key = strtok(list + 16, ", "); key; key = strtok(NULL, ", ")) {
        char entry[64];
        snprintf(entry, sizeof entry, " %s=", key);
        if (!strstr(help, entry)) fail_msg("the help of %s says nothing about %s", name, key);
    }
}

static void test_help_names_every_option(void **state) {
    (void)state;
    for (size_t i = 0; i < N_NAMES; i++) assert_help_is_complete(names[i]);
    assert_true(specp_drafter_needs_file("medusa") && !specp_drafter_needs_file("suffix"));
    assert_false(specp_drafter_needs_file("nine"));
    assert_null(spec_drafter_help("nine"));
    assert_null(spec_drafter_help(""));
    assert_null(spec_drafter_help(NULL));
}

static void test_open_names_what_it_does_not_understand(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        int err;
        const char *says;
    } cases[] = {
        {"nine", SPEC_ERR_NOT_FOUND,
         "there is no drafter 'nine', expected one of none, oracle, random, suffix, mix, pld, "
         "ngram-cache, ngram-mod, recycle, medusa, eagle3, model, union, cascade"},
        {"", SPEC_ERR_NOT_FOUND, "there is no drafter ''"},
        {":len=3", SPEC_ERR_NOT_FOUND, "there is no drafter ''"},
        {"pl", SPEC_ERR_NOT_FOUND, "'pl'"},
        {"pldx:len=3", SPEC_ERR_NOT_FOUND, "'pldx'"},
        {"PLD", SPEC_ERR_NOT_FOUND, "'PLD'"},
        {"pld:", SPEC_ERR_INVALID, "drafter pld: expected key=value after the colon"},
        {"pld:len", SPEC_ERR_INVALID, "'len': expected key=value"},
        {"pld:len=0", SPEC_ERR_INVALID, "'0' is not a whole number from 1 to 4096"},
        {"pld:lne=3", SPEC_ERR_INVALID, "no option 'lne', expected one of n_max, n_min, len, match, wrap"},
        {"pld:n_min=4", SPEC_ERR_INVALID, "n_min=4 is above n_max=3"},
        {"pld:match=last", SPEC_ERR_INVALID, "'last' is not one of recent, first"},
        {"none:x=1", SPEC_ERR_INVALID, "drafter none: it has no options, but 'x' was given"},
        {"oracle:len=x", SPEC_ERR_INVALID, "drafter oracle: option len"},
        {"random:vocab=0", SPEC_ERR_INVALID, "drafter random: option vocab"},
        {"ngram-cache:shared=yes", SPEC_ERR_INVALID, "'yes' is not 0 or 1"},
        {"ngram-mod:size_mb=0", SPEC_ERR_INVALID, "drafter ngram-mod: option size_mb"},
        {"recycle:nodes=1025", SPEC_ERR_INVALID, "'1025' is not a whole number from 1 to 1024"},
        {"ngram-mod:n=24,n=24", SPEC_ERR_INVALID, "option n is given twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        spec_message why;
        spec_drafter *const none = (spec_drafter *)&why, *d = none;
        assert_int_equal(spec_drafter_open(&d, cases[i].spec, NULL, &why), cases[i].err);
        if (!strstr(why.text, cases[i].says))
            fail_msg("%s: \"%s\" lacks \"%s\"", cases[i].spec, why.text, cases[i].says);
        assert_true(d == none);
        assert_int_equal(spec_drafter_open(&d, cases[i].spec, NULL, NULL), cases[i].err);
    }
    spec_message why;
    spec_drafter *d;
    assert_int_equal(spec_drafter_open(&d, NULL, NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(spec_drafter_open(NULL, "pld", NULL, &why), SPEC_ERR_INVALID);
}

static void test_no_memory_to_open(void **state) {
    (void)state;
    for (size_t i = 0; i < N_NAMES; i++) {
        if (specp_drafter_needs_file(names[i])) continue; /* they have tests of their own */
        support_heap heap;
        support_heap_init(&heap);
        spec_allocator a = support_alloc(&heap);
        size_t refusals = 0;
        for (size_t k = 0;; k++) {
            spec_drafter *d = NULL;
            spec_message why;
            support_heap_refuse(&heap, k, false);
            int err = spec_drafter_open(&d, names[i], &a, &why);
            if (!err) spec_drafter_free(d);
            if (!heap.refused) break;
            assert_int_equal(err, SPEC_ERR_NOMEM);
            assert_non_null(strstr(why.text, names[i]));
            assert_non_null(strstr(why.text, "out of memory"));
            support_heap_assert_clean(&heap);
            refusals++;
        }
        assert_true(refusals > 0);
        support_heap_assert_clean(&heap);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_are_read),
        cmocka_unit_test(test_reals_equal_strtod),
        cmocka_unit_test(test_faults_are_named),
        cmocka_unit_test(test_long_words_are_cut_in_messages),
        cmocka_unit_test(test_a_file_comes_first),
        cmocka_unit_test(test_every_name_opens),
        cmocka_unit_test(test_help_names_every_option),
        cmocka_unit_test(test_open_names_what_it_does_not_understand),
        cmocka_unit_test(test_no_memory_to_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Ends of responses: single cases; random texts, cut into tokens and steps at random, against a
 * plain search of the whole text; refusals and memory.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "spec_stop.h"

#define S(text) ((spec_bytes){text, sizeof text - 1})

static spec_stop *new_stop(const spec_token *tok, size_t n_tok, const spec_bytes *strings, size_t n) {
    spec_stop *s = NULL;
    spec_stop_options o = {sizeof o, tok, n_tok, strings, n};
    spec_message why;
    if (spec_stop_new(&s, &o, NULL, &why)) fail_msg("%s", why.text);
    return s;
}

static spec_stop_result feed(spec_stop *s, const spec_token *tok, const spec_bytes *pieces, size_t n) {
    spec_stop_result r;
    assert_int_equal(spec_stop_feed(s, tok, pieces, n, &r), 0);
    return r;
}

static void assert_result(spec_stop_result r, spec_stop_reason reason, size_t n_tokens, uint64_t n_text) {
    assert_int_equal(r.reason, reason);
    assert_int_equal(r.n_tokens, n_tokens);
    assert_int_equal(r.n_text, n_text);
}

/* ---- single cases ------------------------------------------------------------------- */

static const spec_token any[8] = {10, 11, 12, 13, 14, 15, 16, 17};

static void test_a_string_across_tokens_and_steps(void **state) {
    (void)state;
    spec_stop *s = new_stop(NULL, 0, &S("\nQ:"), 1);
    assert_result(feed(s, any, (spec_bytes[]){S("Par"), S("is."), S("\n")}, 3), SPEC_STOP_NONE, 3, 6);
    spec_stop_result r = feed(s, any, (spec_bytes[]){S("Q"), S(": Wh"), S("at")}, 3);
    assert_result(r, SPEC_STOP_STRING, 2, 6);
    assert_true(r.which == 0 && r.string_end == 9);
    assert_int_equal(spec_stop_feed(s, any, NULL, 1, &r), SPEC_ERR_STATE);
    spec_stop_reset(s);
    assert_result(feed(s, any, (spec_bytes[]){S("\nQ")}, 1), SPEC_STOP_NONE, 1, 0);
    spec_stop_reset(s);
    assert_result(feed(s, any, (spec_bytes[]){S(":")}, 1), SPEC_STOP_NONE, 1, 1);
    spec_stop_reset(s);
    assert_result(feed(s, any, (spec_bytes[]){S("\n"), S("q"), S("\n\nQ"), S(":")}, 4), SPEC_STOP_STRING, 4,
                  3);
    spec_stop_free(s);
}

static void test_text_is_held_back(void **state) {
    (void)state;
    spec_stop *s = new_stop(NULL, 0, (spec_bytes[]){S("ababc"), S("</s>")}, 2);
    assert_result(feed(s, any, (spec_bytes[]){S("xabab")}, 1), SPEC_STOP_NONE, 1, 1);
    assert_result(feed(s, any, (spec_bytes[]){S("ab")}, 1), SPEC_STOP_NONE, 1, 3); /* xab|abab */
    assert_result(feed(s, any, (spec_bytes[]){S("</")}, 1), SPEC_STOP_NONE, 1, 7);
    assert_result(feed(s, any, (spec_bytes[]){S("b")}, 1), SPEC_STOP_NONE, 1, 10);
    assert_result(feed(s, any, NULL, 0), SPEC_STOP_NONE, 0, 10);
    assert_result(feed(s, any, (spec_bytes[]){{NULL, 0}, S("")}, 2), SPEC_STOP_NONE, 2, 10);
    spec_stop_free(s);
}

static void test_tokens_of_the_set(void **state) {
    (void)state;
    spec_stop *s = new_stop((spec_token[]){2, 7}, 2, &S("ab"), 1);
    spec_stop_result r = feed(s, (spec_token[]){5, 7, 2}, (spec_bytes[]){S("xa"), S("b"), S("</s>")}, 3);
    assert_result(r, SPEC_STOP_TOKEN, 2, 2); /* its own piece does not complete "ab" */
    assert_int_equal(r.which, 1);
    spec_stop_reset(s);
    r = feed(s, (spec_token[]){5, 6, 2}, (spec_bytes[]){S("xa"), S("b"), S("")}, 3);
    assert_result(r, SPEC_STOP_STRING, 2, 1);
    spec_stop_reset(s);
    assert_result(feed(s, (spec_token[]){5, 2, 6}, NULL, 3), SPEC_STOP_TOKEN, 2, 0);
    spec_stop_free(s);
    s = NULL;
    assert_int_equal(spec_stop_new(&s, NULL, NULL, NULL), 0);
    assert_result(feed(s, (spec_token[]){2, 7}, (spec_bytes[]){S("</s>"), S("x")}, 2), SPEC_STOP_NONE, 2, 5);
    spec_stop_free(s);
}

static void test_which_of_several(void **state) {
    (void)state;
    spec_bytes strings[] = {S("long stop"), S("stop"), S("g st"), S("stop"), S("\0\xff")};
    spec_stop *s = new_stop(NULL, 0, strings, 5);
    spec_stop_result r = feed(s, any, (spec_bytes[]){S("a long stop")}, 1);
    assert_result(r, SPEC_STOP_STRING, 1, 5); /* "g st" is complete first */
    assert_true(r.which == 2 && r.string_end == 9);
    spec_stop_reset(s);
    r = feed(s, any, (spec_bytes[]){S("a stop")}, 1);
    assert_true(r.which == 1 && r.n_text == 2);
    spec_stop_reset(s);
    r = feed(s, any, (spec_bytes[]){S("a\0"), S("\xff")}, 2);
    assert_true(r.which == 4 && r.n_text == 1);
    spec_stop_free(s);
    s = new_stop(NULL, 0, (spec_bytes[]){S("op"), S("stop")}, 2);
    r = feed(s, any, (spec_bytes[]){S("stop")}, 1);
    assert_true(r.which == 1 && r.n_text == 0); /* of those that end together the longest */
    spec_stop_free(s);
}

/* ---- random texts --------------------------------------------------------------------- */

#define MAX_TEXT    200
#define MAX_STRINGS 4

typedef struct scene {
    char text[MAX_TEXT];
    size_t n_text, n_tokens, n_strings;
    spec_token tok[MAX_TEXT];
    spec_bytes piece[MAX_TEXT], string[MAX_STRINGS];
    char bytes[MAX_STRINGS][8];
    spec_token end; /* ends the response, too */
} scene;

static void make_scene(support_rng *r, scene *c) {
    uint32_t letters = 1 + support_rng_below(r, 3);
    memset(c, 0, sizeof *c);
    c->n_text = support_rng_below(r, MAX_TEXT);
    for (size_t i = 0; i < c->n_text; i++) c->text[i] = (char)('a' + support_rng_below(r, letters));
    c->n_strings = support_rng_below(r, MAX_STRINGS + 1);
    for (size_t i = 0; i < c->n_strings; i++) {
        size_t n = 1 + support_rng_below(r, 8);
        for (size_t k = 0; k < n; k++) c->bytes[i][k] = (char)('a' + support_rng_below(r, letters));
        c->string[i] = (spec_bytes){c->bytes[i], n};
    }
    for (size_t at = 0; at < c->n_text && c->n_tokens < MAX_TEXT;) {
        size_t n = support_rng_below(r, 5), left = c->n_text - at;
        if (n > left) n = left;
        c->piece[c->n_tokens] = (spec_bytes){c->text + at, n};
        c->tok[c->n_tokens++] = (spec_token)support_rng_below(r, 60);
        at += n;
    }
    c->end = (spec_token)support_rng_below(r, 90);
}

/* Whether text[0..n) ends in a string; the longest, of equals the first. */
static bool ends_in(const scene *c, size_t n, size_t *which) {
    size_t longest = 0;
    for (size_t i = 0; i < c->n_strings; i++)
        if (c->string[i].n <= n && c->string[i].n > longest &&
            !memcmp(c->text + n - c->string[i].n, c->string[i].data, c->string[i].n)) {
            longest = c->string[i].n;
            *which = i;
        }
    return longest > 0;
}

/* The longest end of text[0..n) that begins a string. */
static size_t begun(const scene *c, size_t n) {
    size_t longest = 0;
    for (size_t i = 0; i < c->n_strings; i++)
        for (size_t k = 1; k < c->string[i].n && k <= n; k++)
            if (k > longest && !memcmp(c->text + n - k, c->string[i].data, k)) longest = k;
    return longest;
}

/* What is to come out after the first n tokens, when nothing ended before the last `fresh`. */
static spec_stop_result search(const scene *c, size_t n, size_t fresh) {
    spec_stop_result r = {0};
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        r.n_tokens = i + 1 - (n - fresh);
        if (c->tok[i] == c->end) {
            r.reason = SPEC_STOP_TOKEN;
            r.n_text = at;
            return r;
        }
        for (size_t k = 0; k < c->piece[i].n; k++)
            if (ends_in(c, ++at, &r.which)) {
                r.reason = SPEC_STOP_STRING;
                r.string_end = at;
                r.n_text = at - c->string[r.which].n;
                return r;
            }
    }
    r.n_tokens = fresh;
    r.n_text = at - begun(c, at);
    return r;
}

static bool same(spec_stop_result a, spec_stop_result b) {
    return a.reason == b.reason && a.n_tokens == b.n_tokens && a.n_text == b.n_text && a.which == b.which &&
           a.string_end == b.string_end;
}

static void test_random_texts(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    size_t reasons[3] = {0};
    for (int round = 0; round < 20000; round++) {
        scene c;
        make_scene(&r, &c);
        spec_stop *s = new_stop(&c.end, 1, c.string, c.n_strings);
        spec_stop_result got = {0};
        uint64_t shown = 0;
        for (size_t at = 0; at < c.n_tokens && !got.reason;) {
            size_t n = support_rng_below(&r, 6);
            if (n > c.n_tokens - at) n = c.n_tokens - at;
            got = feed(s, c.tok + at, c.piece + at, n);
            at += n;
            spec_stop_result want = search(&c, at, n);
            assert_true(same(got, want));
            assert_true(got.n_text >= shown); /* nothing is taken back */
            shown = got.n_text;
        }
        reasons[got.reason]++;
        spec_stop_free(s);
    }
    assert_true(reasons[0] > 500 && reasons[1] > 500 && reasons[2] > 500);
}

/* ---- refusals ---------------------------------------------------------------------------- */

static void assert_refused(const spec_stop_options *o, const char *says) {
    spec_stop *s = NULL;
    spec_message why;
    assert_int_equal(spec_stop_new(&s, o, NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(spec_stop_new(&s, o, NULL, NULL), SPEC_ERR_INVALID);
    assert_non_null(strstr(why.text, says));
    assert_null(s);
}

static void test_refusals(void **state) {
    (void)state;
    spec_token negative[] = {3, -1};
    spec_bytes hollow[] = {S("a"), {"b", 0}}, nothing[] = {{NULL, 1}};
    assert_refused(&(spec_stop_options){sizeof(spec_stop_options), negative, 2, NULL, 0},
                   "stop token 1 is -1");
    assert_refused(&(spec_stop_options){sizeof(spec_stop_options), NULL, 1, NULL, 0}, "NULL");
    assert_refused(&(spec_stop_options){sizeof(spec_stop_options), NULL, 0, NULL, 1}, "NULL");
    assert_refused(&(spec_stop_options){sizeof(spec_stop_options), NULL, 0, hollow, 2},
                   "stop string 1 is empty");
    assert_refused(&(spec_stop_options){sizeof(spec_stop_options), NULL, 0, nothing, 1},
                   "stop string 0 is empty");
    assert_refused(&(spec_stop_options){0}, "size");
    struct {
        spec_stop_options known;
        size_t more;
    } later = {{.size = sizeof later}, 1};
    spec_stop *none = NULL;
    assert_int_equal(spec_stop_new(&none, &later.known, NULL, NULL), SPEC_ERR_VERSION);
    assert_null(none);
    assert_int_equal(spec_stop_new(NULL, NULL, NULL, NULL), SPEC_ERR_INVALID);
    spec_stop *s = new_stop(NULL, 0, &S("ab"), 1);
    spec_stop_result r = {.n_text = 99};
    assert_int_equal(spec_stop_feed(NULL, any, NULL, 1, &r), SPEC_ERR_INVALID);
    assert_int_equal(spec_stop_feed(s, any, NULL, 1, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_stop_feed(s, NULL, NULL, 1, &r), SPEC_ERR_INVALID);
    assert_int_equal(spec_stop_feed(s, negative, (spec_bytes[]){S("a"), S("b")}, 2, &r), SPEC_ERR_INVALID);
    assert_int_equal(spec_stop_feed(s, any, nothing, 1, &r), SPEC_ERR_INVALID);
    assert_int_equal(r.n_text, 99);
    assert_result(feed(s, any, (spec_bytes[]){S("b")}, 1), SPEC_STOP_NONE, 1, 1); /* the "a" was not taken */
    spec_stop_free(s);
    spec_stop_free(NULL);
}

static void test_memory(void **state) {
    (void)state;
    support_heap h;
    support_heap_init(&h);
    spec_allocator a = support_alloc(&h);
    spec_bytes strings[] = {S("one"), S("three")};
    spec_stop_options o = {sizeof o, any, 3, strings, 2};
    spec_stop *s = NULL;
    size_t k = 0;
    for (;; k++) {
        spec_message why;
        support_heap_refuse(&h, k, k % 2);
        int err = spec_stop_new(&s, &o, &a, &why);
        if (!err) break;
        assert_int_equal(err, SPEC_ERR_NOMEM);
        assert_true(h.refused > 0 && h.live_blocks == 0 && s == NULL && why.text[0]);
    }
    assert_int_equal(k, 7);
    spec_stop_free(s);
    support_heap_assert_clean(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_string_across_tokens_and_steps),
        cmocka_unit_test(test_text_is_held_back),
        cmocka_unit_test(test_tokens_of_the_set),
        cmocka_unit_test(test_which_of_several),
        cmocka_unit_test(test_random_texts),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

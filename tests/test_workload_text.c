/* SPDX-License-Identifier: MIT */
/*
 * What the demo workload is made with: the tokenizer, which loses nothing, and
 * the templates with their grammar.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "workload.h"
#include "workload_gen.h"

#define N_KINDS 6

static workload_vocab *vocabulary(void) {
    workload_vocab *v = NULL;
    assert_int_equal(workload_vocab_new(&v, NULL), SPEC_OK);
    return v;
}

/* A zero-terminated copy of the text of some tokens; free() it. */
static char *text_of(const workload_vocab *v, const spec_token *tok, size_t n) {
    size_t length = workload_text(v, tok, n, NULL);
    char *s = malloc(length + 1);
    assert_non_null(s);
    assert_int_equal(workload_text(v, tok, n, s), length);
    s[length] = 0;
    return s;
}

/* A generator with a grammar of its own, for one test. */
typedef struct bench {
    wl_env env;
    wl_grammar *grammar;
    wl_gen gen;
    wl_buf out;
} bench;

static void bench_open(bench *b, const wl_rule *rule, size_t n) {
    wl_rule_table table = {rule, n};
    memset(b, 0, sizeof *b);
    assert_int_equal(wl_grammar_new(&b->grammar, &table, 1, NULL), SPEC_OK);
    b->env.grammar = b->grammar;
    wl_gen_init(&b->gen, &b->env, wl_stream(support_seed(), 0, 0));
    wl_buf_init(&b->out, &b->env);
}

static void bench_close(bench *b) {
    wl_gen_free(&b->gen);
    wl_buf_free(&b->out);
    wl_grammar_free(b->grammar);
}

static const char *said(bench *b, const char *template) {
    wl_clear(&b->out);
    wl_say(&b->gen, &b->out, template);
    return wl_str(&b->out);
}

/* ---- the tokenizer ------------------------------------------------------ */

static void assert_round_trip(const workload_vocab *v, const char *text, size_t n) {
    spec_token *tok = malloc((n + 1) * sizeof *tok);
    char *back = malloc(n + 1);
    assert_non_null(tok);
    assert_non_null(back);
    size_t n_tok = workload_encode(v, text, n, tok);
    assert_true(n_tok <= n);
    for (size_t i = 0; i < n_tok; i++) assert_in_range(tok[i], 0, workload_vocab_size(v) - 1);
    assert_int_equal(workload_text(v, tok, n_tok, NULL), n);
    assert_int_equal(workload_text(v, tok, n_tok, back), n);
    assert_memory_equal(back, text, n);
    free(tok);
    free(back);
}

static void test_any_bytes_round_trip(void **state) {
    (void)state;
    workload_vocab *v = vocabulary();
    support_rng r = support_rng_new(support_seed(), 1);
    char text[200];
    assert_round_trip(v, "", 0);
    for (int round = 0; round < 300; round++) {
        size_t n = support_rng_below(&r, sizeof text);
        bool letters = support_rng_chance(&r, 0.5);
        for (size_t i = 0; i < n; i++)
            text[i] = (char)(letters ? " etaoinshrd_0123456789\n"[support_rng_below(&r, 23)]
                                     : (int)support_rng_below(&r, 256));
        assert_round_trip(v, text, n);
    }
    workload_vocab_free(v);
}

static void test_generated_text_round_trips(void **state) {
    (void)state;
    workload_vocab *v = vocabulary();
    wl_grammar *g = NULL;
    assert_int_equal(wl_workload_grammar(&g, NULL), SPEC_OK);
    wl_env env = {NULL, g, SPEC_OK};
    wl_buf prompt, response;
    wl_buf_init(&prompt, &env);
    wl_buf_init(&response, &env);
    for (size_t k = 0; k < N_KINDS; k++) {
        wl_source s = {0};
        assert_int_equal(wl_source_open(&s, k, support_seed(), &env), SPEC_OK);
        for (int i = 0; i < 20; i++) {
            assert_non_null(wl_source_next(&s, &prompt, &response));
            assert_round_trip(v, wl_str(&prompt), prompt.n);
            assert_round_trip(v, wl_str(&response), response.n);
        }
        wl_source_close(&s);
    }
    wl_buf_free(&prompt);
    wl_buf_free(&response);
    wl_grammar_free(g);
    workload_vocab_free(v);
}

/* Every id stands for a string that encodes to this id alone: the table holds
 * no string twice, and matching is longest first. */
static void test_every_id_is_its_own(void **state) {
    (void)state;
    workload_vocab *v = vocabulary();
    size_t n = workload_vocab_size(v);
    assert_in_range(n, 5000, 20000);
    for (spec_token id = 0; (size_t)id < n; id++) {
        char *s = text_of(v, &id, 1);
        spec_token tok[64] = {-1};
        size_t length = id < 256 ? 1 : strlen(s);
        assert_in_range(length, 1, 64);
        assert_int_equal(workload_encode(v, s, length, tok), 1);
        assert_int_equal(tok[0], id);
        free(s);
    }
    workload_vocab_free(v);
}

static void test_token_ranges(void **state) {
    (void)state;
    workload_vocab *v = vocabulary();
    spec_token tok[8];
    assert_int_equal(workload_encode(v, "42", 2, tok), 1);
    assert_int_equal(tok[0], 256 + 42);
    assert_int_equal(workload_encode(v, "1234", 4, tok), 2);
    assert_int_equal(tok[0], 356 + 123);
    assert_int_equal(tok[1], '4');
    assert_int_equal(workload_encode(v, " the house", 10, tok), 2);
    const spec_token outside[3] = {'a', -1, (spec_token)workload_vocab_size(v)};
    char *s = text_of(v, outside, 3);
    assert_string_equal(s, "a??");
    free(s);
    workload_vocab_free(v);
}

/* ---- templates ---------------------------------------------------------- */

static void test_template_slots(void **state) {
    (void)state;
    static const wl_rule rules[] = {
        {"x", "dog", 0, WL_NOUN},
        {"y", "city", 0, WL_NOUN},
        {"v", "bake", 0, WL_VERB},
        {"z", "box", 0, WL_NOUN},
        {"w", "carry", 0, WL_VERB},
        {"o", "hour", 0, WL_NOUN},
        {"u", "union", 0, WL_NOUN},
        {"i", "idea", 0, WL_NOUN},
        {"h", "house", 0, WL_NOUN},
        {"deep", "end|({deep})|({deep})|({deep})|({deep})|({deep})|({deep})|({deep})", 0, WL_PHRASE},
    };
    bench b;
    bench_open(&b, rules, WL_COUNT(rules));
    assert_string_equal(said(&b, "{x} {^x} {x.s} {y.s} {z.s}"), "dog Dog dogs cities boxes");
    assert_string_equal(said(&b, "{v.s} {v.ed} {v.ing} {w.ed} {w.s}"), "bakes baked baking carried carries");
    assert_string_equal(said(&b, "{a} {x}, {a} {i}, {a} {o}"), "a dog, an idea, an hour");
    assert_string_equal(said(&b, "{^a} {h}, {a} {u}, {a} egg"), "A house, a union, an egg");
    assert_string_equal(said(&b, "{ x } {\"x\": {}} }{"), "{ x } {\"x\": {}} }{");
    for (int i = 0; i < 50; i++) {
        int n = atoi(said(&b, "{#7-9}"));
        assert_in_range(n, 7, 9);
        assert_true(strlen(said(&b, "{deep}")) <= 3 + 2 * (WL_DEEP + 2));
    }
    wl_bind(&b.gen, "k", "{x}");
    wl_bind(&b.gen, "k", "{$k} and {$k.s}");
    assert_string_equal(said(&b, "{^$k}!"), "Dog and dogs!");
    assert_string_equal(wl_bound(&b.gen, "k"), "dog and dogs");
    assert_string_equal(wl_bound(&b.gen, "none"), "");
    assert_int_equal(b.env.err, SPEC_OK);
    bench_close(&b);
}

static void test_template_errors_stick(void **state) {
    (void)state;
    static const wl_rule rules[] = {{"x", "dog", 0, WL_NOUN}};
    static const struct {
        const char *template;
        int err;
    } cases[] = {
        {"{nobody}", SPEC_ERR_NOT_FOUND}, {"{$nobody}", SPEC_ERR_NOT_FOUND}, {"{#9-7}", SPEC_ERR_INVALID}};
    for (size_t i = 0; i < WL_COUNT(cases); i++) {
        bench b;
        bench_open(&b, rules, 1);
        said(&b, cases[i].template);
        assert_int_equal(b.env.err, cases[i].err);
        size_t n = b.out.n;
        wl_say(&b.gen, &b.out, "{x}");
        assert_int_equal(b.out.n, n);
        bench_close(&b);
    }
}

static void test_splice(void **state) {
    (void)state;
    bench b;
    static const wl_rule rules[] = {{"x", "dog", 0, WL_NOUN}};
    bench_open(&b, rules, 1);
    wl_put(&b.out, "one two three");
    wl_splice(&b.out, 4, 3, "twenty");
    assert_string_equal(wl_str(&b.out), "one twenty three");
    wl_splice(&b.out, b.out.n, 0, "!");
    wl_splice(&b.out, 0, 4, "");
    assert_string_equal(wl_str(&b.out), "twenty three!");
    wl_splice(&b.out, b.out.n - 1, 2, "");
    assert_int_equal(b.env.err, SPEC_ERR_INVALID);
    assert_string_equal(wl_str(&b.out), "twenty three!");
    bench_close(&b);
}

static void test_rules_are_complete(void **state) {
    (void)state;
    static const wl_rule rules[] = {{"x", "dog|{x} {$free} {#1-2} {a} {lost.s}", 0, WL_PHRASE}};
    char name[32];
    bench b;
    bench_open(&b, rules, 1);
    assert_string_equal(wl_grammar_undefined(b.grammar, name, sizeof name), "lost");
    bench_close(&b);
    wl_grammar *g = NULL;
    assert_int_equal(wl_workload_grammar(&g, NULL), SPEC_OK);
    assert_null(wl_grammar_undefined(g, name, sizeof name));
    wl_grammar_free(g);
}

/* Shares of the ranks of 1 / (rank + skew), from 200,000 draws of a fixed seed. */
static void test_skew(void **state) {
    (void)state;
    enum { DRAWS = 200000 };
    size_t seen[4] = {0};
    double weight[4], total = 0;
    wl_rng r = wl_stream(1, 2, 3);
    for (int i = 0; i < DRAWS; i++) seen[wl_skewed(&r, 4, 2)]++;
    for (int i = 0; i < 4; i++) total += weight[i] = 1.0 / (i + 2);
    for (int i = 0; i < 4; i++) {
        double share = (double)seen[i] / DRAWS, want = weight[i] / total;
        assert_true(share > want - 0.005 && share < want + 0.005);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_bytes_round_trip),
        cmocka_unit_test(test_generated_text_round_trips),
        cmocka_unit_test(test_every_id_is_its_own),
        cmocka_unit_test(test_token_ranges),
        cmocka_unit_test(test_template_slots),
        cmocka_unit_test(test_template_errors_stick),
        cmocka_unit_test(test_splice),
        cmocka_unit_test(test_rules_are_complete),
        cmocka_unit_test(test_skew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

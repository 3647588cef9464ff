/* SPDX-License-Identifier: MIT */
/* specbench train mix as a user meets it: priors are made, can be used, and hold no text. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli_run.h"
#include "mix_model.h"
#include "spec_index.h"

/* Responses that repeat themselves with a change now and then. */
static void write_trace(const char *name, unsigned seed, int requests) {
    FILE *f = fopen(cli_at(name), "w");
    assert_non_null(f);
    support_rng rng = support_rng_new(seed, 0);
    for (int i = 0; i < requests; i++) {
        fprintf(f, "{\"prompt\":[7],\"response\":[");
        for (int k = 0; k < 120; k++) {
            bool change = support_rng_below(&rng, 6) == 0;
            fprintf(f, "%s%u", k ? "," : "",
                    change ? 100 + support_rng_below(&rng, 9) : 10 + (unsigned)k % 12);
        }
        fprintf(f, "]}\n");
    }
    assert_int_equal(fclose(f), 0);
}

static int set_up(void **state) {
    cli_set_up(state);
    write_trace("a.jsonl", 1, 20);
    write_trace("b.jsonl", 2, 20);
    write_trace("c.jsonl", 3, 6);
    return 0;
}

static void test_priors_help(void **state) {
    (void)state;
    cli_expect("train mix @/a.jsonl @/b.jsonl -o @/p.mix", 0, "a                  ", "");
    cli_expect("corpus info @/p.mix", 0, "learned state", "");
    double nothing = cli_figure("replay -q -d mix:priors=none --no-shared --budget 4 --json - @/c.jsonl",
                                "tokens_per_step");
    double taught = cli_figure("replay -q -d mix:priors=@/p.mix --no-shared --budget 4 --json - @/c.jsonl",
                               "tokens_per_step");
    printf("# %.3f tokens a step, without priors %.3f\n", taught, nothing);
    assert_true(taught > 1.01 * nothing);
}

static void test_the_same_traces_give_the_same_bytes(void **state) {
    (void)state;
    size_t n, m;
    cli_expect("train mix -q @/a.jsonl @/b.jsonl -o @/p1.mix", 0, "", "");
    cli_expect("train mix -q @/a.jsonl @/b.jsonl -o @/p2.mix", 0, "", "");
    char *one = support_read_file(cli_at("p1.mix"), &n), *two = support_read_file(cli_at("p2.mix"), &m);
    assert_int_equal(n, m);
    assert_memory_equal(one, two, n);
    free(one);
    free(two);
}

/* No token, no trace of a vocabulary. */
static void test_no_text_stays(void **state) {
    (void)state;
    spec_index *x;
    spec_index_load_options load = {.size = sizeof load};
    spec_index_stats st;
    size_t n;
    cli_expect("train mix -q @/a.jsonl -o @/p.mix", 0, "", "");
    assert_int_equal(spec_index_load(&x, cli_at("p.mix"), &load, NULL), SPEC_OK);
    assert_int_equal(spec_index_get_stats(x, &st), SPEC_OK);
    assert_int_equal(st.tokens, 0);
    mix_tables *t = malloc(sizeof *t);
    mix_state *s = malloc(2 * sizeof *s), *start = s + 1;
    assert_true(t && s);
    specp_mix_tables(t);
    specp_mix_start(start, t);
    const void *data = spec_index_attachment(x, &n);
    assert_int_equal(specp_mix_state_read(s, t, data, n, "p.mix", NULL), SPEC_OK);
    assert_memory_equal(s->token, start->token, sizeof s->token);
    assert_memory_equal(s->by_last, start->by_last, sizeof s->by_last);
    assert_true(memcmp(s->evidence, start->evidence, sizeof s->evidence) != 0);
    free(s);
    free(t);
    spec_index_free(x);
}

/* What --c-source writes is what specp_mix_taught reads: the built-in priors, written and read by a
 * program of their own, come back within their rounding. */
static void test_the_c_source(void **state) {
    (void)state;
    size_t n;
    cli_expect("train mix -q @/a.jsonl -o @/p.mix --c-source @/p.c", 0, "", "");
    char *text = support_read_file(cli_at("p.c"), &n);
    cli_has(text, "const char *const specp_mix_priors[] = {");
    size_t lines = 0;
    for (char *at = text; (at = strstr(at, "\n    \"")); at++) {
        assert_memory_equal(at + 6 + 2 * MIX_PRIOR_PAIRS, "\",\n", 3);
        assert_null(memchr(at + 6, '\\', 2 * MIX_PRIOR_PAIRS));
        assert_null(memchr(at + 6, '?', 2 * MIX_PRIOR_PAIRS));
        lines++;
    }
    size_t ours = 0;
    while (specp_mix_priors[ours]) ours++;
    assert_int_equal(lines, ours);
    assert_true(lines > 100);
    free(text);
}

static void test_bad_usage(void **state) {
    (void)state;
    cli_expect("train mix", 2, "", "expected a trace file");
    cli_expect("train mix @/a.jsonl", 2, "", "expected -o FILE");
    cli_expect("train mix @/a.jsonl -o @/x,y.mix", 2, "", "holds a comma");
    cli_expect("train mix @/a.jsonl -o @/a.jsonl", 2, "", "a.jsonl");
    cli_expect("train mix @/a.jsonl -o @/no/where.mix", 2, "", "no/where.mix");
    cli_expect("train mix @/missing.jsonl -o @/n.mix", 2, "", "missing.jsonl");
    cli_expect("train mix @/cut.jsonl -o @/n.mix", 2, "", "cut.jsonl");
    assert_int_not_equal(access(cli_at("n.mix"), F_OK), 0);
    assert_int_not_equal(access(cli_at("n.mix.part"), F_OK), 0);
    cli_expect("replay -d mix:priors=@/a.jsonl @/a.jsonl", 2, "", "a.jsonl");
    cli_expect("train mix --help", 0, "specbench train mix", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_priors_help),   cmocka_unit_test(test_the_same_traces_give_the_same_bytes),
        cmocka_unit_test(test_no_text_stays), cmocka_unit_test(test_the_c_source),
        cmocka_unit_test(test_bad_usage),
    };
    return cmocka_run_group_tests(tests, set_up, cli_tear_down);
}

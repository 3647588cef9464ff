/* SPDX-License-Identifier: MIT */
/* specbench report: the figures of JSON reports as tables in Markdown. */
#include "cli_run.h"

#include <string.h>

#define REPORT                                                                                               \
    "{\"schema\":\"specbench/1\",\"settings\":{\"budget\":8,\"batch\":2,\"temperature\":0.5},"               \
    "\"workloads\":[{\"name\":\"a\",\"requests\":6,\"response_tokens\":360},"                                \
    "{\"name\":\"b\",\"requests\":1,\"response_tokens\":2}],\"runs\":["                                      \
    "{\"drafter\":\"plain\",\"workload\":\"a\",\"steps\":10,\"tokens_drafted\":0,\"hit_rate\":0,"            \
    "\"top1\":null,\"tokens_per_step\":1},"                                                                  \
    "{\"drafter\":\"union:eagle3:x/y.z/e.gguf,k=2+suffix:corpus=/c/d|e+medusa:m,tree=0/1/00\","              \
    "\"workload\":\"a\",\"steps\":10,\"tokens_drafted\":25,\"hit_rate\":0.5,\"top1\":0.25,"                  \
    "\"acceptance_rate\":0.125,\"tokens_per_step\":2.5,\"ci95\":{\"tokens_per_step\":[2.25,2.75]},"          \
    "\"draft_us\":{\"mean\":12.75},\"verify_us\":{\"mean\":1234.5},\"speedup\":1.75,"                        \
    "\"speedup_ci95\":[1.5,2],\"identical\":false},"                                                         \
    "{\"drafter\":\"pld\",\"workload\":\"b\",\"steps\":1,\"tokens_drafted\":0,\"tokens_per_step\":2}]}"

static void test_the_tables(void **state) {
    (void)state;
    cli_write("r.json", REPORT);
    cli_expect(
        "report @/r.json", 0,
        "\n**a**: 6 requests, 360 response tokens, temperature 0.5, budget 8, batch 2\n\n"
        "| drafter | hit % | top-1 % | drafted / step | kept % | tokens / step | 95% | draft us | "
        "verify us | speedup | 95% | same |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        "| plain | 0.0 | - | 0.00 | - | 1.00 | - | - | - | - | - | - |\n"
        "| union:eagle3:e.gguf,k=2+suffix:corpus=d\\|e+medusa:m,tree=0/1/00 | 50.0 | 25.0 | 2.50 | 12.5 | "
        "2.50 | 2.25-2.75 | 12.8 | 1234 | 1.75 | 1.50-2.00 | **NO** |\n"
        "\n**b**: 1 request, 2 response tokens",
        "");
    cli_expect("report @/r.json @/r.json -o @/t.md", 0, "", "");
    cli_expect("report @/t.md", 2, "", "t.md, line ");
}

/* A figure that is not there, and a drafter that did not run on a workload. */
static void test_across(void **state) {
    (void)state;
    cli_write("r.json", REPORT);
    cli_write("s.json",
              "{\"schema\":\"specbench/1\",\"settings\":{\"temperature\":0},\"workloads\":[{\"name\":\"c\"}],"
              "\"runs\":[{\"drafter\":\"pld\",\"hit_rate\":0.75,\"tokens_per_step\":1.5}]}");
    cli_expect("report @/r.json @/s.json --across tokens_per_step --across hit_rate", 0,
               "\n| tokens / step | a, T 0.5 | b, T 0.5 | c |\n|---|---:|---:|---:|\n"
               "| plain | 1.00 | - | - |\n"
               "| union:eagle3:e.gguf,k=2+suffix:corpus=d\\|e+medusa:m,tree=0/1/00 | 2.50 | - | - |\n"
               "| pld | - | 2.00 | 1.50 |\n"
               "\n| hit % | a, T 0.5 | b, T 0.5 | c |\n|---|---:|---:|---:|\n"
               "| plain | 0.0 | - | - |\n",
               "");
    cli_expect("report @/r.json --across draft_us", 0, "| 12.8 | - |", "");
    cli_write("twins.json", "{\"schema\":\"specbench/1\",\"workloads\":[{\"name\":\"c\"}],\"runs\":["
                            "{\"drafter\":\"medusa:a/m.gguf\",\"tokens_per_step\":1},"
                            "{\"drafter\":\"medusa:b/m.gguf\",\"tokens_per_step\":2}]}");
    cli_expect("report @/twins.json --across tokens_per_step", 0,
               "| medusa:a/m.gguf | 1.00 |\n| medusa:b/m.gguf | 2.00 |\n", "");
    cli_expect("report @/twins.json", 0, "| medusa:b/m.gguf | 2.00 |\n", "");
    cli_expect("report @/r.json --across identical", 2, "", "found 'identical'");
    cli_expect("report @/r.json --across tokens", 2, "", "found 'tokens'");
}

/* What the other commands write is what this one reads. */
static void test_a_replay(void **state) {
    (void)state;
    cli_expect("replay @/good.jsonl -d pld -d suffix -q --json @/x.json", 0, "", "");
    cli_expect("report @/x.json", 0, "| pld |", "");
    cli_expect("report @/x.json", 0, "good", "");
}

#define CALIBRATED                                                                                           \
    "{\"schema\":\"specbench/1\",\"settings\":{\"budget\":8,\"min_prob\":0.25},"                             \
    "\"workloads\":[{\"name\":\"a\",\"requests\":6,\"response_tokens\":360}],\"runs\":["                     \
    "{\"drafter\":\"x|y\\ttab\",\"workload\":\"a\",\"steps\":3,\"tokens_drafted\":6,\"share_of_limit\":0.5," \
    "\"match_lengths\":[{\"from\":2,\"to\":null,\"steps\":3,\"top1\":0.125}],"                               \
    "\"calibration\":{\"nodes\":5,\"ece\":0.0123,\"bias\":-0.01,\"expected_per_step\":1.25,"                 \
    "\"accepted_per_step\":1.5,\"bins\":[{\"from\":0,\"to\":0.05,\"nodes\":0,\"said\":null},"                \
    "{\"from\":0.05,\"to\":0.1,\"nodes\":5,\"accepted\":1,\"said\":0.0625,\"was\":0.2}]}},"                  \
    "{\"drafter\":\"none\",\"workload\":\"a\",\"calibration\":{\"nodes\":0,\"ece\":null,\"bins\":[]}}]}"

static void test_calibration(void **state) {
    (void)state;
    cli_write("c.json", CALIBRATED);
    cli_expect("report @/c.json --calibration", 0,
               "\n**a**: 6 requests, 360 response tokens, budget 8; % said: % accepted\n\n"
               "| probability | x\\|y\ttab |\n|---|---:|\n"
               "| 0.05-0.10 | 6.2: 20.0 |\n"
               "| ECE, bias (points) | 1.2, -1.0 |\n"
               "| accepted a step | 1.25: 1.50 |\n",
               "");
    cli_expect("report @/c.json", 0, "| limit % | ECE % |", "");
    cli_expect("report @/c.json --across ece --across share_of_limit", 0,
               "| 1.2 |\n| none | - |\n\n| limit % | a |\n|---|---:|\n", "");
    cli_write("r.json", REPORT);
    cli_result r = cli_run("report @/r.json --calibration"); /* an old report: nothing to show */
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, "");
    cli_release(&r);
}

/* The field of a line's number, from 0 on, into buf. */
static const char *field(const char *text, size_t line, size_t number, char buf[80]) {
    for (; line; line--) text = strchr(text, '\n') + 1;
    for (; number; number--) text = strpbrk(text, "\t\n") + 1;
    snprintf(buf, 80, "%.*s", (int)strcspn(text, "\t\n"), text);
    return buf;
}

static size_t count(const char *text, char c) {
    size_t n = 0;
    for (; *text; text++) n += *text == c;
    return n;
}

static void test_lists(void **state) {
    (void)state;
    char buf[80];
    cli_write("c.json", CALIBRATED);
    cli_result r = cli_run("report @/c.json @/c.json --list runs");
    assert_int_equal(r.code, 0);
    assert_int_equal(count(r.out, '\n'), 5);
    assert_int_equal(count(r.out, '\t') % 5, 0); /* every line has all fields */
    assert_string_equal(field(r.out, 1, 1, buf), "x|y tab");
    assert_string_equal(field(r.out, 2, 1, buf), "none");
    for (size_t i = 0; strcmp(field(r.out, 0, i, buf), "ece"); i++)
        if (!strcmp(buf, "drafted_per_step")) assert_string_equal(field(r.out, 3, i, buf), "2");
    cli_has(r.out, "\t0.0123\t-0.01\t1.25\t1.5\n");
    cli_release(&r);
    cli_expect("report @/c.json --list bins", 0,
               "workload\tdrafter\tbudget\tmin_prob\ttemperature\tfrom\tto\tnodes\taccepted\tsaid\twas\n"
               "a\tx|y tab\t8\t0.25\t-\t0\t0.05\t0\t-\t-\t-\n"
               "a\tx|y tab\t8\t0.25\t-\t0.05\t0.1\t5\t1\t0.0625\t0.2\n",
               "");
    cli_expect("report @/c.json --list matches", 0, "a\tx|y tab\t8\t0.25\t-\t2\t-\t3\t-\t-\t0.125\t-\t-\t-\n",
               "");
    cli_expect("report @/c.json --list match", 2, "", "expected runs, bins or matches, found 'match'");
    cli_expect("report @/c.json --list runs --calibration", 2, "", "exclude one another");
    cli_expect("report @/c.json --list runs --across ece", 2, "", "exclude one another");
    cli_expect("report @/c.json --list runs -o @/runs.tsv", 0, "", "");
}

/* bench/study.sh on figures that can be computed by hand: the oracle drafts 2 on one file, 3 on the other. */
static void test_study(void **state) {
    (void)state;
    cli_write("ask.jsonl", "{\"turns\":[\"no response\"]}\n");
    cli_result r =
        cli_run("--version >@/list; mkdir @/traces; cp @/good.jsonl @/traces/2.jsonl; "
                "cp @/other.jsonl @/traces/3.jsonl; cp @/ask.jsonl @/traces; "
                "BUDGETS='16 2' FLOORS='0 0.5' TUNE=4 bench/study.sh @/study @/traces 'named oracle:len=%s'");
    if (r.code) fail_msg("%s", r.err);
    assert_null(strstr(r.err, "ask"));
    cli_release(&r);
    char *tables = support_read_file(cli_at("study/tables.md"), NULL);
    cli_has(tables, "| drafter | 2 | 16 |\n");
    cli_has(tables, "| none | 1.00 | 1.00 |\n");
    cli_has(tables, "| named | 2.58 | 2.83 |\n"); /* sqrt(10/4 16/6), sqrt(10/4 16/5) */
    cli_has(tables, "| named | 1.8 | 2.2 |\n");   /* (7/4 + 11/6) / 2, (7/4 + 13/5) / 2 nodes */
    cli_has(tables, "| arctic | 1.000 | 1.000 |\n");
    cli_has(tables, "over the reference at its best settings");
    cli_has(tables, "| *geometric mean* | 1.00 | ");
    cli_has(tables, "## Tokens per step (95%), 16 nodes\n");
    cli_has(tables, "## Top-1 by match length, 16 nodes");
    assert_null(strstr(tables, "nan"));
    free(tables);
    char *runs = support_read_file(cli_at("study/runs.tsv"), NULL);
    cli_has(runs, "\nnamed\t2\toracle:len=2\t16\t");
    cli_has(runs, "\nnamed\t3\toracle:len=3\t2\t");
    free(runs);
    char *sweep = support_read_file(cli_at("study/sweep.tsv"), NULL);
    cli_has(sweep, "\nsuffix\t2\tsuffix:min_prob=0,nodes=64\t64\t0.5\t");
    free(sweep);
    r = cli_run("--version >@/list; bench/study.sh @/study2 @/nowhere");
    assert_int_equal(r.code, 2);
    cli_has(r.err, "there is no folder '");
    cli_release(&r);
    r = cli_run("--version >@/list; mkdir @/empty; cp @/ask.jsonl @/empty; bench/study.sh @/study2 @/empty");
    assert_int_equal(r.code, 2);
    cli_has(r.err, "no trace file in '");
    cli_release(&r);
}

static void test_refused(void **state) {
    (void)state;
    cli_write("cut.json", "{\"schema\":");
    cli_write("foreign.json", "{\"schema\":\"other/7\"}");
    cli_write("bare.json", "{\"schema\":\"specbench/1\",\"runs\":3}");
    cli_write("list.json", "[]");
    cli_expect("report", 2, "", "expected a JSON report");
    cli_expect("report @/none.json", 2, "", "none.json");
    cli_expect("report @/cut.json", 2, "", "cut.json, line 1");
    cli_expect("report @/foreign.json", 2, "", "other/7");
    cli_expect("report @/bare.json", 2, "", "no runs");
    cli_expect("report @/list.json", 2, "", "schema 'none'");
    cli_write("r.json", REPORT);
    cli_expect("report @/r.json -o @/r.json", 2, "", "r.json");
    cli_expect("report @/r.json -o @/none/t.md", 2, "", "-o");
    cli_expect("report @/r.json -o /dev/full", 2, "", "-o");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_tables),  cmocka_unit_test(test_across), cmocka_unit_test(test_a_replay),
        cmocka_unit_test(test_calibration), cmocka_unit_test(test_lists),  cmocka_unit_test(test_study),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, cli_set_up, cli_tear_down);
}

/* SPDX-License-Identifier: MIT */
/*
 * specbench as a user meets it: the built program is run, and what it prints,
 * writes and returns is compared with what it should. Here its words, replay and
 * the reports; test_cli_files.c has bad input, corpora, the demo and recorded
 * outputs.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_run.h"

/* ---- the program itself --------------------------------------------------- */

static void test_words(void **state) {
    (void)state;
    cli_expect("", 2, "", "Usage: specbench COMMAND");
    cli_expect("--version", 0, "specbench " SPEC_VERSION_STRING "\n", "");
    cli_expect("--help", 0, "Usage: specbench COMMAND", "");
    cli_expect("help", 0, "replay    acceptance of drafters", "");
    cli_expect("help --help", 0, "replay    acceptance of drafters", "");
    cli_expect("replya", 2, "", "specbench: there is no command 'replya'; did you mean 'replay'?");
    cli_expect("frobnicate", 2, "",
               "specbench: there is no command 'frobnicate'; 'specbench help' lists them");
    cli_expect("help replay", 0, "Usage: specbench replay [OPTION]... TRACE...", "");
    cli_expect("help drafters", 0, "pld", "");
    cli_expect("help suffix", 0, "preset=", "");
    cli_expect("help nonsense", 2, "", "there is no command 'nonsense'");
    cli_expect("corpus", 2, "", "Usage: specbench corpus");
    cli_expect("corpus --help", 0, "merge   -o FILE FILE FILE...", "");
    cli_expect("help corpus build", 0, "Usage: specbench corpus build", "");
    cli_expect("corpus inof x", 2, "", "there is no command 'inof'; did you mean 'info'?");
}

static void test_help_pages(void **state) {
    (void)state;
    static const char *const commands[] = {"replay",       "demo",         "corpus build", "corpus info",
                                           "corpus merge", "corpus evict", "speed"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char words[64];
        snprintf(words, sizeof words, "%s --help", commands[i]);
        cli_result r = cli_run(words);
        assert_int_equal(r.code, 0);
        assert_string_equal(r.err, "");
        cli_has(r.out, "Usage: specbench ");
        cli_has(r.out, "Options:\n");
        cli_has(r.out, "-h, --help");
        cli_has(r.out, "Examples:\n  specbench ");
        cli_lines_fit(r.out);
        cli_release(&r);
    }
    cli_result r = cli_run("corpus --help");
    cli_lines_fit(r.out);
    cli_release(&r);
}

static void test_bad_options(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"replay", "specbench replay: expected a trace file"},
        {"replay --budgt 3 @/good.jsonl", "there is no option --budgt; did you mean --budget?"},
        {"replay --xyzzy @/good.jsonl", "there is no option --xyzzy\n"},
        {"replay -z @/good.jsonl", "there is no option -z"},
        {"replay @/good.jsonl --budget", "--budget: expected N behind it"},
        {"replay @/good.jsonl -b 0", "-b: '0' is not a whole number from 1 to 4096"},
        {"replay @/good.jsonl --budget=4097", "--budget: '4097' is not a whole number from 1 to 4096"},
        {"replay @/good.jsonl -b 6x", "-b: '6x' is not a whole number"},
        {"replay @/good.jsonl -b -3", "-b: '-3' is not a whole number"},
        {"replay @/good.jsonl --seed 99999999999999999999",
         "is not a whole number from 0 to 9223372036854775807"},
        {"replay @/good.jsonl --groups=1", "--groups takes no value"},
        {"replay @/good.jsonl --json ''", "--json: expected FILE, found nothing"},
        {"replay @/good.jsonl -d nosuch", "-d nosuch: there is no drafter 'nosuch', expected one of none"},
        {"replay @/good.jsonl -d pld:x=1", "-d pld:x=1: drafter pld: there is no option 'x'"},
        {"replay @/good.jsonl --warm @/other.jsonl --no-shared", "give one of them"},
        {"replay @/good.jsonl -d pld --corpus @/x.idx", "--corpus needs a suffix drafter"},
        {"replay @/good.jsonl --corpus a,b", "holds a comma"},
        {"replay @/good.jsonl --cost-model @/nosuch", "nosuch: cannot open: No such file"},
        {"replay @/good.jsonl --cost-model @/good.jsonl", "good.jsonl: line 2: not valid JSON"},
        {"demo extra", "'extra' is one argument too many; expected only options"},
        {"corpus build @/good.jsonl", "expected -o FILE, where the snapshot goes"},
        {"corpus merge -o @/x @/y", "expected two snapshot files or more"},
        {"corpus evict -o @/x @/y", "expected --max-tokens N"},
        {"corpus info", "expected a snapshot file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) cli_expect(cases[i][0], 2, "", cases[i][1]);
    assert_int_not_equal(access(cli_at("x"), F_OK), 0); /* nothing was left behind */
}

/* ---- replay: what it prints ---------------------------------------------- */

/* By hand, budget 64. `none`: 10 tokens in 10 steps. `oracle`: each response in
 * one step. Copying at its best: request 1 ends its prompt with 4, which nothing
 * follows: 2; then (2) 3 4 and 9, making 2 steps. Request 2 begins after 5: 2;
 * then (2) 3 4 9 and 7; then (7) is there, but 7 7 is not: 7. Making 3. */
static void test_table(void **state) {
    (void)state;
    cli_result r = cli_run("replay @/good.jsonl -d none -d oracle");
    assert_int_equal(r.code, 0);
    assert_string_equal(r.err, "");
    cli_has(r.out, "specbench replay, budget 64\n\ngood: 2 requests, 5 prompt and 10 response tokens\n\n");
    cli_has(r.out, "drafter              tok/step         95%  hit%   T1% kept% limit%  even speedup\n");
    cli_has(r.out, "none                     1.00   1.00-1.00   0.0     -     -   50.0  1.00    1.00\n");
    cli_has(r.out, "oracle                   5.00   4.00-6.00 100.0 100.0 100.0  250.0  1.02    4.90\n");
    cli_has(r.out, "limit%    of the tok/step that copying earlier text could reach at best: 2.00\n");
    cli_has(r.out, "tok/step  tokens per run of the model: 1 is plain decoding, more is better\n");
    cli_release(&r);
}

static void test_details(void **state) {
    (void)state;
    cli_result r = cli_run("replay @/good.jsonl @/other.jsonl -d oracle -d ngram-cache -d pld:n_max=1,len=10 "
                           "--details --budget 2");
    if (r.code) fail_msg("%s", r.err);
    cli_lines_fit(r.out);
    cli_has(r.out, "oracle, by group\n");
    cli_has(r.out, "oracle, by quarter of the run\n");
    cli_has(r.out, "oracle, by source of the drafted tokens\n");
    cli_has(r.out, "oracle, by match length");
    cli_has(r.out, "oracle, by position in the draft\n");
    /* Responses of 4 and 6 tokens at 2 + 1 a step: 2 steps each. */
    cli_has(r.out, "g                           1         2     2.00           -  100.0  100.0 100.0\n");
    cli_has(r.out, "h                           1         2     3.00           -  100.0  100.0 100.0\n");
    cli_has(r.out, "tokens per step        good  other    all\n");
    cli_has(r.out, "oracle                 2.50   2.67   2.60\n");
    cli_release(&r);
    cli_expect("replay @/good.jsonl -d none", 0, "good: 2 requests", "");
    r = cli_run("replay @/good.jsonl -d none");
    assert_null(strstr(r.out, "by group")); /* only where asked for */
    cli_release(&r);
    cli_expect("replay @/good.jsonl -d none -q", 0, "", "");
}

/* The oracle says 1 of every node and is right; it drafts 4 + 6. */
static void test_calibration(void **state) {
    (void)state;
    cli_result r =
        cli_run("replay @/good.jsonl -d oracle -d none -d random:vocab=8 --calibration --calibration-skip 0");
    if (r.code) fail_msg("%s", r.err);
    cli_lines_fit(r.out);
    cli_has(r.out, "oracle, calibration of its probabilities\n");
    cli_has(r.out, "0.95-1.00                     10     100.0     100.0       100.0    +0.0\n"
                   "all                           10     100.0     100.0       100.0    +0.0\n"
                   "ECE 0.0%; a step: 5.00 accepted expected, 5.00 were\n");
    cli_has(r.out, "(no node to judge)\n");
    cli_release(&r);
    /* The second request begins when four tokens are out. */
    r = cli_run("replay @/good.jsonl -d oracle --calibration --calibration-skip 4");
    cli_has(r.out, "\nall                            6     100.0     100.0       100.0    +0.0\n"
                   "ECE 0.0%; a step: 6.00 accepted expected, 6.00 were; first 4 tokens left out\n");
    cli_release(&r);
    r = cli_run("replay @/good.jsonl -d oracle --details");
    cli_has(r.out, "\n(no node to judge behind the first 5,000 tokens of the run)\n");
    assert_null(strstr(r.out, "nan"));
    cli_release(&r);
    json_t *report;
    const json_t *c =
        cli_member(cli_first_run("replay @/good.jsonl -d oracle -q --json -", &report), "calibration");
    cli_is_number(c, "nodes", 0);
    cli_is_number(c, "nodes_skipped", 10);
    assert_true(json_is_null(cli_member(c, "ece")) && json_is_null(cli_member(c, "bias")));
    assert_int_equal(json_array_size(cli_member(c, "bins")), 20);
    json_decref(report);
    /* A chain's nodes are each an eighth as likely as the one above: 1/8, 1/64. */
    const json_t *run =
        cli_first_run("replay @/good.jsonl -d random:vocab=8 --min-prob 0.01 -q --json -", &report);
    cli_is_number(run, "tokens_drafted", 2 * cli_number(run, "steps"));
    json_decref(report);
    cli_expect("replay @/good.jsonl --min-prob 1.5", 2, "", "--min-prob: '1.5'");
    cli_expect("replay @/good.jsonl --calibration-skip -1", 2, "", "--calibration-skip: '-1'");
}

static void test_names_are_harmless(void **state) {
    (void)state;
    cli_write("escape.jsonl", "{\"group\":\"\\u001b[31mred\",\"prompt\":[1],\"response\":[2]}\n");
    cli_result r = cli_run("replay @/escape.jsonl -d none --groups");
    assert_int_equal(r.code, 0);
    cli_has(r.out, "?[31mred");
    assert_null(strchr(r.out, '\x1b'));
    cli_release(&r);
}

/* ---- replay: JSON -------------------------------------------------------- */

/* Every field that docs/FORMATS.md promises. */
static void test_json(void **state) {
    (void)state;
    static const char *const top[] = {"schema", "version",  "command",   "machine",
                                      "build",  "settings", "workloads", "runs"};
    static const char *const fields[] = {"drafter",
                                         "workload",
                                         "requests",
                                         "steps",
                                         "tokens_out",
                                         "tokens_drafted",
                                         "tokens_accepted",
                                         "hits",
                                         "top1_hits",
                                         "tokens_per_step",
                                         "tokens_per_step_macro",
                                         "accepted_per_step",
                                         "acceptance_rate",
                                         "hit_rate",
                                         "top1",
                                         "top1_unconditional",
                                         "position_offered",
                                         "position_conditional",
                                         "position_unconditional",
                                         "accepted_histogram",
                                         "draft_us",
                                         "update_us",
                                         "update_ns_per_token",
                                         "prompt_ns_per_token",
                                         "end_us_per_request",
                                         "index",
                                         "ci95",
                                         "hindsight_limit",
                                         "share_of_limit",
                                         "break_even_tokens_per_step",
                                         "predicted_speedup",
                                         "groups",
                                         "quarters",
                                         "sources",
                                         "match_lengths",
                                         "calibration"};
    cli_result r = cli_run("replay @/good.jsonl -d none -d oracle --json -");
    assert_int_equal(r.code, 0);
    cli_has(r.err, "tok/step"); /* the tables have made room */
    json_t *j = cli_parse_json(r.out);
    for (size_t i = 0; i < sizeof top / sizeof *top; i++) cli_member(j, top[i]);
    assert_string_equal(json_string_value(cli_member(j, "schema")), "specbench/1");
    const json_t *runs = cli_member(j, "runs"), *o = json_array_get(runs, 1);
    assert_int_equal(json_array_size(runs), 2);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) cli_member(o, fields[i]);
    assert_string_equal(json_string_value(cli_member(o, "drafter")), "oracle");
    cli_is_number(o, "steps", 2);
    cli_is_number(o, "tokens_out", 10);
    cli_is_number(o, "tokens_per_step", 5);
    cli_is_number(o, "top1", 1);
    cli_is_number(o, "hindsight_limit", 2);
    cli_is_number(o, "share_of_limit", 2.5);
    assert_int_equal(json_array_size(cli_member(o, "groups")), 2);
    assert_int_equal(json_array_size(cli_member(o, "quarters")), 4);
    assert_true(json_is_null(cli_member(json_array_get(runs, 0), "top1"))); /* nothing was drafted */
    json_decref(j);
    cli_release(&r);
}

static void test_json_file(void **state) {
    (void)state;
    cli_write("report.json", "old");
    cli_expect("replay @/cut.jsonl -d none --json @/report.json", 2, "", "cut.jsonl:2:");
    char *text = support_read_file(cli_at("report.json"), NULL);
    assert_string_equal(text, "old"); /* a run that failed has changed nothing */
    free(text);
    cli_expect("replay @/good.jsonl -d none --json @/report.json -q", 0, "", "");
    text = support_read_file(cli_at("report.json"), NULL);
    json_decref(cli_parse_json(text));
    free(text);
    char command[400];
    snprintf(command, sizeof command, "! ls %s | grep -q tmp", cli_dir());
    assert_int_equal(system(command), 0); /* no temporary file is left */
    /* Told before the work, not after it. */
    cli_expect("replay @/good.jsonl -d none --json @", 2, "", "is a directory; expected the name of a file");
    cli_expect("replay @/good.jsonl -d none --json @/no/where.json", 2, "",
               "/no/where.json: cannot create: No such file or directory");
    cli_expect("speed --quick --json @/no/where.json", 2, "", "cannot create: No such file or directory");
    cli_expect("speed --quick --dir @/no", 2, "", "expected a directory that can be written to");
    cli_expect("replay @/good.jsonl -d none -q --json /dev/stdout", 0, "specbench/1", "");
}

static void test_full_disk(void **state) {
    (void)state;
    char command[400];
    if (access("/dev/full", W_OK) != 0) skip();
    static const char *const rest[] = {"replay %s/good.jsonl -d none",
                                       "replay %s/good.jsonl -d none --json -", "help"};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        int n = snprintf(command, sizeof command, "%s ", support_specbench());
        n += snprintf(command + n, sizeof command - (size_t)n, rest[i], cli_dir());
        snprintf(command + n, sizeof command - (size_t)n, " >/dev/full 2>%s", cli_at("err"));
        int status = system(command);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
        char *err = support_read_file(cli_at("err"), NULL);
        cli_has(err, "specbench: cannot write to standard output\n");
        free(err);
    }
}

/* ---- replay: settings ---------------------------------------------------- */

static void test_settings(void **state) {
    (void)state;
    assert_true(cli_figure("replay -q -j - @/other.jsonl -d none", "requests") == 3);
    assert_true(cli_figure("replay -q -j - @/other.jsonl -d none --limit 2", "tokens_out") == 12);
    assert_true(cli_figure("replay -q -j - @/other.jsonl -d none -n99", "tokens_out") == 16);
    assert_true(cli_figure("replay -q -j - @/other.jsonl -d oracle -b1", "steps") == 3 + 3 + 2);
    assert_true(cli_figure("replay -q -j - -d oracle -- @/other.jsonl", "steps") == 3);
    /* What was learnt before, and what may not be learnt. */
    double cold = cli_figure("replay -q -j - @/good.jsonl -d suffix", "steps");
    double warm = cli_figure("replay -q -j - @/good.jsonl -d suffix --warm @/other.jsonl", "steps");
    double alone = cli_figure("replay -q -j - @/good.jsonl -d suffix --no-shared", "steps");
    assert_true(warm < cold && cold < alone);
    assert_true(cli_figure("replay -q -j - @/good.jsonl -d suffix --warm @/other.jsonl", "requests") == 2);
    assert_true(cli_figure("replay -q -j - @/good.jsonl -d none --warm @/other.jsonl", "hindsight_limit") >
                2);
    assert_true(cli_figure("replay -q -j - @/good.jsonl -d none --no-shared", "hindsight_limit") < 2);
}

static void test_seeds(void **state) {
    (void)state;
    FILE *f = fopen(cli_at("many.jsonl"), "w");
    assert_non_null(f);
    for (int i = 0; i < 40; i++)
        fprintf(f, "{\"group\":%d,\"prompt\":[%d],\"response\":[%d,%d,%d,1]}\n", i, i, i % 7, i % 3, i % 5);
    fclose(f);
    const char *plain = "replay -q -j - @/many.jsonl -d suffix",
               *shuffled = "replay -q -j - @/many.jsonl -d suffix --shuffle 3";
    assert_true(cli_figure(plain, "steps") == cli_figure(plain, "steps"));
    assert_true(cli_figure(shuffled, "steps") == cli_figure(shuffled, "steps"));
    assert_true(cli_figure(shuffled, "tokens_out") == 160);
    json_t *a, *b, *c;
    const json_t *ci_a =
        cli_member(cli_first_run("replay -q -j - @/many.jsonl -d pld:n_max=1 --seed 1", &a), "ci95");
    const json_t *ci_b =
        cli_member(cli_first_run("replay -q -j - @/many.jsonl -d pld:n_max=1 --seed 1", &b), "ci95");
    const json_t *groups = cli_member(
        cli_first_run("replay -q -j - @/many.jsonl -d suffix --limit 5 --shuffle 4", &c), "groups");
    assert_int_equal(json_array_size(groups), 5);
    size_t first_five = 0; /* shuffled first, then cut */
    for (size_t i = 0; i < 5; i++)
        first_five += strlen(json_string_value(cli_member(json_array_get(groups, i), "group"))) == 1;
    assert_true(first_five < 5);
    assert_true(json_equal(ci_a, ci_b));
    cli_is_number(cli_member(c, "settings"), "shuffle", 4);
    cli_is_number(cli_member(c, "settings"), "limit", 5);
    json_decref(a);
    json_decref(b);
    json_decref(c);
}

static void test_cost_model(void **state) {
    (void)state;
    cli_write("cost.json",
              "{\"schema\":\"specbench-cost/1\",\"name\":\"my box\",\"points\":[[1,1],[5,2],[7,4]]}");
    /* oracle: drafts of 4 and 6 tokens, so runs of 5 and 7: T = 2 and 4; 10 tokens. */
    const char *line = "replay -q -j - @/good.jsonl -d oracle --cost-model @/cost.json";
    assert_true(fabs(cli_figure(line, "break_even_tokens_per_step") - 3) < 1e-9);
    assert_true(fabs(cli_figure(line, "predicted_speedup") - 10.0 / 6) < 1e-6);
    cli_expect("replay @/good.jsonl -d oracle --cost-model @/cost.json", 0, "cost model \"my box\"", "");
    cli_expect("replay @/good.jsonl --cost-model @/cost.json --cost-batch 2", 2, "", "has no grid");
    cli_expect("replay @/good.jsonl --cost-context 64", 2, "", "of a --cost-model FILE");
    cli_write("grid.json",
              "{\"schema\":\"specbench-cost/1\",\"name\":\"g\",\"points\":[[1,1],[5,2]],\"grid\":["
              "{\"context\":64,\"batch\":2,\"t1_us\":1e9,\"points\":[[1,1],[5,9]]}]}");
    line = "replay -q -j - @/good.jsonl -d oracle --cost-model @/grid.json --cost-batch 2";
    double dear = cli_figure(line, "break_even_tokens_per_step");
    assert_true(dear > cli_figure("replay -q -j - @/good.jsonl -d oracle --cost-model @/grid.json",
                                  "break_even_tokens_per_step"));
}

static void test_policy(void **state) {
    (void)state;
    json_t *report;
    cli_first_run("replay -q -j - @/good.jsonl -d oracle --policy goodput --cost-model flat", &report);
    assert_string_equal(json_string_value(cli_member(cli_member(report, "settings"), "policy")), "goodput");
    json_decref(report);
    /* All that is free is drafted; of passes that cost as many as they have rows, nothing. */
    const char *flat = "replay -q -j - @/good.jsonl -d oracle --cost-model flat";
    assert_true(cli_figure("replay -q -j - @/good.jsonl -d oracle --policy goodput --cost-model flat",
                           "predicted_speedup") == cli_figure(flat, "predicted_speedup"));
    assert_true(cli_figure("replay -q -j - @/good.jsonl -d oracle --policy goodput --cost-model linear:1.5",
                           "tokens_drafted") == 0);
    cli_expect("replay @/good.jsonl -d oracle --policy goodput", 0, "policy goodput", "");
    cli_expect("replay @/good.jsonl --policy best", 2, "", "expected fixed or goodput, not 'best'");
    cli_expect("replay @/good.jsonl --cost-model linear:x", 2, "", "expected linear:S");
    cli_expect("replay @/good.jsonl --cost-model linear:-1", 2, "", "expected linear:S");
    cli_expect("replay @/good.jsonl --cost-model linear:", 2, "", "expected linear:S");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_help_pages),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_details),
        cmocka_unit_test(test_calibration),
        cmocka_unit_test(test_names_are_harmless),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_file),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_cost_model),
        cmocka_unit_test(test_policy),
    };
    return cmocka_run_group_tests(tests, cli_set_up, cli_tear_down);
}

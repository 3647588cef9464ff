/* SPDX-License-Identifier: MIT */
/*
 * specbench and files: bad input, corpora, the demo's traces, and recorded
 * outputs against the reference's totals. test_cli.c has the rest.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_run.h"
#include "spec_index.h"

/* ---- bad input ----------------------------------------------------------- */

static void test_bad_traces(void **state) {
    (void)state;
    cli_expect("replay @/cut.jsonl", 2, "", "cut.jsonl:2: the line is cut off");
    cli_expect("replay @/good.jsonl @/cut.jsonl", 2, "", "cut.jsonl:2:"); /* no half report */
    cli_expect("replay @/good.jsonl --warm @/cut.jsonl", 2, "", "cut.jsonl:2:");
    cli_expect("replay @/nosuch.jsonl", 2, "",
               "nosuch.jsonl: cannot open: No such file or directory; expected a trace file");
    cli_expect("replay @", 2, "", ": is a directory; expected a trace file (.jsonl)");
    cli_expect("replay @/none.jsonl", 2, "",
               "none.jsonl: expected at least one request with a response, found none");
    cli_expect("corpus build -o @/x.idx @/cut.jsonl", 2, "", "cut.jsonl:2: the line is cut off");
    cli_expect("corpus build -o @/x.idx @/none.jsonl", 2, "",
               "expected at least one request with a response");
    assert_int_not_equal(access(cli_at("x.idx"), F_OK), 0);
}

/* A wildcard may catch a file of prompts alone: it is named and left out. */
static void test_prompts_alone(void **state) {
    (void)state;
    const char *note = "prompts.jsonl: holds prompts (\"turns\") without recorded responses";
    cli_write("prompts.jsonl", "{\"id\":1,\"group\":\"g\",\"turns\":[\"hello\"]}\n");
    cli_expect("replay @/good.jsonl @/prompts.jsonl -d none", 0, "good: 2 requests", note);
    cli_expect("replay -q -j - @/good.jsonl @/prompts.jsonl -d none", 0, "\"left_out\": [\n", note);
    cli_expect("replay @/prompts.jsonl -d none", 2, "", "no trace is left");
    cli_expect("replay @/good.jsonl --warm @/prompts.jsonl -d none", 2, "", note);
    cli_expect("corpus build -o @/some.idx @/prompts.jsonl @/good.jsonl", 0, "some.idx", note);
    cli_write("odd.jsonl", "{\"turns\":[\"hello\"],\"prompt\":[1]}\n");
    cli_expect("replay @/good.jsonl @/odd.jsonl -d none", 2, "", "odd.jsonl:1: \"response\" is missing");
}

static void test_skip_bad(void **state) {
    (void)state;
    cli_result r = cli_run("replay @/cut.jsonl -d none --skip-bad");
    assert_int_equal(r.code, 0);
    cli_has(r.out, "cut: 1 request, ");
    cli_has(r.out, "  left out: 1 faulty line, the first: ");
    cli_has(r.out, "cut.jsonl:2: the line is cut off");
    cli_release(&r);
    json_t *report;
    cli_first_run("replay @/cut.jsonl -d none --skip-bad -q -j -", &report);
    const json_t *w = json_array_get(cli_member(report, "workloads"), 0);
    cli_is_number(w, "skipped_bad", 1);
    cli_has(json_string_value(cli_member(w, "first_bad")), "cut.jsonl:2:");
    json_decref(report);
}

static void test_tolerated(void **state) {
    (void)state;
    cli_write("odd.jsonl", "\xEF\xBB\xBF" ONE "\r\n \n{\"prompt\":[1],\"response\":[]}\r\n" TWO "\r\n");
    cli_result r = cli_run("replay @/odd.jsonl -d none");
    assert_int_equal(r.code, 0);
    cli_has(
        r.out,
        "odd: 2 requests, 5 prompt and 10 response tokens\n  left out: 1 request with an empty response\n");
    cli_release(&r);
}

/* ---- corpus -------------------------------------------------------------- */

static void test_corpus(void **state) {
    (void)state;
    cli_expect("corpus build -o @/a.idx @/good.jsonl", 0, "a.idx: 2 sequences, 10 tokens, depth 64\n", "");
    cli_expect("corpus build -o @/b.idx @/other.jsonl --prompts --quiet", 0, "", "");
    cli_expect("corpus info @/a.idx --check", 0, "  structure    checked, sound\n", "");
    cli_expect("corpus info @/a.idx", 0, "  checksums    verified\n", "");
    cli_expect("corpus info @/a.idx --trust", 0, "of the data taken on trust", "");
    cli_expect("corpus info @/b.idx", 0, "  tokens       22 ", ""); /* 16 and prompts of 1, 1, 4 */
    cli_expect("corpus merge -o @/m.idx @/a.idx @/b.idx", 0, "m.idx: 5 sequences, 32 tokens, depth 64\n", "");
    cli_expect("corpus merge -o @/m.idx @/m.idx @/a.idx", 0, "m.idx: 7 sequences, 42 tokens, depth 64\n", "");
    cli_expect("corpus info @/m.idx --check", 0, "checked, sound", "");
    cli_expect("corpus evict -o @/e.idx --max-tokens 16 @/m.idx", 0, "e.idx: ", "");
    cli_expect("corpus info @/e.idx --check", 0, "  tokens       16 ", "");
    cli_expect("corpus evict -o @/e.idx --max-tokens 0 --lru @/m.idx", 0, "e.idx: 0 sequences, 0 tokens", "");
    cli_expect("corpus build -o @/d.idx --depth 8 @/good.jsonl", 0, "depth 8\n", "");
    cli_expect("corpus merge -o @/x.idx @/a.idx @/d.idx", 2, "", "d.idx: the depth is 8; expected 64");
    cli_expect("corpus build -o @/t1.idx --tokenizer-id 1 @/good.jsonl", 0, "t1.idx", "");
    cli_expect("corpus build -o @/t2.idx --tokenizer-id 2 @/good.jsonl", 0, "t2.idx", "");
    cli_expect("corpus merge -o @/x.idx @/a.idx @/t1.idx @/t2.idx", 2, "",
               "t2.idx: the tokenizer is 2; expected 1");
    assert_int_not_equal(access(cli_at("x.idx"), F_OK), 0);
}

/* Gives the snapshot FROM, as TO, an attachment. */
static void attach(const char *from, const char *to, const char *learned) {
    spec_index *x = NULL;
    assert_int_equal(spec_index_load(&x, cli_at(from), NULL, NULL), SPEC_OK);
    assert_int_equal(spec_index_save_with(x, cli_at(to), learned, strlen(learned), NULL), SPEC_OK);
    spec_index_free(x);
}

static void assert_learned(const char *at, const char *learned) {
    spec_index *x = NULL;
    size_t n;
    assert_int_equal(spec_index_load(&x, cli_at(at), NULL, NULL), SPEC_OK);
    const void *data = spec_index_attachment(x, &n);
    assert_int_equal(n, strlen(learned));
    assert_memory_equal(data, learned, n);
    spec_index_free(x);
}

/* What a drafter has learned goes with its corpus. */
static void test_learned(void **state) {
    (void)state;
    cli_expect("corpus build -q -o @/a.idx @/good.jsonl", 0, "", "");
    attach("a.idx", "b.idx", "b has learned this");
    attach("a.idx", "c.idx", "c something else");
    cli_result r = cli_run("corpus info @/a.idx");
    assert_null(strstr(r.out, "learned"));
    cli_release(&r);
    cli_expect("corpus info @/b.idx --check", 0, "\n  attached     learned state: 18 bytes\n", "");
    cli_expect("corpus evict -q -o @/e.idx --max-tokens 4 @/b.idx", 0, "", "");
    assert_learned("e.idx", "b has learned this");
    cli_expect("corpus merge -q -o @/m.idx @/a.idx @/c.idx @/a.idx @/b.idx", 0, "",
               "b.idx: its learned state is left out; an earlier file's is kept");
    assert_learned("m.idx", "c something else");
    cli_expect("corpus info @/m.idx --check", 0, "  tokens       40 ", "");
    cli_expect("corpus merge -q -o @/m.idx @/a.idx @/a.idx", 0, "", "");
    cli_expect("corpus info @/m.idx", 0, "bytes a token\n  checksums", "");
    assert_learned("m.idx", "");
}

static void test_bad_snapshots(void **state) {
    (void)state;
    cli_expect("corpus build -q -o @/a.idx @/good.jsonl", 0, "", "");
    cli_expect("corpus info @/nosuch.idx", 2, "", "nosuch.idx");
    cli_expect("corpus info @", 2, "", cli_dir());
    cli_expect("corpus info @/good.jsonl", 2, "", "good.jsonl");
    size_t n;
    char *bytes = support_read_file(cli_at("a.idx"), &n);
    support_write_file(cli_at("short.idx"), bytes, n - 1);
    bytes[n / 2] ^= 1;
    support_write_file(cli_at("flipped.idx"), bytes, n);
    free(bytes);
    cli_expect("corpus info @/short.idx", 2, "", "short.idx");
    cli_expect("corpus info @/flipped.idx", 2, "", "flipped.idx");
    cli_expect("corpus merge -o @/x.idx @/a.idx @/flipped.idx", 2, "", "flipped.idx");
    cli_expect("corpus evict -o @/x.idx --max-tokens 1 @/flipped.idx", 2, "", "flipped.idx");
    cli_expect("replay @/good.jsonl -d suffix --corpus @/flipped.idx", 2, "", "flipped.idx");
    assert_int_not_equal(access(cli_at("x.idx"), F_OK), 0);
    cli_expect("corpus build -o @/no/where.idx @/good.jsonl", 2, "", "where.idx");
}

/* A corpus gives what warming with the same responses gives. */
static void test_replay_with_corpus(void **state) {
    (void)state;
    cli_expect("corpus build -q -o @/o.idx @/other.jsonl", 0, "", "");
    const char *corpus = "replay -q -j - @/good.jsonl -d suffix --corpus @/o.idx";
    const char *warm = "replay -q -j - @/good.jsonl -d suffix --warm @/other.jsonl";
    assert_true(cli_figure(corpus, "steps") == cli_figure(warm, "steps"));
    assert_true(cli_figure(corpus, "hindsight_limit") == cli_figure(warm, "hindsight_limit"));
    assert_true(cli_figure(corpus, "steps") < cli_figure("replay -q -j - @/good.jsonl -d suffix", "steps"));
}

/* ---- demo ---------------------------------------------------------------- */

/* A copy of the program in a folder of its own, where no models lie beside it: what it prints. */
static char *demo_without_models(const char *arguments) {
    char command[4096];
    snprintf(command, sizeof command, "mkdir -p '%s' && cp '%s' '%s/specbench'", cli_at("alone"),
             support_specbench(), cli_at("alone"));
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "'%s/specbench' demo %s >'%s'", cli_at("alone"), arguments,
             cli_at("demo.txt"));
    assert_int_equal(system(command), 0);
    return support_read_file(cli_at("demo.txt"), NULL);
}

static void cut_live(char *text, const char *part) {
    char *live = strstr(text, "\nLive: ");
    assert_non_null(live);
    cli_has(live, part);
    *live = '\0';
}

static void test_demo(void **state) {
    (void)state;
    cli_result r = cli_run("demo --requests 6");
    if (r.code) fail_msg("%s", r.err);
    assert_string_equal(r.err, "");
    static const char *const rows[] = {"\nnone ",
                                       "\noracle ",
                                       "\nrandom ",
                                       "\nsuffix ",
                                       "\nsuffix:preset=arctic",
                                       "\nsuffix:preset=coreml",
                                       "\nmix ",
                                       "\npld ",
                                       "\nngram-cache ",
                                       "\nngram-mod ",
                                       "\ncopying at its best "};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) cli_has(r.out, rows[i]);
    cli_has(r.out, "\nHow to read it: ");
    cli_lines_fit(r.out);
    size_t lines = 0;
    for (const char *p = r.out; *p; p++) lines += *p == '\n';
    assert_true(lines <= 38); /* one screen */
    cut_live(r.out, access("bench/models/target.gguf", F_OK) == 0 ? "\nmedusa:medusa.gguf " : "\noracle ");
    char *again = demo_without_models("--requests 6");
    cut_live(again, "\noracle ");
    assert_string_equal(again, r.out); /* no clock, no address in what is replayed */
    free(again);
    cli_release(&r);
    again = demo_without_models("--requests 3 --full -d pld");
    cli_has(again, "draft, us a step");
    free(again);
}

/* Nine columns of figures are too many for one block of 80. */
static void test_overview_blocks(void **state) {
    (void)state;
    char command[400] = "replay -d none -d pld", *at = command + strlen(command);
    for (int i = 0; i < 8; i++) at += snprintf(at, 32, " @/good.jsonl");
    cli_result r = cli_run(command);
    assert_int_equal(r.code, 0);
    cli_lines_fit(r.out);
    const char *first = strstr(r.out, "\ntokens per step ");
    assert_true(first && strstr(first + 1, "\ntokens per step "));
    cli_release(&r);
}

/* ---- recorded outputs ----------------------------------------------------- */

static void check_total(const json_t *o, const char *file, const char *mode, double share) {
    char path[256], line[20000], begin[200];
    support_shared("golden/suffix/summary.jsonl", path, sizeof path);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    int n = snprintf(begin, sizeof begin, "{\"file\":\"%s.jsonl\",\"mode\":\"%s\"", file, mode);
    bool found = false;
    while (!found && fgets(line, sizeof line, f)) found = strncmp(line, begin, (size_t)n) == 0;
    fclose(f);
    assert_true(found);
    json_t *known = cli_parse_json(line);
    static const char *const pairs[][2] = {{"steps", "steps"},
                                           {"hits", "hits"},
                                           {"tokens_per_step", "tokens_per_step"},
                                           {"hit_rate", "hit_rate"}};
    for (size_t i = 0; i < 4; i++) {
        double a = cli_number(o, pairs[i][0]), b = cli_number(known, pairs[i][1]);
        if (fabs(a - b) > share * b) fail_msg("%s, %s: %s is %g, not %g", file, mode, pairs[i][0], a, b);
    }
    cli_is_number(o, "requests", cli_number(known, "n_requests"));
    cli_is_number(o, "tokens_out", cli_number(known, "sum_out_toks"));
    const json_t *quarters = cli_member(o, "quarters"), *known_quarters = cli_member(known, "quarters");
    for (size_t q = 0; q < 4; q++) {
        const json_t *a = json_array_get(quarters, q), *b = json_array_get(known_quarters, q);
        cli_is_number(a, "requests", cli_number(b, "n_requests"));
        cli_is_number(a, "tokens_out", cli_number(b, "sum_out_toks"));
    }
    json_decref(known);
}

/* The reference's own simulator, on the same traces. */
static void test_reference_totals(void **state) {
    (void)state;
    static const char *const files[] = {"humaneval_gpt4", "mbpp_gpt4", "spider_sql_gpt4", "swe_agent",
                                        "mtbench_vicuna7b"};
    char path[256], name[100], arguments[600];
    if (!support_shared("golden/suffix/summary.jsonl", path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(name, sizeof name, "traces/%s.jsonl", files[i]);
        if (!support_shared(name, path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
        snprintf(arguments, sizeof arguments,
                 "replay -q -j - %s -d suffix:preset=arctic,tree=0 -d suffix:preset=arctic,tree=1", path);
        cli_result r = cli_run(arguments);
        if (r.code) fail_msg("%s", r.err);
        json_t *report = cli_parse_json(r.out);
        const json_t *runs = cli_member(report, "runs");
        check_total(json_array_get(runs, 0), files[i], "path", 0.015);
        check_total(json_array_get(runs, 1), files[i], "tree", 0.003);
        json_decref(report);
        cli_release(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_traces),
        cmocka_unit_test(test_prompts_alone),
        cmocka_unit_test(test_skip_bad),
        cmocka_unit_test(test_tolerated),
        cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_learned),
        cmocka_unit_test(test_bad_snapshots),
        cmocka_unit_test(test_replay_with_corpus),
        cmocka_unit_test(test_demo),
        cmocka_unit_test(test_overview_blocks),
        cmocka_unit_test(test_reference_totals),
    };
    return cmocka_run_group_tests(tests, cli_set_up, cli_tear_down);
}

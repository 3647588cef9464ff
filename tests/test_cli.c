/* SPDX-License-Identifier: MIT */
/*
 * specbench as a user meets it: the built program is run, and what it prints,
 * writes and returns is compared with what it should.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

/* ---- running it ---------------------------------------------------------- */

static support_tmp tmp;

typedef struct result {
    int code;
    char *out, *err; /* what was printed */
} result;

static const char *at(const char *name) {
    static char path[4][256]; /* good for four names in one call */
    static int next;
    next = (next + 1) % 4;
    return support_tmp_path(&tmp, name, path[next], sizeof path[next]);
}

/* Runs "specbench ARGUMENTS" through the shell, in the project's root; `@` in
 * the arguments stands for the temporary directory. */
static result run(const char *arguments) {
    char command[4096];
    result r;
    size_t n = (size_t)snprintf(command, sizeof command, "%s ", support_specbench());
    for (const char *p = arguments; *p && n + 200 < sizeof command; p++) {
        if (*p == '@')
            n += (size_t)snprintf(command + n, sizeof command - n, "%s", tmp.path);
        else
            command[n++] = *p;
    }
    snprintf(command + n, sizeof command - n, " >%s 2>%s", at("out"), at("err"));
    int status = system(command);
    assert_true(WIFEXITED(status));
    r.code = WEXITSTATUS(status);
    r.out = support_read_file(at("out"), NULL);
    r.err = support_read_file(at("err"), NULL);
    return r;
}

static void release(result *r) {
    free(r->out);
    free(r->err);
}

static void has(const char *text, const char *word) {
    if (!strstr(text, word)) fail_msg("no \"%s\" in:\n%s", word, text);
}

/* Runs; expects the exit code, and words in what was printed ("" = nothing may be). */
static void expect(const char *arguments, int code, const char *out, const char *err) {
    result r = run(arguments);
    if (r.code != code)
        fail_msg("specbench %s: exit %d, not %d\n%s%s", arguments, r.code, code, r.out, r.err);
    if (!*out && *r.out) fail_msg("specbench %s: printed\n%s", arguments, r.out);
    if (!*err && *r.err) fail_msg("specbench %s: complained\n%s", arguments, r.err);
    has(r.out, out);
    has(r.err, err);
    release(&r);
}

static void write_text(const char *name, const char *text) {
    support_write_file(at(name), text, strlen(text));
}

#define ONE "{\"id\":\"r1\",\"group\":\"g\",\"prompt\":[1,2,3,4],\"response\":[2,3,4,9]}\n"
#define TWO "{\"id\":\"r2\",\"group\":\"h\",\"prompt\":[5],\"response\":[2,3,4,9,7,7]}\n"

static int set_up(void **state) {
    (void)state;
    support_tmp_make(&tmp);
    write_text("good.jsonl", ONE TWO);
    write_text("other.jsonl", TWO TWO ONE);
    write_text("cut.jsonl", ONE "{\"prompt\":[1,2");
    write_text("none.jsonl", "{\"prompt\":[1],\"response\":[]}\n");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    support_tmp_remove(&tmp);
    return 0;
}

/* ---- the program itself --------------------------------------------------- */

static void test_words(void **state) {
    (void)state;
    expect("", 2, "", "Usage: specbench COMMAND");
    expect("--version", 0, "specbench " SPEC_VERSION_STRING "\n", "");
    expect("--help", 0, "Usage: specbench COMMAND", "");
    expect("help", 0, "replay    acceptance of drafters", "");
    expect("replya", 2, "", "specbench: there is no command 'replya'; did you mean 'replay'?");
    expect("frobnicate", 2, "", "specbench: there is no command 'frobnicate'; 'specbench help' lists them");
    expect("help replay", 0, "Usage: specbench replay [OPTION]... TRACE...", "");
    expect("help drafters", 0, "pld", "");
    expect("help suffix", 0, "preset=", "");
    expect("help nonsense", 2, "", "there is no command 'nonsense'");
    expect("corpus", 2, "", "Usage: specbench corpus");
    expect("corpus --help", 0, "merge   -o FILE FILE FILE...", "");
    expect("corpus inof x", 2, "", "there is no command 'inof'; did you mean 'info'?");
}

static void lines_fit(const char *text) {
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n"), columns = 0;
        for (size_t i = 0; i < n; i++) columns += ((unsigned char)p[i] & 0xC0) != 0x80;
        if (columns > 80) fail_msg("%zu columns: %.*s", columns, (int)n, p);
        p += n + (p[n] == '\n');
    }
}

static void test_help_pages(void **state) {
    (void)state;
    static const char *const commands[] = {"replay",      "demo",         "corpus build",
                                           "corpus info", "corpus merge", "corpus evict"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char words[64];
        snprintf(words, sizeof words, "%s --help", commands[i]);
        result r = run(words);
        assert_int_equal(r.code, 0);
        assert_string_equal(r.err, "");
        has(r.out, "Usage: specbench ");
        has(r.out, "Options:\n");
        has(r.out, "-h, --help");
        has(r.out, "Examples:\n  specbench ");
        lines_fit(r.out);
        release(&r);
    }
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
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect(cases[i][0], 2, "", cases[i][1]);
    assert_int_not_equal(access(at("x"), F_OK), 0); /* nothing was left behind */
}

/* ---- replay: what it prints ---------------------------------------------- */

/* By hand, budget 64. `none`: 10 tokens in 10 steps. `oracle`: each response in
 * one step. Copying at its best: request 1 ends its prompt with 4, which nothing
 * follows: 2; then (2) 3 4 and 9, making 2 steps. Request 2 begins after 5: 2;
 * then (2) 3 4 9 and 7; then (7) is there, but 7 7 is not: 7. Making 3. */
static void test_table(void **state) {
    (void)state;
    result r = run("replay @/good.jsonl -d none -d oracle");
    assert_int_equal(r.code, 0);
    assert_string_equal(r.err, "");
    has(r.out, "specbench replay, budget 64\n\ngood: 2 requests, 5 prompt and 10 response tokens\n\n");
    has(r.out, "drafter              tok/step         95%  hit%   T1% kept% limit%  even speedup\n");
    has(r.out, "none                     1.00   1.00-1.00   0.0     -     -   50.0  1.00    1.00\n");
    has(r.out, "oracle                   5.00   4.00-6.00 100.0 100.0 100.0  250.0  1.02    4.90\n");
    has(r.out, "limit%    of the tok/step that copying earlier text could reach at best: 2.00\n");
    has(r.out, "tok/step  tokens per run of the model: 1 is plain decoding, more is better\n");
    release(&r);
}

static void test_details(void **state) {
    (void)state;
    result r = run("replay @/good.jsonl @/other.jsonl -d oracle -d ngram-cache -d pld:n_max=1,len=10 "
                   "--details --budget 2");
    if (r.code) fail_msg("%s", r.err);
    lines_fit(r.out);
    has(r.out, "oracle, by group\n");
    has(r.out, "oracle, by quarter of the run\n");
    has(r.out, "oracle, by source of the drafted tokens\n");
    has(r.out, "oracle, by match length");
    has(r.out, "oracle, by position in the draft\n");
    /* Responses of 4 and 6 tokens at 2 + 1 a step: 2 steps each. */
    has(r.out, "g                           1         2     2.00           -  100.0  100.0 100.0\n");
    has(r.out, "h                           1         2     3.00           -  100.0  100.0 100.0\n");
    has(r.out, "tokens per step        good  other    all\n");
    has(r.out, "oracle                 2.50   2.67   2.60\n");
    release(&r);
    expect("replay @/good.jsonl -d none", 0, "good: 2 requests", "");
    r = run("replay @/good.jsonl -d none");
    assert_null(strstr(r.out, "by group")); /* only where asked for */
    release(&r);
    expect("replay @/good.jsonl -d none -q", 0, "", "");
}

static void test_names_are_harmless(void **state) {
    (void)state;
    write_text("escape.jsonl", "{\"group\":\"\\u001b[31mred\",\"prompt\":[1],\"response\":[2]}\n");
    result r = run("replay @/escape.jsonl -d none --groups");
    assert_int_equal(r.code, 0);
    has(r.out, "?[31mred");
    assert_null(strchr(r.out, '\x1b'));
    release(&r);
}

/* ---- replay: JSON -------------------------------------------------------- */

static json_t *parse(const char *text) {
    json_error_t e;
    json_t *j = json_loads(text, 0, &e);
    if (!j) fail_msg("%s: %s", e.text, text);
    return j;
}

static double number(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    if (!json_is_number(v)) fail_msg("no number \"%s\"", key);
    return json_number_value(v);
}

static void is_number(const json_t *o, const char *key, double expected) {
    if (fabs(number(o, key) - expected) > 1e-6)
        fail_msg("\"%s\" is %g, not %g", key, number(o, key), expected);
}

static const json_t *member(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    if (!v) fail_msg("no \"%s\"", key);
    return v;
}

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
                                         "match_lengths"};
    result r = run("replay @/good.jsonl -d none -d oracle --json -");
    assert_int_equal(r.code, 0);
    has(r.err, "tok/step"); /* the tables have made room */
    json_t *j = parse(r.out);
    for (size_t i = 0; i < sizeof top / sizeof *top; i++) member(j, top[i]);
    assert_string_equal(json_string_value(member(j, "schema")), "specbench/1");
    const json_t *runs = member(j, "runs"), *o = json_array_get(runs, 1);
    assert_int_equal(json_array_size(runs), 2);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) member(o, fields[i]);
    assert_string_equal(json_string_value(member(o, "drafter")), "oracle");
    is_number(o, "steps", 2);
    is_number(o, "tokens_out", 10);
    is_number(o, "tokens_per_step", 5);
    is_number(o, "top1", 1);
    is_number(o, "hindsight_limit", 2);
    is_number(o, "share_of_limit", 2.5);
    assert_int_equal(json_array_size(member(o, "groups")), 2);
    assert_int_equal(json_array_size(member(o, "quarters")), 4);
    assert_true(json_is_null(member(json_array_get(runs, 0), "top1"))); /* nothing was drafted */
    json_decref(j);
    release(&r);
}

static void test_json_file(void **state) {
    (void)state;
    write_text("report.json", "old");
    expect("replay @/cut.jsonl -d none --json @/report.json", 2, "", "cut.jsonl:2:");
    char *text = support_read_file(at("report.json"), NULL);
    assert_string_equal(text, "old"); /* a run that failed has changed nothing */
    free(text);
    expect("replay @/good.jsonl -d none --json @/report.json -q", 0, "", "");
    text = support_read_file(at("report.json"), NULL);
    json_decref(parse(text));
    free(text);
    char command[400];
    snprintf(command, sizeof command, "! ls %s | grep -q tmp", tmp.path);
    assert_int_equal(system(command), 0); /* no temporary file is left */
    expect("replay @/good.jsonl -d none --json @", 2, "tok/step",
           "is a directory; expected the name of a file");
    expect("replay @/good.jsonl -d none --json @/no/where.json", 2, "tok/step", "No such file or directory");
    expect("replay @/good.jsonl -d none -q --json /dev/stdout", 0, "specbench/1", "");
}

static void test_full_disk(void **state) {
    (void)state;
    char command[400];
    if (access("/dev/full", W_OK) != 0) skip();
    static const char *const rest[] = {"replay %s/good.jsonl -d none",
                                       "replay %s/good.jsonl -d none --json -", "help"};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        int n = snprintf(command, sizeof command, "%s ", support_specbench());
        n += snprintf(command + n, sizeof command - (size_t)n, rest[i], tmp.path);
        snprintf(command + n, sizeof command - (size_t)n, " >/dev/full 2>%s", at("err"));
        int status = system(command);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
        char *err = support_read_file(at("err"), NULL);
        has(err, "specbench: cannot write to standard output\n");
        free(err);
    }
}

/* ---- replay: settings ---------------------------------------------------- */

/* Runs and returns the first run of the report, and the report to release. */
static const json_t *first_run(const char *arguments, json_t **report) {
    result r = run(arguments);
    if (r.code) fail_msg("%s", r.err);
    *report = parse(r.out);
    release(&r);
    return json_array_get(member(*report, "runs"), 0);
}

static double figure(const char *arguments, const char *key) {
    json_t *report;
    double v = number(first_run(arguments, &report), key);
    json_decref(report);
    return v;
}

static void test_settings(void **state) {
    (void)state;
    assert_true(figure("replay -q -j - @/other.jsonl -d none", "requests") == 3);
    assert_true(figure("replay -q -j - @/other.jsonl -d none --limit 2", "tokens_out") == 12);
    assert_true(figure("replay -q -j - @/other.jsonl -d none -n99", "tokens_out") == 16);
    assert_true(figure("replay -q -j - @/other.jsonl -d oracle -b1", "steps") == 3 + 3 + 2);
    assert_true(figure("replay -q -j - -d oracle -- @/other.jsonl", "steps") == 3);
    /* What was learnt before, and what may not be learnt. */
    double cold = figure("replay -q -j - @/good.jsonl -d suffix", "steps");
    double warm = figure("replay -q -j - @/good.jsonl -d suffix --warm @/other.jsonl", "steps");
    double alone = figure("replay -q -j - @/good.jsonl -d suffix --no-shared", "steps");
    assert_true(warm < cold && cold < alone);
    assert_true(figure("replay -q -j - @/good.jsonl -d suffix --warm @/other.jsonl", "requests") == 2);
    assert_true(figure("replay -q -j - @/good.jsonl -d none --warm @/other.jsonl", "hindsight_limit") > 2);
    assert_true(figure("replay -q -j - @/good.jsonl -d none --no-shared", "hindsight_limit") < 2);
}

static void test_seeds(void **state) {
    (void)state;
    FILE *f = fopen(at("many.jsonl"), "w");
    assert_non_null(f);
    for (int i = 0; i < 40; i++)
        fprintf(f, "{\"group\":%d,\"prompt\":[%d],\"response\":[%d,%d,%d,1]}\n", i, i, i % 7, i % 3, i % 5);
    fclose(f);
    const char *plain = "replay -q -j - @/many.jsonl -d suffix",
               *shuffled = "replay -q -j - @/many.jsonl -d suffix --shuffle 3";
    assert_true(figure(plain, "steps") == figure(plain, "steps"));
    assert_true(figure(shuffled, "steps") == figure(shuffled, "steps"));
    assert_true(figure(shuffled, "tokens_out") == 160);
    json_t *a, *b, *c;
    const json_t *ci_a = member(first_run("replay -q -j - @/many.jsonl -d pld:n_max=1 --seed 1", &a), "ci95");
    const json_t *ci_b = member(first_run("replay -q -j - @/many.jsonl -d pld:n_max=1 --seed 1", &b), "ci95");
    const json_t *groups =
        member(first_run("replay -q -j - @/many.jsonl -d suffix --limit 5 --shuffle 4", &c), "groups");
    assert_int_equal(json_array_size(groups), 5);
    size_t first_five = 0; /* shuffled first, then cut */
    for (size_t i = 0; i < 5; i++)
        first_five += strlen(json_string_value(member(json_array_get(groups, i), "group"))) == 1;
    assert_true(first_five < 5);
    assert_true(json_equal(ci_a, ci_b));
    is_number(member(c, "settings"), "shuffle", 4);
    is_number(member(c, "settings"), "limit", 5);
    json_decref(a);
    json_decref(b);
    json_decref(c);
}

static void test_cost_model(void **state) {
    (void)state;
    write_text("cost.json",
               "{\"schema\":\"specbench-cost/1\",\"name\":\"my box\",\"points\":[[1,1],[5,2],[7,4]]}");
    /* oracle: drafts of 4 and 6 tokens, so runs of 5 and 7: T = 2 and 4; 10 tokens. */
    const char *line = "replay -q -j - @/good.jsonl -d oracle --cost-model @/cost.json";
    assert_true(fabs(figure(line, "break_even_tokens_per_step") - 3) < 1e-9);
    assert_true(fabs(figure(line, "predicted_speedup") - 10.0 / 6) < 1e-6);
    expect("replay @/good.jsonl -d oracle --cost-model @/cost.json", 0, "cost model \"my box\"", "");
}

/* ---- bad input ----------------------------------------------------------- */

static void test_bad_traces(void **state) {
    (void)state;
    expect("replay @/cut.jsonl", 2, "", "cut.jsonl:2: the line is cut off");
    expect("replay @/good.jsonl @/cut.jsonl", 2, "", "cut.jsonl:2:"); /* no half report */
    expect("replay @/good.jsonl --warm @/cut.jsonl", 2, "", "cut.jsonl:2:");
    expect("replay @/nosuch.jsonl", 2, "",
           "nosuch.jsonl: cannot open: No such file or directory; expected a trace file");
    expect("replay @", 2, "", ": is a directory; expected a trace file (.jsonl)");
    expect("replay @/none.jsonl", 2, "",
           "none.jsonl: expected at least one request with a response, found none");
    expect("corpus build -o @/x.idx @/cut.jsonl", 2, "", "cut.jsonl:2: the line is cut off");
    assert_int_not_equal(access(at("x.idx"), F_OK), 0);
}

static void test_skip_bad(void **state) {
    (void)state;
    result r = run("replay @/cut.jsonl -d none --skip-bad");
    assert_int_equal(r.code, 0);
    has(r.out, "cut: 1 requests, ");
    has(r.out, "  left out: 1 faulty lines, the first: ");
    has(r.out, "cut.jsonl:2: the line is cut off");
    release(&r);
    json_t *report;
    first_run("replay @/cut.jsonl -d none --skip-bad -q -j -", &report);
    const json_t *w = json_array_get(member(report, "workloads"), 0);
    is_number(w, "skipped_bad", 1);
    has(json_string_value(member(w, "first_bad")), "cut.jsonl:2:");
    json_decref(report);
}

static void test_tolerated(void **state) {
    (void)state;
    write_text("odd.jsonl", "\xEF\xBB\xBF" ONE "\r\n \n{\"prompt\":[1],\"response\":[]}\r\n" TWO "\r\n");
    result r = run("replay @/odd.jsonl -d none");
    assert_int_equal(r.code, 0);
    has(r.out,
        "odd: 2 requests, 5 prompt and 10 response tokens\n  left out: 1 requests with an empty response\n");
    release(&r);
}

/* ---- corpus -------------------------------------------------------------- */

static void test_corpus(void **state) {
    (void)state;
    expect("corpus build -o @/a.idx @/good.jsonl", 0, "a.idx: 2 sequences, 10 tokens, depth 64\n", "");
    expect("corpus build -o @/b.idx @/other.jsonl --prompts --quiet", 0, "", "");
    expect("corpus info @/a.idx --check", 0, "  structure    checked, sound\n", "");
    expect("corpus info @/a.idx", 0, "  checksums    verified\n", "");
    expect("corpus info @/a.idx --trust", 0, "of the data taken on trust", "");
    expect("corpus info @/b.idx", 0, "  tokens       22 ", ""); /* 16 and prompts of 1, 1, 4 */
    expect("corpus merge -o @/m.idx @/a.idx @/b.idx", 0, "m.idx: 5 sequences, 32 tokens, depth 64\n", "");
    expect("corpus merge -o @/m.idx @/m.idx @/a.idx", 0, "m.idx: 7 sequences, 42 tokens, depth 64\n", "");
    expect("corpus info @/m.idx --check", 0, "checked, sound", "");
    expect("corpus evict -o @/e.idx --max-tokens 16 @/m.idx", 0, "e.idx: ", "");
    expect("corpus info @/e.idx --check", 0, "  tokens       16 ", "");
    expect("corpus evict -o @/e.idx --max-tokens 0 --lru @/m.idx", 0, "e.idx: 0 sequences, 0 tokens", "");
    expect("corpus build -o @/d.idx --depth 8 @/good.jsonl", 0, "depth 8\n", "");
    expect("corpus merge -o @/x.idx @/a.idx @/d.idx", 2, "", "d.idx: the depth is 8; expected 64");
    expect("corpus build -o @/t1.idx --tokenizer-id 1 @/good.jsonl", 0, "t1.idx", "");
    expect("corpus build -o @/t2.idx --tokenizer-id 2 @/good.jsonl", 0, "t2.idx", "");
    expect("corpus merge -o @/x.idx @/a.idx @/t1.idx @/t2.idx", 2, "",
           "t2.idx: the tokenizer is 2; expected 1");
    assert_int_not_equal(access(at("x.idx"), F_OK), 0);
}

static void test_bad_snapshots(void **state) {
    (void)state;
    expect("corpus build -q -o @/a.idx @/good.jsonl", 0, "", "");
    expect("corpus info @/nosuch.idx", 2, "", "nosuch.idx");
    expect("corpus info @", 2, "", tmp.path);
    expect("corpus info @/good.jsonl", 2, "", "good.jsonl");
    size_t n;
    char *bytes = support_read_file(at("a.idx"), &n);
    support_write_file(at("short.idx"), bytes, n - 1);
    bytes[n / 2] ^= 1;
    support_write_file(at("flipped.idx"), bytes, n);
    free(bytes);
    expect("corpus info @/short.idx", 2, "", "short.idx");
    expect("corpus info @/flipped.idx", 2, "", "flipped.idx");
    expect("corpus merge -o @/x.idx @/a.idx @/flipped.idx", 2, "", "flipped.idx");
    expect("corpus evict -o @/x.idx --max-tokens 1 @/flipped.idx", 2, "", "flipped.idx");
    expect("replay @/good.jsonl -d suffix --corpus @/flipped.idx", 2, "", "flipped.idx");
    assert_int_not_equal(access(at("x.idx"), F_OK), 0);
    expect("corpus build -o @/no/where.idx @/good.jsonl", 2, "", "where.idx");
}

/* A corpus gives what warming with the same responses gives. */
static void test_replay_with_corpus(void **state) {
    (void)state;
    expect("corpus build -q -o @/o.idx @/other.jsonl", 0, "", "");
    const char *corpus = "replay -q -j - @/good.jsonl -d suffix --corpus @/o.idx";
    const char *warm = "replay -q -j - @/good.jsonl -d suffix --warm @/other.jsonl";
    assert_true(figure(corpus, "steps") == figure(warm, "steps"));
    assert_true(figure(corpus, "hindsight_limit") == figure(warm, "hindsight_limit"));
    assert_true(figure(corpus, "steps") < figure("replay -q -j - @/good.jsonl -d suffix", "steps"));
}

/* ---- demo ---------------------------------------------------------------- */

static void test_demo(void **state) {
    (void)state;
    result r = run("demo --requests 6");
    if (r.code) fail_msg("%s", r.err);
    assert_string_equal(r.err, "");
    static const char *const rows[] = {"\nnone ",
                                       "\noracle ",
                                       "\nrandom ",
                                       "\nsuffix ",
                                       "\nsuffix:preset=arctic",
                                       "\nsuffix:preset=coreml",
                                       "\npld ",
                                       "\nngram-cache ",
                                       "\nngram-mod ",
                                       "\ncopying at its best "};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) has(r.out, rows[i]);
    has(r.out, "\nHow to read it: ");
    lines_fit(r.out);
    size_t lines = 0;
    for (const char *p = r.out; *p; p++) lines += *p == '\n';
    assert_true(lines <= 24); /* one screen */
    char *again = r.out;
    r.out = NULL;
    release(&r);
    r = run("demo --requests 6");
    assert_string_equal(r.out, again); /* no clock, no address in it */
    free(again);
    release(&r);
    expect("demo --requests 3 --full -d pld", 0, "draft, us a step", "");
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
    json_t *known = parse(line);
    static const char *const pairs[][2] = {{"steps", "steps"},
                                           {"hits", "hits"},
                                           {"tokens_per_step", "tokens_per_step"},
                                           {"hit_rate", "hit_rate"}};
    for (size_t i = 0; i < 4; i++) {
        double a = number(o, pairs[i][0]), b = number(known, pairs[i][1]);
        if (fabs(a - b) > share * b) fail_msg("%s, %s: %s is %g, not %g", file, mode, pairs[i][0], a, b);
    }
    is_number(o, "requests", number(known, "n_requests"));
    is_number(o, "tokens_out", number(known, "sum_out_toks"));
    const json_t *quarters = member(o, "quarters"), *known_quarters = member(known, "quarters");
    for (size_t q = 0; q < 4; q++) {
        const json_t *a = json_array_get(quarters, q), *b = json_array_get(known_quarters, q);
        is_number(a, "requests", number(b, "n_requests"));
        is_number(a, "tokens_out", number(b, "sum_out_toks"));
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
        result r = run(arguments);
        if (r.code) fail_msg("%s", r.err);
        json_t *report = parse(r.out);
        const json_t *runs = member(report, "runs");
        check_total(json_array_get(runs, 0), files[i], "path", 0.015);
        check_total(json_array_get(runs, 1), files[i], "tree", 0.003);
        json_decref(report);
        release(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),         cmocka_unit_test(test_help_pages),
        cmocka_unit_test(test_bad_options),   cmocka_unit_test(test_table),
        cmocka_unit_test(test_details),       cmocka_unit_test(test_names_are_harmless),
        cmocka_unit_test(test_json),          cmocka_unit_test(test_json_file),
        cmocka_unit_test(test_full_disk),     cmocka_unit_test(test_settings),
        cmocka_unit_test(test_seeds),         cmocka_unit_test(test_cost_model),
        cmocka_unit_test(test_bad_traces),    cmocka_unit_test(test_skip_bad),
        cmocka_unit_test(test_tolerated),     cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_bad_snapshots), cmocka_unit_test(test_replay_with_corpus),
        cmocka_unit_test(test_demo),          cmocka_unit_test(test_reference_totals),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: MIT */
/* specbench run as a user meets it: what it prints, writes, refuses and returns. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli_run.h"

static void test_usage(void **state) {
    (void)state;
    cli_result r = cli_run("run --help");
    assert_int_equal(r.code, 0);
    cli_lines_fit(r.out);
    cli_has(r.out, "specbench run -m model.gguf");
    cli_release(&r);
    cli_expect("run --prompt hello", 2, "", "expected a model, -m MODEL");
    cli_expect("run -m @/m.gguf", 2, "", "expected prompts: --prompts FILE or --prompt TEXT");
    cli_expect("run -m @/m.gguf --prompt a --prompts @/ask.jsonl", 2, "", "not both");
    cli_expect("run -m @/nothing.gguf --prompt a", 2, "", "nothing.gguf");
    cli_expect("run -m @/m.gguf --prompt a -d sufix", 2, "", "sufix");
    cli_expect("run -m @/m.gguf --prompt a --temp -1", 2, "", "--temp: '-1' is not a number from 0 to 100");
    cli_expect("run -m @/m.gguf --prompt a --temp nan", 2, "", "is not a number");
    cli_expect("run -m @/m.gguf --prompt a --chat klingon", 2, "", "there is no template 'klingon'");
    cli_expect("run -m @/m.gguf --prompt a --chat auto", 2, "", "name one");
    cli_expect("run -m @/m.gguf --prompt a --record @/no/such/file", 2, "", "--record: ");
    cli_expect("run -m @/m.gguf --prompt a --json @/no/such/file", 2, "", "--json: ");
    cli_expect("run -m @/m.gguf --prompt a --record -", 2, "", "'-': expected the name of a file");
    cli_expect("run -m @/m.gguf --prompt $(printf 'ab\\377')", 2, "", "--prompt: byte 2: expected UTF-8");
}

/* What a command reads it does not overwrite, however the file is called. */
static void test_own_files(void **state) {
    (void)state;
    static const char *const t[] = {
        "run -m @/m.gguf --prompts @/ids.jsonl --record @/ids.jsonl",
        "run -m @/m.gguf --prompts @/ids.jsonl --record @/./ids.jsonl",
        "run -m @/m.gguf --prompts @/ids.jsonl --json @/../$(basename @)/ids.jsonl",
        "run -m @/m.gguf --prompt a --record @/m.gguf",
        "run -m @/m.gguf --prompt a --json @/m.gguf",
        "run -m @/m.gguf --prompt a --record @/a --json @/a",
        "profile -m @/m.gguf -o @/./m.gguf",
        "profile -m @/m.gguf --json @/m.gguf",
        "profile -m @/m.gguf -o @/a --json @/a",
        "replay @/other.jsonl @/good.jsonl --json @/good.jsonl",
        "replay @/other.jsonl --warm @/good.jsonl --json @/good.jsonl",
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) cli_expect(t[i], 2, "", ": would overwrite '");
    cli_expect("run -m @/m.gguf --prompt a --max-tokens 2 --repeat 1 -q --record /dev/null --json /dev/null",
               0, "", "");
}

/* Prompts from a pipe are there still when OpenBLAS made the program start again. */
static void test_pipe(void **state) {
    (void)state;
    cli_result r = cli_run("--version >@/list; cat @/ids.jsonl | ${SPECBENCH:-build/specbench} run -m "
                           "@/m.gguf --matmul blas --repeat 1 "
                           "--max-tokens 4 -q --prompts /dev/stdin");
    if (r.code) fail_msg("%s", r.err);
    cli_release(&r);
}

static void test_tables(void **state) {
    (void)state;
    cli_result r =
        cli_run("run -m @/m.gguf --prompts @/ask.jsonl --max-tokens 20 --repeat 2 -d suffix -d oracle "
                "--calibration --calibration-skip 0");
    assert_int_equal(r.code, 0);
    assert_string_equal(r.err, "");
    cli_lines_fit(r.out);
    cli_has(r.out, "plain ");
    cli_has(r.out, "suffix ");
    cli_has(r.out, "rows of a pass");
    cli_has(r.out, "limit%");
    cli_has(r.out, "ask: 5 requests");
    cli_has(r.out, "\nsuffix, calibration of its probabilities\n");
    cli_has(r.out, "\nECE 0.0%; a step: "); /* the oracle's */
    bool vectors = strstr(r.out, "avx") != NULL;
    cli_release(&r);
    r = cli_run("run -m @/m.gguf --prompt hello --max-tokens 4 -q --isa scalar");
    assert_int_equal(r.code, 0);
    if (vectors) cli_has(r.err, "warning: attn_q (F32) runs on"); /* never silently */
    cli_release(&r);
    r = cli_run("run -m @/m.gguf --prompt hello --max-tokens 4 -q");
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, "");
    cli_release(&r);
}

/* The times of passes are the same whichever way they are summed up. */
static void check_passes(const json_t *run) {
    const json_t *passes = cli_member(run, "passes");
    double sum = 0, count = 0;
    for (size_t i = 0; i < json_array_size(passes); i++) {
        const json_t *p = json_array_get(passes, i);
        count += cli_number(p, "count");
        sum += cli_number(p, "count") * cli_number(p, "mean_us");
    }
    assert_true(count > 0 && fabs(sum / count - cli_number(cli_member(run, "verify_us"), "mean")) < 0.02);
    assert_true(sum / 1e6 <= cli_number(run, "decode_seconds"));
}

static void check_run(const json_t *run, const char *drafter, bool drafts) {
    assert_string_equal(json_string_value(cli_member(run, "drafter")), drafter);
    assert_true(json_is_true(cli_member(run, "identical")));
    assert_true(cli_number(run, "tokens_per_second") > 0);
    assert_true(cli_number(run, "baseline_tokens_per_second") > 0);
    assert_true(cli_number(run, "speedup") > 0);
    assert_int_equal(json_is_true(cli_member(run, "replay_agrees")), drafts);
    check_passes(run);
    assert_non_null(cli_member(run, "position_conditional"));
    double tokens = cli_number(run, "tokens_per_step"), limit = cli_number(run, "hindsight_limit");
    assert_true(limit >= 1);
    cli_is_number(run, "share_of_limit", tokens / limit);
    cli_is_number(run, "break_even_tokens_per_step", tokens / cli_number(run, "speedup"));
}

static void test_report(void **state) {
    (void)state;
    cli_result r =
        cli_run("run -m @/m.gguf --prompts @/ask.jsonl --max-tokens 30 --repeat 2 -d suffix -d oracle "
                "-d random:len=3 --json - -q");
    assert_int_equal(r.code, 0);
    json_t *report = cli_parse_json(r.out);
    assert_string_equal(json_string_value(cli_member(report, "schema")), "specbench/1");
    assert_string_equal(json_string_value(cli_member(report, "command")), "run");
    assert_true(cli_number(report, "peak_memory_bytes") > 1e6);
    const json_t *runs = cli_member(report, "runs");
    assert_int_equal(json_array_size(runs), 4);
    check_run(json_array_get(runs, 0), "plain", false);
    check_run(json_array_get(runs, 1), "suffix", true);
    check_run(json_array_get(runs, 2), "oracle", true);
    check_run(json_array_get(runs, 3), "random:len=3", true);
    const json_t *plain = json_array_get(runs, 0), *oracle = json_array_get(runs, 2);
    cli_is_number(plain, "tokens_per_step", 1);
    assert_true(cli_number(oracle, "tokens_per_step") > 5);
    cli_is_number(oracle, "tokens_out", cli_number(plain, "tokens_out"));
    cli_is_number(cli_member(oracle, "calibration"), "skip", 5000);
    const json_t *workload = json_array_get(cli_member(report, "workloads"), 0);
    cli_is_number(workload, "requests", 5); /* two turns, and three prompts */
    json_decref(report);
    cli_release(&r);
}

static char *record(const char *options) {
    char words[512];
    size_t n;
    snprintf(words, sizeof words,
             "run -m @/m.gguf --prompts @/ask.jsonl --max-tokens 25 --repeat 1 -d suffix -q --record "
             "@/rec.jsonl %s",
             options);
    cli_result r = cli_run(words);
    if (r.code) fail_msg("%s: %s", words, r.err);
    cli_release(&r);
    return support_read_file(cli_at("rec.jsonl"), &n);
}

/* What is said does not depend on how it is decoded. */
static void test_same_text(void **state) {
    (void)state;
    static const char *const ways[] = {"--batch 3",  "--threads 1", "--threads 4",  "--isa scalar",
                                       "--isa avx2", "--budget 1",  "--budget 100", "--repeat 2"};
    static const char *const laws[] = {
        "", "--temp 0.8 --seed 5", "--temp 1.2 --top-k 20 --top-p 0.9 --min-p 0.02", "--repeat-penalty 1.3"};
    char *first = NULL;
    for (size_t l = 0; l < 4; l++) {
        char *base = record(laws[l]);
        for (size_t i = 0; i < 8; i++) {
            char words[128];
            snprintf(words, sizeof words, "%s %s", laws[l], ways[i]);
            char *other = record(words);
            assert_string_equal(base, other);
            free(other);
        }
        if (first) assert_string_not_equal(first, base); /* the law matters, though */
        if (first)
            free(base);
        else
            first = base;
    }
    free(first);
}

#define ALL_DRAFTERS                                                                                         \
    "-d suffix -d suffix:preset=arctic -d suffix:preset=coreml -d pld -d ngram-cache -d none -d oracle "     \
    "-d ngram-mod:n=2,min=1 -d random:vocab=512 --budget 8 --calibration-skip 30 -q --json - "

/* The record, replayed by another command, gives every drafter all the figures that it had live. */
/* Drafts that are drawn: another text of the same law is no fault; greedy decoding has one text. */
static void test_drawn_drafts(void **state) {
    (void)state;
    cli_result r = cli_run("run -m @/m.gguf --prompts @/ask.jsonl --max-tokens 20 --repeat 1 --temp 1 "
                           "-d model:@/m.gguf,mode=sample -d model:@/m.gguf,min_prob=0 --json @/drawn.json");
    assert_int_equal(r.code, 0);
    cli_lines_fit(r.out);
    cli_has(r.out, " law ");
    cli_has(r.out, " yes ");
    cli_release(&r);
    char *text = support_read_file(cli_at("drawn.json"), &(size_t){0});
    cli_has(text, "\"identical\": null");
    cli_has(text, "\"drafts_sampled\": true");
    free(text);
    r = cli_run("run -m @/m.gguf --prompts @/ask.jsonl --max-tokens 20 --repeat 1 "
                "-d model:@/m.gguf,mode=sample");
    assert_int_equal(r.code, 0);
    cli_has(r.out, " yes    -");
    cli_release(&r);
}

static void test_policy(void **state) {
    (void)state;
    cli_write("passes.json",
              "{\"schema\":\"specbench-cost/1\",\"name\":\"m\",\"points\":[[1,1],[2,1.1]],\"grid\":["
              "{\"context\":8,\"batch\":1,\"t1_us\":200,\"points\":[[1,1],[9,1.2]]},"
              "{\"context\":64,\"batch\":4,\"t1_us\":300,\"points\":[[1,1],[9,1.4]]}]}");
    cli_expect("run -m @/m.gguf --prompt a --policy goodput", 2, "", "expected --cost-model FILE");
    cli_expect("run -m @/m.gguf --prompt a --policy good", 2, "", "expected fixed or goodput");
    cli_expect("run -m @/m.gguf --prompt a --cost-model @/m.gguf", 2, "", "not valid JSON");
    cli_expect("run -m @/m.gguf --prompt a --cost-model @/passes.json --json @/passes.json", 2, "",
               "would overwrite");
    cli_result r =
        cli_run("run -m @/m.gguf --prompts @/ask.jsonl --max-tokens 20 --repeat 1 --batch 2 -d oracle "
                "-d random --policy goodput --cost-model @/passes.json --json @/policy.json");
    if (r.code) fail_msg("%s", r.err);
    cli_lines_fit(r.out);
    cli_has(r.out, "policy goodput");
    cli_release(&r);
    char *text = support_read_file(cli_at("policy.json"), &(size_t){0});
    cli_has(text, "\"policy\": \"goodput\"");
    cli_has(text, "\"identical\": true");
    free(text);
}

static void test_record_replays(void **state) {
    (void)state;
    static const char *const laws[] = {"", "--temp 0.8 --stop a", "--max-context 40 --ignore-eos"};
    static const char *const keys[] = {
        "requests",
        "steps",
        "tokens_out",
        "tokens_drafted",
        "tokens_accepted",
        "hits",
        "top1_hits",
        "tokens_per_step_macro",
        "position_offered",
        "ci95",
        "position_conditional",
        "accepted_histogram",
        "sources",
        "match_lengths",
        "groups",
        "calibration",
        "hindsight_limit",
    };
    for (size_t l = 0; l < sizeof laws / sizeof *laws; l++) {
        char words[400];
        json_t *live, *again;
        snprintf(words, sizeof words,
                 "run -m @/m.gguf --prompts @/ask.jsonl --max-tokens 40 --repeat 1 --record "
                 "@/rec.jsonl " ALL_DRAFTERS "%s",
                 laws[l]);
        cli_first_run(words, &live);
        cli_first_run("replay @/rec.jsonl " ALL_DRAFTERS, &again);
        const json_t *runs = cli_member(live, "runs"), *replays = cli_member(again, "runs");
        assert_int_equal(json_array_size(runs), json_array_size(replays) + 1);
        for (size_t i = 0; i < json_array_size(replays); i++) {
            const json_t *a = json_array_get(runs, i + 1), *b = json_array_get(replays, i);
            assert_true(json_is_true(cli_member(a, "replay_agrees")));
            for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
                if (!json_equal(cli_member(a, keys[k]), cli_member(b, keys[k])))
                    fail_msg("%s, %s: %s", json_string_value(cli_member(a, "drafter")), laws[l], keys[k]);
        }
        json_decref(live);
        json_decref(again);
    }
}

/* The ends of responses: a limit, a stop string, the context. */
static double ends(const char *options, const char *which) {
    char words[300];
    json_t *report;
    snprintf(words, sizeof words, "run -m @/m.gguf --prompts @/ids.jsonl --repeat 1 -d pld -q --json - %s",
             options);
    const json_t *run = cli_first_run(words, &report);
    double n = cli_number(cli_member(run, "ends"), which);
    json_decref(report);
    return n;
}

static void test_ends(void **state) {
    (void)state;
    assert_true(ends("--max-tokens 5 --ignore-eos", "limit") == 2);
    assert_true(ends("--max-tokens 1000 --ignore-eos --max-context 40", "context") == 2);
    /* every single byte is a stop string: the first token with a text ends it */
    assert_true(
        ends("--max-tokens 60 --ignore-eos --stop a --stop e --stop i --stop o --stop t --stop n --stop s",
             "stop") > 0);
}

static void test_bad_prompts(void **state) {
    (void)state;
    cli_expect("run -m @/m.gguf --prompts @/nothing.jsonl", 2, "", "expected a prompt file");
    cli_write("utf8.jsonl", "{\"prompt\":\"\xc3\x28\"}\n");
    cli_expect("run -m @/m.gguf --prompts @/utf8.jsonl", 2, "", "utf8.jsonl:1: not valid UTF-8");
    cli_write("big.jsonl", "{\"prompt\":[1,2,99999]}\n");
    cli_expect("run -m @/m.gguf --prompts @/big.jsonl", 2, "",
               "big.jsonl: prompt 1: token 99999 at 2; expected ids below");
    cli_write("empty.jsonl", "");
    cli_expect("run -m @/m.gguf --prompts @/empty.jsonl", 2, "", "expected at least one prompt");
    cli_expect("run -m @/m.gguf --prompts @/ids.jsonl --max-context 4", 2, "", "ids.jsonl: no prompt fits");
    cli_result r =
        cli_run("run -m @/m.gguf --prompts @/ask.jsonl --max-context 12 --max-tokens 4 --repeat 1");
    assert_int_equal(r.code, 0);
    cli_has(r.out, "too long for the context");
    cli_release(&r);
}

/* A prompt that does not fit leaves the drafters in step with plain decoding: the oracle
 * knows all of the next response before it begins. */
static void test_left_out(void **state) {
    (void)state;
    json_t *report;
    cli_write("mixed.jsonl", "{\"prompt\":[1,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26]}\n"
                             "{\"prompt\":[1,5,6]}\n{\"prompt\":[]}\n{\"prompt\":[1,9]}\n");
    cli_first_run("run -m @/m.gguf --prompts @/mixed.jsonl --max-context 20 --ignore-eos --repeat 1 "
                  "-d oracle --json - -q",
                  &report);
    const json_t *workload = json_array_get(cli_member(report, "workloads"), 0);
    const json_t *oracle = json_array_get(cli_member(report, "runs"), 1);
    cli_is_number(workload, "requests", 2);
    cli_is_number(workload, "left_out", 2);
    cli_is_number(oracle, "steps", 3); /* 17 + 1 tokens, drafts of 16; 17 */
    assert_true(json_is_true(cli_member(oracle, "replay_agrees")));
    json_decref(report);
}

/* An index of another vocabulary: told, not crashed. */
static void test_foreign_corpus(void **state) {
    (void)state;
    cli_write("foreign.jsonl", "{\"prompt\":[1,2],\"response\":[3,4,31999,5,3,4,31999,5]}\n");
    cli_expect("corpus build -o @/foreign.sx @/foreign.jsonl", 0, "8 tokens", "");
    cli_write("three.jsonl", "{\"prompt\":[3,4,31999]}\n{\"prompt\":[9,3,4]}\n");
    cli_write("two.jsonl", "{\"prompt\":[9,3,4]}\n");
    cli_expect("run -m @/m.gguf --prompts @/two.jsonl -d suffix:corpus=@/foreign.sx", 2, "",
               "made with another tokenizer?");
}

static int set_up(void **state) {
    int rc = cli_set_up(state);
    cli_result r = cli_run("train target --random tiny --seed 3 -q -o @/m.gguf");
    if (rc || r.code) fail_msg("%s", r.err);
    cli_release(&r);
    cli_write("ask.jsonl",
              "{\"id\":\"a\",\"group\":\"g\",\"turns\":[\"one two one two one\",\"and then?\"]}\n"
              "{\"prompt\":\"three four three four\"}\n"
              "{\"group\":\"h\",\"prompt\":[1,5,6,7,5,6,7,5,6]}\n"
              "{\"prompt\":\"a a a a a a a a a a a\"}\n");
    cli_write("ids.jsonl", "{\"prompt\":[1,5,6,7,5,6,7,5,6]}\n{\"prompt\":[1,9,10,11,9,10,11]}\n");
    return rc;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage),          cmocka_unit_test(test_tables),
        cmocka_unit_test(test_report),         cmocka_unit_test(test_same_text),
        cmocka_unit_test(test_drawn_drafts),   cmocka_unit_test(test_policy),
        cmocka_unit_test(test_record_replays), cmocka_unit_test(test_ends),
        cmocka_unit_test(test_bad_prompts),    cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_foreign_corpus), cmocka_unit_test(test_own_files),
        cmocka_unit_test(test_pipe),
    };
    return cmocka_run_group_tests(tests, set_up, cli_tear_down);
}

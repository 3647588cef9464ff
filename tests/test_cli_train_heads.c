/* SPDX-License-Identifier: MIT */
/*
 * specbench train medusa and train eagle3 as a user meets them. The traces count round a
 * circle, so that a token says which ones follow: what heads can learn of any target.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli_run.h"
#include "kernels.h"
#include "openblas_core.h"
#include "spec_tensors.h"
#include "tiny_model.h"

#define MEDUSA "train medusa -t 2 -m @/m.gguf @/a.jsonl @/b.jsonl --heads 2 --batch 4 --held-out 8 --lr 0.02 "

#define EAGLE3                                                                                               \
    "train eagle3 -t 2 -m @/m.gguf @/a.jsonl @/b.jsonl --ttt-steps 3 --ff 48 --batch 4 --held-out 8 --lr "   \
    "0.02 "

enum { CIRCLE = 13 };

static void write_request(FILE *f, int i, int n_prompt, int n_response) {
    fprintf(f, "{\"id\":\"%d\",\"prompt\":[", i);
    for (int k = 0; k < n_prompt; k++) fprintf(f, "%s%d", k ? "," : "", 20 + (i + k) % CIRCLE);
    fputs("],\"response\":[", f);
    for (int k = 0; k < n_response; k++) fprintf(f, "%s%d", k ? "," : "", 20 + (i + n_prompt + k) % CIRCLE);
    fputs("]}\n", f);
}

static void write_trace(const char *name, int n, int most) {
    FILE *f = fopen(cli_at(name), "w");
    assert_non_null(f);
    for (int i = 0; i < n; i++) write_request(f, i, 1 + i % 9, 3 + i * 7 % most);
    assert_int_equal(fclose(f), 0);
}

static void write_model(const char *name, uint64_t seed, tiny_change change, const char *what) {
    tiny_model m = tiny_model_of("llama");
    m.seed = seed;
    if (what) m.edit[m.n_edits++] = (tiny_edit){.change = change, .name = what};
    tiny_model_write(&m, cli_at(name));
}

static int set_up(void **state) {
    const char *core = openblas_core_for(specp_isa_detect());
    if (core) setenv("OPENBLAS_CORETYPE", core, 1); /* so that nothing starts again, with a message */
    cli_set_up(state);
    write_trace("a.jsonl", 60, 30);
    write_trace("b.jsonl", 30, 50);
    write_model("m.gguf", 1, 0, NULL);
    write_model("other.gguf", 2, 0, NULL);
    write_model("nan.gguf", 1, TINY_NAN, "blk.1.ffn_down.weight");
    tiny_model capped = tiny_model_of("gemma2");
    tiny_model_write(&capped, cli_at("capped.gguf"));
    cli_write("prompts.jsonl", "{\"prompt\":[20,21,22,23,24,25],\"response\":[26]}\n");
    return 0;
}

/* ---- a run --------------------------------------------------------------- */

/* The last event of that name, to be released. */
static json_t *last_event(const char *name, const char *event) {
    char *text = support_read_file(cli_at(name), NULL);
    json_t *last = NULL;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *o = cli_parse_json(line);
        bool is = strcmp(json_string_value(cli_member(o, "event")), event) == 0;
        if (is) json_decref(last);
        if (is)
            last = o;
        else
            json_decref(o);
    }
    free(text);
    assert_non_null(last);
    return last;
}

static void check_times(const json_t *step) {
    const json_t *times = cli_member(step, "times"), *part;
    const char *key;
    double sum = 0;
    json_object_foreach((json_t *)times, key, part) sum += json_number_value(part);
    assert_true(sum > 0.999 * cli_number(step, "seconds") && sum < 1.001 * cli_number(step, "seconds"));
    assert_true(cli_number(times, "features") > 0 && cli_number(times, "backward.head") > 0);
}

/* The tree that a file recommends, or "". */
static const char *choices(const char *name) {
    static char text[1000];
    spec_tensors *f;
    const char *s = "";
    size_t n = 0;
    assert_int_equal(spec_tensors_open(&f, cli_at(name), NULL, NULL), SPEC_OK);
    (void)spec_meta_string(spec_tensors_meta(f, "medusa_choices"), 0, &s, &n);
    snprintf(text, sizeof text, "%.*s", (int)n, s);
    spec_tensors_free(f);
    return text;
}

static void test_medusa(void **state) {
    (void)state;
    cli_result r =
        cli_run(MEDUSA "--steps 60 --accum 2 --validate-every 20 --log @/log --type Q8_0 -o @/h.gguf");
    if (r.code) fail_msg("%s", r.err);
    cli_has(r.out, "requests with ");
    cli_has(r.out, "the target itself, on what is held out: loss ");
    cli_has(r.out, "step 60 of 60: loss ");
    cli_has(r.out, "; held out: loss ");
    assert_string_equal(r.err, "");
    cli_release(&r);
    json_t *step = last_event("log", "step");
    const json_t *held = cli_member(step, "held_out");
    check_times(step);
    assert_true(cli_number(held, "loss") < 0.3);
    assert_true(cli_number(held, "acc0") > 0.95 && cli_number(held, "acc1") > 0.95);
    json_decref(step);
    assert_memory_equal(choices("h.gguf"), "0/", 2); /* the heads are nearly always right */
    cli_has(choices("h.gguf"), "/00");
    cli_expect("run -m @/m.gguf -d medusa:@/h.gguf -p @/prompts.jsonl --max-tokens 12 --repeat 1", 0,
               "medusa", "");
}

static void test_eagle3(void **state) {
    (void)state;
    cli_result r =
        cli_run(EAGLE3 "--steps 40 --accum 2 --validate-every 20 --draft-vocab 100 --log @/elog --type F16 "
                       "-o @/e.safetensors");
    if (r.code) fail_msg("%s", r.err);
    cli_has(r.out, "drafts 100 of 128 tokens, 100.00% of the responses; reads the input of layers 0,1\n");
    cli_has(r.out, "step 40 of 40: loss ");
    assert_string_equal(r.err, "");
    cli_release(&r);
    json_t *step = last_event("elog", "step");
    const json_t *held = cli_member(step, "held_out");
    check_times(step);
    double above = cli_number(held, "loss") - cli_number(held, "loss_least"); /* 1.2 at first */
    assert_true(above > 0 && above < 0.2);
    assert_true(cli_number(held, "acc0") > 0.35 && cli_number(held, "acc2") > 0.3);
    json_decref(step);
    cli_expect("run -m @/m.gguf -d eagle3:@/e.safetensors -p @/prompts.jsonl --max-tokens 12 --repeat 1", 0,
               "eagle3", "");
}

/* The sizes of the head are as told, else the target's. */
static void test_eagle3_shape(void **state) {
    (void)state;
    static const char *const options[] = {"--heads 2 --head-dim 8", "--heads 4 --kv-heads 1 --taps 2",
                                          "--taps 1,0,2 --prompt 2 --ttt-steps 12 --ff 64 --type Q8_0"};
    static const char *const layers[] = {"layers 0,1\n", "layers 2\n", "layers 1,0,2\n"};
    char command[512];
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        snprintf(command, sizeof command, EAGLE3 "--steps 1 --seq 20 %s -o @/s%zu.gguf", options[i], i);
        cli_expect(command, 0, layers[i], "");
        snprintf(command, sizeof command,
                 "run -m @/m.gguf -d eagle3:@/s%zu.gguf -p @/prompts.jsonl --max-tokens 5 --repeat 1", i);
        cli_expect(command, 0, "eagle3", "");
    }
}

/* A tree of heads that know nothing yet is one that the drafter reads: no path without its beginning. */
static void test_choices(void **state) {
    (void)state;
    cli_expect(MEDUSA "-q --heads 3 --steps 1 --held-out 2 -o @/c.gguf", 0, "", "");
    assert_true(strlen(choices("c.gguf")) > 60);
    cli_expect("run -m @/m.gguf -d medusa:@/c.gguf -p @/prompts.jsonl --max-tokens 5 --repeat 1", 0, "medusa",
               "");
}

/* Each token of a response is learnt, but for the text's first two. */
static void test_targets(void **state) {
    (void)state;
    static const char *const kind[] = {"medusa", "eagle3"};
    static const struct { int prompt, response, targets; } request[] = {{10, 5, 5}, {1, 6, 5}, {14, 30, 6}};
    char command[512], log[32];
    for (int i = 0; i < 6; i++) {
        FILE *f = fopen(cli_at("one.jsonl"), "w");
        assert_non_null(f);
        write_request(f, i, request[i / 2].prompt, request[i / 2].response);
        assert_int_equal(fclose(f), 0);
        snprintf(log, sizeof log, "one%d.log", i);
        snprintf(command, sizeof command,
                 "train %s -q -m @/m.gguf @/one.jsonl --held-out 0 --batch 1 --steps 1 --seq 20 --log @/%s "
                 "-o @/one%d.gguf",
                 kind[i % 2], log, i);
        cli_expect(command, 0, "", "");
        json_t *step = last_event(log, "step");
        cli_is_number(step, "tokens", request[i / 2].targets);
        json_decref(step);
    }
}

/* Without held-out requests there is no tree; the file is a head all the same. */
static void test_formats(void **state) {
    (void)state;
    static const char *const name[] = {"f.safetensors", "f.gguf"};
    char command[512];
    for (int i = 0; i < 2; i++) {
        snprintf(command, sizeof command, MEDUSA "-q --held-out 0 --layers %d --steps 3 -o @/%s", 2 * i,
                 name[i]);
        cli_expect(command, 0, "", "");
        assert_string_equal(choices(name[i]), "");
        snprintf(command, sizeof command,
                 "run -m @/m.gguf -d medusa:@/%s -p @/prompts.jsonl --max-tokens 5 "
                 "--repeat 1",
                 name[i]);
        cli_expect(command, 0, "medusa", "");
    }
}

/* ---- interrupted --------------------------------------------------------- */

static void same_files(const char *a, const char *b) {
    size_t n, m;
    char *one = support_read_file(cli_at(a), &n), *two = support_read_file(cli_at(b), &m);
    assert_int_equal(n, m);
    assert_memory_equal(one, two, n);
    free(one);
    free(two);
}

/* Equal bytes on any number of threads, and after an end in the middle of a step. */
static void check_resume(const char *options, const char *name) {
    char command[1024], whole[64], cut[64];
    snprintf(whole, sizeof whole, "whole.%s", name);
    snprintf(cut, sizeof cut, "cut.%s", name);
    snprintf(command, sizeof command, "%s -q -t 1 -o @/%s", options, whole);
    cli_expect(command, 0, "", "");
    snprintf(command, sizeof command,
             "%s -q --checkpoint-every 5 -o @/%s 2>@/said & child=$!\n"
             "until test -e @/%s.checkpoint; do sleep 0.01; done\n"
             "kill -TERM $child; { wait $child; } 2>@/waited; true",
             options, cut, cut);
    cli_result r = cli_run(command);
    cli_release(&r);
    snprintf(command, sizeof command, "%s -q --checkpoint-every 5 --resume -o @/%s", options, cut);
    cli_expect(command, 0, "", "");
    same_files(whole, cut);
    snprintf(command, sizeof command, "%s -q --resume -m @/other.gguf -o @/%s", options, cut);
    cli_expect(command, 2, "", "target is ");
}

static void test_resume(void **state) {
    (void)state;
    check_resume(MEDUSA "--steps 40 --accum 3", "medusa.gguf");
    check_resume(EAGLE3 "--steps 20 --accum 3", "eagle3.gguf");
    cli_expect(EAGLE3 "-q --steps 20 --accum 3 --taps 0,2 --resume -o @/cut.eagle3.gguf", 2, "",
               "taps is 0,1");
    cli_expect(MEDUSA "-q --steps 40 --accum 3 --heads 1 --resume -o @/cut.medusa.gguf", 2, "", "heads is 2");
}

/* A dump is made once and read again; what does not fit is computed. */
static void test_dump(void **state) {
    (void)state;
    static const char *const kind[] = {MEDUSA "-q --steps 20 --dump @/md.rows ",
                                       EAGLE3 "-q --steps 9 --dump @/ed.rows "};
    char command[1024];
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 2; k++) {
            snprintf(command, sizeof command, "%s -o @/d%d.gguf", kind[i], k);
            cli_expect(command, 0, "", "");
        }
        same_files("d0.gguf", "d1.gguf");
        snprintf(command, sizeof command, "%s --seq 30 -o @/d3.gguf", kind[i]);
        cli_expect(command, 2, "", "made of other requests, or other windows of them");
        snprintf(command, sizeof command, "%s -m @/other.gguf -o @/d3.gguf", kind[i]);
        cli_expect(command, 2, "", "made with another target");
        for (int k = 0; k < 2; k++) {
            unlink(cli_at(k ? "d1.gguf.checkpoint" : "d0.gguf.checkpoint"));
            unlink(cli_at(k ? "d1.gguf" : "d0.gguf"));
        }
    }
    cli_expect(EAGLE3 "--steps 1 --taps 0 --dump @/ed.rows -o @/d3.gguf", 2, "", "made of other layers");
    cli_expect(EAGLE3 "--steps 1 --dump @/a.jsonl -o @/d3.gguf", 2, "", "--dump");
    cli_expect(EAGLE3 "--steps 1 --dump @/d3.gguf -o @/d3.gguf", 2, "", "--dump");
    cli_expect(EAGLE3 "--steps 1 --dump @/no/such -o @/d3.gguf", 2, "", "such");
}

/* ---- what is refused ------------------------------------------------------ */

static void test_refused(void **state) {
    (void)state;
    static const char *const refused[][2] = {
        {"train medusa -m @/m.gguf -o @/x.gguf", "expected a trace"},
        {"train medusa @/a.jsonl -o @/x.gguf", "expected a model, -m MODEL"},
        {MEDUSA, "expected -o FILE"},
        {MEDUSA "-o @/x.bin", "-o: expected a name with .gguf or .safetensors"},
        {MEDUSA "--type Q8_0 -o @/x.safetensors", "--type Q8_0: only a .gguf"},
        {MEDUSA "--type I32 -o @/x.gguf", "--type: expected one of"},
        {MEDUSA "--type Q4_K -o @/x.gguf", "--type Q4_K: rows of 0.0.linear.weight have 64 numbers"},
        {MEDUSA "--lambda 0 -o @/x.gguf", "--lambda: expected more than 0"},
        {MEDUSA "--lambda 1.5 -o @/x.gguf", "--lambda"},
        {MEDUSA "--heads 9 -o @/x.gguf", "--heads"},
        {MEDUSA "--seq 257 -o @/x.gguf", "--seq 257: "},
        {MEDUSA "--seq 2 -o @/x.gguf", "there is nothing to train on"},
        {MEDUSA "--held-out 1 -o @/x.gguf", "there is nothing to train on"},
        {MEDUSA "--matmul fast -o @/x.gguf", "--matmul: expected"},
        {MEDUSA "-o @/m.gguf", "-o"},
        {MEDUSA "--log @/a.jsonl -o @/x.gguf", "--log"},
        {MEDUSA "-o @/no/such.gguf", "-o: "},
        {"train medusa -m @/none.gguf @/a.jsonl -o @/x.gguf", "none.gguf"},
        {"train medusa -m @/a.jsonl @/a.jsonl -o @/x.gguf", "a.jsonl"},
        {"train medusa -m @/m.gguf @/none -o @/x.gguf", "none"},
        {"train medusa -m @/m.gguf @/cut.jsonl -o @/x.gguf", "cut.jsonl:2: "},
        {"train medusa -m @/m.gguf @/a.jsonl @/foreign.jsonl -o @/x.gguf",
         "foreign.jsonl: request 2 has token 128, of another model's vocabulary: "},
        {EAGLE3 "--taps 1,3 -o @/x.gguf", "--taps: expected at most 16 numbers of layers, 0 to 2"},
        {EAGLE3 "--taps 1,,2 -o @/x.gguf", "--taps: "},
        {EAGLE3 "--taps 1, -o @/x.gguf", "--taps: "},
        {EAGLE3 "--taps -1 -o @/x.gguf", "--taps: "},
        {EAGLE3 "--taps 0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0 -o @/x.gguf", "--taps: "},
        {EAGLE3 "--draft-vocab 129 -o @/x.gguf", "--draft-vocab 129: the target has 128"},
        {EAGLE3 "--kv-heads 3 -o @/x.gguf", "heads"},
        {EAGLE3 "--head-dim 7 -o @/x.gguf", "KV heads of 7"},
        {EAGLE3 "--decay 0 -o @/x.gguf", "--decay: expected more than 0"},
        {EAGLE3 "--ttt-steps 13 -o @/x.gguf", "--ttt-steps"},
        {EAGLE3 "--type Q8_0 -o @/x.safetensors", "--type Q8_0: only a .gguf"},
        {"train eagle3 -m @/capped.gguf @/a.jsonl -o @/x.gguf", "capped.gguf: its logits are capped"},
        {"train medusa -m @/m.gguf @/negative.jsonl -o @/x.gguf", "negative.jsonl"},
    };
    cli_write("foreign.jsonl", ONE "{\"prompt\":[1,2],\"response\":[128]}\n");
    cli_write("negative.jsonl", "{\"prompt\":[1,-2],\"response\":[12]}\n");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        cli_expect(refused[i][0], 2, "", refused[i][1]);
    if (access(cli_at("x.gguf"), F_OK) == 0) fail_msg("a refused command left a file");
    cli_expect("train medusa -q -m @/m.gguf @/a.jsonl @/cut.jsonl --skip-bad --steps 1 -o @/y.gguf", 0, "",
               "cut.jsonl: 1 faulty lines left out, the first: ");
}

/* Training stops at once, and leaves nothing. */
static void test_not_a_number(void **state) {
    (void)state;
    cli_expect("train medusa -q -m @/nan.gguf @/a.jsonl --held-out 0 --steps 3 -o @/n.gguf", 1, "",
               "step 1, micro-batch 1 of 1: the loss is not a number");
    cli_expect("train eagle3 -q -m @/nan.gguf @/a.jsonl --held-out 0 --steps 3 -o @/n.gguf", 1, "",
               "step 1, micro-batch 1 of 1: the loss is not a number");
    cli_expect("train medusa -m @/nan.gguf @/a.jsonl --held-out 8 --steps 3 -o @/n.gguf", 2, "requests with ",
               "NaN");
    assert_int_not_equal(access(cli_at("n.gguf"), F_OK), 0);
    assert_int_not_equal(access(cli_at("n.gguf.checkpoint"), F_OK), 0);
}

static void test_full_disk(void **state) {
    (void)state;
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){20000, old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN); /* which the child takes over */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    cli_result r = cli_run(MEDUSA "--steps 4 -o @/full.gguf");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(r.code, 2);
    cli_has(r.err, "no checkpoint: ");
    cli_has(r.err, "full.gguf: not written: ");
    cli_release(&r);
    assert_int_not_equal(access(cli_at("full.gguf"), F_OK), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_medusa),       cmocka_unit_test(test_choices),
        cmocka_unit_test(test_targets),      cmocka_unit_test(test_eagle3),
        cmocka_unit_test(test_eagle3_shape), cmocka_unit_test(test_formats),
        cmocka_unit_test(test_resume),       cmocka_unit_test(test_dump),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_not_a_number),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, set_up, cli_tear_down);
}

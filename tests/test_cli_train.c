/* SPDX-License-Identifier: MIT */
/* specbench train target --text as a user meets it. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli_run.h"
#include "kernels.h"
#include "openblas_core.h"
#include "spec_target.h"
#include "spec_tokenizer.h"
#include "spm_vocab.h"

#define SMALL  "--shape dim=16,layers=1,heads=2,hidden=32,tied=1 --seq 32 --batch 2 "
#define FILES  "--text @/a.txt @/b.txt --vocab @/v.vocab "
#define TARGET "train target -t 2 " FILES SMALL

/* All bytes, and letters with some pairs. */
static void write_vocabulary(void) {
    static const char merged[] = "th he in re or";
    char text[8192];
    size_t n = (size_t)snprintf(text, sizeof text, "<unk>\t0\n<s>\t0\n</s>\t0\n"), score = 0;
    for (unsigned b = 0; b < 256; b++) n += (size_t)snprintf(text + n, sizeof text - n, "<0x%02X>\t0\n", b);
    for (const char *m = merged; m < merged + sizeof merged; m += 3)
        n += (size_t)snprintf(text + n, sizeof text - n, "%.2s\t-%zu\n", m, score++);
    n += (size_t)snprintf(text + n, sizeof text - n, "\xe2\x96\x81\t-%zu\n", score++);
    for (char c = 'a'; c <= 'z'; c++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%c\t-%zu\n", c, score++);
    support_write_file(cli_at("v.vocab"), text, n);
}

static void write_text(const char *name, int documents, const char *end) {
    FILE *f = fopen(cli_at(name), "w");
    assert_non_null(f);
    for (int i = 0; i < documents; i++) {
        fprintf(f, "%s", i ? end : "");
        for (int k = 0; k < 3 + i % 5; k++)
            fprintf(f, "the thinner the rein, the more there is in it %d\n", i % 7);
    }
    assert_int_equal(fclose(f), 0);
}

static int set_up(void **state) {
    const char *core = openblas_core_for(specp_isa_detect());
    if (core) setenv("OPENBLAS_CORETYPE", core, 1); /* so that nothing starts again, with a message */
    cli_set_up(state);
    write_vocabulary();
    write_text("a.txt", 60, "<|doc|>\n");
    write_text("b.txt", 40, "<|doc|>\r\n");
    return 0;
}

/* ---- a run --------------------------------------------------------------- */

static void check_step(const json_t *o, double *clock) {
    const json_t *times = cli_member(o, "times"), *part;
    const char *key;
    double sum = 0;
    json_object_foreach((json_t *)times, key, part) sum += json_number_value(part);
    assert_true(fabs(sum - cli_number(o, "seconds")) < 1e-6);
    assert_true(cli_number(times, "other") < 0.2 * cli_number(o, "seconds") + 1e-3);
    assert_true(cli_number(times, "optimiser") > 0 && cli_number(times, "backward.ffn") > 0);
    assert_true(cli_number(o, "gflops") > 0 && cli_number(cli_member(o, "part_gflops"), "forward.head") > 0);
    assert_true(cli_number(o, "loss") > 0 && cli_number(o, "grad_norm") > 0 && cli_number(o, "lr") > 0);
    assert_in_range((long)cli_number(o, "tokens"), 1, 3 * 64);
    *clock += cli_number(o, "seconds");
}

/* The lines of the log, one after the other; returns how many events of that name there are. */
static size_t check_log(const char *name, const char *event) {
    char *text = support_read_file(cli_at(name), NULL);
    size_t n = 0;
    double clock = 0, step = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *o = cli_parse_json(line);
        const char *is = json_string_value(cli_member(o, "event"));
        n += strcmp(is, event) == 0;
        if (strcmp(is, "step") != 0) assert_true(cli_number(o, "sgemm_gflops") > 0.1);
        if (strcmp(is, "step") == 0) {
            check_step(o, &clock);
            cli_is_number(o, "step", ++step);
            cli_is_number(o, "batches", 3 * step);
            assert_int_equal(json_object_get(o, "held_out") != NULL, (int)step % 10 == 0);
        }
        json_decref(o);
    }
    free(text);
    return n;
}

/* The file is a model that speaks of what it was trained on. */
static void check_model(const char *name) {
    spec_target *t;
    spec_message why = {""};
    spec_tensors *f;
    spec_tokenizer *words;
    if (spec_target_open(&t, cli_at(name), NULL, NULL, &why)) fail_msg("%s", why.text);
    spec_target_free(t);
    assert_int_equal(spec_tensors_open(&f, cli_at(name), NULL, NULL), SPEC_OK);
    assert_int_equal(spec_tokenizer_open(&words, f, NULL, &why), SPEC_OK);
    spec_tokenizer_info info = {.size = sizeof info};
    assert_int_equal(spec_tokenizer_get_info(words, &info), SPEC_OK);
    assert_int_equal(info.n_tokens, 291);
    uint64_t context;
    assert_int_equal(spec_tensors_uint(f, "llama.context_length", &context), SPEC_OK);
    assert_int_equal(context, 32);
    spec_tokenizer_free(words);
    spec_tensors_free(f);
}

static void test_run(void **state) {
    (void)state;
    cli_result r =
        cli_run(TARGET "--steps 30 --accum 3 --lr 0.01 --validate-every 10 --held-out 10 --type Q8_0 "
                       "--shape dim=32,layers=1,heads=2,hidden=32 --log @/log --name small "
                       "--license MIT -o @/m.gguf");
    if (r.code) fail_msg("%s", r.err);
    cli_has(r.out, "documents with ");
    cli_has(r.out, "held out; ");
    cli_has(r.out, "30 steps of 192 tokens, 2 threads");
    cli_has(r.out, "step 10 of 30: loss ");
    cli_has(r.out, "; held out: loss ");
    cli_has(r.out, "% (best)\n");
    cli_has(r.out, "\nforward.ffn ");
    cli_has(r.out, "\nall ");
    cli_has(r.out, " 100.0%");
    cli_has(r.out, " tokens/s in 30 steps\n");
    cli_has(r.out, "m.gguf: ");
    cli_has(r.out, "best after step 30\n");
    assert_string_equal(r.err, "");
    cli_release(&r);
    assert_int_equal(check_log("log", "run"), 1);
    assert_int_equal(check_log("log", "step"), 30);
    assert_int_equal(check_log("log", "end"), 1);
    check_model("m.gguf");
    cli_expect("run -m @/m.gguf -d suffix --prompt 'the thin' --max-tokens 12", 0, "suffix", "");
}

/* The same numbers whatever the threads; epochs are steps. */
static void test_repeats(void **state) {
    (void)state;
    size_t n, m;
    cli_expect(TARGET "-q --epochs 2 -o @/one.gguf", 0, "", "");
    cli_expect("train target -t 1 " FILES SMALL "-q --epochs 2 -o @/two.gguf", 0, "", "");
    char *one = support_read_file(cli_at("one.gguf"), &n), *two = support_read_file(cli_at("two.gguf"), &m);
    assert_int_equal(n, m);
    assert_memory_equal(one, two, n);
    free(one);
    free(two);
}

/* ---- interrupted --------------------------------------------------------- */

static void test_interrupted(void **state) {
    (void)state;
    static const struct { const char *signal, *status; } kind[] = {{"TERM", "143\n"}, {"KILL", "137\n"}};
    char command[1024];
    size_t n, m;
    const char *options = TARGET "-q --steps 300 --accum 2 --checkpoint-every 20 --validate-every 60";
    snprintf(command, sizeof command, "%s -o @/whole.gguf", options);
    cli_expect(command, 0, "", "");
    char *whole = support_read_file(cli_at("whole.gguf"), &n);
    for (int i = 0; i < 2; i++) {
        snprintf(command, sizeof command,
                 "%s -o @/cut%d.gguf 2>@/list & child=$!\n"
                 "until test -e @/cut%d.gguf.checkpoint; do sleep 0.01; done\n"
                 "kill -%s $child; { wait $child; } 2>@/waited; echo $? >@/status; cat @/list",
                 options, i, i, kind[i].signal);
        cli_result r = cli_run(command);
        if (i == 0) cli_has(r.out, "of 300; the same command with --resume goes on");
        cli_release(&r);
        char *status = support_read_file(cli_at("status"), NULL);
        assert_string_equal(status, kind[i].status);
        free(status);
        snprintf(command, sizeof command, "%s -o @/cut%d.gguf", options, i);
        cli_expect(command, 2, "", "is there already: --resume goes on from it");
        snprintf(command, sizeof command, "%s --lr 0.5 --resume -o @/cut%d.gguf", options, i);
        cli_expect(command, 2, "", "lr is 0.002");
        snprintf(command, sizeof command, "%s --resume -o @/cut%d.gguf", options, i);
        cli_expect(command, 0, "", "");
        snprintf(command, sizeof command, "cut%d.gguf", i);
        char *cut = support_read_file(cli_at(command), &m);
        assert_int_equal(n, m);
        assert_memory_equal(whole, cut, n);
        free(cut);
    }
    free(whole);
}

static void test_resume(void **state) {
    (void)state;
    cli_expect(TARGET "--steps 4 --resume -o @/r.gguf", 0, "is not there: beginning anew\n", "");
    cli_expect(TARGET "--steps 4 --resume -o @/r.gguf", 0, "going on after step 4 of 4\n", "");
    cli_expect(TARGET "--steps 4 --resume -o @/r.gguf", 0, " parameters, 0 tokens in ", "");
    cli_expect(TARGET "-q --steps 5 --resume -o @/r.gguf", 2, "", "steps is 4 there, and 5 now");
    cli_expect("train target --text @/a.txt --vocab @/v.vocab " SMALL "-q --steps 4 --resume -o @/r.gguf", 2,
               "", "data is ");
    cli_expect(TARGET "--shape dim=32,heads=2,layers=1,hidden=32,tied=1 -q --steps 4 --resume -o @/r.gguf", 2,
               "", "dim is 16 there, and 32 now");
    cli_write("r.gguf.checkpoint", "nonsense");
    cli_expect(TARGET "-q --steps 4 --resume -o @/r.gguf", 2, "", "r.gguf.checkpoint");
}

/* Weights that grow a hundredfold a step are soon none. The checkpoint is from before, and leads there
 * again. */
static void test_not_a_number(void **state) {
    (void)state;
    const char *command = TARGET "-q --steps 100 --checkpoint-every 1 --lr 10 --warmup 0 --weight-decay 10 "
                                 "--clip 0 --held-out 0 --resume -o @/nan.gguf";
    cli_result r = cli_run(command);
    assert_int_equal(r.code, 1);
    cli_has(r.err, "is not a number");
    cli_has(r.err, "nan.gguf.checkpoint keeps the last good state");
    assert_int_equal(access(cli_at("nan.gguf"), F_OK), -1);
    cli_expect(command, 1, "", r.err);
    cli_release(&r);
}

/* ---- what is refused ------------------------------------------------------ */

static void test_refused(void **state) {
    (void)state;
    static const char *const refused[][2] = {
        {"train target " FILES, "expected -o FILE"},
        {"train target --vocab @/v.vocab -o @/x.gguf", "expected --text FILE"},
        {"train target --text @/a.txt -o @/x.gguf", "expected --vocab FILE"},
        {"train target " FILES "--random tiny -o @/x.gguf", "--text or --random, not both"},
        {TARGET "--steps 3 --epochs 2 -o @/x.gguf", "expected --steps or --epochs, not both"},
        {TARGET "--lr 0 -o @/x.gguf", "--lr: expected more than 0"},
        {TARGET "--lr-last 1 -o @/x.gguf", "--lr-last: expected at most --lr"},
        {TARGET "--arch qwen3 -o @/x.gguf", "--arch goes with --random"},
        {TARGET "--shape dim=6,heads=4 -o @/x.gguf", "no multiple of heads=4"},
        {TARGET "--shape tiny,experts=4 -o @/x.gguf", "has no experts="},
        {TARGET "--shape tiny,vocab=300 -o @/x.gguf", "its vocab= is that of --vocab"},
        {TARGET "--type Q4_K_M -o @/x.gguf", "--type: expected one of"},
        {TARGET "--type I32 -o @/x.gguf", "--type: expected one of"},
        {TARGET "--type Q8_0 -o @/x.gguf", "--type Q8_0: rows of "},
        {TARGET "-o @/no/such.gguf", "-o: "},
        {TARGET "--checkpoint @/no/such -o @/x.gguf", "--checkpoint: "},
        {TARGET "--log @/no/such -o @/x.gguf", "--log: "},
        {TARGET "--checkpoint @/x.gguf -o @/x.gguf", "-o"},
        {TARGET "-o @/a.txt", "-o"},
        {TARGET "--held-out 1 -o @/x.gguf", "there is nothing to train on"},
        {"train target --text @/none.txt --vocab @/v.vocab -o @/x.gguf", "none.txt: cannot read: No such"},
        {"train target --text @/a.txt --vocab @/none.vocab -o @/x.gguf", "none.vocab"},
        {"train target --text @/a.txt --vocab @/a.txt -o @/x.gguf", "a.txt"},
        {"train target --text @/empty.txt --vocab @/v.vocab -o @/x.gguf", "there is nothing to train on"},
    };
    cli_write("empty.txt", "\n<|doc|>\n\n<|doc|>\n");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        cli_expect(refused[i][0], 2, "", refused[i][1]);
    if (access(cli_at("x.gguf"), F_OK) == 0) fail_msg("a refused command left a file");
}

/* Checkpoints and the output do not fit: training goes on, and says so at the end. */
static void test_full_disk(void **state) {
    (void)state;
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){20000, old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN); /* which the child takes over */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    cli_result r = cli_run(TARGET "--steps 20 --checkpoint-every 5 --held-out 0 --type F32 -o @/full.gguf");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(r.code, 2);
    cli_has(r.err, "no checkpoint: ");
    cli_has(r.err, "; training goes on, the one before stays");
    cli_has(r.err, "the last checkpoint could not be written");
    cli_release(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run),          cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_interrupted),  cmocka_unit_test(test_resume),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_not_a_number),
    };
    return cmocka_run_group_tests(tests, set_up, cli_tear_down);
}

/* SPDX-License-Identifier: MIT */
/* specbench gate and train target as a user meets them. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli_run.h"
#include "spec_target.h"

enum { N = 100, VOCAB = 300 };

static float row[N * VOCAB];
static spec_token token[N];

/* ---- golden files of our own --------------------------------------------- */

/* What the model says of tokens, in pieces other than the gate's. */
static void run_model(const char *name) {
    spec_target_options o = {.size = sizeof o, .threads = 1, .isa = 0};
    spec_target *t;
    spec_sequence *s;
    spec_message why = {""};
    if (spec_target_open(&t, cli_at(name), &o, NULL, &why) != SPEC_OK) fail_msg("%s", why.text);
    assert_int_equal(spec_sequence_new(&s, t, 0), SPEC_OK);
    for (size_t at = 0; at < N; at += 10) {
        spec_forward_item item = {.sequence = s, .tokens = token + at, .n_tokens = 10, .all_rows = 1};
        spec_forward_out out;
        if (spec_target_forward(t, &item, 1, NULL, &out, &why) != SPEC_OK) fail_msg("%s", why.text);
        memcpy(row + at * VOCAB, out.logits, 10 * VOCAB * sizeof *row);
    }
    spec_sequence_free(s);
    spec_target_free(t);
}

static void write_npy(const char *name, size_t n) {
    static char file[200 + sizeof row];
    int header =
        snprintf(file + 10, 190, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %d)}\n", n, VOCAB);
    memcpy(file, "\x93NUMPY\x01", 8);
    file[8] = (char)header;
    file[9] = 0;
    memcpy(file + 10 + header, row, n * VOCAB * sizeof *row);
    support_write_file(cli_at(name), file, 10 + (size_t)header + n * VOCAB * sizeof *row);
}

static void write_safetensors(const char *name) {
    spec_writer *w;
    spec_message why = {""};
    uint64_t dim[2] = {N, VOCAB};
    if (spec_writer_new(&w, cli_at(name), SPEC_FORMAT_SAFETENSORS, NULL, &why)) fail_msg("%s", why.text);
    assert_int_equal(spec_writer_tensor(w, "logits", SPEC_TYPE_F32, 2, dim), SPEC_OK);
    assert_int_equal(spec_writer_tensor(w, "tokens", SPEC_TYPE_I32, 1, dim), SPEC_OK);
    assert_int_equal(spec_writer_data(w, row, sizeof row), SPEC_OK);
    assert_int_equal(spec_writer_data(w, token, sizeof token), SPEC_OK);
    if (spec_writer_finish(w, &why)) fail_msg("%s", why.text);
}

static void write_ids(void) {
    char text[N * 8] = "";
    for (size_t i = 0, n = 0; i < N; i++) n += (size_t)snprintf(text + n, 8, "%d\n", token[i]);
    cli_write("ids", text);
    cli_write("ids9", "1 2 3 4 5 6 7 8 9\n");
}

static int set_up(void **state) {
    support_rng rng = support_rng_new(1, 1);
    cli_set_up(state);
    for (size_t i = 0; i < N; i++) token[i] = (spec_token)support_rng_below(&rng, VOCAB);
    cli_expect("train target -q --random tiny,vocab=300,context=128 -o @/m.gguf", 0, "", "");
    cli_expect("train target -q --random tiny,vocab=300,context=128 --seed 2 -o @/other.gguf", 0, "", "");
    cli_expect("train target -q --random tiny,vocab=300,context=64 -o @/short.gguf", 0, "", "");
    cli_expect("train target -q --random tiny,vocab=260 -o @/small.gguf", 0, "", "");
    run_model("m.gguf");
    write_ids();
    write_npy("m.npy", N);
    write_safetensors("m.safetensors");
    row[40 * VOCAB + 7] += 0.25f;
    write_npy("moved.npy", N);
    row[40 * VOCAB + 7] += 50;
    write_npy("wrong.npy", N);
    row[40 * VOCAB + 7] = NAN;
    write_npy("nan.npy", N);
    char high[3 * N + 8] = "7 300";
    for (size_t i = 2; i < N; i++) strcat(high, " 7");
    cli_write("high", high);
    return 0;
}

/* ---- gate ---------------------------------------------------------------- */

static void test_gate_usage(void **state) {
    (void)state;
    cli_result r = cli_run("gate --help");
    assert_int_equal(r.code, 0);
    cli_lines_fit(r.out);
    cli_has(r.out, "specbench gate -m model.gguf --tokens-file ids.txt logits.npy");
    cli_release(&r);
    static const struct {
        const char *arguments, *said;
    } t[] = {
        {"gate @/m.npy", "expected a model, -m MODEL; 'specbench train target"},
        {"gate -m @/m.gguf", "expected a file of recorded logits"},
        {"gate -m @/m.gguf @/m.npy @/m.npy", "one argument too many"},
        {"gate -m @/m.gguf @/m.npy", "m.npy: holds no \"tokens\"; expected the ids beside it: --tokens-file"},
        {"gate -m @/m.gguf @/none.npy --tokens-file @/ids", "none.npy"},
        {"gate -m @/none.gguf @/m.npy --tokens-file @/ids", "none.gguf"},
        {"gate -m @/m.gguf @/m.npy --tokens-file @/none", "none: cannot open"},
        {"gate -m @/m.gguf @/m.npy --tokens-file @/ids9", "ids9: 9 ids for logits of 100 positions"},
        {"gate -m @/m.gguf @/nan.npy --tokens-file @/ids",
         "nan.npy: position 40, token 7: expected a finite number"},
        {"gate -m @/m.gguf @/m.npy --tokens-file @/high",
         "high: token 1 is 300; expected ids below 300, the vocabulary"},
        {"gate -m @/m.gguf @/m.npy --tokens-file @/ids --json @/./ids", "--json: would overwrite"},
        {"gate -m @/m.gguf @/m.npy --tokens-file @/ids --json @/m.npy", "--json: would overwrite"},
        {"gate -m @/m.gguf @/good.jsonl --tokens-file @/ids", "good.jsonl"},
        {"gate -m @/good.jsonl @/m.npy --tokens-file @/ids", "good.jsonl"},
        {"gate -m @/small.gguf @/m.npy --tokens-file @/ids", "a vocabulary of 300; this model's is 260"},
        {"gate -m @/short.gguf @/m.npy --tokens-file @/ids", "100 positions; this model's context is 64"},
        {"gate -m @/m.gguf @/m.safetensors --max-context 50", "this model's context is 50 (--max-context)"},
        {"gate -m @/m.gguf @/m.safetensors --kv Q8_0", "--kv: expected F16 or F32, found 'Q8_0'"},
        {"gate -m @/m.gguf @/m.safetensors --isa mmx", "--isa: expected scalar, avx2"},
        {"gate -m @/m.gguf @/m.safetensors --matmul fast", "--matmul: expected exact, prefill or blas"},
        {"gate -m @/m.gguf @/m.safetensors --threads 0",
         "--threads: '0' is not a whole number from 1 to 256"},
        {"gate -m @/m.gguf @/m.safetensors --min-cosine 1.5",
         "--min-cosine: '1.5' is not a number from 0 to 1"},
        {"gate -m @/m.gguf @/m.safetensors --json @/no/such/file", "--json: "},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) cli_expect(t[i].arguments, 2, "", t[i].said);
}

static void test_gate_tables(void **state) {
    (void)state;
    cli_result r = cli_run("gate -m @/m.gguf @/m.npy --tokens-file @/ids --min-cosine 1");
    assert_int_equal(r.code, 0);
    assert_string_equal(r.err, "");
    cli_has(r.out, "m.npy: 100 positions");
    cli_has(r.out, "100 of 100 positions");
    cli_has(r.out, "row lookup");
    cli_has(r.out, "\nPASSED\n");
    assert_null(strstr(r.out, "MISSED"));
    assert_null(strstr(r.out, "Where the argmax"));
    cli_lines_fit(r.out);
    cli_release(&r);
    r = cli_run("gate -m @/other.gguf @/m.npy --tokens-file @/ids");
    assert_int_equal(r.code, 1);
    cli_has(r.out, "0.970000  MISSED");
    cli_has(r.out, "Where the argmax differs:");
    cli_has(r.out, "more (all are in the JSON)");
    cli_has(r.out, "MISSED: see above");
    cli_lines_fit(r.out);
    cli_release(&r);
    cli_expect("gate -q -m @/other.gguf @/m.npy --tokens-file @/ids", 1, "", "");
    cli_expect("gate -q -m @/m.gguf @/m.safetensors", 0, "", "");
    cli_expect("gate -q -m @/m.gguf @/m.safetensors --tokens-file @/ids", 0, "", "");
}

/* A logit that moved by 0.25, and one by 50, at position 40. */
static void test_gate_limits(void **state) {
    (void)state;
    cli_expect("gate -q -m @/m.gguf @/moved.npy --tokens-file @/ids", 0, "", "");
    cli_expect("gate -q -m @/m.gguf @/moved.npy --tokens-file @/ids --max-difference 0.251", 0, "", "");
    cli_expect("gate -q -m @/m.gguf @/moved.npy --tokens-file @/ids --max-difference 0.249", 1, "", "");
    cli_expect("gate -m @/m.gguf @/moved.npy --tokens-file @/ids --max-difference 0.1", 1, " 0.1  MISSED",
               "");
    cli_expect("gate -q -m @/m.gguf @/moved.npy --tokens-file @/ids --min-cosine 0.9999999", 1, "", "");
    cli_expect("gate -m @/m.gguf @/wrong.npy --tokens-file @/ids", 1, "0.970000  MISSED", "");
    cli_expect("gate -q -m @/m.gguf @/wrong.npy --tokens-file @/ids --min-cosine 0", 0, "", "");
    /* Its margin is above 40 and the difference 50: a factor of 0.5 demands the token. */
    cli_expect("gate -m @/m.gguf @/wrong.npy --tokens-file @/ids --min-cosine 0 --margin-factor 0.5", 1,
               "of those that must be   0 of 1 with", "");
}

static void test_gate_json(void **state) {
    (void)state;
    cli_result r = cli_run("gate -m @/m.gguf @/moved.npy --tokens-file @/ids --json - -t 2 --kv F16");
    assert_int_equal(r.code, 0);
    cli_has(r.err, "PASSED");
    json_t *report = cli_parse_json(r.out);
    cli_release(&r);
    assert_string_equal(json_string_value(cli_member(report, "schema")), "specbench/1");
    assert_string_equal(json_string_value(cli_member(report, "command")), "gate");
    const json_t *gate = cli_member(report, "gate"), *positions = cli_member(report, "positions");
    assert_true(json_is_true(cli_member(gate, "passed")));
    cli_is_number(gate, "positions", N);
    cli_is_number(gate, "difference_worst_position", 40);
    cli_is_number(gate, "cosine_worst_position", 40);
    assert_true(fabs(cli_number(gate, "difference_max") - 0.25) < 1e-5);
    assert_true(cli_number(gate, "cosine_min") < 1 - 1e-6);
    cli_is_number(gate, "argmax_missed", 0);
    cli_is_number(cli_member(report, "settings"), "margin_factor", 2);
    assert_true(json_is_null(cli_member(cli_member(report, "settings"), "max_difference")));
    assert_int_equal(json_array_size(positions), N);
    cli_is_number(json_array_get(positions, 3), "token", token[3]);
    cli_is_number(json_array_get(positions, 3), "difference", 0);
    assert_string_equal(json_string_value(cli_member(cli_member(report, "model"), "kv_type")), "F16");
    cli_is_number(cli_member(report, "model"), "threads", 2);
    assert_true(json_array_size(cli_member(report, "kernels")) > 5);
    json_decref(report);
    cli_expect("gate -q -m @/m.gguf @/m.safetensors --json @/gate.json", 0, "", "");
    char *text = support_read_file(cli_at("gate.json"), NULL);
    cli_has(text, "\"argmax_equal\": 100");
    free(text);
}

/* A slower path is told, whoever asked for it; where the processor has nothing
 * better than scalar code there is none. */
static void test_gate_warns(void **state) {
    (void)state;
    cli_result r =
        cli_run("gate -q -m @/m.gguf @/m.safetensors --isa scalar --min-cosine 1 --max-difference 0");
    assert_int_equal(r.code, 0);
    cli_result best = cli_run("gate -m @/m.gguf @/m.safetensors");
    if (strstr(best.out, "avx")) cli_has(r.err, "warning: attn_q (F32) runs on");
    assert_string_equal(best.err, "");
    cli_release(&best);
    cli_release(&r);
}

/* From a pipe as from a file, also where OpenBLAS makes the program start again. */
static void test_gate_pipe(void **state) {
    (void)state;
    cli_result r =
        cli_run("--version >@/list; cat @/ids | ${SPECBENCH:-build/specbench} gate -q -m @/m.gguf @/m.npy "
                "--tokens-file /dev/stdin");
    assert_int_equal(r.code, 0);
    assert_string_equal(r.err, "");
    cli_release(&r);
}

/* ---- other engines' logits ----------------------------------------------- */

static void test_golden(void **state) {
    (void)state;
    static const char *const type[] = {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q6_K", "Q4_K_M"};
    char folder[200], line[1000];
    if (!support_shared("golden/models/llama-d256", folder, sizeof folder)) SUPPORT_SKIP_NO_SHARED();
    for (size_t i = 0; i < sizeof type / sizeof *type; i++) {
        snprintf(line, sizeof line,
                 "gate -q -m %s/%s.gguf --tokens-file %s/ids.txt %s/%s.ref64.npy --kv F32 --min-cosine 0.999 "
                 "--max-difference %s",
                 folder, type[i], folder, folder, type[i], i < 3 ? "0.00003" : "0.15");
        cli_expect(line, 0, "", "");
    }
    /* Another model of the same vocabulary. */
    char other[200];
    assert_true(support_shared("golden/models/olmo2/F32.gguf", other, sizeof other));
    snprintf(line, sizeof line, "gate -m %s --tokens-file %s/../qwen2/ids.txt %s/../qwen2/F32.ref64.npy",
             other, folder, folder);
    cli_expect(line, 1, "MISSED: see above", "");
}

/* ---- train target -------------------------------------------------------- */

static void test_train(void **state) {
    (void)state;
    static const char *const help[] = {"train target --help", "help train target", "train --help",
                                       "help train"};
    for (size_t i = 0; i < 4; i++) {
        cli_result r = cli_run(help[i]);
        assert_int_equal(r.code, 0);
        cli_lines_fit(r.out);
        cli_has(r.out, i < 2 ? "--seed N" : "Usage: specbench train KIND");
        cli_release(&r);
    }
    cli_expect("train", 2, "", "Usage: specbench train KIND");
    cli_expect("train nothing", 2, "", "there is no kind 'nothing'");
    cli_expect("train target -o @/x.gguf", 2, "", "or --random SHAPE");
    cli_expect("train target --random tiny", 2, "", "expected -o FILE");
    cli_expect("train target --random tinny -o @/x.gguf", 2, "", "'tinny' is neither a shape");
    cli_expect("train target --random tiny --type Q9 -o @/x.gguf", 2, "", "expected one of F32, F16");
    cli_expect("train target --random tiny --arch llma -o @/x.gguf", 2, "", "expected one of llama");
    cli_expect("train target --random tiny -o @/no/such/x.gguf", 2, "", "-o: ");
    cli_expect("train target --random tiny -o -", 2, "", "expected the name of a file");
    cli_expect("train target --random dim=32,layers=1,heads=2,hidden=32 --type Q8_0 -o @/x.gguf", 0,
               "parameters with random weights", "");
}

/* Whoever interrupts it finds no half of a model. */
static void test_train_interrupted(void **state) {
    (void)state;
    cli_result r = cli_run("train target --random 1.1B -q -o @/half.gguf & child=$!\n"
                           "until ls @/half.gguf.* >@/list 2>&1; do sleep 0.01; done\n"
                           "kill $child; { wait $child; } 2>@/list; echo $? >@/status; ls @/half.gguf*");
    char *status = support_read_file(cli_at("status"), NULL);
    assert_string_equal(status, "143\n"); /* ended by the signal */
    assert_string_equal(r.out, "");
    free(status);
    cli_release(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_usage),  cmocka_unit_test(test_gate_tables),
        cmocka_unit_test(test_gate_limits), cmocka_unit_test(test_gate_json),
        cmocka_unit_test(test_gate_warns),  cmocka_unit_test(test_golden),
        cmocka_unit_test(test_train),       cmocka_unit_test(test_train_interrupted),
        cmocka_unit_test(test_gate_pipe),
    };
    return cmocka_run_group_tests(tests, set_up, cli_tear_down);
}

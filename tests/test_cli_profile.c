/* SPDX-License-Identifier: MIT */
/* specbench profile as a user meets it; OpenBLAS's core type; the machine's limits. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli_run.h"
#include "cost_model.h"
#include "kernels.h"
#include "openblas_core.h"
#include "peak.h"

static int set_up(void **state) {
    cli_set_up(state);
    cli_expect("train target -q --random tiny,context=700 --type Q8_0 -o @/m.gguf", 0, "", "");
    cli_expect("train target -q --random tiny,context=100,layers=1 -o @/short.gguf", 0, "", "");
    return 0;
}

#define QUICK "profile -m @/m.gguf -t 2 --repeat 1 "

static void test_usage(void **state) {
    (void)state;
    cli_result r = cli_run("profile --help");
    assert_int_equal(r.code, 0);
    cli_lines_fit(r.out);
    cli_has(r.out, "specbench profile -m model.gguf -o cost.json");
    cli_release(&r);
    static const struct {
        const char *arguments, *said;
    } t[] = {
        {"profile", "expected a model, -m MODEL"},
        {"profile -m @/m.gguf more", "one argument too many"},
        {"profile -m @/none.gguf", "none.gguf"},
        {"profile -m @/good.jsonl", "good.jsonl"},
        {QUICK "--sizes 2,4", "--sizes: expected 1 among them"},
        {QUICK "--sizes 1,x", "--sizes: expected at most 16 whole numbers from 1 to 4096"},
        {QUICK "--sizes 1,", "found '1,'"},
        {QUICK "--sizes ''", "--sizes: expected LIST"},
        {QUICK "--sizes 1,4097", "from 1 to 4096"},
        {QUICK "--sizes 1,2,2", "--sizes: 2 stands there twice"},
        {QUICK "--batches 0", "--batches: expected at most 16 whole numbers from 1 to 256"},
        {QUICK "--batches 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "at most 16"},
        {QUICK "--contexts 0", "--contexts: expected"},
        {QUICK "--contexts 99999999999999999999999", "--contexts: expected"},
        {QUICK "--contexts 64,690 --sizes 1,16", "706 tokens of context and pass do not fit the model's 700"},
        {"profile -m @/short.gguf", "128 tokens of context and pass do not fit the model's 100"},
        {QUICK "--repeat 0", "--repeat: '0'"},
        {QUICK "--sizes 1 -o @/cost.json", "a cost model needs another size beside 1"},
        {QUICK "-o @/no/such/cost.json", "-o: "},
        {QUICK "--json @/no/such/file", "--json: "},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) cli_expect(t[i].arguments, 2, "", t[i].said);
}

static void test_tables(void **state) {
    (void)state;
    cli_result r = cli_run(QUICK "--sizes 4,1,16 --batches 1,3 --contexts 64,20");
    assert_int_equal(r.code, 0);
    assert_string_equal(r.err, "");
    cli_lines_fit(r.out);
    cli_has(r.out, "context 64, 1 sequence\n");
    cli_has(r.out, "context 20, 3 sequences\n");
    cli_has(r.out, "\n   16     48 ");
    cli_has(r.out, "reading 1.0 MB over and over");
    cli_has(r.out, "Prefill  512 tokens");
    cli_has(r.out, "row lookup");
    cli_release(&r);
    /* Contexts that were not asked for are left out where they do not fit. */
    r = cli_run("profile -m @/short.gguf --repeat 1 --sizes 1,2 --batches 1");
    assert_int_equal(r.code, 0);
    cli_has(r.out, "context 64, 1 sequence\n");
    assert_null(strstr(r.out, "context 1,024"));
    assert_null(strstr(r.out, "Prefill"));
    cli_release(&r);
    cli_expect(QUICK "-q --sizes 1 --batches 1 --contexts 8", 0, "", "");
}

/* Its figures hang together. */
static void check_cell(const json_t *c, double read_gbs, double repeats) {
    double median = cli_number(c, "median_ms"), rows = cli_number(c, "n") * cli_number(c, "batch");
    cli_is_number(c, "rows", rows);
    assert_true(cli_number(c, "runs") >= repeats && cli_number(c, "runs") <= 16 * repeats);
    assert_true(0 < cli_number(c, "low_ms") && cli_number(c, "low_ms") <= median);
    assert_true(median <= cli_number(c, "high_ms"));
    assert_true(fabs(cli_number(c, "tokens_per_second") * median / 1e3 / rows - 1) < 1e-6);
    assert_true(fabs(cli_number(c, "read_limit_ms") * read_gbs * 1e6 / cli_number(c, "bytes") - 1) < 1e-6);
    if (cli_number(c, "n") == 1) cli_is_number(c, "ratio", 1);
}

static void test_json(void **state) {
    (void)state;
    cli_result r = cli_run(QUICK "--sizes 1,8 --batches 2,1 --contexts 40,8 --repeat 2 --json - ");
    if (r.code) fail_msg("%s", r.err);
    cli_has(r.err, "context 40, 2 sequences");
    json_t *report = cli_parse_json(r.out);
    cli_release(&r);
    const json_t *cells = cli_member(report, "cells"), *limits = cli_member(report, "limits");
    assert_string_equal(json_string_value(cli_member(report, "command")), "profile");
    assert_int_equal(json_array_size(cells), 8);
    for (size_t i = 0; i < 8; i++) {
        const json_t *c = json_array_get(cells, i);
        cli_is_number(c, "context", i < 4 ? 40 : 8);
        cli_is_number(c, "batch", i / 2 % 2 ? 1 : 2);
        cli_is_number(c, "n", i % 2 ? 8 : 1);
        check_cell(c, cli_number(limits, "read_gb_per_second"), 2);
    }
    /* Weights by hand: 2 layers of q, o, k, v, gate, up, down, and the output. */
    double weights = 2 * (64 * (64 + 64 + 32 + 32) + 3 * 64 * 160) + 512 * 64;
    const json_t *one = json_array_get(cells, 6); /* context 8, batch 1, n 1 */
    double attention = 4.0 * 2 * 64 * 8, kv = 2 * 2 * 32 * 2 * 8;
    cli_is_number(one, "operations", 2 * weights + attention);
    assert_true(fabs(cli_number(one, "bytes") - (weights / 32 * 34 + kv)) < 3000); /* and the norms */
    /* Twice the sequences read twice the cache. */
    const json_t *near = json_array_get(cells, 4), *far = json_array_get(cells, 0);
    assert_true(fabs(cli_number(far, "bytes") - cli_number(near, "bytes") - 2 * (40 - 8) * kv / 8) < 1e-6);
    cli_is_number(cli_member(report, "prefill"), "runs", 2);
    cli_is_number(cli_member(report, "settings"), "repeat", 2);
    json_decref(report);
}

static void test_cost_file(void **state) {
    (void)state;
    cost_model m;
    spec_message why = {""};
    cli_expect(QUICK "-q --sizes 1,2,8 --batches 1,2 --contexts 16,64 -o @/cost.json", 0, "", "");
    if (cost_model_load(&m, cli_at("cost.json"), &why) != SPEC_OK) fail_msg("%s", why.text);
    assert_string_equal(m.name, "m.gguf, 2 threads, context 16, batch 1");
    assert_true(m.n == 3 && m.n_grid == 4 && m.t1_us > 0);
    assert_true(m.point[1].n == 2 && m.point[2].n == 8);
    assert_true(m.grid[3].context == 64 && m.grid[3].batch == 2 && m.grid[3].n == 3);
    assert_true(m.grid[3].t1_us != m.t1_us || m.grid[1].t1_us != m.t1_us);
    assert_true(m.grid[0].t1_us == m.t1_us && m.grid[0].point[2].ratio == m.point[2].ratio);
    cost_model_free(&m);
    cli_expect("replay @/good.jsonl --cost-model @/cost.json --cost-context 60 --cost-batch 2", 0,
               "cost model \"m.gguf, 2 threads", "");
}

/* ---- experts ------------------------------------------------------------- */

static void test_experts(void **state) {
    (void)state;
    json_t *report;
    cli_expect("train target -q --random tiny,layers=1,experts=8 --arch mixtral -o @/x.gguf", 0, "", "");
    cli_result r =
        cli_run("profile -m @/x.gguf -q --repeat 1 --sizes 1,64 --batches 1 --contexts 8 --json -");
    if (r.code) fail_msg("%s", r.err);
    report = cli_parse_json(r.out);
    cli_release(&r);
    const json_t *cells = cli_member(report, "cells");
    double dense = 64 * (64 + 64 + 32 + 32) + 8 * 64 + 512 * 64, expert = 3 * 64 * 160;
    cli_is_number(json_array_get(cells, 0), "operations", 2 * (dense + 2 * expert) + 4 * 64 * 8);
    cli_is_number(json_array_get(cells, 1), "operations", 64 * (2 * (dense + 2 * expert) + 4 * 64 * 8));
    /* One row reads two of eight experts, 64 nearly surely all. */
    double few = cli_number(json_array_get(cells, 0), "bytes"),
           all = cli_number(json_array_get(cells, 1), "bytes");
    assert_true(fabs(all - few - 6 * expert * 4) < 10);
    json_decref(report);
}

/* ---- the machine --------------------------------------------------------- */

static void test_peak(void **state) {
    (void)state;
    enum { SIZE = 100000 };
    unsigned isa = specp_isa_detect();
    specp_team *t;
    uint8_t *bytes = calloc(SIZE, 1);
    assert_non_null(bytes);
    assert_int_equal(specp_team_new(&t, 2, NULL), SPEC_OK);
    double f = peak_float_gops(t), i = peak_int8_gops(t), r = peak_read_gbs(t, bytes, SIZE);
    assert_true(isa & SPECP_ISA_AVX2 ? f > 0.1 && f < 1e5 && i > 0.1 && i < 1e6 : isnan(f) && isnan(i));
    assert_true(r > 0.01 && r < 1e4);
    specp_team_free(t);
    free(bytes);
}

static void test_core_names(void **state) {
    (void)state;
    assert_string_equal(openblas_core_for(SPECP_ISA_AVX2 | SPECP_ISA_AVX512 | SPECP_ISA_VNNI), "SkylakeX");
    assert_string_equal(openblas_core_for(SPECP_ISA_AVX2 | SPECP_ISA_AVX512), "SkylakeX");
    assert_string_equal(openblas_core_for(SPECP_ISA_AVX2), "Haswell");
    assert_null(openblas_core_for(0));
}

/* Told a core type below the processor's, specbench warns and goes on; told
 * nothing, it runs on the right one, at once or after starting again. */
static void test_core_type(void **state) {
    (void)state;
    bool below;
    const char *core = specp_blas_core(&below), *better = openblas_core_for(specp_isa_detect());
    char said[200];
    if (!better || !*core) skip();
    unsetenv("OPENBLAS_CORETYPE");
    cli_result r = cli_run(QUICK "-q --sizes 1 --batches 1 --contexts 8 --matmul blas --json @/b.json");
    assert_int_equal(r.code, 0);
    assert_null(strstr(r.err, "warning: "));
    snprintf(said, sizeof said, "starting again with OPENBLAS_CORETYPE=%s", better);
    if (*r.err) cli_has(r.err, said);
    cli_release(&r);
    char *text = support_read_file(cli_at("b.json"), NULL);
    cli_has(text, "\"kernel\": \"blas\"");
    free(text);
    setenv("OPENBLAS_CORETYPE", "Prescott", 1);
    cli_expect(QUICK "-q --sizes 1 --batches 1 --contexts 8 --matmul prefill", 0, "",
               "warning: OpenBLAS runs its kernels for Prescott, below this processor");
    cli_expect(QUICK "-q --sizes 1 --batches 1 --contexts 8", 0, "", "");
    unsetenv("OPENBLAS_CORETYPE");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage),      cmocka_unit_test(test_tables),    cmocka_unit_test(test_json),
        cmocka_unit_test(test_cost_file),  cmocka_unit_test(test_experts),   cmocka_unit_test(test_peak),
        cmocka_unit_test(test_core_names), cmocka_unit_test(test_core_type),
    };
    return cmocka_run_group_tests(tests, set_up, cli_tear_down);
}

/* SPDX-License-Identifier: MIT */
/* The arithmetic of specbench: percentiles, the bootstrap, cost models, the
 * limit of copying; each against a plainer way of getting the same. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cost_model.h"
#include "hindsight.h"
#include "stats.h"
#include "support.h"
#include "util.h"

static void assert_near(double a, double b, double tolerance) {
    if (!(fabs(a - b) <= tolerance)) fail_msg("%.12g is not within %g of %.12g", a, tolerance, b);
}

/* ---- percentiles --------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The least value that at least p n of the values do not exceed. */
static uint32_t plain_percentile(const uint32_t *sorted, size_t n, double p) {
    for (size_t i = 0; i < n; i++)
        if ((double)(i + 1) >= p * (double)n) return sorted[i];
    return 0;
}

static void test_percentiles(void **state) {
    (void)state;
    static const double p[] = {0.01, 0.25, 0.5, 0.9, 0.99, 1.0};
    static const uint32_t ranges[] = {1, 2, 10, 1000, UINT32_MAX};
    support_rng rng = support_rng_new(support_seed(), 1);
    for (int round = 0; round < 400; round++) {
        uint32_t v[300], sorted[300], range = ranges[round % 5];
        size_t n = support_rng_below(&rng, 300) + 1;
        for (size_t i = 0; i < n; i++) v[i] = sorted[i] = support_rng_below(&rng, range);
        if (round % 7 == 0) qsort(v, n, sizeof *v, by_value); /* in order already */
        qsort(sorted, n, sizeof *sorted, by_value);
        for (size_t k = 0; k < sizeof p / sizeof *p; k++)
            assert_int_equal(stats_percentile(v, n, p[k]), plain_percentile(sorted, n, p[k]));
        stats_times t = stats_summarise(v, n);
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += sorted[i];
        assert_near(t.mean, sum / (double)n, 1e-6 * t.mean);
        assert_near(t.p50, plain_percentile(sorted, n, 0.5), 0);
        assert_near(t.p99, plain_percentile(sorted, n, 0.99), 0);
    }
    assert_int_equal(stats_percentile(NULL, 0, 0.5), 0);
    assert_near(stats_summarise(NULL, 0).mean, 0, 0);
}

/* ---- the bootstrap ------------------------------------------------------- */

static void test_bootstrap_of_equals(void **state) {
    (void)state;
    stats_pair pair[50];
    double ci[2];
    for (uint32_t i = 0; i < 50; i++) pair[i] = (stats_pair){3 * (i + 1), 2 * (i + 1)};
    assert_int_equal(stats_bootstrap(pair, 50, 1000, 1, ci), SPEC_OK);
    assert_near(ci[0], 1.5, 0);
    assert_near(ci[1], 1.5, 0);
    assert_int_equal(stats_bootstrap(pair, 1, 1000, 1, ci), SPEC_OK);
    assert_true(isnan(ci[0]) && isnan(ci[1]));
    assert_int_equal(stats_bootstrap(pair, 0, 1000, 1, ci), SPEC_OK);
    assert_true(isnan(ci[0]) && isnan(ci[1]));
    assert_int_equal(stats_bootstrap(pair, 50, 39, 1, ci), SPEC_ERR_INVALID);
}

static void test_bootstrap_seed(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 2);
    stats_pair pair[60];
    double a[2], b[2], c[2];
    for (size_t i = 0; i < 60; i++)
        pair[i] = (stats_pair){support_rng_below(&rng, 900) + 100, support_rng_below(&rng, 90) + 10};
    assert_int_equal(stats_bootstrap(pair, 60, 1000, 5, a), SPEC_OK);
    assert_int_equal(stats_bootstrap(pair, 60, 1000, 5, b), SPEC_OK);
    assert_int_equal(stats_bootstrap(pair, 60, 1000, 6, c), SPEC_OK);
    assert_memory_equal(a, b, sizeof a);
    assert_true(memcmp(a, c, sizeof a) != 0);
    assert_true(a[0] < a[1]);
}

/*
 * With equal denominators the ratio is a mean, and for a mean of many the
 * bootstrap interval is the normal one, mean -+ 1.96 s / sqrt(n), up to the
 * noise of 4000 resamples (a few percent of the width).
 */
static void test_bootstrap_of_a_mean(void **state) {
    (void)state;
    enum { N = 2000 };
    support_rng rng = support_rng_new(1, 3); /* a fixed case: the tolerance was chosen for it */
    static stats_pair pair[N];
    double sum = 0, squares = 0, ci[2];
    for (size_t i = 0; i < N; i++) {
        uint32_t v = support_rng_below(&rng, 1000);
        pair[i] = (stats_pair){v, 10};
        sum += v / 10.0;
        squares += v / 10.0 * (v / 10.0);
    }
    double mean = sum / N, half = 1.96 * sqrt((squares / N - mean * mean) / N);
    assert_int_equal(stats_bootstrap(pair, N, 4000, 1, ci), SPEC_OK);
    assert_near(ci[0], mean - half, 0.08 * half);
    assert_near(ci[1], mean + half, 0.08 * half);
}

/* ---- cost models --------------------------------------------------------- */

static void test_builtin_cost(void **state) {
    (void)state;
    cost_model m;
    assert_int_equal(cost_model_builtin(&m), SPEC_OK);
    for (size_t n = 1; n <= 4097; n += 13)
        assert_near(cost_model_ratio(&m, n), 1 + (double)(n - 1) / 256, 1e-9);
    cost_model_free(&m);
}

static const char *write_model(const support_tmp *tmp, const char *text, char *path, size_t size) {
    support_tmp_path(tmp, "cost.json", path, size);
    support_write_file(path, text, strlen(text));
    return path;
}

static void test_cost_points(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256];
    cost_model m;
    spec_message why;
    support_tmp_make(&tmp);
    write_model(&tmp,
                "{\"schema\":\"specbench-cost/1\",\"name\":\"box\",\"t1_us\":20000,"
                "\"points\":[[1,1],[5,1.2],[9,2.0],[17,1.8]]}",
                path, sizeof path);
    assert_int_equal(cost_model_load(&m, path, &why), SPEC_OK);
    assert_string_equal(m.name, "box");
    assert_near(m.t1_us, 20000, 0);
    assert_near(cost_model_ratio(&m, 1), 1, 1e-12);
    assert_near(cost_model_ratio(&m, 3), 1.1, 1e-12);
    assert_near(cost_model_ratio(&m, 5), 1.2, 1e-12);
    assert_near(cost_model_ratio(&m, 8), 1.8, 1e-12);
    assert_near(cost_model_ratio(&m, 13), 1.9, 1e-12);
    assert_near(cost_model_ratio(&m, 17), 1.8, 1e-12);
    assert_near(cost_model_ratio(&m, 100), 1.8, 1e-12); /* falls at the end: held, not extended */
    cost_model_free(&m);
    write_model(&tmp, "{\"schema\":\"specbench-cost/1\",\"name\":\"x\",\"points\":[[1,1],[5,2],[9,4]]}", path,
                sizeof path);
    assert_int_equal(cost_model_load(&m, path, &why), SPEC_OK);
    assert_near(m.t1_us, 0, 0);
    assert_near(cost_model_ratio(&m, 17), 8, 1e-12); /* rises at the end: extended */
    cost_model_free(&m);
    support_tmp_remove(&tmp);
}

static void test_bad_cost_files(void **state) {
    (void)state;
#define HEAD "{\"schema\":\"specbench-cost/1\",\"name\":\"x\","
    static const struct {
        const char *text, *word;
    } bad[] = {
        {"", "not valid JSON"},
        {"[]", "\"schema\""},
        {"{\"schema\":\"other\"}", "\"schema\" is not \"specbench-cost/1\""},
        {"{\"schema\":\"specbench-cost/1\"}", "\"name\" is not a string"},
        {HEAD "\"points\":[[1,1]]}", "\"points\" is not an array of two pairs or more"},
        {HEAD "\"points\":{}}", "\"points\" is not an array"},
        {HEAD "\"points\":[[2,1],[3,1]]}", "\"points\"[0]"},
        {HEAD "\"points\":[[1,2],[3,1]]}", "\"points\"[0]"},
        {HEAD "\"points\":[[1,1],[1,2]]}", "\"points\"[1]"},
        {HEAD "\"points\":[[1,1],[8,0]]}", "\"points\"[1]"},
        {HEAD "\"points\":[[1,1],[8,-1]]}", "\"points\"[1]"},
        {HEAD "\"points\":[[1,1],[8]]}", "\"points\"[1]"},
        {HEAD "\"points\":[[1,1],[8,\"2\"]]}", "\"points\"[1]"},
        {HEAD "\"points\":[[1,1],[8.5,2]]}", "\"points\"[1]"},
        {HEAD "\"points\":[[1,1],[8,2]],\"t1_us\":0}", "\"t1_us\""},
        {HEAD "\"points\":[[1,1],[8,2]],\"t1_us\":\"9\"}", "\"t1_us\""},
    };
    support_tmp tmp;
    char path[256];
    cost_model m;
    spec_message why;
    support_tmp_make(&tmp);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_model(&tmp, bad[i].text, path, sizeof path);
        assert_int_equal(cost_model_load(&m, path, &why), SPEC_ERR_CORRUPT);
        if (!strstr(why.text, bad[i].word) || !strstr(why.text, "cost.json: ") ||
            !strstr(why.text, "expected"))
            fail_msg("%s", why.text);
    }
    support_tmp_path(&tmp, "none", path, sizeof path);
    assert_int_equal(cost_model_load(&m, path, &why), SPEC_ERR_NOT_FOUND);
    support_tmp_remove(&tmp);
}

#define GRID HEAD "\"points\":[[1,1],[8,2]],\"grid\":"

static void test_cost_grid(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256];
    cost_model m;
    spec_message why;
    support_tmp_make(&tmp);
    write_model(&tmp,
                GRID "[{\"context\":64,\"batch\":1,\"t1_us\":100,\"points\":[[1,1],[8,2]]},"
                     "{\"context\":1024,\"batch\":1,\"t1_us\":150,\"points\":[[1,1],[4,1.5],[8,3]]},"
                     "{\"context\":64,\"batch\":8,\"t1_us\":400,\"points\":[[1,1],[2,7]]}]}",
                path, sizeof path);
    assert_int_equal(cost_model_load(&m, path, &why), SPEC_OK);
    assert_int_equal(m.n_grid, 3);
    assert_int_equal(m.grid[1].context, 1024);
    assert_int_equal(m.grid[2].batch, 8);
    assert_near(cost_model_ratio(&m, 8), 2, 1e-12);
    assert_int_equal(cost_model_select(&m, 600, 1, &why), SPEC_OK);
    assert_near(cost_model_ratio(&m, 8), 3, 1e-12);
    assert_near(m.t1_us, 150, 0);
    assert_int_equal(cost_model_select(&m, 500, 0, &why), SPEC_OK);
    assert_near(m.t1_us, 100, 0);
    assert_int_equal(cost_model_select(&m, 4096, 8, &why), SPEC_OK);
    assert_near(cost_model_ratio(&m, 2), 7, 1e-12);
    assert_int_equal(cost_model_select(&m, 64, 2, &why), SPEC_ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "nothing was measured at batch 2"));
    assert_near(m.t1_us, 400, 0);
    cost_model_free(&m);
    assert_int_equal(cost_model_builtin(&m), SPEC_OK);
    assert_int_equal(cost_model_select(&m, 64, 1, &why), SPEC_ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "has no grid"));
    cost_model_free(&m);
    support_tmp_remove(&tmp);
}

static void test_bad_cost_grids(void **state) {
    (void)state;
#define POINTS ",\"points\":[[1,1],[8,2]]}"
#define CELL   "{\"context\":64,\"batch\":1,\"t1_us\":9" POINTS
    static const struct {
        const char *text, *word;
    } wrong[] = {
        {GRID "[]}", "\"grid\" is not an array of one entry"},
        {GRID "7}", "\"grid\" is not an array"},
        {GRID "[7]}", "\"grid\"[0]: \"context\""},
        {GRID "[" CELL "," CELL "]}", "\"grid\"[1]: another entry has the same context and batch"},
        {GRID "[{\"context\":-1,\"batch\":1,\"t1_us\":9" POINTS "]}", "\"context\" is not"},
        {GRID "[{\"context\":1.5,\"batch\":1,\"t1_us\":9" POINTS "]}", "\"context\" is not"},
        {GRID "[{\"context\":64,\"batch\":0,\"t1_us\":9" POINTS "]}", "\"batch\" is not"},
        {GRID "[{\"context\":64,\"t1_us\":9" POINTS "]}", "\"batch\" is not"},
        {GRID "[{\"context\":64,\"batch\":1,\"t1_us\":0" POINTS "]}", "\"t1_us\" is not"},
        {GRID "[{\"context\":64,\"batch\":1" POINTS "]}", "\"t1_us\" is not"},
        {GRID "[{\"context\":64,\"batch\":1,\"t1_us\":9,\"points\":[[1,1]]}]}", "\"grid\"[0]: \"points\" is"},
        {GRID "[" CELL ",{\"context\":65,\"batch\":1,\"t1_us\":9,\"points\":[[1,1],[1,2]]}]}",
         "\"grid\"[1]: \"points\"[1]"},
    };
    support_tmp tmp;
    char path[256];
    cost_model m;
    spec_message why;
    support_tmp_make(&tmp);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        write_model(&tmp, wrong[i].text, path, sizeof path);
        assert_int_equal(cost_model_load(&m, path, &why), SPEC_ERR_CORRUPT);
        if (!strstr(why.text, wrong[i].word)) fail_msg("%zu: %s", i, why.text);
    }
    support_tmp_remove(&tmp);
}

static void test_estimate(void **state) {
    (void)state;
    cost_point points[] = {{1, 1}, {3, 1.5}};
    cost_model m = {.t1_us = 10, .point = points, .n = 2};
    uint64_t size[] = {5, 0, 3, 2}; /* 5 steps without a draft, 3 with two nodes, 2 with three */
    metrics run = {.size = size, .n_size = 4};
    run.total.steps = 10;
    run.total.out = 24;
    run.draft.mean = 700, run.update.mean = 300; /* ns: together a tenth of T(1) */
    double cost = 5 * 1 + 3 * 1.5 + 2 * 1.75;
    cost_estimate e = cost_model_estimate(&m, &run);
    assert_near(e.break_even, cost / 10 + 0.1, 1e-12);
    assert_near(e.speedup, 24 / (cost + 1), 1e-12);
    m.t1_us = 0; /* unknown: drafting counts as free */
    e = cost_model_estimate(&m, &run);
    assert_near(e.break_even, cost / 10, 1e-12);
    assert_near(e.speedup, 24 / cost, 1e-12);
    run.total.steps = 0;
    assert_true(isnan(cost_model_estimate(&m, &run).speedup));
}

/* ---- the limit of copying ------------------------------------------------ */

/* Text in pieces: no copy runs from one into the next. */
typedef struct pieces {
    spec_token tok[8000];
    size_t n;
} pieces;

static void add_piece(pieces *p, const spec_token *tok, size_t n) {
    memcpy(p->tok + p->n, tok, n * sizeof *tok);
    p->n += n;
    p->tok[p->n++] = -1;
}

/* The longest continuation next[0..n) of `last` anywhere in the text. */
static size_t plain_copied(const spec_token *text, size_t n_text, spec_token last, const spec_token *next,
                           size_t n) {
    size_t best = 0;
    for (size_t i = 0; i < n_text; i++) {
        size_t k = 0;
        if (text[i] != last) continue;
        while (k < n && i + 1 + k < n_text && text[i + 1 + k] == next[k]) k++;
        if (k > best) best = k;
    }
    return best;
}

static size_t plain_steps(const trace_request *q, const pieces *shared, size_t budget) {
    spec_token own[400];
    size_t n_own = q->n_prompt, steps = 0;
    memcpy(own, q->prompt, q->n_prompt * sizeof *own);
    for (size_t at = 0; at < q->n_response; steps++) {
        size_t left = q->n_response - at, most = left < budget ? left : budget, k = 0;
        if (n_own) {
            size_t a = plain_copied(own, n_own, own[n_own - 1], q->response + at, most);
            size_t b = plain_copied(shared->tok, shared->n, own[n_own - 1], q->response + at, most);
            k = a > b ? a : b;
        }
        size_t taken = k < left ? k + 1 : k;
        memcpy(own + n_own, q->response + at, taken * sizeof *own);
        n_own += taken;
        at += taken;
    }
    return steps;
}

static void random_trace(trace *t, support_rng *rng, size_t n) {
    for (size_t i = 0; i < n; i++) {
        spec_token tok[200];
        uint32_t alphabet = 2 + support_rng_below(rng, 6);
        size_t prompt = support_rng_below(rng, 60), response = 1 + support_rng_below(rng, 120);
        for (size_t k = 0; k < prompt + response; k++) tok[k] = (spec_token)support_rng_below(rng, alphabet);
        assert_int_equal(trace_add(t, "", "", tok, prompt, tok + prompt, response), SPEC_OK);
    }
}

static void check_limit(support_rng *rng, bool use_shared, bool use_warm, uint32_t budget) {
    trace t = {0}, warm = {0};
    static pieces shared;
    hindsight h;
    uint64_t steps = 0, out = 0;
    shared.n = 0;
    random_trace(&t, rng, 8);
    random_trace(&warm, rng, use_warm ? 5 : 0);
    for (size_t i = 0; i < warm.n && use_shared; i++)
        add_piece(&shared, warm.req[i].response, warm.req[i].n_response);
    for (size_t i = 0; i < t.n; i++) {
        steps += plain_steps(&t.req[i], &shared, budget);
        out += t.req[i].n_response;
        if (use_shared) add_piece(&shared, t.req[i].response, t.req[i].n_response);
    }
    hindsight_options o = {.warm = &warm, .n_warm = 1, .shared = use_shared, .budget = budget};
    assert_int_equal(hindsight_run(&h, &t, &o), SPEC_OK);
    assert_int_equal(h.steps, steps);
    assert_int_equal(h.out, out);
    assert_near(h.limit, (double)out / (double)steps, 1e-12);
    trace_free(&t);
    trace_free(&warm);
}

static void test_limit_against_search(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 4);
    for (int i = 0; i < 60; i++) check_limit(&rng, i & 1, i & 2, 1 + support_rng_below(&rng, 12));
    for (int i = 0; i < 8; i++) check_limit(&rng, i & 1, i & 2, 64);
    check_limit(&rng, true, false, 4096);
}

static void test_limit_of_corpus(void **state) {
    (void)state;
    spec_token corpus[] = {5, 6, 7, 8, 9}, prompt[] = {1, 5}, response[] = {6, 7, 8, 9, 2, 3};
    spec_index *x;
    spec_seq seq;
    trace t = {0};
    hindsight h;
    assert_int_equal(spec_index_new(&x, NULL), SPEC_OK);
    assert_int_equal(spec_index_begin(x, &seq), SPEC_OK);
    assert_int_equal(spec_index_append(x, seq, corpus, 5), SPEC_OK);
    assert_int_equal(trace_add(&t, "", "", prompt, 2, response, 6), SPEC_OK);
    assert_int_equal(hindsight_run(&h, &t, &(hindsight_options){.corpus = x, .budget = 64}), SPEC_OK);
    assert_int_equal(h.steps, 2); /* 6 7 8 9 and 2; then 3 */
    assert_int_equal(hindsight_run(&h, &t, &(hindsight_options){.corpus = x, .budget = 2}), SPEC_OK);
    assert_int_equal(h.steps, 3); /* 6 7 and 8; 9 and 2; 3 */
    assert_int_equal(hindsight_run(&h, &t, &(hindsight_options){.budget = 64}), SPEC_OK);
    assert_int_equal(h.steps, 6);
    trace_free(&t);
    spec_index_free(x);
}

/* Measured independently, by searching the text itself. */
static void test_limit_of_shared_traces(void **state) {
    (void)state;
    static const struct {
        const char *file;
        double limit;
    } known[] = {
        {"gsm8k", 3.839}, {"spider_sql_gpt4", 5.634}, {"humaneval_gpt4", 2.795}, {"swe_agent", 3.272}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char name[80], path[256];
        trace t;
        hindsight h;
        spec_message why;
        snprintf(name, sizeof name, "traces/%s.jsonl", known[i].file);
        if (!support_shared(name, path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
        assert_int_equal(trace_load(&t, path, false, &why), SPEC_OK);
        assert_int_equal(hindsight_run(&h, &t, &(hindsight_options){.shared = true, .budget = 64}), SPEC_OK);
        assert_near(h.limit, known[i].limit, 0.0006);
        trace_free(&t);
    }
}

/* ---- files that appear whole or not at all -------------------------------- */

static int fill_hello(FILE *f, void *user) {
    (void)user;
    return fputs("hello", f) < 0;
}

static int fill_halfway(FILE *f, void *user) {
    (void)user;
    fputs("half", f);
    fflush(f);
    errno = ENOSPC;
    return -1;
}

static int count_entry(const struct dirent *e) { return e->d_name[0] != '.'; }

static size_t count_files(const char *directory) {
    struct dirent **entry;
    int n = scandir(directory, &entry, count_entry, NULL);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) free(entry[i]);
    free(entry);
    return (size_t)n;
}

static void test_write_file(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256], link[256];
    spec_message why;
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "file", path, sizeof path);
    support_tmp_path(&tmp, "link", link, sizeof link);
    support_write_file(path, "old", 3);
    assert_int_equal(bench_write_file(path, fill_halfway, NULL, &why), SPEC_ERR_IO);
    assert_non_null(strstr(why.text, "file: cannot write: No space left on device"));
    char *text = support_read_file(path, NULL);
    assert_string_equal(text, "old");
    free(text);
    assert_int_equal(count_files(tmp.path), 1); /* no temporary file is left */
    assert_int_equal(symlink("file", link), 0);
    assert_int_equal(bench_write_file(link, fill_hello, NULL, &why), SPEC_OK);
    text = support_read_file(path, NULL);
    assert_string_equal(text, "hello"); /* through the link, which stays one */
    free(text);
    char target[16];
    assert_int_equal(readlink(link, target, sizeof target), 4);
    assert_int_equal(count_files(tmp.path), 2);
    support_tmp_remove(&tmp);
}

static void test_nearest(void **state) {
    (void)state;
    static const char *const words[] = {"replay", "corpus", "demo", NULL};
    assert_string_equal(bench_nearest("replya", words), "replay");
    assert_string_equal(bench_nearest("corpsu", words), "corpus");
    assert_string_equal(bench_nearest("dem", words), "demo");
    assert_null(bench_nearest("x", words));
    assert_null(bench_nearest("something else entirely", words));
    assert_null(bench_nearest("a word of more than thirty-two bytes in all", words));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_bootstrap_of_equals),
        cmocka_unit_test(test_bootstrap_seed),
        cmocka_unit_test(test_bootstrap_of_a_mean),
        cmocka_unit_test(test_builtin_cost),
        cmocka_unit_test(test_cost_points),
        cmocka_unit_test(test_bad_cost_files),
        cmocka_unit_test(test_cost_grid),
        cmocka_unit_test(test_bad_cost_grids),
        cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_limit_against_search),
        cmocka_unit_test(test_limit_of_corpus),
        cmocka_unit_test(test_limit_of_shared_traces),
        cmocka_unit_test(test_write_file),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

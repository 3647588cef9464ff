/* SPDX-License-Identifier: MIT */
/*
 * What the drafter mix is for: on responses of many kinds more of each draft is right than by
 * the suffix match that is best, and its probabilities are true.
 */
#include "drafting.h"
#include "replay.h"
#include "support.h"
#include "workload.h"

#define N_REQUESTS 25    /* of each kind */
#define SKIP       3000  /* tokens before drafts are judged by their probabilities */
#define ENOUGH     10000 /* drafted tokens for a judgement */

static const char rival[] = "suffix:preset=arctic,tree=1";

static void replay(const char *spec, const trace *t, uint32_t budget, metrics *m) {
    spec_message why;
    spec_drafter *d = drafting_open(spec, NULL);
    const replay_options o = {.budget = budget, .shared = true, .calibration_skip = SKIP};
    if (replay_run(d, t, &o, m, &why)) fail_msg("%s on %s: %s", spec, t->name, why.text);
    spec_drafter_free(d);
}

/* Tokens per step on the trace, and the calibration's sums added to *all. */
static double gain(const char *spec, const trace *t, uint32_t budget, calibration *all) {
    metrics m;
    replay(spec, t, budget, &m);
    double per_step = metrics_tokens_per_step(&m.total);
    for (size_t b = 0; all && b < CALIBRATION_BINS; b++) {
        all->bin[b].nodes += m.calibration.bin[b].nodes;
        all->bin[b].accepted += m.calibration.bin[b].accepted;
        all->bin[b].prob_sum += m.calibration.bin[b].prob_sum;
    }
    metrics_release(&m);
    return per_step;
}

/* All kinds of the workload in turn, as one trace. */
static void mixed_trace(trace *all, const trace *kind, size_t n) {
    for (size_t i = 0; i < N_REQUESTS; i++)
        for (size_t k = 0; k < n; k++) {
            const trace_request *q = &kind[k].req[i];
            assert_int_equal(
                trace_add(all, q->id, q->group, q->prompt, q->n_prompt, q->response, q->n_response), SPEC_OK);
        }
}

/* Ours and theirs on the trace; fails the test unless ours are `least` times as many tokens per step,
 * and the probabilities true. */
static void compare(const char *spec, const trace *t, uint32_t budget, double least) {
    calibration c = {0};
    double ours = gain(spec, t, budget, &c), theirs = gain(rival, t, budget, NULL);
    double ece = calibration_ece(&c);
    print_message("%s on %s, budget %u: %.3f and %.3f tokens per step, ECE %.4f\n", spec,
                  t->name ? t->name : "all kinds", budget, ours, theirs, ece);
    if (!(ours >= least * theirs)) fail_msg("expected %g times as many", least);
    if (calibration_sum(&c).nodes >= ENOUGH && !(ece < 0.02)) fail_msg("expected an ECE of at most 0.02");
}

static void test_the_workload(void **state) {
    (void)state;
    static const struct {
        uint32_t budget;
        double least;
    } cases[] = {{4, 1.04}, {8, 1.08}, {32, 1.12}};
    trace *kind, all = {.name = NULL};
    size_t n;
    const workload_options o = {.size = sizeof o, .seed = support_seed(), .requests_per_kind = N_REQUESTS};
    assert_int_equal(workload_demo(&kind, &n, &o), SPEC_OK);
    mixed_trace(&all, kind, n);
    for (size_t i = 0; i < 3; i++) compare("mix", &all, cases[i].budget, cases[i].least);
    compare("mix:priors=none", &all, 8, 1.04);
    for (size_t k = 0; k < n; k++) compare("mix", &kind[k], 8, 1.02);
    trace_free(&all);
    workload_free(kind, n);
}

static void test_recorded_traces(void **state) {
    (void)state;
    static const char *const files[] = {"traces/mbpp_gpt4.jsonl", "traces/humaneval_gpt4.jsonl"};
    char path[300];
    size_t found = 0;
    for (size_t i = 0; i < 2; i++) {
        trace t;
        spec_message why;
        if (!support_shared(files[i], path, sizeof path)) continue;
        found++;
        if (trace_load(&t, path, false, &why)) fail_msg("%s", why.text);
        compare("mix", &t, 8, 1.12);
        compare("mix:priors=none", &t, 8, 1.12);
        trace_free(&t);
    }
    if (!found) SUPPORT_SKIP_NO_SHARED();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_workload),
        cmocka_unit_test(test_recorded_traces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

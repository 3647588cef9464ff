/* SPDX-License-Identifier: MIT */
/*
 * The goodput policy at work, in a world of made-up drafters: what it keeps of a draft,
 * what it loses where drafts are worthless, that it comes back when they are not any more; and what its calls
 * refuse.
 */
#include <math.h>
#include <string.h>

#include "policy_stage.h"

/* ---- gains ---------------------------------------------------------------------------- */

static void test_right_drafts_are_kept_whole(void **state) {
    (void)state;
    stage w = {.x = {.length = 16, .says = 0.9f}};
    stage_open(&w, 1, 0.02, 0.05, 1);
    stage_passes(&w, 500, 1, 0.05);
    assert_true((double)w.tokens / w.time > 10);
    spec_policy_stats s;
    spec_policy_get_stats(w.p, &s);
    assert_true(s.passes == 500 && s.asked == 500 && s.skipped == 0 && s.kept > 0.9 * 500 * 16);
    assert_true(s.offered >= s.kept && fabs(s.goodput - (double)w.tokens / w.time) < 1);
    stage_close(&w);
}

static void test_it_learns_what_a_boast_is_worth(void **state) {
    (void)state;
    stage w = {.x = {.length = 8, .says = 1}}; /* sure of all; in truth 0.5, 0.25, ... */
    stage_open(&w, 1, 0.1, 0, 2);
    stage_passes(&w, 3000, 0.5, 0);
    w.time = w.plain = 0, w.tokens = 0;
    stage_passes(&w, 3000, 0.5, 0);
    double got = (double)w.tokens / w.time, best = 0, sum = 0;
    for (int n = 0; n <= 8; n++) {
        sum += pow(0.5, n);
        best = fmax(best, sum / (1 + 0.1 * n));
    }
    if (got < 0.97 * best) fail_msg("%g tokens a pass's time, %g can be had", got, best);
    stage_close(&w);
}

/* ---- losses ----------------------------------------------------------------------------- */

/* However the world turns: never more is lost than a share of the time and so many passes. */
static void test_the_loss_is_bounded_against_any_adversary(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 3);
    for (uint64_t round = 0; round < 40; round++) {
        stage w = {.x = {.length = 1 + support_rng_below(&rng, 16), .says = (float)support_rng_unit(&rng)}};
        w.x.draws = support_rng_chance(&rng, 0.4);
        double draft = support_rng_chance(&rng, 0.5) ? 0 : support_rng_unit(&rng) * 3, peak = 0;
        stage_open(&w, 1 + support_rng_below(&rng, MOST), support_rng_unit(&rng) * 0.5, draft, 100 + round);
        for (int phase = 0; phase < 8; phase++) {
            double truth = support_rng_chance(&rng, 0.6) ? 0 : support_rng_unit(&rng);
            w.x.says = (float)support_rng_unit(&rng);
            for (size_t k = support_rng_below(&rng, 800); k; k--) {
                stage_pass(&w, truth, draft);
                double lost = w.time - w.plain - 0.01 * (double)w.passes;
                peak = fmax(peak, lost);
            }
        }
        if (peak > 16) fail_msg("round %d: %g passes lost beyond the share", (int)round, peak);
        stage_close(&w);
    }
}

static void test_worthless_drafts_cost_nearly_nothing(void **state) {
    (void)state;
    const double draft[] = {0, 0.02, 0.5, 2.5};
    for (size_t i = 0; i < 4; i++) {
        stage w = {.x = {.length = 4, .says = 0.9f}};
        stage_open(&w, 1, 0.3, draft[i], 10 + i);
        stage_passes(&w, 20000, 0, draft[i]);
        spec_policy_stats s;
        spec_policy_get_stats(w.p, &s);
        if (w.time > 1.008 * w.plain) fail_msg("draft time %g: %g of plain", draft[i], w.time / w.plain);
        assert_true(s.kept < 200);
        if (draft[i] == 0.5) assert_in_range(s.probes, 10, 60); /* one in 800 passes, at first more */
        assert_true(draft[i] == 0 || s.skipped > 10000 * (draft[i] > 0.1));
        stage_close(&w);
    }
}

/* What was gained before does not count for long. */
static void test_gains_are_not_gambled_away(void **state) {
    (void)state;
    stage w = {.x = {.length = 16, .says = 0.9f}};
    stage_open(&w, 1, 0.06, 0, 15);
    stage_passes(&w, 5000, 1, 0);
    w.time = w.plain = 0;
    for (int i = 0; i < 3000; i++) {
        stage_pass(&w, 0, 0);
        if (w.time - w.plain > 48 + 0.01 * i) fail_msg("%g passes lost in %d", w.time - w.plain, i);
    }
    assert_true(w.time > w.plain + 10); /* or nothing was tested */
    stage_close(&w);
}

static void test_it_notices_when_drafts_pay_again(void **state) {
    (void)state;
    const double draft[] = {0, 0.1, 1};
    for (size_t i = 0; i < 3; i++) {
        stage w = {.x = {.length = 8, .says = 0.9f}};
        stage_open(&w, 2, 0.02, draft[i], 20 + i);
        stage_passes(&w, 5000, 0, draft[i]);
        size_t waited = 0, kept = 0;
        spec_policy_stats s;
        for (; waited < 20000 && kept < 100; waited++) {
            spec_policy_get_stats(w.p, &s);
            kept = s.kept;
            stage_pass(&w, 1, draft[i]);
            spec_policy_get_stats(w.p, &s);
            kept = s.kept - kept >= 8 ? 100 : 0; /* whole drafts */
        }
        if (waited > 60 + 8000 * draft[i]) fail_msg("draft time %g: after %zu passes", draft[i], waited);
        stage_passes(&w, 3000, 1, draft[i]);
        w.time = w.plain = 0;
        stage_passes(&w, 1000, 1, draft[i]);
        assert_true(w.plain > 2 * w.time);
        stage_close(&w);
    }
}

/* A look that finds no room costs nothing: it is made as soon as there is some. */
static void test_a_look_waits_for_room(void **state) {
    (void)state;
    stage w = {.x = {.length = 4, .says = 0.9f}};
    stage_open(&w, 1, 0.3, 0.01, 41);
    stage_passes(&w, 3000, 0, 0.01);
    w.p->probe_credit = 5;
    w.p->loss = 15.9; /* room for the draft, but for no node */
    stage_pass(&w, 0, 0.01);
    assert_true(w.p->probe_credit >= 5 && w.t[0]->n == 0);
    w.p->loss = 0;
    const size_t asked = w.x.asked;
    stage_pass(&w, 0, 0.01);
    assert_true(w.x.asked == asked + 1 && w.p->probe_credit < 1);
    stage_close(&w);
}

static void test_draft_times_are_measured(void **state) {
    (void)state;
    stage w = {.x = {.length = 3, .says = 0.5f, .ns = 250}};
    stage_open(&w, 2, 0.01, 0, 30);
    stage_passes(&w, 100, 0.9, 0);
    spec_policy_stats s;
    spec_policy_get_stats(w.p, &s);
    assert_true(fabs(s.draft_time + 3 * s.node_time - 0.25) < 0.01);
    assert_true(s.unit_ns == 1000);
    w.x.ns = 1000000; /* once: something else was waited for */
    stage_pass(&w, 0.9, 0);
    w.x.ns = 250;
    spec_policy_get_stats(w.p, &s);
    assert_true(s.draft_time + 3 * s.node_time < 0.4);
    for (int i = 0; i < 300; i++) { /* the machine is half as fast as was said: drafts take half the units */
        stage_pass(&w, 0.9, 0);
        spec_policy_timed(w.p, (uint64_t)(2000 * stage_line(&w, 2 + w.t[0]->n + w.t[1]->n, 0, 2)));
    }
    spec_policy_get_stats(w.p, &s);
    assert_true(fabs(s.unit_ns - 2000) < 50 && fabs(s.draft_time + 3 * s.node_time - 0.125) < 0.01);
    stage_close(&w);
}

/* Costs that promise nearly free rows, where each takes a third of a pass: what is measured counts. */
static void test_measured_passes_overrule_the_model(void **state) {
    (void)state;
    for (uint64_t round = 0; round < 3; round++) {
        const double slope = 0.33, truths[] = {0.15, 0.9, 1},
                     truth = truths[round]; /* none pays; some; all */
        stage w = {.x = {.length = 8, .says = (float)truth, .ns = 1}};
        double spent = 0, plain = 0;
        size_t kept = 0;
        stage_open(&w, 1, 0.001, 0, 35 + round);
        for (int i = 0; i < 6000; i++) {
            size_t tokens = w.tokens;
            stage_pass(&w, truth, 0);
            double real = 3 * (1 + slope * w.t[0]->n) * (0.9 + 0.2 * support_rng_unit(&w.x.rng));
            if (support_rng_chance(&w.x.rng, 0.01))
                real *= 30; /* the machine was busy */
            else
                spent += real, plain += 3 * (double)(w.tokens - tokens);
            spec_policy_timed(w.p, (uint64_t)(1000 * real));
            kept += w.t[0]->n;
        }
        spec_policy_stats s;
        spec_policy_get_stats(w.p, &s);
        assert_true(fabs(s.unit_ns - 3000) < 500);
        if (!round && spent > 1.03 * plain) fail_msg("%g of plain decoding's time", spent / plain);
        if (round && spent * 1.5 > plain) fail_msg("only %g times as fast", plain / spent);
        assert_true(round ? kept > 6000 : kept < 1000);
        stage_close(&w);
    }
}

/* At first drafted passes take long: it does not draft then, and tries again later. */
/* An engine that tells only of passes with drafts is not made to run plain ones for ever. */
static void test_passes_told_now_and_then(void **state) {
    (void)state;
    stage w = {.x = {.length = 8, .says = 0.9f}};
    size_t drafted = 0;
    stage_open(&w, 1, 0.02, 0, 42);
    for (int i = 0; i < 300; i++) {
        stage_pass(&w, 1, 0);
        drafted += w.t[0]->n > 0;
        if (w.t[0]->n) spec_policy_timed(w.p, 1000);
    }
    assert_in_range(drafted, 250, 299);
    stage_close(&w);
}

static void test_bad_moments_pass(void **state) {
    (void)state;
    stage w = {.x = {.length = 8, .says = 0.9f, .ns = 1}};
    size_t kept[4] = {0};
    stage_open(&w, 1, 0.02, 0, 38);
    for (int i = 0; i < 12000; i++) {
        stage_pass(&w, 0.9, 0);
        uint32_t n = w.t[0]->n;
        double real = 1 + 0.02 * n;
        if (n && i < 3000) real *= 20;
        spec_policy_timed(w.p, (uint64_t)(1000 * real));
        kept[i / 3000] += n;
    }
    assert_true(kept[0] < 3000 && kept[3] > 15000);
    stage_close(&w);
}

static void test_the_drafter_is_told_what_cannot_pay(void **state) {
    (void)state;
    for (int costly = 0; costly < 2; costly++) {
        stage w = {.x = {.length = 8, .says = 0.9f}};
        stage_open(&w, 1, costly ? 0.1 : 0, 0, 39);
        stage_passes(&w, 200, 0.9, 0);
        spec_policy_stats s;
        spec_policy_get_stats(w.p, &s);
        assert_true(fabs((double)w.x.min_prob - (costly ? 0.25 * s.goodput * 0.1 : 0)) < 0.005);
        stage_close(&w);
    }
}

/* ---- refusals ------------------------------------------------------------------------------------ */

static void test_options_are_checked(void **state) {
    (void)state;
    actor x = {.length = 1};
    spec_message why;
    spec_policy *p = NULL;
    spec_drafter *d = actor_drafter(&x, 70, NULL);
    const spec_pass_cost ok = {0, 1, 1, 1}, twice[] = {{0, 1, 1, 1}, {0, 1, 1, 2}}, free_pass = {0, 1, 1, 0};
    const spec_policy_options bad[] = {
        {.size = sizeof bad[0]},
        {.size = sizeof bad[0], .n_cost = 1},
        {.size = sizeof bad[0], .cost = &free_pass, .n_cost = 1},
        {.size = sizeof bad[0], .cost = twice, .n_cost = 2},
        {.size = sizeof bad[0], .cost = &ok, .n_cost = 1, .pass_time = stage_line},
        {.size = sizeof bad[0], .cost = &ok, .n_cost = 1, .max_nodes = SPEC_TREE_MAX_NODES + 1},
        {.size = sizeof bad[0], .cost = &ok, .n_cost = 1, .max_loss = 1},
        {.size = sizeof bad[0], .cost = &ok, .n_cost = 1, .max_loss = NAN},
        {.size = sizeof bad[0], .cost = &ok, .n_cost = 1, .unit_ns = -1},
        {.size = sizeof bad[0], .cost = &ok, .n_cost = 1, .draft_time = -1},
        {.size = 8, .cost = &ok, .n_cost = 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        why.text[0] = 0;
        if (spec_policy_new(&p, d, &bad[i], NULL, &why) != SPEC_ERR_INVALID) fail_msg("options %zu", i);
        assert_true(why.text[0] && !p);
    }
    assert_int_equal(spec_policy_new(&p, d, NULL, NULL, NULL), SPEC_ERR_INVALID);
    spec_policy_free(NULL);
    spec_policy_end(NULL, NULL);
    spec_policy_options good = {.size = sizeof good, .cost = &ok, .n_cost = 1};
    assert_int_equal(spec_policy_new(&p, d, &good, NULL, &why), 0);
    assert_ptr_equal(spec_policy_drafter(p), d);
    spec_policy_free(p);
}

static void test_calls_are_checked(void **state) {
    (void)state;
    stage w = {.x = {.length = 4, .says = 0.9f}}, other = {.x = {.length = 4}};
    stage_open(&w, 2, 0.01, 0, 80);
    stage_open(&other, 1, 0.01, 0, 81);
    spec_policy_request *mixed[] = {w.r[0], other.r[0]};
    spec_propose_args nan = {.size = sizeof nan, .min_prob = NAN};
    spec_tree *holes[] = {w.t[0], NULL};
    const spec_token bad = -1;
    spec_outcome o = {.size = sizeof o, .committed = &bad, .n_committed = 1};
    assert_int_equal(spec_policy_propose(w.p, mixed, NULL, w.t, 2), SPEC_ERR_INVALID);
    assert_int_equal(spec_policy_propose(w.p, w.r, NULL, holes, 2), SPEC_ERR_INVALID);
    assert_int_equal(spec_policy_propose(w.p, w.r, &nan, w.t, 1), SPEC_ERR_INVALID);
    assert_int_equal(spec_policy_propose(NULL, w.r, NULL, w.t, 1), SPEC_ERR_INVALID);
    assert_int_equal(spec_policy_observe(w.p, other.r[0], &o), SPEC_ERR_INVALID);
    assert_int_equal(spec_policy_observe(w.p, w.r[0], &o), SPEC_ERR_INVALID);
    assert_int_equal(w.x.asked, 0);
    stage_passes(&w, 10, 1, 0);
    spec_policy_stats before, after;
    spec_policy_get_stats(w.p, &before);
    w.x.fails = SPEC_ERR_IO;
    assert_int_equal(spec_policy_propose(w.p, w.r, NULL, w.t, 2), SPEC_ERR_IO);
    assert_true(w.t[0]->n == 0 && w.t[1]->n == 0);
    spec_policy_get_stats(w.p, &after);
    assert_memory_equal(&before, &after, sizeof before);
    w.x.fails = 0;
    stage_passes(&w, 10, 1, 0);
    assert_true(w.t[0]->n == 4);
    stage_close(&w);
    stage_close(&other);
}

/* A short life, with memory that may be refused anywhere. */
static int live(void *arg, const spec_allocator *a, spec_message *why) {
    actor *x = arg;
    const spec_pass_cost cost[] = {{0, 1, 1, 1}, {0, 1, 64, 2}};
    const spec_policy_options o = {.size = sizeof o, .cost = cost, .n_cost = 2, .max_nodes = 8};
    spec_policy *p = NULL;
    spec_policy_request *r[2] = {0};
    spec_tree tree[2], *t[2] = {&tree[0], &tree[1]};
    spec_drafter *d = actor_drafter(x, 90, a);
    why->text[0] = 0;
    if (!d) return specp_fail(why, SPEC_ERR_NOMEM, "drafter");
    for (int i = 0; i < 2; i++) assert_int_equal(spec_tree_init(&tree[i], 8, 0, 0, NULL), 0);
    int err = spec_policy_new(&p, d, &o, a, why);
    if (err) spec_drafter_free(d);
    for (int i = 0; i < 2 && !err; i++) err = spec_policy_begin(p, NULL, &r[i]);
    for (size_t n = 1; n <= 2 && !err; n++) {
        const spec_token tok = 1;
        spec_outcome outcome = {.size = sizeof outcome, .committed = &tok, .n_committed = 1};
        err = spec_policy_propose(p, r, NULL, t, n);
        if (err) assert_true(tree[0].n == 0 && tree[1].n == 0);
        for (size_t i = 0; i < n && !err; i++) err = spec_policy_observe(p, r[i], &outcome);
    }
    for (int i = 0; i < 2; i++) {
        spec_policy_end(p, r[i]);
        spec_tree_release(&tree[i], NULL);
    }
    spec_policy_free(p);
    return err ? specp_fail(why, err, "refused") : SPEC_OK;
}

static void test_memory_refused(void **state) {
    (void)state;
    actor x = {.length = 4, .says = 0.5f};
    assert_true(support_refuse_each(live, &x) > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_drafts_are_kept_whole),
        cmocka_unit_test(test_it_learns_what_a_boast_is_worth),
        cmocka_unit_test(test_the_loss_is_bounded_against_any_adversary),
        cmocka_unit_test(test_worthless_drafts_cost_nearly_nothing),
        cmocka_unit_test(test_gains_are_not_gambled_away),
        cmocka_unit_test(test_it_notices_when_drafts_pay_again),
        cmocka_unit_test(test_bad_moments_pass),
        cmocka_unit_test(test_the_drafter_is_told_what_cannot_pay),
        cmocka_unit_test(test_a_look_waits_for_room),
        cmocka_unit_test(test_draft_times_are_measured),
        cmocka_unit_test(test_passes_told_now_and_then),
        cmocka_unit_test(test_measured_passes_overrule_the_model),
        cmocka_unit_test(test_options_are_checked),
        cmocka_unit_test(test_calls_are_checked),
        cmocka_unit_test(test_memory_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

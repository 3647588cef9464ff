/* SPDX-License-Identifier: MIT */
/*
 * Sampled acceptance is exact: over three tokens and drafts three deep, every draft and
 * every coin is taken in turn, and the joint law of the first four tokens must be that of plain
 * sampling to 1e-12. Wrong verifiers and wrong drafters must be caught by the same comparison.
 */
#include "oracle_verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EXACT 1e-12

typedef double joint_law[ORACLE_OUTCOMES];

static double distance(const double *a, const double *b) {
    double worst = 0.0;
    for (size_t i = 0; i < ORACLE_OUTCOMES; i++) worst = fmax(worst, fabs(a[i] - b[i]));
    return worst;
}

/* ---- ways of sampling ------------------------------------------------------------- */

/* Allows what depends on the whole text before: never all, never none. */
static int grammar(void *user, const spec_row_place *at, const uint32_t **allowed) {
    static const uint32_t masks[] = {7, 3, 5, 6, 7, 1, 4};
    uint32_t sum = (uint32_t)at->n_text + 3 * (uint32_t)at->n_path;
    (void)user;
    for (size_t i = 0; i < at->n_text; i++) sum += (uint32_t)at->text[i];
    for (size_t i = 0; i < at->n_path; i++) sum += (uint32_t)at->path[i] * (uint32_t)(i + 2);
    *allowed = &masks[sum % 7];
    return SPEC_OK;
}

static const spec_logit_bias bias[] = {{1, 0.75f}, {2, -0.5f}};

static const spec_sampling ways[] = {
    {.size = sizeof(spec_sampling), .temperature = 1.0f},
    {.size = sizeof(spec_sampling), .temperature = 0.6f, .top_k = 2},
    {.size = sizeof(spec_sampling), .temperature = 1.5f, .top_p = 0.8f, .min_p = 0.1f},
    {.size = sizeof(spec_sampling),
     .temperature = 1.2f,
     .repetition_penalty = 1.7f,
     .penalty_window = 3,
     .bias = bias,
     .n_bias = 2,
     .mask = grammar},
    {.size = sizeof(spec_sampling), .temperature = 0.0f},
};
#define N_WAYS (sizeof ways / sizeof *ways)

/* ---- exactness --------------------------------------------------------------------- */

static const oracle_plan chains[] = {
    {{"s"}, 0}, {{"s", "s"}, 0}, {{"s", "s", "s"}, 0}, {{"s", "t", "s"}, 0}, {{"s", "s", "s"}, 2},
};

static const oracle_plan trees[] = {
    {{NULL}, 0},          /* no draft */
    {{"0", "1", "2"}, 0}, /* deterministic: a chain, a tree */
    {{"01", "12", "021"}, 0},
    {{"0", "s", "1"}, 0}, /* chains of both kinds */
    {{"s", "02", "s"}, 0},
    {{"ss"}, 0}, /* with replacement, equal draws merged */
    {{"sss", "s"}, 0},
    {{"ss", "s", "s"}, 0},
    {{"sssss", "ss"}, 3},
    {{"ww"}, 0}, /* without */
    {{"www", "w"}, 0},
    {{"ww", "w", "w"}, 0},
    {{"ww", "ww"}, 4},
    {{"st", "s"}, 0}, /* of two models */
    {{"stst"}, 0},
    {{"wtw", "t"}, 0},
    {{"s0", "s1"}, 0}, /* beside deterministic ones, before and after */
    {{"0s", "1s"}, 0},
    {{"0ss1", "s0"}, 0},
    {{"w1w", "2w"}, 0},
    {{"t0sw", "s"}, 0},
    {{"2ts", "0st"}, 5},
};

/* The largest difference from plain sampling, over the ways of sampling and some worlds. */
static double worst_of(const oracle_plan *plan, oracle_verify_fn rule, oracle_fault fault, uint32_t worlds,
                       bool every_way) {
    support_rng r = support_rng_new(support_seed(), 31);
    oracle_world *w = malloc(sizeof *w);
    spec_sampler *s;
    joint_law plain, joint;
    double worst = 0.0;
    assert_non_null(w);
    assert_int_equal(spec_sampler_new(&s, ORACLE_VOCAB, NULL), 0);
    for (size_t i = 0; i < (every_way ? N_WAYS : 1) * worlds; i++) {
        oracle_world_make(w, &r, 1.0 + 3.0 * support_rng_unit(&r), &ways[i / worlds], s);
        oracle_plain_law(w, plain);
        oracle_output_law(w, plan, rule, fault, s, joint);
        double total = 0.0;
        for (size_t k = 0; k < ORACLE_OUTCOMES; k++) total += joint[k];
        if (!fault) assert_true(fabs(total - 1.0) < EXACT);
        worst = fmax(worst, distance(plain, joint));
    }
    spec_sampler_free(s);
    free(w);
    return worst;
}

static void assert_exact(const oracle_plan *plan, oracle_verify_fn rule) {
    double worst = worst_of(plan, rule, ORACLE_RIGHT, 6, true);
    if (!(worst < EXACT))
        fail_msg("%s %s %s cap %u: the law is %g off", plan->level[0] ? plan->level[0] : "",
                 plan->level[1] ? plan->level[1] : "", plan->level[2] ? plan->level[2] : "", plan->cap,
                 worst);
}

static void test_chains_are_exact(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) assert_exact(&chains[i], spec_verify_sample);
}

static void test_trees_are_exact(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) assert_exact(&trees[i], spec_verify_sample);
}

static void test_blocks_are_exact(void **state) {
    (void)state;
    assert_exact(&trees[0], spec_verify_block);
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) assert_exact(&chains[i], spec_verify_block);
}

static void test_the_oracle_is_exact(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) assert_exact(&trees[i], NULL);
}

static void test_blocks_keep_at_least_as_much(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 32);
    oracle_world *w = malloc(sizeof *w);
    spec_sampler *s;
    joint_law joint;
    uint32_t more = 0;
    assert_int_equal(spec_sampler_new(&s, ORACLE_VOCAB, NULL), 0);
    for (int i = 0; i < 50; i++) {
        oracle_world_make(w, &r, 2.0, &ways[0], s);
        double by_token = oracle_output_law(w, &chains[2], spec_verify_sample, 0, s, joint);
        double by_block = oracle_output_law(w, &chains[2], spec_verify_block, 0, s, joint);
        assert_true(by_block > by_token - EXACT);
        more += by_block > by_token + 1e-4;
    }
    assert_true(more > 25);
    spec_sampler_free(s);
    free(w);
}

/* ---- negative controls ---------------------------------------------------------------- */

#define CAUGHT 1e-4

static void test_wrong_verifiers_are_caught(void **state) {
    (void)state;
    static const struct {
        oracle_fault fault;
        oracle_plan plan;
    } wrong[] = {
        {ORACLE_RESIDUAL_P, {{"s"}, 0}},      {ORACLE_RESIDUAL_P, {{"ww", "w"}, 0}},
        {ORACLE_RESIDUAL_ABS, {{"s"}, 0}},    {ORACLE_RESIDUAL_ABS, {{"ss", "0"}, 0}},
        {ORACLE_UNNORMALISED, {{"ss"}, 0}},   {ORACLE_UNNORMALISED, {{"ww", "w"}, 0}},
        {ORACLE_NO_BONUS, {{"s"}, 0}},        {ORACLE_NO_BONUS, {{"0", "1", "2"}, 0}},
        {ORACLE_ROW_BEFORE, {{"s", "s"}, 0}}, {ORACLE_ROW_BEFORE, {{"01", "1"}, 0}},
        {ORACLE_Q_UNCHANGED, {{"ss"}, 0}},    {ORACLE_Q_UNCHANGED, {{"ww"}, 0}},
        {ORACLE_Q_UNCHANGED, {{"0s"}, 0}},    {ORACLE_Q_OF_SAMPLED, {{"0s"}, 0}},
        {ORACLE_BLIND, {{"s", "s"}, 0}},      {ORACLE_BLIND, {{"st"}, 0}},
    };
    bool seen[ORACLE_FAULTS] = {true};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        double right = worst_of(&wrong[i].plan, NULL, ORACLE_RIGHT, 12, false);
        double off = worst_of(&wrong[i].plan, NULL, wrong[i].fault, 12, false);
        seen[wrong[i].fault] = true;
        if (!(right < EXACT && off > CAUGHT))
            fail_msg("fault %d with %s: off by %g, without it by %g", (int)wrong[i].fault,
                     wrong[i].plan.level[0], off, right);
    }
    for (size_t i = 0; i < ORACLE_FAULTS; i++) assert_true(seen[i]);
}

static void test_wrong_drafters_are_caught(void **state) {
    (void)state;
    static const oracle_plan wrong[] = {
        {{"k"}, 0}, {{"kk"}, 0}, {{"s", "k"}, 0}, {{"wk"}, 0}, {{"so"}, 0}, {{"oo", "s"}, 0},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (!(worst_of(&wrong[i], spec_verify_sample, ORACLE_RIGHT, 12, false) > CAUGHT))
            fail_msg("%s %s passes", wrong[i].level[0], wrong[i].level[1] ? wrong[i].level[1] : "");
    assert_true(worst_of(&(oracle_plan){{"k", "k"}, 0}, spec_verify_block, ORACLE_RIGHT, 12, false) > CAUGHT);
}

/* ---- a corner --------------------------------------------------------------------------- */

static uint32_t always_last(void *user, const double *w, uint32_t n, double total) {
    (void)user, (void)total;
    while (!(w[n - 1] > 0.0)) n--;
    return n - 1;
}

/* p and q are equal, but rounding has p below q everywhere: when the coin, against all
 * odds, rejects the draft, nothing is left of p, and the token comes from p itself. */
static void test_a_residual_of_nothing(void **state) {
    (void)state;
    float logits[2][3] = {{0.0f, 0.0f, 0.0f}, {0.0f, 0.0f, 1.0f}};
    spec_tree t;
    spec_sampler *s;
    int32_t path[1];
    size_t n, rejections = 0;
    spec_token next;
    assert_int_equal(spec_tree_init(&t, 1, 1, 3, NULL), 0);
    assert_int_equal(spec_sampler_new(&s, 3, NULL), 0);
    s->dice.choose = always_last;
    spec_verify_args a = {.size = sizeof a, .tree = &t, .sampling = &ways[0], .logits = logits[0]};
    spec_tree_add(&t, -1, 1, 0.5f, 0);
    t.q_row[0] = 0;
    t.n_q = 1;
    for (int i = 1; i < 1000; i++) {
        for (int x = 0; x < 3; x++) t.q[x] = (float)i / 1000.0f;
        assert_int_equal(spec_verify_sample(s, &a, path, &n, &next, NULL), 0);
        assert_true((n == 0 && next == 2) || (n == 1 && next == 2));
        rejections += n == 0;
    }
    assert_true(rejections > 0);
    spec_sampler_free(s);
    spec_tree_release(&t, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chains_are_exact),
        cmocka_unit_test(test_trees_are_exact),
        cmocka_unit_test(test_blocks_are_exact),
        cmocka_unit_test(test_the_oracle_is_exact),
        cmocka_unit_test(test_blocks_keep_at_least_as_much),
        cmocka_unit_test(test_wrong_verifiers_are_caught),
        cmocka_unit_test(test_wrong_drafters_are_caught),
        cmocka_unit_test(test_a_residual_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

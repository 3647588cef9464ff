/* SPDX-License-Identifier: MIT */
/*
 * The goodput policy's parts against brute force: the choice of nodes against all
 * subsets, the cost of passes against lines drawn one by one, calibration
 * against the laws that made the outcomes; and the policy's calls: misuse, memory.
 */
#include "support.h"

#include <math.h>
#include <string.h>

#include "policy_internal.h"
#include "spy_drafter.h"

/* ---- which nodes pay ---------------------------------------------------------- */

#define NODES 11 /* of all trees together: all subsets are tried */

typedef struct forest {
    specp_candidate_node list[NODES], room[NODES];
    float value[NODES]; /* as made, by number: list[].node is the number */
    int parent[NODES];  /* -1: a root's child */
    double time[NODES + 1];
    double price;
} forest;

/* Trees of several requests, with ties, and times that rise in steps, slowly or not at all. */
static void make_forest(support_rng *r, forest *f) {
    uint32_t requests = 1 + support_rng_below(r, 4), ties = 2 + support_rng_below(r, 20);
    uint32_t steps = 1 + support_rng_below(r, 5);
    for (uint32_t i = 0; i < NODES; i++) {
        uint32_t request = i * requests / NODES;
        f->parent[i] = -1;
        if (i && f->list[i - 1].request == request && support_rng_chance(r, 0.7)) do
                f->parent[i] = (int)support_rng_below(r, i);
            while (f->list[f->parent[i]].request != request);
        float p = (float)(1 + support_rng_below(r, ties)) / (float)ties;
        f->value[i] = f->parent[i] < 0 ? p : p * f->value[f->parent[i]];
        f->list[i] = (specp_candidate_node){f->value[i], request, i};
    }
    double slope = support_rng_unit(r) * 0.3;
    for (uint32_t k = 0; k <= NODES; k++)
        f->time[k] = 1 + slope * (support_rng_chance(r, 0.5) ? k : (k + steps - 1) / steps * steps);
    for (uint32_t k = 1; k <= NODES; k++) f->time[k] = fmax(f->time[k], f->time[k - 1]);
    f->price = support_rng_unit(r) * 6;
}

/* The best of all sets of at most `most` nodes whose parents are in. */
static double best_set(const forest *f, size_t most) {
    double best = 0;
    for (uint32_t set = 0; set < 1u << NODES; set++) {
        double sum = 0;
        size_t n = 0;
        bool whole = true;
        for (uint32_t i = 0; i < NODES; i++) {
            if (!(set >> i & 1)) continue;
            whole = whole && (f->parent[i] < 0 || set >> f->parent[i] & 1);
            sum += (double)f->value[i];
            n++;
        }
        double gain = sum - f->price * (f->time[n] - f->time[0]);
        if (whole && n <= most && gain > best) best = gain;
    }
    return best;
}

static void test_the_choice_is_the_best_of_all(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 1);
    size_t none = 0, some = 0, all = 0;
    for (int round = 0; round < 300; round++) {
        forest f;
        double gain;
        uint32_t chosen = 0;
        make_forest(&rng, &f);
        size_t most = support_rng_chance(&rng, 0.5) ? NODES : support_rng_below(&rng, NODES + 1);
        specp_policy_sort(f.list, f.room, NODES);
        size_t k = specp_policy_choose(f.list, most, f.time, f.price, &gain);
        assert_true(k <= most && fabs(gain - best_set(&f, most)) < 1e-6);
        for (size_t i = 0; i < k; i++) {
            int above = f.parent[f.list[i].node]; /* parents stand before: each beginning is a tree */
            assert_true(above < 0 || chosen >> above & 1);
            chosen |= 1u << f.list[i].node;
        }
        none += k == 0;
        all += k == NODES;
        some += k > 0 && k < NODES;
    }
    assert_true(none > 10 && some > 10 && all > 10);
}

static void test_sorting_is_stable(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 2);
    for (uint32_t n = 0; n < 70; n++) {
        specp_candidate_node list[70], room[70];
        for (uint32_t i = 0; i < n; i++)
            list[i] = (specp_candidate_node){(float)support_rng_below(&rng, 9), 0, i};
        specp_policy_sort(list, room, n);
        for (uint32_t i = 1; i < n; i++)
            assert_true(list[i - 1].value > list[i].value ||
                        (list[i - 1].value == list[i].value && list[i - 1].node < list[i].node));
    }
}

/* ---- what passes cost ----------------------------------------------------------- */

static const spec_pass_cost grid[] = {
    {1024, 8, 64, 90}, {64, 1, 1, 10}, {64, 1, 8, 17},   {64, 1, 16, 12}, {1024, 1, 4, 26},
    {1024, 1, 1, 20},  {64, 8, 8, 30}, {1024, 8, 8, 50}, {64, 8, 64, 44},
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void test_costs_lie_on_lines(void **state) {
    (void)state;
    const struct {
        size_t rows;
        double context, batch, time;
    } want[] = {
        {1, 64, 1, 10},     {8, 64, 1, 17},       {2, 64, 1, 11},  {12, 64, 1, 14.5},
        {20, 64, 1, 12},                                                             /* falls: level */
        {1, 10, 1, 10},     {1, 5000, 1, 20},     {1, 544, 1, 15}, {7, 1024, 1, 32}, /* goes on */
        {8, 64, 8, 30},     {36, 64, 8, 37},      {8, 544, 8, 40}, {3, 64, 8, 30},   /* before the first */
        {8, 64, 4.5, 23.5}, {8, 544, 4.5, 32.75}, {8, 64, 99, 30}, {92, 1024, 8, 110},
    };
    specp_cost c;
    spec_message why = {""};
    const spec_policy_options o = {.cost = grid, .n_cost = COUNT(grid)};
    assert_int_equal(specp_cost_init(&c, &o, NULL, &why), 0);
    for (size_t i = 0; i < COUNT(want); i++) {
        double got = specp_cost_time(&c, want[i].rows, want[i].context, want[i].batch);
        if (fabs(got - want[i].time) > 1e-9) fail_msg("%zu: %g, expected %g", i, got, want[i].time);
    }
    specp_cost_release(&c, NULL);
}

/* ---- calibration ------------------------------------------------------------------ */

/* Tells of n nodes that a drafter held `ratio` probable and that are right as often as `truth`. */
static void tell(specp_calibration *c, support_rng *r, const specp_mark *m, double truth, int n) {
    for (int i = 0; i < n; i++) specp_calibrate_learn(c, m, support_rng_chance(r, truth));
}

static void test_calibration_begins_with_the_drafters_word(void **state) {
    (void)state;
    static specp_calibration c;
    memset(&c, 0, sizeof c);
    for (uint32_t depth = 1; depth < 9; depth++)
        for (uint32_t len = 0; len < 40; len++)
            for (int i = 0; i <= 1000; i++) {
                float ratio = (float)i / 1000;
                specp_mark m = specp_calibrate_mark((int)len % 20, depth, len, ratio);
                assert_true(fabsf(specp_calibrate_read(&c, &m) - ratio) < 1e-5f);
            }
    specp_mark m = specp_calibrate_mark(0, 1, 0, NAN);
    assert_true(specp_calibrate_read(&c, &m) == 0);
}

static void test_calibration_learns_and_forgets(void **state) {
    (void)state;
    static specp_calibration c;
    support_rng rng = support_rng_new(support_seed(), 3);
    memset(&c, 0, sizeof c);
    specp_mark boast = specp_calibrate_mark(SPEC_SOURCE_OWN, 1, 4, 0.9f);
    specp_mark same =
        specp_calibrate_mark(SPEC_SOURCE_OWN, 1, 30, 0.9f); /* another match: knows the coarse tally */
    specp_mark other = specp_calibrate_mark(SPEC_SOURCE_SHARED, 1, 4, 0.9f);
    tell(&c, &rng, &boast, 0.3, 3000);
    assert_true(fabsf(specp_calibrate_read(&c, &boast) - 0.3f) < 0.06f);
    assert_true(fabsf(specp_calibrate_read(&c, &same) - 0.3f) < 0.06f);
    assert_true(fabsf(specp_calibrate_read(&c, &other) - 0.9f) < 1e-5f);
    tell(&c, &rng, &same, 0.8, 3000); /* the fine tallies part */
    assert_true(fabsf(specp_calibrate_read(&c, &boast) - 0.3f) < 0.06f);
    assert_true(fabsf(specp_calibrate_read(&c, &same) - 0.8f) < 0.06f);
    tell(&c, &rng, &boast, 0.7, 6000);
    assert_true(fabsf(specp_calibrate_read(&c, &boast) - 0.7f) < 0.06f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_choice_is_the_best_of_all),
        cmocka_unit_test(test_sorting_is_stable),
        cmocka_unit_test(test_costs_lie_on_lines),
        cmocka_unit_test(test_calibration_begins_with_the_drafters_word),
        cmocka_unit_test(test_calibration_learns_and_forgets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

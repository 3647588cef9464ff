/* SPDX-License-Identifier: MIT */
/*
 * The goodput policy where several requests ride in a pass: one price for all, looks that go round, and
 * drafts with q rows, of which nothing that was drawn may decide what is kept.
 */
#include <math.h>
#include <string.h>

#include "policy_stage.h"

/* ---- a batch ---------------------------------------------------------------------------- */

/* Of all subsets of the nodes as drafted, the gain of the best; value[] as the policy sees them. */
static double best_subset(const float *value, const int *parent, uint32_t n, double price, double slope) {
    double best = 0;
    for (uint32_t set = 0; set < 1u << n; set++) {
        double gain = 0;
        bool whole = true;
        for (uint32_t i = 0; i < n; i++) {
            if (!(set >> i & 1)) continue;
            whole = whole && (parent[i] < 0 || set >> parent[i] & 1);
            gain += (double)value[i] - price * slope;
        }
        if (whole && gain > best) best = gain;
    }
    return best;
}

static void test_a_batch_has_one_price(void **state) {
    (void)state;
    for (uint64_t round = 0; round < 60; round++) {
        stage w = {.x = {.length = 4, .bush = true}};
        stage_open(&w, 3, 0.05 + 0.01 * (double)(round % 20), 0, 40 + round);
        assert_int_equal(spec_policy_propose(w.p, w.r, NULL, w.t, 3), 0);
        const double price = 3; /* of plain decoding, which is all that it knows as yet */
        float value[12];
        int parent[12];
        double kept = 0;
        uint32_t all = 0;
        for (uint32_t i = 0, n = 0; i < 3; i++) {
            uint32_t first = n;
            for (uint32_t k = 0; k < w.r[i]->n_drafted; k++, n++) {
                const specp_drafted *v = &w.r[i]->drafted[k];
                parent[n] = v->parent < 0 ? -1 : (int)first + v->parent;
                value[n] = specp_calibrate_read(&w.p->calibration, &v->mark) *
                           (parent[n] < 0 ? 1 : value[parent[n]]);
            }
            for (uint32_t k = 0; k < w.t[i]->n; k++) {
                uint32_t at = 0; /* tokens tell nodes apart */
                while (w.r[i]->drafted[at].token != w.t[i]->token[k]) at++;
                kept += (double)value[first + at] - price * w.slope;
            }
            all = n;
        }
        assert_true(fabs(kept - best_subset(value, parent, all, price, w.slope)) < 1e-4);
        assert_int_equal(w.x.batched, 1);
        stage_close(&w);
    }
}

static void test_requests_may_sit_out(void **state) {
    (void)state;
    stage w = {.x = {.length = 4, .says = 0.9f}};
    stage_open(&w, 3, 0.01, 0, 50);
    stage_passes(&w, 20, 1, 0);
    spec_tree none = {0}, *two[] = {w.t[2], &none};
    spec_policy_request *some[] = {w.r[2], w.r[0]};
    assert_int_equal(spec_policy_propose(w.p, some, NULL, two, 2), 0);
    assert_true(w.t[2]->n == 4 && none.n == 0);
    const spec_token tok = 1;
    spec_outcome o = {.size = sizeof o, .committed = &tok, .n_committed = 1};
    for (size_t i = 0; i < 3; i++) assert_int_equal(spec_policy_observe(w.p, w.r[i], &o), 0);
    spec_propose_args a[3] = {{.size = sizeof a[0], .budget = 2},
                              {.size = sizeof a[1], .max_depth = 1},
                              {.size = sizeof a[2], .min_prob = 0.85f}};
    assert_int_equal(spec_policy_propose(w.p, w.r, a, w.t, 3), 0);
    assert_true(w.t[0]->n == 2 && w.t[1]->n == 1 && w.t[2]->n == 1);
    assert_int_equal(spec_policy_propose(w.p, w.r, NULL, w.t, 0), 0);
    stage_close(&w);
}

/* Each request's arguments are its own, whoever comes first. */
static void test_each_has_its_own_limits(void **state) {
    (void)state;
    stage w = {.x = {.length = 8, .says = 0.9f}};
    stage_open(&w, MOST, 0.01, 0, 51);
    stage_passes(&w, 20, 1, 0);
    for (uint32_t turn = 0; turn < 2 * MOST; turn++) {
        spec_propose_args a[MOST];
        for (uint32_t i = 0; i < MOST; i++)
            a[i] = (spec_propose_args){.size = sizeof a[i], .budget = i + 1, .max_depth = MOST};
        assert_int_equal(spec_policy_propose(w.p, w.r, a, w.t, MOST), 0);
        for (uint32_t i = 0; i < MOST; i++) assert_int_equal(w.t[i]->n, i + 1);
    }
    stage_close(&w);
}

/* One that never pays does not keep another from being looked at. */
static void test_looks_go_round(void **state) {
    (void)state;
    stage w = {.x = {.length = 8, .says = 0.9f}};
    size_t looks[MOST] = {0}, least = SIZE_MAX, most = 0;
    uint64_t last[MOST] = {0};
    stage_open(&w, MOST, 0.02, 0.1, 30);
    for (int i = 0; i < 5000; i++) {
        stage_pass(&w, 0, 0.1);
        for (size_t k = 0; k < MOST; k++) {
            looks[k] += w.r[k]->last_look != last[k];
            last[k] = w.r[k]->last_look;
        }
    }
    for (size_t k = 0; k < MOST; k++) {
        least = looks[k] < least ? looks[k] : least;
        most = looks[k] > most ? looks[k] : most;
    }
    assert_true(least > 3 && most <= least + 1);
    stage_close(&w);
}

/* What another request's draft gains says nothing about one that is looked at. */
static void test_a_look_is_judged_by_itself(void **state) {
    (void)state;
    static const double each[] = {1, 0};
    stage w = {.x = {.length = 8, .says = 0.9f}, .each = each};
    spec_policy_stats s;
    stage_open(&w, 2, 0.02, 0.5, 40);
    for (int i = 0; i < 20000; i++) {
        w.r[1]->worth = 0;
        stage_pass(&w, 0, 0.5);
    }
    spec_policy_get_stats(w.p, &s);
    assert_true(s.asked > 19000);
    assert_in_range(s.probes, 10, 60);
    stage_close(&w);
}

/* ---- drafts with q rows: nothing that was drawn decides what is kept --------------------------- */

static void test_drawn_drafts_are_kept_as_they_are(void **state) {
    (void)state;
    uint32_t budget[2][400];
    for (int k = 0; k < 2; k++) { /* the same outcomes; what the drafter says of its draws differs */
        stage w = {.x = {.length = 8, .says = k ? 0.8f : 0.99f, .draws = true}};
        stage_open(&w, 1, 0.1, 0, 60);
        w.p->o.max_loss = 0.5; /* nothing but the record decides */
        for (int i = 0; i < 400; i++) {
            stage_pass(&w, i < 200 ? 0.9 : 0.3, 0);
            budget[k][i] = w.x.budget;
            assert_true(w.t[0]->n == (w.x.budget < 8 ? w.x.budget : 8));
        }
        stage_close(&w);
    }
    assert_true(budget[0][199] > 3 && budget[0][399] <= 2);
    assert_memory_equal(budget[0], budget[1], sizeof budget[0]);
}

/* Drafts that stay whole: where little may still be lost, few requests are asked, each time others. */
static void test_drawn_drafts_keep_the_limit(void **state) {
    (void)state;
    stage w = {.x = {.length = 8, .says = 0.9f, .draws = true}};
    size_t nodes[MOST] = {0};
    stage_open(&w, MOST, 0.05, 0, 62);
    stage_passes(&w, 100, 0.9, 0);
    for (int i = 0; i < 4 * MOST; i++) {
        size_t all = 0;
        w.p->loss = 15.7; /* a quarter of what is left: one node */
        stage_pass(&w, 0.9, 0);
        for (size_t k = 0; k < MOST; k++) {
            nodes[k] += w.t[k]->n;
            all += w.t[k]->n;
        }
        assert_int_equal(all, 1);
    }
    for (size_t k = 0; k < MOST; k++) assert_int_equal(nodes[k], 4);
    stage_close(&w);
}

/* Of one draft the record learns once, however the tokens come. */
static void test_a_drawn_draft_teaches_once(void **state) {
    (void)state;
    stage w = {.x = {.length = 8, .says = 0.9f, .draws = true}};
    float before[16];
    stage_open(&w, 1, 0.1, 0, 61);
    stage_passes(&w, 50, 0.5, 0);
    memcpy(before, w.p->right, sizeof before);
    for (int i = 0; i < 20; i++) {
        const spec_token tok = 7;
        spec_outcome o = {.size = sizeof o, .committed = &tok, .n_committed = 1};
        assert_int_equal(spec_policy_observe(w.p, w.r[0], &o), 0);
    }
    assert_memory_equal(before, w.p->right, sizeof before);
    stage_pass(&w, 0.5, 0);
    assert_memory_not_equal(before, w.p->right, sizeof before);
    stage_close(&w);
}

/* Beside drafts that stay, others are chosen by what they add to the rows that there are. */
static void test_drawn_and_other_drafts_share_a_pass(void **state) {
    (void)state;
    size_t more = 0;
    for (uint64_t round = 0; round < 40; round++) {
        stage w = {.x = {.length = 5, .says = 0.9f, .draws = true, .in_turn = true}};
        stage_open(&w, 2, 0.02 + 0.01 * (double)round, 0, 200 + round);
        w.tile = 4;
        assert_int_equal(spec_policy_propose(w.p, w.r, NULL, w.t, 2), 0);
        assert_true(w.t[0]->n_q > 0 && w.t[1]->n_q == 0);
        size_t drawn = w.t[0]->n, best = 0;
        double most = 0, sum = 0, price = 2; /* of plain decoding */
        for (size_t k = 1; k <= w.r[1]->n_drafted; k++) {
            sum += pow((double)0.9f, (double)k);
            double gain =
                sum - price * (stage_line(&w, 2 + drawn + k, 0, 2) - stage_line(&w, 2 + drawn, 0, 2));
            if (gain > most + 1e-9) most = gain, best = k;
        }
        assert_int_equal(w.t[1]->n, best);
        more += best > 0;
        stage_close(&w);
    }
    assert_true(more > 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_batch_has_one_price),
        cmocka_unit_test(test_requests_may_sit_out),
        cmocka_unit_test(test_each_has_its_own_limits),
        cmocka_unit_test(test_looks_go_round),
        cmocka_unit_test(test_a_look_is_judged_by_itself),
        cmocka_unit_test(test_drawn_drafts_are_kept_as_they_are),
        cmocka_unit_test(test_drawn_drafts_keep_the_limit),
        cmocka_unit_test(test_a_drawn_draft_teaches_once),
        cmocka_unit_test(test_drawn_and_other_drafts_share_a_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Calibration: cases computed by hand; drafters whose probabilities are true, or wrong by a
 * known amount; and random drafts against a second account, which is kept by the drafter and
 * settled when every response is known.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calibration.h"
#include "metrics.h"
#include "replay.h"
#include "support.h"

static void assert_near(double a, double b) {
    if (!(fabs(a - b) <= 1e-6)) fail_msg("%.12g is not %.12g", a, b);
}

/* ---- by hand --------------------------------------------------------------- */

typedef struct draft {
    int32_t parent[16];
    float prob[16];
    uint32_t n;
} draft;

/* A step of request `request`, its response now `before` tokens long. */
static void add_step(calibration *c, const draft *d, const int32_t *path, size_t n_path, uint64_t request,
                     uint64_t run_before, uint64_t before, uint64_t committed) {
    draft copy = *d;
    spec_tree t = {.parent = copy.parent, .prob = copy.prob, .n = d->n, .cap = 16};
    calibration_step_facts f = {&t, path, n_path, request, run_before, before, committed};
    assert_int_equal(calibration_step(c, &f), SPEC_OK);
}

static void check_bin(const calibration *c, size_t b, uint64_t nodes, uint64_t accepted, double prob_sum) {
    assert_int_equal(c->bin[b].nodes, nodes);
    assert_int_equal(c->bin[b].accepted, accepted);
    assert_near(c->bin[b].prob_sum, prob_sum);
}

/* The picture in calibration.c: seven drafted, five tokens left; three accepted, two wrong. */
static void test_by_hand(void **state) {
    (void)state;
    calibration c = {.skip = 0};
    const draft d = {{-1, 0, 1, 2, 3, 4, 5}, {0.9f, 0.9f, 0.8f, 0.5f, 0.1f, 0.1f, 0.1f}, 7};
    const draft one = {{-1}, {0.52f}, 1}, nothing = {.n = 0};
    add_step(&c, &d, (int32_t[]){0, 1, 2}, 3, 0, 10, 1, 4);
    add_step(&c, &nothing, NULL, 0, 0, 14, 5, 1);
    calibration_end(&c, 0);
    add_step(&c, &one, (int32_t[]){0}, 1, 1, 15, 0, 2);
    calibration_end(&c, 1);
    assert_int_equal(c.steps, 3);
    assert_int_equal(c.beyond, 2);
    assert_int_equal(c.skipped, 0);
    check_bin(&c, 18, 2, 2, 1.8);
    check_bin(&c, 16, 1, 1, 0.8);
    check_bin(&c, 10, 2, 1, 1.02);
    check_bin(&c, 2, 1, 0, 0.1);
    calibration_bin all = calibration_sum(&c);
    assert_int_equal(all.nodes, 6);
    assert_int_equal(all.accepted, 4);
    assert_near(calibration_said(&c.bin[10]), 0.51);
    assert_near(calibration_was(&c.bin[10]), 0.5);
    assert_near(calibration_ece(&c), (0.2 + 0.2 + 0.02 + 0.1) / 6);
    assert_near(calibration_bias(&c), (3.72 - 4) / 6);
    calibration_release(&c);
}

/* A wrong branch counts as deep as the response goes, and where it goes is known only later. */
static void test_wrong_branches(void **state) {
    (void)state;
    /*  0 - 2 - 3      Only 0 is right. Nodes 3 and 4 are at depth 3.
     *  1    `- 4 */
    const draft d = {{-1, -1, 0, 2, 2}, {0.5f, 0.5f, 0.5f, 0.5f, 0.5f}, 5}, nothing = {.n = 0};
    for (uint64_t more = 0; more < 3; more++) {
        calibration c = {.skip = 0};
        add_step(&c, &d, (int32_t[]){0}, 1, 7, 0, 0, 2);
        check_bin(&c, 10, 3, 1, 1.5);
        if (more) add_step(&c, &nothing, NULL, 0, 7, 2, 2, more);
        calibration_end(&c, 7);
        check_bin(&c, 10, more ? 5 : 3, 1, more ? 2.5 : 1.5);
        assert_int_equal(c.beyond, more ? 0 : 2);
        calibration_release(&c);
    }
}

/* Requests side by side wait apart: the end of one says nothing of the other's. */
static void test_side_by_side(void **state) {
    (void)state;
    calibration c = {.skip = 0};
    const draft d = {{-1, 0}, {0.7f, 0.2f}, 2}, nothing = {.n = 0};
    add_step(&c, &d, NULL, 0, 1, 0, 0, 1);
    add_step(&c, &d, NULL, 0, 2, 1, 0, 1);
    calibration_end(&c, 1);
    assert_int_equal(c.beyond, 1);
    add_step(&c, &nothing, NULL, 0, 3, 2, 8, 1);
    check_bin(&c, 4, 0, 0, 0);
    add_step(&c, &nothing, NULL, 0, 2, 3, 1, 3);
    calibration_end(&c, 2);
    assert_int_equal(c.beyond, 1);
    check_bin(&c, 14, 2, 0, 1.4);
    check_bin(&c, 4, 1, 0, 0.2);
    calibration_release(&c);
}

/* A step counts by where it begins in the run. */
static void test_skip(void **state) {
    (void)state;
    calibration c = {.skip = 10};
    const draft d = {{-1, -1, -1}, {0.3f, 0.2f, 0.1f}, 3};
    add_step(&c, &d, NULL, 0, 0, 9, 9, 5);
    assert_int_equal(c.steps, 0);
    assert_int_equal(c.skipped, 3);
    assert_int_equal(calibration_sum(&c).nodes, 0);
    assert_true(isnan(calibration_ece(&c)) && isnan(calibration_bias(&c)));
    add_step(&c, &d, NULL, 0, 0, 10, 10, 5);
    assert_int_equal(c.steps, 1);
    assert_int_equal(calibration_sum(&c).nodes, 3);
    calibration_release(&c);
    metrics m;
    metrics_init(&m, 1);
    assert_int_equal(m.calibration.skip, 5000);
    metrics_release(&m);
}

/* Edges of bins, and what should not be there. */
static void test_any_probability(void **state) {
    (void)state;
    static const struct {
        float prob;
        size_t bin;
        double counts;
    } t[] = {{0, 0, 0},           {0.049f, 0, 0.049}, {0.05f, 1, 0.05}, {0.5f, 10, 0.5},
             {0.999f, 19, 0.999}, {1, 19, 1},         {2, 19, 1},       {-1, 0, 0},
             {NAN, 0, 0},         {INFINITY, 19, 1},  {1e-30f, 0, 0}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        calibration c = {.skip = 0};
        const draft d = {{-1}, {t[i].prob}, 1};
        add_step(&c, &d, NULL, 0, 0, 0, 0, 1);
        check_bin(&c, t[i].bin, 1, 0, t[i].counts);
        calibration_release(&c);
    }
}

/* ---- drafters that know how often they are right ------------------------------ */

#define N_KINDS 12

/* Chains of two. The first is right in `first` of all cases, the second in `second` of those; errors
 * are carried over, so shares are exact but for one case. What is claimed is more by `more`. */
typedef struct sage {
    double more;
    double owed[N_KINDS][2];
    support_rng rng;
} sage;

typedef struct sage_request {
    const spec_token *truth;
    size_t n, at;
} sage_request;

static int sage_begin(void *self, const spec_request_info *info, void **state) {
    (void)self;
    sage_request *r = malloc(sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    *r = (sage_request){info->reference, info->n_reference, 0};
    *state = r;
    return SPEC_OK;
}

/* Whether it is this case's turn to be right. */
static bool right(double *owed, double share) {
    *owed += share;
    bool now = *owed >= 1;
    if (now) *owed -= 1;
    return now;
}

static int sage_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    sage *s = self;
    const sage_request *r = state;
    (void)a;
    size_t k = support_rng_below(&s->rng, N_KINDS);
    double first = 0.07 + 0.05 * (double)k, second = 0.9;
    bool one = r->n > r->at && right(&s->owed[k][0], first);
    bool two = one && r->n > r->at + 1 && right(&s->owed[k][1], second);
    spec_token true_one = r->at < r->n ? r->truth[r->at] : 0,
               true_two = r->at + 1 < r->n ? r->truth[r->at + 1] : 0;
    spec_tree_add(out, -1, true_one + !one, (float)(first + s->more), 0);
    spec_tree_add(out, 0, true_two + !two, (float)(first * second + s->more), 0);
    return SPEC_OK;
}

static int sage_observe(void *self, void *state, const spec_outcome *o) {
    (void)self;
    ((sage_request *)state)->at += o->n_committed;
    return SPEC_OK;
}

static void free_state(void *self, void *state) {
    (void)self;
    free(state);
}

/* Responses so long that their ends weigh nothing. */
static void long_trace(trace *t) {
    static spec_token text[4000];
    support_rng rng = support_rng_new(1, 2);
    memset(t, 0, sizeof *t);
    for (int i = 0; i < 10; i++) {
        for (size_t k = 0; k < 4000; k++) text[k] = (spec_token)support_rng_below(&rng, 50);
        assert_int_equal(trace_add(t, "", "", text, 1, text, 4000), SPEC_OK);
    }
}

static void run_sage(double more, metrics *m) {
    static const spec_drafter_ops ops = {.version = SPEC_DRAFTER_OPS_V1,
                                         .name = "sage",
                                         .begin = sage_begin,
                                         .propose = sage_propose,
                                         .observe = sage_observe,
                                         .end = free_state};
    sage s = {.more = more, .rng = support_rng_new(3, 4)};
    spec_drafter *d;
    spec_message why;
    trace t;
    long_trace(&t);
    replay_options o = {.budget = 2, .shared = true, .calibration_skip = 5000};
    assert_int_equal(spec_drafter_new(&d, &ops, &s, NULL), SPEC_OK);
    if (replay_run(d, &t, &o, m, &why) != SPEC_OK) fail_msg("%s", why.text);
    spec_drafter_free(d);
    trace_free(&t);
}

static void test_true_probabilities(void **state) {
    (void)state;
    metrics m;
    run_sage(0, &m);
    assert_true(calibration_sum(&m.calibration).nodes > 20000);
    assert_true(m.calibration.skipped > 5000);
    assert_true(calibration_ece(&m.calibration) < 0.003);
    assert_true(fabs(calibration_bias(&m.calibration)) < 0.003);
    metrics_release(&m);
}

static void test_wrong_probabilities(void **state) {
    (void)state;
    static const double more[] = {0.2, 0.1, -0.05};
    for (size_t i = 0; i < 3; i++) {
        metrics m;
        run_sage(more[i], &m);
        if (fabs(calibration_ece(&m.calibration) - fabs(more[i])) > 0.005)
            fail_msg("off by %g: ECE %g", more[i], calibration_ece(&m.calibration));
        if (fabs(calibration_bias(&m.calibration) - more[i]) > 0.005)
            fail_msg("off by %g: bias %g", more[i], calibration_bias(&m.calibration));
        metrics_release(&m);
    }
}

/* ---- a second account ---------------------------------------------------------- */

typedef struct judged {
    float prob;
    bool right; /* its path is the response's */
    size_t begins, place, length;
} judged;

typedef struct clerk {
    support_rng rng;
    size_t run; /* tokens of the run so far */
    judged *node;
    size_t n, cap;
    sage_request now;
} clerk;

static int clerk_begin(void *self, const spec_request_info *info, void **state) {
    ((clerk *)self)->now = (sage_request){info->reference, info->n_reference, 0};
    *state = NULL;
    return SPEC_OK;
}

static int clerk_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    clerk *c = self;
    (void)state;
    uint32_t want = support_rng_below(&c->rng, a->budget + 1);
    for (uint32_t tries = 0; tries < 3 * want && out->n < want; tries++) {
        int32_t parent = (int32_t)support_rng_below(&c->rng, out->n + 1) - 1;
        size_t depth = parent < 0 ? 1 : spec_tree_depth(out, parent) + 1, place = c->now.at + depth;
        bool honest = support_rng_chance(&c->rng, 0.6) && place <= c->now.n;
        spec_token token = honest ? c->now.truth[place - 1] : (spec_token)support_rng_below(&c->rng, 3);
        float above = parent < 0 ? 1 : out->prob[parent];
        if (spec_tree_child(out, parent, token) >= 0) continue;
        spec_tree_add(out, parent, token, above * (float)support_rng_unit(&c->rng), 0);
    }
    assert_true(c->n + out->n <= c->cap);
    for (uint32_t i = 0; i < out->n; i++) {
        judged j = {out->prob[i], true, c->run, c->now.at + spec_tree_depth(out, (int32_t)i), c->now.n};
        size_t place = j.place;
        for (int32_t k = (int32_t)i; k >= 0; k = out->parent[k], place--)
            if (place > c->now.n || out->token[k] != c->now.truth[place - 1]) j.right = false;
        c->node[c->n++] = j;
    }
    return SPEC_OK;
}

static int clerk_observe(void *self, void *state, const spec_outcome *o) {
    clerk *c = self;
    (void)state;
    c->now.at += o->n_committed;
    c->run += o->n_committed;
    return SPEC_OK;
}

static void compare(const calibration *k, const clerk *c, uint64_t skip) {
    calibration_bin bin[CALIBRATION_BINS] = {{0}};
    uint64_t beyond = 0, skipped = 0;
    for (size_t i = 0; i < c->n; i++) {
        const judged *j = &c->node[i];
        if (j->begins < skip) {
            skipped++;
        } else if (j->place > j->length) {
            beyond++;
        } else {
            calibration_bin *b = &bin[(size_t)(j->prob * (float)CALIBRATION_BINS)];
            b->nodes++;
            b->accepted += j->right;
            b->prob_sum += j->prob;
        }
    }
    assert_int_equal(k->beyond, beyond);
    assert_int_equal(k->skipped, skipped);
    assert_int_equal(k->n_pending, 0);
    for (size_t b = 0; b < CALIBRATION_BINS; b++)
        check_bin(k, b, bin[b].nodes, bin[b].accepted, bin[b].prob_sum);
    assert_true(beyond > 0 && calibration_sum(k).accepted > 0);
}

static void test_against_a_second_account(void **state) {
    (void)state;
    static const spec_drafter_ops ops = {.version = SPEC_DRAFTER_OPS_V1,
                                         .name = "clerk",
                                         .begin = clerk_begin,
                                         .propose = clerk_propose,
                                         .observe = clerk_observe};
    support_rng rng = support_rng_new(support_seed(), 5);
    for (int round = 0; round < 20; round++) {
        clerk c = {.rng = support_rng_new(support_seed(), 100 + (uint64_t)round), .cap = 1 << 16};
        c.node = calloc(c.cap, sizeof *c.node);
        trace t = {0};
        for (int i = 0; i < 30; i++) {
            spec_token text[60];
            for (size_t k = 0; k < 60; k++) text[k] = (spec_token)support_rng_below(&rng, 3);
            size_t n = 1 + support_rng_below(&rng, 60);
            assert_int_equal(trace_add(&t, "", "", text, 1, text, n), SPEC_OK);
        }
        spec_drafter *d;
        spec_message why;
        metrics m;
        replay_options o = {.budget = 1 + support_rng_below(&rng, 30),
                            .shared = true,
                            .calibration_skip = support_rng_below(&rng, 200)};
        assert_int_equal(spec_drafter_new(&d, &ops, &c, NULL), SPEC_OK);
        if (replay_run(d, &t, &o, &m, &why) != SPEC_OK) fail_msg("%s", why.text);
        compare(&m.calibration, &c, o.calibration_skip);
        assert_int_equal(m.calibration.beyond + m.calibration.skipped + calibration_sum(&m.calibration).nodes,
                         m.total.drafted);
        metrics_release(&m);
        spec_drafter_free(d);
        trace_free(&t);
        free(c.node);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_wrong_branches),
        cmocka_unit_test(test_side_by_side),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_any_probability),
        cmocka_unit_test(test_true_probabilities),
        cmocka_unit_test(test_wrong_probabilities),
        cmocka_unit_test(test_against_a_second_account),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

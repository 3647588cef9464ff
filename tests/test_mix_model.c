/* SPDX-License-Identifier: MIT */
/*
 * The model of the drafter mix: what a cell holds is the share of what it saw, weights move towards less
 * surprise, probabilities are probabilities and come to be true, and a state written and read
 * is the same bit for bit.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mix_model.h"
#include "support.h"

static mix_tables tables;
static mix_state *state; /* of the test that runs */

static int set_up(void **unused) {
    (void)unused;
    specp_mix_tables(&tables);
    state = malloc(sizeof *state);
    specp_mix_start(state, &tables);
    return 0;
}

static int tear_down(void **unused) {
    (void)unused;
    free(state);
    return 0;
}

static double share(mix_cell c) { return (double)(c >> 10) / 4194303; }

/* A case of n candidates with no evidence at all. */
static mix_case empty_case(uint32_t n) {
    mix_case c;
    memset(&c, 0, sizeof c);
    c.n = n;
    c.n_evidence = MIX_MATCHES;
    for (uint32_t i = 0; i < MIX_EVIDENCE; i++)
        for (uint32_t k = 0; k < MIX_CANDIDATES; k++) c.cell[i][k] = MIX_NO_EVIDENCE;
    for (uint32_t k = 0; k < n; k++) {
        c.token[k] = (spec_token)(100 + k);
        c.rank[k] = 2;
    }
    return c;
}

/* ---- cells ------------------------------------------------------------------ */

/* Path cells begin with a count of 4, evidence with one of 0; see mix_model.c. */
static void test_a_cell_moves_to_what_it_sees(void **unused) {
    (void)unused;
    support_rng rng = support_rng_new(support_seed(), 600);
    for (int every = 1; every < 6; every++) { /* each with cells of its own */
        uint16_t path;
        mix_case c = empty_case(1);
        const uint32_t cell =
            mix_evidence_cell(&tables, mix_evidence_base(&tables, 0, 5), 3, (uint32_t)every, 1);
        c.cell[0][0] = (uint16_t)cell;
        (void)specp_mix_path(state, (uint32_t)every, 0.3f, &path);
        double right = 0, seen = 0, first = share(state->evidence[cell].cell);
        for (int i = 0; i < 200; i++) {
            bool hit = support_rng_below(&rng, (uint32_t)every) == 0;
            specp_mix_weigh(state, &tables, &c);
            specp_mix_learn(state, &tables, &c, hit ? 100 : 7);
            specp_mix_learn_path(state, &tables, path, hit);
            right += hit;
            seen++;
            double mean = (0.5 * first + right) / (0.5 + seen), got = share(state->evidence[cell].cell);
            if (fabs(got - mean) > 0.002) fail_msg("%g after %g of %g", got, right, seen);
        }
        double paths = share(state->path[path].cell), near = right / seen;
        if (fabs(paths - near) > 0.12) fail_msg("path: %g, not %g", paths, near);
        assert_true(state->path[path].value == (float)(state->path[path].cell >> 10) * (1.0f / 4194303));
        assert_true(state->evidence[cell].value == tables.stretch[state->evidence[cell].cell >> 20]);
    }
}

/* After long practice a cell follows what has changed. */
static void test_a_cell_forgets(void **unused) {
    (void)unused;
    uint16_t path;
    (void)specp_mix_path(state, 1, 0.5f, &path);
    for (int i = 0; i < 5000; i++) specp_mix_learn_path(state, &tables, path, true);
    assert_true(state->path[path].value > 0.999f);
    for (int i = 0; i < 1000; i++) specp_mix_learn_path(state, &tables, path, false);
    assert_true(state->path[path].value < 0.05f);
    assert_true(state->path[path].value >= 0);
}

/* Neither the cell of no evidence nor candidates that are not there are touched. */
static void test_what_is_not_there_learns_nothing(void **unused) {
    (void)unused;
    mix_case c = empty_case(2);
    mix_slot before = state->evidence[MIX_NO_EVIDENCE];
    c.cell[1][2] = 17; /* of a place that is not taken */
    mix_slot other = state->evidence[17];
    specp_mix_weigh(state, &tables, &c);
    specp_mix_learn(state, &tables, &c, 100);
    assert_memory_equal(&state->evidence[MIX_NO_EVIDENCE], &before, sizeof before);
    assert_memory_equal(&state->evidence[17], &other, sizeof other);
    assert_true(state->evidence[MIX_NO_EVIDENCE].value == 0);
    for (uint32_t k = 2; k < MIX_CANDIDATES; k++) assert_true(c.p[k] == 0);
}

/* ---- a source of evidence ------------------------------------------------------ */

/*
 * Two kinds of evidence on up to eight candidates: one class is right as often as its hits say, the other
 * tells nothing. Which of them, the match length says.
 */
static spec_token draw_case(support_rng *rng, mix_case *c, double *entropy) {
    static const uint32_t hits[] = {1, 2, 5, 12};
    const uint32_t n = 1 + support_rng_below(rng, MIX_CANDIDATES), best = support_rng_below(rng, n);
    const uint32_t liar = support_rng_below(rng, 2), which = support_rng_below(rng, 4);
    *c = empty_case(n);
    c->match = (uint16_t)(liar ? 3 : 40);
    c->last = (uint16_t)support_rng_below(rng, 5);
    for (uint32_t k = 0; k < n; k++) {
        uint32_t say[2] = {k == best ? hits[which] : 0, support_rng_below(rng, 30)};
        for (uint32_t i = 0; i < 2; i++) {
            uint32_t base = mix_evidence_base(&tables, i, 4);
            uint32_t h = say[i != liar];
            c->cell[2 * i][k] =
                (uint16_t)mix_evidence_cell(&tables, base, h, 12 - (h < 12 ? h : 12), h ? 0 : MIX_RANKS - 1);
        }
        c->token[k] = (spec_token)support_rng_below(rng, 100000);
        c->rank[k] = k == best ? 0 : 1;
    }
    const double p[] = {0.15, 0.4, 0.7, 0.97};
    *entropy = -p[which] * log(p[which]) - (1 - p[which]) * log(1 - p[which]);
    return support_rng_unit(rng) < p[which] ? c->token[best] : -1;
}

/* -ln of the probability that the model gives to what is true of the candidates. */
static double surprise(const mix_case *c, spec_token next) {
    double sum = 0;
    for (uint32_t k = 0; k < c->n; k++) {
        double p = c->token[k] == next ? c->p[k] : 1 - c->p[k];
        sum -= log(p > 1e-6 ? p : 1e-6);
    }
    return sum;
}

/* Probabilities of one case, all of the same step: each in 0..1, together 1 at most. */
static double check_probabilities(const mix_case *c) {
    double sum = 0, mixed = 0;
    for (uint32_t k = 0; k < MIX_CANDIDATES; k++) {
        assert_true(c->p[k] >= 0 && c->p[k] <= 1);
        assert_true((k < c->n) == (c->p[k] > 0));
        sum += c->p[k];
        if (k < c->n) mixed += c->mixed[k];
    }
    assert_true(mixed > 0);
    return sum;
}

static void test_learning_lowers_the_surprise(void **unused) {
    (void)unused;
    enum { CASES = 12000, JUDGED = 2000 };
    support_rng rng = support_rng_new(support_seed(), 601);
    mix_state *fresh = malloc(sizeof *fresh);
    double first = 0, last = 0, least = 0, most = 0;
    specp_mix_start(fresh, &tables);
    for (int i = 0; i < CASES; i++) {
        mix_case c;
        double entropy;
        spec_token next = draw_case(&rng, &c, &entropy);
        if (i >= CASES - JUDGED) {
            mix_case untaught = c;
            specp_mix_weigh(fresh, &tables, &untaught);
            first += surprise(&untaught, next) / JUDGED;
        }
        specp_mix_weigh(state, &tables, &c);
        double sum = check_probabilities(&c);
        most = sum > most ? sum : most;
        if (i >= CASES - JUDGED) {
            last += surprise(&c, next) / JUDGED;
            least += entropy / JUDGED;
        }
        specp_mix_learn(state, &tables, &c, next);
    }
    print_message("surprise %.3f untaught, %.3f taught, %.3f at best; sums to %.3f\n", first, last, least,
                  most);
    assert_true(last < 0.6 * first && last < 1.3 * least);
    assert_true(most <= 1);
    free(fresh);
}

/* ---- maps ---------------------------------------------------------------------- */

/* At first a map changes nothing; it learns what was right at such a product, at no other, and answers are
 * probabilities for any. */
static void test_paths_are_mapped(void **unused) {
    (void)unused;
    for (uint32_t depth = 1; depth < 40; depth++)
        for (double p = 1; p > 1e-9; p *= 0.93) {
            uint16_t cell;
            double got = specp_mix_path(state, depth, (float)p, &cell);
            assert_true(cell < MIX_DEPTHS * MIX_STEPS);
            if (p > 1.0 / 2048 && fabs(got - p) > 0.01 * p) fail_msg("%g becomes %g", p, got);
            assert_true(got > 0 && got <= 1);
        }
    uint16_t cell, other;
    (void)specp_mix_path(state, 3, 0.25f, &cell);
    for (int i = 0; i < 500; i++) specp_mix_learn_path(state, &tables, cell, i % 2);
    assert_true(fabsf(specp_mix_path(state, 3, 0.25f, &other) - 0.5f) < 0.02f);
    assert_int_equal(other, cell);
    assert_true(fabsf(specp_mix_path(state, 3, 0.5f, &other) - 0.5f) < 0.001f);
    assert_true(fabsf(specp_mix_path(state, 4, 0.25f, &other) - 0.25f) < 0.001f);
    assert_true(fabsf(specp_mix_path(state, 3, 0.125f, &other) - 0.125f) < 0.001f);
    double half = specp_mix_path(state, 3, 0.229f, &other); /* between steps */
    assert_true(half > 0.26 && half < 0.49);
}

static void test_reach_learns_the_best(void **unused) {
    (void)unused;
    mix_case c = empty_case(3);
    specp_mix_weigh(state, &tables, &c);
    c.p[0] = 0.1f;
    c.p[1] = 0.8f;
    c.p[2] = 0.3f;
    for (int i = 0; i < 300; i++) specp_mix_learn_reach(state, &tables, 5, &c);
    assert_true(fabsf(state->reach[5].value - 0.8f) < 0.01f);
    c.n = 0;
    for (int i = 0; i < 600; i++) specp_mix_learn_reach(state, &tables, 5, &c);
    assert_true(state->reach[5].value < 0.01f);
    assert_true(state->reach[4].value > 0.6f);
}

/* ---- states ----------------------------------------------------------------------- */

static void practise(uint64_t stream, int cases) {
    support_rng rng = support_rng_new(support_seed(), stream);
    for (int i = 0; i < cases; i++) {
        mix_case c;
        double entropy;
        uint16_t path;
        spec_token next = draw_case(&rng, &c, &entropy);
        specp_mix_weigh(state, &tables, &c);
        (void)specp_mix_path(state, 1 + support_rng_below(&rng, 20), c.p[0], &path);
        specp_mix_learn_path(state, &tables, path, next == c.token[0]);
        specp_mix_learn_reach(state, &tables, support_rng_below(&rng, 200), &c);
        specp_mix_learn(state, &tables, &c, next);
    }
}

static void test_a_state_comes_back_as_it_was(void **unused) {
    (void)unused;
    const size_t n = specp_mix_state_bytes();
    unsigned char *bytes = malloc(n + 1), *again = malloc(n);
    mix_state *back = malloc(sizeof *back);
    spec_message why;
    for (int cases = 0; cases < 3000; cases += 1000) {
        practise(602, cases);
        memset(bytes, 0xee, n + 1);
        memset(back, 0, sizeof *back); /* the struct has no padding: bits can be compared */
        specp_mix_state_write(state, bytes);
        assert_int_equal(bytes[n], 0xee);
        assert_int_equal(specp_mix_state_read(back, &tables, bytes, n, "there", &why), SPEC_OK);
        assert_memory_equal(back, state, sizeof *state);
        specp_mix_state_write(back, again);
        assert_memory_equal(again, bytes, n);
    }
    assert_int_equal(specp_mix_state_read(back, &tables, bytes, n - 1, "there", &why), SPEC_ERR_CORRUPT);
    assert_non_null(strstr(why.text, "there"));
    for (size_t cut = 0; cut < 12; cut++) { /* the bytes end with their block, for ASan to see what is read */
        unsigned char *few = malloc(cut ? cut : 1);
        memcpy(few, bytes, cut);
        assert_int_equal(specp_mix_state_read(back, &tables, few, cut, "there", NULL), SPEC_ERR_CORRUPT);
        free(few);
    }
    bytes[9] ^= 1;
    assert_int_equal(specp_mix_state_read(back, &tables, bytes, n, "there", NULL), SPEC_ERR_CORRUPT);
    assert_memory_equal(back, state, sizeof *state); /* on error as it was */
    free(bytes);
    free(again);
    free(back);
}

/* Whatever the cells hold, what was read can be used: no number is out of range. */
static void test_any_cells_can_be_used(void **unused) {
    (void)unused;
    const size_t n = specp_mix_state_bytes(), cells = offsetof(mix_state, by_match) / sizeof(mix_slot);
    unsigned char *bytes = malloc(n);
    support_rng rng = support_rng_new(support_seed(), 603);
    specp_mix_state_write(state, bytes);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 4 * cells; i++)
            bytes[12 + i] = round ? (unsigned char)support_rng_next(&rng) : 0xff;
        assert_int_equal(specp_mix_state_read(state, &tables, bytes, n, "there", NULL), SPEC_OK);
        for (int i = 0; i < 300; i++) {
            mix_case c;
            double entropy;
            spec_token next = draw_case(&rng, &c, &entropy);
            specp_mix_weigh(state, &tables, &c);
            for (uint32_t k = 0; k < MIX_CANDIDATES; k++) assert_true(c.p[k] >= 0 && c.p[k] <= 1);
            specp_mix_learn(state, &tables, &c, next);
        }
        practise(604, 200);
    }
    free(bytes);
}

static void test_generalizing_forgets_tokens(void **unused) {
    (void)unused;
    static const uint32_t sure[] = {0, 30, 1000};
    mix_state *before = malloc(sizeof *before), *fresh = malloc(sizeof *fresh);
    specp_mix_start(fresh, &tables);
    practise(605, 3000);
    *before = *state;
    for (size_t i = 0; i < 3; i++) {
        size_t capped = 0;
        *state = *before;
        specp_mix_generalize(state, &tables, sure[i]);
        for (size_t k = 0; k < MIX_MATCH_SLOTS; k++) {
            uint32_t was = before->evidence[k].cell & 1023, is = state->evidence[k].cell & 1023;
            assert_int_equal(is, was < sure[i] ? was : sure[i]);
            assert_true(state->evidence[k].cell >> 10 == before->evidence[k].cell >> 10);
            capped += is < was;
        }
        assert_true((capped > 0) == (sure[i] < 200));
        assert_memory_equal(state->token, fresh->token, sizeof fresh->token);
        assert_memory_equal(state->by_last, fresh->by_last, sizeof fresh->by_last);
        assert_memory_equal(state->by_match, before->by_match, sizeof before->by_match);
        assert_memory_equal(state->of_all, before->of_all, sizeof before->of_all);
        assert_true(state->path[30].value == before->path[30].value);
    }
    free(before);
    free(fresh);
}

/* As many lines as the layout has values, each of its length. */
static void check_priors_length(void) {
    const size_t values = MIX_MATCH_SLOTS + sizeof state->path / sizeof *state->path +
                          sizeof state->reach / sizeof *state->reach +
                          (sizeof state->by_match + sizeof state->of_all) / sizeof(float);
    size_t lines = 0;
    for (; specp_mix_priors[lines]; lines++)
        assert_int_equal(strlen(specp_mix_priors[lines]), 2 * MIX_PRIOR_PAIRS);
    assert_int_equal(lines, (values + MIX_PRIOR_PAIRS - 1) / MIX_PRIOR_PAIRS);
}

/* The state built in is one that could have been learnt. */
static void test_built_in_priors(void **unused) {
    (void)unused;
    const size_t n = specp_mix_state_bytes();
    unsigned char *bytes = malloc(n);
    spec_message why;
    mix_state *fresh = malloc(sizeof *fresh), *back = malloc(sizeof *back);
    check_priors_length();
    specp_mix_start(fresh, &tables);
    specp_mix_taught(state, &tables);
    specp_mix_state_write(state, bytes);
    memset(back, 0, sizeof *back);
    if (specp_mix_state_read(back, &tables, bytes, n, "built in", &why)) fail_msg("%s", why.text);
    assert_memory_equal(back, state, sizeof *state);
    assert_memory_equal(state->token, fresh->token, sizeof fresh->token); /* they know no vocabulary */
    assert_memory_equal(state->by_last, fresh->by_last, sizeof fresh->by_last);
    assert_true(memcmp(state->evidence, fresh->evidence, sizeof fresh->evidence) != 0);
    for (int sign = 0; sign < 64; sign++)
        assert_int_equal(mix_prior_six(mix_prior_char((uint32_t)sign)), sign);
    free(bytes);
    free(fresh);
    free(back);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_cell_moves_to_what_it_sees, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_cell_forgets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_not_there_learns_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_learning_lowers_the_surprise, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_paths_are_mapped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reach_learns_the_best, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_state_comes_back_as_it_was, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_any_cells_can_be_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_generalizing_forgets_tokens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_built_in_priors, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The law of a row: against a sort of everything on random rows and parameters, and
 * what each step does, one by one. The exponential and the logarithm under it.
 */
#include "support.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "oracle_verify.h"
#include "specp_math.h"

#define SAMPLING(...) (&(spec_sampling){.size = sizeof(spec_sampling), __VA_ARGS__})

static spec_sampler *new_sampler(size_t vocab) {
    spec_sampler *s = NULL;
    assert_int_equal(spec_sampler_new(&s, vocab, NULL), 0);
    return s;
}

/* ---- the functions under it ----------------------------------------------------- */

static double ulps(double got, double want) {
    return fabs(got - want) / (nextafter(fabs(want), INFINITY) - fabs(want));
}

static void test_exp_and_log(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    double worst_exp = 0.0, worst_log = 0.0;
    for (int i = 0; i < 300000; i++) {
        static const double widths[] = {1e-3, 1.0, 40.0, 1416.0};
        double x = (support_rng_unit(&r) - 0.5) * widths[i % 4];
        worst_exp = fmax(worst_exp, ulps(specp_exp(x), exp(x)));
        double y = i % 2 ? exp(x) : 0.5 + 1.5 * support_rng_unit(&r);
        worst_log = fmax(worst_log, ulps(specp_log(y), log(y)));
    }
    assert_true(worst_exp <= 2.0 && worst_log <= 2.0);
    assert_true(specp_exp(0.0) == 1.0 && specp_log(1.0) == 0.0);
    assert_true(specp_exp(-708.1) == 0.0 && specp_exp(-INFINITY) == 0.0 && specp_exp(-1e300) == 0.0);
    assert_true(specp_exp(-708.0) > 0.0 && specp_exp(709.0) < INFINITY);
    assert_true(specp_exp(709.1) == INFINITY && specp_exp(INFINITY) == INFINITY);
    assert_true(isnan(specp_exp(NAN)));
    assert_true(ulps(specp_log(DBL_MIN), log(DBL_MIN)) <= 2.0 &&
                ulps(specp_log(DBL_MAX), log(DBL_MAX)) <= 2.0);
}

/* ---- against the oracle ------------------------------------------------------------ */

typedef struct mask_state {
    size_t calls;
    uint32_t words[ORACLE_MAX_VOCAB / 32];
} mask_state;

static int fixed_mask(void *user, const spec_row_place *at, const uint32_t **allowed) {
    mask_state *m = user;
    (void)at;
    m->calls++;
    *allowed = m->words;
    return SPEC_OK;
}

typedef struct random_case {
    spec_sampling p;
    size_t vocab;
    float logits[ORACLE_MAX_VOCAB];
    spec_logit_bias bias[5];
    spec_token text[12];
    spec_row_place at;
    mask_state mask;
} random_case;

static float pick(support_rng *r, const float *of, uint32_t n) { return of[support_rng_below(r, n)]; }

static void make_logits(support_rng *r, random_case *c) {
    uint32_t levels = support_rng_below(r, 3) ? 0 : 1 + support_rng_below(r, 8); /* many ties, or none */
    bool neighbours = !support_rng_below(r, 5); /* they differ in the last bits */
    float scale = pick(r, (float[]){0.1f, 3.0f, 30.0f}, 3);
    for (size_t t = 0; t < c->vocab; t++) {
        float u = (float)support_rng_unit(r) - 0.5f;
        if (levels) u = (float)((int)support_rng_below(r, levels) - (int)levels / 2) / (float)levels;
        c->logits[t] = u * scale;
        if (neighbours) c->logits[t] = specp_float_of_bits(0x3f8003feu + support_rng_below(r, 4));
        if (!support_rng_below(r, 20)) c->logits[t] = -INFINITY;
    }
    c->logits[support_rng_below(r, (uint32_t)c->vocab)] = -0.0f;
}

static void make_case(support_rng *r, random_case *c) {
    memset(c, 0, sizeof *c);
    c->vocab = 1 + support_rng_below(r, support_rng_below(r, 4) ? 40 : ORACLE_MAX_VOCAB);
    make_logits(r, c);
    uint32_t vocab = (uint32_t)c->vocab;
    c->p = (spec_sampling){.size = sizeof c->p,
                           .temperature = pick(r, (float[]){0.0f, 1e-30f, 0.3f, 1.0f, 1.0f, 2.5f, 1e30f}, 7),
                           .top_k = support_rng_below(r, 2) ? support_rng_below(r, vocab + 2) : 0,
                           .top_p = pick(r, (float[]){0.0f, 0.0f, 1e-9f, 0.5f, 0.9f, 0.99f, 1.0f}, 7),
                           .min_p = pick(r, (float[]){0.0f, 0.0f, 0.05f, 0.3f, 1.0f}, 5),
                           .repetition_penalty = pick(r, (float[]){0.0f, 1.0f, 1.3f, 0.7f}, 4),
                           .penalty_window = support_rng_below(r, 12)};
    for (size_t i = 0; i < 12; i++) c->text[i] = (spec_token)support_rng_below(r, vocab + 3) - 1;
    size_t n_text = support_rng_below(r, 9), n_path = support_rng_below(r, 4);
    c->at = (spec_row_place){c->text, n_text, c->text + n_text, n_path, 0};
    if (support_rng_below(r, 2)) {
        c->p.bias = c->bias;
        c->p.n_bias = support_rng_below(r, 6);
        for (size_t i = 0; i < 5; i++)
            c->bias[i] = (spec_logit_bias){(spec_token)support_rng_below(r, vocab),
                                           pick(r, (float[]){-INFINITY, 2.0f, -1.5f, 0.25f}, 4)};
    }
    if (support_rng_below(r, 2)) {
        for (size_t i = 0; i < ORACLE_MAX_VOCAB / 32; i++)
            c->mask.words[i] = (uint32_t)(support_rng_next(r) | support_rng_next(r));
        c->p.mask = fixed_mask;
        c->p.mask_user = &c->mask;
    }
}

/* Some token has weight before the filters. */
static bool feasible(const random_case *c) {
    for (size_t t = 0; t < c->vocab; t++) {
        bool fine = c->logits[t] > -INFINITY && (!c->p.mask || c->mask.words[t / 32] >> t % 32 & 1);
        for (size_t i = 0; i < c->p.n_bias; i++)
            fine = fine && ((size_t)c->bias[i].token != t || c->bias[i].bias > -INFINITY);
        if (fine) return true;
    }
    return false;
}

/* Whether the sampler's law is the sort's. Where sums fall on a limit of top-p but for
 * rounding, either side will do. */
static bool law_is(const random_case *c, const spec_sampler *s, const float *p) {
    static const float nudges[] = {0.0f, 1e-7f, -1e-7f};
    for (size_t k = 0; k < 3; k++) {
        double want[ORACLE_MAX_VOCAB];
        spec_sampling near = c->p;
        if (near.top_p > 0.0f && near.top_p < 1.0f) near.top_p += nudges[k] * near.top_p;
        oracle_law(&near, c->vocab, c->logits, &c->at, want);
        size_t t = 0;
        for (; t < c->vocab; t++) {
            double got = specp_law_of(&s->law, (spec_token)t);
            if (!(fabs(got - want[t]) <= 1e-13 && fabs((double)p[t] - got) < 1e-7)) break;
            if (c->logits[t] == -INFINITY && got != 0.0) break;
        }
        if (t == c->vocab) return true;
    }
    return false;
}

static void test_laws_are_those_of_a_sort(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 2);
    random_case *c = malloc(sizeof *c);
    float p[ORACLE_MAX_VOCAB];
    size_t impossible = 0, narrowed = 0;
    for (int round = 0; round < 20000; round++) {
        make_case(&r, c);
        spec_sampler *s = new_sampler(c->vocab);
        spec_message why;
        int err = spec_sampler_law(s, &c->p, c->logits, &c->at, p, &why);
        if (!feasible(c)) {
            assert_int_equal(err, SPEC_ERR_INVALID);
            assert_non_null(strstr(why.text, "no token is left"));
            impossible++;
        } else {
            if (err) fail_msg("round %d: %s", round, why.text);
            if (!law_is(c, s, p)) fail_msg("round %d: another law", round);
            narrowed += s->law.n > 1 && s->law.n < c->vocab;
        }
        spec_sampler_free(s);
    }
    assert_true(impossible > 20 && narrowed > 5000);
    free(c);
}

/* ---- step by step ------------------------------------------------------------------- */

static void assert_law(const spec_sampling *p, const float *logits, const spec_row_place *at, size_t vocab,
                       const double *want) {
    spec_sampler *s = new_sampler(vocab);
    float *got = malloc(vocab * sizeof *got);
    spec_message why;
    if (spec_sampler_law(s, p, logits, at, got, &why)) fail_msg("%s", why.text);
    for (size_t t = 0; t < vocab; t++)
        if (!(fabs((double)got[t] - want[t]) < 1e-6))
            fail_msg("p[%zu] is %g, not %g", t, (double)got[t], want[t]);
    free(got);
    spec_sampler_free(s);
}

#define L(x) ((float)log(x))

static void test_each_step(void **state) {
    (void)state;
    float z[4] = {L(1), L(2), L(4), L(1)};
    assert_law(NULL, z, NULL, 4, (double[]){0, 0, 1, 0}); /* nothing asked: greedy */
    assert_law(SAMPLING(.temperature = 1.0f), z, NULL, 4, (double[]){.125, .25, .5, .125});
    assert_law(SAMPLING(.temperature = 0.5f), z, NULL, 4, (double[]){1 / 22., 4 / 22., 16 / 22., 1 / 22.});
    assert_law(SAMPLING(.temperature = 1.0f, .top_k = 2), z, NULL, 4, (double[]){0, 1 / 3., 2 / 3., 0});
    assert_law(SAMPLING(.temperature = 1.0f, .top_k = 3), z, NULL, 4, (double[]){1 / 7., 2 / 7., 4 / 7., 0});
    assert_law(SAMPLING(.temperature = 1.0f, .top_p = 0.5f), z, NULL, 4, (double[]){0, 0, 1, 0});
    assert_law(SAMPLING(.temperature = 1.0f, .top_p = 0.51f), z, NULL, 4, (double[]){0, 1 / 3., 2 / 3., 0});
    assert_law(SAMPLING(.temperature = 1.0f, .top_p = 0.8f), z, NULL, 4,
               (double[]){1 / 7., 2 / 7., 4 / 7., 0});
    assert_law(SAMPLING(.temperature = 1.0f, .min_p = 0.4f), z, NULL, 4, (double[]){0, 1 / 3., 2 / 3., 0});
    /* top-p is of what top-k left: 2/3 + 1/3, of which 0.6 needs one */
    assert_law(SAMPLING(.temperature = 1.0f, .top_k = 2, .top_p = 0.6f), z, NULL, 4, (double[]){0, 0, 1, 0});
    /* temperature comes before top-p: at 0.5 the first holds 16/22 */
    assert_law(SAMPLING(.temperature = 0.5f, .top_p = 0.7f), z, NULL, 4, (double[]){0, 0, 1, 0});
    /* all equal: the first */
    float same[4] = {1, 1, 1, 1};
    assert_law(NULL, same, NULL, 4, (double[]){1, 0, 0, 0});
    assert_law(SAMPLING(.temperature = 2.0f, .top_k = 3), same, NULL, 4,
               (double[]){1 / 3., 1 / 3., 1 / 3., 0});
    assert_law(SAMPLING(.temperature = 2.0f, .top_p = 0.5f), same, NULL, 4, (double[]){.5, .5, 0, 0});
    float zeros[3] = {-0.0f, 0.0f, -0.0f};
    assert_law(NULL, zeros, NULL, 3, (double[]){1, 0, 0});
    assert_law(SAMPLING(.temperature = 1.0f, .top_k = 1), zeros, NULL, 3, (double[]){1, 0, 0});
}

static int only_even(void *user, const spec_row_place *at, const uint32_t **allowed) {
    static const uint32_t even = 0x55555555u;
    (void)at;
    if (user) *allowed = &even; /* otherwise all */
    return SPEC_OK;
}

static void test_bias_penalty_and_mask(void **state) {
    (void)state;
    float z[4] = {2.0f, -1.0f, 1.0f, 0.5f};
    spec_token text[] = {3, 3, 0, -7, 99}, path[] = {1};
    spec_row_place at = {text, 5, path, 1, 0};
    double e[4] = {exp(1.0), exp(-2.0), exp(1.0), exp(0.25)}, all = e[0] + e[1] + e[2] + e[3];
    for (int i = 0; i < 4; i++) e[i] /= all;
    assert_law(SAMPLING(.temperature = 1.0f, .repetition_penalty = 2.0f), z, &at, 4, e);
    /* the last three are 0 (no: -7), 99 and 1 */
    double f[4] = {exp(2.0), exp(-2.0), exp(1.0), exp(0.5)}, sum = f[0] + f[1] + f[2] + f[3];
    for (int i = 0; i < 4; i++) f[i] /= sum;
    assert_law(SAMPLING(.temperature = 1.0f, .repetition_penalty = 2.0f, .penalty_window = 3), z, &at, 4, f);
    /* bias first: 2 - 3 = -1 is negative, so it is multiplied */
    spec_logit_bias bias[] = {{0, -2.0f}, {0, -1.0f}};
    double g[4] = {exp(-2.0), exp(-2.0), exp(1.0), exp(0.25)}, total = g[0] + g[1] + g[2] + g[3];
    for (int i = 0; i < 4; i++) g[i] /= total;
    assert_law(SAMPLING(.temperature = 1.0f, .repetition_penalty = 2.0f, .bias = bias, .n_bias = 2), z, &at,
               4, g);
    int yes = 1;
    assert_law(SAMPLING(.mask = only_even, .mask_user = &yes), (float[]){1, 3, 2, 3}, NULL, 4,
               (double[]){0, 0, 1, 0});
    assert_law(SAMPLING(.mask = only_even), (float[]){1, 3, 2, 3}, NULL, 4, (double[]){0, 1, 0, 0});
    /* the mask comes before top-k: of the two best that are allowed */
    assert_law(SAMPLING(.temperature = 1.0f, .top_k = 2, .mask = only_even, .mask_user = &yes),
               (float[]){1, 9, 1, 9, 0}, NULL, 5, (double[]){.5, 0, .5, 0, 0});
    spec_logit_bias ban[] = {{1, -INFINITY}};
    assert_law(SAMPLING(.bias = ban, .n_bias = 1), (float[]){1, 3, 2, 2}, NULL, 4, (double[]){0, 0, 1, 0});
}

static void test_extreme_logits(void **state) {
    (void)state;
    assert_law(SAMPLING(.temperature = 1e-45f), (float[]){1, 3, 3, 2}, NULL, 4, (double[]){0, .5, .5, 0});
    assert_law(SAMPLING(.temperature = FLT_MAX), (float[]){1, 3, -300, 2}, NULL, 4,
               (double[]){.25, .25, .25, .25});
    assert_law(SAMPLING(.temperature = 1.0f), (float[]){FLT_MAX, -FLT_MAX, -INFINITY}, NULL, 3,
               (double[]){1, 0, 0});
    assert_law(SAMPLING(.temperature = 1.0f), (float[]){-FLT_MAX, -FLT_MAX, -INFINITY}, NULL, 3,
               (double[]){.5, .5, 0});
    assert_law(SAMPLING(.temperature = 1.0f, .top_k = 2), (float[]){-INFINITY, 0, -INFINITY}, NULL, 3,
               (double[]){0, 1, 0});
    assert_law(SAMPLING(.temperature = 1.0f), (float[]){5}, NULL, 1, (double[]){1});
}

/* The bits of a law, which are the same for every compiler and machine. */
static void test_the_bits_of_a_law(void **state) {
    (void)state;
    support_rng r = support_rng_new(1, 1);
    spec_sampler *s = new_sampler(1000);
    spec_sampling p = {.temperature = 0.7f, .top_p = 0.98f, .repetition_penalty = 1.0f};
    float z[1000];
    uint64_t h = 0;
    for (int i = 0; i < 1000; i++) z[i] = (float)(support_rng_below(&r, 1u << 20)) * 0x1p-16f;
    assert_int_equal(specp_sampler_filter(s, &p, z, NULL), 0);
    for (uint32_t i = 0; i <= s->law.n; i++) {
        uint64_t bits;
        memcpy(&bits, i < s->law.n ? &s->law.w[i] : &s->law.total, sizeof bits);
        h = specp_mix64(h ^ bits);
    }
    assert_int_equal(s->law.n, 182);
    if (h != 0xff9a4368bc0e898fu) fail_msg("the bits' hash is 0x%llx", (unsigned long long)h);
    spec_sampler_free(s);
}

/* ---- drawing --------------------------------------------------------------------------- */

/* The token at u is that of the running sum, however long the law. */
static void test_drawing_is_by_the_running_sum(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 3);
    for (int round = 0; round < 300; round++) {
        size_t vocab = 1 + support_rng_below(&r, 500);
        spec_sampler *s = new_sampler(vocab);
        float z[500];
        for (size_t t = 0; t < vocab; t++)
            z[t] = support_rng_below(&r, 4) ? (float)support_rng_unit(&r) * 9 : -800.0f;
        spec_sampling p = {.temperature = 1.0f, .top_p = 1.0f, .repetition_penalty = 1.0f};
        assert_int_equal(specp_sampler_filter(s, &p, z, NULL), 0);
        for (int i = 0; i < 50; i++) {
            double u = i == 0 ? 0.0 : i == 1 ? 1.0 - 0x1p-53 : support_rng_unit(&r), run = 0.0;
            uint32_t got = specp_law_at(&s->law, u), want = 0;
            assert_true(got < s->law.n && s->law.w[got] > 0.0);
            for (; want + 1 < s->law.n && run + s->law.w[want] <= u * s->law.total; want++)
                run += s->law.w[want];
            double edge = fmin(fabs(run - u * s->law.total), fabs(run + s->law.w[want] - u * s->law.total));
            assert_true(got == want || edge < 1e-9 * s->law.total);
        }
        spec_sampler_free(s);
    }
}

static void test_drawing_at_the_edges(void **state) {
    (void)state;
    spec_sampler *s = new_sampler(200);
    spec_sampling p = {.temperature = 1.0f, .top_k = 4, .top_p = 1.0f};
    float z[200] = {0};
    assert_int_equal(specp_sampler_filter(s, &p, z, NULL), 0);
    for (uint32_t k = 0; k < 4; k++) {
        assert_int_equal(specp_law_at(&s->law, k / 4.0), k); /* a token's part is closed below, open above */
        assert_int_equal(specp_law_at(&s->law, (k + 1) / 4.0 - 0x1p-53), k);
    }
    /* A law whose first block is empty: nothing of it is drawn, not even at 0. */
    p.top_k = 0;
    assert_int_equal(specp_sampler_filter(s, &p, z, NULL), 0);
    for (int t = 0; t < 70; t++) s->q[t] = 1.0f;
    assert_true(specp_law_subtract(&s->law, 1.0, s->q, 70.0));
    assert_int_equal(specp_law_at(&s->law, 0.0), 70);
    assert_int_equal(specp_law_at(&s->law, 1.0 - 0x1p-53), 199);
    /* What another law left behind is no part of this one. */
    p.top_k = 64;
    assert_int_equal(specp_sampler_filter(s, &p, z, NULL), 0);
    assert_true(s->law.n == 64 && specp_law_of(&s->law, 64) == 0.0 && specp_law_of(&s->law, 199) == 0.0);
    assert_true(specp_law_of(&s->law, 63) == 1.0 / 64 && specp_law_of(&s->law, -1) == 0.0);
    spec_sampler_free(s);
}

/* Of a residual, too, whose last tokens have nothing left. */
static void test_drawing_from_residuals(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 4);
    for (int round = 0; round < 3000; round++) {
        uint32_t vocab = 2 + support_rng_below(&r, 150), gone = support_rng_below(&r, vocab);
        spec_sampler *s = new_sampler(vocab);
        spec_sampling p = {.temperature = 1.0f, .top_p = 1.0f};
        float z[152];
        for (uint32_t t = 0; t < vocab; t++) {
            z[t] = (float)support_rng_unit(&r);
            s->q[t] = t > gone || support_rng_below(&r, 2) ? 1e6f : (float)support_rng_unit(&r);
        }
        s->q[gone] = 0.0f;
        assert_int_equal(specp_sampler_filter(s, &p, z, NULL), 0);
        assert_true(specp_law_subtract(&s->law, 1.0, s->q, 1e6));
        for (int i = 0; i < 10; i++) {
            uint32_t at = specp_law_at(&s->law, i ? 1.0 - 0x1p-53 * i : 0.0);
            assert_true(at < s->law.n && s->law.w[at] > 0.0);
        }
        spec_sampler_free(s);
    }
}

/* ---- refusals ------------------------------------------------------------------------------ */

static void assert_refused(const spec_sampling *p, const float *logits, const spec_row_place *at, int want,
                           const char *says) {
    spec_sampler *s = new_sampler(3);
    float out[3] = {-5, -6, -7};
    spec_message why = {"?"};
    assert_int_equal(spec_sampler_law(s, p, logits, at, out, &why), want);
    if (!strstr(why.text, says)) fail_msg("'%s' does not say '%s'", why.text, says);
    assert_int_equal(spec_sampler_law(s, p, logits, at, out, NULL), want);
    assert_true(out[0] == -5 && out[1] == -6 && out[2] == -7);
    assert_law(SAMPLING(.temperature = 1.0f), (float[]){0, 0, 0}, NULL, 3,
               (double[]){1 / 3., 1 / 3., 1 / 3.});
    spec_sampler_free(s);
}

static int failing_mask(void *user, const spec_row_place *at, const uint32_t **allowed) {
    (void)at, (void)allowed;
    return *(int *)user;
}

static void test_refusals(void **state) {
    (void)state;
    const float z[3] = {0, 1, 2};
    static const float bad[][2] = {{-1, 0}, {NAN, 0}, {INFINITY, 0}};
    for (size_t i = 0; i < 3; i++) {
        assert_refused(SAMPLING(.temperature = bad[i][0]), z, NULL, SPEC_ERR_INVALID, "temperature");
        assert_refused(SAMPLING(.top_p = bad[i][0]), z, NULL, SPEC_ERR_INVALID, "top_p");
        assert_refused(SAMPLING(.min_p = bad[i][0]), z, NULL, SPEC_ERR_INVALID, "min_p");
        assert_refused(SAMPLING(.repetition_penalty = bad[i][0]), z, NULL, SPEC_ERR_INVALID,
                       "repetition_penalty");
    }
    assert_refused(SAMPLING(.top_p = 1.01f), z, NULL, SPEC_ERR_INVALID, "top_p");
    assert_refused(SAMPLING(.min_p = 1.01f), z, NULL, SPEC_ERR_INVALID, "min_p");
    spec_logit_bias far[] = {{3, 1.0f}}, negative[] = {{-1, 1.0f}}, nan[] = {{0, NAN}},
                    inf[] = {{0, INFINITY}};
    assert_refused(SAMPLING(.bias = far, .n_bias = 1), z, NULL, SPEC_ERR_INVALID, "bias of token 3");
    assert_refused(SAMPLING(.bias = negative, .n_bias = 1), z, NULL, SPEC_ERR_INVALID, "bias of token -1");
    assert_refused(SAMPLING(.bias = nan, .n_bias = 1), z, NULL, SPEC_ERR_INVALID, "bias of token 0");
    assert_refused(SAMPLING(.bias = inf, .n_bias = 1), z, NULL, SPEC_ERR_INVALID, "bias of token 0");
    assert_refused(SAMPLING(.n_bias = 1), z, NULL, SPEC_ERR_INVALID, "bias is NULL");
    assert_refused(NULL, (float[]){0, NAN, 1}, NULL, SPEC_ERR_INVALID, "token 1 is NaN");
    assert_refused(NULL, (float[]){0, 1, INFINITY}, NULL, SPEC_ERR_INVALID, "token 2 is infinite");
    assert_refused(NULL, (float[]){-INFINITY, -INFINITY, -INFINITY}, NULL, SPEC_ERR_INVALID,
                   "no token is left");
    for (uint32_t n = 1; n < 40; n++)
        for (uint32_t at = 0; at < n; at++) {
            float long_row[40] = {0}, p[40];
            spec_sampler *s = new_sampler(n);
            spec_message why;
            char says[64];
            long_row[at] = at % 2 ? NAN : INFINITY;
            snprintf(says, sizeof says, "token %u is %s", at, at % 2 ? "NaN" : "infinite");
            assert_int_equal(spec_sampler_law(s, NULL, long_row, NULL, p, &why), SPEC_ERR_INVALID);
            assert_non_null(strstr(why.text, says));
            spec_sampler_free(s);
        }
    spec_logit_bias over[] = {{0, FLT_MAX}};
    assert_refused(SAMPLING(.bias = over, .n_bias = 1), (float[]){FLT_MAX, 0, 0}, NULL, SPEC_ERR_INVALID,
                   "infinite");
    int err = SPEC_ERR_STATE;
    assert_refused(SAMPLING(.mask = failing_mask, .mask_user = &err), z, NULL, SPEC_ERR_STATE,
                   "mask of row 0");
    assert_refused(SAMPLING(0), z, &(spec_row_place){.n_text = 1}, SPEC_ERR_INVALID, "NULL");
    assert_refused(SAMPLING(0), z, &(spec_row_place){.n_path = 1}, SPEC_ERR_INVALID, "NULL");
    assert_refused(&(spec_sampling){.temperature = 1.0f}, z, NULL, SPEC_ERR_INVALID, "size");
    struct {
        spec_sampling known;
        int later;
    } newer = {{.size = sizeof newer}, 1};
    assert_refused(&newer.known, z, NULL, SPEC_ERR_VERSION, "does not know");
    newer.later = 0;
    assert_law(&newer.known, z, NULL, 3, (double[]){0, 0, 1});
}

static void test_bad_calls_and_memory(void **state) {
    (void)state;
    spec_sampler *s = NULL;
    float p[3], z[3] = {0};
    assert_int_equal(spec_sampler_new(&s, 0, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_sampler_new(&s, (size_t)INT32_MAX + 1, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_sampler_new(NULL, 3, NULL), SPEC_ERR_INVALID);
    support_heap h;
    support_heap_init(&h);
    spec_allocator a = support_alloc(&h);
    size_t k = 0;
    for (;; k++) {
        support_heap_refuse(&h, k, false);
        int err = spec_sampler_new(&s, 1000, &a);
        if (!err) break;
        assert_int_equal(err, SPEC_ERR_NOMEM);
        assert_true(h.refused == 1 && h.live_blocks == 0 && s == NULL);
    }
    assert_true(k == 2);
    assert_int_equal(spec_sampler_law(NULL, NULL, z, NULL, p, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_sampler_law(s, NULL, NULL, NULL, p, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_sampler_law(s, NULL, z, NULL, NULL, NULL), SPEC_ERR_INVALID);
    spec_sampler_free(s);
    spec_sampler_free(NULL);
    support_heap_assert_clean(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp_and_log),
        cmocka_unit_test(test_laws_are_those_of_a_sort),
        cmocka_unit_test(test_each_step),
        cmocka_unit_test(test_bias_penalty_and_mask),
        cmocka_unit_test(test_extreme_logits),
        cmocka_unit_test(test_the_bits_of_a_law),
        cmocka_unit_test(test_drawing_is_by_the_running_sum),
        cmocka_unit_test(test_drawing_at_the_edges),
        cmocka_unit_test(test_drawing_from_residuals),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bad_calls_and_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

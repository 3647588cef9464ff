/* SPDX-License-Identifier: MIT */
/* AdamW against its formula in doubles, norms and clipping, the learning rate's course. */
#include "support.h"

#include <math.h>

#include "adamw.h"

#define N     37
#define STEPS 12

/* One element, one step, as the paper has it. */
static void formula(const train_adamw *o, int t, double g, double *p, double *m, double *v) {
    *p *= 1.0 - o->lr * o->weight_decay;
    *m = o->beta1 * *m + (1.0 - o->beta1) * g;
    *v = o->beta2 * *v + (1.0 - o->beta2) * g * g;
    *p -= o->lr * (*m / (1.0 - pow(o->beta1, t))) / (sqrt(*v / (1.0 - pow(o->beta2, t))) + o->eps);
}

static void test_steps(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    for (int round = 0; round < 20; round++) {
        train_adamw o = {.lr = support_rng_unit(&r) * 0.1,
                         .beta1 = support_rng_unit(&r),
                         .beta2 = 0.9 + 0.1 * support_rng_unit(&r),
                         .eps = round % 2 ? 1e-8 : 1e-2,
                         .weight_decay = support_rng_unit(&r)};
        float p[N], m[N] = {0}, v[N] = {0}, g[N];
        double wp[N], wm[N] = {0}, wv[N] = {0}, scale = 0.1 + support_rng_unit(&r);
        for (size_t i = 0; i < N; i++) wp[i] = p[i] = (float)(support_rng_unit(&r) * 2.0 - 1.0);
        for (int t = 1; t <= STEPS; t++) {
            for (size_t i = 0; i < N; i++) {
                g[i] = (float)(support_rng_unit(&r) * 2.0 - 1.0);
                formula(&o, t, scale * (double)g[i], &wp[i], &wm[i], &wv[i]);
            }
            size_t split = support_rng_below(&r, N); /* where a step is split does not matter */
            train_adamw_step(&o, (uint64_t)t, scale, g, p, m, v, split);
            train_adamw_step(&o, (uint64_t)t, scale, g + split, p + split, m + split, v + split, N - split);
            for (size_t i = 0; i < N; i++) {
                assert_true(fabs((double)p[i] - wp[i]) < 4e-6);
                assert_true(fabs((double)m[i] - wm[i]) < 2e-6);
                assert_true(fabs((double)v[i] - wv[i]) < 2e-6);
            }
        }
    }
}

static void test_norm_and_clipping(void **state) {
    (void)state;
    float g[11];
    double sum = 0.0;
    support_rng r = support_rng_new(support_seed(), 2);
    for (size_t i = 0; i < 11; i++) {
        g[i] = (float)(support_rng_unit(&r) - 0.5) * 1e25f; /* squares leave the range of floats */
        sum += (double)g[i] * (double)g[i];
        assert_true(fabs(train_norm(g, i + 1) / sqrt(sum) - 1.0) < 1e-14);
    }
    assert_true(train_norm(g, 0) == 0.0);
    for (size_t i = 0; i < 11; i++) {
        float was = g[i];
        g[i] = NAN;
        assert_true(isnan(train_norm(g, 11)));
        g[i] = was;
    }
    assert_true(train_clip(4.0, 1.0) == 0.25);
    assert_true(train_clip(0.5, 1.0) == 1.0);
    assert_true(train_clip(4.0, 0.0) == 1.0);
}

static void test_rate(void **state) {
    (void)state;
    const train_schedule s = {.peak = 1.0, .last = 0.1, .warmup = 4, .total = 24};
    assert_true(train_rate(&s, 1) == 0.25);
    assert_true(train_rate(&s, 4) == 1.0);
    assert_true(fabs(train_rate(&s, 9) - (0.1 + 0.9 * (0.5 + 0.5 * sqrt(0.5)))) < 1e-12);
    assert_true(fabs(train_rate(&s, 14) - 0.55) < 1e-12);
    assert_true(train_rate(&s, 24) == 0.1);
    assert_true(train_rate(&s, 1000) == 0.1);
    const train_schedule flat = {.peak = 0.5, .last = 0.5, .warmup = 0, .total = 0};
    assert_true(train_rate(&flat, 1) == 0.5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_norm_and_clipping),
        cmocka_unit_test(test_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

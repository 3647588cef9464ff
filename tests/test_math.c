/* SPDX-License-Identifier: MIT */
/* Elementary functions against the C library's in higher precision, in units of
 * the last place: over all exponents, densely where they are used, and at their edges. */
#include "support.h"

#include <float.h>
#include <math.h>

#include "specp_math.h"

/* Distance of y from the exact value, in units of the last place of a float of that size. */
static double ulps(float y, double exact) {
    int exponent;
    frexp(exact, &exponent);
    double unit = ldexp(1.0, exponent < FLT_MIN_EXP ? FLT_MIN_EXP - FLT_MANT_DIG : exponent - FLT_MANT_DIG);
    return fabs((double)y - exact) / unit;
}

static double ulps_of_double(double y, long double exact) {
    int exponent;
    frexpl(exact, &exponent);
    return (double)(fabsl((long double)y - exact) / ldexpl(1.0L, exponent - DBL_MANT_DIG));
}

typedef struct function {
    float (*f)(float);
    double (*exact)(double);
    double limit; /* ulps */
    float low, high;
} function;

static double exact_silu(double x) { return x / (1.0 + exp(-x)); }

static double exact_gelu(double x) {
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

/* Those of exp and tanh are what all floats together reach. silu and gelu in relative terms only where
 * they do not cancel: gelu falls like e^(-x^2) on the left. */
static const function functions[] = {
    {specp_expf, exp, 1.1, -103.9f, 88.7f},
    {specp_tanhf, tanh, 5.3, -30.0f, 30.0f},
    {specp_siluf, exact_silu, 4.0, -87.0f, 200.0f},
    {specp_geluf, exact_gelu, 8.0, -0.25f, 200.0f},
};
#define N_FUNCTIONS (sizeof functions / sizeof *functions)

static void check(const function *f, float x) {
    if (x >= f->low && x <= f->high) {
        assert_true(ulps(f->f(x), f->exact((double)x)) <= f->limit);
    }
}

static void test_accuracy(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    for (size_t i = 0; i < N_FUNCTIONS; i++) {
        for (uint64_t bits = 0; bits < UINT32_MAX; bits += 15013) { /* every exponent, both signs */
            check(&functions[i], specp_float_of_bits((uint32_t)bits));
        }
        for (int n = 0; n < 200000; n++) {
            double at = support_rng_unit(&r), span = n % 2 ? 4.0 : 100.0;
            check(&functions[i], (float)((at - 0.5) * span));
        }
    }
}

/* Absolute error of gelu where it nearly vanishes. */
static void test_gelu_on_the_left(void **state) {
    (void)state;
    for (float x = -30.0f; x < 0.0f; x += 0.001f) {
        assert_true(fabs((double)specp_geluf(x) - exact_gelu((double)x)) < 1e-6);
    }
}

/* From one float to the next, exp and tanh never fall by more than their error. */
static void test_nearly_monotone(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 2);
    for (int n = 0; n < 3000; n++) {
        float x = (float)(support_rng_unit(&r) * 20.0 - 10.0);
        for (int i = 0; i < 50; i++) {
            float next = nextafterf(x, INFINITY);
            assert_true(specp_expf(next) >= specp_expf(x) * (1.0f - 2.0f * FLT_EPSILON));
            float a = specp_tanhf(x), b = specp_tanhf(next);
            assert_true(b >= a - 2.0f * FLT_EPSILON * fabsf(a));
            x = next;
        }
    }
}

static void test_special_values(void **state) {
    (void)state;
    assert_true(specp_expf(0.0f) == 1.0f && specp_expf(-0.0f) == 1.0f);
    assert_true(specp_expf(INFINITY) == INFINITY && specp_expf(-INFINITY) == 0.0f);
    assert_true(specp_expf(88.73f) == INFINITY && specp_expf(FLT_MAX) == INFINITY);
    assert_true(isfinite(specp_expf(88.72f)));
    assert_true(specp_expf(-104.0f) == 0.0f && specp_expf(-FLT_MAX) == 0.0f);
    assert_true(specp_expf(-103.0f) > 0.0f); /* denormal, not flushed */
    assert_true(isnan(specp_expf(NAN)) && isnan(specp_tanhf(NAN)));
    assert_true(isnan(specp_siluf(NAN)) && isnan(specp_geluf(NAN)));
    assert_true(specp_tanhf(INFINITY) == 1.0f && specp_tanhf(-INFINITY) == -1.0f);
    assert_true(specp_tanhf(0.0f) == 0.0f && specp_tanhf(1e-45f) == 1e-45f &&
                specp_tanhf(-1e-45f) == -1e-45f);
    assert_true(specp_siluf(0.0f) == 0.0f && specp_geluf(0.0f) == 0.0f);
    assert_true(specp_siluf(INFINITY) == INFINITY && specp_geluf(INFINITY) == INFINITY);
    assert_true(specp_siluf(100.0f) == 100.0f && specp_geluf(100.0f) == 100.0f);
    for (uint64_t bits = 0; bits < UINT32_MAX; bits += 4999) { /* tanh is odd and bounded */
        float x = specp_float_of_bits((uint32_t)bits), y = specp_tanhf(x);
        assert_true(isnan(x) ? isnan(y) : fabsf(y) <= 1.0f && specp_tanhf(-x) == -y);
    }
}

static void test_double_precision(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 3);
    for (int n = 0; n < 300000; n++) {
        double x = (support_rng_unit(&r) - 0.5) * (n % 2 ? 1400.0 : 10.0);
        if (x > -708.0) {
            assert_true(ulps_of_double(specp_exp(x), expl((long double)x)) <= 3.0);
        }
        double y = ldexp(0.5 + support_rng_unit(&r), n % 3 ? 0 : (int)support_rng_below(&r, 2000) - 1000);
        assert_true(ulps_of_double(specp_log(y), logl((long double)y)) <= 2.0);
    }
    assert_true(specp_exp(0.0) == 1.0 && specp_exp(710.0) == INFINITY && specp_exp(-709.0) == 0.0);
    assert_true(isnan(specp_exp(NAN)) && specp_log(1.0) == 0.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accuracy),         cmocka_unit_test(test_gelu_on_the_left),
        cmocka_unit_test(test_nearly_monotone),  cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_double_precision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

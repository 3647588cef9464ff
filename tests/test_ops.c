/* SPDX-License-Identifier: MIT */
/* Norms, activations, softmax and attention: every instruction set against the
 * documented order, bit for bit, over lengths, addresses and odd numbers. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "kernels.h"

static const unsigned masks[] = {0, SPECP_ISA_AVX2, SPECP_ISA_ALL};
#define N_MASKS (sizeof masks / sizeof *masks)

/* ---- numbers, comparison, padding --------------------------------------------- */

static bool same(float a, float b) { return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0; }

static void assert_same(const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        assert_true(same(a[i], b[i]));
    }
}

/* Mostly ordinary numbers; with `wild` also all that floats can be. */
static float draw(support_rng *r, bool wild) {
    static const float odd[] = {0.0f,   -0.0f,   INFINITY, -INFINITY, NAN,
                                1e-45f, -1e-40f, 3e38f,    88.8f,     -104.0f};
    if (wild && support_rng_chance(r, 0.02)) {
        return odd[support_rng_below(r, 10)];
    }
    if (wild && support_rng_chance(r, 0.3)) {
        return (float)ldexp(support_rng_unit(r) - 0.5, (int)support_rng_below(r, 60) - 40);
    }
    return (float)(support_rng_unit(r) * 20.0 - 10.0);
}

/* n numbers at an odd place of a bigger array, whose surroundings must stay. */
typedef struct span {
    float all[4096 + 64];
    float *x;
    size_t n;
} span;

#define CANARY 4242.0f

static void span_draw(span *s, support_rng *r, size_t n, bool wild) {
    assert_true(n <= 4096);
    s->n = n;
    s->x = s->all + support_rng_below(r, 33);
    for (size_t i = 0; i < sizeof s->all / sizeof *s->all; i++) {
        s->all[i] = CANARY;
    }
    for (size_t i = 0; i < n; i++) {
        s->x[i] = draw(r, wild);
    }
}

static void span_copy(span *to, const span *from) {
    *to = *from;
    to->x = to->all + (from->x - from->all);
}

static void span_assert_only(const span *s) {
    for (const float *p = s->all; p < s->all + sizeof s->all / sizeof *s->all; p++) {
        assert_true((p >= s->x && p < s->x + s->n) || *p == CANARY);
    }
}

/* ---- oracles -------------------------------------------------------------------- */

static float fold(float *lane) {
    for (int width = 8; width; width /= 2) {
        for (int l = 0; l < width; l++) {
            lane[l] += lane[l + width];
        }
    }
    return lane[0];
}

static void oracle_rmsnorm(const float *x, const float *w, float eps, float *out, size_t n) {
    float lane[16] = {0};
    for (size_t i = 0; i < n; i++) {
        lane[i % 16] = fmaf(x[i], x[i], lane[i % 16]);
    }
    float r = 1.0f / sqrtf(fold(lane) / (float)n + eps);
    for (size_t i = 0; i < n; i++) {
        out[i] = x[i] * r * w[i];
    }
}

static float oracle_softmax(float *s, size_t n) {
    float m = -INFINITY, lane[16] = {0};
    for (size_t i = 0; i < n; i++) {
        m = s[i] > m ? s[i] : m;
    }
    for (size_t i = 0; i < n; i++) {
        s[i] = specp_expf(s[i] - m);
        lane[i % 16] += s[i];
    }
    return fold(lane);
}

/* ---- rows ------------------------------------------------------------------------ */

typedef struct rows_case {
    span x, y, out, want, got;
    float a, b;
    size_t n;
} rows_case;

/* Calls with (x, y) both separate and in place; `want` was worked out before. */
typedef void (*run_fn)(const specp_kernels *k, float *x, const float *y, const rows_case *c);
typedef float (*one_fn)(float x, float y, const rows_case *c);

static float one_add(float x, float y, const rows_case *c) {
    (void)c;
    return x + y;
}
static float one_scale(float x, float y, const rows_case *c) {
    (void)y;
    return x * c->a;
}
static float one_axpy(float x, float y, const rows_case *c) { return fmaf(c->a, y, x); }
static float one_silu(float x, float y, const rows_case *c) {
    (void)c;
    return specp_siluf(x) * y;
}
static float one_gelu(float x, float y, const rows_case *c) {
    (void)c;
    return specp_geluf(x) * y;
}
static float one_softcap(float x, float y, const rows_case *c) {
    (void)y;
    return c->b * specp_tanhf(x / c->b);
}

static void run_add(const specp_kernels *k, float *x, const float *y, const rows_case *c) {
    k->add(x, y, c->n);
}
static void run_scale(const specp_kernels *k, float *x, const float *y, const rows_case *c) {
    (void)y;
    k->scale(x, c->a, c->n);
}
static void run_axpy(const specp_kernels *k, float *x, const float *y, const rows_case *c) {
    k->axpy(x, c->a, y, c->n);
}
static void run_silu(const specp_kernels *k, float *x, const float *y, const rows_case *c) {
    k->silu_mul(x, y, x, c->n);
}
static void run_gelu(const specp_kernels *k, float *x, const float *y, const rows_case *c) {
    k->gelu_mul(x, y, x, c->n);
}
static void run_softcap(const specp_kernels *k, float *x, const float *y, const rows_case *c) {
    (void)y;
    k->softcap(x, c->b, c->n);
}

static const struct {
    run_fn run;
    one_fn one;
} elementwise[] = {{run_add, one_add},   {run_scale, one_scale}, {run_axpy, one_axpy},
                   {run_silu, one_silu}, {run_gelu, one_gelu},   {run_softcap, one_softcap}};

static void rows_draw(rows_case *c, support_rng *r, int round) {
    c->n = round < 70 ? (size_t)round : 1 + support_rng_below(r, 3000);
    span_draw(&c->x, r, c->n, round % 2);
    span_draw(&c->y, r, c->n, round % 2);
    c->a = draw(r, round % 2);
    c->b = (float)(1.0 + support_rng_unit(r) * 50.0);
}

static void test_elementwise(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    static rows_case c;
    for (int round = 0; round < 120; round++) {
        rows_draw(&c, &r, round);
        for (size_t e = 0; e < sizeof elementwise / sizeof *elementwise; e++) {
            span_copy(&c.want, &c.x);
            for (size_t i = 0; i < c.n; i++) {
                c.want.x[i] = elementwise[e].one(c.x.x[i], c.y.x[i], &c);
            }
            for (size_t m = 0; m < N_MASKS; m++) {
                specp_kernels k;
                specp_kernels_init(&k, masks[m]);
                span_copy(&c.got, &c.x);
                elementwise[e].run(&k, c.got.x, c.y.x, &c);
                assert_same(c.got.x, c.want.x, c.n);
                span_assert_only(&c.got);
            }
        }
    }
}

static void test_rmsnorm(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 2);
    static rows_case c;
    for (int round = 1; round < 150; round++) {
        rows_draw(&c, &r, round);
        span_copy(&c.want, &c.x);
        oracle_rmsnorm(c.x.x, c.y.x, 1e-5f, c.want.x, c.n);
        for (size_t m = 0; m < N_MASKS; m++) {
            specp_kernels k;
            specp_kernels_init(&k, masks[m]);
            span_draw(&c.got, &r, c.n, false);
            k.rmsnorm(c.x.x, c.y.x, 1e-5f, c.got.x, c.n);
            assert_same(c.got.x, c.want.x, c.n);
            span_assert_only(&c.got);
            span_copy(&c.got, &c.x);
            k.rmsnorm(c.got.x, c.y.x, 1e-5f, c.got.x, c.n);
            assert_same(c.got.x, c.want.x, c.n);
        }
    }
}

static void test_rope(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 3);
    static rows_case c;
    for (int round = 0; round < 200; round++) {
        size_t half = 1 + support_rng_below(&r, round % 3 ? 70 : 8);
        bool neox = support_rng_chance(&r, 0.5);
        float cos[72], sin[72];
        for (size_t j = 0; j < half; j++) {
            cos[j] = (float)(support_rng_unit(&r) * 2.0 - 1.0);
            sin[j] = (float)(support_rng_unit(&r) * 2.0 - 1.0);
        }
        span_draw(&c.x, &r, 2 * half, round % 2);
        span_copy(&c.want, &c.x);
        for (size_t j = 0; j < half; j++) {
            size_t p = neox ? j : 2 * j, q = neox ? j + half : 2 * j + 1;
            c.want.x[p] = c.x.x[p] * cos[j] - c.x.x[q] * sin[j];
            c.want.x[q] = c.x.x[p] * sin[j] + c.x.x[q] * cos[j];
        }
        for (size_t m = 0; m < N_MASKS; m++) {
            specp_kernels k;
            specp_kernels_init(&k, masks[m]);
            span_copy(&c.got, &c.x);
            k.rope(c.got.x, cos, sin, 2 * half, neox);
            assert_same(c.got.x, c.want.x, 2 * half);
            span_assert_only(&c.got);
        }
    }
}

static void test_softmax(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 4);
    static rows_case c;
    for (int round = 1; round < 300; round++) {
        rows_draw(&c, &r, round);
        span_copy(&c.want, &c.x);
        float sum = oracle_softmax(c.want.x, c.n);
        for (size_t m = 0; m < N_MASKS; m++) {
            specp_kernels k;
            specp_kernels_init(&k, masks[m]);
            span_copy(&c.got, &c.x);
            assert_true(same(k.softmax(c.got.x, c.n), sum));
            assert_same(c.got.x, c.want.x, c.n);
            span_assert_only(&c.got);
        }
    }
}

/* From the largest down to where exponentials are 0, through those below the normal numbers. */
static void test_softmax_far_below(void **state) {
    (void)state;
    float x[16 * 64], want[16 * 64];
    for (size_t i = 0; i < 16 * 64; i++) {
        x[i] = want[i] = (float)i * -0.109375f;
    }
    oracle_softmax(want, 16 * 64);
    assert_true(want[16 * 50] > 0.0f && want[16 * 50] < 1e-37f && want[16 * 64 - 1] == 0.0f);
    for (size_t m = 0; m < N_MASKS; m++) {
        specp_kernels k;
        specp_kernels_init(&k, masks[m]);
        float got[16 * 64];
        memcpy(got, x, sizeof got);
        k.softmax(got, 16 * 64);
        assert_same(got, want, 16 * 64);
    }
}

static void test_softmax_keeps_nan(void **state) {
    (void)state;
    for (size_t m = 0; m < N_MASKS; m++) {
        specp_kernels k;
        specp_kernels_init(&k, masks[m]);
        for (size_t n = 1; n < 50; n++) {
            for (size_t at = 0; at < n; at++) {
                float s[50] = {0};
                s[at] = NAN;
                assert_true(isnan(k.softmax(s, n)));
                assert_true(isnan(s[at]));
                float t[50] = {0};
                t[at] = INFINITY;
                assert_true(isnan(k.softmax(t, n)));
            }
        }
    }
}

static void test_argmax(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 5);
    static rows_case c;
    for (int round = 1; round < 400; round++) {
        rows_draw(&c, &r, round);
        uint32_t kinds = 1 + support_rng_below(&r, 6); /* ties */
        static const float kind[] = {-INFINITY, NAN, 0.0f, -0.0f, -1.0f, INFINITY};
        spec_token want = 0;
        float most = -INFINITY;
        bool any = false;
        for (size_t i = 0; i < c.n; i++) {
            c.x.x[i] = round % 3 ? c.x.x[i] : kind[support_rng_below(&r, kinds)];
            if (round % 5 == 1 && support_rng_chance(&r, 0.5)) {
                c.x.x[i] = NAN;
            }
            if (!isnan(c.x.x[i]) && (!any || c.x.x[i] > most)) {
                most = c.x.x[i];
                want = (spec_token)i;
                any = true;
            }
        }
        for (size_t m = 0; m < N_MASKS; m++) {
            specp_kernels k;
            specp_kernels_init(&k, masks[m]);
            assert_int_equal(k.argmax(c.x.x, c.n), want);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elementwise),
        cmocka_unit_test(test_rmsnorm),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_softmax_far_below),
        cmocka_unit_test(test_softmax_keeps_nan),
        cmocka_unit_test(test_argmax),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Rows in training: every instruction set gives the scalar code's bits, and that is right. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "kernels.h"
#include "train_rows.h"

#define T       TRAIN_TILE
#define LONGEST 600

typedef struct buffers {
    float x[LONGEST], y[LONGEST], z[LONGEST], a[LONGEST], b[LONGEST];
    float tile[T * T], from[T * T], left[T * T], most[T], sum[T], fade[T];
} buffers;

static void fill(support_rng *r, float *x, size_t n, double size) {
    for (size_t i = 0; i < n; i++) x[i] = (float)((support_rng_unit(r) - 0.5) * size);
}

static void fill_all(support_rng *r, buffers *w) {
    fill(r, w->x, LONGEST, 8.0);
    fill(r, w->y, LONGEST, 8.0);
    fill(r, w->z, LONGEST, 8.0);
    fill(r, w->a, LONGEST, 2.0);
    fill(r, w->b, LONGEST, 2.0);
    fill(r, w->tile, (size_t)T * T, 8.0);
    fill(r, w->from, (size_t)T * T, 2.0);
    fill(r, w->left, (size_t)T * T, 2.0);
    fill(r, w->most, T, 4.0);
    fill(r, w->sum, T, 4.0);
    fill(r, w->fade, T, 2.0);
}

/* Every function of the table, on n elements or rows of a tile. */
static void run_all(const train_rows *t, buffers *w, size_t n) {
    size_t m = n % (T + 1);
    t->rmsnorm_back(w->x, w->y, 1e-5f, w->z, w->a, w->b, n);
    t->silu_mul_back(w->x, w->y, w->z, w->x, w->z, n);
    t->mul(w->y, w->z, n);
    for (size_t i = 0; i < n; i++) w->b[i] = -fabsf(w->b[i]) * 60.0f;
    t->exp(w->b, n);
    t->product(w->left, T, m, w->from, m, w->fade, w->tile);
    t->product_add(w->left, T, m, w->from, T, w->fade, w->tile);
    if (m > 1) w->tile[T] = -INFINITY;
    t->softmax(w->tile, m, w->most, w->sum, w->fade);
}

static void test_same_bits(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    const unsigned sets[] = {SPECP_ISA_AVX2, SPECP_ISA_AVX2 | SPECP_ISA_AVX512};
    train_rows scalar, other;
    train_rows_init(&scalar, 0);
    for (size_t n = 0; n < LONGEST; n += 1 + support_rng_below(&r, 9)) {
        static buffers start, want, got;
        fill_all(&r, &start);
        want = start;
        run_all(&scalar, &want, n);
        for (size_t i = 0; i < 2; i++) {
            if ((specp_isa_detect() & sets[i]) != sets[i]) continue;
            train_rows_init(&other, sets[i]);
            got = start;
            run_all(&other, &got, n);
            assert_memory_equal(&got, &want, sizeof got);
        }
    }
}

/* Two tiles of scores, one after the other, are one softmax; products are sums of products. */
static void test_softmax_goes_on(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 2);
    static buffers w;
    train_rows t;
    train_rows_init(&t, specp_isa_detect());
    fill_all(&r, &w);
    float most[T], sum[T] = {0}, fade[T], p[2 * T * T];
    for (size_t i = 0; i < T; i++) most[i] = -INFINITY;
    memcpy(p, w.tile, sizeof w.tile);
    memcpy(p + T * T, w.from, sizeof w.from);
    p[0] = -INFINITY; /* not seen */
    t.softmax(p, T, most, sum, fade);
    t.softmax(p + T * T, T, most, sum, fade);
    for (size_t i = 0; i < T; i++) {
        double largest = -1e30, all = 0.0;
        for (size_t j = i ? 0 : 1; j < T; j++) largest = fmax(largest, w.tile[j * T + i]);
        for (size_t j = 0; j < T; j++) largest = fmax(largest, w.from[j * T + i]);
        for (size_t j = i ? 0 : 1; j < T; j++) all += exp((double)w.tile[j * T + i] - largest);
        for (size_t j = 0; j < T; j++) all += exp((double)w.from[j * T + i] - largest);
        assert_true((double)most[i] == largest && fabs((double)sum[i] / all - 1.0) < 1e-6);
        double first = exp((double)w.tile[T + i] - largest);
        assert_true(fabs((double)(p[T + i] * fade[i]) / first - 1.0) < 1e-6);
    }
    t.product(w.left, T, T, w.from, T, w.fade, w.tile);
    for (size_t i = 0; i < T; i++) {
        double want = w.fade[i];
        for (size_t l = 0; l < T; l++) want += (double)w.left[9 * T + l] * (double)w.from[l * T + i];
        assert_true(fabs((double)w.tile[9 * T + i] - want) < 1e-5);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_softmax_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* The BLAS mode: near the exact product for every type of weights, and what
 * OpenBLAS runs on. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

static const spec_type types[] = {SPEC_TYPE_F32,  SPEC_TYPE_F16,  SPEC_TYPE_BF16,
                                  SPEC_TYPE_Q8_0, SPEC_TYPE_Q4_0, SPEC_TYPE_Q5_0,
                                  SPEC_TYPE_Q4_K, SPEC_TYPE_Q5_K, SPEC_TYPE_Q6_K};

static float *numbers(support_rng *r, size_t n) {
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(support_rng_unit(r) * 2.0 - 1.0);
    }
    return x;
}

static void check(support_rng *r, spec_type type, size_t n_out, size_t n_in, size_t n_rows, size_t shift) {
    size_t ldx = n_in + support_rng_below(r, 5), ldy = n_out + support_rng_below(r, 5);
    size_t bytes = n_out * n_in / spec_type_block(type) * spec_type_block_bytes(type);
    float *w = numbers(r, n_out * n_in), *x = numbers(r, n_rows * ldx), *y = numbers(r, n_rows * ldy);
    float *scratch = malloc(SPECP_BLAS_ROWS * n_in * sizeof *scratch);
    char *data = malloc(bytes + shift);
    assert_true(scratch && data);
    assert_int_equal(spec_type_from_float(type, w, data + shift, n_out * n_in), 0);
    assert_int_equal(spec_type_to_float(type, data + shift, w, n_out * n_in), 0);
    for (size_t i = 0; i < n_rows * ldy; i++) {
        y[i] = 12345.0f;
    }
    specp_matrix m = {.type = type, .n_out = n_out, .n_in = n_in, .source = data + shift};
    specp_blas_matmul(&m, x, ldx, n_rows, y, ldy, scratch);
    for (size_t i = 0; i < n_rows * ldy; i++) {
        size_t row = i / ldy, o = i % ldy;
        double want = 0.0, size = 0.0;
        for (size_t k = 0; k < n_in && o < n_out; k++) {
            double product = (double)x[row * ldx + k] * (double)w[o * n_in + k];
            want += product;
            size += fabs(product);
        }
        assert_true(o < n_out ? fabs((double)y[i] - want) <= 1e-5 * size : y[i] == 12345.0f);
    }
    free(w);
    free(x);
    free(y);
    free(scratch);
    free(data);
}

static void test_near_the_exact_product(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        check(&r, types[t], 1 + support_rng_below(&r, 40), 256, 1 + support_rng_below(&r, 9), 0);
        check(&r, types[t], 2 * SPECP_BLAS_ROWS + 33, 256, 3,
              1); /* several rounds of scratch, at an odd address */
        check(&r, types[t], SPECP_BLAS_ROWS, 512, 64, 4);
    }
    check(&r, SPEC_TYPE_F32, 7, 13, 5, 0);
    check(&r, SPEC_TYPE_F16, 300, 13, 1, 2);
}

/* Why the mode is labelled: reported and not asserted, since it is OpenBLAS's to choose. */
static void test_rows_may_depend_on_the_batch(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 2);
    enum { N_IN = 1024, N_OUT = 512, ROWS = 8 };
    float *w = numbers(&r, (size_t)N_IN * N_OUT), *x = numbers(&r, (size_t)N_IN * ROWS);
    float *one = numbers(&r, N_OUT), *many = numbers(&r, (size_t)N_OUT * ROWS);
    specp_matrix m = {.type = SPEC_TYPE_F32, .n_out = N_OUT, .n_in = N_IN, .source = w};
    specp_blas_matmul(&m, x, N_IN, 1, one, N_OUT, NULL);
    specp_blas_matmul(&m, x, N_IN, ROWS, many, N_OUT, NULL);
    int differ = 0;
    for (int o = 0; o < N_OUT; o++) {
        differ += memcmp(&one[o], &many[o], sizeof(float)) != 0;
        assert_true(fabsf(one[o] - many[o]) < 1e-3f);
    }
    print_message("%d of %d outputs of a row differ between batches of 1 and %d\n", differ, N_OUT, ROWS);
    free(w);
    free(x);
    free(one);
    free(many);
}

static void test_core(void **state) {
    (void)state;
    bool below = true;
    const char *core = specp_blas_core(&below);
    assert_true(core && *core);
    unsigned isa = specp_isa_detect();
    if (!isa) {
        assert_false(below);
    }
    static const char *const wide[] = {"SkylakeX", "Cooperlake", "SapphireRapids"};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        if (!strcmp(core, wide[i])) {
            assert_false(below);
        }
    }
    if (isa && (!strcmp(core, "Prescott") || !strcmp(core, "Nehalem") || !strcmp(core, "Sandybridge"))) {
        assert_true(below);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_near_the_exact_product),
        cmocka_unit_test(test_rows_may_depend_on_the_batch),
        cmocka_unit_test(test_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

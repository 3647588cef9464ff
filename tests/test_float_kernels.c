/* SPDX-License-Identifier: MIT */
/* Matrix kernels of float weights: every instruction set against the documented
 * order of sums, bit for bit, whatever the batch, the panels, the addresses and the numbers. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "kernels.h"

static const unsigned masks[] = {0, SPECP_ISA_AVX2, SPECP_ISA_AVX2 | SPECP_ISA_AVX512, SPECP_ISA_ALL};
#define N_MASKS (sizeof masks / sizeof *masks)

static const struct {
    specp_form form;
    spec_type type;
} forms[] = {
    {SPECP_FORM_F32, SPEC_TYPE_F32}, {SPECP_FORM_F16, SPEC_TYPE_F16}, {SPECP_FORM_BF16, SPEC_TYPE_BF16}};

/* ---- the oracle --------------------------------------------------------------- */

static float oracle_dot(const float *w, const float *x, size_t n) {
    float lane[16] = {0};
    for (size_t k = 0; k < (n + 15) / 16 * 16; k++) {
        lane[k % 16] = fmaf(k < n ? w[k] : 0.0f, k < n ? x[k] : 0.0f, lane[k % 16]);
    }
    for (int width = 8; width; width /= 2) {
        for (int l = 0; l < width; l++) {
            lane[l] += lane[l + width];
        }
    }
    return lane[0];
}

/* The payload of a NaN may differ: which operand's it is depends on the instruction. */
static bool same(float a, float b) { return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0; }

/* ---- a case --------------------------------------------------------------------- */

typedef struct problem {
    size_t n_out, n_in, n_rows, n_acts;
    specp_matrix m;
    specp_acts a;
    uint32_t *pick;  /* (n_rows), or NULL */
    char *store;     /* the matrix, at any address */
    float *weight;   /* the same as floats (n_out, n_in) */
    float *x, *want; /* (n_acts, n_in), (n_rows, n_out) */
} problem;

typedef float (*draw_fn)(support_rng *r);

static float draw_plain(support_rng *r) { return (float)(support_rng_unit(r) * 2.0 - 1.0); }

/* Numbers of every size, and now and then something that is none. */
static float draw_wild(support_rng *r) {
    static const float odd[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-45f, -1e-40f, 3e38f};
    if (support_rng_chance(r, 0.003)) {
        return odd[support_rng_below(r, 8)];
    }
    return (float)ldexp(support_rng_unit(r) - 0.5, (int)support_rng_below(r, 100) - 60);
}

/* So small that products and sums are denormal. */
static float draw_tiny(support_rng *r) {
    return (float)ldexp(support_rng_unit(r) - 0.5, -65 - (int)support_rng_below(r, 10));
}

/* All sums are zeros, whose sign must come out right. */
static float draw_zero(support_rng *r) { return support_rng_chance(r, 0.5) ? 0.0f : -0.0f; }

static void problem_make(problem *p, support_rng *r, size_t form, size_t n_out, size_t n_in, size_t n_rows,
                         draw_fn draw) {
    size_t element = spec_type_block_bytes(forms[form].type), shift = support_rng_below(r, 64);
    *p =
        (problem){.n_out = n_out, .n_in = n_in, .n_rows = n_rows, .n_acts = n_rows + support_rng_below(r, 3)};
    p->store = malloc(n_out * n_in * element + shift);
    p->weight = malloc(n_out * n_in * sizeof(float));
    p->x = malloc(p->n_acts * n_in * sizeof(float));
    p->want = malloc(n_rows * n_out * sizeof(float));
    assert_true(p->store && p->weight && p->x && p->want);
    for (size_t i = 0; i < n_out * n_in; i++) {
        p->weight[i] = draw(r);
    }
    char *data = p->store + shift;
    assert_int_equal(spec_type_from_float(forms[form].type, p->weight, data, n_out * n_in), 0);
    assert_int_equal(spec_type_to_float(forms[form].type, data, p->weight, n_out * n_in), 0);
    for (size_t i = 0; i < p->n_acts * n_in; i++) {
        p->x[i] = draw(r);
    }
    if (support_rng_chance(r, 0.4)) {
        p->pick = malloc(n_rows * sizeof *p->pick);
        assert_non_null(p->pick);
        for (size_t i = 0; i < n_rows; i++) {
            p->pick[i] = support_rng_below(r, (uint32_t)p->n_acts);
        }
    }
    for (size_t i = 0; i < n_rows; i++) {
        const float *x = p->x + (p->pick ? p->pick[i] : i) * n_in;
        for (size_t o = 0; o < n_out; o++) {
            p->want[i * n_out + o] = oracle_dot(p->weight + o * n_in, x, n_in);
        }
    }
    p->m = (specp_matrix){.type = forms[form].type,
                          .form = forms[form].form,
                          .n_out = n_out,
                          .n_in = n_in,
                          .data = data,
                          .source = data};
    p->a = (specp_acts){.n_in = n_in, .cap = p->n_acts, .x = p->x};
}

static void problem_free(problem *p) {
    free(p->store);
    free(p->weight);
    free(p->x);
    free(p->want);
    free(p->pick);
}

/* All panels, in pieces of any size and any order; nothing else is written. */
static void problem_check(const problem *p, const specp_kernels *k, support_rng *r) {
    size_t panels = (p->n_out + 15) / 16, ldy = p->n_out + support_rng_below(r, 20);
    size_t cut = support_rng_below(r, (uint32_t)panels + 1);
    float *y = malloc(p->n_rows * ldy * sizeof *y);
    assert_non_null(y);
    for (size_t i = 0; i < p->n_rows * ldy; i++) {
        y[i] = 12345.0f;
    }
    k->matmul[p->m.form](&p->m, &p->a, p->pick, p->n_rows, y, ldy, cut, panels);
    for (size_t i = 0; i < p->n_rows * ldy; i++) {
        if (i % ldy < cut * 16 && y[i] != 12345.0f) {
            fail_msg("row %zu, output %zu lies before the first panel", i / ldy, i % ldy);
        }
    }
    k->matmul[p->m.form](&p->m, &p->a, p->pick, p->n_rows, y, ldy, 0, cut);
    for (size_t i = 0; i < p->n_rows * ldy; i++) {
        size_t row = i / ldy, o = i % ldy;
        float want = o < p->n_out ? p->want[row * p->n_out + o] : 12345.0f;
        if (!same(y[i], want)) {
            fail_msg("row %zu, output %zu: %a, not %a", row, o, (double)y[i], (double)want);
        }
    }
    free(y);
}

static void check_shape(support_rng *r, size_t n_out, size_t n_in, size_t n_rows, draw_fn draw) {
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        problem p;
        problem_make(&p, r, f, n_out, n_in, n_rows, draw);
        for (size_t i = 0; i < N_MASKS; i++) {
            specp_kernels k;
            if (masks[i] == 0 && n_out * n_in * n_rows > 50000) { /* scalar code is slow */
                continue;
            }
            specp_kernels_init(&k, masks[i]);
            problem_check(&p, &k, r);
        }
        problem_free(&p);
    }
}

/* ---- tests ---------------------------------------------------------------------- */

static void test_every_batch_size(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    for (size_t n = 1; n <= 64; n++) {
        check_shape(&r, 16 + n % 5, n % 2 ? 32 : 76, n, draw_plain);
    }
    check_shape(&r, 17, 32, 70, draw_plain); /* more than wait together */
    check_shape(&r, 17, 32, 200, draw_plain);
}

static void test_shapes(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 2);
    for (size_t n_in = 1; n_in <= 40; n_in++) {
        check_shape(&r, 1 + support_rng_below(&r, 40), n_in, 1 + support_rng_below(&r, 9), draw_plain);
    }
    for (int i = 0; i < 20; i++) { /* several chunks of K */
        size_t n_in = 500 + support_rng_below(&r, 600);
        n_in = i % 2 ? n_in : n_in / 16 * 16;
        size_t n_rows = i < 17 ? 1 + support_rng_below(&r, 9) : 25 + support_rng_below(&r, 8);
        check_shape(&r, 1 + support_rng_below(&r, 36), n_in, n_rows, draw_plain);
    }
}

/* So many columns that tokens pass in several blocks. */
static void test_wide_rows(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 3);
    check_shape(&r, 16, 3100, 66, draw_plain);
}

static void test_extreme_numbers(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 4);
    static const draw_fn draws[] = {draw_wild, draw_tiny, draw_zero};
    for (int i = 0; i < 60; i++) {
        check_shape(&r, 1 + support_rng_below(&r, 40), 1 + support_rng_below(&r, 200),
                    1 + support_rng_below(&r, 20), draws[i % 3]);
    }
}

static void test_names(void **state) {
    (void)state;
    unsigned has = specp_isa_detect();
    for (size_t i = 0; i < N_MASKS; i++) {
        specp_kernels k;
        specp_kernels_init(&k, masks[i]);
        assert_int_equal(k.isa, masks[i] & has);
        const char *set = k.isa & SPECP_ISA_AVX512 ? " avx512" : k.isa & SPECP_ISA_AVX2 ? " avx2" : " scalar";
        for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
            assert_non_null(strstr(k.matmul_name[forms[f].form], set));
            assert_int_equal(k.matmul_isa[forms[f].form] & ~k.isa, 0);
        }
    }
    specp_kernels k;
    specp_kernels_init(&k, SPECP_ISA_AVX512 | SPECP_ISA_VNNI); /* not without what it builds upon */
    assert_int_equal(k.isa, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_batch_size),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_wide_rows),
        cmocka_unit_test(test_extreme_numbers),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

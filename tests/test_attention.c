/* SPDX-License-Identifier: MIT */
/* Attention kernels: every instruction set against sequential fused sums, bit for
 * bit, for caches of both types, any head size and any number of queries. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "kernels.h"

static const unsigned masks[] = {0, SPECP_ISA_AVX2, SPECP_ISA_ALL};
#define N_MASKS (sizeof masks / sizeof *masks)
#define BLOCK   SPECP_KV_BLOCK

static bool same(float a, float b) { return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0; }

static float draw(support_rng *r, bool wild) {
    static const float odd[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-45f, 1e-7f, 65519.0f, 7e4f, -3e38f};
    if (wild && support_rng_chance(r, 0.01)) {
        return odd[support_rng_below(r, 10)];
    }
    return (float)(support_rng_unit(r) * 2.0 - 1.0);
}

/* One KV head with `positions` (whole blocks) stored through the kernels, and
 * the same as floats, position by position, rounded as the cache rounds. */
typedef struct cache {
    spec_type type;
    size_t head_dim, positions;
    void *k, *v;
    float *k_plain, *v_plain; /* (positions, head_dim) */
} cache;

static float rounded(spec_type type, float x) {
    return type == SPEC_TYPE_F16 ? specp_float_of_half(specp_half_of_float(x)) : x;
}

static float *floats(size_t n) {
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    return x;
}

static void cache_make(cache *c, support_rng *r, spec_type type, size_t head_dim, size_t positions,
                       bool wild) {
    size_t n = head_dim * positions, element = spec_type_block_bytes(type);
    specp_kernels k;
    specp_kernels_init(&k, masks[support_rng_below(r, N_MASKS)]);
    *c = (cache){type, head_dim, positions, malloc(n * element), malloc(n * element), floats(n), floats(n)};
    assert_true(c->k && c->v);
    for (size_t pos = 0; pos < positions; pos++) {
        float *kp = c->k_plain + pos * head_dim, *vp = c->v_plain + pos * head_dim;
        for (size_t d = 0; d < head_dim; d++) {
            kp[d] = draw(r, wild);
            vp[d] = draw(r, wild);
        }
        k.store_k(kp, c->k, type, head_dim, pos);
        k.store_v(vp, c->v, type, head_dim, pos);
        for (size_t d = 0; d < head_dim; d++) {
            kp[d] = rounded(type, kp[d]);
            vp[d] = rounded(type, vp[d]);
        }
    }
}

static void cache_free(cache *c) {
    free(c->k);
    free(c->v);
    free(c->k_plain);
    free(c->v_plain);
}

static float element(const void *base, spec_type type, size_t i) {
    return type == SPEC_TYPE_F16 ? specp_float_of_half(((const uint16_t *)base)[i])
                                 : ((const float *)base)[i];
}

/* ---- storing ------------------------------------------------------------------- */

static void test_stores_lie_as_documented(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    for (int round = 0; round < 40; round++) {
        cache c;
        size_t head_dim = 1 + support_rng_below(&r, 90);
        cache_make(&c, &r, round % 2 ? SPEC_TYPE_F16 : SPEC_TYPE_F32, head_dim, 48, round % 4 > 1);
        for (size_t pos = 0; pos < c.positions; pos++) {
            for (size_t d = 0; d < head_dim; d++) {
                size_t in_block = (pos / BLOCK * head_dim + d) * BLOCK + pos % BLOCK;
                assert_true(same(element(c.k, c.type, in_block), c.k_plain[pos * head_dim + d]));
                assert_true(same(element(c.v, c.type, pos * head_dim + d), c.v_plain[pos * head_dim + d]));
            }
        }
        cache_free(&c);
    }
}

/* ---- scores and values ---------------------------------------------------------- */

static void assert_same(const float *got, const float *want, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!same(got[i], want[i])) {
            fail_msg("element %zu of %zu is %a, not %a", i, n, (double)got[i], (double)want[i]);
        }
    }
}

static float *draw_floats(support_rng *r, size_t n, bool wild) {
    float *x = floats(n);
    for (size_t i = 0; i < n; i++) {
        x[i] = draw(r, wild);
    }
    return x;
}

static void check_scores(const cache *c, support_rng *r, size_t n_q, bool wild) {
    size_t ldq = c->head_dim + support_rng_below(r, 9), lds = c->positions + support_rng_below(r, 9);
    size_t blocks = c->positions / BLOCK, b0 = support_rng_below(r, (uint32_t)blocks);
    size_t b1 = b0 + 1 + support_rng_below(r, (uint32_t)(blocks - b0)), n = n_q * lds;
    float *q = draw_floats(r, n_q * ldq, wild), *start = draw_floats(r, n, wild), *want = floats(n);
    float *got = floats(n), scale = draw(r, false);
    for (size_t i = 0; i < n; i++) {
        size_t pos = i % lds;
        want[i] = start[i];
        if (pos >= b0 * BLOCK && pos < b1 * BLOCK) {
            float sum = 0.0f;
            for (size_t d = 0; d < c->head_dim; d++) {
                sum = fmaf(q[i / lds * ldq + d], c->k_plain[pos * c->head_dim + d], sum);
            }
            want[i] = scale * sum;
        }
    }
    for (size_t m = 0; m < N_MASKS; m++) {
        specp_kernels k;
        specp_kernels_init(&k, masks[m]);
        memcpy(got, start, n * sizeof *got);
        k.scores(q, ldq, n_q, c->k, c->type, c->head_dim, b0, b1, scale, got, lds);
        assert_same(got, want, n);
    }
    free(q);
    free(start);
    free(want);
    free(got);
}

static void check_values(const cache *c, support_rng *r, size_t n_q, bool wild) {
    size_t ldp = c->positions + support_rng_below(r, 9), lda = c->head_dim + support_rng_below(r, 20);
    size_t p0 = support_rng_below(r, (uint32_t)c->positions + 1), n = n_q * lda;
    size_t p1 = p0 + support_rng_below(r, (uint32_t)(c->positions - p0) + 1);
    float *p = draw_floats(r, n_q * ldp, wild), *start = draw_floats(r, n, wild), *want = floats(n);
    float *got = floats(n);
    for (size_t i = 0; i < n; i++) {
        want[i] = start[i];
        for (size_t pos = p0; pos < p1 && i % lda < c->head_dim; pos++) {
            want[i] = fmaf(p[i / lda * ldp + pos], c->v_plain[pos * c->head_dim + i % lda], want[i]);
        }
    }
    for (size_t m = 0; m < N_MASKS; m++) {
        specp_kernels k;
        specp_kernels_init(&k, masks[m]);
        memcpy(got, start, n * sizeof *got);
        k.values(p, ldp, n_q, c->v, c->type, c->head_dim, p0, p1, got, lda);
        assert_same(got, want, n);
    }
    free(p);
    free(start);
    free(want);
    free(got);
}

static void test_head_sizes(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 2);
    static const size_t dims[] = {1, 8, 15, 16, 17, 24, 32, 40, 48, 64, 80, 96, 112, 128, 256, 257};
    for (size_t i = 0; i < 2 * sizeof dims / sizeof *dims; i++) {
        cache c;
        cache_make(&c, &r, i % 2 ? SPEC_TYPE_F16 : SPEC_TYPE_F32, dims[i / 2], 4 * BLOCK, false);
        check_scores(&c, &r, 1 + support_rng_below(&r, 17), false);
        check_values(&c, &r, 1 + support_rng_below(&r, 17), false);
        cache_free(&c);
    }
}

static void test_numbers_of_queries(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 3);
    for (int type = 0; type < 2; type++) {
        cache c;
        cache_make(&c, &r, type ? SPEC_TYPE_F16 : SPEC_TYPE_F32, 24, 9 * BLOCK, false);
        for (size_t n_q = 1; n_q <= 26; n_q++) {
            check_scores(&c, &r, n_q, false);
            check_values(&c, &r, n_q, false);
        }
        cache_free(&c);
    }
}

static void test_odd_numbers(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 4);
    for (int round = 0; round < 40; round++) {
        cache c;
        cache_make(&c, &r, round % 2 ? SPEC_TYPE_F16 : SPEC_TYPE_F32, 1 + support_rng_below(&r, 70),
                   (1 + support_rng_below(&r, 5)) * BLOCK, true);
        check_scores(&c, &r, 1 + support_rng_below(&r, 12), true);
        check_values(&c, &r, 1 + support_rng_below(&r, 12), true);
        cache_free(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stores_lie_as_documented),
        cmocka_unit_test(test_head_sizes),
        cmocka_unit_test(test_numbers_of_queries),
        cmocka_unit_test(test_odd_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

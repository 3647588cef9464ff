/* SPDX-License-Identifier: MIT */
/*
 * rows_body.h - the functions of train_rows.h, compiled once for each instruction
 * set. Loops over elements are plain C for the compiler to vectorise; sums go by
 * lanes.h.
 */
#include <math.h>
#include <string.h>

#include "lanes.h"
#include "specp_math.h"
#include "train_rows.h"

#define WIDE  (TRAIN_TILE / LANES)
#define ROWS  6        /* of a product at a time: with WIDE = 4 all its sums are in registers */
#define LEAST (-87.0f) /* of what is exponentiated: below it would be denormal, which is slow */

/* n rows of a product, n and `add` constants. */
LANES_INLINE void product_rows(const int n, const bool add, const float *a, size_t lda, const float *b,
                               size_t k, const float *row, float *c) {
    lanes sum[ROWS][WIDE];
    LANES_UNROLL
    for (int i = 0; i < n; i++) {
        LANES_UNROLL
        for (int j = 0; j < WIDE; j++) {
            sum[i][j] = lanes_load(row + j * LANES);
            if (add) sum[i][j] = lanes_mul(lanes_load(c + i * TRAIN_TILE + j * LANES), sum[i][j]);
        }
    }
    for (size_t l = 0; l < k; l++) {
        lanes from[WIDE];
        LANES_UNROLL
        for (int j = 0; j < WIDE; j++) {
            from[j] = lanes_load(b + l * TRAIN_TILE + j * LANES);
            lanes_hold(&from[j]);
        }
        LANES_UNROLL
        for (int i = 0; i < n; i++) {
            lanes each = lanes_set(a[(size_t)i * lda + l]);
            LANES_UNROLL
            for (int j = 0; j < WIDE; j++) {
                sum[i][j] = lanes_fma(each, from[j], sum[i][j]);
            }
        }
    }
    LANES_UNROLL
    for (int i = 0; i < n; i++) {
        LANES_UNROLL
        for (int j = 0; j < WIDE; j++) {
            lanes_store(c + i * TRAIN_TILE + j * LANES, sum[i][j]);
        }
    }
}

#define PRODUCT_ROWS(n)                                                                                      \
    for (; m - i >= (n); i += (n)) product_rows(n, add, a + i * lda, lda, b, k, row, c + i * TRAIN_TILE);

LANES_INLINE void product(const bool add, const float *a, size_t lda, size_t m, const float *b, size_t k,
                          const float *row, float *c) {
    size_t i = 0;
    PRODUCT_ROWS(ROWS)
    PRODUCT_ROWS(4)
    PRODUCT_ROWS(1)
}

static void row_product(const float *a, size_t lda, size_t m, const float *b, size_t k, const float *row,
                        float *c) {
    product(false, a, lda, m, b, k, row, c);
}

static void row_product_add(const float *a, size_t lda, size_t m, const float *b, size_t k, const float *fade,
                            float *c) {
    product(true, a, lda, m, b, k, fade, c);
}

/* NaN stays. */
LANES_INLINE lanes exp_of(lanes x) { return lanes_exp(lanes_max(lanes_set(LEAST), x)); }

/* NaN is never the largest, and makes the sum NaN. */
static void row_softmax(float *s, size_t n, float *most, float *sum, float *fade) {
    lanes m[WIDE], all[WIDE];
    for (int j = 0; j < WIDE; j++) m[j] = lanes_load(most + j * LANES);
    for (size_t i = 0; i < n; i++) {
        LANES_UNROLL
        for (int j = 0; j < WIDE; j++) {
            m[j] = lanes_max(lanes_load(s + i * TRAIN_TILE + j * LANES), m[j]);
        }
    }
    for (int j = 0; j < WIDE; j++) {
        lanes was = lanes_load(most + j * LANES);
        lanes_store(most + j * LANES, m[j]);
        m[j] = lanes_mul(m[j], lanes_set(-1.0f));
        lanes less = exp_of(lanes_add(was, m[j]));
        lanes_store(fade + j * LANES, less);
        all[j] = lanes_mul(lanes_load(sum + j * LANES), less);
    }
    for (size_t i = 0; i < n; i++) {
        LANES_UNROLL
        for (int j = 0; j < WIDE; j++) {
            lanes e = exp_of(lanes_add(lanes_load(s + i * TRAIN_TILE + j * LANES), m[j]));
            lanes_store(s + i * TRAIN_TILE + j * LANES, e);
            all[j] = lanes_add(all[j], e);
        }
    }
    for (int j = 0; j < WIDE; j++) lanes_store(sum + j * LANES, all[j]);
}

static void row_exp(float *s, size_t n) {
    size_t i = 0;
    for (; n - i >= LANES; i += LANES) {
        lanes_store(s + i, exp_of(lanes_load(s + i)));
    }
    if (i < n) lanes_store_part(s + i, exp_of(lanes_load_part(s + i, n - i, 0.0f)), n - i);
}

static void row_mul(float *x, const float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] *= y[i];
    }
}

static void row_rmsnorm_back(const float *x, const float *w, float eps, const float *dy, float *restrict dx,
                             float *restrict dw, size_t n) {
    lanes squares = lanes_zero(), dots = lanes_zero();
    size_t whole = n / LANES * LANES, rest = n - whole;
    for (size_t i = 0; i < whole; i += LANES) {
        lanes v = lanes_load(x + i);
        squares = lanes_fma(v, v, squares);
        dots = lanes_fma(lanes_mul(lanes_load(w + i), lanes_load(dy + i)), v, dots);
    }
    lanes v = lanes_load_part(x + whole, rest, 0.0f), a = lanes_load_part(w + whole, rest, 0.0f);
    squares = lanes_fma(v, v, squares);
    dots = lanes_fma(lanes_mul(a, lanes_load_part(dy + whole, rest, 0.0f)), v, dots);
    float s = 1.0f / sqrtf(lanes_fold(squares) / (float)n + eps);
    float back = s * s * s / (float)n * lanes_fold(dots);
    for (size_t i = 0; i < n; i++) {
        float d = s * dy[i];
        dx[i] += w[i] * d - back * x[i];
        dw[i] += x[i] * d;
    }
}

#define BLOCK 256 /* outputs may be inputs: they are written when a block is done */

/* With sigma = 1 / (1 + e^-g): silu = g sigma, silu' = sigma + silu (1 - sigma). */
static void row_silu_mul_back(const float *gate, const float *up, const float *dy, float *dgate, float *dup,
                              size_t n) {
    float a[BLOCK], b[BLOCK];
    for (size_t at = 0, m; at < n; at += m) {
        m = n - at < BLOCK ? n - at : BLOCK;
        for (size_t i = 0; i < m; i++) {
            float g = gate[at + i], u = up[at + i], d = dy[at + i];
            float sigma = 1.0f / (1.0f + specp_expf(-g)), silu = g * sigma;
            a[i] = d * u * (sigma + silu * (1.0f - sigma));
            b[i] = d * silu;
        }
        memcpy(dgate + at, a, m * sizeof *a); /* cppcheck-suppress uninitvar */
        memcpy(dup + at, b, m * sizeof *b);   /* cppcheck-suppress uninitvar */
    }
}

static void enter(train_rows *t) {
    t->product = row_product;
    t->product_add = row_product_add;
    t->softmax = row_softmax;
    t->exp = row_exp;
    t->mul = row_mul;
    t->rmsnorm_back = row_rmsnorm_back;
    t->silu_mul_back = row_silu_mul_back;
}

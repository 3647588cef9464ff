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

static float row_softmax(float *s, size_t n, float *most) {
    size_t whole = n / LANES * LANES;
    lanes each = lanes_load_part(s + whole, n - whole, -INFINITY);
    for (size_t i = 0; i < whole; i += LANES) {
        each = lanes_max(lanes_load(s + i), each);
    }
    float all[LANES], m = -INFINITY;
    lanes_store(all, each);
    for (int l = 0; l < LANES; l++) {
        m = all[l] > m ? all[l] : m;
    }
    *most = m;
    lanes minus = lanes_set(-m), sum = lanes_zero();
    for (size_t i = 0; i < whole; i += LANES) {
        lanes e = lanes_exp(lanes_add(lanes_load(s + i), minus));
        lanes_store(s + i, e);
        sum = lanes_add(sum, e);
    }
    if (whole < n) { /* behind the end -infinity, whose exponential adds 0 */
        lanes e = lanes_exp(lanes_add(lanes_load_part(s + whole, n - whole, -INFINITY), minus));
        lanes_store_part(s + whole, e, n - whole);
        sum = lanes_add(sum, e);
    }
    return lanes_fold(sum);
}

static void row_exp(float *s, size_t n) {
    size_t i = 0;
    for (; n - i >= LANES; i += LANES) {
        lanes_store(s + i, lanes_exp(lanes_load(s + i)));
    }
    if (i < n) lanes_store_part(s + i, lanes_exp(lanes_load_part(s + i, n - i, 0.0f)), n - i);
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
        memcpy(dgate + at, a, m * sizeof *a);
        memcpy(dup + at, b, m * sizeof *b);
    }
}

static void enter(train_rows *t) {
    t->softmax = row_softmax;
    t->exp = row_exp;
    t->mul = row_mul;
    t->rmsnorm_back = row_rmsnorm_back;
    t->silu_mul_back = row_silu_mul_back;
}

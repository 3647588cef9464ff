/* SPDX-License-Identifier: MIT */
/*
 * Products with quantised rows straight from a file's blocks, one code at a time.
 */
#include "oracle_quant.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "half.h"

const spec_type oracle_quant_types[ORACLE_QUANT_TYPES] = {SPEC_TYPE_Q8_0, SPEC_TYPE_Q4_0, SPEC_TYPE_Q5_0,
                                                          SPEC_TYPE_Q4_K, SPEC_TYPE_Q5_K, SPEC_TYPE_Q6_K};

size_t oracle_quant_row_bytes(spec_type type, size_t n_in) {
    return n_in / spec_type_block(type) * spec_type_block_bytes(type);
}

/* ---- blocks -------------------------------------------------------------- */

/* Finite: all exponents, now and then a subnormal or zero. */
static void random_half(support_rng *r, uint8_t *out) {
    uint32_t exponent = support_rng_chance(r, 0.1) ? 0 : 1 + support_rng_below(r, 20);
    uint32_t mantissa = support_rng_chance(r, 0.1) ? 0 : support_rng_below(r, 1024);
    uint16_t h = (uint16_t)(support_rng_below(r, 2) << 15 | exponent << 10 | mantissa);
    memcpy(out, &h, sizeof h);
}

static void fill_bytes(support_rng *r, oracle_quant_fill fill, void *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        ((uint8_t *)p)[i] = fill == ORACLE_QUANT_RANDOM   ? (uint8_t)support_rng_below(r, 256)
                            : fill == ORACLE_QUANT_LOWEST ? 0x00
                                                          : 0xff;
    }
}

/* Signed bytes, whose extremes are others. */
static void fill_signed(oracle_quant_fill fill, int8_t *p, size_t n) {
    if (fill != ORACLE_QUANT_RANDOM) {
        memset(p, fill == ORACLE_QUANT_LOWEST ? 0x80 : 0x7f, n);
    }
}

void oracle_quant_blocks(support_rng *r, spec_type type, oracle_quant_fill fill, void *blocks,
                         size_t n_blocks) {
    size_t bytes = spec_type_block_bytes(type);
    for (size_t i = 0; i < n_blocks; i++) {
        uint8_t *b = (uint8_t *)blocks + i * bytes;
        specp_q6_k *q6 = (specp_q6_k *)b;
        fill_bytes(r, fill, b, bytes);
        switch (type) {
        case SPEC_TYPE_Q8_0: fill_signed(fill, ((specp_q8_0 *)b)->q, 32); break;
        case SPEC_TYPE_Q4_K:
        case SPEC_TYPE_Q5_K: random_half(r, ((specp_q4_k *)b)->dmin); break;
        case SPEC_TYPE_Q6_K: fill_signed(fill, q6->scales, 16); break;
        default: break;
        }
        random_half(r, type == SPEC_TYPE_Q6_K ? q6->d : b);
    }
}

/* ---- one block of 32 ----------------------------------------------------- */

/* What 32 weights are: scale * (half[i / 16] * code[i]) - minimum. */
typedef struct weights {
    int code[32];
    int half[2];
    float scale, minimum;
} weights;

static void read_k(const uint8_t *d, const uint8_t *dmin, const uint8_t *scales, size_t j, weights *w) {
    w->scale = specp_load_half(d) * (float)specp_k_scale(scales, j);
    w->minimum = specp_load_half(dmin) * (float)specp_k_min(scales, j);
}

/* Columns 32 b .. 32 b + 31 of a row. */
static weights read_weights(spec_type type, const void *row, size_t b) {
    weights w = {.half = {1, 1}};
    size_t j = b % (spec_type_block(type) / 32);
    const uint8_t *block =
        (const uint8_t *)row + b * 32 / spec_type_block(type) * spec_type_block_bytes(type);
    const specp_q8_0 *q8 = (const void *)block;
    const specp_q4_0 *q4 = (const void *)block;
    const specp_q5_0 *q5 = (const void *)block;
    const specp_q4_k *k4 = (const void *)block;
    const specp_q5_k *k5 = (const void *)block;
    const specp_q6_k *k6 = (const void *)block;
    for (size_t i = 0; i < 32; i++) {
        switch (type) {
        case SPEC_TYPE_Q8_0: w.code[i] = q8->q[i]; break;
        case SPEC_TYPE_Q4_0: w.code[i] = (q4->q[i % 16] >> i / 16 * 4 & 15) - 8; break;
        case SPEC_TYPE_Q5_0:
            w.code[i] = (q5->q[i % 16] >> i / 16 * 4 & 15) + (q5->high[i / 8] >> i % 8 & 1) * 16 - 16;
            break;
        case SPEC_TYPE_Q4_K: w.code[i] = specp_k_low(k4->q, 32 * j + i); break;
        case SPEC_TYPE_Q5_K: w.code[i] = specp_k_low(k5->q, 32 * j + i) + (k5->high[i] >> j & 1) * 16; break;
        default: w.code[i] = specp_q6_k_code(k6, 32 * j + i) - 32; break;
        }
    }
    switch (type) {
    case SPEC_TYPE_Q4_K: read_k(k4->d, k4->dmin, k4->scales, j, &w); break;
    case SPEC_TYPE_Q5_K: read_k(k5->d, k5->dmin, k5->scales, j, &w); break;
    case SPEC_TYPE_Q6_K:
        w.scale = specp_load_half(k6->d);
        w.half[0] = k6->scales[2 * j];
        w.half[1] = k6->scales[2 * j + 1];
        break;
    default: w.scale = specp_load_half(block); break;
    }
    return w;
}

/* ---- products ------------------------------------------------------------ */

float oracle_quant_output(spec_type type, const void *row, const specp_qblock *x, size_t n_in) {
    float acc = 0.0f;
    for (size_t b = 0; b < n_in / 32; b++) {
        weights w = read_weights(type, row, b);
        int64_t dot = 0, sum = 0;
        for (size_t i = 0; i < 32; i++) {
            dot += (int64_t)w.half[i / 16] * w.code[i] * x[b].code[i];
            sum += x[b].code[i];
        }
        float factor = w.scale * x[b].scale;
        acc = fmaf(factor, (float)dot, acc);
        if (type == SPEC_TYPE_Q4_K || type == SPEC_TYPE_Q5_K) {
            float scaled = x[b].scale * (float)sum;
            acc = fmaf(-w.minimum, scaled, acc);
        }
    }
    return acc;
}

double oracle_quant_exact(spec_type type, const void *row, const specp_qblock *x, size_t n_in, double *size) {
    float *w = malloc(n_in * sizeof *w);
    assert_non_null(w);
    assert_int_equal(spec_type_to_float(type, row, w, n_in), 0);
    double y = 0.0;
    *size = 0.0;
    for (size_t k = 0; k < n_in; k++) {
        double term = (double)w[k] * (double)x[k / 32].scale * x[k / 32].code[k % 32];
        y += term;
        *size += fabs(term);
    }
    free(w);
    return y;
}

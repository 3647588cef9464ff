/* SPDX-License-Identifier: MIT */
/*
 * types_quant.c - blocks of quantised types to floats and back.
 *
 * A block becomes codes, and a scale and a minimum for each sub-block of 16 or
 * 32 codes; all types share what is then left to do:
 *
 *     floats  <-- scale * code - minimum --  codes[256], scale[], minimum[]  <-- unpack --  block
 *     floats  -- fit a grid, round ------->  codes[256], scale[], minimum[]  -- pack ---->  block
 *
 * Quantising tries a few grids for each sub-block and keeps the one with the
 * least squared error, the first of equals: the same bits everywhere. Scales are
 * rounded as the block stores them before codes are chosen.
 */
#include "types_quant.h"

#include <math.h>

#include "blocks.h"
#include "half.h"

#define MAX_BLOCK 256

/* ---- to floats ----------------------------------------------------------- */

static void dequantise_q8_0(const specp_q8_0 *b, float *x) {
    float d = specp_load_half(b->d);
    for (size_t i = 0; i < 32; i++) {
        x[i] = d * (float)b->q[i];
    }
}

static void dequantise_q4_0(const specp_q4_0 *b, float *x) {
    float d = specp_load_half(b->d);
    for (size_t i = 0; i < 16; i++) {
        x[i] = d * (float)((b->q[i] & 15) - 8);
        x[i + 16] = d * (float)((b->q[i] >> 4) - 8);
    }
}

static void dequantise_q5_0(const specp_q5_0 *b, float *x) {
    float d = specp_load_half(b->d);
    for (size_t i = 0; i < 16; i++) {
        int low = b->high[i / 8] >> i % 8 & 1, high = b->high[i / 8 + 2] >> i % 8 & 1;
        x[i] = d * (float)((b->q[i] & 15) + 16 * low - 16);
        x[i + 16] = d * (float)((b->q[i] >> 4) + 16 * high - 16);
    }
}

/* Both K-types of 4 and 5 bits; high is NULL for 4. */
static void dequantise_k(const uint8_t *d, const uint8_t *dmin, const uint8_t *scales, const uint8_t *q,
                         const uint8_t *high, float *x) {
    for (size_t j = 0; j < 8; j++) {
        float scale = specp_load_half(d) * (float)specp_k_scale(scales, j);
        float minimum = specp_load_half(dmin) * (float)specp_k_min(scales, j);
        for (size_t i = 0; i < 32; i++) {
            int code = q[j / 2 * 32 + i] >> j % 2 * 4 & 15;
            if (high) {
                code |= (high[i] >> j & 1) << 4;
            }
            x[j * 32 + i] = scale * (float)code - minimum;
        }
    }
}

static void dequantise_q6_k(const specp_q6_k *b, float *x) {
    float d = specp_load_half(b->d);
    for (size_t j = 0; j < 16; j++) {
        float scale = d * (float)b->scales[j];
        for (size_t i = j * 16; i < j * 16 + 16; i++) {
            x[i] = scale * (float)(specp_q6_k_code(b, i) - 32);
        }
    }
}

static void dequantise_block(spec_type type, const void *block, float *x) {
    const specp_q4_k *q4 = block;
    const specp_q5_k *q5 = block;
    switch (type) {
    case SPEC_TYPE_Q8_0: dequantise_q8_0(block, x); break;
    case SPEC_TYPE_Q4_0: dequantise_q4_0(block, x); break;
    case SPEC_TYPE_Q5_0: dequantise_q5_0(block, x); break;
    case SPEC_TYPE_Q4_K: dequantise_k(q4->d, q4->dmin, q4->scales, q4->q, NULL, x); break;
    case SPEC_TYPE_Q5_K: dequantise_k(q5->d, q5->dmin, q5->scales, q5->q, q5->high, x); break;
    default: dequantise_q6_k(block, x); break;
    }
}

void specp_dequantise(spec_type type, const void *src, float *dst, size_t n_blocks) {
    size_t block = spec_type_block(type), bytes = spec_type_block_bytes(type);
    for (size_t i = 0; i < n_blocks; i++) {
        dequantise_block(type, (const char *)src + i * bytes, dst + i * block);
    }
}

/* ---- from floats --------------------------------------------------------- */

/* Finite numbers that halves can scale: NaN counts as 0, what is too large as
 * the largest that any code of any type reaches in squares without overflow. */
static void tame(const float *x, float *out, size_t n) {
    const float limit = 1e15f;
    for (size_t i = 0; i < n; i++) {
        float v = x[i] == x[i] ? x[i] : 0.0f;
        v = v > limit ? limit : v;
        out[i] = v < -limit ? -limit : v;
    }
}

/* NaN, the product of 0 and the infinite inverse of a tiny scale, gives low. */
static int round_code(float x, int low, int high) {
    float clamped = x > (float)low ? x : (float)low;
    return (int)rintf(clamped < (float)high ? clamped : (float)high);
}

/* x / d as a code; a grid of step 0 has only the code of 0. */
static int code_of(float x, float d, int low, int high) {
    return d == 0.0f ? round_code(0.0f, low, high) : round_code(x / d, low, high);
}

/* d as the block keeps it, in bytes: never infinite, and without a sign when it vanishes. */
static float store_half(float d, uint8_t *bytes) {
    float limited = d > 65504.0f ? 65504.0f : d < -65504.0f ? -65504.0f : d;
    uint16_t h = specp_half_of_float(limited);
    h = h & 0x7fff ? h : 0;
    memcpy(bytes, &h, sizeof h);
    return specp_float_of_half(h);
}

/*
 * The d of the best grid d q, q in -span..span-1, for n numbers. The number of the
 * largest size gets the code -span, which has one step more, or a neighbour: each
 * trial rounds to that grid and then takes the d that fits the codes best.
 */
static float fit_scale(const float *x, size_t n, int span) {
    float extreme = 0.0f, best = 0.0f, best_gain = 0.0f;
    for (size_t i = 0; i < n; i++) {
        extreme = fabsf(x[i]) > fabsf(extreme) ? x[i] : extreme;
    }
    if (extreme == 0.0f) {
        return 0.0f;
    }
    for (int trial = -9; trial <= 9; trial++) {
        float inverse = ((float)-span + 0.1f * (float)trial) / extreme;
        double xq = 0.0, qq = 0.0;
        for (size_t i = 0; i < n; i++) {
            int q = round_code(x[i] * inverse, -span, span - 1);
            xq += (double)x[i] * q;
            qq += (double)q * q;
        }
        /* the squared error is sum x^2 - xq^2 / qq */
        float gain = qq > 0.0 ? (float)(xq * xq / qq) : 0.0f;
        if (gain > best_gain) {
            best_gain = gain;
            best = (float)(xq / qq);
        }
    }
    return best;
}

/* Scale and minimum (>= 0) of the best grid scale q - minimum, q in 0..top, for 32
 * numbers: trials as above, each followed by linear regression on its codes. */
static void fit_line(const float *x, int top, float *scale, float *minimum) {
    float low = 0.0f, high = x[0], best_error = 0.0f;
    for (size_t i = 0; i < 32; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    *scale = 0.0f;
    *minimum = -low;
    if (high <= low) {
        return;
    }
    for (int trial = 0; trial <= 20; trial++) {
        float inverse = ((float)top - 1.0f + 0.1f * (float)trial) / (high - low);
        double q1 = 0.0, q2 = 0.0, x1 = 0.0, xq = 0.0, error = 0.0;
        int code[32];
        for (size_t i = 0; i < 32; i++) {
            code[i] = round_code((x[i] - low) * inverse, 0, top);
            q1 += code[i];
            q2 += (double)code[i] * code[i];
            x1 += (double)x[i];
            xq += (double)x[i] * code[i];
        }
        double d = 32.0 * q2 - q1 * q1;
        double a = d > 0.0 ? (32.0 * xq - x1 * q1) / d : 0.0, m = (a * q1 - x1) / 32.0;
        if (m < 0.0) { /* the minimum may not lie above 0 */
            m = 0.0;
            a = q2 > 0.0 ? xq / q2 : 0.0;
        }
        for (size_t i = 0; i < 32; i++) {
            double e = a * code[i] - m - (double)x[i];
            error += e * e;
        }
        if (a > 0.0 && (trial == 0 || *scale == 0.0f || (float)error < best_error)) {
            best_error = (float)error;
            *scale = (float)a;
            *minimum = (float)m;
        }
    }
}

static void quantise_q8_0(const float *x, specp_q8_0 *b) {
    float largest = 0.0f;
    for (size_t i = 0; i < 32; i++) {
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    }
    float d = store_half(largest / 127.0f, b->d);
    for (size_t i = 0; i < 32; i++) {
        b->q[i] = (int8_t)code_of(x[i], d, -127, 127);
    }
}

static void quantise_q4_0(const float *x, specp_q4_0 *b) {
    float d = store_half(fit_scale(x, 32, 8), b->d);
    for (size_t i = 0; i < 16; i++) {
        int low = code_of(x[i], d, -8, 7) + 8, high = code_of(x[i + 16], d, -8, 7) + 8;
        b->q[i] = (uint8_t)(low | high << 4);
    }
}

static void quantise_q5_0(const float *x, specp_q5_0 *b) {
    float d = store_half(fit_scale(x, 32, 16), b->d);
    memset(b->high, 0, sizeof b->high);
    for (size_t i = 0; i < 16; i++) {
        int low = code_of(x[i], d, -16, 15) + 16, high = code_of(x[i + 16], d, -16, 15) + 16;
        b->q[i] = (uint8_t)((low & 15) | (high & 15) << 4);
        b->high[i / 8] |= (uint8_t)(low >> 4 << i % 8);
        b->high[i / 8 + 2] |= (uint8_t)(high >> 4 << i % 8);
    }
}

static void pack_scales(const int *scale, const int *minimum, uint8_t *s) {
    for (size_t j = 0; j < 4; j++) {
        s[j] = (uint8_t)(scale[j] | scale[j + 4] >> 4 << 6);
        s[j + 4] = (uint8_t)(minimum[j] | minimum[j + 4] >> 4 << 6);
        s[j + 8] = (uint8_t)((scale[j + 4] & 15) | (minimum[j + 4] & 15) << 4);
    }
}

static void quantise_k(const float *x, uint8_t *d_bytes, uint8_t *dmin_bytes, uint8_t *scales, uint8_t *q,
                       uint8_t *high) {
    int top = high ? 31 : 15, s[8], m[8];
    float scale[8], minimum[8], largest_scale = 0.0f, largest_minimum = 0.0f;
    for (size_t j = 0; j < 8; j++) {
        fit_line(x + j * 32, top, &scale[j], &minimum[j]);
        largest_scale = scale[j] > largest_scale ? scale[j] : largest_scale;
        largest_minimum = minimum[j] > largest_minimum ? minimum[j] : largest_minimum;
    }
    float d = store_half(largest_scale / 63.0f, d_bytes);
    float dmin = store_half(largest_minimum / 63.0f, dmin_bytes);
    memset(q, 0, 128);
    if (high) {
        memset(high, 0, 32);
    }
    for (size_t j = 0; j < 8; j++) {
        s[j] = code_of(scale[j], d, 0, 63);
        m[j] = code_of(minimum[j], dmin, 0, 63);
        for (size_t i = 0; i < 32; i++) {
            int code = code_of(x[j * 32 + i] + dmin * (float)m[j], d * (float)s[j], 0, top);
            q[j / 2 * 32 + i] |= (uint8_t)((code & 15) << j % 2 * 4);
            if (high) {
                high[i] |= (uint8_t)(code >> 4 << j);
            }
        }
    }
    pack_scales(s, m, scales);
}

static void quantise_q6_k(const float *x, specp_q6_k *b) {
    float scale[16], extreme = 0.0f;
    for (size_t j = 0; j < 16; j++) {
        scale[j] = fit_scale(x + j * 16, 16, 32);
        extreme = fabsf(scale[j]) > fabsf(extreme) ? scale[j] : extreme;
    }
    float d = store_half(extreme / -128.0f, b->d);
    memset(b->q, 0, sizeof b->q);
    memset(b->high, 0, sizeof b->high);
    for (size_t i = 0; i < 256; i++) {
        size_t half = i / 128, in = i % 128, j = i / 16;
        b->scales[j] = (int8_t)code_of(scale[j], d, -128, 127);
        int code = code_of(x[i], d * (float)b->scales[j], -32, 31) + 32;
        b->q[half * 64 + in % 64] |= (uint8_t)((code & 15) << in / 64 * 4);
        b->high[half * 32 + in % 32] |= (uint8_t)(code >> 4 << in / 32 * 2);
    }
}

static void quantise_block(spec_type type, const float *x, void *block) {
    specp_q4_k *q4 = block;
    specp_q5_k *q5 = block;
    switch (type) {
    case SPEC_TYPE_Q8_0: quantise_q8_0(x, block); break;
    case SPEC_TYPE_Q4_0: quantise_q4_0(x, block); break;
    case SPEC_TYPE_Q5_0: quantise_q5_0(x, block); break;
    case SPEC_TYPE_Q4_K: quantise_k(x, q4->d, q4->dmin, q4->scales, q4->q, NULL); break;
    case SPEC_TYPE_Q5_K: quantise_k(x, q5->d, q5->dmin, q5->scales, q5->q, q5->high); break;
    default: quantise_q6_k(x, block); break;
    }
}

void specp_quantise(spec_type type, const float *src, void *dst, size_t n_blocks) {
    size_t block = spec_type_block(type), bytes = spec_type_block_bytes(type);
    float tamed[MAX_BLOCK] = {0};
    for (size_t i = 0; i < n_blocks; i++) {
        tame(src + i * block, tamed, block);
        quantise_block(type, tamed, (char *)dst + i * bytes);
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * quant_scalar.c - products with quantised weights in plain C: what every other
 * instruction set has to equal, bit for bit, and what runs where there is none.
 */
#include "kernels_quant.h"

#include <math.h>
#include <string.h>

#include "half.h"

/* ---- products ------------------------------------------------------------ */

/* A tile with its scales, ready for any number of rows of activations. */
typedef struct tile {
    int16_t code[SPECP_PANEL][SPECP_BLOCK]; /* as in the file: with the offset taken off */
    float scale[SPECP_PANEL];               /* s, d s or d */
    float minimum[SPECP_PANEL];             /* dmin m */
    int32_t half[2][SPECP_PANEL];           /* W6K: s0, s1; others 1 */
} tile;

/* The code in byte i (0..63) of vector v. */
static unsigned code_at(specp_form form, const uint8_t *data, size_t v, size_t i) {
    size_t bits = specp_form_bits(form);
    if (bits == 8) {
        return data[v * SPECP_VECTOR + i];
    }
    const uint8_t *high = data + 4 * SPECP_VECTOR;
    unsigned low = data[v % 4 * SPECP_VECTOR + i] >> (v / 4 * 4) & 15;
    switch (bits) {
    case 5: return low | (high[i] >> v & 1u) << 4;
    case 6: return low | (high[v / 4 * SPECP_VECTOR + i] >> v % 4 * 2 & 3u) << 4;
    default: return low;
    }
}

static void read_codes(specp_form form, const uint8_t *data, tile *w) {
    static const uint8_t offset[SPECP_FORMS] = {
        [SPECP_FORM_W8] = 128, [SPECP_FORM_W4] = 8, [SPECP_FORM_W5] = 16, [SPECP_FORM_W6K] = 32};
    for (size_t v = 0; v < 8; v++) {
        for (size_t i = 0; i < SPECP_VECTOR; i++) {
            w->code[i / 4][4 * v + i % 4] = (int16_t)((int)code_at(form, data, v, i) - offset[form]);
        }
    }
}

static void read_scales(specp_form form, const uint8_t *head, size_t t, tile *w) {
    for (size_t r = 0; r < SPECP_PANEL; r++) {
        w->half[0][r] = w->half[1][r] = 1;
        if (!specp_form_is_k(form)) {
            w->scale[r] = specp_load_half(head + SPECP_HEAD_SCALE(t) + 2 * r);
            continue;
        }
        w->scale[r] = specp_load_half(head + 2 * r);
        if (form == SPECP_FORM_W6K) {
            const int8_t *s = (const int8_t *)head + SPECP_HEAD_HALF(t) + r;
            w->half[0][r] = (int32_t)s[0];
            w->half[1][r] = (int32_t)s[SPECP_PANEL];
        } else {
            w->scale[r] *= (float)head[SPECP_HEAD_S(t) + r];
            w->minimum[r] =
                specp_load_half(head + SPECP_HEAD_DMIN + 2 * r) * (float)head[SPECP_HEAD_M(t) + r];
        }
    }
}

/* Of 16 codes; compilers know this loop. */
static int32_t dot(const int16_t *w, const int16_t *c) {
    int32_t sum = 0;
    for (size_t i = 0; i < SPECP_BLOCK / 2; i++) {
        sum += w[i] * c[i];
    }
    return sum;
}

/* Adds one block to 16 outputs. */
static void add_block(specp_form form, const tile *w, const specp_qblock *x, float *acc) {
    int16_t c[SPECP_BLOCK];
    for (size_t i = 0; i < SPECP_BLOCK; i++) {
        c[i] = (int16_t)x->code[i];
    }
    for (size_t r = 0; r < SPECP_PANEL; r++) {
        int32_t sum = w->half[0][r] * dot(w->code[r], c) + w->half[1][r] * dot(w->code[r] + 16, c + 16);
        acc[r] = fmaf(w->scale[r] * x->scale, (float)sum, acc[r]);
        if (form == SPECP_FORM_W4K || form == SPECP_FORM_W5K) {
            acc[r] = fmaf(-w->minimum[r], x->scaled_sum, acc[r]);
        }
    }
}

SPECP_INLINE void multiply_panel(specp_form form, const uint8_t *panel, size_t units,
                                 const specp_qblock *const *x, size_t n, float (*out)[SPECP_PANEL]) {
    size_t tiles = specp_unit_tiles(form);
    memset(out, 0, n * sizeof *out);
    for (size_t u = 0; u < units; u++, panel += specp_unit_bytes(form)) {
        for (size_t t = 0; t < tiles; t++) {
            tile w;
            read_codes(form, panel + specp_head_bytes(form) + t * specp_tile_bytes(form), &w);
            read_scales(form, panel, t, &w);
            for (size_t i = 0; i < n; i++) {
                add_block(form, &w, x[i] + u * tiles + t, out[i]);
            }
        }
    }
}

#define FORM(name, form)                                                                                     \
    static void panel_##name(const uint8_t *panel, size_t units, const specp_qblock *const *x, size_t n,     \
                             float(*out)[SPECP_PANEL]) {                                                     \
        multiply_panel(form, panel, units, x, n, out);                                                       \
    }                                                                                                        \
    SPECP_QUANT_MATMUL(matmul_##name, panel_##name)

FORM(w8, SPECP_FORM_W8)
FORM(w4, SPECP_FORM_W4)
FORM(w5, SPECP_FORM_W5)
FORM(w4k, SPECP_FORM_W4K)
FORM(w5k, SPECP_FORM_W5K)
FORM(w6k, SPECP_FORM_W6K)

/* ---- activations --------------------------------------------------------- */

/* The largest size as bits: they are ordered as the sizes are, infinity and then NaN above all. */
static uint32_t largest_bits(const float *x) {
    uint32_t largest = 0;
    for (size_t i = 0; i < SPECP_BLOCK; i++) {
        uint32_t size = specp_bits_of_float(x[i]) & 0x7fffffffu;
        largest = size > largest ? size : largest;
    }
    return largest;
}

static void quantise_block(const float *x, specp_qblock *q) {
    specp_grid grid = specp_grid_of(largest_bits(x));
    int32_t sum[2] = {0, 0};
    for (size_t i = 0; i < SPECP_BLOCK; i++) {
        const float round = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
        float code = grid.inverse == 0.0f ? 0.0f : x[i] * grid.inverse + round - round;
        q->code[i] = (int8_t)code;
        sum[i / 16] += q->code[i];
    }
    specp_qblock_finish(q, grid.scale, sum[0], sum[1]);
}

static void quantise(specp_acts *a, size_t row) {
    for (size_t b = 0; b < a->n_in / SPECP_BLOCK; b++) {
        quantise_block(a->x + row * a->n_in + b * SPECP_BLOCK, a->q + row * a->ldq + b);
    }
}

void specp_quant_scalar(specp_kernels *k) {
    SPECP_QUANT_FILL(k, "scalar", 0);
    k->quantise = quantise;
}

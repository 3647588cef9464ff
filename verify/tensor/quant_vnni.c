/* SPDX-License-Identifier: MIT */
/*
 * quant_vnni.c - products with quantised weights by AVX-512 and its 8-bit dot
 * product, which adds four products of an unsigned and a signed byte to each of 16
 * numbers of 32 bits without saturation.
 *
 * A tile is unpacked into 8 registers once, and multiplied by a group of up to 16
 * rows of activations, whose outputs stay in registers from one end of K to the other:
 *
 *     tile    w[0] .. w[7]              registers
 *     row i   dot = off                 broadcast
 *             dot += w[v] . code[4v..]  v = 0..7, each four codes broadcast from memory
 *             acc[i] = fma(s xs, dot, acc[i])
 *
 * Few rows are bound by the memory's bandwidth. Weights are asked for early, across the
 * ends of panels, which follow one another in memory.
 */
#include "kernels_quant.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* ---- weights ------------------------------------------------------------- */

typedef struct tile {
    __m512i w[8];
    __m512 scale, minimum; /* as in quant_scalar.c */
    __m512 half[2];
} tile;

SPECP_INLINE __m512i load(const uint8_t *p) { return _mm512_load_si512(p); }

SPECP_INLINE void read_codes(specp_form form, const uint8_t *p, tile *t) {
    const __m512i low = _mm512_set1_epi8(15);
    size_t bits = specp_form_bits(form);
    if (bits == 8) {
        SPECP_UNROLL
        for (size_t v = 0; v < 8; v++) {
            t->w[v] = load(p + v * SPECP_VECTOR);
        }
        return;
    }
    SPECP_UNROLL
    for (size_t v = 0; v < 4; v++) {
        __m512i both = load(p + v * SPECP_VECTOR);
        t->w[v] = _mm512_and_si512(both, low);
        t->w[v + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
    p += 4 * SPECP_VECTOR;
    if (bits == 5) {
        const __m512i bit = _mm512_set1_epi8(16);
        __m512i high = load(p);
        SPECP_UNROLL
        for (unsigned v = 0; v < 8; v++) { /* bit v of a byte to bit 4 of the same byte */
            __m512i moved = v < 4 ? _mm512_slli_epi16(high, 4 - v) : _mm512_srli_epi16(high, v - 4);
            t->w[v] = _mm512_ternarylogic_epi32(t->w[v], moved, bit, 0xf8); /* w | (moved & bit) */
        }
    } else if (bits == 6) {
        const __m512i pair = _mm512_set1_epi8(48);
        SPECP_UNROLL
        for (unsigned v = 0; v < 8; v++) { /* bits 2w, 2w+1 to 4, 5 */
            __m512i high = load(p + v / 4 * SPECP_VECTOR);
            __m512i moved = v % 4 < 3 ? _mm512_slli_epi16(high, 4 - 2 * (v % 4)) : _mm512_srli_epi16(high, 2);
            t->w[v] = _mm512_ternarylogic_epi32(t->w[v], moved, pair, 0xf8);
        }
    }
}

SPECP_INLINE __m512 load_halves(const uint8_t *p) {
    return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)p));
}

SPECP_INLINE __m512 load_bytes(const uint8_t *p, bool with_sign) {
    __m128i bytes = _mm_load_si128((const __m128i *)p);
    return _mm512_cvtepi32_ps(with_sign ? _mm512_cvtepi8_epi32(bytes) : _mm512_cvtepu8_epi32(bytes));
}

SPECP_INLINE void read_scales(specp_form form, const uint8_t *head, size_t i, tile *t) {
    if (!specp_form_is_k(form)) {
        t->scale = load_halves(head + SPECP_HEAD_SCALE(i));
        return;
    }
    t->scale = load_halves(head);
    if (form == SPECP_FORM_W6K) {
        t->half[0] = load_bytes(head + SPECP_HEAD_HALF(i), true);
        t->half[1] = load_bytes(head + SPECP_HEAD_HALF(i) + SPECP_PANEL, true);
    } else {
        t->scale = _mm512_mul_ps(t->scale, load_bytes(head + SPECP_HEAD_S(i), false));
        t->minimum =
            _mm512_mul_ps(load_halves(head + SPECP_HEAD_DMIN), load_bytes(head + SPECP_HEAD_M(i), false));
    }
}

/* ---- products ------------------------------------------------------------ */

/* sum + w . the four codes at `four`, for 16 rows. The broadcast belongs into the
 * instruction, which gcc 12 does not find: it costs a third of the speed. */
SPECP_INLINE __m512i add_dot(__m512i sum, __m512i w, const int8_t (*four)[4]) {
#if defined(__clang__)
    int32_t codes;
    __builtin_memcpy(&codes, four, sizeof codes);
    return _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32(codes));
#else
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(w), "m"(*four));
    return sum;
#endif
}

/* sum + vectors [begin, end) times their codes. */
SPECP_INLINE __m512i dot(const tile *t, const specp_qblock *x, __m512i sum, size_t begin, size_t end) {
    SPECP_UNROLL
    for (size_t v = begin; v < end; v++) {
        sum = add_dot(sum, t->w[v], (const int8_t(*)[4])(x->code + 4 * v));
    }
    return sum;
}

SPECP_INLINE __m512i start(specp_form form, const specp_qblock *x) {
    switch (form) {
    case SPECP_FORM_W8: return _mm512_set1_epi32(x->off8);
    case SPECP_FORM_W4: return _mm512_set1_epi32(x->off4);
    case SPECP_FORM_W5: return _mm512_set1_epi32(x->off5);
    default: return _mm512_setzero_si512();
    }
}

SPECP_INLINE __m512 add_block(specp_form form, const tile *t, const specp_qblock *x, __m512 acc) {
    __m512 scale = _mm512_mul_ps(t->scale, _mm512_set1_ps(x->scale));
    if (form == SPECP_FORM_W6K) { /* sums of integers below 2^24: exact, fused or not */
        __m512i dot0 = dot(t, x, _mm512_set1_epi32(x->off6[0]), 0, 4);
        __m512i dot1 = dot(t, x, _mm512_set1_epi32(x->off6[1]), 4, 8);
        __m512 sum = _mm512_mul_ps(t->half[0], _mm512_cvtepi32_ps(dot0));
        return _mm512_fmadd_ps(scale, _mm512_fmadd_ps(t->half[1], _mm512_cvtepi32_ps(dot1), sum), acc);
    }
    acc = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(dot(t, x, start(form, x), 0, 8)), acc);
    if (form == SPECP_FORM_W4K || form == SPECP_FORM_W5K) {
        acc = _mm512_fnmadd_ps(t->minimum, _mm512_set1_ps(x->scaled_sum), acc);
    }
    return acc;
}

/* n is a constant in each instance. */
SPECP_INLINE void multiply(specp_form form, size_t n, const uint8_t *panel, size_t units,
                           const specp_qblock *const *x, float (*out)[SPECP_PANEL]) {
    const size_t tiles = specp_unit_tiles(form);
    __m512 acc[SPECP_GROUP];
    SPECP_UNROLL
    for (size_t i = 0; i < n; i++) {
        acc[i] = _mm512_setzero_ps();
    }
    for (size_t u = 0; u < units; u++, panel += specp_unit_bytes(form)) {
#pragma GCC unroll 1
        for (size_t b = 0; b < tiles; b++) {
            specp_ask_for_weights(form, panel, b);
            tile t;
            read_codes(form, panel + specp_head_bytes(form) + b * specp_tile_bytes(form), &t);
            read_scales(form, panel, b, &t);
            SPECP_UNROLL
            for (size_t i = 0; i < n; i++) {
                const specp_qblock *q = x[i] + u * tiles + b;
                SPECP_ASK_NEAR(q, 4 * sizeof *q);
                acc[i] = add_block(form, &t, q, acc[i]);
            }
        }
    }
    SPECP_UNROLL
    for (size_t i = 0; i < n; i++) {
        _mm512_storeu_ps(out[i], acc[i]);
    }
}

#define FORM(name, form)                                                                                     \
    static void panel_##name(const uint8_t *panel, size_t units, const specp_qblock *const *x, size_t n,     \
                             float(*out)[SPECP_PANEL]) {                                                     \
        if (n == 1) {                                                                                        \
            multiply(form, 1, panel, units, x, out);                                                         \
        } else if (n == 2) {                                                                                 \
            multiply(form, 2, panel, units, x, out);                                                         \
        } else if (n <= 4) {                                                                                 \
            multiply(form, 4, panel, units, x, out);                                                         \
        } else if (n <= 6) {                                                                                 \
            multiply(form, 6, panel, units, x, out);                                                         \
        } else if (n <= 8) {                                                                                 \
            multiply(form, 8, panel, units, x, out);                                                         \
        } else if (n <= 12) {                                                                                \
            multiply(form, 12, panel, units, x, out);                                                        \
        } else {                                                                                             \
            multiply(form, 16, panel, units, x, out);                                                        \
        }                                                                                                    \
    }                                                                                                        \
    SPECP_QUANT_MATMUL(matmul_##name, panel_##name)

FORM(w8, SPECP_FORM_W8)
FORM(w4, SPECP_FORM_W4)
FORM(w5, SPECP_FORM_W5)
FORM(w4k, SPECP_FORM_W4K)
FORM(w5k, SPECP_FORM_W5K)
FORM(w6k, SPECP_FORM_W6K)

/* ---- activations --------------------------------------------------------- */

static void quantise(specp_acts *a, size_t row) {
    const __m512i size = _mm512_set1_epi32(0x7fffffff);
    for (size_t b = 0; b < a->n_in / SPECP_BLOCK; b++) {
        const float *x = a->x + row * a->n_in + b * SPECP_BLOCK;
        specp_qblock *q = a->q + row * a->ldq + b;
        __m512 x0 = _mm512_loadu_ps(x), x1 = _mm512_loadu_ps(x + 16);
        __m512i s0 = _mm512_and_si512(_mm512_castps_si512(x0), size);
        __m512i s1 = _mm512_and_si512(_mm512_castps_si512(x1), size);
        specp_grid grid = specp_grid_of((uint32_t)_mm512_reduce_max_epi32(_mm512_max_epi32(s0, s1)));
        /* a mask, because 0 times infinity is no 0 */
        __mmask16 any = grid.inverse != 0.0f ? 0xffff : 0;
        __m512 inverse = _mm512_set1_ps(grid.inverse);
        __m512i c0 = _mm512_maskz_cvtps_epi32(any, _mm512_mul_ps(x0, inverse));
        __m512i c1 = _mm512_maskz_cvtps_epi32(any, _mm512_mul_ps(x1, inverse));
        _mm_store_si128((__m128i *)q->code, _mm512_cvtepi32_epi8(c0));
        _mm_store_si128((__m128i *)(q->code + 16), _mm512_cvtepi32_epi8(c1));
        specp_qblock_finish(q, grid.scale, _mm512_reduce_add_epi32(c0), _mm512_reduce_add_epi32(c1));
    }
}

void specp_quant_avx512(specp_kernels *k, bool vnni) {
    if (!vnni) {
        return; /* without it the 8-bit products of AVX2 stay */
    }
    SPECP_QUANT_FILL(k, "avx512-vnni", SPECP_ISA_AVX512 | SPECP_ISA_VNNI);
    k->quantise = quantise;
}
#else
void specp_quant_avx512(specp_kernels *k, bool vnni) {
    (void)k;
    (void)vnni;
}
#endif

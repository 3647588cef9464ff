/* SPDX-License-Identifier: MIT */
/*
 * quant_avx2.c - products with quantised weights by AVX2 and FMA.
 *
 * Tile by tile, first rows 0-7 and then 8-15: a vector of a tile is two registers of 8
 * lanes. Up to four rows of activations share the unpacking of the codes; their
 * outputs stay in memory, 16 to a row.
 *
 * AVX2 multiplies unsigned by signed bytes and adds two products in 16 bits, with
 * saturation, so no such sum may leave them (|c| <= 127):
 *
 *     up to 6 bits   codes from 0 up: 2 * 63 * 127 = 16,002; so 8 vectors of 4 bits, 4 of 5 or
 *                    2 of 6 may be added before they are widened
 *     8 bits         |w| times c with the sign of w: 2 * 128 * 127 = 32,512
 */
#include "kernels_quant.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 8

/* ---- weights ------------------------------------------------------------- */

/* The scales of eight rows of a tile: s, d s or d; dmin m; and W6K's s0, s1. */
typedef struct scales {
    __m256 scale, minimum, half[2];
} scales;

SPECP_INLINE __m256i load(const void *p) { return _mm256_load_si256(p); }

/* Codes of vector v, in each byte; `p` is at the rows' first. Of 8 bits: signed. */
SPECP_INLINE __m256i read_codes(specp_form form, const uint8_t *p, int v) {
    const __m256i low = _mm256_set1_epi8(15), bit = _mm256_set1_epi8(16), pair = _mm256_set1_epi8(48);
    size_t bits = specp_form_bits(form);
    if (bits == 8) {
        return _mm256_xor_si256(load(p + v * SPECP_VECTOR), _mm256_set1_epi8(-128));
    }
    __m256i both = load(p + v % 4 * SPECP_VECTOR);
    __m256i codes = _mm256_and_si256(v < 4 ? both : _mm256_srli_epi16(both, 4), low);
    if (bits == 5) { /* bit v of a byte to bit 4 of the same byte */
        __m256i high = load(p + 4 * SPECP_VECTOR);
        high = v < 4 ? _mm256_slli_epi16(high, 4 - v) : _mm256_srli_epi16(high, v - 4);
        codes = _mm256_or_si256(codes, _mm256_and_si256(high, bit));
    } else if (bits == 6) { /* bits 2w, 2w+1 to 4, 5 */
        __m256i high = load(p + (4 + v / 4) * SPECP_VECTOR);
        high = v % 4 < 3 ? _mm256_slli_epi16(high, 4 - 2 * (v % 4)) : _mm256_srli_epi16(high, 2);
        codes = _mm256_or_si256(codes, _mm256_and_si256(high, pair));
    }
    return codes;
}

SPECP_INLINE __m256 load_halves(const uint8_t *p) {
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)p));
}

SPECP_INLINE __m256 load_bytes(const uint8_t *p, bool with_sign) {
    __m128i bytes = _mm_loadl_epi64((const __m128i *)p);
    return _mm256_cvtepi32_ps(with_sign ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes));
}

/* Of rows [row, row + 8) of tile t. */
SPECP_INLINE scales read_scales(specp_form form, const uint8_t *head, size_t t, size_t row) {
    scales s = {0};
    if (!specp_form_is_k(form)) {
        s.scale = load_halves(head + SPECP_HEAD_SCALE(t) + 2 * row);
        return s;
    }
    s.scale = load_halves(head + 2 * row);
    if (form == SPECP_FORM_W6K) {
        s.half[0] = load_bytes(head + SPECP_HEAD_HALF(t) + row, true);
        s.half[1] = load_bytes(head + SPECP_HEAD_HALF(t) + SPECP_PANEL + row, true);
    } else {
        s.scale = _mm256_mul_ps(s.scale, load_bytes(head + SPECP_HEAD_S(t) + row, false));
        s.minimum = _mm256_mul_ps(load_halves(head + SPECP_HEAD_DMIN + 2 * row),
                                  load_bytes(head + SPECP_HEAD_M(t) + row, false));
    }
    return s;
}

/* ---- products ------------------------------------------------------------ */

/* Vectors whose products may be added in 16 bits. */
SPECP_INLINE int addable(specp_form form) {
    switch (specp_form_bits(form)) {
    case 4: return 8;
    case 5: return 4;
    case 6: return 2;
    default: return 1;
    }
}

SPECP_INLINE __m256i products(specp_form form, __m256i w, const int8_t *four) {
    int32_t codes;
    __builtin_memcpy(&codes, four, sizeof codes);
    __m256i c = _mm256_set1_epi32(codes);
    if (specp_form_bits(form) == 8) {
        return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(c, w));
    }
    return _mm256_maddubs_epi16(w, c);
}

/* sum[i] += vectors [begin, end) times the codes of x[i], i < n. */
SPECP_INLINE void dot(specp_form form, int n, const uint8_t *p, int begin, int end,
                      const specp_qblock *const *x, __m256i *sum) {
    const __m256i ones = _mm256_set1_epi16(1);
    int step = addable(form) < end - begin ? addable(form) : end - begin;
    SPECP_UNROLL
    for (int v = begin; v < end; v += step) {
        __m256i part[4];
        SPECP_UNROLL
        for (int j = v; j < v + step; j++) {
            __m256i w = read_codes(form, p, j);
            SPECP_UNROLL
            for (int i = 0; i < n; i++) {
                __m256i two = products(form, w, x[i]->code + 4 * j);
                part[i] = j == v ? two : _mm256_add_epi16(part[i], two);
            }
        }
        SPECP_UNROLL
        for (int i = 0; i < n; i++) {
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(part[i], ones));
        }
    }
}

/* What the codes' offset adds to a dot, or to its half, taken off. */
SPECP_INLINE __m256i start(specp_form form, const specp_qblock *x, int half) {
    switch (form) {
    case SPECP_FORM_W4: return _mm256_set1_epi32(x->off4);
    case SPECP_FORM_W5: return _mm256_set1_epi32(x->off5);
    case SPECP_FORM_W6K: return _mm256_set1_epi32(x->off6[half]);
    default: return _mm256_setzero_si256();
    }
}

/* Adds a tile's eight rows at p to eight outputs of n (a constant) rows of activations. */
SPECP_INLINE void add_tile(specp_form form, int n, const uint8_t *p, const scales *s,
                           const specp_qblock *const *row, size_t block, float (*out)[SPECP_PANEL],
                           size_t first) {
    const specp_qblock *x[4];
    __m256i sum[4], sum1[4];
    SPECP_UNROLL
    for (int i = 0; i < n; i++) {
        x[i] = row[i] + block;
        sum[i] = start(form, x[i], 0);
        sum1[i] = start(form, x[i], 1);
    }
    dot(form, n, p, 0, form == SPECP_FORM_W6K ? 4 : 8, x, sum);
    if (form == SPECP_FORM_W6K) {
        dot(form, n, p, 4, 8, x, sum1);
    }
    SPECP_UNROLL
    for (int i = 0; i < n; i++) {
        __m256 total = _mm256_cvtepi32_ps(sum[i]), acc = _mm256_loadu_ps(out[i] + first);
        if (form == SPECP_FORM_W6K) { /* sums of integers below 2^24: exact, fused or not */
            total = _mm256_mul_ps(s->half[0], total);
            total = _mm256_fmadd_ps(s->half[1], _mm256_cvtepi32_ps(sum1[i]), total);
        }
        acc = _mm256_fmadd_ps(_mm256_mul_ps(s->scale, _mm256_set1_ps(x[i]->scale)), total, acc);
        if (form == SPECP_FORM_W4K || form == SPECP_FORM_W5K) {
            acc = _mm256_fnmadd_ps(s->minimum, _mm256_set1_ps(x[i]->scaled_sum), acc);
        }
        _mm256_storeu_ps(out[i] + first, acc);
    }
}

SPECP_INLINE void multiply(specp_form form, const uint8_t *panel, size_t units, const specp_qblock *const *x,
                           size_t n, float (*out)[SPECP_PANEL]) {
    const size_t tiles = specp_unit_tiles(form);
    __builtin_memset(out, 0, SPECP_GROUP * sizeof *out);
    for (size_t b = 0; b < units * tiles; b++) {
        const uint8_t *unit = panel + b / tiles * specp_unit_bytes(form);
        const uint8_t *p = unit + specp_head_bytes(form) + b % tiles * specp_tile_bytes(form);
        specp_ask_for_weights(form, unit, b % tiles);
        for (size_t row = 0; row < SPECP_PANEL; row += LANES) {
            scales s = read_scales(form, unit, b % tiles, row);
            if (n == 1) {
                add_tile(form, 1, p + 4 * row, &s, x, b, out, row);
            } else if (n == 2) {
                add_tile(form, 2, p + 4 * row, &s, x, b, out, row);
            } else {
                for (size_t i = 0; i < n; i += 4) {
                    add_tile(form, 4, p + 4 * row, &s, x + i, b, out + i, row);
                }
            }
        }
    }
}

#define FORM(name, form)                                                                                     \
    static void panel_##name(const uint8_t *panel, size_t units, const specp_qblock *const *x, size_t n,     \
                             float(*out)[SPECP_PANEL]) {                                                     \
        multiply(form, panel, units, x, n, out);                                                             \
    }                                                                                                        \
    SPECP_QUANT_MATMUL(matmul_##name, panel_##name)

FORM(w8, SPECP_FORM_W8)
FORM(w4, SPECP_FORM_W4)
FORM(w5, SPECP_FORM_W5)
FORM(w4k, SPECP_FORM_W4K)
FORM(w5k, SPECP_FORM_W5K)
FORM(w6k, SPECP_FORM_W6K)

/* ---- activations --------------------------------------------------------- */

static int32_t sum_lanes(__m256i v) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static int32_t max_lanes(__m256i v) {
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

static void quantise_block(const float *x, specp_qblock *q) {
    const __m256i size = _mm256_set1_epi32(0x7fffffff);
    __m256 v[4];
    __m256i c[4], largest = _mm256_setzero_si256();
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_loadu_ps(x + LANES * i);
        largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(v[i]), size));
    }
    specp_grid grid = specp_grid_of((uint32_t)max_lanes(largest));
    /* a mask, because 0 times infinity is no 0 */
    __m256i any = _mm256_set1_epi32(grid.inverse != 0.0f ? -1 : 0);
    for (int i = 0; i < 4; i++) {
        c[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], _mm256_set1_ps(grid.inverse)));
        c[i] = _mm256_and_si256(c[i], any);
    }
    /* packing works within halves of 128 bits: 0 2 4 6 | 1 3 5 7, in fours */
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(c[0], c[1]), _mm256_packs_epi32(c[2], c[3]));
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_store_si256((__m256i *)q->code, bytes);
    specp_qblock_finish(q, grid.scale, sum_lanes(_mm256_add_epi32(c[0], c[1])),
                        sum_lanes(_mm256_add_epi32(c[2], c[3])));
}

static void quantise(specp_acts *a, size_t row) {
    for (size_t b = 0; b < a->n_in / SPECP_BLOCK; b++) {
        quantise_block(a->x + row * a->n_in + b * SPECP_BLOCK, a->q + row * a->ldq + b);
    }
}

void specp_quant_avx2(specp_kernels *k) {
    SPECP_QUANT_FILL(k, "avx2", SPECP_ISA_AVX2);
    k->quantise = quantise;
}
#else
void specp_quant_avx2(specp_kernels *k) { (void)k; }
#endif

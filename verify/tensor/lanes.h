/* SPDX-License-Identifier: MIT */
/*
 * lanes.h - sixteen floats side by side, the unit in which kernels.h fixes the
 * order of sums: one register of AVX-512, two of AVX2, or an array. Which one
 * depends on the instruction set that the including file is compiled for; the
 * results do not.
 */
#ifndef SPECP_LANES_H
#define SPECP_LANES_H

#include "half.h"
#include "specp.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#define LANES 16

#if defined(__GNUC__)
#define LANES_INLINE static inline __attribute__((always_inline))
#else
#define LANES_INLINE static inline
#endif

/* Unrolls the loop that follows, whose bound is a constant, so that arrays indexed in it become registers. */
#if defined(__clang__)
#define LANES_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define LANES_UNROLL _Pragma("GCC unroll 32")
#else
#define LANES_UNROLL
#endif

#if defined(__AVX512F__)

typedef __m512 lanes;

LANES_INLINE lanes lanes_zero(void) { return _mm512_setzero_ps(); }
LANES_INLINE lanes lanes_set(float x) { return _mm512_set1_ps(x); }
LANES_INLINE lanes lanes_load(const void *p) { return _mm512_loadu_ps(p); }
LANES_INLINE void lanes_store(float *p, lanes a) { _mm512_storeu_ps(p, a); }
LANES_INLINE lanes lanes_add(lanes a, lanes b) { return _mm512_add_ps(a, b); }
LANES_INLINE lanes lanes_mul(lanes a, lanes b) { return _mm512_mul_ps(a, b); }
LANES_INLINE lanes lanes_max(lanes a, lanes b) { return _mm512_max_ps(a, b); } /* a > b ? a : b */
LANES_INLINE lanes lanes_fma(lanes a, lanes b, lanes c) { return _mm512_fmadd_ps(a, b, c); }

LANES_INLINE lanes lanes_load_half(const void *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

LANES_INLINE lanes lanes_load_bf16(const void *p) {
    /* element i to the upper half of lane i, zeros below, by one permutation */
    const __m512i to = _mm512_set_epi16(15, 15, 14, 14, 13, 13, 12, 12, 11, 11, 10, 10, 9, 9, 8, 8, 7, 7, 6,
                                        6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    __m512i b = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, to, b));
}

LANES_INLINE lanes lanes_scale(lanes a, lanes n) { return _mm512_scalef_ps(a, n); }

/* out[i] = the lanes of v[i] folded by halves. Each step folds two registers into one; groups of
 * four that are four apart end up in order. */
LANES_INLINE void lanes_fold16(const lanes *v, float *out) {
    __m512 quarter[4], half[2];
    LANES_UNROLL
    for (int j = 0; j < 4; j++) {
        __m512 a = v[j], b = v[j + 4], c = v[j + 8], d = v[j + 12];
        __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
        __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
        quarter[j] = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    }
    LANES_UNROLL
    for (int j = 0; j < 2; j++) {
        __m512 a = quarter[2 * j], b = quarter[2 * j + 1];
        half[j] = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
    }
    lanes_store(out, _mm512_add_ps(_mm512_shuffle_ps(half[0], half[1], 0x88),
                                   _mm512_shuffle_ps(half[0], half[1], 0xdd)));
}

#elif defined(__AVX2__)

typedef struct lanes {
    __m256 lo, hi;
} lanes;

LANES_INLINE lanes lanes_zero(void) { return (lanes){_mm256_setzero_ps(), _mm256_setzero_ps()}; }
LANES_INLINE lanes lanes_set(float x) { return (lanes){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
LANES_INLINE lanes lanes_load(const void *p) {
    const float *x = (const float *)p;
    return (lanes){_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)};
}
LANES_INLINE void lanes_store(float *p, lanes a) {
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
}
LANES_INLINE lanes lanes_add(lanes a, lanes b) {
    return (lanes){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
LANES_INLINE lanes lanes_mul(lanes a, lanes b) {
    return (lanes){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
LANES_INLINE lanes lanes_max(lanes a, lanes b) {
    return (lanes){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
LANES_INLINE lanes lanes_fma(lanes a, lanes b, lanes c) {
    return (lanes){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

LANES_INLINE lanes lanes_load_half(const void *p) {
    const __m128i *h = (const __m128i *)p;
    return (lanes){_mm256_cvtph_ps(_mm_loadu_si128(h)), _mm256_cvtph_ps(_mm_loadu_si128(h + 1))};
}

LANES_INLINE __m256 lanes_widen_bf16(__m128i b) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(b), 16));
}

LANES_INLINE lanes lanes_load_bf16(const void *p) {
    const __m128i *b = (const __m128i *)p;
    return (lanes){lanes_widen_bf16(_mm_loadu_si128(b)), lanes_widen_bf16(_mm_loadu_si128(b + 1))};
}

LANES_INLINE __m256 lanes_scale_part(__m256 a, __m256 n) {
    const __m256i bias = _mm256_set1_epi32(127);
    __m256i all = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(all, 1);
    __m256i rest = _mm256_sub_epi32(all, half);
    a = _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
    return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
}

LANES_INLINE lanes lanes_scale(lanes a, lanes n) {
    return (lanes){lanes_scale_part(a.lo, n.lo), lanes_scale_part(a.hi, n.hi)};
}

/* As with AVX-512, eight at a time: pairs that are four apart end up in order. */
LANES_INLINE void lanes_fold16(const lanes *v, float *out) {
    for (int first = 0; first < 16; first += 8) {
        __m256 quarter[4], half[2];
        LANES_UNROLL
        for (int j = 0; j < 4; j++) {
            lanes p = v[first + j], q = v[first + j + 4];
            __m256 a = _mm256_add_ps(p.lo, p.hi), b = _mm256_add_ps(q.lo, q.hi);
            quarter[j] =
                _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
        }
        LANES_UNROLL
        for (int j = 0; j < 2; j++) {
            __m256 a = quarter[2 * j], b = quarter[2 * j + 1];
            half[j] = _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));
        }
        _mm256_storeu_ps(out + first, _mm256_add_ps(_mm256_shuffle_ps(half[0], half[1], 0x88),
                                                    _mm256_shuffle_ps(half[0], half[1], 0xdd)));
    }
}

#else

typedef struct lanes {
    float v[LANES];
} lanes;

#define LANES_EACH for (int l = 0; l < LANES; l++)

LANES_INLINE lanes lanes_zero(void) { return (lanes){{0}}; }
LANES_INLINE lanes lanes_set(float x) {
    lanes a;
    LANES_EACH a.v[l] = x;
    return a;
}
LANES_INLINE lanes lanes_load(const void *p) {
    lanes a;
    memcpy(a.v, p, sizeof a.v);
    return a;
}
LANES_INLINE void lanes_store(float *p, lanes a) { memcpy(p, a.v, sizeof a.v); }
LANES_INLINE lanes lanes_add(lanes a, lanes b) {
    LANES_EACH a.v[l] += b.v[l];
    return a;
}
LANES_INLINE lanes lanes_mul(lanes a, lanes b) {
    LANES_EACH a.v[l] *= b.v[l];
    return a;
}
LANES_INLINE lanes lanes_max(lanes a, lanes b) {
    LANES_EACH b.v[l] = a.v[l] > b.v[l] ? a.v[l] : b.v[l];
    return b;
}
LANES_INLINE lanes lanes_fma(lanes a, lanes b, lanes c) {
    LANES_EACH c.v[l] = __builtin_fmaf(a.v[l], b.v[l], c.v[l]);
    return c;
}
LANES_INLINE lanes lanes_load_half(const void *p) {
    lanes a;
    LANES_EACH a.v[l] = specp_load_half((const char *)p + 2 * l);
    return a;
}
LANES_INLINE lanes lanes_load_bf16(const void *p) {
    uint16_t b[LANES];
    lanes a;
    memcpy(b, p, sizeof b);
    LANES_EACH a.v[l] = specp_float_of_bf16(b[l]);
    return a;
}
LANES_INLINE void lanes_fold16(const lanes *v, float *out) {
    LANES_EACH {
        lanes a = v[l];
        for (int width = LANES / 2; width; width /= 2) {
            for (int i = 0; i < width; i++) {
                a.v[i] += a.v[i + width];
            }
        }
        out[l] = a.v[0];
    }
}

#endif

/* The bits of specp_expf, for lanes that are not above 0 or NaN. Two of its steps compile badly: where it
 * limits x, and, with AVX-512, where it multiplies by 2^n in two steps; lanes_scale does it with one
 * rounding as well. */
LANES_INLINE lanes lanes_exp(lanes x) {
#if defined(__AVX512F__) || defined(__AVX2__)
    const float round = 12582912.0f;
    lanes c = lanes_max(lanes_set(-105.0f), x); /* NaN stays: the second one then */
    lanes n = lanes_add(lanes_fma(c, lanes_set(1.44269504f), lanes_set(round)), lanes_set(-round));
    lanes r = lanes_fma(n, lanes_set(-0.693359375f), c);
    r = lanes_fma(n, lanes_set(2.12194440e-4f), r);
    lanes p = lanes_fma(lanes_set(1.9875691e-4f), r, lanes_set(1.3981999e-3f));
    p = lanes_fma(p, r, lanes_set(8.3334519e-3f));
    p = lanes_fma(p, r, lanes_set(4.1665795e-2f));
    p = lanes_fma(p, r, lanes_set(1.6666665e-1f));
    p = lanes_fma(p, r, lanes_set(0.5f));
    p = lanes_add(lanes_fma(lanes_mul(p, r), r, r), lanes_set(1.0f));
    return lanes_scale(p, n);
#else
    LANES_EACH x.v[l] = specp_expf(x.v[l]);
    return x;
#endif
}

/* Keeps a value that is used several times in a register: compilers like to load it anew each time. */
LANES_INLINE void lanes_hold(lanes *a) {
#if defined(__AVX512F__)
    __asm__("" : "+v"(*a));
#else
    (void)a;
#endif
}

/* The first n lanes from memory, the others `rest`; and only the first n to memory. */
LANES_INLINE lanes lanes_load_part(const float *p, size_t n, float rest) {
    float all[LANES];
    lanes_store(all, lanes_set(rest));
    memcpy(all, p, n * sizeof *p);
    return lanes_load(all);
}
LANES_INLINE void lanes_store_part(float *p, lanes a, size_t n) {
    float all[LANES];
    lanes_store(all, a);
    memcpy(p, all, n * sizeof *p);
}

/* The sum of all lanes, folded by halves. */
LANES_INLINE float lanes_fold(lanes a) {
    float v[LANES];
    lanes_store(v, a);
    for (int width = LANES / 2; width; width /= 2) {
        for (int i = 0; i < width; i++) {
            v[i] += v[i + width];
        }
    }
    return v[0];
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * half.h - floats of 16 bits, one at a time: IEEE half precision (F16) and the
 * upper half of a float (BF16). To 16 bits rounds to nearest, ties to even; NaN
 * stays NaN and becomes quiet. The bits are those of the F16C instructions,
 * which the instruction-set files use instead.
 */
#ifndef SPECP_HALF_H
#define SPECP_HALF_H

#include "specp_math.h"

static inline float specp_float_of_half(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ffu;
    if (exponent == 0) { /* 0 and the subnormals: exact multiples of 2^-24 */
        return specp_float_of_bits(sign | specp_bits_of_float((float)mantissa * 0x1p-24f));
    }
    if (exponent == 31) {
        uint32_t quiet = mantissa ? 0x400000u : 0;
        return specp_float_of_bits(sign | 0x7f800000u | quiet | mantissa << 13);
    }
    return specp_float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

static inline uint16_t specp_half_of_float(float x) {
    uint32_t bits = specp_bits_of_float(x), sign = bits >> 16 & 0x8000u, a = bits & 0x7fffffffu, h;
    if (a > 0x7f800000u) { /* NaN */
        h = 0x7e00u | (a >> 13 & 0x3ffu);
    } else if (a >= 0x47800000u) { /* 2^16 and more */
        h = 0x7c00u;
    } else if (a >= 0x38800000u) { /* normal; the carry of the last one makes infinity */
        h = (a - 0x38000000u + 0xfffu + (a >> 13 & 1)) >> 13;
    } else { /* in [0.5, 1) floats are multiples of 2^-24, as subnormal halves are: the addition rounds */
        h = specp_bits_of_float(specp_float_of_bits(a) + 0.5f) - 0x3f000000u;
    }
    return (uint16_t)(sign | h);
}

static inline float specp_float_of_bf16(uint16_t b) { return specp_float_of_bits((uint32_t)b << 16); }

static inline uint16_t specp_bf16_of_float(float x) {
    uint32_t bits = specp_bits_of_float(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(bits >> 16 | 0x40u);
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

/* One at any address. */
static inline float specp_load_half(const void *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return specp_float_of_half(h);
}

#endif

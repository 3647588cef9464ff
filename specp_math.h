/* SPDX-License-Identifier: MIT */
/*
 * specp_math.h - elementary functions whose bits are the same on every machine,
 * compiler and instruction set. Not installed.
 *
 * They use IEEE additions, multiplications, divisions and fused multiply-adds in
 * a fixed order and nothing of libm but fmaf, so that a loop over them may be
 * vectorised at will (DESIGN: the numerics contract). Compile with
 * -ffp-contract=off.
 */
#ifndef SPECP_MATH_H
#define SPECP_MATH_H

#include <stdint.h>
#include <string.h>

static inline float specp_float_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t specp_bits_of_float(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/*
 * e^x, within 1.1 units of the last place. x = n ln 2 + r, |r| <= ln 2 / 2; e^r by
 * a polynomial of degree 6; 2^n as the product of two exact powers, so that
 * results below the normal range are rounded once, to 0 in the end, and those
 * above it become infinite. NaN gives NaN: its n is arbitrary, and the product NaN.
 */
static inline float specp_expf(float x) {
    const float round = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer, in the low bits */
    float c = x > 89.0f ? 89.0f : x;
    c = c < -105.0f ? -105.0f : c;
    float t = __builtin_fmaf(c, 1.44269504f, round), n = t - round;
    float r = __builtin_fmaf(n, -0.693359375f, c);
    r = __builtin_fmaf(n, 2.12194440e-4f, r);
    float p = 1.9875691e-4f;
    p = __builtin_fmaf(p, r, 1.3981999e-3f);
    p = __builtin_fmaf(p, r, 8.3334519e-3f);
    p = __builtin_fmaf(p, r, 4.1665795e-2f);
    p = __builtin_fmaf(p, r, 1.6666665e-1f);
    p = __builtin_fmaf(p, r, 0.5f);
    p = __builtin_fmaf(p * r, r, r) + 1.0f;
    uint32_t k = specp_bits_of_float(t) - specp_bits_of_float(round) + 256, half = k >> 1; /* n + 256 */
    float a = specp_float_of_bits((half - 1) << 23);
    float b = specp_float_of_bits((k - half - 1) << 23);
    return p * a * b;
}

/* tanh(x) = 1 - 2 / (e^2x + 1), and for small |x| its series: within 6 units of the last place. */
static inline float specp_tanhf(float x) {
    float a = x < 0.0f ? -x : x;
    float big = 1.0f - 2.0f / (specp_expf(2.0f * a) + 1.0f);
    float s = a * a;
    float p = 2.1869489e-2f; /* 62/2835, -17/315, 2/15, -1/3 */
    p = __builtin_fmaf(p, s, -5.3968254e-2f);
    p = __builtin_fmaf(p, s, 1.3333334e-1f);
    p = __builtin_fmaf(p, s, -3.3333334e-1f);
    float small = __builtin_fmaf(p * s, a, a);
    float y = a < 0.25f ? small : big;
    return x < 0.0f ? -y : y;
}

/* x / (1 + e^-x) */
static inline float specp_siluf(float x) { return x / (1.0f + specp_expf(-x)); }

/* The tanh form of GELU. */
static inline float specp_geluf(float x) {
    float inner = 0.79788456f * __builtin_fmaf(0.044715f * x * x, x, x);
    return 0.5f * x * (1.0f + specp_tanhf(inner));
}

/*
 * The same in double precision, for laws of tokens and their entropy, where
 * digits count and code for every processor must be fast: no fused multiply-add.
 */

/*
 * e^x, within 3 units of the last place, for -708 <= x <= 709. As above, with the
 * series to degree 12. No branches: a loop over it can be vectorised.
 */
static inline double specp_exp_normal(double x) {
    const double round = 6755399441055744.0; /* 1.5 * 2^52 */
    double t = x * 1.4426950408889634 + round, n = t - round;
    double r = (x - n * 0.693145751953125) - n * 1.4286068203094173e-6; /* the first has 17 bits: exact */
    double p = 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * (r * r) + r + 1.0;
    uint64_t bits; /* n stands in the low bits of t */
    memcpy(&bits, &t, sizeof bits);
    bits = (bits + 1023) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

/* The same for all x: below -708 it gives 0, above 709 infinity, for NaN NaN. */
static inline double specp_exp(double x) {
    if (x < -708.0) return 0.0;
    if (x > 709.0) return (double)__builtin_inff();
    return x == x ? specp_exp_normal(x) : x;
}

/*
 * ln x, within 2 units of the last place, for normal x > 0. x = 2^n m, m between
 * the square roots of 1/2 and 2; ln m = 2 artanh(s), s = (m - 1) / (m + 1), by its series.
 */
static inline double specp_log(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits -= 0x3fe6a09e667f3bcdu; /* the bits of the square root of 1/2 */
    double n = (double)((int64_t)bits >> 52);
    bits = (bits & 0xfffffffffffffu) + 0x3fe6a09e667f3bcdu;
    double m;
    memcpy(&m, &bits, sizeof m);
    double s = (m - 1.0) / (m + 1.0), z = s * s;
    double p = 1.0 / 19;
    p = p * z + 1.0 / 17;
    p = p * z + 1.0 / 15;
    p = p * z + 1.0 / 13;
    p = p * z + 1.0 / 11;
    p = p * z + 1.0 / 9;
    p = p * z + 1.0 / 7;
    p = p * z + 1.0 / 5;
    p = p * z + 1.0 / 3;
    double series = 2.0 * s * (z * p) + n * 1.9082149292705877e-10;
    return n * 0.693147180369123816490 + (2.0 * s + series);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Rotary position embedding: frequencies and the table of cos and sin.
 *
 * All in doubles and with additions, multiplications and divisions alone, in a
 * fixed order: the bits are the same everywhere. An angle position * f is kept
 * as an unevaluated sum, and reduced by pi/2 in three parts, so that cos and sin
 * are good to 1e-15 for positions up to 2^22:
 *
 *     f        = f1 + f2         26 bits each: position * f1 and * f2 are exact
 *     position * f1, * f2 -> sum a + rest b, exact
 *     n        = nearest integer to a / (pi/2)                      n < 2^23
 *     a - n P1 - n P2 - n P3    P1 and P2 of 30 bits each: n P1 and n P2 are exact
 */
#include "rope.h"

#include <stdint.h>
#include <string.h>

#define LEN(a) (sizeof(a) / sizeof(a)[0])

static uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double of_bits(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* To the nearest integer, |x| < 2^51. */
static double nearest(double x) {
    const double round = 6755399441055744.0; /* 1.5 * 2^52 */
    return (x + round) - round;
}

static const double ln2_high = 0x1.62e42fef8p-1; /* 34 bits: times an exponent exact */
static const double ln2_low = 0x1.1cf79abc9e3b4p-36;

/* x > 0, normal: x = m 2^e with m near 1; ln m = 2 artanh((m - 1) / (m + 1)). */
static double natural_log(double x) {
    uint64_t bits = bits_of(x);
    int e = (int)(bits >> 52) - 1023;
    double m = of_bits((bits & 0xfffffffffffffu) | 0x3ff0000000000000u);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    double s = (m - 1.0) / (m + 1.0), s2 = s * s, sum = 0.0;
    for (int k = 21; k >= 3; k -= 2) sum = (sum + 1.0 / k) * s2;
    return e * ln2_high + (2.0 * s + (2.0 * s * sum + e * ln2_low));
}

/* |x| < 700. */
static double exponential(double x) {
    double n = nearest(x * 1.4426950408889634);
    double r = (x - n * ln2_high) - n * ln2_low, sum = 1.0;
    for (int k = 14; k >= 1; k--) sum = 1.0 + sum * r / k;
    return sum * of_bits((uint64_t)(1023 + (int)n) << 52);
}

void specp_rope_freqs(double base, size_t n_dim, double *freq) {
    double log_base = natural_log(base);
    for (size_t j = 0; j < n_dim / 2; j++) freq[j] = exponential(-(double)(2 * j) / (double)n_dim * log_base);
}

double specp_rope_stretched(const specp_rope_llama3 *s, double freq) {
    double turns = s->original * freq / 6.283185307179586;
    if (turns > s->high) return freq;
    if (turns < s->low) return freq / s->factor;
    double kept = (turns - s->low) / (s->high - s->low);
    return (1.0 - kept) * freq / s->factor + kept * freq;
}

/* position * f modulo pi/2, within +-pi/4 and a little; the quadrant goes to *n. */
static double reduced_angle(double position, double f, uint64_t *quadrant) {
    static const double p1 = 0x1.921fb54p+0, p2 = 0x1.10b46118p-30, p3 = 0x1.313198a2e0370p-61;
    double f1 = of_bits(bits_of(f) & ~(uint64_t)0x7ffffff), f2 = f - f1;
    double x = position * f1, y = position * f2;
    double a = x + y, b = y - (a - x);
    double n = nearest(a * 0.6366197723675814);
    *quadrant = (uint64_t)n;
    return (((a - n * p1) - n * p2) + b) - n * p3;
}

/* 1/k! with alternating signs: the series of sin and cos. */
static const double sine_series[] = {
    1.0 / 355687428096000, -1.0 / 1307674368000, 1.0 / 6227020800, -1.0 / 39916800,
    1.0 / 362880,          -1.0 / 5040,          1.0 / 120,        -1.0 / 6};
static const double cosine_series[] = {-1.0 / 6402373705728000,
                                       1.0 / 20922789888000,
                                       -1.0 / 87178291200,
                                       1.0 / 479001600,
                                       -1.0 / 3628800,
                                       1.0 / 40320,
                                       -1.0 / 720,
                                       1.0 / 24,
                                       -1.0 / 2};

static double polynomial(const double *c, size_t n, double x) {
    double sum = c[0];
    for (size_t i = 1; i < n; i++) sum = sum * x + c[i];
    return sum;
}

void specp_rope_table(const double *freq, size_t n, size_t position, float *cos, float *sin) {
    for (size_t j = 0; j < n; j++) {
        uint64_t quadrant;
        double r = reduced_angle((double)position, freq[j], &quadrant);
        double r2 = r * r;
        double s = r + r * (r2 * polynomial(sine_series, LEN(sine_series), r2));
        double c = 1.0 + r2 * polynomial(cosine_series, LEN(cosine_series), r2);
        double turned = quadrant & 1 ? c : s, across = quadrant & 1 ? s : c;
        sin[j] = (float)(quadrant & 2 ? -turned : turned);
        cos[j] = (float)((quadrant + 1) & 2 ? -across : across);
    }
}

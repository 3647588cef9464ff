/* SPDX-License-Identifier: MIT */
/* Frequencies and tables of the rotary embedding, against the C library in long double. */
#include <math.h>
#include <string.h>

#include "rope.h"
#include "specp.h"
#include "support.h"

/* A sine or cosine rounded to float is right if what was rounded lies within 1e-13 of the truth. */
static bool is_rounded(float x, long double truth) {
    return x >= (float)(truth - 1e-13L) && x <= (float)(truth + 1e-13L);
}

static void frequencies_are_powers_of_the_base(void **state) {
    (void)state;
    static const double bases[] = {1.0, 1.5, 2.0, 10000.0, 500000.0, 1e6, 8e6, 1e9};
    static const size_t dims[] = {2, 8, 48, 64, 128, 256};
    double freq[128];
    for (size_t b = 0; b < sizeof bases / sizeof bases[0]; b++)
        for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
            specp_rope_freqs(bases[b], dims[d], freq);
            assert_true(freq[0] == 1.0);
            for (size_t j = 0; j < dims[d] / 2; j++) {
                long double truth = powl(bases[b], -2.0L * (long double)j / (long double)dims[d]);
                assert_true(fabsl(freq[j] / truth - 1) < 8e-15L);
            }
        }
}

static void check_table(const double *freq, size_t n, size_t position) {
    float c[128], s[128];
    specp_rope_table(freq, n, position, c, s);
    for (size_t j = 0; j < n; j++) {
        long double angle = (long double)position * freq[j];
        if (!is_rounded(c[j], cosl(angle)) || !is_rounded(s[j], sinl(angle)))
            fail_msg("position %zu, frequency %a: cos %a, expected %La; sin %a, expected %La", position,
                     freq[j], (double)c[j], cosl(angle), (double)s[j], sinl(angle));
    }
}

static void tables_are_exact_to_the_last_position(void **state) {
    (void)state;
    double freq[64];
    specp_rope_freqs(10000.0, 128, freq);
    for (size_t position = 0; position < 2000; position++) check_table(freq, 64, position);
    for (size_t position = (1u << 20) - 500; position <= 1u << 20; position++)
        check_table(freq, 64, position);
    check_table(freq, 64, (1u << 22) - 1);
}

static void tables_of_random_frequencies(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    double freq[128];
    for (int round = 0; round < 2000; round++) {
        for (size_t j = 0; j < 128; j++) freq[j] = support_rng_unit(&r) * (j % 2 ? 1.0 : 1e-3);
        check_table(freq, 128, support_rng_below(&r, (1u << 20) + 1));
    }
}

/* Angles next to the borders between quadrants: position / freq so chosen that position * freq is close to a
 * multiple of pi/4. */
static void tables_at_the_quadrants_borders(void **state) {
    (void)state;
    for (size_t position = 1; position < 1u << 20; position = position * 3 + 1)
        for (size_t m = 1; m <= position; m = m * 2 + 1) {
            double f = (double)(m * 0.785398163397448309616L / (long double)position);
            double freq[3] = {nextafter(f, 0.0), f, nextafter(f, 1.0)};
            check_table(freq, 3, position);
        }
}

static void bits_are_pinned(void **state) {
    (void)state;
    double freq[64];
    float c[64], s[64];
    specp_rope_freqs(10000.0, 128, freq);
    uint64_t sum = 0;
    for (size_t position = 0; position < 100000; position += 997) {
        specp_rope_table(freq, 64, position, c, s);
        for (size_t j = 0; j < 64; j++) {
            uint32_t bits[2];
            memcpy(&bits[0], &c[j], 4);
            memcpy(&bits[1], &s[j], 4);
            sum = specp_mix64(sum ^ ((uint64_t)bits[0] << 32 | bits[1]));
        }
    }
    assert_true(sum == 0x7f3f28192f59b1efu); /* changes with the arithmetic, and with nothing else */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frequencies_are_powers_of_the_base),
        cmocka_unit_test(tables_are_exact_to_the_last_position),
        cmocka_unit_test(tables_of_random_frequencies),
        cmocka_unit_test(tables_at_the_quadrants_borders),
        cmocka_unit_test(bits_are_pinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

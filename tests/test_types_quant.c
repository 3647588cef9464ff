/* SPDX-License-Identifier: MIT */
/* Quantised types: blocks of random bytes read bit by bit from the formats'
 * definition, the quantisers' error and behaviour at extremes, recorded files. */
#include "support.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "spec_tensors.h"

static const spec_type quantised[] = {SPEC_TYPE_Q8_0, SPEC_TYPE_Q4_0, SPEC_TYPE_Q5_0,
                                      SPEC_TYPE_Q4_K, SPEC_TYPE_Q5_K, SPEC_TYPE_Q6_K};
#define N_QUANTISED (sizeof quantised / sizeof *quantised)

/* ---- the formats, bit by bit ------------------------------------------------ */

static float half_at(const uint8_t *b, size_t at) {
    return specp_float_of_half((uint16_t)(b[at] | b[at + 1] << 8));
}

/* The 4 bits at `nibble`, counted from byte `at`: low half first. */
static int nibble_at(const uint8_t *b, size_t at, size_t byte, bool high) {
    return high ? b[at + byte] >> 4 : b[at + byte] & 15;
}

static int bit_at(const uint8_t *b, size_t at, size_t bit) { return b[at + bit / 8] >> bit % 8 & 1; }

/* Scale (which 0) or minimum (which 1) of sub-block j: 12 bytes at `at` are three
 * groups of four; six bits of the first four are the low ones of groups 0 and 1. */
static int six_bits(const uint8_t *b, size_t at, size_t j, int which) {
    if (j < 4) {
        return b[at + (size_t)which * 4 + j] & 63;
    }
    int low = nibble_at(b, at + 8, j - 4, which == 1);
    return low | b[at + (size_t)which * 4 + j - 4] >> 6 << 4;
}

/* Element i of a K block with 4 or 5 bits. */
static float k_element(const uint8_t *b, size_t i, bool five) {
    size_t sub = i / 32, codes = five ? 48 : 16;
    int code = nibble_at(b, codes, i / 64 * 32 + i % 32, sub % 2 == 1);
    if (five) {
        code += 16 * (b[16 + i % 32] >> sub & 1);
    }
    float scale = half_at(b, 0) * (float)six_bits(b, 4, sub, 0);
    float minimum = half_at(b, 2) * (float)six_bits(b, 4, sub, 1);
    return scale * (float)code - minimum;
}

static float q6_element(const uint8_t *b, size_t i) {
    size_t in = i % 128, quarter = in / 32, l = in % 32, half = i / 128;
    int low = nibble_at(b, half * 64, (quarter % 2) * 32 + l, quarter >= 2);
    int high = b[128 + half * 32 + l] >> (2 * quarter) & 3;
    return half_at(b, 208) * (float)(int8_t)b[192 + i / 16] * (float)((low | high << 4) - 32);
}

static float element(spec_type type, const uint8_t *b, size_t i) {
    switch (type) {
    case SPEC_TYPE_Q8_0: return half_at(b, 0) * (float)(int8_t)b[2 + i];
    case SPEC_TYPE_Q4_0: return half_at(b, 0) * (float)(nibble_at(b, 2, i % 16, i >= 16) - 8);
    case SPEC_TYPE_Q5_0:
        return half_at(b, 0) * (float)((nibble_at(b, 6, i % 16, i >= 16) | bit_at(b, 2, i) << 4) - 16);
    case SPEC_TYPE_Q4_K: return k_element(b, i, false);
    case SPEC_TYPE_Q5_K: return k_element(b, i, true);
    default: return q6_element(b, i);
    }
}

static void test_blocks_are_read_bit_by_bit(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    for (size_t q = 0; q < N_QUANTISED; q++) {
        size_t block = spec_type_block(quantised[q]), bytes = spec_type_block_bytes(quantised[q]);
        for (int round = 0; round < 300; round++) {
            uint8_t b[3 * 210];
            float x[3 * 256];
            for (size_t i = 0; i < 3 * bytes; i++) {
                b[i] = (uint8_t)support_rng_next(&r);
            }
            assert_int_equal(spec_type_to_float(quantised[q], b, x, 3 * block), 0);
            for (size_t i = 0; i < 3 * block; i++) {
                float want = element(quantised[q], b + i / block * bytes, i % block);
                assert_true(x[i] == want || (isnan(x[i]) && isnan(want)));
            }
        }
    }
}

/* ---- quantising --------------------------------------------------------------- */

static double normal(support_rng *r) {
    double s = 0.0;
    for (int i = 0; i < 12; i++) {
        s += support_rng_unit(r);
    }
    return s - 6.0;
}

/* Root mean square error, relative to that of the numbers. */
static double relative_error(const float *x, const float *y, size_t n) {
    double e = 0.0, s = 0.0;
    for (size_t i = 0; i < n; i++) {
        e += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        s += (double)x[i] * (double)x[i];
    }
    return sqrt(e / s);
}

static void round_trip(spec_type type, const float *x, float *y, size_t n) {
    uint8_t bytes[8192], again[8192];
    size_t size = n / spec_type_block(type) * spec_type_block_bytes(type);
    assert_true(size <= sizeof bytes);
    memset(bytes, 0x55, sizeof bytes);
    memset(again, 0xaa, sizeof again);
    assert_int_equal(spec_type_from_float(type, x, bytes, n), 0);
    assert_int_equal(spec_type_from_float(type, x, again, n), 0);
    assert_memory_equal(bytes, again, size); /* every byte is written, always the same */
    assert_int_equal(bytes[size], 0x55);
    assert_int_equal(spec_type_to_float(type, bytes, y, n), 0);
}

static void test_error_on_normal_numbers(void **state) {
    (void)state;
    /* 3% above what was measured. */
    static const double limit[] = {0.0055, 0.0842, 0.0422, 0.0736, 0.0377, 0.0183};
    support_rng r = support_rng_new(support_seed(), 2);
    for (size_t q = 0; q < N_QUANTISED; q++) {
        double worst = 0.0;
        for (int round = 0; round < 20; round++) {
            float x[4096], y[4096];
            double size = pow(10.0, support_rng_below(&r, 5) - 3.0);
            for (int i = 0; i < 4096; i++) {
                x[i] = (float)(normal(&r) * size);
            }
            round_trip(quantised[q], x, y, 4096);
            double e = relative_error(x, y, 4096);
            worst = e > worst ? e : worst;
        }
        assert_true(worst < limit[q]);
    }
}

/* Numbers that the grid holds come back as they were. */
static void test_grids_are_kept(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 3);
    static const int low[] = {-127, -8, -16, 0, 0, -32}, high[] = {127, 7, 15, 15, 31, 31};
    for (size_t q = 0; q < N_QUANTISED; q++) {
        for (int round = 0; round < 50; round++) {
            float x[256], y[256], d = 0.25f;
            for (int i = 0; i < 256; i++) {
                uint32_t span = (uint32_t)(high[q] - low[q] + 1);
                x[i] = d * (float)(low[q] + (int)support_rng_below(&r, span));
                if (i % 16 < 2) { /* both ends are there */
                    x[i] = d * (float)(i % 2 ? low[q] : quantised[q] == SPEC_TYPE_Q8_0 ? 127 : high[q]);
                }
            }
            round_trip(quantised[q], x, y, 256);
            assert_true(relative_error(x, y, 256) < 2e-3); /* the scale is rounded to a half */
        }
    }
}

static void test_extremes(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 4);
    static const float odd[] = {0.0f,     -0.0f,   NAN,     INFINITY, -INFINITY, FLT_MAX,
                                -FLT_MAX, FLT_MIN, -1e-45f, 1e-8f,    65504.0f,  1e6f,
                                -1e6f,    2e7f,    -1e12f,  1.0f,     -1.0f};
    for (size_t q = 0; q < N_QUANTISED; q++) {
        for (int round = 0; round < 2000; round++) {
            float x[256], y[256];
            size_t kinds = 1 + support_rng_below(&r, 3);
            float kind[3];
            for (size_t i = 0; i < kinds; i++) {
                kind[i] = odd[support_rng_below(&r, sizeof odd / sizeof *odd)];
            }
            for (int i = 0; i < 256; i++) {
                x[i] = kind[support_rng_below(&r, (uint32_t)kinds)];
            }
            round_trip(quantised[q], x, y, 256);
            for (int i = 0; i < 256; i++) {
                assert_true(isfinite(y[i]));
            }
        }
        float x[256] = {0}, y[256];
        x[7] = NAN;
        round_trip(quantised[q], x, y, 256);
        for (int i = 0; i < 256; i++) {
            assert_true(y[i] == 0.0f); /* zeros, and NaN as one */
        }
    }
}

/* The same bytes come of both. */
static void assert_same_bytes(spec_type type, const float *x, const float *y) {
    uint8_t a[512], b[512];
    assert_int_equal(spec_type_from_float(type, x, a, 256), 0);
    assert_int_equal(spec_type_from_float(type, y, b, 256), 0);
    assert_memory_equal(a, b, 256 / spec_type_block(type) * spec_type_block_bytes(type));
}

static void test_what_is_no_number(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 5);
    for (size_t q = 0; q < N_QUANTISED; q++) {
        for (int round = 0; round < 100; round++) {
            float x[256], y[256];
            for (int i = 0; i < 256; i++) {
                x[i] = y[i] = (float)normal(&r);
            }
            for (int i = 0; i < 40; i++) {
                uint32_t at = support_rng_below(&r, 256);
                x[at] = NAN;
                y[at] = 0.0f;
            }
            assert_same_bytes(quantised[q], x, y);
            uint32_t at = support_rng_below(&r, 256);
            x[at] = round % 2 ? INFINITY : -INFINITY;
            y[at] = round % 2 ? FLT_MAX : -FLT_MAX;
            assert_same_bytes(quantised[q], x, y);
        }
    }
}

static void test_zeros(void **state) {
    (void)state;
    static const float zero[256] = {0};
    static const float tiny[256] = {1e-10f, -1e-10f, 3e-11f}; /* less than a half can scale */
    static const float tinier[256] = {1e-45f, -3e-42f, 1e-39f, [200] = -1e-40f}; /* with infinite inverses */
    uint8_t want[34] = {0}, b[34];
    assert_int_equal(spec_type_from_float(SPEC_TYPE_Q8_0, zero, b, 32), 0);
    assert_memory_equal(b, want, 34);
    memset(want + 2, 0x88, 16); /* the code of 0 */
    assert_int_equal(spec_type_from_float(SPEC_TYPE_Q4_0, zero, b, 32), 0);
    assert_memory_equal(b, want, 18);
    for (size_t q = 0; q < N_QUANTISED; q++) {
        assert_same_bytes(quantised[q], zero, tiny);
        assert_same_bytes(quantised[q], zero, tinier);
    }
}

/* A K block has a minimum for numbers below 0; above it they are measured from 0. */
static void test_numbers_of_one_sign(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 6);
    static const double limit[2][N_QUANTISED] = {{0.003, 0.044, 0.022, 0.023, 0.012, 0.011},
                                                 {0.003, 0.044, 0.022, 0.012, 0.0065, 0.011}};
    for (size_t q = 0; q < N_QUANTISED; q++) {
        for (int sign = 0; sign < 2; sign++) {
            float x[1024], y[1024];
            for (int i = 0; i < 1024; i++) {
                x[i] = (float)((1.0 + support_rng_unit(&r)) * (sign ? -1.0 : 1.0));
            }
            round_trip(quantised[q], x, y, 1024);
            double e = relative_error(x, y, 1024);
            assert_true(e < limit[sign][q]);
        }
    }
}

/* ---- recorded files ----------------------------------------------------------- */

#define GOLDEN "golden/models/llama-d256/"

static spec_tensors *open_golden(const char *name) {
    char path[256], full[512];
    snprintf(path, sizeof path, GOLDEN "%s.gguf", name);
    assert_true(support_shared(path, full, sizeof full));
    spec_tensors *f;
    spec_message why;
    if (spec_tensors_open(&f, full, NULL, &why)) {
        fail_msg("%s", why.text);
    }
    return f;
}

static float *floats_of(const spec_tensor *t, size_t *n) {
    *n = t->bytes / spec_type_block_bytes(t->type) * spec_type_block(t->type);
    float *x = malloc(*n * sizeof *x);
    assert_non_null(x);
    assert_int_equal(spec_type_to_float(t->type, t->data, x, *n), 0);
    return x;
}

/* Our quantiser's error on the same weights is not above the recorded one's by more than 2%. */
static void compare_quantisers(spec_type type, const float *x, size_t n, double theirs) {
    if (spec_type_block(type) == 1) {
        return;
    }
    float *y = malloc(n * sizeof *y);
    void *bytes = malloc(n / spec_type_block(type) * spec_type_block_bytes(type));
    assert_true(y && bytes);
    assert_int_equal(spec_type_from_float(type, x, bytes, n), 0);
    assert_int_equal(spec_type_to_float(type, bytes, y, n), 0);
    double ours = relative_error(x, y, n);
    assert_true(ours <= theirs * 1.02);
    free(bytes);
    free(y);
}

static void test_recorded_files(void **state) {
    (void)state;
    char dir[512];
    if (!support_shared(GOLDEN "F32.gguf", dir, sizeof dir)) {
        SUPPORT_SKIP_NO_SHARED();
    }
    static const struct {
        const char *name;
        double limit;
    } files[] = {{"F16", 3e-4},  {"BF16", 2e-3}, {"Q8_0", 0.007}, {"Q4_0", 0.1},
                 {"Q4_K", 0.08}, {"Q6_K", 0.03}, {"Q4_K_M", 0.08}};
    spec_tensors *exact = open_golden("F32");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        spec_tensors *f = open_golden(files[i].name);
        for (size_t t = 0; t < spec_tensors_count(f); t++) {
            const spec_tensor *a = spec_tensors_at(f, t), *b = spec_tensors_find(exact, a->name);
            assert_non_null(b);
            size_t n, m;
            float *x = floats_of(a, &n), *y = floats_of(b, &m);
            assert_int_equal(n, m);
            double e = relative_error(y, x, n);
            assert_true(e <= files[i].limit);
            compare_quantisers(a->type, y, n, e);
            free(x);
            free(y);
        }
        spec_tensors_free(f);
    }
    spec_tensors_free(exact);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_read_bit_by_bit),
        cmocka_unit_test(test_error_on_normal_numbers),
        cmocka_unit_test(test_grids_are_kept),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_what_is_no_number),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_numbers_of_one_sign),
        cmocka_unit_test(test_recorded_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Element types: the table, half precision against the definition and the
 * processor, every quantised format against its layout read bit by bit, and the
 * quantisers' error. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "half.h"
#include "spec_tensors.h"

/* ---- the table -------------------------------------------------------------- */

static void test_names_and_sizes(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t block, bytes;
    } want[SPEC_TYPES] = {
        {"F32", 1, 4},      {"F16", 1, 2},    {"BF16", 1, 2},     {"Q8_0", 32, 34},
        {"Q4_0", 32, 18},   {"Q5_0", 32, 22}, {"Q4_K", 256, 144}, {"Q5_K", 256, 176},
        {"Q6_K", 256, 210}, {"F64", 1, 8},    {"I8", 1, 1},       {"U8", 1, 1},
        {"I16", 1, 2},      {"I32", 1, 4},    {"I64", 1, 8},      {"BOOL", 1, 1},
    };
    for (unsigned i = 0; i < SPEC_TYPES; i++) {
        spec_type t = (spec_type)i, found;
        char lower[16];
        size_t n = strlen(want[i].name);
        for (size_t c = 0; c <= n; c++) {
            char u = want[i].name[c];
            lower[c] = u >= 'A' && u <= 'Z' ? (char)(u + 32) : u;
        }
        assert_string_equal(spec_type_name(t), want[i].name);
        assert_int_equal(spec_type_block(t), want[i].block);
        assert_int_equal(spec_type_block_bytes(t), want[i].bytes);
        assert_int_equal(spec_type_find(want[i].name, &found), 0);
        assert_int_equal(found, t);
        assert_int_equal(spec_type_find(lower, &found), 0);
        assert_int_equal(found, t);
    }
}

static void test_what_is_no_type(void **state) {
    (void)state;
    spec_type found = SPEC_TYPE_I8;
    static const char *const names[] = {"", "F3", "F320", "Q4_", "Q4_K_M", "f 32", "?"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(spec_type_find(names[i], &found), SPEC_ERR_NOT_FOUND);
    }
    assert_int_equal(found, SPEC_TYPE_I8);
    assert_string_equal(spec_type_name(SPEC_TYPES), "?");
    assert_string_equal(spec_type_name((spec_type)-1), "?");
    float x[512] = {0};
    char bytes[1024] = {0};
    assert_int_equal(spec_type_to_float(SPEC_TYPES, bytes, x, 1), SPEC_ERR_INVALID);
    assert_int_equal(spec_type_from_float(SPEC_TYPES, x, bytes, 1), SPEC_ERR_INVALID);
    assert_int_equal(spec_type_to_float(SPEC_TYPE_Q8_0, bytes, x, 33), SPEC_ERR_INVALID);
    assert_int_equal(spec_type_from_float(SPEC_TYPE_Q4_K, x, bytes, 32), SPEC_ERR_INVALID);
    for (spec_type t = SPEC_TYPE_I8; t < SPEC_TYPES; t++) {
        assert_int_equal(spec_type_from_float(t, x, bytes, 1), SPEC_ERR_UNSUPPORTED);
    }
}

static void test_integers_to_float(void **state) {
    (void)state;
    float x[3];
    assert_int_equal(spec_type_to_float(SPEC_TYPE_I8, (int8_t[]){-128, 0, 127}, x, 3), 0);
    assert_true(x[0] == -128.0f && x[1] == 0.0f && x[2] == 127.0f);
    assert_int_equal(spec_type_to_float(SPEC_TYPE_U8, (uint8_t[]){0, 128, 255}, x, 3), 0);
    assert_true(x[0] == 0.0f && x[1] == 128.0f && x[2] == 255.0f);
    assert_int_equal(spec_type_to_float(SPEC_TYPE_I16, (int16_t[]){-32768, 1, 32767}, x, 3), 0);
    assert_true(x[0] == -32768.0f && x[1] == 1.0f && x[2] == 32767.0f);
    assert_int_equal(spec_type_to_float(SPEC_TYPE_I32, (int32_t[]){INT32_MIN, 16777217, 5}, x, 3), 0);
    assert_true(x[0] == -2147483648.0f && x[1] == 16777216.0f && x[2] == 5.0f);
    assert_int_equal(spec_type_to_float(SPEC_TYPE_I64, (int64_t[]){INT64_MIN, -1, 7}, x, 3), 0);
    assert_true(x[0] == -0x1p63f && x[1] == -1.0f && x[2] == 7.0f);
    assert_int_equal(spec_type_to_float(SPEC_TYPE_BOOL, (uint8_t[]){0, 1, 2}, x, 3), 0);
    assert_true(x[0] == 0.0f && x[1] == 1.0f && x[2] == 1.0f);
    assert_int_equal(spec_type_to_float(SPEC_TYPE_F64, (double[]){1e300, -0.1, 3.0}, x, 3), 0);
    assert_true(x[0] == INFINITY && x[1] == -0.1f && x[2] == 3.0f);
}

static void test_any_address(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    float x[256], y[256], z[256];
    for (int i = 0; i < 256; i++) {
        x[i] = (float)(support_rng_unit(&r) - 0.5);
    }
    for (spec_type t = SPEC_TYPE_F32; t <= SPEC_TYPE_F64; t++) {
        _Alignas(64) char even[256 * 8 + 8], odd[256 * 8 + 8];
        size_t bytes = 256 / spec_type_block(t) * spec_type_block_bytes(t);
        assert_int_equal(spec_type_from_float(t, x, even, 256), 0);
        assert_int_equal(spec_type_from_float(t, x, odd + 1, 256), 0);
        assert_memory_equal(even, odd + 1, bytes);
        assert_int_equal(spec_type_to_float(t, even, y, 256), 0);
        assert_int_equal(spec_type_to_float(t, odd + 1, z, 256), 0);
        assert_memory_equal(y, z, sizeof y);
    }
}

/* ---- 16 bits ------------------------------------------------------------------ */

/* The value of a half by its definition; NaN apart. */
static double half_value(uint16_t h) {
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    double v = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return h & 0x8000 ? -v : v;
}

static bool half_is_nan(uint16_t h) { return (h & 0x7fff) > 0x7c00; }

static void test_half_to_float_is_exact(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i;
        float x;
        assert_int_equal(spec_type_to_float(SPEC_TYPE_F16, &h, &x, 1), 0);
        if (half_is_nan(h)) {
            assert_true(isnan(x));
        } else if ((h & 0x7fff) == 0x7c00) {
            assert_true(isinf(x) && !signbit(x) == !(h >> 15));
        } else {
            assert_true((double)x == half_value(h) && !signbit(x) == !(h >> 15));
        }
        uint16_t back;
        assert_int_equal(spec_type_from_float(SPEC_TYPE_F16, &x, &back, 1), 0);
        assert_int_equal(back, half_is_nan(h) ? h | 0x200 : h);
    }
}

/* A half next to x on either side is not nearer, and a tie goes to the even one. */
static void check_half_is_nearest(float x) {
    uint16_t h = specp_half_of_float(x);
    assert_int_equal(h >> 15, signbit(x) ? 1 : 0);
    if (isnan(x)) {
        assert_true(half_is_nan(h) && (h & 0x200));
        return;
    }
    double a = fabs((double)x);
    uint16_t m = h & 0x7fff;
    if (m == 0x7c00) {
        assert_true(a >= 65520.0); /* half a step above 65504 */
        return;
    }
    double here = fabs(a - half_value(m)), above = m == 0x7bff ? 65536.0 : half_value(m + 1);
    assert_true(here < above - a || (here == above - a && !(m & 1)));
    if (m) {
        double below = a - half_value(m - 1);
        assert_true(here < below || (here == below && !(m & 1)));
    }
}

static void test_half_of_float_is_nearest(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 2);
    for (uint32_t h = 0; h < 0x7c00; h++) { /* every value, every tie and what is next to it */
        float v = specp_float_of_half((uint16_t)h), w = specp_float_of_half((uint16_t)(h + 1));
        float tie = h == 0x7bff ? 65520.0f : (v + w) / 2;
        float near[] = {v, tie, nextafterf(tie, 0.0f), nextafterf(tie, INFINITY)};
        for (int i = 0; i < 4; i++) {
            check_half_is_nearest(near[i]);
            check_half_is_nearest(-near[i]);
        }
    }
    for (int i = 0; i < 300000; i++) {
        check_half_is_nearest(specp_float_of_bits((uint32_t)support_rng_next(&r)));
    }
}

static void test_bf16(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 3);
    for (uint32_t i = 0; i < 300000; i++) {
        uint32_t bits = (uint32_t)support_rng_next(&r);
        bits = i % 4 ? bits : (bits & 0xffff0000u) | 0x8000u; /* ties */
        float x = specp_float_of_bits(bits);
        uint16_t b;
        assert_int_equal(spec_type_from_float(SPEC_TYPE_BF16, &x, &b, 1), 0);
        float back;
        assert_int_equal(spec_type_to_float(SPEC_TYPE_BF16, &b, &back, 1), 0);
        if (isnan(x)) {
            assert_true(isnan(back));
            continue;
        }
        uint32_t low = bits & 0xffffu, high = bits >> 16;
        uint32_t want = low > 0x8000u || (low == 0x8000u && (high & 1)) ? high + 1 : high;
        assert_int_equal(b, want);
        assert_int_equal(specp_bits_of_float(back), want << 16);
    }
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

__attribute__((target("avx,f16c"))) static float processor_float(uint16_t h) {
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_set1_epi16((short)h)));
}

__attribute__((target("avx,f16c"))) static uint16_t processor_half(float x) {
    return (uint16_t)_mm_extract_epi16(_mm_cvtps_ph(_mm_set1_ps(x), _MM_FROUND_TO_NEAREST_INT), 0);
}

static void test_half_like_the_processor(void **state) {
    (void)state;
    if (!__builtin_cpu_supports("avx2")) {
        skip();
    }
    support_rng r = support_rng_new(support_seed(), 4);
    for (uint32_t i = 0; i < 65536; i++) {
        uint32_t ours = specp_bits_of_float(specp_float_of_half((uint16_t)i));
        assert_int_equal(ours, specp_bits_of_float(processor_float((uint16_t)i)));
    }
    for (int i = 0; i < 1000000; i++) {
        float x = specp_float_of_bits((uint32_t)support_rng_next(&r));
        assert_int_equal(specp_half_of_float(x), processor_half(x));
    }
}
#else
static void test_half_like_the_processor(void **state) {
    (void)state;
    skip();
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_sizes),
        cmocka_unit_test(test_what_is_no_type),
        cmocka_unit_test(test_integers_to_float),
        cmocka_unit_test(test_any_address),
        cmocka_unit_test(test_half_to_float_is_exact),
        cmocka_unit_test(test_half_of_float_is_nearest),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_half_like_the_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

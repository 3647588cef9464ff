/* SPDX-License-Identifier: MIT */
/* Reading .npy files: every element type, the header's forms, and refusals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "npy.h"
#include "support.h"

typedef struct file {
    uint8_t *byte; /* exactly n, so that a sanitizer sees the end */
    size_t n;
} file;

/* A file of version 1, or 2 with a longer length field, as numpy pads it. */
static file make(int version, const char *dictionary, const void *data, size_t n_data) {
    size_t field = version == 1 ? 2 : 4, begin = 8 + field, length = strlen(dictionary);
    size_t header = (begin + length + 1 + 63) / 64 * 64 - begin;
    file f = {.n = begin + header + n_data};
    f.byte = malloc(f.n);
    assert_non_null(f.byte);
    memcpy(f.byte, "\x93NUMPY", 6);
    f.byte[6] = (uint8_t)version;
    f.byte[7] = 0;
    for (size_t i = 0; i < field; i++) f.byte[8 + i] = (uint8_t)(header >> (8 * i));
    memset(f.byte + begin, ' ', header);
    memcpy(f.byte + begin, dictionary, length);
    f.byte[begin + header - 1] = '\n';
    if (n_data) memcpy(f.byte + begin + header, data, n_data);
    return f;
}

#define DICTIONARY(descr, shape) "{'descr': '" descr "', 'fortran_order': False, 'shape': " shape ", }"

/* ---- what is read -------------------------------------------------------- */

static void test_floats(void **state) {
    (void)state;
    const float single[6] = {0, 1.5f, -2, 3e38f, -1e-40f, INFINITY};
    const double twice[2] = {1e300, -0.1};
    const uint16_t half[3] = {0x3c00, 0xc000, 0x7c00};
    npy a;
    float out[6];
    file f = make(1, DICTIONARY("<f4", "(2, 3)"), single, sizeof single);
    assert_int_equal(npy_parse(&a, "x", f.byte, f.n, NULL), SPEC_OK);
    assert_int_equal(a.n_dims, 2);
    assert_int_equal(a.dim[0], 2);
    assert_int_equal(a.dim[1], 3);
    assert_int_equal(a.dim[2], 1);
    assert_int_equal(a.n, 6);
    npy_floats(&a, 0, out, 6);
    assert_memory_equal(out, single, sizeof single);
    npy_floats(&a, 4, out, 1);
    assert_memory_equal(out, single + 4, sizeof *out);
    free(f.byte);

    f = make(2, DICTIONARY("<f8", "(2,)"), twice, sizeof twice);
    assert_int_equal(npy_parse(&a, "x", f.byte, f.n, NULL), SPEC_OK);
    assert_true(npy_real(&a, 0) == 1e300 && npy_real(&a, 1) == -0.1);
    free(f.byte);

    f = make(3, DICTIONARY("<f2", "(3,)"), half, sizeof half);
    assert_int_equal(npy_parse(&a, "x", f.byte, f.n, NULL), SPEC_OK);
    assert_true(npy_real(&a, 0) == 1 && npy_real(&a, 1) == -2 && isinf(npy_real(&a, 2)));
    free(f.byte);
}

static void has_integer(const char *descr, size_t width, uint64_t bits, int64_t expected, bool fits) {
    char dictionary[100];
    npy a;
    int64_t v = 77;
    snprintf(dictionary, sizeof dictionary, DICTIONARY("%s", "(2,)"), descr);
    uint8_t data[16] = {0};
    for (size_t i = 0; i < width; i++) data[width + i] = (uint8_t)(bits >> (8 * i));
    file f = make(1, dictionary, data, 2 * width);
    assert_int_equal(npy_parse(&a, "x", f.byte, f.n, NULL), SPEC_OK);
    assert_true(npy_int(&a, 0, &v) && v == 0);
    if (npy_int(&a, 1, &v) != fits) fail_msg("%s", descr);
    if (fits && v != expected) fail_msg("%s: %lld, not %lld", descr, (long long)v, (long long)expected);
    free(f.byte);
}

static void test_integers(void **state) {
    (void)state;
    has_integer("|i1", 1, 0x80, -128, true);
    has_integer("|u1", 1, 0x80, 128, true);
    has_integer("|b1", 1, 1, 1, true);
    has_integer("<i2", 2, 0xfffe, -2, true);
    has_integer("<u2", 2, 0xfffe, 65534, true);
    has_integer("<i4", 4, 0x7fffffff, INT32_MAX, true);
    has_integer("<i4", 4, 0x80000000, INT32_MIN, true);
    has_integer("<u4", 4, 0xffffffff, UINT32_MAX, true);
    has_integer("<i8", 8, 0x8000000000000000u, INT64_MIN, true);
    has_integer("<u8", 8, 0x7fffffffffffffffu, INT64_MAX, true);
    has_integer("<u8", 8, 0x8000000000000000u, 0, false);
}

/* Python writes dictionaries in more than one way. */
static void test_forms(void **state) {
    (void)state;
    static const char *const good[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }",
        "{'shape':(4,),'descr':'<f4','fortran_order':False}",
        "{\"fortran_order\": False , \"shape\" : ( 2 , 2 ) , \"descr\" : \"<f4\"}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4, 1, 1,), }",
    };
    float data[4] = {1, 2, 3, 4};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        npy a;
        spec_message why = {""};
        file f = make(1, good[i], data, sizeof data);
        if (npy_parse(&a, "x", f.byte, f.n, &why) != SPEC_OK) fail_msg("%s", why.text);
        assert_int_equal(a.n, 4);
        assert_true(npy_real(&a, 3) == 4);
        free(f.byte);
    }
    npy a;
    file f = make(1, DICTIONARY("<f8", "()"), data, 8); /* a single number */
    assert_int_equal(npy_parse(&a, "x", f.byte, f.n, NULL), SPEC_OK);
    assert_true(a.n_dims == 0 && a.n == 1);
    free(f.byte);
    f = make(1, DICTIONARY("<f8", "(0, 7)"), data, 0);
    assert_int_equal(npy_parse(&a, "x", f.byte, f.n, NULL), SPEC_OK);
    assert_true(a.n == 0);
    free(f.byte);
}

/* ---- what is not --------------------------------------------------------- */

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *dictionary, *said;
        int rc;
    } t[] = {
        {"", "a dictionary", SPEC_ERR_CORRUPT},
        {"{}", "'descr', 'fortran_order' and 'shape'", SPEC_ERR_CORRUPT},
        {"{'descr': '<f4', 'shape': (4,)}", "'descr', 'fortran_order' and 'shape'", SPEC_ERR_CORRUPT},
        {"{'descr': '<f4', 'descr': '<f4'}", "each once", SPEC_ERR_CORRUPT},
        {"{'descr': '<f4', 'more': 1}", "each once", SPEC_ERR_CORRUPT},
        {"{'descr': '<f4' 'fortran_order': False}", "'key': value", SPEC_ERR_CORRUPT},
        {"{'descr' '<f4'}", "'key': value", SPEC_ERR_CORRUPT},
        {"{'descr': <f4}", "a type such as", SPEC_ERR_CORRUPT},
        {"{'descr': [('a', '<f4')]}", "a type such as", SPEC_ERR_CORRUPT},
        {"{'descr': '<f4", "a type such as", SPEC_ERR_CORRUPT},
        {DICTIONARY("<f4", "(4)"), "a tuple", SPEC_ERR_CORRUPT},
        {DICTIONARY("<f4", "4"), "a tuple", SPEC_ERR_CORRUPT},
        {DICTIONARY("<f4", "(-4,)"), "a tuple", SPEC_ERR_CORRUPT},
        {DICTIONARY("<f4", "(2 2)"), "a tuple", SPEC_ERR_CORRUPT},
        {DICTIONARY("<f4", "(,)"), "a tuple", SPEC_ERR_CORRUPT},
        {DICTIONARY("<f4", "(1,1,1,1,4)"), "at most 4 sizes", SPEC_ERR_CORRUPT},
        {DICTIONARY("<f4", "(4,") "}", "a tuple", SPEC_ERR_CORRUPT},
        {DICTIONARY("<f4", "(99999999999999999999,)"), "a tuple", SPEC_ERR_CORRUPT},
        {DICTIONARY("<f4", "(4294967296, 4294967296)"), "more elements than can be", SPEC_ERR_CORRUPT},
        {DICTIONARY("<f4", "(2305843009213693952, 8)"), "more elements than can be", SPEC_ERR_CORRUPT},
        {DICTIONARY("<f4", "(3,)"), "expected 12 bytes of data for the shape, found 16", SPEC_ERR_CORRUPT},
        {DICTIONARY("<f4", "(5,)"), "expected 20 bytes", SPEC_ERR_CORRUPT},
        {DICTIONARY("<f4", "()"), "expected 4 bytes", SPEC_ERR_CORRUPT},
        {DICTIONARY("<f4", "(4,)") "x", "spaces and a line end", SPEC_ERR_CORRUPT},
        {DICTIONARY("<f4", "(4,)") "\n", "spaces and a line end", SPEC_ERR_CORRUPT},
        {DICTIONARY(">f4", "(4,)"), ".npy type '>f4'", SPEC_ERR_UNSUPPORTED},
        {DICTIONARY("<c8", "(4,)"), ".npy type '<c8'", SPEC_ERR_UNSUPPORTED},
        {DICTIONARY("|O", "(4,)"), ".npy type '|O'", SPEC_ERR_UNSUPPORTED},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (4,)}", "Fortran order", SPEC_ERR_UNSUPPORTED},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (4,)}", "True or False", SPEC_ERR_CORRUPT},
    };
    const float data[4] = {0};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        npy a;
        spec_message why = {""};
        file f = make(1, t[i].dictionary, data, sizeof data);
        int rc = npy_parse(&a, "x.npy", f.byte, f.n, &why);
        if (rc != t[i].rc || !strstr(why.text, t[i].said) || strncmp(why.text, "x.npy: ", 7) != 0)
            fail_msg("%s: %d %s", t[i].dictionary, rc, why.text);
        assert_null(a.data);
        free(f.byte);
    }
}

static void test_versions(void **state) {
    (void)state;
    const float data[4] = {0};
    for (int version = 0; version < 256; version++) {
        npy a;
        file f = make(version == 1 ? 1 : 2, DICTIONARY("<f4", "(4,)"), data, sizeof data);
        f.byte[6] = (uint8_t)version;
        int rc = npy_parse(&a, "x", f.byte, f.n, NULL);
        assert_int_equal(rc, version >= 1 && version <= 3 ? SPEC_OK : SPEC_ERR_UNSUPPORTED);
        free(f.byte);
    }
}

static void test_cut_short(void **state) {
    (void)state;
    const float data[4] = {0};
    for (int version = 1; version <= 2; version++) {
        file f = make(version, DICTIONARY("<f4", "(2, 2)"), data, sizeof data);
        for (size_t n = 0; n < f.n; n++) {
            npy a;
            spec_message why = {""};
            uint8_t *part = malloc(n + 1);
            assert_non_null(part);
            uint8_t *end = part + 1; /* n bytes to the block's end, so that a sanitizer sees it */
            memcpy(end, f.byte, n);
            assert_int_equal(npy_parse(&a, "x", end, n, &why), SPEC_ERR_CORRUPT);
            assert_true(why.text[0]);
            free(part);
        }
        free(f.byte);
    }
}

/* Damaged bytes: refused, or an array that lies within the file. */
static void test_damaged(void **state) {
    (void)state;
    enum { TRIES = 30000 };
    static const char alphabet[] = "(){}'\",:<|fiub01248 \n\\TFaehorstd_ps-";
    support_rng rng = support_rng_new(support_seed(), 1);
    float data[12] = {0};
    size_t fine = 0;
    file f = make(1, DICTIONARY("<f4", "(3, 4)"), data, sizeof data);
    uint8_t *copy = malloc(f.n);
    assert_non_null(copy);
    for (int i = 0; i < TRIES; i++) {
        npy a;
        memcpy(copy, f.byte, f.n);
        for (uint32_t k = support_rng_below(&rng, 4); k != UINT32_MAX; k--) {
            uint32_t where = support_rng_below(&rng, 80);
            copy[where] = support_rng_chance(&rng, 0.5)
                              ? (uint8_t)alphabet[support_rng_below(&rng, sizeof alphabet - 1)]
                              : (uint8_t)support_rng_next(&rng);
        }
        if (npy_parse(&a, "x", copy, f.n, NULL) != SPEC_OK) continue;
        fine++;
        assert_true(a.data > copy && a.data + a.n * a.width == copy + f.n);
        for (uint64_t k = 0; k < a.n; k++) {
            int64_t v;
            if (a.kind == NPY_FLOAT)
                (void)npy_real(&a, k);
            else
                (void)npy_int(&a, k, &v);
        }
    }
    assert_true(fine > 10 && fine < TRIES / 2);
    free(copy);
    free(f.byte);
}

/* ---- files --------------------------------------------------------------- */

static void test_open(void **state) {
    (void)state;
    support_tmp tmp;
    char path[200];
    npy a;
    spec_message why = {""};
    const int32_t id[3] = {1, 7, 9};
    int64_t v = 0;
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "ids.npy", path, sizeof path);
    assert_int_equal(npy_open(&a, path, &why), SPEC_ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "ids.npy: cannot open"));
    assert_false(npy_is(path));
    file f = make(1, DICTIONARY("<i4", "(3,)"), id, sizeof id);
    support_write_file(path, f.byte, f.n);
    assert_true(npy_is(path));
    assert_int_equal(npy_open(&a, path, &why), SPEC_OK);
    assert_true(npy_int(&a, 2, &v) && v == 9);
    npy_close(&a);
    npy_close(&a);
    support_write_file(path, f.byte, f.n - 1);
    assert_int_equal(npy_open(&a, path, &why), SPEC_ERR_CORRUPT);
    support_write_file(path, "", 0);
    assert_int_equal(npy_open(&a, path, &why), SPEC_ERR_CORRUPT);
    assert_false(npy_is(path));
    assert_int_equal(npy_open(&a, tmp.path, &why), SPEC_ERR_CORRUPT);
    free(f.byte);
    support_tmp_remove(&tmp);
}

static void test_recorded(void **state) {
    (void)state;
    char path[300];
    npy a;
    spec_message why = {""};
    if (!support_shared("golden/models/llama-d256/F32.ref64.npy", path, sizeof path))
        SUPPORT_SKIP_NO_SHARED();
    if (npy_open(&a, path, &why) != SPEC_OK) fail_msg("%s", why.text);
    assert_true(a.n_dims == 2 && a.dim[0] == 64 && a.dim[1] == 320 && a.kind == NPY_FLOAT);
    assert_true(fabs(npy_real(&a, 0)) < 50);
    npy_close(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats),  cmocka_unit_test(test_integers), cmocka_unit_test(test_forms),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_versions), cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_damaged), cmocka_unit_test(test_open),     cmocka_unit_test(test_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

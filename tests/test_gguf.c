/* SPDX-License-Identifier: MIT */
/*
 * GGUF files made byte by byte: all kinds of metadata, tensors of every size,
 * files that are damaged or lie about themselves.
 */
#include "tensor_bytes.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the sample ---------------------------------------------------------- */

enum { SAMPLE_ENTRIES = 17, SAMPLE_TENSORS = 5 };

static void add_sample_scalars(bytes *b) {
    gguf_key(b, "u8", G_U8);
    bytes_u8(b, 200);
    gguf_key(b, "i8", G_I8);
    bytes_u8(b, (uint8_t)-100);
    gguf_key(b, "u16", G_U16);
    bytes_add(b, &(uint16_t){60000}, 2);
    gguf_key(b, "i16", G_I16);
    bytes_add(b, &(int16_t){-30000}, 2);
    gguf_u32(b, "u32", 4000000000u);
    gguf_key(b, "i32", G_I32);
    bytes_add(b, &(int32_t){-2000000000}, 4);
    gguf_key(b, "f32", G_F32);
    bytes_f32(b, 0.1f);
    gguf_key(b, "bool", G_BOOL);
    bytes_u8(b, 1);
    gguf_text(b, "text", "na\xc3\xafve");
    gguf_key(b, "u64", G_U64);
    bytes_u64(b, 1ull << 63);
    gguf_key(b, "i64", G_I64);
    bytes_u64(b, 1ull << 63);
    gguf_key(b, "f64", G_F64);
    bytes_add(b, &(double){0.1}, 8);
}

static void add_sample_arrays(bytes *b) {
    gguf_array(b, "numbers", G_I16, 3);
    for (int i = -1; i < 2; i++) bytes_add(b, &(int16_t){(int16_t)(1000 * i)}, 2);
    gguf_array(b, "words", G_STRING, 4);
    gguf_string(b, "one");
    gguf_string(b, "");
    bytes_u64(b, 3);
    bytes_add(b, "a\0b", 3);
    gguf_string(b, "four");
    gguf_array(b, "nested", G_ARRAY, 2);
    bytes_u32(b, G_STRING);
    bytes_u64(b, 1);
    gguf_string(b, "inner");
    bytes_u32(b, G_F32);
    bytes_u64(b, 2);
    bytes_u64(b, 0);
    gguf_array(b, "none", G_BOOL, 0);
}

static void add_sample_tensors(bytes *b) {
    gguf_tensor(b, "scalar", 0, NULL, G_TENSOR_F32, 0);
    gguf_tensor(b, "row", 1, (uint64_t[]){3}, G_TENSOR_F16, 64);
    gguf_tensor(b, "matrix", 2, (uint64_t[]){64, 2}, G_TENSOR_Q4_0, 128); /* 72 bytes */
    gguf_tensor(b, "cube", 4, (uint64_t[]){2, 3, 1, 2}, G_TENSOR_F32, 256);
    gguf_tensor(b, "empty", 2, (uint64_t[]){4, 0}, G_TENSOR_F32, 256);
    bytes_align(b, 64);
    for (size_t i = 0; i < 256 + 48; i++) bytes_u8(b, (uint8_t)i);
}

/* Returns the bytes before the data. */
static size_t make_sample(bytes *b, uint32_t version) {
    gguf_header(b, version, SAMPLE_TENSORS, SAMPLE_ENTRIES);
    gguf_u32(b, "general.alignment", 64);
    add_sample_scalars(b);
    add_sample_arrays(b);
    add_sample_tensors(b);
    return b->n - (256 + 48);
}

static void check_scalars(const spec_tensors *f) {
    static const struct {
        const char *key;
        spec_meta_kind kind;
        int64_t i;
        double x;
    } expected[] = {
        {"u8", SPEC_META_UINT, 200, 200},         {"i8", SPEC_META_INT, -100, -100},
        {"u16", SPEC_META_UINT, 60000, 60000},    {"i16", SPEC_META_INT, -30000, -30000},
        {"u32", SPEC_META_UINT, 4000000000, 4e9}, {"i32", SPEC_META_INT, -2000000000, -2e9},
        {"f32", SPEC_META_FLOAT, 0, 0.1f},        {"i64", SPEC_META_INT, INT64_MIN, -9223372036854775808.0},
        {"f64", SPEC_META_FLOAT, 0, 0.1},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const spec_meta *m = spec_tensors_meta(f, expected[i].key);
        int64_t n = 0;
        double x = 0;
        assert_non_null(m);
        assert_int_equal(m->kind, expected[i].kind);
        assert_int_equal(spec_meta_int(m, 0, &n), m->kind == SPEC_META_FLOAT ? SPEC_ERR_INVALID : SPEC_OK);
        assert_true(n == expected[i].i);
        assert_int_equal(spec_tensors_float(f, m->key, &x), SPEC_OK);
        assert_true(x == expected[i].x);
    }
}

static void check_arrays(const spec_tensors *f) {
    static const char *const words[] = {"one", "", "a\0b", "four"};
    static const size_t lengths[] = {3, 0, 3, 4};
    const spec_meta *m = spec_tensors_meta(f, "numbers");
    assert_int_equal(m->kind, SPEC_META_ARRAY);
    assert_int_equal(m->element, SPEC_META_INT);
    assert_int_equal(m->n, 3);
    for (uint64_t i = 0; i < 3; i++) {
        int64_t n;
        assert_int_equal(spec_meta_int(m, i, &n), SPEC_OK);
        assert_int_equal(n, 1000 * (int64_t)i - 1000);
    }
    m = spec_tensors_meta(f, "words");
    assert_int_equal(m->n, 4);
    for (uint64_t i = 0; i < 4; i++) {
        const char *s;
        size_t n;
        assert_int_equal(spec_meta_string(m, i, &s, &n), SPEC_OK);
        assert_int_equal(n, lengths[i]);
        assert_memory_equal(s, words[i], n);
    }
    m = spec_tensors_meta(f, "nested");
    assert_int_equal(m->element, SPEC_META_ARRAY);
    assert_int_equal(m->n, 2);
    assert_int_equal(spec_tensors_meta(f, "none")->n, 0);
}

static void check_tensor(const spec_tensors *f, const char *name, spec_type type, const uint64_t *dim,
                         uint8_t first, size_t size) {
    const spec_tensor *t = spec_tensors_find(f, name);
    assert_non_null(t);
    assert_int_equal(t->type, type);
    for (int i = 0; i < SPEC_TENSOR_DIMS; i++) assert_int_equal(t->dim[i], dim[i]);
    assert_int_equal(t->bytes, size);
    if (size) assert_int_equal(*(const uint8_t *)t->data, first);
}

static void test_sample(void **state) {
    support_file *x = *state;
    for (uint32_t version = 2; version <= 3; version++) {
        bytes b = {0};
        int truth = 0;
        uint64_t u = 0;
        const char *s;
        size_t n;
        make_sample(&b, version);
        support_write_file(x->path, b.data, b.n);
        spec_tensors *f = must_open(x->path, NULL);
        assert_string_equal(spec_tensors_format(f), version == 2 ? "GGUF v2" : "GGUF v3");
        assert_string_equal(spec_tensors_path(f), x->path);
        assert_int_equal(spec_tensors_count(f), SAMPLE_TENSORS);
        assert_int_equal(spec_tensors_meta_count(f), SAMPLE_ENTRIES);
        check_scalars(f);
        check_arrays(f);
        assert_int_equal(spec_tensors_bool(f, "bool", &truth), SPEC_OK);
        assert_int_equal(truth, 1);
        assert_int_equal(spec_tensors_uint(f, "u64", &u), SPEC_OK);
        assert_true(u == 1ull << 63);
        assert_int_equal(spec_meta_string(spec_tensors_meta(f, "text"), 0, &s, &n), SPEC_OK);
        assert_int_equal(n, 6);
        assert_memory_equal(s, "na\xc3\xafve", 6);
        check_tensor(f, "scalar", SPEC_TYPE_F32, (uint64_t[]){1, 1, 1, 1}, 0, 4);
        check_tensor(f, "row", SPEC_TYPE_F16, (uint64_t[]){3, 1, 1, 1}, 64, 6);
        check_tensor(f, "matrix", SPEC_TYPE_Q4_0, (uint64_t[]){2, 64, 1, 1}, 128, 72);
        check_tensor(f, "cube", SPEC_TYPE_F32, (uint64_t[]){2, 1, 3, 2}, 0, 48);
        check_tensor(f, "empty", SPEC_TYPE_F32, (uint64_t[]){0, 4, 1, 1}, 0, 0);
        assert_null(spec_tensors_find(f, "matri"));
        assert_null(spec_tensors_meta(f, ""));
        spec_tensors_free(f);
        bytes_free(&b);
    }
}

/* ---- damage -------------------------------------------------------------- */

static void test_truncated(void **state) {
    support_file *x = *state;
    bytes b = {0};
    make_sample(&b, 3);
    check_truncations(x->path, &b);
    bytes_free(&b);
}

static void test_flipped(void **state) {
    support_file *x = *state;
    bytes b = {0};
    size_t header = make_sample(&b, 3);
    assert_true(check_flips(x->path, &b, header) > 2 * header);
    bytes_free(&b);
}

static void test_refused_memory(void **state) {
    support_file *x = *state;
    bytes b = {0};
    make_sample(&b, 3);
    support_write_file(x->path, b.data, b.n);
    check_refusals(x->path);
    bytes_free(&b);
}

/* ---- lies ---------------------------------------------------------------- */

static void refuse(support_file *x, bytes *b, int err, const char *says) {
    expect_open(x->path, b, err, says);
    bytes_free(b);
}

static void test_versions(void **state) {
    static const struct {
        uint32_t version;
        int err;
        const char *says;
    } cases[] = {
        {0, SPEC_ERR_VERSION, "version 0, expected 2 or 3"},
        {1, SPEC_ERR_VERSION, "version 1, expected 2 or 3"},
        {4, SPEC_ERR_VERSION, "version 4, expected 2 or 3"},
        {3u << 24, SPEC_ERR_VERSION, "big-endian"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes b = {0};
        gguf_header(&b, cases[i].version, 0, 0);
        refuse(*state, &b, cases[i].err, cases[i].says);
    }
}

/* Counts that the file cannot hold are refused before memory is asked for. */
static void test_absurd_counts(void **state) {
    support_file *x = *state;
    static const uint64_t counts[] = {1ull << 60, UINT64_MAX, UINT64_MAX / 24 + 1, 42};
    for (size_t i = 0; i < 2 * sizeof counts / sizeof *counts; i++) {
        bytes b = {0};
        spec_tensors *f = NULL;
        spec_message why;
        support_heap heap;
        support_heap_init(&heap);
        spec_allocator a = support_alloc(&heap);
        gguf_header(&b, 3, i % 2 ? counts[i / 2] : 0, i % 2 ? 0 : counts[i / 2]);
        bytes_fill(&b, 0, 200);
        support_write_file(x->path, b.data, b.n);
        assert_int_equal(spec_tensors_open(&f, x->path, &a, &why), SPEC_ERR_CORRUPT);
        assert_true(heap.peak_bytes < 40000);
        refuse(x, &b, SPEC_ERR_CORRUPT, "more than fit");
    }
}

static void test_metadata(void **state) {
    bytes b = {0};
    gguf_header(&b, 3, 0, 1);
    gguf_key(&b, "key", G_STRING);
    bytes_u64(&b, 1ull << 60);
    refuse(*state, &b, SPEC_ERR_CORRUPT, "metadata entry 1 of 1: 1152921504606846976 bytes");

    gguf_header(&b, 3, 0, 1);
    gguf_key(&b, "key", G_BOOL);
    bytes_u8(&b, 2);
    refuse(*state, &b, SPEC_ERR_CORRUPT, "a truth value of 2");

    gguf_header(&b, 3, 0, 1);
    gguf_key(&b, "key", 13);
    bytes_u64(&b, 0);
    refuse(*state, &b, SPEC_ERR_CORRUPT, "value type 13");

    gguf_header(&b, 3, 0, 2);
    gguf_u32(&b, "key", 1);
    gguf_u32(&b, "key", 2);
    refuse(*state, &b, SPEC_ERR_CORRUPT, "metadata entry key is there twice");

    static const char *const names[] = {"",
                                        "a\nb",
                                        "\x7f",
                                        "\xff",
                                        "\xc0\x80",
                                        "\xe0\x80\x80",
                                        "\xed\xa0\x80",
                                        "\xf0\x80\x80\x80",
                                        "\xf4\x90\x80\x80",
                                        "\xf5\x80\x80\x80",
                                        "\xe2\x82",
                                        "\xe2\x82z",
                                        "\x80"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        gguf_header(&b, 3, 0, 1);
        gguf_u32(&b, names[i], 1);
        refuse(*state, &b, SPEC_ERR_CORRUPT, "the name of metadata entry 1 is not valid");
    }
    gguf_header(&b, 3, 0, 1);
    bytes_u64(&b, 3);
    bytes_add(&b, "a\0b", 3);
    bytes_u32(&b, G_BOOL);
    bytes_u8(&b, 1);
    refuse(*state, &b, SPEC_ERR_CORRUPT, "is not valid");
}

static void test_arrays(void **state) {
    static const uint32_t types[] = {G_U8, G_STRING, G_F64, G_ARRAY};
    bytes b = {0};
    for (size_t i = 0; i < 3 * 4; i++) {
        static const uint64_t counts[] = {1ull << 61, UINT64_MAX, 100};
        gguf_header(&b, 3, 0, 1);
        gguf_array(&b, "key", types[i % 4], counts[i / 4]);
        bytes_fill(&b, 0, 60);
        refuse(*state, &b, SPEC_ERR_CORRUPT, "metadata entry 1 of 1");
    }
    gguf_header(&b, 3, 0, 1);
    gguf_array(&b, "key", 99, 1);
    bytes_fill(&b, 0, 60);
    refuse(*state, &b, SPEC_ERR_CORRUPT, "value type 99");

    for (uint64_t n = 1ull << 61; n > 0; n *= 2) { /* 8 n overflows to 0 */
        gguf_header(&b, 3, 0, 1);
        gguf_array(&b, "key", G_ARRAY, 1);
        bytes_u32(&b, G_F64);
        bytes_u64(&b, n);
        refuse(*state, &b, SPEC_ERR_CORRUPT, "metadata entry 1 of 1");
    }
    for (unsigned depth = 1; depth < 8; depth++) {
        gguf_header(&b, 3, 0, 1);
        gguf_array(&b, "key", G_ARRAY, 1);
        for (unsigned i = 1; i < depth; i++) {
            bytes_u32(&b, G_ARRAY);
            bytes_u64(&b, 1);
        }
        bytes_u32(&b, G_U8);
        bytes_u64(&b, 1);
        bytes_u8(&b, 1);
        refuse(*state, &b, depth <= 4 ? SPEC_OK : SPEC_ERR_CORRUPT, "nested more than 4 deep");
    }
}

static void test_alignment(void **state) {
    static const struct {
        uint32_t type;
        uint64_t value;
        const char *says;
    } cases[] = {
        {G_U32, 0, "general.alignment is 0"},
        {G_U32, 48, "general.alignment is 48"},
        {G_U64, 1ull << 63, "should begin at byte 9223372036854775808"},
        {G_I32, (uint32_t)-8, "general.alignment is no unsigned integer"},
        {G_STRING, 0, "general.alignment is no unsigned integer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes b = {0};
        gguf_header(&b, 3, 1, 1);
        gguf_key(&b, "general.alignment", cases[i].type);
        bytes_add(&b, &cases[i].value, cases[i].type == G_U32 || cases[i].type == G_I32 ? 4 : 8);
        gguf_tensor(&b, "t", 1, (uint64_t[]){1}, G_TENSOR_F32, 0);
        bytes_fill(&b, 0, 128);
        refuse(*state, &b, SPEC_ERR_CORRUPT, cases[i].says);
    }
    bytes b = {0};
    gguf_header(&b, 3, 1, 1);
    gguf_u32(&b, "general.alignment", 1);
    gguf_tensor(&b, "t", 1, (uint64_t[]){1}, G_TENSOR_F32, 1);
    bytes_fill(&b, 0, 5);
    refuse(*state, &b, SPEC_OK, "");
}

typedef struct tensor_case {
    const char *name;
    uint32_t n_dims;
    uint64_t ne[4];
    uint32_t type;
    uint64_t offset;
    int err;
    const char *says;
} tensor_case;

/* A tensor of 32 floats at 0, then the case's; 256 bytes of data. */
static const tensor_case tensor_cases[] = {
    {"t", 1, {32}, G_TENSOR_F32, 128, SPEC_OK, ""},
    {"t", 1, {33}, G_TENSOR_F32, 128, SPEC_ERR_CORRUPT, "tensor t: 132 bytes at byte"},
    {"t", 1, {32}, G_TENSOR_F32, 96, SPEC_ERR_CORRUPT, "tensors first and t overlap"},
    {"t", 1, {32}, G_TENSOR_F32, 0, SPEC_ERR_CORRUPT, "overlap"},
    {"t", 1, {8}, G_TENSOR_F32, 136, SPEC_ERR_CORRUPT, "expected a multiple of 32"},
    {"t", 1, {8}, G_TENSOR_F32, 1ull << 62, SPEC_ERR_CORRUPT, "inside the file"},
    {"t", 1, {8}, G_TENSOR_F32, UINT64_MAX - 31, SPEC_ERR_CORRUPT, "inside the file"},
    {"t", 2, {1ull << 32, 1ull << 32}, G_TENSOR_F32, 128, SPEC_ERR_CORRUPT, "too large"},
    {"t", 3, {1ull << 32, 1ull << 32, 0}, G_TENSOR_F32, 128, SPEC_ERR_CORRUPT, "too large"},
    {"t", 1, {UINT64_MAX}, G_TENSOR_F32, 128, SPEC_ERR_CORRUPT, "too large"},
    {"t", 1, {1ull << 62}, G_TENSOR_F32, 128, SPEC_ERR_CORRUPT, "too large"},
    {"t",
     2,
     {33, 32},
     G_TENSOR_Q4_0,
     128,
     SPEC_ERR_CORRUPT,
     "rows of 33 elements are no whole blocks of Q4_0"},
    {"t", 0, {0}, G_TENSOR_Q4_0, 128, SPEC_ERR_CORRUPT, "no whole blocks"},
    {"t", 5, {0}, G_TENSOR_F32, 128, SPEC_ERR_CORRUPT, "5 dimensions, expected at most 4"},
    {"first", 1, {8}, G_TENSOR_F32, 128, SPEC_ERR_CORRUPT, "tensor first is there twice"},
    {"", 1, {8}, G_TENSOR_F32, 128, SPEC_ERR_CORRUPT, "name of tensor 2"},
    {"\x1b[2J", 1, {8}, G_TENSOR_F32, 128, SPEC_ERR_CORRUPT, "name of tensor 2"},
    {"t",
     1,
     {32},
     G_TENSOR_Q4_1,
     128,
     SPEC_ERR_UNSUPPORTED,
     "tensor t is of type Q4_1, which is not supported"},
    {"t", 1, {32}, 7, 128, SPEC_ERR_UNSUPPORTED, "type Q5_1"},
    {"t", 1, {256}, 10, 128, SPEC_ERR_UNSUPPORTED, "type Q2_K"},
    {"t",
     1,
     {256},
     11,
     128,
     SPEC_ERR_UNSUPPORTED,
     "supported are F32, F16, BF16, Q8_0, Q4_0, Q5_0, Q4_K, Q5_K"},
    {"t", 1, {256}, 23, 128, SPEC_ERR_UNSUPPORTED, "type IQ4_XS"},
    {"t", 1, {32}, 4, 128, SPEC_ERR_UNSUPPORTED, "type number 4"},
    {"t", 1, {32}, 40, 128, SPEC_ERR_UNSUPPORTED, "type number 40"},
    {"t", 1, {32}, UINT32_MAX, 128, SPEC_ERR_UNSUPPORTED, "type number 4294967295"},
};

static void test_tensors(void **state) {
    for (size_t i = 0; i < sizeof tensor_cases / sizeof *tensor_cases; i++) {
        const tensor_case *c = &tensor_cases[i];
        for (int swapped = 0; swapped < 2; swapped++) {
            bytes b = {0};
            gguf_header(&b, 3, 2, 0);
            if (!swapped) gguf_tensor(&b, "first", 1, (uint64_t[]){32}, G_TENSOR_F32, 0);
            gguf_string(&b, c->name);
            bytes_u32(&b, c->n_dims);
            for (uint32_t d = 0; d < c->n_dims; d++) bytes_u64(&b, d < 4 ? c->ne[d] : 1);
            bytes_u32(&b, c->type);
            bytes_u64(&b, c->offset);
            if (swapped) gguf_tensor(&b, "first", 1, (uint64_t[]){32}, G_TENSOR_F32, 0);
            bytes_align(&b, 32);
            bytes_fill(&b, 1, 256);
            refuse(*state, &b, c->err, swapped ? "" : c->says);
        }
    }
}

/* Of a long name the beginning is shown, up to the end of a character. */
static void test_long_names(void **state) {
    bytes b = {0};
    char name[301] = "x";
    while (strlen(name) + 3 < sizeof name) strcat(name, "\xe2\x82\xac");
    for (uint32_t type = 0; type < 4; type += 3) {
        gguf_header(&b, 3, 2, 0);
        gguf_tensor(&b, name, 0, NULL, type, 0);
        gguf_tensor(&b, name, 0, NULL, type, 0);
        bytes_fill(&b, 0, 64);
        refuse(*state, &b, type ? SPEC_ERR_UNSUPPORTED : SPEC_ERR_CORRUPT,
               type ? "\xe2\x82\xac is of type Q4_1" : "\xe2\x82\xac is there twice");
    }
}

/* Each type's number is the format's, and its size. */
static void test_types(void **state) {
    support_file *x = *state;
    static const struct {
        uint32_t number;
        spec_type type;
        size_t bytes; /* of 256 */
    } types[] = {
        {0, SPEC_TYPE_F32, 1024},  {1, SPEC_TYPE_F16, 512},   {2, SPEC_TYPE_Q4_0, 144},
        {6, SPEC_TYPE_Q5_0, 176},  {8, SPEC_TYPE_Q8_0, 272},  {12, SPEC_TYPE_Q4_K, 144},
        {13, SPEC_TYPE_Q5_K, 176}, {14, SPEC_TYPE_Q6_K, 210}, {24, SPEC_TYPE_I8, 256},
        {25, SPEC_TYPE_I16, 512},  {26, SPEC_TYPE_I32, 1024}, {27, SPEC_TYPE_I64, 2048},
        {28, SPEC_TYPE_F64, 2048}, {30, SPEC_TYPE_BF16, 512},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        bytes b = {0};
        gguf_header(&b, 3, 1, 0);
        gguf_tensor(&b, "t", 1, (uint64_t[]){256}, types[i].number, 0);
        bytes_align(&b, 32);
        bytes_fill(&b, 1, types[i].bytes);
        support_write_file(x->path, b.data, b.n);
        spec_tensors *f = must_open(x->path, NULL);
        assert_int_equal(spec_tensors_at(f, 0)->type, types[i].type);
        assert_int_equal(spec_tensors_at(f, 0)->bytes, types[i].bytes);
        spec_tensors_free(f);
        b.n--;
        refuse(x, &b, SPEC_ERR_CORRUPT, "cut short");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sample, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_truncated, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_flipped, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_refused_memory, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_versions, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_absurd_counts, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_metadata, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_arrays, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_alignment, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_tensors, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_long_names, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_types, support_file_set_up, support_file_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

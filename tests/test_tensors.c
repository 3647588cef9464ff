/* SPDX-License-Identifier: MIT */
/*
 * Opening any tensor file: which format it is, what is none, split models; and
 * the conversions of metadata.
 */
#include "tensor_bytes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int try_open(const char *path, spec_message *why) {
    spec_tensors *f = NULL;
    int err = spec_tensors_open(&f, path, NULL, why);
    if (err) assert_null(f);
    spec_tensors_free(f);
    return err;
}

/* ---- what is none -------------------------------------------------------- */

static void test_foreign(void **state) {
    static const struct {
        const char *content;
        size_t n;
        const char *says;
    } files[] = {
        {"x", 1, "it has 1 bytes and begins with 78"},
        {"GGU", 3, "begins with 47 47 55"},
        {"gguf\3\0\0\0\0\0\0\0", 12, "expected GGUF, safetensors, an index of safetensors or a llama2.c"},
        {"\x7f"
         "ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0",
         18, "begins with 7f 45 4c 46 02 01 01"},
        {"PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, "begins with 50 4b 03 04"},
        {"# A model card\n", 15, "is no model file"},
        {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32, "is no model file"},
        {"24ka", 4, "the header of a llama2.c checkpoint has 256 bytes, the file 4"},
        {"GGUF", 4, "the header: 4 bytes at byte 4, but the file ends at 4"},
        {"", 0, "is empty"},
    };
    support_file *x = *state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        bytes b = {0};
        bytes_add(&b, files[i].content, files[i].n);
        expect_open(x->path, &b, SPEC_ERR_CORRUPT, files[i].says);
        bytes_free(&b);
    }
}

/* Random bytes behind each beginning that a reader looks at. */
static void test_random_content(void **state) {
    static const char *const heads[] = {"", "GGUF\3\0\0", "24ka\1\0\0", "{\"", "\x10\0\0\0\0\0\0\0{\""};
    static const size_t lengths[] = {0, 8, 8, 2, 10};
    support_file *x = *state;
    support_rng rng = support_rng_new(support_seed(), 71);
    for (size_t k = 0; k < 500; k++) {
        bytes b = {0};
        spec_message why = {{0}};
        bytes_add(&b, heads[k % 5], lengths[k % 5]);
        for (uint32_t n = support_rng_below(&rng, 200); n > 0; n--)
            bytes_u8(&b, (uint8_t)(support_rng_chance(&rng, 0.5) ? 0 : support_rng_below(&rng, 256)));
        bytes_u8(&b, 1);
        support_write_file(x->path, b.data, b.n);
        int err = try_open(x->path, &why);
        if (err != SPEC_OK && !strstr(why.text, x->path)) fail_msg("\"%s\"", why.text);
        bytes_free(&b);
    }
}

static void test_no_file(void **state) {
    support_file *x = *state;
    char path[256];
    spec_message why;
    spec_tensors *f = NULL;
    assert_int_equal(try_open(support_tmp_path(&x->tmp, "none", path, sizeof path), &why),
                     SPEC_ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "none: there is no such file"));
    support_write_file(x->path, "x", 1);
    assert_int_equal(try_open(support_tmp_path(&x->tmp, "model/inner", path, sizeof path), &why),
                     SPEC_ERR_NOT_FOUND);
    assert_int_equal(mkfifo(support_tmp_path(&x->tmp, "pipe", path, sizeof path), 0600), 0);
    assert_int_equal(try_open(path, &why), SPEC_ERR_IO);
    assert_non_null(strstr(why.text, "is a pipe, socket or device, expected a regular file"));
    assert_int_equal(try_open("/dev/null", NULL), SPEC_ERR_IO);
    assert_int_equal(spec_tensors_open(NULL, path, NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(spec_tensors_open(&f, NULL, NULL, &why), SPEC_ERR_INVALID);
    spec_tensors_free(NULL);
}

/* Of a long path the end is shown, from a whole character on, and room is left for the reason. */
static void test_long_path(void **state) {
    (void)state;
    char path[1200] = "";
    spec_message why;
    while (strlen(path) < 1000) strcat(path, "\xe2\x82\xac/");
    strcat(path, "end");
    assert_int_equal(try_open(path, &why), SPEC_ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "/end: there is no such file"));
    assert_true(((unsigned char)why.text[0] & 0xc0) != 0x80);
    assert_true(strlen(why.text) < 300);
}

/* ---- split models -------------------------------------------------------- */

typedef struct part {
    uint64_t no, count, total; /* what it says; total 0: nothing */
    const char *tensor;
} part;

static void write_part(const support_file *x, const char *name, part p) {
    bytes b = {0};
    char path[256];
    gguf_header(&b, 3, 1, 3 + (p.no == 0));
    if (p.no == 0) gguf_text(&b, "general.name", "split");
    gguf_u32(&b, "split.no", (uint32_t)p.no);
    gguf_u32(&b, "split.count", (uint32_t)p.count);
    gguf_u32(&b, "split.tensors.count", (uint32_t)p.total);
    gguf_tensor(&b, p.tensor, 1, (uint64_t[]){4}, G_TENSOR_F32, 0);
    bytes_align(&b, 32);
    bytes_fill(&b, (uint8_t)p.no, 16);
    support_write_file(support_tmp_path(&x->tmp, name, path, sizeof path), b.data, b.n);
    bytes_free(&b);
}

static const char *const part_names[] = {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf",
                                         "m-00003-of-00003.gguf"};

static void write_parts(const support_file *x) {
    for (uint64_t i = 0; i < 3; i++)
        write_part(x, part_names[i], (part){i, 3, 3, (const char *const[]){"a", "b", "c"}[i]});
}

static void refuse_part(const support_file *x, const char *name, int expected, const char *says) {
    char path[256];
    spec_message why = {{0}};
    int err = try_open(support_tmp_path(&x->tmp, name, path, sizeof path), &why);
    if (err != expected || !strstr(why.text, says))
        fail_msg("%d \"%s\", expected \"%s\"", err, why.text, says);
}

static void test_split(void **state) {
    support_file *x = *state;
    char path[256];
    write_parts(x);
    support_tmp_path(&x->tmp, part_names[0], path, sizeof path);
    spec_tensors *f = must_open(path, NULL);
    assert_int_equal(spec_tensors_count(f), 3);
    assert_int_equal(spec_tensors_meta_count(f), 4);
    for (int i = 0; i < 3; i++) assert_int_equal(*(const uint8_t *)spec_tensors_at(f, (size_t)i)->data, i);
    spec_tensors_free(f);
    check_refusals(path);
    refuse_part(x, part_names[2], SPEC_ERR_INVALID,
                "m-00003-of-00003.gguf: is part 3 of 3 of a model: open ");
    refuse_part(x, part_names[2], SPEC_ERR_INVALID, "m-00001-of-00003.gguf");
}

static void test_bad_splits(void **state) {
    support_file *x = *state;
    char path[256], other[256];
    const char *first = part_names[0], *second = part_names[1];
    write_parts(x);
    write_part(x, second, (part){1, 3, 3, "a"});
    refuse_part(x, first, SPEC_ERR_CORRUPT, "00002-of-00003.gguf: tensor a is there twice");
    write_part(x, second, (part){2, 3, 3, "b"});
    refuse_part(x, first, SPEC_ERR_CORRUPT, "says it is part 3 of 3, expected 2 of 3");
    write_part(x, second, (part){1, 4, 3, "b"});
    refuse_part(x, first, SPEC_ERR_CORRUPT, "says it is part 2 of 4, expected 2 of 3");
    support_write_file(support_tmp_path(&x->tmp, second, path, sizeof path), "GGUX", 4);
    refuse_part(x, first, SPEC_ERR_CORRUPT, "00002-of-00003.gguf: is no GGUF file, expected part 2");
    assert_int_equal(unlink(path), 0);
    refuse_part(x, first, SPEC_ERR_NOT_FOUND, "m-00002-of-00003.gguf: there is no such file");
    write_part(x, second, (part){1, 3, 3, "b"});
    write_part(x, first, (part){0, 3, 4, "a"});
    refuse_part(x, first, SPEC_ERR_CORRUPT, "its 3 parts have 3 tensors, expected 4");
    write_part(x, first, (part){3, 3, 3, "a"});
    refuse_part(x, first, SPEC_ERR_CORRUPT, "split.no is 3 of split.count 3");
    write_part(x, first, (part){0, 0, 3, "a"});
    refuse_part(x, first, SPEC_ERR_CORRUPT, "split.no is 0 of split.count 0");
    write_part(x, first, (part){0, 100000, 3, "a"});
    refuse_part(x, first, SPEC_ERR_CORRUPT, "split.count 100000");
    write_part(x, first, (part){0, 3, 3, "a"});
    assert_int_equal(rename(support_tmp_path(&x->tmp, first, path, sizeof path),
                            support_tmp_path(&x->tmp, "m.gguf", other, sizeof other)),
                     0);
    refuse_part(x, "m.gguf", SPEC_ERR_INVALID, "its name must end in -00001-of-00003.gguf");
    write_part(x, "m.gguf", (part){0, 1, 1, "a"});
    refuse_part(x, "m.gguf", SPEC_OK, "");
}

/* ---- conversions --------------------------------------------------------- */

typedef struct value_case {
    const char *key;
    uint32_t type;
    double x; /* what is written, where bits are not given */
    uint64_t bits;
    int as_uint, as_int, as_float; /* 1: possible */
} value_case;

static const value_case value_cases[] = {
    {"u_small", G_U32, 0, 7, 1, 1, 1},
    {"u_max", G_U64, 0, UINT64_MAX, 1, 0, 0},
    {"u_2_63", G_U64, 0, 1ull << 63, 1, 0, 1},
    {"u_53", G_U64, 0, (1ull << 53) + 1, 1, 1, 0},
    {"u_near", G_U64, 0, UINT64_MAX - 1023, 1, 0, 0},
    {"u_top", G_U64, 0, UINT64_MAX - 2047, 1, 0, 1},
    {"i_minus", G_I64, 0, (uint64_t)-5, 0, 1, 1},
    {"i_zero", G_I64, 0, 0, 1, 1, 1},
    {"i_max", G_I64, 0, INT64_MAX, 1, 1, 0},
    {"i_min", G_I64, 0, 1ull << 63, 0, 1, 1},
    {"f_whole", G_F64, 3.0, 0, 1, 1, 1},
    {"f_half", G_F64, 3.5, 0, 0, 0, 1},
    {"f_minus", G_F64, -3.0, 0, 0, 1, 1},
    {"f_zero", G_F64, -0.0, 0, 1, 1, 1},
    {"f_2_63", G_F64, 9223372036854775808.0, 0, 1, 0, 1},
    {"f_2_64", G_F64, 18446744073709551616.0, 0, 0, 0, 1},
    {"f_minus_2_63", G_F64, -9223372036854775808.0, 0, 0, 1, 1},
    {"f_inf", G_F64, INFINITY, 0, 0, 0, 1},
    {"f_nan", G_F64, NAN, 0, 0, 0, 1},
};

static void check_value(const spec_tensors *f, const value_case *c) {
    uint64_t u = 99;
    int64_t i = 99;
    double x = 99;
    int b = 99;
    const char *s = "";
    size_t n = 99;
    const spec_meta *m = spec_tensors_meta(f, c->key);
    int err = spec_tensors_uint(f, c->key, &u);
    if (err != (c->as_uint ? SPEC_OK : SPEC_ERR_INVALID)) fail_msg("%s as uint: %d", c->key, err);
    err = spec_meta_int(m, 0, &i);
    if (err != (c->as_int ? SPEC_OK : SPEC_ERR_INVALID)) fail_msg("%s as int: %d", c->key, err);
    err = spec_tensors_float(f, c->key, &x);
    if (err != (c->as_float ? SPEC_OK : SPEC_ERR_INVALID)) fail_msg("%s as float: %d", c->key, err);
    assert_int_equal(spec_tensors_bool(f, c->key, &b), SPEC_ERR_INVALID);
    assert_int_equal(spec_meta_string(m, 0, &s, &n), SPEC_ERR_INVALID);
    if (!c->as_uint) assert_int_equal(u, 99);
    if (!c->as_int) assert_int_equal(i, 99);
    if (!c->as_float) assert_true(x == 99);
    if (c->as_uint && c->as_float) assert_true((double)u == x);
    if (c->as_int && c->as_float) assert_true((double)i == x);
    assert_true(b == 99 && n == 99);
}

static void test_conversions(void **state) {
    enum { N = sizeof value_cases / sizeof *value_cases };
    support_file *x = *state;
    bytes b = {0};
    uint64_t u;
    double d;
    int truth;
    gguf_header(&b, 3, 0, N + 3);
    for (size_t i = 0; i < N; i++) {
        const value_case *c = &value_cases[i];
        gguf_key(&b, c->key, c->type);
        bytes_add(&b, c->type == G_F64 ? (const void *)&c->x : (const void *)&c->bits,
                  c->type == G_U32 ? 4 : 8);
    }
    gguf_key(&b, "bool", G_BOOL);
    bytes_u8(&b, 1);
    gguf_text(&b, "text", "1");
    gguf_array(&b, "array", G_U8, 2);
    bytes_add(&b, "\5\6", 2);
    support_write_file(x->path, b.data, b.n);
    spec_tensors *f = must_open(x->path, NULL);
    for (size_t i = 0; i < N; i++) check_value(f, &value_cases[i]);
    assert_int_equal(spec_tensors_uint(f, "bool", &u), SPEC_ERR_INVALID);
    assert_int_equal(spec_tensors_uint(f, "text", &u), SPEC_ERR_INVALID);
    assert_int_equal(spec_tensors_uint(f, "array", &u), SPEC_ERR_INVALID);
    assert_int_equal(spec_tensors_float(f, "array", &d), SPEC_ERR_INVALID);
    assert_int_equal(spec_tensors_bool(f, "array", &truth), SPEC_ERR_INVALID);
    assert_int_equal(spec_tensors_uint(f, "none", &u), SPEC_ERR_NOT_FOUND);
    assert_int_equal(spec_tensors_float(f, "none", &d), SPEC_ERR_NOT_FOUND);
    assert_int_equal(spec_tensors_bool(f, "none", &truth), SPEC_ERR_NOT_FOUND);
    assert_int_equal(spec_meta_uint(NULL, 0, &u), SPEC_ERR_NOT_FOUND);
    assert_int_equal(spec_meta_uint(spec_tensors_meta(f, "array"), 1, &u), SPEC_OK);
    assert_int_equal(u, 6);
    assert_int_equal(spec_meta_uint(spec_tensors_meta(f, "array"), 2, &u), SPEC_ERR_INVALID);
    spec_tensors_free(f);
    bytes_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_foreign, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_random_content, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_no_file, support_file_set_up, support_file_tear_down),
        cmocka_unit_test(test_long_path),
        cmocka_unit_test_setup_teardown(test_split, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_bad_splits, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_conversions, support_file_set_up, support_file_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

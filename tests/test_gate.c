/* SPDX-License-Identifier: MIT */
/* The golden gate: comparing rows, judging positions, reading recorded logits and ids. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gate.h"
#include "logits.h"
#include "support.h"

static bool near(double a, double b) { return fabs(a - b) < 1e-12; }

/* ---- arithmetic ---------------------------------------------------------- */

static void test_compare(void **state) {
    (void)state;
    const float a[4] = {1, 4, -2, 3}, b[4] = {1, 3, -2, 3.5f}, none[4] = {0};
    gate_position p = gate_compare(a, b, 4);
    assert_int_equal(p.recorded, 1);
    assert_int_equal(p.here, 3);
    assert_true(near(p.difference, 1));
    assert_true(near(p.margin, 1));
    assert_true(near(p.cosine, (1 + 12 + 4 + 10.5) / sqrt(30) / sqrt(1 + 9 + 4 + 12.25)));
    p = gate_compare(a, a, 4);
    assert_true(near(p.cosine, 1) && p.difference == 0 && p.recorded == p.here);
    p = gate_compare(a, none, 4);
    assert_true(p.cosine == 0 && p.here == 0);
    const float wild[4] = {1, INFINITY, 0, 0};
    p = gate_compare(a, wild, 4);
    assert_true(p.cosine == 0 && isinf(p.difference));
}

/* The lowest token of the largest logit; the margin of a tie is none. */
static void test_margin(void **state) {
    (void)state;
    static const struct {
        float x[4];
        spec_token token;
        double margin;
    } t[] = {
        {{5, 1, 2, 3}, 0, 2}, {{3, 5, 2, 1}, 1, 2},     {{1, 2, 3, 5}, 3, 2}, {{5, 5, 1, 1}, 0, 0},
        {{1, 5, 2, 5}, 1, 0}, {{-4, -1, -3, -2}, 1, 1}, {{7, 7, 7, 7}, 0, 0}, {{0, -1, -1, -0.5f}, 0, 0.5},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        gate_position p = gate_compare(t[i].x, t[i].x, 4);
        assert_int_equal(p.recorded, t[i].token);
        assert_int_equal(p.here, t[i].token);
        assert_true(near(p.margin, t[i].margin));
    }
    const float one = 3;
    assert_true(isinf(gate_compare(&one, &one, 1).margin));
}

static void test_judge(void **state) {
    (void)state;
    gate_limits l = {.min_cosine = 0.97, .margin_factor = 2, .max_difference = INFINITY};
    gate_position p[4] = {
        {.cosine = 1.00, .difference = 0.1, .margin = 3.0, .recorded = 5, .here = 5},
        {.cosine = 0.98, .difference = 0.5, .margin = 0.9, .recorded = 5, .here = 6}, /* a near tie */
        {.cosine = 0.99, .difference = 0.2, .margin = 1.0, .recorded = 7, .here = 7},
        {.cosine = 1.00, .difference = 0.0, .margin = 1.1, .recorded = 8, .here = 8},
    };
    gate_result r = gate_judge(p, 4, &l);
    assert_true(gate_passed(&r));
    assert_true(near(r.min_cosine, 0.98) && r.worst_cosine == 1);
    assert_true(near(r.mean_cosine, 3.97 / 4) && near(r.mean_difference, 0.2));
    assert_true(near(r.max_difference, 0.5) && r.worst_difference == 1);
    assert_true(r.equal == 3 && r.must_equal == 2 && r.unequal == 0);
    p[3].here = 9; /* its margin exceeds twice the largest difference of all */
    r = gate_judge(p, 4, &l);
    assert_true(!gate_passed(&r) && r.argmax_missed && r.unequal == 1 && !r.cosine_missed);
    l.margin_factor = 3;
    r = gate_judge(p, 4, &l);
    assert_true(gate_passed(&r) && r.must_equal == 1);
    l.min_cosine = 0.985;
    r = gate_judge(p, 4, &l);
    assert_true(!gate_passed(&r) && r.cosine_missed && !r.argmax_missed);
    l.min_cosine = 0;
    l.max_difference = 0.4;
    r = gate_judge(p, 4, &l);
    assert_true(!gate_passed(&r) && r.difference_missed);
    l.max_difference = 0.5;
    r = gate_judge(p, 4, &l);
    assert_true(gate_passed(&r));
    l.margin_factor = 0;
    r = gate_judge(p, 4, &l);
    assert_true(r.must_equal == 4 && r.unequal == 2);
}

/* ---- ids ----------------------------------------------------------------- */

static void reads_ids(const char *text, size_t n, const spec_token *expected) {
    spec_token *id = NULL;
    size_t got = 0;
    spec_message why = {""};
    support_write_file(support_at("ids"), text, strlen(text));
    if (logits_read_ids(&id, &got, support_at("ids"), &why) != SPEC_OK) fail_msg("%s: %s", text, why.text);
    assert_int_equal(got, n);
    assert_memory_equal(id, expected, n * sizeof *id);
    free(id);
}

static void refuses_ids(const char *text, size_t n, const char *said) {
    spec_token *id = NULL;
    spec_message why = {""};
    support_write_file(support_at("ids"), text, n);
    assert_int_equal(logits_read_ids(&id, &n, support_at("ids"), &why), SPEC_ERR_CORRUPT);
    assert_null(id);
    if (!strstr(why.text, said)) fail_msg("no \"%s\" in: %s", said, why.text);
}

static void test_ids(void **state) {
    (void)state;
    const spec_token three[] = {1, 289, 2147483647};
    reads_ids("1 289 2147483647\n", 3, three);
    reads_ids("1\r\n289\r\n2147483647", 3, three);
    reads_ids("[1, 289, 2147483647]\n", 3, three);
    reads_ids("0001,289,\t2147483647", 3, three);
    refuses_ids("", 0, "expected token ids, found none");
    refuses_ids(" \n", 2, "found none");
    refuses_ids("1 -2", 4, "token 1: expected an id");
    refuses_ids("1 2 3.5", 7, "token 2: expected an id");
    refuses_ids("1 x", 3, "token 1: expected an id");
    refuses_ids("2147483648", 10, "token 0: expected an id");
    refuses_ids("99999999999999999999999", 23, "token 0");
    refuses_ids("1 2\0 3", 6, "expected token ids, as text");
    refuses_ids("\x93NUMPY\x01", 7, "ends within the .npy header");
    spec_token *id = NULL;
    size_t n;
    spec_message why = {""};
    assert_true(logits_read_ids(&id, &n, support_at("none"), &why) != SPEC_OK);
    assert_non_null(strstr(why.text, "none: cannot open"));
}

/* ---- logits -------------------------------------------------------------- */

typedef struct part {
    const char *name;
    spec_type type;
    uint32_t n_dims;
    uint64_t dim[2];
    const void *data;
    size_t bytes;
} part;

static void write_parts(const part *p, size_t n) {
    spec_writer *w;
    spec_message why = {""};
    if (spec_writer_new(&w, support_at("l.safetensors"), SPEC_FORMAT_SAFETENSORS, NULL, &why))
        fail_msg("%s", why.text);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(spec_writer_tensor(w, p[i].name, p[i].type, p[i].n_dims, p[i].dim), SPEC_OK);
    for (size_t i = 0; i < n; i++) assert_int_equal(spec_writer_data(w, p[i].data, p[i].bytes), SPEC_OK);
    if (spec_writer_finish(w, &why)) fail_msg("%s", why.text);
}

static const float rows[6] = {1, 2, 3, -4, 5.5f, 6};
static const int32_t narrow[2] = {7, 8};
static const int64_t wide[2] = {7, 8};

static void reads_rows(const char *name, bool tokens) {
    logits l;
    float row[3];
    spec_message why = {""};
    if (logits_open(&l, support_at(name), &why) != SPEC_OK) fail_msg("%s", why.text);
    assert_true(l.n == 2 && l.vocab == 3);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(logits_row(&l, i, row, &why), SPEC_OK);
        assert_memory_equal(row, rows + 3 * i, sizeof row);
    }
    if (tokens) assert_true(l.token && l.token[0] == 7 && l.token[1] == 8);
    if (!tokens) assert_null(l.token);
    logits_close(&l);
}

static void refuses_parts(const part *p, size_t n, const char *said) {
    logits l;
    spec_message why = {""};
    write_parts(p, n);
    assert_int_equal(logits_open(&l, support_at("l.safetensors"), &why), SPEC_ERR_CORRUPT);
    if (!strstr(why.text, said)) fail_msg("no \"%s\" in: %s", said, why.text);
}

static void test_safetensors(void **state) {
    (void)state;
    uint16_t half[6];
    assert_int_equal(spec_type_from_float(SPEC_TYPE_F16, rows, half, 6), SPEC_OK);
    part p[3] = {{"logits", SPEC_TYPE_F32, 2, {2, 3}, rows, sizeof rows},
                 {"tokens", SPEC_TYPE_I32, 1, {2}, narrow, sizeof narrow},
                 {"more", SPEC_TYPE_F32, 2, {3, 2}, rows, sizeof rows}};
    write_parts(p, 3);
    reads_rows("l.safetensors", true);
    p[1] = (part){"tokens", SPEC_TYPE_I64, 1, {2}, wide, sizeof wide};
    write_parts(p, 2);
    reads_rows("l.safetensors", true);
    p[0] = (part){"x", SPEC_TYPE_F16, 2, {2, 3}, half, sizeof half}; /* the only one of two dimensions */
    write_parts(p, 2);
    reads_rows("l.safetensors", true);
    write_parts(p, 1);
    reads_rows("l.safetensors", false);
    refuses_parts((part[]){p[0], p[2]}, 2, "expected logits: a tensor called \"logits\"");
    refuses_parts(p + 1, 1, "expected logits");
    refuses_parts((part[]){{"logits", SPEC_TYPE_I32, 2, {2, 1}, narrow, sizeof narrow}}, 1, "of floats");
    refuses_parts((part[]){{"logits", SPEC_TYPE_F32, 1, {6}, rows, sizeof rows}}, 1, "of floats");
    refuses_parts((part[]){p[0], {"tokens", SPEC_TYPE_I32, 1, {1}, narrow, 4}}, 2, "I32 or I64 of shape (2)");
    refuses_parts((part[]){p[0], {"tokens", SPEC_TYPE_F32, 1, {2}, rows, 8}}, 2, "I32 or I64 of shape (2)");
    refuses_parts((part[]){p[0], {"tokens", SPEC_TYPE_I32, 1, {2}, (int32_t[]){1, -1}, 8}}, 2,
                  "token 1: expected");
    refuses_parts((part[]){p[0], {"tokens", SPEC_TYPE_I64, 1, {2}, (int64_t[]){1ll << 31, 1}, 16}}, 2,
                  "token 0");
}

/* The header of a .npy file as short as may be. */
static void write_npy(const char *descr, const char *shape, const void *data, size_t bytes) {
    char file[400];
    int n = snprintf(file + 10, 200, "{'descr': '%s', 'fortran_order': False, 'shape': %s}\n", descr, shape);
    memcpy(file, "\x93NUMPY\x01", 8);
    file[8] = (char)n;
    file[9] = 0;
    memcpy(file + 10 + n, data, bytes);
    support_write_file(support_at("l.npy"), file, (size_t)(10 + n) + bytes);
}

static void test_npy(void **state) {
    (void)state;
    logits l;
    float row[3];
    spec_message why = {""};
    double twice[6];
    for (int i = 0; i < 6; i++) twice[i] = rows[i];
    write_npy("<f4", "(2, 3)", rows, sizeof rows);
    reads_rows("l.npy", false);
    write_npy("<f8", "(2, 3)", twice, sizeof twice);
    reads_rows("l.npy", false);
    write_npy("<f4", "(6,)", rows, sizeof rows);
    assert_int_equal(logits_open(&l, support_at("l.npy"), &why), SPEC_ERR_CORRUPT);
    assert_non_null(strstr(why.text, "floats of shape (tokens, vocabulary)"));
    write_npy("<i4", "(2, 3)", rows, sizeof rows);
    assert_int_equal(logits_open(&l, support_at("l.npy"), &why), SPEC_ERR_CORRUPT);
    write_npy("<f4", "(0, 3)", rows, 0);
    assert_int_equal(logits_open(&l, support_at("l.npy"), &why), SPEC_ERR_CORRUPT);
    assert_non_null(strstr(why.text, "empty"));
    const float wild[3] = {1, NAN, 2};
    write_npy("<f4", "(1, 3)", wild, sizeof wild);
    assert_int_equal(logits_open(&l, support_at("l.npy"), &why), SPEC_OK);
    assert_int_equal(logits_row(&l, 0, row, &why), SPEC_ERR_CORRUPT);
    assert_non_null(strstr(why.text, "position 0, token 1"));
    logits_close(&l);
    spec_token *id = NULL;
    size_t n = 0;
    write_npy("<i8", "(2,)", wide, sizeof wide);
    assert_int_equal(logits_read_ids(&id, &n, support_at("l.npy"), &why), SPEC_OK);
    assert_true(n == 2 && id[0] == 7 && id[1] == 8);
    free(id);
    id = NULL;
    write_npy("<i4", "(2,)", (int32_t[]){3, -3}, 8);
    assert_int_equal(logits_read_ids(&id, &n, support_at("l.npy"), &why), SPEC_ERR_CORRUPT);
    assert_non_null(strstr(why.text, "token 1"));
    write_npy("<f4", "(6,)", rows, sizeof rows);
    assert_int_equal(logits_read_ids(&id, &n, support_at("l.npy"), &why), SPEC_ERR_CORRUPT);
    assert_null(id);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare), cmocka_unit_test(test_margin),      cmocka_unit_test(test_judge),
        cmocka_unit_test(test_ids),     cmocka_unit_test(test_safetensors), cmocka_unit_test(test_npy),
    };
    return cmocka_run_group_tests(tests, support_at_set_up, support_at_tear_down);
}

/* SPDX-License-Identifier: MIT */
/*
 * safetensors: one file, an index of shards, a folder with its config.json; and
 * all of them damaged.
 */
#include "tensor_bytes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct fixture {
    support_tmp tmp;
    char path[256], folder[256];
} fixture;

static int set_up(void **state) {
    static fixture x;
    support_tmp_make(&x.tmp);
    support_tmp_path(&x.tmp, "model.safetensors", x.path, sizeof x.path);
    support_tmp_path(&x.tmp, "", x.folder, sizeof x.folder);
    *state = &x;
    return 0;
}

static int tear_down(void **state) {
    support_tmp_remove(&((fixture *)*state)->tmp);
    return 0;
}

static void write_text(const fixture *x, const char *name, const char *text) {
    char path[256];
    support_write_file(support_tmp_path(&x->tmp, name, path, sizeof path), text, strlen(text));
}

/* A file with this header and n bytes of data. */
static void write_tensors(const fixture *x, const char *name, const char *header, size_t n) {
    bytes b = {0};
    char path[256];
    safetensors_file(&b, header, n);
    support_write_file(support_tmp_path(&x->tmp, name, path, sizeof path), b.data, b.n);
    bytes_free(&b);
}

/* Opening `name` in the folder, "" for itself, fails so, and says all of `says` ('|' between). */
static void refuse(const fixture *x, const char *name, int expected, const char *says) {
    char path[256], part[128];
    spec_tensors *f = NULL;
    spec_message why = {{0}};
    int err = spec_tensors_open(&f, support_tmp_path(&x->tmp, name, path, sizeof path), NULL, &why);
    if (err != expected) fail_msg("%d, expected %d: \"%s\"", err, expected, why.text);
    assert_null(f);
    while (*says) {
        size_t n = strcspn(says, "|");
        snprintf(part, sizeof part, "%.*s", (int)n, says);
        if (!strstr(why.text, part)) fail_msg("\"%s\", expected \"%s\" in it", why.text, part);
        says += n + (says[n] == '|');
    }
}

static void check_text(const spec_tensors *f, const char *key, const char *text) {
    const char *s = NULL;
    size_t n = 0;
    assert_int_equal(spec_meta_string(spec_tensors_meta(f, key), 0, &s, &n), SPEC_OK);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(s, text, n);
}

/* ---- one file ------------------------------------------------------------ */

static const char sample[] = "{\"__metadata__\":{\"format\":\"pt\",\"a.b\":\"x\\ny\"},"
                             "\"b\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[24,30]},"
                             "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                             "\"na\xc3\xafve\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[30,31]},"
                             "\"none\":{\"dtype\":\"I64\",\"shape\":[0,7],\"data_offsets\":[31,31]}}   \n";
enum { SAMPLE_DATA = 31 };

static void test_sample(void **state) {
    fixture *x = *state;
    write_tensors(x, "model.safetensors", sample, SAMPLE_DATA);
    spec_tensors *f = must_open(x->path, NULL);
    assert_string_equal(spec_tensors_format(f), "safetensors");
    assert_int_equal(spec_tensors_count(f), 4);
    assert_int_equal(spec_tensors_meta_count(f), 2);
    check_text(f, "format", "pt");
    check_text(f, "a.b", "x\ny");
    const spec_tensor *t = spec_tensors_find(f, "a");
    assert_int_equal(t->type, SPEC_TYPE_F32);
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dim[0], 2);
    assert_int_equal(t->dim[1], 3);
    assert_int_equal(((const uint8_t *)t->data)[23], 23);
    t = spec_tensors_find(f, "na\xc3\xafve");
    assert_int_equal(t->n_dims, 0);
    assert_int_equal(t->bytes, 1);
    assert_int_equal(*(const uint8_t *)t->data, 30);
    assert_int_equal(spec_tensors_find(f, "none")->bytes, 0);
    spec_tensors_free(f);
}

static void test_types(void **state) {
    static const char *const names[] = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"};
    static const int sizes[] = {8, 4, 2, 2, 8, 4, 2, 1, 1, 1};
    fixture *x = *state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char header[128];
        snprintf(header, sizeof header, "{\"t\":{\"dtype\":\"%s\",\"shape\":[5],\"data_offsets\":[0,%d]}}",
                 names[i], 5 * sizes[i]);
        write_tensors(x, "model.safetensors", header, 5 * (size_t)sizes[i]);
        spec_tensors *f = must_open(x->path, NULL);
        assert_string_equal(spec_type_name(spec_tensors_at(f, 0)->type), names[i]);
        spec_tensors_free(f);
    }
}

static void test_truncated(void **state) {
    fixture *x = *state;
    bytes b = {0};
    safetensors_file(&b, sample, SAMPLE_DATA);
    check_truncations(x->path, &b);
    bytes_free(&b);
}

static void test_flipped(void **state) {
    fixture *x = *state;
    bytes b = {0};
    safetensors_file(&b, sample, SAMPLE_DATA);
    assert_true(check_flips(x->path, &b, 8 + strlen(sample)) > 5 * strlen(sample));
    bytes_free(&b);
}

typedef struct header_case {
    const char *header;
    size_t n;
    int err;
    const char *says;
} header_case;

#define T(dtype, shape, offsets) "\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets

static const header_case header_cases[] = {
    {"{}", 0, SPEC_OK, ""},
    {"{}", 1, SPEC_ERR_CORRUPT, "the tensors end at byte 0 of the data, expected 1"},
    {"{\"t\":{" T("F32", "[2]", "[0,8]") "}}", 9, SPEC_ERR_CORRUPT, "end at byte 8 of the data, expected 9"},
    {"{\"t\":{" T("F32", "[2]", "[0,8]") "}}", 7, SPEC_ERR_CORRUPT, "tensor t ends at byte 8"},
    {"{\"t\":{" T("F32", "[2]", "[1,9]") "}}", 9, SPEC_ERR_CORRUPT, "tensor t begins at byte 1"},
    {"{\"t\":{" T("F32", "[2]", "[0,8]") "},\"u\":{" T("F32", "[1]", "[4,8]") "}}", 8, SPEC_ERR_CORRUPT,
     "tensors t and u overlap"},
    {"{\"t\":{" T("F32", "[2]", "[0,8]") "},\"u\":{" T("U8", "[0]", "[4,4]") "}}", 8, SPEC_ERR_CORRUPT,
     "overlap"},
    {"{\"t\":{" T("F32", "[1]", "[0,4]") "},\"u\":{" T("F32", "[1]", "[8,12]") "}}", 12, SPEC_ERR_CORRUPT,
     "tensor u begins at byte 8 of the data, expected 4"},
    {"{\"t\":{" T("F32", "[2]", "[0,7]") "}}", 7, SPEC_ERR_CORRUPT, "tensor t: data_offsets span 7 bytes"},
    {"{\"t\":{" T("F32", "[2]", "[8,0]") "}}", 8, SPEC_ERR_CORRUPT, "data_offsets are not"},
    {"{\"t\":{" T("F32", "[2]", "[-8,0]") "}}", 8, SPEC_ERR_CORRUPT, "data_offsets are not"},
    {"{\"t\":{" T("F32", "[2]", "[0]") "}}", 8, SPEC_ERR_CORRUPT, "data_offsets are not"},
    {"{\"t\":{" T("F32", "[2]", "[0,8,8]") "}}", 8, SPEC_ERR_CORRUPT, "data_offsets are not"},
    {"{\"t\":{" T("F32", "[2]", "[0,8.0]") "}}", 8, SPEC_ERR_CORRUPT, "data_offsets are not"},
    {"{\"t\":{" T("F32", "[2]", "\"0,8\"") "}}", 8, SPEC_ERR_CORRUPT, "data_offsets are not"},
    {"{\"t\":{" T("F32", "2", "[0,8]") "}}", 8, SPEC_ERR_CORRUPT, "tensor t has no shape"},
    {"{\"t\":{" T("F32", "[-2]", "[0,8]") "}}", 8, SPEC_ERR_CORRUPT, "a dimension is no integer"},
    {"{\"t\":{" T("F32", "[2.0]", "[0,8]") "}}", 8, SPEC_ERR_CORRUPT, "a dimension is no integer"},
    {"{\"t\":{" T("F32", "[4611686018427387904,2]", "[0,8]") "}}", 8, SPEC_ERR_CORRUPT,
     "its shape and type do not"},
    {"{\"t\":{" T("F32", "[4294967296,4294967296,0]", "[0,0]") "}}", 0, SPEC_ERR_CORRUPT, "do not"},
    {"{\"t\":{" T("F32", "[1,1,1,1,2]", "[0,8]") "}}", 8, SPEC_ERR_UNSUPPORTED, "tensor t has 5 dimensions"},
    {"{\"t\":{" T("F8_E4M3", "[8]", "[0,8]") "}}", 8, SPEC_ERR_UNSUPPORTED, "tensor t is of type F8_E4M3"},
    {"{\"t\":{" T("U64", "[1]", "[0,8]") "}}", 8, SPEC_ERR_UNSUPPORTED, "supported are F64, F32, F16, BF16"},
    {"{\"t\":{" T("Q8_0", "[32]", "[0,34]") "}}", 34, SPEC_ERR_UNSUPPORTED, "type Q8_0"},
    {"{\"t\":{" T("f32", "[2]", "[0,8]") "}}", 8, SPEC_ERR_UNSUPPORTED, "type f32"},
    {"{\"t\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, SPEC_ERR_CORRUPT, "tensor t has no dtype"},
    {"{\"t\":[1]}", 0, SPEC_ERR_CORRUPT, "tensor t"},
    {"{\"\":{" T("F32", "[2]", "[0,8]") "}}", 8, SPEC_ERR_CORRUPT, "the name of tensor 1"},
    {"{\"a\\u0007\":{" T("F32", "[2]", "[0,8]") "}}", 8, SPEC_ERR_CORRUPT, "the name of tensor 1"},
    {"{\"a\\u0000\":{" T("F32", "[2]", "[0,8]") "}}", 8, SPEC_ERR_CORRUPT, "its header is no JSON"},
    {"{\"t\":{" T("F32", "[1]", "[0,4]") "},\"t\":{" T("F32", "[1]", "[4,8]") "}}", 8, SPEC_ERR_CORRUPT,
     "duplicate"},
    {"{\"__metadata__\":[]}", 0, SPEC_ERR_CORRUPT, "__metadata__ is no object"},
    {"{\"__metadata__\":{\"k\":1}}", 0, SPEC_ERR_CORRUPT, "the value of k is no string"},
    {"{\"t\":1e999}", 0, SPEC_ERR_CORRUPT, "its header is no JSON object: real number overflow"},
    {"{\"t\":NaN}", 0, SPEC_ERR_CORRUPT, "its header is no JSON"},
    {"{\"t\":99999999999999999999}", 0, SPEC_ERR_CORRUPT, "its header is no JSON"},
    {"{\"t\xff\":1}", 0, SPEC_ERR_CORRUPT, "its header is no JSON"},
    {"{\"a\":{}", 0, SPEC_ERR_CORRUPT, "its header is no JSON"},
    {"{ } x", 0, SPEC_ERR_CORRUPT, "its header is no JSON"},
};

static void test_headers(void **state) {
    fixture *x = *state;
    for (size_t i = 0; i < sizeof header_cases / sizeof *header_cases; i++) {
        bytes b = {0};
        safetensors_file(&b, header_cases[i].header, header_cases[i].n);
        expect_open(x->path, &b, header_cases[i].err, header_cases[i].says);
        bytes_free(&b);
    }
}

/* The length in front of the header. */
static void test_lengths(void **state) {
    static const struct {
        uint64_t n;
        const char *says;
    } cases[] = {
        {3, "but the file ends at 10"},
        {1ull << 60, "its header claims 1152921504606846976 bytes, expected at most"},
        {UINT64_MAX, "its header claims"},
        {0, "its header is no JSON"},
        {1, "its header is no JSON"},
    };
    fixture *x = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes b = {0};
        bytes_u64(&b, cases[i].n);
        bytes_text(&b, "{}");
        expect_open(x->path, &b, SPEC_ERR_CORRUPT, cases[i].says);
        bytes_free(&b);
    }
}

/* JSON deeper than any stack is refused by its reader. */
static void test_deep_header(void **state) {
    fixture *x = *state;
    bytes json = {0}, b = {0};
    bytes_text(&json, "{\"a\":");
    bytes_fill(&json, '[', 100000);
    bytes_u8(&json, 0);
    safetensors_file(&b, (const char *)json.data, 0);
    expect_open(x->path, &b, SPEC_ERR_CORRUPT, "its header is no JSON");
    bytes_free(&json);
    bytes_free(&b);
}

/* ---- config.json --------------------------------------------------------- */

static const char config[] =
    "{\"model_type\":\"llama\",\"hidden_size\":64,\"eps\":1e-05,\"tied\":false,\"none\":null,\"minus\":-3,"
    "\"rope_scaling\":{\"factor\":8.0,\"deep\":{\"x\":1}},\"empty\":{},\"list\":[],"
    "\"eos\":[1,2],\"mixed\":[1,2.5],\"mixed2\":[2.5,1],\"names\":[\"a\",\"\",\"bc\"],\"flags\":[true,false],"
    "\"odd\":[1,\"x\",[2,3],{\"y\":true}],\"huge\":1e300}";

static void check_config(const spec_tensors *f) {
    uint64_t u = 0;
    int64_t i = 0;
    double d = 0;
    int truth = 7;
    const char *s;
    size_t n;
    check_text(f, "config.model_type", "llama");
    assert_int_equal(spec_tensors_uint(f, "config.hidden_size", &u), SPEC_OK);
    assert_int_equal(u, 64);
    assert_int_equal(spec_tensors_float(f, "config.eps", &d), SPEC_OK);
    assert_true(d == 1e-05);
    assert_int_equal(spec_tensors_bool(f, "config.tied", &truth), SPEC_OK);
    assert_int_equal(truth, 0);
    assert_null(spec_tensors_meta(f, "config.none"));
    assert_int_equal(spec_meta_int(spec_tensors_meta(f, "config.minus"), 0, &i), SPEC_OK);
    assert_int_equal(i, -3);
    assert_int_equal(spec_tensors_float(f, "config.rope_scaling.factor", &d), SPEC_OK);
    assert_true(d == 8);
    assert_int_equal(spec_tensors_uint(f, "config.rope_scaling.deep.x", &u), SPEC_OK);
    assert_int_equal(spec_tensors_meta(f, "config.list")->n, 0);
    assert_int_equal(spec_meta_uint(spec_tensors_meta(f, "config.eos"), 1, &u), SPEC_OK);
    assert_int_equal(u, 2);
    assert_int_equal(spec_meta_float(spec_tensors_meta(f, "config.mixed"), 0, &d), SPEC_OK);
    assert_true(d == 1);
    assert_int_equal(spec_meta_float(spec_tensors_meta(f, "config.mixed"), 1, &d), SPEC_OK);
    assert_true(d == 2.5);
    assert_int_equal(spec_meta_float(spec_tensors_meta(f, "config.mixed2"), 0, &d), SPEC_OK);
    assert_true(d == 2.5);
    assert_int_equal(spec_meta_string(spec_tensors_meta(f, "config.names"), 2, &s, &n), SPEC_OK);
    assert_int_equal(n, 2);
    assert_memory_equal(s, "bc", 2);
    assert_int_equal(spec_meta_bool(spec_tensors_meta(f, "config.flags"), 0, &truth), SPEC_OK);
    assert_int_equal(truth, 1);
    assert_int_equal(spec_tensors_uint(f, "config.odd.0", &u), SPEC_OK);
    check_text(f, "config.odd.1", "x");
    assert_int_equal(spec_meta_uint(spec_tensors_meta(f, "config.odd.2"), 1, &u), SPEC_OK);
    assert_int_equal(u, 3);
    assert_int_equal(spec_tensors_bool(f, "config.odd.3.y", &truth), SPEC_OK);
    assert_null(spec_tensors_meta(f, "config.odd"));
}

static void test_config(void **state) {
    fixture *x = *state;
    char slashed[300];
    write_tensors(x, "model.safetensors", sample, SAMPLE_DATA);
    write_text(x, "config.json", config);
    snprintf(slashed, sizeof slashed, "%s//", x->tmp.path);
    const char *const ways[] = {x->path, x->tmp.path, x->folder, slashed};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        spec_tensors *f = must_open(ways[i], NULL);
        assert_string_equal(spec_tensors_path(f), ways[i]);
        check_config(f);
        check_text(f, "format", "pt");
        spec_tensors_free(f);
    }
    check_refusals(x->path);
    check_refusals(x->tmp.path);
}

/* Some say "no limit" with an integer that no machine has. */
static void test_large_integers(void **state) {
    fixture *x = *state;
    double d = 0;
    uint64_t u = 0;
    write_tensors(x, "model.safetensors", sample, SAMPLE_DATA);
    write_text(x, "config.json", "{\"limit\":1000000000000000019884624838656,\"hidden_size\":64}");
    spec_tensors *f = must_open(x->path, NULL);
    assert_int_equal(spec_tensors_float(f, "config.limit", &d), SPEC_OK);
    assert_true(d == 1e30);
    assert_int_equal(spec_tensors_uint(f, "config.limit", &u), SPEC_ERR_INVALID);
    assert_int_equal(spec_tensors_uint(f, "config.hidden_size", &u), SPEC_OK);
    assert_int_equal(u, 64);
    spec_tensors_free(f);
}

static void test_bad_configs(void **state) {
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"{\"a\":1e999}", "config.json: the file is no JSON object: real number overflow"},
        {"{\"a\":NaN}", "config.json: the file is no JSON object"},
        {"{\"a\":Infinity}", "config.json: the file is no JSON object"},
        {"[1]", "config.json: the file is no JSON object"},
        {"", "config.json: is empty"},
        {"{\"a\":1", "config.json: the file is no JSON object"},
        {"{\"a\":1,\"a\":2}", "config.json: the file is no JSON object: duplicate"},
        {"{\"a.b\":1,\"a\":{\"b\":2}}", "config.json|config.a.b is there twice"},
        {"{\"a\\u0001\":1}", "config.json|metadata entry 1 is not valid"},
    };
    fixture *x = *state;
    write_tensors(x, "model.safetensors", sample, SAMPLE_DATA);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(x, "config.json", cases[i].text);
        refuse(x, "model.safetensors", SPEC_ERR_CORRUPT, cases[i].says);
        refuse(x, "", SPEC_ERR_CORRUPT, cases[i].says);
    }
    bytes b = {0};
    for (int i = 0; i < 40; i++) bytes_text(&b, "{\"a\":");
    bytes_text(&b, "1");
    bytes_fill(&b, '}', 40);
    bytes_u8(&b, 0);
    write_text(x, "config.json", (const char *)b.data);
    refuse(x, "", SPEC_ERR_CORRUPT, "config.json: nested more than 32 deep");
    bytes_free(&b);
    bytes_text(&b, "{\"");
    bytes_fill(&b, 'k', 70000);
    bytes_text(&b, "\":1}");
    bytes_u8(&b, 0);
    write_text(x, "config.json", (const char *)b.data);
    refuse(x, "", SPEC_ERR_CORRUPT, "config.json: a key has more than 65535 bytes");
    bytes_free(&b);
}

/* Refused before it is read. */
static void test_config_too_large(void **state) {
    fixture *x = *state;
    char path[256];
    write_tensors(x, "model.safetensors", sample, SAMPLE_DATA);
    write_text(x, "config.json", "{}");
    assert_int_equal(truncate(support_tmp_path(&x->tmp, "config.json", path, sizeof path), 200 << 20), 0);
    refuse(x, "", SPEC_ERR_CORRUPT, "config.json: has 209715200 bytes, expected at most");
}

static void test_config_not_regular(void **state) {
    fixture *x = *state;
    char path[256];
    write_tensors(x, "model.safetensors", sample, SAMPLE_DATA);
    assert_int_equal(mkfifo(support_tmp_path(&x->tmp, "config.json", path, sizeof path), 0600), 0);
    refuse(x, "", SPEC_ERR_IO, "config.json: is a pipe");
}

/* ---- folders and shards -------------------------------------------------- */

static void test_folders(void **state) {
    fixture *x = *state;
    refuse(x, "", SPEC_ERR_NOT_FOUND, "a folder with 0 *.safetensors files|model.safetensors.index.json");
    write_tensors(x, "head.safetensors", sample, SAMPLE_DATA);
    write_tensors(x, "._head.safetensors", sample, SAMPLE_DATA);
    spec_tensors_free(must_open(x->tmp.path, NULL));
    check_refusals(x->tmp.path);
    write_tensors(x, "other.safetensors", "{}", 0);
    refuse(x, "", SPEC_ERR_NOT_FOUND, "a folder with 2 *.safetensors files");
    write_tensors(x, "model.safetensors", "{}", 0);
    spec_tensors *f = must_open(x->tmp.path, NULL);
    assert_int_equal(spec_tensors_count(f), 0);
    spec_tensors_free(f);
}

#define ONE(name, at) "\"" name "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":" at "}"
#define INDEX         "model.safetensors.index.json"

static void write_shards(const fixture *x) {
    write_tensors(x, "m-1.safetensors",
                  "{\"__metadata__\":{\"format\":\"pt\"}," ONE("a", "[0,4]") "," ONE("b", "[4,8]") "}", 8);
    write_tensors(
        x, "m-2.safetensors",
        "{\"__metadata__\":{\"format\":\"np\",\"k\":\"v\"}," ONE("c", "[0,4]") "," ONE("a", "[4,8]") "}", 8);
}

/* "a" is in both files: the map says which counts. */
static void test_shards(void **state) {
    fixture *x = *state;
    char path[256];
    write_shards(x);
    write_text(x, "config.json", "{\"hidden_size\":64}");
    write_text(x, INDEX,
               " \n{\"metadata\":{\"total_size\":12},\"weight_map\":{\"c\":\"m-2.safetensors\","
               "\"a\":\"m-2.safetensors\",\"b\":\"m-1.safetensors\"}}");
    for (int i = 0; i < 2; i++) {
        spec_tensors *f =
            must_open(i ? x->tmp.path : support_tmp_path(&x->tmp, INDEX, path, sizeof path), NULL);
        assert_string_equal(spec_tensors_format(f), "safetensors");
        assert_int_equal(spec_tensors_count(f), 3);
        assert_int_equal(*(const uint8_t *)spec_tensors_find(f, "a")->data, 4);
        assert_int_equal(*(const uint8_t *)spec_tensors_find(f, "b")->data, 4);
        assert_int_equal(*(const uint8_t *)spec_tensors_find(f, "c")->data, 0);
        check_text(f, "format", "np"); /* of the shard that was read first */
        check_text(f, "k", "v");
        uint64_t u = 0;
        assert_int_equal(spec_tensors_uint(f, "config.hidden_size", &u), SPEC_OK);
        spec_tensors_free(f);
    }
    check_refusals(x->tmp.path);
}

static void test_bad_shards(void **state) {
    static const struct {
        const char *index;
        int err;
        const char *says;
    } cases[] = {
        {"{\"weight_map\":{\"c\":\"m-1.safetensors\"}}", SPEC_ERR_CORRUPT,
         INDEX "|expects tensor c in m-1.safetensors"},
        {"{\"weight_map\":{\"a\":\"m-1.safetensors\",\"zz\":\"m-1.safetensors\"}}", SPEC_ERR_CORRUPT,
         "tensor zz in m-1.safetensors"},
        {"{\"weight_map\":{\"a\":\"m-3.safetensors\"}}", SPEC_ERR_NOT_FOUND,
         "m-3.safetensors: there is no such file"},
        {"{\"weight_map\":{\"a\":\"../m-1.safetensors\"}}", SPEC_ERR_CORRUPT,
         "\"../m-1.safetensors\", expected the name of a file in the same folder"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", SPEC_ERR_CORRUPT, "tensor a lies in \"/etc/passwd\""},
        {"{\"weight_map\":{\"a\":\"..\"}}", SPEC_ERR_IO, "is a directory"},
        {"{\"weight_map\":{\"a\":\"sub/m-1.safetensors\"}}", SPEC_ERR_CORRUPT, "\"sub/m-1.safetensors\""},
        {"{\"weight_map\":{\"a\":\"\"}}", SPEC_ERR_CORRUPT, "tensor a lies in \"\""},
        {"{\"weight_map\":{\"a\":1}}", SPEC_ERR_CORRUPT, "tensor a"},
        {"{\"weight_map\":{\"a\":\"" INDEX "\"}}", SPEC_ERR_CORRUPT, INDEX ": is no safetensors file"},
        {"{\"weight_map\":[]}", SPEC_ERR_CORRUPT, "has no object weight_map"},
        {"{\"a\":1}", SPEC_ERR_CORRUPT, "is JSON, but no index of safetensors"},
        {"{\"weight_map\":", SPEC_ERR_CORRUPT, "is no JSON object"},
        {"[]", SPEC_ERR_CORRUPT, INDEX},
    };
    fixture *x = *state;
    write_shards(x);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(x, INDEX, cases[i].index);
        refuse(x, INDEX, cases[i].err, cases[i].says);
        refuse(x, "", cases[i].err, cases[i].says);
    }
    write_text(x, INDEX, "{\"weight_map\":{}}");
    spec_tensors_free(must_open(x->tmp.path, NULL));
}

/* An index that a file system loop leads back to itself. */
static void test_cyclic_index(void **state) {
    fixture *x = *state;
    char path[256];
    support_tmp_path(&x->tmp, "m-1.safetensors", path, sizeof path);
    write_text(x, INDEX, "{\"weight_map\":{\"a\":\"m-1.safetensors\"}}");
    assert_int_equal(symlink(INDEX, path), 0);
    refuse(x, "", SPEC_ERR_CORRUPT, "m-1.safetensors: is no safetensors file");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("m-1.safetensors", path), 0);
    refuse(x, "", SPEC_ERR_IO, "m-1.safetensors: opening");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    refuse(x, "", SPEC_ERR_IO, "m-1.safetensors: is a directory");
}

/* ---- recorded ------------------------------------------------------------ */

static void test_golden(void **state) {
    (void)state;
    static const struct {
        const char *path;
        size_t tensors;
    } files[] = {
        {"golden/heads/attention/attention.safetensors", 18},
        {"golden/heads/eagle3/chain.safetensors", 6},
        {"golden/heads/eagle3/model.safetensors", 15},
        {"golden/heads/eagle3/prefill.safetensors", 10},
        {"golden/heads/eagle3/tree.safetensors", 17},
        {"golden/heads/eagle3/tree_round2.safetensors", 22},
        {"golden/heads/medusa/accept.safetensors", 15},
        {"golden/heads/medusa/buffers_mc_sim_7b_63.safetensors", 6},
        {"golden/heads/medusa/buffers_mc_sim_7b_63_d3.safetensors", 6},
        {"golden/heads/medusa/buffers_small.safetensors", 6},
        {"golden/heads/medusa/logits.safetensors", 5},
        {"golden/heads/medusa/medusa_lm_head.safetensors", 9},
        {"golden/heads/quant/int8.safetensors", 10},
        {"golden/heads/quant/pal2_ingroup.safetensors", 8},
        {"golden/heads/quant/pal4_outgroup.safetensors", 8},
        {"golden/heads/target/model.safetensors", 75},
        {"golden/heads/target/sequences.safetensors", 13},
        {"golden/heads/target/tree.safetensors", 25},
        {"golden/heads/target", 75},
        {"golden/heads/eagle3", 15},
        {"golden/heads/training/llama", 21},
        {"golden/heads/training/eagle3/batches.safetensors", 4},
        {"golden/heads/training/eagle3/expected.safetensors", 58},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512];
        if (!support_shared(files[i].path, path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
        spec_tensors *f = must_open(path, NULL);
        assert_int_equal(spec_tensors_count(f), files[i].tensors);
        spec_tensors_free(f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sample, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_types, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_truncated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_headers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lengths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deep_header, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_config, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large_integers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_configs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_config_too_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_config_not_regular, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_folders, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shards, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_shards, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cyclic_index, set_up, tear_down),
        cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The writers: byte for byte what the formats ask for, read back as it was
 * given, refusals that change nothing, and no trace of what was not finished.
 */
#include "tensor_bytes.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder holds `name` and nothing else; "" for nothing at all. */
static void check_only(const support_file *x, const char *name) {
    char path[256];
    support_tmp_path(&x->tmp, name, path, sizeof path);
    if (*name) {
        assert_int_equal(access(path, F_OK), 0);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(x->tmp.path), 0); /* fails unless empty */
    assert_int_equal(mkdir(x->tmp.path, 0700), 0);
}

/* ---- a script ------------------------------------------------------------ */

/* One of each metadata call; which is `step`. */
enum { META_STEPS = 10 };

static int put_meta(spec_writer *w, int step) {
    static const char *const words[] = {"one", "", "t\"wo\\\n"};
    static const size_t lengths[] = {3, 0, 6};
    static const float floats[] = {1, -0.5f, 0.1f};
    static const int32_t ints[] = {-1, 0, INT32_MAX};
    switch (step) {
    case 0: return spec_writer_meta_string(w, "general.architecture", "llama", 5);
    case 1: return spec_writer_meta_uint(w, "small", 7);
    case 2: return spec_writer_meta_uint(w, "large", 1ull << 40);
    case 3: return spec_writer_meta_float(w, "eps", 1e-5);
    case 4: return spec_writer_meta_bool(w, "yes", 5);
    case 5: return spec_writer_meta_bool(w, "no", 0);
    case 6: return spec_writer_meta_strings(w, "words", words, lengths, 3);
    case 7: return spec_writer_meta_floats(w, "floats", floats, 3);
    case 8: return spec_writer_meta_ints(w, "ints", ints, 3);
    default: return spec_writer_meta_strings(w, "none", NULL, NULL, 0);
    }
}

enum { TENSORS = 4, DATA = 12 + 6 + 0 + 24 };

static int put_tensor(spec_writer *w, int i) {
    switch (i) {
    case 0: return spec_writer_tensor(w, "a", SPEC_TYPE_F32, 1, (uint64_t[]){3});
    case 1: return spec_writer_tensor(w, "b", SPEC_TYPE_F16, 2, (uint64_t[]){1, 3});
    case 2: return spec_writer_tensor(w, "c", SPEC_TYPE_F32, 2, (uint64_t[]){0, 3});
    default: return spec_writer_tensor(w, "d\xc3\xa9", SPEC_TYPE_I32, 3, (uint64_t[]){1, 2, 3});
    }
}

/* What the script makes of a GGUF file. */
static void expected_gguf(bytes *b) {
    gguf_header(b, 3, TENSORS, META_STEPS);
    gguf_text(b, "general.architecture", "llama");
    gguf_u32(b, "small", 7);
    gguf_key(b, "large", G_U64);
    bytes_u64(b, 1ull << 40);
    gguf_key(b, "eps", G_F32);
    bytes_f32(b, 1e-5f);
    gguf_key(b, "yes", G_BOOL);
    bytes_u8(b, 1);
    gguf_key(b, "no", G_BOOL);
    bytes_u8(b, 0);
    gguf_array(b, "words", G_STRING, 3);
    gguf_string(b, "one");
    gguf_string(b, "");
    gguf_string(b, "t\"wo\\\n");
    gguf_array(b, "floats", G_F32, 3);
    bytes_f32(b, 1);
    bytes_f32(b, -0.5f);
    bytes_f32(b, 0.1f);
    gguf_array(b, "ints", G_I32, 3);
    bytes_u32(b, UINT32_MAX);
    bytes_u32(b, 0);
    bytes_u32(b, INT32_MAX);
    gguf_array(b, "none", G_STRING, 0);
    gguf_tensor(b, "a", 1, (uint64_t[]){3}, 0, 0);
    gguf_tensor(b, "b", 2, (uint64_t[]){3, 1}, 1, 32);
    gguf_tensor(b, "c", 2, (uint64_t[]){3, 0}, 0, 64);
    gguf_tensor(b, "d\xc3\xa9", 3, (uint64_t[]){3, 2, 1}, 26, 64);
    bytes_align(b, 32);
    for (int i = 0; i < DATA; i++) {
        if (i == 12 || i == 18) bytes_align(b, 32);
        bytes_u8(b, (uint8_t)i);
    }
    bytes_align(b, 32);
}

static void expected_safetensors(bytes *b) {
    bytes header = {0};
    bytes_text(
        &header,
        "{\"__metadata__\":{\"general.architecture\":\"llama\",\"small\":\"7\",\"large\":\"1099511627776\","
        "\"eps\":\"9.99999975e-6\",\"yes\":\"true\",\"no\":\"false\","
        "\"words\":\"[\\\"one\\\",\\\"\\\",\\\"t\\\\\\\"wo\\\\\\\\\\\\u000a\\\"]\","
        "\"floats\":\"[1.0,-0.5,0.100000001]\",\"ints\":\"[-1,0,2147483647]\",\"none\":\"[]\"},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},"
        "\"b\":{\"dtype\":\"F16\",\"shape\":[1,3],\"data_offsets\":[12,18]},"
        "\"c\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[18,18]},"
        "\"d\xc3\xa9\":{\"dtype\":\"I32\",\"shape\":[1,2,3],\"data_offsets\":[18,42]}}");
    while (header.n % 8) bytes_u8(&header, ' ');
    bytes_u8(&header, 0);
    safetensors_file(b, (const char *)header.data, DATA);
    bytes_free(&header);
}

static const spec_format formats[] = {SPEC_FORMAT_GGUF, SPEC_FORMAT_SAFETENSORS};

static void expected_file(bytes *b, spec_format format) {
    (format == SPEC_FORMAT_GGUF ? expected_gguf : expected_safetensors)(b);
}

static void describe(spec_writer *w) {
    for (int i = 0; i < META_STEPS; i++) assert_int_equal(put_meta(w, i), SPEC_OK);
    for (int i = 0; i < TENSORS; i++) assert_int_equal(put_tensor(w, i), SPEC_OK);
}

static void put_data(spec_writer *w, size_t piece) {
    uint8_t data[DATA];
    for (int i = 0; i < DATA; i++) data[i] = (uint8_t)i;
    for (size_t at = 0; at < DATA; at += piece) {
        size_t n = piece < DATA - at ? piece : DATA - at;
        assert_int_equal(spec_writer_data(w, data + at, n), SPEC_OK);
    }
}

/* ---- what is written ----------------------------------------------------- */

static void test_exact_bytes(void **state) {
    support_file *x = *state;
    for (int k = 0; k < 2; k++) {
        for (size_t piece = 1; piece <= DATA; piece++) {
            bytes b = {0};
            expected_file(&b, formats[k]);
            spec_writer *w = must_begin(x->path, formats[k]);
            describe(w);
            put_data(w, piece);
            must_finish(w);
            must_equal(x->path, b.data, b.n);
            bytes_free(&b);
        }
        spec_tensors_free(must_open(x->path, NULL));
        check_only(x, "model");
    }
}

static void test_empty(void **state) {
    support_file *x = *state;
    for (int k = 0; k < 2; k++) {
        for (int with_meta = 0; with_meta < 2; with_meta++) {
            spec_writer *w = must_begin(x->path, formats[k]);
            if (with_meta) assert_int_equal(put_meta(w, 0), SPEC_OK);
            must_finish(w);
            spec_tensors *f = must_open(x->path, NULL);
            assert_int_equal(spec_tensors_count(f), 0);
            assert_int_equal(spec_tensors_meta_count(f), with_meta);
            spec_tensors_free(f);
        }
    }
}

/* Random shapes of every type, in pieces of any size, some beyond the buffer. */
static void round_trip(const support_file *x, spec_format format, support_rng *rng) {
    enum { N = 40 };
    size_t total = 0, at = 0;
    spec_writer *w = must_begin(x->path, format);
    for (unsigned i = 0; i < N; i++) {
        char name[32];
        spec_type type = (spec_type)(i % SPEC_TYPES);
        bool quantised = spec_type_block(type) > 1;
        uint64_t dim[4] = {support_rng_below(rng, 4), 1 + support_rng_below(rng, 5),
                           1 + support_rng_below(rng, 9),
                           spec_type_block(type) * (1 + support_rng_below(rng, i == 7 ? 40000 : 20))};
        uint32_t n_dims = 1 + support_rng_below(rng, 4);
        uint64_t *d = dim + 4 - n_dims;
        snprintf(name, sizeof name, "tensor.%u", i);
        int err = spec_writer_tensor(w, name, type, n_dims, d);
        bool has = format == SPEC_FORMAT_GGUF ? type != SPEC_TYPE_U8 && type != SPEC_TYPE_BOOL : !quantised;
        assert_int_equal(err, has ? SPEC_OK : SPEC_ERR_UNSUPPORTED);
        if (err) continue;
        size_t n = spec_type_block_bytes(type);
        for (uint32_t k = 0; k < n_dims; k++) n *= k == n_dims - 1 ? d[k] / spec_type_block(type) : d[k];
        total += n;
    }
    uint8_t *data = malloc(total + 1);
    assert_non_null(data);
    for (size_t i = 0; i < total; i++) data[i] = (uint8_t)support_rng_next(rng);
    while (at < total) {
        size_t n = support_rng_below(rng, support_rng_chance(rng, 0.5) ? 1000 : 600000);
        if (n > total - at) n = total - at;
        assert_int_equal(spec_writer_data(w, data + at, n), SPEC_OK);
        at += n;
    }
    assert_int_equal(spec_writer_data(w, data, 1), SPEC_ERR_INVALID);
    must_finish(w);
    spec_tensors *f = must_open(x->path, NULL);
    for (size_t i = at = 0; i < spec_tensors_count(f); i++) {
        const spec_tensor *t = spec_tensors_at(f, i);
        assert_true(t->bytes <= total - at);
        if (format == SPEC_FORMAT_GGUF) assert_int_equal((uintptr_t)t->data % 32, 0);
        if (memcmp(t->data, data + at, t->bytes) != 0) fail_msg("%s differs", t->name);
        at += t->bytes;
    }
    assert_int_equal(at, total);
    spec_tensors_free(f);
    free(data);
}

static void test_round_trips(void **state) {
    support_file *x = *state;
    support_rng rng = support_rng_new(support_seed(), 72);
    for (int i = 0; i < 10; i++) round_trip(x, formats[i % 2], &rng);
}

/* ---- refusals ------------------------------------------------------------ */

static void refuse_arguments(spec_writer *w, bool gguf) {
    static const char *const bad[] = {"", "a\n", "\xff", "\xc3"};
    const char *bad_text = "\xff";
    uint64_t dim[4] = {1ull << 32, 1ull << 32, 1, 1};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(spec_writer_meta_uint(w, bad[i], 1), SPEC_ERR_INVALID);
        assert_int_equal(spec_writer_tensor(w, bad[i], SPEC_TYPE_F32, 0, NULL), SPEC_ERR_INVALID);
    }
    assert_int_equal(spec_writer_meta_uint(w, "small", 1), SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_meta_string(w, "words", "x", 1), SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_tensor(w, "a", SPEC_TYPE_F32, 0, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_tensor(w, "x", SPEC_TYPE_F32, 2, dim), SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_tensor(w, "x", SPEC_TYPE_F32, 5, dim), SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_tensor(w, "x", SPEC_TYPE_F32, 1, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_tensor(w, "x", SPEC_TYPE_I8, 1, (uint64_t[]){1ull << 62}), SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_tensor(w, "x", SPEC_TYPES, 0, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_tensor(w, "x", SPEC_TYPE_Q8_0, 1, (uint64_t[]){33}), SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_tensor(w, "x", gguf ? SPEC_TYPE_BOOL : SPEC_TYPE_Q8_0, 1, (uint64_t[]){32}),
                     SPEC_ERR_UNSUPPORTED);
    assert_int_equal(spec_writer_meta_float(w, "x", 1e39), SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_meta_string(w, "x", NULL, 1), SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_meta_copy(w, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_data(w, NULL, 1), SPEC_ERR_INVALID);
    if (gguf) {
        assert_int_equal(spec_writer_meta_uint(w, "general.alignment", 32), SPEC_ERR_INVALID);
        assert_int_equal(spec_writer_meta_uint(w, "split.count", 1), SPEC_ERR_INVALID);
    } else {
        assert_int_equal(spec_writer_meta_float(w, "x", NAN), SPEC_ERR_INVALID);
        assert_int_equal(spec_writer_meta_float(w, "x", INFINITY), SPEC_ERR_INVALID);
        assert_int_equal(spec_writer_meta_floats(w, "x", (float[]){1, NAN}, 2), SPEC_ERR_INVALID);
        assert_int_equal(spec_writer_meta_string(w, "x", bad_text, 1), SPEC_ERR_INVALID);
        assert_int_equal(spec_writer_meta_string(w, "x", "a\0b", 3), SPEC_ERR_INVALID);
        assert_int_equal(spec_writer_meta_string(w, "x", "\xc3\xa9", 1), SPEC_ERR_INVALID);
        assert_int_equal(spec_writer_meta_strings(w, "x", &bad_text, (size_t[]){1}, 1), SPEC_ERR_INVALID);
        assert_int_equal(spec_writer_tensor(w, "__metadata__", SPEC_TYPE_F32, 0, NULL), SPEC_ERR_INVALID);
    }
}

/* After all of them the file is what it would have been. */
static void test_refused_arguments(void **state) {
    support_file *x = *state;
    for (int k = 0; k < 2; k++) {
        bytes b = {0};
        uint8_t much[DATA + 1] = {0};
        expected_file(&b, formats[k]);
        spec_writer *w = must_begin(x->path, formats[k]);
        describe(w);
        refuse_arguments(w, formats[k] == SPEC_FORMAT_GGUF);
        assert_int_equal(spec_writer_data(w, much, DATA + 1), SPEC_ERR_INVALID);
        put_data(w, 5);
        assert_int_equal(spec_writer_data(w, much, 1), SPEC_ERR_INVALID);
        assert_int_equal(spec_writer_meta_uint(w, "late", 1), SPEC_ERR_STATE);
        assert_int_equal(spec_writer_tensor(w, "late", SPEC_TYPE_F32, 0, NULL), SPEC_ERR_STATE);
        must_finish(w);
        must_equal(x->path, b.data, b.n);
        bytes_free(&b);
    }
}

/* NaN and any bytes as text are fine in GGUF. */
static void test_gguf_takes_all(void **state) {
    support_file *x = *state;
    double d = 0;
    const char *s;
    size_t n;
    spec_writer *w = must_begin(x->path, SPEC_FORMAT_GGUF);
    assert_int_equal(spec_writer_meta_float(w, "nan", NAN), SPEC_OK);
    assert_int_equal(spec_writer_meta_float(w, "inf", -INFINITY), SPEC_OK);
    assert_int_equal(spec_writer_meta_string(w, "raw", "\xff\0\n", 3), SPEC_OK);
    must_finish(w);
    spec_tensors *f = must_open(x->path, NULL);
    assert_int_equal(spec_tensors_float(f, "nan", &d), SPEC_OK);
    assert_true(isnan(d));
    assert_int_equal(spec_tensors_float(f, "inf", &d), SPEC_OK);
    assert_true(d == -INFINITY);
    assert_int_equal(spec_meta_string(spec_tensors_meta(f, "raw"), 0, &s, &n), SPEC_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(s, "\xff\0\n", 3);
    spec_tensors_free(f);
}

static void test_bad_paths(void **state) {
    support_file *x = *state;
    char path[256];
    spec_writer *w = NULL;
    spec_message why;
    assert_int_equal(spec_writer_new(&w, support_tmp_path(&x->tmp, "no/out", path, sizeof path),
                                     SPEC_FORMAT_GGUF, NULL, &why),
                     SPEC_ERR_IO);
    assert_non_null(strstr(why.text, "no/out: opening its directory"));
    assert_int_equal(
        spec_writer_new(&w, support_tmp_path(&x->tmp, "", path, sizeof path), SPEC_FORMAT_GGUF, NULL, &why),
        SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_new(&w, x->tmp.path, SPEC_FORMAT_GGUF, NULL, &why), SPEC_ERR_IO);
    assert_non_null(strstr(why.text, "is not a regular file, and is not replaced"));
    assert_int_equal(spec_writer_new(&w, x->path, (spec_format)3, NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_new(&w, NULL, SPEC_FORMAT_GGUF, NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_finish(NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(spec_writer_data(NULL, "", 0), SPEC_ERR_INVALID);
    char name[250];
    memset(name, 'n', sizeof name - 1); /* fits, the temporary name does not */
    name[sizeof name - 1] = '\0';
    char longer[512];
    assert_int_equal(spec_writer_new(&w, support_tmp_path(&x->tmp, name, longer, sizeof longer),
                                     SPEC_FORMAT_GGUF, NULL, &why),
                     SPEC_ERR_IO);
    assert_non_null(strstr(why.text, "making a temporary file beside it"));
    assert_null(w);
    spec_writer_abandon(NULL);
    check_only(x, "");
}

/* ---- nothing stays ------------------------------------------------------- */

static void test_abandoned(void **state) {
    support_file *x = *state;
    for (int stage = 0; stage < 4; stage++) {
        spec_message why;
        spec_writer *w = must_begin(x->path, formats[stage % 2]);
        if (stage > 0) describe(w);
        if (stage > 1) assert_int_equal(spec_writer_data(w, "abcdefg", 7), SPEC_OK);
        assert_int_equal(access(x->path, F_OK), -1);
        if (stage == 3) {
            assert_int_equal(spec_writer_finish(w, &why), SPEC_ERR_INVALID);
            assert_non_null(strstr(why.text, "model: not written: 35 bytes of data are missing"));
        } else {
            spec_writer_abandon(w);
        }
        check_only(x, "");
    }
}

/* The old file is there until the new one is whole, and its permissions stay. */
static void test_replaces(void **state) {
    support_file *x = *state;
    struct stat st;
    support_write_file(x->path, "old", 3);
    assert_int_equal(chmod(x->path, 0640), 0);
    spec_writer *w = must_begin(x->path, SPEC_FORMAT_GGUF);
    describe(w);
    put_data(w, DATA);
    must_equal(x->path, "old", 3);
    must_finish(w);
    spec_tensors_free(must_open(x->path, NULL));
    assert_int_equal(stat(x->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    check_only(x, "model");
}

/* The disk is full: here a limit on the size of files. */
static void test_full_disk(void **state) {
    enum { BYTES = 4 << 20, LIMIT = 1 << 20 };
    support_file *x = *state;
    struct rlimit old, small;
    spec_message why;
    uint8_t *data = calloc(1, BYTES);
    assert_non_null(data);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){LIMIT, old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    spec_writer *w = must_begin(x->path, SPEC_FORMAT_GGUF);
    assert_int_equal(spec_writer_tensor(w, "t", SPEC_TYPE_I8, 1, (uint64_t[]){BYTES}), SPEC_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int err = spec_writer_data(w, data, BYTES);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(err, SPEC_ERR_IO);
    check_only(x, "");
    assert_int_equal(spec_writer_data(w, data, 1), SPEC_ERR_IO);
    assert_int_equal(spec_writer_meta_uint(w, "k", 1), SPEC_ERR_IO);
    assert_int_equal(spec_writer_finish(w, &why), SPEC_ERR_IO);
    assert_non_null(strstr(why.text, "model: writing: "));
    free(data);
}

/* ---- memory -------------------------------------------------------------- */

/* Repeats what was refused: it must have changed nothing. */
#define INSIST(call)                                                                                         \
    do {                                                                                                     \
        int err_ = (call);                                                                                   \
        if (err_ == SPEC_ERR_NOMEM) err_ = (call);                                                           \
        assert_int_equal(err_, SPEC_OK);                                                                     \
    } while (0)

/* Writes the sample while request k is refused. Returns whether a file came out: none where the
 * header could not be made. */
static bool write_refused(const support_file *x, spec_format format, support_heap *heap, size_t k) {
    spec_allocator a = support_alloc(heap);
    spec_writer *w = NULL;
    spec_message why = {{0}};
    uint8_t data[DATA];
    for (int i = 0; i < DATA; i++) data[i] = (uint8_t)i;
    support_heap_refuse(heap, k, false);
    INSIST(spec_writer_new(&w, x->path, format, &a, &why));
    for (int i = 0; i < META_STEPS; i++) INSIST(put_meta(w, i));
    for (int i = 0; i < TENSORS; i++) INSIST(put_tensor(w, i));
    int err = spec_writer_data(w, data, DATA), end = spec_writer_finish(w, &why);
    assert_int_equal(err, end);
    if (err) assert_non_null(strstr(why.text, "model: no memory"));
    if (err) assert_int_equal(err, SPEC_ERR_NOMEM);
    return !err;
}

static void test_refused_memory(void **state) {
    support_file *x = *state;
    for (int i = 0; i < 2; i++) {
        bytes b = {0};
        support_heap heap;
        size_t files = 0;
        expected_file(&b, formats[i]);
        support_heap_init(&heap);
        assert_true(write_refused(x, formats[i], &heap, SIZE_MAX));
        size_t requests = heap.requests;
        check_only(x, "model");
        for (size_t k = 0; k < requests; k++) {
            bool there = write_refused(x, formats[i], &heap, k);
            assert_int_equal(heap.refused, 1);
            support_heap_assert_clean(&heap);
            if (there) must_equal(x->path, b.data, b.n);
            check_only(x, there ? "model" : "");
            files += there;
        }
        assert_true(files > requests / 2 && files < requests);
        bytes_free(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_exact_bytes, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_empty, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_round_trips, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_refused_arguments, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_gguf_takes_all, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_bad_paths, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_abandoned, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_replaces, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk, support_file_set_up, support_file_tear_down),
        cmocka_unit_test_setup_teardown(test_refused_memory, support_file_set_up, support_file_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

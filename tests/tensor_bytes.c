/* SPDX-License-Identifier: MIT */
/* Tensor files made byte by byte, and the walk over an opened one: see tensor_bytes.h. */
#include "tensor_bytes.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- bytes --------------------------------------------------------------- */

void bytes_add(bytes *b, const void *data, size_t n) {
    if (n == 0) return;
    if (n > b->cap - b->n) {
        b->cap = 2 * (b->n + n);
        b->data = realloc(b->data, b->cap);
        if (!b->data) abort();
    }
    memcpy(b->data + b->n, data, n);
    b->n += n;
}

void bytes_u8(bytes *b, uint8_t x) { bytes_add(b, &x, sizeof x); }
void bytes_u32(bytes *b, uint32_t x) { bytes_add(b, &x, sizeof x); }
void bytes_u64(bytes *b, uint64_t x) { bytes_add(b, &x, sizeof x); }
void bytes_f32(bytes *b, float x) { bytes_add(b, &x, sizeof x); }
void bytes_text(bytes *b, const char *text) { bytes_add(b, text, strlen(text)); }

void bytes_fill(bytes *b, uint8_t x, size_t n) {
    while (n-- > 0) bytes_u8(b, x);
}

void bytes_align(bytes *b, size_t to) {
    while (b->n % to) bytes_u8(b, 0);
}

void bytes_free(bytes *b) {
    free(b->data);
    *b = (bytes){0};
}

/* ---- formats ------------------------------------------------------------- */

void gguf_header(bytes *b, uint32_t version, uint64_t n_tensors, uint64_t n_entries) {
    bytes_text(b, "GGUF");
    bytes_u32(b, version);
    bytes_u64(b, n_tensors);
    bytes_u64(b, n_entries);
}

void gguf_string(bytes *b, const char *s) {
    bytes_u64(b, strlen(s));
    bytes_text(b, s);
}

void gguf_key(bytes *b, const char *key, uint32_t type) {
    gguf_string(b, key);
    bytes_u32(b, type);
}

void gguf_u32(bytes *b, const char *key, uint32_t value) {
    gguf_key(b, key, G_U32);
    bytes_u32(b, value);
}

void gguf_text(bytes *b, const char *key, const char *value) {
    gguf_key(b, key, G_STRING);
    gguf_string(b, value);
}

void gguf_array(bytes *b, const char *key, uint32_t type, uint64_t n) {
    gguf_key(b, key, G_ARRAY);
    bytes_u32(b, type);
    bytes_u64(b, n);
}

void gguf_tensor(bytes *b, const char *name, uint32_t n_dims, const uint64_t *ne, uint32_t type,
                 uint64_t offset) {
    gguf_string(b, name);
    bytes_u32(b, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) bytes_u64(b, ne[i]);
    bytes_u32(b, type);
    bytes_u64(b, offset);
}

void safetensors_file(bytes *b, const char *header, size_t n) {
    bytes_u64(b, strlen(header));
    bytes_text(b, header);
    for (size_t i = 0; i < n; i++) bytes_u8(b, (uint8_t)i);
}

/* ---- opening ------------------------------------------------------------- */

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void expect_open(const char *path, const bytes *b, int expected, const char *says) {
    spec_tensors *f = NULL;
    spec_message why = {{0}};
    support_write_file(path, b->data, b->n);
    int err = spec_tensors_open(&f, path, NULL, &why);
    if (err != expected) fail_msg("%d, expected %d: \"%s\"", err, expected, why.text);
    if (err && (f || !strstr(why.text, last_part(path)) || !strstr(why.text, says)))
        fail_msg("\"%s\", expected \"%s\" in it", why.text, says);
    if (!err && why.text[0]) fail_msg("a message without an error: %s", why.text);
    spec_tensors_free(f);
}

spec_tensors *must_open(const char *path, const spec_allocator *a) {
    spec_tensors *f = NULL;
    spec_message why;
    if (spec_tensors_open(&f, path, a, &why)) fail_msg("%s", why.text);
    const char *fault = tensors_fault(f);
    if (fault) fail_msg("%s: %s", path, fault);
    return f;
}

/* Reads all, so that a sanitizer or the system objects to bytes that are not there. */
static uint64_t sum(const void *data, size_t n) {
    uint64_t s = n;
    for (size_t i = 0; i < n; i++) s = s * 31 + ((const uint8_t *)data)[i];
    return s;
}

static const char *tensor_fault(const spec_tensors *f, const spec_tensor *t, volatile uint64_t *sink) {
    uint64_t elements = 1;
    if (spec_tensors_find(f, t->name) != t) return "a tensor is not found by its name";
    if ((unsigned)t->type >= SPEC_TYPES) return "a tensor's type";
    if (t->n_dims > SPEC_TENSOR_DIMS) return "a tensor's number of dimensions";
    for (uint32_t i = 0; i < SPEC_TENSOR_DIMS; i++) {
        if (i >= t->n_dims && t->dim[i] != 1) return "a dimension that is not used";
        elements *= t->dim[i];
    }
    uint64_t row = t->n_dims ? t->dim[t->n_dims - 1] : 1;
    if (row % spec_type_block(t->type)) return "a row is no whole number of blocks";
    if (elements / spec_type_block(t->type) * spec_type_block_bytes(t->type) != t->bytes)
        return "a tensor's bytes";
    if (!t->data) return "a tensor without data";
    *sink += sum(t->data, t->bytes);
    return NULL;
}

/* Exactly the conversions that fit the kind succeed. */
static const char *value_fault(const spec_meta *m, uint64_t i, spec_meta_kind kind, volatile uint64_t *sink) {
    uint64_t u;
    int64_t n;
    double x;
    int b;
    const char *s;
    size_t len;
    bool number = kind == SPEC_META_UINT || kind == SPEC_META_INT || kind == SPEC_META_FLOAT;
    bool is_uint = spec_meta_uint(m, i, &u) == SPEC_OK, is_int = spec_meta_int(m, i, &n) == SPEC_OK;
    bool is_float = spec_meta_float(m, i, &x) == SPEC_OK, is_bool = spec_meta_bool(m, i, &b) == SPEC_OK;
    bool is_string = spec_meta_string(m, i, &s, &len) == SPEC_OK;
    if ((is_uint || is_int || is_float) && !number) return "a number from something else";
    if (kind == SPEC_META_UINT && !is_uint) return "an unsigned integer that is none";
    if (kind == SPEC_META_INT && !is_int) return "an integer that is none";
    if (kind == SPEC_META_FLOAT && !is_float) return "a float that is none";
    if (is_bool != (kind == SPEC_META_BOOL) || (is_bool && b != 0 && b != 1)) return "a truth value";
    if (is_string != (kind == SPEC_META_STRING)) return "a string";
    if (is_string) *sink += sum(s, len);
    return NULL;
}

static const char *meta_fault(const spec_tensors *f, const spec_meta *m, volatile uint64_t *sink) {
    uint64_t u;
    if (spec_tensors_meta(f, m->key) != m) return "an entry is not found by its key";
    if (m->kind != SPEC_META_ARRAY) return value_fault(m, 7, m->kind, sink);
    if (spec_meta_uint(m, m->n, &u) != SPEC_ERR_INVALID) return "an element behind the last";
    for (uint64_t i = 0; i < m->n; i++) {
        const char *fault = value_fault(m, i, m->element, sink);
        if (fault) return fault;
        if (m->element == SPEC_META_ARRAY) break; /* nothing to be had from any */
    }
    return NULL;
}

const char *tensors_fault(const spec_tensors *f) {
    volatile uint64_t sink = 0;
    size_t n = spec_tensors_count(f), n_meta = spec_tensors_meta_count(f);
    const char *fault = NULL;
    if (!spec_tensors_format(f) || !spec_tensors_path(f)) return "no format or no path";
    if (spec_tensors_at(f, n) || spec_tensors_meta_at(f, n_meta)) return "more than the count";
    for (size_t i = 0; i < n && !fault; i++) fault = tensor_fault(f, spec_tensors_at(f, i), &sink);
    for (size_t i = 0; i < n_meta && !fault; i++) fault = meta_fault(f, spec_tensors_meta_at(f, i), &sink);
    return fault;
}

/* ---- copies -------------------------------------------------------------- */

static bool left_out(int err) { return err == SPEC_ERR_UNSUPPORTED || err == SPEC_ERR_INVALID; }

static const char *write_copy(const spec_tensors *f, spec_writer *w) {
    bool *taken = calloc(spec_tensors_count(f) + 1, sizeof *taken);
    if (!taken) abort();
    const char *fault = NULL;
    for (size_t i = 0; i < spec_tensors_meta_count(f) && !fault; i++) {
        int err = spec_writer_meta_copy(w, spec_tensors_meta_at(f, i));
        if (err && !left_out(err)) fault = "an entry is not copied";
    }
    for (size_t i = 0; i < spec_tensors_count(f) && !fault; i++) {
        const spec_tensor *t = spec_tensors_at(f, i);
        int err = spec_writer_tensor(w, t->name, t->type, t->n_dims, t->dim);
        if (err && !left_out(err)) fault = "a tensor is not copied";
        taken[i] = !err;
    }
    for (size_t i = 0; i < spec_tensors_count(f) && !fault; i++) {
        const spec_tensor *t = spec_tensors_at(f, i);
        if (taken[i] && spec_writer_data(w, t->data, t->bytes)) fault = "data is not copied";
    }
    free(taken);
    return fault;
}

static const char *compare_copy(const spec_tensors *copy, const spec_tensors *f, spec_format format) {
    for (size_t i = 0; i < spec_tensors_count(copy); i++) {
        const spec_tensor *t = spec_tensors_at(copy, i), *u = spec_tensors_find(f, t->name);
        if (!u || t->type != u->type || t->n_dims != u->n_dims ||
            memcmp(t->dim, u->dim, sizeof t->dim) != 0 || t->bytes != u->bytes ||
            memcmp(t->data, u->data, t->bytes) != 0)
            return "a copied tensor differs";
    }
    for (size_t i = 0; i < spec_tensors_meta_count(copy); i++) {
        const spec_meta *m = spec_tensors_meta_at(copy, i), *n = spec_tensors_meta(f, m->key);
        if (!n) return "a copied entry has another key";
        if (format == SPEC_FORMAT_GGUF && (m->kind != n->kind || m->n != n->n))
            return "a copied entry differs";
    }
    return NULL;
}

const char *tensors_copy_fault(const spec_tensors *f, const char *path, spec_format format) {
    spec_writer *w = NULL;
    spec_tensors *copy = NULL;
    if (spec_writer_new(&w, path, format, NULL, NULL)) return "no copy can be made";
    const char *fault = write_copy(f, w);
    if (spec_writer_finish(w, NULL) && !fault) fault = "the copy is not finished";
    if (fault) return fault;
    if (spec_tensors_open(&copy, path, NULL, NULL)) return "the copy cannot be opened";
    fault = tensors_fault(copy);
    if (!fault) fault = compare_copy(copy, f, format);
    spec_tensors_free(copy);
    unlink(path);
    return fault;
}

/* ---- damage -------------------------------------------------------------- */

void check_truncations(const char *path, const bytes *b) {
    support_write_file(path, b->data, b->n);
    for (size_t n = b->n; n-- > 0;) {
        spec_tensors *f = NULL;
        spec_message why;
        assert_int_equal(truncate(path, (off_t)n), 0);
        int err = spec_tensors_open(&f, path, NULL, &why);
        if (err != SPEC_ERR_CORRUPT) fail_msg("%zu of %zu bytes: %s", n, b->n, spec_strerror(err));
        if (!strstr(why.text, last_part(path))) fail_msg("\"%s\" does not name the file", why.text);
    }
}

size_t check_flips(const char *path, const bytes *b, size_t n) {
    size_t refused = 0;
    support_write_file(path, b->data, b->n);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    for (size_t at = 0; at < 8 * n; at++) {
        spec_tensors *f = NULL;
        spec_message why = {{0}};
        uint8_t flipped = (uint8_t)(b->data[at / 8] ^ 1u << at % 8);
        assert_int_equal(pwrite(fd, &flipped, 1, (off_t)(at / 8)), 1);
        int err = spec_tensors_open(&f, path, NULL, &why);
        const char *fault = err ? NULL : tensors_fault(f);
        if (fault) fail_msg("bit %zu of byte %zu: %s", at % 8, at / 8, fault);
        if (err && !strstr(why.text, last_part(path))) fail_msg("\"%s\" does not name the file", why.text);
        refused += err != SPEC_OK;
        spec_tensors_free(f);
        assert_int_equal(pwrite(fd, &b->data[at / 8], 1, (off_t)(at / 8)), 1);
    }
    close(fd);
    return refused;
}

void check_refusals(const char *path) {
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator a = support_alloc(&heap);
    spec_tensors_free(must_open(path, &a));
    size_t requests = heap.requests;
    assert_true(requests > 0);
    support_heap_assert_clean(&heap);
    for (size_t k = 0; k < requests; k++) {
        spec_tensors *f = NULL;
        spec_message why = {{0}};
        support_heap_refuse(&heap, k, k % 2);
        assert_int_equal(spec_tensors_open(&f, path, &a, &why), SPEC_ERR_NOMEM);
        assert_null(f);
        assert_true(heap.refused > 0);
        if (!strstr(why.text, "memory")) fail_msg("\"%s\"", why.text);
        support_heap_assert_clean(&heap);
    }
}

/* ---- writing ------------------------------------------------------------- */

spec_writer *must_begin(const char *path, spec_format format) {
    spec_writer *w = NULL;
    spec_message why;
    if (spec_writer_new(&w, path, format, NULL, &why)) fail_msg("%s", why.text);
    return w;
}

void must_finish(spec_writer *w) {
    spec_message why;
    if (spec_writer_finish(w, &why)) fail_msg("%s", why.text);
}

void must_equal(const char *path, const void *expected, size_t n) {
    size_t got = 0;
    char *data = support_read_file(path, &got);
    for (size_t i = 0; i < n && i < got; i++)
        if (data[i] != ((const char *)expected)[i]) fail_msg("byte %zu of %s differs", i, path);
    assert_int_equal(got, n);
    free(data);
}

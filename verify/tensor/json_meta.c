/* SPDX-License-Identifier: MIT */
/*
 * json_meta.c - JSON as metadata: config.json and the __metadata__ of safetensors.
 *
 *   {"a": 1, "b": {"c": true}, "d": [1, 2], "e": [[1], "x"], "f": null}
 *
 *   a = 1    b.c = true    d = array of 2    e.0 = array of 1    e.1 = "x"
 *
 * Arrays of scalars of one kind become arrays in GGUF's form, so that meta.c
 * reads them like any other. JSON knows no NaN and no infinity, and a number
 * that overflows is refused, so what comes out is finite.
 */
#include <jansson.h>
#include <string.h>

#include "tensors_internal.h"

#define MAX_NESTING 32

/* The key that is being made; it grows and shrinks with the nesting. */
typedef struct flattener {
    spec_tensors *f;
    const char *shown;
    char *key;
    size_t len, cap;
    unsigned nesting;
} flattener;

static int add_value(flattener *z, const json_t *value);

/* ---- keys ---------------------------------------------------------------- */

static int append(flattener *z, const char *text, size_t n) {
    if (z->len + n > SPECP_NAME_MAX)
        return TENSORS_FAIL(z->f, SPEC_ERR_CORRUPT, "%s: a key has more than %d bytes", z->shown,
                            SPECP_NAME_MAX);
    if (z->len + n >= z->cap) {
        size_t wider = 2 * (z->len + n) + 64;
        char *key = specp_resize(&z->f->alloc, z->key, z->cap, wider, 1);
        if (!key) return specp_tensors_no_memory(z->f);
        z->key = key;
        z->cap = wider;
    }
    memcpy(z->key + z->len, text, n);
    z->len += n;
    return SPEC_OK;
}

/* Adds value under KEY.name. */
static int add_inner(flattener *z, const char *name, const json_t *value) {
    size_t len = z->len;
    int err = z->nesting ? append(z, ".", 1) : SPEC_OK;
    if (!err) err = append(z, name, strlen(name));
    z->nesting++;
    if (!err && z->nesting > MAX_NESTING)
        err = TENSORS_FAIL(z->f, SPEC_ERR_CORRUPT, "%s: nested more than %d deep", z->shown, MAX_NESTING);
    if (!err) err = add_value(z, value);
    z->nesting--;
    z->len = len;
    return err;
}

/* ---- arrays -------------------------------------------------------------- */

/* The raw type that all elements can have; SPECP_RAWS when there is none. */
static specp_raw common_raw(const json_t *array) {
    specp_raw all = SPECP_RAWS;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *e = json_array_get(array, i);
        specp_raw raw = json_is_integer(e)   ? SPECP_RAW_I64
                        : json_is_real(e)    ? SPECP_RAW_F64
                        : json_is_boolean(e) ? SPECP_RAW_BOOL
                        : json_is_string(e)  ? SPECP_RAW_STRING
                                             : SPECP_RAWS;
        bool numbers =
            (raw == SPECP_RAW_I64 && all == SPECP_RAW_F64) || (raw == SPECP_RAW_F64 && all == SPECP_RAW_I64);
        if (raw == SPECP_RAWS || (i && raw != all && !numbers)) return SPECP_RAWS;
        all = numbers ? SPECP_RAW_F64 : raw;
    }
    return json_array_size(array) ? all : SPECP_RAW_I64;
}

static int make_strings(flattener *z, const json_t *array, spec_meta *m) {
    size_t n = json_array_size(array), bytes = 0;
    for (size_t i = 0; i < n; i++) bytes += sizeof(uint64_t) + json_string_length(json_array_get(array, i));
    uint64_t *offset = specp_tensors_keep(z->f, n + 1, sizeof *offset);
    uint8_t *data = specp_tensors_keep(z->f, bytes, 1);
    if (!offset || !data) return specp_tensors_no_memory(z->f);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(array, i);
        uint64_t len = json_string_length(e);
        offset[i] = at;
        memcpy(data + at, &len, sizeof len);
        memcpy(data + at + sizeof len, json_string_value(e), (size_t)len);
        at += sizeof len + (size_t)len;
    }
    offset[n] = at;
    m->impl.data = data;
    m->impl.offsets = offset;
    return SPEC_OK;
}

static int make_numbers(flattener *z, const json_t *array, specp_raw raw, spec_meta *m) {
    size_t n = json_array_size(array), each = specp_raw_bytes(raw);
    uint8_t *data = specp_tensors_keep(z->f, n + 1, each); /* one more: n may be 0 */
    if (!data) return specp_tensors_no_memory(z->f);
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(array, i);
        int64_t integer = json_integer_value(e);
        double real = json_number_value(e);
        uint8_t truth = json_is_true(e);
        const void *from = raw == SPECP_RAW_I64   ? (const void *)&integer
                           : raw == SPECP_RAW_F64 ? (const void *)&real
                                                  : (const void *)&truth;
        memcpy(data + i * each, from, each);
    }
    m->impl.data = data;
    return SPEC_OK;
}

static int add_array(flattener *z, const json_t *array) {
    specp_raw raw = common_raw(array);
    if (raw == SPECP_RAWS) {
        char index[24];
        int err = SPEC_OK;
        for (size_t i = 0; i < json_array_size(array) && !err; i++) {
            snprintf(index, sizeof index, "%zu", i);
            err = add_inner(z, index, json_array_get(array, i));
        }
        return err;
    }
    spec_meta m = {.kind = SPEC_META_ARRAY,
                   .element = specp_raw_kind(raw),
                   .n = json_array_size(array),
                   .impl.raw = raw};
    int err = raw == SPECP_RAW_STRING ? make_strings(z, array, &m) : make_numbers(z, array, raw, &m);
    return err ? err : specp_tensors_add_meta(z->f, z->shown, z->key, z->len, &m);
}

/* ---- values -------------------------------------------------------------- */

static int add_string(flattener *z, const json_t *value) {
    spec_meta m = {.kind = SPEC_META_STRING, .n = json_string_length(value), .impl.raw = SPECP_RAW_STRING};
    m.value.s = specp_tensors_keep_text(z->f, json_string_value(value), (size_t)m.n);
    if (!m.value.s) return specp_tensors_no_memory(z->f);
    return specp_tensors_add_meta(z->f, z->shown, z->key, z->len, &m);
}

static int add_object(flattener *z, const json_t *object) {
    int err = SPEC_OK;
    void *at = json_object_iter((json_t *)object);
    for (; at && !err; at = json_object_iter_next((json_t *)object, at))
        err = add_inner(z, json_object_iter_key(at), json_object_iter_value(at));
    return err;
}

static int add_value(flattener *z, const json_t *value) {
    spec_meta m = {0};
    int64_t integer = json_integer_value(value);
    double real = json_real_value(value);
    uint8_t truth = json_is_true(value);
    switch (json_typeof(value)) {
    case JSON_NULL: return SPEC_OK;
    case JSON_OBJECT: return add_object(z, value);
    case JSON_ARRAY: return add_array(z, value);
    case JSON_STRING: return add_string(z, value);
    case JSON_INTEGER: specp_meta_decode(&m, integer < 0 ? SPECP_RAW_I64 : SPECP_RAW_U64, &integer); break;
    case JSON_REAL: specp_meta_decode(&m, SPECP_RAW_F64, &real); break;
    default: specp_meta_decode(&m, SPECP_RAW_BOOL, &truth); break;
    }
    return specp_tensors_add_meta(z->f, z->shown, z->key, z->len, &m);
}

int specp_tensors_add_json(spec_tensors *f, const char *shown, const char *prefix, struct json_t *object) {
    flattener z = {.f = f, .shown = shown};
    int err = append(&z, prefix, strlen(prefix));
    if (!err) err = add_object(&z, object);
    specp_release(&f->alloc, z.key, z.cap, 1);
    return err;
}

int specp_tensors_parse_json(spec_tensors *f, const char *shown, const char *what, const void *text, size_t n,
                             bool any_integer, struct json_t **out) {
    json_error_t e;
    json_t *json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (!json && any_integer && json_error_code(&e) == json_error_numeric_overflow)
        json = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &e);
    if (json_is_object(json)) {
        *out = json;
        return SPEC_OK;
    }
    if (!json && json_error_code(&e) == json_error_out_of_memory) return specp_tensors_no_memory(f);
    if (!json)
        return TENSORS_FAIL(f, SPEC_ERR_CORRUPT, "%s: %s is no JSON object: %.160s (line %d, byte %d of it)",
                            shown, what, e.text, e.line, e.position);
    json_decref(json);
    return TENSORS_FAIL(f, SPEC_ERR_CORRUPT, "%s: %s is no JSON object: it is an array", shown, what);
}

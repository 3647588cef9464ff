/* SPDX-License-Identifier: MIT */
/*
 * meta.c - values of metadata: read from their bytes, converted where nothing is
 * lost.
 *
 * A scalar lies in spec_meta.value. An array stays where it is, in the mapped
 * file or in the handle's memory, in GGUF's own form; its elements are read one
 * at a time and need not be aligned. Strings differ in length, so a table made
 * when the file was opened says where each begins:
 *
 *   data      [len|bytes][len|bytes][len|bytes]
 *   offsets    0          *          *         *      n + 1 of them
 */
#include <string.h>

#include "tensors_internal.h"

static const struct raw_traits {
    uint8_t bytes;
    uint8_t kind; /* a spec_meta_kind */
} raws[SPECP_RAWS] = {
    [SPECP_RAW_U8] = {1, SPEC_META_UINT},     [SPECP_RAW_I8] = {1, SPEC_META_INT},
    [SPECP_RAW_U16] = {2, SPEC_META_UINT},    [SPECP_RAW_I16] = {2, SPEC_META_INT},
    [SPECP_RAW_U32] = {4, SPEC_META_UINT},    [SPECP_RAW_I32] = {4, SPEC_META_INT},
    [SPECP_RAW_U64] = {8, SPEC_META_UINT},    [SPECP_RAW_I64] = {8, SPEC_META_INT},
    [SPECP_RAW_F32] = {4, SPEC_META_FLOAT},   [SPECP_RAW_F64] = {8, SPEC_META_FLOAT},
    [SPECP_RAW_BOOL] = {1, SPEC_META_BOOL},   [SPECP_RAW_STRING] = {0, SPEC_META_STRING},
    [SPECP_RAW_ARRAY] = {0, SPEC_META_ARRAY},
};

size_t specp_raw_bytes(specp_raw raw) { return raws[raw].bytes; }
spec_meta_kind specp_raw_kind(specp_raw raw) { return (spec_meta_kind)raws[raw].kind; }

static int64_t signed_value(const void *data, size_t bytes) {
    int8_t i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    switch (bytes) {
    case 1: memcpy(&i8, data, sizeof i8); return i8;
    case 2: memcpy(&i16, data, sizeof i16); return i16;
    case 4: memcpy(&i32, data, sizeof i32); return i32;
    default: memcpy(&i64, data, sizeof i64); return i64;
    }
}

void specp_meta_decode(spec_meta *m, specp_raw raw, const void *data) {
    size_t bytes = specp_raw_bytes(raw);
    float f32;
    m->kind = specp_raw_kind(raw);
    m->impl.raw = raw;
    switch (m->kind) {
    case SPEC_META_UINT:
        m->value.u = 0;
        memcpy(&m->value.u, data, bytes); /* little-endian */
        break;
    case SPEC_META_INT: m->value.i = signed_value(data, bytes); break;
    case SPEC_META_BOOL: m->value.b = *(const uint8_t *)data != 0; break;
    default:
        if (raw == SPECP_RAW_F64) {
            memcpy(&m->value.f, data, sizeof m->value.f);
        } else {
            memcpy(&f32, data, sizeof f32);
            m->value.f = f32;
        }
    }
}

void specp_meta_encode(const spec_meta *m, uint8_t out[8]) {
    if (m->impl.raw == SPECP_RAW_F32) {
        float f32 = (float)m->value.f;
        memcpy(out, &f32, sizeof f32);
    } else {
        memcpy(out, &m->value, 8); /* little-endian: narrow types take the first bytes */
    }
}

/* ---- elements ------------------------------------------------------------ */

static spec_meta string_element(const spec_meta *m, uint64_t i) {
    const uint64_t *offset = m->impl.offsets;
    const char *s = (const char *)m->impl.data + offset[i] + sizeof *offset;
    return (spec_meta){
        .kind = SPEC_META_STRING, .n = offset[i + 1] - offset[i] - sizeof *offset, .value = {.s = s}};
}

int specp_meta_element(const spec_meta *m, uint64_t i, spec_meta *out) {
    if (!m) return SPEC_ERR_NOT_FOUND;
    if (m->kind != SPEC_META_ARRAY) {
        *out = *m;
        return SPEC_OK;
    }
    if (i >= m->n || m->element == SPEC_META_ARRAY) return SPEC_ERR_INVALID;
    specp_raw raw = (specp_raw)m->impl.raw;
    if (raw == SPECP_RAW_STRING)
        *out = string_element(m, i);
    else
        specp_meta_decode(out, raw, (const uint8_t *)m->impl.data + i * specp_raw_bytes(raw));
    return SPEC_OK;
}

#define TWO_TO_63 9223372036854775808.0

int spec_meta_uint(const spec_meta *m, uint64_t i, uint64_t *out) {
    spec_meta e = {0};
    int err = specp_meta_element(m, i, &e);
    if (err) return err;
    if (e.kind == SPEC_META_UINT) {
        *out = e.value.u;
    } else if (e.kind == SPEC_META_INT && e.value.i >= 0) {
        *out = (uint64_t)e.value.i;
    } else if (e.kind == SPEC_META_FLOAT && e.value.f >= 0 && e.value.f < 2 * TWO_TO_63 &&
               (double)(uint64_t)e.value.f == e.value.f) {
        *out = (uint64_t)e.value.f;
    } else {
        return SPEC_ERR_INVALID;
    }
    return SPEC_OK;
}

int spec_meta_int(const spec_meta *m, uint64_t i, int64_t *out) {
    spec_meta e = {0};
    int err = specp_meta_element(m, i, &e);
    if (err) return err;
    if (e.kind == SPEC_META_INT) {
        *out = e.value.i;
    } else if (e.kind == SPEC_META_UINT && e.value.u <= INT64_MAX) {
        *out = (int64_t)e.value.u;
    } else if (e.kind == SPEC_META_FLOAT && e.value.f >= -TWO_TO_63 && e.value.f < TWO_TO_63 &&
               (double)(int64_t)e.value.f == e.value.f) {
        *out = (int64_t)e.value.f;
    } else {
        return SPEC_ERR_INVALID;
    }
    return SPEC_OK;
}

/* An integer that a double holds exactly. The casts back are of values below 2^64 and 2^63:
 * those that round up to the limit are told by the first comparison. */
static bool exact_uint(uint64_t u) { return (double)u < 2 * TWO_TO_63 && (uint64_t)(double)u == u; }
static bool exact_int(int64_t i) { return (double)i < TWO_TO_63 && (int64_t)(double)i == i; }

int spec_meta_float(const spec_meta *m, uint64_t i, double *out) {
    spec_meta e = {0};
    int err = specp_meta_element(m, i, &e);
    if (err) return err;
    if (e.kind == SPEC_META_FLOAT) {
        *out = e.value.f;
    } else if (e.kind == SPEC_META_UINT && exact_uint(e.value.u)) {
        *out = (double)e.value.u;
    } else if (e.kind == SPEC_META_INT && exact_int(e.value.i)) {
        *out = (double)e.value.i;
    } else {
        return SPEC_ERR_INVALID;
    }
    return SPEC_OK;
}

int spec_meta_bool(const spec_meta *m, uint64_t i, int *out) {
    spec_meta e = {0};
    int err = specp_meta_element(m, i, &e);
    if (err) return err;
    if (e.kind != SPEC_META_BOOL) return SPEC_ERR_INVALID;
    *out = e.value.b;
    return SPEC_OK;
}

int spec_meta_string(const spec_meta *m, uint64_t i, const char **s, size_t *n) {
    spec_meta e = {0};
    int err = specp_meta_element(m, i, &e);
    if (err) return err;
    if (e.kind != SPEC_META_STRING) return SPEC_ERR_INVALID;
    *s = e.value.s;
    *n = (size_t)e.n;
    return SPEC_OK;
}

/* ---- by key -------------------------------------------------------------- */

/* Of a scalar: an array is of another kind. */
static const spec_meta *scalar(const spec_tensors *f, const char *key, int *err) {
    const spec_meta *m = spec_tensors_meta(f, key);
    *err = !m ? SPEC_ERR_NOT_FOUND : m->kind == SPEC_META_ARRAY ? SPEC_ERR_INVALID : SPEC_OK;
    return m;
}

int spec_tensors_uint(const spec_tensors *f, const char *key, uint64_t *out) {
    int err;
    const spec_meta *m = scalar(f, key, &err);
    return err ? err : spec_meta_uint(m, 0, out);
}

int spec_tensors_float(const spec_tensors *f, const char *key, double *out) {
    int err;
    const spec_meta *m = scalar(f, key, &err);
    return err ? err : spec_meta_float(m, 0, out);
}

int spec_tensors_bool(const spec_tensors *f, const char *key, int *out) {
    int err;
    const spec_meta *m = scalar(f, key, &err);
    return err ? err : spec_meta_bool(m, 0, out);
}

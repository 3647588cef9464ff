/* SPDX-License-Identifier: MIT */
/*
 * safetensors_write.c - safetensors: what safetensors_read.c reads.
 *
 * Entries and descriptions are kept as JSON text; the header puts the braces
 * around them and blanks behind, up to a multiple of 8.
 *
 * Metadata can only be strings here. Numbers and truth values are written as
 * JSON would, arrays as JSON arrays, all inside a string.
 */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "writer.h"

#define ADD_TEXT(b, text) specp_bytes_add(b, &w->alloc, text, strlen(text))

/* ---- JSON ---------------------------------------------------------------- */

/* A JSON string. SPEC_ERR_INVALID: s is not UTF-8, or has a zero byte, which the readers refuse. */
static int add_quoted(spec_writer *w, specp_bytes *b, const char *s, size_t n) {
    static const char hex[] = "0123456789abcdef";
    int err = SPEC_ERR_INVALID;
    if (!specp_utf8_valid(s, n) || (n && memchr(s, 0, n))) return err;
    err = ADD_TEXT(b, "\"");
    for (size_t i = 0; i < n && !err; i++) {
        char c = s[i], escape[] = {'\\', c, '\0'}, code[] = "\\u0000";
        if ((uint8_t)c < 0x20) {
            code[4] = hex[c >> 4];
            code[5] = hex[c & 15];
            err = ADD_TEXT(b, code);
        } else {
            err = c == '"' || c == '\\' ? ADD_TEXT(b, escape) : specp_bytes_add(b, &w->alloc, &c, 1);
        }
    }
    return err ? err : ADD_TEXT(b, "\"");
}

/* jansson writes a decimal point in every locale. SPEC_ERR_INVALID: JSON has no
 * NaN and no infinity. */
static int add_real(spec_writer *w, specp_bytes *b, double x, bool single) {
    char text[64];
    json_t *number = json_real(x);
    if (!number) return SPEC_ERR_INVALID;
    size_t n = json_dumpb(number, text, sizeof text,
                          JSON_ENCODE_ANY | (single ? JSON_REAL_PRECISION(9) : JSON_REAL_PRECISION(17)));
    json_decref(number);
    return specp_bytes_add(b, &w->alloc, text, n);
}

static int add_number(spec_writer *w, specp_bytes *b, const spec_meta *m) {
    char text[32];
    switch (m->kind) {
    case SPEC_META_UINT: snprintf(text, sizeof text, "%" PRIu64, m->value.u); break;
    case SPEC_META_INT: snprintf(text, sizeof text, "%" PRId64, m->value.i); break;
    case SPEC_META_BOOL: snprintf(text, sizeof text, "%s", m->value.b ? "true" : "false"); break;
    default: return add_real(w, b, m->value.f, m->impl.raw == SPECP_RAW_F32);
    }
    return ADD_TEXT(b, text);
}

static int add_array(spec_writer *w, specp_bytes *b, const spec_meta *m) {
    int err = ADD_TEXT(b, "[");
    for (uint64_t i = 0; i < m->n && !err; i++) {
        spec_meta e = {0};
        if (specp_meta_element(m, i, &e)) return SPEC_ERR_UNSUPPORTED;
        if (i) err = ADD_TEXT(b, ",");
        if (!err)
            err =
                e.kind == SPEC_META_STRING ? add_quoted(w, b, e.value.s, (size_t)e.n) : add_number(w, b, &e);
    }
    return err ? err : ADD_TEXT(b, "]");
}

/* ---- entries and descriptions -------------------------------------------- */

static int add_text(spec_writer *w, const spec_meta *m) {
    specp_bytes text = {0};
    if (m->kind == SPEC_META_STRING) return add_quoted(w, &w->meta, m->value.s, (size_t)m->n);
    int err = m->kind == SPEC_META_ARRAY ? add_array(w, &text, m) : add_number(w, &text, m);
    if (!err) err = add_quoted(w, &w->meta, (const char *)text.data, text.n);
    specp_bytes_release(&text, &w->alloc);
    return err;
}

static int add_meta(spec_writer *w, const char *key, const spec_meta *m) {
    int err = w->keys.n ? ADD_TEXT(&w->meta, ",") : SPEC_OK;
    if (!err) err = add_quoted(w, &w->meta, key, strlen(key));
    if (!err) err = ADD_TEXT(&w->meta, ":");
    return err ? err : add_text(w, m);
}

static bool key_allowed(const char *key) {
    (void)key;
    return true;
}

static bool name_allowed(const char *name) { return strcmp(name, "__metadata__") != 0; }

static int add_tensor(spec_writer *w, const specp_item *t, spec_type type, uint32_t n_dims,
                      const uint64_t *dim) {
    char text[128];
    if (spec_type_block(type) > 1) return SPEC_ERR_UNSUPPORTED;
    int err = w->tensors.n ? ADD_TEXT(&w->infos, ",") : SPEC_OK;
    if (!err) err = add_quoted(w, &w->infos, t->name, strlen(t->name));
    snprintf(text, sizeof text, ":{\"dtype\":\"%s\",\"shape\":[", spec_type_name(type));
    if (!err) err = ADD_TEXT(&w->infos, text);
    for (uint32_t i = 0; i < n_dims && !err; i++) {
        snprintf(text, sizeof text, "%s%" PRIu64, i ? "," : "", dim[i]);
        err = ADD_TEXT(&w->infos, text);
    }
    snprintf(text, sizeof text, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", t->begin,
             t->begin + t->bytes);
    return err ? err : ADD_TEXT(&w->infos, text);
}

static int make_header(spec_writer *w, specp_bytes *out) {
    uint64_t n = 0;
    bool both = w->keys.n && w->tensors.n;
    int err = specp_bytes_add(out, &w->alloc, &n, sizeof n); /* filled in below */
    if (!err) err = ADD_TEXT(out, w->keys.n ? "{\"__metadata__\":{" : "{");
    if (!err) err = specp_bytes_add(out, &w->alloc, w->meta.data, w->meta.n);
    if (!err) err = ADD_TEXT(out, both ? "}," : w->keys.n ? "}" : "");
    if (!err) err = specp_bytes_add(out, &w->alloc, w->infos.data, w->infos.n);
    if (!err) err = ADD_TEXT(out, "}");
    while (!err && out->n % 8) err = ADD_TEXT(out, " ");
    if (err) return err;
    n = out->n - sizeof n;
    memcpy(out->data, &n, sizeof n);
    return SPEC_OK;
}

const specp_writer_format specp_safetensors_format = {
    .alignment = 1,
    .meta = add_meta,
    .tensor = add_tensor,
    .header = make_header,
    .key_allowed = key_allowed,
    .name_allowed = name_allowed,
};

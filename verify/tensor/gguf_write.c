/* SPDX-License-Identifier: MIT */
/*
 * gguf_write.c - GGUF version 3, alignment 32: what gguf_read.c reads.
 *
 * Entries and descriptions are kept in the file's own bytes; the header puts the
 * counts in front of them and zeros behind.
 */
#include <string.h>

#include "gguf.h"
#include "writer.h"

#define ADD(b, value) specp_bytes_add(b, &w->alloc, &(value), sizeof(value))

static int add_string(spec_writer *w, specp_bytes *b, const char *s, uint64_t n) {
    int err = ADD(b, n);
    return err ? err : specp_bytes_add(b, &w->alloc, s, (size_t)n);
}

/* ---- metadata ------------------------------------------------------------ */

/* They describe the file that they are in. */
static bool key_allowed(const char *key) {
    return strcmp(key, "general.alignment") != 0 && strncmp(key, "split.", 6) != 0;
}

static bool name_allowed(const char *name) {
    (void)name;
    return true;
}

static int add_array(spec_writer *w, const spec_meta *m) {
    uint32_t raw = m->impl.raw;
    if (raw == SPECP_RAW_ARRAY) return SPEC_ERR_UNSUPPORTED;
    size_t bytes =
        (size_t)(raw == SPECP_RAW_STRING ? m->impl.offsets[m->n] : m->n * specp_raw_bytes((specp_raw)raw));
    int err = ADD(&w->meta, raw);
    if (!err) err = ADD(&w->meta, m->n);
    return err ? err : specp_bytes_add(&w->meta, &w->alloc, m->impl.data, bytes);
}

static int add_meta(spec_writer *w, const char *key, const spec_meta *m) {
    uint32_t raw = m->kind == SPEC_META_ARRAY ? SPECP_RAW_ARRAY : m->impl.raw;
    uint8_t bytes[8];
    int err = add_string(w, &w->meta, key, strlen(key));
    if (!err) err = ADD(&w->meta, raw);
    if (err) return err;
    if (raw == SPECP_RAW_ARRAY) return add_array(w, m);
    if (raw == SPECP_RAW_STRING) return add_string(w, &w->meta, m->value.s, m->n);
    specp_meta_encode(m, bytes);
    return specp_bytes_add(&w->meta, &w->alloc, bytes, specp_raw_bytes((specp_raw)raw));
}

/* ---- tensors ------------------------------------------------------------- */

static int add_tensor(spec_writer *w, const specp_item *t, spec_type type, uint32_t n_dims,
                      const uint64_t *dim) {
    uint32_t number = 0;
    while (number < SPECP_GGUF_TYPES &&
           (!specp_gguf_types[number].name || specp_gguf_types[number].type != type))
        number++;
    if (number == SPECP_GGUF_TYPES) return SPEC_ERR_UNSUPPORTED;
    int err = add_string(w, &w->infos, t->name, strlen(t->name));
    if (!err) err = ADD(&w->infos, n_dims);
    for (uint32_t i = n_dims; i-- > 0 && !err;) err = ADD(&w->infos, dim[i]); /* innermost first */
    if (!err) err = ADD(&w->infos, number);
    return err ? err : ADD(&w->infos, t->begin);
}

static int make_header(spec_writer *w, specp_bytes *out) {
    static const uint8_t zeros[SPECP_GGUF_ALIGNMENT];
    const uint32_t version = 3;
    uint64_t n_tensors = w->tensors.n, n_entries = w->keys.n;
    int err = specp_bytes_add(out, &w->alloc, "GGUF", 4);
    if (!err) err = ADD(out, version);
    if (!err) err = ADD(out, n_tensors);
    if (!err) err = ADD(out, n_entries);
    if (!err) err = specp_bytes_add(out, &w->alloc, w->meta.data, w->meta.n);
    if (!err) err = specp_bytes_add(out, &w->alloc, w->infos.data, w->infos.n);
    size_t over = out->n % SPECP_GGUF_ALIGNMENT;
    return err || !over ? err : specp_bytes_add(out, &w->alloc, zeros, SPECP_GGUF_ALIGNMENT - over);
}

const specp_writer_format specp_gguf_format = {
    .alignment = SPECP_GGUF_ALIGNMENT,
    .meta = add_meta,
    .tensor = add_tensor,
    .header = make_header,
    .key_allowed = key_allowed,
    .name_allowed = name_allowed,
};

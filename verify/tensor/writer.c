/* SPDX-License-Identifier: MIT */
/*
 * writer.c - writes a tensor file: names and sizes first, then the data as a
 * stream.
 *
 *   new -- meta, tensor -- ... -- data -- data -- ... -- finish
 *          collected              the header is written with the first
 *
 *   | header | tensor 0 |pad| tensor 1 |pad| ...
 *             ^begin         ^begin          ^end
 *
 * An argument that is refused changes nothing. When the file cannot be written
 * the temporary file is removed at once; every later call returns that error,
 * and spec_writer_finish its message.
 */
#include <float.h>
#include <inttypes.h>
#include <string.h>

#include "writer.h"

/* ---- bytes and names ----------------------------------------------------- */

int specp_bytes_add(specp_bytes *b, const spec_allocator *a, const void *data, size_t n) {
    if (n == 0) return SPEC_OK;
    if (n > b->cap - b->n) {
        if (n > SIZE_MAX / 4 || b->n > SIZE_MAX / 4) return SPEC_ERR_NOMEM;
        size_t wider = 2 * (b->n + n) + 64;
        uint8_t *p = specp_resize(a, b->data, b->cap, wider, 1);
        if (!p) return SPEC_ERR_NOMEM;
        b->data = p;
        b->cap = wider;
    }
    memcpy(b->data + b->n, data, n);
    b->n += n;
    return SPEC_OK;
}

void specp_bytes_release(specp_bytes *b, const spec_allocator *a) {
    specp_release(a, b->data, b->cap, 1);
    *b = (specp_bytes){0};
}

static specp_named items_named(const specp_items *l) { return (specp_named){l->item, sizeof *l->item, l->n}; }

/* Makes room for an item with a copy of `name`. It is not counted yet. */
static int prepare_item(specp_items *l, const spec_allocator *a, const char *name, specp_item **out) {
    size_t len = strlen(name);
    if (!specp_name_valid(name, len)) return SPEC_ERR_INVALID;
    if (specp_names_find(&l->names, items_named(l), name, len) != SPECP_NO_NAME) return SPEC_ERR_INVALID;
    if (l->n == l->cap) {
        size_t wider = l->cap ? 2 * l->cap : 16;
        specp_item *p = specp_resize(a, l->item, l->cap, wider, sizeof *p);
        if (!p) return SPEC_ERR_NOMEM;
        l->item = p;
        l->cap = wider;
    }
    if (specp_names_reserve(&l->names, items_named(l), a)) return SPEC_ERR_NOMEM;
    specp_item *it = &l->item[l->n];
    *it = (specp_item){.name = specp_alloc(a, len + 1, 1)};
    if (!it->name) return SPEC_ERR_NOMEM;
    memcpy(it->name, name, len + 1);
    *out = it;
    return SPEC_OK;
}

static void commit_item(specp_items *l) {
    specp_names_put(&l->names, items_named(l), l->n);
    l->n++;
}

static void drop_item(specp_item *it, const spec_allocator *a) {
    specp_release(a, it->name, strlen(it->name) + 1, 1);
}

static void release_items(specp_items *l, const spec_allocator *a) {
    for (size_t i = 0; i < l->n; i++) drop_item(&l->item[i], a);
    specp_release(a, l->item, l->cap, sizeof *l->item);
    specp_names_release(&l->names, a);
}

/* ---- beginning and end --------------------------------------------------- */

int spec_writer_new(spec_writer **out, const char *path, spec_format format, const spec_allocator *alloc,
                    spec_message *why) {
    if (why) why->text[0] = '\0';
    if (!out || !path || (format != SPEC_FORMAT_GGUF && format != SPEC_FORMAT_SAFETENSORS))
        return specp_fail(why, SPEC_ERR_INVALID, "no handle, path or known format given");
    spec_writer *w = specp_calloc(alloc, 1, sizeof *w);
    if (!w) return specp_fail(why, SPEC_ERR_NOMEM, "%s: no memory to write it", specp_shown(path));
    if (alloc) w->alloc = *alloc;
    w->format = format == SPEC_FORMAT_GGUF ? &specp_gguf_format : &specp_safetensors_format;
    int err = specp_out_open(&w->out, path, &w->alloc, &w->why);
    if (err) {
        if (why) *why = w->why;
        specp_release(alloc, w, 1, sizeof *w);
        return err;
    }
    *out = w;
    return SPEC_OK;
}

void spec_writer_abandon(spec_writer *w) {
    if (!w) return;
    spec_allocator a = w->alloc;
    specp_out_close(&w->out);
    release_items(&w->keys, &a);
    release_items(&w->tensors, &a);
    specp_bytes_release(&w->meta, &a);
    specp_bytes_release(&w->infos, &a);
    specp_release(&a, w, 1, sizeof *w);
}

/* The file is lost: nothing of it stays. */
static int give_up(spec_writer *w, int err) {
    w->failed = err;
    specp_out_close(&w->out);
    return err;
}

/* ---- metadata ------------------------------------------------------------ */

static int put_meta(spec_writer *w, const char *key, const spec_meta *m) {
    specp_item *it = NULL;
    size_t mark = w->meta.n;
    if (w->failed) return w->failed;
    if (w->begun) return SPEC_ERR_STATE;
    if (!w->format->key_allowed(key)) return SPEC_ERR_INVALID;
    int err = prepare_item(&w->keys, &w->alloc, key, &it);
    if (err) return err;
    err = w->format->meta(w, key, m);
    if (err) {
        w->meta.n = mark;
        drop_item(it, &w->alloc);
        return err;
    }
    commit_item(&w->keys);
    return SPEC_OK;
}

static int put_scalar(spec_writer *w, const char *key, specp_raw raw, const void *value) {
    spec_meta m = {0};
    if (!w || !key) return SPEC_ERR_INVALID;
    specp_meta_decode(&m, raw, value);
    return put_meta(w, key, &m);
}

int spec_writer_meta_uint(spec_writer *w, const char *key, uint64_t value) {
    return put_scalar(w, key, value <= UINT32_MAX ? SPECP_RAW_U32 : SPECP_RAW_U64, &value);
}

int spec_writer_meta_float(spec_writer *w, const char *key, double value) {
    if (value - value == 0 && (value > FLT_MAX || value < -FLT_MAX)) return SPEC_ERR_INVALID;
    float rounded = (float)value;
    return put_scalar(w, key, SPECP_RAW_F32, &rounded);
}

int spec_writer_meta_bool(spec_writer *w, const char *key, int value) {
    uint8_t truth = value != 0;
    return put_scalar(w, key, SPECP_RAW_BOOL, &truth);
}

int spec_writer_meta_string(spec_writer *w, const char *key, const char *s, size_t n) {
    spec_meta m = {.kind = SPEC_META_STRING, .n = n, .value = {.s = s}, .impl.raw = SPECP_RAW_STRING};
    return !w || !key || (!s && n) ? SPEC_ERR_INVALID : put_meta(w, key, &m);
}

static int put_array(spec_writer *w, const char *key, specp_raw raw, const void *data,
                     const uint64_t *offsets, size_t n) {
    spec_meta m = {.kind = SPEC_META_ARRAY,
                   .element = specp_raw_kind(raw),
                   .n = n,
                   .impl = {.raw = raw, .data = data, .offsets = offsets}};
    if (!w || !key || (!data && n)) return SPEC_ERR_INVALID;
    return put_meta(w, key, &m);
}

int spec_writer_meta_floats(spec_writer *w, const char *key, const float *x, size_t n) {
    return put_array(w, key, SPECP_RAW_F32, x, NULL, n);
}

int spec_writer_meta_ints(spec_writer *w, const char *key, const int32_t *x, size_t n) {
    return put_array(w, key, SPECP_RAW_I32, x, NULL, n);
}

int spec_writer_meta_strings(spec_writer *w, const char *key, const char *const *s, const size_t *len,
                             size_t n) {
    specp_bytes data = {0}, offsets = {0};
    if (!w || !key || (n && (!s || !len))) return SPEC_ERR_INVALID;
    int err = SPEC_OK;
    for (size_t i = 0; i <= n && !err; i++) {
        uint64_t at = data.n, bytes = i < n ? len[i] : 0;
        err = specp_bytes_add(&offsets, &w->alloc, &at, sizeof at);
        if (!err && i < n) err = specp_bytes_add(&data, &w->alloc, &bytes, sizeof bytes);
        if (!err && i < n) err = specp_bytes_add(&data, &w->alloc, s[i], len[i]);
    }
    if (!err) err = put_array(w, key, SPECP_RAW_STRING, data.data, (const uint64_t *)(void *)offsets.data, n);
    specp_bytes_release(&data, &w->alloc);
    specp_bytes_release(&offsets, &w->alloc);
    return err;
}

int spec_writer_meta_copy(spec_writer *w, const spec_meta *m) {
    if (!w || !m) return SPEC_ERR_INVALID;
    return w->format->key_allowed(m->key) ? put_meta(w, m->key, m) : SPEC_OK;
}

/* ---- tensors ------------------------------------------------------------- */

static uint64_t padded(const spec_writer *w, uint64_t n) {
    return (n + w->format->alignment - 1) & ~(w->format->alignment - 1);
}

static int describe(spec_writer *w, const specp_item *it, spec_type type, uint32_t n_dims,
                    const uint64_t *dim) {
    size_t mark = w->infos.n;
    int err = w->format->tensor(w, it, type, n_dims, dim);
    if (err) w->infos.n = mark;
    return err;
}

int spec_writer_tensor(spec_writer *w, const char *name, spec_type type, uint32_t n_dims,
                       const uint64_t *dim) {
    specp_item *it = NULL;
    uint64_t bytes = 0;
    if (!w || !name || n_dims > SPEC_TENSOR_DIMS || (n_dims && !dim)) return SPEC_ERR_INVALID;
    if (w->failed) return w->failed;
    if (w->begun) return SPEC_ERR_STATE;
    if ((unsigned)type >= SPEC_TYPES || specp_tensor_bytes(type, n_dims, dim, &bytes))
        return SPEC_ERR_INVALID;
    if (bytes > INT64_MAX / 2 - w->end || !w->format->name_allowed(name)) return SPEC_ERR_INVALID;
    int err = prepare_item(&w->tensors, &w->alloc, name, &it);
    if (err) return err;
    it->begin = w->end;
    it->bytes = bytes;
    err = describe(w, it, type, n_dims, dim);
    if (err) {
        drop_item(it, &w->alloc);
        return err;
    }
    commit_item(&w->tensors);
    w->end = padded(w, w->end + bytes);
    w->missing += bytes;
    return SPEC_OK;
}

/* ---- data ---------------------------------------------------------------- */

/* The header, and zeros up to the data. */
static int begin(spec_writer *w) {
    specp_bytes header = {0};
    if (w->begun) return SPEC_OK;
    int err = w->format->header(w, &header);
    if (err) specp_fail(&w->why, err, "%s: no memory to write it", w->out.shown);
    if (!err) err = specp_out_write(&w->out, header.data, header.n);
    specp_bytes_release(&header, &w->alloc);
    if (!err) w->begun = true;
    return err;
}

/* Zeros up to `to`. */
static int pad(spec_writer *w, uint64_t to) {
    int err = specp_out_zeros(&w->out, to - w->at);
    if (!err) w->at = to;
    return err;
}

/* As much as belongs to the tensor that is due. */
static int put_part(spec_writer *w, const uint8_t **data, size_t *n) {
    const specp_item *t = &w->tensors.item[w->tensor];
    int err = w->at < t->begin ? pad(w, t->begin) : SPEC_OK;
    uint64_t left = t->begin + t->bytes - w->at;
    size_t part = *n < left ? *n : (size_t)left;
    if (!err) err = specp_out_write(&w->out, *data, part);
    if (err) return err;
    w->at += part;
    w->missing -= part;
    *data += part;
    *n -= part;
    if (part == left) w->tensor++;
    return SPEC_OK;
}

int spec_writer_data(spec_writer *w, const void *data, size_t bytes) {
    const uint8_t *from = data;
    if (!w || (!data && bytes)) return SPEC_ERR_INVALID;
    if (w->failed) return w->failed;
    if (bytes > w->missing) return SPEC_ERR_INVALID;
    int err = begin(w);
    while (!err && bytes) err = put_part(w, &from, &bytes);
    return err ? give_up(w, err) : SPEC_OK;
}

static int finish(spec_writer *w) {
    if (w->failed) return w->failed;
    if (w->missing)
        return specp_fail(&w->why, SPEC_ERR_INVALID, "%s: not written: %" PRIu64 " bytes of data are missing",
                          w->out.shown, w->missing);
    int err = begin(w);
    if (!err) err = pad(w, w->end);
    return err ? err : specp_out_publish(&w->out);
}

int spec_writer_finish(spec_writer *w, spec_message *why) {
    if (why) why->text[0] = '\0';
    if (!w) return specp_fail(why, SPEC_ERR_INVALID, "no writer given");
    int err = finish(w);
    if (err && why) *why = w->why;
    spec_writer_abandon(w);
    return err;
}

/* SPDX-License-Identifier: MIT */
/*
 * gguf_read.c - GGUF files, versions 2 and 3, whole or split.
 *
 *   "GGUF" u32 version, u64 tensors, u64 entries
 *   entries      string key, u32 type, value
 *   tensors      string name, u32 n, u64 ne[n] (innermost first), u32 type, u64 offset
 *   zeros up to a multiple of general.alignment (32 if not said)
 *   data         the offsets are from here, each a multiple of the alignment
 *
 * A string is a u64 length and its bytes. A split model has its metadata in the
 * first part; each part is a file of this form, with tensors of its own.
 *
 * Every length is compared with what is left of the file before it is believed,
 * and memory grows with what was read, not with what a header claims.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gguf.h"

#define MIN_ENTRY   13 /* bytes: an empty key, a byte as value */
#define MIN_TENSOR  24
#define MAX_NESTING 4 /* arrays in arrays */
#define MAX_SPLIT   99999

const specp_gguf_type specp_gguf_types[SPECP_GGUF_TYPES] = {
    [0] = {"F32", SPEC_TYPE_F32},    [1] = {"F16", SPEC_TYPE_F16},    [2] = {"Q4_0", SPEC_TYPE_Q4_0},
    [3] = {"Q4_1", SPEC_TYPES},      [6] = {"Q5_0", SPEC_TYPE_Q5_0},  [7] = {"Q5_1", SPEC_TYPES},
    [8] = {"Q8_0", SPEC_TYPE_Q8_0},  [9] = {"Q8_1", SPEC_TYPES},      [10] = {"Q2_K", SPEC_TYPES},
    [11] = {"Q3_K", SPEC_TYPES},     [12] = {"Q4_K", SPEC_TYPE_Q4_K}, [13] = {"Q5_K", SPEC_TYPE_Q5_K},
    [14] = {"Q6_K", SPEC_TYPE_Q6_K}, [15] = {"Q8_K", SPEC_TYPES},     [16] = {"IQ2_XXS", SPEC_TYPES},
    [17] = {"IQ2_XS", SPEC_TYPES},   [18] = {"IQ3_XXS", SPEC_TYPES},  [19] = {"IQ1_S", SPEC_TYPES},
    [20] = {"IQ4_NL", SPEC_TYPES},   [21] = {"IQ3_S", SPEC_TYPES},    [22] = {"IQ2_S", SPEC_TYPES},
    [23] = {"IQ4_XS", SPEC_TYPES},   [24] = {"I8", SPEC_TYPE_I8},     [25] = {"I16", SPEC_TYPE_I16},
    [26] = {"I32", SPEC_TYPE_I32},   [27] = {"I64", SPEC_TYPE_I64},   [28] = {"F64", SPEC_TYPE_F64},
    [29] = {"IQ1_M", SPEC_TYPES},    [30] = {"BF16", SPEC_TYPE_BF16}, [34] = {"TQ1_0", SPEC_TYPES},
    [35] = {"TQ2_0", SPEC_TYPES},    [39] = {"MXFP4", SPEC_TYPES},
};

/* What is being read, and what the metadata says about the file itself. */
typedef struct reader {
    spec_tensors *f;
    const specp_file *file;
    size_t at;
    const char *part; /* for messages: "metadata entry", and of how many */
    uint64_t index, of;
    char where[80];
    uint64_t n_tensors, n_entries;
    uint64_t alignment;
    uint64_t split_no, split_count, split_tensors; /* of a file that is not split: 0, 1, 0 */
    bool keep;                                     /* add the metadata: not from later parts */
} reader;

#define CORRUPT(r, ...) TENSORS_FAIL((r)->f, SPEC_ERR_CORRUPT, __VA_ARGS__)

/* The part that is being read. */
static const char *where(reader *r) {
    if (r->of)
        snprintf(r->where, sizeof r->where, "%s %" PRIu64 " of %" PRIu64, r->part, r->index + 1, r->of);
    else
        snprintf(r->where, sizeof r->where, "%s", r->part);
    return r->where;
}

/* ---- bytes --------------------------------------------------------------- */

/* The next n bytes; NULL after SPEC_ERR_CORRUPT's message. */
static const uint8_t *take(reader *r, uint64_t n) {
    const uint8_t *p = r->file->data + r->at;
    if (n > r->file->size - r->at) {
        CORRUPT(r, "%s: %s: %" PRIu64 " bytes at byte %zu, but the file ends at %zu: is it cut short?",
                r->file->shown, where(r), n, r->at, r->file->size);
        return NULL;
    }
    r->at += (size_t)n;
    return p;
}

static int take_u32(reader *r, uint32_t *out) {
    const uint8_t *p = take(r, sizeof *out);
    if (!p) return SPEC_ERR_CORRUPT;
    memcpy(out, p, sizeof *out);
    return SPEC_OK;
}

static int take_u64(reader *r, uint64_t *out) {
    const uint8_t *p = take(r, sizeof *out);
    if (!p) return SPEC_ERR_CORRUPT;
    memcpy(out, p, sizeof *out);
    return SPEC_OK;
}

static int take_string(reader *r, const char **s, uint64_t *n) {
    int err = take_u64(r, n);
    if (err) return err;
    *s = (const char *)take(r, *n);
    return *s ? SPEC_OK : SPEC_ERR_CORRUPT;
}

/* Passes over n values of `each` bytes. */
static int skip(reader *r, uint64_t n, size_t each) {
    return take(r, n > SIZE_MAX / each ? UINT64_MAX : n * each) ? SPEC_OK : SPEC_ERR_CORRUPT;
}

/* ---- metadata ------------------------------------------------------------ */

static int check_raw(reader *r, uint32_t raw) {
    if (raw < SPECP_RAWS) return SPEC_OK;
    return CORRUPT(r, "%s: %s, at byte %zu, has value type %" PRIu32 ", expected 0 to %d", r->file->shown,
                   where(r), r->at, raw, SPECP_RAWS - 1);
}

/* The strings' places. */
static int take_strings(reader *r, spec_meta *m) {
    if (m->n > (r->file->size - r->at) / sizeof(uint64_t))
        return CORRUPT(r, "%s: %s claims %" PRIu64 " strings, the file has no room for them", r->file->shown,
                       where(r), m->n);
    uint64_t *offset = specp_tensors_keep(r->f, (size_t)m->n + 1, sizeof *offset);
    if (!offset) return specp_tensors_no_memory(r->f);
    size_t start = r->at;
    for (uint64_t i = 0; i < m->n; i++) {
        const char *s;
        uint64_t n;
        offset[i] = r->at - start;
        int err = take_string(r, &s, &n);
        if (err) return err;
    }
    offset[m->n] = r->at - start;
    m->impl.offsets = offset;
    return SPEC_OK;
}

/* Arrays in an array are only walked over. */
static int skip_array(reader *r, unsigned nesting) {
    uint32_t raw;
    uint64_t n;
    int err = take_u32(r, &raw);
    if (!err) err = take_u64(r, &n);
    if (!err) err = check_raw(r, raw);
    if (!err && nesting > MAX_NESTING)
        err = CORRUPT(r, "%s: %s: arrays nested more than %d deep", r->file->shown, where(r), MAX_NESTING);
    if (err) return err;
    size_t each = specp_raw_bytes((specp_raw)raw);
    if (each) return skip(r, n, each);
    for (uint64_t i = 0; i < n && !err; i++) {
        const char *s;
        uint64_t bytes;
        err = raw == SPECP_RAW_STRING ? take_string(r, &s, &bytes) : skip_array(r, nesting + 1);
    }
    return err;
}

static int take_array(reader *r, spec_meta *m) {
    uint32_t raw;
    int err = take_u32(r, &raw);
    if (!err) err = take_u64(r, &m->n);
    if (!err) err = check_raw(r, raw);
    if (err) return err;
    m->kind = SPEC_META_ARRAY;
    m->element = specp_raw_kind((specp_raw)raw);
    m->impl.raw = raw;
    m->impl.data = r->file->data + r->at;
    if (raw == SPECP_RAW_STRING) return take_strings(r, m);
    for (uint64_t i = 0; raw == SPECP_RAW_ARRAY && i < m->n && !err; i++) err = skip_array(r, 1);
    size_t each = specp_raw_bytes((specp_raw)raw);
    return err || !each ? err : skip(r, m->n, each);
}

static int take_value(reader *r, uint32_t raw, spec_meta *m) {
    m->impl.raw = raw;
    if (raw == SPECP_RAW_ARRAY) return take_array(r, m);
    if (raw == SPECP_RAW_STRING) {
        m->kind = SPEC_META_STRING;
        return take_string(r, &m->value.s, &m->n);
    }
    const uint8_t *data = take(r, specp_raw_bytes((specp_raw)raw));
    if (!data) return SPEC_ERR_CORRUPT;
    if (raw == SPECP_RAW_BOOL && *data > 1)
        return CORRUPT(r, "%s: %s, at byte %zu: a truth value of %d, expected 0 or 1", r->file->shown,
                       where(r), r->at - 1, *data);
    specp_meta_decode(m, (specp_raw)raw, data);
    return SPEC_OK;
}

/* Entries that speak of the file. */
static int note_entry(reader *r, const char *key, uint64_t n, const spec_meta *m) {
    static const char *const keys[] = {"general.alignment", "split.no", "split.count", "split.tensors.count"};
    uint64_t *const to[] = {&r->alignment, &r->split_no, &r->split_count, &r->split_tensors};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strlen(keys[i]) != n || memcmp(keys[i], key, (size_t)n) != 0) continue;
        if (m->kind == SPEC_META_ARRAY || spec_meta_uint(m, 0, to[i]))
            return CORRUPT(r, "%s: %s is no unsigned integer", r->file->shown, keys[i]);
    }
    return SPEC_OK;
}

static int read_entry(reader *r) {
    spec_meta m = {0};
    const char *key = NULL;
    uint64_t n = 0;
    uint32_t raw = 0;
    int err = take_string(r, &key, &n);
    if (!err) err = take_u32(r, &raw);
    if (!err) err = check_raw(r, raw);
    if (!err) err = take_value(r, raw, &m);
    if (!err) err = note_entry(r, key, n, &m);
    if (!err && r->keep) err = specp_tensors_add_meta(r->f, r->file->shown, key, (size_t)n, &m);
    return err;
}

static int read_entries(reader *r) {
    int err = SPEC_OK;
    r->part = "metadata entry";
    r->of = r->n_entries;
    for (r->index = 0; r->index < r->n_entries && !err; r->index++) err = read_entry(r);
    if (err) return err;
    if (r->alignment == 0 || (r->alignment & (r->alignment - 1)))
        return CORRUPT(r, "%s: general.alignment is %" PRIu64 ", expected a power of two", r->file->shown,
                       r->alignment);
    if (r->split_count == 0 || r->split_count > MAX_SPLIT || r->split_no >= r->split_count)
        return CORRUPT(r, "%s: split.no is %" PRIu64 " of split.count %" PRIu64, r->file->shown, r->split_no,
                       r->split_count);
    return SPEC_OK;
}

/* ---- tensors ------------------------------------------------------------- */

typedef struct tensor_info {
    const char *name;
    uint64_t name_bytes, dim[SPEC_TENSOR_DIMS], offset;
    uint32_t n_dims, type;
} tensor_info;

static int read_info(reader *r, tensor_info *t) {
    int err = take_string(r, &t->name, &t->name_bytes);
    if (!err) err = take_u32(r, &t->n_dims);
    if (!err && t->n_dims > SPEC_TENSOR_DIMS)
        return CORRUPT(r, "%s: tensor %" PRIu64 " has %" PRIu32 " dimensions, expected at most %d",
                       r->file->shown, r->index + 1, t->n_dims, SPEC_TENSOR_DIMS);
    for (uint32_t i = 0; i < t->n_dims && !err; i++) err = take_u64(r, &t->dim[t->n_dims - 1 - i]);
    if (!err) err = take_u32(r, &t->type);
    if (!err) err = take_u64(r, &t->offset);
    return err;
}

static int refuse_type(const reader *r, const tensor_info *t) {
    const char *known = t->type < SPECP_GGUF_TYPES ? specp_gguf_types[t->type].name : NULL;
    char number[32];
    if (!known) snprintf(number, sizeof number, "number %" PRIu32, t->type);
    return TENSORS_FAIL(
        r->f, SPEC_ERR_UNSUPPORTED,
        "%s: tensor %.*s is of type %s, which is not supported; supported are F32, F16, BF16, "
        "Q8_0, Q4_0, Q5_0, Q4_K, Q5_K, Q6_K, F64, I8, I16, I32, I64",
        r->file->shown, specp_shown_bytes(t->name, (size_t)t->name_bytes), t->name, known ? known : number);
}

static int add_tensor(reader *r, const tensor_info *t, size_t data) {
    const char *shown = r->file->shown;
    if (!specp_name_valid(t->name, (size_t)t->name_bytes))
        return CORRUPT(r, "%s: the name of tensor %" PRIu64 " is empty, too long, or no printable UTF-8",
                       shown, r->index + 1);
    if (t->type >= SPECP_GGUF_TYPES || !specp_gguf_types[t->type].name ||
        specp_gguf_types[t->type].type == SPEC_TYPES)
        return refuse_type(r, t);
    if (t->offset % r->alignment || t->offset > r->file->size)
        return CORRUPT(r,
                       "%s: tensor %" PRIu64 " lies at %" PRIu64
                       " of the data, expected a multiple of %" PRIu64 " inside the file",
                       shown, r->index + 1, t->offset, r->alignment);
    return specp_tensors_add(r->f, r->file, t->name, (size_t)t->name_bytes, specp_gguf_types[t->type].type,
                             t->n_dims, t->dim, data + t->offset);
}

/* No two tensors of this file may share bytes. */
static int check_overlaps(const reader *r, size_t first) {
    spec_tensors *f = r->f;
    size_t n = f->n_tensors - first;
    if (n == 0) return SPEC_OK;
    specp_span *span = specp_alloc(&f->alloc, n, sizeof *span);
    if (!span) return specp_tensors_no_memory(f);
    for (size_t i = 0; i < n; i++) {
        const spec_tensor *t = &f->tensor[first + i];
        uint64_t begin = (uint64_t)((const uint8_t *)t->data - r->file->data);
        span[i] = (specp_span){begin, begin + t->bytes, t->name};
    }
    int err = specp_tensors_check_spans(f, r->file, span, n, false, 0, 0);
    specp_release(&f->alloc, span, n, sizeof *span);
    return err;
}

/* Twice over the descriptions: where the data begins is known at their end only. */
static int read_tensors(reader *r) {
    tensor_info t = {0};
    size_t infos = r->at, first = r->f->n_tensors;
    int err = SPEC_OK;
    r->part = "the description of tensor";
    r->of = r->n_tensors;
    for (r->index = 0; r->index < r->n_tensors && !err; r->index++) err = read_info(r, &t);
    if (err) return err;
    uint64_t data = (r->at + r->alignment - 1) & ~(r->alignment - 1);
    if (data > r->file->size && r->n_tensors)
        return CORRUPT(r,
                       "%s: the data of its tensors should begin at byte %" PRIu64
                       ", but the file ends at %zu: is it cut short?",
                       r->file->shown, data, r->file->size);
    r->at = infos;
    for (r->index = 0; r->index < r->n_tensors && !err; r->index++) {
        err = read_info(r, &t);
        if (!err) err = add_tensor(r, &t, (size_t)data);
    }
    return err ? err : check_overlaps(r, first);
}

/* ---- a file -------------------------------------------------------------- */

bool specp_gguf_is(const specp_file *file) { return file->size >= 4 && memcmp(file->data, "GGUF", 4) == 0; }

static int read_version(reader *r, uint32_t *version) {
    int err = take_u32(r, version);
    if (err || *version == 2 || *version == 3) return err;
    if (*version && (*version & 0xffff) == 0)
        return TENSORS_FAIL(r->f, SPEC_ERR_VERSION,
                            "%s: is a big-endian GGUF file, expected a little-endian one", r->file->shown);
    return TENSORS_FAIL(r->f, SPEC_ERR_VERSION, "%s: is GGUF version %" PRIu32 ", expected 2 or 3",
                        r->file->shown, *version);
}

static int read_header(reader *r) {
    uint32_t version = 0;
    r->part = "the header";
    r->at = 4;
    int err = read_version(r, &version);
    if (!err) err = take_u64(r, &r->n_tensors);
    if (!err) err = take_u64(r, &r->n_entries);
    if (err) return err;
    uint64_t left = r->file->size - r->at;
    if (r->n_tensors > left / MIN_TENSOR || r->n_entries > left / MIN_ENTRY)
        return CORRUPT(r,
                       "%s: claims %" PRIu64 " tensors and %" PRIu64
                       " metadata entries, more than fit into its %zu bytes",
                       r->file->shown, r->n_tensors, r->n_entries, r->file->size);
    if (r->keep) r->f->format = version == 2 ? "GGUF v2" : "GGUF v3";
    return SPEC_OK;
}

static int read_file(reader *r) {
    int err = read_header(r);
    if (!err) err = read_entries(r);
    if (!err) err = read_tensors(r);
    return err;
}

/* ---- split models -------------------------------------------------------- */

#define SUFFIX_BYTES 20 /* of "-00001-of-00003.gguf" */

/* The path of part i of n, from that of another part. */
static int part_path(const reader *any, uint64_t i, const char **out) {
    spec_tensors *f = any->f;
    const char *path = any->file->path;
    char suffix[SUFFIX_BYTES + 1];
    size_t len = strlen(path);
    snprintf(suffix, sizeof suffix, "-%05u-of-%05u.gguf", (unsigned)any->split_no + 1,
             (unsigned)any->split_count);
    if (len < SUFFIX_BYTES || strcmp(path + len - SUFFIX_BYTES, suffix) != 0)
        return TENSORS_FAIL(f, SPEC_ERR_INVALID,
                            "%s: is part %" PRIu64 " of a model split in %" PRIu64
                            ", so its name must end in %s, or the other parts are not found",
                            any->file->shown, any->split_no + 1, any->split_count, suffix);
    snprintf(suffix, sizeof suffix, "-%05u-of-%05u.gguf", (unsigned)i + 1, (unsigned)any->split_count);
    *out = specp_tensors_join(f, path, len - SUFFIX_BYTES, suffix);
    return *out ? SPEC_OK : specp_tensors_no_memory(f);
}

static int read_part(const reader *first, uint64_t i) {
    spec_tensors *f = first->f;
    const char *path = NULL;
    specp_file file;
    int err = part_path(first, i, &path);
    if (!err) err = specp_tensors_map(f, path, &file);
    if (err) return err;
    if (!specp_gguf_is(&file))
        return TENSORS_FAIL(f, SPEC_ERR_CORRUPT, "%s: is no GGUF file, expected part %" PRIu64 " of a model",
                            file.shown, i + 1);
    reader r = {.f = f, .file = &file, .alignment = SPECP_GGUF_ALIGNMENT, .split_count = 1};
    err = read_file(&r);
    if (!err && (r.split_no != i || r.split_count != first->split_count))
        return TENSORS_FAIL(f, SPEC_ERR_CORRUPT,
                            "%s: says it is part %" PRIu64 " of %" PRIu64 ", expected %" PRIu64
                            " of %" PRIu64,
                            file.shown, r.split_no + 1, r.split_count, i + 1, first->split_count);
    return err;
}

static int read_parts(const reader *first) {
    spec_tensors *f = first->f;
    int err = SPEC_OK;
    for (uint64_t i = 1; i < first->split_count && !err; i++) err = read_part(first, i);
    if (!err && first->split_tensors && f->n_tensors != first->split_tensors)
        return TENSORS_FAIL(f, SPEC_ERR_CORRUPT,
                            "%s: its %" PRIu64 " parts have %zu tensors, expected %" PRIu64,
                            first->file->shown, first->split_count, f->n_tensors, first->split_tensors);
    return err;
}

int specp_gguf_read(spec_tensors *f, const specp_file *file) {
    reader r = {.f = f, .file = file, .keep = true, .alignment = SPECP_GGUF_ALIGNMENT, .split_count = 1};
    const char *path = NULL;
    int err = read_file(&r);
    if (err || r.split_count == 1) return err;
    if (r.split_no == 0) return read_parts(&r);
    err = part_path(&r, 0, &path);
    if (err) return err;
    return TENSORS_FAIL(f, SPEC_ERR_INVALID, "%s: is part %" PRIu64 " of %" PRIu64 " of a model: open %s",
                        file->shown, r.split_no + 1, r.split_count, specp_shown(path));
}

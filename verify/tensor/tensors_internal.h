/* SPDX-License-Identifier: MIT */
/*
 * tensors_internal.h - an opened set of tensor files while its readers fill it,
 * and what the writers share with them. Private to verify/tensor/.
 *
 *   tensors.c            opening: which format it is; the handle's getters
 *   tensors_store.c      the handle's storage: mapped files, names, tensors, metadata
 *   meta.c               values of metadata
 *   json_meta.c          JSON objects flattened into metadata
 *   gguf_read.c          safetensors_read.c          llama2c_read.c
 *   writer.c             gguf_write.c                safetensors_write.c
 *
 * A reader checks a file and adds what it found with specp_tensors_add and
 * specp_tensors_add_meta; these check names, sizes and bounds, whatever the format.
 */
#ifndef SPECP_TENSORS_INTERNAL_H
#define SPECP_TENSORS_INTERNAL_H

#include "spec_tensors.h"
#include "specp.h"

/* The files are little-endian and mapped as they are. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensor files are read in place: a little-endian machine is needed"
#endif

/* ---- names --------------------------------------------------------------- */

/* A hash table over an array of structs that begin with their name. It holds
 * places in the array, plus one; 0 is empty. */
typedef struct specp_names {
    uint32_t *slot;
    size_t n_slots; /* a power of two, or 0 */
} specp_names;

/* The array that a table speaks of: n items of `stride` bytes. */
typedef struct specp_named {
    const void *items;
    size_t stride, n;
} specp_named;

#define SPECP_NO_NAME SIZE_MAX

/* Where the name of `len` bytes lies, or SPECP_NO_NAME. */
size_t specp_names_find(const specp_names *t, specp_named in, const char *name, size_t len);
/* Makes room for item in.n, whose name is put in by specp_names_put afterwards. SPEC_ERR_NOMEM. */
int specp_names_reserve(specp_names *t, specp_named in, const spec_allocator *a);
void specp_names_put(specp_names *t, specp_named in, size_t i);
void specp_names_release(specp_names *t, const spec_allocator *a);

#define SPECP_NAME_MAX 65535

bool specp_utf8_valid(const char *s, size_t n);
/* Not empty, not too long, UTF-8 without control characters. */
bool specp_name_valid(const char *name, size_t len);

/* For messages: the end of a long path; as many bytes of a name (n, or up to a 0) as are shown, for
 * "%.*s". */
const char *specp_shown(const char *path);
int specp_shown_bytes(const char *name, size_t n);
#define SPECP_SHOW(name) specp_shown_bytes(name, SIZE_MAX), (name)

/* ---- the handle ---------------------------------------------------------- */

typedef struct specp_file {
    const char *path, *shown; /* shown: in messages */
    const uint8_t *data;      /* mapped, read only */
    size_t size;              /* > 0 */
} specp_file;

typedef struct specp_chunk specp_chunk;

struct spec_tensors {
    spec_allocator alloc;
    const char *path;
    const char *format;
    specp_file *file; /* (n_files of cap_files) */
    spec_tensor *tensor;
    spec_meta *meta;
    size_t n_files, cap_files, n_tensors, cap_tensors, n_meta, cap_meta;
    specp_names tensor_names, meta_keys;
    specp_chunk *chunks; /* names, strings and tables: never move */
    spec_message *why;   /* of the spec_tensors_open under way, else NULL */
};

/* Fails with a message: `return TENSORS_FAIL(f, SPEC_ERR_CORRUPT, "%s: ...", ...)`. */
#define TENSORS_FAIL(f, err, ...) specp_fail((f)->why, err, __VA_ARGS__)
int specp_tensors_no_memory(const spec_tensors *f);

/* Memory that lives as long as the handle, aligned to 8; NULL when refused. */
void *specp_tensors_keep(spec_tensors *f, size_t count, size_t size);
/* A copy of n bytes with a 0 behind; NULL when refused. */
const char *specp_tensors_keep_text(spec_tensors *f, const char *text, size_t n);
/* "DIR/NAME", DIR being dir_bytes of dir (with its slash, or empty); NULL when refused. */
const char *specp_tensors_join(spec_tensors *f, const char *dir, size_t dir_bytes, const char *name);
/* Bytes of a path before its last part. */
size_t specp_dir_bytes(const char *path);

/* Maps a regular file; *out is its place in f->file. path must live as long as
 * f. SPEC_ERR_NOT_FOUND, SPEC_ERR_IO, SPEC_ERR_CORRUPT (empty), SPEC_ERR_NOMEM. */
int specp_tensors_map(spec_tensors *f, const char *path, specp_file *out);

/* *product *= factor; false, and nothing done, where 63 bits are too few. */
static inline bool specp_multiply(uint64_t *product, uint64_t factor) {
    if (factor && *product > (uint64_t)INT64_MAX / factor) return false;
    *product *= factor;
    return true;
}

/* Bytes of a tensor. SPEC_ERR_CORRUPT: a row is no whole number of blocks, or the product of
 * the dimensions (zeros left out) is too large. No message. */
int specp_tensor_bytes(spec_type type, uint32_t n_dims, const uint64_t *dim, uint64_t *out);

/* Adds a tensor that begins at byte `begin` of the file. The name is copied. */
int specp_tensors_add(spec_tensors *f, const specp_file *file, const char *name, size_t name_bytes,
                      spec_type type, uint32_t n_dims, const uint64_t *dim, uint64_t begin);

/* Adds m, whose key is copied and whose value is not. SPEC_ERR_CORRUPT: the key is not valid or
 * there already. `shown` names the file in the message. */
int specp_tensors_add_meta(spec_tensors *f, const char *shown, const char *key, size_t key_bytes,
                           const spec_meta *m);

/* Bytes of a file that a tensor takes up. */
typedef struct specp_span {
    uint64_t begin, end;
    const char *name;
} specp_span;

/* Sorts the spans and refuses overlaps; with `whole`, also bytes of [first, last) that
 * belong to none. */
int specp_tensors_check_spans(spec_tensors *f, const specp_file *file, specp_span *span, size_t n, bool whole,
                              uint64_t first, uint64_t last);

/* ---- metadata ------------------------------------------------------------ */

/* How a value lies in memory, GGUF's own numbers: spec_meta.impl.raw. An array of n strings has
 * n + 1 offsets in its data, the last of them its end. */
typedef enum specp_raw {
    SPECP_RAW_U8 = 0,
    SPECP_RAW_I8 = 1,
    SPECP_RAW_U16 = 2,
    SPECP_RAW_I16 = 3,
    SPECP_RAW_U32 = 4,
    SPECP_RAW_I32 = 5,
    SPECP_RAW_F32 = 6,
    SPECP_RAW_BOOL = 7,
    SPECP_RAW_STRING = 8, /* 8 bytes length, then the bytes */
    SPECP_RAW_ARRAY = 9,
    SPECP_RAW_U64 = 10,
    SPECP_RAW_I64 = 11,
    SPECP_RAW_F64 = 12,
    SPECP_RAWS = 13
} specp_raw;

/* Bytes of one value; 0 for strings and arrays. */
size_t specp_raw_bytes(specp_raw raw);
spec_meta_kind specp_raw_kind(specp_raw raw);
/* A scalar that is no string: kind and value. */
void specp_meta_decode(spec_meta *m, specp_raw raw, const void *data);
/* The reverse: the bytes of its raw type. */
void specp_meta_encode(const spec_meta *m, uint8_t out[8]);
/* Element i of an array, or the scalar itself. SPEC_ERR_NOT_FOUND (m is NULL), SPEC_ERR_INVALID. */
int specp_meta_element(const spec_meta *m, uint64_t i, spec_meta *out);

struct json_t;
/* Adds what a JSON object holds, each key with `prefix` before it. Nested objects, and arrays
 * whose elements are not all of one scalar kind, are flattened: KEY.INNER, KEY.0, KEY.1.
 * null is left out. */
int specp_tensors_add_json(spec_tensors *f, const char *shown, const char *prefix, struct json_t *object);
/* Parses an object, which the caller decrefs; messages begin with "SHOWN: WHAT".
 * SPEC_ERR_CORRUPT, SPEC_ERR_NOMEM. any_integer: where one has more than 63 bits, as in
 * some configs, all come as reals. The JSON reader's own memory is the C library's. */
int specp_tensors_parse_json(spec_tensors *f, const char *shown, const char *what, const void *text, size_t n,
                             bool any_integer, struct json_t **out);

/* ---- readers ------------------------------------------------------------- */

/* Does the file begin like one? */
bool specp_gguf_is(const specp_file *file);
bool specp_safetensors_is(const specp_file *file);
bool specp_safetensors_index_is(const specp_file *file);
bool specp_llama2c_is(const specp_file *file);

int specp_gguf_read(spec_tensors *f, const specp_file *file);
int specp_safetensors_read(spec_tensors *f, const specp_file *file);
int specp_safetensors_read_index(spec_tensors *f, const specp_file *index);
int specp_safetensors_read_folder(spec_tensors *f);
int specp_llama2c_read(spec_tensors *f, const specp_file *file);

#endif

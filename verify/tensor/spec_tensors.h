/* SPDX-License-Identifier: MIT */
/*
 * spec_tensors.h - files of named tensors: GGUF v2 and v3 (one file or split),
 * safetensors (one file, a sharded index, or a folder with config.json) and
 * llama2.c checkpoints (v0 and v1), all seen alike. Files are mapped and nothing
 * is copied; writers for GGUF and safetensors.
 *
 *     spec_tensors *f;
 *     spec_tensors_open(&f, "model.gguf", NULL, &why);
 *     const spec_tensor *t = spec_tensors_find(f, "token_embd.weight");
 *     ... t->data, until spec_tensors_free(f)
 */
#ifndef SPEC_TENSORS_H
#define SPEC_TENSORS_H

#include "specdec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element types. Quantised ones come in blocks along a row (GGUF's formats). */
typedef enum spec_type {
    SPEC_TYPE_F32 = 0,
    SPEC_TYPE_F16 = 1,
    SPEC_TYPE_BF16 = 2,
    SPEC_TYPE_Q8_0 = 3, /* 32 codes of 8 bits, an F16 scale */
    SPEC_TYPE_Q4_0 = 4, /* 32 of 4 bits */
    SPEC_TYPE_Q5_0 = 5, /* 32 of 5 bits */
    SPEC_TYPE_Q4_K = 6, /* 256 of 4 bits, scale and minimum of 6 bits for each 32 */
    SPEC_TYPE_Q5_K = 7, /* likewise of 5 bits */
    SPEC_TYPE_Q6_K = 8, /* 256 of 6 bits, a scale of 8 bits for each 16 */
    SPEC_TYPE_F64 = 9,
    SPEC_TYPE_I8 = 10,
    SPEC_TYPE_U8 = 11,
    SPEC_TYPE_I16 = 12,
    SPEC_TYPE_I32 = 13,
    SPEC_TYPE_I64 = 14,
    SPEC_TYPE_BOOL = 15, /* a byte, 0 or 1 */
    SPEC_TYPES = 16
} spec_type;

/* "Q8_0"; "?" for what is no type. Never NULL. */
SPEC_API const char *spec_type_name(spec_type type);
/* SPEC_ERR_NOT_FOUND: there is no type of that name (any case). */
SPEC_API int spec_type_find(const char *name, spec_type *out);
/* Elements in a block (1 for plain types), and bytes of one. */
SPEC_API size_t spec_type_block(spec_type type);
SPEC_API size_t spec_type_block_bytes(spec_type type);

#define SPEC_TENSOR_DIMS 4

typedef struct spec_tensor {
    const char *name;
    spec_type type;
    uint32_t n_dims;
    uint64_t dim[SPEC_TENSOR_DIMS]; /* outermost first, as numpy prints it: a matrix that maps n_in
                                     * to n_out is (n_out, n_in). Unused ones are 1 */
    const void *data;               /* row-major; aligned to its element or not at all */
    size_t bytes;
} spec_tensor;

/* ---- metadata ------------------------------------------------------------ */

typedef enum spec_meta_kind {
    SPEC_META_UINT,
    SPEC_META_INT,
    SPEC_META_FLOAT,
    SPEC_META_BOOL,
    SPEC_META_STRING,
    SPEC_META_ARRAY
} spec_meta_kind;

/*
 * One key and its value. Keys are the file's own: GGUF's "llama.block_count";
 * for a folder of safetensors those of config.json, nested ones joined by a dot,
 * with "config." before them ("config.rope_scaling.factor"), and the file's
 * __metadata__ as it stands; for llama2.c checkpoints "llama2c.dim" and so on.
 */
typedef struct spec_meta {
    const char *key;
    spec_meta_kind kind;
    spec_meta_kind element; /* of an array */
    uint64_t n;             /* elements of an array, bytes of a string */
    union {
        uint64_t u;
        int64_t i;
        double f;
        int b;
        const char *s; /* n bytes; a 0 follows only where the header says so: use n */
    } value;
    struct {
        uint32_t raw;            /* GGUF's number of the type, of an array that of its elements */
        const void *data;        /* of an array: its elements, as in a file */
        const uint64_t *offsets; /* of strings: where each begins in it */
    } impl;                      /* private */
} spec_meta;

typedef struct spec_tensors spec_tensors;

/*
 * Opens a file or a folder. The format is told by the content, not by the name.
 * A split GGUF is opened by its first part; sharded safetensors by the folder or
 * by model.safetensors.index.json. Only headers are read.
 *
 * Every offset, size, dimension, count and name is checked here: what the
 * handle gives out afterwards can be relied on, and any threads may read it. On
 * failure *why names the file, the place and what was expected. (JSON is parsed
 * by jansson, whose memory while it does so is the C library's.) The files must not be cut
 * short or written to while the handle lives: they are mapped, and the system ends a process that
 * reads a page that is gone. (Replacing one by another of its name is fine.)
 *
 * SPEC_ERR_NOT_FOUND, SPEC_ERR_IO, SPEC_ERR_CORRUPT (truncated, damaged, or of no
 * known format), SPEC_ERR_INVALID (a later part of a split model), SPEC_ERR_VERSION,
 * SPEC_ERR_UNSUPPORTED (an element type that the library does not read; named, with
 * those it reads), SPEC_ERR_NOMEM.
 */
SPEC_API SPEC_MUST_CHECK int spec_tensors_open(spec_tensors **out, const char *path,
                                               const spec_allocator *alloc, spec_message *why);
/* Unmaps. All tensors, names and metadata die. NULL is accepted. */
SPEC_API void spec_tensors_free(spec_tensors *f);

/* "GGUF v3", "safetensors", "llama2.c v0". */
SPEC_API const char *spec_tensors_format(const spec_tensors *f);
/* The path that was opened. */
SPEC_API const char *spec_tensors_path(const spec_tensors *f);

SPEC_API size_t spec_tensors_count(const spec_tensors *f);
SPEC_API const spec_tensor *spec_tensors_at(const spec_tensors *f, size_t i); /* NULL past the end */
SPEC_API const spec_tensor *spec_tensors_find(const spec_tensors *f, const char *name); /* or NULL. O(1) */

SPEC_API size_t spec_tensors_meta_count(const spec_tensors *f);
SPEC_API const spec_meta *spec_tensors_meta_at(const spec_tensors *f, size_t i);
SPEC_API const spec_meta *spec_tensors_meta(const spec_tensors *f, const char *key); /* or NULL. O(1) */

/* Values, converted where nothing is lost; SPEC_ERR_NOT_FOUND (no such key),
 * SPEC_ERR_INVALID (of another kind, or out of range): *out is untouched. */
SPEC_API int spec_tensors_uint(const spec_tensors *f, const char *key, uint64_t *out);
SPEC_API int spec_tensors_float(const spec_tensors *f, const char *key, double *out);
SPEC_API int spec_tensors_bool(const spec_tensors *f, const char *key, int *out);
/* Element i of an array (any i for a scalar: the scalar). A string's bytes are
 * borrowed. m may be NULL, as spec_tensors_meta gives it: SPEC_ERR_NOT_FOUND. Arrays of arrays
 * have no elements that can be read: SPEC_ERR_INVALID. */
SPEC_API int spec_meta_uint(const spec_meta *m, uint64_t i, uint64_t *out);
SPEC_API int spec_meta_int(const spec_meta *m, uint64_t i, int64_t *out);
SPEC_API int spec_meta_float(const spec_meta *m, uint64_t i, double *out);
SPEC_API int spec_meta_bool(const spec_meta *m, uint64_t i, int *out);
SPEC_API int spec_meta_string(const spec_meta *m, uint64_t i, const char **s, size_t *n);

/* ---- writing ------------------------------------------------------------- */

/*
 * A writer collects metadata and the tensors' descriptions, then streams the
 * data: the file is never held in memory. It is written to a temporary name,
 * fsynced and renamed by _finish; without that (or after an error) nothing of it
 * stays.
 *
 *     spec_writer_new(&w, path, SPEC_FORMAT_GGUF, alloc, &why)
 *     spec_writer_meta_uint(w, "llama.block_count", 22) ...
 *     spec_writer_tensor(w, "token_embd.weight", SPEC_TYPE_F16, 2, dim) ...
 *     spec_writer_data(w, row, bytes) ...      in the order of the tensors, any pieces
 *     spec_writer_finish(w, &why)              frees the writer, error or not
 */
typedef enum spec_format { SPEC_FORMAT_GGUF = 1, SPEC_FORMAT_SAFETENSORS = 2 } spec_format;

typedef struct spec_writer spec_writer;

/* Copies path. A regular file there is replaced by _finish, which keeps its permissions.
 * SPEC_ERR_INVALID (no name in the path, no such format), SPEC_ERR_IO (also where something else
 * than a regular file is there), SPEC_ERR_NOMEM. */
SPEC_API SPEC_MUST_CHECK int spec_writer_new(spec_writer **out, const char *path, spec_format format,
                                             const spec_allocator *alloc, spec_message *why);
/* Metadata; only strings are possible in safetensors (the others are written as
 * text: numbers, true and false, arrays as JSON has them). SPEC_ERR_INVALID (a key
 * twice or not valid; GGUF's general.alignment and split.*, which describe the file
 * and not the model; a float too large; what JSON cannot say: NaN, infinity, text
 * with zero bytes or not UTF-8), SPEC_ERR_STATE (data has begun), SPEC_ERR_NOMEM. */
SPEC_API SPEC_MUST_CHECK int spec_writer_meta_uint(spec_writer *w, const char *key,
                                                   uint64_t value); /* u32 if it fits */
SPEC_API SPEC_MUST_CHECK int spec_writer_meta_float(spec_writer *w, const char *key, double value); /* f32 */
SPEC_API SPEC_MUST_CHECK int spec_writer_meta_bool(spec_writer *w, const char *key, int value);
SPEC_API SPEC_MUST_CHECK int spec_writer_meta_string(spec_writer *w, const char *key, const char *s,
                                                     size_t n);
SPEC_API SPEC_MUST_CHECK int spec_writer_meta_strings(spec_writer *w, const char *key, const char *const *s,
                                                      const size_t *len, size_t n);
SPEC_API SPEC_MUST_CHECK int spec_writer_meta_floats(spec_writer *w, const char *key, const float *x,
                                                     size_t n);
SPEC_API SPEC_MUST_CHECK int spec_writer_meta_ints(spec_writer *w, const char *key, const int32_t *x,
                                                   size_t n);
/* Copies an entry of an opened file, its type too; leaves out those that describe the file.
 * SPEC_ERR_UNSUPPORTED: an array of arrays. */
SPEC_API SPEC_MUST_CHECK int spec_writer_meta_copy(spec_writer *w, const spec_meta *m);
/* dim as in spec_tensor. SPEC_ERR_UNSUPPORTED: the format has no such type. SPEC_ERR_INVALID (a
 * name twice or not valid, rows that are no whole blocks, too large), SPEC_ERR_STATE,
 * SPEC_ERR_NOMEM. */
SPEC_API SPEC_MUST_CHECK int spec_writer_tensor(spec_writer *w, const char *name, spec_type type,
                                                uint32_t n_dims, const uint64_t *dim);
/* SPEC_ERR_INVALID: more data than the tensors have; the writer is as before. SPEC_ERR_IO,
 * SPEC_ERR_NOMEM: the file is given up; every later call returns that error, and _finish its
 * message. */
SPEC_API SPEC_MUST_CHECK int spec_writer_data(spec_writer *w, const void *data, size_t bytes);
/* Beyond those, SPEC_ERR_INVALID: data is missing. */
SPEC_API SPEC_MUST_CHECK int spec_writer_finish(spec_writer *w, spec_message *why);
/* Gives up: removes the temporary file. NULL is accepted. */
SPEC_API void spec_writer_abandon(spec_writer *w);

/* ---- conversion ---------------------------------------------------------- */

/* n elements of any numeric type to floats and back; n a multiple of the type's
 * block. Quantising is deterministic, to nearest; NaN becomes 0 in quantised types.
 * SPEC_ERR_INVALID (n), SPEC_ERR_UNSUPPORTED (floats to integers). */
SPEC_API int spec_type_to_float(spec_type type, const void *src, float *dst, size_t n);
SPEC_API int spec_type_from_float(spec_type type, const float *src, void *dst, size_t n);

#ifdef __cplusplus
}
#endif
#endif

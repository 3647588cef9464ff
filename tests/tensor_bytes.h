/* SPDX-License-Identifier: MIT */
/*
 * tensor_bytes.h - tensor files made byte by byte, without the library's writers,
 * and a walk over an opened one that checks all that its header promises.
 */
#ifndef TENSOR_BYTES_H
#define TENSOR_BYTES_H

#include "support.h"

#include "spec_tensors.h"

typedef struct bytes {
    uint8_t *data;
    size_t n, cap;
} bytes;

void bytes_add(bytes *b, const void *data, size_t n);
void bytes_u8(bytes *b, uint8_t x);
void bytes_u32(bytes *b, uint32_t x);
void bytes_u64(bytes *b, uint64_t x);
void bytes_f32(bytes *b, float x);
void bytes_text(bytes *b, const char *text); /* the characters alone */
void bytes_fill(bytes *b, uint8_t x, size_t n);
void bytes_align(bytes *b, size_t to); /* with zeros */
void bytes_free(bytes *b);

/* ---- GGUF ---------------------------------------------------------------- */

/* Value types, and some types of tensors, by their numbers in the file. */
enum { G_U8, G_I8, G_U16, G_I16, G_U32, G_I32, G_F32, G_BOOL, G_STRING, G_ARRAY, G_U64, G_I64, G_F64 };
enum { G_TENSOR_F32 = 0, G_TENSOR_F16 = 1, G_TENSOR_Q4_0 = 2, G_TENSOR_Q4_1 = 3, G_TENSOR_Q8_0 = 8 };

void gguf_header(bytes *b, uint32_t version, uint64_t n_tensors, uint64_t n_entries);
void gguf_string(bytes *b, const char *s);
/* The key and the type; the value follows. */
void gguf_key(bytes *b, const char *key, uint32_t type);
void gguf_u32(bytes *b, const char *key, uint32_t value);
void gguf_text(bytes *b, const char *key, const char *value);
void gguf_array(bytes *b, const char *key, uint32_t type, uint64_t n);
/* ne: innermost first, as in the file. */
void gguf_tensor(bytes *b, const char *name, uint32_t n_dims, const uint64_t *ne, uint32_t type,
                 uint64_t offset);

/* ---- safetensors --------------------------------------------------------- */

/* The length, the header and n bytes of data, 0, 1, 2, ... */
void safetensors_file(bytes *b, const char *header, size_t n);

/* ---- opening ------------------------------------------------------------- */

/* Writes the bytes to path and opens it. Unless the code is `expected` and the
 * message has the path's last part and `says` in it, the test fails. */
void expect_open(const char *path, const bytes *b, int expected, const char *says);
/* Opens, or fails the test. */
spec_tensors *must_open(const char *path, const spec_allocator *a);

/* Reads every tensor's data and every value. NULL, or what is wrong. */
const char *tensors_fault(const spec_tensors *f);

/* Copies what the format can hold into a new file at path, opens that and compares; removes it.
 * NULL, or what is wrong. */
const char *tensors_copy_fault(const spec_tensors *f, const char *path, spec_format format);

/* Every prefix of the file is refused as damaged, or as of no known format. */
void check_truncations(const char *path, const bytes *b);
/* Each bit of the first n bytes flipped alone: refused, or a file without fault. Returns how
 * many were refused. */
size_t check_flips(const char *path, const bytes *b, size_t n);
/* Opens path while every allocation in turn is refused. */
void check_refusals(const char *path);

/* ---- writing ------------------------------------------------------------- */

spec_writer *must_begin(const char *path, spec_format format);
void must_finish(spec_writer *w);
/* The file at path has these bytes. */
void must_equal(const char *path, const void *expected, size_t n);

#endif

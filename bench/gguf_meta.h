/* SPDX-License-Identifier: MIT */
/* gguf_meta.h - the metadata of a model in GGUF, a key at a time; after an error nothing more is written. */
#ifndef BENCH_GGUF_META_H
#define BENCH_GGUF_META_H

#include "spec_tensors.h"

typedef struct gguf_meta {
    spec_writer *w;
    const char *arch; /* before the names of numbers: "llama" gives "llama.block_count" */
    int rc;           /* SPEC_OK, or what went wrong first */
} gguf_meta;

void gguf_meta_uint(gguf_meta *m, const char *name, uint64_t v);
void gguf_meta_float(gguf_meta *m, const char *name, double v);
void gguf_meta_text(gguf_meta *m, const char *key, const char *text);

/* What every architecture has. */
typedef struct gguf_shape {
    spec_type type; /* of the matrices */
    uint64_t vocab, context, dim, layers, hidden, heads, kv, head_dim;
    double rope_base, eps;
} gguf_shape;

void gguf_meta_shape(gguf_meta *m, const gguf_shape *s);

#endif

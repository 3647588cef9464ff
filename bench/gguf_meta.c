/* SPDX-License-Identifier: MIT */
/* gguf_meta.c - the metadata of a model in GGUF. */
#include "gguf_meta.h"

#include <stdio.h>
#include <string.h>

#define KEY_BYTES 96

static const char *key_of(const gguf_meta *m, const char *name, char buf[KEY_BYTES]) {
    snprintf(buf, KEY_BYTES, "%s.%s", m->arch, name);
    return buf;
}

void gguf_meta_uint(gguf_meta *m, const char *name, uint64_t v) {
    char buf[KEY_BYTES];
    if (m->rc == SPEC_OK) m->rc = spec_writer_meta_uint(m->w, key_of(m, name, buf), v);
}

void gguf_meta_float(gguf_meta *m, const char *name, double v) {
    char buf[KEY_BYTES];
    if (m->rc == SPEC_OK) m->rc = spec_writer_meta_float(m->w, key_of(m, name, buf), v);
}

void gguf_meta_text(gguf_meta *m, const char *key, const char *text) {
    if (m->rc == SPEC_OK) m->rc = spec_writer_meta_string(m->w, key, text, strlen(text));
}

void gguf_meta_shape(gguf_meta *m, const gguf_shape *s) {
    if (m->rc == SPEC_OK && spec_type_block(s->type) > 1)
        m->rc = spec_writer_meta_uint(m->w, "general.quantization_version", 2);
    gguf_meta_uint(m, "vocab_size", s->vocab);
    gguf_meta_uint(m, "context_length", s->context);
    gguf_meta_uint(m, "embedding_length", s->dim);
    gguf_meta_uint(m, "block_count", s->layers);
    gguf_meta_uint(m, "feed_forward_length", s->hidden);
    gguf_meta_uint(m, "attention.head_count", s->heads);
    gguf_meta_uint(m, "attention.head_count_kv", s->kv);
    gguf_meta_uint(m, "attention.key_length", s->head_dim);
    gguf_meta_uint(m, "attention.value_length", s->head_dim);
    gguf_meta_uint(m, "rope.dimension_count", s->head_dim);
    gguf_meta_float(m, "rope.freq_base", s->rope_base);
    gguf_meta_float(m, "attention.layer_norm_rms_epsilon", s->eps);
}

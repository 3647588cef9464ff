/* SPDX-License-Identifier: MIT */
/*
 * tiny_model.h - random model files of every architecture, small enough for any
 * test: GGUF files, and folders of safetensors as published checkpoints lie.
 *
 *     tiny_model m = tiny_model_of("gemma2");
 *     m.type = SPEC_TYPE_Q8_0;
 *     tiny_model_write(&m, path);
 *
 * Equal descriptions give equal files. The same description in both formats
 * gives the same function: weights depend on the seed and on what they are, not
 * on the format or on other weights. In F32 only their order may differ (llama's
 * rows of q and k lie otherwise, so sums come out in another order).
 *
 * A matrix whose rows are no multiple of the type's block is written in F32.
 */
#ifndef TESTS_TINY_MODEL_H
#define TESTS_TINY_MODEL_H

#include <stdbool.h>

#include "spec_tensors.h"

/* A change to what is written, for tests of what must be refused. */
typedef enum tiny_change {
    TINY_DROP,  /* the tensor or the metadata of this name is not written */
    TINY_UINT,  /* the metadata becomes `number`, or is added */
    TINY_FLOAT, /* likewise */
    TINY_TEXT,  /* likewise, `text` */
    TINY_ROWS,  /* the tensor's first dimension grows by `number` */
    TINY_NAN,   /* the tensor's last value is NaN */
    TINY_TYPE,  /* the matrix has the spec_type `number` */
    TINY_ADD,   /* a vector more, of `number` zeros */
} tiny_change;

typedef struct tiny_edit {
    tiny_change change;
    const char *name; /* as it is in the file; config.json's keys without "config." */
    double number;
    const char *text;
} tiny_edit;

typedef struct tiny_model {
    const char *arch;   /* llama, mistral, mixtral, qwen2, qwen3, gemma2, gemma3 or olmo2 */
    spec_format format; /* SPEC_FORMAT_SAFETENSORS: the path becomes a folder */
    spec_type type;     /* of the matrices */
    size_t dim, layers, heads, kv_heads, head_dim, ff, vocab, context;
    size_t experts, experts_used; /* 0: dense */
    bool split_experts;           /* GGUF: a tensor for each, as older files have them */
    size_t window;                /* 0: none */
    bool tied;
    bool rope_factors; /* llama 3's: rope_freqs.weight, or rope_scaling in config.json */
    bool nested;       /* config.json: the model within a "text_config", names under "language_model.".
                            * The end of sequence, 2, is also given outside */
    uint64_t seed;
    tiny_edit edit[8]; /* (n_edits) */
    size_t n_edits;
    const char *config; /* more members for config.json: "\"key\": value, ..." or NULL */
} tiny_model;

/* Two layers (gemma3: seven) of 4 heads, dim 64, 128 tokens, and what the
 * architecture is known for: grouped queries, experts, windows, heads wider than
 * dim / heads. */
tiny_model tiny_model_of(const char *arch);

/* Fails the test when it cannot. */
void tiny_model_write(const tiny_model *m, const char *path);

#endif

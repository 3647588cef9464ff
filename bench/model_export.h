/* SPDX-License-Identifier: MIT */
/*
 * model_export.h - a trained llama as a GGUF file: any program that reads such files
 * can run it.
 *
 *     model_export e = {.model = m, .vocab = f, .type = SPEC_TYPE_Q8_0, .context = 1024};
 *     e.name = "tiny english", e.license = "MIT";
 *     model_export_write("model.gguf", &e, NULL, &why)
 */
#ifndef BENCH_MODEL_EXPORT_H
#define BENCH_MODEL_EXPORT_H

#include "spm_vocab.h"
#include "train_llama.h"

/* A line of metadata: "general.source.url", "tokenizer.chat_template", ... */
typedef struct model_export_meta {
    const char *key, *value;
} model_export_meta;

typedef struct model_export {
    const train_llama *model;
    /* The vocabulary, one of them or none: all tokenizer.* of another file, or one from spm_train. Not
     * more tokens than the model has rows for. */
    const spec_tensors *vocab;
    const spm_vocab *spm;
    spec_type type;                /* of the matrices, F32 to Q6_K; norms are F32 */
    size_t context;                /* tokens that it was trained to see */
    const char *name;              /* general.name; NULL: none */
    const char *license;           /* general.license, an SPDX expression; NULL: none */
    const model_export_meta *meta; /* (n_meta) */
    size_t n_meta;
} model_export;

/*
 * Writes the file, whole or not at all. SPEC_ERR_INVALID: a type that does not fit a matrix or is no
 * type of floats, no context, a vocabulary that is too large, a metadata key twice, a weight that
 * is not finite or that the type cannot hold (the message names tensor and place). SPEC_ERR_IO,
 * SPEC_ERR_NOMEM. alloc may be NULL.
 */
int model_export_write(const char *path, const model_export *e, const spec_allocator *alloc,
                       spec_message *why);

#endif

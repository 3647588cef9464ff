/* SPDX-License-Identifier: MIT */
/* train_save.h - trained tensors as a file that the library loads. */
#ifndef TRAIN_SAVE_H
#define TRAIN_SAVE_H

#include "train_params.h"

/* An entry of metadata; safetensors have it as text. */
typedef struct train_meta {
    const char *key;
    spec_meta_kind kind; /* all but SPEC_META_INT */
    const char *s;       /* of a string */
    double f;
    uint64_t u;          /* also of a truth value */
    const int32_t *ints; /* (n) of an array */
    size_t n;
} train_meta;

typedef struct train_file {
    spec_format format;
    spec_type type; /* of matrices: any of floats, in GGUF a quantised one too. Vectors are F32 */
    struct {
        const train_meta *entry;
        size_t n;
    } meta[2];               /* one list after the other */
    const spec_tensor *more; /* follow the views, as they are */
    size_t n_more;
} train_file;

/*
 * All views under their names, rounded to f->type. The file appears whole or not at all.
 * SPEC_ERR_INVALID (a value that is not finite; a row that is no whole blocks of the type; a
 * key twice: the message says which), SPEC_ERR_UNSUPPORTED (a type that the format lacks),
 * SPEC_ERR_IO, SPEC_ERR_NOMEM.
 */
int train_save(const train_params *p, const char *path, const train_file *f, spec_message *why);

#endif

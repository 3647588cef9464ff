/* SPDX-License-Identifier: MIT */
/*
 * logits.h - recorded logits, (tokens, vocabulary), from a .npy or a safetensors
 * file, and the token ids that they belong to. docs/FORMATS.md has the formats.
 */
#ifndef BENCH_LOGITS_H
#define BENCH_LOGITS_H

#include "npy.h"
#include "spec_tensors.h"

typedef struct logits {
    const char *path; /* borrowed */
    size_t n, vocab;
    spec_token *token; /* (n) that the file itself holds, or NULL */
    npy array;         /* one of these two holds them */
    spec_tensors *file;
    const spec_tensor *tensor;
} logits;

/* Errors as of npy_open and spec_tensors_open; *why names the file and what was expected.
 * The path must live as long. */
int logits_open(logits *out, const char *path, spec_message *why);
void logits_close(logits *l);

/* Row i as floats. SPEC_ERR_CORRUPT: it holds what is no finite number. */
int logits_row(const logits *l, size_t i, float *out, spec_message *why);

/*
 * Token ids from a file: .npy with integers of one dimension, or text, numbers set
 * apart by blanks, commas or brackets (so a JSON array too). *out is the caller's
 * to free.
 */
int logits_read_ids(spec_token **out, size_t *n, const char *path, spec_message *why);

#endif

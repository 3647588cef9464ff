/* SPDX-License-Identifier: MIT */
/*
 * train_text.h - vocabularies and text files for training: a file's documents stand between
 * lines that hold nothing but <|doc|>, or it is one document.
 *
 *     train_vocab_open(&v, "en.vocab", &options, &why)
 *     train_text_add(data, v.tokenizer, "a.txt", &why)
 *     train_vocab_close(&v)
 */
#ifndef BENCH_TRAIN_TEXT_H
#define BENCH_TRAIN_TEXT_H

#include "spec_tokenizer.h"
#include "spm_vocab.h"
#include "train_data.h"

#define TRAIN_TEXT_SEPARATOR "<|doc|>"

typedef struct train_vocab {
    spec_tokenizer *tokenizer;
    spec_tokenizer_info info;
    spec_tensors *file; /* where the vocabulary came from a model file */
    spm_vocab spm;      /* or from spm_train, if it has pieces */
} train_vocab;

/* Any file that spec_tokenizer_load takes, if it is a model's (GGUF), or a .vocab of spm_train, told by
 * its name. Errors are those of spec_tensors_open, spec_tokenizer_open and spm_vocab_load. */
int train_vocab_open(train_vocab *out, const char *path, const spm_vocab_options *o, spec_message *why);
void train_vocab_close(train_vocab *v); /* of one that is all zero too */

/* Adds the file's documents, each between the vocabulary's bos and eos; empty ones are left out.
 * SPEC_ERR_NOT_FOUND, SPEC_ERR_IO, SPEC_ERR_UNSUPPORTED (no token for something: the message has file and
 * line where the document begins), SPEC_ERR_NOMEM: some of them may have been added. */
int train_text_add(train_data *d, const train_vocab *v, const char *path, spec_message *why);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * spm_vocab.h - a vocabulary as SentencePiece's BPE has it, and how GGUF keeps it: pieces
 * with scores, merged by score; what no piece covers goes out as bytes.
 *
 *     spm_vocab_load(&v, "en.vocab", &(spm_vocab_options){.no_dummy_prefix = true}, NULL, &why)
 *     spm_vocab_save(&v, "en.gguf", &why)         the vocabulary alone, as spec_tokenizer_load takes it
 *     spm_vocab_write(w, &v)                      or into a model's file
 *     spm_vocab_release(&v)
 *
 * The tokenizer then gives the tokens of spm_encode, if spm_train was called with
 *
 *     --model_type=bpe --normalization_rule_name=identity --remove_extra_whitespaces=false
 *
 * and --add_dummy_prefix=false if there are user-defined symbols (GGUF's tokenizers would put a blank
 * behind each of them too). With --byte_fallback=true any text comes back from its tokens.
 */
#ifndef BENCH_SPM_VOCAB_H
#define BENCH_SPM_VOCAB_H

#include "spec_tensors.h"
#include "specp.h"

typedef struct spm_vocab {
    size_t n;
    const char **piece; /* (n) into text */
    size_t *length;     /* (n) */
    float *score;       /* (n) */
    int32_t *kind;      /* (n) spec_token_kind */
    char *text;         /* (n_text) */
    size_t n_text;
    spec_token unknown, bos, eos; /* -1: none */
    bool no_dummy_prefix;
    spec_allocator alloc;
} spm_vocab;

/* What spm_train was told and a .vocab file does not say. */
typedef struct spm_vocab_options {
    const char *control;  /* --control_symbols, with commas between; NULL: none. Others that are neither
                           * bytes nor merged are user-defined symbols */
    bool no_dummy_prefix; /* --add_dummy_prefix=false: no blank is put before a text */
} spm_vocab_options;

/*
 * Reads the file PREFIX.vocab that spm_train writes: a piece, a tab and its score a line, numbered
 * from 0. options and alloc may be NULL. SPEC_ERR_NOT_FOUND, SPEC_ERR_IO, SPEC_ERR_NOMEM;
 * SPEC_ERR_CORRUPT, with file and line: no such line, a piece twice or not UTF-8, no <unk>, some but
 * not all bytes, a control symbol that is not there; SPEC_ERR_UNSUPPORTED: scores that are not BPE's.
 */
int spm_vocab_load(spm_vocab *out, const char *path, const spm_vocab_options *options,
                   const spec_allocator *alloc, spec_message *why);
/* Room for n pieces with n_text bytes, all zero, without special tokens. SPEC_ERR_NOMEM. */
int spm_vocab_new(spm_vocab *out, size_t n, size_t n_text, const spec_allocator *alloc);
void spm_vocab_release(spm_vocab *v); /* of one that is all zero too */

/* Writes the tokenizer's metadata. What the writer returns. */
int spm_vocab_write(spec_writer *w, const spm_vocab *v);
/* A GGUF file with the vocabulary and no tensors. */
int spm_vocab_save(const spm_vocab *v, const char *path, spec_message *why);

#endif

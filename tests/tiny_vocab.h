/* SPDX-License-Identifier: MIT */
/*
 * tiny_vocab.h - small vocabularies for tests: made up, changed at will, and written as
 * GGUF metadata, or as the text of a tokenizer.json or the bytes of a tokenizer.bin.
 */
#ifndef TESTS_TINY_VOCAB_H
#define TESTS_TINY_VOCAB_H

#include "spec_tokenizer.h"
#include "support.h"

#define TINY_MAX 700

typedef struct tiny_token {
    char text[40];
    size_t n;
    float score;
    int kind;
} tiny_token;

/* Numbers below 0 stand for keys that are left out. */
typedef struct tiny_vocab {
    const char *model, *pre; /* NULL: left out */
    tiny_token token[TINY_MAX];
    size_t n;
    char merge[TINY_MAX][84]; /* "left right" */
    size_t n_merges;
    long bos, eos, unknown; /* -2: the number -1 */
    int add_bos, add_eos, add_space;
    bool no_scores, no_kinds;
    const char *chat_template;
} tiny_vocab;

void tiny_init(tiny_vocab *v, const char *model);
/* Returns the id. */
size_t tiny_add(tiny_vocab *v, const char *text, float score, int kind);
void tiny_merge(tiny_vocab *v, const char *left, const char *right);

/* <unk> <s> </s>, the 256 bytes, U+2581 and the letters a to e; no longer tokens. */
void tiny_spm(tiny_vocab *v);
/* The 256 bytes in GPT-2's letters, in the order of the bytes. */
void tiny_bpe(tiny_vocab *v, const char *pre);
/* GPT-2's letter of a byte, UTF-8. */
const char *tiny_letter(int byte);

/* Writes the metadata to a GGUF file without tensors. */
void tiny_write_gguf(const tiny_vocab *v, const char *path);
/* Through a file of that name in a new directory: what spec_tokenizer_load says. */
int tiny_load(const tiny_vocab *v, spec_tokenizer **out, const spec_allocator *alloc, spec_message *why);
/* The same, which must succeed. */
spec_tokenizer *tiny_open(const tiny_vocab *v);
/* A file of that name and content in a new directory, loaded. */
int tiny_load_text(const char *name, const void *data, size_t n, spec_tokenizer **out,
                   const spec_allocator *alloc, spec_message *why);

/* Encodes into a buffer of its own (valid until the next call); must succeed. */
const spec_token *tiny_encode(const spec_tokenizer *t, const char *text, size_t n, unsigned flags,
                              size_t *n_tokens);
/* Fails the test unless the tokens' pieces, with | between, are `want`. */
void tiny_expect(const spec_tokenizer *t, const char *text, unsigned flags, const char *want);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * spec_tokenizer.h - text to tokens and back, with the vocabulary that a model
 * file brings along.
 *
 *     spec_tokenizer_load(&t, "model.gguf", NULL, &why)
 *     spec_tokenizer_encode(t, text, n, SPEC_ENCODE_ADD_SPECIAL, tokens, cap, &n_tokens, &why)
 *     spec_detokenizer_new(&d, t, SPEC_DETOKENIZE_SKIP_SPECIAL)
 *     for each token: spec_detokenizer_push(d, token, &piece, &n_piece)
 *     spec_detokenizer_finish(d, &piece, &n_piece)
 *
 * Two kinds of vocabulary:
 *
 *   SPM  SentencePiece's: characters are merged as the scores of the merged
 *        tokens say; a character outside the vocabulary becomes its bytes
 *   BPE  a list of merges: over bytes (GPT-2 and what came after it; a pattern first
 *        cuts the text into words), or over characters (SentencePiece vocabularies
 *        in Hugging Face's form)
 *
 * They are read from GGUF metadata, from a tokenizer.json (with its
 * tokenizer_config.json, config.json and generation_config.json, where there are
 * any) and from llama2.c's tokenizer.bin. Ids are those of llama.cpp for the
 * first, of run.c for the last. Text is taken as it stands: the Unicode
 * normalisation (NFC) that some tokenizer.json ask for is left out.
 *
 * Any bytes can be encoded: what is not UTF-8 is encoded byte by byte. Decoding
 * gives them back (spec_tokenizer_piece), or U+FFFD (the detokenizer).
 *
 * Threads: a tokenizer does not change once made; any number of threads may use it.
 */
#ifndef SPEC_TOKENIZER_H
#define SPEC_TOKENIZER_H

#include "spec_tensors.h"
#include "specdec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spec_tokenizer spec_tokenizer;

/* GGUF's numbers. */
typedef enum spec_token_kind {
    SPEC_TOKEN_NORMAL = 1,
    SPEC_TOKEN_UNKNOWN = 2, /* stands for what the vocabulary cannot say */
    SPEC_TOKEN_CONTROL = 3, /* <s>, <|im_end|>: found in a text only when asked for */
    SPEC_TOKEN_USER = 4,    /* added later: always found in a text, before anything is merged */
    SPEC_TOKEN_UNUSED = 5,
    SPEC_TOKEN_BYTE = 6, /* <0x0A> */
} spec_token_kind;

/*
 * The tokenizer of an opened model file: a GGUF file's own, otherwise the
 * tokenizer.json or tokenizer.bin in the folder of the file. Copies what it needs.
 *
 * SPEC_ERR_NOT_FOUND (there is none), SPEC_ERR_UNSUPPORTED (a kind of vocabulary, a pre-tokenizer
 * or a normaliser that is not known; named, with those that are), SPEC_ERR_CORRUPT
 * (arrays of different lengths, a score that is not a number, a token twice, a merge of tokens
 * that do not exist, an id outside the vocabulary, ...; named), SPEC_ERR_INVALID (*why: a path
 * that is too long), SPEC_ERR_IO, SPEC_ERR_NOMEM.
 */
SPEC_API SPEC_MUST_CHECK int spec_tokenizer_open(spec_tokenizer **out, const spec_tensors *file,
                                                 const spec_allocator *alloc, spec_message *why);

/* The same from a path: a GGUF or safetensors file, a folder, a tokenizer.json or a
 * tokenizer.bin, told apart by content. Errors as above. */
SPEC_API SPEC_MUST_CHECK int spec_tokenizer_load(spec_tokenizer **out, const char *path,
                                                 const spec_allocator *alloc, spec_message *why);

/* Detokenizers must have been freed. NULL is accepted. */
SPEC_API void spec_tokenizer_free(spec_tokenizer *t);

typedef struct spec_tokenizer_info {
    size_t size;          /* sizeof(spec_tokenizer_info), set by the caller */
    const char *model;    /* "SPM" or "BPE" */
    const char *pre;      /* the pre-tokenizer's name, "tokenizer.json" for patterns from there, or "" */
    size_t n_tokens;      /* ids are 0 to n_tokens - 1 */
    size_t longest;       /* bytes of the longest piece */
    spec_token bos, eos;  /* begin and end of a sequence; -1: none */
    spec_token eot;       /* end of a turn of a chat; -1: none */
    spec_token unknown;   /* -1: none */
    int add_bos, add_eos; /* what SPEC_ENCODE_ADD_SPECIAL adds */
    int adds_space;       /* a blank is put before the text, and taken away by decoding */
    uint64_t hash; /* of all pieces, in order: equal vocabularies, in whatever file, have equal hashes */
    const char *chat_template; /* the file's, in Jinja; NULL: none. n_chat_template bytes, then a 0 */
    size_t n_chat_template;
} spec_tokenizer_info;

/* Strings are borrowed until spec_tokenizer_free. SPEC_ERR_INVALID. */
SPEC_API int spec_tokenizer_get_info(const spec_tokenizer *t, spec_tokenizer_info *out);

/* ---- text to tokens ------------------------------------------------------ */

enum {
    SPEC_ENCODE_ADD_SPECIAL = 1,   /* begin and end of sequence, as the model wants them */
    SPEC_ENCODE_PARSE_SPECIAL = 2, /* control tokens written out in the text ("<|im_end|>") become those
                                    * tokens; otherwise they are text like any other */
};

/*
 * Encodes n bytes. The first cap tokens go to `out` (which may be NULL with cap 0),
 * and *n_tokens is how many there are.
 * SPEC_ERR_FULL: more than cap; *n_tokens is how many, and `out` holds the first cap.
 * SPEC_ERR_UNSUPPORTED: the vocabulary has no token for something in the text (named, with its place),
 * or a pattern of a tokenizer.json needs more steps than a text of this length warrants.
 * SPEC_ERR_INVALID: unknown flags, or 1 GiB or more of text. SPEC_ERR_NOMEM.
 * After these *n_tokens is 0. O(n log n) time for n bytes, at worst 70 n bytes of scratch memory (BPE: for
 * the longest word).
 */
SPEC_API SPEC_MUST_CHECK int spec_tokenizer_encode(const spec_tokenizer *t, const char *text, size_t n,
                                                   unsigned flags, spec_token *out, size_t cap,
                                                   size_t *n_tokens, spec_message *why);

/* ---- tokens -------------------------------------------------------------- */

/* The bytes a token stands for, which need not be whole characters; special tokens
 * stand for their name, unused ones for nothing. Borrowed until spec_tokenizer_free.
 * SPEC_ERR_INVALID: outside the vocabulary. */
SPEC_API int spec_tokenizer_piece(const spec_tokenizer *t, spec_token token, const char **bytes, size_t *n);

/* The token written so in the file ("<|im_end|>", "\xe2\x96\x81the"). SPEC_ERR_NOT_FOUND. */
SPEC_API int spec_tokenizer_find(const spec_tokenizer *t, const char *text, size_t n, spec_token *out);

/* A spec_token_kind; SPEC_ERR_INVALID outside the vocabulary. */
SPEC_API int spec_tokenizer_kind(const spec_tokenizer *t, spec_token token);

/* 1 if generation ends with this token (end of sequence, of a turn, of a message: a vocabulary
 * has several), else 0, outside the vocabulary too. */
SPEC_API int spec_tokenizer_is_end(const spec_tokenizer *t, spec_token token);

/* Whether tokens of a mean the same in b. SPEC_ERR_INVALID: no; *why has the first token that
 * differs, or the two sizes. */
SPEC_API int spec_tokenizer_same(const spec_tokenizer *a, const spec_tokenizer *b, spec_message *why);

/* Whether a model of that vocabulary can take every token. (It may have more rows: they are
 * often padded.) SPEC_ERR_INVALID: no; *why has both numbers. */
SPEC_API int spec_tokenizer_fits(const spec_tokenizer *t, size_t model_vocab, spec_message *why);

/* ---- tokens to text ------------------------------------------------------ */

enum {
    SPEC_DETOKENIZE_SKIP_SPECIAL = 1, /* control and unknown tokens give nothing */
    SPEC_DETOKENIZE_CONTINUE = 2,     /* the tokens continue a text: keep the first blank */
};

/*
 * A stream of text. What goes out is valid UTF-8: bytes that may still become a character
 * are held back (at most 3), those that cannot are replaced by U+FFFD, one for each longest
 * beginning of a character.
 */
typedef struct spec_detokenizer spec_detokenizer;

/* Borrows t. SPEC_ERR_INVALID (unknown flags), SPEC_ERR_NOMEM. */
SPEC_API SPEC_MUST_CHECK int spec_detokenizer_new(spec_detokenizer **out, const spec_tokenizer *t,
                                                  unsigned flags);
SPEC_API void spec_detokenizer_free(spec_detokenizer *d); /* NULL is accepted */

/* The text that the token adds, perhaps none. Borrowed until the next call on d.
 * SPEC_ERR_INVALID: outside the vocabulary; nothing has changed. */
SPEC_API int spec_detokenizer_push(spec_detokenizer *d, spec_token token, const char **text, size_t *n);

/* Ends the stream: U+FFFD for what is held back. The next push begins a new one. */
SPEC_API void spec_detokenizer_finish(spec_detokenizer *d, const char **text, size_t *n);

/*
 * All at once: the first cap bytes go to `out` (NULL with cap 0), *n_bytes is how many there
 * are; no 0 is added. SPEC_ERR_FULL: more than cap; SPEC_ERR_INVALID: flags, or a token outside the
 * vocabulary: then *n_bytes is 0.
 */
SPEC_API SPEC_MUST_CHECK int spec_tokenizer_decode(const spec_tokenizer *t, const spec_token *tokens,
                                                   size_t n, unsigned flags, char *out, size_t cap,
                                                   size_t *n_bytes);

#ifdef __cplusplus
}
#endif
#endif

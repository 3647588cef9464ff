/* SPDX-License-Identifier: MIT */
/*
 * random_vocab.h - a vocabulary for models that nobody trained: bytes, printable
 * characters and made-up syllables and words, as a SentencePiece model has them.
 */
#ifndef BENCH_RANDOM_VOCAB_H
#define BENCH_RANDOM_VOCAB_H

#include "spec_tensors.h"

/* Below this many tokens there is no room for all bytes. */
#define RANDOM_VOCAB_LEAST 259

/* Writes the tokenizer's metadata for n tokens; nothing for n < RANDOM_VOCAB_LEAST.
 * SPEC_ERR_NOMEM, and what the writer returns. */
int random_vocab_write(spec_writer *w, size_t n);

/* Token i as text in buf, returns its length. */
#define RANDOM_VOCAB_PIECE 24
size_t random_vocab_piece(size_t i, char buf[RANDOM_VOCAB_PIECE]);

#endif

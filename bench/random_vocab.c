/* SPDX-License-Identifier: MIT */
/*
 * The vocabulary, by id ("_" stands for U+2581, the mark of a space):
 *
 *     0..2      <unk> <s> </s>
 *     3..258    <0x00> ... <0xFF>
 *     259       _
 *     260..353  ! ... ~
 *     354..     ba be bi ... (100), _ba (100), baba (10,000), _baba (10,000), ...
 *
 * A piece of k syllables is the piece of one syllable and one of k - 1, so the
 * tokenizer, which joins neighbours pair by pair, can reach them all; earlier ones
 * have the better score.
 */
#include "random_vocab.h"

#include <stdio.h>
#include <string.h>

#include "spec_tokenizer.h"
#include "spm_vocab.h"

#define N_CHARACTERS 94
#define N_SYLLABLES  100
#define SPACE        "\xe2\x96\x81"

/* The k-th of the words that have the fewest syllables. */
static size_t word(size_t k, char *buf) {
    static const char consonant[] = "bcdfghjklmnpqrstvwxz", vowel[] = "aeiou";
    size_t syllables = 1, words = N_SYLLABLES, n = 0;
    for (; k >= 2 * words; words *= N_SYLLABLES, syllables++) k -= 2 * words;
    if (k >= words) {
        strcpy(buf, SPACE);
        n = 3;
        k -= words;
    }
    for (; syllables; syllables--, k %= words) {
        words /= N_SYLLABLES;
        buf[n++] = consonant[k / words / 5];
        buf[n++] = vowel[k / words % 5];
    }
    return n;
}

size_t random_vocab_piece(size_t i, char buf[RANDOM_VOCAB_PIECE]) {
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    if (i < 3) return (size_t)snprintf(buf, RANDOM_VOCAB_PIECE, "%s", special[i]);
    i -= 3;
    if (i < 256) return (size_t)snprintf(buf, RANDOM_VOCAB_PIECE, "<0x%02X>", (unsigned)i);
    i -= 256;
    if (i == 0) return (size_t)snprintf(buf, RANDOM_VOCAB_PIECE, SPACE);
    i -= 1;
    if (i >= N_CHARACTERS) return word(i - N_CHARACTERS, buf);
    buf[0] = (char)('!' + i);
    return 1;
}

static int make(spm_vocab *v, size_t n) {
    if (spm_vocab_new(v, n, n * RANDOM_VOCAB_PIECE, NULL)) return SPEC_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        char *piece = v->text + i * RANDOM_VOCAB_PIECE;
        v->piece[i] = piece;
        v->length[i] = random_vocab_piece(i, piece);
        v->score[i] = i < RANDOM_VOCAB_LEAST ? 0 : (float)RANDOM_VOCAB_LEAST - (float)i;
        v->kind[i] = i == 0                   ? SPEC_TOKEN_UNKNOWN
                     : i < 3                  ? SPEC_TOKEN_CONTROL
                     : i < RANDOM_VOCAB_LEAST ? SPEC_TOKEN_BYTE
                                              : SPEC_TOKEN_NORMAL;
    }
    v->unknown = 0;
    v->bos = 1;
    v->eos = 2;
    return SPEC_OK;
}

int random_vocab_write(spec_writer *w, size_t n) {
    spm_vocab v = {0};
    if (n < RANDOM_VOCAB_LEAST) return SPEC_OK;
    int rc = make(&v, n);
    if (rc == SPEC_OK) rc = spm_vocab_write(w, &v);
    spm_vocab_release(&v);
    return rc;
}

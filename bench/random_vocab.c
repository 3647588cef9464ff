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

#include <stdlib.h>
#include <string.h>

#include "util.h"

#define N_CHARACTERS 94
#define N_SYLLABLES  100
#define SPACE        "\xe2\x96\x81"

enum { KIND_NORMAL = 1, KIND_UNKNOWN = 2, KIND_CONTROL = 3, KIND_BYTE = 6 };

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

typedef struct lists {
    char *text; /* (n, RANDOM_VOCAB_PIECE) */
    const char **piece;
    size_t *length;
    float *score;
    int32_t *kind;
} lists;

static void lists_free(lists *l) {
    free(l->text);
    free(l->piece);
    free(l->length);
    free(l->score);
    free(l->kind);
}

static int lists_make(lists *l, size_t n) {
    *l = (lists){.text = specp_alloc(NULL, n, RANDOM_VOCAB_PIECE),
                 .piece = specp_alloc(NULL, n, sizeof *l->piece),
                 .length = specp_alloc(NULL, n, sizeof *l->length),
                 .score = specp_alloc(NULL, n, sizeof *l->score),
                 .kind = specp_alloc(NULL, n, sizeof *l->kind)};
    if (!l->text || !l->piece || !l->length || !l->score || !l->kind) return SPEC_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        char *piece = l->text + i * RANDOM_VOCAB_PIECE;
        l->piece[i] = piece;
        l->length[i] = random_vocab_piece(i, piece);
        l->score[i] = i < RANDOM_VOCAB_LEAST ? 0 : (float)RANDOM_VOCAB_LEAST - (float)i;
        l->kind[i] = i == 0                   ? KIND_UNKNOWN
                     : i < 3                  ? KIND_CONTROL
                     : i < RANDOM_VOCAB_LEAST ? KIND_BYTE
                                              : KIND_NORMAL;
    }
    return SPEC_OK;
}

static int write_lists(spec_writer *w, const lists *l, size_t n) {
    int rc = spec_writer_meta_string(w, "tokenizer.ggml.model", "llama", 5);
    if (rc == SPEC_OK) rc = spec_writer_meta_strings(w, "tokenizer.ggml.tokens", l->piece, l->length, n);
    if (rc == SPEC_OK) rc = spec_writer_meta_floats(w, "tokenizer.ggml.scores", l->score, n);
    if (rc == SPEC_OK) rc = spec_writer_meta_ints(w, "tokenizer.ggml.token_type", l->kind, n);
    if (rc == SPEC_OK) rc = spec_writer_meta_uint(w, "tokenizer.ggml.unknown_token_id", 0);
    if (rc == SPEC_OK) rc = spec_writer_meta_uint(w, "tokenizer.ggml.bos_token_id", 1);
    if (rc == SPEC_OK) rc = spec_writer_meta_uint(w, "tokenizer.ggml.eos_token_id", 2);
    if (rc == SPEC_OK) rc = spec_writer_meta_bool(w, "tokenizer.ggml.add_bos_token", 1);
    return rc;
}

int random_vocab_write(spec_writer *w, size_t n) {
    lists l;
    if (n < RANDOM_VOCAB_LEAST) return SPEC_OK;
    int rc = lists_make(&l, n);
    if (rc == SPEC_OK) rc = write_lists(w, &l, n);
    lists_free(&l);
    return rc;
}

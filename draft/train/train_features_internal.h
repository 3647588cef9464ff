/* SPDX-License-Identifier: MIT */
/* train_features_internal.h - a target's features from inside: train_features.c runs the target,
 * train_dump.c has files of what it gave. */
#ifndef TRAIN_FEATURES_INTERNAL_H
#define TRAIN_FEATURES_INTERNAL_H

#include "train_features.h"

typedef struct train_dump train_dump;

struct train_features {
    spec_allocator alloc;
    spec_target *target;
    spec_sequence *sequence;
    size_t seq, dim, vocab, n_taps;
    int32_t tap[TRAIN_FEATURES_MAX_TAPS + 1]; /* (n_taps + 1) the last one is the final norm's output */
    train_ctx ctx;                            /* of the target's own loss */
    float *logits;                            /* (seq, vocab), made when they are needed */
    train_dump *dump;                         /* or NULL */
};

/* Rows first .. n - 1 of a window, (n_taps + 1, dim) each, as the target gives them: borrowed until its
 * next forward pass. */
int train_features_compute(train_features *f, const spec_token *tokens, size_t n, size_t first,
                           const float **rows, spec_message *why);

/* Words of 8 bytes, then the bytes that remain: every step can be undone, so no change of a
 * single word is missed. */
uint64_t train_features_hash(uint64_t h, const void *data, size_t n);

/* Where the rows of a window lie in the dump, halves one after the other; NULL: nowhere. */
const void *train_dump_find(const train_dump *d, const spec_token *tokens, size_t n, size_t first);
void train_dump_free(train_dump *d, const spec_allocator *alloc); /* NULL is accepted */

#endif

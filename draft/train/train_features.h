/* SPDX-License-Identifier: MIT */
/*
 * train_features.h - what a frozen target makes of windows of text: the hidden states
 * that a draft head learns from.
 *
 *     tokens (n)  --- spec_target_forward, all rows --->  taps    (n, n_taps, dim)
 *                                                         hidden  (n, dim), after the final norm
 *
 * A window's rows depend on its tokens alone, as the target's do.
 *
 *     train_features_new(&f, target, &(train_features_options){1024, 3, taps}, alloc, &why)
 *     train_features_run(f, tokens, n, first, taps, hidden, &why)      for each window
 */
#ifndef TRAIN_FEATURES_H
#define TRAIN_FEATURES_H

#include "spec_target.h"
#include "train_ops.h"

#define TRAIN_FEATURES_MAX_TAPS 16

typedef struct train_features_options {
    size_t seq; /* most tokens of a window, 1 to the target's context */
    size_t n_taps;
    const int32_t *tap; /* (n_taps) layers after which to tap, as spec_forward_args has them; copied */
} train_features_options;

typedef struct train_features train_features;

/* The target is borrowed for its life. SPEC_ERR_INVALID (options; the message says which), SPEC_ERR_NOMEM. */
int train_features_new(train_features **out, spec_target *target, const train_features_options *o,
                       const spec_allocator *alloc, spec_message *why);
void train_features_free(train_features *f); /* NULL is accepted */

/*
 * Rows first .. n - 1 of a window of n tokens; taps or hidden may be NULL. Errors are those of
 * spec_target_forward, and SPEC_ERR_INVALID: more tokens than seq.
 */
int train_features_run(train_features *f, const spec_token *tokens, size_t n, size_t first, float *taps,
                       float *hidden, spec_message *why);

/*
 * Adds what the target itself loses on a window: row r is to say target[r], or
 * nothing if that is TRAIN_IGNORED. No draft of what it says can do better on average. Errors as above.
 */
int train_features_loss(train_features *f, const spec_token *tokens, const spec_token *target, size_t n,
                        train_loss *loss, spec_message *why);

/* ---- what the target is -------------------------------------------------- */

/* Its matrices (vocab, dim) as floats: embeddings as they enter the first layer, and
 * what its logits are made with. */
void train_target_embedding(const spec_target *t, float *out);
void train_target_output(const spec_target *t, float *out);

/* Whether its logits are the output matrix times the hidden state, and nothing more (gemma2 caps them). */
bool train_target_plain_logits(const spec_target *t);

/* Of all tensors: their names, shapes and bytes. */
uint64_t train_target_hash(const spec_target *t);

#endif

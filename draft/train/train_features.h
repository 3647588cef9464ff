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
 *
 * For many epochs the target may run once, and its rows be read from a file, as halves:
 *
 *     train_features_dump(f, "rows.safetensors", &source, &why)
 *     train_features_use(f, "rows.safetensors", source.data, &why)
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

/* ---- rows in a file ------------------------------------------------------ */

typedef struct train_dump_source {
    size_t n; /* windows */
    /* Window i: returns how many tokens, of which the rows of those from *first on will be asked for.
     * The tokens are borrowed until the next call. */
    size_t (*window)(void *user, size_t i, const spec_token **tokens, size_t *first);
    void *user;
    uint64_t data;  /* stands for what the windows are of */
    uint64_t limit; /* bytes: from the first window on whose rows would pass it, none are written */
} train_dump_source;

/*
 * Writes rows of windows. The file appears whole or not at all. Errors of train_features_run;
 * SPEC_ERR_INVALID (not a window within the limit; a number too large for halves), SPEC_ERR_IO,
 * SPEC_ERR_NOMEM.
 */
int train_features_dump(train_features *f, const char *path, const train_dump_source *source,
                        spec_message *why);

/*
 * From now on rows come from the file, where it has them; those of other windows are computed.
 * Errors of spec_tensors_open; SPEC_ERR_CORRUPT (the checksum is wrong; no such file),
 * SPEC_ERR_INVALID (of another target, other layers or other data; named). Then nothing has changed.
 */
int train_features_use(train_features *f, const char *path, uint64_t data, spec_message *why);

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

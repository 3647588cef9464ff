/* SPDX-License-Identifier: MIT */
/*
 * spec_lm.h - a language model as drafters see it: what a small draft model, or
 * heads on the target's hidden states, need of a model, whoever runs it.
 *
 *     draft/  declares this   <---   verify/target/ implements it (spec_target_lm)
 *        ^                               or an engine its own
 *        +---- spec_drafter_open_env joins the two
 *
 * The shape is the target's (spec_target.h): sequences with a KV cache each, one
 * forward pass over a batch of draft trees, acceptance of a path, rollback by
 * truncation.
 *
 * Threads: a spec_lm is used by one thread at a time; only `info` and `embedding`
 * may be called beside anything else.
 */
#ifndef SPEC_LM_H
#define SPEC_LM_H

#include "spec_tree.h"
#include "specdec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spec_lm_info {
    size_t size; /* sizeof(spec_lm_info), set by the caller */
    size_t vocab, dim, n_layers;
    size_t max_context; /* the longest sequence */
} spec_lm_info;

typedef struct spec_lm_item {
    void *sequence;           /* each at most once in a batch */
    const spec_token *tokens; /* (n_tokens) they enter the cache; at least 1 */
    size_t n_tokens;
    const spec_tree *tree; /* hangs from the last of them; NULL or empty: none */
    int all_rows;          /* results for every token fed, not for the last alone */
} spec_lm_item;

typedef struct spec_lm_args {
    size_t size;
    uint32_t n_taps;          /* hidden states wanted: layers after which to tap (0..n_layers-1), */
    const int32_t *tap_layer; /* (n_taps) -1 = the final norm's output, -2 = the embedding */
    int no_logits;            /* only hidden states, and the cache, are wanted */
} spec_lm_args;

/* Rows of all items one after the other: each item's fed tokens (the last alone unless all_rows),
 * then its tree's nodes. Borrowed until the next forward pass. */
typedef struct spec_lm_out {
    size_t n_rows;
    const size_t *row;   /* (n_items) where each item's rows begin */
    const float *logits; /* (n_rows, vocab), or NULL */
    const float *hidden; /* (n_rows, n_taps, dim), or NULL */
} spec_lm_out;

#define SPEC_LM_OPS_V1 1u

/* The table that makes a model; all entries are required but `free`. Functions return 0 or a negative
 * spec_err; on error nothing has changed. */
typedef struct spec_lm_ops {
    uint32_t version; /* SPEC_LM_OPS_V1 */
    void (*info)(void *self, spec_lm_info *out);
    /* Row `token` of the embedding matrix, as the model uses it: (dim). SPEC_ERR_INVALID. */
    int (*embedding)(void *self, spec_token token, float *out);
    /* max_context: 0 = the model's. */
    int (*sequence_new)(void *self, size_t max_context, void **out);
    void (*sequence_free)(void *self, void *sequence);
    /* args may be NULL. SPEC_ERR_FULL: a sequence would pass its context. */
    int (*forward)(void *self, const spec_lm_item *items, size_t n_items, const spec_lm_args *args,
                   spec_lm_out *out, spec_message *why);
    /* Keeps the accepted nodes of the last pass's tree: a path from the root, n may be 0. */
    int (*accept)(void *self, void *sequence, const int32_t *path, size_t n);
    /* Keeps the first n tokens. */
    int (*truncate)(void *self, void *sequence, size_t n);
    void (*free)(void *self);
} spec_lm_ops;

typedef struct spec_lm {
    const spec_lm_ops *ops; /* lives as long as the model */
    void *self;
} spec_lm;

#ifdef __cplusplus
}
#endif
#endif

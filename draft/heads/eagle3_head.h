/* SPDX-License-Identifier: MIT */
/*
 * eagle3_head.h - an EAGLE-3 draft head: one transformer layer that reads hidden
 * states of the target and drafts token after token on its own. Not installed.
 *
 * The text so far is x(0)..x(p+1), and the target's features are known up to p,
 * as the last token has not been fed yet. A row of position i joins the feature of
 * i with the token after it:
 *
 *     row     0         1               p               p + 1      p + 2
 *     feature f(0)      f(1)     ...    f(p)            h(root)    h(1)      h: the row's own
 *     token   x(1)      x(2)            x(p+1)          a          b            hidden state
 *             `------- stable ---------'  = root  -->   node 1 --> node 2 ...
 *     logits                            a, a', ...      b, ...
 *
 * Stable rows come from features of the target and stay; rows of nodes come from the
 * head itself and go before the next stable row comes. A node sees the stable rows,
 * its ancestors and itself.
 *
 *     specp_eagle3_extend(h, rows, n)      after the prompt, and after each verification
 *     specp_eagle3_run(h, nodes, n, k)     the root (parent -1), then level after level
 *     specp_eagle3_drop(r)                 before another tree on the same rows
 *
 * eagle3_tree.h drives these for a whole dynamic tree.
 *
 * The published layout, in any format that spec_tensors.h reads: fc.weight, midlayer.* or
 * layers.0.*, norm.weight, lm_head.weight, d2t, and t2d and embed_tokens.weight where they are
 * there. Metadata, typed or as text, in the file or in the config.json beside it:
 *
 *     num_attention_heads or head_dim      one must be there; num_key_value_heads follows
 *     rms_norm_eps, rope_theta             1e-6, 10000 where missing: never the target's
 *     rope_scaling                         none, linear or llama3
 *     norm_before_residual                 false where missing
 *     eagle_aux_hidden_state_layer_ids     the layers whose input is the feature, 0..L: L is what
 *                                          follows the last one. Missing: 2, L / 2, L - 3
 *
 * One caller at a time for a head and all its requests, not inside a region of its team.
 * A row's bits depend on its request's rows alone: not on the batch, how rows were
 * divided among calls, the threads or the instruction set.
 */
#ifndef SPECP_EAGLE3_HEAD_H
#define SPECP_EAGLE3_HEAD_H

#include "kernels.h"

#define SPECP_EAGLE3_MAX_TAPS  64
#define SPECP_EAGLE3_MAX_ROWS  4096
#define SPECP_EAGLE3_NODE_ROWS 128 /* most nodes of a pass */

typedef struct specp_eagle3 specp_eagle3;
typedef struct specp_eagle3_request specp_eagle3_request;

typedef struct specp_eagle3_options {
    size_t hidden, vocab, n_layers; /* the target's */
    size_t rows;                    /* most of a pass, 1..SPECP_EAGLE3_MAX_ROWS; calls are cut into passes */
    unsigned isa;                   /* SPECP_ISA_ALL: the best that the processor has */
    specp_team *team;               /* borrowed, for the handle's life */
    /* The target's embedding of a token, (hidden) floats: needed where the file has none. 0 or an error. */
    int (*embedding)(void *user, spec_token token, float *out);
    void *user;
} specp_eagle3_options;

/*
 * Messages name the file and the tensor. Beyond spec_tensors_open's errors:
 * SPEC_ERR_INVALID (options; a head for another hidden size, vocabulary or depth; no
 * embedding anywhere), SPEC_ERR_CORRUPT (a tensor is missing, has another shape, or is not
 * finite; d2t or metadata that make no sense), SPEC_ERR_UNSUPPORTED (no EAGLE-3 head;
 * tensors that are no part of one; a type; a variant).
 */
SPEC_MUST_CHECK int specp_eagle3_open(specp_eagle3 **out, const char *path, const specp_eagle3_options *o,
                                      const spec_allocator *alloc, spec_message *why);
/* All requests must have been freed. NULL is accepted. */
void specp_eagle3_free(specp_eagle3 *h);

typedef struct specp_eagle3_info {
    size_t hidden, n_heads, n_kv_heads, head_dim, n_ff;
    size_t draft_vocab; /* tokens that it can draft */
    bool own_embedding, norm_before_residual;
    uint32_t n_taps;
    int32_t tap_layer[SPECP_EAGLE3_MAX_TAPS]; /* (n_taps) layers after which to tap, as spec_needs has
                                               * them: -2 is the embedding */
} specp_eagle3_info;

const specp_eagle3_info *specp_eagle3_get_info(const specp_eagle3 *h);

/* ---- requests -------------------------------------------------------------------- */

/* max_context: most stable rows, 1..2^21. Memory grows as they come. SPEC_ERR_INVALID, SPEC_ERR_NOMEM. */
SPEC_MUST_CHECK int specp_eagle3_request_new(specp_eagle3_request **out, const specp_eagle3 *h,
                                             size_t max_context);
void specp_eagle3_request_free(specp_eagle3_request *r); /* NULL is accepted */

/* Stable rows. */
size_t specp_eagle3_request_length(const specp_eagle3_request *r);
/* Forgets them all, and the nodes: the next row is the first one. (Where features are missing, a request can
 * begin again behind the gap: what counts is how far positions are apart.) */
void specp_eagle3_request_clear(specp_eagle3_request *r);

/* ---- stable rows ------------------------------------------------------------------ */

typedef struct specp_eagle3_rows {
    specp_eagle3_request *request; /* each at most once in a call */
    size_t n;
    const float *taps;       /* (.., n_taps, target's hidden) features, as spec_outcome has them */
    const uint32_t *row;     /* (n) which of them, in the order of positions; NULL: the first n */
    const spec_token *token; /* (n) the token after each row's position */
} specp_eagle3_rows;

/*
 * Appends rows; all requests share the passes. Nodes are dropped.
 * SPEC_ERR_INVALID (a token outside the vocabulary, a request twice), SPEC_ERR_FULL
 * (max_context), SPEC_ERR_NOMEM, an error of o.embedding: nothing has changed.
 */
SPEC_MUST_CHECK int specp_eagle3_extend(specp_eagle3 *h, const specp_eagle3_rows *rows, size_t n,
                                        spec_message *why);

/* ---- nodes ------------------------------------------------------------------------ */

/*
 * A request's node 0 is its last stable row, run first and alone (parent -1); the others
 * are numbered as they are run.
 */
typedef struct specp_eagle3_node {
    specp_eagle3_request *request; /* nodes of one stand together */
    int32_t parent;                /* a node of an earlier call */
    spec_token token;              /* the root's is the last row's, whatever stands here */
} specp_eagle3_node;

/*
 * Runs n nodes, and finds the k best tokens after each, 1 <= k <= draft_vocab: (n, k), best
 * first, equal ones by number in the draft vocabulary. Where logits are not finite, log-probabilities
 * may be -infinity, never NaN. SPEC_ERR_STATE (no stable row), SPEC_ERR_INVALID (k, a token, a
 * parent, a request apart), SPEC_ERR_NOMEM, an error of o.embedding: nothing has changed.
 */
SPEC_MUST_CHECK int specp_eagle3_run(specp_eagle3 *h, const specp_eagle3_node *nodes, size_t n, size_t k,
                                     spec_token *token, float *logprob, spec_message *why);
/* Forgets the nodes, the root's run too. */
void specp_eagle3_drop(specp_eagle3_request *r);

/* The logits (n, draft_vocab) of the last run, if that was one pass: until the next call. */
const float *specp_eagle3_logits(const specp_eagle3 *h);
/* The hidden state (hidden) of a node that was run, before the final norm: until the next call. */
const float *specp_eagle3_hidden(const specp_eagle3_request *r, size_t node);
/* The token of the target's vocabulary that a token of the draft vocabulary means. */
spec_token specp_eagle3_target_token(const specp_eagle3 *h, size_t draft);

#endif

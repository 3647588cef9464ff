/* SPDX-License-Identifier: MIT */
/*
 * spec_drafter.h - drafters: the interface that all of them share, how to open
 * one by name, and how an engine writes its own.
 *
 * The loop of an engine (examples/draft_only.c is the whole of it):
 *
 *     spec_request_begin(drafter, &info, &request)
 *     until the response is complete:
 *         spec_request_propose(request, &args, &tree)     what may come next?
 *         run the model on the last token and the tree    (yours)
 *         spec_verify_greedy(&tree, argmax, &accepted)    what is kept?
 *         spec_request_observe(request, &outcome)         teach the drafter
 *     spec_request_end(request)
 *
 * Threads: one drafter serves many requests at a time, each used by one thread
 * at a time. Calls on different requests may run concurrently.
 */
#ifndef SPEC_DRAFTER_H
#define SPEC_DRAFTER_H

#include "spec_lm.h"
#include "spec_tree.h"
#include "specdec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what passes between engine and drafter --------------------------- */

typedef struct spec_request_info {
    size_t size;              /* sizeof(spec_request_info) */
    uint64_t tenant;          /* what a tenant's requests teach, only its own requests are told */
    const spec_token *prompt; /* (n_prompt), borrowed during the call */
    size_t n_prompt;
    size_t max_new_tokens;       /* the response's limit; 0 = none. Drafts are clipped at it */
    size_t max_context;          /* the limit of prompt + response; 0 = none. Likewise */
    const spec_token *reference; /* (n_reference) the response, where it is known in advance
                                  * (replay): for the oracle control. Borrowed until end */
    size_t n_reference;
} spec_request_info;

typedef struct spec_propose_args {
    size_t size;          /* sizeof(spec_propose_args) */
    uint32_t budget;      /* most nodes wanted; 0 = all that the tree has room for */
    uint32_t max_depth;   /* longest path wanted; 0 = no limit */
    spec_noise_key noise; /* for drafters that sample: the same key, the same draws */
    float min_prob;       /* nodes whose path probability is below are not wanted; 0 = all. A drafter may
                           * ignore it: what it leaves in is taken out. A node that was drawn from a q row
                           * goes by its parent's probability, so that its own draw decides nothing */
} spec_propose_args;

/*
 * What verification said. Rows 0..n_rows-1 of the optional arrays belong to the
 * positions that the target computed: row 0 is the last committed token, row
 * i + 1 is tree node i, so n_rows == tree->n + 1.
 *
 * A report on the prompt commits nothing (n_committed == 0, tree == NULL): its rows belong
 * to the prompt's tokens from number prompt_row on. The prompt's last token is not
 * among them where the engine feeds it with the first draft: it is that outcome's row 0.
 */
typedef struct spec_outcome {
    size_t size;                 /* sizeof(spec_outcome) */
    const spec_token *committed; /* (n_committed) accepted path, then the target's next token */
    size_t n_committed;
    const spec_tree *tree;   /* as proposed; NULL when no draft was verified */
    const uint8_t *accepted; /* (tree->n) 1 where the node was accepted */
    size_t n_rows;
    uint32_t top_k;               /* columns of the next two; 0 = not given */
    const spec_token *topk_token; /* (n_rows, top_k) most probable first */
    const float *topk_logprob;    /* (n_rows, top_k) */
    uint32_t n_taps, hidden_dim;  /* 0 = not given */
    const float *hidden;          /* (n_rows, n_taps, hidden_dim), taps in the order asked for */
    size_t prompt_row;            /* of a report on the prompt */
} spec_outcome;

/* What a drafter wants in each outcome. An engine may give less: the drafter
 * must then propose nothing rather than fail. */
typedef struct spec_needs {
    uint32_t top_k;           /* most probable tokens of every verified row; 0 = none */
    uint32_t n_taps;          /* hidden rows: layers after which to tap, -1 = the final norm's output */
    const int32_t *tap_layer; /* (n_taps), borrowed from the drafter for its life */
    int prompt_taps;          /* the prompt's rows are wanted as well: reports on the prompt */
    uint32_t q_rows;          /* drafts are sampled: trees should have room for so many q rows of the
                               * target's vocabulary. Without it the drafter proposes less */
} spec_needs;

/* Running totals and present sizes. Fields that mean nothing to a drafter are 0. */
typedef struct spec_drafter_stats {
    uint64_t requests;        /* begun, ever */
    uint64_t proposals;       /* ever */
    uint64_t nodes;           /* proposed, ever */
    uint64_t index_tokens;    /* held now in shared knowledge */
    uint64_t index_states;    /* likewise */
    uint64_t index_bytes;     /* all memory held by the drafter now */
    uint64_t evicted;         /* sequences evicted, ever */
    uint64_t longest_wait_ns; /* the longest time that any call waited for another request */
} spec_drafter_stats;

/* ---- writing a drafter ------------------------------------------------ */

#define SPEC_DRAFTER_OPS_V1 1u

/*
 * The table that makes a drafter. `self` is the drafter, `state` what begin
 * made for a request. Everything not marked required may be NULL. Functions
 * return 0 or a negative spec_err; on error nothing has changed. The library
 * calls them for different requests at the same time.
 */
typedef struct spec_drafter_ops {
    uint32_t version; /* SPEC_DRAFTER_OPS_V1 */
    const char *name; /* required; lives as long as the drafter */

    /* Makes the request's state. NULL: state is NULL. */
    int (*begin)(void *self, const spec_request_info *info, void **state);

    /* Required. Fills `out`, empty when called, with at most a->budget nodes
     * at most a->max_depth deep; both are set and within the request's limits.
     * Proposing nothing is not an error. */
    int (*propose)(void *self, void *state, const spec_propose_args *a, spec_tree *out);

    /* The same for n requests at once, for drafters that run a model. NULL:
     * the library calls propose n times. */
    int (*propose_batch)(void *self, void *const *state, const spec_propose_args *a, spec_tree *const *out,
                         size_t n);

    /* Learns from a verification; o->committed has been appended to the text. */
    int (*observe)(void *self, void *state, const spec_outcome *o);

    /* The request is over; frees its state. */
    void (*end)(void *self, void *state);

    /* Writes what a tenant's requests taught to a file. May run beside all other
     * calls, which must not wait for it. */
    int (*save)(void *self, uint64_t tenant, const char *path, spec_message *why);

    void (*needs)(void *self, spec_needs *out);
    void (*stats)(void *self, spec_drafter_stats *out); /* safe beside all other calls */
    void (*free)(void *self);                           /* after every request has ended */
} spec_drafter_ops;

typedef struct spec_drafter spec_drafter;
typedef struct spec_request spec_request;

/* Makes a drafter of a table (copied) and takes `self`, on success only:
 * spec_drafter_free calls ops->free(self). SPEC_ERR_VERSION, SPEC_ERR_INVALID
 * (a required entry is missing), SPEC_ERR_NOMEM. */
SPEC_API SPEC_MUST_CHECK int spec_drafter_new(spec_drafter **out, const spec_drafter_ops *ops, void *self,
                                              const spec_allocator *alloc);

/* ---- opening one by name ---------------------------------------------- */

/*
 * `spec` is NAME or NAME:key=value,key=value; for drafters made of drafters,
 * union:SPEC+SPEC+... and cascade:SPEC>SPEC,tau=T, where a SPEC may, and one that
 * is such a drafter itself must, stand in parentheses. The names:
 *
 *   none      never drafts: plain decoding
 *   oracle    drafts the true response (needs a reference): the upper limit
 *   random    drafts random tokens: the lower limit
 *   suffix    suffix match over the request's own text and other requests' responses
 *   mix       all suffix matches, weighed by a model that learns
 *   pld       prompt lookup decoding: what followed the last n tokens earlier
 *   ngram-cache   n-gram counts, longest first
 *   ngram-mod     one hash table from n tokens to the next
 *   recycle       Token Recycling: what the target said after each token last time
 *   medusa        medusa:FILE: Medusa heads on the target's last hidden state
 *   eagle3        eagle3:FILE: an EAGLE-3 head on the target's hidden states
 *   model         model:FILE: the drafts of a small language model
 *   union         union:A+B: one tree of several drafters' drafts
 *   cascade       cascade:A>B,tau=T: B's draft where A expects few accepted tokens
 *
 * spec_drafter_help() describes each with its options. On failure *why names
 * the word that was not understood and what was expected.
 * SPEC_ERR_NOT_FOUND (no such drafter or file), SPEC_ERR_INVALID (option),
 * SPEC_ERR_NOMEM, and what loading a file can give.
 */
SPEC_API SPEC_MUST_CHECK int spec_drafter_open(spec_drafter **out, const char *spec,
                                               const spec_allocator *alloc, spec_message *why);

/* What drafters can need beside their options: see spec_drafter_open_env. */
typedef struct spec_drafter_env {
    size_t size;           /* sizeof(spec_drafter_env) */
    const spec_lm *target; /* the model that verifies: it must outlive the drafter, the spec_lm is
                            * copied. NULL: drafters that need it cannot be opened */
    /* Opens a model file as a draft model; *out is the drafter's, which calls out->ops->free.
     * NULL: draft models cannot be opened. spec_target_open_lm is one. */
    int (*open_model)(const char *path, unsigned threads, unsigned isa, const spec_allocator *alloc,
                      spec_lm *out, spec_message *why);
    unsigned threads; /* of heads and draft models, 1..256; 0 = the cores there are */
    unsigned isa;     /* mask of instruction sets allowed, see spec_target_isa; 0 = all */
} spec_drafter_env;

/* The same for drafters that run a model: medusa, eagle3, model, and combinations of them. With
 * a target, `random` draws from its vocabulary unless told otherwise. env may be NULL.
 * Beyond spec_drafter_open's errors: SPEC_ERR_STATE (the drafter needs what env does not have). */
SPEC_API SPEC_MUST_CHECK int spec_drafter_open_env(spec_drafter **out, const char *spec,
                                                   const spec_drafter_env *env, const spec_allocator *alloc,
                                                   spec_message *why);

/* The built-in names, i = 0, 1, ...; NULL past the last. */
SPEC_API const char *spec_drafter_builtin(size_t i);

/* Lines of text on a built-in drafter and its options, or NULL. */
SPEC_API const char *spec_drafter_help(const char *name);

/* All requests must have ended. */
SPEC_API void spec_drafter_free(spec_drafter *d);

SPEC_API const char *spec_drafter_name(const spec_drafter *d);
SPEC_API void spec_drafter_needs(const spec_drafter *d, spec_needs *out);
SPEC_API void spec_drafter_get_stats(const spec_drafter *d, spec_drafter_stats *out);

/* Writes what a tenant's requests have taught to `path` while requests go on;
 * for suffix, a snapshot that `suffix:corpus=FILE` starts from. Replaced at
 * once, never half-written. SPEC_ERR_UNSUPPORTED (the drafter has nothing to
 * save), SPEC_ERR_STATE (its options forbid to teach), SPEC_ERR_NOT_FOUND (the
 * tenant has had no request, or is forgotten), SPEC_ERR_IO, SPEC_ERR_NOMEM; *why
 * tells more. */
SPEC_API SPEC_MUST_CHECK int spec_drafter_save(spec_drafter *d, uint64_t tenant, const char *path,
                                               spec_message *why);

/* ---- using one -------------------------------------------------------- */

/* SPEC_ERR_INVALID (a negative token in the prompt), SPEC_ERR_NOMEM, SPEC_ERR_FULL
 * (an index, see spec_index.h), and what loading a file can give. */
SPEC_API SPEC_MUST_CHECK int spec_request_begin(spec_drafter *d, const spec_request_info *info,
                                                spec_request **out);

/* Replaces the tree's contents by a draft. It never has more nodes than the
 * budget, and no path longer than the tokens that the request's limits still
 * allow, less the one that verification adds by itself. When the drafter fails
 * the tree is empty. */
SPEC_API SPEC_MUST_CHECK int spec_request_propose(spec_request *r, const spec_propose_args *args,
                                                  spec_tree *tree);

/* The same for n requests of one drafter: requests[i], args[i], trees[i]. On
 * error no tree is valid. */
SPEC_API SPEC_MUST_CHECK int spec_request_propose_batch(spec_request *const *requests,
                                                        const spec_propose_args *args,
                                                        spec_tree *const *trees, size_t n);

/* Tells the drafter what was committed. Must be called for every token of the
 * response, whether a draft was verified or not. SPEC_ERR_INVALID (a negative
 * token), SPEC_ERR_NOMEM. */
SPEC_API SPEC_MUST_CHECK int spec_request_observe(spec_request *r, const spec_outcome *outcome);

/* Shorthand for tokens with nothing else to report: drafters that judge themselves
 * by what was accepted learn nothing of that. */
SPEC_API SPEC_MUST_CHECK int spec_request_commit(spec_request *r, const spec_token *tok, size_t n);

/* Ends the request and frees it. What it taught stays. NULL is accepted. */
SPEC_API void spec_request_end(spec_request *r);

#ifdef __cplusplus
}
#endif
#endif

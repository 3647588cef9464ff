/* SPDX-License-Identifier: MIT */
/*
 * spec_tree.h - the draft tree: what a drafter proposes and a verifier judges.
 *
 *        committed text ... t          node   0   1   2   3   4
 *                          / \         token  a   d   b   c   e
 *                         a   d        parent -1 -1   0   2   1
 *                         |   |
 *                         b   e        parents come before children; parent -1
 *                         |            hangs from the last committed token;
 *                         c            siblings stand most probable first
 *
 * A struct of arrays, owned by the caller; drafters fill it up to `cap`. No two
 * children of one node carry the same token. A chain (path) draft is the tree
 * with parent[i] == i - 1. Children that were drawn from q rows stand in the order of
 * the draws, whatever their probability: see spec_verify_sample.
 */
#ifndef SPEC_TREE_H
#define SPEC_TREE_H

#include "specdec.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SPEC_TREE_MAX_NODES 4096

/* Where a node came from: for statistics, never for verification. */
typedef enum spec_source {
    SPEC_SOURCE_OTHER = 0,
    SPEC_SOURCE_OWN = 1,     /* the request's own text, by suffix match */
    SPEC_SOURCE_SHARED = 2,  /* other requests' text, by suffix match */
    SPEC_SOURCE_CORPUS = 3,  /* a corpus kept apart from what requests share */
    SPEC_SOURCE_NGRAM = 4,   /* an n-gram table */
    SPEC_SOURCE_LOOKUP = 5,  /* prompt lookup */
    SPEC_SOURCE_RECYCLE = 6, /* a Token Recycling row */
    SPEC_SOURCE_HEAD = 7,    /* trained heads: Medusa, EAGLE */
    SPEC_SOURCE_MODEL = 8,   /* a small draft model */
    SPEC_SOURCE_CONTROL = 9, /* oracle, random */
    SPEC_SOURCE_USER = 16,   /* an engine's own drafters: 16..255 */
} spec_source;

/* A name such as "own"; "other" or "user" for what has none. Never NULL. */
SPEC_API const char *spec_source_name(int source);

typedef struct spec_tree {
    spec_token *token; /* (cap) */
    int32_t *parent;   /* (cap) index of the parent, or -1 */
    float *prob;       /* (cap) the drafter's estimate that verification reaches
                        * and accepts this node, 0..1; a child's is at most its
                        * parent's */
    uint8_t *source;   /* (cap) a spec_source */
    int32_t *q_row;    /* (cap) the q row that this node was drawn from, -1 = none:
                        * a deterministic draft. The verifier picks the rule
                        * node by node */
    float *q;          /* (q_cap, vocab) draft distributions; NULL when q_cap == 0 */
    uint32_t n, cap;   /* nodes used, nodes there is room for */
    uint32_t n_q, q_cap;
    uint32_t vocab;            /* columns of q */
    int q_without_replacement; /* siblings of one q row were drawn without replacement; the verifier's rule
                                * (spec_verify_sample) is the same for both */
    float score;               /* expected accepted tokens, by the drafter's own account */
    uint32_t match_len;        /* context tokens matched by the source chosen; 0 = none */
} spec_tree;

/* Allocates the arrays for cap nodes and q_cap rows of vocab floats, in one
 * block, and empties the tree. cap: 1..SPEC_TREE_MAX_NODES; q_cap may be 0.
 * SPEC_ERR_INVALID, SPEC_ERR_NOMEM. An engine may instead point the fields at
 * arrays of its own. */
SPEC_API SPEC_MUST_CHECK int spec_tree_init(spec_tree *t, uint32_t cap, uint32_t q_cap, uint32_t vocab,
                                            const spec_allocator *alloc);
/* Releases what spec_tree_init made, with the same allocator, and zeroes *t. */
SPEC_API void spec_tree_release(spec_tree *t, const spec_allocator *alloc);

/* n = n_q = 0, score = match_len = 0. */
SPEC_API void spec_tree_clear(spec_tree *t);

/* Adds a deterministic node; returns its index, or -1 when the tree is full.
 * Does not look for an equal sibling. O(1). */
SPEC_API int32_t spec_tree_add(spec_tree *t, int32_t parent, spec_token token, float prob, int source);

/* The child of `parent` (-1: of the root) that carries `token`, or -1. O(n). */
SPEC_API int32_t spec_tree_child(const spec_tree *t, int32_t parent, spec_token token);

/* Tokens from the root to node i, i included: 1 for a child of the root. O(depth). */
SPEC_API uint32_t spec_tree_depth(const spec_tree *t, int32_t i);

/* Keeps only nodes at most max_depth deep, and of those the first max_nodes, in
 * order. (A prefix of a tree in this order is a tree.) O(n). */
SPEC_API void spec_tree_clip(spec_tree *t, uint32_t max_nodes, uint32_t max_depth);

/* Checks the shape: parents before children, tokens >= 0, no equal siblings,
 * probabilities in 0..1 and not above the parent's, q rows in range.
 * SPEC_ERR_INVALID with the first fault in *why. O(n), expected. */
SPEC_API int spec_tree_check(const spec_tree *t, spec_message *why);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: MIT */
/*
 * medusa_tree.h - Medusa's static tree: which ranks of which heads make up the
 * draft. Not installed.
 *
 *     choices [0] [1] [0,0] [0,1] [1,0] [0,0,2]
 *
 *          root = last committed token          node    0   1   2   3   4   5
 *           /        \            head 0        parent -1  -1   0   0   1   2
 *         0:0        1:1                        depth   1   1   2   2   2   3
 *        /   \        |           head 1        rank    0   1   0   1   0   2
 *      2:0   3:1     4:0
 *       |                         head 2        (node:rank)
 *      5:2
 *
 * Nodes stand as spec_tree.h has them, the root left out, sorted by depth, then by
 * path; a node of depth d carries the token that head d - 1 ranks `rank`th. So
 * siblings stand most probable first, and the nodes down to any depth are a prefix.
 */
#ifndef SPECP_MEDUSA_TREE_H
#define SPECP_MEDUSA_TREE_H

#include "specp.h"
#include "spec_tree.h"

#define SPECP_MEDUSA_MAX_HEADS 16
#define SPECP_MEDUSA_MAX_RANKS 256

typedef struct specp_medusa_tree {
    uint32_t n;                /* nodes, 1..SPEC_TREE_MAX_NODES */
    uint32_t n_heads, n_ranks; /* the deepest path, the largest rank + 1 */
    int16_t *parent;           /* (n) -1: the root */
    uint8_t *depth, *rank;     /* (n) */
} specp_medusa_tree;

/*
 * From a list of paths: row i of `paths` (n, width) has the ranks from the root
 * down, -1 behind them. Any order. SPEC_ERR_INVALID with the path in *why: no paths or too
 * many, one that is empty, broken off by a -1, listed twice, whose beginning is not
 * listed, or with a rank outside 0..SPECP_MEDUSA_MAX_RANKS-1. SPEC_ERR_NOMEM.
 */
SPEC_MUST_CHECK int specp_medusa_tree_init(specp_medusa_tree *t, const int32_t *paths, size_t n, size_t width,
                                           const spec_allocator *alloc, spec_message *why);

/*
 * The same from text: paths with a digit a rank, "/" between, as in "0/1/00/01/10/002" for
 * the picture above. SPEC_ERR_INVALID also names what is no digit.
 */
SPEC_MUST_CHECK int specp_medusa_tree_parse(specp_medusa_tree *t, const char *text, size_t n,
                                            const spec_allocator *alloc, spec_message *why);

/*
 * Of all trees of n nodes the one with the most expected accepted tokens, where
 * accuracy (n_heads, n_ranks) is how often head h's token of rank r was right in
 * calibration, and heads are taken as independent: a node counts the product along its
 * path. Nodes that would count 0 are left out, so there may be fewer. *expected, if not
 * NULL, is the sum. SPEC_ERR_INVALID: sizes, an accuracy outside 0..1, or all ranks of
 * head 0 are never right. SPEC_ERR_NOMEM.
 */
SPEC_MUST_CHECK int specp_medusa_tree_build(specp_medusa_tree *t, const double *accuracy, size_t n_heads,
                                            size_t n_ranks, size_t n, double *expected,
                                            const spec_allocator *alloc, spec_message *why);

void specp_medusa_tree_release(specp_medusa_tree *t, const spec_allocator *alloc);

/* A tree for heads of which no accuracy is known: the first is taken to be right every second
 * time, later ones less and less, and later ranks much less than the first. At most `nodes` nodes. */
SPEC_MUST_CHECK int specp_medusa_tree_guess(specp_medusa_tree *t, size_t n_heads, size_t n_ranks,
                                            size_t nodes, const spec_allocator *alloc, spec_message *why);

/*
 * The draft: token and prob (t->n_heads or more, k) are each head's best, most
 * probable first, k >= t->n_ranks. Clears out and fills it, with what there is room for.
 * A node's probability is the product along its path; out->score their sum.
 */
void specp_medusa_tree_draft(const specp_medusa_tree *t, const spec_token *token, const float *prob, size_t k,
                             spec_tree *out);

#endif

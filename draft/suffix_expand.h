/* SPDX-License-Identifier: MIT */
/*
 * suffix_expand.h - from a locus of a suffix index to a draft: the likeliest
 * continuations of the matched text, as a path or as a tree. Private to draft/.
 */
#ifndef DRAFT_SUFFIX_EXPAND_H
#define DRAFT_SUFFIX_EXPAND_H

#include <stdbool.h>

#include "spec_index.h"
#include "spec_tree.h"

/* What a node's probability is, given that its parent was reached; `child` and
 * `parent` are counts. */
typedef enum specp_rule {
    SPECP_RULE_RATIO, /* child / parent: the reference's, in its float arithmetic */
    SPECP_RULE_DOUBT, /* child / (parent + doubt / length), without the text's own end among the
                       * parent's occurrences: a rare and short match is trusted least */
} specp_rule;

typedef struct specp_expand {
    bool tree;   /* best-first tree, else the path of best children */
    bool lowest; /* path: among equal counts the lowest token id, else the index's order */
    specp_rule rule;
    float min_prob;  /* nodes below are left out */
    float doubt;     /* see the rule */
    uint32_t own;    /* occurrences of the match that are the text's own end: 0 or 1 */
    uint32_t budget; /* nodes at most; > 0 */
    uint32_t depth;  /* path length at most; > 0 */
    int source;      /* spec_source of the nodes */
    float beat;      /* a draft that cannot score more is given up */
} specp_expand;

/* A node that may be drafted next: the child of rank `rank` below `from`. */
typedef struct specp_candidate {
    float prob; /* of the path to it */
    float parent_prob;
    int32_t parent; /* node, -1 = root */
    uint32_t rank, depth;
    spec_locus from; /* the parent's locus */
    spec_child child;
} specp_candidate;

/*
 * Fills `out` (emptied first) with the draft below `at`, and its score: the sum
 * of the node probabilities. Tree drafts need a heap of 2 * budget candidates.
 * Returns whether the index's depth cut a path short. A draft that was given up
 * has a score of at most how->beat. O(budget log budget).
 * Source: Oliaro et al., SuffixDecoding (arXiv 2411.04975), section 4.
 */
bool specp_suffix_expand(const spec_index *x, spec_locus at, const specp_expand *how, specp_candidate *heap,
                         spec_tree *out);

#endif

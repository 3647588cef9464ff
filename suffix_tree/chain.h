/* SPDX-License-Identifier: MIT */
/*
 * chain.h - the classes of a suffix chain with their children, in one call and
 * without copies: for drafters that weigh every match. Hidden; draft/ uses it.
 */
#ifndef SUFFIX_TREE_CHAIN_H
#define SUFFIX_TREE_CHAIN_H

#include "spec_index.h"

/* A transition out of a class. */
typedef struct specp_branch {
    spec_token token;
    uint32_t to;    /* state of the locus it leads to */
    uint32_t count; /* of that locus */
} specp_branch;

/* A class at its longest string. The pointers hold until the index changes; `branch` may
 * point to `only`, so a specp_class must stay where it was filled. */
typedef struct specp_class {
    spec_locus at; /* its count is without the text's own end */
    uint32_t n;
    const specp_branch *branch; /* (n) by decreasing count */
    specp_branch only;
} specp_class;

/*
 * The first `cap` classes on the chain from `at` towards the root, which is not among them, up to the
 * first that occurs more than `enough` times. Where `at` has the index's full depth, and so no
 * children, the chain begins with its longest proper suffix. n_own: matches of up to so many tokens have
 * the text's own end among their occurrences; it is taken off their count, and classes without
 * another are left out. Returns how many were written. O(cap + classes left out).
 */
size_t specp_index_chain(const spec_index *x, spec_locus at, size_t n_own, uint32_t enough, size_t cap,
                         specp_class *out);

/* The locus that a branch of c leads to. */
static inline spec_locus specp_branch_locus(const specp_class *c, const specp_branch *b) {
    return (spec_locus){.state = b->to, .len = c->at.len + 1, .count = b->count};
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * eagle3_tree.h - drafts of an EAGLE-3 head: EAGLE-2's dynamic tree. Not installed.
 *
 *     root      run: its k best tokens are candidates
 *      |
 *     beam      the k best candidates are run: k best tokens of each are candidates
 *      |
 *     beam      the k best of those are run ...            `depth` times
 *
 * A candidate's score is the sum of the log-probabilities from the root down. Of all
 * candidates the `total` - 1 best are the draft, equal ones by age: as no child is better
 * than its parent, they are a tree.
 */
#ifndef SPECP_EAGLE3_TREE_H
#define SPECP_EAGLE3_TREE_H

#include "eagle3_head.h"
#include "spec_tree.h"

#define SPECP_EAGLE3_MAX_TOP_K 64
#define SPECP_EAGLE3_MAX_DEPTH 32

typedef struct specp_eagle3_tree_options {
    uint32_t
        top_k; /* 1..SPECP_EAGLE3_MAX_TOP_K; 1 makes a chain. More than the draft vocabulary: all of it */
    uint32_t depth; /* times that a beam is run, 0..SPECP_EAGLE3_MAX_DEPTH: nodes are up to depth + 1 deep */
    uint32_t total; /* nodes, the root included, 2..SPEC_TREE_MAX_NODES + 1 */
} specp_eagle3_tree_options;

typedef struct specp_eagle3_trees specp_eagle3_trees;

/* Makes trees with a head, borrowed. SPEC_ERR_INVALID with the option in *why, SPEC_ERR_NOMEM. */
SPEC_MUST_CHECK int specp_eagle3_trees_new(specp_eagle3_trees **out, specp_eagle3 *h,
                                           const specp_eagle3_tree_options *o, const spec_allocator *alloc,
                                           spec_message *why);
void specp_eagle3_trees_free(specp_eagle3_trees *t); /* NULL is accepted */

typedef struct specp_eagle3_job {
    specp_eagle3_request *request; /* each at most once in a call */
    uint32_t budget, max_depth;    /* most nodes, longest path wanted */
    spec_tree *out;                /* emptied, then filled */
} specp_eagle3_job;

/*
 * Drafts for n requests, whose rows share the passes. A request without stable rows gets
 * an empty tree. Where budget or max_depth is less than the options allow, the tree is the
 * best under that limit. Nodes stand parents first, siblings most probable first;
 * their prob is e^score. What cannot be in the draft is not run.
 *
 * One caller at a time for all that use the head. The requests' nodes are dropped.
 * SPEC_ERR_NOMEM, an error of the head's embedding: the trees are empty.
 */
SPEC_MUST_CHECK int specp_eagle3_draft(specp_eagle3_trees *t, const specp_eagle3_job *jobs, size_t n,
                                       spec_message *why);

#endif

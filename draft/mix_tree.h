/* SPDX-License-Identifier: MIT */
/*
 * mix_tree.h - the drafter mix's tree: evidence from both indexes, weighed by the
 * model, grown best-first. Private to draft/.
 */
#ifndef DRAFT_MIX_TREE_H
#define DRAFT_MIX_TREE_H

#include "chain.h"
#include "mix_model.h"
#include "spec_index.h"
#include "spec_tree.h"

enum { MIX_OWN, MIX_SHARED, MIX_INDEXES };

#define MIX_MAX_NODES 256 /* of a draft */
#define MIX_NOWHERE   (-2)

/* A node whose continuations have been weighed, in the order in which they were; record 0 is the root's. */
typedef struct mix_record {
    mix_case c;
    int32_t node;                /* -1: the root */
    uint32_t depth;              /* 0: the root */
    float product;               /* the node's */
    float limit;                 /* what its next child's probability may be at most */
    int32_t best;                /* key */
    int32_t key[MIX_CANDIDATES]; /* of adding the candidate */
    int32_t in_draft[MIX_PARTS]; /* the same node in another drafter's draft, -1: the root, MIX_NOWHERE */
    uint32_t len[MIX_INDEXES];   /* of the longest match, 0: none */
    uint8_t first[MIX_INDEXES][MIX_CANDIDATES];      /* branch with the candidate, of the longest class: */
    specp_class class[MIX_INDEXES][MIX_CLASSES + 1]; /* number first / 8; the last stands for none */
} mix_record;

/* A node of the draft. */
typedef struct mix_node {
    float product;  /* of the probabilities on its path */
    int32_t parent; /* -1: the root */
    spec_token token;
    uint16_t depth;   /* 0: a child of the root */
    uint16_t cell;    /* in mix_state.path */
    uint16_t reach;   /* in mix_state.reach */
    uint16_t record;  /* of its parent */
    uint16_t weighed; /* its own record; 0: none */
    uint8_t nth;      /* candidate there */
    bool on_path;     /* of the true text */
} mix_node;

/*
 * A request's scratch: room for `nodes` nodes. Keys are worths that can be compared as integers and tell
 * in their low bits what they are the worth of; 0: nothing.
 */
typedef struct mix_scratch {
    mix_record *record; /* (nodes + 1) */
    mix_node *node;     /* (nodes) as in the draft */
    int32_t *task; /* (nodes + 1, rounded up to whole rows) of what is next at node i - 1; 0: at the root */
    uint32_t n;    /* records in use */
    uint32_t n_nodes; /* nodes drafted */
    uint32_t nodes;
} mix_scratch;

/* The longest match of a record's text with candidate k in index x; count and length 0: none. */
static inline spec_locus mix_match(const mix_record *r, uint32_t x, uint32_t k) {
    const specp_class *class = &r->class[x][r->first[x][k] / 8];
    return specp_branch_locus(class, &class->branch[r->first[x][k] % 8]);
}

SPEC_MUST_CHECK int specp_mix_scratch_init(mix_scratch *m, uint32_t nodes, const spec_allocator *alloc);
void specp_mix_scratch_release(mix_scratch *m, const spec_allocator *alloc);

typedef struct mix_grow {
    const spec_index *index[MIX_INDEXES]; /* NULL: none */
    spec_locus at[MIX_INDEXES];           /* the text's longest match */
    size_t n_own[MIX_INDEXES];            /* matches of up to so many tokens include the text's own end */
    spec_token last;                      /* of the text */
    const spec_tree *draft[MIX_PARTS];    /* (n_drafts) of other drafters */
    uint32_t n_drafts;
    const mix_state *state;
    const mix_tables *tables;
    uint32_t budget, max_depth;
    float min_prob;
} mix_grow;

/* Weighs the root alone: for learning from tokens that no draft was asked for. */
void specp_mix_look(const mix_grow *g, mix_scratch *m);

/* Fills `out`, which is empty, with a tree of at most g->budget nodes, at most m->nodes: those with the
 * largest path probabilities, but for some behind nodes that seemed not worth weighing. */
void specp_mix_tree(const mix_grow *g, mix_scratch *m, spec_tree *out);

/* Follows committed tokens through the records, and learns at each. */
void specp_mix_follow(mix_scratch *m, mix_state *s, const mix_tables *t, const spec_token *tok, size_t n);

#endif

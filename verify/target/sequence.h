/* SPDX-License-Identifier: MIT */
/*
 * sequence.h - what a sequence is made of. sequence.c makes and edits it; a
 * forward pass (batch.c, forward*.c) fills the cache behind its end, then says so.
 */
#ifndef SPECP_SEQUENCE_H
#define SPECP_SEQUENCE_H

#include "kv.h"
#include "target_internal.h"

struct spec_sequence {
    spec_target *target;
    size_t max_context;
    spec_token *tokens; /* (n) in the cache */
    size_t n, cap_tokens;
    specp_kv cache;
    /* The last pass's tree, whose rows lie in `scratch` by node, until they are accepted or dropped. */
    specp_kv scratch;
    spec_token *node_token; /* (n_nodes); 0 nodes: none waits */
    int32_t *node_parent;
    size_t n_nodes, cap_nodes;
    bool in_batch; /* batch.c's mark */
};

/* Room for n_tokens more in the cache, and for the rows of n_nodes nodes. SPEC_ERR_NOMEM. */
int specp_sequence_reserve(spec_sequence *s, size_t n_tokens, size_t n_nodes);

/* A pass has written the rows of these tokens and of this tree (NULL: none), for which there
 * was room: they belong to the sequence now. Cannot fail. */
void specp_sequence_advance(spec_sequence *s, const spec_token *tokens, size_t n_tokens,
                            const spec_tree *tree);

#endif

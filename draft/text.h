/* SPDX-License-Identifier: MIT */
/*
 * text.h - a request's text as a growing array of tokens, and the draft that
 * continues it. Private to draft/.
 */
#ifndef DRAFT_TEXT_H
#define DRAFT_TEXT_H

#include <string.h>

#include "spec_tree.h"
#include "specp.h"

typedef struct specp_text {
    spec_token *tok; /* (n) */
    size_t n, cap;
} specp_text;

/* Makes room for `more` tokens, so that adding them cannot fail. The contents
 * stay as they are. */
static inline int specp_text_reserve(specp_text *t, size_t more, const spec_allocator *alloc) {
    if (more <= t->cap - t->n) return SPEC_OK;
    if (more > SIZE_MAX / 4 - t->n) return SPEC_ERR_NOMEM;
    size_t cap = t->cap ? t->cap : 64;
    while (cap < t->n + more) cap *= 2;
    spec_token *p = specp_resize(alloc, t->tok, t->cap, cap, sizeof *p);
    if (!p) return SPEC_ERR_NOMEM;
    t->tok = p;
    t->cap = cap;
    return SPEC_OK;
}

/* Room must have been reserved. */
static inline void specp_text_add(specp_text *t, const spec_token *tok, size_t n) {
    if (n) memcpy(t->tok + t->n, tok, n * sizeof *tok);
    t->n += n;
}

static inline void specp_text_release(specp_text *t, const spec_allocator *alloc) {
    specp_release(alloc, t->tok, t->cap, sizeof *t->tok);
    memset(t, 0, sizeof *t);
}

/* Token i of the text followed by a chain draft. */
static inline spec_token specp_text_at(const specp_text *t, const spec_tree *draft, size_t i) {
    return i < t->n ? t->tok[i] : draft->token[i - t->n];
}

/* Adds a node at the end of a chain draft, and its probability to the score. */
static inline void specp_chain_add(spec_tree *t, spec_token token, float prob, int source) {
    spec_tree_add(t, (int32_t)t->n - 1, token, prob, source);
    t->score += prob;
}

/* The longest chain that the arguments and a drafter's own limit allow. */
static inline uint32_t specp_chain_limit(uint32_t budget, uint32_t max_depth, int64_t len) {
    uint32_t limit = budget < max_depth ? budget : max_depth;
    return len < limit ? (uint32_t)len : limit;
}

#endif

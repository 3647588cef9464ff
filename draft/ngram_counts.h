/* SPDX-License-Identifier: MIT */
/*
 * ngram_counts.h - how often each token followed each n-gram, n = 1..4, exactly.
 * Private to draft/.
 *
 *     slot (hash table) ----> gram (dense)                      pair (hash table)
 *     [ 0 ]                   [ key a b . .  total 5           ] [gram 0, token x] 3
 *     [ 2 ] ----------------> [ key b . . .  best x, 3 times   ] [gram 0, token y] 2
 *     [ 1 ]                   [ ...                            ]
 *
 * What a draft needs, the most frequent next token and its share, stands in the
 * gram itself. The counts of all its next tokens are in the table of pairs, but
 * only once there are two of them: most n-grams are always followed by the same
 * token (total == best_count), and need no pair.
 *
 * Keys are compared whole; unused places of a key hold -1, which no token is.
 * Among tokens of equal count the one that reached it first is best.
 */
#ifndef DRAFT_NGRAM_COUNTS_H
#define DRAFT_NGRAM_COUNTS_H

#include <stddef.h>
#include <stdint.h>

#include "specp.h"

#define SPECP_NGRAM_MAX 4

typedef struct specp_gram {
    spec_token key[SPECP_NGRAM_MAX];
    uint32_t total; /* stops at UINT32_MAX, and then the others stop with it */
    uint32_t best_count;
    spec_token best;
} specp_gram;

typedef struct specp_gram_pair {
    uint32_t gram; /* its place plus one; 0 = free slot */
    spec_token token;
    uint32_t count;
} specp_gram_pair;

typedef struct specp_ngram_counts {
    uint32_t
        *slot; /* (n_slots) a gram's place plus one; 0 = free. n_slots: a power of two, at most half used */
    specp_gram *gram;      /* (n_grams of cap_grams) */
    specp_gram_pair *pair; /* (n_pair_slots) a power of two, at most half used */
    size_t n_slots, n_grams, cap_grams, n_pair_slots, n_pairs;
} specp_ngram_counts;

/* Makes room to learn `tokens` more tokens, so that learning cannot fail. What
 * is known stays as it is. SPEC_ERR_NOMEM, SPEC_ERR_FULL (2^31 grams). */
SPEC_MUST_CHECK int specp_ngram_reserve(specp_ngram_counts *c, size_t tokens, const spec_allocator *alloc);

/* The bytes that would be held after such a reserve. */
size_t specp_ngram_bytes_with(const specp_ngram_counts *c, size_t tokens);

/* Notes that `token` followed tail[0..n_tail), of which the last
 * SPECP_NGRAM_MAX tokens count. Room must have been reserved. */
void specp_ngram_learn(specp_ngram_counts *c, const spec_token *tail, size_t n_tail, spec_token token);

/* What is known of the n-gram tok[0..n), 1 <= n <= SPECP_NGRAM_MAX; NULL when it
 * was never followed by anything. Until the next call that changes c. */
const specp_gram *specp_ngram_find(const specp_ngram_counts *c, const spec_token *tok, size_t n);

void specp_ngram_release(specp_ngram_counts *c, const spec_allocator *alloc);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * oracle_index.h - the truth about a suffix index, told by brute force: it keeps
 * the sequences, counts by looking at every place, and compares an index with
 * what it counted.
 */
#ifndef TESTS_ORACLE_INDEX_H
#define TESTS_ORACLE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spec_index.h"

/* ---- the sequences ---------------------------------------------------- */

typedef struct oracle_seq {
    spec_seq id;
    spec_token *tok; /* (n of cap) */
    size_t n, cap;
    bool ended;
    bool evicted;  /* in part: it takes no more tokens */
    uint64_t used; /* when last begun, appended to or touched */
} oracle_seq;

typedef struct oracle {
    uint32_t depth;
    oracle_seq *seq; /* (n of cap) oldest first */
    size_t n, cap;
    uint64_t clock;
} oracle;

/* Memory comes from malloc; running out of it aborts the test program. */
void oracle_init(oracle *o, uint32_t depth);
void oracle_free(oracle *o);

void oracle_begin(oracle *o, spec_seq id);
oracle_seq *oracle_find_seq(const oracle *o, spec_seq id); /* NULL: none */
void oracle_append(oracle *o, spec_seq id, const spec_token *tok, size_t n);
void oracle_truncate(oracle *o, spec_seq id, size_t n);
void oracle_remove(oracle *o, spec_seq id);
void oracle_use(oracle *o, spec_seq id); /* used now, for LRU */
size_t oracle_tokens(const oracle *o);

/* Occurrences of tok[0..n) over all sequences, 0 when n > depth; in one sequence. */
uint32_t oracle_count(const oracle *o, const spec_token *tok, size_t n);
uint32_t oracle_count_in(const oracle_seq *s, const spec_token *tok, size_t n);

/* Length of the longest suffix of tok[0..n), depth at most, that occurs. */
size_t oracle_match(const oracle *o, const spec_token *tok, size_t n);

/* ---- comparing -------------------------------------------------------- */

/*
 * Compares everything that the index says with the truth: sequences, the count
 * of every substring up to the depth, children and their order at every locus,
 * suffix chains, tails, lookups from scratch, and strings that do not occur.
 * false, with the first difference in *why. O(tokens * depth) at least.
 */
bool oracle_compare(const oracle *o, const spec_index *x, spec_message *why);

/* The parts that are cheap: sequences, stats, tails. */
bool oracle_compare_seqs(const oracle *o, const spec_index *x, spec_message *why);

/* Does this locus stand for tok[0..n)? Compares length, count and children. */
bool oracle_compare_locus(const oracle *o, const spec_index *x, spec_locus at, const spec_token *tok,
                          size_t n, spec_message *why);

/* ---- every substring --------------------------------------------------- */

/* An uncompressed trie of all substrings up to the depth, in a hash map from
 * (node, token) to node; node 0 is the empty string. */
typedef struct oracle_node {
    spec_token token;
    uint32_t parent, len, count;
    uint32_t suffix;         /* the node of the string without its first token */
    uint32_t child, sibling; /* lists of children; 0 ends them */
} oracle_node;

typedef struct oracle_trie {
    oracle_node *node; /* (n of cap) parents before children */
    uint32_t n, cap;
    uint32_t *slot; /* (slots) node, 0 = empty; linear probing */
    uint32_t slots;
} oracle_trie;

void oracle_trie_build(oracle_trie *t, const oracle *o);
void oracle_trie_free(oracle_trie *t);
uint32_t oracle_trie_child(const oracle_trie *t, uint32_t node, spec_token token); /* 0: none */

#endif

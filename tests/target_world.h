/* SPDX-License-Identifier: MIT */
/*
 * target_world.h - what tests of the target model share: opening, feeding, random
 * trees, and plain decoding as the truth that everything else is compared with.
 */
#ifndef TESTS_TARGET_WORLD_H
#define TESTS_TARGET_WORLD_H

#include "spec_target.h"
#include "support.h"
#include "tiny_model.h"

/* Fails the test when it cannot. isa: a name, or NULL for all. */
spec_target *target_open(const char *path, unsigned threads, spec_type kv_type, const char *isa);
size_t target_vocab(const spec_target *t);
spec_sequence *target_sequence(spec_target *t);

/* Feeds n tokens and a tree (or NULL); fails the test when that fails. */
spec_forward_out target_feed(spec_target *t, spec_sequence *s, const spec_token *tokens, size_t n,
                             const spec_tree *tree, int all_rows);

/* n tokens of the vocabulary. */
void target_text(support_rng *rng, spec_token *out, size_t n, size_t vocab);

/* A tree of n random nodes; spec_tree_release with NULL. */
spec_tree target_tree(support_rng *rng, uint32_t n, size_t vocab);
/* The nodes from the root down to `node`, and their tokens; returns how many. */
size_t target_path(const spec_tree *tree, int32_t node, int32_t *path, spec_token *tokens);

/* Logits (n, vocab) after each token, fed one at a time: the truth. malloc'ed. *s (may be NULL) gets the
 * sequence. */
float *target_plain(spec_target *t, const spec_token *tokens, size_t n, spec_sequence **s);

/* Bit by bit; fails the test, naming the row. */
void target_same_rows(const char *what, const float *got, const float *wanted, size_t n, size_t vocab);
bool target_rows_differ(const float *a, const float *b, size_t n, size_t vocab);
/* The caches' first n positions are equal. */
void target_same_cache(const char *what, const spec_sequence *a, const spec_sequence *b, size_t n);

#endif

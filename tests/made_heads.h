/* SPDX-License-Identifier: MIT */
/*
 * made_heads.h - files of draft heads with random weights, for tests of what is done with them,
 * and what a test needs beside them: a world, and a target that has sizes and embeddings, and nothing to run.
 */
#ifndef TESTS_MADE_HEADS_H
#define TESTS_MADE_HEADS_H

#include "spec_lm.h"
#include "support.h"
#include "team.h"

/* Medusa heads of one layer; `choices`, or NULL: the metadata "medusa_choices". Fails the test when it
 * cannot. */
void made_medusa(const char *path, size_t heads, size_t hidden, size_t vocab, uint64_t seed,
                 const char *choices);

/* Fixtures of a group of tests with a head's file. */
typedef struct head_world {
    support_tmp tmp;
    char path[256];      /* "DIR/head" */
    specp_team *team[2]; /* of one thread, of three */
    support_rng rng;
} head_world;

int head_world_set_up(void **state);
int head_world_tear_down(void **state);

typedef struct bare_target {
    size_t dim, vocab, context;
    int fails; /* the next embedding */
} bare_target;

spec_lm bare_target_lm(bare_target *b); /* of 4 layers */

/* Embeddings that are made up; `self` is a bare_target. */
int bare_target_embedding(void *self, spec_token token, float *out);

#endif

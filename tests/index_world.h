/* SPDX-License-Identifier: MIT */
/*
 * index_world.h - an index and the oracle in step. Operations are done to both;
 * which ones, a stream of choices says: a random generator in the property
 * tests, the input's bytes in the fuzz target.
 */
#ifndef TESTS_INDEX_WORLD_H
#define TESTS_INDEX_WORLD_H

#include "oracle_index.h"
#include "spec_index.h"

/* below(user, n) is a number 0..n-1. */
typedef struct world_choice {
    uint32_t (*below)(void *user, uint32_t n);
    void *user;
} world_choice;

typedef struct world_options {
    uint32_t depth;
    uint32_t alphabet; /* how many different tokens there are */
    uint32_t period;   /* the text repeats with it, but for rare slips; 0 = it does not */
    bool extreme;      /* ids from both ends of the range: 0, INT32_MAX, 1, INT32_MAX - 1, ... */
    size_t max_tokens; /* held: above it the oldest sequences are removed */
    uint32_t longest;  /* append; 0 = 12 tokens */
    size_t memory_limit;
    spec_evict evict;
    const char *snapshot; /* a path to save at and load from; NULL: no snapshots */
    spec_allocator alloc;
} world_options;

#define WORLD_CURSORS 3

/* A cursor and the last tokens, up to the depth, that it was fed. */
typedef struct world_cursor {
    spec_cursor *cursor;
    spec_token *fed; /* (n of depth) */
    size_t n;
} world_cursor;

typedef struct world {
    world_options options;
    spec_index *index;
    oracle truth;
    world_cursor cursor[WORLD_CURSORS];
    uint64_t steps;
    uint64_t evicted, evicted_tokens; /* by the index, as the oracle saw it */
    uint64_t loads;
    spec_seq gone;    /* a sequence that was there once, 0 = none yet */
    spec_message why; /* the first difference */
    char did[64];     /* the last operation, for messages */
} world;

bool world_open(world *w, const world_options *options);
void world_close(world *w);

/* Does one operation. false: the index answered otherwise than the oracle. */
bool world_step(world *w, world_choice c);

/* spec_index_check, the sequences, and those cursors whose turn it is: the first
 * at every step, the others after long intervals only, so that they live through
 * many changes unasked. */
bool world_check(world *w);

/* Everything: world_check, all cursors, and oracle_compare. */
bool world_check_all(world *w);

/* Judges what the index evicted since the oracle was last in step, and makes the
 * oracle follow. `keep` must not be among the victims; 0: anyone may be. */
bool world_follow_evictions(world *w, spec_seq keep);

/* Single operations, for tests that write their own history. */
bool world_begin(world *w, spec_seq *id);
bool world_append(world *w, spec_seq id, const spec_token *tok, size_t n);
bool world_truncate(world *w, spec_seq id, size_t n);
bool world_remove(world *w, spec_seq id);
bool world_touch(world *w, spec_seq id, size_t from, size_t n);
bool world_evict(world *w, size_t max_tokens);
bool world_compact(world *w);
bool world_reload(world *w);
void world_feed(world *w, size_t cursor, const spec_token *tok, size_t n);

#endif

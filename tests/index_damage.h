/* SPDX-License-Identifier: MIT */
/*
 * index_damage.h - ways to damage an index in memory, one at a time. They look
 * into it, so this is for tests of spec_index_check alone. They want an index
 * loaded from a snapshot, with LRU eviction, blocks, hubs, single classes, and
 * something in every free list.
 */
#ifndef TESTS_INDEX_DAMAGE_H
#define TESTS_INDEX_DAMAGE_H

#include "index_internal.h"

typedef struct damage {
    const char *name;
    const char *words; /* of the message that must tell of it */
    void (*inflict)(spec_index *x);
} damage;

extern const damage index_damages[];
extern const size_t n_index_damages;

/* Is it in use, and not the root? */
bool index_live_state(const spec_index *x, uint32_t id);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * storm.h - one drafter on suffix indexes, many requests at the same time: eight threads decode with a
 * toy model while others are evicted, tenants come and go, somebody reads the statistics and somebody
 * saves. Every output must be that of plain decoding, and no tenant may be told another's
 * tokens. (The drafter allocates by malloc: a lock in the allocator would hide races from TSan.)
 */
#ifndef TESTS_STORM_H
#define TESTS_STORM_H

#include <stdatomic.h>

#include "spec_drafter.h"
#include "support.h"

#define STORM_THREADS  8
#define STORM_REQUESTS 14  /* of each thread */
#define STORM_CALM     800 /* as many as slices can be left: a tenant has 112 responses of 7 at most */

typedef struct storm {
    const char *spec;
    const char *reopen; /* what a saved file must open as, "suffix:corpus="; or NULL */
    uint64_t n_tenants;
    uint32_t vocab; /* many: the text is new, but for prompts that come again */
    /* private, but for d */
    uint64_t seed;
    spec_drafter *d;
    support_tmp tmp;
    _Atomic bool over;
    _Atomic size_t accepted, drafted, saved;
    _Atomic size_t taught[8]; /* tokens of each tenant */
    const char *_Atomic fault;
} storm;

/* Opens the drafter and runs the storm, which must end without a fault; what the drafter knows
 * afterwards is in *after. */
void storm_blow(storm *s, spec_drafter_stats *after);

/* STORM_CALM requests of a token of each tenant, one at a time: they work off what the storm's had to
 * leave to others. */
void storm_calm(storm *s, spec_drafter_stats *after);

void storm_clear(storm *s);

#endif

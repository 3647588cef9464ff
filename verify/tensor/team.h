/* SPDX-License-Identifier: MIT */
/*
 * team.h - a handle's own threads. One parallel region runs a function on all of
 * them; inside it, loops are shared out and barriers separate the steps of a
 * forward pass, so that a pass wakes the threads once and not once per operation.
 *
 *     caller   --run(fn)--> fn(0) --each--> ...barrier... --each--> ...  returns
 *     worker 1    sleeping  fn(1) --each--> ...barrier... --each--> ...  sleeps
 *
 * The caller is thread 0. A barrier spins for a short while and then sleeps, so
 * more threads than cores cost little. Results must not depend on which thread
 * takes which item.
 */
#ifndef SPECP_TEAM_H
#define SPECP_TEAM_H

#include "specp.h"

typedef struct specp_team specp_team;

/* n_threads: 1..256; 1 starts no thread at all. SPEC_ERR_INVALID, SPEC_ERR_NOMEM (also when
 * the system refuses a thread). */
int specp_team_new(specp_team **out, unsigned n_threads, const spec_allocator *alloc);
/* Joins the threads. NULL is accepted. */
void specp_team_free(specp_team *t);
unsigned specp_team_size(const specp_team *t);

/* Runs fn(arg, thread) on every thread and waits for all. Not reentrant; one
 * caller at a time. */
void specp_team_run(specp_team *t, void (*fn)(void *arg, unsigned thread), void *arg);

/* Inside a region, called by every thread in the same order: */

/* Waits until all threads have come here; what they wrote before is then seen by all. */
void specp_team_barrier(specp_team *t, unsigned thread);

/* Calls fn(arg, begin, end, thread) on pieces of at most `chunk` items that
 * together are 0..n-1, taken by whichever thread is free, and ends with a
 * barrier. chunk 0 = n / (8 * threads), at least 1. */
void specp_team_each(specp_team *t, unsigned thread, size_t n, size_t chunk,
                     void (*fn)(void *arg, size_t begin, size_t end, unsigned thread), void *arg);

#endif

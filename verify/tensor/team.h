/* SPDX-License-Identifier: MIT */
/*
 * team.h - a handle's own threads. One parallel region runs a function on all of
 * them; inside it, loops are shared out, and each is one step of a forward pass,
 * so that a pass wakes the threads once and not once per operation.
 *
 *     caller   --run(fn)--> fn(0) --each--> --each--> --each--> ...  returns
 *     worker 1    sleeping  fn(1) --each--> --each--> --each--> ...  sleeps
 *
 * The caller is thread 0. A step ends when all its items are done, not when all
 * threads have come to it: a thread that the system does not run holds up only the
 * piece it has taken, and finds the steps done when it comes to them. So between
 * the steps fn may read nothing but its own variables and what no step of the
 * region changes. Results must not depend on which thread takes which item.
 */
#ifndef SPECP_TEAM_H
#define SPECP_TEAM_H

#include "specp.h"

typedef struct specp_team specp_team;

/* The cores that this process may use, at least 1. */
unsigned specp_team_cores(void);

/* n_threads: 1..256; 1 starts no thread at all. SPEC_ERR_INVALID, SPEC_ERR_NOMEM (also when
 * the system refuses a thread). */
int specp_team_new(specp_team **out, unsigned n_threads, const spec_allocator *alloc);
/* Joins the threads. NULL is accepted. */
void specp_team_free(specp_team *t);
unsigned specp_team_size(const specp_team *t);

/* Runs fn(arg, thread) on every thread and waits for all. Not reentrant; one
 * caller at a time. Whatever rounding or flushing of denormals the caller has set, in fn
 * arithmetic is IEEE's. */
void specp_team_run(specp_team *t, void (*fn)(void *arg, unsigned thread), void *arg);

/* A piece of a loop: items begin..end-1. */
typedef void specp_team_fn(void *arg, size_t begin, size_t end, unsigned thread);

/*
 * Inside a region, called by every thread with the same n and chunk, in the same
 * order: calls fn on pieces that together are 0..n-1 (n < 2^32), taken by whichever
 * thread is free. When it returns all of them are done, and what they wrote is
 * seen. chunk: the items of a piece; 0: large pieces first, then smaller and smaller ones.
 */
void specp_team_each(specp_team *t, unsigned thread, size_t n, size_t chunk, specp_team_fn *fn, void *arg);

/* The same, and before the step ends `then` is called once, by the thread that did
 * the last item: cheaper than a step of its own where the work is little. */
void specp_team_each_then(specp_team *t, unsigned thread, size_t n, size_t chunk, specp_team_fn *fn,
                          void (*then)(void *arg, unsigned thread), void *arg);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * shared.h - what a drafter's requests share: its memory and lock, knowledge that
 * outlives a request, one piece for each tenant, and locks that know how long they kept
 * a thread waiting. Private to draft/.
 */
#ifndef DRAFT_SHARED_H
#define DRAFT_SHARED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "draft_internal.h"

/* ---- waiting ------------------------------------------------------------ */

/* The longest time that a lock was waited for. A lock that is free costs no
 * look at the clock. */
typedef struct specp_wait {
    _Atomic uint64_t longest_ns;
} specp_wait;

/* A read-write lock under which readers cannot starve a writer, where the
 * system has such. Returns 0 or SPEC_ERR_NOMEM. */
SPEC_MUST_CHECK int specp_rwlock_init(pthread_rwlock_t *l);

void specp_lock(pthread_mutex_t *m, specp_wait *w);
void specp_read_lock(pthread_rwlock_t *l, specp_wait *w);
void specp_write_lock(pthread_rwlock_t *l, specp_wait *w);

/* ---- a drafter's shell -------------------------------------------------- */

/* The first member of a drafter's struct. */
typedef struct specp_shell {
    spec_allocator alloc; /* what the drafter takes its memory by: through the account */
    specp_account account;
    size_t size; /* of the drafter's struct */
    specp_wait wait;
    pthread_mutex_t lock;
} specp_shell;

/* A drafter's struct, all zero behind the shell. NULL: there is no memory, or no lock. */
void *specp_shell_new(size_t size, const spec_allocator *alloc);
void specp_shell_free(void *self);

/* Bytes and the longest wait: an entry of spec_drafter_ops, or its beginning. */
void specp_shell_stats(void *self, spec_drafter_stats *out);

void specp_shell_lock(specp_shell *s);
void specp_shell_unlock(specp_shell *s);

/* ---- tenants ------------------------------------------------------------ */

/*
 *     tenant   open  last   knowledge
 *        7       2     9    ----> made by `make`, dropped by `drop`
 *        0       0     4    ---->
 *       31       1     8    ---->
 *
 * A piece of knowledge is made when its tenant's first request begins, and
 * stays when the tenant has none: `open` counts its requests now, `last` is the
 * time (in begins) of the latest. When there are `max` tenants, a new one takes
 * the place of the one without requests whose `last` is oldest; when all have
 * requests, the new tenant's request goes without shared knowledge.
 */
typedef struct specp_tenant {
    uint64_t id, last;
    size_t open;
    void *knowledge;
} specp_tenant;

typedef struct specp_tenants {
    specp_shell *drafter;                   /* whose lock guards this */
    int (*make)(void *drafter, void **out); /* 0 or a spec_err, which acquire hands on */
    void (*drop)(void *drafter, void *knowledge);
    bool cross; /* all tenants are one */
    size_t n, max;
    specp_tenant *list; /* (max) */
    uint64_t now;
} specp_tenants;

/* drafter, make, drop, cross and max are set; the rest is zero. */
SPEC_MUST_CHECK int specp_tenants_init(specp_tenants *t);
/* Drops everything. No request may be open. Of one that was not initialised, all zero, nothing. */
void specp_tenants_destroy(specp_tenants *t);

/* The tenant's knowledge, *out == NULL when there is no place for it. It stays
 * until the matching release. SPEC_ERR_NOMEM. */
SPEC_MUST_CHECK int specp_tenants_acquire(specp_tenants *t, uint64_t tenant, void **out);
/* The same for knowledge that is there; makes none, drops none, and is not a
 * use. SPEC_ERR_NOT_FOUND. */
SPEC_MUST_CHECK int specp_tenants_look_up(specp_tenants *t, uint64_t tenant, void **out);
/* The knowledge at place i, held like look_up's; false past the last. */
bool specp_tenants_at(specp_tenants *t, size_t i, void **out);
void specp_tenants_release(specp_tenants *t, void *knowledge); /* NULL is accepted */

#endif

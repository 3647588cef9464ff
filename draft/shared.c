/* SPDX-License-Identifier: MIT */
/*
 * What drafters share among requests: memory and lock, knowledge by tenant (the
 * picture is in shared.h), and locks with a clock.
 *
 * Invariants of tenants, under the drafter's lock: ids are distinct; the first n entries of the list
 * are in use; a tenant with open requests is never dropped. Knowledge is made
 * and dropped outside the lock, because a large table takes milliseconds.
 */
#include "shared.h"

#include <time.h>

/* ---- waiting ------------------------------------------------------------ */

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void note_wait(specp_wait *w, uint64_t since) {
    uint64_t ns = now_ns() - since;
    uint64_t longest = atomic_load_explicit(&w->longest_ns, memory_order_relaxed);
    while (ns > longest && !atomic_compare_exchange_weak_explicit(
                               &w->longest_ns, &longest, ns, memory_order_relaxed, memory_order_relaxed)) {
    }
}

int specp_rwlock_init(pthread_rwlock_t *l) {
    pthread_rwlockattr_t attr;
    if (pthread_rwlockattr_init(&attr)) return SPEC_ERR_NOMEM;
#if defined(__GLIBC__)
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
    int err = pthread_rwlock_init(l, &attr);
    pthread_rwlockattr_destroy(&attr);
    return err ? SPEC_ERR_NOMEM : SPEC_OK;
}

void specp_lock(pthread_mutex_t *m, specp_wait *w) {
    if (!pthread_mutex_trylock(m)) return;
    uint64_t since = now_ns();
    pthread_mutex_lock(m);
    note_wait(w, since);
}

void specp_read_lock(pthread_rwlock_t *l, specp_wait *w) {
    if (!pthread_rwlock_tryrdlock(l)) return;
    uint64_t since = now_ns();
    pthread_rwlock_rdlock(l);
    note_wait(w, since);
}

void specp_write_lock(pthread_rwlock_t *l, specp_wait *w) {
    if (!pthread_rwlock_trywrlock(l)) return;
    uint64_t since = now_ns();
    pthread_rwlock_wrlock(l);
    note_wait(w, since);
}

/* ---- a drafter's shell -------------------------------------------------- */

void *specp_shell_new(size_t size, const spec_allocator *alloc) {
    specp_shell *s = specp_calloc(alloc, 1, size);
    if (!s) return NULL;
    if (pthread_mutex_init(&s->lock, NULL)) {
        specp_release(alloc, s, 1, size);
        return NULL;
    }
    s->alloc = specp_account_init(&s->account, alloc);
    s->size = size;
    return s;
}

void specp_shell_free(void *self) {
    specp_shell *s = self;
    spec_allocator inner = s->account.inner;
    pthread_mutex_destroy(&s->lock);
    specp_release(&inner, s, 1, s->size);
}

void specp_shell_stats(void *self, spec_drafter_stats *out) {
    specp_shell *s = self;
    out->index_bytes = s->size + specp_account_bytes(&s->account);
    out->longest_wait_ns = atomic_load_explicit(&s->wait.longest_ns, memory_order_relaxed);
}

void specp_shell_lock(specp_shell *s) { specp_lock(&s->lock, &s->wait); }

void specp_shell_unlock(specp_shell *s) { pthread_mutex_unlock(&s->lock); }

/* ---- tenants ------------------------------------------------------------ */

int specp_tenants_init(specp_tenants *t) {
    t->list = specp_calloc(&t->drafter->alloc, t->max, sizeof *t->list);
    return t->list ? SPEC_OK : SPEC_ERR_NOMEM;
}

void specp_tenants_destroy(specp_tenants *t) {
    for (size_t i = 0; i < t->n; i++) t->drop(t->drafter, t->list[i].knowledge);
    if (t->list) specp_release(&t->drafter->alloc, t->list, t->max, sizeof *t->list);
}

/* The place of a tenant, or NULL. */
static specp_tenant *find(specp_tenants *t, uint64_t id) {
    for (size_t i = 0; i < t->n; i++)
        if (t->list[i].id == id) return &t->list[i];
    return NULL;
}

/* A place for a new tenant, or NULL: the next one that is free, or that of the
 * idle tenant whose last request is oldest (its knowledge is still in it). */
static specp_tenant *find_place(specp_tenants *t) {
    if (t->n < t->max) return &t->list[t->n];
    specp_tenant *oldest = NULL;
    for (size_t i = 0; i < t->n; i++) {
        specp_tenant *e = &t->list[i];
        if (!e->open && (!oldest || e->last < oldest->last)) oldest = e;
    }
    return oldest;
}

static void *enter(specp_tenants *t, specp_tenant *e) {
    e->open++;
    e->last = ++t->now;
    return e->knowledge;
}

/* Puts new knowledge in place. What has to be dropped instead, the knowledge of
 * the tenant that made room or the new one, comes back in *surplus. */
static void *settle(specp_tenants *t, uint64_t id, void *knowledge, void **surplus) {
    *surplus = knowledge;
    specp_tenant *e = find(t, id);
    if (e) return enter(t, e); /* another thread was faster */
    e = find_place(t);
    if (!e) return NULL;
    if (e == &t->list[t->n]) t->n++;
    *surplus = e->knowledge;
    *e = (specp_tenant){.id = id, .knowledge = knowledge};
    return enter(t, e);
}

int specp_tenants_acquire(specp_tenants *t, uint64_t tenant, void **out) {
    uint64_t id = t->cross ? 0 : tenant;
    specp_shell_lock(t->drafter);
    specp_tenant *e = find(t, id);
    bool place = e || find_place(t);
    *out = e ? enter(t, e) : NULL;
    specp_shell_unlock(t->drafter);
    if (e || !place) return SPEC_OK;

    void *surplus, *made;
    int err = t->make(t->drafter, &made);
    if (err) return err;
    specp_shell_lock(t->drafter);
    *out = settle(t, id, made, &surplus);
    specp_shell_unlock(t->drafter);
    if (surplus) t->drop(t->drafter, surplus);
    return SPEC_OK;
}

int specp_tenants_look_up(specp_tenants *t, uint64_t tenant, void **out) {
    specp_shell_lock(t->drafter);
    specp_tenant *e = find(t, t->cross ? 0 : tenant);
    if (e) {
        e->open++;
        *out = e->knowledge;
    }
    specp_shell_unlock(t->drafter);
    return e ? SPEC_OK : SPEC_ERR_NOT_FOUND;
}

bool specp_tenants_at(specp_tenants *t, size_t i, void **out) {
    specp_shell_lock(t->drafter);
    bool there = i < t->n;
    if (there) {
        t->list[i].open++;
        *out = t->list[i].knowledge;
    }
    specp_shell_unlock(t->drafter);
    return there;
}

void specp_tenants_release(specp_tenants *t, void *knowledge) {
    if (!knowledge) return;
    specp_shell_lock(t->drafter);
    size_t i = 0;
    while (t->list[i].knowledge != knowledge) i++;
    t->list[i].open--;
    specp_shell_unlock(t->drafter);
}

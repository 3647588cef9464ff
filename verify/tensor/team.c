/* SPDX-License-Identifier: MIT */
/*
 * A team of threads. Inside a region the state is one word and one count:
 *
 *     claim   | step, 32 bits | next item, 32 bits |     done: items of this step that are finished
 *
 *  1. A thread takes a piece of its step by moving `next item` on (compare and
 *     swap). If the word shows a later step, its own is over, and it goes on.
 *  2. Whoever finishes the last item does what comes `then`, and sets done to 0 and the word
 *     to (step + 1, 0).
 *  3. A thread that finds no item left waits until the word shows a later step.
 *
 * A wait spins first, then sleeps in one of two rooms:
 *
 *     idle    workers between two regions
 *     inside  whoever waits for a step's end, and the caller when it waits for the workers
 *
 * With more threads than cores a spinning thread takes the core from one that
 * works. Then waits hardly spin, and the end of a step wakes no more sleepers than
 * there are cores; the others sleep until the region ends, and their share is
 * done by those awake.
 *
 * Invariants: claim and done change by rules 1 and 2 alone while `working` is not
 * 0; a room's `n` counts its sleepers, woken ones included until they run; a sleeper has
 * counted itself before it looks for the last time, and a waker looks at the count after its
 * change (both sequentially consistent), so no wake-up is lost.
 */
#ifdef __linux__
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#define MAX_THREADS   256
#define SPINS         2000 /* pauses before a sleep: about 0.1 ms, the price of a sleep and a wake-up */
#define SPINS_CROWDED 40   /* with more threads than cores */
#define CACHE_LINE    64

typedef struct room {
    pthread_cond_t changed;
    atomic_uint n;
} room;

typedef struct worker {
    uint32_t step; /* of this region, the thread's own count */
    unsigned index;
    specp_team *team;
    pthread_t thread;
    char apart[2 * CACHE_LINE];
} worker;

struct specp_team {
    spec_allocator alloc;
    unsigned size, cores, spins;
    unsigned n_started; /* threads to join */
    void (*fn)(void *arg, unsigned thread);
    void *arg;
    bool stop;
    pthread_mutex_t lock;
    room idle, inside;
    atomic_uint region;  /* changes when a region begins, and for the end */
    atomic_uint working; /* workers that have not finished the region */
    char apart0[CACHE_LINE];
    atomic_uint_least64_t claim;
    char apart1[CACHE_LINE];
    atomic_size_t done;
    char apart2[CACHE_LINE];
    worker w[];
};

unsigned specp_team_cores(void) {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return (unsigned)CPU_COUNT(&set);
#endif
#ifdef _SC_NPROCESSORS_ONLN
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (n > 0) return (unsigned)n;
#endif
    return 1;
}

/* ---- waiting -------------------------------------------------------------- */

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static bool region_changed(specp_team *t, unsigned seen) { return atomic_load(&t->region) != seen; }
static bool step_over(specp_team *t, unsigned step) { return atomic_load(&t->claim) >> 32 != step; }
static bool all_finished(specp_team *t, unsigned unused) {
    (void)unused;
    return atomic_load(&t->working) == 0;
}

static void wait_until(specp_team *t, room *r, bool (*ready)(specp_team *t, unsigned value), unsigned value) {
    for (unsigned i = 0; i < t->spins; i++) {
        if (ready(t, value)) return;
        relax();
    }
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add(&r->n, 1);
    while (!ready(t, value)) pthread_cond_wait(&r->changed, &t->lock);
    atomic_fetch_sub(&r->n, 1);
    pthread_mutex_unlock(&t->lock);
}

static void wake_all(specp_team *t, room *r) {
    if (atomic_load(&r->n) == 0) return;
    pthread_mutex_lock(&t->lock);
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&t->lock);
}

/* As many as there are cores for. */
static void wake_some(specp_team *t, room *r) {
    unsigned asleep = atomic_load(&r->n);
    if (asleep == 0 || t->size - asleep >= t->cores) return;
    pthread_mutex_lock(&t->lock);
    for (unsigned n = t->cores - (t->size - asleep); n > 0; n--) pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&t->lock);
}

/* ---- arithmetic ----------------------------------------------------------- */

/* A host may flush denormals (one object linked with -ffast-math does that to the whole process), round in
 * another way or trap; its threads need not agree. In a region all threads compute as they
 * were born: to nearest, with denormals and without traps. Returns what was set. */
static unsigned set_arithmetic(void) {
#if defined(__SSE__)
    unsigned before = _mm_getcsr();
    _mm_setcsr(0x1f80);
    return before;
#else
    return 0;
#endif
}

static void reset_arithmetic(unsigned before) {
#if defined(__SSE__)
    _mm_setcsr(before);
#else
    (void)before;
#endif
}

/* ---- a region ------------------------------------------------------------- */

static uint64_t first_of(uint32_t step) { return (uint64_t)step << 32; }

static void end_step(specp_team *t, uint32_t step) {
    atomic_store_explicit(&t->done, 0, memory_order_relaxed);
    atomic_store(&t->claim, first_of(step + 1));
    wake_some(t, &t->inside);
}

/* The items of the next piece when `left` are left. */
static size_t piece(const specp_team *t, size_t left, size_t chunk) {
    unsigned at_work = t->size < t->cores ? t->size : t->cores;
    size_t n = chunk ? chunk : left / (2 * (size_t)at_work);
    n = n > 0 ? n : 1;
    return n < left ? n : left;
}

void specp_team_each_then(specp_team *t, unsigned thread, size_t n, size_t chunk, specp_team_fn *fn,
                          void (*then)(void *arg, unsigned thread), void *arg) {
    uint32_t step = t->w[thread].step++;
    size_t items = n > 0 ? n : 1; /* a step without items has an empty one */
    uint64_t seen = atomic_load(&t->claim);
    while (seen >> 32 == step) {
        size_t begin = seen & UINT32_MAX;
        if (begin == items) {
            wait_until(t, &t->inside, step_over, step);
            return;
        }
        size_t count = piece(t, items - begin, chunk);
        if (!atomic_compare_exchange_weak(&t->claim, &seen, seen + count)) continue;
        if (n > 0) fn(arg, begin, begin + count, thread);
        if (atomic_fetch_add(&t->done, count) + count == items) {
            if (then) then(arg, thread);
            end_step(t, step);
            return;
        }
        seen = atomic_load(&t->claim);
    }
}

void specp_team_each(specp_team *t, unsigned thread, size_t n, size_t chunk, specp_team_fn *fn, void *arg) {
    specp_team_each_then(t, thread, n, chunk, fn, NULL, arg);
}

static void *work(void *arg) {
    worker *w = arg;
    specp_team *t = w->team;
    unsigned seen = 0;
    (void)set_arithmetic();
    for (;;) {
        wait_until(t, &t->idle, region_changed, seen);
        seen = atomic_load(&t->region);
        if (t->stop) return NULL;
        w->step = 0;
        t->fn(t->arg, w->index);
        atomic_fetch_sub(&t->working, 1);
        wake_all(t, &t->inside); /* every step is over: those who slept through them, and the caller */
    }
}

static void begin_region(specp_team *t) {
    atomic_fetch_add(&t->region, 1);
    wake_all(t, &t->idle);
}

void specp_team_run(specp_team *t, void (*fn)(void *arg, unsigned thread), void *arg) {
    t->fn = fn;
    t->arg = arg;
    atomic_store_explicit(&t->claim, 0, memory_order_relaxed);
    atomic_store_explicit(&t->working, t->size - 1, memory_order_relaxed);
    begin_region(t);
    t->w[0].step = 0;
    unsigned arithmetic = set_arithmetic();
    fn(arg, 0);
    reset_arithmetic(arithmetic);
    wake_all(t, &t->inside);
    wait_until(t, &t->inside, all_finished, 0);
}

unsigned specp_team_size(const specp_team *t) { return t->size; }

/* ---- making and ending ---------------------------------------------------- */

static int room_init(room *r) {
    atomic_init(&r->n, 0);
    return pthread_cond_init(&r->changed, NULL) ? SPEC_ERR_NOMEM : 0;
}

static int locks_init(specp_team *t) {
    if (pthread_mutex_init(&t->lock, NULL)) return SPEC_ERR_NOMEM;
    if (room_init(&t->idle) == 0) {
        if (room_init(&t->inside) == 0) return 0;
        pthread_cond_destroy(&t->idle.changed);
    }
    pthread_mutex_destroy(&t->lock);
    return SPEC_ERR_NOMEM;
}

/* The threads take no signals but those of their own faults: the others are for the host's threads. */
static int start_workers(specp_team *t) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int err = 0;
    for (unsigned i = 1; i < t->size && !err; i++) {
        t->w[i].index = i;
        t->w[i].team = t;
        err = pthread_create(&t->w[i].thread, NULL, work, &t->w[i]) ? SPEC_ERR_NOMEM : 0;
        t->n_started += !err;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

static size_t bytes_of(unsigned n_threads) { return sizeof(specp_team) + n_threads * sizeof(worker); }

int specp_team_new(specp_team **out, unsigned n_threads, const spec_allocator *alloc) {
    if (n_threads < 1 || n_threads > MAX_THREADS) return SPEC_ERR_INVALID;
    specp_team *t = specp_calloc(alloc, 1, bytes_of(n_threads));
    if (!t) return SPEC_ERR_NOMEM;
    if (alloc) t->alloc = *alloc;
    t->size = n_threads;
    t->cores = specp_team_cores();
    t->spins = t->size <= t->cores ? SPINS : SPINS_CROWDED;
    atomic_init(&t->region, 0);
    atomic_init(&t->working, 0);
    atomic_init(&t->claim, 0);
    atomic_init(&t->done, 0);
    int err = locks_init(t);
    if (err) {
        specp_release(alloc, t, 1, bytes_of(n_threads));
        return err;
    }
    err = start_workers(t);
    if (err) {
        specp_team_free(t);
        return err;
    }
    *out = t;
    return 0;
}

void specp_team_free(specp_team *t) {
    if (!t) return;
    t->stop = true;
    begin_region(t);
    for (unsigned i = 1; i <= t->n_started; i++) pthread_join(t->w[i].thread, NULL);
    pthread_cond_destroy(&t->inside.changed);
    pthread_cond_destroy(&t->idle.changed);
    pthread_mutex_destroy(&t->lock);
    spec_allocator alloc = t->alloc;
    specp_release(&alloc, t, 1, bytes_of(t->size));
}

/* SPDX-License-Identifier: MIT */
/*
 * One drafter, eight threads with requests of their own, and one that reads the
 * statistics all the while: the output is that of plain decoding, and under TSan
 * there is no race. Few tenants are remembered, so that they come and go.
 */
#include "toy_engine.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "shared.h"

#define N_THREADS  8
#define N_REQUESTS 6 /* a thread */
#define N_PROMPT   60
#define N_NEW      240

typedef struct worker {
    spec_drafter *d;
    unsigned id;
    pthread_t thread;
    size_t drafted, differ;
} worker;

static void *work(void *arg) {
    worker *w = arg;
    for (unsigned i = 0; i < N_REQUESTS; i++) {
        spec_token plain[N_PROMPT + N_NEW], text[N_PROMPT + N_NEW];
        toy_model m = {.seed = (w->id + i) % 3, .vocab = 25}; /* threads say the same things */
        for (size_t k = 0; k < 4; k++) plain[k] = (spec_token)(k + w->id % 2);
        toy_plain(&m, plain, 4, N_PROMPT + N_NEW - 4);
        memcpy(text, plain, N_PROMPT * sizeof *text);
        toy_run run = {.tenant = (w->id + i) % 4,
                       .mix_calls = i % 2,
                       .reference = plain + N_PROMPT,
                       .n_reference = N_NEW};
        toy_decode(&m, w->d, &run, text, N_PROMPT, N_NEW);
        w->drafted += run.drafted;
        w->differ += memcmp(text, plain, sizeof text) != 0;
    }
    return NULL;
}

typedef struct watcher {
    spec_drafter *d;
    atomic_bool stop;
    pthread_t thread;
    uint64_t last;
    bool backwards;
} watcher;

static void *watch(void *arg) {
    watcher *w = arg;
    while (!atomic_load(&w->stop)) {
        spec_drafter_stats s;
        spec_drafter_get_stats(w->d, &s);
        w->backwards |= s.nodes < w->last;
        w->last = s.nodes;
        sched_yield();
    }
    return NULL;
}

static void run_threads(const char *spec) {
    worker w[N_THREADS] = {{.id = 0}};
    watcher eye = {.stop = false};
    spec_drafter *d;
    spec_message why;
    if (spec_drafter_open(&d, spec, NULL, &why)) fail_msg("%s", why.text);
    eye.d = d;
    assert_int_equal(pthread_create(&eye.thread, NULL, watch, &eye), 0);
    for (unsigned i = 0; i < N_THREADS; i++) {
        w[i].d = d;
        w[i].id = i;
        assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    size_t drafted = 0, differ = 0;
    for (unsigned i = 0; i < N_THREADS; i++) {
        pthread_join(w[i].thread, NULL);
        drafted += w[i].drafted;
        differ += w[i].differ;
    }
    atomic_store(&eye.stop, true);
    pthread_join(eye.thread, NULL);
    assert_int_equal(differ, 0);
    assert_false(eye.backwards);
    spec_drafter_stats s;
    spec_drafter_get_stats(d, &s);
    assert_int_equal(s.requests, N_THREADS * N_REQUESTS);
    assert_int_equal(s.nodes, drafted);
    assert_true(drafted > 0 || !strcmp(spec, "none"));
    spec_drafter_free(d);
}

static void test_eight_threads(void **state) {
    (void)state;
    static const char *const specs[] = {"none",
                                        "oracle",
                                        "random:vocab=25,width=3,len=3",
                                        "pld",
                                        "ngram-cache",
                                        "ngram-cache:cross_tenant=1,size_mb=1",
                                        "ngram-cache:tenants=2",
                                        "ngram-mod:n=3,min=0,size_mb=1",
                                        "ngram-mod:n=3,min=0,size_mb=1,cross_tenant=1,streak=1",
                                        "ngram-mod:n=3,min=0,size_mb=1,tenants=2",
                                        "ngram-mod:n=3,min=0,shared=0",
                                        "suffix",
                                        "mix",
                                        "mix:shared=0,nodes=8",
                                        "mix:with=(pld+ngram-cache)",
                                        "union:suffix+(cascade:pld>ngram-cache)"};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) run_threads(specs[i]);
}

/* ---- waiting ------------------------------------------------------------------- */

typedef struct door {
    pthread_mutex_t mutex;
    pthread_rwlock_t lock;
    specp_wait mutex_wait, read_wait, write_wait;
    atomic_int at; /* doors reached */
} door;

static void *pass(void *arg) {
    door *o = arg;
    atomic_fetch_add(&o->at, 1);
    specp_lock(&o->mutex, &o->mutex_wait);
    pthread_mutex_unlock(&o->mutex);
    atomic_fetch_add(&o->at, 1);
    specp_read_lock(&o->lock, &o->read_wait);
    pthread_rwlock_unlock(&o->lock);
    atomic_fetch_add(&o->at, 1);
    specp_write_lock(&o->lock, &o->write_wait);
    pthread_rwlock_unlock(&o->lock);
    return NULL;
}

/* Until the other thread is at a door, and a little longer, so that it knocks. */
static void await(door *o, int n) {
    while (atomic_load(&o->at) < n) sched_yield();
    for (int i = 0; i < 200; i++) sched_yield();
}

static uint64_t waited(specp_wait *w) { return atomic_load(&w->longest_ns); }

static void test_waits_are_measured(void **state) {
    (void)state;
    door o = {.at = 0};
    assert_int_equal(pthread_mutex_init(&o.mutex, NULL), 0);
    assert_int_equal(specp_rwlock_init(&o.lock), 0);
    pass(&o);
    assert_true(!waited(&o.mutex_wait) && !waited(&o.read_wait) &&
                !waited(&o.write_wait)); /* all doors open */
    for (int i = 0; i < 1000 && !(waited(&o.mutex_wait) && waited(&o.read_wait) && waited(&o.write_wait));
         i++) {
        pthread_t thread;
        atomic_store(&o.at, 0);
        pthread_mutex_lock(&o.mutex);
        pthread_rwlock_wrlock(&o.lock);
        assert_int_equal(pthread_create(&thread, NULL, pass, &o), 0);
        await(&o, 1);
        pthread_mutex_unlock(&o.mutex);
        await(&o, 2);
        pthread_rwlock_unlock(&o.lock);
        pthread_rwlock_rdlock(&o.lock);
        await(&o, 3);
        pthread_rwlock_unlock(&o.lock);
        pthread_join(thread, NULL);
    }
    assert_true(waited(&o.mutex_wait) && waited(&o.read_wait) && waited(&o.write_wait));
    pthread_rwlock_destroy(&o.lock);
    pthread_mutex_destroy(&o.mutex);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eight_threads),
        cmocka_unit_test(test_waits_are_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * What is told in storm.h. cmocka's assertions belong to the main thread; the others note the first fault.
 */
#include "storm.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drafting.h"
#include "spec_index.h"
#include "spec_verify.h"
#include "toy_engine.h"

#define N_PROMPT 40
#define N_NEW    420
#define CAP      24

typedef struct worker {
    storm *s;
    uint64_t id;
    pthread_t thread;
} worker;

static bool fault(storm *s, const char *what) {
    const char *none = NULL;
    atomic_compare_exchange_strong(&s->fault, &none, what);
    return false;
}

/* ---- one request ------------------------------------------------------------- */

typedef struct decoding {
    storm *s;
    toy_model model;
    uint64_t tenant;
    spec_request *r;
    spec_tree tree;
    spec_token text[N_PROMPT + N_NEW], plain[N_PROMPT + N_NEW];
    size_t n;
} decoding;

/* Odd tokens are common to all tenants, so that contexts match across; even ones
 * become the tenant's own, so that a leak shows. */
static spec_token dialect(const decoding *c, spec_token t) {
    return t % 2 ? t : t + 10000 * (spec_token)(c->tenant + 1);
}

static bool is_dialect(const decoding *c, spec_token t) { return dialect(c, t % 10000) == t; }

static bool check_draft(const decoding *c) {
    const spec_tree *t = &c->tree;
    if (spec_tree_check(t, NULL)) return fault(c->s, "a malformed draft");
    for (uint32_t i = 0; i < t->n; i++) {
        if (!is_dialect(c, t->token[i])) return fault(c->s, "a token of another tenant");
        if (spec_tree_depth(t, (int32_t)i) >= N_PROMPT + N_NEW - c->n)
            return fault(c->s, "a draft beyond the limit");
    }
    return true;
}

/* A model takes far longer than a drafter; without a pause nobody would ever find
 * the shared index free to be taught. */
static const struct timespec model_time = {.tv_nsec = 10000};

/* Draft, verify, commit. */
static bool step(decoding *c) {
    spec_token argmax[CAP + 1], committed[CAP + 1], next;
    int32_t path[CAP];
    uint8_t accepted[CAP] = {0};
    size_t k;
    if (spec_request_propose(c->r, NULL, &c->tree)) return fault(c->s, "propose failed");
    if (!check_draft(c)) return false;
    toy_argmax(&c->model, c->text, c->n, &c->tree, argmax);
    for (uint32_t i = 0; i <= c->tree.n; i++) argmax[i] = dialect(c, argmax[i]);
    nanosleep(&model_time, NULL);
    if (spec_verify_greedy(&c->tree, argmax, path, &k, &next)) return fault(c->s, "verify failed");
    atomic_fetch_add(&c->s->drafted, c->tree.n);
    atomic_fetch_add(&c->s->accepted, k);
    for (size_t i = 0; i < k; i++) {
        committed[i] = c->tree.token[path[i]];
        accepted[path[i]] = 1;
    }
    committed[k++] = next;
    memcpy(c->text + c->n, committed, k * sizeof *committed);
    c->n += k;
    spec_outcome o = {
        .size = sizeof o, .committed = committed, .n_committed = k, .tree = &c->tree, .accepted = accepted};
    if (spec_request_observe(c->r, &o)) return fault(c->s, "observe failed");
    return true;
}

#define N_PROMPTS 40 /* different ones of a tenant */

/* A request whose prompt is a piece of what the tenant's model says. */
static bool decode(storm *s, decoding *c, support_rng *rng, uint64_t tenant) {
    bool ok = true;
    c->s = s;
    c->tenant = tenant;
    c->model = (toy_model){.seed = s->seed + tenant, .vocab = s->vocab};
    for (size_t i = 0; i < 2; i++) c->plain[i] = dialect(c, 0);
    c->plain[2] = dialect(c, (spec_token)support_rng_below(rng, N_PROMPTS));
    for (size_t i = 3; i < N_PROMPT + N_NEW; i++) c->plain[i] = dialect(c, toy_next(&c->model, c->plain, i));
    memcpy(c->text, c->plain, N_PROMPT * sizeof *c->text);
    c->n = N_PROMPT;
    spec_request_info info = {.size = sizeof info,
                              .tenant = tenant,
                              .prompt = c->text,
                              .n_prompt = N_PROMPT,
                              .max_new_tokens = N_NEW};
    if (spec_request_begin(s->d, &info, &c->r)) return fault(s, "begin failed");
    while (ok && c->n < N_PROMPT + N_NEW) ok = step(c);
    spec_request_end(c->r);
    atomic_fetch_add(&s->taught[tenant], c->n - N_PROMPT);
    if (ok && memcmp(c->text, c->plain, sizeof c->text))
        return fault(s, "the output is not that of plain decoding");
    return ok;
}

/* ---- the threads ------------------------------------------------------------- */

static void *work(void *arg) {
    const worker *w = arg;
    support_rng rng = support_rng_new(w->s->seed, w->id);
    decoding *c = malloc(sizeof *c);
    if (!c || spec_tree_init(&c->tree, CAP, 0, 0, NULL)) {
        fault(w->s, "no memory");
    } else {
        for (uint64_t i = 0; i < STORM_REQUESTS && !atomic_load(&w->s->fault); i++)
            decode(w->s, c, &rng, (w->id + i) % w->s->n_tenants);
        spec_tree_release(&c->tree, NULL);
    }
    free(c);
    return NULL;
}

static void *watch(void *arg) {
    storm *s = arg;
    uint64_t before = 0;
    while (!atomic_load(&s->over)) {
        spec_drafter_stats stats;
        spec_drafter_get_stats(s->d, &stats);
        if (stats.requests < before || stats.requests > STORM_THREADS * STORM_REQUESTS)
            fault(s, "impossible statistics");
        before = stats.requests;
        sched_yield();
    }
    return NULL;
}

static bool opens(const char *prefix, const char *path) {
    char spec[300];
    spec_drafter *d = NULL;
    snprintf(spec, sizeof spec, "%s%s", prefix, path);
    int err = spec_drafter_open(&d, spec, NULL, NULL);
    spec_drafter_free(d);
    return !err;
}

/* Saves again and again; each file is a whole index. */
static void *save(void *arg) {
    storm *s = arg;
    char path[200];
    support_tmp_path(&s->tmp, "saved", path, sizeof path);
    for (uint64_t i = 0; !atomic_load(&s->over); i++) {
        spec_index *x;
        int err = spec_drafter_save(s->d, i % s->n_tenants, path, NULL);
        if (err && err != SPEC_ERR_NOT_FOUND) fault(s, "save failed");
        for (int k = 0; k < 20; k++) sched_yield();
        if (err) continue;
        if (spec_index_load(&x, path, NULL, NULL)) {
            fault(s, "what was saved does not load");
            continue;
        }
        if (spec_index_check(x, NULL)) fault(s, "what was saved is damaged");
        spec_index_free(x);
        if (s->reopen && !opens(s->reopen, path)) fault(s, "what was saved does not open");
        atomic_fetch_add(&s->saved, 1);
    }
    return NULL;
}

static void run_threads(storm *s) {
    worker w[STORM_THREADS];
    pthread_t watcher, saver;
    assert_int_equal(pthread_create(&watcher, NULL, watch, s), 0);
    assert_int_equal(pthread_create(&saver, NULL, save, s), 0);
    for (uint64_t i = 0; i < STORM_THREADS; i++) {
        w[i] = (worker){.s = s, .id = i};
        assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    for (size_t i = 0; i < STORM_THREADS; i++) assert_int_equal(pthread_join(w[i].thread, NULL), 0);
    atomic_store(&s->over, true);
    assert_int_equal(pthread_join(watcher, NULL), 0);
    assert_int_equal(pthread_join(saver, NULL), 0);
}

void storm_blow(storm *s, spec_drafter_stats *after) {
    s->seed = support_seed();
    support_tmp_make(&s->tmp);
    s->d = drafting_open(s->spec, NULL);
    run_threads(s);
    if (atomic_load(&s->fault)) fail_msg("%s: %s", s->spec, atomic_load(&s->fault));
    spec_drafter_get_stats(s->d, after);
    print_message(
        "%s: %zu nodes drafted, %zu accepted, %zu saves, %llu sequences evicted, longest wait %llu us\n",
        s->spec, atomic_load(&s->drafted), atomic_load(&s->accepted), atomic_load(&s->saved),
        (unsigned long long)after->evicted, (unsigned long long)after->longest_wait_ns / 1000);
    assert_int_equal(after->requests, STORM_THREADS * STORM_REQUESTS);
    assert_true(atomic_load(&s->accepted) > STORM_THREADS * STORM_REQUESTS); /* the drafts were of use */
}

void storm_clear(storm *s) {
    spec_drafter_free(s->d);
    support_tmp_remove(&s->tmp);
}

void storm_calm(storm *s, spec_drafter_stats *after) {
    for (uint64_t tenant = 0; tenant < s->n_tenants; tenant++) {
        const spec_token tok = 1;
        for (int k = 0; k < STORM_CALM; k++) drafting_say(s->d, tenant, &tok, 1);
    }
    spec_drafter_get_stats(s->d, after);
}

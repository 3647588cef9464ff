/* SPDX-License-Identifier: MIT */
/*
 * Concurrency: eight threads decode requests through one suffix drafter, each
 * proposing from and appending to the same shared index. Reported are the
 * longest time that a call waited for another request, which the drafter
 * measures, and the longest calls as the threads saw them. On a machine with
 * fewer cores than threads the latter, and a wait for a lock whose holder is
 * not running, contain time in which the system ran somebody else: so the same
 * is measured with as many threads as there are cores, too.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spec_drafter.h"
#include "speed.h"
#include "util.h"

#define THREADS 8

typedef struct worker {
    spec_drafter *drafter;
    const speed_corpus *corpus;
    size_t number, of; /* which worker of how many */
    size_t tokens;     /* to decode */
    speed_times propose, observe;
    bool failed;
} worker;

/* How many nodes of the draft the response follows; greedy from the root. */
static size_t accepted(const spec_tree *t, const spec_token *next, size_t n) {
    size_t k = 0;
    for (int32_t at = -1; k < n; k++) {
        at = spec_tree_child(t, at, next[k]);
        if (at < 0) break;
    }
    return k;
}

static bool step(worker *w, spec_request *q, spec_tree *tree, const spec_token *next, size_t left,
                 size_t *done) {
    const spec_propose_args args = {.size = sizeof args, .budget = 16};
    uint64_t start = bench_now_ns();
    if (spec_request_propose(q, &args, tree)) return false;
    speed_times_add(&w->propose, bench_now_ns() - start);
    size_t n = accepted(tree, next, left) + 1;
    *done = n < left ? n : left;
    start = bench_now_ns();
    if (spec_request_commit(q, next, *done)) return false;
    speed_times_add(&w->observe, bench_now_ns() - start);
    return true;
}

static bool decode(worker *w, const trace_request *t, spec_tree *tree) {
    spec_request *q;
    spec_request_info info = {.size = sizeof info, .prompt = t->prompt, .n_prompt = t->n_prompt};
    bool ok = spec_request_begin(w->drafter, &info, &q) == SPEC_OK;
    if (!ok) return false;
    for (size_t i = 0, n = 0; i < t->n_response && ok; i += n)
        ok = step(w, q, tree, t->response + i, t->n_response - i, &n);
    spec_request_end(q);
    return ok;
}

/* Worker k of n takes requests k, k + n, ... and starts over when there are no more. */
static void *work(void *arg) {
    worker *w = arg;
    spec_tree tree;
    speed_walk at = {0, 0};
    size_t done = 0;
    w->failed = spec_tree_init(&tree, 64, 0, 0, NULL) != SPEC_OK;
    for (size_t i = 0; done < w->tokens && !w->failed; i++) {
        const trace_request *t = speed_next(w->corpus, &at);
        if (!t) at = (speed_walk){0, 0};
        if (!t || i % w->of != w->number) continue;
        w->failed = !decode(w, t, &tree);
        done += t->n_response;
    }
    spec_tree_release(&tree, NULL);
    return NULL;
}

enum { T_WAIT, T_PROPOSE_MAX, T_PROPOSE_P99, T_OBSERVE_MAX, T_OBSERVE_P99, T_KEYS };

typedef struct threads_job {
    const speed_corpus *corpus;
    size_t threads, tokens; /* how many; each decodes so many */
} threads_job;

/* Largest over the workers of a quantile. */
static double largest(worker *w, size_t n, bool propose, double q) {
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        double us = speed_times_us(propose ? &w[i].propose : &w[i].observe, q);
        if (us > most) most = us;
    }
    return most;
}

static void threads_job_run(void *arg, double *out) {
    const threads_job *j = arg;
    worker w[THREADS];
    pthread_t id[THREADS];
    spec_drafter_stats s;
    spec_drafter *d;
    if (spec_drafter_open(&d, "suffix", NULL, NULL)) speed_die("drafter");
    for (size_t i = 0; i < j->threads; i++) {
        w[i] =
            (worker){.drafter = d, .corpus = j->corpus, .number = i, .of = j->threads, .tokens = j->tokens};
        if (!speed_times_init(&w[i].propose, j->tokens + 8192) ||
            !speed_times_init(&w[i].observe, j->tokens + 8192))
            speed_die("memory");
    }
    for (size_t i = 0; i < j->threads; i++)
        if (pthread_create(&id[i], NULL, work, &w[i])) speed_die("thread");
    for (size_t i = 0; i < j->threads; i++) {
        pthread_join(id[i], NULL);
        if (w[i].failed) speed_die("a thread");
    }
    spec_drafter_get_stats(d, &s);
    out[T_WAIT] = (double)s.longest_wait_ns * 1e-3;
    out[T_PROPOSE_MAX] = largest(w, j->threads, true, 1);
    out[T_PROPOSE_P99] = largest(w, j->threads, true, 0.99);
    out[T_OBSERVE_MAX] = largest(w, j->threads, false, 1);
    out[T_OBSERVE_P99] = largest(w, j->threads, false, 0.99);
}

static size_t cores(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n < THREADS ? (size_t)n : THREADS;
}

void speed_run_threads(speed_report *r, const speed_corpus *c) {
    static const char *const many[T_KEYS] = {"threads_longest_wait_us", "threads_propose_max_us",
                                             "threads_propose_p99_us", "threads_observe_max_us",
                                             "threads_observe_p99_us"};
    static const char *const few[T_KEYS] = {"cores_longest_wait_us", "cores_propose_max_us",
                                            "cores_propose_p99_us", "cores_observe_max_us",
                                            "cores_observe_p99_us"};
    threads_job j = {.corpus = c, .threads = THREADS, .tokens = r->quick ? 5000 : 40000};
    speed_measure(r, 0, threads_job_run, &j, many, T_KEYS);
    j.threads = cores();
    if (j.threads > 1) speed_measure(r, 0, threads_job_run, &j, few, T_KEYS);
}

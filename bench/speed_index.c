/* SPDX-License-Identifier: MIT */
/*
 * What the shared index costs to build: time and memory a token. Every run
 * happens in a fresh child process, so that page faults are paid each time, as
 * they are in use, and memory is the growth of the resident set.
 */
#include "speed.h"

#include <stdlib.h>

#include "spec_index.h"

typedef struct build_job {
    const speed_text *text;
    size_t step; /* tokens handed over a call; 0 = a whole response */
} build_job;

/* Appends one sequence. Exits the child on failure, which the parent sees. */
static void append_sequence(spec_index *x, const spec_token *tok, size_t n, size_t step) {
    spec_seq s;
    if (spec_index_begin(x, &s)) exit(1);
    for (size_t i = 0; i < n; i += step) {
        size_t now = n - i < step ? n - i : step;
        if (spec_index_append(x, s, tok + i, now)) exit(1);
    }
    spec_index_end(x, s);
}

static spec_index *build(const speed_text *t, size_t step) {
    spec_index *x;
    if (spec_index_new(&x, NULL)) exit(1);
    for (size_t i = 0; i < t->n_seq; i++) {
        size_t start = speed_seq_start(t, i), n = t->end[i] - start;
        append_sequence(x, t->tok + start, n, step ? step : n);
    }
    return x;
}

enum { B_SECONDS, B_RSS, B_BYTES, B_USED, B_STATES, B_EDGES, B_COUNT };

static void build_job_run(void *arg, double *out) {
    const build_job *j = arg;
    double rss = speed_rss(), start = speed_now();
    spec_index *x = build(j->text, j->step);
    double n = (double)j->text->n;
    out[B_SECONDS] = (speed_now() - start) / n;
    out[B_RSS] = (speed_rss() - rss) / n;
    spec_index_stats s;
    if (spec_index_get_stats(x, &s)) exit(1);
    out[B_BYTES] = (double)s.bytes / n;
    out[B_USED] = (double)s.bytes_used / n;
    out[B_STATES] = (double)s.states / n;
    out[B_EDGES] = (double)s.edges / n;
}

/* Repeats a job and files column i of its results under key[i] (NULL: not). */
static void repeat(speed_report *r, size_t n, speed_job fn, void *job, const char *const *key, size_t n_keys,
                   double scale) {
    double out[SPEED_MAX_RUNS][16];
    for (unsigned i = 0; i < r->repeats; i++)
        if (!speed_in_child(fn, job, out[i], n_keys)) {
            r->failed = true;
            return;
        }
    for (size_t k = 0; k < n_keys; k++) {
        double run[SPEED_MAX_RUNS];
        for (unsigned i = 0; i < r->repeats; i++) run[i] = out[i][k] * (k == 0 ? scale : 1);
        if (key[k]) speed_add(r, key[k], n, run, r->repeats);
    }
}

void speed_run_append(speed_report *r, const speed_corpus *c, size_t n) {
    static const char *const whole[B_COUNT] = {"append_us",           "rss_bytes_per_token",
                                               "bytes_per_token",     "bytes_used_per_token",
                                               "states_per_token",    "edges_per_token"};
    static const char *const single[B_COUNT] = {"append_single_us"};
    speed_text t;
    if (speed_text_make(&t, c, n, false)) {
        r->failed = true;
        return;
    }
    build_job j = {.text = &t, .step = 0};
    repeat(r, n, build_job_run, &j, whole, B_COUNT, 1e6);
    j.step = 1;
    repeat(r, n, build_job_run, &j, single, B_COUNT, 1e6);
    speed_text_free(&t);
}

/* SPDX-License-Identifier: MIT */
/*
 * What the shared index costs: time and memory to build it, cursors through it,
 * snapshots of it, removal from it, and its worst inputs. Every run happens in a
 * fresh child process, so that page faults are paid each time, as they are in
 * use, and memory is the growth of the resident set.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spec_index.h"
#include "speed.h"
#include "util.h"

/* Sequences that are removed to time removal: as many as hold this many tokens. */
#define REMOVED_TOKENS 50046
#define CURSOR_TOKENS  64

typedef struct index_job {
    const speed_text *text;
    size_t step;      /* tokens handed over a call; 0 = a whole response */
    const char *path; /* of the snapshot */
} index_job;

static void append_sequence(spec_index *x, const spec_token *tok, size_t n, size_t step) {
    spec_seq s;
    if (spec_index_begin(x, &s)) speed_die("begin");
    for (size_t i = 0; i < n; i += step) {
        size_t now = n - i < step ? n - i : step;
        if (spec_index_append(x, s, tok + i, now)) speed_die("append");
    }
    spec_index_end(x, s);
}

static spec_index *build(const speed_text *t, size_t step) {
    spec_index *x;
    if (spec_index_new(&x, NULL)) speed_die("new");
    for (size_t i = 0; i < t->n_seq; i++) {
        size_t n = speed_seq_length(t, i);
        append_sequence(x, t->tok + speed_seq_start(t, i), n, step ? step : n);
    }
    return x;
}

/* Brings the program's pages into this process, which are not the index's, and
 * returns the resident bytes from which to count. */
static double resident_before(const speed_text *t) {
    speed_text little = *t;
    while (little.n_seq > 1 && little.end[little.n_seq - 1] > 2000) little.n_seq--;
    spec_index *x = build(&little, 0);
    speed_consume(spec_index_root(x).count);
    spec_index_free(x);
    malloc_trim(0);
    return speed_rss();
}

/* ---- cursors ------------------------------------------------------------ */

/* Windows of the text in random order, so that the index is not in the cache. */
static double cold_feed_us(const spec_index *x, const speed_text *t) {
    enum { WINDOWS = 4000 };
    bench_rng rng = {7};
    speed_times times;
    spec_cursor *c;
    uint64_t matched = 0;
    if (t->n <= CURSOR_TOKENS || !speed_times_init(&times, WINDOWS) || spec_cursor_new(&c, x))
        speed_die("cursor");
    for (size_t i = 0; i < WINDOWS; i++) {
        const spec_token *tok = t->tok + bench_rng_below(&rng, (uint32_t)(t->n - CURSOR_TOKENS));
        spec_cursor_reset(c);
        uint64_t start = bench_now_ns();
        spec_cursor_feed(c, tok, CURSOR_TOKENS);
        speed_times_add(&times, bench_now_ns() - start);
        matched += spec_cursor_locus(c).len;
    }
    speed_consume(matched);
    spec_cursor_free(c);
    double us = speed_times_us(&times, 0.5);
    speed_times_free(&times);
    return us;
}

/* ---- snapshots ---------------------------------------------------------- */

static double file_bytes(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (double)st.st_size : NAN;
}

static double load_ms(const char *path, int trust) {
    enum { LOADS = 5 };
    double ms[LOADS];
    for (size_t i = 0; i < LOADS; i++) {
        spec_index_load_options o = {.size = sizeof o, .trust = trust};
        spec_index *x;
        uint64_t start = bench_now_ns();
        if (spec_index_load(&x, path, &o, NULL)) speed_die("load");
        ms[i] = (double)(bench_now_ns() - start) * 1e-6;
        spec_index_free(x);
    }
    return speed_quantile(ms, LOADS, 0.5);
}

/* ---- removal ------------------------------------------------------------ */

static double remove_us(spec_index *x) {
    uint64_t start = speed_cpu_ns();
    size_t removed = 0;
    spec_seq s;
    while (removed < REMOVED_TOKENS && spec_index_next_seq(x, 0, &s) == SPEC_OK && s) {
        size_t n = 0;
        if (spec_index_seq_length(x, s, &n) || spec_index_remove(x, s)) speed_die("remove");
        removed += n;
    }
    return (double)(speed_cpu_ns() - start) * 1e-3 / (double)removed;
}

/* ---- one size ----------------------------------------------------------- */

enum {
    X_APPEND,
    X_RSS,
    X_BYTES,
    X_USED,
    X_STATES,
    X_EDGES,
    X_CURSOR,
    X_FILE,
    X_SAVE,
    X_VERIFIED,
    X_TRUSTED,
    X_REMOVE,
    X_KEYS
};

static void index_job_run(void *arg, double *out) {
    const index_job *j = arg;
    double rss = resident_before(j->text), n = (double)j->text->n;
    spec_index_stats s;
    spec_message why;
    uint64_t start = speed_cpu_ns();
    spec_index *x = build(j->text, j->step);
    out[X_APPEND] = (double)(speed_cpu_ns() - start) * 1e-3 / n;
    out[X_RSS] = (speed_rss() - rss) / n;
    if (spec_index_get_stats(x, &s)) speed_die("stats");
    out[X_BYTES] = (double)s.bytes / n;
    out[X_USED] = (double)s.bytes_used / n;
    out[X_STATES] = (double)s.states / n;
    out[X_EDGES] = (double)s.edges / n;
    out[X_CURSOR] = cold_feed_us(x, j->text);
    start = bench_now_ns();
    if (spec_index_save(x, j->path, &why)) {
        bench_complain("speed: %s", why.text);
        speed_die("saving a snapshot");
    }
    double seconds = (double)(bench_now_ns() - start) * 1e-9, bytes = file_bytes(j->path);
    out[X_FILE] = bytes / n;
    out[X_SAVE] = bytes * 1e-6 / seconds;
    out[X_VERIFIED] = load_ms(j->path, 0);
    out[X_TRUSTED] = load_ms(j->path, 1);
    out[X_REMOVE] = remove_us(x);
}

static void append_job_run(void *arg, double *out) {
    const index_job *j = arg;
    uint64_t start = speed_cpu_ns();
    spec_index *x = build(j->text, j->step);
    out[0] = (double)(speed_cpu_ns() - start) * 1e-3 / (double)j->text->n;
    speed_consume(spec_index_root(x).count);
}

void speed_run_index(speed_report *r, const speed_corpus *c, size_t n) {
    static const char *const key[X_KEYS] = {
        "append_us",        "rss_bytes_per_token", "bytes_per_token",   "bytes_used_per_token",
        "states_per_token", "edges_per_token",     "cursor_64_cold_us", "snapshot_bytes_per_token",
        "save_mb_per_s",    "load_verified_ms",    "load_trusted_ms",   "remove_us"};
    static const char *const single = "append_single_us";
    speed_text t;
    char path[4096];
    if (speed_text_make(&t, c, n, false)) {
        r->failed = true;
        return;
    }
    snprintf(path, sizeof path, "%s/specbench-speed-%ld", r->directory, (long)getpid());
    index_job j = {.text = &t, .path = path};
    speed_measure(r, n, index_job_run, &j, key, X_KEYS);
    unlink(path);
    j.step = 1;
    speed_measure(r, n, append_job_run, &j, &single, 1);
    speed_text_free(&t);
}

/* ---- worst inputs ------------------------------------------------------- */

/* A text of one sequence with a period. */
static bool periodic_text(speed_text *t, size_t n, size_t period) {
    *t = (speed_text){.tok = malloc(n * sizeof *t->tok), .n = n, .end = malloc(sizeof *t->end), .n_seq = 1};
    if (!t->tok || !t->end) {
        speed_text_free(t);
        return false;
    }
    for (size_t i = 0; i < n; i++) t->tok[i] = (spec_token)(i % period);
    t->end[0] = n;
    return true;
}

/* Adds key = what / average; its range is that of `what`. */
static void add_ratio(speed_report *r, const char *key, const char *what) {
    const speed_value *v = speed_find(r, what, 0), *average = speed_find(r, "worst_average_us", 0);
    if (!v || !average) return;
    double m = average->median;
    speed_add(r, (speed_value){.key = key, .median = v->median / m, .low = v->low / m, .high = v->high / m});
}

/* The ordinary text when the period is 0. */
static void run_input(speed_report *r, const speed_corpus *c, const char *key, size_t period) {
    const size_t n = r->quick ? 100000 : 1000000;
    speed_text t;
    if (period ? !periodic_text(&t, n, period) : speed_text_make(&t, c, n, false) != SPEC_OK) {
        r->failed = true;
        return;
    }
    index_job j = {.text = &t};
    speed_measure(r, 0, append_job_run, &j, &key, 1);
    speed_text_free(&t);
}

void speed_run_worst(speed_report *r, const speed_corpus *c) {
    run_input(r, c, "worst_average_us", 0);
    run_input(r, c, "worst_equal_us", 1);
    run_input(r, c, "worst_period_63_us", 63);
    add_ratio(r, "worst_equal_ratio", "worst_equal_us");
    add_ratio(r, "worst_period_63_ratio", "worst_period_63_us");
}

/* SPDX-License-Identifier: MIT */
/*
 * speed.h - what the parts of `specbench speed` share: the text that is
 * indexed, running a measurement in a fresh process, and the results.
 */
#ifndef BENCH_SPEED_H
#define BENCH_SPEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "specdec.h"
#include "trace.h"

/* ---- text (speed_text.c) ---------------------------------------------- */

/* Recorded requests, or synthetic ones: files in order of name. */
typedef struct speed_corpus {
    trace *file; /* (n_files) */
    size_t n_files;
    size_t n_tokens; /* response tokens in all */
    bool synthetic;
    char name[256]; /* where it comes from, for the report */
} speed_corpus;

/* Reads every *.jsonl file of a directory that has responses; dir == NULL makes
 * the synthetic text. 0, or a negative spec_err with the story in *why. */
int speed_corpus_open(speed_corpus *out, const char *dir, spec_message *why);
void speed_corpus_close(speed_corpus *c);

/* Request `row` of every file, file by file, row by row: the order of arrival.
 * `at` counts from 0; NULL past the last. Files that have run out are passed
 * over. */
typedef struct speed_walk {
    size_t row, file;
} speed_walk;
const trace_request *speed_next(const speed_corpus *c, speed_walk *at);

/* Rows that are kept out of the index, to be decoded later. */
#define SPEED_HELD_OUT_EVERY 16
static inline bool speed_is_held_out(size_t row) {
    return row % SPEED_HELD_OUT_EVERY == SPEED_HELD_OUT_EVERY - 1;
}

/* Responses in order of arrival, one sequence each, cut at n tokens. */
typedef struct speed_text {
    spec_token *tok; /* (n) */
    size_t n;
    size_t *end; /* (n_seq) sequence i is tok[end[i-1] .. end[i]) */
    size_t n_seq;
} speed_text;

/*
 * When all requests are in, it starts again with every id raised by 32,000 a
 * pass, so that later passes add new text of the same kind. With hold_out, the
 * rows named above are left out. SPEC_ERR_NOMEM.
 */
int speed_text_make(speed_text *out, const speed_corpus *c, size_t n, bool hold_out);
void speed_text_free(speed_text *t);

static inline size_t speed_seq_start(const speed_text *t, size_t i) { return i ? t->end[i - 1] : 0; }
static inline size_t speed_seq_length(const speed_text *t, size_t i) {
    return t->end[i] - speed_seq_start(t, i);
}

/* ---- measuring (speed_util.c) ----------------------------------------- */

/* Nanoseconds of processor time that this process has used. What takes long and
 * waits for nothing is timed by it, so that other processes do not count. */
uint64_t speed_cpu_ns(void);

/* This process's resident bytes. */
double speed_rss(void);

/* Keeps the compiler from dropping work whose result nothing uses. */
void speed_consume(uint64_t value);

/* Sorts and returns the q-quantile (0..1) of n values; 0 when there are none. */
double speed_quantile(double *value, size_t n, double q);

/* Many times in nanoseconds, for quantiles; beyond `cap` they are counted out. */
typedef struct speed_times {
    uint32_t *ns; /* (n of cap) */
    size_t n, cap;
} speed_times;
bool speed_times_init(speed_times *t, size_t cap);
void speed_times_free(speed_times *t);
static inline void speed_times_add(speed_times *t, uint64_t ns) {
    if (t->n < t->cap) t->ns[t->n++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}
double speed_times_us(speed_times *t, double q); /* the q-quantile in microseconds; sorts */
double speed_times_mean_us(const speed_times *t);

/* Ends a measuring child as failed; the parent notices. */
_Noreturn void speed_die(const char *what);

/* ---- results (speed_report.c) ----------------------------------------- */

#define SPEED_MAX_RUNS  32
#define SPEED_MAX_SIZES 8
#define SPEED_MAX_KEYS  24

/* One figure at one size: the median over the repeats, and their range. */
typedef struct speed_value {
    const char *key; /* static storage */
    size_t size;     /* tokens in the index; 0: it does not depend on them */
    double median, low, high;
} speed_value;

typedef struct speed_report {
    size_t size[SPEED_MAX_SIZES];
    size_t n_sizes;
    unsigned repeats;
    bool quick;
    double load;           /* on the machine before the first run; negative: unknown */
    const char *directory; /* for snapshots */
    speed_value *value;
    size_t n, cap;
    bool failed; /* a measurement failed or memory ran out */
} speed_report;

/* A measurement: writes one figure for each of its keys. */
typedef void (*speed_job)(void *arg, double *out);

/* Runs a job in fresh child processes, `repeats` times, and adds the medians
 * under the keys. A figure that is NaN everywhere is left out. */
void speed_measure(speed_report *r, size_t size, speed_job job, void *arg, const char *const *key,
                   size_t n_keys);

/* Adds one figure by hand; NaN is left out. */
void speed_add(speed_report *r, speed_value v);

const speed_value *speed_find(const speed_report *r, const char *key, size_t size); /* or NULL */
void speed_print(const speed_report *r, const speed_corpus *c, FILE *out);
int speed_write_json(FILE *f, void *user); /* user: a speed_json */
typedef struct speed_json {
    const speed_report *report;
    const speed_corpus *corpus;
} speed_json;
void speed_report_free(speed_report *r);

/* ---- the measurements -------------------------------------------------- */

void speed_run_index(speed_report *r, const speed_corpus *c, size_t n); /* speed_index.c */
void speed_run_worst(speed_report *r, const speed_corpus *c);           /* speed_index.c */
void speed_run_prompts(speed_report *r, const speed_corpus *c);         /* speed_prompts.c */
void speed_run_draft(speed_report *r, const speed_corpus *c, size_t n); /* speed_draft.c */
void speed_run_churn(speed_report *r, const speed_corpus *c);           /* speed_churn.c */
void speed_run_threads(speed_report *r, const speed_corpus *c);         /* speed_threads.c */

#endif

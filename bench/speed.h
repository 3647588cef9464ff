/* SPDX-License-Identifier: MIT */
/*
 * speed.h - what the parts of `specbench speed` share: the text that is
 * indexed, running a measurement in a fresh process, and the results table.
 */
#ifndef BENCH_SPEED_H
#define BENCH_SPEED_H

#include <stdbool.h>
#include <stddef.h>
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
    char name[256];  /* where it comes from, for the report */
} speed_corpus;

/* Reads every *.jsonl file of a directory that has responses; dir == NULL makes
 * the synthetic text. 0, or a negative spec_err with the story in *why. */
int speed_corpus_open(speed_corpus *out, const char *dir, spec_message *why);
void speed_corpus_close(speed_corpus *c);

/* Which requests of a file are kept out of the index, to be decoded later. */
#define SPEED_HELD_OUT_EVERY 16
static inline bool speed_is_held_out(size_t request) {
    return request % SPEED_HELD_OUT_EVERY == SPEED_HELD_OUT_EVERY - 1;
}

/* Responses in arrival order, one sequence each, cut at n tokens. */
typedef struct speed_text {
    spec_token *tok; /* (n) */
    size_t n;
    size_t *end;     /* (n_seq) sequence i is tok[end[i-1] .. end[i]) */
    size_t n_seq;
} speed_text;

/*
 * Round-robin, one request per file; a file that has run out is passed over.
 * When all have run out it starts again with every id raised by 32,000 a pass,
 * so that later passes add new text of the same kind. With hold_out, the
 * requests named above are left out. SPEC_ERR_NOMEM.
 */
int speed_text_make(speed_text *out, const speed_corpus *c, size_t n, bool hold_out);
void speed_text_free(speed_text *t);

static inline size_t speed_seq_start(const speed_text *t, size_t i) { return i ? t->end[i - 1] : 0; }

/* ---- measuring (speed_util.c) ----------------------------------------- */

double speed_now(void);        /* seconds, monotonic */
double speed_clock_cost(void); /* seconds that one reading of the clock takes */
double speed_rss(void);        /* this process's resident bytes */

/* Keeps the compiler from dropping work whose result nothing uses. */
void speed_consume(unsigned long long value);

/* Sorts and returns the q-quantile (0..1) of n values. */
double speed_quantile(double *value, size_t n, double q);

/* Runs fn(arg, out) in a child process, whose memory is fresh, and brings the n
 * doubles that it wrote to `out` back. false when the child failed. */
typedef void (*speed_job)(void *arg, double *out);
bool speed_in_child(speed_job fn, void *arg, double *out, size_t n);

/* ---- results (speed_report.c) ----------------------------------------- */

#define SPEED_MAX_RUNS 32
#define SPEED_MAX_SIZES 8

/* One figure at one size: the median over the repeats, and their range. */
typedef struct speed_value {
    const char *key; /* static storage */
    size_t size;     /* tokens in the index */
    double median, low, high;
} speed_value;

typedef struct speed_report {
    size_t size[SPEED_MAX_SIZES];
    size_t n_sizes;
    unsigned repeats;
    speed_value *value;
    size_t n, cap;
    bool failed; /* a measurement failed or memory ran out */
} speed_report;

/* Adds the median of n runs; run[] is sorted in place. */
void speed_add(speed_report *r, const char *key, size_t size, double *run, size_t n);
void speed_print(const speed_report *r, const speed_corpus *c, FILE *out);
int speed_write_json(const speed_report *r, const speed_corpus *c, const char *path);
void speed_report_free(speed_report *r);

/* ---- the measurements -------------------------------------------------- */

void speed_run_append(speed_report *r, const speed_corpus *c, size_t n); /* speed_index.c */

#endif

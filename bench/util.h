/* SPDX-License-Identifier: MIT */
/*
 * util.h - what all parts of specbench share: exit codes, growing arrays, the
 * clock, seeded random numbers, messages, and files that appear whole or not
 * at all.
 */
#ifndef BENCH_UTIL_H
#define BENCH_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "specdec.h"
#include "specp.h"

enum {
    EXIT_DONE = 0,
    EXIT_CHECK = 1, /* a check failed, or the machine gave out */
    EXIT_USAGE = 2, /* bad usage or bad input */
};

/* Nanoseconds of a clock that only goes forward. */
uint64_t bench_now_ns(void);

/* Makes room for `need` elements of `size` bytes; new ones are zero. NULL when
 * memory is out, and then ptr is still valid. */
void *bench_grow(void *ptr, size_t *cap, size_t need, size_t size) SPEC_MUST_CHECK;

/* A copy of n bytes with a NUL behind them, or NULL. */
char *bench_copy_text(const char *text, size_t n) SPEC_MUST_CHECK;
/* printf into fresh memory, or NULL. */
char *bench_format(const char *format, ...) SPECP_PRINTF(1, 2) SPEC_MUST_CHECK;

/* "specbench: ..." on stderr, one line. */
void bench_complain(const char *format, ...) SPECP_PRINTF(1, 2);

/* A line on the terminal that long work writes over and over, ten times a second at most:
 * {.wanted = true} unless the user wants quiet. In a pipe there is none. */
typedef struct bench_line {
    bool wanted, shown;
    uint64_t next_ns; /* not again before then */
} bench_line;

void bench_line_print(bench_line *l, const char *format, ...) SPECP_PRINTF(2, 3);
void bench_line_clear(bench_line *l);

/* Processes that wanted to run in the last minute; negative: unknown. */
double bench_load(void);

/* Numbers from a seed (splitmix64). */
typedef struct bench_rng {
    uint64_t state;
} bench_rng;

uint64_t bench_rng_next(bench_rng *r);
uint32_t bench_rng_below(bench_rng *r, uint32_t n); /* 0..n-1; n > 0 */

/* The entry of list (NULL-terminated) nearest to `word` by edit distance, if
 * near enough to be what was meant; else NULL. */
const char *bench_nearest(const char *word, const char *const *list);

/*
 * Writes a file by calling fill(f, user), which returns 0 when it is content.
 * The text goes to a temporary file beside `path`, is synced and renamed: at
 * any moment `path` is the old file or the whole new one. Where `path` is
 * something else than a file (a pipe, a terminal) it is written to directly.
 * SPEC_ERR_IO with the reason in *why.
 */
int bench_write_file(const char *path, int (*fill)(FILE *f, void *user), void *user, spec_message *why);

/* Whether a file could be written there now: to be asked before long work.
 * SPEC_ERR_IO with the reason in *why. */
int bench_check_writable(const char *path, spec_message *why);

/* Whether the two names stand for one file: the same one, however it is written
 * and linked, or the same name where there is none yet. Never of devices. */
bool bench_same_file(const char *a, const char *b);

#endif

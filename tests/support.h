/* SPDX-License-Identifier: MIT */
/*
 * support.h - what the test programs share: the seed, a small generator, an
 * allocator that keeps accounts and refuses on demand, temporary directories,
 * and the way to ../shared. Tests run from the project's root.
 *
 * It includes cmocka.h and what cmocka.h wants before it.
 */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "specdec.h"

/* ---- seed and generator ------------------------------------------------ */

/* The environment's SEED, or a fixed default; printed at the first call, so
 * that a failure can be repeated. */
uint64_t support_seed(void);

/* splitmix64 (Steele et al. 2014): equal seeds give equal numbers everywhere. */
typedef struct support_rng {
    uint64_t state;
} support_rng;

/* A generator of its own for each use: `stream` tells them apart. */
support_rng support_rng_new(uint64_t seed, uint64_t stream);
uint64_t support_rng_next(support_rng *r);
uint32_t support_rng_below(support_rng *r, uint32_t n); /* 0..n-1; n > 0 */
double support_rng_unit(support_rng *r);                /* 0 <= x < 1 */
bool support_rng_chance(support_rng *r, double p);

/* ---- the allocator under test ------------------------------------------ */

typedef struct support_heap {
    size_t live_bytes, live_blocks;
    size_t peak_bytes;
    size_t requests;       /* allocations and growing or shrinking resizes, refused ones too */
    size_t refused;        /* how many of them were refused */
    size_t refuse_at;      /* refuse the request of this number (from 0); SIZE_MAX = none */
    bool refuse_after;     /* and every later one */
    size_t size_faults;    /* old_size was not the size asked for when the block was made */
    size_t foreign_faults; /* a block that this heap did not make, or no longer holds */
    uint64_t lock;         /* private: the heap may be used by several threads. (Its lock orders
                           * them, which hides races from TSan: tests for races do without it) */
} support_heap;

/* Empties the accounts and refuses nothing. */
void support_heap_init(support_heap *h);

/* The counters `requests` and `refused` begin again, and request k (from 0) will
 * be refused; with `and_later` all after it too. SIZE_MAX: none. */
void support_heap_refuse(support_heap *h, size_t k, bool and_later);

/* An allocator that draws on h. Every block carries a header with its size and
 * a mark, and is filled with 0xA5 when made and 0x5A when freed. */
spec_allocator support_alloc(support_heap *h);

/* Fails the test unless nothing is live and no fault was seen. */
void support_heap_assert_clean(const support_heap *h);

/* Calls `run`, which frees what it makes, with each of its requests for memory refused in turn: each time
 * SPEC_ERR_NOMEM and a message, and nothing leaks. Returns how many were refused. */
size_t support_refuse_each(int (*run)(void *arg, const spec_allocator *a, spec_message *why), void *arg);

/* ---- files -------------------------------------------------------------- */

/* Writes "../shared/RELATIVE" into buf; false when there is no such file or
 * directory, or when buf is too small. */
bool support_shared(const char *relative, char *buf, size_t n);

/* Ends the running test as skipped, with the reason that `make check` looks for. */
#define SUPPORT_SKIP_NO_SHARED()                                                                             \
    do {                                                                                                     \
        print_message("skipped: no ../shared\n");                                                            \
        skip();                                                                                              \
    } while (0)

/* A new, empty directory, removed with all it holds by support_tmp_remove(), or
 * when the program exits.
 * Its path is in `path`. Fails the test when it cannot be made. */
typedef struct support_tmp {
    char path[128];
} support_tmp;

void support_tmp_make(support_tmp *t);
void support_tmp_remove(support_tmp *t);

/* "DIR/NAME" in buf. */
const char *support_tmp_path(const support_tmp *t, const char *name, char *buf, size_t n);

/* Fixtures of a test with one file: *state is a support_file, whose path is "DIR/model". */
typedef struct support_file {
    support_tmp tmp;
    char path[256];
} support_file;

int support_file_set_up(void **state);
int support_file_tear_down(void **state);

/* Fixtures of a group of tests with a few files; "DIR/NAME", good for four names at once. */
int support_at_set_up(void **state);
int support_at_tear_down(void **state);
const char *support_at(const char *name);

/* Writes a file whole; reads one whole (malloc, a 0 byte after the end, free()
 * by the caller). Both fail the test when they cannot. */
void support_write_file(const char *path, const void *data, size_t n);
char *support_read_file(const char *path, size_t *n);

/* The specbench of the build under test: the environment's SPECBENCH, or
 * build/specbench. */
const char *support_specbench(void);

/* ---- fuzzing ------------------------------------------------------------ */

/* The entry of every tests/fuzz_*.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif

/* SPDX-License-Identifier: MIT */
/* live_internal.h - the parts of a live session. */
#ifndef BENCH_LIVE_INTERNAL_H
#define BENCH_LIVE_INTERNAL_H

#include "live.h"

/* Opens a drafter as the session does; an exit code, a message was printed. */
int live_open_drafter(const live *s, const char *spec, spec_drafter **out);

/* The same, under the policy where that is wanted. */
int live_open_proposer(const live *s, const char *spec, proposer *out);

/* Times of all repetitions (live_times.c). */
typedef struct live_times {
    size_t runs, responses, rounds;
    uint64_t *decode, *total; /* (runs, responses, rounds) nanoseconds */
} live_times;

int live_times_init(live_times *t, const live *s);
void live_times_take(live_times *t, size_t run, size_t round, const engine_run *r);
/* Medians, speedups and intervals into s->run. SPEC_ERR_NOMEM. */
int live_times_finish(const live_times *t, live *s);
void live_times_release(live_times *t);

/* Writes the record, where one is wanted, replays it with each drafter that sees tokens
 * alone, and finds the limit of copying (live_record.c). An exit code. */
int live_record(live *s);

#endif

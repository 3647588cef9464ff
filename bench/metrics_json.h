/* SPDX-License-Identifier: MIT */
/* metrics_json.h - the accounts of a run as JSON: the fields of schema "specbench/1" (docs/FORMATS.md). */
#ifndef BENCH_METRICS_JSON_H
#define BENCH_METRICS_JSON_H

#include "jout.h"
#include "metrics.h"
#include "spec_drafter.h"

/* Sums, rates, positions and the interval of a cell that counts requests. */
void metrics_json_cell(jout *x, const metrics_cell *c);
/* A set of times, nanoseconds in, microseconds out. */
void metrics_json_times(jout *x, const char *key, stats_times t);
/* What drafting took. */
void metrics_json_run_times(jout *x, const metrics *m);
/* What the drafter holds. */
void metrics_json_index(jout *x, const spec_drafter_stats *stats);
/* "groups", "quarters", "sources", "match_lengths", "calibration". */
void metrics_json_parts(jout *x, const metrics *m);

#endif

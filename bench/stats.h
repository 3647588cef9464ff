/* SPDX-License-Identifier: MIT */
/* stats.h - percentiles and the bootstrap. */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "specdec.h"

/* Mean, median and 99th percentile of a set of times. */
typedef struct stats_times {
    double mean, p50, p99;
} stats_times;

/* The value of rank ceil(p n), p in (0, 1] (nearest rank); 0 when n is 0.
 * Reorders value[]. O(n) expected. */
uint32_t stats_percentile(uint32_t *value, size_t n, double p);

/* Reorders value[]; all zero when n is 0. */
stats_times stats_summarise(uint32_t *value, size_t n);

/* What one request contributes to a ratio of sums. */
typedef struct stats_pair {
    uint32_t num, den;
} stats_pair;

/*
 * The 95% interval of sum(num) / sum(den) by the percentile bootstrap (Efron
 * 1979): requests are drawn with replacement, n at a time, `resamples` times,
 * and the 2.5% and 97.5% quantiles of the ratio are taken. The seed alone
 * decides the draw. O(n resamples). With n < 2 there is no interval: NaN.
 * SPEC_ERR_NOMEM, SPEC_ERR_INVALID (resamples < 40).
 */
int stats_bootstrap(const stats_pair *pair, size_t n, size_t resamples, uint64_t seed, double interval[2]);

#endif

/* SPDX-License-Identifier: MIT */
/* Percentiles by selection, and bootstrap intervals. */
#include "stats.h"

#include <math.h>
#include <stdlib.h>

#include "util.h"

static uint32_t median_of_3(uint32_t a, uint32_t b, uint32_t c) {
    if (a > b) {
        uint32_t t = a;
        a = b;
        b = t;
    }
    return c <= a ? a : c >= b ? b : c;
}

/* Hoare's selection: narrows [lo, hi] until rank k stands in its place. */
static uint32_t select_rank(uint32_t *v, size_t n, size_t k) {
    size_t lo = 0, hi = n - 1;
    while (lo < hi) {
        uint32_t pivot = median_of_3(v[lo], v[lo + (hi - lo) / 2], v[hi]);
        size_t i = lo, j = hi;
        for (;;) {
            while (v[i] < pivot) i++;
            while (v[j] > pivot) j--;
            if (i >= j) break;
            uint32_t t = v[i];
            v[i++] = v[j];
            v[j--] = t;
        }
        /* v[lo..j] <= pivot <= v[j+1..hi] */
        if (k <= j)
            hi = j;
        else
            lo = j + 1;
    }
    return v[k];
}

uint32_t stats_percentile(uint32_t *value, size_t n, double p) {
    if (n == 0) return 0;
    double rank = ceil(p * (double)n);
    size_t k = rank < 1 ? 0 : (size_t)rank - 1;
    return select_rank(value, n, k < n ? k : n - 1);
}

stats_times stats_summarise(uint32_t *value, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += value[i];
    return (stats_times){.mean = n ? sum / (double)n : 0,
                         .p50 = stats_percentile(value, n, 0.50),
                         .p99 = stats_percentile(value, n, 0.99)};
}

/* ---- the bootstrap ------------------------------------------------------- */

static double one_resample(const stats_pair *pair, size_t n, bench_rng *rng) {
    uint64_t num = 0, den = 0;
    for (size_t i = 0; i < n; i++) {
        stats_pair p = pair[bench_rng_below(rng, (uint32_t)n)];
        num += p.num;
        den += p.den;
    }
    return den ? (double)num / (double)den : 0;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int stats_bootstrap(const stats_pair *pair, size_t n, size_t resamples, uint64_t seed, double interval[2]) {
    if (resamples < 40 || n > UINT32_MAX) return SPEC_ERR_INVALID;
    interval[0] = interval[1] = NAN;
    if (n < 2) return SPEC_OK;
    double *ratio = specp_alloc(NULL, resamples, sizeof *ratio);
    if (!ratio) return SPEC_ERR_NOMEM;
    bench_rng rng = {.state = seed};
    for (size_t i = 0; i < resamples; i++) ratio[i] = one_resample(pair, n, &rng);
    qsort(ratio, resamples, sizeof *ratio, by_value);
    interval[0] = ratio[(size_t)floor(0.025 * (double)(resamples - 1))];
    interval[1] = ratio[(size_t)ceil(0.975 * (double)(resamples - 1))];
    free(ratio);
    return SPEC_OK;
}

/* SPDX-License-Identifier: MIT */
/*
 * Speedups. Each response has a time in each repetition; its median counts. The
 * speedup is plain decoding's sum over the drafter's sum, its interval is drawn
 * over the requests (paired: a request brings both its times).
 */
#include <math.h>
#include <stdlib.h>

#include "live_internal.h"
#include "util.h"

int live_times_init(live_times *t, const live *s) {
    t->runs = s->n_runs;
    t->responses = prompts_requests(&s->prompts);
    t->rounds = (size_t)s->repeat;
    t->decode = specp_calloc(NULL, t->runs * t->responses * t->rounds, sizeof *t->decode);
    t->total = specp_calloc(NULL, t->runs * t->responses * t->rounds, sizeof *t->total);
    return t->decode && t->total ? SPEC_OK : SPEC_ERR_NOMEM;
}

void live_times_release(live_times *t) {
    free(t->decode);
    free(t->total);
    *t = (live_times){0};
}

static uint64_t *times_of(const live_times *t, uint64_t *list, size_t run, size_t response) {
    return &list[(run * t->responses + response) * t->rounds];
}

void live_times_take(live_times *t, size_t run, size_t round, const engine_run *r) {
    for (size_t i = 0; i < r->n; i++) {
        const engine_response *e = &r->response[i];
        times_of(t, t->decode, run, i)[round] = e->decode_ns;
        times_of(t, t->total, run, i)[round] = e->decode_ns + e->prompt_ns;
    }
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Reorders the list. */
static uint64_t median(uint64_t *list, size_t n) {
    qsort(list, n, sizeof *list, by_size);
    return n % 2 ? list[n / 2] : list[n / 2 - 1] / 2 + list[n / 2] / 2;
}

static uint64_t *medians(const live_times *t, uint64_t *list, size_t run) {
    uint64_t *out = specp_calloc(NULL, t->responses, sizeof *out);
    for (size_t i = 0; out && i < t->responses; i++) out[i] = median(times_of(t, list, run, i), t->rounds);
    return out;
}

static uint64_t sum(const uint64_t *list, size_t n) {
    uint64_t s = 0;
    for (size_t i = 0; i < n; i++) s += list[i];
    return s;
}

/* Microseconds, so that an hour fits. */
static uint32_t micros(uint64_t ns) { return ns / 1000 < UINT32_MAX ? (uint32_t)(ns / 1000) : UINT32_MAX; }

static int interval(live_run *r, const live_run *plain, size_t n, uint64_t seed) {
    stats_pair *pair = specp_calloc(NULL, n, sizeof *pair);
    if (!pair) return SPEC_ERR_NOMEM;
    size_t used = 0;
    for (size_t i = 0; i < n; i++)
        if (r->decode_ns[i])
            pair[used++] = (stats_pair){.num = micros(plain->decode_ns[i]), .den = micros(r->decode_ns[i])};
    int rc = stats_bootstrap(pair, used, 2000, seed, r->speedup_ci95);
    free(pair);
    return rc;
}

static double ratio(uint64_t a, uint64_t b) { return b ? (double)a / (double)b : NAN; }

int live_times_finish(const live_times *t, live *s) {
    const live_run *plain = &s->run[0];
    for (size_t i = 0; i < s->n_runs; i++) {
        live_run *r = &s->run[i];
        r->decode_ns = medians(t, t->decode, i);
        r->total_ns = medians(t, t->total, i);
        if (!r->decode_ns || !r->total_ns) return SPEC_ERR_NOMEM;
        uint64_t decode = sum(r->decode_ns, t->responses);
        r->speedup = ratio(sum(plain->decode_ns, t->responses), decode);
        r->speedup_total = ratio(sum(plain->total_ns, t->responses), sum(r->total_ns, t->responses));
        r->break_even = metrics_tokens_per_step(&r->run.m.total) / r->speedup;
        r->tokens_per_second = 1e9 * ratio(r->run.m.total.out, decode);
        int rc = interval(r, plain, t->responses, s->seed);
        if (rc != SPEC_OK) return rc;
    }
    return SPEC_OK;
}

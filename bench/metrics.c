/* SPDX-License-Identifier: MIT */
/*
 * Accumulators. Every step is added to three cells (its quarter, its group, its
 * match length) and to the total:
 *
 *     step --> total, quarter[request * 4 / n], group[name], match[bucket]
 *          --> source[], calibration node by node,  size[] by nodes proposed,  times
 *
 * Invariants: the quarters sum to the total, and so do the groups and the match
 * buckets (requests apart, which match buckets do not count); the sources'
 * drafted and accepted sum to the total's; length[] sums to steps.
 */
#include "metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define RESAMPLES_MANY 2000
#define RESAMPLES_FEW  1000
#define MANY_REQUESTS  10000

void metrics_init(metrics *m, size_t n_requests) {
    memset(m, 0, sizeof *m);
    m->expected = n_requests;
    m->calibration.skip = CALIBRATION_SKIP;
}

static void cell_release(metrics_cell *c) {
    free(c->length);
    free(c->open);
}

void metrics_release(metrics *m) {
    cell_release(&m->total);
    for (size_t i = 0; i < METRICS_QUARTERS; i++) cell_release(&m->quarter[i]);
    for (size_t i = 0; i < METRICS_MATCHES; i++) cell_release(&m->match[i]);
    for (size_t i = 0; i < m->n_groups; i++) {
        free(m->group[i].name);
        cell_release(&m->group[i].cell);
    }
    free(m->group);
    free(m->slot);
    free(m->request);
    free(m->size);
    free(m->draft_ns);
    free(m->update_ns);
    calibration_release(&m->calibration);
    memset(m, 0, sizeof *m);
}

/* ---- requests ------------------------------------------------------------ */

/* FNV-1a, well enough mixed for names. */
static uint64_t hash_name(const char *name) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return specp_mix64(h);
}

/* The slot that holds the name, or the free one where it belongs. */
static uint32_t *slot_of(const metrics *m, const char *name) {
    size_t i = hash_name(name) & (m->n_slots - 1);
    while (m->slot[i] && strcmp(m->group[m->slot[i] - 1].name, name) != 0) i = (i + 1) & (m->n_slots - 1);
    return &m->slot[i];
}

/* Keeps at least half of the slots free. */
static int reserve_slot(metrics *m) {
    if (m->n_groups * 2 < m->n_slots) return SPEC_OK;
    uint32_t *old = m->slot;
    size_t n = m->n_slots ? m->n_slots * 2 : 64;
    m->slot = specp_calloc(NULL, n, sizeof *m->slot);
    if (!m->slot) {
        m->slot = old;
        return SPEC_ERR_NOMEM;
    }
    m->n_slots = n;
    for (size_t g = 0; g < m->n_groups; g++) *slot_of(m, m->group[g].name) = (uint32_t)g + 1;
    free(old);
    return SPEC_OK;
}

static int find_group(metrics *m, const char *name) {
    if (reserve_slot(m) != SPEC_OK) return SPEC_ERR_NOMEM;
    uint32_t *slot = slot_of(m, name);
    if (*slot == 0) {
        metrics_group *grown = bench_grow(m->group, &m->cap_groups, m->n_groups + 1, sizeof *grown);
        if (!grown) return SPEC_ERR_NOMEM;
        m->group = grown;
        char *copy = bench_copy_text(name, strlen(name));
        if (!copy) return SPEC_ERR_NOMEM;
        m->group[m->n_groups++].name = copy;
        *slot = (uint32_t)m->n_groups;
    }
    m->now.group = *slot - 1;
    return SPEC_OK;
}

int metrics_begin(metrics *m, const char *group, size_t n_prompt, uint64_t begin_ns) {
    int rc = find_group(m, group);
    if (rc != SPEC_OK) return rc;
    m->now.number = m->begun++;
    m->now.quarter = m->expected ? m->now.number * METRICS_QUARTERS / m->expected : 0;
    if (m->now.quarter >= METRICS_QUARTERS) m->now.quarter = METRICS_QUARTERS - 1;
    m->now.out = m->now.steps = 0;
    m->prompt_tokens += n_prompt;
    m->begin_ns += begin_ns;
    return SPEC_OK;
}

static void end_in_cell(metrics_cell *c, double tokens_per_step) {
    c->requests++;
    c->macro_sum += tokens_per_step;
}

int metrics_end(metrics *m, uint64_t end_ns) {
    metrics_request *grown = bench_grow(m->request, &m->cap_requests, m->n_requests + 1, sizeof *grown);
    if (!grown) return SPEC_ERR_NOMEM;
    m->request = grown;
    m->request[m->n_requests++] = (metrics_request){.pair = {(uint32_t)m->now.out, (uint32_t)m->now.steps},
                                                    .group = (uint32_t)m->now.group};
    double ratio = m->now.steps ? (double)m->now.out / (double)m->now.steps : 0;
    end_in_cell(&m->total, ratio);
    end_in_cell(&m->quarter[m->now.quarter], ratio);
    end_in_cell(&m->group[m->now.group].cell, ratio);
    m->end_ns += end_ns;
    calibration_end(&m->calibration, m->now.number);
    return SPEC_OK;
}

/* ---- steps --------------------------------------------------------------- */

/* Room for k in the cell's two arrays. */
static int cell_reserve(metrics_cell *c, size_t k) {
    if (k < c->n_length) return SPEC_OK;
    uint64_t *length = bench_grow(c->length, &c->cap_length, k + 1, sizeof *length);
    if (!length) return SPEC_ERR_NOMEM;
    c->length = length;
    uint64_t *open = bench_grow(c->open, &c->cap_open, k + 1, sizeof *open);
    if (!open) return SPEC_ERR_NOMEM;
    c->open = open;
    c->n_length = k + 1;
    return SPEC_OK;
}

static int cell_step(metrics_cell *c, const metrics_step_facts *f, bool top1, bool open) {
    int rc = cell_reserve(c, f->n_path);
    if (rc != SPEC_OK) return rc;
    c->steps++;
    c->out += f->committed;
    c->drafted += f->tree->n;
    c->accepted += f->n_path;
    c->hits += f->tree->n > 0;
    c->top1 += top1;
    c->length[f->n_path]++;
    c->open[f->n_path] += open;
    return SPEC_OK;
}

/* Does the draft go on below the last accepted node? */
static bool goes_on(const metrics_step_facts *f) {
    int32_t last = f->n_path ? f->path[f->n_path - 1] : -1;
    for (uint32_t i = (uint32_t)(last + 1); i < f->tree->n; i++)
        if (f->tree->parent[i] == last) return true;
    return false;
}

static void count_sources(metrics *m, const metrics_step_facts *f, bool top1) {
    const spec_tree *t = f->tree;
    for (uint32_t i = 0; i < t->n; i++) m->source[t->source[i]].drafted++;
    for (size_t i = 0; i < f->n_path; i++) m->source[t->source[f->path[i]]].accepted++;
    if (t->n == 0) return;
    m->source[t->source[0]].first++;
    m->source[t->source[0]].top1 += top1;
}

static uint32_t clamp_ns(uint64_t ns) { return ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX; }

static int record_times(metrics *m, const metrics_step_facts *f) {
    size_t i = m->total.steps;
    uint32_t *draft = bench_grow(m->draft_ns, &m->cap_draft, i + 1, sizeof *draft);
    if (!draft) return SPEC_ERR_NOMEM;
    m->draft_ns = draft;
    uint32_t *update = bench_grow(m->update_ns, &m->cap_update, i + 1, sizeof *update);
    if (!update) return SPEC_ERR_NOMEM;
    m->update_ns = update;
    draft[i] = clamp_ns(f->draft_ns);
    update[i] = clamp_ns(f->update_ns);
    return SPEC_OK;
}

static int record_size(metrics *m, uint32_t n) {
    uint64_t *size = bench_grow(m->size, &m->cap_size, (size_t)n + 1, sizeof *size);
    if (!size) return SPEC_ERR_NOMEM;
    m->size = size;
    m->size[n]++;
    if (n >= m->n_size) m->n_size = (size_t)n + 1;
    return SPEC_OK;
}

static int calibrate(metrics *m, const metrics_step_facts *f) {
    calibration_step_facts c = {.tree = f->tree,
                                .path = f->path,
                                .n_path = f->n_path,
                                .request = m->now.number,
                                .run_before = m->total.out,
                                .before = m->now.out,
                                .committed = f->committed};
    return calibration_step(&m->calibration, &c);
}

int metrics_step(metrics *m, const metrics_step_facts *f) {
    bool top1 = f->tree->n > 0 && f->tree->token[0] == f->truth;
    bool open = goes_on(f);
    metrics_cell *cell[4] = {&m->quarter[m->now.quarter], &m->group[m->now.group].cell,
                             &m->match[metrics_match_bucket(f->tree->n ? f->tree->match_len : 0)], &m->total};
    int rc = record_times(m, f);
    if (rc == SPEC_OK) rc = record_size(m, f->tree->n);
    if (rc == SPEC_OK) rc = calibrate(m, f);
    for (size_t i = 0; i < 4 && rc == SPEC_OK; i++) rc = cell_step(cell[i], f, top1, open);
    if (rc != SPEC_OK) return rc;
    count_sources(m, f, top1);
    m->now.out += f->committed;
    m->now.steps++;
    return SPEC_OK;
}

/* ---- the end of a run ---------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    return strcmp(((const metrics_group *)a)->name, ((const metrics_group *)b)->name);
}

/* The interval of the n requests that pair[] holds. */
static int draw_interval(metrics_cell *c, const stats_pair *pair, size_t n, uint64_t seed) {
    return stats_bootstrap(pair, n, n > MANY_REQUESTS ? RESAMPLES_FEW : RESAMPLES_MANY, seed, c->ci95);
}

static int by_group(const void *a, const void *b) {
    uint32_t x = ((const metrics_request *)a)->group, y = ((const metrics_request *)b)->group;
    return (x > y) - (x < y);
}

/* Requests come in order of their quarters; sorted, in order of their groups. */
static int draw_intervals(metrics *m, stats_pair *pair, uint64_t seed) {
    for (size_t i = 0; i < m->n_requests; i++) pair[i] = m->request[i].pair;
    int rc = draw_interval(&m->total, pair, m->n_requests, seed);
    size_t at = 0;
    for (size_t q = 0; q < METRICS_QUARTERS && rc == SPEC_OK; q++) {
        rc = draw_interval(&m->quarter[q], pair + at, m->quarter[q].requests, seed);
        at += m->quarter[q].requests;
    }
    qsort(m->request, m->n_requests, sizeof *m->request, by_group);
    for (size_t i = 0; i < m->n_requests; i++) pair[i] = m->request[i].pair;
    at = 0;
    for (size_t g = 0; g < m->n_groups && rc == SPEC_OK; g++) {
        rc = draw_interval(&m->group[g].cell, pair + at, m->group[g].cell.requests, seed);
        at += m->group[g].cell.requests;
    }
    return rc;
}

int metrics_finish(metrics *m, uint64_t seed) {
    m->draft = stats_summarise(m->draft_ns, m->total.steps);
    m->update = stats_summarise(m->update_ns, m->total.steps);
    stats_pair *pair = specp_alloc(NULL, m->n_requests + 1, sizeof *pair);
    if (!pair) return SPEC_ERR_NOMEM;
    int rc = m->n_requests ? draw_intervals(m, pair, seed) : SPEC_OK;
    free(pair);
    if (m->n_groups) qsort(m->group, m->n_groups, sizeof *m->group, by_name);
    return rc;
}

/* ---- derived ------------------------------------------------------------- */

static double ratio(double num, uint64_t den) { return den ? num / (double)den : NAN; }

double metrics_tokens_per_step(const metrics_cell *c) { return ratio((double)c->out, c->steps); }
double metrics_tokens_per_step_macro(const metrics_cell *c) { return ratio(c->macro_sum, c->requests); }
double metrics_accepted_per_step(const metrics_cell *c) { return ratio((double)c->accepted, c->steps); }
double metrics_acceptance_rate(const metrics_cell *c) { return ratio((double)c->accepted, c->drafted); }
double metrics_hit_rate(const metrics_cell *c) { return ratio((double)c->hits, c->steps); }
double metrics_top1(const metrics_cell *c) { return ratio((double)c->top1, c->hits); }
double metrics_top1_unconditional(const metrics_cell *c) { return ratio((double)c->top1, c->steps); }

uint64_t metrics_reached(const metrics_cell *c, size_t k) {
    uint64_t sum = 0;
    for (size_t i = k; i < c->n_length; i++) sum += c->length[i];
    return sum;
}

uint64_t metrics_offered(const metrics_cell *c, size_t k) {
    return metrics_reached(c, k) + (k && k - 1 < c->n_length ? c->open[k - 1] : 0);
}

double metrics_unconditional(const metrics_cell *c, size_t k) {
    return ratio((double)metrics_reached(c, k), c->hits);
}

double metrics_conditional(const metrics_cell *c, size_t k) {
    return ratio((double)metrics_reached(c, k), k > 1 ? metrics_reached(c, k - 1) : c->hits);
}

static const uint32_t match_low[METRICS_MATCHES] = {0, 1, 2, 3, 4, 5, 9, 17, 33, 65};

size_t metrics_match_bucket(uint32_t match_len) {
    size_t b = METRICS_MATCHES - 1;
    while (match_len < match_low[b]) b--;
    return b;
}

void metrics_match_range(size_t bucket, uint32_t *low, uint32_t *high) {
    *low = match_low[bucket];
    *high = bucket + 1 < METRICS_MATCHES ? match_low[bucket + 1] - 1 : UINT32_MAX;
}

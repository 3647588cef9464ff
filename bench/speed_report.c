/* SPDX-License-Identifier: MIT */
/* The results of `specbench speed`: a table at 80 columns, and JSON. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "speed.h"
#include "util.h"

/* Sizes that the goals are stated for. */
static const size_t goal_size[3] = {100000, 1000000, 3000000};

typedef struct row {
    const char *key, *label;
    int digits;
    double goal[3]; /* at goal_size; 0 = none. Those that do not depend on size: the first */
} row;

static const row sized[] = {
    {"append_us", "append a response, us/token", 3, {0.16, 0.24, 0.30}},
    {"append_single_us", "append token by token, us", 3, {0, 0, 0}},
    {"rss_bytes_per_token", "memory, resident, bytes/token", 1, {45, 45, 45}},
    {"bytes_per_token", "memory, allocated, bytes/token", 1, {0, 0, 0}},
    {"bytes_used_per_token", "memory, in use, bytes/token", 1, {0, 0, 0}},
    {"states_per_token", "explicit states/token", 3, {0, 0, 0}},
    {"edges_per_token", "stored transitions/token", 3, {0, 0, 0}},
    {"remove_us", "remove the oldest, us/token", 3, {0.2, 0.3, 0.35}},
    {"cursor_64_cold_us", "64 cold tokens to a cursor, us", 2, {0, 0, 0}},
    {"snapshot_bytes_per_token", "snapshot, bytes/token", 1, {0, 0, 0}},
    {"save_mb_per_s", "snapshot save, MB/s", 0, {300, 300, 300}},
    {"load_verified_ms", "load, checksums verified, ms", 2, {0, 0, 20}},
    {"load_trusted_ms", "load, trusted, ms", 3, {0, 0, 1}},
    {"path_p50_us", "propose a path, p50 us", 2, {0.5, 0.5, 0.5}},
    {"path_p99_us", "  p99 us", 2, {3, 3, 3}},
    {"path_commit_us", "  commit a token, mean us", 2, {0, 0, 0}},
    {"path_drafted", "  tokens drafted, mean", 1, {0, 0, 0}},
    {"path_63_p50_us", "  after a 63-token match, p50 us", 2, {1, 1, 1}},
    {"path_63_p99_us", "  p99 us", 2, {0, 0, 0}},
    {"tree_p50_us", "propose a tree, p50 us", 2, {0, 0, 0}},
    {"tree_p99_us", "  p99 us", 2, {0, 0, 0}},
    {"tree_drafted", "  nodes drafted, mean", 1, {0, 0, 0}},
    {"tree_63_p50_us", "  after a 63-token match, p50 us", 2, {0, 0, 0}},
    {"arctic_p50_us", "propose as arctic, p50 us", 2, {0.5, 0.5, 0.5}},
    {"arctic_p99_us", "  p99 us", 2, {3, 3, 3}},
    {"arctic_drafted", "  tokens drafted, mean", 1, {0, 0, 0}},
    {"arctic_63_p50_us", "  after a 63-token match, p50 us", 2, {1, 1, 1}},
};

static const row single[] = {
    {"prompt_us", "prompt into the request's own index, us/token", 3, {0.1, 0, 0}},
    {"prompt_4096_ms", "  a prompt of 4,096 tokens, ms", 3, {0.5, 0, 0}},
    {"prompt_4096_worst_ms", "  the slowest of those prompts, ms", 3, {0, 0, 0}},
    {"worst_average_us", "append, ordinary text of the same length, us/token", 3, {0, 0, 0}},
    {"worst_equal_us", "append equal tokens, us/token", 3, {0, 0, 0}},
    {"worst_equal_ratio", "  times the ordinary text's", 2, {10, 0, 0}},
    {"worst_period_63_us", "append a period of 63, us/token", 3, {0, 0, 0}},
    {"worst_period_63_ratio", "  times the ordinary text's", 2, {10, 0, 0}},
    {"churn_tokens_at_fill", "churn under a memory limit: tokens at the first fill", 0, {0, 0, 0}},
    {"churn_fill_mb", "  allocated after the first fill, MB", 2, {0, 0, 0}},
    {"churn_end_mb", "  after ten times as many tokens, MB", 2, {0, 0, 0}},
    {"churn_most_mb", "  at most, MB", 2, {0, 0, 0}},
    {"churn_fill_rss_mb", "  resident after the first fill, MB", 2, {0, 0, 0}},
    {"churn_end_rss_mb", "  resident after ten times as many, MB", 2, {0, 0, 0}},
    {"churn_us", "  append with eviction, us/token", 3, {0, 0, 0}},
    {"threads_longest_wait_us", "8 threads: longest wait for another request, us", 1, {0, 0, 0}},
    {"threads_propose_max_us", "  longest propose, us", 1, {0, 0, 0}},
    {"threads_propose_p99_us", "  p99 of propose, us", 1, {0, 0, 0}},
    {"threads_observe_max_us", "  longest observe, us", 1, {0, 0, 0}},
    {"threads_observe_p99_us", "  p99 of observe, us", 1, {0, 0, 0}},
    {"cores_longest_wait_us", "a thread for each core: longest wait for another, us", 1, {0, 0, 0}},
    {"cores_propose_max_us", "  longest propose, us", 1, {0, 0, 0}},
    {"cores_propose_p99_us", "  p99 of propose, us", 1, {0, 0, 0}},
    {"cores_observe_max_us", "  longest observe, us", 1, {0, 0, 0}},
    {"cores_observe_p99_us", "  p99 of observe, us", 1, {0, 0, 0}},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const speed_value *speed_find(const speed_report *r, const char *key, size_t size) {
    for (size_t i = 0; i < r->n; i++)
        if (r->value[i].size == size && strcmp(r->value[i].key, key) == 0) return &r->value[i];
    return NULL;
}

/* Half the range of the runs, in percent of the median. */
static double spread(const speed_value *v) {
    double s = v->median > 0 ? 50 * (v->high - v->low) / v->median : 0;
    return s < 99 ? s : 99;
}

static void print_cell(const speed_value *v, int digits, FILE *out) {
    if (v)
        fprintf(out, " %6.*f %2.0f%%", digits, v->median, spread(v));
    else
        fprintf(out, " %10s", "-");
}

static double goal(const row *w, size_t size) {
    for (size_t i = 0; i < COUNT(goal_size); i++)
        if (size == goal_size[i]) return w->goal[i];
    return 0;
}

static void print_goals(const speed_report *r, const row *w, FILE *out) {
    const char *gap = "  ";
    double last = 0;
    for (size_t i = 0; i < r->n_sizes; i++) {
        double g = goal(w, r->size[i]);
        if (g == 0 || g == last) continue;
        fprintf(out, "%s%g", gap, g);
        gap = "/";
        last = g;
    }
}

static void print_sized(const speed_report *r, const row *w, FILE *out) {
    bool any = false;
    for (size_t i = 0; i < r->n_sizes; i++) any = any || speed_find(r, w->key, r->size[i]);
    if (!any) return;
    fprintf(out, "%-31s", w->label);
    for (size_t i = 0; i < r->n_sizes; i++) print_cell(speed_find(r, w->key, r->size[i]), w->digits, out);
    print_goals(r, w, out);
    fputc('\n', out);
}

static void print_single(const speed_report *r, const row *w, FILE *out) {
    const speed_value *v = speed_find(r, w->key, 0);
    if (!v) return;
    fprintf(out, "%-55s", w->label);
    print_cell(v, w->digits, out);
    if (w->goal[0] > 0) fprintf(out, "  %g", w->goal[0]);
    fputc('\n', out);
}

void speed_print(const speed_report *r, const speed_corpus *c, FILE *out) {
    fprintf(out, "Text: %s. Medians of %u run%s, each in a fresh process, and half the\n", c->name,
            r->repeats, fmt_plural(r->repeats));
    fprintf(out, "range of the runs in percent; last the goal, where there is one.\n\n");
    if (r->load > 0.3)
        fprintf(out, "The machine was not quiet (load %.1f): times are too high, p99 and max most.\n\n",
                r->load);
    fprintf(out, "%-31s", "tokens in the shared index");
    for (size_t i = 0; i < r->n_sizes; i++) fprintf(out, " %7zu   ", r->size[i]);
    fprintf(out, " goal\n");
    for (size_t i = 0; i < COUNT(sized); i++) print_sized(r, &sized[i], out);
    fputc('\n', out);
    for (size_t i = 0; i < COUNT(single); i++) print_single(r, &single[i], out);
}

static json_t *value_json(const speed_value *v) {
    return json_pack("{s:s,s:I,s:f,s:f,s:f}", "key", v->key, "tokens", (json_int_t)v->size, "median",
                     v->median, "low", v->low, "high", v->high);
}

int speed_write_json(FILE *f, void *user) {
    const speed_json *j = user;
    json_t *values = json_array();
    int bad = !values;
    for (size_t i = 0; i < j->report->n && !bad; i++)
        bad = json_array_append_new(values, value_json(&j->report->value[i]));
    json_t *root = bad ? NULL
                       : json_pack("{s:s,s:s,s:s,s:s,s:i,s:f,s:O}", "schema", "specbench/1", "version",
                                   spec_version(), "command", "speed", "text", j->corpus->name, "repeats",
                                   (int)j->report->repeats, "load", j->report->load, "values", values);
    json_decref(values);
    if (!root) return SPEC_ERR_NOMEM;
    bad = json_dumpf(root, f, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) || fputc('\n', f) == EOF;
    json_decref(root);
    return bad ? SPEC_ERR_IO : SPEC_OK;
}

void speed_report_free(speed_report *r) { free(r->value); }

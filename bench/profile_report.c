/* SPDX-License-Identifier: MIT */
/* What was measured of forward passes: tables, JSON, and the cost model for replay. */
#include <math.h>
#include <string.h>

#include "format.h"
#include "model_options.h"
#include "profile.h"

/* The least time that a pass could take: it reads and multiplies at the same time. */
static double least_seconds(const profile_cell *c) {
    return c->multiply_seconds > c->read_seconds ? c->multiply_seconds : c->read_seconds;
}

static const char *bound_of(const profile_cell *c) {
    if (isnan(c->multiply_seconds)) return "read";
    return c->multiply_seconds > c->read_seconds ? "multiply" : "read";
}

static double ratio(const profile *p, const profile_cell *c) {
    size_t first = (size_t)(c - p->cell) / p->sizes.n * p->sizes.n;
    return c->times.median / p->cell[first].times.median;
}

/* ---- tables -------------------------------------------------------------- */

static void print_row(const profile *p, const profile_cell *c, FILE *out) {
    char limit[48];
    snprintf(limit, sizeof limit, "%s%% %s", fmt_real(100 * least_seconds(c) / c->times.median, 0).text,
             bound_of(c));
    fprintf(out, "%5zu%7zu%11.3f%10.3f%10.3f%8.2f%11.1f%15s\n", c->size, c->rows, 1e3 * c->times.median,
            1e3 * c->times.low, 1e3 * c->times.high, ratio(p, c), (double)c->rows / c->times.median, limit);
}

static void print_grid(const profile *p, FILE *out) {
    for (size_t i = 0; i < p->n_cells; i++) {
        const profile_cell *c = &p->cell[i];
        if (i % p->sizes.n == 0) {
            fprintf(out, "\ncontext %s, %zu sequence%s\n", fmt_count(c->context).text, c->batch,
                    fmt_plural(c->batch));
            fprintf(out, "%5s%7s%11s%10s%10s%8s%11s%15s\n", "N", "rows", "median ms", "low", "high",
                    "T(N)/T1", "tokens/s", "of the limit");
        }
        print_row(p, c, out);
    }
}

static void print_limits(const profile *p, FILE *out) {
    const profile_cell *one = &p->cell[0], *most = &p->cell[p->sizes.n - 1];
    fprintf(out, "\nLimits   reading %s over and over: %s GB/s; multiplying floats %s,\n",
            fmt_bytes((double)p->read_bytes).text, fmt_real(p->read_gbs, 1).text,
            fmt_real(p->float_gops, 0).text);
    fprintf(out, "         8-bit integers %s GOPS; each the best of %zu\n", fmt_real(p->int8_gops, 0).text,
            p->repeats + 1);
    fprintf(out, "N = 1    %s read at %s GB/s: %s%% of that\n", fmt_bytes(one->bytes).text,
            fmt_real(one->bytes / one->times.median / 1e9, 1).text,
            fmt_real(100 * one->read_seconds / one->times.median, 0).text);
    fprintf(out, "N = %-4zu %s GOPS: %s%% of what multiplying alone allows\n", most->size,
            fmt_real(most->operations / most->times.median / 1e9, 0).text,
            fmt_real(100 * most->multiply_seconds / most->times.median, 0).text);
    if (p->load > 0.5)
        fprintf(out, "Load     %.1f before the start: figures of a busy machine say little\n", p->load);
    if (p->prefill.n)
        fprintf(out, "Prefill  %d tokens in %.1f ms: %.1f tokens/s\n", PROFILE_PREFILL,
                1e3 * p->prefill.median, PROFILE_PREFILL / p->prefill.median);
}

void profile_print(const profile *p, const spec_target *t, FILE *out) {
    model_describe(t, out);
    print_grid(p, out);
    print_limits(p, out);
    fputc('\n', out);
    model_kernels(t, out);
}

/* ---- JSON ---------------------------------------------------------------- */

static json_t *numbers(const profile_list *l) {
    json_t *list = json_array();
    for (size_t i = 0; i < l->n; i++) list = jout_append(list, json_integer((json_int_t)l->item[i]));
    return list;
}

static json_t *cell_json(const profile *p, const profile_cell *c) {
    jout o = jout_begin();
    jout_int(&o, "context", c->context);
    jout_int(&o, "batch", c->batch);
    jout_int(&o, "n", c->size);
    jout_int(&o, "rows", c->rows);
    jout_int(&o, "runs", c->times.n);
    jout_real(&o, "median_ms", 1e3 * c->times.median);
    jout_real(&o, "low_ms", 1e3 * c->times.low);
    jout_real(&o, "high_ms", 1e3 * c->times.high);
    jout_real(&o, "ratio", ratio(p, c));
    jout_real(&o, "tokens_per_second", (double)c->rows / c->times.median);
    jout_real(&o, "bytes", c->bytes);
    jout_real(&o, "operations", c->operations);
    jout_real(&o, "gb_per_second", c->bytes / c->times.median / 1e9);
    jout_real(&o, "gops", c->operations / c->times.median / 1e9);
    jout_real(&o, "read_limit_ms", 1e3 * c->read_seconds);
    jout_real(&o, "multiply_limit_ms", 1e3 * c->multiply_seconds);
    return jout_end(o);
}

static jout settings(const profile *p) {
    jout o = jout_begin();
    jout_put(&o, "contexts", numbers(&p->contexts));
    jout_put(&o, "batches", numbers(&p->batches));
    jout_put(&o, "sizes", numbers(&p->sizes));
    jout_int(&o, "repeat", p->repeats);
    return o;
}

static jout limits(const profile *p) {
    jout o = jout_begin();
    jout_int(&o, "read_bytes", p->read_bytes);
    jout_real(&o, "read_gb_per_second", p->read_gbs);
    jout_real(&o, "float_gops", p->float_gops);
    jout_real(&o, "int8_gops", p->int8_gops);
    jout_real(&o, "load", p->load);
    return o;
}

static jout prefill(const profile *p) {
    jout o = jout_begin();
    jout_int(&o, "tokens", PROFILE_PREFILL);
    jout_int(&o, "runs", p->prefill.n);
    jout_real(&o, "median_ms", 1e3 * p->prefill.median);
    jout_real(&o, "low_ms", 1e3 * p->prefill.low);
    jout_real(&o, "high_ms", 1e3 * p->prefill.high);
    jout_real(&o, "tokens_per_second", PROFILE_PREFILL / p->prefill.median);
    return o;
}

int profile_json(FILE *out, void *user) {
    const profile_report *r = user;
    jout o = jout_begin();
    json_t *cells = json_array();
    for (size_t i = 0; i < r->p->n_cells; i++) cells = jout_append(cells, cell_json(r->p, &r->p->cell[i]));
    jout_heading(&o, "profile");
    jout_object(&o, "settings", settings(r->p));
    model_put_json(&o, r->t);
    jout_object(&o, "limits", limits(r->p));
    jout_object(&o, "prefill", prefill(r->p));
    jout_put(&o, "cells", cells);
    return jout_write(o, out);
}

/* ---- the cost model ------------------------------------------------------ */

static json_t *points(const profile *p, const profile_cell *first) {
    json_t *list = json_array();
    for (size_t i = 0; i < p->sizes.n; i++) {
        json_t *pair = jout_append(json_array(), json_integer((json_int_t)first[i].size));
        list = jout_append(list, jout_append(pair, jout_value(ratio(p, &first[i]))));
    }
    return list;
}

static json_t *grid(const profile *p) {
    json_t *list = json_array();
    for (size_t i = 0; i < p->n_cells; i += p->sizes.n) {
        jout o = jout_begin();
        jout_int(&o, "context", p->cell[i].context);
        jout_int(&o, "batch", p->cell[i].batch);
        jout_real(&o, "t1_us", 1e6 * p->cell[i].times.median);
        jout_put(&o, "points", points(p, &p->cell[i]));
        list = jout_append(list, jout_end(o));
    }
    return list;
}

int profile_cost_model(FILE *out, void *user) {
    const profile_report *r = user;
    const profile *p = r->p;
    spec_target_info i = {.size = sizeof i};
    spec_target_get_info(r->t, &i);
    const char *path = spec_tensors_path(spec_target_tensors(r->t)), *slash = strrchr(path, '/');
    char name[400];
    snprintf(name, sizeof name, "%.200s, %u thread%s, context %zu, batch %zu",
             slash && slash[1] ? slash + 1 : path, i.threads, fmt_plural(i.threads), p->cell[0].context,
             p->cell[0].batch);
    jout o = jout_begin();
    jout_text(&o, "schema", "specbench-cost/1");
    jout_text(&o, "name", name);
    jout_real(&o, "t1_us", 1e6 * p->cell[0].times.median);
    jout_put(&o, "points", points(p, &p->cell[0]));
    jout_put(&o, "grid", grid(p));
    return jout_write(o, out);
}

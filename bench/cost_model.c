/* SPDX-License-Identifier: MIT */
/*
 * Cost models: points (N, T(N)/T(1)) joined by straight lines.
 *
 *   ratio |            .    beyond the last point the last line goes on
 *         |        o .
 *         |   o          o  points, by increasing N
 *       1 o________________ N
 *         1
 */
#include "cost_model.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define EXPECTED "expected {\"schema\":\"specbench-cost/1\",\"name\":NAME,\"points\":[[1,1.0],[N,RATIO],...]}"

void cost_model_free(cost_model *m) {
    for (size_t i = 0; i < m->n_grid; i++) free(m->grid[i].point);
    free(m->grid);
    free(m->name);
    free(m->point);
    memset(m, 0, sizeof *m);
}

/* A straight line. */
static int line(cost_model *out, const char *name, cost_point end) {
    cost_model m = {
        .name = bench_copy_text(name, strlen(name)), .point = specp_alloc(NULL, 2, sizeof *m.point), .n = 2};
    if (!m.name || !m.point) {
        cost_model_free(&m);
        return SPEC_ERR_NOMEM;
    }
    m.point[0] = (cost_point){1, 1};
    m.point[1] = end;
    *out = m;
    return SPEC_OK;
}

int cost_model_builtin(cost_model *out) { return line(out, "builtin", (cost_point){257, 2}); }

int cost_model_open(cost_model *out, const char *name, spec_message *why) {
    bool sloped = strncmp(name, "linear:", 7) == 0;
    double slope = 0;
    if (sloped) {
        char *end;
        slope = strtod(name + 7, &end);
        if (end == name + 7 || *end || !(slope >= 0 && slope <= 1000))
            return specp_fail(why, SPEC_ERR_INVALID, "cost model %s: expected linear:S, S from 0 to 1000",
                              name);
    }
    bool flat = strcmp(name, "flat") == 0, builtin = strcmp(name, "builtin") == 0;
    if (!sloped && !flat && !builtin) return cost_model_load(out, name, why);
    int rc = builtin ? cost_model_builtin(out) : line(out, name, (cost_point){2, 1 + slope});
    return rc == SPEC_OK ? rc : specp_fail(why, rc, "out of memory");
}

int cost_model_select(cost_model *m, size_t context, size_t batch, spec_message *why) {
    const cost_cell *best = NULL;
    if (batch == 0 && m->n_grid) batch = m->grid[0].batch;
    for (size_t i = 0; i < m->n_grid; i++) {
        const cost_cell *c = &m->grid[i];
        double distance = fabs((double)c->context - (double)context);
        if (c->batch == batch && (!best || distance < fabs((double)best->context - (double)context)))
            best = c;
    }
    if (!best)
        return specp_fail(why, SPEC_ERR_NOT_FOUND, "cost model \"%s\": %s%zu", m->name,
                          m->n_grid ? "nothing was measured at batch " : "has no grid to look for batch ",
                          batch);
    cost_point *point = specp_alloc(NULL, best->n, sizeof *point);
    if (!point) return specp_fail(why, SPEC_ERR_NOMEM, "out of memory");
    memcpy(point, best->point, best->n * sizeof *point);
    free(m->point);
    m->point = point;
    m->n = best->n;
    m->t1_us = best->t1_us;
    return SPEC_OK;
}

/* ---- reading ------------------------------------------------------------- */

static int bad(spec_message *why, const char *path, const char *what) {
    return specp_fail(why, SPEC_ERR_CORRUPT, "%s: %s; " EXPECTED, path, what);
}

static int read_point(const json_t *pair, const cost_point *before, cost_point *out) {
    const json_t *n = json_array_get(pair, 0), *ratio = json_array_get(pair, 1);
    if (json_array_size(pair) != 2 || !json_is_integer(n) || !json_is_number(ratio)) return -1;
    *out = (cost_point){(double)json_integer_value(n), json_number_value(ratio)};
    if (!isfinite(out->ratio) || out->ratio <= 0) return -1;
    return before ? (out->n > before->n ? 0 : -1) : (out->n == 1 && out->ratio == 1 ? 0 : -1);
}

/* The pairs of an object's "points"; `where` goes before the name in messages. */
static int read_points(cost_point **out, size_t *n, const char *path, const char *where, const json_t *object,
                       spec_message *why) {
    const json_t *list = json_object_get(object, "points");
    char what[200];
    size_t count = json_array_size(list);
    if (count < 2) {
        snprintf(what, sizeof what, "%s\"points\" is not an array of two pairs or more", where);
        return bad(why, path, what);
    }
    cost_point *point = specp_alloc(NULL, count, sizeof *point);
    if (!point) return specp_fail(why, SPEC_ERR_NOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < count; i++) {
        if (read_point(json_array_get(list, i), i ? &point[i - 1] : NULL, &point[i]) == 0) continue;
        free(point);
        snprintf(what, sizeof what,
                 "%s\"points\"[%zu] is not a pair [N, RATIO] with N above the one before and RATIO > 0 "
                 "(the first: [1, 1])",
                 where, i);
        return bad(why, path, what);
    }
    *out = point;
    *n = count;
    return SPEC_OK;
}

static bool is_time(const json_t *v) {
    return json_is_number(v) && isfinite(json_number_value(v)) && json_number_value(v) > 0;
}

/* An integer from `least` to 2^30 (or, where it is missing, -1). */
static long read_size(const json_t *object, const char *key, long least) {
    const json_t *v = json_object_get(object, key);
    json_int_t n = json_is_integer(v) ? json_integer_value(v) : -1;
    return n >= least && n <= 1 << 30 ? (long)n : -1;
}

static int read_cell(cost_model *m, const char *path, const json_t *o, spec_message *why) {
    cost_cell *c = &m->grid[m->n_grid];
    char where[40], what[120];
    long context = read_size(o, "context", 0), batch = read_size(o, "batch", 1);
    snprintf(where, sizeof where, "\"grid\"[%zu]: ", m->n_grid);
    const char *fault = context < 0                             ? "\"context\" is not a whole number"
                        : batch < 0                             ? "\"batch\" is not a whole number from 1"
                        : !is_time(json_object_get(o, "t1_us")) ? "\"t1_us\" is not a number above 0"
                                                                : NULL;
    for (size_t i = 0; i < m->n_grid && !fault; i++)
        if (m->grid[i].context == (size_t)context && m->grid[i].batch == (size_t)batch)
            fault = "another entry has the same context and batch";
    if (fault) {
        snprintf(what, sizeof what, "%s%s", where, fault);
        return bad(why, path, what);
    }
    int rc = read_points(&c->point, &c->n, path, where, o, why);
    if (rc != SPEC_OK) return rc;
    c->context = (size_t)context;
    c->batch = (size_t)batch;
    c->t1_us = json_number_value(json_object_get(o, "t1_us"));
    m->n_grid++;
    return SPEC_OK;
}

static int read_grid(cost_model *m, const char *path, const json_t *file, spec_message *why) {
    const json_t *list = json_object_get(file, "grid");
    size_t n = json_array_size(list);
    if (!list) return SPEC_OK;
    if (n == 0) return bad(why, path, "\"grid\" is not an array of one entry or more");
    m->grid = specp_calloc(NULL, n, sizeof *m->grid);
    if (!m->grid) return specp_fail(why, SPEC_ERR_NOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < n; i++) {
        int rc = read_cell(m, path, json_array_get(list, i), why);
        if (rc != SPEC_OK) return rc;
    }
    return SPEC_OK;
}

static int read_model(cost_model *out, const char *path, const json_t *file, spec_message *why) {
    const json_t *schema = json_object_get(file, "schema"), *name = json_object_get(file, "name");
    const json_t *t1 = json_object_get(file, "t1_us");
    cost_model m = {.t1_us = json_number_value(t1)};
    if (!json_is_string(schema) || strcmp(json_string_value(schema), "specbench-cost/1") != 0)
        return bad(why, path, "\"schema\" is not \"specbench-cost/1\"");
    if (!json_is_string(name)) return bad(why, path, "\"name\" is not a string");
    if (t1 && !is_time(t1)) return bad(why, path, "\"t1_us\" is not a number of microseconds above 0");
    m.name = bench_copy_text(json_string_value(name), json_string_length(name));
    int rc = m.name ? SPEC_OK : specp_fail(why, SPEC_ERR_NOMEM, "%s: out of memory", path);
    if (rc == SPEC_OK) rc = read_points(&m.point, &m.n, path, "", file, why);
    if (rc == SPEC_OK) rc = read_grid(&m, path, file, why);
    if (rc == SPEC_OK)
        *out = m;
    else
        cost_model_free(&m);
    return rc;
}

int cost_model_load(cost_model *out, const char *path, spec_message *why) {
    json_error_t e;
    FILE *f = fopen(path, "rb");
    if (!f)
        return specp_fail(why, errno == ENOENT ? SPEC_ERR_NOT_FOUND : SPEC_ERR_IO,
                          "%s: cannot open: %s; expected a cost model file", path, strerror(errno));
    json_t *file = json_loadf(f, JSON_REJECT_DUPLICATES, &e);
    fclose(f);
    if (!file) {
        char what[300];
        snprintf(what, sizeof what, "line %d: not valid JSON (%s)", e.line, e.text);
        return bad(why, path, what);
    }
    int rc = read_model(out, path, file, why);
    json_decref(file);
    return rc;
}

/* ---- using --------------------------------------------------------------- */

double cost_model_ratio(const cost_model *m, size_t n) {
    size_t i = 1;
    while (i + 1 < m->n && m->point[i].n < (double)n) i++;
    const cost_point *a = &m->point[i - 1], *b = &m->point[i];
    double slope = (b->ratio - a->ratio) / (b->n - a->n);
    if ((double)n > b->n && slope < 0) return b->ratio;
    return a->ratio + slope * ((double)n - a->n);
}

cost_estimate cost_model_estimate(const cost_model *m, const metrics *run) {
    double steps = (double)run->total.steps, cost = 0;
    if (run->total.steps == 0) return (cost_estimate){NAN, NAN};
    for (size_t n = 0; n < run->n_size; n++)
        if (run->size[n]) cost += (double)run->size[n] * cost_model_ratio(m, n + 1);
    if (m->t1_us > 0) cost += steps * (run->draft.mean + run->update.mean) / 1000 / m->t1_us;
    return (cost_estimate){.break_even = cost / steps, .speedup = (double)run->total.out / cost};
}

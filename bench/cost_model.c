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
    free(m->name);
    free(m->point);
    memset(m, 0, sizeof *m);
}

/* Takes nothing; *out is set on success only. */
static int make(cost_model *out, const char *name, double t1_us, size_t n) {
    cost_model m = {.name = bench_copy_text(name, strlen(name)),
                    .t1_us = t1_us,
                    .point = specp_alloc(NULL, n, sizeof *m.point),
                    .n = n};
    if (!m.name || !m.point) {
        cost_model_free(&m);
        return SPEC_ERR_NOMEM;
    }
    *out = m;
    return SPEC_OK;
}

int cost_model_builtin(cost_model *out) {
    int rc = make(out, "builtin", 0, 2);
    if (rc != SPEC_OK) return rc;
    out->point[0] = (cost_point){1, 1};
    out->point[1] = (cost_point){257, 2};
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

static int read_points(cost_model *m, const char *path, const json_t *list, spec_message *why) {
    for (size_t i = 0; i < m->n; i++) {
        char what[200];
        if (read_point(json_array_get(list, i), i ? &m->point[i - 1] : NULL, &m->point[i]) == 0) continue;
        snprintf(what, sizeof what,
                 "\"points\"[%zu] is not a pair [N, RATIO] with N above the one before and RATIO > 0 "
                 "(the first: [1, 1])",
                 i);
        return bad(why, path, what);
    }
    return SPEC_OK;
}

static int read_model(cost_model *out, const char *path, const json_t *file, spec_message *why) {
    const json_t *schema = json_object_get(file, "schema"), *name = json_object_get(file, "name");
    const json_t *t1 = json_object_get(file, "t1_us"), *points = json_object_get(file, "points");
    if (!json_is_string(schema) || strcmp(json_string_value(schema), "specbench-cost/1") != 0)
        return bad(why, path, "\"schema\" is not \"specbench-cost/1\"");
    if (!json_is_string(name)) return bad(why, path, "\"name\" is not a string");
    if (t1 && !(json_is_number(t1) && isfinite(json_number_value(t1)) && json_number_value(t1) > 0))
        return bad(why, path, "\"t1_us\" is not a number of microseconds above 0");
    if (json_array_size(points) < 2) return bad(why, path, "\"points\" is not an array of two pairs or more");
    cost_model m;
    int rc = make(&m, json_string_value(name), json_number_value(t1), json_array_size(points));
    if (rc != SPEC_OK) return specp_fail(why, rc, "%s: out of memory", path);
    rc = read_points(&m, path, points, why);
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

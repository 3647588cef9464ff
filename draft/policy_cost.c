/* SPDX-License-Identifier: MIT */
/*
 * What passes cost: points in three dimensions, joined by straight lines.
 *
 *     batch 1:  context 64 | o--o------o        each curve: time over rows
 *               context 1k | o--o------o        between two curves of a batch: by context
 *     batch 8:  context 64 |    o------o        between two batches: likewise
 *
 * Points are sorted by batch, context and rows, so that a curve is a run of them and a
 * batch a run of curves.
 */
#include <math.h>
#include <string.h>

#include "policy_internal.h"

static int compare(const spec_pass_cost *a, const spec_pass_cost *b) {
    if (a->batch != b->batch) return a->batch < b->batch ? -1 : 1;
    if (a->context != b->context) return a->context < b->context ? -1 : 1;
    return a->rows < b->rows ? -1 : a->rows > b->rows;
}

static void sort(spec_pass_cost *p, size_t n) { /* there are few */
    for (size_t i = 1; i < n; i++) {
        spec_pass_cost x = p[i];
        size_t j = i;
        for (; j && compare(&x, &p[j - 1]) < 0; j--) p[j] = p[j - 1];
        p[j] = x;
    }
}

static int check(const spec_policy_options *o, spec_message *why) {
    if (o->n_cost ? !o->cost || o->pass_time != NULL : !o->pass_time)
        return specp_fail(why, SPEC_ERR_INVALID, "policy: expected what passes cost: points or a function");
    for (size_t i = 0; i < o->n_cost; i++) {
        const spec_pass_cost *p = &o->cost[i];
        if (!p->batch || !p->rows || !(p->time > 0) || !isfinite(p->time))
            return specp_fail(why, SPEC_ERR_INVALID,
                              "policy: cost %zu: expected a batch and rows from 1 and a time above 0", i);
    }
    return SPEC_OK;
}

/* Finds the curves of points that are sorted. */
static int divide(specp_cost *c, spec_message *why) {
    for (size_t i = 0; i < c->n_point; i++) {
        const spec_pass_cost *p = &c->point[i];
        specp_cost_curve *last = c->n_curve ? &c->curve[c->n_curve - 1] : NULL;
        if (!last || last->batch != p->batch || last->context != p->context)
            c->curve[c->n_curve++] = (specp_cost_curve){p->context, p->batch, i, 1};
        else if (p->rows == p[-1].rows)
            return specp_fail(why, SPEC_ERR_INVALID,
                              "policy: two costs of %u rows at context %u and batch %u", p->rows, p->context,
                              p->batch);
        else
            last->n++;
    }
    return SPEC_OK;
}

int specp_cost_init(specp_cost *c, const spec_policy_options *o, const spec_allocator *alloc,
                    spec_message *why) {
    memset(c, 0, sizeof *c);
    int err = check(o, why);
    c->pass_time = o->pass_time;
    c->user = o->user;
    if (err || !o->n_cost) return err;
    c->point = specp_alloc(alloc, o->n_cost, sizeof *c->point);
    if (c->point) c->n_point = o->n_cost;
    c->curve = specp_alloc(alloc, o->n_cost, sizeof *c->curve);
    if (c->curve) c->cap_curve = o->n_cost;
    if (!c->point || !c->curve) {
        err = specp_fail(why, SPEC_ERR_NOMEM, "policy: %s", spec_strerror(SPEC_ERR_NOMEM));
    } else {
        memcpy(c->point, o->cost, o->n_cost * sizeof *c->point);
        sort(c->point, c->n_point);
        err = divide(c, why);
    }
    if (err) specp_cost_release(c, alloc);
    return err;
}

void specp_cost_release(specp_cost *c, const spec_allocator *alloc) {
    specp_release(alloc, c->point, c->n_point, sizeof *c->point);
    specp_release(alloc, c->curve, c->cap_curve, sizeof *c->curve);
    memset(c, 0, sizeof *c);
}

/* ---- reading -------------------------------------------------------------- */

static double between(double x, double x0, double x1, double y0, double y1) {
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0);
}

static double of_curve(const specp_cost *c, const specp_cost_curve *v, size_t rows) {
    const spec_pass_cost *p = &c->point[v->first];
    size_t i = 1;
    if (v->n == 1 || rows <= p->rows) return p->time;
    while (i + 1 < v->n && p[i].rows < rows) i++;
    if (rows > p[i].rows && p[i].time < p[i - 1].time) return p[i].time; /* no line falls for ever */
    return between((double)rows, p[i - 1].rows, p[i].rows, p[i - 1].time, p[i].time);
}

/* Of the curves v[0..n) of one batch. */
static double of_batch(const specp_cost *c, const specp_cost_curve *v, size_t n, size_t rows,
                       double context) {
    size_t i = 0;
    while (i + 1 < n && (double)v[i + 1].context <= context) i++;
    double here = of_curve(c, &v[i], rows);
    if (i + 1 == n || context <= (double)v[i].context) return here;
    return between(context, v[i].context, v[i + 1].context, here, of_curve(c, &v[i + 1], rows));
}

double specp_cost_time(const specp_cost *c, size_t rows, double context, double batch) {
    if (!c->n_point) return c->pass_time(c->user, rows, (size_t)context, (size_t)batch);
    size_t first = 0, n = 0; /* the curves of the largest batch that is no larger, or of the first */
    size_t next = 0;
    for (; next < c->n_curve && (!next || (double)c->curve[next].batch <= batch); next += n) {
        first = next;
        for (n = 1; next + n < c->n_curve && c->curve[next + n].batch == c->curve[next].batch;) n++;
    }
    double below = of_batch(c, &c->curve[first], n, rows, context);
    if (next == c->n_curve || batch <= (double)c->curve[first].batch) return below;
    size_t m = 1;
    while (next + m < c->n_curve && c->curve[next + m].batch == c->curve[next].batch) m++;
    return between(batch, c->curve[first].batch, c->curve[next].batch, below,
                   of_batch(c, &c->curve[next], m, rows, context));
}

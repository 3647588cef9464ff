/* SPDX-License-Identifier: MIT */
/*
 * The overview: tokens per step of every drafter on every workload.
 *
 *     tokens per step       tools    sql  edits    all
 *     --------------------------------------------------
 *     suffix                 3.10   2.75   6.40   3.61
 *     copying at its best    5.02   4.13   9.80   5.77
 *
 * Columns are headed by the workloads' names where those are short, otherwise
 * by numbers that are explained below. What does not fit goes into a further
 * block of rows.
 */
#include <string.h>

#include "format.h"
#include "session.h"

#define WIDTH        80
#define LONGEST_NAME 9
#define LEAST_COLUMN 5

typedef struct overview {
    const session *s;
    FILE *out;
    bool named; /* columns carry names */
} overview;

static const char *title(const overview *o, size_t w, char number[24]) {
    if (w == o->s->n_workloads) return "all";
    snprintf(number, 24, "[%zu]", w + 1);
    return o->named ? o->s->workload[w].name : number;
}

/* Of a column. */
static int width(const overview *o, size_t w) {
    char number[24];
    size_t n = strlen(title(o, w, number));
    return (int)(n < LEAST_COLUMN ? LEAST_COLUMN : n) + 2;
}

/* The first column past `from` that has no room beside the ones before. */
static size_t end_of_block(const overview *o, size_t from) {
    int sum = TABLE_NAME;
    while (from <= o->s->n_workloads && sum + width(o, from) <= WIDTH) sum += width(o, from++);
    return from;
}

/* Column n_workloads holds all workloads together. */
static double drafter_figure(const session *s, size_t column, size_t d) {
    metrics_cell sum = {0};
    if (column < s->n_workloads) return metrics_tokens_per_step(&session_at(s, column, d)->m.total);
    for (size_t w = 0; w < s->n_workloads; w++) {
        const metrics_cell *c = &session_at(s, w, d)->m.total;
        sum.out += c->out;
        sum.steps += c->steps;
    }
    return metrics_tokens_per_step(&sum);
}

static double limit_figure(const session *s, size_t column) {
    metrics_cell sum = {0};
    if (column < s->n_workloads) return s->limits[column].limit;
    for (size_t w = 0; w < s->n_workloads; w++) {
        sum.out += s->limits[w].out;
        sum.steps += s->limits[w].steps;
    }
    return metrics_tokens_per_step(&sum);
}

static void heading(const overview *o, size_t from, size_t to) {
    char number[24];
    int sum = TABLE_NAME;
    fprintf(o->out, "\n%-*s", TABLE_NAME, "tokens per step");
    for (size_t w = from; w < to; w++) {
        fprintf(o->out, "%*s", width(o, w), title(o, w, number));
        sum += width(o, w);
    }
    fputc('\n', o->out);
    table_rule(o->out, sum);
}

static void row(const overview *o, const char *name, size_t drafter, size_t from, size_t to) {
    const session *s = o->s;
    table_name(o->out, name);
    for (size_t w = from; w < to; w++) {
        double v = drafter < s->drafters.n ? drafter_figure(s, w, drafter) : limit_figure(s, w);
        fprintf(o->out, "%*s", width(o, w), fmt_real(v, 2).text);
    }
    fputc('\n', o->out);
}

static void block(const overview *o, size_t from, size_t to) {
    const session *s = o->s;
    heading(o, from, to);
    for (size_t d = 0; d < s->drafters.n; d++) row(o, s->drafters.item[d], d, from, to);
    row(o, "copying at its best", s->drafters.n, from, to);
}

static void explain_numbers(const overview *o) {
    fputc('\n', o->out);
    for (size_t w = 0; w < o->s->n_workloads; w++) {
        char number[24];
        snprintf(number, sizeof number, "[%zu]", w + 1);
        fprintf(o->out, "%5s %s\n", number, o->s->workload[w].name);
    }
}

void report_overview(const session *s, FILE *out) {
    overview o = {.s = s, .out = out, .named = true};
    for (size_t w = 0; w < s->n_workloads; w++)
        if (strlen(s->workload[w].name) > LONGEST_NAME) o.named = false;
    for (size_t w = 0, to; w <= s->n_workloads; w = to) {
        to = end_of_block(&o, w);
        block(&o, w, to);
    }
    if (!o.named) explain_numbers(&o);
}

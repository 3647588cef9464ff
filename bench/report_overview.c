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

typedef struct overview {
    const session *s;
    FILE *out;
    bool named; /* columns carry names */
    int width;  /* of a column */
    size_t per_block;
} overview;

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
    fprintf(o->out, "\n%-*s", TABLE_NAME, "tokens per step");
    for (size_t w = from; w < to; w++) {
        char number[24];
        snprintf(number, sizeof number, "[%zu]", w + 1);
        const char *name = w == o->s->n_workloads ? "all" : o->named ? o->s->workload[w].name : number;
        fprintf(o->out, "%*s", o->width, name);
    }
    fputc('\n', o->out);
    table_rule(o->out, TABLE_NAME + o->width * (int)(to - from));
}

static void block(const overview *o, size_t from, size_t to) {
    const session *s = o->s;
    heading(o, from, to);
    for (size_t d = 0; d < s->drafters.n; d++) {
        table_name(o->out, s->drafters.item[d]);
        for (size_t w = from; w < to; w++)
            fprintf(o->out, "%*s", o->width, fmt_real(drafter_figure(s, w, d), 2).text);
        fputc('\n', o->out);
    }
    table_name(o->out, "copying at its best");
    for (size_t w = from; w < to; w++) fprintf(o->out, "%*s", o->width, fmt_real(limit_figure(s, w), 2).text);
    fputc('\n', o->out);
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
    size_t longest = 5;
    for (size_t w = 0; w < s->n_workloads; w++) {
        size_t n = strlen(s->workload[w].name);
        if (n > longest) longest = n;
    }
    o.named = longest <= LONGEST_NAME;
    o.width = o.named ? (int)longest + 2 : 8;
    o.per_block = (size_t)((WIDTH - TABLE_NAME) / o.width);
    for (size_t w = 0; w <= s->n_workloads; w += o.per_block) {
        size_t to = w + o.per_block <= s->n_workloads ? w + o.per_block : s->n_workloads + 1;
        block(&o, w, to);
    }
    if (!o.named) explain_numbers(&o);
}

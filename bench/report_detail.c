/* SPDX-License-Identifier: MIT */
/* The tables behind one run: by group, quarter, match length, source, position, probability. */
#include <math.h>
#include <string.h>

#include "format.h"
#include "session.h"

static void detail_heading(const session_run *r, const char *by, FILE *out) {
    bool fits = strlen(r->drafter) + strlen(by) + 5 <= 80;
    fprintf(out, "\n%s,%sby %s\n", r->drafter, fits ? " " : "\n", by);
}

/* ---- groups, quarters, match lengths: one cell a row -------------------- */

static void cells_heading(const char *first, FILE *out) {
    fprintf(out, "%-*s%9s%10s%9s%12s%7s%7s%6s\n", TABLE_NAME, first, "requests", "steps", "tok/step", "95%",
            "hit%", "T1%", "kept%");
    table_rule(out, 80);
}

static void cell_row(const char *name, const metrics_cell *c, FILE *out) {
    table_name(out, name);
    fprintf(out, "%9s%10s%9s%12s%7s%7s%6s\n", fmt_count(c->requests).text, fmt_count(c->steps).text,
            fmt_real(metrics_tokens_per_step(c), 2).text, fmt_range(c->ci95[0], c->ci95[1]).text,
            fmt_percent(metrics_hit_rate(c)).text, fmt_percent(metrics_top1(c)).text,
            fmt_percent(metrics_acceptance_rate(c)).text);
}

static void groups_table(const session_run *r, FILE *out) {
    detail_heading(r, "group", out);
    cells_heading("group", out);
    for (size_t i = 0; i < r->m.n_groups; i++)
        cell_row(*r->m.group[i].name ? r->m.group[i].name : "(none)", &r->m.group[i].cell, out);
}

static void quarters_table(const session_run *r, FILE *out) {
    static const char *const name[METRICS_QUARTERS] = {"first", "second", "third", "last"};
    detail_heading(r, "quarter of the run", out);
    cells_heading("quarter", out);
    for (size_t i = 0; i < METRICS_QUARTERS; i++) cell_row(name[i], &r->m.quarter[i], out);
}

static void match_name(size_t bucket, char *name, size_t size) {
    uint32_t low, high;
    metrics_match_range(bucket, &low, &high);
    if (bucket == 0)
        snprintf(name, size, "no draft or match");
    else if (low == high)
        snprintf(name, size, "%u", (unsigned)low);
    else if (high == UINT32_MAX)
        snprintf(name, size, "%u and more", (unsigned)low);
    else
        snprintf(name, size, "%u-%u", (unsigned)low, (unsigned)high);
}

static void matches_table(const session_run *r, FILE *out) {
    detail_heading(r, "match length", out);
    fprintf(out, "%-*s%10s%8s%10s%8s%8s%8s\n", TABLE_NAME, "match length", "steps", "share%", "acc/step",
            "hit%", "T1%", "kept%");
    table_rule(out, 72);
    for (size_t i = 0; i < METRICS_MATCHES; i++) {
        const metrics_cell *c = &r->m.match[i];
        char name[40];
        if (c->steps == 0) continue;
        match_name(i, name, sizeof name);
        table_name(out, name);
        fprintf(out, "%10s%8s%10s%8s%8s%8s\n", fmt_count(c->steps).text,
                fmt_percent((double)c->steps / (double)r->m.total.steps).text,
                fmt_real(metrics_accepted_per_step(c), 2).text, fmt_percent(metrics_hit_rate(c)).text,
                fmt_percent(metrics_top1(c)).text, fmt_percent(metrics_acceptance_rate(c)).text);
    }
}

/* ---- sources ------------------------------------------------------------- */

static void no_drafts(const session_run *r, FILE *out) {
    if (!r->m.total.hits) fprintf(out, "(nothing was drafted)\n");
}

static void sources_table(const session_run *r, FILE *out) {
    detail_heading(r, "source of the drafted tokens", out);
    fprintf(out, "%-*s%10s%8s%11s%11s%8s\n", TABLE_NAME, "source", "first in", "T1%", "drafted", "accepted",
            "kept%");
    table_rule(out, 68);
    no_drafts(r, out);
    for (int i = 0; i < 256; i++) {
        const metrics_source *c = &r->m.source[i];
        char name[40];
        if (c->drafted == 0) continue;
        if (i > SPEC_SOURCE_USER)
            snprintf(name, sizeof name, "%s %d", spec_source_name(i), i);
        else
            snprintf(name, sizeof name, "%s", spec_source_name(i));
        table_name(out, name);
        fprintf(out, "%10s%8s%11s%11s%8s\n", fmt_count(c->first).text,
                fmt_percent(c->first ? (double)c->top1 / (double)c->first : NAN).text,
                fmt_count(c->drafted).text, fmt_count(c->accepted).text,
                fmt_percent((double)c->accepted / (double)c->drafted).text);
    }
}

/* ---- positions ----------------------------------------------------------- */

/* 1..8, then fewer and fewer: 12, 16, 24, 32, 48, 64, ... */
static size_t next_position(size_t k) {
    size_t power = 8;
    if (k < 8) return k + 1;
    while (power * 2 <= k) power *= 2;
    return k < power + power / 2 ? power + power / 2 : power * 2;
}

static void positions_table(const session_run *r, FILE *out) {
    const metrics_cell *c = &r->m.total;
    detail_heading(r, "position in the draft", out);
    fprintf(out, "%-*s%11s%11s%14s%14s\n", TABLE_NAME, "position", "offered", "accepted", "if reached %",
            "of drafts %");
    table_rule(out, 70);
    no_drafts(r, out);
    for (size_t k = 1; metrics_offered(c, k); k = next_position(k)) {
        char name[24];
        snprintf(name, sizeof name, "%zu", k);
        table_name(out, name);
        fprintf(out, "%11s%11s%14s%14s\n", fmt_count(metrics_offered(c, k)).text,
                fmt_count(metrics_reached(c, k)).text, fmt_percent(metrics_conditional(c, k)).text,
                fmt_percent(metrics_unconditional(c, k)).text);
    }
}

void report_details(const session *s, size_t workload, FILE *out) {
    for (size_t d = 0; d < s->drafters.n; d++) {
        const session_run *r = session_at(s, workload, d);
        if (s->groups) groups_table(r, out);
        if (s->quarters) quarters_table(r, out);
        if (s->match_lengths) matches_table(r, out);
        if (s->sources) sources_table(r, out);
        if (s->positions) positions_table(r, out);
        if (s->calibration) calibration_table(&r->m.calibration, r->drafter, out);
    }
}

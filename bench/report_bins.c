/* SPDX-License-Identifier: MIT */
/* Reliability tables in Markdown: what nodes of a probability came to, a row for each bin. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "calibration.h"
#include "format.h"
#include "report_file.h"

/* The workload's next run from *at on whose drafter's nodes were judged, or NULL. */
static json_t *next_run(json_t *report, json_t *workload, size_t *at) {
    json_t *runs = json_object_get(report, "runs"), *run;
    const char *name = report_text(workload, "name", "");
    while ((run = json_array_get(runs, (*at)++)) != NULL)
        if (strcmp(report_text(run, "workload", name), name) == 0 &&
            report_number(run, "calibration.nodes") > 0)
            return run;
    return NULL;
}

/* A row: what show makes of each run's value at the path. */
static void row(json_t *report, json_t *workload, const char *path, void (*show)(json_t *of, FILE *out),
                FILE *out) {
    json_t *run;
    for (size_t at = 0; (run = next_run(report, workload, &at)) != NULL;) {
        fputc(' ', out);
        show(report_dig(run, path), out);
        fputs(" |", out);
    }
    fputc('\n', out);
}

static void show_bin(json_t *bin, FILE *out) {
    double said = report_number(bin, "said"), was = report_number(bin, "was");
    if (isnan(said))
        fputc('-', out);
    else
        fprintf(out, "%s: %s", fmt_percent(said).text, fmt_percent(was).text);
}

static void show_all(json_t *c, FILE *out) {
    double bias = report_number(c, "bias");
    fprintf(out, "%s, %+.1f", fmt_percent(report_number(c, "ece")).text, 100 * bias);
}

static void show_steps(json_t *c, FILE *out) {
    fprintf(out, "%s: %s", fmt_ratio(report_number(c, "expected_per_step")).text,
            fmt_ratio(report_number(c, "accepted_per_step")).text);
}

static bool any(json_t *report, json_t *workload, const char *path) {
    json_t *run;
    for (size_t at = 0; (run = next_run(report, workload, &at)) != NULL;)
        if (report_number(report_dig(run, path), "nodes") > 0) return true;
    return false;
}

static void heading(json_t *report, json_t *workload, FILE *out) {
    json_t *run;
    char name[512];
    report_heading(report, workload, out);
    fputs("; % said: % accepted\n\n| probability |", out);
    for (size_t at = 0; (run = next_run(report, workload, &at)) != NULL;) {
        fputc(' ', out);
        report_name(report_label(report, run, name, sizeof name), out);
        fputs(" |", out);
    }
    fputs("\n|---|", out);
    for (size_t at = 0; next_run(report, workload, &at) != NULL;) fputs("---:|", out);
    fputc('\n', out);
}

void report_bins(json_t *report, json_t *workload, FILE *out) {
    if (!any(report, workload, "calibration")) return;
    heading(report, workload, out);
    for (size_t b = 0; b < CALIBRATION_BINS; b++) {
        char path[40];
        snprintf(path, sizeof path, "calibration.bins.%zu", b);
        if (!any(report, workload, path)) continue;
        fprintf(out, "| %.2f-%.2f |", (double)b / CALIBRATION_BINS, (double)(b + 1) / CALIBRATION_BINS);
        row(report, workload, path, show_bin, out);
    }
    fputs("| ECE, bias (points) |", out);
    row(report, workload, "calibration", show_all, out);
    fputs("| accepted a step |", out);
    row(report, workload, "calibration", show_steps, out);
}

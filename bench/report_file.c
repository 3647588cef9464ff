/* SPDX-License-Identifier: MIT */
/* Reading reports, and what all their tables need. */
#include "report_file.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "util.h"

json_t *report_dig(json_t *from, const char *path) {
    char name[64];
    while (from && *path) {
        size_t n = strcspn(path, ".");
        if (n >= sizeof name) return NULL;
        memcpy(name, path, n);
        name[n] = '\0';
        from = json_is_array(from) ? json_array_get(from, (size_t)strtoul(name, NULL, 10))
                                   : json_object_get(from, name);
        path += n + (path[n] == '.');
    }
    return from;
}

double report_number(json_t *from, const char *path) {
    json_t *v = report_dig(from, path);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

const char *report_text(json_t *from, const char *path, const char *otherwise) {
    json_t *v = report_dig(from, path);
    return json_is_string(v) ? json_string_value(v) : otherwise;
}

/* ---- names -------------------------------------------------------------------- */

static bool same_workload(json_t *a, json_t *b) {
    return strcmp(report_text(a, "workload", ""), report_text(b, "workload", "")) == 0;
}

const char *report_label(json_t *report, json_t *run, char *buf, size_t size) {
    const char *full = report_text(run, "drafter", "?");
    char shown[512];
    json_t *other;
    size_t i;
    fmt_drafter(full, buf, size);
    json_array_foreach(json_object_get(report, "runs"), i, other) {
        const char *name = report_text(other, "drafter", "?");
        if (same_workload(run, other) && strcmp(name, full) != 0 &&
            strcmp(fmt_drafter(name, shown, sizeof shown), buf) == 0)
            return full;
    }
    return buf;
}

void report_name(const char *name, FILE *out) {
    for (const char *c = name; *c; c++) {
        if (*c == '|') fputc('\\', out);
        fputc(*c, out);
    }
}

static void law(json_t *report, FILE *out) {
    double temperature = report_number(report, "settings.temperature"),
           batch = report_number(report, "settings.batch");
    if (!isnan(temperature) && temperature > 0)
        fprintf(out, ", temperature %g", temperature);
    else if (!isnan(temperature))
        fputs(", greedy", out);
    if (!isnan(report_number(report, "settings.budget")))
        fprintf(out, ", budget %.0f", report_number(report, "settings.budget"));
    if (batch > 1) fprintf(out, ", batch %.0f", batch);
}

void report_heading(json_t *report, json_t *workload, FILE *out) {
    double requests = report_number(workload, "requests");
    fprintf(out, "\n**%s**: %.0f request%s, %.0f response tokens", report_text(workload, "name", ""),
            requests, requests == 1 ? "" : "s", report_number(workload, "response_tokens"));
    law(report, out);
}

/* ---- files ---------------------------------------------------------------------- */

/* Drafted nodes a step are not in the report, but both parts are. */
static void add_drafted(json_t *runs) {
    size_t i;
    json_t *run;
    json_array_foreach(runs, i, run) {
        double steps = report_number(run, "steps"), drafted = report_number(run, "tokens_drafted");
        if (steps > 0) json_object_set_new(run, "drafted_per_step", json_real(drafted / steps));
    }
}

json_t *report_read(const char *path) {
    json_error_t error;
    json_t *report = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!report) {
        if (error.line > 0)
            bench_complain("%s, line %d, column %d: %s; expected a JSON report", path, error.line,
                           error.column, error.text);
        else
            bench_complain("%s: %s", path, error.text);
        return NULL;
    }
    const char *schema = report_text(report, "schema", "none");
    bool known = strcmp(schema, "specbench/1") == 0;
    if (known && json_is_array(json_object_get(report, "runs")) &&
        json_is_array(json_object_get(report, "workloads"))) {
        add_drafted(json_object_get(report, "runs"));
        return report;
    }
    bench_complain("%s: %s%.40s%s; expected a report of run, replay or demo, schema specbench/1", path,
                   known ? "no runs" : "schema '", known ? "" : schema, known ? "" : "'");
    json_decref(report);
    return NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * specbench report: the JSON reports of run, replay and demo as tables in Markdown, for
 * documents. Nothing is measured or computed here: what a table shows stands in the
 * report under that name (docs/METRICS.md).
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "commands.h"
#include "format.h"
#include "util.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- values --------------------------------------------------------------- */

/* "ci95.tokens_per_step.0": a member of members; NULL where there is none. */
static json_t *dig(json_t *from, const char *path) {
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

static double number(json_t *from, const char *path) {
    json_t *v = dig(from, path);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static const char *text(json_t *from, const char *path, const char *otherwise) {
    json_t *v = dig(from, path);
    return json_is_string(v) ? json_string_value(v) : otherwise;
}

/* ---- a table ---------------------------------------------------------------- */

typedef enum kind { REAL, RATIO, PERCENT, MICROSECONDS, INTERVAL, WHETHER } kind;

static const struct column {
    const char *title, *path;
    kind kind;
} column[] = {
    {"hit %", "hit_rate", PERCENT},
    {"top-1 %", "top1", PERCENT},
    {"drafted / step", "drafted_per_step", RATIO},
    {"kept %", "acceptance_rate", PERCENT},
    {"tokens / step", "tokens_per_step", RATIO},
    {"95%", "ci95.tokens_per_step", INTERVAL},
    {"draft us", "draft_us.mean", MICROSECONDS},
    {"update us", "update_us.mean", MICROSECONDS},
    {"verify us", "verify_us.mean", MICROSECONDS},
    {"speedup", "speedup", RATIO},
    {"95%", "speedup_ci95", INTERVAL},
    {"same", "identical", WHETHER},
};

/* Whether some run of the report has the column. */
static bool wanted(json_t *runs, const struct column *c) {
    size_t i;
    json_t *run;
    json_array_foreach(runs, i, run) {
        json_t *v = dig(run, c->path);
        if (v && !json_is_null(v)) return true;
    }
    return false;
}

static void cell(json_t *run, const struct column *c, FILE *out) {
    double v = number(run, c->path);
    const char *shown = "-";
    fmt f;
    if (c->kind == INTERVAL) {
        json_t *pair = dig(run, c->path);
        f = fmt_range(number(pair, "0"), number(pair, "1"));
        if (!isnan(number(pair, "0"))) shown = f.text;
    } else if (c->kind == WHETHER) {
        json_t *same = dig(run, c->path);
        shown = json_is_true(same) ? "yes" : json_is_false(same) ? "**NO**" : "-";
    } else if (!isnan(v)) {
        f = c->kind == PERCENT        ? fmt_percent(v)
            : c->kind == MICROSECONDS ? fmt_real(v, v < 100 ? 1 : 0)
                                      : fmt_ratio(v);
        shown = f.text;
    }
    fprintf(out, " %s |", shown);
}

static bool same_workload(json_t *a, json_t *b) {
    return strcmp(text(a, "workload", ""), text(b, "workload", "")) == 0;
}

/* What a run's row is called: files without their folders, unless that is another run's name too. */
static const char *label(json_t *report, json_t *run, char *buf, size_t size) {
    const char *full = text(run, "drafter", "?");
    char shown[512];
    json_t *other;
    size_t i;
    fmt_drafter(full, buf, size);
    json_array_foreach(json_object_get(report, "runs"), i, other) {
        const char *name = text(other, "drafter", "?");
        if (same_workload(run, other) && strcmp(name, full) != 0 &&
            strcmp(fmt_drafter(name, shown, sizeof shown), buf) == 0)
            return full;
    }
    return buf;
}

/* A drafter's name, safe within a table. */
static void drafter(const char *name, FILE *out) {
    for (const char *c = name; *c; c++) {
        if (*c == '|') fputc('\\', out);
        fputc(*c, out);
    }
}

static void law(json_t *report, FILE *out) {
    double temperature = number(report, "settings.temperature"), batch = number(report, "settings.batch");
    if (!isnan(temperature) && temperature > 0)
        fprintf(out, ", temperature %g", temperature);
    else if (!isnan(temperature))
        fputs(", greedy", out);
    if (!isnan(number(report, "settings.budget")))
        fprintf(out, ", budget %.0f", number(report, "settings.budget"));
    if (batch > 1) fprintf(out, ", batch %.0f", batch);
}

static void table(json_t *report, json_t *workload, FILE *out) {
    const char *name = text(workload, "name", "");
    json_t *runs = json_object_get(report, "runs"), *run;
    char row[512];
    size_t i;
    double requests = number(workload, "requests");
    fprintf(out, "\n**%s**: %.0f request%s, %.0f response tokens", name, requests, requests == 1 ? "" : "s",
            number(workload, "response_tokens"));
    law(report, out);
    fputs("\n\n| drafter |", out);
    for (size_t c = 0; c < COUNT(column); c++)
        if (wanted(runs, &column[c])) fprintf(out, " %s |", column[c].title);
    fputs("\n|---|", out);
    for (size_t c = 0; c < COUNT(column); c++)
        if (wanted(runs, &column[c])) fputs("---:|", out);
    fputc('\n', out);
    json_array_foreach(runs, i, run) {
        if (strcmp(text(run, "workload", name), name) != 0) continue;
        fputs("| ", out);
        drafter(label(report, run, row, sizeof row), out);
        fputs(" |", out);
        for (size_t c = 0; c < COUNT(column); c++)
            if (wanted(runs, &column[c])) cell(run, &column[c], out);
        fputc('\n', out);
    }
}

/* ---- one figure across workloads ---------------------------------------------- */

typedef struct job {
    json_t **report; /* (n) */
    size_t n;
    cli_list across; /* columns' names */
} job;

static const struct column *column_named(const char *name) {
    for (size_t i = 0; i < COUNT(column); i++) {
        size_t n = strcspn(column[i].path, ".");
        bool single = column[i].kind != INTERVAL && column[i].kind != WHETHER;
        if (single && strlen(name) == n && memcmp(column[i].path, name, n) == 0) return &column[i];
    }
    return NULL;
}

/* The n-th workload of all reports, and its report; NULL behind the last. */
static json_t *workload_at(const job *j, size_t n, json_t **report) {
    for (size_t i = 0; i < j->n; i++) {
        json_t *workloads = json_object_get(j->report[i], "workloads");
        *report = j->report[i];
        if (n < json_array_size(workloads)) return json_array_get(workloads, n);
        n -= json_array_size(workloads);
    }
    return NULL;
}

/* The drafter's run on the workload, or NULL. */
static json_t *run_of(json_t *report, json_t *workload, const char *drafter_label) {
    const char *of = text(workload, "name", "");
    char name[512];
    size_t i;
    json_t *run;
    json_array_foreach(json_object_get(report, "runs"), i, run) {
        if (strcmp(text(run, "workload", of), of) == 0 &&
            strcmp(label(report, run, name, sizeof name), drafter_label) == 0)
            return run;
    }
    return NULL;
}

/* Drafters of all runs, each once, as {shown: null}: an object keeps the order. NULL: no memory. */
static json_t *all_drafters(const job *j) {
    json_t *all = json_object(), *run;
    bool good = all != NULL;
    char name[512];
    for (size_t i = 0; i < j->n; i++) {
        size_t k;
        json_array_foreach(json_object_get(j->report[i], "runs"), k, run) {
            const char *shown = label(j->report[i], run, name, sizeof name);
            good = good && json_object_set_new(all, shown, json_null()) == 0;
        }
    }
    if (good) return all;
    json_decref(all);
    return NULL;
}

static void matrix_heading(const job *j, const struct column *c, FILE *out) {
    json_t *report, *workload;
    fprintf(out, "\n| %s |", c->title);
    for (size_t w = 0; (workload = workload_at(j, w, &report)) != NULL; w++) {
        double temperature = number(report, "settings.temperature");
        fprintf(out, " %s", text(workload, "name", ""));
        if (temperature > 0) fprintf(out, ", T %g", temperature);
        fputs(" |", out);
    }
    fputs("\n|---|", out);
    for (size_t w = 0; workload_at(j, w, &report); w++) fputs("---:|", out);
    fputc('\n', out);
}

static void matrix(const job *j, json_t *drafters, const struct column *c, FILE *out) {
    const char *shown;
    json_t *report, *workload, *unused;
    matrix_heading(j, c, out);
    json_object_foreach(drafters, shown, unused) {
        fputs("| ", out);
        drafter(shown, out);
        fputs(" |", out);
        for (size_t w = 0; (workload = workload_at(j, w, &report)) != NULL; w++)
            cell(run_of(report, workload, shown), c, out);
        fputc('\n', out);
    }
}

static int write_matrices(FILE *out, const job *j) {
    json_t *drafters = all_drafters(j);
    if (!drafters) return -1;
    for (size_t i = 0; i < j->across.n; i++) matrix(j, drafters, column_named(j->across.item[i]), out);
    json_decref(drafters);
    return 0;
}

static int check_across(const cli_command *c, const job *j) {
    for (size_t i = 0; i < j->across.n; i++)
        if (!column_named(j->across.item[i]))
            return cli_complain(c,
                                "--across: expected hit_rate, top1, drafted_per_step, acceptance_rate, "
                                "tokens_per_step, draft_us, update_us, verify_us or speedup, found '%s'",
                                j->across.item[i]);
    return CLI_RUN;
}

/* Drafted nodes a step are not in the report, but both parts are. */
static void add_drafted(json_t *runs) {
    size_t i;
    json_t *run;
    json_array_foreach(runs, i, run) {
        double steps = number(run, "steps"), drafted = number(run, "tokens_drafted");
        if (steps > 0) json_object_set_new(run, "drafted_per_step", json_real(drafted / steps));
    }
}

/* ---- files ------------------------------------------------------------------ */

static json_t *read_report(const char *path) {
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
    const char *schema = text(report, "schema", "none");
    bool known = strcmp(schema, "specbench/1") == 0;
    if (known && json_is_array(json_object_get(report, "runs")) &&
        json_is_array(json_object_get(report, "workloads")))
        return report;
    bench_complain("%s: %s%.40s%s; expected a report of run, replay or demo, schema specbench/1", path,
                   known ? "no runs" : "schema '", known ? "" : schema, known ? "" : "'");
    json_decref(report);
    return NULL;
}

static int write_tables(FILE *out, void *user) {
    const job *j = user;
    if (j->across.n && write_matrices(out, j)) return -1;
    for (size_t i = 0; i < j->n && !j->across.n; i++) {
        size_t k;
        json_t *workload;
        json_array_foreach(json_object_get(j->report[i], "workloads"), k, workload) {
            table(j->report[i], workload, out);
        }
    }
    return ferror(out) ? -1 : 0;
}

static int emit(const job *j, const char *output) {
    spec_message why = {""};
    if (!output) {
        (void)write_tables(stdout, (void *)j);
        return EXIT_DONE;
    }
    if (bench_write_file(output, write_tables, (void *)j, &why) == SPEC_OK) return EXIT_DONE;
    bench_complain("-o: %s", why.text);
    return EXIT_USAGE;
}

int cmd_report(int argc, char **argv) {
    const char *output = NULL;
    cli_list files = {0};
    job j = {.report = NULL};
    const cli_option option[] = {
        {'a', "across", "FIGURE", CLI_LIST, &j.across,
         "only this figure, drafters down and workloads across: hit_rate, top1, drafted_per_step, "
         "acceptance_rate, tokens_per_step, draft_us, update_us, verify_us or speedup; repeatable",
         0, 0, NULL},
        {'o', "output", "FILE", CLI_TEXT, &output, "where to (default: standard output)", 0, 0, NULL},
    };
    const cli_command c = {"report",
                           "FILE...",
                           "Prints the JSON reports of run, replay and demo as tables in Markdown, one for\n"
                           "each workload. docs/METRICS.md says what the columns mean.",
                           option,
                           COUNT(option),
                           "  specbench run -m model.gguf -p prompts.jsonl -d suffix --json a.json\n"
                           "  specbench report a.json -o tables.md\n"
                           "  specbench report a.json b.json --across speedup\n",
                           1,
                           SIZE_MAX,
                           "expected a JSON report"};
    int rc = cli_parse(&c, argc, argv, &files);
    if (rc == CLI_RUN) rc = cli_check_output(&c, "-o", output, files.item, files.n);
    if (rc == CLI_RUN) rc = check_across(&c, &j);
    int code = rc == CLI_DONE ? EXIT_DONE : EXIT_USAGE;
    if (rc == CLI_RUN) j.report = calloc(files.n, sizeof *j.report);
    bool good = j.report != NULL;
    for (size_t i = 0; good && i < files.n; i++) {
        good = (j.report[i] = read_report(files.item[i])) != NULL;
        if (good) add_drafted(json_object_get(j.report[j.n++], "runs"));
    }
    if (good) code = emit(&j, output);
    for (size_t i = 0; j.report && i < j.n; i++) json_decref(j.report[i]);
    free(j.report);
    cli_list_free(&j.across);
    cli_list_free(&files);
    return code;
}

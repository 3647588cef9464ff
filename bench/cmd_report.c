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
#include "report_file.h"
#include "util.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- a table ---------------------------------------------------------------- */

typedef enum kind { REAL, RATIO, PERCENT, MICROSECONDS, INTERVAL, WHETHER } kind;

static const struct column {
    const char *title, *path;
    kind kind;
    const char *name; /* in --across; NULL: not there */
} column[] = {
    {"hit %", "hit_rate", PERCENT, "hit_rate"},
    {"top-1 %", "top1", PERCENT, "top1"},
    {"drafted / step", "drafted_per_step", RATIO, "drafted_per_step"},
    {"kept %", "acceptance_rate", PERCENT, "acceptance_rate"},
    {"tokens / step", "tokens_per_step", RATIO, "tokens_per_step"},
    {"95%", "ci95.tokens_per_step", INTERVAL, NULL},
    {"limit %", "share_of_limit", PERCENT, "share_of_limit"},
    {"ECE %", "calibration.ece", PERCENT, "ece"},
    {"draft us", "draft_us.mean", MICROSECONDS, "draft_us"},
    {"update us", "update_us.mean", MICROSECONDS, "update_us"},
    {"verify us", "verify_us.mean", MICROSECONDS, "verify_us"},
    {"speedup", "speedup", RATIO, "speedup"},
    {"95%", "speedup_ci95", INTERVAL, NULL},
    {"same", "identical", WHETHER, NULL},
};

/* Whether some run of the report has the column. */
static bool wanted(json_t *runs, const struct column *c) {
    size_t i;
    json_t *run;
    json_array_foreach(runs, i, run) {
        json_t *v = report_dig(run, c->path);
        if (v && !json_is_null(v)) return true;
    }
    return false;
}

static void cell(json_t *run, const struct column *c, FILE *out) {
    double v = report_number(run, c->path);
    const char *shown = "-";
    fmt f;
    if (c->kind == INTERVAL) {
        json_t *pair = report_dig(run, c->path);
        f = fmt_range(report_number(pair, "0"), report_number(pair, "1"));
        if (!isnan(report_number(pair, "0"))) shown = f.text;
    } else if (c->kind == WHETHER) {
        json_t *same = report_dig(run, c->path);
        shown = json_is_true(same) ? "yes" : json_is_false(same) ? "**NO**" : "-";
    } else if (!isnan(v)) {
        f = c->kind == PERCENT        ? fmt_percent(v)
            : c->kind == MICROSECONDS ? fmt_real(v, v < 100 ? 1 : 0)
                                      : fmt_ratio(v);
        shown = f.text;
    }
    fprintf(out, " %s |", shown);
}

static void table(json_t *report, json_t *workload, FILE *out) {
    const char *name = report_text(workload, "name", "");
    json_t *runs = json_object_get(report, "runs"), *run;
    char row[512];
    size_t i;
    report_heading(report, workload, out);
    fputs("\n\n| drafter |", out);
    for (size_t c = 0; c < COUNT(column); c++)
        if (wanted(runs, &column[c])) fprintf(out, " %s |", column[c].title);
    fputs("\n|---|", out);
    for (size_t c = 0; c < COUNT(column); c++)
        if (wanted(runs, &column[c])) fputs("---:|", out);
    fputc('\n', out);
    json_array_foreach(runs, i, run) {
        if (strcmp(report_text(run, "workload", name), name) != 0) continue;
        fputs("| ", out);
        report_name(report_label(report, run, row, sizeof row), out);
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
    bool calibration;
    const char *list;
    size_t what; /* of report_lists */
} job;

static const struct column *column_named(const char *name) {
    for (size_t i = 0; i < COUNT(column); i++)
        if (column[i].name && strcmp(column[i].name, name) == 0) return &column[i];
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
    const char *of = report_text(workload, "name", "");
    char name[512];
    size_t i;
    json_t *run;
    json_array_foreach(json_object_get(report, "runs"), i, run) {
        if (strcmp(report_text(run, "workload", of), of) == 0 &&
            strcmp(report_label(report, run, name, sizeof name), drafter_label) == 0)
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
            const char *shown = report_label(j->report[i], run, name, sizeof name);
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
        double temperature = report_number(report, "settings.temperature");
        fprintf(out, " %s", report_text(workload, "name", ""));
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
        report_name(shown, out);
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

static int check_job(const cli_command *c, job *j) {
    if ((j->across.n > 0) + j->calibration + (j->list != NULL) > 1)
        return cli_complain(c, "--across, --calibration and --list exclude one another");
    while (j->list && report_lists[j->what] && strcmp(report_lists[j->what], j->list) != 0) j->what++;
    if (!report_lists[j->what])
        return cli_complain(c, "--list: expected runs, bins or matches, found '%s'", j->list);

    for (size_t i = 0; i < j->across.n; i++)
        if (!column_named(j->across.item[i]))
            return cli_complain(c,
                                "--across: expected hit_rate, top1, drafted_per_step, acceptance_rate, "
                                "tokens_per_step, share_of_limit, ece, draft_us, update_us, verify_us or "
                                "speedup, found '%s'",
                                j->across.item[i]);
    return CLI_RUN;
}

/* ---- files ------------------------------------------------------------------ */

static int write_tables(FILE *out, void *user) {
    const job *j = user;
    if (j->across.n && write_matrices(out, j)) return -1;
    if (j->list) report_list(j->report, j->n, j->what, out);
    for (size_t i = 0; i < j->n && !j->across.n && !j->list; i++) {
        size_t k;
        json_t *workload;
        json_array_foreach(json_object_get(j->report[i], "workloads"), k, workload) {
            (j->calibration ? report_bins : table)(j->report[i], workload, out);
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
         "acceptance_rate, tokens_per_step, share_of_limit, ece, draft_us, update_us, verify_us or "
         "speedup; repeatable",
         0, 0, NULL},
        {0, "calibration", NULL, CLI_FLAG, &j.calibration,
         "reliability tables instead: what nodes of a probability came to", 0, 0, NULL},
        {0, "list", "WHAT", CLI_TEXT, &j.list,
         "tab-separated values instead, with all digits: runs, bins (of calibration) or matches (by match "
         "length)",
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
                           "  specbench report a.json b.json --across speedup\n"
                           "  specbench report a.json --list runs | cut -f 1,2,10\n",
                           1,
                           SIZE_MAX,
                           "expected a JSON report"};
    int rc = cli_parse(&c, argc, argv, &files);
    if (rc == CLI_RUN) rc = cli_check_output(&c, "-o", output, files.item, files.n);
    if (rc == CLI_RUN) rc = check_job(&c, &j);
    int code = rc == CLI_DONE ? EXIT_DONE : EXIT_USAGE;
    if (rc == CLI_RUN) j.report = calloc(files.n, sizeof *j.report);
    bool good = j.report != NULL;
    for (size_t i = 0; good && i < files.n; i++) {
        good = (j.report[i] = report_read(files.item[i])) != NULL;
        if (good) j.n++;
    }
    if (good) code = emit(&j, output);
    for (size_t i = 0; j.report && i < j.n; i++) json_decref(j.report[i]);
    free(j.report);
    cli_list_free(&j.across);
    cli_list_free(&files);
    return code;
}

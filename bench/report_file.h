/* SPDX-License-Identifier: MIT */
/* report_file.h - reading JSON reports, schema "specbench/1" (docs/FORMATS.md), and showing them again. */
#ifndef BENCH_REPORT_FILE_H
#define BENCH_REPORT_FILE_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/* A report of run, replay or demo, every run with a "drafted_per_step" more than the file has; the
 * caller releases it. NULL after a message. */
json_t *report_read(const char *path);

/* "ci95.tokens_per_step.0": a member of members; NULL where there is none. */
json_t *report_dig(json_t *from, const char *path);
double report_number(json_t *from, const char *path); /* NaN where there is none */
const char *report_text(json_t *from, const char *path, const char *otherwise);

/* What a run's row is called: files without their folders, unless that is another run's name too. */
const char *report_label(json_t *report, json_t *run, char *buf, size_t size);
/* A name, safe within a table of Markdown. */
void report_name(const char *name, FILE *out);

/* A heading without its line end: the workload, its size, how it was decoded. */
void report_heading(json_t *report, json_t *workload, FILE *out);

/* Reliability tables in Markdown, bins down and drafters across (report_bins.c). */
void report_bins(json_t *report, json_t *workload, FILE *out);

/* Tab-separated values with a line of names (report_list.c): all runs, bins or match lengths. */
void report_list(json_t *const *report, size_t n, size_t what, FILE *out);
/* Which of them; NULL behind the last. */
extern const char *const report_lists[];

#endif

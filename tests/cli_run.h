/* SPDX-License-Identifier: MIT */
/*
 * cli_run.h - running specbench from a test: in a temporary directory with some
 * traces, and looking at what it printed. Failures fail the test.
 */
#ifndef TESTS_CLI_RUN_H
#define TESTS_CLI_RUN_H

#include <jansson.h>

#include "support.h"

#define ONE "{\"id\":\"r1\",\"group\":\"g\",\"prompt\":[1,2,3,4],\"response\":[2,3,4,9]}\n"
#define TWO "{\"id\":\"r2\",\"group\":\"h\",\"prompt\":[5],\"response\":[2,3,4,9,7,7]}\n"

/* A group's fixture. Makes good.jsonl (ONE, TWO), other.jsonl (TWO, TWO, ONE),
 * cut.jsonl (ONE and half a line) and none.jsonl (an empty response). */
int cli_set_up(void **state);
int cli_tear_down(void **state);

/* The path of a file in the temporary directory; good for four names in one call. */
const char *cli_at(const char *name);
const char *cli_dir(void);
void cli_write(const char *name, const char *text);

typedef struct cli_result {
    int code;
    char *out, *err; /* what was printed */
} cli_result;

/* Runs "specbench ARGUMENTS" through the shell, in the project's root; `@` in
 * the arguments stands for the temporary directory. */
cli_result cli_run(const char *arguments);
void cli_release(cli_result *r);

/* `word` stands in `text`. */
void cli_has(const char *text, const char *word);

/* Runs; expects the exit code, and words in what was printed ("" = nothing may be). */
void cli_expect(const char *arguments, int code, const char *out, const char *err);

/* No line is wider than a terminal of 80 columns. */
void cli_lines_fit(const char *text);

/* ---- reports ------------------------------------------------------------ */

json_t *cli_parse_json(const char *text);
double cli_number(const json_t *o, const char *key);
void cli_is_number(const json_t *o, const char *key, double expected);
const json_t *cli_member(const json_t *o, const char *key);

/* Runs and returns the first run of the report, and the report to release. */
const json_t *cli_first_run(const char *arguments, json_t **report);

/* Runs, and returns a figure of the first run. */
double cli_figure(const char *arguments, const char *key);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * jout.h - building the JSON of reports. What has no value (a rate with nothing
 * to divide by) becomes null.
 *
 *     jout o = jout_begin();
 *     jout_int(&o, "requests", n); ...
 *     json_t *finished = jout_end(o);    NULL when memory ran out on the way
 */
#ifndef BENCH_JOUT_H
#define BENCH_JOUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Setters steal their value; a refusal of memory is remembered. */
typedef struct jout {
    json_t *o;
    bool failed;
} jout;

jout jout_begin(void);
/* The finished object, or NULL when anything was refused. */
json_t *jout_end(jout x);

void jout_put(jout *x, const char *key, json_t *value);
void jout_int(jout *x, const char *key, uint64_t v);
void jout_real(jout *x, const char *key, double v);
void jout_bool(jout *x, const char *key, bool v);
void jout_text(jout *x, const char *key, const char *v); /* NULL: null */
/* Puts a finished child, or notes its failure. */
void jout_object(jout *x, const char *key, jout child);

/* Values without a key. */
json_t *jout_value(double v); /* null where it is not finite */
json_t *jout_string(const char *v);
/* Appends; a failure makes the list NULL, which shows when it is put. */
json_t *jout_append(json_t *list, json_t *value);

/* How every report begins: "schema", "version", "command", "machine", "build". */
void jout_heading(jout *x, const char *command);
/* Writes the whole report with a line end, and releases it. 0, or not. */
int jout_write(jout x, FILE *out);

/* The option --json: a file, "-" for standard output, or NULL for none. */

/* Whether a report could be written there; an exit code, with a message. */
int jout_check(const char *path);
/* Where tables go: to standard error where the report takes standard output. */
FILE *jout_tables(const char *path);
/* Writes what fill(f, user) writes, which returns 0 when it is content; nothing
 * without a path. An exit code, with a message. */
int jout_report(const char *path, int (*fill)(FILE *f, void *user), void *user);

#endif

/* SPDX-License-Identifier: MIT */
/* jsonl.h - files of JSON lines: traces and prompts. */
#ifndef BENCH_JSONL_H
#define BENCH_JSONL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "specdec.h"
#include "specp.h"

typedef struct jsonl jsonl;

struct jsonl {
    /* set by the caller */
    const char *path;     /* as the user wrote it, for messages */
    const char *kind;     /* "trace" */
    const char *expected; /* "one JSON object a line, {...}" */
    bool skip_bad;        /* count faulty lines instead of stopping at the first */
    /* Called for each line that holds an object; what it returns ends the reading,
     * or counts as a faulty line when it is SPEC_ERR_CORRUPT. */
    int (*object)(jsonl *r, const json_t *line);
    void *user;
    spec_message *why; /* never NULL */
    /* results */
    size_t line; /* of the file, from 1 */
    size_t n_bad;
    char *first_bad; /* what was wrong with the first faulty line: the caller's to free */
};

/* Reads the file. A byte order mark, CRLF and blank lines are tolerated. On failure *why
 * names file, line and what was expected. SPEC_ERR_NOT_FOUND, SPEC_ERR_IO, SPEC_ERR_CORRUPT,
 * SPEC_ERR_NOMEM, and what object() returned. */
int jsonl_load(jsonl *r);
/* The same from memory. */
int jsonl_parse(jsonl *r, const char *text, size_t n);

/* For object(): "FILE:LINE: " and the rest; SPEC_ERR_CORRUPT. */
int jsonl_fault(const jsonl *r, const char *format, ...) SPECP_PRINTF(2, 3);
/* "an array". */
const char *jsonl_type(const json_t *v);
/* The array `field` of a line; *out is the caller's to free, on failure too. */
int jsonl_tokens(const jsonl *r, const json_t *line, const char *field, spec_token **out, size_t *n);
/* A string or an integer as text, "" when there is none; the caller's to free. */
int jsonl_name(const jsonl *r, const json_t *line, const char *field, char **out);

/* The file's name without directories and .jsonl, or NULL: the caller's to free. */
char *jsonl_stem(const char *path);

#endif

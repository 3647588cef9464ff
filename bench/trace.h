/* SPDX-License-Identifier: MIT */
/*
 * trace.h - recorded requests: reading trace files, and the in-memory form that
 * replay, the corpus commands and the demo workload share.
 */
#ifndef BENCH_TRACE_H
#define BENCH_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "specdec.h"

typedef struct trace_request {
    char *id;           /* "" when the file gave none */
    char *group;        /* likewise */
    spec_token *prompt; /* (n_prompt) */
    size_t n_prompt;
    spec_token *response; /* (n_response), never empty in a loaded trace */
    size_t n_response;
    size_t max_new_tokens; /* the limit that the recorded run had, as drafters were told; 0 = none */
} trace_request;

typedef struct trace {
    char *name;         /* file name without directory and .jsonl, or the workload's name */
    trace_request *req; /* (n), in arrival order */
    size_t n, cap;
    size_t n_empty;  /* requests left out because their response is empty */
    size_t n_bad;    /* lines left out under skip_bad */
    char *first_bad; /* what was wrong with the first of them, or NULL */
} trace;

/* Reads a JSON-lines trace file (docs/FORMATS.md). With skip_bad, faulty lines
 * are counted and left out; without, the first one is an error. On failure *why
 * names the file, the line and what was expected, and *out is empty.
 * SPEC_ERR_NOT_FOUND, SPEC_ERR_IO, SPEC_ERR_CORRUPT, SPEC_ERR_NOMEM;
 * SPEC_ERR_UNSUPPORTED: a file of prompts without responses. */
int trace_load(trace *out, const char *path, bool skip_bad, spec_message *why);

/* The same from memory, for tests and fuzzing; `name` stands for the path in messages. */
int trace_parse(trace *out, const char *name, const char *text, size_t n, bool skip_bad, spec_message *why);

/* Adds a request, copying everything. SPEC_ERR_NOMEM. */
int trace_add(trace *t, const char *id, const char *group, const spec_token *prompt, size_t n_prompt,
              const spec_token *response, size_t n_response);

/* Writes a request as a line. 0, or not: out of memory, or ferror(f). */
int trace_write(FILE *f, const trace_request *q);

/* Puts the requests in an order that depends on the seed alone (Fisher-Yates). */
void trace_shuffle(trace *t, unsigned long long seed);

void trace_free(trace *t);

#endif

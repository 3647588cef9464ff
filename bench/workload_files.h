/* SPDX-License-Identifier: MIT */
/* workload_files.h - the source files that the kind "edits" changes. */
#ifndef BENCH_WORKLOAD_FILES_H
#define BENCH_WORKLOAD_FILES_H

#include "workload_gen.h"

#define WL_MAX_FUNCTIONS 12

/* How files of a language are put together. Functions begin at a line that
 * starts with `opener` and end before the next empty line. */
typedef struct wl_language {
    const char *fence, *suffix, *opener;
    const char *head;                       /* imports, constants, a record type */
    const char *function[WL_MAX_FUNCTIONS]; /* a NULL ends them */
    const char *guard, *log, *comment;      /* lines to insert; {$argument} is the function's */
    bool comment_inside;                    /* below the line that opens a function, or above it */
} wl_language;

typedef struct wl_repository {
    const char *name;
    const wl_language *language;
    const char *entities; /* what its files are about, one each */
} wl_repository;

extern const wl_repository wl_repositories[];
extern const size_t wl_n_repositories;
extern const wl_rule_table wl_file_rules;

#endif

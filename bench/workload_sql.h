/* SPDX-License-Identifier: MIT */
/* workload_sql.h - the catalogues that the kind "sql" asks about. */
#ifndef BENCH_WORKLOAD_SQL_H
#define BENCH_WORKLOAD_SQL_H

#include "workload_gen.h"

#define WL_MAX_COLUMNS 10

/*
 * Roles: k primary key, f foreign key (extra: the table), t label, c category
 * (extra: its values), n number, d date, x anything else. A table with at least
 * one each of f, n, d and c can be asked about; a table that others refer to
 * has a key and a label.
 */
typedef struct wl_column {
    const char *name, *type;
    char role;
    const char *extra;
} wl_column;

typedef struct wl_table_def {
    const char *name, *alias;
    wl_column column[WL_MAX_COLUMNS]; /* a NULL name ends them */
} wl_table_def;

typedef struct wl_catalogue {
    const char *name;
    uint32_t style; /* 0 bare SQL, 1 in a code block, 2 with a sentence after it */
    const wl_table_def *table;
    size_t n_tables;
} wl_catalogue;

extern const wl_catalogue wl_catalogues[];
extern const size_t wl_n_catalogues;

#endif

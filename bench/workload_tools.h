/* SPDX-License-Identifier: MIT */
/* workload_tools.h - the applications whose tools the kind "tools" calls. */
#ifndef BENCH_WORKLOAD_TOOLS_H
#define BENCH_WORKLOAD_TOOLS_H

#include "workload_gen.h"

#define WL_MAX_FIELDS 7
#define WL_MAX_TOOLS  6

/* One argument of a tool, or one field of its result. Its value is a template
 * (alternatives separated by '|') and is bound to its name, so that the texts
 * around the call can use it. */
typedef struct wl_field {
    const char *name, *type, *about, *value;
} wl_field;

typedef struct wl_tool {
    const char *name, *about;
    wl_field in[WL_MAX_FIELDS];  /* a NULL name ends them */
    wl_field out[WL_MAX_FIELDS]; /* likewise */
    uint32_t rows;               /* records in a result */
    const char *ask;             /* what a user says to have it called */
    const char *reply;           /* what is said when it has answered */
} wl_tool;

typedef enum wl_call_style {
    WL_CALL_TAGGED, /* <tool_call> around one line of JSON */
    WL_CALL_PRETTY, /* an indented object in a code block */
    WL_CALL_DENSE,  /* one line without spaces, arguments under "parameters" */
} wl_call_style;

typedef struct wl_application {
    const char *name, *system;
    wl_call_style style;
    uint32_t thought_one_in;      /* how often a sentence goes before the call; 0 = never */
    wl_field fact[WL_MAX_FIELDS]; /* bound when a session opens: what it is about */
    wl_tool tool[WL_MAX_TOOLS];
} wl_application;

extern const wl_application wl_applications[];
extern const size_t wl_n_applications;
extern const wl_rule_table wl_tool_rules;

#endif

/* SPDX-License-Identifier: MIT */
/*
 * session.h - several drafters on several workloads: what replay and demo share.
 * A command fills in the settings, session_run does the work, the report
 * functions show it.
 */
#ifndef BENCH_SESSION_H
#define BENCH_SESSION_H

#include <stdbool.h>
#include <stdio.h>

#include "cli.h"
#include "cost_model.h"
#include "hindsight.h"
#include "metrics.h"
#include "spec_drafter.h"
#include "trace.h"

typedef struct session_run {
    const char *drafter; /* as given */
    size_t workload;     /* its number */
    metrics m;
    spec_drafter_stats stats; /* at the end of the run */
    cost_estimate cost;
} session_run;

typedef struct session {
    /* settings */
    const char *command;
    cli_list drafters;
    cli_list trace_files, warm_files; /* as given; trace_files is empty for generated workloads */
    cli_list left_out;                /* of them, files of prompts without responses */
    trace *workload;                  /* (n_workloads), owned */
    size_t n_workloads;
    trace *warm; /* (n_warm), owned */
    size_t n_warm;
    uint64_t budget, seed;
    double min_prob;           /* of the nodes asked for */
    uint64_t calibration_skip; /* tokens */
    bool shared, skip_bad, quiet;
    bool shuffled;
    uint64_t shuffle_seed;
    uint64_t limit;     /* requests of each workload; 0 = all */
    const char *corpus; /* snapshot file, or NULL */
    const char *json;   /* file, "-", or NULL */
    cost_model cost;
    bool goodput; /* the policy decides how much of the budget is drafted */
    bool groups, quarters, sources, match_lengths, positions, calibration; /* tables wanted */
    bool overview_only; /* the overview instead of a table per workload */
    /* results */
    hindsight *limits; /* (n_workloads) */
    session_run *run;  /* (n_workloads * n_drafters), by workload, then by drafter */
    size_t n_runs;
} session;

/* Defaults for all settings; needs no memory. */
void session_init(session *s, const char *command);
void session_release(session *s);

/* Reads trace_files and warm_files, applies shuffle and limit. Returns an exit
 * code; a message was printed unless it is EXIT_DONE. */
int session_load(session *s);

/* Runs everything, then prints the tables and writes the JSON: nothing is shown
 * of a session that failed. Returns an exit code. */
int session_execute(session *s);

/* The run of a drafter on a workload, by their numbers. */
const session_run *session_at(const session *s, size_t workload, size_t drafter);

void report_tables(const session *s, FILE *out);                   /* report_table.c */
int report_json(FILE *out, void *user);                            /* report_json.c; user: a session */
void report_overview(const session *s, FILE *out);                 /* report_overview.c */
void report_details(const session *s, size_t workload, FILE *out); /* report_detail.c */

#endif

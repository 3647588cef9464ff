/* SPDX-License-Identifier: MIT */
/*
 * live.h - a live session: drafters against plain decoding on one model, in one
 * process, request by request in turn, so that a change of the machine's mood
 * hits all of them alike.
 *
 *     for each repetition
 *         for each request:   plain | drafter 1 | drafter 2 | ...
 *
 * With several sequences side by side (batch > 1) whole runs take turns instead.
 */
#ifndef BENCH_LIVE_H
#define BENCH_LIVE_H

#include <stdio.h>

#include "engine.h"
#include "model_options.h"

typedef struct live_run {
    const char *drafter; /* as given; "plain" for the first */
    engine_run run;      /* of the first repetition */
    uint64_t *decode_ns; /* (responses) median over the repetitions */
    uint64_t *total_ns;  /* the same with the prompt's time */
    double tokens_per_second;
    double speedup, speedup_ci95[2]; /* of decoding, against plain: NaN where there is none */
    double speedup_total;            /* prompts included */
    double break_even;               /* cost of a step over one of plain decoding */
    bool identical;                  /* to plain decoding, in every repetition */
    bool sampled;                    /* drafts are drawn: the text may be another of the same law */
    size_t differs_response, differs_at;
    enum { LIVE_REPLAY_NONE, LIVE_REPLAY_SAME, LIVE_REPLAY_DIFFERS } replay;
    const char *replay_note; /* why there was none, or what differs */
} live_run;

typedef struct live {
    /* settings */
    const char *command; /* "run" */
    cli_list drafters;
    model_options model;
    const char *prompt_file, *prompt_text; /* one of them, or prompts already filled in */
    prompts prompts;
    uint64_t limit, max_tokens, budget, batch, seed, repeat;
    double temperature, top_p, min_p, penalty;
    uint64_t top_k;
    bool goodput; /* the policy decides how much of the budget is drafted */
    cost_model cost;
    const char *chat;
    cli_list stop;
    bool ignore_eos, skip_bad, quiet;
    bool calibration; /* the table is wanted */
    uint64_t calibration_skip;
    bool brief; /* the first table alone */
    const char *record, *json;
    /* while running */
    spec_target *target;
    spec_tokenizer *tokenizer;
    spec_sampling sampling;
    engine_settings engine;
    /* results */
    live_run *run; /* (n_runs): plain, then the drafters in order */
    size_t n_runs;
    double copy_limit; /* tokens per step that copying could reach; NaN with batches */
    size_t peak_bytes; /* resident memory at most, of the process */
} live;

/* Defaults for all settings; needs no memory. */
void live_init(live *s, const char *command);
void live_release(live *s);
/* Loads, runs, shows. Returns an exit code; a message was printed unless it is EXIT_DONE. */
int live_execute(live *s);

void report_live(const live *s, FILE *out);  /* report_live.c */
int report_live_json(FILE *out, void *user); /* report_live_json.c; user: a live */

#endif

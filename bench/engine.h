/* SPDX-License-Identifier: MIT */
/*
 * engine.h - live decoding on the target model with a drafter: what an inference
 * engine does around the library, and the clock beside it.
 */
#ifndef BENCH_ENGINE_H
#define BENCH_ENGINE_H

#include <stdbool.h>

#include "cli.h"
#include "metrics.h"
#include "prompts.h"
#include "proposer.h"
#include "spec_chat.h"
#include "spec_drafter.h"
#include "spec_sampling.h"
#include "spec_target.h"
#include "spec_tokenizer.h"
#include "trace.h"

typedef enum engine_end {
    ENGINE_END_LIMIT,   /* max_tokens */
    ENGINE_END_EOS,     /* an end-of-sequence token, which is the response's last */
    ENGINE_END_STOP,    /* a stop string */
    ENGINE_END_CONTEXT, /* the sequence is full */
} engine_end;

typedef struct engine_settings {
    spec_target *target;
    const spec_tokenizer *tokenizer; /* NULL: all prompts are ids */
    spec_chat chat;                  /* SPEC_CHAT_NONE: text as it stands */
    const prompts *prompts;          /* ids are of the model's vocabulary (prompts_check_ids) */
    size_t max_tokens;               /* of a response */
    uint32_t budget;                 /* nodes of a draft, 1..SPEC_TREE_MAX_NODES */
    size_t batch;                    /* sequences decoded side by side, at least 1 */
    const spec_sampling *sampling;   /* NULL: greedy */
    uint64_t seed;                   /* of sampling, of drafters that draw, of intervals */
    uint64_t calibration_skip;       /* see calibration.h */
    bool ignore_eos;
    const cli_list *stop; /* stop strings; NULL: none. They need the tokenizer */
    bool check_cache;     /* after every round, compare each cache with a fresh prefill: slow */
} engine_settings;

typedef struct engine_response {
    size_t prompt, turn; /* whose */
    spec_token *asked;   /* (n_asked) the prompt's tokens, earlier turns included; 0 = left out */
    size_t n_asked;
    spec_token *token; /* (n) the response */
    size_t n, cap;
    size_t limit; /* tokens it might have had */
    engine_end end;
    uint64_t prompt_ns; /* running the model on the prompt, and telling the drafter */
    uint64_t decode_ns; /* everything after it; with several side by side, its share of a pass */
} engine_response;

#define ENGINE_TICK_NS 10

/* Forward passes of one size. */
typedef struct engine_pass {
    uint64_t count, ns;
} engine_pass;

typedef struct engine_run {
    engine_response *response; /* (n) one for each turn, in the prompts' order */
    size_t n;
    metrics m;
    engine_pass *pass; /* (n_pass) by rows of the pass: tokens fed and drafted */
    size_t n_pass, cap_pass;
    uint32_t *verify_ticks; /* (n_verify) of ENGINE_TICK_NS: 40 seconds fit */
    size_t n_verify, cap_verify;
    stats_times verify;                         /* nanoseconds */
    uint64_t prompt_rows, prompt_ns, decode_ns; /* sums */
    size_t left_out;                            /* prompts (or turns) that do not fit the context */
    spec_drafter_stats stats;
} engine_run;

typedef struct engine engine;

/*
 * Opens an engine that will answer the prompts in their order, a batch at a time,
 * and put what happens into *out. All pointers are borrowed until engine_close;
 * the caller releases *out, on failure too. reference, if given, holds the responses that
 * plain decoding gives, at least up to the request under way: the oracle control is
 * told them. Errors come with prompt and place in *why.
 */
int engine_open(engine **out, const engine_settings *s, const proposer *by, const engine_run *reference,
                engine_run *run, spec_message *why);
/* Decodes until one more request is done; *more is false when none was left. */
int engine_next(engine *e, bool *more);
/* Finishes the accounts. Must be called, whatever failed; NULL is accepted. */
int engine_close(engine *e);

void engine_release(engine_run *r);

/* Whether the responses are the same, token for token; *where (may be NULL) is the
 * first response that differs, *at the place in it. */
bool engine_same(const engine_run *a, const engine_run *b, size_t *where, size_t *at);

/* The run as a trace, for replay. SPEC_ERR_NOMEM. */
int engine_trace(const engine_run *r, const engine_settings *s, trace *out);

#endif

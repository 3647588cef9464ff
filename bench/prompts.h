/* SPDX-License-Identifier: MIT */
/* prompts.h - what a live run is asked: prompts as text, or as token ids. */
#ifndef BENCH_PROMPTS_H
#define BENCH_PROMPTS_H

#include <stdbool.h>
#include <stddef.h>

#include "specdec.h"

typedef struct prompt {
    char *id, *group; /* "" when the file gave none */
    char **turn;      /* (n_turns) what the user says, one after the other; NULL for ids */
    size_t n_turns;
    spec_token *token; /* (n_tokens) of a prompt given as ids; NULL for text */
    size_t n_tokens;
} prompt;

typedef struct prompts {
    char *name; /* the file's, without directory and .jsonl */
    prompt *item;
    size_t n, cap;
    size_t n_bad;    /* lines left out under skip_bad */
    char *first_bad; /* what was wrong with the first of them, or NULL */
} prompts;

/*
 * Reads JSON lines (docs/FORMATS.md): {"turns": ["text", ...]} as in Spec-Bench,
 * {"prompt": "text"}, or {"prompt": [ids]} as in a trace, whose responses are
 * ignored; "id" and "group" if wanted. On failure *why names file, line and what
 * was expected, and *out is empty. Errors as of trace_load.
 */
int prompts_load(prompts *out, const char *path, bool skip_bad, spec_message *why);
int prompts_parse(prompts *out, const char *name, const char *text, size_t n, bool skip_bad,
                  spec_message *why);

/* Adds a text (turn != NULL) or ids, copying. SPEC_ERR_NOMEM. */
int prompts_add(prompts *p, const char *id, const char *group, const char *turn, const spec_token *token,
                size_t n_tokens);

/* SPEC_ERR_INVALID, *why names path, prompt and place, where an id is not below vocab. */
int prompts_check_ids(const prompts *p, const char *path, size_t vocab, spec_message *why);

/* Keeps the first n. */
void prompts_cut(prompts *p, size_t n);
void prompts_free(prompts *p);

/* Requests: a turn each, or one for ids. */
size_t prompts_requests(const prompts *p);
/* Of those, whether any is text and so needs a tokenizer. */
bool prompts_have_text(const prompts *p);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * table_lm.h - language models for tests of drafters: logits that are a function of
 * the whole text, so that a cache with anything else in it gives itself away, and accounts of
 * how the model was used. A use that spec_lm.h forbids fails the test.
 *
 *     table_lm_set(0, TABLE_VOCAB, 100, 4.0)
 *     spec_drafter_open_env(&d, "model:a", &table_lm_env, ...)       "a" is table_lms[0]
 */
#ifndef TESTS_TABLE_LM_H
#define TESTS_TABLE_LM_H

#include "support.h"

#include "spec_drafter.h"

typedef struct table_lm {
    size_t vocab, context;
    uint64_t seed;
    double spread; /* logits are in 0..spread */
    /* Other logits after n tokens; NULL: by the seed. */
    void (*row)(void *user, const spec_token *tok, size_t n, float *logits);
    void *user;
    size_t fail_at; /* 1 + the pass that fails; 0: none */
    int fails_with;
    /* accounts */
    size_t passes, rows, items; /* rows: tokens and nodes read */
    size_t open, sequences;     /* now */
    /* its own */
    size_t clock;
    spec_allocator alloc;
    float *logits;
    size_t cap_logits, *begin, cap_begin;
} table_lm;

extern table_lm table_lms[3];

/* Path "a", "b", "c". SPEC_ERR_NOT_FOUND. */
int table_lm_open(const char *path, unsigned threads, unsigned isa, const spec_allocator *alloc, spec_lm *out,
                  spec_message *why);
/* The same model, borrowed, as a target. */
spec_lm table_lm_borrow(table_lm *m);

/* The logits after n tokens. */
void table_lm_row(const table_lm *m, const spec_token *tok, size_t n, float *logits);

/* ---- drafting with it -------------------------------------------------------------- */

#define TABLE_VOCAB 24

extern const spec_drafter_env table_lm_env; /* it opens these models, and has no target */

/* Sets table_lms[i]; its seed follows from the test's. */
table_lm *table_lm_set(size_t i, size_t vocab, size_t context, double spread);
/* These fail the test when they cannot. */
spec_drafter *table_lm_drafter(const char *spec, const spec_drafter_env *e, const spec_allocator *alloc);
spec_tree table_lm_tree(uint32_t cap, uint32_t q_cap, uint32_t vocab);

/* Arguments whose noise is that of a position. */
const spec_propose_args *table_lm_ask(spec_propose_args *a, uint64_t position);

/* Writes the tokens of the path to a node (-1: none) behind n tokens; returns how many there are then. */
size_t table_lm_text(const spec_tree *t, int32_t node, spec_token *text, size_t n);
/* What may be committed after a draft: a path, cut short at random, then often another
 * token, below TABLE_VOCAB. Returns how many, at least 1. */
size_t table_lm_outcome(support_rng *r, const spec_tree *t, spec_token *out);

#endif

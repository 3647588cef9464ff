/* SPDX-License-Identifier: MIT */
/*
 * oracle_verify.h - what sampled verification is compared with: the law of a row by
 * sorting everything, acceptance written down from its definition (right, or with a
 * chosen fault), and the exact law of the output, by taking every draft and every
 * coin in turn.
 */
#ifndef TESTS_ORACLE_VERIFY_H
#define TESTS_ORACLE_VERIFY_H

#include "support.h"

#include "sampler.h"
#include "spec_verify.h"

/* ---- laws ----------------------------------------------------------------- */

#define ORACLE_MAX_VOCAB 512

/* p (vocab) of a row of logits, with libm and a sort. The logits are valid. */
void oracle_law(const spec_sampling *s, size_t vocab, const float *logits, const spec_row_place *at,
                double *p);

/* ---- acceptance ------------------------------------------------------------- */

typedef enum oracle_fault {
    ORACLE_RIGHT,
    ORACLE_RESIDUAL_P,   /* after a rejection p stays as it was */
    ORACLE_RESIDUAL_ABS, /* the residual is |p - q| */
    ORACLE_UNNORMALISED, /* after a rejection p is not normalised */
    ORACLE_NO_BONUS,     /* the token after the path is lost from the output */
    ORACLE_ROW_BEFORE,   /* looks at the row of a node's parent */
    ORACLE_Q_UNCHANGED,  /* tries each child against the whole q row */
    ORACLE_Q_OF_SAMPLED, /* forgets that deterministic siblings, too, made draws be dropped */
    ORACLE_BLIND,        /* accepts every sampled child */
    ORACLE_FAULTS
} oracle_fault;

/* A decision among n weights, about the token `ahead` positions after the next. */
typedef uint32_t (*oracle_choose_fn)(void *user, uint64_t ahead, int purpose, uint32_t index, const double *w,
                                     uint32_t n);

typedef struct oracle_verifier {
    oracle_fault fault;
    size_t vocab;
    oracle_choose_fn choose;
    void *user;
    void (*law)(void *user, int32_t node, double *p); /* the law after a node, -1: the root */
    void *law_user;
} oracle_verifier;

/* Returns how many nodes are on the path. */
size_t oracle_verify(const oracle_verifier *v, const spec_tree *t, int32_t *path, spec_token *next);

/* ---- every branch in turn ----------------------------------------------------- */

#define ORACLE_MAX_CHOICES 64

/* A run is a function of its choices. The first takes the first branch everywhere,
 * each later one the next branch at the last place that has one. */
typedef struct oracle_dice {
    uint32_t n, given;                  /* choices made in this run; of them dictated */
    uint32_t taken[ORACLE_MAX_CHOICES]; /* the branch */
    uint32_t other[ORACLE_MAX_CHOICES]; /* the next branch with weight, 0: none */
    double weight;                      /* of this run */
} oracle_dice;

void oracle_dice_begin(oracle_dice *d);
/* For specp_dice and for drafters. */
uint32_t oracle_dice_choose(void *dice, const double *w, uint32_t n, double total);
/* Prepares the next run; false: that was the last. */
bool oracle_dice_next(oracle_dice *d);

/* ---- a world of three tokens ---------------------------------------------------- */

#define ORACLE_VOCAB    3
#define ORACLE_DEPTH    3                     /* of drafts */
#define ORACLE_PREFIXES (1 + 3 + 9 + 27 + 81) /* texts of 0 to DEPTH + 1 tokens */
#define ORACLE_OUTCOMES 81                    /* the first DEPTH + 1 tokens */

typedef struct oracle_world {
    float logits[ORACLE_PREFIXES][ORACLE_VOCAB]; /* of the target */
    float q[2][ORACLE_PREFIXES][ORACLE_VOCAB];   /* of two draft models */
    const spec_sampling *sampling;
    spec_token text[4];                      /* committed before */
    double p[ORACLE_PREFIXES][ORACLE_VOCAB]; /* the target's law, by the library */
} oracle_world;

/* Random logits and q rows, sharper the greater `sharpness`; some q are 0. */
void oracle_world_make(oracle_world *w, support_rng *r, double sharpness, const spec_sampling *sampling,
                       spec_sampler *s);
/* The index of a text of n tokens. */
uint32_t oracle_prefix(const spec_token *tok, size_t n);

/*
 * What the drafter does: for each node of a level, one letter a child, in order.
 *   s t      drawn from the first or second draft model, dropped if a sibling has the token
 *   w        drawn from the first without the siblings' tokens
 *   0 1 2    that token, deterministic; dropped if a sibling has it
 *   k        WRONG: the most probable token that no sibling has, passed off as drawn
 *   o        WRONG: like w, but put before the sibling before it if more probable
 */
typedef struct oracle_plan {
    const char *level[ORACLE_DEPTH];
    uint32_t cap; /* most nodes; 0 = no limit */
} oracle_plan;

typedef int (*oracle_verify_fn)(spec_sampler *s, const spec_verify_args *a, int32_t *path, size_t *n_path,
                                spec_token *next, spec_message *why);

/* The joint law of the first DEPTH + 1 tokens, when one draft is verified by a function of the
 * library (rule != NULL) or by the oracle with a fault, and plain sampling continues. Returns
 * how many nodes are accepted on average. */
double oracle_output_law(const oracle_world *w, const oracle_plan *plan, oracle_verify_fn rule,
                         oracle_fault fault, spec_sampler *s, double joint[ORACLE_OUTCOMES]);
/* That of plain sampling. */
void oracle_plain_law(const oracle_world *w, double joint[ORACLE_OUTCOMES]);

/* The draft that a plan makes, its choices by `choose(user, ...)`. */
void oracle_draft(const oracle_world *w, const oracle_plan *plan,
                  uint32_t (*choose)(void *user, const double *w, uint32_t n, double total), void *user,
                  spec_tree *t);

/* spec_verify_args.row: the logits after a node of a tree. */
typedef struct oracle_rows {
    const oracle_world *w;
    const spec_tree *t;
} oracle_rows;
int oracle_row(void *user, size_t row, const float **logits);

#endif

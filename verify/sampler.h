/* SPDX-License-Identifier: MIT */
/*
 * sampler.h - laws of tokens, and the scratch memory in which they are made.
 * Private to verify/.
 */
#ifndef VERIFY_SAMPLER_H
#define VERIFY_SAMPLER_H

#include "spec_sampling.h"
#include "spec_tree.h"
#include "specp.h"

/*
 * A distribution over tokens: those that can come, ascending, with weights.
 *
 *     id      3    7    8   40   41  ...       n of them
 *     w      .5   1.   .1   .2   .3  ...  0 0  zeros up to a multiple of SPECP_LAW_BLOCK
 *            |---- block ----|--- block ---|
 *
 * The probability of id[i] is w[i] / total. Sums run over blocks in order, within
 * a block in 8 lanes folded by halves: one order, whatever the machine.
 */
#define SPECP_LAW_BLOCK 64
#define SPECP_LAW_LANES 8

static inline double specp_fold(const double a[SPECP_LAW_LANES]) {
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

typedef struct specp_law {
    uint32_t n;
    spec_token *id;
    double *w;
    double total; /* > 0 */
} specp_law;

/* Where every random choice is made that does not follow from noise (noise.h):
 * tests take all branches in turn. Returns an i < n with w[i] > 0. */
typedef struct specp_dice {
    uint32_t (*choose)(void *user, const double *w, uint32_t n, double total);
    void *user;
} specp_dice;

/* Arrays have `cap` places: the vocabulary rounded up to whole blocks. */
struct spec_sampler {
    spec_allocator alloc;
    uint32_t vocab, cap;
    specp_law law;  /* law.w is the start of the block that holds all arrays */
    float *z;       /* logits after bias, penalty and mask */
    float *q;       /* a draft's distribution; 0 from the row's end on */
    uint32_t *key;  /* for selection: logits as integers, */
    uint32_t *left; /* and which of them are still in question */
    uint8_t *seen;  /* 1 for tokens in the text, while they are penalised; 0 otherwise */
    specp_dice dice;
    spec_token path[SPEC_TREE_MAX_NODES]; /* the tokens that lead to the row at hand */
    double merit[SPEC_TREE_MAX_NODES];    /* typical acceptance: of each node, */
    uint32_t depth[SPEC_TREE_MAX_NODES];  /* 0 where it is not accepted */
};

/* Copies a sized struct of the caller's into `to`, which is all zeros. NULL: nothing. */
int specp_take(void *to, size_t size, const void *from, const char *name, spec_message *why);

/* Copies and checks parameters. NULL: greedy. */
int specp_sampling_take(spec_sampling *to, const spec_sampling *from, size_t vocab, spec_message *why);

/* Makes s->law the law of a row of logits (vocab). */
int specp_sampler_row(spec_sampler *s, const spec_sampling *p, const float *logits, const spec_row_place *at,
                      spec_message *why);

/* The last steps of that: z are logits with bias, penalty and mask in them. */
int specp_sampler_filter(spec_sampler *s, const spec_sampling *p, const float *z, spec_message *why);

/* Sum of w[0..n), n rounded up to whole blocks. */
double specp_law_sum(const double *w, uint32_t n);
/* The probability of a token. */
double specp_law_of(const specp_law *law, spec_token token);
/* The index at which the running sum passes u * total, 0 <= u < 1; its weight is positive. */
uint32_t specp_law_at(const specp_law *law, double u);
/* The law norm(max(scale * p - q / q_total, 0)); false, and the law as it was, where nothing
 * is left (p and q are then equal but for rounding). */
bool specp_law_subtract(specp_law *law, double scale, const float *q, double q_total);

#endif

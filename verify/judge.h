/* SPDX-License-Identifier: MIT */
/*
 * judge.h - what the acceptance rules share: checked arguments, the law at a node,
 * the distribution that a node was drawn from, decisions by keyed noise.
 * Private to verify/.
 */
#ifndef VERIFY_JUDGE_H
#define VERIFY_JUDGE_H

#include "noise.h"
#include "sampler.h"
#include "spec_verify.h"

typedef struct specp_judge {
    spec_sampler *s;
    spec_verify_args a;
    spec_sampling p;
    const spec_tree *tree; /* never NULL */
    spec_message *why;
} specp_judge;

/* Checks what a rule was given, the tree included, and empties *why. */
int specp_judge_init(specp_judge *j, spec_sampler *s, const spec_verify_args *args, const size_t *n_path,
                     const spec_token *next, spec_message *why);

/* Makes s->law the law after node `at` (-1: after the committed text), whose path of
 * `depth` tokens stands in s->path. */
int specp_judge_law(specp_judge *j, int32_t at, size_t depth);

/* Loads s->q with what `node` was drawn from, not normalised: its q row without the tokens of the
 * siblings before it. *total is its sum. */
int specp_judge_q(specp_judge *j, int32_t node, double *total);

/* True with probability p, 0 <= p < 1. */
bool specp_judge_flip(const specp_judge *j, size_t ahead, specp_purpose purpose, uint32_t index, double p);
/* A token of s->law. */
spec_token specp_judge_draw(const specp_judge *j, size_t ahead);

/* The path of `depth` nodes that ends in `last`, into path, which may be NULL. */
void specp_judge_path(const specp_judge *j, int32_t last, size_t depth, int32_t *path);

#endif

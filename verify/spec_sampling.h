/* SPDX-License-Identifier: MIT */
/*
 * spec_sampling.h - the law of the next token: how a row of logits becomes a
 * distribution. Plain decoding and every acceptance rule (spec_verify.h) draw
 * from this one law, and that is what lossless means here.
 *
 *     logits -> bias -> repetition penalty -> mask -> temperature
 *            -> top-k -> top-p -> min-p -> normalised
 *
 * in this order. Equal logits rank by token, the lowest first, so the law is one
 * function of its inputs: the same bits on every machine.
 */
#ifndef SPEC_SAMPLING_H
#define SPEC_SAMPLING_H

#include "specdec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spec_logit_bias {
    spec_token token;
    float bias; /* added to the logit; -INFINITY forbids the token */
} spec_logit_bias;

/* Where a row of logits stands: which tokens it follows. */
typedef struct spec_row_place {
    const spec_token *text; /* (n_text) committed */
    size_t n_text;
    const spec_token *path; /* (n_path) drafted tokens after it */
    size_t n_path;
    size_t row; /* 0 after the committed text, i + 1 after tree node i */
} spec_row_place;

/*
 * Tells which tokens may come at a place. Bit t % 32 of (*allowed)[t / 32] is 1
 * where token t may; bits for the whole vocabulary, borrowed until the next call.
 * Leaving *allowed alone (it is NULL) allows all. Returns 0 or a negative spec_err,
 * which ends the verification with that error.
 */
typedef int (*spec_mask_fn)(void *user, const spec_row_place *at, const uint32_t **allowed);

/* All zero is greedy decoding of the logits as they are. */
typedef struct spec_sampling {
    size_t size;              /* sizeof(spec_sampling) */
    float temperature;        /* logits are divided by it; 0 = greedy: the most probable token is certain */
    uint32_t top_k;           /* only the k most probable; 0 = all */
    float top_p;              /* only the fewest most probable that hold this much together, 0..1; 0 = all */
    float min_p;              /* only those with this part of the best one's probability, 0..1; 0 = all */
    float repetition_penalty; /* logits of tokens in the text are divided by it where positive and
                               * multiplied where negative, once however often they occur; 0 = 1 = none */
    size_t penalty_window;    /* only the last so many tokens of text and path count; 0 = all */
    const spec_logit_bias *bias; /* (n_bias); several of one token add up */
    size_t n_bias;
    spec_mask_fn mask; /* NULL: all tokens are allowed */
    void *mask_user;
} spec_sampling;

/*
 * Scratch memory for the laws of one vocabulary, about 29 bytes a token: one for
 * each thread that verifies, whatever the number of sequences. A sampler is used
 * by one thread at a time, and keeps nothing from one call to the next.
 */
typedef struct spec_sampler spec_sampler;

/* vocab: 1..INT32_MAX, the columns of a row of logits. SPEC_ERR_INVALID, SPEC_ERR_NOMEM. */
SPEC_API SPEC_MUST_CHECK int spec_sampler_new(spec_sampler **out, size_t vocab, const spec_allocator *alloc);
SPEC_API void spec_sampler_free(spec_sampler *s); /* NULL is accepted */

/*
 * Writes the law of one row: p[t] is the probability of token t. sampling == NULL
 * is greedy; `at` is for penalty and mask and may be NULL without them.
 * SPEC_ERR_INVALID: a parameter outside its range, a logit that is NaN or +infinite,
 * or no token left (all are masked or -infinite); *why says which. What the mask
 * returns. p is then as it was. O(vocab + n_bias + the penalised tokens) whatever the logits, no allocation.
 */
SPEC_API SPEC_MUST_CHECK int spec_sampler_law(spec_sampler *s, const spec_sampling *sampling,
                                              const float *logits, const spec_row_place *at, float *p,
                                              spec_message *why);

#ifdef __cplusplus
}
#endif
#endif

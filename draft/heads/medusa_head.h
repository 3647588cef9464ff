/* SPDX-License-Identifier: MIT */
/*
 * medusa_head.h - Medusa's heads: from the target's last hidden state, logits for
 * the tokens after the next one. Not installed.
 *
 *     h  hidden state after the final norm, at position t
 *     |---- head 0:  h + silu(A h + b) -> ... -> W -> token t + 2
 *     |---- head 1:  h + silu(A h + b) -> ... -> W -> token t + 3
 *
 * The published layout: "{head}.{layer}.linear.weight" (hidden, hidden) and
 * "{head}.{layer}.linear.bias" (hidden) for each residual layer, most often one,
 * and "{head}.{layers}.weight" (vocab, hidden); all after "medusa_head." where the
 * file has the model as well. How many there are is found from the names.
 */
#ifndef SPECP_MEDUSA_HEAD_H
#define SPECP_MEDUSA_HEAD_H

#include "kernels.h"

#define SPECP_MEDUSA_MAX_LAYERS 16
#define SPECP_MEDUSA_MAX_ROWS   65536

typedef struct specp_medusa_heads specp_medusa_heads;

typedef struct specp_medusa_options {
    size_t hidden, vocab; /* the target's */
    size_t rows;          /* most rows of a batch, 1..SPECP_MEDUSA_MAX_ROWS */
    unsigned isa;         /* SPECP_ISA_ALL: the best that the processor has */
    specp_team *team;     /* borrowed, for the handle's life */
} specp_medusa_options;

/*
 * Any format and matrix type that spec_tensors.h and kernels.h have. Messages name the file and the
 * tensor. Beyond spec_tensors_open's errors: SPEC_ERR_INVALID (options; heads for
 * another hidden size or vocabulary), SPEC_ERR_CORRUPT (a tensor is missing, has another
 * shape, or a bias that is not finite), SPEC_ERR_UNSUPPORTED (no Medusa heads; more heads or
 * layers than the library takes; tensors that are no part of them; a type).
 */
SPEC_MUST_CHECK int specp_medusa_heads_open(specp_medusa_heads **out, const char *path,
                                            const specp_medusa_options *o, const spec_allocator *alloc,
                                            spec_message *why);
/* NULL is accepted. */
void specp_medusa_heads_free(specp_medusa_heads *m);

size_t specp_medusa_heads_count(const specp_medusa_heads *m);
size_t specp_medusa_heads_layers(const specp_medusa_heads *m);
/* The file that they are from. Borrowed. */
const spec_tensors *specp_medusa_heads_file(const specp_medusa_heads *m);

/*
 * logits (heads, n, vocab) of hidden (n, hidden), n <= rows. A row's bits depend on nothing
 * but the row: not on the batch, the threads, the instruction set. One caller at a
 * time, not inside a region of the team.
 */
void specp_medusa_heads_logits(specp_medusa_heads *m, const float *hidden, size_t n, float *logits);

/*
 * Each head's k best tokens and their probabilities, (n, heads, k), best first, equal
 * ones by number; 1 <= k <= vocab, n <= rows. Logits that are NaN come last, and where a
 * row's logits are not finite, probabilities may be 0, never NaN.
 */
void specp_medusa_heads_top(specp_medusa_heads *m, const float *hidden, size_t n, size_t k, spec_token *token,
                            float *prob);

#endif

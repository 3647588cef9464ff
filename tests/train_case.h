/* SPDX-License-Identifier: MIT */
/* train_case.h - random batches for draft heads in training. */
#ifndef TESTS_TRAIN_CASE_H
#define TESTS_TRAIN_CASE_H

#include "support.h"

#include "train_eagle3.h"
#include "train_medusa.h"

typedef struct medusa_case {
    train_medusa_shape shape;
    size_t n_seqs, seq;
    float *hidden;
    spec_token *labels; /* every head has one */
} medusa_case;

void medusa_case_make(medusa_case *c, const train_medusa_shape *s, size_t n_seqs, size_t seq,
                      uint64_t stream);
void medusa_case_free(medusa_case *c);
/* All zeros, with room for one batch like this. */
train_medusa *medusa_case_heads(const medusa_case *c, specp_team *team);
/* The loss; loss[k], if not NULL, is set to head k's. */
double medusa_case_run(train_medusa *m, const medusa_case *c, bool backward, train_loss *loss);

typedef struct eagle3_case {
    train_eagle3_shape shape;
    spec_token *kept, *tokens;
    float *embedding, *taps, *logits, *hidden, *output;
    uint8_t *mask;
    train_eagle3_batch batch; /* with a mask, and the target's logits unless `lean` */
} eagle3_case;

/* lean: no mask, and hidden states with an output matrix instead of logits. */
void eagle3_case_make(eagle3_case *c, const train_eagle3_shape *s, size_t n_seqs, size_t seq, bool lean,
                      uint64_t stream);
void eagle3_case_free(eagle3_case *c);
train_eagle3 *eagle3_case_head(const eagle3_case *c, specp_team *team);
double eagle3_case_run(train_eagle3 *m, const train_eagle3_batch *b, bool backward, train_eagle3_sums *sums);

#endif

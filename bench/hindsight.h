/* SPDX-License-Identifier: MIT */
/*
 * hindsight.h - the limit of copying: tokens per step of a drafter that knows,
 * at each step, which earlier text to copy and how far.
 */
#ifndef BENCH_HINDSIGHT_H
#define BENCH_HINDSIGHT_H

#include <stdbool.h>

#include "spec_index.h"
#include "specdec.h"
#include "trace.h"

typedef struct hindsight_options {
    const trace *warm; /* (n_warm) taught beforehand */
    size_t n_warm;
    const spec_index *corpus; /* borrowed; NULL = none */
    bool shared;              /* later requests see earlier responses */
    uint32_t budget;          /* most tokens copied in one step */
} hindsight_options;

typedef struct hindsight {
    uint64_t steps, out;
    double limit; /* out / steps; NaN without steps */
} hindsight;

/*
 * Decodes every response of t, in order: a step copies the next k tokens of the
 * true response, the most for which (last token of the text, these k tokens)
 * occurs in the request's own text so far, in the responses of earlier
 * requests, or in the corpus, k at most the budget; and adds one. No drafter
 * whose paths continue an occurrence of the last token does it in fewer steps.
 * SPEC_ERR_NOMEM, SPEC_ERR_FULL.
 */
int hindsight_run(hindsight *out, const trace *t, const hindsight_options *o);

#endif

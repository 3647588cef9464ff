/* SPDX-License-Identifier: MIT */
/* The most probable tokens of the rows of a pass, for drafters that ask for them. */
#include "engine_lane.h"
#include "specp_math.h"

#define BLOCK 64

/* The logarithm of the sum of e^(x - largest), in blocks: loops that a compiler makes vectors of.
 * Terms below e^-700 count as that. */
static double log_sum(const float *x, size_t n, double largest) {
    double w[BLOCK], sum = 0;
    for (size_t from = 0; from < n; from += BLOCK) {
        size_t m = n - from < BLOCK ? n - from : BLOCK;
        for (size_t i = 0; i < m; i++) {
            double d = (double)x[from + i] - largest;
            w[i] = d > -700.0 ? d : -700.0;
        }
        for (size_t i = m; i < BLOCK; i++) w[i] = -700.0;
        for (size_t i = 0; i < BLOCK; i++) w[i] = specp_exp_normal(w[i]);
        for (size_t i = 0; i < BLOCK; i++) sum += w[i];
    }
    return specp_log(sum);
}

void engine_topk(const float *logits, size_t n, uint32_t k, spec_token *token, float *logprob) {
    uint32_t used = 0;
    for (size_t i = 0; i < n; i++) {
        float x = logits[i];
        if (used == k && !(x > logprob[k - 1])) continue;
        uint32_t at = used < k ? used++ : k - 1;
        for (; at > 0 && x > logprob[at - 1]; at--) {
            logprob[at] = logprob[at - 1];
            token[at] = token[at - 1];
        }
        logprob[at] = x;
        token[at] = (spec_token)i;
    }
    double largest = (double)logprob[0], below = log_sum(logits, n, largest);
    for (uint32_t i = 0; i < k; i++) logprob[i] = (float)((double)logprob[i] - largest - below);
}

void engine_topk_rows(const engine *e, lane *l, const float *logits, spec_outcome *o) {
    o->top_k = e->top_k;
    o->topk_token = l->topk_token;
    o->topk_logprob = l->topk_logprob;
    for (size_t i = 0; i < o->n_rows; i++)
        engine_topk(logits + i * e->info.vocab, e->info.vocab, e->top_k, l->topk_token + i * e->top_k,
                    l->topk_logprob + i * e->top_k);
}

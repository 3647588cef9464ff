/* SPDX-License-Identifier: MIT */
/*
 * Sampled acceptance on a draft tree, token by token.
 *
 *        committed text ... t        p = law after t
 *                        / | \       1. a ~ q: rejected, p = norm(max(p - q, 0))
 *                 0:    a  b  c         c ~ q without a: rejected, p = norm(max(p - that, 0))
 *              (drawn) /   |   \     2. y ~ p:  y == b, so the path goes on in b, with
 *                 3:  d    e    f        p = law after b; any other y would be `next`
 *
 * Why it is exact. Step 1: x ~ q is accepted with probability min(1, p/q), which gives
 * x the mass min(p, q); what p has above that, max(p - q, 0), is what the rest of the procedure
 * draws from. So the outcome has the law p if the rest has its own, and step 2 has. It
 * does not matter whether there is a further child, nor which deterministic ones there
 * are, as long as this does not depend on what the further child's token is. A draw
 * that is dropped for repeating a sibling leaves the next one that is not dropped with
 * the law of q without the siblings: that is the q of the step.
 */
#include "judge.h"

/* Step 1. *child is the accepted one, or -1; the law is then what rejections left of it. */
static int try_sampled(specp_judge *j, int32_t at, size_t depth, int32_t *child) {
    const spec_tree *t = j->tree;
    specp_law *law = &j->s->law;
    uint32_t tried = 0;
    *child = -1;
    for (int32_t i = at + 1; i < (int32_t)t->n; i++) {
        if (t->parent[i] != at || t->q_row[i] < 0) continue;
        double q_total;
        int err = specp_judge_q(j, i, &q_total);
        if (err) return err;
        /* In the arithmetic of specp_law_subtract, so that what is rejected has nothing left. */
        double p = specp_law_of(law, t->token[i]), q = (double)j->s->q[t->token[i]] * (1.0 / q_total);
        if (p >= q || specp_judge_flip(j, depth, SPECP_NOISE_ACCEPT, tried, p / q)) {
            *child = i;
            return SPEC_OK;
        }
        specp_law_subtract(law, 1.0, j->s->q, q_total);
        tried++;
    }
    return SPEC_OK;
}

int spec_verify_sample(spec_sampler *s, const spec_verify_args *args, int32_t *path, size_t *n_path,
                       spec_token *next, spec_message *why) {
    specp_judge j;
    int err = specp_judge_init(&j, s, args, n_path, next, why);
    if (err) return err;
    int32_t at = -1, child;
    spec_token drawn = -1;
    for (size_t depth = 0;; at = child) {
        if ((err = specp_judge_law(&j, at, depth)) || (err = try_sampled(&j, at, depth, &child))) return err;
        if (child < 0) child = spec_tree_child(j.tree, at, drawn = specp_judge_draw(&j, depth)); /* 2. */
        if (child < 0) {
            specp_judge_path(&j, at, depth, path);
            *n_path = depth;
            *next = drawn;
            return SPEC_OK;
        }
        s->path[depth++] = j.tree->token[child];
    }
}

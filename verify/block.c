/* SPDX-License-Identifier: MIT */
/*
 * Block verification of a chain x1 .. xn of sampled tokens. With p_i, q_i the laws of
 * target and draft after x1 .. xi:
 *
 *     P_0 = 1,  P_i = min(P_(i-1) p_(i-1)(x_i) / q_(i-1)(x_i), 1)
 *     S_i = sum over x of max(P_i p_i(x) - q_i(x), 0)
 *     h_i = S_i / (S_i + 1 - P_i), and P_n for i = n
 *
 *     k = the largest i that a coin of probability h_i accepts, or 0: x1 .. xk are kept;
 *     `next` is drawn from p_n for k = n, else from norm(max(P_k p_k - q_k, 0)).
 *
 * All coins are cast, those behind node k too. So they hang from the block's own position, and
 * not from the nodes': the next block, which begins further on, must have others.
 *
 * The laws after node k are made a second time for the draw: rows are large, and only
 * one is held.
 */
#include "judge.h"

static int check_chain(const specp_judge *j) {
    for (uint32_t i = 0; i < j->tree->n; i++)
        if (j->tree->parent[i] != (int32_t)i - 1 || j->tree->q_row[i] < 0)
            return specp_fail(j->why, SPEC_ERR_INVALID, "node %u does not continue a chain of sampled nodes",
                              i);
    return SPEC_OK;
}

/* Makes law and q those after the first i tokens; q not at the chain's end. */
static int load(specp_judge *j, uint32_t i, double *q_total) {
    int err = specp_judge_law(j, (int32_t)i - 1, i);
    return err || i == j->tree->n ? err : specp_judge_q(j, (int32_t)i, q_total);
}

/* S_i of the law and q that are loaded. */
static double surplus(const spec_sampler *s, double scale, double q_total) {
    double sum = 0.0;
    for (uint32_t k = 0; k < s->law.n; k++) {
        double rest = s->law.w[k] * (scale / s->law.total) - (double)s->q[s->law.id[k]] * (1.0 / q_total);
        sum += 0.5 * (rest + __builtin_fabs(rest)); /* max(rest, 0) */
    }
    return sum;
}

/* k, and *scale = P_k. */
static int judge_block(specp_judge *j, uint32_t *k, double *scale) {
    const spec_tree *t = j->tree;
    double part = 1.0, q_total = 1.0; /* part: P_i */
    *k = 0;
    *scale = 1.0;
    for (uint32_t i = 0; i <= t->n; i++) {
        int err = load(j, i, &q_total);
        if (err) return err;
        double h = part;
        if (i < t->n) {
            double s = surplus(j->s, part, q_total);
            h = s > 0.0 ? s / (s + 1.0 - part) : 0.0;
        }
        if (i > 0 && (h >= 1.0 || specp_judge_flip(j, 0, SPECP_NOISE_BLOCK, i - 1, h))) {
            *k = i;
            *scale = part;
        }
        if (i == t->n) break;
        part *= specp_law_of(&j->s->law, t->token[i]) / ((double)j->s->q[t->token[i]] * (1.0 / q_total));
        if (part > 1.0) part = 1.0;
        j->s->path[i] = t->token[i];
    }
    return SPEC_OK;
}

int spec_verify_block(spec_sampler *s, const spec_verify_args *args, int32_t *path, size_t *n_path,
                      spec_token *next, spec_message *why) {
    specp_judge j;
    uint32_t k;
    double scale, q_total;
    int err = specp_judge_init(&j, s, args, n_path, next, why);
    if (err || (err = check_chain(&j)) || (err = judge_block(&j, &k, &scale)) ||
        (err = load(&j, k, &q_total)))
        return err;
    if (k < j.tree->n) specp_law_subtract(&s->law, scale, s->q, q_total);
    *next = specp_judge_draw(&j, k);
    *n_path = k;
    specp_judge_path(&j, (int32_t)k - 1, k, path);
    return SPEC_OK;
}

/* SPDX-License-Identifier: MIT */
/*
 * Typical acceptance on a draft tree: lossy. merit[i] is the sum of log-probabilities
 * along the path to node i, depth[i] its length, and 0 where i is not accepted. Parents come
 * before children, so one pass over the accepted nodes, in order, finds all.
 */
#include "judge.h"
#include "specp_math.h"

/* -sum p log(p + 1e-5), in the lanes of a law's sum. */
static double entropy(const specp_law *law) {
    double a[SPECP_LAW_LANES] = {0}, inverse = 1.0 / law->total;
    for (uint32_t i = 0; i < law->n; i += SPECP_LAW_LANES) /* behind n stand zeros */
        for (int k = 0; k < SPECP_LAW_LANES; k++) {
            double p = law->w[i + k] * inverse;
            a[k] -= p * specp_log(p + 1e-5);
        }
    return specp_fold(a);
}

static bool has_child(const spec_tree *t, int32_t at) {
    for (uint32_t i = (uint32_t)(at + 1); i < t->n; i++)
        if (t->parent[i] == at) return true;
    return false;
}

/* The law after node `at`, wherever it is in the tree. */
static int law_after(specp_judge *j, int32_t at) {
    uint32_t depth = at < 0 ? 0 : j->s->depth[at];
    int32_t node = at;
    for (uint32_t k = depth; k > 0; node = j->tree->parent[node]) j->s->path[--k] = j->tree->token[node];
    return specp_judge_law(j, at, depth);
}

/* Accepts children of node `at`. */
static int judge_children(specp_judge *j, int32_t at, double epsilon, double delta) {
    spec_sampler *s = j->s;
    const spec_tree *t = j->tree;
    int err = law_after(j, at);
    if (err) return err;
    double least = delta * specp_exp(-entropy(&s->law));
    if (epsilon < least) least = epsilon;
    for (uint32_t i = (uint32_t)(at + 1); i < t->n; i++) {
        if (t->parent[i] != at) continue;
        double p = specp_law_of(&s->law, t->token[i]);
        s->depth[i] = p > least ? (at < 0 ? 0 : s->depth[at]) + 1 : 0;
        if (s->depth[i]) s->merit[i] = (at < 0 ? 0.0 : s->merit[at]) + specp_log(p);
    }
    return SPEC_OK;
}

/* The end of the longest accepted path, the likeliest of several; -1: none. */
static int32_t best_end(const spec_sampler *s, uint32_t n) {
    int32_t best = -1;
    for (uint32_t i = 0; i < n; i++) {
        if (!s->depth[i]) continue;
        if (best < 0 || s->depth[i] > s->depth[best] ||
            (s->depth[i] == s->depth[best] && s->merit[i] > s->merit[best]))
            best = (int32_t)i;
    }
    return best;
}

static spec_token most_probable(const specp_law *law) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < law->n; i++)
        if (law->w[i] > law->w[best]) best = i;
    return law->id[best];
}

int spec_verify_typical(spec_sampler *s, const spec_verify_args *args, float epsilon, float delta,
                        int32_t *path, size_t *n_path, spec_token *next, spec_message *why) {
    specp_judge j;
    int err = specp_judge_init(&j, s, args, n_path, next, why);
    if (err) return err;
    if (!(epsilon >= 0.0f && epsilon < 1.0f && delta >= 0.0f))
        return specp_fail(why, SPEC_ERR_INVALID, "epsilon %g is not in 0 <= e < 1, or delta %g is negative",
                          (double)epsilon, (double)delta);
    for (uint32_t i = 0; i < j.tree->n; i++) s->depth[i] = 0;
    for (int32_t at = -1; at < (int32_t)j.tree->n; at++) {
        if ((at >= 0 && !s->depth[at]) || !has_child(j.tree, at)) continue;
        if ((err = judge_children(&j, at, (double)epsilon, (double)delta))) return err;
    }
    int32_t last = best_end(s, j.tree->n);
    if ((err = law_after(&j, last))) return err;
    *next = most_probable(&s->law);
    *n_path = last < 0 ? 0 : s->depth[last];
    specp_judge_path(&j, last, *n_path, path);
    return SPEC_OK;
}

/* SPDX-License-Identifier: MIT */
/*
 * What the acceptance rules share. Every random choice is a flip or a draw
 * of this file; both ask the sampler's dice first, which only tests have.
 */
#include "judge.h"

#include <float.h>
#include <string.h>

static const spec_tree no_tree;

/* ---- arguments ----------------------------------------------------------- */

static int check_tree(const spec_tree *t, uint32_t vocab, spec_message *why) {
    if (t->n && !(t->token && t->parent && t->prob && t->q_row))
        return specp_fail(why, SPEC_ERR_INVALID, "the tree has %u nodes, but an array is NULL", t->n);
    int err = spec_tree_check(t, why);
    if (err || !t->n_q) return err;
    if (!t->q) return specp_fail(why, SPEC_ERR_INVALID, "the tree has %u q rows, but q is NULL", t->n_q);
    if (t->vocab > vocab)
        return specp_fail(why, SPEC_ERR_INVALID, "q rows have %u columns, the vocabulary has %u tokens",
                          t->vocab, vocab);
    return SPEC_OK;
}

int specp_judge_init(specp_judge *j, spec_sampler *s, const spec_verify_args *args, const size_t *n_path,
                     const spec_token *next, spec_message *why) {
    if (why) why->text[0] = 0;
    if (!s || !args || !n_path || !next)
        return specp_fail(why, SPEC_ERR_INVALID, "expected a sampler, args, n_path and next");
    memset(j, 0, sizeof *j);
    int err = specp_take(&j->a, sizeof j->a, args, "args", why);
    if (!err) err = specp_sampling_take(&j->p, j->a.sampling, s->vocab, why);
    if (err) return err;
    if (!j->a.logits == !j->a.row) return specp_fail(why, SPEC_ERR_INVALID, "expected either logits or row");
    if (!j->a.row_stride) j->a.row_stride = s->vocab;
    if (j->a.row_stride < s->vocab)
        return specp_fail(why, SPEC_ERR_INVALID, "row_stride is %zu, below the vocabulary of %u",
                          j->a.row_stride, s->vocab);
    if (j->a.n_text && !j->a.text)
        return specp_fail(why, SPEC_ERR_INVALID, "n_text is %zu, but text is NULL", j->a.n_text);
    j->s = s;
    j->tree = j->a.tree ? j->a.tree : &no_tree;
    j->why = why;
    return check_tree(j->tree, s->vocab, why);
}

/* ---- laws ---------------------------------------------------------------- */

int specp_judge_law(specp_judge *j, int32_t at, size_t depth) {
    size_t row = at < 0 ? 0 : (size_t)at + 1;
    const float *logits = NULL;
    if (j->a.logits) {
        logits = j->a.logits + row * j->a.row_stride;
    } else {
        int err = j->a.row(j->a.row_user, row, &logits);
        if (!err && !logits) err = SPEC_ERR_INVALID;
        if (err) return specp_fail(j->why, err, "row %zu was not to be had: %s", row, spec_strerror(err));
    }
    spec_row_place place = {j->a.text, j->a.n_text, j->s->path, depth, row};
    spec_message inner = {""};
    int err = specp_sampler_row(j->s, &j->p, logits, &place, &inner);
    return err ? specp_fail(j->why, err, "row %zu: %.400s", row, inner.text) : SPEC_OK;
}

/* The sum of a q row of whole blocks; false where a value is negative or not finite. */
static bool sum_q(const float *q, uint32_t n, double *total) {
    int fine = 1;
    double a[SPECP_LAW_LANES] = {0};
    for (uint32_t i = 0; i < n; i += SPECP_LAW_LANES) {
        for (int k = 0; k < SPECP_LAW_LANES; k++) fine &= (q[i + k] >= 0.0f) & (q[i + k] <= FLT_MAX);
        for (int k = 0; k < SPECP_LAW_LANES; k++) a[k] += (double)q[i + k];
    }
    *total = specp_fold(a);
    return fine;
}

int specp_judge_q(specp_judge *j, int32_t node, double *total) {
    const spec_tree *t = j->tree;
    float *q = j->s->q;
    memcpy(q, t->q + (size_t)t->q_row[node] * t->vocab, t->vocab * sizeof *q);
    memset(q + t->vocab, 0, (j->s->cap - t->vocab) * sizeof *q);
    for (int32_t i = t->parent[node] + 1; i < node; i++)
        if (t->parent[i] == t->parent[node] && (uint32_t)t->token[i] < t->vocab) q[t->token[i]] = 0.0f;
    if (!sum_q(q, j->s->cap, total))
        return specp_fail(j->why, SPEC_ERR_INVALID, "q row %d has a negative or non-finite value",
                          t->q_row[node]);
    if ((uint32_t)t->token[node] >= t->vocab || !(q[t->token[node]] > 0.0f))
        return specp_fail(j->why, SPEC_ERR_INVALID,
                          "node %d: its q row, less the siblings before it, gives token %d no probability",
                          node, t->token[node]);
    return SPEC_OK;
}

/* ---- decisions ----------------------------------------------------------- */

bool specp_judge_flip(const specp_judge *j, size_t ahead, specp_purpose purpose, uint32_t index, double p) {
    const specp_dice *dice = &j->s->dice;
    if (dice->choose) return !dice->choose(dice->user, (double[]){p, 1.0 - p}, 2, 1.0);
    return specp_noise(&j->a.noise, ahead, purpose, index) < p;
}

spec_token specp_judge_draw(const specp_judge *j, size_t ahead) {
    const specp_dice *dice = &j->s->dice;
    const specp_law *law = &j->s->law;
    if (dice->choose) return law->id[dice->choose(dice->user, law->w, law->n, law->total)];
    return law->id[specp_law_at(law, specp_noise(&j->a.noise, ahead, SPECP_NOISE_TOKEN, 0))];
}

void specp_judge_path(const specp_judge *j, int32_t last, size_t depth, int32_t *path) {
    for (size_t k = depth; path && k > 0; last = j->tree->parent[last]) path[--k] = last;
}

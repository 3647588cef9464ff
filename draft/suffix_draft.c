/* SPDX-License-Identifier: MIT */
/*
 * The suffix drafter's choice: which match, in which index, is continued.
 *
 * The suffixes of the text that occur in an index form one chain of classes,
 * from the longest match to the root. All suffixes of a class occur at the same
 * places and go on alike, so one draft a class is enough. The draft of highest
 * score wins, on ties the longer match, then the request's own text. A draft
 * scores at most its budget, so the walk up the chain ends where the budget
 * falls to the best score.
 *
 * Match and draft together reach the index's depth D at most. Where the text is
 * matched as far as that, a shorter match of the same class has more room:
 *
 *     D |`.              .-- budget(m)
 *       |   `.         .'
 *       |     `.   .'         room(m) = min(budget(m), D - m)
 *       |       `X'
 *       |     .'   `.  D - m
 *       +----------------> m
 *
 * For a path by count ratios the match of m tokens with the most room is the
 * best, because the path of any other is a part of its own. Otherwise the
 * drafts of all m of the class that could be better are tried from the longest
 * on. By default none is, because matches are not looked for beyond the length
 * that leaves room for all nodes (specp_suffix_longest).
 */
#include <string.h>

#include "suffix_internal.h"

typedef struct choice {
    const suffix_options *o;
    const spec_propose_args *args;
    suffix_request *r;
    spec_tree *best; /* the caller's tree */
    spec_locus from; /* what its draft continues */
    bool any;        /* it holds a draft, if only an empty one */
} choice;

/* Nodes that a match of m tokens may draft. */
static uint32_t budget_of(const choice *c, uint32_t m) {
    double b = (double)m * c->o->factor + c->o->offset + 1e-6;
    uint32_t limit = c->args->budget < (uint64_t)c->o->nodes ? c->args->budget : (uint32_t)c->o->nodes;
    return b <= 0 ? 0 : b < limit ? (uint32_t)b : limit;
}

static void copy_draft(spec_tree *to, const spec_tree *from) {
    memcpy(to->token, from->token, from->n * sizeof *to->token);
    memcpy(to->parent, from->parent, from->n * sizeof *to->parent);
    memcpy(to->prob, from->prob, from->n * sizeof *to->prob);
    memcpy(to->source, from->source, from->n * sizeof *to->source);
    memcpy(to->q_row, from->q_row, from->n * sizeof *to->q_row);
    to->n = from->n;
    to->score = from->score;
    to->match_len = from->match_len;
}

/* Drafts below `at`, a suffix of a match of `match_len` tokens of the same class,
 * and keeps the draft if it is better than the best. Returns whether the index's
 * depth cut it short. */
static bool consider(choice *c, const spec_index *x, spec_locus at, uint32_t match_len, specp_expand *how) {
    const uint32_t depth = spec_index_depth(x);
    bool any = c->any, cut = at.len >= depth;
    c->any = true;
    how->budget = budget_of(c, at.len);
    if (how->budget == 0 || spec_index_n_children(x, at) == 0) {
        if (!any) c->best->match_len = match_len;
        return cut;
    }
    spec_tree *into = c->best->n ? &c->r->trial : c->best;
    uint32_t before = c->best->match_len; /* an empty draft is worth no more than that of a longer match */
    how->beat = c->best->n ? c->best->score : -1;
    cut = specp_suffix_expand(x, at, how, c->r->heap, into);
    if (into == c->best) {
        into->match_len = into->n == 0 && any ? before : match_len;
    } else {
        if (into->score <= c->best->score) return cut;
        into->match_len = match_len;
        copy_draft(c->best, into);
    }
    /* the longest match that has room for this path */
    if (!how->tree && how->rule == SPECP_RULE_RATIO && depth - into->n < c->best->match_len)
        c->best->match_len = depth - into->n;
    c->from = at;
    return cut;
}

/* The length in lo..hi that has the most room. */
static uint32_t roomiest(const choice *c, uint32_t depth, uint32_t lo, uint32_t hi) {
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (budget_of(c, mid) >= depth - mid)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

/* One class: the matches longer than `above`, up to `at`. */
static void consider_class(choice *c, const spec_index *x, spec_locus at, uint32_t above, specp_expand *how) {
    if (!how->tree && how->rule == SPECP_RULE_RATIO) {
        uint32_t m = roomiest(c, spec_index_depth(x), above + 1, at.len);
        consider(c, x, spec_index_shorten(x, at, m), at.len, how);
        return;
    }
    bool cut = consider(c, x, at, at.len, how);
    for (uint32_t m = at.len - 1; cut && m > above && (float)budget_of(c, m) > c->best->score; m--)
        cut = consider(c, x, spec_index_shorten(x, at, m), m, how);
}

/* All classes from `at`, the longest match in x, up the chain. n_own is the
 * length of the text's own end in x: matches up to that include it. */
static void consider_chain(choice *c, const spec_index *x, spec_locus at, size_t n_own, specp_expand *how) {
    while (at.len > 0 && !(c->any && (float)budget_of(c, at.len) <= c->best->score)) {
        spec_locus up = spec_index_suffix(x, at);
        how->own = c->o->self && at.len <= n_own;
        consider_class(c, x, at, up.len, how);
        at = up;
    }
}

static uint32_t match_limit(const suffix_drafter *d, const suffix_request *r) {
    uint64_t limit = d->longest;
    if (r->n_text <= limit) limit = r->n_text - 1; /* some token must stand before the match */
    return (uint32_t)limit;
}

static void propose_own(choice *c, specp_expand *how, uint32_t limit) {
    const spec_index *x = c->r->own;
    how->source = SPEC_SOURCE_OWN;
    spec_locus at = spec_index_shorten(x, spec_index_tail(x, c->r->own_seq), limit);
    consider_chain(c, x, at, SIZE_MAX, how);
}

static void propose_shared(suffix_drafter *d, choice *c, specp_expand *how, uint32_t limit) {
    suffix_request *r = c->r;
    how->source = SPEC_SOURCE_SHARED;
    specp_read_lock(&r->shared->lock, &d->shell.wait);
    const spec_index *x = r->shared->index;
    spec_locus at = specp_suffix_shared_match(d, r);
    size_t n_own = r->in_step ? r->n_response : 0;
    consider_chain(c, x, spec_index_shorten(x, at, limit), n_own, how);
    if (c->best->n && c->best->source[0] == SPEC_SOURCE_SHARED) spec_index_touch(x, c->from);
    pthread_rwlock_unlock(&r->shared->lock);
}

int specp_suffix_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    suffix_drafter *d = self;
    suffix_request *r = state;
    const suffix_options *o = &d->options;
    if (r->n_text == 0) return SPEC_OK;
    if (!o->at_end) specp_suffix_teach(d, r, false);
    choice c = {.o = o, .args = a, .r = r, .best = out};
    specp_expand how = {.tree = o->tree,
                        .lowest = o->lowest,
                        .rule = o->self || o->doubt > 0 ? SPECP_RULE_DOUBT : SPECP_RULE_RATIO,
                        .min_prob = (float)o->min_prob,
                        .doubt = (float)o->doubt,
                        .depth = a->max_depth};
    uint32_t limit = match_limit(d, r);
    if (r->own) propose_own(&c, &how, limit);
    if (r->shared) propose_shared(d, &c, &how, limit);
    return SPEC_OK;
}

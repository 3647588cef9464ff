/* SPDX-License-Identifier: MIT */
/*
 * Drafts below one locus. A path follows the best child; a tree takes nodes
 * best-first by path probability.
 *
 * The heap of the tree holds, for every node taken, its best child not yet
 * looked at and its next sibling, so 2 * budget places are enough:
 *
 *     take the best candidate (node v, child of rank r below u)
 *       add v to the tree
 *       enter v's child of rank 0, and u's child of rank r + 1
 *
 * Children stand by decreasing count, so no candidate is better than the one
 * whose taking enters it.
 */
#include "suffix_expand.h"

#include "specp.h"

/* The reference multiplies where the counts are equal nowhere, and elsewhere in
 * two orders; scores are compared exactly, so the roundings must agree. */
static float ratio_path(float prob, uint32_t child, uint32_t parent) {
    return child == parent ? prob : prob * ((float)child / (float)parent);
}

static float ratio_tree(float prob, uint32_t child, uint32_t parent) {
    return child == parent ? prob : prob * (float)child / (float)parent;
}

static float child_prob(const specp_expand *how, float prob, uint32_t child, const spec_locus *parent,
                        bool first) {
    if (how->rule == SPECP_RULE_RATIO)
        return (how->tree ? ratio_tree : ratio_path)(prob, child, parent->count);
    float total = (float)(parent->count - (first ? how->own : 0)) + how->doubt / (float)parent->len;
    if ((float)child >= total) return prob; /* (x * c) / c may round to more than x */
    return prob * (float)child / total;
}

/* Can a draft still score more than how->beat, when no node to come is likelier
 * than `prob`? With room for the rounding of sums. */
static bool can_win(const specp_expand *how, const spec_tree *out, float prob, uint32_t limit) {
    return out->score + prob * (float)(limit - out->n) * 1.0001f > how->beat;
}

/* ---- paths ------------------------------------------------------------ */

static bool best_child(const spec_index *x, spec_locus at, bool lowest, spec_child *out) {
    if (!spec_index_children(x, at, 0, 1, out)) return false;
    if (!lowest) return true;
    spec_child c;
    for (size_t i = 1; spec_index_children(x, at, i, 1, &c) && c.locus.count == out->locus.count; i++)
        if (c.token < out->token) *out = c;
    return true;
}

static bool expand_path(const spec_index *x, spec_locus at, const specp_expand *how, spec_tree *out) {
    float prob = 1.0f;
    uint32_t limit = how->budget < how->depth ? how->budget : how->depth;
    spec_child c;
    while (out->n < limit) {
        if (!best_child(x, at, how->lowest, &c)) return at.len >= spec_index_depth(x);
        prob = child_prob(how, prob, c.locus.count, &at, out->n == 0);
        if (prob < how->min_prob || !can_win(how, out, prob, limit)) return false;
        spec_tree_add(out, (int32_t)out->n - 1, c.token, prob, how->source);
        out->score += prob;
        at = c.locus;
    }
    return false;
}

/* ---- trees ------------------------------------------------------------ */

typedef struct candidates {
    specp_candidate *heap;
    uint32_t n;
} candidates;

static void push(candidates *q, const specp_candidate *c) {
    uint32_t i = q->n++;
    for (; i && q->heap[(i - 1) / 2].prob < c->prob; i = (i - 1) / 2) q->heap[i] = q->heap[(i - 1) / 2];
    q->heap[i] = *c;
}

static specp_candidate pop(candidates *q) {
    specp_candidate top = q->heap[0], last = q->heap[--q->n];
    uint32_t i = 0;
    for (uint32_t kid; (kid = 2 * i + 1) < q->n; i = kid) {
        if (kid + 1 < q->n && q->heap[kid + 1].prob > q->heap[kid].prob) kid++;
        if (q->heap[kid].prob <= last.prob) break;
        q->heap[i] = q->heap[kid];
    }
    if (q->n) q->heap[i] = last;
    return top;
}

/* Enters the child of c->from with c->rank, if there is one likely enough. */
static void enter(const spec_index *x, const specp_expand *how, candidates *q, specp_candidate *c) {
    if (c->depth > how->depth || !spec_index_children(x, c->from, c->rank, 1, &c->child)) return;
    c->prob = child_prob(how, c->parent_prob, c->child.locus.count, &c->from, c->depth == 1);
    if (c->prob >= how->min_prob) push(q, c);
}

static bool expand_tree(const spec_index *x, spec_locus at, const specp_expand *how, specp_candidate *heap,
                        spec_tree *out) {
    candidates q = {heap, 0};
    bool cut = at.len >= spec_index_depth(x);
    specp_candidate c = {.parent_prob = 1.0f, .parent = -1, .depth = 1, .from = at};
    enter(x, how, &q, &c);
    while (q.n && out->n < how->budget) {
        c = pop(&q);
        if (!can_win(how, out, c.prob, how->budget)) break;
        int32_t node = spec_tree_add(out, c.parent, c.child.token, c.prob, how->source);
        out->score += c.prob;
        cut |= c.child.locus.len >= spec_index_depth(x);
        specp_candidate below = {
            .parent_prob = c.prob, .parent = node, .depth = c.depth + 1, .from = c.child.locus};
        c.rank++; /* the sibling first: the reference, too, prefers it to an equal child */
        enter(x, how, &q, &c);
        enter(x, how, &q, &below);
    }
    return cut;
}

bool specp_suffix_expand(const spec_index *x, spec_locus at, const specp_expand *how, specp_candidate *heap,
                         spec_tree *out) {
    spec_tree_clear(out);
    out->match_len = at.len;
    return how->tree ? expand_tree(x, at, how, heap, out) : expand_path(x, at, how, out);
}

/* SPDX-License-Identifier: MIT */
/*
 * The truth about suffix drafts, by brute force: oracle_suffix.h.
 *
 * A place is where a string has occurred: what stands before it and what comes
 * next. A match of m + 1 tokens occurs at those places of the match of m that
 * have the right token before it; a continuation by t occurs at the places
 * whose next token is t, moved on by one:
 *
 *     text   x a b c a b d a b        match "a b" : three places
 *                 ^     ^     ^       next        : c, d, nothing (the text's end)
 *
 * Probabilities are floats, computed as suffix_expand.h writes them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle_suffix.h"
#include "specp.h"

static void *must(void *p) {
    if (p) return p;
    fprintf(stderr, "oracle_suffix: out of memory\n");
    abort();
}

static size_t less(size_t a, size_t b) { return a > b ? a - b : 0; }
static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* ---- places ------------------------------------------------------------ */

typedef struct place {
    const spec_token *begin, *next, *end; /* of its text; next == end at the text's end */
} place;

typedef struct places {
    place *at;
    size_t n, cap;
} places;

static void add_place(places *p, place where) {
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 64;
        p->at = must(realloc(p->at, p->cap * sizeof *p->at));
    }
    p->at[p->n++] = where;
}

static void add_text(places *p, const spec_token *tok, size_t n) {
    for (size_t i = 0; n && i <= n; i++) add_place(p, (place){tok, tok + i, tok + n});
}

/* Every place, those before the first token too: where the empty string occurs. */
static void all_places(const truth *t, const truth_text *q, bool own, places *p) {
    p->n = 0;
    if (own) {
        add_text(p, q->tok, q->n);
        return;
    }
    for (size_t i = 0; i < t->n; i++) {
        const truth_text *other = t->text[i];
        if (truth_tells(t, other, q)) add_text(p, other->tok + other->n_prompt, other->n_taught);
    }
}

/* Keeps the places of a match of m tokens that have `token` before it. */
static void lengthen(places *p, size_t m, spec_token token) {
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++) {
        const place *at = &p->at[i];
        if (at->next - at->begin > (ptrdiff_t)m && at->next[-1 - (ptrdiff_t)m] == token) p->at[kept++] = *at;
    }
    p->n = kept;
}

/* ---- one draft --------------------------------------------------------- */

/* What is continued, and under which limits. */
typedef struct match {
    const suffix_rule *rule;
    uint32_t len, nodes, depth;
    size_t own_end; /* occurrences that are the text's own end and left out */
} match;

typedef struct draft {
    bool own, tied;
    uint32_t match_len;
    float score;
    size_t n, cap;
    float *prob;       /* (n) most probable first */
    spec_token *token; /* (n) of a path */
} draft;

static float node_prob(const match *m, float above, size_t count, size_t count_above, uint32_t len_above) {
    const suffix_rule *r = m->rule;
    float c = (float)count, of = (float)count_above;
    if (!r->self && r->doubt == 0) {
        if (count == count_above) return above;
        return r->tree ? above * c / of : above * (c / of);
    }
    if (len_above == m->len) of = (float)(count_above - m->own_end);
    of += (float)r->doubt / (float)len_above;
    return c < of ? above * c / of : above; /* never more than the parent's */
}

static void add_node(draft *d, spec_token token, float prob) {
    if (d->n == d->cap) {
        d->cap = d->cap ? 2 * d->cap : 64;
        d->prob = must(realloc(d->prob, d->cap * sizeof *d->prob));
        d->token = must(realloc(d->token, d->cap * sizeof *d->token));
    }
    d->token[d->n] = token;
    d->prob[d->n++] = prob;
}

static int by_next(const void *a, const void *b) {
    spec_token x = *((const place *)a)->next, y = *((const place *)b)->next;
    return (x > y) - (x < y);
}

/* Leaves out the texts' ends and sorts by the next token. */
static size_t sort_by_next(place *at, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (at[i].next < at[i].end) at[kept++] = at[i];
    if (kept) qsort(at, kept, sizeof *at, by_next);
    return kept;
}

/* The end of the run that begins at i. */
static size_t run_end(const place *at, size_t i, size_t n) {
    size_t j = i;
    while (j < n && *at[j].next == *at[i].next) j++;
    return j;
}

static void move_on(place *at, size_t n) {
    for (size_t i = 0; i < n; i++) at[i].next++;
}

/* Every continuation that is likely enough, deepest first or not. */
static void enumerate(const match *m, place *at, size_t count, uint32_t depth, float prob, draft *d) {
    if (depth == m->depth) return;
    size_t n = sort_by_next(at, count);
    for (size_t i = 0, j; i < n; i = j) {
        j = run_end(at, i, n);
        float p = node_prob(m, prob, j - i, count, m->len + depth);
        if (p < (float)m->rule->min_prob) continue;
        add_node(d, *at[i].next, p);
        move_on(at + i, j - i);
        enumerate(m, at + i, j - i, depth + 1, p, d);
    }
}

static int by_prob(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

static void draft_tree(const match *m, place *at, size_t n, draft *d) {
    enumerate(m, at, n, 0, 1.0f, d);
    if (d->n) qsort(d->prob, d->n, sizeof *d->prob, by_prob);
    if (d->n > m->nodes) d->n = m->nodes;
}

/* The most frequent next token, the lowest of several; whether there are several. */
static size_t best_run(const place *at, size_t n, size_t *begin, bool *several) {
    size_t best = 0;
    *several = false;
    for (size_t i = 0, j; i < n; i = j) {
        j = run_end(at, i, n);
        if (j - i == best) *several = true;
        if (j - i <= best) continue;
        best = j - i;
        *begin = i;
        *several = false;
    }
    return best;
}

static void draft_path(const match *m, place *at, size_t count, draft *d) {
    float p = 1.0f;
    while (d->n < m->nodes && d->n < m->depth) {
        size_t begin = 0, n = sort_by_next(at, count);
        bool several;
        size_t best = best_run(at, n, &begin, &several);
        if (!best) return;
        p = node_prob(m, p, best, count, m->len + (uint32_t)d->n);
        if (p < (float)m->rule->min_prob) return;
        d->tied |= several;
        add_node(d, *at[begin].next, p);
        at += begin;
        count = best;
        move_on(at, count);
    }
}

static void draft_of(const match *m, const places *p, draft *d) {
    place *at = must(malloc((p->n + 1) * sizeof *at));
    memcpy(at, p->at, p->n * sizeof *at);
    d->n = 0;
    d->score = 0;
    (m->rule->tree ? draft_tree : draft_path)(m, at, p->n, d);
    for (size_t i = 0; i < d->n; i++) d->score += d->prob[i];
    d->match_len = m->len;
    free(at);
}

/* ---- the choice -------------------------------------------------------- */

/* What the caller's arguments, the tree's room and the request's limits allow. */
typedef struct limits {
    uint32_t nodes, depth;
} limits;

static limits limits_of(const truth_text *q, const spec_propose_args *a, const spec_tree *tree) {
    size_t nodes = tree->cap, left = SIZE_MAX, n_response = q->n - q->n_prompt;
    if (a && a->budget) nodes = least(nodes, a->budget);
    if (q->info.max_new_tokens) left = less(q->info.max_new_tokens, n_response);
    if (q->info.max_context) left = least(left, less(q->info.max_context, q->n));
    size_t depth = least(nodes, less(left, 1));
    if (a && a->max_depth) depth = least(depth, a->max_depth);
    return (limits){(uint32_t)(depth ? nodes : 0), (uint32_t)depth};
}

/* The longest match looked for. Some token must stand before it. */
static size_t longest_match(const suffix_rule *r, const truth_text *q) {
    const size_t depth = (size_t)r->depth;
    size_t m = depth - least((size_t)r->nodes, depth / 2);
    if (r->context != 0) m = least(depth - 1, r->context > 0 ? (size_t)r->context : depth);
    return least(m, less(q->n, 1));
}

static match match_of(const truth *t, const truth_text *q, const limits *l, bool own, uint32_t len) {
    const suffix_rule *r = &t->rule;
    double budget = (double)len * r->factor + r->offset + 1e-6;
    double room = (double)l->nodes < r->nodes ? l->nodes : r->nodes;
    match m = {.rule = r, .len = len};
    m.nodes = budget < 1 ? 0 : (uint32_t)(budget < room ? budget : room);
    m.depth = (uint32_t)least(least(l->depth, m.nodes), (size_t)r->depth - len);
    bool whole = own || (q->kept && q->n_taught == q->n - q->n_prompt && len <= q->n_taught);
    m.own_end = r->self != 0 && whole;
    return m;
}

static void draft_free(draft *d) {
    free(d->prob);
    free(d->token);
    memset(d, 0, sizeof *d);
}

/* The best draft of one source: of those with the highest score the longest match's. */
static draft best_of_source(const truth *t, const truth_text *q, const limits *l, bool own) {
    draft best = {.own = own}, d = {.own = own};
    places p = {0};
    bool tied = false;
    all_places(t, q, own, &p);
    for (size_t len = 1; len <= longest_match(&t->rule, q); len++) {
        lengthen(&p, len - 1, q->tok[q->n - len]);
        if (!p.n) break;
        match m = match_of(t, q, l, own, (uint32_t)len);
        draft_of(&m, &p, &d);
        tied |= d.tied;
        if (d.score < best.score) continue;
        draft old = best;
        best = d;
        d = old;
    }
    best.tied = tied;
    free(p.at);
    draft_free(&d);
    return best;
}

/* The own text's draft, unless the others' has a higher score, or it is not looked at. */
static draft best_draft(const truth *t, const truth_text *q, const limits *l) {
    draft own = {.own = true}, shared = {0};
    if (!l->nodes) return own;
    if (t->rule.own != 0) own = best_of_source(t, q, l, true);
    if (t->rule.shared != 0) shared = best_of_source(t, q, l, false);
    bool tied = t->rule.tie == 0 && (own.tied || shared.tied);
    bool take = shared.score > own.score || t->rule.own == 0;
    draft_free(take ? &own : &shared);
    draft best = take ? shared : own;
    best.tied = tied;
    return best;
}

/* ---- comparing --------------------------------------------------------- */

typedef struct judge {
    const truth *t;
    const truth_text *q;
    const spec_tree *tree;
    limits l;
    bool own;
    spec_token *string; /* the match, and room for the path to a node */
    size_t *count;      /* (n) of each node's string; for the root: `matched` */
    size_t matched;
    match m;
    spec_message *why;
} judge;

/* The match and the path to node i in j->string; its length. */
static uint32_t string_of(const judge *j, int32_t i) {
    uint32_t m = j->tree->match_len, len = m + (i < 0 ? 0 : spec_tree_depth(j->tree, i));
    memcpy(j->string, j->q->tok + j->q->n - m, m * sizeof *j->string);
    for (uint32_t at = len; i >= 0; i = j->tree->parent[i]) j->string[--at] = j->tree->token[i];
    return len;
}

static bool node_agrees(judge *j, uint32_t i) {
    const spec_tree *t = j->tree;
    int32_t parent = t->parent[i];
    uint32_t len = string_of(j, (int32_t)i);
    j->count[i] = truth_count(j->t, j->q, j->own, j->string, len);
    if (len > j->t->rule.depth || len - t->match_len > j->l.depth)
        return specp_fail(j->why, false, "node %u: too deep", i);
    float above = parent < 0 ? 1.0f : t->prob[parent];
    size_t count_above = parent < 0 ? j->matched : j->count[parent];
    float p = node_prob(&j->m, above, j->count[i], count_above, len - 1);
    if (!j->count[i] || p != t->prob[i] || p < (float)j->t->rule.min_prob)
        return specp_fail(j->why, false, "node %u: probability %.9g, true %.9g", i, (double)t->prob[i],
                          (double)p);
    if (t->source[i] != t->source[0] || t->q_row[i] != -1)
        return specp_fail(j->why, false, "node %u: source %d, q row %d", i, t->source[i], t->q_row[i]);
    return true;
}

/* Every node has the probability that its tokens have. */
static bool nodes_agree(judge *j) {
    const spec_tree *t = j->tree;
    if (!t->n) return true;
    j->own = t->source[0] == SPEC_SOURCE_OWN;
    if (!j->own && t->source[0] != SPEC_SOURCE_SHARED) return specp_fail(j->why, false, "a strange source");
    if (!t->match_len || t->match_len > longest_match(&j->t->rule, j->q))
        return specp_fail(j->why, false, "a match of %u", t->match_len);
    j->matched = truth_count(j->t, j->q, j->own, j->string, string_of(j, -1));
    j->m = match_of(j->t, j->q, &j->l, j->own, t->match_len);
    if (t->n > j->m.nodes) return specp_fail(j->why, false, "%u nodes for a match of %u", t->n, t->match_len);
    float score = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        if (!node_agrees(j, i)) return false;
        score += t->prob[i];
        if (i && t->prob[i] > t->prob[i - 1]) return specp_fail(j->why, false, "node %u out of order", i);
    }
    if (score != t->score) return specp_fail(j->why, false, "the score is not the sum");
    return true;
}

/* The most frequent continuation of j->string[0..len): how often. */
static size_t best_count(judge *j, uint32_t len) {
    places p = {0};
    size_t begin, best = 0;
    bool several;
    all_places(j->t, j->q, j->own, &p);
    for (size_t m = 0; m < len; m++) lengthen(&p, m, j->string[len - 1 - m]);
    if (p.n) best = best_run(p.at, sort_by_next(p.at, p.n), &begin, &several);
    free(p.at);
    return best;
}

/* A path may follow any of the most frequent tokens, and may not end early. */
static bool is_greedy(judge *j) {
    const spec_tree *t = j->tree;
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t len = string_of(j, (int32_t)i);
        if (t->parent[i] != (int32_t)i - 1) return specp_fail(j->why, false, "node %u: not a path", i);
        if (best_count(j, len - 1) != j->count[i])
            return specp_fail(j->why, false, "node %u is not a most frequent one", i);
    }
    if (!t->n || t->n >= j->m.nodes || t->n >= j->m.depth) return true;
    size_t best = best_count(j, string_of(j, (int32_t)t->n - 1)), last = t->n - 1;
    float p = node_prob(&j->m, t->prob[last], best, j->count[last], j->m.len + t->n);
    if (best && p >= (float)j->t->rule.min_prob)
        return specp_fail(j->why, false, "the path ends early, after %u nodes", t->n);
    return true;
}

/* All that does not depend on the order of equal counts. */
static bool same_draft(judge *j, const draft *d) {
    const spec_tree *t = j->tree;
    bool own = !t->n || t->source[0] == SPEC_SOURCE_OWN;
    bool same =
        t->n == d->n && t->match_len == d->match_len && t->score == d->score && (own == d->own || !d->n);
    for (uint32_t i = 0; same && i < t->n; i++) {
        same = t->prob[i] == d->prob[i];
        if (same && !j->t->rule.tree) same = t->token[i] == d->token[i] && t->parent[i] == (int32_t)i - 1;
    }
    if (same) return true;
    return specp_fail(j->why, false, "%u nodes, match %u, score %.9g, %s; expected %zu, %u, %.9g, %s", t->n,
                      t->match_len, (double)t->score, own ? "own" : "shared", d->n, d->match_len,
                      (double)d->score, d->own ? "own" : "shared");
}

static void note(const judge *j, const draft *d, truth_seen *seen) {
    size_t n_response = j->q->n - j->q->n_prompt;
    bool shared = j->tree->n && !j->own;
    seen->drafts++;
    seen->empty += !j->tree->n;
    seen->shared += shared;
    seen->beyond += shared && j->tree->match_len > n_response;
    seen->tied += d->tied;
}

bool truth_agrees(const truth *t, const truth_text *q, const spec_propose_args *args, const spec_tree *tree,
                  truth_seen *seen, spec_message *why) {
    judge j = {.t = t, .q = q, .tree = tree, .l = limits_of(q, args, tree), .why = why};
    if (tree->n > j.l.nodes) return specp_fail(why, false, "%u nodes, wanted at most %u", tree->n, j.l.nodes);
    if (spec_tree_check(tree, why)) return false;
    if (tree->match_len > q->n) return specp_fail(why, false, "a match longer than the text");
    j.string = must(malloc((tree->match_len + tree->n + 1) * sizeof *j.string));
    j.count = must(calloc(tree->n + 1, sizeof *j.count));
    draft d = best_draft(t, q, &j.l);
    bool ok = (d.tied || same_draft(&j, &d)) && nodes_agree(&j) && (t->rule.tree || is_greedy(&j));
    if (ok) note(&j, &d, seen);
    draft_free(&d);
    free(j.string);
    free(j.count);
    return ok;
}

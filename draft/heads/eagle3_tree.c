/* SPDX-License-Identifier: MIT */
/*
 * EAGLE-2's dynamic tree, for several requests side by side.
 *
 * A request's candidates stand in the order in which they came; two lists refer to
 * them, each sorted by score, older before equal:
 *
 *     candidate  0  1  2  3 | 4  5  6  7  8 ...       parents before children
 *     kept       0  4  1  5                           the best so far: the draft, in the end
 *     beam       4  5  8                              the best of the last level, to be run next
 *
 * Whoever cannot get into `kept` any more is left out of the beam, with its whole
 * offspring: a child has at most its parent's score, and is younger than all that is
 * there. What is left out of a beam would have stood behind the rest, so no other
 * candidate's rank changes, and the draft is the one of the whole search.
 */
#include "eagle3_tree.h"

#include <math.h>
#include <string.h>

#include "specp_math.h"

typedef struct candidate {
    spec_token token;
    int32_t parent; /* candidate, -1: the root */
    int32_t node;   /* that it is a child of, as the head numbers them */
    float score;
} candidate;

/* Candidates by score, at most `cap` of them. */
typedef struct ranking {
    int32_t *at; /* (cap) */
    size_t n, cap;
} ranking;

/* A request's search. */
typedef struct search {
    const specp_eagle3_job *job;
    size_t levels; /* beams that may still be run */
    candidate *candidate;
    size_t n;
    ranking kept, beam;
    size_t n_nodes; /* that the head has run */
} search;

struct specp_eagle3_trees {
    spec_allocator alloc;
    specp_eagle3 *head;
    specp_eagle3_tree_options o;
    size_t most;             /* candidates of a search */
    size_t cap;              /* searches that there is room for */
    search *searches;        /* (cap) */
    candidate *candidates;   /* (cap, most) */
    int32_t *ranks;          /* (cap, total - 1 + top_k) */
    specp_eagle3_node *node; /* (cap * top_k) of a level */
    spec_token *token;       /* (cap * top_k, top_k) */
    float *logprob;          /* likewise */
};

/* ---- memory ----------------------------------------------------------------------- */

static void release_searches(specp_eagle3_trees *t) {
    const spec_allocator *a = &t->alloc;
    size_t k = t->o.top_k, n = t->cap;
    specp_release(a, t->logprob, n * k, k * sizeof *t->logprob);
    specp_release(a, t->token, n * k, k * sizeof *t->token);
    specp_release(a, t->node, n, k * sizeof *t->node);
    specp_release(a, t->ranks, n, (t->o.total - 1 + k) * sizeof *t->ranks);
    specp_release(a, t->candidates, n, t->most * sizeof *t->candidates);
    specp_release(a, t->searches, n, sizeof *t->searches);
}

/* Room for n searches; what was there is not kept. */
static int reserve(specp_eagle3_trees *t, size_t n) {
    const spec_allocator *a = &t->alloc;
    specp_eagle3_trees more = *t;
    size_t k = t->o.top_k;
    if (n <= t->cap) return SPEC_OK;
    more.cap = n;
    more.searches = specp_alloc(a, n, sizeof *more.searches);
    more.candidates = specp_alloc(a, n, more.most * sizeof *more.candidates);
    more.ranks = specp_alloc(a, n, (t->o.total - 1 + k) * sizeof *more.ranks);
    more.node = specp_alloc(a, n, k * sizeof *more.node);
    more.token = specp_alloc(a, n * k, k * sizeof *more.token);
    more.logprob = specp_alloc(a, n * k, k * sizeof *more.logprob);
    bool whole = more.searches != NULL && more.candidates != NULL && more.ranks != NULL &&
                 more.node != NULL && more.token != NULL && more.logprob != NULL;
    release_searches(whole ? t : &more);
    if (whole) *t = more;
    return whole ? SPEC_OK : SPEC_ERR_NOMEM;
}

int specp_eagle3_trees_new(specp_eagle3_trees **out, specp_eagle3 *h, const specp_eagle3_tree_options *o,
                           const spec_allocator *alloc, spec_message *why) {
    if (o->top_k < 1 || o->top_k > SPECP_EAGLE3_MAX_TOP_K || o->depth > SPECP_EAGLE3_MAX_DEPTH ||
        o->total < 2 || o->total > SPEC_TREE_MAX_NODES + 1)
        return specp_fail(why, SPEC_ERR_INVALID,
                          "a tree of top_k %u, depth %u, total %u; expected 1 to %d, 0 to %d, 2 to %d",
                          (unsigned)o->top_k, (unsigned)o->depth, (unsigned)o->total, SPECP_EAGLE3_MAX_TOP_K,
                          SPECP_EAGLE3_MAX_DEPTH, SPEC_TREE_MAX_NODES + 1);
    specp_eagle3_trees *t = specp_calloc(alloc, 1, sizeof *t);
    if (t == NULL) return specp_fail(why, SPEC_ERR_NOMEM, "there is not enough memory for trees");
    size_t vocab = specp_eagle3_get_info(h)->draft_vocab;
    if (alloc != NULL) t->alloc = *alloc;
    t->head = h;
    t->o = *o;
    if (t->o.top_k > vocab) t->o.top_k = (uint32_t)vocab;
    t->most = t->o.top_k + (size_t)t->o.depth * t->o.top_k * t->o.top_k;
    *out = t;
    return SPEC_OK;
}

void specp_eagle3_trees_free(specp_eagle3_trees *t) {
    if (t == NULL) return;
    spec_allocator alloc = t->alloc;
    release_searches(t);
    specp_release(&alloc, t, 1, sizeof *t);
}

/* ---- candidates ------------------------------------------------------------------- */

static float score_at(const search *s, const ranking *r, size_t i) { return s->candidate[r->at[i]].score; }

/* Enters candidate c, younger than all that are there; the worst may have to go. */
static void rank(const search *s, ranking *r, size_t c) {
    float score = s->candidate[c].score;
    if (r->n == r->cap && !(score > score_at(s, r, r->n - 1))) return;
    size_t at = r->n < r->cap ? r->n++ : r->n - 1;
    for (; at > 0 && score > score_at(s, r, at - 1); at--) r->at[at] = r->at[at - 1];
    r->at[at] = (int32_t)c;
}

/* The best tokens after a node, whose candidate is `parent`, become candidates. */
static void expand(search *s, int32_t parent, size_t node, const spec_token *token, const float *logprob,
                   size_t k) {
    float above = parent < 0 ? 0.0f : s->candidate[parent].score;
    for (size_t j = 0; j < k && logprob[j] > -INFINITY; j++) {
        s->candidate[s->n] = (candidate){token[j], parent, (int32_t)node, above + logprob[j]};
        rank(s, &s->kept, s->n);
        rank(s, &s->beam, s->n);
        s->n++;
    }
}

/* Whether children of the beam's i-th could still be kept. */
static bool is_open(const search *s, size_t i) {
    return s->kept.n < s->kept.cap || score_at(s, &s->beam, i) > score_at(s, &s->kept, s->kept.n - 1);
}

/* ---- levels ----------------------------------------------------------------------- */

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static void begin(specp_eagle3_trees *t, size_t i, const specp_eagle3_job *job) {
    size_t k = t->o.top_k, width = t->o.total - 1 + k;
    size_t most = least(t->o.total - 1, least(job->budget, job->out->cap));
    search *s = &t->searches[i];
    *s = (search){.job = job, .candidate = t->candidates + i * t->most};
    s->kept = (ranking){.at = t->ranks + i * width, .cap = most};
    s->beam = (ranking){.at = s->kept.at + t->o.total - 1, .cap = k};
    /* A path of d nodes is kept whole. */
    s->levels = least(least(t->o.depth + (size_t)1, job->max_depth), most);
    if (specp_eagle3_request_length(job->request) == 0) s->levels = 0;
    specp_eagle3_drop(job->request);
    spec_tree_clear(job->out);
}

/* The nodes of a search that are to be run next, from t->node[n] on; returns how many. */
static size_t add_nodes(specp_eagle3_trees *t, search *s, size_t n) {
    size_t first = n;
    if (s->levels == 0) return 0;
    s->levels--;
    if (s->n_nodes == 0) t->node[n++] = (specp_eagle3_node){s->job->request, -1, 0};
    while (n - first < s->beam.n && is_open(s, n - first)) {
        const candidate *c = &s->candidate[s->beam.at[n - first]];
        t->node[n++] = (specp_eagle3_node){s->job->request, c->node, c->token};
    }
    return n - first;
}

/* Results of `count` nodes from the n-th on: the candidates of the next level. */
static void add_results(const specp_eagle3_trees *t, search *s, size_t n, size_t count) {
    int32_t ran[SPECP_EAGLE3_MAX_TOP_K] = {-1};
    size_t k = t->o.top_k;
    if (s->n_nodes > 0) memcpy(ran, s->beam.at, count * sizeof *ran);
    s->beam.n = 0;
    for (size_t i = 0; i < count; i++)
        expand(s, ran[i], s->n_nodes++, t->token + (n + i) * k, t->logprob + (n + i) * k, k);
}

/* One level of all searches; *ran: there was something to run. */
static int run_level(specp_eagle3_trees *t, size_t n_jobs, bool *ran, spec_message *why) {
    size_t n = 0, at = 0;
    for (size_t i = 0; i < n_jobs; i++) n += add_nodes(t, &t->searches[i], n);
    *ran = n > 0;
    if (n == 0) return SPEC_OK;
    int err = specp_eagle3_run(t->head, t->node, n, t->o.top_k, t->token, t->logprob, why);
    for (size_t i = 0; i < n_jobs && err == SPEC_OK; i++) {
        size_t first = at;
        while (at < n && t->node[at].request == t->searches[i].job->request) at++;
        if (at > first) add_results(t, &t->searches[i], first, at - first);
    }
    return err;
}

/* ---- the draft -------------------------------------------------------------------- */

/* The candidates that are kept, by age. A candidate's `node`, which is not needed any more, becomes
 * its place in the draft. */
static void emit(search *s) {
    spec_tree *out = s->job->out;
    for (size_t i = 0; i < s->n; i++) s->candidate[i].node = -1;
    for (size_t i = 0; i < s->kept.n; i++) s->candidate[s->kept.at[i]].node = 0;
    for (size_t i = 0; i < s->n; i++) {
        candidate *c = &s->candidate[i];
        if (c->node < 0) continue;
        int32_t parent = c->parent < 0 ? -1 : s->candidate[c->parent].node;
        float p = specp_expf(c->score), most = parent < 0 ? 1.0f : out->prob[parent];
        c->node = spec_tree_add(out, parent, c->token, p < most ? p : most, SPEC_SOURCE_HEAD);
        out->score += out->prob[c->node];
    }
}

int specp_eagle3_draft(specp_eagle3_trees *t, const specp_eagle3_job *jobs, size_t n, spec_message *why) {
    bool ran = n > 0;
    int err = reserve(t, n);
    if (err != SPEC_OK) (void)specp_fail(why, err, "there is not enough memory for %zu trees", n);
    for (size_t i = 0; i < n; i++) {
        if (err == SPEC_OK)
            begin(t, i, &jobs[i]);
        else
            spec_tree_clear(jobs[i].out);
    }
    while (err == SPEC_OK && ran) err = run_level(t, n, &ran, why);
    for (size_t i = 0; i < n; i++) {
        if (err == SPEC_OK) emit(&t->searches[i]);
        specp_eagle3_drop(jobs[i].request);
    }
    return err;
}

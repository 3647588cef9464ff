/* SPDX-License-Identifier: MIT */
/*
 * union: one tree of several drafters' drafts.
 *
 *     a drafts  x .6 - y .3      b drafts  x .5 - y .4      one tree  x .6 -+- y .4
 *                                            \ z .1         budget 4        +- z .1
 *                                          w .2                       w .2
 *
 * Every drafter may use the whole budget. Their trees are laid over each other: nodes
 * with the same path of tokens are one, which has the largest of the probabilities and
 * the source that it came from. Of all nodes the most probable ones within the budget
 * stay. A child is never more probable than its parent, here as in each draft, so what
 * stays is a tree; taken in the order of probability, of depth where that is equal,
 * then of the drafters, parents come before children and siblings as they must.
 *
 * Where one drafter alone has drafted, its draft is taken as it stands. Otherwise nodes
 * that were drawn from q rows, and all below them, are left out: their law holds for
 * all the draws of a row together. Only a drafter that is asked while none before it
 * has drafted is offered room for q rows. Neither depends on what was drawn.
 */
#include "parts.h"

#include <string.h>

typedef struct union_request {
    specp_parts_request parts;
    spec_tree draft[SPECP_MAX_PARTS]; /* what each drafted; the q rows are the tree's that is filled */
} union_request;

/* ---- laying drafts over each other ----------------------------------------- */

/* A node of all drafts. Children are found by first_child and next_sibling. */
typedef struct laid {
    spec_token token;
    float prob;
    int32_t parent, first_child, next_sibling;
    int32_t chosen; /* its place in the tree that is made, -1 = none */
    uint16_t depth;
    uint8_t source;
} laid;

typedef struct layers {
    laid *node; /* (cap) */
    uint32_t *heap;
    int32_t *place; /* (cap) of the draft that is being added: where its nodes went */
    size_t n, cap;
    int32_t first_root;
} layers;

static void layers_release(layers *l, const spec_allocator *alloc) {
    specp_release(alloc, l->node, l->cap, sizeof *l->node);
    specp_release(alloc, l->heap, l->cap, sizeof *l->heap);
    specp_release(alloc, l->place, l->cap, sizeof *l->place);
}

static int layers_make(layers *l, size_t cap, const spec_allocator *alloc) {
    *l = (layers){.cap = cap, .first_root = -1};
    l->node = specp_alloc(alloc, cap, sizeof *l->node);
    l->heap = specp_alloc(alloc, cap, sizeof *l->heap);
    l->place = specp_alloc(alloc, cap, sizeof *l->place);
    if (l->node && l->heap && l->place) return SPEC_OK;
    layers_release(l, alloc);
    return SPEC_ERR_NOMEM;
}

/* The child of `parent` with that token, made if need be. */
static int32_t lay_node(layers *l, int32_t parent, spec_token token, float prob, uint8_t source) {
    int32_t *first = parent < 0 ? &l->first_root : &l->node[parent].first_child;
    int32_t i = *first;
    while (i >= 0 && l->node[i].token != token) i = l->node[i].next_sibling;
    if (i < 0) {
        i = (int32_t)l->n++;
        uint16_t depth = parent < 0 ? 1 : (uint16_t)(l->node[parent].depth + 1);
        l->node[i] = (laid){token, prob, parent, -1, *first, -1, depth, source};
        *first = i;
    } else if (prob > l->node[i].prob) {
        l->node[i].prob = prob;
        l->node[i].source = source;
    }
    return i;
}

static void lay_draft(layers *l, const spec_tree *t) {
    for (uint32_t i = 0; i < t->n; i++) {
        int32_t parent = t->parent[i] < 0 ? -1 : l->place[t->parent[i]];
        bool left_out = t->q_row[i] >= 0 || (t->parent[i] >= 0 && parent < 0);
        l->place[i] = left_out ? -1 : lay_node(l, parent, t->token[i], t->prob[i], t->source[i]);
    }
}

/* ---- choosing ---------------------------------------------------------------- */

static bool before(const layers *l, uint32_t a, uint32_t b) {
    const laid *x = &l->node[a], *y = &l->node[b];
    if (x->prob != y->prob) return x->prob > y->prob;
    return x->depth != y->depth ? x->depth < y->depth : a < b;
}

/* Restores the heap of n below `at`: what stands before its children is on top. */
static void sift(layers *l, size_t at, size_t n) {
    uint32_t moved = l->heap[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(l, l->heap[child + 1], l->heap[child])) child++;
        if (!before(l, l->heap[child], moved)) break;
        l->heap[at] = l->heap[child];
    }
    l->heap[at] = moved;
}

/* Adds the first `budget` nodes to the tree. */
static void choose(layers *l, uint32_t budget, spec_tree *out) {
    size_t n = l->n;
    for (size_t i = 0; i < n; i++) l->heap[i] = (uint32_t)i;
    for (size_t i = n / 2; i-- > 0;) sift(l, i, n);
    for (; n && out->n < budget; sift(l, 0, n)) {
        laid *x = &l->node[l->heap[0]];
        int32_t parent = x->parent < 0 ? -1 : l->node[x->parent].chosen;
        x->chosen = spec_tree_add(out, parent, x->token, x->prob, x->source);
        out->score += x->prob;
        l->heap[0] = l->heap[--n];
        if (!n) break;
    }
}

/* ---- drafting ------------------------------------------------------------------ */

/* A draft as it stands; its q rows are in place. */
static void copy_draft(const spec_tree *t, spec_tree *out) {
    for (uint32_t i = 0; i < t->n; i++) {
        spec_tree_add(out, t->parent[i], t->token[i], t->prob[i], t->source[i]);
        out->q_row[i] = t->q_row[i];
    }
    out->n_q = t->n_q;
    out->q_without_replacement = t->q_without_replacement;
    out->score = t->score;
    out->match_len = t->match_len;
}

static int merge(const specp_parts *p, const union_request *r, uint32_t budget, spec_tree *out) {
    const spec_tree *last = NULL;
    size_t drafts = 0, nodes = 0;
    for (size_t k = 0; k < p->n; k++) {
        if (!r->draft[k].n) continue;
        last = &r->draft[k];
        drafts++;
        nodes += last->n;
    }
    if (drafts == 1) copy_draft(last, out);
    if (drafts < 2) return SPEC_OK;
    layers l;
    int err = layers_make(&l, nodes, &p->alloc);
    if (err) return err;
    for (size_t k = 0; k < p->n; k++) {
        const spec_tree *t = &r->draft[k];
        lay_draft(&l, t);
        if (t->n && t->match_len > out->match_len) out->match_len = t->match_len;
    }
    choose(&l, budget, out);
    layers_release(&l, &p->alloc);
    return SPEC_OK;
}

/* Empties the request's trees and gives each at least `nodes` of room. */
static int reserve(const specp_parts *p, union_request *r, uint32_t nodes) {
    for (size_t k = 0; k < p->n; k++) {
        int err = specp_parts_room(p, &r->draft[k], nodes);
        if (err) return err;
    }
    return SPEC_OK;
}

/* Lends the tree's q rows to draft k, unless one before it has drafted. */
static void lend_q(union_request *r, size_t k, const spec_tree *out) {
    bool free = true;
    for (size_t j = 0; j < k; j++) free = free && !r->draft[j].n;
    spec_tree *t = &r->draft[k];
    t->q = free ? out->q : NULL;
    t->q_cap = free ? out->q_cap : 0;
    t->vocab = out->vocab;
}

/* Takes back what was lent: spec_tree_release must not see it. */
static void return_q(union_request *r, size_t n) {
    for (size_t k = 0; k < n; k++) {
        r->draft[k].q = NULL;
        r->draft[k].q_cap = r->draft[k].vocab = 0;
    }
}

/* Asks every part for n requests; request[] and tree[] have room for them. */
static int ask_parts(const specp_parts *p, void *const *state, const spec_propose_args *a,
                     spec_tree *const *out, size_t n, spec_request **request, spec_tree **tree) {
    int err = SPEC_OK;
    for (size_t k = 0; !err && k < p->n; k++) {
        for (size_t i = 0; i < n; i++) {
            union_request *r = state[i];
            lend_q(r, k, out[i]);
            request[i] = r->parts.of[k];
            tree[i] = &r->draft[k];
        }
        err = spec_request_propose_batch((spec_request *const *)request, a, (spec_tree *const *)tree, n);
    }
    return err;
}

static int propose_all(const specp_parts *p, void *const *state, const spec_propose_args *a,
                       spec_tree *const *out, size_t n, spec_request **request, spec_tree **tree) {
    int err = SPEC_OK;
    for (size_t i = 0; !err && i < n; i++) err = reserve(p, state[i], a[i].budget);
    if (!err) err = ask_parts(p, state, a, out, n, request, tree);
    for (size_t i = 0; i < n; i++) {
        union_request *r = state[i];
        if (!err && specp_parts_even(p, &r->parts)) err = merge(p, r, a[i].budget, out[i]);
        return_q(r, p->n);
    }
    return err;
}

static int union_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    spec_request *request;
    spec_tree *tree;
    return propose_all(self, &state, a, &out, 1, &request, &tree);
}

static int union_propose_batch(void *self, void *const *state, const spec_propose_args *a,
                               spec_tree *const *out, size_t n) {
    const specp_parts *p = self;
    spec_request **request = specp_alloc(&p->alloc, n, sizeof *request);
    spec_tree **tree = specp_alloc(&p->alloc, n, sizeof *tree);
    int err = request && tree ? propose_all(p, state, a, out, n, request, tree) : SPEC_ERR_NOMEM;
    specp_release(&p->alloc, request, n, sizeof *request);
    specp_release(&p->alloc, tree, n, sizeof *tree);
    return err;
}

/* ---- requests -------------------------------------------------------------------- */

static int union_begin(void *self, const spec_request_info *info, void **state) {
    specp_parts *p = self;
    union_request *r = specp_calloc(&p->alloc, 1, sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    int err = specp_parts_begin(p, info, &r->parts);
    if (err)
        specp_release(&p->alloc, r, 1, sizeof *r);
    else
        *state = r;
    return err;
}

static int union_observe(void *self, void *state, const spec_outcome *o) {
    specp_parts *p = self;
    union_request *r = state;
    const spec_tree *own[SPECP_MAX_PARTS] = {NULL};
    for (size_t k = 0; k < p->n; k++) own[k] = &r->draft[k];
    return specp_parts_observe(p, &r->parts, o, own);
}

static void union_end(void *self, void *state) {
    specp_parts *p = self;
    union_request *r = state;
    specp_parts_end(p, &r->parts);
    for (size_t k = 0; k < p->n; k++) spec_tree_release(&r->draft[k], &p->alloc);
    specp_release(&p->alloc, r, 1, sizeof *r);
}

/* ---- the drafter ------------------------------------------------------------------- */

static int union_save(void *self, uint64_t tenant, const char *path, spec_message *why) {
    return specp_parts_save(self, tenant, path, why);
}

static void union_needs(void *self, spec_needs *out) { *out = ((specp_parts *)self)->needs; }

static void union_stats(void *self, spec_drafter_stats *out) { specp_parts_stats(self, out); }

static void union_free(void *self) {
    specp_parts *p = self;
    spec_allocator inner = p->account.inner;
    specp_parts_close(p);
    specp_release(&inner, p, 1, sizeof *p);
}

const char specp_union_help[] =
    "union: union:A+B drafts one tree of two to eight drafters' drafts: the most\n"
    "  probable nodes within the budget; what several propose is in it once. Sampled\n"
    "  drafts enter only where one drafter alone has drafted. A and B are drafters\n"
    "  with their options; one that is a union or cascade itself, or has one of\n"
    "  + ( ) in a file's name, stands in parentheses:\n"
    "  union:suffix:preset=arctic+pld:n_max=2+(cascade:pld>ngram-cache,tau=2).\n"
    "  Without A+B: suffix+pld.\n"
    "  No options of its own.\n";

int specp_union_of(spec_drafter **out, spec_drafter *const *d, size_t n, const spec_allocator *alloc) {
    static const spec_drafter_ops ops = {.version = SPEC_DRAFTER_OPS_V1,
                                         .name = "union",
                                         .begin = union_begin,
                                         .propose = union_propose,
                                         .propose_batch = union_propose_batch,
                                         .observe = union_observe,
                                         .end = union_end,
                                         .save = union_save,
                                         .needs = union_needs,
                                         .stats = union_stats,
                                         .free = union_free};
    specp_parts *p = specp_calloc(alloc, 1, sizeof *p);
    int err = p ? specp_parts_init(p, d, n, alloc) : SPEC_ERR_NOMEM;
    if (!err) {
        err = spec_drafter_new(out, &ops, p, alloc);
        if (!err) return SPEC_OK;
        specp_parts_release(p);
    }
    specp_release(alloc, p, 1, sizeof *p);
    return err;
}

int specp_union_open(spec_drafter **out, const char *options, const spec_drafter_env *env,
                     const spec_allocator *alloc, spec_message *why) {
    const char *text = *options ? options : "suffix+pld";
    spec_drafter *d[SPECP_MAX_PARTS];
    size_t n;
    int err = specp_parts_open(d, &n, "union", text, strlen(text), '+', 2, SPECP_MAX_PARTS, env, alloc, why);
    if (err) return err;
    err = specp_union_of(out, d, n, alloc);
    if (!err) return SPEC_OK;
    while (n) spec_drafter_free(d[--n]);
    return specp_fail(why, err, "drafter union: %s", spec_strerror(err));
}

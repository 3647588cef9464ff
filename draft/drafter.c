/* SPDX-License-Identifier: MIT */
/*
 * The library's side of a drafter: what every call checks, counts and limits
 * before and after the drafter's own table is asked.
 *
 *     engine --> spec_request_propose --> ops->propose
 *                  args checked, budget and depth set        fills the tree
 *                  <-- tree clipped, counted <--
 *
 * A request knows how long its text is, so that no draft runs past its limits:
 * with r tokens still allowed a path has at most r - 1 nodes, because
 * verification adds a token of its own.
 *
 * Structs from the caller carry their size. A shorter one is an older caller's
 * and is filled up with zeros; a longer one is a newer caller's and is accepted
 * where the part unknown here is zero.
 */
#include <stdatomic.h>
#include <string.h>

#include "draft_internal.h"
#include "specp.h"

struct spec_drafter {
    spec_drafter_ops ops;
    void *self;
    spec_allocator alloc;
    _Atomic uint64_t requests, proposals, nodes;
};

struct spec_request {
    spec_drafter *d;
    void *state;
    size_t n_prompt, n_response;
    size_t max_new_tokens, max_context;
};

void *specp_drafter_self(const spec_drafter *d) { return d->self; }

void *specp_request_state(const spec_request *r) { return r->state; }

/* ---- checks ------------------------------------------------------------ */

int specp_take_struct(void *dst, size_t size, size_t size_v1, const void *src) {
    if (!src) return SPEC_OK;
    size_t given = *(const size_t *)src; /* its first member */
    if (given < size_v1) return SPEC_ERR_INVALID;
    for (size_t i = size; i < given; i++)
        if (((const unsigned char *)src)[i]) return SPEC_ERR_VERSION;
    memcpy(dst, src, given < size ? given : size);
    return SPEC_OK;
}

static bool tokens_valid(const spec_token *tok, size_t n) {
    if (n && !tok) return false;
    for (size_t i = 0; i < n; i++)
        if (tok[i] < 0) return false;
    return true;
}

static bool tree_usable(const spec_tree *t) {
    return t && (!t->cap || (t->token && t->parent && t->prob && t->source && t->q_row));
}

/* ---- the drafter ------------------------------------------------------- */

int spec_drafter_new(spec_drafter **out, const spec_drafter_ops *ops, void *self,
                     const spec_allocator *alloc) {
    if (!out || !ops) return SPEC_ERR_INVALID;
    if (ops->version != SPEC_DRAFTER_OPS_V1) return SPEC_ERR_VERSION;
    if (!ops->name || !ops->propose) return SPEC_ERR_INVALID;
    spec_drafter *d = specp_calloc(alloc, 1, sizeof *d);
    if (!d) return SPEC_ERR_NOMEM;
    d->ops = *ops;
    d->self = self;
    if (alloc) d->alloc = *alloc;
    atomic_init(&d->requests, 0);
    atomic_init(&d->proposals, 0);
    atomic_init(&d->nodes, 0);
    *out = d;
    return SPEC_OK;
}

int specp_drafter_of(spec_drafter **out, const spec_drafter_ops *ops, void *self, const spec_allocator *alloc,
                     spec_message *why) {
    int err = self ? spec_drafter_new(out, ops, self, alloc) : SPEC_ERR_NOMEM;
    if (!err) return SPEC_OK;
    if (self) ops->free(self);
    return specp_fail(why, err, "drafter %s: %s", ops->name, spec_strerror(err));
}

void spec_drafter_free(spec_drafter *d) {
    if (!d) return;
    if (d->ops.free) d->ops.free(d->self);
    spec_allocator alloc = d->alloc;
    specp_release(&alloc, d, 1, sizeof *d);
}

const char *spec_drafter_name(const spec_drafter *d) { return d->ops.name; }

void spec_drafter_needs(const spec_drafter *d, spec_needs *out) {
    memset(out, 0, sizeof *out);
    if (d->ops.needs) d->ops.needs(d->self, out);
}

void spec_drafter_get_stats(const spec_drafter *d, spec_drafter_stats *out) {
    memset(out, 0, sizeof *out);
    if (d->ops.stats) d->ops.stats(d->self, out);
    out->requests = atomic_load_explicit(&d->requests, memory_order_relaxed);
    out->proposals = atomic_load_explicit(&d->proposals, memory_order_relaxed);
    out->nodes = atomic_load_explicit(&d->nodes, memory_order_relaxed);
}

int spec_drafter_save(spec_drafter *d, uint64_t tenant, const char *path, spec_message *why) {
    if (why) why->text[0] = 0;
    if (!d || !path) return specp_fail(why, SPEC_ERR_INVALID, "expected a drafter and a path");
    if (!d->ops.save)
        return specp_fail(why, SPEC_ERR_UNSUPPORTED, "drafter %s has nothing to save", d->ops.name);
    return d->ops.save(d->self, tenant, path, why);
}

static void count(_Atomic uint64_t *total, uint64_t n) {
    atomic_fetch_add_explicit(total, n, memory_order_relaxed);
}

/* ---- requests ---------------------------------------------------------- */

int spec_request_begin(spec_drafter *d, const spec_request_info *info, spec_request **out) {
    spec_request_info full = {0};
    if (!d || !out) return SPEC_ERR_INVALID;
    int err = specp_take_struct(&full, sizeof full, sizeof(spec_request_info), info);
    if (err) return err;
    full.size = sizeof full;
    if (!tokens_valid(full.prompt, full.n_prompt) || !tokens_valid(full.reference, full.n_reference))
        return SPEC_ERR_INVALID;
    spec_request *r = specp_calloc(&d->alloc, 1, sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    err = d->ops.begin ? d->ops.begin(d->self, &full, &r->state) : SPEC_OK;
    if (err) {
        specp_release(&d->alloc, r, 1, sizeof *r);
        return err;
    }
    r->d = d;
    r->n_prompt = full.n_prompt;
    r->max_new_tokens = full.max_new_tokens;
    r->max_context = full.max_context;
    count(&d->requests, 1);
    *out = r;
    return SPEC_OK;
}

void spec_request_end(spec_request *r) {
    if (!r) return;
    if (r->d->ops.end) r->d->ops.end(r->d->self, r->state);
    specp_release(&r->d->alloc, r, 1, sizeof *r);
}

static size_t minus(size_t a, size_t b) { return a > b ? a - b : 0; }

/* The longest path that the request's limits allow. */
static size_t path_limit(const spec_request *r) {
    size_t left = SIZE_MAX;
    if (r->max_new_tokens) left = minus(r->max_new_tokens, r->n_response);
    if (r->max_context) {
        size_t room = minus(minus(r->max_context, r->n_prompt), r->n_response);
        if (room < left) left = room;
    }
    return minus(left, 1);
}

static uint32_t least(size_t a, size_t b) { return (uint32_t)(a < b ? a : b); }

int specp_take_args(spec_propose_args *full, const spec_propose_args *given) {
    memset(full, 0, sizeof *full);
    int err = specp_take_struct(full, sizeof *full, offsetof(spec_propose_args, min_prob), given);
    if (err) return err;
    full->size = sizeof *full;
    return full->min_prob >= 0 && full->min_prob <= 1 ? SPEC_OK : SPEC_ERR_INVALID;
}

/* Makes complete arguments of what the caller gave: budget and depth are set,
 * and budget is 0 where nothing may be drafted. */
static int set_args(const spec_request *r, const spec_propose_args *given, const spec_tree *tree,
                    spec_propose_args *full) {
    int err = specp_take_args(full, given);
    if (err) return err;
    uint32_t room = least(tree->cap, SPEC_TREE_MAX_NODES);
    full->budget = full->budget ? least(full->budget, room) : room;
    size_t depth = full->max_depth ? full->max_depth : full->budget;
    full->max_depth = least(least(depth, full->budget), path_limit(r));
    if (!full->max_depth) full->budget = 0;
    return SPEC_OK;
}

/* After the drafter: holds it to its budget, or forgets what it left on error. */
static int settle(spec_drafter *d, int err, const spec_propose_args *a, spec_tree *tree) {
    if (err) {
        spec_tree_clear(tree);
        return err;
    }
    spec_tree_clip(tree, a->budget, a->max_depth);
    if (a->min_prob > 0) specp_tree_prune(tree, a->min_prob);
    count(&d->proposals, 1);
    count(&d->nodes, tree->n);
    return SPEC_OK;
}

/* One proposal with arguments that are complete. */
static int propose_one(spec_request *r, const spec_propose_args *a, spec_tree *tree) {
    spec_tree_clear(tree);
    int err = a->budget ? r->d->ops.propose(r->d->self, r->state, a, tree) : SPEC_OK;
    return settle(r->d, err, a, tree);
}

int spec_request_propose(spec_request *r, const spec_propose_args *args, spec_tree *tree) {
    spec_propose_args full;
    if (!r || !tree_usable(tree)) return SPEC_ERR_INVALID;
    int err = set_args(r, args, tree, &full);
    return err ? err : propose_one(r, &full, tree);
}

/* ---- batches ----------------------------------------------------------- */

/* All that can be wrong with a batch before any drafter is asked. */
static int check_batch(spec_request *const *requests, const spec_propose_args *args, spec_tree *const *trees,
                       size_t n) {
    if (!requests || !trees) return SPEC_ERR_INVALID;
    for (size_t i = 0; i < n; i++) {
        spec_propose_args full;
        if (!requests[i] || requests[i]->d != requests[0]->d || !tree_usable(trees[i]))
            return SPEC_ERR_INVALID;
        int err = set_args(requests[i], args ? &args[i] : NULL, trees[i], &full);
        if (err) return err;
    }
    return SPEC_OK;
}

static int clear_all(spec_tree *const *trees, size_t n, int err) {
    for (size_t i = 0; i < n; i++) spec_tree_clear(trees[i]);
    return err;
}

/* Room for a call of ops->propose_batch: only requests that may draft go in. */
typedef struct batch {
    void **state;
    spec_propose_args *args;
    spec_tree **tree;
    size_t n, cap;
} batch;

static void batch_release(batch *b, const spec_allocator *alloc) {
    specp_release(alloc, b->state, b->cap, sizeof *b->state);
    specp_release(alloc, b->args, b->cap, sizeof *b->args);
    specp_release(alloc, b->tree, b->cap, sizeof *b->tree);
}

static int batch_make(batch *b, size_t cap, const spec_allocator *alloc) {
    *b = (batch){.cap = cap};
    b->state = specp_alloc(alloc, cap, sizeof *b->state);
    b->args = specp_alloc(alloc, cap, sizeof *b->args);
    b->tree = specp_alloc(alloc, cap, sizeof *b->tree);
    if (b->state && b->args && b->tree) return SPEC_OK;
    batch_release(b, alloc);
    return SPEC_ERR_NOMEM;
}

static int propose_together(spec_request *const *requests, const spec_propose_args *args,
                            spec_tree *const *trees, size_t n) {
    batch b;
    spec_drafter *d = requests[0]->d;
    int err = batch_make(&b, n, &d->alloc);
    if (err) return clear_all(trees, n, err);
    for (size_t i = 0; i < n; i++) {
        spec_tree_clear(trees[i]);
        err = set_args(requests[i], args ? &args[i] : NULL, trees[i], &b.args[b.n]);
        if (err) break;
        b.state[b.n] = requests[i]->state;
        b.tree[b.n] = trees[i];
        if (b.args[b.n].budget) b.n++;
    }
    if (!err && b.n) err = d->ops.propose_batch(d->self, b.state, b.args, b.tree, b.n);
    for (size_t i = 0; !err && i < b.n; i++) settle(d, SPEC_OK, &b.args[i], b.tree[i]);
    batch_release(&b, &d->alloc);
    if (err) return clear_all(trees, n, err);
    count(&d->proposals, n - b.n); /* settle counted the others */
    return SPEC_OK;
}

static int propose_apart(spec_request *const *requests, const spec_propose_args *args,
                         spec_tree *const *trees, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int err = spec_request_propose(requests[i], args ? &args[i] : NULL, trees[i]);
        if (err) return clear_all(trees, n, err);
    }
    return SPEC_OK;
}

int spec_request_propose_batch(spec_request *const *requests, const spec_propose_args *args,
                               spec_tree *const *trees, size_t n) {
    if (!n) return SPEC_OK;
    int err = check_batch(requests, args, trees, n);
    if (err) return err;
    bool together = requests[0]->d->ops.propose_batch != NULL;
    return (together ? propose_together : propose_apart)(requests, args, trees, n);
}

/* ---- learning ---------------------------------------------------------- */

static int check_outcome(const spec_outcome *o) {
    if (!tokens_valid(o->committed, o->n_committed)) return SPEC_ERR_INVALID;
    if (o->tree && o->tree->n && !o->accepted) return SPEC_ERR_INVALID;
    bool rows = o->n_rows && (o->top_k || o->n_taps);
    if (rows && o->tree && o->n_rows != (size_t)o->tree->n + 1) return SPEC_ERR_INVALID;
    if (rows && o->top_k && (!o->topk_token || !o->topk_logprob)) return SPEC_ERR_INVALID;
    if (rows && o->n_taps && (!o->hidden || !o->hidden_dim)) return SPEC_ERR_INVALID;
    return SPEC_OK;
}

int spec_request_observe(spec_request *r, const spec_outcome *outcome) {
    spec_outcome full = {0};
    if (!r || !outcome) return SPEC_ERR_INVALID;
    int err = specp_take_struct(&full, sizeof full, sizeof(spec_outcome), outcome);
    if (!err) err = check_outcome(&full);
    if (err) return err;
    full.size = sizeof full;
    err = r->d->ops.observe ? r->d->ops.observe(r->d->self, r->state, &full) : SPEC_OK;
    if (!err) r->n_response += full.n_committed;
    return err;
}

int spec_request_commit(spec_request *r, const spec_token *tok, size_t n) {
    spec_outcome o = {.size = sizeof o, .committed = tok, .n_committed = n};
    return spec_request_observe(r, &o);
}

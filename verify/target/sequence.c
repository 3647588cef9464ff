/* SPDX-License-Identifier: MIT */
/*
 * sequence.c - sequences: the tokens that a target has read, their cache, and
 * the rows of the last draft tree until they are accepted.
 *
 *     cache      t0 t1 t2 ... t(n-1)          positions; the next pass writes from n on
 *     scratch    node0 node1 node2 ...        the tree that hangs from t(n-1)
 *     accept     path {0, 2}: rows 0 and 2 become positions n and n + 1
 *
 * Invariants: cache has room for n positions, tokens for n; a tree waits if and
 * only if n_nodes > 0. What lies behind position n in the cache is anything.
 */
#include <string.h>

#include "sequence.h"

int spec_sequence_new(spec_sequence **out, spec_target *t, size_t max_context) {
    if (max_context > t->options.max_context) return SPEC_ERR_INVALID;
    spec_sequence *s = specp_calloc(&t->alloc, 1, sizeof *s);
    if (!s) return SPEC_ERR_NOMEM;
    const specp_model *m = &t->model;
    s->target = t;
    s->max_context = max_context ? max_context : t->options.max_context;
    specp_kv_init(&s->cache, t->options.kv_type, m->n_layers, m->n_kv_heads, m->head_dim);
    specp_kv_init(&s->scratch, t->options.kv_type, m->n_layers, m->n_kv_heads, m->head_dim);
    *out = s;
    return 0;
}

void spec_sequence_free(spec_sequence *s) {
    if (!s) return;
    const spec_allocator *alloc = &s->target->alloc;
    specp_kv_release(&s->cache, alloc);
    specp_kv_release(&s->scratch, alloc);
    specp_release(alloc, s->tokens, s->cap_tokens, sizeof *s->tokens);
    specp_release(alloc, s->node_token, s->cap_nodes, sizeof *s->node_token);
    specp_release(alloc, s->node_parent, s->cap_nodes, sizeof *s->node_parent);
    specp_release(alloc, s, 1, sizeof *s);
}

size_t spec_sequence_length(const spec_sequence *s) { return s->n; }
const spec_token *spec_sequence_tokens(const spec_sequence *s) { return s->tokens; }

/* ---- room ----------------------------------------------------------------- */

static int reserve_tokens(spec_sequence *s, size_t n) {
    if (n <= s->cap_tokens) return 0;
    size_t cap = n < 2 * s->cap_tokens ? 2 * s->cap_tokens : n + 64;
    spec_token *more = specp_resize(&s->target->alloc, s->tokens, s->cap_tokens, cap, sizeof *more);
    if (!more) return SPEC_ERR_NOMEM;
    s->tokens = more;
    s->cap_tokens = cap;
    return 0;
}

static int reserve_nodes(spec_sequence *s, size_t n) {
    if (n <= s->cap_nodes) return 0;
    const spec_allocator *alloc = &s->target->alloc;
    spec_token *token = specp_alloc(alloc, n, sizeof *token);
    int32_t *parent = specp_alloc(alloc, n, sizeof *parent);
    if (!token || !parent) {
        specp_release(alloc, token, n, sizeof *token);
        specp_release(alloc, parent, n, sizeof *parent);
        return SPEC_ERR_NOMEM;
    }
    if (s->n_nodes) {
        memcpy(token, s->node_token, s->n_nodes * sizeof *token);
        memcpy(parent, s->node_parent, s->n_nodes * sizeof *parent);
    }
    specp_release(alloc, s->node_token, s->cap_nodes, sizeof *token);
    specp_release(alloc, s->node_parent, s->cap_nodes, sizeof *parent);
    s->node_token = token;
    s->node_parent = parent;
    s->cap_nodes = n;
    return 0;
}

int specp_sequence_reserve(spec_sequence *s, size_t n_tokens, size_t n_nodes) {
    const spec_allocator *alloc = &s->target->alloc;
    int err = reserve_tokens(s, s->n + n_tokens);
    if (!err) err = reserve_nodes(s, n_nodes);
    if (!err) err = specp_kv_reserve(&s->cache, s->n + n_tokens, alloc);
    return err ? err : specp_kv_reserve(&s->scratch, n_nodes, alloc);
}

/* ---- edits ---------------------------------------------------------------- */

void specp_sequence_advance(spec_sequence *s, const spec_token *tokens, size_t n_tokens,
                            const spec_tree *tree) {
    memcpy(s->tokens + s->n, tokens, n_tokens * sizeof *tokens);
    s->n += n_tokens;
    s->n_nodes = tree ? tree->n : 0;
    if (s->n_nodes) {
        memcpy(s->node_token, tree->token, s->n_nodes * sizeof *s->node_token);
        memcpy(s->node_parent, tree->parent, s->n_nodes * sizeof *s->node_parent);
    }
}

static bool is_path(const spec_sequence *s, const int32_t *path, size_t n) {
    int32_t before = -1;
    for (size_t i = 0; i < n; i++) {
        if (path[i] < 0 || (size_t)path[i] >= s->n_nodes || s->node_parent[path[i]] != before) return false;
        before = path[i];
    }
    return true;
}

int spec_sequence_accept(spec_sequence *s, const int32_t *path, size_t n) {
    if (s->n_nodes == 0) return n == 0 ? SPEC_OK : SPEC_ERR_STATE; /* an empty tree has an empty path */
    if (!is_path(s, path, n)) return SPEC_ERR_INVALID;
    int err = specp_sequence_reserve(s, n, 0);
    if (err) return err;
    for (size_t i = 0; i < n; i++) {
        specp_kv_copy_position(&s->cache, s->n + i, &s->scratch, (size_t)path[i]);
        s->tokens[s->n + i] = s->node_token[path[i]];
    }
    s->n += n;
    s->n_nodes = 0;
    return 0;
}

int spec_sequence_truncate(spec_sequence *s, size_t n) {
    if (n > s->n) return SPEC_ERR_INVALID;
    s->n = n;
    s->n_nodes = 0;
    return 0;
}

int spec_sequence_copy(spec_sequence *s, const spec_sequence *from, size_t n) {
    if (s->target != from->target || n > from->n) return SPEC_ERR_INVALID;
    if (n > s->max_context) return SPEC_ERR_FULL;
    if (s == from) return spec_sequence_truncate(s, n);
    int err = reserve_tokens(s, n);
    if (!err) err = specp_kv_reserve(&s->cache, n, &s->target->alloc);
    if (err) return err;
    specp_kv_copy(&s->cache, &from->cache, n);
    if (n) memcpy(s->tokens, from->tokens, n * sizeof *s->tokens);
    s->n = n;
    s->n_nodes = 0;
    return 0;
}

static bool same_shape(const specp_kv *a, const specp_kv *b) {
    return a->type == b->type && a->n_layers == b->n_layers && a->n_heads == b->n_heads &&
           a->head_dim == b->head_dim;
}

int spec_sequence_equal(const spec_sequence *a, const spec_sequence *b, size_t n, size_t *where) {
    size_t both = a->n < b->n ? a->n : b->n;
    both = both < n ? both : n;
    size_t differ = same_shape(&a->cache, &b->cache) ? specp_kv_differ(&a->cache, &b->cache, both) : 0;
    if (where) *where = differ;
    return differ == n;
}

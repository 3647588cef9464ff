/* SPDX-License-Identifier: MIT */
/*
 * A request of an EAGLE-3 head: keys and values of its stable rows, and the nodes
 * of the tree that is being drafted.
 *
 *     cache     0 1 2 ... n-1                 scratch   0 1 2 3 ...    by number
 *                         `- the root's                 `- not read
 *
 *     hidden    (cap_nodes, hidden) | parent (cap_nodes)      one block
 *
 * What lies behind n and behind n_nodes is room: a call that fails may have written
 * there, and nothing of it counts.
 */
#include <string.h>

#include "eagle3_internal.h"

#define MAX_CONTEXT ((size_t)1 << 21) /* half of what rope.h counts */

static size_t node_bytes(const specp_eagle3 *h) { return h->info.hidden * sizeof(float) + sizeof(int32_t); }

int specp_eagle3_request_new(specp_eagle3_request **out, const specp_eagle3 *h, size_t max_context) {
    if (max_context < 1 || max_context > MAX_CONTEXT) return SPEC_ERR_INVALID;
    specp_eagle3_request *r = specp_calloc(&h->alloc, 1, sizeof *r);
    if (r == NULL) return SPEC_ERR_NOMEM;
    r->head = h;
    r->max_context = max_context;
    specp_kv_init(&r->cache, SPEC_TYPE_F32, 1, h->info.n_kv_heads, h->info.head_dim);
    specp_kv_init(&r->scratch, SPEC_TYPE_F32, 1, h->info.n_kv_heads, h->info.head_dim);
    r->feature = specp_alloc(&h->alloc, 2 * h->info.hidden, sizeof *r->feature);
    if (r->feature == NULL) {
        specp_eagle3_request_free(r);
        return SPEC_ERR_NOMEM;
    }
    *out = r;
    return SPEC_OK;
}

void specp_eagle3_request_free(specp_eagle3_request *r) {
    if (r == NULL) return;
    const spec_allocator *a = &r->head->alloc;
    specp_release(a, r->hidden, r->cap_nodes, node_bytes(r->head));
    specp_kv_release(&r->scratch, a);
    specp_release(a, r->feature, 2 * r->head->info.hidden, sizeof *r->feature);
    specp_kv_release(&r->cache, a);
    specp_release(a, r, 1, sizeof *r);
}

size_t specp_eagle3_request_length(const specp_eagle3_request *r) { return r->n; }

void specp_eagle3_request_clear(specp_eagle3_request *r) { r->n = r->n_nodes = 0; }

void specp_eagle3_drop(specp_eagle3_request *r) { r->n_nodes = 0; }

/* ---- room ------------------------------------------------------------------------- */

int specp_eagle3_reserve_rows(specp_eagle3_request *r, size_t n) {
    return specp_kv_reserve(&r->cache, n, &r->head->alloc);
}

int specp_eagle3_reserve_nodes(specp_eagle3_request *r, size_t n) {
    const spec_allocator *a = &r->head->alloc;
    size_t hidden = r->head->info.hidden, cap = 2 * r->cap_nodes;
    int err = specp_kv_reserve(&r->scratch, n, a);
    if (err != SPEC_OK || n <= r->cap_nodes) return err;
    if (cap < n) cap = n;
    float *more = specp_alloc(a, cap, node_bytes(r->head));
    if (more == NULL) return SPEC_ERR_NOMEM;
    int32_t *parent = (int32_t *)(more + cap * hidden);
    if (r->n_nodes > 0) {
        memcpy(more, r->hidden, r->n_nodes * hidden * sizeof *more);
        memcpy(parent, r->parent, r->n_nodes * sizeof *parent);
    }
    specp_release(a, r->hidden, r->cap_nodes, node_bytes(r->head));
    r->hidden = more;
    r->parent = parent;
    r->cap_nodes = cap;
    return SPEC_OK;
}

/* ---- nodes ------------------------------------------------------------------------ */

size_t specp_eagle3_depth(const specp_eagle3_request *r, size_t node) {
    size_t depth = 0;
    for (; node != 0; node = (size_t)r->parent[node]) depth++;
    return depth;
}

const float *specp_eagle3_hidden(const specp_eagle3_request *r, size_t node) {
    return r->hidden + node * r->head->info.hidden;
}

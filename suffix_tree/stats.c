/* SPDX-License-Identifier: MIT */
/* stats.c - sizes, and compaction by rebuilding. */
#include <string.h>

#include "index_internal.h"

uint64_t specp_bytes_used(const spec_index *x) {
    const pool *pools[] = {&x->states, &x->edges, &x->hubs, &x->seqs};
    uint64_t bytes = sizeof *x + x->hub_bytes + (uint64_t)x->depth * sizeof *x->chain + x->n_attached;
    for (size_t i = 0; i < sizeof pools / sizeof *pools; i++)
        bytes += (uint64_t)pools[i]->live * pools[i]->size;
    return bytes + (uint64_t)x->chunks.live * (sizeof(chunk) + CHUNK_SLOTS * sizeof(slot));
}

int spec_index_get_stats(const spec_index *x, spec_index_stats *out) {
    if (!x || !out) return SPEC_ERR_INVALID;
    *out = (spec_index_stats){
        .tokens = state_at(x, ROOT)->count,
        .tokens_total = x->tokens_total,
        .sequences = x->seqs.live,
        .states = x->states.live,
        .singles = x->n_singles,
        .edges = x->n_edges,
        .bytes = x->bytes + x->map_bytes,
        .bytes_used = specp_bytes_used(x),
        .evicted = x->evicted,
        .evicted_tokens = x->evicted_tokens,
        .tokenizer_id = x->tokenizer_id,
        .snapshot_id = x->snapshot_id,
        .depth = x->depth,
        .chain_max = x->chain_max,
    };
    return SPEC_OK;
}

/* ---- compaction ------------------------------------------------------- */

/* Appends sequence i of `from` to y under the same id. */
static int copy_sequence(spec_index *y, const spec_index *from, uint32_t i) {
    const sequence *s = seq_at(from, i);
    if (s->len == 0) return SPEC_OK;
    for (uint32_t j = s->head << CHUNK_SHIFT; j != NONE; j = place_next(from, j)) {
        int err = specp_append_token(y, i, slot_at(from, j)->token);
        if (err) return err;
    }
    return SPEC_OK;
}

/* Gives y the sequence slots of x, emptied, and its age and heap order. */
static int copy_slots(spec_index *y, const spec_index *x) {
    while (y->seqs.used < x->seqs.used) {
        int err = specp_pool_reserve(y, &y->seqs, 1);
        if (err) return err;
        uint32_t i = specp_pool_take(&y->seqs, 1);
        memcpy(seq_at(y, i), seq_at(x, i), sizeof(sequence));
        seq_at(y, i)->head = seq_at(y, i)->tail = NONE;
        seq_at(y, i)->len = 0;
    }
    y->seqs.live = x->seqs.live;
    y->free_seq = x->free_seq;
    y->oldest = x->oldest;
    y->newest = x->newest;
    if (!x->cap_heap) return SPEC_OK;
    y->heap = specp_alloc(&y->alloc, x->cap_heap, sizeof *y->heap);
    if (!y->heap) return SPEC_ERR_NOMEM;
    memcpy(y->heap, x->heap, x->n_heap * sizeof *y->heap);
    y->cap_heap = x->cap_heap;
    y->n_heap = x->n_heap;
    return SPEC_OK;
}

/* The attachment stays where it is: callers hold its address. */
static void move_attachment(spec_index *to, spec_index *from) {
    to->attached = from->attached;
    to->n_attached = from->n_attached;
    to->bytes += from->n_attached;
    from->bytes -= from->n_attached;
    from->attached = NULL;
    from->n_attached = 0;
}

/* Swaps contents, so that handles keep their address. */
static void swap_contents(spec_index *x, spec_index *y) {
    spec_index t;
    memcpy(&t, x, sizeof t);
    memcpy(x, y, sizeof t);
    memcpy(y, &t, sizeof t);
    x->alloc.user = x;
    y->alloc.user = y;
}

int spec_index_compact(spec_index *x) {
    if (!x) return SPEC_ERR_INVALID;
    spec_index *y;
    spec_index_options o = {.size = sizeof o, .depth = x->depth, .evict = x->evict, .alloc = x->user_alloc};
    o.tokenizer_id = x->tokenizer_id;
    int err = spec_index_new(&y, &o);
    if (err) return err;
    err = copy_slots(y, x);
    for (uint32_t i = x->oldest; !err && i != NONE; i = seq_at(x, i)->newer) err = copy_sequence(y, x, i);
    if (!err) {
        y->memory_limit = x->memory_limit;
        y->snapshot_id = x->snapshot_id;
        y->next_serial = x->next_serial;
        y->tokens_total = x->tokens_total;
        y->evicted = x->evicted;
        y->evicted_tokens = x->evicted_tokens;
        y->version = x->version + 1;
        y->epoch = x->epoch + 1;
        y->chain_max = x->chain_max > y->chain_max ? x->chain_max : y->chain_max;
        atomic_store(&y->clock, atomic_load(&x->clock));
        move_attachment(y, x);
        swap_contents(x, y);
    }
    spec_index_free(y);
    return err;
}

/* SPDX-License-Identifier: MIT */
/*
 * index.c - the life of an index and of its sequences.
 *
 * Sequences stand in a list by age. A spec_seq is serial << 32 | slot: the slot
 * is reused, the serial never, so a stale id is recognised.
 */
#include <string.h>

#include "index_internal.h"

/* Counts the bytes that go through the caller's allocator. */
static void *counted_alloc(void *user, void *ptr, size_t old_size, size_t new_size) {
    spec_index *x = user;
    void *p = NULL;
    if (new_size == 0)
        specp_release(&x->user_alloc, ptr, old_size, 1);
    else if (!(p = specp_resize(&x->user_alloc, ptr, old_size, new_size, 1)))
        return NULL;
    x->bytes += new_size;
    x->bytes -= old_size;
    return p;
}

spec_index *specp_index_shell(const spec_allocator *user, uint32_t depth) {
    spec_index *x = specp_calloc(user, 1, sizeof *x);
    if (!x) return NULL;
    x->user_alloc = user ? *user : (spec_allocator){0};
    x->alloc = (spec_allocator){counted_alloc, x};
    x->bytes = sizeof *x;
    x->depth = depth;
    specp_pool_init(&x->text, sizeof(slot), TEXT_SHIFT);
    specp_pool_init(&x->chunks, sizeof(chunk), CHUNKS_SHIFT);
    specp_pool_init(&x->states, sizeof(state), STATE_SHIFT);
    specp_pool_init(&x->edges, sizeof(edge), EDGE_SHIFT);
    specp_pool_init(&x->hubs, sizeof(hub), HUBS_SHIFT);
    specp_pool_init(&x->seqs, sizeof(sequence), SEQ_SHIFT);
    x->free_chunk = x->free_state = x->free_hub = x->free_seq = NONE;
    for (size_t i = 0; i < N_FREE_RUNS; i++) x->free_run[i] = NONE;
    x->oldest = x->newest = NONE;
    x->next_serial = 1;
    x->chain = specp_alloc(&x->alloc, depth, sizeof *x->chain);
    if (x->chain) return x;
    spec_allocator a = x->user_alloc;
    specp_release(&a, x, 1, sizeof *x);
    return NULL;
}

int spec_index_new(spec_index **out, const spec_index_options *options) {
    spec_index_options o = {0};
    if (!out || (options && options->size != sizeof o)) return SPEC_ERR_INVALID;
    if (options) o = *options;
    uint32_t depth = o.depth ? o.depth : SPEC_INDEX_DEFAULT_DEPTH;
    if (depth > SPEC_INDEX_MAX_DEPTH || (o.evict != SPEC_EVICT_FIFO && o.evict != SPEC_EVICT_LRU))
        return SPEC_ERR_INVALID;
    spec_index *x = specp_index_shell(&o.alloc, depth);
    if (!x) return SPEC_ERR_NOMEM;
    x->evict = o.evict;
    x->tokenizer_id = o.tokenizer_id;
    int err = specp_state_reserve(x);
    if (err) {
        spec_index_free(x);
        return err;
    }
    x->memory_limit = o.memory_limit; /* from here on: the root is there, whatever the limit */
    *state_at(x, specp_state_take(x)) = (state){.link = ROOT, .last = NONE};
    *out = x;
    return SPEC_OK;
}

static void free_hubs(spec_index *x) {
    for (uint32_t i = 0; i < x->hubs.used; i++) {
        hub *h = hub_at(x, i);
        if (h->mapped) continue;
        specp_release(&x->alloc, h->e, h->cap, sizeof *h->e);
        specp_release(&x->alloc, h->slot, h->slots, sizeof *h->slot);
    }
}

void spec_index_free(spec_index *x) {
    if (!x) return;
    free_hubs(x);
    pool *pools[] = {&x->text, &x->chunks, &x->states, &x->edges, &x->hubs, &x->seqs};
    for (size_t i = 0; i < sizeof pools / sizeof *pools; i++) specp_pool_free(x, pools[i]);
    specp_release(&x->alloc, x->chain, x->depth, sizeof *x->chain);
    specp_release(&x->alloc, x->heap, x->cap_heap, sizeof *x->heap);
    specp_release(&x->alloc, x->attached, x->n_attached, 1);
    specp_unmap(x);
    spec_allocator a = x->user_alloc;
    specp_release(&a, x, 1, sizeof *x);
}

/* ---- sequences -------------------------------------------------------- */

sequence *specp_seq_find(const spec_index *x, spec_seq id) {
    uint32_t i = (uint32_t)id, serial = (uint32_t)(id >> 32);
    if (serial == 0 || i >= x->seqs.used) return NULL;
    sequence *s = seq_at(x, i);
    return s->serial == serial ? s : NULL;
}

static void enlist(spec_index *x, uint32_t i) {
    sequence *s = seq_at(x, i);
    s->older = x->newest;
    s->newer = NONE;
    if (x->newest == NONE)
        x->oldest = i;
    else
        seq_at(x, x->newest)->newer = i;
    x->newest = i;
}

int spec_index_begin(spec_index *x, spec_seq *out) {
    if (!x || !out) return SPEC_ERR_INVALID;
    if (x->next_serial == UINT32_MAX) return SPEC_ERR_FULL;
    x->may_grow = true; /* by a slot: appends will evict for it */
    int err = x->free_seq != NONE ? SPEC_OK : specp_pool_reserve(x, &x->seqs, 1);
    if (!err) err = specp_heap_reserve(x);
    x->may_grow = false;
    if (err) return err;
    uint32_t i = x->free_seq;
    if (i != NONE)
        x->free_seq = seq_at(x, i)->newer;
    else
        i = specp_pool_take(&x->seqs, 1);
    x->seqs.live++;
    sequence *s = seq_at(x, i);
    memset(s, 0, sizeof *s);
    s->serial = x->next_serial++;
    s->head = s->tail = NONE;
    enlist(x, i);
    specp_seq_use(x, i);
    specp_heap_add(x, i);
    *out = seq_id(x, i);
    return SPEC_OK;
}

void specp_seq_drop(spec_index *x, uint32_t i) {
    sequence *s = seq_at(x, i);
    specp_heap_remove(x, i);
    if (s->older == NONE)
        x->oldest = s->newer;
    else
        seq_at(x, s->older)->newer = s->newer;
    if (s->newer == NONE)
        x->newest = s->older;
    else
        seq_at(x, s->newer)->older = s->older;
    s->serial = 0;
    s->newer = x->free_seq;
    x->free_seq = i;
    x->seqs.live--;
}

/* An append gives up evicting, and passes the limit, after that many slices. */
#define MOST_SLICES 256

/* One token, with room made for it under the memory limit: slice by slice until
 * records of the kind that is short are free. */
static int append_within_limit(spec_index *x, uint32_t seq, spec_token t) {
    int err;
    for (int tries = 0; (err = specp_append_token(x, seq, t)) == OVER_LIMIT; tries++)
        x->may_grow = tries == MOST_SLICES || !specp_evict_slice(x, seq);
    x->may_grow = false;
    return err;
}

int spec_index_append(spec_index *x, spec_seq seq, const spec_token *tok, size_t n) {
    if (!x || (n && !tok)) return SPEC_ERR_INVALID;
    sequence *s = specp_seq_find(x, seq);
    if (!s || s->state == SEQ_EVICTED) return SPEC_ERR_NOT_FOUND;
    if (s->state == SEQ_ENDED) return SPEC_ERR_STATE;
    for (size_t i = 0; i < n; i++)
        if (tok[i] < 0) return SPEC_ERR_INVALID;
    x->version++; /* classes may be split even when the append fails */
    for (size_t i = 0; i < n; i++) {
        int err = append_within_limit(x, (uint32_t)seq, tok[i]);
        if (err) {
            while (i--) specp_truncate_token(x, (uint32_t)seq);
            return err;
        }
    }
    x->tokens_total += n;
    specp_seq_use(x, (uint32_t)seq);
    /* Passed earlier, for want of victims? Back to it bit by bit. */
    if (x->memory_limit && specp_bytes_used(x) > x->memory_limit) specp_evict_slice(x, (uint32_t)seq);
    return SPEC_OK;
}

int spec_index_end(spec_index *x, spec_seq seq) {
    sequence *s = x ? specp_seq_find(x, seq) : NULL;
    if (!s) return SPEC_ERR_NOT_FOUND;
    if (s->state == SEQ_LIVE) s->state = SEQ_ENDED;
    return SPEC_OK;
}

int spec_index_truncate(spec_index *x, spec_seq seq, size_t n) {
    sequence *s = x ? specp_seq_find(x, seq) : NULL;
    if (!s) return SPEC_ERR_NOT_FOUND;
    for (; n && s->len; n--) specp_truncate_token(x, (uint32_t)seq);
    x->version++;
    return SPEC_OK;
}

int spec_index_remove(spec_index *x, spec_seq seq) {
    int err = spec_index_truncate(x, seq, SIZE_MAX);
    if (!err) specp_seq_drop(x, (uint32_t)seq);
    return err;
}

int spec_index_next_seq(const spec_index *x, spec_seq after, spec_seq *out) {
    if (!x || !out) return SPEC_ERR_INVALID;
    uint32_t i = x->oldest;
    if (after) {
        const sequence *s = specp_seq_find(x, after);
        if (!s) return SPEC_ERR_NOT_FOUND;
        i = s->newer;
    }
    *out = i == NONE ? 0 : seq_id(x, i);
    return SPEC_OK;
}

int spec_index_seq_length(const spec_index *x, spec_seq seq, size_t *out) {
    const sequence *s = x ? specp_seq_find(x, seq) : NULL;
    if (!s) return SPEC_ERR_NOT_FOUND;
    if (!out) return SPEC_ERR_INVALID;
    *out = s->len;
    return SPEC_OK;
}

int spec_index_seq_tokens(const spec_index *x, spec_seq seq, size_t from, size_t n, spec_token *out) {
    const sequence *s = x ? specp_seq_find(x, seq) : NULL;
    if (!s) return SPEC_ERR_NOT_FOUND;
    if (from > s->len || n > s->len - from || (n && !out)) return SPEC_ERR_INVALID;
    if (n == 0) return SPEC_OK;
    uint32_t c = s->head;
    for (size_t skip = from >> CHUNK_SHIFT; skip; skip--) c = chunk_at(x, c)->next;
    uint32_t place = (c << CHUNK_SHIFT) + (uint32_t)(from & (CHUNK_SLOTS - 1));
    for (size_t i = 0; i < n; i++, place = place_next(x, place)) out[i] = slot_at(x, place)->token;
    return SPEC_OK;
}

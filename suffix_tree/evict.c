/* SPDX-License-Identifier: MIT */
/*
 * evict.c - who goes when memory runs short, and how slowly.
 *
 * The limit is on what is allocated. An append that needs more first takes some
 * tokens from a victim, whose records it then finds free; it never stops to evict
 * a long sequence whole. FIFO takes the head of the list by age. LRU keeps a
 * binary heap whose keys are lower bounds: a sequence enters with its stamp of
 * the moment, later uses only raise the stamp; when it comes to the top with an
 * old key, it sinks with the new one. So uses cost a store, and may happen
 * beside other readers.
 */
#include "index_internal.h"

/* Segments, which stay, leave this share of the limit to hubs, which come and
 * go: otherwise a hub that grows could find no room however much is evicted. */
#define HUB_SHARE 16

/* Tokens that a victim loses at a time. */
#define SLICE 64

static bool over(const spec_index *x, size_t more, size_t limit) {
    return x->memory_limit && !x->may_grow && x->bytes + x->map_bytes + more > limit;
}

bool specp_over_limit(const spec_index *x, size_t more) {
    return over(x, more, x->memory_limit - x->memory_limit / HUB_SHARE);
}

bool specp_over_limit_for_hubs(const spec_index *x, size_t more) { return over(x, more, x->memory_limit); }

void specp_seq_use(const spec_index *x, uint32_t seq) {
    if (x->evict != SPEC_EVICT_LRU) return;
    spec_index *w = (spec_index *)x; /* the clock and the stamps are atomic */
    uint64_t now = atomic_fetch_add_explicit(&w->clock, 1, memory_order_relaxed) + 1;
    /* Release: who sees the stamp (check) sees a clock that is no less. */
    atomic_store_explicit(&seq_at(w, seq)->stamp, now, memory_order_release);
}

/* The end of a sequence where an explicit class occurs; NONE: nowhere. */
static uint32_t end_of_sequence(const spec_index *x, uint32_t id) {
    for (uint32_t i = x->newest; i != NONE; i = seq_at(x, i)->older) {
        uint32_t tail = seq_at(x, i)->tail, ref = tail == NONE ? ROOT : place_class(x, tail);
        while (ref != ROOT && ref != id) ref = class_link(x, ref);
        if (ref == id) return tail;
    }
    return NONE;
}

/* A place where a class occurs. One whose last place was truncated away may know
 * none: then one that continues it does, or it occurs at ends of sequences. */
static uint32_t some_place(const spec_index *x, uint32_t ref) {
    uint32_t on = 0, n, place;
    for (;; on++) {
        if (ref & SINGLE)
            place = ref & ~SINGLE;
        else
            place = state_at(x, ref)->last;
        if (place != NONE) break;
        const edge *e = state_edges(x, state_at(x, ref), &n);
        if (n == 0) {
            place = end_of_sequence(x, ref);
            break;
        }
        ref = e->to;
    }
    for (; on && place != NONE; on--) place = place_prev(x, place);
    return place;
}

void spec_index_touch(const spec_index *x, spec_locus at) {
    if (!x || x->evict != SPEC_EVICT_LRU || at.count == 0 || at.state == ROOT) return;
    uint32_t place = some_place(x, at.state);
    if (place != NONE) specp_seq_use(x, chunk_at(x, place >> CHUNK_SHIFT)->seq);
}

/* ---- the heap --------------------------------------------------------- */

static void put(spec_index *x, uint32_t at, uint32_t seq) {
    x->heap[at] = seq;
    seq_at(x, seq)->heap = at;
}

static uint64_t key_at(const spec_index *x, uint32_t at) { return seq_at(x, x->heap[at])->heap_key; }

static void sift_up(spec_index *x, uint32_t at) {
    uint32_t seq = x->heap[at];
    for (; at && key_at(x, (at - 1) / 2) > seq_at(x, seq)->heap_key; at = (at - 1) / 2)
        put(x, at, x->heap[(at - 1) / 2]);
    put(x, at, seq);
}

static void sift_down(spec_index *x, uint32_t at) {
    uint32_t seq = x->heap[at];
    for (uint32_t kid; (kid = 2 * at + 1) < x->n_heap; at = kid) {
        if (kid + 1 < x->n_heap && key_at(x, kid + 1) < key_at(x, kid)) kid++;
        if (key_at(x, kid) >= seq_at(x, seq)->heap_key) break;
        put(x, at, x->heap[kid]);
    }
    put(x, at, seq);
}

int specp_heap_reserve(spec_index *x) {
    if (x->evict != SPEC_EVICT_LRU || x->n_heap < x->cap_heap) return SPEC_OK;
    uint32_t cap = x->cap_heap ? 2 * x->cap_heap : 16;
    uint32_t *heap = specp_resize(&x->alloc, x->heap, x->cap_heap, cap, sizeof *heap);
    if (!heap) return SPEC_ERR_NOMEM;
    x->heap = heap;
    x->cap_heap = cap;
    return SPEC_OK;
}

void specp_heap_add(spec_index *x, uint32_t seq) {
    if (x->evict != SPEC_EVICT_LRU) return;
    sequence *s = seq_at(x, seq);
    s->heap_key = atomic_load_explicit(&s->stamp, memory_order_relaxed);
    x->heap[x->n_heap] = seq;
    sift_up(x, x->n_heap++);
}

void specp_heap_remove(spec_index *x, uint32_t seq) {
    if (x->evict != SPEC_EVICT_LRU) return;
    uint32_t at = seq_at(x, seq)->heap, last = x->heap[--x->n_heap];
    if (last == seq) return;
    put(x, at, last);
    sift_up(x, at);
    sift_down(x, seq_at(x, last)->heap);
}

/* ---- eviction --------------------------------------------------------- */

/* Puts the least recently used sequence on top, with its true stamp. */
static void settle_top(spec_index *x) {
    for (;;) {
        sequence *s = seq_at(x, x->heap[0]);
        uint64_t stamp = atomic_load_explicit(&s->stamp, memory_order_relaxed);
        if (stamp == s->heap_key) return;
        s->heap_key = stamp;
        sift_down(x, 0);
    }
}

/* The next to go, other than keep; NONE if there is nobody. */
static uint32_t victim(spec_index *x, uint32_t keep) {
    if (x->evict == SPEC_EVICT_FIFO)
        return x->oldest == keep && keep != NONE ? seq_at(x, keep)->newer : x->oldest;
    if (x->n_heap == 0) return NONE;
    settle_top(x);
    if (x->heap[0] != keep) return x->heap[0];
    if (x->n_heap == 1) return NONE;
    specp_seq_use(x, keep); /* the appender: in use by definition */
    settle_top(x);
    return x->heap[0];
}

/* Shortens a victim by at most n tokens, drops it when that empties it, and
 * returns how many went. */
static size_t take_tokens(spec_index *x, uint32_t seq, size_t n) {
    sequence *s = seq_at(x, seq);
    size_t taken = 0;
    s->state = SEQ_EVICTED; /* an append would join what never stood together */
    for (; taken < n && s->len; taken++) specp_truncate_token(x, seq);
    x->evicted_tokens += taken;
    if (s->len == 0) {
        specp_seq_drop(x, seq);
        x->evicted++;
    }
    return taken;
}

bool specp_evict_slice(spec_index *x, uint32_t keep) {
    uint32_t v = victim(x, keep);
    if (v != NONE) take_tokens(x, v, SLICE);
    return v != NONE;
}

int spec_index_evict(spec_index *x, uint64_t max_tokens) {
    if (!x) return SPEC_ERR_INVALID;
    while (state_at(x, ROOT)->count > max_tokens) {
        uint32_t v = victim(x, NONE);
        if (v == NONE) break;
        uint64_t over = state_at(x, ROOT)->count - max_tokens;
        take_tokens(x, v, over < SIZE_MAX ? (size_t)over : SIZE_MAX);
    }
    x->version++;
    return SPEC_OK;
}

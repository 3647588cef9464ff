/* SPDX-License-Identifier: MIT */
/*
 * edges.c - the transitions of a state, ordered by the count of their targets.
 *
 *   0..1 edges   in the state itself
 *   2..32        a block: `cap` consecutive records of the edge pool, cap from
 *                a short list of kinds (blocks.c)
 *   more         a hub: arrays of its own, and a hash from token to rank
 *
 * Order is kept by swaps: the edge whose count rises from c to c + 1 changes
 * places with the first edge of count c, and then still stands behind all of
 * count c + 1 and more. Falling is the same backwards; an edge that falls to 0
 * is then the last.
 */
#include <string.h>

#include "index_internal.h"

/* Hubs double until they have room for that many edges, then grow by half. */
#define LARGE_HUB 1024u

/* ---- hubs ------------------------------------------------------------- */

/* By the high bits of the product, which all bits of t reach (Knuth, TAOCP 3, 6.4). */
static inline uint32_t hub_home(const hub *h, spec_token t) {
    return (uint32_t)((uint64_t)((uint32_t)t * 0x9e3779b1u) * h->slots >> 32);
}

/* The hash slot that names the edge of token t: it must exist. */
static uint32_t *hub_slot(const hub *h, spec_token t) {
    uint32_t i = hub_home(h, t);
    while (h->e[h->slot[i] - 1].token != t) i = (i + 1) & (h->slots - 1);
    return &h->slot[i];
}

edge *specp_hub_find(const hub *h, spec_token t) {
    for (uint32_t i = hub_home(h, t); h->slot[i]; i = (i + 1) & (h->slots - 1))
        if (h->e[h->slot[i] - 1].token == t) return &h->e[h->slot[i] - 1];
    return NULL;
}

void specp_edges_prefetch(const spec_index *x, const state *s, spec_token t) {
    if (s->kind == EDGES_INLINE) return;
    if (s->kind != EDGES_HUB) {
        SPECP_PREFETCH(block_at(x, s->e.block));
        return;
    }
    const hub *h = hub_at(x, s->e.block);
    SPECP_PREFETCH(&h->slot[hub_home(h, t)]);
}

static void hub_enter(hub *h, uint32_t rank) {
    uint32_t i = hub_home(h, h->e[rank].token);
    while (h->slot[i]) i = (i + 1) & (h->slots - 1);
    h->slot[i] = rank + 1;
}

/* Empties the slot of token t and closes the gap, so that probing never meets
 * a hole (Knuth, TAOCP 3, 6.4, algorithm R). */
static void hub_leave(hub *h, spec_token t) {
    uint32_t mask = h->slots - 1, hole = (uint32_t)(hub_slot(h, t) - h->slot);
    for (uint32_t i = (hole + 1) & mask; h->slot[i]; i = (i + 1) & mask) {
        uint32_t home = hub_home(h, h->e[h->slot[i] - 1].token);
        if (((i - home) & mask) < ((i - hole) & mask)) continue;
        h->slot[hole] = h->slot[i];
        hole = i;
    }
    h->slot[hole] = 0;
}

static void hub_release(spec_index *x, hub *h) {
    if (!h->mapped) {
        specp_release(&x->alloc, h->e, h->cap, sizeof *h->e);
        specp_release(&x->alloc, h->slot, h->slots, sizeof *h->slot);
    }
    x->hub_bytes -= (uint64_t)h->cap * sizeof *h->e + (uint64_t)h->slots * sizeof *h->slot;
}

/* Fills *h with n edges copied from e, with room for cap. */
static int hub_make(spec_index *x, hub *h, const edge *e, uint32_t n, uint32_t cap) {
    uint32_t slots = 2 * HUB_FROM;
    if (cap > MAX_PLACES / 2) return SPEC_ERR_FULL; /* slots would overflow */
    while (!hub_hash_fits(slots, cap)) slots *= 2;
    if (specp_over_limit_for_hubs(x, (size_t)cap * sizeof *h->e + (size_t)slots * sizeof *h->slot))
        return OVER_LIMIT;
    edge *copy = specp_alloc(&x->alloc, cap, sizeof *copy);
    uint32_t *hash = specp_calloc(&x->alloc, slots, sizeof *hash);
    if (!copy || !hash) {
        specp_release(&x->alloc, copy, cap, sizeof *copy);
        specp_release(&x->alloc, hash, slots, sizeof *hash);
        return SPEC_ERR_NOMEM;
    }
    memcpy(copy, e, n * sizeof *copy);
    *h = (hub){.e = copy, .slot = hash, .n = n, .cap = cap, .slots = slots};
    for (uint32_t i = 0; i < n; i++) hub_enter(h, i);
    x->hub_bytes += (uint64_t)cap * sizeof *copy + (uint64_t)slots * sizeof *hash;
    return SPEC_OK;
}

static int hub_take(spec_index *x, const edge *e, uint32_t n, uint32_t cap, uint32_t *out) {
    if (x->free_hub == NONE) {
        int err = specp_pool_reserve(x, &x->hubs, 1);
        if (err) return err;
    }
    hub h;
    int err = hub_make(x, &h, e, n, cap);
    if (err) return err;
    if (x->free_hub != NONE) {
        *out = x->free_hub;
        x->free_hub = hub_at(x, *out)->n; /* a free hub's n links the next one */
    } else {
        *out = specp_pool_take(&x->hubs, 1);
    }
    *hub_at(x, *out) = h;
    x->hubs.live++;
    return SPEC_OK;
}

static void hub_drop(spec_index *x, uint32_t id) {
    hub *h = hub_at(x, id);
    hub_release(x, h);
    *h = (hub){.n = x->free_hub};
    x->free_hub = id;
    x->hubs.live--;
}

static int hub_widen(spec_index *x, hub *h) {
    hub wide;
    uint32_t more = h->cap < LARGE_HUB ? h->cap : h->cap / 2;
    int err = hub_make(x, &wide, h->e, h->n, h->cap + more);
    if (err) return err;
    hub_release(x, h);
    *h = wide;
    return SPEC_OK;
}

/* ---- the edges of a state --------------------------------------------- */

/* Gives back the memory of s's edges; the record keeps no trace of them. */
static void storage_drop(spec_index *x, state *s) {
    if (s->kind == EDGES_HUB)
        hub_drop(x, s->e.block);
    else if (s->kind != EDGES_INLINE)
        specp_block_drop(x, s->e.block, s->kind);
    s->kind = EDGES_INLINE;
    s->n = 0;
}

int specp_edges_reserve(spec_index *x, state *s) {
    if (s->kind == EDGES_HUB) {
        hub *h = hub_at(x, s->e.block);
        return h->n < h->cap ? SPEC_OK : hub_widen(x, h);
    }
    if (s->n < specp_block_cap[s->kind]) return SPEC_OK;
    uint32_t n, id;
    const edge *e = state_edges(x, s, &n);
    bool to_hub = n == HUB_FROM;
    uint32_t kind = to_hub ? EDGES_HUB : s->kind + 1u;
    int err = to_hub ? hub_take(x, e, n, 2 * HUB_FROM, &id) : specp_block_take(x, kind, &id);
    if (err) return err;
    if (!to_hub) memcpy(block_at(x, id), state_edges(x, s, &n), n * sizeof *e);
    storage_drop(x, s);
    s->kind = (uint8_t)kind;
    s->n = to_hub ? 0 : (uint8_t)n;
    s->e.block = id;
    return SPEC_OK;
}

void specp_edge_add(spec_index *x, state *s, spec_token t, uint32_t to) {
    edge new = {.token = t, .to = to, .count = 1};
    x->n_edges++;
    if (s->kind == EDGES_HUB) {
        hub *h = hub_at(x, s->e.block);
        h->e[h->n] = new;
        hub_enter(h, h->n++);
    } else {
        uint32_t n;
        edge *e = state_edges(x, s, &n);
        e[n] = new;
        s->n++;
    }
}

static void swap_edges(spec_index *x, const state *s, edge *a, edge *b) {
    if (s->kind == EDGES_HUB) {
        const hub *h = hub_at(x, s->e.block);
        uint32_t *sa = hub_slot(h, a->token), *sb = hub_slot(h, b->token), rank = *sa;
        *sa = *sb;
        *sb = rank;
    }
    edge t = *a;
    *a = *b;
    *b = t;
}

/* The first edge of those with e's count, which is not e: near in small groups,
 * so by doubling steps, then halving. */
static edge *group_first(edge *all, edge *e) {
    uint32_t c = e->count;
    size_t at = (size_t)(e - all), step = 1;
    size_t in = at - 1, out; /* in: known to be of the group; out: one past a known outsider */
    while (step <= in && all[in - step].count == c) {
        in -= step;
        step *= 2;
    }
    out = step <= in ? in - step + 1 : 0;
    while (out < in) {
        size_t mid = out + (in - out) / 2;
        if (all[mid].count == c)
            in = mid;
        else
            out = mid + 1;
    }
    return &all[in];
}

/* The last edge of those with e's count. */
static edge *group_last(edge *all, uint32_t n, edge *e) {
    uint32_t c = e->count;
    size_t in = (size_t)(e - all), step = 1, out;
    while (in + step < n && all[in + step].count == c) {
        in += step;
        step *= 2;
    }
    out = in + step < n ? in + step : n; /* the group ends before out */
    while (in + 1 < out) {
        size_t mid = in + (out - in) / 2;
        if (all[mid].count == c)
            in = mid;
        else
            out = mid;
    }
    return &all[in];
}

void specp_edge_increment(spec_index *x, state *s, edge *e) {
    uint32_t n;
    edge *all = state_edges(x, s, &n);
    if (e != all && e[-1].count == e->count) {
        edge *first = group_first(all, e);
        swap_edges(x, s, e, first);
        e = first;
    }
    e->count++;
}

static void hub_narrow(spec_index *x, hub *h) {
    hub narrow;
    if (h->cap <= 2 * HUB_FROM || h->n > h->cap / 8 * 3) return; /* far enough from growing again */
    if (hub_make(x, &narrow, h->e, h->n, h->cap / 2)) return;
    hub_release(x, h);
    *h = narrow;
}

/* Moves the edges of a state that has lost one to less memory. Only where that
 * is at hand; what is refused is tried again when the next edge goes. */
static void shrink(spec_index *x, state *s) {
    uint32_t n, id;
    const edge *e = state_edges(x, s, &n);
    if (n <= 1) {
        edge one = e[0];
        storage_drop(x, s);
        if (n) s->e.one = one;
        s->n = (uint8_t)n;
        return;
    }
    if (s->kind == EDGES_HUB && n > HUB_FROM / 4 * 3) {
        hub_narrow(x, hub_at(x, s->e.block));
        return;
    }
    uint32_t kind = specp_block_kind(n + 1); /* room for one more: growth and shrinking do not alternate */
    if (kind + 1 >= s->kind || !specp_block_at_hand(x, kind) || specp_block_take(x, kind, &id)) return;
    memcpy(block_at(x, id), e, n * sizeof *e);
    storage_drop(x, s);
    s->kind = (uint8_t)kind;
    s->n = (uint8_t)n;
    s->e.block = id;
}

void specp_edge_decrement(spec_index *x, state *s, edge *e) {
    uint32_t n;
    edge *all = state_edges(x, s, &n), *last = group_last(all, n, e);
    if (last != e) swap_edges(x, s, e, last);
    if (--last->count) return;
    x->n_edges--;
    if (s->kind == EDGES_HUB) {
        hub *h = hub_at(x, s->e.block);
        hub_leave(h, last->token);
        h->n--;
    } else {
        s->n--;
    }
    if (s->kind != EDGES_INLINE) shrink(x, s);
}

int specp_edges_copy(spec_index *x, state *to, const state *from) {
    uint32_t n, id;
    const edge *e = state_edges(x, from, &n);
    if (n > HUB_FROM) {
        int err = hub_take(x, e, n, n + n / 2, &id);
        if (err) return err;
        to->kind = EDGES_HUB;
        to->e.block = id;
    } else if (n > 1) {
        uint32_t kind = specp_block_kind(n);
        int err = specp_block_take(x, kind, &id);
        if (err) return err;
        memcpy(block_at(x, id), state_edges(x, from, &n), n * sizeof *e);
        to->kind = (uint8_t)kind;
        to->e.block = id;
        to->n = (uint8_t)n;
    } else {
        to->kind = EDGES_INLINE;
        to->n = (uint8_t)n;
        if (n) to->e.one = *e;
    }
    x->n_edges += n;
    return SPEC_OK;
}

void specp_edges_move(state *to, state *from) {
    to->kind = from->kind;
    to->n = from->n;
    to->e = from->e;
    from->kind = EDGES_INLINE;
    from->n = 0;
}

void specp_edges_free(spec_index *x, state *s) {
    uint32_t n;
    (void)state_edges(x, s, &n);
    x->n_edges -= n;
    storage_drop(x, s);
}

/* SPDX-License-Identifier: MIT */
/*
 * check.c - walks every invariant of an index, whatever its arrays hold.
 *
 * It trusts the memory (each pool has as many records as `cap` says, each hub's
 * arrays are as long as its `cap` and `slots` say, which the accounts confirm)
 * and nothing that is stored in it. Every step uses only what the steps before
 * have found sound, so that no bad id is ever followed:
 *
 *   1  numbers of the index and its pools; sizes of hubs; accounts
 *   2  sequences: age list, free slots, chunks, and which slots hold text
 *   3  states: free list, links (len falls along them, so chains end)
 *   4  what the slots hold: the top of each place's chain
 *   5  edges: storage owned once, order, targets, hashes of hubs
 *   6  the walk: chain of each place against the chain of the place before
 *   7  counts, places, totals that the walk has summed up
 *
 * Why step 6 proves I1 and I2. For each place i, its token t and the place h
 * before it, the chain of h is laid beside that of i:
 *
 *      chain of h    p0 ----------> p1 ------> root       lengths  l
 *                     \ t            \ t         \ t
 *      chain of i      q0 ------------`-> q1 ---> q2 -> root       l + 1
 *
 * Every p with a string shorter than D must lead by t to the q that has all its
 * strings one longer. By induction on length, a class on a chain is the class
 * that walking its string from the root leads to. Each edge can be used at most
 * once for an occurrence of its target; if all uses together equal the sum of
 * all edge counts, each edge is used at every one of them, so a target's
 * occurrences all have the same last token and the same classes before it, and
 * by induction the same string. That leaves no edge unused and no two strings
 * of a length in one class.
 */
#include "index_internal.h"

typedef struct checker {
    const spec_index *x;
    spec_message *why;
    uint64_t *scratch;
    size_t scratch_words;
    /* One bit a record: met already, in a free list or in use. */
    uint64_t *chunk_seen, *state_free, *edge_seen, *hub_seen, *seq_seen;
    uint32_t *occurs;     /* (states.used) places on whose chain the state lies */
    uint64_t tokens;      /* sum of the lengths of sequences */
    uint64_t n_edges;     /* edges of all states */
    uint64_t edge_counts; /* sum of their counts */
    uint64_t uses;        /* times that an edge was needed in the walk */
    uint32_t blocks;      /* records in blocks that states own */
    uint32_t hubs;        /* hubs that states own */
} checker;

#define FAIL(c, ...) (specp_fail((c)->why, SPEC_ERR_CORRUPT, __VA_ARGS__), SPEC_ERR_CORRUPT)

/* Sets bit i; false when it was set before. */
static bool mark(uint64_t *bits, uint32_t i) {
    uint64_t bit = 1ull << (i & 63);
    if (bits[i >> 6] & bit) return false;
    bits[i >> 6] |= bit;
    return true;
}

static bool marked(const uint64_t *bits, uint32_t i) { return bits[i >> 6] >> (i & 63) & 1; }

/* ---- 1: numbers, pools, sizes ------------------------------------------ */

static int check_pool(checker *c, const pool *p, const char *name) {
    uint64_t whole = (uint64_t)p->n_seg << p->shift, segment = 1ull << p->shift;
    if (p->n_seg > p->cap_seg || (p->cap_seg && !p->seg))
        return FAIL(c, "pool of %s: %u segments, but a table of %u", name, p->n_seg, p->cap_seg);
    if (p->cap > whole || p->cap > MAX_PLACES || (p->n_seg && p->cap <= whole - segment))
        return FAIL(c, "pool of %s: %u records do not make %u segments", name, p->cap, p->n_seg);
    if (p->used > p->cap || p->live > p->used)
        return FAIL(c, "pool of %s: %u live of %u used of %u records", name, p->live, p->used, p->cap);
    if (p->mapped > p->cap || (p->mapped != p->cap && p->mapped % segment) || (p->mapped && !c->x->map))
        return FAIL(c, "pool of %s: %u of %u records cannot be mapped", name, p->mapped, p->cap);
    for (uint32_t i = 0; i < p->n_seg; i++)
        if (!p->seg[i]) return FAIL(c, "pool of %s: segment %u is missing", name, i);
    return SPEC_OK;
}

static int check_numbers(checker *c) {
    const spec_index *x = c->x;
    if (x->depth < SPEC_INDEX_MIN_DEPTH || x->depth > SPEC_INDEX_MAX_DEPTH || !x->chain)
        return FAIL(c, "depth is %u, expected %d to %d", x->depth, SPEC_INDEX_MIN_DEPTH,
                    SPEC_INDEX_MAX_DEPTH);
    if (x->evict != SPEC_EVICT_FIFO && x->evict != SPEC_EVICT_LRU)
        return FAIL(c, "eviction policy %d is unknown", (int)x->evict);
    int err = check_pool(c, &x->text, "text");
    if (!err) err = check_pool(c, &x->chunks, "chunks");
    if (!err) err = check_pool(c, &x->states, "states");
    if (!err) err = check_pool(c, &x->edges, "edges");
    if (!err) err = check_pool(c, &x->hubs, "hubs");
    if (!err) err = check_pool(c, &x->seqs, "sequences");
    if (err) return err;
    if (x->text.used != (uint64_t)x->chunks.used * CHUNK_SLOTS)
        return FAIL(c, "%u chunks, but %u slots of text", x->chunks.used, x->text.used);
    if (x->states.used == 0) return FAIL(c, "there is no root");
    return SPEC_OK;
}

static uint64_t words_for(uint32_t bits) { return ((uint64_t)bits + 63) / 64; }

/* One block for all bit sets and the occurrences; from the caller's allocator,
 * since the index's accounts are not for readers to touch. */
static int take_scratch(checker *c) {
    const spec_index *x = c->x;
    uint64_t words = words_for(x->chunks.used) + words_for(x->states.used) + words_for(x->edges.used) +
                     words_for(x->hubs.used) + words_for(x->seqs.used) + (x->states.used + 1ull) / 2;
    if (words > SIZE_MAX) return SPEC_ERR_NOMEM;
    c->scratch_words = (size_t)words;
    uint64_t *at = c->scratch = specp_calloc(&x->user_alloc, c->scratch_words, sizeof *at);
    if (!at) {
        specp_fail(c->why, SPEC_ERR_NOMEM, "no memory for the check");
        return SPEC_ERR_NOMEM;
    }
    c->chunk_seen = at;
    c->state_free = c->chunk_seen + words_for(x->chunks.used);
    c->edge_seen = c->state_free + words_for(x->states.used);
    c->hub_seen = c->edge_seen + words_for(x->edges.used);
    c->seq_seen = c->hub_seen + words_for(x->hubs.used);
    c->occurs = (uint32_t *)(c->seq_seen + words_for(x->seqs.used));
    return SPEC_OK;
}

/* ---- free lists --------------------------------------------------------- */

static uint32_t next_chunk(const spec_index *x, uint32_t i) { return chunk_at(x, i)->next; }
static uint32_t next_state(const spec_index *x, uint32_t i) { return state_at(x, i)->link; }
static uint32_t next_hub(const spec_index *x, uint32_t i) { return hub_at(x, i)->n; }
static uint32_t next_seq(const spec_index *x, uint32_t i) { return seq_at(x, i)->newer; }

/* Marks the records of a free list, which with the live ones must be all. */
static int check_free(checker *c, const char *name, uint32_t first, const pool *p, uint64_t *seen,
                      uint32_t (*next)(const spec_index *x, uint32_t i)) {
    uint32_t n = 0;
    for (uint32_t i = first; i != NONE; i = next(c->x, i), n++) {
        if (i >= p->used) return FAIL(c, "free list of %s: %u is out of range", name, i);
        if (!mark(seen, i)) return FAIL(c, "free list of %s: %u is in it twice, or in use", name, i);
    }
    if (n + (uint64_t)p->live != p->used)
        return FAIL(c, "%s: %u live and %u free are not the %u used", name, p->live, n, p->used);
    return SPEC_OK;
}

/* Sizes and accounts, before anything reads the arrays. */
static int check_hub_sizes(checker *c) {
    const spec_index *x = c->x;
    uint64_t all = 0, own = 0;
    for (uint32_t i = 0; i < x->hubs.used; i++) {
        const hub *h = hub_at(x, i);
        if (marked(c->hub_seen, i)) {
            if (h->e || h->slot || h->cap || h->slots || h->mapped)
                return FAIL(c, "hub %u is free but not empty", i);
            continue;
        }
        if (!h->e || !h->slot || h->cap == 0 || h->n > h->cap)
            return FAIL(c, "hub %u: %u edges in room for %u", i, h->n, h->cap);
        if (!hub_hash_fits(h->slots, h->cap))
            return FAIL(c, "hub %u: a hash of %u slots for %u edges", i, h->slots, h->cap);
        uint64_t bytes = (uint64_t)h->cap * sizeof(edge) + (uint64_t)h->slots * sizeof(uint32_t);
        all += bytes;
        if (!h->mapped) own += bytes;
    }
    if (all != x->hub_bytes)
        return FAIL(c, "hubs hold %llu bytes, hub_bytes says otherwise", (unsigned long long)all);
    own += sizeof *x + (uint64_t)x->depth * sizeof *x->chain + (uint64_t)x->cap_heap * sizeof *x->heap +
           x->n_attached;
    const pool *pools[] = {&x->text, &x->chunks, &x->states, &x->edges, &x->hubs, &x->seqs};
    for (size_t i = 0; i < sizeof pools / sizeof *pools; i++)
        own += (uint64_t)pools[i]->cap_seg * sizeof(void *) +
               (uint64_t)(pools[i]->cap - pools[i]->mapped) * pools[i]->size;
    if (own != x->bytes)
        return FAIL(c, "%llu bytes are allocated, but %llu accounted for", (unsigned long long)own,
                    (unsigned long long)x->bytes);
    return SPEC_OK;
}

/* ---- 2: sequences and their text ---------------------------------------- */

/* The slots of a chunk: n with text, empty ones behind. */
static int check_slots(checker *c, uint32_t chunk_id, uint32_t n) {
    for (uint32_t k = 0; k < CHUNK_SLOTS; k++) {
        uint32_t place = (chunk_id << CHUNK_SHIFT) + k;
        const slot *s = slot_at(c->x, place);
        if ((s->up == NONE) != (k >= n))
            return FAIL(c, "place %u %s", place, k < n ? "is empty amid text" : "holds text behind the end");
        if (k < n && s->token < 0) return FAIL(c, "place %u: token %d is negative", place, (int)s->token);
    }
    return SPEC_OK;
}

static int check_text(checker *c, uint32_t seq) {
    const sequence *s = seq_at(c->x, seq);
    uint32_t prev = NONE, at = s->head;
    for (uint64_t base = 0; base < s->len; base += CHUNK_SLOTS) {
        if (at >= c->x->chunks.used)
            return FAIL(c, "sequence %u: chunk %u after %llu tokens is out of range", seq, at,
                        (unsigned long long)base);
        if (!mark(c->chunk_seen, at)) return FAIL(c, "chunk %u is in two lists, or in a circle", at);
        const chunk *k = chunk_at(c->x, at);
        if (k->seq != seq || k->prev != prev || k->base != base)
            return FAIL(c, "chunk %u: sequence %u, previous %u, base %u; expected %u, %u, %llu", at, k->seq,
                        k->prev, k->base, seq, prev, (unsigned long long)base);
        uint64_t left = s->len - base;
        int err = check_slots(c, at, left < CHUNK_SLOTS ? (uint32_t)left : CHUNK_SLOTS);
        if (err) return err;
        prev = at;
        at = k->next;
    }
    uint32_t tail = s->len ? (prev << CHUNK_SHIFT) + ((s->len - 1) & (CHUNK_SLOTS - 1)) : NONE;
    if (at != NONE || s->tail != tail)
        return FAIL(c, "sequence %u: does not end at place %u after %u tokens", seq, tail, s->len);
    c->tokens += s->len;
    return SPEC_OK;
}

static int check_sequences(checker *c) {
    const spec_index *x = c->x;
    uint32_t older = NONE, serial = 0, n = 0;
    for (uint32_t i = x->oldest; i != NONE; n++) {
        if (i >= x->seqs.used) return FAIL(c, "age list: sequence %u is out of range", i);
        if (!mark(c->seq_seen, i)) return FAIL(c, "age list: sequence %u is in it twice", i);
        const sequence *s = seq_at(x, i);
        if (s->older != older) return FAIL(c, "age list: sequence %u is not linked back", i);
        if (s->serial <= serial || s->serial >= x->next_serial)
            return FAIL(c, "sequence %u: serial %u is not after %u and before %u", i, s->serial, serial,
                        x->next_serial);
        if (s->state > SEQ_EVICTED) return FAIL(c, "sequence %u: state %u is unknown", i, s->state);
        int err = check_text(c, i);
        if (err) return err;
        older = i;
        serial = s->serial;
        i = s->newer;
    }
    if (x->newest != older) return FAIL(c, "age list: ends at sequence %u, newest is %u", older, x->newest);
    if (n != x->seqs.live) return FAIL(c, "age list: %u sequences, %u are live", n, x->seqs.live);
    int err = check_free(c, "sequences", x->free_seq, &x->seqs, c->seq_seen, next_seq);
    for (uint32_t i = x->free_seq; !err && i != NONE; i = next_seq(x, i))
        if (seq_at(x, i)->serial) err = FAIL(c, "sequence %u is free, but has a serial", i);
    return err;
}

static int check_chunks(checker *c) {
    const spec_index *x = c->x;
    int err = check_free(c, "chunks", x->free_chunk, &x->chunks, c->chunk_seen, next_chunk);
    for (uint32_t i = x->free_chunk; !err && i != NONE; i = next_chunk(x, i))
        if (chunk_at(x, i)->seq != NONE) err = FAIL(c, "chunk %u is free, but has a sequence", i);
    for (uint32_t i = 0; !err && i < x->chunks.used; i++)
        if (!marked(c->chunk_seen, i)) err = FAIL(c, "chunk %u is neither in use nor free", i);
    return err;
}

/* The order of the sequences by last use. */
static int check_heap(checker *c) {
    const spec_index *x = c->x;
    uint32_t expected = x->evict == SPEC_EVICT_LRU ? x->seqs.live : 0;
    if (x->n_heap != expected || x->n_heap > x->cap_heap || (x->n_heap && !x->heap))
        return FAIL(c, "heap: %u of %u entries, expected %u", x->n_heap, x->cap_heap, expected);
    for (uint32_t at = 0; at < x->n_heap; at++) {
        uint32_t i = x->heap[at];
        if (i >= x->seqs.used || seq_at(x, i)->serial == 0)
            return FAIL(c, "heap: entry %u is %u, not a sequence", at, i);
        sequence *s = seq_at(x, i);
        if (s->heap != at) return FAIL(c, "heap: sequence %u is at %u, not %u", i, at, s->heap);
        if (at && seq_at(x, x->heap[(at - 1) / 2])->heap_key > s->heap_key)
            return FAIL(c, "heap: sequence %u at %u is older than its parent", i, at);
        /* Acquire: readers may be at work, and raise the clock before a stamp. */
        uint64_t stamp = atomic_load_explicit(&s->stamp, memory_order_acquire);
        uint64_t clock = atomic_load_explicit(&((spec_index *)x)->clock, memory_order_acquire);
        if (s->heap_key > stamp || stamp > clock)
            return FAIL(c, "heap: sequence %u has a stamp out of order", i);
    }
    return SPEC_OK;
}

/* ---- 3 and 4: states, links, the tops of chains ------------------------- */

static bool is_state(const checker *c, uint32_t id) {
    return id < c->x->states.used && !marked(c->state_free, id);
}

/* A place that holds text. */
static bool is_place(const spec_index *x, uint32_t place) {
    return place < x->text.used && chunk_at(x, place >> CHUNK_SHIFT)->seq != NONE &&
           slot_at(x, place)->up != NONE;
}

static int check_links(checker *c) {
    const spec_index *x = c->x;
    const state *root = state_at(x, ROOT);
    int err = check_free(c, "states", x->free_state, &x->states, c->state_free, next_state);
    if (err) return err;
    if (!is_state(c, ROOT) || root->len != 0 || root->link != ROOT)
        return FAIL(c, "the root is free, not empty, or has a link");
    for (uint32_t i = 1; i < x->states.used; i++) {
        const state *s = state_at(x, i);
        if (is_state(c, i) != (s->count != 0))
            return FAIL(c, "state %u: count %u, %s the free list", i, s->count,
                        s->count ? "yet in" : "but not in");
        if (s->count == 0) continue;
        if (!is_state(c, s->link)) return FAIL(c, "state %u: link %u is not a state", i, s->link);
        if (s->len > x->depth) return FAIL(c, "state %u: length %u, depth %u", i, s->len, x->depth);
        if (state_at(x, s->link)->len >= s->len)
            return FAIL(c, "state %u: length %u, its link %u has %u", i, s->len, s->link,
                        state_at(x, s->link)->len);
    }
    return SPEC_OK;
}

/* The class at the top of a chain holds the longest string, and nothing longer. */
static int check_top(checker *c, uint32_t place) {
    const spec_index *x = c->x;
    uint32_t up = slot_at(x, place)->up, id = up & ~HELD;
    uint32_t longest = min_u32(x->depth, place_rank(x, place));
    if (!is_state(c, id)) return FAIL(c, "place %u: class %u is not a state", place, id);
    uint32_t len = state_at(x, id)->len;
    if (up & HELD ? len != longest : len >= longest)
        return FAIL(c, "place %u: %s state %u of length %u; the longest string has %u", place,
                    up & HELD ? "held by" : "linked to", id, len, longest);
    return SPEC_OK;
}

static int check_tops(checker *c) {
    const spec_index *x = c->x;
    uint64_t singles = 0;
    for (uint32_t place = 0; place < x->text.used; place++) {
        if (!is_place(x, place)) continue;
        int err = check_top(c, place);
        if (err) return err;
        singles += !(slot_at(x, place)->up & HELD);
    }
    if (singles != x->n_singles)
        return FAIL(c, "%llu single classes, n_singles says %llu", (unsigned long long)singles,
                    (unsigned long long)x->n_singles);
    return SPEC_OK;
}

/* ---- 5: edges ----------------------------------------------------------- */

/* A run of records lies within a segment, and nothing else lies there. */
static int own_run(checker *c, uint32_t id, uint32_t n, const char *owner, uint32_t who) {
    uint32_t offset = id & ((1u << EDGE_SHIFT) - 1);
    if (id >= c->x->edges.used || c->x->edges.used - id < n || offset + n > 1u << EDGE_SHIFT)
        return FAIL(c, "%s %u: block of %u edges at %u is out of range", owner, who, n, id);
    for (uint32_t k = 0; k < n; k++)
        if (!mark(c->edge_seen, id + k))
            return FAIL(c, "%s %u: block at %u overlaps another", owner, who, id);
    return SPEC_OK;
}

/* A free run carries its length at both ends, and has no free neighbour behind it. */
static int check_free_run(checker *c, uint32_t list, uint32_t id, uint32_t before) {
    const spec_index *x = c->x;
    if (id >= x->edges.used) return FAIL(c, "free list of blocks %u: block at %u is out of range", list, id);
    const edge *e = block_at(x, id);
    uint32_t size = e->token < 0 ? 0u - (uint32_t)e->token : 0;
    if (size == 0 || (size < N_FREE_RUNS - 1 ? size : N_FREE_RUNS - 1) != list)
        return FAIL(c, "free list of blocks %u: block at %u says its length is %u", list, id, size);
    int err = own_run(c, id, size, "free list of blocks", list);
    if (err) return err;
    if (e[size - 1].token != e->token)
        return FAIL(c, "free list of blocks %u: block at %u has two lengths", list, id);
    if (e->count != before)
        return FAIL(c, "free list of blocks %u: block at %u links back wrongly", list, id);
    uint32_t after = id + size;
    if ((after & ((1u << EDGE_SHIFT) - 1)) && after < x->edges.used && block_at(x, after)->token < 0)
        return FAIL(c, "free list of blocks %u: block at %u stands beside a free one", list, id);
    return SPEC_OK;
}

/* Every free run, and that no record was lost. */
static int check_free_blocks(checker *c) {
    const spec_index *x = c->x;
    if (x->free_run[0] != NONE) return FAIL(c, "free list of blocks 0: no run has no records");
    for (uint32_t list = 1; list < N_FREE_RUNS; list++) {
        uint32_t before = NONE;
        for (uint32_t id = x->free_run[list]; id != NONE; before = id, id = block_at(x, id)->to) {
            int err = check_free_run(c, list, id, before);
            if (err) return err;
        }
    }
    for (uint32_t i = 0; i < x->edges.used; i++)
        if (!marked(c->edge_seen, i)) return FAIL(c, "edge record %u is neither in use nor free", i);
    if (c->blocks != x->edges.live)
        return FAIL(c, "%u edge records in use, %u live", c->blocks, x->edges.live);
    return SPEC_OK;
}

/* Records in use are never marked as free. */
static int check_unmarked(checker *c, const state *s, uint32_t id) {
    for (uint32_t k = 0; k < specp_block_cap[s->kind]; k++)
        if (block_at(c->x, s->e.block)[k].token < 0)
            return FAIL(c, "state %u: record %u of its block is marked as free", id, k);
    return SPEC_OK;
}

/* The hash of a hub: as many entries as edges, each in range, and each edge
 * found by its token, which also makes the tokens differ. */
static int check_hash(checker *c, uint32_t id) {
    const hub *h = hub_at(c->x, id);
    uint64_t filled = 0;
    for (uint32_t i = 0; i < h->slots; i++) {
        if (h->slot[i] > h->n)
            return FAIL(c, "hub %u: hash slot %u names edge %u of %u", id, i, h->slot[i] - 1, h->n);
        filled += h->slot[i] != 0;
    }
    if (filled != h->n)
        return FAIL(c, "hub %u: %u edges, %llu in its hash", id, h->n, (unsigned long long)filled);
    for (uint32_t i = 0; i < h->n; i++)
        if (specp_hub_find(h, h->e[i].token) != &h->e[i])
            return FAIL(c, "hub %u: token %d leads to another edge than %u", id, (int)h->e[i].token, i);
    return SPEC_OK;
}

static int check_storage(checker *c, uint32_t id) {
    const state *s = state_at(c->x, id);
    if (s->kind == EDGES_HUB) {
        if (s->e.block >= c->x->hubs.used || !mark(c->hub_seen, s->e.block))
            return FAIL(c, "state %u: hub %u is out of range, free, or another's", id, s->e.block);
        c->hubs++;
        return check_hash(c, s->e.block);
    }
    if (s->kind >= N_BLOCK_KINDS || s->n > specp_block_cap[s->kind])
        return FAIL(c, "state %u: %u edges in storage of kind %u", id, s->n, s->kind);
    if (s->kind == EDGES_INLINE) return SPEC_OK;
    c->blocks += specp_block_cap[s->kind];
    int err = own_run(c, s->e.block, specp_block_cap[s->kind], "state", id);
    return err ? err : check_unmarked(c, s, id);
}

static int check_target(checker *c, uint32_t id, const edge *e) {
    const spec_index *x = c->x;
    uint32_t place = e->to & ~SINGLE;
    if (e->token < 0) return FAIL(c, "state %u: an edge by token %d", id, (int)e->token);
    if (e->to & SINGLE ? !is_place(x, place) || slot_at(x, place)->up & HELD : !is_state(c, e->to))
        return FAIL(c, "state %u: token %d leads to %s %u, which is no class", id, (int)e->token,
                    e->to & SINGLE ? "place" : "state", place);
    if (e->count == 0 || e->count != class_count(x, e->to))
        return FAIL(c, "state %u: token %d has count %u, its target %u", id, (int)e->token, e->count,
                    class_count(x, e->to));
    return SPEC_OK;
}

static int check_edges_of(checker *c, uint32_t id) {
    const spec_index *x = c->x;
    const state *s = state_at(x, id);
    int err = check_storage(c, id);
    if (err) return err;
    uint32_t n;
    const edge *e = state_edges(x, s, &n);
    if (n && id != ROOT && state_at(x, s->link)->len + 1u >= x->depth) /* I3 */
        return FAIL(c, "state %u: strings of length %u alone have edges", id, x->depth);
    for (uint32_t i = 0; i < n; i++) {
        if ((err = check_target(c, id, &e[i]))) return err;
        if (i && e[i - 1].count < e[i].count) return FAIL(c, "state %u: edge %u is out of order", id, i);
        for (uint32_t k = 0; s->kind != EDGES_HUB && k < i; k++)
            if (e[k].token == e[i].token)
                return FAIL(c, "state %u: two edges by token %d", id, (int)e[i].token);
        c->edge_counts += e[i].count;
    }
    c->n_edges += n;
    return SPEC_OK;
}

static int check_edges(checker *c) {
    const spec_index *x = c->x;
    for (uint32_t i = 0; i < x->states.used; i++) {
        int err = is_state(c, i) ? check_edges_of(c, i) : SPEC_OK;
        if (err) return err;
    }
    if (c->hubs != x->hubs.live) return FAIL(c, "%u hubs in use, %u live", c->hubs, x->hubs.live);
    if (c->n_edges != x->n_edges)
        return FAIL(c, "%llu edges, n_edges says %llu", (unsigned long long)c->n_edges,
                    (unsigned long long)x->n_edges);
    return check_free_blocks(c);
}

/* ---- 6: the walk -------------------------------------------------------- */

/* p is on the chain of the place before, its strings have at least `least`
 * tokens, fewer than D; q is the class on the chain of `place` that holds the
 * shortest of them one longer. */
static int check_step(checker *c, uint32_t p, uint32_t least, uint32_t q, uint32_t place) {
    const spec_index *x = c->x;
    spec_token t = slot_at(x, place)->token;
    uint32_t most = min_u32(class_len(x, p), x->depth - 1);
    if (most + 1 > class_len(x, q))
        return FAIL(c, "place %u: strings of %u to %u tokens of one class go on to two", place, least, most);
    if (p & SINGLE) { /* I4 */
        if (q != (place | SINGLE)) return FAIL(c, "place %u: not single, but the place before is", place);
        return SPEC_OK;
    }
    const edge *e = edge_find(x, state_at(x, p), t);
    if (!e) return FAIL(c, "state %u: no edge by token %d, which follows at place %u", p, (int)t, place);
    if (e->to != q)
        return FAIL(c, "state %u: token %d leads to %s %u, at place %u to %s %u", p, (int)t,
                    e->to & SINGLE ? "place" : "state", e->to & ~SINGLE, place,
                    q & SINGLE ? "place" : "state", q & ~SINGLE);
    c->uses++;
    return SPEC_OK;
}

static int check_place(checker *c, uint32_t place) {
    const spec_index *x = c->x;
    uint32_t before = place_prev(x, place);
    uint32_t p = before == NONE ? ROOT : place_class(x, before), q = place_class(x, place);
    for (uint32_t id = q & SINGLE ? class_link(x, q) : q;; id = state_at(x, id)->link) {
        c->occurs[id]++;
        if (id == ROOT) break;
    }
    for (;; p = class_link(x, p)) {
        uint32_t least = p == ROOT ? 0 : state_at(x, class_link(x, p))->len + 1u;
        if (least < x->depth) {
            while (q != ROOT && state_at(x, class_link(x, q))->len > least) q = class_link(x, q);
            int err = check_step(c, p, least, q, place);
            if (err) return err;
        }
        if (p == ROOT) return SPEC_OK;
    }
}

static int check_places(checker *c) {
    const spec_index *x = c->x;
    for (uint32_t i = x->oldest; i != NONE; i = seq_at(x, i)->newer)
        for (uint32_t j = seq_at(x, i)->tail; j != NONE; j = place_prev(x, j)) {
            int err = check_place(c, j);
            if (err) return err;
        }
    if (c->uses != c->edge_counts)
        return FAIL(c, "edges count %llu, the text uses them %llu times", (unsigned long long)c->edge_counts,
                    (unsigned long long)c->uses);
    return SPEC_OK;
}

/* ---- 7: counts ---------------------------------------------------------- */

static bool occurs_at(const spec_index *x, uint32_t id, uint32_t place) {
    uint32_t at = place_class(x, place);
    while (at != id && at != ROOT) at = class_link(x, at);
    return at == id;
}

static int check_counts(checker *c) {
    const spec_index *x = c->x;
    uint64_t loose = 0;
    if (c->tokens != state_at(x, ROOT)->count || c->tokens > x->tokens_total)
        return FAIL(c, "%llu tokens in the sequences, %u at the root, %llu ever",
                    (unsigned long long)c->tokens, state_at(x, ROOT)->count,
                    (unsigned long long)x->tokens_total);
    for (uint32_t i = 0; i < x->states.used; i++) {
        if (!is_state(c, i)) continue;
        const state *s = state_at(x, i);
        if (s->count != c->occurs[i])
            return FAIL(c, "state %u: count %u, occurs %u times", i, s->count, c->occurs[i]);
        if (s->last != NONE && (!is_place(x, s->last) || !occurs_at(x, i, s->last)))
            return FAIL(c, "state %u: does not occur at place %u, its last", i, s->last);
        loose += i != ROOT && s->count == 1;
    }
    if (loose != x->n_loose)
        return FAIL(c, "%llu states with one occurrence, n_loose says %llu", (unsigned long long)loose,
                    (unsigned long long)x->n_loose);
    return SPEC_OK;
}

int spec_index_check(const spec_index *x, spec_message *why) {
    if (!x) return SPEC_ERR_INVALID;
    checker c = {.x = x, .why = why};
    if (why) why->text[0] = '\0';
    int err = check_numbers(&c);
    if (!err) err = take_scratch(&c);
    if (!err) err = check_free(&c, "hubs", x->free_hub, &x->hubs, c.hub_seen, next_hub);
    if (!err) err = check_hub_sizes(&c);
    if (!err) err = check_sequences(&c);
    if (!err) err = check_chunks(&c);
    if (!err) err = check_heap(&c);
    if (!err) err = check_links(&c);
    if (!err) err = check_tops(&c);
    if (!err) err = check_edges(&c);
    if (!err) err = check_places(&c);
    if (!err) err = check_counts(&c);
    specp_release(&x->user_alloc, c.scratch, c.scratch_words, sizeof *c.scratch);
    return err;
}

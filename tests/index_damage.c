/* SPDX-License-Identifier: MIT */
/*
 * index_damage.c - finds in a healthy index a record of the kind that is to be
 * damaged, and damages it. An index that lacks one fails the test.
 */
#include "support.h"

#include "index_damage.h"

/* ---- where to hit ------------------------------------------------------- */

bool index_live_state(const spec_index *x, uint32_t id) { return id != ROOT && state_at(x, id)->count != 0; }

/* A live state, not the root, with at least n edges kept as `kind` says (1: in
 * a block). */
static uint32_t some_state(const spec_index *x, uint32_t kind, uint32_t n) {
    for (uint32_t i = 1; i < x->states.used; i++) {
        const state *s = state_at(x, i);
        uint32_t its = s->kind == EDGES_INLINE || s->kind == EDGES_HUB ? s->kind : 1, have;
        (void)state_edges(x, s, &have);
        if (index_live_state(x, i) && its == kind && have >= n) return i;
    }
    fail_msg("the healthy index has no state of kind %u with %u edges", kind, n);
    return 0;
}

static state *with_block(spec_index *x) { return state_at(x, some_state(x, 1, 2)); }
static state *with_late_block(spec_index *x) {
    uint32_t i = x->states.used - 1;
    while (!index_live_state(x, i) || state_at(x, i)->kind == EDGES_INLINE ||
           state_at(x, i)->kind == EDGES_HUB)
        i--;
    return state_at(x, i);
}
static state *with_one(spec_index *x) { return state_at(x, some_state(x, EDGES_INLINE, 1)); }
static state *with_hub(spec_index *x) { return state_at(x, some_state(x, EDGES_HUB, HUB_FROM + 1)); }
static hub *its_hub(spec_index *x) { return hub_at(x, with_hub(x)->e.block); }

static edge *edges_of(spec_index *x, const state *s) {
    uint32_t n;
    return state_edges(x, s, &n);
}

/* The first of two neighbouring edges with different counts, not in a hub. */
static edge *step_down(spec_index *x) {
    for (uint32_t i = 1; i < x->states.used; i++) {
        uint32_t n = 0;
        bool fits = index_live_state(x, i) && state_at(x, i)->kind != EDGES_HUB;
        edge *e = fits ? state_edges(x, state_at(x, i), &n) : NULL;
        for (uint32_t k = 0; k + 1 < n; k++)
            if (e[k].count > e[k + 1].count) return &e[k];
    }
    fail_msg("no state has edges of different counts");
    return NULL;
}

/* A list of free runs of edge records whose first run has at least n. */
static uint32_t list_of_run(const spec_index *x, uint32_t n) {
    for (uint32_t list = n; list < N_FREE_RUNS; list++)
        if (x->free_run[list] != NONE) return list;
    fail_msg("no free run of %u edge records", n);
    return 0;
}
static edge *some_run(const spec_index *x, uint32_t n) { return block_at(x, x->free_run[list_of_run(x, n)]); }

static uint32_t some_place(const spec_index *x, bool held) {
    for (uint32_t j = 0; j < x->text.used; j++)
        if (slot_at(x, j)->up != NONE && !(slot_at(x, j)->up & HELD) == !held) return j;
    fail_msg("the healthy index has no such place");
    return 0;
}

static sequence *first_seq(spec_index *x) { return seq_at(x, x->oldest); }
static chunk *first_chunk(spec_index *x) { return chunk_at(x, first_seq(x)->head); }

/* An explicit class whose strings are all of length D. */
static state *deepest(spec_index *x) {
    for (uint32_t i = 1; i < x->states.used; i++)
        if (index_live_state(x, i) && state_at(x, state_at(x, i)->link)->len + 1u == x->depth)
            return state_at(x, i);
    fail_msg("no state of the full depth");
    return NULL;
}

/* Another state than id with its count; NONE where there is none. */
static uint32_t same_count(const spec_index *x, uint32_t id) {
    for (uint32_t i = 1; i < x->states.used; i++)
        if (i != id && index_live_state(x, i) && state_at(x, i)->count == state_at(x, id)->count) return i;
    return NONE;
}

/* An edge to an explicit class that is not alone in its count. */
static edge *to_explicit(spec_index *x) {
    for (uint32_t i = 0; i < x->states.used; i++) {
        uint32_t n = 0;
        edge *e = i == ROOT || index_live_state(x, i) ? state_edges(x, state_at(x, i), &n) : NULL;
        for (uint32_t k = 0; k < n; k++)
            if (!(e[k].to & SINGLE) && same_count(x, e[k].to) != NONE) return &e[k];
    }
    fail_msg("no edge to an explicit class");
    return NULL;
}

/* The first filled slot of a hub's hash. */
static uint32_t *filled(spec_index *x) {
    hub *h = its_hub(x);
    uint32_t i = 0;
    while (!h->slot[i]) i++;
    return &h->slot[i];
}

/* ---- damage that keeps all simple accounts right -------------------------- */

typedef struct in_edge {
    state *from;
    edge *e;
    uint32_t rank, n; /* e's place among the n edges of `from` */
} in_edge;

#define MAX_IN 64

/* All edges into a class; more than there is room for are a failure. */
static uint32_t edges_into(spec_index *x, uint32_t ref, in_edge *in) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < x->states.used; i++) {
        uint32_t n = 0;
        edge *e = i == ROOT || index_live_state(x, i) ? state_edges(x, state_at(x, i), &n) : NULL;
        for (uint32_t k = 0; k < n; k++) {
            if (e[k].to != ref) continue;
            assert_true(found < MAX_IN);
            in[found++] = (in_edge){state_at(x, i), &e[k], k, n};
        }
    }
    return found;
}

static uint32_t take_state(spec_index *x) {
    uint32_t id = x->free_state;
    assert_int_not_equal(id, NONE);
    x->free_state = state_at(x, id)->link;
    x->states.live++;
    return id;
}

/* Splits a class between strings that one class before leads to. */
static bool split_at(spec_index *x, uint32_t q, uint32_t L) {
    in_edge in[MAX_IN];
    uint32_t n = edges_into(x, q, in);
    bool straddles = false;
    for (uint32_t k = 0; k < n; k++)
        straddles |= in[k].from->len >= L && state_at(x, in[k].from->link)->len + 1u < L && in[k].from->len;
    if (!straddles) return false;
    uint32_t id = take_state(x);
    state *c = state_at(x, id), *s = state_at(x, q);
    *c = *s;
    c->len = (uint16_t)L;
    s->link = id;
    x->n_edges += c->n;
    x->n_loose += c->count == 1;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t least = in[k].from->len ? state_at(x, in[k].from->link)->len + 1u : 0;
        if (least + 1 <= L) in[k].e->to = id;
    }
    return true;
}

static void split_badly(spec_index *x) {
    for (uint32_t q = 1; q < x->states.used; q++) {
        const state *s = state_at(x, q);
        if (!index_live_state(x, q) || s->kind != EDGES_INLINE || s->len + 1u >= x->depth) continue;
        for (uint32_t L = state_at(x, s->link)->len + 1u; L < s->len; L++)
            if (split_at(x, q, L)) return;
    }
    fail_msg("no class could be split badly");
}

/* Makes the last place of a sequence explicit, though the one before is single. */
static void explicit_after_single(spec_index *x) {
    for (uint32_t i = x->oldest; i != NONE; i = seq_at(x, i)->newer) {
        uint32_t j = seq_at(x, i)->tail, h = place_prev(x, j), link = slot_at(x, j)->up;
        if (link & HELD || slot_at(x, h)->up & HELD || class_len(x, slot_at(x, h)->up) + 1 >= x->depth)
            continue;
        in_edge in[MAX_IN];
        uint32_t n = edges_into(x, j | SINGLE, in), id = take_state(x);
        *state_at(x, id) =
            (state){.link = link, .count = 1, .last = j, .len = (uint16_t)class_len(x, j | SINGLE)};
        for (uint32_t k = 0; k < n; k++) in[k].e->to = id;
        slot_at(x, j)->up = id | HELD;
        x->n_singles--;
        x->n_loose++;
        return;
    }
    fail_msg("no sequence ends in two single places");
}

/* An edge by a token that never follows. */
static void edge_too_many(spec_index *x) {
    for (uint32_t i = 1; i < x->states.used; i++) {
        state *s = state_at(x, i);
        if (!index_live_state(x, i) || s->kind == EDGES_HUB || s->n == specp_block_cap[s->kind]) continue;
        if (state_at(x, s->link)->len + 1u >= x->depth) continue;
        edges_of(x, s)[s->n++] = (edge){.token = 77777, .to = some_place(x, false) | SINGLE, .count = 1};
        x->n_edges++;
        return;
    }
    fail_msg("no state has room for an edge");
}

/* Moves a count from one class to another, on the edges into them too. */
static void count_moved(spec_index *x) {
    in_edge up[MAX_IN], down[MAX_IN];
    uint32_t a = 1, b;
    for (;; a++) {
        assert_true(a < x->states.used);
        if (!index_live_state(x, a) || state_at(x, a)->count == 1 || edges_into(x, a, up) != 1) continue;
        if (up->from->kind != EDGES_HUB && (up->rank == 0 || up->e[-1].count > up->e->count)) break;
    }
    for (b = a + 1;; b++) {
        assert_true(b < x->states.used);
        if (!index_live_state(x, b) || state_at(x, b)->count < 3 || edges_into(x, b, down) != 1) continue;
        if (down->from != up->from && (down->rank + 1 == down->n || down->e[1].count < down->e->count)) break;
    }
    up->e->count = ++state_at(x, a)->count;
    down->e->count = --state_at(x, b)->count;
}

static void enter_run(spec_index *x, uint32_t id, uint32_t size) {
    uint32_t *head = &x->free_run[min_u32(size, N_FREE_RUNS - 1)];
    block_at(x, id)[size - 1] = (edge){.token = -(spec_token)size};
    *block_at(x, id) = (edge){.token = -(spec_token)size, .to = *head, .count = NONE};
    if (*head != NONE) block_at(x, *head)->count = id;
    *head = id;
}

/* A free run as two that nobody has joined. */
static void run_split(spec_index *x) {
    uint32_t *head = &x->free_run[list_of_run(x, 2)], id = *head;
    uint32_t size = (uint32_t)-block_at(x, id)->token;
    *head = block_at(x, id)->to;
    if (*head != NONE) block_at(x, *head)->count = NONE;
    enter_run(x, id, 1);
    enter_run(x, id + 1, size - 1);
}

/* A hub that no state has. */
static void hub_leak(spec_index *x) {
    hub *h = hub_at(x, x->free_hub);
    x->free_hub = h->n;
    *h = *its_hub(x);
    x->hubs.live++;
    x->hub_bytes += (uint64_t)h->cap * sizeof *h->e + (uint64_t)h->slots * sizeof *h->slot;
}

static void heap_swapped(spec_index *x) {
    uint32_t a = x->heap[0], b = x->heap[1];
    assert_true(seq_at(x, a)->heap_key < seq_at(x, b)->heap_key);
    x->heap[seq_at(x, a)->heap = 1] = a;
    x->heap[seq_at(x, b)->heap = 0] = b;
}

/* ---- one damage each ----------------------------------------------------- */

/* Its name, words of the message that must tell of it, and what is done to x. */
/* clang-format off */
#define DAMAGES(X) \
    X(depth_zero, "depth is 0", x->depth = 0) \
    X(depth_huge, "depth is 5000", x->depth = 5000) \
    X(depth_other, "accounted", x->depth++) \
    X(policy_unknown, "policy 7", x->evict = (spec_evict)7) \
    X(policy_other, "heap: ", x->evict = SPEC_EVICT_FIFO) \
    X(text_used, "pool of text", x->text.used++) \
    X(text_cap, "pool of text", x->text.cap = x->text.used - 1) \
    X(states_none, "no root", x->states.used = x->states.live = 0) \
    X(states_live, "states: ", x->states.live++) \
    X(states_segments, "a table of", x->states.n_seg = 900) \
    X(states_table, "a table of", x->states.cap_seg = 0) \
    X(states_missing, "is missing", x->states.seg[0] = NULL) \
    X(text_cap_huge, "do not make", x->text.cap = 1u << 20) \
    X(chunk_leaked, "neither in use", x->free_chunk = chunk_at(x, x->free_chunk)->next; x->chunks.live++) \
    X(hub_leaked, "hubs in use", hub_leak(x)) \
    X(class_split, "go on to two", split_badly(x)) \
    X(class_explicit, "not single", explicit_after_single(x)) \
    X(edge_unused, "the text uses", edge_too_many(x)) \
    X(count_elsewhere, "occurs", count_moved(x)) \
    X(heap_order, "than its parent", heap_swapped(x)) \
    X(chunks_live, "chunks: ", x->chunks.live--) \
    X(chunks_used, "slots of text", x->chunks.used--) \
    X(edges_live, "edge records in use", x->edges.live--) \
    X(edges_mapped, "cannot be mapped", x->edges.mapped++) \
    X(hubs_live, "hubs: ", x->hubs.live--) \
    X(seqs_live, "are live", x->seqs.live++) \
    X(n_edges_off, "n_edges", x->n_edges++) \
    X(n_loose_off, "n_loose", x->n_loose++) \
    X(n_singles_off, "n_singles", x->n_singles--) \
    X(hub_bytes_off, "hub_bytes", x->hub_bytes += 4) \
    X(bytes_off, "accounted", x->bytes++) \
    X(tokens_off, " ever", x->tokens_total = 1) \
    X(serials_off, "serial", x->next_serial = 1) \
    X(oldest_none, "newest is", x->oldest = NONE) \
    X(oldest_huge, "age list", x->oldest = x->seqs.used) \
    X(newest_other, "newest is", x->newest = x->oldest) \
    X(free_chunks_lost, "chunks: ", x->free_chunk = NONE) \
    X(free_chunks_huge, "out of range", x->free_chunk = x->chunks.used) \
    X(free_chunks_live, "or in use", x->free_chunk = first_seq(x)->head) \
    X(free_chunks_cycle, "in it twice", \
      chunk_at(x, chunk_at(x, x->free_chunk)->next)->next = x->free_chunk) \
    X(free_chunk_owned, "has a sequence", chunk_at(x, x->free_chunk)->seq = 0) \
    X(free_states_lost, "states: ", x->free_state = NONE) \
    X(free_states_root, "", x->free_state = ROOT) \
    X(free_states_huge, "out of range", state_at(x, x->free_state)->link = x->states.used) \
    X(free_states_cycle, "in it twice", \
      state_at(x, state_at(x, x->free_state)->link)->link = x->free_state) \
    X(free_state_counts, "yet in", state_at(x, x->free_state)->count = 2) \
    X(free_hubs_lost, "hubs: ", x->free_hub = NONE) \
    X(free_hubs_cycle, "in it twice", hub_at(x, x->free_hub)->n = x->free_hub) \
    X(free_hubs_live, "", x->free_hub = with_hub(x)->e.block) \
    X(free_hub_full, "free but not empty", hub_at(x, x->free_hub)->cap = 64) \
    X(free_seqs_lost, "sequences: ", x->free_seq = NONE) \
    X(free_seqs_live, "or in use", x->free_seq = x->oldest) \
    X(free_seqs_cycle, "in it twice", seq_at(x, x->free_seq)->newer = x->free_seq) \
    X(free_seq_serial, "has a serial", seq_at(x, x->free_seq)->serial = 1) \
    X(free_blocks_lost, "neither in use", x->free_run[list_of_run(x, 1)] = NONE) \
    X(free_blocks_huge, "out of range", x->free_run[3] = x->edges.used) \
    X(free_blocks_live, "its length is 0", x->free_run[3] = with_block(x)->e.block) \
    X(free_blocks_cycle, "overlaps", some_run(x, 1)->to = x->free_run[list_of_run(x, 1)]) \
    X(free_blocks_nothing, "no records", x->free_run[0] = x->free_run[list_of_run(x, 1)]) \
    X(free_block_longer, "its length is", some_run(x, 1)->token--) \
    X(free_block_ends, "two lengths", edge *e = some_run(x, 2); e[-e->token - 1].token = -1) \
    X(free_block_back, "links back", some_run(x, 1)->count = 0) \
    X(free_block_split, "beside a free one", run_split(x)) \
    X(block_marked, "marked as free", edges_of(x, with_block(x))->token = -5) \
    X(age_cycle, "in it twice", seq_at(x, x->newest)->newer = x->oldest) \
    X(age_back, "not linked back", seq_at(x, x->newest)->older = x->newest) \
    X(age_short, "newest is", seq_at(x, first_seq(x)->newer)->newer = NONE) \
    X(seq_serial_zero, "serial 0", first_seq(x)->serial = 0) \
    X(seq_serial_late, "serial", first_seq(x)->serial = x->next_serial - 1) \
    X(seq_state, "unknown", first_seq(x)->state = 3) \
    X(seq_longer, "", first_seq(x)->len++) \
    X(seq_shorter, "", first_seq(x)->len--) \
    X(seq_endless, "", first_seq(x)->len = UINT32_MAX) \
    X(seq_empty, "", first_seq(x)->len = 0) \
    X(seq_head, "out of range", first_seq(x)->head = x->chunks.used) \
    X(seq_tail, "does not end", first_seq(x)->tail--) \
    X(seq_heap, "heap: ", first_seq(x)->heap ^= 1) \
    X(chunk_seq, "chunk ", first_chunk(x)->seq = x->newest) \
    X(chunk_prev, "chunk ", first_chunk(x)->prev = first_seq(x)->head) \
    X(chunk_base, "chunk ", first_chunk(x)->base = CHUNK_SLOTS) \
    X(chunk_next_huge, "out of range", first_chunk(x)->next = x->chunks.used) \
    X(chunk_next_self, "in a circle", first_chunk(x)->next = first_seq(x)->head) \
    X(chunk_next_none, "out of range", first_chunk(x)->next = NONE) \
    X(slot_negative, "negative", slot_at(x, 40)->token = -1) \
    X(slot_other_token, "", slot_at(x, 40)->token = 77777) \
    X(slot_empty, "is empty amid", slot_at(x, some_place(x, false))->up = NONE) \
    X(slot_behind_end, "behind the end", slot_at(x, first_seq(x)->tail + 1)->up = ROOT) \
    X(slot_up_huge, "not a state", slot_at(x, some_place(x, false))->up = x->states.used) \
    X(slot_up_free, "not a state", slot_at(x, some_place(x, false))->up = x->free_state) \
    X(slot_held_free, "not a state", slot_at(x, some_place(x, true))->up = x->free_state | HELD) \
    X(slot_not_held, "linked to", slot_at(x, some_place(x, true))->up &= ~HELD) \
    X(slot_held, "held by", slot_at(x, some_place(x, false))->up |= HELD) \
    X(state_link_self, "its link", with_block(x)->link = some_state(x, 1, 2)) \
    X(state_link_huge, "not a state", with_block(x)->link = x->states.used) \
    X(state_link_free, "not a state", with_block(x)->link = x->free_state) \
    X(state_link_root, "", state_at(x, deepest(x)->link)->link = ROOT; deepest(x)->link = ROOT) \
    X(state_len_zero, "length", with_block(x)->len = 0) \
    X(state_len_huge, "depth", with_block(x)->len = (uint16_t)(x->depth + 1)) \
    X(state_len_more, "", with_block(x)->len++) \
    X(state_count_more, "", with_block(x)->count++) \
    X(state_count_zero, "not in", with_block(x)->count = 0) \
    X(state_last_huge, "its last", with_block(x)->last = x->text.used) \
    X(state_last_free, "its last", with_block(x)->last = x->free_chunk << CHUNK_SHIFT) \
    X(state_last_other, "its last", with_hub(x)->last = first_seq(x)->head << CHUNK_SHIFT) \
    X(state_kind, "kind 77", with_block(x)->kind = 77) \
    X(state_kind_less, "kind 0", with_block(x)->kind = EDGES_INLINE) \
    X(state_kind_hub, "", with_block(x)->kind = EDGES_HUB) \
    X(state_n_more, "2 edges", with_one(x)->n = 2) \
    X(state_n_less, "", with_block(x)->n--) \
    X(block_huge, "out of range", with_block(x)->e.block = x->edges.used) \
    X(block_at_end, "out of range", with_block(x)->e.block = x->edges.used - 1) \
    X(block_others, "overlaps", with_late_block(x)->e.block = with_block(x)->e.block) \
    X(hub_id_huge, "out of range", with_hub(x)->e.block = x->hubs.used) \
    X(hub_id_free, "free", with_hub(x)->e.block = x->free_hub) \
    X(root_linked, "the root", state_at(x, ROOT)->link = 1) \
    X(root_long, "the root", state_at(x, ROOT)->len = 1) \
    X(root_count, "at the root", state_at(x, ROOT)->count--) \
    X(full_depth_edges, "alone have edges", \
      edge *e = to_explicit(x); deepest(x)->n = 1; deepest(x)->e.one = *e; x->n_edges++) \
    X(edge_negative, "token -5", edges_of(x, with_one(x))->token = -5) \
    X(edge_other_token, "no edge", edges_of(x, with_block(x))->token = 77777) \
    X(edge_same_token, "two edges", edge *e = edges_of(x, with_block(x)); e[1].token = e[0].token) \
    X(edge_to_huge, "no class", edges_of(x, with_block(x))->to = x->states.used) \
    X(edge_to_free, "no class", to_explicit(x)->to = x->free_state) \
    X(edge_to_place_huge, "no class", edges_of(x, with_one(x))->to = SINGLE | x->text.used) \
    X(edge_to_place_none, "no class", edges_of(x, with_one(x))->to = NONE) \
    X(edge_to_place_free, "no class", edges_of(x, with_one(x))->to = SINGLE | x->free_chunk << CHUNK_SHIFT) \
    X(edge_to_other, "leads to", edge *e = to_explicit(x); e->to = same_count(x, e->to)) \
    X(edge_count, "its target", edges_of(x, with_block(x))->count++) \
    X(edge_count_zero, "its target", edges_of(x, with_one(x))->count = 0) \
    X(edge_order, "out of order", edge *e = step_down(x), t = e[0]; e[0] = e[1]; e[1] = t) \
    X(hub_n_more, "in room for", its_hub(x)->n = its_hub(x)->cap + 1) \
    X(hub_n_less, "hash", its_hub(x)->n--) \
    X(hub_cap_zero, "in room for", its_hub(x)->cap = 0) \
    X(hub_cap_less, "hub_bytes", its_hub(x)->cap--) \
    X(hub_slots_odd, "a hash of", its_hub(x)->slots--) \
    X(hub_slots_less, "a hash of", its_hub(x)->slots /= 2) \
    X(hub_slots_more, "hub_bytes", its_hub(x)->slots *= 2) \
    X(hub_token, "another edge", its_hub(x)->e[3].token = 77777) \
    X(hub_same_token, "another edge", its_hub(x)->e[3].token = its_hub(x)->e[4].token) \
    X(hash_out_of_range, "hash slot", *filled(x) = its_hub(x)->n + 1) \
    X(hash_cleared, "in its hash", *filled(x) = 0) \
    X(hash_other, "another edge", *filled(x) = *filled(x) == 1 ? 2 : 1) \
    X(heap_size, "heap: ", x->n_heap--) \
    X(heap_huge, "not a sequence", x->heap[0] = x->seqs.used) \
    X(heap_free, "not a sequence", x->heap[0] = x->free_seq) \
    X(heap_twice, "not", x->heap[1] = x->heap[0]) \
    X(heap_key, "", seq_at(x, x->heap[0])->heap_key += 1000) \
    X(heap_stamp, "stamp", atomic_store(&x->clock, 0))
/* clang-format on */

#define INFLICT(name, words, ...)                                                                            \
    static void name(spec_index *x) { __VA_ARGS__; }
#define ENTRY(name, words, ...) {#name, words, name},

DAMAGES(INFLICT)

const damage index_damages[] = {DAMAGES(ENTRY)};
const size_t n_index_damages = sizeof index_damages / sizeof *index_damages;

/* SPDX-License-Identifier: MIT */
/*
 * truncate.c - the last token of a sequence taken back.
 *
 * Tokens are always removed from the end, also when a whole sequence goes: then
 * the classes of the places behind have given up the sequence already, every
 * step leaves a valid index, and an eviction can be done in slices.
 *
 * The walk is that of append, up the suffix chain of the place before (i is the
 * place that goes, t its token):
 *
 *      p0 -> p1 -> p2 -> root
 *      |t    |t    |t    |t
 *      S_i   r     r     u          counts of r and u fall by one
 *
 *   Case A  p's transition leads to S_i: it goes.
 *   Case B  r falls to 0: it goes, and so do the transitions into it. It has
 *           none of its own left: whatever followed it lay further behind.
 *   Case C  r falls to 1: its strings join the single class of the place j
 *           where they still occur, if that place can be told: the transitions
 *           are turned to S_j. Otherwise r stays, explicit with one occurrence
 *           (x->n_loose counts these): exact, only less compact.
 *   Case D  r stays at 2 or more.
 *
 * Nothing here needs memory (edges move to a smaller place only where one can be
 * had), so nothing can fail.
 */
#include "index_internal.h"

/* A place where r occurs, found from a child whose place is known. */
static uint32_t place_from_child(const spec_index *x, const state *r) {
    uint32_t n;
    const edge *e = state_edges(x, r, &n);
    if (n == 0) return NONE;
    if (e->to & SINGLE) return place_prev(x, e->to & ~SINGLE);
    uint32_t last = state_at(x, e->to)->last;
    return last == NONE ? NONE : place_prev(x, last);
}

/* Gives the strings of r, whose count is 1, to the single class at its only
 * place. Only when that keeps I4: r's continuation must be single itself, and
 * r must be what the single class links to. */
static bool make_single(spec_index *x, uint32_t id, uint32_t *ref) {
    state *r = state_at(x, id);
    uint32_t n, j = r->last;
    const edge *e = state_edges(x, r, &n);
    if (j == NONE || (n && !(e->to & SINGLE))) return false;
    slot *s = slot_at(x, j);
    if (s->up != id && s->up != (id | HELD)) return false;
    x->n_singles += s->up != id;
    s->up = r->link;
    *ref = j | SINGLE;
    specp_state_free(x, id);
    return true;
}

/* One occurrence of r, at place i, less. Returns what transitions into r lead to
 * from now on; NONE: nowhere. */
static uint32_t take_occurrence(spec_index *x, uint32_t id, uint32_t i) {
    state *r = state_at(x, id);
    r->count--;
    if (r->count == 0) { /* case B */
        x->n_loose--;
        specp_state_free(x, id);
        return NONE;
    }
    if (r->last == i) r->last = place_from_child(x, r);
    if (r->count == 1) { /* case C */
        uint32_t ref;
        if (make_single(x, id, &ref)) return ref;
        x->n_loose++;
    }
    return id;
}

/* The place itself; its chunk goes with its first slot. */
static void place_drop(spec_index *x, uint32_t seq) {
    sequence *s = seq_at(x, seq);
    uint32_t i = s->tail, c = i >> CHUNK_SHIFT;
    chunk *k = chunk_at(x, c);
    s->tail = place_prev(x, i);
    s->len--;
    x->n_singles -= !(slot_at(x, i)->up & HELD);
    slot_at(x, i)->up = NONE;
    k->gen++;
    if (i & (CHUNK_SLOTS - 1)) return;
    if (k->prev == NONE)
        s->head = NONE;
    else
        chunk_at(x, k->prev)->next = NONE;
    k->seq = NONE;
    k->next = x->free_chunk;
    x->free_chunk = c;
    x->chunks.live--;
}

/* The explicit class on the chain of place i that is nearest its top. */
static const state *chain_top(const spec_index *x, uint32_t i) {
    return state_at(x, slot_at(x, i)->up & ~HELD);
}

/* The place k before i, k at most a chunk; NONE before the start. */
static uint32_t place_back(const spec_index *x, uint32_t i, uint32_t k) {
    if ((i & (CHUNK_SLOTS - 1)) >= k) return i - k;
    uint32_t prev = chunk_at(x, i >> CHUNK_SHIFT)->prev;
    return prev == NONE ? NONE : ((prev + 1) << CHUNK_SHIFT) + (i & (CHUNK_SLOTS - 1)) - k;
}

/* Asks the memory for what the next steps will touch, each part two steps
 * after the part that leads to it: all places and tokens are known. */
static void look_ahead(const spec_index *x, uint32_t i) {
    uint32_t far = place_back(x, i, 7), mid = place_back(x, i, 5), near = place_back(x, i, 3);
    if (far == NONE) return;
    SPECP_PREFETCH(chain_top(x, far));
    const state *top = chain_top(x, mid);
    specp_edges_prefetch(x, top, slot_at(x, place_back(x, i, 4))->token);
    SPECP_PREFETCH(state_at(x, top->link));
    if (top->count == 2 && top->last != NONE) SPECP_PREFETCH(slot_at(x, top->last)); /* case C */
    const state *second = state_at(x, chain_top(x, near)->link);
    specp_edges_prefetch(x, second, slot_at(x, place_back(x, i, 2))->token);
    specp_edges_prefetch(x, state_at(x, ROOT), slot_at(x, near)->token);
}

void specp_truncate_token(spec_index *x, uint32_t seq) {
    sequence *s = seq_at(x, seq);
    uint32_t i = s->tail, before = place_prev(x, i);
    look_ahead(x, i);
    spec_token t = slot_at(x, i)->token;
    uint32_t len = min_u32(s->len - 1, x->depth - 1);
    uint32_t p = before == NONE ? ROOT : class_shorten(x, place_class(x, before), len);
    if (p & SINGLE) p = class_link(x, p); /* its transition to S_i is the text */

    uint32_t from = NONE, to = NONE; /* the class met last, and what became of it */
    for (;;) {
        state *c = state_at(x, p);
        edge *e = edge_find(x, c, t);
        uint32_t up = c->link;
        if (e->to != (i | SINGLE)) {
            if (e->to != from) to = take_occurrence(x, from = e->to, i);
            if (to != NONE) e->to = to;
        }
        specp_edge_decrement(x, c, e);
        if (p == ROOT) break;
        p = up;
    }
    state_at(x, ROOT)->count--;
    place_drop(x, seq);
}

/* SPDX-License-Identifier: MIT */
/*
 * append.c - one more token at the end of a sequence.
 *
 * The suffix chain of the last place, from its longest class that a token can
 * follow, up to the root; t is appended at the new place i:
 *
 *      p0 -> p1 -> p2 -> p3 -> root          p0, p1 have no t, p2 and above do
 *                  |t    |t     |t
 *                  q     r      r            S_i: the new single class, if p0
 *                                            has no t; its link is q (or C)
 *
 *   Case A  p has no t: it gets a transition to S_i. (If that p is the q of case
 *           B, C ends at the last place too, and gets one as well.)
 *   Case B  the first p that has t -> q. q holds longer strings than p's
 *           longest with t: split it, the shorter part C takes the new
 *           occurrence. q is single: it now occurs twice, so C (the shorter
 *           part, or all of it) becomes explicit.
 *   Case C  from there up: the count of each class met rises by one, and so do
 *           the counts on the transitions into it; those that led to the part of
 *           q that became C are turned to C.
 *
 * All memory is reserved before the first change, so a refusal leaves the index
 * as it was. Source: online suffix automaton, Blumer et al. 1985; counts,
 * single classes in the text, and the cap are ours (docs/INDEX.md).
 */
#include "index_internal.h"

int specp_state_reserve(spec_index *x) {
    return x->free_state != NONE ? SPEC_OK : specp_pool_reserve(x, &x->states, 1);
}

uint32_t specp_state_take(spec_index *x) {
    uint32_t id = x->free_state;
    if (id != NONE)
        x->free_state = state_at(x, id)->link;
    else {
        id = specp_pool_take(&x->states, 1);
        state_at(x, id)->gen = 0;
    }
    x->states.live++;
    return id;
}

void specp_state_free(spec_index *x, uint32_t id) {
    state *s = state_at(x, id);
    specp_edges_free(x, s);
    s->count = 0;
    s->gen++;
    s->link = x->free_state;
    x->free_state = id;
    x->states.live--;
}

/* ---- text ------------------------------------------------------------- */

static int chunk_reserve(spec_index *x) {
    if (x->free_chunk != NONE) return SPEC_OK;
    int err = specp_pool_reserve(x, &x->chunks, 1);
    return err ? err : specp_pool_reserve(x, &x->text, CHUNK_SLOTS);
}

/* Links a new chunk to the end of a sequence. */
static uint32_t chunk_take(spec_index *x, uint32_t seq) {
    sequence *s = seq_at(x, seq);
    uint32_t id = x->free_chunk, gen = 0;
    if (id != NONE) {
        x->free_chunk = chunk_at(x, id)->next;
        gen = chunk_at(x, id)->gen;
    } else {
        id = specp_pool_take(&x->chunks, 1);
        specp_pool_take(&x->text, CHUNK_SLOTS);
    }
    x->chunks.live++;
    uint32_t prev = s->tail == NONE ? NONE : s->tail >> CHUNK_SHIFT;
    *chunk_at(x, id) = (chunk){.next = NONE, .prev = prev, .seq = seq, .base = s->len, .gen = gen};
    if (prev == NONE)
        s->head = id;
    else
        chunk_at(x, prev)->next = id;
    for (uint32_t k = 0; k < CHUNK_SLOTS; k++) *slot_at(x, (id << CHUNK_SHIFT) + k) = (slot){0, NONE};
    return id;
}

static bool needs_chunk(const sequence *s) {
    return s->tail == NONE || (s->tail & (CHUNK_SLOTS - 1)) == CHUNK_SLOTS - 1;
}

static uint32_t place_take(spec_index *x, uint32_t seq) {
    sequence *s = seq_at(x, seq);
    uint32_t i = needs_chunk(s) ? chunk_take(x, seq) << CHUNK_SHIFT : s->tail + 1;
    s->tail = i;
    s->len++;
    return i;
}

/* ---- case B: the class that takes the new occurrence ------------------- */

/* q, reached by strings of at most L tokens, is single: is the part of it that
 * becomes explicit all of it? */
static bool takes_all(const spec_index *x, uint32_t q, uint32_t L) { return class_len(x, q) == L; }

/* Makes explicit the strings of the single class at place j that have at most L
 * tokens. They have one occurrence so far and go on, if at all, to the single
 * class at the next place. */
static uint32_t split_single(spec_index *x, uint32_t j, uint32_t L) {
    bool all = takes_all(x, j | SINGLE, L);
    uint32_t id = specp_state_take(x), link = slot_at(x, j)->up;
    state *c = state_at(x, id);
    *c = (state){.link = link, .count = 1, .last = j, .len = (uint16_t)L, .gen = c->gen};
    x->n_loose++; /* until the new occurrence is counted */
    slot_at(x, j)->up = all ? id | HELD : id;
    x->n_singles -= all;
    if (state_at(x, link)->len + 1u == x->depth) return id; /* I3 */
    uint32_t next = place_next(x, j);
    if (next != NONE) specp_edge_add(x, c, slot_at(x, next)->token, next | SINGLE);
    return id;
}

/* Moves the strings of explicit class q that have at most L tokens to a class
 * of their own, which keeps q's link, count and transitions. Its edges were
 * copied into *copy beforehand, unless q is left with strings of length D
 * alone, which have none (I3). */
static uint32_t split_explicit(spec_index *x, uint32_t q, uint32_t L, const state *copy) {
    uint32_t id = specp_state_take(x);
    state *s = state_at(x, q), *c = state_at(x, id);
    uint32_t gen = c->gen;
    *c = *copy;
    c->link = s->link;
    c->count = s->count;
    c->last = s->last;
    c->len = (uint16_t)L;
    c->gen = gen;
    if (L + 1 == x->depth) specp_edges_move(c, s);
    s->link = id;
    if (c->count == 1) x->n_loose++; /* both halves of a loose class are loose */
    return id;
}

/* What case B will do, decided before anything changes. */
typedef struct plan {
    uint32_t q;   /* ref of the class that p's transition leads to */
    uint32_t L;   /* longest string of it that has the new occurrence */
    bool split;   /* a new explicit class C is needed */
    bool q_lacks; /* q ends at the last place and lacks t: so does C */
    state copy;   /* edges for C */
} plan;

static bool on_chain(const spec_index *x, uint32_t lacking, uint32_t id) {
    for (uint32_t k = 0; k < lacking; k++)
        if (x->chain[k] == id) return true;
    return false;
}

static int plan_class(spec_index *x, uint32_t lacking, uint32_t q, uint32_t L, plan *b) {
    *b = (plan){.q = q, .L = L};
    if (!(q & SINGLE) && state_at(x, q)->len == L) return SPEC_OK;
    b->split = true;
    int err = specp_state_reserve(x);
    if (err || q & SINGLE) return err;
    b->q_lacks = on_chain(x, lacking, q);
    if (L + 1 == x->depth) return SPEC_OK; /* edges will be moved */
    err = specp_edges_copy(x, &b->copy, state_at(x, q));
    if (err || !b->q_lacks) return err;
    err = specp_edges_reserve(x, &b->copy);
    if (err) specp_edges_free(x, &b->copy);
    return err;
}

/* Returns the explicit class that takes the new occurrence. */
static uint32_t carry_out(spec_index *x, const plan *b) {
    if (!b->split) return b->q;
    return b->q & SINGLE ? split_single(x, b->q & ~SINGLE, b->L) : split_explicit(x, b->q, b->L, &b->copy);
}

/* Case A, for each p of the chain that lacks t. */
static void add_edges(spec_index *x, uint32_t lacking, const plan *b, uint32_t c, spec_token t, uint32_t i) {
    for (uint32_t k = 0; k < lacking; k++) {
        uint32_t p = x->chain[k];
        bool moved = b->q_lacks && p == b->q && b->L + 1 == x->depth; /* I3: q keeps none */
        if (!moved) specp_edge_add(x, state_at(x, p), t, i | SINGLE);
    }
    if (b->q_lacks) specp_edge_add(x, state_at(x, c), t, i | SINGLE);
}

/* ---- the walk --------------------------------------------------------- */

static void add_occurrence(spec_index *x, uint32_t id, uint32_t i) {
    state *s = state_at(x, id);
    if (s->count == 1) x->n_loose--;
    s->count++;
    s->last = i;
}

/* Case C, from p up. Returns how many chain members were met. */
static uint32_t raise_counts(spec_index *x, uint32_t p, spec_token t, uint32_t i, uint32_t from,
                             uint32_t to) {
    uint32_t met = 0, last = NONE;
    for (;; met++) {
        state *s = state_at(x, p);
        edge *e = edge_find(x, s, t);
        if (e->to == from) e->to = to;
        if (e->to != last) add_occurrence(x, last = e->to, i);
        specp_edge_increment(x, s, e);
        if (p == ROOT) return met;
        p = s->link;
    }
}

/* The class of the last place that a token can follow: that of its longest
 * suffix shorter than D. */
static uint32_t chain_start(const spec_index *x, const sequence *s, uint32_t *len) {
    *len = min_u32(s->len, x->depth - 1);
    return s->tail == NONE ? ROOT : class_shorten(x, place_class(x, s->tail), *len);
}

int specp_append_token(spec_index *x, uint32_t seq, spec_token t) {
    sequence *s = seq_at(x, seq);
    uint32_t len, p0 = chain_start(x, s, &len), p = p0;
    bool tail_single = p0 & SINGLE;
    int err = needs_chunk(s) ? chunk_reserve(x) : SPEC_OK;
    if (err) return err;

    /* Case A, reserving only: who lacks t? */
    uint32_t lacking = 0;
    edge *e = NULL;
    if (tail_single) p = class_link(x, p0);
    for (;; p = state_at(x, p)->link) {
        state *c = state_at(x, p);
        if ((e = edge_find(x, c, t))) break;
        if ((err = specp_edges_reserve(x, c))) return err;
        x->chain[lacking++] = p;
        if (p == ROOT) break;
    }
    plan b = {0};
    uint32_t L = p == p0 ? len + 1 : state_at(x, p)->len + 1u;
    if (e && (err = plan_class(x, lacking, e->to, L, &b))) return err;

    /* Nothing can fail from here on. */
    uint32_t i = place_take(x, seq);
    bool single = tail_single || lacking;
    slot *new = slot_at(x, i);
    new->token = t;
    new->up = ROOT;
    uint32_t to = e ? carry_out(x, &b) : ROOT;
    new->up = single ? to : to | HELD;
    x->n_singles += single;
    add_edges(x, lacking, &b, to, t, i);
    uint32_t met = lacking + (e ? raise_counts(x, p, t, i, b.q, to) : 0);
    state_at(x, ROOT)->count++;
    if (met > x->chain_max) x->chain_max = met;
    return SPEC_OK;
}

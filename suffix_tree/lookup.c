/* SPDX-License-Identifier: MIT */
/*
 * lookup.c - the read side: loci, children, suffixes. A locus of length l
 * stands on the class that holds its string; children are the class's
 * transitions, except at length D, where the index ends. Places are those of the
 * text, as they are.
 */
#include "index_internal.h"

static spec_locus locus(const spec_index *x, uint32_t ref, uint32_t len) {
    return (spec_locus){.state = ref, .len = len, .count = class_count(x, ref)};
}

spec_locus spec_index_root(const spec_index *x) { return locus(x, ROOT, 0); }

uint32_t spec_index_depth(const spec_index *x) { return x->depth; }

/* The transition of a class, as an edge; the next token is that of a single one. */
static bool single_edge(const spec_index *x, uint32_t ref, edge *out) {
    uint32_t next = place_next(x, ref & ~SINGLE);
    if (next == NONE) return false;
    *out = (edge){.token = slot_at(x, next)->token, .to = next | SINGLE, .count = 1};
    return true;
}

/* `at` is shorter than D. */
static spec_locus follow(const spec_index *x, spec_locus at, spec_token token) {
    edge one;
    const edge *e;
    if (at.state & SINGLE)
        e = single_edge(x, at.state, &one) && one.token == token ? &one : NULL;
    else
        e = edge_find(x, state_at(x, at.state), token);
    return e ? (spec_locus){.state = e->to, .len = at.len + 1, .count = e->count} : (spec_locus){0};
}

spec_locus spec_index_child(const spec_index *x, spec_locus at, spec_token token) {
    return at.count && at.len < x->depth ? follow(x, at, token) : (spec_locus){0};
}

spec_locus spec_index_find(const spec_index *x, const spec_token *tok, size_t n) {
    spec_locus at = spec_index_root(x);
    if (n > x->depth) return (spec_locus){0};
    for (size_t i = 0; i < n && at.count; i++) at = follow(x, at, tok[i]);
    return at;
}

uint32_t spec_index_count(const spec_index *x, const spec_token *tok, size_t n) {
    return spec_index_find(x, tok, n).count;
}

size_t spec_index_children(const spec_index *x, spec_locus at, size_t from, size_t cap, spec_child *out) {
    if (at.count == 0 || at.len >= x->depth) return 0;
    edge one;
    const edge *e = &one;
    uint32_t n = 1;
    if (!(at.state & SINGLE))
        e = state_edges(x, state_at(x, at.state), &n);
    else if (!single_edge(x, at.state, &one))
        return 0;
    size_t wrote = 0;
    for (size_t i = from; i < n && wrote < cap; i++)
        out[wrote++] = (spec_child){e[i].token, {.state = e[i].to, .len = at.len + 1, .count = e[i].count}};
    return wrote;
}

size_t spec_index_n_children(const spec_index *x, spec_locus at) {
    if (at.count == 0 || at.len >= x->depth) return 0;
    if (at.state & SINGLE) return place_next(x, at.state & ~SINGLE) != NONE;
    uint32_t n;
    (void)state_edges(x, state_at(x, at.state), &n);
    return n;
}

spec_locus spec_index_suffix(const spec_index *x, spec_locus at) {
    if (at.count == 0) return at;
    uint32_t ref = at.state;
    do ref = class_link(x, ref); /* after removals a link may have equal count */
    while (ref != ROOT && state_at(x, ref)->count == at.count);
    return locus(x, ref, state_at(x, ref)->len);
}

static void fill_class(const spec_index *x, uint32_t ref, specp_class *c) {
    if (!(ref & SINGLE)) {
        c->branch = state_edges(x, state_at(x, ref), &c->n);
        return;
    }
    c->branch = &c->only;
    c->n = single_edge(x, ref, &c->only);
}

size_t specp_index_chain(const spec_index *x, spec_locus at, size_t n_own, uint32_t enough, size_t cap,
                         specp_class *out) {
    size_t n = 0;
    if (at.len >= x->depth) at = spec_index_shorten(x, at, x->depth - 1);
    for (; at.count && at.len > 0; at = spec_index_suffix(x, at)) {
        specp_class *c = &out[n];
        c->at = at;
        c->at.count -= at.len <= n_own;
        if (!c->at.count) continue;
        fill_class(x, at.state, c);
        if (++n == cap || c->at.count > enough) break;
    }
    return n;
}

spec_locus spec_index_shorten(const spec_index *x, spec_locus at, uint32_t len) {
    if (at.count == 0 || len >= at.len) return at;
    return locus(x, class_shorten(x, at.state, len), len);
}

spec_locus spec_index_tail(const spec_index *x, spec_seq seq) {
    const sequence *s = specp_seq_find(x, seq);
    if (!s || s->len == 0) return spec_index_root(x);
    uint32_t len = min_u32(s->len, x->depth);
    return locus(x, class_shorten(x, place_class(x, s->tail), len), len);
}

_Static_assert(SPEC_NO_PLACE == NONE, "a place outside is a place inside");

/* The root, which also stands in what is no locus, has none. */
spec_place spec_index_latest(const spec_index *x, spec_locus at) {
    return at.state & SINGLE ? at.state & ~SINGLE : state_at(x, at.state)->last;
}

spec_place spec_index_next_place(const spec_index *x, spec_place place) {
    return place_holds(x, place) ? place_next(x, place) : SPEC_NO_PLACE;
}

spec_place spec_index_prev_place(const spec_index *x, spec_place place) {
    return place_holds(x, place) ? place_prev(x, place) : SPEC_NO_PLACE;
}

spec_token spec_index_token_at(const spec_index *x, spec_place place) {
    return place_holds(x, place) ? slot_at(x, place)->token : -1;
}

void specp_match_step(const spec_index *x, uint32_t *ref, uint32_t *len, spec_token t) {
    spec_locus at = {.state = *ref, .len = *len, .count = 1};
    if (at.len == x->depth) { /* room for t */
        at.len--;
        at.state = class_shorten(x, at.state, at.len);
    }
    for (;;) {
        spec_locus next = follow(x, at, t);
        if (next.count) {
            at = next;
            break;
        }
        if (at.state == ROOT) {
            at.len = 0;
            break;
        }
        at.state = class_link(x, at.state);
        at.len = state_at(x, at.state)->len;
    }
    *ref = at.state;
    *len = at.len;
}

spec_locus spec_index_match(const spec_index *x, const spec_token *tok, size_t n) {
    uint32_t ref = ROOT, len = 0;
    for (size_t i = n > x->depth ? n - x->depth : 0; i < n; i++) specp_match_step(x, &ref, &len, tok[i]);
    return locus(x, ref, len);
}

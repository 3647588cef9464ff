/* SPDX-License-Identifier: MIT */
/*
 * cursor.c - matching statistics of a growing text against a changing index.
 *
 * A cursor stands on a class with the length matched. What may have happened
 * since it was last used, and what it does about it:
 *
 *   its class was split            walk up the links until the length fits
 *   its single class became        the slot's HELD mark leads to the explicit one
 *   explicit
 *   its class was freed, or its    the generation differs: match the last D
 *   place was truncated            tokens, which the cursor keeps, anew
 *   text was added that holds a    look for the match's one-token extension to
 *   longer match                   the left; only if it occurs, match anew
 *
 * Source for the step: matching statistics, Chang and Lawler 1994; on a suffix
 * automaton, Crochemore and Rytter, Text Algorithms, 1994.
 */
#include <string.h>

#include "index_internal.h"

struct spec_cursor {
    const spec_index *x;
    uint64_t version;    /* of the index when the cursor was last in step with it */
    uint64_t grown;      /* its tokens_total then */
    uint64_t fed;        /* tokens fed; recent[(fed - 1) % depth] is the last */
    uint32_t ref, len;   /* class and matched length */
    uint32_t gen, epoch; /* generation of the class's state or of its place's chunk; of the index */
    spec_token recent[]; /* (depth) ring */
};

static size_t cursor_bytes(const spec_index *x) {
    return sizeof(spec_cursor) + x->depth * sizeof(spec_token);
}

static uint32_t class_gen(const spec_index *x, uint32_t ref) {
    return ref & SINGLE ? chunk_at(x, (ref & ~SINGLE) >> CHUNK_SHIFT)->gen : state_at(x, ref)->gen;
}

/* Notes that the cursor and the index agree now. */
static void in_step(spec_cursor *c) {
    c->version = c->x->version;
    c->grown = c->x->tokens_total;
    c->epoch = c->x->epoch;
    c->gen = class_gen(c->x, c->ref);
}

int spec_cursor_new(spec_cursor **out, const spec_index *x) {
    if (!out || !x) return SPEC_ERR_INVALID;
    spec_cursor *c = specp_alloc(&x->user_alloc, 1, cursor_bytes(x));
    if (!c) return SPEC_ERR_NOMEM;
    c->x = x;
    spec_cursor_reset(c);
    *out = c;
    return SPEC_OK;
}

void spec_cursor_free(spec_cursor *c) {
    if (!c) return;
    spec_allocator a = c->x->user_alloc;
    specp_release(&a, c, 1, cursor_bytes(c->x));
}

void spec_cursor_reset(spec_cursor *c) {
    c->fed = 0;
    c->ref = ROOT;
    c->len = 0;
    in_step(c);
}

static void rematch(spec_cursor *c) {
    uint32_t depth = c->x->depth;
    c->ref = ROOT;
    c->len = 0;
    for (uint64_t i = c->fed > depth ? c->fed - depth : 0; i < c->fed; i++)
        specp_match_step(c->x, &c->ref, &c->len, c->recent[i % depth]);
}

/* Is the cursor's class still the one it stood on? */
static bool still_there(const spec_cursor *c) {
    const spec_index *x = c->x;
    if (c->epoch != x->epoch) return false;
    return class_gen(x, c->ref) == c->gen;
}

/* Does the last len + 1 tokens' string occur by now? */
static bool has_grown(const spec_cursor *c) {
    uint32_t depth = c->x->depth;
    if (c->len == depth || c->fed <= c->len) return false;
    spec_locus at = spec_index_root(c->x);
    at.count = 1; /* an empty index has an empty root: the walk ends at once all the same */
    for (uint64_t i = c->fed - c->len - 1; i < c->fed && at.count; i++)
        at = spec_index_child(c->x, at, c->recent[i % depth]);
    return at.count != 0;
}

static void catch_up(spec_cursor *c) {
    if (c->version == c->x->version) return;
    if (!still_there(c)) {
        rematch(c);
    } else {
        if (c->ref & SINGLE) c->ref = place_class(c->x, c->ref & ~SINGLE);
        c->ref = class_shorten(c->x, c->ref, c->len);
        if (c->grown != c->x->tokens_total && has_grown(c)) rematch(c);
    }
    in_step(c);
}

void spec_cursor_feed(spec_cursor *c, const spec_token *tok, size_t n) {
    catch_up(c);
    for (size_t i = 0; i < n; i++) {
        specp_match_step(c->x, &c->ref, &c->len, tok[i]);
        c->recent[c->fed++ % c->x->depth] = tok[i];
    }
    c->gen = class_gen(c->x, c->ref);
}

spec_locus spec_cursor_locus(spec_cursor *c) {
    catch_up(c);
    return (spec_locus){.state = c->ref, .len = c->len, .count = class_count(c->x, c->ref)};
}

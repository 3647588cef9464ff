/* SPDX-License-Identifier: MIT */
/*
 * The brute-force side of the index tests: sequences in plain arrays, counting
 * by comparing at every place, and a trie of every substring that is built from
 * nothing each time it is wanted, so that no history can hide in it.
 */
#include "oracle_index.h"

#include <stdlib.h>
#include <string.h>

#include "specp.h"

/* The test program cannot go on without memory. */
static void *grow(void *p, size_t count, size_t size) {
    void *q = realloc(p, (count ? count : 1) * size);
    if (!q) abort();
    return q;
}

/* ---- the sequences ---------------------------------------------------- */

void oracle_init(oracle *o, uint32_t depth) {
    memset(o, 0, sizeof *o);
    o->depth = depth;
}

void oracle_free(oracle *o) {
    for (size_t i = 0; i < o->n; i++) free(o->seq[i].tok);
    free(o->seq);
    memset(o, 0, sizeof *o);
}

void oracle_begin(oracle *o, spec_seq id) {
    if (o->n == o->cap) {
        o->cap = o->cap ? 2 * o->cap : 8;
        o->seq = grow(o->seq, o->cap, sizeof *o->seq);
    }
    o->seq[o->n++] =
        (oracle_seq){.id = id, .tok = grow(NULL, 4, sizeof(spec_token)), .cap = 4, .used = ++o->clock};
}

oracle_seq *oracle_find_seq(const oracle *o, spec_seq id) {
    for (size_t i = 0; i < o->n; i++)
        if (o->seq[i].id == id) return &o->seq[i];
    return NULL;
}

void oracle_append(oracle *o, spec_seq id, const spec_token *tok, size_t n) {
    oracle_seq *s = oracle_find_seq(o, id);
    if (s->n + n > s->cap) {
        s->cap = 2 * (s->n + n);
        s->tok = grow(s->tok, s->cap, sizeof *s->tok);
    }
    if (n) memcpy(s->tok + s->n, tok, n * sizeof *tok);
    s->n += n;
    s->used = ++o->clock;
}

void oracle_truncate(oracle *o, spec_seq id, size_t n) {
    oracle_seq *s = oracle_find_seq(o, id);
    s->n -= n < s->n ? n : s->n;
}

void oracle_remove(oracle *o, spec_seq id) {
    oracle_seq *s = oracle_find_seq(o, id);
    size_t i = (size_t)(s - o->seq);
    free(s->tok);
    memmove(s, s + 1, (o->n - i - 1) * sizeof *s);
    o->n--;
}

void oracle_use(oracle *o, spec_seq id) { oracle_find_seq(o, id)->used = ++o->clock; }

size_t oracle_tokens(const oracle *o) {
    size_t n = 0;
    for (size_t i = 0; i < o->n; i++) n += o->seq[i].n;
    return n;
}

static bool same(const spec_token *a, const spec_token *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i]) return false;
    return true;
}

uint32_t oracle_count_in(const oracle_seq *s, const spec_token *tok, size_t n) {
    uint32_t count = 0;
    if (!n) return (uint32_t)s->n;
    for (size_t i = 0; i + n <= s->n; i++) count += same(s->tok + i, tok, n);
    return count;
}

uint32_t oracle_count(const oracle *o, const spec_token *tok, size_t n) {
    uint32_t count = 0;
    if (n > o->depth) return 0;
    for (size_t i = 0; i < o->n; i++) count += oracle_count_in(&o->seq[i], tok, n);
    return count;
}

/* Common suffix of a[0..n) and b[0..m), at most `most` tokens. */
static size_t common_suffix(const spec_token *a, size_t n, const spec_token *b, size_t m, size_t most) {
    size_t k = 0;
    while (k < n && k < m && k < most && a[n - 1 - k] == b[m - 1 - k]) k++;
    return k;
}

size_t oracle_match(const oracle *o, const spec_token *tok, size_t n) {
    size_t best = 0;
    for (size_t i = 0; i < o->n; i++)
        for (size_t end = 1; end <= o->seq[i].n; end++) {
            size_t k = common_suffix(tok, n, o->seq[i].tok, end, o->depth);
            if (k > best) best = k;
        }
    return best;
}

/* ---- every substring --------------------------------------------------- */

static uint32_t slot_of(const oracle_trie *t, uint32_t node, spec_token token) {
    uint64_t h = specp_mix64((uint64_t)node << 32 | (uint32_t)token);
    uint32_t i = (uint32_t)h & (t->slots - 1);
    while (t->slot[i] && (t->node[t->slot[i]].parent != node || t->node[t->slot[i]].token != token))
        i = (i + 1) & (t->slots - 1);
    return i;
}

uint32_t oracle_trie_child(const oracle_trie *t, uint32_t node, spec_token token) {
    return t->slot[slot_of(t, node, token)];
}

static void rehash(oracle_trie *t, uint32_t slots) {
    free(t->slot);
    t->slots = slots;
    t->slot = grow(NULL, slots, sizeof *t->slot);
    memset(t->slot, 0, slots * sizeof *t->slot);
    for (uint32_t i = 1; i < t->n; i++) t->slot[slot_of(t, t->node[i].parent, t->node[i].token)] = i;
}

static uint32_t add_node(oracle_trie *t, uint32_t parent, spec_token token) {
    if (t->n == t->cap) {
        t->cap *= 2;
        t->node = grow(t->node, t->cap, sizeof *t->node);
    }
    if (2 * t->n >= t->slots) rehash(t, 2 * t->slots);
    uint32_t i = t->n++;
    t->node[i] = (oracle_node){.token = token, .parent = parent, .len = t->node[parent].len + 1};
    t->node[i].sibling = t->node[parent].child;
    t->node[parent].child = i;
    t->slot[slot_of(t, parent, token)] = i;
    return i;
}

/* Counts every string that starts at tok[0] and is at most `depth` long. */
static void count_from(oracle_trie *t, const spec_token *tok, size_t n, uint32_t depth) {
    uint32_t at = 0;
    t->node[0].count++;
    for (size_t i = 0; i < n && i < depth; i++) {
        uint32_t next = oracle_trie_child(t, at, tok[i]);
        at = next ? next : add_node(t, at, tok[i]);
        t->node[at].count++;
    }
}

/* suffix(parent then token) = suffix(parent) then token; parents come first. */
static void link_suffixes(oracle_trie *t) {
    for (uint32_t i = 1; i < t->n; i++) {
        oracle_node *v = &t->node[i];
        if (v->len == 1)
            v->suffix = 0;
        else
            v->suffix = oracle_trie_child(t, t->node[v->parent].suffix, v->token);
    }
}

void oracle_trie_build(oracle_trie *t, const oracle *o) {
    memset(t, 0, sizeof *t);
    t->cap = 64;
    t->node = grow(NULL, t->cap, sizeof *t->node);
    t->node[0] = (oracle_node){.token = -1};
    t->n = 1;
    rehash(t, 128);
    for (size_t s = 0; s < o->n; s++)
        for (size_t i = 0; i < o->seq[s].n; i++) count_from(t, o->seq[s].tok + i, o->seq[s].n - i, o->depth);
    link_suffixes(t);
}

void oracle_trie_free(oracle_trie *t) {
    free(t->node);
    free(t->slot);
    memset(t, 0, sizeof *t);
}

/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_merge.c - joins the characters (BPE over bytes: the bytes) of a word to
 * tokens.
 *
 *   symbols   a list in an array, in the word's order; a merge lengthens the left one
 *             and empties the right one
 *
 *       h     u     g     s            hu    .     g     s
 *      0 <-> 1 <-> 2 <-> 3     ->     0 <-------> 2 <-> 3
 *
 *   heap      pairs of neighbours that make a token, best first; equals from left to
 *             right. A pair is out of date when its left symbol is empty or the two
 *             have another length together by now; then it is dropped
 *
 * Every merge takes one pair out and puts at most two in, so the heap never holds more
 * than twice the symbols.
 */
#include <string.h>

#include "specp_math.h"
#include "tokenizer.h"
#include "tokenizer_text.h"

#define NONE UINT32_MAX

/* ---- the heap ------------------------------------------------------------------ */

static void heap_put(specp_merger *m, specp_candidate c) {
    size_t i = m->n_heap++;
    while (i > 0 && m->heap[(i - 1) / 2].key > c.key) {
        m->heap[i] = m->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    m->heap[i] = c;
}

static specp_candidate heap_take(specp_merger *m) {
    specp_candidate top = m->heap[0], last = m->heap[--m->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= m->n_heap) break;
        if (child + 1 < m->n_heap && m->heap[child + 1].key < m->heap[child].key) child++;
        if (m->heap[child].key >= last.key) break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = last;
    return top;
}

/* ---- pairs ----------------------------------------------------------------------- */

/* Floats as integers that fall as the float rises. */
static uint32_t falling(float x) {
    uint32_t bits = specp_bits_of_float(x);
    return bits >> 31 ? bits : ~(bits | 0x80000000u);
}

static const specp_merge *find_merge(const spec_tokenizer *t, spec_token left, spec_token right) {
    uint64_t pair = (uint64_t)left << 32 | (uint32_t)right;
    size_t i = (size_t)specp_mix64(pair) & (t->n_merge_slots - 1);
    while (t->merge[i].pair != pair && t->merge[i].pair != SPECP_NO_PAIR)
        i = (i + 1) & (t->n_merge_slots - 1);
    return t->merge[i].pair == pair ? &t->merge[i] : NULL;
}

/* The token that a stretch of text may become, -1: none. Control tokens, bytes and the unknown
 * one are not made of the letters of their names. */
static spec_token text_token(const spec_tokenizer *t, const char *s, size_t n) {
    spec_token id = specp_tokenizer_lookup(t, s, n, NULL, 0);
    if (id < 0) return -1;
    int kind = t->token[id].kind;
    return kind == SPEC_TOKEN_NORMAL || kind == SPEC_TOKEN_USER ? id : -1;
}

/* Puts the pair that begins at symbol `left` on the heap, if it makes a token. */
static void offer(specp_merger *m, const char *word, uint32_t left) {
    const spec_tokenizer *t = m->t;
    const specp_symbol *a = &m->symbol[left];
    if (a->next == NONE) return;
    const specp_symbol *b = &m->symbol[a->next];
    specp_candidate c = {.len = a->len + b->len};
    if (t->merge) {
        const specp_merge *g = a->id >= 0 && b->id >= 0 ? find_merge(t, a->id, b->id) : NULL;
        if (!g) return;
        c.key = g->rank;
        c.id = g->result;
    } else {
        c.id = text_token(t, word + a->at, c.len);
        if (c.id < 0) return;
        c.key = falling(t->token[c.id].score);
    }
    c.key = c.key << 32 | left;
    heap_put(m, c);
}

/* ---- words ------------------------------------------------------------------------- */

static int reserve(specp_merger *m, size_t n) {
    if (n <= m->cap) return SPEC_OK;
    size_t cap = 2 * m->cap < 64 ? 64 : 2 * m->cap;
    if (cap < n) cap = n;
    specp_merge_release(m);
    m->symbol = specp_alloc(&m->t->alloc, cap, sizeof *m->symbol);
    m->heap = specp_alloc(&m->t->alloc, cap, 2 * sizeof *m->heap);
    m->cap = cap;
    if (m->symbol && m->heap) return SPEC_OK;
    specp_merge_release(m);
    return SPEC_ERR_NOMEM;
}

void specp_merge_release(specp_merger *m) {
    specp_release(&m->t->alloc, m->symbol, m->cap, sizeof *m->symbol);
    specp_release(&m->t->alloc, m->heap, m->cap, 2 * sizeof *m->heap);
    m->symbol = NULL;
    m->heap = NULL;
    m->cap = 0;
}

/* Bytes of the symbol at s: a character, or one byte where there is none. */
static size_t symbol_length(const spec_tokenizer *t, const char *s, size_t n) {
    size_t len = t->bytewise ? 1 : specp_utf8_length(s, n);
    return len ? len : 1;
}

static size_t count_symbols(const spec_tokenizer *t, const char *word, size_t n) {
    size_t k = 0;
    for (size_t at = 0; at < n; k++) at += symbol_length(t, word + at, n - at);
    return k;
}

static void split(specp_merger *m, const char *word, size_t n) {
    const spec_tokenizer *t = m->t;
    uint32_t k = 0;
    for (size_t at = 0; at < n; k++) {
        size_t len = symbol_length(t, word + at, n - at);
        spec_token id = t->bytewise ? t->byte[(uint8_t)word[at]] : text_token(t, word + at, len);
        m->symbol[k] = (specp_symbol){(uint32_t)at, (uint32_t)len, k - 1, k + 1, id};
        at += len;
    }
    m->symbol[k - 1].next = NONE;
}

static void merge_all(specp_merger *m, const char *word) {
    while (m->n_heap) {
        specp_candidate c = heap_take(m);
        uint32_t left = (uint32_t)c.key;
        specp_symbol *a = &m->symbol[left];
        if (a->len == 0 || a->next == NONE || a->len + m->symbol[a->next].len != c.len) continue;
        specp_symbol *b = &m->symbol[a->next];
        a->len = c.len;
        a->id = c.id;
        a->next = b->next;
        b->len = 0;
        if (a->next != NONE) m->symbol[a->next].prev = left;
        if (a->prev != NONE) offer(m, word, a->prev);
        offer(m, word, left);
    }
}

/* A symbol that is no token goes out as its bytes, or as the unknown token, mostly once for
 * several in a row. */
static int put_symbol(specp_merger *m, const char *word, const specp_symbol *s) {
    const spec_tokenizer *t = m->t;
    bool bytes = s->id < 0;
    if (!bytes) specp_sink_put(&m->sink, s->id);
    for (uint32_t i = 0; i < s->len && bytes; i++) bytes = t->byte[(uint8_t)word[s->at + i]] >= 0;
    for (uint32_t i = 0; i < s->len && bytes; i++)
        specp_sink_put(&m->sink, t->byte[(uint8_t)word[s->at + i]]);
    bool unknown = s->id < 0 && !bytes;
    if (unknown && t->unknown < 0) return SPEC_ERR_UNSUPPORTED;
    if (unknown && (!m->unknown || t->each_unknown)) specp_sink_put(&m->sink, t->unknown);
    m->unknown = unknown;
    return SPEC_OK;
}

/* The token that is the whole word, -1: none. The heap, empty yet, lends room for letters. */
static spec_token whole_word(const specp_merger *m, const char *word, size_t n) {
    const spec_tokenizer *t = m->t;
    char *letters = (char *)m->heap;
    size_t k = 0;
    if (n > t->max_text) return -1;
    if (!t->bytewise) return text_token(t, word, n);
    for (size_t i = 0; i < n; i++) k += specp_write_letter((uint8_t)word[i], letters + k);
    return text_token(t, letters, k);
}

int specp_merge_word(specp_merger *m, const char *word, size_t n, size_t *bad) {
    size_t n_symbols = count_symbols(m->t, word, n);
    int err = reserve(m, n_symbols);
    if (err) return err;
    spec_token id = m->t->ignore_merges ? whole_word(m, word, n) : -1;
    if (id >= 0) {
        specp_sink_put(&m->sink, id);
        m->unknown = false;
        return SPEC_OK;
    }
    split(m, word, n);
    m->n_heap = 0;
    for (uint32_t i = 0; i + 1 < n_symbols; i++) offer(m, word, i);
    merge_all(m, word);
    for (uint32_t i = 0; i != NONE; i = m->symbol[i].next) {
        *bad = m->symbol[i].at;
        err = put_symbol(m, word, &m->symbol[i]);
        if (err) return err;
    }
    return SPEC_OK;
}

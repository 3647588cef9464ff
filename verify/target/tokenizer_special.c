/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_special.c - finds the special tokens that are written out in a text.
 *
 * The longest token has the right of way wherever it stands, then the lower id, then the
 * earlier place: with "abc" and "bcde", the text abcde is a [bcde]. So all finds
 * come first, and the choice afterwards:
 *
 *   1  walk the trie from every byte: finds, by place
 *   2  order them by rank (a counting sort; ranks are longest first)
 *   3  take each whose bytes are free. What is taken already is at least as long, so it
 *      is enough to look at the first byte and the last
 *
 *   text    x < b > < / b > y         ranks: "</b>" 0, "<b>" 1
 *   taken   . 1 1 1 1 1 1 1 .
 */
#include <string.h>

#include "tokenizer.h"

/* ---- the trie -------------------------------------------------------------------- */

static bool is_special(const specp_token *k) {
    return k->n_text &&
           (k->kind == SPEC_TOKEN_CONTROL || k->kind == SPEC_TOKEN_USER || k->kind == SPEC_TOKEN_UNKNOWN);
}

/* Longest first, then by id: a counting sort by length. */
static int sort_special(spec_tokenizer *t) {
    size_t longest = 0, n = 0;
    for (size_t i = 0; i < t->n_tokens; i++) {
        if (!is_special(&t->token[i])) continue;
        n++;
        if (t->token[i].n_text > longest) longest = t->token[i].n_text;
    }
    if (n == 0) return SPEC_OK;
    size_t *start = specp_calloc(&t->alloc, longest + 1, sizeof *start); /* by longest - length */
    t->special = specp_alloc(&t->alloc, n, sizeof *t->special);
    if (t->special) t->n_special = n;
    if (start && t->special) {
        for (size_t i = 0; i < t->n_tokens; i++)
            if (is_special(&t->token[i])) start[longest - t->token[i].n_text + 1]++;
        for (size_t len = 1; len <= longest; len++) start[len] += start[len - 1];
        for (size_t i = 0; i < t->n_tokens; i++)
            if (is_special(&t->token[i])) t->special[start[longest - t->token[i].n_text]++] = (spec_token)i;
    }
    specp_release(&t->alloc, start, longest + 1, sizeof *start);
    return start && t->special ? SPEC_OK : SPEC_ERR_NOMEM;
}

/* The child of a node for a byte; a new one where there is none. */
static uint32_t child_of(spec_tokenizer *t, uint32_t node, uint8_t byte, size_t *used) {
    uint32_t *link = node ? &t->trie[node].child : &t->root[byte];
    while (*link && t->trie[*link].byte != byte) link = &t->trie[*link].sibling;
    if (!*link) {
        *link = (uint32_t)(*used)++;
        t->trie[*link] = (specp_trie_node){.byte = byte};
    }
    return *link;
}

int specp_special_build(spec_tokenizer *t) {
    int err = sort_special(t);
    if (err || t->n_special == 0) return err;
    size_t most = 1, used = 1;
    for (size_t r = 0; r < t->n_special; r++) most += t->token[t->special[r]].n_text;
    t->trie = specp_alloc(&t->alloc, most, sizeof *t->trie);
    if (!t->trie) return SPEC_ERR_NOMEM;
    t->n_trie = most;
    for (size_t r = 0; r < t->n_special; r++) {
        const specp_token *k = &t->token[t->special[r]];
        uint32_t node = 0;
        for (uint32_t i = 0; i < k->n_text; i++)
            node = child_of(t, node, (uint8_t)t->pool[k->text + i], &used);
        t->trie[node].rank = (uint32_t)r + 1;
    }
    return SPEC_OK;
}

/* ---- finding ------------------------------------------------------------------------ */

typedef struct find {
    uint32_t at;
    uint32_t rank;
    uint32_t by_rank;  /* after ordering: the i-th find to be looked at */
    uint32_t from, to; /* the bytes that were taken; from == to: none */
} find;

typedef struct finds {
    find *item;
    size_t n, cap;
} finds;

static int add_find(const spec_tokenizer *t, finds *f, size_t at, uint32_t rank) {
    if (f->n == f->cap) {
        size_t cap = f->cap ? 2 * f->cap : 16;
        if (cap > UINT32_MAX) return SPEC_ERR_NOMEM;
        find *item = specp_resize(&t->alloc, f->item, f->cap, cap, sizeof *item);
        if (!item) return SPEC_ERR_NOMEM;
        f->item = item;
        f->cap = cap;
    }
    f->item[f->n++] = (find){.at = (uint32_t)at, .rank = rank};
    return SPEC_OK;
}

static int find_all(const spec_tokenizer *t, const char *text, size_t n, bool control, finds *f) {
    for (size_t at = 0; at < n; at++) {
        uint32_t node = t->root[(uint8_t)text[at]];
        for (size_t i = at + 1; node; i++) {
            uint32_t rank = t->trie[node].rank;
            if (rank && (control || t->token[t->special[rank - 1]].kind == SPEC_TOKEN_USER)) {
                int err = add_find(t, f, at, rank - 1);
                if (err) return err;
            }
            if (i == n) break;
            node = t->trie[node].child;
            while (node && t->trie[node].byte != (uint8_t)text[i]) node = t->trie[node].sibling;
        }
    }
    return SPEC_OK;
}

/* Fills by_rank: finds in order of rank, then of place. */
static int order_finds(const spec_tokenizer *t, finds *f) {
    size_t *start = specp_calloc(&t->alloc, t->n_special + 1, sizeof *start);
    if (!start) return SPEC_ERR_NOMEM;
    for (size_t i = 0; i < f->n; i++) start[f->item[i].rank + 1]++;
    for (size_t r = 1; r <= t->n_special; r++) start[r] += start[r - 1];
    for (size_t i = 0; i < f->n; i++) f->item[start[f->item[i].rank]++].by_rank = (uint32_t)i;
    specp_release(&t->alloc, start, t->n_special + 1, sizeof *start);
    return SPEC_OK;
}

static bool is_white(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Step 3: returns how many were taken. White space goes to the token that comes first in the order. */
static size_t take(const spec_tokenizer *t, finds *f, const char *text, size_t n, uint8_t *taken) {
    size_t count = 0;
    for (size_t i = 0; i < f->n; i++) {
        find *x = &f->item[f->item[i].by_rank];
        const specp_token *k = &t->token[t->special[x->rank]];
        uint32_t from = x->at, to = from + k->n_text;
        if (taken[from] || taken[to - 1]) continue;
        if (k->flags & SPECP_TOKEN_LSTRIP)
            while (from > 0 && !taken[from - 1] && is_white(text[from - 1])) from--;
        if (k->flags & SPECP_TOKEN_RSTRIP)
            while (to < n && !taken[to] && is_white(text[to])) to++;
        memset(taken + from, 1, to - from);
        x->from = from;
        x->to = to;
        count++;
    }
    return count;
}

static void list_spans(const spec_tokenizer *t, const finds *f, specp_mark *out) {
    for (size_t i = 0; i < f->n; i++) {
        const find *x = &f->item[i];
        if (x->from < x->to) *out++ = (specp_mark){x->from, x->to, t->special[x->rank]};
    }
}

int specp_special_find(const spec_tokenizer *t, const char *text, size_t n, bool control, specp_mark **spans,
                       size_t *n_spans) {
    finds f = {NULL, 0, 0};
    uint8_t *taken = NULL;
    *spans = NULL;
    *n_spans = 0;
    int err = find_all(t, text, n, control, &f);
    if (err || f.n == 0) goto done;
    err = SPEC_ERR_NOMEM;
    taken = specp_calloc(&t->alloc, n, 1);
    if (!taken || order_finds(t, &f)) goto done;
    size_t count = take(t, &f, text, n, taken);
    *spans = specp_alloc(&t->alloc, count, sizeof **spans);
    if (!*spans) goto done;
    list_spans(t, &f, *spans);
    *n_spans = count;
    err = SPEC_OK;
done:
    specp_release(&t->alloc, taken, n, 1);
    specp_release(&t->alloc, f.item, f.cap, sizeof *f.item);
    return err;
}

/* SPDX-License-Identifier: MIT */
/*
 * An index against the oracle: everything that spec_index.h lets one ask, about
 * every substring up to the depth. Stops at the first difference and tells it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle_index.h"
#include "specp.h"

/* Writes the difference down; always false. */
static bool SPECP_PRINTF(2, 3) differ(spec_message *why, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    if (why) vsnprintf(why->text, sizeof why->text, format, ap);
    va_end(ap);
    return false;
}

static void *need(size_t count, size_t size) {
    void *p = calloc(count ? count : 1, size);
    if (!p) abort();
    return p;
}

static bool equal(const spec_token *a, const spec_token *b, size_t n) {
    return n == 0 || memcmp(a, b, n * sizeof *a) == 0;
}

/* ---- sequences -------------------------------------------------------- */

static bool compare_tokens(const oracle_seq *s, const spec_index *x, spec_message *why) {
    size_t n = 0, from = s->n / 3;
    if (spec_index_seq_length(x, s->id, &n) || n != s->n)
        return differ(why, "sequence %llu: length %zu, not %zu", (unsigned long long)s->id, n, s->n);
    spec_token *tok = need(s->n, sizeof *tok);
    bool ok = !spec_index_seq_tokens(x, s->id, 0, s->n, tok) && equal(tok, s->tok, s->n);
    /* a part, from inside */
    ok = ok && !spec_index_seq_tokens(x, s->id, from, s->n - from, tok) &&
         equal(tok, s->tok + from, s->n - from);
    ok = ok && spec_index_seq_tokens(x, s->id, s->n, 1, tok) == SPEC_ERR_INVALID;
    free(tok);
    return ok || differ(why, "sequence %llu: its tokens differ", (unsigned long long)s->id);
}

static bool compare_tail(const oracle *o, const oracle_seq *s, const spec_index *x, spec_message *why) {
    size_t n = s->n < o->depth ? s->n : o->depth;
    spec_locus at = spec_index_tail(x, s->id), as = spec_index_find(x, s->tok + s->n - n, n);
    if (at.len == n && at.count == as.count && (n == 0 || at.count)) return true;
    return differ(why, "tail of sequence %llu: length %u count %u, not %zu and %u", (unsigned long long)s->id,
                  at.len, at.count, n, as.count);
}

bool oracle_compare_seqs(const oracle *o, const spec_index *x, spec_message *why) {
    spec_seq at = 0, next = 0;
    for (size_t i = 0; i < o->n; i++, at = next) {
        if (spec_index_next_seq(x, at, &next) || next != o->seq[i].id)
            return differ(why, "sequence %zu by age is %llu, not %llu", i, (unsigned long long)next,
                          (unsigned long long)o->seq[i].id);
        if (!compare_tokens(&o->seq[i], x, why) || !compare_tail(o, &o->seq[i], x, why)) return false;
    }
    if (spec_index_next_seq(x, at, &next) || next != 0) return differ(why, "a sequence too many");
    spec_index_stats s;
    if (spec_index_get_stats(x, &s) || s.tokens != oracle_tokens(o) || s.sequences != o->n)
        return differ(why, "stats: %llu tokens in %llu sequences, not %zu in %zu",
                      (unsigned long long)s.tokens, (unsigned long long)s.sequences, oracle_tokens(o), o->n);
    if (s.depth != o->depth || spec_index_depth(x) != o->depth || s.bytes_used > s.bytes)
        return differ(why, "stats: depth or bytes are wrong");
    return true;
}

/* ---- one locus -------------------------------------------------------- */

static bool falling(const spec_child *c, size_t n) {
    for (size_t i = 1; i < n; i++)
        if (c[i].locus.count > c[i - 1].locus.count) return false;
    return true;
}

bool oracle_compare_locus(const oracle *o, const spec_index *x, spec_locus at, const spec_token *tok,
                          size_t n, spec_message *why) {
    uint32_t count = oracle_count(o, tok, n), after = 0;
    if (at.len != n || at.count != count)
        return differ(why, "a locus has length %u count %u, not %zu and %u", at.len, at.count, n, count);
    size_t n_children = spec_index_n_children(x, at);
    spec_child *c = need(n_children, sizeof *c);
    spec_token *longer = need(n + 1, sizeof *longer);
    if (n) memcpy(longer, tok, n * sizeof *tok);
    bool ok = spec_index_children(x, at, 0, n_children, c) == n_children && falling(c, n_children);
    for (size_t i = 0; i < n_children && ok; i++) {
        longer[n] = c[i].token;
        ok = c[i].locus.count == oracle_count(o, longer, n + 1) && c[i].locus.len == n + 1;
        after += c[i].locus.count;
    }
    /* what is not followed by a child stands at the end of a sequence */
    uint32_t ends = 0;
    for (size_t i = 0; i < o->n; i++)
        ends += n && o->seq[i].n >= n && equal(o->seq[i].tok + o->seq[i].n - n, tok, n);
    if (n < o->depth && after + ends != count) ok = false;
    free(longer);
    free(c);
    return ok || differ(why, "the children of a locus of length %zu count %u are wrong", n, count);
}

/* ---- every locus ------------------------------------------------------ */

typedef struct walk {
    const oracle *o;
    const spec_index *x;
    oracle_trie t;
    spec_locus *at;       /* (t.n) the index's locus of each node */
    uint32_t *n_children; /* (t.n) */
    spec_token *string;   /* (depth + 1) scratch */
    spec_child *child;    /* (most children) scratch */
    bool *seen;           /* (t.n) reached as a child */
    spec_message *why;
} walk;

/* The node's tokens in w->string, for messages and lookups. */
static const spec_token *spell(walk *w, uint32_t v) {
    for (uint32_t k = v, p = w->t.node[v].len; k; k = w->t.node[k].parent)
        w->string[--p] = w->t.node[k].token;
    return w->string;
}

static bool at_fault(walk *w, uint32_t v, const char *what, unsigned long long got, unsigned long long want) {
    char text[200] = "";
    const spec_token *s = spell(w, v);
    size_t used = 0;
    for (uint32_t i = 0; i < w->t.node[v].len && used + 12 < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%d ", s[i]);
    return differ(w->why, "string [%s] of length %u: %s is %llu, not %llu", text, w->t.node[v].len, what, got,
                  want);
}

static bool check_child(walk *w, uint32_t v, const spec_child *c) {
    uint32_t u = oracle_trie_child(&w->t, v, c->token);
    if (!u || w->seen[u]) return at_fault(w, v, "a child", (unsigned long long)c->token, 0);
    w->seen[u] = true;
    w->at[u] = c->locus;
    if (c->locus.count != w->t.node[u].count)
        return at_fault(w, u, "count", c->locus.count, w->t.node[u].count);
    if (c->locus.len != w->t.node[u].len) return at_fault(w, u, "length", c->locus.len, w->t.node[u].len);
    spec_locus same = spec_index_child(w->x, w->at[v], c->token);
    if (same.count != c->locus.count || same.len != c->locus.len)
        return at_fault(w, u, "count by spec_index_child", same.count, c->locus.count);
    return true;
}

/* Children read in pages of three must be those read at once. */
static bool check_paging(walk *w, uint32_t v, size_t n) {
    spec_child page[3];
    for (size_t from = 0; from <= n; from += 3) {
        size_t want = n - from < 3 ? n - from : 3, got = spec_index_children(w->x, w->at[v], from, 3, page);
        if (got != want) return at_fault(w, v, "children in a page", got, want);
        for (size_t i = 0; i < got; i++)
            if (page[i].token != w->child[from + i].token ||
                page[i].locus.count != w->child[from + i].locus.count)
                return at_fault(w, v, "a child in a page", (unsigned long long)page[i].token,
                                (unsigned long long)w->child[from + i].token);
    }
    return spec_index_children(w->x, w->at[v], n + 7, 3, page) == 0 ||
           at_fault(w, v, "children past the end", 1, 0);
}

static bool check_children(walk *w, uint32_t v) {
    size_t want = w->n_children[v], n = spec_index_n_children(w->x, w->at[v]);
    if (n != want) return at_fault(w, v, "number of children", n, want);
    if (spec_index_children(w->x, w->at[v], 0, want + 1, w->child) != want)
        return at_fault(w, v, "number of children written", n, want);
    if (!falling(w->child, n)) return at_fault(w, v, "order of children", 0, 1);
    for (size_t i = 0; i < n; i++)
        if (!check_child(w, v, &w->child[i])) return false;
    return check_paging(w, v, n);
}

/* Tokens that do not follow lead nowhere. */
static bool check_absent(walk *w, uint32_t v) {
    const oracle_node *d = &w->t.node[v];
    const spec_token absent[] = {d->token + (d->token < INT32_MAX), 0, INT32_MAX, -1, INT32_MIN};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        if (oracle_trie_child(&w->t, v, absent[i])) continue;
        spec_locus none = spec_index_child(w->x, w->at[v], absent[i]);
        if (none.count) return at_fault(w, v, "count of an absent child", none.count, 0);
        spell(w, v);
        w->string[d->len] = absent[i];
        if (spec_index_count(w->x, w->string, d->len + 1))
            return at_fault(w, v, "count with an absent token", 1, 0);
        none = spec_index_match(w->x, w->string, d->len + 1);
        size_t best = oracle_match(w->o, w->string, d->len + 1);
        if (none.len != best) return at_fault(w, v, "match with an absent token", none.len, best);
    }
    return true;
}

/* Lookup from scratch finds what walking found. */
static bool check_find(walk *w, uint32_t v) {
    const oracle_node *d = &w->t.node[v];
    const spec_token *s = spell(w, v);
    spec_locus f = spec_index_find(w->x, s, d->len), m = spec_index_match(w->x, s, d->len);
    if (f.count != d->count || f.len != d->len)
        return at_fault(w, v, "count by spec_index_find", f.count, d->count);
    if (m.count != d->count || m.len != d->len)
        return at_fault(w, v, "count by spec_index_match", m.count, d->count);
    if (spec_index_count(w->x, s, d->len) != d->count) return at_fault(w, v, "spec_index_count", 0, d->count);
    if (spec_index_n_children(w->x, f) != w->n_children[v])
        return at_fault(w, v, "children of the locus found", spec_index_n_children(w->x, f),
                        w->n_children[v]);
    return true;
}

/* The longest proper suffix that occurs more often, else the empty string. */
static bool check_suffix(walk *w, uint32_t v, const uint32_t *more_often) {
    uint32_t u = more_often[v];
    spec_locus s = spec_index_suffix(w->x, w->at[v]);
    if (s.len != w->t.node[u].len) return at_fault(w, v, "length of the suffix", s.len, w->t.node[u].len);
    if (s.count != w->t.node[u].count)
        return at_fault(w, v, "count of the suffix", s.count, w->t.node[u].count);
    if (spec_index_n_children(w->x, s) != w->n_children[u])
        return at_fault(w, v, "children of the suffix", spec_index_n_children(w->x, s), w->n_children[u]);
    return true;
}

/* A suffix of a given length, shorter and not shorter than the string. */
static bool check_shorten(walk *w, uint32_t v) {
    uint32_t len = w->t.node[v].len, want = (uint32_t)(specp_mix64(v + 7) % (len + 1)), u = v;
    while (w->t.node[u].len > want) u = w->t.node[u].suffix;
    spec_locus s = spec_index_shorten(w->x, w->at[v], want),
               all = spec_index_shorten(w->x, w->at[v], len + 3);
    if (s.len != want || s.count != w->t.node[u].count)
        return at_fault(w, u, "count of a suffix shortened to it", s.count, w->t.node[u].count);
    if (spec_index_n_children(w->x, s) != w->n_children[u])
        return at_fault(w, u, "children of a suffix shortened to it", spec_index_n_children(w->x, s),
                        w->n_children[u]);
    return (all.len == len && all.count == w->t.node[v].count) ||
           at_fault(w, v, "length shortened by nothing", all.len, len);
}

/* more_often[v], shorter strings first: a counting sort by length. */
static uint32_t *suffix_table(const walk *w) {
    uint32_t *result = need(w->t.n, sizeof *result), *order = need(w->t.n, sizeof *order);
    uint32_t *start = need(w->o->depth + 2, sizeof *start);
    for (uint32_t v = 0; v < w->t.n; v++) start[w->t.node[v].len + 1]++;
    for (uint32_t l = 1; l < w->o->depth + 2; l++) start[l] += start[l - 1];
    for (uint32_t v = 0; v < w->t.n; v++) order[start[w->t.node[v].len]++] = v;
    for (uint32_t i = 1; i < w->t.n; i++) {
        uint32_t v = order[i], s = w->t.node[v].suffix;
        result[v] = s == 0 || w->t.node[s].count > w->t.node[v].count ? s : result[s];
    }
    free(start);
    free(order);
    return result;
}

static bool check_node(walk *w, uint32_t v, const uint32_t *more_often) {
    const oracle_node *d = &w->t.node[v];
    /* from scratch: all short strings, and one in sixteen of the long ones */
    bool scratch = d->len <= 6 || specp_mix64(v) % 16 == 0;
    if (v && !w->seen[v]) return at_fault(w, v, "count", 0, d->count);
    if (!check_children(w, v) || !check_suffix(w, v, more_often)) return false;
    if (scratch && (!check_find(w, v) || !check_shorten(w, v))) return false;
    return specp_mix64(v + 1) % 32 || d->len > 64 || check_absent(w, v);
}

static bool check_root(walk *w) {
    w->at[0] = spec_index_root(w->x);
    if (w->at[0].len != 0 || w->at[0].count != w->t.node[0].count)
        return at_fault(w, 0, "count of the empty string", w->at[0].count, w->t.node[0].count);
    if (spec_index_count(w->x, NULL, 0) != w->t.node[0].count)
        return at_fault(w, 0, "spec_index_count of nothing", 0, 1);
    return true;
}

/* One token more than the depth is never found. */
static bool check_too_long(walk *w) {
    size_t n = (size_t)w->o->depth + 1;
    for (size_t i = 0; i < w->o->n; i++) {
        const oracle_seq *s = &w->o->seq[i];
        if (s->n < n) continue;
        if (spec_index_count(w->x, s->tok + s->n - n, n) || spec_index_find(w->x, s->tok + s->n - n, n).count)
            return differ(w->why, "a string longer than the depth was found");
        if (spec_index_match(w->x, s->tok, s->n).len != w->o->depth)
            return differ(w->why, "a whole sequence does not match up to the depth");
    }
    return true;
}

bool oracle_compare(const oracle *o, const spec_index *x, spec_message *why) {
    if (!oracle_compare_seqs(o, x, why)) return false;
    walk w = {.o = o, .x = x, .why = why};
    uint32_t most = 0;
    oracle_trie_build(&w.t, o);
    w.at = need(w.t.n, sizeof *w.at);
    w.n_children = need(w.t.n, sizeof *w.n_children);
    w.string = need((size_t)o->depth + 2, sizeof *w.string);
    w.seen = need(w.t.n, sizeof *w.seen);
    for (uint32_t v = 1; v < w.t.n; v++) {
        uint32_t n = ++w.n_children[w.t.node[v].parent];
        if (n > most) most = n;
    }
    w.child = need((size_t)most + 2, sizeof *w.child);
    uint32_t *more_often = suffix_table(&w);
    bool ok = check_root(&w) && check_too_long(&w);
    for (uint32_t v = 0; v < w.t.n && ok; v++) ok = check_node(&w, v, more_often);
    free(more_often);
    free(w.child);
    free(w.seen);
    free(w.string);
    free(w.n_children);
    free(w.at);
    oracle_trie_free(&w.t);
    return ok;
}

/* SPDX-License-Identifier: MIT */
/*
 * Drafters made of drafters: reading which, holding them, and letting each see an
 * outcome as if it were alone.
 *
 *     verified    t -+- a - b - c          part 1 drafted a b, part 2 drafted d.
 *                    |                     a b c were accepted, then the target said x:
 *                    +- d                  committed a b c x
 *
 *     part 1 is told    tree a b, both accepted, then c       (as if verified alone)
 *                       empty tree, then x, with c's row      (a step of plain decoding)
 *     part 2 is told    tree d, not accepted, then a
 *                       empty tree, then b, with a's row; likewise c, x
 *
 * So each call is what an engine would say, and every row of the text reaches every
 * part that asked for rows, whoever drafted it. A part's rows have the columns and
 * taps that it asked for, in its order, where the engine gave what all parts
 * together ask for.
 */
#include "parts.h"

#include <string.h>

/* ---- reading the text ------------------------------------------------------ */

#define SHOW(text, len) (int)((len) < 80 ? (len) : 80), (text)

size_t specp_parts_find(const char *text, size_t len, const char *word) {
    size_t n = strlen(word), depth = 0;
    for (size_t i = 0; i < len; i++) {
        if (!depth && len - i >= n && memcmp(text + i, word, n) == 0) return i;
        if (text[i] == '(') depth++;
        if (text[i] == ')' && depth) depth--;
    }
    return len;
}

static int check_parentheses(const char *name, const char *text, size_t len, spec_message *why) {
    size_t depth = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ')' && !depth--)
            return specp_fail(why, SPEC_ERR_INVALID, "drafter %s: '%.*s': ')' without '('", name,
                              SHOW(text, len));
        if (text[i] == '(' && ++depth > SPECP_MAX_NESTING)
            return specp_fail(why, SPEC_ERR_INVALID, "drafter %s: '%.*s': more than %d '(' within each other",
                              name, SHOW(text, len), SPECP_MAX_NESTING);
    }
    if (!depth) return SPEC_OK;
    return specp_fail(why, SPEC_ERR_INVALID, "drafter %s: '%.*s': '(' without ')'", name, SHOW(text, len));
}

/* A drafter made of drafters stands in parentheses, so that every text has one reading. */
static bool is_combined(const char *text, size_t len) {
    return (len > 6 && memcmp(text, "union:", 6) == 0) || (len > 8 && memcmp(text, "cascade:", 8) == 0);
}

/* Puts the name before a part's own message. */
static int blame(const char *name, int err, spec_message *why) {
    if (!why) return err;
    spec_message said = *why;
    const char *text = said.text[0] ? said.text : spec_strerror(err);
    return specp_fail(why, err, "drafter %s: %.450s", name, text);
}

static int open_part(spec_drafter **out, const char *name, const char *text, size_t len,
                     const spec_drafter_env *env, const spec_allocator *alloc, spec_message *why) {
    if (is_combined(text, len))
        return specp_fail(why, SPEC_ERR_INVALID, "drafter %s: '%.*s': expected it in parentheses", name,
                          SHOW(text, len));
    bool enclosed = len > 1 && text[0] == '(' && specp_parts_find(text + 1, len - 1, ")") == len - 2;
    if (enclosed) text++, len -= 2;
    if (!len) return specp_fail(why, SPEC_ERR_INVALID, "drafter %s: a part is empty", name);
    char *spec = specp_alloc(alloc, len + 1, 1);
    if (!spec) return specp_fail(why, SPEC_ERR_NOMEM, "drafter %s: out of memory", name);
    memcpy(spec, text, len);
    spec[len] = '\0';
    int err = spec_drafter_open_env(out, spec, env, alloc, why);
    specp_release(alloc, spec, len + 1, 1);
    return err ? blame(name, err, why) : SPEC_OK;
}

int specp_parts_open(spec_drafter **d, size_t *n, const char *name, const char *text, size_t len,
                     char separator, size_t min, size_t max, const spec_drafter_env *env,
                     const spec_allocator *alloc, spec_message *why) {
    const char word[2] = {separator, '\0'};
    int err = check_parentheses(name, text, len, why);
    *n = 0;
    if (!err && min > 1 && specp_parts_find(text, len, word) == len)
        err = specp_fail(why, SPEC_ERR_INVALID, "drafter %s: '%.*s': expected two drafters with '%c' between",
                         name, SHOW(text, len), separator);
    for (size_t at = 0; !err && at <= len;) {
        size_t size = specp_parts_find(text + at, len - at, word);
        if (*n == max)
            err = specp_fail(why, SPEC_ERR_INVALID, "drafter %s: '%.*s': expected at most %zu drafters", name,
                             SHOW(text + at, len - at), max);
        else
            err = open_part(&d[*n], name, text + at, size, env, alloc, why);
        *n += !err;
        at += size + 1;
    }
    while (err && *n) spec_drafter_free(d[--*n]);
    return err;
}

/* ---- what the parts need ------------------------------------------------------ */

/* The place of a layer among the taps of all parts, where it is added if need be. */
static uint32_t place_of_tap(specp_parts *p, int32_t layer) {
    uint32_t i = 0;
    while (i < p->needs.n_taps && p->tap_layer[i] != layer) i++;
    if (i == p->needs.n_taps) p->tap_layer[p->needs.n_taps++] = layer;
    return i;
}

static int join_needs(specp_parts *p) {
    for (size_t k = 0; k < p->n; k++) {
        p->tap_cap += p->part[k].needs.n_taps;
        if (p->part[k].needs.top_k > p->needs.top_k) p->needs.top_k = p->part[k].needs.top_k;
        if (p->part[k].needs.q_rows > p->needs.q_rows) p->needs.q_rows = p->part[k].needs.q_rows;
        if (p->part[k].needs.prompt_taps) p->needs.prompt_taps = 1;
    }
    if (!p->tap_cap) return SPEC_OK;
    p->tap_layer = specp_alloc(&p->alloc, p->tap_cap, sizeof *p->tap_layer);
    if (!p->tap_layer) return SPEC_ERR_NOMEM;
    for (size_t k = 0; k < p->n; k++) {
        specp_part *part = &p->part[k];
        if (!part->needs.n_taps) continue;
        part->tap_at = specp_alloc(&p->alloc, part->needs.n_taps, sizeof *part->tap_at);
        if (!part->tap_at) return SPEC_ERR_NOMEM;
        for (uint32_t j = 0; j < part->needs.n_taps; j++)
            part->tap_at[j] = place_of_tap(p, part->needs.tap_layer[j]);
    }
    p->needs.tap_layer = p->tap_layer;
    return SPEC_OK;
}

/* ---- the drafters ---------------------------------------------------------------- */

void specp_parts_release(specp_parts *p) {
    for (size_t k = 0; k < p->n; k++)
        specp_release(&p->alloc, p->part[k].tap_at, p->part[k].needs.n_taps, sizeof(uint32_t));
    specp_release(&p->alloc, p->tap_layer, p->tap_cap, sizeof *p->tap_layer);
}

int specp_parts_init(specp_parts *p, spec_drafter *const *d, size_t n, const spec_allocator *alloc) {
    memset(p, 0, sizeof *p);
    p->alloc = specp_account_init(&p->account, alloc);
    p->n = n;
    for (size_t k = 0; k < n; k++) {
        p->part[k].d = d[k];
        spec_drafter_needs(d[k], &p->part[k].needs);
    }
    int err = join_needs(p);
    if (err) specp_parts_release(p);
    return err;
}

void specp_parts_close(specp_parts *p) {
    specp_parts_release(p);
    for (size_t k = 0; k < p->n; k++) spec_drafter_free(p->part[k].d);
}

void specp_parts_stats(specp_parts *p, spec_drafter_stats *out) {
    out->index_bytes = sizeof *p + specp_account_bytes(&p->account);
    for (size_t k = 0; k < p->n; k++) {
        spec_drafter_stats s;
        spec_drafter_get_stats(p->part[k].d, &s);
        out->index_tokens += s.index_tokens;
        out->index_states += s.index_states;
        out->index_bytes += s.index_bytes;
        out->evicted += s.evicted;
        if (s.longest_wait_ns > out->longest_wait_ns) out->longest_wait_ns = s.longest_wait_ns;
    }
}

/* The first part that has something to save does. */
int specp_parts_save(specp_parts *p, uint64_t tenant, const char *path, spec_message *why) {
    int err = SPEC_ERR_UNSUPPORTED;
    for (size_t k = 0; k < p->n && err == SPEC_ERR_UNSUPPORTED; k++)
        err = spec_drafter_save(p->part[k].d, tenant, path, why);
    return err;
}

/* ---- requests -------------------------------------------------------------------- */

void specp_parts_end(specp_parts *p, specp_parts_request *r) {
    for (size_t k = 0; k < p->n; k++) spec_request_end(r->of[k]);
}

int specp_parts_begin(specp_parts *p, const spec_request_info *info, specp_parts_request *r) {
    int err = SPEC_OK;
    memset(r, 0, sizeof *r);
    for (size_t k = 0; !err && k < p->n; k++) err = spec_request_begin(p->part[k].d, info, &r->of[k]);
    if (err) specp_parts_end(p, r);
    return err;
}

int specp_parts_room(const specp_parts *p, spec_tree *t, uint32_t nodes) {
    spec_tree grown;
    spec_tree_clear(t);
    if (t->cap >= nodes) return SPEC_OK;
    int err = spec_tree_init(&grown, nodes, 0, 0, &p->alloc);
    if (err) return err;
    spec_tree_release(t, &p->alloc);
    *t = grown;
    return SPEC_OK;
}

bool specp_parts_even(const specp_parts *p, const specp_parts_request *r) {
    for (size_t k = 0; k < p->n; k++)
        if (r->told[k]) return false;
    return true;
}

/* ---- an outcome as one part sees it ---------------------------------------------- */

/* The room for a view's arrays, for one part and one outcome. */
typedef struct view {
    const specp_part *part;
    const spec_outcome *all; /* what is mapped from */
    spec_tree tree;          /* the part's nodes that were verified */
    uint8_t *accepted;       /* (cap) */
    uint32_t *row;           /* (cap + 1) row i of the view is row row[i] of `all` */
    size_t cap;              /* nodes */
    uint32_t top_k, n_taps;  /* columns given to the part */
    spec_token *topk_token;
    float *topk_logprob, *hidden;
    size_t max_rows;
} view;

static void view_release(view *v, const spec_allocator *alloc) {
    spec_tree_release(&v->tree, alloc);
    specp_release(alloc, v->accepted, v->cap, 1);
    specp_release(alloc, v->row, v->cap + 1, sizeof *v->row);
    specp_release(alloc, v->topk_token, v->max_rows, v->top_k * sizeof *v->topk_token);
    specp_release(alloc, v->topk_logprob, v->max_rows, v->top_k * sizeof *v->topk_logprob);
    specp_release(alloc, v->hidden, v->max_rows, (size_t)v->n_taps * v->all->hidden_dim * sizeof *v->hidden);
}

/* Makes room for `nodes` and `rows`; which columns the part is given. */
static int view_make(view *v, const specp_parts *p, size_t k, const spec_outcome *o, size_t nodes,
                     size_t rows) {
    const spec_allocator *alloc = &p->alloc;
    *v = (view){.part = &p->part[k], .all = o, .cap = nodes, .max_rows = rows};
    if (rows) v->top_k = v->part->needs.top_k < o->top_k ? v->part->needs.top_k : o->top_k;
    if (rows && o->n_taps == p->needs.n_taps) v->n_taps = v->part->needs.n_taps;
    bool ok = (v->row = specp_alloc(alloc, nodes + 1, sizeof *v->row)) != NULL;
    if (nodes) {
        ok = ok && !spec_tree_init(&v->tree, (uint32_t)nodes, 0, 0, alloc);
        ok = ok && (v->accepted = specp_calloc(alloc, nodes, 1)) != NULL;
    }
    if (v->top_k) {
        ok = ok && (v->topk_token = specp_alloc(alloc, rows, v->top_k * sizeof *v->topk_token)) != NULL;
        ok = ok && (v->topk_logprob = specp_alloc(alloc, rows, v->top_k * sizeof *v->topk_logprob)) != NULL;
    }
    if (v->n_taps) {
        size_t row = (size_t)v->n_taps * o->hidden_dim;
        ok = ok && (v->hidden = specp_alloc(alloc, rows, row * sizeof *v->hidden)) != NULL;
    }
    if (ok) return SPEC_OK;
    view_release(v, alloc);
    return SPEC_ERR_NOMEM;
}

/* Copies row `from` of the outcome into row `to` of the view. */
static void copy_row(view *v, size_t to, size_t from) {
    const spec_outcome *o = v->all;
    size_t k = v->top_k, dim = o->hidden_dim;
    if (k) {
        memcpy(v->topk_token + to * k, o->topk_token + from * o->top_k, k * sizeof *v->topk_token);
        memcpy(v->topk_logprob + to * k, o->topk_logprob + from * o->top_k, k * sizeof *v->topk_logprob);
    }
    for (uint32_t j = 0; j < v->n_taps; j++)
        memcpy(v->hidden + (to * v->n_taps + j) * dim,
               o->hidden + (from * o->n_taps + v->part->tap_at[j]) * dim, dim * sizeof *v->hidden);
}

/* The outcome of n_rows rows that were copied. */
static spec_outcome outcome_of(const view *v, const spec_token *committed, size_t n, const spec_tree *tree,
                               size_t n_rows) {
    return (spec_outcome){.size = sizeof(spec_outcome),
                          .committed = committed,
                          .n_committed = n,
                          .tree = tree,
                          .accepted = v->accepted,
                          .n_rows = n_rows,
                          .top_k = v->top_k,
                          .topk_token = v->topk_token,
                          .topk_logprob = v->topk_logprob,
                          .n_taps = v->n_taps,
                          .hidden_dim = v->n_taps ? v->all->hidden_dim : 0,
                          .hidden = v->hidden,
                          .prompt_row = v->all->prompt_row};
}

/* Of the part's own draft, the nodes that were verified: they are found by their tokens.
 * place[i] is where own node i is in the view, -1 = nowhere. */
static void map_nodes(view *v, const spec_tree *own, int32_t *place) {
    const spec_tree *all = v->all->tree;
    v->row[0] = 0;
    for (uint32_t i = 0; i < own->n; i++) {
        int32_t parent = own->parent[i] < 0 ? -1 : place[own->parent[i]];
        place[i] = -1;
        if (own->parent[i] >= 0 && parent < 0) continue;
        int32_t above = parent < 0 ? -1 : (int32_t)v->row[parent + 1] - 1;
        int32_t at = spec_tree_child(all, above, own->token[i]);
        if (at < 0) continue;
        place[i] = spec_tree_add(&v->tree, parent, own->token[i], own->prob[i], own->source[i]);
        v->tree.score += own->prob[i];
        v->accepted[place[i]] = v->all->accepted[at];
        v->row[place[i] + 1] = (uint32_t)at + 1;
    }
    v->tree.match_len = own->match_len;
}

/* ---- telling a part --------------------------------------------------------------- */

/* One outcome on its way to one part. */
typedef struct telling {
    view v;
    spec_request *request;
    size_t *told;
    size_t n;                  /* tokens committed */
    const uint32_t *committed; /* (n_path + 1) the row that each committed token follows from */
    size_t n_path;
} telling;

/* What the part would have seen had its own draft been verified alone. */
static int tell_own(telling *t) {
    view *v = &t->v;
    size_t n = 1, rows = v->max_rows ? v->tree.n + 1 : 0;
    for (uint32_t i = 0; i < v->tree.n; i++) n += v->accepted[i];
    if (n > t->n) n = t->n;
    for (size_t i = 0; i < rows; i++) copy_row(v, i, v->row[i]);
    spec_outcome o = outcome_of(v, v->all->committed, n, &v->tree, rows);
    int err = spec_request_observe(t->request, &o);
    if (!err) *t->told = 1 + n;
    return err;
}

/* The tokens beyond it, one by one where there are rows, as plain decoding would have
 * said them. */
static int tell_rest(telling *t) {
    const spec_tree none = {0};
    int err = SPEC_OK;
    for (size_t at; !err && (at = *t->told - 1) < t->n;) {
        bool row = (t->v.top_k || t->v.n_taps) && at <= t->n_path;
        size_t n = row ? 1 : t->n - at;
        spec_outcome o = {.size = sizeof o, .committed = t->v.all->committed + at, .n_committed = n};
        if (row) {
            copy_row(&t->v, 0, t->committed[at]);
            o = outcome_of(&t->v, o.committed, n, &none, 1);
        }
        err = spec_request_observe(t->request, &o);
        if (!err) *t->told += n;
    }
    return err;
}

/* An outcome without a draft: all at once, with all rows. */
static int tell_plain(telling *t) {
    for (size_t i = 0; i < t->v.max_rows; i++) copy_row(&t->v, i, i);
    spec_outcome o = outcome_of(&t->v, t->v.all->committed, t->n, NULL, t->v.max_rows);
    int err = spec_request_observe(t->request, &o);
    if (!err) *t->told = 1 + t->n;
    return err;
}

static int tell(const specp_parts *p, size_t k, specp_parts_request *r, const spec_outcome *o,
                const spec_tree *own, const uint32_t *committed, size_t n_path) {
    size_t nodes = own && o->tree ? own->n : 0;
    size_t rows = !o->tree ? o->n_rows : o->n_rows ? nodes + 1 : 0;
    telling t = {.request = r->of[k],
                 .told = &r->told[k],
                 .n = o->n_committed,
                 .committed = committed,
                 .n_path = n_path};
    int32_t *place = nodes ? specp_alloc(&p->alloc, nodes, sizeof *place) : NULL;
    if (nodes && !place) return SPEC_ERR_NOMEM;
    int err = view_make(&t.v, p, k, o, nodes, rows);
    if (!err) {
        if (nodes) map_nodes(&t.v, own, place);
        t.v.row[0] = 0;
        if (!*t.told) err = o->tree ? tell_own(&t) : tell_plain(&t);
        if (!err) err = tell_rest(&t);
        view_release(&t.v, &p->alloc);
    }
    specp_release(&p->alloc, place, nodes, sizeof *place);
    return err;
}

int specp_parts_observe(specp_parts *p, specp_parts_request *r, const spec_outcome *o,
                        const spec_tree *const *own) {
    size_t cap = o->tree ? (size_t)o->tree->n + 1 : 1;
    uint32_t *committed = specp_alloc(&p->alloc, cap, sizeof *committed);
    if (!committed) return SPEC_ERR_NOMEM;
    size_t n_path = specp_accepted_rows(o, committed);
    int err = SPEC_OK;
    for (size_t k = 0; !err && k < p->n; k++) err = tell(p, k, r, o, own[k], committed, n_path);
    specp_release(&p->alloc, committed, cap, sizeof *committed);
    if (!err) memset(r->told, 0, sizeof r->told);
    return err;
}

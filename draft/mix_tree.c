/* SPDX-License-Identifier: MIT */
/*
 * mix_tree.c - see mix_tree.h.
 *
 *     text ... t                           own index       shared index
 *            |         classes of the      "... s t" 2x    "r s t"  9x
 *            |         two chains          "t"      31x    "s t"   40x
 *           / \              |                  their children: candidates a, b, c
 *          a   b             v
 *          |           record: evidence and probability of each candidate
 *          d
 *
 * Two kinds of task compete, each time the one that is worth more: to add the best candidate of a record,
 * worth its path probability, and to weigh the continuations of a node that was added, worth what its
 * best continuation may be expected to be, which is learnt by length and count of the node's match. So
 * nodes that lead nowhere are seldom weighed, and weighing is most of the work.
 */
#include "mix_tree.h"

#include <string.h>

#include "chain.h"
#include "specp.h"

#define BRANCHES  5               /* children looked at in a class */
#define ENOUGH    8               /* occurrences after which no shorter match is asked */
#define LAST_RANK (MIX_RANKS - 2) /* third child and later */
#define NO_RANK   (MIX_RANKS - 1)
#define EAGERNESS 0.6f /* of weighing, against adding */

/* ---- keys --------------------------------------------------------------------- */

/* Floats of one sign order like their bits. The low bits name the thing, so that the greatest key says
 * which it is; worths that differ by less than 2^-14 of them count as equal, and then the first wins. */
#define KEY_BITS 9
#define KEY_MASK ((1 << KEY_BITS) - 1)

static int32_t key_of(float worth, uint32_t number) {
    int32_t bits;
    memcpy(&bits, &worth, sizeof bits);
    return (bits & ~KEY_MASK) | (int32_t)(KEY_MASK - number);
}

static uint32_t number_of(int32_t key) { return KEY_MASK - (uint32_t)(key & KEY_MASK); }

static size_t whole(size_t n) { return (n + MIX_LANES - 1) / MIX_LANES * MIX_LANES; }

/* The greatest of n keys, whole(n) of which can be read; those behind n are 0. */
static int32_t greatest(const int32_t *key, size_t n) {
    mix_lanes_int most = {0}, k;
    for (size_t i = 0; i < n; i += MIX_LANES) {
        memcpy(&k, key + i, sizeof k);
        mix_lanes_int more = k > most;
        most = (k & more) | (most & ~more);
    }
    int32_t best = 0;
    for (int i = 0; i < MIX_LANES; i++) best = most[i] > best ? most[i] : best;
    return best;
}

/* ---- scratch ----------------------------------------------------------------- */

int specp_mix_scratch_init(mix_scratch *m, uint32_t nodes, const spec_allocator *alloc) {
    *m = (mix_scratch){.nodes = nodes};
    m->record = specp_calloc(alloc, (size_t)nodes + 1, sizeof *m->record);
    m->node = specp_alloc(alloc, nodes, sizeof *m->node);
    m->to_add = specp_calloc(alloc, whole((size_t)nodes + 1), sizeof *m->to_add);
    m->to_weigh = specp_calloc(alloc, whole(nodes), sizeof *m->to_weigh);
    if (m->record && m->node && m->to_add && m->to_weigh) return SPEC_OK;
    specp_mix_scratch_release(m, alloc);
    return SPEC_ERR_NOMEM;
}

void specp_mix_scratch_release(mix_scratch *m, const spec_allocator *alloc) {
    specp_release(alloc, m->record, (size_t)m->nodes + 1, sizeof *m->record);
    specp_release(alloc, m->node, m->nodes, sizeof *m->node);
    specp_release(alloc, m->to_add, whole((size_t)m->nodes + 1), sizeof *m->to_add);
    specp_release(alloc, m->to_weigh, whole(m->nodes), sizeof *m->to_weigh);
    *m = (mix_scratch){0};
}

/* ---- evidence ---------------------------------------------------------------- */

/* Candidates by a hash of their tokens, 1 + their number: finds most without a search. */
#define PLACES 64

static uint32_t find_or_add(mix_case *c, uint8_t *place, spec_token token) {
    uint8_t *at = &place[((uint32_t)token * 2654435761u) >> 26];
    uint32_t k = *at;
    if (SPECP_LIKELY(k && c->token[k - 1] == token)) return k - 1;
    for (k = *at ? 0 : c->n; k < c->n; k++) /* another token stands there: look at all */
        if (c->token[k] == token) return k;
    if (k == MIX_CANDIDATES) return k;
    if (!*at) *at = (uint8_t)(k + 1);
    c->token[k] = token;
    c->rank[k] = NO_RANK;
    return c->n++;
}

/* *to = locus, unless it is one already. Without a branch: whether it is, is as good as random. */
static void keep_first(spec_locus *to, spec_locus locus) {
    uint32_t keep = to->count ? ~0u : 0;
    to->state = (to->state & keep) | (locus.state & ~keep);
    to->len = (to->len & keep) | (locus.len & ~keep);
    to->count = (to->count & keep) | (locus.count & ~keep);
}

/* A class of an index, number e of the evidence: its children become candidates. Its evidence on all
 * others, those to come included, is that it has none of them. */
static void collect(const mix_tables *t, mix_record *r, uint32_t index, uint32_t e, const specp_class *class,
                    uint8_t *place) {
    const uint32_t n = class->n < BRANCHES ? class->n : BRANCHES, all = class->at.count;
    const uint32_t base = mix_evidence_base(t, index, class->at.len);
    const uint16_t absent = (uint16_t)mix_evidence_cell(t, base, 0, all, NO_RANK);
    for (uint32_t k = 0; k < MIX_CANDIDATES; k++) r->c.cell[e][k] = absent;
    for (uint32_t j = 0; j < n; j++) {
        const specp_branch *b = &class->branch[j];
        uint32_t k = find_or_add(&r->c, place, b->token), rank = j < LAST_RANK ? j : LAST_RANK;
        if (k == MIX_CANDIDATES) continue;
        uint32_t hits = b->count < all ? b->count : all;
        r->c.cell[e][k] = (uint16_t)mix_evidence_cell(t, base, hits, all - hits, rank);
        if (rank < r->c.rank[k]) r->c.rank[k] = (uint8_t)rank;
        r->c.votes[k] = (uint8_t)(r->c.votes[k] + !rank);
        keep_first(&r->to[index][k], specp_branch_locus(class, b));
    }
}

static void no_evidence(mix_record *r, uint32_t e) {
    for (uint32_t k = 0; k < MIX_CANDIDATES; k++) r->c.cell[e][k] = MIX_NO_EVIDENCE;
}

/* What another drafter's draft has below node `at`: its children become candidates. They stand most
 * probable first. */
static void collect_draft(mix_record *r, uint32_t part, const spec_tree *draft, uint8_t *place) {
    const uint32_t e = MIX_MATCHES + part;
    const int32_t at = r->in_draft[part];
    const float above = at < 0 ? 1 : draft->prob[at];
    uint32_t rank = 0;
    for (uint32_t k = 0; k < MIX_CANDIDATES; k++) r->c.cell[e][k] = (uint16_t)mix_part_absent(part);
    for (uint32_t i = at < 0 ? 0 : (uint32_t)at + 1; i < draft->n; i++) {
        if (draft->parent[i] != at) continue;
        uint32_t k = find_or_add(&r->c, place, draft->token[i]);
        if (k < MIX_CANDIDATES) {
            float p = above > 0 ? draft->prob[i] / above : 0;
            r->c.cell[e][k] = (uint16_t)mix_part_cell(part, p < 1 ? p : 1, rank);
            if (rank < r->c.rank[k]) r->c.rank[k] = (uint8_t)rank;
            r->c.votes[k] = (uint8_t)(r->c.votes[k] + !rank);
        }
        rank += rank < LAST_RANK;
    }
    if (!rank) no_evidence(r, e);
}

static void set_contexts(const mix_tables *t, mix_record *r, spec_token last, uint32_t drafts) {
    uint32_t own = mix_length(t, r->len[MIX_OWN]), shared = mix_length(t, r->len[MIX_SHARED]);
    uint32_t depth = r->depth < 3 ? r->depth : 3;
    r->c.match = (uint16_t)(own * MIX_LENGTHS + shared);
    r->c.last = (uint16_t)(mix_hash((uint32_t)last) % MIX_LASTS);
    r->c.shape =
        (uint16_t)(((drafts * 4 + depth) * 4 + r->n_classes[MIX_OWN]) * 4 + r->n_classes[MIX_SHARED]);
}

/* Evidence of other drafters' drafts. Returns which there are, as bits. */
static uint32_t collect_drafts(const mix_grow *g, mix_record *r, uint8_t *place) {
    uint32_t there = 0;
    for (uint32_t i = 0; i < g->n_drafts; i++) {
        if (r->in_draft[i] == MIX_NOWHERE) {
            no_evidence(r, MIX_MATCHES + i);
            continue;
        }
        collect_draft(r, i, g->draft[i], place);
        there |= 1u << i;
    }
    return there;
}

/* Weighs what may follow `token`, a node's or the text's last, where the longest matches are at[]. */
static void weigh(const mix_grow *g, mix_record *r, const spec_locus *at, const size_t *n_own,
                  spec_token token) {
    specp_class class[MIX_CLASSES];
    uint8_t place[PLACES] = {0};
    r->token = token;
    r->c.n = 0;
    memset(r->c.votes, 0, sizeof r->c.votes);
    r->c.n_evidence = MIX_MATCHES + g->n_drafts;
    memset(r->to, 0, sizeof r->to);
    const uint32_t drafts = collect_drafts(g, r, place);
    for (uint32_t x = 0; x < MIX_INDEXES; x++) {
        const uint32_t e = x * MIX_CLASSES;
        size_t n =
            g->index[x] ? specp_index_chain(g->index[x], at[x], n_own[x], ENOUGH, MIX_CLASSES, class) : 0;
        r->n_classes[x] = (uint8_t)n;
        r->len[x] = n ? class[0].at.len : 0;
        for (uint32_t i = 0; i < MIX_CLASSES; i++)
            if (i < n)
                collect(g->tables, r, x, e + i, &class[i], place);
            else
                no_evidence(r, e + i);
    }
    set_contexts(g->tables, r, token, drafts);
    specp_mix_weigh(g->state, g->tables, &r->c);
}

/* ---- from a node to its child ------------------------------------------------- */

/* The longest match of a record's text and its candidate k. One that the own index does not follow a
 * match with may occur there all the same; of the shared index it is not worth the look-up. */
static spec_locus step(const mix_grow *g, const mix_record *r, uint32_t x, uint32_t k) {
    const spec_index *index = g->index[x];
    if (r->to[x][k].count || x == MIX_SHARED || !index) return r->to[x][k];
    return spec_index_child(index, spec_index_root(index), r->c.token[k]);
}

/* Which cell tells how likely the best continuation of candidate k is. */
static uint32_t reach_cell(const mix_tables *t, const mix_record *r, uint32_t k) {
    uint32_t x = r->to[MIX_SHARED][k].len > r->to[MIX_OWN][k].len;
    const spec_locus *to = &r->to[x][k];
    return (x * MIX_LENGTHS + mix_length(t, to->len)) * MIX_COUNTS + mix_count(t, to->count);
}

/* ---- growing ------------------------------------------------------------------ */

/* A record's best candidate's key, with the record's number in place of the candidate's. */
static int32_t best_key(const mix_record *r, uint32_t record) {
    int32_t best = greatest(r->key, MIX_CANDIDATES);
    return best ? (best & ~KEY_MASK) | (int32_t)(KEY_MASK - record) : 0;
}

/* Sets the keys of a record that has just been weighed, `product` being its node's. */
static void set_keys(const mix_grow *g, mix_scratch *m, uint32_t record, float product) {
    mix_record *r = &m->record[record];
    for (uint32_t k = 0; k < MIX_CANDIDATES; k += MIX_LANES) {
        mix_lanes worth = product * mix_load(&r->c.p[k]);
        mix_lanes_int number =
            (mix_lanes_int){KEY_MASK, KEY_MASK - 1, KEY_MASK - 2, KEY_MASK - 3} - (int32_t)k;
        mix_lanes_int key = ((mix_lanes_int)worth & ~KEY_MASK) | number;
        key &= (worth >= g->min_prob) & mix_live(k, r->c.n);
        memcpy(&r->key[k], &key, sizeof key);
    }
    m->to_add[record] = best_key(r, record);
}

/* Where a candidate comes from: the longer match, or else the first draft that has it. */
static int source_of(const mix_grow *g, const mix_record *r, uint32_t k) {
    uint32_t own = r->to[MIX_OWN][k].len, shared = r->to[MIX_SHARED][k].len;
    if (own | shared) return own >= shared ? SPEC_SOURCE_OWN : SPEC_SOURCE_SHARED;
    for (uint32_t i = 0; i < g->n_drafts; i++) {
        if (r->in_draft[i] == MIX_NOWHERE) continue;
        int32_t child = spec_tree_child(g->draft[i], r->in_draft[i], r->c.token[k]);
        if (child >= 0) return g->draft[i]->source[child];
    }
    return SPEC_SOURCE_OTHER;
}

/* Adds the best candidate of a record to the tree, and the task of weighing what follows it. */
static void add(const mix_grow *g, mix_scratch *m, uint32_t record, spec_tree *out) {
    mix_record *r = &m->record[record];
    const uint32_t k = number_of(greatest(r->key, MIX_CANDIDATES)), i = out->n;
    mix_node *v = &m->node[i];
    float above = r->node < 0 ? 1 : m->node[r->node].product, product = above * r->c.p[k];
    *v = (mix_node){product, r->node,          r->c.token[k], (uint16_t)r->depth,
                    0,       (uint16_t)record, (uint8_t)k,    false};
    r->key[k] = 0;
    m->to_add[record] = best_key(r, record);
    float prob = specp_mix_path(g->state, r->depth + 1, product, &v->cell);
    if (prob > r->limit) prob = r->limit; /* the parent's, or that of the child before */
    r->limit = prob;
    spec_tree_add(out, r->node, v->token, prob, source_of(g, r, k));
    out->score += prob;
    m->to_weigh[i] = 0;
    if (r->depth + 1 >= g->max_depth) return;
    m->to_weigh[i] = key_of(product * EAGERNESS * g->state->reach[reach_cell(g->tables, r, k)].value, i);
}

static void descend(const mix_grow *g, mix_scratch *m, uint32_t node, float limit) {
    static const size_t none[MIX_INDEXES];
    const mix_node *v = &m->node[node];
    const mix_record *up = &m->record[v->record];
    mix_record *r = &m->record[m->n];
    const spec_locus at[MIX_INDEXES] = {step(g, up, MIX_OWN, v->nth), step(g, up, MIX_SHARED, v->nth)};
    r->parent = v->record;
    r->node = (int32_t)node;
    r->depth = up->depth + 1;
    r->reach = reach_cell(g->tables, up, v->nth);
    r->limit = limit;
    m->to_weigh[node] = 0;
    for (uint32_t i = 0; i < g->n_drafts; i++) {
        int32_t above = up->in_draft[i];
        r->in_draft[i] = above == MIX_NOWHERE ? above : spec_tree_child(g->draft[i], above, v->token);
        if (r->in_draft[i] < 0) r->in_draft[i] = MIX_NOWHERE;
    }
    weigh(g, r, at, none, v->token);
    set_keys(g, m, m->n++, v->product);
}

void specp_mix_look(const mix_grow *g, mix_scratch *m) {
    mix_record *root = &m->record[0];
    root->parent = root->depth = root->reach = 0;
    root->node = -1;
    for (uint32_t i = 0; i < g->n_drafts; i++) root->in_draft[i] = -1;
    root->limit = 1;
    weigh(g, root, g->at, g->n_own, g->last);
    m->n = 1;
    m->n_nodes = 0;
}

void specp_mix_tree(const mix_grow *g, mix_scratch *m, spec_tree *out) {
    const uint32_t budget = g->budget < m->nodes ? g->budget : m->nodes;
    memset(m->to_add, 0, whole((size_t)budget + 1) * sizeof *m->to_add);
    memset(m->to_weigh, 0, whole(budget) * sizeof *m->to_weigh);
    specp_mix_look(g, m);
    for (uint32_t x = 0; x < MIX_INDEXES; x++)
        if (m->record[0].len[x] > out->match_len) out->match_len = m->record[0].len[x];
    set_keys(g, m, 0, 1);
    while (out->n < budget) {
        int32_t best = greatest(m->to_add, m->n), next = greatest(m->to_weigh, out->n);
        if (!(best | next)) break;
        if (best >= next)
            add(g, m, number_of(best), out);
        else
            descend(g, m, number_of(next), out->prob[number_of(next)]);
    }
    m->n_nodes = out->n;
}

/* ---- learning ----------------------------------------------------------------- */

/* Learns from every node of the draft, but for those on which the text has not come to a decision: they
 * and what follows them count as on its path. */
static void learn_paths(mix_scratch *m, mix_state *s, const mix_tables *t, const spec_token *tok, size_t n) {
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        mix_node *v = &m->node[i];
        bool open = v->parent < 0 || m->node[v->parent].on_path;
        bool undecided = open && v->depth >= n;
        v->on_path = undecided || (open && tok[v->depth] == v->token);
        if (!undecided) specp_mix_learn_path(s, t, v->cell, v->on_path);
    }
}

/* The record below `record` for the token, or 0. */
static uint32_t below(const mix_scratch *m, uint32_t record, spec_token token) {
    for (uint32_t i = record + 1; i < m->n; i++)
        if (m->record[i].parent == record && m->record[i].token == token) return i;
    return 0;
}

void specp_mix_follow(mix_scratch *m, mix_state *s, const mix_tables *t, const spec_token *tok, size_t n) {
    uint32_t record = 0;
    learn_paths(m, s, t, tok, n);
    for (size_t i = 0; i < n && m->n; i++) {
        const mix_record *r = &m->record[record];
        if (record) specp_mix_learn_reach(s, t, r->reach, &r->c);
        specp_mix_learn(s, t, &r->c, tok[i]);
        record = below(m, record, tok[i]);
        if (!record) return;
    }
}

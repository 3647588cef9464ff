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

static int32_t greater(int32_t a, int32_t b) { return a > b ? a : b; }

static int32_t greatest_of_4(const int32_t *key) {
    return greater(greater(key[0], key[1]), greater(key[2], key[3]));
}

static int32_t greatest_of_8(const int32_t *key) {
    return greater(greatest_of_4(key), greatest_of_4(key + 4));
}

/*
 * Tasks are looked at in rows of 16, so that a small draft needs no loop. Not as vectors, and the Makefile
 * sees to it: a vector that is read where one of its elements was just written waits for that write.
 */
#define ROW 16

static size_t whole_rows(size_t n) { return (n + ROW - 1) / ROW * ROW; }

/* The greatest of n keys, whole_rows(n) of which can be read; those behind n are 0. */
static int32_t greatest(const int32_t *key, size_t n) {
    int32_t best = 0;
    for (size_t i = 0; i < n; i += ROW)
        best = greater(best, greater(greatest_of_8(key + i), greatest_of_8(key + i + 8)));
    return best;
}

/* ---- scratch ----------------------------------------------------------------- */

static const specp_branch no_branch;

int specp_mix_scratch_init(mix_scratch *m, uint32_t nodes, const spec_allocator *alloc) {
    *m = (mix_scratch){.nodes = nodes};
    m->record = specp_calloc(alloc, (size_t)nodes + 1, sizeof *m->record);
    m->node = specp_alloc(alloc, nodes, sizeof *m->node);
    m->task = specp_calloc(alloc, whole_rows((size_t)nodes + 1), sizeof *m->task);
    if (!m->record || !m->node || !m->task) {
        specp_mix_scratch_release(m, alloc);
        return SPEC_ERR_NOMEM;
    }
    for (uint32_t i = 0; i <= nodes; i++)
        for (uint32_t x = 0; x < MIX_INDEXES; x++)
            m->record[i].class[x][MIX_CLASSES] = (specp_class){.at.len = UINT32_MAX, .branch = &no_branch};
    return SPEC_OK;
}

void specp_mix_scratch_release(mix_scratch *m, const spec_allocator *alloc) {
    specp_release(alloc, m->record, (size_t)m->nodes + 1, sizeof *m->record);
    specp_release(alloc, m->node, m->nodes, sizeof *m->node);
    specp_release(alloc, m->task, whole_rows((size_t)m->nodes + 1), sizeof *m->task);
    *m = (mix_scratch){0};
}

/* ---- evidence ---------------------------------------------------------------- */

/* The candidates so far. Each byte of `tag` is a hash of one's token, not 0: where a token stands is seen
 * without a search, and without a branch that would be as good as random. */
typedef struct found {
    spec_token *token; /* (MIX_CANDIDATES + 1), the last is for one that finds no room */
    uint64_t tag;
    uint64_t free; /* the upper bit of the first free byte; 0: there is none */
    uint32_t n;
} found;

#define BYTES(b) ((b) * (UINT64_MAX / 255))

/* The number of the token among the candidates, as one of which it is added where there is room;
 * MIX_CANDIDATES: there was none. */
static inline uint32_t find_or_add(found *f, spec_token token) {
    const uint64_t tag = mix_hash(token, 8) | 1, other = f->tag ^ BYTES(tag);
    const uint64_t equal = (other - BYTES(1)) & ~other & BYTES(128); /* right up to the first */
    const uint64_t at = equal | f->free;
    f->token[f->n] = token;
    uint32_t k = SPECP_LIKELY(at) ? (uint32_t)__builtin_ctzll(at) / 8 : MIX_CANDIDATES;
    if (SPECP_UNLIKELY(f->token[k] != token)) /* another token with its hash: look at all */
        for (k = 0; f->token[k] != token;) k++;
    const uint32_t new = (k == f->n) & (f->free != 0);
    f->tag |= tag * (f->free >> 7) * new;
    f->free <<= 8 * new;
    f->n += new;
    return k;
}

/* The cells of all candidates. */
static void fill(uint16_t *cell, uint16_t value) {
    const uint64_t four = value * (UINT64_MAX / UINT16_MAX);
    for (uint32_t k = 0; k < MIX_CANDIDATES; k += 4) memcpy(cell + k, &four, sizeof four);
}

/* A class of an index, number i there and e of the evidence: its children become candidates. Its evidence
 * on all others, those to come included, is that it has none of them. */
static void collect(const mix_tables *t, mix_record *r, uint32_t index, uint32_t i, found *all_found) {
    const specp_class *class = &r->class[index][i];
    const uint32_t e = index * MIX_CLASSES + i;
    const uint32_t n = class->n < BRANCHES ? class->n : BRANCHES, all = class->at.count;
    const uint32_t base = mix_evidence_base(t, index, class->at.len);
    const uint16_t absent = (uint16_t)mix_evidence_cell(t, base, 0, all, NO_RANK);
    const specp_branch *b = class->branch;
    uint16_t *cell = r->c.cell[e];
    uint8_t *first = r->first[index];
    found f = *all_found; /* in registers */
    fill(cell, absent);
    for (uint32_t j = 0; j < n; j++, b++) {
        const uint32_t k = find_or_add(&f, b->token), rank = j < LAST_RANK ? j : LAST_RANK, code = 8 * i + j;
        if (SPECP_UNLIKELY(k == MIX_CANDIDATES)) continue;
        const uint32_t hits = b->count < all ? b->count : all;
        cell[k] = (uint16_t)mix_evidence_cell(t, base, hits, all - hits, rank);
        r->c.rank[k] = (uint8_t)(rank < r->c.rank[k] ? rank : r->c.rank[k]);
        first[k] = (uint8_t)(code < first[k] ? code : first[k]);
    }
    *all_found = f;
}

/* What another drafter's draft has below node `at`: its children become candidates. They stand most
 * probable first. */
static void collect_draft(mix_record *r, uint32_t part, const spec_tree *draft, found *f) {
    const uint32_t e = MIX_MATCHES + part;
    const int32_t at = r->in_draft[part];
    const float above = at < 0 ? 1 : draft->prob[at];
    uint32_t rank = 0;
    fill(r->c.cell[e], (uint16_t)mix_part_absent(part));
    for (uint32_t i = at < 0 ? 0 : (uint32_t)at + 1; i < draft->n; i++) {
        if (draft->parent[i] != at) continue;
        uint32_t k = find_or_add(f, draft->token[i]);
        if (k < MIX_CANDIDATES) {
            float p = above > 0 ? draft->prob[i] / above : 0;
            r->c.cell[e][k] = (uint16_t)mix_part_cell(part, p < 1 ? p : 1, rank);
            if (rank < r->c.rank[k]) r->c.rank[k] = (uint8_t)rank;
        }
        rank += rank < LAST_RANK;
    }
    if (!rank) fill(r->c.cell[e], MIX_NO_EVIDENCE);
}

/* Evidence of other drafters' drafts. */
static void collect_drafts(const mix_grow *g, mix_record *r, found *f) {
    for (uint32_t i = 0; i < g->n_drafts; i++)
        if (r->in_draft[i] == MIX_NOWHERE)
            fill(r->c.cell[MIX_MATCHES + i], MIX_NO_EVIDENCE);
        else
            collect_draft(r, i, g->draft[i], f);
}

/* Evidence of the index x, whose longest match is `at`. */
static void collect_index(const mix_grow *g, mix_record *r, uint32_t x, spec_locus at, size_t n_own,
                          found *f) {
    const spec_index *index = g->index[x];
    const size_t n = index ? specp_index_chain(index, at, n_own, ENOUGH, MIX_CLASSES, r->class[x]) : 0;
    r->len[x] = n ? r->class[x][0].at.len : 0;
    for (uint32_t i = 0; i < MIX_CLASSES; i++) fill(r->c.cell[x * MIX_CLASSES + i], MIX_NO_EVIDENCE);
    for (uint32_t i = 0; i < n; i++) collect(g->tables, r, x, i, f);
}

/* Weighs what may follow `token`, a node's or the text's last, where the longest matches are at[]. */
static void weigh(const mix_grow *g, mix_record *r, const spec_locus *at, const size_t *n_own,
                  spec_token token) {
    found f = {.token = r->c.token, .free = 128};
    r->c.n_evidence = MIX_MATCHES + g->n_drafts;
    memset(r->c.rank, NO_RANK, sizeof r->c.rank);
    memset(r->first, 8 * MIX_CLASSES, sizeof r->first);
    collect_drafts(g, r, &f);
    collect_index(g, r, MIX_OWN, at[MIX_OWN], n_own[MIX_OWN], &f);
    collect_index(g, r, MIX_SHARED, at[MIX_SHARED], n_own[MIX_SHARED], &f);
    r->c.n = f.n;
    r->c.match = (uint16_t)(mix_length(g->tables, r->len[MIX_OWN]) * MIX_LENGTHS +
                            mix_length(g->tables, r->len[MIX_SHARED]));
    r->c.last = (uint16_t)mix_hash(token, MIX_LAST_BITS);
    specp_mix_weigh(g->state, g->tables, &r->c);
}

/* ---- from a node to its child ------------------------------------------------- */

/* The longest match of a record's text and its candidate k. One that the own index does not follow a
 * match with may occur there all the same; of the shared index it is not worth the look-up. */
static spec_locus step(const mix_grow *g, const mix_record *r, uint32_t x, uint32_t k) {
    const spec_index *index = g->index[x];
    const spec_locus to = mix_match(r, x, k);
    if (to.count || x == MIX_SHARED || !index) return to;
    return spec_index_child(index, spec_index_root(index), r->c.token[k]);
}

/* The length of the longest match with candidate k; 0: none. */
static uint32_t length_with(const mix_record *r, uint32_t x, uint32_t k) {
    return r->class[x][r->first[x][k] / 8].at.len + 1;
}

/* Which cell tells how likely the best continuation of candidate k is. */
static uint32_t reach_cell(const mix_tables *t, const mix_record *r, uint32_t k) {
    const uint32_t own = length_with(r, MIX_OWN, k), shared = length_with(r, MIX_SHARED, k);
    const uint32_t x = shared > own, len = x ? shared : own, first = r->first[x][k];
    const uint32_t count = r->class[x][first / 8].branch[first % 8].count;
    return (x * MIX_LENGTHS + mix_length(t, len)) * MIX_COUNTS + mix_count(t, count);
}

/* ---- growing ------------------------------------------------------------------ */

/* Chooses a record's best candidate, and makes adding it the task of its node. */
static void choose(mix_scratch *m, mix_record *r) {
    const uint32_t number = (uint32_t)(r->node + 1);
    r->best = greatest_of_8(r->key);
    m->task[number] = ((r->best & ~KEY_MASK) | (int32_t)(KEY_MASK - number)) & -(int32_t)(r->best != 0);
}

/* Sets the keys of a record that has just been weighed, `product` being its node's. */
static void set_keys(const mix_grow *g, mix_scratch *m, mix_record *r, float product) {
    for (uint32_t k = 0; k < MIX_CANDIDATES; k += MIX_LANES) {
        mix_lanes worth = product * mix_load(&r->c.p[k]);
        mix_lanes_int number =
            (mix_lanes_int){KEY_MASK, KEY_MASK - 1, KEY_MASK - 2, KEY_MASK - 3} - (int32_t)k;
        mix_lanes_int key = ((mix_lanes_int)worth & ~KEY_MASK) | number;
        key &= (worth >= g->min_prob) & mix_live(k, r->c.n);
        memcpy(&r->key[k], &key, sizeof key);
    }
    choose(m, r);
}

/* Where a candidate comes from: the longer match, or else the first draft that has it. */
static int source_of(const mix_grow *g, const mix_record *r, uint32_t k) {
    const uint32_t own = length_with(r, MIX_OWN, k), shared = length_with(r, MIX_SHARED, k);
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
    const uint32_t k = number_of(r->best), i = out->n;
    mix_node *v = &m->node[i];
    const float product = r->product * r->c.p[k];
    *v = (mix_node){.product = product,
                    .parent = r->node,
                    .token = r->c.token[k],
                    .depth = (uint16_t)r->depth,
                    .record = (uint16_t)record,
                    .nth = (uint8_t)k};
    float prob = specp_mix_path(g->state, r->depth + 1, product, &v->cell);
    if (prob > r->limit) prob = r->limit; /* the parent's, or that of the child before */
    r->limit = prob;
    r->key[k] = 0;
    choose(m, r);
    spec_tree_add(out, r->node, v->token, prob, source_of(g, r, k));
    out->score += prob;
    m->task[i + 1] = 0;
    if (r->depth + 1 >= g->max_depth) return;
    v->reach = (uint16_t)reach_cell(g->tables, r, k);
    m->task[i + 1] = key_of(product * EAGERNESS * g->state->reach[v->reach].value, i + 1);
}

/* Weighs what follows a node, whose probability is `limit`. */
static void descend(const mix_grow *g, mix_scratch *m, uint32_t node, float limit) {
    static const size_t none[MIX_INDEXES];
    mix_node *v = &m->node[node];
    const mix_record *up = &m->record[v->record];
    mix_record *r = &m->record[m->n];
    const spec_locus at[MIX_INDEXES] = {step(g, up, MIX_OWN, v->nth), step(g, up, MIX_SHARED, v->nth)};
    r->node = (int32_t)node;
    r->depth = up->depth + 1;
    r->product = v->product;
    r->limit = limit;
    for (uint32_t i = 0; i < g->n_drafts; i++) {
        int32_t above = up->in_draft[i];
        r->in_draft[i] = above == MIX_NOWHERE ? above : spec_tree_child(g->draft[i], above, v->token);
        if (r->in_draft[i] < 0) r->in_draft[i] = MIX_NOWHERE;
    }
    v->weighed = (uint16_t)m->n++;
    weigh(g, r, at, none, v->token);
    set_keys(g, m, r, v->product);
}

void specp_mix_look(const mix_grow *g, mix_scratch *m) {
    mix_record *root = &m->record[0];
    root->depth = 0;
    root->node = -1;
    root->product = 1;
    for (uint32_t i = 0; i < g->n_drafts; i++) root->in_draft[i] = -1;
    root->limit = 1;
    weigh(g, root, g->at, g->n_own, g->last);
    m->n = 1;
    m->n_nodes = 0;
}

void specp_mix_tree(const mix_grow *g, mix_scratch *m, spec_tree *out) {
    const uint32_t budget = g->budget < m->nodes ? g->budget : m->nodes;
    memset(m->task, 0, whole_rows((size_t)budget + 1) * sizeof *m->task);
    specp_mix_look(g, m);
    for (uint32_t x = 0; x < MIX_INDEXES; x++)
        if (m->record[0].len[x] > out->match_len) out->match_len = m->record[0].len[x];
    set_keys(g, m, &m->record[0], 1);
    while (out->n < budget) {
        const int32_t best = greatest(m->task, (size_t)out->n + 1);
        if (!best) break;
        const uint32_t number = number_of(best), record = number ? m->node[number - 1].weighed : 0;
        if (record || !number)
            add(g, m, record, out);
        else
            descend(g, m, number - 1, out->prob[number - 1]);
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

/* The child of a node that has the token, or -1. */
static int32_t child_of(const mix_scratch *m, int32_t node, spec_token token) {
    for (uint32_t i = (uint32_t)(node + 1); i < m->n_nodes; i++)
        if (m->node[i].parent == node && m->node[i].token == token) return (int32_t)i;
    return -1;
}

void specp_mix_follow(mix_scratch *m, mix_state *s, const mix_tables *t, const spec_token *tok, size_t n) {
    int32_t node = -1;
    learn_paths(m, s, t, tok, n);
    for (size_t i = 0; i < n; i++) {
        const mix_record *r = &m->record[node < 0 ? 0 : m->node[node].weighed];
        if (node >= 0) specp_mix_learn_reach(s, t, m->node[node].reach, &r->c);
        specp_mix_learn(s, t, &r->c, tok[i]);
        node = child_of(m, node, tok[i]);
        if (node < 0 || !m->node[node].weighed) return;
    }
}

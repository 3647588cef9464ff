/* SPDX-License-Identifier: MIT */
/*
 * The draft tree: a struct of arrays in one block.
 *
 *     | token (cap) | parent (cap) | prob (cap) | q_row (cap) | q (q_cap, vocab) | source (cap) |
 *       4 bytes       4              4            4             4                   1
 *
 * The four-byte arrays come first, so that each part is aligned without gaps.
 * Invariant: parent[i] < i, so a prefix of the nodes is a tree.
 */
#include "draft_internal.h"

#include <math.h>
#include <string.h>

static const char *const source_names[] = {
    [SPEC_SOURCE_OTHER] = "other",     [SPEC_SOURCE_OWN] = "own",     [SPEC_SOURCE_SHARED] = "shared",
    [SPEC_SOURCE_CORPUS] = "corpus",   [SPEC_SOURCE_NGRAM] = "ngram", [SPEC_SOURCE_LOOKUP] = "lookup",
    [SPEC_SOURCE_RECYCLE] = "recycle", [SPEC_SOURCE_HEAD] = "head",   [SPEC_SOURCE_MODEL] = "model",
    [SPEC_SOURCE_CONTROL] = "control",
};

const char *spec_source_name(int source) {
    if (source >= SPEC_SOURCE_USER && source <= UINT8_MAX) return "user";
    if (source < 0 || source > SPEC_SOURCE_CONTROL) return "other";
    return source_names[source];
}

/* ---- memory ------------------------------------------------------------ */

#define NODE_BYTES (2 * sizeof(int32_t) + sizeof(float) + sizeof(spec_token) + sizeof(uint8_t))

/* Bytes of the whole block, or 0 when that overflows. */
static size_t block_bytes(uint32_t cap, uint32_t q_cap, uint32_t vocab) {
    size_t nodes = (size_t)cap * NODE_BYTES;
    if (!q_cap) return nodes;
    if (vocab > (SIZE_MAX - nodes) / sizeof(float) / q_cap) return 0;
    return nodes + (size_t)q_cap * vocab * sizeof(float);
}

int spec_tree_init(spec_tree *t, uint32_t cap, uint32_t q_cap, uint32_t vocab, const spec_allocator *alloc) {
    if (!t || cap < 1 || cap > SPEC_TREE_MAX_NODES || (q_cap && !vocab)) return SPEC_ERR_INVALID;
    size_t bytes = block_bytes(cap, q_cap, vocab);
    char *block = bytes ? specp_alloc(alloc, bytes, 1) : NULL;
    if (!block) return SPEC_ERR_NOMEM;
    memset(t, 0, sizeof *t);
    t->token = (spec_token *)block;
    t->parent = (int32_t *)(t->token + cap);
    t->prob = (float *)(t->parent + cap);
    t->q_row = (int32_t *)(t->prob + cap);
    t->q = q_cap ? (float *)(t->q_row + cap) : NULL;
    t->source = (uint8_t *)(t->q_row + cap) + (bytes - (size_t)cap * NODE_BYTES);
    t->cap = cap;
    t->q_cap = q_cap;
    t->vocab = vocab;
    return SPEC_OK;
}

void spec_tree_release(spec_tree *t, const spec_allocator *alloc) {
    if (!t) return;
    if (t->token) specp_release(alloc, t->token, block_bytes(t->cap, t->q_cap, t->vocab), 1);
    memset(t, 0, sizeof *t);
}

/* ---- building and reading ---------------------------------------------- */

void spec_tree_clear(spec_tree *t) {
    t->n = 0;
    t->n_q = 0;
    t->score = 0;
    t->match_len = 0;
}

int32_t spec_tree_add(spec_tree *t, int32_t parent, spec_token token, float prob, int source) {
    if (t->n >= t->cap) return -1;
    uint32_t i = t->n++;
    t->token[i] = token;
    t->parent[i] = parent;
    t->prob[i] = prob;
    t->source[i] = (uint8_t)source;
    t->q_row[i] = -1;
    return (int32_t)i;
}

int32_t spec_tree_child(const spec_tree *t, int32_t parent, spec_token token) {
    uint32_t first = parent < 0 ? 0 : (uint32_t)parent + 1;
    for (uint32_t i = first; i < t->n; i++)
        if (t->parent[i] == parent && t->token[i] == token) return (int32_t)i;
    return -1;
}

uint32_t spec_tree_depth(const spec_tree *t, int32_t i) {
    uint32_t depth = 0;
    for (; i >= 0; i = t->parent[i]) depth++;
    return depth;
}

static void move_node(spec_tree *t, uint32_t to, uint32_t from, int32_t parent) {
    t->token[to] = t->token[from];
    t->parent[to] = parent;
    t->prob[to] = t->prob[from];
    t->source[to] = t->source[from];
    t->q_row[to] = t->q_row[from];
}

/* Drops nodes deeper than max_depth, and all after the first max_nodes that stay. */
static void clip_depth(spec_tree *t, uint32_t max_nodes, uint32_t max_depth) {
    uint16_t depth[SPEC_TREE_MAX_NODES]; /* by old index; > max_depth where the node goes */
    int16_t place[SPEC_TREE_MAX_NODES];  /* its new index */
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->n && kept < max_nodes; i++) {
        int32_t parent = t->parent[i];
        depth[i] = parent < 0 ? 1 : (uint16_t)(depth[parent] + 1);
        if (depth[i] > max_depth) continue;
        place[i] = (int16_t)kept;
        move_node(t, kept++, i, parent < 0 ? -1 : place[parent]);
    }
    t->n = kept;
}

void spec_tree_clip(spec_tree *t, uint32_t max_nodes, uint32_t max_depth) {
    if (t->n > SPEC_TREE_MAX_NODES) t->n = SPEC_TREE_MAX_NODES;
    if (max_depth < t->n) clip_depth(t, max_nodes, max_depth);
    if (t->n > max_nodes) t->n = max_nodes;
}

/* ---- the best nodes ------------------------------------------------------ */

/* Moves the k largest of v to its front, in any order (Hoare's selection); 0 < k < n. */
static void select_largest(float *v, size_t n, size_t k) {
    size_t low = 0, high = n - 1;
    while (low < high) {
        float pivot = v[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;; i++, j--) {
            while (v[i] > pivot) i++;
            while (v[j] < pivot) j--;
            if (i >= j) break;
            float x = v[i];
            v[i] = v[j];
            v[j] = x;
        }
        if (k <= j + 1)
            high = j;
        else
            low = j + 1;
    }
}

/* The smallest of the k largest probabilities, and in *ties how many nodes of just that
 * probability belong to the k. */
static float threshold(const spec_tree *t, uint32_t k, uint32_t *ties) {
    float v[SPEC_TREE_MAX_NODES];
    memcpy(v, t->prob, t->n * sizeof *v);
    select_largest(v, t->n, k);
    float least = v[0];
    for (uint32_t i = 1; i < k; i++) least = v[i] < least ? v[i] : least;
    *ties = 0;
    for (uint32_t i = 0; i < k; i++) *ties += v[i] == least;
    return least;
}

void specp_tree_keep_best(spec_tree *t, uint32_t max_nodes, uint32_t max_depth) {
    int16_t place[SPEC_TREE_MAX_NODES];
    uint32_t ties = 0, kept = 0;
    spec_tree_clip(t, SPEC_TREE_MAX_NODES, max_depth);
    if (t->n > max_nodes) {
        float least = threshold(t, max_nodes, &ties);
        for (uint32_t i = 0; i < t->n; i++) {
            bool keep = t->prob[i] > least || (t->prob[i] == least && ties > 0);
            if (!keep) continue;
            ties -= t->prob[i] == least;
            place[i] = (int16_t)kept;
            move_node(t, kept++, i, t->parent[i] < 0 ? -1 : place[t->parent[i]]);
        }
        t->n = kept;
    }
    t->score = 0;
    for (uint32_t i = 0; i < t->n; i++) t->score += t->prob[i];
}

void specp_tree_keep(spec_tree *t, const uint8_t *keep) {
    int16_t place[SPEC_TREE_MAX_NODES]; /* by old index; -1 where the node goes */
    uint32_t kept = 0, n = t->n < SPEC_TREE_MAX_NODES ? t->n : SPEC_TREE_MAX_NODES;
    for (uint32_t i = 0; i < n; i++) {
        int32_t parent = t->parent[i];
        if (parent >= (int32_t)i) return; /* not a tree: left to the verifier's complaint */
        place[i] = -1;
        if (!keep[i] || (parent >= 0 && place[parent] < 0)) continue;
        place[i] = (int16_t)kept;
        move_node(t, kept++, i, parent < 0 ? -1 : place[parent]);
    }
    if (kept == t->n) return;
    t->n = kept;
    t->score = 0;
    for (uint32_t i = 0; i < kept; i++) t->score += t->prob[i];
}

void specp_tree_prune(spec_tree *t, float min_prob) {
    uint8_t keep[SPEC_TREE_MAX_NODES], all = 1;
    uint32_t n = t->n < SPEC_TREE_MAX_NODES ? t->n : SPEC_TREE_MAX_NODES;
    for (uint32_t i = 0; i < n; i++) {
        int32_t by = t->q_row[i] < 0 ? (int32_t)i : t->parent[i];
        keep[i] = by < 0 || by > (int32_t)i || t->prob[by] >= min_prob;
        all &= keep[i];
    }
    if (!all) specp_tree_keep(t, keep);
}

/* ---- outcomes -------------------------------------------------------------- */

size_t specp_accepted_rows(const spec_outcome *o, uint32_t *row) {
    size_t n = 0;
    row[0] = 0;
    for (uint32_t i = 0; o->tree && i < o->tree->n; i++)
        if (o->accepted[i] && o->tree->parent[i] == (int32_t)row[n] - 1) row[++n] = i + 1;
    return n;
}

/* ---- check ------------------------------------------------------------- */

static int check_node(const spec_tree *t, uint32_t i, spec_message *why) {
    int32_t parent = t->parent[i];
    if (parent < -1 || parent >= (int32_t)i)
        return specp_fail(why, SPEC_ERR_INVALID, "node %u: parent %d is not before it", i, parent);
    if (t->token[i] < 0)
        return specp_fail(why, SPEC_ERR_INVALID, "node %u: token %d is negative", i, t->token[i]);
    float limit = parent < 0 ? 1.0f : t->prob[parent];
    if (!(t->prob[i] >= 0.0f && t->prob[i] <= limit)) /* catches NaN as well */
        return specp_fail(why, SPEC_ERR_INVALID, "node %u: probability %g is not in 0..%g", i,
                          (double)t->prob[i], (double)limit);
    if (t->q_row[i] < -1 || t->q_row[i] >= (int32_t)t->n_q)
        return specp_fail(why, SPEC_ERR_INVALID, "node %u: q row %d of %u", i, t->q_row[i], t->n_q);
    return SPEC_OK;
}

#define SLOTS (2 * SPEC_TREE_MAX_NODES) /* a power of two, at most half full */

/* Looks for two children of one node with one token, by a hash set of nodes. */
static int check_siblings(const spec_tree *t, spec_message *why) {
    uint16_t slot[SLOTS] = {0}; /* node + 1, 0 = free */
    for (uint32_t i = 0; i < t->n; i++) {
        uint64_t key = (uint64_t)(uint32_t)t->parent[i] << 32 | (uint32_t)t->token[i];
        uint32_t h = (uint32_t)specp_mix64(key) & (SLOTS - 1);
        for (; slot[h]; h = (h + 1) & (SLOTS - 1)) {
            uint32_t j = slot[h] - 1u;
            if (t->parent[j] == t->parent[i] && t->token[j] == t->token[i])
                return specp_fail(why, SPEC_ERR_INVALID, "nodes %u and %u: equal siblings, token %d", j, i,
                                  t->token[i]);
        }
        slot[h] = (uint16_t)(i + 1);
    }
    return SPEC_OK;
}

int spec_tree_check(const spec_tree *t, spec_message *why) {
    if (t->n > t->cap || t->n > SPEC_TREE_MAX_NODES)
        return specp_fail(why, SPEC_ERR_INVALID, "%u nodes, room for %u, limit %d", t->n, t->cap,
                          SPEC_TREE_MAX_NODES);
    if (t->n_q > t->q_cap)
        return specp_fail(why, SPEC_ERR_INVALID, "%u q rows, room for %u", t->n_q, t->q_cap);
    if (!isfinite(t->score)) return specp_fail(why, SPEC_ERR_INVALID, "the score is not a number");
    for (uint32_t i = 0; i < t->n; i++)
        if (check_node(t, i, why)) return SPEC_ERR_INVALID;
    return check_siblings(t, why);
}

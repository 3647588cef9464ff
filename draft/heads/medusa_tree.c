/* SPDX-License-Identifier: MIT */
/*
 * Medusa's static tree, from a list of paths or from calibrated accuracies.
 *
 * Paths are sorted by (length, ranks). In that order the parents of successive
 * nodes stand in order too, so one cursor that never goes back finds them all:
 *
 *     [0] [1] | [0,0] [0,1] [1,0] | [0,0,2]
 *      ^---------'-----'     |       |
 *          ^-----------------'       |
 *                ^-------------------'
 *
 * One block holds the three arrays: | parent (n) | depth (n) | rank (n) |
 */
#include "medusa_tree.h"

#include <stdio.h>
#include <string.h>

typedef struct path_list {
    const int32_t *rank; /* (n, width) */
    size_t n, width;
    uint16_t *length; /* (n) */
    uint16_t *order;  /* (n) sorted */
} path_list;

/* ---- paths ------------------------------------------------------------------ */

typedef struct shown_path {
    char text[128];
} shown_path;

/* "[0, 2, 1]", cut off where it is too long. */
static shown_path show(const path_list *l, size_t path) {
    shown_path s = {"["};
    size_t at = 1;
    for (size_t d = 0; d < l->length[path] && at < sizeof s.text - 24; d++)
        at += (size_t)snprintf(s.text + at, sizeof s.text - at, d == 0 ? "%d" : ", %d",
                               (int)l->rank[path * l->width + d]);
    (void)snprintf(s.text + at, sizeof s.text - at, "]");
    return s;
}

/* <0, 0, >0: the path's first n ranks against those of path b, which has n. */
static int compare_ranks(const path_list *l, size_t a, size_t b, size_t n) {
    const int32_t *x = l->rank + a * l->width, *y = l->rank + b * l->width;
    for (size_t d = 0; d < n; d++)
        if (x[d] != y[d]) return x[d] < y[d] ? -1 : 1;
    return 0;
}

static int compare(const path_list *l, size_t a, size_t b) {
    if (l->length[a] != l->length[b]) return l->length[a] < l->length[b] ? -1 : 1;
    return compare_ranks(l, a, b, l->length[a]);
}

static int measure(path_list *l, spec_message *why) {
    for (size_t i = 0; i < l->n; i++) {
        const int32_t *rank = l->rank + i * l->width;
        size_t n = 0;
        while (n < l->width && rank[n] >= 0) n++;
        l->length[i] = (uint16_t)n;
        for (size_t d = n; d < l->width; d++)
            if (rank[d] != -1)
                return specp_fail(why, SPEC_ERR_INVALID, "path %zu has %d after its end", i, (int)rank[d]);
        if (n == 0) return specp_fail(why, SPEC_ERR_INVALID, "path %zu is empty", i);
        for (size_t d = 0; d < n; d++)
            if (rank[d] >= SPECP_MEDUSA_MAX_RANKS)
                return specp_fail(why, SPEC_ERR_INVALID, "path %zu, %s: rank %d, expected less than %d", i,
                                  show(l, i).text, (int)rank[d], SPECP_MEDUSA_MAX_RANKS);
    }
    return SPEC_OK;
}

/* Lists are short and mostly in order. */
static void sort(path_list *l) {
    for (size_t i = 0; i < l->n; i++) {
        size_t at = i;
        for (; at > 0 && compare(l, l->order[at - 1], i) > 0; at--) l->order[at] = l->order[at - 1];
        l->order[at] = (uint16_t)i;
    }
}

/* Fills the tree, which has its arrays, from the sorted list. */
static int link_nodes(specp_medusa_tree *t, const path_list *l, spec_message *why) {
    size_t cursor = 0;
    for (size_t i = 0; i < l->n; i++) {
        size_t path = l->order[i], above = l->length[path] - 1u;
        if (i > 0 && compare(l, l->order[i - 1], path) == 0)
            return specp_fail(why, SPEC_ERR_INVALID, "path %s is listed twice", show(l, path).text);
        while (above > 0 &&
               (l->length[l->order[cursor]] < above || (l->length[l->order[cursor]] == above &&
                                                        compare_ranks(l, l->order[cursor], path, above) < 0)))
            cursor++;
        if (above > 0 &&
            (l->length[l->order[cursor]] != above || compare_ranks(l, l->order[cursor], path, above) != 0))
            return specp_fail(why, SPEC_ERR_INVALID, "path %s is listed, but not the one that it prolongs",
                              show(l, path).text);
        t->parent[i] = (int16_t)(above > 0 ? (int)cursor : -1);
        t->depth[i] = (uint8_t)l->length[path];
        t->rank[i] = (uint8_t)l->rank[path * l->width + above];
        if (t->rank[i] >= t->n_ranks) t->n_ranks = t->rank[i] + 1u;
    }
    t->n_heads = t->depth[l->n - 1];
    return SPEC_OK;
}

/* ---- the tree ---------------------------------------------------------------- */

#define NODE_BYTES (sizeof(int16_t) + 2 * sizeof(uint8_t))

static int allocate(specp_medusa_tree *t, size_t n, const spec_allocator *alloc) {
    *t = (specp_medusa_tree){.n = (uint32_t)n, .parent = specp_alloc(alloc, n, NODE_BYTES)};
    if (t->parent == NULL) return SPEC_ERR_NOMEM;
    t->depth = (uint8_t *)(t->parent + n);
    t->rank = t->depth + n;
    return SPEC_OK;
}

void specp_medusa_tree_release(specp_medusa_tree *t, const spec_allocator *alloc) {
    specp_release(alloc, t->parent, t->n, NODE_BYTES);
    *t = (specp_medusa_tree){0};
}

int specp_medusa_tree_init(specp_medusa_tree *t, const int32_t *paths, size_t n, size_t width,
                           const spec_allocator *alloc, spec_message *why) {
    if (n < 1 || n > SPEC_TREE_MAX_NODES)
        return specp_fail(why, SPEC_ERR_INVALID, "%zu paths, expected 1 to %d", n, SPEC_TREE_MAX_NODES);
    if (width < 1 || width > SPECP_MEDUSA_MAX_HEADS)
        return specp_fail(why, SPEC_ERR_INVALID, "paths for %zu heads, expected 1 to %d", width,
                          SPECP_MEDUSA_MAX_HEADS);
    specp_medusa_tree made = {0};
    uint16_t *work = specp_alloc(alloc, n, 2 * sizeof *work);
    int err = work != NULL ? allocate(&made, n, alloc) : SPEC_ERR_NOMEM;
    if (err != SPEC_OK) (void)specp_fail(why, err, "there is not enough memory for a tree of %zu nodes", n);
    if (err == SPEC_OK) {
        path_list l = {.rank = paths, .n = n, .width = width, .length = work, .order = work + n};
        err = measure(&l, why);
        if (err == SPEC_OK) {
            sort(&l);
            err = link_nodes(&made, &l, why);
        }
    }
    specp_release(alloc, work, n, 2 * sizeof *work);
    if (err == SPEC_OK)
        *t = made;
    else
        specp_medusa_tree_release(&made, alloc);
    return err;
}

/* ---- text ---------------------------------------------------------------------- */

/* One path from `text`, before a '/' or the end, to row (width) of ranks. Returns its length, or 0. */
static size_t read_path(const char *text, size_t n, int32_t *row, size_t width) {
    size_t i = 0;
    for (; i < n && text[i] != '/'; i++) {
        if (i == width || text[i] < '0' || text[i] > '9') return 0;
        row[i] = text[i] - '0';
    }
    for (size_t d = i; d < width; d++) row[d] = -1;
    return i;
}

int specp_medusa_tree_parse(specp_medusa_tree *t, const char *text, size_t n, const spec_allocator *alloc,
                            spec_message *why) {
    const size_t width = SPECP_MEDUSA_MAX_HEADS;
    size_t paths = 1;
    for (size_t i = 0; i < n; i++) paths += text[i] == '/';
    int32_t *rank = specp_alloc(alloc, paths, width * sizeof *rank);
    if (!rank) return specp_fail(why, SPEC_ERR_NOMEM, "there is not enough memory for %zu paths", paths);
    int err = SPEC_OK;
    for (size_t p = 0, at = 0; p < paths && err == SPEC_OK; p++) {
        size_t len = read_path(text + at, n - at, rank + p * width, width);
        if (!len)
            err = specp_fail(why, SPEC_ERR_INVALID,
                             "path %zu, '%.*s': expected 1 to %zu digits, a rank each, and '/' behind", p,
                             (int)(n - at < 20 ? n - at : 20), text + at, width);
        at += len + 1;
    }
    if (err == SPEC_OK) err = specp_medusa_tree_init(t, rank, paths, width, alloc, why);
    specp_release(alloc, rank, paths, width * sizeof *rank);
    return err;
}

/* ---- calibration ------------------------------------------------------------- */

/* The tree while it grows. A node's children are added best first, so each node offers one. */
typedef struct growth {
    const double *accuracy; /* (n_heads, n_ranks) */
    size_t n_heads, n_ranks, n;
    uint8_t *by_accuracy; /* (n_heads, n_ranks) ranks, best first, equal ones in order */
    int32_t *paths;       /* (n, n_heads) */
    struct grown {
        double value;
        uint16_t depth, children;
    } * node; /* (n + 1) the root is the first */
} growth;

static int check_accuracy(const double *accuracy, size_t n_heads, size_t n_ranks, size_t n,
                          spec_message *why) {
    if (n_heads < 1 || n_heads > SPECP_MEDUSA_MAX_HEADS || n_ranks < 1 || n_ranks > SPECP_MEDUSA_MAX_RANKS)
        return specp_fail(why, SPEC_ERR_INVALID,
                          "accuracies of %zu heads and %zu ranks, expected 1 to %d, 1 to %d", n_heads,
                          n_ranks, SPECP_MEDUSA_MAX_HEADS, SPECP_MEDUSA_MAX_RANKS);
    if (n < 1 || n > SPEC_TREE_MAX_NODES)
        return specp_fail(why, SPEC_ERR_INVALID, "a tree of %zu nodes, expected 1 to %d", n,
                          SPEC_TREE_MAX_NODES);
    for (size_t i = 0; i < n_heads * n_ranks; i++)
        if (!(accuracy[i] >= 0.0 && accuracy[i] <= 1.0))
            return specp_fail(why, SPEC_ERR_INVALID, "head %zu, rank %zu: accuracy %g is not in 0..1",
                              i / n_ranks, i % n_ranks, accuracy[i]);
    return SPEC_OK;
}

static void order_ranks(const growth *g) {
    for (size_t h = 0; h < g->n_heads; h++) {
        const double *accuracy = g->accuracy + h * g->n_ranks;
        uint8_t *order = g->by_accuracy + h * g->n_ranks;
        for (size_t r = 0; r < g->n_ranks; r++) {
            size_t at = r;
            for (; at > 0 && accuracy[order[at - 1]] < accuracy[r]; at--) order[at] = order[at - 1];
            order[at] = (uint8_t)r;
        }
    }
}

/* The rank of the next child that a node offers, and in *value what it counts; 0: it offers none. */
static uint8_t offer(const growth *g, const struct grown *node, double *value) {
    *value = 0.0;
    if (node->depth == g->n_heads || node->children == g->n_ranks) return 0;
    uint8_t rank = g->by_accuracy[node->depth * g->n_ranks + node->children];
    *value = node->value * g->accuracy[node->depth * g->n_ranks + rank];
    return rank;
}

/* Adds the best offer, of equal ones that of the oldest node. Node i has path i - 1. */
static bool grow(growth *g, size_t n) {
    double best = 0.0, value;
    size_t parent = 0;
    for (size_t i = 0; i <= n; i++) {
        (void)offer(g, &g->node[i], &value);
        if (value > best) {
            best = value;
            parent = i;
        }
    }
    if (!(best > 0.0)) return false;
    struct grown *from = &g->node[parent];
    int32_t *path = g->paths + n * g->n_heads;
    const int32_t *above = parent > 0 ? g->paths + (parent - 1) * g->n_heads : path;
    for (size_t d = 0; d < g->n_heads; d++) path[d] = d < from->depth ? above[d] : -1;
    path[from->depth] = offer(g, from, &value);
    from->children++;
    g->node[n + 1] = (struct grown){best, (uint16_t)(from->depth + 1), 0};
    return true;
}

int specp_medusa_tree_build(specp_medusa_tree *t, const double *accuracy, size_t n_heads, size_t n_ranks,
                            size_t n, double *expected, const spec_allocator *alloc, spec_message *why) {
    int err = check_accuracy(accuracy, n_heads, n_ranks, n, why);
    if (err != SPEC_OK) return err;
    growth g = {.accuracy = accuracy, .n_heads = n_heads, .n_ranks = n_ranks, .n = n};
    g.by_accuracy = specp_alloc(alloc, n_heads, n_ranks);
    g.paths = specp_alloc(alloc, n, n_heads * sizeof *g.paths);
    g.node = specp_alloc(alloc, n + 1, sizeof *g.node);
    if (g.by_accuracy == NULL || g.paths == NULL || g.node == NULL) {
        err = specp_fail(why, SPEC_ERR_NOMEM, "there is not enough memory for a tree of %zu nodes", n);
    } else {
        double sum = 0.0;
        size_t grown = 0;
        g.node[0] = (struct grown){.value = 1.0};
        order_ranks(&g);
        while (grown < n && grow(&g, grown)) sum += g.node[++grown].value;
        err = grown > 0 ? specp_medusa_tree_init(t, g.paths, grown, n_heads, alloc, why)
                        : specp_fail(why, SPEC_ERR_INVALID, "no rank of head 0 was ever right");
        if (err == SPEC_OK && expected != NULL) *expected = sum;
    }
    specp_release(alloc, g.node, n + 1, sizeof *g.node);
    specp_release(alloc, g.paths, n, n_heads * sizeof *g.paths);
    specp_release(alloc, g.by_accuracy, n_heads, n_ranks);
    return err;
}

int specp_medusa_tree_guess(specp_medusa_tree *t, size_t n_heads, size_t n_ranks, size_t nodes,
                            const spec_allocator *alloc, spec_message *why) {
    double accuracy[SPECP_MEDUSA_MAX_HEADS * 16], head = 0.5;
    if (n_ranks > 16) n_ranks = 16;
    if (n_heads > SPECP_MEDUSA_MAX_HEADS) n_heads = SPECP_MEDUSA_MAX_HEADS;
    for (size_t h = 0; h < n_heads; h++, head *= 0.7)
        for (size_t r = 0; r < n_ranks; r++) accuracy[h * n_ranks + r] = head / (double)((r + 1) * (r + 1));
    return specp_medusa_tree_build(t, accuracy, n_heads, n_ranks, nodes, NULL, alloc, why);
}

/* ---- a draft ----------------------------------------------------------------- */

void specp_medusa_tree_draft(const specp_medusa_tree *t, const spec_token *token, const float *prob, size_t k,
                             spec_tree *out) {
    spec_tree_clear(out);
    for (size_t i = 0; i < t->n && out->n < out->cap; i++) {
        size_t pick = (t->depth[i] - 1u) * k + t->rank[i];
        float p = t->parent[i] < 0 ? prob[pick] : out->prob[t->parent[i]] * prob[pick];
        (void)spec_tree_add(out, t->parent[i], token[pick], p, SPEC_SOURCE_HEAD);
        out->score += p;
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * Attention of an EAGLE-3 head's nodes.
 *
 * A node sees all stable rows, its ancestors below the root, and itself. Scores lie by
 * position, wherever their K is, and weighted values are added in that order:
 *
 *     cache     k0 k1 ... k(n-1)        scratch   - k1 k2 k3        node 3's path: 1, 3
 *     scores    s0 s1 ... s(n-1) s(1) s(3)
 *
 * so a node comes out as if its path were a chain. An item of work is a tile, rows
 * of one request, at a KV head: what its queries see in common they read together.
 */
#include <string.h>

#include "eagle3_internal.h"

#define QUERIES 24 /* of an item, unless one row alone has more: two of the kernels' largest tiles */

static size_t ceil_div(size_t a, size_t b) { return a / b + (a % b != 0); }
static size_t whole_lines(size_t floats) { return ceil_div(floats, 16) * 16; }

/* ---- the plan --------------------------------------------------------------------- */

int specp_eagle3_reserve_attention(specp_eagle3 *h, size_t rows, size_t nodes) {
    const specp_eagle3_info *s = &h->info;
    size_t group = s->n_heads / s->n_kv_heads, threads = specp_team_size(h->o.team), n;
    h->tile_rows = group < QUERIES ? QUERIES / group : 1;
    h->lds = whole_lines(rows + nodes) + 16; /* a line more: rows do not fall on the same cache sets */
    h->node_lds = whole_lines(nodes) + 16;
    h->thread_floats =
        h->tile_rows * group * (h->lds + h->node_lds + 2 * whole_lines(s->head_dim) + 1) + nodes + 16;
    n = threads * h->thread_floats;
    if (n <= h->n_attention) return SPEC_OK;
    float *more = specp_alloc(&h->alloc, n, sizeof *more);
    if (more == NULL) return SPEC_ERR_NOMEM;
    specp_release(&h->alloc, h->attention, h->n_attention, sizeof *h->attention);
    h->attention = more;
    h->n_attention = n;
    return SPEC_OK;
}

size_t specp_eagle3_cut_tiles(specp_eagle3 *h, size_t n) {
    size_t tiles = 0;
    for (size_t i = 0; i < n; tiles++) {
        size_t end = i + 1;
        while (end < n && end - i < h->tile_rows && h->row[end].request == h->row[i].request) end++;
        h->tile[tiles] = (specp_eagle3_tile){i, end - i};
        i = end;
    }
    return tiles;
}

/* ---- an item ---------------------------------------------------------------------- */

/* Queries are numbered by row, then by head. */
typedef struct work {
    const specp_eagle3 *h;
    const specp_eagle3_row *row; /* (n_rows) */
    const specp_eagle3_request *r;
    size_t n_rows, group, n_q, kv_head, head_dim;
    float *q, *acc; /* (n_q, head_dim) */
    float *s;       /* (n_q, lds) scores by position */
    float *node_s;  /* (n_q, node_lds) scores by node */
    float *sum;     /* (n_q) of the exponentials */
    int32_t *path;  /* nodes of a row, from below the root down */
} work;

/* Fills w->path; returns its length. */
static size_t find_path(const work *w, size_t node) {
    size_t depth = specp_eagle3_depth(w->r, node);
    for (size_t j = depth; j-- > 0; node = (size_t)w->r->parent[node]) w->path[j] = (int32_t)node;
    return depth;
}

/* Scores of all queries with positions 0..n-1 of kv, and what shares their blocks. */
static void add_scores(const work *w, const specp_kv *kv, size_t n, float *s, size_t lds) {
    for (size_t c = 0; c * SPECP_KV_CHUNK < n; c++) {
        size_t rest = n - c * SPECP_KV_CHUNK, in = rest < SPECP_KV_CHUNK ? rest : SPECP_KV_CHUNK;
        w->h->k.scores(w->q, w->head_dim, w->n_q, specp_kv_k(kv, c, 0, w->kv_head), kv->type, w->head_dim, 0,
                       ceil_div(in, SPECP_KV_BLOCK), w->h->scale, s + c * SPECP_KV_CHUNK, lds);
    }
}

/* Scores become exponentials, those of a row's path behind those of the stable rows. */
static void weigh(const work *w) {
    for (size_t i = 0; i < w->n_rows; i++) {
        size_t n = find_path(w, w->row[i].node);
        for (size_t query = i * w->group; query < (i + 1) * w->group; query++) {
            float *s = w->s + query * w->h->lds;
            for (size_t j = 0; j < n; j++) s[w->r->n + j] = w->node_s[query * w->h->node_lds + w->path[j]];
            w->sum[query] = w->h->k.softmax(s, w->r->n + n);
        }
    }
}

/* Adds positions [from, from + n) of a chunk, weighted by p, to n_q accumulators from `query` on. */
static void add_values(const work *w, const specp_kv *kv, size_t c, size_t from, size_t n, const float *p,
                       size_t query, size_t n_q) {
    const float *v = (const float *)specp_kv_v(kv, c, 0, w->kv_head) + from * w->head_dim;
    w->h->k.values(p, w->h->lds, n_q, v, kv->type, w->head_dim, 0, n, w->acc + query * w->head_dim,
                   w->head_dim);
}

static void add_up(const work *w) {
    size_t stable = w->r->n;
    for (size_t done = 0; done < stable; done += SPECP_KV_CHUNK) {
        size_t n = stable - done < SPECP_KV_CHUNK ? stable - done : SPECP_KV_CHUNK;
        add_values(w, &w->r->cache, done / SPECP_KV_CHUNK, 0, n, w->s + done, 0, w->n_q);
    }
    for (size_t i = 0; i < w->n_rows; i++) {
        size_t n = find_path(w, w->row[i].node), query = i * w->group;
        for (size_t j = 0; j < n; j++) {
            size_t node = (size_t)w->path[j];
            add_values(w, &w->r->scratch, node / SPECP_KV_CHUNK, node % SPECP_KV_CHUNK, 1,
                       w->s + query * w->h->lds + stable + j, query, w->group);
        }
    }
}

/* ---- all items -------------------------------------------------------------------- */

void specp_eagle3_attend(const specp_eagle3 *h, size_t item, unsigned thread) {
    const specp_eagle3_info *s = &h->info;
    const specp_eagle3_tile *tile = &h->tile[item / s->n_kv_heads];
    size_t group = s->n_heads / s->n_kv_heads, width = group * s->head_dim, nodes = 0;
    work w = {.h = h,
              .row = h->row + tile->first,
              .r = h->row[tile->first].request,
              .n_rows = tile->n,
              .group = group,
              .n_q = tile->n * group,
              .kv_head = item % s->n_kv_heads,
              .head_dim = s->head_dim};
    w.s = h->attention + thread * h->thread_floats;
    w.node_s = w.s + w.n_q * h->lds;
    w.q = w.node_s + w.n_q * h->node_lds;
    w.acc = w.q + w.n_q * whole_lines(w.head_dim);
    w.sum = w.acc + w.n_q * whole_lines(w.head_dim);
    w.path = (int32_t *)(w.sum + whole_lines(w.n_q));
    for (size_t i = 0; i < tile->n; i++) {
        const float *q = h->qkv + (tile->first + i) * h->ld_qkv + w.kv_head * width;
        memcpy(w.q + i * width, q, width * sizeof *q);
        if (w.row[i].node != 0) nodes = w.row[i].node + 1; /* they rise */
    }
    memset(w.acc, 0, w.n_q * w.head_dim * sizeof *w.acc);
    add_scores(&w, &w.r->cache, w.r->n, w.s, h->lds);
    if (nodes > 0) add_scores(&w, &w.r->scratch, nodes, w.node_s, h->node_lds);
    weigh(&w);
    add_up(&w);
    for (size_t query = 0; query < w.n_q; query++)
        h->k.scale(w.acc + query * w.head_dim, 1.0f / w.sum[query], w.head_dim);
    for (size_t i = 0; i < tile->n; i++)
        memcpy(h->heads.x + (tile->first + i) * h->heads.n_in + w.kv_head * width, w.acc + i * width,
               width * sizeof *w.acc);
}

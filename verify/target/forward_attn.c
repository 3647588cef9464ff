/* SPDX-License-Identifier: MIT */
/*
 * forward_attn.c - attention over caches and draft trees.
 *
 * A row at position p sees the cache below its own (a tree's rows: the whole
 * prefix), then, in a tree, its ancestors and itself. Scores lie by absolute
 * position, whatever their K's place:
 *
 *     cache     k0 k1 ... k(prefix-1)     scratch    n0 n1 n2 n3       n3's path: n0, n2, n3
 *     scores    s0 s1 ... s(prefix-1)  s(n0) s(n2) s(n3)               positions first..p
 *
 * and weighted values are added in the order of positions. So a row comes out as
 * if its path were plain text, and whatever shares its tile leaves no trace: what
 * rows of a tile see in common is computed together, the rest row by row.
 *
 * An item of work is a tile of rows, a KV head, and some of its query heads: n_q queries
 * that read the same K and V.
 */
#include "forward.h"

#include <string.h>

#define QUERIES 24 /* of an item of work, at most: two of the largest tiles that kernels have */

/* ---- the plan ------------------------------------------------------------- */

static size_t ceil_div(size_t a, size_t b) { return a / b + (a % b != 0); }
static size_t whole_lines(size_t floats) { return ceil_div(floats, 16) * 16; }

/* Items as large as possible, but enough of them for the threads. */
void specp_attention_plan_make(specp_attention_plan *p, const spec_target *t, const specp_batch *b) {
    const specp_model *m = &t->model;
    size_t group = m->n_heads / m->n_kv_heads, threads = specp_team_size(t->team);
    p->head_tile = group < QUERIES ? group : QUERIES;
    p->tile_rows = QUERIES / p->head_tile;
    for (;;) {
        p->n_head_tiles = ceil_div(group, p->head_tile);
        size_t items = ceil_div(b->n_rows, p->tile_rows) * m->n_kv_heads * p->n_head_tiles;
        bool large = p->tile_rows * p->head_tile >= 4;
        if (items >= (large ? 2 * threads : threads) || p->tile_rows * p->head_tile == 1) break;
        if (p->tile_rows > 1) {
            p->tile_rows = ceil_div(p->tile_rows, 2);
        } else {
            p->head_tile = ceil_div(p->head_tile, 2);
        }
    }
    /* a line more than whole blocks: rows of scores do not fall on the same cache sets */
    p->lds = whole_lines(b->longest) + 16;
    p->tree_lds = b->most_nodes ? whole_lines(b->most_nodes) + 16 : 0;
    p->thread_floats =
        p->tile_rows * p->head_tile * (p->lds + p->tree_lds + 2 * whole_lines(m->head_dim) + 1);
    p->thread_floats = whole_lines(p->thread_floats);
}

/* ---- q, k, v -------------------------------------------------------------- */

/* n_heads heads of a projection: bias, norm and rotation. */
static void finish_heads(const specp_run *r, float *x, size_t n_heads, const float *bias, const float *norm,
                         size_t row) {
    const specp_model *m = r->m;
    size_t n = n_heads * m->head_dim, half = m->rope_dim / 2, table = r->layer->rope;
    if (bias) r->k->add(x, bias, n);
    if (norm && m->arch->qk_norm == SPECP_QK_WHOLE) r->k->rmsnorm(x, norm, m->eps, x, n);
    for (size_t h = 0; h < n_heads; h++) {
        float *head = x + h * m->head_dim;
        if (norm && m->arch->qk_norm == SPECP_QK_HEAD) r->k->rmsnorm(head, norm, m->eps, head, m->head_dim);
        r->k->rope(head, r->f->cos[table] + row * half, r->f->sin[table] + row * half, m->rope_dim, m->neox);
    }
}

/* K and V of a row to the cache, or to the scratch of its tree. */
static void store_kv(const specp_run *r, const specp_row *row, const float *k, const float *v) {
    const spec_sequence *s = r->f->batch.item[row->item].sequence;
    const specp_kv *kv = row->node == SPECP_FED ? &s->cache : &s->scratch;
    size_t pos = row->node == SPECP_FED ? row->position : (size_t)row->node;
    size_t c = pos / SPECP_KV_CHUNK, in = pos % SPECP_KV_CHUNK;
    for (size_t h = 0; h < kv->n_heads; h++) {
        size_t at = h * kv->head_dim;
        r->k->store_k(k + at, specp_kv_k(kv, c, r->l, h), kv->type, kv->head_dim, in);
        r->k->store_v(v + at, specp_kv_v(kv, c, r->l, h), kv->type, kv->head_dim, in);
    }
}

static void qkv_rows(const specp_run *r, size_t begin, size_t end) {
    const specp_model *m = r->m;
    const specp_layer *l = r->layer;
    size_t n_q = m->n_heads * m->head_dim, n_kv = m->n_kv_heads * m->head_dim;
    for (size_t i = begin; i < end; i++) {
        float *q = r->f->qkv + i * r->f->ld_qkv, *k = q + n_q, *v = k + n_kv;
        finish_heads(r, q, m->n_heads, l->q_bias, l->q_norm, i);
        finish_heads(r, k, m->n_kv_heads, l->k_bias, l->k_norm, i);
        if (l->v_bias) r->k->add(v, l->v_bias, n_kv);
        store_kv(r, &r->part->row[i], k, v);
    }
}

void specp_run_qkv(const specp_run *r) {
    const specp_layer *l = r->layer;
    size_t n_q = l->q.n_out, n_kv = l->k.n_out, ld = r->f->ld_qkv;
    float *q = r->f->qkv;
    const specp_product p[] = {{&l->q, q, ld}, {&l->k, q + n_q, ld}, {&l->v, q + n_q + n_kv, ld}};
    specp_run_products(r, p, 3, &r->f->in, qkv_rows);
}

/* ---- an item of work ------------------------------------------------------ */

/* Queries are numbered by row, then by head. */
typedef struct work {
    const specp_run *r;
    const specp_row *row; /* (n_rows) of one item */
    const specp_item *item;
    size_t n_rows, n_heads, n_q, kv_head, head_dim, window;
    size_t lds, tree_lds;
    float *q, *acc; /* (n_q, head_dim) */
    float *s;       /* (n_q, lds) scores by position */
    float *node_s;  /* (n_q, tree_lds) scores by node */
    float *sum;     /* (n_q) of the exponentials */
    uint32_t *path; /* nodes from the root down to a row's own */
} work;

/* The positions that row i sees: [first, end), of which those below `cached` are in the cache. */
typedef struct span {
    size_t first, cached, end;
} span;

static span span_of(const work *w, size_t i) {
    const specp_row *row = &w->row[i];
    size_t end = (size_t)row->position + 1;
    size_t first = w->window && end > w->window ? end - w->window : 0;
    size_t cached = row->node == SPECP_FED ? end : w->item->n_prefix;
    return (span){first, cached > first ? cached : first, end};
}

/* Fills w->path; returns its length. */
static size_t find_path(const work *w, size_t i) {
    size_t depth = w->row[i].position - w->item->n_prefix;
    int32_t node = w->row[i].node;
    for (size_t j = depth + 1; j-- > 0; node = w->item->parent[node]) w->path[j] = (uint32_t)node;
    return depth + 1;
}

/* Scores of all queries with positions [from, to) of kv, and what shares their blocks. */
static void add_scores(const work *w, const specp_kv *kv, size_t from, size_t to, float *s, size_t lds) {
    for (size_t c = from / SPECP_KV_CHUNK; c * SPECP_KV_CHUNK < to; c++) {
        size_t begin = c * SPECP_KV_CHUNK, end = begin + SPECP_KV_CHUNK;
        begin = from > begin ? from : begin;
        end = to < end ? to : end;
        w->r->k->scores(w->q, w->head_dim, w->n_q, specp_kv_k(kv, c, w->r->l, w->kv_head), kv->type,
                        w->head_dim, begin % SPECP_KV_CHUNK / SPECP_KV_BLOCK,
                        ceil_div(end - c * SPECP_KV_CHUNK, SPECP_KV_BLOCK), w->r->m->attn_scale,
                        s + c * SPECP_KV_CHUNK, lds);
    }
}

/* Adds to the accumulators of n rows, from row i on, positions [from, to) of kv, weighted by p. */
static void add_values(const work *w, const specp_kv *kv, size_t i, size_t n, size_t from, size_t to,
                       const float *p, size_t ldp) {
    size_t query = i * w->n_heads;
    for (size_t c = from / SPECP_KV_CHUNK; from < to; c++) {
        size_t base = c * SPECP_KV_CHUNK, end = to - base < SPECP_KV_CHUNK ? to : base + SPECP_KV_CHUNK;
        w->r->k->values(p + query * ldp + base, ldp, n * w->n_heads, specp_kv_v(kv, c, w->r->l, w->kv_head),
                        kv->type, w->head_dim, from - base, end - base, w->acc + query * w->head_dim,
                        w->head_dim);
        from = end;
    }
}

static void score(const work *w) {
    const spec_sequence *s = w->item->sequence;
    size_t first = SIZE_MAX, cached = 0, nodes = 0;
    for (size_t i = 0; i < w->n_rows; i++) {
        span at = span_of(w, i);
        if (at.first < at.cached) { /* a window may begin in the tree, behind all that is cached */
            first = at.first < first ? at.first : first;
            cached = at.cached > cached ? at.cached : cached;
        }
        if (w->row[i].node != SPECP_FED) nodes = (size_t)w->row[i].node + 1;
    }
    if (cached) add_scores(w, &s->cache, first, cached, w->s, w->lds);
    if (nodes) add_scores(w, &s->scratch, 0, nodes, w->node_s, w->tree_lds);
}

/* Exchanges the scores of row i's path between their places by node and by position. */
static void move_path(const work *w, size_t i, bool to_positions) {
    size_t n = find_path(w, i), prefix = w->item->n_prefix;
    for (size_t h = 0; h < w->n_heads; h++) {
        float *s = w->s + (i * w->n_heads + h) * w->lds + prefix;
        float *node_s = w->node_s + (i * w->n_heads + h) * w->tree_lds;
        for (size_t j = 0; j < n; j++) {
            if (to_positions) {
                s[j] = node_s[w->path[j]];
            } else {
                node_s[w->path[j]] = s[j];
            }
        }
    }
}

/* Scores become exponentials. */
static void weigh(const work *w) {
    const specp_kernels *k = w->r->k;
    float cap = w->r->m->attn_softcap;
    for (size_t i = 0; i < w->n_rows; i++) {
        span at = span_of(w, i);
        if (w->row[i].node != SPECP_FED) move_path(w, i, true);
        for (size_t h = 0; h < w->n_heads; h++) {
            size_t query = i * w->n_heads + h;
            float *s = w->s + query * w->lds + at.first;
            if (cap > 0.0f) k->softcap(s, cap, at.end - at.first);
            w->sum[query] = k->softmax(s, at.end - at.first);
        }
    }
}

/* Runs of nodes that follow one another, as those of a chain do, go in one call. */
static void add_path_values(const work *w, size_t i) {
    span at = span_of(w, i);
    size_t n = find_path(w, i), j = at.cached - w->item->n_prefix;
    const specp_kv *kv = &w->item->sequence->scratch;
    move_path(w, i, false);
    while (j < n) {
        size_t from = w->path[j], to = from + 1;
        for (j++; j < n && w->path[j] == to; j++) to++;
        add_values(w, kv, i, 1, from, to, w->node_s, w->tree_lds);
    }
}

/* What all rows see of the cache together, before and after it what only some do. */
static void add_up(const work *w) {
    const specp_kv *cache = &w->item->sequence->cache;
    size_t begin = 0, end = SIZE_MAX;
    for (size_t i = 0; i < w->n_rows; i++) {
        span at = span_of(w, i);
        begin = at.first > begin ? at.first : begin;
        end = at.cached < end ? at.cached : end;
    }
    end = end > begin ? end : begin;
    for (size_t i = 0; i < w->n_rows; i++) {
        span at = span_of(w, i);
        size_t to = at.cached < begin ? at.cached : begin;
        add_values(w, cache, i, 1, at.first, to, w->s, w->lds);
    }
    add_values(w, cache, 0, w->n_rows, begin, end, w->s, w->lds);
    for (size_t i = 0; i < w->n_rows; i++) {
        span at = span_of(w, i);
        add_values(w, cache, i, 1, end, at.cached, w->s, w->lds);
        if (w->row[i].node != SPECP_FED) add_path_values(w, i);
    }
}

/* ---- all items ------------------------------------------------------------ */

/* q of the item's queries side by side, and back where the results go. */
static void gather_queries(const work *w, size_t tile_first, size_t head) {
    size_t n = w->n_heads * w->head_dim;
    for (size_t i = 0; i < w->n_rows; i++) {
        const float *q = w->r->f->qkv + (tile_first + i) * w->r->f->ld_qkv + head * w->head_dim;
        memcpy(w->q + i * n, q, n * sizeof *q);
    }
    memset(w->acc, 0, w->n_q * w->head_dim * sizeof *w->acc);
}

static void put_results(const work *w, size_t tile_first, size_t head) {
    size_t n = w->n_heads * w->head_dim;
    for (size_t query = 0; query < w->n_q; query++) {
        w->r->k->scale(w->acc + query * w->head_dim, 1.0f / w->sum[query], w->head_dim);
    }
    for (size_t i = 0; i < w->n_rows; i++) {
        float *to = w->r->f->heads.x + (tile_first + i) * w->r->f->heads.n_in + head * w->head_dim;
        memcpy(to, w->acc + i * n, n * sizeof *to);
    }
}

static void attend(const specp_run *r, const specp_tile *tile, size_t kv_head, size_t head_tile) {
    const specp_attention_plan *p = &r->f->plan;
    size_t group = r->m->n_heads / r->m->n_kv_heads, first = head_tile * p->head_tile;
    size_t n_heads = group - first < p->head_tile ? group - first : p->head_tile;
    size_t n_q = tile->n * n_heads, head = kv_head * group + first;
    const specp_row *row = r->part->row + tile->first;
    work w = {.r = r,
              .row = row,
              .item = &r->f->batch.item[row->item],
              .n_rows = tile->n,
              .n_heads = n_heads,
              .n_q = n_q,
              .kv_head = kv_head,
              .head_dim = r->m->head_dim,
              .window = r->layer->window,
              .lds = p->lds,
              .tree_lds = p->tree_lds};
    w.s = r->f->attention + r->thread * p->thread_floats;
    w.node_s = w.s + n_q * p->lds;
    w.q = w.node_s + n_q * p->tree_lds;
    w.acc = w.q + n_q * whole_lines(w.head_dim);
    w.sum = w.acc + n_q * whole_lines(w.head_dim);
    w.path = r->f->path + r->thread * r->f->batch.most_nodes;
    gather_queries(&w, tile->first, head);
    score(&w);
    weigh(&w);
    add_up(&w);
    put_results(&w, tile->first, head);
}

/* Tile after tile on the same K and V, which are still in cache then. */
static void attend_items(const specp_run *r, size_t begin, size_t end) {
    size_t n_tiles = r->part->n_tiles, n_head_tiles = r->f->plan.n_head_tiles;
    for (size_t i = begin; i < end; i++) {
        size_t heads = i / n_tiles;
        attend(r, &r->part->tile[i % n_tiles], heads / n_head_tiles, heads % n_head_tiles);
    }
}

static void heads_rows(const specp_run *r, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) r->k->quantise(&r->f->heads, i);
}

void specp_run_attention(const specp_run *r) {
    size_t items = r->part->n_tiles * r->m->n_kv_heads * r->f->plan.n_head_tiles;
    specp_run_step(r, items, 1, attend_items, specp_reads_codes(r, &r->layer->o) ? heads_rows : NULL);
}

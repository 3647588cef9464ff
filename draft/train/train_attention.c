/* SPDX-License-Identifier: MIT */
/*
 * Causal attention, by tiles of TILE queries and TILE keys. Probabilities are
 * not kept for the backward pass: it computes a tile's again, from the logarithm of each
 * query's sum, and uses it up while it lies in the cache. A piece is a sequence's KV head
 * with all heads that read it, so that only one thread adds to its gradients.
 *
 *                 queries r0 ... r0+n     forward:    s = K Q^T, p = exp(s - largest so far)
 *     key k0      p p p p p p                         out^T = fade out^T + V^T p
 *     ...         . p p p p p             backward:   p = exp(K Q^T - lse)
 *     k0+n_k      . . p p p p                         ds = p (V dO^T - dO O)
 *                                                     dV += p dO, dK += ds Q, dQ^T += K^T ds
 *
 * Tiles of transposed queries, gradients, keys and values are made first, with the scores'
 * scale in them, TILE wide even where fewer are left.
 */
#include <math.h>
#include <string.h>

#include "specp_math.h"
#include "train_internal.h"

#define TILE TRAIN_TILE

typedef struct attention {
    const train_ctx *c;
    const train_attn *a;
    const float *q, *key, *value, *out_in, *lse_in, *dout;
    float *out, *lse, *dq, *dkey, *dvalue;
    size_t ldq, ldk;
    float scale;
} attention;

/* What a thread works in. */
typedef struct workspace {
    float *rows_t; /* tiles of (head_dim, TILE): values transposed; backward: keys, scaled */
    float *s, *ds; /* (TILE, TILE) */
    float *q_t, *out_t, *most, *sum, *fade; /* (head_dim, TILE) and (TILE), forward */
    float *q, *dout;                        /* (TILE, head_dim), q scaled */
    float *dout_t, *dq_t;                   /* (head_dim, TILE) */
    float *minus_lse, *minus_delta;         /* (TILE): delta = dO O */
    float *zeros, *ones;                    /* (TILE) */
} workspace;

static size_t padded(size_t n) { return (n + TILE - 1) / TILE * TILE; }

/* Hands out the parts from `at`; returns the floats that they take, a multiple of a cache line's. */
static size_t lay_out(workspace *w, float *at, size_t seq, size_t d) {
    size_t all = padded(seq);
    struct {
        float **part;
        size_t n;
    } parts[] = {{&w->rows_t, all * d}, {&w->s, TILE * TILE},    {&w->ds, TILE * TILE},  {&w->q_t, TILE * d},
                 {&w->out_t, TILE * d}, {&w->most, TILE},        {&w->sum, TILE},        {&w->fade, TILE},
                 {&w->q, TILE * d},     {&w->dout, TILE * d},    {&w->dout_t, TILE * d}, {&w->dq_t, TILE * d},
                 {&w->minus_lse, TILE}, {&w->minus_delta, TILE}, {&w->zeros, TILE},      {&w->ones, TILE}};
    size_t n = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; n += parts[i++].n)
        *parts[i].part = at ? at + n : NULL;
    return n;
}

size_t train_attention_scratch(size_t seq, size_t head_dim) {
    workspace w;
    return lay_out(&w, NULL, seq, head_dim);
}

static workspace workspace_of(const attention *at, unsigned thread) {
    workspace w;
    size_t each = train_attention_scratch(at->c->max_seq, at->c->head_dim);
    lay_out(&w, at->c->scratch + thread * each, at->a->seq, at->a->head_dim);
    return w;
}

/* ---- tiles --------------------------------------------------------------- */

/* C (m, d) += A (m, k) B (k, d), rows of A a tile's. */
static void multiply(const attention *at, size_t m, size_t d, size_t k, const float *a, const float *b,
                     float *c, size_t ldc) {
    at->c->kernels.values(a, TILE, m, b, SPEC_TYPE_F32, d, 0, k, c, ldc);
}

/* to (d, TILE) = scale times n rows of x, transposed; behind them zeros. */
static void transpose(const float *x, size_t ldx, size_t n, size_t d, float scale, float *to) {
    for (size_t j = 0; j < d; j++) {
        for (size_t i = 0; i < n; i++) to[j * TILE + i] = scale * x[i * ldx + j];
        memset(to + j * TILE + n, 0, (TILE - n) * sizeof *to);
    }
}

/* to (n, d) = scale times rows of x. */
static void gather(const float *x, size_t ldx, size_t n, size_t d, float scale, float *to) {
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++) to[i * d + j] = scale * x[i * ldx + j];
    }
}

static void zero_rows(float *x, size_t ldx, size_t n, size_t d) {
    for (size_t i = 0; i < n; i++) memset(x + i * ldx, 0, d * sizeof *x);
}

static size_t tile_rows(const attention *at, size_t r0) {
    return at->a->seq - r0 < TILE ? at->a->seq - r0 : TILE;
}

/* Tiles of a KV head's rows, as rows_t has them. */
static void transpose_rows(const attention *at, const float *x, float scale, const workspace *w) {
    size_t d = at->a->head_dim;
    for (size_t k0 = 0; k0 < at->a->seq; k0 += TILE)
        transpose(x + k0 * at->ldk, at->ldk, tile_rows(at, k0), d, scale, w->rows_t + k0 * d);
}

/* In a tile on the diagonal, key j is seen by query j and those after. */
static void hide(float *s, size_t n_k, float with) {
    for (size_t j = 1; j < n_k; j++) {
        for (size_t i = 0; i < j; i++) s[j * TILE + i] = with;
    }
}

/* ---- forward ------------------------------------------------------------- */

/* n queries from r0 on, where q, out and lse begin; key is the sequence's KV head. */
static void tile_forward(const attention *at, const workspace *w, size_t r0, size_t n, const float *q,
                         const float *key, float *out, float *lse) {
    const train_rows *rows = &at->c->rows;
    size_t d = at->a->head_dim;
    transpose(q, at->ldq, n, d, at->scale, w->q_t);
    memset(w->zeros, 0, TILE * sizeof *w->zeros);
    memset(w->out_t, 0, d * TILE * sizeof *w->out_t);
    memset(w->sum, 0, TILE * sizeof *w->sum);
    for (size_t i = 0; i < TILE; i++) w->most[i] = -INFINITY;
    for (size_t k0 = 0; k0 <= r0; k0 += TILE) {
        size_t n_k = tile_rows(at, k0);
        rows->product(key + k0 * at->ldk, at->ldk, n_k, w->q_t, d, w->zeros, w->s);
        if (k0 == r0) hide(w->s, n_k, -INFINITY);
        rows->softmax(w->s, n_k, w->most, w->sum, w->fade);
        if (k0 == r0) hide(w->s, n_k, 0.0f);
        rows->product_add(w->rows_t + k0 * d, TILE, d, w->s, n_k, w->fade, w->out_t);
    }
    for (size_t i = 0; i < n; i++) {
        float by = 1.0f / w->sum[i];
        for (size_t j = 0; j < d; j++) out[i * at->ldq + j] = w->out_t[j * TILE + i] * by;
        lse[i * at->a->n_heads] =
            w->most[i] + (w->sum[i] < INFINITY ? (float)specp_log((double)w->sum[i]) : w->sum[i]);
    }
}

static void forward(void *arg, size_t begin, size_t end, unsigned thread) {
    const attention *at = arg;
    const train_attn *a = at->a;
    size_t d = a->head_dim, group = a->n_heads / a->n_kv_heads;
    workspace w = workspace_of(at, thread);
    for (size_t item = begin; item < end; item++) {
        size_t first = item / a->n_kv_heads * a->seq, kv = item % a->n_kv_heads;
        size_t key = first * at->ldk + kv * d;
        transpose_rows(at, at->value + key, 1.0f, &w);
        for (size_t h = kv * group; h < (kv + 1) * group; h++) {
            for (size_t r0 = 0; r0 < a->seq; r0 += TILE) {
                size_t row = first + r0, q = row * at->ldq + h * d;
                tile_forward(at, &w, r0, tile_rows(at, r0), at->q + q, at->key + key, at->out + q,
                             at->lse + row * a->n_heads + h);
            }
        }
    }
}

static void run(const train_ctx *c, const train_attn *a, attention *at, specp_team_fn *fn) {
    at->c = c;
    at->a = a;
    at->ldq = a->n_heads * a->head_dim;
    at->ldk = a->n_kv_heads * a->head_dim;
    at->scale = 1.0f / sqrtf((float)a->head_dim);
    train_each(c, a->n_seqs * a->n_kv_heads, 1, fn, at);
}

void train_attention(const train_ctx *c, const train_attn *a, const float *q, const float *key,
                     const float *value, float *out, float *lse) {
    attention at = {.q = q, .key = key, .value = value, .out = out, .lse = lse};
    run(c, a, &at, forward);
}

/* ---- backward ------------------------------------------------------------ */

/* What the tiles of keys want of n queries, that begin at q and whose sums begin at lse. */
static void prepare_queries(const attention *at, const workspace *w, size_t n, size_t q, size_t lse) {
    size_t d = at->a->head_dim;
    const float *out = at->out_in + q, *dout = at->dout + q;
    transpose(at->q + q, at->ldq, n, d, at->scale, w->q_t);
    gather(at->q + q, at->ldq, n, d, at->scale, w->q);
    transpose(dout, at->ldq, n, d, 1.0f, w->dout_t);
    gather(dout, at->ldq, n, d, 1.0f, w->dout);
    memset(w->dq_t, 0, d * TILE * sizeof *w->dq_t);
    memset(w->minus_lse, 0, TILE * sizeof *w->minus_lse);
    memset(w->minus_delta, 0, TILE * sizeof *w->minus_delta);
    for (size_t i = 0; i < TILE; i++) w->ones[i] = 1.0f;
    for (size_t i = 0; i < n; i++) {
        w->minus_lse[i] = -at->lse_in[lse + i * at->a->n_heads];
        w->minus_delta[i] = -train_dot(out + i * at->ldq, dout + i * at->ldq, d);
    }
}

/* n_k keys that begin at kv, against n queries. */
static void tile_backward(const attention *at, const workspace *w, size_t kv, size_t n_k, size_t n,
                          const float *keys_t, bool diagonal) {
    const train_rows *rows = &at->c->rows;
    size_t d = at->a->head_dim, ldk = at->ldk;
    rows->product(at->key + kv, ldk, n_k, w->q_t, d, w->minus_lse, w->s);
    rows->exp(w->s, n_k * TILE);
    if (diagonal) hide(w->s, n_k, 0.0f);
    multiply(at, n_k, d, n, w->s, w->dout, at->dvalue + kv, ldk);
    rows->product(at->value + kv, ldk, n_k, w->dout_t, d, w->minus_delta, w->ds);
    rows->mul(w->ds, w->s, n_k * TILE);
    multiply(at, n_k, d, n, w->ds, w->q, at->dkey + kv, ldk);
    rows->product_add(keys_t, TILE, d, w->ds, n_k, w->ones, w->dq_t);
}

/* Head h of the sequence whose first row is `first`; its KV head begins at kv. */
static void head_backward(const attention *at, const workspace *w, size_t first, size_t h, size_t kv) {
    size_t d = at->a->head_dim;
    for (size_t r0 = 0; r0 < at->a->seq; r0 += TILE) {
        size_t n = tile_rows(at, r0), row = first + r0, q = row * at->ldq + h * d;
        prepare_queries(at, w, n, q, row * at->a->n_heads + h);
        for (size_t k0 = 0; k0 <= r0; k0 += TILE)
            tile_backward(at, w, kv + k0 * at->ldk, tile_rows(at, k0), n, w->rows_t + k0 * d, k0 == r0);
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < d; j++) at->dq[q + i * at->ldq + j] = w->dq_t[j * TILE + i];
        }
    }
}

static void backward(void *arg, size_t begin, size_t end, unsigned thread) {
    const attention *at = arg;
    const train_attn *a = at->a;
    size_t d = a->head_dim, group = a->n_heads / a->n_kv_heads;
    workspace w = workspace_of(at, thread);
    for (size_t item = begin; item < end; item++) {
        size_t first = item / a->n_kv_heads * a->seq, kv = item % a->n_kv_heads;
        size_t key = first * at->ldk + kv * d;
        transpose_rows(at, at->key + key, at->scale, &w);
        zero_rows(at->dkey + key, at->ldk, a->seq, d);
        zero_rows(at->dvalue + key, at->ldk, a->seq, d);
        for (size_t h = kv * group; h < (kv + 1) * group; h++) head_backward(at, &w, first, h, key);
    }
}

void train_attention_back(const train_ctx *c, const train_attn *a, const float *q, const float *key,
                          const float *value, const float *out, const float *lse, const float *dout,
                          float *dq, float *dkey, float *dvalue) {
    attention at = {.q = q, .key = key, .value = value, .out_in = out, .lse_in = lse, .dout = dout};
    at.dq = dq;
    at.dkey = dkey;
    at.dvalue = dvalue;
    run(c, a, &at, backward);
}

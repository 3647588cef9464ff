/* SPDX-License-Identifier: MIT */
/*
 * Causal attention, by tiles of TILE queries and TILE keys. Probabilities are
 * not kept for the backward pass: it computes a tile's again, from the logarithm of each
 * query's sum, and uses it up while it lies in the cache. A piece is a sequence's KV head
 * with all heads that read it, so that only one thread adds to its gradients.
 *
 *     forward, a tile of queries:             backward, a tile of keys and queries:
 *
 *             keys 0 ......... r0+n                       queries r0 ... r0+n
 *     query   s s s s s s s s s . .           key k0      p p p p p p     p = exp(K Q^T - lse)
 *     r0..    s s s s s s s s s s .           ...         . p p p p p     ds = p (V dO^T - dO O)
 *     ..r0+n  s s s s s s s s s s s                       . . p p p p
 *
 *     s = Q K^T; out = softmax(s) V           dV += p dO   dK += ds Q   dQ^T += K^T ds
 *
 * All products are the kernels' `values`: C[i] += sum over j of A[i][j] B[j], where rows
 * of A may lie apart and B is without gaps. So tiles of transposed keys, queries and
 * gradients are made first, with the scores' scale in them, and TILE wide even where
 * fewer are left.
 */
#include <math.h>
#include <string.h>

#include "specp_math.h"
#include "train_internal.h"

#define TILE 64

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
    float *keys_t;                  /* tiles of (head_dim, TILE): scaled keys, transposed */
    float *values;                  /* (seq, head_dim) */
    float *s;                       /* (TILE, seq rounded up to tiles); backward: p, (TILE, TILE) */
    float *ds;                      /* (TILE, TILE) */
    float *q, *dout;                /* (TILE, head_dim), q scaled */
    float *q_t, *dout_t, *dq_t;     /* (head_dim, TILE) */
    float *minus_lse, *minus_delta; /* (TILE): delta = dO O */
} workspace;

static size_t padded(size_t n) { return (n + TILE - 1) / TILE * TILE; }

/* Hands out the parts from `at`; returns the floats that they take, a multiple of a cache line's. */
static size_t lay_out(workspace *w, float *at, size_t seq, size_t d) {
    size_t all = padded(seq);
    struct {
        float **part;
        size_t n;
    } parts[] = {{&w->keys_t, all * d}, {&w->values, all * d}, {&w->s, all * TILE},    {&w->ds, TILE * TILE},
                 {&w->q, TILE * d},     {&w->dout, TILE * d},  {&w->q_t, TILE * d},    {&w->dout_t, TILE * d},
                 {&w->dq_t, TILE * d},  {&w->minus_lse, TILE}, {&w->minus_delta, TILE}};
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

/* C (m, columns) += A (m, k) B. */
static void multiply(const attention *at, size_t m, size_t columns, size_t k, const float *a, size_t lda,
                     const float *b, float *c, size_t ldc) {
    at->c->kernels.values(a, lda, m, b, SPEC_TYPE_F32, columns, 0, k, c, ldc);
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

static void transpose_keys(const attention *at, const float *key, const workspace *w) {
    size_t d = at->a->head_dim;
    for (size_t k0 = 0; k0 < at->a->seq; k0 += TILE)
        transpose(key + k0 * at->ldk, at->ldk, tile_rows(at, k0), d, at->scale, w->keys_t + k0 * d);
}

/* ---- forward ------------------------------------------------------------- */

/* n queries from r0 on, where q, out and lse begin. */
static void tile_forward(const attention *at, const workspace *w, size_t r0, size_t n, const float *q,
                         float *out, float *lse) {
    size_t d = at->a->head_dim, ld = padded(at->a->seq), all = r0 + n;
    zero_rows(w->s, ld, n, padded(all));
    for (size_t k0 = 0; k0 < all; k0 += TILE)
        multiply(at, n, TILE, d, q, at->ldq, w->keys_t + k0 * d, w->s + k0, ld);
    float by[TILE];
    for (size_t i = 0; i < n; i++) {
        float *row = w->s + i * ld, most;
        size_t seen = r0 + i + 1;
        float sum = at->c->rows.softmax(row, seen, &most);
        memset(row + seen, 0, (all - seen) * sizeof *row);
        lse[i * at->a->n_heads] = most + (sum < INFINITY ? (float)specp_log((double)sum) : sum);
        by[i] = 1.0f / sum;
    }
    zero_rows(out, at->ldq, n, d);
    multiply(at, n, d, all, w->s, ld, w->values, out, at->ldq);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++) out[i * at->ldq + j] *= by[i];
    }
}

static void forward(void *arg, size_t begin, size_t end, unsigned thread) {
    const attention *at = arg;
    const train_attn *a = at->a;
    size_t d = a->head_dim, group = a->n_heads / a->n_kv_heads;
    workspace w = workspace_of(at, thread);
    for (size_t item = begin; item < end; item++) {
        size_t first = item / a->n_kv_heads * a->seq, kv = item % a->n_kv_heads;
        transpose_keys(at, at->key + first * at->ldk + kv * d, &w);
        gather(at->value + first * at->ldk + kv * d, at->ldk, a->seq, d, 1.0f, w.values);
        for (size_t h = kv * group; h < (kv + 1) * group; h++) {
            for (size_t r0 = 0; r0 < a->seq; r0 += TILE) {
                size_t row = first + r0, q = row * at->ldq + h * d;
                tile_forward(at, &w, r0, tile_rows(at, r0), at->q + q, at->out + q,
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
    for (size_t i = 0; i < n; i++) {
        w->minus_lse[i] = -at->lse_in[lse + i * at->a->n_heads];
        w->minus_delta[i] = -train_dot(out + i * at->ldq, dout + i * at->ldq, d);
    }
}

/* n_k keys that begin at kv, against n queries; on the diagonal key j is seen by query j and those after. */
static void tile_backward(const attention *at, const workspace *w, size_t kv, size_t n_k, size_t n,
                          const float *keys_t, bool diagonal) {
    size_t d = at->a->head_dim, ldk = at->ldk;
    for (size_t j = 0; j < n_k; j++) {
        memcpy(w->s + j * TILE, w->minus_lse, TILE * sizeof *w->s);
        memcpy(w->ds + j * TILE, w->minus_delta, TILE * sizeof *w->ds);
    }
    multiply(at, n_k, TILE, d, at->key + kv, ldk, w->q_t, w->s, TILE);
    at->c->rows.exp(w->s, n_k * TILE);
    for (size_t j = 0; diagonal && j < n_k; j++) memset(w->s + j * TILE, 0, j * sizeof *w->s);
    multiply(at, n_k, d, n, w->s, TILE, w->dout, at->dvalue + kv, ldk);
    multiply(at, n_k, TILE, d, at->value + kv, ldk, w->dout_t, w->ds, TILE);
    at->c->rows.mul(w->ds, w->s, n_k * TILE);
    multiply(at, n_k, d, n, w->ds, TILE, w->q, at->dkey + kv, ldk);
    multiply(at, d, TILE, n_k, keys_t, TILE, w->ds, w->dq_t, TILE);
}

/* Head h of the sequence whose first row is `first`; its KV head begins at kv. */
static void head_backward(const attention *at, const workspace *w, size_t first, size_t h, size_t kv) {
    size_t d = at->a->head_dim;
    for (size_t r0 = 0; r0 < at->a->seq; r0 += TILE) {
        size_t n = tile_rows(at, r0), row = first + r0, q = row * at->ldq + h * d;
        prepare_queries(at, w, n, q, row * at->a->n_heads + h);
        for (size_t k0 = 0; k0 <= r0; k0 += TILE)
            tile_backward(at, w, kv + k0 * at->ldk, tile_rows(at, k0), n, w->keys_t + k0 * d, k0 == r0);
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
        transpose_keys(at, at->key + key, &w);
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

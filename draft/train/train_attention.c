/* SPDX-License-Identifier: MIT */
/*
 * Causal attention, by tiles of TILE queries of one head. Probabilities are not
 * kept for the backward pass, which computes them again: a tile's fit the cache, and
 * all of them would take (heads * seq) floats a token. A piece is a sequence's KV head with all
 * heads that read it, so that only one thread adds to its gradients.
 *
 *                  keys 0 ............ r0 ..... r0+n
 *     query r0     p p p p p p p p p p p 0 0 0 0 0      the products see a tile's rows
 *           ...    p p p p p p p p p p p p p p 0 0      as a full (n, r0 + n) matrix
 *     query r0+n-1 p p p p p p p p p p p p p p p p
 */
#include <math.h>
#include <string.h>

#include "train_internal.h"

#define TILE 128

size_t train_attention_scratch(size_t seq) { return 2 * TILE * seq; }

typedef struct attention {
    const train_ctx *c;
    const train_attn *a;
    const float *q, *key, *value, *dout;
    float *out, *dq, *dkey, *dvalue;
} attention;

/* p[i * seq + j]: how much query r0 + i takes of key j, for n queries and keys before r0 + n. */
static void probabilities(const train_ctx *c, const train_attn *a, const float *q, const float *key,
                          size_t r0, size_t n, float *p) {
    size_t d = a->head_dim, all = r0 + n;
    train_gemm(false, true, n, all, d, 1.0f / sqrtf((float)d), q, a->n_heads * d, key, a->n_kv_heads * d,
               0.0f, p, a->seq);
    for (size_t i = 0; i < n; i++) {
        float *row = p + i * a->seq;
        size_t seen = r0 + i + 1;
        c->kernels.scale(row, 1.0f / c->kernels.softmax(row, seen), seen);
        memset(row + seen, 0, (all - seen) * sizeof *row);
    }
}

static size_t tile_rows(const train_attn *a, size_t r0) { return a->seq - r0 < TILE ? a->seq - r0 : TILE; }

/* One head: q and out begin at it, key and value at its KV head. */
static void head_forward(const attention *at, const float *q, const float *key, const float *value,
                         float *out, float *p) {
    const train_attn *a = at->a;
    size_t d = a->head_dim, ldq = a->n_heads * d, ldk = a->n_kv_heads * d;
    for (size_t r0 = 0; r0 < a->seq; r0 += TILE) {
        size_t n = tile_rows(a, r0);
        probabilities(at->c, a, q + r0 * ldq, key, r0, n, p);
        train_gemm(false, false, n, d, r0 + n, 1.0f, p, a->seq, value, ldk, 0.0f, out + r0 * ldq, ldq);
    }
}

static float *scratch_of(const train_ctx *c, unsigned thread) {
    return c->scratch + thread * train_attention_scratch(c->max_seq);
}

static void forward(void *arg, size_t begin, size_t end, unsigned thread) {
    const attention *at = arg;
    const train_attn *a = at->a;
    size_t d = a->head_dim, group = a->n_heads / a->n_kv_heads;
    for (size_t item = begin; item < end; item++) {
        size_t first = item / a->n_kv_heads * a->seq, kv = item % a->n_kv_heads;
        size_t key = (first * a->n_kv_heads + kv) * d;
        for (size_t h = kv * group; h < (kv + 1) * group; h++) {
            size_t q = (first * a->n_heads + h) * d;
            head_forward(at, at->q + q, at->key + key, at->value + key, at->out + q,
                         scratch_of(at->c, thread));
        }
    }
}

void train_attention(const train_ctx *c, const train_attn *a, const float *q, const float *key,
                     const float *value, float *out) {
    attention at = {.c = c, .a = a, .q = q, .key = key, .value = value, .out = out};
    train_each(c, a->n_seqs * a->n_kv_heads, 1, forward, &at);
}

/* From the gradient of the probabilities to that of the scores: ds = p (dp - sum p dp). */
static void softmax_back(const float *p, float *dp, size_t n) {
    float mean = train_dot(p, dp, n);
    for (size_t i = 0; i < n; i++) {
        dp[i] = p[i] * (dp[i] - mean);
    }
}

/* One head, that begins in rows of queries at `h` and in rows of keys at `kv`. */
static void head_backward(const attention *at, size_t h, size_t kv, float *p) {
    const train_attn *a = at->a;
    size_t d = a->head_dim, ldq = a->n_heads * d, ldk = a->n_kv_heads * d, seq = a->seq;
    float scale = 1.0f / sqrtf((float)d), *dp = p + TILE * seq;
    for (size_t r0 = 0; r0 < seq; r0 += TILE) {
        size_t n = tile_rows(a, r0), all = r0 + n, here = h + r0 * ldq;
        const float *dout = at->dout + here;
        probabilities(at->c, a, at->q + here, at->key + kv, r0, n, p);
        train_gemm(true, false, all, d, n, 1.0f, p, seq, dout, ldq, 1.0f, at->dvalue + kv, ldk);
        train_gemm(false, true, n, all, d, 1.0f, dout, ldq, at->value + kv, ldk, 0.0f, dp, seq);
        for (size_t i = 0; i < n; i++) softmax_back(p + i * seq, dp + i * seq, all);
        train_gemm(false, false, n, d, all, scale, dp, seq, at->key + kv, ldk, 0.0f, at->dq + here, ldq);
        train_gemm(true, false, all, d, n, scale, dp, seq, at->q + here, ldq, 1.0f, at->dkey + kv, ldk);
    }
}

static void backward(void *arg, size_t begin, size_t end, unsigned thread) {
    const attention *at = arg;
    const train_attn *a = at->a;
    size_t d = a->head_dim, group = a->n_heads / a->n_kv_heads, ldk = a->n_kv_heads * d;
    for (size_t item = begin; item < end; item++) {
        size_t first = item / a->n_kv_heads * a->seq, kv = item % a->n_kv_heads;
        size_t key = (first * a->n_kv_heads + kv) * d;
        for (size_t t = 0; t < a->seq; t++) {
            memset(at->dkey + key + t * ldk, 0, d * sizeof *at->dkey);
            memset(at->dvalue + key + t * ldk, 0, d * sizeof *at->dvalue);
        }
        for (size_t h = kv * group; h < (kv + 1) * group; h++) {
            head_backward(at, (first * a->n_heads + h) * d, key, scratch_of(at->c, thread));
        }
    }
}

void train_attention_back(const train_ctx *c, const train_attn *a, const float *q, const float *key,
                          const float *value, const float *dout, float *dq, float *dkey, float *dvalue) {
    attention at = {.c = c, .a = a, .q = q, .key = key, .value = value};
    at.dout = dout;
    at.dq = dq;
    at.dkey = dkey;
    at.dvalue = dvalue;
    train_each(c, a->n_seqs * a->n_kv_heads, 1, backward, &at);
}

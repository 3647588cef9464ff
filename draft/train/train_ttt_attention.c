/* SPDX-License-Identifier: MIT */
/*
 * The attention of a head that is trained on its own output. As train_attention.c
 * has it, by tiles of TILE queries of one head, whose probabilities the backward pass computes again;
 * a piece is a sequence's KV head with all heads that read it. Row i's keys of later steps
 * belong to row i alone: they stand in front, where the softmax runs over them and over the causal
 * part in one go, and matrix products see the causal part alone.
 *
 *                  steps 1..j   keys of step 0: 0 ..... r0 ... r0+n
 *     query r0     o o o        p p p p p p p p p p 0 0 0
 *           ...    o o o        p p p p p p p p p p p p 0
 *     query r0+n-1 o o o        p p p p p p p p p p p p p
 */
#include <math.h>
#include <string.h>

#include "train_eagle3_internal.h"

#define TILE 128

size_t train_ttt_scratch(size_t seq, size_t step) { return 2 * TILE * (seq + step); }

typedef struct ttt {
    const train_ctx *c;
    const train_ttt *t;
    const float *q, *dout;
    float *out, *dq;
    float *const *dkey, *const *dvalue;
    size_t ldq, ldk, ldp; /* floats from a row to the next: queries, keys, probabilities */
} ttt;

static ttt ttt_of(const train_ctx *c, const train_ttt *t, const float *q) {
    const train_attn *a = &t->attn;
    return (ttt){.c = c,
                 .t = t,
                 .q = q,
                 .ldq = a->n_heads * a->head_dim,
                 .ldk = a->n_kv_heads * a->head_dim,
                 .ldp = a->seq + t->step};
}

/* A tile: n queries of one head from row r0 on. */
typedef struct tile {
    size_t q, own, kv; /* where its first query begins, that row's keys, the sequence's first keys */
    size_t n, all;     /* all: keys that its last query sees */
} tile;

/* p[i * ldp]: own keys, then those of step 0. */
static void probabilities(const ttt *a, const tile *t, float *p) {
    size_t d = a->t->attn.head_dim, step = a->t->step;
    const specp_kernels *k = &a->c->kernels;
    float scale = 1.0f / sqrtf((float)d);
    train_gemm(false, true, t->n, t->all, d, scale, a->q + t->q, a->ldq, a->t->key[0] + t->kv, a->ldk, 0.0f,
               p + step, a->ldp);
    for (size_t i = 0; i < t->n; i++, p += a->ldp) {
        size_t seen = step + t->all - t->n + i + 1;
        for (size_t s = 1; s <= step; s++)
            p[s - 1] = scale * train_dot(a->q + t->q + i * a->ldq, a->t->key[s] + t->own + i * a->ldk, d);
        k->scale(p, 1.0f / k->softmax(p, seen), seen);
        memset(p + seen, 0, (step + t->all - seen) * sizeof *p);
    }
}

static void tile_forward(const ttt *a, const tile *t, float *p, float *dp) {
    size_t d = a->t->attn.head_dim, step = a->t->step;
    float *out = a->out + t->q;
    (void)dp;
    probabilities(a, t, p);
    train_gemm(false, false, t->n, d, t->all, 1.0f, p + step, a->ldp, a->t->value[0] + t->kv, a->ldk, 0.0f,
               out, a->ldq);
    for (size_t i = 0; i < t->n; i++) {
        for (size_t s = 1; s <= step; s++)
            a->c->kernels.axpy(out + i * a->ldq, p[i * a->ldp + s - 1], a->t->value[s] + t->own + i * a->ldk,
                               d);
    }
}

/* From the gradient of the probabilities to that of the scores: ds = p (dp - sum p dp). */
static void softmax_back(const float *p, float *dp, size_t n) {
    float mean = train_dot(p, dp, n);
    for (size_t i = 0; i < n; i++) dp[i] = p[i] * (dp[i] - mean);
}

static void tile_backward(const ttt *a, const tile *t, float *p, float *dp) {
    size_t d = a->t->attn.head_dim, step = a->t->step, ldq = a->ldq, ldk = a->ldk, ldp = a->ldp;
    const specp_kernels *k = &a->c->kernels;
    const float *q = a->q + t->q, *dout = a->dout + t->q;
    float *dq = a->dq + t->q, scale = 1.0f / sqrtf((float)d);
    probabilities(a, t, p);
    train_gemm(true, false, t->all, d, t->n, 1.0f, p + step, ldp, dout, ldq, 1.0f, a->dvalue[0] + t->kv, ldk);
    train_gemm(false, true, t->n, t->all, d, 1.0f, dout, ldq, a->t->value[0] + t->kv, ldk, 0.0f, dp + step,
               ldp);
    for (size_t i = 0; i < t->n; i++) {
        for (size_t s = 1; s <= step; s++) {
            size_t own = t->own + i * ldk;
            dp[i * ldp + s - 1] = train_dot(dout + i * ldq, a->t->value[s] + own, d);
            k->axpy(a->dvalue[s] + own, p[i * ldp + s - 1], dout + i * ldq, d);
        }
        softmax_back(p + i * ldp, dp + i * ldp, step + t->all);
    }
    train_gemm(false, false, t->n, d, t->all, scale, dp + step, ldp, a->t->key[0] + t->kv, ldk, 0.0f, dq,
               ldq);
    train_gemm(true, false, t->all, d, t->n, scale, dp + step, ldp, q, ldq, 1.0f, a->dkey[0] + t->kv, ldk);
    for (size_t i = 0; i < t->n; i++) {
        for (size_t s = 1; s <= step; s++) {
            size_t own = t->own + i * ldk;
            k->axpy(dq + i * ldq, scale * dp[i * ldp + s - 1], a->t->key[s] + own, d);
            k->axpy(a->dkey[s] + own, scale * dp[i * ldp + s - 1], q + i * ldq, d);
        }
    }
}

/* ---- pieces -------------------------------------------------------------- */

/* All tiles of the heads that read KV head `item` % n_kv_heads of sequence `item` / n_kv_heads. */
static void each_tile(const ttt *a, size_t item, unsigned thread,
                      void (*fn)(const ttt *a, const tile *t, float *p, float *dp)) {
    const train_attn *s = &a->t->attn;
    size_t group = s->n_heads / s->n_kv_heads, kv = item % s->n_kv_heads;
    size_t first = item / s->n_kv_heads * s->seq, n = train_ttt_scratch(s->seq, a->t->step);
    float *p = a->t->scratch + thread * n;
    for (size_t h = kv * group; h < (kv + 1) * group; h++) {
        for (size_t r0 = 0; r0 < s->seq; r0 += TILE) {
            tile t = {.q = (first + r0) * a->ldq + h * s->head_dim,
                      .own = (first + r0) * a->ldk + kv * s->head_dim,
                      .kv = first * a->ldk + kv * s->head_dim,
                      .n = s->seq - r0 < TILE ? s->seq - r0 : TILE};
            t.all = r0 + t.n;
            fn(a, &t, p, p + n / 2);
        }
    }
}

static void forward(void *arg, size_t begin, size_t end, unsigned thread) {
    for (size_t item = begin; item < end; item++) each_tile(arg, item, thread, tile_forward);
}

static void backward(void *arg, size_t begin, size_t end, unsigned thread) {
    for (size_t item = begin; item < end; item++) each_tile(arg, item, thread, tile_backward);
}

void train_ttt_attention(const train_ctx *c, const train_ttt *t, const float *q, float *out) {
    ttt a = ttt_of(c, t, q);
    a.out = out;
    train_each(c, t->attn.n_seqs * t->attn.n_kv_heads, 1, forward, &a);
}

void train_ttt_attention_back(const train_ctx *c, const train_ttt *t, const float *q, const float *dout,
                              float *dq, float *const *dkey, float *const *dvalue) {
    ttt a = ttt_of(c, t, q);
    a.dout = dout;
    a.dq = dq;
    a.dkey = dkey;
    a.dvalue = dvalue;
    train_each(c, t->attn.n_seqs * t->attn.n_kv_heads, 1, backward, &a);
}

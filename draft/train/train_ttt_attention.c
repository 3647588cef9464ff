/* SPDX-License-Identifier: MIT */
/*
 * The attention of a head that is trained on its own output: causal attention over
 * the keys of step 0, and row i's keys of later steps, which belong to row i alone:
 *
 *     row i    0 1 2 ... i | own 1 .. j
 *              s s s     s | s      s       one softmax over all of them
 *
 * Forward, train_attention brings out the first part with the logarithm of its sum, lse;
 * the own keys are then merged into both. Backward, a probability is exp(s - lse) of the
 * merged lse, and the gradient of its score p (dO v - dO O) of the merged O: so
 * train_attention_back, given those, is right for the first part, and the rest is done
 * row by row.
 */
#include <math.h>

#include "specp_math.h"
#include "train_eagle3_internal.h"

#define ROWS 16 /* of a piece */

typedef struct own {
    const train_ctx *c;
    const train_ttt *t;
    const float *q, *out, *lse, *dout;
    float *merged, *merged_lse; /* out and lse, going forward */
    float *dq;
    float *const *dkey, *const *dvalue;
    size_t ldq, ldk;
    float scale;
} own;

static own own_of(const train_ctx *c, const train_ttt *t, const float *q) {
    size_t d = t->attn.head_dim;
    return (own){.c = c,
                 .t = t,
                 .q = q,
                 .ldq = t->attn.n_heads * d,
                 .ldk = t->attn.n_kv_heads * d,
                 .scale = 1.0f / sqrtf((float)d)};
}

/* Where head h of row r begins in rows of queries and of keys. */
static size_t query_at(const own *o, size_t r, size_t h) { return r * o->ldq + h * o->t->attn.head_dim; }

static size_t key_at(const own *o, size_t r, size_t h) {
    const train_attn *a = &o->t->attn;
    return r * o->ldk + h / (a->n_heads / a->n_kv_heads) * a->head_dim;
}

static float score(const own *o, size_t r, size_t h, size_t step) {
    return o->scale *
           train_dot(o->q + query_at(o, r, h), o->t->key[step] + key_at(o, r, h), o->t->attn.head_dim);
}

/* ---- forward ------------------------------------------------------------- */

static void merge(const own *o, size_t r, size_t h) {
    const specp_kernels *k = &o->c->kernels;
    size_t d = o->t->attn.head_dim, step = o->t->step;
    float *out = o->merged + query_at(o, r, h), *lse = o->merged_lse + r * o->t->attn.n_heads + h;
    float p[TRAIN_EAGLE3_MAX_STEPS], most = *lse, sum = 0.0f;
    p[0] = *lse;
    for (size_t s = 1; s <= step; s++) {
        p[s] = score(o, r, h, s);
        most = p[s] > most ? p[s] : most;
    }
    for (size_t s = 0; s <= step; s++) {
        p[s] = specp_expf(p[s] - most);
        sum += p[s];
    }
    k->scale(out, p[0] / sum, d);
    for (size_t s = 1; s <= step; s++) k->axpy(out, p[s] / sum, o->t->value[s] + key_at(o, r, h), d);
    *lse = most + (sum < INFINITY ? (float)specp_log((double)sum) : sum);
}

static void merge_rows(void *arg, size_t begin, size_t end, unsigned thread) {
    const own *o = arg;
    (void)thread;
    for (size_t r = begin; r < end; r++) {
        for (size_t h = 0; h < o->t->attn.n_heads; h++) merge(o, r, h);
    }
}

void train_ttt_attention(const train_ctx *c, const train_ttt *t, const float *q, float *out, float *lse) {
    own o = own_of(c, t, q);
    o.merged = out;
    o.merged_lse = lse;
    train_attention(c, &t->attn, q, t->key[0], t->value[0], out, lse);
    if (t->step > 0) train_each(c, t->attn.n_seqs * t->attn.seq, ROWS, merge_rows, &o);
}

/* ---- backward ------------------------------------------------------------ */

static void own_back(const own *o, size_t r, size_t h) {
    const specp_kernels *k = &o->c->kernels;
    size_t d = o->t->attn.head_dim, at = query_at(o, r, h), kv = key_at(o, r, h);
    const float *q = o->q + at, *dout = o->dout + at;
    float delta = train_dot(o->out + at, dout, d), lse = o->lse[r * o->t->attn.n_heads + h];
    for (size_t s = 1; s <= o->t->step; s++) {
        float p = specp_expf(score(o, r, h, s) - lse);
        float ds = o->scale * p * (train_dot(dout, o->t->value[s] + kv, d) - delta);
        k->axpy(o->dvalue[s] + kv, p, dout, d);
        k->axpy(o->dq + at, ds, o->t->key[s] + kv, d);
        k->axpy(o->dkey[s] + kv, ds, q, d);
    }
}

/* All heads of a row: those that read one KV head add to the same gradients. */
static void own_rows_back(void *arg, size_t begin, size_t end, unsigned thread) {
    const own *o = arg;
    (void)thread;
    for (size_t r = begin; r < end; r++) {
        for (size_t h = 0; h < o->t->attn.n_heads; h++) own_back(o, r, h);
    }
}

void train_ttt_attention_back(const train_ctx *c, const train_ttt *t, const float *q, const float *out,
                              const float *lse, const float *dout, float *dq, float *const *dkey,
                              float *const *dvalue, float *scratch) {
    own o = own_of(c, t, q);
    size_t rows = t->attn.n_seqs * t->attn.seq, n = rows * o.ldk;
    o.out = out;
    o.lse = lse;
    o.dout = dout;
    o.dq = dq;
    o.dkey = dkey;
    o.dvalue = dvalue;
    train_attention_back(c, &t->attn, q, t->key[0], t->value[0], out, lse, dout, dq, scratch, scratch + n);
    c->kernels.add(dkey[0], scratch, n);
    c->kernels.add(dvalue[0], scratch + n, n);
    if (t->step > 0) train_each(c, rows, ROWS, own_rows_back, &o);
}

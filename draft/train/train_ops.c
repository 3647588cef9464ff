/* SPDX-License-Identifier: MIT */
/*
 * Forward and backward of the operations of a llama-like model.
 *
 * Attention goes by tiles of TILE queries of one head. Probabilities are not
 * kept for the backward pass, which computes them again: a tile's fit the cache, and
 * all of them would take (heads * seq) floats a token.
 *
 *                  keys 0 ............ r0 ..... r0+n
 *     query r0     p p p p p p p p p p p 0 0 0 0 0      the products see a tile's rows
 *           ...    p p p p p p p p p p p p p p 0 0      as a full (n, r0 + n) matrix
 *     query r0+n-1 p p p p p p p p p p p p p p p p
 */
#include "train_ops.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "specp_math.h"

#define TILE  128
#define LANES 8 /* sums of that many strands, which the compiler may keep in one register */

/* C (m, n) = alpha op(A) op(B) + beta C; t: transposed. */
static void gemm(bool ta, bool tb, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                 const float *b, size_t ldb, float beta, float *c, size_t ldc) {
    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (blasint)m,
                (blasint)n, (blasint)k, alpha, a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

static float dot(const float *x, const float *y, size_t n) {
    float lane[LANES] = {0};
    size_t i = 0;
    for (; n - i >= LANES; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            lane[l] += x[i + l] * y[i + l];
        }
    }
    for (; i < n; i++) {
        lane[i % LANES] += x[i] * y[i];
    }
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t l = 0; l < half; l++) {
            lane[l] += lane[l + half];
        }
    }
    return lane[0];
}

/* ---- rows ---------------------------------------------------------------- */

void train_linear(const train_ctx *c, const float *x, const float *w, float *y, size_t rows, size_t n_in,
                  size_t n_out, bool add) {
    gemm(false, true, rows, n_out, n_in, 1.0f, x, n_in, w, n_in, add ? 1.0f : 0.0f, y, n_out);
}

void train_linear_back(const train_ctx *c, const float *x, const float *w, const float *dy, float *dx,
                       float *dw, size_t rows, size_t n_in, size_t n_out, bool add) {
    if (dx) {
        gemm(false, false, rows, n_in, n_out, 1.0f, dy, n_out, w, n_in, add ? 1.0f : 0.0f, dx, n_in);
    }
    if (dw) {
        gemm(true, false, n_out, n_in, rows, 1.0f, dy, n_out, x, n_in, 1.0f, dw, n_in);
    }
}

void train_rmsnorm(const train_ctx *c, const float *x, const float *w, float eps, float *y, size_t rows,
                   size_t n) {
    for (size_t r = 0; r < rows; r++) {
        c->kernels.rmsnorm(x + r * n, w, eps, y + r * n, n);
    }
}

/* With s = 1 / sqrt(mean x^2 + eps): dx = s w dy - x s^3 / n * sum(w dy x). */
void train_rmsnorm_back(const train_ctx *c, const float *x, const float *w, float eps, const float *dy,
                        float *dx, float *dw, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++, x += n, dy += n, dx += n) {
        float s = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
        float lane[LANES] = {0}, sum = 0.0f;
        for (size_t i = 0; i < n; i++) {
            lane[i % LANES] += w[i] * dy[i] * x[i];
        }
        for (size_t l = 0; l < LANES; l++) {
            sum += lane[l];
        }
        float back = s * s * s / (float)n * sum;
        for (size_t i = 0; i < n; i++) {
            dx[i] += s * w[i] * dy[i] - back * x[i];
            dw[i] += s * x[i] * dy[i];
        }
    }
}

void train_rope(const train_ctx *c, float *x, const float *cos, const float *sin, size_t rows, size_t seq,
                size_t n_heads, size_t head_dim) {
    for (size_t r = 0; r < rows; r++) {
        size_t at = r % seq * (head_dim / 2);
        for (size_t h = 0; h < n_heads; h++) {
            c->kernels.rope(x + (r * n_heads + h) * head_dim, cos + at, sin + at, head_dim, true);
        }
    }
}

void train_swiglu(const train_ctx *c, const float *gate, const float *up, float *y, size_t n) {
    c->kernels.silu_mul(gate, up, y, n);
}

/* silu = g sigma, so sigma = silu / g; near 0, where that loses digits, sigma is 1/2.
 * silu' = sigma + silu (1 - sigma). */
void train_swiglu_back(const train_ctx *c, const float *gate, const float *up, const float *dy, float *dgate,
                       float *dup, size_t n) {
    float one[64], silu[64];
    for (size_t i = 0; i < 64; i++) {
        one[i] = 1.0f;
    }
    for (size_t from = 0; from < n; from += 64) {
        size_t m = n - from < 64 ? n - from : 64;
        c->kernels.silu_mul(gate + from, one, silu, m);
        for (size_t i = 0; i < m; i++) {
            float g = gate[from + i], u = up[from + i], d = dy[from + i];
            float sigma = fabsf(g) < 1e-30f ? 0.5f : silu[i] / g;
            dgate[from + i] = d * u * (sigma + silu[i] * (1.0f - sigma));
            dup[from + i] = d * silu[i];
        }
    }
}

void train_embed(const train_ctx *c, const float *w, const spec_token *tokens, float *y, size_t rows,
                 size_t n) {
    for (size_t r = 0; r < rows; r++) {
        memcpy(y + r * n, w + (size_t)tokens[r] * n, n * sizeof *y);
    }
}

void train_embed_back(const train_ctx *c, const spec_token *tokens, const float *dy, float *dw, size_t rows,
                      size_t n) {
    for (size_t r = 0; r < rows; r++) {
        float *to = dw + (size_t)tokens[r] * n;
        for (size_t i = 0; i < n; i++) {
            to[i] += dy[r * n + i];
        }
    }
}

/* ---- attention ----------------------------------------------------------- */

size_t train_attention_scratch(size_t seq) { return 2 * TILE * seq; }

/* p[i * seq + j]: how much query r0 + i takes of key j, for n queries and keys before r0 + n. */
static void probabilities(const train_ctx *c, const train_attn *a, const float *q, const float *key,
                          size_t r0, size_t n, float *p) {
    size_t d = a->head_dim, all = r0 + n;
    gemm(false, true, n, all, d, 1.0f / sqrtf((float)d), q, a->n_heads * d, key, a->n_kv_heads * d, 0.0f, p,
         a->seq);
    for (size_t i = 0; i < n; i++) {
        float *row = p + i * a->seq;
        size_t seen = r0 + i + 1;
        c->kernels.scale(row, 1.0f / c->kernels.softmax(row, seen), seen);
        memset(row + seen, 0, (all - seen) * sizeof *row);
    }
}

/* Where head h of sequence s begins in rows of queries, and its KV head in rows of keys. */
static size_t query_at(const train_attn *a, size_t s, size_t h) {
    return (s * a->seq * a->n_heads + h) * a->head_dim;
}

static size_t key_at(const train_attn *a, size_t s, size_t h) {
    return (s * a->seq * a->n_kv_heads + h / (a->n_heads / a->n_kv_heads)) * a->head_dim;
}

static size_t tile_rows(const train_attn *a, size_t r0) { return a->seq - r0 < TILE ? a->seq - r0 : TILE; }

void train_attention(const train_ctx *c, const train_attn *a, const float *q, const float *key,
                     const float *value, float *out, float *scratch) {
    size_t d = a->head_dim, ldq = a->n_heads * d, ldk = a->n_kv_heads * d;
    for (size_t item = 0; item < a->n_seqs * a->n_heads; item++) {
        size_t at = query_at(a, item / a->n_heads, item % a->n_heads);
        size_t kv = key_at(a, item / a->n_heads, item % a->n_heads);
        for (size_t r0 = 0; r0 < a->seq; r0 += TILE) {
            size_t n = tile_rows(a, r0);
            probabilities(c, a, q + at + r0 * ldq, key + kv, r0, n, scratch);
            gemm(false, false, n, d, r0 + n, 1.0f, scratch, a->seq, value + kv, ldk, 0.0f,
                 out + at + r0 * ldq, ldq);
        }
    }
}

/* From the gradient of the probabilities to that of the scores: ds = p (dp - sum p dp). */
static void softmax_back(const float *p, float *dp, size_t n) {
    float mean = dot(p, dp, n);
    for (size_t i = 0; i < n; i++) {
        dp[i] = p[i] * (dp[i] - mean);
    }
}

void train_attention_back(const train_ctx *c, const train_attn *a, const float *q, const float *key,
                          const float *value, const float *dout, float *dq, float *dkey, float *dvalue,
                          float *scratch) {
    size_t d = a->head_dim, ldq = a->n_heads * d, ldk = a->n_kv_heads * d, seq = a->seq;
    float scale = 1.0f / sqrtf((float)d), *p = scratch, *dp = scratch + TILE * seq;
    memset(dkey, 0, a->n_seqs * seq * ldk * sizeof *dkey);
    memset(dvalue, 0, a->n_seqs * seq * ldk * sizeof *dvalue);
    for (size_t item = 0; item < a->n_seqs * a->n_heads; item++) {
        size_t at = query_at(a, item / a->n_heads, item % a->n_heads);
        size_t kv = key_at(a, item / a->n_heads, item % a->n_heads);
        for (size_t r0 = 0; r0 < seq; r0 += TILE) {
            size_t n = tile_rows(a, r0), all = r0 + n, here = at + r0 * ldq;
            probabilities(c, a, q + here, key + kv, r0, n, p);
            gemm(true, false, all, d, n, 1.0f, p, seq, dout + here, ldq, 1.0f, dvalue + kv, ldk);
            gemm(false, true, n, all, d, 1.0f, dout + here, ldq, value + kv, ldk, 0.0f, dp, seq);
            for (size_t i = 0; i < n; i++) {
                softmax_back(p + i * seq, dp + i * seq, all);
            }
            gemm(false, false, n, d, all, scale, dp, seq, key + kv, ldk, 0.0f, dq + here, ldq);
            gemm(true, false, all, d, n, scale, dp, seq, q + here, ldq, 1.0f, dkey + kv, ldk);
        }
    }
}

/* ---- loss ---------------------------------------------------------------- */

void train_cross_entropy(const train_ctx *c, float *logits, const spec_token *labels, size_t rows,
                         size_t vocab, float scale, train_loss *loss) {
    for (size_t r = 0; r < rows; r++) {
        float *row = logits + r * vocab;
        spec_token label = labels[r];
        if (label == TRAIN_IGNORED) {
            memset(row, 0, vocab * sizeof *row);
            continue;
        }
        spec_token best = c->kernels.argmax(row, vocab);
        double below = (double)row[best] - (double)row[label];
        float sum = c->kernels.softmax(row, vocab);
        loss->sum += below + (sum < INFINITY ? specp_log(sum) : (double)sum); /* NaN stays NaN */
        loss->n++;
        loss->correct += best == label;
        c->kernels.scale(row, scale / sum, vocab);
        row[label] -= scale;
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * train_ops.h - forward and backward of the operations that a llama-like model
 * is made of, on rows of floats: x (rows, features), row-major, without gaps. For the trainer; the
 * library does not hold it.
 *
 * Products with matrices are OpenBLAS's sgemm; attention and rows go through the tables
 * of kernels. Gradients with respect to weights are added to what is there, so that micro-batches accumulate.
 * Those with respect to inputs replace it, unless a function says otherwise. Every operation is
 * split among the team's threads in pieces that depend on its sizes alone, and sums of pieces have a fixed
 * order: equal inputs give equal bits on any number of threads.
 */
#ifndef TRAIN_OPS_H
#define TRAIN_OPS_H

#include "kernels.h"
#include "team.h"
#include "train_rows.h"

#define TRAIN_IGNORED (-100) /* the label of a row without a target */

/* What every operation runs on. */
typedef struct train_ctx {
    specp_kernels kernels;
    train_rows rows;
    specp_team *team; /* borrowed; NULL: the caller's thread alone */
    float *scratch;   /* of one operation at a time, aligned to 64 bytes */
    void *store;      /* where that lies */
    size_t n_store;
    size_t widest, max_seq, head_dim; /* what the scratch is enough for */
    spec_allocator alloc;
} train_ctx;

/*
 * For norms of up to `widest` features and attention over sequences of up to
 * max_seq tokens with heads of up to head_dim; 0: none. Tells OpenBLAS, for the whole
 * process, to use one thread: with its own, bits would depend on their number. SPEC_ERR_NOMEM.
 */
int train_ctx_init(train_ctx *c, specp_team *team, size_t widest, size_t max_seq, size_t head_dim,
                   const spec_allocator *alloc);
void train_ctx_release(train_ctx *c); /* one that is all zeros is accepted */

/* Calls fn on pieces of `chunk` items (the last may have fewer) of 0..n-1, n < 2^32, on
 * the team's threads; not inside fn. */
void train_each(const train_ctx *c, size_t n, size_t chunk, specp_team_fn *fn, void *arg);
unsigned train_threads(const train_ctx *c);

/* y = x W^T, W (n_out, n_in); with `add` it is added to y. */
void train_linear(const train_ctx *c, const float *x, const float *w, float *y, size_t rows, size_t n_in,
                  size_t n_out, bool add);
/* y = start + x W^T; start (rows, n_out). */
void train_linear_residual(const train_ctx *c, const float *x, const float *w, const float *start, float *y,
                           size_t rows, size_t n_in, size_t n_out);
/* dx = dy W, or with `add` added to dx; dx == NULL: not wanted. dw += dy^T x; dw == NULL: frozen. */
void train_linear_back(const train_ctx *c, const float *x, const float *w, const float *dy, float *dx,
                       float *dw, size_t rows, size_t n_in, size_t n_out, bool add);

/* y = x / sqrt(mean of squares + eps) * w, row by row. */
void train_rmsnorm(const train_ctx *c, const float *x, const float *w, float eps, float *y, size_t rows,
                   size_t n);
/* dx += (a norm stands beside a residual), dw +=. n is at most the context's `widest`. */
void train_rmsnorm_back(const train_ctx *c, const float *x, const float *w, float eps, const float *dy,
                        float *dx, float *dw, size_t rows, size_t n);

/* Rotates pairs (j, j + head_dim / 2) of each head in place, row r by its position
 * r % seq; cos, sin (seq, head_dim / 2). Backward: the same on the gradient with
 * -sin. */
void train_rope(const train_ctx *c, float *x, const float *cos, const float *sin, size_t rows, size_t seq,
                size_t n_heads, size_t head_dim);

/* y = silu(gate) * up, n elements. */
void train_swiglu(const train_ctx *c, const float *gate, const float *up, float *y, size_t n);
/* dgate and dup may be any of the inputs. */
void train_swiglu_back(const train_ctx *c, const float *gate, const float *up, const float *dy, float *dgate,
                       float *dup, size_t n);

/* Causal attention of sequences that lie one after the other. n_heads is a multiple of n_kv_heads; seq and
 * head_dim are at most the context's. */
typedef struct train_attn {
    size_t n_seqs, seq, n_heads, n_kv_heads, head_dim;
} train_attn;

/* q, out (n_seqs * seq, n_heads * head_dim); key, value (n_seqs * seq, n_kv_heads * head_dim). lse
 * (n_seqs * seq, n_heads): ln of the sum of exponentials of a query's scores, for the backward pass. */
void train_attention(const train_ctx *c, const train_attn *a, const float *q, const float *key,
                     const float *value, float *out, float *lse);
void train_attention_back(const train_ctx *c, const train_attn *a, const float *q, const float *key,
                          const float *value, const float *out, const float *lse, const float *dout,
                          float *dq, float *dkey, float *dvalue);

/* Row r of y is row tokens[r] of w (vocab, n). */
void train_embed(const train_ctx *c, const float *w, const spec_token *tokens, float *y, size_t rows,
                 size_t n);
void train_embed_back(const train_ctx *c, const spec_token *tokens, const float *dy, float *dw, size_t rows,
                      size_t n);

/* Sums over rows that have a target. */
typedef struct train_loss {
    double sum; /* of -ln p(target); NaN or infinite where a logit was */
    size_t n, correct;
} train_loss;

/* Adds the rows' cross-entropy to *loss; logits (rows, vocab) become scale times its
 * gradient, zeros in rows whose label is TRAIN_IGNORED. Other labels are 0..vocab-1. */
void train_cross_entropy(const train_ctx *c, float *logits, const spec_token *labels, size_t rows,
                         size_t vocab, float scale, train_loss *loss);

#endif

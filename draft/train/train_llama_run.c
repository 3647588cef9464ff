/* SPDX-License-Identifier: MIT */
/*
 * Forward and backward of a micro-batch. What the backward pass cannot cheaply
 * compute again is kept for each layer, all else is one buffer for all of them:
 *
 *     kept   x -> (norm) -> q k v -> rope -> attn -> mid -> (norm) -> gate up -> (act) -> next x
 *            *              * * *            *       *                *    *
 *
 * In the backward pass `dx`, the gradient of the residual stream, is carried from
 * the last layer to the first and changed in place. Logits exist for HEAD_ROWS rows at a time, and
 * become their gradient at once, so that no buffer is as large as rows * vocabulary.
 */
#include <string.h>

#include "model.h"
#include "train_llama_internal.h"

#define HEAD_ROWS 1024
#define ALIGNED   16 /* floats: a cache line */

typedef struct kept {
    float *x, *mid;   /* (rows, dim) */
    float *q, *k, *v; /* (rows, heads * head_dim), the last two of KV heads; rotated */
    float *attn, *gate, *up;
    float *lse; /* (rows, heads), of attention */
} kept;

struct train_acts {
    size_t max_rows, max_seq;
    float *block; /* aligned, in the store */
    void *store;
    size_t n_store;
    kept *layer; /* (n_layers + 1): the last has x alone */
    size_t n_layers;
    float *normed, *dnormed, *dx; /* (max_rows, dim) */
    float *dq, *dk, *dv, *dattn;  /* as q, k, v, attn */
    float *act, *dgate, *dup;     /* (max_rows, n_ff) */
    float *logits;                /* (HEAD_ROWS, vocab) */
    float *cos, *sin, *minus_sin; /* (max_seq, head_dim / 2) */
};

/* ---- buffers ------------------------------------------------------------- */

/* Hands out n floats of the block, from a cache line on, or while there is none only counts them. */
static float *take(train_acts *a, size_t *at, size_t n) {
    float *p = a->block ? a->block + *at : NULL;
    *at += (n + ALIGNED - 1) / ALIGNED * ALIGNED;
    return p;
}

/* Returns the floats of the block. */
static size_t lay_out(train_acts *a, const train_llama_shape *s) {
    size_t at = 0, rows = a->max_rows, q = rows * s->n_heads * s->head_dim;
    size_t kv = rows * s->n_kv_heads * s->head_dim, dim = rows * s->dim, ff = rows * s->n_ff;
    for (size_t l = 0; l < s->n_layers; l++) {
        kept *c = &a->layer[l];
        c->x = take(a, &at, dim);
        c->mid = take(a, &at, dim);
        c->q = take(a, &at, q);
        c->k = take(a, &at, kv);
        c->v = take(a, &at, kv);
        c->attn = take(a, &at, q);
        c->lse = take(a, &at, rows * s->n_heads);
        c->gate = take(a, &at, ff);
        c->up = take(a, &at, ff);
    }
    a->layer[s->n_layers].x = take(a, &at, dim);
    a->normed = take(a, &at, dim);
    a->dnormed = take(a, &at, dim);
    a->dx = take(a, &at, dim);
    a->dq = take(a, &at, q);
    a->dk = take(a, &at, kv);
    a->dv = take(a, &at, kv);
    a->dattn = take(a, &at, q);
    a->act = take(a, &at, ff);
    a->dgate = take(a, &at, ff);
    a->dup = take(a, &at, ff);
    a->logits = take(a, &at, (rows < HEAD_ROWS ? rows : HEAD_ROWS) * s->vocab);
    a->cos = take(a, &at, a->max_seq * (s->head_dim / 2));
    a->sin = take(a, &at, a->max_seq * (s->head_dim / 2));
    a->minus_sin = take(a, &at, a->max_seq * (s->head_dim / 2));
    return at;
}

static void fill_rope(train_acts *a, const train_llama_shape *s) {
    double freq[512]; /* head_dim is at most 1024 */
    size_t half = s->head_dim / 2;
    specp_rope_freqs(s->rope_base, s->head_dim, freq);
    for (size_t t = 0; t < a->max_seq; t++) {
        specp_rope_table(freq, half, t, a->cos + t * half, a->sin + t * half);
    }
    for (size_t i = 0; i < a->max_seq * half; i++) a->minus_sin[i] = -a->sin[i];
}

train_acts *train_acts_new(const train_llama_shape *s, size_t max_rows, size_t max_seq,
                           const spec_allocator *alloc) {
    train_acts *a = specp_calloc(alloc, 1, sizeof *a);
    if (!a) return NULL;
    a->max_rows = max_rows;
    a->max_seq = max_seq;
    a->n_layers = s->n_layers;
    a->layer = specp_calloc(alloc, s->n_layers + 1, sizeof *a->layer);
    if (a->layer) {
        a->n_store = lay_out(a, s) + ALIGNED;
        a->store = specp_alloc(alloc, a->n_store, sizeof *a->block);
    }
    if (!a->layer || !a->store) {
        train_acts_free(a, alloc);
        return NULL;
    }
    a->block = (float *)(((uintptr_t)a->store + ALIGNED * sizeof(float) - 1) & ~(uintptr_t)63);
    lay_out(a, s);
    fill_rope(a, s);
    return a;
}

void train_acts_free(train_acts *a, const spec_allocator *alloc) {
    if (!a) return;
    specp_release(alloc, a->store, a->n_store, sizeof *a->block);
    specp_release(alloc, a->layer, a->n_layers + 1, sizeof *a->layer);
    specp_release(alloc, a, 1, sizeof *a);
}

/* ---- a layer ------------------------------------------------------------- */

/* Where a part of layer l begins in the flat arrays. */
static size_t part(const train_llama *m, size_t l, enum train_part p) {
    return m->p.view[1 + l * TRAIN_PARTS + p].offset;
}

static void lap(train_llama *m, enum train_time part, double flop) { train_times_lap(&m->times, part, flop); }

/* Floating-point operations of a product with `weights` weights. */
static double flop(size_t rows, size_t weights) { return 2.0 * (double)rows * (double)weights; }

/* Of one of attention's products, of scores or with them: a query sees the keys up to its own. */
static double attention_flop(const train_attn *a) {
    return (double)(a->n_seqs * a->n_heads) * (double)a->seq * (double)(a->seq + 1) * (double)a->head_dim;
}

static void layer_forward(train_llama *m, size_t l, const train_attn *at) {
    const train_llama_shape *s = &m->shape;
    train_acts *a = m->acts;
    kept *c = &a->layer[l];
    size_t rows = at->n_seqs * at->seq, dim = s->dim, nq = s->n_heads * s->head_dim;
    size_t nkv = s->n_kv_heads * s->head_dim;
    float *x = a->layer[l + 1].x;
    const float *w = m->p.value;
    train_rmsnorm(&m->ctx, c->x, w + part(m, l, TRAIN_ATTN_NORM), s->eps, a->normed, rows, dim);
    lap(m, TRAIN_FORWARD_NORM, 0.0);
    train_linear(&m->ctx, a->normed, w + part(m, l, TRAIN_Q), c->q, rows, dim, nq, false);
    train_linear(&m->ctx, a->normed, w + part(m, l, TRAIN_K), c->k, rows, dim, nkv, false);
    train_linear(&m->ctx, a->normed, w + part(m, l, TRAIN_V), c->v, rows, dim, nkv, false);
    lap(m, TRAIN_FORWARD_QKV, flop(rows, dim * (nq + 2 * nkv)));
    train_rope(&m->ctx, c->q, a->cos, a->sin, rows, at->seq, s->n_heads, s->head_dim);
    train_rope(&m->ctx, c->k, a->cos, a->sin, rows, at->seq, s->n_kv_heads, s->head_dim);
    lap(m, TRAIN_FORWARD_ROPE, 0.0);
    train_attention(&m->ctx, at, c->q, c->k, c->v, c->attn, c->lse);
    lap(m, TRAIN_FORWARD_ATTENTION, 2.0 * attention_flop(at));
    train_linear_residual(&m->ctx, c->attn, w + part(m, l, TRAIN_O), c->x, c->mid, rows, nq, dim);
    lap(m, TRAIN_FORWARD_O, flop(rows, dim * nq));
    train_rmsnorm(&m->ctx, c->mid, w + part(m, l, TRAIN_FFN_NORM), s->eps, a->normed, rows, dim);
    lap(m, TRAIN_FORWARD_NORM, 0.0);
    train_linear(&m->ctx, a->normed, w + part(m, l, TRAIN_GATE), c->gate, rows, dim, s->n_ff, false);
    train_linear(&m->ctx, a->normed, w + part(m, l, TRAIN_UP), c->up, rows, dim, s->n_ff, false);
    lap(m, TRAIN_FORWARD_FFN, flop(rows, dim * 2 * s->n_ff));
    train_swiglu(&m->ctx, c->gate, c->up, a->act, rows * s->n_ff);
    lap(m, TRAIN_FORWARD_ACT, 0.0);
    train_linear_residual(&m->ctx, a->act, w + part(m, l, TRAIN_DOWN), c->mid, x, rows, s->n_ff, dim);
    lap(m, TRAIN_FORWARD_FFN, flop(rows, dim * s->n_ff));
}

/* dx, of what the layer gave, becomes the gradient of `mid`. */
static void ffn_backward(train_llama *m, size_t l, size_t rows) {
    const train_llama_shape *s = &m->shape;
    train_acts *a = m->acts;
    kept *c = &a->layer[l];
    const float *w = m->p.value;
    float *g = m->p.grad;
    size_t dim = s->dim, ff = s->n_ff, norm = part(m, l, TRAIN_FFN_NORM), gate = part(m, l, TRAIN_GATE);
    size_t up = part(m, l, TRAIN_UP), down = part(m, l, TRAIN_DOWN);
    train_rmsnorm(&m->ctx, c->mid, w + norm, s->eps, a->normed, rows, dim);
    lap(m, TRAIN_BACKWARD_NORM, 0.0);
    train_swiglu(&m->ctx, c->gate, c->up, a->act, rows * ff);
    lap(m, TRAIN_BACKWARD_ACT, 0.0);
    train_linear_back(&m->ctx, a->act, w + down, a->dx, a->dup, g + down, rows, ff, dim, false);
    lap(m, TRAIN_BACKWARD_FFN, 2.0 * flop(rows, dim * ff));
    train_swiglu_back(&m->ctx, c->gate, c->up, a->dup, a->dgate, a->dup, rows * ff);
    lap(m, TRAIN_BACKWARD_ACT, 0.0);
    train_linear_back(&m->ctx, a->normed, w + gate, a->dgate, a->dnormed, g + gate, rows, dim, ff, false);
    train_linear_back(&m->ctx, a->normed, w + up, a->dup, a->dnormed, g + up, rows, dim, ff, true);
    lap(m, TRAIN_BACKWARD_FFN, 2.0 * flop(rows, dim * 2 * ff));
    train_rmsnorm_back(&m->ctx, c->mid, w + norm, s->eps, a->dnormed, a->dx, g + norm, rows, dim);
    lap(m, TRAIN_BACKWARD_NORM, 0.0);
}

/* dx, of `mid`, becomes the gradient of the layer's x. */
static void attention_backward(train_llama *m, size_t l, const train_attn *at) {
    const train_llama_shape *s = &m->shape;
    train_acts *a = m->acts;
    kept *c = &a->layer[l];
    const float *w = m->p.value;
    float *g = m->p.grad;
    size_t rows = at->n_seqs * at->seq, dim = s->dim, nq = s->n_heads * s->head_dim;
    size_t nkv = s->n_kv_heads * s->head_dim, norm = part(m, l, TRAIN_ATTN_NORM), o = part(m, l, TRAIN_O);
    size_t wq = part(m, l, TRAIN_Q), wk = part(m, l, TRAIN_K), wv = part(m, l, TRAIN_V);
    train_rmsnorm(&m->ctx, c->x, w + norm, s->eps, a->normed, rows, dim);
    lap(m, TRAIN_BACKWARD_NORM, 0.0);
    train_linear_back(&m->ctx, c->attn, w + o, a->dx, a->dattn, g + o, rows, nq, dim, false);
    lap(m, TRAIN_BACKWARD_O, 2.0 * flop(rows, dim * nq));
    train_attention_back(&m->ctx, at, c->q, c->k, c->v, c->attn, c->lse, a->dattn, a->dq, a->dk, a->dv);
    lap(m, TRAIN_BACKWARD_ATTENTION, 5.0 * attention_flop(at));
    train_rope(&m->ctx, a->dq, a->cos, a->minus_sin, rows, at->seq, s->n_heads, s->head_dim);
    train_rope(&m->ctx, a->dk, a->cos, a->minus_sin, rows, at->seq, s->n_kv_heads, s->head_dim);
    lap(m, TRAIN_BACKWARD_ROPE, 0.0);
    train_linear_back(&m->ctx, a->normed, w + wq, a->dq, a->dnormed, g + wq, rows, dim, nq, false);
    train_linear_back(&m->ctx, a->normed, w + wk, a->dk, a->dnormed, g + wk, rows, dim, nkv, true);
    train_linear_back(&m->ctx, a->normed, w + wv, a->dv, a->dnormed, g + wv, rows, dim, nkv, true);
    lap(m, TRAIN_BACKWARD_QKV, 2.0 * flop(rows, dim * (nq + 2 * nkv)));
    train_rmsnorm_back(&m->ctx, c->x, w + norm, s->eps, a->dnormed, a->dx, g + norm, rows, dim);
    lap(m, TRAIN_BACKWARD_NORM, 0.0);
}

/* ---- a micro-batch ------------------------------------------------------- */

/* The output matrix and the loss; with `backward` also the gradient of the normed rows, into dnormed. */
static void head(train_llama *m, const spec_token *targets, size_t rows, size_t n_targets, bool backward,
                 train_loss *loss) {
    const train_llama_shape *s = &m->shape;
    train_acts *a = m->acts;
    size_t w = m->p.view[s->tied ? 0 : m->p.n_views - 1].offset, dim = s->dim;
    float scale = n_targets ? (float)(1.0 / (double)n_targets) : 0.0f;
    for (size_t r = 0; r < rows; r += HEAD_ROWS) {
        size_t n = rows - r < HEAD_ROWS ? rows - r : HEAD_ROWS;
        const float *x = a->normed + r * dim;
        train_linear(&m->ctx, x, m->p.value + w, a->logits, n, dim, s->vocab, false);
        lap(m, TRAIN_FORWARD_HEAD, flop(n, dim * s->vocab));
        train_cross_entropy(&m->ctx, a->logits, targets + r, n, s->vocab, scale, loss);
        lap(m, TRAIN_LOSS, 0.0);
        if (backward) {
            train_linear_back(&m->ctx, x, m->p.value + w, a->logits, a->dnormed + r * dim, m->p.grad + w, n,
                              dim, s->vocab, false);
            lap(m, TRAIN_BACKWARD_HEAD, 2.0 * flop(n, dim * s->vocab));
        }
    }
}

/* Adds to *n_targets the rows that have one. */
static int check_batch(const train_llama *m, const spec_token *tokens, const spec_token *targets,
                       size_t n_seqs, size_t seq, size_t *n_targets, spec_message *why) {
    const train_acts *a = m->acts;
    if (seq < 1 || seq > a->max_seq || n_seqs < 1 || n_seqs > a->max_rows / seq) {
        return specp_fail(why, SPEC_ERR_INVALID, "%zu sequences of %zu tokens: room for %zu, of up to %zu",
                          n_seqs, seq, a->max_rows, a->max_seq);
    }
    for (size_t r = 0; r < n_seqs * seq; r++) {
        bool counts = targets[r] != TRAIN_IGNORED;
        if (tokens[r] < 0 || (size_t)tokens[r] >= m->shape.vocab ||
            (counts && (targets[r] < 0 || (size_t)targets[r] >= m->shape.vocab))) {
            return specp_fail(why, SPEC_ERR_INVALID, "row %zu: token %d, target %d, of a vocabulary of %zu",
                              r, (int)tokens[r], (int)targets[r], m->shape.vocab);
        }
        *n_targets += counts;
    }
    return SPEC_OK;
}

int train_llama_run(train_llama *m, const spec_token *tokens, const spec_token *targets, size_t n_seqs,
                    size_t seq, bool backward, train_loss *loss, spec_message *why) {
    const train_llama_shape *s = &m->shape;
    train_acts *a = m->acts;
    size_t rows = n_seqs * seq, n_targets = 0, norm = m->p.view[1 + s->n_layers * TRAIN_PARTS].offset;
    int err = check_batch(m, tokens, targets, n_seqs, seq, &n_targets, why);
    if (err) return err;
    train_attn at = {n_seqs, seq, s->n_heads, s->n_kv_heads, s->head_dim};
    train_times_begin(&m->times);
    train_embed(&m->ctx, m->p.value, tokens, a->layer[0].x, rows, s->dim);
    lap(m, TRAIN_FORWARD_EMBED, 0.0);
    for (size_t l = 0; l < s->n_layers; l++) layer_forward(m, l, &at);
    const float *last = a->layer[s->n_layers].x;
    train_rmsnorm(&m->ctx, last, m->p.value + norm, s->eps, a->normed, rows, s->dim);
    lap(m, TRAIN_FORWARD_NORM, 0.0);
    head(m, targets, rows, n_targets, backward, loss);
    if (!backward) return SPEC_OK;
    memset(a->dx, 0, rows * s->dim * sizeof *a->dx);
    train_rmsnorm_back(&m->ctx, last, m->p.value + norm, s->eps, a->dnormed, a->dx, m->p.grad + norm, rows,
                       s->dim);
    lap(m, TRAIN_BACKWARD_NORM, 0.0);
    for (size_t l = s->n_layers; l-- > 0;) {
        ffn_backward(m, l, rows);
        attention_backward(m, l, &at);
    }
    train_embed_back(&m->ctx, tokens, a->dx, m->p.grad, rows, s->dim);
    lap(m, TRAIN_BACKWARD_EMBED, 0.0);
    return SPEC_OK;
}

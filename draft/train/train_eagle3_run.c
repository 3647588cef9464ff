/* SPDX-License-Identifier: MIT */
/*
 * Forward and backward of a micro-batch. Forward runs all steps without looking at the
 * loss; then each step, the last one first, makes its logits (EAGLE3_HEAD_ROWS rows at a time),
 * which become their gradient at once, and goes back:
 *
 *     fc -> f(0) -> layer -> f(1) -> layer -> f(2)
 *                            |                |
 *                          loss 0           loss 1
 *     dx <--------- dx <---- + <----- dx <--- +
 *
 * `dx`, the gradient of f(j), is carried and changed in place. Keys and values of step s get gradients
 * from all steps j >= s, which are done when step s itself goes back.
 */
#include <string.h>

#include "train_eagle3_internal.h"

#define ROWS 64 /* of a piece */

static const float *value_of(const train_eagle3 *m, enum train_eagle3_view v) {
    return m->p.value + m->p.view[v].offset;
}

static float *grad_of(const train_eagle3 *m, enum train_eagle3_view v) {
    return m->p.grad + m->p.view[v].offset;
}

static void lap(train_eagle3 *m, enum train_time part, double flop) {
    train_times_lap(&m->times, part, flop);
}

static double flop(size_t rows, size_t weights) { return train_eagle3_flop(rows, weights); }

/* Of one of attention's products: a query sees the keys up to its own, and j more. */
static double attention_flop(const train_attn *a, size_t j) {
    return (double)(a->n_seqs * a->n_heads * a->head_dim) * (double)a->seq * (double)(a->seq + 1 + 2 * j);
}

/* ---- pairs --------------------------------------------------------------- */

typedef struct pairs {
    const train_eagle3 *m;
    const float *f;
} pairs;

/* Row r: the normed embedding of ids[r], and after it the normed f. */
static void pair_rows(void *arg, size_t begin, size_t end, unsigned thread) {
    const pairs *p = arg;
    const train_eagle3 *m = p->m;
    const train_eagle3_acts *a = m->acts;
    const specp_kernels *k = &m->ctx.kernels;
    size_t dim = m->shape.dim;
    (void)thread;
    for (size_t r = begin; r < end; r++) {
        float *to = a->pair + r * 2 * dim;
        k->rmsnorm(m->embedding + (size_t)a->ids[r] * dim, value_of(m, EAGLE3_INPUT_NORM), m->shape.eps, to,
                   dim);
        k->rmsnorm(p->f + r * dim, value_of(m, EAGLE3_HIDDEN_NORM), m->shape.eps, to + dim, dim);
    }
}

/* What step j reads: tokens j + 1 ahead, 0 after a sequence's end, beside f(j). */
static void make_pairs(train_eagle3 *m, const train_eagle3_batch *b, size_t j) {
    size_t rows = b->n_seqs * b->seq;
    for (size_t r = 0; r < rows; r++)
        m->acts->ids[r] = r % b->seq + 1 + j < b->seq ? b->tokens[r + 1 + j] : 0;
    pairs p = {m, m->acts->f[j]};
    train_each(&m->ctx, rows, ROWS, pair_rows, &p);
}

typedef struct copy {
    const float *from;
    float *to;
    size_t ld, n;
} copy;

static void copy_piece(void *arg, size_t begin, size_t end, unsigned thread) {
    const copy *c = arg;
    (void)thread;
    for (size_t r = begin; r < end; r++) memcpy(c->to + r * c->n, c->from + r * c->ld, c->n * sizeof *c->to);
}

/* Rows of dim floats that lie `ld` apart, without gaps. */
static void copy_rows(const train_eagle3 *m, const float *from, size_t ld, float *to, size_t rows) {
    copy c = {from, to, ld, m->shape.dim};
    train_each(&m->ctx, rows, ROWS, copy_piece, &c);
}

/* From dpair to the norms' gradients; dx, of the residual, becomes that of f(j). */
static void pairs_backward(train_eagle3 *m, size_t j, size_t rows) {
    train_eagle3_acts *a = m->acts;
    size_t dim = m->shape.dim;
    float eps = m->shape.eps, *unused = a->pair; /* the gradient of the frozen embeddings */
    copy_rows(m, a->dpair, 2 * dim, a->dnormed, rows);
    train_embed(&m->ctx, m->embedding, a->ids, a->normed, rows, dim);
    train_rmsnorm_back(&m->ctx, a->normed, value_of(m, EAGLE3_INPUT_NORM), eps, a->dnormed, unused,
                       grad_of(m, EAGLE3_INPUT_NORM), rows, dim);
    copy_rows(m, a->dpair + dim, 2 * dim, a->dnormed, rows);
    if (m->shape.norm_before_residual) {
        m->ctx.kernels.add(a->dnormed, a->dx, rows * dim);
        memset(a->dx, 0, rows * dim * sizeof *a->dx);
    }
    train_rmsnorm_back(&m->ctx, a->f[j], value_of(m, EAGLE3_HIDDEN_NORM), eps, a->dnormed, a->dx,
                       grad_of(m, EAGLE3_HIDDEN_NORM), rows, dim);
}

/* ---- a step -------------------------------------------------------------- */

static train_ttt attention_of(const train_eagle3 *m, const train_eagle3_batch *b, size_t j) {
    const train_eagle3_shape *s = &m->shape;
    train_ttt t = {.attn = {b->n_seqs, b->seq, s->n_heads, s->n_kv_heads, s->head_dim}, .step = j};
    for (size_t i = 0; i <= j; i++) {
        t.key[i] = m->acts->step[i].k;
        t.value[i] = m->acts->step[i].v;
    }
    return t;
}

/* Rotates by i + j, or back. */
static void rotate(const train_eagle3 *m, const train_eagle3_batch *b, size_t j, float *x, size_t heads,
                   bool back) {
    const train_eagle3_acts *a = m->acts;
    size_t d = m->shape.head_dim, at = j * (d / 2);
    train_rope(&m->ctx, x, a->cos + at, (back ? a->minus_sin : a->sin) + at, b->n_seqs * b->seq, b->seq,
               heads, d);
}

static void step_forward(train_eagle3 *m, const train_eagle3_batch *b, size_t j) {
    const train_eagle3_shape *s = &m->shape;
    const train_ctx *c = &m->ctx;
    train_eagle3_acts *a = m->acts;
    train_eagle3_kept *k = &a->step[j];
    size_t rows = b->n_seqs * b->seq, dim = s->dim, ff = s->n_ff;
    size_t q = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;
    make_pairs(m, b, j);
    lap(m, TRAIN_FORWARD_NORM, 0.0);
    train_linear(c, a->pair, value_of(m, EAGLE3_Q), k->q, rows, 2 * dim, q, false);
    train_linear(c, a->pair, value_of(m, EAGLE3_K), k->k, rows, 2 * dim, kv, false);
    train_linear(c, a->pair, value_of(m, EAGLE3_V), k->v, rows, 2 * dim, kv, false);
    lap(m, TRAIN_FORWARD_QKV, flop(rows, 2 * dim * (q + 2 * kv)));
    rotate(m, b, j, k->q, s->n_heads, false);
    rotate(m, b, j, k->k, s->n_kv_heads, false);
    lap(m, TRAIN_FORWARD_ROPE, 0.0);
    train_ttt at = attention_of(m, b, j);
    train_ttt_attention(c, &at, k->q, k->attn, k->lse);
    lap(m, TRAIN_FORWARD_ATTENTION, 2.0 * attention_flop(&at.attn, j));
    if (s->norm_before_residual)
        copy_rows(m, a->pair + dim, 2 * dim, k->mid, rows);
    else
        copy_rows(m, a->f[j], dim, k->mid, rows);
    train_linear(c, k->attn, value_of(m, EAGLE3_O), k->mid, rows, q, dim, true);
    lap(m, TRAIN_FORWARD_O, flop(rows, dim * q));
    train_rmsnorm(c, k->mid, value_of(m, EAGLE3_FFN_NORM), s->eps, a->normed, rows, dim);
    lap(m, TRAIN_FORWARD_NORM, 0.0);
    train_linear(c, a->normed, value_of(m, EAGLE3_GATE), k->gate, rows, dim, ff, false);
    train_linear(c, a->normed, value_of(m, EAGLE3_UP), k->up, rows, dim, ff, false);
    lap(m, TRAIN_FORWARD_FFN, flop(rows, dim * 2 * ff));
    train_swiglu(c, k->gate, k->up, a->act, rows * ff);
    lap(m, TRAIN_FORWARD_ACT, 0.0);
    copy_rows(m, k->mid, dim, a->f[j + 1], rows);
    train_linear(c, a->act, value_of(m, EAGLE3_DOWN), a->f[j + 1], rows, ff, dim, true);
    lap(m, TRAIN_FORWARD_FFN, flop(rows, dim * ff));
}

/* dx, of f(j + 1), becomes the gradient of `mid`. */
static void ffn_backward(train_eagle3 *m, size_t j, size_t rows) {
    const train_ctx *c = &m->ctx;
    train_eagle3_acts *a = m->acts;
    train_eagle3_kept *k = &a->step[j];
    size_t dim = m->shape.dim, ff = m->shape.n_ff;
    train_rmsnorm(c, k->mid, value_of(m, EAGLE3_FFN_NORM), m->shape.eps, a->normed, rows, dim);
    lap(m, TRAIN_BACKWARD_NORM, 0.0);
    train_swiglu(c, k->gate, k->up, a->act, rows * ff);
    lap(m, TRAIN_BACKWARD_ACT, 0.0);
    train_linear_back(c, a->act, value_of(m, EAGLE3_DOWN), a->dx, a->dup, grad_of(m, EAGLE3_DOWN), rows, ff,
                      dim, false);
    lap(m, TRAIN_BACKWARD_FFN, 2.0 * flop(rows, dim * ff));
    train_swiglu_back(c, k->gate, k->up, a->dup, a->dgate, a->dup, rows * ff);
    lap(m, TRAIN_BACKWARD_ACT, 0.0);
    train_linear_back(c, a->normed, value_of(m, EAGLE3_GATE), a->dgate, a->dnormed, grad_of(m, EAGLE3_GATE),
                      rows, dim, ff, false);
    train_linear_back(c, a->normed, value_of(m, EAGLE3_UP), a->dup, a->dnormed, grad_of(m, EAGLE3_UP), rows,
                      dim, ff, true);
    lap(m, TRAIN_BACKWARD_FFN, 2.0 * flop(rows, dim * 2 * ff));
    train_rmsnorm_back(c, k->mid, value_of(m, EAGLE3_FFN_NORM), m->shape.eps, a->dnormed, a->dx,
                       grad_of(m, EAGLE3_FFN_NORM), rows, dim);
    lap(m, TRAIN_BACKWARD_NORM, 0.0);
}

/* dx, of `mid`, becomes the gradient of f(j). */
static void attention_backward(train_eagle3 *m, const train_eagle3_batch *b, size_t j) {
    const train_eagle3_shape *s = &m->shape;
    const train_ctx *c = &m->ctx;
    train_eagle3_acts *a = m->acts;
    train_eagle3_kept *k = &a->step[j];
    size_t rows = b->n_seqs * b->seq, dim = s->dim;
    size_t q = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;
    float *dkey[TRAIN_EAGLE3_MAX_STEPS], *dvalue[TRAIN_EAGLE3_MAX_STEPS];
    for (size_t i = 0; i <= j; i++) {
        dkey[i] = a->step[i].dk;
        dvalue[i] = a->step[i].dv;
    }
    make_pairs(m, b, j);
    lap(m, TRAIN_BACKWARD_NORM, 0.0);
    train_linear_back(c, k->attn, value_of(m, EAGLE3_O), a->dx, a->dattn, grad_of(m, EAGLE3_O), rows, q, dim,
                      false);
    lap(m, TRAIN_BACKWARD_O, 2.0 * flop(rows, dim * q));
    train_ttt at = attention_of(m, b, j);
    train_ttt_attention_back(c, &at, k->q, k->attn, k->lse, a->dattn, a->dq, dkey, dvalue, a->dkv);
    lap(m, TRAIN_BACKWARD_ATTENTION, 5.0 * attention_flop(&at.attn, j));
    rotate(m, b, j, a->dq, s->n_heads, true);
    rotate(m, b, j, k->dk, s->n_kv_heads, true);
    lap(m, TRAIN_BACKWARD_ROPE, 0.0);
    train_linear_back(c, a->pair, value_of(m, EAGLE3_Q), a->dq, a->dpair, grad_of(m, EAGLE3_Q), rows, 2 * dim,
                      q, false);
    train_linear_back(c, a->pair, value_of(m, EAGLE3_K), k->dk, a->dpair, grad_of(m, EAGLE3_K), rows, 2 * dim,
                      kv, true);
    train_linear_back(c, a->pair, value_of(m, EAGLE3_V), k->dv, a->dpair, grad_of(m, EAGLE3_V), rows, 2 * dim,
                      kv, true);
    lap(m, TRAIN_BACKWARD_QKV, 2.0 * flop(rows, 2 * dim * (q + 2 * kv)));
    pairs_backward(m, j, rows);
    lap(m, TRAIN_BACKWARD_NORM, 0.0);
}

/* ---- a micro-batch ------------------------------------------------------- */

/* Step j's logits and loss; with `backward` dx takes up the gradient. */
static void head(train_eagle3 *m, const train_eagle3_batch *b, size_t j, float scale, bool backward,
                 train_eagle3_part *part) {
    train_eagle3_acts *a = m->acts;
    size_t rows = b->n_seqs * b->seq, dim = m->shape.dim, vocab = m->shape.draft_vocab;
    const float *w = value_of(m, EAGLE3_OUTPUT);
    train_rmsnorm(&m->ctx, a->f[j + 1], value_of(m, EAGLE3_NORM), m->shape.eps, a->normed, rows, dim);
    lap(m, TRAIN_FORWARD_NORM, 0.0);
    for (size_t r = 0; r < rows; r += EAGLE3_HEAD_ROWS) {
        size_t n = rows - r < EAGLE3_HEAD_ROWS ? rows - r : EAGLE3_HEAD_ROWS;
        const float *x = a->normed + r * dim;
        train_linear(&m->ctx, x, w, a->logits, n, dim, vocab, false);
        lap(m, TRAIN_FORWARD_HEAD, flop(n, dim * vocab));
        train_eagle3_entropy(m, b, j, r, n, scale, part);
        lap(m, TRAIN_LOSS, 0.0);
        if (!backward) continue;
        train_linear_back(&m->ctx, x, w, a->logits, a->dnormed + r * dim, grad_of(m, EAGLE3_OUTPUT), n, dim,
                          vocab, false);
        lap(m, TRAIN_BACKWARD_HEAD, 2.0 * flop(n, dim * vocab));
    }
    if (!backward) return;
    train_rmsnorm_back(&m->ctx, a->f[j + 1], value_of(m, EAGLE3_NORM), m->shape.eps, a->dnormed, a->dx,
                       grad_of(m, EAGLE3_NORM), rows, dim);
    lap(m, TRAIN_BACKWARD_NORM, 0.0);
}

/* Gradients that are added to, as zeros. */
static void clear(train_eagle3 *m, size_t rows) {
    size_t kv = rows * m->shape.n_kv_heads * m->shape.head_dim;
    memset(m->acts->dx, 0, rows * m->shape.dim * sizeof *m->acts->dx);
    for (size_t j = 0; j < m->shape.steps; j++) {
        memset(m->acts->step[j].dk, 0, kv * sizeof(float));
        memset(m->acts->step[j].dv, 0, kv * sizeof(float));
    }
}

static int check_batch(const train_eagle3 *m, const train_eagle3_batch *b, spec_message *why) {
    const train_eagle3_acts *a = m->acts;
    if (b->seq < 1 || b->seq > a->max_seq || b->n_seqs < 1 || b->n_seqs > a->max_rows / b->seq)
        return specp_fail(why, SPEC_ERR_INVALID, "%zu sequences of %zu tokens: room for %zu, of up to %zu",
                          b->n_seqs, b->seq, a->max_rows, a->max_seq);
    if (!b->logits && !(b->hidden && b->output))
        return specp_fail(why, SPEC_ERR_INVALID, "neither the target's logits nor what makes them");
    for (size_t r = 0; r < b->n_seqs * b->seq; r++) {
        if (b->tokens[r] < 0 || (size_t)b->tokens[r] >= m->shape.vocab)
            return specp_fail(why, SPEC_ERR_INVALID, "row %zu: token %d, of a vocabulary of %zu", r,
                              (int)b->tokens[r], m->shape.vocab);
    }
    return SPEC_OK;
}

int train_eagle3_run(train_eagle3 *m, const train_eagle3_batch *b, bool backward, train_eagle3_sums *sums,
                     spec_message *why) {
    const train_eagle3_shape *s = &m->shape;
    size_t rows = b->n_seqs * b->seq, width = s->n_taps * s->dim;
    double weight[TRAIN_EAGLE3_MAX_STEPS] = {1.0};
    int err = check_batch(m, b, why);
    if (err) return err;
    for (size_t j = 1; j < s->steps; j++) weight[j] = weight[j - 1] * s->decay;
    train_times_begin(&m->times);
    train_eagle3_targets(m, b);
    train_linear(&m->ctx, b->taps, value_of(m, EAGLE3_FC), m->acts->f[0], rows, width, s->dim, false);
    lap(m, TRAIN_FORWARD_EMBED, flop(rows, width * s->dim));
    for (size_t j = 0; j < s->steps; j++) step_forward(m, b, j);
    if (backward) clear(m, rows);
    for (size_t j = s->steps; j-- > 0;) {
        head(m, b, j, (float)(weight[j] / (double)rows), backward, &sums->step[j]);
        if (!backward) continue;
        ffn_backward(m, j, rows);
        attention_backward(m, b, j);
    }
    sums->rows += rows;
    if (!backward) return SPEC_OK;
    train_linear_back(&m->ctx, b->taps, NULL, m->acts->dx, NULL, grad_of(m, EAGLE3_FC), rows, width, s->dim,
                      false);
    lap(m, TRAIN_BACKWARD_EMBED, flop(rows, width * s->dim));
    return SPEC_OK;
}

double train_eagle3_loss(const train_eagle3 *m, const train_eagle3_sums *sums) {
    double loss = 0.0, weight = 1.0;
    for (size_t j = 0; j < m->shape.steps && sums->rows; j++, weight *= m->shape.decay)
        loss += weight * sums->step[j].sum / (double)sums->rows;
    return loss;
}

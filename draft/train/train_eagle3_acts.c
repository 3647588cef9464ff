/* SPDX-License-Identifier: MIT */
/*
 * The buffers of a micro-batch for an EAGLE-3 head: one block of floats. Each step
 * keeps what the backward pass cannot cheaply compute again, all else is there once:
 *
 *     f(j) -> (pair) -> q k v -> rope -> attn -> mid -> (norm) -> gate up -> (act) -> f(j + 1)
 *     *                 * * *            *       *                *    *              *
 */
#include "rope.h"
#include "train_eagle3_internal.h"

/* Hands out n floats of the block, or while there is none only counts them. */
static float *take(train_eagle3_acts *a, size_t *at, size_t n) {
    float *p = a->block ? a->block + *at : NULL;
    *at += n;
    return p;
}

static void lay_out_step(train_eagle3_acts *a, size_t *at, const train_eagle3_shape *s, size_t j) {
    size_t rows = a->max_rows, q = rows * s->n_heads * s->head_dim, kv = rows * s->n_kv_heads * s->head_dim;
    train_eagle3_kept *k = &a->step[j];
    a->f[j] = take(a, at, rows * s->dim);
    k->mid = take(a, at, rows * s->dim);
    k->q = take(a, at, q);
    k->attn = take(a, at, q);
    k->k = take(a, at, kv);
    k->v = take(a, at, kv);
    k->dk = take(a, at, kv);
    k->dv = take(a, at, kv);
    k->gate = take(a, at, rows * s->n_ff);
    k->up = take(a, at, rows * s->n_ff);
    k->lse = take(a, at, rows * s->n_heads);
}

/* Returns the floats of the block. */
static size_t lay_out(train_eagle3_acts *a, const train_eagle3_shape *s) {
    size_t at = 0, rows = a->max_rows, q = rows * s->n_heads * s->head_dim, dim = rows * s->dim;
    size_t ff = rows * s->n_ff, half = (a->max_seq + s->steps) * (s->head_dim / 2);
    size_t widest = s->vocab > s->draft_vocab ? s->vocab : s->draft_vocab;
    for (size_t j = 0; j < s->steps; j++) lay_out_step(a, &at, s, j);
    a->f[s->steps] = take(a, &at, dim);
    a->pair = take(a, &at, 2 * dim);
    a->dpair = take(a, &at, 2 * dim);
    a->normed = take(a, &at, dim);
    a->dnormed = take(a, &at, dim);
    a->dx = take(a, &at, dim);
    a->dq = take(a, &at, q);
    a->dattn = take(a, &at, q);
    a->act = take(a, &at, ff);
    a->dgate = take(a, &at, ff);
    a->dup = take(a, &at, ff);
    a->soft = take(a, &at, rows * s->draft_vocab);
    a->logits = take(a, &at, (rows < EAGLE3_HEAD_ROWS ? rows : EAGLE3_HEAD_ROWS) * widest);
    a->dkv = take(a, &at, 2 * rows * s->n_kv_heads * s->head_dim);
    a->cos = take(a, &at, half);
    a->sin = take(a, &at, half);
    a->minus_sin = take(a, &at, half);
    return at;
}

static void fill_rope(train_eagle3_acts *a, const train_eagle3_shape *s) {
    double freq[512]; /* head_dim is at most 1024 */
    size_t half = s->head_dim / 2, positions = a->max_seq + s->steps;
    specp_rope_freqs(s->rope_base, s->head_dim, freq);
    for (size_t t = 0; t < positions; t++)
        specp_rope_table(freq, half, t, a->cos + t * half, a->sin + t * half);
    for (size_t i = 0; i < positions * half; i++) a->minus_sin[i] = -a->sin[i];
}

train_eagle3_acts *train_eagle3_acts_new(const train_eagle3_shape *s, size_t max_rows, size_t max_seq,
                                         const spec_allocator *alloc) {
    train_eagle3_acts *a = specp_calloc(alloc, 1, sizeof *a);
    if (!a) return NULL;
    a->max_rows = max_rows;
    a->max_seq = max_seq;
    a->n_block = lay_out(a, s);
    a->block = specp_alloc(alloc, a->n_block, sizeof *a->block);
    a->ids = specp_alloc(alloc, max_rows, sizeof *a->ids);
    a->best = specp_alloc(alloc, max_rows, sizeof *a->best);
    a->entropy = specp_alloc(alloc, max_rows, sizeof *a->entropy);
    if (!a->block || !a->ids || !a->best || !a->entropy) {
        train_eagle3_acts_free(a, alloc);
        return NULL;
    }
    lay_out(a, s);
    fill_rope(a, s);
    return a;
}

void train_eagle3_acts_free(train_eagle3_acts *a, const spec_allocator *alloc) {
    if (!a) return;
    specp_release(alloc, a->block, a->n_block, sizeof *a->block);
    specp_release(alloc, a->ids, a->max_rows, sizeof *a->ids);
    specp_release(alloc, a->best, a->max_rows, sizeof *a->best);
    specp_release(alloc, a->entropy, a->max_rows, sizeof *a->entropy);
    specp_release(alloc, a, 1, sizeof *a);
}

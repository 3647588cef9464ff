/* SPDX-License-Identifier: MIT */
/*
 * forward_scratch.c - memory of forward passes. It grows with the widest pass so
 * far and is never needed from one pass to the next, so growing frees first. What
 * a slice needs lies in one block:
 *
 *     | x | qkv | y | gate | up | router | cos, sin | blas |     each from a cache line on
 */
#include "forward.h"

#define LINE_FLOATS 16

/* ---- a slice's rows ------------------------------------------------------- */

static size_t slots_of(const specp_model *m, size_t rows) {
    return m->n_experts ? rows * m->n_experts_used : rows;
}

static size_t widest_input(const specp_model *m) {
    size_t q = m->n_heads * m->head_dim, widest = m->dim > q ? m->dim : q;
    return m->n_ff > widest ? m->n_ff : widest;
}

/* Gives out n floats of the block, which may still be NULL: then they are only counted. */
static float *carve(float *block, size_t *used, size_t n) {
    float *p = block ? block + *used : NULL;
    *used += (n + LINE_FLOATS - 1) / LINE_FLOATS * LINE_FLOATS;
    return p;
}

/* Lays the buffers of `rows` rows out in the block; returns its floats. */
static size_t lay_out(specp_forward *f, const spec_target *t, size_t rows, float *block) {
    const specp_model *m = &t->model;
    size_t used = 0, slots = slots_of(m, rows);
    f->ld_qkv = (m->n_heads + 2 * m->n_kv_heads) * m->head_dim;
    f->x = carve(block, &used, rows * m->dim);
    f->qkv = carve(block, &used, rows * f->ld_qkv);
    f->y = carve(block, &used, slots * m->dim);
    f->gate = carve(block, &used, slots * m->n_ff);
    f->up = carve(block, &used, slots * m->n_ff);
    f->router = carve(block, &used, rows * m->n_experts);
    for (int i = 0; i < 2; i++) {
        size_t n = m->rope_freq[i] ? rows * (m->rope_dim / 2) : 0;
        f->cos[i] = carve(block, &used, n);
        f->sin[i] = carve(block, &used, n);
    }
    f->blas =
        carve(block, &used, t->options.matmul == SPEC_MATMUL_EXACT ? 0 : SPECP_BLAS_ROWS * widest_input(m));
    return used;
}

static int reserve_routing(specp_routing *g, const spec_target *t, size_t rows) {
    size_t experts = t->model.n_experts, slots = slots_of(&t->model, rows);
    if (!experts) return 0;
    g->n_store = 2 * experts + 1 + 3 * slots;
    g->store = specp_alloc(&t->alloc, g->n_store, sizeof *g->store);
    if (!g->store) return SPEC_ERR_NOMEM;
    g->first = g->store;
    g->active = g->first + experts + 1;
    g->row = g->active + experts;
    g->slot = g->row + slots;
    g->weight = (float *)(g->slot + slots);
    return 0;
}

static void release_rows(specp_forward *f, const spec_allocator *alloc) {
    specp_release(alloc, f->store, f->n_store, sizeof *f->store);
    specp_release(alloc, f->routing.store, f->routing.n_store, sizeof *f->routing.store);
    specp_acts_release(&f->in, alloc);
    specp_acts_release(&f->heads, alloc);
    specp_acts_release(&f->ffn, alloc);
    f->routing = (specp_routing){0};
    f->store = NULL;
    f->rows = 0;
}

static int reserve_rows(specp_forward *f, const spec_target *t, size_t rows) {
    const specp_model *m = &t->model;
    if (rows <= f->rows) return 0;
    rows = rows < 2 * f->rows ? 2 * f->rows : rows;
    rows = rows < SPECP_SLICE ? rows : SPECP_SLICE;
    release_rows(f, &t->alloc);
    f->n_store = lay_out(f, t, rows, NULL) + LINE_FLOATS;
    f->store = specp_alloc(&t->alloc, f->n_store, sizeof *f->store);
    if (!f->store || specp_acts_init(&f->in, m->dim, rows, &t->alloc) ||
        specp_acts_init(&f->heads, m->n_heads * m->head_dim, rows, &t->alloc) ||
        specp_acts_init(&f->ffn, m->n_ff, slots_of(m, rows), &t->alloc) ||
        reserve_routing(&f->routing, t, rows)) {
        release_rows(f, &t->alloc);
        return SPEC_ERR_NOMEM;
    }
    uintptr_t line = LINE_FLOATS * sizeof(float);
    lay_out(f, t, rows, (float *)(void *)((char *)f->store + (-(uintptr_t)f->store & (line - 1))));
    f->rows = rows;
    return 0;
}

/* ---- all of it ------------------------------------------------------------ */

static int reserve_results(specp_forward *f, const spec_target *t, const spec_forward_args *args) {
    const spec_allocator *alloc = &t->alloc;
    size_t n = f->batch.n_out, taps = n * args->n_taps * t->model.dim;
    if (!args->no_logits) {
        f->logits = specp_scratch(f->logits, &f->cap_logits, n * t->model.vocab, sizeof *f->logits, alloc);
        f->argmax = specp_scratch(f->argmax, &f->cap_argmax, n, sizeof *f->argmax, alloc);
        if (!f->logits || !f->argmax) return SPEC_ERR_NOMEM;
    }
    if (taps) f->hidden = specp_scratch(f->hidden, &f->cap_hidden, taps, sizeof *f->hidden, alloc);
    return taps && !f->hidden ? SPEC_ERR_NOMEM : 0;
}

int specp_forward_reserve(specp_forward *f, const spec_target *t, const spec_forward_args *args) {
    const spec_allocator *alloc = &t->alloc;
    size_t threads = specp_team_size(t->team), rows = f->batch.n_rows;
    specp_attention_plan_make(&f->plan, t, &f->batch);
    f->attention = specp_scratch(f->attention, &f->cap_attention, threads * f->plan.thread_floats,
                                 sizeof *f->attention, alloc);
    f->path = specp_scratch(f->path, &f->cap_path, threads * f->batch.most_nodes, sizeof *f->path, alloc);
    if (!f->attention || !f->path) return SPEC_ERR_NOMEM;
    int err = reserve_rows(f, t, rows < SPECP_SLICE ? rows : SPECP_SLICE);
    if (!err) err = specp_batch_cut(&f->batch, f->plan.tile_rows, alloc);
    return err ? err : reserve_results(f, t, args);
}

void specp_forward_release(spec_target *t) {
    specp_forward *f = t->fwd;
    if (!f) return;
    release_rows(f, &t->alloc);
    specp_batch_release(&f->batch, &t->alloc);
    specp_release(&t->alloc, f->attention, f->cap_attention, sizeof *f->attention);
    specp_release(&t->alloc, f->path, f->cap_path, sizeof *f->path);
    specp_release(&t->alloc, f->logits, f->cap_logits, sizeof *f->logits);
    specp_release(&t->alloc, f->hidden, f->cap_hidden, sizeof *f->hidden);
    specp_release(&t->alloc, f->argmax, f->cap_argmax, sizeof *f->argmax);
    specp_release(&t->alloc, f, 1, sizeof *f);
    t->fwd = NULL;
}

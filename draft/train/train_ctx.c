/* SPDX-License-Identifier: MIT */
/*
 * What the trainer's operations run on: threads, kernels and scratch.
 *
 * A loop is cut into pieces that do not depend on the number of threads, and a
 * region of the team shares them out. Without a team the pieces are the same.
 */
#include <cblas.h>
#include <string.h>

#include "train_internal.h"

#define ALIGNED 16 /* floats: a cache line */

unsigned train_threads(const train_ctx *c) { return c->team ? specp_team_size(c->team) : 1; }

int train_ctx_init(train_ctx *c, specp_team *team, size_t widest, size_t max_seq, size_t head_dim,
                   const spec_allocator *alloc) {
    memset(c, 0, sizeof *c);
    specp_kernels_init(&c->kernels, SPECP_ISA_ALL);
    train_rows_init(&c->rows, c->kernels.isa);
    c->team = team;
    c->widest = widest;
    c->max_seq = max_seq;
    c->head_dim = head_dim;
    if (alloc) c->alloc = *alloc;
    size_t norms = TRAIN_STRANDS * widest, attention = train_attention_scratch(max_seq, head_dim);
    attention *= train_threads(c);
    c->n_store = (norms > attention ? norms : attention) + ALIGNED;
    c->store = specp_alloc(alloc, c->n_store, sizeof *c->scratch);
    if (!c->store) return SPEC_ERR_NOMEM;
    c->scratch = (float *)(((uintptr_t)c->store + ALIGNED * sizeof(float) - 1) & ~(uintptr_t)63);
    openblas_set_num_threads(1);
    return SPEC_OK;
}

void train_ctx_release(train_ctx *c) {
    specp_release(&c->alloc, c->store, c->n_store, sizeof *c->scratch);
    c->store = NULL;
}

/* ---- loops --------------------------------------------------------------- */

typedef struct loop {
    specp_team *team;
    size_t n, chunk;
    specp_team_fn *fn;
    void *arg;
} loop;

static void run_loop(void *arg, unsigned thread) {
    const loop *l = arg;
    specp_team_each(l->team, thread, l->n, l->chunk, l->fn, l->arg);
}

void train_each(const train_ctx *c, size_t n, size_t chunk, specp_team_fn *fn, void *arg) {
    loop l = {c->team, n, chunk, fn, arg};
    if (c->team) {
        specp_team_run(c->team, run_loop, &l);
        return;
    }
    for (size_t at = 0; at < n; at += chunk) fn(arg, at, n - at < chunk ? n : at + chunk, 0);
}

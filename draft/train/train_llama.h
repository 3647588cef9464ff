/* SPDX-License-Identifier: MIT */
/*
 * train_llama.h - a llama-architecture model that is being trained: parameters,
 * gradients and Adam's moments, each one flat array, and forward and backward of
 * a micro-batch.
 *
 *     train_llama_new(&m, &shape, 4096, 512, team, alloc, &why)
 *     train_llama_init(m, seed)
 *     each step:  memset(m->p.grad, 0, m->p.n * sizeof *m->p.grad)
 *                 train_llama_run(m, tokens, targets, n_seqs, seq, true, &loss, &why)   K times
 *                 train_adamw_step(&o, t, scale, m->p.grad, m->p.value, m->p.m, m->p.v, m->p.n)
 */
#ifndef TRAIN_LLAMA_H
#define TRAIN_LLAMA_H

#include "train_ops.h"
#include "train_params.h"
#include "train_times.h"

typedef struct train_llama_shape {
    size_t vocab, dim, n_layers, n_heads, n_kv_heads, head_dim, n_ff;
    double rope_base;
    float eps;
    bool tied; /* the output matrix is the embedding */
} train_llama_shape;

typedef struct train_llama {
    train_llama_shape shape;
    train_params p;          /* named as Hugging Face does: "model.layers.0.mlp.up_proj.weight" */
    struct train_acts *acts; /* private: what a micro-batch needs, sized once */
    train_ctx ctx;
    train_times times; /* of all micro-batches so far */
    spec_allocator alloc;
} train_llama;

/*
 * Everything that training will need is allocated here, for micro-batches of up
 * to max_rows tokens in sequences of up to max_seq; `team` is borrowed for its life (NULL: one thread).
 * All floats begin as 0. OpenBLAS is told to use one thread (train_ops.h). SPEC_ERR_INVALID (sizes;
 * the message says which), SPEC_ERR_NOMEM.
 */
int train_llama_new(train_llama **out, const train_llama_shape *shape, size_t max_rows, size_t max_seq,
                    specp_team *team, const spec_allocator *alloc, spec_message *why);
void train_llama_free(train_llama *m); /* NULL is accepted */

/* Norms 1, matrices normal with deviation 0.02, those that write to the residual less by
 * sqrt(2 n_layers). Equal seeds give equal bits. */
void train_llama_init(train_llama *m, uint64_t seed);

/* Parameters from a file with tensors of the views' names and shapes, of any type of floats. SPEC_ERR_CORRUPT
 * names the first that is missing or does not fit; the parameters are then as before. */
int train_llama_load(train_llama *m, const spec_tensors *f, spec_message *why);

/*
 * n_seqs sequences of seq tokens, one after the other; target r is what token r is to
 * predict, or TRAIN_IGNORED. Adds to *loss the rows' losses, and with `backward` to
 * grad the gradient of their mean. SPEC_ERR_INVALID: more than there is room for, or a token or
 * target outside the vocabulary (the message names the row); nothing has changed.
 */
int train_llama_run(train_llama *m, const spec_token *tokens, const spec_token *targets, size_t n_seqs,
                    size_t seq, bool backward, train_loss *loss, spec_message *why);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * train_medusa.h - Medusa's heads in training, on the hidden states of a target
 * that stays as it is.
 *
 *     h (rows, dim), after the final norm
 *     |---- head 0:  x + silu(A x + b) -> ... -> W -> cross-entropy with label t + 2
 *     |---- head 1:  x + silu(A x + b) -> ... -> W -> cross-entropy with label t + 3
 *                    `layers` times               loss = sum over k of decay^(k+1) times head k's mean
 *
 *     train_medusa_new(&m, &shape, 4096, team, alloc, &why)
 *     train_medusa_init(m, seed, output)
 *     each step:  memset(m->p.grad, 0, m->p.n * sizeof *m->p.grad)
 *                 train_medusa_run(m, hidden, labels, n_seqs, seq, true, loss, &why)    K times
 *                 train_adamw_step(&o, t, scale, m->p.grad, m->p.value, m->p.m, m->p.v, m->p.n)
 *     train_medusa_save(m, "medusa.gguf", SPEC_FORMAT_GGUF, SPEC_TYPE_Q8_0, NULL, 0, &why)
 */
#ifndef TRAIN_MEDUSA_H
#define TRAIN_MEDUSA_H

#include "train_ops.h"
#include "train_save.h"
#include "train_times.h"

#define TRAIN_MEDUSA_DECAY 0.8 /* the paper's */

typedef struct train_medusa_shape {
    size_t heads, layers, dim, vocab; /* dim, vocab: the target's */
    double decay;                     /* 0 < decay <= 1 */
} train_medusa_shape;

typedef struct train_medusa {
    train_medusa_shape shape;
    train_params p;                 /* as published: "0.0.linear.weight", "0.0.linear.bias", "0.1.weight" */
    struct train_medusa_acts *acts; /* private: what a micro-batch needs, sized once */
    train_ctx ctx;
    train_times times; /* of all micro-batches so far; the layers count as ffn and act */
    spec_allocator alloc;
} train_medusa;

/*
 * Everything that training will need is allocated here, for micro-batches of up to max_rows
 * rows: 4 floats a parameter, and
 *     max_rows * (dim * (2 layers + 3) + 1) + min(max_rows, 1024) * vocab
 * `team` is borrowed for its life (NULL: one thread). All parameters begin as 0.
 * SPEC_ERR_INVALID (sizes; the message says which), SPEC_ERR_NOMEM.
 */
int train_medusa_new(train_medusa **out, const train_medusa_shape *shape, size_t max_rows, specp_team *team,
                     const spec_allocator *alloc, spec_message *why);
void train_medusa_free(train_medusa *m); /* NULL is accepted */

/* Every A and b 0, so that the layers begin as the identity; every W the target's output
 * matrix (vocab, dim), or if it is NULL normal with deviation 0.02. Equal seeds give equal bits. */
void train_medusa_init(train_medusa *m, uint64_t seed, const float *output);

/* Parameters from the published layout, with "medusa_head." before the names or not; as
 * train_params_load has it. */
int train_medusa_load(train_medusa *m, const spec_tensors *f, spec_message *why);

/*
 * n_seqs sequences of seq rows, one after the other: the target's hidden states, and the
 * tokens themselves, or TRAIN_IGNORED where one is not to be learnt. Head k at row t is to
 * predict the label of row t + 2 + k of the same sequence. Adds to loss[k] what head k lost,
 * and with `backward` to grad the gradient of the loss. A head without a label has no loss.
 * SPEC_ERR_INVALID: more than there is room for, or a label outside the vocabulary (the message
 * names the row); nothing has changed.
 */
int train_medusa_run(train_medusa *m, const float *hidden, const spec_token *labels, size_t n_seqs,
                     size_t seq, bool backward, train_loss *loss, spec_message *why);

/* The loss that goes with the heads' sums. */
double train_medusa_loss(const train_medusa *m, const train_loss *loss);

/* In the published layout, matrices rounded to `type`; the errors are train_save's. */
int train_medusa_save(const train_medusa *m, const char *path, spec_format format, spec_type type,
                      const train_meta *meta, size_t n_meta, spec_message *why);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * train_eagle3.h - an EAGLE-3 head in training: a layer that reads hidden states of a
 * target and learns to draft on its own, by running on its own output for `steps` steps,
 * as it will when it drafts (training-time test). The target stays as it is.
 *
 *     step 0:  f(0) = fc taps            row i joins f(0) of i with token i + 1, and is to
 *              layer -> f(1) -> logits   say what the target says after token i + 1
 *     step 1:  layer -> f(2) -> logits   row i joins f(1) of i with token i + 2 ...
 *     ...                                gradients go back through all of it
 *
 * In step j row i stands at position i + j and sees the keys of step 0 of rows 0..i and its own
 * of steps 1..j. Targets are soft: the target's law, restricted to the draft vocabulary.
 *
 *     loss = sum over j of decay^j times the mean over ALL rows of step j's cross-entropies,
 *
 * where rows do not count (and are 0) that the mask leaves out, that have no token so far
 * ahead in their sequence, or for which the target's best token is not in the draft vocabulary.
 *
 *     train_draft_vocab(counts, vocab, 2048, kept)
 *     train_eagle3_new(&m, &shape, kept, embedding, 4096, 512, team, alloc, &why)
 *     train_eagle3_init(m, seed, output)
 *     each step:  memset(m->p.grad, 0, m->p.n * sizeof *m->p.grad)
 *                 train_eagle3_run(m, &batch, true, &sums, &why)    K times
 *                 train_adamw_step(&o, t, scale, m->p.grad, m->p.value, m->p.m, m->p.v, m->p.n)
 *     train_eagle3_save(m, "eagle3.gguf", SPEC_FORMAT_GGUF, SPEC_TYPE_Q8_0, tap_layers, NULL, 0, &why)
 */
#ifndef TRAIN_EAGLE3_H
#define TRAIN_EAGLE3_H

#include "train_ops.h"
#include "train_save.h"
#include "train_times.h"

#define TRAIN_EAGLE3_MAX_STEPS 16
#define TRAIN_EAGLE3_STEPS     7   /* the paper's */
#define TRAIN_EAGLE3_DECAY     0.8 /* likewise */

/* The n most frequent of `vocab` tokens, equal ones by number, into kept in ascending order. n <= vocab. */
void train_draft_vocab(const uint64_t *count, size_t vocab, size_t n, spec_token *kept);

typedef struct train_eagle3_shape {
    size_t dim, vocab, n_taps; /* the target's, and of how many layers it gives hidden states */
    size_t draft_vocab, n_heads, n_kv_heads, head_dim, n_ff;
    size_t steps; /* 1..TRAIN_EAGLE3_MAX_STEPS */
    double decay; /* 0 < decay <= 1 */
    double rope_base;
    float eps;
    bool norm_before_residual; /* the residual is the normed f */
} train_eagle3_shape;

typedef struct train_eagle3 {
    train_eagle3_shape shape;
    train_params p;                 /* as published: "fc.weight", "midlayer.self_attn.q_proj.weight" */
    spec_token *kept;               /* (draft_vocab) tokens that it can draft, ascending */
    int64_t *d2t;                   /* (draft_vocab) kept[i] - i */
    uint8_t *t2d;                   /* (vocab) 1: is kept */
    const float *embedding;         /* (vocab, dim) borrowed */
    struct train_eagle3_acts *acts; /* private: what a micro-batch needs, sized once */
    train_ctx ctx;
    train_times times; /* of all micro-batches so far; fc counts as embedding, the target's logits as head */
    spec_allocator alloc;
} train_eagle3;

/*
 * Everything that training will need is allocated here, for micro-batches of up to max_rows
 * rows in sequences of up to max_seq: 4 floats a parameter, and, with q = n_heads * head_dim and
 * kv = n_kv_heads * head_dim,
 *     max_rows * (steps * (2 dim + 2 q + 4 kv + 2 n_ff + n_heads) + 8 dim + 2 q + 2 kv + 3 n_ff
 *                 + draft_vocab)
 *     + min(max_rows, 1024) * max(vocab, draft_vocab)
 * and little more. Copies kept; `embedding`, the target's, and team (NULL: one thread) are borrowed for its
 * life. All parameters begin as 0. SPEC_ERR_INVALID (sizes, kept that does not ascend; the message
 * says which), SPEC_ERR_NOMEM.
 */
int train_eagle3_new(train_eagle3 **out, const train_eagle3_shape *shape, const spec_token *kept,
                     const float *embedding, size_t max_rows, size_t max_seq, specp_team *team,
                     const spec_allocator *alloc, spec_message *why);
void train_eagle3_free(train_eagle3 *m); /* NULL is accepted */

/* Norms 1, matrices normal with deviation 0.02, those that write to the residual less by
 * sqrt(2); lm_head as the kept rows of the target's output matrix (vocab, dim), if that is not NULL.
 * Equal seeds give equal bits. */
void train_eagle3_init(train_eagle3 *m, uint64_t seed, const float *output);

/* Parameters from the published layout, as train_params_load has it; SPEC_ERR_CORRUPT also when a
 * d2t is there that says another draft vocabulary. */
int train_eagle3_load(train_eagle3 *m, const spec_tensors *f, spec_message *why);

/* n_seqs sequences of seq rows, one after the other. */
typedef struct train_eagle3_batch {
    size_t n_seqs, seq;
    const spec_token *tokens; /* (rows) */
    const float *taps;        /* (rows, n_taps * dim) the target's hidden states */
    const uint8_t *mask;      /* (rows) 0: what comes after token r + 1 is not to be learnt. NULL: all is */
    const float *logits;      /* (rows, vocab) the target's; or NULL, and they are computed: */
    const float *hidden;      /* (rows, dim) after its final norm */
    const float *output;      /* (vocab, dim) its output matrix */
} train_eagle3_batch;

/* Of a step. Those whose target's best token is outside the draft vocabulary cannot be
 * correct, and have no loss: accuracy is correct / rows, or over what could be had, correct / inside. */
typedef struct train_eagle3_part {
    double sum;     /* of cross-entropies; NaN or infinite where a logit was */
    double entropy; /* the target's own, which the sum cannot go below */
    size_t rows;    /* the mask leaves in */
    size_t inside;  /* of them the target's best token is in the draft vocabulary */
    size_t correct; /* of them it is the head's best too */
} train_eagle3_part;

typedef struct train_eagle3_sums {
    size_t rows; /* all */
    train_eagle3_part step[TRAIN_EAGLE3_MAX_STEPS];
} train_eagle3_sums;

/*
 * Adds to *sums, and with `backward` to grad the gradient of the loss. SPEC_ERR_INVALID: more
 * than there is room for, neither logits nor what makes them, or a token outside the
 * vocabulary (the message names the row); nothing has changed.
 */
int train_eagle3_run(train_eagle3 *m, const train_eagle3_batch *b, bool backward, train_eagle3_sums *sums,
                     spec_message *why);

/* The loss that goes with the sums. */
double train_eagle3_loss(const train_eagle3 *m, const train_eagle3_sums *sums);

/*
 * In the published layout, matrices rounded to `type`, with what the library needs to know as
 * metadata; tap_layer (n_taps): the layers whose input is tapped. GGUF has no t2d, as it has
 * no such type. The errors are train_save's.
 */
int train_eagle3_save(const train_eagle3 *m, const char *path, spec_format format, spec_type type,
                      const int32_t *tap_layer, const train_meta *meta, size_t n_meta, spec_message *why);

#endif

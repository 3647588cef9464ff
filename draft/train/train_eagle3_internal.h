/* SPDX-License-Identifier: MIT */
/* train_eagle3_internal.h - what the files of an EAGLE-3 head in training share. */
#ifndef TRAIN_EAGLE3_INTERNAL_H
#define TRAIN_EAGLE3_INTERNAL_H

#include "train_eagle3.h"
#include "train_internal.h"

/* The views, in order. */
enum train_eagle3_view {
    EAGLE3_FC,
    EAGLE3_INPUT_NORM,
    EAGLE3_HIDDEN_NORM,
    EAGLE3_Q,
    EAGLE3_K,
    EAGLE3_V,
    EAGLE3_O,
    EAGLE3_FFN_NORM,
    EAGLE3_GATE,
    EAGLE3_UP,
    EAGLE3_DOWN,
    EAGLE3_NORM,
    EAGLE3_OUTPUT,
    EAGLE3_VIEWS
};

/* Floating-point operations of a product with `weights` weights. */
static inline double train_eagle3_flop(size_t rows, size_t weights) {
    return 2.0 * (double)rows * (double)weights;
}

/* ---- a micro-batch's buffers (train_eagle3_acts.c) ------------------------ */

/* What a step keeps for the backward pass. All are (max_rows, ..). */
typedef struct train_eagle3_kept {
    float *mid;       /* dim: residual + attention */
    float *q, *attn;  /* n_heads * head_dim; q is rotated */
    float *k, *v;     /* n_kv_heads * head_dim; k is rotated */
    float *dk, *dv;   /* their gradients, which this step and all later ones add to */
    float *gate, *up; /* n_ff */
    float *lse;       /* n_heads: of attention */
} train_eagle3_kept;

typedef struct train_eagle3_acts {
    size_t max_rows, max_seq;
    float *block;
    size_t n_block;
    float *f[TRAIN_EAGLE3_MAX_STEPS + 1];           /* (max_rows, dim) what goes into step j */
    train_eagle3_kept step[TRAIN_EAGLE3_MAX_STEPS]; /* (steps) */
    float *pair, *dpair;                            /* (max_rows, 2 dim) normed embedding, normed f */
    float *normed, *dnormed, *dx;                   /* (max_rows, dim) */
    float *dq, *dattn;                              /* as q */
    float *act, *dgate, *dup;                       /* (max_rows, n_ff) */
    float *soft;                                    /* (max_rows, draft_vocab) the target's law after row r */
    float *logits;                                  /* (EAGLE3_HEAD_ROWS, vocab or draft_vocab) */
    float *dkv;                   /* (max_rows, 2 n_kv_heads * head_dim) a step's gradients of step 0's */
    float *cos, *sin, *minus_sin; /* (max_seq + steps, head_dim / 2) */
    spec_token *ids;              /* (max_rows) of the step that runs */
    spec_token *best;             /* (max_rows) the target's after row r */
    double *entropy;              /* (max_rows) of soft */
} train_eagle3_acts;

#define EAGLE3_HEAD_ROWS 1024 /* rows whose logits exist at a time */

/* Sizes were checked; NULL when the allocator refuses. */
train_eagle3_acts *train_eagle3_acts_new(const train_eagle3_shape *s, size_t max_rows, size_t max_seq,
                                         const spec_allocator *alloc);
void train_eagle3_acts_free(train_eagle3_acts *a, const spec_allocator *alloc); /* NULL is accepted */

/* ---- loss (train_eagle3_loss.c) ------------------------------------------- */

/* soft, best and entropy of all rows that count. */
void train_eagle3_targets(train_eagle3 *m, const train_eagle3_batch *b);

/*
 * The loss of n rows from row r of step j, whose logits are in acts->logits and become scale
 * times its gradient.
 */
void train_eagle3_entropy(train_eagle3 *m, const train_eagle3_batch *b, size_t j, size_t r, size_t n,
                          float scale, train_eagle3_part *part);

/* ---- attention (train_ttt_attention.c) ------------------------------------ */

/*
 * The attention of step `step`: row i of a sequence sees key[0] of rows 0..i, and key[s] of
 * row i for s = 1..step; one softmax over all of them. q, out (rows, n_heads * head_dim), key[s],
 * value[s] (rows, n_kv_heads * head_dim), lse (rows, n_heads) as train_attention has it.
 */
typedef struct train_ttt {
    train_attn attn;
    size_t step;
    const float *key[TRAIN_EAGLE3_MAX_STEPS], *value[TRAIN_EAGLE3_MAX_STEPS];
} train_ttt;

void train_ttt_attention(const train_ctx *c, const train_ttt *t, const float *q, float *out, float *lse);
/* dq is replaced, dkey[s] and dvalue[s] are added to. scratch: twice as large as a key. */
void train_ttt_attention_back(const train_ctx *c, const train_ttt *t, const float *q, const float *out,
                              const float *lse, const float *dout, float *dq, float *const *dkey,
                              float *const *dvalue, float *scratch);

#endif

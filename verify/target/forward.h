/* SPDX-License-Identifier: MIT */
/*
 * forward.h - one pass through the model, shared by forward*.c.
 *
 * A pass is one region of the team. Each thread walks through the same steps: a
 * product of matrices with the rows' activations, shared out by panels, and then
 * what is done row by row:
 *
 *     [embedding]                         x, rope tables;  norm, codes
 *     per layer  q, k, v                  biases, norms, rope; K and V to their caches
 *                attention                codes
 *                o                        norm; x += ; norm, codes
 *                gate, up   (or experts)  act(gate) * up, codes
 *                down                     norm; x += ; norm, codes
 *     output                              argmax
 *
 * With few rows the row-by-row part is done by the thread that ends the product
 * ("codes": activations rounded to int8 for quantised weights).
 */
#ifndef SPECP_FORWARD_H
#define SPECP_FORWARD_H

#include "batch.h"

/* How attention is cut into items: a tile of rows, a KV head, some of its query heads. */
typedef struct specp_attention_plan {
    size_t head_tile, n_head_tiles; /* query heads of a KV head that are computed together */
    size_t tile_rows;               /* and rows */
    size_t lds, tree_lds;           /* floats of a query's scores: by position, by node */
    size_t thread_floats;           /* scratch of a thread */
} specp_attention_plan;

/* Which rows go to which experts. A slot is a row at an expert; slots are in the order of experts. */
typedef struct specp_routing {
    uint32_t *first;  /* (n_experts + 1) an expert's slots */
    uint32_t *active; /* (n_experts) the experts that have any: n_active */
    size_t n_active;
    uint32_t *row;  /* (slots) */
    uint32_t *slot; /* (rows, n_experts_used) a row's slots, by ascending expert */
    float *weight;  /* (rows, n_experts_used) */
    uint32_t *store;
    size_t n_store;
} specp_routing;

/* Scratch of passes. What is in it does not matter between them. */
typedef struct specp_forward {
    specp_batch batch;
    size_t rows;               /* there is room for a slice of so many */
    float *x;                  /* (rows, dim) the residual stream */
    float *qkv;                /* (rows, ld_qkv) */
    float *y;                  /* (rows, dim), of the FFN (slots, dim) */
    float *gate, *up;          /* (slots, n_ff): rows, or with experts rows * n_experts_used */
    float *router;             /* (rows, n_experts) */
    float *cos[2], *sin[2];    /* (rows, rope_dim / 2) */
    float *blas;               /* (SPECP_BLAS_ROWS, widest n_in) */
    specp_acts in, heads, ffn; /* into q, k, v, gate, up and output; into o; into down */
    float *store;              /* all of these */
    size_t n_store, ld_qkv;
    specp_routing routing;
    specp_attention_plan plan;
    float *attention;       /* (threads, plan.thread_floats) */
    uint32_t *path;         /* (threads, most nodes of a tree) */
    float *logits, *hidden; /* as in spec_forward_out */
    spec_token *argmax;     /* -1: the row holds NaN */
    size_t cap_attention, cap_path, cap_logits, cap_hidden, cap_argmax;
} specp_forward;

/* Room for a pass over the batch. SPEC_ERR_NOMEM (forward_scratch.c). */
int specp_forward_reserve(specp_forward *f, const spec_target *t, const spec_forward_args *args);

/* One thread's place in the pass. */
typedef struct specp_run {
    const spec_target *t;
    specp_forward *f;
    const specp_model *m;
    const specp_kernels *k;
    const spec_forward_args *args;
    bool blas; /* matrix products by OpenBLAS */
    unsigned thread;
    const specp_slice *slice;
    const specp_part *part; /* the rows that go on: the slice's all, or its wanted ones */
    const specp_layer *layer;
    size_t l;
} specp_run;

/* Work on items, or on rows of the part, begin..end-1. */
typedef void specp_run_fn(const specp_run *r, size_t begin, size_t end);

/* n items in pieces of `chunk` (0: as the team sees fit), then the part's rows; either function may
 * be NULL. The same on all threads. */
void specp_run_step(const specp_run *r, size_t n, size_t chunk, specp_run_fn *items, specp_run_fn *rows);

typedef struct specp_product {
    const specp_matrix *m;
    float *y;
    size_t ldy;
} specp_product;

/* y = W a, for the part's rows and up to three matrices of the same input; then rows. */
void specp_run_products(const specp_run *r, const specp_product *p, size_t n, const specp_acts *a,
                        specp_run_fn *rows);

static inline size_t specp_panels(const specp_matrix *m) {
    return (m->n_out + SPECP_PANEL - 1) / SPECP_PANEL;
}

/* Whether the matrix reads activations as int8 codes. */
static inline bool specp_reads_codes(const specp_run *r, const specp_matrix *m) {
    return m->form >= SPECP_FORM_W8 && !r->blas;
}

/* forward_attn.c */
void specp_attention_plan_make(specp_attention_plan *p, const spec_target *t, const specp_batch *b);
/* q, k, v from f->in, ready for attention; K and V of all rows go to their caches. */
void specp_run_qkv(const specp_run *r);
/* From q and the caches to f->heads. */
void specp_run_attention(const specp_run *r);

/* forward_ffn.c: from f->in to f->y, then rows. */
void specp_run_ffn(const specp_run *r, specp_run_fn *rows);
/* For rows, after it: row i's result. Once a row. */
float *specp_run_ffn_row(const specp_run *r, size_t i);
/* Whether the layer's FFN reads its input as codes. */
bool specp_ffn_reads_codes(const specp_run *r, const specp_layer *layer);

#endif

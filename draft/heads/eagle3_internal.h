/* SPDX-License-Identifier: MIT */
/*
 * eagle3_internal.h - an EAGLE-3 head from inside. Private to eagle3_*.c:
 *
 *   eagle3_head.c      file -> sizes, weights, memory of a pass
 *   eagle3_rope.c      file -> angles
 *   eagle3_request.c   rows and nodes of a request
 *   eagle3_pass.c      the passes: stable rows, nodes
 *   eagle3_attn.c      attention
 *
 * One layer. Of stable rows only k and v are ever computed: nothing else reads them.
 *
 *   taps -> [fc] -> f ---------------------------------------------------+ residual
 *                   +-> hidden_norm  --+                                 |
 *   token -> embed  --> input_layernorm +-> q,k,v -> rope -> attention -> o -+-> h
 *                                                                            |
 *   h -> post_attention_layernorm -> silu(gate) * up -> down -> + h = hidden state
 *   hidden state -> norm -> lm_head -> logits
 */
#ifndef SPECP_EAGLE3_INTERNAL_H
#define SPECP_EAGLE3_INTERNAL_H

#include "eagle3_head.h"
#include "kv.h"

/* A row of a pass. */
typedef struct specp_eagle3_row {
    specp_eagle3_request *request;
    const float *taps; /* (n_taps, target's hidden) of a stable row; NULL: a node's */
    size_t position;   /* of a stable row, and the angle of all */
    size_t node;       /* of a node's row */
    spec_token token;
    bool last; /* the request's last row of the call */
} specp_eagle3_row;

/* Rows of one request whose nodes are attended for together. */
typedef struct specp_eagle3_tile {
    size_t first, n;
} specp_eagle3_tile;

struct specp_eagle3 {
    spec_allocator alloc;
    specp_eagle3_options o;
    specp_eagle3_info info;
    specp_kernels k;
    spec_tensors *file;
    const char *layer; /* before the names of the layer's tensors */
    bool uses_fc;
    float eps, scale;
    specp_matrix fc, q, kproj, v, attn_out, gate, up, down, output;
    specp_matrix embed; /* rows of the file, never packed; n_out 0: the target's */
    float *input_norm, *hidden_norm, *post_norm, *output_norm; /* (hidden) */
    spec_token *target_of;                                     /* (draft_vocab); NULL: the same tokens */
    double *freq;                                              /* (head_dim / 2) */

    /* A pass: o.rows stable rows, or node_rows nodes. */
    size_t node_rows;
    specp_eagle3_row *row;   /* (rows) */
    specp_eagle3_tile *tile; /* (node_rows) */
    specp_acts taps;         /* (rows, n_taps * target's hidden), with fc */
    specp_acts in;           /* (rows, 2 hidden) embedding, feature */
    specp_acts heads;        /* (node_rows, n_heads * head_dim) what attention gives */
    specp_acts mid;          /* (node_rows, hidden) what gate, up and lm_head read */
    specp_acts inner;        /* (node_rows, n_ff) */
    float *floats;           /* all of these */
    size_t n_floats;
    float *feature;   /* (rows, hidden) */
    float *qkv;       /* (rows, ld_qkv) */
    float *cos, *sin; /* (rows, head_dim / 2) */
    float *x;         /* (node_rows, hidden) the residual stream */
    float *y;         /* (node_rows, hidden) */
    float *gate_up;   /* (node_rows, 2 n_ff) */
    float *logits;    /* (node_rows, draft_vocab) */
    float *exps;      /* (threads, draft_vocab) */
    size_t ld_qkv;

    /* Attention, grown when it is needed: for each thread thread_floats. */
    float *attention;
    size_t n_attention, thread_floats;
    size_t tile_rows, lds, node_lds;
};

struct specp_eagle3_request {
    const specp_eagle3 *head;
    size_t max_context, n; /* stable rows */
    specp_kv cache;        /* of them */
    float *feature;        /* (2, hidden) the last row's, and room for the next one's */
    size_t turn;           /* which of the two it is */
    spec_token last_token; /* of the last row */
    specp_kv scratch;      /* of nodes, by number; the root's are read in the cache */
    size_t n_nodes, cap_nodes;
    float *hidden;   /* (cap_nodes, hidden); `parent` lies behind it in one block */
    int32_t *parent; /* (cap_nodes) */
    bool seen;       /* while a call is checked */
};

/* Room for n stable rows; for n nodes. SPEC_ERR_NOMEM: as before, but for room gained. */
SPEC_MUST_CHECK int specp_eagle3_reserve_rows(specp_eagle3_request *r, size_t n);
SPEC_MUST_CHECK int specp_eagle3_reserve_nodes(specp_eagle3_request *r, size_t n);
/* Steps from the root down to the node: 0 for the root. */
size_t specp_eagle3_depth(const specp_eagle3_request *r, size_t node);

static inline bool specp_eagle3_reads_codes(const specp_matrix *m) { return m->form >= SPECP_FORM_W8; }

/* Fills h->freq. SPEC_ERR_CORRUPT, SPEC_ERR_UNSUPPORTED. */
SPEC_MUST_CHECK int specp_eagle3_read_rope(specp_eagle3 *h, spec_message *why);

/* ---- eagle3_attn.c ----------------------------------------------------------------- */

/* Memory for attention of nodes of requests with at most so many stable rows and nodes. SPEC_ERR_NOMEM. */
SPEC_MUST_CHECK int specp_eagle3_reserve_attention(specp_eagle3 *h, size_t rows, size_t nodes);
/* Cuts the first n rows of a pass into tiles; returns how many. */
size_t specp_eagle3_cut_tiles(specp_eagle3 *h, size_t n);
/* One item of n_tiles * n_kv_heads: of h->qkv to h->heads. */
void specp_eagle3_attend(const specp_eagle3 *h, size_t item, unsigned thread);

#endif

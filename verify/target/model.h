/* SPDX-License-Identifier: MIT */
/*
 * model.h - a loaded model: what an architecture is (a table, not a copy of the
 * forward pass), its sizes, its weights. load*.c fills it; forward*.c reads it.
 *
 * One layer, all architectures; what is absent in one is skipped:
 *
 *   x --+--> [attn_norm] -> q,k,v (+bias) -> [q_norm,k_norm] -> rope -> attention
 *       |        -> o -> [post_attn_norm] --+
 *       +<-----------------------------------+
 *       +--> [ffn_norm] -> act(gate) * up -> down   (or experts) -> [post_ffn_norm] --+
 *       +<-----------------------------------------------------------------------------+
 */
#ifndef SPECP_MODEL_H
#define SPECP_MODEL_H

#include "kernels.h"
#include "rope.h"
#include "spec_target.h"

typedef enum specp_act { SPECP_ACT_SILU, SPECP_ACT_GELU } specp_act;
typedef enum specp_qk_norm { SPECP_QK_NONE, SPECP_QK_HEAD, SPECP_QK_WHOLE } specp_qk_norm;

/* What an architecture is, apart from sizes. One line each in arch.c. */
typedef struct specp_arch {
    const char *name;            /* GGUF's general.architecture */
    const char *const *hf_names; /* config.json's "architectures", NULL-terminated */
    bool neox_rope;              /* in GGUF files; HF files are always rotate-half */
    bool pre_norm;               /* norms before attention and FFN */
    bool post_norm;              /* norms after them, before the residual */
    bool qkv_bias;               /* expected; read wherever present */
    specp_qk_norm qk_norm;
    specp_act act;
    bool embed_scale;       /* times sqrt(dim) */
    bool hf_norm_plus_one;  /* HF stores norm weights less 1 */
    uint32_t window_period; /* layers in a cycle of sliding-window layers; 0 = none or all alike */
    uint32_t window_global; /* which of a cycle sees everything (gemma2: 1 of 2, gemma3: 5 of 6) */
    /* For the loader alone: what holds where the file does not say. */
    size_t window; /* 0 = none */
    double rope_base;
    double local_rope_base;            /* of layers with a window; 0 = like all others */
    float attn_softcap, final_softcap; /* 0 = none */
    size_t wide_layers; /* GGUF: the size with so many layers scales scores by dim / heads, not head_dim */
} specp_arch;

extern const specp_arch specp_archs[]; /* ends with name == NULL */

typedef struct specp_layer {
    specp_matrix q, k, v, o;
    specp_matrix gate, up, down;                         /* dense FFN; n_out == 0 with experts */
    specp_matrix router;                                 /* (n_experts, dim) or n_out == 0 */
    specp_matrix *expert_gate, *expert_up, *expert_down; /* (n_experts) or NULL */
    const float *attn_norm, *post_attn_norm, *ffn_norm, *post_ffn_norm; /* (dim) or NULL */
    const float *q_norm, *k_norm;                   /* (head_dim), or whole projections; or NULL */
    const float *q_bias, *k_bias, *v_bias, *o_bias; /* or NULL */
    size_t window;                                  /* positions seen, its own included; 0 = all */
    uint32_t rope;                                  /* which entry of model.rope_* */
} specp_layer;

typedef struct specp_model {
    spec_allocator alloc;
    spec_tensors *file;
    const specp_arch *arch;
    size_t vocab, dim, n_layers, n_heads, n_kv_heads, head_dim, n_ff, n_experts, n_experts_used;
    size_t train_context;
    size_t rope_dim; /* dimensions of a head that are rotated */
    bool neox;
    double *rope_freq[2]; /* (rope_dim / 2) radians a position; [1] of local layers, or NULL */
    float eps;
    float attn_scale;                  /* 1/sqrt(head_dim) unless the model says otherwise */
    float attn_softcap, final_softcap; /* 0 = none */
    float embed_scale;                 /* 1 = none */
    bool tied;
    spec_token bos, eos;
    specp_matrix embed;       /* never packed: rows are read from the file */
    specp_matrix output;      /* tied: its own preparation of the same rows */
    const float *output_norm; /* (dim) */
    specp_layer *layer;       /* (n_layers) */
    /* Small tensors as floats, owned: norms, biases. */
    float *small;
    size_t n_small;
    size_t weight_bytes, repacked_bytes;
    double load_seconds, repack_seconds;
} specp_model;

/* Opens and prepares; the team repacks. SPEC_ERR_* as spec_target_open. On error *m is empty. */
int specp_model_load(specp_model *m, const char *path, specp_team *team, const spec_target_options *o,
                     const spec_allocator *alloc, spec_message *why);
void specp_model_release(specp_model *m);

#endif

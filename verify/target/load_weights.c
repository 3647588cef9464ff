/* SPDX-License-Identifier: MIT */
/*
 * Tensors -> matrices and vectors of a model.
 *
 * A layer is a table: where each tensor goes, its name in GGUF files (and
 * llama2.c checkpoints, which get the same) and in published safetensors, its
 * shape in words, and which architectures have it. The tables are walked twice:
 *
 *     looking   every tensor is there, of the right shape and of a type that can
 *               be multiplied; floats of vectors are counted. Nothing is allocated
 *     placing   matrices are prepared (which may repack), vectors converted
 *
 * Between the two, tensors of a layer that no table knows are refused: a model
 * computed without them would be another one.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "load.h"

enum {
    PRE = 1,
    POST = 2,
    HEAD_NORM = 4,
    WHOLE_NORM = 8,
    DENSE = 16,
    MOE = 32,
    OPTIONAL = 64, /* read where present */
    BIAS = 128     /* optional, but for architectures that have them */
};

typedef enum extent { ONE, DIM, Q, KV, FF, HEAD, EXPERTS } extent;

typedef struct part {
    size_t offset; /* in specp_layer */
    const char *gguf, *hf;
    extent rows, cols; /* cols ONE: a vector, small and held as floats */
    unsigned when, unless;
} part;

#define AT(field) offsetof(specp_layer, field)

static const part parts[] = {
    {AT(attn_norm), "attn_norm.weight", "input_layernorm.weight", DIM, ONE, PRE, 0},
    {AT(q), "attn_q.weight", "self_attn.q_proj.weight", Q, DIM, 0, 0},
    {AT(k), "attn_k.weight", "self_attn.k_proj.weight", KV, DIM, 0, 0},
    {AT(v), "attn_v.weight", "self_attn.v_proj.weight", KV, DIM, 0, 0},
    {AT(o), "attn_output.weight", "self_attn.o_proj.weight", DIM, Q, 0, 0},
    {AT(q_bias), "attn_q.bias", "self_attn.q_proj.bias", Q, ONE, BIAS, 0},
    {AT(k_bias), "attn_k.bias", "self_attn.k_proj.bias", KV, ONE, BIAS, 0},
    {AT(v_bias), "attn_v.bias", "self_attn.v_proj.bias", KV, ONE, BIAS, 0},
    {AT(o_bias), "attn_output.bias", "self_attn.o_proj.bias", DIM, ONE, OPTIONAL, 0},
    {AT(q_norm), "attn_q_norm.weight", "self_attn.q_norm.weight", HEAD, ONE, HEAD_NORM, 0},
    {AT(k_norm), "attn_k_norm.weight", "self_attn.k_norm.weight", HEAD, ONE, HEAD_NORM, 0},
    {AT(q_norm), "attn_q_norm.weight", "self_attn.q_norm.weight", Q, ONE, WHOLE_NORM, 0},
    {AT(k_norm), "attn_k_norm.weight", "self_attn.k_norm.weight", KV, ONE, WHOLE_NORM, 0},
    {AT(post_attn_norm), "post_attention_norm.weight", "post_attention_layernorm.weight", DIM, ONE, POST, 0},
    {AT(ffn_norm), "ffn_norm.weight", "post_attention_layernorm.weight", DIM, ONE, PRE, POST},
    {AT(ffn_norm), "ffn_norm.weight", "pre_feedforward_layernorm.weight", DIM, ONE, PRE | POST, 0},
    {AT(post_ffn_norm), "post_ffw_norm.weight", "post_feedforward_layernorm.weight", DIM, ONE, POST, 0},
    {AT(gate), "ffn_gate.weight", "mlp.gate_proj.weight", FF, DIM, DENSE, 0},
    {AT(up), "ffn_up.weight", "mlp.up_proj.weight", FF, DIM, DENSE, 0},
    {AT(down), "ffn_down.weight", "mlp.down_proj.weight", DIM, FF, DENSE, 0},
    {AT(router), "ffn_gate_inp.weight", "block_sparse_moe.gate.weight", EXPERTS, DIM, MOE, 0},
};

/* Matrices of experts: one tensor (n_experts, n_out, n_in), or one each. */
static const struct expert_part {
    size_t offset; /* in specp_layer, of a pointer */
    const char *stacked, *gguf[2], *hf[2];
    extent rows, cols;
} expert_parts[] = {
    {AT(expert_gate),
     "ffn_gate_exps.weight",
     {"ffn_gate.", ".weight"},
     {"block_sparse_moe.experts.", ".w1.weight"},
     FF,
     DIM},
    {AT(expert_up),
     "ffn_up_exps.weight",
     {"ffn_up.", ".weight"},
     {"block_sparse_moe.experts.", ".w3.weight"},
     FF,
     DIM},
    {AT(expert_down),
     "ffn_down_exps.weight",
     {"ffn_down.", ".weight"},
     {"block_sparse_moe.experts.", ".w2.weight"},
     DIM,
     FF},
};

#define LEN(a) (sizeof(a) / sizeof(a)[0])

static size_t extent_of(const specp_model *m, extent e) {
    switch (e) {
    case DIM: return m->dim;
    case Q: return m->n_heads * m->head_dim;
    case KV: return m->n_kv_heads * m->head_dim;
    case FF: return m->n_ff;
    case HEAD: return m->head_dim;
    case EXPERTS: return m->n_experts;
    default: return 1;
    }
}

/* ---- names ------------------------------------------------------------------- */

typedef struct name {
    char text[128];
} name;

static bool is_hf(const specp_loader *l) { return l->layout == SPECP_LAYOUT_HF; }

static name top_name(const specp_loader *l, const char *gguf, const char *hf) {
    name n;
    (void)snprintf(n.text, sizeof n.text, "%s%s", is_hf(l) ? l->names : "", is_hf(l) ? hf : gguf);
    return n;
}

static name layer_name(const specp_loader *l, size_t layer, const char *gguf, const char *hf) {
    name n;
    (void)snprintf(n.text, sizeof n.text, "%s%s%zu.%s", is_hf(l) ? l->names : "",
                   is_hf(l) ? "layers." : "blk.", layer, is_hf(l) ? hf : gguf);
    return n;
}

/* What stands before the names in files of safetensors. */
static int find_names(specp_loader *l) {
    static const char *const before[] = {"model.", "language_model.model.", "model.language_model.", ""};
    l->names = before[0];
    for (size_t i = 0; i < LEN(before) && is_hf(l); i++) {
        l->names = before[i];
        if (spec_tensors_find(l->file, top_name(l, "", "embed_tokens.weight").text) != NULL) return SPEC_OK;
    }
    return is_hf(l) ? specp_load_fail(l, SPEC_ERR_CORRUPT, "tensor model.embed_tokens.weight is missing")
                    : SPEC_OK;
}

/* ---- one tensor --------------------------------------------------------------- */

/* "(512, 64)" */
static name shape_of(const spec_tensor *t) {
    name n = {"("};
    size_t at = 1;
    for (uint32_t d = 0; d < t->n_dims; d++)
        at +=
            (size_t)snprintf(n.text + at, sizeof n.text - at, d == 0 ? "%" PRIu64 : ", %" PRIu64, t->dim[d]);
    (void)snprintf(n.text + at, sizeof n.text - at, ")");
    return n;
}

/* Looks a tensor up and checks its shape, (rows), (rows, cols) or (slices, rows, cols).
 * *out == NULL: it is not there, and need not be. */
static int find_tensor(specp_loader *l, const char *called, size_t slices, size_t rows, size_t cols,
                       bool needed, const spec_tensor **out) {
    const spec_tensor *t = spec_tensors_find(l->file, called);
    *out = t;
    if (t == NULL && needed) return specp_load_fail(l, SPEC_ERR_CORRUPT, "tensor %s is missing", called);
    if (t == NULL || l->placing) return SPEC_OK;
    spec_tensor want = {.n_dims = slices != 0 ? 3 : cols != 0 ? 2 : 1};
    want.dim[0] = slices != 0 ? slices : rows;
    want.dim[1] = slices != 0 ? rows : cols;
    want.dim[2] = cols;
    bool equal = true;
    for (uint32_t d = 0; d < SPEC_TENSOR_DIMS; d++)
        equal = equal && t->dim[d] == (d < want.n_dims ? want.dim[d] : 1);
    if (!equal)
        return specp_load_fail(l, SPEC_ERR_CORRUPT, "tensor %s is %s, expected %s", called, shape_of(t).text,
                               shape_of(&want).text);
    l->m->weight_bytes += t->bytes;
    if (l->n_used < l->cap_used) l->used[l->n_used++] = t;
    return SPEC_OK;
}

static int check_type(const specp_loader *l, const spec_tensor *t) {
    char list[128] = "";
    size_t at = 0;
    if (specp_form_of(t->type) != SPECP_FORMS) return SPEC_OK;
    for (int type = 0; type < SPEC_TYPES; type++)
        if (specp_form_of((spec_type)type) != SPECP_FORMS)
            at += (size_t)snprintf(list + at, sizeof list - at, " %s", spec_type_name((spec_type)type));
    return specp_load_fail(l, SPEC_ERR_UNSUPPORTED, "tensor %s has type %s; matrices may have%s", t->name,
                           spec_type_name(t->type), list);
}

static size_t bytes_of(spec_type type, size_t rows, size_t cols) {
    return cols / spec_type_block(type) * spec_type_block_bytes(type) * rows;
}

/* Prepares a matrix of the tensor's rows, which begin at `data`. */
static int place_matrix(specp_loader *l, const spec_tensor *t, const void *data, size_t rows, size_t cols,
                        specp_matrix *out) {
    double begin = specp_load_now();
    int err = specp_matrix_init(out, t->type, data, rows, cols, l->team, &l->m->alloc);
    if (err == SPEC_ERR_NOMEM) return specp_load_no_memory(l);
    if (err != SPEC_OK)
        return specp_load_fail(l, err, "tensor %s %s of type %s cannot be multiplied", t->name,
                               shape_of(t).text, spec_type_name(t->type));
    if (out->packed != NULL) l->m->repack_seconds += specp_load_now() - begin;
    l->m->repacked_bytes += out->packed_bytes;
    l->done_bytes += bytes_of(t->type, rows, cols);
    if (l->options->progress != NULL) l->options->progress(l->options->user, l->done_bytes, l->matrix_bytes);
    return SPEC_OK;
}

static int take_matrix(specp_loader *l, const char *called, size_t rows, size_t cols, specp_matrix *out) {
    const spec_tensor *t;
    int err = find_tensor(l, called, 0, rows, cols, true, &t);
    if (err != SPEC_OK) return err;
    if (l->placing) return place_matrix(l, t, t->data, rows, cols, out);
    l->matrix_bytes += t->bytes;
    return check_type(l, t);
}

int specp_load_floats(const specp_loader *l, const spec_tensor *t, size_t n, float *out) {
    if (t->dim[0] != n || t->n_dims != 1)
        return specp_load_fail(l, SPEC_ERR_CORRUPT, "tensor %s is %s, expected (%zu)", t->name,
                               shape_of(t).text, n);
    if (spec_type_to_float(t->type, t->data, out, n) != SPEC_OK)
        return specp_load_fail(l, SPEC_ERR_UNSUPPORTED, "tensor %s has type %s, expected floats", t->name,
                               spec_type_name(t->type));
    for (size_t i = 0; i < n; i++)
        if (!isfinite(out[i]))
            return specp_load_fail(l, SPEC_ERR_CORRUPT, "tensor %s holds %g at %zu", t->name, (double)out[i],
                                   i);
    return SPEC_OK;
}

/* A small vector. Norms that are stored less 1 get it back. */
static int take_vector(specp_loader *l, const char *called, size_t n, bool needed, bool norm,
                       const float **out) {
    const spec_tensor *t;
    int err = find_tensor(l, called, 0, n, 0, needed, &t);
    if (err != SPEC_OK || t == NULL) return err;
    size_t begin = l->n_small;
    l->n_small += n;
    if (!l->placing) return SPEC_OK;
    float *to = l->m->small + begin;
    err = specp_load_floats(l, t, n, to);
    for (size_t i = 0; i < n && norm && is_hf(l) && l->m->arch->hf_norm_plus_one; i++) to[i] += 1.0f;
    *out = to;
    return err;
}

/* ---- layers -------------------------------------------------------------------- */

static unsigned traits_of(const specp_model *m) {
    return (m->arch->pre_norm ? PRE : 0) | (m->arch->post_norm ? POST : 0) |
           (m->arch->qk_norm == SPECP_QK_HEAD ? HEAD_NORM : 0) |
           (m->arch->qk_norm == SPECP_QK_WHOLE ? WHOLE_NORM : 0) | (m->n_experts != 0 ? MOE : DENSE) |
           OPTIONAL | BIAS;
}

static int take_part(specp_loader *l, const part *p, size_t layer) {
    name called = layer_name(l, layer, p->gguf, p->hf);
    char *at = (char *)&l->m->layer[layer] + p->offset;
    size_t rows = extent_of(l->m, p->rows), cols = extent_of(l->m, p->cols);
    if (p->cols != ONE) return take_matrix(l, called.text, rows, cols, (specp_matrix *)at);
    bool optional = (p->when & OPTIONAL) || ((p->when & BIAS) && !l->m->arch->qkv_bias);
    bool norm = !(p->when & (OPTIONAL | BIAS));
    return take_vector(l, called.text, rows, !optional, norm, (const float **)at);
}

/* All experts' matrices of one kind from one tensor. */
static int take_stacked(specp_loader *l, const char *called, size_t rows, size_t cols, specp_matrix *out) {
    const spec_tensor *t;
    size_t n = l->m->n_experts;
    int err = find_tensor(l, called, n, rows, cols, true, &t);
    if (err != SPEC_OK) return err;
    if (!l->placing) l->matrix_bytes += t->bytes;
    if (!l->placing) return check_type(l, t);
    for (size_t e = 0; e < n && err == SPEC_OK; e++)
        err = place_matrix(l, t, (const char *)t->data + e * bytes_of(t->type, rows, cols), rows, cols,
                           &out[e]);
    return err;
}

static int take_experts(specp_loader *l, const struct expert_part *p, size_t layer) {
    const specp_model *m = l->m;
    specp_matrix **at = (specp_matrix **)((char *)&m->layer[layer] + p->offset);
    size_t rows = extent_of(m, p->rows), cols = extent_of(m, p->cols);
    name stacked = layer_name(l, layer, p->stacked, p->stacked);
    if (l->placing && (*at = specp_calloc(&m->alloc, m->n_experts, sizeof **at)) == NULL)
        return specp_load_no_memory(l);
    if (!is_hf(l) && spec_tensors_find(l->file, stacked.text) != NULL)
        return take_stacked(l, stacked.text, rows, cols, *at);
    for (size_t e = 0; e < m->n_experts; e++) {
        char each[64];
        specp_matrix unused; /* while looking */
        const char *const *around = is_hf(l) ? p->hf : p->gguf;
        (void)snprintf(each, sizeof each, "%s%zu%s", around[0], e, around[1]);
        int err = take_matrix(l, layer_name(l, layer, each, each).text, rows, cols,
                              l->placing ? &(*at)[e] : &unused);
        if (err != SPEC_OK) return err;
    }
    return SPEC_OK;
}

static int take_layers(specp_loader *l) {
    unsigned traits = traits_of(l->m);
    int err = SPEC_OK;
    for (size_t i = 0; i < l->m->n_layers && err == SPEC_OK; i++) {
        for (size_t p = 0; p < LEN(parts) && err == SPEC_OK; p++)
            if ((traits & parts[p].when) == parts[p].when && !(traits & parts[p].unless))
                err = take_part(l, &parts[p], i);
        for (size_t p = 0; p < LEN(expert_parts) && l->m->n_experts != 0 && err == SPEC_OK; p++)
            err = take_experts(l, &expert_parts[p], i);
    }
    return err;
}

/* ---- beside the layers ----------------------------------------------------------- */

/* The embedding is never multiplied: its rows are looked up in the file. */
static int take_embedding(specp_loader *l) {
    specp_model *m = l->m;
    name called = top_name(l, "token_embd.weight", "embed_tokens.weight");
    const spec_tensor *t = spec_tensors_find(l->file, called.text);
    if (m->vocab == 0 && t != NULL) m->vocab = t->dim[0] <= INT32_MAX ? t->dim[0] : 0;
    int err = find_tensor(l, called.text, 0, m->vocab, m->dim, true, &t);
    if (err == SPEC_OK) err = check_type(l, t);
    if (err != SPEC_OK) return err;
    m->embed = (specp_matrix){.type = t->type,
                              .form = specp_form_of(t->type),
                              .n_out = m->vocab,
                              .n_in = m->dim,
                              .data = t->data,
                              .source = t->data};
    if (m->bos >= (int64_t)m->vocab) m->bos = -1;
    if (m->eos >= (int64_t)m->vocab) m->eos = -1;
    return SPEC_OK;
}

/* Tied: config.json says so, or there is no output matrix (and config.json does not say otherwise). */
static int take_output(specp_loader *l) {
    specp_model *m = l->m;
    char called[64] = "output.weight";
    if (is_hf(l)) { /* "model." is the layers' alone */
        bool inner = strcmp(l->names, "language_model.model.") == 0;
        (void)snprintf(called, sizeof called, "%slm_head.weight", inner ? "language_model." : "");
    }
    m->tied = spec_tensors_find(l->file, called) == NULL;
    int err = is_hf(l) ? specp_load_flag(l, "tie_word_embeddings", &m->tied) : SPEC_OK;
    if (err != SPEC_OK) return err;
    if (!m->tied) return take_matrix(l, called, m->vocab, m->dim, &m->output);
    if (!l->placing) l->matrix_bytes += bytes_of(m->embed.type, m->vocab, m->dim);
    if (!l->placing) return SPEC_OK;
    name embed = top_name(l, "token_embd.weight", "embed_tokens.weight");
    return place_matrix(l, spec_tensors_find(l->file, embed.text), m->embed.source, m->vocab, m->dim,
                        &m->output);
}

static int walk(specp_loader *l) {
    name norm = top_name(l, "output_norm.weight", "norm.weight");
    l->n_small = 0;
    int err = take_embedding(l);
    if (err == SPEC_OK) err = take_vector(l, norm.text, l->m->dim, true, true, &l->m->output_norm);
    if (err == SPEC_OK) err = take_output(l);
    return err == SPEC_OK ? take_layers(l) : err;
}

/* ---- what no table knows ---------------------------------------------------------- */

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static bool is_used(const specp_loader *l, const spec_tensor *t) {
    for (size_t i = 0; i < l->n_used; i++)
        if (l->used[i] == t) return true;
    return false;
}

/* Belongs to a layer, and is no table of old files that is computed here. */
static bool in_layer(const specp_loader *l, const spec_tensor *t) {
    name before = top_name(l, "blk.", "layers.");
    return strncmp(t->name, before.text, strlen(before.text)) == 0 &&
           !ends_with(t->name, "rotary_emb.inv_freq");
}

/* Comparing numbers tells whether all were used; only where they differ one is searched for. */
static int check_all_used(const specp_loader *l) {
    size_t n = spec_tensors_count(l->file), left = 0;
    for (size_t i = 0; i < n; i++) left += in_layer(l, spec_tensors_at(l->file, i));
    for (size_t i = 0; i < l->n_used; i++) left -= in_layer(l, l->used[i]);
    for (size_t i = 0; i < n && left != 0; i++) {
        const spec_tensor *t = spec_tensors_at(l->file, i);
        if (in_layer(l, t) && !is_used(l, t))
            return specp_load_fail(l, SPEC_ERR_UNSUPPORTED, "tensor %.100s is no part of %s with %zu layers",
                                   t->name, l->m->arch->name, l->m->n_layers);
    }
    return SPEC_OK;
}

int specp_load_weights(specp_loader *l) {
    specp_model *m = l->m;
    size_t n = spec_tensors_count(l->file);
    int err = find_names(l);
    if (err != SPEC_OK) return err;
    l->used = specp_alloc(&m->alloc, n, sizeof(const spec_tensor *));
    if (l->used == NULL) return specp_load_no_memory(l);
    l->cap_used = n;
    err = walk(l);
    if (err == SPEC_OK) err = check_all_used(l);
    specp_release(&m->alloc, l->used, n, sizeof(const spec_tensor *));
    if (err != SPEC_OK) return err;
    m->n_small = l->n_small;
    m->small = specp_alloc(&m->alloc, m->n_small, sizeof *m->small);
    if (m->small == NULL) return specp_load_no_memory(l);
    m->repacked_bytes = m->n_small * sizeof *m->small;
    l->placing = true;
    return walk(l);
}

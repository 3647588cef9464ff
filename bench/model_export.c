/* SPDX-License-Identifier: MIT */
/*
 * A model in training -> GGUF. Metadata and a tensor for each view first, then the
 * rows, one by one: floats -> type -> writer.
 *
 * Hugging Face rotates the halves of a head against each other, GGUF's llama
 * neighbours: rows of queries and keys change places within each head.
 *
 *     training   0   1   2   3 | 4   5   6   7      pairs (0,4) (1,5) (2,6) (3,7)
 *     file       0   4   1   5   2   6   3   7      pairs of neighbours
 */
#include "model_export.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gguf_meta.h"

typedef struct job {
    const model_export *e;
    const char *path;
    spec_writer *w;
    const spec_allocator *alloc;
    spec_message *why;
    uint8_t *row; /* (row_bytes) a row of the type */
    float *back;  /* (most) what a reader will make of it */
    size_t row_bytes, most;
} job;

/* ---- names --------------------------------------------------------------- */

static const struct name {
    const char *hf, *gguf;
    bool rotated;
} whole[] = {{"model.embed_tokens.weight", "token_embd.weight", false},
             {"model.norm.weight", "output_norm.weight", false},
             {"lm_head.weight", "output.weight", false},
             {NULL, NULL, false}},
  layer[] = {{"input_layernorm.weight", "attn_norm.weight", false},
             {"self_attn.q_proj.weight", "attn_q.weight", true},
             {"self_attn.k_proj.weight", "attn_k.weight", true},
             {"self_attn.v_proj.weight", "attn_v.weight", false},
             {"self_attn.o_proj.weight", "attn_output.weight", false},
             {"post_attention_layernorm.weight", "ffn_norm.weight", false},
             {"mlp.gate_proj.weight", "ffn_gate.weight", false},
             {"mlp.up_proj.weight", "ffn_up.weight", false},
             {"mlp.down_proj.weight", "ffn_down.weight", false},
             {NULL, NULL, false}};

typedef struct target {
    char name[64];
    bool rotated;
} target;

/* Without a name: there is none. */
static target target_of(const char *hf) {
    static const char prefix[] = "model.layers.";
    const char *number = strncmp(hf, prefix, sizeof prefix - 1) == 0 ? hf + sizeof prefix - 1 : NULL;
    const char *dot = number ? strchr(number, '.') : NULL;
    const struct name *x = dot ? layer : whole;
    target t = {"", false};
    while (x->hf && strcmp(x->hf, dot ? dot + 1 : hf) != 0) x++;
    if (!x->hf) return t;
    t.rotated = x->rotated;
    if (dot)
        snprintf(t.name, sizeof t.name, "blk.%.*s.%s", (int)(dot - number), number, x->gguf);
    else
        snprintf(t.name, sizeof t.name, "%s", x->gguf);
    return t;
}

/* ---- checks -------------------------------------------------------------- */

static spec_type type_of(const model_export *e, const train_view *v) {
    return v->n_dims == 1 ? SPEC_TYPE_F32 : e->type;
}

static int check_view(job *j, const train_view *v) {
    const spec_type type = type_of(j->e, v);
    if (!target_of(v->name).name[0])
        return specp_fail(j->why, SPEC_ERR_INVALID, "%s: GGUF has no name for %s", j->path, v->name);
    if (v->cols % spec_type_block(type))
        return specp_fail(j->why, SPEC_ERR_INVALID, "%s: %s has rows of %zu, %s needs a multiple of %zu",
                          j->path, v->name, v->cols, spec_type_name(type), spec_type_block(type));
    size_t bytes = v->cols / spec_type_block(type) * spec_type_block_bytes(type);
    if (bytes > j->row_bytes) j->row_bytes = bytes;
    if (v->cols > j->most) j->most = v->cols;
    return SPEC_OK;
}

static int check_vocab(const job *j) {
    const model_export *e = j->e;
    size_t n = e->spm ? e->spm->n : 0;
    if (e->vocab && e->spm)
        return specp_fail(j->why, SPEC_ERR_INVALID, "%s: two vocabularies are given", j->path);
    if (e->vocab) {
        const spec_meta *tokens = spec_tensors_meta(e->vocab, "tokenizer.ggml.tokens");
        if (!tokens)
            return specp_fail(j->why, SPEC_ERR_INVALID,
                              "%s: no tokenizer.ggml.tokens; expected a GGUF file "
                              "with a vocabulary",
                              spec_tensors_path(e->vocab));
        n = (size_t)tokens->n;
    }
    if (n <= e->model->shape.vocab) return SPEC_OK;
    return specp_fail(j->why, SPEC_ERR_INVALID, "%s: a vocabulary of %zu tokens, the model has rows for %zu",
                      j->path, n, e->model->shape.vocab);
}

static int check(job *j) {
    const model_export *e = j->e;
    int rc = check_vocab(j);
    if (rc != SPEC_OK) return rc;
    if ((unsigned)e->type > SPEC_TYPE_Q6_K)
        return specp_fail(j->why, SPEC_ERR_INVALID,
                          "%s: matrices of type %s; expected F32, F16, BF16, Q8_0, "
                          "Q4_0, Q5_0, Q4_K, Q5_K or Q6_K",
                          j->path, spec_type_name(e->type));
    if (e->context < 1 || e->context > INT32_MAX)
        return specp_fail(j->why, SPEC_ERR_INVALID, "%s: a context of %zu, expected 1 to %d", j->path,
                          e->context, INT32_MAX);
    for (size_t i = 0; i < e->model->p.n_views && rc == SPEC_OK; i++)
        rc = check_view(j, &e->model->p.view[i]);
    return rc;
}

/* ---- metadata ------------------------------------------------------------ */

static void write_shape(const job *j, gguf_meta *m) {
    const train_llama_shape *s = &j->e->model->shape;
    const gguf_shape shape = {.type = j->e->type,
                              .vocab = s->vocab,
                              .context = j->e->context,
                              .dim = s->dim,
                              .layers = s->n_layers,
                              .hidden = s->n_ff,
                              .heads = s->n_heads,
                              .kv = s->n_kv_heads,
                              .head_dim = s->head_dim,
                              .rope_base = s->rope_base,
                              .eps = s->eps};
    gguf_meta_shape(m, &shape);
}

static int copy_vocab(const job *j) {
    static const char prefix[] = "tokenizer.";
    const spec_tensors *f = j->e->vocab;
    int rc = SPEC_OK;
    for (size_t i = 0; f && i < spec_tensors_meta_count(f) && rc == SPEC_OK; i++) {
        const spec_meta *m = spec_tensors_meta_at(f, i);
        if (strncmp(m->key, prefix, sizeof prefix - 1) == 0) rc = spec_writer_meta_copy(j->w, m);
    }
    return rc;
}

static int write_meta(const job *j) {
    const model_export *e = j->e;
    gguf_meta m = {.w = j->w, .arch = "llama"};
    const char *key = "metadata";
    gguf_meta_text(&m, "general.architecture", m.arch);
    if (e->name) gguf_meta_text(&m, "general.name", e->name);
    if (e->license) gguf_meta_text(&m, "general.license", e->license);
    write_shape(j, &m);
    if (m.rc == SPEC_OK) m.rc = e->spm ? spm_vocab_write(j->w, e->spm) : copy_vocab(j);
    for (size_t i = 0; i < e->n_meta && m.rc == SPEC_OK; i++) {
        key = e->meta[i].key;
        gguf_meta_text(&m, key, e->meta[i].value);
    }
    if (m.rc == SPEC_OK) return SPEC_OK;
    return specp_fail(j->why, m.rc, "%s: %s: %s", j->path, key, spec_strerror(m.rc));
}

static int describe(const job *j) {
    const train_params *p = &j->e->model->p;
    for (size_t i = 0; i < p->n_views; i++) {
        const train_view *v = &p->view[i];
        const uint64_t dim[2] = {v->rows, v->cols};
        const target t = target_of(v->name);
        int rc =
            spec_writer_tensor(j->w, t.name, type_of(j->e, v), v->n_dims, v->n_dims == 1 ? &dim[1] : dim);
        if (rc != SPEC_OK) return specp_fail(j->why, rc, "%s: %s: %s", j->path, t.name, spec_strerror(rc));
    }
    return SPEC_OK;
}

/* ---- weights ------------------------------------------------------------- */

/* The row of training that is row r of the file. */
static size_t row_of(size_t r, size_t head_dim) {
    size_t in_head = r % head_dim;
    return r - in_head + in_head / 2 + (in_head % 2 ? head_dim / 2 : 0);
}

static int write_row(const job *j, const train_view *v, size_t row, const float *x) {
    const spec_type type = type_of(j->e, v);
    (void)spec_type_from_float(type, x, j->row, v->cols); /* whole blocks, of floats */
    (void)spec_type_to_float(type, j->row, j->back, v->cols);
    for (size_t i = 0; i < v->cols; i++)
        if (!isfinite(x[i]) || !isfinite(j->back[i]))
            return specp_fail(j->why, SPEC_ERR_INVALID,
                              "%s: not written: %s (%zu, %zu) is %g, which %s "
                              "cannot hold",
                              j->path, v->name, row, i, (double)x[i],
                              isfinite(x[i]) ? spec_type_name(type) : "a model");
    return spec_writer_data(j->w, j->row, v->cols / spec_type_block(type) * spec_type_block_bytes(type));
}

static int write_weights(const job *j) {
    const train_llama *m = j->e->model;
    int rc = SPEC_OK;
    for (size_t i = 0; i < m->p.n_views && rc == SPEC_OK; i++) {
        const train_view *v = &m->p.view[i];
        const target t = target_of(v->name);
        for (size_t r = 0; r < v->rows && rc == SPEC_OK; r++) {
            size_t row = t.rotated ? row_of(r, m->shape.head_dim) : r;
            rc = write_row(j, v, row, m->p.value + v->offset + row * v->cols);
        }
    }
    return rc;
}

/* ---- the file ------------------------------------------------------------ */

static int write_file(job *j) {
    int rc = spec_writer_new(&j->w, j->path, SPEC_FORMAT_GGUF, j->alloc, j->why);
    if (rc != SPEC_OK) return rc;
    rc = write_meta(j);
    if (rc == SPEC_OK) rc = describe(j);
    if (rc == SPEC_OK) {
        rc = write_weights(j);
        if (rc != SPEC_ERR_INVALID) return spec_writer_finish(j->w, j->why); /* it says what failed */
    }
    spec_writer_abandon(j->w);
    return rc;
}

int model_export_write(const char *path, const model_export *e, const spec_allocator *alloc,
                       spec_message *why) {
    job j = {.e = e, .path = path, .alloc = alloc, .why = why};
    int rc = check(&j);
    if (rc != SPEC_OK) return rc;
    j.row = specp_alloc(alloc, j.row_bytes, 1);
    j.back = specp_alloc(alloc, j.most, sizeof *j.back);
    rc = j.row && j.back ? write_file(&j) : specp_fail(why, SPEC_ERR_NOMEM, "%s: out of memory", path);
    specp_release(alloc, j.row, j.row_bytes, 1);
    specp_release(alloc, j.back, j.most, sizeof *j.back);
    return rc;
}

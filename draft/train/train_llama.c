/* SPDX-License-Identifier: MIT */
/*
 * A model in training: its flat arrays and their names. One block of floats holds
 *
 *     param        grad         m            v
 *     [embedding | layer 0 | layer 1 | ... | norm | output (not if tied)]
 *
 * and a layer is its norms and matrices in the order of train_part.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train_llama_internal.h"

#define MAX_SIZE   ((size_t)1 << 20) /* of a dimension: products of what is below cannot overflow */
#define MAX_LAYERS ((size_t)1 << 10)
#define MAX_ROWS   ((size_t)1 << 22)

static int check_shape(const train_llama_shape *s, size_t max_rows, size_t max_seq, spec_message *why) {
    const struct {
        const char *name;
        size_t value, most;
    } size[] = {{"vocab", s->vocab, MAX_SIZE},
                {"dim", s->dim, MAX_SIZE},
                {"n_layers", s->n_layers, MAX_LAYERS},
                {"n_heads", s->n_heads, 1024},
                {"n_kv_heads", s->n_kv_heads, 1024},
                {"head_dim", s->head_dim, 1024},
                {"n_ff", s->n_ff, MAX_SIZE},
                {"rows", max_rows, MAX_ROWS},
                {"tokens in a sequence", max_seq, max_rows}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        if (size[i].value < 1 || size[i].value > size[i].most) {
            return specp_fail(why, SPEC_ERR_INVALID, "%s is %zu, expected 1 to %zu", size[i].name,
                              size[i].value, size[i].most);
        }
    }
    if (s->n_heads % s->n_kv_heads || s->head_dim % 2) {
        return specp_fail(why, SPEC_ERR_INVALID,
                          "%zu heads on %zu KV heads of %zu: expected a multiple, even", s->n_heads,
                          s->n_kv_heads, s->head_dim);
    }
    if (!(s->rope_base >= 1.0 && s->rope_base <= 1e12 && s->eps > 0.0f && s->eps < 1.0f)) {
        return specp_fail(why, SPEC_ERR_INVALID, "rope base %g, epsilon %g: expected 1 to 1e12, 0 to 1",
                          s->rope_base, (double)s->eps);
    }
    return SPEC_OK;
}

/* ---- views --------------------------------------------------------------- */

/* rows 0: a vector. */
static train_view *add_view(train_llama *m, const char *name, size_t rows, size_t cols) {
    train_view *v = &m->view[m->n_views++];
    snprintf(v->name, sizeof v->name, "%s", name);
    v->offset = m->n_params;
    v->rows = rows ? rows : 1;
    v->cols = cols;
    v->n_dims = rows ? 2 : 1;
    m->n_params += v->rows * cols;
    return v;
}

static void name_views(train_llama *m) {
    const train_llama_shape *s = &m->shape;
    size_t dim = s->dim, q = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;
    const struct {
        const char *name;
        size_t rows, cols;
    } part[TRAIN_PARTS] = {
        [TRAIN_ATTN_NORM] = {"input_layernorm.weight", 0, dim},
        [TRAIN_Q] = {"self_attn.q_proj.weight", q, dim},
        [TRAIN_K] = {"self_attn.k_proj.weight", kv, dim},
        [TRAIN_V] = {"self_attn.v_proj.weight", kv, dim},
        [TRAIN_O] = {"self_attn.o_proj.weight", dim, q},
        [TRAIN_FFN_NORM] = {"post_attention_layernorm.weight", 0, dim},
        [TRAIN_GATE] = {"mlp.gate_proj.weight", s->n_ff, dim},
        [TRAIN_UP] = {"mlp.up_proj.weight", s->n_ff, dim},
        [TRAIN_DOWN] = {"mlp.down_proj.weight", dim, s->n_ff},
    };
    add_view(m, "model.embed_tokens.weight", s->vocab, dim);
    for (size_t l = 0; l < s->n_layers; l++) {
        for (size_t i = 0; i < TRAIN_PARTS; i++) {
            train_view *v = add_view(m, "", part[i].rows, part[i].cols);
            snprintf(v->name, sizeof v->name, "model.layers.%zu.%s", l, part[i].name);
        }
    }
    add_view(m, "model.norm.weight", 0, dim);
    if (!s->tied) add_view(m, "lm_head.weight", s->vocab, dim);
}

static size_t max_views(const train_llama_shape *s) { return 3 + s->n_layers * TRAIN_PARTS; }

/* ---- life ---------------------------------------------------------------- */

int train_llama_new(train_llama **out, const train_llama_shape *shape, size_t max_rows, size_t max_seq,
                    const spec_allocator *alloc, spec_message *why) {
    int err = check_shape(shape, max_rows, max_seq, why);
    if (err) return err;
    train_llama *m = specp_calloc(alloc, 1, sizeof *m);
    if (!m) return specp_fail(why, SPEC_ERR_NOMEM, "no memory for a model in training");
    if (alloc) m->alloc = *alloc;
    m->shape = *shape;
    specp_kernels_init(&m->kernels, SPECP_ISA_ALL);
    m->view = specp_calloc(alloc, max_views(shape), sizeof *m->view);
    if (!m->view) goto fail;
    name_views(m);
    m->param = specp_calloc(alloc, m->n_params, 4 * sizeof *m->param);
    m->acts = train_acts_new(shape, max_rows, max_seq, alloc);
    if (!m->param || !m->acts) goto fail;
    m->grad = m->param + m->n_params;
    m->m = m->grad + m->n_params;
    m->v = m->m + m->n_params;
    *out = m;
    return SPEC_OK;
fail:
    err = specp_fail(why, SPEC_ERR_NOMEM, "no memory to train %zu parameters on %zu rows", m->n_params,
                     max_rows);
    train_llama_free(m);
    return err;
}

void train_llama_free(train_llama *m) {
    if (!m) return;
    spec_allocator alloc = m->alloc;
    train_acts_free(m->acts, &alloc);
    specp_release(&alloc, m->param, m->n_params, 4 * sizeof *m->param);
    specp_release(&alloc, m->view, max_views(&m->shape), sizeof *m->view);
    specp_release(&alloc, m, 1, sizeof *m);
}

/* ---- values -------------------------------------------------------------- */

/* Nearly normal, of variance 1: twelve uniform numbers of 16 bits. */
static float normal(uint64_t key) {
    uint32_t sum = 0;
    for (uint64_t i = 0; i < 3; i++) {
        for (uint64_t bits = specp_mix64(key * 3 + i), j = 0; j < 4; j++, bits >>= 16) sum += bits & 0xffff;
    }
    return ((float)sum - 6.0f * 65535.0f) / 65536.0f;
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), e = strlen(end);
    return n >= e && strcmp(s + n - e, end) == 0;
}

void train_llama_init(train_llama *m, uint64_t seed) {
    uint64_t key = specp_mix64(seed);
    for (size_t i = 0; i < m->n_views; i++) {
        const train_view *v = &m->view[i];
        bool residual = ends_with(v->name, "o_proj.weight") || ends_with(v->name, "down_proj.weight");
        float size = residual ? 0.02f / sqrtf(2.0f * (float)m->shape.n_layers) : 0.02f;
        for (size_t j = v->offset; j < v->offset + v->rows * v->cols; j++) {
            m->param[j] = v->n_dims == 1 ? 1.0f : size * normal(key + j);
        }
    }
}

static bool fits(const train_view *v, const spec_tensor *t) {
    return t->n_dims == v->n_dims && t->dim[v->n_dims - 1] == v->cols &&
           (v->n_dims == 1 || t->dim[0] == v->rows) &&
           (t->type == SPEC_TYPE_F32 || t->type == SPEC_TYPE_F16 || t->type == SPEC_TYPE_BF16);
}

int train_llama_load(train_llama *m, const spec_tensors *f, spec_message *why) {
    for (size_t i = 0; i < m->n_views; i++) {
        const train_view *v = &m->view[i];
        const spec_tensor *t = spec_tensors_find(f, v->name);
        if (!t || !fits(v, t)) {
            return specp_fail(why, SPEC_ERR_CORRUPT, "%s: %s is %s, expected floats (%zu, %zu)",
                              spec_tensors_path(f), v->name, t ? "of another shape or type" : "missing",
                              v->rows, v->cols);
        }
    }
    for (size_t i = 0; i < m->n_views; i++) {
        const train_view *v = &m->view[i];
        const spec_tensor *t = spec_tensors_find(f, v->name);
        /* cannot fail: floats of any length */
        (void)spec_type_to_float(t->type, t->data, m->param + v->offset, v->rows * v->cols);
    }
    return SPEC_OK;
}

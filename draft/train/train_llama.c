/* SPDX-License-Identifier: MIT */
/*
 * A model in training: its tensors and what they begin as. The flat arrays hold
 *
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
    train_params_add(&m->p, "model.embed_tokens.weight", s->vocab, dim);
    for (size_t l = 0; l < s->n_layers; l++) {
        for (size_t i = 0; i < TRAIN_PARTS; i++) {
            train_view *v = train_params_add(&m->p, "", part[i].rows, part[i].cols);
            snprintf(v->name, sizeof v->name, "model.layers.%zu.%s", l, part[i].name);
        }
    }
    train_params_add(&m->p, "model.norm.weight", 0, dim);
    if (!s->tied) train_params_add(&m->p, "lm_head.weight", s->vocab, dim);
}

static size_t max_views(const train_llama_shape *s) { return 3 + s->n_layers * TRAIN_PARTS; }

/* ---- life ---------------------------------------------------------------- */

int train_llama_new(train_llama **out, const train_llama_shape *shape, size_t max_rows, size_t max_seq,
                    specp_team *team, const spec_allocator *alloc, spec_message *why) {
    int err = check_shape(shape, max_rows, max_seq, why);
    if (err) return err;
    train_llama *m = specp_calloc(alloc, 1, sizeof *m);
    if (!m) return specp_fail(why, SPEC_ERR_NOMEM, "no memory for a model in training");
    if (alloc) m->alloc = *alloc;
    m->shape = *shape;
    if (train_ctx_init(&m->ctx, team, shape->dim, max_seq, shape->head_dim, alloc)) goto fail;
    if (train_params_init(&m->p, max_views(shape), alloc)) goto fail;
    name_views(m);
    m->acts = train_acts_new(shape, max_rows, max_seq, alloc);
    if (!m->acts || train_params_alloc(&m->p)) goto fail;
    *out = m;
    return SPEC_OK;
fail:
    err = specp_fail(why, SPEC_ERR_NOMEM, "no memory to train %zu parameters on %zu rows", m->p.n, max_rows);
    train_llama_free(m);
    return err;
}

void train_llama_free(train_llama *m) {
    if (!m) return;
    spec_allocator alloc = m->alloc;
    train_acts_free(m->acts, &alloc);
    train_params_release(&m->p);
    train_ctx_release(&m->ctx);
    specp_release(&alloc, m, 1, sizeof *m);
}

/* ---- values -------------------------------------------------------------- */

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), e = strlen(end);
    return n >= e && strcmp(s + n - e, end) == 0;
}

void train_llama_init(train_llama *m, uint64_t seed) {
    for (size_t i = 0; i < m->p.n_views; i++) {
        const train_view *v = &m->p.view[i];
        bool residual = ends_with(v->name, "o_proj.weight") || ends_with(v->name, "down_proj.weight");
        float size = residual ? 0.02f / sqrtf(2.0f * (float)m->shape.n_layers) : 0.02f;
        if (v->n_dims == 2) {
            train_params_normal(&m->p, seed, v->offset, v->rows * v->cols, size);
            continue;
        }
        for (size_t j = 0; j < v->cols; j++) m->p.value[v->offset + j] = 1.0f;
    }
}

int train_llama_load(train_llama *m, const spec_tensors *f, spec_message *why) {
    return train_params_load(&m->p, f, "", why);
}

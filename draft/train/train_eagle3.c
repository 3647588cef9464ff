/* SPDX-License-Identifier: MIT */
/* An EAGLE-3 head in training: its tensors, what they begin as, and its file. */
#include "train_eagle3.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train_eagle3_internal.h"

#define MAX_SIZE ((size_t)1 << 20) /* of a dimension: products of what is below cannot overflow */
#define MAX_ROWS ((size_t)1 << 22)
#define MAX_TAPS 64

/* ---- draft vocabulary ---------------------------------------------------- */

static size_t more_than(const uint64_t *count, size_t vocab, uint64_t least) {
    size_t n = 0;
    for (size_t i = 0; i < vocab; i++) n += count[i] > least;
    return n;
}

void train_draft_vocab(const uint64_t *count, size_t vocab, size_t n, spec_token *kept) {
    uint64_t low = 0; /* the largest number that n tokens reach, bit by bit */
    for (int bit = 63; bit >= 0; bit--) {
        uint64_t more = low | (uint64_t)1 << bit;
        if (more_than(count, vocab, more - 1) >= n) low = more;
    }
    size_t equal = n - more_than(count, vocab, low);
    for (size_t i = 0, k = 0; k < n; i++) {
        if (count[i] < low || (count[i] == low && equal == 0)) continue;
        equal -= count[i] == low;
        kept[k++] = (spec_token)i;
    }
}

/* ---- shape --------------------------------------------------------------- */

static int check_sizes(const train_eagle3_shape *s, size_t max_rows, size_t max_seq, spec_message *why) {
    const struct {
        const char *name;
        size_t value, most;
    } size[] = {{"vocab", s->vocab, MAX_SIZE},
                {"dim", s->dim, MAX_SIZE},
                {"n_taps", s->n_taps, MAX_TAPS},
                {"draft_vocab", s->draft_vocab, s->vocab},
                {"n_heads", s->n_heads, 1024},
                {"n_kv_heads", s->n_kv_heads, 1024},
                {"head_dim", s->head_dim, 1024},
                {"n_ff", s->n_ff, MAX_SIZE},
                {"steps", s->steps, TRAIN_EAGLE3_MAX_STEPS},
                {"rows", max_rows, MAX_ROWS},
                {"tokens in a sequence", max_seq, max_rows}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        if (size[i].value < 1 || size[i].value > size[i].most)
            return specp_fail(why, SPEC_ERR_INVALID, "%s is %zu, expected 1 to %zu", size[i].name,
                              size[i].value, size[i].most);
    }
    return SPEC_OK;
}

static int check_shape(const train_eagle3_shape *s, const spec_token *kept, spec_message *why) {
    if (s->n_heads % s->n_kv_heads || s->head_dim % 2)
        return specp_fail(why, SPEC_ERR_INVALID,
                          "%zu heads on %zu KV heads of %zu: expected a multiple, even", s->n_heads,
                          s->n_kv_heads, s->head_dim);
    if (!(s->rope_base >= 1.0 && s->rope_base <= 1e12 && s->eps > 0.0f && s->eps < 1.0f))
        return specp_fail(why, SPEC_ERR_INVALID, "rope base %g, epsilon %g: expected 1 to 1e12, 0 to 1",
                          s->rope_base, (double)s->eps);
    if (!(s->decay > 0.0 && s->decay <= 1.0))
        return specp_fail(why, SPEC_ERR_INVALID, "decay is %g, expected more than 0, at most 1", s->decay);
    for (size_t i = 0; i < s->draft_vocab; i++) {
        if (kept[i] < 0 || (size_t)kept[i] >= s->vocab || (i && kept[i] <= kept[i - 1]))
            return specp_fail(why, SPEC_ERR_INVALID,
                              "kept token %zu is %d, expected ascending ones of a vocabulary of %zu", i,
                              (int)kept[i], s->vocab);
    }
    return SPEC_OK;
}

static int name_views(train_eagle3 *m) {
    const train_eagle3_shape *s = &m->shape;
    size_t dim = s->dim, q = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;
    const struct {
        const char *name;
        size_t rows, cols;
    } view[EAGLE3_VIEWS] = {
        [EAGLE3_FC] = {"fc.weight", dim, s->n_taps * dim},
        [EAGLE3_INPUT_NORM] = {"midlayer.input_layernorm.weight", 0, dim},
        [EAGLE3_HIDDEN_NORM] = {"midlayer.hidden_norm.weight", 0, dim},
        [EAGLE3_Q] = {"midlayer.self_attn.q_proj.weight", q, 2 * dim},
        [EAGLE3_K] = {"midlayer.self_attn.k_proj.weight", kv, 2 * dim},
        [EAGLE3_V] = {"midlayer.self_attn.v_proj.weight", kv, 2 * dim},
        [EAGLE3_O] = {"midlayer.self_attn.o_proj.weight", dim, q},
        [EAGLE3_FFN_NORM] = {"midlayer.post_attention_layernorm.weight", 0, dim},
        [EAGLE3_GATE] = {"midlayer.mlp.gate_proj.weight", s->n_ff, dim},
        [EAGLE3_UP] = {"midlayer.mlp.up_proj.weight", s->n_ff, dim},
        [EAGLE3_DOWN] = {"midlayer.mlp.down_proj.weight", dim, s->n_ff},
        [EAGLE3_NORM] = {"norm.weight", 0, dim},
        [EAGLE3_OUTPUT] = {"lm_head.weight", s->draft_vocab, dim},
    };
    int err = train_params_init(&m->p, EAGLE3_VIEWS, &m->alloc);
    for (size_t i = 0; i < EAGLE3_VIEWS && !err; i++)
        train_params_add(&m->p, view[i].name, view[i].rows, view[i].cols);
    return err ? err : train_params_alloc(&m->p);
}

/* ---- life ---------------------------------------------------------------- */

static int take_vocab(train_eagle3 *m, const spec_token *kept) {
    size_t n = m->shape.draft_vocab;
    m->kept = specp_alloc(&m->alloc, n, sizeof *m->kept);
    m->d2t = specp_alloc(&m->alloc, n, sizeof *m->d2t);
    m->t2d = specp_calloc(&m->alloc, m->shape.vocab, sizeof *m->t2d);
    if (!m->kept || !m->d2t || !m->t2d) return SPEC_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        m->kept[i] = kept[i];
        m->d2t[i] = (int64_t)kept[i] - (int64_t)i;
        m->t2d[kept[i]] = 1;
    }
    return SPEC_OK;
}

int train_eagle3_new(train_eagle3 **out, const train_eagle3_shape *shape, const spec_token *kept,
                     const float *embedding, size_t max_rows, size_t max_seq, specp_team *team,
                     const spec_allocator *alloc, spec_message *why) {
    int err = check_sizes(shape, max_rows, max_seq, why);
    if (!err) err = check_shape(shape, kept, why);
    if (err) return err;
    train_eagle3 *m = specp_calloc(alloc, 1, sizeof *m);
    if (!m) return specp_fail(why, SPEC_ERR_NOMEM, "no memory for an EAGLE-3 head in training");
    if (alloc) m->alloc = *alloc;
    m->shape = *shape;
    m->embedding = embedding;
    if (train_ctx_init(&m->ctx, team, shape->dim, max_seq, shape->head_dim, alloc) || take_vocab(m, kept) ||
        name_views(m))
        goto fail;
    m->acts = train_eagle3_acts_new(shape, max_rows, max_seq, alloc);
    if (!m->acts) goto fail;
    *out = m;
    return SPEC_OK;
fail:
    err = specp_fail(why, SPEC_ERR_NOMEM, "no memory to train %zu parameters on %zu rows", m->p.n, max_rows);
    train_eagle3_free(m);
    return err;
}

void train_eagle3_free(train_eagle3 *m) {
    if (!m) return;
    spec_allocator alloc = m->alloc;
    train_eagle3_acts_free(m->acts, &alloc);
    train_params_release(&m->p);
    train_ctx_release(&m->ctx);
    specp_release(&alloc, m->kept, m->shape.draft_vocab, sizeof *m->kept);
    specp_release(&alloc, m->d2t, m->shape.draft_vocab, sizeof *m->d2t);
    specp_release(&alloc, m->t2d, m->shape.vocab, sizeof *m->t2d);
    specp_release(&alloc, m, 1, sizeof *m);
}

/* ---- values -------------------------------------------------------------- */

void train_eagle3_init(train_eagle3 *m, uint64_t seed, const float *output) {
    size_t dim = m->shape.dim;
    for (size_t i = 0; i < EAGLE3_VIEWS; i++) {
        const train_view *v = &m->p.view[i];
        float size = i == EAGLE3_O || i == EAGLE3_DOWN ? 0.02f / sqrtf(2.0f) : 0.02f;
        if (v->n_dims == 2) train_params_normal(&m->p, seed, v->offset, v->rows * v->cols, size);
        for (size_t j = 0; j < v->cols && v->n_dims == 1; j++) m->p.value[v->offset + j] = 1.0f;
    }
    float *to = m->p.value + m->p.view[EAGLE3_OUTPUT].offset;
    for (size_t i = 0; i < m->shape.draft_vocab && output; i++)
        memcpy(to + i * dim, output + (size_t)m->kept[i] * dim, dim * sizeof *to);
}

int train_eagle3_load(train_eagle3 *m, const spec_tensors *f, spec_message *why) {
    const spec_tensor *t = spec_tensors_find(f, "d2t");
    size_t n = m->shape.draft_vocab;
    if (t && (t->type != SPEC_TYPE_I64 || t->n_dims != 1 || t->dim[0] != n ||
              memcmp(t->data, m->d2t, n * sizeof *m->d2t) != 0))
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s: d2t is not this draft vocabulary of %zu tokens",
                          spec_tensors_path(f), n);
    return train_params_load(&m->p, f, "", why);
}

int train_eagle3_save(const train_eagle3 *m, const char *path, spec_format format, spec_type type,
                      const int32_t *tap_layer, const train_meta *meta, size_t n_meta, spec_message *why) {
    const train_eagle3_shape *s = &m->shape;
    const train_meta own[] = {
        {.key = "num_attention_heads", .kind = SPEC_META_UINT, .u = s->n_heads},
        {.key = "num_key_value_heads", .kind = SPEC_META_UINT, .u = s->n_kv_heads},
        {.key = "head_dim", .kind = SPEC_META_UINT, .u = s->head_dim},
        {.key = "rms_norm_eps", .kind = SPEC_META_FLOAT, .f = (double)s->eps},
        {.key = "rope_theta", .kind = SPEC_META_FLOAT, .f = s->rope_base},
        {.key = "norm_before_residual", .kind = SPEC_META_BOOL, .u = s->norm_before_residual},
        {.key = "eagle_aux_hidden_state_layer_ids",
         .kind = SPEC_META_ARRAY,
         .ints = tap_layer,
         .n = s->n_taps},
    };
    const spec_tensor maps[] = {
        {"d2t", SPEC_TYPE_I64, 1, {s->draft_vocab}, m->d2t, s->draft_vocab * sizeof *m->d2t},
        {"t2d", SPEC_TYPE_BOOL, 1, {s->vocab}, m->t2d, s->vocab * sizeof *m->t2d},
    };
    const train_file f = {.format = format,
                          .type = type,
                          .meta = {{own, sizeof own / sizeof *own}, {meta, n_meta}},
                          .more = maps,
                          .n_more = format == SPEC_FORMAT_SAFETENSORS ? 2 : 1};
    return train_save(&m->p, path, &f, why);
}

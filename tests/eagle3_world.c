/* SPDX-License-Identifier: MIT */
/* EAGLE-3 heads for tests; see eagle3_world.h. */
#include "eagle3_world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor_bytes.h"

const eagle3_made eagle3_usual = {.target = 24,
                                  .vocab = 61,
                                  .n_layers = 8,
                                  .taps = 3,
                                  .hidden = 24,
                                  .heads = 4,
                                  .kv_heads = 2,
                                  .head_dim = 6,
                                  .n_ff = 20,
                                  .draft_vocab = 37,
                                  .layer = "midlayer.",
                                  .d2t = true,
                                  .t2d = true};

/* ---- made files ------------------------------------------------------------------ */

typedef struct making {
    const eagle3_made *m;
    spec_writer *to;
    support_rng *rng;
    bool gguf;
    bool data; /* the second walk */
} making;

/* Matrices keep the size of what they multiply. */
static float size_of(const eagle3_made *m, const char *name, size_t cols) {
    bool head = strcmp(name, "lm_head.weight") == 0;
    float size = cols != 0 ? (float)sqrt(12.0 / (double)cols) : 1.0f;
    if (head && m->flat) return 0.0f;
    return head && m->sharp != 0.0f ? m->sharp * size : size;
}

static void write_floats(const making *w, spec_type type, size_t n, float size, float middle, float first) {
    float *x = malloc(n * sizeof *x);
    void *raw = malloc(n * 8);
    for (size_t i = 0; i < n; i++) x[i] = size * (float)(support_rng_unit(w->rng) - 0.5) + middle;
    if (first != 0.0f) x[0] = first;
    size_t n_bytes = n / spec_type_block(type) * spec_type_block_bytes(type);
    if (spec_type_from_float(type, x, raw, n) != SPEC_OK) memset(raw, 1, n_bytes);
    assert_int_equal(spec_writer_data(w->to, raw, n_bytes), 0);
    free(raw);
    free(x);
}

/* Token i of the draft vocabulary is i * vocab / draft_vocab. */
static int64_t drafted(const eagle3_made *m, size_t i) { return (int64_t)(i * m->vocab / m->draft_vocab); }

static void write_offsets(const making *w, spec_type type, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int64_t offset = drafted(w->m, i) - (int64_t)i + (i + 1 == n ? w->m->offset : 0);
        assert_int_equal(spec_writer_data(w->to, &offset, spec_type_block_bytes(type)), 0);
    }
}

static void write_flags(const making *w, size_t n) {
    uint8_t *flag = calloc(n, 1);
    for (size_t i = 0; i < w->m->draft_vocab; i++)
        if ((size_t)drafted(w->m, i) < n) flag[drafted(w->m, i)] = 1;
    if (w->m->flip) flag[0] = !flag[0];
    assert_int_equal(spec_writer_data(w->to, flag, n), 0);
    free(flag);
}

/* One tensor: declared in the first walk, its data in the second. */
static void tensor(const making *w, const char *name, spec_type type, size_t rows, size_t cols) {
    const eagle3_made *m = w->m;
    uint64_t dim[3] = {rows, cols, 0};
    uint32_t n_dims = cols != 0 ? 2 : 1;
    bool other = m->other != NULL && strcmp(m->other, name) == 0;
    if (m->without != NULL && strcmp(m->without, name) == 0) return;
    if (other && m->other_type != SPEC_TYPE_F32) type = m->other_type;
    if (other && m->dim[0] != 0) {
        memcpy(dim, m->dim, sizeof dim);
        for (n_dims = 0; n_dims < 3 && dim[n_dims] != 0;) n_dims++;
    }
    size_t n = 1;
    for (uint32_t d = 0; d < n_dims; d++) n *= dim[d];
    if (!w->data)
        assert_int_equal(spec_writer_tensor(w->to, name, type, n_dims, dim), 0);
    else if (strcmp(name, "d2t") == 0)
        write_offsets(w, type, n);
    else if (strcmp(name, "t2d") == 0)
        write_flags(w, n * (spec_type_block_bytes(type)));
    else
        write_floats(w, type, n, size_of(m, name, cols), cols != 0 ? 0.0f : 1.0f, other ? m->value : 0.0f);
}

static void layer_tensor(const making *w, const char *part, size_t rows, size_t cols) {
    char name[96];
    (void)snprintf(name, sizeof name, "%s%s", w->m->layer, part);
    tensor(w, name, cols != 0 ? w->m->type : SPEC_TYPE_F32, rows, cols);
}

static void tensors(const making *w) {
    const eagle3_made *m = w->m;
    size_t h = m->hidden, n_q = m->heads * m->head_dim, n_kv = m->kv_heads * m->head_dim;
    if (m->d2t) tensor(w, "d2t", SPEC_TYPE_I64, m->draft_vocab, 0);
    if (m->t2d) tensor(w, "t2d", w->gguf ? SPEC_TYPE_I8 : SPEC_TYPE_BOOL, m->vocab, 0);
    if (m->embed) tensor(w, "embed_tokens.weight", m->type, m->vocab, h);
    if (!m->no_fc) tensor(w, "fc.weight", m->type, h, m->taps * m->target);
    tensor(w, "lm_head.weight", m->type, m->draft_vocab, h);
    tensor(w, "norm.weight", SPEC_TYPE_F32, h, 0);
    layer_tensor(w, "input_layernorm.weight", h, 0);
    layer_tensor(w, "hidden_norm.weight", h, 0);
    layer_tensor(w, "post_attention_layernorm.weight", h, 0);
    layer_tensor(w, "self_attn.q_proj.weight", n_q, 2 * h);
    layer_tensor(w, "self_attn.k_proj.weight", n_kv, 2 * h);
    layer_tensor(w, "self_attn.v_proj.weight", n_kv, 2 * h);
    layer_tensor(w, "self_attn.o_proj.weight", h, n_q);
    layer_tensor(w, "mlp.gate_proj.weight", m->n_ff, h);
    layer_tensor(w, "mlp.up_proj.weight", m->n_ff, h);
    layer_tensor(w, "mlp.down_proj.weight", h, m->n_ff);
    if (m->extra != NULL) tensor(w, m->extra, SPEC_TYPE_F32, 3, 0);
}

static void metadata(const making *w) {
    const eagle3_made *m = w->m;
    int err = 0;
    if (m->meta == EAGLE3_META_FILE) {
        err |= spec_writer_meta_uint(w->to, "num_attention_heads", m->heads);
        err |= spec_writer_meta_uint(w->to, "num_key_value_heads", m->kv_heads);
        err |= spec_writer_meta_float(w->to, "rms_norm_eps", 0.0078125);
    }
    if (m->norm_before) err |= spec_writer_meta_bool(w->to, "norm_before_residual", 1);
    if (m->theta != 0) err |= spec_writer_meta_float(w->to, "rope_theta", m->theta);
    if (m->layers != NULL)
        err |=
            spec_writer_meta_string(w->to, "eagle_aux_hidden_state_layer_ids", m->layers, strlen(m->layers));
    if (m->key != NULL) err |= spec_writer_meta_string(w->to, m->key, m->text, strlen(m->text));
    assert_int_equal(err, 0);
}

void eagle3_make(const char *path, const eagle3_made *m, support_rng *rng) {
    making w = {.m = m, .rng = rng};
    w.gguf = spec_type_block(m->type) > 1 || spec_type_block(m->other_type) > 1;
    w.to = must_begin(path, w.gguf ? SPEC_FORMAT_GGUF : SPEC_FORMAT_SAFETENSORS);
    metadata(&w);
    tensors(&w);
    w.data = true;
    tensors(&w);
    must_finish(w.to);
}

int eagle3_embedding(void *user, spec_token t, float *out) {
    const eagle3_made *m = user;
    support_rng rng = support_rng_new(7, (uint64_t)t);
    for (size_t i = 0; i < m->hidden; i++) out[i] = (float)(support_rng_unit(&rng) - 0.5);
    return 0;
}

specp_eagle3_options eagle3_options_of(const eagle3_made *m, specp_team *team) {
    return (specp_eagle3_options){.hidden = m->target,
                                  .vocab = m->vocab,
                                  .n_layers = m->n_layers,
                                  .rows = 7,
                                  .isa = SPECP_ISA_ALL,
                                  .team = team,
                                  .embedding = eagle3_embedding,
                                  .user = (void *)(uintptr_t)m};
}

specp_eagle3 *eagle3_must_open(const char *path, const specp_eagle3_options *o) {
    specp_eagle3 *h = NULL;
    spec_message why = {""};
    if (specp_eagle3_open(&h, path, o, NULL, &why)) fail_msg("%s", why.text);
    return h;
}

specp_eagle3_request *eagle3_must_request(const specp_eagle3 *h) {
    specp_eagle3_request *r = NULL;
    assert_int_equal(specp_eagle3_request_new(&r, h, 4096), 0);
    return r;
}

void eagle3_must_extend(specp_eagle3 *h, specp_eagle3_request *r, const float *taps, const spec_token *token,
                        size_t n) {
    spec_message why = {""};
    specp_eagle3_rows rows = {.request = r, .n = n, .taps = taps, .token = token};
    if (specp_eagle3_extend(h, &rows, 1, &why)) fail_msg("%s", why.text);
}

eagle3_text eagle3_random_text(const eagle3_made *m, size_t n, support_rng *rng) {
    size_t width = m->taps * m->target;
    eagle3_text t = {malloc(n * width * sizeof *t.taps), malloc(n * sizeof *t.token)};
    for (size_t i = 0; i < n * width; i++) t.taps[i] = (float)(4 * support_rng_unit(rng) - 2);
    for (size_t i = 0; i < n; i++) t.token[i] = (spec_token)support_rng_below(rng, (uint32_t)m->vocab);
    return t;
}

void eagle3_text_free(eagle3_text *t) {
    free(t->taps);
    free(t->token);
}

/* ---- recorded -------------------------------------------------------------------- */

static int recorded_embedding(void *user, spec_token t, float *out) {
    const eagle3_recorded *g = user;
    size_t n = g->embed->dim[1];
    memcpy(out, (const char *)g->embed->data + (size_t)t * n * sizeof *out, n * sizeof *out);
    return 0;
}

bool eagle3_recorded_open(eagle3_recorded *g, specp_team *team) {
    char path[256];
    if (!support_shared("golden/heads/eagle3/model.safetensors", g->path, sizeof g->path) ||
        !support_shared("golden/heads/target/model.safetensors", path, sizeof path))
        return false;
    g->target = must_open(path, NULL);
    g->embed = eagle3_tensor(g->target, "model.embed_tokens.weight");
    g->o = (specp_eagle3_options){.hidden = g->embed->dim[1],
                                  .vocab = g->embed->dim[0],
                                  .n_layers = 8,
                                  .rows = 16,
                                  .isa = SPECP_ISA_ALL,
                                  .team = team,
                                  .embedding = recorded_embedding,
                                  .user = g};
    return true;
}

void eagle3_recorded_close(eagle3_recorded *g) { spec_tensors_free(g->target); }

const spec_tensor *eagle3_tensor(const spec_tensors *f, const char *name) {
    const spec_tensor *t = spec_tensors_find(f, name);
    if (t == NULL) fail_msg("%s: not there", name);
    return t;
}

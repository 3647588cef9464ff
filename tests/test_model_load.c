/* SPDX-License-Identifier: MIT */
/* Loading models: what is read from a file of either kind, against what the file was made of. */
#include <string.h>

#include "model_world.h"

static const char *const arch_names[] = {"llama", "mistral", "mixtral", "qwen2",
                                         "qwen3", "gemma2",  "gemma3",  "olmo2"};
#define N_ARCHS (sizeof arch_names / sizeof arch_names[0])

/* ---- sizes --------------------------------------------------------------------- */

static void assert_matrix(const specp_matrix *m, size_t n_out, size_t n_in) {
    assert_int_equal(m->n_out, n_out);
    assert_int_equal(m->n_in, n_in);
    assert_non_null(m->data);
    assert_non_null(m->source);
}

static void assert_layer(const specp_model *m, const specp_layer *l) {
    size_t q = m->n_heads * m->head_dim, kv = m->n_kv_heads * m->head_dim;
    assert_matrix(&l->q, q, m->dim);
    assert_matrix(&l->k, kv, m->dim);
    assert_matrix(&l->v, kv, m->dim);
    assert_matrix(&l->o, m->dim, q);
    if (m->n_experts == 0) {
        assert_matrix(&l->gate, m->n_ff, m->dim);
        assert_matrix(&l->up, m->n_ff, m->dim);
        assert_matrix(&l->down, m->dim, m->n_ff);
        assert_null(l->expert_gate);
    } else {
        assert_matrix(&l->router, m->n_experts, m->dim);
        for (size_t e = 0; e < m->n_experts; e++) {
            assert_matrix(&l->expert_gate[e], m->n_ff, m->dim);
            assert_matrix(&l->expert_up[e], m->n_ff, m->dim);
            assert_matrix(&l->expert_down[e], m->dim, m->n_ff);
        }
        assert_int_equal(l->gate.n_out, 0);
    }
    assert_int_equal(l->attn_norm != NULL, m->arch->pre_norm);
    assert_int_equal(l->ffn_norm != NULL, m->arch->pre_norm);
    assert_int_equal(l->post_attn_norm != NULL, m->arch->post_norm);
    assert_int_equal(l->post_ffn_norm != NULL, m->arch->post_norm);
    assert_int_equal(l->q_norm != NULL, m->arch->qk_norm != SPECP_QK_NONE);
    assert_int_equal(l->k_norm != NULL, m->arch->qk_norm != SPECP_QK_NONE);
    assert_int_equal(l->q_bias != NULL, m->arch->qkv_bias);
    assert_int_equal(l->v_bias != NULL, m->arch->qkv_bias);
    assert_null(l->o_bias);
}

static void assert_model(const specp_model *m, const tiny_model *t) {
    bool grouped = strcmp(t->arch, "mistral") == 0 || strcmp(t->arch, "mixtral") == 0;
    assert_string_equal(m->arch->name, grouped ? "llama" : t->arch);
    assert_int_equal(m->vocab, t->vocab);
    assert_int_equal(m->dim, t->dim);
    assert_int_equal(m->n_layers, t->layers);
    assert_int_equal(m->n_heads, t->heads);
    assert_int_equal(m->n_kv_heads, t->kv_heads);
    assert_int_equal(m->head_dim, t->head_dim);
    assert_int_equal(m->n_ff, t->ff);
    assert_int_equal(m->n_experts, t->experts);
    assert_int_equal(m->n_experts_used, t->experts_used);
    assert_int_equal(m->train_context, t->context);
    assert_int_equal(m->rope_dim, t->head_dim);
    assert_int_equal(m->tied, t->tied);
    assert_int_equal(m->bos, 1);
    assert_int_equal(m->eos, 2);
    assert_true(m->eps == 1e-6f);
    assert_matrix(&m->embed, m->vocab, m->dim);
    assert_null(m->embed.packed);
    assert_matrix(&m->output, m->vocab, m->dim);
    assert_int_equal(m->tied, m->output.source == m->embed.source);
    for (size_t i = 0; i < m->n_layers; i++) assert_layer(m, &m->layer[i]);
}

static void every_architecture_in_both_formats(void **state) {
    specp_model m;
    for (size_t a = 0; a < N_ARCHS; a++)
        for (int variant = 0; variant < 4; variant++) {
            tiny_model t = tiny_model_of(arch_names[a]);
            t.format = variant & 1 ? SPEC_FORMAT_SAFETENSORS : SPEC_FORMAT_GGUF;
            if (variant & 2) t.tied = !t.tied;
            model_world_load(*state, &t, &m);
            assert_model(&m, &t);
            assert_int_equal(m.neox, (variant & 1) || strcmp(m.arch->name, "llama") != 0);
            specp_model_release(&m);
        }
}

/* ---- the same model from either kind of file -------------------------------------- */

static void row_of(const specp_matrix *m, size_t row, float *out) {
    assert_true(m->n_in <= 1024);
    specp_matrix_row(m, row, out);
}

/* GGUF's rows of llama's q and k are pairs (2j, 2j+1), the others' halves: head_dim != 0 maps them. */
static void assert_equal_matrices(const specp_matrix *gguf, const specp_matrix *hf, size_t head_dim) {
    float a[1024], b[1024];
    assert_int_equal(gguf->n_out, hf->n_out);
    assert_int_equal(gguf->n_in, hf->n_in);
    for (size_t i = 0; i < gguf->n_out; i++) {
        size_t other = i, j = head_dim != 0 ? i % head_dim : 0;
        if (head_dim != 0) other = i - j + (j % 2) * (head_dim / 2) + j / 2;
        row_of(gguf, i, a);
        row_of(hf, other, b);
        assert_memory_equal(a, b, gguf->n_in * sizeof *a);
    }
}

static void assert_equal_vectors(const float *a, const float *b, size_t n) {
    assert_int_equal(a == NULL, b == NULL);
    if (a != NULL) assert_memory_equal(a, b, n * sizeof *a);
}

static void assert_equal_layers(const specp_model *m, const specp_model *other, size_t layer) {
    const specp_layer *a = &m->layer[layer], *b = &other->layer[layer];
    size_t pairs = m->neox == other->neox ? 0 : m->head_dim;
    size_t q = m->n_heads * m->head_dim, kv = m->n_kv_heads * m->head_dim;
    bool whole = m->arch->qk_norm == SPECP_QK_WHOLE;
    assert_equal_matrices(&a->q, &b->q, pairs);
    assert_equal_matrices(&a->k, &b->k, pairs);
    assert_equal_matrices(&a->v, &b->v, 0);
    assert_equal_matrices(&a->o, &b->o, 0);
    assert_equal_matrices(&a->gate, &b->gate, 0);
    assert_equal_matrices(&a->up, &b->up, 0);
    assert_equal_matrices(&a->down, &b->down, 0);
    assert_equal_matrices(&a->router, &b->router, 0);
    for (size_t e = 0; e < m->n_experts; e++) {
        assert_equal_matrices(&a->expert_gate[e], &b->expert_gate[e], 0);
        assert_equal_matrices(&a->expert_up[e], &b->expert_up[e], 0);
        assert_equal_matrices(&a->expert_down[e], &b->expert_down[e], 0);
    }
    assert_equal_vectors(a->attn_norm, b->attn_norm, m->dim);
    assert_equal_vectors(a->post_attn_norm, b->post_attn_norm, m->dim);
    assert_equal_vectors(a->ffn_norm, b->ffn_norm, m->dim);
    assert_equal_vectors(a->post_ffn_norm, b->post_ffn_norm, m->dim);
    assert_equal_vectors(a->q_norm, b->q_norm, whole ? q : m->head_dim);
    assert_equal_vectors(a->k_norm, b->k_norm, whole ? kv : m->head_dim);
    assert_equal_vectors(a->q_bias, b->q_bias, q);
    assert_equal_vectors(a->k_bias, b->k_bias, kv);
    assert_equal_vectors(a->v_bias, b->v_bias, kv);
    assert_int_equal(a->window, b->window);
    assert_int_equal(a->rope, b->rope);
}

static void both_formats_give_one_model(void **state) {
    for (size_t a = 0; a < N_ARCHS; a++) {
        specp_model gguf, hf;
        tiny_model t = tiny_model_of(arch_names[a]);
        model_world_load(*state, &t, &gguf);
        t.format = SPEC_FORMAT_SAFETENSORS;
        model_world_load(*state, &t, &hf);
        for (size_t i = 0; i < gguf.n_layers; i++) assert_equal_layers(&gguf, &hf, i);
        assert_equal_matrices(&gguf.embed, &hf.embed, 0);
        assert_equal_matrices(&gguf.output, &hf.output, 0);
        assert_equal_vectors(gguf.output_norm, hf.output_norm, gguf.dim);
        assert_memory_equal(gguf.rope_freq[0], hf.rope_freq[0], gguf.rope_dim / 2 * sizeof(double));
        assert_true(gguf.attn_scale == hf.attn_scale && gguf.embed_scale == hf.embed_scale);
        assert_true(gguf.attn_softcap == hf.attn_softcap && gguf.final_softcap == hf.final_softcap);
        assert_int_equal(gguf.weight_bytes, hf.weight_bytes);
        specp_model_release(&gguf);
        specp_model_release(&hf);
    }
}

/* A gemma3 that sees pictures too: its text model lies one level deeper, and most sizes are the defaults of
 * its class. */
static void nested_config(void **state) {
    specp_model m;
    tiny_model t = tiny_model_of("gemma3");
    t.format = SPEC_FORMAT_SAFETENSORS;
    t.nested = true;
    t.heads = 8;
    t.kv_heads = 4;
    t.head_dim = 256;
    t.context = 131072;
    t.layers = 2;
    const char *const dropped[] = {"num_attention_heads", "num_key_value_heads", "head_dim",
                                   "max_position_embeddings", "eos_token_id"};
    for (size_t i = 0; i < sizeof dropped / sizeof dropped[0]; i++)
        t.edit[t.n_edits++] = (tiny_edit){TINY_DROP, dropped[i], 0, NULL};
    model_world_load(*state, &t, &m);
    assert_model(&m, &t);
    specp_model_release(&m);
    t.tied = false;
    model_world_load(*state, &t, &m);
    assert_model(&m, &t);
    specp_model_release(&m);
}

/* What may be left out, and ids that mean nothing. */
static void what_is_not_said(void **state) {
    specp_model m;
    tiny_model t = tiny_model_of("llama");
    t.kv_heads = t.heads;
    const char *const dropped[] = {"llama.attention.head_count_kv", "llama.attention.key_length",
                                   "llama.attention.value_length", "llama.rope.dimension_count",
                                   "llama.vocab_size"};
    for (size_t i = 0; i < sizeof dropped / sizeof dropped[0]; i++)
        t.edit[t.n_edits++] = (tiny_edit){TINY_DROP, dropped[i], 0, NULL};
    model_world_load(*state, &t, &m);
    assert_model(&m, &t);
    specp_model_release(&m);
    t = tiny_model_of("llama");
    t.edit[t.n_edits++] = (tiny_edit){TINY_UINT, "tokenizer.ggml.bos_token_id", 4294967297, NULL};
    t.edit[t.n_edits++] = (tiny_edit){TINY_UINT, "tokenizer.ggml.eos_token_id", 128, NULL};
    model_world_load(*state, &t, &m);
    assert_true(m.bos == -1 && m.eos == -1);
    specp_model_release(&m);
    t.edit[0].number = 128;
    model_world_load(*state, &t, &m);
    assert_true(m.bos == -1 && m.eos == -1);
    specp_model_release(&m);
}

/* ---- types ------------------------------------------------------------------------ */

static void every_type(void **state) {
    static const spec_type types[] = {SPEC_TYPE_F32,  SPEC_TYPE_F16,  SPEC_TYPE_BF16,
                                      SPEC_TYPE_Q8_0, SPEC_TYPE_Q4_0, SPEC_TYPE_Q5_0,
                                      SPEC_TYPE_Q4_K, SPEC_TYPE_Q5_K, SPEC_TYPE_Q6_K};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        specp_model m;
        tiny_model t = tiny_model_of(i % 2 ? "mixtral" : "gemma2");
        t.dim = t.ff = 256;
        t.head_dim = 64;
        t.type = types[i];
        model_world_load(*state, &t, &m);
        assert_model(&m, &t);
        assert_int_equal(m.layer[1].q.type, types[i]);
        assert_int_equal(m.embed.type, types[i]);
        bool repacked = types[i] > SPEC_TYPE_BF16;
        assert_int_equal(m.output.packed != NULL, repacked);
        assert_true(m.repacked_bytes >= m.n_small * sizeof(float));
        assert_int_equal(m.repacked_bytes > m.weight_bytes / 2, repacked);
        specp_model_release(&m);
    }
}

typedef struct progress {
    size_t calls, done, of;
} progress;

static void count_progress(void *user, size_t done, size_t of) {
    progress *p = user;
    assert_true(done > p->done && done <= of && (p->of == 0 || p->of == of));
    *p = (progress){p->calls + 1, done, of};
}

static void progress_ends_with_all(void **state) {
    static const char *const archs[] = {"llama", "gemma2", "mixtral"};
    for (size_t i = 0; i < 3; i++) {
        model_world *w = *state;
        char path[256];
        specp_model m;
        progress p = {0};
        spec_message why;
        spec_target_options o = {.size = sizeof o, .progress = count_progress, .user = &p};
        tiny_model t = tiny_model_of(archs[i]);
        support_tmp_path(&w->tmp, "model.gguf", path, sizeof path);
        tiny_model_write(&t, path);
        assert_int_equal(specp_model_load(&m, path, w->team, &o, NULL, &why), SPEC_OK);
        assert_true(p.calls > 0 && p.done == p.of);
        specp_model_release(&m);
    }
}

/* Biases are read wherever there are some. */
static void biases_where_present(void **state) {
    specp_model m;
    tiny_model t = tiny_model_of("llama");
    t.n_edits = 2;
    t.edit[0] = (tiny_edit){TINY_ADD, "blk.1.attn_output.bias", 64, NULL};
    t.edit[1] = (tiny_edit){TINY_ADD, "blk.0.attn_k.bias", 32, NULL};
    model_world_load(*state, &t, &m);
    assert_non_null(m.layer[1].o_bias);
    assert_null(m.layer[0].o_bias);
    assert_non_null(m.layer[0].k_bias);
    specp_model_release(&m);
    t = tiny_model_of("gemma2"); /* its norms are stored less 1, biases are not */
    t.format = SPEC_FORMAT_SAFETENSORS;
    t.edit[t.n_edits++] = (tiny_edit){TINY_ADD, "model.layers.0.self_attn.k_proj.bias", 48, NULL};
    model_world_load(*state, &t, &m);
    for (size_t j = 0; j < 48; j++) assert_true(m.layer[0].k_bias[j] == 0.0f);
    specp_model_release(&m);
}

/* Tables that old files carry in every layer. */
static void rotary_tables_are_ignored(void **state) {
    specp_model m;
    tiny_model t = tiny_model_of("llama");
    t.format = SPEC_FORMAT_SAFETENSORS;
    t.edit[t.n_edits++] = (tiny_edit){TINY_ADD, "model.layers.1.self_attn.rotary_emb.inv_freq", 8, NULL};
    model_world_load(*state, &t, &m);
    assert_int_equal(m.n_small, (2 * t.layers + 1) * t.dim);
    specp_model_release(&m);
}

/* A tensor for each expert, as in older GGUF files. */
static void experts_one_by_one(void **state) {
    specp_model stacked, split;
    tiny_model t = tiny_model_of("mixtral");
    model_world_load(*state, &t, &stacked);
    t.split_experts = true;
    model_world_load(*state, &t, &split);
    assert_null(spec_tensors_find(split.file, "blk.0.ffn_up_exps.weight"));
    for (size_t i = 0; i < split.n_layers; i++) assert_equal_layers(&stacked, &split, i);
    specp_model_release(&stacked);
    specp_model_release(&split);
}

/* ---- recorded models ------------------------------------------------------------------ */

typedef struct known {
    const char *path, *arch;
    size_t vocab, dim, layers, heads, kv_heads, head_dim, ff, experts, context;
    bool tied;
    spec_type type; /* of the first layer's q */
} known;

static void recorded_models(void **state) {
    static const known models[] = {
        {"golden/models/llama-d256/F32.gguf", "llama", 320, 256, 2, 4, 1, 64, 512, 0, 512, false,
         SPEC_TYPE_F32},
        {"golden/models/llama-d256/F16.gguf", "llama", 320, 256, 2, 4, 1, 64, 512, 0, 512, false,
         SPEC_TYPE_F16},
        {"golden/models/llama-d256/BF16.gguf", "llama", 320, 256, 2, 4, 1, 64, 512, 0, 512, false,
         SPEC_TYPE_BF16},
        {"golden/models/llama-d256/Q8_0.gguf", "llama", 320, 256, 2, 4, 1, 64, 512, 0, 512, false,
         SPEC_TYPE_Q8_0},
        {"golden/models/llama-d256/Q4_0.gguf", "llama", 320, 256, 2, 4, 1, 64, 512, 0, 512, false,
         SPEC_TYPE_Q4_0},
        {"golden/models/llama-d256/Q4_K.gguf", "llama", 320, 256, 2, 4, 1, 64, 512, 0, 512, false,
         SPEC_TYPE_Q4_K},
        {"golden/models/llama-d256/Q6_K.gguf", "llama", 320, 256, 2, 4, 1, 64, 512, 0, 512, false,
         SPEC_TYPE_Q6_K},
        {"golden/models/llama-d256/Q4_K_M.gguf", "llama", 320, 256, 2, 4, 1, 64, 512, 0, 512, false,
         SPEC_TYPE_Q4_K},
        {"golden/models/llama-d64/F32.gguf", "llama", 512, 64, 3, 4, 2, 16, 160, 0, 512, false,
         SPEC_TYPE_F32},
        {"golden/models/llama-d64/Q8_0.gguf", "llama", 512, 64, 3, 4, 2, 16, 160, 0, 512, false,
         SPEC_TYPE_Q8_0},
        {"golden/models/llama-ropefreqs/F32.gguf", "llama", 512, 64, 2, 2, 1, 32, 96, 0, 512, true,
         SPEC_TYPE_F32},
        {"golden/models/qwen2/F16.gguf", "qwen2", 512, 64, 3, 4, 2, 16, 160, 0, 512, true, SPEC_TYPE_F16},
        {"golden/models/qwen3/Q8_0.gguf", "qwen3", 512, 64, 2, 4, 2, 32, 160, 0, 512, true, SPEC_TYPE_Q8_0},
        {"golden/models/gemma2/F32.gguf", "gemma2", 512, 32, 26, 2, 1, 24, 48, 0, 512, true, SPEC_TYPE_F32},
        {"golden/models/gemma3/F32.gguf", "gemma3", 512, 64, 7, 2, 1, 48, 96, 0, 512, true, SPEC_TYPE_F32},
        {"golden/models/mixtral/Q8_0.gguf", "llama", 512, 64, 2, 4, 2, 16, 96, 8, 512, false, SPEC_TYPE_Q8_0},
        {"golden/models/olmo2/F32.gguf", "olmo2", 512, 64, 2, 4, 4, 16, 96, 0, 512, false, SPEC_TYPE_F32},
        {"golden/stories260K/stories260K-Q4_0.gguf", "llama", 512, 64, 5, 8, 4, 8, 172, 0, 512, false,
         SPEC_TYPE_Q4_0},
        {"golden/stories260K/checkpoint_legacy.bin", "llama", 512, 64, 5, 8, 4, 8, 172, 0, 512, true,
         SPEC_TYPE_F32},
        {"golden/heads/target", "llama", 512, 64, 8, 4, 2, 16, 160, 0, 2048, false, SPEC_TYPE_F32},
    };
    char path[256];
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        const known *k = &models[i];
        specp_model m;
        if (!support_shared(k->path, path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
        model_world_load_path(*state, path, &m);
        assert_string_equal(m.arch->name, k->arch);
        assert_true(m.vocab == k->vocab && m.dim == k->dim && m.n_layers == k->layers &&
                    m.n_heads == k->heads);
        assert_true(m.n_kv_heads == k->kv_heads && m.head_dim == k->head_dim && m.n_ff == k->ff);
        assert_true(m.n_experts == k->experts && m.train_context == k->context && m.tied == k->tied);
        assert_true(m.layer[0].q.type == k->type && m.bos == 1 && m.eos == 2);
        for (size_t l = 0; l < m.n_layers; l++) assert_layer(&m, &m.layer[l]);
        specp_model_release(&m);
    }
}

/* The same weights as a checkpoint of llama2.c and as a GGUF file. */
static void recorded_checkpoint(void **state) {
    char path[256];
    specp_model bin, gguf;
    if (!support_shared("golden/stories260K/checkpoint_legacy.bin", path, sizeof path))
        SUPPORT_SKIP_NO_SHARED();
    model_world_load_path(*state, path, &bin);
    if (!support_shared("golden/stories260K/stories260K-F32.gguf", path, sizeof path))
        SUPPORT_SKIP_NO_SHARED();
    model_world_load_path(*state, path, &gguf);
    for (size_t i = 0; i < bin.n_layers; i++) assert_equal_layers(&bin, &gguf, i);
    assert_equal_matrices(&bin.output, &gguf.output, 0);
    assert_equal_vectors(bin.output_norm, gguf.output_norm, bin.dim);
    assert_memory_equal(bin.rope_freq[0], gguf.rope_freq[0], bin.rope_dim / 2 * sizeof(double));
    assert_true(bin.eps == gguf.eps && bin.attn_scale == gguf.attn_scale && bin.neox == gguf.neox);
    specp_model_release(&bin);
    specp_model_release(&gguf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_architecture_in_both_formats),
        cmocka_unit_test(both_formats_give_one_model),
        cmocka_unit_test(nested_config),
        cmocka_unit_test(what_is_not_said),
        cmocka_unit_test(every_type),
        cmocka_unit_test(progress_ends_with_all),
        cmocka_unit_test(biases_where_present),
        cmocka_unit_test(rotary_tables_are_ignored),
        cmocka_unit_test(experts_one_by_one),
        cmocka_unit_test(recorded_models),
        cmocka_unit_test(recorded_checkpoint),
    };
    return cmocka_run_group_tests(tests, model_world_set_up, model_world_tear_down);
}

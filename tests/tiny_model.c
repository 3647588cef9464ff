/* SPDX-License-Identifier: MIT */
/*
 * Tiny random models. Every tensor is a line of a table: its name in either
 * format, its shape in words, when it is there. A list of what the file holds is
 * made first (plan), then described, then filled.
 */
#include "tiny_model.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support.h"

#define MAX_NAME 96

/* ---- architectures ------------------------------------------------------- */

enum { PRE = 1, POST = 2, BIAS = 4, HEAD_NORM = 8, WHOLE_NORM = 16, GEMMA = 32, PERMUTED = 64 };

static const struct arch {
    const char *name, *gguf, *hf;
    unsigned traits;
} archs[] = {
    {"llama", "llama", "LlamaForCausalLM", PRE | PERMUTED},
    {"mistral", "llama", "MistralForCausalLM", PRE | PERMUTED},
    {"mixtral", "llama", "MixtralForCausalLM", PRE | PERMUTED},
    {"qwen2", "qwen2", "Qwen2ForCausalLM", PRE | BIAS},
    {"qwen3", "qwen3", "Qwen3ForCausalLM", PRE | HEAD_NORM},
    {"gemma2", "gemma2", "Gemma2ForCausalLM", PRE | POST | GEMMA},
    {"gemma3", "gemma3", "Gemma3ForCausalLM", PRE | POST | HEAD_NORM | GEMMA},
    {"olmo2", "olmo2", "Olmo2ForCausalLM", POST | WHOLE_NORM},
};

static const struct arch *arch_of(const char *name) {
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++)
        if (strcmp(archs[i].name, name) == 0) return &archs[i];
    fail_msg("no tiny model of architecture %s", name);
    return NULL;
}

tiny_model tiny_model_of(const char *arch) {
    tiny_model m = {.arch = arch,
                    .format = SPEC_FORMAT_GGUF,
                    .dim = 64,
                    .layers = 2,
                    .heads = 4,
                    .kv_heads = 2,
                    .head_dim = 16,
                    .ff = 96,
                    .vocab = 128,
                    .context = 256,
                    .seed = 1};
    const struct arch *a = arch_of(arch);
    if (strcmp(arch, "mistral") == 0) m.window = 24;
    if (strcmp(arch, "mixtral") == 0) m.experts = 4, m.experts_used = 2;
    if (a->traits & GEMMA) m.window = 12, m.tied = true;
    if (a->traits & (GEMMA | HEAD_NORM)) m.head_dim = 24;
    if (strcmp(arch, "gemma3") == 0) m.layers = 7;
    if (a->traits & WHOLE_NORM) m.kv_heads = 4;
    return m;
}

/* ---- the list of tensors -------------------------------------------------- */

typedef enum extent { NONE, DIM, Q, KV, FF, VOCAB, HEAD, EXPERTS, HALF_HEAD } extent;
typedef enum filling { MATRIX, ROTATED, EMBED, NORM, OFFSET, ROUTER, FACTORS } filling;

typedef struct part {
    const char *gguf, *hf;
    filling fill;
    extent rows, cols; /* cols NONE: a vector */
    unsigned needs, forbids;
} part;

enum { DENSE = 256, MOE = 512, UNTIED = 1024, ROPE_FACTORS = 2048 }; /* beside an architecture's traits */

static const part top_parts[] = {
    {"token_embd.weight", "model.embed_tokens.weight", EMBED, VOCAB, DIM, 0, 0},
    {"output_norm.weight", "model.norm.weight", NORM, DIM, NONE, 0, 0},
    {"output.weight", "lm_head.weight", MATRIX, VOCAB, DIM, UNTIED, 0},
    {"rope_freqs.weight", NULL, FACTORS, HALF_HEAD, NONE, ROPE_FACTORS, 0},
};

static const part layer_parts[] = {
    {"attn_norm.weight", "input_layernorm.weight", NORM, DIM, NONE, PRE, 0},
    {"attn_q.weight", "self_attn.q_proj.weight", ROTATED, Q, DIM, 0, 0},
    {"attn_k.weight", "self_attn.k_proj.weight", ROTATED, KV, DIM, 0, 0},
    {"attn_v.weight", "self_attn.v_proj.weight", MATRIX, KV, DIM, 0, 0},
    {"attn_q.bias", "self_attn.q_proj.bias", OFFSET, Q, NONE, BIAS, 0},
    {"attn_k.bias", "self_attn.k_proj.bias", OFFSET, KV, NONE, BIAS, 0},
    {"attn_v.bias", "self_attn.v_proj.bias", OFFSET, KV, NONE, BIAS, 0},
    {"attn_q_norm.weight", "self_attn.q_norm.weight", NORM, HEAD, NONE, HEAD_NORM, 0},
    {"attn_k_norm.weight", "self_attn.k_norm.weight", NORM, HEAD, NONE, HEAD_NORM, 0},
    {"attn_q_norm.weight", "self_attn.q_norm.weight", NORM, Q, NONE, WHOLE_NORM, 0},
    {"attn_k_norm.weight", "self_attn.k_norm.weight", NORM, KV, NONE, WHOLE_NORM, 0},
    {"attn_output.weight", "self_attn.o_proj.weight", MATRIX, DIM, Q, 0, 0},
    {"post_attention_norm.weight", "post_attention_layernorm.weight", NORM, DIM, NONE, POST, 0},
    {"ffn_norm.weight", "post_attention_layernorm.weight", NORM, DIM, NONE, PRE, POST},
    {"ffn_norm.weight", "pre_feedforward_layernorm.weight", NORM, DIM, NONE, PRE | POST, 0},
    {"ffn_gate.weight", "mlp.gate_proj.weight", MATRIX, FF, DIM, DENSE, 0},
    {"ffn_up.weight", "mlp.up_proj.weight", MATRIX, FF, DIM, DENSE, 0},
    {"ffn_down.weight", "mlp.down_proj.weight", MATRIX, DIM, FF, DENSE, 0},
    {"ffn_gate_inp.weight", "block_sparse_moe.gate.weight", ROUTER, EXPERTS, DIM, MOE, 0},
    {"ffn_gate_exps.weight", "w1.weight", MATRIX, FF, DIM, MOE, 0},
    {"ffn_up_exps.weight", "w3.weight", MATRIX, FF, DIM, MOE, 0},
    {"ffn_down_exps.weight", "w2.weight", MATRIX, DIM, FF, MOE, 0},
    {"post_ffw_norm.weight", "post_feedforward_layernorm.weight", NORM, DIM, NONE, POST, 0},
};

typedef struct tensor {
    char name[MAX_NAME];
    const part *part; /* NULL: zeros */
    spec_type type;
    uint32_t n_dims;
    uint64_t dim[3];
    uint64_t stream; /* of the generator */
    size_t permuted; /* rows of a head that lie otherwise; 0 = none */
    bool less_one, nan;
} tensor;

typedef struct plan {
    const tiny_model *m;
    const struct arch *arch;
    bool hf;
    unsigned traits;
    spec_writer *w;
    char *config; /* config.json so far */
    size_t config_bytes;
    tensor *tensor;
    size_t n;
} plan;

static uint64_t extent_of(const tiny_model *m, extent e) {
    switch (e) {
    case DIM: return m->dim;
    case Q: return m->heads * m->head_dim;
    case KV: return m->kv_heads * m->head_dim;
    case FF: return m->ff;
    case VOCAB: return m->vocab;
    case HEAD: return m->head_dim;
    case EXPERTS: return m->experts;
    case HALF_HEAD: return m->head_dim / 2;
    default: return 1;
    }
}

static const tiny_edit *find_edit(const tiny_model *m, const char *name, unsigned changes) {
    for (size_t i = 0; i < m->n_edits; i++)
        if ((changes >> m->edit[i].change & 1) && strcmp(m->edit[i].name, name) == 0) return &m->edit[i];
    return NULL;
}

static tensor *add_tensor(plan *p, const char *name) {
    assert_true(strlen(name) < MAX_NAME);
    p->tensor = realloc(p->tensor, (p->n + 1) * sizeof *p->tensor);
    assert_non_null(p->tensor);
    tensor *t = &p->tensor[p->n];
    memset(t, 0, sizeof *t);
    strcpy(t->name, name);
    return t;
}

/* What the edits of the tensor's name say; else it stays. */
static void keep_tensor(plan *p, tensor *t) {
    const tiny_edit *rows = find_edit(p->m, t->name, 1u << TINY_ROWS);
    const tiny_edit *type = find_edit(p->m, t->name, 1u << TINY_TYPE);
    if (rows != NULL) t->dim[0] = (uint64_t)((double)t->dim[0] + rows->number);
    if (type != NULL) t->type = (spec_type)type->number;
    t->nan = find_edit(p->m, t->name, 1u << TINY_NAN) != NULL;
    if (find_edit(p->m, t->name, 1u << TINY_DROP) == NULL) p->n++;
}

/* One tensor; expert < 0: not an expert's own. */
static void plan_tensor(plan *p, const part *what, const char *prefix, uint64_t stream, int expert) {
    const tiny_model *m = p->m;
    char name[MAX_NAME], middle[48] = "";
    bool stacked = (what->needs & MOE) && what->fill == MATRIX && expert < 0;
    if (expert >= 0 && p->hf) snprintf(middle, sizeof middle, "block_sparse_moe.experts.%d.", expert);
    snprintf(name, sizeof name, "%s%s%s", prefix, middle, p->hf ? what->hf : what->gguf);
    if (expert >= 0 && !p->hf) /* ffn_gate_exps.weight -> ffn_gate.0.weight */
        sprintf(strstr(name, "_exps"), ".%d.weight", expert);
    tensor *t = add_tensor(p, name);
    if (stacked) t->dim[t->n_dims++] = m->experts;
    t->dim[t->n_dims++] = extent_of(m, what->rows);
    if (what->cols != NONE) t->dim[t->n_dims++] = extent_of(m, what->cols);
    t->part = what;
    t->stream = stream + (expert > 0 ? (uint64_t)expert : 0);
    bool quantised = what->fill <= EMBED;
    t->type = quantised && t->dim[t->n_dims - 1] % spec_type_block(m->type) == 0 ? m->type : SPEC_TYPE_F32;
    if (p->hf && (p->traits & PERMUTED) && what->fill == ROTATED) t->permuted = m->head_dim;
    t->less_one = p->hf && (p->traits & GEMMA) && what->fill == NORM;
    keep_tensor(p, t);
}

static void plan_parts(plan *p, const part *parts, size_t n, const char *prefix, uint64_t stream) {
    for (size_t i = 0; i < n; i++) {
        const part *what = &parts[i];
        if ((p->traits & what->needs) != what->needs || (p->traits & what->forbids) != 0) continue;
        if (p->hf && what->hf == NULL) continue;
        bool experts = (p->hf || p->m->split_experts) && (what->needs & MOE) && what->fill == MATRIX;
        for (size_t e = 0; e < (experts ? p->m->experts : 1); e++)
            plan_tensor(p, what, prefix, stream + i * 1000, experts ? (int)e : -1);
    }
}

static void plan_tensors(plan *p) {
    const tiny_model *m = p->m;
    const char *outer = m->nested ? "language_model." : "";
    plan_parts(p, top_parts, sizeof top_parts / sizeof top_parts[0], outer, 0);
    for (size_t l = 0; l < m->layers; l++) {
        char prefix[48];
        snprintf(prefix, sizeof prefix, p->hf ? "%smodel.layers.%zu." : "%sblk.%zu.", outer, l);
        plan_parts(p, layer_parts, sizeof layer_parts / sizeof layer_parts[0], prefix, (l + 1) * 1000000);
    }
    for (size_t i = 0; i < m->n_edits; i++)
        if (m->edit[i].change == TINY_ADD) {
            tensor *t = add_tensor(p, m->edit[i].name);
            t->n_dims = 1;
            t->dim[0] = (uint64_t)m->edit[i].number;
            p->n++;
        }
}

/* ---- values --------------------------------------------------------------- */

/* Bell-shaped, of standard deviation 1. */
static float bell(support_rng *r) {
    double sum = 0;
    for (int i = 0; i < 4; i++) sum += support_rng_unit(r);
    return (float)((sum - 2.0) * 1.7320508075688772);
}

static float value(const tensor *t, support_rng *r, bool gemma) {
    double n_in = (double)t->dim[t->n_dims - 1];
    if (t->part == NULL) return 0.0f;
    switch (t->part->fill) {
    case MATRIX:
    case ROTATED: return bell(r) / (float)sqrt(n_in);
    case EMBED: return gemma ? bell(r) / (float)sqrt(n_in) : bell(r);
    case ROUTER: return bell(r) / 4.0f;
    case OFFSET: return bell(r) / 8.0f;
    case FACTORS: return (float)(1u << support_rng_below(r, 4));
    default: return (float)(32 + support_rng_below(r, 65)) / 64.0f; /* less 1 it is still exact */
    }
}

/* Rows of each head from pairs (2j, 2j+1) to halves (j, j + head/2). */
static void permute(float *x, size_t rows, size_t cols, size_t head) {
    float *old = malloc(head * cols * sizeof *old);
    assert_non_null(old);
    for (size_t h = 0; h + head <= rows; h += head) {
        memcpy(old, x + h * cols, head * cols * sizeof *old);
        for (size_t j = 0; j < head; j++) {
            size_t from = j < head / 2 ? 2 * j : 2 * (j - head / 2) + 1;
            memcpy(x + (h + j) * cols, old + from * cols, cols * sizeof *x);
        }
    }
    free(old);
}

static float *values(const plan *p, const tensor *t, size_t n) {
    float *x = malloc(n * sizeof *x + 1);
    assert_non_null(x);
    size_t slices = t->n_dims == 3 ? t->dim[0] : 1, each = n / slices;
    for (size_t i = 0; i < n; i += each) {
        support_rng r = support_rng_new(p->m->seed, t->stream + i / each);
        for (size_t j = 0; j < each; j++) x[i + j] = value(t, &r, p->traits & GEMMA);
    }
    if (t->permuted != 0) permute(x, t->dim[0], n / t->dim[0], t->permuted);
    for (size_t i = 0; i < n && t->less_one; i++) x[i] -= 1.0f;
    if (t->nan) x[n - 1] = (float)NAN;
    return x;
}

static void write_values(const plan *p, const tensor *t) {
    size_t n = 1;
    for (uint32_t d = 0; d < t->n_dims; d++) n *= t->dim[d];
    if (n == 0) return;
    float *x = values(p, t, n);
    size_t bytes = n / spec_type_block(t->type) * spec_type_block_bytes(t->type);
    void *data = malloc(bytes);
    assert_non_null(data);
    assert_int_equal(spec_type_from_float(t->type, x, data, n), SPEC_OK);
    assert_int_equal(spec_writer_data(p->w, data, bytes), SPEC_OK);
    free(data);
    free(x);
}

/* ---- metadata ------------------------------------------------------------- */

static void add_config(plan *p, const char *key, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < sizeof text);
    p->config = realloc(p->config, p->config_bytes + strlen(key) + (size_t)n + 8);
    assert_non_null(p->config);
    p->config_bytes += (size_t)sprintf(p->config + p->config_bytes, "%s\"%s\": %s",
                                       p->config_bytes == 0 ? "" : ",\n", key, text);
}

static void put_text(plan *p, const char *key, const char *text) {
    if (p->hf)
        add_config(p, key, "\"%s\"", text);
    else
        assert_int_equal(spec_writer_meta_string(p->w, key, text, strlen(text)), SPEC_OK);
}

static void put_number(plan *p, const char *key, double x, bool whole) {
    if (p->hf)
        add_config(p, key, whole ? "%.0f" : "%.9g", x);
    else if (whole)
        assert_int_equal(spec_writer_meta_uint(p->w, key, (uint64_t)x), SPEC_OK);
    else
        assert_int_equal(spec_writer_meta_float(p->w, key, x), SPEC_OK);
}

#define META_EDITS (1u << TINY_DROP | 1u << TINY_UINT | 1u << TINY_FLOAT | 1u << TINY_TEXT)

/* One entry, unless an edit will write or has dropped it. */
static void meta(plan *p, const char *gguf, const char *hf, double x, bool whole) {
    char key[MAX_NAME];
    if ((p->hf ? hf : gguf) == NULL) return;
    if (p->hf || strchr(gguf, ':') == NULL)
        snprintf(key, sizeof key, "%s", p->hf ? hf : gguf);
    else
        snprintf(key, sizeof key, "%s.%s", p->arch->gguf, gguf + 1);
    if (find_edit(p->m, key, META_EDITS) == NULL) put_number(p, key, x, whole);
}

static void meta_sizes(plan *p) {
    const tiny_model *m = p->m;
    meta(p, ":block_count", "num_hidden_layers", (double)m->layers, true);
    meta(p, ":context_length", "max_position_embeddings", (double)m->context, true);
    meta(p, ":embedding_length", "hidden_size", (double)m->dim, true);
    meta(p, ":feed_forward_length", "intermediate_size", (double)m->ff, true);
    meta(p, ":attention.head_count", "num_attention_heads", (double)m->heads, true);
    meta(p, ":attention.head_count_kv", "num_key_value_heads", (double)m->kv_heads, true);
    meta(p, ":attention.layer_norm_rms_epsilon", "rms_norm_eps", 1e-6, false);
    meta(p, ":rope.freq_base", "rope_theta", p->traits & GEMMA ? 10000.0 : 500000.0, false);
    meta(p, ":rope.dimension_count", NULL, (double)m->head_dim, true);
    meta(p, ":attention.key_length", "head_dim", (double)m->head_dim, true);
    meta(p, ":attention.value_length", NULL, (double)m->head_dim, true);
    meta(p, ":vocab_size", "vocab_size", (double)m->vocab, true);
    meta(p, "tokenizer.ggml.bos_token_id", "bos_token_id", 1, true);
    meta(p, "tokenizer.ggml.eos_token_id", "eos_token_id", 2, true);
    if (m->window != 0) meta(p, ":attention.sliding_window", "sliding_window", (double)m->window, true);
    if (m->experts != 0) {
        meta(p, ":expert_count", "num_local_experts", (double)m->experts, true);
        meta(p, ":expert_used_count", "num_experts_per_tok", (double)m->experts_used, true);
    }
    if (strcmp(m->arch, "gemma2") == 0) {
        meta(p, ":attn_logit_softcapping", "attn_logit_softcapping", 5.0, false);
        meta(p, ":final_logit_softcapping", "final_logit_softcapping", 3.0, false);
    }
    if (p->traits & GEMMA) meta(p, NULL, "query_pre_attn_scalar", (double)m->head_dim, true);
}

static void meta_all(plan *p) {
    const tiny_model *m = p->m;
    const char *arch_key = p->hf ? "architectures" : "general.architecture";
    if (find_edit(m, arch_key, META_EDITS) == NULL) {
        if (!p->hf) put_text(p, arch_key, p->arch->gguf);
        if (p->hf && !m->nested) add_config(p, arch_key, "[\"%s\"]", p->arch->hf);
    }
    meta_sizes(p);
    for (size_t i = 0; i < m->n_edits; i++) {
        const tiny_edit *e = &m->edit[i];
        if (e->change == TINY_TEXT) put_text(p, e->name, e->text);
        if (e->change == TINY_UINT || e->change == TINY_FLOAT)
            put_number(p, e->name, e->number, e->change == TINY_UINT);
    }
    if (p->hf) add_config(p, "tie_word_embeddings", m->tied ? "true" : "false");
    if (p->hf && m->rope_factors)
        add_config(p, "rope_scaling",
                   "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, "
                   "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 64}");
}

static void write_config(const plan *p, const char *folder) {
    char path[512];
    snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    if (p->m->nested)
        fprintf(f, "{\"architectures\": [\"Gemma3ForConditionalGeneration\"],\n\"eos_token_id\": [2, "
                   "9],\n\"text_config\": {\n");
    else
        fprintf(f, "{\n");
    fprintf(f, "%s%s%s\n}%s\n", p->config, p->m->config != NULL ? ",\n" : "",
            p->m->config != NULL ? p->m->config : "", p->m->nested ? "}" : "");
    assert_int_equal(fclose(f), 0);
}

/* ---- writing --------------------------------------------------------------- */

void tiny_model_write(const tiny_model *m, const char *path) {
    char file[512];
    spec_message why;
    plan p = {.m = m, .arch = arch_of(m->arch), .hf = m->format == SPEC_FORMAT_SAFETENSORS};
    p.traits = p.arch->traits | (m->experts != 0 ? MOE : DENSE) | (m->tied ? 0 : UNTIED) |
               (m->rope_factors ? ROPE_FACTORS : 0);
    if (p.hf && mkdir(path, 0777) != 0) assert_int_equal(errno, EEXIST);
    assert_true(snprintf(file, sizeof file, "%s%s", path, p.hf ? "/model.safetensors" : "") <
                (int)sizeof file);
    if (spec_writer_new(&p.w, file, m->format, NULL, &why) != SPEC_OK) fail_msg("%s", why.text);
    meta_all(&p);
    plan_tensors(&p);
    for (size_t i = 0; i < p.n; i++)
        assert_int_equal(
            spec_writer_tensor(p.w, p.tensor[i].name, p.tensor[i].type, p.tensor[i].n_dims, p.tensor[i].dim),
            SPEC_OK);
    for (size_t i = 0; i < p.n; i++) write_values(&p, &p.tensor[i]);
    if (spec_writer_finish(p.w, &why) != SPEC_OK) fail_msg("%s", why.text);
    if (p.hf) write_config(&p, path);
    free(p.config);
    free(p.tensor);
}

/* SPDX-License-Identifier: MIT */
/*
 * Metadata -> architecture and sizes.
 *
 * The same number has another name in each kind of file; a line of a table each:
 *
 *     GGUF        llama.block_count           keys = "llama."
 *     config.json config.num_hidden_layers    keys = "config." or "config.text_config."
 *     llama2.c    llama2c.n_layers            keys = "llama2c."
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "load.h"

#define MOST      ((size_t)1 << 24) /* of any size but the context and the vocabulary */
#define MOST_HEAD ((size_t)1 << 16) /* of a head: frequencies are made before tensors are looked at */

/* ---- values --------------------------------------------------------------- */

const spec_meta *specp_load_meta(const specp_loader *l, const char *name) {
    char key[128];
    if (name == NULL) return NULL;
    int n = snprintf(key, sizeof key, "%s%s", l->keys, name);
    return n > 0 && (size_t)n < sizeof key ? spec_tensors_meta(l->file, key) : NULL;
}

bool specp_load_is(const spec_meta *value, size_t i, const char *text) {
    const char *s;
    size_t n;
    return value != NULL && spec_meta_string(value, i, &s, &n) == SPEC_OK && n == strlen(text) &&
           memcmp(s, text, n) == 0;
}

specp_shown_text specp_load_text(const spec_meta *value) {
    specp_shown_text shown = {"?"};
    const char *s;
    size_t n;
    if (value == NULL || spec_meta_string(value, 0, &s, &n) != SPEC_OK) return shown;
    if (n > sizeof shown.text - 4) n = sizeof shown.text - 4;
    for (size_t i = 0; i < n; i++) shown.text[i] = (char)(s[i] >= ' ' && s[i] <= '~' ? s[i] : '?');
    shown.text[n] = '\0';
    return shown;
}

int specp_load_size(const specp_loader *l, const char *name, size_t low, size_t high, size_t *out) {
    const spec_meta *value = specp_load_meta(l, name);
    uint64_t first, other;
    if (value == NULL) return SPEC_OK;
    if (spec_meta_uint(value, 0, &first) != SPEC_OK || first < low || first > high)
        return specp_load_fail(l, SPEC_ERR_CORRUPT, "%s is no number from %zu to %zu", value->key, low, high);
    for (uint64_t i = 1; value->kind == SPEC_META_ARRAY && i < value->n; i++)
        if (spec_meta_uint(value, i, &other) != SPEC_OK || other != first)
            return specp_load_fail(l, SPEC_ERR_UNSUPPORTED,
                                   "%s differs from layer to layer, which is not supported", value->key);
    *out = first;
    return SPEC_OK;
}

int specp_load_real(const specp_loader *l, const char *name, double low, double high, double *out) {
    const spec_meta *value = specp_load_meta(l, name);
    double x;
    if (value == NULL) return SPEC_OK;
    if (spec_meta_float(value, 0, &x) != SPEC_OK || !(x >= low && x <= high))
        return specp_load_fail(l, SPEC_ERR_CORRUPT, "%s is no number from %g to %g", value->key, low, high);
    *out = x;
    return SPEC_OK;
}

int specp_load_flag(const specp_loader *l, const char *name, bool *out) {
    const spec_meta *value = specp_load_meta(l, name);
    int flag;
    if (value == NULL) return SPEC_OK;
    if (spec_meta_bool(value, 0, &flag) != SPEC_OK)
        return specp_load_fail(l, SPEC_ERR_CORRUPT, "%s is neither true nor false", value->key);
    *out = flag != 0;
    return SPEC_OK;
}

/* ---- the architecture ------------------------------------------------------ */

static const specp_arch *find_gguf(const spec_meta *name) {
    for (const specp_arch *a = specp_archs; a->name != NULL; a++)
        if (specp_load_is(name, 0, a->name)) return a;
    return NULL;
}

static const specp_arch *find_hf(const spec_meta *names) {
    for (const specp_arch *a = specp_archs; a->name != NULL; a++)
        for (const char *const *hf = a->hf_names; *hf != NULL; hf++)
            if (specp_load_is(names, 0, *hf)) return a;
    return NULL;
}

static int unknown_arch(const specp_loader *l, const spec_meta *name) {
    char list[256] = "";
    size_t at = 0;
    for (const specp_arch *a = specp_archs; a->name != NULL && at < sizeof list; a++)
        if (l->layout == SPECP_LAYOUT_GGUF)
            at += (size_t)snprintf(list + at, sizeof list - at, " %s", a->name);
        else
            for (const char *const *hf = a->hf_names; *hf != NULL && at < sizeof list; hf++)
                at += (size_t)snprintf(list + at, sizeof list - at, " %s", *hf);
    return specp_load_fail(l, SPEC_ERR_UNSUPPORTED, "architecture \"%s\" is not supported; supported are%s",
                           specp_load_text(name).text, list);
}

static int find_arch(specp_loader *l) {
    const spec_meta *gguf = spec_tensors_meta(l->file, "general.architecture");
    const spec_meta *hf = spec_tensors_meta(l->file, "config.architectures");
    if (gguf != NULL) {
        l->layout = SPECP_LAYOUT_GGUF;
        l->m->arch = find_gguf(gguf);
        if (l->m->arch != NULL) (void)snprintf(l->keys, sizeof l->keys, "%s.", l->m->arch->name);
    } else if (hf != NULL) {
        l->layout = SPECP_LAYOUT_HF;
        l->m->arch = find_hf(hf);
        bool nested = spec_tensors_meta(l->file, "config.text_config.hidden_size") != NULL;
        (void)snprintf(l->keys, sizeof l->keys, "%s", nested ? "config.text_config." : "config.");
    } else if (spec_tensors_meta(l->file, "llama2c.dim") != NULL) {
        l->layout = SPECP_LAYOUT_LLAMA2C;
        l->m->arch = &specp_archs[0];
        (void)snprintf(l->keys, sizeof l->keys, "llama2c.");
    } else {
        return specp_load_fail(l, SPEC_ERR_UNSUPPORTED,
                               "the file does not say what model it is: general.architecture (GGUF) or a "
                               "config.json with \"architectures\" (safetensors) is expected");
    }
    return l->m->arch != NULL ? SPEC_OK : unknown_arch(l, gguf != NULL ? gguf : hf);
}

/* config.json's activation must be the architecture's. */
static int check_activation(const specp_loader *l) {
    static const char *const accepted[][4] = {
        [SPECP_ACT_SILU] = {"silu", "swish", NULL}, [SPECP_ACT_GELU] = {"gelu_pytorch_tanh", "gelu", NULL}};
    if (l->layout != SPECP_LAYOUT_HF) return SPEC_OK;
    const spec_meta *name = specp_load_meta(l, "hidden_activation");
    if (name == NULL) name = specp_load_meta(l, "hidden_act");
    if (name == NULL) return SPEC_OK;
    for (const char *const *a = accepted[l->m->arch->act]; *a != NULL; a++)
        if (specp_load_is(name, 0, *a)) return SPEC_OK;
    return specp_load_fail(l, SPEC_ERR_UNSUPPORTED, "%s \"%s\" is not supported; %s models have \"%s\"",
                           name->key, specp_load_text(name).text, l->m->arch->name,
                           accepted[l->m->arch->act][0]);
}

/* ---- sizes ---------------------------------------------------------------- */

typedef struct size_key {
    const char *name[3]; /* by layout; NULL: there is none */
    size_t offset;       /* in specp_model */
    size_t low, high;
    bool needed;
} size_key;

#define AT(field) offsetof(specp_model, field)

static const size_key sizes[] = {
    {{"embedding_length", "hidden_size", "dim"}, AT(dim), 1, MOST, true},
    {{"block_count", "num_hidden_layers", "n_layers"}, AT(n_layers), 1, MOST, true},
    {{"attention.head_count", "num_attention_heads", "n_heads"}, AT(n_heads), 1, MOST, true},
    {{"attention.head_count_kv", "num_key_value_heads", "n_kv_heads"}, AT(n_kv_heads), 1, MOST, false},
    {{"attention.key_length", "head_dim", NULL}, AT(head_dim), 1, MOST, false},
    {{"feed_forward_length", "intermediate_size", "hidden_dim"}, AT(n_ff), 1, MOST, true},
    {{"context_length", "max_position_embeddings", "max_seq_len"}, AT(train_context), 1, INT32_MAX, true},
    {{NULL, "vocab_size", "vocab_size"}, AT(vocab), 1, INT32_MAX, false},
    {{"expert_count", "num_local_experts", NULL}, AT(n_experts), 0, 65536, false},
    {{"expert_used_count", "num_experts_per_tok", NULL}, AT(n_experts_used), 0, 65536, false},
};

static size_t *size_of(const specp_loader *l, const size_key *k) {
    return (size_t *)((char *)l->m + k->offset);
}

/* What published gemma3 files leave to the defaults of their configuration. */
static void gemma3_defaults(specp_loader *l) {
    specp_model *m = l->m;
    if (l->layout != SPECP_LAYOUT_HF || strcmp(m->arch->name, "gemma3") != 0) return;
    m->n_heads = 8;
    m->n_kv_heads = 4;
    m->head_dim = 256;
    m->train_context = 131072;
}

static int read_sizes(specp_loader *l) {
    specp_model *m = l->m;
    size_t value_dim = 0;
    gemma3_defaults(l);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_key *k = &sizes[i];
        int err = specp_load_size(l, k->name[l->layout], k->low, k->high, size_of(l, k));
        if (err != SPEC_OK) return err;
    }
    if (m->n_kv_heads == 0) m->n_kv_heads = m->n_heads;
    if (m->head_dim == 0 && m->n_heads != 0) m->head_dim = m->dim / m->n_heads;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].needed && *size_of(l, &sizes[i]) == 0)
            return specp_load_fail(l, SPEC_ERR_CORRUPT, "%s%s is missing", l->keys, sizes[i].name[l->layout]);
    if (l->layout != SPECP_LAYOUT_GGUF) return SPEC_OK;
    int err = specp_load_size(l, "attention.value_length", 1, MOST, &value_dim);
    if (err == SPEC_OK && value_dim != 0 && value_dim != m->head_dim)
        return specp_load_fail(l, SPEC_ERR_UNSUPPORTED,
                               "heads with keys of %zu and values of %zu numbers are not supported",
                               m->head_dim, value_dim);
    return err;
}

static int check_sizes(const specp_loader *l) {
    const specp_model *m = l->m;
    if (m->n_heads % m->n_kv_heads != 0)
        return specp_load_fail(l, SPEC_ERR_CORRUPT, "%zu heads cannot share %zu key-value heads", m->n_heads,
                               m->n_kv_heads);
    if (m->head_dim == 0 || m->head_dim % 2 != 0 || m->head_dim > MOST_HEAD)
        return specp_load_fail(l, SPEC_ERR_CORRUPT, "heads of %zu numbers cannot be rotated", m->head_dim);
    if (m->n_experts == 0 ? m->n_experts_used != 0 && l->layout == SPECP_LAYOUT_GGUF
                          : m->n_experts_used == 0 || m->n_experts_used > m->n_experts)
        return specp_load_fail(l, SPEC_ERR_CORRUPT, "%zu of %zu experts are to be used", m->n_experts_used,
                               m->n_experts);
    if (m->n_layers > spec_tensors_count(l->file))
        return specp_load_fail(l, SPEC_ERR_CORRUPT, "has %zu tensors, too few for %zu layers",
                               spec_tensors_count(l->file), m->n_layers);
    return SPEC_OK;
}

/* ---- scales and tokens ------------------------------------------------------ */

/* Scores are divided by sqrt(head_dim), but for some sizes by that of another number. */
static int read_attn_scale(specp_loader *l) {
    specp_model *m = l->m;
    double divisor = (double)m->head_dim;
    int err = SPEC_OK;
    if (l->layout == SPECP_LAYOUT_HF && m->arch->wide_layers != 0) /* gemma's configuration alone has it */
        err = specp_load_real(l, "query_pre_attn_scalar", 1.0, 1e9, &divisor);
    else if (m->n_layers == m->arch->wide_layers && l->layout == SPECP_LAYOUT_GGUF)
        divisor = (double)m->dim / (double)m->n_heads;
    m->attn_scale = (float)(1.0 / sqrt(divisor));
    return err;
}

static const char *const eps_names[] = {"attention.layer_norm_rms_epsilon", "rms_norm_eps", NULL};
static const double eps_defaults[] = {-1.0, 1e-6, 1e-5};

static int read_reals(specp_loader *l) {
    specp_model *m = l->m;
    double eps = eps_defaults[l->layout], attn_cap = m->arch->attn_softcap,
           final_cap = m->arch->final_softcap;
    int err = specp_load_real(l, eps_names[l->layout], 0.0, 1.0, &eps);
    if (err == SPEC_OK && eps < 0)
        return specp_load_fail(l, SPEC_ERR_CORRUPT, "%s%s is missing", l->keys, eps_names[l->layout]);
    if (err == SPEC_OK) err = specp_load_real(l, "attn_logit_softcapping", 0.0, 1e9, &attn_cap);
    if (err == SPEC_OK) err = specp_load_real(l, "final_logit_softcapping", 0.0, 1e9, &final_cap);
    if (err == SPEC_OK) err = read_attn_scale(l);
    m->eps = (float)eps;
    m->attn_softcap = (float)attn_cap;
    m->final_softcap = (float)final_cap;
    m->embed_scale = m->arch->embed_scale ? (float)sqrt((double)m->dim) : 1.0f;
    return err;
}

/* A token's id, or -1: files are full of ids that mean nothing. */
static spec_token token_of(const specp_loader *l, const char *gguf, const char *hf) {
    const spec_meta *value = NULL;
    char key[64];
    uint64_t id;
    if (l->layout == SPECP_LAYOUT_GGUF) {
        (void)snprintf(key, sizeof key, "tokenizer.ggml.%s", gguf);
        value = spec_tensors_meta(l->file, key);
    } else if (l->layout == SPECP_LAYOUT_HF) {
        (void)snprintf(key, sizeof key, "config.%s", hf);
        value = specp_load_meta(l, hf);
        if (value == NULL) value = spec_tensors_meta(l->file, key);
    }
    return spec_meta_uint(value, 0, &id) == SPEC_OK && id <= INT32_MAX ? (spec_token)id : -1;
}

static void read_tokens(specp_loader *l) {
    l->m->bos = token_of(l, "bos_token_id", "bos_token_id");
    l->m->eos = token_of(l, "eos_token_id", "eos_token_id");
    if (l->layout == SPECP_LAYOUT_LLAMA2C) { /* its tokenizers all have these */
        l->m->bos = 1;
        l->m->eos = 2;
    }
}

int specp_load_config(specp_loader *l) {
    int err = find_arch(l);
    if (err == SPEC_OK) err = check_activation(l);
    if (err == SPEC_OK) err = read_sizes(l);
    if (err == SPEC_OK) err = check_sizes(l);
    if (err == SPEC_OK) err = read_reals(l);
    if (err != SPEC_OK) return err;
    l->m->neox = l->layout == SPECP_LAYOUT_HF || (l->layout == SPECP_LAYOUT_GGUF && l->m->arch->neox_rope);
    read_tokens(l);
    l->m->layer = specp_calloc(&l->m->alloc, l->m->n_layers, sizeof *l->m->layer);
    return l->m->layer != NULL ? SPEC_OK : specp_load_no_memory(l);
}

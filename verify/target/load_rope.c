/* SPDX-License-Identifier: MIT */
/*
 * Metadata -> frequencies of the rotary embedding, and the windows of layers.
 *
 * Scalings: none; linear (frequencies divided by a factor); llama3 (each divided
 * by a factor of its own, in GGUF a tensor, in config.json four numbers). Others
 * are refused by name.
 *
 * Where layers alternate between a window and the whole text, those with a
 * window may have a base of their own: frequencies [1].
 */
#include <stdio.h>
#include <string.h>

#include "load.h"

#define LEAST_FACTOR 1e-3f /* no angle passes what rope.c can count in quarter turns */

/* ---- scaling ---------------------------------------------------------------- */

typedef struct scaling {
    bool llama3;           /* in config.json */
    specp_rope_llama3 how; /* linear: its factor alone */
} scaling;

static int unknown_scaling(const specp_loader *l, const spec_meta *type) {
    return specp_load_fail(l, SPEC_ERR_UNSUPPORTED,
                           "%s \"%s\" is not supported; supported are none, linear and llama3", type->key,
                           specp_load_text(type).text);
}

static int read_gguf_scaling(const specp_loader *l, scaling *s) {
    const spec_meta *type = specp_load_meta(l, "rope.scaling.type");
    if (specp_load_is(type, 0, "none")) return SPEC_OK;
    if (type != NULL && !specp_load_is(type, 0, "linear")) return unknown_scaling(l, type);
    int err = specp_load_real(l, "rope.scale_linear", 1e-6, 1e6, &s->how.factor); /* its name of old */
    return err == SPEC_OK ? specp_load_real(l, "rope.scaling.factor", 1e-6, 1e6, &s->how.factor) : err;
}

/* The member `name` of config.json's object that holds the scaling: that has changed its name twice. */
static const char *hf_member(const specp_loader *l, const char *name, char *buf, size_t n) {
    static const char *const objects[] = {"rope_scaling.", "rope_parameters.",
                                          "rope_parameters.full_attention."};
    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++) {
        (void)snprintf(buf, n, "%s%s", objects[i], name);
        if (specp_load_meta(l, buf) != NULL) return buf;
    }
    return NULL;
}

static int read_hf_real(const specp_loader *l, const char *name, double *out) {
    char buf[96];
    const char *member = hf_member(l, name, buf, sizeof buf);
    if (member == NULL)
        return specp_load_fail(l, SPEC_ERR_CORRUPT, "%srope_scaling.%s is missing", l->keys, name);
    return specp_load_real(l, member, 1e-6, 1e9, out);
}

static int read_hf_scaling(const specp_loader *l, scaling *s) {
    char buf[96];
    const char *member = hf_member(l, "rope_type", buf, sizeof buf);
    if (member == NULL) member = hf_member(l, "type", buf, sizeof buf);
    const spec_meta *type = specp_load_meta(l, member);
    s->llama3 = specp_load_is(type, 0, "llama3");
    if (type == NULL || specp_load_is(type, 0, "default")) return SPEC_OK;
    if (!s->llama3 && !specp_load_is(type, 0, "linear")) return unknown_scaling(l, type);
    int err = read_hf_real(l, "factor", &s->how.factor);
    if (!s->llama3 || err != SPEC_OK) return err;
    err = read_hf_real(l, "low_freq_factor", &s->how.low);
    if (err == SPEC_OK) err = read_hf_real(l, "high_freq_factor", &s->how.high);
    if (err == SPEC_OK) err = read_hf_real(l, "original_max_position_embeddings", &s->how.original);
    if (err == SPEC_OK && s->how.high <= s->how.low)
        return specp_load_fail(l, SPEC_ERR_CORRUPT, "high_freq_factor %g is not above low_freq_factor %g",
                               s->how.high, s->how.low);
    return err;
}

/* GGUF's llama 3: a tensor of divisors. */
static int apply_factors(const specp_loader *l, double *freq) {
    const spec_tensor *t = spec_tensors_find(l->file, "rope_freqs.weight");
    size_t n = l->m->rope_dim / 2;
    if (t == NULL || l->layout != SPECP_LAYOUT_GGUF) return SPEC_OK;
    float *factor = specp_alloc(&l->m->alloc, n, sizeof *factor);
    if (factor == NULL) return specp_load_no_memory(l);
    int err = specp_load_floats(l, t, n, factor);
    for (size_t j = 0; j < n && err == SPEC_OK; j++) {
        if (!(factor[j] >= LEAST_FACTOR))
            err = specp_load_fail(l, SPEC_ERR_CORRUPT, "%s holds %g, expected numbers from %g on", t->name,
                                  (double)factor[j], (double)LEAST_FACTOR);
        freq[j] /= (double)factor[j];
    }
    specp_release(&l->m->alloc, factor, n, sizeof *factor);
    return err;
}

/* ---- frequencies ------------------------------------------------------------- */

/* How many dimensions of a head are rotated. */
static int read_rope_dim(const specp_loader *l) {
    specp_model *m = l->m;
    double share = 1.0;
    int err = SPEC_OK;
    m->rope_dim = m->head_dim;
    if (l->layout == SPECP_LAYOUT_GGUF) {
        err = specp_load_size(l, "rope.dimension_count", 2, m->head_dim, &m->rope_dim);
    } else if (l->layout == SPECP_LAYOUT_HF) {
        err = specp_load_real(l, "partial_rotary_factor", 0.0, 1.0, &share);
        m->rope_dim = (size_t)((double)m->head_dim * share);
    }
    if (err == SPEC_OK && (m->rope_dim == 0 || m->rope_dim % 2 != 0))
        return specp_load_fail(l, SPEC_ERR_CORRUPT, "%zu dimensions of a head cannot be rotated",
                               m->rope_dim);
    return err;
}

static int read_base(const specp_loader *l, double *base, double *local) {
    static const char *const names[][2] = {{"rope.freq_base", "rope.freq_base_swa"},
                                           {"rope_theta", "rope_local_base_freq"}};
    char buf[96];
    if (l->layout == SPECP_LAYOUT_LLAMA2C) return SPEC_OK;
    const char *const *name = names[l->layout];
    int err = specp_load_real(l, name[0], 1.0, 1e15, base);
    if (err == SPEC_OK) err = specp_load_real(l, name[1], 1.0, 1e15, local);
    if (err != SPEC_OK || l->layout != SPECP_LAYOUT_HF) return err;
    err = specp_load_real(l, hf_member(l, "rope_theta", buf, sizeof buf), 1.0, 1e15, base);
    return err == SPEC_OK
               ? specp_load_real(l, "rope_parameters.sliding_attention.rope_theta", 1.0, 1e15, local)
               : err;
}

static double *new_frequencies(const specp_loader *l, double base) {
    double *freq = specp_alloc(&l->m->alloc, l->m->rope_dim / 2, sizeof *freq);
    if (freq != NULL) specp_rope_freqs(base, l->m->rope_dim, freq);
    return freq;
}

int specp_load_rope(specp_loader *l) {
    specp_model *m = l->m;
    double base = m->arch->rope_base, local = m->arch->local_rope_base;
    scaling s = {.how.factor = 1.0};
    int err = read_rope_dim(l);
    if (err == SPEC_OK) err = read_base(l, &base, &local);
    if (err == SPEC_OK && l->layout == SPECP_LAYOUT_GGUF) err = read_gguf_scaling(l, &s);
    if (err == SPEC_OK && l->layout == SPECP_LAYOUT_HF) err = read_hf_scaling(l, &s);
    if (err != SPEC_OK) return err;
    m->rope_freq[0] = new_frequencies(l, base);
    if (m->arch->local_rope_base != 0) m->rope_freq[1] = new_frequencies(l, local);
    if (m->rope_freq[0] == NULL || (m->arch->local_rope_base != 0 && m->rope_freq[1] == NULL))
        return specp_load_no_memory(l);
    for (size_t j = 0; j < m->rope_dim / 2; j++)
        m->rope_freq[0][j] =
            s.llama3 ? specp_rope_stretched(&s.how, m->rope_freq[0][j]) : m->rope_freq[0][j] / s.how.factor;
    return apply_factors(l, m->rope_freq[0]);
}

/* ---- windows ------------------------------------------------------------------ */

typedef struct windows {
    size_t window;          /* 0: no layer has one */
    size_t period, global;  /* of a cycle; period 0: all layers are alike */
    size_t first;           /* layers before it see everything */
    const spec_meta *types; /* of layers, in config.json */
    const spec_meta *flags; /* of layers, in GGUF */
} windows;

/* Does layer i have a window? Negative: an error. */
static int has_window(const specp_loader *l, const windows *w, size_t i) {
    const spec_meta *list = w->types != NULL ? w->types : w->flags;
    if (w->window == 0) return 0;
    if (list == NULL) return i >= w->first && (w->period == 0 || i % w->period != w->global);
    if (list->n != l->m->n_layers)
        return specp_load_fail(l, SPEC_ERR_CORRUPT, "%s has %zu elements, expected %zu", list->key,
                               (size_t)list->n, l->m->n_layers);
    int flag;
    if (w->flags != NULL && spec_meta_bool(list, i, &flag) == SPEC_OK) return flag;
    if (specp_load_is(list, i, "sliding_attention")) return 1;
    if (specp_load_is(list, i, "full_attention")) return 0;
    return specp_load_fail(l, SPEC_ERR_UNSUPPORTED,
                           "%s holds what is neither sliding_attention nor full_attention", list->key);
}

static int read_windows(const specp_loader *l, windows *w) {
    const specp_arch *arch = l->m->arch;
    bool hf = l->layout == SPECP_LAYOUT_HF, used = true;
    w->window = arch->window;
    w->period = arch->window_period;
    w->global = arch->window_global;
    if (l->layout == SPECP_LAYOUT_LLAMA2C) return SPEC_OK;
    int err =
        specp_load_size(l, hf ? "sliding_window" : "attention.sliding_window", 0, INT32_MAX, &w->window);
    if (err == SPEC_OK && hf) err = specp_load_flag(l, "use_sliding_window", &used);
    if (err == SPEC_OK && hf) err = specp_load_size(l, "max_window_layers", 0, INT32_MAX, &w->first);
    if (!used) w->window = 0;
    if (hf) w->types = specp_load_meta(l, "layer_types");
    const char *pattern = hf ? "sliding_window_pattern" : "attention.sliding_window_pattern";
    const spec_meta *value = specp_load_meta(l, pattern);
    if (err != SPEC_OK || value == NULL) return err;
    if (value->kind == SPEC_META_ARRAY) {
        w->flags = value;
        return SPEC_OK;
    }
    err = specp_load_size(l, pattern, 1, INT32_MAX, &w->period);
    w->global = w->period - 1;
    return err;
}

int specp_load_windows(specp_loader *l) {
    windows w = {0};
    int err = read_windows(l, &w);
    for (size_t i = 0; i < l->m->n_layers && err == SPEC_OK; i++) {
        int local = has_window(l, &w, i);
        if (local < 0) return local;
        l->m->layer[i].window = local ? w.window : 0;
        l->m->layer[i].rope = local && l->m->rope_freq[1] != NULL;
    }
    return err;
}

/* SPDX-License-Identifier: MIT */
/*
 * Shapes of random models: a name, or a list of key=value, or a name with some
 * values changed. What is not said comes from "tiny" and from the architecture.
 */
#include "random_shape.h"

#include <stddef.h>
#include <string.h>

#include "random_model.h"
#include "util.h"

#define UNSET UINT64_MAX

static const struct {
    const char *name;
    random_shape shape;
} shapes[] = {
    {"tiny", {.dim = 64, .layers = 2, .heads = 4, .kv = 2, .hidden = 160, .vocab = 512, .context = 512}},
    {"small", {.dim = 256, .layers = 4, .heads = 4, .kv = 2, .hidden = 768, .vocab = 2048, .context = 2048}},
    {"15M", {.dim = 288, .layers = 6, .heads = 6, .hidden = 768, .vocab = 32000, .context = 2048}},
    {"110M", {.dim = 768, .layers = 12, .heads = 12, .hidden = 2048, .vocab = 32000, .context = 8192}},
    {"1.1B",
     {.dim = 2048, .layers = 22, .heads = 32, .kv = 4, .hidden = 5632, .vocab = 32000, .context = 8192}},
};

static const random_arch archs[] = {
    {.name = "llama", .gguf = "llama", .pre_norm = true, .rope_base = 1e4},
    {.name = "mixtral", .gguf = "llama", .pre_norm = true, .rope_base = 1e6, .experts = 8},
    {.name = "qwen2", .gguf = "qwen2", .tied = true, .pre_norm = true, .bias = true, .rope_base = 1e6},
    {.name = "qwen3",
     .gguf = "qwen3",
     .tied = true,
     .pre_norm = true,
     .qk_norm_head = true,
     .rope_base = 1e6},
    {.name = "gemma2",
     .gguf = "gemma2",
     .tied = true,
     .pre_norm = true,
     .post_norm = true,
     .embed_scale = true,
     .window = true,
     .rope_base = 1e4,
     .attn_softcap = 50,
     .final_softcap = 30},
    {.name = "gemma3",
     .gguf = "gemma3",
     .tied = true,
     .pre_norm = true,
     .post_norm = true,
     .qk_norm_head = true,
     .embed_scale = true,
     .window = true,
     .rope_base = 1e6},
    {.name = "olmo2", .gguf = "olmo2", .post_norm = true, .qk_norm_whole = true, .rope_base = 5e5},
};

static const struct {
    const char *name;
    size_t offset;
    uint64_t min, max;
} keys[] = {
    {"dim", offsetof(random_shape, dim), 2, 1 << 16},
    {"layers", offsetof(random_shape, layers), 1, 1000},
    {"heads", offsetof(random_shape, heads), 1, 1024},
    {"kv", offsetof(random_shape, kv), 1, 1024},
    {"head_dim", offsetof(random_shape, head_dim), 2, 1024},
    {"hidden", offsetof(random_shape, hidden), 1, 1 << 18},
    {"vocab", offsetof(random_shape, vocab), 2, 1 << 20},
    {"context", offsetof(random_shape, context), 1, 1 << 20},
    {"experts", offsetof(random_shape, experts), 0, 256},
    {"used", offsetof(random_shape, used), 1, 256},
    {"window", offsetof(random_shape, window), 1, 1 << 20},
    {"tied", offsetof(random_shape, tied), 0, 1},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *nearest_key(const char *word) {
    const char *names[COUNT(keys) + 1] = {NULL};
    for (size_t i = 0; i < COUNT(keys); i++) names[i] = keys[i].name;
    return bench_nearest(word, names);
}

/* One "key=value" of n characters. */
static int set_key(random_shape *s, const char *item, size_t n, spec_message *why) {
    char name[32] = "";
    const char *equals = memchr(item, '=', n);
    size_t n_name = equals ? (size_t)(equals - item) : n, i = 0;
    uint64_t v = 0;
    if (n_name < sizeof name) memcpy(name, item, n_name);
    while (i < COUNT(keys) && strcmp(name, keys[i].name) != 0) i++;
    if (i == COUNT(keys) || !equals) {
        const char *nearest = nearest_key(name);
        return specp_fail(why, SPEC_ERR_INVALID,
                          "shape: '%.*s' is neither a shape (" RANDOM_MODEL_SHAPES
                          ") nor key=value with a known key"
                          "%s%s%s",
                          n > 60 ? 60 : (int)n, item, nearest ? "; did you mean '" : "",
                          nearest ? nearest : "", nearest ? "'?" : "");
    }
    bool ok = equals + 1 < item + n;
    for (const char *p = equals + 1; p < item + n && ok; p++) {
        ok = *p >= '0' && *p <= '9' && v <= keys[i].max;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (!ok || v < keys[i].min || v > keys[i].max)
        return specp_fail(why, SPEC_ERR_INVALID,
                          "shape: %s: expected a whole number from %llu to %llu, found '%.*s'", name,
                          (unsigned long long)keys[i].min, (unsigned long long)keys[i].max,
                          n > 60 ? 60 : (int)(item + n - equals - 1), equals + 1);
    *(uint64_t *)((char *)s + keys[i].offset) = v;
    return SPEC_OK;
}

static bool set_name(random_shape *s, const char *item, size_t n) {
    for (size_t i = 0; i < COUNT(shapes); i++)
        if (strlen(shapes[i].name) == n && memcmp(shapes[i].name, item, n) == 0) {
            *s = shapes[i].shape;
            return true;
        }
    return false;
}

static int read_items(random_shape *s, const char *text, spec_message *why) {
    size_t n = strcspn(text, ",");
    bool named = set_name(s, text, n);
    if (!named) s->kv = 0; /* as many as heads, unless said */
    s->tied = s->experts = UNSET;
    if (named) text += n + (text[n] == ',');
    for (int rc = SPEC_OK; *text; text += n + (text[n] == ',')) {
        n = strcspn(text, ",");
        rc = set_key(s, text, n, why);
        if (rc != SPEC_OK) return rc;
    }
    return SPEC_OK;
}

static int settle(random_shape *s, const random_arch *a, spec_message *why) {
    if (!s->kv) s->kv = s->heads;
    if (s->tied == UNSET) s->tied = a->tied;
    if (s->experts == UNSET) s->experts = a->experts;
    if (s->experts && !s->used) s->used = s->experts < 2 ? 1 : 2;
    if (a->window && !s->window) s->window = s->context < 32 ? 8 : s->context / 4;
    if (s->kv > s->heads || s->heads % s->kv)
        return specp_fail(why, SPEC_ERR_INVALID, "shape: heads=%llu is no multiple of kv=%llu",
                          (unsigned long long)s->heads, (unsigned long long)s->kv);
    if (!s->head_dim && s->dim % s->heads)
        return specp_fail(why, SPEC_ERR_INVALID,
                          "shape: dim=%llu is no multiple of heads=%llu; give head_dim where that is meant",
                          (unsigned long long)s->dim, (unsigned long long)s->heads);
    if (!s->head_dim) s->head_dim = s->dim / s->heads;
    if (s->head_dim % 2)
        return specp_fail(why, SPEC_ERR_INVALID, "shape: head_dim=%llu is odd; positions rotate pairs",
                          (unsigned long long)s->head_dim);
    if (s->used > s->experts)
        return specp_fail(why, SPEC_ERR_INVALID, "shape: used=%llu is more than experts=%llu",
                          (unsigned long long)s->used, (unsigned long long)s->experts);
    if (s->experts && strcmp(a->gguf, "llama") != 0)
        return specp_fail(why, SPEC_ERR_INVALID, "shape: experts are for --arch llama and mixtral");
    return SPEC_OK;
}

int random_shape_parse(random_shape *out, const random_arch **arch, const char *text, const char *arch_name,
                       spec_message *why) {
    random_shape s = shapes[0].shape;
    size_t a = 0;
    while (arch_name && a < COUNT(archs) && strcmp(arch_name, archs[a].name) != 0) a++;
    if (a == COUNT(archs))
        return specp_fail(why, SPEC_ERR_INVALID,
                          "architecture: expected one of " RANDOM_MODEL_ARCHS ", found '%.60s'", arch_name);
    int rc = read_items(&s, text ? text : "tiny", why);
    if (rc == SPEC_OK) rc = settle(&s, &archs[a], why);
    if (rc != SPEC_OK) return rc;
    *out = s;
    *arch = &archs[a];
    return SPEC_OK;
}

/* SPDX-License-Identifier: MIT */
/* The built-in drafters by name: NAME or NAME:key=value,key=value. */
#include <stdio.h>
#include <string.h>

#include "draft_internal.h"

typedef struct builtin {
    const char *name;
    const char *help;
    specp_open_fn *open; /* or */
    specp_open_env_fn *open_env;
    bool file; /* nothing without one: NAME:FILE */
} builtin;

static const builtin builtins[] = {
    {"none", specp_none_help, .open = specp_none_open},
    {"oracle", specp_oracle_help, .open = specp_oracle_open},
    {"random", specp_random_help, .open_env = specp_random_open},
    {"suffix", specp_suffix_help, .open = specp_suffix_open},
    {"mix", specp_mix_help, .open_env = specp_mix_open},
    {"pld", specp_pld_help, .open = specp_pld_open},
    {"ngram-cache", specp_ngram_cache_help, .open = specp_ngram_cache_open},
    {"ngram-mod", specp_ngram_mod_help, .open = specp_ngram_mod_open},
    {"recycle", specp_recycle_help, .open = specp_recycle_open},
    {"medusa", specp_medusa_help, .open_env = specp_medusa_open, .file = true},
    {"eagle3", specp_eagle3_help, .open_env = specp_eagle3_drafter_open, .file = true},
    {"model", specp_model_help, .open_env = specp_model_open, .file = true},
    {"union", specp_union_help, .open_env = specp_union_open},
    {"cascade", specp_cascade_help, .open_env = specp_cascade_open},
};

#define N_BUILTIN (sizeof builtins / sizeof builtins[0])

static const builtin *find(const char *name, size_t len) {
    for (size_t i = 0; i < N_BUILTIN; i++)
        if (strlen(builtins[i].name) == len && memcmp(builtins[i].name, name, len) == 0) return &builtins[i];
    return NULL;
}

const char *spec_drafter_builtin(size_t i) { return i < N_BUILTIN ? builtins[i].name : NULL; }

const char *spec_drafter_help(const char *name) {
    const builtin *b = name ? find(name, strlen(name)) : NULL;
    return b ? b->help : NULL;
}

bool specp_drafter_needs_file(const char *name) {
    const builtin *b = find(name, strlen(name));
    return b && b->file;
}

static int unknown_name(const char *name, size_t len, spec_message *why) {
    char names[300] = "";
    for (size_t i = 0, used = 0; i < N_BUILTIN; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", builtins[i].name);
    return specp_fail(why, SPEC_ERR_NOT_FOUND, "there is no drafter '%.*s', expected one of %s",
                      (int)(len < 80 ? len : 80), name, names);
}

int specp_no_target(const char *name, spec_message *why) {
    return specp_fail(why, SPEC_ERR_STATE,
                      "drafter %s: it reads the target model's hidden states, and there is no target: open "
                      "it with spec_drafter_open_env (specbench run)",
                      name);
}

int spec_drafter_open_env(spec_drafter **out, const char *spec, const spec_drafter_env *env,
                          const spec_allocator *alloc, spec_message *why) {
    static const spec_drafter_env bare = {.size = sizeof bare};
    if (why) why->text[0] = 0;
    if (!out || !spec) return specp_fail(why, SPEC_ERR_INVALID, "expected NAME or NAME:key=value,key=value");
    if (env && env->size < sizeof bare)
        return specp_fail(why, SPEC_ERR_INVALID, "an environment of %zu bytes, expected %zu", env->size,
                          sizeof bare);
    const char *colon = strchr(spec, ':');
    size_t len = colon ? (size_t)(colon - spec) : strlen(spec);
    const builtin *b = find(spec, len);
    if (!b) return unknown_name(spec, len, why);
    if (colon && !colon[1])
        return specp_fail(why, SPEC_ERR_INVALID, "drafter %s: expected key=value after the colon", b->name);
    const char *options = colon ? colon + 1 : "";
    return b->open ? b->open(out, options, alloc, why)
                   : b->open_env(out, options, env ? env : &bare, alloc, why);
}

int spec_drafter_open(spec_drafter **out, const char *spec, const spec_allocator *alloc, spec_message *why) {
    return spec_drafter_open_env(out, spec, NULL, alloc, why);
}

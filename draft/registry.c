/* SPDX-License-Identifier: MIT */
/* The built-in drafters by name: NAME or NAME:key=value,key=value. */
#include <stdio.h>
#include <string.h>

#include "draft_internal.h"

typedef struct builtin {
    const char *name;
    specp_open_fn *open;
    const char *help;
} builtin;

static const builtin builtins[] = {
    {"none", specp_none_open, specp_none_help},
    {"oracle", specp_oracle_open, specp_oracle_help},
    {"random", specp_random_open, specp_random_help},
    {"suffix", specp_suffix_open, specp_suffix_help},
    {"pld", specp_pld_open, specp_pld_help},
    {"ngram-cache", specp_ngram_cache_open, specp_ngram_cache_help},
    {"ngram-mod", specp_ngram_mod_open, specp_ngram_mod_help},
    {"recycle", specp_recycle_open, specp_recycle_help},
    {"union", specp_union_open, specp_union_help},
    {"cascade", specp_cascade_open, specp_cascade_help},
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

static int unknown_name(const char *name, size_t len, spec_message *why) {
    char names[300] = "";
    for (size_t i = 0, used = 0; i < N_BUILTIN; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", builtins[i].name);
    return specp_fail(why, SPEC_ERR_NOT_FOUND, "there is no drafter '%.*s', expected one of %s",
                      (int)(len < 80 ? len : 80), name, names);
}

int spec_drafter_open(spec_drafter **out, const char *spec, const spec_allocator *alloc, spec_message *why) {
    if (why) why->text[0] = 0;
    if (!out || !spec) return specp_fail(why, SPEC_ERR_INVALID, "expected NAME or NAME:key=value,key=value");
    const char *colon = strchr(spec, ':');
    size_t len = colon ? (size_t)(colon - spec) : strlen(spec);
    const builtin *b = find(spec, len);
    if (!b) return unknown_name(spec, len, why);
    if (colon && !colon[1])
        return specp_fail(why, SPEC_ERR_INVALID, "drafter %s: expected key=value after the colon", b->name);
    return b->open(out, colon ? colon + 1 : "", alloc, why);
}

/* SPDX-License-Identifier: MIT */
/*
 * draft_internal.h - what the built-in drafters share: the option parser, the
 * account of memory, and the openers that registry.c lists. Not installed.
 */
#ifndef DRAFT_INTERNAL_H
#define DRAFT_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spec_drafter.h"
#include "specp.h"

/* ---- options: key=value,key=value (options.c) -------------------------- */

typedef enum specp_option_type {
    SPECP_OPT_INT,  /* int64_t, decimal, within [min, max] */
    SPECP_OPT_REAL, /* double, decimal with optional fraction and exponent, within [min, max]; finite */
    SPECP_OPT_BOOL, /* bool, written 0 or 1 */
    SPECP_OPT_WORD, /* int, the index of the value in `words` */
    SPECP_OPT_TEXT, /* char[size], copied with its end; never empty; cannot contain a comma */
} specp_option_type;

/*
 * One option: where its value goes is an offset into the drafter's own struct
 * of options, so that tables are static and constant:
 *
 *     static const specp_option table[] = {
 *         SPECP_OPTION_INT(pld_options, len, 1, 4096),
 *         SPECP_OPTION_WORD(pld_options, match, words),
 *     };
 */
typedef struct specp_option {
    const char *key;
    specp_option_type type;
    size_t offset;
    double min, max;          /* INT and REAL; whole numbers up to 2^53 for INT */
    const char *const *words; /* WORD: ended by NULL */
    size_t size;              /* TEXT: room, the closing zero included */
} specp_option;

/* An option called like the member that has its value. */
#define SPECP_OPTION_INT(s, name, low, high)                                                                 \
    { .key = #name, .type = SPECP_OPT_INT, .offset = offsetof(s, name), .min = (low), .max = (high) }
#define SPECP_OPTION_REAL(s, name, low, high)                                                                \
    { .key = #name, .type = SPECP_OPT_REAL, .offset = offsetof(s, name), .min = (low), .max = (high) }
#define SPECP_OPTION_BOOL(s, name)                                                                           \
    { .key = #name, .type = SPECP_OPT_BOOL, .offset = offsetof(s, name) }
#define SPECP_OPTION_WORD(s, name, list)                                                                     \
    { .key = #name, .type = SPECP_OPT_WORD, .offset = offsetof(s, name), .words = (list) }
#define SPECP_OPTION_TEXT(s, name)                                                                           \
    { .key = #name, .type = SPECP_OPT_TEXT, .offset = offsetof(s, name), .size = sizeof(((s *)0)->name) }

/*
 * Parses `text` ("" or NULL: no options) into the struct at `values`, which
 * holds the defaults; options that are not given are left alone. Parsing the
 * same text twice gives the same result, so a drafter may parse once to learn
 * a preset, set its defaults, and parse again.
 *
 * SPEC_ERR_INVALID with the offending word and what was expected in *why:
 * unknown or repeated key, no '=', empty item, a value of another kind or out
 * of range. Then some values may have been written. At most 64 options.
 */
SPEC_MUST_CHECK int specp_options_parse(const char *drafter, const char *text, const specp_option *table,
                                        size_t n, void *values, spec_message *why);

/*
 * For drafters of a file, NAME:FILE,key=value,...: copies the text before the first
 * comma, and where the options begin into *rest. A path with a '=' in it begins with its
 * folder, as in ./a=b; none has a comma. SPEC_ERR_INVALID: there is no file, or its path
 * does not fit into `size` bytes.
 */
SPEC_MUST_CHECK int specp_options_file(const char *drafter, const char *text, char *file, size_t size,
                                       const char **rest, spec_message *why);

/* ---- account of memory (options.c) ------------------------------------- */

/* An allocator that passes everything on and knows how much is held. It must
 * stay where it is while anything allocated through it lives. */
typedef struct specp_account {
    spec_allocator inner;
    _Atomic uint64_t bytes;
} specp_account;

/* The allocator to use. `inner` may be NULL. */
spec_allocator specp_account_init(specp_account *a, const spec_allocator *inner);
uint64_t specp_account_bytes(specp_account *a);

/* ---- structs of callers (drafter.c) ------------------------------------- */

/* Copies a struct that begins with its size into `dst`, all zeros and `size` bytes long. NULL: leaves dst. */
int specp_take_struct(void *dst, size_t size, size_t size_v1, const void *src);
/* The same for arguments; NULL: the defaults. */
int specp_take_args(spec_propose_args *full, const spec_propose_args *given);

/* ---- trees and outcomes ------------------------------------------------- */

/* Keeps the max_nodes (1 or more) most probable of the nodes at most max_depth deep, of equal ones the
 * first, in their order: a tree again, as no node is more probable than its parent. The
 * score becomes their sum. For deterministic drafts. O(n), expected (tree.c). */
void specp_tree_keep_best(spec_tree *t, uint32_t max_nodes, uint32_t max_depth);

/* Keeps the nodes with keep[i] whose ancestors are kept, in their order. Where some go, the score
 * becomes the sum of the others. O(n) (tree.c). */
void specp_tree_keep(spec_tree *t, const uint8_t *keep);

/* Keeps the nodes of at least min_prob whose ancestors are kept, in their order; those with a q row by
 * their parent's probability (the root's is 1). Otherwise the same. */
void specp_tree_prune(spec_tree *t, float min_prob);

/* The rows that the committed tokens follow from: row[0] = 0, then those of the accepted
 * nodes, root side first. Returns how many nodes; row: (tree->n + 1). o->tree may be NULL: none. */
size_t specp_accepted_rows(const spec_outcome *o, uint32_t *row);

/* ---- the built-in drafters --------------------------------------------- */

/* Opens one. `options` is the text after the colon, or "". */
typedef int specp_open_fn(spec_drafter **out, const char *options, const spec_allocator *alloc,
                          spec_message *why);

/* The same for drafters that look at their surroundings; env is whole, never NULL. */
typedef int specp_open_env_fn(spec_drafter **out, const char *options, const spec_drafter_env *env,
                              const spec_allocator *alloc, spec_message *why);

/* The end of an opener: a drafter of this self; NULL: there was no memory for it. On error the self is freed
 * by the ops, and why is told. */
SPEC_MUST_CHECK int specp_drafter_of(spec_drafter **out, const spec_drafter_ops *ops, void *self,
                                     const spec_allocator *alloc, spec_message *why);

specp_open_fn specp_none_open, specp_oracle_open; /* controls.c */
specp_open_env_fn specp_random_open;              /* controls.c */
specp_open_fn specp_suffix_open;                  /* suffix.c */
specp_open_fn specp_pld_open;                     /* pld.c */
specp_open_fn specp_ngram_cache_open;             /* ngram_cache.c */
specp_open_fn specp_ngram_mod_open;               /* ngram_mod.c */
specp_open_fn specp_recycle_open;                 /* recycle.c */
specp_open_env_fn specp_mix_open;                 /* mix_parts.c */
specp_open_env_fn specp_medusa_open;              /* heads/medusa.c */
specp_open_env_fn specp_eagle3_drafter_open;      /* heads/eagle3.c */
specp_open_env_fn specp_model_open;               /* heads/model.c */
specp_open_env_fn specp_union_open;               /* union.c */
specp_open_env_fn specp_cascade_open;             /* cascade.c */

/* What a drafter's ops are called with (drafter.c). */
void *specp_drafter_self(const spec_drafter *d);
void *specp_request_state(const spec_request *r);

/* Whether a built-in drafter must be told a file. */
bool specp_drafter_needs_file(const char *name);

/* For those that need env->target where there is none: SPEC_ERR_STATE, and why. */
int specp_no_target(const char *name, spec_message *why);

/* Lines for spec_drafter_help(); each lies with its option table. */
extern const char specp_none_help[], specp_oracle_help[], specp_random_help[];
extern const char specp_suffix_help[], specp_pld_help[], specp_ngram_cache_help[], specp_ngram_mod_help[];
extern const char specp_recycle_help[], specp_mix_help[];
extern const char specp_eagle3_help[], specp_medusa_help[];
extern const char specp_model_help[];
extern const char specp_union_help[], specp_cascade_help[];

#endif

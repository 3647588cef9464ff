/* SPDX-License-Identifier: MIT */
/* random_shape.h - the sizes and the kind of a random model, from words. */
#ifndef BENCH_RANDOM_SHAPE_H
#define BENCH_RANDOM_SHAPE_H

#include <stdbool.h>

#include "specdec.h"

/* What sets an architecture apart, as far as its tensors and metadata go. */
typedef struct random_arch {
    const char *name; /* on the command line */
    const char *gguf; /* general.architecture */
    bool tied;        /* unless the shape says otherwise */
    bool pre_norm, post_norm, bias;
    bool qk_norm_head, qk_norm_whole;
    bool embed_scale; /* embeddings are multiplied by sqrt(dim) */
    unsigned experts; /* unless the shape says otherwise */
    bool window;      /* some layers see the nearest positions only */
    double rope_base;
    double attn_softcap, final_softcap; /* 0 = none */
} random_arch;

typedef struct random_shape {
    uint64_t dim, layers, heads, kv, head_dim, hidden, vocab, context, experts, used, window;
    uint64_t tied; /* 0, 1 */
} random_shape;

/* "110M", "dim=256,layers=2,heads=4", "1.1B,layers=2"; arch may be NULL. SPEC_ERR_INVALID. */
int random_shape_parse(random_shape *out, const random_arch **arch, const char *text, const char *arch_name,
                       spec_message *why);

#endif

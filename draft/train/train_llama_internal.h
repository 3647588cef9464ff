/* SPDX-License-Identifier: MIT */
/* train_llama_internal.h - what train_llama.c and train_llama_run.c share. */
#ifndef TRAIN_LLAMA_INTERNAL_H
#define TRAIN_LLAMA_INTERNAL_H

#include "train_llama.h"

/* The views of a layer, in order. */
enum train_part {
    TRAIN_ATTN_NORM,
    TRAIN_Q,
    TRAIN_K,
    TRAIN_V,
    TRAIN_O,
    TRAIN_FFN_NORM,
    TRAIN_GATE,
    TRAIN_UP,
    TRAIN_DOWN,
    TRAIN_PARTS
};

typedef struct train_acts train_acts;

/* Sizes were checked; NULL when the allocator refuses. */
train_acts *train_acts_new(const train_llama_shape *s, size_t max_rows, size_t max_seq,
                           const spec_allocator *alloc);
void train_acts_free(train_acts *a, const spec_allocator *alloc); /* NULL is accepted */

#endif

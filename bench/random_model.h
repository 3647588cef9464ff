/* SPDX-License-Identifier: MIT */
/*
 * random_model.h - models of any size with random weights: for measuring speed,
 * which does not depend on the weights, and for proving that speculation changes
 * nothing, which must hold for any. GGUF files with a vocabulary of their own, so
 * that text tokenises too.
 *
 *     random_model m = {.shape = "110M", .type = "Q8_0", .seed = 1};
 *     random_model_write("110m.gguf", &m, &why)
 *
 * Weights are Gaussian, of such deviations that logits deviate by about 2 and
 * that a greedy text does not run in small circles. The same options give the
 * same file, whatever the number of threads.
 */
#ifndef BENCH_RANDOM_MODEL_H
#define BENCH_RANDOM_MODEL_H

#include <stdbool.h>
#include <stdio.h>

#include "specdec.h"

typedef struct random_model {
    const char *shape; /* NULL = "tiny"; see random_model_help_shapes */
    const char *arch;  /* NULL = "llama" */
    const char *type;  /* NULL = "F32"; a type's name, or "Q4_K_M", the mixture */
    uint64_t seed;
    unsigned threads; /* 0 = 1 */
    /* Called now and then with bytes written; false stops the work. May be NULL. */
    bool (*progress)(void *user, uint64_t done, uint64_t of);
    void *user;
    /* results */
    uint64_t parameters, bytes; /* of the tensors */
} random_model;

/* SPEC_ERR_INVALID (an option; named, with what was expected), SPEC_ERR_IO, SPEC_ERR_NOMEM,
 * SPEC_ERR_STATE (stopped). On failure nothing is left. */
int random_model_write(const char *path, random_model *m, spec_message *why);
/* Only looks at the options. */
int random_model_check(random_model *m, spec_message *why);

#define RANDOM_MODEL_SHAPES "tiny, small, 15M, 110M, 1.1B"
#define RANDOM_MODEL_ARCHS  "llama, mixtral, qwen2, qwen3, gemma2, gemma3, olmo2"
#define RANDOM_MODEL_TYPES  "F32, F16, BF16, Q8_0, Q4_0, Q5_0, Q4_K, Q5_K, Q6_K, Q4_K_M"

#endif

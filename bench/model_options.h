/* SPDX-License-Identifier: MIT */
/*
 * model_options.h - the options by which commands are told which target model to
 * run and how, and opening it: with a progress line, and with messages that say
 * what to do next.
 *
 *     model_options model = {0};
 *     const cli_option option[] = {MODEL_OPTIONS(model), ...};
 *     rc = cli_parse(...);
 *     if (rc == CLI_RUN) rc = model_options_check(&c, &model);
 *     ... code = model_open(&target, &model, quiet);
 */
#ifndef BENCH_MODEL_OPTIONS_H
#define BENCH_MODEL_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "cli.h"
#include "jout.h"
#include "spec_target.h"

typedef struct model_options {
    const char *path;              /* of the model: a file or a folder */
    uint64_t threads, context;     /* 0 = not given */
    const char *kv, *isa, *matmul; /* as given, or NULL */
    spec_target_options target;    /* filled in by model_options_check */
} model_options;

#define MODEL_OPTIONS(m)                                                                                     \
    {'m',      "model",   "MODEL",                                                                           \
     CLI_TEXT, &(m).path, "the target: GGUF, safetensors (file or folder) or llama2.c checkpoint",           \
     0,        0,         NULL},                                                                             \
        {'t', "threads", "N", CLI_NUMBER, &(m).threads, "of the model (default: the cores there are)",       \
         1,   256,       NULL},                                                                              \
        {0,          "max-context", "N",                                                                     \
         CLI_NUMBER, &(m).context,  "longest sequence (default: what the model was made for)",               \
         1,          INT32_MAX,     NULL},                                                                   \
        {0, "kv", "TYPE", CLI_TEXT, &(m).kv, "of the KV cache: F16 (default) or F32", 0, 0, NULL},           \
        {0,        "isa",    "NAME",                                                                         \
         CLI_TEXT, &(m).isa, "instructions to stay within: scalar, avx2, avx512, avx512-vnni",               \
         0,        0,        NULL},                                                                          \
    {                                                                                                        \
        0, "matmul", "MODE", CLI_TEXT, &(m).matmul,                                                          \
            "exact (default), prefill (OpenBLAS for prompts) or blas (throughout, not bit-exact)", 0, 0,     \
            NULL                                                                                             \
    }

/* Turns the words into target options. CLI_RUN, or CLI_BAD after a message. Where OpenBLAS
 * is wanted and would run below the processor, the program starts itself again
 * (openblas_core.h): here, before pipes are read, which cannot be read twice. */
int model_options_check(const cli_command *c, model_options *m);

/* Opens the model, with a progress line on a terminal unless quiet. An exit code; a
 * message was printed unless it is EXIT_DONE. */
int model_open(spec_target **out, const model_options *m, bool quiet);

/* The exit code that a failure of the target means. */
int model_exit_code(int err);

/* A few lines about the model and how it is run, for the head of a report. */
void model_describe(const spec_target *t, FILE *out);
/* A table of the kernels that each operation runs on. */
void model_kernels(const spec_target *t, FILE *out);
/* A line on stderr for each operation that runs slower than this processor could, with
 * the reason; nothing where there is none. */
void model_warn_slower(const spec_target *t);

/* "model": {...} and "kernels": [...]. */
void model_put_json(jout *x, const spec_target *t);

#endif

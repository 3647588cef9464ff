/* SPDX-License-Identifier: MIT */
/*
 * copy_model.h - a small target that nobody trained and that still has something
 * to say: its weights are set by hand so that it goes on as its text did before (an
 * induction head), and now and then goes its own way. It repeats as tool calls,
 * edits and quotes do, so drafting pays on it: for the demo and for tests.
 */
#ifndef BENCH_COPY_MODEL_H
#define BENCH_COPY_MODEL_H

#include "specdec.h"

#define COPY_MODEL_VOCAB   512
#define COPY_MODEL_CONTEXT 512

/* Writes a GGUF file, a few megabytes, the same for the same seed. SPEC_ERR_IO, SPEC_ERR_NOMEM. */
int copy_model_write(const char *path, uint64_t seed, spec_message *why);

#endif

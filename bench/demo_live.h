/* SPDX-License-Identifier: MIT */
/* demo_live.h - the demo's second half: decoding with a model. */
#ifndef BENCH_DEMO_LIVE_H
#define BENCH_DEMO_LIVE_H

#include <stdint.h>
#include <stdio.h>

/* Makes a small model in a temporary file, decodes a few prompts on it with drafters
 * and without, and prints the table. Returns an exit code. */
int demo_live(FILE *out, uint64_t seed);

#endif

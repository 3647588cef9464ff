/* SPDX-License-Identifier: MIT */
/* demo_live.h - the demo's second half: decoding with a model. */
#ifndef BENCH_DEMO_LIVE_H
#define BENCH_DEMO_LIVE_H

#include <stdint.h>
#include <stdio.h>

/* Decodes requests on the trained model in `models` (NULL: the one that comes with the program, else
 * a small one made in a temporary file) with drafters and without, and prints the table; fewer
 * requests where few of each kind were replayed. Returns an exit code. */
int demo_live(FILE *out, const char *models, uint64_t seed, uint64_t requests);

#endif

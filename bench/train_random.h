/* SPDX-License-Identifier: MIT */
/* train_random.h - `specbench train target --random`: a model that nobody trained. */
#ifndef BENCH_TRAIN_RANDOM_H
#define BENCH_TRAIN_RANDOM_H

#include "cli.h"
#include "random_model.h"

typedef struct train_random {
    random_model model; /* shape, arch, type, seed, threads: as given, 0 and NULL where not */
    const char *output;
    bool quiet;
} train_random;

/* CLI_RUN, or CLI_BAD after a message. */
int train_random_check(const cli_command *c, train_random *r);
/* An exit code. An interrupted command leaves nothing. */
int train_random_go(train_random *r);

#endif

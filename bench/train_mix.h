/* SPDX-License-Identifier: MIT */
/* train_mix.h - the built-in priors of the drafter mix as C source. */
#ifndef BENCH_TRAIN_MIX_H
#define BENCH_TRAIN_MIX_H

#include "specdec.h"

/* Writes draft/mix_priors.c from the learned state that the snapshot `from` carries. What loading gives;
 * SPEC_ERR_IO. */
int mix_priors_write(const char *path, const char *from, spec_message *why);

#endif

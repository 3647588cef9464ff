/* SPDX-License-Identifier: MIT */
/* train_kinds.h - the kinds of `specbench train`. Each gets argv from its own name on and
 * returns an exit code. */
#ifndef BENCH_TRAIN_KINDS_H
#define BENCH_TRAIN_KINDS_H

int train_target(int argc, char **argv);
int train_medusa_command(int argc, char **argv);
int train_eagle3_command(int argc, char **argv);
int train_mix(int argc, char **argv);

#endif

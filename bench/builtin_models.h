/* SPDX-License-Identifier: MIT */
/* builtin_models.h - where the models that come with specbench lie (bench/models/MODELS.md). */
#ifndef BENCH_BUILTIN_MODELS_H
#define BENCH_BUILTIN_MODELS_H

typedef struct builtin_models {
    char *target, *draft, *medusa, *eagle3; /* paths; a file that is not there is NULL */
} builtin_models;

/* Looks in `folder`; NULL: in the source tree or the installation that this program is part of. Returns
 * 0, or -1 when memory is out. */
int builtin_models_find(builtin_models *out, const char *folder);
void builtin_models_release(builtin_models *m);

#endif

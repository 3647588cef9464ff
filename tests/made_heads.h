/* SPDX-License-Identifier: MIT */
/* made_heads.h - files of draft heads with random weights, for tests of what is done with them. */
#ifndef TESTS_MADE_HEADS_H
#define TESTS_MADE_HEADS_H

#include "support.h"

/* Medusa heads of one layer; `choices`, or NULL: the metadata "medusa_choices". Fails the test when it
 * cannot. */
void made_medusa(const char *path, size_t heads, size_t hidden, size_t vocab, uint64_t seed,
                 const char *choices);

#endif

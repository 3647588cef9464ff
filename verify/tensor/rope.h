/* SPDX-License-Identifier: MIT */
/*
 * rope.h - rotary position embedding: frequencies and angles, the same bits
 * everywhere.
 */
#ifndef SPECP_ROPE_H
#define SPECP_ROPE_H

#include <stddef.h>

/* base^(-2j/n_dim), j < n_dim/2. */
void specp_rope_freqs(double base, size_t n_dim, double *freq);

/* cos and sin of position * freq[j], j < n, rounded from double. position < 2^22. */
void specp_rope_table(const double *freq, size_t n, size_t position, float *cos, float *sin);

#endif

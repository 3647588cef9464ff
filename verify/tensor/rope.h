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

/* Llama 3's scaling of one frequency: waves that fit `high` times or more into the original context
 * stay, those that fit less than `low` times are stretched, those between in proportion. low < high. */
typedef struct specp_rope_llama3 {
    double factor, low, high, original;
} specp_rope_llama3;
double specp_rope_stretched(const specp_rope_llama3 *s, double freq);

/* cos and sin of position * freq[j], j < n, rounded from double. position < 2^22. */
void specp_rope_table(const double *freq, size_t n, size_t position, float *cos, float *sin);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * noise.h - keyed noise: every random number of verification follows from the
 * seed, the sequence, the absolute position of the token that it decides, a
 * purpose and an index, and from nothing else. No generator has a state, so the
 * same text comes out however it was drafted, batched or interrupted. Private to
 * verify/.
 *
 *     purpose   what it decides                                   index
 *        0      what drafters draw                                theirs
 *        1      the token at a position, from its law             0
 *        2      whether a sampled draft is accepted               among its siblings: 0, 1, ...
 *        3      block verification: whether to end a block at     the node's: 0, 1, ...
 *               a node, at the position of its first node
 *
 * A position is decided once, and a block begins there once, so no number is used
 * twice; and those of drafters are others, so drafts and coins are independent, as
 * sampled acceptance wants.
 */
#ifndef VERIFY_NOISE_H
#define VERIFY_NOISE_H

#include "specdec.h"

typedef enum specp_purpose {
    SPECP_NOISE_DRAFT = 0,
    SPECP_NOISE_TOKEN = 1,
    SPECP_NOISE_ACCEPT = 2,
    SPECP_NOISE_BLOCK = 3,
} specp_purpose;

/* A multiple of 2^-53 in 0 <= u < 1. `ahead`: positions after the key's. */
double specp_noise(const spec_noise_key *key, uint64_t ahead, specp_purpose purpose, uint32_t index);

#endif

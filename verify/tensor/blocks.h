/* SPDX-License-Identifier: MIT */
/*
 * blocks.h - how a block of each quantised type lies in a file, and its packed
 * 6-bit scales. Every member is made of bytes, so a block may lie at any address.
 *
 *   Q8_0    x = d q                   q in -128..127
 *   Q4_0    x = d (q - 8)             16 bytes: elements 0-15 in the low halves, 16-31 in the high ones
 *   Q5_0    x = d (q - 16)            likewise, and bit i of `high` is bit 4 of element i
 *   Q4_K    x = d s q - dmin m        eight sub-blocks of 32 with (s, m) each; bytes 32 c .. 32 c + 31
 *   Q5_K    likewise                  hold sub-block 2c low and 2c+1 high; bit j of high[i]: sub-block j
 *   Q6_K    x = d s (q - 32)          sixteen sub-blocks of 16; specp_q6_k_code
 */
#ifndef SPECP_BLOCKS_H
#define SPECP_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

typedef struct specp_q8_0 {
    uint8_t d[2]; /* F16 */
    int8_t q[32];
} specp_q8_0;

typedef struct specp_q4_0 {
    uint8_t d[2], q[16];
} specp_q4_0;

typedef struct specp_q5_0 {
    uint8_t d[2], high[4], q[16];
} specp_q5_0;

typedef struct specp_q4_k {
    uint8_t d[2], dmin[2], scales[12], q[128];
} specp_q4_k;

typedef struct specp_q5_k {
    uint8_t d[2], dmin[2], scales[12], high[32], q[128];
} specp_q5_k;

typedef struct specp_q6_k {
    uint8_t q[128], high[64];
    int8_t scales[16];
    uint8_t d[2];
} specp_q6_k;

/* Scale and minimum of sub-block j < 8: the lower four lie in 6 bits of bytes j
 * and j + 4; of the upper four the low 4 bits are in byte j + 4, the others on top of those. */
static inline uint8_t specp_k_scale(const uint8_t *s, size_t j) {
    return (uint8_t)(j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
}

static inline uint8_t specp_k_min(const uint8_t *s, size_t j) {
    return (uint8_t)(j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4);
}

/* Element i of a Q4_K or Q5_K block's low 4 bits. */
static inline uint8_t specp_k_low(const uint8_t *q, size_t i) {
    return (uint8_t)(q[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15);
}

/* Element i, 0..63: each half of 128 elements has 64 bytes of low bits (elements
 * 0-63 low, 64-127 high) and 32 of high ones, two bits for each quarter. */
static inline uint8_t specp_q6_k_code(const specp_q6_k *b, size_t i) {
    size_t half = i / 128, in = i % 128;
    uint8_t low = (uint8_t)(b->q[half * 64 + in % 64] >> (in / 64 * 4) & 15);
    uint8_t high = (uint8_t)(b->high[half * 32 + in % 32] >> (in / 32 * 2) & 3);
    return (uint8_t)(low | high << 4);
}

#endif

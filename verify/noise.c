/* SPDX-License-Identifier: MIT */
/*
 * Keyed noise: the parts of the key are folded one after the other into 64 bits by
 * a mixer in which every bit of the input moves every bit of the output; the upper
 * 53 are the number.
 */
#include "noise.h"

#include "specp.h"

double specp_noise(const spec_noise_key *key, uint64_t ahead, specp_purpose purpose, uint32_t index) {
    uint64_t h = specp_mix64(key->seed);
    h = specp_mix64(h ^ key->sequence);
    h = specp_mix64(h ^ (key->position + ahead));
    h = specp_mix64(h ^ ((uint64_t)purpose << 32 | index));
    return (double)(h >> 11) * 0x1p-53;
}

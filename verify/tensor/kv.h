/* SPDX-License-Identifier: MIT */
/*
 * kv.h - keys and values of consecutive positions, for all layers and KV heads:
 * the cache of a sequence, and the scratch rows of a draft tree (where a position
 * is a node's index).
 *
 * Positions lie in chunks, so that growing moves nothing. A chunk:
 *
 *     layer 0: head 0: K [16 blocks][head_dim][16]  V [256][head_dim]   head 1: ...
 *     layer 1: ...
 *
 * K is transposed in blocks of 16 positions, as the kernels want it.
 */
#ifndef SPECP_KV_H
#define SPECP_KV_H

#include "kernels.h"

#define SPECP_KV_CHUNK 256 /* positions */

typedef struct specp_kv {
    spec_type type; /* SPEC_TYPE_F16 or SPEC_TYPE_F32 */
    size_t n_layers, n_heads, head_dim;
    void **chunk; /* (n_chunks) as allocated */
    size_t n_chunks, cap_chunks;
} specp_kv;

void specp_kv_init(specp_kv *kv, spec_type type, size_t n_layers, size_t n_heads, size_t head_dim);
void specp_kv_release(specp_kv *kv, const spec_allocator *alloc);

/* Room for n positions. What is there stays. SPEC_ERR_NOMEM: as before, but for room already gained. */
int specp_kv_reserve(specp_kv *kv, size_t n, const spec_allocator *alloc);

/* K and V of a head in chunk c, for kernels that count positions from the chunk's begin. */
void *specp_kv_k(const specp_kv *kv, size_t c, size_t layer, size_t head);
void *specp_kv_v(const specp_kv *kv, size_t c, size_t layer, size_t head);

/* Copies position `from` of src, a cache of the same shape, to position `to`, for which there is room. */
void specp_kv_copy_position(specp_kv *kv, size_t to, const specp_kv *src, size_t from);
/* Positions 0..n-1, for which there is room. */
void specp_kv_copy(specp_kv *kv, const specp_kv *src, size_t n);

/* The first of positions 0..n-1 whose bits differ, n if none. Both have room for n. */
size_t specp_kv_differ(const specp_kv *a, const specp_kv *b, size_t n);

#endif

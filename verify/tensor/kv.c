/* SPDX-License-Identifier: MIT */
/*
 * kv.c - storage of keys and values. kv.h has the picture.
 *
 * A position's K is a column in a block: element d lies 16 elements after
 * element d - 1. Lanes of a block that no position has filled hold anything.
 */
#include "kv.h"

#include <string.h>

#include "specp_math.h"

#define LINE 64

void specp_kv_init(specp_kv *kv, spec_type type, size_t n_layers, size_t n_heads, size_t head_dim) {
    *kv = (specp_kv){.type = type, .n_layers = n_layers, .n_heads = n_heads, .head_dim = head_dim};
}

static size_t element(const specp_kv *kv) { return kv->type == SPEC_TYPE_F16 ? 2 : 4; }

/* K or V of one head in a chunk. */
static size_t part_bytes(const specp_kv *kv) { return SPECP_KV_CHUNK * kv->head_dim * element(kv); }

/* With room to begin at a cache line; false if no memory is that large. */
static bool chunk_bytes(const specp_kv *kv, size_t *bytes) {
    return !__builtin_mul_overflow(kv->n_layers * 2, kv->n_heads, bytes) &&
           !__builtin_mul_overflow(*bytes, part_bytes(kv), bytes) &&
           !__builtin_add_overflow(*bytes, LINE, bytes);
}

void specp_kv_release(specp_kv *kv, const spec_allocator *alloc) {
    size_t bytes = 0;
    if (kv->n_chunks) chunk_bytes(kv, &bytes);
    for (size_t c = 0; c < kv->n_chunks; c++) specp_release(alloc, kv->chunk[c], bytes, 1);
    specp_release(alloc, kv->chunk, kv->cap_chunks, sizeof *kv->chunk);
    kv->chunk = NULL;
    kv->n_chunks = kv->cap_chunks = 0;
}

static int reserve_pointers(specp_kv *kv, size_t n, const spec_allocator *alloc) {
    if (n <= kv->cap_chunks) return 0;
    size_t cap = n < 2 * kv->cap_chunks ? 2 * kv->cap_chunks : n;
    void **more = specp_resize(alloc, kv->chunk, kv->cap_chunks, cap, sizeof *more);
    if (!more) return SPEC_ERR_NOMEM;
    kv->chunk = more;
    kv->cap_chunks = cap;
    return 0;
}

int specp_kv_reserve(specp_kv *kv, size_t n, const spec_allocator *alloc) {
    size_t chunks = n / SPECP_KV_CHUNK + (n % SPECP_KV_CHUNK != 0), bytes;
    if (!chunk_bytes(kv, &bytes)) return SPEC_ERR_NOMEM;
    int err = reserve_pointers(kv, chunks, alloc);
    if (err) return err;
    while (kv->n_chunks < chunks) {
        void *p = specp_alloc(alloc, bytes, 1);
        if (!p) return SPEC_ERR_NOMEM;
        kv->chunk[kv->n_chunks++] = p;
    }
    return 0;
}

/* part 0 = K, 1 = V */
static char *part_of(const specp_kv *kv, size_t c, size_t layer, size_t head, size_t part) {
    char *first = (char *)kv->chunk[c] + (-(uintptr_t)kv->chunk[c] & (LINE - 1));
    return first + ((layer * kv->n_heads + head) * 2 + part) * part_bytes(kv);
}

void *specp_kv_k(const specp_kv *kv, size_t c, size_t layer, size_t head) {
    return part_of(kv, c, layer, head, 0);
}

void *specp_kv_v(const specp_kv *kv, size_t c, size_t layer, size_t head) {
    return part_of(kv, c, layer, head, 1);
}

/* ---- positions ------------------------------------------------------------ */

/* Where a position's elements lie in its head's parts of a chunk. */
typedef struct place {
    size_t chunk, k, v, v_bytes, element;
} place;

static place place_of(const specp_kv *kv, size_t pos) {
    size_t in = pos % SPECP_KV_CHUNK, size = element(kv);
    size_t block = in / SPECP_KV_BLOCK * kv->head_dim * SPECP_KV_BLOCK;
    return (place){.chunk = pos / SPECP_KV_CHUNK,
                   .k = (block + in % SPECP_KV_BLOCK) * size,
                   .v = in * kv->head_dim * size,
                   .v_bytes = kv->head_dim * size,
                   .element = size};
}

/* Element d of a column is 16 d elements on. */
static void copy_column(void *to, const void *from, size_t element_bytes, size_t n) {
    if (element_bytes == 2) {
        for (size_t d = 0; d < n; d++) {
            ((uint16_t *)to)[d * SPECP_KV_BLOCK] = ((const uint16_t *)from)[d * SPECP_KV_BLOCK];
        }
    } else {
        for (size_t d = 0; d < n; d++) {
            ((float *)to)[d * SPECP_KV_BLOCK] = ((const float *)from)[d * SPECP_KV_BLOCK];
        }
    }
}

static bool columns_differ(const void *a, const void *b, size_t element_bytes, size_t n) {
    uint32_t differ = 0;
    for (size_t d = 0; d < n; d++) {
        size_t i = d * SPECP_KV_BLOCK;
        differ |= element_bytes == 2 ? (uint32_t)(((const uint16_t *)a)[i] ^ ((const uint16_t *)b)[i])
                                     : specp_bits_of_float(((const float *)a)[i]) ^
                                           specp_bits_of_float(((const float *)b)[i]);
    }
    return differ != 0;
}

void specp_kv_copy_position(specp_kv *kv, size_t to, const specp_kv *src, size_t from) {
    place a = place_of(kv, to), b = place_of(src, from);
    for (size_t i = 0; i < kv->n_layers * kv->n_heads; i++) {
        size_t layer = i / kv->n_heads, head = i % kv->n_heads;
        copy_column(part_of(kv, a.chunk, layer, head, 0) + a.k, part_of(src, b.chunk, layer, head, 0) + b.k,
                    a.element, kv->head_dim);
        memcpy(part_of(kv, a.chunk, layer, head, 1) + a.v, part_of(src, b.chunk, layer, head, 1) + b.v,
               a.v_bytes);
    }
}

/* The used blocks of K and positions of V, head by head. */
static void copy_chunk(specp_kv *kv, const specp_kv *src, size_t c, size_t n) {
    size_t blocks = (n + SPECP_KV_BLOCK - 1) / SPECP_KV_BLOCK, row = kv->head_dim * element(kv);
    for (size_t i = 0; i < kv->n_layers * kv->n_heads; i++) {
        size_t layer = i / kv->n_heads, head = i % kv->n_heads;
        memcpy(part_of(kv, c, layer, head, 0), part_of(src, c, layer, head, 0),
               blocks * SPECP_KV_BLOCK * row);
        memcpy(part_of(kv, c, layer, head, 1), part_of(src, c, layer, head, 1), n * row);
    }
}

void specp_kv_copy(specp_kv *kv, const specp_kv *src, size_t n) {
    for (size_t done = 0; done < n; done += SPECP_KV_CHUNK) {
        copy_chunk(kv, src, done / SPECP_KV_CHUNK, n - done < SPECP_KV_CHUNK ? n - done : SPECP_KV_CHUNK);
    }
}

static bool position_differs(const specp_kv *a, const specp_kv *b, size_t pos) {
    place p = place_of(a, pos);
    for (size_t i = 0; i < a->n_layers * a->n_heads; i++) {
        size_t layer = i / a->n_heads, head = i % a->n_heads;
        if (columns_differ(part_of(a, p.chunk, layer, head, 0) + p.k,
                           part_of(b, p.chunk, layer, head, 0) + p.k, p.element, a->head_dim) ||
            memcmp(part_of(a, p.chunk, layer, head, 1) + p.v, part_of(b, p.chunk, layer, head, 1) + p.v,
                   p.v_bytes) != 0) {
            return true;
        }
    }
    return false;
}

size_t specp_kv_differ(const specp_kv *a, const specp_kv *b, size_t n) {
    size_t pos = 0;
    while (pos < n && !position_differs(a, b, pos)) pos++;
    return pos;
}

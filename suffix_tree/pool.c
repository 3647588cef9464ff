/* SPDX-License-Identifier: MIT */
/*
 * pool.c - arrays of records that grow without moving.
 *
 *   seg ->  [0] 16, 32, ... 2^shift records (doubled by resize, then full)
 *           [1] 2^shift records
 *           [2] ...
 *
 * A record's id is its number; id >> shift picks the segment. In a loaded
 * snapshot the leading segments lie in the mapping and the last of them may be
 * cut short: it is copied to memory of its own when the pool first grows.
 */
#include <string.h>

#include "index_internal.h"

#define FIRST_RECORDS 16u

void specp_pool_init(pool *p, uint32_t size, uint32_t shift) {
    memset(p, 0, sizeof *p);
    p->size = size;
    p->shift = shift;
}

static uint32_t seg_records(const pool *p) { return 1u << p->shift; }

void specp_pool_free(spec_index *x, pool *p) {
    for (uint32_t i = 0; i < p->n_seg; i++) {
        uint32_t first = i << p->shift;
        if (first < p->mapped) continue;
        specp_release(&x->alloc, p->seg[i], min_u32(p->cap - first, seg_records(p)), p->size);
    }
    specp_release(&x->alloc, p->seg, p->cap_seg, sizeof *p->seg);
    specp_pool_init(p, p->size, p->shift);
}

static int grow_table(spec_index *x, pool *p) {
    if (p->n_seg < p->cap_seg) return SPEC_OK;
    uint32_t cap = p->cap_seg ? 2 * p->cap_seg : 2;
    void **seg = specp_resize(&x->alloc, p->seg, p->cap_seg, cap, sizeof *seg);
    if (!seg) return SPEC_ERR_NOMEM;
    p->seg = seg;
    p->cap_seg = cap;
    return SPEC_OK;
}

static int add_segment(spec_index *x, pool *p, uint32_t n) {
    uint32_t full = seg_records(p);
    if (((uint64_t)p->n_seg + 1) << p->shift > MAX_PLACES) return SPEC_ERR_FULL;
    int err = grow_table(x, p);
    if (err) return err;
    uint32_t records = full;
    if (p->n_seg == 0)
        for (records = FIRST_RECORDS; records < n;) records *= 2;
    if (specp_over_limit(x, (size_t)records * p->size)) return OVER_LIMIT;
    void *m = specp_alloc(&x->alloc, records, p->size);
    if (!m) return SPEC_ERR_NOMEM;
    p->seg[p->n_seg++] = m;
    p->cap += records;
    return SPEC_OK;
}

/* Makes the last segment large enough for n more records. */
static int widen_segment(spec_index *x, pool *p, uint32_t n) {
    uint32_t first = (p->n_seg - 1) << p->shift;
    uint32_t have = p->cap - first, records = FIRST_RECORDS;
    while (records < 2 * have || records < p->used - first + n) records *= 2;
    records = min_u32(records, seg_records(p));
    void **seg = &p->seg[p->n_seg - 1];
    bool mapped = first < p->mapped;
    if (specp_over_limit(x, (size_t)(records - (mapped ? 0 : have)) * p->size)) return OVER_LIMIT;
    void *m = mapped ? specp_alloc(&x->alloc, records, p->size)
                     : specp_resize(&x->alloc, *seg, have, records, p->size);
    if (!m) return SPEC_ERR_NOMEM;
    if (mapped) {
        memcpy(m, *seg, (size_t)have * p->size);
        p->mapped = first;
    }
    *seg = m;
    p->cap = first + records;
    return SPEC_OK;
}

uint32_t specp_pool_room(const pool *p) { return (p->n_seg << p->shift) - p->used; }

int specp_pool_reserve(spec_index *x, pool *p, uint32_t n) {
    if (specp_pool_room(p) < n) return add_segment(x, p, n);
    return p->used + n <= p->cap ? SPEC_OK : widen_segment(x, p, n);
}

uint32_t specp_pool_take(pool *p, uint32_t n) {
    uint32_t id = p->used;
    p->used += n;
    return id;
}

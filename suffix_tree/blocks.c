/* SPDX-License-Identifier: MIT */
/*
 * blocks.c - room for the edges of states with 2 to 32 of them: runs of records
 * in the edge pool.
 *
 *     | in use | in use |-5,next,prev|  ...  |-5| in use |-1,next,prev| in use |
 *                        \__ free run of 5 ____/           \ of 1
 *
 * A free run is marked by its negated length in the token of its first and last
 * record; the tokens of runs in use are never negative. So a run that is freed
 * finds its free neighbours and joins them: memory does not fall to pieces, whatever
 * sizes come and go. Free runs wait in doubly linked lists (next in `to`, previous
 * in `count`), one for each length up to 32 and one for all longer ones. Runs lie
 * within a segment of the pool.
 */
#include "index_internal.h"

const uint8_t specp_block_cap[N_BLOCK_KINDS] = {1, 2, 3, 4, 6, 8, 12, 16, 24, HUB_FROM};

#define IN_SEGMENT(id) ((id) & ((1u << EDGE_SHIFT) - 1u))

static uint32_t list_of(uint32_t size) { return size < N_FREE_RUNS ? size : N_FREE_RUNS - 1; }

static void run_enter(spec_index *x, uint32_t id, uint32_t size) {
    uint32_t *head = &x->free_run[list_of(size)];
    block_at(x, id)[size - 1] = (edge){.token = -(spec_token)size};
    *block_at(x, id) = (edge){.token = -(spec_token)size, .to = *head, .count = NONE};
    if (*head != NONE) block_at(x, *head)->count = id;
    *head = id;
}

/* Takes a free run out of its list; returns its length. */
static uint32_t run_leave(spec_index *x, uint32_t id) {
    const edge *e = block_at(x, id);
    uint32_t size = (uint32_t)-e->token;
    if (e->to != NONE) block_at(x, e->to)->count = e->count;
    if (e->count != NONE)
        block_at(x, e->count)->to = e->to;
    else
        x->free_run[list_of(size)] = e->to;
    return size;
}

static void run_free(spec_index *x, uint32_t id, uint32_t size) {
    uint32_t after = id + size;
    if (IN_SEGMENT(after) && after < x->edges.used && block_at(x, after)->token < 0)
        size += run_leave(x, after);
    if (IN_SEGMENT(id) && block_at(x, id - 1)->token < 0) {
        id -= (uint32_t)-block_at(x, id - 1)->token;
        size += run_leave(x, id);
    }
    run_enter(x, id, size);
}

/* A free run of at least `cap` records, shortened to that; NONE if there is none. */
static uint32_t run_find(spec_index *x, uint32_t cap) {
    for (uint32_t list = cap; list < N_FREE_RUNS; list++) {
        uint32_t id = x->free_run[list];
        if (id == NONE) continue;
        uint32_t size = run_leave(x, id);
        if (size > cap) run_enter(x, id + cap, size - cap);
        return id;
    }
    return NONE;
}

/* Records never used so far. What is left of a segment too short is freed. */
static int run_new(spec_index *x, uint32_t cap, uint32_t *out) {
    pool *p = &x->edges;
    uint32_t room = specp_pool_room(p);
    if (room && room < cap) {
        int err = specp_pool_reserve(x, p, room); /* memory for the rest, where it has none yet */
        if (err) return err;
        run_free(x, specp_pool_take(p, room), room);
    }
    int err = specp_pool_reserve(x, p, cap);
    if (!err) *out = specp_pool_take(p, cap);
    return err;
}

int specp_block_take(spec_index *x, uint32_t kind, uint32_t *out) {
    uint32_t cap = specp_block_cap[kind], id = run_find(x, cap);
    if (id == NONE) {
        int err = run_new(x, cap, &id);
        if (err) return err;
    }
    for (uint32_t k = 0; k < cap; k++) block_at(x, id)[k].token = 0; /* in use */
    x->edges.live += cap;
    *out = id;
    return SPEC_OK;
}

void specp_block_drop(spec_index *x, uint32_t id, uint32_t kind) {
    run_free(x, id, specp_block_cap[kind]);
    x->edges.live -= specp_block_cap[kind];
}

bool specp_block_at_hand(const spec_index *x, uint32_t kind) {
    const pool *p = &x->edges;
    uint32_t cap = specp_block_cap[kind];
    for (uint32_t list = cap; list < N_FREE_RUNS; list++)
        if (x->free_run[list] != NONE) return true;
    return specp_pool_room(p) >= cap && p->used + cap <= p->cap;
}

uint32_t specp_block_kind(uint32_t n) {
    uint32_t kind = 0;
    while (specp_block_cap[kind] < n) kind++;
    return kind;
}

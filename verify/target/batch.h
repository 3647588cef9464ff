/* SPDX-License-Identifier: MIT */
/*
 * batch.h - the layout of one forward pass: the items' fed tokens and tree nodes
 * as rows, cut into slices so that scratch stays bounded, and into tiles for
 * attention.
 *
 *     items   |  A: 3 fed, tree of 4  | B: 1 fed |   C: 400 fed ...           |
 *     rows     f  f  f* n* n* n* n*    f*          f  f  f ...            f*      * = wanted
 *     slices  |------------------ 256 rows -----------------|--- the rest ----|
 *     tiles    |-----| |-----| |-|     |-|         |-----| ...    rows of one item, side by side
 *
 * After the last layer's K and V are stored only the wanted rows go on, so a
 * slice has two parts: all of its rows, and the wanted ones.
 */
#ifndef SPECP_BATCH_H
#define SPECP_BATCH_H

#include "sequence.h"

#define SPECP_SLICE    256 /* rows */
#define SPECP_FED      (-1)
#define SPECP_UNWANTED UINT32_MAX

typedef struct specp_row {
    spec_token token;
    uint32_t item;
    int32_t node; /* of the item's tree; SPECP_FED: a token fed */
    uint32_t position;
    uint32_t out; /* its result row; SPECP_UNWANTED */
} specp_row;

typedef struct specp_item {
    spec_sequence *sequence;
    size_t n_prefix;       /* positions in the cache, those of the fed tokens included */
    const int32_t *parent; /* of the tree's nodes */
} specp_item;

typedef struct specp_tile {
    uint32_t first, n; /* rows of the part */
} specp_tile;

typedef struct specp_part {
    const specp_row *row; /* (n) */
    size_t n;
    const specp_tile *tile; /* (n_tiles) */
    size_t n_tiles;
} specp_part;

typedef struct specp_slice {
    specp_part all, wanted;
    const uint32_t *wanted_row; /* (wanted.n) index in `all` */
    size_t out;                 /* result row of the first wanted one */
} specp_slice;

typedef struct specp_batch {
    specp_item *item;
    specp_row *row;       /* (n_rows), then the wanted ones (n_out) */
    uint32_t *wanted_row; /* (n_out) index in its slice */
    specp_tile *tile;
    specp_slice *slice;
    size_t *out_begin; /* (n_items) an item's first result row */
    size_t n_items, n_rows, n_out, n_slices;
    size_t longest;    /* positions that a row sees at most */
    size_t most_nodes; /* of a tree */
    size_t cap_item, cap_row, cap_wanted_row, cap_tile, cap_slice, cap_out_begin; /* allocated */
} specp_batch;

/* Checks the items, makes room in their sequences, and lists the rows. Errors as spec_target_forward. */
int specp_batch_rows(specp_batch *b, const spec_target *t, const spec_forward_item *items, size_t n_items,
                     spec_message *why);
/* Cuts the rows into slices, and those into tiles of at most tile_rows. SPEC_ERR_NOMEM. */
int specp_batch_cut(specp_batch *b, size_t tile_rows, const spec_allocator *alloc);
void specp_batch_release(specp_batch *b, const spec_allocator *alloc);

/* Memory for n elements, at least one, whose old content does not matter: p itself if its *cap
 * suffices. NULL: refused, and p is gone. */
void *specp_scratch(void *p, size_t *cap, size_t n, size_t size, const spec_allocator *alloc);

#endif

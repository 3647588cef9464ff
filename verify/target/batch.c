/* SPDX-License-Identifier: MIT */
/*
 * batch.c - checks what a forward pass is asked for, and lays it out. batch.h has
 * the picture.
 *
 * Everything that can be refused is refused here, before anything is computed:
 * tokens outside the vocabulary, malformed trees, a sequence twice, a context
 * that is too short, memory.
 */
#include "batch.h"

#include <limits.h>
#include <string.h>

void *specp_scratch(void *p, size_t *cap, size_t n, size_t size, const spec_allocator *alloc) {
    if (p && n <= *cap) return p;
    size_t more = n < 2 * *cap ? 2 * *cap : n;
    more = more ? more : 1;
    specp_release(alloc, p, *cap, size);
    p = specp_alloc(alloc, more, size);
    *cap = p ? more : 0;
    return p;
}

void specp_batch_release(specp_batch *b, const spec_allocator *alloc) {
    specp_release(alloc, b->item, b->cap_item, sizeof *b->item);
    specp_release(alloc, b->row, b->cap_row, sizeof *b->row);
    specp_release(alloc, b->wanted_row, b->cap_wanted_row, sizeof *b->wanted_row);
    specp_release(alloc, b->tile, b->cap_tile, sizeof *b->tile);
    specp_release(alloc, b->slice, b->cap_slice, sizeof *b->slice);
    specp_release(alloc, b->out_begin, b->cap_out_begin, sizeof *b->out_begin);
    *b = (specp_batch){0};
}

/* ---- checks --------------------------------------------------------------- */

static size_t nodes_of(const spec_forward_item *it) { return it->tree ? it->tree->n : 0; }

static int check_tokens(const spec_target *t, const spec_token *token, size_t n, size_t item,
                        const char *what, spec_message *why) {
    for (size_t i = 0; i < n; i++) {
        if (token[i] < 0 || (size_t)token[i] >= t->model.vocab) {
            return specp_fail(why, SPEC_ERR_INVALID, "item %zu: %s %zu is token %d, the vocabulary has %zu",
                              item, what, i, (int)token[i], t->model.vocab);
        }
    }
    return 0;
}

static int check_parents(const spec_tree *tree, size_t item, spec_message *why) {
    for (size_t i = 0; i < tree->n; i++) {
        int32_t parent = tree->parent[i];
        if (parent < -1 || (parent >= 0 && (size_t)parent >= i)) {
            return specp_fail(why, SPEC_ERR_INVALID,
                              "item %zu: node %zu has parent %d, parents come before "
                              "their children",
                              item, i, (int)parent);
        }
    }
    return 0;
}

static int check_item(const spec_target *t, const spec_forward_item *it, size_t item, spec_message *why) {
    const spec_sequence *s = it->sequence;
    if (!s || s->target != t) {
        return specp_fail(why, SPEC_ERR_INVALID, "item %zu: %s", item,
                          s ? "its sequence belongs to another target" : "no sequence");
    }
    if (it->n_tokens == 0 || !it->tokens) {
        return specp_fail(why, SPEC_ERR_INVALID, "item %zu: no token is fed, at least one is needed", item);
    }
    if (nodes_of(it) && !(it->tree->token && it->tree->parent)) {
        return specp_fail(why, SPEC_ERR_INVALID, "item %zu: its tree has %zu nodes, but an array is NULL",
                          item, nodes_of(it));
    }
    if (nodes_of(it) > SPEC_TREE_MAX_NODES) {
        return specp_fail(why, SPEC_ERR_INVALID, "item %zu: its tree has %zu nodes, at most %d are possible",
                          item, nodes_of(it), SPEC_TREE_MAX_NODES);
    }
    if (it->n_tokens > s->max_context - s->n) {
        return specp_fail(why, SPEC_ERR_FULL,
                          "item %zu: %zu tokens in the cache and %zu more pass the "
                          "sequence's context of %zu",
                          item, s->n, it->n_tokens, s->max_context);
    }
    int err = check_tokens(t, it->tokens, it->n_tokens, item, "fed token", why);
    if (!err && it->tree) err = check_tokens(t, it->tree->token, it->tree->n, item, "node", why);
    return err || !it->tree ? err : check_parents(it->tree, item, why);
}

/* Marks the items' sequences, as far as the first that is marked already: its index. */
static size_t mark_sequences(const spec_forward_item *items, size_t n_items) {
    for (size_t i = 0; i < n_items; i++) {
        if (items[i].sequence->in_batch) return i;
        items[i].sequence->in_batch = true;
    }
    return n_items;
}

static int check_items(const spec_target *t, const spec_forward_item *items, size_t n_items, size_t *n_rows,
                       spec_message *why) {
    *n_rows = 0;
    for (size_t i = 0; i < n_items; i++) {
        int err = check_item(t, &items[i], i, why);
        if (err) return err;
        *n_rows += items[i].n_tokens + nodes_of(&items[i]);
        if (*n_rows > INT32_MAX) return specp_fail(why, SPEC_ERR_INVALID, "more than %d rows", INT32_MAX);
    }
    size_t distinct = mark_sequences(items, n_items);
    for (size_t i = 0; i < distinct; i++) items[i].sequence->in_batch = false;
    if (distinct < n_items) {
        return specp_fail(why, SPEC_ERR_INVALID, "item %zu: its sequence is in the batch already", distinct);
    }
    return 0;
}

/* ---- rows ----------------------------------------------------------------- */

static void add_fed(specp_batch *b, const spec_forward_item *it, size_t item) {
    for (size_t i = 0; i < it->n_tokens; i++) {
        bool wanted = it->all_rows || i + 1 == it->n_tokens;
        b->row[b->n_rows++] = (specp_row){.token = it->tokens[i],
                                          .item = (uint32_t)item,
                                          .node = SPECP_FED,
                                          .position = (uint32_t)(it->sequence->n + i),
                                          .out = wanted ? (uint32_t)b->n_out++ : SPECP_UNWANTED};
    }
}

static int add_nodes(specp_batch *b, const spec_forward_item *it, size_t item, spec_message *why) {
    const specp_row *node = b->row + b->n_rows;
    size_t prefix = b->item[item].n_prefix, context = it->sequence->max_context;
    for (size_t i = 0; i < nodes_of(it); i++) {
        int32_t parent = it->tree->parent[i];
        size_t position = parent < 0 ? prefix : (size_t)node[parent].position + 1;
        if (position >= context) {
            return specp_fail(why, SPEC_ERR_FULL,
                              "item %zu: node %zu would be at position %zu, the sequence's "
                              "context is %zu",
                              item, i, position, context);
        }
        b->row[b->n_rows++] = (specp_row){.token = it->tree->token[i],
                                          .item = (uint32_t)item,
                                          .node = (int32_t)i,
                                          .position = (uint32_t)position,
                                          .out = (uint32_t)b->n_out++};
        b->longest = position + 1 > b->longest ? position + 1 : b->longest;
    }
    return 0;
}

static int reserve_rows(specp_batch *b, size_t n_items, size_t n_rows, const spec_allocator *alloc) {
    b->item = specp_scratch(b->item, &b->cap_item, n_items, sizeof *b->item, alloc);
    b->out_begin = specp_scratch(b->out_begin, &b->cap_out_begin, n_items, sizeof *b->out_begin, alloc);
    b->row = specp_scratch(b->row, &b->cap_row, 2 * n_rows, sizeof *b->row, alloc);
    b->wanted_row = specp_scratch(b->wanted_row, &b->cap_wanted_row, n_rows, sizeof *b->wanted_row, alloc);
    return b->item && b->out_begin && b->row && b->wanted_row ? 0 : SPEC_ERR_NOMEM;
}

int specp_batch_rows(specp_batch *b, const spec_target *t, const spec_forward_item *items, size_t n_items,
                     spec_message *why) {
    size_t n_rows;
    int err = check_items(t, items, n_items, &n_rows, why);
    if (err) return err;
    if (reserve_rows(b, n_items, n_rows, &t->alloc)) goto refused;
    b->n_items = n_items;
    b->n_rows = b->n_out = b->longest = b->most_nodes = 0;
    for (size_t i = 0; i < n_items; i++) {
        const spec_forward_item *it = &items[i];
        size_t nodes = nodes_of(it), prefix = it->sequence->n + it->n_tokens;
        b->item[i] = (specp_item){it->sequence, prefix, nodes ? it->tree->parent : NULL};
        b->out_begin[i] = b->n_out;
        b->longest = prefix > b->longest ? prefix : b->longest;
        b->most_nodes = nodes > b->most_nodes ? nodes : b->most_nodes;
        add_fed(b, it, i);
        if (nodes && (err = add_nodes(b, it, i, why))) return err;
        if (specp_sequence_reserve(it->sequence, it->n_tokens, nodes)) goto refused;
    }
    return 0;
refused:
    return specp_fail(why, SPEC_ERR_NOMEM, "no memory for %zu rows and their caches", n_rows);
}

/* ---- slices and tiles ----------------------------------------------------- */

/* Tiles of the part's rows, from b->tile[*n_tiles] on. */
static void cut_part(specp_batch *b, specp_part *part, size_t tile_rows, size_t *n_tiles) {
    specp_tile *tile = b->tile + *n_tiles;
    part->tile = tile;
    part->n_tiles = 0;
    for (size_t i = 0; i < part->n; i++) {
        specp_tile *last = part->n_tiles ? &tile[part->n_tiles - 1] : NULL;
        if (last && last->n < tile_rows && part->row[i].item == part->row[i - 1].item) {
            last->n++;
        } else {
            tile[part->n_tiles++] = (specp_tile){(uint32_t)i, 1};
        }
    }
    *n_tiles += part->n_tiles;
}

/* The wanted rows of a slice, from result row `out` on. */
static void gather_wanted(specp_batch *b, specp_slice *s, size_t out) {
    specp_row *row = b->row + b->n_rows + out;
    uint32_t *index = b->wanted_row + out;
    size_t n = 0;
    for (size_t i = 0; i < s->all.n; i++) {
        if (s->all.row[i].out == SPECP_UNWANTED) continue;
        index[n] = (uint32_t)i;
        row[n++] = s->all.row[i];
    }
    s->wanted = (specp_part){.row = row, .n = n};
    s->wanted_row = index;
    s->out = out;
}

int specp_batch_cut(specp_batch *b, size_t tile_rows, const spec_allocator *alloc) {
    size_t n_slices = (b->n_rows + SPECP_SLICE - 1) / SPECP_SLICE;
    b->slice = specp_scratch(b->slice, &b->cap_slice, n_slices, sizeof *b->slice, alloc);
    b->tile = specp_scratch(b->tile, &b->cap_tile, b->n_rows + b->n_out, sizeof *b->tile, alloc);
    if (!b->slice || !b->tile) return SPEC_ERR_NOMEM;
    b->n_slices = n_slices;
    size_t n_tiles = 0, out = 0;
    for (size_t i = 0; i < n_slices; i++) {
        specp_slice *s = &b->slice[i];
        size_t first = i * SPECP_SLICE, left = b->n_rows - first;
        s->all = (specp_part){.row = b->row + first, .n = left < SPECP_SLICE ? left : SPECP_SLICE};
        gather_wanted(b, s, out);
        out += s->wanted.n;
        cut_part(b, &s->all, tile_rows, &n_tiles);
        cut_part(b, &s->wanted, tile_rows, &n_tiles);
    }
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * index_internal.h - the layout of the counted suffix index, and the accessors
 * that its parts share. Private to suffix_tree/.
 *
 * The structure is a generalised suffix automaton, capped at depth D, with
 * counts. A *class* is a set of strings that end at the same places in the
 * text; they are suffixes of one another, so a class is an interval of lengths
 * (len(link), len] below its longest string. `link` leads to the class of the
 * next shorter suffix: the *suffix chain* of a place runs through all suffixes
 * of the text that ends there. Following a token out of a class leads to the
 * class of its strings with that token appended.
 *
 * A class that occurs once needs no memory of its own. Its only occurrence ends
 * at some place j of the text; its only transition is the token at the next
 * place. So it *is* the place, and one word of the place's slot holds its link:
 *
 *   text of one sequence, "a b c a b d":           explicit classes (count >= 2):
 *
 *   place     0     1     2     3     4     5        E1 = {a}     count 2, link root
 *   token     a     b     c     a     b     d        E2 = {ab, b} count 2, link root
 *   longest  E1    E2     S2    S3    S4    S5
 *   link                 root   E1    E2   root      S2 = {abc, bc, c}  single, ...
 *
 *   root -a-> E1 -b-> E2 -c-> S2 ~a~> S3 ~b~> S4 ~d~> S5    ~> implied by the text
 *                      \-d-> S5
 *
 * A *ref* names a class: an explicit one by its id, a single one by its place
 * with SINGLE set. A slot's `up` is the link of the place's single class, or,
 * with HELD set, the explicit class that holds the longest string ending there
 * (then the place has no single class).
 *
 * Transitions carry the count of the class they lead to and stand in order of
 * decreasing count, so that children are read off without a look at their
 * states, which would be a cache miss each. That is affordable because of one
 * fact, on which append and truncate rest:
 *
 *   every transition into a class comes from the suffix chain of the place
 *   before any of its occurrences.
 *
 * A walk up the chain of place i - 1 therefore meets every transition whose
 * count the token at i changes.
 *
 * Invariants (spec_index_check walks them all):
 *   I1  the chain of every place partitions its suffixes of length 1..D, and
 *       the count of each explicit class is the number of its occurrences.
 *   I2  an explicit class with a string w shorter than D has a transition by t
 *       exactly where wt occurs; its target holds wt, its count is the target's.
 *   I3  a class whose strings are all of length D has no transitions.
 *   I4  the text after the place of a single class with a string shorter than D
 *       is that string's only continuation, and the next place is single too.
 *   I5  an explicit class has two occurrences or more, save for the few that
 *       truncation left with one whose place is not known (x->n_loose).
 *   I6  state.last is a place where the class occurs, or NONE. It is the one
 *       appended last, unless that one has been taken away since: append sets it
 *       in every explicit class on the chain of the new place (a single one is
 *       its place), a split leaves it as it was in both parts, removal changes
 *       it only where it was the place that went.
 */
#ifndef INDEX_INTERNAL_H
#define INDEX_INTERNAL_H

#include <stdatomic.h>

#include "chain.h"
#include "spec_index.h"
#include "specp.h"

#define SINGLE     0x80000000u /* in a ref: a place, not an explicit id */
#define HELD       0x80000000u /* in slot.up: the longest class here is explicit */
#define NONE       0xffffffffu
#define ROOT       0u
#define OVER_LIMIT (-1000)     /* beside the spec_err codes */
#define MAX_PLACES 0x7fffffe0u /* places and explicit ids stay below SINGLE */

/* ---- text ------------------------------------------------------------- */

typedef struct slot {
    spec_token token;
    uint32_t up; /* see above; NONE: no token here yet */
} slot;

/* Text is kept in chunks of 32 slots; place = chunk * 32 + offset. */
#define CHUNK_SHIFT 5
#define CHUNK_SLOTS (1u << CHUNK_SHIFT)

typedef struct chunk {
    uint32_t next, prev; /* chunks of the sequence, NONE at its ends; next links free chunks */
    uint32_t seq;        /* slot of its sequence; NONE when free */
    uint32_t base;       /* number of tokens of the sequence before this chunk */
    uint32_t gen;        /* grows whenever a slot of the chunk is given up */
} chunk;

/* ---- classes ---------------------------------------------------------- */

typedef specp_branch edge; /* `to` is a ref; edges stand by decreasing count */

/* Where a state keeps its edges: `one` (INLINE), a block of the edge pool
 * (block kinds 1..), or a hub: an array of its own with a hash. */
enum { EDGES_INLINE = 0, EDGES_HUB = 255 };

typedef struct state { /* 32 bytes: never straddles a cache line */
    uint32_t link;     /* explicit id; in a free state the next free one */
    uint32_t count;    /* 0: free */
    uint32_t last;     /* a place where it occurs, the latest one known; or NONE */
    uint16_t len;      /* of its longest string */
    uint8_t kind;      /* EDGES_INLINE, a block kind, or EDGES_HUB */
    uint8_t n;         /* edges, when not a hub */
    union {
        edge one;
        uint32_t block; /* id of the first edge of the block, or of the hub */
    } e;
    uint32_t gen; /* grows when the id is freed: cursors check it */
} state;

typedef struct hub {
    edge *e;        /* (cap) */
    uint32_t *slot; /* (slots) index + 1 of the edge with that token, 0 = empty; linear probing */
    uint32_t n, cap;
    uint32_t slots; /* power of two, at least 4/3 * cap */
    bool mapped;    /* the arrays lie in the snapshot's mapping */
} hub;

/* A hash is never full: probing ends at an empty slot. */
static inline bool hub_hash_fits(uint32_t slots, uint32_t cap) {
    return slots && !(slots & (slots - 1)) && slots / 4 * 3 >= cap;
}

#define N_BLOCK_KINDS 10u
#define N_FREE_RUNS   34u /* lists of free runs of edge records: of 1, ..., 32, and of more */
#define HUB_FROM      32u /* a state with more edges becomes a hub */

/* ---- sequences -------------------------------------------------------- */

/* A sequence that eviction has begun to shorten takes no more tokens. */
enum { SEQ_LIVE = 0, SEQ_ENDED = 1, SEQ_EVICTED = 2 };

typedef struct sequence {
    uint32_t serial;        /* high half of its spec_seq; 0 = free slot */
    uint32_t head;          /* first chunk, NONE when empty */
    uint32_t tail;          /* last place, NONE when empty */
    uint32_t len;           /* tokens */
    uint32_t older, newer;  /* list in order of begin; newer links free slots */
    uint32_t heap;          /* its place in the LRU heap */
    uint32_t state;         /* SEQ_LIVE, SEQ_ENDED or SEQ_EVICTED */
    uint64_t heap_key;      /* the stamp it stands in the heap with */
    _Atomic uint64_t stamp; /* last use */
} sequence;

/* ---- pools: arrays that grow without moving ---------------------------- */

/* Records in segments of a fixed power of two; the first segment starts small
 * and doubles, the others are allocated whole. Leading segments may lie in a
 * mapped snapshot. */
typedef struct pool {
    void **seg;
    uint32_t n_seg, cap_seg;
    uint32_t used;   /* records handed out so far, freed ones included */
    uint32_t cap;    /* records there is memory for */
    uint32_t mapped; /* of them, leading records in the mapping */
    uint32_t live;   /* handed out and not freed */
    uint32_t size;   /* bytes a record */
    uint32_t shift;  /* log2 of the records in a segment */
} pool;

#define TEXT_SHIFT   15 /* slots: 256 KiB */
#define CHUNKS_SHIFT 13
#define STATE_SHIFT  13 /* 256 KiB */
#define EDGE_SHIFT   14 /* 192 KiB */
#define HUBS_SHIFT   10
#define SEQ_SHIFT    12

struct spec_index {
    spec_allocator alloc; /* wraps the caller's and counts bytes */
    spec_allocator user_alloc;
    uint32_t depth;
    spec_evict evict;
    size_t memory_limit;
    bool may_grow; /* beyond it: eviction did not help */
    uint64_t tokenizer_id;

    pool text, chunks, states, edges, hubs, seqs;
    uint32_t free_chunk, free_state, free_hub, free_seq;
    uint32_t free_run[N_FREE_RUNS];

    uint32_t *chain;         /* (depth) scratch of append */
    uint32_t oldest, newest; /* sequences by age */
    uint32_t next_serial;
    uint32_t *heap; /* (n_heap of cap_heap) LRU order of sequences */
    uint32_t n_heap, cap_heap;

    uint64_t bytes, hub_bytes;
    uint64_t n_edges, n_loose, n_singles;
    uint64_t tokens_total, evicted, evicted_tokens;
    uint64_t version;   /* grows with every change */
    uint32_t epoch;     /* grows when every id changes its meaning: compaction */
    uint32_t chain_max; /* longest chain met */
    _Atomic uint64_t clock;

    uint64_t snapshot_id; /* of a loaded snapshot: its header's checksum */
    void *map;            /* of a loaded snapshot: all but its attachment */
    size_t map_bytes;
    void *attached; /* (n_attached) attachment of the loaded snapshot, NULL = none */
    size_t n_attached;
};

/* ---- accessors -------------------------------------------------------- */

#define POOL_AT(type, p, shift, i) (&((type *)(p)->seg[(i) >> (shift)])[(i) & ((1u << (shift)) - 1u)])

static inline slot *slot_at(const spec_index *x, uint32_t place) {
    return POOL_AT(slot, &x->text, TEXT_SHIFT, place);
}
static inline chunk *chunk_at(const spec_index *x, uint32_t i) {
    return POOL_AT(chunk, &x->chunks, CHUNKS_SHIFT, i);
}
static inline state *state_at(const spec_index *x, uint32_t i) {
    return POOL_AT(state, &x->states, STATE_SHIFT, i);
}
static inline edge *block_at(const spec_index *x, uint32_t i) {
    return POOL_AT(edge, &x->edges, EDGE_SHIFT, i);
}
static inline hub *hub_at(const spec_index *x, uint32_t i) { return POOL_AT(hub, &x->hubs, HUBS_SHIFT, i); }
static inline sequence *seq_at(const spec_index *x, uint32_t i) {
    return POOL_AT(sequence, &x->seqs, SEQ_SHIFT, i);
}

static inline uint32_t min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* The place after j in its sequence, NONE at the end. */
static inline uint32_t place_next(const spec_index *x, uint32_t j) {
    uint32_t k = j + 1;
    if ((k & (CHUNK_SLOTS - 1)) == 0) {
        uint32_t c = chunk_at(x, j >> CHUNK_SHIFT)->next;
        if (c == NONE) return NONE;
        k = c << CHUNK_SHIFT;
    }
    return slot_at(x, k)->up == NONE ? NONE : k;
}

/* The place before j in its sequence, NONE at the start. */
static inline uint32_t place_prev(const spec_index *x, uint32_t j) {
    if (j & (CHUNK_SLOTS - 1)) return j - 1;
    uint32_t c = chunk_at(x, j >> CHUNK_SHIFT)->prev;
    return c == NONE ? NONE : (c << CHUNK_SHIFT) + CHUNK_SLOTS - 1;
}

/* Does it hold a token? For any number: slots that hold none say so. */
static inline bool place_holds(const spec_index *x, uint32_t j) {
    return j < x->text.used && slot_at(x, j)->up != NONE;
}

/* Tokens of the sequence up to and with j. */
static inline uint32_t place_rank(const spec_index *x, uint32_t j) {
    return chunk_at(x, j >> CHUNK_SHIFT)->base + (j & (CHUNK_SLOTS - 1)) + 1;
}

/* The class that holds the longest string ending at j. */
static inline uint32_t place_class(const spec_index *x, uint32_t j) {
    uint32_t up = slot_at(x, j)->up;
    return up & HELD ? up & ~HELD : j | SINGLE;
}

static inline uint32_t class_link(const spec_index *x, uint32_t ref) {
    return ref & SINGLE ? slot_at(x, ref & ~SINGLE)->up : state_at(x, ref)->link;
}

static inline uint32_t class_len(const spec_index *x, uint32_t ref) {
    return ref & SINGLE ? min_u32(x->depth, place_rank(x, ref & ~SINGLE)) : state_at(x, ref)->len;
}

static inline uint32_t class_count(const spec_index *x, uint32_t ref) {
    return ref & SINGLE ? 1 : state_at(x, ref)->count;
}

/* Walks up from a class that holds a string to the class that holds its suffix
 * of length l. */
static inline uint32_t class_shorten(const spec_index *x, uint32_t ref, uint32_t l) {
    while (ref != ROOT) {
        uint32_t link = class_link(x, ref);
        if (l > state_at(x, link)->len) break;
        ref = link;
    }
    return ref;
}

/* ---- pool.c ----------------------------------------------------------- */

void specp_pool_init(pool *p, uint32_t size, uint32_t shift);
void specp_pool_free(spec_index *x, pool *p);
/* Records left in the last segment, memory for them or not. */
uint32_t specp_pool_room(const pool *p);
/* Makes room for n consecutive records in one segment, so that the next
 * specp_pool_take(n) cannot fail. n is at most a segment, and the room of the
 * last segment is n or more, or nothing (take the rest first). */
int specp_pool_reserve(spec_index *x, pool *p, uint32_t n);
uint32_t specp_pool_take(pool *p, uint32_t n);

/* ---- blocks.c: room for edges ------------------------------------------ */

extern const uint8_t specp_block_cap[N_BLOCK_KINDS]; /* edges in a block, by kind; [0] is inline */
uint32_t specp_block_kind(uint32_t n);               /* the least kind for n edges, n <= HUB_FROM */

int specp_block_take(spec_index *x, uint32_t kind, uint32_t *out);
void specp_block_drop(spec_index *x, uint32_t id, uint32_t kind);
/* Can a block be had without memory from outside? */
bool specp_block_at_hand(const spec_index *x, uint32_t kind);

/* ---- edges.c ---------------------------------------------------------- */

edge *specp_hub_find(const hub *h, spec_token t);

/* All edges of a state, by decreasing count. */
static inline edge *state_edges(const spec_index *x, const state *s, uint32_t *n) {
    *n = s->n;
    if (s->kind == EDGES_INLINE) return (edge *)&s->e.one;
    if (SPECP_LIKELY(s->kind != EDGES_HUB)) return block_at(x, s->e.block);
    hub *h = hub_at(x, s->e.block);
    *n = h->n;
    return h->e;
}

static inline edge *edge_find(const spec_index *x, const state *s, spec_token t) {
    if (s->kind == EDGES_HUB) return specp_hub_find(hub_at(x, s->e.block), t);
    uint32_t n;
    edge *e = state_edges(x, s, &n);
    for (uint32_t i = 0; i < n; i++)
        if (e[i].token == t) return &e[i];
    return NULL;
}

/* Asks the memory for what a search for t will touch first. */
void specp_edges_prefetch(const spec_index *x, const state *s, spec_token t);
/* Makes room for one more edge: the next specp_edge_add cannot fail. */
int specp_edges_reserve(spec_index *x, state *s);
/* Adds an edge of count 1, the last in order. */
void specp_edge_add(spec_index *x, state *s, spec_token t, uint32_t to);
/* Adds or takes one from the edge's count and moves it in order; an edge that
 * falls to 0 is gone. */
void specp_edge_increment(spec_index *x, state *s, edge *e);
void specp_edge_decrement(spec_index *x, state *s, edge *e);
/* Gives `to`, which has none, a copy of from's edges; or the edges themselves. */
int specp_edges_copy(spec_index *x, state *to, const state *from);
void specp_edges_move(state *to, state *from);
void specp_edges_free(spec_index *x, state *s);

/* ---- append.c, truncate.c, index.c, evict.c, stats.c ---------------- */

/* The state record may move no more after this: the next take cannot fail. */
int specp_state_reserve(spec_index *x);
uint32_t specp_state_take(spec_index *x);
void specp_state_free(spec_index *x, uint32_t id);

/* NULL: no such sequence. */
sequence *specp_seq_find(const spec_index *x, spec_seq id);
static inline spec_seq seq_id(const spec_index *x, uint32_t i) {
    return (spec_seq)seq_at(x, i)->serial << 32 | i;
}
void specp_seq_drop(spec_index *x, uint32_t i); /* an empty sequence's slot */

int specp_append_token(spec_index *x, uint32_t seq, spec_token t);
void specp_truncate_token(spec_index *x, uint32_t seq);

/* Would that many more bytes pass the memory limit? Then reserving fails with
 * OVER_LIMIT, which stays inside: the caller evicts and tries again. */
bool specp_over_limit(const spec_index *x, size_t more);
bool specp_over_limit_for_hubs(const spec_index *x, size_t more);
/* Takes some tokens from the next victim; false when there is none but keep. */
bool specp_evict_slice(spec_index *x, uint32_t keep);
int specp_heap_reserve(spec_index *x);
void specp_heap_add(spec_index *x, uint32_t seq);
void specp_heap_remove(spec_index *x, uint32_t seq);
void specp_seq_use(const spec_index *x, uint32_t seq);

uint64_t specp_bytes_used(const spec_index *x);
void specp_unmap(spec_index *x);

/* An index without its root and pools: for new and load. */
spec_index *specp_index_shell(const spec_allocator *user, uint32_t depth);

/* One step of matching statistics: *ref holds the longest matching suffix, of
 * length *len; afterwards the longest one that ends with t. */
void specp_match_step(const spec_index *x, uint32_t *ref, uint32_t *len, spec_token t);

#endif

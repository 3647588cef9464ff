/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - the file of a saved index, shared by snapshot_save.c and
 * snapshot_load.c. Private to suffix_tree/. docs/FORMATS.md describes the same
 * for readers of the format.
 *
 *   byte 0      page: header, section table, zeros          4096 bytes
 *   byte 4096   section text                                 each begins at a
 *               section chunks                               multiple of 4096;
 *               ...                                          zeros between them
 *
 * A section is a pool's records in order of their ids, so that the segments of
 * a pool can lie in the mapped file. Hubs are the exception: their records hold
 * sizes only, and the arrays follow one another in a section of their own. The
 * attachment, bytes of the caller's, is not mapped but read.
 *
 * Every byte of the file is under a checksum: that of the page, or that of the
 * section, which takes in the zeros behind it. The page's is always verified,
 * so what it says can be relied on, crafted files excepted; what the sections
 * say is verified unless the caller trusts the file; the attachment always is.
 */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "index_internal.h"

#define SNAP_MAGIC_BYTES 8
#define SNAP_MAGIC       "\x89specix\n" /* not ASCII, and no 7-bit or newline conversion keeps it */
#define SNAP_ORDER       0x01020304u
#define SNAP_VERSION     1u
#define SNAP_PAGE        4096u
/* A unit of reading and writing that holds a whole number of every record. */
#define SNAP_BUFFER (60u * SNAP_PAGE)

/* The attachment comes last, and only where there is one. */
enum {
    SNAP_TEXT,
    SNAP_CHUNKS,
    SNAP_STATES,
    SNAP_EDGES,
    SNAP_SEQS,
    SNAP_HUBS,
    SNAP_ARRAYS,
    SNAP_ATTACHED,
    SNAP_SECTIONS
};

typedef struct snap_section {
    uint32_t kind;       /* SNAP_TEXT.., in this order */
    uint32_t record;     /* bytes a record */
    uint32_t used, live; /* records, as in the pool; 0 where there is no pool: arrays, attachment */
    uint64_t offset;     /* in the file */
    uint64_t bytes;      /* without the zeros behind */
    uint64_t sum;        /* of the bytes and the zeros behind */
} snap_section;

/* A hub in the file. Its edges (cap of them) and its hash (slots words) follow
 * those of the hub before it. */
typedef struct snap_hub {
    uint32_t n; /* of a free hub: the next free one */
    uint32_t cap, slots;
} snap_hub;

typedef struct snap_header {
    char magic[SNAP_MAGIC_BYTES];
    uint32_t order; /* SNAP_ORDER in the byte order of the machine that wrote it */
    uint32_t version;
    uint64_t file_bytes;
    uint64_t sum; /* of the page with 0 in this place */
    uint32_t n_sections;
    uint32_t chunk_slots, edge_segment; /* what ids of places and blocks rest on */
    uint32_t depth;
    uint64_t tokenizer_id;
    uint64_t n_edges, n_loose, n_singles;
    uint64_t tokens_total, evicted, evicted_tokens;
    uint64_t clock;
    uint32_t free_chunk, free_state, free_hub, free_seq;
    uint32_t free_run[N_FREE_RUNS];
    uint32_t oldest, newest;
    uint32_t next_serial;
    uint32_t chain_max;
    snap_section section[SNAP_SECTIONS];
} snap_header;

/* The bytes first: an initialiser then clears them all. */
typedef union snap_page {
    uint8_t bytes[SNAP_PAGE];
    snap_header h;
} snap_page;

/* A change of these is another version of the format. */
_Static_assert(sizeof(slot) == 8 && sizeof(chunk) == 20 && sizeof(state) == 32, "records of the snapshot");
_Static_assert(sizeof(edge) == 12 && sizeof(sequence) == 48 && sizeof(snap_hub) == 12, "records too");
_Static_assert(sizeof(snap_section) == 40 && sizeof(snap_header) == 600, "no padding in the header");
_Static_assert(sizeof(snap_page) == SNAP_PAGE, "the header fits its page");
_Static_assert(SNAP_BUFFER % 240 == 0, "240 is a multiple of every record's size");

/* What the file of this build has as section `kind`. */
typedef struct snap_kind_info {
    const char *name;
    uint32_t record;
    uint32_t shift; /* of the pool's segments */
} snap_kind_info;

extern const snap_kind_info specp_snap_kinds[SNAP_SECTIONS];

static inline uint64_t snap_padded(uint64_t bytes) { return (bytes + SNAP_PAGE - 1) / SNAP_PAGE * SNAP_PAGE; }

/*
 * The checksum: eight lanes, lane k takes the 64-bit words k, k + 8, ...; the
 * lanes are folded at the end. Each step is a bijection of the lane and of the
 * word, so that a change confined to one word always shows; any other escapes
 * with a chance of 2^-64. It guards against accidents, not against forgery.
 */
#define SNAP_LANES 8
typedef struct snap_sum {
    uint64_t lane[SNAP_LANES];
    uint64_t bytes;
} snap_sum;

snap_sum specp_snap_sum_begin(void);
void specp_snap_sum_add(snap_sum *s, const void *data, size_t bytes); /* a multiple of 64 */
uint64_t specp_snap_sum_end(const snap_sum *s);
uint64_t specp_snap_page_sum(const snap_page *p);

/* A path as messages show it: the end of a long one, so that room is left for
 * the reason. */
const char *specp_snap_shown(const char *path);

/* Writes "PATH: DOING: the text of the error" into *why; SPEC_ERR_IO, with errno = error. */
int specp_snap_io_error(spec_message *why, const char *path, const char *doing, int error);

#endif

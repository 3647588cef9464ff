/* SPDX-License-Identifier: MIT */
/*
 * snapshot_load.c - maps a saved index, and refuses what is not one.
 *
 *   1  open: a regular file, as long as its page says
 *   2  the page: magic, byte order, version, its checksum, then each number in
 *      it against every limit that the index relies on
 *   3  the sections' checksums; of a file that the caller trusts, that of the
 *      attachment alone
 *   4  map it, point the pools' segments into the mapping, rebuild on the heap
 *      what holds pointers (hubs) or depends on the options (LRU heap), and
 *      read the attachment to where compaction, which unmaps, leaves it alone
 *
 *   pool.seg ->  [0] [1] [2]         the last may be short: pool.c copies it
 *                 |   |   |          when the pool first grows
 *   file      ...|---|---|--|000|... next section
 *
 * After step 4 every array is as long as the numbers say. What the records say
 * is as good as their checksums: spec_index_check looks deeper.
 *
 * The file is verified by reading, not through the mapping: then a bad disk is
 * an error with a message, not a signal.
 */
#define _DEFAULT_SOURCE /* MAP_NORESERVE */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot.h"

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

const snap_kind_info specp_snap_kinds[SNAP_SECTIONS] = {
    [SNAP_TEXT] = {"text", sizeof(slot), TEXT_SHIFT},
    [SNAP_CHUNKS] = {"chunks", sizeof(chunk), CHUNKS_SHIFT},
    [SNAP_STATES] = {"states", sizeof(state), STATE_SHIFT},
    [SNAP_EDGES] = {"edges", sizeof(edge), EDGE_SHIFT},
    [SNAP_SEQS] = {"sequences", sizeof(sequence), SEQ_SHIFT},
    [SNAP_HUBS] = {"hubs", sizeof(snap_hub), HUBS_SHIFT},
    [SNAP_ARRAYS] = {"arrays of hubs", 1, 0},
    [SNAP_ATTACHED] = {"attachment", 1, 0},
};

#define MAX_SHOWN 300 /* bytes of a path in a message, which has room for 511 */

typedef struct loader {
    const char *path, *shown; /* shown: in messages */
    spec_message *why;
    spec_index_load_options options;
    int fd;
    uint64_t file_bytes;
    snap_page page;
    spec_index *x; /* being built; owns the mapping */
} loader;

#define CORRUPT(l, ...) specp_fail((l)->why, SPEC_ERR_CORRUPT, __VA_ARGS__)

/* ---- checksums ---------------------------------------------------------- */

static inline uint64_t rotate(uint64_t v, unsigned n) { return v << n | v >> (64 - n); }

#define SUM_FACTOR 0x9e3779b97f4a7c15u /* odd: multiplication is a bijection */

snap_sum specp_snap_sum_begin(void) {
    snap_sum s = {.bytes = 0};
    for (unsigned k = 0; k < SNAP_LANES; k++) s.lane[k] = specp_mix64(k);
    return s;
}

static inline uint64_t sum_step(uint64_t lane, const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return rotate((lane ^ word) * SUM_FACTOR, 29);
}

/* Written out, since the compiler keeps an array of lanes in memory at -O2:
 * four times slower. */
void specp_snap_sum_add(snap_sum *s, const void *data, size_t bytes) {
    const uint8_t *at = data, *end = at + bytes;
    uint64_t a = s->lane[0], b = s->lane[1], c = s->lane[2], d = s->lane[3];
    uint64_t e = s->lane[4], f = s->lane[5], g = s->lane[6], h = s->lane[7];
    for (; at < end; at += SNAP_LANES * sizeof a) {
        a = sum_step(a, at);
        b = sum_step(b, at + 8);
        c = sum_step(c, at + 16);
        d = sum_step(d, at + 24);
        e = sum_step(e, at + 32);
        f = sum_step(f, at + 40);
        g = sum_step(g, at + 48);
        h = sum_step(h, at + 56);
    }
    *s = (snap_sum){.lane = {a, b, c, d, e, f, g, h}, .bytes = s->bytes + bytes};
}

uint64_t specp_snap_sum_end(const snap_sum *s) {
    uint64_t h = s->bytes;
    for (unsigned k = 0; k < SNAP_LANES; k++) h = specp_mix64(h ^ s->lane[k]);
    return h;
}

uint64_t specp_snap_page_sum(const snap_page *p) {
    snap_page blank = *p;
    blank.h.sum = 0;
    snap_sum s = specp_snap_sum_begin();
    specp_snap_sum_add(&s, blank.bytes, sizeof blank);
    return specp_snap_sum_end(&s);
}

/* ---- 1: the file -------------------------------------------------------- */

const char *specp_snap_shown(const char *path) {
    size_t n = strlen(path);
    if (n <= MAX_SHOWN) return path;
    path += n - MAX_SHOWN;
    while (((unsigned char)*path & 0xc0) == 0x80) path++; /* not from the middle of a UTF-8 character */
    return path;
}

int specp_snap_io_error(spec_message *why, const char *path, const char *doing, int error) {
    char text[128] = "";
    if (strerror_r(error, text, sizeof text)) snprintf(text, sizeof text, "error %d", error);
    specp_fail(why, SPEC_ERR_IO, "%s: %s: %s", path, doing, text);
    errno = error;
    return SPEC_ERR_IO;
}

/* Does not wait for the other end of a pipe. */
static int open_file(loader *l) {
    struct stat st;
    l->fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (l->fd < 0 && errno == ENOENT)
        return specp_fail(l->why, SPEC_ERR_NOT_FOUND, "%s: there is no such file", l->shown);
    if (l->fd < 0) return specp_snap_io_error(l->why, l->shown, "opening", errno);
    if (fstat(l->fd, &st)) return specp_snap_io_error(l->why, l->shown, "looking at it", errno);
    errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL; /* for the two errors that are ours */
    if (S_ISDIR(st.st_mode))
        return specp_fail(l->why, SPEC_ERR_IO, "%s: is a directory, expected a snapshot of an index",
                          l->shown);
    if (!S_ISREG(st.st_mode))
        return specp_fail(l->why, SPEC_ERR_IO, "%s: is not a regular file, expected a snapshot of an index",
                          l->shown);
    l->file_bytes = (uint64_t)st.st_size;
    if (l->file_bytes == 0) return CORRUPT(l, "%s: is empty, expected a snapshot of an index", l->shown);
    return SPEC_OK;
}

/* Reads exactly n bytes. */
static int read_at(const loader *l, void *to, size_t n, uint64_t at) {
    uint8_t *out = to;
    while (n) {
        ssize_t got = pread(l->fd, out, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return specp_snap_io_error(l->why, l->shown, "reading", errno);
        if (got == 0) return CORRUPT(l, "%s: ends at byte %" PRIu64 " while being read", l->shown, at);
        out += got;
        n -= (size_t)got;
        at += (uint64_t)got;
    }
    return SPEC_OK;
}

/* ---- 2: the page -------------------------------------------------------- */

static int read_page(loader *l) {
    const snap_header *h = &l->page.h;
    size_t there = l->file_bytes < SNAP_PAGE ? (size_t)l->file_bytes : SNAP_PAGE;
    int err = read_at(l, l->page.bytes, there, 0);
    if (err) return err;
    if (memcmp(h->magic, SNAP_MAGIC, there < SNAP_MAGIC_BYTES ? there : SNAP_MAGIC_BYTES) != 0)
        return CORRUPT(l, "%s: is not a snapshot of an index (its first bytes are others)", l->shown);
    if (there < SNAP_PAGE)
        return CORRUPT(l, "%s: is cut short: %" PRIu64 " bytes, the header alone has %u", l->shown,
                       l->file_bytes, SNAP_PAGE);
    if (h->order == 0x04030201u)
        return specp_fail(l->why, SPEC_ERR_VERSION, "%s: was written in the other byte order", l->shown);
    if (h->order != SNAP_ORDER)
        return CORRUPT(l, "%s: its header is damaged: byte-order mark %08" PRIx32 ", expected %08x", l->shown,
                       h->order, SNAP_ORDER);
    if (h->version != SNAP_VERSION)
        return specp_fail(l->why, SPEC_ERR_VERSION, "%s: has format version %" PRIu32 ", expected %u",
                          l->shown, h->version, SNAP_VERSION);
    if (h->sum != specp_snap_page_sum(&l->page))
        return CORRUPT(l, "%s: its header or section table is damaged: the checksum differs", l->shown);
    if (h->file_bytes != l->file_bytes)
        return CORRUPT(l, "%s: %s: %" PRIu64 " bytes, expected %" PRIu64, l->shown,
                       l->file_bytes < h->file_bytes ? "is cut short" : "has more behind its end",
                       l->file_bytes, h->file_bytes);
    return SPEC_OK;
}

/* What this build's ids and records rest on. */
static int check_layout(loader *l) {
    const snap_header *h = &l->page.h;
    if ((h->n_sections != SNAP_ATTACHED && h->n_sections != SNAP_SECTIONS) || h->chunk_slots != CHUNK_SLOTS ||
        h->edge_segment != 1u << EDGE_SHIFT)
        return specp_fail(l->why, SPEC_ERR_VERSION,
                          "%s: %" PRIu32 " sections, chunks of %" PRIu32 ", segments of %" PRIu32
                          "; expected %d or %d, %u, %u",
                          l->shown, h->n_sections, h->chunk_slots, h->edge_segment, SNAP_ATTACHED,
                          SNAP_SECTIONS, CHUNK_SLOTS, 1u << EDGE_SHIFT);
    for (uint32_t k = 0; k < h->n_sections; k++)
        if (h->section[k].kind != k || h->section[k].record != specp_snap_kinds[k].record)
            return specp_fail(l->why, SPEC_ERR_VERSION,
                              "%s: section %" PRIu32 " is of kind %" PRIu32 " with records of %" PRIu32
                              " bytes; expected %s of %" PRIu32,
                              l->shown, k, h->section[k].kind, h->section[k].record, specp_snap_kinds[k].name,
                              specp_snap_kinds[k].record);
    return SPEC_OK;
}

/* Each section where the one before ends, and the file's end after the last. */
static int check_sections(loader *l) {
    const snap_header *h = &l->page.h;
    uint64_t at = SNAP_PAGE;
    for (uint32_t k = 0; k < h->n_sections; k++) {
        const snap_section *t = &h->section[k];
        const char *name = specp_snap_kinds[k].name;
        uint64_t segment = 1ull << specp_snap_kinds[k].shift;
        if ((t->used + segment - 1) / segment * segment > MAX_PLACES || t->live > t->used)
            return CORRUPT(l, "%s: section %s: %" PRIu32 " live of %" PRIu32 " records, out of range",
                           l->shown, name, t->live, t->used);
        if (t->offset != at || t->bytes > l->file_bytes - at || snap_padded(t->bytes) > l->file_bytes - at)
            return CORRUPT(l,
                           "%s: section %s: %" PRIu64 " bytes at %" PRIu64 "; expected at %" PRIu64
                           ", within %" PRIu64,
                           l->shown, name, t->bytes, t->offset, at, l->file_bytes);
        if (k == SNAP_ATTACHED && (t->bytes == 0 || t->bytes > SPEC_INDEX_MAX_ATTACHMENT))
            return CORRUPT(l, "%s: section %s: %" PRIu64 " bytes, expected 1 to %u", l->shown, name, t->bytes,
                           SPEC_INDEX_MAX_ATTACHMENT);
        if (k < SNAP_ARRAYS && t->bytes != (uint64_t)t->used * t->record)
            return CORRUPT(l, "%s: section %s: %" PRIu64 " bytes are not %" PRIu32 " records", l->shown, name,
                           t->bytes, t->used);
        at += snap_padded(t->bytes);
    }
    if (at != l->file_bytes)
        return CORRUPT(l, "%s: the sections end at %" PRIu64 ", the file at %" PRIu64, l->shown, at,
                       l->file_bytes);
    return SPEC_OK;
}

static bool valid_head(const snap_header *h, uint32_t id, uint32_t kind) {
    return id == NONE || id < h->section[kind].used;
}

static bool valid_heads(const snap_header *h) {
    for (size_t i = 0; i < N_FREE_RUNS; i++)
        if (!valid_head(h, h->free_run[i], SNAP_EDGES)) return false;
    return valid_head(h, h->free_chunk, SNAP_CHUNKS) && valid_head(h, h->free_state, SNAP_STATES) &&
           valid_head(h, h->free_hub, SNAP_HUBS) && valid_head(h, h->free_seq, SNAP_SEQS) &&
           valid_head(h, h->oldest, SNAP_SEQS) && valid_head(h, h->newest, SNAP_SEQS);
}

static int check_numbers(loader *l) {
    const snap_header *h = &l->page.h;
    const snap_section *t = h->section;
    if (h->depth < SPEC_INDEX_MIN_DEPTH || h->depth > SPEC_INDEX_MAX_DEPTH)
        return CORRUPT(l, "%s: depth %" PRIu32 ", expected %d to %d", l->shown, h->depth,
                       SPEC_INDEX_MIN_DEPTH, SPEC_INDEX_MAX_DEPTH);
    if (t[SNAP_STATES].used == 0) return CORRUPT(l, "%s: there is no root state", l->shown);
    if (t[SNAP_TEXT].used != (uint64_t)t[SNAP_CHUNKS].used * CHUNK_SLOTS)
        return CORRUPT(l, "%s: %" PRIu32 " slots of text in %" PRIu32 " chunks of %u", l->shown,
                       t[SNAP_TEXT].used, t[SNAP_CHUNKS].used, CHUNK_SLOTS);
    if (!valid_heads(h)) return CORRUPT(l, "%s: a list begins with an id out of range", l->shown);
    if (h->next_serial == 0 || h->n_loose > t[SNAP_STATES].used || h->n_singles > t[SNAP_TEXT].used ||
        h->tokens_total > UINT64_MAX / 2 || h->clock > UINT64_MAX / 2)
        return CORRUPT(l, "%s: a total in the header is out of range", l->shown);
    if (l->options.tokenizer_id && h->tokenizer_id != l->options.tokenizer_id)
        return specp_fail(l->why, SPEC_ERR_INVALID,
                          "%s: made with tokenizer %016" PRIx64 ", expected %016" PRIx64, l->shown,
                          h->tokenizer_id, l->options.tokenizer_id);
    if (l->options.snapshot_id && h->sum != l->options.snapshot_id)
        return specp_fail(l->why, SPEC_ERR_INVALID, "%s: snapshot %016" PRIx64 ", expected %016" PRIx64,
                          l->shown, h->sum, l->options.snapshot_id);
    return SPEC_OK;
}

/* ---- 3: the data's checksums -------------------------------------------- */

static int verify_section(const loader *l, uint32_t kind, uint8_t *buffer) {
    const snap_section *t = &l->page.h.section[kind];
    snap_sum sum = specp_snap_sum_begin();
    for (uint64_t at = 0, end = snap_padded(t->bytes); at < end; at += SNAP_BUFFER) {
        size_t n = end - at < SNAP_BUFFER ? (size_t)(end - at) : SNAP_BUFFER;
        int err = read_at(l, buffer, n, t->offset + at);
        if (err) return err;
        specp_snap_sum_add(&sum, buffer, n);
    }
    if (specp_snap_sum_end(&sum) != t->sum)
        return CORRUPT(l, "%s: section %s is damaged: the checksum differs", l->shown,
                       specp_snap_kinds[kind].name);
    return SPEC_OK;
}

static int verify_data(const loader *l) {
    const spec_allocator *a = &l->options.alloc;
    uint32_t first = l->options.trust ? SNAP_ATTACHED : 0;
    if (first == l->page.h.n_sections) return SPEC_OK;
    uint8_t *buffer = specp_alloc(a, SNAP_BUFFER, 1);
    if (!buffer) return specp_fail(l->why, SPEC_ERR_NOMEM, "%s: no memory to verify it", l->shown);
    int err = SPEC_OK;
    for (uint32_t k = first; !err && k < l->page.h.n_sections; k++) err = verify_section(l, k, buffer);
    specp_release(a, buffer, SNAP_BUFFER, 1);
    return err;
}

/* ---- 4: the index ------------------------------------------------------- */

static int no_memory(const loader *l) {
    return specp_fail(l->why, SPEC_ERR_NOMEM, "%s: no memory to load it", l->shown);
}

static bool has_attachment(const loader *l) { return l->page.h.n_sections > SNAP_ATTACHED; }

static int map_file(const loader *l) {
    spec_index *x = l->x;
    uint64_t bytes = has_attachment(l) ? l->page.h.section[SNAP_ATTACHED].offset : l->file_bytes;
    if (bytes > SIZE_MAX) return no_memory(l);
    void *map = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, l->fd, 0);
    if (map == MAP_FAILED) return specp_snap_io_error(l->why, l->shown, "mapping", errno);
    x->map = map;
    x->map_bytes = (size_t)bytes;
    return SPEC_OK;
}

void specp_unmap(spec_index *x) {
    if (x->map) munmap(x->map, x->map_bytes);
    x->map = NULL;
    x->map_bytes = 0;
}

/* The start of a section in the mapping. */
static uint8_t *section_data(const loader *l, uint32_t kind) {
    return (uint8_t *)l->x->map + l->page.h.section[kind].offset;
}

/* An empty pool whose segments lie in the mapping. */
static int map_pool(const loader *l, uint32_t kind, pool *p) {
    const snap_section *t = &l->page.h.section[kind];
    uint32_t n = (uint32_t)((t->used + (1ull << p->shift) - 1) >> p->shift);
    if (n == 0) return SPEC_OK;
    p->seg = specp_alloc(&l->x->alloc, n, sizeof *p->seg);
    if (!p->seg) return no_memory(l);
    p->n_seg = p->cap_seg = n;
    for (uint32_t i = 0; i < n; i++) p->seg[i] = section_data(l, kind) + ((size_t)i << p->shift) * p->size;
    p->used = p->cap = p->mapped = t->used;
    p->live = t->live;
    return SPEC_OK;
}

/* A hub record of the file as one of the index; *at: the bytes of arrays that
 * hubs before it took. */
static int map_hub(const loader *l, uint32_t id, const snap_hub *from, uint64_t *at, hub *to) {
    uint64_t edges = (uint64_t)from->cap * sizeof(edge), hash = (uint64_t)from->slots * sizeof(uint32_t);
    uint64_t left = l->page.h.section[SNAP_ARRAYS].bytes - *at;
    *to = (hub){.n = from->n};
    if (from->cap == 0 && from->slots == 0 && valid_head(&l->page.h, from->n, SNAP_HUBS)) return SPEC_OK;
    if (from->cap == 0 || from->n > from->cap || !hub_hash_fits(from->slots, from->cap) ||
        edges + hash > left)
        return CORRUPT(l,
                       "%s: hub %" PRIu32 ": %" PRIu32 " edges, room for %" PRIu32 ", a hash of %" PRIu32
                       " slots: out of range",
                       l->shown, id, from->n, from->cap, from->slots);
    uint8_t *arrays = section_data(l, SNAP_ARRAYS) + *at;
    to->e = (edge *)arrays;
    to->slot = (uint32_t *)(arrays + edges);
    to->cap = from->cap;
    to->slots = from->slots;
    to->mapped = true;
    *at += edges + hash;
    return SPEC_OK;
}

static int load_hubs(const loader *l) {
    spec_index *x = l->x;
    const snap_section *t = &l->page.h.section[SNAP_HUBS];
    const snap_hub *records = (const snap_hub *)section_data(l, SNAP_HUBS);
    uint64_t at = 0;
    for (uint32_t i = 0; i < t->used; i++) {
        if (specp_pool_reserve(x, &x->hubs, 1)) return no_memory(l);
        snap_hub from = records[i];
        hub to;
        int err = map_hub(l, i, &from, &at, &to);
        if (err) return err;
        *hub_at(x, specp_pool_take(&x->hubs, 1)) = to;
    }
    x->hubs.live = t->live;
    x->hub_bytes = at;
    if (at != l->page.h.section[SNAP_ARRAYS].bytes)
        return CORRUPT(l, "%s: arrays of hubs: %" PRIu64 " bytes, hubs claim %" PRIu64, l->shown,
                       l->page.h.section[SNAP_ARRAYS].bytes, at);
    return SPEC_OK;
}

static int wrong_live(const loader *l) {
    return CORRUPT(l, "%s: section sequences: not %" PRIu32 " are live", l->shown, l->x->seqs.live);
}

/* A heap of all sequences. Where the index that was saved kept no stamps, age
 * serves: serials grow with it. */
static int load_heap(const loader *l) {
    spec_index *x = l->x;
    if (x->evict != SPEC_EVICT_LRU || x->seqs.live == 0) return SPEC_OK;
    x->heap = specp_alloc(&x->alloc, x->seqs.live, sizeof *x->heap);
    if (!x->heap) return no_memory(l);
    x->cap_heap = x->seqs.live;
    bool stamped = l->page.h.clock != 0;
    uint64_t clock = stamped ? l->page.h.clock : x->next_serial;
    for (uint32_t i = 0; i < x->seqs.used; i++) {
        sequence *s = seq_at(x, i);
        if (s->serial == 0) continue;
        if (x->n_heap == x->cap_heap) return wrong_live(l);
        if (!stamped) atomic_store_explicit(&s->stamp, s->serial, memory_order_relaxed);
        uint64_t stamp = atomic_load_explicit(&s->stamp, memory_order_relaxed);
        if (stamp > clock) clock = stamp;
        specp_heap_add(x, i);
    }
    atomic_store(&x->clock, clock);
    return x->n_heap == x->seqs.live ? SPEC_OK : wrong_live(l);
}

static int load_attachment(const loader *l) {
    spec_index *x = l->x;
    const snap_section *t = &l->page.h.section[SNAP_ATTACHED];
    if (!has_attachment(l)) return SPEC_OK;
    x->attached = specp_alloc(&x->alloc, (size_t)t->bytes, 1);
    if (!x->attached) return no_memory(l);
    x->n_attached = (size_t)t->bytes;
    return read_at(l, x->attached, x->n_attached, t->offset);
}

static void take_numbers(spec_index *x, const snap_header *h) {
    x->tokenizer_id = h->tokenizer_id;
    x->snapshot_id = h->sum;
    x->free_chunk = h->free_chunk;
    x->free_state = h->free_state;
    x->free_hub = h->free_hub;
    x->free_seq = h->free_seq;
    memcpy(x->free_run, h->free_run, sizeof x->free_run);
    x->oldest = h->oldest;
    x->newest = h->newest;
    x->next_serial = h->next_serial;
    x->chain_max = h->chain_max;
    x->n_edges = h->n_edges;
    x->n_loose = h->n_loose;
    x->n_singles = h->n_singles;
    x->tokens_total = h->tokens_total;
    x->evicted = h->evicted;
    x->evicted_tokens = h->evicted_tokens;
    /* Without LRU no more stamps are given: 0 lets the next save say so, and age serve instead. */
    atomic_store(&x->clock, x->evict == SPEC_EVICT_LRU ? h->clock : 0);
}

static int build(loader *l) {
    l->x = specp_index_shell(&l->options.alloc, l->page.h.depth);
    if (!l->x) return no_memory(l);
    spec_index *x = l->x;
    x->evict = l->options.evict;
    take_numbers(x, &l->page.h);
    int err = map_file(l);
    if (!err) err = map_pool(l, SNAP_TEXT, &x->text);
    if (!err) err = map_pool(l, SNAP_CHUNKS, &x->chunks);
    if (!err) err = map_pool(l, SNAP_STATES, &x->states);
    if (!err) err = map_pool(l, SNAP_EDGES, &x->edges);
    if (!err) err = map_pool(l, SNAP_SEQS, &x->seqs);
    if (!err) err = load_hubs(l);
    if (!err) err = load_heap(l);
    if (!err) err = load_attachment(l);
    x->memory_limit = l->options.memory_limit; /* from here on: appends will evict, loading does not */
    return err;
}

static int load(loader *l) {
    int err = open_file(l);
    if (!err) err = read_page(l);
    if (!err) err = check_layout(l);
    if (!err) err = check_sections(l);
    if (!err) err = check_numbers(l);
    if (!err) err = verify_data(l);
    if (!err) err = build(l);
    return err;
}

int spec_index_load(spec_index **out, const char *path, const spec_index_load_options *options,
                    spec_message *why) {
    if (why) why->text[0] = '\0';
    if (!out || !path) return specp_fail(why, SPEC_ERR_INVALID, "no path, or no place for the index, given");
    loader l = {.path = path, .shown = specp_snap_shown(path), .why = why, .fd = -1};
    if (options && options->size != sizeof l.options)
        return specp_fail(why, SPEC_ERR_INVALID, "%s: load options of another size", l.shown);
    if (options) l.options = *options;
    if (l.options.evict != SPEC_EVICT_FIFO && l.options.evict != SPEC_EVICT_LRU)
        return specp_fail(why, SPEC_ERR_INVALID, "%s: unknown eviction policy %d", l.shown,
                          (int)l.options.evict);
    int err = load(&l), error = errno;
    if (l.fd >= 0) close(l.fd);
    if (err)
        spec_index_free(l.x);
    else
        *out = l.x;
    errno = error;
    return err;
}

const void *spec_index_attachment(const spec_index *x, size_t *n) {
    if (n) *n = x ? x->n_attached : 0;
    return x ? x->attached : NULL;
}

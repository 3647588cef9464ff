/* SPDX-License-Identifier: MIT */
/*
 * snapshot_save.c - writes an index to a file, in place of what was there.
 *
 *   1  PATH.PID-N.tmp is made beside PATH, and no one else's
 *   2  sections are written to it, and last the page in front of them
 *   3  it is synced, renamed to PATH, and the directory is synced
 *
 * A crash before the rename leaves PATH as it was, and perhaps the temporary
 * file; a crash after it leaves the new file, whole.
 *
 * The records go through a buffer, where what is not live is blanked: what the
 * file holds depends on the index alone, not on what its memory held before,
 * and of removed sequences nothing is left in it. Readers may be at work
 * meanwhile; of what is saved they change only clock and stamps, atomically.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot.h"

#define TEMP_ROOM     48 /* for ".PID-N.tmp" */
#define TEMP_ATTEMPTS 1000

typedef struct saver {
    const spec_index *x;
    const char *path, *shown; /* shown: in messages */
    spec_message *why;
    const void *attached; /* (n_attached) */
    size_t n_attached;
    int error;        /* errno of the failure, for the caller */
    char *names;      /* directory and temporary name, in one block */
    size_t name_room; /* bytes of it */
    const char *base; /* last part of path */
    const char *dir;
    char *temp; /* name of the temporary file; empty when there is none */
    int dir_fd, fd;
    uint8_t *buffer; /* (SNAP_BUFFER) */
    size_t buffered;
    uint64_t *live; /* bit set over edge records: edges, and the ends of free blocks */
    uint64_t at;    /* where the buffer will go in the file */
    snap_sum sum;   /* of the section */
    snap_page page;
} saver;

static int fail(saver *s, const char *doing) {
    s->error = errno;
    specp_snap_io_error(s->why, s->shown, doing, s->error);
    return SPEC_ERR_IO;
}

static int no_memory(saver *s) {
    specp_fail(s->why, SPEC_ERR_NOMEM, "%s: no memory to write it", s->shown);
    return SPEC_ERR_NOMEM;
}

/* ---- the file ----------------------------------------------------------- */

/* Splits the path, and opens its directory. */
static int open_directory(saver *s) {
    const char *slash = strrchr(s->path, '/');
    size_t dir = slash ? (size_t)(slash - s->path) + 1 : 0;
    s->base = s->path + dir;
    if (!*s->base) {
        specp_fail(s->why, SPEC_ERR_INVALID, "%s: names a directory", s->shown);
        return SPEC_ERR_INVALID;
    }
    s->name_room = dir + 2 + strlen(s->base) + TEMP_ROOM;
    s->names = specp_calloc(&s->x->user_alloc, s->name_room, 1);
    if (!s->names) return no_memory(s);
    if (dir)
        memcpy(s->names, s->path, dir);
    else
        s->names[0] = '.';
    s->dir = s->names;
    s->temp = s->names + dir + 2;
    s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return s->dir_fd < 0 ? fail(s, "opening its directory") : SPEC_OK;
}

/* The temporary file, with the permissions of the file that it will replace. */
static int open_temporary(saver *s) {
    struct stat old;
    bool replaces = fstatat(s->dir_fd, s->base, &old, 0) == 0;
    if (!replaces && errno != ENOENT) return fail(s, "looking at it");
    if (replaces && !S_ISREG(old.st_mode)) {
        s->error = S_ISDIR(old.st_mode) ? EISDIR : EINVAL;
        return specp_fail(s->why, SPEC_ERR_IO, "%s: is not a regular file, and is not replaced", s->shown);
    }
    for (unsigned n = 0; s->fd < 0; n++) {
        snprintf(s->temp, strlen(s->base) + TEMP_ROOM, "%s.%ld-%u.tmp", s->base, (long)getpid(), n);
        s->fd = openat(s->dir_fd, s->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, replaces ? 0600 : 0666);
        if (s->fd >= 0) break;
        s->error = errno;
        if (errno == EINTR || (errno == EEXIST && n < TEMP_ATTEMPTS)) continue;
        s->temp[0] = '\0'; /* not ours to remove */
        errno = s->error;
        return fail(s, "making a temporary file beside it");
    }
    if (replaces && fchmod(s->fd, old.st_mode & 0777)) return fail(s, "setting its permissions");
    return SPEC_OK;
}

static int write_at(saver *s, const uint8_t *data, size_t bytes, uint64_t at) {
    while (bytes) {
        ssize_t n = pwrite(s->fd, data, bytes, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = ENOSPC;
        if (n <= 0) return fail(s, "writing");
        data += n;
        bytes -= (size_t)n;
        at += (uint64_t)n;
    }
    return SPEC_OK;
}

/* Sums up and writes what the buffer holds, padded to whole pages. */
static int flush(saver *s) {
    size_t bytes = (size_t)snap_padded(s->buffered);
    memset(s->buffer + s->buffered, 0, bytes - s->buffered);
    specp_snap_sum_add(&s->sum, s->buffer, bytes);
    int err = write_at(s, s->buffer, bytes, s->at);
    s->at += bytes;
    s->buffered = 0;
    return err;
}

/* Syncs the temporary file and gives it its name. */
static int publish(saver *s) {
    if (fsync(s->fd)) return fail(s, "syncing");
    int closed = close(s->fd);
    s->fd = -1;
    if (closed && errno != EINTR) return fail(s, "closing");
    if (renameat(s->dir_fd, s->temp, s->dir_fd, s->base)) return fail(s, "renaming the new file");
    s->temp[0] = '\0';
    /* Not every file system can sync directories. */
    if (fsync(s->dir_fd) && errno != EINVAL) return fail(s, "is replaced, but syncing its directory failed");
    return SPEC_OK;
}

/* ---- records, without what is not live ---------------------------------- */

static void set_bit(uint64_t *bits, uint32_t i) { bits[i >> 6] |= 1ull << (i & 63); }
static bool has_bit(const uint64_t *bits, uint32_t i) { return bits[i >> 6] >> (i & 63) & 1; }

static int damaged(const saver *s, const char *what) {
    return specp_fail(s->why, SPEC_ERR_CORRUPT, "%s: not written, the index is damaged: %s", s->shown, what);
}

/* Edge records do not tell whether they are live: their owners do. */
static int mark_edges(saver *s) {
    const spec_index *x = s->x;
    uint32_t used = x->edges.used;
    for (uint32_t i = 0; i < x->states.used; i++) {
        const state *p = state_at(x, i);
        if (p->kind == EDGES_INLINE || p->kind == EDGES_HUB || (p->count == 0 && i != ROOT)) continue;
        if (p->e.block >= used || used - p->e.block < p->n) return damaged(s, "a block out of range");
        for (uint32_t k = 0; k < p->n; k++) set_bit(s->live, p->e.block + k);
    }
    for (uint32_t list = 1; list < N_FREE_RUNS; list++)
        for (uint32_t id = x->free_run[list]; id != NONE; id = block_at(x, id)->to) {
            if (id >= used || has_bit(s->live, id)) return damaged(s, "a list of free blocks");
            uint32_t size = 0u - (uint32_t)block_at(x, id)->token;
            if (size == 0 || size > used - id) return damaged(s, "a free block");
            set_bit(s->live, id); /* both carry its length */
            set_bit(s->live, id + size - 1);
        }
    return SPEC_OK;
}

static void fill_text(const saver *s, uint32_t first, uint32_t n, void *out) {
    slot *to = out;
    for (uint32_t k = 0; k < n; k++) {
        to[k] = *slot_at(s->x, first + k);
        if (to[k].up == NONE) to[k].token = 0;
    }
}

static void fill_chunks(const saver *s, uint32_t first, uint32_t n, void *out) {
    chunk *to = out;
    for (uint32_t k = 0; k < n; k++) {
        to[k] = *chunk_at(s->x, first + k);
        if (to[k].seq == NONE) to[k].prev = to[k].base = 0;
    }
}

static void fill_states(const saver *s, uint32_t first, uint32_t n, void *out) {
    state *to = out;
    for (uint32_t k = 0; k < n; k++) {
        const state *from = state_at(s->x, first + k);
        to[k] = *from;
        if (from->count == 0 && first + k != ROOT) to[k] = (state){.link = from->link, .gen = from->gen};
        if (from->kind != EDGES_INLINE || from->n == 0) to[k].e.one = (edge){0};
        if (to[k].kind != EDGES_INLINE) to[k].e.block = from->e.block;
    }
}

static void fill_edges(const saver *s, uint32_t first, uint32_t n, void *out) {
    edge *to = out;
    for (uint32_t k = 0; k < n; k++) {
        const edge *from = block_at(s->x, first + k);
        to[k] = has_bit(s->live, first + k) ? *from : (edge){0};
    }
}

/* Heap places and keys are made anew at load. */
static void fill_sequences(const saver *s, uint32_t first, uint32_t n, void *out) {
    sequence *to = out;
    memset(to, 0, n * sizeof *to);
    for (uint32_t k = 0; k < n; k++) {
        sequence *from = seq_at(s->x, first + k);
        to[k].newer = from->newer;
        if (from->serial == 0) continue;
        to[k].serial = from->serial;
        to[k].head = from->head;
        to[k].tail = from->tail;
        to[k].len = from->len;
        to[k].older = from->older;
        to[k].state = from->state;
        atomic_init(&to[k].stamp, atomic_load_explicit(&from->stamp, memory_order_relaxed));
    }
}

static void fill_hubs(const saver *s, uint32_t first, uint32_t n, void *out) {
    snap_hub *to = out;
    for (uint32_t k = 0; k < n; k++) {
        const hub *h = hub_at(s->x, first + k);
        to[k] = (snap_hub){.n = h->n, .cap = h->cap, .slots = h->slots};
    }
}

/* ---- sections ----------------------------------------------------------- */

static snap_section *begin_section(saver *s, uint32_t kind, const pool *p) {
    snap_section *t = &s->page.h.section[kind];
    t->kind = kind;
    t->record = specp_snap_kinds[kind].record;
    t->used = p ? p->used : 0;
    t->live = p ? p->live : 0;
    t->offset = s->at;
    t->bytes = (uint64_t)t->used * t->record;
    s->sum = specp_snap_sum_begin();
    return t;
}

static int write_records(saver *s, uint32_t kind, const pool *p,
                         void (*fill)(const saver *s, uint32_t first, uint32_t n, void *out)) {
    snap_section *t = begin_section(s, kind, p);
    uint32_t batch = SNAP_BUFFER / t->record;
    for (uint32_t first = 0; first < p->used; first += batch) {
        uint32_t n = min_u32(batch, p->used - first);
        fill(s, first, n, s->buffer);
        s->buffered = (size_t)n * t->record;
        int err = flush(s);
        if (err) return err;
    }
    t->sum = specp_snap_sum_end(&s->sum);
    return SPEC_OK;
}

/* Appends n bytes to the section; from NULL: zeros. */
static int put(saver *s, const void *from, size_t n) {
    const uint8_t *data = from;
    while (n) {
        size_t part = SNAP_BUFFER - s->buffered;
        if (part > n) part = n;
        if (data) {
            memcpy(s->buffer + s->buffered, data, part);
            data += part;
        } else {
            memset(s->buffer + s->buffered, 0, part);
        }
        n -= part;
        s->buffered += part;
        int err = s->buffered == SNAP_BUFFER ? flush(s) : SPEC_OK;
        if (err) return err;
    }
    return SPEC_OK;
}

/* Edges and hash of every hub, one after the other. */
static int write_arrays(saver *s) {
    const spec_index *x = s->x;
    snap_section *t = begin_section(s, SNAP_ARRAYS, NULL);
    for (uint32_t i = 0; i < x->hubs.used; i++) {
        const hub *h = hub_at(x, i);
        if (h->cap == 0) continue;
        int err = put(s, h->e, h->n * sizeof *h->e);
        if (!err) err = put(s, NULL, (size_t)(h->cap - h->n) * sizeof *h->e);
        if (!err) err = put(s, h->slot, h->slots * sizeof *h->slot);
        if (err) return err;
        t->bytes += (uint64_t)h->cap * sizeof *h->e + (uint64_t)h->slots * sizeof *h->slot;
    }
    int err = flush(s);
    t->sum = specp_snap_sum_end(&s->sum);
    return err;
}

/* Where there is none, its entry in the section table stays 0. */
static int write_attachment(saver *s) {
    if (s->n_attached == 0) return SPEC_OK;
    snap_section *t = begin_section(s, SNAP_ATTACHED, NULL);
    t->bytes = s->n_attached;
    int err = put(s, s->attached, s->n_attached);
    if (!err) err = flush(s);
    t->sum = specp_snap_sum_end(&s->sum);
    return err;
}

/* Everything but the section table. Clock: read after the stamps. */
static void fill_header(saver *s) {
    const spec_index *x = s->x;
    snap_header *h = &s->page.h;
    memcpy(h->magic, SNAP_MAGIC, SNAP_MAGIC_BYTES);
    h->order = SNAP_ORDER;
    h->version = SNAP_VERSION;
    h->file_bytes = s->at;
    h->n_sections = s->n_attached ? SNAP_SECTIONS : SNAP_ATTACHED;
    h->chunk_slots = CHUNK_SLOTS;
    h->edge_segment = 1u << EDGE_SHIFT;
    h->depth = x->depth;
    h->tokenizer_id = x->tokenizer_id;
    h->n_edges = x->n_edges;
    h->n_loose = x->n_loose;
    h->n_singles = x->n_singles;
    h->tokens_total = x->tokens_total;
    h->evicted = x->evicted;
    h->evicted_tokens = x->evicted_tokens;
    h->clock = atomic_load(&((spec_index *)x)->clock);
    h->free_chunk = x->free_chunk;
    h->free_state = x->free_state;
    h->free_hub = x->free_hub;
    h->free_seq = x->free_seq;
    memcpy(h->free_run, x->free_run, sizeof h->free_run);
    h->oldest = x->oldest;
    h->newest = x->newest;
    h->next_serial = x->next_serial;
    h->chain_max = x->chain_max;
    h->sum = specp_snap_page_sum(&s->page);
}

static int write_file(saver *s) {
    const spec_index *x = s->x;
    s->at = SNAP_PAGE;
    int err = mark_edges(s);
    if (!err) err = write_records(s, SNAP_TEXT, &x->text, fill_text);
    if (!err) err = write_records(s, SNAP_CHUNKS, &x->chunks, fill_chunks);
    if (!err) err = write_records(s, SNAP_STATES, &x->states, fill_states);
    if (!err) err = write_records(s, SNAP_EDGES, &x->edges, fill_edges);
    if (!err) err = write_records(s, SNAP_SEQS, &x->seqs, fill_sequences);
    if (!err) err = write_records(s, SNAP_HUBS, &x->hubs, fill_hubs);
    if (!err) err = write_arrays(s);
    if (!err) err = write_attachment(s);
    if (err) return err;
    fill_header(s);
    return write_at(s, s->page.bytes, sizeof s->page, 0);
}

/* ---- all of it ---------------------------------------------------------- */

static size_t edge_words(const spec_index *x) { return (size_t)x->edges.used / 64 + 1; }

static int take_memory(saver *s) {
    const spec_allocator *a = &s->x->user_alloc;
    s->buffer = specp_alloc(a, SNAP_BUFFER, 1);
    s->live = specp_calloc(a, edge_words(s->x), sizeof *s->live);
    if (!s->buffer || !s->live) return no_memory(s);
    return SPEC_OK;
}

/* Removes the temporary file where one is left, and gives everything back. */
static void finish(saver *s) {
    const spec_allocator *a = &s->x->user_alloc;
    if (s->fd >= 0) close(s->fd);
    if (s->temp && s->temp[0]) unlinkat(s->dir_fd, s->temp, 0);
    if (s->dir_fd >= 0) close(s->dir_fd);
    specp_release(a, s->names, s->name_room, 1);
    specp_release(a, s->buffer, SNAP_BUFFER, 1);
    specp_release(a, s->live, edge_words(s->x), sizeof *s->live);
    if (s->error) errno = s->error;
}

int spec_index_save_with(const spec_index *x, const char *path, const void *data, size_t n,
                         spec_message *why) {
    if (why) why->text[0] = '\0';
    if (!x || !path) return specp_fail(why, SPEC_ERR_INVALID, "no index or no path given");
    saver s = {.x = x, .path = path, .shown = specp_snap_shown(path), .why = why, .dir_fd = -1, .fd = -1};
    if (n && !data) return specp_fail(why, SPEC_ERR_INVALID, "%s: no bytes to attach given", s.shown);
    if (n > SPEC_INDEX_MAX_ATTACHMENT)
        return specp_fail(why, SPEC_ERR_INVALID, "%s: an attachment of %zu bytes, expected at most %u",
                          s.shown, n, SPEC_INDEX_MAX_ATTACHMENT);
    s.attached = data;
    s.n_attached = n;
    int err = take_memory(&s);
    if (!err) err = open_directory(&s);
    if (!err) err = open_temporary(&s);
    if (!err) err = write_file(&s);
    if (!err) err = publish(&s);
    finish(&s);
    return err;
}

int spec_index_save(const spec_index *x, const char *path, spec_message *why) {
    size_t n;
    const void *attached = spec_index_attachment(x, &n);
    return spec_index_save_with(x, path, attached, n, why);
}

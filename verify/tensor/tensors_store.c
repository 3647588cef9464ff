/* SPDX-License-Identifier: MIT */
/*
 * tensors_store.c - the storage of an opened set of tensor files.
 *
 *   file[]    mapped, until the handle is freed; tensors point into them
 *   chunks    names, paths, strings made from JSON, tables of offsets:
 *             memory that only grows and never moves
 *   tensor[], meta[]      in the order of the files; a hash table over each
 *
 * Whatever a file says is checked where it is added, here: a name is valid and
 * new, a tensor's size does not overflow and lies inside its file.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensors_internal.h"

#define MAX_SHOWN_PATH 240 /* bytes in a message, which has room for 511 */
#define MAX_SHOWN_NAME 80
#define CHUNK_BYTES    16384

/* ---- names --------------------------------------------------------------- */

static const char *name_at(specp_named in, size_t i) {
    const char *const *item = (const char *const *)((const char *)in.items + i * in.stride);
    return *item;
}

/* FNV-1a (Fowler, Noll, Vo), mixed once more. */
static uint64_t hash_name(const char *name, size_t len) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++) h = (h ^ (uint8_t)name[i]) * 0x100000001b3u;
    return specp_mix64(h);
}

size_t specp_names_find(const specp_names *t, specp_named in, const char *name, size_t len) {
    if (!t->n_slots) return SPECP_NO_NAME;
    for (uint64_t at = hash_name(name, len);; at++) {
        uint32_t place = t->slot[at & (t->n_slots - 1)];
        if (!place) return SPECP_NO_NAME;
        const char *there = name_at(in, place - 1);
        if (strncmp(there, name, len) == 0 && !there[len]) return place - 1;
    }
}

void specp_names_put(specp_names *t, specp_named in, size_t i) {
    const char *name = name_at(in, i);
    uint64_t at = hash_name(name, strlen(name));
    while (t->slot[at & (t->n_slots - 1)]) at++;
    t->slot[at & (t->n_slots - 1)] = (uint32_t)i + 1;
}

int specp_names_reserve(specp_names *t, specp_named in, const spec_allocator *a) {
    if (in.n >= UINT32_MAX - 1) return SPEC_ERR_NOMEM;
    if (in.n < t->n_slots / 2) return SPEC_OK;
    specp_names wider = {.n_slots = t->n_slots ? 2 * t->n_slots : 64};
    wider.slot = specp_calloc(a, wider.n_slots, sizeof *wider.slot);
    if (!wider.slot) return SPEC_ERR_NOMEM;
    for (size_t i = 0; i < in.n; i++) specp_names_put(&wider, in, i);
    specp_names_release(t, a);
    *t = wider;
    return SPEC_OK;
}

void specp_names_release(specp_names *t, const spec_allocator *a) {
    specp_release(a, t->slot, t->n_slots, sizeof *t->slot);
    *t = (specp_names){0};
}

/* Bytes of the UTF-8 character at s, of which n > 0 are there; 0 when there is none. */
static size_t character_bytes(const uint8_t *s, size_t n) {
    if (s[0] < 0x80) return 1;
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n < len) return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xed && s[1] >= 0xa0, beyond = s[0] == 0xf4 && s[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : len;
}

bool specp_utf8_valid(const char *s, size_t n) {
    size_t len = 1;
    for (size_t at = 0; at < n && len; at += len) len = character_bytes((const uint8_t *)s + at, n - at);
    return len != 0;
}

bool specp_name_valid(const char *name, size_t len) {
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)name[i] < 0x20 || name[i] == 0x7f) return false;
    return len > 0 && len <= SPECP_NAME_MAX && specp_utf8_valid(name, len);
}

const char *specp_shown(const char *path) {
    size_t n = strlen(path);
    if (n <= MAX_SHOWN_PATH) return path;
    path += n - MAX_SHOWN_PATH;
    while (((uint8_t)*path & 0xc0) == 0x80) path++; /* not from the middle of a UTF-8 character */
    return path;
}

int specp_shown_bytes(const char *name, size_t n) {
    size_t shown = 0;
    while (shown < n && shown < MAX_SHOWN_NAME && name[shown]) shown++;
    if (shown == n || !name[shown]) return (int)shown;
    while (((uint8_t)name[shown] & 0xc0) == 0x80) shown--;
    return (int)shown;
}

/* ---- memory -------------------------------------------------------------- */

struct specp_chunk {
    specp_chunk *next;
    size_t room, used; /* bytes of data */
    uint64_t data[];
};

int specp_tensors_no_memory(const spec_tensors *f) {
    return TENSORS_FAIL(f, SPEC_ERR_NOMEM, "%s: no memory to open it", specp_shown(f->path ? f->path : "?"));
}

void *specp_tensors_keep(spec_tensors *f, size_t count, size_t size) {
    if (size && count > (SIZE_MAX / 4) / size) return NULL;
    size_t bytes = (count * size + 7) & ~(size_t)7;
    specp_chunk *c = f->chunks;
    if (!c || bytes > c->room - c->used) {
        size_t room = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        c = specp_alloc(&f->alloc, sizeof *c + room, 1);
        if (!c) return NULL;
        *c = (specp_chunk){.next = f->chunks, .room = room};
        f->chunks = c;
    }
    void *p = (uint8_t *)c->data + c->used;
    c->used += bytes;
    return p;
}

const char *specp_tensors_keep_text(spec_tensors *f, const char *text, size_t n) {
    char *copy = n < SIZE_MAX ? specp_tensors_keep(f, n + 1, 1) : NULL;
    if (!copy) return NULL;
    memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}

const char *specp_tensors_join(spec_tensors *f, const char *dir, size_t dir_bytes, const char *name) {
    size_t n = strlen(name);
    char *path = specp_tensors_keep(f, dir_bytes + n + 1, 1);
    if (!path) return NULL;
    memcpy(path, dir, dir_bytes);
    memcpy(path + dir_bytes, name, n + 1);
    return path;
}

size_t specp_dir_bytes(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* Room for one more in an array of the handle. */
static bool grow(spec_tensors *f, void **items, size_t n, size_t *cap, size_t size) {
    if (n < *cap) return true;
    size_t wider = *cap ? 2 * *cap : 16;
    void *p = specp_resize(&f->alloc, *items, *cap, wider, size);
    if (!p) return false;
    *items = p;
    *cap = wider;
    return true;
}

/* ---- files --------------------------------------------------------------- */

static int io_error(const spec_tensors *f, const char *shown, const char *doing, int error) {
    char text[128] = "";
    if (strerror_r(error, text, sizeof text)) snprintf(text, sizeof text, "error %d", error);
    TENSORS_FAIL(f, SPEC_ERR_IO, "%s: %s: %s", shown, doing, text);
    errno = error;
    return SPEC_ERR_IO;
}

/* Looks at an open file; > 0: its size. */
static int regular_size(const spec_tensors *f, int fd, const char *shown, size_t *size) {
    struct stat st;
    if (fstat(fd, &st)) return io_error(f, shown, "looking at it", errno);
    errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL; /* for the errors that are ours */
    if (!S_ISREG(st.st_mode))
        return TENSORS_FAIL(f, SPEC_ERR_IO, "%s: is %s, expected a regular file", shown,
                            S_ISDIR(st.st_mode) ? "a directory" : "a pipe, socket or device");
    if (st.st_size == 0) return TENSORS_FAIL(f, SPEC_ERR_CORRUPT, "%s: is empty", shown);
    if ((uint64_t)st.st_size > SIZE_MAX / 2) return specp_tensors_no_memory(f);
    *size = (size_t)st.st_size;
    return SPEC_OK;
}

/* Does not wait for the other end of a pipe. */
int specp_tensors_map(spec_tensors *f, const char *path, specp_file *out) {
    specp_file file = {.path = path, .shown = specp_shown(path)};
    if (!grow(f, (void **)&f->file, f->n_files, &f->cap_files, sizeof *f->file))
        return specp_tensors_no_memory(f);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return TENSORS_FAIL(f, SPEC_ERR_NOT_FOUND, "%s: there is no such file", file.shown);
    if (fd < 0) return io_error(f, file.shown, "opening", errno);
    int err = regular_size(f, fd, file.shown, &file.size);
    if (!err) {
        void *map = mmap(NULL, file.size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
            err = io_error(f, file.shown, "mapping", errno);
        else
            file.data = map;
    }
    int error = errno;
    close(fd);
    errno = error;
    if (err) return err;
    f->file[f->n_files++] = file;
    *out = file;
    return SPEC_OK;
}

/* ---- tensors ------------------------------------------------------------- */

int specp_tensor_bytes(spec_type type, uint32_t n_dims, const uint64_t *dim, uint64_t *out) {
    uint64_t block = spec_type_block(type), row = n_dims ? dim[n_dims - 1] : 1;
    uint64_t bytes = spec_type_block_bytes(type), elements = 1;
    bool empty = false;
    if (row % block) return SPEC_ERR_CORRUPT;
    for (uint32_t i = 0; i < n_dims; i++) {
        uint64_t blocks = i == n_dims - 1 ? dim[i] / block : dim[i];
        if (dim[i] == 0)
            empty = true;
        else if (!specp_multiply(&elements, dim[i]) || !specp_multiply(&bytes, blocks))
            return SPEC_ERR_CORRUPT;
    }
    *out = empty ? 0 : bytes;
    return SPEC_OK;
}

static specp_named tensors_named(const spec_tensors *f) {
    return (specp_named){f->tensor, sizeof *f->tensor, f->n_tensors};
}

static specp_named meta_named(const spec_tensors *f) {
    return (specp_named){f->meta, sizeof *f->meta, f->n_meta};
}

/* A name that is valid and new, copied. */
static int take_name(spec_tensors *f, const char *shown, const char *what, const specp_names *t,
                     specp_named in, const char *name, size_t bytes, const char **out) {
    if (!specp_name_valid(name, bytes))
        return TENSORS_FAIL(f, SPEC_ERR_CORRUPT,
                            "%s: the name of %s %zu is not valid: expected 1 to %d bytes of UTF-8 without "
                            "control characters",
                            shown, what, in.n + 1, SPECP_NAME_MAX);
    *out = specp_tensors_keep_text(f, name, bytes);
    if (!*out) return specp_tensors_no_memory(f);
    if (specp_names_find(t, in, name, bytes) != SPECP_NO_NAME)
        return TENSORS_FAIL(f, SPEC_ERR_CORRUPT, "%s: %s %.*s is there twice", shown, what, SPECP_SHOW(*out));
    return SPEC_OK;
}

int specp_tensors_add(spec_tensors *f, const specp_file *file, const char *name, size_t name_bytes,
                      spec_type type, uint32_t n_dims, const uint64_t *dim, uint64_t begin) {
    spec_tensor t = {.type = type, .n_dims = n_dims, .dim = {1, 1, 1, 1}};
    specp_named in = tensors_named(f);
    uint64_t bytes = 0;
    int err = take_name(f, file->shown, "tensor", &f->tensor_names, in, name, name_bytes, &t.name);
    if (err) return err;
    memcpy(t.dim, dim, n_dims * sizeof *dim);
    if (specp_tensor_bytes(type, n_dims, dim, &bytes))
        return TENSORS_FAIL(
            f, SPEC_ERR_CORRUPT,
            "%s: tensor %.*s: rows of %" PRIu64 " elements are no whole blocks of %s, or it is too large",
            file->shown, SPECP_SHOW(t.name), n_dims ? dim[n_dims - 1] : 1, spec_type_name(type));
    if (begin > file->size || bytes > file->size - begin)
        return TENSORS_FAIL(f, SPEC_ERR_CORRUPT,
                            "%s: tensor %.*s: %" PRIu64 " bytes at byte %" PRIu64
                            ", but the file ends at %zu: is it cut short?",
                            file->shown, SPECP_SHOW(t.name), bytes, begin, file->size);
    t.data = file->data + begin;
    t.bytes = (size_t)bytes;
    if (!grow(f, (void **)&f->tensor, f->n_tensors, &f->cap_tensors, sizeof t))
        return specp_tensors_no_memory(f);
    in.items = f->tensor;
    if (specp_names_reserve(&f->tensor_names, in, &f->alloc)) return specp_tensors_no_memory(f);
    f->tensor[f->n_tensors++] = t;
    specp_names_put(&f->tensor_names, in, in.n);
    return SPEC_OK;
}

int specp_tensors_add_meta(spec_tensors *f, const char *shown, const char *key, size_t key_bytes,
                           const spec_meta *m) {
    specp_named in = meta_named(f);
    const char *copy = NULL;
    int err = take_name(f, shown, "metadata entry", &f->meta_keys, in, key, key_bytes, &copy);
    if (err) return err;
    if (!grow(f, (void **)&f->meta, f->n_meta, &f->cap_meta, sizeof *m)) return specp_tensors_no_memory(f);
    in.items = f->meta;
    if (specp_names_reserve(&f->meta_keys, in, &f->alloc)) return specp_tensors_no_memory(f);
    f->meta[f->n_meta] = *m;
    f->meta[f->n_meta++].key = copy;
    specp_names_put(&f->meta_keys, in, in.n);
    return SPEC_OK;
}

const spec_tensor *spec_tensors_find(const spec_tensors *f, const char *name) {
    size_t i = specp_names_find(&f->tensor_names, tensors_named(f), name, strlen(name));
    return i == SPECP_NO_NAME ? NULL : &f->tensor[i];
}

const spec_meta *spec_tensors_meta(const spec_tensors *f, const char *key) {
    size_t i = specp_names_find(&f->meta_keys, meta_named(f), key, strlen(key));
    return i == SPECP_NO_NAME ? NULL : &f->meta[i];
}

/* ---- spans --------------------------------------------------------------- */

static bool span_before(const specp_span *a, const specp_span *b) {
    return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
}

/* Lets span[i] sink in the heap of n. */
static void sift(specp_span *span, size_t i, size_t n) {
    specp_span moved = span[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && span_before(&span[child], &span[child + 1])) child++;
        if (!span_before(&moved, &span[child])) break;
        span[i] = span[child];
    }
    span[i] = moved;
}

/* Heapsort (Williams 1964): no memory, and no input makes it slow. */
static void sort_spans(specp_span *span, size_t n) {
    for (size_t i = n / 2; i-- > 0;) sift(span, i, n);
    for (size_t last = n; last-- > 1;) {
        specp_span largest = span[0];
        span[0] = span[last];
        span[last] = largest;
        sift(span, 0, last);
    }
}

int specp_tensors_check_spans(spec_tensors *f, const specp_file *file, specp_span *span, size_t n, bool whole,
                              uint64_t first, uint64_t last) {
    uint64_t at = first;
    const char *before = NULL;
    sort_spans(span, n);
    for (size_t i = 0; i < n; i++) {
        if (span[i].begin < at && (whole || span[i].end > span[i].begin))
            return TENSORS_FAIL(f, SPEC_ERR_CORRUPT, "%s: tensors %.*s and %.*s overlap", file->shown,
                                SPECP_SHOW(before ? before : "?"), SPECP_SHOW(span[i].name));
        if (whole && span[i].begin > at)
            return TENSORS_FAIL(f, SPEC_ERR_CORRUPT,
                                "%s: tensor %.*s begins at byte %" PRIu64 " of the data, expected %" PRIu64
                                ": no tensor holds the bytes between",
                                file->shown, SPECP_SHOW(span[i].name), span[i].begin - first, at - first);
        if (span[i].end > at) {
            at = span[i].end;
            before = span[i].name;
        }
    }
    if (whole && at != last)
        return TENSORS_FAIL(f, SPEC_ERR_CORRUPT,
                            "%s: the tensors end at byte %" PRIu64 " of the data, expected %" PRIu64,
                            file->shown, at - first, last - first);
    return SPEC_OK;
}

/* ---- the end ------------------------------------------------------------- */

void spec_tensors_free(spec_tensors *f) {
    if (!f) return;
    spec_allocator a = f->alloc;
    for (size_t i = 0; i < f->n_files; i++) munmap((void *)f->file[i].data, f->file[i].size);
    specp_release(&a, f->file, f->cap_files, sizeof *f->file);
    specp_release(&a, f->tensor, f->cap_tensors, sizeof *f->tensor);
    specp_release(&a, f->meta, f->cap_meta, sizeof *f->meta);
    specp_names_release(&f->tensor_names, &a);
    specp_names_release(&f->meta_keys, &a);
    while (f->chunks) {
        specp_chunk *c = f->chunks;
        f->chunks = c->next;
        specp_release(&a, c, sizeof *c + c->room, 1);
    }
    specp_release(&a, f, 1, sizeof *f);
}

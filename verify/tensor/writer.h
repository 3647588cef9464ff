/* SPDX-License-Identifier: MIT */
/*
 * writer.h - a tensor file while it is written. Private to verify/tensor/.
 *
 *   out_file.c             a file that appears under its name when it is whole
 *   writer.c               the handle: names, order of the data, padding
 *   gguf_write.c           safetensors_write.c    how a format says it
 *
 * Metadata and descriptions are put into the format's own bytes as they come;
 * with the first data they are written, and after that nothing can be added.
 */
#ifndef SPECP_WRITER_H
#define SPECP_WRITER_H

#include "tensors_internal.h"

/* ---- the file ------------------------------------------------------------ */

typedef struct specp_out {
    spec_allocator alloc;
    const char *path, *shown; /* shown: in messages */
    spec_message *why;
    char *names;      /* path, directory and temporary name, in one block */
    size_t name_room; /* bytes of it */
    const char *base; /* last part of path */
    const char *dir;
    char *temp; /* name of the temporary file; empty when there is none */
    int dir_fd, fd;
    uint8_t *buffer;
    size_t buffered;
} specp_out;

/* Makes the temporary file beside path. On error nothing is left, and *why tells it; it is kept
 * for the later calls. SPEC_ERR_INVALID, SPEC_ERR_IO, SPEC_ERR_NOMEM. */
int specp_out_open(specp_out *o, const char *path, const spec_allocator *a, spec_message *why);
int specp_out_write(specp_out *o, const void *data, size_t n);
int specp_out_zeros(specp_out *o, uint64_t n);
/* Syncs the file and gives it its name; the directory is synced too. */
int specp_out_publish(specp_out *o);
/* Removes the temporary file where one is left, and gives everything back. */
void specp_out_close(specp_out *o);

/* ---- bytes --------------------------------------------------------------- */

typedef struct specp_bytes {
    uint8_t *data;
    size_t n, cap;
} specp_bytes;

/* SPEC_ERR_NOMEM: nothing was added. */
int specp_bytes_add(specp_bytes *b, const spec_allocator *a, const void *data, size_t n);
void specp_bytes_release(specp_bytes *b, const spec_allocator *a);

/* ---- the handle ---------------------------------------------------------- */

/* A key, or a tensor and where its data lies. Begins with its name: see specp_names. */
typedef struct specp_item {
    char *name;
    uint64_t begin, bytes;
} specp_item;

typedef struct specp_items {
    specp_item *item;
    size_t n, cap;
    specp_names names;
} specp_items;

/* What a format does. Each adds to w->meta or w->infos, and on error may leave a
 * part there: the caller takes it back. */
typedef struct specp_writer_format {
    uint64_t alignment; /* of each tensor's data */
    /* SPEC_ERR_INVALID, SPEC_ERR_UNSUPPORTED, SPEC_ERR_NOMEM */
    int (*meta)(spec_writer *w, const char *key, const spec_meta *m);
    int (*tensor)(spec_writer *w, const specp_item *t, spec_type type, uint32_t n_dims, const uint64_t *dim);
    /* What stands before the data. */
    int (*header)(spec_writer *w, specp_bytes *out);
    /* May there be an entry, a tensor of this name? */
    bool (*key_allowed)(const char *key);
    bool (*name_allowed)(const char *name);
} specp_writer_format;

extern const specp_writer_format specp_gguf_format, specp_safetensors_format;

struct spec_writer {
    spec_allocator alloc;
    const specp_writer_format *format;
    specp_items keys, tensors;
    specp_bytes meta, infos;
    uint64_t end;     /* of the last tensor's data, with its padding */
    uint64_t missing; /* bytes that spec_writer_data still has to bring */
    bool begun;       /* the header is written */
    size_t tensor;    /* whose data is due */
    uint64_t at;      /* bytes of data written, padding included */
    int failed;       /* an error that ended it */
    specp_out out;
    spec_message why;
};

#endif

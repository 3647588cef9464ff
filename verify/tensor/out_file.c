/* SPDX-License-Identifier: MIT */
/*
 * out_file.c - a file that is written under a temporary name, and appears under
 * its own when it is whole.
 *
 *   1  PATH.PID-N.tmp is made beside PATH, and no one else's
 *   2  data goes to it through a buffer
 *   3  it is synced, renamed to PATH, and the directory is synced
 *
 * A crash before the rename leaves PATH as it was, and perhaps the temporary
 * file; anything else but a crash leaves either the new file or none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "writer.h"

#define TEMP_ROOM     48 /* for ".PID-N.tmp" */
#define TEMP_ATTEMPTS 1000
#define BUFFER        ((size_t)1 << 18)

static int fail(specp_out *o, const char *doing) {
    int error = errno;
    char text[128] = "";
    if (strerror_r(error, text, sizeof text)) snprintf(text, sizeof text, "error %d", error);
    specp_fail(o->why, SPEC_ERR_IO, "%s: %s: %s", o->shown, doing, text);
    errno = error;
    return SPEC_ERR_IO;
}

/* ---- 1: the temporary file ----------------------------------------------- */

/* Copies the path, splits it, and opens its directory. */
static int open_directory(specp_out *o, const char *path) {
    size_t len = strlen(path) + 1, dir = specp_dir_bytes(path);
    o->name_room = len + dir + 2 + (len - dir) + TEMP_ROOM;
    o->names = specp_calloc(&o->alloc, o->name_room, 1);
    o->buffer = specp_alloc(&o->alloc, BUFFER, 1);
    if (!o->names || !o->buffer)
        return specp_fail(o->why, SPEC_ERR_NOMEM, "%s: no memory to write it", specp_shown(path));
    memcpy(o->names, path, len);
    o->path = o->names;
    o->shown = specp_shown(o->path);
    o->base = o->path + dir;
    o->dir = o->names + len;
    memcpy(o->names + len, dir ? path : ".", dir ? dir : 1);
    o->temp = o->names + len + dir + 2;
    if (!*o->base) return specp_fail(o->why, SPEC_ERR_INVALID, "%s: names a directory", o->shown);
    o->dir_fd = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return o->dir_fd < 0 ? fail(o, "opening its directory") : SPEC_OK;
}

/* With the permissions of the file that it will replace. */
static int open_temporary(specp_out *o) {
    struct stat old;
    bool replaces = fstatat(o->dir_fd, o->base, &old, 0) == 0;
    if (!replaces && errno != ENOENT) return fail(o, "looking at it");
    if (replaces && !S_ISREG(old.st_mode)) {
        errno = S_ISDIR(old.st_mode) ? EISDIR : EINVAL;
        return specp_fail(o->why, SPEC_ERR_IO, "%s: is not a regular file, and is not replaced", o->shown);
    }
    for (unsigned n = 0; o->fd < 0; n++) {
        snprintf(o->temp, strlen(o->base) + TEMP_ROOM, "%s.%ld-%u.tmp", o->base, (long)getpid(), n);
        o->fd = openat(o->dir_fd, o->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, replaces ? 0600 : 0666);
        if (o->fd >= 0 || errno == EINTR || (errno == EEXIST && n < TEMP_ATTEMPTS)) continue;
        o->temp[0] = '\0'; /* not ours to remove */
        return fail(o, "making a temporary file beside it");
    }
    if (replaces && fchmod(o->fd, old.st_mode & 0777)) return fail(o, "setting its permissions");
    return SPEC_OK;
}

int specp_out_open(specp_out *o, const char *path, const spec_allocator *a, spec_message *why) {
    *o = (specp_out){.alloc = *a, .why = why, .dir_fd = -1, .fd = -1};
    int err = open_directory(o, path);
    if (!err) err = open_temporary(o);
    if (err) specp_out_close(o);
    return err;
}

/* ---- 2: data ------------------------------------------------------------- */

static int write_all(specp_out *o, const uint8_t *data, size_t n) {
    while (n) {
        ssize_t done = write(o->fd, data, n);
        if (done < 0 && errno == EINTR) continue;
        if (done == 0) errno = ENOSPC;
        if (done <= 0) return fail(o, "writing");
        data += done;
        n -= (size_t)done;
    }
    return SPEC_OK;
}

static int flush(specp_out *o) {
    int err = write_all(o, o->buffer, o->buffered);
    o->buffered = 0;
    return err;
}

int specp_out_write(specp_out *o, const void *data, size_t n) {
    int err = n > BUFFER - o->buffered ? flush(o) : SPEC_OK;
    if (err || n == 0) return err;
    if (n >= BUFFER) return write_all(o, data, n);
    memcpy(o->buffer + o->buffered, data, n);
    o->buffered += n;
    return SPEC_OK;
}

int specp_out_zeros(specp_out *o, uint64_t n) {
    static const uint8_t zeros[64];
    int err = SPEC_OK;
    for (; n && !err; n -= n < sizeof zeros ? n : sizeof zeros)
        err = specp_out_write(o, zeros, n < sizeof zeros ? (size_t)n : sizeof zeros);
    return err;
}

/* ---- 3: the end ---------------------------------------------------------- */

int specp_out_publish(specp_out *o) {
    int err = flush(o);
    if (err) return err;
    if (fsync(o->fd)) return fail(o, "syncing");
    int closed = close(o->fd);
    o->fd = -1;
    if (closed && errno != EINTR) return fail(o, "closing");
    if (renameat(o->dir_fd, o->temp, o->dir_fd, o->base)) return fail(o, "renaming the new file");
    o->temp[0] = '\0';
    /* Not every file system can sync directories. */
    if (fsync(o->dir_fd) && errno != EINVAL) return fail(o, "is written, but syncing its directory failed");
    return SPEC_OK;
}

void specp_out_close(specp_out *o) {
    int error = errno;
    if (o->fd >= 0) close(o->fd);
    if (o->temp && o->temp[0]) unlinkat(o->dir_fd, o->temp, 0);
    if (o->dir_fd >= 0) close(o->dir_fd);
    specp_release(&o->alloc, o->names, o->name_room, 1);
    specp_release(&o->alloc, o->buffer, BUFFER, 1);
    *o = (specp_out){.dir_fd = -1, .fd = -1};
    errno = error;
}

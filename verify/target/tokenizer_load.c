/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_load.c - finds the tokenizer that belongs to a path, and puts the path before
 * what the loaders say.
 *
 *   folder              tokenizer.json, or else tokenizer.bin in it
 *   {...                a tokenizer.json (or the index of a model: its folder)
 *   laid out as such    a tokenizer.bin
 *   anything else       a model: GGUF metadata, or what its folder has
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tokenizer.h"

/* ---- files ---------------------------------------------------------------------- */

static int system_error(spec_message *why, const char *what) {
    char text[100];
    int code = errno;
    if (strerror_r(code, text, sizeof text)) text[0] = 0;
    return specp_fail(why, code == ENOENT || code == ENOTDIR ? SPEC_ERR_NOT_FOUND : SPEC_ERR_IO, "%s: %s",
                      what, text);
}

/* Does not wait for the other end of a pipe. */
int specp_map_file(specp_mapped *m, const char *path, spec_message *why) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    *m = (specp_mapped){"", 0};
    if (fd < 0) return system_error(why, "cannot be opened");
    int err = SPEC_OK;
    if (fstat(fd, &st)) {
        err = system_error(why, "cannot be read");
    } else if (!S_ISREG(st.st_mode)) {
        err = specp_fail(why, SPEC_ERR_IO, "not a regular file");
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            err = system_error(why, "cannot be mapped");
        else
            *m = (specp_mapped){p, (size_t)st.st_size};
    }
    close(fd);
    return err;
}

void specp_unmap_file(specp_mapped *m) {
    if (m->n) munmap((void *)m->data, m->n);
}

int specp_join_path(char *buf, const char *folder, const char *name, spec_message *why) {
    int n = snprintf(buf, SPECP_MAX_PATH, "%s%s", folder, name);
    if (n >= 0 && n < SPECP_MAX_PATH) return SPEC_OK;
    return specp_fail(why, SPEC_ERR_INVALID, "the path is too long");
}

/* Puts the path, or its end, before the message. On success there is none, whatever was looked
 * for in vain. */
static int named(spec_message *why, const char *path, int err) {
    char said[sizeof why->text];
    size_t n = strlen(path);
    if (!why) return err;
    if (!err) why->text[0] = 0;
    if (!err) return err;
    memcpy(said, why->text, sizeof said);
    if (n > 200) return specp_fail(why, err, "...%s: %.300s", path + n - 200, said);
    return specp_fail(why, err, "%s: %.300s", path, said);
}

/* ---- where it is ------------------------------------------------------------------- */

/* The folder of a path, with its slash; the path itself where that is a folder. */
static int folder_of(char *buf, const char *path, spec_message *why) {
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return specp_join_path(buf, path, "/", why);
    int err = specp_join_path(buf, path, "", why);
    if (err) return err;
    char *slash = strrchr(buf, '/');
    buf[slash ? slash + 1 - buf : 0] = 0;
    return SPEC_OK;
}

/* What lies in the folder of a path. */
static int load_folder(spec_tokenizer **out, const char *path, const spec_allocator *alloc,
                       spec_message *why) {
    char folder[SPECP_MAX_PATH], name[SPECP_MAX_PATH];
    specp_mapped m;
    int err = folder_of(folder, path, why);
    if (!err) err = specp_join_path(name, folder, "tokenizer.json", why);
    if (err) return err;
    err = specp_map_file(&m, name, why);
    if (!err) {
        err = specp_tokenizer_from_json(out, m.data, m.n, folder, alloc, why);
        specp_unmap_file(&m);
        return named(why, name, err == SPEC_ERR_NOT_FOUND ? SPEC_ERR_CORRUPT : err);
    }
    if (err != SPEC_ERR_NOT_FOUND) return named(why, name, err);
    if ((err = specp_join_path(name, folder, "tokenizer.bin", why)) != 0) return err;
    err = specp_map_file(&m, name, why);
    if (err == SPEC_ERR_NOT_FOUND)
        return named(
            why, path,
            specp_fail(why, err,
                       "no tokenizer: none in the file, and no tokenizer.json or tokenizer.bin beside it"));
    if (err) return named(why, name, err);
    err = specp_tokenizer_from_bin(out, m.data, m.n, alloc, why);
    specp_unmap_file(&m);
    return named(why, name, err == SPEC_ERR_NOT_FOUND ? SPEC_ERR_CORRUPT : err);
}

int spec_tokenizer_open(spec_tokenizer **out, const spec_tensors *file, const spec_allocator *alloc,
                        spec_message *why) {
    if (!out || !file) return specp_fail(why, SPEC_ERR_INVALID, "an argument is missing");
    const char *path = spec_tensors_path(file);
    if (!spec_tensors_meta(file, "tokenizer.ggml.model")) return load_folder(out, path, alloc, why);
    return named(why, path, specp_tokenizer_from_gguf(out, file, alloc, why));
}

static int load_model(spec_tokenizer **out, const char *path, const spec_allocator *alloc,
                      spec_message *why) {
    spec_tensors *file;
    int err = spec_tensors_open(&file, path, alloc, why);
    if (err) return err;
    err = spec_tokenizer_open(out, file, alloc, why);
    spec_tensors_free(file);
    return err;
}

static bool is_json(const specp_mapped *m) {
    size_t i = m->n >= 3 && memcmp(m->data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (i < m->n && strchr(" \t\r\n", m->data[i]) && m->data[i]) i++;
    return i < m->n && m->data[i] == '{';
}

static int load_file(spec_tokenizer **out, const char *path, const spec_allocator *alloc, spec_message *why) {
    char folder[SPECP_MAX_PATH];
    specp_mapped m;
    int err = folder_of(folder, path, why);
    if (err) return err;
    if ((err = specp_map_file(&m, path, why)) != 0) return named(why, path, err);
    err = is_json(&m) ? specp_tokenizer_from_json(out, m.data, m.n, folder, alloc, why)
                      : specp_tokenizer_from_bin(out, m.data, m.n, alloc, why);
    specp_unmap_file(&m);
    return err == SPEC_ERR_NOT_FOUND ? load_model(out, path, alloc, why) : named(why, path, err);
}

int spec_tokenizer_load(spec_tokenizer **out, const char *path, const spec_allocator *alloc,
                        spec_message *why) {
    struct stat st;
    if (!out || !path) return specp_fail(why, SPEC_ERR_INVALID, "an argument is missing");
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return load_folder(out, path, alloc, why);
    return load_file(out, path, alloc, why);
}

/* SPDX-License-Identifier: MIT */
/*
 * tensors.c - opening a set of tensor files: which format it is, told by the
 * content; and the handle's getters.
 *
 *   folder                      safetensors: the index, or the file, in it
 *   "GGUF"                      GGUF
 *   u64 length, '{'             safetensors
 *   '{'                         an index of safetensors
 *   0x616b3432                  llama2.c v1 and later
 *   seven plausible integers    llama2.c v0: it has no magic number
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tensors_internal.h"

static int refuse_unknown(spec_tensors *f, const specp_file *file) {
    char bytes[3 * 16 + 1] = "";
    size_t n = file->size < 16 ? file->size : 16;
    for (size_t i = 0; i < n; i++) snprintf(bytes + 3 * i, 4, " %02x", file->data[i]);
    return TENSORS_FAIL(f, SPEC_ERR_CORRUPT,
                        "%s: is no model file: expected GGUF, safetensors, an index of safetensors or a "
                        "llama2.c checkpoint; it has %zu bytes and begins with%s",
                        file->shown, file->size, bytes);
}

static int read_any(spec_tensors *f, const specp_file *file) {
    if (specp_gguf_is(file)) return specp_gguf_read(f, file);
    if (specp_safetensors_is(file)) return specp_safetensors_read(f, file);
    if (specp_safetensors_index_is(file)) return specp_safetensors_read_index(f, file);
    if (specp_llama2c_is(file)) return specp_llama2c_read(f, file);
    return refuse_unknown(f, file);
}

static int open_path(spec_tensors *f, const char *path) {
    struct stat st;
    specp_file file;
    f->path = specp_tensors_keep_text(f, path, strlen(path));
    if (!f->path) return specp_tensors_no_memory(f);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return specp_safetensors_read_folder(f);
    int err = specp_tensors_map(f, f->path, &file);
    return err ? err : read_any(f, &file);
}

int spec_tensors_open(spec_tensors **out, const char *path, const spec_allocator *alloc, spec_message *why) {
    if (why) why->text[0] = '\0';
    if (!out || !path) return specp_fail(why, SPEC_ERR_INVALID, "no handle or no path given");
    spec_tensors *f = specp_calloc(alloc, 1, sizeof *f);
    if (!f) return specp_fail(why, SPEC_ERR_NOMEM, "%s: no memory to open it", specp_shown(path));
    if (alloc) f->alloc = *alloc;
    f->why = why;
    int err = open_path(f, path);
    f->why = NULL;
    if (err)
        spec_tensors_free(f);
    else
        *out = f;
    return err;
}

const char *spec_tensors_format(const spec_tensors *f) { return f->format; }
const char *spec_tensors_path(const spec_tensors *f) { return f->path; }

size_t spec_tensors_count(const spec_tensors *f) { return f->n_tensors; }
size_t spec_tensors_meta_count(const spec_tensors *f) { return f->n_meta; }

const spec_tensor *spec_tensors_at(const spec_tensors *f, size_t i) {
    return i < f->n_tensors ? &f->tensor[i] : NULL;
}

const spec_meta *spec_tensors_meta_at(const spec_tensors *f, size_t i) {
    return i < f->n_meta ? &f->meta[i] : NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * safetensors that nobody wrote. The first byte chooses what the rest of the
 * input is, modulo 4:
 *
 *   0   a file
 *   1   the config.json beside a good file
 *   2   the index in a folder with two good shards
 *   3   the JSON header of a file: the length before it and data behind are right
 *
 * Whatever it is: refused with a reason, or a set of tensors without fault, whose
 * copy says the same.
 */
#include "tensor_bytes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FILE = 1 << 14, DATA = 64 };

#define ONE(name, at) "\"" name "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":" at "}"

static const char *const used[] = {"model.safetensors", "config.json",     "model.safetensors.index.json",
                                   "s-1.safetensors",   "s-2.safetensors", "copy"};

static char folder[64];

static void need(const char *fault) {
    if (!fault) return;
    fprintf(stderr, "fuzz_safetensors: %s\n", fault);
    abort();
}

static const char *path_of(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void clear_folder(void) {
    for (size_t i = 0; i < sizeof used / sizeof *used; i++) unlink(path_of(used[i]));
}

static void remove_folder(void) {
    clear_folder();
    rmdir(folder);
}

static void make_folder(void) {
    snprintf(folder, sizeof folder, "%s/spec_fuzz_folder_%ld", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm",
             (long)getpid());
    need(mkdir(folder, 0700) ? "no folder" : NULL);
    atexit(remove_folder);
}

static void write_tensors(const char *name, const char *header, size_t n) {
    bytes b = {0};
    safetensors_file(&b, header, n);
    support_write_file(path_of(name), b.data, b.n);
    bytes_free(&b);
}

/* The input is the header; DATA bytes follow. */
static void write_header(const uint8_t *data, size_t size) {
    bytes b = {0};
    bytes_u64(&b, size);
    bytes_add(&b, data, size);
    bytes_fill(&b, 7, DATA);
    support_write_file(path_of("model.safetensors"), b.data, b.n);
    bytes_free(&b);
}

static void write_input(int kind, const uint8_t *data, size_t size) {
    switch (kind) {
    case 0: support_write_file(path_of("model.safetensors"), data, size); break;
    case 1:
        write_tensors("model.safetensors", "{" ONE("a", "[0,4]") "}", 4);
        support_write_file(path_of("config.json"), data, size);
        break;
    case 2:
        write_tensors("s-1.safetensors", "{" ONE("a", "[0,4]") "," ONE("b", "[4,8]") "}", 8);
        write_tensors("s-2.safetensors", "{" ONE("b", "[0,4]") "," ONE("c", "[4,8]") "}", 8);
        support_write_file(path_of("model.safetensors.index.json"), data, size);
        break;
    default: write_header(data, size); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    spec_tensors *f = NULL;
    spec_message why = {{0}};
    if (!size || size > MAX_FILE) return 0;
    if (!folder[0]) make_folder();
    write_input(data[0] % 4, data + 1, size - 1);
    int err = spec_tensors_open(&f, folder, NULL, &why);
    clear_folder();
    need(err && (f || !why.text[0]) ? "a refusal without a reason" : NULL);
    if (err) return 0;
    need(tensors_fault(f));
    need(tensors_copy_fault(f, path_of("copy"), data[0] & 4 ? SPEC_FORMAT_GGUF : SPEC_FORMAT_SAFETENSORS));
    spec_tensors_free(f);
    return 0;
}

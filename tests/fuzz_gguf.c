/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a GGUF file: refused with a reason, or a set of tensors without
 * fault, whose copy says the same.
 */
#include "tensor_bytes.h"

#include <stdlib.h>
#include <unistd.h>

enum { MAX_FILE = 1 << 14 };

static void need(const char *fault) {
    if (!fault) return;
    fprintf(stderr, "fuzz_gguf: %s\n", fault);
    abort();
}

static const char *path_of(const char *name) {
    static char path[2][64];
    static int k;
    k = !k;
    snprintf(path[k], sizeof path[k], "%s/spec_fuzz_%s_%ld", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm",
             name, (long)getpid());
    return path[k];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    spec_tensors *f = NULL;
    spec_message why = {{0}};
    if (!size || size > MAX_FILE) return 0;
    const char *path = path_of("gguf");
    support_write_file(path, data, size);
    int err = spec_tensors_open(&f, path, NULL, &why);
    unlink(path);
    need(err && (f || !why.text[0]) ? "a refusal without a reason" : NULL);
    if (err) return 0;
    need(tensors_fault(f));
    need(tensors_copy_fault(f, path_of("copy"),
                            data[size - 1] & 1 ? SPEC_FORMAT_SAFETENSORS : SPEC_FORMAT_GGUF));
    spec_tensors_free(f);
    return 0;
}

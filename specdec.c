/* SPDX-License-Identifier: MIT */
/* The base layer: error texts, messages, and allocation with checked sizes. */
#include "specdec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specp.h"

const char *spec_version(void) { return SPEC_VERSION_STRING; }

const char *spec_strerror(int err) {
    switch (err) {
    case SPEC_OK: return "no error";
    case SPEC_ERR_INVALID: return "invalid argument";
    case SPEC_ERR_NOMEM: return "out of memory";
    case SPEC_ERR_FULL: return "capacity used up";
    case SPEC_ERR_NOT_FOUND: return "not found";
    case SPEC_ERR_STATE: return "call not allowed in this state";
    case SPEC_ERR_IO: return "input or output failed";
    case SPEC_ERR_CORRUPT: return "file truncated, damaged or of another kind";
    case SPEC_ERR_VERSION: return "made for another version or byte order";
    case SPEC_ERR_UNSUPPORTED: return "not supported by this build";
    default: return "unknown error";
    }
}

int specp_fail(spec_message *m, int err, const char *format, ...) {
    if (m) {
        va_list ap;
        va_start(ap, format);
        vsnprintf(m->text, sizeof m->text, format, ap);
        va_end(ap);
    }
    return err;
}

static void *reallocate(const spec_allocator *a, void *ptr, size_t old_size, size_t new_size) {
    if (a && a->fn) return a->fn(a->user, ptr, old_size, new_size);
    if (new_size) return realloc(ptr, new_size);
    free(ptr);
    return NULL;
}

/* count * size, or 0 where that overflows or is nothing. */
static size_t product(size_t count, size_t size) {
    return size && count <= SIZE_MAX / size ? count * size : 0;
}

void *specp_alloc(const spec_allocator *a, size_t count, size_t size) {
    size_t bytes = product(count, size);
    return bytes ? reallocate(a, NULL, 0, bytes) : NULL;
}

void *specp_calloc(const spec_allocator *a, size_t count, size_t size) {
    void *p = specp_alloc(a, count, size);
    if (p) memset(p, 0, count * size);
    return p;
}

void *specp_resize(const spec_allocator *a, void *ptr, size_t old_count, size_t new_count, size_t size) {
    size_t bytes = product(new_count, size);
    return bytes ? reallocate(a, ptr, old_count * size, bytes) : NULL;
}

void specp_release(const spec_allocator *a, void *ptr, size_t count, size_t size) {
    if (ptr) reallocate(a, ptr, count * size, 0);
}

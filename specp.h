/* SPDX-License-Identifier: MIT */
/*
 * specp.h - base helpers for the library's own sources. Not installed. Names
 * start with specp_, stay hidden in the shared library, and promise nothing.
 */
#ifndef SPECP_H
#define SPECP_H

#include <stdbool.h>

#include "specdec.h"

#if defined(__GNUC__)
#define SPECP_LIKELY(x)    __builtin_expect(!!(x), 1)
#define SPECP_UNLIKELY(x)  __builtin_expect(!!(x), 0)
#define SPECP_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define SPECP_PREFETCH(p)  __builtin_prefetch(p)
#else
#define SPECP_LIKELY(x)   (x)
#define SPECP_UNLIKELY(x) (x)
#define SPECP_PRINTF(f, a)
#define SPECP_PREFETCH(p) ((void)(p))
#endif

/* Writes a sentence into *m (NULL: nowhere) and returns err, so that a failing
 * function can end with `return specp_fail(why, SPEC_ERR_IO, "...", ...);`. */
int specp_fail(spec_message *m, int err, const char *format, ...) SPECP_PRINTF(3, 4);

/* Allocation through a spec_allocator; a->fn may be NULL. count * size is
 * checked for overflow, which counts as a refusal. */
void *specp_alloc(const spec_allocator *a, size_t count, size_t size);
void *specp_calloc(const spec_allocator *a, size_t count, size_t size);
void *specp_resize(const spec_allocator *a, void *ptr, size_t old_count, size_t new_count, size_t size);
void specp_release(const spec_allocator *a, void *ptr, size_t count, size_t size); /* ptr may be NULL */

/* 64 well-mixed bits of x (splitmix64, Steele et al. 2014): hash tables and
 * keyed noise. */
static inline uint64_t specp_mix64(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

#endif

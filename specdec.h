/* SPDX-License-Identifier: MIT */
/*
 * specdec.h - what every part of libspecdec shares: the token type, error
 * codes, the allocator, the version.
 *
 * The rules that hold for the whole library:
 *
 *  - A function that can fail returns 0 (SPEC_OK) or a negative spec_err, and
 *    hands its results out through pointers.
 *  - On error nothing has changed: the handle is as it was before the call,
 *    and the out-pointers are untouched unless the function says otherwise.
 *  - A handle is made by spec_x_new() and friends and released by
 *    spec_x_free(), which accepts NULL.
 *  - Option structs begin with `size`; set it to sizeof the struct and the rest
 *    to zero, and every field has its documented default. A NULL option
 *    pointer means all defaults.
 *  - The library never exits, aborts, prints, or reads the environment, and it
 *    has no mutable globals: two engines may share a process.
 */
#ifndef SPECDEC_H
#define SPECDEC_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SPEC_API        __attribute__((visibility("default")))
#define SPEC_MUST_CHECK __attribute__((warn_unused_result))
#else
#define SPEC_API
#define SPEC_MUST_CHECK
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define SPEC_VERSION_MAJOR  0
#define SPEC_VERSION_MINOR  1
#define SPEC_VERSION_PATCH  0
#define SPEC_VERSION_STRING "0.1.0"

/* The binary interface, apart from the version: it makes the soname. */
#define SPEC_ABI 0

/* The version of the library that is linked, as "major.minor.patch". */
SPEC_API const char *spec_version(void);

/* A token id. Every value from 0 to INT32_MAX is valid; negative ones never. */
typedef int32_t spec_token;

/* Names the noise of one decoding step: with the same seed, sequence and position
 * (of the next token, counted from the prompt's start) drafters and verifiers
 * draw the same tokens. */
typedef struct spec_noise_key {
    uint64_t seed;
    uint64_t sequence;
    uint64_t position;
} spec_noise_key;

/* Append-only: a code never changes its value. */
typedef enum spec_err {
    SPEC_OK = 0,
    SPEC_ERR_INVALID = -1,     /* an argument is outside its documented range */
    SPEC_ERR_NOMEM = -2,       /* the allocator refused */
    SPEC_ERR_FULL = -3,        /* a capacity documented at the function is used up */
    SPEC_ERR_NOT_FOUND = -4,   /* no such sequence, file, drafter or option */
    SPEC_ERR_STATE = -5,       /* the call does not fit the handle's state */
    SPEC_ERR_IO = -6,          /* the system refused; errno says why */
    SPEC_ERR_CORRUPT = -7,     /* the file is truncated, damaged or not of this kind */
    SPEC_ERR_VERSION = -8,     /* made for another version or byte order */
    SPEC_ERR_UNSUPPORTED = -9, /* valid, but not something this build can do */
} spec_err;

/* A short English sentence for a code, static storage, never NULL. */
SPEC_API const char *spec_strerror(int err);

/* Room for the story behind an error: which file, which place, what was
 * expected. Functions that take one accept NULL. Empty unless they failed. */
typedef struct spec_message {
    char text[512];
} spec_message;

/*
 * One function is the whole allocator, in the manner of realloc:
 *   ptr == NULL        allocate new_size bytes, or NULL when refused
 *   new_size == 0      free ptr (of old_size bytes); the result is ignored
 *   otherwise          resize; NULL when refused, and then ptr is still valid
 * Memory must be aligned as malloc's is. Sizes are always exact, so the
 * function may keep accounts. It is called from whatever thread calls the
 * library. fn == NULL means the C library's realloc and free.
 */
typedef struct spec_allocator {
    void *(*fn)(void *user, void *ptr, size_t old_size, size_t new_size);
    void *user;
} spec_allocator;

#ifdef __cplusplus
}
#endif
#endif

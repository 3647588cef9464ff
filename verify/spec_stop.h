/* SPDX-License-Identifier: MIT */
/*
 * spec_stop.h - where a response ends: at a token that ends sequences, or where a
 * stop string is complete. An accepted path can run past that place; the tokens
 * after it are not part of the response.
 *
 *     committed     "Par"  "is."  "\n"  "Q"  ":"  "Wh"       stop string "\nQ:"
 *                                   |---------|
 *     n_tokens = 5: "Wh" goes       |         the string is complete in the 5th token
 *     n_text:                       the text ends before the string
 *
 *     spec_stop_new(&stop, &options, alloc)
 *     after each step:
 *         spec_stop_feed(stop, committed, pieces, n, &r)
 *         show the text up to r.n_text; keep r.n_tokens of the tokens
 *         until r.reason != SPEC_STOP_NONE
 *
 * Strings are matched byte by byte over the pieces that the caller gives, across
 * tokens and steps, so how a text was cut into tokens and steps does not matter. Text that
 * may yet turn out to begin a stop string is held back from n_text; when a response ends for
 * another reason, such as its length, show it all.
 */
#ifndef SPEC_STOP_H
#define SPEC_STOP_H

#include "specdec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum spec_stop_reason {
    SPEC_STOP_NONE = 0,
    SPEC_STOP_TOKEN = 1,  /* a token of the set came */
    SPEC_STOP_STRING = 2, /* a stop string is complete */
} spec_stop_reason;

typedef struct spec_bytes {
    const char *data; /* (n) any bytes; may be NULL for none */
    size_t n;
} spec_bytes;

typedef struct spec_stop_options {
    size_t size;              /* sizeof(spec_stop_options) */
    const spec_token *tokens; /* (n_tokens) any of them ends the response */
    size_t n_tokens;
    const spec_bytes *strings; /* (n_strings) none empty */
    size_t n_strings;
} spec_stop_options;

typedef struct spec_stop_result {
    spec_stop_reason reason;
    size_t n_tokens;     /* of the tokens fed, how many belong to the response: all, or up to the one that
                          * ended it, that one included */
    uint64_t n_text;     /* bytes of the whole response's text that are certain. At the end: all of it,
                          * without the stop string, and without the piece of a token that ended it */
    size_t which;        /* the stop string or the token of the set, as numbered in the options */
    uint64_t string_end; /* at a stop string's end: the byte after it */
} spec_stop_result;

typedef struct spec_stop spec_stop;

/* Copies the options. NULL: nothing ends a response. SPEC_ERR_INVALID (a negative token,
 * an empty string), SPEC_ERR_VERSION (options with fields of a later version), SPEC_ERR_NOMEM. */
SPEC_API SPEC_MUST_CHECK int spec_stop_new(spec_stop **out, const spec_stop_options *o,
                                           const spec_allocator *alloc, spec_message *why);
SPEC_API void spec_stop_free(spec_stop *s); /* NULL is accepted */

/*
 * Feeds the next tokens of the response, each with the text that it adds: what a streaming
 * detokenizer gives for it, which may be nothing. pieces == NULL: no text; only tokens are looked at.
 * Of several strings the one that is complete first ends the response, of those the longest,
 * of equal ones the first. A token of the set ends it before its piece is looked at.
 * SPEC_ERR_STATE: it has ended already. SPEC_ERR_INVALID. O(bytes * strings), no allocation.
 */
SPEC_API SPEC_MUST_CHECK int spec_stop_feed(spec_stop *s, const spec_token *tok, const spec_bytes *pieces,
                                            size_t n, spec_stop_result *out);

/* A new response begins. */
SPEC_API void spec_stop_reset(spec_stop *s);

#ifdef __cplusplus
}
#endif
#endif

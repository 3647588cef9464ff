/* SPDX-License-Identifier: MIT */
/*
 * parts.h - drafters made of drafters: what union and cascade share. Private to
 * draft/.
 */
#ifndef DRAFT_PARTS_H
#define DRAFT_PARTS_H

#include "draft_internal.h"

#define SPECP_MAX_PARTS   8
#define SPECP_MAX_NESTING 8 /* parentheses within parentheses */

typedef struct specp_part {
    spec_drafter *d;
    spec_needs needs;
    uint32_t *tap_at; /* (needs.n_taps) which of the taps of all parts is its j-th */
} specp_part;

typedef struct specp_parts {
    specp_part part[SPECP_MAX_PARTS];
    size_t n;
    spec_needs needs;   /* of all parts together */
    int32_t *tap_layer; /* (tap_cap) needs.tap_layer points here */
    size_t tap_cap;
    spec_allocator alloc; /* through the account */
    specp_account account;
} specp_parts;

/*
 * Opens the drafters of `text`, PART, separator, PART, ...: at least `min`, at most
 * `max`, into d[0..*n). A PART is what spec_drafter_open takes, or that in
 * parentheses, within which separators are not looked for. `name` is the drafter
 * made, for messages.
 */
SPEC_MUST_CHECK int specp_parts_open(spec_drafter **d, size_t *n, const char *name, const char *text,
                                     size_t len, char separator, size_t min, size_t max,
                                     const spec_drafter_env *env, const spec_allocator *alloc,
                                     spec_message *why);

/* Holds n drafters, which specp_parts_close frees. */
SPEC_MUST_CHECK int specp_parts_init(specp_parts *p, spec_drafter *const *d, size_t n,
                                     const spec_allocator *alloc);
void specp_parts_close(specp_parts *p);
void specp_parts_release(specp_parts *p); /* the same, but for the drafters */

/* The first place of `word` in the text that is outside all parentheses; `len`
 * where there is none. */
size_t specp_parts_find(const char *text, size_t len, const char *word);

/* What the combined drafter's own entries need of the parts. */
void specp_parts_stats(specp_parts *p, spec_drafter_stats *out);
int specp_parts_save(specp_parts *p, uint64_t tenant, const char *path, spec_message *why);

/* The combined drafters of drafters, which they take on success. */
SPEC_MUST_CHECK int specp_union_of(spec_drafter **out, spec_drafter *const *d, size_t n,
                                   const spec_allocator *alloc);
SPEC_MUST_CHECK int specp_cascade_of(spec_drafter **out, spec_drafter *const d[2], double tau,
                                     const spec_allocator *alloc);

/* ---- requests ------------------------------------------------------------ */

/*
 * A request of each part. An outcome reaches a part in several calls; `told[k]`
 * is 0, or 1 + the tokens of the present outcome that part k knows: other than 0
 * only after a failure, so that the repeated call goes on where it stopped.
 */
typedef struct specp_parts_request {
    spec_request *of[SPECP_MAX_PARTS];
    size_t told[SPECP_MAX_PARTS];
} specp_parts_request;

SPEC_MUST_CHECK int specp_parts_begin(specp_parts *p, const spec_request_info *info, specp_parts_request *r);
void specp_parts_end(specp_parts *p, specp_parts_request *r);

/* Empties a part's tree and gives it at least `nodes` of room, and none for q rows. */
SPEC_MUST_CHECK int specp_parts_room(const specp_parts *p, spec_tree *t, uint32_t nodes);

/* Whether all parts know the same text: they may be asked. */
bool specp_parts_even(const specp_parts *p, const specp_parts_request *r);

/* Tells every part what concerns it. own[k] is what part k drafted, NULL for nothing. */
SPEC_MUST_CHECK int specp_parts_observe(specp_parts *p, specp_parts_request *r, const spec_outcome *o,
                                        const spec_tree *const *own);

#endif

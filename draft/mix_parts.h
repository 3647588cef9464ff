/* SPDX-License-Identifier: MIT */
/* mix_parts.h - the drafter mix itself, and fed by other drafters. Private to draft/. */
#ifndef DRAFT_MIX_PARTS_H
#define DRAFT_MIX_PARTS_H

#include "draft_internal.h"

/* The drafter mix alone, with its own options. */
SPEC_MUST_CHECK int specp_mix_core_open(spec_drafter **out, const char *options, const spec_allocator *alloc,
                                        spec_message *why);

/* A proposal of a request of such a drafter that has other drafters' drafts as evidence, n at most MIX_PARTS;
 * `state` is what its begin made. */
int specp_mix_propose_with(void *self, void *state, const spec_propose_args *a, const spec_tree *const *draft,
                           size_t n, spec_tree *out);

#endif

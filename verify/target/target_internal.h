/* SPDX-License-Identifier: MIT */
/*
 * target_internal.h - what a spec_target is made of. target.c opens and frees
 * it; forward*.c and sequence.c run it.
 */
#ifndef SPECP_TARGET_INTERNAL_H
#define SPECP_TARGET_INTERNAL_H

#include "kernels.h"
#include "model.h"
#include "spec_target.h"
#include "team.h"

struct specp_forward; /* forward.c's own: scratch of a pass */

struct spec_target {
    spec_allocator alloc;
    spec_target_options
        options;  /* as asked for, defaults filled in: threads, kv_type and max_context are set */
    unsigned isa; /* instruction sets allowed */
    specp_model model;
    specp_kernels k;
    specp_team *team;
    struct specp_forward *fwd; /* NULL until forward.c makes it */
};

/* Frees t->fwd, if there is one, and sets it to NULL (forward.c). */
void specp_forward_release(spec_target *t);

#endif

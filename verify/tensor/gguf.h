/* SPDX-License-Identifier: MIT */
/* gguf.h - the numbers of GGUF, shared by its reader and its writer. Private to verify/tensor/. */
#ifndef SPECP_GGUF_H
#define SPECP_GGUF_H

#include "tensors_internal.h"

#define SPECP_GGUF_TYPES     40
#define SPECP_GGUF_ALIGNMENT 32 /* where general.alignment is missing */

/* By its number in the file: its name, NULL where there is none, and what it is
 * here, SPEC_TYPES where it is not supported. */
typedef struct specp_gguf_type {
    const char *name;
    spec_type type;
} specp_gguf_type;

extern const specp_gguf_type specp_gguf_types[SPECP_GGUF_TYPES];

#endif

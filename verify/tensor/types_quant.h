/* SPDX-License-Identifier: MIT */
/*
 * types_quant.h - what types.c asks of types_quant.c: one block at a time.
 */
#ifndef SPECP_TYPES_QUANT_H
#define SPECP_TYPES_QUANT_H

#include "spec_tensors.h"

/* n_blocks blocks of a quantised type to floats and back. */
void specp_dequantise(spec_type type, const void *src, float *dst, size_t n_blocks);
void specp_quantise(spec_type type, const float *src, void *dst, size_t n_blocks);

#endif

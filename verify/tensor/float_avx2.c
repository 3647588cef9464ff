/* SPDX-License-Identifier: MIT */
/*
 * float_avx2.c - matrix kernels of float weights, AVX2, FMA and F16C. See float_body.h.
 */
#if defined(__AVX2__)
#include "float_body.h"

void specp_float_avx2(specp_kernels *k) { ENTER(k, "avx2", SPECP_ISA_AVX2); }
#else
#include "kernels.h"

void specp_float_avx2(specp_kernels *k) { (void)k; }
#endif

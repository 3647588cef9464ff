/* SPDX-License-Identifier: MIT */
/*
 * float_avx512.c - matrix kernels of float weights, AVX-512. See float_body.h.
 */
#if defined(__AVX512F__)
#include "float_body.h"

void specp_float_avx512(specp_kernels *k) { ENTER(k, "avx512", SPECP_ISA_AVX2 | SPECP_ISA_AVX512); }
#else
#include "kernels.h"

void specp_float_avx512(specp_kernels *k) { (void)k; }
#endif

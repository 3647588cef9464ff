/* SPDX-License-Identifier: MIT */
/*
 * ops_avx2.c - everything but the matrix kernels, AVX2, FMA and F16C. See ops_body.h.
 */
#if defined(__AVX2__)
#include "ops_body.h"

void specp_ops_avx2(specp_kernels *k) { enter(k); }
#else
#include "kernels.h"

void specp_ops_avx2(specp_kernels *k) { (void)k; }
#endif

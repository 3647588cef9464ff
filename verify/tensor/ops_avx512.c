/* SPDX-License-Identifier: MIT */
/*
 * ops_avx512.c - everything but the matrix kernels, AVX-512. See ops_body.h.
 */
#if defined(__AVX512F__)
#include "ops_body.h"

void specp_ops_avx512(specp_kernels *k) { enter(k); }
#else
#include "kernels.h"

void specp_ops_avx512(specp_kernels *k) { (void)k; }
#endif

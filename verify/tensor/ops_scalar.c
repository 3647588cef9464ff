/* SPDX-License-Identifier: MIT */
/*
 * ops_scalar.c - everything but the matrix kernels, plain C. See ops_body.h.
 */
#include "ops_body.h"

void specp_ops_scalar(specp_kernels *k) { enter(k); }

/* SPDX-License-Identifier: MIT */
/*
 * float_scalar.c - matrix kernels of float weights, plain C. See float_body.h.
 */
#include "float_body.h"

void specp_float_scalar(specp_kernels *k) { ENTER(k, "scalar", 0); }

/* SPDX-License-Identifier: MIT */
/*
 * rows_scalar.c - rows in training for every processor, and the choice among the
 * variants. See rows_body.h.
 */
#include "kernels.h"
#include "rows_body.h"

void train_rows_scalar(train_rows *t) { enter(t); }

void train_rows_init(train_rows *t, unsigned isa) {
    train_rows_scalar(t);
    if (isa & SPECP_ISA_AVX2) train_rows_avx2(t);
    if (isa & SPECP_ISA_AVX512) train_rows_avx512(t);
}

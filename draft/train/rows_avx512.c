/* SPDX-License-Identifier: MIT */
/*
 * rows_avx512.c - rows in training, AVX-512. See rows_body.h.
 */
#if defined(__AVX512F__)
#include "rows_body.h"

void train_rows_avx512(train_rows *t) { enter(t); }
#else
#include "train_rows.h"

void train_rows_avx512(train_rows *t) { (void)t; }
#endif

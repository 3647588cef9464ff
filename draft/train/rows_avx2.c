/* SPDX-License-Identifier: MIT */
/*
 * rows_avx2.c - rows in training, AVX2. See rows_body.h.
 */
#if defined(__AVX2__)
#include "rows_body.h"

void train_rows_avx2(train_rows *t) { enter(t); }
#else
#include "train_rows.h"

void train_rows_avx2(train_rows *t) { (void)t; }
#endif

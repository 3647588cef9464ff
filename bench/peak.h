/* SPDX-License-Identifier: MIT */
/*
 * peak.h - what this machine can do at most: reading memory, and multiplying.
 * Small loops that do nothing else, on all threads of a team at a time. (A busy
 * neighbour makes them slow: take the best of several.)
 */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

#include <stddef.h>
#include <stdint.h>

#include "team.h"

/* Billions of bytes a second at which the team reads n bytes, each thread its part,
 * again and again where they are few. */
double peak_read_gbs(specp_team *t, const uint8_t *bytes, size_t n);

/* Billions of operations a second, a multiplication and an addition counting as
 * two: of floats, and of 8-bit integers added up in 32 bits (by what instructions
 * the processor has for that). */
double peak_float_gops(specp_team *t);
double peak_int8_gops(specp_team *t);

/* The same of floats in OpenBLAS's matrix product of order 1,024, each thread its own: the best of
 * three, a tenth of a second. OpenBLAS must have one thread. NAN: no memory. */
double peak_sgemm_gops(specp_team *t);

#endif

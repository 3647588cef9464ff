/* SPDX-License-Identifier: MIT */
/*
 * npy.h - reading arrays of numpy's .npy format: little-endian floats (16, 32, 64
 * bits) and integers (8 to 64 bits), in C order. Strict: what is not exactly such
 * a file is refused, with the place and what was expected.
 */
#ifndef BENCH_NPY_H
#define BENCH_NPY_H

#include <stdbool.h>

#include "specdec.h"

#define NPY_DIMS 4

typedef enum npy_kind { NPY_FLOAT, NPY_INT, NPY_UINT, NPY_BOOL } npy_kind;

typedef struct npy {
    npy_kind kind;
    size_t width; /* bytes of an element */
    size_t n_dims;
    uint64_t dim[NPY_DIMS]; /* outermost first; unused ones are 1 */
    uint64_t n;             /* elements */
    const uint8_t *data;    /* not aligned */
    void *map;              /* private */
    size_t map_bytes;
} npy;

/* SPEC_ERR_NOT_FOUND, SPEC_ERR_IO, SPEC_ERR_CORRUPT, SPEC_ERR_UNSUPPORTED (a type or an order that is
 * not read); *why names the file. *out is empty on failure. */
int npy_open(npy *out, const char *path, spec_message *why);
void npy_close(npy *a);

/* The same on n bytes in memory, which are borrowed; `name` is for messages. */
int npy_parse(npy *out, const char *name, const void *bytes, size_t n, spec_message *why);

/* Whether the file begins as a .npy file does. */
bool npy_is(const char *path);

double npy_real(const npy *a, uint64_t i); /* element i of floats */
/* Element i of integers; false where it does not fit. */
bool npy_int(const npy *a, uint64_t i, int64_t *out);
/* n floats from element i on; an element beyond float's range becomes infinite. */
void npy_floats(const npy *a, uint64_t i, float *out, size_t n);

#endif

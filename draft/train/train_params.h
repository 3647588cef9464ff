/* SPDX-License-Identifier: MIT */
/*
 * train_params.h - what is trained: named tensors, which lie one after the other
 * in flat arrays of values, gradients and Adam's moments.
 *
 *     view 0            view 1      ...
 *     |-----------------|-----------|------------|   value   (n)
 *     |                 |           |            |   grad    (n)
 *     |                 |           |            |   m, v    (n) each
 *
 *     train_params_add(&p, "model.norm.weight", 0, dim)    for each tensor
 *     train_params_alloc(&p)
 *     each step: memset(p.grad, ...), backward, train_adamw_step(... p.value, p.m, p.v, p.n)
 */
#ifndef TRAIN_PARAMS_H
#define TRAIN_PARAMS_H

#include "spec_tensors.h"
#include "specp.h"

/* A named part of the flat arrays: elements offset .. offset + rows * cols - 1. */
typedef struct train_view {
    char name[64]; /* as in the published file: "model.layers.0.mlp.up_proj.weight" */
    size_t offset, rows, cols;
    uint32_t n_dims; /* 1: a vector, rows == 1 */
} train_view;

typedef struct train_params {
    size_t n, n_views, cap_views;
    train_view *view;
    float *value, *grad, *m, *v; /* (n) each; NULL before train_params_alloc */
    spec_allocator alloc;
} train_params;

/* alloc may be NULL; max_views: how many will be added. SPEC_ERR_NOMEM. */
int train_params_init(train_params *p, size_t max_views, const spec_allocator *alloc);
/* rows 0: a vector. Not more than were announced; sizes the caller has checked. */
train_view *train_params_add(train_params *p, const char *name, size_t rows, size_t cols);
/* All arrays as zeros. SPEC_ERR_NOMEM. */
int train_params_alloc(train_params *p);
void train_params_release(train_params *p);

/* value[offset .. offset + n - 1] nearly normal, of that deviation. Equal seeds and offsets give equal
 * bits. */
void train_params_normal(train_params *p, uint64_t seed, size_t offset, size_t n, float deviation);

/*
 * Values from a file with tensors of the views' names, behind `prefix`, and shapes, of any type of
 * floats. SPEC_ERR_CORRUPT names the first that is missing or does not fit; the values are then as
 * before.
 */
int train_params_load(train_params *p, const spec_tensors *f, const char *prefix, spec_message *why);

#endif

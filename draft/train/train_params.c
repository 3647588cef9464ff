/* SPDX-License-Identifier: MIT */
/* Named tensors in flat arrays: adding, first values, loading. */
#include "train_params.h"

#include <stdio.h>

/* ---- life ---------------------------------------------------------------- */

int train_params_init(train_params *p, size_t max_views, const spec_allocator *alloc) {
    *p = (train_params){.cap_views = max_views};
    if (alloc) p->alloc = *alloc;
    p->view = specp_calloc(alloc, max_views, sizeof *p->view);
    return p->view ? SPEC_OK : SPEC_ERR_NOMEM;
}

train_view *train_params_add(train_params *p, const char *name, size_t rows, size_t cols) {
    train_view *v = &p->view[p->n_views++];
    snprintf(v->name, sizeof v->name, "%s", name);
    v->offset = p->n;
    v->rows = rows ? rows : 1;
    v->cols = cols;
    v->n_dims = rows ? 2 : 1;
    p->n += v->rows * cols;
    return v;
}

int train_params_alloc(train_params *p) {
    p->value = specp_calloc(&p->alloc, p->n, 4 * sizeof *p->value);
    if (!p->value) return SPEC_ERR_NOMEM;
    p->grad = p->value + p->n;
    p->m = p->grad + p->n;
    p->v = p->m + p->n;
    return SPEC_OK;
}

void train_params_release(train_params *p) {
    specp_release(&p->alloc, p->value, p->n, 4 * sizeof *p->value);
    specp_release(&p->alloc, p->view, p->cap_views, sizeof *p->view);
    *p = (train_params){0};
}

/* ---- values -------------------------------------------------------------- */

/* Nearly normal, of variance 1: twelve uniform numbers of 16 bits. */
static float normal(uint64_t key) {
    uint32_t sum = 0;
    for (uint64_t i = 0; i < 3; i++) {
        for (uint64_t bits = specp_mix64(key * 3 + i), j = 0; j < 4; j++, bits >>= 16) sum += bits & 0xffff;
    }
    return ((float)sum - 6.0f * 65535.0f) / 65536.0f;
}

void train_params_normal(train_params *p, uint64_t seed, size_t offset, size_t n, float deviation) {
    uint64_t key = specp_mix64(seed);
    for (size_t j = offset; j < offset + n; j++) p->value[j] = deviation * normal(key + j);
}

static bool fits(const train_view *v, const spec_tensor *t) {
    return t->n_dims == v->n_dims && t->dim[v->n_dims - 1] == v->cols &&
           (v->n_dims == 1 || t->dim[0] == v->rows) &&
           (t->type == SPEC_TYPE_F32 || t->type == SPEC_TYPE_F16 || t->type == SPEC_TYPE_BF16);
}

static const spec_tensor *find(const spec_tensors *f, const char *prefix, const train_view *v) {
    char name[128];
    snprintf(name, sizeof name, "%s%s", prefix, v->name);
    return spec_tensors_find(f, name);
}

int train_params_load(train_params *p, const spec_tensors *f, const char *prefix, spec_message *why) {
    for (size_t i = 0; i < p->n_views; i++) {
        const train_view *v = &p->view[i];
        const spec_tensor *t = find(f, prefix, v);
        if (!t || !fits(v, t)) {
            return specp_fail(why, SPEC_ERR_CORRUPT, "%s: %s%s is %s, expected floats (%zu, %zu)",
                              spec_tensors_path(f), prefix, v->name,
                              t ? "of another shape or type" : "missing", v->rows, v->cols);
        }
    }
    for (size_t i = 0; i < p->n_views; i++) {
        const train_view *v = &p->view[i];
        const spec_tensor *t = find(f, prefix, v);
        /* cannot fail: floats of any length */
        (void)spec_type_to_float(t->type, t->data, p->value + v->offset, v->rows * v->cols);
    }
    return SPEC_OK;
}

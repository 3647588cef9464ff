/* SPDX-License-Identifier: MIT */
/* Trained tensors as a file: names and shapes first, then the data, a row at a time. */
#include "train_save.h"

#include <math.h>
#include <string.h>

static spec_type type_of(const train_view *v, const train_file *f) {
    return v->n_dims == 1 ? SPEC_TYPE_F32 : f->type;
}

static int check_values(const train_params *p, const char *path, spec_message *why) {
    for (size_t i = 0; i < p->n_views; i++) {
        const train_view *v = &p->view[i];
        for (size_t j = 0; j < v->rows * v->cols; j++) {
            if (!isfinite(p->value[v->offset + j]))
                return specp_fail(why, SPEC_ERR_INVALID, "%s: not written, %s holds %g at %zu", path, v->name,
                                  (double)p->value[v->offset + j], j);
        }
    }
    return SPEC_OK;
}

static int refused(const char *path, const char *what, const char *name, int err, spec_message *why) {
    return specp_fail(why, err, "%s: %s %s cannot be written: %s", path, what, name, spec_strerror(err));
}

static int add_meta(spec_writer *w, const train_meta *m) {
    switch (m->kind) {
    case SPEC_META_UINT: return spec_writer_meta_uint(w, m->key, m->u);
    case SPEC_META_FLOAT: return spec_writer_meta_float(w, m->key, m->f);
    case SPEC_META_BOOL: return spec_writer_meta_bool(w, m->key, m->u != 0);
    case SPEC_META_STRING: return spec_writer_meta_string(w, m->key, m->s, strlen(m->s));
    case SPEC_META_ARRAY: return spec_writer_meta_ints(w, m->key, m->ints, m->n);
    default: return SPEC_ERR_UNSUPPORTED;
    }
}

static int describe(spec_writer *w, const train_params *p, const char *path, const train_file *f,
                    spec_message *why) {
    int err = SPEC_OK;
    for (size_t list = 0; list < 2; list++) {
        for (size_t i = 0; i < f->meta[list].n; i++) {
            const train_meta *m = &f->meta[list].entry[i];
            err = add_meta(w, m);
            if (err) return refused(path, "entry", m->key, err, why);
        }
    }
    for (size_t i = 0; i < p->n_views; i++) {
        const train_view *v = &p->view[i];
        uint64_t dim[2] = {v->rows, v->cols};
        err = spec_writer_tensor(w, v->name, type_of(v, f), v->n_dims, dim + 2 - v->n_dims);
        if (err) return refused(path, "tensor", v->name, err, why);
    }
    for (size_t i = 0; i < f->n_more; i++) {
        const spec_tensor *t = &f->more[i];
        err = spec_writer_tensor(w, t->name, t->type, t->n_dims, t->dim);
        if (err) return refused(path, "tensor", t->name, err, why);
    }
    return SPEC_OK;
}

/* row: room for the longest. Errors are the writer's own, which _finish tells. */
static void write_data(spec_writer *w, const train_params *p, const train_file *f, void *row) {
    int err = SPEC_OK;
    for (size_t i = 0; i < p->n_views && !err; i++) {
        const train_view *v = &p->view[i];
        spec_type type = type_of(v, f);
        size_t bytes = v->cols / spec_type_block(type) * spec_type_block_bytes(type);
        for (size_t r = 0; r < v->rows && !err; r++) {
            /* cannot fail: the writer has taken the type and the length */
            (void)spec_type_from_float(type, p->value + v->offset + r * v->cols, row, v->cols);
            err = spec_writer_data(w, row, bytes);
        }
    }
    for (size_t i = 0; i < f->n_more && !err; i++)
        err = spec_writer_data(w, f->more[i].data, f->more[i].bytes);
}

int train_save(const train_params *p, const char *path, const train_file *f, spec_message *why) {
    spec_writer *w = NULL;
    size_t longest = 0;
    for (size_t i = 0; i < p->n_views; i++) longest = p->view[i].cols > longest ? p->view[i].cols : longest;
    int err = check_values(p, path, why);
    if (!err) err = spec_writer_new(&w, path, f->format, &p->alloc, why);
    if (err) return err;
    err = describe(w, p, path, f, why);
    float *row = err ? NULL : specp_alloc(&p->alloc, longest, sizeof *row); /* no type is wider */
    if (!err && !row) err = specp_fail(why, SPEC_ERR_NOMEM, "%s: no memory for a row", path);
    if (err) {
        spec_writer_abandon(w);
        return err;
    }
    write_data(w, p, f, row);
    specp_release(&p->alloc, row, longest, sizeof *row);
    return spec_writer_finish(w, why);
}

/* SPDX-License-Identifier: MIT */
/*
 * Rows of a target's features in a safetensors file. A window is found by its tokens, so
 * the file does not depend on the order in which windows are asked for.
 *
 *     rows      (rows, (n_taps + 1) * dim)  halves: the windows' rows, one after the other
 *     windows   (windows, 2)                key of tokens and first row wanted; its place in `rows`
 *     checksum  (1)                         of both
 *
 * The metadata have the target's hash, the layers and what the data is.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train_features_internal.h"

#define ROWS     "rows"
#define WINDOWS  "windows"
#define CHECKSUM "checksum"

typedef struct window {
    uint64_t key, row;
} window;

struct train_dump {
    spec_tensors *file;
    const char *rows;
    size_t row_bytes, n_rows, n;
    window *window; /* (n) by key */
};

static uint64_t key_of(const spec_token *tokens, size_t n, size_t first) {
    uint64_t head[] = {n, first};
    return train_features_hash(train_features_hash(0, head, sizeof head), tokens, n * sizeof *tokens);
}

static size_t width_of(const train_features *f) { return (f->n_taps + 1) * f->dim; }

/* ---- what a file is of --------------------------------------------------- */

enum { KIND, TARGET, TAPS, DATA, TRAITS };

/* The metadata, and what to say where one is another. */
static const struct {
    const char *key, *other;
} trait[TRAITS] = {{"features.kind", "no file of features"},
                   {"features.target", "made with another target"},
                   {"features.taps", "made of other layers"},
                   {"features.data", "made of other requests, or other windows of them"}};

typedef struct traits {
    char value[TRAITS][16 * (TRAIN_FEATURES_MAX_TAPS + 1)];
} traits;

static traits traits_of(const train_features *f, uint64_t data) {
    traits t;
    size_t at = 0, size = sizeof t.value[0];
    snprintf(t.value[KIND], size, "v1, %zu wide", f->dim);
    snprintf(t.value[TARGET], size, "%" PRIu64, train_target_hash(f->target));
    snprintf(t.value[DATA], size, "%" PRIu64, data);
    for (size_t i = 0; i <= f->n_taps; i++)
        at += (size_t)snprintf(t.value[TAPS] + at, size - at, "%s%d", i ? "," : "", (int)f->tap[i]);
    return t;
}

static int check_traits(const train_features *f, const spec_tensors *file, uint64_t data, spec_message *why) {
    traits t = traits_of(f, data);
    for (int i = 0; i < TRAITS; i++) {
        const spec_meta *m = spec_tensors_meta(file, trait[i].key);
        const char *s = NULL;
        size_t n = 0;
        if (m && spec_meta_string(m, 0, &s, &n) == SPEC_OK && n == strlen(t.value[i]) &&
            memcmp(s, t.value[i], n) == 0)
            continue;
        return specp_fail(why, i ? SPEC_ERR_INVALID : SPEC_ERR_CORRUPT, "%s: %s", spec_tensors_path(file),
                          trait[i].other);
    }
    return SPEC_OK;
}

/* ---- writing ------------------------------------------------------------- */

typedef struct writing {
    train_features *f;
    const char *path;
    const train_dump_source *source;
    spec_writer *writer;
    window *window; /* (n) */
    size_t n, rows;
    uint16_t *half; /* (seq, width) */
    uint64_t checksum;
} writing;

/* The windows that are within the limit. */
static int plan(writing *w, spec_message *why) {
    const train_dump_source *s = w->source;
    size_t row_bytes = width_of(w->f) * sizeof *w->half;
    for (; w->n < s->n; w->n++) {
        const spec_token *tokens;
        size_t first, n = s->window(s->user, w->n, &tokens, &first);
        if ((w->rows + n - first) * row_bytes > s->limit) break;
        w->window[w->n] = (window){key_of(tokens, n, first), w->rows};
        w->rows += n - first;
    }
    if (w->n) return SPEC_OK;
    return specp_fail(why, SPEC_ERR_INVALID, "%s: there is no window of at most %" PRIu64 " bytes", w->path,
                      s->limit);
}

static int describe(writing *w, spec_message *why) {
    traits t = traits_of(w->f, w->source->data);
    const uint64_t rows[] = {w->rows, width_of(w->f)}, windows[] = {w->n, 2}, one = 1;
    int err = SPEC_OK;
    for (int i = 0; i < TRAITS && !err; i++)
        err = spec_writer_meta_string(w->writer, trait[i].key, t.value[i], strlen(t.value[i]));
    if (!err) err = spec_writer_tensor(w->writer, ROWS, SPEC_TYPE_F16, 2, rows);
    if (!err) err = spec_writer_tensor(w->writer, WINDOWS, SPEC_TYPE_I64, 2, windows);
    if (!err) err = spec_writer_tensor(w->writer, CHECKSUM, SPEC_TYPE_I64, 1, &one);
    return err ? specp_fail(why, err, "%s: cannot be described: %s", w->path, spec_strerror(err)) : SPEC_OK;
}

static int put(writing *w, const void *data, size_t bytes) {
    w->checksum = train_features_hash(w->checksum, data, bytes);
    return spec_writer_data(w->writer, data, bytes);
}

static int put_window(writing *w, size_t i, spec_message *why) {
    const train_dump_source *s = w->source;
    const spec_token *tokens;
    const float *rows;
    size_t first, n = s->window(s->user, i, &tokens, &first), width = width_of(w->f);
    int err = train_features_compute(w->f, tokens, n, first, &rows, why);
    if (err) return err;
    size_t count = (n - first) * width;
    for (size_t k = 0; k < count; k++)
        if (!(rows[k] > -65504.0f && rows[k] < 65504.0f))
            return specp_fail(why, SPEC_ERR_INVALID, "%s: a hidden state is %g: too large for halves",
                              w->path, (double)rows[k]);
    (void)spec_type_from_float(SPEC_TYPE_F16, rows, w->half, count); /* cannot fail: any n of a plain type */
    for (size_t r = 0; r < n - first && !err; r++) err = put(w, w->half + r * width, width * sizeof *w->half);
    return err;
}

static int write_all(writing *w, spec_message *why) {
    int err = plan(w, why);
    if (!err) err = spec_writer_new(&w->writer, w->path, SPEC_FORMAT_SAFETENSORS, &w->f->alloc, why);
    if (err) return err;
    err = describe(w, why);
    for (size_t i = 0; i < w->n && !err; i++) err = put_window(w, i, why);
    if (!err) err = put(w, w->window, w->n * sizeof *w->window);
    if (!err) err = spec_writer_data(w->writer, &w->checksum, sizeof w->checksum);
    if (!err || err == SPEC_ERR_IO)
        return spec_writer_finish(w->writer, why); /* which tells its own errors */
    spec_writer_abandon(w->writer);
    return err;
}

int train_features_dump(train_features *f, const char *path, const train_dump_source *source,
                        spec_message *why) {
    writing w = {.f = f, .path = path, .source = source};
    size_t halves = f->seq * width_of(f);
    w.window = specp_alloc(&f->alloc, source->n, sizeof *w.window);
    w.half = specp_alloc(&f->alloc, halves, sizeof *w.half);
    int err = w.window && w.half ? write_all(&w, why)
                                 : specp_fail(why, SPEC_ERR_NOMEM, "no memory for %zu windows", source->n);
    specp_release(&f->alloc, w.window, source->n, sizeof *w.window);
    specp_release(&f->alloc, w.half, halves, sizeof *w.half);
    return err;
}

/* ---- reading ------------------------------------------------------------- */

static int by_key(const void *a, const void *b) {
    const window *x = a, *y = b;
    return x->key != y->key ? (x->key < y->key ? -1 : 1) : (x->row > y->row) - (x->row < y->row);
}

static const spec_tensor *tensor(const spec_tensors *f, const char *name, spec_type type, uint64_t cols) {
    const spec_tensor *t = spec_tensors_find(f, name);
    bool fits = t && t->type == type && t->n_dims == (cols ? 2u : 1u) && (!cols || t->dim[1] == cols);
    return fits && t->dim[0] > 0 ? t : NULL;
}

/* As it was added up when it was written: row by row. */
static uint64_t checksum_of(const train_dump *d, const spec_tensor *rows, const spec_tensor *windows) {
    uint64_t h = 0;
    for (uint64_t r = 0; r < rows->dim[0]; r++)
        h = train_features_hash(h, d->rows + r * d->row_bytes, d->row_bytes);
    return train_features_hash(h, windows->data, windows->bytes);
}

static int take_tensors(train_dump *d, const train_features *f, spec_message *why) {
    const spec_tensor *rows = tensor(d->file, ROWS, SPEC_TYPE_F16, width_of(f)),
                      *windows = tensor(d->file, WINDOWS, SPEC_TYPE_I64, 2),
                      *sum = tensor(d->file, CHECKSUM, SPEC_TYPE_I64, 0);
    uint64_t expected = 0;
    d->row_bytes = width_of(f) * sizeof(uint16_t);
    if (rows) {
        d->rows = rows->data;
        d->n_rows = (size_t)rows->dim[0];
    }
    if (sum) memcpy(&expected, sum->data, sizeof expected);
    if (!rows || !windows || !sum || checksum_of(d, rows, windows) != expected)
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s: its checksum is wrong: damaged",
                          spec_tensors_path(d->file));
    d->window = specp_alloc(&f->alloc, (size_t)windows->dim[0], sizeof *d->window);
    if (!d->window) return specp_fail(why, SPEC_ERR_NOMEM, "no memory for a table of windows");
    d->n = (size_t)windows->dim[0];
    memcpy(d->window, windows->data, windows->bytes);
    qsort(d->window, d->n, sizeof *d->window, by_key);
    return SPEC_OK;
}

int train_features_use(train_features *f, const char *path, uint64_t data, spec_message *why) {
    train_dump *d = specp_calloc(&f->alloc, 1, sizeof *d);
    if (!d) return specp_fail(why, SPEC_ERR_NOMEM, "no memory to read %s", path);
    int err = spec_tensors_open(&d->file, path, &f->alloc, why);
    if (!err) err = check_traits(f, d->file, data, why);
    if (!err) err = take_tensors(d, f, why);
    if (err) {
        train_dump_free(d, &f->alloc);
        return err;
    }
    train_dump_free(f->dump, &f->alloc);
    f->dump = d;
    return SPEC_OK;
}

void train_dump_free(train_dump *d, const spec_allocator *alloc) {
    if (!d) return;
    specp_release(alloc, d->window, d->n, sizeof *d->window);
    spec_tensors_free(d->file);
    specp_release(alloc, d, 1, sizeof *d);
}

const void *train_dump_find(const train_dump *d, const spec_token *tokens, size_t n, size_t first) {
    uint64_t key = key_of(tokens, n, first);
    size_t low = 0, high = d->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (d->window[mid].key < key)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == d->n || d->window[low].key != key) return NULL;
    uint64_t row = d->window[low].row; /* of whoever made the file: within it, or it is not used */
    bool within = row < d->n_rows && n - first <= d->n_rows - row;
    return within ? d->rows + row * d->row_bytes : NULL;
}

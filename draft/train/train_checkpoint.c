/* SPDX-License-Identifier: MIT */
/*
 * Checkpoints: what is written goes through one function, which adds it to the checksum;
 * what is read is first checked to its end, in the same order, and then copied.
 */
#include "train_checkpoint.h"

#include <stdio.h>
#include <string.h>

#define N_COUNTS   4
#define BEST_STEP  3 /* the place of it among them */
#define N_MEASURES (1 + 2 * TRAIN_MEASURES)
#define COUNTS     "run.counts"
#define MEASURES   "run.measures"
#define CHECKSUM   "run.checksum"
#define SETTING    "setting."
#define KIND       "train"
#define KIND_VALUE "checkpoint v1"

/* ---- arrays -------------------------------------------------------------- */

enum { VALUES, MOMENTS_M, MOMENTS_V, GRADIENTS, BEST, ARRAYS };

static const char *const prefix[ARRAYS] = {"", "adam.m.", "adam.v.", "grad.", "best."};

/* NULL: not in a file of that state. */
static float *array(const train_checkpoint *c, int which, bool under_way, bool best) {
    train_params *p = c->params;
    switch (which) {
    case VALUES: return p->value;
    case MOMENTS_M: return p->m;
    case MOMENTS_V: return p->v;
    case GRADIENTS: return under_way ? p->grad : NULL;
    default: return best ? c->best : NULL; /* BEST */
    }
}

typedef struct full_name {
    char text[96];
} full_name;

static full_name name_of(int which, const train_view *v) {
    full_name n;
    snprintf(n.text, sizeof n.text, "%s%s", prefix[which], v->name);
    return n;
}

/* Every step can be undone, so no change of a single word is missed. */
static uint64_t checksum(uint64_t h, const void *data, size_t bytes) {
    const unsigned char *p = data;
    for (; bytes; p += 8) {
        uint64_t word = 0;
        size_t n = bytes < 8 ? bytes : 8;
        memcpy(&word, p, n);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
        bytes -= n;
    }
    return h;
}

static uint64_t settings_checksum(const train_checkpoint *c) {
    uint64_t h = 1;
    for (size_t i = 0; i < c->n_settings; i++) {
        h = checksum(h, c->setting[i].name, strlen(c->setting[i].name) + 1);
        h = checksum(h, c->setting[i].value, strlen(c->setting[i].value) + 1);
    }
    return h;
}

static void pack(const train_state *s, uint64_t counts[N_COUNTS], double measures[N_MEASURES]) {
    memcpy(counts, (uint64_t[]){s->steps, s->batches, s->tokens, s->best_step}, N_COUNTS * sizeof *counts);
    measures[0] = s->best_loss;
    memcpy(measures + 1, s->measured.sum, sizeof s->measured.sum);
    memcpy(measures + 1 + TRAIN_MEASURES, s->measured.weight, sizeof s->measured.weight);
}

static void unpack(train_state *s, const uint64_t counts[N_COUNTS], const double measures[N_MEASURES]) {
    s->steps = counts[0];
    s->batches = counts[1];
    s->tokens = counts[2];
    s->best_step = counts[3];
    s->best_loss = measures[0];
    memcpy(s->measured.sum, measures + 1, sizeof s->measured.sum);
    memcpy(s->measured.weight, measures + 1 + TRAIN_MEASURES, sizeof s->measured.weight);
}

/* ---- writing ------------------------------------------------------------- */

static int describe(spec_writer *w, const train_checkpoint *c) {
    int err = spec_writer_meta_string(w, KIND, KIND_VALUE, strlen(KIND_VALUE));
    for (size_t i = 0; i < c->n_settings && !err; i++) {
        const train_setting *s = &c->setting[i];
        char key[64];
        snprintf(key, sizeof key, SETTING "%s", s->name);
        err = spec_writer_meta_string(w, key, s->value, strlen(s->value));
    }
    for (int a = 0; a < ARRAYS; a++) {
        if (!array(c, a, c->under_way, c->state->best_step)) continue;
        for (size_t i = 0; i < c->params->n_views && !err; i++) {
            const train_view *v = &c->params->view[i];
            uint64_t dim[2] = {v->rows, v->cols};
            err = spec_writer_tensor(w, name_of(a, v).text, SPEC_TYPE_F32, v->n_dims, dim + 2 - v->n_dims);
        }
    }
    if (!err) err = spec_writer_tensor(w, COUNTS, SPEC_TYPE_I64, 1, (uint64_t[]){N_COUNTS});
    if (!err) err = spec_writer_tensor(w, MEASURES, SPEC_TYPE_F64, 1, (uint64_t[]){N_MEASURES});
    if (!err) err = spec_writer_tensor(w, CHECKSUM, SPEC_TYPE_I64, 1, (uint64_t[]){1});
    return err;
}

static int put(spec_writer *w, uint64_t *sum, const void *data, size_t bytes) {
    *sum = checksum(*sum, data, bytes);
    return spec_writer_data(w, data, bytes);
}

static int put_all(spec_writer *w, const train_checkpoint *c) {
    uint64_t sum = settings_checksum(c), counts[N_COUNTS];
    double measures[N_MEASURES];
    int err = SPEC_OK;
    for (int a = 0; a < ARRAYS && !err; a++) {
        const float *x = array(c, a, c->under_way, c->state->best_step);
        for (size_t i = 0; x && i < c->params->n_views && !err; i++) {
            const train_view *v = &c->params->view[i];
            err = put(w, &sum, x + v->offset, v->rows * v->cols * sizeof *x);
        }
    }
    pack(c->state, counts, measures);
    if (!err) err = put(w, &sum, counts, sizeof counts);
    if (!err) err = put(w, &sum, measures, sizeof measures);
    if (!err) err = spec_writer_data(w, &sum, sizeof sum);
    return err;
}

int train_checkpoint_write(const char *path, const train_checkpoint *c, const spec_allocator *alloc,
                           spec_message *why) {
    spec_writer *w;
    int err = spec_writer_new(&w, path, SPEC_FORMAT_SAFETENSORS, alloc, why);
    if (err) return err;
    err = describe(w, c);
    if (!err) err = put_all(w, c);
    if (err && err != SPEC_ERR_IO) {
        spec_writer_abandon(w);
        return specp_fail(why, err, "%s: %s", path, spec_strerror(err));
    }
    return spec_writer_finish(w, why); /* after an error of writing it gives that, with its reason */
}

/* ---- reading ------------------------------------------------------------- */

typedef struct reader {
    const char *path;
    spec_tensors *file;
    train_checkpoint *c;
    const void *counts, *measures;
    bool under_way, best;
    spec_message *why;
} reader;

static int foreign(reader *r) {
    return specp_fail(
        r->why, SPEC_ERR_CORRUPT,
        "%s: this is no checkpoint of training; expected one that was written with --checkpoint", r->path);
}

static int check_settings(reader *r) {
    const char *s;
    size_t n;
    if (spec_meta_string(spec_tensors_meta(r->file, KIND), 0, &s, &n) || n != strlen(KIND_VALUE) ||
        memcmp(s, KIND_VALUE, n) != 0)
        return foreign(r);
    for (size_t i = 0; i < r->c->n_settings; i++) {
        const train_setting *want = &r->c->setting[i];
        char key[64];
        snprintf(key, sizeof key, SETTING "%s", want->name);
        if (spec_meta_string(spec_tensors_meta(r->file, key), 0, &s, &n)) {
            s = "missing";
            n = strlen(s);
        }
        if (n == strlen(want->value) && memcmp(s, want->value, n) == 0) continue;
        return specp_fail(r->why, SPEC_ERR_INVALID,
                          "%s: this checkpoint is of another run: %s is %.*s there, and %s now", r->path,
                          want->name, n > 80 ? 80 : (int)n, s, want->value);
    }
    return SPEC_OK;
}

/* A tensor of n elements of that type, or NULL. */
static const void *find_state(const reader *r, const char *name, spec_type type, size_t n) {
    const spec_tensor *t = spec_tensors_find(r->file, name);
    return t && t->type == type && t->n_dims == 1 && t->dim[0] == n ? t->data : NULL;
}

static bool same_shape(const spec_tensor *t, const train_view *v) {
    return t->type == SPEC_TYPE_F32 && t->n_dims == v->n_dims && t->dim[v->n_dims - 1] == v->cols &&
           (v->n_dims == 1 || t->dim[0] == v->rows);
}

static int check_array(reader *r, int which, uint64_t *sum) {
    for (size_t i = 0; i < r->c->params->n_views; i++) {
        const train_view *v = &r->c->params->view[i];
        full_name name = name_of(which, v);
        const spec_tensor *t = spec_tensors_find(r->file, name.text);
        if (!t || !same_shape(t, v)) {
            return specp_fail(r->why, SPEC_ERR_INVALID,
                              "%s: this checkpoint is of another model: %s is %s, expected F32 (%zu, %zu)",
                              r->path, name.text, t ? "of another shape or type" : "missing", v->rows,
                              v->cols);
        }
        *sum = checksum(*sum, t->data, t->bytes);
    }
    return SPEC_OK;
}

static int check_all(reader *r) {
    uint64_t sum = settings_checksum(r->c), want, counts[N_COUNTS];
    int err = check_settings(r);
    if (err) return err;
    r->counts = find_state(r, COUNTS, SPEC_TYPE_I64, N_COUNTS);
    r->measures = find_state(r, MEASURES, SPEC_TYPE_F64, N_MEASURES);
    const void *stored = find_state(r, CHECKSUM, SPEC_TYPE_I64, 1);
    if (!r->counts || !r->measures || !stored) return foreign(r);
    memcpy(counts, r->counts, sizeof counts); /* in the file they are not aligned */
    memcpy(&want, stored, sizeof want);
    r->best = counts[BEST_STEP] != 0;
    r->under_way = spec_tensors_find(r->file, name_of(GRADIENTS, &r->c->params->view[0]).text);
    for (int a = 0; a < ARRAYS && !err; a++) {
        if (array(r->c, a, r->under_way, r->best)) err = check_array(r, a, &sum);
    }
    if (err) return err;
    sum = checksum(sum, r->counts, N_COUNTS * sizeof *counts);
    sum = checksum(sum, r->measures, N_MEASURES * sizeof(double));
    if (sum == want) return SPEC_OK;
    return specp_fail(r->why, SPEC_ERR_CORRUPT, "%s: damaged: the checksum is %016llx, expected %016llx",
                      r->path, (unsigned long long)sum, (unsigned long long)want);
}

static void take_all(reader *r) {
    train_params *p = r->c->params;
    uint64_t counts[N_COUNTS];
    double measures[N_MEASURES];
    for (int a = 0; a < ARRAYS; a++) {
        float *x = array(r->c, a, r->under_way, r->best);
        for (size_t i = 0; x && i < p->n_views; i++) {
            const spec_tensor *t = spec_tensors_find(r->file, name_of(a, &p->view[i]).text);
            memcpy(x + p->view[i].offset, t->data, t->bytes);
        }
    }
    if (!r->under_way) memset(p->grad, 0, p->n * sizeof *p->grad);
    memcpy(counts, r->counts, sizeof counts);
    memcpy(measures, r->measures, sizeof measures);
    unpack(r->c->state, counts, measures);
    r->c->under_way = r->under_way;
}

int train_checkpoint_read(const char *path, train_checkpoint *c, const spec_allocator *alloc,
                          spec_message *why) {
    reader r = {.path = path, .c = c, .why = why};
    int err = spec_tensors_open(&r.file, path, alloc, why);
    if (err) return err;
    err = check_all(&r);
    if (!err) take_all(&r);
    spec_tensors_free(r.file);
    return err;
}

/* SPDX-License-Identifier: MIT */
/*
 * A target's hidden states, window by window: one sequence, which is emptied before
 * each. The final norm's output is the last of the taps that the target is asked for.
 */
#include "train_features_internal.h"

#include <string.h>

#include "target_internal.h"

/* ---- life ---------------------------------------------------------------- */

static int check(const train_features_options *o, const spec_target_info *info, spec_message *why) {
    if (o->seq < 1 || o->seq > info->context)
        return specp_fail(why, SPEC_ERR_INVALID, "windows of %zu tokens; the target's context is %zu", o->seq,
                          info->context);
    if (o->n_taps > TRAIN_FEATURES_MAX_TAPS)
        return specp_fail(why, SPEC_ERR_INVALID, "%zu layers to tap, expected at most %d", o->n_taps,
                          TRAIN_FEATURES_MAX_TAPS);
    for (size_t i = 0; i < o->n_taps; i++)
        if (o->tap[i] < -2 || o->tap[i] >= (int32_t)info->n_layers)
            return specp_fail(why, SPEC_ERR_INVALID, "tap after layer %d; the target has %zu layers",
                              (int)o->tap[i], info->n_layers);
    return SPEC_OK;
}

int train_features_new(train_features **out, spec_target *target, const train_features_options *o,
                       const spec_allocator *alloc, spec_message *why) {
    spec_target_info info = {.size = sizeof info};
    spec_target_get_info(target, &info);
    int err = check(o, &info, why);
    if (err) return err;
    train_features *f = specp_calloc(alloc, 1, sizeof *f);
    if (!f) return specp_fail(why, SPEC_ERR_NOMEM, "no memory for a target's features");
    if (alloc) f->alloc = *alloc;
    f->target = target;
    f->seq = o->seq;
    f->dim = info.dim;
    f->vocab = info.vocab;
    f->n_taps = o->n_taps;
    if (o->n_taps) memcpy(f->tap, o->tap, o->n_taps * sizeof *f->tap);
    f->tap[o->n_taps] = -1;
    err = train_ctx_init(&f->ctx, NULL, 0, 0, 0, alloc);
    if (!err) err = spec_sequence_new(&f->sequence, target, o->seq);
    if (err) {
        train_features_free(f);
        return specp_fail(why, err, "no memory for a target's features");
    }
    *out = f;
    return SPEC_OK;
}

void train_features_free(train_features *f) {
    if (!f) return;
    spec_allocator alloc = f->alloc;
    train_dump_free(f->dump, &alloc);
    specp_release(&alloc, f->logits, f->seq * f->vocab, sizeof *f->logits);
    spec_sequence_free(f->sequence);
    train_ctx_release(&f->ctx);
    specp_release(&alloc, f, 1, sizeof *f);
}

/* ---- windows ------------------------------------------------------------- */

static int forward(train_features *f, const spec_token *tokens, size_t n, const spec_forward_args *args,
                   spec_forward_out *out, spec_message *why) {
    if (n < 1 || n > f->seq)
        return specp_fail(why, SPEC_ERR_INVALID, "a window of %zu tokens, expected 1 to %zu", n, f->seq);
    int err = spec_sequence_truncate(f->sequence, 0);
    const spec_forward_item item = {.sequence = f->sequence, .tokens = tokens, .n_tokens = n, .all_rows = 1};
    return err ? err : spec_target_forward(f->target, &item, 1, args, out, why);
}

int train_features_compute(train_features *f, const spec_token *tokens, size_t n, size_t first,
                           const float **rows, spec_message *why) {
    const spec_forward_args args = {
        .size = sizeof args, .n_taps = (uint32_t)f->n_taps + 1, .tap_layer = f->tap, .no_logits = 1};
    spec_forward_out out = {0};
    int err = forward(f, tokens, n, &args, &out, why);
    if (!err) *rows = out.hidden + first * (f->n_taps + 1) * f->dim;
    return err;
}

static void copy(spec_type type, const void *from, float *to, size_t n) {
    if (to) (void)spec_type_to_float(type, from, to, n); /* cannot fail: any n of a plain type */
}

int train_features_run(train_features *f, const spec_token *tokens, size_t n, size_t first, float *taps,
                       float *hidden, spec_message *why) {
    const float *computed = NULL;
    const char *rows = f->dump ? train_dump_find(f->dump, tokens, n, first) : NULL;
    spec_type type = rows ? SPEC_TYPE_F16 : SPEC_TYPE_F32;
    size_t width = f->n_taps * f->dim, bytes = spec_type_block_bytes(type);
    int err = rows ? SPEC_OK : train_features_compute(f, tokens, n, first, &computed, why);
    if (err) return err;
    if (!rows) rows = (const char *)computed;
    for (size_t r = first; r < n; r++, rows += (width + f->dim) * bytes) {
        copy(type, rows, taps ? taps + (r - first) * width : NULL, width);
        copy(type, rows + width * bytes, hidden ? hidden + (r - first) * f->dim : NULL, f->dim);
    }
    return SPEC_OK;
}

int train_features_loss(train_features *f, const spec_token *tokens, const spec_token *target, size_t n,
                        train_loss *loss, spec_message *why) {
    spec_forward_out out = {0};
    if (!f->logits) f->logits = specp_alloc(&f->alloc, f->seq * f->vocab, sizeof *f->logits);
    if (!f->logits) return specp_fail(why, SPEC_ERR_NOMEM, "no memory for logits of %zu tokens", f->seq);
    int err = forward(f, tokens, n, NULL, &out, why);
    if (err || !out.logits) return err;                              /* without options they are there */
    memcpy(f->logits, out.logits, n * f->vocab * sizeof *f->logits); /* the loss writes over them */
    train_cross_entropy(&f->ctx, f->logits, target, n, f->vocab, 1.0f, loss);
    return SPEC_OK;
}

/* ---- what the target is -------------------------------------------------- */

void train_target_embedding(const spec_target *t, float *out) {
    const specp_model *m = &t->model;
    for (size_t i = 0; i < m->vocab; i++) (void)spec_target_embedding(t, (spec_token)i, out + i * m->dim);
}

void train_target_output(const spec_target *t, float *out) {
    const specp_model *m = &t->model;
    for (size_t i = 0; i < m->vocab; i++) specp_matrix_row(&m->output, i, out + i * m->dim);
}

bool train_target_plain_logits(const spec_target *t) { return !(t->model.final_softcap > 0.0f); }

uint64_t train_features_hash(uint64_t h, const void *data, size_t n) {
    const unsigned char *at = data;
    for (; n >= sizeof h; at += sizeof h, n -= sizeof h) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    while (n--) h = specp_mix64(h ^ *at++);
    return specp_mix64(h);
}

uint64_t train_target_hash(const spec_target *t) {
    const spec_tensors *file = spec_target_tensors(t);
    uint64_t h = 0;
    for (size_t i = 0; i < spec_tensors_count(file); i++) {
        const spec_tensor *x = spec_tensors_at(file, i);
        h = train_features_hash(h, x->name, strlen(x->name) + 1);
        h = train_features_hash(h, x->dim, sizeof x->dim);
        h = train_features_hash(h ^ (uint64_t)x->type, x->data, x->bytes);
    }
    return h;
}

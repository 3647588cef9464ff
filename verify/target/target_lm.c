/* SPDX-License-Identifier: MIT */
/* The target as drafters see it: spec_lm's table on spec_target's functions. */
#include "specp.h"
#include "target_internal.h"

static void lm_info(void *self, spec_lm_info *out) {
    spec_target_info t = {.size = sizeof t};
    spec_target_get_info(self, &t);
    *out = (spec_lm_info){
        .size = out->size, .vocab = t.vocab, .dim = t.dim, .n_layers = t.n_layers, .max_context = t.context};
}

static int lm_embedding(void *self, spec_token token, float *out) {
    return spec_target_embedding(self, token, out);
}

static int lm_sequence_new(void *self, size_t max_context, void **out) {
    spec_sequence *s;
    int err = spec_sequence_new(&s, self, max_context);
    if (!err) *out = s;
    return err;
}

static void lm_sequence_free(void *self, void *sequence) {
    (void)self;
    spec_sequence_free(sequence);
}

static int lm_forward(void *self, const spec_lm_item *items, size_t n, const spec_lm_args *args,
                      spec_lm_out *out, spec_message *why) {
    const spec_target *t = self;
    spec_forward_args a = {.size = sizeof a};
    spec_forward_out rows;
    spec_forward_item *item = specp_alloc(&t->alloc, n ? n : 1, sizeof *item);
    if (!item) return specp_fail(why, SPEC_ERR_NOMEM, "no memory for a batch of %zu sequences", n);
    for (size_t i = 0; i < n; i++)
        item[i] = (spec_forward_item){.sequence = items[i].sequence,
                                      .tokens = items[i].tokens,
                                      .n_tokens = items[i].n_tokens,
                                      .tree = items[i].tree,
                                      .all_rows = items[i].all_rows};
    if (args) {
        a.n_taps = args->n_taps;
        a.tap_layer = args->tap_layer;
        a.no_logits = args->no_logits;
    }
    int err = spec_target_forward(self, item, n, &a, &rows, why);
    specp_release(&t->alloc, item, n ? n : 1, sizeof *item);
    if (!err)
        *out = (spec_lm_out){
            .n_rows = rows.n_rows, .row = rows.row, .logits = rows.logits, .hidden = rows.hidden};
    return err;
}

static int lm_accept(void *self, void *sequence, const int32_t *path, size_t n) {
    (void)self;
    return spec_sequence_accept(sequence, path, n);
}

static int lm_truncate(void *self, void *sequence, size_t n) {
    (void)self;
    return spec_sequence_truncate(sequence, n);
}

static void lm_free(void *self) { spec_target_free(self); }

#define TABLE                                                                                                \
    .version = SPEC_LM_OPS_V1, .info = lm_info, .embedding = lm_embedding, .sequence_new = lm_sequence_new,  \
    .sequence_free = lm_sequence_free, .forward = lm_forward, .accept = lm_accept, .truncate = lm_truncate

void spec_target_lm(spec_target *t, spec_lm *out) {
    static const spec_lm_ops borrowed = {TABLE};
    *out = (spec_lm){&borrowed, t};
}

int spec_target_open_lm(const char *path, unsigned threads, unsigned isa, const spec_allocator *alloc,
                        spec_lm *out, spec_message *why) {
    static const spec_lm_ops owned = {TABLE, .free = lm_free};
    const spec_target_options o = {.size = sizeof o, .threads = threads, .isa = isa};
    spec_target *t;
    if (!out) return specp_fail(why, SPEC_ERR_INVALID, "room for the model is expected");
    int err = spec_target_open(&t, path, &o, alloc, why);
    if (!err) *out = (spec_lm){&owned, t};
    return err;
}

/* SPDX-License-Identifier: MIT */
/* Random batches for draft heads in training. */
#include "train_case.h"

#include <stdlib.h>
#include <string.h>

#include "medusa_tree.h"
#include "train_check.h"

static float *random_floats(support_rng *r, size_t n, double size) {
    float *x = train_check_make(n, sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)(size * (2 * support_rng_unit(r) - 1));
    return x;
}

/* ---- Medusa -------------------------------------------------------------- */

void medusa_case_make(medusa_case *c, const train_medusa_shape *s, size_t n_seqs, size_t seq,
                      uint64_t stream) {
    support_rng r = support_rng_new(support_seed(), stream);
    size_t rows = n_seqs * seq;
    *c = (medusa_case){.shape = *s, .n_seqs = n_seqs, .seq = seq};
    c->hidden = random_floats(&r, rows * s->dim, 1.0);
    c->labels = train_check_make(rows, sizeof *c->labels);
    for (size_t i = 0; i < rows; i++) {
        bool none = i >= seq && support_rng_chance(&r, 0.2);
        c->labels[i] = none ? TRAIN_IGNORED : (spec_token)support_rng_below(&r, (uint32_t)s->vocab);
    }
}

void medusa_case_free(medusa_case *c) {
    free(c->hidden);
    free(c->labels);
}

train_medusa *medusa_case_heads(const medusa_case *c, specp_team *team) {
    train_medusa *m;
    spec_message why;
    if (train_medusa_new(&m, &c->shape, c->n_seqs * c->seq, team, NULL, &why)) fail_msg("%s", why.text);
    return m;
}

double medusa_case_run(train_medusa *m, const medusa_case *c, bool backward, train_loss *loss) {
    train_loss own[SPECP_MEDUSA_MAX_HEADS] = {{0}};
    spec_message why;
    if (train_medusa_run(m, c->hidden, c->labels, c->n_seqs, c->seq, backward, own, &why))
        fail_msg("%s", why.text);
    if (loss) memcpy(loss, own, m->shape.heads * sizeof *loss);
    return train_medusa_loss(m, own);
}

/* ---- EAGLE-3 ------------------------------------------------------------- */

void eagle3_case_make(eagle3_case *c, const train_eagle3_shape *s, size_t n_seqs, size_t seq, bool lean,
                      uint64_t stream) {
    support_rng r = support_rng_new(support_seed(), stream);
    size_t rows = n_seqs * seq;
    uint64_t *count = train_check_make(s->vocab, sizeof *count);
    *c = (eagle3_case){.shape = *s};
    c->kept = train_check_make(s->draft_vocab, sizeof *c->kept);
    for (size_t i = 0; i < s->vocab; i++) count[i] = support_rng_below(&r, 100);
    train_draft_vocab(count, s->vocab, s->draft_vocab, c->kept);
    free(count);
    c->embedding = random_floats(&r, s->vocab * s->dim, 1.0);
    c->taps = random_floats(&r, rows * s->n_taps * s->dim, 1.0);
    c->logits = random_floats(&r, rows * s->vocab, 2.0);
    c->hidden = random_floats(&r, rows * s->dim, 1.5);
    c->output = random_floats(&r, s->vocab * s->dim, 1.5);
    c->tokens = train_check_make(rows, sizeof *c->tokens);
    c->mask = train_check_make(rows, sizeof *c->mask);
    for (size_t i = 0; i < rows; i++) {
        c->tokens[i] = (spec_token)support_rng_below(&r, (uint32_t)s->vocab);
        c->mask[i] = support_rng_chance(&r, 0.8);
    }
    c->batch = (train_eagle3_batch){n_seqs, seq, c->tokens, c->taps, c->mask, c->logits, NULL, NULL};
    if (lean)
        c->batch = (train_eagle3_batch){n_seqs, seq, c->tokens, c->taps, NULL, NULL, c->hidden, c->output};
}

void eagle3_case_free(eagle3_case *c) {
    void *const all[] = {c->kept, c->tokens, c->embedding, c->taps, c->logits, c->hidden, c->output, c->mask};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

train_eagle3 *eagle3_case_head(const eagle3_case *c, specp_team *team) {
    train_eagle3 *m;
    spec_message why;
    if (train_eagle3_new(&m, &c->shape, c->kept, c->embedding, c->batch.n_seqs * c->batch.seq, c->batch.seq,
                         team, NULL, &why))
        fail_msg("%s", why.text);
    return m;
}

double eagle3_case_run(train_eagle3 *m, const train_eagle3_batch *b, bool backward, train_eagle3_sums *sums) {
    train_eagle3_sums own = {0};
    spec_message why;
    if (train_eagle3_run(m, b, backward, &own, &why)) fail_msg("%s", why.text);
    if (sums) *sums = own;
    return train_eagle3_loss(m, &own);
}

/* SPDX-License-Identifier: MIT */
/*
 * An EAGLE-3 head in training: losses, gradients and AdamW steps against recorded ones;
 * gradients against differences of the definition in doubles; what is counted; refusals.
 */
#include "train_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adamw.h"
#include "oracle_heads.h"
#include "train_case.h"

static void clear(train_eagle3 *m) { memset(m->p.grad, 0, m->p.n * sizeof *m->p.grad); }

/* ---- against recorded training ------------------------------------------- */

#define SEQS  4
#define SEQ   20
#define ROWS  ((size_t)SEQS * SEQ)
#define STEPS 3

typedef struct golden {
    spec_tensors *head, *target, *batches, *expected;
    train_eagle3 *m;
} golden;

static void golden_open(golden *g) {
    const train_eagle3_shape s = {.dim = 64,
                                  .vocab = 512,
                                  .n_taps = 3,
                                  .draft_vocab = 128,
                                  .n_heads = 4,
                                  .n_kv_heads = 2,
                                  .head_dim = 16,
                                  .n_ff = 160,
                                  .steps = 3,
                                  .decay = 0.8,
                                  .rope_base = 10000.0,
                                  .eps = 1e-5f};
    spec_message why;
    spec_token kept[128];
    g->head = train_check_open("eagle3/model.safetensors");
    if (!g->head) SUPPORT_SKIP_NO_SHARED();
    g->target = train_check_open("target/model.safetensors");
    g->batches = train_check_open("training/eagle3/batches.safetensors");
    g->expected = train_check_open("training/eagle3/expected.safetensors");
    const int64_t *d2t = train_check_data(g->head, "d2t", "");
    for (size_t i = 0; i < 128; i++) kept[i] = (spec_token)(d2t[i] + (int64_t)i);
    const float *embedding = train_check_data(g->target, "model.embed_tokens.weight", "");
    if (train_eagle3_new(&g->m, &s, kept, embedding, ROWS, SEQ, NULL, NULL, &why)) fail_msg("%s", why.text);
    if (train_eagle3_load(g->m, g->head, &why)) fail_msg("%s", why.text);
    assert_memory_equal(g->m->t2d, train_check_data(g->head, "t2d", ""), 512);
}

static void golden_close(golden *g) {
    train_eagle3_free(g->m);
    spec_tensors_free(g->head);
    spec_tensors_free(g->target);
    spec_tensors_free(g->batches);
    spec_tensors_free(g->expected);
}

/* `n_seqs` sequences from row `at` of all batches on. */
static train_eagle3_batch recorded(const golden *g, size_t at, size_t n_seqs) {
    return (train_eagle3_batch){
        .n_seqs = n_seqs,
        .seq = SEQ,
        .tokens = (const spec_token *)train_check_data(g->batches, "tokens", "") + at,
        .taps = (const float *)train_check_data(g->batches, "hidden_in", "") + at * 192,
        .mask = (const uint8_t *)train_check_data(g->batches, "loss_mask", "") + at,
        .logits = (const float *)train_check_data(g->batches, "target_logits", "") + at * 512,
    };
}

/* Three steps; each batch in `micro` micro-batches. */
static void follow(const char *suffix, size_t micro) {
    golden g = {0};
    char grad[32], after[32];
    golden_open(&g);
    snprintf(grad, sizeof grad, "grad%s.", suffix);
    snprintf(after, sizeof after, "after3%s.", suffix);
    const double *losses = train_check_data(g.expected, "loss", suffix);
    const double *parts = train_check_data(g.expected, "loss_parts", suffix);
    const double *norms = train_check_data(g.expected, "grad_norm", suffix);
    for (size_t step = 0; step < STEPS; step++) {
        double mean = 0.0, part[3] = {0}, scale = 1.0 / (double)micro;
        clear(g.m);
        for (size_t i = 0; i < micro; i++) {
            train_eagle3_batch b = recorded(&g, step * ROWS + i * SEQS / micro * SEQ, SEQS / micro);
            train_eagle3_sums sums;
            mean += scale * eagle3_case_run(g.m, &b, true, &sums);
            for (size_t j = 0; j < 3; j++) part[j] += scale * sums.step[j].sum / (double)sums.rows;
        }
        assert_true(fabs(mean / losses[step] - 1.0) < 1e-5);
        for (size_t j = 0; j < 3; j++) assert_true(fabs(part[j] / parts[step * 3 + j] - 1.0) < 1e-5);
        if (step == 0) train_check_gradients(&g.m->p, g.expected, grad, scale);
        train_check_step(&g.m->p, step + 1, scale, norms[step]);
    }
    train_check_values(&g.m->p, g.expected, after);
    golden_close(&g);
}

static void test_recorded_steps(void **state) {
    (void)state;
    follow("", 1);
}

static void test_recorded_accumulation(void **state) {
    (void)state;
    follow("_accum", SEQS);
}

/* ---- against the definition ---------------------------------------------- */

typedef struct defined {
    const train_eagle3 *m;
    const train_eagle3_batch *b;
} defined;

static double definition(const void *arg, const double *values) {
    const defined *d = arg;
    return oracle_eagle3(d->m, values, d->b, NULL);
}

static void same_sums(const train_eagle3_sums *got, const train_eagle3_sums *want, size_t steps) {
    assert_int_equal(got->rows, want->rows);
    for (size_t j = 0; j < steps; j++) {
        const train_eagle3_part *g = &got->step[j], *w = &want->step[j];
        assert_true(fabs(g->sum - w->sum) <= 2e-6 * w->sum);
        assert_true(fabs(g->entropy - w->entropy) <= 2e-6 * w->entropy);
        assert_true(g->rows == w->rows && g->inside == w->inside && g->correct == w->correct);
        assert_true(g->entropy <= g->sum);
    }
}

/* Returns how many rows' targets were outside the draft vocabulary. */
static size_t check_differences(const train_eagle3_shape *s, size_t n_seqs, size_t seq, bool lean,
                                uint64_t stream) {
    support_rng r = support_rng_new(support_seed(), stream);
    eagle3_case c;
    eagle3_case_make(&c, s, n_seqs, seq, lean, stream + 1000);
    train_eagle3 *m = eagle3_case_head(&c, NULL);
    train_check_random(&m->p, &r);
    double *p = train_check_make(m->p.n, sizeof *p);
    for (size_t i = 0; i < m->p.n; i++) p[i] = (double)m->p.value[i];
    train_eagle3_sums got, want;
    double loss = eagle3_case_run(m, &c.batch, true, &got);
    assert_true(fabs(loss / oracle_eagle3(m, p, &c.batch, &want) - 1.0) < 2e-6);
    same_sums(&got, &want, s->steps);
    const defined d = {m, &c.batch};
    train_check_differences(&m->p, &r, n_seqs > 9 ? 2 : 8, definition, &d);
    free(p);
    eagle3_case_free(&c);
    train_eagle3_free(m);
    return got.step[0].rows - got.step[0].inside;
}

static const train_eagle3_shape small = {.dim = 8,
                                         .vocab = 23,
                                         .n_taps = 3,
                                         .draft_vocab = 14,
                                         .n_heads = 4,
                                         .n_kv_heads = 2,
                                         .head_dim = 6,
                                         .n_ff = 10,
                                         .steps = 3,
                                         .decay = 0.8,
                                         .rope_base = 100.0,
                                         .eps = 1e-5f};

static void test_differences(void **state) {
    (void)state;
    train_eagle3_shape one = small, many = small;
    one.steps = one.n_taps = one.n_heads = one.n_kv_heads = 1;
    many.steps = 5;
    many.norm_before_residual = true;
    many.decay = 0.5;
    size_t outside = 0;
    for (uint64_t i = 0; i < 3; i++) {
        outside += check_differences(&small, 3, 7, false, 10 + i);
        outside += check_differences(&one, 2, 9, true, 20 + i);
        outside += check_differences(&many, 2, 9, i == 1, 30 + i);
    }
    assert_true(outside > 0);
}

/* More rows than have logits at a time. */
static void test_differences_of_many_rows(void **state) {
    (void)state;
    train_eagle3_shape s = small;
    s.dim = 4;
    s.vocab = 9;
    s.draft_vocab = 5;
    s.n_heads = s.n_kv_heads = s.n_taps = 1;
    s.head_dim = 2;
    s.steps = 2;
    check_differences(&s, 90, 12, true, 40);
}

/* The loss alone, where it is the definition's within `most`. */
static void check_loss(const eagle3_case *c, double sharp, double most) {
    support_rng r = support_rng_new(support_seed(), 45);
    train_eagle3 *m = eagle3_case_head(c, NULL);
    train_check_random(&m->p, &r);
    for (size_t i = 0; i < m->p.n_views; i++) {
        const train_view *v = &m->p.view[i];
        bool scores = strstr(v->name, "q_proj") || strstr(v->name, "k_proj");
        for (size_t j = 0; j < v->rows * v->cols && scores; j++) m->p.value[v->offset + j] *= (float)sharp;
    }
    double *p = train_check_make(m->p.n, sizeof *p);
    for (size_t i = 0; i < m->p.n; i++) p[i] = (double)m->p.value[i];
    double got = eagle3_case_run(m, &c->batch, false, NULL);
    double want = oracle_eagle3(m, p, &c->batch, NULL);
    if (!(fabs(got / want - 1.0) < most)) fail_msg("%.9g, expected %.9g", got, want);
    free(p);
    train_eagle3_free(m);
}

/* Scores whose exponentials no float can hold; the target's logits given, of more rows than a block. */
static void test_losses(void **state) {
    (void)state;
    eagle3_case c;
    eagle3_case_make(&c, &small, 3, 9, false, 46);
    check_loss(&c, 36.0, 1e-2);
    eagle3_case_free(&c);
    eagle3_case_make(&c, &small, 80, 14, false, 47);
    check_loss(&c, 1.0, 2e-6);
    eagle3_case_free(&c);
}

/* ---- draft vocabulary ---------------------------------------------------- */

static void test_draft_vocab(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 50);
    for (int round = 0; round < 200; round++) {
        uint64_t count[30];
        size_t vocab = 1 + support_rng_below(&r, 30), n = 1 + support_rng_below(&r, (uint32_t)vocab);
        spec_token kept[30];
        bool in[30] = {false};
        for (size_t i = 0; i < vocab; i++)
            count[i] =
                round % 3 ? support_rng_below(&r, 4) : support_rng_next(&r) | (uint64_t)(round % 2) << 63;
        if (round % 7 == 0) count[vocab - 1] = UINT64_MAX;
        train_draft_vocab(count, vocab, n, kept);
        for (size_t i = 0; i < n; i++) {
            assert_true(kept[i] >= 0 && (size_t)kept[i] < vocab && (i == 0 || kept[i] > kept[i - 1]));
            in[kept[i]] = true;
        }
        for (size_t i = 0; i < vocab; i++) { /* whoever is better than one that is in, is in */
            for (size_t j = 0; j < vocab; j++)
                if (in[j] && (count[i] > count[j] || (count[i] == count[j] && i < j))) assert_true(in[i]);
        }
    }
}

/* ---- use ----------------------------------------------------------------- */

static void test_same_inputs_same_bits(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 60);
    eagle3_case c;
    eagle3_case_make(&c, &small, 4, 12, false, 61);
    train_eagle3 *m = eagle3_case_head(&c, NULL);
    train_check_random(&m->p, &r);
    double first = eagle3_case_run(m, &c.batch, true, NULL);
    float *was = train_check_make(m->p.n, sizeof *was);
    memcpy(was, m->p.grad, m->p.n * sizeof *was);
    assert_true(eagle3_case_run(m, &c.batch, false, NULL) == first);
    assert_memory_equal(was, m->p.grad, m->p.n * sizeof *was);
    train_eagle3_batch other = c.batch;
    other.n_seqs = 6; /* another shape, other targets */
    other.seq = 8;
    other.logits = NULL;
    other.hidden = c.hidden;
    other.output = c.output;
    eagle3_case_run(m, &other, true, NULL);
    clear(m);
    assert_true(eagle3_case_run(m, &c.batch, true, NULL) == first);
    assert_memory_equal(was, m->p.grad, m->p.n * sizeof *was);
    eagle3_case_run(m, &c.batch, true, NULL); /* micro-batches add up */
    for (size_t i = 0; i < m->p.n; i++) assert_true(fabsf(m->p.grad[i] - 2.0f * was[i]) < 1e-5f);
    free(was);
    train_eagle3_free(m);
    eagle3_case_free(&c);
}

/* What comes is a function of the token, and the target knows it: in the end the head does, at every step. */
static void test_it_learns(void **state) {
    (void)state;
    train_eagle3_shape s = small;
    s.dim = 32;
    s.n_ff = 32;
    eagle3_case c;
    eagle3_case_make(&c, &s, 4, 16, false, 70);
    for (size_t i = 0; i < 64; i++) {
        c.tokens[i] = c.kept[(i % 16 * 5 + i / 16) % s.draft_vocab];
        for (size_t t = 0; t < s.vocab; t++)
            c.logits[i * s.vocab + t] =
                (spec_token)t == c.kept[((i % 16 + 1) * 5 + i / 16) % s.draft_vocab] ? 8.0f : 0.0f;
    }
    c.batch.mask = NULL;
    train_eagle3 *m = eagle3_case_head(&c, NULL);
    train_eagle3_init(m, support_seed(), NULL);
    train_adamw o = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.0};
    train_eagle3_sums sums;
    eagle3_case_run(m, &c.batch, false, &sums);
    assert_true(fabs(sums.step[0].sum / (double)sums.step[0].inside - log(14.0)) < 0.1);
    for (uint64_t t = 1; t <= 150; t++) {
        clear(m);
        eagle3_case_run(m, &c.batch, true, NULL);
        o.lr -= 1e-2 / 150;
        train_adamw_step(&o, t, 1.0, m->p.grad, m->p.value, m->p.m, m->p.v, m->p.n);
    }
    eagle3_case_run(m, &c.batch, false, &sums);
    for (size_t j = 0; j < s.steps; j++) {
        const train_eagle3_part *p = &sums.step[j];
        assert_true(p->rows == 4 * (15 - j) && p->inside == p->rows && p->correct == p->rows);
        assert_true(p->sum > p->entropy && p->sum - p->entropy < 0.1 * (double)p->rows);
    }
    train_eagle3_free(m);
    eagle3_case_free(&c);
}

/* Operations of products, counted where they are done: backward has twice as many as forward. */
static void test_times(void **state) {
    (void)state;
    eagle3_case c;
    eagle3_case_make(&c, &small, 3, 8, true, 75);
    train_eagle3 *m = eagle3_case_head(&c, NULL);
    const double rows = 24, steps = 3, dim = 8, q = 24, kv = 12;
    eagle3_case_run(m, &c.batch, true, NULL);
    const double *flop = m->times.flop;
    uint64_t ns = 0;
    for (size_t i = 0; i < TRAIN_TIMES; i++) ns += m->times.ns[i];
    assert_true(ns > 0);
    assert_true(flop[TRAIN_FORWARD_EMBED] == 2 * rows * dim * 3 * dim);
    assert_true(flop[TRAIN_BACKWARD_EMBED] == flop[TRAIN_FORWARD_EMBED]); /* the taps want no gradient */
    assert_true(flop[TRAIN_FORWARD_QKV] == steps * 2 * rows * 2 * dim * (q + 2 * kv));
    assert_true(flop[TRAIN_BACKWARD_QKV] == 2 * flop[TRAIN_FORWARD_QKV]);
    assert_true(flop[TRAIN_FORWARD_O] == steps * 2 * rows * dim * q);
    assert_true(flop[TRAIN_BACKWARD_O] == 2 * flop[TRAIN_FORWARD_O]);
    assert_true(flop[TRAIN_FORWARD_FFN] == steps * 2 * rows * dim * 3 * 10);
    assert_true(flop[TRAIN_BACKWARD_FFN] == 2 * flop[TRAIN_FORWARD_FFN]);
    assert_true(flop[TRAIN_BACKWARD_HEAD] == steps * 4 * rows * dim * 14);
    assert_true(flop[TRAIN_FORWARD_HEAD] == steps * 2 * rows * dim * 14 + 2 * rows * dim * 23);
    assert_true(flop[TRAIN_FORWARD_ATTENTION] == 2 * 3 * 8 * q * (3 * 9 + 2 + 4));
    train_eagle3_free(m);
    eagle3_case_free(&c);
}

static void test_init(void **state) {
    (void)state;
    eagle3_case c;
    eagle3_case_make(&c, &small, 1, 4, false, 71);
    train_eagle3 *a = eagle3_case_head(&c, NULL), *b = eagle3_case_head(&c, NULL);
    train_eagle3_init(a, 9, c.output);
    train_eagle3_init(b, 9, NULL);
    const train_view *out = &a->p.view[a->p.n_views - 1];
    assert_memory_equal(a->p.value, b->p.value, out->offset * sizeof *a->p.value);
    for (size_t i = 0; i < small.draft_vocab; i++)
        assert_memory_equal(a->p.value + out->offset + i * small.dim,
                            c.output + (size_t)c.kept[i] * small.dim, small.dim * sizeof(float));
    train_eagle3_init(a, 9, NULL);
    assert_memory_equal(a->p.value, b->p.value, a->p.n * sizeof *a->p.value);
    train_eagle3_free(a);
    train_eagle3_free(b);
    eagle3_case_free(&c);
}

/* Nothing counts, or nothing that the head could say. */
static void test_nothing_counts(void **state) {
    (void)state;
    eagle3_case c;
    eagle3_case_make(&c, &small, 4, 4, false, 72);
    train_eagle3 *m = eagle3_case_head(&c, NULL);
    train_eagle3_init(m, 1, NULL);
    train_eagle3_sums sums;
    for (size_t i = 0; i < 3; i++) {
        spec_token outside = 0;
        while (m->t2d[outside]) outside++;
        memset(c.mask, i == 0 ? 0 : 1, 16);
        c.batch.seq = i == 1 ? 1 : 4; /* nothing is ahead */
        for (size_t r = 0; r < 16 && i == 2; r++) c.logits[r * small.vocab + (size_t)outside] = 5.0f;
        assert_true(eagle3_case_run(m, &c.batch, true, &sums) == 0.0);
        assert_true(sums.rows == 4 * c.batch.seq && sums.step[0].rows == (i == 2 ? 12 : 0));
        assert_true(sums.step[0].inside == 0 && train_norm(m->p.grad, m->p.n) == 0.0);
    }
    train_eagle3_free(m);
    eagle3_case_free(&c);
}

static void test_nan_shows(void **state) {
    (void)state;
    train_eagle3_shape s = small;
    s.draft_vocab = s.vocab - 1; /* so that every row counts, but for token 0 */
    eagle3_case c;
    eagle3_case_make(&c, &s, 2, 6, true, 73);
    for (size_t i = 0; i < s.draft_vocab; i++) c.kept[i] = (spec_token)i + 1;
    for (size_t i = 0; i < s.dim; i++) c.output[i] = 0.0f;
    train_eagle3 *m = eagle3_case_head(&c, NULL);
    float *const from[] = {c.taps, c.hidden + small.dim, c.embedding + (size_t)c.tokens[1] * small.dim};
    for (size_t i = 0; i < m->p.n_views + 3; i++) {
        train_eagle3_init(m, 1, c.output);
        float *x = i < m->p.n_views ? m->p.value + m->p.view[i].offset : from[i - m->p.n_views], was = *x;
        *x = NAN;
        if (!isnan(eagle3_case_run(m, &c.batch, false, NULL))) fail_msg("%zu", i);
        *x = was;
    }
    train_eagle3_free(m);
    eagle3_case_free(&c);
}

/* ---- refusals ------------------------------------------------------------ */

static void test_bad_sizes(void **state) {
    (void)state;
    eagle3_case c;
    eagle3_case_make(&c, &small, 1, 8, true, 80);
    for (int i = 0; i < 24; i++) {
        train_eagle3_shape s = small;
        size_t rows = 8, seq = 8;
        size_t *const size[] = {&s.dim,      &s.vocab, &s.n_taps, &s.draft_vocab, &s.n_heads, &s.n_kv_heads,
                                &s.head_dim, &s.n_ff,  &s.steps,  &rows,          &seq};
        spec_token kept[24];
        memcpy(kept, c.kept, small.draft_vocab * sizeof *kept);
        if (i < 11) *size[i] = i % 2 ? 0 : SIZE_MAX;
        if (i == 11) s.n_kv_heads = 3;
        if (i == 12) s.head_dim = 5;
        if (i == 13) s.rope_base = NAN;
        if (i == 14) s.eps = 0.0f;
        if (i >= 15 && i < 18) s.decay = (double[]){0.0, 1.5, NAN}[i - 15];
        if (i == 18) kept[3] = kept[2];
        if (i == 19) kept[0] = -1;
        if (i == 20) kept[13] = 23;
        if (i == 21) s.draft_vocab = 24;
        if (i == 22) s.steps = TRAIN_EAGLE3_MAX_STEPS + 1;
        if (i == 23) seq = 9;
        train_eagle3 *m = NULL;
        spec_message why = {{0}};
        assert_int_equal(train_eagle3_new(&m, &s, kept, c.embedding, rows, seq, NULL, NULL, &why),
                         SPEC_ERR_INVALID);
        assert_true(why.text[0] && !m);
    }
    eagle3_case_free(&c);
}

static void test_bad_batches(void **state) {
    (void)state;
    eagle3_case c;
    eagle3_case_make(&c, &small, 2, 4, true, 81);
    train_eagle3 *m = eagle3_case_head(&c, NULL);
    train_eagle3_init(m, 1, NULL);
    train_eagle3_sums sums = {0};
    spec_message why;
    const size_t shape[][2] = {{0, 4}, {2, 0}, {1, 5}, {3, 4}, {SIZE_MAX / 4 + 2, 4}};
    for (size_t i = 0; i < 9; i++) {
        train_eagle3_batch b = c.batch;
        const spec_token was = c.tokens[7];
        if (i < 5) {
            b.n_seqs = shape[i][0];
            b.seq = shape[i][1];
        }
        if (i == 5) b.hidden = NULL;
        if (i == 6) b.output = NULL;
        if (i >= 7) c.tokens[7] = i == 7 ? -1 : 23;
        assert_int_equal(train_eagle3_run(m, &b, true, &sums, &why), SPEC_ERR_INVALID);
        if (i >= 7) assert_non_null(strstr(why.text, "row 7"));
        c.tokens[7] = was;
    }
    assert_true(sums.rows == 0 && sums.step[0].rows == 0 && train_norm(m->p.grad, m->p.n) == 0.0);
    train_eagle3_free(m);
    eagle3_case_free(&c);
}

static int new_small(void *arg, const spec_allocator *a, spec_message *why) {
    const eagle3_case *c = arg;
    train_eagle3 *m = NULL;
    int err = train_eagle3_new(&m, &small, c->kept, c->embedding, 8, 4, NULL, a, why);
    assert_true((m == NULL) == (err != SPEC_OK));
    train_eagle3_free(m);
    return err;
}

static void test_refused_memory(void **state) {
    (void)state;
    eagle3_case c;
    eagle3_case_make(&c, &small, 2, 4, true, 82);
    assert_int_equal(support_refuse_each(new_small, &c), 12);
    train_eagle3_free(NULL);
    eagle3_case_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_steps),
        cmocka_unit_test(test_recorded_accumulation),
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_differences_of_many_rows),
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_draft_vocab),
        cmocka_unit_test(test_same_inputs_same_bits),
        cmocka_unit_test(test_it_learns),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_nothing_counts),
        cmocka_unit_test(test_nan_shows),
        cmocka_unit_test(test_bad_sizes),
        cmocka_unit_test(test_bad_batches),
        cmocka_unit_test(test_refused_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

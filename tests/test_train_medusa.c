/* SPDX-License-Identifier: MIT */
/*
 * Medusa's heads in training: losses, gradients and AdamW steps against recorded ones;
 * gradients against differences of the definition in doubles; determinism, refusals,
 * memory; what is saved gives the library's heads the same logits.
 */
#include "train_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adamw.h"
#include "medusa_head.h"
#include "oracle_heads.h"
#include "oracle_train.h"
#include "train_case.h"

#define MAX_HEADS 4

static train_medusa *new_heads(const train_medusa_shape *s, size_t rows) {
    train_medusa *m;
    spec_message why;
    if (train_medusa_new(&m, s, rows, NULL, NULL, &why)) fail_msg("%s", why.text);
    return m;
}

/* The loss; loss[k], if not NULL, is set to head k's. */
static double run(train_medusa *m, const float *hidden, const spec_token *labels, size_t n_seqs, size_t seq,
                  bool backward, train_loss *loss) {
    const medusa_case c = {m->shape, n_seqs, seq, (float *)hidden, (spec_token *)labels};
    return medusa_case_run(m, &c, backward, loss);
}

static void clear(train_medusa *m) { memset(m->p.grad, 0, m->p.n * sizeof *m->p.grad); }

/* ---- against recorded training ------------------------------------------- */

#define SEQS  4
#define SEQ   20
#define STEPS 3
#define HEADS 3
#define DIM   64

static const train_medusa_shape recorded = {HEADS, 1, DIM, 512, TRAIN_MEDUSA_DECAY};

/* Three steps; each batch in `micro` micro-batches. */
static void follow(const char *suffix, size_t micro) {
    spec_tensors *heads = train_check_open("medusa/medusa_lm_head.safetensors");
    if (!heads) SUPPORT_SKIP_NO_SHARED();
    spec_tensors *batches = train_check_open("training/medusa/batches.safetensors");
    spec_tensors *expected = train_check_open("training/medusa/expected.safetensors");
    char grad[32], after[32];
    snprintf(grad, sizeof grad, "grad%s.", suffix);
    snprintf(after, sizeof after, "after3%s.", suffix);
    const double *losses = train_check_data(expected, "loss", suffix);
    const double *parts = train_check_data(expected, "loss_parts", suffix);
    const double *norms = train_check_data(expected, "grad_norm", suffix);
    train_medusa *m = new_heads(&recorded, SEQS * SEQ);
    spec_message why;
    if (train_medusa_load(m, heads, &why)) fail_msg("%s", why.text);
    for (size_t step = 0; step < STEPS; step++) {
        double mean = 0.0, part[HEADS] = {0}, scale = 1.0 / (double)micro;
        clear(m);
        for (size_t i = 0; i < micro; i++) {
            size_t at = step * SEQS * SEQ + i * SEQS / micro * SEQ;
            train_loss loss[HEADS];
            mean += scale * run(m, (const float *)train_check_data(batches, "", "hidden") + at * DIM,
                                (const spec_token *)train_check_data(batches, "", "labels") + at,
                                SEQS / micro, SEQ, true, loss);
            for (size_t k = 0; k < HEADS; k++) part[k] += scale * loss[k].sum / (double)loss[k].n;
        }
        assert_true(fabs(mean / losses[step] - 1.0) < 1e-5);
        for (size_t k = 0; k < HEADS; k++) assert_true(fabs(part[k] / parts[step * HEADS + k] - 1.0) < 1e-5);
        if (step == 0) train_check_gradients(&m->p, expected, grad, scale);
        train_check_step(&m->p, step + 1, scale, norms[step]);
    }
    train_check_values(&m->p, expected, after);
    train_medusa_free(m);
    spec_tensors_free(heads);
    spec_tensors_free(batches);
    spec_tensors_free(expected);
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

static double definition(const void *arg, const double *values) {
    const medusa_case *c = arg;
    return oracle_medusa(&c->shape, values, c->hidden, c->labels, c->n_seqs, c->seq, NULL);
}

static void check_differences(const train_medusa_shape *s, size_t n_seqs, size_t seq, uint64_t stream) {
    support_rng r = support_rng_new(support_seed(), stream);
    medusa_case c;
    medusa_case_make(&c, s, n_seqs, seq, stream + 1000);
    train_medusa *m = medusa_case_heads(&c, NULL);
    train_check_random(&m->p, &r);
    double *p = train_check_make(m->p.n, sizeof *p), parts[MAX_HEADS];
    for (size_t i = 0; i < m->p.n; i++) p[i] = (double)m->p.value[i];
    train_loss loss[MAX_HEADS];
    double got = medusa_case_run(m, &c, true, loss);
    double want = oracle_medusa(s, p, c.hidden, c.labels, n_seqs, seq, parts);
    assert_true(fabs(got - want) < 2e-6 * want);
    for (size_t k = 0; k < s->heads; k++)
        assert_true(fabs(loss[k].sum / (double)loss[k].n - parts[k]) < 2e-6 * parts[k]);
    train_check_differences(&m->p, &r, n_seqs > 9 ? 2 : 8, definition, &c);
    free(p);
    medusa_case_free(&c);
    train_medusa_free(m);
}

static void test_differences(void **state) {
    (void)state;
    const train_medusa_shape one = {3, 1, 12, 11, 0.8}, two = {2, 2, 7, 9, 0.5}, none = {2, 0, 5, 6, 1.0};
    for (uint64_t i = 0; i < 3; i++) {
        check_differences(&one, 3, 7, 10 + i);
        check_differences(&two, 2, 5, 20 + i);
        check_differences(&none, 2, 5, 30 + i);
    }
}

/* More rows than the output matrix sees at a time. */
static void test_differences_of_many_rows(void **state) {
    (void)state;
    const train_medusa_shape s = {2, 1, 4, 5, 0.8};
    check_differences(&s, 120, 9, 3);
}

/* ---- use ----------------------------------------------------------------- */

static const train_medusa_shape small = {3, 2, 32, 40, 0.8};

/* The same bits again, whatever ran before; without `backward` nothing moves. */
static void test_same_inputs_same_bits(void **state) {
    (void)state;
    medusa_case c, other;
    medusa_case_make(&c, &small, 4, 12, 4);
    medusa_case_make(&other, &small, 5, 9, 5);
    train_medusa *m = medusa_case_heads(&c, NULL);
    support_rng r = support_rng_new(support_seed(), 6);
    train_check_random(&m->p, &r);
    double first = medusa_case_run(m, &c, true, NULL);
    float *was = train_check_make(m->p.n, sizeof *was);
    memcpy(was, m->p.grad, m->p.n * sizeof *was);
    assert_true(medusa_case_run(m, &c, false, NULL) == first);
    assert_memory_equal(was, m->p.grad, m->p.n * sizeof *was);
    medusa_case_run(m, &other, true, NULL);
    clear(m);
    assert_true(medusa_case_run(m, &c, true, NULL) == first);
    assert_memory_equal(was, m->p.grad, m->p.n * sizeof *was);
    medusa_case_run(m, &c, true, NULL); /* micro-batches add up */
    for (size_t i = 0; i < m->p.n; i++) assert_true(fabsf(m->p.grad[i] - 2.0f * was[i]) < 1e-5f);
    free(was);
    train_medusa_free(m);
    medusa_case_free(&c);
    medusa_case_free(&other);
}

/* At first every head says what the target would of the same row; then they learn to look ahead. */
static void test_it_learns(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 5);
    const train_medusa_shape s = {2, 1, 16, 10, 0.8};
    float hidden[64 * 16] = {0}, target[10 * 16];
    spec_token labels[64];
    for (size_t i = 0; i < 160; i++) target[i] = (float)(support_rng_unit(&r) - 0.5);
    for (size_t i = 0; i < 64; i++) { /* what comes is a function of the state */
        labels[i] = (spec_token)(i * 3 % 10);
        hidden[i * 16 + (size_t)labels[i]] = 1.0f;
    }
    train_medusa *m = new_heads(&s, 64);
    train_check_random(&m->p, &r); /* nothing stays of what was there */
    train_medusa_init(m, 1, target);
    double p[2 * (16 * 17 + 160)], parts[2], alone = 0.0;
    for (size_t i = 0; i < m->p.n; i++) p[i] = (double)m->p.value[i];
    assert_true(
        fabs(run(m, hidden, labels, 2, 32, false, NULL) / oracle_medusa(&s, p, hidden, labels, 2, 32, parts) -
             1.0) < 1e-5);
    const train_medusa_shape bare = {1, 0, 16, 10, 1.0}; /* the target's own output matrix */
    for (size_t i = 0; i < 160; i++) p[i] = (double)target[i];
    alone = oracle_medusa(&bare, p, hidden, labels, 2, 32, NULL);
    assert_true(fabs(parts[0] / alone - 1.0) < 1e-6);
    const train_adamw o = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.0};
    for (uint64_t t = 1; t <= 100; t++) {
        clear(m);
        run(m, hidden, labels, 2, 32, true, NULL);
        train_adamw_step(&o, t, 1.0, m->p.grad, m->p.value, m->p.m, m->p.v, m->p.n);
    }
    train_loss loss[2];
    assert_true(run(m, hidden, labels, 2, 32, false, loss) < 0.2);
    assert_true(loss[0].n == 60 && loss[0].correct == 60 && loss[1].n == 58 && loss[1].correct == 58);
    train_medusa_free(m);
}

/* Operations of products, counted where they are done. */
static void test_times(void **state) {
    (void)state;
    medusa_case c;
    medusa_case_make(&c, &small, 2, 6, 8);
    train_medusa *m = medusa_case_heads(&c, NULL);
    const double rows = 12, dim = 32, vocab = 40, heads = 3;
    medusa_case_run(m, &c, true, NULL);
    const double *flop = m->times.flop;
    assert_true(flop[TRAIN_FORWARD_FFN] == heads * 2 * 2 * rows * dim * (dim + 1)); /* two layers */
    assert_true(flop[TRAIN_BACKWARD_FFN] ==
                heads * 2 * rows * dim * (3 * dim + 2)); /* the first's input is frozen */
    assert_true(flop[TRAIN_FORWARD_HEAD] == heads * 2 * rows * dim * vocab);
    assert_true(flop[TRAIN_BACKWARD_HEAD] == 2 * flop[TRAIN_FORWARD_HEAD]);
    assert_true(m->times.ns[TRAIN_FORWARD_HEAD] > 0 && m->times.ns[TRAIN_LOSS] > 0);
    train_medusa_free(m);
    medusa_case_free(&c);
}

static void test_no_labels(void **state) {
    (void)state;
    float hidden[8 * 32] = {0};
    spec_token labels[8];
    train_medusa *m = new_heads(&small, 8);
    train_medusa_init(m, 1, NULL);
    for (size_t seq = 1; seq <= 4; seq *= 2) { /* none is as far ahead as a head looks */
        for (size_t i = 0; i < 8; i++) labels[i] = i % seq < 2 ? 1 : TRAIN_IGNORED;
        train_loss loss[3];
        assert_true(run(m, hidden, labels, 8 / seq, seq, true, loss) == 0.0);
        assert_true(loss[0].n + loss[1].n + loss[2].n == 0 && train_norm(m->p.grad, m->p.n) == 0.0);
    }
    train_medusa_free(m);
}

static void test_nan_shows(void **state) {
    (void)state;
    float hidden[4 * 32] = {0};
    const spec_token labels[4] = {2, 3, 4, 5};
    train_medusa *m = new_heads(&small, 4);
    for (size_t i = 0; i < 2 * 5; i++) { /* of two heads: the third has no label */
        train_medusa_init(m, 1, NULL);
        m->p.value[m->p.view[i].offset] = NAN;
        assert_true(isnan(run(m, hidden, labels, 1, 4, false, NULL)));
    }
    train_medusa_init(m, 1, NULL);
    hidden[0] = NAN;
    assert_true(isnan(run(m, hidden, labels, 1, 4, false, NULL)));
    train_medusa_free(m);
}

/* ---- files --------------------------------------------------------------- */

/* What was saved, opened by the library, loses as much on a batch as the trainer says. */
static void same_losses(const train_loss *loss, const medusa_case *b, const char *path, double most) {
    const train_medusa_shape *s = &b->shape;
    size_t rows = b->n_seqs * b->seq, n = rows * s->vocab;
    specp_team *team;
    specp_medusa_heads *h;
    spec_message why;
    assert_int_equal(specp_team_new(&team, 1, NULL), 0);
    const specp_medusa_options o = {s->dim, s->vocab, rows, SPECP_ISA_ALL, team};
    if (specp_medusa_heads_open(&h, path, &o, NULL, &why)) fail_msg("%s", why.text);
    assert_int_equal(specp_medusa_heads_count(h), s->heads);
    assert_int_equal(specp_medusa_heads_layers(h), s->layers);
    float *logits = train_check_make(s->heads * n, sizeof *logits);
    double *y = train_check_make(n, sizeof *y);
    specp_medusa_heads_logits(h, b->hidden, rows, logits);
    for (size_t k = 0; k < s->heads; k++) {
        double sum = 0.0;
        for (size_t i = 0; i < n; i++) y[i] = (double)logits[k * n + i];
        for (size_t r = 0; r < rows; r++) {
            if (r % b->seq + 2 + k < b->seq)
                sum += oracle_cross_entropy(y + r * s->vocab, &b->labels[r + 2 + k], 1, s->vocab);
        }
        assert_true(fabs(sum / loss[k].sum - 1.0) < most);
    }
    free(y);
    free(logits);
    specp_medusa_heads_free(h);
    specp_team_free(team);
}

static void check_saved(const train_medusa *m, const medusa_case *b, const train_loss *loss,
                        spec_format format, spec_type type, double most) {
    support_tmp tmp;
    char path[256];
    spec_message why;
    const train_meta meta[] = {{.key = "target", .kind = SPEC_META_STRING, .s = "tiny"},
                               {.key = "acc0", .kind = SPEC_META_STRING, .s = "0.45"}};
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "heads", path, sizeof path);
    if (train_medusa_save(m, path, format, type, meta, 2, &why)) fail_msg("%s", why.text);
    same_losses(loss, b, path, most);
    spec_tensors *f;
    assert_int_equal(spec_tensors_open(&f, path, NULL, &why), 0);
    assert_int_equal(spec_tensors_find(f, "0.0.linear.weight")->type, type);
    assert_int_equal(spec_tensors_find(f, "0.0.linear.bias")->type, SPEC_TYPE_F32);
    const char *text;
    size_t n;
    assert_int_equal(spec_meta_string(spec_tensors_meta(f, "acc0"), 0, &text, &n), 0);
    assert_true(n == 4 && memcmp(text, "0.45", 4) == 0);
    if (type == SPEC_TYPE_F32) { /* and back, bit for bit */
        train_medusa *again = new_heads(&m->shape, 1);
        if (train_medusa_load(again, f, &why)) fail_msg("%s", why.text);
        assert_memory_equal(m->p.value, again->p.value, m->p.n * sizeof *m->p.value);
        train_medusa_free(again);
    }
    spec_tensors_free(f);
    support_tmp_remove(&tmp);
}

static void test_saving(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 6);
    medusa_case b;
    medusa_case_make(&b, &small, 3, 9, 7);
    for (size_t i = 0; i < 27; i++) b.labels[i] = (spec_token)(i % small.vocab);
    train_medusa *m = medusa_case_heads(&b, NULL);
    train_check_random(&m->p, &r);
    train_loss loss[3];
    medusa_case_run(m, &b, false, loss);
    check_saved(m, &b, loss, SPEC_FORMAT_SAFETENSORS, SPEC_TYPE_F32, 1e-5);
    check_saved(m, &b, loss, SPEC_FORMAT_SAFETENSORS, SPEC_TYPE_F16, 1e-3);
    check_saved(m, &b, loss, SPEC_FORMAT_SAFETENSORS, SPEC_TYPE_BF16, 1e-2);
    check_saved(m, &b, loss, SPEC_FORMAT_GGUF, SPEC_TYPE_F32, 1e-5);
    check_saved(m, &b, loss, SPEC_FORMAT_GGUF, SPEC_TYPE_Q8_0, 1e-2);
    medusa_case_free(&b);
    train_medusa_free(m);
}

/* Heads inside a model's file, and such as do not fit. */
static void test_loading(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256];
    spec_message why;
    spec_tensors *f;
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "heads", path, sizeof path);
    const train_medusa_shape one = {1, 0, 3, 5, 0.8}, wide = {1, 0, 4, 5, 0.8};
    train_medusa *m = new_heads(&one, 1), *w = new_heads(&wide, 1);
    snprintf(m->p.view[0].name, sizeof m->p.view[0].name, "medusa_head.0.0.weight");
    train_medusa_init(m, 7, NULL);
    assert_int_equal(train_medusa_save(m, path, SPEC_FORMAT_SAFETENSORS, SPEC_TYPE_F32, NULL, 0, &why), 0);
    assert_int_equal(spec_tensors_open(&f, path, NULL, &why), 0);
    train_medusa *to = new_heads(&one, 1);
    assert_int_equal(train_medusa_load(to, f, &why), 0);
    assert_memory_equal(to->p.value, m->p.value, m->p.n * sizeof *m->p.value);
    assert_int_equal(train_medusa_load(w, f, &why), SPEC_ERR_CORRUPT);
    assert_non_null(strstr(why.text, "medusa_head.0.0.weight is of another shape"));
    train_medusa_free(to);
    train_medusa_free(w);
    train_medusa_free(m);
    spec_tensors_free(f);
    support_tmp_remove(&tmp);
}

static void test_not_saved(void **state) {
    (void)state;
    const struct {
        spec_format format;
        spec_type type;
        const char *key, *value, *says;
        int err;
        float first;
    } bad[] = {
        {SPEC_FORMAT_SAFETENSORS, SPEC_TYPE_F32, "a", "b", "1.0.linear.weight holds nan at 0",
         SPEC_ERR_INVALID, NAN},
        {SPEC_FORMAT_SAFETENSORS, SPEC_TYPE_F32, "a", "b", "holds inf at 0", SPEC_ERR_INVALID, INFINITY},
        {SPEC_FORMAT_SAFETENSORS, SPEC_TYPE_Q8_0, "a", "b", "tensor 0.0.linear.weight cannot",
         SPEC_ERR_UNSUPPORTED, 0},
        {SPEC_FORMAT_GGUF, SPEC_TYPE_Q4_K, "a", "b", "tensor 0.0.linear.weight cannot", SPEC_ERR_INVALID, 0},
        {SPEC_FORMAT_SAFETENSORS, SPEC_TYPE_F32, "a", "\xff", "entry a cannot", SPEC_ERR_INVALID, 0},
        {(spec_format)7, SPEC_TYPE_F32, "a", "b", "", SPEC_ERR_INVALID, 0},
    };
    support_tmp tmp;
    char path[256];
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "heads", path, sizeof path);
    train_medusa *m = new_heads(&small, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const train_meta meta = {.key = bad[i].key, .kind = SPEC_META_STRING, .s = bad[i].value};
        spec_message why;
        m->p.value[m->p.view[5].offset] = bad[i].first;
        assert_int_equal(train_medusa_save(m, path, bad[i].format, bad[i].type, &meta, 1, &why), bad[i].err);
        if (!strstr(why.text, bad[i].says)) fail_msg("%s", why.text);
        FILE *f = fopen(path, "rb");
        assert_null(f);
    }
    train_medusa_free(m);
    support_tmp_remove(&tmp);
}

/* ---- refusals ------------------------------------------------------------ */

static void test_bad_sizes(void **state) {
    (void)state;
    for (int i = 0; i < 12; i++) {
        train_medusa_shape s = small;
        size_t rows = 8;
        size_t *const size[] = {&s.heads, &s.dim, &s.vocab, &rows, &s.layers};
        if (i < 5) *size[i] = SIZE_MAX;
        if (i >= 5 && i < 9) *size[i - 5] = 0;
        if (i >= 9) s.decay = (double[]){0.0, 1.5, NAN}[i - 9];
        train_medusa *m = NULL;
        spec_message why = {{0}};
        assert_int_equal(train_medusa_new(&m, &s, rows, NULL, NULL, &why), SPEC_ERR_INVALID);
        assert_true(why.text[0] && !m);
    }
}

static void test_bad_batches(void **state) {
    (void)state;
    train_medusa *m = new_heads(&small, 8);
    train_medusa_init(m, 1, NULL);
    float hidden[8 * 32] = {0};
    spec_token labels[8] = {0};
    train_loss loss[3] = {{0}};
    spec_message why;
    const size_t shape[][2] = {{0, 4}, {2, 0}, {3, 4}, {SIZE_MAX / 4 + 2, 4}, {1, 9}};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(train_medusa_run(m, hidden, labels, shape[i][0], shape[i][1], true, loss, &why),
                         SPEC_ERR_INVALID);
    const spec_token bad[] = {-1, 40, -101};
    for (size_t i = 0; i < 3; i++) {
        labels[7] = bad[i];
        assert_int_equal(train_medusa_run(m, hidden, labels, 2, 4, true, loss, &why), SPEC_ERR_INVALID);
        assert_non_null(strstr(why.text, "row 7"));
    }
    assert_true(loss[0].n == 0 && train_norm(m->p.grad, m->p.n) == 0.0);
    train_medusa_free(m);
}

static int make_and_save(void *path, const spec_allocator *a, spec_message *why) {
    train_medusa *m = NULL;
    int err = train_medusa_new(&m, &small, 8, NULL, a, why);
    if (!err) err = train_medusa_save(m, path, SPEC_FORMAT_GGUF, SPEC_TYPE_Q8_0, NULL, 0, why);
    train_medusa_free(m);
    return err;
}

static void test_refused_memory(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256];
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "heads", path, sizeof path);
    assert_true(support_refuse_each(make_and_save, path) > 10);
    support_tmp_remove(&tmp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_steps),
        cmocka_unit_test(test_recorded_accumulation),
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_differences_of_many_rows),
        cmocka_unit_test(test_same_inputs_same_bits),
        cmocka_unit_test(test_it_learns),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_no_labels),
        cmocka_unit_test(test_nan_shows),
        cmocka_unit_test(test_saving),
        cmocka_unit_test(test_loading),
        cmocka_unit_test(test_not_saved),
        cmocka_unit_test(test_bad_sizes),
        cmocka_unit_test(test_bad_batches),
        cmocka_unit_test(test_refused_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

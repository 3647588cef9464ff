/* SPDX-License-Identifier: MIT */
/*
 * A llama in training: loss, gradients and AdamW steps against recorded ones; gradients
 * against differences of the definition in doubles; determinism, refusals, memory.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adamw.h"
#include "oracle_train.h"
#include "train_llama.h"

#define PARTS 9 /* of a layer: norm, q, k, v, o, norm, gate, up, down */

static void *make(size_t n, size_t size) {
    void *p = calloc(n, size);
    assert_non_null(p);
    return p;
}

static train_llama *new_model(const train_llama_shape *s, size_t rows, size_t seq) {
    train_llama *m;
    spec_message why;
    if (train_llama_new(&m, s, rows, seq, NULL, NULL, &why)) fail_msg("%s", why.text);
    return m;
}

static train_loss run(train_llama *m, const spec_token *tokens, const spec_token *targets, size_t n_seqs,
                      size_t seq, bool backward) {
    train_loss loss = {0};
    spec_message why;
    if (train_llama_run(m, tokens, targets, n_seqs, seq, backward, &loss, &why)) fail_msg("%s", why.text);
    return loss;
}

static void clear(train_llama *m) { memset(m->p.grad, 0, m->p.n * sizeof *m->p.grad); }

/* ---- against recorded training ------------------------------------------- */

#define SEQS  4
#define SEQ   20
#define STEPS 3

typedef struct golden {
    spec_tensors *batches, *expected;
    train_llama *m;
} golden;

static spec_tensors *open_golden(const char *name) {
    char relative[128], path[256];
    snprintf(relative, sizeof relative, "golden/heads/training/llama/%s", name);
    spec_tensors *f = NULL;
    spec_message why;
    if (support_shared(relative, path, sizeof path) && spec_tensors_open(&f, path, NULL, &why))
        fail_msg("%s", why.text);
    return f;
}

static bool golden_open(golden *g) {
    const train_llama_shape s = {256, 64, 2, 4, 2, 16, 160, 10000.0, 1e-5f, false};
    spec_tensors *model = open_golden("model.safetensors");
    if (!model) return false;
    g->batches = open_golden("batches.safetensors");
    g->expected = open_golden("expected.safetensors");
    assert_true(g->batches && g->expected);
    g->m = new_model(&s, SEQS * SEQ, SEQ);
    spec_message why;
    if (train_llama_load(g->m, model, &why)) fail_msg("%s", why.text);
    spec_tensors_free(model);
    return true;
}

static void golden_close(golden *g) {
    train_llama_free(g->m);
    spec_tensors_free(g->batches);
    spec_tensors_free(g->expected);
}

static const void *data_of(const spec_tensors *f, const char *kind, const char *name) {
    char full[128];
    snprintf(full, sizeof full, "%s%s", kind, name);
    const spec_tensor *t = spec_tensors_find(f, full);
    if (!t) fail_msg("no tensor %s", full);
    return t->data;
}

/* Batch `step`; a row's target is the next one's label. */
static void batch(const golden *g, size_t step, spec_token *tokens, spec_token *targets) {
    const size_t n = SEQS * SEQ;
    spec_token labels[SEQS * SEQ];
    memcpy(tokens, (const char *)data_of(g->batches, "", "tokens") + step * n * 4, n * 4);
    memcpy(labels, (const char *)data_of(g->batches, "", "labels") + step * n * 4, n * 4);
    for (size_t r = 0; r < n; r++) targets[r] = r % SEQ == SEQ - 1 ? TRAIN_IGNORED : labels[r + 1];
}

static void same_gradients(const golden *g, const char *kind, double scale) {
    for (size_t i = 0; i < g->m->p.n_views; i++) {
        const train_view *v = &g->m->p.view[i];
        const float *want = data_of(g->expected, kind, v->name), *got = g->m->p.grad + v->offset;
        double most = 0.0, worst = 0.0;
        for (size_t j = 0; j < v->rows * v->cols; j++) {
            most = fmax(most, fabs((double)want[j]));
            worst = fmax(worst, fabs((double)got[j] * scale - (double)want[j]));
        }
        if (!(most > 0.0 && worst <= 1e-4 * most))
            fail_msg("%s%s: off by %g of %g", kind, v->name, worst, most);
    }
}

static void same_parameters(const golden *g, const char *kind) {
    size_t far = 0;
    for (size_t i = 0; i < g->m->p.n_views; i++) {
        const train_view *v = &g->m->p.view[i];
        const float *want = data_of(g->expected, kind, v->name), *got = g->m->p.value + v->offset;
        size_t n = v->rows * v->cols;
        double sum = 0.0;
        for (size_t j = 0; j < n; j++) {
            double d = fabs((double)got[j] - (double)want[j]);
            sum += d * d;
            far += !(d <= 1e-5);
        }
        if (!(sqrt(sum / (double)n) <= 2e-5)) fail_msg("%s%s: rms %g", kind, v->name, sqrt(sum / (double)n));
    }
    assert_true(far * 1000 <= g->m->p.n);
}

/* Three steps; each batch in `micro` micro-batches. */
static void follow(const char *suffix, size_t micro) {
    golden g = {0};
    if (!golden_open(&g)) SUPPORT_SKIP_NO_SHARED();
    const train_adamw o = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.01};
    char grad[32], after[32];
    snprintf(grad, sizeof grad, "grad%s.", suffix);
    snprintf(after, sizeof after, "after3%s.", suffix);
    const double *losses = data_of(g.expected, "loss", suffix);
    const double *norms = data_of(g.expected, "grad_norm", suffix);
    for (size_t step = 0; step < STEPS; step++) {
        spec_token tokens[SEQS * SEQ], targets[SEQS * SEQ];
        double mean = 0.0, scale = 1.0 / (double)micro;
        batch(&g, step, tokens, targets);
        clear(g.m);
        for (size_t i = 0; i < micro; i++) {
            size_t at = i * SEQS / micro * SEQ;
            train_loss loss = run(g.m, tokens + at, targets + at, SEQS / micro, SEQ, true);
            mean += loss.sum / (double)loss.n * scale;
        }
        double norm = train_norm(g.m->p.grad, g.m->p.n) * scale;
        assert_true(fabs(mean / losses[step] - 1.0) < 1e-5);
        assert_true(fabs(norm / norms[step] - 1.0) < 1e-4);
        if (step == 0) same_gradients(&g, grad, scale);
        train_adamw_step(&o, step + 1, scale, g.m->p.grad, g.m->p.value, g.m->p.m, g.m->p.v, g.m->p.n);
    }
    same_parameters(&g, after);
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

static double oracle_loss(const train_llama *m, const double *p, const spec_token *tokens,
                          const spec_token *targets, size_t n_seqs, size_t seq) {
    const train_llama_shape *s = &m->shape;
    size_t rows = n_seqs * seq, dim = s->dim, nq = s->n_heads * s->head_dim,
           nkv = s->n_kv_heads * s->head_dim;
    size_t wide = dim + nq + nkv + s->n_ff + s->vocab, n_targets = 0;
    double *x = make(rows * wide, 8), *y = make(rows * wide, 8), *q = make(rows * wide, 8);
    double *k = make(rows * wide, 8), *v = make(rows * wide, 8), *z = make(rows * wide, 8);
    const train_view *w = m->p.view + 1;
    for (size_t i = 0; i < rows * dim; i++) x[i] = p[(size_t)tokens[i / dim] * dim + i % dim];
    for (size_t l = 0; l < s->n_layers; l++, w += PARTS) {
        oracle_rmsnorm(x, p + w[0].offset, s->eps, y, rows, dim);
        oracle_linear(y, p + w[1].offset, q, rows, dim, nq);
        oracle_linear(y, p + w[2].offset, k, rows, dim, nkv);
        oracle_linear(y, p + w[3].offset, v, rows, dim, nkv);
        oracle_rope(q, s->rope_base, rows, seq, s->n_heads, s->head_dim);
        oracle_rope(k, s->rope_base, rows, seq, s->n_kv_heads, s->head_dim);
        oracle_attention(q, k, v, y, n_seqs, seq, s->n_heads, s->n_kv_heads, s->head_dim);
        oracle_linear(y, p + w[4].offset, z, rows, nq, dim);
        for (size_t i = 0; i < rows * dim; i++) x[i] += z[i];
        oracle_rmsnorm(x, p + w[5].offset, s->eps, y, rows, dim);
        oracle_linear(y, p + w[6].offset, q, rows, dim, s->n_ff);
        oracle_linear(y, p + w[7].offset, k, rows, dim, s->n_ff);
        oracle_swiglu(q, k, v, rows * s->n_ff);
        oracle_linear(v, p + w[8].offset, z, rows, s->n_ff, dim);
        for (size_t i = 0; i < rows * dim; i++) x[i] += z[i];
    }
    oracle_rmsnorm(x, p + w[0].offset, s->eps, y, rows, dim);
    oracle_linear(y, p + (s->tied ? 0 : w[1].offset), z, rows, dim, s->vocab);
    for (size_t r = 0; r < rows; r++) n_targets += targets[r] != TRAIN_IGNORED;
    double loss = oracle_cross_entropy(z, targets, rows, s->vocab) / (double)n_targets;
    double *all[] = {x, y, q, k, v, z};
    for (size_t i = 0; i < 6; i++) free(all[i]);
    return loss;
}

static void random_batch(support_rng *r, size_t rows, size_t vocab, spec_token *tokens, spec_token *targets) {
    for (size_t i = 0; i < rows; i++) {
        tokens[i] = (spec_token)support_rng_below(r, (uint32_t)vocab);
        targets[i] = i && support_rng_chance(r, 0.2) ? TRAIN_IGNORED
                                                     : (spec_token)support_rng_below(r, (uint32_t)vocab);
    }
}

/* Weights large enough that every part matters. */
static void random_weights(train_llama *m, support_rng *r) {
    for (size_t i = 0; i < m->p.n; i++) m->p.value[i] = (float)(support_rng_unit(r) - 0.5);
}

/* Difference quotients at some elements of a view. */
static void check_view(const train_llama *m, const train_view *v, support_rng *r, double *p,
                       const spec_token *tokens, const spec_token *targets, size_t n_seqs, size_t seq) {
    size_t n = v->rows * v->cols;
    double most = 0.0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)m->p.grad[v->offset + i]));
    assert_true(most > 0.0);
    for (int i = 0; i < 8; i++) {
        size_t j = v->offset + support_rng_below(r, (uint32_t)n);
        const double h = 1e-5, at = p[j];
        p[j] = at + h;
        double above = oracle_loss(m, p, tokens, targets, n_seqs, seq);
        p[j] = at - h;
        double d = (above - oracle_loss(m, p, tokens, targets, n_seqs, seq)) / (2.0 * h);
        p[j] = at;
        if (!(fabs((double)m->p.grad[j] - d) <= 2e-5 * most + 1e-7))
            fail_msg("%s: %.9g, expected %.9g (of %.3g)", v->name, (double)m->p.grad[j], d, most);
    }
}

static void check_differences(const train_llama_shape *s, size_t n_seqs, size_t seq, uint64_t stream) {
    support_rng r = support_rng_new(support_seed(), stream);
    size_t rows = n_seqs * seq;
    spec_token *tokens = make(rows, sizeof *tokens), *targets = make(rows, sizeof *targets);
    train_llama *m = new_model(s, rows, seq);
    random_weights(m, &r);
    random_batch(&r, rows, s->vocab, tokens, targets);
    double *p = make(m->p.n, sizeof *p);
    for (size_t i = 0; i < m->p.n; i++) p[i] = m->p.value[i];
    train_loss loss = run(m, tokens, targets, n_seqs, seq, true);
    double want = oracle_loss(m, p, tokens, targets, n_seqs, seq);
    assert_true(fabs(loss.sum / (double)loss.n - want) < 2e-6 * want);
    for (size_t i = 0; i < m->p.n_views; i++)
        check_view(m, &m->p.view[i], &r, p, tokens, targets, n_seqs, seq);
    free(tokens);
    free(targets);
    free(p);
    train_llama_free(m);
}

static void test_differences(void **state) {
    (void)state;
    const train_llama_shape s = {11, 12, 2, 4, 2, 6, 10, 100.0, 1e-5f, false};
    check_differences(&s, 3, 7, 1);
}

static void test_differences_tied(void **state) {
    (void)state;
    const train_llama_shape s = {11, 8, 1, 3, 1, 4, 10, 100.0, 1e-5f, true};
    check_differences(&s, 2, 5, 2);
}

/* More rows than the output matrix sees at a time. */
static void test_differences_of_many_rows(void **state) {
    (void)state;
    const train_llama_shape s = {5, 4, 1, 1, 1, 2, 3, 100.0, 1e-5f, false};
    check_differences(&s, 60, 9, 3);
}

/* ---- use ----------------------------------------------------------------- */

static const train_llama_shape small = {40, 16, 2, 4, 2, 4, 24, 10000.0, 1e-5f, false};

/* The same bits again, whatever ran before; micro-batches add up; without `backward` nothing moves. */
static void test_same_inputs_same_bits(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 4);
    spec_token tokens[48], targets[48], others[48];
    train_llama *m = new_model(&small, 48, 12);
    train_llama_init(m, support_seed());
    random_batch(&r, 48, small.vocab, tokens, targets);
    for (int i = 0; i < 48; i++) others[i] = tokens[47 - i];
    train_loss first = run(m, tokens, targets, 4, 12, true);
    float *was = make(m->p.n, sizeof *was);
    memcpy(was, m->p.grad, m->p.n * sizeof *was);
    assert_true(run(m, tokens, targets, 4, 12, false).sum == first.sum);
    assert_memory_equal(was, m->p.grad, m->p.n * sizeof *was);
    run(m, others, targets, 6, 8, true);
    clear(m);
    train_loss again = run(m, tokens, targets, 4, 12, true);
    assert_true(again.sum == first.sum && again.n == first.n && again.correct == first.correct);
    assert_memory_equal(was, m->p.grad, m->p.n * sizeof *was);
    run(m, tokens, targets, 4, 12, true);
    for (size_t i = 0; i < m->p.n; i++) assert_true(fabsf(m->p.grad[i] - 2.0f * was[i]) < 1e-5f);
    free(was);
    train_llama_free(m);
}

/* Operations by part, against the shapes; backward parts stay as they are without `backward`. */
static void test_times_by_part(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 6);
    spec_token tokens[48], targets[48];
    train_llama *m = new_model(&small, 48, 12);
    random_batch(&r, 48, small.vocab, tokens, targets);
    run(m, tokens, targets, 4, 12, false);
    const train_times forward = m->times, none = {{0}, {0}, 0};
    for (size_t i = 0; i < TRAIN_TIMES; i++) {
        assert_true((forward.ns[i] > 0) == (i <= TRAIN_LOSS));
        assert_non_null(strstr(train_time_name[i], i < TRAIN_LOSS    ? "forward."
                                                   : i == TRAIN_LOSS ? "loss"
                                                                     : "backward."));
    }
    assert_true(forward.flop[TRAIN_FORWARD_HEAD] == 2.0 * 48 * 16 * 40);
    assert_true(forward.flop[TRAIN_FORWARD_FFN] == 2.0 * 2 * 48 * 3 * 16 * 24);
    assert_true(forward.flop[TRAIN_FORWARD_ATTENTION] == 2.0 * 2 * 2 * 4 * 4 * (12 * 13 / 2) * 4);
    assert_true(train_times_gflops(&forward, &none) > 0.0 && train_times_gflops(&forward, &forward) == 0.0);
    run(m, tokens, targets, 4, 12, true);
    assert_true(m->times.flop[TRAIN_FORWARD_QKV] == 2.0 * forward.flop[TRAIN_FORWARD_QKV]);
    assert_true(m->times.flop[TRAIN_BACKWARD_QKV] == 2.0 * forward.flop[TRAIN_FORWARD_QKV]);
    assert_true(m->times.flop[TRAIN_BACKWARD_ATTENTION] == 2.5 * forward.flop[TRAIN_FORWARD_ATTENTION]);
    for (size_t i = 0; i < TRAIN_TIMES; i++) assert_true(m->times.ns[i] > forward.ns[i]);
    train_llama_free(m);
}

static void test_it_learns(void **state) {
    (void)state;
    spec_token tokens[48], targets[48];
    train_llama *m = new_model(&small, 48, 12);
    train_llama_init(m, 1);
    for (size_t i = 0; i < 48; i++) { /* what comes next is a function of the token */
        tokens[i] = (spec_token)(i * 7 % small.vocab);
        targets[i] = (spec_token)((i * 7 + 3) % small.vocab);
    }
    const train_adamw o = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.0};
    train_loss before = run(m, tokens, targets, 4, 12, false);
    assert_true(fabs(before.sum / 48.0 - log((double)small.vocab)) < 0.1);
    for (uint64_t t = 1; t <= 60; t++) {
        clear(m);
        run(m, tokens, targets, 4, 12, true);
        double scale = train_clip(train_norm(m->p.grad, m->p.n), 1.0);
        train_adamw_step(&o, t, scale, m->p.grad, m->p.value, m->p.m, m->p.v, m->p.n);
    }
    train_loss after = run(m, tokens, targets, 4, 12, false);
    assert_true(after.sum / 48.0 < 0.2);
    assert_int_equal(after.correct, 48);
    train_llama_free(m);
}

static void test_no_targets(void **state) {
    (void)state;
    spec_token tokens[4] = {1, 2, 3, 4};
    spec_token targets[4] = {TRAIN_IGNORED, TRAIN_IGNORED, TRAIN_IGNORED, TRAIN_IGNORED};
    train_llama *m = new_model(&small, 4, 4);
    train_llama_init(m, 1);
    train_loss loss = run(m, tokens, targets, 1, 4, true);
    assert_true(loss.n == 0 && loss.sum == 0.0);
    assert_true(train_norm(m->p.grad, m->p.n) == 0.0);
    train_llama_free(m);
}

static void test_nan_shows(void **state) {
    (void)state;
    spec_token tokens[4] = {1, 2, 3, 4}, targets[4] = {2, 3, 4, 5};
    train_llama *m = new_model(&small, 4, 4);
    for (size_t i = 0; i < m->p.n_views; i++) {
        train_llama_init(m, 1);
        m->p.value[m->p.view[i].offset + (i ? 0 : 2 * small.dim)] = NAN; /* of the embedding: a row in use */
        assert_true(isnan(run(m, tokens, targets, 1, 4, false).sum));
    }
    train_llama_free(m);
}

/* ---- refusals ------------------------------------------------------------ */

static void test_bad_sizes(void **state) {
    (void)state;
    for (int i = 0; i < 12; i++) {
        train_llama_shape s = small;
        size_t *const size[] = {&s.vocab,      &s.dim,      &s.n_layers, &s.n_heads,
                                &s.n_kv_heads, &s.head_dim, &s.n_ff};
        if (i < 7) *size[i] = i % 2 ? 0 : SIZE_MAX;
        if (i == 7) s.n_kv_heads = 3;
        if (i == 8) s.head_dim = 5;
        if (i == 9) s.rope_base = NAN;
        if (i == 10) s.eps = 0.0f;
        train_llama *m = NULL;
        spec_message why = {{0}};
        assert_int_equal(train_llama_new(&m, &s, 8, i == 11 ? 9 : 8, NULL, NULL, &why), SPEC_ERR_INVALID);
        assert_true(why.text[0] && !m);
    }
}

static void test_bad_batches(void **state) {
    (void)state;
    train_llama *m = new_model(&small, 8, 4);
    spec_token tokens[12] = {0}, targets[12] = {0};
    train_loss loss = {0};
    spec_message why;
    const size_t shape[][2] = {{0, 4}, {2, 0}, {1, 5}, {3, 4}, {SIZE_MAX / 4 + 2, 4}};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(train_llama_run(m, tokens, targets, shape[i][0], shape[i][1], true, &loss, &why),
                         SPEC_ERR_INVALID);
    const spec_token bad[] = {-1, 40, -101};
    for (size_t i = 0; i < 6; i++) {
        spec_token *row = i < 3 ? &tokens[7] : &targets[7];
        *row = bad[i % 3];
        assert_int_equal(train_llama_run(m, tokens, targets, 2, 4, true, &loss, &why), SPEC_ERR_INVALID);
        assert_non_null(strstr(why.text, "row 7"));
        *row = 0;
    }
    assert_true(loss.n == 0 && train_norm(m->p.grad, m->p.n) == 0.0);
    train_llama_free(m);
}

/* Written as a file and read back; then one that does not fit. */
static void save(const train_llama *m, const char *path, size_t less) {
    spec_writer *w;
    assert_int_equal(spec_writer_new(&w, path, SPEC_FORMAT_SAFETENSORS, NULL, NULL), 0);
    for (size_t i = 0; i < m->p.n_views; i++) {
        const train_view *v = &m->p.view[i];
        uint64_t dim[2] = {v->rows, v->cols};
        dim[1] -= i == m->p.n_views - 1 ? less : 0;
        assert_int_equal(spec_writer_tensor(w, v->name, SPEC_TYPE_F32, v->n_dims, dim + 2 - v->n_dims), 0);
    }
    for (size_t i = 0; i < m->p.n_views; i++) {
        const train_view *v = &m->p.view[i];
        size_t n = v->rows * (v->cols - (i == m->p.n_views - 1 ? less : 0));
        assert_int_equal(spec_writer_data(w, m->p.value + v->offset, n * sizeof(float)), 0);
    }
    assert_int_equal(spec_writer_finish(w, NULL), 0);
}

static void test_loading(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256];
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "model.safetensors", path, sizeof path);
    train_llama *a = new_model(&small, 4, 4), *b = new_model(&small, 4, 4);
    train_llama_init(a, 5);
    for (size_t less = 0; less < 2; less++) {
        spec_tensors *f;
        spec_message why;
        save(a, path, less);
        assert_int_equal(spec_tensors_open(&f, path, NULL, &why), 0);
        assert_int_equal(train_llama_load(b, f, &why), less ? SPEC_ERR_CORRUPT : SPEC_OK);
        if (less) assert_non_null(strstr(why.text, "lm_head.weight is of another shape"));
        assert_memory_equal(a->p.value, b->p.value, a->p.n * sizeof *a->p.value);
        train_llama_init(a, 6); /* the refused file has other values, and none of them came */
        if (!less) train_llama_init(b, 6);
        spec_tensors_free(f);
    }
    train_llama_free(a);
    train_llama_free(b);
    support_tmp_remove(&tmp);
}

static int new_small(void *arg, const spec_allocator *a, spec_message *why) {
    train_llama *m = NULL;
    (void)arg;
    int err = train_llama_new(&m, &small, 8, 4, NULL, a, why);
    assert_true((m == NULL) == (err != SPEC_OK));
    train_llama_free(m);
    return err;
}

static void test_refused_memory(void **state) {
    (void)state;
    assert_int_equal(support_refuse_each(new_small, NULL), 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_steps),
        cmocka_unit_test(test_recorded_accumulation),
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_differences_tied),
        cmocka_unit_test(test_differences_of_many_rows),
        cmocka_unit_test(test_same_inputs_same_bits),
        cmocka_unit_test(test_times_by_part),
        cmocka_unit_test(test_it_learns),
        cmocka_unit_test(test_no_targets),
        cmocka_unit_test(test_nan_shows),
        cmocka_unit_test(test_bad_sizes),
        cmocka_unit_test(test_bad_batches),
        cmocka_unit_test(test_loading),
        cmocka_unit_test(test_refused_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

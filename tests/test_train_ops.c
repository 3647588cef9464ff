/* SPDX-License-Identifier: MIT */
/*
 * The trainer's operations: forward against their definitions in doubles, and
 * every backward against central differences of those.
 *
 * An operation is a case: inputs in one array, outputs in another. The gradient of sum(c * out), c
 * random, is compared element by element.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "oracle_train.h"
#include "train_ops.h"

typedef struct shape {
    size_t rows, n_in, n_out, seq, heads, kv_heads, head_dim;
    spec_token tokens[64];
} shape;

typedef struct operation {
    size_t n_in, n_out; /* of all inputs, of the output */
    void (*oracle)(const shape *s, const double *in, double *out);
    void (*forward)(const shape *s, const float *in, float *out);
    void (*backward)(const shape *s, const float *in, const float *dout, float *din); /* din begins as 0 */
} operation;

static train_ctx ctx;

static void *make(size_t n, size_t size) {
    void *p = calloc(n, size);
    assert_non_null(p);
    return p;
}

static double gauss(support_rng *r) {
    double sum = -6.0;
    for (int i = 0; i < 12; i++) sum += support_rng_unit(r);
    return sum;
}

static void assert_close(const char *what, size_t i, double got, double want, double size) {
    if (!(fabs(got - want) <= 5e-6 * size))
        fail_msg("%s %zu: %.9g, expected %.9g (of %.3g)", what, i, got, want, size);
}

static double weighted(const shape *s, const operation *op, const double *in, const double *c, double *out) {
    double sum = 0.0;
    op->oracle(s, in, out);
    for (size_t i = 0; i < op->n_out; i++) sum += c[i] * out[i];
    return sum;
}

static double largest(const double *x, size_t n) {
    double m = 0.0;
    for (size_t i = 0; i < n; i++) m = fabs(x[i]) > m ? fabs(x[i]) : m;
    return m;
}

/* The difference quotient of the definition in every input. */
static double *differences(const shape *s, const operation *op, double *in, const double *c) {
    double *out = make(op->n_out, sizeof *out), *d = make(op->n_in, sizeof *d);
    for (size_t i = 0; i < op->n_in; i++) {
        const double h = 1e-5, at = in[i];
        in[i] = at + h;
        double above = weighted(s, op, in, c, out);
        in[i] = at - h;
        d[i] = (above - weighted(s, op, in, c, out)) / (2.0 * h);
        in[i] = at;
    }
    free(out);
    return d;
}

static void check(const char *name, support_rng *r, const shape *s, const operation *op) {
    double *in = make(op->n_in, sizeof *in), *out = make(op->n_out, sizeof *out);
    double *c = make(op->n_out, sizeof *c);
    float *x = make(op->n_in, sizeof *x), *y = make(op->n_out, sizeof *y), *dy = make(op->n_out, sizeof *dy);
    float *dx = make(op->n_in, sizeof *dx), *again = make(op->n_in, sizeof *again);
    for (size_t i = 0; i < op->n_in; i++) in[i] = x[i] = (float)gauss(r);
    for (size_t i = 0; i < op->n_out; i++) c[i] = dy[i] = (float)gauss(r);
    op->oracle(s, in, out);
    op->forward(s, x, y);
    for (size_t i = 0; i < op->n_out; i++) assert_close(name, i, y[i], out[i], largest(out, op->n_out));
    double *want = differences(s, op, in, c);
    op->backward(s, x, dy, dx);
    for (size_t i = 0; i < op->n_in; i++) assert_close(name, i, dx[i], want[i], largest(want, op->n_in));
    op->backward(s, x, dy, again);
    assert_memory_equal(dx, again, op->n_in * sizeof *dx);
    void *all[] = {in, out, c, x, y, dy, dx, again, want};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* ---- the operations ------------------------------------------------------ */

/* inputs: x, W */
static void linear_oracle(const shape *s, const double *in, double *out) {
    oracle_linear(in, in + s->rows * s->n_in, out, s->rows, s->n_in, s->n_out);
}
static void linear(const shape *s, const float *in, float *out) {
    train_linear(&ctx, in, in + s->rows * s->n_in, out, s->rows, s->n_in, s->n_out, false);
}
static void linear_back(const shape *s, const float *in, const float *dout, float *din) {
    size_t n = s->rows * s->n_in;
    train_linear_back(&ctx, in, in + n, dout, din, din + n, s->rows, s->n_in, s->n_out, false);
}

/* inputs: x, weight */
#define EPS 1e-5
static void norm_oracle(const shape *s, const double *in, double *out) {
    oracle_rmsnorm(in, in + s->rows * s->n_in, EPS, out, s->rows, s->n_in);
}
static void norm(const shape *s, const float *in, float *out) {
    train_rmsnorm(&ctx, in, in + s->rows * s->n_in, (float)EPS, out, s->rows, s->n_in);
}
static void norm_back(const shape *s, const float *in, const float *dout, float *din) {
    size_t n = s->rows * s->n_in;
    train_rmsnorm_back(&ctx, in, in + n, (float)EPS, dout, din, din + n, s->rows, s->n_in);
}

/* inputs: x */
static void rope_tables(const shape *s, float sign, float *cos, float *sin) {
    double freq[64];
    size_t half = s->head_dim / 2;
    specp_rope_freqs(10000.0, s->head_dim, freq);
    for (size_t t = 0; t < s->seq; t++) specp_rope_table(freq, half, t, cos + t * half, sin + t * half);
    for (size_t i = 0; i < s->seq * half; i++) sin[i] *= sign;
}
static void rotate(const shape *s, const float *in, float sign, float *out) {
    float cos[1024], sin[1024];
    rope_tables(s, sign, cos, sin);
    memcpy(out, in, s->rows * s->heads * s->head_dim * sizeof *out);
    train_rope(&ctx, out, cos, sin, s->rows, s->seq, s->heads, s->head_dim);
}
static void rope_oracle(const shape *s, const double *in, double *out) {
    memcpy(out, in, s->rows * s->heads * s->head_dim * sizeof *out);
    oracle_rope(out, 10000.0, s->rows, s->seq, s->heads, s->head_dim);
}
static void rope(const shape *s, const float *in, float *out) { rotate(s, in, 1.0f, out); }
static void rope_back(const shape *s, const float *in, const float *dout, float *din) {
    (void)in;
    rotate(s, dout, -1.0f, din);
}

/* inputs: gate, up */
static void swiglu_oracle(const shape *s, const double *in, double *out) {
    oracle_swiglu(in, in + s->rows, out, s->rows);
}
static void swiglu(const shape *s, const float *in, float *out) {
    train_swiglu(&ctx, in, in + s->rows, out, s->rows);
}
static void swiglu_back(const shape *s, const float *in, const float *dout, float *din) {
    memcpy(din, in, 2 * s->rows * sizeof *din);
    train_swiglu_back(&ctx, din, din + s->rows, dout, din, din + s->rows, s->rows);
}

/* inputs: q, k, v */
static train_attn attention_of(const shape *s) {
    return (train_attn){s->rows / s->seq, s->seq, s->heads, s->kv_heads, s->head_dim};
}
static void attention_oracle(const shape *s, const double *in, double *out) {
    size_t nq = s->rows * s->heads * s->head_dim, nk = s->rows * s->kv_heads * s->head_dim;
    oracle_attention(in, in + nq, in + nq + nk, out, s->rows / s->seq, s->seq, s->heads, s->kv_heads,
                     s->head_dim);
}
static void attention(const shape *s, const float *in, float *out) {
    size_t nq = s->rows * s->heads * s->head_dim, nk = s->rows * s->kv_heads * s->head_dim;
    train_attn a = attention_of(s);
    float lse[1024];
    train_attention(&ctx, &a, in, in + nq, in + nq + nk, out, lse);
}
static void attention_back(const shape *s, const float *in, const float *dout, float *din) {
    size_t nq = s->rows * s->heads * s->head_dim, nk = s->rows * s->kv_heads * s->head_dim;
    train_attn a = attention_of(s);
    float *out = make(nq, sizeof *out), lse[1024];
    train_attention(&ctx, &a, in, in + nq, in + nq + nk, out, lse);
    train_attention_back(&ctx, &a, in, in + nq, in + nq + nk, out, lse, dout, din, din + nq, din + nq + nk);
    free(out);
}

/* inputs: the table (n_out, n_in) */
static void embed_oracle(const shape *s, const double *in, double *out) {
    for (size_t i = 0; i < s->rows * s->n_in; i++)
        out[i] = in[(size_t)s->tokens[i / s->n_in] * s->n_in + i % s->n_in];
}
static void embed(const shape *s, const float *in, float *out) {
    train_embed(&ctx, in, s->tokens, out, s->rows, s->n_in);
}
static void embed_back(const shape *s, const float *in, const float *dout, float *din) {
    (void)in;
    train_embed_back(&ctx, s->tokens, dout, din, s->rows, s->n_in);
}

/* inputs: logits (rows, n_in); output: the sum */
static void loss_oracle(const shape *s, const double *in, double *out) {
    *out = oracle_cross_entropy(in, s->tokens, s->rows, s->n_in);
}
static train_loss cross_entropy(const shape *s, const float *in, float scale, float *gradient) {
    train_loss loss = {0};
    memcpy(gradient, in, s->rows * s->n_in * sizeof *in);
    train_cross_entropy(&ctx, gradient, s->tokens, s->rows, s->n_in, scale, &loss);
    return loss;
}
static void loss(const shape *s, const float *in, float *out) {
    float *gradient = make(s->rows * s->n_in, sizeof *gradient);
    *out = (float)cross_entropy(s, in, 1.0f, gradient).sum;
    free(gradient);
}
static void loss_back(const shape *s, const float *in, const float *dout, float *din) {
    cross_entropy(s, in, *dout, din);
}

/* ---- tests --------------------------------------------------------------- */

static size_t upto(support_rng *r, uint32_t n) { return 1 + support_rng_below(r, n); }

static void test_linear(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    for (int round = 0; round < 20; round++) {
        shape s = {.rows = upto(&r, 9), .n_in = upto(&r, 20), .n_out = upto(&r, 20)};
        operation op = {s.rows * s.n_in + s.n_in * s.n_out, s.rows * s.n_out, linear_oracle, linear,
                        linear_back};
        check("linear", &r, &s, &op);
    }
}

static void test_linear_adds(void **state) {
    (void)state;
    const float x[] = {1, 2, 3, 4}, w[] = {1, -1, 2, 0, 1, 1}; /* (2, 2), (3, 2) */
    const float dy[] = {1, 0, 0, 0, 0, 2};
    float y[6] = {10, 10, 10, 10, 10, 10}, dx[4] = {1, 1, 1, 1}, dw[6] = {5, 5, 5, 5, 5, 5};
    const float want_y[] = {9, 12, 13, 9, 16, 17}, want_dx[] = {2, 0, 3, 3}, want_dw[] = {6, 7, 5, 5, 11, 13};
    train_linear(&ctx, x, w, y, 2, 2, 3, true);
    assert_memory_equal(y, want_y, sizeof y);
    const float start[6] = {10, 10, 10, 10, 10, 10};
    memset(y, 0, sizeof y);
    train_linear_residual(&ctx, x, w, start, y, 2, 2, 3);
    assert_memory_equal(y, want_y, sizeof y);
    train_linear_back(&ctx, x, w, dy, dx, dw, 2, 2, 3, true);
    assert_memory_equal(dx, want_dx, sizeof dx);
    assert_memory_equal(dw, want_dw, sizeof dw);
    train_linear_back(&ctx, x, w, dy, NULL, NULL, 2, 2, 3, true); /* nothing is wanted, nothing is touched */
    assert_memory_equal(dx, want_dx, sizeof dx);
}

static void test_rmsnorm(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 2);
    for (int round = 0; round < 20; round++) {
        shape s = {.rows = upto(&r, 9), .n_in = 4 + upto(&r, 36)}; /* fewer: the gradient cancels */
        operation op = {(s.rows + 1) * s.n_in, s.rows * s.n_in, norm_oracle, norm, norm_back};
        check("rmsnorm", &r, &s, &op);
    }
    const float x[] = {0, 0}, w[] = {1, 1}, dy[] = {0, 0};
    float dx[] = {3, 4}, dw[] = {5, 6}; /* both are added to */
    train_rmsnorm_back(&ctx, x, w, (float)EPS, dy, dx, dw, 1, 2);
    assert_true(dx[0] == 3 && dx[1] == 4 && dw[0] == 5 && dw[1] == 6);
}

static void test_rope(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 3);
    for (int round = 0; round < 10; round++) {
        shape s = {.seq = upto(&r, 9), .heads = upto(&r, 3), .head_dim = 2 * upto(&r, 8)};
        s.rows = s.seq * upto(&r, 3);
        size_t n = s.rows * s.heads * s.head_dim;
        operation op = {n, n, rope_oracle, rope, rope_back};
        check("rope", &r, &s, &op);
    }
}

static void test_swiglu(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 4);
    for (int round = 0; round < 20; round++) {
        shape s = {.rows = upto(&r, 200)};
        operation op = {2 * s.rows, s.rows, swiglu_oracle, swiglu, swiglu_back};
        check("swiglu", &r, &s, &op);
    }
    /* Where sigma would be 0 / 0, and far out. */
    float gate[] = {0.0f, -0.0f, 1e-40f, 90.0f, -90.0f}, up[] = {2, 2, 2, 2, 2}, dy[] = {1, 1, 1, 1, 1};
    const float want[] = {1, 1, 1, 2, 0};
    train_swiglu_back(&ctx, gate, up, dy, gate, up, 5);
    for (size_t i = 0; i < 5; i++) assert_true(fabsf(gate[i] - want[i]) < 1e-30f);
}

static operation attention_case(const shape *s) {
    size_t nq = s->rows * s->heads * s->head_dim, nk = s->rows * s->kv_heads * s->head_dim;
    return (operation){nq + 2 * nk, nq, attention_oracle, attention, attention_back};
}

static void test_attention(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 5);
    for (int round = 0; round < 10; round++) {
        shape s = {.seq = upto(&r, 9), .kv_heads = upto(&r, 2), .head_dim = 2 * upto(&r, 4)};
        s.rows = s.seq * upto(&r, 3);
        s.heads = s.kv_heads * upto(&r, 3);
        operation op = attention_case(&s);
        check("attention", &r, &s, &op);
    }
}

/* More positions than a tile has: the second tile's keys reach back into the first. */
static void test_attention_of_several_tiles(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 6);
    shape s = {.rows = 131, .seq = 131, .heads = 2, .kv_heads = 1, .head_dim = 2};
    operation op = attention_case(&s);
    check("long attention", &r, &s, &op);
}

/* What comes later counts for nothing, however large. */
static void test_attention_is_causal(void **state) {
    (void)state;
    enum { SEEN = 70, SEQ = 100, D = 4 };
    const train_attn a = {1, SEQ, 1, 1, D};
    static float q[SEQ * D], key[SEQ * D], value[SEQ * D], out[SEQ * D], lse[SEQ];
    for (size_t i = 0; i < (size_t)SEQ * D; i++) {
        q[i] = 1.0f;
        key[i] = i < (size_t)SEEN * D ? 0.0f : 40.0f;
        value[i] = i < (size_t)SEEN * D ? 0.0f : 3e38f;
    }
    train_attention(&ctx, &a, q, key, value, out, lse);
    for (size_t i = 0; i < (size_t)SEEN * D; i++) assert_true(out[i] == 0.0f);
    for (size_t i = 0; i < SEEN; i++) assert_true(fabs((double)lse[i] - log((double)i + 1.0)) < 1e-6);
    assert_true(out[(SEQ - 1) * D] > 2.9e38f);
}

static void test_embed(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 7);
    for (int round = 0; round < 10; round++) {
        shape s = {.rows = upto(&r, 20), .n_in = upto(&r, 9), .n_out = upto(&r, 9)};
        for (size_t i = 0; i < s.rows; i++)
            s.tokens[i] = (spec_token)support_rng_below(&r, (uint32_t)s.n_out);
        operation op = {s.n_out * s.n_in, s.rows * s.n_in, embed_oracle, embed, embed_back};
        check("embedding", &r, &s, &op);
    }
}

static void test_cross_entropy(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 8);
    for (int round = 0; round < 20; round++) {
        shape s = {.rows = 1 + upto(&r, 12), .n_in = 1 + upto(&r, 50)};
        for (size_t i = 0; i < s.rows; i++)
            s.tokens[i] = i && support_rng_chance(&r, 0.3)
                              ? TRAIN_IGNORED
                              : (spec_token)support_rng_below(&r, (uint32_t)s.n_in);
        operation op = {s.rows * s.n_in, 1, loss_oracle, loss, loss_back};
        check("cross-entropy", &r, &s, &op);
    }
}

static void test_cross_entropy_counts(void **state) {
    (void)state;
    shape s = {.rows = 4, .n_in = 3, .tokens = {1, TRAIN_IGNORED, 0, 2}};
    const float logits[] = {0, 200, 0, 1, 2, 3, 0, 0, 500, -1, -1, 0};
    float gradient[12];
    train_loss got = cross_entropy(&s, logits, 0.25f, gradient);
    assert_int_equal(got.n, 3);
    assert_int_equal(got.correct, 2);
    assert_close("loss", 0, got.sum, 500.0 + log(1.0 + 2.0 * exp(-1.0)), 500.0);
    assert_true(gradient[3] == 0 && gradient[4] == 0 && gradient[5] == 0);
    assert_true(gradient[6] == -0.25f && gradient[8] == 0.25f);
    for (size_t bad = 0; bad < 2; bad++) { /* in the label's place or beside it: never hidden */
        float broken[12];
        memcpy(broken, logits, sizeof broken);
        broken[bad] = NAN;
        assert_true(isnan(cross_entropy(&s, broken, 1.0f, gradient).sum));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_linear_adds),
        cmocka_unit_test(test_rmsnorm),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_attention_of_several_tiles),
        cmocka_unit_test(test_attention_is_causal),
        cmocka_unit_test(test_embed),
        cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_cross_entropy_counts),
    };
    if (train_ctx_init(&ctx, NULL, 64, 256, 16, NULL)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    train_ctx_release(&ctx);
    return failed;
}

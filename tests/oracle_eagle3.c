/* SPDX-License-Identifier: MIT */
/* An EAGLE-3 head as its formulas say it: row by row, in double precision; see eagle3_world.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eagle3_world.h"
#include "tensor_bytes.h"

typedef struct oracle {
    const spec_tensors *f;
    const eagle3_made *m;
    double *k, *v; /* (rows, kv_heads * head_dim) so far */
    size_t n;
} oracle;

static double *floats_of(const oracle *o, const char *name, bool layer) {
    char full[96];
    (void)snprintf(full, sizeof full, "%s%s", layer ? o->m->layer : "", name);
    const spec_tensor *t = eagle3_tensor(o->f, full);
    size_t n = t->dim[0] * t->dim[1];
    float *x = malloc(n * sizeof *x);
    double *d = malloc(n * sizeof *d);
    assert_int_equal(spec_type_to_float(t->type, t->data, x, n), 0);
    for (size_t i = 0; i < n; i++) d[i] = (double)x[i];
    free(x);
    return d;
}

/* y = W x */
static void times(const oracle *o, const char *name, bool layer, const double *x, size_t n_out, size_t n_in,
                  double *y) {
    double *w = floats_of(o, name, layer);
    for (size_t i = 0; i < n_out; i++) {
        y[i] = 0;
        for (size_t j = 0; j < n_in; j++) y[i] += w[i * n_in + j] * x[j];
    }
    free(w);
}

static void norm(const oracle *o, const char *name, bool layer, const double *x, double *y) {
    size_t n = o->m->hidden;
    double *g = floats_of(o, name, layer), squares = 0,
           eps = o->m->meta == EAGLE3_META_FILE ? 0.0078125 : 1e-6;
    for (size_t i = 0; i < n; i++) squares += x[i] * x[i];
    for (size_t i = 0; i < n; i++) y[i] = x[i] / sqrt(squares / (double)n + eps) * g[i];
    free(g);
}

static void rotate(const oracle *o, double *x, size_t heads, size_t position) {
    size_t dim = o->m->head_dim, half = dim / 2;
    for (size_t h = 0; h < heads; h++, x += dim)
        for (size_t j = 0; j < half; j++) {
            double angle = (double)position *
                           pow(o->m->theta != 0 ? o->m->theta : 10000, -2.0 * (double)j / (double)dim);
            double a = x[j], b = x[j + half];
            x[j] = a * cos(angle) - b * sin(angle);
            x[j + half] = b * cos(angle) + a * sin(angle);
        }
}

/* Adds row n's keys and values; what its queries find among all of them goes to y (heads, head_dim). */
static void attention(oracle *o, const double *x, double *y) {
    const eagle3_made *m = o->m;
    size_t dim = m->head_dim, n_kv = m->kv_heads * dim, width = 2 * m->hidden, at = o->n++;
    double *q = malloc(m->heads * dim * sizeof *q), *s = malloc(o->n * sizeof *s);
    times(o, "self_attn.q_proj.weight", true, x, m->heads * dim, width, q);
    times(o, "self_attn.k_proj.weight", true, x, n_kv, width, o->k + at * n_kv);
    times(o, "self_attn.v_proj.weight", true, x, n_kv, width, o->v + at * n_kv);
    rotate(o, q, m->heads, at);
    rotate(o, o->k + at * n_kv, m->kv_heads, at);
    memset(y, 0, m->heads * dim * sizeof *y);
    for (size_t h = 0; h < m->heads; h++) {
        size_t kv = h / (m->heads / m->kv_heads) * dim;
        double sum = 0;
        for (size_t i = 0; i < o->n; i++) {
            s[i] = 0;
            for (size_t d = 0; d < dim; d++) s[i] += q[h * dim + d] * o->k[i * n_kv + kv + d];
            s[i] = exp(s[i] / sqrt((double)dim));
            sum += s[i];
        }
        for (size_t i = 0; i < o->n; i++)
            for (size_t d = 0; d < dim; d++) y[h * dim + d] += s[i] / sum * o->v[i * n_kv + kv + d];
    }
    free(s);
    free(q);
}

static void feed_forward(const oracle *o, const double *h, double *out) {
    size_t n = o->m->hidden, n_ff = o->m->n_ff;
    double *y = malloc(n * sizeof *y), *gate = malloc(2 * n_ff * sizeof *gate), *up = gate + n_ff;
    norm(o, "post_attention_layernorm.weight", true, h, y);
    times(o, "mlp.gate_proj.weight", true, y, n_ff, n, gate);
    times(o, "mlp.up_proj.weight", true, y, n_ff, n, up);
    for (size_t i = 0; i < n_ff; i++) gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
    times(o, "mlp.down_proj.weight", true, gate, n, n_ff, out);
    for (size_t i = 0; i < n; i++) out[i] += h[i];
    free(gate);
    free(y);
}

/* One row more: its feature and token give its hidden state. feature == hidden is allowed. */
static void row(oracle *o, const double *feature, spec_token token, double *hidden) {
    const eagle3_made *m = o->m;
    size_t n = m->hidden, n_q = m->heads * m->head_dim;
    double *x = malloc(2 * n * sizeof *x), *h = malloc(n * sizeof *h), *y = malloc(n_q * sizeof *y);
    float *e = malloc(n * sizeof *e);
    if (m->embed) {
        double *all = floats_of(o, "embed_tokens.weight", false);
        memcpy(x, all + (size_t)token * n, n * sizeof *x);
        free(all);
    } else {
        assert_int_equal(eagle3_embedding((void *)(uintptr_t)m, token, e), 0);
        for (size_t i = 0; i < n; i++) x[i] = (double)e[i];
    }
    norm(o, "input_layernorm.weight", true, x, x);
    norm(o, "hidden_norm.weight", true, feature, x + n);
    attention(o, x, y);
    times(o, "self_attn.o_proj.weight", true, y, n, n_q, h);
    for (size_t i = 0; i < n; i++) h[i] += m->norm_before ? x[n + i] : feature[i];
    feed_forward(o, h, hidden);
    free(e);
    free(y);
    free(h);
    free(x);
}

static void join_taps(const oracle *o, const float *taps, double *feature) {
    size_t width = o->m->taps * o->m->target;
    double *x = malloc(width * sizeof *x);
    for (size_t i = 0; i < width; i++) x[i] = (double)taps[i];
    if (o->m->no_fc || width == o->m->hidden)
        memcpy(feature, x, width * sizeof *x);
    else
        times(o, "fc.weight", false, x, o->m->hidden, width, feature);
    free(x);
}

void eagle3_oracle(const char *path, const eagle3_made *m, const eagle3_text *text, size_t n_rows,
                   const spec_token *chain, size_t n_chain, double *logits, double *hidden) {
    spec_tensors *f = must_open(path, NULL);
    size_t rows = n_rows + n_chain, n_kv = m->kv_heads * m->head_dim, n = m->hidden;
    oracle o = {f, m, malloc(rows * n_kv * sizeof(double)), malloc(rows * n_kv * sizeof(double)), 0};
    double *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < rows; i++) {
        bool stable = i < n_rows;
        if (stable) join_taps(&o, text->taps + i * m->taps * m->target, x);
        row(&o, x, stable ? text->token[i] : chain[i - n_rows], x);
        if (i + 1 < n_rows) continue;
        size_t at = i + 1 - n_rows;
        double *y = malloc(n * sizeof *y);
        memcpy(hidden + at * n, x, n * sizeof *x);
        norm(&o, "norm.weight", false, x, y);
        times(&o, "lm_head.weight", false, y, m->draft_vocab, n, logits + at * m->draft_vocab);
        free(y);
    }
    free(x);
    free(o.v);
    free(o.k);
    spec_tensors_free(f);
}

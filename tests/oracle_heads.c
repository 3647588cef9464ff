/* SPDX-License-Identifier: MIT */
/* The losses of draft heads by their definitions, in doubles. */
#include "oracle_heads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "oracle_train.h"

/* ---- Medusa -------------------------------------------------------------- */

/* Head k's mean: row r is to predict labels[r + 2 + k] of its sequence. */
static double medusa_head(const train_medusa_shape *s, const double *p, size_t k, const double *hidden,
                          const spec_token *labels, size_t rows, size_t seq) {
    double *x = malloc(s->dim * sizeof *x), *z = malloc(s->dim * sizeof *z);
    double *y = malloc(s->vocab * sizeof *y), sum = 0.0;
    size_t n = 0, dim = s->dim, layer = dim * dim + dim;
    p += k * (s->layers * layer + s->vocab * dim);
    for (size_t r = 0; r < rows && x && z && y; r++) {
        if (r % seq + 2 + k >= seq || labels[r + 2 + k] == -100) continue;
        memcpy(x, hidden + r * dim, dim * sizeof *x);
        for (size_t l = 0; l < s->layers; l++) {
            oracle_linear(x, p + l * layer, z, 1, dim, dim);
            for (size_t i = 0; i < dim; i++) {
                double in = z[i] + p[l * layer + dim * dim + i];
                x[i] += in / (1.0 + exp(-in));
            }
        }
        oracle_linear(x, p + s->layers * layer, y, 1, dim, s->vocab);
        sum += oracle_cross_entropy(y, &labels[r + 2 + k], 1, s->vocab);
        n++;
    }
    free(x);
    free(z);
    free(y);
    return n ? sum / (double)n : 0.0;
}

double oracle_medusa(const train_medusa_shape *s, const double *p, const float *hidden,
                     const spec_token *labels, size_t n_seqs, size_t seq, double *parts) {
    size_t rows = n_seqs * seq;
    double *x = malloc(rows * s->dim * sizeof *x), loss = 0.0;
    for (size_t i = 0; x && i < rows * s->dim; i++) x[i] = (double)hidden[i];
    for (size_t k = 0; x && k < s->heads; k++) {
        double mean = medusa_head(s, p, k, x, labels, rows, seq);
        loss += pow(s->decay, (double)k + 1.0) * mean;
        if (parts) parts[k] = mean;
    }
    free(x);
    return loss;
}

/* ---- EAGLE-3 ------------------------------------------------------------- */

typedef struct eagle3 {
    const train_eagle3 *m;
    const double *p;
    size_t n_seqs, seq, rows, step;
    double *f, *pair, *q, *attn, *y, *gate, *up; /* of the step */
    double *k[TRAIN_EAGLE3_MAX_STEPS], *v[TRAIN_EAGLE3_MAX_STEPS];
} eagle3;

static const double *param(const eagle3 *e, const char *name) {
    for (size_t i = 0; i < e->m->p.n_views; i++)
        if (strcmp(e->m->p.view[i].name, name) == 0) return e->p + e->m->p.view[i].offset;
    abort();
}

/* One step to the left in each sequence, zeros come in. */
static void shift_left(double *x, size_t n_seqs, size_t seq, size_t width) {
    for (size_t s = 0; s < n_seqs; s++, x += seq * width) {
        memmove(x, x + width, (seq - 1) * width * sizeof *x);
        memset(x + (seq - 1) * width, 0, width * sizeof *x);
    }
}

/* Row i at position i + step. */
static void rope_at(const eagle3 *e, double *x, size_t heads) {
    size_t d = e->m->shape.head_dim, half = d / 2;
    for (size_t r = 0; r < e->rows; r++) {
        for (size_t h = 0; h < heads; h++, x += d) {
            for (size_t j = 0; j < half; j++) {
                double angle =
                    (double)(r % e->seq + e->step) * pow(e->m->shape.rope_base, -2.0 * (double)j / (double)d);
                double a = x[j], b = x[j + half];
                x[j] = a * cos(angle) - b * sin(angle);
                x[j + half] = a * sin(angle) + b * cos(angle);
            }
        }
    }
}

/* Head h of row r: keys of step 0 up to r, then r's own of later steps. */
static void attend(const eagle3 *e, size_t r, size_t h, double *p) {
    const train_eagle3_shape *s = &e->m->shape;
    size_t d = s->head_dim, ldk = s->n_kv_heads * d, kv = h * s->n_kv_heads / s->n_heads * d;
    size_t first = r / e->seq * e->seq, n = r - first + 1 + e->step;
    const double *q = e->q + (r * s->n_heads + h) * d;
    double *out = e->attn + (r * s->n_heads + h) * d, sum = 0.0, most = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        bool own = first + i > r;
        const double *key = own ? e->k[first + i - r] + r * ldk + kv : e->k[0] + (first + i) * ldk + kv;
        double score = 0.0;
        for (size_t j = 0; j < d; j++) score += q[j] * key[j];
        p[i] = score / sqrt((double)d);
        most = fmax(most, p[i]);
    }
    for (size_t i = 0; i < n; i++) {
        p[i] = exp(p[i] - most);
        sum += p[i];
    }
    for (size_t j = 0; j < d; j++) out[j] = 0.0;
    for (size_t i = 0; i < n; i++) {
        bool own = first + i > r;
        const double *v = own ? e->v[first + i - r] + r * ldk + kv : e->v[0] + (first + i) * ldk + kv;
        for (size_t j = 0; j < d; j++) out[j] += p[i] / sum * v[j];
    }
}

/* The layer: f becomes what comes out of it. ids as doubles. */
static void eagle3_layer(eagle3 *e, const double *ids) {
    const train_eagle3_shape *s = &e->m->shape;
    size_t rows = e->rows, dim = s->dim, q = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < dim; i++) e->y[i] = (double)e->m->embedding[(size_t)ids[r] * dim + i];
        oracle_rmsnorm(e->y, param(e, "midlayer.input_layernorm.weight"), s->eps, e->pair + 2 * r * dim, 1,
                       dim);
        oracle_rmsnorm(e->f + r * dim, param(e, "midlayer.hidden_norm.weight"), s->eps,
                       e->pair + (2 * r + 1) * dim, 1, dim);
    }
    oracle_linear(e->pair, param(e, "midlayer.self_attn.q_proj.weight"), e->q, rows, 2 * dim, q);
    oracle_linear(e->pair, param(e, "midlayer.self_attn.k_proj.weight"), e->k[e->step], rows, 2 * dim, kv);
    oracle_linear(e->pair, param(e, "midlayer.self_attn.v_proj.weight"), e->v[e->step], rows, 2 * dim, kv);
    rope_at(e, e->q, s->n_heads);
    rope_at(e, e->k[e->step], s->n_kv_heads);
    for (size_t i = 0; i < rows * s->n_heads; i++) attend(e, i / s->n_heads, i % s->n_heads, e->y);
    oracle_linear(e->attn, param(e, "midlayer.self_attn.o_proj.weight"), e->y, rows, q, dim);
    for (size_t r = 0; r < rows; r++) {
        const double *residual = s->norm_before_residual ? e->pair + (2 * r + 1) * dim : e->f + r * dim;
        for (size_t i = 0; i < dim; i++) e->f[r * dim + i] = residual[i] + e->y[r * dim + i];
    }
    oracle_rmsnorm(e->f, param(e, "midlayer.post_attention_layernorm.weight"), s->eps, e->y, rows, dim);
    oracle_linear(e->y, param(e, "midlayer.mlp.gate_proj.weight"), e->gate, rows, dim, s->n_ff);
    oracle_linear(e->y, param(e, "midlayer.mlp.up_proj.weight"), e->up, rows, dim, s->n_ff);
    oracle_swiglu(e->gate, e->up, e->gate, rows * s->n_ff);
    oracle_linear(e->gate, param(e, "midlayer.mlp.down_proj.weight"), e->y, rows, s->n_ff, dim);
    for (size_t i = 0; i < rows * dim; i++) e->f[i] += e->y[i];
}

static size_t largest(const double *x, size_t n) {
    size_t best = 0;
    for (size_t i = 0; i < n; i++) best = x[i] > x[best] ? i : best;
    return best;
}

/* Adds a row that the mask leaves in. */
static void soft_entropy(const eagle3 *e, const double *logits, const double *target,
                         train_eagle3_part *part) {
    const train_eagle3 *m = e->m;
    double t = 0.0, p = 0.0;
    size_t best = largest(target, m->shape.vocab), kept = 0;
    for (size_t i = 0; i < m->shape.draft_vocab; i++) {
        kept += (size_t)m->kept[i] == best;
        t += exp(target[m->kept[i]]);
        p += exp(logits[i]);
    }
    part->rows++;
    part->inside += kept;
    part->correct += (size_t)m->kept[largest(logits, m->shape.draft_vocab)] == best;
    for (size_t i = 0; i < m->shape.draft_vocab && kept; i++) {
        double share = exp(target[m->kept[i]]) / t;
        part->sum += share * (log(p) - logits[i]);
        part->entropy -= share * log(share);
    }
}

static double *doubles(size_t n) {
    double *x = calloc(n, sizeof *x);
    if (!x) abort();
    return x;
}

static double *doubles_of(const float *from, size_t n) {
    double *x = doubles(n);
    for (size_t i = 0; i < n; i++) x[i] = (double)from[i];
    return x;
}

static double *target_logits(const train_eagle3 *m, const train_eagle3_batch *b) {
    size_t rows = b->n_seqs * b->seq, dim = m->shape.dim, vocab = m->shape.vocab;
    if (b->logits) return doubles_of(b->logits, rows * vocab);
    double *x = doubles_of(b->hidden, rows * dim), *w = doubles_of(b->output, vocab * dim);
    double *y = doubles(rows * vocab);
    oracle_linear(x, w, y, rows, dim, vocab);
    free(x);
    free(w);
    return y;
}

static double eagle3_steps(eagle3 *e, double *ids, double *target, double *mask, train_eagle3_sums *sums) {
    const train_eagle3_shape *s = &e->m->shape;
    double loss = 0.0, *logits = doubles(s->draft_vocab);
    shift_left(ids, e->n_seqs, e->seq, 1);
    shift_left(target, e->n_seqs, e->seq, s->vocab);
    for (e->step = 0; e->step < s->steps; e->step++) {
        train_eagle3_part part = {0};
        eagle3_layer(e, ids);
        for (size_t r = 0; r < e->rows; r++) {
            oracle_rmsnorm(e->f + r * s->dim, param(e, "norm.weight"), s->eps, e->y, 1, s->dim);
            oracle_linear(e->y, param(e, "lm_head.weight"), logits, 1, s->dim, s->draft_vocab);
            if (mask[r] != 0.0) soft_entropy(e, logits, target + r * s->vocab, &part);
        }
        loss += pow(s->decay, (double)e->step) * part.sum / (double)e->rows;
        if (sums) sums->step[e->step] = part;
        shift_left(ids, e->n_seqs, e->seq, 1);
        shift_left(target, e->n_seqs, e->seq, s->vocab);
        shift_left(mask, e->n_seqs, e->seq, 1);
    }
    free(logits);
    return loss;
}

double oracle_eagle3(const train_eagle3 *m, const double *p, const train_eagle3_batch *b,
                     train_eagle3_sums *sums) {
    const train_eagle3_shape *s = &m->shape;
    size_t rows = b->n_seqs * b->seq, wide = s->dim + (s->n_heads + s->n_kv_heads) * s->head_dim;
    wide += s->n_ff + b->seq + s->steps;
    eagle3 e = {.m = m, .p = p, .n_seqs = b->n_seqs, .seq = b->seq, .rows = rows};
    double *taps = doubles_of(b->taps, rows * s->n_taps * s->dim), *target = target_logits(m, b);
    double *ids = doubles(rows), *mask = doubles(rows);
    double **const of_step[] = {&e.f, &e.pair, &e.q, &e.attn, &e.y, &e.gate, &e.up};
    for (size_t i = 0; i < 7; i++) *of_step[i] = doubles(rows * 2 * wide);
    for (size_t j = 0; j < s->steps; j++) {
        e.k[j] = doubles(rows * wide);
        e.v[j] = doubles(rows * wide);
    }
    for (size_t r = 0; r < rows; r++) {
        ids[r] = b->tokens[r];
        mask[r] = r % b->seq + 1 < b->seq && (!b->mask || b->mask[r]) ? 1.0 : 0.0;
    }
    oracle_linear(taps, param(&e, "fc.weight"), e.f, rows, s->n_taps * s->dim, s->dim);
    double loss = eagle3_steps(&e, ids, target, mask, sums);
    if (sums) sums->rows = rows;
    for (size_t i = 0; i < 7; i++) free(*of_step[i]);
    for (size_t j = 0; j < s->steps; j++) {
        free(e.k[j]);
        free(e.v[j]);
    }
    double *const rest[] = {taps, target, ids, mask};
    for (size_t i = 0; i < 4; i++) free(rest[i]);
    return loss;
}

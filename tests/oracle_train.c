/* SPDX-License-Identifier: MIT */
/* The trainer's operations by their definitions, in doubles. */
#include "oracle_train.h"

#include <math.h>
#include <stdlib.h>

void oracle_linear(const double *x, const double *w, double *y, size_t rows, size_t n_in, size_t n_out) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t o = 0; o < n_out; o++) {
            double sum = 0.0;
            for (size_t i = 0; i < n_in; i++) sum += x[r * n_in + i] * w[o * n_in + i];
            y[r * n_out + o] = sum;
        }
    }
}

void oracle_rmsnorm(const double *x, const double *w, double eps, double *y, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++, x += n, y += n) {
        double sum = 0.0;
        for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
        for (size_t i = 0; i < n; i++) y[i] = x[i] / sqrt(sum / (double)n + eps) * w[i];
    }
}

void oracle_rope(double *x, double base, size_t rows, size_t seq, size_t n_heads, size_t head_dim) {
    size_t half = head_dim / 2;
    for (size_t r = 0; r < rows; r++) {
        for (size_t h = 0; h < n_heads; h++, x += head_dim) {
            for (size_t j = 0; j < half; j++) {
                double angle = (double)(r % seq) * pow(base, -2.0 * (double)j / (double)head_dim);
                double a = x[j], b = x[j + half];
                x[j] = a * cos(angle) - b * sin(angle);
                x[j + half] = a * sin(angle) + b * cos(angle);
            }
        }
    }
}

void oracle_swiglu(const double *gate, const double *up, double *y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];
}

/* One query against n keys that lie ld apart. */
static void attend(const double *q, const double *k, const double *v, double *out, size_t n, size_t ld,
                   size_t head_dim) {
    double *p = malloc(n * sizeof *p), sum = 0.0;
    for (size_t j = 0; p && j < n; j++) {
        double score = 0.0;
        for (size_t d = 0; d < head_dim; d++) score += q[d] * k[j * ld + d];
        p[j] = exp(score / sqrt((double)head_dim));
        sum += p[j];
    }
    for (size_t d = 0; p && d < head_dim; d++) {
        out[d] = 0.0;
        for (size_t j = 0; j < n; j++) out[d] += p[j] / sum * v[j * ld + d];
    }
    free(p);
}

void oracle_attention(const double *q, const double *k, const double *v, double *out, size_t n_seqs,
                      size_t seq, size_t n_heads, size_t n_kv_heads, size_t head_dim) {
    for (size_t r = 0; r < n_seqs * seq; r++) {
        for (size_t h = 0; h < n_heads; h++) {
            size_t first = (r / seq * seq * n_kv_heads + h * n_kv_heads / n_heads) * head_dim;
            size_t at = (r * n_heads + h) * head_dim;
            attend(q + at, k + first, v + first, out + at, r % seq + 1, n_kv_heads * head_dim, head_dim);
        }
    }
}

double oracle_cross_entropy(const double *logits, const spec_token *labels, size_t rows, size_t vocab) {
    double loss = 0.0;
    for (size_t r = 0; r < rows; r++) {
        if (labels[r] == -100) continue;
        double sum = 0.0;
        for (size_t i = 0; i < vocab; i++) sum += exp(logits[r * vocab + i]);
        loss += log(sum) - logits[r * vocab + (size_t)labels[r]];
    }
    return loss;
}

/* SPDX-License-Identifier: MIT */
/* The losses of draft heads by their definitions, in doubles. */
#include "oracle_heads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "oracle_train.h"

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

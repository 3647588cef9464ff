/* SPDX-License-Identifier: MIT */
/*
 * Soft targets and the loss of an EAGLE-3 head.
 *
 * What the target says after row a is wanted by row a - 1 in step 0, by row a - 2 in step 1, and so on: its
 * law is computed once, and all steps read it.
 *
 *     row              i      i + 1    i + 2    i + 3
 *     step 0           i ---> soft
 *     step 1           i ------------> soft               mask: of the row before the wanted one
 *     step 2           i ---------------------> soft
 */
#include <math.h>
#include <string.h>

#include "specp_math.h"
#include "train_eagle3_internal.h"

#define ROWS 16 /* of a piece where targets are made */

/* The row after which row r is to know what comes, in step j; 0: none counts. */
static size_t wanted(const train_eagle3_batch *b, size_t r, size_t j) {
    size_t a = r + 1 + j;
    return r % b->seq + 1 + j < b->seq && (!b->mask || b->mask[a - 1]) ? a : 0;
}

/* NaN and infinity stay. */
static double log_of(float x) { return x < INFINITY ? specp_log(x) : (double)x; }

/* ---- targets ------------------------------------------------------------- */

typedef struct targets {
    train_eagle3 *m;
    const train_eagle3_batch *b;
    const float *logits; /* of rows from `first` on */
    size_t first;
} targets;

static void target_row(const targets *t, size_t a) {
    const train_eagle3 *m = t->m;
    const specp_kernels *k = &m->ctx.kernels;
    size_t n = m->shape.draft_vocab;
    const float *row = t->logits + (a - t->first) * m->shape.vocab;
    float *soft = m->acts->soft + a * n, most = row[m->kept[0]];
    for (size_t i = 0; i < n; i++) {
        soft[i] = row[m->kept[i]];
        most = soft[i] > most ? soft[i] : most;
    }
    float sum = k->softmax(soft, n);
    double under = 0.0;
    for (size_t i = 0; i < n; i++) {
        if (soft[i] > 0.0f) under += (double)soft[i] * (double)(most - row[m->kept[i]]);
    }
    k->scale(soft, 1.0f / sum, n);
    m->acts->entropy[a] = log_of(sum) + under / (double)sum;
    /* what is no law must be seen in the loss */
    m->acts->best[a] = isnan(m->acts->entropy[a]) ? m->kept[0] : k->argmax(row, m->shape.vocab);
}

static void target_rows(void *arg, size_t begin, size_t end, unsigned thread) {
    const targets *t = arg;
    (void)thread;
    for (size_t a = t->first + begin; a < t->first + end; a++) {
        if (a > 0 && wanted(t->b, a - 1, 0)) target_row(t, a);
    }
}

void train_eagle3_targets(train_eagle3 *m, const train_eagle3_batch *b) {
    size_t rows = b->n_seqs * b->seq, dim = m->shape.dim, vocab = m->shape.vocab;
    targets t = {.m = m, .b = b};
    for (; t.first < rows; t.first += EAGLE3_HEAD_ROWS) {
        size_t n = rows - t.first < EAGLE3_HEAD_ROWS ? rows - t.first : EAGLE3_HEAD_ROWS;
        t.logits = b->logits ? b->logits + t.first * vocab : m->acts->logits;
        if (!b->logits) {
            train_linear(&m->ctx, b->hidden + t.first * dim, b->output, m->acts->logits, n, dim, vocab,
                         false);
            train_times_lap(&m->times, TRAIN_FORWARD_HEAD, train_eagle3_flop(n, dim * vocab));
        }
        train_each(&m->ctx, n, ROWS, target_rows, &t);
        train_times_lap(&m->times, TRAIN_LOSS, 0.0);
    }
}

/* ---- loss ---------------------------------------------------------------- */

typedef struct entropy {
    train_eagle3 *m;
    const train_eagle3_batch *b;
    size_t j, first, strand;
    float scale;
    train_eagle3_part part[TRAIN_STRANDS];
} entropy;

/* The sum of p (x - most), in lanes. */
static float below(const float *p, const float *x, float most, size_t n) {
    float sum[8] = {0};
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        for (size_t l = 0; l < 8; l++) sum[l] += p[i + l] * (x[i + l] - most);
    }
    for (; i < n; i++) sum[i % 8] += p[i] * (x[i] - most);
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

/* With z the logits and t the target's law: ln sum e^z - sum t z, and its gradient softmax(z) - t. */
static void entropy_row(const entropy *e, size_t r, train_eagle3_part *part) {
    const train_eagle3 *m = e->m;
    const specp_kernels *k = &m->ctx.kernels;
    size_t n = m->shape.draft_vocab, a = wanted(e->b, r, e->j);
    float *row = m->acts->logits + (r - e->first) * n;
    const float *soft = m->acts->soft + a * n;
    if (a == 0 || !m->t2d[m->acts->best[a]]) {
        part->rows += a > 0;
        memset(row, 0, n * sizeof *row);
        return;
    }
    spec_token best = k->argmax(row, n);
    double lost = -(double)below(soft, row, row[best], n);
    float sum = k->softmax(row, n);
    part->sum += lost + log_of(sum);
    part->entropy += m->acts->entropy[a];
    part->rows++;
    part->inside++;
    part->correct += m->kept[best] == m->acts->best[a];
    k->scale(row, e->scale / sum, n);
    k->axpy(row, -e->scale, soft, n);
}

static void entropy_strand(void *arg, size_t begin, size_t end, unsigned thread) {
    entropy *e = arg;
    train_eagle3_part part = {0};
    (void)thread;
    for (size_t r = begin; r < end; r++) entropy_row(e, e->first + r, &part);
    e->part[begin / e->strand] = part;
}

void train_eagle3_entropy(train_eagle3 *m, const train_eagle3_batch *b, size_t j, size_t r, size_t n,
                          float scale, train_eagle3_part *part) {
    entropy e = {.m = m, .b = b, .j = j, .first = r, .strand = train_strand(n), .scale = scale};
    train_each(&m->ctx, n, e.strand, entropy_strand, &e);
    for (size_t i = 0; i < TRAIN_STRANDS; i++) {
        part->sum += e.part[i].sum;
        part->entropy += e.part[i].entropy;
        part->rows += e.part[i].rows;
        part->inside += e.part[i].inside;
        part->correct += e.part[i].correct;
    }
}

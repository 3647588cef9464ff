/* SPDX-License-Identifier: MIT */
/*
 * Operations on rows: norms, rotation, SwiGLU, embedding, loss. Pieces are
 * blocks of rows; where gradients of rows add up, a piece is a strand of them, and the
 * strands' sums are then added in order:
 *
 *     rows    | strand 0 | strand 1 | ... |
 *     sums    [   n     ][   n     ] ...        one after the other onto dw
 */
#include <math.h>
#include <string.h>

#include "specp_math.h"
#include "train_internal.h"

#define ROWS     64
#define ELEMENTS 16384 /* of a piece where there are no rows */
#define COLUMNS  32    /* of a piece of an embedding's gradient */
#define SUMS     8     /* strands of a dot, which the compiler may keep in one register */

float train_dot(const float *x, const float *y, size_t n) {
    float sum[SUMS] = {0};
    size_t i = 0;
    for (; n - i >= SUMS; i += SUMS) {
        for (size_t l = 0; l < SUMS; l++) {
            sum[l] += x[i + l] * y[i + l];
        }
    }
    for (; i < n; i++) {
        sum[i % SUMS] += x[i] * y[i];
    }
    for (size_t half = SUMS / 2; half > 0; half /= 2) {
        for (size_t l = 0; l < half; l++) {
            sum[l] += sum[l + half];
        }
    }
    return sum[0];
}

/* ---- norms --------------------------------------------------------------- */

typedef struct norm {
    const train_ctx *c;
    const float *x, *w;
    float eps;
    size_t n;
    float *y;        /* forward */
    const float *dy; /* backward */
    float *dx, *dw, *strands;
    size_t strand;
} norm;

static void norm_rows(void *arg, size_t begin, size_t end, unsigned thread) {
    const norm *a = arg;
    (void)thread;
    for (size_t r = begin; r < end; r++) {
        a->c->kernels.rmsnorm(a->x + r * a->n, a->w, a->eps, a->y + r * a->n, a->n);
    }
}

void train_rmsnorm(const train_ctx *c, const float *x, const float *w, float eps, float *y, size_t rows,
                   size_t n) {
    norm a = {.c = c, .x = x, .w = w, .eps = eps, .n = n, .y = y};
    train_each(c, rows, ROWS, norm_rows, &a);
}

static void norm_strand_back(void *arg, size_t begin, size_t end, unsigned thread) {
    const norm *a = arg;
    float *dw = a->strands + begin / a->strand * a->n;
    (void)thread;
    memset(dw, 0, a->n * sizeof *dw);
    for (size_t r = begin; r < end; r++) {
        size_t at = r * a->n;
        a->c->rows.rmsnorm_back(a->x + at, a->w, a->eps, a->dy + at, a->dx + at, dw, a->n);
    }
}

void train_rmsnorm_back(const train_ctx *c, const float *x, const float *w, float eps, const float *dy,
                        float *dx, float *dw, size_t rows, size_t n) {
    norm a = {.c = c, .x = x, .w = w, .eps = eps, .n = n, .dy = dy, .dx = dx, .strands = c->scratch};
    a.strand = train_strand(rows);
    train_each(c, rows, a.strand, norm_strand_back, &a);
    for (size_t at = 0, s = 0; at < rows; at += a.strand, s++) c->kernels.add(dw, a.strands + s * n, n);
}

/* ---- rotation ------------------------------------------------------------ */

typedef struct rotation {
    const train_ctx *c;
    float *x;
    const float *cos, *sin;
    size_t seq, n_heads, head_dim;
} rotation;

static void rotate_rows(void *arg, size_t begin, size_t end, unsigned thread) {
    const rotation *a = arg;
    (void)thread;
    for (size_t r = begin; r < end; r++) {
        size_t at = r % a->seq * (a->head_dim / 2);
        for (size_t h = 0; h < a->n_heads; h++) {
            a->c->kernels.rope(a->x + (r * a->n_heads + h) * a->head_dim, a->cos + at, a->sin + at,
                               a->head_dim, true);
        }
    }
}

void train_rope(const train_ctx *c, float *x, const float *cos, const float *sin, size_t rows, size_t seq,
                size_t n_heads, size_t head_dim) {
    rotation a = {c, x, cos, sin, seq, n_heads, head_dim};
    train_each(c, rows, ROWS, rotate_rows, &a);
}

/* ---- SwiGLU -------------------------------------------------------------- */

typedef struct swiglu {
    const train_ctx *c;
    size_t n;
    const float *gate, *up, *dy;
    float *y, *dgate, *dup;
} swiglu;

/* Items are blocks of ELEMENTS: of a large batch there are too many elements to count. */
static size_t blocks(size_t n) { return (n + ELEMENTS - 1) / ELEMENTS; }

static size_t block_end(size_t n, size_t end) { return end < blocks(n) ? end * ELEMENTS : n; }

static void swiglu_blocks(void *arg, size_t begin, size_t end, unsigned thread) {
    const swiglu *a = arg;
    size_t at = begin * ELEMENTS;
    (void)thread;
    a->c->kernels.silu_mul(a->gate + at, a->up + at, a->y + at, block_end(a->n, end) - at);
}

void train_swiglu(const train_ctx *c, const float *gate, const float *up, float *y, size_t n) {
    swiglu a = {.c = c, .n = n, .gate = gate, .up = up, .y = y};
    train_each(c, blocks(n), 1, swiglu_blocks, &a);
}

static void swiglu_blocks_back(void *arg, size_t begin, size_t end, unsigned thread) {
    const swiglu *a = arg;
    size_t at = begin * ELEMENTS, n = block_end(a->n, end) - at;
    (void)thread;
    a->c->rows.silu_mul_back(a->gate + at, a->up + at, a->dy + at, a->dgate + at, a->dup + at, n);
}

void train_swiglu_back(const train_ctx *c, const float *gate, const float *up, const float *dy, float *dgate,
                       float *dup, size_t n) {
    swiglu a = {.c = c, .n = n, .gate = gate, .up = up, .dy = dy, .dgate = dgate, .dup = dup};
    train_each(c, blocks(n), 1, swiglu_blocks_back, &a);
}

/* ---- embedding ----------------------------------------------------------- */

typedef struct embedding {
    const spec_token *tokens;
    const float *from;
    float *to;
    size_t rows, n;
} embedding;

static void embed_rows(void *arg, size_t begin, size_t end, unsigned thread) {
    const embedding *a = arg;
    (void)thread;
    for (size_t r = begin; r < end; r++) {
        memcpy(a->to + r * a->n, a->from + (size_t)a->tokens[r] * a->n, a->n * sizeof *a->to);
    }
}

void train_embed(const train_ctx *c, const float *w, const spec_token *tokens, float *y, size_t rows,
                 size_t n) {
    embedding a = {tokens, w, y, rows, n};
    train_each(c, rows, ROWS, embed_rows, &a);
}

/* A token may stand in many rows, so the pieces are columns. */
static void embed_columns_back(void *arg, size_t begin, size_t end, unsigned thread) {
    const embedding *a = arg;
    (void)thread;
    for (size_t r = 0; r < a->rows; r++) {
        const float *from = a->from + r * a->n;
        float *to = a->to + (size_t)a->tokens[r] * a->n;
        for (size_t i = begin; i < end; i++) {
            to[i] += from[i];
        }
    }
}

void train_embed_back(const train_ctx *c, const spec_token *tokens, const float *dy, float *dw, size_t rows,
                      size_t n) {
    embedding a = {tokens, dy, dw, rows, n};
    train_each(c, n, COLUMNS, embed_columns_back, &a);
}

/* ---- loss ---------------------------------------------------------------- */

typedef struct entropy {
    const train_ctx *c;
    float *logits;
    const spec_token *labels;
    size_t vocab, strand;
    float scale;
    train_loss part[TRAIN_STRANDS];
} entropy;

static void entropy_row(const entropy *a, size_t r, train_loss *loss) {
    float *row = a->logits + r * a->vocab;
    spec_token label = a->labels[r];
    if (label == TRAIN_IGNORED) {
        memset(row, 0, a->vocab * sizeof *row);
        return;
    }
    spec_token best = a->c->kernels.argmax(row, a->vocab);
    double below = (double)row[best] - (double)row[label];
    float sum = a->c->kernels.softmax(row, a->vocab);
    loss->sum += below + (sum < INFINITY ? specp_log(sum) : (double)sum); /* NaN stays NaN */
    loss->n++;
    loss->correct += best == label;
    a->c->kernels.scale(row, a->scale / sum, a->vocab);
    row[label] -= a->scale;
}

static void entropy_strand(void *arg, size_t begin, size_t end, unsigned thread) {
    entropy *a = arg;
    train_loss loss = {0};
    (void)thread;
    for (size_t r = begin; r < end; r++) entropy_row(a, r, &loss);
    a->part[begin / a->strand] = loss;
}

void train_cross_entropy(const train_ctx *c, float *logits, const spec_token *labels, size_t rows,
                         size_t vocab, float scale, train_loss *loss) {
    entropy a = {.c = c, .logits = logits, .labels = labels, .vocab = vocab, .scale = scale};
    a.strand = train_strand(rows);
    train_each(c, rows, a.strand, entropy_strand, &a);
    for (size_t i = 0; i < TRAIN_STRANDS; i++) {
        loss->sum += a.part[i].sum;
        loss->n += a.part[i].n;
        loss->correct += a.part[i].correct;
    }
}

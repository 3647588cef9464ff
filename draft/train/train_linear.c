/* SPDX-License-Identifier: MIT */
/*
 * Products with weight matrices. A piece is a tile of the result: ROWS rows and
 * COLUMNS columns of y or dx, and for dw a tile of the matrix's own shape, all rows of the batch
 * summed in one go, so that no two threads add to one element.
 */
#include <cblas.h>
#include <string.h>

#include "train_internal.h"

#define ROWS    512
#define COLUMNS 1024
#define OUTPUTS 128 /* rows of dw in a piece */
#define PIECES  4   /* of a small dw, where its columns allow it: all threads are to have work */

/* C (m, n) = op(A) op(B) + beta C, row-major; t: transposed. */
static void gemm(bool ta, bool tb, size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                 size_t ldb, float beta, float *c, size_t ldc) {
    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (blasint)m,
                (blasint)n, (blasint)k, 1.0f, a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

/* C (m, n) = op(A) op(B) + beta C in tiles. */
typedef struct product {
    bool ta, tb;
    size_t m, n, k, tile_m, tile_n;
    const float *a, *b;
    size_t lda, ldb, ldc;
    float beta, *c;
    const float *start; /* what C begins as, if not NULL; beta is then 1 */
} product;

static size_t tiles(size_t n, size_t tile) { return (n + tile - 1) / tile; }

static void tile(void *arg, size_t begin, size_t end, unsigned thread) {
    const product *p = arg;
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        size_t across = tiles(p->n, p->tile_n), i = t / across * p->tile_m, j = t % across * p->tile_n;
        size_t m = p->m - i < p->tile_m ? p->m - i : p->tile_m;
        size_t n = p->n - j < p->tile_n ? p->n - j : p->tile_n;
        for (size_t r = i; p->start && r < i + m; r++)
            memcpy(p->c + r * p->ldc + j, p->start + r * p->ldc + j, n * sizeof *p->c);
        gemm(p->ta, p->tb, m, n, p->k, p->a + (p->ta ? i : i * p->lda), p->lda,
             p->b + (p->tb ? j * p->ldb : j), p->ldb, p->beta, p->c + i * p->ldc + j, p->ldc);
    }
}

static void multiply(const train_ctx *c, product *p) {
    train_each(c, tiles(p->m, p->tile_m) * tiles(p->n, p->tile_n), 1, tile, p);
}

static void forward(const train_ctx *c, const float *x, const float *w, float beta, const float *start,
                    float *y, size_t rows, size_t n_in, size_t n_out) {
    product p = {false, true, rows, n_out, n_in, ROWS, COLUMNS, x, w, n_in, n_in, n_out, beta, y, start};
    multiply(c, &p);
}

void train_linear(const train_ctx *c, const float *x, const float *w, float *y, size_t rows, size_t n_in,
                  size_t n_out, bool add) {
    forward(c, x, w, add ? 1.0f : 0.0f, NULL, y, rows, n_in, n_out);
}

void train_linear_residual(const train_ctx *c, const float *x, const float *w, const float *start, float *y,
                           size_t rows, size_t n_in, size_t n_out) {
    forward(c, x, w, 1.0f, start, y, rows, n_in, n_out);
}

/* A small matrix's columns are shared out more finely. */
static size_t columns_of(size_t n_out, size_t n_in) {
    size_t columns = COLUMNS;
    while (columns > OUTPUTS && tiles(n_out, OUTPUTS) * tiles(n_in, columns) < PIECES) columns /= 2;
    return columns;
}

void train_linear_back(const train_ctx *c, const float *x, const float *w, const float *dy, float *dx,
                       float *dw, size_t rows, size_t n_in, size_t n_out, bool add) {
    if (dx) {
        product p = {false, false, rows, n_in, n_out, ROWS, COLUMNS, dy,
                     w,     n_out, n_in, n_in, 0.0f,  dx,   NULL};
        if (add) p.beta = 1.0f;
        multiply(c, &p);
    }
    if (dw) {
        product p = {true,  false, n_out, n_in, rows, OUTPUTS, columns_of(n_out, n_in), dy, x,
                     n_out, n_in,  n_in,  1.0f, dw,   NULL};
        multiply(c, &p);
    }
}

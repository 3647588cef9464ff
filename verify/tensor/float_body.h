/* SPDX-License-Identifier: MIT */
/*
 * float_body.h - the matrix kernels of float weights, compiled once for each
 * instruction set; lanes.h makes the difference.
 *
 * A sum of 16 lanes runs over K for each pair of weight row and token. A tile of
 * (rows, tokens) sums advances together in registers, so that a weight is loaded and
 * converted once for all tokens of the tile. K is cut into chunks, so that what
 * is read again and again stays in the first cache; between chunks the sums wait
 * in memory:
 *
 *                       x: tokens of the batch
 *        weights       [ ][ ][ ]  one chunk of K
 *        16 rows  [ ]  [tile    ]
 *        of a     [ ]  [   sums ]
 *        panel    [ ]  [        ]
 *
 * Few tokens (decoding, verification) take their weights straight from the file,
 * at the speed of memory. For more, and at ragged edges, the chunk of weights
 * is converted once and padded with zeros. Either way each sum sees its products in
 * the order of K, whatever the tile.
 */
#include "kernels.h"
#include "lanes.h"

#if defined(__AVX512F__)
#define ROWS        4 /* weight rows of a tile, a divisor of 16 */
#define TOKENS      6 /* tokens of a tile */
#define WIDE_ROWS   2 /* the same for tiles of few rows and all tokens of a small batch */
#define WIDE_TOKENS 8
#elif defined(__AVX2__)
#define ROWS        2
#define TOKENS      3
#define WIDE_ROWS   1
#define WIDE_TOKENS 4
#else
#define ROWS        1
#define TOKENS      1
#define WIDE_ROWS   1
#define WIDE_TOKENS 1
#endif
#define TILE_TOKENS (TOKENS > WIDE_TOKENS ? TOKENS : WIDE_TOKENS)

#define BATCH        24          /* tokens that pass over a chunk of converted weights; a multiple of 12 */
#define CHUNK        8           /* lanes of K in such a chunk */
#define DIRECT_CHUNK 32          /* and in a chunk straight from the file */
#define AHEAD        8           /* rows between what is multiplied and what is asked from memory */
#define CACHE        (768 << 10) /* bytes of activations that stay in the second cache */

#define X_LANES (BATCH * CHUNK > WIDE_TOKENS * DIRECT_CHUNK ? BATCH * CHUNK : WIDE_TOKENS * DIRECT_CHUNK)

typedef lanes (*load_fn)(const char *p);
LANES_INLINE lanes load_f32(const char *p) { return lanes_load(p); }
LANES_INLINE lanes load_f16(const char *p) { return lanes_load_half(p); }
LANES_INLINE lanes load_bf16(const char *p) { return lanes_load_bf16(p); }

/* Rows of weights: `stride` bytes from one to the next, `step` from 16 elements to the next. */
typedef struct rows {
    const char *p;
    size_t stride, step;
} rows;

/* What lies between memory and registers. */
typedef struct work {
    lanes sums[BATCH * SPECP_PANEL]; /* (tokens, SPECP_PANEL) */
    lanes x[X_LANES];                /* (tokens, CHUNK or DIRECT_CHUNK) */
    lanes w[SPECP_PANEL * CHUNK];
} work;

/* What a kernel was asked to do. */
typedef struct job {
    const specp_matrix *m;
    const specp_acts *a;
    const uint32_t *row_index;
    float *y;
    size_t ldy, element; /* bytes of a weight */
} job;

/* The rows of a panel from lane k of K on. */
static rows rows_at(const job *j, size_t panel, size_t k) {
    size_t stride = j->m->n_in * j->element, step = LANES * j->element;
    return (rows){(const char *)j->m->data + panel * SPECP_PANEL * stride + k * step, stride, step};
}

static rows rows_after(rows w, size_t n) {
    w.p += n * w.stride;
    return w;
}

/*
 * sums[t][r] += the products of `steps` lanes of K; r < n_r and t < n_t, both
 * constants, as ldx is, the lanes between tokens in x. Asks for the same shape at `ahead`.
 */
LANES_INLINE void tile(const int n_r, const int n_t, load_fn load, rows w, const lanes *x, const size_t ldx,
                       size_t steps, rows ahead, lanes *sums) {
    lanes s[ROWS][TILE_TOKENS];
    LANES_UNROLL
    for (int r = 0; r < n_r; r++) {
        LANES_UNROLL
        for (int t = 0; t < n_t; t++) {
            s[r][t] = sums[t * SPECP_PANEL + r];
        }
    }
    for (size_t k = 0; k < steps; k++) {
        lanes a[ROWS];
        LANES_UNROLL
        for (int r = 0; r < n_r; r++) {
            a[r] = load(w.p + (size_t)r * w.stride + k * w.step);
            SPECP_PREFETCH(ahead.p + (size_t)r * ahead.stride + k * ahead.step);
        }
        LANES_UNROLL
        for (int t = 0; t < n_t; t++) {
            lanes b = x[(size_t)t * ldx + k];
            LANES_UNROLL
            for (int r = 0; r < n_r; r++) {
                s[r][t] = lanes_fma(a[r], b, s[r][t]);
            }
        }
    }
    LANES_UNROLL
    for (int r = 0; r < n_r; r++) {
        LANES_UNROLL
        for (int t = 0; t < n_t; t++) {
            sums[t * SPECP_PANEL + r] = s[r][t];
        }
    }
}

/* Lanes [k, k + steps) of n tokens' activations to x, ldx apart; zeros after the end of K. */
static void gather(const job *j, size_t token, size_t n, size_t k, size_t steps, lanes *x, size_t ldx) {
    size_t n_in = j->m->n_in, whole = n_in / LANES - k < steps ? n_in / LANES - k : steps;
    for (size_t t = 0; t < n; t++) {
        size_t row = j->row_index ? j->row_index[token + t] : token + t;
        const float *from = j->a->x + row * n_in + k * LANES;
        for (size_t i = 0; i < whole; i++) {
            x[t * ldx + i] = lanes_load(from + i * LANES);
        }
        if (whole < steps) {
            x[t * ldx + whole] = lanes_load_part(from + whole * LANES, n_in % LANES, 0.0f);
        }
    }
}

/* Folds the sums of n tokens and writes a panel's outputs. */
static void finish(const job *j, size_t panel, size_t token, size_t n, const lanes *sums) {
    size_t first = panel * SPECP_PANEL, left = j->m->n_out - first;
    for (size_t t = 0; t < n; t++) {
        float folded[SPECP_PANEL];
        lanes_fold16(sums + t * SPECP_PANEL, folded);
        memcpy(j->y + (token + t) * j->ldy + first, folded,
               (left < SPECP_PANEL ? left : SPECP_PANEL) * sizeof *folded);
    }
}

/* ---- few tokens ---------------------------------------------------------- */

#define DIRECT_TILE(n_r, n_t)                                                                                \
    case n_t:                                                                                                \
        for (size_t r = 0; r < SPECP_PANEL; r += (n_r)) {                                                    \
            size_t soon = r + AHEAD;                                                                         \
            rows ahead = soon < SPECP_PANEL ? rows_after(here, soon) : rows_after(next, soon - SPECP_PANEL); \
            tile(n_r, n_t, load, rows_after(here, r), wk->x, DIRECT_CHUNK, steps, ahead, wk->sums + r);      \
        }                                                                                                    \
        break

/* A chunk of a panel, `here`, times all n tokens; `next` comes after it. */
LANES_INLINE void direct_chunk(load_fn load, work *wk, rows here, rows next, size_t n, size_t steps) {
    switch (n) {
        DIRECT_TILE(ROWS, 1);
#if WIDE_TOKENS >= 4
        DIRECT_TILE(ROWS, 2);
        DIRECT_TILE(ROWS, 3);
#endif
#if WIDE_TOKENS >= 8
        DIRECT_TILE(ROWS, 4);
        DIRECT_TILE(ROWS, 5);
        DIRECT_TILE(ROWS, 6);
        DIRECT_TILE(WIDE_ROWS, 7);
#endif
#if WIDE_TOKENS > 1
        DIRECT_TILE(WIDE_ROWS, WIDE_TOKENS);
#endif
    }
}

/* n <= WIDE_TOKENS tokens, a whole panel, K a multiple of 16. */
LANES_INLINE void direct_panel(load_fn load, const job *j, work *wk, size_t panel, bool last, size_t n) {
    size_t depth = j->m->n_in / LANES, chunks = (depth + DIRECT_CHUNK - 1) / DIRECT_CHUNK;
    memset(wk->sums, 0, n * SPECP_PANEL * sizeof *wk->sums);
    for (size_t c = 0; c < chunks; c++) {
        size_t k = depth * c / chunks, end = depth * (c + 1) / chunks;
        rows here = rows_at(j, panel, k), next = here;
        if (c + 1 < chunks) {
            next = rows_at(j, panel, end);
        } else if (!last) {
            next = rows_at(j, panel + 1, 0);
        }
        gather(j, 0, n, k, end - k, wk->x, DIRECT_CHUNK);
        direct_chunk(load, wk, here, next, n, end - k);
    }
    finish(j, panel, 0, n, wk->sums);
}

/* ---- many tokens, ragged edges ------------------------------------------- */

/* Converts lanes [k, k + steps) of n_r rows of a panel; zeros after the end of K and for missing rows. */
LANES_INLINE void convert(load_fn load, const job *j, rows w, size_t n_r, size_t k, size_t steps, lanes *to) {
    size_t depth = j->m->n_in / LANES, whole = depth - k < steps ? depth - k : steps;
    if (n_r < SPECP_PANEL) {
        memset(to, 0, SPECP_PANEL * CHUNK * sizeof *to);
    }
    for (size_t r = 0; r < n_r; r++) {
        for (size_t i = 0; i < whole; i++) {
            to[r * CHUNK + i] = load(w.p + r * w.stride + i * w.step);
        }
        if (whole < steps) {
            char edge[LANES * sizeof(float)] = {0};
            memcpy(edge, w.p + r * w.stride + whole * w.step, j->m->n_in % LANES * j->element);
            to[r * CHUNK + whole] = load(edge);
        }
    }
}

#define PACKED_TILE(n_t)                                                                                     \
    case n_t: tile(ROWS, n_t, load_f32, w, x, CHUNK, steps, ahead, sums); break

/* n tokens, in tiles of equal size, times the converted chunk. */
static void packed_chunk(work *wk, size_t n, size_t steps, rows next) {
    size_t tiles = (n + TOKENS - 1) / TOKENS;
    for (size_t r = 0; r < SPECP_PANEL; r += ROWS) {
        rows w = {(const char *)(wk->w + r * CHUNK), CHUNK * sizeof(lanes), sizeof(lanes)};
        rows ahead = rows_after(next, r);
        for (size_t i = 0; i < tiles; i++) {
            size_t t = n * i / tiles, n_t = n * (i + 1) / tiles - t;
            const lanes *x = wk->x + t * CHUNK;
            lanes *sums = wk->sums + t * SPECP_PANEL + r;
            switch (n_t) {
                PACKED_TILE(1);
#if TOKENS >= 3
                PACKED_TILE(2);
                PACKED_TILE(3);
#endif
#if TOKENS >= 6
                PACKED_TILE(4);
                PACKED_TILE(5);
                PACKED_TILE(6);
#endif
            }
            ahead = w; /* asked for once */
        }
    }
}

/* n <= BATCH tokens from `token` on. */
LANES_INLINE void packed_panel(load_fn load, const job *j, work *wk, size_t panel, bool last, size_t token,
                               size_t n) {
    size_t depth = (j->m->n_in + LANES - 1) / LANES, chunks = (depth + CHUNK - 1) / CHUNK;
    size_t left = j->m->n_out - panel * SPECP_PANEL, n_r = left < SPECP_PANEL ? left : SPECP_PANEL;
    memset(wk->sums, 0, n * SPECP_PANEL * sizeof *wk->sums);
    for (size_t c = 0; c < chunks; c++) {
        size_t k = depth * c / chunks, end = depth * (c + 1) / chunks;
        rows here = rows_at(j, panel, k), next = here;
        if (c + 1 < chunks) {
            next = rows_at(j, panel, end);
        } else if (!last) {
            next = rows_at(j, panel + 1, 0);
        }
        convert(load, j, here, n_r, k, end - k, wk->w);
        gather(j, token, n, k, end - k, wk->x, CHUNK);
        packed_chunk(wk, n, end - k, next);
    }
    finish(j, panel, token, n, wk->sums);
}

/* ---- entry --------------------------------------------------------------- */

/* Tokens pass in blocks whose activations fit the second cache, over all panels. */
LANES_INLINE void multiply(load_fn load, const job *j, size_t n_rows, size_t panel0, size_t panel1) {
    work wk;
    size_t n_in = j->m->n_in, fit = CACHE / (n_in * sizeof(float)) / BATCH * BATCH;
    size_t block = fit > BATCH ? fit : BATCH;
    for (size_t begin = 0; begin < n_rows; begin += block) {
        size_t end = n_rows - begin < block ? n_rows : begin + block;
        for (size_t panel = panel0; panel < panel1; panel++) {
            bool last = panel + 1 == panel1, whole = (panel + 1) * SPECP_PANEL <= j->m->n_out;
            if (n_rows <= WIDE_TOKENS && n_in % LANES == 0 && whole) {
                direct_panel(load, j, &wk, panel, last, n_rows);
                continue;
            }
            for (size_t t = begin; t < end; t += BATCH) {
                packed_panel(load, j, &wk, panel, last, t, end - t < BATCH ? end - t : BATCH);
            }
        }
    }
}

#define MATMUL(name, load, bytes)                                                                            \
    static void name(const specp_matrix *m, const specp_acts *a, const uint32_t *row_index, size_t n_rows,   \
                     float *y, size_t ldy, size_t panel0, size_t panel1) {                                   \
        const job j = {m, a, row_index, y, ldy, bytes};                                                      \
        multiply(load, &j, n_rows, panel0, panel1);                                                          \
    }

MATMUL(matmul_f32, load_f32, 4)
MATMUL(matmul_f16, load_f16, 2)
MATMUL(matmul_bf16, load_bf16, 2)

/* Enters the three kernels as those of `set`. */
#define ENTER(k, set, isa)                                                                                   \
    (k)->matmul[SPECP_FORM_F32] = matmul_f32;                                                                \
    (k)->matmul[SPECP_FORM_F16] = matmul_f16;                                                                \
    (k)->matmul[SPECP_FORM_BF16] = matmul_bf16;                                                              \
    (k)->matmul_name[SPECP_FORM_F32] = "f32 " set;                                                           \
    (k)->matmul_name[SPECP_FORM_F16] = "f16 " set;                                                           \
    (k)->matmul_name[SPECP_FORM_BF16] = "bf16 " set;                                                         \
    (k)->matmul_isa[SPECP_FORM_F32] = (k)->matmul_isa[SPECP_FORM_F16] = (k)->matmul_isa[SPECP_FORM_BF16] =   \
        (isa)

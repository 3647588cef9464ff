/* SPDX-License-Identifier: MIT */
/*
 * float_body.h - the matrix kernels of float weights, compiled once for each
 * instruction set; lanes.h makes the difference.
 *
 * A sum of 16 lanes runs over K for each pair of weight row and token. A tile of
 * (rows, tokens) sums advances together in registers, so that a weight is loaded and
 * converted once for all tokens of the tile. K is cut into chunks, so that the
 * tokens' part stays in the first cache while the 16 rows of a panel pass; between
 * chunks the sums wait in memory:
 *
 *                       x: tokens of the batch
 *        weights       [ ][ ][ ]  one chunk of K
 *        16 rows  [ ]  [tile    ]
 *        of a     [ ]  [   sums ]
 *        panel    [ ]  [        ]
 *
 * Weights are taken straight from the file, and those that are wanted next are
 * asked for in time. A chunk is copied as floats where it ends raggedly, then padded
 * with zeros, and where so many tiles pass that converting each weight once pays.
 * Each sum sees its products in the order of K, whatever the tile.
 */
#include "kernels.h"
#include "lanes.h"

/* TILES(F, form): F(form, rows, tokens) for the tiles that the registers hold; rows divide 16. */
#if defined(__AVX512F__)
#define TILES(F, form)                                                                                       \
    F(form, 4, 1)                                                                                            \
    F(form, 4, 2) F(form, 4, 3) F(form, 4, 4) F(form, 4, 5) F(form, 4, 6) F(form, 2, 7) F(form, 2, 8)
#define MOST_ROWS   4
#define MOST_TOKENS 8  /* of a batch in one tile, */
#define GOOD_TOKENS 6  /* and of tiles when there are several; */
#define MANY        25 /* from here on weights are converted once for all tiles */
#elif defined(__AVX2__)
#define TILES(F, form) F(form, 4, 1) F(form, 2, 2) F(form, 2, 3)
#define MOST_ROWS      4
#define MOST_TOKENS    3
#define GOOD_TOKENS    3
#define MANY           25
#else
#define TILES(F, form) F(form, 1, 1)
#define MOST_ROWS      1
#define MOST_TOKENS    1
#define GOOD_TOKENS    1
#define MANY           2
#endif

#define CHUNK 32          /* lanes of K that are multiplied before the next row or token */
#define BATCH 64          /* tokens whose sums wait together */
#define AHEAD 8           /* rows between what is multiplied and what is asked from memory */
#define CACHE (768 << 10) /* bytes of activations that stay in the second cache */

#define COPY_STRIDE (CHUNK * sizeof(lanes)) /* bytes from row to row of a chunk that is copied */

typedef lanes (*load_fn)(const char *p);
LANES_INLINE lanes load_f32(const char *p) { return lanes_load(p); }
LANES_INLINE lanes load_f16(const char *p) { return lanes_load_half(p); }
LANES_INLINE lanes load_bf16(const char *p) { return lanes_load_bf16(p); }

/* What a tile works on: `steps` lanes of K. */
typedef struct operands {
    const char *w;     /* the first row of weights, */
    const char *ahead; /* and of those that memory is asked for meanwhile, */
    size_t stride;     /* both with as many bytes from row to row, w unless it is a copy; */
    size_t ahead_step; /* bytes to ask for with each lane of K */
    const float *x;    /* the first token, */
    size_t ldx;        /* floats from token to token */
    size_t steps;
    lanes *sums; /* (tokens, SPECP_PANEL) */
} operands;

/* sums[t][r] += products, r < n_r and t < n_t, both constants; `step` bytes hold 16 weights. The operands
 * are taken by value: they stay in registers when sums are written. */
LANES_INLINE void tile(const int n_r, const int n_t, load_fn load, const size_t step, const bool copied,
                       const operands o) {
    const char *w = o.w, *ahead = o.ahead;
    const float *x = o.x;
    const size_t stride = copied ? COPY_STRIDE : o.stride;
    lanes s[MOST_ROWS][MOST_TOKENS];
    LANES_UNROLL
    for (int r = 0; r < n_r; r++) {
        LANES_UNROLL
        for (int t = 0; t < n_t; t++) {
            s[r][t] = o.sums[t * SPECP_PANEL + r];
        }
    }
    for (size_t k = o.steps; k; k--) {
        lanes a[MOST_ROWS];
        LANES_UNROLL
        for (int r = 0; r < n_r; r++) {
            a[r] = load(w + (size_t)r * stride);
            SPECP_PREFETCH(ahead + (size_t)r * o.stride);
        }
        LANES_UNROLL
        for (int t = 0; t < n_t; t++) {
            lanes b = lanes_load(x + (size_t)t * o.ldx);
            lanes_hold(&b);
            LANES_UNROLL
            for (int r = 0; r < n_r; r++) {
                s[r][t] = lanes_fma(a[r], b, s[r][t]);
            }
        }
        w += step;
        ahead += o.ahead_step;
        x += LANES;
    }
    LANES_UNROLL
    for (int r = 0; r < n_r; r++) {
        LANES_UNROLL
        for (int t = 0; t < n_t; t++) {
            o.sums[t * SPECP_PANEL + r] = s[r][t];
        }
    }
}

/* A function for each tile and form, so that each has all registers to itself; by the number of tokens. */
typedef struct shape {
    void (*run)(const operands *o);
    size_t rows;
} shape;

#define TILE_FUNCTION(form, n_r, n_t)                                                                        \
    static void form##_tile_##n_t(const operands *o) {                                                       \
        tile(n_r, n_t, load_##form, LANES *BYTES_##form, false, *o);                                         \
    }
#define COPY_FUNCTION(form, n_r, n_t)                                                                        \
    static void form##_tile_##n_t(const operands *o) { tile(n_r, n_t, load_f32, sizeof(lanes), true, *o); }
#define TILE_ENTRY(form, n_r, n_t) [n_t] = {form##_tile_##n_t, n_r},
#define BYTES_f32                  4
#define BYTES_f16                  2
#define BYTES_bf16                 2

TILES(TILE_FUNCTION, f32)
TILES(TILE_FUNCTION, f16)
TILES(TILE_FUNCTION, bf16)
TILES(COPY_FUNCTION, copy)
static const shape f32_shapes[] = {TILES(TILE_ENTRY, f32)};
static const shape f16_shapes[] = {TILES(TILE_ENTRY, f16)};
static const shape bf16_shapes[] = {TILES(TILE_ENTRY, bf16)};
static const shape copy_shapes[] = {TILES(TILE_ENTRY, copy)};

/* A panel's chunk of whole rows as floats. */
typedef void (*convert_fn)(float *to, const char *w, size_t stride, size_t steps);
LANES_INLINE void convert(load_fn load, const size_t step, float *to, const char *w, size_t stride,
                          size_t steps) {
    for (size_t r = 0; r < SPECP_PANEL; r++) {
        for (size_t k = 0; k < steps; k++) {
            lanes_store(to + (r * CHUNK + k) * LANES, load(w + r * stride + k * step));
        }
    }
}
static void convert_f16(float *to, const char *w, size_t stride, size_t steps) {
    convert(load_f16, LANES * BYTES_f16, to, w, stride, steps);
}
static void convert_bf16(float *to, const char *w, size_t stride, size_t steps) {
    convert(load_bf16, LANES * BYTES_bf16, to, w, stride, steps);
}

/* What lies between memory and registers: up to 112 KB, on the stack. */
typedef struct work {
    lanes sums[BATCH * SPECP_PANEL];      /* (tokens, SPECP_PANEL) */
    float w[SPECP_PANEL * CHUNK * LANES]; /* a chunk as floats */
    float x[MOST_TOKENS][CHUNK * LANES];  /* where K ends within 16 elements */
} work;

/* What a kernel was asked to do. */
typedef struct job {
    const specp_matrix *m;
    const specp_acts *a;
    const uint32_t *row_index;
    float *y;
    size_t ldy, element; /* bytes of a weight */
    const shape *shapes;
    convert_fn convert; /* NULL: weights are floats */
} job;

/*
 * Where lanes [k, k + steps) of n <= MOST_TOKENS tokens begin, *ldx apart: in the
 * activations, or, when rows are picked or K ends within 16 elements, in a copy.
 */
static const float *locate(const job *j, work *wk, size_t token, size_t n, size_t k, size_t steps,
                           size_t *ldx) {
    size_t n_in = j->m->n_in, left = n_in - k * LANES;
    *ldx = n_in;
    if (!j->row_index && left >= steps * LANES) {
        return j->a->x + token * n_in + k * LANES;
    }
    memset(wk->x, 0, sizeof wk->x);
    for (size_t t = 0; t < n; t++) {
        size_t row = j->row_index ? j->row_index[token + t] : token + t;
        memcpy(wk->x[t], j->a->x + row * n_in + k * LANES,
               (left < steps * LANES ? left : steps * LANES) * sizeof(float));
    }
    *ldx = CHUNK * LANES;
    return wk->x[0];
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

/* Lanes [k, k + steps) of n_r rows as floats, with zeros after the end of K and for missing rows. */
static void pad(const job *j, float *to, const char *w, size_t n_r, size_t k, size_t steps) {
    size_t left = j->m->n_in - k * LANES, n = left < steps * LANES ? left : steps * LANES;
    memset(to, 0, SPECP_PANEL * CHUNK * sizeof(lanes));
    for (size_t r = 0; r < n_r; r++) {
        /* cannot fail: these are types of single elements */
        (void)spec_type_to_float(j->m->type, w + r * j->m->n_in * j->element, to + r * CHUNK * LANES, n);
    }
}

/* One tile after the other down the panel, whose rows are `row` bytes apart; AHEAD rows in front of them what
 * is asked for: the rest of `soon`, then the beginning of `next`. */
static void multiply_rows(const shape *s, operands *o, size_t row, const char *soon, const char *next) {
    const char *w = o->w;
    lanes *sums = o->sums;
    for (size_t r = 0; r < SPECP_PANEL; r += s->rows) {
        bool wraps = r + AHEAD >= SPECP_PANEL;
        o->w = w + r * row;
        o->ahead = wraps ? next + (r + AHEAD - SPECP_PANEL) * o->stride : soon + (r + AHEAD) * o->stride;
        o->sums = sums + r;
        s->run(o);
    }
}

/* Lanes [k, k + steps) of a panel, at w, times n tokens, in tiles of equal size; the next chunk, of the
 * panel or of the one after it, is asked for by all tiles together. */
static void multiply_chunk(const job *j, work *wk, const char *w, const char *next, size_t n_r, size_t token,
                           size_t n, size_t k, size_t steps) {
    size_t step = LANES * j->element, tiles = n <= MOST_TOKENS ? 1 : (n + GOOD_TOKENS - 1) / GOOD_TOKENS;
    size_t stride = j->m->n_in * j->element;
    bool ragged = n_r < SPECP_PANEL || (k + steps) * LANES > j->m->n_in;
    bool copied = ragged || (j->convert && n >= MANY);
    if (ragged) {
        pad(j, wk->w, w, n_r, k, steps);
        stride = step = 0; /* rows that are not there are not asked for */
    } else if (copied) {
        j->convert(wk->w, w, stride, steps);
    }
    for (size_t i = 0; i < tiles; i++) {
        size_t t = n * i / tiles, n_t = n * (i + 1) / tiles - t;
        const char *share = next + steps * step * i / tiles;
        operands o = {.w = copied ? (const char *)wk->w : w, .stride = stride, .ahead_step = step / tiles};
        o.steps = steps;
        o.sums = wk->sums + t * SPECP_PANEL;
        o.x = locate(j, wk, token + t, n_t, k, steps, &o.ldx);
        multiply_rows(copied ? &copy_shapes[n_t] : &j->shapes[n_t], &o, copied ? COPY_STRIDE : stride,
                      tiles == 1 ? w : share, share);
    }
}

/* n <= BATCH tokens from `token` on; after this panel comes another one, or it is the last. */
static void multiply_panel(const job *j, work *wk, size_t panel, bool last, size_t token, size_t n) {
    size_t depth = (j->m->n_in + LANES - 1) / LANES, chunks = (depth + CHUNK - 1) / CHUNK;
    size_t left = j->m->n_out - panel * SPECP_PANEL, n_r = left < SPECP_PANEL ? left : SPECP_PANEL;
    size_t panel_bytes = SPECP_PANEL * j->m->n_in * j->element;
    const char *w = (const char *)j->m->data + panel * panel_bytes;
    memset(wk->sums, 0, n * SPECP_PANEL * sizeof *wk->sums);
    for (size_t c = 0; c < chunks; c++) {
        size_t k = depth * c / chunks, end = depth * (c + 1) / chunks;
        const char *here = w + k * LANES * j->element, *next = here;
        if (c + 1 < chunks) {
            next = w + end * LANES * j->element;
        } else if (!last) {
            next = w + panel_bytes;
        }
        multiply_chunk(j, wk, here, next, n_r, token, n, k, end - k);
    }
    finish(j, panel, token, n, wk->sums);
}

/* Tokens pass over all panels in blocks whose activations fit the second cache. */
static void multiply(const job *j, size_t n_rows, size_t panel0, size_t panel1) {
    work wk;
    size_t batches = CACHE / (j->m->n_in * sizeof(float)) / BATCH, block = BATCH * (batches ? batches : 1);
    for (size_t begin = 0; begin < n_rows; begin += block) {
        size_t end = n_rows - begin < block ? n_rows : begin + block;
        for (size_t panel = panel0; panel < panel1; panel++) {
            for (size_t t = begin; t < end; t += BATCH) {
                size_t n = end - t < BATCH ? end - t : BATCH;
                multiply_panel(j, &wk, panel, panel + 1 == panel1, t, n);
            }
        }
    }
}

#define MATMUL(form, convert)                                                                                \
    static void matmul_##form(const specp_matrix *m, const specp_acts *a, const uint32_t *row_index,         \
                              size_t n_rows, float *y, size_t ldy, size_t panel0, size_t panel1) {           \
        const job j = {m, a, row_index, y, ldy, BYTES_##form, form##_shapes, convert};                       \
        multiply(&j, n_rows, panel0, panel1);                                                                \
    }

MATMUL(f32, NULL)
MATMUL(f16, convert_f16)
MATMUL(bf16, convert_bf16)

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

/* SPDX-License-Identifier: MIT */
/*
 * ops_body.h - norms, activations, softmax and attention, compiled once for each
 * instruction set. Loops over elements are plain C for the compiler to
 * vectorise; sums and attention go by lanes.h, in the orders that kernels.h fixes.
 *
 * Attention works on tiles of n_q queries that share a KV head: what is read of K or V is
 * converted once and multiplied with all of them.
 *
 *     scores   q rows x blocks of 16 positions   one sum a lane, over the head dimension
 *     values   q rows x 16 columns of V          one sum a lane, over positions
 */
#include <math.h>

#include "kernels.h"
#include "lanes.h"

/* TILES(F): F(queries, blocks or columns) for the shapes that the registers hold, widest first. */
#if defined(__AVX512F__)
#define TILES(F) F(12, 2) F(8, 2) F(4, 4) F(2, 4) F(1, 8)
#elif defined(__AVX2__)
#define TILES(F) F(4, 1) F(2, 2) F(1, 4)
#else
#define TILES(F) F(1, 1)
#endif
#define TILE_MAX 12
#define AHEAD    4096 /* bytes between what is read of K or V and what is asked from memory */

/* ---- rows ---------------------------------------------------------------- */

/* x * (1 / sqrt(mean of squares + eps)) * weight, multiplied in this order. */
static void op_rmsnorm(const float *x, const float *weight, float eps, float *out, size_t n) {
    lanes squares = lanes_zero();
    size_t whole = n / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        lanes v = lanes_load(x + i);
        squares = lanes_fma(v, v, squares);
    }
    lanes rest = lanes_load_part(x + whole, n - whole, 0.0f);
    squares = lanes_fma(rest, rest, squares);
    float r = 1.0f / sqrtf(lanes_fold(squares) / (float)n + eps);
    for (size_t i = 0; i < n; i++) {
        out[i] = x[i] * r * weight[i];
    }
}

static void op_add(float *x, const float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] += y[i];
    }
}

static void op_scale(float *x, float s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] *= s;
    }
}

static void op_axpy(float *x, float s, const float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] = __builtin_fmaf(s, y[i], x[i]);
    }
}

static void op_silu_mul(const float *gate, const float *up, float *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        out[i] = specp_siluf(gate[i]) * up[i];
    }
}

static void op_gelu_mul(const float *gate, const float *up, float *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        out[i] = specp_geluf(gate[i]) * up[i];
    }
}

static void op_softcap(float *x, float cap, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] = cap * specp_tanhf(x[i] / cap);
    }
}

static void op_rope(float *x, const float *cos, const float *sin, size_t n_dim, bool neox) {
    size_t half = n_dim / 2, step = neox ? 1 : 2, far = neox ? half : 1;
    for (size_t j = 0; j < half; j++) {
        float a = x[j * step], b = x[j * step + far];
        x[j * step] = a * cos[j] - b * sin[j];
        x[j * step + far] = a * sin[j] + b * cos[j];
    }
}

/* The largest that is not NaN; -infinity when there is none. */
static float largest(const float *x, size_t n) {
    lanes most = lanes_set(-INFINITY), others[3] = {most, most, most};
    size_t i = 0;
    for (; n - i >= 4 * LANES; i += 4 * LANES) {
        most = lanes_max(lanes_load(x + i), most);
        LANES_UNROLL
        for (int j = 0; j < 3; j++) {
            others[j] = lanes_max(lanes_load(x + i + (j + 1) * LANES), others[j]);
        }
    }
    for (; n - i >= LANES; i += LANES) {
        most = lanes_max(lanes_load(x + i), most);
    }
    most = lanes_max(lanes_load_part(x + i, n - i, -INFINITY), most);
    most = lanes_max(lanes_max(most, others[0]), lanes_max(others[1], others[2]));
    float all[LANES], m = -INFINITY;
    lanes_store(all, most);
    for (int l = 0; l < LANES; l++) {
        m = all[l] > m ? all[l] : m;
    }
    return m;
}

/* Lane l of the sum has elements l, l + 16, ...; a NaN among the scores makes its exponential and the
 * sum NaN. */
static float op_softmax(float *s, size_t n) {
    lanes minus_most = lanes_set(-largest(s, n)), sum = lanes_zero();
    size_t whole = n / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        lanes e = lanes_exp(lanes_add(lanes_load(s + i), minus_most));
        lanes_store(s + i, e);
        sum = lanes_add(sum, e);
    }
    if (whole < n) { /* behind the end -infinity, whose exponential adds 0 */
        lanes rest = lanes_load_part(s + whole, n - whole, -INFINITY);
        rest = lanes_exp(lanes_add(rest, minus_most));
        lanes_store_part(s + whole, rest, n - whole);
        sum = lanes_add(sum, rest);
    }
    return lanes_fold(sum);
}

static spec_token op_argmax(const float *x, size_t n) {
    float m = largest(x, n);
    for (size_t i = 0; i < n; i++) {
        if (x[i] == m) {
            return (spec_token)i;
        }
    }
    return 0;
}

/* ---- attention ----------------------------------------------------------- */

typedef lanes (*load_fn)(const char *p);
LANES_INLINE lanes load_f32(const char *p) { return lanes_load(p); }
LANES_INLINE lanes load_f16(const char *p) { return lanes_load_half(p); }

/* n_q rows of queries times n_b blocks of K, both constants; `step` bytes hold 16 elements. */
LANES_INLINE void score_tile(const int n_q, const int n_b, load_fn load, const size_t step, const float *q,
                             size_t ldq, const char *k, size_t head_dim, float scale, float *s, size_t lds) {
    lanes sums[TILE_MAX][TILE_MAX];
    LANES_UNROLL
    for (int i = 0; i < n_q; i++) {
        LANES_UNROLL
        for (int b = 0; b < n_b; b++) {
            sums[i][b] = lanes_zero();
        }
    }
    for (size_t d = 0; d < head_dim; d++) {
        lanes positions[TILE_MAX];
        LANES_UNROLL
        for (int b = 0; b < n_b; b++) {
            const char *from = k + ((size_t)b * head_dim + d) * step;
            positions[b] = load(from);
            SPECP_PREFETCH(from + AHEAD);
            lanes_hold(&positions[b]);
        }
        LANES_UNROLL
        for (int i = 0; i < n_q; i++) {
            lanes each = lanes_set(q[(size_t)i * ldq + d]);
            LANES_UNROLL
            for (int b = 0; b < n_b; b++) {
                sums[i][b] = lanes_fma(each, positions[b], sums[i][b]);
            }
        }
    }
    LANES_UNROLL
    for (int i = 0; i < n_q; i++) {
        LANES_UNROLL
        for (int b = 0; b < n_b; b++) {
            lanes_store(s + (size_t)i * lds + b * SPECP_KV_BLOCK, lanes_mul(lanes_set(scale), sums[i][b]));
        }
    }
}

#define SCORE_TILES(rows, blocks)                                                                            \
    for (; n_q - i >= (rows); i += (rows)) {                                                                 \
        const float *from = q + i * ldq;                                                                     \
        float *to = s + i * lds;                                                                             \
        size_t b = block0;                                                                                   \
        for (; block1 - b >= (blocks); b += (blocks)) {                                                      \
            score_tile(rows, blocks, load, step, from, ldq, k + b * head_dim * step, head_dim, scale,        \
                       to + b * SPECP_KV_BLOCK, lds);                                                        \
        }                                                                                                    \
        for (; b < block1; b++) {                                                                            \
            score_tile(rows, 1, load, step, from, ldq, k + b * head_dim * step, head_dim, scale,             \
                       to + b * SPECP_KV_BLOCK, lds);                                                        \
        }                                                                                                    \
    }

LANES_INLINE void scores(load_fn load, const size_t step, const float *q, size_t ldq, size_t n_q,
                         const char *k, size_t head_dim, size_t block0, size_t block1, float scale, float *s,
                         size_t lds) {
    size_t i = 0;
    TILES(SCORE_TILES)
}

static void op_scores(const float *q, size_t ldq, size_t n_q, const void *k, spec_type kv_type,
                      size_t head_dim, size_t block0, size_t block1, float scale, float *s, size_t lds) {
    if (kv_type == SPEC_TYPE_F16) {
        scores(load_f16, LANES * 2, q, ldq, n_q, k, head_dim, block0, block1, scale, s, lds);
    } else {
        scores(load_f32, LANES * 4, q, ldq, n_q, k, head_dim, block0, block1, scale, s, lds);
    }
}

/* Positions [0, n) of n_c times 16 columns of V at v, `row` bytes from one to the next, weighted for n_q
 * rows. The last columns are `part` (16 = whole; only with n_c = 1). */
LANES_INLINE void value_tile(const int n_q, const int n_c, load_fn load, const size_t step, const float *p,
                             size_t ldp, const char *v, size_t row, size_t n, float *acc, size_t lda) {
    lanes sums[TILE_MAX][TILE_MAX];
    LANES_UNROLL
    for (int i = 0; i < n_q; i++) {
        LANES_UNROLL
        for (int c = 0; c < n_c; c++) {
            sums[i][c] = lanes_load(acc + (size_t)i * lda + c * LANES);
        }
    }
    for (size_t pos = 0; pos < n; pos++) {
        lanes columns[TILE_MAX];
        LANES_UNROLL
        for (int c = 0; c < n_c; c++) {
            const char *from = v + pos * row + (size_t)c * step;
            columns[c] = load(from);
            SPECP_PREFETCH(from + AHEAD);
            lanes_hold(&columns[c]);
        }
        LANES_UNROLL
        for (int i = 0; i < n_q; i++) {
            lanes each = lanes_set(p[(size_t)i * ldp + pos]);
            LANES_UNROLL
            for (int c = 0; c < n_c; c++) {
                sums[i][c] = lanes_fma(each, columns[c], sums[i][c]);
            }
        }
    }
    LANES_UNROLL
    for (int i = 0; i < n_q; i++) {
        LANES_UNROLL
        for (int c = 0; c < n_c; c++) {
            lanes_store(acc + (size_t)i * lda + c * LANES, sums[i][c]);
        }
    }
}

/* The columns after the last whole 16, for one row. */
LANES_INLINE void value_edge(load_fn load, size_t bytes, const float *p, const char *v, size_t row, size_t n,
                             float *acc, size_t columns) {
    lanes sum = lanes_load_part(acc, columns, 0.0f);
    char edge[LANES * sizeof(float)] = {0};
    for (size_t pos = 0; pos < n; pos++) {
        memcpy(edge, v + pos * row, columns * bytes);
        sum = lanes_fma(lanes_set(p[pos]), load(edge), sum);
    }
    lanes_store_part(acc, sum, columns);
}

#define VALUE_TILES(rows, wide)                                                                              \
    for (; n_q - i >= (rows); i += (rows)) {                                                                 \
        const float *from = p + i * ldp;                                                                     \
        float *to = acc + i * lda;                                                                           \
        size_t c = 0;                                                                                        \
        for (; columns - c >= (wide); c += (wide)) {                                                         \
            value_tile(rows, wide, load, step, from, ldp, v + c * step, row, n, to + c * LANES, lda);        \
        }                                                                                                    \
        for (; c < columns; c++) {                                                                           \
            value_tile(rows, 1, load, step, from, ldp, v + c * step, row, n, to + c * LANES, lda);           \
        }                                                                                                    \
    }

/* p and v begin at the first of n positions. */
LANES_INLINE void values(load_fn load, const size_t step, const float *p, size_t ldp, size_t n_q,
                         const char *v, size_t head_dim, size_t n, float *acc, size_t lda) {
    size_t i = 0, columns = head_dim / LANES, whole = columns * LANES, row = head_dim * step / LANES;
    TILES(VALUE_TILES)
    for (i = 0; i < n_q && whole < head_dim; i++) {
        value_edge(load, step / LANES, p + i * ldp, v + columns * step, row, n, acc + i * lda + whole,
                   head_dim - whole);
    }
}

static void op_values(const float *p, size_t ldp, size_t n_q, const void *v, spec_type kv_type,
                      size_t head_dim, size_t pos0, size_t pos1, float *acc, size_t lda) {
    if (kv_type == SPEC_TYPE_F16) {
        const char *from = (const char *)v + pos0 * head_dim * 2;
        values(load_f16, LANES * 2, p + pos0, ldp, n_q, from, head_dim, pos1 - pos0, acc, lda);
    } else {
        const char *from = (const char *)v + pos0 * head_dim * 4;
        values(load_f32, LANES * 4, p + pos0, ldp, n_q, from, head_dim, pos1 - pos0, acc, lda);
    }
}

/* One element, at index i of a cache's array. */
static void store_element(void *base, spec_type kv_type, size_t i, float x) {
    if (kv_type == SPEC_TYPE_F16) {
        ((uint16_t *)base)[i] = specp_half_of_float(x);
    } else {
        ((float *)base)[i] = x;
    }
}

static void op_store_k(const float *k, void *base, spec_type kv_type, size_t head_dim, size_t pos) {
    size_t block = pos / SPECP_KV_BLOCK * head_dim, in = pos % SPECP_KV_BLOCK;
    for (size_t d = 0; d < head_dim; d++) {
        store_element(base, kv_type, (block + d) * SPECP_KV_BLOCK + in, k[d]);
    }
}

static void op_store_v(const float *v, void *base, spec_type kv_type, size_t head_dim, size_t pos) {
    for (size_t d = 0; d < head_dim; d++) {
        store_element(base, kv_type, pos * head_dim + d, v[d]);
    }
}

/* Enters all of them. */
static void enter(specp_kernels *k) {
    k->rmsnorm = op_rmsnorm;
    k->add = op_add;
    k->scale = op_scale;
    k->axpy = op_axpy;
    k->silu_mul = op_silu_mul;
    k->gelu_mul = op_gelu_mul;
    k->softcap = op_softcap;
    k->rope = op_rope;
    k->softmax = op_softmax;
    k->argmax = op_argmax;
    k->scores = op_scores;
    k->values = op_values;
    k->store_k = op_store_k;
    k->store_v = op_store_v;
}

/* SPDX-License-Identifier: MIT */
/*
 * kernels_quant.h - how quantised matrices are packed, what exactly is computed
 * from them, and what the instruction sets' files share.
 *
 * Layout
 *
 *   matrix   panels of 16 rows, one after the other; rows past n_out are zeros
 *   panel    units along K: 64 columns, for the K forms 256; columns past n_in are zeros
 *   unit     a head with scales, then tiles of 16 rows x 32 columns; whole cache lines
 *
 *     W8 W4 W5     | F16 scale[2][16] | tile | tile |
 *     W4K W5K      | F16 d[16], dmin[16] | u8 s[8][16] | u8 m[8][16] | tile x 8 |
 *     W6K          | F16 d[16], 32 bytes | i8 s[8][2][16]            | tile x 8 |
 *
 *   tile     8 vectors of 64 bytes: vector v has columns 4v..4v+3, four bytes for each row
 *
 *            row 0         row 1               row 15
 *     v      | 4v .. 4v+3 | 4v .. 4v+3 | ... | 4v .. 4v+3 |
 *
 *     Codes are stored from 0 up: code + offset, offset 128, 8, 16, 0, 0, 32 in the order above.
 *     With 8 bits a vector is just stored. With fewer bits
 *       low    4 vectors: byte j of vector v has columns 4v+j (low half) and 16+4v+j (high half)
 *       high   5 bits: 1 vector; bit v is bit 4 of what vector v has in that byte
 *              6 bits: 2 vectors; bits 2w, 2w+1 of the k-th are bits 4, 5 of vector 4k+w
 *
 * The activations of a block are c[32] (int8), their scale xs, their sum cs. In
 * every form, for output o and the blocks b of K in order, from acc = +0:
 *
 *     W8 W4 W5     acc = fma(s xs, dot, acc)           s: the block's scale
 *     W4K W5K      acc = fma((d s) xs, dot, acc)       d s and dmin m are exact
 *                  acc = fma(-(dmin m), xs cs, acc)
 *     W6K          acc = fma(d xs, s0 dot0 + s1 dot1, acc)
 *
 * where products and sums written without fma are rounded once each, and dot is the
 * integer sum of (code - offset) c over the 32 columns, exact and below 2^24, as is
 * s0 dot0 + s1 dot1 over both halves. A unit's padding adds fma(0, 0, acc).
 */
#ifndef SPECP_KERNELS_QUANT_H
#define SPECP_KERNELS_QUANT_H

#include "kernels.h"
#include "specp_math.h"

#if defined(__GNUC__)
#define SPECP_INLINE static inline __attribute__((always_inline))
#else
#define SPECP_INLINE static inline
#endif

/* Before a loop with a constant number of turns: unroll it, so that arrays become registers. */
#if defined(__clang__)
#define SPECP_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define SPECP_UNROLL _Pragma("GCC unroll 16")
#else
#define SPECP_UNROLL
#endif

#define SPECP_VECTOR 64 /* bytes: 16 rows of 4 */

/* The forms' shapes; constant where the form is. */
SPECP_INLINE bool specp_form_is_k(specp_form form) { return form >= SPECP_FORM_W4K; }

SPECP_INLINE size_t specp_form_bits(specp_form form) {
    switch (form) {
    case SPECP_FORM_W8: return 8;
    case SPECP_FORM_W5:
    case SPECP_FORM_W5K: return 5;
    case SPECP_FORM_W6K: return 6;
    default: return 4;
    }
}

SPECP_INLINE size_t specp_unit_tiles(specp_form form) { return specp_form_is_k(form) ? 8 : 2; }
SPECP_INLINE size_t specp_head_bytes(specp_form form) { return specp_form_is_k(form) ? 320 : 64; }
SPECP_INLINE size_t specp_tile_bytes(specp_form form) { return SPECP_VECTOR * specp_form_bits(form); }

SPECP_INLINE size_t specp_unit_bytes(specp_form form) {
    return specp_head_bytes(form) + specp_unit_tiles(form) * specp_tile_bytes(form);
}

SPECP_INLINE size_t specp_unit_count(specp_form form, size_t n_in) {
    size_t columns = SPECP_BLOCK * specp_unit_tiles(form);
    return n_in / columns + (n_in % columns != 0);
}

/* Where the head has the scales of tile t: */
#define SPECP_HEAD_SCALE(t) (2 * SPECP_PANEL * (t))  /* W8 W4 W5: F16 */
#define SPECP_HEAD_DMIN     (2 * SPECP_PANEL)        /* W4K W5K: F16 */
#define SPECP_HEAD_S(t)     (64 + SPECP_PANEL * (t)) /* W4K W5K: bytes */
#define SPECP_HEAD_M(t)     (64 + SPECP_PANEL * (8 + (t)))
#define SPECP_HEAD_HALF(t)  (64 + 2 * SPECP_PANEL * (t)) /* W6K: signed bytes of both halves */

/* Asks for the line that lies `bytes` after p, into the first or only the second cache.
 * There may be nothing of ours: hence numbers, not pointers. */
#if defined(__GNUC__)
#define SPECP_ASK_NEAR(p, bytes) __builtin_prefetch((const void *)((uintptr_t)(p) + (bytes)), 0, 3)
#define SPECP_ASK_FAR(p, bytes)  __builtin_prefetch((const void *)((uintptr_t)(p) + (bytes)), 0, 2)
#else
#define SPECP_ASK_NEAR(p, bytes) ((void)(p))
#define SPECP_ASK_FAR(p, bytes)  ((void)(p))
#endif

/* To be called for each tile of a unit: asks for as many lines of what follows as it reads.
 * The distances were found by measuring: the far one hides the memory, the near one the
 * second cache, from 1 to 16 rows. */
SPECP_INLINE void specp_ask_for_weights(specp_form form, const uint8_t *unit, size_t tile) {
    const size_t tiles = specp_unit_tiles(form);
    const size_t lines = (specp_unit_bytes(form) / SPECP_VECTOR + tiles - 1) / tiles;
    SPECP_UNROLL
    for (size_t l = tile * lines; l < (tile + 1) * lines; l++) {
        SPECP_ASK_FAR(unit, 8192 + l * SPECP_VECTOR);
        SPECP_ASK_NEAR(unit, 1088 + l * SPECP_VECTOR);
    }
}

/* ---- what drives the kernels ---------------------------------------------- */

/* 16 outputs for n <= SPECP_GROUP rows of activations x[0..n-1]: `units` units at `panel`.
 * There are SPECP_GROUP pointers that may be followed, and as many rows of `out`: a function
 * may compute more than n. */
typedef void (*specp_panel_fn)(const uint8_t *panel, size_t units, const specp_qblock *const *x, size_t n,
                               float (*out)[SPECP_PANEL]);

#define SPECP_GROUP 16 /* rows of activations that a panel function takes at most */

/* The table's matmul by a panel function: panels by groups of rows, and so many rows at a
 * time that their activations stay in the cache. */
void specp_quant_matmul(specp_panel_fn fn, const specp_matrix *m, const specp_acts *a,
                        const uint32_t *row_index, size_t n_rows, float *y, size_t ldy, size_t panel0,
                        size_t panel1);

/* The table's entry of one form. */
#define SPECP_QUANT_MATMUL(name, fn)                                                                         \
    static void name(const specp_matrix *m, const specp_acts *a, const uint32_t *row_index, size_t n_rows,   \
                     float *y, size_t ldy, size_t panel0, size_t panel1) {                                   \
        specp_quant_matmul(fn, m, a, row_index, n_rows, y, ldy, panel0, panel1);                             \
    }

/* Writes the entries matmul_w8, ... of an instruction set called `set`, which needs the bits `bits`. */
#define SPECP_QUANT_FILL(k, set, bits)                                                                       \
    do {                                                                                                     \
        SPECP_QUANT_SET(k, SPECP_FORM_W8, matmul_w8, "w8 " set, bits);                                       \
        SPECP_QUANT_SET(k, SPECP_FORM_W4, matmul_w4, "w4 " set, bits);                                       \
        SPECP_QUANT_SET(k, SPECP_FORM_W5, matmul_w5, "w5 " set, bits);                                       \
        SPECP_QUANT_SET(k, SPECP_FORM_W4K, matmul_w4k, "w4k " set, bits);                                    \
        SPECP_QUANT_SET(k, SPECP_FORM_W5K, matmul_w5k, "w5k " set, bits);                                    \
        SPECP_QUANT_SET(k, SPECP_FORM_W6K, matmul_w6k, "w6k " set, bits);                                    \
    } while (0)
#define SPECP_QUANT_SET(k, form, fn, name, bits)                                                             \
    ((k)->matmul[form] = (fn), (k)->matmul_name[form] = (name), (k)->matmul_isa[form] = (bits))

/* Packs panels [panel0, panel1) of a matrix whose form is one of the above. */
void specp_repack(const specp_matrix *m, uint8_t *panels, size_t panel0, size_t panel1);

/* ---- activations ---------------------------------------------------------- */

/*
 * The grid of a block: code = nearest (ties to even) of x * inverse, one rounded
 * product; x = scale * code. From the bits of the largest |x|:
 *
 *     infinity or NaN     scale NaN, codes 0
 *     below 1e-30         scale 0, codes 0 (127 / amax would soon be infinite)
 *     amax                scale amax / 127, inverse 127 / amax
 */
typedef struct specp_grid {
    float scale, inverse; /* inverse 0: no product is taken, codes are 0 */
} specp_grid;

SPECP_INLINE specp_grid specp_grid_of(uint32_t largest_bits) {
    float largest = specp_float_of_bits(largest_bits);
    if (largest_bits >= 0x7f800000u) {
        return (specp_grid){specp_float_of_bits(0x7fc00000u), 0.0f};
    }
    if (largest < 1e-30f) {
        return (specp_grid){0.0f, 0.0f};
    }
    return (specp_grid){largest / 127.0f, 127.0f / largest};
}

/* All but the codes, from the sums of both halves. */
SPECP_INLINE void specp_qblock_finish(specp_qblock *q, float scale, int32_t sum0, int32_t sum1) {
    int32_t sum = sum0 + sum1;
    q->scale = scale;
    q->scaled_sum = scale * (float)sum;
    q->sum = sum;
    q->off4 = -8 * sum;
    q->off5 = -16 * sum;
    q->off8 = -128 * sum;
    q->off6[0] = -32 * sum0;
    q->off6[1] = -32 * sum1;
}

#endif

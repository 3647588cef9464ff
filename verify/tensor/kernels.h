/* SPDX-License-Identifier: MIT */
/*
 * kernels.h - the arithmetic of a forward pass: one table of functions, filled
 * from scalar code and overwritten by each better instruction set that the
 * processor has.
 *
 * The contract (DESIGN 6): every output element is computed in one fixed order
 * that depends on nothing but the shapes, so rows come out with the same bits
 * whatever the batch, the thread count or the instruction set. The orders:
 *
 *   floats (F32, F16, BF16 weights; activations stay F32)
 *       16 interleaved lanes over K: lane l sums k = l, l+16, ... by fused
 *       multiply-adds from 0, missing elements of the last 16 count as (0, 0);
 *       then folded by halves: l += l+8, l += l+4, l += l+2, l += l+1
 *   quantised weights
 *       activations are rounded to int8 with one scale for each 32 (amax / 127,
 *       nearest, ties to even); in each block the integer dot is exact; blocks are added in order
 *       by fused multiply-adds. kernels_quant.h has the formula of each form
 *   sums (norms, softmax)   16 interleaved lanes and folded, as above
 *   attention               scores: sequential fma over the head dimension;
 *                           values: sequential fma over positions
 */
#ifndef SPECP_KERNELS_H
#define SPECP_KERNELS_H

#include "spec_tensors.h"
#include "specp.h"
#include "team.h"

/* ---- instruction sets ---------------------------------------------------- */

enum {
    SPECP_ISA_AVX2 = 1,   /* AVX2, FMA, F16C */
    SPECP_ISA_AVX512 = 2, /* AVX-512 F, BW, DQ, VL */
    SPECP_ISA_VNNI = 4,   /* AVX-512 VNNI */
    SPECP_ISA_ALL = 0xff
};

/* What this processor has and this build knows. */
unsigned specp_isa_detect(void);

/* ---- weights ------------------------------------------------------------- */

/* How a matrix lies in memory for the kernels. */
typedef enum specp_form {
    SPECP_FORM_F32, /* the file's own rows, K contiguous, nothing copied */
    SPECP_FORM_F16,
    SPECP_FORM_BF16,
    SPECP_FORM_W8,  /* repacked in panels of 16 rows: 8-bit codes, one scale a block (Q8_0) */
    SPECP_FORM_W4,  /* 4-bit codes, one scale a block (Q4_0) */
    SPECP_FORM_W5,  /* 5-bit codes, one scale a block (Q5_0) */
    SPECP_FORM_W4K, /* 4-bit codes, scale and minimum a block (Q4_K) */
    SPECP_FORM_W5K, /* 5-bit codes, scale and minimum a block (Q5_K) */
    SPECP_FORM_W6K, /* 6-bit codes, a scale each half block (Q6_K) */
    SPECP_FORMS
} specp_form;

#define SPECP_PANEL 16 /* rows of a matrix that are computed together */
#define SPECP_BLOCK 32 /* activations that share a scale */

/* A weight matrix that maps n_in to n_out, ready for the kernels. */
typedef struct specp_matrix {
    spec_type type; /* in the file */
    specp_form form;
    size_t n_out, n_in;
    const void *data;   /* the file's own, or `packed` aligned to 64 */
    const void *source; /* the file's rows, for single rows and the BLAS mode */
    void *packed;       /* owned; NULL when nothing was repacked */
    size_t packed_bytes;
} specp_matrix;

/* The form that a type gets; SPECP_FORMS when it cannot be multiplied. */
specp_form specp_form_of(spec_type type);

/* Prepares (n_out, n_in) rows of `type` at `data`, borrowed for the matrix's
 * life; repacks with all threads of the team (not inside a region) where the
 * form asks for it. SPEC_ERR_UNSUPPORTED (type), SPEC_ERR_INVALID (n_out or n_in is
 * 0, or n_in no multiple of the type's block), SPEC_ERR_NOMEM. */
int specp_matrix_init(specp_matrix *m, spec_type type, const void *data, size_t n_out, size_t n_in,
                      specp_team *team, const spec_allocator *alloc);
void specp_matrix_release(specp_matrix *m, const spec_allocator *alloc);

/* ---- activations --------------------------------------------------------- */

/* A block of activations rounded to int8, x = scale * code, and what the forms
 * need of it besides: one cache line. */
typedef struct specp_qblock {
    int8_t code[SPECP_BLOCK];
    float scale;
    float scaled_sum; /* scale * sum */
    int32_t sum;      /* of the codes */
    /* Weights are stored as codes from 0 up. What that adds to a dot is taken off by
     * starting it from here: minus the offset times the sum. */
    int32_t off4, off5, off8; /* -8, -16, -128 times the sum */
    int32_t off6[2];          /* -32 times the sum of each half */
} specp_qblock;

/* Rows of activations as the matrix kernels want them: floats, and for quantised
 * weights their int8 form. */
typedef struct specp_acts {
    size_t n_in, cap; /* columns, rows there is room for */
    float *x;         /* (cap, n_in) */
    specp_qblock *q;  /* (cap, ldq), aligned to 64: n_in / SPECP_BLOCK blocks, then zeros */
    size_t ldq;       /* odd, so that rows do not fall on the same cache sets */
    void *store;      /* owned */
    size_t store_bytes;
} specp_acts;

/* SPEC_ERR_INVALID (n_in or cap is 0), SPEC_ERR_NOMEM. Blocks are zeros at first. */
int specp_acts_init(specp_acts *a, size_t n_in, size_t cap, const spec_allocator *alloc);
void specp_acts_release(specp_acts *a, const spec_allocator *alloc);

/* ---- the table ----------------------------------------------------------- */

typedef struct specp_kernels {
    unsigned isa; /* what was used to fill it */

    /* y[r * ldy + o] for rows r < n_rows and outputs o of panels [panel0, panel1);
     * reads a->x for float forms and a->q for the others. row_index, if not NULL, names
     * the rows of `a` to use (experts): row r reads row_index[r] of a and still writes row r of y. */
    void (*matmul[SPECP_FORMS])(const specp_matrix *m, const specp_acts *a, const uint32_t *row_index,
                                size_t n_rows, float *y, size_t ldy, size_t panel0, size_t panel1);
    const char *matmul_name[SPECP_FORMS]; /* "w8 avx512-vnni" */
    unsigned matmul_isa[SPECP_FORMS];     /* the ISA bits that the kernel needs: 0 = scalar */

    /* a->x row -> a->q; n_in is a multiple of SPECP_BLOCK. A block with NaN or infinity
     * gets the scale NaN, so that it shows in the product. */
    void (*quantise)(specp_acts *a, size_t row);

    /* Elementwise and rows; n any. In-place where out == x is said. */
    void (*rmsnorm)(const float *x, const float *weight, float eps, float *out,
                    size_t n);                                 /* out == x allowed */
    void (*add)(float *x, const float *y, size_t n);           /* x += y */
    void (*scale)(float *x, float s, size_t n);                /* x *= s */
    void (*axpy)(float *x, float s, const float *y, size_t n); /* x = fma(s, y, x) */
    void (*silu_mul)(const float *gate, const float *up, float *out, size_t n);
    void (*gelu_mul)(const float *gate, const float *up, float *out, size_t n);
    void (*softcap)(float *x, float cap, size_t n); /* x = cap * tanh(x / cap) */
    /* Rotates n_dim/2 pairs by cos, sin (n_dim/2): pairs (2j, 2j+1), or with neox (j, j + n_dim/2). */
    void (*rope)(float *x, const float *cos, const float *sin, size_t n_dim, bool neox);
    /* s becomes exp(s - max); returns their sum, in lanes of i % 16 folded by halves. */
    float (*softmax)(float *s, size_t n);
    spec_token (*argmax)(const float *x, size_t n); /* the lowest index of the largest; NaN never wins */

    /* Attention on one KV head, K and V in F16 or F32 (kv_type).
     * K lies in blocks of 16 positions, transposed: k[block][d][16]. V: v[pos][d].
     * scores: s[i * lds + pos] = scale * sum_d q[i * ldq + d] * k[pos][d] for positions of
     * blocks [block0, block1), sequential fma over d, then one multiplication.
     * values: acc[i * lda + d] = fma(p[i * ldp + pos], v[pos][d], acc) for pos = pos0..pos1-1 in order. */
    void (*scores)(const float *q, size_t ldq, size_t n_q, const void *k, spec_type kv_type, size_t head_dim,
                   size_t block0, size_t block1, float scale, float *s, size_t lds);
    void (*values)(const float *p, size_t ldp, size_t n_q, const void *v, spec_type kv_type, size_t head_dim,
                   size_t pos0, size_t pos1, float *acc, size_t lda);
    /* Writes one position: rounds to the type. */
    void (*store_k)(const float *k, void *block_base, spec_type kv_type, size_t head_dim, size_t pos);
    void (*store_v)(const float *v, void *base, spec_type kv_type, size_t head_dim, size_t pos);
} specp_kernels;

#define SPECP_KV_BLOCK 16 /* positions in a block of K */

/* Fills the table: scalar, then what both `isa` and the processor have. */
void specp_kernels_init(specp_kernels *k, unsigned isa);

/* Parts of the table, by file; kernels.c calls them in this order. Those of an
 * instruction set that the build does not have do nothing. */
void specp_quant_scalar(specp_kernels *k);
void specp_quant_avx2(specp_kernels *k);
void specp_quant_avx512(specp_kernels *k, bool vnni);
void specp_float_scalar(specp_kernels *k);
void specp_float_avx2(specp_kernels *k);
void specp_float_avx512(specp_kernels *k);
void specp_ops_scalar(specp_kernels *k);
void specp_ops_avx2(specp_kernels *k);
void specp_ops_avx512(specp_kernels *k);

/* y (n_rows, n_out) = x (n_rows, n_in) W^T by OpenBLAS: fast for many rows, but a
 * row's bits depend on the batch. scratch: (SPECP_BLAS_ROWS, n_in) floats. Not
 * inside several threads at a time. */
#define SPECP_BLAS_ROWS 256
void specp_blas_matmul(const specp_matrix *m, const float *x, size_t ldx, size_t n_rows, float *y, size_t ldy,
                       float *scratch);
/* OpenBLAS's core type ("SkylakeX", "Prescott"), and whether it is below what this
 * processor could run. */
const char *specp_blas_core(bool *below);

/* One row of a matrix's source as floats (embeddings). */
void specp_matrix_row(const specp_matrix *m, size_t row, float *out);

#endif

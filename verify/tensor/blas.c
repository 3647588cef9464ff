/* SPDX-License-Identifier: MIT */
/*
 * blas.c - the labelled fast mode: matrix products by OpenBLAS, for many rows.
 *
 * Floats of 32 bits are multiplied where they lie; of other types SPECP_BLAS_ROWS
 * rows at a time are expanded into scratch, so a weight is expanded once a call.
 */
#include <cblas.h>

#include "kernels.h"

static void multiply(const float *w, size_t n_out, size_t n_in, const float *x, size_t ldx, size_t n_rows,
                     float *y, size_t ldy) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n_rows, (blasint)n_out, (blasint)n_in, 1.0f,
                x, (blasint)ldx, w, (blasint)n_in, 0.0f, y, (blasint)ldy);
}

void specp_blas_matmul(const specp_matrix *m, const float *x, size_t ldx, size_t n_rows, float *y, size_t ldy,
                       float *scratch) {
    if (m->type == SPEC_TYPE_F32 && (uintptr_t)m->source % sizeof(float) == 0) {
        multiply(m->source, m->n_out, m->n_in, x, ldx, n_rows, y, ldy);
        return;
    }
    size_t row_bytes = m->n_in / spec_type_block(m->type) * spec_type_block_bytes(m->type);
    for (size_t o = 0; o < m->n_out; o += SPECP_BLAS_ROWS) {
        size_t n = m->n_out - o < SPECP_BLAS_ROWS ? m->n_out - o : SPECP_BLAS_ROWS;
        /* cannot fail: a matrix's type and width were checked when it was made */
        (void)spec_type_to_float(m->type, (const char *)m->source + o * row_bytes, scratch, n * m->n_in);
        multiply(scratch, n, m->n_in, x, ldx, n_rows, y + o, ldy);
    }
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* Names compared without regard to case: OpenBLAS's spelling has varied. */
static bool is_among(const char *name, const char *const *list) {
    for (; *list; list++) {
        size_t i = 0;
        while (name[i] && lower(name[i]) == (*list)[i]) {
            i++;
        }
        if (!name[i] && !(*list)[i]) {
            return true;
        }
    }
    return false;
}

const char *specp_blas_core(bool *below) {
    static const char *const avx512[] = {"skylakex", "cooperlake", "sapphirerapids", NULL};
    static const char *const avx2[] = {"haswell", "zen", NULL};
    const char *core = openblas_get_corename();
    unsigned isa = specp_isa_detect();
    bool has_avx512 = is_among(core, avx512), has_avx2 = has_avx512 || is_among(core, avx2);
    *below = isa & SPECP_ISA_AVX512 ? !has_avx512 : isa & SPECP_ISA_AVX2 ? !has_avx2 : false;
    return core;
}

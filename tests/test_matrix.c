/* SPDX-License-Identifier: MIT */
/*
 * Matrices and activations: what is refused, what repacking keeps, and the grid
 * that activations are rounded to.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "kernels.h"
#include "oracle_quant.h"

static specp_team *new_team(unsigned n) {
    specp_team *team;
    assert_int_equal(specp_team_new(&team, n, NULL), 0);
    return team;
}

/* Random rows of any type that can be multiplied; floats are finite. */
static void *random_rows(support_rng *r, spec_type type, size_t n) {
    size_t blocks = n / spec_type_block(type), bytes = blocks * spec_type_block_bytes(type);
    char *data = malloc(bytes);
    assert_non_null(data);
    if (spec_type_block(type) > 1) {
        oracle_quant_blocks(r, type, ORACLE_QUANT_RANDOM, data, blocks);
        return data;
    }
    for (size_t i = 0; i < n; i++) {
        float x = (float)(support_rng_unit(r) - 0.5);
        assert_int_equal(spec_type_from_float(type, &x, data + i * spec_type_block_bytes(type), 1), 0);
    }
    return data;
}

/* ---- forms --------------------------------------------------------------- */

static void test_forms(void **state) {
    (void)state;
    static const specp_form want[SPEC_TYPES] = {
        SPECP_FORM_F32, SPECP_FORM_F16, SPECP_FORM_BF16, SPECP_FORM_W8, SPECP_FORM_W4, SPECP_FORM_W5,
        SPECP_FORM_W4K, SPECP_FORM_W5K, SPECP_FORM_W6K,  SPECP_FORMS,   SPECP_FORMS,   SPECP_FORMS,
        SPECP_FORMS,    SPECP_FORMS,    SPECP_FORMS,     SPECP_FORMS};
    for (int t = 0; t < SPEC_TYPES; t++) {
        assert_int_equal(specp_form_of((spec_type)t), want[t]);
    }
    assert_int_equal(specp_form_of((spec_type)99), SPECP_FORMS);
}

static void test_refused(void **state) {
    (void)state;
    specp_team *team = new_team(1);
    specp_matrix m, before;
    char data[64] = {0};
    memset(&m, 0x5a, sizeof m);
    before = m;
    assert_int_equal(specp_matrix_init(&m, SPEC_TYPE_I8, data, 1, 32, team, NULL), SPEC_ERR_UNSUPPORTED);
    assert_int_equal(specp_matrix_init(&m, SPEC_TYPE_Q8_0, data, 1, 0, team, NULL), SPEC_ERR_INVALID);
    assert_int_equal(specp_matrix_init(&m, SPEC_TYPE_Q8_0, data, 0, 32, team, NULL), SPEC_ERR_INVALID);
    assert_int_equal(specp_matrix_init(&m, SPEC_TYPE_Q8_0, data, 1, 33, team, NULL), SPEC_ERR_INVALID);
    assert_int_equal(specp_matrix_init(&m, SPEC_TYPE_Q4_K, data, 1, 128, team, NULL), SPEC_ERR_INVALID);
    const size_t huge = SIZE_MAX / 512 * 256; /* panels that no number counts the bytes of */
    assert_int_equal(specp_matrix_init(&m, SPEC_TYPE_Q8_0, data, huge, 32, team, NULL), SPEC_ERR_NOMEM);
    assert_int_equal(specp_matrix_init(&m, SPEC_TYPE_Q8_0, data, SIZE_MAX / 2 + 1, 32, team, NULL),
                     SPEC_ERR_NOMEM);
    assert_int_equal(specp_matrix_init(&m, SPEC_TYPE_Q8_0, data, 1, huge, team, NULL), SPEC_ERR_NOMEM);
    assert_int_equal(specp_matrix_init(&m, SPEC_TYPE_Q6_K, data, huge, huge, team, NULL), SPEC_ERR_NOMEM);
    assert_memory_equal(&m, &before, sizeof m);
    specp_team_free(team);
}

static void test_floats_are_borrowed(void **state) {
    (void)state;
    const spec_type types[] = {SPEC_TYPE_F32, SPEC_TYPE_F16, SPEC_TYPE_BF16};
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator alloc = support_alloc(&heap);
    specp_team *team = new_team(2);
    support_rng r = support_rng_new(support_seed(), 1);
    for (size_t t = 0; t < 3; t++) {
        void *data = random_rows(&r, types[t], 5 * 7);
        specp_matrix m;
        assert_int_equal(specp_matrix_init(&m, types[t], data, 5, 7, team, &alloc), 0);
        assert_ptr_equal(m.data, data);
        assert_ptr_equal(m.source, data);
        assert_null(m.packed);
        assert_int_equal(heap.requests, 0);
        specp_matrix_release(&m, &alloc);
        free(data);
    }
    support_heap_assert_clean(&heap);
    specp_team_free(team);
}

/* ---- repacking ----------------------------------------------------------- */

/* The product with the identity is the matrix. */
static void check_identity(const specp_kernels *k, const specp_matrix *m, const specp_acts *identity) {
    float *y = malloc(m->n_in * m->n_out * sizeof *y), *row = malloc(m->n_in * sizeof *row);
    assert_true(y && row);
    k->matmul[m->form](m, identity, NULL, m->n_in, y, m->n_out, 0, (m->n_out + 15) / 16);
    for (size_t o = 0; o < m->n_out; o++) {
        specp_matrix_row(m, o, row);
        for (size_t i = 0; i < m->n_in; i++) {
            /* code 127 times scale 1/127; a minimum may cancel what the scale makes */
            float d = row[i] - y[i * m->n_out + o];
            assert_true(fabsf(d) <= 4e-6f * (fabsf(row[i]) + 64.0f * 512.0f * (m->form >= SPECP_FORM_W4K)));
        }
    }
    free(y);
    free(row);
}

static void test_repacked_is_what_was_there(void **state) {
    (void)state;
    enum { N_IN = 512 };
    specp_team *team = new_team(3);
    specp_acts identity;
    specp_kernels k;
    specp_kernels_init(&k, SPECP_ISA_ALL);
    assert_int_equal(specp_acts_init(&identity, N_IN, N_IN, NULL), 0);
    for (size_t i = 0; i < N_IN; i++) {
        identity.x[i * N_IN + i] = 1.0f;
        k.quantise(&identity, i);
    }
    support_rng r = support_rng_new(support_seed(), 2);
    for (size_t t = 0; t < ORACLE_QUANT_TYPES; t++) {
        void *data = random_rows(&r, oracle_quant_types[t], 37 * N_IN);
        specp_matrix m;
        assert_int_equal(specp_matrix_init(&m, oracle_quant_types[t], data, 37, N_IN, team, NULL), 0);
        assert_ptr_equal(m.source, data);
        assert_int_equal((uintptr_t)m.data % 64, 0);
        check_identity(&k, &m, &identity);
        specp_matrix_release(&m, NULL);
        assert_null(m.packed);
        free(data);
    }
    specp_acts_release(&identity, NULL);
    specp_team_free(team);
}

/* The same bytes from any number of threads, from an odd address, and into memory of
 * any content. */
static void test_repacking_is_repeatable(void **state) {
    (void)state;
    enum { N_OUT = 203 };
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator filled = support_alloc(&heap), *allocs[5] = {NULL, &filled, NULL, NULL, NULL};
    support_rng r = support_rng_new(support_seed(), 3);
    for (size_t t = 0; t < ORACLE_QUANT_TYPES; t++) {
        spec_type type = oracle_quant_types[t];
        size_t n_in = spec_type_block(type) > 32 ? 768 : 800,
               bytes = N_OUT * oracle_quant_row_bytes(type, n_in);
        char *data = random_rows(&r, type, N_OUT * n_in), *odd = malloc(bytes + 1);
        assert_non_null(odd);
        memcpy(odd + 1, data, bytes);
        specp_matrix m[5];
        for (unsigned i = 0; i < 5; i++) {
            specp_team *team = new_team(i % 4 + 1);
            const void *rows = i == 4 ? odd + 1 : data;
            assert_int_equal(specp_matrix_init(&m[i], type, rows, N_OUT, n_in, team, allocs[i]), 0);
            specp_team_free(team);
            assert_memory_equal(m[i].data, m[0].data, m[0].packed_bytes - 64);
        }
        for (unsigned i = 0; i < 5; i++) specp_matrix_release(&m[i], allocs[i]);
        free(data);
        free(odd);
    }
    support_heap_assert_clean(&heap);
}

static void test_matrix_out_of_memory(void **state) {
    (void)state;
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator alloc = support_alloc(&heap);
    specp_team *team = new_team(2);
    support_rng r = support_rng_new(support_seed(), 4);
    for (size_t t = 0; t < ORACLE_QUANT_TYPES; t++) {
        void *data = random_rows(&r, oracle_quant_types[t], 17 * 256);
        specp_matrix m = {.n_out = 12345}, before = m;
        support_heap_refuse(&heap, 0, false);
        assert_int_equal(specp_matrix_init(&m, oracle_quant_types[t], data, 17, 256, team, &alloc),
                         SPEC_ERR_NOMEM);
        assert_int_equal(heap.refused, 1);
        assert_memory_equal(&m, &before, sizeof m);
        support_heap_refuse(&heap, SIZE_MAX, false);
        assert_int_equal(specp_matrix_init(&m, oracle_quant_types[t], data, 17, 256, team, &alloc), 0);
        specp_matrix_release(&m, &alloc);
        free(data);
    }
    support_heap_assert_clean(&heap);
    specp_team_free(team);
}

/* A matrix large enough for huge pages. */
static void test_large_matrix(void **state) {
    (void)state;
    enum { N_OUT = 1500, N_IN = 2048 };
    support_rng r = support_rng_new(support_seed(), 5);
    specp_team *team = new_team(2);
    specp_kernels k;
    specp_kernels_init(&k, SPECP_ISA_ALL);
    char *data = random_rows(&r, SPEC_TYPE_Q8_0, (size_t)N_OUT * N_IN);
    specp_matrix m;
    specp_acts a;
    float y[N_OUT];
    assert_int_equal(specp_matrix_init(&m, SPEC_TYPE_Q8_0, data, N_OUT, N_IN, team, NULL), 0);
    assert_int_equal(specp_acts_init(&a, N_IN, 1, NULL), 0);
    for (size_t i = 0; i < N_IN; i++) a.x[i] = (float)support_rng_unit(&r);
    k.quantise(&a, 0);
    k.matmul[m.form](&m, &a, NULL, 1, y, N_OUT, 0, (N_OUT + 15) / 16);
    for (size_t o = 0; o < N_OUT; o += 13) {
        const char *row = data + o * oracle_quant_row_bytes(SPEC_TYPE_Q8_0, N_IN);
        float want = oracle_quant_output(SPEC_TYPE_Q8_0, row, a.q, N_IN);
        assert_memory_equal(&want, &y[o], sizeof want);
    }
    specp_matrix_release(&m, NULL);
    specp_acts_release(&a, NULL);
    specp_team_free(team);
    free(data);
}

static void test_single_rows(void **state) {
    (void)state;
    const spec_type types[] = {SPEC_TYPE_F32,  SPEC_TYPE_F16,  SPEC_TYPE_BF16, SPEC_TYPE_Q8_0, SPEC_TYPE_Q4_0,
                               SPEC_TYPE_Q5_0, SPEC_TYPE_Q4_K, SPEC_TYPE_Q5_K, SPEC_TYPE_Q6_K};
    enum { N_OUT = 7, MOST = 256 };
    specp_team *team = new_team(1);
    support_rng r = support_rng_new(support_seed(), 6);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        size_t n_in = spec_type_block(types[t]) > 1 ? MOST : MOST - 1;
        void *data = random_rows(&r, types[t], N_OUT * n_in);
        float all[N_OUT * MOST], row[MOST];
        specp_matrix m;
        assert_int_equal(specp_matrix_init(&m, types[t], data, N_OUT, n_in, team, NULL), 0);
        assert_int_equal(spec_type_to_float(types[t], data, all, N_OUT * n_in), 0);
        for (size_t o = 0; o < N_OUT; o++) {
            memset(row, 0xa5, sizeof row);
            specp_matrix_row(&m, o, row);
            assert_memory_equal(row, all + o * n_in, n_in * sizeof *row);
        }
        specp_matrix_release(&m, NULL);
        free(data);
    }
    specp_team_free(team);
}

/* ---- activations --------------------------------------------------------- */

static void test_acts_storage(void **state) {
    (void)state;
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator alloc = support_alloc(&heap);
    const size_t n_ins[] = {1, 31, 32, 33, 172, 288, 2048};
    specp_acts a, before = {.cap = 77};
    for (size_t i = 0; i < sizeof n_ins / sizeof *n_ins; i++) {
        assert_int_equal(specp_acts_init(&a, n_ins[i], 5, &alloc), 0);
        assert_int_equal((uintptr_t)a.x % 64, 0);
        assert_int_equal((uintptr_t)a.q % 64, 0);
        assert_true(a.ldq % 2 == 1 && a.ldq * SPECP_BLOCK >= n_ins[i]);
        assert_true((char *)(a.x + 5 * n_ins[i]) <= (char *)a.q);
        assert_true((char *)(a.q + 5 * a.ldq) <= (char *)a.store + a.store_bytes);
        memset(a.x, 1, 5 * n_ins[i] * sizeof *a.x); /* all of it is there */
        specp_acts_release(&a, &alloc);
    }
    a = before;
    assert_int_equal(specp_acts_init(&a, 0, 5, &alloc), SPEC_ERR_INVALID);
    assert_int_equal(specp_acts_init(&a, 5, 0, &alloc), SPEC_ERR_INVALID);
    assert_int_equal(specp_acts_init(&a, SIZE_MAX, 2, &alloc), SPEC_ERR_NOMEM);
    assert_int_equal(specp_acts_init(&a, SIZE_MAX / 4, 1, &alloc), SPEC_ERR_NOMEM);
    assert_int_equal(specp_acts_init(&a, 32, SIZE_MAX / 200, &alloc), SPEC_ERR_NOMEM);
    support_heap_refuse(&heap, 0, false);
    assert_int_equal(specp_acts_init(&a, 32, 2, &alloc), SPEC_ERR_NOMEM);
    assert_int_equal(heap.refused, 1);
    assert_memory_equal(&a, &before, sizeof a);
    support_heap_assert_clean(&heap);
}

/* 32 numbers of one block; `kind` picks their shape. */
static void fill_block(support_rng *r, float *x, uint32_t kind) {
    float unit = ldexpf(1.0f, (int)support_rng_below(r, 250) - 140);
    for (size_t i = 0; i < SPECP_BLOCK; i++) {
        float v = (float)(support_rng_unit(r) * 2.0 - 1.0);
        switch (kind % 7) {
        case 0: x[i] = v * unit; break;
        case 1: x[i] = v; break;
        case 2: x[i] = (float)((int)support_rng_below(r, 255) - 127) + (i ? 0.5f : 0.0f); break; /* ties */
        case 3: x[i] = v < 0.0f ? -0.0f : 0.0f; break;
        case 4: x[i] = ((float)(int)(v * 127.0f) + 0.5f) * (unit / 127.0f); break; /* nearly ties */
        case 5: x[i] = v * 1e-30f; break; /* about the smallest size that counts */
        default: x[i] = v < 0.9f ? v * 3e38f : INFINITY; break;
        }
    }
    if (kind % 7 == 2) x[5] = 127.0f; /* scale 1: the ties stay ties */
    if (kind % 7 == 4) x[5] = unit;
    if (kind % 7 == 6 && kind % 4 == 0) x[7] = specp_float_of_bits(0xff812345u); /* a signalling NaN */
}

static void check_grid(const float *x, const specp_qblock *q) {
    float largest = 0.0f;
    int32_t sum[2] = {0, 0};
    bool finite = true;
    for (size_t i = 0; i < SPECP_BLOCK; i++) {
        finite = finite && isfinite(x[i]);
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
        sum[i / 16] += q->code[i];
    }
    bool zero = !finite || largest < 1e-30f;
    for (size_t i = 0; i < SPECP_BLOCK; i++) {
        double error = (double)x[i] - (double)q->scale * q->code[i];
        assert_true(zero || fabs(error) <= 0.50005 * (double)q->scale);
        assert_true(zero || fabsf(x[i]) < largest || q->code[i] == (x[i] < 0.0f ? -127 : 127));
        assert_int_equal(q->code[i], zero ? 0 : (int)rintf(x[i] * (127.0f / largest)));
    }
    assert_true(finite ? q->scale == (zero ? 0.0f : largest / 127.0f) : isnan(q->scale));
    int32_t total = sum[0] + sum[1];
    assert_true(!finite || q->scaled_sum == q->scale * (float)total);
    assert_true(q->sum == total && q->off4 == -8 * total && q->off5 == -16 * total &&
                q->off8 == -128 * total);
    assert_true(q->off6[0] == -32 * sum[0] && q->off6[1] == -32 * sum[1]);
}

static void test_grid(void **state) {
    (void)state;
    enum { BLOCKS = 3, N_IN = BLOCKS * SPECP_BLOCK };
    support_rng r = support_rng_new(support_seed(), 7);
    unsigned masks[] = {0, SPECP_ISA_AVX2, SPECP_ISA_ALL};
    specp_kernels k[3];
    specp_acts a[3];
    for (size_t s = 0; s < 3; s++) {
        specp_kernels_init(&k[s], masks[s]);
        assert_int_equal(specp_acts_init(&a[s], N_IN, 2, NULL), 0);
    }
    for (uint32_t round = 0; round < 30000; round++) {
        for (size_t b = 0; b < BLOCKS; b++)
            fill_block(&r, a[0].x + N_IN + b * SPECP_BLOCK, round + (uint32_t)b);
        for (size_t s = 0; s < 3; s++) {
            memcpy(a[s].x + N_IN, a[0].x + N_IN, N_IN * sizeof(float));
            k[s].quantise(&a[s], 1);
            assert_memory_equal(a[s].q, a[0].q, 2 * a[0].ldq * sizeof(specp_qblock));
        }
        for (size_t b = 0; b < BLOCKS; b++)
            check_grid(a[0].x + N_IN + b * SPECP_BLOCK, a[0].q + a[0].ldq + b);
    }
    static const specp_qblock none;
    for (size_t b = 0; b < a[0].ldq; b++) { /* the other row, and what is past the columns */
        assert_memory_equal(&a[0].q[b], &none, sizeof none);
        assert_true(b < BLOCKS || !memcmp(&a[0].q[a[0].ldq + b], &none, sizeof none));
    }
    for (size_t s = 0; s < 3; s++) specp_acts_release(&a[s], NULL);
}

/* Ties go to even codes: x = code + 1/2 on a grid of scale 1. */
static void test_ties(void **state) {
    (void)state;
    specp_acts a;
    specp_kernels k;
    specp_kernels_init(&k, 0);
    assert_int_equal(specp_acts_init(&a, 32, 1, NULL), 0);
    for (int i = 0; i < 31; i++) a.x[i] = (float)(i - 15) + 0.5f;
    a.x[31] = -127.0f;
    k.quantise(&a, 0);
    for (int i = 0; i < 31; i++) {
        int low = i - 15;
        assert_int_equal(a.q->code[i], low % 2 == 0 ? low : low + 1);
    }
    assert_int_equal(a.q->code[31], -127);
    specp_acts_release(&a, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_floats_are_borrowed),
        cmocka_unit_test(test_repacked_is_what_was_there),
        cmocka_unit_test(test_repacking_is_repeatable),
        cmocka_unit_test(test_matrix_out_of_memory),
        cmocka_unit_test(test_large_matrix),
        cmocka_unit_test(test_single_rows),
        cmocka_unit_test(test_acts_storage),
        cmocka_unit_test(test_grid),
        cmocka_unit_test(test_ties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Products with quantised weights: the bits of the formula, the same for every
 * instruction set, batch size and split into panels; and near the exact product.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "oracle_quant.h"

/* ---- a case: a matrix, activations, and one kernel table per instruction set ---- */

#define MAX_ROWS 64

typedef struct world {
    spec_type type;
    size_t n_out, n_in;
    void *blocks;
    specp_matrix m;
    specp_acts a;
    float *y; /* (MAX_ROWS, n_out) */
} world;

static specp_team *team;
static specp_kernels sets[4];
static size_t n_sets;

/* Scalar first, then all that this processor has. */
static int setup(void **state) {
    (void)state;
    const unsigned masks[] = {0, SPECP_ISA_AVX2, SPECP_ISA_AVX2 | SPECP_ISA_AVX512, SPECP_ISA_ALL};
    unsigned have = specp_isa_detect();
    for (size_t i = 0; i < 4; i++) {
        if ((masks[i] & have) == masks[i] || masks[i] == SPECP_ISA_ALL) {
            specp_kernels_init(&sets[n_sets++], masks[i]);
        }
    }
    print_message("best: %s\n", sets[n_sets - 1].matmul_name[SPECP_FORM_W8]);
    return specp_team_new(&team, 2, NULL);
}

static int teardown(void **state) {
    (void)state;
    specp_team_free(team);
    return 0;
}

/* How activations are filled. */
enum { SMOOTH, EXTREME_PLUS, EXTREME_MINUS, EXTREME_MIXED, SPARSE, FILLS };

static float activation(support_rng *r, int how) {
    float x = (float)(support_rng_unit(r) * 2.0 - 1.0);
    switch (how) {
    case EXTREME_PLUS: return 3.0f;
    case EXTREME_MINUS: return -3.0f;
    case EXTREME_MIXED: return x < 0.0f ? -3.0f : 3.0f;
    case SPARSE: return support_rng_chance(r, 0.02) ? x * 1e4f : 0.0f;
    default: return x * x * x * 5.0f;
    }
}

static void fill_acts(support_rng *r, specp_acts *a, int how) {
    for (size_t row = 0; row < a->cap; row++) {
        for (size_t k = 0; k < a->n_in; k++) {
            a->x[row * a->n_in + k] = activation(r, how);
        }
        sets[0].quantise(a, row);
    }
}

static world make_world(support_rng *r, spec_type type, size_t n_out, size_t n_in, oracle_quant_fill fill,
                        int how) {
    world w = {.type = type, .n_out = n_out, .n_in = n_in};
    size_t bytes = oracle_quant_row_bytes(type, n_in);
    w.blocks = malloc(n_out * bytes);
    w.y = malloc(MAX_ROWS * n_out * sizeof *w.y);
    assert_true(w.blocks && w.y);
    oracle_quant_blocks(r, type, fill, w.blocks, n_out * bytes / spec_type_block_bytes(type));
    assert_int_equal(specp_matrix_init(&w.m, type, w.blocks, n_out, n_in, team, NULL), 0);
    assert_int_equal(specp_acts_init(&w.a, n_in, MAX_ROWS, NULL), 0);
    fill_acts(r, &w.a, how);
    return w;
}

static void free_world(world *w) {
    specp_matrix_release(&w->m, NULL);
    specp_acts_release(&w->a, NULL);
    free(w->blocks);
    free(w->y);
}

static size_t panels(const world *w) { return (w->n_out + SPECP_PANEL - 1) / SPECP_PANEL; }

static void multiply(const specp_kernels *k, world *w, size_t n_rows, float *y) {
    k->matmul[w->m.form](&w->m, &w->a, NULL, n_rows, y, w->n_out, 0, panels(w));
}

/* What every row has to be: into w->y. */
static void expect_rows(world *w, size_t n_rows) {
    size_t bytes = oracle_quant_row_bytes(w->type, w->n_in);
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t o = 0; o < w->n_out; o++) {
            const char *row = (const char *)w->blocks + o * bytes;
            w->y[r * w->n_out + o] = oracle_quant_output(w->type, row, w->a.q + r * w->a.ldq, w->n_in);
        }
    }
}

static void assert_same(const world *w, const specp_kernels *k, const float *y, size_t n_rows) {
    for (size_t i = 0; i < n_rows * w->n_out; i++) {
        if (memcmp(&y[i], &w->y[i], sizeof *y)) {
            fail_msg("%s %s: K=%zu n_out=%zu rows=%zu: row %zu output %zu is %.9g, not %.9g",
                     k->matmul_name[w->m.form], spec_type_name(w->type), w->n_in, w->n_out, n_rows,
                     i / w->n_out, i % w->n_out, (double)y[i], (double)w->y[i]);
        }
    }
}

/* ---- the bits of the formula --------------------------------------------- */

/* All sets for the given numbers of rows. */
static void check_world(world *w, const size_t *rows, size_t n) {
    float *y = malloc(MAX_ROWS * w->n_out * sizeof *y);
    assert_non_null(y);
    expect_rows(w, rows[n - 1]);
    for (size_t s = 0; s < n_sets; s++) {
        for (size_t i = 0; i < n; i++) {
            memset(y, 0xa5, MAX_ROWS * w->n_out * sizeof *y);
            multiply(&sets[s], w, rows[i], y);
            assert_same(w, &sets[s], y, rows[i]);
            for (size_t j = rows[i] * w->n_out; j < MAX_ROWS * w->n_out; j++) {
                assert_memory_equal(&y[j], "\xa5\xa5\xa5\xa5", 4); /* rows past the last are untouched */
            }
        }
    }
    free(y);
}

static void test_every_number_of_rows(void **state) {
    (void)state;
    size_t rows[MAX_ROWS];
    for (size_t i = 0; i < MAX_ROWS; i++) rows[i] = i + 1;
    support_rng r = support_rng_new(support_seed(), 1);
    for (size_t t = 0; t < ORACLE_QUANT_TYPES; t++) {
        world w = make_world(&r, oracle_quant_types[t], 33, 256, ORACLE_QUANT_RANDOM, SMOOTH);
        check_world(&w, rows, MAX_ROWS);
        free_world(&w);
    }
}

static void test_shapes(void **state) {
    (void)state;
    const size_t n_outs[] = {1, 15, 16, 17, 33, 64}, rows[] = {1, 2, 3, 5, 9, 16, 17};
    const size_t n_ins[] = {32, 64, 96, 160, 256, 288, 512, 768, 2048, 5632};
    support_rng r = support_rng_new(support_seed(), 2);
    for (size_t t = 0; t < ORACLE_QUANT_TYPES; t++) {
        for (size_t i = 0; i < sizeof n_ins / sizeof *n_ins; i++) {
            size_t n_out = n_outs[(i + t) % 6]; /* each with each n_in for some type */
            if (n_ins[i] % spec_type_block(oracle_quant_types[t]) == 0) {
                world w = make_world(&r, oracle_quant_types[t], n_out, n_ins[i], ORACLE_QUANT_RANDOM, SMOOTH);
                check_world(&w, rows, n_ins[i] > 1000 ? 4 : 7);
                free_world(&w);
            }
        }
    }
}

static void test_extremes(void **state) {
    (void)state;
    const size_t rows[] = {1, 2, 4, 6, 8, 12, 16};
    support_rng r = support_rng_new(support_seed(), 3);
    for (size_t t = 0; t < ORACLE_QUANT_TYPES; t++) {
        for (oracle_quant_fill fill = ORACLE_QUANT_RANDOM; fill < ORACLE_QUANT_FILLS; fill++) {
            for (int how = SMOOTH; how < FILLS; how++) {
                world w = make_world(&r, oracle_quant_types[t], 16, 512, fill, how);
                check_world(&w, rows, 7);
                free_world(&w);
            }
        }
    }
}

/* Activations as no grid makes them: -127..127 at random, beside scales of any size. */
static void test_random_codes(void **state) {
    (void)state;
    const size_t rows[] = {1, 7, 16};
    support_rng r = support_rng_new(support_seed(), 4);
    for (size_t t = 0; t < ORACLE_QUANT_TYPES; t++) {
        world w = make_world(&r, oracle_quant_types[t], 48, 512, ORACLE_QUANT_RANDOM, SMOOTH);
        for (size_t row = 0; row < MAX_ROWS; row++) {
            for (size_t k = 0; k < w.n_in; k++) {
                float big = support_rng_chance(&r, 0.3) ? 127.0f : (float)support_rng_below(&r, 128);
                float code = support_rng_chance(&r, 0.5) ? -big : big;
                w.a.x[row * w.n_in + k] = ldexpf(k % 32 ? code : 127.0f, (int)(row * k / 32 % 60) - 30);
            }
            sets[0].quantise(&w.a, row);
        }
        check_world(&w, rows, 3);
        free_world(&w);
    }
}

/* ---- splits and indexes -------------------------------------------------- */

static void test_panels_apart(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 5);
    for (size_t t = 0; t < ORACLE_QUANT_TYPES; t++) {
        world w = make_world(&r, oracle_quant_types[t], 75, 256, ORACLE_QUANT_RANDOM, SMOOTH);
        enum { ROWS = 19, LD = 80 };
        float *y = malloc(ROWS * LD * sizeof *y);
        assert_non_null(y);
        expect_rows(&w, ROWS);
        for (size_t s = 0; s < n_sets; s++) {
            memset(y, 0xa5, ROWS * LD * sizeof *y);
            for (size_t p = panels(&w); p > 0;) { /* backwards, one or two at a time */
                size_t from = p > 1 ? p - 1 - support_rng_below(&r, 2) : 0;
                sets[s].matmul[w.m.form](&w.m, &w.a, NULL, ROWS, y, LD, from, p);
                p = from;
            }
            for (size_t row = 0; row < ROWS; row++) {
                assert_memory_equal(y + row * LD, w.y + row * w.n_out, w.n_out * sizeof *y);
                for (size_t o = w.n_out; o < LD; o++) {
                    assert_memory_equal(&y[row * LD + o], "\xa5\xa5\xa5\xa5", 4);
                }
            }
        }
        free(y);
        free_world(&w);
    }
}

static void test_row_index(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 6);
    for (size_t t = 0; t < ORACLE_QUANT_TYPES; t++) {
        world w = make_world(&r, oracle_quant_types[t], 20, 256, ORACLE_QUANT_RANDOM, SMOOTH);
        expect_rows(&w, MAX_ROWS);
        uint32_t index[37];
        float y[37 * 20];
        for (size_t i = 0; i < 37; i++) index[i] = support_rng_below(&r, MAX_ROWS);
        for (size_t s = 0; s < n_sets; s++) {
            sets[s].matmul[w.m.form](&w.m, &w.a, index, 37, y, 20, 0, panels(&w));
            for (size_t i = 0; i < 37; i++) {
                assert_memory_equal(y + i * 20, w.y + index[i] * 20, 20 * sizeof *y);
            }
        }
        free_world(&w);
    }
}

/* More rows than one pass over the panels takes. */
static void test_many_rows(void **state) {
    (void)state;
    enum { ROWS = 300, N_OUT = 17, N_IN = 5632 };
    support_rng r = support_rng_new(support_seed(), 7);
    world w = make_world(&r, SPEC_TYPE_Q4_0, N_OUT, N_IN, ORACLE_QUANT_RANDOM, SMOOTH);
    uint32_t index[ROWS];
    float *y = malloc(ROWS * N_OUT * sizeof *y);
    assert_non_null(y);
    expect_rows(&w, MAX_ROWS);
    for (size_t i = 0; i < ROWS; i++) index[i] = support_rng_below(&r, MAX_ROWS);
    for (size_t s = 1; s < n_sets; s++) { /* all sets walk alike; scalar takes long */
        sets[s].matmul[w.m.form](&w.m, &w.a, index, ROWS, y, N_OUT, 0, panels(&w));
        for (size_t i = 0; i < ROWS; i++) {
            assert_memory_equal(y + i * N_OUT, w.y + index[i] * N_OUT, N_OUT * sizeof *y);
        }
    }
    free(y);
    free_world(&w);
}

/* ---- accuracy ------------------------------------------------------------ */

static void test_near_the_exact_product(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 8);
    for (size_t t = 0; t < ORACLE_QUANT_TYPES; t++) {
        world w = make_world(&r, oracle_quant_types[t], 40, 2048, ORACLE_QUANT_RANDOM, SMOOTH);
        size_t bytes = oracle_quant_row_bytes(w.type, w.n_in);
        multiply(&sets[n_sets - 1], &w, 4, w.y);
        for (size_t i = 0; i < 4 * w.n_out; i++) {
            const char *row = (const char *)w.blocks + i % w.n_out * bytes;
            double size, y = oracle_quant_exact(w.type, row, w.a.q + i / w.n_out * w.a.ldq, w.n_in, &size);
            /* a rounding of the sum so far for each block, and a few of its terms. With a
             * minimum the terms are sizes before they cancel: at most 64 times the result's. */
            double roundings = (double)w.n_in / 32 + 8, spread = w.m.form >= SPECP_FORM_W4K ? 8.0 : 1.0;
            assert_true(fabs((double)w.y[i] - y) <= roundings * 0x1p-24 * spread * size + 1e-30);
        }
        free_world(&w);
    }
}

/* ---- what is not finite -------------------------------------------------- */

static void test_nan_shows(void **state) {
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    support_rng r = support_rng_new(support_seed(), 9);
    for (size_t t = 0; t < ORACLE_QUANT_TYPES; t++) {
        world w = make_world(&r, oracle_quant_types[t], 16, 256, ORACLE_QUANT_RANDOM, SMOOTH);
        for (size_t s = 0; s < n_sets; s++) {
            expect_rows(&w, 4);
            for (size_t b = 0; b < 3; b++) {
                float *x = w.a.x + b * w.n_in + support_rng_below(&r, 256), kept = *x;
                *x = bad[b];
                sets[s].quantise(&w.a, b);
                *x = kept;
            }
            float y[4 * 16];
            multiply(&sets[s], &w, 4, y);
            for (size_t i = 0; i < 3 * 16; i++) assert_true(isnan(y[i]));
            assert_memory_equal(y + 3 * 16, w.y + 3 * 16, 16 * sizeof *y);
            for (size_t b = 0; b < 3; b++) sets[s].quantise(&w.a, b);
        }
        free_world(&w);
    }
}

/* Every form has a kernel of each set, named after both. */
static void test_names(void **state) {
    (void)state;
    static const char *const sets_names[] = {"scalar", "avx2", "avx512-vnni"};
    for (size_t s = 0; s < n_sets; s++) {
        for (specp_form f = SPECP_FORM_W8; f < SPECP_FORMS; f++) {
            unsigned isa = sets[s].matmul_isa[f];
            size_t name = isa & SPECP_ISA_VNNI ? 2 : isa & SPECP_ISA_AVX2 ? 1 : 0;
            assert_non_null(sets[s].matmul[f]);
            assert_int_equal(isa & ~sets[s].isa, 0);
            assert_non_null(strstr(sets[s].matmul_name[f], sets_names[name]));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_number_of_rows),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_random_codes),
        cmocka_unit_test(test_panels_apart),
        cmocka_unit_test(test_row_index),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_near_the_exact_product),
        cmocka_unit_test(test_nan_shows),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

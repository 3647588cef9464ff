/* SPDX-License-Identifier: MIT */
/* A target's features in a file: the same rows as halves, and no others. */
#include "target_world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train_features.h"

enum { SEQ = 24, TAPS = 2, DIM = 64, WINDOWS = 12, DATA = 4711 };
static const int32_t tap[TAPS] = {-2, 1};

static support_tmp tmp;
static char model[256], other_model[256], path[256];

static int set_up(void **state) {
    (void)state;
    tiny_model m = tiny_model_of("llama");
    support_tmp_make(&tmp);
    tiny_model_write(&m, support_tmp_path(&tmp, "m.gguf", model, sizeof model));
    m.seed = 2;
    tiny_model_write(&m, support_tmp_path(&tmp, "o.gguf", other_model, sizeof other_model));
    support_tmp_path(&tmp, "rows.safetensors", path, sizeof path);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    support_tmp_remove(&tmp);
    return 0;
}

/* ---- windows ------------------------------------------------------------- */

typedef struct world {
    spec_token text[WINDOWS][SEQ];
    size_t n[WINDOWS], first[WINDOWS];
    train_dump_source source;
} world;

static size_t give(void *user, size_t i, const spec_token **tokens, size_t *first) {
    const world *w = user;
    *tokens = w->text[i];
    *first = w->first[i];
    return w->n[i];
}

static void make_world(world *w, uint64_t stream) {
    support_rng r = support_rng_new(support_seed(), stream);
    for (size_t i = 0; i < WINDOWS; i++) {
        w->n[i] = i ? 1 + support_rng_below(&r, SEQ) : SEQ;
        w->first[i] = support_rng_below(&r, (uint32_t)w->n[i]);
        target_text(&r, w->text[i], SEQ, 128);
    }
    w->source = (train_dump_source){
        .n = WINDOWS, .window = give, .user = w, .data = DATA, .limit = (uint64_t)1 << 30};
}

static train_features *features_of(spec_target *t, size_t n_taps, const int32_t *taps,
                                   const spec_allocator *alloc) {
    const train_features_options o = {SEQ, n_taps, taps};
    train_features *f = NULL;
    spec_message why = {""};
    if (train_features_new(&f, t, &o, alloc, &why)) fail_msg("%s", why.text);
    return f;
}

typedef struct rows {
    float taps[SEQ * TAPS * DIM], hidden[SEQ * DIM];
} rows;

static void run(train_features *f, const world *w, size_t i, size_t first, rows *out) {
    assert_int_equal(train_features_run(f, w->text[i], w->n[i], first, out->taps, out->hidden, NULL),
                     SPEC_OK);
}

/* Whether n numbers are those of `exact` as halves (or with `exactly` themselves). */
static bool equal(const float *got, const float *exact, size_t n, bool exactly) {
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        float rounded = exact[i];
        if (!exactly) {
            (void)spec_type_from_float(SPEC_TYPE_F16, exact + i, &half, 1);
            (void)spec_type_to_float(SPEC_TYPE_F16, &half, &rounded, 1);
        }
        if (memcmp(got + i, &rounded, sizeof rounded) != 0) return false;
    }
    return true;
}

static bool same_rows(const rows *got, const rows *exact, size_t n, bool exactly) {
    return equal(got->taps, exact->taps, n * TAPS * DIM, exactly) &&
           equal(got->hidden, exact->hidden, n * DIM, exactly);
}

/* ---- round trip ---------------------------------------------------------- */

static void test_rows(void **state) {
    (void)state;
    world w, other;
    rows got, exact;
    make_world(&w, 1);
    make_world(&other, 2);
    spec_target *t = target_open(model, 2, SPEC_TYPE_F16, NULL);
    train_features *f = features_of(t, TAPS, tap, NULL), *plain = features_of(t, TAPS, tap, NULL);
    spec_message why = {""};
    if (train_features_dump(plain, path, &w.source, &why)) fail_msg("%s", why.text);
    if (train_features_use(f, path, DATA, &why)) fail_msg("%s", why.text);
    for (size_t i = WINDOWS; i-- > 0;) {
        run(f, &w, i, w.first[i], &got);
        run(plain, &w, i, w.first[i], &exact);
        assert_true(same_rows(&got, &exact, w.n[i] - w.first[i], false));
        /* what is not there is computed */
        size_t apart = w.first[i] ? w.first[i] - 1 : w.n[i] - 1;
        if (apart == w.first[i]) continue;
        run(f, &w, i, apart, &got);
        run(plain, &w, i, apart, &exact);
        assert_true(same_rows(&got, &exact, w.n[i] - apart, true));
        run(f, &other, i, other.first[i], &got);
        run(plain, &other, i, other.first[i], &exact);
        assert_true(same_rows(&got, &exact, other.n[i] - other.first[i], true));
    }
    assert_int_equal(train_features_use(f, path, DATA, NULL), SPEC_OK); /* again: the new one replaces it */
    train_features_free(f);
    train_features_free(plain);
    spec_target_free(t);
}

/* Windows are written until one does not fit. */
static void test_limit(void **state) {
    (void)state;
    world w;
    rows got, exact;
    make_world(&w, 3);
    spec_target *t = target_open(model, 1, SPEC_TYPE_F16, NULL);
    train_features *plain = features_of(t, TAPS, tap, NULL);
    for (size_t fit = 1; fit <= WINDOWS; fit += 3) {
        train_features *f = features_of(t, TAPS, tap, NULL);
        w.source.limit = 0;
        for (size_t i = 0; i < fit; i++) w.source.limit += (w.n[i] - w.first[i]) * (TAPS + 1) * DIM * 2;
        assert_int_equal(train_features_dump(plain, path, &w.source, NULL), SPEC_OK);
        assert_int_equal(train_features_use(f, path, DATA, NULL), SPEC_OK);
        for (size_t i = 0; i < WINDOWS; i++) {
            run(f, &w, i, w.first[i], &got);
            run(plain, &w, i, w.first[i], &exact);
            assert_true(same_rows(&got, &exact, w.n[i] - w.first[i], i >= fit));
        }
        train_features_free(f);
    }
    w.source.limit = (w.n[0] - w.first[0]) * (TAPS + 1) * DIM * 2 - 1;
    spec_message why = {""};
    assert_int_equal(train_features_dump(plain, path, &w.source, &why), SPEC_ERR_INVALID);
    assert_non_null(strstr(why.text, "there is no window of at most "));
    train_features_free(plain);
    spec_target_free(t);
}

/* ---- refused -------------------------------------------------------------- */

static void expect(train_features *f, const char *file, uint64_t data, int err, const char *what) {
    spec_message why = {""};
    assert_int_equal(train_features_use(f, file, data, &why), err);
    if (!strstr(why.text, what) || !strstr(why.text, file)) fail_msg("%s", why.text);
}

static void test_foreign(void **state) {
    (void)state;
    static const int32_t later[TAPS] = {-2, 0};
    world w;
    make_world(&w, 4);
    spec_target *t = target_open(model, 1, SPEC_TYPE_F16, NULL),
                *o = target_open(other_model, 1, SPEC_TYPE_F16, NULL);
    train_features *f = features_of(t, TAPS, tap, NULL), *of_other = features_of(o, TAPS, tap, NULL),
                   *of_later = features_of(t, TAPS, later, NULL), *of_one = features_of(t, 1, tap, NULL);
    assert_int_equal(train_features_dump(f, path, &w.source, NULL), SPEC_OK);
    expect(of_other, path, DATA, SPEC_ERR_INVALID, "made with another target");
    expect(of_later, path, DATA, SPEC_ERR_INVALID, "made of other layers");
    expect(of_one, path, DATA, SPEC_ERR_INVALID, "made of other layers");
    expect(f, path, DATA + 1, SPEC_ERR_INVALID, "made of other requests");
    expect(f, model, DATA, SPEC_ERR_CORRUPT, "no file of features");
    char none[256];
    expect(f, support_tmp_path(&tmp, "none", none, sizeof none), DATA, SPEC_ERR_NOT_FOUND, "");
    assert_int_equal(train_features_use(f, path, DATA, NULL), SPEC_OK);
    train_features_free(f);
    train_features_free(of_other);
    train_features_free(of_later);
    train_features_free(of_one);
    spec_target_free(t);
    spec_target_free(o);
}

/* No byte can change unseen, and no byte be missing. */
static void test_damaged(void **state) {
    (void)state;
    world w;
    size_t n;
    char cut[256];
    support_rng r = support_rng_new(support_seed(), 5);
    make_world(&w, 5);
    w.source.n = 3;
    spec_target *t = target_open(model, 1, SPEC_TYPE_F16, NULL);
    train_features *f = features_of(t, TAPS, tap, NULL);
    assert_int_equal(train_features_dump(f, path, &w.source, NULL), SPEC_OK);
    char *whole = support_read_file(path, &n);
    support_tmp_path(&tmp, "cut.safetensors", cut, sizeof cut);
    for (int i = 0; i < 300; i++) {
        size_t at = i < 40 ? n - 1 - (size_t)i : support_rng_below(&r, (uint32_t)n);
        char bit = (char)(1 << support_rng_below(&r, 8));
        whole[at] ^= bit;
        support_write_file(cut, whole, n);
        int err = train_features_use(f, cut, DATA, NULL);
        if (err == SPEC_OK) fail_msg("byte %zu of %zu, bit %d: not seen", at, n, bit);
        whole[at] ^= bit;
        if (i % 10) continue;
        support_write_file(cut, whole, at);
        assert_int_not_equal(train_features_use(f, cut, DATA, NULL), SPEC_OK);
    }
    free(whole);
    train_features_free(f);
    spec_target_free(t);
}

/* ---- memory ---------------------------------------------------------------- */

static void test_memory(void **state) {
    (void)state;
    world w;
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator alloc = support_alloc(&heap);
    make_world(&w, 6);
    spec_target *t = target_open(model, 1, SPEC_TYPE_F16, NULL);
    size_t refused = 0;
    for (size_t k = 0;; k++) {
        train_features *f = features_of(t, TAPS, tap, &alloc);
        support_heap_refuse(&heap, k, false);
        int err = train_features_dump(f, path, &w.source, NULL);
        if (!err) err = train_features_use(f, path, DATA, NULL);
        assert_int_equal(err, heap.refused ? SPEC_ERR_NOMEM : SPEC_OK);
        refused += heap.refused;
        train_features_free(f);
        support_heap_assert_clean(&heap);
        if (!err) break;
        support_heap_refuse(&heap, SIZE_MAX, false);
    }
    assert_true(refused >= 5);
    spec_target_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),    cmocka_unit_test(test_limit),  cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_damaged), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

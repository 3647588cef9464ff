/* SPDX-License-Identifier: MIT */
/* Checkpoints of training: every bit comes back, and what is damaged or of another run is refused. */
#include "support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "train_checkpoint.h"

enum { SETTINGS = 2 };

typedef struct fixture {
    support_tmp tmp;
    char path[256];
    support_heap heap;
    spec_allocator alloc;
} fixture;

/* A run's state, and the checkpoint that points into it. */
typedef struct run {
    train_params params;
    train_state state;
    float *best;
    train_setting setting[SETTINGS];
    train_checkpoint c;
} run;

static int set_up(void **state) {
    fixture *x = calloc(1, sizeof *x);
    assert_non_null(x);
    support_tmp_make(&x->tmp);
    support_tmp_path(&x->tmp, "run.checkpoint", x->path, sizeof x->path);
    support_heap_init(&x->heap);
    x->alloc = support_alloc(&x->heap);
    *state = x;
    return 0;
}

static int tear_down(void **state) {
    fixture *x = *state;
    support_heap_assert_clean(&x->heap);
    support_tmp_remove(&x->tmp);
    free(x);
    return 0;
}

static run make_run(size_t rows) {
    run r = {.setting = {{"lr", "0.001"}, {"data", "12345"}}};
    assert_int_equal(train_params_init(&r.params, 3, NULL), SPEC_OK);
    train_params_add(&r.params, "model.embed_tokens.weight", rows, 6);
    train_params_add(&r.params, "model.norm.weight", 0, 7);
    train_params_add(&r.params, "lm_head.weight", 3, 5);
    assert_int_equal(train_params_alloc(&r.params), SPEC_OK);
    r.best = calloc(r.params.n, sizeof *r.best);
    assert_non_null(r.best);
    return r;
}

static train_checkpoint *checkpoint(run *r) {
    r->c = (train_checkpoint){.params = &r->params,
                              .state = &r->state,
                              .best = r->best,
                              .setting = r->setting,
                              .n_settings = SETTINGS,
                              .under_way = r->c.under_way};
    return &r->c;
}

static void fill(run *r, uint64_t seed, bool under_way, bool best) {
    support_rng g = support_rng_new(seed, 1);
    float *array[] = {r->params.value, r->params.m, r->params.v, r->params.grad, r->best};
    for (size_t a = 0; a < 5; a++)
        for (size_t i = 0; i < r->params.n; i++) array[a][i] = (float)(support_rng_unit(&g) - 0.5);
    if (!under_way) memset(r->params.grad, 0, r->params.n * sizeof(float));
    if (!best) memset(r->best, 0, r->params.n * sizeof(float));
    r->c.under_way = under_way;
    r->state = (train_state){
        .steps = 17, .batches = 17 * 3 + under_way, .tokens = UINT64_C(1) << 40, .best_loss = 1.0 / 3};
    r->state.best_step = best ? 12 : 0;
    for (size_t i = 0; i < TRAIN_MEASURES; i++) {
        r->state.measured.sum[i] = support_rng_unit(&g);
        r->state.measured.weight[i] = (double)i;
    }
}

static void release(run *r) {
    train_params_release(&r->params);
    free(r->best);
}

static void assert_same(const run *a, const run *b) {
    size_t bytes = a->params.n * sizeof(float);
    assert_memory_equal(a->params.value, b->params.value, bytes);
    assert_memory_equal(a->params.m, b->params.m, bytes);
    assert_memory_equal(a->params.v, b->params.v, bytes);
    assert_memory_equal(a->params.grad, b->params.grad, bytes);
    assert_memory_equal(a->best, b->best, bytes);
    assert_memory_equal(&a->state, &b->state, sizeof a->state);
    assert_int_equal(a->c.under_way, b->c.under_way);
}

static void must_write(const fixture *x, run *r) {
    spec_message why = {""};
    if (train_checkpoint_write(x->path, checkpoint(r), &x->alloc, &why)) fail_msg("%s", why.text);
}

/* Into a run of other values, which a refusal must leave as they were. */
static void expect(const fixture *x, run *r, int err, const char *message) {
    spec_message why = {""};
    run before = make_run(r->params.view[0].rows);
    fill(r, 99, true, true);
    fill(&before, 99, true, true);
    assert_int_equal(train_checkpoint_read(x->path, checkpoint(r), &x->alloc, &why), err);
    if (!strstr(why.text, message)) fail_msg("\"%s\" has no \"%s\"", why.text, message);
    if (err) assert_same(r, &before);
    release(&before);
}

static void test_round_trip(void **state) {
    fixture *x = *state;
    for (unsigned kind = 0; kind < 4; kind++) {
        run a = make_run(4), b = make_run(4);
        fill(&a, 3 + kind, kind & 1, kind & 2);
        must_write(x, &a);
        expect(x, &b, SPEC_OK, "");
        if (!(kind & 2)) memset(b.best, 0, b.params.n * sizeof *b.best); /* what it had */
        assert_same(&a, &b);
        release(&a);
        release(&b);
    }
}

/* A checkpoint is a file of weights too. */
static void test_weights(void **state) {
    fixture *x = *state;
    spec_tensors *f;
    run a = make_run(4), b = make_run(4);
    fill(&a, 1, true, true);
    must_write(x, &a);
    assert_int_equal(spec_tensors_open(&f, x->path, NULL, NULL), SPEC_OK);
    assert_int_equal(train_params_load(&b.params, f, "", NULL), SPEC_OK);
    assert_memory_equal(a.params.value, b.params.value, a.params.n * sizeof(float));
    spec_tensors_free(f);
    release(&a);
    release(&b);
}

static void test_foreign(void **state) {
    fixture *x = *state;
    run a = make_run(4), b = make_run(4), wide = make_run(5);
    fill(&a, 1, false, true);
    expect(x, &b, SPEC_ERR_NOT_FOUND, x->path);
    must_write(x, &a);
    strcpy(b.setting[0].value, "0.002");
    expect(x, &b, SPEC_ERR_INVALID, "lr is 0.001 there, and 0.002 now");
    strcpy(b.setting[0].value, "0.001");
    b.setting[1].name = "dates";
    expect(x, &b, SPEC_ERR_INVALID, "dates is missing there, and 12345 now");
    expect(x, &wide, SPEC_ERR_INVALID, "model.embed_tokens.weight is of another shape or type, expected F32");
    snprintf(wide.params.view[0].name, sizeof wide.params.view[0].name, "other");
    expect(x, &wide, SPEC_ERR_INVALID, "other is missing");
    support_write_file(x->path, "hello", 5);
    expect(x, &a, SPEC_ERR_CORRUPT, x->path);
    release(&a);
    release(&b);
    release(&wide);
}

/* A file of tensors that is no checkpoint. */
static void test_other_file(void **state) {
    fixture *x = *state;
    run a = make_run(4);
    for (int kind = 0; kind < 3; kind++) {
        spec_writer *w;
        const float zero = 0.0f;
        assert_int_equal(spec_writer_new(&w, x->path, SPEC_FORMAT_SAFETENSORS, NULL, NULL), SPEC_OK);
        if (kind)
            assert_int_equal(spec_writer_meta_string(w, "train", "checkpoint v1", kind == 1 ? 13 : 0),
                             SPEC_OK);
        if (kind == 1) assert_int_equal(spec_writer_meta_string(w, "setting.lr", "0.001", 5), SPEC_OK);
        if (kind == 1) assert_int_equal(spec_writer_meta_string(w, "setting.data", "12345", 5), SPEC_OK);
        assert_int_equal(spec_writer_tensor(w, "x", SPEC_TYPE_F32, 1, (uint64_t[]){1}), SPEC_OK);
        assert_int_equal(spec_writer_data(w, &zero, sizeof zero), SPEC_OK);
        assert_int_equal(spec_writer_finish(w, NULL), SPEC_OK);
        expect(x, &a, SPEC_ERR_CORRUPT, "no checkpoint of training");
    }
    release(&a);
}

static char *find_word(char *bytes, size_t n, const char *word) {
    size_t i = 0;
    while (i + strlen(word) <= n && memcmp(bytes + i, word, strlen(word)) != 0) i++;
    assert_true(i + strlen(word) <= n);
    return bytes + i;
}

/* A single bit that is turned over is seen, wherever it is, and every cut. */
static void test_damaged(void **state) {
    fixture *x = *state;
    run a = make_run(4), b = make_run(4);
    size_t n;
    spec_message why;
    fill(&a, 1, true, true);
    must_write(x, &a);
    char *bytes = support_read_file(x->path, &n);
    support_rng r = support_rng_new(support_seed(), 1);
    fill(&b, 99, true, true);
    for (size_t i = 0; i < n; i += 1 + support_rng_below(&r, 8)) {
        char bit = (char)(1 << support_rng_below(&r, 8));
        bytes[i] ^= bit;
        support_write_file(x->path, bytes, n);
        bytes[i] ^= bit;
        int err = train_checkpoint_read(x->path, checkpoint(&b), &x->alloc, &why);
        /* other blanks between the header's words are no damage */
        if (!err && bytes[i] != ' ') fail_msg("byte %zu of %zu, bit %d: not seen", i, n, bit);
        if (err && !strstr(why.text, x->path)) fail_msg("byte %zu: \"%s\"", i, why.text);
    }
    bytes[n - 65] ^= (char)0x80; /* the highest bits of two words, which must not make up for each other */
    bytes[n - 73] ^= (char)0x80;
    support_write_file(x->path, bytes, n);
    expect(x, &b, SPEC_ERR_CORRUPT, "damaged: the checksum is ");
    bytes[n - 65] ^= (char)0x80;
    bytes[n - 73] ^= (char)0x80;
    char *type = find_word(bytes, n, "F32");
    *type = 'I';
    support_write_file(x->path, bytes, n);
    expect(x, &b, SPEC_ERR_INVALID, "of another shape or type");
    *type = 'F';
    for (size_t cut = 0; cut < n; cut += 1 + support_rng_below(&r, 40)) {
        support_write_file(x->path, bytes, cut);
        assert_true(train_checkpoint_read(x->path, checkpoint(&b), &x->alloc, NULL) < 0);
    }
    support_write_file(x->path, bytes, n);
    expect(x, &b, SPEC_OK, "");
    assert_same(&a, &b);
    free(bytes);
    release(&a);
    release(&b);
}

/* The disk is full: here a limit on the size of files. The old checkpoint stays. */
static void test_full_disk(void **state) {
    fixture *x = *state;
    run a = make_run(8000), b = make_run(8000);
    struct rlimit old, small;
    spec_message why = {""};
    fill(&a, 1, false, true);
    must_write(x, &a);
    fill(&b, 2, false, true);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){9000, old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int err = train_checkpoint_write(x->path, checkpoint(&b), &x->alloc, &why);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(err, SPEC_ERR_IO);
    assert_non_null(strstr(why.text, "run.checkpoint: writing: "));
    expect(x, &b, SPEC_OK, "");
    assert_same(&a, &b);
    release(&a);
    release(&b);
}

static void test_no_memory(void **state) {
    fixture *x = *state;
    run a = make_run(4), b = make_run(4);
    size_t refusals = 0;
    fill(&a, 1, true, true);
    must_write(x, &a);
    for (size_t k = 0, done = 0; done < 2; k++) {
        spec_message why = {""};
        run c = make_run(4);
        fill(&c, 5, false, false);
        support_heap_refuse(&x->heap, k, false);
        int err = train_checkpoint_write(x->path, checkpoint(&c), &x->alloc, &why);
        refusals += x->heap.refused;
        done = !err;
        if (err) assert_int_equal(err, SPEC_ERR_NOMEM);
        if (err) assert_true(why.text[0] != '\0');
        support_heap_refuse(&x->heap, k, false);
        fill(&b, 99, true, true);
        err = train_checkpoint_read(x->path, checkpoint(&b), &x->alloc, &why);
        refusals += x->heap.refused;
        done += !err;
        if (err) assert_int_equal(err, SPEC_ERR_NOMEM);
        support_heap_refuse(&x->heap, SIZE_MAX, false);
        if (done == 0) { /* the old one is still there */
            expect(x, &b, SPEC_OK, "");
            assert_same(&a, &b);
        }
        release(&c);
    }
    assert_true(refusals > 10);
    release(&a);
    release(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip), TEST(test_weights),   TEST(test_foreign),   TEST(test_other_file),
        TEST(test_damaged),    TEST(test_full_disk), TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

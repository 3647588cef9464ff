/* SPDX-License-Identifier: MIT */
/*
 * Snapshots: what is loaded is what was saved and lives on as before, and a save
 * that fails or dies at any moment leaves the old file. What is refused is in
 * test_snapshot_refused.c, refused memory in test_index_memory.c, saving beside
 * readers in test_index_threads.c.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "snapshot_sample.h"
#include "spec_index.h"

/* ---- round trips ------------------------------------------------------- */

static void assert_same(const oracle *truth, const spec_index *x) {
    spec_message why = {{0}};
    if (spec_index_check(x, &why)) fail_msg("check: %s", why.text);
    if (!oracle_compare(truth, x, &why)) fail_msg("%s", why.text);
}

static void test_round_trip(void **test) {
    (void)test;
    static const uint32_t depths[] = {1, 2, 8, 64};
    support_rng rng = support_rng_new(support_seed(), 51);
    saving_place p;
    place_make(&p);
    for (size_t i = 0; i < 12; i++) {
        world w;
        sample_open(&w, p.path, depths[i % 4]);
        sample_grow(&w, &rng, i, 20 + 10 * i);
        sample_save(w.index, p.path);
        for (int trust = 0; trust < 2; trust++) {
            spec_index *x = sample_load(p.path, trust);
            assert_same(&w.truth, x);
            spec_index_free(x);
        }
        world_close(&w);
    }
    place_remove(&p);
}

static void test_empty_round_trip(void **test) {
    (void)test;
    saving_place p;
    world w;
    place_make(&p);
    sample_open(&w, p.path, 16);
    if (!world_reload(&w) || !world_check_all(&w)) fail_msg("%s", w.why.text);
    assert_true(world_begin(&w, NULL) && world_begin(&w, NULL));
    if (!world_reload(&w) || !world_check_all(&w)) fail_msg("%s", w.why.text);
    assert_true(world_remove(&w, w.truth.seq[0].id));
    if (!world_reload(&w) || !world_check_all(&w)) fail_msg("%s", w.why.text);
    world_close(&w);
    place_remove(&p);
}

static void test_stats_survive(void **test) {
    (void)test;
    support_rng rng = support_rng_new(support_seed(), 52);
    spec_index_stats a, b;
    saving_place p;
    spec_index *x = NULL, *y;
    spec_token tok[200];
    spec_seq s;
    place_make(&p);
    spec_index_options o = {.size = sizeof o, .depth = 12, .tokenizer_id = 0xfeedface12345678u};
    assert_int_equal(spec_index_new(&x, &o), SPEC_OK);
    for (size_t i = 0; i < 200; i++) tok[i] = (spec_token)support_rng_below(&rng, 9);
    assert_int_equal(spec_index_begin(x, &s), SPEC_OK);
    assert_int_equal(spec_index_append(x, s, tok, 200), SPEC_OK);
    assert_int_equal(spec_index_truncate(x, s, 50), SPEC_OK);
    sample_save(x, p.path);
    y = sample_load(p.path, 0);
    assert_int_equal(spec_index_get_stats(x, &a), SPEC_OK);
    assert_int_equal(spec_index_get_stats(y, &b), SPEC_OK);
    assert_true(a.tokens == b.tokens && a.tokens_total == b.tokens_total && a.sequences == b.sequences);
    assert_true(a.states == b.states && a.singles == b.singles && a.edges == b.edges);
    assert_true(a.depth == b.depth && a.tokenizer_id == b.tokenizer_id);
    spec_index_free(x);
    spec_index_free(y);
    place_remove(&p);
}

/* The order of equal counts too is what it was. */
static void test_child_order_survives(void **test) {
    (void)test;
    saving_place p;
    world w;
    spec_child a[64], b[64];
    support_rng rng = support_rng_new(support_seed(), 53);
    place_make(&p);
    sample_open(&w, p.path, 8);
    sample_grow(&w, &rng, 6, 120);
    sample_save(w.index, p.path);
    spec_index *x = sample_load(p.path, 0);
    size_t n = spec_index_children(w.index, spec_index_root(w.index), 0, 64, a);
    assert_int_equal(spec_index_children(x, spec_index_root(x), 0, 64, b), n);
    for (size_t i = 0; i < n; i++) assert_int_equal(a[i].token, b[i].token);
    spec_index_free(x);
    world_close(&w);
    place_remove(&p);
}

/* Loaded, grown and cut, saved over the file that it is mapped from, and again. */
static void test_generations(void **test) {
    (void)test;
    support_rng rng = support_rng_new(support_seed(), 54);
    saving_place p;
    world w;
    place_make(&p);
    sample_open(&w, p.path, 8);
    for (size_t i = 0; i < 8; i++) {
        sample_grow(&w, &rng, 3, 50);
        while (w.truth.n > 6) assert_true(world_remove(&w, w.truth.seq[i % 2].id));
        if (!world_check_all(&w)) fail_msg("before: %s", w.why.text);
        if (!world_reload(&w)) fail_msg("%s", w.why.text);
        if (!world_check_all(&w)) fail_msg("after: %s", w.why.text);
        sample_save(w.index, p.path); /* the mapped file goes on living without its name */
        sample_grow(&w, &rng, 1, 30);
        if (!world_check_all(&w)) fail_msg("replaced: %s", w.why.text);
    }
    assert_int_equal(place_files(&p), 1);
    world_close(&w);
    place_remove(&p);
}

/* Two indexes from one file go their own ways, and the file stays as it is. */
static void test_file_is_never_written(void **test) {
    (void)test;
    support_rng rng = support_rng_new(support_seed(), 55);
    saving_place p;
    world w;
    size_t n_before, n_after;
    place_make(&p);
    sample_open(&w, p.path, 8);
    sample_grow(&w, &rng, 5, 100);
    sample_save(w.index, p.path);
    char *before = support_read_file(p.path, &n_before);
    spec_index *other = sample_load(p.path, 0), *first = sample_load(p.path, 1);
    for (size_t i = 0; i < w.truth.n; i++)
        assert_int_equal(spec_index_remove(first, w.truth.seq[i].id), SPEC_OK);
    assert_int_equal(spec_index_check(first, NULL), SPEC_OK);
    assert_same(&w.truth, other);
    spec_index_free(first);
    assert_same(&w.truth, other);
    spec_index_free(other);
    char *after = support_read_file(p.path, &n_after);
    assert_true(n_before == n_after && memcmp(before, after, n_before) == 0);
    free(before);
    free(after);
    world_close(&w);
    place_remove(&p);
}

static void test_saves_are_equal(void **test) {
    (void)test;
    support_rng rng = support_rng_new(support_seed(), 56);
    saving_place p;
    world w;
    size_t n_first, n_second;
    place_make(&p);
    sample_open(&w, p.path, 8);
    sample_grow(&w, &rng, 7, 80);
    sample_save(w.index, p.path);
    char *first = support_read_file(p.path, &n_first);
    spec_index *x = sample_load(p.path, 0);
    sample_save(x, p.path); /* of a loaded index, too */
    char *second = support_read_file(p.path, &n_second);
    assert_true(n_first == n_second && memcmp(first, second, n_first) == 0);
    free(first);
    free(second);
    spec_index_free(x);
    world_close(&w);
    place_remove(&p);
}

static void test_limit_after_load(void **test) {
    (void)test;
    support_rng rng = support_rng_new(support_seed(), 57);
    saving_place p;
    world w;
    spec_token tok[40];
    place_make(&p);
    sample_open(&w, p.path, 8);
    sample_grow(&w, &rng, 12, 300);
    w.options.memory_limit = 40000;
    if (!world_reload(&w)) fail_msg("%s", w.why.text);
    for (size_t i = 0; i < 60; i++) {
        spec_seq s;
        for (size_t k = 0; k < 40; k++) tok[k] = (spec_token)support_rng_below(&rng, 60);
        if (!world_begin(&w, &s) || !world_append(&w, s, tok, 40)) fail_msg("%s", w.why.text);
    }
    if (!world_check_all(&w)) fail_msg("%s", w.why.text);
    assert_true(w.evicted > 5);
    world_close(&w);
    place_remove(&p);
}

/* A sequence that is used after loading is not the first to go. */
static void test_lru_after_load(void **test) {
    (void)test;
    saving_place p;
    spec_seq s[4], left = 0;
    spec_index *x = NULL;
    place_make(&p);
    assert_int_equal(spec_index_new(&x, NULL), SPEC_OK); /* FIFO when saved */
    for (spec_token i = 0; i < 4; i++) {
        spec_token tok[3] = {10 * i, 10 * i + 1, 10 * i + 2};
        assert_int_equal(spec_index_begin(x, &s[i]), SPEC_OK);
        assert_int_equal(spec_index_append(x, s[i], tok, 3), SPEC_OK);
    }
    sample_save(x, p.path);
    spec_index_free(x);
    spec_index_load_options o = {.size = sizeof o, .evict = SPEC_EVICT_LRU};
    assert_int_equal(spec_index_load(&x, p.path, &o, NULL), SPEC_OK);
    spec_token two = 20;
    spec_index_touch(x, spec_index_find(x, &two, 1));
    assert_int_equal(spec_index_evict(x, 3), SPEC_OK);
    assert_int_equal(spec_index_next_seq(x, 0, &left), SPEC_OK);
    assert_true(left == s[2]);
    assert_int_equal(spec_index_check(x, NULL), SPEC_OK);
    spec_index_free(x);
    place_remove(&p);
}

/* Sequences get no stamps while an index evicts by age: they must not look the
 * least recently used once it evicts by use again. */
static void test_lru_after_fifo(void **test) {
    (void)test;
    saving_place p;
    spec_seq s[3], left = 0;
    spec_index *x = NULL;
    place_make(&p);
    spec_index_options make = {.size = sizeof make, .evict = SPEC_EVICT_LRU};
    spec_index_load_options load = {.size = sizeof load};
    assert_int_equal(spec_index_new(&x, &make), SPEC_OK);
    for (spec_token i = 0; i < 3; i++) {
        spec_token tok[3] = {10 * i, 10 * i + 1, 10 * i + 2};
        assert_int_equal(spec_index_begin(x, &s[i]), SPEC_OK);
        assert_int_equal(spec_index_append(x, s[i], tok, 3), SPEC_OK);
        if (i == 0) continue;
        sample_save(x, p.path);
        spec_index_free(x);
        load.evict = i == 1 ? SPEC_EVICT_FIFO : SPEC_EVICT_LRU;
        assert_int_equal(spec_index_load(&x, p.path, &load, NULL), SPEC_OK);
        assert_int_equal(spec_index_check(x, NULL), SPEC_OK);
    }
    assert_int_equal(spec_index_evict(x, 3), SPEC_OK);
    assert_int_equal(spec_index_next_seq(x, 0, &left), SPEC_OK);
    assert_true(left == s[2]);
    spec_index_free(x);
    place_remove(&p);
}

/* ---- failing to save ---------------------------------------------------- */

static void test_save_nowhere(void **test) {
    (void)test;
    saving_place p;
    char path[512];
    spec_index *x = NULL;
    spec_message why = {{0}};
    place_make(&p);
    assert_int_equal(spec_index_new(&x, NULL), SPEC_OK);
    snprintf(path, sizeof path, "%s/no/such/index", p.tmp.path);
    assert_int_equal(spec_index_save(x, path, &why), SPEC_ERR_IO);
    assert_non_null(strstr(why.text, path));
    assert_int_equal(errno, ENOENT);
    why.text[0] = 0;
    assert_int_equal(spec_index_save(x, p.tmp.path, &why), SPEC_ERR_IO); /* a directory in its place */
    assert_int_equal(errno, EISDIR);
    assert_non_null(strstr(why.text, p.tmp.path));
    assert_int_equal(place_files(&p), 0);
    spec_index_free(x);
    place_remove(&p);
}

/* The system refuses to write on at every size: the old file stays, whole, and no
 * other is left behind. */
static void test_save_cut_short(void **test) {
    (void)test;
    sample s;
    size_t n;
    struct rlimit old, limit;
    support_rng rng = support_rng_new(support_seed(), 59);
    sample_make(&s);
    sample_grow(&s.w, &rng, 3, 200);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (rlim_t size = 0; size < 40000; size += 3000) {
        spec_message why = {{0}};
        limit = (struct rlimit){size, old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        int err = spec_index_save(s.w.index, s.p.path, &why);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(err, SPEC_ERR_IO);
        assert_non_null(strstr(why.text, s.p.path));
        assert_int_equal(place_files(&s.p), 1);
    }
    signal(SIGXFSZ, handler);
    char *now = support_read_file(s.p.path, &n);
    assert_true(n == s.n && memcmp(now, s.data, n) == 0);
    free(now);
    sample_save(s.w.index, s.p.path);
    sample_free(&s);
}

/* ---- killed while saving ------------------------------------------------ */

/* Saves one and the other, each with what is its own, again and again, until it is killed. */
static _Noreturn void save_for_ever(const spec_index *a, const spec_index *b, const char *path) {
    for (;;)
        if (spec_index_save_with(a, path, "a", 1, NULL) || spec_index_save_with(b, path, "b", 1, NULL))
            _exit(1);
}

static void sleep_us(uint32_t us) {
    struct timespec t = {.tv_nsec = (long)us * 1000};
    nanosleep(&t, NULL);
}

/* Kills a saving child after a while; true when it left an unfinished file. */
static bool kill_once(const world *a, const world *b, const saving_place *p, uint32_t us) {
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) save_for_ever(a->index, b->index, p->path);
    sleep_us(us);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status)); /* it had not failed before */
    return place_files(p) > 1;
}

static void remove_leftovers(const saving_place *p) {
    char path[512];
    struct dirent *e;
    DIR *d = opendir(p->tmp.path);
    assert_non_null(d);
    while ((e = readdir(d))) {
        snprintf(path, sizeof path, "%s/%s", p->tmp.path, e->d_name);
        if (e->d_name[0] != '.' && strcmp(path, p->path) != 0) unlink(path);
    }
    closedir(d);
}

static void test_killed(void **test) {
    (void)test;
    enum { KILLS = 60 };
    support_rng rng = support_rng_new(support_seed(), 60);
    saving_place p;
    world a, b;
    size_t unfinished = 0, seen[2] = {0};
    uint64_t tokens[2];
    place_make(&p);
    sample_open(&a, p.path, 8);
    sample_open(&b, p.path, 8);
    sample_grow(&a, &rng, 9, 2000);
    sample_grow(&b, &rng, 9, 1900);
    tokens[0] = oracle_tokens(&a.truth);
    tokens[1] = oracle_tokens(&b.truth);
    assert_int_equal(spec_index_save_with(a.index, p.path, "a", 1, NULL), SPEC_OK);
    for (size_t i = 0; i < KILLS; i++) {
        spec_index_stats s;
        unfinished += kill_once(&a, &b, &p, 500 + support_rng_below(&rng, 12000));
        spec_index *x = sample_load(p.path, 0); /* whole: its checksums hold */
        assert_int_equal(spec_index_get_stats(x, &s), SPEC_OK);
        assert_true(s.tokens == tokens[0] || s.tokens == tokens[1]);
        seen[s.tokens == tokens[1]]++;
        assert_memory_equal(spec_index_attachment(x, NULL), s.tokens == tokens[1] ? "b" : "a", 1);
        if (!oracle_compare_seqs(s.tokens == tokens[0] ? &a.truth : &b.truth, x, &a.why))
            fail_msg("%s", a.why.text);
        spec_index_free(x);
        remove_leftovers(&p);
    }
    print_message("# %zu of %d kills left an unfinished file; the old one %zu and %zu times\n", unfinished,
                  KILLS, seen[0], seen[1]);
    assert_true(unfinished > 0);
    world_close(&a);
    world_close(&b);
    place_remove(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_empty_round_trip),
        cmocka_unit_test(test_stats_survive),   cmocka_unit_test(test_child_order_survives),
        cmocka_unit_test(test_generations),     cmocka_unit_test(test_file_is_never_written),
        cmocka_unit_test(test_saves_are_equal), cmocka_unit_test(test_limit_after_load),
        cmocka_unit_test(test_lru_after_load),  cmocka_unit_test(test_lru_after_fifo),
        cmocka_unit_test(test_save_nowhere),    cmocka_unit_test(test_save_cut_short),
        cmocka_unit_test(test_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

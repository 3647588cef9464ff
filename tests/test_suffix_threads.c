/* SPDX-License-Identifier: MIT */
/*
 * The suffix drafter under many requests at the same time, see storm.h: nothing that was taught may be
 * lost for good, limits are kept, and nobody, of mix neither, waits for a save. Under TSan also: no race.
 */
#include "storm.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "drafting.h"

/* ---- the storms ----------------------------------------------------------------- */

/* What is left to others is learnt: in the end all is known. */
static void test_nothing_taught_is_lost(void **state) {
    (void)state;
    static const char *const specs[] = {"suffix", "suffix:preset=coreml"};
    for (size_t i = 0; i < 2; i++) {
        storm s = {.spec = specs[i], .n_tenants = 2, .vocab = 30};
        spec_drafter_stats after;
        storm_blow(&s, &after);
        storm_calm(&s, &after);
        size_t taught = atomic_load(&s.taught[0]) + atomic_load(&s.taught[1]);
        assert_int_equal(after.index_tokens, taught + s.n_tenants * STORM_CALM);
        storm_clear(&s);
    }
}

/* (Here text is mostly new, or the limit would not be met.) */
static void test_eviction_by_memory(void **state) {
    (void)state;
    static const char *const specs[] = {"suffix:memory_mb=1", "suffix:memory_mb=1,evict=lru"};
    for (size_t i = 0; i < 2; i++) {
        storm s = {.spec = specs[i], .n_tenants = 1, .vocab = 2000};
        spec_drafter_stats after;
        storm_blow(&s, &after);
        storm_calm(&s, &after);
        assert_true(after.evicted > 10 && after.index_bytes < (1 << 20) + (1 << 16));
        storm_clear(&s);
    }
}

static void test_eviction_by_requests(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        uint64_t kept;
    } cases[] = {{"suffix:max_requests=5", 5},
                 {"suffix:preset=arctic,max_requests=12", 12},
                 {"suffix:max_requests=1,learn=end", 1}};
    for (size_t i = 0; i < 3; i++) {
        storm s = {.spec = cases[i].spec, .n_tenants = 3, .vocab = 30};
        spec_drafter_stats after;
        storm_blow(&s, &after);
        storm_calm(&s, &after);
        uint64_t kept = s.n_tenants * cases[i].kept;
        assert_int_equal(after.index_tokens, kept); /* of one token each */
        assert_int_equal(after.evicted, after.requests - kept);
        storm_clear(&s);
    }
}

/* More tenants than places: some requests go without, idle tenants are dropped. */
static void test_tenants_come_and_go(void **state) {
    (void)state;
    static const char *const specs[] = {"suffix:tenants=2", "suffix:tenants=1,memory_mb=1"};
    for (size_t i = 0; i < 2; i++) {
        storm s = {.spec = specs[i], .n_tenants = 5, .vocab = 30};
        spec_drafter_stats after;
        storm_blow(&s, &after);
        storm_clear(&s);
    }
}

/* ---- saving keeps nobody waiting ------------------------------------------------- */

/* An allocator in which the saving thread stops, in the middle of its work. */
typedef struct stall {
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool reached, over;
    spec_drafter *d;
    char path[200];
} stall;

static _Thread_local bool is_saver;

static void *stalling_alloc(void *user, void *ptr, size_t old_size, size_t new_size) {
    stall *s = user;
    (void)old_size;
    if (is_saver && new_size) {
        pthread_mutex_lock(&s->lock);
        s->reached = true;
        pthread_cond_broadcast(&s->change);
        while (!s->over) pthread_cond_wait(&s->change, &s->lock);
        pthread_mutex_unlock(&s->lock);
    }
    if (new_size) return realloc(ptr, new_size);
    free(ptr);
    return NULL;
}

static void *save_slowly(void *arg) {
    stall *s = arg;
    is_saver = true;
    int err = spec_drafter_save(s->d, 0, s->path, NULL);
    return err ? arg : NULL;
}

/* Whole requests while somebody saves; they would wait for ever. */
static void serve_during_save(const char *spec) {
    stall s = {.over = false};
    support_tmp tmp;
    pthread_t saver;
    void *failed;
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "saved", s.path, sizeof s.path);
    assert_int_equal(pthread_mutex_init(&s.lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&s.change, NULL), 0);
    const spec_allocator a = {.fn = stalling_alloc, .user = &s};
    s.d = drafting_open(spec, &a);
    run_say(s.d, 0, 1, 300);
    assert_int_equal(pthread_create(&saver, NULL, save_slowly, &s), 0);
    pthread_mutex_lock(&s.lock);
    while (!s.reached) pthread_cond_wait(&s.change, &s.lock);
    pthread_mutex_unlock(&s.lock);
    alarm(120); /* ends the program if somebody waits */
    assert_true(run_known(s.d, 0, 1, 50) > 0);
    for (uint32_t i = 2; i < 6; i++) run_say(s.d, 0, i, 300);
    alarm(0);
    pthread_mutex_lock(&s.lock);
    s.over = true;
    pthread_cond_broadcast(&s.change);
    pthread_mutex_unlock(&s.lock);
    assert_int_equal(pthread_join(saver, &failed), 0);
    assert_null(failed);
    for (int i = 0; i < 40; i++) run_say(s.d, 0, 6, 1); /* what was left is learnt */
    for (uint32_t i = 1; i < 6; i++) assert_true(run_known(s.d, 0, i, 250) > 0);
    spec_drafter_free(s.d);
    pthread_cond_destroy(&s.change);
    pthread_mutex_destroy(&s.lock);
    support_tmp_remove(&tmp);
}

static void test_nobody_waits_for_a_save(void **state) {
    (void)state;
    serve_during_save("suffix");
    serve_during_save("suffix:learn=end");
    serve_during_save("suffix:max_requests=100");
    serve_during_save("mix");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_taught_is_lost),  cmocka_unit_test(test_eviction_by_memory),
        cmocka_unit_test(test_eviction_by_requests),    cmocka_unit_test(test_tenants_come_and_go),
        cmocka_unit_test(test_nobody_waits_for_a_save),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

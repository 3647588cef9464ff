/* SPDX-License-Identifier: MIT */
/* The test helpers themselves: a check that cannot fail is worth nothing. */
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "specp.h"

static void test_rng_is_fixed(void **state) {
    (void)state;
    support_rng a = {0};
    /* The first outputs of splitmix64 from state 0, as published. */
    assert_true(support_rng_next(&a) == 0xe220a8397b1dcdafu);
    assert_true(support_rng_next(&a) == 0x6e789e6aa1b965f4u);
    support_rng b = support_rng_new(1, 1), c = support_rng_new(1, 1), d = support_rng_new(1, 2);
    assert_true(support_rng_next(&b) == support_rng_next(&c));
    assert_true(support_rng_next(&b) != support_rng_next(&d));
}

static void test_rng_ranges(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 7);
    size_t seen[5] = {0};
    for (int i = 0; i < 5000; i++) {
        uint32_t k = support_rng_below(&r, 5);
        assert_true(k < 5);
        seen[k]++;
        double u = support_rng_unit(&r);
        assert_true(u >= 0 && u < 1);
    }
    for (int i = 0; i < 5; i++) assert_in_range(seen[i], 800, 1200);
}

static void test_heap_counts(void **state) {
    (void)state;
    support_heap h;
    support_heap_init(&h);
    spec_allocator a = support_alloc(&h);
    char *p = specp_calloc(&a, 10, 4);
    assert_non_null(p);
    assert_int_equal(h.live_bytes, 40);
    strcpy(p, "kept over a resize");
    p = specp_resize(&a, p, 10, 100, 4);
    assert_string_equal(p, "kept over a resize");
    assert_int_equal(h.live_bytes, 400);
    assert_int_equal(h.live_blocks, 1);
    specp_release(&a, p, 100, 4);
    support_heap_assert_clean(&h);
    assert_int_equal(h.peak_bytes, 440);
    assert_int_equal(h.requests, 2);
}

static void test_heap_refuses(void **state) {
    (void)state;
    support_heap h;
    support_heap_init(&h);
    spec_allocator a = support_alloc(&h);
    support_heap_refuse(&h, 1, false);
    void *p = specp_alloc(&a, 1, 8);
    assert_non_null(p);
    assert_null(specp_resize(&a, p, 1, 2, 8)); /* refused: p is still ours */
    assert_int_equal(h.refused, 1);
    assert_int_equal(h.live_bytes, 8);
    void *q = specp_alloc(&a, 1, 8);
    assert_non_null(q);
    support_heap_refuse(&h, 0, true);
    assert_null(specp_alloc(&a, 1, 8));
    assert_null(specp_alloc(&a, 1, 8));
    assert_int_equal(h.refused, 2);
    specp_release(&a, p, 1, 8);
    specp_release(&a, q, 1, 8);
    support_heap_assert_clean(&h);
}

static void test_heap_sees_wrong_sizes(void **state) {
    (void)state;
    support_heap h;
    support_heap_init(&h);
    spec_allocator a = support_alloc(&h);
    void *p = specp_alloc(&a, 3, 8);
    specp_release(&a, p, 2, 8);
    assert_int_equal(h.size_faults, 1);
    assert_int_equal(h.live_blocks, 0);
    uint64_t not_ours[4] = {0};
    specp_release(&a, &not_ours[2], 2, 8);
    assert_int_equal(h.foreign_faults, 1);
}

static void test_files(void **state) {
    (void)state;
    support_tmp t;
    support_tmp_make(&t);
    char path[256], sub[256];
    size_t n;
    support_write_file(support_tmp_path(&t, "f", path, sizeof path), "a\0b", 3);
    char *back = support_read_file(path, &n);
    assert_int_equal(n, 3);
    assert_memory_equal(back, "a\0b", 4);
    free(back);
    snprintf(sub, sizeof sub, "%s", t.path);
    support_tmp_remove(&t);
    assert_int_not_equal(access(sub, F_OK), 0);
    assert_false(support_shared("no such file", path, sizeof path));
    assert_false(support_shared("traces", path, 4));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rng_is_fixed),          cmocka_unit_test(test_rng_ranges),
        cmocka_unit_test(test_heap_counts),           cmocka_unit_test(test_heap_refuses),
        cmocka_unit_test(test_heap_sees_wrong_sizes), cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

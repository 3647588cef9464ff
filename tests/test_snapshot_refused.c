/* SPDX-License-Identifier: MIT */
/*
 * Files that are not a snapshot, or no longer one: cut off, longer, with a bit
 * flipped anywhere, of another version or byte order, crafted, or something else
 * altogether. Each is refused with a reason that names the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot.h"
#include "snapshot_sample.h"
#include "spec_index.h"

/* ---- refused ----------------------------------------------------------- */

/* Writes the bytes and tries to load them; the code. Refusals leave *out alone
 * and say which file and why. */
static int try_bytes(const char *path, const void *data, size_t n, int trust, spec_index **out) {
    spec_message why = {{0}};
    spec_index_load_options o = {.size = sizeof o, .trust = trust};
    spec_index *x = NULL;
    if (data) support_write_file(path, data, n);
    int err = spec_index_load(&x, path, &o, &why);
    if (err) {
        assert_null(x);
        if (!strstr(why.text, path)) fail_msg("a refusal that does not name the file: \"%s\"", why.text);
        assert_true(strlen(why.text) > strlen(path) + 4);
    }
    if (out)
        *out = x;
    else
        spec_index_free(x);
    return err;
}

static void test_truncated(void **test) {
    (void)test;
    sample s;
    sample_make(&s);
    for (size_t n = s.n; n-- > 0;) {
        assert_int_equal(truncate(s.p.path, (off_t)n), 0);
        int err = try_bytes(s.p.path, NULL, 0, n & 1, NULL);
        if (err != SPEC_ERR_CORRUPT) fail_msg("%zu of %zu bytes: %s", n, s.n, spec_strerror(err));
    }
    sample_free(&s);
}

static void test_extended(void **test) {
    (void)test;
    sample s;
    sample_make(&s);
    char *longer = calloc(s.n + 8192, 1);
    assert_non_null(longer);
    memcpy(longer, s.data, s.n);
    for (int trust = 0; trust < 2; trust++) {
        assert_int_equal(try_bytes(s.p.path, longer, s.n + 1, trust, NULL), SPEC_ERR_CORRUPT);
        assert_int_equal(try_bytes(s.p.path, longer, s.n + 4096, trust, NULL), SPEC_ERR_CORRUPT);
        assert_int_equal(try_bytes(s.p.path, longer, s.n, trust, NULL), SPEC_OK);
    }
    free(longer);
    sample_free(&s);
}

/* Changes bytes of the file in place: writing it whole each time takes longer. */
static void poke(int fd, size_t at, uint8_t value) { assert_int_equal(pwrite(fd, &value, 1, (off_t)at), 1); }

static void flip(const sample *s, int fd, size_t at, unsigned bit, int trust) {
    poke(fd, at, (uint8_t)((uint8_t)s->data[at] ^ 1u << bit));
    int err = try_bytes(s->p.path, NULL, 0, trust, NULL);
    if (err != SPEC_ERR_CORRUPT && err != SPEC_ERR_VERSION)
        fail_msg("bit %u of byte %zu flipped, trust %d: %s", bit, at, trust, spec_strerror(err));
    poke(fd, at, (uint8_t)s->data[at]);
}

/* Header and section table: refused even when the data is trusted. */
static void test_flipped_header(void **test) {
    (void)test;
    sample s;
    sample_make(&s);
    int fd = open(s.p.path, O_WRONLY);
    assert_true(fd >= 0);
    for (size_t at = 0; at < sizeof(snap_page); at++)
        for (unsigned bit = 0; bit < 8; bit += at < sizeof(snap_header) ? 1 : 3) flip(&s, fd, at, bit, 1);
    for (size_t at = 0; at < sizeof(snap_header); at++) flip(&s, fd, at, at % 8, 0);
    assert_int_equal(try_bytes(s.p.path, NULL, 0, 0, NULL), SPEC_OK);
    close(fd);
    sample_free(&s);
}

static void test_flipped_data(void **test) {
    (void)test;
    sample s;
    sample_make(&s);
    int fd = open(s.p.path, O_WRONLY);
    assert_true(fd >= 0);
    for (size_t at = sizeof(snap_page); at < s.n; at++) flip(&s, fd, at, (unsigned)(at * 5 % 8), 0);
    assert_int_equal(try_bytes(s.p.path, NULL, 0, 0, NULL), SPEC_OK);
    close(fd);
    sample_free(&s);
}

/* Trusted data is not verified, whatever is in it: nothing may be read out of
 * bounds, and check must either find fault or the index must be right. */
static void test_flipped_trusted_data(void **test) {
    (void)test;
    sample s;
    size_t found = 0;
    sample_make(&s);
    int fd = open(s.p.path, O_WRONLY);
    assert_true(fd >= 0);
    for (size_t at = sizeof(snap_page); at < s.n; at += 3) {
        spec_index *x = NULL;
        spec_message why = {{0}};
        poke(fd, at, (uint8_t)((uint8_t)s.data[at] ^ 1u << at % 8));
        if (try_bytes(s.p.path, NULL, 0, 1, &x) == SPEC_OK) {
            found += spec_index_check(x, &why) == SPEC_ERR_CORRUPT;
            spec_index_free(x);
        }
        poke(fd, at, (uint8_t)s.data[at]);
    }
    assert_true(found > 100);
    close(fd);
    sample_free(&s);
}

/* ---- other kinds of file ------------------------------------------------ */

static void repair(snap_page *p) { p->h.sum = specp_snap_page_sum(p); }

static void test_other_version(void **test) {
    (void)test;
    sample s;
    snap_page p;
    spec_message why = {{0}};
    spec_index *x = NULL;
    sample_make(&s);
    memcpy(&p, s.data, sizeof p);
    p.h.version++;
    repair(&p);
    memcpy(s.data, &p, sizeof p);
    assert_int_equal(try_bytes(s.p.path, s.data, s.n, 1, NULL), SPEC_ERR_VERSION);
    assert_int_equal(spec_index_load(&x, s.p.path, NULL, &why), SPEC_ERR_VERSION);
    assert_non_null(strstr(why.text, "version"));
    p.h.version--;
    p.h.order = 0x04030201u;
    repair(&p);
    memcpy(s.data, &p, sizeof p);
    assert_int_equal(try_bytes(s.p.path, s.data, s.n, 1, NULL), SPEC_ERR_VERSION);
    assert_int_equal(spec_index_load(&x, s.p.path, NULL, &why), SPEC_ERR_VERSION);
    assert_non_null(strstr(why.text, "byte order"));
    sample_free(&s);
}

/* The header says nonsense under a good checksum. */
static void test_crafted_header(void **test) {
    (void)test;
    sample s;
    sample_make(&s);
    int fd = open(s.p.path, O_WRONLY);
    assert_true(fd >= 0);
    for (size_t at = 0; at + 4 <= sizeof(snap_header); at += 4) {
        uint32_t old;
        memcpy(&old, s.data + at, 4);
        const uint32_t values[] = {0,          1,          old + 1,   old - 1, old ^ 0x80000000u,
                                   0x7fffffff, 0xffffffff, 0xfffff000};
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            snap_page p;
            spec_index *x = NULL;
            memcpy(&p, s.data, sizeof p);
            memcpy(p.bytes + at, &values[i], 4);
            repair(&p);
            assert_int_equal(pwrite(fd, &p, sizeof p, 0), sizeof p);
            if (try_bytes(s.p.path, NULL, 0, 1, &x)) continue;
            (void)!spec_index_check(x, NULL);
            spec_index_free(x);
        }
    }
    close(fd);
    sample_free(&s);
}

static void test_not_a_snapshot(void **test) {
    (void)test;
    saving_place p;
    char text[8192];
    place_make(&p);
    assert_int_equal(try_bytes(p.path, NULL, 0, 0, NULL), SPEC_ERR_NOT_FOUND);
    assert_int_equal(try_bytes(p.path, "", 0, 0, NULL), SPEC_ERR_CORRUPT);
    memset(text, 'x', sizeof text);
    assert_int_equal(try_bytes(p.path, text, sizeof text, 0, NULL), SPEC_ERR_CORRUPT);
    memset(text, 0, sizeof text);
    assert_int_equal(try_bytes(p.path, text, sizeof text, 1, NULL), SPEC_ERR_CORRUPT);
    assert_int_equal(try_bytes(p.tmp.path, NULL, 0, 0, NULL), SPEC_ERR_IO); /* a directory */
    assert_int_equal(errno, EISDIR);
    assert_int_equal(try_bytes("/dev/null", NULL, 0, 0, NULL), SPEC_ERR_IO);
    assert_int_equal(errno, EINVAL);
    place_remove(&p);
}

static void test_other_tokenizer(void **test) {
    (void)test;
    saving_place p;
    spec_index *x = NULL;
    spec_message why = {{0}};
    place_make(&p);
    spec_index_options o = {.size = sizeof o, .tokenizer_id = 77};
    assert_int_equal(spec_index_new(&x, &o), SPEC_OK);
    sample_save(x, p.path);
    spec_index_free(x);
    x = NULL;
    spec_index_load_options l = {.size = sizeof l, .tokenizer_id = 78};
    assert_int_equal(spec_index_load(&x, p.path, &l, &why), SPEC_ERR_INVALID);
    assert_null(x);
    assert_non_null(strstr(why.text, p.path));
    l.tokenizer_id = 77;
    assert_int_equal(spec_index_load(&x, p.path, &l, NULL), SPEC_OK);
    spec_index_free(x);
    place_remove(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_extended),
        cmocka_unit_test(test_flipped_header),
        cmocka_unit_test(test_flipped_data),
        cmocka_unit_test(test_flipped_trusted_data),
        cmocka_unit_test(test_other_version),
        cmocka_unit_test(test_crafted_header),
        cmocka_unit_test(test_not_a_snapshot),
        cmocka_unit_test(test_other_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * What goes with an index in its snapshot: any bytes come back as they were, stay
 * through whatever is done to the index, and are saved again; a file where they
 * are damaged, cut off or too many is refused. Every truncation and a flip in
 * every byte are in test_snapshot_refused.c, a death while saving in
 * test_snapshot.c, refused memory of loading in test_index_memory.c.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot.h"
#include "snapshot_sample.h"
#include "spec_index.h"

static void *random_bytes(support_rng *rng, size_t n) {
    uint8_t *data = malloc(n ? n : 1);
    assert_non_null(data);
    for (size_t i = 0; i < n; i++) data[i] = (uint8_t)support_rng_next(rng);
    return data;
}

static void save_with(const spec_index *x, const char *path, const void *data, size_t n) {
    spec_message why = {{0}};
    if (spec_index_save_with(x, path, data, n, &why)) fail_msg("save: %s", why.text);
}

static void assert_attached(const spec_index *x, const void *data, size_t n) {
    size_t got = SIZE_MAX;
    const void *at = spec_index_attachment(x, &got);
    assert_int_equal(got, n);
    assert_ptr_equal(spec_index_attachment(x, NULL), at);
    assert_true((at != NULL) == (n != 0));
    if (n) assert_memory_equal(at, data, n);
    assert_int_equal((uintptr_t)at % 8, 0);
}

static void assert_sound(const spec_index *x) {
    spec_message why = {{0}};
    if (spec_index_check(x, &why)) fail_msg("check: %s", why.text);
}

static uint64_t bytes_of(const spec_index *x) {
    spec_index_stats s;
    assert_int_equal(spec_index_get_stats(x, &s), SPEC_OK);
    return s.bytes;
}

/* ---- there and back ----------------------------------------------------- */

static void test_round_trip(void **test) {
    (void)test;
    static const size_t sizes[] = {
        1, 7, 8, 64, 65, 4095, 4096, 4097, SNAP_BUFFER - 1, SNAP_BUFFER, SNAP_BUFFER + 1, 1000003};
    support_rng rng = support_rng_new(support_seed(), 61);
    saving_place p;
    world w;
    place_make(&p);
    sample_open(&w, p.path, 8);
    sample_grow(&w, &rng, 5, 80);
    sample_save(w.index, p.path);
    spec_index *plain = sample_load(p.path, 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *data = random_bytes(&rng, sizes[i]);
        save_with(w.index, p.path, data, sizes[i]);
        assert_attached(w.index, NULL, 0); /* it is the file that has it */
        for (int trust = 0; trust < 2; trust++) {
            spec_index *x = sample_load(p.path, trust);
            assert_attached(x, data, sizes[i]);
            assert_int_equal(bytes_of(x), bytes_of(plain) + sizes[i]);
            assert_sound(x);
            if (!oracle_compare(&w.truth, x, &w.why)) fail_msg("%s", w.why.text);
            spec_index_free(x);
        }
        free(data);
    }
    spec_index_free(plain);
    world_close(&w);
    place_remove(&p);
}

/* A file without is what files were before there were attachments. */
static void test_none(void **test) {
    (void)test;
    saving_place p;
    size_t n;
    spec_index *x = NULL;
    place_make(&p);
    assert_int_equal(spec_index_new(&x, NULL), SPEC_OK);
    assert_attached(x, NULL, 0);
    assert_attached(NULL, NULL, 0);
    sample_save(x, p.path);
    spec_index_free(x);
    snap_page page;
    char *data = support_read_file(p.path, &n);
    memcpy(&page, data, sizeof page);
    assert_int_equal(page.h.version, 1);
    assert_int_equal(page.h.n_sections, 7);
    for (size_t i = 280 + 7 * 40; i < SNAP_PAGE; i++) assert_int_equal(page.bytes[i], 0);
    free(data);
    x = sample_load(p.path, 0);
    assert_attached(x, NULL, 0);
    spec_index_free(x);
    place_remove(&p);
}

/* ---- it stays ------------------------------------------------------------ */

static void assert_same_files(const char *a, const char *b, bool same) {
    size_t n_a, n_b;
    char *in_a = support_read_file(a, &n_a), *in_b = support_read_file(b, &n_b);
    assert_true((n_a == n_b && memcmp(in_a, in_b, n_a) == 0) == same);
    free(in_a);
    free(in_b);
}

static void test_saved_again(void **test) {
    (void)test;
    support_rng rng = support_rng_new(support_seed(), 62);
    sample s;
    char other[256];
    sample_make(&s);
    support_tmp_path(&s.p.tmp, "other", other, sizeof other);
    spec_index *x = sample_load(s.p.path, 0);
    sample_save(x, other);
    assert_same_files(s.p.path, other, true);
    save_with(x, other, NULL, 0); /* dropped on request only */
    sample_save(s.w.index, s.p.path);
    assert_same_files(s.p.path, other, true);
    uint8_t *data = random_bytes(&rng, 5000);
    save_with(x, other, data, 5000); /* another one; that of the index stays */
    assert_attached(x, SAMPLE_ATTACHED, sizeof SAMPLE_ATTACHED);
    spec_index *y = sample_load(other, 1);
    assert_attached(y, data, 5000);
    spec_index_stats before, after;
    assert_int_equal(spec_index_get_stats(y, &before), SPEC_OK);
    data[4999] ^= 1;
    save_with(y, other, data, 5000);
    spec_index_free(y);
    y = sample_load(other, 1);
    assert_int_equal(spec_index_get_stats(y, &after), SPEC_OK);
    assert_true(before.snapshot_id != after.snapshot_id); /* it names the attachment's bytes too */
    spec_index_free(y);
    spec_index_free(x);
    free(data);
    sample_free(&s);
}

/* Where it is when the file has gone and the index has become another. */
static void test_stays_in_place(void **test) {
    (void)test;
    support_rng rng = support_rng_new(support_seed(), 63);
    sample s;
    spec_index_stats stats;
    spec_seq seq;
    spec_token tok[50];
    sample_make(&s);
    void *data = random_bytes(&rng, 70000);
    save_with(s.w.index, s.p.path, data, 70000);
    spec_index *x = sample_load(s.p.path, 0);
    unlink(s.p.path);
    const void *at = spec_index_attachment(x, NULL);
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < 50; k++) tok[k] = (spec_token)support_rng_below(&rng, 9);
        assert_int_equal(spec_index_begin(x, &seq), SPEC_OK);
        assert_int_equal(spec_index_append(x, seq, tok, 50), SPEC_OK);
        assert_int_equal(spec_index_next_seq(x, 0, &seq), SPEC_OK);
        assert_int_equal(spec_index_remove(x, seq), SPEC_OK);
        assert_sound(x);
        assert_int_equal(spec_index_compact(x), SPEC_OK);
        assert_sound(x);
        assert_ptr_equal(spec_index_attachment(x, NULL), at);
        assert_attached(x, data, 70000);
        assert_int_equal(spec_index_get_stats(x, &stats), SPEC_OK);
        assert_true(stats.bytes >= stats.bytes_used && stats.bytes_used > 70000);
    }
    sample_save(x, s.p.path);
    spec_index *y = sample_load(s.p.path, 0);
    assert_attached(y, data, 70000);
    spec_index_free(y);
    spec_index_free(x);
    free(data);
    sample_free(&s);
}

/* Refused memory in compaction leaves it where it is. */
static void test_refused_compaction(void **test) {
    (void)test;
    sample s;
    support_heap h;
    spec_index *x = NULL;
    support_heap_init(&h);
    sample_make(&s);
    spec_index_load_options o = {.size = sizeof o, .alloc = support_alloc(&h)};
    assert_int_equal(spec_index_load(&x, s.p.path, &o, NULL), SPEC_OK);
    const void *at = spec_index_attachment(x, NULL);
    size_t k = 0;
    for (int err = SPEC_ERR_NOMEM; err; k++) {
        support_heap_refuse(&h, k, false);
        err = spec_index_compact(x);
        support_heap_refuse(&h, SIZE_MAX, false);
        assert_true(err == SPEC_OK || err == SPEC_ERR_NOMEM);
        assert_ptr_equal(spec_index_attachment(x, NULL), at);
        assert_attached(x, SAMPLE_ATTACHED, sizeof SAMPLE_ATTACHED);
        assert_sound(x);
    }
    assert_true(k > 3);
    spec_index_free(x);
    support_heap_assert_clean(&h);
    sample_free(&s);
}

/* ---- refused --------------------------------------------------------------- */

static void test_bad_arguments(void **test) {
    (void)test;
    saving_place p;
    spec_index *x = NULL;
    spec_message why;
    place_make(&p);
    assert_int_equal(spec_index_new(&x, NULL), SPEC_OK);
    assert_int_equal(spec_index_save_with(x, p.path, NULL, 1, &why), SPEC_ERR_INVALID);
    assert_non_null(strstr(why.text, p.path));
    assert_non_null(strstr(why.text, "no bytes"));
    /* Refused before a byte is read: there is one only. */
    static const size_t sizes[] = {SPEC_INDEX_MAX_ATTACHMENT + (size_t)1, SIZE_MAX};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(spec_index_save_with(x, p.path, "", sizes[i], &why), SPEC_ERR_INVALID);
        assert_non_null(strstr(why.text, p.path));
        assert_non_null(strstr(why.text, "at most 67108864"));
    }
    assert_int_equal(spec_index_save_with(NULL, p.path, "", 1, &why), SPEC_ERR_INVALID);
    assert_int_equal(spec_index_save_with(x, NULL, "", 1, &why), SPEC_ERR_INVALID);
    assert_int_equal(place_files(&p), 0);
    spec_index_free(x);
    place_remove(&p);
}

/* Loads what has been made of the sample: refused for that reason, trusted or not. */
static void assert_refused(const sample *s, size_t n, snap_page *page, int expected, const char *words) {
    page->h.sum = specp_snap_page_sum(page);
    memcpy(s->data, page, sizeof *page);
    support_write_file(s->p.path, s->data, n < s->n ? n : s->n);
    if (n > s->n) assert_int_equal(truncate(s->p.path, (off_t)n), 0);
    for (int trust = 0; trust < 2; trust++) {
        spec_index *x = NULL;
        spec_message why = {{0}};
        spec_index_load_options o = {.size = sizeof o, .trust = trust};
        int err = spec_index_load(&x, s->p.path, &o, &why);
        if (err != expected || !strstr(why.text, words) || !strstr(why.text, s->p.path))
            fail_msg("expected %d \"%s\", got %d \"%s\"", expected, words, err, why.text);
        assert_null(x);
    }
}

/* The attachment's entry says what cannot be, under a checksum that fits. */
static void test_crafted(void **test) {
    (void)test;
    sample s;
    snap_page sound, page;
    sample_make(&s);
    memcpy(&sound, s.data, sizeof sound);
    snap_section *t = &page.h.section[SNAP_ATTACHED];
    page = sound;
    t->bytes = 0;
    assert_refused(&s, s.n, &page, SPEC_ERR_CORRUPT, "attachment: 0 bytes, expected 1 to 67108864");
    page = sound;
    t->bytes = UINT64_MAX - 8;
    assert_refused(&s, s.n, &page, SPEC_ERR_CORRUPT, "section attachment: ");
    page = sound;
    t->offset -= SNAP_PAGE;
    assert_refused(&s, s.n, &page, SPEC_ERR_CORRUPT, "section attachment: ");
    page = sound;
    t->kind = SNAP_TEXT;
    assert_refused(&s, s.n, &page, SPEC_ERR_VERSION, "expected attachment of 1");
    page = sound;
    page.h.n_sections = SNAP_ATTACHED; /* what is behind belongs to nothing */
    assert_refused(&s, s.n, &page, SPEC_ERR_CORRUPT, "the sections end at");
    page = sound;
    page.h.n_sections = SNAP_SECTIONS + 1;
    assert_refused(&s, s.n, &page, SPEC_ERR_VERSION, "9 sections");
    page = sound;
    t->sum ^= 1;
    assert_refused(&s, s.n, &page, SPEC_ERR_CORRUPT, "section attachment is damaged");
    s.data[t->offset + sizeof SAMPLE_ATTACHED - 1] ^= 64;
    assert_refused(&s, s.n, &sound, SPEC_ERR_CORRUPT, "section attachment is damaged");
    sample_free(&s);
}

/* As large as it may be, and by one byte larger: holes behind the sample. */
static void test_largest(void **test) {
    (void)test;
    sample s;
    snap_page page;
    sample_make(&s);
    memcpy(&page, s.data, sizeof page);
    snap_section *t = &page.h.section[SNAP_ATTACHED];
    for (uint64_t more = 0; more < 2; more++) {
        t->bytes = SPEC_INDEX_MAX_ATTACHMENT + more;
        page.h.file_bytes = t->offset + snap_padded(t->bytes);
        assert_refused(&s, (size_t)page.h.file_bytes, &page, SPEC_ERR_CORRUPT,
                       more ? "67108865 bytes, expected 1 to" : "section attachment is damaged");
    }
    sample_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_saved_again),
        cmocka_unit_test(test_stays_in_place),
        cmocka_unit_test(test_refused_compaction),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_crafted),
        cmocka_unit_test(test_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

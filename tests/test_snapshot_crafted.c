/* SPDX-License-Identifier: MIT */
/*
 * test_snapshot_crafted.c - files whose header is sound but says what cannot be:
 * each number that the loader relies on, out of its range, under a checksum that
 * fits. Each is refused with its own reason, also when the data are trusted. And
 * files that are no files.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "snapshot.h"

static support_tmp tmp;
static char path[160];

/* A snapshot in memory, to be changed and written. */
static union {
    snap_page page;
    uint8_t bytes[1 << 20];
} original, file;
static size_t size, original_size;

/* ---- the sample --------------------------------------------------------- */

/* Two tokens by turns, the second of `fan` different ones: hubs. */
static void append_fan(spec_index *x, spec_token first, uint32_t fan) {
    spec_seq seq;
    assert_int_equal(spec_index_begin(x, &seq), SPEC_OK);
    for (uint32_t k = 0; k < 2 * fan; k++) {
        spec_token pair[2] = {first, 100 + (spec_token)(k % fan)};
        assert_int_equal(spec_index_append(x, seq, pair, 2), SPEC_OK);
    }
}

static int set_up(void **test) {
    (void)test;
    spec_index *x;
    spec_message why;
    spec_index_options o = {.size = sizeof o, .depth = 7, .tokenizer_id = 0x1234, .evict = SPEC_EVICT_LRU};
    assert_int_equal(spec_index_new(&x, &o), SPEC_OK);
    append_fan(x, 1, 60);
    append_fan(x, 2, 50);
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "crafted", path, sizeof path);
    assert_int_equal(spec_index_save(x, path, &why), SPEC_OK);
    spec_index_free(x);
    char *data = support_read_file(path, &original_size);
    assert_true(original_size <= sizeof original);
    memcpy(original.bytes, data, original_size);
    free(data);
    return 0;
}

static int tear_down(void **test) {
    (void)test;
    support_tmp_remove(&tmp);
    return 0;
}

/* ---- crafting ----------------------------------------------------------- */

static snap_header *header(void) { return &file.page.h; }
static snap_section *section(uint32_t kind) { return &header()->section[kind]; }
static snap_hub *hub_record(uint32_t i) { return (snap_hub *)(file.bytes + section(SNAP_HUBS)->offset) + i; }
static sequence *seq_record(uint32_t i) { return (sequence *)(file.bytes + section(SNAP_SEQS)->offset) + i; }

/* The file grows or shrinks by a page at its end, and says so. */
static void resize(int pages) {
    size += (size_t)pages * SNAP_PAGE;
    header()->file_bytes = size;
}

/* What is done, the error, words of the message that must tell of it. */
/* clang-format off */
#define CRAFTS(X) \
    X(magic, CORRUPT, "not a snapshot", header()->magic[3] ^= 1) \
    X(magic_text, CORRUPT, "not a snapshot", header()->magic[7] = '\r') \
    X(order_other, VERSION, "other byte order", header()->order = 0x04030201u) \
    X(order_none, CORRUPT, "byte-order mark", header()->order = 0) \
    X(version_later, VERSION, "version 2", header()->version = 2) \
    X(version_none, VERSION, "version 0", header()->version = 0) \
    X(size_more, CORRUPT, "cut short", header()->file_bytes++) \
    X(size_less, CORRUPT, "behind its end", header()->file_bytes -= SNAP_PAGE) \
    X(size_huge, CORRUPT, "cut short", header()->file_bytes = UINT64_MAX) \
    X(sections_more, VERSION, "9 sections", header()->n_sections = 9) \
    X(sections_less, VERSION, "6 sections", header()->n_sections = 6) \
    X(section_missing, VERSION, "expected attachment", header()->n_sections = 8) \
    X(chunk_other, VERSION, "chunks of 64", header()->chunk_slots = 64) \
    X(segment_other, VERSION, "segments of 1;", header()->edge_segment = 1) \
    X(kind_other, VERSION, "kind 3", section(SNAP_TEXT)->kind = SNAP_EDGES) \
    X(record_other, VERSION, "records of 40", section(SNAP_STATES)->record = 40) \
    X(used_huge, CORRUPT, "section states", section(SNAP_STATES)->used = 0x80000000u) \
    X(used_rounded, CORRUPT, "section text", section(SNAP_TEXT)->used = MAX_PLACES - 1) \
    X(live_more, CORRUPT, "section edges", section(SNAP_EDGES)->live = section(SNAP_EDGES)->used + 1) \
    X(used_more, CORRUPT, "are not", section(SNAP_CHUNKS)->used++) \
    X(offset_other, CORRUPT, "section states", section(SNAP_STATES)->offset += SNAP_PAGE) \
    X(offset_overlap, CORRUPT, "section chunks", section(SNAP_CHUNKS)->offset = SNAP_PAGE) \
    X(offset_huge, CORRUPT, "section hubs", section(SNAP_HUBS)->offset = UINT64_MAX - 8) \
    X(bytes_huge, CORRUPT, "section arrays", section(SNAP_ARRAYS)->bytes = UINT64_MAX - 8) \
    X(bytes_more, CORRUPT, "section text", section(SNAP_TEXT)->bytes = size) \
    X(bytes_less, CORRUPT, "the sections end", section(SNAP_ARRAYS)->bytes = 0) \
    X(page_more, CORRUPT, "the sections end", resize(1)) \
    X(page_less, CORRUPT, "section arrays", resize(-1)) \
    X(depth_none, CORRUPT, "depth 0", header()->depth = 0) \
    X(depth_huge, CORRUPT, "depth 4097", header()->depth = 4097) \
    X(free_chunk_huge, CORRUPT, "out of range", header()->free_chunk = section(SNAP_CHUNKS)->used) \
    X(free_state_huge, CORRUPT, "out of range", header()->free_state = NONE - 1) \
    X(free_hub_huge, CORRUPT, "out of range", header()->free_hub = section(SNAP_HUBS)->used) \
    X(free_seq_huge, CORRUPT, "out of range", header()->free_seq = section(SNAP_SEQS)->used) \
    X(free_run_huge, CORRUPT, "out of range", header()->free_run[5] = section(SNAP_EDGES)->used) \
    X(oldest_huge, CORRUPT, "out of range", header()->oldest = section(SNAP_SEQS)->used) \
    X(newest_huge, CORRUPT, "out of range", header()->newest = section(SNAP_SEQS)->used) \
    X(serial_none, CORRUPT, "total", header()->next_serial = 0) \
    X(loose_more, CORRUPT, "total", header()->n_loose = section(SNAP_STATES)->used + 1ull) \
    X(singles_more, CORRUPT, "total", header()->n_singles = section(SNAP_TEXT)->used + 1ull) \
    X(tokens_huge, CORRUPT, "total", header()->tokens_total = UINT64_MAX) \
    X(clock_huge, CORRUPT, "total", header()->clock = UINT64_MAX) \
    X(tokenizer_other, INVALID, "0000000000001235", header()->tokenizer_id = 0x1235) \
    X(tokenizer_unknown, INVALID, "0000000000000000", header()->tokenizer_id = 0) \
    X(seqs_dead, CORRUPT, "section sequences", seq_record(0)->serial = 0) \
    X(seqs_alive, CORRUPT, "section sequences", section(SNAP_SEQS)->live--) \
    X(hub_n, CORRUPT, "hub 0", hub_record(0)->n = hub_record(0)->cap + 1) \
    X(hub_cap_none, CORRUPT, "hub 0", hub_record(0)->cap = 0) \
    X(hub_cap_huge, CORRUPT, "hub 0", hub_record(0)->cap = 0x7fffffffu) \
    X(hub_cap_over, CORRUPT, "hub 0", hub_record(0)->cap = hub_record(0)->slots) \
    X(hub_cap_other, CORRUPT, "hubs claim", hub_record(section(SNAP_HUBS)->used - 1)->cap--) \
    X(hub_slots_odd, CORRUPT, "hub 0", hub_record(0)->slots++) \
    X(hub_slots_huge, CORRUPT, "hub 0", hub_record(0)->slots = 0x80000000u) \
    X(hub_freed, CORRUPT, "", hub_record(0)->cap = hub_record(0)->slots = 0; hub_record(0)->n = NONE) \
    X(hub_freed_huge, CORRUPT, "hub 0", hub_record(0)->cap = hub_record(0)->slots = 0; \
      hub_record(0)->n = section(SNAP_HUBS)->used)
/* clang-format on */

#define MAKE(name, err, words, ...)                                                                          \
    static void name(void) { __VA_ARGS__; }
#define ENTRY(name, err, words, ...) {#name, SPEC_ERR_##err, words, name},

CRAFTS(MAKE)

static const struct craft {
    const char *name;
    int err;
    const char *words;
    void (*make)(void);
} crafts[] = {CRAFTS(ENTRY)};

/* Without a root, or with text that is not chunks, every section moves. */
static void remove_records(uint32_t kind, uint32_t n) {
    snap_section *t = section(kind);
    uint64_t before = snap_padded(t->bytes);
    t->used -= n;
    t->live = 0;
    t->bytes = (uint64_t)t->used * t->record;
    uint64_t moved = before - snap_padded(t->bytes);
    for (uint32_t k = kind + 1; k < header()->n_sections; k++) section(k)->offset -= moved;
    size -= moved;
    header()->file_bytes = size;
}

/* ---- loading ------------------------------------------------------------- */

static void begin(void) {
    memcpy(file.bytes, original.bytes, original_size);
    size = original_size;
}

/* Writes the file under a header checksum that fits, and loads it unverified. */
static int load_crafted(spec_message *why) {
    spec_index *x = NULL;
    spec_index_load_options o = {
        .size = sizeof o, .trust = 1, .evict = SPEC_EVICT_LRU, .tokenizer_id = 0x1234};
    header()->sum = specp_snap_page_sum(&file.page);
    support_write_file(path, file.bytes, size);
    int err = spec_index_load(&x, path, &o, why);
    assert_true((err == SPEC_OK) == (x != NULL));
    spec_index_free(x);
    return err;
}

static void test_crafts(void **test) {
    (void)test;
    spec_message why;
    size_t wrong = 0;
    begin();
    assert_int_equal(load_crafted(&why), SPEC_OK);
    for (size_t i = 0; i < sizeof crafts / sizeof *crafts; i++) {
        begin();
        crafts[i].make();
        int err = load_crafted(&why);
        if (err == crafts[i].err && strstr(why.text, crafts[i].words) && strstr(why.text, path)) continue;
        print_error("%s: expected %d \"%s\", got %d \"%s\"\n", crafts[i].name, crafts[i].err, crafts[i].words,
                    err, why.text);
        wrong++;
    }
    assert_int_equal(wrong, 0);
}

static void test_missing_records(void **test) {
    (void)test;
    spec_message why;
    begin();
    remove_records(SNAP_STATES, section(SNAP_STATES)->used);
    assert_int_equal(load_crafted(&why), SPEC_ERR_CORRUPT);
    assert_non_null(strstr(why.text, "no root"));
    begin();
    remove_records(SNAP_TEXT, 1);
    assert_int_equal(load_crafted(&why), SPEC_ERR_CORRUPT);
    assert_non_null(strstr(why.text, "chunks of 32"));
}

/* ---- no files at all ------------------------------------------------------ */

static void refused(const char *at, int err, const char *words) {
    spec_index *x = NULL;
    spec_message why;
    assert_int_equal(spec_index_load(&x, at, NULL, &why), err);
    assert_null(x);
    if (!strstr(why.text, words)) fail_msg("expected \"%s\", got \"%s\"", words, why.text);
}

static void test_not_a_file(void **test) {
    (void)test;
    char at[200];
    refused(tmp.path, SPEC_ERR_IO, "is a directory");
    assert_int_equal(mkfifo(support_tmp_path(&tmp, "pipe", at, sizeof at), 0600), 0);
    refused(at, SPEC_ERR_IO, "not a regular file");
    refused(support_tmp_path(&tmp, "nothing", at, sizeof at), SPEC_ERR_NOT_FOUND, "no such file");
    support_write_file(support_tmp_path(&tmp, "empty", at, sizeof at), "", 0);
    refused(at, SPEC_ERR_CORRUPT, "is empty");
    support_write_file(at, "{}\n", 3);
    refused(at, SPEC_ERR_CORRUPT, "not a snapshot");
    support_write_file(at, original.bytes, 3);
    refused(at, SPEC_ERR_CORRUPT, "cut short");
}

/* However long the path, the reason has room in the message. */
static void test_long_path(void **test) {
    (void)test;
    char at[2000] = "";
    for (size_t i = 0; i < 150; i++) strcat(at, "missing/../");
    strcat(at, "end");
    refused(at, SPEC_ERR_NOT_FOUND, "/end: there is no such file");
}

static void test_bad_options(void **test) {
    (void)test;
    spec_index *x = NULL;
    spec_message why;
    spec_index_load_options o = {.size = sizeof o - 1};
    assert_int_equal(spec_index_load(&x, path, &o, &why), SPEC_ERR_INVALID);
    assert_non_null(strstr(why.text, "options"));
    o = (spec_index_load_options){.size = sizeof o, .evict = (spec_evict)2};
    assert_int_equal(spec_index_load(&x, path, &o, &why), SPEC_ERR_INVALID);
    assert_non_null(strstr(why.text, "policy"));
    assert_int_equal(spec_index_load(&x, NULL, NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(spec_index_load(NULL, path, NULL, &why), SPEC_ERR_INVALID);
    assert_null(x);
}

/* ---- saving --------------------------------------------------------------- */

static mode_t mode_of(const char *at) {
    struct stat st;
    assert_int_equal(lstat(at, &st), 0);
    return st.st_mode;
}

/* A new file gets what the umask leaves, a replaced one keeps what it had; what
 * is no regular file stays what it is. */
static void test_what_save_replaces(void **test) {
    (void)test;
    spec_index *x;
    spec_message why;
    char at[200];
    mode_t mask = umask(027);
    assert_int_equal(spec_index_new(&x, NULL), SPEC_OK);
    support_tmp_path(&tmp, "saved", at, sizeof at);
    assert_int_equal(spec_index_save(x, at, &why), SPEC_OK);
    assert_int_equal(mode_of(at) & 0777, 0640);
    assert_int_equal(chmod(at, 0604), 0);
    assert_int_equal(spec_index_save(x, at, &why), SPEC_OK);
    assert_int_equal(mode_of(at) & 0777, 0604);
    umask(mask);
    assert_int_equal(mkfifo(support_tmp_path(&tmp, "pipe2", at, sizeof at), 0600), 0);
    assert_int_equal(spec_index_save(x, at, &why), SPEC_ERR_IO);
    assert_non_null(strstr(why.text, "not a regular file"));
    assert_true(S_ISFIFO(mode_of(at)));
    assert_int_equal(spec_index_save(x, tmp.path, &why), SPEC_ERR_IO);
    assert_int_equal(spec_index_save(x, support_tmp_path(&tmp, "", at, sizeof at), &why), SPEC_ERR_INVALID);
    assert_non_null(strstr(why.text, "directory"));
    spec_index_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crafts),      cmocka_unit_test(test_missing_records),
        cmocka_unit_test(test_not_a_file),  cmocka_unit_test(test_long_path),
        cmocka_unit_test(test_bad_options), cmocka_unit_test(test_what_save_replaces),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

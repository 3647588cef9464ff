/* SPDX-License-Identifier: MIT */
/*
 * The allocator refuses request 0, 1, 2, ... of every function of the index that
 * asks for memory: each time the function says so and nothing has changed, until
 * it is given all it wants. Nothing leaks, and what promises to need no memory
 * needs none.
 */
#include "support.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "index_world.h"
#include "spec_index.h"

/* ---- the loop --------------------------------------------------------- */

/* A call under test: returns its spec_err. */
typedef int (*attempt)(world *w, void *arg);

/* Refuses ever later requests until the attempt succeeds; each time the world is
 * compared in full. How many refusals there were: at least `at_least`. */
static size_t refuse_each(world *w, support_heap *h, attempt run, void *arg, bool and_later,
                          size_t at_least) {
    size_t refusals = 0;
    for (size_t k = 0, done = 0; !done; k++) {
        support_heap_refuse(h, k, and_later);
        int err = run(w, arg);
        size_t refused = h->refused;
        support_heap_refuse(h, SIZE_MAX, false);
        assert_int_equal(err, refused ? SPEC_ERR_NOMEM : SPEC_OK);
        refusals += refused > 0;
        done = !refused;
        if (!world_check_all(w)) fail_msg("request %zu %s: %s", k, done ? "granted" : "refused", w->why.text);
    }
    if (refusals < at_least) fail_msg("only %zu refusals", refusals);
    return refusals;
}

typedef struct text {
    spec_seq seq;
    spec_token *tok;
    size_t n;
} text;

static int try_append(world *w, void *arg) {
    text *t = arg;
    int err = spec_index_append(w->index, t->seq, t->tok, t->n);
    if (!err) oracle_append(&w->truth, t->seq, t->tok, t->n);
    return err;
}

static int try_begin(world *w, void *arg) {
    spec_seq before = 12345, *s = arg;
    *s = before;
    int err = spec_index_begin(w->index, s);
    if (err)
        assert_true(*s == before);
    else
        oracle_begin(&w->truth, *s);
    return err;
}

static int try_compact(world *w, void *arg) {
    (void)arg;
    return spec_index_compact(w->index);
}

static int try_cursor(world *w, void *arg) {
    spec_cursor *c = NULL;
    (void)arg;
    int err = spec_cursor_new(&c, w->index);
    if (err) assert_null(c);
    spec_cursor_free(c);
    return err;
}

static int try_check(world *w, void *arg) {
    (void)arg;
    return spec_index_check(w->index, NULL);
}

static int try_save(world *w, void *arg) { return spec_index_save(w->index, arg, NULL); }

/* ---- worlds ----------------------------------------------------------- */

static void fill(support_rng *rng, spec_token *tok, size_t n, uint32_t alphabet) {
    memset(tok, 0, n * sizeof *tok);
    for (size_t i = 0; i < n; i++)
        tok[i] =
            i > 30 && support_rng_below(rng, 4) ? tok[i - 17] : (spec_token)support_rng_below(rng, alphabet);
}

static void open_world(world *w, support_heap *h, uint32_t depth, spec_evict evict) {
    support_heap_init(h);
    world_options o = {.depth = depth, .alphabet = 50, .evict = evict, .alloc = support_alloc(h)};
    if (!world_open(w, &o)) fail_msg("%s", w->why.text);
}

static void close_world(world *w, support_heap *h) {
    world_close(w);
    support_heap_assert_clean(h);
}

/* ---- tests ------------------------------------------------------------ */

static void test_new(void **state) {
    (void)state;
    support_heap h;
    spec_index *x = NULL;
    size_t k = 0;
    support_heap_init(&h);
    spec_index_options o = {.size = sizeof o, .alloc = support_alloc(&h), .evict = SPEC_EVICT_LRU};
    for (;; k++) {
        support_heap_refuse(&h, k, false);
        int err = spec_index_new(&x, &o);
        if (!err) break;
        assert_int_equal(err, SPEC_ERR_NOMEM);
        assert_null(x);
        assert_int_equal(h.live_blocks, 0);
        assert_int_equal(h.refused, 1);
    }
    assert_true(k > 0);
    spec_index_free(x);
    support_heap_assert_clean(&h);
}

/* Many sequences of growing alphabets: blocks of every size and hubs are made. */
static void append_refused(spec_evict evict, bool and_later, uint64_t stream) {
    support_rng rng = support_rng_new(support_seed(), stream);
    support_heap h;
    world w;
    spec_token tok[120];
    size_t refusals = 0;
    open_world(&w, &h, 8, evict);
    for (uint32_t round = 0; round < 14; round++) {
        text t = {.tok = tok, .n = 1 + support_rng_below(&rng, 120)};
        if (and_later)
            refuse_each(&w, &h, try_begin, &t.seq, and_later, 0);
        else
            assert_true(world_begin(&w, &t.seq));
        fill(&rng, tok, t.n, round % 3 ? 90 : 3);
        refusals += refuse_each(&w, &h, try_append, &t, and_later, 0);
    }
    assert_true(refusals > 14);
    close_world(&w, &h);
}

static void test_append(void **state) { (void)state, append_refused(SPEC_EVICT_FIFO, false, 31); }
static void test_append_lru(void **state) { (void)state, append_refused(SPEC_EVICT_LRU, false, 32); }
static void test_append_all_refused(void **state) { (void)state, append_refused(SPEC_EVICT_LRU, true, 33); }

/* A refusal in the midst of evicting: victims may have gone, but nothing came.
 * Not every refusal is an error, for evicting gets on without memory. */
static size_t append_limited(world *w, support_heap *h, const text *t, bool and_later) {
    size_t refusals = 0;
    for (size_t k = 0, done = 0; !done; k++) {
        support_heap_refuse(h, k, and_later);
        int err = spec_index_append(w->index, t->seq, t->tok, t->n);
        size_t refused = h->refused;
        support_heap_refuse(h, SIZE_MAX, false);
        done = err == SPEC_OK;
        assert_int_equal(err, done ? SPEC_OK : SPEC_ERR_NOMEM);
        assert_true(done || refused > 0);
        refusals += refused > 0;
        if (done) oracle_append(&w->truth, t->seq, t->tok, t->n);
        if (!world_follow_evictions(w, t->seq) || !world_check_all(w))
            fail_msg("request %zu %s: %s", k, done ? "granted" : "refused", w->why.text);
    }
    return refusals;
}

static void test_append_under_a_limit(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 44);
    size_t refusals = 0;
    uint64_t evicted = 0;
    for (uint32_t i = 0; i < 12; i++) {
        support_heap h;
        world w;
        spec_token tok[120];
        support_heap_init(&h);
        world_options o = {.depth = 3 + i, .alphabet = 50, .memory_limit = 6000 + 2000 * i};
        o.evict = i & 1 ? SPEC_EVICT_LRU : SPEC_EVICT_FIFO;
        o.alloc = support_alloc(&h);
        if (!world_open(&w, &o)) fail_msg("%s", w.why.text);
        for (uint32_t round = 0; round < 20; round++) {
            text t = {.tok = tok, .n = 1 + support_rng_below(&rng, 120)};
            fill(&rng, tok, t.n, round % 3 ? 90 : 3);
            if (!world_begin(&w, &t.seq)) fail_msg("%s", w.why.text);
            refusals += append_limited(&w, &h, &t, i & 2);
        }
        evicted += w.evicted;
        close_world(&w, &h);
    }
    assert_true(refusals > 50 && evicted > 50);
}

/* One token at a time, so that each step's own requests are met from a fresh state. */
static void test_append_single(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 34);
    support_heap h;
    world w;
    spec_token tok[400];
    spec_seq s;
    size_t refusals = 0;
    open_world(&w, &h, 5, SPEC_EVICT_FIFO);
    fill(&rng, tok, 400, 60);
    assert_true(world_begin(&w, &s));
    for (size_t i = 0; i < 400; i++) {
        text t = {.seq = s, .tok = &tok[i], .n = 1};
        refusals += refuse_each(&w, &h, try_append, &t, false, 0);
    }
    assert_true(refusals > 20);
    close_world(&w, &h);
}

/* Appends one token, refused as often as it asks; the check after each. */
static size_t append_grudgingly(spec_index *x, support_heap *h, spec_seq s, spec_token t) {
    size_t refusals = 0;
    spec_message why = {{0}};
    for (size_t k = 0;; k++) {
        support_heap_refuse(h, k, false);
        int err = spec_index_append(x, s, &t, 1);
        support_heap_refuse(h, SIZE_MAX, false);
        if (spec_index_check(x, &why)) fail_msg("request %zu: %s", k, why.text);
        if (!err) return refusals;
        assert_int_equal(err, SPEC_ERR_NOMEM);
        refusals++;
    }
}

/* Some requests are rare: a class split just when a block is full and the pool
 * used up. Many short texts with runs, over all small alphabets. */
static void test_append_many_short(void **state) {
    (void)state;
    support_heap h;
    size_t refusals = 0;
    for (uint32_t i = 0; i < 1500; i++) {
        support_rng rng = support_rng_new(support_seed(), 1000 + i);
        spec_index *x = NULL;
        spec_seq s;
        spec_token t = 0;
        support_heap_init(&h);
        spec_index_options o = {.size = sizeof o, .depth = 2 + i % 7, .alloc = support_alloc(&h)};
        assert_int_equal(spec_index_new(&x, &o), SPEC_OK);
        for (size_t k = 0; k < 60; k++) {
            if (k % 25 == 0) assert_int_equal(spec_index_begin(x, &s), SPEC_OK);
            if (support_rng_below(&rng, 2)) t = (spec_token)support_rng_below(&rng, 2 + i % 9);
            refusals += append_grudgingly(x, &h, s, t);
        }
        spec_index_free(x);
        support_heap_assert_clean(&h);
    }
    assert_true(refusals > 1500);
}

static void test_begin(void **state) {
    (void)state;
    support_heap h;
    world w;
    spec_seq s;
    open_world(&w, &h, 8, SPEC_EVICT_LRU);
    size_t refusals = 0;
    for (size_t i = 0; i < 80; i++) refusals += refuse_each(&w, &h, try_begin, &s, i & 1, i == 0);
    assert_true(refusals > 2);
    close_world(&w, &h);
}

static void grow_some(world *w, uint64_t stream, size_t sequences) {
    support_rng rng = support_rng_new(support_seed(), stream);
    spec_token tok[80];
    spec_seq s;
    for (size_t i = 0; i < sequences; i++) {
        fill(&rng, tok, 80, 70);
        assert_true(world_begin(w, &s) && world_append(w, s, tok, 80));
    }
}

static void test_compact_check_cursor(void **state) {
    (void)state;
    support_heap h;
    world w;
    open_world(&w, &h, 8, SPEC_EVICT_LRU);
    grow_some(&w, 35, 5);
    refuse_each(&w, &h, try_cursor, NULL, false, 1);
    refuse_each(&w, &h, try_check, NULL, false, 1);
    refuse_each(&w, &h, try_compact, NULL, false, 5);
    size_t live = h.live_bytes;
    refuse_each(&w, &h, try_compact, NULL, true, 5);
    assert_true(h.live_bytes <= live); /* refusals left nothing behind */
    close_world(&w, &h);
}

/* Reading and moving cursors never allocate. */
static void test_reading_needs_no_memory(void **state) {
    (void)state;
    support_heap h;
    world w;
    spec_token tok[40];
    spec_child c[8];
    spec_index_stats stats;
    open_world(&w, &h, 16, SPEC_EVICT_LRU);
    grow_some(&w, 36, 6);
    support_heap_refuse(&h, 0, true);
    assert_int_equal(spec_index_seq_tokens(w.index, w.truth.seq[2].id, 10, 40, tok), SPEC_OK);
    world_feed(&w, 0, tok, 40);
    spec_locus at = spec_cursor_locus(w.cursor[0].cursor);
    spec_index_children(w.index, spec_index_suffix(w.index, at), 0, 8, c);
    spec_index_touch(w.index, at);
    oracle_use(&w.truth, w.truth.seq[2].id);
    spec_index_match(w.index, tok, 40);
    assert_int_equal(spec_index_get_stats(w.index, &stats), SPEC_OK);
    assert_int_equal(h.requests, 0);
    support_heap_refuse(&h, SIZE_MAX, false);
    if (!world_check_all(&w)) fail_msg("%s", w.why.text);
    close_world(&w, &h);
}

/* Shortening may use memory to save memory, but gets on without. */
static void test_shortening_needs_no_memory(void **state) {
    (void)state;
    support_heap h;
    world w;
    open_world(&w, &h, 16, SPEC_EVICT_LRU);
    grow_some(&w, 36, 6);
    support_heap_refuse(&h, 0, true);
    assert_int_equal(spec_index_end(w.index, w.truth.seq[1].id), SPEC_OK);
    assert_int_equal(h.requests, 0);
    /* shortening asks for smaller places at most, and does without */
    assert_true(world_truncate(&w, w.truth.seq[1].id, 33));
    assert_true(world_remove(&w, w.truth.seq[3].id));
    if (!world_evict(&w, 100)) fail_msg("%s", w.why.text);
    support_heap_refuse(&h, SIZE_MAX, false);
    if (!world_check_all(&w)) fail_msg("%s", w.why.text);
    support_heap_refuse(&h, 0, true);
    while (w.truth.n) assert_true(world_remove(&w, w.truth.seq[w.truth.n / 2].id));
    support_heap_refuse(&h, SIZE_MAX, false);
    if (!world_check_all(&w)) fail_msg("%s", w.why.text);
    close_world(&w, &h);
}

/* Memory freed by removal serves later appends of the same text. */
static void test_memory_is_reused(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 37);
    support_heap h;
    world w;
    spec_token tok[2000];
    spec_seq s;
    open_world(&w, &h, 16, SPEC_EVICT_FIFO);
    fill(&rng, tok, 2000, 300);
    assert_true(world_begin(&w, &s) && world_append(&w, s, tok, 2000));
    size_t live = h.live_bytes;
    for (size_t round = 0; round < 5; round++) {
        assert_true(world_remove(&w, s));
        assert_true(h.live_bytes <= live);
        assert_true(world_begin(&w, &s) && world_append(&w, s, tok, 2000));
        assert_true(h.live_bytes <= live);
    }
    if (!world_check_all(&w)) fail_msg("%s", w.why.text);
    close_world(&w, &h);
}

/* ---- snapshots -------------------------------------------------------- */

static size_t files_in(const char *dir) {
    size_t n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    while (readdir(d)) n++;
    closedir(d);
    return n - 2;
}

static void test_save(void **state) {
    (void)state;
    support_tmp tmp;
    support_heap h;
    world w;
    char path[256];
    size_t n_old, n_now;
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "index", path, sizeof path);
    open_world(&w, &h, 8, SPEC_EVICT_FIFO);
    grow_some(&w, 38, 2);
    assert_int_equal(spec_index_save(w.index, path, NULL), SPEC_OK);
    char *old = support_read_file(path, &n_old);
    grow_some(&w, 39, 2);
    support_heap_refuse(&h, 0, true);
    if (spec_index_save(w.index, path, NULL) == SPEC_ERR_NOMEM) { /* saving may do without */
        char *now = support_read_file(path, &n_now);
        assert_true(n_now == n_old && memcmp(now, old, n_now) == 0);
        assert_int_equal(files_in(tmp.path), 1);
        free(now);
    }
    refuse_each(&w, &h, try_save, path, false, 0);
    assert_int_equal(files_in(tmp.path), 1);
    free(old);
    close_world(&w, &h);
    support_tmp_remove(&tmp);
}

/* Is a file mapped into this process? */
static bool is_mapped(const char *path) {
    char line[1024];
    bool found = false;
    FILE *f = fopen("/proc/self/maps", "r");
    if (!f) return false;
    while (fgets(line, sizeof line, f)) found = found || strstr(line, path);
    fclose(f);
    return found;
}

static void test_load(void **state) {
    (void)state;
    support_tmp tmp;
    support_heap h;
    world w;
    char path[256];
    spec_index *loaded = NULL;
    size_t k = 0;
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "index", path, sizeof path);
    open_world(&w, &h, 8, SPEC_EVICT_LRU);
    grow_some(&w, 40, 6);
    assert_int_equal(spec_index_save_with(w.index, path, path, sizeof path, NULL), SPEC_OK);
    size_t live = h.live_bytes;
    for (;; k++) {
        spec_index_load_options o = {.size = sizeof o, .evict = SPEC_EVICT_LRU, .alloc = support_alloc(&h)};
        spec_message why = {{0}};
        support_heap_refuse(&h, k, false);
        int err = spec_index_load(&loaded, path, &o, &why);
        if (!err) break;
        assert_int_equal(err, SPEC_ERR_NOMEM);
        assert_null(loaded);
        assert_true(why.text[0] != 0);
        assert_int_equal(h.live_bytes, live);
        assert_false(is_mapped(path));
    }
    support_heap_refuse(&h, SIZE_MAX, false);
    assert_true(k > 0);
    if (!oracle_compare(&w.truth, loaded, &w.why)) fail_msg("%s", w.why.text);
    assert_non_null(spec_index_attachment(loaded, NULL));
    assert_memory_equal(spec_index_attachment(loaded, NULL), path, sizeof path);
    spec_index_free(loaded);
    assert_int_equal(h.live_bytes, live);
    assert_false(is_mapped(path));
    close_world(&w, &h);
    support_tmp_remove(&tmp);
}

/* A loaded index grows out of its mapping: those requests refused, too. */
static void test_append_after_load(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 41);
    support_tmp tmp;
    support_heap h;
    world w;
    char path[256];
    spec_token tok[100];
    text t = {.tok = tok, .n = 100};
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "index", path, sizeof path);
    open_world(&w, &h, 8, SPEC_EVICT_FIFO);
    w.options.snapshot = path;
    grow_some(&w, 42, 3);
    if (!world_reload(&w)) fail_msg("%s", w.why.text);
    for (size_t i = 0; i < 4; i++) {
        fill(&rng, tok, 100, i & 1 ? 3 : 90);
        t.seq = w.truth.seq[i % 3].id;
        refuse_each(&w, &h, try_append, &t, i == 2, i == 0);
    }
    support_heap_refuse(&h, 0, true);
    while (w.truth.n) assert_true(world_remove(&w, w.truth.seq[0].id));
    support_heap_refuse(&h, SIZE_MAX, false);
    if (!world_check_all(&w)) fail_msg("%s", w.why.text);
    close_world(&w, &h);
    support_tmp_remove(&tmp);
}

/* Sizes given back are the sizes asked for, through a long history. */
static uint32_t from_rng(void *user, uint32_t n) { return support_rng_below(user, n); }

static void test_accounts_balance(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 43);
    support_heap h;
    support_tmp tmp;
    char path[256];
    support_tmp_make(&tmp);
    for (uint32_t i = 0; i < 12; i++) {
        world w;
        spec_index_stats s;
        support_heap_init(&h);
        world_options o = {.depth = 1 + i % 9, .alphabet = 1 + 9 * i, .longest = 40, .max_tokens = 600};
        o.snapshot = support_tmp_path(&tmp, "index", path, sizeof path);
        o.alloc = support_alloc(&h);
        bool ok = world_open(&w, &o);
        for (uint32_t k = 0; k < 200 && ok; k++) ok = world_step(&w, (world_choice){from_rng, &rng});
        if (!ok || !world_check_all(&w)) fail_msg("%s", w.why.text);
        assert_int_equal(spec_index_get_stats(w.index, &s), SPEC_OK);
        if (!w.loads) { /* a mapping is counted by the index, not by the allocator */
            for (size_t c = 0; c < WORLD_CURSORS; c++) {
                spec_cursor_free(w.cursor[c].cursor);
                w.cursor[c].cursor = NULL;
            }
            assert_int_equal(s.bytes, h.live_bytes);
        }
        world_close(&w);
        support_heap_assert_clean(&h);
    }
    support_tmp_remove(&tmp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),
        cmocka_unit_test(test_begin),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_append_lru),
        cmocka_unit_test(test_append_all_refused),
        cmocka_unit_test(test_append_under_a_limit),
        cmocka_unit_test(test_append_single),
        cmocka_unit_test(test_append_many_short),
        cmocka_unit_test(test_compact_check_cursor),
        cmocka_unit_test(test_reading_needs_no_memory),
        cmocka_unit_test(test_shortening_needs_no_memory),
        cmocka_unit_test(test_memory_is_reused),
        cmocka_unit_test(test_save),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_append_after_load),
        cmocka_unit_test(test_accounts_balance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

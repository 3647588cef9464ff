/* SPDX-License-Identifier: MIT */
/*
 * Places: where a string ends that the index names is where it was appended last,
 * as long as that occurrence is there, and otherwise some place where it ends, or
 * none. The truth is a log of all tokens ever appended, each with the one before
 * it in its sequence:
 *
 *      log     0   1   2   3   4   5       sequence A: 0 1 4    (2 was taken back)
 *      token   A   b   c   B   c   c       sequence B: 3 5
 *      before  -   0   1   -   1   3       "c" ends at 2, 4, 5: latest 5
 *                                          "bc" ends at 2, 4: latest 4
 *
 * Each sequence begins with a token that no other has, so that reading back from
 * a place tells which of the log it is.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "spec_index.h"

enum { SEQS = 12, MAX_LOG = 6000, MAX_LENGTH = 400, FIRST = 1000, NOWHERE = -1 };

typedef struct event {
    spec_token token;
    int before; /* in its sequence, NOWHERE at its start */
    bool gone;
} event;

typedef struct story {
    spec_index *index;
    spec_index_options options;
    support_heap heap;
    support_rng rng;
    uint32_t depth, alphabet;
    event log[MAX_LOG];
    int n;
    struct {
        spec_seq id;
        int at[MAX_LENGTH]; /* (n) in the log */
        size_t n;
    } seq[SEQS];
    spec_token next_first;
    size_t exact, other, unknown; /* answers seen */
} story;

static story s; /* large */

static void story_open(uint64_t stream, uint32_t depth, uint32_t alphabet, size_t limit, spec_evict evict) {
    memset(&s, 0, sizeof s);
    s.rng = support_rng_new(support_seed(), stream);
    s.depth = depth;
    s.alphabet = alphabet;
    s.next_first = FIRST;
    support_heap_init(&s.heap);
    s.options = (spec_index_options){.size = sizeof s.options,
                                     .depth = depth,
                                     .memory_limit = limit,
                                     .evict = evict,
                                     .alloc = support_alloc(&s.heap)};
    assert_int_equal(spec_index_new(&s.index, &s.options), SPEC_OK);
}

static void story_close(void) {
    spec_index_free(s.index);
    support_heap_assert_clean(&s.heap);
}

/* ---- what is done ---------------------------------------------------------- */

/* The log follows what the index has let go, always from ends. */
static void follow(void) {
    for (size_t i = 0; i < SEQS; i++) {
        size_t n = 0;
        if (spec_index_seq_length(s.index, s.seq[i].id, &n)) s.seq[i].id = 0;
        assert_true(n <= s.seq[i].n);
        while (s.seq[i].n > n) s.log[s.seq[i].at[--s.seq[i].n]].gone = true;
    }
}

static size_t some_sequence(void) { return support_rng_below(&s.rng, SEQS); }

static void begin(size_t i) {
    assert_int_equal(spec_index_begin(s.index, &s.seq[i].id), SPEC_OK);
    s.seq[i].n = 0;
}

/* Appends n tokens to a sequence, begun if need be; what a refusal took back has
 * been there for a while. */
static int append(size_t i, size_t n) {
    spec_token tok[64];
    if (!s.seq[i].id) begin(i);
    if (s.seq[i].n + n > MAX_LENGTH || s.n + (int)n > MAX_LOG) return SPEC_OK;
    for (size_t k = 0; k < n; k++) {
        bool first = s.seq[i].n + k == 0;
        tok[k] = first ? s.next_first++ : (spec_token)support_rng_below(&s.rng, s.alphabet);
    }
    int err = spec_index_append(s.index, s.seq[i].id, tok, n);
    for (size_t k = 0; k < n && err != SPEC_ERR_NOT_FOUND; k++) {
        int before = s.seq[i].n ? s.seq[i].at[s.seq[i].n - 1] : NOWHERE;
        s.log[s.n] = (event){.token = tok[k], .before = before};
        s.seq[i].at[s.seq[i].n++] = s.n++;
    }
    follow();
    return err;
}

/* After compaction the log is as if the sequences had been appended one by one. */
static void retell(void) {
    event *log = malloc((size_t)s.n * sizeof *log);
    assert_non_null(log);
    int n = 0;
    spec_seq id = 0;
    for (; spec_index_next_seq(s.index, id, &id) == SPEC_OK && id;)
        for (size_t i = 0; i < SEQS; i++)
            for (size_t k = 0; s.seq[i].id == id && k < s.seq[i].n; k++) {
                log[n] = (event){.token = s.log[s.seq[i].at[k]].token, .before = k ? n - 1 : NOWHERE};
                s.seq[i].at[k] = n++;
            }
    memcpy(s.log, log, (size_t)n * sizeof *log);
    s.n = n;
    free(log);
}

static void save_and_load(void) {
    support_tmp tmp;
    char path[256];
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "index", path, sizeof path);
    spec_index_load_options o = {.size = sizeof o,
                                 .memory_limit = s.options.memory_limit,
                                 .evict = s.options.evict,
                                 .alloc = s.options.alloc};
    assert_int_equal(spec_index_save(s.index, path, NULL), SPEC_OK);
    spec_index_free(s.index);
    assert_int_equal(spec_index_load(&s.index, path, &o, NULL), SPEC_OK);
    support_tmp_remove(&tmp);
}

static void append_refused(size_t i) {
    if (!s.seq[i].id) begin(i);
    support_heap_refuse(&s.heap, support_rng_below(&s.rng, 4), true);
    append(i, 1 + support_rng_below(&s.rng, 60));
    support_heap_refuse(&s.heap, SIZE_MAX, false);
}

/* One change, most often an append. */
static void change(bool removals) {
    size_t i = some_sequence(), n = 1 + support_rng_below(&s.rng, 40);
    switch (removals ? support_rng_below(&s.rng, 16) : 15) {
    case 0:
    case 1:
    case 2:
        if (s.seq[i].id) assert_int_equal(spec_index_truncate(s.index, s.seq[i].id, n), SPEC_OK);
        break;
    case 3:
        if (s.seq[i].id) assert_int_equal(spec_index_remove(s.index, s.seq[i].id), SPEC_OK);
        break;
    case 4: append_refused(i); break;
    case 5:
        if (support_rng_below(&s.rng, 4) == 0) assert_int_equal(spec_index_evict(s.index, 250), SPEC_OK);
        break;
    case 6: save_and_load(); break;
    case 7:
        if (support_rng_below(&s.rng, 4)) break;
        assert_int_equal(spec_index_compact(s.index), SPEC_OK);
        retell();
        break;
    default: append(i, n); break;
    }
    follow();
}

/* ---- what is true ----------------------------------------------------------- */

/* Do the last len tokens up to a equal those up to b, neither beyond a start? */
static bool equal_before(int a, int b, uint32_t len) {
    for (; len; len--, a = s.log[a].before, b = s.log[b].before) {
        if (a == b) return true;
        if (a == NOWHERE || b == NOWHERE || s.log[a].token != s.log[b].token) return false;
    }
    return true;
}

/* The latest of the log, gone or not, where the len tokens up to `at` end. */
static int latest_of(int at, uint32_t len) {
    int e = s.n - 1;
    while (!equal_before(e, at, len)) e--;
    return e;
}

/* Which of the log a place is, having read its whole sequence from there. */
static int event_at(spec_place place) {
    size_t back = 0, i = 0;
    spec_place p = place, q = spec_index_prev_place(s.index, p);
    for (; q != SPEC_NO_PLACE; p = q, q = spec_index_prev_place(s.index, p)) {
        assert_int_equal(spec_index_next_place(s.index, q), p);
        back++;
    }
    while (i < SEQS && (s.seq[i].n == 0 || s.log[s.seq[i].at[0]].token != spec_index_token_at(s.index, p)))
        i++;
    assert_true(i < SEQS && back < s.seq[i].n);
    for (size_t k = 0; k < s.seq[i].n; k++, p = spec_index_next_place(s.index, p)) {
        assert_int_equal(spec_index_token_at(s.index, p), s.log[s.seq[i].at[k]].token);
        assert_true((p == place) == (k == back));
    }
    assert_int_equal(p, SPEC_NO_PLACE);
    return s.seq[i].at[back];
}

static spec_locus locus_of(int at, uint32_t len) {
    spec_token tok[64];
    for (uint32_t k = len; k--; at = s.log[at].before) tok[k] = s.log[at].token;
    spec_locus l = spec_index_find(s.index, tok, len);
    assert_true(l.count > 0 && l.len == len);
    return l;
}

static void check_string(int at, uint32_t len) {
    int truth = latest_of(at, len);
    spec_locus l = locus_of(at, len);
    spec_place place = spec_index_latest(s.index, l);
    if (place == SPEC_NO_PLACE) {
        assert_true(s.log[truth].gone);
        s.unknown++;
        return;
    }
    int got = event_at(place);
    if (s.log[truth].gone) {
        s.other++;
        assert_true(equal_before(got, at, len));
    } else {
        s.exact++;
        if (got != truth)
            fail_msg("a string of %u tokens: latest at %d of the log, not %d", (unsigned)len, got, truth);
    }
}

static void check_all(void) {
    spec_message why;
    if (spec_index_check(s.index, &why)) fail_msg("%s", why.text);
    for (size_t i = 0; i < SEQS; i++)
        for (size_t k = 0; k < s.seq[i].n; k++)
            for (uint32_t len = 1; len <= s.depth && len <= k + 1; len++) check_string(s.seq[i].at[k], len);
}

/* ---- tests ------------------------------------------------------------------- */

static const uint32_t depths[] = {1, 2, 4, 9};

static void test_appends(void **test) {
    (void)test;
    for (uint64_t i = 0; i < 8; i++) {
        story_open(7000 + i, depths[i % 4], 1 + (uint32_t)(i * i), 0, SPEC_EVICT_FIFO);
        for (size_t k = 0; k < 20; k++) {
            change(false);
            if (k % 4 == 3) check_all();
        }
        assert_true(s.exact > 100 && s.other == 0 && s.unknown == 0);
        story_close();
    }
}

static void run_removals(uint64_t stream, size_t limit, spec_evict evict) {
    size_t exact = 0, other = 0, unknown = 0;
    for (uint64_t i = 0; i < 8; i++) {
        story_open(stream + i, depths[i % 4], 2 + (uint32_t)(i * i), limit, evict);
        for (size_t k = 0; k < 100; k++) {
            change(true);
            if (k % 6 == 5) check_all();
        }
        exact += s.exact;
        other += s.other;
        unknown += s.unknown;
        story_close();
    }
    print_message("# latest: %zu exact, %zu another, %zu unknown\n", exact, other, unknown);
    assert_true(exact > 10000 && other > 100 && unknown > 10);
}

static void test_removals(void **test) {
    (void)test;
    run_removals(7100, 0, SPEC_EVICT_FIFO);
}

static void test_evictions(void **test) {
    (void)test;
    run_removals(7200, 30000, SPEC_EVICT_FIFO);
    run_removals(7300, 30000, SPEC_EVICT_LRU);
}

/* Through appends, of many kinds, a place stays the same token. */
static void test_places_stay(void **test) {
    (void)test;
    enum { KEPT = 200 };
    static spec_place place[KEPT];
    static int kept[KEPT];
    story_open(7400, 6, 5, 0, SPEC_EVICT_FIFO);
    for (size_t k = 0; k < 20; k++) append(some_sequence(), 20);
    for (size_t k = 0; k < KEPT; k++) {
        size_t i;
        do i = some_sequence();
        while (s.seq[i].n == 0);
        uint32_t at = support_rng_below(&s.rng, (uint32_t)s.seq[i].n);
        place[k] = spec_index_latest(s.index, locus_of(s.seq[i].at[at], at < 2 ? 1 : 3));
        kept[k] = event_at(place[k]);
    }
    for (size_t round = 0; round < 20; round++) {
        append(some_sequence(), 60);
        for (size_t k = 0; k < KEPT; k++) assert_int_equal(event_at(place[k]), kept[k]);
    }
    story_close();
}

/* What follows the latest occurrence is what came after it most recently. */
static void test_recent_continuation(void **test) {
    (void)test;
    static const spec_token text[] = {1, 2, 3, 1, 2, 4, 1, 2, 5, 9};
    spec_index *x = NULL;
    spec_seq a, b;
    assert_int_equal(spec_index_new(&x, NULL), SPEC_OK);
    assert_int_equal(spec_index_begin(x, &a), SPEC_OK);
    assert_int_equal(spec_index_begin(x, &b), SPEC_OK);
    assert_int_equal(spec_index_append(x, b, text, 10), SPEC_OK);
    spec_place p = spec_index_latest(x, spec_index_find(x, text, 2));
    assert_int_equal(spec_index_token_at(x, p), 2);
    assert_int_equal(spec_index_token_at(x, spec_index_next_place(x, p)), 5);
    assert_int_equal(spec_index_append(x, a, text, 6), SPEC_OK); /* begun earlier, appended later */
    p = spec_index_latest(x, spec_index_find(x, text, 2));
    assert_int_equal(spec_index_token_at(x, spec_index_next_place(x, p)), 4);
    /* The end of a text ends there last; what followed it before is asked before the append. */
    spec_locus next = spec_index_child(x, spec_index_find(x, text + 3, 3), 1);
    assert_int_equal(next.count, 1);
    spec_place earlier = spec_index_latest(x, next);
    assert_int_equal(spec_index_append(x, a, text, 1), SPEC_OK);
    p = spec_index_latest(x, spec_index_find(x, text + 3, 4));
    assert_int_equal(spec_index_next_place(x, p), SPEC_NO_PLACE);
    assert_true(p != earlier);
    assert_int_equal(spec_index_token_at(x, spec_index_next_place(x, earlier)), 2);
    spec_index_free(x);
}

static void test_no_places(void **test) {
    (void)test;
    spec_token one = 1;
    story_open(7500, 8, 6, 0, SPEC_EVICT_FIFO);
    assert_int_equal(spec_index_latest(s.index, spec_index_root(s.index)), SPEC_NO_PLACE);
    for (size_t k = 0; k < 12; k++) append(k, 45);
    assert_int_equal(spec_index_latest(s.index, spec_index_root(s.index)), SPEC_NO_PLACE);
    assert_int_equal(spec_index_latest(s.index, (spec_locus){0}), SPEC_NO_PLACE);
    spec_place last = spec_index_latest(s.index, spec_index_tail(s.index, s.seq[11].id));
    assert_int_equal(event_at(last), s.n - 1);
    assert_int_equal(spec_index_truncate(s.index, s.seq[11].id, 1), SPEC_OK);
    assert_int_equal(spec_index_prev_place(s.index, last), SPEC_NO_PLACE); /* it is no more */
    assert_true(spec_index_token_at(s.index, last) < 0);
    while (s.seq[0].n) {
        for (size_t i = 0; i < SEQS; i++)
            assert_int_equal(spec_index_truncate(s.index, s.seq[i].id, 7), SPEC_OK);
        follow();
    }
    assert_int_equal(spec_index_latest(s.index, spec_index_find(s.index, &one, 1)), SPEC_NO_PLACE);
    for (uint64_t p = 0; p <= UINT32_MAX; p += p < 5000 ? 1 : 65535) {
        assert_int_equal(spec_index_next_place(s.index, (spec_place)p), SPEC_NO_PLACE);
        assert_int_equal(spec_index_prev_place(s.index, (spec_place)p), SPEC_NO_PLACE);
        assert_true(spec_index_token_at(s.index, (spec_place)p) < 0);
    }
    assert_true(spec_index_token_at(s.index, SPEC_NO_PLACE) < 0);
    story_close();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends),     cmocka_unit_test(test_removals),
        cmocka_unit_test(test_evictions),   cmocka_unit_test(test_recent_continuation),
        cmocka_unit_test(test_places_stay), cmocka_unit_test(test_no_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

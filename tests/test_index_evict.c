/* SPDX-License-Identifier: MIT */
/*
 * Eviction: who goes, in which order, how much at a time, and that the index
 * stays exact about what remains and within its memory.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "index_world.h"
#include "spec_index.h"

static uint32_t from_rng(void *user, uint32_t n) { return support_rng_below(user, n); }

static spec_index_stats stats_of(const spec_index *x) {
    spec_index_stats s;
    assert_int_equal(spec_index_get_stats(x, &s), SPEC_OK);
    return s;
}

/* ---- random histories under a limit ------------------------------------ */

static void run_limited(spec_evict evict, uint64_t stream, const char *snapshot) {
    static const uint32_t depths[] = {1, 3, 8, 64};
    uint64_t seed = support_seed(), evicted = 0;
    for (uint64_t i = 0; i < 16; i++) {
        support_rng rng = support_rng_new(seed, stream + i);
        world w;
        world_options o = {.depth = depths[i % 4],
                           .alphabet = 1 + (uint32_t)(i * i),
                           .longest = 30,
                           .memory_limit = 6000 + 3000 * (i / 4),
                           .evict = evict,
                           .snapshot = snapshot};
        bool ok = world_open(&w, &o);
        for (uint32_t k = 0; k < 250 && ok; k++) {
            ok = world_step(&w, (world_choice){from_rng, &rng});
            ok = ok && (k % 5 == 4 ? world_check_all(&w) : world_check(&w));
        }
        if (!ok || !world_check_all(&w))
            fail_msg("SEED=%llu stream %llu: %s", (unsigned long long)seed, (unsigned long long)(stream + i),
                     w.why.text);
        evicted += w.evicted;
        world_close(&w);
    }
    assert_true(evicted > 50); /* or nothing was tested */
}

static void test_fifo_histories(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256];
    support_tmp_make(&tmp);
    run_limited(SPEC_EVICT_FIFO, 3000, support_tmp_path(&tmp, "index", path, sizeof path));
    support_tmp_remove(&tmp);
}

static void test_lru_histories(void **state) {
    (void)state;
    run_limited(SPEC_EVICT_LRU, 4000, NULL);
}

/* ---- the order, by hand ------------------------------------------------ */

enum { SEQS = 5, LEN = 30 };

/* Five sequences that share no token: sequence i holds i * 100 + 0..29. */
static spec_index *five(spec_evict evict, spec_seq *s) {
    spec_index *x = NULL;
    spec_token tok[LEN];
    spec_index_options o = {.size = sizeof o, .evict = evict, .depth = 8};
    assert_int_equal(spec_index_new(&x, &o), SPEC_OK);
    for (size_t i = 0; i < SEQS; i++) {
        for (size_t k = 0; k < LEN; k++) tok[k] = (spec_token)(100 * i + k);
        assert_int_equal(spec_index_begin(x, &s[i]), SPEC_OK);
        assert_int_equal(spec_index_append(x, s[i], tok, LEN), SPEC_OK);
    }
    return x;
}

/* Evicts one sequence after the other; they must go in this order. */
static void assert_order(spec_index *x, const spec_seq *s, const size_t *order) {
    for (size_t i = 0; i < SEQS; i++) {
        size_t n = 0;
        uint64_t held = stats_of(x).tokens;
        assert_int_equal(spec_index_evict(x, held - LEN / 2), SPEC_OK);
        assert_int_equal(spec_index_seq_length(x, s[order[i]], &n), SPEC_OK);
        assert_true(n <= LEN / 2 && n > 0); /* from its end, and no more than was asked */
        assert_int_equal(spec_index_evict(x, held - LEN), SPEC_OK);
        assert_int_equal(spec_index_seq_length(x, s[order[i]], &n), SPEC_ERR_NOT_FOUND);
        assert_int_equal(stats_of(x).tokens, held - LEN);
        assert_int_equal(spec_index_check(x, NULL), SPEC_OK);
    }
    assert_int_equal(stats_of(x).evicted, SEQS);
    assert_int_equal(stats_of(x).evicted_tokens, SEQS * LEN);
}

static void touch(const spec_index *x, size_t i) {
    spec_token tok[2] = {(spec_token)(100 * i + 3), (spec_token)(100 * i + 4)};
    spec_locus at = spec_index_find(x, tok, 2);
    assert_int_equal(at.count, 1);
    spec_index_touch(x, at);
}

static void test_fifo_order(void **state) {
    (void)state;
    static const size_t order[SEQS] = {0, 1, 2, 3, 4};
    spec_seq s[SEQS];
    spec_index *x = five(SPEC_EVICT_FIFO, s);
    touch(x, 0); /* means nothing to FIFO */
    assert_order(x, s, order);
    spec_index_free(x);
}

static void test_lru_order(void **state) {
    (void)state;
    static const size_t order[SEQS] = {2, 4, 0, 3, 1};
    const spec_token more = 399;
    spec_seq s[SEQS];
    spec_index *x = five(SPEC_EVICT_LRU, s);
    touch(x, 1);
    touch(x, 0);
    assert_int_equal(spec_index_append(x, s[3], &more, 1), SPEC_OK);
    assert_int_equal(spec_index_truncate(x, s[3], 1), SPEC_OK); /* no use, but the append was */
    touch(x, 1);
    assert_order(x, s, order);
    spec_index_free(x);
}

/* What is left of a victim is the beginning of a text whose end is gone: going on
 * would join what never stood together. */
static void test_victims_take_no_more(void **state) {
    (void)state;
    const spec_token more = 5;
    spec_seq s[SEQS];
    size_t n = 0;
    spec_index *x = five(SPEC_EVICT_FIFO, s);
    assert_int_equal(spec_index_evict(x, stats_of(x).tokens - 10), SPEC_OK);
    assert_int_equal(spec_index_append(x, s[0], &more, 1), SPEC_ERR_NOT_FOUND);
    assert_int_equal(spec_index_compact(x), SPEC_OK);
    assert_int_equal(spec_index_append(x, s[0], &more, 1), SPEC_ERR_NOT_FOUND);
    assert_int_equal(spec_index_end(x, s[0]), SPEC_OK);
    assert_int_equal(spec_index_append(x, s[0], &more, 1), SPEC_ERR_NOT_FOUND);
    assert_int_equal(spec_index_seq_length(x, s[0], &n), SPEC_OK);
    assert_int_equal(n, LEN - 10);
    assert_int_equal(spec_index_append(x, s[1], &more, 1), SPEC_OK);
    assert_int_equal(spec_index_remove(x, s[0]), SPEC_OK);
    assert_int_equal(spec_index_check(x, NULL), SPEC_OK);
    spec_index_free(x);
}

/* A string that a later sequence repeats belongs to that sequence, until the
 * repetition is taken back. */
static void test_touch_means_the_latest(void **state) {
    (void)state;
    static const size_t order[SEQS] = {1, 2, 3, 4, 0};
    const spec_token again[] = {3, 4};
    spec_seq s[SEQS];
    spec_index *x = five(SPEC_EVICT_LRU, s);
    assert_int_equal(spec_index_append(x, s[4], again, 2), SPEC_OK);
    assert_int_equal(spec_index_truncate(x, s[4], 2), SPEC_OK);
    touch(x, 0);
    assert_order(x, s, order);
    spec_index_free(x);
}

static void test_touch_the_repeater(void **state) {
    (void)state;
    const spec_token again[] = {3, 4};
    spec_seq s[SEQS], left = 0;
    spec_index *x = five(SPEC_EVICT_LRU, s);
    assert_int_equal(spec_index_append(x, s[2], again, 2), SPEC_OK);
    touch(x, 3);
    touch(x, 4);                                       /* 0 1 2 3 4, the next to go first */
    spec_index_touch(x, spec_index_find(x, again, 2)); /* in 0 and, later, in 2: 0 1 3 4 2 */
    for (size_t i = 0; i < 4; i++) assert_int_equal(spec_index_evict(x, stats_of(x).tokens - LEN), SPEC_OK);
    assert_int_equal(spec_index_next_seq(x, 0, &left), SPEC_OK);
    assert_true(left == s[2]);
    assert_int_equal(stats_of(x).tokens, LEN + 2);
    spec_index_free(x);
}

/* ---- the limit --------------------------------------------------------- */

/* Half copied from before, half new: classes, single ones and branches. */
static void make_text(support_rng *rng, spec_token *tok, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i > 100 && support_rng_below(rng, 20) == 0) {
            size_t from = support_rng_below(rng, (uint32_t)i - 20), len = support_rng_below(rng, 20);
            for (size_t k = 0; k < len && i + 1 < n; k++, i++) tok[i] = tok[from + k];
        }
        uint32_t bound = 1 + support_rng_below(rng, 2000); /* small ids are frequent */
        tok[i] = (spec_token)support_rng_below(rng, bound);
    }
}

static void append_new(spec_index *x, const spec_token *tok, size_t n) {
    spec_seq s;
    assert_int_equal(spec_index_begin(x, &s), SPEC_OK);
    assert_int_equal(spec_index_append(x, s, tok, n), SPEC_OK);
    assert_int_equal(spec_index_end(x, s), SPEC_OK);
}

/* However long the victim, one call takes little of it: no append stops to evict
 * a long sequence whole. */
static void test_eviction_comes_in_slices(void **state) {
    (void)state;
    enum { N = 20000, LIMIT = 200000, APPENDS = 1500, MOST = 640 };
    support_rng rng = support_rng_new(support_seed(), 21);
    spec_token *tok = calloc(N, sizeof *tok);
    spec_index *x = NULL;
    spec_seq s;
    uint64_t before = 0, most = 0;
    spec_index_options o = {.size = sizeof o, .memory_limit = LIMIT};
    assert_non_null(tok);
    make_text(&rng, tok, N);
    assert_int_equal(spec_index_new(&x, &o), SPEC_OK);
    append_new(x, tok, N); /* alone, it may pass the limit: it grows, so it is no victim */
    spec_index_stats alone = stats_of(x);
    assert_int_equal(alone.evicted_tokens, 0);
    assert_true(alone.bytes > LIMIT);
    assert_int_equal(spec_index_begin(x, &s), SPEC_OK);
    for (size_t i = 0; i < APPENDS; i++) {
        assert_int_equal(spec_index_append(x, s, tok + i, 1), SPEC_OK);
        spec_index_stats now = stats_of(x);
        if (now.evicted_tokens - before > most) most = now.evicted_tokens - before;
        before = now.evicted_tokens;
        assert_true(now.bytes <= alone.bytes + alone.bytes / 50); /* it grows no further */
    }
    print_message("# %llu tokens evicted, %llu at most for one\n", (unsigned long long)before,
                  (unsigned long long)most);
    assert_true(most > 1 && most <= MOST);
    assert_true(stats_of(x).bytes_used <= LIMIT + LIMIT / 10); /* it comes back to the limit */
    assert_int_equal(spec_index_check(x, NULL), SPEC_OK);
    spec_index_free(x);
    free(tok);
}

/* Ten times the limit goes through; memory ends where the first fill left it. */
static void churn(spec_evict evict, uint64_t stream) {
    enum { LIMIT = 2000000, SEQ = 300 };
    support_rng rng = support_rng_new(support_seed(), stream);
    spec_token tok[SEQ];
    spec_index *x = NULL;
    uint64_t filled = 0, at_fill = 0, most = 0;
    spec_index_options o = {.size = sizeof o, .memory_limit = LIMIT, .evict = evict};
    assert_int_equal(spec_index_new(&x, &o), SPEC_OK);
    while (!filled || stats_of(x).tokens_total < 11 * at_fill) {
        make_text(&rng, tok, SEQ);
        append_new(x, tok, SEQ);
        if (evict == SPEC_EVICT_LRU && support_rng_below(&rng, 2))
            spec_index_touch(x, spec_index_find(x, tok, 2));
        spec_index_stats s = stats_of(x);
        if (!filled && s.evicted) {
            filled = s.bytes;
            at_fill = s.tokens_total;
        }
        if (s.bytes > most) most = s.bytes;
    }
    spec_index_stats end = stats_of(x);
    print_message("# limit %d: %llu bytes after the first fill, %llu at the end, %llu at most\n", LIMIT,
                  (unsigned long long)filled, (unsigned long long)end.bytes, (unsigned long long)most);
    assert_true(most <= LIMIT);
    assert_true(end.bytes <= filled + filled / 50);
    assert_true(end.tokens * 2 > at_fill); /* it still holds what memory allows */
    assert_int_equal(spec_index_check(x, NULL), SPEC_OK);
    spec_index_free(x);
}

static void test_churn_fifo(void **state) { (void)state, churn(SPEC_EVICT_FIFO, 22); }
static void test_churn_lru(void **state) { (void)state, churn(SPEC_EVICT_LRU, 23); }

/* Text of another kind after each fill: memory for branches must serve for
 * single classes later and the other way round. */
static void test_churn_of_changing_text(void **state) {
    (void)state;
    enum { LIMIT = 2000000, SEQ = 200, KINDS = 5 };
    support_rng rng = support_rng_new(support_seed(), 24);
    spec_token tok[SEQ];
    spec_index *x = NULL;
    uint64_t most = 0;
    spec_index_options o = {.size = sizeof o, .memory_limit = LIMIT, .depth = 32};
    assert_int_equal(spec_index_new(&x, &o), SPEC_OK);
    for (uint32_t kind = 0; kind < 2 * KINDS; kind++)
        for (size_t n = 0; n < 600; n++) {
            static const uint32_t alphabet[KINDS] = {1000000, 2, 50, 4000, 7};
            for (size_t i = 0; i < SEQ; i++)
                tok[i] = (spec_token)support_rng_below(&rng, alphabet[kind % KINDS]);
            append_new(x, tok, SEQ);
            if (stats_of(x).bytes > most) most = stats_of(x).bytes;
        }
    print_message("# limit %d: %llu bytes at most\n", LIMIT, (unsigned long long)most);
    assert_true(most <= LIMIT);
    assert_true(stats_of(x).bytes_used <= LIMIT);
    assert_int_equal(spec_index_check(x, NULL), SPEC_OK);
    spec_index_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fifo_order),
        cmocka_unit_test(test_lru_order),
        cmocka_unit_test(test_victims_take_no_more),
        cmocka_unit_test(test_touch_means_the_latest),
        cmocka_unit_test(test_touch_the_repeater),
        cmocka_unit_test(test_eviction_comes_in_slices),
        cmocka_unit_test(test_fifo_histories),
        cmocka_unit_test(test_lru_histories),
        cmocka_unit_test(test_churn_fifo),
        cmocka_unit_test(test_churn_lru),
        cmocka_unit_test(test_churn_of_changing_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

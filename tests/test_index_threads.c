/* SPDX-License-Identifier: MIT */
/*
 * What may run at the same time: any calls that take a const index, cursors of
 * their own, and saving; and growing between them under the caller's lock. Built
 * with TSan by `make tsan`; everywhere else it checks the answers alone.
 */
#include "support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "spec_index.h"

enum { READERS = 8, SEQS = 12, LENGTH = 600, ROUNDS = 40 };

static spec_token text[SEQS][LENGTH];

static void make_text(uint64_t stream) {
    support_rng rng = support_rng_new(support_seed(), stream);
    for (size_t s = 0; s < SEQS; s++)
        for (size_t i = 0; i < LENGTH; i++) {
            bool repeat = i > 20 && support_rng_below(&rng, 3) > 0;
            text[s][i] = repeat ? text[s / 2][i - 13] : (spec_token)support_rng_below(&rng, 200);
        }
}

static spec_index *build(size_t sequences) {
    spec_index *x = NULL;
    spec_seq s;
    spec_index_options o = {.size = sizeof o, .depth = 32, .evict = SPEC_EVICT_LRU};
    assert_int_equal(spec_index_new(&x, &o), SPEC_OK);
    for (size_t i = 0; i < sequences; i++) {
        assert_int_equal(spec_index_begin(x, &s), SPEC_OK);
        assert_int_equal(spec_index_append(x, s, text[i], LENGTH), SPEC_OK);
    }
    return x;
}

/* ---- reading ---------------------------------------------------------- */

/* A sum over answers of every kind; equal for equal indexes. */
static uint64_t ask(const spec_index *x, spec_cursor *c, size_t round) {
    const spec_token *tok = text[round % SEQS] + round % 100;
    uint64_t sum = 0;
    spec_child child[4];
    for (size_t i = 0; i < 200; i++) {
        spec_cursor_feed(c, tok + i, 1);
        spec_locus at = spec_cursor_locus(c);
        sum = sum * 31 + at.len + at.count;
        spec_index_touch(x, at);
        for (; at.len; at = spec_index_suffix(x, at)) {
            size_t n = spec_index_children(x, at, 0, 4, child);
            for (size_t k = 0; k < n; k++) sum += (uint64_t)child[k].token * child[k].locus.count;
        }
        sum += spec_index_match(x, tok, i).len + spec_index_count(x, tok + i, 3);
    }
    spec_index_stats s; /* no asserts here: this is not the test's thread */
    return spec_index_get_stats(x, &s) ? 0 : sum + s.tokens;
}

typedef struct reader {
    const spec_index *index;
    size_t number;
    uint64_t sum[ROUNDS];
} reader;

static void *read_all(void *arg) {
    reader *r = arg;
    spec_cursor *c = NULL;
    if (spec_cursor_new(&c, r->index)) return NULL;
    for (size_t i = 0; i < ROUNDS; i++) {
        if (i % 4 == 0) spec_cursor_reset(c);
        r->sum[i] = ask(r->index, c, r->number + i);
    }
    spec_cursor_free(c);
    return NULL;
}

/* What a reader must have seen, found alone. */
static void assert_sums(const spec_index *x, const reader *r) {
    reader alone = {.index = x, .number = r->number};
    read_all(&alone);
    for (size_t i = 0; i < ROUNDS; i++) assert_true(alone.sum[i] == r->sum[i]);
}

static void test_readers(void **state) {
    (void)state;
    make_text(71);
    spec_index *x = build(SEQS);
    pthread_t id[READERS];
    static reader r[READERS];
    for (size_t i = 0; i < READERS; i++) {
        r[i] = (reader){.index = x, .number = i};
        assert_int_equal(pthread_create(&id[i], NULL, read_all, &r[i]), 0);
    }
    for (size_t i = 0; i < READERS; i++) assert_int_equal(pthread_join(id[i], NULL), 0);
    for (size_t i = 0; i < READERS; i++) assert_sums(x, &r[i]);
    assert_int_equal(spec_index_check(x, NULL), SPEC_OK);
    spec_index_free(x);
}

/* ---- saving meanwhile --------------------------------------------------- */

static void test_saving_beside_readers(void **state) {
    (void)state;
    make_text(72);
    support_tmp tmp;
    char path[256];
    spec_message why = {{0}};
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "index", path, sizeof path);
    spec_index *x = build(SEQS), *loaded = NULL;
    pthread_t id[READERS];
    static reader r[READERS];
    for (size_t i = 0; i < READERS; i++) {
        r[i] = (reader){.index = x, .number = 3 * i};
        assert_int_equal(pthread_create(&id[i], NULL, read_all, &r[i]), 0);
    }
    for (size_t i = 0; i < 5; i++)
        if (spec_index_save(x, path, &why)) fail_msg("%s", why.text);
    for (size_t i = 0; i < READERS; i++) assert_int_equal(pthread_join(id[i], NULL), 0);
    if (spec_index_load(&loaded, path, NULL, &why)) fail_msg("%s", why.text);
    if (spec_index_check(loaded, &why)) fail_msg("%s", why.text);
    for (size_t i = 0; i < READERS; i++) {
        assert_sums(x, &r[i]);
        assert_sums(loaded, &r[i]);
    }
    spec_index_free(loaded);
    spec_index_free(x);
    support_tmp_remove(&tmp);
}

/* ---- growing under a lock ------------------------------------------------ */

/* Each thread appends sequences of its own under the write lock and follows
 * another's text with a cursor under the read lock. */
typedef struct shared {
    pthread_rwlock_t lock;
    spec_index *index;
} shared;

typedef struct grower {
    shared *s;
    size_t number;
    bool failed;
    uint64_t longest; /* match that its cursor saw */
} grower;

static bool append_locked(shared *s, spec_seq seq, const spec_token *tok, size_t n) {
    pthread_rwlock_wrlock(&s->lock);
    int err = spec_index_append(s->index, seq, tok, n);
    pthread_rwlock_unlock(&s->lock);
    return err == SPEC_OK;
}

static uint32_t follow_locked(shared *s, spec_cursor *c, const spec_token *tok, size_t n) {
    pthread_rwlock_rdlock(&s->lock);
    spec_cursor_feed(c, tok, n);
    spec_locus at = spec_cursor_locus(c);
    spec_index_touch(s->index, at);
    pthread_rwlock_unlock(&s->lock);
    return at.len;
}

static void *grow(void *arg) {
    grower *g = arg;
    shared *s = g->s;
    spec_cursor *c = NULL;
    spec_seq seq = 0;
    pthread_rwlock_wrlock(&s->lock);
    g->failed = spec_index_begin(s->index, &seq) || spec_cursor_new(&c, s->index);
    pthread_rwlock_unlock(&s->lock);
    for (size_t i = 0; i + 10 <= LENGTH && !g->failed; i += 10) {
        g->failed = !append_locked(s, seq, text[g->number] + i, 10);
        uint32_t len = follow_locked(s, c, text[g->number ^ 1] + i, 10);
        if (len > g->longest) g->longest = len;
    }
    spec_cursor_free(c);
    return NULL;
}

static void test_growing_under_a_lock(void **state) {
    (void)state;
    make_text(73);
    shared s = {.index = build(0)};
    pthread_t id[READERS];
    grower g[READERS];
    uint64_t longest = 0;
    assert_int_equal(pthread_rwlock_init(&s.lock, NULL), 0);
    for (size_t i = 0; i < READERS; i++) {
        g[i] = (grower){.s = &s, .number = i};
        assert_int_equal(pthread_create(&id[i], NULL, grow, &g[i]), 0);
    }
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(id[i], NULL), 0);
        assert_false(g[i].failed);
        if (g[i].longest > longest) longest = g[i].longest;
    }
    assert_true(longest > 5);
    /* the same as what one thread builds, whatever the interleaving was */
    spec_index *alone = build(READERS);
    assert_int_equal(spec_index_check(s.index, NULL), SPEC_OK);
    for (size_t i = 0; i < READERS; i++)
        for (size_t from = 0; from + 32 <= LENGTH; from++)
            for (size_t n = 1; n <= 32; n += 3)
                assert_int_equal(spec_index_count(s.index, text[i] + from, n),
                                 spec_index_count(alone, text[i] + from, n));
    spec_index_free(alone);
    spec_index_free(s.index);
    pthread_rwlock_destroy(&s.lock);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers),
        cmocka_unit_test(test_saving_beside_readers),
        cmocka_unit_test(test_growing_under_a_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The suffix index is exact: by hand on a small text, then by long random
 * histories of growth, truncation, removal, compaction and reloading, against
 * the oracle. Eviction is in test_index_evict.c, refused memory in
 * test_index_memory.c.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "index_world.h"
#include "spec_index.h"

static uint32_t from_rng(void *user, uint32_t n) { return support_rng_below(user, n); }

/* ---- by hand ---------------------------------------------------------- */

enum { A = 10, B = 20, C = 30, D = 40 };

static spec_index *index_of(const spec_token *tok, size_t n, uint32_t depth, spec_seq *seq) {
    spec_index *x = NULL;
    spec_index_options o = {.size = sizeof o, .depth = depth};
    assert_int_equal(spec_index_new(&x, &o), SPEC_OK);
    assert_int_equal(spec_index_begin(x, seq), SPEC_OK);
    assert_int_equal(spec_index_append(x, *seq, tok, n), SPEC_OK);
    assert_int_equal(spec_index_check(x, NULL), SPEC_OK);
    return x;
}

#define COUNT(x, ...)                                                                                        \
    spec_index_count((x), (const spec_token[]){__VA_ARGS__},                                                 \
                     sizeof((const spec_token[]){__VA_ARGS__}) / sizeof(spec_token))

static void test_counts_by_hand(void **state) {
    (void)state;
    const spec_token text[] = {A, B, C, A, B, D, A, B, C};
    spec_seq s;
    spec_index *x = index_of(text, 9, 4, &s);
    assert_int_equal(COUNT(x, A), 3);
    assert_int_equal(COUNT(x, B), 3);
    assert_int_equal(COUNT(x, C), 2);
    assert_int_equal(COUNT(x, D), 1);
    assert_int_equal(COUNT(x, A, B), 3);
    assert_int_equal(COUNT(x, A, B, C), 2);
    assert_int_equal(COUNT(x, A, B, D), 1);
    assert_int_equal(COUNT(x, B, C, A, B), 1);
    assert_int_equal(COUNT(x, B, A), 0);
    assert_int_equal(COUNT(x, A, B, C, D), 0);
    assert_int_equal(COUNT(x, A, B, C, A, B), 0); /* occurs, but is longer than the depth */
    assert_int_equal(spec_index_count(x, NULL, 0), 9);
    spec_index_free(x);
}

static void test_children_by_hand(void **state) {
    (void)state;
    const spec_token text[] = {A, B, C, A, B, D, A, B, C}, ab[] = {A, B};
    spec_seq s;
    spec_index *x = index_of(text, 9, 4, &s);
    spec_child c[4];
    spec_locus at = spec_index_find(x, ab, 2);
    assert_int_equal(at.len, 2);
    assert_int_equal(spec_index_n_children(x, at), 2);
    assert_int_equal(spec_index_children(x, at, 0, 4, c), 2);
    assert_int_equal(c[0].token, C);
    assert_int_equal(c[0].locus.count, 2);
    assert_int_equal(c[1].token, D);
    assert_int_equal(c[1].locus.count, 1);
    assert_int_equal(c[1].locus.len, 3);
    assert_int_equal(spec_index_children(x, spec_index_root(x), 2, 1, c), 1);
    assert_int_equal(c[0].token, C); /* A and B, three times each, come before it */
    assert_int_equal(spec_index_child(x, at, A).count, 0);
    spec_index_free(x);
}

static void test_suffixes_by_hand(void **state) {
    (void)state;
    const spec_token text[] = {A, B, C, A, B, D, C};
    const spec_token bcab[] = {B, C, A, B};
    spec_seq s;
    spec_index *x = index_of(text, 7, 4, &s);
    spec_locus at = spec_index_find(x, bcab, 4); /* once; so is CAB, but AB occurs twice */
    at = spec_index_suffix(x, at);
    assert_int_equal(at.len, 2);
    assert_int_equal(at.count, 2);
    at = spec_index_suffix(x, at); /* B occurs twice too: the empty string is next */
    assert_int_equal(at.len, 0);
    assert_int_equal(at.count, 7);
    at = spec_index_suffix(x, at);
    assert_int_equal(at.len, 0);
    at = spec_index_tail(x, s);
    assert_int_equal(at.len, 4);
    assert_int_equal(at.count, 1);
    assert_int_equal(spec_index_suffix(x, at).len, 1); /* C */
    spec_index_free(x);
}

static void test_sequences_stay_apart(void **state) {
    (void)state;
    const spec_token ab[] = {A, B};
    spec_seq s, t;
    spec_index *x = index_of(ab, 2, 4, &s);
    assert_int_equal(spec_index_begin(x, &t), SPEC_OK);
    assert_int_equal(spec_index_append(x, t, ab, 2), SPEC_OK);
    assert_int_equal(COUNT(x, A, B), 2);
    assert_int_equal(COUNT(x, B, A), 0);
    assert_int_equal(spec_index_append(x, s, ab, 1), SPEC_OK); /* s is A B A, t still A B */
    assert_int_equal(COUNT(x, B, A), 1);
    assert_int_equal(spec_index_remove(x, s), SPEC_OK);
    assert_int_equal(COUNT(x, B, A), 0);
    assert_int_equal(COUNT(x, A, B), 1);
    spec_index_free(x);
}

static void test_match_by_hand(void **state) {
    (void)state;
    const spec_token text[] = {A, B, C, A, B, D}, asked[] = {D, D, C, A, B, C, A};
    spec_seq s;
    spec_cursor *c = NULL;
    spec_index *x = index_of(text, 6, 4, &s);
    assert_int_equal(spec_cursor_new(&c, x), SPEC_OK);
    static const uint32_t length[] = {1, 1, 1, 2, 3, 3, 4}; /* D, D, C, CA, CAB, ABC, ABCA */
    for (size_t i = 0; i < 7; i++) {
        spec_cursor_feed(c, &asked[i], 1);
        assert_int_equal(spec_cursor_locus(c).len, length[i]);
        assert_int_equal(spec_index_match(x, asked, i + 1).len, length[i]);
    }
    assert_int_equal(spec_index_append(x, s, &asked[1], 1), SPEC_OK); /* text ends in D D */
    spec_cursor_reset(c);
    assert_int_equal(spec_cursor_locus(c).len, 0);
    spec_cursor_feed(c, asked, 2);
    assert_int_equal(spec_cursor_locus(c).len, 2);
    assert_int_equal(spec_index_truncate(x, s, 1), SPEC_OK);
    assert_int_equal(spec_cursor_locus(c).len, 1);
    assert_int_equal(spec_index_append(x, s, &asked[1], 1), SPEC_OK);
    assert_int_equal(spec_cursor_locus(c).len, 2); /* "that occurs now" */
    spec_cursor_free(c);
    spec_index_free(x);
}

/* ---- edges of the interface ------------------------------------------- */

static void test_empty(void **state) {
    (void)state;
    const spec_token t = 3;
    spec_index *x = NULL;
    spec_index_stats s;
    spec_seq q = 5;
    assert_int_equal(spec_index_new(&x, NULL), SPEC_OK);
    assert_int_equal(spec_index_root(x).count, 0);
    assert_int_equal(spec_index_n_children(x, spec_index_root(x)), 0);
    assert_int_equal(spec_index_count(x, &t, 1), 0);
    assert_int_equal(spec_index_match(x, &t, 1).len, 0);
    assert_int_equal(spec_index_suffix(x, spec_index_root(x)).len, 0);
    assert_int_equal(spec_index_next_seq(x, 0, &q), SPEC_OK);
    assert_int_equal(q, 0);
    assert_int_equal(spec_index_get_stats(x, &s), SPEC_OK);
    assert_int_equal(s.depth, SPEC_INDEX_DEFAULT_DEPTH);
    assert_int_equal(s.tokens, 0);
    assert_true(s.bytes < 3072);
    assert_int_equal(spec_index_check(x, NULL), SPEC_OK);
    assert_int_equal(spec_index_compact(x), SPEC_OK);
    assert_int_equal(spec_index_evict(x, 0), SPEC_OK);
    spec_index_free(x);
    spec_index_free(NULL);
    spec_cursor_free(NULL);
}

static void test_options(void **state) {
    (void)state;
    spec_index *x = NULL;
    spec_index_stats s;
    spec_index_options o = {.size = sizeof o, .depth = SPEC_INDEX_MAX_DEPTH + 1};
    assert_int_equal(spec_index_new(&x, &o), SPEC_ERR_INVALID);
    assert_null(x);
    o.depth = SPEC_INDEX_MAX_DEPTH;
    o.tokenizer_id = 0x1234567890abcdefu;
    assert_int_equal(spec_index_new(&x, &o), SPEC_OK);
    assert_int_equal(spec_index_get_stats(x, &s), SPEC_OK);
    assert_int_equal(s.depth, SPEC_INDEX_MAX_DEPTH);
    assert_true(s.tokenizer_id == o.tokenizer_id);
    spec_index_free(x);
    for (o.memory_limit = 1; o.memory_limit < 100000; o.memory_limit *= 3) { /* none is too low */
        const spec_token tok[] = {1, 2, 1};
        spec_seq seq;
        assert_int_equal(spec_index_new(&x, &o), SPEC_OK);
        assert_int_equal(spec_index_begin(x, &seq), SPEC_OK);
        assert_int_equal(spec_index_append(x, seq, tok, 3), SPEC_OK);
        assert_int_equal(spec_index_count(x, tok, 1), 2);
        spec_index_free(x);
    }
}

static void test_append_nothing(void **state) {
    (void)state;
    const spec_token t = 1;
    spec_seq s;
    size_t n = 9;
    spec_index *x = index_of(&t, 1, 8, &s);
    assert_int_equal(spec_index_append(x, s, &t, 0), SPEC_OK);
    assert_int_equal(spec_index_seq_length(x, s, &n), SPEC_OK);
    assert_int_equal(n, 1);
    assert_int_equal(spec_index_truncate(x, s, 100), SPEC_OK);
    assert_int_equal(spec_index_seq_length(x, s, &n), SPEC_OK); /* empty, but still there */
    assert_int_equal(n, 0);
    assert_int_equal(spec_index_tail(x, s).len, 0);
    assert_int_equal(spec_index_append(x, s, &t, 1), SPEC_OK);
    assert_int_equal(COUNT(x, 1), 1);
    spec_index_free(x);
}

/* An error in the middle of a call leaves everything as it was. */
static void test_refused_append_changes_nothing(void **state) {
    (void)state;
    spec_token tok[1000];
    world w;
    spec_seq s;
    assert_true(world_open(&w, &(world_options){.depth = 16, .alphabet = 3}));
    for (size_t i = 0; i < 1000; i++) tok[i] = (spec_token)(i * i % 7 % 3);
    assert_true(world_begin(&w, &s) && world_append(&w, s, tok, 100));
    tok[999] = -5;
    assert_int_equal(spec_index_append(w.index, s, tok, 1000), SPEC_ERR_INVALID);
    if (!world_check_all(&w)) fail_msg("%s", w.why.text);
    assert_int_equal(spec_index_end(w.index, s), SPEC_OK);
    assert_int_equal(spec_index_end(w.index, s), SPEC_OK);
    assert_int_equal(spec_index_append(w.index, s, tok, 10), SPEC_ERR_STATE);
    if (!world_check_all(&w)) fail_msg("%s", w.why.text);
    assert_true(world_truncate(&w, s, 40)); /* an ended sequence may be shortened */
    if (!world_check_all(&w)) fail_msg("%s", w.why.text);
    world_close(&w);
}

/* ---- random histories -------------------------------------------------- */

typedef struct plan {
    world_options options;
    uint32_t steps;
    uint32_t every; /* steps between full comparisons */
} plan;

static void run_plan(const plan *p, uint64_t stream) {
    uint64_t seed = support_seed();
    support_rng rng = support_rng_new(seed, stream);
    world w;
    bool ok = world_open(&w, &p->options);
    for (uint32_t i = 0; i < p->steps && ok; i++) {
        ok = world_step(&w, (world_choice){from_rng, &rng});
        ok = ok && (i % p->every == p->every - 1 ? world_check_all(&w) : world_check(&w));
    }
    ok = ok && world_check_all(&w);
    if (!ok)
        fail_msg("SEED=%llu stream %llu, depth %u, alphabet %u, period %u: %s", (unsigned long long)seed,
                 (unsigned long long)stream, p->options.depth, p->options.alphabet, p->options.period,
                 w.why.text);
    world_close(&w);
}

static const uint32_t depths[] = {1, 2, 3, 5, 8, 64, 4096};
enum { N_DEPTHS = sizeof depths / sizeof *depths };

/* Deep tries are costly: fewer full comparisons of shorter texts. */
static plan plan_for(uint32_t depth) {
    plan p = {.steps = depth <= 8 ? 500 : 300, .every = depth <= 8 ? 1 : 12};
    p.options.depth = depth;
    p.options.max_tokens = depth <= 8 ? 140 : depth <= 64 ? 260 : 420;
    p.options.longest = depth <= 8 ? 12 : 60;
    return p;
}

static void run_alphabet(uint32_t alphabet, bool extreme, uint64_t stream, const char *snapshot) {
    for (size_t i = 0; i < N_DEPTHS; i++) {
        plan p = plan_for(depths[i]);
        p.options.alphabet = alphabet;
        p.options.extreme = extreme;
        p.options.snapshot = snapshot;
        run_plan(&p, stream * 100 + i);
    }
}

static void with_snapshots(void (*run)(const char *path)) {
    support_tmp tmp;
    char path[256];
    support_tmp_make(&tmp);
    run(support_tmp_path(&tmp, "index", path, sizeof path));
    support_tmp_remove(&tmp);
}

static void run_one(const char *path) { run_alphabet(1, false, 1, path); }
static void run_two(const char *path) { run_alphabet(2, false, 2, path); }
static void run_four(const char *path) { run_alphabet(4, false, 3, path); }
static void run_fifty(const char *path) { run_alphabet(50, false, 4, path); }
static void run_many(const char *path) { run_alphabet(50000, false, 5, path); }
static void run_extreme(const char *path) { run_alphabet(6, true, 6, path); }

static void test_alphabet_1(void **state) { (void)state, with_snapshots(run_one); }
static void test_alphabet_2(void **state) { (void)state, with_snapshots(run_two); }
static void test_alphabet_4(void **state) { (void)state, with_snapshots(run_four); }
static void test_alphabet_50(void **state) { (void)state, with_snapshots(run_fifty); }
static void test_alphabet_50000(void **state) { (void)state, with_snapshots(run_many); }
static void test_extreme_ids(void **state) { (void)state, with_snapshots(run_extreme); }

static void run_periods(const char *path) {
    static const uint32_t periods[] = {1, 2, 3, 63, 64, 65};
    for (size_t i = 0; i < sizeof periods / sizeof *periods; i++)
        for (size_t j = 0; j < N_DEPTHS; j++) {
            plan p = plan_for(depths[j]);
            p.options.alphabet = periods[i] < 3 ? 3 : periods[i] + 1;
            p.options.period = periods[i];
            p.options.longest = 40;
            p.options.snapshot = path;
            p.steps = 80;
            p.every = depths[j] <= 8 ? 4 : 10;
            run_plan(&p, 1000 + i * 10 + j);
        }
}

static void test_periodic(void **state) { (void)state, with_snapshots(run_periods); }

/* Many short histories from the start: the first few steps matter most, and
 * every step is compared in full. */
static void test_short_histories(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 1500; i++) {
        plan p = {.steps = 12 + i % 20, .every = 1};
        p.options =
            (world_options){.depth = depths[i % 5], .alphabet = 1 + (uint32_t)(i / 5 % 3), .longest = 5};
        p.options.max_tokens = 40;
        run_plan(&p, 100000 + i);
    }
}

/* ---- removal ---------------------------------------------------------- */

/* Two indexes: one that held more and forgot it, one that never had it. */
static void compare_after_removal(support_rng *rng, uint32_t depth, uint32_t alphabet) {
    world with, without;
    spec_seq keep_a[4], keep_b[4], lose[4];
    spec_token tok[8];
    world_options o = {.depth = depth, .alphabet = alphabet};
    assert_true(world_open(&with, &o) && world_open(&without, &o));
    for (size_t i = 0; i < 4; i++)
        assert_true(world_begin(&with, &keep_a[i]) && world_begin(&with, &lose[i]) &&
                    world_begin(&without, &keep_b[i]));
    for (size_t step = 0; step < 60; step++) {
        size_t n = 1 + support_rng_below(rng, 8), which = support_rng_below(rng, 4);
        for (size_t i = 0; i < n; i++) tok[i] = (spec_token)support_rng_below(rng, alphabet);
        if (support_rng_below(rng, 2))
            assert_true(world_append(&with, lose[which], tok, n));
        else
            assert_true(world_append(&with, keep_a[which], tok, n) &&
                        world_append(&without, keep_b[which], tok, n));
    }
    for (size_t i = 0; i < 4; i++) {
        if (i & 1) assert_true(world_truncate(&with, lose[i], 5));
        assert_true(world_remove(&with, lose[i]));
        if (spec_index_check(with.index, &with.why)) fail_msg("%s", with.why.text);
    }
    /* ids aside, one oracle now speaks for both */
    for (size_t i = 0; i < 4; i++) without.truth.seq[i].id = keep_a[i];
    if (!oracle_compare(&without.truth, with.index, &with.why)) fail_msg("%s", with.why.text);
    for (size_t i = 0; i < 4; i++) without.truth.seq[i].id = keep_b[i];
    if (!oracle_compare(&without.truth, without.index, &with.why)) fail_msg("%s", with.why.text);
    world_close(&with);
    world_close(&without);
}

static void test_removed_is_never_had(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 7);
    for (uint32_t i = 0; i < 60; i++)
        compare_after_removal(&rng, depths[i % (N_DEPTHS - 1)], 1 + support_rng_below(&rng, 5));
}

static void test_emptied_index_is_empty(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 8);
    spec_token tok[300];
    world w;
    spec_seq s[3];
    spec_index_stats stats;
    assert_true(world_open(&w, &(world_options){.depth = 64, .alphabet = 4}));
    for (size_t round = 0; round < 5; round++) {
        for (size_t i = 0; i < 300; i++) tok[i] = (spec_token)support_rng_below(&rng, 1 + (uint32_t)round);
        for (size_t i = 0; i < 3; i++)
            assert_true(world_begin(&w, &s[i]) && world_append(&w, s[i], tok, 300 - i));
        for (size_t i = 0; i < 3; i++) assert_true(world_remove(&w, s[(i + round) % 3]));
        if (!world_check_all(&w)) fail_msg("%s", w.why.text);
        assert_int_equal(spec_index_get_stats(w.index, &stats), SPEC_OK);
        assert_int_equal(stats.tokens, 0);
        assert_int_equal(stats.edges, 0);
        assert_int_equal(spec_index_n_children(w.index, spec_index_root(w.index)), 0);
    }
    world_close(&w);
}

/* ---- larger ----------------------------------------------------------- */

/* n equal tokens hold n - k + 1 runs of k. */
static void test_equal_tokens(void **state) {
    (void)state;
    enum { N = 200000, DEPTH = 64 };
    spec_token *tok = calloc(N, sizeof *tok);
    spec_seq s;
    assert_non_null(tok);
    spec_index *x = index_of(tok, N, DEPTH, &s);
    for (size_t k = 1; k <= DEPTH; k++) assert_int_equal(spec_index_count(x, tok, k), N - k + 1);
    assert_int_equal(spec_index_truncate(x, s, N / 2), SPEC_OK);
    for (size_t k = 1; k <= DEPTH; k++) assert_int_equal(spec_index_count(x, tok, k), N / 2 - k + 1);
    assert_int_equal(spec_index_check(x, NULL), SPEC_OK);
    spec_index_free(x);
    free(tok);
}

/* A period of p: every window of k tokens occurs at each start of its phase. */
static void test_long_period(void **state) {
    (void)state;
    enum { N = 50000, DEPTH = 64 };
    static const uint32_t periods[] = {2, 63, 64, 65};
    spec_token *tok = calloc(N, sizeof *tok);
    assert_non_null(tok);
    for (size_t p = 0; p < sizeof periods / sizeof *periods; p++) {
        spec_seq s;
        for (uint32_t i = 0; i < N; i++) tok[i] = (spec_token)(i % periods[p]);
        spec_index *x = index_of(tok, N, DEPTH, &s);
        for (uint32_t from = 0; from < periods[p]; from++)
            for (uint32_t k = 1; k <= DEPTH; k++)
                assert_int_equal(spec_index_count(x, tok + from, k), (N - k - from) / periods[p] + 1);
        spec_index_free(x);
    }
    free(tok);
}

/* Text of about the shape of language: favourite successors, copied phrases. */
static void make_language(support_rng *rng, spec_token *tok, size_t n, uint32_t alphabet) {
    for (size_t i = 0; i < n; i++) {
        uint32_t r = support_rng_below(rng, 100), bound = 1 + support_rng_below(rng, alphabet);
        if (i && r < 40)
            tok[i] = (spec_token)(((uint32_t)tok[i - 1] * 31 + support_rng_below(rng, 3)) % alphabet);
        else
            tok[i] = (spec_token)support_rng_below(rng, bound); /* small ids are frequent */
        if (i > 40 && r == 99) {
            size_t from = support_rng_below(rng, (uint32_t)i - 30), len = 1 + support_rng_below(rng, 30);
            for (size_t k = 0; k < len && i + 1 < n; k++, i++) tok[i + 1] = tok[from + k];
        }
    }
}

/* Counts of random places' windows by counting; one big index, so few samples. */
static void sample_counts(world *w, support_rng *rng, size_t samples) {
    for (size_t i = 0; i < samples; i++) {
        const oracle_seq *s = &w->truth.seq[support_rng_below(rng, (uint32_t)w->truth.n)];
        if (!s->n) continue;
        size_t from = support_rng_below(rng, (uint32_t)s->n), bound = 1 + support_rng_below(rng, 70);
        size_t n = 1 + support_rng_below(rng, (uint32_t)bound);
        if (n > s->n - from) n = s->n - from;
        if (n > w->options.depth) n = w->options.depth;
        spec_locus at = spec_index_find(w->index, s->tok + from, n);
        if (!oracle_compare_locus(&w->truth, w->index, at, s->tok + from, n, &w->why))
            fail_msg("SEED=%llu: %s", (unsigned long long)support_seed(), w->why.text);
    }
}

static void test_large_interleaved(void **state) {
    (void)state;
    enum { SEQS = 8, N = 4000, DEPTH = 64 };
    support_rng rng = support_rng_new(support_seed(), 9);
    spec_token *tok = calloc(SEQS * (size_t)N, sizeof *tok);
    spec_seq s[SEQS];
    size_t at[SEQS] = {0}, left = SEQS * (size_t)N;
    world w;
    assert_non_null(tok);
    assert_true(world_open(&w, &(world_options){.depth = DEPTH, .alphabet = 1}));
    make_language(&rng, tok, SEQS * (size_t)N, 3000);
    for (size_t i = 0; i < SEQS; i++) assert_true(world_begin(&w, &s[i]));
    while (left) {
        size_t i = support_rng_below(&rng, SEQS), n = 1 + support_rng_below(&rng, 50);
        if (n > N - at[i]) n = N - at[i];
        assert_true(world_append(&w, s[i], tok + i * N + at[i], n));
        at[i] += n;
        left -= n;
    }
    if (spec_index_check(w.index, &w.why)) fail_msg("%s", w.why.text);
    sample_counts(&w, &rng, 60);
    for (size_t i = 0; i < SEQS; i += 2) assert_true(world_truncate(&w, s[i], i ? N : N / 3));
    for (size_t i = 2; i < SEQS; i += 2) assert_true(world_remove(&w, s[i]));
    if (spec_index_check(w.index, &w.why)) fail_msg("%s", w.why.text);
    sample_counts(&w, &rng, 60);
    assert_true(world_compact(&w));
    if (spec_index_check(w.index, &w.why)) fail_msg("%s", w.why.text);
    sample_counts(&w, &rng, 60);
    world_close(&w);
    free(tok);
}

/* A node with very many children, grown and shrunk, in order at each turn. */
static void test_many_children(void **state) {
    (void)state;
    enum { KINDS = 6000, APPENDS = 9000 };
    support_rng rng = support_rng_new(support_seed(), 10);
    world w;
    spec_seq s;
    assert_true(world_open(&w, &(world_options){.depth = 2, .alphabet = KINDS}));
    assert_true(world_begin(&w, &s));
    for (size_t i = 0; i < APPENDS; i++) {
        uint32_t bound = 1 + support_rng_below(&rng, KINDS);
        spec_token t[2] = {7, (spec_token)support_rng_below(&rng, bound)};
        assert_true(world_append(&w, s, t, 2));
        if (i % (APPENDS / 4) == 0 && !world_check_all(&w)) fail_msg("%s", w.why.text);
    }
    assert_true(spec_index_n_children(w.index, spec_index_root(w.index)) > 3000);
    while (oracle_tokens(&w.truth)) {
        assert_true(world_truncate(&w, s, APPENDS / 2 + 1));
        if (!world_check_all(&w)) fail_msg("%s", w.why.text);
    }
    world_close(&w);
}

/* Compaction gives memory back and changes nothing else. */
static void test_compact_shrinks(void **state) {
    (void)state;
    enum { SEQS = 20, N = 1500 };
    support_rng rng = support_rng_new(support_seed(), 11);
    spec_token *tok = calloc(SEQS * (size_t)N, sizeof *tok);
    spec_seq s[SEQS];
    spec_index_stats before, after;
    world w;
    assert_non_null(tok);
    make_language(&rng, tok, SEQS * (size_t)N, 500);
    assert_true(world_open(&w, &(world_options){.depth = 16, .alphabet = 1}));
    for (size_t i = 0; i < SEQS; i++)
        assert_true(world_begin(&w, &s[i]) && world_append(&w, s[i], tok + i * N, N));
    for (size_t i = 0; i < SEQS; i++)
        if (i != 3) assert_true(world_remove(&w, s[i]));
    assert_int_equal(spec_index_get_stats(w.index, &before), SPEC_OK);
    world_feed(&w, 0, tok + 3 * N, 40);
    assert_true(world_compact(&w));
    assert_int_equal(spec_index_get_stats(w.index, &after), SPEC_OK);
    assert_true(after.bytes < before.bytes / 2);
    assert_true(after.tokens == before.tokens && after.states <= before.states);
    if (!world_check_all(&w)) fail_msg("%s", w.why.text);
    assert_true(world_append(&w, s[3], tok, 200)); /* the same id goes on */
    if (!world_check_all(&w)) fail_msg("%s", w.why.text);
    world_close(&w);
    free(tok);
}

/* The order of equals stays as long as nothing but reading happens. */
static void test_reading_is_stable(void **state) {
    (void)state;
    spec_token tok[200];
    spec_child first[64], again[64];
    spec_seq s;
    for (size_t i = 0; i < 200; i++) tok[i] = (spec_token)(i % 50);
    spec_index *x = index_of(tok, 200, 8, &s);
    size_t n = spec_index_children(x, spec_index_root(x), 0, 64, first);
    assert_int_equal(n, 50);
    for (size_t i = 0; i < 50; i++) {
        spec_index_match(x, tok + i, 30);
        spec_index_touch(x, spec_index_find(x, tok + i, 3));
        assert_int_equal(spec_index_children(x, spec_index_root(x), 0, 64, again), n);
        for (size_t k = 0; k < n; k++) assert_int_equal(first[k].token, again[k].token);
    }
    spec_index_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_by_hand),
        cmocka_unit_test(test_children_by_hand),
        cmocka_unit_test(test_suffixes_by_hand),
        cmocka_unit_test(test_sequences_stay_apart),
        cmocka_unit_test(test_match_by_hand),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_append_nothing),
        cmocka_unit_test(test_refused_append_changes_nothing),
        cmocka_unit_test(test_short_histories),
        cmocka_unit_test(test_alphabet_1),
        cmocka_unit_test(test_alphabet_2),
        cmocka_unit_test(test_alphabet_4),
        cmocka_unit_test(test_alphabet_50),
        cmocka_unit_test(test_alphabet_50000),
        cmocka_unit_test(test_extreme_ids),
        cmocka_unit_test(test_periodic),
        cmocka_unit_test(test_removed_is_never_had),
        cmocka_unit_test(test_emptied_index_is_empty),
        cmocka_unit_test(test_equal_tokens),
        cmocka_unit_test(test_long_period),
        cmocka_unit_test(test_large_interleaved),
        cmocka_unit_test(test_many_children),
        cmocka_unit_test(test_compact_shrinks),
        cmocka_unit_test(test_reading_is_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

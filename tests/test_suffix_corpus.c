/* SPDX-License-Identifier: MIT */
/*
 * The suffix drafter that starts from a snapshot, and that writes one: drafts as
 * if every tenant had heard the corpus's responses before its first request,
 * each tenant with a copy of its own, the file never written to.
 */
#define _XOPEN_SOURCE 700
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drafting.h"
#include "oracle_suffix.h"
#include "spec_index.h"

#define N_RESPONSES 6
#define N_TENANTS   2
#define CAP         24
#define ALPHABET    6

/* ---- a corpus ---------------------------------------------------------------------- */

typedef struct corpus {
    support_tmp tmp;
    char path[200];
    spec_token tok[N_RESPONSES][120];
    size_t n[N_RESPONSES];
} corpus;

static void random_text(support_rng *r, spec_token *tok, size_t n) {
    for (size_t i = 0; i < n; i++) {
        bool copy = i > 20 && support_rng_chance(r, 0.8);
        tok[i] = copy ? tok[i - 17] : (spec_token)support_rng_below(r, ALPHABET);
    }
}

static void corpus_make(corpus *c, uint32_t depth, uint64_t stream) {
    support_rng r = support_rng_new(support_seed(), stream);
    spec_index_options o = {.size = sizeof o, .depth = depth};
    spec_index *x;
    spec_seq seq;
    support_tmp_make(&c->tmp);
    support_tmp_path(&c->tmp, "corpus", c->path, sizeof c->path);
    assert_int_equal(spec_index_new(&x, &o), 0);
    for (size_t i = 0; i < N_RESPONSES; i++) {
        c->n[i] = 20 + support_rng_below(&r, 100);
        random_text(&r, c->tok[i], c->n[i]);
        assert_int_equal(spec_index_begin(x, &seq), 0);
        assert_int_equal(spec_index_append(x, seq, c->tok[i], c->n[i]), 0);
        assert_int_equal(spec_index_end(x, seq), 0);
    }
    assert_int_equal(spec_index_save(x, c->path, NULL), 0);
    spec_index_free(x);
}

/* Every tenant has heard it. */
static void corpus_tell(const corpus *c, truth *t) {
    for (uint64_t tenant = 0; tenant < N_TENANTS; tenant++)
        for (size_t i = 0; i < N_RESPONSES; i++) {
            spec_request_info info = {.size = sizeof info, .tenant = tenant};
            truth_text *q = truth_begin(t, &info);
            truth_commit(t, q, c->tok[i], c->n[i]);
            truth_end(t, q);
        }
}

static spec_drafter *open_with(const char *path, const char *options, const spec_allocator *a) {
    char spec[400];
    snprintf(spec, sizeof spec, "suffix:corpus=%s%s", path, options);
    return drafting_open(spec, a);
}

static spec_drafter *open_on(const char *path, const char *options) { return open_with(path, options, NULL); }

/* ---- requests, and the truth about them ------------------------------------------------ */

typedef struct pair {
    spec_request *r;
    truth_text *q;
} pair;

static pair begin_both(spec_drafter *d, truth *t, support_rng *rng, uint64_t tenant) {
    spec_token prompt[40];
    pair p;
    spec_request_info info = {
        .size = sizeof info, .tenant = tenant, .prompt = prompt, .n_prompt = support_rng_below(rng, 40)};
    random_text(rng, prompt, info.n_prompt);
    assert_int_equal(spec_request_begin(d, &info, &p.r), 0);
    p.q = truth_begin(t, &info);
    return p;
}

static void commit_both(truth *t, pair *p, const spec_token *tok, size_t n) {
    drafting_commit(p->r, tok, n);
    truth_commit(t, p->q, tok, n);
}

static void propose_both(const truth *t, const pair *p, truth_seen *seen) {
    spec_tree tree;
    spec_message why;
    assert_int_equal(spec_tree_init(&tree, CAP, 0, 0, NULL), 0);
    assert_int_equal(spec_request_propose(p->r, NULL, &tree), 0);
    if (!truth_agrees(t, p->q, NULL, &tree, seen, &why)) fail_msg("draft %zu: %s", seen->drafts, why.text);
    spec_tree_release(&tree, NULL);
}

static void end_both(truth *t, pair *p) {
    spec_request_end(p->r);
    truth_end(t, p->q);
}

/* Two requests at a time, of two tenants, several rounds. */
static void play(spec_drafter *d, truth *t, support_rng *rng, truth_seen *seen) {
    for (int round = 0; round < 5; round++) {
        pair p[N_TENANTS];
        for (uint64_t i = 0; i < N_TENANTS; i++) p[i] = begin_both(d, t, rng, i);
        for (int step = 0; step < 40; step++) {
            pair *at = &p[support_rng_below(rng, N_TENANTS)];
            spec_token tok[30];
            size_t n = support_rng_below(rng, 30);
            random_text(rng, tok, n);
            commit_both(t, at, tok, step % 4 ? n % 3 : n);
            propose_both(t, at, seen);
        }
        for (uint64_t i = 0; i < N_TENANTS; i++) end_both(t, &p[i]);
    }
}

static void assert_unchanged(const char *path, const char *before, size_t n_before) {
    size_t n;
    char *now = support_read_file(path, &n);
    assert_true(n == n_before && !memcmp(now, before, n));
    free(now);
}

static void test_drafts_start_from_the_corpus(void **state) {
    (void)state;
    static const struct {
        uint32_t depth;
        const char *options;
    } cases[] = {
        {64, ""},
        {64, ",trust=1"},
        {7, ""},
        {2, ""},
        {200, ",own=0"},
        {12, ",max_requests=4"},
        {64, ",own=0,max_requests=1"},
        {64, ",learn=end,max_requests=9"},
        {30, ",preset=arctic,tree=1"},
        {16, ",preset=coreml"},
    };
    truth_seen seen = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        corpus *c = malloc(sizeof *c);
        char rule[200];
        size_t n;
        support_rng rng = support_rng_new(support_seed(), 600 + i);
        corpus_make(c, cases[i].depth, 500 + i);
        char *before = support_read_file(c->path, &n);
        spec_drafter *d = open_on(c->path, cases[i].options);
        snprintf(rule, sizeof rule, "suffix:x=0%s,depth=%u", cases[i].options, cases[i].depth);
        truth t;
        truth_init(&t, rule);
        corpus_tell(c, &t);
        play(d, &t, &rng, &seen);
        truth_free(&t);
        spec_drafter_free(d);
        assert_unchanged(c->path, before, n);
        free(before);
        support_tmp_remove(&c->tmp);
        free(c);
    }
    assert_true(seen.drafts > 1500 && seen.shared > seen.drafts / 4 && seen.empty < seen.drafts / 2);
}

/* ---- saving ------------------------------------------------------------------------------ */

/* What a tenant was taught, saved while requests go on, and taken up by another
 * drafter: the responses as far as they were then. */
static void test_what_was_taught_is_taken_up(void **state) {
    (void)state;
    corpus *c = malloc(sizeof *c);
    char saved[220];
    support_rng rng = support_rng_new(support_seed(), 700);
    corpus_make(c, 20, 701);
    snprintf(saved, sizeof saved, "%s.saved", c->path);
    spec_drafter *first = open_on(c->path, ""), *second;
    truth t, later;
    truth_seen seen = {0};
    truth_init(&t, "suffix:depth=20");
    corpus_tell(c, &t);
    play(first, &t, &rng, &seen);
    pair live = begin_both(first, &t, &rng, 1);
    spec_token tok[50] = {0};
    random_text(&rng, tok, 50);
    commit_both(&t, &live, tok, 25);
    spec_message why;
    if (spec_drafter_save(first, 1, saved, &why)) fail_msg("%s", why.text);

    truth_init(&later, "suffix:depth=20"); /* tenant 1's responses, known to both tenants */
    for (uint64_t tenant = 0; tenant < N_TENANTS; tenant++)
        for (size_t i = 0; i < t.n; i++) {
            const truth_text *from = t.text[i];
            if (from->info.tenant != 1) continue;
            spec_request_info info = {.size = sizeof info, .tenant = tenant};
            truth_text *q = truth_begin(&later, &info);
            truth_commit(&later, q, from->tok + from->n_prompt, from->n_taught);
            truth_end(&later, q);
        }
    commit_both(&t, &live, tok + 25, 25); /* no longer part of it */
    propose_both(&t, &live, &seen);
    end_both(&t, &live);
    second = open_on(saved, "");
    play(second, &later, &rng, &seen);
    play(first, &t, &rng, &seen); /* which goes on as if nothing had been saved */
    spec_drafter_free(first);
    spec_drafter_free(second);
    truth_free(&t);
    truth_free(&later);
    support_tmp_remove(&c->tmp);
    free(c);
}

/* The file that it started from is replaced by what it knows now. */
static void test_the_corpus_may_be_replaced(void **state) {
    (void)state;
    corpus *c = malloc(sizeof *c);
    truth_seen seen = {0};
    support_rng rng = support_rng_new(support_seed(), 710);
    corpus_make(c, 20, 711);
    spec_drafter *d = open_on(c->path, "");
    truth t;
    truth_init(&t, "suffix:depth=20");
    corpus_tell(c, &t);
    play(d, &t, &rng, &seen);
    assert_int_equal(spec_drafter_save(d, 0, c->path, NULL), 0);
    play(d, &t, &rng, &seen);
    assert_int_equal(unlink(c->path), 0);
    play(d, &t, &rng, &seen);
    spec_drafter_free(d);
    truth_free(&t);
    support_tmp_remove(&c->tmp);
    free(c);
}

/* A new tenant is never given what has taken the corpus's place: it may hold
 * what another one taught. Its requests are refused instead. */
static void test_a_new_tenant_needs_the_same_corpus(void **state) {
    (void)state;
    corpus *c = malloc(sizeof *c);
    corpus_make(c, 20, 712);
    spec_drafter *d = open_on(c->path, "");
    spec_request *r = NULL;
    spec_request_info info = {.size = sizeof info, .tenant = 1};
    run_say(d, 1, 1, 100);
    info.tenant = 2;
    assert_int_equal(spec_request_begin(d, &info, &r), 0);
    spec_request_end(r);
    assert_int_equal(spec_drafter_save(d, 1, c->path, NULL), 0);
    info.tenant = 3;
    assert_int_equal(spec_request_begin(d, &info, &r), SPEC_ERR_INVALID);
    assert_int_equal(unlink(c->path), 0);
    assert_int_equal(spec_request_begin(d, &info, &r), SPEC_ERR_NOT_FOUND);
    info.tenant = 2;
    assert_int_equal(spec_request_begin(d, &info, &r), 0);
    spec_request_end(r);
    spec_drafter_free(d);
    support_tmp_remove(&c->tmp);
    free(c);
}

/* Saving what a tenant never taught makes no place for it, which would be
 * another's. */
static void test_saving_is_not_a_request(void **state) {
    (void)state;
    support_tmp tmp;
    char path[200];
    spec_message why;
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "saved", path, sizeof path);
    spec_drafter *d = drafting_open("suffix:tenants=2", NULL);
    run_say(d, 1, 1, 100);
    run_say(d, 2, 2, 100);
    assert_int_equal(spec_drafter_save(d, 3, path, &why), SPEC_ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "tenant"));
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(spec_drafter_save(d, 1, path, &why), 0); /* nor is it a use of what is there */
    run_say(d, 3, 3, 100);                                    /* takes the place of 1 */
    assert_int_equal(spec_drafter_save(d, 1, path, &why), SPEC_ERR_NOT_FOUND);
    assert_true(run_known(d, 2, 2, 50) > 0);
    spec_drafter_free(d);
    d = open_on(path, "");
    assert_true(run_known(d, 9, 1, 50) > 0);
    assert_int_equal(spec_drafter_save(d, 1, path, &why), SPEC_ERR_NOT_FOUND);
    spec_drafter_free(d);
    support_tmp_remove(&tmp);
}

static void test_saving_fails_with_a_reason(void **state) {
    (void)state;
    support_tmp tmp;
    char path[200], nowhere[200];
    spec_message why = {"left over"};
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "saved", path, sizeof path);
    support_tmp_path(&tmp, "none/saved", nowhere, sizeof nowhere);
    spec_drafter *d = drafting_open("suffix", NULL);
    run_say(d, 0, 1, 100);
    assert_int_equal(spec_drafter_save(d, 0, nowhere, &why), SPEC_ERR_IO);
    assert_non_null(strstr(why.text, nowhere));
    assert_int_equal(spec_drafter_save(d, 0, NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(spec_drafter_save(NULL, 0, path, &why), SPEC_ERR_INVALID);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(spec_drafter_save(d, 0, path, &why), 0);
    assert_string_equal(why.text, "");
    assert_int_equal(access(path, F_OK), 0);
    spec_drafter_free(d);
    static const char *const nothing[] = {"pld", "none", "suffix:shared=0"};
    for (size_t i = 0; i < 3; i++) {
        d = drafting_open(nothing[i], NULL);
        assert_int_equal(spec_drafter_save(d, 0, path, &why), i < 2 ? SPEC_ERR_UNSUPPORTED : SPEC_ERR_STATE);
        assert_non_null(strstr(why.text, "save"));
        spec_drafter_free(d);
    }
    support_tmp_remove(&tmp);
}

/* ---- bad files ---------------------------------------------------------------------------- */

/* Opening fails, names the file, leaves nothing behind. */
static void refused(const char *path, const char *options, int err, const char *says) {
    char spec[400];
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator a = support_alloc(&heap);
    spec_drafter *d = NULL;
    spec_message why;
    snprintf(spec, sizeof spec, "suffix:corpus=%s%s", path, options);
    int got = spec_drafter_open(&d, spec, &a, &why);
    if (got != err) fail_msg("%s: error %d, expected %d: %s", spec, got, err, why.text);
    assert_null(d);
    if (!strstr(why.text, path) || !strstr(why.text, says))
        fail_msg("\"%s\" lacks \"%s\" or \"%s\"", why.text, path, says);
    assert_int_equal(spec_drafter_open(&d, spec, &a, NULL), err);
    support_heap_assert_clean(&heap);
}

/* A copy of the corpus, cut off or with one bit changed. */
static void write_damaged(const corpus *c, const char *path, size_t keep, size_t flip) {
    size_t n;
    char *data = support_read_file(c->path, &n);
    assert_true(keep <= n || keep == SIZE_MAX);
    if (keep == SIZE_MAX) keep = n;
    if (flip < n) data[flip] ^= 0x10;
    support_write_file(path, data, keep);
    free(data);
}

static void test_bad_corpora_are_named(void **state) {
    (void)state;
    corpus *c = malloc(sizeof *c);
    char bad[220];
    size_t n;
    corpus_make(c, 16, 720);
    free(support_read_file(c->path, &n));
    snprintf(bad, sizeof bad, "%s.bad", c->path);
    refused(bad, "", SPEC_ERR_NOT_FOUND, "");
    refused(c->tmp.path, "", SPEC_ERR_IO, "");
    assert_int_equal(mkfifo(bad, 0600), 0);
    refused(bad, "", SPEC_ERR_IO, ""); /* and does not wait for a writer */
    assert_int_equal(unlink(bad), 0);
    support_write_file(bad, "", 0);
    refused(bad, "", SPEC_ERR_CORRUPT, "");
    support_write_file(bad, "{\"prompt\": [1, 2], \"response\": [3]}\n", 35);
    refused(bad, "", SPEC_ERR_CORRUPT, "");
    write_damaged(c, bad, n - 1, SIZE_MAX);
    refused(bad, "", SPEC_ERR_CORRUPT, "");
    refused(bad, ",trust=1", SPEC_ERR_CORRUPT, "");
    write_damaged(c, bad, SIZE_MAX, 0);
    refused(bad, "", SPEC_ERR_CORRUPT, "");
    write_damaged(c, bad, SIZE_MAX, n - 200);
    refused(bad, "", SPEC_ERR_CORRUPT, "");
    refused(c->path, ",shared=0", SPEC_ERR_INVALID, "needs shared=1");
    support_tmp_remove(&c->tmp);
    corpus_make(c, 1, 721);
    refused(c->path, "", SPEC_ERR_INVALID, "depth 1, expected 2 or more");
    support_tmp_remove(&c->tmp);
    free(c);
}

/* trust=1 does not look at the data's checksums. (What a damaged index then
 * drafts is the caller's risk: nothing is asked of it here.) */
static void test_trust_is_trust(void **state) {
    (void)state;
    corpus *c = malloc(sizeof *c);
    char bad[220];
    size_t n;
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator a = support_alloc(&heap);
    corpus_make(c, 16, 730);
    free(support_read_file(c->path, &n));
    snprintf(bad, sizeof bad, "%s.bad", c->path);
    write_damaged(c, bad, SIZE_MAX, n - 200);
    refused(bad, "", SPEC_ERR_CORRUPT, "");
    spec_drafter_free(open_with(bad, ",trust=1", &a)); /* before any tenant has taken it */
    support_heap_assert_clean(&heap);
    support_tmp_remove(&c->tmp);
    free(c);
}

/* The file is gone when another tenant comes: its request is refused, and the
 * tenant that has its copy goes on. */
static void test_the_file_has_gone(void **state) {
    (void)state;
    corpus *c = malloc(sizeof *c);
    truth_seen seen = {0};
    support_rng rng = support_rng_new(support_seed(), 740);
    corpus_make(c, 20, 741);
    spec_drafter *d = open_on(c->path, "");
    truth t;
    truth_init(&t, "suffix:depth=20");
    corpus_tell(c, &t);
    pair p = begin_both(d, &t, &rng, 1);
    assert_int_equal(unlink(c->path), 0);
    spec_request *r = NULL;
    spec_request_info info = {.size = sizeof info, .tenant = 2};
    assert_true(spec_request_begin(d, &info, &r) < 0);
    assert_null(r);
    for (size_t i = 0; i + 10 < c->n[2]; i += 10) {
        commit_both(&t, &p, c->tok[2] + i, 10);
        propose_both(&t, &p, &seen);
    }
    assert_true(seen.shared > 0);
    end_both(&t, &p);
    spec_drafter_free(d);
    truth_free(&t);
    support_tmp_remove(&c->tmp);
    free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drafts_start_from_the_corpus),
        cmocka_unit_test(test_what_was_taught_is_taken_up),
        cmocka_unit_test(test_the_corpus_may_be_replaced),
        cmocka_unit_test(test_a_new_tenant_needs_the_same_corpus),
        cmocka_unit_test(test_saving_is_not_a_request),
        cmocka_unit_test(test_saving_fails_with_a_reason),
        cmocka_unit_test(test_bad_corpora_are_named),
        cmocka_unit_test(test_trust_is_trust),
        cmocka_unit_test(test_the_file_has_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

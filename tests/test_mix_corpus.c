/* SPDX-License-Identifier: MIT */
/*
 * What a tenant's requests have taught the drafter mix goes to a file and comes back: the index and
 * what the model has learnt, as a corpus; the latter alone, as priors for other text. Files that
 * have no such thing, or a damaged one, are refused with a message that names them.
 */
#include <stdlib.h>
#include <string.h>

#include "mix_model.h"
#include "mix_world.h"
#include "spec_index.h"

#define N_TEXT 500

/* ---- a drafter that has seen something, and its file ------------------------ */

static const mix_source source = {.world = 11, .vocab = 80, .phrases = 15, .noise = 12};
static spec_token text[12][N_TEXT];

static void make_texts(uint64_t stream) {
    support_rng rng = support_rng_new(support_seed(), stream);
    for (size_t i = 0; i < 12; i++) mix_text(&source, &rng, text[i], N_TEXT);
}

/* Half of the texts, half of them without drafts. */
static spec_drafter *taught(const char *spec, uint64_t tenant) {
    spec_drafter *d = drafting_open(spec, NULL);
    for (size_t i = 0; i < 6; i++)
        if (i % 2)
            (void)mix_decode(d, tenant, text[i], 10, N_TEXT, 16);
        else
            drafting_say(d, tenant, text[i], N_TEXT);
    return d;
}

static void save(spec_drafter *d, uint64_t tenant, const char *path) {
    spec_message why;
    if (spec_drafter_save(d, tenant, path, &why)) fail_msg("%s", why.text);
}

/* Opens "SPEC=PATH,REST". */
static spec_drafter *open_with(const char *spec, const char *path, const char *rest) {
    char all[600];
    snprintf(all, sizeof all, "%s=%s%s", spec, path, rest);
    return drafting_open(all, NULL);
}

/* The texts that are new to it. */
static uint64_t go_on(spec_drafter *d, uint64_t tenant) {
    uint64_t all = 0;
    for (size_t i = 6; i < 12; i++) all = all * 31 + mix_decode(d, tenant, text[i], 10, N_TEXT, 16).drafts;
    return all;
}

static uint64_t knows(spec_drafter *d, uint64_t tenant) { return mix_known(d, tenant, text[6], N_TEXT); }

static uint64_t tokens_of(spec_drafter *d) {
    spec_drafter_stats s;
    spec_drafter_get_stats(d, &s);
    return s.index_tokens;
}

/* ---- there and back ------------------------------------------------------- */

/* With the corpus every tenant begins where the file's did. */
static void test_a_corpus_brings_everything_back(void **state) {
    (void)state;
    static const char *const specs[] = {"mix", "mix:own=0,priors=none", "mix:learn=end,cross_tenant=1"};
    for (size_t i = 0; i < 3; i++) {
        const char *path = support_at("saved"), *again = support_at("again");
        make_texts(300 + i);
        spec_drafter *d = taught(specs[i], 5);
        save(d, 5, path);
        uint64_t known = knows(d, 5), fresh = 0;
        for (uint64_t tenant = 0; tenant < 2; tenant++) {
            spec_drafter *e = open_with("mix:corpus", path, i == 1 ? ",own=0" : i == 2 ? ",learn=end" : "");
            assert_true(knows(e, tenant) == known);
            save(e, tenant, again); /* as it was */
            fresh = go_on(e, tenant);
            spec_drafter_free(e);
            e = open_with("mix:corpus", again, i == 1 ? ",own=0" : i == 2 ? ",learn=end" : "");
            assert_true(go_on(e, tenant + 7) == fresh);
            spec_drafter_free(e);
        }
        assert_true(go_on(d, 5) == fresh);
        assert_true(knows(d, 5) != known); /* it has gone on to learn */
        spec_drafter_free(d);
    }
}

/* The suffix drafter takes the index and cannot tell that there was more. */
static void test_other_drafters_pass_over_it(void **state) {
    (void)state;
    const char *path = support_at("saved"), *bare = support_at("bare");
    make_texts(310);
    spec_drafter *d = taught("mix", 0);
    save(d, 0, path);
    spec_drafter_free(d);
    spec_index *x;
    assert_int_equal(spec_index_load(&x, path, NULL, NULL), SPEC_OK);
    assert_int_equal(spec_index_save_with(x, bare, NULL, 0, NULL), SPEC_OK);
    spec_index_free(x);
    spec_drafter *with = open_with("suffix:corpus", path, ""),
                 *without = open_with("suffix:corpus", bare, "");
    assert_true(go_on(with, 0) == go_on(without, 0));
    spec_drafter_free(with);
    spec_drafter_free(without);
}

/* A corpus without learned state, such as the suffix drafter saves: the model begins as without one. */
static void test_a_corpus_without_state(void **state) {
    (void)state;
    const char *path = support_at("bare");
    make_texts(320);
    spec_drafter *d = taught("suffix", 0);
    save(d, 0, path);
    spec_drafter_free(d);
    static const char *const priors[] = {"", ",priors=none"};
    for (size_t i = 0; i < 2; i++) {
        spec_drafter *e = open_with("mix:corpus", path, priors[i]),
                     *f = open_with("mix:max_requests", "-1", priors[i]);
        const spec_token twice[] = {1000001, 1000002, 1000003, 1000001};
        assert_int_equal(tokens_of(e), 0); /* no tenant yet */
        assert_true(knows(e, 0) != knows(f, 0));
        assert_true(mix_first_prob(e, 0, twice, 4, 1000002) == mix_first_prob(f, 0, twice, 4, 1000002));
        spec_drafter_free(e);
        spec_drafter_free(f);
    }
}

/* ---- priors ------------------------------------------------------------------ */

/* The chance that a text goes on as it did before. */
static double first_repeat(spec_drafter *d) {
    const spec_token twice[] = {1000001, 1000002, 1000003, 1000004, 1000001, 1000002};
    return mix_first_prob(d, 0, twice, 6, 1000003);
}

/* Text that repeats itself always, with the first repeat sure. */
static void save_sure(const char *path) {
    spec_token tok[400];
    spec_drafter *d = drafting_open("mix:priors=none", NULL);
    for (size_t k = 0; k < 400; k++) tok[k] = run_token(3, k % 40);
    for (int i = 0; i < 4; i++) (void)mix_decode(d, 0, tok, 0, 400, 16);
    save(d, 0, path);
    spec_drafter_free(d);
}

static void test_priors_bring_the_model_alone(void **state) {
    (void)state;
    const char *path = support_at("priors");
    save_sure(path);
    spec_drafter *none = drafting_open("mix:priors=none", NULL), *all = open_with("mix:corpus", path, ""),
                 *with = open_with("mix:priors", path, ",shared=0"), *both;
    double before = first_repeat(none), after = first_repeat(with);
    if (after < before + 0.1) fail_msg("%g with priors, %g without", after, before);
    assert_int_equal(run_known(all, 0, 3, 20), 16);
    assert_int_equal(run_known(with, 0, 3, 20), 0);
    assert_int_equal(tokens_of(with), 0);
    spec_drafter_free(none);
    spec_drafter_free(all);
    spec_drafter_free(with);

    make_texts(330); /* with a corpus too, priors are the file's that is named for them */
    const char *bare = support_at("bare");
    spec_drafter *d = taught("mix", 0);
    save(d, 0, bare);
    spec_drafter_free(d);
    char corpus[300];
    snprintf(corpus, sizeof corpus, ",corpus=%s", bare);
    both = open_with("mix:priors", path, corpus);
    none = drafting_open("mix", NULL);
    assert_true(first_repeat(both) == after && knows(both, 0) != knows(none, 0));
    spec_drafter_free(both);
    spec_drafter_free(none);
}

/* With sure=0 a few tokens turn the model round, with sure=1000 they do not. */
static void test_priors_are_believed_as_long_as_asked(void **state) {
    (void)state;
    const char *path = support_at("priors");
    double p[2][2];
    save_sure(path);
    for (size_t i = 0; i < 2; i++) {
        spec_drafter *d = open_with("mix:priors", path, i ? ",sure=1000" : ",sure=0");
        spec_token tok[400];
        for (size_t k = 0; k < 400; k++) /* a b c, a b d, a b e: what follows is new each time */
            tok[k] = k % 3 < 2 ? run_token(9 + (uint32_t)(k / 6), k % 3) : run_token(2, k);
        p[i][0] = first_repeat(d);
        drafting_say(d, 0, tok, 60);
        p[i][1] = first_repeat(d);
        spec_drafter_free(d);
    }
    if (!(p[0][0] == p[1][0] && p[0][1] < p[1][1] - 0.05 && p[1][1] < p[1][0]))
        fail_msg("%g to %g, %g to %g", p[0][0], p[0][1], p[1][0], p[1][1]);
}

/* ---- files that are none --------------------------------------------------------- */

typedef struct damage {
    const char *what;
    int err;
    const char *says;
    size_t cut, at; /* bytes taken off the end; where `bytes` are put */
    size_t n;
    unsigned char bytes[8];
    bool told; /* the header says how many bytes are left */
} damage;

/* Weights are the last floats, least significant byte first. */
static const damage damages[] = {
    {"magic", SPEC_ERR_CORRUPT, "not what a mix drafter has learnt", 0, 0, 1, {'X'}, false},
    {"version", SPEC_ERR_VERSION, "version 9", 0, 7, 1, {'9'}, false},
    {"size", SPEC_ERR_CORRUPT, "bytes, expected", 0, 8, 4, {1, 2, 3, 4}, false},
    {"short", SPEC_ERR_CORRUPT, "bytes, expected", 4, 0, 0, {0}, false},
    {"short and told", SPEC_ERR_CORRUPT, "bytes, expected", 4, 0, 0, {0}, true},
    {"header", SPEC_ERR_CORRUPT, "not what a mix drafter has learnt", SIZE_MAX, 0, 0, {0}, false},
    {"NaN", SPEC_ERR_CORRUPT, "weight", 0, SIZE_MAX - 3, 4, {0, 0, 0xc0, 0x7f}, false},
    {"infinity", SPEC_ERR_CORRUPT, "weight", 0, SIZE_MAX - 7, 4, {0, 0, 0x80, 0xff}, false},
    {"huge", SPEC_ERR_CORRUPT, "weight", 0, SIZE_MAX - 11, 4, {0, 0, 0, 0x7f}, false},
};

/* The snapshot at `from` with another attachment. */
static void save_damaged(const char *from, const char *to, const damage *g) {
    spec_index *x;
    size_t n;
    assert_int_equal(spec_index_load(&x, from, NULL, NULL), SPEC_OK);
    const void *data = spec_index_attachment(x, &n);
    assert_int_equal(n, specp_mix_state_bytes());
    unsigned char *copy = malloc(n);
    memcpy(copy, data, n);
    size_t left = g->cut == SIZE_MAX ? 5 : n - g->cut;
    memcpy(copy + (g->at < n ? g->at : n - (SIZE_MAX - g->at) - 1), g->bytes, g->n);
    if (g->told)
        for (int i = 0; i < 4; i++) copy[8 + i] = (unsigned char)(left >> 8 * i);
    assert_int_equal(spec_index_save_with(x, to, copy, left, NULL), SPEC_OK);
    free(copy);
    spec_index_free(x);
}

/* Opening must fail, and say why, and leave nothing behind. */
static void check_refused(const char *spec, const char *path, int err, const char *says) {
    char all[400];
    spec_drafter *d = NULL;
    spec_message why;
    support_heap heap;
    support_heap_init(&heap);
    const spec_allocator a = support_alloc(&heap);
    snprintf(all, sizeof all, "%s=%s", spec, path);
    assert_int_equal(spec_drafter_open(&d, all, &a, &why), err);
    assert_null(d);
    if (!strstr(why.text, path) || !strstr(why.text, says)) fail_msg("%s: \"%s\"", all, why.text);
    assert_int_equal(spec_drafter_open(&d, all, &a, NULL), err);
    support_heap_assert_clean(&heap);
}

static void test_damaged_state_is_refused(void **state) {
    (void)state;
    const char *path = support_at("saved"), *damaged = support_at("damaged");
    make_texts(340);
    spec_drafter *d = taught("mix", 0);
    save(d, 0, path);
    spec_drafter_free(d);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        const damage *g = &damages[i];
        save_damaged(path, damaged, g);
        check_refused("mix:priors", damaged, g->err, g->says);
        check_refused("mix:corpus", damaged, g->err, g->says);
        spec_drafter_free(open_with("suffix:corpus", damaged, "")); /* it does not look */
        spec_drafter_free(open_with("mix:priors=none,corpus", damaged, ""));
    }
}

static void test_files_without_state_are_refused(void **state) {
    (void)state;
    const char *path = support_at("bare"), *other = support_at("text");
    make_texts(350);
    spec_drafter *d = taught("suffix", 0);
    save(d, 0, path);
    spec_drafter_free(d);
    support_write_file(other, "not a snapshot at all", 21);
    check_refused("mix:priors", path, SPEC_ERR_INVALID, "without learned state");
    check_refused("mix:priors", other, SPEC_ERR_CORRUPT, "");
    check_refused("mix:priors", support_at("missing"), SPEC_ERR_NOT_FOUND, "");
}

/* What cannot be saved says so. */
static void test_saving_nothing(void **state) {
    (void)state;
    const char *path = support_at("never");
    spec_message why;
    spec_drafter *d = drafting_open("mix:shared=0", NULL);
    assert_int_equal(spec_drafter_save(d, 0, path, &why), SPEC_ERR_STATE);
    assert_non_null(strstr(why.text, "drafter mix: shared=0"));
    spec_drafter_free(d);
    d = drafting_open("mix", NULL);
    assert_int_equal(spec_drafter_save(d, 3, path, &why), SPEC_ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "drafter mix"));
    spec_drafter_free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_corpus_brings_everything_back),
        cmocka_unit_test(test_other_drafters_pass_over_it),
        cmocka_unit_test(test_a_corpus_without_state),
        cmocka_unit_test(test_priors_bring_the_model_alone),
        cmocka_unit_test(test_priors_are_believed_as_long_as_asked),
        cmocka_unit_test(test_damaged_state_is_refused),
        cmocka_unit_test(test_files_without_state_are_refused),
        cmocka_unit_test(test_saving_nothing),
    };
    return cmocka_run_group_tests(tests, support_at_set_up, support_at_tear_down);
}

/* SPDX-License-Identifier: MIT */
/*
 * Training data. Every document has tokens of its own, so that a row of a window tells
 * where it comes from: token t is at place t of the stream of all documents.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "train_data.h"
#include "train_ops.h"

enum { DOCUMENTS = 40, LONGEST = 90 };

typedef struct world {
    train_data *data;
    train_data_options o;
    size_t begin[DOCUMENTS + 1], prompt[DOCUMENTS]; /* of the documents; lengths of their prompts */
    bool held[DOCUMENTS];                           /* as its tokens show */
    size_t *seen;                                   /* how often a token was a target */
    size_t n;
} world;

static size_t document_of(const world *w, spec_token t) {
    size_t d = 0;
    while (w->begin[d + 1] <= (size_t)t) d++;
    return d;
}

static int add_all(train_data *d, world *w) {
    spec_token token[LONGEST];
    for (size_t i = 0; i < DOCUMENTS; i++) {
        size_t n = w->begin[i + 1] - w->begin[i];
        for (size_t k = 0; k < n; k++) token[k] = (spec_token)(w->begin[i] + k);
        int err = train_data_add(d, token, n, w->prompt[i]);
        if (err) return err;
    }
    return SPEC_OK;
}

static world make_world(support_rng *r, size_t seq, uint32_t held_out, bool apart, bool prompts,
                        const spec_allocator *alloc) {
    world w = {.o = {.seq = seq, .seed = support_rng_next(r), .held_out = held_out, .apart = apart}};
    for (size_t i = 0; i < DOCUMENTS; i++) {
        size_t n = support_rng_chance(r, 0.1) ? 1 : 1 + support_rng_below(r, LONGEST);
        w.begin[i + 1] = w.begin[i] + n;
        w.prompt[i] = prompts ? support_rng_below(r, (uint32_t)n + 1) : 0;
    }
    w.n = w.begin[DOCUMENTS];
    w.seen = calloc(w.n, sizeof *w.seen);
    assert_non_null(w.seen);
    assert_int_equal(train_data_new(&w.data, &w.o, alloc, NULL), SPEC_OK);
    assert_int_equal(add_all(w.data, &w), SPEC_OK);
    return w;
}

static void release(world *w) {
    train_data_free(w->data);
    free(w->seen);
}

/* Counts the targets of an epoch; checks that each row's target follows its token. */
static void walk(world *w, train_part_kind part, uint64_t epoch) {
    size_t windows = train_data_windows(w->data, part), seq = w->o.seq;
    spec_token *token = calloc(2 * seq, sizeof *token), *target = token + seq;
    assert_non_null(token);
    memset(w->seen, 0, w->n * sizeof *w->seen);
    for (uint64_t i = epoch * windows; i < (epoch + 1) * windows; i++) {
        size_t targets = 0;
        train_data_window(w->data, part, i, token, target);
        for (size_t r = 0; r < seq; r++) {
            targets += target[r] != TRAIN_IGNORED;
            assert_in_range(token[r], 0, w->n - 1);
            if (r + 1 < seq && target[r] != TRAIN_IGNORED) assert_int_equal(token[r + 1], target[r]);
            if (target[r] == TRAIN_IGNORED) continue;
            assert_in_range(target[r], 0, w->n - 1);
            size_t from = document_of(w, token[r]), to = document_of(w, target[r]);
            if (from == to) assert_int_equal(target[r], token[r] + 1);
            if (from != to) assert_int_equal(target[r], w->begin[to]);
            if (w->o.apart) assert_int_equal(from, to);
            if (w->o.apart) assert_int_equal(document_of(w, token[0]), to);
            w->seen[target[r]]++;
        }
        if (w->o.apart) assert_true(targets > 0);
    }
    free(token);
}

/* Of the tokens of a document: the first that is a target. */
static size_t first_target(const world *w, size_t d) {
    size_t from = w->begin[d] + w->prompt[d];
    return w->o.apart && w->prompt[d] == 0 ? from + 1 : from;
}

static void check_part(world *w, train_part_kind part) {
    size_t documents = 0, tokens = 0;
    for (size_t d = 0; d < DOCUMENTS; d++) {
        if (w->held[d] != (part == TRAIN_PART_HELD)) continue;
        documents++;
        tokens += w->begin[d + 1] - w->begin[d];
    }
    assert_int_equal(train_data_documents(w->data, part), documents);
    assert_int_equal(train_data_tokens(w->data, part), tokens);
    for (uint64_t epoch = 0; epoch < 5; epoch++) {
        walk(w, part, epoch);
        for (size_t d = 0; d < DOCUMENTS; d++) {
            for (size_t t = w->begin[d]; t < w->begin[d + 1]; t++) {
                bool wanted = w->held[d] == (part == TRAIN_PART_HELD) && t >= first_target(w, d);
                if (w->seen[t] != wanted)
                    fail_msg("document %zu, token %zu: %zu times in epoch %d", d, t, w->seen[t], (int)epoch);
            }
        }
    }
}

/* Which documents are held out, as whatever window has them says. */
static void find_held(world *w) {
    size_t last = w->o.seq - 1;
    spec_token *token = calloc(2 * w->o.seq, sizeof *token);
    assert_non_null(token);
    spec_token before = -1;
    size_t in_order = 0, windows = train_data_windows(w->data, TRAIN_PART_HELD);
    for (uint64_t i = 0; i < train_data_windows(w->data, TRAIN_PART_HELD); i++) {
        train_data_window(w->data, TRAIN_PART_HELD, i, token, token + w->o.seq);
        for (size_t r = 0; r <= last; r++) w->held[document_of(w, token[r])] = true;
        in_order += token[0] > before;
        before = token[0];
    }
    if (windows > 20) assert_true(in_order < 4 * windows / 5); /* the first ones stand for all */
    free(token);
}

/* Each token that is to be learnt is a target once in an epoch, in its document's place, and
 * never one of the other part. */
static void test_epochs(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    size_t held = 0;
    for (int i = 0; i < 60; i++) {
        size_t seq = i % 10 == 0 ? 1 : i % 10 == 1 ? 5000 : 2 + support_rng_below(&r, 60);
        world w = make_world(&r, seq, (uint32_t)(i % 3 ? 4 : 0), false, i % 2, NULL);
        find_held(&w);
        for (size_t d = 0; d < DOCUMENTS; d++) held += w.held[d];
        check_part(&w, TRAIN_PART_LEARN);
        if (i % 3) check_part(&w, TRAIN_PART_HELD);
        release(&w);
    }
    assert_in_range(held, 40 * DOCUMENTS / 8, 40 * DOCUMENTS / 2);
}

/* Without held-out documents: what is held out can be told by windows only if something of it is learnt. */
static void test_apart(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 2);
    for (int i = 0; i < 40; i++) {
        world w = make_world(&r, 2 + support_rng_below(&r, 60), 0, true, i % 2, NULL);
        check_part(&w, TRAIN_PART_LEARN);
        assert_int_equal(train_data_windows(w.data, TRAIN_PART_HELD), 0);
        release(&w);
    }
}

/* Which documents are held out does not depend on seed, window or cut. */
static void test_same_held(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 3);
    world a = make_world(&r, 16, 3, false, false, NULL);
    find_held(&a);
    train_data *b;
    train_data_options o = {.seq = 40, .seed = a.o.seed + 1, .held_out = 3, .apart = true};
    assert_int_equal(train_data_new(&b, &o, NULL, NULL), SPEC_OK);
    assert_int_equal(add_all(b, &a), SPEC_OK);
    assert_int_equal(train_data_tokens(b, TRAIN_PART_HELD), train_data_tokens(a.data, TRAIN_PART_HELD));
    spec_token token[80];
    for (uint64_t i = 0; i < train_data_windows(b, TRAIN_PART_HELD); i++) {
        train_data_window(b, TRAIN_PART_HELD, i, token, token + 40);
        assert_true(a.held[document_of(&a, token[0])]);
    }
    assert_true(train_data_hash(b) == train_data_hash(a.data));
    train_data_free(b);
    o = a.o; /* but for the seed */
    o.seed++;
    assert_int_equal(train_data_new(&b, &o, NULL, NULL), SPEC_OK);
    assert_int_equal(add_all(b, &a), SPEC_OK);
    for (uint64_t i = 0; i < train_data_windows(b, TRAIN_PART_HELD); i++) {
        train_data_window(b, TRAIN_PART_HELD, i, token, token + 16);
        train_data_window(a.data, TRAIN_PART_HELD, i, token + 32, token + 48);
        assert_memory_equal(token, token + 32, 32 * sizeof *token);
    }
    train_data_free(b);
    release(&a);
}

/* A window is a function of its number; epochs and seeds differ. */
static void test_pure(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 4);
    enum { SEQ = 8 };
    world w = make_world(&r, SEQ, 0, false, false, NULL);
    train_data *other;
    train_data_options o = w.o;
    o.seed++;
    assert_int_equal(train_data_new(&other, &o, NULL, NULL), SPEC_OK);
    assert_int_equal(add_all(other, &w), SPEC_OK);
    uint64_t windows = train_data_windows(w.data, TRAIN_PART_LEARN), n = 3 * windows, same_epoch = 0,
             same_seed = 0, in_order = 0;
    spec_token *all = calloc(n * SEQ * 2, sizeof *all), token[2 * SEQ];
    assert_non_null(all);
    for (uint64_t i = 0; i < n; i++)
        train_data_window(w.data, TRAIN_PART_LEARN, i, all + i * 2 * SEQ, all + (i * 2 + 1) * SEQ);
    for (uint64_t k = 0; k < 4 * n; k++) {
        uint64_t i = support_rng_below(&r, (uint32_t)n);
        train_data_window(w.data, TRAIN_PART_LEARN, i, token, token + SEQ);
        assert_memory_equal(token, all + i * 2 * SEQ, sizeof token);
    }
    for (uint64_t i = 0; i < windows; i++) {
        train_data_window(other, TRAIN_PART_LEARN, i, token, token + SEQ);
        same_seed += !memcmp(token, all + i * 2 * SEQ, sizeof token);
        same_epoch += !memcmp(all + (windows + i) * 2 * SEQ, all + i * 2 * SEQ, sizeof token);
        in_order += i + 1 < windows && all[i * 2 * SEQ] + SEQ == all[(i + 1) * 2 * SEQ];
    }
    size_t cut_alike = 0; /* windows of the second epoch that begin where one of the first does */
    for (uint64_t i = 0; i < windows * windows; i++)
        cut_alike += all[i / windows * 2 * SEQ] == all[(windows + i % windows) * 2 * SEQ];
    assert_true(cut_alike < windows / 4);
    assert_true(windows > 20 && same_epoch < windows / 4 && same_seed < windows / 4 &&
                in_order < windows / 4);
    free(all);
    train_data_free(other);
    release(&w);
}

static uint64_t hash_of(const spec_token *token, const size_t *length, size_t n, size_t learn_from,
                        uint32_t held_out) {
    train_data *d;
    const train_data_options o = {.seq = 4, .held_out = held_out};
    assert_int_equal(train_data_new(&d, &o, NULL, NULL), SPEC_OK);
    for (size_t i = 0; i < n; token += length[i++])
        assert_int_equal(train_data_add(d, token, length[i], learn_from), SPEC_OK);
    uint64_t h = train_data_hash(d);
    train_data_free(d);
    return h;
}

static void test_hash(void **state) {
    (void)state;
    const spec_token token[] = {3, 1, 4, 1, 5, 9}, changed[] = {3, 1, 4, 1, 6, 9};
    const size_t one[] = {6}, two[] = {2, 4}, other[] = {4, 2};
    uint64_t h[] = {hash_of(token, one, 1, 0, 0),   hash_of(token, two, 2, 0, 0),
                    hash_of(token, other, 2, 0, 0), hash_of(token, one, 1, 1, 0),
                    hash_of(changed, one, 1, 0, 0), hash_of(token, one, 0, 0, 0),
                    hash_of(token, one, 1, 0, 1)};
    for (size_t i = 0; i < 7; i++)
        for (size_t j = 0; j < i; j++) assert_true(h[i] != h[j]);
    assert_true(h[0] == hash_of(token, one, 1, 0, 0));
}

static void test_little(void **state) {
    (void)state;
    train_data *d;
    spec_message why;
    spec_token window[8];
    assert_int_equal(train_data_new(&d, &(train_data_options){.seq = 0}, NULL, &why), SPEC_ERR_INVALID);
    assert_non_null(strstr(why.text, "windows of 0 tokens"));
    assert_int_equal(train_data_new(&d, &(train_data_options){.seq = 4}, NULL, NULL), SPEC_OK);
    assert_int_equal(train_data_windows(d, TRAIN_PART_LEARN), 0);
    train_data_window(d, TRAIN_PART_LEARN, 5, window, window + 4);
    for (size_t r = 0; r < 4; r++) assert_true(window[r] == 0 && window[4 + r] == TRAIN_IGNORED);
    assert_int_equal(train_data_add(d, NULL, 0, 0), SPEC_OK);
    assert_int_equal(train_data_add(d, (spec_token[]){7}, 1, 0), SPEC_OK);
    assert_int_equal(train_data_windows(d, TRAIN_PART_LEARN), 0); /* nothing follows it */
    assert_int_equal(train_data_add(d, (spec_token[]){8, 9}, 2, 0), SPEC_OK);
    assert_int_equal(train_data_windows(d, TRAIN_PART_LEARN), 1);
    train_data_window(d, TRAIN_PART_LEARN, 0, window, window + 4);
    size_t targets = 0;
    for (size_t r = 4; r < 8; r++) targets += window[r] != TRAIN_IGNORED;
    assert_int_equal(targets, 3);
    train_data_free(d);
    train_data_free(NULL);
}

static void test_no_memory(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 5);
    world w = make_world(&r, 8, 3, true, true, NULL);
    size_t refusals = 0;
    for (size_t k = 0;; k++) {
        support_heap heap;
        train_data *d = NULL;
        support_heap_init(&heap);
        spec_allocator a = support_alloc(&heap);
        support_heap_refuse(&heap, k, false);
        int err = train_data_new(&d, &w.o, &a, NULL);
        if (!err) {
            err = add_all(d, &w);
            if (err) { /* as if the document had not come */
                size_t n =
                    train_data_documents(d, TRAIN_PART_LEARN) + train_data_documents(d, TRAIN_PART_HELD);
                uint64_t hash = train_data_hash(d);
                spec_token token[LONGEST];
                for (size_t i = w.begin[n]; i < w.begin[n + 1]; i++) token[i - w.begin[n]] = (spec_token)i;
                assert_int_equal(train_data_add(d, token, w.begin[n + 1] - w.begin[n], w.prompt[n]), SPEC_OK);
                assert_true(train_data_hash(d) != hash);
            }
        }
        train_data_free(d);
        refusals += heap.refused;
        support_heap_assert_clean(&heap);
        if (!err) break;
        assert_int_equal(err, SPEC_ERR_NOMEM);
    }
    assert_true(refusals > 5);
    release(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_epochs),    cmocka_unit_test(test_apart), cmocka_unit_test(test_same_held),
        cmocka_unit_test(test_pure),      cmocka_unit_test(test_hash),  cmocka_unit_test(test_little),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Every allocation of every drafter refused in turn: the call that needed it
 * fails, nothing leaks, and nothing has changed: when the call is repeated the
 * drafts are those of a drafter that was never refused anything.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "spec_drafter.h"

#define N_REQUESTS 3
#define N_PROMPT   150
#define N_TEXT     400
#define PIECE      25
#define CAP        12

/* All that was drafted, in order. */
typedef struct record {
    spec_token token[20000];
    int32_t parent[20000];
    size_t n;
} record;

typedef struct scene {
    support_heap heap;
    size_t refused; /* calls that failed and were repeated */
    record drafted;
} scene;

/* After a call: whether it has to be repeated. From then on nothing is refused. */
static bool repeat(scene *s, int err) {
    if (!err) return false;
    assert_int_equal(err, SPEC_ERR_NOMEM);
    assert_int_equal(s->heap.refused, 1);
    support_heap_refuse(&s->heap, SIZE_MAX, false);
    s->refused++;
    return true;
}

static void note(scene *s, const spec_tree *t) {
    record *r = &s->drafted;
    assert_true(r->n + t->n <= 20000);
    memcpy(r->token + r->n, t->token, t->n * sizeof *t->token);
    memcpy(r->parent + r->n, t->parent, t->n * sizeof *t->parent);
    r->n += t->n;
    if (t->n) return;
    r->token[r->n++] = -1; /* an empty draft */
}

static void make_text(spec_token *tok, uint64_t stream) {
    support_rng r = support_rng_new(support_seed(), stream);
    for (size_t i = 0; i < N_TEXT; i++)
        tok[i] = i > 40 && support_rng_chance(&r, 0.8) ? tok[i - 31] : (spec_token)support_rng_below(&r, 60);
}

static void play_request(scene *s, spec_drafter *d, uint64_t k) {
    spec_token tok[N_TEXT];
    spec_request *q = NULL;
    spec_tree t;
    make_text(tok, 80 + k % 2); /* the third repeats the first */
    spec_request_info info = {.size = sizeof info,
                              .tenant = k / 2,
                              .prompt = tok,
                              .n_prompt = N_PROMPT,
                              .reference = tok + N_PROMPT,
                              .n_reference = N_TEXT - N_PROMPT};
    assert_int_equal(spec_tree_init(&t, CAP, 0, 0, NULL), 0);
    while (repeat(s, spec_request_begin(d, &info, &q))) assert_null(q);
    for (size_t at = N_PROMPT; at < N_TEXT; at += PIECE) {
        while (repeat(s, spec_request_propose(q, NULL, &t))) assert_int_equal(t.n, 0);
        note(s, &t);
        while (repeat(s, spec_request_commit(q, tok + at, PIECE))) continue;
    }
    spec_request_end(q);
    spec_tree_release(&t, NULL);
}

/* Plays the whole scene, refusing allocation k. */
static void play(scene *s, const char *spec, size_t k) {
    spec_drafter *d = NULL;
    memset(s, 0, sizeof *s);
    support_heap_init(&s->heap);
    spec_allocator a = support_alloc(&s->heap);
    support_heap_refuse(&s->heap, k, false);
    while (repeat(s, spec_drafter_open(&d, spec, &a, NULL))) assert_null(d);
    for (uint64_t i = 0; i < N_REQUESTS; i++) play_request(s, d, i);
    spec_drafter_free(d);
    support_heap_assert_clean(&s->heap);
}

/* Returns how many refusals no call reported: they fell into spec_request_end(),
 * which learns less instead of failing. */
static size_t refuse_each(const char *spec) {
    scene *whole = malloc(sizeof *whole), *s = malloc(sizeof *s);
    size_t silent = 0;
    play(whole, spec, SIZE_MAX);
    assert_true(whole->heap.requests > 0);
    for (size_t k = 0; k < whole->heap.requests; k++) {
        play(s, spec, k);
        if (s->refused) {
            if (s->drafted.n != whole->drafted.n || memcmp(&s->drafted, &whole->drafted, sizeof s->drafted))
                fail_msg("%s: other drafts after refusal %zu", spec, k);
        } else {
            assert_int_equal(s->heap.refused, 1);
            silent++;
        }
    }
    free(whole);
    free(s);
    return silent;
}

static void test_refusals_change_nothing(void **state) {
    (void)state;
    static const char *const specs[] = {"none",
                                        "oracle",
                                        "random",
                                        "pld",
                                        "pld:n_max=16,match=first",
                                        "ngram-mod:n=4,min=0,size_mb=1",
                                        "ngram-mod:n=4,min=0,shared=0",
                                        "union:pld+ngram-cache:shared=0+(union:random+pld:n_max=2)",
                                        "cascade:pld>ngram-cache:shared=0,tau=1.5",
                                        "ngram-cache:shared=0"};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        size_t silent = refuse_each(specs[i]);
        if (silent) fail_msg("%s: %zu refusals were not reported", specs[i], silent);
    }
}

static void test_ngram_cache_learns_less_at_worst(void **state) {
    (void)state;
    size_t silent = refuse_each("ngram-cache:size_mb=1");
    assert_true(silent > 0 && silent < 40); /* the shared counts grow when a request ends */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals_change_nothing),
        cmocka_unit_test(test_ngram_cache_learns_less_at_worst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Every allocation of the suffix drafter refused in turn. A call that fails says
 * so, leaks nothing and has changed nothing: repeated, it succeeds, and all
 * drafts agree with the truth as if it had never failed. What is taught to other
 * requests may be lost instead of failing the request that teaches: then that
 * response is known to others as far as it was, and grows no more.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drafting.h"
#include "oracle_suffix.h"
#include "spec_index.h"

#define N_LIVE 2
#define N_TEXT 900
#define CAP    16

typedef struct scene {
    const char *spec;
    support_heap heap;
    spec_allocator alloc;
    spec_drafter *d;
    truth t;
    truth_seen seen;
    support_rng rng;
    size_t failed, lost; /* refusals: calls that failed, responses not taught further */
    spec_token text[N_TEXT];
} scene;

/* After a call: whether it failed and has to be repeated. One refusal is all there is. */
static bool repeat(scene *s, int err) {
    if (!err) return false;
    assert_int_equal(err, SPEC_ERR_NOMEM);
    assert_int_equal(s->heap.refused, 1);
    support_heap_refuse(&s->heap, SIZE_MAX, false);
    s->failed++;
    return true;
}

/* Whether a call that succeeded was refused memory: for teaching. */
static bool lost_some(scene *s) {
    if (!s->heap.refused) return false;
    support_heap_refuse(&s->heap, SIZE_MAX, false);
    s->lost++;
    return true;
}

/* ---- one scene -------------------------------------------------------------- */

typedef struct pair {
    spec_request *r;
    truth_text *q;
    size_t at; /* in the scene's text */
} pair;

static pair start(scene *s, uint64_t tenant) {
    pair p = {.at = support_rng_below(&s->rng, 100)};
    spec_request_info info = {.size = sizeof info, .tenant = tenant, .prompt = s->text + p.at};
    info.n_prompt = 20 + support_rng_below(&s->rng, 40);
    while (repeat(s, spec_request_begin(s->d, &info, &p.r))) assert_null(p.r);
    p.q = truth_begin(&s->t, &info);
    p.at += info.n_prompt;
    return p;
}

static void go_on(scene *s, pair *p, size_t n) {
    if (p->at + n > N_TEXT) p->at = support_rng_below(&s->rng, 100);
    while (repeat(s, spec_request_commit(p->r, s->text + p->at, n))) continue;
    if (lost_some(s)) p->q->stopped = true;
    truth_commit(&s->t, p->q, s->text + p->at, n);
    p->at += n;
}

static void look(scene *s, const pair *p, spec_tree *tree, size_t k) {
    spec_message why;
    size_t before = s->heap.requests;
    assert_int_equal(spec_request_propose(p->r, NULL, tree), 0);
    assert_int_equal(s->heap.requests, before); /* drafting takes no memory */
    if (!truth_agrees(&s->t, p->q, NULL, tree, &s->seen, &why))
        fail_msg("%s, refusal %zu, draft %zu: %s", s->spec, k, s->seen.drafts, why.text);
}

static void finish(scene *s, pair *p) {
    spec_request_end(p->r);
    if (lost_some(s)) p->q->stopped = true;
    truth_end(&s->t, p->q);
}

/* Tokens a call at most: few enough to be taught at once or not at all; where
 * nothing is taught, more than the request has room for. */
static size_t piece(const scene *s) { return s->t.rule.shared != 0 ? 50 : 300; }

static void play_requests(scene *s, size_t k) {
    spec_tree tree;
    assert_int_equal(spec_tree_init(&tree, CAP, 0, 0, NULL), 0);
    const bool brief = s->t.rule.learn != 0; /* a response is taught whole when it ends */
    const uint64_t rounds = brief ? 8 : 3;
    for (uint64_t round = 0; round < rounds; round++) {
        pair p[N_LIVE] = {start(s, 0), start(s, round == rounds - 1)}; /* a second tenant at last */
        for (int step = 0; step < (brief ? 2 : 12); step++) {
            pair *at = &p[step % N_LIVE];
            go_on(s, at, step % 3 && !brief ? 1 + support_rng_below(&s->rng, 4) : piece(s));
            look(s, at, &tree, k);
        }
        for (size_t i = 0; i < N_LIVE; i++) finish(s, &p[i]);
    }
    spec_tree_release(&tree, NULL);
}

/* Plays it from open to free, allocation k refused. */
static void play(scene *s, const char *spec, size_t k) {
    memset(s, 0, sizeof *s);
    s->spec = spec;
    s->rng = support_rng_new(support_seed(), 90);
    for (size_t i = 0; i < N_TEXT; i++) {
        bool copy = i > 60 && support_rng_chance(&s->rng, 0.9);
        s->text[i] = copy ? s->text[i - 47] : (spec_token)support_rng_below(&s->rng, 30);
    }
    truth_init(&s->t, spec);
    support_heap_init(&s->heap);
    s->alloc = support_alloc(&s->heap);
    support_heap_refuse(&s->heap, k, false);
    while (repeat(s, spec_drafter_open(&s->d, spec, &s->alloc, NULL))) assert_null(s->d);
    play_requests(s, k);
    spec_drafter_free(s->d);
    truth_free(&s->t);
    support_heap_assert_clean(&s->heap);
}

static void refuse_each(const char *spec, bool teaches) {
    scene *s = malloc(sizeof *s);
    play(s, spec, SIZE_MAX);
    size_t n = s->heap.requests, failed = 0, lost = 0;
    assert_true(s->seen.drafts > 10 && (s->seen.shared > 3 || !teaches));
    for (size_t k = 0; k < n; k++) {
        play(s, spec, k);
        if (s->failed + s->lost != 1) fail_msg("%s: refusal %zu of %zu was not met", spec, k, n);
        failed += s->failed;
        lost += s->lost;
    }
    print_message("%s: %zu refusals failed a call, %zu lost a response's end\n", spec, failed, lost);
    assert_true(failed > 20 && (lost > 0) == teaches);
    free(s);
}

static void test_refusals(void **state) {
    (void)state;
    refuse_each("suffix:shared=0", false);
    refuse_each("suffix", true);
    refuse_each("suffix:preset=arctic,tree=1,depth=9", true);
    refuse_each("suffix:own=0,learn=end", true);
    refuse_each("suffix:max_requests=2,evict=lru", true);
    refuse_each("suffix:cross_tenant=1,memory_mb=1", true);
}

/* ---- opening and saving -------------------------------------------------------- */

typedef struct snapshot {
    support_tmp tmp;
    char path[200];
    support_heap heap;
    spec_allocator alloc;
} snapshot;

static void snapshot_begin(snapshot *s) {
    support_tmp_make(&s->tmp);
    support_tmp_path(&s->tmp, "saved", s->path, sizeof s->path);
    support_heap_init(&s->heap);
    s->alloc = support_alloc(&s->heap);
}

static spec_drafter *taught_drafter(snapshot *s) {
    spec_drafter *d = drafting_open("suffix", &s->alloc);
    for (uint32_t i = 1; i < 30; i++) run_say(d, 7, i, 100);
    return d;
}

static void test_refusals_while_saving(void **state) {
    (void)state;
    snapshot s;
    snapshot_begin(&s);
    spec_drafter *d = taught_drafter(&s);
    size_t refusals = 0;
    for (int err = -1; err; refusals++) {
        spec_message why;
        support_heap_refuse(&s.heap, refusals, false);
        err = spec_drafter_save(d, 7, s.path, &why);
        assert_int_equal(err, s.heap.refused ? SPEC_ERR_NOMEM : 0);
        assert_int_equal(access(s.path, F_OK), err ? -1 : 0);
        assert_true((why.text[0] != 0) == (err != 0));
    }
    assert_true(refusals > 1);
    support_heap_refuse(&s.heap, SIZE_MAX, false);
    assert_true(run_known(d, 7, 12, 50) > 0);
    spec_drafter_free(d);
    support_heap_assert_clean(&s.heap);
    support_tmp_remove(&s.tmp);
}

/* Opens a drafter on the snapshot and begins a request of each of two tenants. */
static int open_and_begin(const snapshot *s, const char *spec) {
    spec_drafter *d = NULL;
    spec_request *r[2] = {NULL, NULL};
    int err = spec_drafter_open(&d, spec, &s->alloc, NULL);
    assert_true(!err == (d != NULL));
    for (uint64_t i = 0; i < 2 && !err; i++) {
        spec_request_info info = {.size = sizeof info, .tenant = i};
        err = spec_request_begin(d, &info, &r[i]);
        assert_true(!err == (r[i] != NULL));
    }
    spec_request_end(r[0]);
    spec_request_end(r[1]);
    spec_drafter_free(d);
    return err;
}

static void test_refusals_on_a_corpus(void **state) {
    (void)state;
    snapshot s;
    char spec[240];
    snapshot_begin(&s);
    spec_drafter *d = taught_drafter(&s);
    assert_int_equal(spec_drafter_save(d, 7, s.path, NULL), 0);
    spec_drafter_free(d);
    snprintf(spec, sizeof spec, "suffix:corpus=%s", s.path);
    size_t refusals = 0;
    for (int err = -1; err; refusals++) {
        support_heap_refuse(&s.heap, refusals, false);
        err = open_and_begin(&s, spec);
        assert_int_equal(err, s.heap.refused ? SPEC_ERR_NOMEM : 0);
        support_heap_assert_clean(&s.heap);
    }
    assert_true(refusals > 20);
    support_tmp_remove(&s.tmp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refusals_while_saving),
        cmocka_unit_test(test_refusals_on_a_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

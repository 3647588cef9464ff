/* SPDX-License-Identifier: MIT */
/*
 * Requests of one Medusa and one EAGLE-3 drafter on eight threads: each gets the drafts that it
 * gets alone, whoever else is served.
 */
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "eagle3_world.h"
#include "drafting.h"
#include "made_heads.h"
#include "specp.h"

#define N_THREADS  8
#define N_REQUESTS 3
#define N_STEPS    12
#define HIDDEN     20
#define VOCAB      60
#define MOST_TAPS  4

typedef struct worker {
    spec_drafter *d;
    uint64_t number;
    uint64_t drafts; /* a hash of all of them */
    size_t nodes;
    bool failed;
} worker;

static void random_rows(support_rng *rng, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = (float)(support_rng_unit(rng) * 4 - 2);
}

/* A step of plain decoding with its row, then a draft for each of two requests at once. */
static int step(worker *w, support_rng *rng, spec_request *const *q, spec_tree *const *t) {
    float row[MOST_TAPS * HIDDEN];
    spec_needs needs;
    int err = SPEC_OK;
    spec_drafter_needs(w->d, &needs);
    for (size_t k = 0; k < 2 && !err; k++) {
        spec_token next = (spec_token)support_rng_below(rng, VOCAB);
        random_rows(rng, row, needs.n_taps * HIDDEN);
        const spec_outcome o = {.size = sizeof o,
                                .committed = &next,
                                .n_committed = 1,
                                .n_rows = 1,
                                .n_taps = needs.n_taps,
                                .hidden_dim = HIDDEN,
                                .hidden = row};
        err = spec_request_observe(q[k], &o);
    }
    if (!err) err = spec_request_propose_batch(q, NULL, t, 2);
    for (size_t k = 0; k < 2 && !err; k++) {
        w->nodes += t[k]->n;
        for (uint32_t i = 0; i < t[k]->n; i++) {
            uint32_t bits;
            memcpy(&bits, &t[k]->prob[i], sizeof bits);
            w->drafts = specp_mix64(w->drafts ^ (uint64_t)(uint32_t)t[k]->token[i] << 32 ^ bits);
        }
    }
    return err;
}

static void *work(void *arg) {
    worker *w = arg;
    support_rng rng = support_rng_new(1, w->number);
    spec_tree t[2], *trees[] = {&t[0], &t[1]};
    int err = spec_tree_init(&t[0], 16, 0, 0, NULL);
    if (!err) err = spec_tree_init(&t[1], 16, 0, 0, NULL);
    for (int i = 0; i < N_REQUESTS && !err; i++) {
        spec_request *q[2] = {NULL, NULL};
        const spec_token start[] = {1, (spec_token)w->number};
        const spec_request_info info = {.size = sizeof info, .prompt = start, .n_prompt = 2};
        for (size_t k = 0; k < 2 && !err; k++) err = spec_request_begin(w->d, &info, &q[k]);
        for (int k = 0; k < N_STEPS && !err; k++) err = step(w, &rng, q, trees);
        for (size_t k = 0; k < 2; k++) spec_request_end(q[k]);
    }
    for (size_t k = 0; k < 2; k++) spec_tree_release(&t[k], NULL);
    w->failed = err != 0;
    return NULL;
}

typedef struct watcher {
    spec_drafter *d;
    atomic_bool stop;
    uint64_t looked;
} watcher;

static void *watch(void *arg) {
    watcher *w = arg;
    while (!atomic_load(&w->stop)) {
        spec_drafter_stats s;
        spec_drafter_get_stats(w->d, &s);
        w->looked += s.index_bytes > 0;
        sched_yield();
    }
    return NULL;
}

static void eight_threads(spec_drafter *d) {
    pthread_t thread[N_THREADS], eye;
    worker w[N_THREADS], alone[N_THREADS];
    watcher look = {.d = d};
    for (uint64_t i = 0; i < N_THREADS; i++) {
        alone[i] = (worker){.d = d, .number = i};
        work(&alone[i]);
    }
    assert_int_equal(pthread_create(&eye, NULL, watch, &look), 0);
    for (uint64_t i = 0; i < N_THREADS; i++) {
        w[i] = (worker){.d = d, .number = i};
        assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_false(w[i].failed || alone[i].failed);
        assert_true(w[i].nodes > N_REQUESTS * N_STEPS * 16 && w[i].drafts == alone[i].drafts);
    }
    atomic_store(&look.stop, true);
    assert_int_equal(pthread_join(eye, NULL), 0);
    assert_true(look.looked > 0);
    spec_drafter_free(d);
}

static void test_heads(void **state) {
    (void)state;
    support_tmp tmp;
    support_rng rng = support_rng_new(1, 99);
    char medusa[200], eagle3[200], spec[1000];
    eagle3_made made = eagle3_usual;
    bare_target bare = {HIDDEN, VOCAB, 100, 0};
    const spec_lm target = bare_target_lm(&bare);
    const spec_drafter_env env = {.size = sizeof env, .target = &target, .threads = 2};
    made.target = made.hidden = HIDDEN;
    made.vocab = VOCAB;
    made.n_layers = 4;
    made.layers = "[1, 2, 3]";
    support_tmp_make(&tmp);
    made_medusa(support_tmp_path(&tmp, "medusa", medusa, sizeof medusa), 3, HIDDEN, VOCAB, 1, NULL);
    eagle3_make(support_tmp_path(&tmp, "eagle3", eagle3, sizeof eagle3), &made, &rng);
    for (int i = 0; i < 3; i++) {
        spec_drafter *d = NULL;
        spec_message why;
        if (i == 0) snprintf(spec, sizeof spec, "medusa:%s", medusa);
        if (i == 1) snprintf(spec, sizeof spec, "eagle3:%s", eagle3);
        if (i == 2) snprintf(spec, sizeof spec, "union:medusa:%s+eagle3:%s", medusa, eagle3);
        if (spec_drafter_open_env(&d, spec, &env, NULL, &why)) fail_msg("%s", why.text);
        eight_threads(d);
    }
    support_tmp_remove(&tmp);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_heads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

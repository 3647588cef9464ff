/* SPDX-License-Identifier: MIT */
/*
 * One small model drafts for requests of eight threads, while another reads the statistics:
 * each is drafted what it would be alone, and under TSan there is no race: the model
 * itself (table_lm.c) has no locks.
 */
#include "table_lm.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "drafting.h"
#include "specp.h"

#define N_THREADS  8
#define N_REQUESTS 5
#define N_STEPS    20

typedef struct worker {
    spec_drafter *d;
    uint64_t number, drafts; /* a hash of all that was drafted */
    size_t nodes;
    bool failed;
} worker;

static int step(worker *w, support_rng *r, spec_request **q, spec_tree *const *trees) {
    spec_propose_args a[2];
    for (size_t i = 0; i < 2; i++) table_lm_ask(&a[i], support_rng_next(r));
    int err = spec_request_propose_batch(q, a, trees, 2);
    for (size_t i = 0; i < 2 && !err; i++) {
        spec_token said[64];
        for (uint32_t k = 0; k < trees[i]->n; k++)
            w->drafts =
                specp_mix64(w->drafts ^ (uint64_t)trees[i]->token[k] << 32 ^ (uint32_t)trees[i]->parent[k]);
        w->nodes += trees[i]->n;
        err = spec_request_commit(q[i], said, table_lm_outcome(r, trees[i], said));
    }
    return err;
}

static void *work(void *arg) {
    worker *w = arg;
    support_rng r = support_rng_new(1, w->number);
    spec_tree t[2], *trees[] = {&t[0], &t[1]};
    int err = spec_tree_init(&t[0], 30, 5, TABLE_VOCAB, NULL);
    if (!err) err = spec_tree_init(&t[1], 30, 5, TABLE_VOCAB, NULL);
    for (int i = 0; i < N_REQUESTS && !err; i++) {
        spec_request *q[2] = {NULL, NULL};
        const spec_token start[] = {1, (spec_token)w->number};
        const spec_request_info info = {.size = sizeof info, .prompt = start, .n_prompt = 2};
        for (size_t k = 0; k < 2 && !err; k++) err = spec_request_begin(w->d, &info, &q[k]);
        for (int k = 0; k < N_STEPS && !err; k++) err = step(w, &r, q, trees);
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

static void test_eight_threads(void **state) {
    (void)state;
    static const char *const specs[] = {"model:a,min_prob=0", "model:a,beam=2,k=3,len=3,min_prob=0",
                                        "model:a,mode=sample", "union:(model:a,mode=sample)+pld:n_max=1"};
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++) {
        pthread_t thread[N_THREADS], eye;
        worker w[N_THREADS], alone[N_THREADS];
        table_lm_set(0, TABLE_VOCAB, 300, 5.0);
        watcher look = {.d = table_lm_drafter(specs[s], &table_lm_env, NULL)};
        for (uint64_t i = 0; i < N_THREADS; i++) {
            alone[i] = (worker){.d = look.d, .number = i};
            work(&alone[i]);
        }
        assert_int_equal(pthread_create(&eye, NULL, watch, &look), 0);
        for (uint64_t i = 0; i < N_THREADS; i++) {
            w[i] = (worker){.d = look.d, .number = i};
            assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
        }
        for (size_t i = 0; i < N_THREADS; i++) {
            assert_int_equal(pthread_join(thread[i], NULL), 0);
            assert_false(w[i].failed || alone[i].failed);
            assert_true(w[i].nodes > 500 && w[i].drafts == alone[i].drafts);
        }
        atomic_store(&look.stop, true);
        assert_int_equal(pthread_join(eye, NULL), 0);
        assert_true(look.looked > 0 && table_lms[0].sequences == 0);
        spec_drafter_free(look.d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_eight_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

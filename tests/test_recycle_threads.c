/* SPDX-License-Identifier: MIT */
/*
 * recycle from eight threads at once, with rows: no races (under TSan), and no draft
 * that mixes two rows: every row that is told is one group of eight neighbours, so the
 * children of a node are too.
 */
#include "support.h"

#include <pthread.h>

#include "drafting.h"

#define N_THREADS 8
#define N_STEPS   400
#define K         8
#define ROOM      80
#define ALPHABET  64

typedef struct worker {
    spec_drafter *d;
    uint64_t number;
    size_t nodes;
    bool mixed;
} worker;

/* Whether the children of a node come from different rows. */
static bool mixed(const spec_tree *t, int32_t parent) {
    spec_token group = -1;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->parent[i] != parent) continue;
        if (group >= 0 && group != t->token[i] / K) return true;
        group = t->token[i] / K;
    }
    return false;
}

static int step(spec_request *q, support_rng *r, const spec_tree *t) {
    spec_token topk[(ROOM + 1) * K], committed = (spec_token)support_rng_below(r, ALPHABET);
    float logprob[(ROOM + 1) * K] = {0};
    uint8_t accepted[ROOM] = {0};
    for (uint32_t i = 0; i <= t->n; i++) {
        spec_token group = (spec_token)support_rng_below(r, ALPHABET / K);
        for (spec_token k = 0; k < K; k++) topk[i * K + (uint32_t)k] = group * K + k;
    }
    spec_outcome o = {.size = sizeof o,
                      .committed = &committed,
                      .n_committed = 1,
                      .tree = t,
                      .accepted = accepted,
                      .n_rows = t->n + 1,
                      .top_k = K,
                      .topk_token = topk,
                      .topk_logprob = logprob};
    return spec_request_observe(q, &o);
}

static void *work(void *arg) {
    worker *w = arg;
    support_rng r = support_rng_new(1, w->number);
    const spec_token start = 1;
    spec_request_info info = {.size = sizeof info, .tenant = w->number % 2, .prompt = &start, .n_prompt = 1};
    spec_request *q = NULL;
    spec_tree t;
    int err = spec_tree_init(&t, ROOM, 0, 0, NULL);
    for (int i = 0; i < N_STEPS && !err; i++) {
        if (i % 100 == 0) {
            spec_request_end(q);
            q = NULL;
            err = spec_request_begin(w->d, &info, &q);
            if (err) break;
        }
        err = spec_request_propose(q, NULL, &t);
        w->nodes += t.n;
        for (int32_t node = -1; node < (int32_t)t.n; node++) w->mixed = w->mixed || mixed(&t, node);
        if (!err) err = step(q, &r, &t);
    }
    spec_request_end(q);
    spec_tree_release(&t, NULL);
    w->mixed = w->mixed || err;
    return NULL;
}

static void test_eight_threads(void **state) {
    (void)state;
    static const char *const specs[] = {"recycle", "recycle:cross_tenant=1", "recycle:tenants=1",
                                        "recycle:shared=0"};
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++) {
        pthread_t thread[N_THREADS];
        worker w[N_THREADS];
        spec_drafter *d = drafting_open(specs[s], NULL);
        for (uint64_t i = 0; i < N_THREADS; i++) {
            w[i] = (worker){.d = d, .number = i};
            assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
        }
        for (size_t i = 0; i < N_THREADS; i++) {
            assert_int_equal(pthread_join(thread[i], NULL), 0);
            assert_false(w[i].mixed);
            assert_true(w[i].nodes > 1000);
        }
        spec_drafter_free(d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_eight_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

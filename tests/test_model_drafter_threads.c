/* SPDX-License-Identifier: MIT */
/*
 * One small model drafts for requests of eight threads, while another reads the statistics:
 * each is drafted what it would be alone, and under TSan there is no race: the model
 * itself (table_lm.c) has no locks.
 */
#include "table_lm.h"

#include "drafting.h"
#include "specp.h"

#define N_REQUESTS 5
#define N_STEPS    20

static int step(drafting_worker *w, support_rng *r, spec_request **q, spec_tree *const *trees) {
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

static void test_eight_threads(void **state) {
    (void)state;
    static const drafting_play play = {N_REQUESTS, N_STEPS, 30, 5, TABLE_VOCAB, step};
    static const char *const specs[] = {"model:a,min_prob=0", "model:a,beam=2,k=3,len=3,min_prob=0",
                                        "model:a,mode=sample", "union:(model:a,mode=sample)+pld:n_max=1"};
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++) {
        table_lm_set(0, TABLE_VOCAB, 300, 5.0);
        spec_drafter *d = table_lm_drafter(specs[s], &table_lm_env, NULL);
        drafting_eight_threads(d, &play, 500);
        assert_int_equal(table_lms[0].sequences, 0);
        spec_drafter_free(d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_eight_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

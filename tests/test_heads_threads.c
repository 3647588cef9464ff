/* SPDX-License-Identifier: MIT */
/*
 * Requests of one Medusa and one EAGLE-3 drafter on eight threads: each gets the drafts that it
 * gets alone, whoever else is served.
 */
#include "support.h"

#include <string.h>

#include "drafting.h"
#include "eagle3_world.h"
#include "made_heads.h"
#include "specp.h"

#define N_REQUESTS 3
#define N_STEPS    12
#define HIDDEN     20
#define VOCAB      60
#define MOST_TAPS  4

static void random_rows(support_rng *rng, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = (float)(support_rng_unit(rng) * 4 - 2);
}

/* A step of plain decoding with its row, then a draft for each of two requests at once. */
static int step(drafting_worker *w, support_rng *rng, spec_request **q, spec_tree *const *t) {
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

static void test_heads(void **state) {
    static const drafting_play play = {N_REQUESTS, N_STEPS, 16, 0, 0, step};
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
        drafting_eight_threads(d, &play, N_REQUESTS * N_STEPS * 16);
        spec_drafter_free(d);
    }
    support_tmp_remove(&tmp);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_heads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

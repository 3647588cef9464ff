/* SPDX-License-Identifier: MIT */
/*
 * Decoding with the suffix drafter gives what plain greedy decoding gives, token
 * for token, with every preset and every shape of draft; and a wrong verifier
 * behind the same drafts is noticed.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "drafting.h"
#include "toy_engine.h"

#define N_PROMPT   60
#define N_NEW      900
#define N_REQUESTS 10

typedef struct pair {
    spec_token plain[N_PROMPT + N_NEW], other[N_PROMPT + N_NEW];
} pair;

/* The prompt is a piece of what the model says; a few prompts come again. */
static void make_texts(pair *p, const toy_model *m, uint32_t which) {
    for (size_t i = 0; i < 3; i++) p->plain[i] = m->first + (spec_token)((which + i) % m->vocab);
    toy_plain(m, p->plain, 3, N_PROMPT - 3);
    memcpy(p->other, p->plain, N_PROMPT * sizeof *p->plain);
    toy_plain(m, p->plain, N_PROMPT, N_NEW);
}

/* Decodes requests in turn; how many came out otherwise than plainly. */
static size_t decode(const char *spec, uint32_t vocab, toy_verifier v, size_t *accepted) {
    static const uint32_t budgets[] = {16, 1, 5, 40, 200};
    spec_drafter *d = drafting_open(spec, NULL);
    pair *p = malloc(sizeof *p);
    toy_model m = {.seed = support_seed() + vocab, .vocab = vocab};
    size_t differ = 0;
    for (uint32_t i = 0; i < N_REQUESTS; i++) {
        toy_run run = {.verifier = v, .tenant = i % 2, .budget = budgets[i % 5], .mix_calls = i % 3 == 1};
        if (v != TOY_RIGHT) run.budget = 16;
        make_texts(p, &m, i % 7);
        toy_decode(&m, d, &run, p->other, N_PROMPT, N_NEW);
        differ += memcmp(p->plain, p->other, sizeof p->plain) != 0;
        *accepted += run.accepted;
    }
    free(p);
    spec_drafter_free(d);
    return differ;
}

static void test_output_is_that_of_plain_decoding(void **state) {
    (void)state;
    static const char *const specs[] = {
        "suffix",
        "suffix:tree=0",
        "suffix:preset=arctic",
        "suffix:preset=arctic,tree=1",
        "suffix:preset=coreml",
        "suffix:preset=coreml,tree=1,nodes=30",
        "suffix:self=0,doubt=0,min_prob=0,nodes=64",
        "suffix:own=0",
        "suffix:shared=0,depth=5",
        "suffix:max_requests=2,cross_tenant=1",
        "suffix:memory_mb=1,learn=end",
    };
    static const uint32_t vocabs[] = {3, 60, 20000};
    size_t tokens = 0;
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        for (size_t k = 0; k < 3; k++) {
            size_t accepted = 0, differ = decode(specs[i], vocabs[k], TOY_RIGHT, &accepted);
            if (differ) fail_msg("%s, vocabulary %u: %zu outputs differ", specs[i], vocabs[k], differ);
            if (k < 2 && !accepted) fail_msg("%s, vocabulary %u: nothing was accepted", specs[i], vocabs[k]);
            tokens += N_REQUESTS * N_NEW;
        }
    }
    assert_true(tokens >= 100000);
}

static void test_wrong_verifiers_are_noticed(void **state) {
    (void)state;
    static const char *const specs[] = {"suffix", "suffix:preset=arctic,tree=1", "suffix:preset=coreml"};
    for (size_t i = 0; i < 3; i++) {
        for (int v = TOY_RIGHT + 1; v < TOY_N_VERIFIERS; v++) {
            size_t accepted = 0, differ = 0;
            for (uint32_t vocab = 3; vocab < 200; vocab *= 5)
                differ += decode(specs[i], vocab, (toy_verifier)v, &accepted);
            if (!differ) fail_msg("%s: wrong verifier %d is not noticed", specs[i], v);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_is_that_of_plain_decoding),
        cmocka_unit_test(test_wrong_verifiers_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

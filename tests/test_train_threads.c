/* SPDX-License-Identifier: MIT */
/* Training on several threads: the bits are those of one. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "adamw.h"
#include "train_llama.h"

#define SEQS 4
#define SEQ  261
#define ROWS ((size_t)SEQS * SEQ) /* more than a piece of any operation has, and no multiple of one */

/* So many outputs that gradients of matrices have several tiles. */
static const train_llama_shape shape = {260, 24, 2, 4, 2, 6, 150, 10000.0, 1e-5f, true};

typedef struct outcome {
    train_loss loss[2];
    double norm[2];
    float *value; /* after two steps */
    size_t n;
} outcome;

/* Two steps of two micro-batches each; team 0: none. */
static outcome train(unsigned team_size, const spec_token *tokens, const spec_token *targets) {
    const train_adamw o = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1};
    outcome out = {.n = 0};
    specp_team *team = NULL;
    train_llama *m = NULL;
    spec_message why;
    if (team_size) assert_int_equal(specp_team_new(&team, team_size, NULL), 0);
    assert_int_equal(train_llama_new(&m, &shape, ROWS, SEQ, team, NULL, &why), 0);
    train_llama_init(m, support_seed());
    for (uint64_t t = 0; t < 2; t++) {
        memset(m->p.grad, 0, m->p.n * sizeof *m->p.grad);
        for (size_t i = 0; i < 2; i++) {
            const spec_token *at = tokens + i * ROWS, *to = targets + i * ROWS;
            assert_int_equal(train_llama_run(m, at, to, SEQS, SEQ, true, &out.loss[t], &why), 0);
        }
        out.norm[t] = train_norm(m->p.grad, m->p.n);
        train_adamw_step(&o, t + 1, 0.5, m->p.grad, m->p.value, m->p.m, m->p.v, m->p.n);
    }
    out.n = m->p.n;
    out.value = malloc(out.n * sizeof *out.value);
    assert_non_null(out.value);
    memcpy(out.value, m->p.value, out.n * sizeof *out.value);
    train_llama_free(m);
    specp_team_free(team);
    return out;
}

static void test_bits_do_not_depend_on_threads(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    static spec_token tokens[2 * ROWS], targets[2 * ROWS];
    for (size_t i = 0; i < 2 * ROWS; i++) {
        tokens[i] = (spec_token)support_rng_below(&r, (uint32_t)shape.vocab);
        targets[i] = support_rng_chance(&r, 0.2) ? TRAIN_IGNORED
                                                 : (spec_token)support_rng_below(&r, (uint32_t)shape.vocab);
    }
    outcome alone = train(0, tokens, targets);
    assert_true(alone.loss[1].sum < alone.loss[0].sum && alone.norm[0] > 0.0);
    for (unsigned size = 1; size <= 3; size++) {
        outcome got = train(size, tokens, targets);
        for (size_t t = 0; t < 2; t++) {
            assert_true(got.loss[t].sum == alone.loss[t].sum && got.loss[t].n == alone.loss[t].n);
            assert_true(got.loss[t].correct == alone.loss[t].correct && got.norm[t] == alone.norm[t]);
        }
        assert_memory_equal(got.value, alone.value, alone.n * sizeof *alone.value);
        free(got.value);
    }
    free(alone.value);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits_do_not_depend_on_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Draft heads trained on several threads: the bits are those of one. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "adamw.h"
#include "train_case.h"
#include "train_check.h"

#define SEQS 4
#define SEQ  135 /* with SEQS more rows than a piece of any operation has, and no multiple of one */

typedef struct outcome {
    double loss[2];
    size_t correct[2];
    float *value; /* after two steps */
    size_t n;
} outcome;

static void step(train_params *p, uint64_t t) {
    const train_adamw o = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1};
    train_adamw_step(&o, t, 0.5, p->grad, p->value, p->m, p->v, p->n);
    memset(p->grad, 0, p->n * sizeof *p->grad);
}

static void keep(outcome *o, const train_params *p) {
    o->n = p->n;
    o->value = train_check_make(p->n, sizeof *o->value);
    memcpy(o->value, p->value, p->n * sizeof *o->value);
}

static outcome train_heads(const void *arg, specp_team *team) {
    const medusa_case *c = arg;
    outcome out = {.n = 0};
    train_medusa *m = medusa_case_heads(c, team);
    train_medusa_init(m, 3, NULL);
    for (uint64_t t = 0; t < 2; t++) {
        train_loss loss[2];
        medusa_case_run(m, c, true, loss);
        out.loss[t] = medusa_case_run(m, c, true, loss);
        out.correct[t] = loss[0].correct + loss[1].correct;
        step(&m->p, t + 1);
    }
    keep(&out, &m->p);
    train_medusa_free(m);
    return out;
}

static outcome train_head(const void *arg, specp_team *team) {
    const eagle3_case *c = arg;
    outcome out = {.n = 0};
    train_eagle3 *m = eagle3_case_head(c, team);
    train_eagle3_init(m, 3, NULL);
    for (uint64_t t = 0; t < 2; t++) {
        train_eagle3_sums sums;
        eagle3_case_run(m, &c->batch, true, &sums);
        out.loss[t] = eagle3_case_run(m, &c->batch, true, &sums);
        for (size_t j = 0; j < c->shape.steps; j++) out.correct[t] += sums.step[j].correct;
        step(&m->p, t + 1);
    }
    keep(&out, &m->p);
    train_eagle3_free(m);
    return out;
}

static void compare(outcome (*train)(const void *arg, specp_team *team), const void *arg) {
    outcome alone = train(arg, NULL);
    assert_true(alone.loss[1] < alone.loss[0] && alone.correct[1] > 0);
    for (unsigned size = 1; size <= 3; size++) {
        specp_team *team;
        assert_int_equal(specp_team_new(&team, size, NULL), 0);
        outcome got = train(arg, team);
        for (size_t t = 0; t < 2; t++)
            assert_true(got.loss[t] == alone.loss[t] && got.correct[t] == alone.correct[t]);
        assert_memory_equal(got.value, alone.value, alone.n * sizeof *alone.value);
        free(got.value);
        specp_team_free(team);
    }
    free(alone.value);
}

static void test_medusa(void **state) {
    (void)state;
    const train_medusa_shape s = {2, 1, 16, 150, 0.8};
    medusa_case c;
    medusa_case_make(&c, &s, SEQS, SEQ, 1);
    compare(train_heads, &c);
    medusa_case_free(&c);
}

static void test_eagle3(void **state) {
    (void)state;
    const train_eagle3_shape s = {.dim = 16,
                                  .vocab = 200,
                                  .n_taps = 2,
                                  .draft_vocab = 150,
                                  .n_heads = 4,
                                  .n_kv_heads = 2,
                                  .head_dim = 4,
                                  .n_ff = 40,
                                  .steps = 3,
                                  .decay = 0.8,
                                  .rope_base = 10000.0,
                                  .eps = 1e-5f};
    eagle3_case c;
    eagle3_case_make(&c, &s, SEQS, SEQ, true, 2);
    compare(train_head, &c);
    eagle3_case_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_medusa),
        cmocka_unit_test(test_eagle3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

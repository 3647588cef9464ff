/* SPDX-License-Identifier: MIT */
/*
 * Training runs. Most are of a made-up task: micro-batch i pulls the parameters towards
 * numbers that i alone decides, so that every step can be computed again here.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train_data.h"
#include "train_llama.h"
#include "train_loop.h"

enum { STEPS = 6, ACCUM = 3, BATCHES = STEPS * ACCUM, NEVER = 1 << 20 };

typedef struct fixture {
    support_tmp tmp;
    char path[256];
} fixture;

typedef struct pull {
    train_params params;
    uint64_t batches, fail_at, nan_at, inf_at, poison_at; /* numbers of micro-batches */
    uint64_t stop_after;                                  /* micro-batches of this run; 0: never */
    uint64_t part_ns[2], clock;
    double part_flop[2];
    /* what was reported */
    train_step step[STEPS];
    size_t n_steps, n_trouble, n_batch_done;
    char trouble[512];
} pull;

static int set_up(void **state) {
    fixture *x = calloc(1, sizeof *x);
    assert_non_null(x);
    support_tmp_make(&x->tmp);
    support_tmp_path(&x->tmp, "run.checkpoint", x->path, sizeof x->path);
    *state = x;
    return 0;
}

static int tear_down(void **state) {
    fixture *x = *state;
    support_tmp_remove(&x->tmp);
    free(x);
    return 0;
}

/* ---- the task ------------------------------------------------------------ */

static float goal(uint64_t batch, size_t i) {
    return (float)(specp_mix64(batch * 1000 + i) >> 40) / (float)(1 << 24) - 0.5f;
}

static int pull_batch(void *self, uint64_t i, train_measures *m, spec_message *why) {
    pull *p = self;
    p->part_ns[0] += 100;
    p->part_ns[1] += 1000;
    p->part_flop[1] += 1e6;
    p->clock += 1105; /* 5 that nobody counts */
    p->batches++;
    if (i == p->fail_at) return specp_fail(why, SPEC_ERR_INVALID, "batch %d is bad", (int)i);
    for (size_t k = 0; k < p->params.n; k++) {
        float d = p->params.value[k] - goal(i, k);
        p->params.grad[k] += d;
        m->sum[0] += 0.5 * (double)d * (double)d;
    }
    m->sum[1] = (double)i;
    m->weight[0] = 7;
    m->weight[1] = 1;
    if (i == p->nan_at) m->sum[0] = (double)NAN;
    if (i == p->inf_at) p->params.grad[3] = INFINITY;
    if (i == p->poison_at) p->params.value[3] = NAN;
    return SPEC_OK;
}

/* Best after step 4. */
static int pull_validate(void *self, train_measures *m, spec_message *why) {
    pull *p = self;
    (void)why;
    p->clock += 50;
    m->sum[0] = p->batches == 4 * ACCUM ? 1.0 : 2.0;
    m->weight[0] = 1;
    return SPEC_OK;
}

static uint64_t *the_clock; /* of the run under way */

static uint64_t now_ns(void) { return *the_clock += 2; }

static void report(void *user, const train_step *s) {
    pull *p = user;
    p->clock += 30;
    assert_true(p->n_steps < STEPS);
    p->step[p->n_steps++] = *s;
}

static void batch_done(void *user, uint64_t step, uint64_t i) {
    pull *p = user;
    assert_in_range(step, 1, STEPS);
    assert_in_range(i, 1, ACCUM);
    p->n_batch_done++;
}

static void trouble(void *user, const char *what) {
    pull *p = user;
    p->n_trouble++;
    snprintf(p->trouble, sizeof p->trouble, "%s", what);
}

static bool stop(void *user) {
    pull *p = user;
    return p->stop_after && p->batches == p->stop_after;
}

static pull make_pull(void) {
    pull p = {.fail_at = NEVER, .nan_at = NEVER, .inf_at = NEVER, .poison_at = NEVER};
    assert_int_equal(train_params_init(&p.params, 2, NULL), SPEC_OK);
    train_params_add(&p.params, "matrix", 3, 4);
    train_params_add(&p.params, "vector", 0, 5);
    assert_int_equal(train_params_alloc(&p.params), SPEC_OK);
    train_params_normal(&p.params, 1, 0, p.params.n, 1.0f);
    return p;
}

static const train_setting settings[] = {{"kind", "pull"}};

static train_options options(pull *p, const char *checkpoint) {
    the_clock = &p->clock;
    return (train_options){.steps = STEPS,
                           .accum = ACCUM,
                           .checkpoint_every = 2,
                           .validate_every = 2,
                           .schedule = {0.1, 0.01, 2, STEPS},
                           .adam = {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1},
                           .clip = 1.0,
                           .checkpoint = checkpoint,
                           .setting = settings,
                           .n_settings = 1,
                           .user = p,
                           .now_ns = now_ns,
                           .report = report,
                           .batch_done = batch_done,
                           .trouble = trouble,
                           .stop = stop};
}

static train_task task(pull *p) {
    static const char *const measure[] = {"loss", "number"}, *const part[] = {"data", "work"};
    return (train_task){p,          &p->params,   2,          measure,      2, part,
                        p->part_ns, p->part_flop, pull_batch, pull_validate};
}

static train_loop *make_loop(pull *p, const char *checkpoint) {
    train_task t = task(p);
    train_options o = options(p, checkpoint);
    train_loop *l;
    assert_int_equal(train_loop_new(&l, &t, &o, NULL, NULL), SPEC_OK);
    return l;
}

static void must(int err, const spec_message *why) {
    if (err) fail_msg("%d: %s", err, why->text);
}

static void assert_same(const pull *a, const train_loop *la, const pull *b, const train_loop *lb) {
    size_t bytes = a->params.n * sizeof(float);
    assert_memory_equal(a->params.value, b->params.value, bytes);
    assert_memory_equal(a->params.m, b->params.m, bytes);
    assert_memory_equal(a->params.v, b->params.v, bytes);
    assert_memory_equal(la->best, lb->best, bytes);
    assert_memory_equal(&la->state, &lb->state, sizeof la->state);
}

static void release(pull *p, train_loop *l) {
    train_loop_free(l);
    train_params_release(&p->params);
}

/* ---- tests --------------------------------------------------------------- */

/* The run against its definition. */
static void test_definition(void **state) {
    (void)state;
    spec_message why = {""};
    pull p = make_pull(), q = make_pull();
    train_loop *l = make_loop(&p, NULL);
    must(train_loop_run(l, &why), &why);
    train_options o = options(&q, NULL);
    float *best = calloc(q.params.n, sizeof *best);
    for (uint64_t t = 1; t <= STEPS; t++) {
        train_measures m = {0};
        memset(q.params.grad, 0, q.params.n * sizeof(float));
        for (uint64_t i = (t - 1) * ACCUM; i < t * ACCUM; i++) pull_batch(&q, i, &m, NULL);
        double norm = train_norm(q.params.grad, q.params.n) / ACCUM, rate = train_rate(&o.schedule, t);
        train_adamw a = {rate, 0.9, 0.95, 1e-8, 0.1};
        double scale = train_clip(norm, 1.0) / ACCUM;
        train_adamw_step(&a, t, scale, q.params.grad, q.params.value, q.params.m, q.params.v, 12);
        a.weight_decay = 0.0;
        train_adamw_step(&a, t, scale, q.params.grad + 12, q.params.value + 12, q.params.m + 12,
                         q.params.v + 12, 5);
        const train_step *s = &p.step[t - 1];
        assert_true(s->norm == norm && s->rate == rate && s->clipped == (norm > 1.0));
        assert_true(s->measured.weight[0] == 7 * ACCUM && s->measured.sum[1] == (double)(9 * t - 6));
        assert_true(s->tokens == 21 && s->all_tokens == 21 * t && s->step == t && s->batches == t * ACCUM);
        assert_true(s->is_validated == (t % 2 == 0) && s->best == (t == 2 || t == 4) && !s->saved);
        if (t == 4) memcpy(best, q.params.value, q.params.n * sizeof *best);
    }
    assert_memory_equal(p.params.value, q.params.value, p.params.n * sizeof(float));
    assert_memory_equal(l->best, best, p.params.n * sizeof(float));
    assert_int_equal(p.n_batch_done, BATCHES);
    assert_true(l->state.best_step == 4 && l->state.best_loss == 1.0 && !l->stopped);
    free(best);
    release(&p, l);
    train_params_release(&q.params);
}

/* All of the wall time is told, and none twice. */
static void test_times(void **state) {
    const fixture *x = *state;
    spec_message why = {""};
    pull p = make_pull();
    train_loop *l = make_loop(&p, x->path);
    must(train_loop_run(l, &why), &why);
    uint64_t wall = 0;
    for (size_t i = 0; i < STEPS; i++) {
        const train_step *s = &p.step[i];
        uint64_t sum = s->part_ns[0] + s->part_ns[1] + s->optimiser_ns + s->validation_ns + s->checkpoint_ns +
                       s->report_ns + s->other_ns;
        assert_int_equal(sum, s->wall_ns);
        assert_true(s->part_ns[0] == 100 * ACCUM && s->part_ns[1] == 1000 * ACCUM);
        assert_true(s->part_flop[0] == 0 && s->part_flop[1] == 1e6 * ACCUM);
        assert_int_equal(s->report_ns, i ? 32 : 0);
        assert_in_range(s->other_ns, 5 * ACCUM, 5 * ACCUM + 30);
        assert_int_equal(s->validation_ns, i % 2 ? 52 : 0);
        assert_int_equal(s->optimiser_ns, 4); /* the clock's own steps */
        assert_int_equal(s->checkpoint_ns != 0, i % 2);
        wall += s->wall_ns;
    }
    assert_in_range(p.clock - wall, 32, 40); /* the last report, the first look at the clock */
    release(&p, l);
}

/* Stopped after any micro-batch and gone on: the same bits as if nothing had been. */
static void test_resume(void **state) {
    const fixture *x = *state;
    spec_message why = {""};
    pull whole = make_pull();
    train_loop *lw = make_loop(&whole, NULL);
    must(train_loop_run(lw, &why), &why);
    for (uint64_t k = 1; k < BATCHES; k++) {
        pull a = make_pull(), b = make_pull();
        a.stop_after = k;
        train_loop *la = make_loop(&a, x->path);
        must(train_loop_run(la, &why), &why);
        assert_true(la->stopped);
        assert_int_equal(a.batches, k);
        train_loop *lb = make_loop(&b, x->path);
        must(train_loop_resume(lb, &why), &why);
        b.batches = k; /* validation looks at it */
        must(train_loop_run(lb, &why), &why);
        assert_false(lb->stopped);
        assert_int_equal(b.batches, BATCHES);
        assert_same(&whole, lw, &b, lb);
        for (size_t i = 0; i < b.n_steps; i++) {
            const train_step *s = &whole.step[STEPS - b.n_steps + i];
            assert_memory_equal(&b.step[i].measured, &s->measured, sizeof s->measured);
            assert_true(b.step[i].norm == s->norm && b.step[i].all_tokens == s->all_tokens);
        }
        release(&a, la);
        release(&b, lb);
    }
    release(&whole, lw);
}

/* Ended without warning at any micro-batch: at most one interval is lost, and the bits are the same. */
static void test_killed(void **state) {
    const fixture *x = *state;
    spec_message why = {""};
    pull whole = make_pull();
    train_loop *lw = make_loop(&whole, NULL);
    must(train_loop_run(lw, &why), &why);
    for (uint64_t k = 2 * ACCUM; k < BATCHES; k++) {
        pull a = make_pull(), b = make_pull();
        a.fail_at = k;
        train_loop *la = make_loop(&a, x->path);
        assert_int_equal(train_loop_run(la, &why), SPEC_ERR_INVALID);
        assert_non_null(strstr(why.text, "is bad"));
        train_loop *lb = make_loop(&b, x->path);
        must(train_loop_resume(lb, &why), &why);
        assert_in_range(k - lb->state.batches, 0, 2 * ACCUM - 1);
        b.batches = lb->state.batches;
        must(train_loop_run(lb, &why), &why);
        assert_same(&whole, lw, &b, lb);
        release(&a, la);
        release(&b, lb);
    }
    release(&whole, lw);
}

/* A run that is complete is resumed to the same end. */
static void test_resume_complete(void **state) {
    const fixture *x = *state;
    spec_message why = {""};
    pull a = make_pull(), b = make_pull();
    a.stop_after = BATCHES; /* too late to stop anything */
    train_loop *la = make_loop(&a, x->path);
    la->o.checkpoint_every = 4; /* and at the end, both */
    la->o.validate_every = 0;
    must(train_loop_run(la, &why), &why);
    assert_false(la->stopped);
    assert_true(a.step[3].saved && !a.step[3].is_validated && a.step[5].saved && a.step[5].is_validated);
    train_loop *lb = make_loop(&b, x->path);
    must(train_loop_resume(lb, &why), &why);
    must(train_loop_run(lb, &why), &why);
    assert_int_equal(b.batches, 0);
    assert_same(&a, la, &b, lb);
    release(&a, la);
    release(&b, lb);
}

static void expect_nan(const fixture *x, uint64_t pull_nan, uint64_t pull_inf, uint64_t poison,
                       const char *message) {
    pull p = make_pull();
    size_t n;
    spec_message why = {""};
    p.nan_at = p.inf_at = p.poison_at = NEVER;
    p.stop_after = 2 * ACCUM;
    train_loop *l = make_loop(&p, x->path);
    must(train_loop_run(l, &why), &why); /* leaves a good checkpoint */
    char *good = support_read_file(x->path, &n);
    p.stop_after = 0;
    p.nan_at = pull_nan;
    p.inf_at = pull_inf;
    p.poison_at = poison;
    l->stopped = false;
    assert_int_equal(train_loop_run(l, &why), SPEC_ERR_STATE);
    assert_string_equal(why.text, message);
    char *now = support_read_file(x->path, NULL);
    assert_memory_equal(now, good, n);
    free(good);
    free(now);
    release(&p, l);
}

static void test_nan(void **state) {
    const fixture *x = *state;
    expect_nan(x, 7, NEVER, NEVER, "step 3, micro-batch 2 of 3: the loss is not a number");
    expect_nan(x, NEVER, 9, NEVER, "step 4: the gradient's norm is not a number");
    expect_nan(x, NEVER, NEVER, 11,
               "step 4: a weight or a moment is not a number; no checkpoint is written of that");
}

/* Checkpoints that cannot be written are no reason to stop, but the last one is an error. */
static void test_no_disk(void **state) {
    const fixture *x = *state;
    char path[300];
    spec_message why = {""};
    pull a = make_pull(), b = make_pull();
    train_loop *la = make_loop(&a, NULL);
    must(train_loop_run(la, &why), &why);
    snprintf(path, sizeof path, "%s.no/such", x->path);
    train_loop *lb = make_loop(&b, path);
    assert_int_equal(train_loop_run(lb, &why), SPEC_ERR_IO);
    assert_non_null(strstr(why.text, "the last checkpoint could not be written"));
    assert_int_equal(b.n_trouble, 4); /* three times, and again at the end */
    assert_non_null(strstr(b.trouble, "such"));
    assert_int_equal(b.n_steps, STEPS);
    for (size_t i = 0; i < STEPS; i++) assert_false(b.step[i].saved);
    assert_same(&a, la, &b, lb);
    release(&a, la);
    release(&b, lb);
}

static void test_refused(void **state) {
    const fixture *x = *state;
    spec_message why = {""};
    pull p = make_pull();
    train_loop *l;
    train_task t = task(&p);
    train_options o = options(&p, x->path);
    o.accum = 0;
    assert_int_equal(train_loop_new(&l, &t, &o, NULL, &why), SPEC_ERR_INVALID);
    o = options(&p, x->path);
    o.steps = 0;
    assert_int_equal(train_loop_new(&l, &t, &o, NULL, &why), SPEC_ERR_INVALID);
    o = options(&p, x->path);
    t.n_measures = TRAIN_MEASURES + 1;
    assert_int_equal(train_loop_new(&l, &t, &o, NULL, &why), SPEC_ERR_INVALID);
    t = task(&p);
    t.n_parts = TRAIN_PARTS_MOST + 1;
    assert_int_equal(train_loop_new(&l, &t, &o, NULL, &why), SPEC_ERR_INVALID);
    train_loop_free(NULL);
    train_params_release(&p.params);
}

static void test_no_memory(void **state) {
    const fixture *x = *state;
    spec_message why = {""};
    size_t refusals = 0;
    for (size_t k = 0, done = 0; !done; k++) {
        pull p = make_pull();
        train_task t = task(&p);
        train_options o = options(&p, x->path);
        train_loop *l = NULL;
        support_heap heap;
        support_heap_init(&heap);
        spec_allocator a = support_alloc(&heap);
        support_heap_refuse(&heap, k, false);
        int err = train_loop_new(&l, &t, &o, &a, &why);
        if (err) assert_int_equal(err, SPEC_ERR_NOMEM);
        if (!err) must(train_loop_run(l, &why), &why); /* without memory for a checkpoint it goes on */
        if (!err) assert_int_equal(p.n_trouble, heap.refused);
        done = !err && !heap.refused;
        refusals += heap.refused;
        release(&p, l);
        support_heap_assert_clean(&heap);
    }
    assert_true(refusals > 5);
}

/* ---- a model ------------------------------------------------------------- */

typedef struct learner {
    train_llama *model;
    train_data *data;
    spec_token token[64], target[64];
} learner;

static int learn(void *self, uint64_t i, train_measures *m, spec_message *why) {
    learner *w = self;
    train_loss loss = {0};
    train_data_window(w->data, TRAIN_PART_LEARN, 2 * i, w->token, w->target);
    train_data_window(w->data, TRAIN_PART_LEARN, 2 * i + 1, w->token + 32, w->target + 32);
    int err = train_llama_run(w->model, w->token, w->target, 2, 32, true, &loss, why);
    m->sum[0] += loss.sum;
    m->weight[0] += (double)loss.n;
    return err;
}

/* A small text is nearly learnt by heart. */
static void test_learns(void **state) {
    (void)state;
    static const char text[] = "the draft tree is verified in one pass, and what agrees is kept. ";
    const train_llama_shape shape = {128, 32, 2, 2, 1, 16, 64, 1e4, 1e-5f, true};
    const char *const loss[] = {"loss"};
    spec_token token[sizeof text];
    spec_message why = {""};
    learner w = {0};
    pull p = {0};
    for (size_t i = 0; i < sizeof text; i++) token[i] = text[i];
    assert_int_equal(train_data_new(&w.data, &(train_data_options){.seq = 32, .seed = 1}, NULL, NULL),
                     SPEC_OK);
    assert_int_equal(train_data_add(w.data, token, sizeof text, 0), SPEC_OK);
    must(train_llama_new(&w.model, &shape, 64, 32, NULL, NULL, &why), &why);
    train_llama_init(w.model, 1);
    train_task t = {.self = &w, .params = &w.model->p, .n_measures = 1, .measure = loss, .batch = learn};
    train_options o = options(&p, NULL);
    o.steps = 300;
    o.accum = 1;
    o.schedule = (train_schedule){0.01, 0.001, 10, 300};
    o.report = NULL;
    o.batch_done = NULL;
    train_loop *l;
    must(train_loop_new(&l, &t, &o, NULL, &why), &why);
    must(train_loop_run(l, &why), &why);
    double last = l->state.measured.sum[0] / l->state.measured.weight[0];
    if (!(last < 0.7)) fail_msg("loss %g", last);
    assert_memory_equal(l->best, w.model->p.value, w.model->p.n * sizeof(float));
    train_loop_free(l);
    train_llama_free(w.model);
    train_data_free(w.data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_definition),      TEST(test_times),  TEST(test_resume),  TEST(test_killed),
        TEST(test_resume_complete), TEST(test_nan),    TEST(test_no_disk), TEST(test_refused),
        TEST(test_no_memory),       TEST(test_learns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

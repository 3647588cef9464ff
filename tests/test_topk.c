/* SPDX-License-Identifier: MIT */
/*
 * The most probable tokens that the live engine tells a drafter: against a sort of
 * all of them, and on a model: every row's list, against the text that follows.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine_lane.h"
#include "random_model.h"
#include "support.h"

/* ---- against a sort ------------------------------------------------------------- */

static const float *sorted_by;

static int larger_first(const void *a, const void *b) {
    spec_token x = *(const spec_token *)a, y = *(const spec_token *)b;
    if (sorted_by[x] != sorted_by[y]) return sorted_by[x] > sorted_by[y] ? -1 : 1;
    return x - y;
}

static void test_equals_a_sort(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 95);
    for (int round = 0; round < 500; round++) {
        float logits[300], logprob[20];
        spec_token order[300], token[20];
        size_t n = 1 + support_rng_below(&r, 300);
        uint32_t k = 1 + support_rng_below(&r, n < 20 ? (uint32_t)n : 20);
        int coarse = round % 3; /* many equal ones; all equal; hardly any */
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            logits[i] = coarse == 0   ? (float)support_rng_below(&r, 8)
                        : coarse == 1 ? 3.0f
                                      : (float)(support_rng_unit(&r) * 40 - 20);
            if (support_rng_chance(&r, 0.05) && i) logits[i] = -INFINITY;
            sum += exp((double)logits[i]);
            order[i] = (spec_token)i;
        }
        sorted_by = logits;
        qsort(order, n, sizeof *order, larger_first);
        engine_topk(logits, n, k, token, logprob);
        assert_memory_equal(token, order, k * sizeof *token);
        for (uint32_t i = 0; i < k; i++) {
            float want = (float)((double)logits[order[i]] - log(sum));
            if (!isinf(want) || !isinf(logprob[i])) assert_float_equal(logprob[i], want, 1e-5);
        }
    }
}

/* ---- on a model -------------------------------------------------------------------- */

#define WIDE 5

/* A drafter that asks for lists, drafts the first tokens of the last one (two of
 * them wrong on purpose), and looks at what it is told. */
typedef struct watcher {
    uint32_t asks;
    size_t vocab, rows, right;
    spec_token draft[WIDE];
    bool known;
} watcher;

static void watcher_needs(void *self, spec_needs *out) { out->top_k = ((watcher *)self)->asks; }

static int watcher_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    const watcher *w = self;
    (void)state, (void)a;
    for (int i = 0; i < 3 && w->known; i++) spec_tree_add(out, -1, w->draft[i], 0.5f, SPEC_SOURCE_USER);
    if (w->known) spec_tree_add(out, 1, w->draft[0], 0.1f, SPEC_SOURCE_USER);
    return SPEC_OK;
}

static int watcher_observe(void *self, void *state, const spec_outcome *o) {
    watcher *w = self;
    (void)state;
    assert_int_equal(o->n_rows, (size_t)o->tree->n + 1);
    assert_int_equal(o->top_k, w->asks < w->vocab ? w->asks : w->vocab);
    if (!o->top_k) assert_null(o->topk_token);
    for (size_t i = 0; i < o->n_rows && o->top_k; i++, w->rows++)
        for (uint32_t k = 0; k < o->top_k; k++) {
            const float *p = o->topk_logprob + i * o->top_k;
            assert_true(p[k] <= 0 && (!k || p[k] <= p[k - 1]));
        }
    size_t row = 0; /* greedy: what comes after each row of the path is the first of its list */
    for (size_t i = 0; i < o->n_committed && o->top_k; i++) {
        assert_int_equal(o->topk_token[row * o->top_k], o->committed[i]);
        w->right++;
        for (uint32_t k = 0; k < o->tree->n && i + 1 < o->n_committed; k++)
            if (o->accepted[k] && o->tree->token[k] == o->committed[i]) row = k + 1;
    }
    w->known = o->top_k >= WIDE;
    if (w->known) memcpy(w->draft, o->topk_token, sizeof w->draft);
    return SPEC_OK;
}

static void decode(spec_target *t, watcher *w) {
    static const spec_drafter_ops ops = {.version = SPEC_DRAFTER_OPS_V1,
                                         .name = "watcher",
                                         .propose = watcher_propose,
                                         .observe = watcher_observe,
                                         .needs = watcher_needs};
    const spec_token ask[] = {1, 9, 20};
    spec_message why = {""};
    spec_drafter *d = NULL;
    engine *e = NULL;
    engine_run run;
    prompts p = {0};
    bool more = true;
    assert_int_equal(prompts_add(&p, "", "", NULL, ask, 3), SPEC_OK);
    engine_settings s = {
        .target = t, .prompts = &p, .max_tokens = 60, .budget = 4, .batch = 1, .seed = 1, .ignore_eos = true};
    assert_int_equal(spec_drafter_new(&d, &ops, w, NULL), SPEC_OK);
    const proposer by = {d, NULL};
    if (engine_open(&e, &s, &by, NULL, &run, &why) != SPEC_OK) fail_msg("%s", why.text);
    while (more)
        if (engine_next(e, &more) != SPEC_OK) fail_msg("%s", why.text);
    assert_int_equal(engine_close(e), SPEC_OK);
    engine_release(&run);
    prompts_free(&p);
    spec_drafter_free(d);
}

static void test_rows_of_a_model(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256];
    spec_message why = {""};
    spec_target *t = NULL;
    spec_target_options o = {.size = sizeof o, .threads = 1, .max_context = 128};
    random_model m = {
        .shape = "dim=32,layers=1,heads=2,hidden=64,vocab=300,context=128", .type = "F32", .seed = 4};
    support_tmp_make(&tmp);
    if (random_model_write(support_tmp_path(&tmp, "m.gguf", path, sizeof path), &m, &why) != SPEC_OK ||
        spec_target_open(&t, path, &o, NULL, &why) != SPEC_OK)
        fail_msg("%s", why.text);
    static const uint32_t asks[] = {0, 1, WIDE, 1000}; /* the last: more than there are */
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        watcher w = {.asks = asks[i], .vocab = 300};
        decode(t, &w);
        assert_true(asks[i] ? w.right >= 58 : !w.right);
        if (asks[i] >= WIDE) assert_true(w.rows > 200); /* drafts are among them */
    }
    spec_target_free(t);
    support_tmp_remove(&tmp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_a_sort),
        cmocka_unit_test(test_rows_of_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

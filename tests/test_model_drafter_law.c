/* SPDX-License-Identifier: MIT */
/*
 * The law of what is decoded with a small model's sampled drafts: the joint law of the first three
 * tokens, over many runs, is the target's, with the drafter alone and within combined
 * drafters. Drafts that are not drawn as verification believes must show.
 *
 * SOAK in the environment asks for more runs. test_verify_sample.c has the rules themselves, exactly.
 */
#include "table_lm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drafting.h"
#include "noise.h"
#include "sampler.h"
#include "spec_verify.h"

#define V     3 /* tokens */
#define N     3 /* of the output are looked at */
#define CELLS 27
#define NODES 8

#if !defined(__SANITIZE_ADDRESS__) && defined(__has_feature)
#if __has_feature(address_sanitizer) /* as clang says it */
#define __SANITIZE_ADDRESS__
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define RUNS 20000
#else
#define RUNS 200000
#endif

typedef int (*rule_fn)(spec_sampler *s, const spec_verify_args *a, int32_t *path, size_t *n_path,
                       spec_token *next, spec_message *why);

typedef enum fault {
    RIGHT,
    TOP_AS_DRAWN, /* the most probable token, passed off as drawn */
    SAME_NOISE,   /* verification decides by the numbers that the draft was drawn with */
    OLD_NOISE,    /* drafts of every step by the noise of one position */
} fault;

typedef struct trial {
    const char *spec;
    rule_fn rule;
    uint32_t q_cap;
    fault fault;
} trial;

typedef struct world {
    table_lm *target, *draft;
    const spec_tree *tree;
    const spec_token *text;
    size_t n;
    float logits[V];
    spec_noise_key key;
    uint32_t flips;
} world;

/* A draft model that has learnt something of the target. */
static void half_right(void *user, const spec_token *tok, size_t n, float *logits) {
    const world *w = user;
    float own[V];
    table_lm as_hashed = *w->draft;
    as_hashed.row = NULL;
    table_lm_row(&as_hashed, tok, n, own);
    table_lm_row(w->target, tok, n, logits);
    for (int i = 0; i < V; i++) logits[i] = 0.5f * logits[i] + own[i];
}

static int target_row(void *user, size_t row, const float **logits) {
    world *w = user;
    spec_token text[64];
    memcpy(text, w->text, w->n * sizeof *text);
    table_lm_row(w->target, text, table_lm_text(w->tree, (int32_t)row - 1, text, w->n), w->logits);
    *logits = w->logits;
    return SPEC_OK;
}

static uint32_t by_draft_noise(void *user, const double *w, uint32_t n, double total) {
    world *x = user;
    double at = specp_noise(&x->key, 0, SPECP_NOISE_DRAFT, x->flips++) * total, run = 0;
    uint32_t i = 0;
    for (; i + 1 < n && run + w[i] <= at; i++) run += w[i];
    return i;
}

static void make_top(spec_tree *t) {
    for (uint32_t i = 0; i < t->n; i++) {
        const float *q = t->q + (size_t)t->q_row[i] * t->vocab;
        t->token[i] = 0;
        for (spec_token x = 1; x < V; x++)
            if (q[x] > q[t->token[i]]) t->token[i] = x;
    }
}

/* A step of decoding; how many tokens are new. */
static size_t step(world *w, const trial *t, spec_sampler *s, spec_request *q, spec_tree *tree,
                   spec_token *text) {
    static const spec_sampling p = {.size = sizeof p, .temperature = 1.0f};
    spec_propose_args ask = {.size = sizeof ask, .noise = w->key};
    spec_message why;
    int32_t path[NODES];
    size_t n;
    spec_token next;
    if (t->fault == OLD_NOISE) ask.noise.position = 0;
    assert_int_equal(spec_request_propose(q, &ask, tree), 0);
    if (t->fault == TOP_AS_DRAWN) make_top(tree);
    spec_verify_args a = {.size = sizeof a,
                          .tree = tree,
                          .sampling = &p,
                          .row = target_row,
                          .row_user = w,
                          .text = text,
                          .n_text = w->n,
                          .noise = w->key};
    w->flips = 0;
    s->dice.user = w;
    s->dice.choose = t->fault == SAME_NOISE ? by_draft_noise : NULL;
    if (t->rule(s, &a, path, &n, &next, &why)) fail_msg("%s: %s", t->spec, why.text);
    for (size_t i = 0; i < n; i++) text[w->n + i] = tree->token[path[i]];
    text[w->n + n] = next;
    drafting_commit(q, text + w->n, n + 1);
    return n + 1;
}

typedef struct tally {
    double seen[CELLS];
    size_t sampled, fixed, steps, tokens;
} tally;

static void run_trial(world *w, const trial *t, uint32_t runs, tally *out) {
    spec_drafter *d = table_lm_drafter(t->spec, &table_lm_env, NULL);
    spec_tree tree = table_lm_tree(NODES, t->q_cap, V);
    spec_sampler *s;
    assert_int_equal(spec_sampler_new(&s, V, NULL), 0);
    memset(out, 0, sizeof *out);
    for (uint32_t run = 0; run < runs; run++) {
        spec_token text[16] = {0, 1};
        spec_request *q = drafting_begin(d, 0, text, 2);
        w->text = text;
        w->tree = &tree;
        for (w->n = 2; w->n < 2 + N; out->steps++) {
            w->key = (spec_noise_key){support_seed(), run, w->n};
            size_t more = step(w, t, s, q, &tree, text);
            w->n += more;
            out->tokens += more;
            out->sampled += tree.n_q;
            out->fixed += tree.n - tree.n_q;
        }
        out->seen[text[2] * 9 + text[3] * 3 + text[4]] += 1.0;
        spec_request_end(q);
    }
    spec_sampler_free(s);
    spec_drafter_free(d);
    spec_tree_release(&tree, NULL);
}

static void law_after(const world *w, const spec_token *tok, size_t n, double *p) {
    float logits[V];
    double total = 0;
    table_lm_row(w->target, tok, n, logits);
    for (int i = 0; i < V; i++) total += p[i] = exp((double)logits[i]);
    for (int i = 0; i < V; i++) p[i] /= total;
}

/* Over the cells that are expected 5 times or more. */
static double chi_square(const world *w, const tally *t, uint32_t runs, uint32_t *cells) {
    double chi = 0, p[3][V];
    *cells = 0;
    for (int i = 0; i < CELLS; i++) {
        spec_token text[5] = {0, 1, i / 9, i / 3 % 3, i % 3};
        double expected = runs;
        for (size_t k = 0; k < N; k++) {
            law_after(w, text, 2 + k, p[k]);
            expected *= p[k][text[2 + k]];
        }
        if (expected < 5.0) continue;
        chi += (t->seen[i] - expected) * (t->seen[i] - expected) / expected;
        ++*cells;
    }
    return chi;
}

/* Above the 1 - 1e-6 quantile of chi-square (Wilson and Hilferty). */
static double limit_of(uint32_t cells) {
    double k = cells - 1.0, c = 2.0 / (9.0 * k), x = 1.0 - c + 4.753 * sqrt(c);
    return k * x * x * x;
}

static void make_world(world *w, size_t number) {
    memset(w, 0, sizeof *w);
    for (size_t i = 0; i < 3; i++) {
        table_lm_set(i, V, 40, i == 2 ? 2.5 : 2.0)->seed += 100 * number;
        table_lms[i].row = i == 2 ? NULL : half_right;
        table_lms[i].user = w;
    }
    w->draft = &table_lms[0];
    w->target = &table_lms[2];
}

static uint32_t n_runs(void) { return getenv("SOAK") ? 4 * RUNS : RUNS; }

/* ---- the tests --------------------------------------------------------------------- */

static void check_law(const trial *t, size_t number, uint32_t runs, bool sampled, bool fixed) {
    world w;
    tally seen;
    uint32_t cells;
    make_world(&w, number);
    run_trial(&w, t, runs, &seen);
    double chi = chi_square(&w, &seen, runs, &cells);
    if (!(cells > 20 && chi < limit_of(cells)))
        fail_msg("%zu %s: chi-square %g over %u cells, limit %g", number, t->spec, chi, cells,
                 limit_of(cells));
    assert_true((seen.sampled > 0) == sampled && (seen.fixed > 0) == fixed);
    assert_true(seen.tokens > seen.steps + seen.steps / 5); /* drafts are accepted */
}

#define SAMPLE "model:a,mode=sample"

static void test_alone(void **state) {
    (void)state;
    static const trial trials[] = {
        {SAMPLE ",len=3", spec_verify_sample, 3, RIGHT},
        {SAMPLE ",len=3", spec_verify_block, 3, RIGHT},
        {SAMPLE ",len=2,temperature=2", spec_verify_sample, 3, RIGHT},
        {SAMPLE ",len=3,min_prob=0.3", spec_verify_sample, 3, RIGHT},
        {SAMPLE ",len=3,min_prob=0.3", spec_verify_block, 3, RIGHT},
        {SAMPLE ",len=3", spec_verify_sample, 1, RIGHT},
    };
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++)
        check_law(&trials[i], i, i < 2 ? n_runs() : n_runs() / 4, true, false);
}

static void test_not_sampled(void **state) {
    (void)state;
    static const trial fixed = {"model:a,len=2,k=2,min_prob=0", spec_verify_sample, 0, RIGHT};
    static const trial no_room = {SAMPLE ",len=2", spec_verify_sample, 0, RIGHT};
    check_law(&fixed, 10, n_runs() / 4, false, true);
    check_law(&no_room, 11, n_runs() / 4, false, true);
}

static void test_combined(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        bool fixed;
    } cases[] = {
        {"union:none+(" SAMPLE ")", false},                        /* it drafts alone, */
        {"union:(" SAMPLE ")+pld:n_max=1", true},                  /* sometimes, */
        {"union:(" SAMPLE ",len=2)+(random:vocab=3,len=2)", true}, /* never */
        {"union:(" SAMPLE ",len=2)+(model:b,mode=sample,len=2)", true},
        {"cascade:(" SAMPLE ")>pld,tau=4096", false},
        {"cascade:pld:n_max=1>(" SAMPLE "),tau=0.9", true},
        {"cascade:(random:vocab=3,len=1)>(" SAMPLE "),tau=1", false},
        {"cascade:(union:pld:n_max=1+(" SAMPLE ",len=2))>(model:b,mode=sample),tau=1", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const trial t = {cases[i].spec, spec_verify_sample, 5, RIGHT};
        bool both = strstr(t.spec, "random:vocab=3,len=2") || strstr(t.spec, "+(model:b");
        check_law(&t, 20 + i, n_runs() / 4, !both, cases[i].fixed);
    }
}

static void test_wrong_draws_show(void **state) {
    (void)state;
    static const trial trials[] = {
        {SAMPLE ",len=1", spec_verify_sample, 1, TOP_AS_DRAWN},
        {SAMPLE ",len=1", spec_verify_sample, 1, SAME_NOISE},
        {SAMPLE ",len=3", spec_verify_sample, 3, OLD_NOISE},
    };
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++) {
        bool shown = false;
        for (size_t number = 40; number < 44 && !shown; number++) {
            world w;
            tally seen;
            uint32_t cells;
            make_world(&w, number);
            run_trial(&w, &trials[i], 20000, &seen);
            shown = chi_square(&w, &seen, 20000, &cells) > 2.0 * limit_of(CELLS);
        }
        if (!shown) fail_msg("fault %zu does not show", i);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_not_sampled),
        cmocka_unit_test(test_combined),
        cmocka_unit_test(test_wrong_draws_show),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Typical acceptance: against recorded results, and against its definition on random
 * trees. And what all rules refuse.
 */
#include "oracle_verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "spec_tensors.h"

/* ---- recorded ---------------------------------------------------------------------- */

typedef struct recorded {
    spec_tensors *accept, *buffers;
} recorded;

static const void *tensor(const spec_tensors *f, const char *name, spec_type type, uint64_t n) {
    const spec_tensor *t = spec_tensors_find(f, name);
    assert_non_null(t);
    assert_int_equal(t->type, type);
    assert_int_equal(t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3], n);
    return t->data;
}

static bool open_recorded(recorded *r) {
    char a[256], b[256];
    spec_message why;
    if (!support_shared("golden/heads/medusa/accept.safetensors", a, sizeof a) ||
        !support_shared("golden/heads/medusa/buffers_small.safetensors", b, sizeof b))
        return false;
    if (spec_tensors_open(&r->accept, a, NULL, &why) || spec_tensors_open(&r->buffers, b, NULL, &why))
        fail_msg("%s", why.text);
    return true;
}

#define CASES 15
#define NODES 12 /* with the root */
#define VOCAB 512

static void test_recorded_results(void **state) {
    (void)state;
    recorded r;
    if (!open_recorded(&r)) SUPPORT_SKIP_NO_SHARED();
    const int32_t *parents = tensor(r.buffers, "parents", SPEC_TYPE_I32, NODES);
    const int32_t *tokens = tensor(r.accept, "tree_tokens", SPEC_TYPE_I32, NODES);
    const float *params = tensor(r.accept, "params", SPEC_TYPE_F32, CASES * 3);
    const float *logits = tensor(r.accept, "tree_logits", SPEC_TYPE_F32, CASES * NODES * VOCAB);
    const int32_t *length = tensor(r.accept, "accept_length", SPEC_TYPE_I32, CASES);
    const int32_t *nodes = tensor(r.accept, "accepted_nodes", SPEC_TYPE_I32, CASES * 4);
    const int32_t *next_token = tensor(r.accept, "next_token_greedy", SPEC_TYPE_I32, CASES);
    spec_tree t;
    spec_sampler *s;
    assert_int_equal(spec_tree_init(&t, NODES - 1, 0, 0, NULL), 0);
    assert_int_equal(spec_sampler_new(&s, VOCAB, NULL), 0);
    for (int i = 1; i < NODES; i++) spec_tree_add(&t, parents[i] - 1, tokens[i], 0.0f, 0);
    for (int c = 0; c < CASES; c++) {
        spec_sampling p = {.size = sizeof p, .temperature = params[3 * c]};
        spec_verify_args a = {
            .size = sizeof a, .tree = &t, .sampling = &p, .logits = logits + (size_t)c * NODES * VOCAB};
        int32_t path[NODES];
        size_t n = 99;
        spec_token next = -1;
        spec_message why;
        if (spec_verify_typical(s, &a, params[3 * c + 1], params[3 * c + 2], path, &n, &next, &why))
            fail_msg("%s", why.text);
        assert_int_equal(n, length[c]);
        assert_int_equal(next, next_token[c]);
        for (size_t i = 0; i < n; i++) assert_int_equal(path[i] + 1, nodes[4 * c + (int)i + 1]);
    }
    spec_sampler_free(s);
    spec_tree_release(&t, NULL);
    spec_tensors_free(r.accept);
    spec_tensors_free(r.buffers);
}

/* ---- the definition ------------------------------------------------------------------ */

#define MAX_NODES 30
#define N_TOKENS  20

typedef struct grove {
    spec_tree t;
    spec_sampling p;
    spec_token text[4];
    float logits[MAX_NODES + 1][N_TOKENS];
} grove;

static void make_grove(support_rng *r, grove *g) {
    spec_tree_clear(&g->t);
    uint32_t n = support_rng_below(r, MAX_NODES + 1);
    for (uint32_t tries = 0; g->t.n < n && tries < 5 * n; tries++) {
        int32_t parent = (int32_t)support_rng_below(r, g->t.n + 1) - 1;
        spec_token token = (spec_token)support_rng_below(r, 6);
        if (spec_tree_child(&g->t, parent, token) < 0) spec_tree_add(&g->t, parent, token, 0.0f, 0);
    }
    for (uint32_t i = 0; i <= MAX_NODES; i++)
        for (uint32_t t = 0; t < N_TOKENS; t++)
            g->logits[i][t] = (float)support_rng_unit(r) * 3.0f + (t < 6 ? 2.0f : 0.0f);
    for (size_t i = 0; i < 4; i++) g->text[i] = (spec_token)support_rng_below(r, N_TOKENS);
    g->p = (spec_sampling){.size = sizeof g->p,
                           .temperature = support_rng_below(r, 5) ? 0.8f : 0.0f,
                           .top_k = support_rng_below(r, 2) ? 8 : 0,
                           .repetition_penalty = 1.3f};
}

static void grove_law(const grove *g, int32_t node, double *p) {
    spec_token path[MAX_NODES];
    size_t n = spec_tree_depth(&g->t, node);
    spec_row_place at = {g->text, 4, path, n, (size_t)(node + 1)};
    for (size_t k = n; k > 0; node = g->t.parent[node]) path[--k] = g->t.token[node];
    oracle_law(&g->p, N_TOKENS, g->logits[at.row], &at, p);
}

/* The log-probability of the path to a node if all of it is accepted, otherwise 1. */
static double judge(const grove *g, int32_t node, double epsilon, double delta) {
    double merit = 0.0, p[N_TOKENS];
    for (; node >= 0; node = g->t.parent[node]) {
        double h = 0.0;
        grove_law(g, g->t.parent[node], p);
        for (int t = 0; t < N_TOKENS; t++) h -= p[t] * log(p[t] + 1e-5);
        if (!(p[g->t.token[node]] > fmin(epsilon, delta * exp(-h)))) return 1.0;
        merit += log(p[g->t.token[node]]);
    }
    return merit;
}

static int32_t best_node(const grove *g, double epsilon, double delta) {
    int32_t best = -1;
    double best_merit = 0.0;
    for (int32_t i = 0; i < (int32_t)g->t.n; i++) {
        double merit = judge(g, i, epsilon, delta);
        uint32_t depth = spec_tree_depth(&g->t, i), best_depth = spec_tree_depth(&g->t, best);
        if (merit > 0.0 || depth < best_depth || (depth == best_depth && merit <= best_merit)) continue;
        best = i;
        best_merit = merit;
    }
    return best;
}

static void test_random_trees_follow_the_definition(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 1);
    grove *g = calloc(1, sizeof *g);
    spec_sampler *s;
    size_t longest = 0, none = 0;
    assert_int_equal(spec_tree_init(&g->t, MAX_NODES, 0, 0, NULL), 0);
    assert_int_equal(spec_sampler_new(&s, N_TOKENS, NULL), 0);
    for (int round = 0; round < 12000; round++) {
        static const float limits[][2] = {
            {0.09f, 0.3f}, {0.9f, 0.8f}, {0.9f, 1.3f}, {0.2f, 10.0f}, {0.0f, 0.3f}};
        const float *limit = limits[support_rng_below(&r, 5)];
        make_grove(&r, g);
        spec_verify_args a = {.size = sizeof a,
                              .tree = &g->t,
                              .sampling = &g->p,
                              .logits = g->logits[0],
                              .text = g->text,
                              .n_text = 4};
        int32_t path[MAX_NODES], last = best_node(g, (double)limit[0], (double)limit[1]);
        size_t n;
        spec_token next, most = 0;
        double p[N_TOKENS];
        grove_law(g, last, p);
        for (spec_token t = 1; t < N_TOKENS; t++)
            if (p[t] > p[most]) most = t;
        assert_int_equal(spec_verify_typical(s, &a, limit[0], limit[1], path, &n, &next, NULL), 0);
        assert_int_equal(n, spec_tree_depth(&g->t, last));
        assert_int_equal(next, most);
        for (size_t k = n; k > 0; last = g->t.parent[last]) assert_int_equal(path[--k], last);
        if (n > longest) longest = n;
        none += !n && g->t.n;
        if (g->p.temperature == 0.0f) {
            int32_t greedy[MAX_NODES];
            size_t n_greedy;
            assert_int_equal(spec_verify_sample(s, &a, greedy, &n_greedy, &most, NULL), 0);
            assert_true(n_greedy == n && most == next && !memcmp(path, greedy, n * sizeof *path));
        }
    }
    assert_true(longest > 4 && none > 10);
    spec_sampler_free(s);
    spec_tree_release(&g->t, NULL);
    free(g);
}

typedef struct counted_rows {
    const float *logits; /* (4, 3) */
    int fetched[4];
} counted_rows;

static int count_row(void *user, size_t row, const float **logits) {
    counted_rows *c = user;
    c->fetched[row]++;
    *logits = c->logits + 3 * row;
    return SPEC_OK;
}

/* Of accepted leaves only the best one's row is looked at; of equally probable tokens the first is next. */
static void test_rows_that_are_not_needed(void **state) {
    (void)state;
    static const float logits[12] = {1.0f, 1.2f, 1.1f, 0, 0, 0, 1.0f, 2.0f, 2.0f, 0, 0, 0};
    static const spec_sampling p = {.size = sizeof p, .temperature = 1.0f};
    counted_rows c = {logits, {0}};
    spec_tree t;
    spec_sampler *s;
    int32_t path[3];
    size_t n;
    spec_token next;
    assert_int_equal(spec_tree_init(&t, 3, 0, 0, NULL), 0);
    assert_int_equal(spec_sampler_new(&s, 3, NULL), 0);
    for (spec_token x = 0; x < 3; x++) spec_tree_add(&t, -1, x, 0.0f, 0);
    spec_verify_args a = {.size = sizeof a, .tree = &t, .sampling = &p, .row = count_row, .row_user = &c};
    assert_int_equal(spec_verify_typical(s, &a, 0.09f, 0.3f, path, &n, &next, NULL), 0);
    assert_true(n == 1 && path[0] == 1 && next == 1);
    assert_true(c.fetched[0] == 1 && !c.fetched[1] && c.fetched[2] == 1 && !c.fetched[3]);
    spec_sampler_free(s);
    spec_tree_release(&t, NULL);
}

/* Two equal tokens: exp(-H) is 1/2 + 1e-5, so that p = 1/2 is above delta times this for delta < 1 - 2e-5. */
static void test_the_constant_of_the_entropy(void **state) {
    (void)state;
    static const float logits[4] = {0};
    static const spec_sampling p = {.size = sizeof p, .temperature = 1.0f};
    spec_tree t;
    spec_sampler *s;
    size_t n;
    spec_token next;
    assert_int_equal(spec_tree_init(&t, 1, 0, 0, NULL), 0);
    assert_int_equal(spec_sampler_new(&s, 2, NULL), 0);
    spec_tree_add(&t, -1, 1, 0.0f, 0);
    spec_verify_args a = {.size = sizeof a, .tree = &t, .sampling = &p, .logits = logits};
    assert_int_equal(spec_verify_typical(s, &a, 0.9f, 0.999975f, NULL, &n, &next, NULL), 0);
    assert_int_equal(n, 1);
    assert_int_equal(spec_verify_typical(s, &a, 0.9f, 0.999985f, NULL, &n, &next, NULL), 0);
    assert_int_equal(n, 0);
    spec_sampler_free(s);
    spec_tree_release(&t, NULL);
}

/* ---- refusals ---------------------------------------------------------------------------- */

typedef enum rule { SAMPLE, BLOCK, TYPICAL, RULES } rule;

typedef struct trial {
    spec_tree t;
    spec_sampler *s;
    float logits[4][3];
    spec_verify_args a;
} trial;

static int run(rule r, spec_sampler *s, const spec_verify_args *a, int32_t *path, size_t *n, spec_token *next,
               spec_message *why) {
    if (r == SAMPLE) return spec_verify_sample(s, a, path, n, next, why);
    if (r == BLOCK) return spec_verify_block(s, a, path, n, next, why);
    return spec_verify_typical(s, a, 0.09f, 0.3f, path, n, next, why);
}

/* A chain of three nodes with one q row each; the first is accepted for certain. */
static void trial_make(trial *b) {
    memset(b, 0, sizeof *b);
    assert_int_equal(spec_tree_init(&b->t, 4, 3, 3, NULL), 0);
    assert_int_equal(spec_sampler_new(&b->s, 3, NULL), 0);
    for (int32_t i = 0; i < 3; i++) {
        assert_int_equal(spec_tree_add(&b->t, i - 1, i, 0.0f, 0), i);
        b->t.q_row[i] = i;
        for (int x = 0; x < 3; x++) b->t.q[3 * i + x] = 1.0f;
        b->logits[i][i] = 30.0f;
    }
    b->t.n_q = 3;
    b->a = (spec_verify_args){.size = sizeof b->a, .tree = &b->t, .logits = b->logits[0]};
}

static void trial_free(trial *b) {
    spec_sampler_free(b->s);
    spec_tree_release(&b->t, NULL);
}

static void assert_refused(trial *b, rule r, int want, const char *says) {
    int32_t path[4] = {-5, -5, -5, -5};
    size_t n = 77;
    spec_token next = 88;
    spec_message why = {"?"};
    int err = run(r, b->s, &b->a, path, &n, &next, &why);
    if (err != want || !strstr(why.text, says))
        fail_msg("rule %d: error %d, '%s', expected %d and '%s'", (int)r, err, why.text, want, says);
    assert_int_equal(run(r, b->s, &b->a, path, &n, &next, NULL), want);
    assert_true(n == 77 && next == 88 && path[0] == -5 && path[1] == -5);
    trial_free(b);
    trial_make(b); /* as it was, for the next case */
}

static int no_row(void *user, size_t row, const float **logits) {
    (void)logits;
    return (int)row == *(int *)user ? SPEC_ERR_IO : SPEC_OK;
}

static int no_mask(void *user, const spec_row_place *at, const uint32_t **allowed) {
    static const uint32_t none = 0;
    (void)user;
    if (at->n_path == 1) *allowed = &none;
    return SPEC_OK;
}

static void test_what_all_rules_refuse(void **state) {
    (void)state;
    trial b;
    trial_make(&b);
    for (rule r = 0; r < RULES; r++) {
        int32_t path[4];
        size_t n = 0;
        spec_token next = 0;
        spec_message why;
        assert_int_equal(run(r, b.s, &b.a, path, &n, &next, &why), 0);
        assert_true(n == 3 && next == 0 && path[2] == 2 && !why.text[0]);
        assert_int_equal(run(r, NULL, &b.a, path, &n, &next, &why), SPEC_ERR_INVALID);
        assert_int_equal(run(r, b.s, NULL, path, &n, &next, &why), SPEC_ERR_INVALID);
        assert_int_equal(run(r, b.s, &b.a, path, NULL, &next, &why), SPEC_ERR_INVALID);
        assert_int_equal(run(r, b.s, &b.a, path, &n, NULL, &why), SPEC_ERR_INVALID);
        b.a.size--;
        assert_refused(&b, r, SPEC_ERR_INVALID, "args.size");
        b.a.logits = NULL;
        assert_refused(&b, r, SPEC_ERR_INVALID, "either logits or row");
        b.a.row = no_row;
        assert_refused(&b, r, SPEC_ERR_INVALID, "either logits or row");
        b.a.row_stride = 2;
        assert_refused(&b, r, SPEC_ERR_INVALID, "row_stride");
        b.a.n_text = 1;
        assert_refused(&b, r, SPEC_ERR_INVALID, "text is NULL");
        spec_sampling p = {.size = sizeof p, .min_p = -1.0f};
        b.a.sampling = &p;
        assert_refused(&b, r, SPEC_ERR_INVALID, "min_p");
        b.t.parent[1] = 1;
        assert_refused(&b, r, SPEC_ERR_INVALID, "parent 1 is not before it");
        b.t.n_q = 2;
        assert_refused(&b, r, SPEC_ERR_INVALID, "q row 2 of 2");
        b.t.q = NULL;
        assert_refused(&b, r, SPEC_ERR_INVALID, "q is NULL");
        b.t.vocab = 4;
        assert_refused(&b, r, SPEC_ERR_INVALID, "4 columns");
        b.logits[1][2] = NAN;
        assert_refused(&b, r, SPEC_ERR_INVALID, "row 1: the logit of token 2 is NaN");
        spec_sampling masked = {.size = sizeof masked, .mask = no_mask};
        b.a.sampling = &masked;
        assert_refused(&b, r, SPEC_ERR_INVALID, "row 1: no token is left");
        int failing = 0;
        b.a = (spec_verify_args){.size = sizeof b.a, .tree = &b.t, .row = no_row, .row_user = &failing};
        assert_refused(&b, r, SPEC_ERR_IO, "row 0");
        failing = 1; /* row 0 succeeds, but gives no logits */
        b.a = (spec_verify_args){.size = sizeof b.a, .tree = &b.t, .row = no_row, .row_user = &failing};
        assert_refused(&b, r, SPEC_ERR_INVALID, "row 0");
    }
    trial_free(&b);
}

static void test_what_single_rules_refuse(void **state) {
    (void)state;
    trial b;
    trial_make(&b);
    static const float bad[] = {-1.0f, NAN, INFINITY};
    for (rule r = SAMPLE; r <= BLOCK; r++) {
        for (int i = 0; i < 3; i++) {
            b.t.q[3 + 2] = bad[i];
            assert_refused(&b, r, SPEC_ERR_INVALID, "q row 1 has a negative or non-finite value");
        }
        b.t.q[3 + 1] = 0.0f;
        assert_refused(&b, r, SPEC_ERR_INVALID, "gives token 1 no probability");
        b.t.token[1] = INT32_MAX;
        assert_refused(&b, r, SPEC_ERR_INVALID, "gives token 2147483647 no probability");
    }
    b.t.q_row[1] = -1;
    assert_refused(&b, BLOCK, SPEC_ERR_INVALID, "node 1 does not continue a chain");
    b.t.parent[2] = 0;
    assert_refused(&b, BLOCK, SPEC_ERR_INVALID, "node 2 does not continue a chain");
    for (int i = 0; i < 4; i++) {
        static const float limits[][2] = {{1.0f, 0.3f}, {-0.1f, 0.3f}, {0.1f, -1.0f}, {NAN, 0.3f}};
        size_t n = 77;
        spec_token next = 88;
        spec_message why;
        assert_int_equal(spec_verify_typical(b.s, &b.a, limits[i][0], limits[i][1], NULL, &n, &next, &why),
                         SPEC_ERR_INVALID);
        assert_true(strstr(why.text, "epsilon") && n == 77 && next == 88);
    }
    /* Rows that are not looked at may be anything; so may q rows off the path. */
    b.logits[0][0] = 0.0f;
    b.logits[0][2] = 30.0f;
    b.logits[1][0] = NAN;
    b.t.q[3] = -1.0f;
    size_t n;
    spec_token next;
    assert_int_equal(spec_verify_sample(b.s, &b.a, NULL, &n, &next, NULL), 0);
    assert_true(n == 0 && next == 2);
    trial_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_results),
        cmocka_unit_test(test_random_trees_follow_the_definition),
        cmocka_unit_test(test_the_constant_of_the_entropy),
        cmocka_unit_test(test_rows_that_are_not_needed),
        cmocka_unit_test(test_what_all_rules_refuse),
        cmocka_unit_test(test_what_single_rules_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

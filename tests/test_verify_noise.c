/* SPDX-License-Identifier: MIT */
/*
 * Keyed noise, and verification with it: random trees against acceptance as it is defined,
 * the same text with every deterministic drafter as without, the law of long runs, refusals.
 */
#include "oracle_verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "noise.h"
#include "draft_internal.h"

/* ---- the noise ---------------------------------------------------------------------- */

static void test_noise_is_a_function_of_its_key(void **state) {
    (void)state;
    /* A seed's text is a promise: these numbers never change. */
    const spec_noise_key first = {1, 2, 3}, zero = {0, 0, 0};
    assert_true(specp_noise(&first, 4, SPECP_NOISE_TOKEN, 5) == 0x1.71d413264a174p-3);
    assert_true(specp_noise(&zero, 0, SPECP_NOISE_DRAFT, 0) == 0x1.0983a45556400p-3);
    assert_true(specp_noise(&(spec_noise_key){1, 2, 7}, 0, SPECP_NOISE_TOKEN, 5) ==
                specp_noise(&first, 4, SPECP_NOISE_TOKEN, 5)); /* the position alone counts */
    support_rng r = support_rng_new(support_seed(), 1);
    for (int i = 0; i < 10000; i++) {
        spec_noise_key k = {support_rng_next(&r), support_rng_below(&r, 4), support_rng_below(&r, 1000)};
        uint64_t ahead = support_rng_below(&r, 20);
        uint32_t index = support_rng_below(&r, 20);
        double u = specp_noise(&k, ahead, SPECP_NOISE_TOKEN, index);
        assert_true(u >= 0.0 && u < 1.0 && u * 0x1p53 == floor(u * 0x1p53));
        assert_true(u == specp_noise(&k, ahead, SPECP_NOISE_TOKEN, index));
        assert_true(u != specp_noise(&k, ahead, SPECP_NOISE_ACCEPT, index));
        assert_true(u != specp_noise(&k, ahead, SPECP_NOISE_TOKEN, index + 1));
        assert_true(u != specp_noise(&k, ahead + 1, SPECP_NOISE_TOKEN, index));
        k.sequence++;
        assert_true(u != specp_noise(&k, ahead, SPECP_NOISE_TOKEN, index));
        k.sequence--, k.seed++;
        assert_true(u != specp_noise(&k, ahead, SPECP_NOISE_TOKEN, index));
    }
}

/* Neighbours along each part of the key, in 8 x 8 cells: independent and uniform. */
static void test_noise_is_even(void **state) {
    (void)state;
    for (int part = 0; part < 5; part++) {
        double cell[64] = {0}, chi = 0.0;
        const uint32_t n = 64000;
        for (uint32_t i = 0; i < n; i++) {
            double u[2];
            for (uint32_t k = 0; k < 2; k++) {
                uint32_t x = 2 * i + k;
                spec_noise_key key = {part == 0 ? x : 9, part == 1 ? x : 9, part == 2 ? x : 9};
                u[k] = specp_noise(&key, 0, part == 3 ? x : 1, part == 4 ? x : 0);
            }
            cell[(int)(u[0] * 8) * 8 + (int)(u[1] * 8)] += 1.0;
        }
        for (int i = 0; i < 64; i++) chi += (cell[i] - n / 64.0) * (cell[i] - n / 64.0) / (n / 64.0);
        assert_true(chi < 120.0 && chi > 25.0); /* 63 degrees of freedom; fixed numbers */
    }
}

/* ---- random trees ----------------------------------------------------------------------- */

#define MAX_VOCAB 60
#define MAX_NODES 40

typedef struct forest {
    spec_tree t;
    uint32_t vocab; /* of the target */
    float logits[MAX_NODES + 1][MAX_VOCAB + 3];
    spec_sampling p;
    spec_token text[8];
    uint32_t mask[(MAX_NODES + 1) * 2];
    uint8_t fetched[MAX_NODES + 1];
    spec_noise_key key;
} forest;

/* By row, so that each node has its own. */
static int mask_of_row(void *user, const spec_row_place *at, const uint32_t **allowed) {
    *allowed = ((forest *)user)->mask + 2 * at->row;
    return SPEC_OK;
}

static int fetch(void *user, size_t row, const float **logits) {
    forest *f = user;
    f->fetched[row] = 1;
    *logits = f->logits[row];
    return SPEC_OK;
}

static void make_rows(support_rng *r, forest *f) {
    for (uint32_t i = 0; i <= MAX_NODES; i++) {
        for (uint32_t t = 0; t < f->vocab; t++)
            f->logits[i][t] = support_rng_below(r, 12) ? (float)support_rng_unit(r) * 6.0f : -INFINITY;
        uint32_t sure = support_rng_below(r, f->vocab);
        f->logits[i][sure] = 1.0f;
        for (int k = 0; k < 2; k++) f->mask[2 * i + (uint32_t)k] = (uint32_t)support_rng_next(r);
        f->mask[2 * i + sure / 32] |= 1u << sure % 32;
    }
}

static void make_tree(support_rng *r, forest *f, double sampled) {
    spec_tree *t = &f->t;
    spec_tree_clear(t);
    t->vocab = 1 + support_rng_below(r, f->vocab);
    uint32_t n = support_rng_below(r, MAX_NODES + 1), bushy = support_rng_below(r, 2);
    for (uint32_t tries = 0; t->n < n && tries < 5 * n; tries++) {
        int32_t parent = (int32_t)support_rng_below(r, t->n + 1) - 1;
        if (bushy && support_rng_below(r, 2)) parent = -1;
        bool drawn = support_rng_chance(r, sampled);
        uint32_t limit = drawn ? t->vocab : f->vocab + 2; /* some tokens are unknown to the target */
        spec_token token =
            (spec_token)support_rng_below(r, limit < 8 ? limit : 8 + support_rng_below(r, limit - 7));
        if ((uint32_t)token >= limit || spec_tree_child(t, parent, token) >= 0) continue;
        int32_t i = spec_tree_add(t, parent, token, 0.0f, 0);
        if (!drawn) continue;
        t->q_row[i] = (int32_t)t->n_q++;
        float *q = t->q + (size_t)t->q_row[i] * t->vocab;
        for (uint32_t x = 0; x < t->vocab; x++)
            q[x] = support_rng_below(r, 4) ? (float)support_rng_unit(r) * 3.0f : 0.0f;
        q[token] += 0.1f;
    }
}

static void make_forest(support_rng *r, forest *f) {
    static const float temperatures[] = {0.0f, 0.5f, 1.0f, 1.7f};
    make_rows(r, f);
    make_tree(r, f, (double)support_rng_below(r, 3) / 2.0);
    for (size_t i = 0; i < 8; i++) f->text[i] = (spec_token)support_rng_below(r, f->vocab);
    f->p = (spec_sampling){.size = sizeof f->p,
                           .temperature = temperatures[support_rng_below(r, 4)],
                           .top_k = support_rng_below(r, 2) ? support_rng_below(r, 12) : 0,
                           .top_p = support_rng_below(r, 2) ? 0.93f : 0.0f,
                           .min_p = support_rng_below(r, 2) ? 0.04f : 0.0f,
                           .repetition_penalty = support_rng_below(r, 2) ? 1.4f : 0.0f,
                           .penalty_window = support_rng_below(r, 10),
                           .mask = support_rng_below(r, 2) ? mask_of_row : NULL,
                           .mask_user = f};
    f->key = (spec_noise_key){support_rng_next(r), support_rng_below(r, 3), support_rng_below(r, 100)};
    memset(f->fetched, 0, sizeof f->fetched);
}

static void forest_law(void *user, int32_t node, double *p) {
    forest *f = user;
    spec_token path[MAX_NODES];
    size_t n = spec_tree_depth(&f->t, node);
    spec_row_place at = {f->text, 8, path, n, (size_t)(node + 1)};
    for (size_t k = n; k > 0; node = f->t.parent[node]) path[--k] = f->t.token[node];
    oracle_law(&f->p, f->vocab, f->logits[at.row], &at, p);
}

static uint32_t by_noise(void *user, uint64_t ahead, int purpose, uint32_t index, const double *w,
                         uint32_t n) {
    double total = 0.0, run = 0.0;
    uint32_t i = 0;
    for (uint32_t k = 0; k < n; k++) total += w[k];
    double at = specp_noise(user, ahead, (specp_purpose)purpose, index) * total;
    for (; i + 1 < n && run + w[i] <= at; i++) run += w[i];
    return i;
}

static void test_random_trees_follow_the_definition(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 2);
    forest *f = calloc(1, sizeof *f);
    size_t longest = 0, accepted = 0, refused = 0;
    spec_sampler *s = NULL;
    assert_int_equal(spec_tree_init(&f->t, MAX_NODES, MAX_NODES, MAX_VOCAB, NULL), 0);
    for (int round = 0; round < 10000; round++) {
        if (round % 20 == 0) { /* a sampler brings nothing from one call to the next */
            spec_sampler_free(s);
            f->vocab = 1 + support_rng_below(&r, MAX_VOCAB);
            assert_int_equal(spec_sampler_new(&s, f->vocab, NULL), 0);
        }
        make_forest(&r, f);
        int32_t path[MAX_NODES], want[MAX_NODES];
        size_t n = 99;
        spec_token next = -1, want_next;
        spec_message why;
        spec_verify_args a = {.size = sizeof a,
                              .tree = &f->t,
                              .sampling = &f->p,
                              .row = fetch,
                              .row_user = f,
                              .text = f->text,
                              .n_text = 8,
                              .noise = f->key};
        if (round % 2) a.row = NULL, a.logits = f->logits[0], a.row_stride = MAX_VOCAB + 3;
        oracle_verifier v = {ORACLE_RIGHT, f->vocab, by_noise, &f->key, forest_law, f};
        int err = spec_verify_sample(s, &a, path, &n, &next, &why);
        if (err) { /* a later sibling whose q row has nothing but the tokens of earlier ones: none here */
            assert_non_null(strstr(why.text, "no probability"));
            refused++;
        } else {
            size_t want_n = oracle_verify(&v, &f->t, want, &want_next);
            if (n != want_n || next != want_next || memcmp(path, want, n * sizeof *path))
                fail_msg("round %d: %zu nodes then %d, not %zu then %d", round, n, next, want_n, want_next);
            uint8_t looked_at[MAX_NODES + 1] = {1};
            for (size_t i = 0; i < n; i++) looked_at[path[i] + 1] = 1;
            if (a.row) assert_memory_equal(f->fetched, looked_at, sizeof looked_at);
            longest = n > longest ? n : longest;
            accepted += n;
            assert_int_equal(spec_verify_sample(s, &a, NULL, &n, &next, NULL), 0);
            assert_true(n == want_n && next == want_next);
        }
    }
    spec_sampler_free(s);
    assert_true(longest >= 4 && accepted > 2000 && refused == 0);
    spec_tree_release(&f->t, NULL);
    free(f);
}

/* At temperature 0 it is greedy acceptance. */
static void test_no_temperature_is_greedy(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 3);
    forest *f = calloc(1, sizeof *f);
    assert_int_equal(spec_tree_init(&f->t, MAX_NODES, MAX_NODES, MAX_VOCAB, NULL), 0);
    for (int round = 0; round < 3000; round++) {
        f->vocab = 1 + support_rng_below(&r, MAX_VOCAB);
        make_forest(&r, f);
        spec_sampler *s;
        spec_token argmax[MAX_NODES + 1] = {0}, next, want_next;
        int32_t path[MAX_NODES], want[MAX_NODES];
        size_t n, want_n;
        assert_int_equal(spec_sampler_new(&s, f->vocab, NULL), 0);
        for (uint32_t i = 0; i <= f->t.n; i++)
            for (uint32_t t = 1; t < f->vocab; t++)
                if (f->logits[i][t] > f->logits[i][argmax[i]]) argmax[i] = (spec_token)t;
        spec_verify_args a = {.size = sizeof a, .tree = &f->t, .row = fetch, .row_user = f, .noise = f->key};
        assert_int_equal(spec_verify_sample(s, &a, path, &n, &next, NULL), 0);
        assert_int_equal(spec_verify_greedy(&f->t, argmax, want, &want_n, &want_next), 0);
        assert_true(n == want_n && next == want_next && !memcmp(path, want, n * sizeof *path));
        spec_sampler_free(s);
    }
    spec_tree_release(&f->t, NULL);
    free(f);
}

/* ---- the same text with and without drafts ------------------------------------------------- */

#define TOY_VOCAB 50
#define N_PROMPT  60
#define N_NEW     2000

/* A model with laws of its own: likes one token after the last three, others less. */
typedef struct toy_sampling {
    uint64_t seed;
    const spec_token *text;
    size_t n;
    const spec_tree *t;
    float logits[TOY_VOCAB];
} toy_sampling;

static int toy_row(void *user, size_t row, const float **logits) {
    toy_sampling *m = user;
    uint64_t h = m->seed;
    size_t k = 0;
    for (int32_t node = (int32_t)row - 1; node >= 0 && k < 3; node = m->t->parent[node], k++)
        h = specp_mix64(h ^ (uint64_t)m->t->token[node]);
    for (size_t i = m->n; i > 0 && k < 3; k++) h = specp_mix64(h ^ (uint64_t)m->text[--i]);
    for (uint32_t t = 0; t < TOY_VOCAB; t++) m->logits[t] = (float)(specp_mix64(h + t) >> 40) * 0x1p-23f;
    m->logits[h % TOY_VOCAB] += 6.0f;
    *logits = m->logits;
    return SPEC_OK;
}

static int no_repeats(void *user, const spec_row_place *at, const uint32_t **allowed) {
    uint32_t *words = user;
    spec_token last = at->n_path ? at->path[at->n_path - 1] : at->text[at->n_text - 1];
    memset(words, 0xff, 2 * sizeof *words);
    words[last / 32] &= ~(1u << last % 32);
    *allowed = words;
    return SPEC_OK;
}

/* Decodes text[N_PROMPT..) with a drafter (NULL: none); returns how many nodes were accepted. */
static size_t decode(const spec_sampling *p, const char *drafter, spec_noise_key key, spec_token *text,
                     const spec_token *reference) {
    spec_drafter *d = NULL;
    spec_request *request = NULL;
    spec_sampler *s;
    spec_tree t;
    spec_message why;
    size_t total = 0;
    toy_sampling m = {.seed = support_seed(), .text = text, .n = N_PROMPT, .t = &t};
    spec_request_info info = {.size = sizeof info,
                              .prompt = text,
                              .n_prompt = N_PROMPT,
                              .max_new_tokens = N_NEW,
                              .reference = reference,
                              .n_reference = reference ? N_NEW : 0};
    assert_int_equal(spec_sampler_new(&s, TOY_VOCAB, NULL), 0);
    assert_int_equal(spec_tree_init(&t, 24, 0, 0, NULL), 0);
    if (drafter && spec_drafter_open(&d, drafter, NULL, &why)) fail_msg("%s", why.text);
    if (drafter) assert_int_equal(spec_request_begin(d, &info, &request), 0);
    while (m.n < N_PROMPT + N_NEW) {
        int32_t path[24];
        spec_token next;
        size_t n;
        key.position = m.n;
        spec_propose_args ask = {.size = sizeof ask, .noise = key};
        if (request) assert_int_equal(spec_request_propose(request, &ask, &t), 0);
        spec_verify_args a = {.size = sizeof a,
                              .tree = request ? &t : NULL,
                              .sampling = p,
                              .row = toy_row,
                              .row_user = &m,
                              .text = text,
                              .n_text = m.n,
                              .noise = key};
        if (spec_verify_sample(s, &a, path, &n, &next, &why)) fail_msg("%s", why.text);
        for (size_t i = 0; i < n; i++) text[m.n + i] = t.token[path[i]];
        text[m.n + n] = next;
        if (request) assert_int_equal(spec_request_commit(request, text + m.n, n + 1), 0);
        m.n += n + 1;
        total += n;
    }
    assert_int_equal(m.n, N_PROMPT + N_NEW);
    spec_request_end(request);
    spec_drafter_free(d);
    spec_tree_release(&t, NULL);
    spec_sampler_free(s);
    return total;
}

static void test_the_same_text_with_every_drafter(void **state) {
    (void)state;
    static const spec_logit_bias bias[] = {{3, 1.5f}, {7, -INFINITY}};
    uint32_t words[2];
    const spec_sampling ways[] = {
        {.size = sizeof *ways, .temperature = 0.7f},
        {.size = sizeof *ways, .temperature = 1.5f},
        {.size = sizeof *ways,
         .temperature = 0.7f,
         .top_k = 20,
         .top_p = 0.95f,
         .min_p = 0.02f,
         .repetition_penalty = 1.1f,
         .penalty_window = 64,
         .bias = bias,
         .n_bias = 2,
         .mask = no_repeats,
         .mask_user = words},
        {.size = sizeof *ways, .temperature = 1.5f, .repetition_penalty = 1.3f},
    };
    spec_token(*text)[N_PROMPT + N_NEW] = calloc(2, sizeof *text);
    support_rng r = support_rng_new(support_seed(), 4);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        spec_noise_key key = {support_rng_next(&r), w, 0};
        for (size_t i = 0; i < N_PROMPT; i++)
            text[0][i] = text[1][i] = (spec_token)support_rng_below(&r, TOY_VOCAB);
        decode(&ways[w], NULL, key, text[0], NULL);
        const char *name;
        for (size_t i = 0; (name = spec_drafter_builtin(i)); i++) {
            if (specp_drafter_needs_file(name)) continue;
            size_t accepted = decode(&ways[w], name, key, text[1], text[0] + N_PROMPT);
            if (memcmp(text[0], text[1], sizeof *text)) fail_msg("%s, way %zu: another text", name, w);
            if (!strcmp(name, "oracle")) assert_true(accepted > N_NEW * 9 / 10);
            if (!strcmp(name, "suffix")) assert_true(accepted > 20);
        }
        decode(&ways[w], "random:vocab=50,width=6,len=3", key, text[1], NULL);
        assert_memory_equal(text[0], text[1], sizeof *text);
        key.seed++;
        decode(&ways[w], NULL, key, text[1], NULL);
        assert_memory_not_equal(text[0], text[1], sizeof *text);
    }
    free(text);
}

/* ---- the law of many runs ---------------------------------------------------------------------- */

typedef struct noisy_drafter {
    spec_noise_key key;
    uint32_t index;
    bool wrong; /* draws by the verifier's noise */
} noisy_drafter;

static uint32_t draw_by_noise(void *user, const double *w, uint32_t n, double total) {
    noisy_drafter *d = user;
    double u = d->wrong ? specp_noise(&d->key, 0, SPECP_NOISE_ACCEPT, d->index++)
                        : specp_noise(&d->key, 0, SPECP_NOISE_DRAFT, d->index++);
    double run = 0.0;
    uint32_t i = 0;
    for (; i + 1 < n && run + w[i] <= u * total; i++) run += w[i];
    return i;
}

/* Chi-square of the first two tokens of `runs` sequences, over the cells expected 5 times or
 * more; *cells is their number. What is missing of a draft is drawn as in decoding. */
static double chi_square(const oracle_plan *plan, oracle_verify_fn rule, bool wrong, uint64_t world,
                         uint32_t runs, uint32_t *cells) {
    support_rng r = support_rng_new(support_seed(), world);
    oracle_world *w = malloc(sizeof *w);
    double seen[9] = {0}, chi = 0.0;
    spec_sampler *s;
    spec_tree t;
    oracle_rows rows = {w, &t};
    static const spec_sampling p = {.size = sizeof p, .temperature = 1.0f};
    assert_int_equal(spec_sampler_new(&s, ORACLE_VOCAB, NULL), 0);
    assert_int_equal(spec_tree_init(&t, 64, 80, ORACLE_VOCAB, NULL), 0);
    oracle_world_make(w, &r, 2.0, &p, s);
    for (uint32_t run = 0; run < runs; run++) {
        noisy_drafter d = {{support_seed(), run, 4}, 0, wrong};
        spec_verify_args a = {.size = sizeof a,
                              .tree = &t,
                              .sampling = &p,
                              .row = oracle_row,
                              .row_user = &rows,
                              .noise = d.key};
        int32_t path[8];
        spec_token out[ORACLE_DEPTH + 1];
        size_t n;
        oracle_draft(w, plan, draw_by_noise, &d, &t);
        assert_int_equal(rule(s, &a, path, &n, &out[ORACLE_DEPTH], NULL), 0);
        spec_token next = out[ORACLE_DEPTH];
        for (size_t i = 0; i < n; i++) out[i] = t.token[path[i]];
        out[n] = next;
        if (!n) { /* the second token: a step without a draft */
            spec_verify_args plain = {
                .size = sizeof plain, .sampling = &p, .noise = {support_seed(), run, 5}};
            plain.logits = w->logits[oracle_prefix(out, 1)];
            assert_int_equal(spec_verify_sample(s, &plain, NULL, &n, &out[1], NULL), 0);
        }
        seen[out[0] * 3 + out[1]] += 1.0;
    }
    *cells = 0;
    for (uint32_t i = 0; i < 9; i++) {
        double expected = w->p[0][i / 3] * w->p[1 + i / 3][i % 3] * runs;
        if (expected < 5.0) continue;
        chi += (seen[i] - expected) * (seen[i] - expected) / expected;
        ++*cells;
    }
    spec_tree_release(&t, NULL);
    spec_sampler_free(s);
    free(w);
    return chi;
}

/* Above the 1 - 1e-6 quantile of chi-square (Wilson and Hilferty), so that all these tests
 * together fail by chance once in 100,000 seeds. */
static double limit_of(uint32_t cells) {
    double k = cells - 1.0, c = 2.0 / (9.0 * k), x = 1.0 - c + 4.753 * sqrt(c);
    return k * x * x * x;
}

/* Whether a fault shows in one of a few worlds. */
static bool shows(const oracle_plan *plan, bool wrong_noise, uint32_t runs) {
    bool seen = false;
    for (uint64_t world = 20; world < 28; world++) {
        uint32_t cells;
        seen |= chi_square(plan, spec_verify_sample, wrong_noise, world, runs, &cells) > 2.0 * limit_of(9);
    }
    return seen;
}

/* The token after a chain that is accepted whole is the one that plain sampling draws at its place. */
static void test_the_token_after_a_chain(void **state) {
    (void)state;
    static const oracle_verify_fn rules[] = {spec_verify_sample, spec_verify_block};
    static const oracle_plan chain = {{"s", "s", "s"}, 0};
    static const spec_sampling p = {.size = sizeof p, .temperature = 1.0f};
    support_rng r = support_rng_new(support_seed(), 6);
    oracle_world *w = malloc(sizeof *w);
    spec_sampler *s;
    spec_tree t;
    oracle_rows rows = {w, &t};
    size_t whole = 0;
    assert_int_equal(spec_sampler_new(&s, ORACLE_VOCAB, NULL), 0);
    assert_int_equal(spec_tree_init(&t, 64, 80, ORACLE_VOCAB, NULL), 0);
    oracle_world_make(w, &r, 1.0, &p, s);
    for (uint32_t run = 0; run < 400; run++) {
        noisy_drafter d = {{support_seed(), run, 4}, 0, false};
        spec_verify_args a = {.size = sizeof a,
                              .tree = &t,
                              .sampling = &p,
                              .row = oracle_row,
                              .row_user = &rows,
                              .noise = d.key};
        spec_verify_args plain = {.size = sizeof a, .sampling = &p, .noise = {support_seed(), run, 7}};
        size_t n, none;
        spec_token next, drawn;
        oracle_draft(w, &chain, draw_by_noise, &d, &t);
        assert_int_equal(rules[run % 2](s, &a, NULL, &n, &next, NULL), 0);
        if (n < 3) continue;
        assert_int_equal(oracle_row(&rows, 3, &plain.logits), 0);
        assert_int_equal(spec_verify_sample(s, &plain, NULL, &none, &drawn, NULL), 0);
        assert_int_equal(next, drawn);
        whole++;
    }
    assert_true(whole > 20);
    spec_tree_release(&t, NULL);
    spec_sampler_free(s);
    free(w);
}

static void test_the_law_of_many_runs(void **state) {
    (void)state;
    static const struct {
        oracle_plan plan;
        oracle_verify_fn rule;
    } right[] = {
        {{{"s", "s", "s"}, 0}, spec_verify_sample}, {{{"ss", "ss"}, 0}, spec_verify_sample},
        {{{"www", "w"}, 0}, spec_verify_sample},    {{{"1st", "s0"}, 0}, spec_verify_sample},
        {{{"01", "12"}, 0}, spec_verify_sample},    {{{"s", "t", "s"}, 0}, spec_verify_block},
    };
    uint32_t runs = getenv("SOAK") ? 400000 : 20000, cells;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        double chi = chi_square(&right[i].plan, right[i].rule, false, 10 + i, runs, &cells);
        if (!(cells > 2 && chi < limit_of(cells)))
            fail_msg("plan %zu: chi-square %g over %u cells, limit %g", i, chi, cells, limit_of(cells));
    }
    assert_true(shows(&(oracle_plan){{"s", "s"}, 0}, true, runs));
    assert_true(shows(&(oracle_plan){{"kk", "k"}, 0}, false, runs));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_noise_is_a_function_of_its_key),
        cmocka_unit_test(test_noise_is_even),
        cmocka_unit_test(test_random_trees_follow_the_definition),
        cmocka_unit_test(test_no_temperature_is_greedy),
        cmocka_unit_test(test_the_same_text_with_every_drafter),
        cmocka_unit_test(test_the_token_after_a_chain),
        cmocka_unit_test(test_the_law_of_many_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

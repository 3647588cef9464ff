/* SPDX-License-Identifier: MIT */
/*
 * Drafts of an EAGLE-3 head: the recorded trees and chain, random heads against a
 * plain search over all candidates, limits, batches, ties, logits that are not
 * finite, memory.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eagle3_tree.h"
#include "eagle3_world.h"
#include "made_heads.h"
#include "tensor_bytes.h"

static specp_eagle3_trees *must_trees(specp_eagle3 *h, uint32_t top_k, uint32_t depth, uint32_t total) {
    specp_eagle3_trees *t = NULL;
    spec_message why = {""};
    specp_eagle3_tree_options o = {top_k, depth, total};
    if (specp_eagle3_trees_new(&t, h, &o, NULL, &why)) fail_msg("%s", why.text);
    return t;
}

static void must_draft(specp_eagle3_trees *t, specp_eagle3_request *r, uint32_t budget, uint32_t max_depth,
                       spec_tree *out) {
    spec_message why = {""};
    specp_eagle3_job job = {r, budget, max_depth, out};
    if (specp_eagle3_draft(t, &job, 1, &why)) fail_msg("%s", why.text);
    if (spec_tree_check(out, &why)) fail_msg("%s", why.text);
}

/* ---- recorded -------------------------------------------------------------------- */

static spec_tensors *recorded_file(const char *name) {
    char path[256], relative[64];
    (void)snprintf(relative, sizeof relative, "golden/heads/eagle3/%s.safetensors", name);
    if (!support_shared(relative, path, sizeof path)) fail_msg("%s is missing", relative);
    return must_open(path, NULL);
}

/* The features at hand, and the tokens after them. */
static void extend_recorded(specp_eagle3 *h, specp_eagle3_request *r, const spec_tensors *f) {
    const spec_tensor *in = eagle3_tensor(f, "hidden_in"), *ids = eagle3_tensor(f, "input_ids");
    size_t n = in->dim[0], from = ids->dim[0] - 1 - n;
    eagle3_must_extend(h, r, in->data, (const int32_t *)ids->data + from + 1, n);
}

/* Node i of a recorded tree, whose node 0 is the root, is node i - 1 of ours. */
static void check_tree(const spec_tree *t, const spec_tensors *f) {
    const int32_t *token = eagle3_tensor(f, "tokens")->data, *parent = eagle3_tensor(f, "parents")->data;
    const float *score = eagle3_tensor(f, "scores")->data;
    float worst = 0, sum = 0;
    assert_int_equal(t->n + 1, eagle3_tensor(f, "tokens")->dim[0]);
    for (size_t i = 0; i < t->n; i++) {
        float d = fabsf(logf(t->prob[i]) - score[i + 1]);
        assert_int_equal(t->token[i], token[i + 1]);
        assert_int_equal(t->parent[i], parent[i + 1] - 1);
        assert_int_equal(t->source[i], SPEC_SOURCE_HEAD);
        if (!(d <= worst)) worst = d;
        sum += t->prob[i];
    }
    printf("  scores off by at most %.1e\n", (double)worst);
    assert_true(worst <= 5e-5f);
    assert_true(t->score == sum);
}

/* The beams as they were recorded, run by hand: hidden states and log-probabilities of every level. */
static void check_levels(specp_eagle3 *h, specp_eagle3_request *r, const spec_tensors *f) {
    const spec_tensor *beam = eagle3_tensor(f, "beam"), *hidden = eagle3_tensor(f, "level_hidden");
    const spec_tensor *want = eagle3_tensor(f, "level_logprobs");
    const int32_t *c = beam->data, *parent = eagle3_tensor(f, "cand_parent")->data;
    const int32_t *cand = eagle3_tensor(f, "cand_tokens")->data;
    size_t levels = beam->dim[0], k = beam->dim[1], n = hidden->dim[2], vocab = want->dim[2];
    float worst = 0, logprob[16 * 4];
    spec_token token[16 * 4];
    specp_eagle3_node node[16] = {{r, -1, 0}};
    assert_int_equal(specp_eagle3_run(h, node, 1, k, token, logprob, NULL), 0);
    for (size_t l = 0; l < levels; l++) {
        for (size_t i = 0; i < k; i++) { /* its parent stands in the beam before */
            int32_t at = 0, above = parent[c[l * k + i]];
            while (l > 0 && c[(l - 1) * k + (size_t)at] != above) at++;
            node[i] = (specp_eagle3_node){r, l > 0 ? (int32_t)((l - 1) * k) + 1 + at : 0, cand[c[l * k + i]]};
        }
        assert_int_equal(specp_eagle3_run(h, node, k, k, token, logprob, NULL), 0);
        for (size_t i = 0; i < k; i++) {
            const float *x = specp_eagle3_hidden(r, l * k + 1 + i), *z = specp_eagle3_logits(h) + i * vocab;
            double sum = 0;
            for (size_t j = 0; j < n; j++)
                worst = fmaxf(worst, fabsf(x[j] - ((const float *)hidden->data)[(l * k + i) * n + j]));
            for (size_t j = 0; j < vocab; j++) sum += exp((double)z[j]);
            for (size_t j = 0; j < vocab; j++)
                worst = fmaxf(worst, fabsf(z[j] - (float)log(sum) -
                                           ((const float *)want->data)[(l * k + i) * vocab + j]));
            for (size_t j = 0; j < k; j++) /* the candidates, in the order of their creation */
                assert_int_equal(token[i * k + j], cand[k + (l * k + i) * k + j]);
        }
    }
    printf("  levels off by at most %.1e\n", (double)worst);
    assert_true(worst <= 5e-5f); /* the nodes are left: the next draft has to drop them */
}

static void test_recorded(void **state) {
    head_world *w = *state;
    eagle3_recorded g;
    if (!eagle3_recorded_open(&g, w->team[1])) SUPPORT_SKIP_NO_SHARED();
    specp_eagle3 *h = eagle3_must_open(g.path, &g.o);
    specp_eagle3_request *r = eagle3_must_request(h);
    specp_eagle3_trees *tree = must_trees(h, 4, 3, 12), *line = must_trees(h, 1, 4, 6);
    spec_tree out;
    assert_int_equal(spec_tree_init(&out, 60, 0, 0, NULL), 0);
    static const char *const rounds[] = {"tree", "tree_round2"};
    for (size_t i = 0; i < 2; i++) {
        spec_tensors *f = recorded_file(rounds[i]);
        extend_recorded(h, r, f);
        must_draft(tree, r, 60, 60, &out);
        check_tree(&out, f);
        check_levels(h, r, f);
        must_draft(tree, r, 60, 60, &out);
        check_tree(&out, f);
        spec_tensors_free(f);
        if (i > 0) continue;
        f = recorded_file("chain");
        const int32_t *ids = eagle3_tensor(f, "target_ids")->data;
        must_draft(line, r, 60, 60, &out);
        assert_int_equal(out.n, 5);
        for (int32_t j = 0; j < 5; j++) {
            assert_int_equal(out.token[j], ids[j]);
            assert_int_equal(out.parent[j], j - 1);
        }
        spec_tensors_free(f);
    }
    spec_tree_release(&out, NULL);
    specp_eagle3_trees_free(line);
    specp_eagle3_trees_free(tree);
    specp_eagle3_request_free(r);
    specp_eagle3_free(h);
    eagle3_recorded_close(&g);
}

/* ---- against a plain search -------------------------------------------------------- */

typedef struct plain {
    spec_token token;
    int32_t parent, node;
    float score;
    bool kept;
    int32_t place;
} plain;

/* Of candidates from..n-1 that are not marked, the best, the older of equal ones; n: none. */
static size_t best_of(const plain *c, size_t from, size_t n, const bool *marked) {
    size_t best = n;
    for (size_t i = from; i < n; i++)
        if (!marked[i] && (best == n || c[i].score > c[best].score)) best = i;
    return best;
}

/* EAGLE-2 as it is told: all beams are run, then all candidates are ranked. */
static void plain_draft(specp_eagle3 *h, specp_eagle3_request *r, size_t k, size_t depth, size_t total,
                        spec_tree *out) {
    plain *c = calloc(k + depth * k * k, sizeof *c);
    bool *marked = calloc(k + depth * k * k, sizeof *marked);
    spec_token token[64];
    float logprob[64];
    size_t n = 0, beam[64], n_beam = 0, begin = 0;
    int32_t nodes = 0;
    spec_tree_clear(out);
    for (size_t level = 0; level <= depth; level++) {
        for (size_t i = 0; i < (level == 0 ? 1 : n_beam); i++) {
            plain *above = level == 0 ? NULL : &c[beam[i]];
            specp_eagle3_node node = {r, level == 0 ? -1 : above->node, level == 0 ? 0 : above->token};
            assert_int_equal(specp_eagle3_run(h, &node, 1, k, token, logprob, NULL), 0);
            for (size_t j = 0; j < k; j++)
                c[n++] = (plain){token[j], level == 0 ? -1 : (int32_t)beam[i],
                                 nodes,    (level == 0 ? 0.0f : above->score) + logprob[j],
                                 false,    -1};
            nodes++;
        }
        memset(marked, 0, n * sizeof *marked);
        for (n_beam = 0; n_beam < k; n_beam++) {
            beam[n_beam] = best_of(c, begin, n, marked);
            marked[beam[n_beam]] = true;
        }
        begin = n;
    }
    memset(marked, 0, n * sizeof *marked);
    for (size_t i = 0; i < total - 1 && i < n; i++) marked[best_of(c, 0, n, marked)] = true;
    for (size_t i = 0; i < n; i++)
        if (marked[i])
            c[i].place = spec_tree_add(out, c[i].parent < 0 ? -1 : c[c[i].parent].place, c[i].token,
                                       expf(c[i].score), SPEC_SOURCE_HEAD);
    specp_eagle3_drop(r);
    free(marked);
    free(c);
}

static void same_tree(const spec_tree *a, const spec_tree *b) {
    assert_int_equal(a->n, b->n);
    for (uint32_t i = 0; i < a->n; i++) {
        assert_int_equal(a->token[i], b->token[i]);
        assert_int_equal(a->parent[i], b->parent[i]);
        assert_true(fabsf(a->prob[i] - b->prob[i]) <= 1e-6f);
    }
}

static eagle3_made random_head(head_world *w) {
    eagle3_made m = eagle3_usual;
    m.norm_before = support_rng_chance(&w->rng, 0.5);
    m.type = support_rng_chance(&w->rng, 0.5) ? SPEC_TYPE_F32 : SPEC_TYPE_BF16;
    m.draft_vocab = 2 + support_rng_below(&w->rng, 40);
    m.sharp = support_rng_chance(&w->rng, 0.7) ? 8.0f : 1.0f;
    return m;
}

static uint32_t below(uint32_t a, uint32_t b) { return a < b ? a : b; }

static void test_search(void **state) {
    head_world *w = *state;
    spec_tree a, b;
    size_t clipped = 0;
    assert_int_equal(spec_tree_init(&a, 80, 0, 0, NULL), 0);
    assert_int_equal(spec_tree_init(&b, 80, 0, 0, NULL), 0);
    for (size_t i = 0; i < 150; i++) {
        eagle3_made m = random_head(w);
        eagle3_make(w->path, &m, &w->rng);
        specp_eagle3_options o = eagle3_options_of(&m, w->team[1]);
        specp_eagle3 *h = eagle3_must_open(w->path, &o);
        specp_eagle3_request *r = eagle3_must_request(h);
        eagle3_text text = eagle3_random_text(&m, 12, &w->rng);
        eagle3_must_extend(h, r, text.taps, text.token, 1 + support_rng_below(&w->rng, 12));
        uint32_t top_k = 1 + support_rng_below(&w->rng, below(6, (uint32_t)m.draft_vocab));
        uint32_t depth = support_rng_below(&w->rng, 6), total = 2 + support_rng_below(&w->rng, 40);
        uint32_t budget = 1 + support_rng_below(&w->rng, 50), max_depth = 1 + support_rng_below(&w->rng, 9);
        specp_eagle3_trees *t = must_trees(h, top_k, depth, total);
        must_draft(t, r, 80, 80, &a);
        plain_draft(h, r, top_k, depth, total, &b);
        same_tree(&a, &b);
        must_draft(t, r, budget, max_depth, &a);
        plain_draft(h, r, top_k, below(depth, max_depth - 1), below(total, budget + 1), &b);
        same_tree(&a, &b);
        for (uint32_t j = 0; j < a.n; j++) assert_true(spec_tree_depth(&a, (int32_t)j) <= max_depth);
        clipped += a.n == budget;
        specp_eagle3_trees_free(t);
        eagle3_text_free(&text);
        specp_eagle3_request_free(r);
        specp_eagle3_free(h);
    }
    assert_true(clipped > 10);
    spec_tree_release(&b, NULL);
    spec_tree_release(&a, NULL);
}

/* ---- requests side by side --------------------------------------------------------- */

static void same_bits(const spec_tree *a, const spec_tree *b) {
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->token, b->token, a->n * sizeof *a->token);
    assert_memory_equal(a->parent, b->parent, a->n * sizeof *a->parent);
    assert_memory_equal(a->prob, b->prob, a->n * sizeof *a->prob);
    assert_memory_equal(&a->score, &b->score, sizeof a->score);
}

static void test_batch(void **state) {
    enum { BATCH = 5 };
    head_world *w = *state;
    eagle3_made m = eagle3_usual;
    m.sharp = 6.0f;
    eagle3_make(w->path, &m, &w->rng);
    specp_eagle3_options o = eagle3_options_of(&m, w->team[1]);
    specp_eagle3 *h = eagle3_must_open(w->path, &o);
    specp_eagle3_trees *t = must_trees(h, 5, 5, 30);
    eagle3_text text = eagle3_random_text(&m, 60, &w->rng);
    specp_eagle3_request *r[BATCH];
    specp_eagle3_job job[BATCH];
    spec_tree together[BATCH], alone;
    assert_int_equal(spec_tree_init(&alone, 40, 0, 0, NULL), 0);
    for (uint32_t i = 0; i < BATCH; i++) {
        r[i] = eagle3_must_request(h);
        if (i != 2) eagle3_must_extend(h, r[i], text.taps + i, text.token + i, 7 + 11 * i); /* 2 has no row */
        assert_int_equal(spec_tree_init(&together[i], i == 1 ? 9 : 40, 0, 0, NULL), 0);
        job[i] = (specp_eagle3_job){r[i], 40 - 5 * i, 1 + 2 * i, &together[i]};
    }
    assert_int_equal(specp_eagle3_draft(t, job, BATCH, NULL), 0);
    assert_int_equal(together[2].n, 0);
    assert_int_equal(together[0].n, 5); /* one level */
    assert_int_equal(together[1].n, 9); /* its room */
    for (size_t i = 0; i < BATCH; i++) {
        must_draft(t, r[i], i == 1 ? 9 : job[i].budget, job[i].max_depth, &alone);
        same_bits(&together[i], &alone);
    }
    specp_eagle3_job turned[BATCH]; /* the other way round, the last one's text longer */
    for (size_t i = 0; i < BATCH; i++) turned[BATCH - 1 - i] = job[i];
    eagle3_must_extend(h, r[4], text.taps, text.token, 3);
    assert_int_equal(specp_eagle3_draft(t, turned, BATCH, NULL), 0);
    for (size_t i = 0; i < BATCH; i++) {
        must_draft(t, r[i], i == 1 ? 9 : job[i].budget, job[i].max_depth, &alone);
        same_bits(&together[i], &alone);
    }
    job[1].request = job[0].request;
    assert_int_equal(specp_eagle3_draft(t, job, 2, NULL), SPEC_ERR_INVALID);
    assert_int_equal(job[0].out->n, 0);
    for (size_t i = 0; i < BATCH; i++) {
        specp_eagle3_request_free(r[i]);
        spec_tree_release(&together[i], NULL);
    }
    spec_tree_release(&alone, NULL);
    eagle3_text_free(&text);
    specp_eagle3_trees_free(t);
    specp_eagle3_free(h);
}

/* ---- what is not run ---------------------------------------------------------------- */

typedef struct counted {
    eagle3_made m;
    size_t n, fail_at;
} counted;

static int count_embedding(void *user, spec_token t, float *out) {
    counted *c = user;
    if (c->n++ == c->fail_at) return SPEC_ERR_IO;
    return eagle3_embedding(&c->m, t, out);
}

static void test_work(void **state) {
    head_world *w = *state;
    counted c = {eagle3_usual, 0, SIZE_MAX};
    spec_tree out;
    c.m.sharp = 20.0f;
    eagle3_make(w->path, &c.m, &w->rng);
    specp_eagle3_options o = eagle3_options_of(&c.m, w->team[1]);
    o.embedding = count_embedding;
    o.user = &c;
    specp_eagle3 *h = eagle3_must_open(w->path, &o);
    specp_eagle3_request *r = eagle3_must_request(h);
    specp_eagle3_trees *t = must_trees(h, 8, 6, 12);
    eagle3_text text = eagle3_random_text(&c.m, 9, &w->rng);
    assert_int_equal(spec_tree_init(&out, 80, 0, 0, NULL), 0);
    eagle3_must_extend(h, r, text.taps, text.token, 9);
    static const struct {
        uint32_t budget, max_depth;
        size_t most;
    } cases[] = {{0, 9, 0}, {9, 0, 0}, {1, 9, 1}, {80, 1, 1}, {11, 2, 9}, {3, 9, 5}, {80, 80, 40}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        c.n = 0;
        must_draft(t, r, cases[i].budget, cases[i].max_depth, &out);
        if (c.n > cases[i].most) fail_msg("case %zu: %zu nodes run", i, c.n);
        assert_int_equal(out.n == 0, cases[i].most == 0);
    }
    printf("  %zu nodes run of 49\n", c.n);
    /* An embedding that fails in any of them: an error, an empty tree, and nothing left of it. */
    spec_tree whole;
    assert_int_equal(spec_tree_init(&whole, 80, 0, 0, NULL), 0);
    c.n = 0;
    must_draft(t, r, 80, 80, &whole);
    for (size_t i = 0, n = c.n; i < n; i += 1 + i / 4) {
        spec_message why = {""};
        specp_eagle3_job job = {r, 80, 80, &out};
        c.n = 0;
        c.fail_at = i;
        assert_int_equal(specp_eagle3_draft(t, &job, 1, &why), SPEC_ERR_IO);
        assert_non_null(strstr(why.text, "no embedding of token"));
        assert_int_equal(out.n, 0);
        c.fail_at = SIZE_MAX;
        must_draft(t, r, 80, 80, &out);
        same_bits(&whole, &out);
    }
    spec_tree_release(&whole, NULL);
    spec_tree_release(&out, NULL);
    eagle3_text_free(&text);
    specp_eagle3_trees_free(t);
    specp_eagle3_request_free(r);
    specp_eagle3_free(h);
}

/* ---- ties, and what is not finite ---------------------------------------------------- */

static void test_ties(void **state) {
    head_world *w = *state;
    eagle3_made m = eagle3_usual;
    spec_tree a, b;
    assert_int_equal(spec_tree_init(&a, 40, 0, 0, NULL), 0);
    assert_int_equal(spec_tree_init(&b, 40, 0, 0, NULL), 0);
    m.flat = true;
    eagle3_make(w->path, &m, &w->rng);
    specp_eagle3_options o = eagle3_options_of(&m, w->team[1]);
    specp_eagle3 *h = eagle3_must_open(w->path, &o);
    specp_eagle3_request *r = eagle3_must_request(h);
    specp_eagle3_trees *t = must_trees(h, 4, 3, 31);
    eagle3_text text = eagle3_random_text(&m, 4, &w->rng);
    eagle3_must_extend(h, r, text.taps, text.token, 4);
    must_draft(t, r, 40, 40, &a);
    plain_draft(h, r, 4, 3, 31, &b);
    same_tree(&a, &b);
    for (int32_t i = 0; i < 4; i++) assert_int_equal(a.token[i], specp_eagle3_target_token(h, (size_t)i));
    /* A feature that is not finite: no draft of that request, the other's is as ever. */
    static const float bad[] = {(float)NAN, (float)INFINITY, -(float)INFINITY};
    specp_eagle3_request *other = eagle3_must_request(h);
    for (size_t i = 0; i < 3; i++) {
        text.taps[5] = bad[i];
        specp_eagle3_request_clear(other);
        eagle3_must_extend(h, other, text.taps, text.token, 1);
        specp_eagle3_job job[] = {{other, 40, 40, &b}, {r, 40, 40, &a}};
        assert_int_equal(specp_eagle3_draft(t, job, 2, NULL), 0);
        assert_int_equal(b.n, 0);
        assert_int_equal(a.n, 30);
        specp_eagle3_node root = {other, -1, 0};
        float logprob[37];
        spec_token token[37];
        assert_int_equal(specp_eagle3_run(h, &root, 1, 37, token, logprob, NULL), 0);
        for (size_t j = 0; j < 37; j++) assert_true(logprob[j] == -INFINITY && token[j] >= 0);
    }
    specp_eagle3_request_free(other);
    eagle3_text_free(&text);
    specp_eagle3_trees_free(t);
    specp_eagle3_request_free(r);
    specp_eagle3_free(h);
    spec_tree_release(&b, NULL);
    spec_tree_release(&a, NULL);
}

/* ---- options and memory ---------------------------------------------------------------- */

static void test_options(void **state) {
    head_world *w = *state;
    static const specp_eagle3_tree_options bad[] = {
        {0, 3, 12}, {65, 3, 12}, {4, 33, 12}, {4, 3, 1}, {4, 3, 4098}};
    eagle3_made m = eagle3_usual;
    m.draft_vocab = 3;
    eagle3_make(w->path, &m, &w->rng);
    specp_eagle3_options o = eagle3_options_of(&m, w->team[1]);
    specp_eagle3 *h = eagle3_must_open(w->path, &o);
    specp_eagle3_trees *t = NULL;
    spec_tree out;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spec_message why = {""};
        assert_int_equal(specp_eagle3_trees_new(&t, h, &bad[i], NULL, &why), SPEC_ERR_INVALID);
        assert_non_null(strstr(why.text, "expected 1 to 64, 0 to 32, 2 to 4097"));
        assert_null(t);
    }
    t = must_trees(h, 64, 32, 4097); /* the largest, of what the vocabulary has */
    specp_eagle3_request *r = eagle3_must_request(h);
    eagle3_text text = eagle3_random_text(&m, 4, &w->rng);
    eagle3_must_extend(h, r, text.taps, text.token, 4);
    assert_int_equal(spec_tree_init(&out, SPEC_TREE_MAX_NODES, 0, 0, NULL), 0);
    must_draft(t, r, SPEC_TREE_MAX_NODES, 40, &out);
    assert_int_equal(out.n, 3 + 32 * 9);
    assert_int_equal(spec_tree_depth(&out, (int32_t)out.n - 1), 33);
    spec_tree_release(&out, NULL);
    eagle3_text_free(&text);
    specp_eagle3_request_free(r);
    specp_eagle3_trees_free(t);
    specp_eagle3_trees_free(NULL);
    specp_eagle3_free(h);
}

/* Every allocation of a life refused in turn, then the life goes on. */
static void test_memory(void **state) {
    head_world *w = *state;
    eagle3_made m = eagle3_usual;
    eagle3_make(w->path, &m, &w->rng);
    specp_eagle3_options o = eagle3_options_of(&m, w->team[1]);
    eagle3_text text = eagle3_random_text(&m, 600, &w->rng);
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator a = support_alloc(&heap);
    specp_eagle3 *h = NULL;
    specp_eagle3_tree_options to = {4, 3, 12};
    spec_tree want, out;
    assert_int_equal(spec_tree_init(&want, 20, 0, 0, NULL), 0);
    assert_int_equal(spec_tree_init(&out, 20, 0, 0, NULL), 0);
    assert_int_equal(specp_eagle3_open(&h, w->path, &o, &a, NULL), 0);
    size_t k = 0, refusals = 0;
    for (bool done = false; !done; k++) {
        specp_eagle3_request *r[2] = {NULL, NULL};
        specp_eagle3_trees *t = NULL;
        specp_eagle3_rows rows[2] = {{NULL, 600, text.taps, NULL, text.token},
                                     {NULL, 5, text.taps, NULL, text.token}};
        size_t before = heap.live_blocks, failed = 0;
        support_heap_refuse(&heap, k, false);
        for (size_t i = 0; i < 2; i++) {
            while (specp_eagle3_request_new(&r[i], h, 4096) == SPEC_ERR_NOMEM) failed++;
            rows[i].request = r[i];
        }
        while (specp_eagle3_trees_new(&t, h, &to, &a, NULL) == SPEC_ERR_NOMEM) failed++;
        for (int err = SPEC_ERR_NOMEM; err != SPEC_OK;) {
            spec_message why = {""};
            err = specp_eagle3_extend(h, rows, 2, &why);
            if (err == SPEC_OK) break;
            failed++;
            assert_int_equal(err, SPEC_ERR_NOMEM);
            assert_non_null(strstr(why.text, "memory"));
            assert_int_equal(specp_eagle3_request_length(r[0]) + specp_eagle3_request_length(r[1]), 0);
        }
        specp_eagle3_job job[] = {{r[0], 20, 20, k == 0 ? &want : &out}, {r[1], 20, 20, &out}};
        for (int err = SPEC_ERR_NOMEM; err != SPEC_OK;) {
            err = specp_eagle3_draft(t, job, 1, NULL);
            failed += err != SPEC_OK;
            if (err != SPEC_OK) assert_int_equal(err, SPEC_ERR_NOMEM);
            if (err != SPEC_OK) assert_int_equal(job[0].out->n, 0);
        }
        if (k > 0) same_bits(&want, &out);
        for (int err = SPEC_ERR_NOMEM; err != SPEC_OK; failed += err != SPEC_OK)
            err = specp_eagle3_draft(t, job + 1, 1, NULL);
        assert_int_equal(failed, heap.refused);
        refusals += failed;
        done = failed == 0;
        support_heap_refuse(&heap, SIZE_MAX, false);
        specp_eagle3_trees_free(t);
        specp_eagle3_request_free(r[1]);
        specp_eagle3_request_free(r[0]);
        assert_true(heap.live_blocks <= before + 1); /* the head keeps its room for attention */
    }
    printf("  %zu refusals\n", refusals);
    assert_true(refusals >= 15);
    specp_eagle3_free(h);
    support_heap_assert_clean(&heap);
    spec_tree_release(&out, NULL);
    spec_tree_release(&want, NULL);
    eagle3_text_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded), cmocka_unit_test(test_search), cmocka_unit_test(test_batch),
        cmocka_unit_test(test_work),     cmocka_unit_test(test_ties),   cmocka_unit_test(test_options),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, head_world_set_up, head_world_tear_down);
}

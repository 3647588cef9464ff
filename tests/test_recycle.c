/* SPDX-License-Identifier: MIT */
/*
 * recycle against brute force: a matrix that is a list of all that was ever said,
 * and a template made by ranking every path there is. Then faulty outcomes, tenants,
 * the bound on memory, refused allocations, and whether probabilities come true.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "drafting.h"
#include "spec_drafter.h"

#define K     8
#define ROOM  200
#define VOCAB 600

static const double assumed[K] = {0.40, 0.14, 0.08, 0.05, 0.035, 0.03, 0.02, 0.015};

/* ---- the template, by brute force -------------------------------------------------- */

#define DEPTH 4 /* of the templates compared: 8 + 64 + 512 + 4096 paths */

typedef struct path {
    uint8_t rank[DEPTH], depth;
} path;

static double reach(const path *p, int depth) {
    double prob = 1;
    for (int i = 0; i < depth; i++) prob *= assumed[p->rank[i]];
    return prob;
}

/* The likelier first; of equals the one whose parent comes first. */
static int better_first(const void *a, const void *b) {
    const path *x = a, *y = b;
    for (int i = x->depth, k = y->depth; i >= 0 && k >= 0; i--, k--)
        if (reach(x, i) != reach(y, k)) return reach(x, i) > reach(y, k) ? -1 : 1;
    return 0;
}

/* Every path up to DEPTH. */
static size_t make_paths(path *list) {
    size_t n = 0;
    for (unsigned code = 0; code < 9 * 9 * 9 * 9; code++) { /* digits of base 9: 0 ends, r + 1 is rank r */
        path p = {.depth = 0};
        unsigned rest = code;
        for (; rest % 9; rest /= 9) p.rank[p.depth++] = (uint8_t)(rest % 9 - 1);
        if (p.depth && !rest) list[n++] = p;
    }
    return n;
}

/* ---- the matrix, by brute force ------------------------------------------------------ */

typedef struct world {
    spec_token row[VOCAB][K]; /* -1: nothing */
    uint32_t tries, hits[K];
    spec_token text[3000];
    size_t n;
} world;

static void world_init(world *w) {
    memset(w, 0, sizeof *w);
    memset(w->row, 0xff, sizeof w->row);
}

static void world_write(world *w, spec_token token, const spec_token *candidate, uint32_t n) {
    spec_token next[K];
    int used = 0;
    for (uint32_t i = 0; i < n && used < K; i++) {
        bool seen = candidate[i] < 0;
        for (int k = 0; k < used; k++) seen = seen || next[k] == candidate[i];
        if (!seen) next[used++] = candidate[i];
    }
    if (token < 0 || !used) return;
    memset(w->row[token], 0xff, sizeof w->row[token]);
    memcpy(w->row[token], next, (size_t)used * sizeof *next);
}

/* What the drafter should have learnt of an outcome. */
static void world_observe(world *w, const spec_outcome *o) {
    for (size_t i = 0; i < o->n_committed; i++) {
        spec_token before = i ? o->committed[i - 1] : w->n ? w->text[w->n - 1] : -1;
        if (before < 0 || w->row[before][0] < 0) continue;
        if (w->tries == 4096) {
            w->tries /= 2;
            for (int k = 0; k < K; k++) w->hits[k] /= 2;
        }
        w->tries++;
        for (int k = 0; k < K; k++) w->hits[k] += w->row[before][k] == o->committed[i];
    }
    for (int accepted = 0; accepted < 2; accepted++)
        for (size_t i = 0; i < o->n_rows && o->top_k; i++) {
            spec_token token;
            if (o->tree)
                token = i ? o->tree->token[i - 1] : w->n ? w->text[w->n - 1] : -1;
            else
                token = o->n_rows - i <= w->n ? w->text[w->n - (o->n_rows - i)] : -1;
            bool of_text = !o->tree || i == 0 || o->accepted[i - 1];
            if (of_text == (accepted == 1)) world_write(w, token, o->topk_token + i * o->top_k, o->top_k);
        }
    memcpy(w->text + w->n, o->committed, o->n_committed * sizeof *w->text);
    w->n += o->n_committed;
}

/* The token that a path leads to, or -1. */
static spec_token follow(const world *w, const path *p) {
    spec_token at = w->n ? w->text[w->n - 1] : -1;
    for (int i = 0; i < p->depth && at >= 0; i++) at = w->row[at][p->rank[i]];
    return at;
}

/* Whether node i of a draft is the end of a path. */
static bool at_node(const world *w, const path *p, const spec_tree *t, int32_t i) {
    for (int k = p->depth - 1; k >= 0; k--, i = t->parent[i]) {
        path part = *p;
        part.depth = (uint8_t)(k + 1);
        if (i < 0 || t->token[i] != follow(w, &part)) return false;
    }
    return i < 0;
}

typedef struct limits {
    uint32_t nodes, depth, budget, max_depth;
} limits;

/* The draft holds the paths that can be followed, of the template's best, and no more. */
static void assert_draft(const world *w, const path *list, const limits *l, const spec_tree *t) {
    uint32_t n = 0, taken = 0;
    double score = 0;
    for (size_t i = 0; taken < l->nodes && n < l->budget; i++) {
        if (list[i].depth > l->depth) continue;
        taken++;
        if (list[i].depth > l->max_depth || follow(w, &list[i]) < 0) continue;
        assert_true(n < t->n);
        assert_true(at_node(w, &list[i], t, (int32_t)n));
        double prob = 1;
        for (int k = 0; k < list[i].depth; k++)
            prob *= (w->hits[list[i].rank[k]] + 16 * assumed[list[i].rank[k]]) / (w->tries + 16.0);
        assert_float_equal(t->prob[n], prob, 1e-5);
        assert_int_equal(t->source[n], SPEC_SOURCE_RECYCLE);
        score += prob;
        n++;
    }
    assert_int_equal(t->n, n);
    assert_int_equal(t->match_len, n > 0);
    assert_float_equal(t->score, score, 1e-4);
    assert_int_equal(spec_tree_check(t, NULL), 0);
}

/* ---- random outcomes -------------------------------------------------------------------- */

typedef struct step {
    spec_token committed[40], topk[(ROOM + 1) * 12];
    float logprob[(ROOM + 1) * 12];
    uint8_t accepted[ROOM];
    spec_outcome o;
} step;

/* An outcome as an engine might report it, and also faulty ones: equal and negative
 * candidates, rows of more or fewer columns, accepted nodes that are no path. */
static void make_step(support_rng *r, const spec_tree *t, size_t n_text, step *s) {
    bool drafted = support_rng_chance(r, 0.8), faulty = support_rng_chance(r, 0.2);
    memset(s, 0, sizeof *s);
    s->o = (spec_outcome){.size = sizeof s->o, .committed = s->committed, .tree = drafted ? t : NULL};
    s->o.n_committed = support_rng_below(r, 6);
    s->o.accepted = s->accepted;
    s->o.n_rows = drafted ? t->n + 1 : support_rng_below(r, 20);
    if (!drafted && s->o.n_rows > n_text && !faulty) s->o.n_rows = n_text;
    s->o.top_k = support_rng_chance(r, 0.8) ? K : support_rng_below(r, 13);
    s->o.topk_token = s->topk;
    s->o.topk_logprob = s->logprob;
    for (size_t i = 0; i < s->o.n_committed; i++) s->committed[i] = (spec_token)support_rng_below(r, 40);
    for (uint32_t i = 0; i < t->n; i++) s->accepted[i] = support_rng_chance(r, 0.2);
    for (size_t i = 0; i < s->o.n_rows; i++)
        for (uint32_t k = 0; k < s->o.top_k; k++) {
            spec_token *c = &s->topk[i * s->o.top_k + k];
            *c = (spec_token)((support_rng_below(r, 4) + 5 * k) % 40);
            if (faulty) *c = (spec_token)support_rng_below(r, 20) - 10;
        }
}

static void play(support_rng *r, spec_drafter *d, world *w, const path *list, limits l) {
    spec_token prompt[10];
    size_t n_prompt = support_rng_below(r, 10);
    for (size_t i = 0; i < n_prompt; i++) prompt[i] = (spec_token)support_rng_below(r, 40);
    memcpy(w->text, prompt, sizeof prompt);
    w->n = n_prompt;
    spec_request *q = drafting_begin(d, 3, prompt, n_prompt);
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, ROOM, 0, 0, NULL), 0);
    for (int i = 0; i < 150; i++) {
        step s;
        l.budget = 1 + support_rng_below(r, ROOM);
        l.max_depth = 1 + support_rng_below(r, 6);
        spec_propose_args a = {.size = sizeof a, .budget = l.budget, .max_depth = l.max_depth};
        assert_int_equal(spec_request_propose(q, &a, &t), 0);
        assert_draft(w, list, &l, &t);
        make_step(r, &t, w->n, &s);
        assert_int_equal(spec_request_observe(q, &s.o), 0);
        world_observe(w, &s.o);
    }
    spec_request_end(q);
    spec_tree_release(&t, NULL);
}

static void test_drafts_equal_brute_force(void **state) {
    (void)state;
    static const limits forms[] = {{.nodes = 80, .depth = 3},
                                   {.nodes = 7, .depth = 4},
                                   {.nodes = 200, .depth = 2},
                                   {.nodes = 1, .depth = 1}};
    support_rng r = support_rng_new(support_seed(), 90);
    path *list = malloc(5000 * sizeof *list);
    qsort(list, make_paths(list), sizeof *list, better_first);
    for (int i = 0; i < 16; i++) {
        char spec[64];
        limits l = forms[i % 4];
        bool shared = i < 12;
        snprintf(spec, sizeof spec, "recycle:nodes=%u,depth=%u,shared=%d", l.nodes, l.depth, shared);
        if (l.depth == 2) l.nodes = 72; /* there are no more paths */
        spec_drafter *d = drafting_open(spec, NULL);
        world w;
        world_init(&w);
        for (int k = 0; k < 6; k++) {
            if (!shared) world_init(&w);
            play(&r, d, &w, list, l);
        }
        spec_drafter_stats s;
        spec_drafter_get_stats(d, &s);
        size_t rows = 0;
        for (int k = 0; k < VOCAB; k++) rows += w.row[k][0] >= 0;
        assert_int_equal(s.index_tokens, shared ? rows : 0);
        assert_true(rows > 5);
        spec_drafter_free(d);
    }
    free(list);
}

/* ---- by hand -------------------------------------------------------------------------- */

/* Tells a request that n candidates are likely after its last token and after each
 * node of a rejected draft (NULL: none), and commits a token. */
static int tell_all(spec_request *q, const spec_tree *t, const spec_token *candidate, uint32_t n,
                    spec_token committed) {
    spec_token topk[(ROOM + 1) * K];
    float logprob[(ROOM + 1) * K] = {0};
    uint8_t accepted[ROOM] = {0};
    spec_outcome o = {.size = sizeof o,
                      .committed = &committed,
                      .n_committed = 1,
                      .tree = t,
                      .accepted = accepted,
                      .n_rows = t ? t->n + 1 : 1,
                      .top_k = n,
                      .topk_token = topk,
                      .topk_logprob = logprob};
    for (size_t i = 0; i < o.n_rows; i++) memcpy(topk + i * n, candidate, n * sizeof *topk);
    return spec_request_observe(q, &o);
}

static int tell(spec_request *q, const spec_token *candidate, uint32_t n, spec_token committed) {
    return tell_all(q, NULL, candidate, n, committed);
}

/* How many nodes a new request is told after a token. */
static uint32_t told(spec_drafter *d, uint64_t tenant, spec_token after) {
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, ROOM, 0, 0, NULL), 0);
    drafting_ask(d, tenant, &after, 1, &t);
    uint32_t n = t.n;
    spec_tree_release(&t, NULL);
    return n;
}

static void teach(spec_drafter *d, uint64_t tenant, spec_token token, spec_token next) {
    spec_request *q = drafting_begin(d, tenant, &token, 1);
    assert_int_equal(tell(q, &next, 1, next), 0);
    spec_request_end(q);
}

static void test_needs_rows(void **state) {
    (void)state;
    spec_drafter *d = drafting_open("recycle", NULL);
    spec_needs needs;
    spec_drafter_needs(d, &needs);
    assert_int_equal(needs.top_k, K);
    assert_int_equal(needs.n_taps, 0);
    const spec_token text[] = {1, 2, 1, 2, 1, 2, 1, 2};
    drafting_say(d, 1, text, 8);
    assert_int_equal(told(d, 1, 1), 0); /* no rows came */
    teach(d, 1, 1, 2);
    assert_int_equal(told(d, 1, 1), 1);
    spec_drafter_free(d);
}

static void test_default_template(void **state) {
    (void)state;
    spec_drafter *d = drafting_open("recycle", NULL);
    const spec_token self[K] = {0, 1, 2, 3, 4, 5, 6, 7};
    spec_token token = 0;
    spec_request *q = drafting_begin(d, 0, &token, 1);
    for (token = 1; token < K; token++) assert_int_equal(tell(q, self, K, token), 0);
    assert_int_equal(tell(q, self, K, 0), 0);
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, ROOM, 0, 0, NULL), 0);
    assert_int_equal(spec_request_propose(q, NULL, &t), 0);
    uint32_t deep[8] = {0};
    for (uint32_t i = 0; i < t.n; i++) deep[spec_tree_depth(&t, (int32_t)i)]++;
    static const uint32_t expected[] = {0, 8, 27, 25, 13, 6, 1, 0};
    assert_int_equal(t.n, 80);
    assert_memory_equal(deep, expected, sizeof deep);
    spec_tree_release(&t, NULL);
    spec_request_end(q);
    spec_drafter_free(d);
}

/* ---- tenants and memory ------------------------------------------------------------------ */

static void test_tenants(void **state) {
    (void)state;
    spec_drafter *d = drafting_open("recycle", NULL);
    teach(d, 1, 5, 6);
    assert_int_equal(told(d, 1, 5), 1);
    assert_int_equal(told(d, 2, 5), 0);
    spec_drafter_free(d);
    d = drafting_open("recycle:cross_tenant=1", NULL);
    teach(d, 1, 5, 6);
    assert_int_equal(told(d, 2, 5), 1);
    spec_drafter_free(d);
    d = drafting_open("recycle:shared=0", NULL);
    teach(d, 1, 5, 6);
    assert_int_equal(told(d, 1, 5), 0);
    spec_drafter_free(d);
}

/* With one place for tenants: the second works alone, then takes the place over. */
static void test_tenants_without_a_place(void **state) {
    (void)state;
    const spec_token five = 5, six[2] = {6, 5};
    spec_drafter_stats s;
    spec_drafter *d = drafting_open("recycle:tenants=1", NULL);
    spec_request *first = drafting_begin(d, 1, &five, 1), *second = drafting_begin(d, 2, &five, 1);
    assert_int_equal(tell(second, six, 2, 5), 0);
    spec_drafter_get_stats(d, &s);
    assert_int_equal(s.index_tokens, 0);
    assert_int_equal(told(d, 1, 5), 0);
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, ROOM, 0, 0, NULL), 0);
    assert_int_equal(spec_request_propose(second, NULL, &t), 0);
    assert_true(t.n >= 2);
    spec_tree_release(&t, NULL);
    spec_request_end(second);
    assert_int_equal(tell(first, six, 2, 5), 0);
    spec_request_end(first);
    assert_true(told(d, 1, 5) > 0);
    assert_int_equal(told(d, 2, 5), 0); /* which forgets tenant 1 */
    spec_drafter_get_stats(d, &s);
    assert_int_equal(s.index_tokens, 0);
    assert_int_equal(told(d, 1, 5), 0);
    spec_drafter_free(d);
}

/* A megabyte has room for 32768 rows: larger tokens are drafted, not learnt. */
static void test_memory_is_bounded(void **state) {
    (void)state;
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator a = support_alloc(&heap);
    spec_drafter *d = drafting_open("recycle:size_mb=1", &a);
    spec_drafter_stats s;
    teach(d, 1, 32768, 1);
    teach(d, 1, INT32_MAX, 1);
    assert_int_equal(told(d, 1, 32768), 0);
    teach(d, 1, 32767, INT32_MAX);
    assert_int_equal(told(d, 1, 32767), 1);
    for (spec_token token = 0; token < 70000; token += 100) teach(d, 1, token, INT32_MAX);
    spec_drafter_get_stats(d, &s);
    assert_int_equal(s.index_tokens, 1 + 328);
    assert_true(s.index_bytes <= heap.live_bytes && s.index_bytes > (1 << 20));
    assert_true(heap.peak_bytes < (1 << 20) + 100000);
    spec_drafter_free(d);
    support_heap_assert_clean(&heap);
}

/* ---- refused memory ------------------------------------------------------------------------ */

/* Whether the call has to be repeated; from then on nothing is refused. */
static bool repeat(support_heap *heap, int err) {
    if (!err) return false;
    assert_int_equal(err, SPEC_ERR_NOMEM);
    assert_int_equal(heap->refused, 1);
    support_heap_refuse(heap, SIZE_MAX, false);
    return true;
}

/* Plays 60 steps, refusing request k for memory; what the drafts were worth in `scores`. */
static size_t play_refused(const char *spec, size_t k, float scores[60]) {
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator a = support_alloc(&heap);
    spec_drafter *d = NULL;
    spec_request *q = NULL;
    spec_tree t;
    const spec_token start = 7;
    const spec_request_info info = {.size = sizeof info, .prompt = &start, .n_prompt = 1};
    assert_int_equal(spec_tree_init(&t, ROOM, 0, 0, NULL), 0);
    support_heap_refuse(&heap, k, false);
    while (repeat(&heap, spec_drafter_open(&d, spec, &a, NULL))) assert_null(d);
    while (repeat(&heap, spec_request_begin(d, &info, &q))) assert_null(q);
    for (int i = 0; i < 60; i++) {
        const spec_token next[2] = {(i + 1) * 300, 7};
        while (repeat(&heap, spec_request_propose(q, NULL, &t))) continue;
        scores[i] = t.score;
        while (repeat(&heap, tell_all(q, &t, next, 2, i % 3 ? next[0] : 7))) continue;
    }
    size_t requests = heap.requests;
    if (k < SIZE_MAX) assert_int_equal(heap.refused + (heap.refuse_at == SIZE_MAX), 1);
    spec_request_end(q);
    spec_drafter_free(d);
    spec_tree_release(&t, NULL);
    support_heap_assert_clean(&heap);
    return requests;
}

static void test_refusals_change_nothing(void **state) {
    (void)state;
    static const char *const specs[] = {"recycle", "recycle:shared=0,size_mb=1"};
    for (int i = 0; i < 2; i++) {
        float whole[60], scores[60];
        size_t requests = play_refused(specs[i], SIZE_MAX, whole);
        assert_true(requests > 20);
        for (size_t k = 0; k < requests; k++) {
            play_refused(specs[i], k, scores);
            assert_memory_equal(scores, whole, sizeof whole);
        }
    }
}

/* ---- calibration ---------------------------------------------------------------------------- */

/* The probability of the token at a rank of row {1, 2, 3}, as a draft has it now. */
static float prob_of(spec_request *q, spec_token token) {
    spec_tree t;
    assert_int_equal(spec_tree_init(&t, ROOM, 0, 0, NULL), 0);
    assert_int_equal(spec_request_propose(q, NULL, &t), 0);
    int32_t node = spec_tree_child(&t, -1, token);
    assert_true(node >= 0);
    float prob = t.prob[node];
    spec_tree_release(&t, NULL);
    return prob;
}

/* Half of the text's tokens are at the third rank: the node says so. Later none is, and
 * that is noticed. */
static void test_probabilities_come_true(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 91);
    const spec_token next[3] = {1, 2, 3}, zero = 0;
    spec_drafter *d = drafting_open("recycle", NULL);
    spec_request *q = drafting_begin(d, 1, &zero, 1);
    for (int i = 0; i < 9000; i++) assert_int_equal(tell(q, next, 3, support_rng_chance(&r, 0.5) ? 3 : 1), 0);
    assert_float_equal(prob_of(q, 1), 0.5, 0.05);
    assert_float_equal(prob_of(q, 2), 0, 0.01);
    assert_float_equal(prob_of(q, 3), 0.5, 0.05);
    for (int i = 0; i < 9000; i++) assert_int_equal(tell(q, next, 3, 1), 0);
    assert_float_equal(prob_of(q, 3), 0, 0.05);
    spec_request_end(q);
    spec_drafter_free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drafts_equal_brute_force), cmocka_unit_test(test_needs_rows),
        cmocka_unit_test(test_default_template),         cmocka_unit_test(test_tenants),
        cmocka_unit_test(test_tenants_without_a_place),  cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_refusals_change_nothing),  cmocka_unit_test(test_probabilities_come_true),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

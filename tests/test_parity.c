/* SPDX-License-Identifier: MIT */
/*
 * The arctic preset against recorded drafts of the reference implementation,
 * step by step (../shared/golden/suffix; its README has the semantics).
 *
 * Where the record says tie = 0 everything must be equal. Where it says 1 the
 * order of equal counts, which in the reference depends on history, may show:
 * a tree draft must still agree in match length, score and sorted
 * probabilities; a path must be a greedy walk, each token a most frequent
 * child, in indexes kept beside the drafter.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "spec_drafter.h"
#include "spec_index.h"
#include "support.h"
#include "trace.h"

#define CAP 64

typedef struct golden_step {
    size_t req, pos;
    bool shared, tie;
    uint32_t match_len;
    float score;
    size_t n;
    spec_token token[CAP];
    int32_t parent[CAP];
    float prob[CAP];
} golden_step;

typedef struct parity {
    bool tree;
    const char *drafter;
    trace t;
    spec_drafter *d;
    spec_request *r;
    spec_tree draft;
    size_t req, pos, steps, ties;
    /* the same text in indexes of the test's own, to judge walks by */
    spec_index *own, *shared;
    spec_seq own_seq, shared_seq;
    size_t max_requests;
} parity;

/* ---- reading ------------------------------------------------------------ */

static json_int_t number(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

static void read_step(const char *line, golden_step *g) {
    json_t *o = json_loads(line, 0, NULL);
    assert_non_null(o);
    memset(g, 0, sizeof *g);
    g->req = (size_t)number(o, "req");
    g->pos = (size_t)number(o, "pos");
    g->match_len = (uint32_t)number(o, "match_len");
    g->tie = number(o, "tie") != 0;
    g->score = (float)json_number_value(json_object_get(o, "score"));
    g->shared = strcmp(json_string_value(json_object_get(o, "src")), "global") == 0;
    const json_t *token = json_object_get(o, "token_ids"), *parent = json_object_get(o, "parents");
    const json_t *prob = json_object_get(o, "probs");
    g->n = json_array_size(token);
    assert_in_range(g->n, 0, CAP);
    for (size_t i = 0; i < g->n; i++) {
        g->token[i] = (spec_token)json_integer_value(json_array_get(token, i));
        g->parent[i] = (int32_t)json_integer_value(json_array_get(parent, i));
        g->prob[i] = (float)json_number_value(json_array_get(prob, i));
    }
    json_decref(o);
}

/* ---- following the record ------------------------------------------------- */

static const spec_token *text_at(const parity *p, size_t pos) {
    const trace_request *q = &p->t.req[p->req];
    return pos < q->n_prompt ? q->prompt + pos : q->response + (pos - q->n_prompt);
}

static size_t text_length(const parity *p) { return p->t.req[p->req].n_prompt + p->t.req[p->req].n_response; }

static void commit_to(parity *p, size_t pos) {
    if (pos == p->pos) return;
    const spec_token *tok = text_at(p, p->pos);
    size_t n = pos - p->pos;
    assert_int_equal(spec_request_commit(p->r, tok, n), 0);
    assert_int_equal(spec_index_append(p->own, p->own_seq, tok, n), 0);
    int err = spec_index_append(p->shared, p->shared_seq, tok, n);
    assert_true(err == 0 || err == SPEC_ERR_NOT_FOUND); /* evicted: no more */
    p->pos = pos;
}

static void close_request(parity *p) {
    if (!p->r) return;
    commit_to(p, text_length(p));
    spec_request_end(p->r);
    spec_index_free(p->own);
    p->r = NULL;
}

static void keep_newest(parity *p) {
    spec_index_stats s;
    for (;;) {
        spec_seq oldest;
        assert_int_equal(spec_index_get_stats(p->shared, &s), 0);
        if (!p->max_requests || s.sequences <= p->max_requests) return;
        assert_int_equal(spec_index_next_seq(p->shared, 0, &oldest), 0);
        assert_int_equal(spec_index_remove(p->shared, oldest), 0);
    }
}

static void open_request(parity *p, size_t req) {
    const trace_request *q = &p->t.req[req];
    spec_request_info info = {.size = sizeof info, .prompt = q->prompt, .n_prompt = q->n_prompt};
    p->req = req;
    p->pos = q->n_prompt;
    assert_int_equal(spec_request_begin(p->d, &info, &p->r), 0);
    assert_int_equal(spec_index_new(&p->own, NULL), 0);
    assert_int_equal(spec_index_begin(p->own, &p->own_seq), 0);
    assert_int_equal(spec_index_append(p->own, p->own_seq, q->prompt, q->n_prompt), 0);
    assert_int_equal(spec_index_begin(p->shared, &p->shared_seq), 0);
    keep_newest(p);
}

/* ---- comparing ------------------------------------------------------------ */

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static bool same_probs(const spec_tree *t, const golden_step *g) {
    float a[CAP], b[CAP];
    memcpy(a, t->prob, g->n * sizeof *a);
    memcpy(b, g->prob, g->n * sizeof *b);
    qsort(a, g->n, sizeof *a, by_value);
    qsort(b, g->n, sizeof *b, by_value);
    return memcmp(a, b, g->n * sizeof *a) == 0;
}

/* Node `at` of the draft carries the record's node i, by path and probability. */
static bool has_node(const spec_tree *t, const golden_step *g, size_t i, int32_t *place) {
    int32_t parent = g->parent[i] < 0 ? -1 : place[g->parent[i]];
    place[i] = spec_tree_child(t, parent, g->token[i]);
    return place[i] >= 0 && t->prob[place[i]] == g->prob[i];
}

static bool same_nodes(const spec_tree *t, const golden_step *g) {
    int32_t place[CAP];
    for (size_t i = 0; i < g->n; i++)
        if (!has_node(t, g, i, place)) return false;
    return true;
}

/* The chosen match, looked up in the test's own index. */
static spec_locus locus_of(const parity *p, const spec_index *x, uint32_t match_len) {
    spec_locus at = spec_index_root(x);
    for (size_t i = p->pos - match_len; i < p->pos; i++) at = spec_index_child(x, at, *text_at(p, i));
    return at;
}

static bool greedy_walk(const parity *p) {
    const spec_tree *t = &p->draft;
    const spec_index *x = t->n && t->source[0] == SPEC_SOURCE_SHARED ? p->shared : p->own;
    spec_locus at = locus_of(p, x, t->match_len);
    for (uint32_t i = 0; i < t->n; i++) {
        spec_child best;
        if (t->parent[i] != (int32_t)i - 1 || !spec_index_children(x, at, 0, 1, &best)) return false;
        at = spec_index_child(x, at, t->token[i]);
        if (at.count != best.locus.count) return false;
    }
    return true;
}

static bool agrees(const parity *p, const golden_step *g) {
    const spec_tree *t = &p->draft;
    if (g->tie && !p->tree) return greedy_walk(p);
    bool whole = t->n == g->n && t->match_len == g->match_len && t->score == g->score && same_probs(t, g);
    if (g->tie || !whole) return whole;
    return same_nodes(t, g) && (g->n == 0 || (t->source[0] == SPEC_SOURCE_SHARED) == g->shared);
}

static void step(parity *p, const golden_step *g) {
    if (p->r && p->req != g->req) close_request(p);
    if (!p->r) open_request(p, g->req);
    commit_to(p, g->pos);
    spec_propose_args args = {.size = sizeof args, .budget = CAP};
    assert_int_equal(spec_request_propose(p->r, &args, &p->draft), 0);
    if (!agrees(p, g))
        fail_msg(
            "%s request %zu position %zu: drafted %u nodes, score %.9g, match %u; recorded %zu, %.9g, %u%s",
            p->drafter, g->req, g->pos, p->draft.n, (double)p->draft.score, p->draft.match_len, g->n,
            (double)g->score, g->match_len, g->tie ? " (tie)" : "");
    p->steps++;
    p->ties += g->tie;
}

/* ---- the files ------------------------------------------------------------ */

static void follow(const char *name, const char *trace_name, bool tree, size_t max_requests) {
    char golden[256], recorded[256], relative[128];
    snprintf(relative, sizeof relative, "golden/suffix/detail_%s_%s.jsonl", name, tree ? "tree" : "path");
    bool have = support_shared(relative, golden, sizeof golden);
    snprintf(relative, sizeof relative, "traces/%s.jsonl", trace_name);
    if (!have || !support_shared(relative, recorded, sizeof recorded)) SUPPORT_SKIP_NO_SHARED();

    parity p = {.tree = tree, .max_requests = max_requests};
    char drafter[80];
    snprintf(drafter, sizeof drafter, "suffix:preset=arctic,tree=%d,max_requests=%d", tree,
             max_requests ? (int)max_requests : -1);
    p.drafter = drafter;
    assert_int_equal(trace_load(&p.t, recorded, false, NULL), 0);
    assert_int_equal(spec_drafter_open(&p.d, drafter, NULL, NULL), 0);
    assert_int_equal(spec_tree_init(&p.draft, CAP, 0, 0, NULL), 0);
    assert_int_equal(spec_index_new(&p.shared, NULL), 0);
    size_t n;
    char *all = support_read_file(golden, &n);
    golden_step g;
    for (char *line = all, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        *end = 0;
        read_step(line, &g);
        step(&p, &g);
    }
    close_request(&p);
    print_message("%s %s: %zu steps agree, %zu of them tied\n", name, tree ? "tree" : "path", p.steps,
                  p.ties);
    assert_in_range(p.steps, 100, SIZE_MAX);
    free(all);
    spec_index_free(p.shared);
    spec_tree_release(&p.draft, NULL);
    spec_drafter_free(p.d);
    trace_free(&p.t);
}

#define PARITY(test, name, trace, tree, max)                                                                 \
    static void test(void **state) {                                                                         \
        (void)state;                                                                                         \
        follow(name, trace, tree, max);                                                                      \
    }

PARITY(test_alpaca_path, "alpaca_llama3-70b", "alpaca_llama3-70b", false, 0)
PARITY(test_alpaca_tree, "alpaca_llama3-70b", "alpaca_llama3-70b", true, 0)
PARITY(test_spider_path, "spider_sql_gpt4", "spider_sql_gpt4", false, 0)
PARITY(test_spider_tree, "spider_sql_gpt4", "spider_sql_gpt4", true, 0)
PARITY(test_swe_path, "swe_agent", "swe_agent", false, 0)
PARITY(test_swe_tree, "swe_agent", "swe_agent", true, 0)
PARITY(test_evict_path, "evict50_mbpp_gpt4", "mbpp_gpt4", false, 50)
PARITY(test_evict_tree, "evict50_mbpp_gpt4", "mbpp_gpt4", true, 50)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alpaca_path), cmocka_unit_test(test_alpaca_tree),
        cmocka_unit_test(test_spider_path), cmocka_unit_test(test_spider_tree),
        cmocka_unit_test(test_swe_path),    cmocka_unit_test(test_swe_tree),
        cmocka_unit_test(test_evict_path),  cmocka_unit_test(test_evict_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

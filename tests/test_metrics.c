/* SPDX-License-Identifier: MIT */
/*
 * Replay and its metrics against a plain second implementation: a drafter
 * whose trees depend on (request, position) alone proposes; the test makes the
 * same trees, walks them by itself, keeps one record a step, and computes every
 * figure from the records by its definition in docs/METRICS.md.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "metrics.h"
#include "replay.h"
#include "support.h"

#define MAX_STEPS 4000
#define ALPHABET  3

static void assert_near(double a, double b) {
    if (isnan(a) && isnan(b)) return;
    if (!(fabs(a - b) <= 1e-9 * (1 + fabs(b)))) fail_msg("%.12g is not %.12g", a, b);
}

/* ---- the drafter --------------------------------------------------------- */

/* Tokens near the truth, so that paths of all lengths are accepted. */
static void grow_tree(spec_tree *t, uint64_t seed, size_t request, size_t at, const spec_token *truth,
                      size_t n_truth, uint32_t budget) {
    support_rng rng = support_rng_new(seed, request * 1000 + at);
    uint32_t want = support_rng_below(&rng, 3) ? support_rng_below(&rng, budget + 1) : 0;
    t->match_len = support_rng_below(&rng, 80);
    while (t->n < want) {
        int32_t parent = (int32_t)support_rng_below(&rng, t->n + 1) - 1;
        size_t depth = parent < 0 ? 0 : spec_tree_depth(t, parent);
        bool honest = support_rng_chance(&rng, 0.6) && at + depth < n_truth;
        spec_token token = honest ? truth[at + depth] : (spec_token)support_rng_below(&rng, ALPHABET);
        if (spec_tree_child(t, parent, token) >= 0) {
            want--; /* that sibling is there already */
            continue;
        }
        spec_tree_add(t, parent, token, 0.5f, (int)support_rng_below(&rng, 3) * 7);
    }
}

typedef struct lab {
    uint64_t seed;
    size_t requests; /* begun */
    const trace *t;
    size_t tenants_seen; /* distinct from the one before */
    uint64_t last_tenant;
    int fail_at; /* propose fails at this request's first step; -1 = never */
} lab;

typedef struct lab_request {
    size_t number, at;
    const spec_token *truth; /* the reference */
    size_t n_truth;
} lab_request;

static int lab_begin(void *self, const spec_request_info *info, void **state) {
    lab *l = self;
    lab_request *r = calloc(1, sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    *r = (lab_request){l->requests, 0, info->reference, info->n_reference};
    l->tenants_seen += l->requests == 0 || info->tenant != l->last_tenant;
    l->last_tenant = info->tenant;
    l->requests++;
    *state = r;
    return SPEC_OK;
}

static int lab_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    lab *l = self;
    lab_request *r = state;
    if ((int)r->number == l->fail_at) return SPEC_ERR_NOMEM;
    assert_int_equal(a->noise.seed, l->seed);
    assert_int_equal(a->noise.sequence, r->number);
    assert_int_equal(a->noise.position, l->t->req[r->number].n_prompt + r->at);
    grow_tree(out, l->seed, r->number, r->at, r->truth, r->n_truth, a->budget);
    return SPEC_OK;
}

/* Every token is reported once, in order; `accepted` marks a path of that length. */
static int lab_observe(void *self, void *state, const spec_outcome *o) {
    (void)self;
    lab_request *r = state;
    assert_memory_equal(o->committed, r->truth + r->at, o->n_committed * sizeof *o->committed);
    if (o->tree) {
        size_t accepted = 0;
        assert_int_equal(o->n_rows, o->tree->n + 1);
        for (uint32_t i = 0; i < o->tree->n; i++) {
            if (!o->accepted[i]) continue;
            int32_t p = o->tree->parent[i]; /* the accepted nodes are one path, and it is the text */
            assert_true(p < 0 ? accepted == 0 : o->accepted[p]);
            assert_int_equal(o->tree->token[i], o->committed[accepted++]);
        }
        r->at += o->n_committed;
        assert_int_equal(o->n_committed,
                         r->at < r->n_truth || accepted < o->n_committed ? accepted + 1 : accepted);
    } else {
        r->at += o->n_committed;
    }
    return SPEC_OK;
}

static void lab_end(void *self, void *state) {
    (void)self;
    free(state);
}

static spec_drafter *lab_open(lab *l) {
    static const spec_drafter_ops ops = {.version = SPEC_DRAFTER_OPS_V1,
                                         .name = "lab",
                                         .begin = lab_begin,
                                         .propose = lab_propose,
                                         .observe = lab_observe,
                                         .end = lab_end};
    spec_drafter *d;
    assert_int_equal(spec_drafter_new(&d, &ops, l, NULL), SPEC_OK);
    return d;
}

/* ---- the records --------------------------------------------------------- */

typedef struct record {
    size_t request;
    const char *group;
    size_t drafted, accepted, out;
    bool top1, open; /* first node right; a wrong child below the last accepted node */
    uint32_t match_len;
    size_t drafted_from[256], accepted_from[256];
    int first_source; /* of node 0; -1 = no draft */
} record;

static record records[MAX_STEPS];
static size_t n_records;

/* The node below `at` that carries the token, looking at every node. */
static int32_t plain_child(const spec_tree *t, int32_t at, spec_token token) {
    for (uint32_t i = 0; i < t->n; i++)
        if (t->parent[i] == at && t->token[i] == token) return (int32_t)i;
    return -1;
}

static record plain_step(const spec_tree *t, const trace_request *q, size_t at) {
    record r = {.group = q->group, .drafted = t->n, .match_len = t->n ? t->match_len : 0, .first_source = -1};
    int32_t node = -1, next;
    for (uint32_t i = 0; i < t->n; i++) r.drafted_from[t->source[i]]++;
    while (at + r.accepted < q->n_response &&
           (next = plain_child(t, node, q->response[at + r.accepted])) >= 0) {
        node = next;
        r.accepted++;
        r.accepted_from[t->source[node]]++;
    }
    r.out = at + r.accepted < q->n_response ? r.accepted + 1 : r.accepted;
    for (uint32_t i = 0; i < t->n; i++) r.open = r.open || t->parent[i] == node;
    if (t->n) {
        r.first_source = t->source[0];
        r.top1 = t->token[0] == q->response[at];
    }
    return r;
}

static void plain_replay(const trace *t, uint64_t seed, uint32_t budget) {
    spec_tree tree;
    assert_int_equal(spec_tree_init(&tree, budget, 0, 0, NULL), SPEC_OK);
    n_records = 0;
    for (size_t i = 0; i < t->n; i++) {
        const trace_request *q = &t->req[i];
        for (size_t at = 0; at < q->n_response; at += records[n_records++].out) {
            assert_true(n_records < MAX_STEPS);
            spec_tree_clear(&tree);
            grow_tree(&tree, seed, i, at, q->response, q->n_response, budget);
            records[n_records] = plain_step(&tree, q, at);
            records[n_records].request = i;
        }
    }
    spec_tree_release(&tree, NULL);
}

/* ---- figures from the records -------------------------------------------- */

/* Which records belong to the cell that is checked. */
typedef struct selection {
    const char *group;  /* NULL = any */
    size_t from, to;    /* requests */
    uint32_t low, high; /* match lengths */
} selection;

static bool selected(const selection *s, const record *r) {
    return (!s->group || strcmp(s->group, r->group) == 0) && r->request >= s->from && r->request < s->to &&
           r->match_len >= s->low && r->match_len <= s->high;
}

static double division(double a, double b) { return b > 0 ? a / b : NAN; }

static void check_positions(const metrics_cell *c, const selection *s, size_t hits) {
    for (size_t k = 1; k <= 12; k++) {
        size_t reached = 0, before = 0, offered = 0, exactly = 0;
        for (size_t i = 0; i < n_records; i++) {
            const record *r = &records[i];
            if (!selected(s, r)) continue;
            reached += r->accepted >= k;
            before += k > 1 ? r->accepted >= k - 1 : r->drafted > 0;
            offered += r->accepted >= k || (r->accepted == k - 1 && r->open);
            exactly += r->accepted == k - 1;
        }
        assert_int_equal(metrics_reached(c, k), reached);
        assert_int_equal(metrics_offered(c, k), offered);
        assert_near(metrics_unconditional(c, k), division((double)reached, (double)hits));
        assert_near(metrics_conditional(c, k), division((double)reached, (double)before));
        assert_int_equal(k - 1 < c->n_length ? c->length[k - 1] : 0, exactly);
    }
}

static void check_cell(const metrics_cell *c, const selection *s) {
    size_t steps = 0, out = 0, drafted = 0, accepted = 0, hits = 0, top1 = 0;
    for (size_t i = 0; i < n_records; i++) {
        const record *r = &records[i];
        if (!selected(s, r)) continue;
        steps++;
        out += r->out;
        drafted += r->drafted;
        accepted += r->accepted;
        hits += r->drafted > 0;
        top1 += r->top1;
    }
    assert_int_equal(c->steps, steps);
    assert_int_equal(c->out, out);
    assert_int_equal(c->drafted, drafted);
    assert_int_equal(c->accepted, accepted);
    assert_int_equal(c->hits, hits);
    assert_int_equal(c->top1, top1);
    assert_near(metrics_tokens_per_step(c), division((double)out, (double)steps));
    assert_near(metrics_accepted_per_step(c), division((double)accepted, (double)steps));
    assert_near(metrics_acceptance_rate(c), division((double)accepted, (double)drafted));
    assert_near(metrics_hit_rate(c), division((double)hits, (double)steps));
    assert_near(metrics_top1(c), division((double)top1, (double)hits));
    if (hits) assert_near(metrics_top1_unconditional(c), metrics_hit_rate(c) * metrics_top1(c));
    check_positions(c, s, hits);
}

/* Requests of the selection, and the mean of their own tokens per step. */
static void check_requests(const metrics_cell *c, const selection *s, const trace *t) {
    size_t n = 0;
    double sum = 0;
    for (size_t q = s->from; q < s->to && q < t->n; q++) {
        double steps = 0, out = 0;
        for (size_t i = 0; i < n_records; i++) {
            if (records[i].request != q || !selected(s, &records[i])) continue;
            steps++;
            out += (double)records[i].out;
        }
        if (steps == 0) continue;
        n++;
        sum += out / steps;
    }
    assert_int_equal(c->requests, n);
    assert_near(metrics_tokens_per_step_macro(c), division(sum, (double)n));
}

static void check_sources(const metrics *m) {
    for (int s = 0; s < 256; s++) {
        size_t drafted = 0, accepted = 0, first = 0, top1 = 0;
        for (size_t i = 0; i < n_records; i++) {
            drafted += records[i].drafted_from[s];
            accepted += records[i].accepted_from[s];
            first += records[i].first_source == s;
            top1 += records[i].first_source == s && records[i].top1;
        }
        assert_int_equal(m->source[s].drafted, drafted);
        assert_int_equal(m->source[s].accepted, accepted);
        assert_int_equal(m->source[s].first, first);
        assert_int_equal(m->source[s].top1, top1);
    }
}

static void check_sizes(const metrics *m, uint32_t budget) {
    for (size_t n = 0; n <= budget; n++) {
        size_t steps = 0;
        for (size_t i = 0; i < n_records; i++) steps += records[i].drafted == n;
        assert_int_equal(n < m->n_size ? m->size[n] : 0, steps);
    }
}

/* The interval holds the figure, and a narrower set of requests is not surer. */
static void check_interval(const metrics_cell *c) {
    if (c->requests < 2) {
        assert_true(isnan(c->ci95[0]) && isnan(c->ci95[1]));
        return;
    }
    assert_true(c->ci95[0] <= c->ci95[1]);
    if (c->requests < 8) return;
    assert_true(c->ci95[0] <= metrics_tokens_per_step(c) + 1e-9);
    assert_true(c->ci95[1] >= metrics_tokens_per_step(c) - 1e-9);
}

static void check_all(const metrics *m, const trace *t, uint32_t budget) {
    static const char *const names[] = {"", "a", "b", "longer name"};
    selection all = {NULL, 0, t->n, 0, UINT32_MAX};
    check_cell(&m->total, &all);
    check_requests(&m->total, &all, t);
    check_interval(&m->total);
    for (size_t q = 0, from = 0; q < METRICS_QUARTERS; q++) {
        size_t to = (t->n * (q + 1) + 3) / 4;
        selection s = {NULL, from, to, 0, UINT32_MAX};
        check_cell(&m->quarter[q], &s);
        check_requests(&m->quarter[q], &s, t);
        check_interval(&m->quarter[q]);
        from = to;
    }
    for (size_t g = 0; g < m->n_groups; g++) {
        selection s = {m->group[g].name, 0, t->n, 0, UINT32_MAX};
        assert_true(g == 0 || strcmp(m->group[g - 1].name, m->group[g].name) < 0);
        check_cell(&m->group[g].cell, &s);
        check_requests(&m->group[g].cell, &s, t);
        check_interval(&m->group[g].cell);
    }
    assert_true(m->n_groups <= sizeof names / sizeof *names);
    for (size_t b = 0; b < METRICS_MATCHES; b++) {
        selection s = {NULL, 0, t->n, 0, 0};
        metrics_match_range(b, &s.low, &s.high);
        check_cell(&m->match[b], &s);
    }
    check_sources(m);
    check_sizes(m, budget);
}

/* ---- the tests ----------------------------------------------------------- */

static void random_trace(trace *t, support_rng *rng, size_t n) {
    static const char *const names[] = {"", "a", "b", "longer name"};
    memset(t, 0, sizeof *t);
    for (size_t i = 0; i < n; i++) {
        spec_token tok[90];
        size_t prompt = support_rng_below(rng, 40), response = 1 + support_rng_below(rng, 50);
        for (size_t k = 0; k < prompt + response; k++) tok[k] = (spec_token)support_rng_below(rng, ALPHABET);
        assert_int_equal(
            trace_add(t, "", names[support_rng_below(rng, 4)], tok, prompt, tok + prompt, response), SPEC_OK);
    }
}

static void test_against_records(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 1);
    for (int round = 0; round < 40; round++) {
        trace t;
        metrics m;
        spec_message why;
        uint32_t budget = 1 + support_rng_below(&rng, 20);
        random_trace(&t, &rng, 1 + support_rng_below(&rng, 30));
        lab l = {.seed = support_rng_next(&rng), .t = &t, .fail_at = -1};
        spec_drafter *d = lab_open(&l);
        replay_options o = {.budget = budget, .seed = l.seed, .shared = true};
        if (replay_run(d, &t, &o, &m, &why) != SPEC_OK) fail_msg("%s", why.text);
        plain_replay(&t, l.seed, budget);
        check_all(&m, &t, budget);
        assert_int_equal(l.tenants_seen, 1);
        metrics_release(&m);
        spec_drafter_free(d);
        trace_free(&t);
    }
}

/* Deep paths are accepted to the response's last token and no further. */
static void test_oracle_and_none(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 2);
    trace t;
    metrics m;
    spec_drafter *d;
    random_trace(&t, &rng, 20);
    size_t out = 0, steps = 0;
    for (size_t i = 0; i < t.n; i++) {
        out += t.req[i].n_response;
        steps += (t.req[i].n_response + 8) / 9; /* 8 and a bonus token; at the end no bonus */
    }
    replay_options o = {.budget = 8, .shared = true};
    assert_int_equal(spec_drafter_open(&d, "oracle", NULL, NULL), SPEC_OK);
    assert_int_equal(replay_run(d, &t, &o, &m, NULL), SPEC_OK);
    assert_int_equal(m.total.steps, steps);
    assert_int_equal(m.total.out, out);
    assert_near(metrics_acceptance_rate(&m.total), 1);
    metrics_release(&m);
    spec_drafter_free(d);
    assert_int_equal(spec_drafter_open(&d, "none", NULL, NULL), SPEC_OK);
    assert_int_equal(replay_run(d, &t, &o, &m, NULL), SPEC_OK);
    assert_int_equal(m.total.steps, out);
    assert_int_equal(m.total.hits, 0);
    assert_true(isnan(metrics_top1(&m.total)) && isnan(metrics_acceptance_rate(&m.total)));
    metrics_release(&m);
    spec_drafter_free(d);
    trace_free(&t);
}

static void test_warm_and_tenants(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 3);
    trace t, warm;
    metrics m;
    random_trace(&t, &rng, 9);
    random_trace(&warm, &rng, 4);
    lab l = {.t = &t, .fail_at = -1};
    spec_drafter *d = lab_open(&l);
    replay_options o = {.budget = 4, .shared = false};
    assert_int_equal(replay_run(d, &t, &o, &m, NULL), SPEC_OK);
    assert_int_equal(l.tenants_seen, 9);
    metrics_release(&m);
    spec_drafter_free(d);

    assert_int_equal(spec_drafter_open(&d, "none", NULL, NULL), SPEC_OK);
    o = (replay_options){.budget = 4, .shared = true, .warm = &warm, .n_warm = 1};
    assert_int_equal(replay_run(d, &t, &o, &m, NULL), SPEC_OK);
    spec_drafter_stats st;
    spec_drafter_get_stats(d, &st);
    assert_int_equal(st.requests, 13);     /* the warm ones were begun too, */
    assert_int_equal(m.total.requests, 9); /* but not measured */
    assert_int_equal(st.proposals, m.total.steps);
    metrics_release(&m);
    spec_drafter_free(d);
    trace_free(&t);
    trace_free(&warm);
}

static void test_failing_drafter(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 4);
    trace t;
    metrics m;
    spec_message why;
    random_trace(&t, &rng, 5);
    lab l = {.t = &t, .fail_at = 3};
    spec_drafter *d = lab_open(&l);
    replay_options o = {.budget = 4, .shared = true};
    assert_int_equal(replay_run(d, &t, &o, &m, &why), SPEC_ERR_NOMEM);
    assert_string_equal(why.text, "request 4, response token 0: propose: out of memory");
    metrics_release(&m);
    spec_drafter_free(d);
    trace_free(&t);
}

/* A drafter of an engine's own may be faulty: its tree is refused, not followed. */
static int crooked_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    (void)self, (void)state, (void)a;
    spec_tree_add(out, -1, 1, 0.5f, 0);
    spec_tree_add(out, 0, 1, 0.5f, 0);
    out->parent[0] = 1; /* a ring */
    return SPEC_OK;
}

static void test_crooked_tree(void **state) {
    (void)state;
    static const spec_drafter_ops ops = {
        .version = SPEC_DRAFTER_OPS_V1, .name = "x", .propose = crooked_propose};
    spec_token tok[] = {1, 1, 1, 1, 1, 1};
    trace t = {0};
    metrics m;
    spec_message why;
    spec_drafter *d;
    assert_int_equal(trace_add(&t, "", "", tok, 2, tok, 6), SPEC_OK);
    assert_int_equal(spec_drafter_new(&d, &ops, NULL, NULL), SPEC_OK);
    replay_options o = {.budget = 4, .shared = true};
    assert_int_equal(replay_run(d, &t, &o, &m, &why), SPEC_ERR_INVALID);
    assert_string_equal(why.text, "request 1, response token 0: the draft is not a tree: invalid argument");
    metrics_release(&m);
    spec_drafter_free(d);
    trace_free(&t);
}

/* Goes on behind the response's end, with the tokens that mark the end inside. */
static int beyond_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    (void)self, (void)state, (void)a;
    spec_tree_add(out, -1, 1, 0.9f, 0);
    spec_tree_add(out, 0, INT32_MAX, 0.5f, 0);
    spec_tree_add(out, 0, INT32_MAX - 1, 0.4f, 0);
    spec_tree_add(out, 1, INT32_MAX, 0.3f, 0);
    return SPEC_OK;
}

static void test_beyond_the_end(void **state) {
    (void)state;
    static const spec_drafter_ops ops = {
        .version = SPEC_DRAFTER_OPS_V1, .name = "x", .propose = beyond_propose};
    spec_token tok[] = {1, INT32_MAX};
    trace t = {0};
    metrics m;
    spec_drafter *d;
    spec_message why;
    assert_int_equal(trace_add(&t, "", "", tok, 1, tok, 1), SPEC_OK);
    assert_int_equal(trace_add(&t, "", "", tok, 1, tok, 2), SPEC_OK);
    assert_int_equal(spec_drafter_new(&d, &ops, NULL, NULL), SPEC_OK);
    replay_options o = {.budget = 4, .shared = true};
    if (replay_run(d, &t, &o, &m, &why) != SPEC_OK) fail_msg("%s", why.text);
    assert_int_equal(m.total.steps, 2);
    assert_int_equal(m.total.out, 3);
    assert_int_equal(m.total.accepted, 3);
    metrics_release(&m);
    spec_drafter_free(d);
    trace_free(&t);
}

/* The sizes that the reference's own summaries have. */
static void test_quarter_sizes(void **state) {
    (void)state;
    static const size_t cases[][5] = {
        {805, 202, 201, 201, 201}, {106, 27, 26, 27, 26}, {83, 21, 21, 21, 20}, {690, 173, 172, 173, 172},
        {95, 24, 24, 24, 23},      {3, 1, 1, 1, 0},       {1, 1, 0, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        metrics m;
        metrics_init(&m, cases[i][0]);
        for (size_t k = 0; k < cases[i][0]; k++) {
            assert_int_equal(metrics_begin(&m, "", 0, 0), SPEC_OK);
            assert_int_equal(metrics_end(&m, 0), SPEC_OK);
        }
        for (size_t q = 0; q < 4; q++) assert_int_equal(m.quarter[q].requests, cases[i][q + 1]);
        metrics_release(&m);
    }
}

static void test_match_buckets(void **state) {
    (void)state;
    uint32_t low, high, next = 0;
    for (size_t b = 0; b < METRICS_MATCHES; b++) {
        metrics_match_range(b, &low, &high);
        assert_int_equal(low, next);
        assert_int_equal(metrics_match_bucket(low), b);
        assert_int_equal(metrics_match_bucket(high), b);
        next = high + 1;
    }
    assert_int_equal(high, UINT32_MAX);
    static const uint32_t lows[METRICS_MATCHES] = {0, 1, 2,  3,  4,
                                                   5, 9, 17, 33, 65}; /* as in the reports so far */
    for (size_t b = 0; b < METRICS_MATCHES; b++) assert_int_equal(metrics_match_bucket(lows[b]), b);
}

static void test_many_groups(void **state) {
    (void)state;
    enum { N = 5000 };
    metrics m;
    char name[32];
    metrics_init(&m, 2 * N);
    for (size_t i = 0; i < 2 * N; i++) {
        snprintf(name, sizeof name, "group %zu", (i * 7919) % N);
        assert_int_equal(metrics_begin(&m, name, 0, 0), SPEC_OK);
        assert_int_equal(metrics_end(&m, 0), SPEC_OK);
    }
    assert_int_equal(metrics_finish(&m, 1), SPEC_OK);
    assert_int_equal(m.n_groups, N);
    for (size_t g = 0; g < N; g++) assert_int_equal(m.group[g].cell.requests, 2);
    metrics_release(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_records),  cmocka_unit_test(test_oracle_and_none),
        cmocka_unit_test(test_warm_and_tenants), cmocka_unit_test(test_failing_drafter),
        cmocka_unit_test(test_crooked_tree),     cmocka_unit_test(test_quarter_sizes),
        cmocka_unit_test(test_match_buckets),    cmocka_unit_test(test_beyond_the_end),
        cmocka_unit_test(test_many_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The library's side of a drafter, seen through a drafter of the test's own
 * that records what it is asked and drafts more than it may.
 */
#include "support.h"

#include <math.h>
#include <string.h>

#include "spec_drafter.h"

/* ---- the drafter of the test ------------------------------------------------------ */

typedef struct recorder {
    int begun, proposed, batched, observed, ended, freed; /* calls */
    int fail;                                             /* what the next call returns */
    uint32_t width, depth;                                /* the draft: `width` chains of `depth` */
    uint64_t tenant;
    size_t n_prompt, n_reference, n_committed;
    spec_propose_args args; /* the last ones */
    spec_outcome outcome;
} recorder;

static int rec_begin(void *self, const spec_request_info *info, void **state) {
    recorder *r = self;
    if (r->fail) return r->fail;
    r->begun++;
    r->tenant = info->tenant;
    r->n_prompt = info->n_prompt;
    r->n_reference = info->n_reference;
    *state = r;
    return 0;
}

static int rec_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    recorder *r = self;
    assert_ptr_equal(state, self);
    assert_int_equal(out->n, 0);
    r->proposed++;
    r->args = *a;
    for (uint32_t level = 0; level < r->depth; level++)
        for (uint32_t c = 0; c < r->width; c++)
            spec_tree_add(out, level ? (int32_t)(out->n - r->width) : -1, (spec_token)c, 0.5f,
                          SPEC_SOURCE_USER);
    return r->fail;
}

static int rec_batch(void *self, void *const *state, const spec_propose_args *a, spec_tree *const *out,
                     size_t n) {
    recorder *r = self;
    r->batched++;
    for (size_t i = 0; i < n; i++) {
        int fail = r->fail;
        r->fail = 0;
        rec_propose(self, state[i], &a[i], out[i]);
        r->fail = fail;
    }
    return r->fail;
}

static int rec_observe(void *self, void *state, const spec_outcome *o) {
    recorder *r = self;
    assert_ptr_equal(state, self);
    if (r->fail) return r->fail;
    r->observed++;
    r->n_committed += o->n_committed;
    r->outcome = *o;
    return 0;
}

static void rec_end(void *self, void *state) {
    assert_ptr_equal(state, self);
    ((recorder *)self)->ended++;
}

static void rec_needs(void *self, spec_needs *out) {
    (void)self;
    out->top_k = 8;
}

static void rec_stats(void *self, spec_drafter_stats *out) {
    (void)self;
    out->index_tokens = 42;
}

static void rec_free(void *self) { ((recorder *)self)->freed++; }

static const spec_drafter_ops full_ops = {.version = SPEC_DRAFTER_OPS_V1,
                                          .name = "recorder",
                                          .begin = rec_begin,
                                          .propose = rec_propose,
                                          .propose_batch = rec_batch,
                                          .observe = rec_observe,
                                          .end = rec_end,
                                          .needs = rec_needs,
                                          .stats = rec_stats,
                                          .free = rec_free};

/* ---- a fixture: a drafter, a request, a tree ------------------------------------------ */

typedef struct fixture {
    recorder rec;
    spec_drafter *d;
    spec_request *r;
    spec_tree tree;
} fixture;

static void open_fixture(fixture *f, const spec_drafter_ops *ops, size_t n_prompt, size_t max_new,
                         size_t max_context) {
    static const spec_token prompt[100] = {0};
    memset(f, 0, sizeof *f);
    f->rec.width = 3;
    f->rec.depth = 20;
    assert_int_equal(spec_drafter_new(&f->d, ops, &f->rec, NULL), 0);
    spec_request_info info = {.size = sizeof info,
                              .tenant = 9,
                              .prompt = prompt,
                              .n_prompt = n_prompt,
                              .max_new_tokens = max_new,
                              .max_context = max_context};
    assert_int_equal(spec_request_begin(f->d, &info, &f->r), 0);
    assert_int_equal(spec_tree_init(&f->tree, 30, 0, 0, NULL), 0);
}

static void close_fixture(fixture *f) {
    spec_request_end(f->r);
    spec_tree_release(&f->tree, NULL);
    spec_drafter_free(f->d);
}

static void commit_zeros(fixture *f, size_t n) {
    static const spec_token zeros[200] = {0};
    assert_int_equal(spec_request_commit(f->r, zeros, n), 0);
}

static void propose(fixture *f, uint32_t budget, uint32_t max_depth) {
    spec_propose_args a = {.size = sizeof a, .budget = budget, .max_depth = max_depth, .noise = {1, 2, 3}};
    assert_int_equal(spec_request_propose(f->r, &a, &f->tree), 0);
    assert_int_equal(spec_tree_check(&f->tree, NULL), 0);
}

static uint32_t deepest(const spec_tree *t) {
    uint32_t depth = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t d = spec_tree_depth(t, (int32_t)i);
        if (d > depth) depth = d;
    }
    return depth;
}

/* ---- making one -------------------------------------------------------------------------- */

static void test_ops_are_checked(void **state) {
    (void)state;
    recorder rec = {0};
    spec_drafter *const none = (spec_drafter *)&rec, *d = none;
    spec_drafter_ops ops = full_ops;
    ops.version = SPEC_DRAFTER_OPS_V1 + 1;
    assert_int_equal(spec_drafter_new(&d, &ops, &rec, NULL), SPEC_ERR_VERSION);
    ops.version = 0;
    assert_int_equal(spec_drafter_new(&d, &ops, &rec, NULL), SPEC_ERR_VERSION);
    ops = full_ops;
    ops.name = NULL;
    assert_int_equal(spec_drafter_new(&d, &ops, &rec, NULL), SPEC_ERR_INVALID);
    ops = full_ops;
    ops.propose = NULL;
    assert_int_equal(spec_drafter_new(&d, &ops, &rec, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_drafter_new(&d, NULL, &rec, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_drafter_new(NULL, &full_ops, &rec, NULL), SPEC_ERR_INVALID);
    support_heap heap;
    support_heap_init(&heap);
    support_heap_refuse(&heap, 0, true);
    spec_allocator a = support_alloc(&heap);
    assert_int_equal(spec_drafter_new(&d, &full_ops, &rec, &a), SPEC_ERR_NOMEM);
    assert_int_equal(heap.refused, 1);
    assert_true(d == none);
    assert_int_equal(rec.freed, 0); /* self is taken on success only */
}

static void test_every_call_reaches_the_drafter(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, &full_ops, 7, 0, 0);
    assert_string_equal(spec_drafter_name(f.d), "recorder");
    assert_true(f.rec.begun == 1 && f.rec.tenant == 9 && f.rec.n_prompt == 7);
    spec_needs needs;
    spec_drafter_needs(f.d, &needs);
    assert_true(needs.top_k == 8 && needs.n_taps == 0 && !needs.tap_layer);
    propose(&f, 12, 0);
    assert_int_equal(f.rec.proposed, 1);
    assert_true(f.rec.args.noise.seed == 1 && f.rec.args.noise.sequence == 2 &&
                f.rec.args.noise.position == 3);
    commit_zeros(&f, 5);
    assert_true(f.rec.observed == 1 && f.rec.n_committed == 5);
    spec_drafter_stats s;
    spec_drafter_get_stats(f.d, &s);
    assert_true(s.requests == 1 && s.proposals == 1 && s.nodes == 12 && s.index_tokens == 42);
    recorder *rec = &f.rec;
    close_fixture(&f);
    assert_true(rec->ended == 1 && rec->freed == 1);
    spec_request_end(NULL);
    spec_drafter_free(NULL);
}

static void test_optional_entries_may_be_missing(void **state) {
    (void)state;
    const spec_drafter_ops ops = {
        .version = SPEC_DRAFTER_OPS_V1, .name = "bare", .begin = rec_begin, .propose = rec_propose};
    fixture f;
    open_fixture(&f, &ops, 0, 0, 0);
    propose(&f, 4, 0);
    assert_int_equal(f.tree.n, 4);
    commit_zeros(&f, 3);
    spec_needs needs;
    spec_drafter_needs(f.d, &needs);
    assert_int_equal(needs.top_k, 0);
    spec_request *r = f.r;
    spec_tree *t = &f.tree;
    assert_int_equal(spec_request_propose_batch(&r, NULL, &t, 1), 0);
    assert_int_equal(f.tree.n, 30);
    close_fixture(&f);
    assert_int_equal(f.rec.ended, 0);
}

static int rec_save(void *self, uint64_t tenant, const char *path, spec_message *why) {
    ((recorder *)self)->tenant = tenant;
    snprintf(why->text, sizeof why->text, "%s", path);
    return SPEC_ERR_IO;
}

static void test_save_is_passed_on(void **state) {
    (void)state;
    fixture f;
    spec_message why = {"left over"};
    open_fixture(&f, &full_ops, 0, 0, 0);
    assert_int_equal(spec_drafter_save(f.d, 5, "file", &why), SPEC_ERR_UNSUPPORTED);
    assert_non_null(strstr(why.text, "recorder"));
    assert_int_equal(spec_drafter_save(NULL, 5, "file", &why), SPEC_ERR_INVALID);
    assert_int_equal(spec_drafter_save(f.d, 5, NULL, NULL), SPEC_ERR_INVALID);
    close_fixture(&f);
    spec_drafter_ops ops = full_ops;
    ops.save = rec_save;
    open_fixture(&f, &ops, 0, 0, 0);
    assert_int_equal(spec_drafter_save(f.d, 5, "file", &why), SPEC_ERR_IO);
    assert_true(f.rec.tenant == 5 && !strcmp(why.text, "file"));
    close_fixture(&f);
}

/* ---- limits --------------------------------------------------------------------------------- */

static void test_budget_and_depth_have_defaults(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, &full_ops, 5, 0, 0);
    assert_int_equal(spec_request_propose(f.r, NULL, &f.tree), 0);
    assert_true(f.rec.args.budget == 30 && f.rec.args.max_depth == 30 && f.tree.n == 30);
    propose(&f, 0, 0);
    assert_int_equal(f.rec.args.budget, 30);
    propose(&f, 1000, 1000);
    assert_true(f.rec.args.budget == 30 && f.rec.args.max_depth == 30);
    propose(&f, 7, 0);
    assert_true(f.tree.n == 7 && f.rec.args.max_depth == 7);
    propose(&f, 30, 2);
    assert_true(f.tree.n == 6 && deepest(&f.tree) == 2);
    f.tree.cap = 0;
    propose(&f, 5, 0);
    assert_int_equal(f.tree.n, 0);
    f.tree.cap = 30;
    close_fixture(&f);
}

/* Decodes `room` tokens one at a time: no path may be as long as what is left. */
static void assert_clipped_to_the_end(fixture *f, size_t room) {
    for (size_t left = room;; left--) {
        int asked = f->rec.proposed;
        propose(f, 0, 0);
        size_t want = left > 1 ? (left - 1 < 10 ? left - 1 : 10) : 0; /* 30 nodes, 3 wide */
        assert_int_equal(deepest(&f->tree), want);
        assert_int_equal(f->tree.n, 3 * want);
        assert_int_equal(f->rec.proposed - asked, want > 0); /* not asked for nothing */
        if (!left) break;
        commit_zeros(f, 1);
    }
    commit_zeros(f, 3); /* an engine that runs over is not stopped */
    propose(f, 0, 0);
    assert_int_equal(f->tree.n, 0);
}

static void test_drafts_are_clipped_at_the_limits(void **state) {
    (void)state;
    static const struct {
        size_t n_prompt, max_new, max_context, room;
    } cases[] = {{5, 15, 0, 15}, {5, 0, 15, 10}, {5, 15, 15, 10}, {5, 7, 100, 7}, {5, 1, 0, 1},
                 {5, 0, 5, 0},   {9, 0, 5, 0},   {0, 0, 12, 12},  {5, 2, 8, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        open_fixture(&f, &full_ops, cases[i].n_prompt, cases[i].max_new, cases[i].max_context);
        assert_clipped_to_the_end(&f, cases[i].room);
        close_fixture(&f);
    }
}

/* ---- invalid input ---------------------------------------------------------------------------- */

static void test_begin_refuses_invalid_requests(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, &full_ops, 0, 0, 0);
    const spec_token negative[3] = {1, -1, 2}, good[3] = {1, 0, INT32_MAX};
    spec_request *r = NULL;
    spec_request_info info = {.size = sizeof info, .prompt = negative, .n_prompt = 3};
    assert_int_equal(spec_request_begin(f.d, &info, &r), SPEC_ERR_INVALID);
    info.n_prompt = 1;
    info.reference = negative;
    info.n_reference = 3;
    assert_int_equal(spec_request_begin(f.d, &info, &r), SPEC_ERR_INVALID);
    info = (spec_request_info){.size = sizeof info, .n_prompt = 3};
    assert_int_equal(spec_request_begin(f.d, &info, &r), SPEC_ERR_INVALID);
    info = (spec_request_info){.size = sizeof info - 1};
    assert_int_equal(spec_request_begin(f.d, &info, &r), SPEC_ERR_INVALID);
    info.size = 0;
    assert_int_equal(spec_request_begin(f.d, &info, &r), SPEC_ERR_INVALID);
    info = (spec_request_info){.size = sizeof info, .prompt = good, .n_prompt = 3};
    assert_int_equal(spec_request_begin(NULL, &info, &r), SPEC_ERR_INVALID);
    assert_int_equal(spec_request_begin(f.d, &info, NULL), SPEC_ERR_INVALID);
    f.rec.fail = SPEC_ERR_NOMEM;
    assert_int_equal(spec_request_begin(f.d, &info, &r), SPEC_ERR_NOMEM);
    f.rec.fail = 0;
    assert_null(r);
    assert_int_equal(spec_request_begin(f.d, NULL, &r), 0); /* all defaults: an empty prompt */
    spec_request_end(r);
    assert_int_equal(spec_request_begin(f.d, &info, &r), 0);
    spec_request_end(r);
    spec_drafter_stats s;
    spec_drafter_get_stats(f.d, &s);
    assert_int_equal(s.requests, 3); /* the fixture's and the two that began */
    close_fixture(&f);
}

/* A struct as a newer caller would pass it, with a field that this library does not know. */
typedef struct newer_args {
    spec_propose_args known;
    uint64_t unknown;
} newer_args;

static void test_struct_sizes_tell_versions(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, &full_ops, 0, 0, 0);
    newer_args a = {.known = {.size = sizeof a, .budget = 4}};
    assert_int_equal(spec_request_propose(f.r, &a.known, &f.tree), 0);
    assert_int_equal(f.tree.n, 4);
    a.unknown = 1;
    a.known.budget = 5;
    assert_int_equal(spec_request_propose(f.r, &a.known, &f.tree), SPEC_ERR_VERSION);
    assert_int_equal(f.tree.n, 4); /* as it was */
    a.known.size = sizeof(size_t);
    assert_int_equal(spec_request_propose(f.r, &a.known, &f.tree), SPEC_ERR_INVALID);
    a.known = (spec_propose_args){.size = offsetof(spec_propose_args, min_prob), .min_prob = 0.75f};
    assert_int_equal(spec_request_propose(f.r, &a.known, &f.tree),
                     0); /* an older caller's: nothing is asked */
    assert_true(f.tree.n > 0);
    a.known.size = sizeof a.known;
    assert_int_equal(spec_request_propose(f.r, &a.known, &f.tree), 0);
    assert_int_equal(f.tree.n, 0); /* all that this drafter has are of 0.5 */
    a.known.min_prob = NAN;
    assert_int_equal(spec_request_propose(f.r, &a.known, &f.tree), SPEC_ERR_INVALID);
    close_fixture(&f);
}

static void test_propose_refuses_unusable_trees(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, &full_ops, 0, 0, 0);
    assert_int_equal(spec_request_propose(f.r, NULL, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_request_propose(NULL, NULL, &f.tree), SPEC_ERR_INVALID);
    spec_tree broken = f.tree;
    broken.prob = NULL;
    assert_int_equal(spec_request_propose(f.r, NULL, &broken), SPEC_ERR_INVALID);
    assert_int_equal(f.rec.proposed, 0);
    close_fixture(&f);
}

static void test_a_failing_drafter_leaves_an_empty_tree(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, &full_ops, 0, 10, 0);
    f.rec.fail = SPEC_ERR_NOMEM;
    assert_int_equal(spec_request_propose(f.r, NULL, &f.tree), SPEC_ERR_NOMEM);
    assert_int_equal(f.tree.n, 0);
    const spec_token tok[4] = {1, 2, 3, 4};
    assert_int_equal(spec_request_commit(f.r, tok, 4), SPEC_ERR_NOMEM);
    f.rec.fail = 0;
    propose(&f, 0, 0);
    assert_int_equal(deepest(&f.tree), 9); /* what was refused does not count as said */
    spec_drafter_stats s;
    spec_drafter_get_stats(f.d, &s);
    assert_true(s.proposals == 1 && s.nodes == 27);
    close_fixture(&f);
}

static void test_outcomes_are_checked(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, &full_ops, 0, 0, 0);
    propose(&f, 3, 0);
    const spec_token negative[2] = {3, -3}, good[2] = {3, 4};
    const uint8_t accepted[3] = {0};
    const float row[100] = {0};
    const spec_token top[100] = {0};
    spec_outcome ok = {.size = sizeof ok,
                       .committed = good,
                       .n_committed = 2,
                       .tree = &f.tree,
                       .accepted = accepted,
                       .n_rows = 4,
                       .top_k = 2,
                       .topk_token = top,
                       .topk_logprob = row,
                       .n_taps = 1,
                       .hidden_dim = 3,
                       .hidden = row};
    spec_outcome bad[8];
    for (size_t i = 0; i < 8; i++) bad[i] = ok;
    bad[0].committed = negative;
    bad[1].committed = NULL;
    bad[2].accepted = NULL;
    bad[3].n_rows = 3;
    bad[4].topk_token = NULL;
    bad[5].hidden = NULL;
    bad[6].hidden_dim = 0;
    bad[7].size = 8;
    for (size_t i = 0; i < 8; i++) assert_int_equal(spec_request_observe(f.r, &bad[i]), SPEC_ERR_INVALID);
    assert_int_equal(spec_request_observe(f.r, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_request_observe(NULL, &ok), SPEC_ERR_INVALID);
    assert_int_equal(spec_request_commit(f.r, negative, 2), SPEC_ERR_INVALID);
    assert_int_equal(f.rec.observed, 0);
    assert_int_equal(spec_request_observe(f.r, &ok), 0);
    assert_true(f.rec.outcome.topk_token == top && f.rec.outcome.hidden == row && f.rec.outcome.n_rows == 4);
    assert_int_equal(spec_request_commit(f.r, NULL, 0), 0);
    ok = (spec_outcome){.size = sizeof ok, .n_rows = 2, .n_taps = 1, .hidden_dim = 3, .hidden = row};
    assert_int_equal(spec_request_observe(f.r, &ok), 0); /* after the prompt: rows without a tree */
    close_fixture(&f);
}

/* ---- batches ------------------------------------------------------------------------------------- */

#define N_BATCH 5

typedef struct batch_fixture {
    fixture f;
    spec_request *r[N_BATCH];
    spec_tree *t[N_BATCH], tree[N_BATCH];
    spec_propose_args a[N_BATCH];
} batch_fixture;

/* Request i may still get i tokens; its budget is 10 + i. */
static void open_batch(batch_fixture *b, const spec_drafter_ops *ops) {
    open_fixture(&b->f, ops, 0, 0, 0);
    for (size_t i = 0; i < N_BATCH; i++) {
        spec_request_info info = {.size = sizeof info, .max_new_tokens = i + 1};
        assert_int_equal(spec_request_begin(b->f.d, &info, &b->r[i]), 0);
        const spec_token zero = 0;
        assert_int_equal(spec_request_commit(b->r[i], &zero, 1), 0);
        assert_int_equal(spec_tree_init(&b->tree[i], 20, 0, 0, NULL), 0);
        spec_tree_add(&b->tree[i], -1, 5, 1, 0); /* left over from before */
        b->t[i] = &b->tree[i];
        b->a[i] = (spec_propose_args){.size = sizeof b->a[i], .budget = 10 + (uint32_t)i};
    }
}

static void close_batch(batch_fixture *b) {
    for (size_t i = 0; i < N_BATCH; i++) {
        spec_request_end(b->r[i]);
        spec_tree_release(&b->tree[i], NULL);
    }
    close_fixture(&b->f);
}

static void assert_batch_result(batch_fixture *b) {
    for (uint32_t i = 0; i < N_BATCH; i++) {
        uint32_t depth = i > 1 ? i - 1 : 0;
        uint32_t want = 3 * depth < 10 + i ? 3 * depth : 10 + i;
        assert_int_equal(b->tree[i].n, want);
        assert_true(deepest(&b->tree[i]) <= depth);
    }
    spec_drafter_stats s;
    spec_drafter_get_stats(b->f.d, &s);
    assert_true(s.proposals == N_BATCH && s.nodes == 3 + 6 + 9);
}

static void test_batches_with_and_without_their_own_entry(void **state) {
    (void)state;
    spec_drafter_ops ops = full_ops;
    batch_fixture b;
    open_batch(&b, &ops);
    assert_int_equal(spec_request_propose_batch(b.r, b.a, b.t, N_BATCH), 0);
    assert_true(b.f.rec.batched == 1 && b.f.rec.proposed == 3); /* two had no room left */
    assert_batch_result(&b);
    close_batch(&b);
    ops.propose_batch = NULL;
    open_batch(&b, &ops);
    assert_int_equal(spec_request_propose_batch(b.r, b.a, b.t, N_BATCH), 0);
    assert_true(b.f.rec.batched == 0 && b.f.rec.proposed == 3);
    assert_batch_result(&b);
    assert_int_equal(spec_request_propose_batch(b.r, b.a, b.t, 0), 0);
    assert_int_equal(spec_request_propose_batch(b.r, NULL, b.t, N_BATCH), 0);
    assert_int_equal(b.tree[4].n, 9);
    close_batch(&b);
}

static void assert_all_empty(batch_fixture *b) {
    for (size_t i = 0; i < N_BATCH; i++) assert_int_equal(b->tree[i].n, 0);
}

static void test_batches_that_fail(void **state) {
    (void)state;
    spec_drafter_ops ops = full_ops;
    for (int own = 0; own < 2; own++) {
        batch_fixture b;
        ops.propose_batch = own ? rec_batch : NULL;
        open_batch(&b, &ops);
        b.f.rec.fail = SPEC_ERR_NOMEM;
        assert_int_equal(spec_request_propose_batch(b.r, b.a, b.t, N_BATCH), SPEC_ERR_NOMEM);
        assert_all_empty(&b);
        b.f.rec.fail = 0;
        b.a[3].size = 3;
        assert_int_equal(spec_request_propose_batch(b.r, b.a, b.t, N_BATCH), SPEC_ERR_INVALID);
        b.a[3].size = sizeof b.a[3];
        spec_request *kept = b.r[2];
        b.r[2] = NULL;
        assert_int_equal(spec_request_propose_batch(b.r, b.a, b.t, N_BATCH), SPEC_ERR_INVALID);
        fixture other;
        open_fixture(&other, &ops, 0, 0, 0);
        b.r[2] = other.r; /* of another drafter */
        assert_int_equal(spec_request_propose_batch(b.r, b.a, b.t, N_BATCH), SPEC_ERR_INVALID);
        b.r[2] = kept;
        close_fixture(&other);
        close_batch(&b);
    }
}

static void test_batch_room_refused(void **state) {
    (void)state;
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator a = support_alloc(&heap);
    recorder rec = {.width = 1, .depth = 4};
    spec_drafter *d;
    spec_request *r[2];
    spec_tree tree[2], *t[2] = {&tree[0], &tree[1]};
    assert_int_equal(spec_drafter_new(&d, &full_ops, &rec, &a), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(spec_request_begin(d, NULL, &r[i]), 0);
        assert_int_equal(spec_tree_init(&tree[i], 8, 0, 0, NULL), 0);
    }
    for (size_t k = 0; k < 3; k++) {
        support_heap_refuse(&heap, k, false);
        assert_int_equal(spec_request_propose_batch(r, NULL, t, 2), SPEC_ERR_NOMEM);
        assert_int_equal(heap.refused, 1);
        assert_true(!tree[0].n && !tree[1].n);
    }
    support_heap_refuse(&heap, 3, false);
    assert_int_equal(spec_request_propose_batch(r, NULL, t, 2), 0);
    assert_true(heap.refused == 0 && tree[0].n == 4 && tree[1].n == 4);
    for (int i = 0; i < 2; i++) {
        spec_request_end(r[i]);
        spec_tree_release(&tree[i], NULL);
    }
    spec_drafter_free(d);
    support_heap_assert_clean(&heap);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ops_are_checked),
        cmocka_unit_test(test_every_call_reaches_the_drafter),
        cmocka_unit_test(test_optional_entries_may_be_missing),
        cmocka_unit_test(test_save_is_passed_on),
        cmocka_unit_test(test_budget_and_depth_have_defaults),
        cmocka_unit_test(test_drafts_are_clipped_at_the_limits),
        cmocka_unit_test(test_begin_refuses_invalid_requests),
        cmocka_unit_test(test_struct_sizes_tell_versions),
        cmocka_unit_test(test_propose_refuses_unusable_trees),
        cmocka_unit_test(test_a_failing_drafter_leaves_an_empty_tree),
        cmocka_unit_test(test_outcomes_are_checked),
        cmocka_unit_test(test_batches_with_and_without_their_own_entry),
        cmocka_unit_test(test_batches_that_fail),
        cmocka_unit_test(test_batch_room_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

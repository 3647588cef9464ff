/* SPDX-License-Identifier: MIT */
/*
 * The suffix drafter against the brute-force truth of oracle_suffix.h, on random
 * texts: several requests at a time, growing in any interleaving, of one tenant
 * or two, with every option that shapes a draft.
 *
 * A text copies, from a place in another text on, what stands there, and now and
 * then jumps elsewhere or says something new. The copies run on across the end
 * of a prompt, in both texts, so the longest match in others' responses often
 * reaches into the prompt.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "oracle_suffix.h"
#include "spec_drafter.h"

#define MAX_LIVE 5
#define CAP      48

/* A request that has begun: the drafter's side, the truth's, and where its text is copied from. */
typedef struct player {
    spec_request *r;
    truth_text *q;
    const truth_text *from; /* NULL: nothing to copy */
    size_t at;
} player;

typedef struct world {
    const char *spec;
    uint32_t alphabet, tenants;
    double jump, news; /* chances at each token */
    support_rng rng;
    spec_drafter *d;
    truth t;
    player live[MAX_LIVE];
    size_t n_live;
    spec_tree tree, again;
    truth_seen seen;
} world;

/* ---- texts ---------------------------------------------------------------------- */

static uint32_t below(world *w, size_t n) { return support_rng_below(&w->rng, (uint32_t)n); }

static void jump(world *w, player *p) {
    p->from = w->t.n ? w->t.text[below(w, w->t.n)] : NULL;
    p->at = p->from && p->from->n ? below(w, p->from->n) : 0;
}

static spec_token next_token(world *w, player *p) {
    if (!p->from || p->at >= p->from->n || support_rng_chance(&w->rng, w->jump)) jump(w, p);
    bool news = !p->from || p->at >= p->from->n || support_rng_chance(&w->rng, w->news);
    return news ? (spec_token)below(w, w->alphabet) : p->from->tok[p->at++];
}

/* ---- moves ---------------------------------------------------------------------- */

static void move_begin(world *w) {
    player *p = &w->live[w->n_live++];
    spec_token prompt[40];
    *p = (player){0};
    size_t n = below(w, 4) ? below(w, 40) : below(w, 3); /* often empty or nearly so */
    for (size_t i = 0; i < n; i++) prompt[i] = next_token(w, p);
    spec_request_info info = {
        .size = sizeof info, .tenant = below(w, w->tenants), .prompt = prompt, .n_prompt = n};
    if (!below(w, 4)) info.max_new_tokens = 1 + below(w, 60);
    if (!below(w, 4)) info.max_context = 1 + n + below(w, 60);
    assert_int_equal(spec_request_begin(w->d, &info, &p->r), 0);
    p->q = truth_begin(&w->t, &info);
}

static void move_commit(world *w, player *p) {
    spec_token tok[90];
    size_t n = below(w, 12) ? 1 + below(w, 6) : below(w, 90);
    for (size_t i = 0; i < n; i++) tok[i] = next_token(w, p);
    assert_int_equal(spec_request_commit(p->r, tok, n), 0);
    truth_commit(&w->t, p->q, tok, n);
}

static void move_end(world *w, player *p) {
    spec_request_end(p->r);
    truth_end(&w->t, p->q);
    *p = w->live[--w->n_live];
}

static spec_propose_args random_args(world *w) {
    spec_propose_args a = {.size = sizeof a};
    if (!below(w, 3)) a.budget = 1 + below(w, CAP + 10);
    if (!below(w, 4)) a.max_depth = 1 + below(w, 12);
    return a;
}

static bool same_tree(const spec_tree *a, const spec_tree *b) {
    return a->n == b->n && a->score == b->score && a->match_len == b->match_len &&
           !memcmp(a->token, b->token, a->n * sizeof *a->token) &&
           !memcmp(a->parent, b->parent, a->n * sizeof *a->parent);
}

static void move_propose(world *w, const player *p) {
    spec_message why;
    spec_propose_args a = random_args(w);
    w->tree.cap = below(w, 4) ? CAP : 1 + below(w, CAP);
    assert_int_equal(spec_request_propose(p->r, &a, &w->tree), 0);
    if (!truth_agrees(&w->t, p->q, &a, &w->tree, &w->seen, &why))
        fail_msg("%s, alphabet %u, draft %zu, budget %u, depth %u, room %u, text of %zu + %zu: %s", w->spec,
                 w->alphabet, w->seen.drafts, a.budget, a.max_depth, w->tree.cap, p->q->n_prompt,
                 p->q->n - p->q->n_prompt, why.text);
    w->again.cap = w->tree.cap;
    assert_int_equal(spec_request_propose(p->r, &a, &w->again), 0);
    if (!same_tree(&w->tree, &w->again)) fail_msg("%s: asked again, it drafts something else", w->spec);
}

static void step(world *w) {
    uint32_t dice = below(w, 100);
    if (!w->n_live || (dice < 6 && w->n_live < MAX_LIVE)) {
        move_begin(w);
        return;
    }
    player *p = &w->live[below(w, w->n_live)];
    if (dice < 10)
        move_end(w, p);
    else if (dice < 55)
        move_commit(w, p);
    else
        move_propose(w, p);
}

static void add_seen(truth_seen *sum, const truth_seen *s) {
    sum->drafts += s->drafts;
    sum->empty += s->empty;
    sum->shared += s->shared;
    sum->beyond += s->beyond;
    sum->tied += s->tied;
}

/* One world from its beginning to its end. */
static void play(const char *spec, uint32_t alphabet, uint32_t tenants, uint64_t stream, size_t steps,
                 truth_seen *sum) {
    spec_message why;
    world w = {.spec = spec, .alphabet = alphabet, .tenants = tenants, .jump = 0.08, .news = 0.05};
    w.rng = support_rng_new(support_seed(), stream);
    truth_init(&w.t, spec);
    if (spec_drafter_open(&w.d, spec, NULL, &why)) fail_msg("%s", why.text);
    assert_int_equal(spec_tree_init(&w.tree, CAP, 0, 0, NULL), 0);
    assert_int_equal(spec_tree_init(&w.again, CAP, 0, 0, NULL), 0);
    for (size_t i = 0; i < steps; i++) step(&w);
    while (w.n_live) move_end(&w, &w.live[0]);
    add_seen(sum, &w.seen);
    w.tree.cap = w.again.cap = CAP;
    spec_tree_release(&w.tree, NULL);
    spec_tree_release(&w.again, NULL);
    spec_drafter_free(w.d);
    truth_free(&w.t);
}

static truth_seen play_all(const char *const *specs, size_t n, uint64_t stream) {
    static const uint32_t alphabets[] = {2, 4, 20, 1000};
    truth_seen sum = {0};
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < 4; k++)
            play(specs[i], alphabets[k], 1 + (i + k) % 2, stream + 4 * i + k, 260, &sum);
    print_message(
        "%zu drafts agree: %zu empty, %zu of others' texts, %zu matched into the prompt, %zu with ties\n",
        sum.drafts, sum.empty, sum.shared, sum.beyond, sum.tied);
    return sum;
}

#define PLAY_ALL(specs, stream) play_all(specs, sizeof(specs) / sizeof(specs)[0], stream)

/* ---- the rules -------------------------------------------------------------------- */

static void test_default_rule(void **state) {
    (void)state;
    static const char *const specs[] = {
        "suffix",
        "suffix:self=0",
        "suffix:doubt=0",
        "suffix:doubt=0,self=0",
        "suffix:doubt=30",
        "suffix:doubt=0.001,min_prob=0.3",
        "suffix:min_prob=0,nodes=8,depth=12",
        "suffix:min_prob=0.02",
        "suffix:min_prob=1,doubt=0",
        "suffix:nodes=1",
        "suffix:nodes=3,factor=1",
        "suffix:factor=0.5,offset=1.5",
        "suffix:factor=0,offset=3",
        "suffix:factor=0,offset=0",
        "suffix:factor=2,offset=-9",
        "suffix:depth=2",
        "suffix:depth=3,self=0",
        "suffix:depth=6,doubt=0",
        "suffix:depth=17",
        "suffix:depth=300",
        "suffix:context=1",
        "suffix:context=4,depth=9",
        "suffix:tree=0,tie=lowest",
        "suffix:tree=0,tie=lowest,doubt=0,min_prob=0.01",
        "suffix:tree=0,tie=lowest,factor=1,depth=7",
    };
    truth_seen s = PLAY_ALL(specs, 1000);
    assert_true(s.drafts > 5000 && s.empty < s.drafts / 2 && s.shared > s.drafts / 10 && !s.tied);
    assert_true(s.beyond > 300);
}

static void test_whose_texts_are_looked_at(void **state) {
    (void)state;
    static const char *const specs[] = {
        "suffix:own=0",
        "suffix:own=0,self=0,doubt=0",
        "suffix:own=0,depth=5",
        "suffix:shared=0",
        "suffix:own=0,shared=0",
        "suffix:learn=end",
        "suffix:learn=end,own=0",
        "suffix:cross_tenant=1",
        "suffix:cross_tenant=1,own=0,learn=end",
        "suffix:max_requests=0",
        "suffix:max_requests=1",
        "suffix:max_requests=3,own=0",
        "suffix:max_requests=4,cross_tenant=1",
        "suffix:max_requests=3,learn=end",
        "suffix:max_requests=50",
        "suffix:own=0,tree=0,tie=lowest",
    };
    truth_seen s = PLAY_ALL(specs, 2000);
    assert_true(s.drafts > 4000 && s.empty < s.drafts * 2 / 3 && s.shared > s.drafts / 4 && !s.tied);
    assert_true(s.beyond > 300);
}

static void test_arctic(void **state) {
    (void)state;
    static const char *const specs[] = {
        "suffix:preset=arctic,tree=1",
        "suffix:preset=arctic,tree=1,depth=4",
        "suffix:preset=arctic,tree=1,depth=11,factor=3",
        "suffix:preset=arctic,tree=1,max_requests=2",
        "suffix:preset=arctic,tree=1,nodes=5,offset=2",
        "suffix:preset=arctic,tree=1,min_prob=0.4,own=0",
        "suffix:preset=arctic,tie=lowest",
        "suffix:preset=arctic,tie=lowest,depth=5,factor=4",
        "suffix:preset=arctic,tie=lowest,min_prob=0,offset=1",
        "suffix:preset=arctic,tie=lowest,max_requests=3",
    };
    truth_seen s = PLAY_ALL(specs, 3000);
    assert_true(s.drafts > 2500 && s.empty < s.drafts / 2 && s.shared > s.drafts / 20 && !s.tied);
}

static void test_coreml(void **state) {
    (void)state;
    static const char *const specs[] = {
        "suffix:preset=coreml",         "suffix:preset=coreml,own=1",  "suffix:preset=coreml,learn=live",
        "suffix:preset=coreml,nodes=9", "suffix:preset=coreml,tree=1", "suffix:preset=coreml,depth=4",
    };
    truth_seen s = PLAY_ALL(specs, 4000);
    assert_true(s.drafts > 1500 && s.empty < s.drafts * 2 / 3 && s.shared > s.drafts / 4 && !s.tied);
}

/* Without tie=lowest a path may choose among equal counts. */
static void test_paths_with_ties(void **state) {
    (void)state;
    static const char *const specs[] = {
        "suffix:tree=0",
        "suffix:tree=0,own=0,doubt=0",
        "suffix:preset=arctic",
        "suffix:preset=arctic,depth=6,offset=3",
        "suffix:preset=coreml,tie=first",
    };
    truth_seen s = PLAY_ALL(specs, 5000);
    assert_true(s.drafts > 1200 && s.tied > s.drafts / 20 && s.tied < s.drafts * 9 / 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_rule),    cmocka_unit_test(test_whose_texts_are_looked_at),
        cmocka_unit_test(test_arctic),          cmocka_unit_test(test_coreml),
        cmocka_unit_test(test_paths_with_ties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

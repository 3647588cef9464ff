/* SPDX-License-Identifier: MIT */
/*
 * The goodput policy at work, in a world of made-up drafters: what it keeps of a batch,
 * what it loses where drafts are worthless, that it comes back when they are not any more; and what its calls
 * refuse.
 */
#include "support.h"

#include <math.h>
#include <string.h>

#include "policy_internal.h"

/* ---- a drafter that plays a part ------------------------------------------------ */

/* It drafts a chain of `length` tokens or random trees, and says so much of each; whether a token is right is
 * drawn when the model "runs": a right one is 1, 2, 3, ... by depth. */
typedef struct actor {
    support_rng rng;
    uint32_t length;
    float says;       /* of each token, where those before are right */
    bool bush, draws; /* random trees; with q rows */
    bool in_turn;     /* every other one has no q rows */
    int fails;        /* what the next proposal returns */
    uint64_t ns;      /* how long it takes, by the clock of the test */
    uint64_t now;
    size_t asked, batched;
    uint32_t budget; /* of the last call */
    float min_prob;
} actor;

static int act(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    actor *x = self;
    (void)state;
    x->asked++;
    x->now += x->ns;
    x->budget = a->budget;
    x->min_prob = a->min_prob;
    bool draws = x->draws && (!x->in_turn || x->asked % 2);
    for (uint32_t i = 0; i < x->length && i < a->budget; i++) {
        int32_t parent = x->bush ? (int32_t)support_rng_below(&x->rng, i + 1) - 1 : (int32_t)i - 1;
        float above = parent < 0 ? 1 : out->prob[parent];
        float says = x->bush ? (float)(1 + support_rng_below(&x->rng, 9)) / 10 : x->says;
        spec_tree_add(out, parent, x->bush ? (spec_token)i : (spec_token)i + 1, above * says,
                      SPEC_SOURCE_USER);
        if (draws && i < out->q_cap) out->q_row[i] = (int32_t)i;
    }
    if (draws) out->n_q = out->n < out->q_cap ? out->n : out->q_cap;
    return x->fails;
}

static int act_batch(void *self, void *const *state, const spec_propose_args *a, spec_tree *const *out,
                     size_t n) {
    ((actor *)self)->batched++;
    for (size_t i = 0; i < n; i++) act(self, state[i], &a[i], out[i]);
    return ((actor *)self)->fails;
}

static void act_needs(void *self, spec_needs *out) { out->q_rows = ((actor *)self)->draws ? 8 : 0; }

static spec_drafter *actor_drafter(actor *x, uint64_t stream, const spec_allocator *a) {
    static const spec_drafter_ops ops = {.version = SPEC_DRAFTER_OPS_V1,
                                         .name = "actor",
                                         .propose = act,
                                         .propose_batch = act_batch,
                                         .needs = act_needs};
    spec_drafter *d = NULL;
    x->rng = support_rng_new(support_seed(), stream);
    return spec_drafter_new(&d, &ops, x, a) == SPEC_OK ? d : NULL;
}

/* ---- a world around it ------------------------------------------------------------ */

#define MOST 4 /* requests */

typedef struct world {
    actor x;
    spec_policy *p;
    spec_policy_request *r[MOST];
    spec_tree tree[MOST], *t[MOST];
    size_t n;
    double slope;
    size_t tile;        /* rows that a kernel takes at once; 0 = 1 */
    const double *each; /* (n) how true each request's drafts are; or NULL: as the pass says */
    /* accounts, by the cost model */
    double time, plain; /* spent; by plain decoding for the same tokens */
    size_t passes, tokens;
} world;

static double line(void *user, size_t rows, size_t context, size_t batch) {
    const world *w = user;
    size_t tile = w->tile ? w->tile : 1, tiles = (rows - batch + tile - 1) / tile;
    (void)context;
    return 1 + w->slope * (double)(tiles * tile);
}

static uint64_t test_clock(void *user) { return ((world *)user)->x.now; }

/* x is set but for its generator. */
static void open_world(world *w, size_t n, double slope, double draft_time, uint64_t stream) {
    spec_message why = {""};
    spec_policy_options o = {.size = sizeof o,
                             .pass_time = line,
                             .user = w,
                             .draft_time = draft_time,
                             .told_draft = 1,
                             .clock = test_clock,
                             .max_nodes = 16};
    w->n = n;
    w->slope = slope;
    if (w->x.ns) o.unit_ns = 1000, o.told_draft = 0;
    if (spec_policy_new(&w->p, actor_drafter(&w->x, stream, NULL), &o, NULL, &why)) fail_msg("%s", why.text);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(spec_policy_begin(w->p, NULL, &w->r[i]), 0);
        assert_int_equal(spec_tree_init(&w->tree[i], 16, w->x.draws ? 16 : 0, w->x.draws ? 4 : 0, NULL), 0);
        w->t[i] = &w->tree[i];
    }
}

static void close_world(world *w) {
    for (size_t i = 0; i < w->n; i++) {
        spec_policy_end(w->p, w->r[i]);
        spec_tree_release(&w->tree[i], NULL);
    }
    spec_policy_free(w->p);
}

/* One pass: of each draft, a token is right with probability `truth` where those before it are. */
static void pass(world *w, double truth, double draft_time) {
    size_t rows = w->n, tokens = 0, asked = w->x.asked;
    assert_int_equal(spec_policy_propose(w->p, w->r, NULL, w->t, w->n), 0);
    for (size_t i = 0; i < w->n; i++) {
        spec_token committed[17];
        size_t right = 0;
        if (w->each) truth = w->each[i];
        assert_int_equal(spec_tree_check(w->t[i], NULL), 0);
        rows += w->t[i]->n;
        while (right < w->t[i]->n && support_rng_chance(&w->x.rng, truth)) right++;
        for (size_t k = 0; k <= right; k++)
            committed[k] = k < right ? (spec_token)k + 1
                                     : (support_rng_chance(&w->x.rng, truth) && right == w->t[i]->n
                                            ? (spec_token)k + 1 /* one more would have been right */
                                            : 99);
        uint8_t accepted[16] = {0};
        memset(accepted, 1, right);
        spec_outcome o = {.size = sizeof o,
                          .committed = committed,
                          .n_committed = right + 1,
                          .tree = w->t[i],
                          .accepted = accepted};
        assert_int_equal(spec_policy_observe(w->p, w->r[i], &o), 0);
        tokens += right + 1;
    }
    w->passes++;
    w->tokens += tokens;
    w->time += line(w, rows, 0, w->n) + draft_time * (double)(w->x.asked - asked);
    w->plain += (double)tokens / (double)w->n * line(w, w->n, 0, w->n);
}

static void passes(world *w, size_t n, double truth, double draft_time) {
    for (size_t i = 0; i < n; i++) pass(w, truth, draft_time);
}

/* ---- gains ---------------------------------------------------------------------------- */

static void test_right_drafts_are_kept_whole(void **state) {
    (void)state;
    world w = {.x = {.length = 16, .says = 0.9f}};
    open_world(&w, 1, 0.02, 0.05, 1);
    passes(&w, 500, 1, 0.05);
    assert_true((double)w.tokens / w.time > 10);
    spec_policy_stats s;
    spec_policy_get_stats(w.p, &s);
    assert_true(s.passes == 500 && s.asked == 500 && s.skipped == 0 && s.kept > 0.9 * 500 * 16);
    assert_true(s.offered >= s.kept && fabs(s.goodput - (double)w.tokens / w.time) < 1);
    close_world(&w);
}

static void test_it_learns_what_a_boast_is_worth(void **state) {
    (void)state;
    world w = {.x = {.length = 8, .says = 1}}; /* sure of all; in truth 0.5, 0.25, ... */
    open_world(&w, 1, 0.1, 0, 2);
    passes(&w, 3000, 0.5, 0);
    w.time = w.plain = 0, w.tokens = 0;
    passes(&w, 3000, 0.5, 0);
    double got = (double)w.tokens / w.time, best = 0, sum = 0;
    for (int n = 0; n <= 8; n++) {
        sum += pow(0.5, n);
        best = fmax(best, sum / (1 + 0.1 * n));
    }
    if (got < 0.97 * best) fail_msg("%g tokens a pass's time, %g can be had", got, best);
    close_world(&w);
}

/* ---- losses ----------------------------------------------------------------------------- */

/* However the world turns: never more is lost than a share of the time and so many passes. */
static void test_the_loss_is_bounded_against_any_adversary(void **state) {
    (void)state;
    support_rng rng = support_rng_new(support_seed(), 3);
    for (uint64_t round = 0; round < 40; round++) {
        world w = {.x = {.length = 1 + support_rng_below(&rng, 16), .says = (float)support_rng_unit(&rng)}};
        w.x.draws = support_rng_chance(&rng, 0.4);
        double draft = support_rng_chance(&rng, 0.5) ? 0 : support_rng_unit(&rng) * 3, peak = 0;
        open_world(&w, 1 + support_rng_below(&rng, MOST), support_rng_unit(&rng) * 0.5, draft, 100 + round);
        for (int phase = 0; phase < 8; phase++) {
            double truth = support_rng_chance(&rng, 0.6) ? 0 : support_rng_unit(&rng);
            w.x.says = (float)support_rng_unit(&rng);
            for (size_t k = support_rng_below(&rng, 800); k; k--) {
                pass(&w, truth, draft);
                double lost = w.time - w.plain - 0.01 * (double)w.passes;
                peak = fmax(peak, lost);
            }
        }
        if (peak > 16) fail_msg("round %d: %g passes lost beyond the share", (int)round, peak);
        close_world(&w);
    }
}

static void test_worthless_drafts_cost_nearly_nothing(void **state) {
    (void)state;
    const double draft[] = {0, 0.02, 0.5, 2.5};
    for (size_t i = 0; i < 4; i++) {
        world w = {.x = {.length = 4, .says = 0.9f}};
        open_world(&w, 1, 0.3, draft[i], 10 + i);
        passes(&w, 20000, 0, draft[i]);
        spec_policy_stats s;
        spec_policy_get_stats(w.p, &s);
        if (w.time > 1.008 * w.plain) fail_msg("draft time %g: %g of plain", draft[i], w.time / w.plain);
        assert_true(s.kept < 200);
        if (draft[i] == 0.5) assert_in_range(s.probes, 10, 60); /* one in 800 passes, at first more */
        assert_true(draft[i] == 0 || s.skipped > 10000 * (draft[i] > 0.1));
        close_world(&w);
    }
}

/* What was gained before does not count for long. */
static void test_gains_are_not_gambled_away(void **state) {
    (void)state;
    world w = {.x = {.length = 16, .says = 0.9f}};
    open_world(&w, 1, 0.06, 0, 15);
    passes(&w, 5000, 1, 0);
    w.time = w.plain = 0;
    for (int i = 0; i < 3000; i++) {
        pass(&w, 0, 0);
        if (w.time - w.plain > 48 + 0.01 * i) fail_msg("%g passes lost in %d", w.time - w.plain, i);
    }
    assert_true(w.time > w.plain + 10); /* or nothing was tested */
    close_world(&w);
}

static void test_it_notices_when_drafts_pay_again(void **state) {
    (void)state;
    const double draft[] = {0, 0.1, 1};
    for (size_t i = 0; i < 3; i++) {
        world w = {.x = {.length = 8, .says = 0.9f}};
        open_world(&w, 2, 0.02, draft[i], 20 + i);
        passes(&w, 5000, 0, draft[i]);
        size_t waited = 0, kept = 0;
        spec_policy_stats s;
        for (; waited < 20000 && kept < 100; waited++) {
            spec_policy_get_stats(w.p, &s);
            kept = s.kept;
            pass(&w, 1, draft[i]);
            spec_policy_get_stats(w.p, &s);
            kept = s.kept - kept >= 8 ? 100 : 0; /* whole drafts */
        }
        if (waited > 60 + 8000 * draft[i]) fail_msg("draft time %g: after %zu passes", draft[i], waited);
        passes(&w, 3000, 1, draft[i]);
        w.time = w.plain = 0;
        passes(&w, 1000, 1, draft[i]);
        assert_true(w.plain > 2 * w.time);
        close_world(&w);
    }
}

/* One that never pays does not keep another from being looked at. */
static void test_looks_go_round(void **state) {
    (void)state;
    world w = {.x = {.length = 8, .says = 0.9f}};
    size_t looks[MOST] = {0}, least = SIZE_MAX, most = 0;
    uint64_t last[MOST] = {0};
    open_world(&w, MOST, 0.02, 0.1, 30);
    for (int i = 0; i < 5000; i++) {
        pass(&w, 0, 0.1);
        for (size_t k = 0; k < MOST; k++) {
            looks[k] += w.r[k]->last_look != last[k];
            last[k] = w.r[k]->last_look;
        }
    }
    for (size_t k = 0; k < MOST; k++) {
        least = looks[k] < least ? looks[k] : least;
        most = looks[k] > most ? looks[k] : most;
    }
    assert_true(least > 3 && most <= least + 1);
    close_world(&w);
}

/* What another request's draft gains says nothing about one that is looked at. */
static void test_a_look_is_judged_by_itself(void **state) {
    (void)state;
    static const double each[] = {1, 0};
    world w = {.x = {.length = 8, .says = 0.9f}, .each = each};
    spec_policy_stats s;
    open_world(&w, 2, 0.02, 0.5, 40);
    for (int i = 0; i < 20000; i++) {
        w.r[1]->worth = 0;
        pass(&w, 0, 0.5);
    }
    spec_policy_get_stats(w.p, &s);
    assert_true(s.asked > 19000);
    assert_in_range(s.probes, 10, 60);
    close_world(&w);
}

/* A look that finds no room costs nothing: it is made as soon as there is some. */
static void test_a_look_waits_for_room(void **state) {
    (void)state;
    world w = {.x = {.length = 4, .says = 0.9f}};
    open_world(&w, 1, 0.3, 0.01, 41);
    passes(&w, 3000, 0, 0.01);
    w.p->probe_credit = 5;
    w.p->loss = 15.9; /* room for the draft, but for no node */
    pass(&w, 0, 0.01);
    assert_true(w.p->probe_credit >= 5 && w.t[0]->n == 0);
    w.p->loss = 0;
    const size_t asked = w.x.asked;
    pass(&w, 0, 0.01);
    assert_true(w.x.asked == asked + 1 && w.p->probe_credit < 1);
    close_world(&w);
}

static void test_draft_times_are_measured(void **state) {
    (void)state;
    world w = {.x = {.length = 3, .says = 0.5f, .ns = 250}};
    open_world(&w, 2, 0.01, 0, 30);
    passes(&w, 100, 0.9, 0);
    spec_policy_stats s;
    spec_policy_get_stats(w.p, &s);
    assert_true(fabs(s.draft_time + 3 * s.node_time - 0.25) < 0.01);
    assert_true(s.unit_ns == 1000);
    w.x.ns = 1000000; /* once: something else was waited for */
    pass(&w, 0.9, 0);
    w.x.ns = 250;
    spec_policy_get_stats(w.p, &s);
    assert_true(s.draft_time + 3 * s.node_time < 0.4);
    for (int i = 0; i < 300; i++) { /* the machine is half as fast as was said: drafts take half the units */
        pass(&w, 0.9, 0);
        spec_policy_timed(w.p, (uint64_t)(2000 * line(&w, 2 + w.t[0]->n + w.t[1]->n, 0, 2)));
    }
    spec_policy_get_stats(w.p, &s);
    assert_true(fabs(s.unit_ns - 2000) < 50 && fabs(s.draft_time + 3 * s.node_time - 0.125) < 0.01);
    close_world(&w);
}

/* Costs that promise nearly free rows, where each takes a third of a pass: what is measured counts. */
static void test_measured_passes_overrule_the_model(void **state) {
    (void)state;
    for (uint64_t round = 0; round < 3; round++) {
        const double slope = 0.33, truths[] = {0.15, 0.9, 1},
                     truth = truths[round]; /* none pays; some; all */
        world w = {.x = {.length = 8, .says = (float)truth, .ns = 1}};
        double spent = 0, plain = 0;
        size_t kept = 0;
        open_world(&w, 1, 0.001, 0, 35 + round);
        for (int i = 0; i < 6000; i++) {
            size_t tokens = w.tokens;
            pass(&w, truth, 0);
            double real = 3 * (1 + slope * w.t[0]->n) * (0.9 + 0.2 * support_rng_unit(&w.x.rng));
            if (support_rng_chance(&w.x.rng, 0.01))
                real *= 30; /* the machine was busy */
            else
                spent += real, plain += 3 * (double)(w.tokens - tokens);
            spec_policy_timed(w.p, (uint64_t)(1000 * real));
            kept += w.t[0]->n;
        }
        spec_policy_stats s;
        spec_policy_get_stats(w.p, &s);
        assert_true(fabs(s.unit_ns - 3000) < 500);
        if (!round && spent > 1.03 * plain) fail_msg("%g of plain decoding's time", spent / plain);
        if (round && spent * 1.5 > plain) fail_msg("only %g times as fast", plain / spent);
        assert_true(round ? kept > 6000 : kept < 1000);
        close_world(&w);
    }
}

/* At first drafted passes take long: it does not draft then, and tries again later. */
/* An engine that tells only of passes with drafts is not made to run plain ones for ever. */
static void test_passes_told_now_and_then(void **state) {
    (void)state;
    world w = {.x = {.length = 8, .says = 0.9f}};
    size_t drafted = 0;
    open_world(&w, 1, 0.02, 0, 42);
    for (int i = 0; i < 300; i++) {
        pass(&w, 1, 0);
        drafted += w.t[0]->n > 0;
        if (w.t[0]->n) spec_policy_timed(w.p, 1000);
    }
    assert_in_range(drafted, 250, 299);
    close_world(&w);
}

static void test_bad_moments_pass(void **state) {
    (void)state;
    world w = {.x = {.length = 8, .says = 0.9f, .ns = 1}};
    size_t kept[4] = {0};
    open_world(&w, 1, 0.02, 0, 38);
    for (int i = 0; i < 12000; i++) {
        pass(&w, 0.9, 0);
        uint32_t n = w.t[0]->n;
        double real = 1 + 0.02 * n;
        if (n && i < 3000) real *= 20;
        spec_policy_timed(w.p, (uint64_t)(1000 * real));
        kept[i / 3000] += n;
    }
    assert_true(kept[0] < 3000 && kept[3] > 15000);
    close_world(&w);
}

static void test_the_drafter_is_told_what_cannot_pay(void **state) {
    (void)state;
    for (int costly = 0; costly < 2; costly++) {
        world w = {.x = {.length = 8, .says = 0.9f}};
        open_world(&w, 1, costly ? 0.1 : 0, 0, 39);
        passes(&w, 200, 0.9, 0);
        spec_policy_stats s;
        spec_policy_get_stats(w.p, &s);
        assert_true(fabs((double)w.x.min_prob - (costly ? 0.25 * s.goodput * 0.1 : 0)) < 0.005);
        close_world(&w);
    }
}

/* ---- a batch ---------------------------------------------------------------------------- */

/* Of all subsets of the nodes as drafted, the gain of the best; value[] as the policy sees them. */
static double best_subset(const float *value, const int *parent, uint32_t n, double price, double slope) {
    double best = 0;
    for (uint32_t set = 0; set < 1u << n; set++) {
        double gain = 0;
        bool whole = true;
        for (uint32_t i = 0; i < n; i++) {
            if (!(set >> i & 1)) continue;
            whole = whole && (parent[i] < 0 || set >> parent[i] & 1);
            gain += (double)value[i] - price * slope;
        }
        if (whole && gain > best) best = gain;
    }
    return best;
}

static void test_a_batch_has_one_price(void **state) {
    (void)state;
    for (uint64_t round = 0; round < 60; round++) {
        world w = {.x = {.length = 4, .bush = true}};
        open_world(&w, 3, 0.05 + 0.01 * (double)(round % 20), 0, 40 + round);
        assert_int_equal(spec_policy_propose(w.p, w.r, NULL, w.t, 3), 0);
        const double price = 3; /* of plain decoding, which is all that it knows as yet */
        float value[12];
        int parent[12];
        double kept = 0;
        uint32_t all = 0;
        for (uint32_t i = 0, n = 0; i < 3; i++) {
            uint32_t first = n;
            for (uint32_t k = 0; k < w.r[i]->n_drafted; k++, n++) {
                const specp_drafted *v = &w.r[i]->drafted[k];
                parent[n] = v->parent < 0 ? -1 : (int)first + v->parent;
                value[n] = specp_calibrate_read(&w.p->calibration, &v->mark) *
                           (parent[n] < 0 ? 1 : value[parent[n]]);
            }
            for (uint32_t k = 0; k < w.t[i]->n; k++) {
                uint32_t at = 0; /* tokens tell nodes apart */
                while (w.r[i]->drafted[at].token != w.t[i]->token[k]) at++;
                kept += (double)value[first + at] - price * w.slope;
            }
            all = n;
        }
        assert_true(fabs(kept - best_subset(value, parent, all, price, w.slope)) < 1e-4);
        assert_int_equal(w.x.batched, 1);
        close_world(&w);
    }
}

static void test_requests_may_sit_out(void **state) {
    (void)state;
    world w = {.x = {.length = 4, .says = 0.9f}};
    open_world(&w, 3, 0.01, 0, 50);
    passes(&w, 20, 1, 0);
    spec_tree none = {0}, *two[] = {w.t[2], &none};
    spec_policy_request *some[] = {w.r[2], w.r[0]};
    assert_int_equal(spec_policy_propose(w.p, some, NULL, two, 2), 0);
    assert_true(w.t[2]->n == 4 && none.n == 0);
    const spec_token tok = 1;
    spec_outcome o = {.size = sizeof o, .committed = &tok, .n_committed = 1};
    for (size_t i = 0; i < 3; i++) assert_int_equal(spec_policy_observe(w.p, w.r[i], &o), 0);
    spec_propose_args a[3] = {{.size = sizeof a[0], .budget = 2},
                              {.size = sizeof a[1], .max_depth = 1},
                              {.size = sizeof a[2], .min_prob = 0.85f}};
    assert_int_equal(spec_policy_propose(w.p, w.r, a, w.t, 3), 0);
    assert_true(w.t[0]->n == 2 && w.t[1]->n == 1 && w.t[2]->n == 1);
    assert_int_equal(spec_policy_propose(w.p, w.r, NULL, w.t, 0), 0);
    close_world(&w);
}

/* ---- drafts with q rows: nothing that was drawn decides what is kept --------------------------- */

static void test_drawn_drafts_are_kept_as_they_are(void **state) {
    (void)state;
    uint32_t budget[2][400];
    for (int k = 0; k < 2; k++) { /* the same outcomes; what the drafter says of its draws differs */
        world w = {.x = {.length = 8, .says = k ? 0.8f : 0.99f, .draws = true}};
        open_world(&w, 1, 0.1, 0, 60);
        w.p->o.max_loss = 0.5; /* nothing but the record decides */
        for (int i = 0; i < 400; i++) {
            pass(&w, i < 200 ? 0.9 : 0.3, 0);
            budget[k][i] = w.x.budget;
            assert_true(w.t[0]->n == (w.x.budget < 8 ? w.x.budget : 8));
        }
        close_world(&w);
    }
    assert_true(budget[0][199] > 3 && budget[0][399] <= 2);
    assert_memory_equal(budget[0], budget[1], sizeof budget[0]);
}

/* Drafts that stay whole: where little may still be lost, few requests are asked, each time others. */
static void test_drawn_drafts_keep_the_limit(void **state) {
    (void)state;
    world w = {.x = {.length = 8, .says = 0.9f, .draws = true}};
    size_t nodes[MOST] = {0};
    open_world(&w, MOST, 0.05, 0, 62);
    passes(&w, 100, 0.9, 0);
    for (int i = 0; i < 4 * MOST; i++) {
        size_t all = 0;
        w.p->loss = 15.7; /* a quarter of what is left: one node */
        pass(&w, 0.9, 0);
        for (size_t k = 0; k < MOST; k++) {
            nodes[k] += w.t[k]->n;
            all += w.t[k]->n;
        }
        assert_int_equal(all, 1);
    }
    for (size_t k = 0; k < MOST; k++) assert_int_equal(nodes[k], 4);
    close_world(&w);
}

/* Of one draft the record learns once, however the tokens come. */
static void test_a_drawn_draft_teaches_once(void **state) {
    (void)state;
    world w = {.x = {.length = 8, .says = 0.9f, .draws = true}};
    float before[16];
    open_world(&w, 1, 0.1, 0, 61);
    passes(&w, 50, 0.5, 0);
    memcpy(before, w.p->right, sizeof before);
    for (int i = 0; i < 20; i++) {
        const spec_token tok = 7;
        spec_outcome o = {.size = sizeof o, .committed = &tok, .n_committed = 1};
        assert_int_equal(spec_policy_observe(w.p, w.r[0], &o), 0);
    }
    assert_memory_equal(before, w.p->right, sizeof before);
    pass(&w, 0.5, 0);
    assert_memory_not_equal(before, w.p->right, sizeof before);
    close_world(&w);
}

/* Beside drafts that stay, others are chosen by what they add to the rows that there are. */
static void test_drawn_and_other_drafts_share_a_pass(void **state) {
    (void)state;
    size_t more = 0;
    for (uint64_t round = 0; round < 40; round++) {
        world w = {.x = {.length = 5, .says = 0.9f, .draws = true, .in_turn = true}};
        open_world(&w, 2, 0.02 + 0.01 * (double)round, 0, 200 + round);
        w.tile = 4;
        assert_int_equal(spec_policy_propose(w.p, w.r, NULL, w.t, 2), 0);
        assert_true(w.t[0]->n_q > 0 && w.t[1]->n_q == 0);
        size_t drawn = w.t[0]->n, best = 0;
        double most = 0, sum = 0, price = 2; /* of plain decoding */
        for (size_t k = 1; k <= w.r[1]->n_drafted; k++) {
            sum += pow((double)0.9f, (double)k);
            double gain = sum - price * (line(&w, 2 + drawn + k, 0, 2) - line(&w, 2 + drawn, 0, 2));
            if (gain > most + 1e-9) most = gain, best = k;
        }
        assert_int_equal(w.t[1]->n, best);
        more += best > 0;
        close_world(&w);
    }
    assert_true(more > 3);
}

/* ---- refusals ------------------------------------------------------------------------------------ */

static void test_options_are_checked(void **state) {
    (void)state;
    actor x = {.length = 1};
    spec_message why;
    spec_policy *p = NULL;
    spec_drafter *d = actor_drafter(&x, 70, NULL);
    const spec_pass_cost ok = {0, 1, 1, 1}, twice[] = {{0, 1, 1, 1}, {0, 1, 1, 2}}, free_pass = {0, 1, 1, 0};
    const spec_policy_options bad[] = {
        {.size = sizeof bad[0]},
        {.size = sizeof bad[0], .n_cost = 1},
        {.size = sizeof bad[0], .cost = &free_pass, .n_cost = 1},
        {.size = sizeof bad[0], .cost = twice, .n_cost = 2},
        {.size = sizeof bad[0], .cost = &ok, .n_cost = 1, .pass_time = line},
        {.size = sizeof bad[0], .cost = &ok, .n_cost = 1, .max_nodes = SPEC_TREE_MAX_NODES + 1},
        {.size = sizeof bad[0], .cost = &ok, .n_cost = 1, .max_loss = 1},
        {.size = sizeof bad[0], .cost = &ok, .n_cost = 1, .max_loss = NAN},
        {.size = sizeof bad[0], .cost = &ok, .n_cost = 1, .unit_ns = -1},
        {.size = sizeof bad[0], .cost = &ok, .n_cost = 1, .draft_time = -1},
        {.size = 8, .cost = &ok, .n_cost = 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        why.text[0] = 0;
        if (spec_policy_new(&p, d, &bad[i], NULL, &why) != SPEC_ERR_INVALID) fail_msg("options %zu", i);
        assert_true(why.text[0] && !p);
    }
    assert_int_equal(spec_policy_new(&p, d, NULL, NULL, NULL), SPEC_ERR_INVALID);
    spec_policy_free(NULL);
    spec_policy_end(NULL, NULL);
    spec_policy_options good = {.size = sizeof good, .cost = &ok, .n_cost = 1};
    assert_int_equal(spec_policy_new(&p, d, &good, NULL, &why), 0);
    assert_ptr_equal(spec_policy_drafter(p), d);
    spec_policy_free(p);
}

static void test_calls_are_checked(void **state) {
    (void)state;
    world w = {.x = {.length = 4, .says = 0.9f}}, other = {.x = {.length = 4}};
    open_world(&w, 2, 0.01, 0, 80);
    open_world(&other, 1, 0.01, 0, 81);
    spec_policy_request *mixed[] = {w.r[0], other.r[0]};
    spec_propose_args nan = {.size = sizeof nan, .min_prob = NAN};
    spec_tree *holes[] = {w.t[0], NULL};
    const spec_token bad = -1;
    spec_outcome o = {.size = sizeof o, .committed = &bad, .n_committed = 1};
    assert_int_equal(spec_policy_propose(w.p, mixed, NULL, w.t, 2), SPEC_ERR_INVALID);
    assert_int_equal(spec_policy_propose(w.p, w.r, NULL, holes, 2), SPEC_ERR_INVALID);
    assert_int_equal(spec_policy_propose(w.p, w.r, &nan, w.t, 1), SPEC_ERR_INVALID);
    assert_int_equal(spec_policy_propose(NULL, w.r, NULL, w.t, 1), SPEC_ERR_INVALID);
    assert_int_equal(spec_policy_observe(w.p, other.r[0], &o), SPEC_ERR_INVALID);
    assert_int_equal(spec_policy_observe(w.p, w.r[0], &o), SPEC_ERR_INVALID);
    assert_int_equal(w.x.asked, 0);
    passes(&w, 10, 1, 0);
    spec_policy_stats before, after;
    spec_policy_get_stats(w.p, &before);
    w.x.fails = SPEC_ERR_IO;
    assert_int_equal(spec_policy_propose(w.p, w.r, NULL, w.t, 2), SPEC_ERR_IO);
    assert_true(w.t[0]->n == 0 && w.t[1]->n == 0);
    spec_policy_get_stats(w.p, &after);
    assert_memory_equal(&before, &after, sizeof before);
    w.x.fails = 0;
    passes(&w, 10, 1, 0);
    assert_true(w.t[0]->n == 4);
    close_world(&w);
    close_world(&other);
}

/* A short life, with memory that may be refused anywhere. */
static int live(void *arg, const spec_allocator *a, spec_message *why) {
    actor *x = arg;
    const spec_pass_cost cost[] = {{0, 1, 1, 1}, {0, 1, 64, 2}};
    const spec_policy_options o = {.size = sizeof o, .cost = cost, .n_cost = 2, .max_nodes = 8};
    spec_policy *p = NULL;
    spec_policy_request *r[2] = {0};
    spec_tree tree[2], *t[2] = {&tree[0], &tree[1]};
    spec_drafter *d = actor_drafter(x, 90, a);
    why->text[0] = 0;
    if (!d) return specp_fail(why, SPEC_ERR_NOMEM, "drafter");
    for (int i = 0; i < 2; i++) assert_int_equal(spec_tree_init(&tree[i], 8, 0, 0, NULL), 0);
    int err = spec_policy_new(&p, d, &o, a, why);
    if (err) spec_drafter_free(d);
    for (int i = 0; i < 2 && !err; i++) err = spec_policy_begin(p, NULL, &r[i]);
    for (size_t n = 1; n <= 2 && !err; n++) {
        const spec_token tok = 1;
        spec_outcome outcome = {.size = sizeof outcome, .committed = &tok, .n_committed = 1};
        err = spec_policy_propose(p, r, NULL, t, n);
        if (err) assert_true(tree[0].n == 0 && tree[1].n == 0);
        for (size_t i = 0; i < n && !err; i++) err = spec_policy_observe(p, r[i], &outcome);
    }
    for (int i = 0; i < 2; i++) {
        spec_policy_end(p, r[i]);
        spec_tree_release(&tree[i], NULL);
    }
    spec_policy_free(p);
    return err ? specp_fail(why, err, "refused") : SPEC_OK;
}

static void test_memory_refused(void **state) {
    (void)state;
    actor x = {.length = 4, .says = 0.5f};
    assert_true(support_refuse_each(live, &x) > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_drafts_are_kept_whole),
        cmocka_unit_test(test_it_learns_what_a_boast_is_worth),
        cmocka_unit_test(test_the_loss_is_bounded_against_any_adversary),
        cmocka_unit_test(test_worthless_drafts_cost_nearly_nothing),
        cmocka_unit_test(test_gains_are_not_gambled_away),
        cmocka_unit_test(test_it_notices_when_drafts_pay_again),
        cmocka_unit_test(test_bad_moments_pass),
        cmocka_unit_test(test_the_drafter_is_told_what_cannot_pay),
        cmocka_unit_test(test_looks_go_round),
        cmocka_unit_test(test_a_look_is_judged_by_itself),
        cmocka_unit_test(test_a_look_waits_for_room),
        cmocka_unit_test(test_draft_times_are_measured),
        cmocka_unit_test(test_passes_told_now_and_then),
        cmocka_unit_test(test_measured_passes_overrule_the_model),
        cmocka_unit_test(test_a_batch_has_one_price),
        cmocka_unit_test(test_requests_may_sit_out),
        cmocka_unit_test(test_drawn_drafts_are_kept_as_they_are),
        cmocka_unit_test(test_drawn_drafts_keep_the_limit),
        cmocka_unit_test(test_a_drawn_draft_teaches_once),
        cmocka_unit_test(test_drawn_and_other_drafts_share_a_pass),
        cmocka_unit_test(test_options_are_checked),
        cmocka_unit_test(test_calls_are_checked),
        cmocka_unit_test(test_memory_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

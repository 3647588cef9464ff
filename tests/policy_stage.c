/* SPDX-License-Identifier: MIT */
/* See policy_stage.h. */
#include "policy_stage.h"

#include <string.h>

/* ---- a drafter that plays a part ------------------------------------------------ */

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

spec_drafter *actor_drafter(actor *x, uint64_t stream, const spec_allocator *a) {
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

double stage_line(void *user, size_t rows, size_t context, size_t batch) {
    const stage *w = user;
    size_t tile = w->tile ? w->tile : 1, tiles = (rows - batch + tile - 1) / tile;
    (void)context;
    return 1 + w->slope * (double)(tiles * tile);
}

static uint64_t stage_clock(void *user) { return ((stage *)user)->x.now; }

void stage_open(stage *w, size_t n, double slope, double draft_time, uint64_t stream) {
    spec_message why = {""};
    spec_policy_options o = {.size = sizeof o,
                             .pass_time = stage_line,
                             .user = w,
                             .draft_time = draft_time,
                             .told_draft = 1,
                             .clock = stage_clock,
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

void stage_close(stage *w) {
    for (size_t i = 0; i < w->n; i++) {
        spec_policy_end(w->p, w->r[i]);
        spec_tree_release(&w->tree[i], NULL);
    }
    spec_policy_free(w->p);
}

void stage_pass(stage *w, double truth, double draft_time) {
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
    w->time += stage_line(w, rows, 0, w->n) + draft_time * (double)(w->x.asked - asked);
    w->plain += (double)tokens / (double)w->n * stage_line(w, w->n, 0, w->n);
}

void stage_passes(stage *w, size_t n, double truth, double draft_time) {
    for (size_t i = 0; i < n; i++) stage_pass(w, truth, draft_time);
}

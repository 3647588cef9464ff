/* SPDX-License-Identifier: MIT */
/* A drafter that drafts what a test says and keeps what it is told. */
#include "spy_drafter.h"

#include <string.h>

static int spy_begin(void *self, const spec_request_info *info, void **state) {
    spy *s = self;
    (void)info;
    if (s->begin_fails) return s->begin_fails;
    s->begun++;
    *state = s;
    return SPEC_OK;
}

static int spy_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    spy *s = self;
    assert_ptr_equal(state, self);
    s->asked++;
    s->args = *a;
    s->offered_q = out->q_cap;
    for (uint32_t i = 0; i < s->draft.n; i++) {
        if (spec_tree_add(out, s->draft.parent[i], s->draft.token[i], s->draft.prob[i], s->draft.source[i]) <
            0)
            break;
        out->q_row[i] = s->draft.q_row[i];
    }
    out->n_q = s->draft.n_q;
    out->match_len = s->draft.match_len;
    return SPEC_OK;
}

static int spy_batch(void *self, void *const *state, const spec_propose_args *a, spec_tree *const *out,
                     size_t n) {
    ((spy *)self)->batched++;
    for (size_t i = 0; i < n; i++) spy_propose(self, state[i], &a[i], out[i]);
    return SPEC_OK;
}

static int spy_observe(void *self, void *state, const spec_outcome *o) {
    spy *s = self;
    assert_ptr_equal(state, self);
    if (s->observe_fails) return s->observe_fails;
    assert_true(s->n_calls < SPY_CALLS);
    spy_call *c = &s->call[s->n_calls++];
    memset(c, 0, sizeof *c);
    c->tree = o->tree != NULL;
    c->n = o->tree ? o->tree->n : 0;
    c->n_committed = (uint32_t)o->n_committed;
    c->n_rows = (uint32_t)o->n_rows;
    c->top_k = o->top_k;
    c->n_taps = o->n_taps;
    c->prompt_row = o->prompt_row;
    assert_true(c->n < SPY_NODES && c->n_committed <= SPY_NODES && c->n_rows <= SPY_NODES);
    if (c->n_committed) memcpy(c->committed, o->committed, c->n_committed * sizeof *o->committed);
    for (uint32_t i = 0; i < c->n; i++) {
        c->token[i] = o->tree->token[i];
        c->parent[i] = o->tree->parent[i];
        c->accepted[i] = o->accepted[i];
        c->n_accepted += o->accepted[i];
    }
    if (c->n_rows && c->top_k) {
        memcpy(c->topk, o->topk_token, (size_t)c->n_rows * c->top_k * sizeof *c->topk);
        memcpy(c->logprob, o->topk_logprob, (size_t)c->n_rows * c->top_k * sizeof *c->logprob);
    }
    if (c->n_rows && c->n_taps) {
        assert_int_equal(o->hidden_dim, SPY_DIM);
        memcpy(c->hidden, o->hidden, (size_t)c->n_rows * c->n_taps * SPY_DIM * sizeof *c->hidden);
    }
    return SPEC_OK;
}

static void spy_end(void *self, void *state) {
    assert_ptr_equal(state, self);
    ((spy *)self)->ended++;
}

static void spy_needs(void *self, spec_needs *out) { *out = ((spy *)self)->needs; }

static void spy_free(void *self) { ((spy *)self)->freed++; }

spec_drafter *spy_drafter(spy *s) {
    static const spec_drafter_ops ops = {.version = SPEC_DRAFTER_OPS_V1,
                                         .name = "spy",
                                         .begin = spy_begin,
                                         .propose = spy_propose,
                                         .propose_batch = spy_batch,
                                         .observe = spy_observe,
                                         .end = spy_end,
                                         .needs = spy_needs,
                                         .free = spy_free};
    spec_drafter *d = NULL;
    memset(s, 0, sizeof *s);
    assert_int_equal(spec_tree_init(&s->draft, SPY_NODES, 0, 0, NULL), 0);
    assert_int_equal(spec_drafter_new(&d, &ops, s, NULL), 0);
    return d;
}

void spy_clear(spy *s) { spec_tree_clear(&s->draft); }

int32_t spy_node(spy *s, int32_t parent, spec_token token, float prob, int source) {
    return spec_tree_add(&s->draft, parent, token, prob, source);
}

void spy_release(spy *s) { spec_tree_release(&s->draft, NULL); }

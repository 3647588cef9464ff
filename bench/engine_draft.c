/* SPDX-License-Identifier: MIT */
/* Drafting for the lanes of a pass: all at once, for drafters that run a model. */
#include <stdlib.h>

#include "engine_lane.h"
#include "util.h"

struct engine_drafts {
    spec_request **plain; /* (batch) each */
    spec_policy_request **under;
    spec_propose_args *args;
    spec_tree **tree;
};

int engine_drafts_new(engine *e) {
    size_t batch = e->s->batch;
    engine_drafts *d = e->drafts = specp_calloc(NULL, 1, sizeof *d);
    if (!d) return SPEC_ERR_NOMEM;
    d->plain = specp_calloc(NULL, batch, sizeof *d->plain);
    d->under = specp_calloc(NULL, batch, sizeof *d->under);
    d->args = specp_calloc(NULL, batch, sizeof *d->args);
    d->tree = specp_calloc(NULL, batch, sizeof *d->tree);
    return d->plain && d->under && d->args && d->tree ? SPEC_OK : SPEC_ERR_NOMEM;
}

void engine_drafts_free(engine *e) {
    if (!e->drafts) return;
    free(e->drafts->plain);
    free(e->drafts->under);
    free(e->drafts->args);
    free(e->drafts->tree);
    free(e->drafts);
}

/* A corpus made with another tokenizer, say, knows tokens that the model does not. */
static int check_tokens(const engine *e, const lane *l) {
    for (uint32_t i = 0; i < l->tree.n; i++)
        if ((size_t)l->tree.token[i] >= e->info.vocab)
            return specp_fail(
                e->why, SPEC_ERR_INVALID,
                "the drafter proposes token %d; expected ids below %zu, the model's vocabulary: was "
                "its corpus made with another tokenizer?",
                (int)l->tree.token[i], e->info.vocab);
    return SPEC_OK;
}

int engine_propose(engine *e, size_t n) {
    engine_drafts *d = e->drafts;
    if (n == 0) return SPEC_OK;
    for (size_t i = 0; i < n; i++) {
        lane *l = &e->lane[e->busy[i]];
        const engine_response *r = &e->out->response[l->response];
        d->plain[i] = l->request.plain;
        d->under[i] = l->request.under;
        d->tree[i] = &l->tree;
        d->args[i] = (spec_propose_args){.size = sizeof *d->args,
                                         .budget = e->s->budget,
                                         .noise = {e->s->seed, l->ordinal, r->n_asked + r->n}};
    }
    uint64_t t0 = bench_now_ns();
    int rc = proposer_propose_batch(e->by, d->plain, d->under, d->args, d->tree, n);
    uint64_t share = (bench_now_ns() - t0) / n;
    if (rc != SPEC_OK) return engine_fault(e, &e->lane[e->busy[0]], rc, "propose");
    for (size_t i = 0; i < n && rc == SPEC_OK; i++) {
        e->lane[e->busy[i]].draft_ns = share;
        rc = check_tokens(e, &e->lane[e->busy[i]]);
    }
    return rc;
}

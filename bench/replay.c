/* SPDX-License-Identifier: MIT */
/*
 * The replay engine.
 *
 *   prompt      response (recorded)
 *   ........... | r0 r1 r2 r3 r4 r5 ... rN-1
 *                 ^ at                          propose -> tree
 *                                               verify  -> accepted path
 *                                               observe <- path, next token
 *
 * Verification needs the target's choice at each tree node. On the true path,
 * the nodes whose tokens are r[at], r[at+1], ..., the record says it: node at
 * depth d is followed by r[at + d]. Off that path the choice is unknown (-1),
 * and the walk never gets there. Behind the response's last token the target
 * would end: a token stands there that no node carries, so the walk stops, and
 * it is not committed.
 */
#include "replay.h"

#include <stdlib.h>
#include <string.h>

#include "proposer.h"
#include "spec_verify.h"
#include "util.h"

typedef struct replayer {
    proposer proposer;
    const replay_options *o;
    metrics *m;
    spec_message *why;
    spec_tree tree;
    spec_token *choice; /* (budget + 1) row 0: after the last committed token; i + 1: after node i */
    uint32_t *depth;    /* (budget) tokens from the root, 0 = off the true path */
    int32_t *path;      /* (budget) */
    uint8_t *accepted;  /* (budget) */
    spec_token *commit; /* (budget + 1) */
    /* the request under way */
    size_t index; /* its number */
    const trace_request *q;
    proposer_request request;
    size_t at; /* response tokens committed */
} replayer;

/* ---- one step ------------------------------------------------------------ */

/* A token that no child of `node` carries. */
static spec_token absent_child(const spec_tree *t, int32_t node) {
    spec_token token = INT32_MAX;
    while (spec_tree_child(t, node, token) >= 0) token--;
    return token;
}

/* The target's choice after `done` tokens of what is left of the response. */
static spec_token true_choice(const replayer *r, int32_t node, size_t done) {
    size_t i = r->at + done;
    return i < r->q->n_response ? r->q->response[i] : absent_child(&r->tree, node);
}

static void fill_choices(replayer *r) {
    const spec_tree *t = &r->tree;
    r->choice[0] = true_choice(r, -1, 0);
    for (uint32_t i = 0; i < t->n; i++) {
        int32_t p = t->parent[i];
        bool sound = p < (int32_t)i; /* if not, verification will say so */
        uint32_t above = p < 0 || !sound ? 0 : r->depth[p];
        bool follows = sound && (p < 0 || above) && r->choice[p < 0 ? 0 : p + 1] == t->token[i];
        r->depth[i] = follows ? above + 1 : 0;
        r->choice[i + 1] = follows ? true_choice(r, (int32_t)i, above + 1) : -1;
    }
}

/* What verification keeps: the path's tokens, and the next one if it is still
 * part of the response. Returns how many tokens. */
static size_t fill_commit(replayer *r, size_t n_path, spec_token next) {
    memset(r->accepted, 0, r->tree.n);
    for (size_t i = 0; i < n_path; i++) {
        r->accepted[r->path[i]] = 1;
        r->commit[i] = r->tree.token[r->path[i]];
    }
    r->commit[n_path] = next;
    return r->at + n_path < r->q->n_response ? n_path + 1 : n_path;
}

static int step_fault(const replayer *r, int err, const char *what) {
    return specp_fail(r->why, err, "request %zu%s%s, response token %zu: %s: %s", r->index + 1,
                      *r->q->id ? " " : "", r->q->id, r->at, what, spec_strerror(err));
}

static int propose(replayer *r) {
    spec_propose_args args = {.size = sizeof args,
                              .budget = r->o->budget,
                              .min_prob = r->o->min_prob,
                              .noise = {r->o->seed, r->index, r->q->n_prompt + r->at}};
    int rc = proposer_propose(&r->proposer, &r->request, &args, &r->tree);
    return rc == SPEC_OK ? rc : step_fault(r, rc, "propose");
}

static int observe(replayer *r, size_t n_commit) {
    spec_outcome outcome = {.size = sizeof outcome,
                            .committed = r->commit,
                            .n_committed = n_commit,
                            .tree = &r->tree,
                            .accepted = r->accepted,
                            .n_rows = r->tree.n + 1};
    int rc = proposer_observe(&r->proposer, &r->request, &outcome);
    return rc == SPEC_OK ? rc : step_fault(r, rc, "observe");
}

/* Decodes one step further. */
static int step(replayer *r) {
    size_t n_path = 0;
    spec_token next = 0;
    uint64_t t0 = bench_now_ns();
    int rc = propose(r);
    uint64_t t1 = bench_now_ns();
    if (rc != SPEC_OK) return rc;
    fill_choices(r);
    rc = spec_verify_greedy(&r->tree, r->choice, r->path, &n_path, &next);
    if (rc != SPEC_OK) return step_fault(r, rc, "the draft is not a tree");
    size_t n = fill_commit(r, n_path, next);
    if (memcmp(r->commit, r->q->response + r->at, n * sizeof *r->commit) != 0)
        return step_fault(r, SPEC_ERR_CORRUPT, "the output differs from the record");
    uint64_t t2 = bench_now_ns();
    rc = observe(r, n);
    uint64_t t3 = bench_now_ns();
    if (rc != SPEC_OK) return rc;
    metrics_step_facts facts = {.tree = &r->tree,
                                .path = r->path,
                                .n_path = n_path,
                                .committed = n,
                                .truth = r->q->response[r->at],
                                .draft_ns = t1 - t0,
                                .update_ns = t3 - t2};
    r->at += n;
    return metrics_step(r->m, &facts);
}

/* ---- one request --------------------------------------------------------- */

static int begin(replayer *r, uint64_t tenant) {
    spec_request_info info = {.size = sizeof info,
                              .tenant = tenant,
                              .prompt = r->q->prompt,
                              .n_prompt = r->q->n_prompt,
                              .max_new_tokens = r->q->max_new_tokens,
                              .reference = r->q->response,
                              .n_reference = r->q->n_response};
    r->at = 0;
    int rc = proposer_begin(&r->proposer, &info, &r->request);
    return rc == SPEC_OK ? rc : step_fault(r, rc, "begin");
}

static int run_request(replayer *r) {
    uint64_t t0 = bench_now_ns();
    int rc = begin(r, r->o->shared ? 0 : r->index + 1);
    uint64_t t1 = bench_now_ns();
    if (rc != SPEC_OK) return rc;
    rc = metrics_begin(r->m, r->q->group, r->q->n_prompt, t1 - t0);
    while (rc == SPEC_OK && r->at < r->q->n_response) rc = step(r);
    uint64_t t2 = bench_now_ns();
    proposer_end(&r->proposer, &r->request);
    uint64_t t3 = bench_now_ns();
    return rc == SPEC_OK ? metrics_end(r->m, t3 - t2) : rc;
}

/* Teaches the drafter a request without asking it for anything. */
static int warm_request(replayer *r) {
    int rc = begin(r, 0);
    if (rc != SPEC_OK) return rc;
    spec_outcome all = {.size = sizeof all, .committed = r->q->response, .n_committed = r->q->n_response};
    rc = proposer_observe(&r->proposer, &r->request, &all);
    proposer_end(&r->proposer, &r->request);
    return rc == SPEC_OK ? rc : step_fault(r, rc, "warming up");
}

/* ---- a run --------------------------------------------------------------- */

static int run_all(replayer *r, const trace *t) {
    int rc = SPEC_OK;
    for (size_t w = 0; w < r->o->n_warm; w++)
        for (size_t i = 0; i < r->o->warm[w].n && rc == SPEC_OK; i++) {
            r->index = i;
            r->q = &r->o->warm[w].req[i];
            rc = warm_request(r);
        }
    for (size_t i = 0; i < t->n && rc == SPEC_OK; i++) {
        if (r->o->progress) r->o->progress(r->o->user, i, t->n);
        r->index = i;
        r->q = &t->req[i];
        rc = run_request(r);
    }
    return rc == SPEC_OK ? metrics_finish(r->m, r->o->seed) : rc;
}

int replay_run(spec_drafter *d, const trace *t, const replay_options *o, metrics *m, spec_message *why) {
    spec_message spare = {""};
    replayer r = {.proposer = {d, o->policy}, .o = o, .m = m, .why = why ? why : &spare};
    size_t n = (size_t)o->budget + 1;
    metrics_init(m, t->n);
    m->calibration.skip = o->calibration_skip;
    r.why->text[0] = '\0';
    r.choice = specp_calloc(NULL, n, sizeof *r.choice);
    r.depth = specp_calloc(NULL, n, sizeof *r.depth);
    r.path = specp_calloc(NULL, n, sizeof *r.path);
    r.accepted = specp_calloc(NULL, n, sizeof *r.accepted);
    r.commit = specp_calloc(NULL, n, sizeof *r.commit);
    int rc = spec_tree_init(&r.tree, o->budget, 0, 0, NULL);
    if (rc == SPEC_OK && !(r.choice && r.depth && r.path && r.accepted && r.commit)) rc = SPEC_ERR_NOMEM;
    if (rc == SPEC_OK) rc = run_all(&r, t);
    if (rc != SPEC_OK && !r.why->text[0]) specp_fail(r.why, rc, "%s", spec_strerror(rc));
    spec_tree_release(&r.tree, NULL);
    free(r.choice);
    free(r.depth);
    free(r.path);
    free(r.accepted);
    free(r.commit);
    return rc;
}

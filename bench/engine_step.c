/* SPDX-License-Identifier: MIT */
/*
 * What follows a forward pass: the draft is judged, the text cut where it ends,
 * and cache, drafter, response and accounts take over what is left.
 *
 *     rows --> judge: path, next --> cut: end of sequence? stop string? limit?
 *                                      |
 *          cache <-- path          commit --> drafter, response, metrics
 */
#include <string.h>

#include "engine_lane.h"
#include "util.h"

static engine_response *response_of(engine *e, const lane *l) { return &e->out->response[l->response]; }

/* ---- judging ------------------------------------------------------------- */

static int judge_greedy(lane *l, const spec_forward_out *fw, size_t row0, spec_token *next) {
    return spec_verify_greedy(&l->tree, fw->argmax + row0, l->path, &l->n_path, next);
}

static int judge_sampled(engine *e, lane *l, const spec_forward_out *fw, size_t row0, spec_token *next) {
    const engine_response *r = response_of(e, l);
    spec_verify_args a = {.size = sizeof a,
                          .tree = &l->tree,
                          .sampling = e->s->sampling,
                          .logits = fw->logits + row0 * e->info.vocab,
                          .text = spec_sequence_tokens(l->sequence),
                          .n_text = spec_sequence_length(l->sequence),
                          .noise = {e->s->seed, l->response, r->n_asked + r->n}};
    return spec_verify_sample(e->sampler, &a, l->path, &l->n_path, next, e->why);
}

static int judge(engine *e, lane *l, const spec_forward_out *fw, size_t row0) {
    spec_token next = 0;
    int rc = e->sampler ? judge_sampled(e, l, fw, row0, &next) : judge_greedy(l, fw, row0, &next);
    if (rc != SPEC_OK) return rc;
    for (size_t i = 0; i < l->n_path; i++) l->commit[i] = l->tree.token[l->path[i]];
    l->commit[l->n_path] = next;
    l->n_commit = l->n_path + 1;
    return SPEC_OK;
}

/* ---- cutting ------------------------------------------------------------- */

/* The texts that the step's tokens add, where stop strings are looked for. */
static int pieces(const engine *e, lane *l, const spec_bytes **out) {
    *out = NULL;
    if (!e->s->stop || !e->s->stop->n) return SPEC_OK;
    for (size_t i = 0; i < l->n_commit; i++) {
        int rc = spec_tokenizer_piece(e->s->tokenizer, l->commit[i], &l->piece[i].data, &l->piece[i].n);
        if (rc != SPEC_OK) return rc;
    }
    *out = l->piece;
    return SPEC_OK;
}

/* Ends the response behind the first n tokens of the step. */
static void end_behind(lane *l, size_t n, engine_end why) {
    l->n_commit = n;
    if (l->n_path > n) l->n_path = n;
    l->ended = true;
    l->end = why;
}

static int cut(engine *e, lane *l) {
    const engine_response *r = response_of(e, l);
    size_t room = r->limit - r->n;
    const spec_bytes *text;
    spec_stop_result stop;
    int rc = pieces(e, l, &text);
    if (rc == SPEC_OK) rc = spec_stop_feed(l->stop, l->commit, text, l->n_commit, &stop);
    if (rc != SPEC_OK) return rc;
    l->ended = false;
    if (stop.reason != SPEC_STOP_NONE && stop.n_tokens <= room)
        end_behind(l, stop.n_tokens, stop.reason == SPEC_STOP_TOKEN ? ENGINE_END_EOS : ENGINE_END_STOP);
    else if (l->n_commit >= room)
        end_behind(l, room, r->limit < e->s->max_tokens ? ENGINE_END_CONTEXT : ENGINE_END_LIMIT);
    return SPEC_OK;
}

/* ---- taking over --------------------------------------------------------- */

static int observe(lane *l, const engine *e, const spec_forward_out *fw, size_t row0) {
    memset(l->accepted, 0, l->tree.n);
    for (size_t i = 0; i < l->n_path; i++) l->accepted[l->path[i]] = 1;
    spec_outcome o = {.size = sizeof o,
                      .committed = l->commit,
                      .n_committed = l->n_commit,
                      .tree = &l->tree,
                      .accepted = l->accepted,
                      .n_rows = l->tree.n + 1};
    if (fw->hidden) {
        o.n_taps = e->needs.n_taps;
        o.hidden_dim = (uint32_t)e->info.dim;
        o.hidden = fw->hidden + row0 * o.n_taps * o.hidden_dim;
    }
    if (e->top_k) engine_topk_rows(e, l, fw->logits + row0 * e->info.vocab, &o);
    return proposer_observe(e->by, &l->request, &o);
}

static int append(engine_response *r, const lane *l) {
    spec_token *grown = bench_grow(r->token, &r->cap, r->n + l->n_commit, sizeof *grown);
    if (!grown) return SPEC_ERR_NOMEM;
    r->token = grown;
    memcpy(r->token + r->n, l->commit, l->n_commit * sizeof *l->commit);
    r->n += l->n_commit;
    return SPEC_OK;
}

static int account(engine *e, lane *l) {
    metrics_step_facts f = {.tree = &l->tree,
                            .path = l->path,
                            .n_path = l->n_path,
                            .committed = l->n_commit,
                            .truth = l->commit[0],
                            .draft_ns = l->draft_ns,
                            .update_ns = l->update_ns};
    e->out->m.now = l->now;
    int rc = metrics_step(&e->out->m, &f);
    l->now = e->out->m.now;
    return rc;
}

int engine_step(engine *e, lane *l, const spec_forward_out *fw, size_t row0, uint64_t pass_ns) {
    engine_response *r = response_of(e, l);
    uint64_t t0 = bench_now_ns();
    int rc = judge(e, l, fw, row0);
    if (rc == SPEC_OK) rc = cut(e, l);
    if (rc != SPEC_OK) return e->why->text[0] ? rc : engine_fault(e, l, rc, "judging the draft");
    rc = spec_sequence_accept(l->sequence, l->path, l->n_path);
    if (rc != SPEC_OK) return engine_fault(e, l, rc, "accepting the path");
    uint64_t t1 = bench_now_ns();
    rc = observe(l, e, fw, row0);
    if (rc != SPEC_OK) return engine_fault(e, l, rc, "observe");
    uint64_t t2 = bench_now_ns();
    l->update_ns = t2 - t1;
    l->last = l->commit[l->n_commit - 1];
    rc = append(r, l);
    if (rc == SPEC_OK) rc = account(e, l);
    uint64_t spent = l->draft_ns + pass_ns + (t2 - t0);
    r->decode_ns += spent;
    e->out->decode_ns += spent;
    return rc;
}

/* The cache must be what a fresh prefill of the same tokens makes. */
int engine_check_cache(engine *e, const lane *l) {
    size_t n = spec_sequence_length(l->sequence), where = 0;
    spec_forward_item item = {.tokens = spec_sequence_tokens(l->sequence), .n_tokens = n};
    spec_forward_args args = {.size = sizeof args, .no_logits = 1};
    spec_forward_out out;
    int rc = e->fresh ? spec_sequence_truncate(e->fresh, 0) : spec_sequence_new(&e->fresh, e->s->target, 0);
    item.sequence = e->fresh;
    if (rc == SPEC_OK) rc = spec_target_forward(e->s->target, &item, 1, &args, &out, e->why);
    if (rc != SPEC_OK || spec_sequence_equal(e->fresh, l->sequence, n, &where)) return rc;
    return specp_fail(e->why, SPEC_ERR_CORRUPT,
                      "the cache differs from a fresh prefill's at position %zu of %zu", where, n);
}

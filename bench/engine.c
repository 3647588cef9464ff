/* SPDX-License-Identifier: MIT */
/* The engine's loop: fills idle lanes, drafts, runs the model once, judges. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

#include "engine_lane.h"
#include "util.h"

int engine_fault(const engine *e, const lane *l, int err, const char *what) {
    const prompt *p = &e->s->prompts->item[l->prompt];
    size_t at = e->out->response[l->response].n;
    return specp_fail(e->why, err, "prompt %zu%s%s, response token %zu: %s: %s", l->prompt + 1,
                      *p->id ? " " : "", p->id, at, what, spec_strerror(err));
}

/* ---- lanes --------------------------------------------------------------- */

static void lane_release(const engine *e, lane *l) {
    proposer_end(e->by, &l->request);
    spec_sequence_free(l->sequence);
    spec_stop_free(l->stop);
    spec_tree_release(&l->tree, NULL);
    free(l->path);
    free(l->commit);
    free(l->piece);
    free(l->accepted);
    free(l->topk_token);
    free(l->topk_logprob);
}

/* Room for what the drafter asks of each row: nothing, mostly. */
static int lane_init_topk(const engine *e, lane *l) {
    size_t n = ((size_t)e->s->budget + 1) * e->top_k;
    if (!n) return SPEC_OK;
    l->topk_token = specp_calloc(NULL, n, sizeof *l->topk_token);
    l->topk_logprob = specp_calloc(NULL, n, sizeof *l->topk_logprob);
    return l->topk_token && l->topk_logprob ? SPEC_OK : SPEC_ERR_NOMEM;
}

static int lane_init(engine *e, lane *l) {
    const engine_settings *s = e->s;
    l->path = specp_calloc(NULL, s->budget, sizeof *l->path);
    l->commit = specp_calloc(NULL, (size_t)s->budget + 1, sizeof *l->commit);
    l->piece = specp_calloc(NULL, (size_t)s->budget + 1, sizeof *l->piece);
    l->accepted = specp_calloc(NULL, s->budget, sizeof *l->accepted);
    if (!l->path || !l->commit || !l->piece || !l->accepted) return SPEC_ERR_NOMEM;
    uint32_t q = e->needs.q_rows < s->budget ? e->needs.q_rows : s->budget;
    int rc = spec_tree_init(&l->tree, s->budget, q, q ? (uint32_t)e->info.vocab : 0, NULL);
    if (rc == SPEC_OK) rc = spec_sequence_new(&l->sequence, s->target, 0);
    if (rc == SPEC_OK) rc = lane_init_topk(e, l);
    if (rc == SPEC_OK) rc = engine_stop_new(e, l);
    return rc;
}

static size_t turns_of(const prompt *p) { return p->turn ? p->n_turns : 1; }

/* The lane's next piece of work: its prompt's next turn, else the next prompt. */
static bool next_turn(engine *e, lane *l) {
    const prompts *p = e->s->prompts;
    if (l->begun && l->turn + 1 < turns_of(&p->item[l->prompt]) && !l->cut_short) {
        l->turn++;
        l->response++;
        return true;
    }
    l->begun = l->cut_short = false;
    if (e->next_prompt >= p->n) return false;
    l->prompt = e->next_prompt++;
    l->turn = 0;
    l->response = e->next_response;
    e->next_response += turns_of(&p->item[l->prompt]);
    return true;
}

/* ---- beginning a request -------------------------------------------------- */

/* How many of the first tokens are in the cache already (an earlier turn, an
 * earlier prompt with the same beginning). The last token is always run again. */
static size_t common_prefix(const spec_sequence *s, const spec_token *tok, size_t n) {
    const spec_token *have = spec_sequence_tokens(s);
    size_t most = spec_sequence_length(s), i = 0;
    if (most > n - 1) most = n - 1;
    while (i < most && have[i] == tok[i]) i++;
    return i;
}

/* Brings the cache to all of the prompt but its last token. Where the drafter wants hidden states,
 * fw->hidden has them for all of these, so that nothing is reused. */
static int run_prompt(engine *e, lane *l, const spec_token *tok, size_t n, spec_forward_out *fw) {
    size_t keep = e->needs.prompt_taps ? 0 : common_prefix(l->sequence, tok, n);
    int rc = spec_sequence_truncate(l->sequence, keep);
    l->last = tok[n - 1];
    if (rc != SPEC_OK || keep + 1 >= n) return rc;
    spec_forward_item item = {.sequence = l->sequence, .tokens = tok + keep, .n_tokens = n - 1 - keep};
    spec_forward_args args = {.size = sizeof args, .no_logits = 1};
    if (e->needs.prompt_taps) {
        item.all_rows = 1;
        args.n_taps = e->needs.n_taps;
        args.tap_layer = e->needs.tap_layer;
    }
    e->out->prompt_rows += item.n_tokens;
    return spec_target_forward(e->s->target, &item, 1, &args, fw, e->why);
}

/* The rows of the prompt, for a drafter that wants them. */
static int report_prompt(const engine *e, const lane *l, const spec_forward_out *fw) {
    if (!e->needs.prompt_taps || !fw->n_rows) return SPEC_OK;
    const spec_outcome o = {.size = sizeof o,
                            .n_rows = fw->n_rows,
                            .n_taps = e->needs.n_taps,
                            .hidden_dim = (uint32_t)e->info.dim,
                            .hidden = fw->hidden};
    return proposer_observe(e->by, &l->request, &o);
}

static int begin_request(engine *e, lane *l, const engine_response *r) {
    const engine_response *known = e->reference ? &e->reference->response[l->response] : NULL;
    spec_request_info info = {.size = sizeof info,
                              .prompt = r->asked,
                              .n_prompt = r->n_asked,
                              .max_new_tokens = r->limit,
                              .reference = known ? known->token : NULL,
                              .n_reference = known ? known->n : 0};
    return proposer_begin(e->by, &info, &l->request);
}

static int start(engine *e, lane *l) {
    engine_response *r = &e->out->response[l->response];
    const char *group = e->s->prompts->item[l->prompt].group;
    uint64_t t0 = bench_now_ns();
    r->limit = e->info.context - r->n_asked;
    if (r->limit > e->s->max_tokens) r->limit = e->s->max_tokens;
    l->ordinal = e->n_begun++;
    spec_forward_out fw = {0};
    int rc = run_prompt(e, l, r->asked, r->n_asked, &fw);
    if (rc != SPEC_OK) return e->why->text[0] ? rc : engine_fault(e, l, rc, "running the prompt");
    uint64_t t1 = bench_now_ns();
    rc = begin_request(e, l, r);
    if (rc == SPEC_OK) rc = report_prompt(e, l, &fw);
    uint64_t t2 = bench_now_ns();
    if (rc != SPEC_OK) return engine_fault(e, l, rc, "begin");
    r->prompt_ns = t2 - t0;
    e->out->prompt_ns += t1 - t0;
    rc = metrics_begin(&e->out->m, group, r->n_asked, t2 - t1);
    l->now = e->out->m.now;
    l->busy = l->begun = true;
    spec_stop_reset(l->stop);
    return rc;
}

/* Gives an idle lane its next request, leaving out what does not fit; the lane
 * stays idle when there is none. */
static int fill_lane(engine *e, lane *l) {
    while (next_turn(e, l)) {
        size_t turns = turns_of(&e->s->prompts->item[l->prompt]) - l->turn;
        engine_response *r = &e->out->response[l->response];
        int rc = engine_prompt(e, l, r);
        if (rc != SPEC_OK) return rc;
        if (r->n_asked > 0 && r->n_asked < e->info.context) return start(e, l);
        r->n_asked = 0;
        e->out->left_out += turns;
        e->n_done += turns;
        l->cut_short = true;
    }
    return SPEC_OK;
}

/* ---- one pass ------------------------------------------------------------ */

static int record_pass(engine_run *o, size_t rows, uint64_t ns) {
    engine_pass *pass = bench_grow(o->pass, &o->cap_pass, rows + 1, sizeof *pass);
    if (!pass) return SPEC_ERR_NOMEM;
    o->pass = pass;
    uint32_t *list = bench_grow(o->verify_ticks, &o->cap_verify, o->n_verify + 1, sizeof *list);
    if (!list) return SPEC_ERR_NOMEM;
    o->verify_ticks = list;
    if (rows >= o->n_pass) o->n_pass = rows + 1;
    pass[rows].count++;
    pass[rows].ns += ns;
    uint64_t ticks = ns / ENGINE_TICK_NS;
    list[o->n_verify++] = ticks < UINT32_MAX ? (uint32_t)ticks : UINT32_MAX;
    return SPEC_OK;
}

static int end_request(engine *e, lane *l) {
    engine_response *r = &e->out->response[l->response];
    uint64_t t0 = bench_now_ns();
    proposer_end(e->by, &l->request);
    uint64_t t1 = bench_now_ns();
    l->busy = false;
    r->end = l->end;
    r->decode_ns += t1 - t0;
    e->out->decode_ns += t1 - t0;
    e->out->m.now = l->now;
    e->n_done++;
    return metrics_end(&e->out->m, t1 - t0);
}

/* After the model has run: every lane of the pass keeps what is right. */
static int settle(engine *e, size_t n, const spec_forward_out *fw, uint64_t ns) {
    int rc = SPEC_OK;
    for (size_t i = 0; i < n && rc == SPEC_OK; i++) {
        lane *l = &e->lane[e->busy[i]];
        rc = engine_step(e, l, fw, fw->row[i], ns / n);
        if (rc == SPEC_OK && l->ended) rc = end_request(e, l);
    }
    for (size_t i = 0; i < n && rc == SPEC_OK && e->s->check_cache; i++)
        rc = engine_check_cache(e, &e->lane[e->busy[i]]);
    return rc;
}

static int pass(engine *e) {
    size_t n = 0, rows = 0;
    for (size_t i = 0; i < e->s->batch; i++) {
        lane *l = &e->lane[i];
        if (!l->busy) continue;
        e->item[n] =
            (spec_forward_item){.sequence = l->sequence, .tokens = &l->last, .n_tokens = 1, .tree = &l->tree};
        e->busy[n++] = i;
    }
    int rc = engine_propose(e, n);
    if (rc != SPEC_OK) return rc;
    for (size_t i = 0; i < n; i++) rows += 1 + e->item[i].tree->n;
    spec_forward_args args = {
        .size = sizeof args, .n_taps = e->needs.n_taps, .tap_layer = e->needs.tap_layer};
    spec_forward_out fw;
    uint64_t t0 = bench_now_ns();
    rc = spec_target_forward(e->s->target, e->item, n, &args, &fw, e->why);
    uint64_t ns = bench_now_ns() - t0;
    if (rc == SPEC_OK && e->by->policy) spec_policy_timed(e->by->policy, ns);
    if (rc == SPEC_OK) rc = record_pass(e->out, rows, ns);
    return rc == SPEC_OK ? settle(e, n, &fw, ns) : rc;
}

/* ---- a run --------------------------------------------------------------- */

static int fill_lanes(engine *e, bool *any) {
    int rc = SPEC_OK;
    *any = false;
    for (size_t i = 0; i < e->s->batch && rc == SPEC_OK; i++) {
        if (!e->lane[i].busy) rc = fill_lane(e, &e->lane[i]);
        *any = *any || e->lane[i].busy;
    }
    return rc;
}

/* Prompts that were left out do not count: the caller takes a request as answered. */
static size_t answered(const engine *e) { return e->n_done - e->out->left_out; }

int engine_next(engine *e, bool *more) {
    size_t before = answered(e);
    bool any = true;
    int rc = SPEC_OK;
    while (rc == SPEC_OK && any && answered(e) == before) {
        rc = fill_lanes(e, &any);
        if (rc == SPEC_OK && any) rc = pass(e);
    }
    *more = answered(e) > before;
    if (rc != SPEC_OK && !e->why->text[0]) specp_fail(e->why, rc, "%s", spec_strerror(rc));
    return rc;
}

/* Whether the target's choice is more than the largest logit. */
static bool samples(const spec_sampling *s) {
    bool penalty = s && s->repetition_penalty > 0 && s->repetition_penalty != 1;
    return s && (s->temperature > 0 || penalty || s->n_bias || s->mask);
}

static int engine_init(engine *e) {
    const engine_settings *s = e->s;
    size_t batch = s->batch;
    e->info.size = sizeof e->info;
    spec_target_get_info(e->s->target, &e->info);
    spec_drafter_needs(e->by->drafter, &e->needs);
    e->top_k = e->needs.top_k < e->info.vocab ? e->needs.top_k : (uint32_t)e->info.vocab;
    e->lane = specp_calloc(NULL, batch, sizeof *e->lane);
    e->item = specp_calloc(NULL, batch, sizeof *e->item);
    e->busy = specp_calloc(NULL, batch, sizeof *e->busy);
    e->out->n = prompts_requests(e->s->prompts);
    e->out->response = specp_calloc(NULL, e->out->n, sizeof *e->out->response);
    if (!e->lane || !e->item || !e->busy || !e->out->response) return SPEC_ERR_NOMEM;
    for (size_t p = 0, i = 0; p < e->s->prompts->n; p++)
        for (size_t t = 0; t < turns_of(&e->s->prompts->item[p]); t++, i++) {
            e->out->response[i].prompt = p;
            e->out->response[i].turn = t;
        }
    int rc = engine_drafts_new(e);
    if (rc == SPEC_OK && samples(s->sampling)) rc = spec_sampler_new(&e->sampler, e->info.vocab, NULL);
    for (size_t i = 0; i < batch && rc == SPEC_OK; i++) rc = lane_init(e, &e->lane[i]);
    return rc;
}

int engine_open(engine **out, const engine_settings *s, const proposer *by, const engine_run *reference,
                engine_run *run, spec_message *why) {
    engine *e = specp_calloc(NULL, 1, sizeof *e);
    memset(run, 0, sizeof *run);
    metrics_init(&run->m, prompts_requests(s->prompts));
    run->m.calibration.skip = s->calibration_skip;
    if (!e) return specp_fail(why, SPEC_ERR_NOMEM, "out of memory");
    *e = (engine){.s = s, .by = by, .reference = reference, .out = run, .why = why};
    why->text[0] = '\0';
    int rc = engine_init(e);
    if (rc != SPEC_OK && !why->text[0]) specp_fail(why, rc, "%s", spec_strerror(rc));
    if (rc == SPEC_OK)
        *out = e;
    else
        engine_close(e);
    return rc;
}

int engine_close(engine *e) {
    if (!e) return SPEC_OK;
    int rc = metrics_finish(&e->out->m, e->s->seed);
    stats_times ticks = stats_summarise(e->out->verify_ticks, e->out->n_verify);
    e->out->verify = (stats_times){.mean = ticks.mean * ENGINE_TICK_NS,
                                   .p50 = ticks.p50 * ENGINE_TICK_NS,
                                   .p99 = ticks.p99 * ENGINE_TICK_NS};
    spec_drafter_get_stats(e->by->drafter, &e->out->stats);
    for (size_t i = 0; e->lane && i < e->s->batch; i++) lane_release(e, &e->lane[i]);
    spec_sequence_free(e->fresh);
    spec_sampler_free(e->sampler);
    free(e->lane);
    free(e->item);
    free(e->busy);
    engine_drafts_free(e);
    free(e);
    return rc;
}

void engine_release(engine_run *r) {
    for (size_t i = 0; i < r->n; i++) {
        free(r->response[i].asked);
        free(r->response[i].token);
    }
    free(r->response);
    free(r->pass);
    free(r->verify_ticks);
    metrics_release(&r->m);
    memset(r, 0, sizeof *r);
}

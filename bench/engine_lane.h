/* SPDX-License-Identifier: MIT */
/*
 * engine_lane.h - the inside of the engine: lanes. A lane decodes one request at a
 * time; a batch is several lanes whose rows share a forward pass.
 *
 *     prompts --> lane: build the prompt, run it --> propose --\
 *     prompts --> lane: ...                          propose ---+--> one forward pass
 *                                                                 |
 *              accept, observe, metrics <-- judge <--------------/
 */
#ifndef BENCH_ENGINE_LANE_H
#define BENCH_ENGINE_LANE_H

#include "engine.h"
#include "spec_stop.h"
#include "spec_verify.h"

typedef struct lane {
    bool busy;           /* a request is under way */
    size_t prompt, turn; /* what it is working on */
    size_t response;     /* its number in the run */
    size_t ordinal;      /* requests begun before it */
    bool begun;          /* some turn of the prompt has been */
    bool cut_short;      /* no turn can follow: it would not fit */
    spec_sequence *sequence;
    proposer_request request;
    spec_tree tree;
    spec_stop *stop;
    metrics_now now;
    /* of the step under way */
    spec_token last; /* committed, not yet in the cache */
    int32_t *path;   /* (budget) */
    size_t n_path;
    spec_token *commit; /* (budget + 1) */
    spec_bytes *piece;  /* (budget + 1) */
    size_t n_commit;
    uint8_t *accepted;      /* (budget) */
    spec_token *topk_token; /* (budget + 1, top_k) */
    float *topk_logprob;    /* likewise */
    bool ended;
    engine_end end;
    uint64_t draft_ns, update_ns;
} lane;

typedef struct engine_drafts engine_drafts; /* engine_draft.c's own */

struct engine {
    const engine_settings *s;
    const proposer *by;
    const engine_run *reference;
    engine_run *out;
    spec_message *why;
    spec_target_info info;
    spec_needs needs;
    uint32_t top_k;        /* what the drafter asks for and the vocabulary has; 0 = not asked */
    spec_sampler *sampler; /* NULL: greedy on the logits as they are */
    lane *lane;            /* (s->batch) */
    spec_forward_item *item;
    size_t *busy; /* (s->batch) numbers of the lanes of a pass */
    engine_drafts *drafts;
    size_t next_prompt, next_response, n_begun, n_done;
    spec_sequence *fresh; /* for check_cache */
};

/* engine_prompt.c: the tokens of the lane's turn, into r->asked and n_asked. */
int engine_prompt(engine *e, const lane *l, engine_response *r);
/* engine_end.c: what ends the lane's responses. */
int engine_stop_new(const engine *e, lane *l);

/* engine_draft.c: a draft for each of the n busy lanes. */
int engine_drafts_new(engine *e);
void engine_drafts_free(engine *e);
int engine_propose(engine *e, size_t n);

/* engine_step.c: what is left of the lane's draft, given the rows of a pass from row0 on; cache,
 * drafter, response and metrics take it over. pass_ns: the lane's share of the pass. */
int engine_step(engine *e, lane *l, const spec_forward_out *fw, size_t row0, uint64_t pass_ns);

/* engine_topk.c: the k largest of n logits (k <= n), of equals the lower id first, and the
 * logarithms of their probabilities. */
void engine_topk(const float *logits, size_t n, uint32_t k, spec_token *token, float *logprob);
/* The same for the rows of a lane, into its arrays and the outcome. */
void engine_topk_rows(const engine *e, lane *l, const float *logits, spec_outcome *o);

/* SPEC_ERR_CORRUPT unless the lane's cache is what a fresh prefill of its tokens makes. */
int engine_check_cache(engine *e, const lane *l);

/* "prompt 3 q17, response token 12: " and the rest, into e->why; returns err. */
int engine_fault(const engine *e, const lane *l, int err, const char *what);

#endif

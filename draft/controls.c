/* SPDX-License-Identifier: MIT */
/*
 * The controls: drafters that bound all others from above and below. They keep
 * no knowledge.
 *
 *   none     no draft. Plain decoding through the same code path.
 *   oracle   the rest of the reference. No drafter of the same length accepts more.
 *   random   noise. A verifier that lets it change the output is broken.
 */
#include "draft_internal.h"
#include "text.h"

/* ---- none -------------------------------------------------------------- */

static int none_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    (void)self, (void)state, (void)a, (void)out;
    return SPEC_OK;
}

const char specp_none_help[] = "none: never drafts. Plain decoding, one token a step.\n"
                               "  No options.\n";

int specp_none_open(spec_drafter **out, const char *options, const spec_allocator *alloc, spec_message *why) {
    static const spec_drafter_ops ops = {
        .version = SPEC_DRAFTER_OPS_V1, .name = "none", .propose = none_propose};
    int err = specp_options_parse("none", options, NULL, 0, NULL, why);
    if (!err) err = spec_drafter_new(out, &ops, NULL, alloc);
    return err == SPEC_ERR_NOMEM ? specp_fail(why, err, "drafter none: out of memory") : err;
}

/* ---- oracle ------------------------------------------------------------- */

typedef struct oracle {
    spec_allocator alloc;
    int64_t len;
} oracle;

typedef struct oracle_request {
    const spec_token *reference; /* (n), borrowed */
    size_t n, position;          /* tokens committed so far; n once they differ */
} oracle_request;

static int oracle_begin(void *self, const spec_request_info *info, void **state) {
    oracle *o = self;
    oracle_request *r = specp_calloc(&o->alloc, 1, sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    r->reference = info->reference;
    r->n = info->n_reference;
    *state = r;
    return SPEC_OK;
}

static int oracle_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    const oracle *o = self;
    const oracle_request *r = state;
    uint32_t limit = specp_chain_limit(a->budget, a->max_depth, o->len);
    for (size_t i = r->position; i < r->n && out->n < limit; i++)
        specp_chain_add(out, r->reference[i], 1.0f, SPEC_SOURCE_CONTROL);
    return SPEC_OK;
}

static int oracle_observe(void *self, void *state, const spec_outcome *o) {
    (void)self;
    oracle_request *r = state;
    for (size_t i = 0; i < o->n_committed && r->position < r->n; i++)
        r->position = r->reference[r->position] == o->committed[i] ? r->position + 1 : r->n;
    return SPEC_OK;
}

static void oracle_end(void *self, void *state) {
    oracle *o = self;
    specp_release(&o->alloc, state, 1, sizeof(oracle_request));
}

static void oracle_free(void *self) {
    oracle *o = self;
    spec_allocator alloc = o->alloc;
    specp_release(&alloc, o, 1, sizeof *o);
}

const char specp_oracle_help[] =
    "oracle: drafts the rest of the true response, as a chain: the upper limit for\n"
    "  its draft length. Needs a reference (replay has one); proposes nothing once\n"
    "  the text differs from it.\n"
    "  len=N       longest draft, 1..4096 (default 4096: as long as the budget)\n";

static const specp_option oracle_options[] = {SPECP_OPTION_INT(oracle, len, 1, SPEC_TREE_MAX_NODES)};

int specp_oracle_open(spec_drafter **out, const char *options, const spec_allocator *alloc,
                      spec_message *why) {
    static const spec_drafter_ops ops = {.version = SPEC_DRAFTER_OPS_V1,
                                         .name = "oracle",
                                         .begin = oracle_begin,
                                         .propose = oracle_propose,
                                         .observe = oracle_observe,
                                         .end = oracle_end,
                                         .free = oracle_free};
    oracle o = {.alloc = alloc ? *alloc : (spec_allocator){0}, .len = SPEC_TREE_MAX_NODES};
    int err = specp_options_parse("oracle", options, oracle_options, 1, &o, why);
    if (err) return err;
    oracle *self = specp_alloc(alloc, 1, sizeof *self);
    if (self) *self = o;
    return specp_drafter_of(out, &ops, self, alloc, why);
}

/* ---- random ------------------------------------------------------------- */

/*
 * `width` chains side by side, written level by level, so that a small budget
 * shortens them all alike:
 *
 *     node 0  1  2      parents -1 -1 -1
 *          3  4  5               0  1  2
 *
 * The token of chain c at position p of the text depends on the noise key's
 * seed and sequence, c and p alone.
 */
typedef struct random_drafter {
    spec_allocator alloc;
    int64_t vocab, width, len;
} random_drafter;

static spec_token draw(const random_drafter *d, const spec_noise_key *key, uint64_t depth, uint64_t chain) {
    uint64_t h = specp_mix64(key->seed);
    h = specp_mix64(h ^ key->sequence);
    h = specp_mix64(h ^ (key->position + depth));
    h = specp_mix64(h ^ chain);
    return (spec_token)(((h >> 32) * (uint64_t)d->vocab) >> 32);
}

static int random_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    (void)state;
    const random_drafter *d = self;
    uint32_t width = (uint32_t)(d->width < d->vocab ? d->width : d->vocab);
    uint32_t depth = specp_chain_limit(a->budget, a->max_depth, d->len);
    float prob = 1.0f;
    for (uint32_t level = 0; level < depth; level++) {
        prob /= (float)d->vocab;
        for (uint32_t chain = 0; chain < width && out->n < a->budget; chain++) {
            spec_token token = draw(d, &a->noise, level, chain);
            while (!level && spec_tree_child(out, -1, token) >= 0)
                token = (spec_token)((token + 1) % d->vocab); /* siblings differ */
            int32_t parent = level ? (int32_t)(out->n - width) : -1;
            spec_tree_add(out, parent, token, prob, SPEC_SOURCE_CONTROL);
            out->score += prob;
        }
    }
    return SPEC_OK;
}

static void random_free(void *self) {
    random_drafter *d = self;
    spec_allocator alloc = d->alloc;
    specp_release(&alloc, d, 1, sizeof *d);
}

const char specp_random_help[] =
    "random: drafts random tokens, the same ones for the same noise key: the lower\n"
    "  limit.\n"
    "  vocab=N     tokens are 0..N-1, 1..2147483647 (default: the target's, else 32000)\n"
    "  width=N     chains side by side, 1..4096 (default 1)\n"
    "  len=N       length of each, 1..4096 (default 8)\n";

static const specp_option random_options[] = {
    SPECP_OPTION_INT(random_drafter, vocab, 1, INT32_MAX),
    SPECP_OPTION_INT(random_drafter, width, 1, SPEC_TREE_MAX_NODES),
    SPECP_OPTION_INT(random_drafter, len, 1, SPEC_TREE_MAX_NODES),
};

int specp_random_open(spec_drafter **out, const char *options, const spec_drafter_env *env,
                      const spec_allocator *alloc, spec_message *why) {
    static const spec_drafter_ops ops = {
        .version = SPEC_DRAFTER_OPS_V1, .name = "random", .propose = random_propose, .free = random_free};
    random_drafter d = {.alloc = alloc ? *alloc : (spec_allocator){0}, .vocab = 32000, .width = 1, .len = 8};
    if (env->target) {
        spec_lm_info info = {.size = sizeof info};
        env->target->ops->info(env->target->self, &info);
        d.vocab = (int64_t)info.vocab;
    }
    int err = specp_options_parse("random", options, random_options, 3, &d, why);
    if (err) return err;
    random_drafter *self = specp_alloc(alloc, 1, sizeof *self);
    if (self) *self = d;
    return specp_drafter_of(out, &ops, self, alloc, why);
}

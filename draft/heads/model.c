/* SPDX-License-Identifier: MIT */
/*
 * model: a small language model drafts for a large one (Leviathan et al. 2023, arXiv
 * 2211.17192), by its most probable tokens or by drawing from its law.
 *
 *     text  ... a b c      pass 1 feeds what the cache lacks of it: what comes after c
 *                          pass 2, 3, ...: the level below
 *
 *     mode=topk, beam=1           mode=topk, beam=2           mode=sample
 *       c                           c                           c
 *       |\                          |\                          |
 *       x y   of each pass the      x y   of each level the     x ~ q row 0
 *       |\    best is fed, the      |\ \  best two are fed      |
 *       z w   others are leaves     z w v  as a tree            z ~ q row 1
 *
 * Top-k: a pass gives each node that it read k children; of a level the `beam` most
 * probable ones are read next, as EAGLE-2 does, but none that is not among the best
 * `budget` nodes by then: what grows below it would not be either. These drafts are
 * deterministic, and q rows are not for them. With beam=1 what is read is a chain, and
 * each pass reads one token, which stays in the cache. With more, a pass reads the last
 * token and all inner nodes of the tree anew.
 *
 * Sample: a chain, each token drawn from the model's law at the temperature, which is
 * its q row. Draws take the noise of the text's position and of purpose 0, by their
 * depth (spec_verify.h tells why it must not be the verifier's). Whether a chain goes on
 * depends on the tokens that are in it, never on the next one. Without room for q rows
 * the draft is the chain of most probable tokens.
 *
 * Cache:   [ text ......... fed )[ ahead: drafted, read ... )
 * Tokens of `ahead` that verification commits become text without being read again.
 * Invariant: if n_ahead > 0, the whole text is fed. A proposal cuts the cache to the
 * text less its last token at most, since a pass has to read one.
 *
 * The model is one, for all requests: it runs under a lock, requests of a batch together.
 */
#include <float.h>
#include <string.h>

#include "draft_internal.h"
#include "head_file.h"
#include "shared.h"
#include "text.h"

#define MAX_LEN    64
#define MAX_K      64
#define MAX_BEAM   64
#define VOCAB_SLOP 128 /* how far the vocabularies' sizes may be apart: padding, added tokens */

enum { TOPK, SAMPLE };

typedef struct model_options {
    int64_t len, k, beam;
    double min_prob, temperature;
    int mode;
    char file[4096];
} model_options;

typedef struct model {
    specp_shell shell; /* its lock: of lm, its sequences, and weight */
    model_options o;
    spec_lm lm;
    specp_kernels k;
    float *weight;         /* (vocab) of a law */
    size_t known, context; /* the model's vocabulary and longest sequence */
    size_t vocab;          /* tokens that are drafted: the model and the target know them */
} model;

typedef struct model_request {
    specp_text text;
    bool foreign; /* the text has a token that the model does not know */
    void *sequence;
    size_t fed;
    spec_token ahead[MAX_LEN];
    uint32_t n_ahead;
    spec_tree draft;   /* topk: all nodes made */
    spec_tree inner;   /* of these the ones that are read, in the order of reading */
    int32_t *node_of;  /* (inner.cap) an inner node's place in the draft */
    int32_t *inner_of; /* (draft.cap) and the other way round, -1: it is a leaf */
} model_request;

/* A request within a proposal. */
typedef struct lane {
    model_request *r;
    const spec_propose_args *a;
    spec_tree *out;
    uint32_t limit;      /* of the depth */
    uint32_t first_leaf; /* topk: where the last level begins in the draft */
    uint32_t first_read; /* and which inner nodes are read by the next pass */
    bool sampled;
} lane;

/* ---- laws -------------------------------------------------------------------- */

/* Weights of the law at a temperature and their sum, which is not finite where a logit is not. */
static double make_q(const model *d, const float *logits, size_t n, float *q) {
    float scale = (float)(1.0 / d->o.temperature);
    double total = 0;
    for (size_t i = 0; i < n; i++) q[i] = logits[i] * scale;
    d->k.softmax(q, n);
    for (size_t i = 0; i < n; i++) total += (double)q[i];
    return total;
}

/* The token of weights q at u, 0 <= u < 1: one that has weight. */
static size_t token_at(const float *q, size_t n, double total, double u) {
    double at = u * total, run = 0;
    size_t token = 0;
    for (size_t i = 0; i < n && run <= at; i++) {
        if (q[i] > 0) token = i;
        run += (double)q[i];
    }
    return token;
}

/* What a drafter draws by at a depth: the noise of purpose 0, which verification leaves alone. */
static double draw_noise(const spec_noise_key *key, uint32_t depth) {
    uint64_t h = specp_mix64(key->seed);
    h = specp_mix64(h ^ key->sequence);
    h = specp_mix64(h ^ key->position);
    h = specp_mix64(h ^ depth);
    return (double)(h >> 11) * 0x1p-53;
}

/* ---- a level more --------------------------------------------------------------- */

/* Has the next pass of a chain read this token. */
static void read_next(model_request *r, spec_token token) { r->ahead[r->n_ahead++] = token; }

/* Draws a token; whether the chain goes on. */
static bool draw(const model *d, const lane *l, const float *logits) {
    spec_tree *out = l->out;
    float *q = out->q + (size_t)out->n_q * out->vocab;
    size_t n = d->vocab < out->vocab ? d->vocab : out->vocab;
    double total = make_q(d, logits, n, q);
    memset(q + n, 0, (out->vocab - n) * sizeof *q);
    if (!(total > 0 && total <= DBL_MAX)) return false;
    size_t token = token_at(q, n, total, draw_noise(&l->a->noise, out->n));
    double above = out->n ? (double)out->prob[out->n - 1] : 1.0;
    float prob = (float)(above * (double)q[token] / total);
    specp_chain_add(out, (spec_token)token, prob, SPEC_SOURCE_MODEL);
    out->q_row[out->n - 1] = (int32_t)out->n_q++;
    if (out->n == l->limit || (double)prob < d->o.min_prob) return false;
    read_next(l->r, (spec_token)token);
    return true;
}

/* Gives a node (-1: the root) its children. */
static void expand(const model *d, model_request *r, int32_t parent, const float *logits) {
    spec_token token[MAX_K];
    float value[MAX_K];
    size_t k = (size_t)d->o.k < d->vocab ? (size_t)d->o.k : d->vocab;
    specp_head_pick(logits, d->vocab, k, token, value);
    memcpy(d->weight, logits, d->vocab * sizeof *d->weight);
    double all = (double)d->k.softmax(d->weight, d->vocab);
    double above = parent < 0 ? 1.0 : (double)r->draft.prob[parent];
    for (size_t i = 0; i < k; i++) {
        double prob = above * (double)d->weight[token[i]] / all;
        if (!(prob > 0 && prob >= d->o.min_prob)) return; /* nor where a logit is NaN */
        r->inner_of[r->draft.n] = -1;
        spec_tree_add(&r->draft, parent, token[i], (float)prob, SPEC_SOURCE_MODEL);
    }
}

/* The most probable leaf of the last level, or -1. */
static int32_t best_leaf(const lane *l) {
    const spec_tree *t = &l->r->draft;
    int32_t best = -1;
    for (uint32_t i = l->first_leaf; i < t->n; i++)
        if (l->r->inner_of[i] < 0 && (best < 0 || t->prob[i] > t->prob[best])) best = (int32_t)i;
    return best;
}

/* Whether a node is one of the best `budget` so far. */
static bool within_budget(const lane *l, int32_t node) {
    const spec_tree *t = &l->r->draft;
    uint32_t before = 0;
    for (uint32_t i = 0; i < t->n; i++)
        before += t->prob[i] > t->prob[node] || (i < (uint32_t)node && t->prob[i] == t->prob[node]);
    return before < l->a->budget;
}

/* Chooses which leaves become inner nodes; whether there are any. */
static bool choose(const model *d, lane *l) {
    model_request *r = l->r;
    l->first_read = r->inner.n;
    for (int64_t i = 0; i < d->o.beam; i++) {
        int32_t node = best_leaf(l);
        if (node < 0 || !within_budget(l, node)) break;
        int32_t above = r->draft.parent[node];
        r->inner_of[node] = spec_tree_add(&r->inner, above < 0 ? -1 : r->inner_of[above],
                                          r->draft.token[node], r->draft.prob[node], SPEC_SOURCE_MODEL);
        r->node_of[r->inner_of[node]] = node;
    }
    if (d->o.beam == 1 && l->first_read < r->inner.n) read_next(r, r->inner.token[l->first_read]);
    return l->first_read < r->inner.n;
}

/* Takes the rows of a pass, the fed token's first; whether there is to be another. */
static bool grow(const model *d, lane *l, uint32_t level, const float *logits) {
    if (l->sampled) return draw(d, l, logits);
    model_request *r = l->r;
    uint32_t from = l->first_read, to = r->inner.n;
    l->first_leaf = r->draft.n;
    if (level == 1) expand(d, r, -1, logits);
    for (uint32_t i = from; i < to; i++) {
        size_t row = d->o.beam == 1 ? 0 : i + 1;
        expand(d, r, r->node_of[i], logits + row * d->known);
    }
    return level < l->limit && choose(d, l);
}

/* ---- passes ------------------------------------------------------------------------ */

static int cut(const model *d, model_request *r, size_t n) {
    r->n_ahead = 0;
    if (n < r->fed) r->fed = n;
    return d->lm.ops->truncate(d->lm.self, r->sequence, r->fed);
}

/* What the pass of a level reads. */
static int ask(const model *d, const lane *l, uint32_t level, spec_lm_item *item) {
    model_request *r = l->r;
    *item = (spec_lm_item){.sequence = r->sequence, .n_tokens = 1};
    if (level > 1 && (l->sampled || d->o.beam == 1)) {
        item->tokens = &r->ahead[r->n_ahead - 1];
        return SPEC_OK;
    }
    int err = cut(d, r, r->text.n - 1);
    item->tokens = r->text.tok + r->fed;
    item->n_tokens = r->text.n - r->fed;
    item->tree = level > 1 ? &r->inner : NULL;
    return err;
}

/* One pass for n lanes. On error `ahead` has no token that was not read. */
static int pass(const model *d, lane *live, size_t n, uint32_t level, spec_lm_item *item, spec_lm_out *rows) {
    int err = SPEC_OK;
    for (size_t i = 0; i < n && !err; i++) err = ask(d, &live[i], level, &item[i]);
    if (!err) err = d->lm.ops->forward(d->lm.self, item, n, NULL, rows, NULL);
    for (size_t i = 0; i < n; i++) {
        model_request *r = live[i].r;
        if (!err)
            r->fed = r->text.n;
        else
            r->n_ahead = 0;
    }
    return err;
}

/* Whether there is anything to draft; then the lane is set. */
static bool enter(const model *d, model_request *r, const spec_propose_args *a, spec_tree *out, lane *l) {
    *l = (lane){.r = r, .a = a, .out = out};
    spec_tree_clear(&r->draft);
    spec_tree_clear(&r->inner);
    if (!r->text.n || r->foreign || r->text.n > d->context) return false;
    size_t room = d->context - r->text.n + 1; /* the deepest node is not read */
    l->sampled = d->o.mode == SAMPLE && out->q_cap && out->vocab;
    l->limit = specp_chain_limit(a->max_depth, room < MAX_LEN ? (uint32_t)room : MAX_LEN, d->o.len);
    if (l->sampled) l->limit = specp_chain_limit(l->limit, a->budget, out->q_cap);
    return true;
}

/* The best of what has grown. */
static void leave(const lane *l) {
    spec_tree *t = &l->r->draft;
    specp_tree_keep_best(t, l->a->budget, l->limit);
    for (uint32_t i = 0; i < t->n; i++)
        spec_tree_add(l->out, t->parent[i], t->token[i], t->prob[i], t->source[i]);
    l->out->score = t->score;
}

/* live and item have room for n. */
static int draft_all(const model *d, void *const *state, const spec_propose_args *a, spec_tree *const *out,
                     size_t n, lane *live, spec_lm_item *item) {
    size_t n_live = 0;
    int err = SPEC_OK;
    for (size_t i = 0; i < n; i++) n_live += enter(d, state[i], &a[i], out[i], &live[n_live]);
    for (uint32_t level = 1; n_live && !err; level++) {
        spec_lm_out rows;
        size_t kept = 0;
        err = pass(d, live, n_live, level, item, &rows);
        for (size_t i = 0; i < n_live && !err; i++) {
            if (grow(d, &live[i], level, rows.logits + rows.row[i] * d->known))
                live[kept++] = live[i];
            else if (!live[i].sampled)
                leave(&live[i]);
        }
        n_live = kept;
    }
    return err;
}

static int model_propose_batch(void *self, void *const *state, const spec_propose_args *a,
                               spec_tree *const *out, size_t n) {
    model *d = self;
    lane *live = specp_alloc(&d->shell.alloc, n, sizeof *live);
    spec_lm_item *item = specp_alloc(&d->shell.alloc, n, sizeof *item);
    int err = live && item ? SPEC_OK : SPEC_ERR_NOMEM;
    if (!err) {
        specp_shell_lock(&d->shell);
        err = draft_all(d, state, a, out, n, live, item);
        specp_shell_unlock(&d->shell);
    }
    specp_release(&d->shell.alloc, live, n, sizeof *live);
    specp_release(&d->shell.alloc, item, n, sizeof *item);
    return err;
}

static int model_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    return model_propose_batch(self, &state, a, &out, 1);
}

/* ---- requests ---------------------------------------------------------------------- */

/* Room has been reserved. */
static void add_text(const model *d, model_request *r, const spec_token *tok, size_t n) {
    specp_text_add(&r->text, tok, n);
    for (size_t i = 0; i < n; i++) r->foreign |= (size_t)tok[i] >= d->known;
}

static int model_observe(void *self, void *state, const spec_outcome *o) {
    const model *d = self;
    model_request *r = state;
    int err = specp_text_reserve(&r->text, o->n_committed, &d->shell.alloc);
    if (err) return err;
    uint32_t n = 0;
    while (n < r->n_ahead && n < o->n_committed && r->ahead[n] == o->committed[n]) n++;
    r->fed += n;
    r->n_ahead = n == o->n_committed ? r->n_ahead - n : 0;
    memmove(r->ahead, r->ahead + n, r->n_ahead * sizeof *r->ahead);
    add_text(d, r, o->committed, o->n_committed);
    return SPEC_OK;
}

static void model_end(void *self, void *state) {
    model *d = self;
    model_request *r = state;
    if (r->sequence) {
        specp_shell_lock(&d->shell);
        d->lm.ops->sequence_free(d->lm.self, r->sequence);
        specp_shell_unlock(&d->shell);
    }
    specp_release(&d->shell.alloc, r->node_of, r->inner.cap, sizeof *r->node_of);
    specp_release(&d->shell.alloc, r->inner_of, r->draft.cap, sizeof *r->inner_of);
    spec_tree_release(&r->inner, &d->shell.alloc);
    spec_tree_release(&r->draft, &d->shell.alloc);
    specp_text_release(&r->text, &d->shell.alloc);
    specp_release(&d->shell.alloc, r, 1, sizeof *r);
}

/* Nodes that passes read at most, and the leaves. */
static uint32_t max_inner(const model_options *o) { return (uint32_t)((o->len - 1) * o->beam); }
static uint32_t max_nodes(const model_options *o) { return (uint32_t)((1 + max_inner(o)) * o->k); }

static int reserve(model *d, model_request *r, size_t n_prompt) {
    uint32_t inner = max_inner(&d->o) + 1; /* no tree is of no nodes */
    int err = specp_text_reserve(&r->text, n_prompt, &d->shell.alloc);
    if (!err) err = spec_tree_init(&r->draft, max_nodes(&d->o), 0, 0, &d->shell.alloc);
    if (!err) err = spec_tree_init(&r->inner, inner, 0, 0, &d->shell.alloc);
    if (err) return err;
    r->node_of = specp_alloc(&d->shell.alloc, r->inner.cap, sizeof *r->node_of);
    r->inner_of = specp_alloc(&d->shell.alloc, r->draft.cap, sizeof *r->inner_of);
    if (!r->node_of || !r->inner_of) return SPEC_ERR_NOMEM;
    specp_shell_lock(&d->shell);
    err = d->lm.ops->sequence_new(d->lm.self, 0, &r->sequence);
    specp_shell_unlock(&d->shell);
    return err;
}

static int model_begin(void *self, const spec_request_info *info, void **state) {
    model *d = self;
    model_request *r = specp_calloc(&d->shell.alloc, 1, sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    int err = reserve(d, r, info->n_prompt);
    if (err) {
        model_end(d, r);
        return err;
    }
    add_text(d, r, info->prompt, info->n_prompt);
    *state = r;
    return SPEC_OK;
}

/* ---- the drafter ------------------------------------------------------------------- */

static void model_needs(void *self, spec_needs *out) {
    const model *d = self;
    if (d->o.mode == SAMPLE) out->q_rows = (uint32_t)d->o.len;
}

static void model_free(void *self) {
    model *d = self;
    if (d->lm.ops && d->lm.ops->free) d->lm.ops->free(d->lm.self);
    specp_release(&d->shell.alloc, d->weight, d->vocab, sizeof *d->weight);
    specp_shell_free(d);
}

const char specp_model_help[] =
    "model: model:FILE drafts by a small language model, in any format that targets\n"
    "  may have. Its tokens must be the target's: sizes that are more than 128 apart are\n"
    "  refused, texts cannot be compared. It drafts nothing once a text has a token that\n"
    "  it does not know, or is longer than its context.\n"
    "  len=N       longest path, 1..64 (default 5)\n"
    "  mode=topk|sample  its most probable tokens (default), or a chain drawn from its law,\n"
    "              for sampling at a temperature\n"
    "  k=N         topk: children of each node that it reads, 1..64 (default 4)\n"
    "  beam=N      topk: nodes that it reads at each depth, 1..64 (default 1). More make a\n"
    "              bushier tree, whose inner nodes are read again at each depth. At most\n"
    "              4096 nodes, k (1 + (len - 1) beam)\n"
    "  min_prob=P  leaves out paths that it finds less probable, 0..1 (default 0.1); of a\n"
    "              sampled chain, what comes after (default 0)\n"
    "  temperature=T  of sample, 0.01..100 (default 1)\n";

static const char *const modes[] = {"topk", "sample", NULL};

static const specp_option option_table[] = {
    SPECP_OPTION_INT(model_options, len, 1, MAX_LEN),
    SPECP_OPTION_WORD(model_options, mode, modes),
    SPECP_OPTION_INT(model_options, k, 1, MAX_K),
    SPECP_OPTION_INT(model_options, beam, 1, MAX_BEAM),
    SPECP_OPTION_REAL(model_options, min_prob, 0, 1),
    SPECP_OPTION_REAL(model_options, temperature, 0.01, 100),
};

static int read_options(model_options *o, const char *text, spec_message *why) {
    const size_t n = sizeof option_table / sizeof *option_table;
    const char *rest;
    *o = (model_options){.len = 5, .k = 4, .beam = 1, .min_prob = 0.1, .temperature = 1};
    int err = specp_options_file("model", text, o->file, sizeof o->file, &rest, why);
    if (!err) err = specp_options_parse("model", rest, option_table, n, o, why);
    if (err) return err;
    if (max_nodes(o) > SPEC_TREE_MAX_NODES)
        return specp_fail(why, SPEC_ERR_INVALID,
                          "drafter model: a tree of %u nodes, k (1 + (len - 1) beam); "
                          "expected at most %d",
                          max_nodes(o), SPEC_TREE_MAX_NODES);
    if (o->mode == TOPK) return SPEC_OK;
    o->min_prob = 0; /* unless it is given */
    err = specp_options_parse("model", rest, option_table, n, o, why);
    o->k = o->beam = 1;
    return err;
}

static int open_model(model *d, const spec_drafter_env *env, spec_message *why) {
    spec_message said = {""};
    spec_lm_info m = {.size = sizeof m}, target = {.size = sizeof target};
    int err = env->open_model(d->o.file, env->threads, env->isa, &d->shell.alloc, &d->lm, &said);
    if (err) {
        d->lm.ops = NULL;
        return specp_fail(why, err, "drafter model: %.450s", said.text[0] ? said.text : spec_strerror(err));
    }
    d->lm.ops->info(d->lm.self, &m);
    d->known = d->vocab = m.vocab;
    d->context = m.max_context;
    if (!env->target) return SPEC_OK;
    env->target->ops->info(env->target->self, &target);
    if (m.vocab > target.vocab + VOCAB_SLOP || target.vocab > m.vocab + VOCAB_SLOP)
        return specp_fail(
            why, SPEC_ERR_INVALID,
            "drafter model: %.200s has a vocabulary of %zu tokens, the target's has %zu; expected "
            "at most %d tokens more or less",
            d->o.file, m.vocab, target.vocab, VOCAB_SLOP);
    if (target.vocab < d->vocab) d->vocab = target.vocab;
    return SPEC_OK;
}

int specp_model_open(spec_drafter **out, const char *options, const spec_drafter_env *env,
                     const spec_allocator *alloc, spec_message *why) {
    static const spec_drafter_ops ops = {.version = SPEC_DRAFTER_OPS_V1,
                                         .name = "model",
                                         .begin = model_begin,
                                         .propose = model_propose,
                                         .propose_batch = model_propose_batch,
                                         .observe = model_observe,
                                         .end = model_end,
                                         .needs = model_needs,
                                         .stats = specp_shell_stats,
                                         .free = model_free};
    model_options o;
    int err = read_options(&o, options, why);
    if (err) return err;
    if (!env->open_model)
        return specp_fail(why, SPEC_ERR_STATE,
                          "drafter model: there is nothing to open its model with: open it with "
                          "spec_drafter_open_env (specbench run)");
    model *d = specp_shell_new(sizeof *d, alloc);
    if (!d) return specp_drafter_of(out, &ops, NULL, alloc, why);
    d->o = o;
    specp_kernels_init(&d->k, env->isa ? env->isa : SPECP_ISA_ALL);
    err = open_model(d, env, why);
    if (!err && !(d->weight = specp_alloc(&d->shell.alloc, d->vocab, sizeof *d->weight)))
        err = specp_fail(why, SPEC_ERR_NOMEM, "drafter model: out of memory");
    if (!err) return specp_drafter_of(out, &ops, d, alloc, why);
    model_free(d);
    return err;
}
